// SPDX-License-Identifier: Apache-2.0
//
// See lower.h: rows, blocks, guards and terminators.

#include "lower.h"

#include <stdarg.h>

enum { PRED_CLASS = 5, MAX_BYTES = 16 << 20 };

// Notes why there is no program; false.
[[gnu::format(printf, 2, 3)]] static bool cannot(struct jit_lower *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(l->why, sizeof((struct jit_lowered *)0)->why, format, args);
    va_end(args);
    return false;
}

static bool cannot_say(struct jit_lower *l, const struct tw_kir_inst *inst) {
    struct tw_buf name;
    tw_buf_init(&name, 256);
    bool ok = tw_kir_print_op(inst, &name);
    cannot(l, "line %u: programs cannot say %.*s", inst->line, ok ? (int)name.len : 0,
           (const char *)name.data);
    tw_buf_done(&name);
    return false;
}

static bool too_large(struct jit_lower *l) {
    return cannot(l, "a program has at most %d blocks, %d instructions and %d bytes of registers a warp",
                  TW_INTERP_BLOCKS_MAX, TW_INTERP_INSTS_MAX, TW_INTERP_REG_BYTES_MAX);
}

// ---- rows ----

static unsigned class_of(unsigned bits) {
    return bits < 8 ? PRED_CLASS : (unsigned)__builtin_ctz(bits / 8);
}

static uint32_t class_bytes(unsigned class) {
    return (uint32_t)TW_INTERP_LANES << (class == PRED_CLASS ? 0 : class);
}

static uint32_t row_new(struct jit_lower *l, unsigned class) {
    if (l->free_counts[class])
        return l->free_rows[class][--l->free_counts[class]];
    uint32_t row = l->reg_bytes;
    uint32_t bytes = (uint32_t)tw_align_up(class_bytes(class), TW_INTERP_ROW_ALIGN);
    if (bytes > TW_INTERP_REG_BYTES_MAX - l->reg_bytes) {
        l->full = true;
        return 0;
    }
    l->reg_bytes += bytes;
    return row;
}

static void row_give(struct jit_lower *l, unsigned class, uint32_t row) {
    if (l->free_counts[class] < l->free_capacity)
        l->free_rows[class][l->free_counts[class]++] = row;
}

static uint32_t reg_row(struct jit_lower *l, uint32_t reg) {
    if (l->rows[reg] == JIT_NONE)
        l->rows[reg] = row_new(l, class_of(l->code->function->regs[reg].bits));
    return l->rows[reg];
}

uint32_t jit_lower_temp(struct jit_lower *l, unsigned bits) {
    unsigned class = class_of(bits);
    uint32_t row = row_new(l, class);
    if (l->temp_count == TW_COUNT(l->temps)) {
        l->full = true;
        return row;
    }
    l->temps[l->temp_count] = row;
    l->temp_classes[l->temp_count++] = class;
    return row;
}

static void append(struct jit_lower *l, struct tw_buf *to, const void *bytes, size_t size) {
    l->full |= !tw_buf_append(to, bytes, size);
}

uint32_t jit_lower_constant(struct jit_lower *l, uint64_t value, unsigned bits) {
    uint32_t size = bits < 8 ? 1 : bits / 8;
    const struct tw_interp_constant *all = (const void *)l->constants.data;
    value = bits < 8 ? (value & 1 ? 0xff : 0) : bits < 64 ? value & ((UINT64_C(1) << bits) - 1) : value;
    for (size_t i = 0; i < l->constants.len / sizeof *all; i++)
        if (all[i].bits == value && all[i].element_bytes == size)
            return all[i].row;
    struct tw_interp_constant constant = {.bits = value, .element_bytes = size};
    uint32_t row = l->reg_bytes, bytes = (uint32_t)tw_align_up(size * TW_INTERP_LANES, TW_INTERP_ROW_ALIGN);
    if (bytes > TW_INTERP_REG_BYTES_MAX - row) {
        l->full = true;
        return 0;
    }
    l->reg_bytes += bytes; // never one that others have used
    constant.row = row;
    append(l, &l->constants, &constant, sizeof constant);
    return row;
}

uint32_t jit_lower_source(struct jit_lower *l, const struct tw_kir_operand *operand, unsigned bits) {
    return operand->is_imm ? jit_lower_constant(l, operand->bits, bits) : reg_row(l, operand->reg);
}

uint32_t jit_lower_dest(struct jit_lower *l, const struct tw_kir_inst *inst, unsigned index) {
    (void)inst;
    return l->dests[index];
}

// ---- instructions ----

static uint32_t inst_count(const struct jit_lower *l) {
    return (uint32_t)(l->insts.len / sizeof(struct tw_interp_inst));
}

void jit_lower_emit(struct jit_lower *l, uint16_t op, uint64_t imm, const uint32_t *operands,
                    unsigned count) {
    struct tw_interp_inst inst = {.op = op,
                                  .operand_count = (uint16_t)count,
                                  .operands = (uint32_t)(l->operands.len / sizeof *operands),
                                  .imm = imm};
    append(l, &l->operands, operands, count * sizeof *operands);
    append(l, &l->insts, &inst, sizeof inst);
    l->full |= inst_count(l) > TW_INTERP_INSTS_MAX;
}

bool jit_lower_alu(struct jit_lower *l, struct tw_interp_key key, uint64_t imm, const uint32_t *rows,
                   unsigned count) {
    uint16_t op = tw_interp_find(&key);
    if (!op || strlen(tw_interp_operands(op)) != count)
        return false;
    jit_lower_emit(l, op, imm, rows, count);
    return true;
}

static void emit_blend(struct jit_lower *l, uint32_t reg, uint32_t from) {
    static const uint16_t ops[] = {TW_INTERP_BLEND_8,  TW_INTERP_BLEND_16,  TW_INTERP_BLEND_32,
                                   TW_INTERP_BLEND_64, TW_INTERP_BLEND_128, TW_INTERP_BLEND_P};
    uint32_t operands[] = {reg_row(l, reg), from};
    jit_lower_emit(l, ops[class_of(l->code->function->regs[reg].bits)], 0, operands, TW_COUNT(operands));
}

static bool lower_trap(struct jit_lower *l, const struct tw_kir_inst *inst) {
    jit_lower_emit(l, TW_INTERP_TRAP, inst->line, NULL, 0);
    return true;
}

static bool lower_op(struct jit_lower *l, const struct tw_kir_inst *inst) {
    switch (inst->op) {
    case TW_KIR_TRAP:
        return lower_trap(l, inst);
    case TW_KIR_CVT:
        return jit_lower_convert(l, inst);
    case TW_KIR_SREG:
    case TW_KIR_ADDR:
    case TW_KIR_LDPARAM:
    case TW_KIR_PARAMADDR:
    case TW_KIR_ISSPACE:
        return jit_lower_memory(l, inst);
    case TW_KIR_MOV:
    case TW_KIR_SELECT:
    case TW_KIR_PACK:
    case TW_KIR_UNPACK:
        return jit_lower_int(l, inst);
    default:
        break;
    }
    unsigned flags = tw_kir_op_flags(inst->op);
    if (flags & TW_KIR_WARP)
        return jit_lower_warp(l, inst);
    if (flags & TW_KIR_MEM)
        return jit_lower_memory(l, inst);
    if (!(flags & TW_KIR_PURE))
        return false;
    return tw_kir_type_is_float(inst->type) ? jit_lower_float(l, inst) : jit_lower_int(l, inst);
}

static void free_if_last(struct jit_lower *l, uint32_t block, uint32_t at, uint32_t reg) {
    if (reg == TW_KIR_NO_REG || l->homes[reg] != block || l->last_use[reg] != at || l->rows[reg] == JIT_NONE)
        return;
    row_give(l, class_of(l->code->function->regs[reg].bits), l->rows[reg]);
    l->rows[reg] = JIT_NONE;
}

// Rows that nobody reads behind this instruction.
static void free_rows(struct jit_lower *l, uint32_t block, uint32_t at, const struct tw_kir_inst *inst) {
    for (; l->temp_count > 0; l->temp_count--)
        row_give(l, l->temp_classes[l->temp_count - 1], l->temps[l->temp_count - 1]);
    free_if_last(l, block, at, inst->guard);
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!inst->src[s].is_imm)
            free_if_last(l, block, at, inst->src[s].reg);
    for (unsigned d = 0; d < inst->dst_count; d++)
        free_if_last(l, block, at, inst->dst[d]);
}

// Where the PTX has `_` the width of the result is that of the widest: the row is nobody's.
static bool choose_dests(struct jit_lower *l, uint32_t block, const struct tw_kir_inst *inst) {
    if (inst->dst_count > TW_COUNT(l->dests))
        return false;
    for (unsigned d = 0; d < inst->dst_count; d++) {
        uint32_t reg = inst->dst[d];
        if (reg == TW_KIR_NO_REG)
            l->dests[d] = jit_lower_temp(l, 128);
        else if (jit_must_blend(l->code, block, inst, reg))
            l->dests[d] = jit_lower_temp(l, l->code->function->regs[reg].bits);
        else
            l->dests[d] = reg_row(l, reg);
    }
    return true;
}

static bool lower_inst(struct jit_lower *l, uint32_t block, uint32_t at, const struct tw_kir_inst *inst) {
    uint32_t guard_at = inst_count(l);
    if (inst->guard != TW_KIR_NO_REG)
        jit_lower_emit(l, TW_INTERP_GUARD, inst->guard_not, (uint32_t[]){reg_row(l, inst->guard)}, 1);
    if (!choose_dests(l, block, inst) || !lower_op(l, inst))
        return cannot_say(l, inst);
    for (unsigned d = 0; d < inst->dst_count; d++)
        if (inst->dst[d] != TW_KIR_NO_REG && l->dests[d] != l->rows[inst->dst[d]])
            emit_blend(l, inst->dst[d], l->dests[d]);
    if (inst->guard != TW_KIR_NO_REG && !l->full) {
        struct tw_interp_inst *guard = &((struct tw_interp_inst *)(void *)l->insts.data)[guard_at];
        guard->imm |= (uint64_t)(inst_count(l) - guard_at - 1) << 1;
        jit_lower_emit(l, TW_INTERP_UNGUARD, 0, NULL, 0);
    }
    free_rows(l, block, at, inst);
    return !l->full || too_large(l);
}

// ---- blocks ----

// Where a lane waits that goes from one block to another. Place 0 is that of those whose thread ends at once.
static uint32_t place_of(const struct jit_lower *l, uint32_t from, uint32_t to) {
    return to >= l->code->count ? 0 : 1 + jit_node_towards(l->code, &l->nodes, from, to);
}

static bool lower_barrier(struct jit_lower *l, const struct jit_block *b) {
    const struct tw_kir_inst *inst = b->last;
    if (inst->op == TW_KIR_BAR) {
        jit_lower_emit(l, TW_INTERP_BARRIER, inst->line, b->succs, 1);
        return true;
    }
    if (inst->op != TW_KIR_BARRED)
        return cannot_say(l, inst);
    bool counts = inst->mode == TW_KIR_RED_POPC;
    uint32_t reg = inst->dst_count ? inst->dst[0] : TW_KIR_NO_REG;
    uint32_t operands[] = {b->succs[0],
                           reg == TW_KIR_NO_REG ? jit_lower_temp(l, counts ? 32 : 1) : reg_row(l, reg),
                           jit_lower_source(l, &inst->src[0], 1)};
    jit_lower_emit(l,
                   counts                         ? TW_INTERP_BARRED_POPC
                   : inst->mode == TW_KIR_RED_AND ? TW_INTERP_BARRED_AND
                                                  : TW_INTERP_BARRED_OR,
                   inst->line, operands, TW_COUNT(operands));
    return true;
}

static bool lower_terminator(struct jit_lower *l, uint32_t block) {
    const struct jit_block *b = &l->code->blocks[block];
    uint32_t operands[2 + 2 * 256], count = 0;
    uint16_t op = b->term == JIT_GOTO ? TW_INTERP_BR : b->term == JIT_COND ? TW_INTERP_BRC : TW_INTERP_BRX;
    if (b->term == JIT_EXIT) {
        jit_lower_emit(l, TW_INTERP_END, 0, NULL, 0);
        return true;
    }
    if (b->term == JIT_BARRIER)
        return lower_barrier(l, b);
    if (b->term != JIT_GOTO)
        operands[count++] = jit_lower_source(l, &b->cond, b->term == JIT_COND ? 1 : 32);
    if (b->term == JIT_SWITCH)
        operands[count++] = b->succ_count;
    uint64_t imm = b->term == JIT_COND && b->cond_not;
    for (uint32_t k = 0; k < b->succ_count; k++) {
        imm |= b->term != JIT_SWITCH && b->succs[k] <= block ? 2 : 0;
        operands[count++] = b->succs[k];
        operands[count++] = place_of(l, block, b->succs[k]);
    }
    jit_lower_emit(l, op, imm, operands, count);
    return true;
}

static void note_block(struct jit_lower *l) {
    uint32_t begin = inst_count(l);
    append(l, &l->blocks, &begin, sizeof begin);
}

// Rows of registers that live in this block alone are free behind it.
static bool lower_block(struct jit_lower *l, uint32_t block) {
    const struct jit_block *b = &l->code->blocks[block];
    note_block(l);
    for (uint32_t i = 0; i < b->count; i++)
        if (!lower_inst(l, block, i, &b->insts[i]))
            return false;
    if (!lower_terminator(l, block))
        return false;
    if (!b->cond.is_imm && (b->term == JIT_COND || b->term == JIT_SWITCH))
        free_if_last(l, block, b->count, b->cond.reg);
    return !l->full;
}

// ---- registers that live within one block ----

static void note_use(struct jit_lower *l, uint32_t reg, uint32_t at) {
    if (reg != TW_KIR_NO_REG)
        l->last_use[reg] = at;
}

static void note_uses(struct jit_lower *l, const struct tw_kir_inst *inst, uint32_t at) {
    note_use(l, inst->guard, at);
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!inst->src[s].is_imm)
            note_use(l, inst->src[s].reg, at);
    for (unsigned d = 0; d < inst->dst_count; d++)
        note_use(l, inst->dst[d], at);
}

static void find_last_uses(struct jit_lower *l) {
    for (uint32_t b = 0; b < l->code->count; b++) {
        const struct jit_block *block = &l->code->blocks[b];
        for (uint32_t i = 0; i < block->count; i++)
            note_uses(l, &block->insts[i], i);
        if (block->last && block->term == JIT_BARRIER)
            note_uses(l, block->last, block->count);
        if (!block->cond.is_imm && (block->term == JIT_COND || block->term == JIT_SWITCH))
            note_use(l, block->cond.reg, block->count);
    }
}

// ---- the whole ----

static bool init(struct jit_lower *l, struct tw_error *err) {
    const struct jit_code *code = l->code;
    uint32_t regs = code->function->reg_count;
    l->rows = TW_ARENA_ARRAY(code->arena, uint32_t, regs + 1);
    l->last_use = TW_ARENA_ARRAY(code->arena, uint32_t, regs + 1);
    l->free_capacity = regs + TW_COUNT(l->temps);
    bool ok = l->rows && l->last_use;
    for (unsigned c = 0; c < TW_COUNT(l->free_rows); c++) {
        l->free_rows[c] = TW_ARENA_ARRAY(code->arena, uint32_t, l->free_capacity);
        ok = ok && l->free_rows[c];
    }
    if (!ok)
        return jit_no_memory(err);
    if (!jit_nodes_number(code, &l->nodes, err) || !jit_homes_find(code, false, &l->homes, err))
        return false;
    for (uint32_t r = 0; r < regs; r++)
        l->rows[r] = JIT_NONE;
    struct tw_buf *buffers[] = {&l->insts, &l->constants, &l->zeros, &l->operands, &l->blocks};
    for (unsigned i = 0; i < TW_COUNT(buffers); i++)
        tw_buf_init(buffers[i], MAX_BYTES);
    return true;
}

static void done(struct jit_lower *l) {
    struct tw_buf *buffers[] = {&l->insts, &l->constants, &l->zeros, &l->operands, &l->blocks};
    for (unsigned i = 0; i < TW_COUNT(buffers); i++)
        tw_buf_done(buffers[i]);
}

// Rows of registers that live in several blocks: no block may use them for its own.
static void place_shared(struct jit_lower *l) {
    for (uint32_t r = 0; r < l->code->function->reg_count; r++)
        if (l->homes[r] == JIT_HOME_SHARED)
            (void)reg_row(l, r);
}

// Registers that a warp may read before it has written them.
static void add_zeros(struct jit_lower *l) {
    for (uint32_t r = 0; r < l->code->function->reg_count; r++) {
        if (!jit_bit(l->code->blocks[0].live_in, r))
            continue;
        struct tw_interp_zero zero = {.row = reg_row(l, r),
                                      .bytes = tw_interp_row_bytes(l->code->function->regs[r].bits)};
        append(l, &l->zeros, &zero, sizeof zero);
    }
}

// The first instruction that lets warps of a block wait otherwise than all for all.
static uint32_t line_of_waiting(const struct jit_code *code) {
    const struct tw_kir_inst *first = NULL;
    for (uint32_t b = 0; b < code->function->block_count; b++)
        for (uint32_t i = 0; i < code->function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &code->function->blocks[b].insts[i];
            if (inst->op == TW_KIR_NANOSLEEP || inst->op == TW_KIR_BARARRIVE)
                return inst->line;
            if (tw_kir_op_flags(inst->op) & TW_KIR_SYNC)
                first = first ? first : inst;
        }
    return first ? first->line : 0;
}

static bool lower_all(struct jit_lower *l) {
    const struct jit_code *code = l->code;
    if (code->named_barriers)
        return cannot(l,
                      "line %u: programs cannot say barriers by number, nor loops in which a warp waits for "
                      "others",
                      line_of_waiting(code));
    if (code->count + 1 > TW_INTERP_BLOCKS_MAX)
        return too_large(l);
    find_last_uses(l);
    place_shared(l);
    add_zeros(l);
    for (uint32_t b = 0; b < code->count; b++)
        if (!lower_block(l, b))
            return false;
    note_block(l); // behind the others: where threads end
    jit_lower_emit(l, TW_INTERP_END, 0, NULL, 0);
    return !l->full;
}

static bool write_program(const struct jit_lower *l, struct tw_buf *out) {
    struct tw_interp_header header = {.magic = TW_INTERP_MAGIC,
                                      .flags = l->code->turns ? TW_INTERP_BARRIERS : 0,
                                      .inst_count = inst_count(l),
                                      .constant_count =
                                          (uint32_t)(l->constants.len / sizeof(struct tw_interp_constant)),
                                      .zero_count = (uint32_t)(l->zeros.len / sizeof(struct tw_interp_zero)),
                                      .operand_count = (uint32_t)(l->operands.len / sizeof(uint32_t)),
                                      .block_count = (uint32_t)(l->blocks.len / sizeof(uint32_t)),
                                      .reg_bytes = l->reg_bytes};
    const struct tw_buf *parts[] = {&l->insts, &l->constants, &l->zeros, &l->operands, &l->blocks};
    bool ok = tw_buf_append(out, &header, sizeof header);
    for (unsigned i = 0; i < TW_COUNT(parts); i++)
        ok = ok && tw_buf_append(out, parts[i]->data, parts[i]->len);
    return ok;
}

bool jit_lower(const struct jit_code *code, struct tw_buf *out, struct jit_lowered *ret_lowered,
               struct tw_error *err) {
    *ret_lowered = (struct jit_lowered){};
    struct jit_lower l = {.code = code, .why = ret_lowered->why};
    bool ok = init(&l, err);
    ret_lowered->can = ok && lower_all(&l);
    ret_lowered->reg_bytes = l.reg_bytes;
    if (ret_lowered->can && !write_program(&l, out))
        ok = jit_no_memory(err);
    done(&l);
    return ok;
}

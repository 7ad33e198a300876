// SPDX-License-Identifier: Apache-2.0
//
// A version of a kernel for rows that are short: of at most half as many elements as a block of one row has threads.
//
//     for (int i = threadIdx.x; i < n; i += 256)
//         sum += row[i];
//
// goes round once there, or not at all, and the lanes of the upper half never do: loops become straight code, the masks of
// half the lanes are zero, and what these lanes hold is what they began with, so that LLVM works it out. With rows of 128 that is half of the
// instructions. `n` is a parameter of the kernel, and the entry looks at it once a launch:
//
//     entry(frame, first, count) { return 1 <= n && n <= 128 ? short(…) : any(…); }
//
// Both versions share the analyses, the places in the spill area and the exact version.

#include "emit.h"

enum { DEPTH_MAX = 4, STEP_MAX = 1 << 30 };

// ---- what the registers hold ----

static bool writes(const struct tw_kir_inst *inst, uint32_t reg) {
    for (unsigned d = 0; inst && d < inst->dst_count; d++)
        if (inst->dst[d] == reg)
            return true;
    return false;
}

static bool is_word(const struct tw_kir_inst *inst) {
    return jit_is_integer(inst->type) && tw_kir_type_bits(inst->type) == 32;
}

// Confined: a walk over the places where a register is written.
struct writers {
    const struct jit_code *code;
    uint32_t reg, block, next; // the block and the place behind the last one found
};

// The next instruction that writes the register, NULL: there is none. A barrier comes at its block's end.
static const struct tw_kir_inst *next_writer(struct writers *w, uint32_t *ret_block, uint32_t *ret_at) {
    for (; w->block < w->code->count; w->block++, w->next = 0) {
        const struct jit_block *b = &w->code->blocks[w->block];
        while (w->next <= b->count) {
            uint32_t at = w->next++;
            const struct tw_kir_inst *inst = at < b->count ? &b->insts[at] : b->last;
            if (!writes(inst, w->reg))
                continue;
            *ret_block = w->block;
            *ret_at = at;
            return inst;
        }
    }
    return NULL;
}

static bool holds_thread(const struct jit_code *code, const struct tw_kir_operand *operand, uint32_t block,
                         uint32_t at, unsigned depth);

// It writes the thread's number in its block, of one row.
static bool gives_thread(const struct jit_code *code, const struct tw_kir_inst *inst, uint32_t block,
                         uint32_t at, unsigned depth) {
    if (inst->guard != TW_KIR_NO_REG || !is_word(inst) || inst->dst_count != 1)
        return false;
    return inst->op == TW_KIR_SREG ? inst->index == TW_KIR_TID_X
                                   : inst->op == TW_KIR_MOV && depth > 0 &&
                                         holds_thread(code, &inst->src[0], block, at, depth - 1);
}

// Every lane that is there reads its thread's number at instruction `at` of `block`, outside of loops. Later blocks, which never
// come back to it, may write the register again.
static bool holds_thread(const struct jit_code *code, const struct tw_kir_operand *operand, uint32_t block,
                         uint32_t at, unsigned depth) {
    struct writers w = {.code = code, .reg = operand->is_imm ? TW_KIR_NO_REG : operand->reg};
    const struct tw_kir_inst *inst;
    uint32_t from, place;
    bool found = false;
    if (operand->is_imm || code->blocks[block].loop != JIT_NONE)
        return false;
    while ((inst = next_writer(&w, &from, &place)) && (from < block || (from == block && place < at))) {
        if (found || !jit_dominates(code, from, block) || !gives_thread(code, inst, from, place, depth))
            return false;
        found = true;
    }
    return found;
}

// The parameter that a register holds from the first block on. False: it is none of 32 bits.
static bool holds_parameter(const struct jit_code *code, uint32_t reg, uint64_t *ret_offset) {
    struct writers w = {.code = code, .reg = reg};
    uint32_t block, at;
    const struct tw_kir_inst *inst = next_writer(&w, &block, &at);
    if (!inst || block != 0 || inst->op != TW_KIR_LDPARAM || inst->dst_count != 1 || !is_word(inst) ||
        inst->guard != TW_KIR_NO_REG || next_writer(&w, &block, &at))
        return false;
    *ret_offset = (uint64_t)inst->offset;
    return true;
}

// ---- where rows begin and end ----

// `value < bound` or its opposite, of registers.
static bool is_below(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_SETP && (inst->cmp == TW_KIR_LT || inst->cmp == TW_KIR_GE) && is_word(inst) &&
           inst->combine == TW_KIR_COMBINE_NONE && inst->dst_count == 1 && inst->guard == TW_KIR_NO_REG &&
           !inst->src[0].is_imm && !inst->src[1].is_imm;
}

static bool begins(const struct jit_code *code, uint32_t block, uint32_t at) {
    const struct tw_kir_inst *inst = &code->blocks[block].insts[at];
    return is_below(inst) && holds_thread(code, &inst->src[0], block, at, DEPTH_MAX);
}

// The width of the block, which is one vector, or a number that is not less and so little that the first sum does not wrap.
static bool is_leap(const struct jit_code *code, const struct tw_kir_operand *step) {
    if (step->is_imm)
        return step->bits >= code->variant.lanes && step->bits <= STEP_MAX;
    struct writers w = {.code = code, .reg = step->reg};
    uint32_t block, at;
    const struct tw_kir_inst *inst = next_writer(&w, &block, &at);
    return inst && block == 0 && inst->op == TW_KIR_SREG && inst->index == TW_KIR_NTID_X && is_word(inst) &&
           inst->guard == TW_KIR_NO_REG && !next_writer(&w, &block, &at);
}

static bool leaps(const struct jit_code *code, const struct tw_kir_inst *inst, uint32_t counter) {
    return inst->op == TW_KIR_ADD && inst->guard == TW_KIR_NO_REG && is_word(inst) && !inst->src[0].is_imm &&
           inst->src[0].reg == counter && !(inst->mods & TW_KIR_SAT) && is_leap(code, &inst->src[1]);
}

// The counter is the thread's number before the loop, and in it goes on once a round, in `block` before instruction `at`.
static bool counts_up(const struct jit_code *code, uint32_t counter, uint32_t block, uint32_t at) {
    struct writers w = {.code = code, .reg = counter};
    const struct tw_kir_inst *inst;
    uint32_t from, place;
    unsigned steps = 0;
    while ((inst = next_writer(&w, &from, &place))) {
        bool steps_here = from == block && place < at && leaps(code, inst, counter);
        if (!steps_here &&
            (code->blocks[from].loop != JIT_NONE || !gives_thread(code, inst, from, place, DEPTH_MAX)))
            return false;
        steps += steps_here;
    }
    return steps == 1;
}

// The block's branch leaves an outermost loop for good as soon as the counter, which has just gone on, is not below the bound: of a short
// row in the first round, for all lanes that are there.
static bool ends(const struct jit_code *code, uint32_t block, uint32_t bound) {
    const struct jit_block *b = &code->blocks[block];
    if (b->loop == JIT_NONE || code->loops[b->loop].parent != JIT_NONE || b->term != JIT_COND ||
        b->count == 0 || b->cond.is_imm)
        return false;
    const struct tw_kir_inst *last = &b->insts[b->count - 1];
    if (!is_below(last) || last->src[1].reg != bound || last->dst[0] != b->cond.reg)
        return false;
    uint32_t out = b->succs[(last->cmp == TW_KIR_LT) != b->cond_not];
    return (out == code->count || !jit_in_loop(code, b->loop, out)) &&
           counts_up(code, last->src[0].reg, block, b->count - 1);
}

// A loop's end under this bound, for each block. False: none has it.
static bool find_ends(const struct jit_code *code, uint32_t bound, uint64_t *ends_set) {
    bool any = false;
    for (uint32_t b = 0; b < code->count; b++)
        if (ends(code, b, bound)) {
            jit_bit_set(ends_set, b);
            any = true;
        }
    return any;
}

bool jit_row_find(const struct jit_emit *e, const struct jit_row **ret_row) {
    const struct jit_code *code = e->code;
    *ret_row = NULL;
    if (code->variant.opt_level != TW_KERNEL_FULL || code->exact || !jit_masks_are_words(e) ||
        e->lanes < 2 * JIT_MASK_WORD || code->variant.x_multiple != e->lanes)
        return true;
    struct jit_row *row = TW_ARENA_NEW(e->arena, struct jit_row);
    uint64_t *set = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(code->count) + 1);
    uint64_t *tried = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(code->function->reg_count) + 1);
    if (!row || !set || !tried)
        return jit_no_memory(e->err);
    *row = (struct jit_row){.ends = set, .most = e->lanes / 2};
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t i = 0; i < code->blocks[b].count; i++) {
            if (!begins(code, b, i))
                continue;
            row->bound = code->blocks[b].insts[i].src[1].reg;
            if (jit_bit(tried, row->bound))
                continue;
            jit_bit_set(tried, row->bound);
            if (!holds_parameter(code, row->bound, &row->offset) || !find_ends(code, row->bound, set))
                continue;
            *ret_row = row;
            return true;
        }
    return true;
}

bool jit_row_begins(const struct jit_emit *e, const struct tw_kir_inst *inst) {
    const struct jit_block *b = &e->code->blocks[e->at_block];
    return e->row && !e->part && e->at_inst < b->count && inst == &b->insts[e->at_inst] &&
           begins(e->code, e->at_block, e->at_inst) && inst->src[1].reg == e->row->bound;
}

bool jit_row_ends(const struct jit_emit *e, uint32_t block) {
    return e->row && jit_bit(e->row->ends, block);
}

LLVMValueRef jit_row_is_short(struct jit_emit *e, const struct jit_row *row) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef at = jit_i64(e, row->offset);
    LLVMValueRef bound =
        LLVMBuildLoad2(e->b, i32, LLVMBuildGEP2(e->b, jit_int(e, 8), e->params, &at, 1, ""), "row");
    LLVMSetAlignment(bound, 1);
    LLVMValueRef below = LLVMBuildSub(e->b, bound, jit_i32(e, 1), "");
    return LLVMBuildICmp(e->b, LLVMIntULT, below, jit_i32(e, row->most), "short");
}

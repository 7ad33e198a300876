// SPDX-License-Identifier: Apache-2.0
//
// Registers of which only few lanes are ever looked at, in vectors of a whole block. A sum over a warp by shuffles
//
//     for (step = 16; step; step /= 2) value += shfl_xor(value, step);
//     if (tid % 32 == 0) part[tid / 32] = value;
//
// is made for 256 lanes, of which the last store wants 8; the addition before it 16, then 32, 64, 128. Such a register is kept
// as the lanes that are wanted, side by side, and operations are done on these alone: fewer at each step, where
// whole vectors would be shuffled and added for a lane or two each.
//
// Wanted is what a store under a known mask stores, and what operations lane by lane and shuffles with known lanes need for
// registers that are kept so. The mask is known where the threads' numbers are: in a block of one row.

#include "emit.h"

enum { LEAST = 4, DEPTH_MAX = 8, ROUNDS_MAX = 64 };

// Confined: where registers are written, and what is wanted of them.
struct wants {
    struct jit_emit *e;
    uint32_t *block, *inst; // by register: its first write, in the order of blocks; JIT_NONE: none
    uint32_t *again;        // the block of the next one
    uint64_t *lanes;        // by register, as many words as a mask has
    uint64_t *all;          // registers of which every lane is wanted
    unsigned words;
    bool changed;
};

static void note_writes(struct wants *w, uint32_t block, uint32_t at) {
    const struct tw_kir_inst *inst = &w->e->code->blocks[block].insts[at];
    for (unsigned d = 0; d < inst->dst_count; d++) {
        uint32_t reg = inst->dst[d];
        if (reg == TW_KIR_NO_REG)
            continue;
        if (w->block[reg] == JIT_NONE) {
            w->block[reg] = block;
            w->inst[reg] = at;
        } else if (w->again[reg] == JIT_NONE) {
            w->again[reg] = block;
        }
    }
}

// ---- what is known of lanes at compile time ----

static bool fold(const struct tw_kir_inst *inst, const uint32_t *a, uint32_t *ret) {
    bool sign = tw_kir_type_is_signed(inst->type);
    int64_t x = sign ? (int32_t)a[0] : (int64_t)a[0], y = sign ? (int32_t)a[1] : (int64_t)a[1];
    switch (inst->op) {
    case TW_KIR_MOV:
        *ret = a[0];
        return true;
    case TW_KIR_AND:
        *ret = a[0] & a[1];
        return true;
    case TW_KIR_SHR:
        *ret = a[1] < 32 ? a[0] >> a[1] : 0;
        return !sign;
    case TW_KIR_REM:
        *ret = a[1] ? a[0] % a[1] : 0;
        return !sign && a[1];
    case TW_KIR_SETP:
        *ret = inst->cmp == TW_KIR_EQ   ? x == y
               : inst->cmp == TW_KIR_NE ? x != y
               : inst->cmp == TW_KIR_LT ? x < y
               : inst->cmp == TW_KIR_LE ? x <= y
               : inst->cmp == TW_KIR_GT ? x > y
                                        : x >= y;
        return inst->cmp <= TW_KIR_GE && inst->combine == TW_KIR_COMBINE_NONE && inst->dst_count == 1;
    default:
        return false;
    }
}

// The value that a thread of the block has where instruction `at` of `block`, outside of loops, reads it: of 32 bits, or a predicate. Later blocks may
// write it again.
static bool value_of(const struct wants *w, const struct tw_kir_operand *operand, uint32_t block, uint32_t at,
                     unsigned thread, unsigned depth, uint32_t *ret) {
    const struct jit_code *code = w->e->code;
    if (operand->is_imm) {
        *ret = (uint32_t)operand->bits;
        return true;
    }
    uint32_t from = w->block[operand->reg], again = w->again[operand->reg], a[2] = {};
    if (depth == 0 || from == JIT_NONE || (again != JIT_NONE && again <= block) ||
        code->blocks[block].loop != JIT_NONE || !jit_dominates(code, from, block))
        return false;
    uint32_t index = w->inst[operand->reg];
    if (from == block && index >= at)
        return false;
    const struct tw_kir_inst *inst = &code->blocks[from].insts[index];
    if (inst->guard != TW_KIR_NO_REG)
        return false;
    if (inst->op == TW_KIR_SREG) {
        *ret = thread;
        return inst->index == TW_KIR_TID_X && code->variant.x_multiple >= code->variant.lanes;
    }
    if (!jit_is_integer(inst->type) || tw_kir_type_bits(inst->type) != 32 || inst->src_count > TW_COUNT(a))
        return false;
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!value_of(w, &inst->src[s], from, index, thread, depth - 1, &a[s]))
            return false;
    return fold(inst, a, ret);
}

// The lanes that run a block which nothing but one branch leads to, from where all lanes are. False: they are not known,
// or are not the same in all vectors of the block.
static bool mask_of(const struct wants *w, uint32_t block, uint64_t *ret_mask) {
    const struct jit_code *code = w->e->code;
    const struct jit_block *b = &code->blocks[block];
    if (b->pred_count != 1 || code->variant.x_multiple == 1)
        return false;
    const struct jit_block *before = &code->blocks[b->preds[0]];
    if (before->term != JIT_COND || before->divergent || before->succs[0] == before->succs[1])
        return false;
    bool when = (before->succs[0] == block) != before->cond_not;
    memset(ret_mask, 0, w->words * sizeof *ret_mask);
    unsigned lanes = code->variant.lanes, threads = lanes;
    if (code->variant.x_multiple > lanes)
        threads = code->variant.x_multiple;
    for (unsigned thread = 0; thread < threads; thread++) {
        uint32_t value;
        if (!value_of(w, &before->cond, b->preds[0], before->count, thread, DEPTH_MAX, &value))
            return false;
        bool runs = (value != 0) == when;
        if (thread < lanes && runs)
            jit_bit_set(ret_mask, thread);
        if (jit_bit(ret_mask, thread % lanes) != runs)
            return false;
    }
    return true;
}

// ---- what is wanted ----

static void want_all(struct wants *w, uint32_t reg) {
    if (reg == TW_KIR_NO_REG || jit_bit(w->all, reg))
        return;
    jit_bit_set(w->all, reg);
    w->changed = true;
}

static void want(struct wants *w, const struct tw_kir_operand *operand, const uint64_t *lanes) {
    uint64_t *own = operand->is_imm ? NULL : &w->lanes[(size_t)operand->reg * w->words];
    for (unsigned k = 0; own && k < w->words; k++) {
        w->changed |= (lanes[k] & ~own[k]) != 0;
        own[k] |= lanes[k];
    }
}

// What it gives may be kept as few lanes: it is written here alone and keeps nothing of what was there.
static bool may_be_few(const struct wants *w, uint32_t block, uint32_t at) {
    const struct jit_emit *e = w->e;
    const struct tw_kir_inst *inst = &e->code->blocks[block].insts[at];
    if (inst->dst_count != 1 || inst->dst[0] == TW_KIR_NO_REG || inst->guard != TW_KIR_NO_REG)
        return false;
    uint32_t reg = inst->dst[0];
    bool kind = jit_is_known_shuffle(e, inst) || ((tw_kir_op_flags(inst->op) & TW_KIR_PURE) &&
                                                  inst->op != TW_KIR_SREG && inst->op != TW_KIR_SETP);
    struct jit_shape shape = e->code->shapes[reg];
    return kind && !e->tiles[block] && !jit_is_serial(e->code, block) && w->again[reg] == JIT_NONE &&
           jit_point_at(e, block, at) == JIT_NONE && shape.kind == JIT_VARYING &&
           jit_form_of(e->code, shape) == JIT_LANES && !jit_must_blend(e->code, block, inst, reg);
}

static void want_sources(struct wants *w, uint32_t block, uint32_t at) {
    const struct tw_kir_inst *inst = &w->e->code->blocks[block].insts[at];
    uint64_t mask[JIT_MASK_WORDS_MAX];
    uint32_t reg = inst->dst_count == 1 ? inst->dst[0] : TW_KIR_NO_REG;
    const uint64_t *own = reg == TW_KIR_NO_REG ? NULL : &w->lanes[(size_t)reg * w->words];
    if (own && !jit_bit(w->all, reg) && may_be_few(w, block, at)) {
        if (inst->op == TW_KIR_SHFL) {
            memset(mask, 0, sizeof mask);
            bool in_range;
            for (unsigned lane = 0; lane < w->e->lanes; lane++)
                if (jit_bit(own, lane))
                    jit_bit_set(mask, jit_shuffle_lane(inst, lane, &in_range));
            own = mask;
        }
        for (unsigned s = 0; s < (inst->op == TW_KIR_SHFL ? 1 : inst->src_count); s++)
            want(w, &inst->src[s], own);
        return;
    }
    bool stores = inst->op == TW_KIR_ST && inst->src_count == 2 && inst->guard == TW_KIR_NO_REG &&
                  inst->order == TW_KIR_WEAK && !(inst->mods & TW_KIR_VOLATILE) && mask_of(w, block, mask);
    for (unsigned s = 0; s < inst->src_count; s++)
        if (stores && s == 1)
            want(w, &inst->src[s], mask);
        else if (!inst->src[s].is_imm)
            want_all(w, inst->src[s].reg);
    want_all(w, inst->guard);
}

static void want_ends(struct wants *w) {
    const struct jit_code *code = w->e->code;
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        if ((block->term == JIT_COND || block->term == JIT_SWITCH) && !block->cond.is_imm)
            want_all(w, block->cond.reg);
        for (unsigned s = 0; block->last && s < block->last->src_count; s++)
            if (!block->last->src[s].is_imm)
                want_all(w, block->last->src[s].reg);
        for (unsigned d = 0; block->last && d < block->last->dst_count; d++)
            want_all(w, block->last->dst[d]);
    }
    for (uint32_t k = 0; code->turns && k < code->root_count; k++) // these come back from the spill area
        for (uint32_t r = 0; r < code->function->reg_count; r++)
            if (jit_bit(code->blocks[code->roots[k]].live_in, r))
                want_all(w, r);
    for (uint32_t k = 0; k < w->e->points->count; k++)
        for (uint32_t r = 0; r < code->function->reg_count; r++)
            if (jit_bit(w->e->points->items[k].live, r))
                want_all(w, r);
}

static const struct jit_lanes *list_lanes(struct jit_emit *e, const uint64_t *set) {
    struct jit_lanes *list = TW_ARENA_NEW(e->arena, struct jit_lanes);
    for (unsigned lane = 0; list && lane < e->lanes; lane++)
        if (jit_bit(set, lane))
            list->at[list->count++] = (uint16_t)lane;
    return list;
}

static unsigned count_lanes(const struct wants *w, const uint64_t *lanes) {
    unsigned count = 0;
    for (unsigned k = 0; k < w->words; k++)
        count += (unsigned)__builtin_popcountll(lanes[k]);
    return count;
}

// Adds what fills the 128 bits around each lane: within these shuffles take one cycle, and three or more across them. Not where that
// is as much as all.
static void fill_quarters(const struct wants *w, uint32_t reg, uint64_t *lanes) {
    unsigned bits = w->e->code->function->regs[reg].bits, unit = bits < 8 ? 1 : 128 / bits;
    uint64_t filled[JIT_MASK_WORDS_MAX] = {};
    for (unsigned lane = 0; lane < w->e->lanes; lane++)
        for (unsigned k = 0; jit_bit(lanes, lane) && k < unit; k++)
            jit_bit_set(filled, lane / unit * unit + k);
    if (unit > 1 && count_lanes(w, filled) <= w->e->lanes / 4)
        memcpy(lanes, filled, w->words * sizeof *lanes);
}

// Half of the lanes at most, and a power of two: as many as are wanted, and some more.
static bool keep_few(struct wants *w, uint32_t reg) {
    struct jit_emit *e = w->e;
    uint64_t *lanes = &w->lanes[(size_t)reg * w->words];
    fill_quarters(w, reg, lanes);
    unsigned count = count_lanes(w, lanes), wanted = LEAST;
    while (wanted < count)
        wanted *= 2;
    if (count == 0 || wanted > e->lanes / 2)
        return true;
    for (unsigned lane = 0; count < wanted; lane++) {
        count += !jit_bit(lanes, lane);
        jit_bit_set(lanes, lane);
    }
    e->few[reg] = list_lanes(e, lanes);
    return e->few[reg] || jit_no_memory(e->err);
}

static bool keep_block(struct wants *w, uint32_t block) {
    struct jit_emit *e = w->e;
    uint64_t mask[JIT_MASK_WORDS_MAX];
    for (uint32_t i = 0; i < e->code->blocks[block].count; i++)
        if (may_be_few(w, block, i) && !jit_bit(w->all, e->code->blocks[block].insts[i].dst[0]) &&
            !keep_few(w, e->code->blocks[block].insts[i].dst[0]))
            return false;
    if (mask_of(w, block, mask) && !(e->known[block] = list_lanes(e, mask)))
        return jit_no_memory(e->err);
    return true;
}

static bool start(struct wants *w) {
    struct jit_emit *e = w->e;
    size_t regs = e->code->function->reg_count;
    w->words = (unsigned)jit_words(e->lanes);
    w->block = TW_ARENA_ARRAY(e->arena, uint32_t, regs + 1);
    w->inst = TW_ARENA_ARRAY(e->arena, uint32_t, regs + 1);
    w->lanes = TW_ARENA_ARRAY(e->arena, uint64_t, regs * w->words + 1);
    w->all = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(regs) + 1);
    w->again = TW_ARENA_ARRAY(e->arena, uint32_t, regs + 1);
    if (!w->block || !w->inst || !w->again || !w->lanes || !w->all)
        return jit_no_memory(e->err);
    for (size_t r = 0; r < regs; r++)
        w->block[r] = w->again[r] = JIT_NONE;
    for (uint32_t b = 0; b < e->code->count; b++)
        for (uint32_t i = 0; i < e->code->blocks[b].count; i++)
            note_writes(w, b, i);
    want_ends(w);
    return true;
}

bool jit_few_find(struct jit_emit *e) {
    const struct jit_code *code = e->code;
    struct wants w = {.e = e, .changed = true};
    e->few = TW_ARENA_ARRAY(e->arena, const struct jit_lanes *, code->function->reg_count + 1);
    e->known = TW_ARENA_ARRAY(e->arena, const struct jit_lanes *, code->count + 1);
    if (!e->few || !e->known)
        return jit_no_memory(e->err);
    if (e->lanes <= TW_KERNEL_TURNS_MAX || code->exact || !code->uses_warp_ops)
        return true;
    if (!start(&w))
        return false;
    for (unsigned rounds = 0; w.changed && rounds < ROUNDS_MAX; rounds++) {
        w.changed = false;
        for (uint32_t b = code->count; b-- > 0;)
            for (uint32_t i = code->blocks[b].count; i-- > 0;)
                want_sources(&w, b, i);
    }
    for (uint32_t b = 0; b < code->count && !w.changed; b++)
        if (!keep_block(&w, b))
            return false;
    return true;
}

// ---- operations on them ----

bool jit_makes_few(const struct jit_emit *e, const struct tw_kir_inst *inst) {
    return !e->part && inst->dst_count == 1 && inst->dst[0] != TW_KIR_NO_REG && e->few[inst->dst[0]];
}

bool jit_emit_few(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct jit_part part = {.lanes = e->few[inst->dst[0]]};
    unsigned lanes = e->lanes;
    e->part = &part;
    e->lanes = part.lanes->count;
    bool ok = jit_emit_inst(e, inst);
    e->lanes = lanes;
    e->part = NULL;
    return ok;
}

// The lanes' places lie side by side, from `ret_first` bytes above lane 0's on.
static bool lie_together(const struct jit_emit *e, const struct jit_lanes *lanes, struct jit_shape address,
                         unsigned bytes, uint64_t *ret_first) {
    if (jit_form_of(e->code, address) != JIT_ONE)
        return false;
    *ret_first = jit_above(e, address, lanes->at[0]);
    for (unsigned k = 1; k < lanes->count; k++)
        if (jit_above(e, address, lanes->at[k]) != *ret_first + (uint64_t)k * bytes)
            return false;
    return *ret_first <= TW_KERNEL_OFFSET_MAX;
}

// In the order of lanes: where they meet the last one wins.
static void store_each(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef value,
                       const struct jit_lanes *stored) {
    struct jit_part part = {.lanes = stored};
    unsigned lanes = e->lanes;
    e->part = &part;
    e->lanes = stored->count;
    LLVMValueRef pointers = jit_pointer_at(e, jit_read(e, &inst->src[0], 64, true), inst->offset);
    e->lanes = lanes;
    e->part = NULL;
    for (unsigned k = 0; k < stored->count; k++) {
        LLVMValueRef one = LLVMBuildExtractElement(e->b, value, jit_i32(e, k), "");
        LLVMValueRef pointer = LLVMBuildExtractElement(e->b, pointers, jit_i32(e, k), "");
        LLVMSetAlignment(LLVMBuildStore(e->b, one, pointer), 1);
    }
}

bool jit_store_few(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->op != TW_KIR_ST || inst->src_count != 2 || inst->src[1].is_imm || !e->few[inst->src[1].reg])
        return false;
    const struct jit_lanes *lanes = e->known[e->at_block];
    unsigned bits = tw_kir_type_bits(inst->type);
    struct jit_shape shape = jit_operand_shape(e->code, &inst->src[0], 64);
    uint64_t first;
    if (lanes->count == 0)
        return true;
    LLVMValueRef value = jit_part_pick(e, inst->src[1].reg, lanes), address;
    if (lie_together(e, lanes, shape, bits / 8, &first)) {
        address = jit_firsts(e, &inst->src[0], 64, (struct jit_shape){.kind = JIT_AFFINE});
        address = jit_offset_pointer(e, jit_pointer_at(e, address, inst->offset), jit_i64(e, first));
        LLVMSetAlignment(LLVMBuildStore(e->b, value, address), 1);
        return true;
    }
    store_each(e, inst, value, lanes);
    return true;
}

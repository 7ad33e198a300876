// SPDX-License-Identifier: Apache-2.0
//
// Barriers. A warp that comes to one puts its live registers into its part of frame->spill and stops; when
// all warps of the block that still run have stopped, the next round takes each up where it stood. The order
// of warps between two barriers is thus fixed: 0, 1, 2, …
//
//     frame->spill:  warp 0 registers | warp 1 registers | …  each code->spill_bytes
//                    then 64 bytes a warp: u32 state, u32 unused, u64 mask of lanes; in warp 0's also u32[4]
//                    of bar.red; from byte 32 on the mask of 256 lanes, which know no named barriers
//
// State 0 is the beginning, 1 + n resume point n, ENDED the end. Registers keep one slot for the whole
// kernel.

#include "emit.h"

enum { STATE_BYTES = 64, MASK_AT = 8, LONG_MASK_AT = 32 };

// The exact version takes registers over in the main one's form too: no form takes more than all lanes do.
static uint64_t slot_bytes(const struct jit_emit *e, uint32_t reg) {
    uint64_t bits = e->code->function->regs[reg].bits;
    struct jit_shape shape = e->code->shapes[reg];
    if (e->code->exact && shape.kind == JIT_VARYING)
        return tw_align_up(bits * e->lanes / 8, 8);
    return tw_align_up((bits * jit_form_count(e->code, shape) + 7) / 8, 8);
}

static bool wanted_later(const struct jit_emit *e, uint32_t reg) {
    for (uint32_t k = 0; e->code->turns && k < e->code->root_count; k++)
        if (jit_bit(e->code->blocks[e->code->roots[k]].live_in, reg))
            return true;
    for (uint32_t b = 0; b < e->code->count; b++)
        if (jit_is_yield(&e->code->blocks[b]) && jit_yield_keeps(e->code, &e->code->blocks[b], reg))
            return true;
    for (uint32_t k = 0; e->code->exact && k < e->points->count; k++)
        if (jit_bit(e->points->items[k].live, reg))
            return true;
    return false;
}

static void add_writes(const struct jit_block *b, uint64_t *set) {
    for (uint32_t i = 0; i < b->count; i++)
        for (unsigned d = 0; d < b->insts[i].dst_count; d++)
            if (b->insts[i].dst[d] != TW_KIR_NO_REG)
                jit_bit_set(set, b->insts[i].dst[d]);
}

// Hands what block `from` has changed to one that follows; past a barrier that is what the barrier itself writes. A
// warp that is not suspended where it might be has stored nothing.
static bool pass_on(const struct jit_emit *e, uint32_t from, uint64_t *to) {
    const struct jit_block *b = &e->code->blocks[from];
    bool grew = false;
    if (b->term == JIT_BARRIER && !jit_is_yield(b)) {
        for (unsigned d = 0; d < b->last->dst_count; d++) {
            if (b->last->dst[d] == TW_KIR_NO_REG)
                continue; // nobody wants what the barrier counted
            grew |= !jit_bit(to, b->last->dst[d]);
            jit_bit_set(to, b->last->dst[d]);
        }
        return grew;
    }
    for (size_t w = 0; w < jit_words(e->code->function->reg_count); w++) {
        grew |= (e->changed[from][w] & ~to[w]) != 0;
        to[w] |= e->changed[from][w];
    }
    return grew;
}

// Registers that may differ from their copy in the spill area at the end of each block: those written since the
// warp was taken up, and before the first barrier all. What stays the same from barrier to barrier is stored once.
static bool find_changed(struct jit_emit *e) {
    size_t words = jit_words(e->code->function->reg_count);
    e->changed = TW_ARENA_ARRAY(e->arena, uint64_t *, e->code->count);
    if (!e->changed)
        return jit_no_memory(e->err);
    for (uint32_t b = 0; b < e->code->count; b++) {
        e->changed[b] = TW_ARENA_ARRAY(e->arena, uint64_t, words + 1);
        if (!e->changed[b])
            return jit_no_memory(e->err);
        if (b == 0 || e->code->exact)
            memset(e->changed[b], 0xff, words * sizeof(uint64_t));
        add_writes(&e->code->blocks[b], e->changed[b]);
    }
    for (bool grew = e->code->turns; grew;) {
        grew = false;
        for (uint32_t b = 0; b < e->code->count; b++)
            for (uint32_t k = 0; k < e->code->blocks[b].succ_count; k++)
                if (e->code->blocks[b].succs[k] < e->code->count)
                    grew |= pass_on(e, b, e->changed[e->code->blocks[b].succs[k]]);
    }
    return true;
}

static bool has_yields(const struct jit_code *code) {
    for (uint32_t b = 0; b < code->count; b++)
        if (jit_is_yield(&code->blocks[b]))
            return true;
    return false;
}

bool jit_region_build(struct jit_emit *e) {
    uint64_t end = 0;
    if (!find_changed(e))
        return false;
    e->spill_at = TW_ARENA_ARRAY(e->arena, uint64_t, e->code->function->reg_count + 1);
    if (!e->spill_at)
        return jit_no_memory(e->err);
    for (uint32_t r = 0; r < e->code->function->reg_count; r++) {
        if (!wanted_later(e, r))
            continue;
        end = tw_align_up(end, slot_bytes(e, r) >= 64 ? 64 : 8);
        e->spill_at[r] = end;
        end += slot_bytes(e, r);
    }
    e->mask_at = end;
    if (e->code->exact || has_yields(e->code))
        end += jit_mask_bytes(e) * ((uint64_t)e->code->count + 1);
    end = tw_align_up(end, 64);
    e->table_at = end;
    if (e->code->named_barriers)
        end += JIT_NAMED_BYTES;
    if (end && end % 1024 == 0)
        end += 64; // slots of different warps at the same place in a page would fight for cache sets
    e->spill_bytes = end;
    return true;
}

LLVMValueRef jit_offset_pointer(struct jit_emit *e, LLVMValueRef base, LLVMValueRef offset) {
    return LLVMBuildGEP2(e->b, jit_int(e, 8), base, &offset, 1, "");
}

// The bookkeeping of warp `warp` (i32), behind all register spills.
LLVMValueRef jit_state_pointer(struct jit_emit *e, LLVMValueRef warp) {
    LLVMTypeRef i64 = jit_int(e, 64);
    LLVMValueRef warps = LLVMBuildZExt(e->b, e->warp_count, i64, ""), w = LLVMBuildZExt(e->b, warp, i64, "");
    LLVMValueRef at = LLVMBuildMul(e->b, warps, jit_i64(e, e->spill_bytes), "");
    at = LLVMBuildAdd(e->b, at, LLVMBuildMul(e->b, w, jit_i64(e, STATE_BYTES), ""), "");
    return jit_offset_pointer(e, e->spill, at);
}

static LLVMValueRef this_warp(struct jit_emit *e) {
    return LLVMBuildLoad2(e->b, jit_int(e, 32), e->warp, "");
}

LLVMValueRef jit_spill_pointer(struct jit_emit *e) {
    LLVMValueRef w = LLVMBuildZExt(e->b, this_warp(e), jit_int(e, 64), "");
    return jit_offset_pointer(e, e->spill, LLVMBuildMul(e->b, w, jit_i64(e, e->spill_bytes), ""));
}

// Word `index` of what bar.red has counted, in the state of warp 0: true predicates and lanes of the last
// round, then of this one.
enum { REDUCED = 0, REDUCING = 2, REDUCTION_AT = 16 };
static LLVMValueRef reduction_pointer(struct jit_emit *e, unsigned index) {
    return jit_offset_pointer(e, jit_state_pointer(e, jit_i32(e, 0)),
                              jit_i64(e, REDUCTION_AT + 4 * (uint64_t)index));
}

void jit_emit_states_reset(struct jit_emit *e) {
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), loop = jit_block_new(e, "states"),
                      done = jit_block_new(e, "states_done");
    for (unsigned i = 0; i < 4; i++)
        LLVMBuildStore(e->b, jit_i32(e, 0), reduction_pointer(e, i));
    if (e->code->named_barriers)
        jit_named_reset(e);
    LLVMBuildBr(e->b, loop);
    LLVMPositionBuilderAtEnd(e->b, loop);
    LLVMValueRef w = LLVMBuildPhi(e->b, jit_int(e, 32), "w");
    LLVMBuildStore(e->b, jit_i64(e, 0), jit_state_pointer(e, w)); // the beginning, waiting for nothing
    LLVMValueRef next = LLVMBuildAdd(e->b, w, jit_i32(e, 1), "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, next, e->warp_count, ""), loop, done);
    LLVMValueRef values[2] = {jit_i32(e, 0), next};
    LLVMBasicBlockRef from[2] = {before, loop};
    LLVMAddIncoming(w, values, from, 2);
    LLVMPositionBuilderAtEnd(e->b, done);
}

// Memory form of a register: predicates as bytes or a word of lanes.
static LLVMValueRef to_memory(struct jit_emit *e, uint32_t reg, LLVMValueRef value) {
    if (e->code->function->regs[reg].bits > 1)
        return value;
    return jit_is_vector(value) ? jit_mask_bits(e, value) : LLVMBuildZExt(e->b, value, jit_int(e, 8), "");
}

static LLVMTypeRef memory_type(struct jit_emit *e, uint32_t reg, struct jit_shape shape) {
    unsigned bits = e->code->function->regs[reg].bits, count = jit_form_count(e->code, shape);
    if (bits == 1)
        return jit_int(e, count > 1 ? e->lanes : 8);
    return count > 1 ? LLVMVectorType(jit_int(e, bits), count) : jit_int(e, bits);
}

static LLVMValueRef from_memory(struct jit_emit *e, uint32_t reg, LLVMValueRef value, bool vector) {
    if (e->code->function->regs[reg].bits > 1)
        return value;
    return vector ? LLVMBuildBitCast(e->b, value, jit_vec(e, jit_int(e, 1)), "")
                  : LLVMBuildTrunc(e->b, value, jit_int(e, 1), "");
}

// Whether the barrier itself gives the register its value.
static bool made_by(const struct tw_kir_inst *barrier, uint32_t reg) {
    return barrier->dst_count && barrier->dst[0] == reg;
}

void jit_spill_store(struct jit_emit *e, const struct jit_emit *layout, uint32_t reg, LLVMValueRef value) {
    LLVMValueRef at = jit_offset_pointer(e, jit_spill_pointer(e), jit_i64(e, layout->spill_at[reg]));
    LLVMSetAlignment(LLVMBuildStore(e->b, to_memory(e, reg, value), at),
                     slot_bytes(layout, reg) >= 64 ? 64 : 8);
}

LLVMValueRef jit_spill_load(struct jit_emit *e, uint32_t reg, struct jit_shape shape) {
    LLVMValueRef at = jit_offset_pointer(e, jit_spill_pointer(e), jit_i64(e, e->spill_at[reg]));
    LLVMValueRef value = LLVMBuildLoad2(e->b, memory_type(e, reg, shape), at, "");
    LLVMSetAlignment(value, slot_bytes(e, reg) >= 64 ? 64 : 8);
    return from_memory(e, reg, value, shape.kind == JIT_VARYING);
}

static void spill_live(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block], *to = &e->code->blocks[b->succs[0]];
    for (uint32_t r = 0; r < e->code->function->reg_count; r++) {
        if (!jit_bit(to->live_in, r) || made_by(b->last, r) || !jit_bit(e->changed[block], r))
            continue;
        LLVMValueRef slot = jit_reg_slot(e, r);
        jit_spill_store(e, e, r, LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slot), slot, ""));
    }
}

// What this warp adds to a reduction: how many of its lanes hold a true predicate, and how many there are.
static void add_to_reduction(struct jit_emit *e, const struct tw_kir_inst *barrier) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef p = jit_read(e, &barrier->src[0], 1, true);
    LLVMValueRef sets[2] = {LLVMBuildAnd(e->b, p, e->mask, ""), e->mask};
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef bits = jit_mask_bits(e, sets[i]);
        LLVMValueRef count = jit_unary(e, "llvm.ctpop", LLVMBuildZExtOrBitCast(e->b, bits, i32, ""));
        LLVMValueRef at = reduction_pointer(e, REDUCING + i), old = LLVMBuildLoad2(e->b, i32, at, "");
        LLVMBuildStore(e->b, LLVMBuildAdd(e->b, old, count, ""), at);
    }
}

// i1: lanes of this warp wait at one of the blocks `waits`. Where all lanes meet none has ended yet: there
// the others are those not here.
static LLVMValueRef lanes_elsewhere(struct jit_emit *e, const uint64_t *waits) {
    LLVMTypeRef type = jit_vec(e, jit_int(e, 1));
    LLVMValueRef elsewhere = LLVMConstNull(type);
    for (uint32_t x = 0; x < e->code->count; x++) {
        if (!jit_bit(waits, x))
            continue;
        LLVMValueRef slot = e->flow.masks[x];
        LLVMValueRef there = slot ? jit_mask_load(e, slot)
                                  : LLVMBuildAnd(e->b, e->start_mask, LLVMBuildNot(e->b, e->mask, ""), "");
        elsewhere = LLVMBuildOr(e->b, elsewhere, there, "");
    }
    return jit_any(e, elsewhere);
}

// Where the mask of lanes lies while the warp waits, as a word of `ret_word`.
static LLVMValueRef waiting_mask(struct jit_emit *e, LLVMTypeRef *ret_word) {
    bool is_long = e->lanes > 64;
    *ret_word = jit_int(e, is_long ? e->lanes : 64);
    return jit_offset_pointer(e, jit_state_pointer(e, this_warp(e)),
                              jit_i64(e, is_long ? LONG_MASK_AT : MASK_AT));
}

static void save_mask(struct jit_emit *e) {
    LLVMTypeRef word;
    LLVMValueRef at = waiting_mask(e, &word);
    LLVMBuildStore(e->b, LLVMBuildZExtOrBitCast(e->b, jit_mask_bits(e, e->mask), word, ""), at);
}

static void take_mask(struct jit_emit *e, LLVMValueRef slot) {
    LLVMTypeRef word;
    LLVMValueRef at = waiting_mask(e, &word);
    LLVMValueRef bits = LLVMBuildLoad2(e->b, word, at, "");
    bits = LLVMBuildTruncOrBitCast(e->b, bits, jit_int(e, e->lanes), "");
    jit_mask_store(e, LLVMBuildBitCast(e->b, bits, jit_vec(e, jit_int(e, 1)), ""), slot);
}

// A warp comes to a barrier as a whole, but for lanes that have ended. Where it may be torn the code looks,
// and fails the launch if it is.
static void check_together(struct jit_emit *e, const struct jit_block *b) {
    if (!b->waits)
        return;
    LLVMBasicBlockRef apart = jit_block_new(e, "apart"), together = jit_block_new(e, "together");
    LLVMBuildCondBr(e->b, lanes_elsewhere(e, b->waits), apart, together);
    LLVMPositionBuilderAtEnd(e->b, apart);
    jit_fail_kernel(e, TW_KERNEL_DEADLOCK, b->last->line);
    LLVMPositionBuilderAtEnd(e->b, together);
}

void jit_emit_barrier(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    const struct jit_block *to = &e->code->blocks[b->succs[0]];
    check_together(e, b);
    e->active = e->mask;
    e->active_full = e->mask_full;
    if (b->last->op == TW_KIR_BARRED && e->code->named_barriers)
        jit_named_reduce(e, b->last);
    else if (b->last->op == TW_KIR_BARRED)
        add_to_reduction(e, b->last);
    if (e->code->named_barriers)
        jit_named_arrive(e, b->last, true);
    spill_live(e, block);
    if (to->divergent)
        save_mask(e);
    LLVMBuildStore(e->b, jit_i32(e, (e->code->exact ? JIT_STATE_EXACT + 1u : 1u) + to->root), e->next_state);
    LLVMBuildBr(e->b, e->warp_end);
}

void jit_pass_barrier(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    check_together(e, b);
    if (e->flow.masks[b->succs[0]])
        jit_mask_store(e, e->mask, e->flow.masks[b->succs[0]]);
    LLVMBasicBlockRef full = e->mask_full ? e->flow.fulls[b->succs[0]] : NULL;
    LLVMBuildBr(e->b, full ? full : e->flow.bodies[b->succs[0]]);
}

void jit_emit_state_store(struct jit_emit *e, LLVMValueRef alive) {
    LLVMValueRef next = LLVMBuildLoad2(e->b, jit_int(e, 32), e->next_state, "");
    LLVMBuildStore(e->b, next, jit_state_pointer(e, this_warp(e)));
    LLVMValueRef runs = LLVMBuildICmp(e->b, LLVMIntNE, next, jit_i32(e, JIT_STATE_ENDED), "");
    LLVMValueRef old = LLVMBuildLoad2(e->b, jit_int(e, 1), alive, "");
    LLVMBuildStore(e->b, LLVMBuildOr(e->b, old, runs, ""), alive);
}

void jit_emit_round_end(struct jit_emit *e, LLVMValueRef alive, LLVMBasicBlockRef again,
                        LLVMBasicBlockRef done) {
    if (e->code->named_barriers) {
        jit_named_round_end(e, again, done);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef from = reduction_pointer(e, REDUCING + i);
        LLVMBuildStore(e->b, LLVMBuildLoad2(e->b, jit_int(e, 32), from, ""),
                       reduction_pointer(e, REDUCED + i));
        LLVMBuildStore(e->b, jit_i32(e, 0), from);
    }
    LLVMBuildCondBr(e->b, alive, again, done);
}

static void write_reduction(struct jit_emit *e, uint32_t block) {
    const struct tw_kir_inst *inst = e->code->blocks[block].last;
    if (inst->op != TW_KIR_BARRED)
        return;
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef counts[2]; // true predicates, lanes
    for (unsigned i = 0; i < 2 && !e->code->named_barriers; i++)
        counts[i] = LLVMBuildLoad2(e->b, i32, reduction_pointer(e, REDUCED + i), "");
    if (e->code->named_barriers)
        jit_named_reduced(e, counts);
    LLVMValueRef value = counts[0];
    if (inst->mode == TW_KIR_RED_AND)
        value = LLVMBuildICmp(e->b, LLVMIntEQ, counts[0], counts[1], "");
    else if (inst->mode != TW_KIR_RED_POPC)
        value = LLVMBuildICmp(e->b, LLVMIntNE, counts[0], jit_i32(e, 0), "");
    e->at_block = block;
    e->active_full = true;
    jit_write(e, inst, 0, value, (struct jit_shape){.kind = JIT_AFFINE});
}

// Takes up a warp behind the barrier that ends `block`.
static void emit_resume(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    uint32_t to = b->succs[0];
    for (uint32_t r = 0; r < e->code->function->reg_count; r++)
        if (jit_bit(e->code->blocks[to].live_in, r) && !made_by(b->last, r))
            LLVMBuildStore(e->b, jit_spill_load(e, r, e->code->shapes[r]), jit_reg_slot(e, r));
    write_reduction(e, block);
    if (e->flow.masks[to])
        take_mask(e, e->flow.masks[to]);
    LLVMBuildBr(e->b, e->flow.bodies[to]);
}

void jit_emit_resumes(struct jit_emit *e, LLVMValueRef sw, uint32_t first_state) {
    for (uint32_t b = 0; b < e->code->count; b++) {
        const struct jit_block *block = &e->code->blocks[b];
        if (block->term != JIT_BARRIER || !e->code->turns)
            continue;
        bool yields = jit_is_yield(block);
        LLVMBasicBlockRef resume = yields ? e->flow.resumes[b] : jit_block_new(e, "resume");
        LLVMAddCase(sw, jit_i32(e, first_state + 1 + e->code->blocks[block->succs[0]].root), resume);
        if (yields)
            continue;
        LLVMPositionBuilderAtEnd(e->b, resume);
        emit_resume(e, b);
    }
}

void jit_emit_dispatch(struct jit_emit *e, LLVMBasicBlockRef skip) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMBasicBlockRef start = jit_block_new(e, "start"), other = jit_block_new(e, "other"),
                      here = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderAtEnd(e->b, start);
    jit_enter(e);
    LLVMPositionBuilderAtEnd(e->b, here);
    if (e->code->named_barriers) {
        LLVMBasicBlockRef may_run = jit_block_new(e, "may_run");
        LLVMBuildCondBr(e->b, jit_named_waits(e, this_warp(e)), skip, may_run);
        LLVMPositionBuilderAtEnd(e->b, may_run);
    }
    LLVMValueRef state = LLVMBuildLoad2(e->b, i32, jit_state_pointer(e, this_warp(e)), "state");
    LLVMBuildStore(e->b, jit_i32(e, JIT_STATE_ENDED), e->next_state);
    LLVMValueRef sw = LLVMBuildSwitch(e->b, state, other, e->code->root_count + 1);
    LLVMAddCase(sw, jit_i32(e, 0), start);
    jit_emit_resumes(e, sw, 0);
    LLVMPositionBuilderAtEnd(e->b, other);
    if (!e->exact) {
        LLVMBuildBr(e->b, skip);
        return;
    }
    LLVMBasicBlockRef exact = jit_block_new(e, "exact");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, state, jit_i32(e, JIT_STATE_ENDED), ""), skip,
                    exact);
    LLVMPositionBuilderAtEnd(e->b, exact);
    jit_exact_go(e, state);
}

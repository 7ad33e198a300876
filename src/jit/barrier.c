// SPDX-License-Identifier: Apache-2.0
//
// Named barriers: several of them, with thread counts, bar.arrive, numbers in registers. (A kernel that only
// ever waits at one barrier for the whole block needs none of this: at the end of a round all warps are
// there.) A warp that waits is not run until its barrier has been reached by as many threads as it expects;
// when no barrier opens and warps still wait, the block is deadlocked.
//
//     at table_at in warp 0's part of the spill area: u32 arrived[16], u32 expected[16] (0: every thread that
//     still runs) at WAITING_AT in a warp's state: u32 number of its barrier + 1, 0 while it may run

#include "emit.h"

enum { BARRIERS = 16, WAITING_AT = 4 };

static LLVMValueRef word_at(struct jit_emit *e, LLVMValueRef base, uint64_t at, LLVMValueRef index) {
    LLVMValueRef bytes =
        LLVMBuildZExt(e->b, LLVMBuildMul(e->b, index, jit_i32(e, 4), ""), jit_int(e, 64), "");
    return jit_offset_pointer(e, base, LLVMBuildAdd(e->b, bytes, jit_i64(e, at), ""));
}

static LLVMValueRef arrived_at(struct jit_emit *e, LLVMValueRef number) {
    return word_at(e, e->spill, e->table_at, number);
}

static LLVMValueRef expected_at(struct jit_emit *e, LLVMValueRef number) {
    return word_at(e, e->spill, e->table_at + sizeof(uint32_t) * BARRIERS, number);
}

static LLVMValueRef load32(struct jit_emit *e, LLVMValueRef pointer) {
    return LLVMBuildLoad2(e->b, jit_int(e, 32), pointer, "");
}

static LLVMValueRef waiting_at(struct jit_emit *e, LLVMValueRef warp) {
    return jit_offset_pointer(e, jit_state_pointer(e, warp), jit_i64(e, WAITING_AT));
}

// The counters of all barriers to zero; the states of warps are reset by the caller.
void jit_named_reset(struct jit_emit *e) {
    for (unsigned i = 0; i < BARRIERS; i++) {
        LLVMBuildStore(e->b, jit_i32(e, 0), arrived_at(e, jit_i32(e, i)));
        LLVMBuildStore(e->b, jit_i32(e, 0), expected_at(e, jit_i32(e, i)));
    }
}

void jit_named_arrive(struct jit_emit *e, const struct tw_kir_inst *inst, bool waits) {
    LLVMValueRef number =
        LLVMBuildAnd(e->b, jit_read(e, &inst->src[0], 32, false), jit_i32(e, BARRIERS - 1), "");
    LLVMValueRef arrived = arrived_at(e, number), expected = jit_i32(e, 0);
    if (inst->src_count > 1)
        expected = jit_read(e, &inst->src[1], 32, false);
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, load32(e, arrived), jit_i32(e, e->lanes), ""), arrived);
    LLVMBuildStore(e->b, expected, expected_at(e, number));
    if (waits)
        LLVMBuildStore(e->b, LLVMBuildAdd(e->b, number, jit_i32(e, 1), ""),
                       waiting_at(e, load32(e, e->warp)));
}

// i1: this warp waits at a barrier that has not opened.
LLVMValueRef jit_named_waits(struct jit_emit *e, LLVMValueRef warp) {
    return LLVMBuildICmp(e->b, LLVMIntNE, load32(e, waiting_at(e, warp)), jit_i32(e, 0), "");
}

// A loop from 0 to `count`; the builder is left in its body. Ended by end_loop.
struct loop {
    LLVMBasicBlockRef head, done;
    LLVMValueRef index, count; // slot, i32
};

static struct loop begin_loop(struct jit_emit *e, LLVMValueRef count) {
    struct loop l = {jit_block_new(e, "each"), jit_block_new(e, "each_done"),
                     jit_slot(e, jit_int(e, 32), "i"), count};
    LLVMBuildStore(e->b, jit_i32(e, 0), l.index);
    LLVMBuildBr(e->b, l.head);
    LLVMPositionBuilderAtEnd(e->b, l.head);
    return l;
}

static void end_loop(struct jit_emit *e, const struct loop *l) {
    LLVMValueRef next = LLVMBuildAdd(e->b, load32(e, l->index), jit_i32(e, 1), "");
    LLVMBuildStore(e->b, next, l->index);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, next, l->count, ""), l->head, l->done);
    LLVMPositionBuilderAtEnd(e->b, l->done);
}

static LLVMValueRef runs(struct jit_emit *e, LLVMValueRef warp) {
    return LLVMBuildICmp(e->b, LLVMIntNE, load32(e, jit_state_pointer(e, warp)), jit_i32(e, JIT_STATE_ENDED),
                         "");
}

// Threads that a barrier waits for.
static LLVMValueRef needed(struct jit_emit *e, LLVMValueRef number, LLVMValueRef alive) {
    LLVMValueRef expected = load32(e, expected_at(e, number));
    LLVMValueRef all = LLVMBuildMul(e->b, load32(e, alive), jit_i32(e, e->lanes), "");
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, expected, jit_i32(e, 0), ""), all, expected,
                           "");
}

// Lets the warps of full barriers run, and notes those barriers in `opened`.
static void release_warps(struct jit_emit *e, LLVMValueRef alive, LLVMValueRef opened) {
    struct loop l = begin_loop(e, e->warp_count);
    LLVMValueRef w = load32(e, l.index), waiting = load32(e, waiting_at(e, w));
    LLVMValueRef number =
        LLVMBuildAnd(e->b, LLVMBuildSub(e->b, waiting, jit_i32(e, 1), ""), jit_i32(e, BARRIERS - 1), "");
    LLVMValueRef full =
        LLVMBuildICmp(e->b, LLVMIntUGE, load32(e, arrived_at(e, number)), needed(e, number, alive), "");
    LLVMValueRef stands = LLVMBuildICmp(e->b, LLVMIntNE, waiting, jit_i32(e, 0), "");
    full = LLVMBuildAnd(e->b, full, LLVMBuildAnd(e->b, stands, runs(e, w), ""), "");
    LLVMBuildStore(e->b, LLVMBuildSelect(e->b, full, jit_i32(e, 0), waiting, ""), waiting_at(e, w));
    LLVMValueRef bit = LLVMBuildShl(e->b, LLVMBuildZExt(e->b, full, jit_int(e, 32), ""), number, "");
    LLVMBuildStore(e->b, LLVMBuildOr(e->b, load32(e, opened), bit, ""), opened);
    end_loop(e, &l);
}

static void take_arrivals(struct jit_emit *e, LLVMValueRef alive, LLVMValueRef opened) {
    struct loop l = begin_loop(e, jit_i32(e, BARRIERS));
    LLVMValueRef number = load32(e, l.index), arrived = arrived_at(e, number);
    LLVMValueRef open =
        LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, load32(e, opened), number, ""), jit_int(e, 1), "");
    LLVMValueRef less = LLVMBuildSub(e->b, load32(e, arrived), needed(e, number, alive), "");
    LLVMBuildStore(e->b, LLVMBuildSelect(e->b, open, less, load32(e, arrived), ""), arrived);
    end_loop(e, &l);
}

// After a round: opens barriers; `again` while warps run, `done` when all have ended, the launch fails when
// none can go on.
void jit_named_round_end(struct jit_emit *e, LLVMBasicBlockRef again, LLVMBasicBlockRef done) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef alive = jit_slot(e, i32, "alive"), opened = jit_slot(e, i32, "opened"), zero = jit_i32(e, 0);
    LLVMBuildStore(e->b, zero, alive);
    LLVMBuildStore(e->b, zero, opened);
    struct loop l = begin_loop(e, e->warp_count);
    LLVMValueRef more = LLVMBuildZExt(e->b, runs(e, load32(e, l.index)), i32, "");
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, load32(e, alive), more, ""), alive);
    end_loop(e, &l);
    release_warps(e, alive, opened);
    take_arrivals(e, alive, opened);
    LLVMBasicBlockRef some = jit_block_new(e, "some_run"), stuck = jit_block_new(e, "deadlock");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, load32(e, alive), zero, ""), done, some);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, load32(e, opened), zero, ""), stuck, again);
    LLVMPositionBuilderAtEnd(e->b, stuck);
    jit_fail_kernel(e, TW_KERNEL_DEADLOCK, 0);
}

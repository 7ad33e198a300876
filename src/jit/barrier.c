// SPDX-License-Identifier: Apache-2.0
//
// Named barriers: several of them, with thread counts, bar.arrive, numbers in registers. (A kernel that only
// ever waits at one barrier for the whole block needs none of this: at the end of a round all warps are
// there.) A warp that waits is not run until its barrier has been reached by as many threads as it expects;
// when no barrier opens and warps still wait, the block is deadlocked.
//
//     at table_at in warp 0's part of the spill area, 16 words each: arrived; expected (0: every thread that still
//     runs); true predicates and lanes of bar.red so far; the same of the last round
//     at WAITING_AT in a warp's state: u32 number of its barrier + 1, 0 while it may run; at WAITED_AT: u32 number of
//     the barrier it came to last; at LINE_AT: u32 line of that in the PTX

#include "emit.h"

enum { BARRIERS = 16, WAITING_AT = 4, WAITED_AT = 32, LINE_AT = 36 };
enum { ARRIVED, EXPECTED, REDUCING, REDUCED = REDUCING + 2, WORDS = REDUCED + 2 };
_Static_assert(WORDS *BARRIERS * sizeof(uint32_t) == JIT_NAMED_BYTES, "the table's size");

static LLVMValueRef word_at(struct jit_emit *e, LLVMValueRef base, uint64_t at, LLVMValueRef index) {
    LLVMValueRef bytes =
        LLVMBuildZExt(e->b, LLVMBuildMul(e->b, index, jit_i32(e, 4), ""), jit_int(e, 64), "");
    return jit_offset_pointer(e, base, LLVMBuildAdd(e->b, bytes, jit_i64(e, at), ""));
}

static LLVMValueRef entry_at(struct jit_emit *e, unsigned word, LLVMValueRef number) {
    return word_at(e, e->spill, e->table_at + sizeof(uint32_t) * BARRIERS * word, number);
}

static LLVMValueRef arrived_at(struct jit_emit *e, LLVMValueRef number) {
    return entry_at(e, ARRIVED, number);
}

static LLVMValueRef expected_at(struct jit_emit *e, LLVMValueRef number) {
    return entry_at(e, EXPECTED, number);
}

static LLVMValueRef load32(struct jit_emit *e, LLVMValueRef pointer) {
    return LLVMBuildLoad2(e->b, jit_int(e, 32), pointer, "");
}

static LLVMValueRef waiting_at(struct jit_emit *e, LLVMValueRef warp) {
    return jit_offset_pointer(e, jit_state_pointer(e, warp), jit_i64(e, WAITING_AT));
}

static LLVMValueRef waited_at(struct jit_emit *e) {
    return jit_offset_pointer(e, jit_state_pointer(e, load32(e, e->warp)), jit_i64(e, WAITED_AT));
}

static LLVMValueRef line_at(struct jit_emit *e, LLVMValueRef warp) {
    return jit_offset_pointer(e, jit_state_pointer(e, warp), jit_i64(e, LINE_AT));
}

// The counters of all barriers to zero; the states of warps are reset by the caller.
void jit_named_reset(struct jit_emit *e) {
    unsigned words = e->code->reduces ? WORDS : REDUCING;
    for (unsigned word = 0; word < words; word++)
        for (unsigned i = 0; i < BARRIERS; i++)
            LLVMBuildStore(e->b, jit_i32(e, 0), entry_at(e, word, jit_i32(e, i)));
}

// What the lanes that are here say, which must be one thing: the launch fails where they do not agree.
static LLVMValueRef agreed(struct jit_emit *e, const struct tw_kir_inst *inst, unsigned source) {
    if (!jit_operand_varies(e, &inst->src[source]))
        return jit_read(e, &inst->src[source], 32, false);
    LLVMBasicBlockRef differ = jit_block_new(e, "differ"), agree = jit_block_new(e, "agree");
    LLVMTypeRef word = jit_int(e, e->lanes);
    LLVMValueRef all = jit_read(e, &inst->src[source], 32, true);
    LLVMValueRef args[2] = {jit_mask_bits(e, e->active), LLVMConstNull(jit_int(e, 1))};
    LLVMValueRef lane = jit_intrinsic(e, "llvm.cttz", &word, 1, args, 2);
    lane = LLVMBuildAnd(e->b, lane, LLVMConstInt(word, e->lanes - 1, false), "");
    LLVMValueRef first = LLVMBuildExtractElement(e->b, all, lane, "");
    LLVMValueRef others = LLVMBuildICmp(e->b, LLVMIntNE, all, jit_splat(e, first), "");
    LLVMBuildCondBr(e->b, jit_any(e, LLVMBuildAnd(e->b, others, e->active, "")), differ, agree);
    LLVMPositionBuilderAtEnd(e->b, differ);
    jit_fail_kernel(e, TW_KERNEL_DEADLOCK, inst->line);
    LLVMPositionBuilderAtEnd(e->b, agree);
    return first;
}

static LLVMValueRef number_of(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef number = agreed(e, inst, inst->op == TW_KIR_BARRED ? 1 : 0);
    return LLVMBuildAnd(e->b, number, jit_i32(e, BARRIERS - 1), "");
}

void jit_named_arrive(struct jit_emit *e, const struct tw_kir_inst *inst, bool waits) {
    unsigned count_at = inst->op == TW_KIR_BARRED ? 2 : 1;
    LLVMValueRef number = number_of(e, inst);
    LLVMValueRef arrived = arrived_at(e, number), expected = jit_i32(e, 0);
    if (inst->src_count > count_at)
        expected = agreed(e, inst, count_at);
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, load32(e, arrived), jit_i32(e, e->lanes), ""), arrived);
    LLVMBuildStore(e->b, expected, expected_at(e, number));
    if (!waits)
        return;
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, number, jit_i32(e, 1), ""), waiting_at(e, load32(e, e->warp)));
    LLVMBuildStore(e->b, number, waited_at(e));
    LLVMBuildStore(e->b, jit_i32(e, inst->line), line_at(e, load32(e, e->warp)));
}

void jit_named_reduce(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef p = jit_read(e, &inst->src[0], 1, true), number = number_of(e, inst);
    LLVMValueRef sets[2] = {LLVMBuildAnd(e->b, p, e->mask, ""), e->mask};
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef bits = jit_mask_bits(e, sets[i]), at = entry_at(e, REDUCING + i, number);
        LLVMValueRef count = jit_unary(e, "llvm.ctpop", LLVMBuildZExtOrBitCast(e->b, bits, i32, ""));
        LLVMBuildStore(e->b, LLVMBuildAdd(e->b, load32(e, at), count, ""), at);
    }
}

void jit_named_reduced(struct jit_emit *e, LLVMValueRef ret_counts[2]) {
    LLVMValueRef number = load32(e, waited_at(e));
    for (unsigned i = 0; i < 2; i++)
        ret_counts[i] = load32(e, entry_at(e, REDUCED + i, number));
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

// Lets the warps of full barriers run, and notes those barriers in `opened`; counts the warps that may run in `ready`.
static void release_warps(struct jit_emit *e, LLVMValueRef alive, LLVMValueRef opened, LLVMValueRef ready) {
    struct loop l = begin_loop(e, e->warp_count);
    LLVMValueRef w = load32(e, l.index), waiting = load32(e, waiting_at(e, w));
    LLVMValueRef number =
        LLVMBuildAnd(e->b, LLVMBuildSub(e->b, waiting, jit_i32(e, 1), ""), jit_i32(e, BARRIERS - 1), "");
    LLVMValueRef full =
        LLVMBuildICmp(e->b, LLVMIntUGE, load32(e, arrived_at(e, number)), needed(e, number, alive), "");
    LLVMValueRef stands = LLVMBuildICmp(e->b, LLVMIntNE, waiting, jit_i32(e, 0), "");
    full = LLVMBuildAnd(e->b, full, LLVMBuildAnd(e->b, stands, runs(e, w), ""), "");
    LLVMValueRef still = LLVMBuildSelect(e->b, full, jit_i32(e, 0), waiting, "");
    LLVMBuildStore(e->b, still, waiting_at(e, w));
    LLVMValueRef free = LLVMBuildICmp(e->b, LLVMIntEQ, still, jit_i32(e, 0), "");
    free = LLVMBuildZExt(e->b, LLVMBuildAnd(e->b, free, runs(e, w), ""), jit_int(e, 32), "");
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, load32(e, ready), free, ""), ready);
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
    for (unsigned i = 0; i < 2 && e->code->reduces; i++) {
        LLVMValueRef from = entry_at(e, REDUCING + i, number), to = entry_at(e, REDUCED + i, number);
        LLVMValueRef now = load32(e, from);
        LLVMBuildStore(e->b, LLVMBuildSelect(e->b, open, now, load32(e, to), ""), to);
        LLVMBuildStore(e->b, LLVMBuildSelect(e->b, open, jit_i32(e, 0), now, ""), from);
    }
    end_loop(e, &l);
}

// Every warp that still runs waits: the launch fails, at the line where the last of them does.
static void fail_stuck(struct jit_emit *e) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef line = jit_slot(e, i32, "line");
    LLVMBuildStore(e->b, jit_i32(e, 0), line);
    struct loop l = begin_loop(e, e->warp_count);
    LLVMValueRef w = load32(e, l.index);
    LLVMValueRef here = LLVMBuildSelect(e->b, runs(e, w), load32(e, line_at(e, w)), load32(e, line), "");
    LLVMBuildStore(e->b, here, line);
    end_loop(e, &l);
    jit_fail_kernel_at(e, TW_KERNEL_DEADLOCK, LLVMBuildZExt(e->b, load32(e, line), jit_int(e, 64), ""));
}

// After a round: opens barriers; `again` while warps run, `done` when all have ended, the launch fails when
// none can go on.
void jit_named_round_end(struct jit_emit *e, LLVMBasicBlockRef again, LLVMBasicBlockRef done) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef alive = jit_slot(e, i32, "alive"), opened = jit_slot(e, i32, "opened"),
                 ready = jit_slot(e, i32, "ready"), zero = jit_i32(e, 0);
    LLVMBuildStore(e->b, zero, alive);
    LLVMBuildStore(e->b, zero, opened);
    LLVMBuildStore(e->b, zero, ready);
    struct loop l = begin_loop(e, e->warp_count);
    LLVMValueRef more = LLVMBuildZExt(e->b, runs(e, load32(e, l.index)), i32, "");
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, load32(e, alive), more, ""), alive);
    end_loop(e, &l);
    release_warps(e, alive, opened, ready);
    take_arrivals(e, alive, opened);
    LLVMBasicBlockRef some = jit_block_new(e, "some_run"), stuck = jit_block_new(e, "deadlock");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, load32(e, alive), zero, ""), done, some);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, load32(e, ready), zero, ""), stuck, again);
    LLVMPositionBuilderAtEnd(e->b, stuck);
    fail_stuck(e);
}

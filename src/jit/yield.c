// SPDX-License-Identifier: Apache-2.0
//
// Suspensions that wait for nobody: a warp that comes to a nanosleep for the n-th time in its turn stops there, so
// that the other warps of its block run, and goes on in the next round. Unlike at a barrier its lanes may be anywhere:
// the masks of the blocks where some wait go to the spill area too, with the registers that those still want.

#include "emit.h"

// Rounds of a waiting loop in one turn: few enough that waiting costs little, enough that a loop which needs no other
// warp (a lock that is free, a value that is there) is not slowed down by turns.
enum { ROUNDS_A_TURN = 16 };

static LLVMValueRef mask_pointer(struct jit_emit *e, uint32_t block) {
    return jit_offset_pointer(e, jit_spill_pointer(e), jit_i64(e, e->mask_at + 8 * (uint64_t)block));
}

static void store_mask(struct jit_emit *e, uint32_t block, LLVMValueRef mask) {
    LLVMBuildStore(e->b, LLVMBuildZExt(e->b, jit_mask_bits(e, mask), jit_int(e, 64), ""),
                   mask_pointer(e, block));
}

static LLVMValueRef load_mask(struct jit_emit *e, uint32_t block) {
    LLVMValueRef bits = LLVMBuildLoad2(e->b, jit_int(e, 64), mask_pointer(e, block), "");
    return LLVMBuildBitCast(e->b, LLVMBuildTrunc(e->b, bits, jit_int(e, e->lanes), ""),
                            jit_vec(e, jit_int(e, 1)), "");
}

bool jit_yield_keeps(const struct jit_code *code, const struct jit_block *b, uint32_t reg) {
    return jit_bit(code->blocks[b->succs[0]].live_in, reg) || (b->kept && jit_bit(b->kept, reg));
}

// Tells where the warp waits, for the message if it never ends, and whether lanes are anywhere but in that loop.
static void store_place(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    LLVMTypeRef i64 = jit_int(e, 64);
    LLVMValueRef apart = LLVMConstNull(jit_vec(e, jit_int(e, 1)));
    for (uint32_t x = 0; b->waits && x < e->code->count; x++)
        if (jit_bit(b->waits, x) && e->flow.masks[x] && !jit_in_loop(e->code, b->loop, x))
            apart = jit_mask_op(e, LLVMOr, apart, jit_mask_load(e, e->flow.masks[x]));
    LLVMValueRef place = LLVMBuildZExt(e->b, jit_any(e, apart), i64, "");
    place = LLVMBuildMul(e->b, place, jit_i64(e, TW_KERNEL_APART), "");
    place = LLVMBuildOr(e->b, place, jit_i64(e, b->last->line), "");
    LLVMValueRef at = jit_i64(e, offsetof(struct tw_kernel_frame, fault_site));
    LLVMBuildStore(e->b, place, jit_offset_pointer(e, e->frame, at));
}

// Stores what the warp needs to go on behind `block`.
static void suspend(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    for (uint32_t r = 0; r < e->code->function->reg_count; r++) {
        if (!jit_yield_keeps(e->code, b, r) || !jit_bit(e->changed[block], r))
            continue;
        LLVMValueRef slot = jit_reg_slot(e, r);
        jit_spill_store(e, e, r, LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slot), slot, ""));
    }
    store_mask(e, e->code->count, e->mask);
    for (uint32_t x = 0; b->waits && x < e->code->count; x++)
        if (jit_bit(b->waits, x) && e->flow.masks[x])
            store_mask(e, x, jit_mask_load(e, e->flow.masks[x]));
    store_place(e, block);
    uint32_t first = e->code->exact ? JIT_STATE_EXACT + 1u : 1u;
    LLVMBuildStore(e->b, jit_i32(e, first + e->code->blocks[b->succs[0]].root), e->next_state);
    LLVMBuildBr(e->b, e->warp_end);
}

void jit_emit_yield(struct jit_emit *e, uint32_t block) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMBasicBlockRef stop = jit_block_new(e, "yield"), on = jit_block_new(e, "on");
    LLVMBuildFence(e->b, LLVMAtomicOrderingSequentiallyConsistent, true,
                   ""); // what is read next is read anew
    LLVMValueRef rounds = LLVMBuildAdd(e->b, LLVMBuildLoad2(e->b, i32, e->rounds, ""), jit_i32(e, 1), "");
    LLVMBuildStore(e->b, rounds, e->rounds);
    LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntULT, rounds, jit_i32(e, ROUNDS_A_TURN), "");
    LLVMBuildCondBr(e->b, more, on, stop);
    LLVMPositionBuilderAtEnd(e->b, stop);
    suspend(e, block);
    LLVMPositionBuilderAtEnd(e->b, on);
}

bool jit_begin_yield_resume(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    if (e->flow.resumes[block])
        return false;
    e->flow.resumes[block] = jit_block_new(e, "go_on");
    LLVMPositionBuilderAtEnd(e->b, e->flow.resumes[block]);
    for (uint32_t r = 0; r < e->code->function->reg_count; r++)
        if (jit_yield_keeps(e->code, b, r))
            LLVMBuildStore(e->b, jit_spill_load(e, r, e->code->shapes[r]), jit_reg_slot(e, r));
    for (uint32_t x = 0; b->waits && x < e->code->count; x++)
        if (jit_bit(b->waits, x) && e->flow.masks[x])
            jit_mask_store(e, load_mask(e, x), e->flow.masks[x]);
    e->mask = load_mask(e, e->code->count);
    e->mask_full = false;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// The entry function around a warp's code:
//
//     for each block { for each round { for each warp: run it to its next barrier or its end } }
//
// with one round a block where the kernel has no barriers. Warps are W threads that follow one another in the
// linear order; where the block's width is a multiple of W a warp lies in one row and tid.y, tid.z are the
// same for all its lanes.
//
// Kernels that go straight through, with nothing that threads share, run in another order: blocks of several rows that
// lie side by side in the grid read and write pieces of the same rows of memory, which the processor fetches ahead when it
// sees them in a row.
//
//     for each strip of blocks { for each row of a block { for each block of the strip: the row's warps } }

#include "emit.h"

// Confined: the blocks of the skeleton and its counters.
struct skeleton {
    LLVMBasicBlockRef block_head, round_head, warp_head, warp_next, round_end, block_next, done;
    LLVMValueRef remaining, tid_base[3], alive; // slots
    // strips: the first block's ctaid.x, how many blocks, how many of them the row still wants; the row's first warp
    LLVMValueRef first, count, left, row_warp;
    LLVMBasicBlockRef row_head, part_head, part_next, row_next;
};

enum { STRIP_THREADS = 4'096 }; // a row: so that the rows that neighbours read again stay in the cache

static bool shares(const struct jit_code *code, const struct tw_kir_inst *inst) {
    return inst->space == TW_KIR_SHARED || (tw_kir_op_flags(inst->op) & TW_KIR_SYNC) ||
           (inst->op == TW_KIR_ADDR && code->module->variables[inst->index].space == TW_KIR_SHARED);
}

static bool runs_in_strips(const struct jit_emit *e) {
    const struct jit_code *code = e->code;
    if (code->turns || code->loop_count || code->uses_atomics || code->prints || code->exact ||
        code->variant.opt_level != TW_KERNEL_FULL || code->variant.x_multiple != e->lanes ||
        e->lanes > TW_KERNEL_TURNS_MAX)
        return false;
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t i = 0; i < code->blocks[b].count; i++)
            if (shares(code, &code->blocks[b].insts[i]))
                return false;
    return true;
}

static LLVMValueRef load(struct jit_emit *e, LLVMValueRef slot) {
    return LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slot), slot, "");
}

void jit_load_frame(struct jit_emit *e) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->context, 0), i64 = jit_int(e, 64), i32 = jit_int(e, 32);
    e->arena_base = jit_frame_field(e, offsetof(struct tw_kernel_frame, arena_base), pointer, "arena_base");
    e->arena_mask = jit_frame_field(e, offsetof(struct tw_kernel_frame, arena_mask), i64, "arena_mask");
    e->params = jit_frame_field(e, offsetof(struct tw_kernel_frame, params), pointer, "params");
    e->param_base = jit_frame_field(e, offsetof(struct tw_kernel_frame, param_base), i64, "param_base");
    e->shared_base = jit_frame_field(e, offsetof(struct tw_kernel_frame, shared_base), i64, "shared_base");
    e->local_base = jit_frame_field(e, offsetof(struct tw_kernel_frame, local_base), i64, "local_base");
    e->global_base = jit_frame_field(e, offsetof(struct tw_kernel_frame, global_base), i64, "global_base");
    e->spill = jit_frame_field(e, offsetof(struct tw_kernel_frame, spill), pointer, "spill");
    for (unsigned i = 0; i < 3; i++) {
        e->grid[i] = jit_frame_field(e, offsetof(struct tw_kernel_frame, grid) + 4 * i, i32, "grid");
        e->block[i] = jit_frame_field(e, offsetof(struct tw_kernel_frame, block) + 4 * i, i32, "block");
    }
    LLVMValueRef threads =
        LLVMBuildMul(e->b, LLVMBuildMul(e->b, e->block[0], e->block[1], ""), e->block[2], "threads");
    LLVMValueRef rounded = LLVMBuildAdd(e->b, threads, jit_i32(e, e->lanes - 1), "");
    e->warp_count = LLVMBuildUDiv(e->b, rounded, jit_i32(e, e->lanes), "warps");
}

static void first_ctaid(struct jit_emit *e, LLVMValueRef first) {
    LLVMTypeRef i64 = jit_int(e, 64), i32 = jit_int(e, 32);
    LLVMValueRef gx = LLVMBuildZExt(e->b, e->grid[0], i64, ""), gy = LLVMBuildZExt(e->b, e->grid[1], i64, "");
    LLVMValueRef row = LLVMBuildUDiv(e->b, first, gx, "");
    LLVMValueRef id[3] = {LLVMBuildURem(e->b, first, gx, ""), LLVMBuildURem(e->b, row, gy, ""),
                          LLVMBuildUDiv(e->b, row, gy, "")};
    for (unsigned i = 0; i < 3; i++)
        LLVMBuildStore(e->b, LLVMBuildTrunc(e->b, id[i], i32, ""), e->ctaid[i]);
}

// v + 1, or 0 when that is `limit`; returns whether it began anew.
static LLVMValueRef count_up(struct jit_emit *e, LLVMValueRef slot, LLVMValueRef step, LLVMValueRef limit) {
    LLVMValueRef next = LLVMBuildAdd(e->b, load(e, slot), step, "");
    LLVMValueRef over = LLVMBuildICmp(e->b, LLVMIntEQ, next, limit, "");
    LLVMBuildStore(e->b, LLVMBuildSelect(e->b, over, LLVMConstNull(LLVMTypeOf(next)), next, ""), slot);
    return over;
}

// Steps a triple of counters, x fastest. The last one needs no limit.
static void count_up3(struct jit_emit *e, LLVMValueRef *slots, LLVMValueRef x_step, LLVMValueRef *limits) {
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef over = count_up(e, slots[0], x_step, limits[0]);
    LLVMValueRef carry = LLVMBuildZExt(e->b, over, i32, "");
    LLVMValueRef y = LLVMBuildAdd(e->b, load(e, slots[1]), carry, "");
    over = LLVMBuildICmp(e->b, LLVMIntEQ, y, limits[1], "");
    LLVMBuildStore(e->b, LLVMBuildSelect(e->b, over, jit_i32(e, 0), y, ""), slots[1]);
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, load(e, slots[2]), LLVMBuildZExt(e->b, over, i32, ""), ""),
                   slots[2]);
}

// n / d for n < 1,024 and 1 ≤ d ≤ 1,024 by a multiplication: exact since n × (d − 2^20 mod d) < 2^20.
static LLVMValueRef small_divide(struct jit_emit *e, LLVMValueRef n, LLVMValueRef d) {
    LLVMValueRef magic = LLVMBuildUDiv(e->b, jit_i32(e, 1 << 20), d, "");
    magic = jit_splat(e, LLVMBuildAdd(e->b, magic, jit_i32(e, 1), ""));
    return LLVMBuildLShr(e->b, LLVMBuildMul(e->b, n, magic, ""), jit_const(LLVMTypeOf(n), 20), "");
}

static void any_shape_tids(struct jit_emit *e) {
    LLVMValueRef thread = jit_expand(e, e->linear, (struct jit_shape){.kind = JIT_AFFINE, .stride = 1});
    LLVMValueRef row = small_divide(e, thread, e->block[0]), slice = small_divide(e, row, e->block[1]);
    e->tid[0] = LLVMBuildSub(e->b, thread, LLVMBuildMul(e->b, row, jit_splat(e, e->block[0]), ""), "tid.x");
    e->tid[1] = LLVMBuildSub(e->b, row, LLVMBuildMul(e->b, slice, jit_splat(e, e->block[1]), ""), "tid.y");
    e->tid[2] = slice;
    LLVMValueRef threads =
        LLVMBuildMul(e->b, LLVMBuildMul(e->b, e->block[0], e->block[1], ""), e->block[2], "");
    e->start_mask = LLVMBuildICmp(e->b, LLVMIntULT, thread, jit_splat(e, threads), "start");
}

// Several rows a warp, each `x_multiple` lanes.
static void row_tids(struct jit_emit *e) {
    unsigned row = e->code->variant.x_multiple;
    LLVMValueRef x[JIT_MAX_LANES], y[JIT_MAX_LANES];
    for (unsigned lane = 0; lane < e->lanes; lane++) {
        x[lane] = jit_i32(e, lane % row);
        y[lane] = jit_i32(e, lane / row);
    }
    e->tid[0] = LLVMConstVector(x, e->lanes);
    e->tid[1] = LLVMBuildAdd(e->b, jit_splat(e, e->tid_base[1]), LLVMConstVector(y, e->lanes), "tid.y");
    e->tid[2] = e->tid_base[2];
}

// What a warp begins with: who its lanes are, and which exist.
void jit_begin_warp(struct jit_emit *e, LLVMValueRef *tid_base) {
    LLVMValueRef warp = load(e, e->warp);
    e->linear = LLVMBuildMul(e->b, warp, jit_i32(e, e->lanes), "linear");
    e->start_mask = jit_full_mask(e);
    for (unsigned i = 0; i < 3; i++)
        e->tid[i] = e->tid_base[i] = tid_base[i];
    // LLVM does not see through the counting that tid.x % W is the lane, of which kernels with warp operations make much.
    if (e->code->variant.x_multiple >= e->lanes && e->code->variant.opt_level == TW_KERNEL_FULL &&
        e->code->uses_warp_ops)
        e->tid[0] = LLVMBuildAnd(e->b, tid_base[0], jit_i32(e, ~(e->lanes - 1)), "tid.x");
    if (e->code->variant.x_multiple == 1)
        any_shape_tids(e);
    else if (e->code->variant.x_multiple < e->lanes)
        row_tids(e);
}

void jit_reset_slots(struct jit_emit *e) {
    LLVMBuildStore(e->b, jit_i32(e, 0), e->rounds);
    jit_reset_hints(e);
    for (uint32_t r = 0; r < e->code->function->reg_count; r++)
        if (e->regs[r] && !jit_bit(e->local, r))
            LLVMBuildStore(e->b, LLVMConstNull(LLVMGetAllocatedType(e->regs[r])), e->regs[r]);
    for (uint32_t b = 0; b < e->code->count; b++)
        if (e->flow.masks[b])
            LLVMBuildStore(e->b, LLVMConstNull(LLVMGetAllocatedType(e->flow.masks[b])), e->flow.masks[b]);
}

static void make_slots(struct jit_emit *e, struct skeleton *s) {
    LLVMTypeRef i32 = jit_int(e, 32);
    s->remaining = jit_slot(e, jit_int(e, 64), "remaining");
    s->alive = jit_slot(e, jit_int(e, 1), "alive");
    e->warp = jit_slot(e, i32, "warp");
    e->status = jit_slot(e, i32, "status");
    e->next_state = jit_slot(e, i32, "next_state");
    e->rounds = jit_slot(e, i32, "rounds");
    for (unsigned i = 0; i < 3; i++) {
        e->ctaid[i] = jit_slot(e, i32, "ctaid");
        s->tid_base[i] = jit_slot(e, i32, "tid_base");
    }
    s->block_head = jit_block_new(e, "block_head");
    s->round_head = jit_block_new(e, "round_head");
    s->warp_head = jit_block_new(e, "warp_head");
    s->warp_next = jit_block_new(e, "warp_next");
    s->round_end = jit_block_new(e, "round_end");
    s->block_next = jit_block_new(e, "block_next");
    s->done = jit_block_new(e, "done");
    e->warp_end = jit_block_new(e, "warp_end");
    e->leave = jit_block_new(e, "leave");
}

static void emit_entry(struct jit_emit *e, struct skeleton *s) {
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, e->function, "entry"));
    e->frame = LLVMGetParam(e->function, 0);
    make_slots(e, s);
    jit_load_frame(e);
    first_ctaid(e, LLVMGetParam(e->function, 1));
    LLVMBuildStore(e->b, LLVMGetParam(e->function, 2), s->remaining);
    LLVMBuildStore(e->b, jit_i32(e, TW_KERNEL_OK), e->status);
    LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntEQ, LLVMGetParam(e->function, 2), jit_i64(e, 0), "");
    LLVMBuildCondBr(e->b, none, s->done, s->block_head);
}

static void emit_block_loop(struct jit_emit *e, struct skeleton *s) {
    LLVMPositionBuilderAtEnd(e->b, s->block_head);
    if (e->code->turns)
        jit_emit_states_reset(e);
    LLVMBuildBr(e->b, s->round_head);
    LLVMPositionBuilderAtEnd(e->b, s->round_head);
    LLVMBuildStore(e->b, jit_i32(e, 0), e->warp);
    LLVMBuildStore(e->b, LLVMConstNull(jit_int(e, 1)), s->alive);
    for (unsigned i = 0; i < 3; i++)
        LLVMBuildStore(e->b, jit_i32(e, 0), s->tid_base[i]);
    LLVMBuildBr(e->b, s->warp_head);
}

// Whole rows a warp: x stays, y goes on by as many.
static void count_up_rows(struct jit_emit *e, const struct skeleton *s) {
    LLVMValueRef rows = jit_i32(e, e->lanes / e->code->variant.x_multiple);
    LLVMValueRef over = count_up(e, s->tid_base[1], rows, e->block[1]), z = load(e, s->tid_base[2]);
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, z, LLVMBuildZExt(e->b, over, jit_int(e, 32), ""), ""),
                   s->tid_base[2]);
}

// `done` blocks of one row are: goes on with the one behind that in ctaid.
static void end_block(struct jit_emit *e, struct skeleton *s, LLVMValueRef done) {
    count_up3(e, e->ctaid, jit_i32(e, 1), e->grid);
    LLVMValueRef left = LLVMBuildSub(e->b, load(e, s->remaining), done, "");
    LLVMBuildStore(e->b, left, s->remaining);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, left, jit_i64(e, 0), ""), s->done, s->block_head);
    LLVMPositionBuilderAtEnd(e->b, s->done);
    LLVMBuildBr(e->b, e->leave);
    LLVMPositionBuilderAtEnd(e->b, e->leave);
    LLVMBuildRet(e->b, load(e, e->status));
}

// A whole block in one vector has one warp: all thread numbers are constants.
static void next_warp(struct jit_emit *e, struct skeleton *s) {
    if (e->lanes > TW_KERNEL_TURNS_MAX && e->code->variant.x_multiple <= e->lanes) {
        LLVMBuildBr(e->b, s->round_end);
        return;
    }
    LLVMValueRef next = LLVMBuildAdd(e->b, load(e, e->warp), jit_i32(e, 1), "");
    LLVMBuildStore(e->b, next, e->warp);
    if (e->code->variant.x_multiple >= e->lanes)
        count_up3(e, s->tid_base, jit_i32(e, e->lanes), e->block);
    else if (e->code->variant.x_multiple > 1)
        count_up_rows(e, s);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, next, e->warp_count, ""), s->warp_head,
                    s->round_end);
}

static void emit_after_warp(struct jit_emit *e, struct skeleton *s) {
    LLVMPositionBuilderAtEnd(e->b, e->warp_end);
    if (e->code->turns)
        jit_emit_state_store(e, s->alive);
    LLVMBuildBr(e->b, s->warp_next);
    LLVMPositionBuilderAtEnd(e->b, s->warp_next);
    next_warp(e, s);
    LLVMPositionBuilderAtEnd(e->b, s->round_end);
    if (e->code->turns)
        jit_emit_round_end(e, load(e, s->alive), s->round_head, s->block_next);
    else
        LLVMBuildBr(e->b, s->block_next);
    LLVMPositionBuilderAtEnd(e->b, s->block_next);
    end_block(e, s, jit_i64(e, 1));
}

static LLVMValueRef lesser(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b) {
    return jit_binary(e, "llvm.umin", a, b);
}

// From the block in ctaid to the end of its row in the grid, or as far as a strip goes.
static void emit_strip_loop(struct jit_emit *e, struct skeleton *s) {
    LLVMTypeRef i32 = jit_int(e, 32), i64 = jit_int(e, 64);
    LLVMValueRef *slots[] = {&s->first, &s->count, &s->left, &s->row_warp};
    for (size_t i = 0; i < TW_COUNT(slots); i++)
        *slots[i] = jit_slot(e, i32, "strip");
    s->row_head = jit_block_new(e, "row_head");
    s->part_head = jit_block_new(e, "part_head");
    s->part_next = jit_block_new(e, "part_next");
    s->row_next = jit_block_new(e, "row_next");
    LLVMPositionBuilderAtEnd(e->b, s->block_head);
    LLVMValueRef x = load(e, e->ctaid[0]),
                 most = LLVMBuildUDiv(e->b, jit_i32(e, STRIP_THREADS), e->block[0], "");
    LLVMValueRef count =
        lesser(e, LLVMBuildSub(e->b, e->grid[0], x, ""), jit_binary(e, "llvm.umax", most, jit_i32(e, 1)));
    count = lesser(e, LLVMBuildZExt(e->b, count, i64, ""), load(e, s->remaining));
    LLVMBuildStore(e->b, x, s->first);
    LLVMBuildStore(e->b, LLVMBuildTrunc(e->b, count, i32, ""), s->count);
    LLVMBuildStore(e->b, jit_i32(e, 0), s->row_warp);
    for (unsigned i = 0; i < 3; i++)
        LLVMBuildStore(e->b, jit_i32(e, 0), s->tid_base[i]);
    LLVMBuildBr(e->b, s->row_head);
    LLVMPositionBuilderAtEnd(e->b, s->row_head);
    LLVMBuildStore(e->b, load(e, s->first), e->ctaid[0]);
    LLVMBuildStore(e->b, load(e, s->count), s->left);
    LLVMBuildBr(e->b, s->part_head);
    LLVMPositionBuilderAtEnd(e->b, s->part_head);
    LLVMBuildStore(e->b, load(e, s->row_warp), e->warp);
    LLVMBuildStore(e->b, jit_i32(e, 0), s->tid_base[0]);
    LLVMBuildBr(e->b, s->warp_head);
}

static void branch_if_less(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b, LLVMBasicBlockRef then,
                           LLVMBasicBlockRef other) {
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, a, b, ""), then, other);
}

// Adds to a slot; the sum.
static LLVMValueRef go_on(struct jit_emit *e, LLVMValueRef slot, uint32_t step) {
    LLVMValueRef next = LLVMBuildAdd(e->b, load(e, slot), jit_i32(e, step), "");
    LLVMBuildStore(e->b, next, slot);
    return next;
}

static void emit_after_strip_warp(struct jit_emit *e, struct skeleton *s) {
    LLVMPositionBuilderAtEnd(e->b, e->warp_end);
    LLVMBuildBr(e->b, s->warp_next);
    LLVMPositionBuilderAtEnd(e->b, s->warp_next);
    (void)go_on(e, e->warp, 1);
    branch_if_less(e, go_on(e, s->tid_base[0], e->lanes), e->block[0], s->warp_head, s->part_next);
    LLVMPositionBuilderAtEnd(e->b, s->part_next);
    (void)go_on(e, e->ctaid[0], 1);
    branch_if_less(e, jit_i32(e, 0), go_on(e, s->left, UINT32_MAX), s->part_head, s->row_next);
    LLVMPositionBuilderAtEnd(e->b, s->row_next);
    LLVMValueRef over = count_up(e, s->tid_base[1], jit_i32(e, 1), e->block[1]), z = load(e, s->tid_base[2]);
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, z, LLVMBuildZExt(e->b, over, jit_int(e, 32), ""), ""),
                   s->tid_base[2]);
    LLVMValueRef warp = load(e, e->warp);
    LLVMBuildStore(e->b, warp, s->row_warp);
    branch_if_less(e, warp, e->warp_count, s->row_head, s->block_next);
    LLVMPositionBuilderAtEnd(e->b, s->round_end); // rounds are for barriers
    LLVMBuildUnreachable(e->b);
    LLVMPositionBuilderAtEnd(e->b, s->round_head);
    LLVMBuildUnreachable(e->b);
    LLVMPositionBuilderAtEnd(e->b, s->block_next);
    LLVMBuildStore(e->b, LLVMBuildSub(e->b, load(e, e->ctaid[0]), jit_i32(e, 1), ""), e->ctaid[0]);
    end_block(e, s, LLVMBuildZExt(e->b, load(e, s->count), jit_int(e, 64), ""));
}

bool jit_emit_kernel(struct jit_emit *e) {
    struct skeleton s = {};
    e->regs = TW_ARENA_ARRAY(e->arena, LLVMValueRef, e->code->function->reg_count + 1);
    if (!e->regs)
        return jit_no_memory(e->err);
    if (!jit_locals_find(e) || !jit_tiles_find(e) || !jit_few_find(e))
        return false;
    emit_entry(e, &s);
    e->strips = runs_in_strips(e);
    (e->strips ? emit_strip_loop : emit_block_loop)(e, &s);
    LLVMPositionBuilderAtEnd(e->b, s.warp_head);
    LLVMValueRef base[3];
    for (unsigned i = 0; i < 3; i++)
        base[i] = load(e, s.tid_base[i]);
    jit_begin_warp(e, base);
    LLVMBasicBlockRef reset = jit_block_new(e, "reset");
    LLVMBuildBr(e->b, reset);
    if (!jit_flow_build(e))
        return false;
    if (!jit_emit_blocks(e))
        return false;
    LLVMPositionBuilderAtEnd(e->b, reset);
    jit_reset_slots(e);
    if (e->code->turns) {
        jit_emit_dispatch(e, s.warp_next);
    } else {
        jit_enter(e);
    }
    jit_emit_hand_over(e);
    (e->strips ? emit_after_strip_warp : emit_after_warp)(e, &s);
    return true;
}

void jit_enter(struct jit_emit *e) {
    if (e->flow.masks[0])
        jit_mask_store(e, e->start_mask, e->flow.masks[0]);
    LLVMBuildBr(e->b, e->flow.bodies[0]);
}

// SPDX-License-Identifier: Apache-2.0
//
// printf: each active lane, the lowest first, adds a record to the worker's list (kernel/frame.h): where its
// format lies, and the bytes at its arguments, as many as a record holds. Nobody looks at the format here.

#include "emit.h"

// The address of `prints` + `at` + index × the size of a record.
static LLVMValueRef record_at(struct jit_emit *e, LLVMValueRef prints, size_t at, LLVMValueRef index) {
    LLVMValueRef bytes = LLVMBuildMul(e->b, LLVMBuildZExt(e->b, index, jit_int(e, 64), ""),
                                      jit_i64(e, sizeof(struct tw_kernel_print)), "");
    return jit_offset_pointer(e, prints, LLVMBuildAdd(e->b, bytes, jit_i64(e, at), ""));
}

static void copy_arguments(struct jit_emit *e, LLVMValueRef from, LLVMValueRef to) {
    enum { STEP = 32 };
    LLVMTypeRef type = LLVMVectorType(jit_int(e, 8), STEP);
    for (unsigned at = 0; at < TW_KERNEL_PRINT_ARGS; at += STEP) {
        LLVMValueRef value = LLVMBuildLoad2(e->b, type, jit_offset_pointer(e, from, jit_i64(e, at)), "");
        LLVMSetAlignment(value, 1);
        LLVMSetAlignment(LLVMBuildStore(e->b, value, jit_offset_pointer(e, to, jit_i64(e, at))), 1);
    }
}

static LLVMValueRef counter(struct jit_emit *e, LLVMValueRef prints, size_t at) {
    return jit_offset_pointer(e, prints, jit_i64(e, at));
}

static void count_up(struct jit_emit *e, LLVMValueRef pointer) {
    LLVMValueRef old = LLVMBuildLoad2(e->b, jit_int(e, 32), pointer, "");
    LLVMBuildStore(e->b, LLVMBuildAdd(e->b, old, jit_i32(e, 1), ""), pointer);
}

// One lane's record, or one more that is lost. The count goes up last: the kernel may be stopped in between.
static void print_one(struct jit_emit *e, LLVMValueRef prints, LLVMValueRef format, LLVMValueRef args) {
    LLVMBasicBlockRef room = jit_block_new(e, "room"), full = jit_block_new(e, "full"),
                      on = jit_block_new(e, "printed");
    LLVMValueRef count_at = counter(e, prints, offsetof(struct tw_kernel_prints, count));
    LLVMValueRef count = LLVMBuildLoad2(e->b, jit_int(e, 32), count_at, "");
    LLVMValueRef fits = LLVMBuildICmp(e->b, LLVMIntULT, count, jit_i32(e, TW_KERNEL_PRINTS_MAX), "");
    LLVMBuildCondBr(e->b, fits, room, full);
    LLVMPositionBuilderAtEnd(e->b, room);
    size_t items = offsetof(struct tw_kernel_prints, items);
    LLVMBuildStore(e->b, format,
                   record_at(e, prints, items + offsetof(struct tw_kernel_print, format), count));
    LLVMBasicBlockRef copy = jit_block_new(e, "arguments"), added = jit_block_new(e, "added");
    LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntEQ, args, jit_i64(e, 0), ""); // no arguments
    LLVMBuildCondBr(e->b, none, added, copy);
    LLVMPositionBuilderAtEnd(e->b, copy);
    copy_arguments(e, jit_pointer(e, args),
                   record_at(e, prints, items + offsetof(struct tw_kernel_print, args), count));
    LLVMBuildBr(e->b, added);
    LLVMPositionBuilderAtEnd(e->b, added);
    count_up(e, count_at);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, full);
    count_up(e, counter(e, prints, offsetof(struct tw_kernel_prints, lost)));
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
}

bool jit_emit_print(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMTypeRef i64 = jit_int(e, 64), word = jit_int(e, e->lanes);
    LLVMValueRef slots[2], zero = LLVMConstNull(word);
    LLVMValueRef prints = jit_frame_field(e, offsetof(struct tw_kernel_frame, prints),
                                          LLVMPointerTypeInContext(e->context, 0), "prints");
    for (unsigned i = 0; i < 2; i++) {
        slots[i] = jit_slot(e, jit_vec(e, i64), "printed");
        LLVMBuildStore(e->b, jit_read(e, &inst->src[i], 64, true), slots[i]);
    }
    LLVMBasicBlockRef head = jit_block_new(e, "print"), body = jit_block_new(e, "print_lane"),
                      done = jit_block_new(e, "print_done"), before = LLVMGetInsertBlock(e->b);
    LLVMValueRef all = jit_mask_bits(e, e->active);
    before = LLVMGetInsertBlock(e->b);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMValueRef left = LLVMBuildPhi(e->b, word, "left");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, left, zero, ""), body, done);
    LLVMPositionBuilderAtEnd(e->b, body);
    LLVMValueRef args[2] = {left, LLVMConstNull(jit_int(e, 1))}, values[2];
    LLVMValueRef lane =
        LLVMBuildIntCast2(e->b, jit_intrinsic(e, "llvm.cttz", &word, 1, args, 2), i64, false, "");
    lane = LLVMBuildAnd(e->b, lane, jit_i64(e, e->lanes - 1), "");
    for (unsigned i = 0; i < 2; i++)
        values[i] = LLVMBuildLoad2(e->b, i64, LLVMBuildGEP2(e->b, i64, slots[i], &lane, 1, ""), "");
    print_one(e, prints, values[0], values[1]);
    LLVMValueRef rest =
        LLVMBuildAnd(e->b, left, LLVMBuildSub(e->b, left, LLVMConstInt(word, 1, false), ""), "");
    LLVMValueRef incoming[2] = {all, rest};
    LLVMBasicBlockRef from[2] = {before, LLVMGetInsertBlock(e->b)};
    LLVMBuildBr(e->b, head);
    LLVMAddIncoming(left, incoming, from, 2);
    LLVMPositionBuilderAtEnd(e->b, done);
    if (inst->dst_count)
        jit_write(e, inst, 0, jit_i32(e, 0), (struct jit_shape){.kind = JIT_AFFINE});
    return true;
}

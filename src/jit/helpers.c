// SPDX-License-Identifier: Apache-2.0
//
// Small things that all of the emitter uses: intrinsics by name, masks, blocks, frame fields.

#include "emit.h"

LLVMValueRef jit_intrinsic(struct jit_emit *e, const char *name, LLVMTypeRef *overloads,
                           unsigned overload_count, LLVMValueRef *args, unsigned count) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    TW_ASSERT(id != 0);
    LLVMValueRef callee = LLVMGetIntrinsicDeclaration(e->module, id, overloads, overload_count);
    LLVMTypeRef type = LLVMGlobalGetValueType(callee);
    return LLVMBuildCall2(e->b, type, callee, args, count, "");
}

LLVMValueRef jit_unary(struct jit_emit *e, const char *name, LLVMValueRef a) {
    LLVMTypeRef type = LLVMTypeOf(a);
    return jit_intrinsic(e, name, &type, 1, &a, 1);
}

LLVMValueRef jit_binary(struct jit_emit *e, const char *name, LLVMValueRef a, LLVMValueRef b) {
    LLVMTypeRef type = LLVMTypeOf(a);
    return jit_intrinsic(e, name, &type, 1, (LLVMValueRef[]){a, b}, 2);
}

LLVMValueRef jit_mask_bits(struct jit_emit *e, LLVMValueRef mask) {
    return LLVMBuildBitCast(e->b, mask, jit_int(e, e->lanes), "");
}

unsigned jit_mask_bytes(const struct jit_emit *e) {
    return e->lanes <= 64 ? 8 : e->lanes / 8;
}

// The lanes' bits in one word of at most 64, where more than that are and'ed or or'ed: LLVM takes wider masks apart
// bit by bit.
static LLVMValueRef fold_bits(struct jit_emit *e, LLVMValueRef mask, bool all) {
    if (e->lanes <= 64)
        return jit_mask_bits(e, mask);
    LLVMValueRef found = NULL;
    for (unsigned at = 0; at < e->lanes; at += 64) {
        unsigned indices[64];
        for (unsigned i = 0; i < 64; i++)
            indices[i] = at + i;
        LLVMValueRef word =
            LLVMBuildBitCast(e->b, jit_shuffle(e, mask, NULL, indices, 64), jit_int(e, 64), "");
        found = !found ? word
                : all  ? LLVMBuildAnd(e->b, found, word, "")
                       : LLVMBuildOr(e->b, found, word, "");
    }
    return found;
}

LLVMValueRef jit_any(struct jit_emit *e, LLVMValueRef mask) {
    LLVMValueRef bits = fold_bits(e, mask, false);
    return LLVMBuildICmp(e->b, LLVMIntNE, bits, LLVMConstNull(LLVMTypeOf(bits)), "any");
}

LLVMValueRef jit_all(struct jit_emit *e, LLVMValueRef mask) {
    LLVMValueRef bits = fold_bits(e, mask, true);
    return LLVMBuildICmp(e->b, LLVMIntEQ, bits, LLVMConstAllOnes(LLVMTypeOf(bits)), "all");
}

LLVMBasicBlockRef jit_block_new(struct jit_emit *e, const char *name) {
    return LLVMAppendBasicBlockInContext(e->context, e->function, name);
}

LLVMValueRef jit_full_mask(struct jit_emit *e) {
    return LLVMConstAllOnes(jit_vec(e, jit_int(e, 1)));
}

LLVMValueRef jit_frame_field(struct jit_emit *e, size_t offset, LLVMTypeRef type, const char *name) {
    LLVMValueRef at = jit_i64(e, offset);
    LLVMValueRef pointer = LLVMBuildGEP2(e->b, jit_int(e, 8), e->frame, &at, 1, "");
    return LLVMBuildLoad2(e->b, type, pointer, name);
}

LLVMValueRef jit_shuffle(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b, const unsigned *indices,
                         unsigned n) {
    LLVMValueRef parts[4 * JIT_MAX_LANES * 2];
    for (unsigned i = 0; i < n; i++)
        parts[i] = jit_i32(e, indices[i]);
    return LLVMBuildShuffleVector(e->b, a, b ? b : LLVMGetPoison(LLVMTypeOf(a)), LLVMConstVector(parts, n),
                                  "");
}

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

static unsigned word_count(const struct jit_emit *e) {
    return e->lanes > JIT_MASK_WORD ? e->lanes / JIT_MASK_WORD : 1;
}

static unsigned word_bits(const struct jit_emit *e) {
    return e->lanes > JIT_MASK_WORD ? JIT_MASK_WORD : e->lanes;
}

unsigned jit_mask_words(struct jit_emit *e, LLVMValueRef mask, LLVMValueRef *ret_words) {
    unsigned indices[JIT_MASK_WORD], count = word_count(e);
    if (count == 1) {
        ret_words[0] = jit_mask_bits(e, mask);
        return 1;
    }
    for (unsigned k = 0; k < count; k++) {
        for (unsigned i = 0; i < JIT_MASK_WORD; i++)
            indices[i] = k * JIT_MASK_WORD + i;
        LLVMValueRef part = jit_shuffle(e, mask, NULL, indices, JIT_MASK_WORD);
        ret_words[k] = LLVMBuildBitCast(e->b, part, jit_int(e, JIT_MASK_WORD), "");
    }
    return count;
}

unsigned jit_mask_bytes(const struct jit_emit *e) {
    return e->lanes <= 64 ? 8 : e->lanes / 8;
}

bool jit_masks_are_words(const struct jit_emit *e) {
    return e->avx512 && (e->lanes > JIT_MASK_WORD || e->code->variant.opt_level != TW_KERNEL_FULL);
}

LLVMValueRef jit_mask_join(struct jit_emit *e, const LLVMValueRef *words) {
    LLVMValueRef parts[JIT_MASK_WORDS_MAX];
    for (unsigned k = 0; k < word_count(e); k++)
        parts[k] = LLVMBuildBitCast(e->b, words[k], LLVMVectorType(jit_int(e, 1), word_bits(e)), "");
    return jit_concatenate(e, parts, word_count(e), word_bits(e));
}

LLVMValueRef jit_mask_op(struct jit_emit *e, LLVMOpcode op, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef x[JIT_MASK_WORDS_MAX], y[JIT_MASK_WORDS_MAX];
    if (!jit_masks_are_words(e))
        return LLVMBuildBinOp(e->b, op, a, b, "");
    unsigned count = jit_mask_words(e, a, x);
    (void)jit_mask_words(e, b, y);
    for (unsigned k = 0; k < count; k++)
        x[k] = LLVMBuildBinOp(e->b, op, x[k], y[k], "");
    return jit_mask_join(e, x);
}

LLVMTypeRef jit_mask_type(struct jit_emit *e) {
    if (!jit_masks_are_words(e))
        return jit_vec(e, jit_int(e, 1));
    LLVMTypeRef word = jit_int(e, word_bits(e));
    return word_count(e) == 1 ? word : LLVMArrayType2(word, word_count(e));
}

static LLVMValueRef word_pointer(struct jit_emit *e, LLVMValueRef slot, unsigned k) {
    LLVMValueRef at = jit_i64(e, k);
    return k ? LLVMBuildGEP2(e->b, jit_int(e, JIT_MASK_WORD), slot, &at, 1, "") : slot;
}

LLVMValueRef jit_mask_load(struct jit_emit *e, LLVMValueRef slot) {
    LLVMValueRef words[JIT_MASK_WORDS_MAX];
    if (!jit_masks_are_words(e))
        return LLVMBuildLoad2(e->b, jit_mask_type(e), slot, "");
    for (unsigned k = 0; k < word_count(e); k++)
        words[k] = LLVMBuildLoad2(e->b, jit_int(e, word_bits(e)), word_pointer(e, slot, k), "");
    return jit_mask_join(e, words);
}

void jit_mask_store(struct jit_emit *e, LLVMValueRef mask, LLVMValueRef slot) {
    LLVMValueRef words[JIT_MASK_WORDS_MAX];
    if (!jit_masks_are_words(e)) {
        LLVMBuildStore(e->b, mask, slot);
        return;
    }
    unsigned count = jit_mask_words(e, mask, words);
    for (unsigned k = 0; k < count; k++)
        LLVMBuildStore(e->b, words[k], word_pointer(e, slot, k));
}

// The lanes' bits in one word of at most 64, where more than that are and'ed or or'ed: LLVM takes wider masks apart bit by
// bit.
static LLVMValueRef fold_bits(struct jit_emit *e, LLVMValueRef mask, bool all) {
    unsigned indices[JIT_MAX_LANES], lanes = e->lanes;
    LLVMValueRef words[JIT_MASK_WORDS_MAX];
    if (jit_masks_are_words(e)) {
        unsigned count = jit_mask_words(e, mask, words);
        for (unsigned k = 1; k < count; k++)
            words[0] = LLVMBuildBinOp(e->b, all ? LLVMAnd : LLVMOr, words[0], words[k], "");
        return words[0];
    }
    for (unsigned i = 0; i < lanes; i++)
        indices[i] = i;
    for (; lanes > 64; lanes /= 2) {
        LLVMValueRef low = jit_shuffle(e, mask, NULL, indices, lanes / 2),
                     high = jit_shuffle(e, mask, NULL, indices + lanes / 2, lanes / 2);
        mask = all ? LLVMBuildAnd(e->b, low, high, "") : LLVMBuildOr(e->b, low, high, "");
    }
    return LLVMBuildBitCast(e->b, mask, jit_int(e, lanes), "");
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

LLVMValueRef jit_concatenate(struct jit_emit *e, LLVMValueRef *parts, unsigned count, unsigned each) {
    unsigned indices[4 * JIT_MAX_LANES];
    for (; count > 1; count /= 2, each *= 2) {
        for (unsigned k = 0; k < 2 * each; k++)
            indices[k] = k;
        for (unsigned i = 0; i < count / 2; i++)
            parts[i] = jit_shuffle(e, parts[2 * i], parts[2 * i + 1], indices, 2 * each);
    }
    return parts[0];
}

bool jit_each_instruction(LLVMModuleRef module,
                          bool (*change)(LLVMBuilderRef builder, LLVMValueRef instruction)) {
    bool changed = false;
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(module));
    for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
        for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
            for (LLVMValueRef i = LLVMGetFirstInstruction(b), next; i; i = next) {
                next = LLVMGetNextInstruction(i);
                changed |= change(builder, i);
            }
    LLVMDisposeBuilder(builder);
    return changed;
}

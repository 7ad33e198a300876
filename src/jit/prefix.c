// SPDX-License-Identifier: Apache-2.0
//
// `i < n` where i counts over the lanes of a long vector: the lanes for which it holds are the first ones, or all
// but these, and how many they are follows from two scalars. A mask of 256 lanes is then four words of bits in place of sixteen
// comparisons, and masks are where such vectors spend their time. Where i wraps within the vector its lanes are compared
// one by one.

#include "emit.h"

enum { WORD = JIT_MASK_WORD };

static bool takes(const struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (!e->avx512 || e->part || e->lanes < WORD || !jit_is_integer(inst->type) ||
        tw_kir_type_bits(inst->type) < 32 || inst->src[0].is_imm || jit_operand_varies(e, &inst->src[1]))
        return false;
    struct jit_shape a = e->code->shapes[inst->src[0].reg];
    return a.kind == JIT_AFFINE && a.stride == 1 &&
           (inst->cmp == TW_KIR_LT || inst->cmp == TW_KIR_LE || inst->cmp == TW_KIR_GT ||
            inst->cmp == TW_KIR_GE);
}

// How many lanes are less than the bound, from lane 0's value, or with `equal` not greater: 0 to W, i64.
static LLVMValueRef count(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef first,
                          LLVMValueRef bound) {
    bool sign = tw_kir_type_is_signed(inst->type), equal = inst->cmp == TW_KIR_LE || inst->cmp == TW_KIR_GT;
    LLVMTypeRef type = LLVMTypeOf(first);
    LLVMIntPredicate below = equal ? (sign ? LLVMIntSLE : LLVMIntULE) : (sign ? LLVMIntSLT : LLVMIntULT);
    LLVMValueRef some = LLVMBuildICmp(e->b, below, first, bound, "");
    LLVMValueRef n =
        jit_binary(e, "llvm.umin", LLVMBuildSub(e->b, bound, first, ""), jit_const(type, e->lanes - equal));
    n = LLVMBuildZExtOrBitCast(e->b, LLVMBuildAdd(e->b, n, jit_const(type, equal), ""), jit_int(e, 64), "");
    return LLVMBuildSelect(e->b, some, n, jit_i64(e, 0), "count");
}

// Word `k` of a mask of the first `n` lanes.
static LLVMValueRef word_of(struct jit_emit *e, LLVMValueRef n, unsigned k) {
    n = jit_binary(e, "llvm.usub.sat", n, jit_i64(e, (uint64_t)k * WORD));
    n = jit_binary(e, "llvm.umin", n, jit_i64(e, WORD));
    return jit_intrinsic(e, "llvm.x86.bmi.bzhi.64", NULL, 0, (LLVMValueRef[]){jit_i64(e, UINT64_MAX), n}, 2);
}

LLVMValueRef jit_prefix_row(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef words[JIT_MASK_WORDS_MAX];
    if (!takes(e, inst) || !jit_row_begins(e, inst))
        return NULL;
    LLVMValueRef n = LLVMBuildZExt(e->b, jit_read(e, &inst->src[1], 32, false), jit_int(e, 64), "");
    for (unsigned k = 0; k < e->lanes / WORD; k++) {
        words[k] = k < e->row->most / WORD ? word_of(e, n, k) : jit_i64(e, 0);
        if (k == 0) // there is a first element, and now LLVM knows
            words[k] = LLVMBuildOr(e->b, words[k], jit_i64(e, 1), "");
        if (inst->cmp == TW_KIR_GE)
            words[k] = LLVMBuildNot(e->b, words[k], "");
    }
    return jit_mask_join(e, words);
}

bool jit_prefix_begin(struct jit_emit *e, const struct tw_kir_inst *inst, struct jit_prefix *ret) {
    if (!takes(e, inst))
        return false;
    bool sign = tw_kir_type_is_signed(inst->type), rest = inst->cmp == TW_KIR_GT || inst->cmp == TW_KIR_GE;
    unsigned bits = tw_kir_type_bits(inst->type);
    LLVMValueRef first = jit_read(e, &inst->src[0], bits, false),
                 bound = jit_read(e, &inst->src[1], bits, false);
    LLVMValueRef last =
        LLVMConstInt(LLVMTypeOf(first), (UINT64_MAX >> (64 - bits + sign)) - (e->lanes - 1), false);
    LLVMBasicBlockRef slow = jit_block_new(e, "wraps");
    LLVMValueRef n = count(e, inst, first, bound);
    for (unsigned k = 0; k < e->lanes / WORD; k++) {
        ret->words[k] = word_of(e, n, k);
        if (rest)
            ret->words[k] = LLVMBuildNot(e->b, ret->words[k], "");
    }
    ret->from = LLVMGetInsertBlock(e->b);
    ret->done = jit_block_new(e, "counted");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, sign ? LLVMIntSLE : LLVMIntULE, first, last, "straight"),
                    ret->done, slow);
    LLVMPositionBuilderAtEnd(e->b, slow);
    return true;
}

LLVMValueRef jit_prefix_end(struct jit_emit *e, const struct jit_prefix *s, LLVMValueRef mask) {
    LLVMValueRef slow[JIT_MASK_WORDS_MAX], words[JIT_MASK_WORDS_MAX];
    (void)jit_mask_words(e, mask, slow);
    LLVMBasicBlockRef from[2] = {s->from, LLVMGetInsertBlock(e->b)};
    LLVMBuildBr(e->b, s->done);
    LLVMPositionBuilderAtEnd(e->b, s->done);
    for (unsigned k = 0; k < e->lanes / WORD; k++) {
        words[k] = LLVMBuildPhi(e->b, jit_int(e, WORD), "");
        LLVMAddIncoming(words[k], (LLVMValueRef[]){s->words[k], slow[k]}, from, 2);
    }
    return jit_mask_join(e, words);
}

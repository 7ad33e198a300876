// SPDX-License-Identifier: Apache-2.0
//
// Words of a long mask. LLVM's combiner turns the bits of 64 lanes, as a word, into a bitcast of the whole mask and an element of
// that:
//
//     extractelement(bitcast <256 x i1> to <4 x i64>, k)
//
// for which the code generator gathers the mask's registers into a vector and takes it apart again. Here it becomes
// what it was: the lanes, as a word.

#include "emit.h"

// The lanes of word `index` of the mask. NULL: `vector` is no such bitcast.
static LLVMValueRef word_of(LLVMBuilderRef builder, LLVMValueRef vector, uint64_t index) {
    LLVMValueRef mask = LLVMIsABitCastInst(vector) ? LLVMGetOperand(vector, 0) : NULL, places[JIT_MASK_WORD];
    LLVMTypeRef type = mask ? LLVMTypeOf(mask) : NULL, words = LLVMTypeOf(vector);
    if (!mask || LLVMGetTypeKind(type) != LLVMVectorTypeKind ||
        LLVMGetTypeKind(words) != LLVMVectorTypeKind ||
        LLVMGetTypeKind(LLVMGetElementType(type)) != LLVMIntegerTypeKind ||
        LLVMGetIntTypeWidth(LLVMGetElementType(type)) != 1 ||
        LLVMGetVectorSize(type) != LLVMGetVectorSize(words) * JIT_MASK_WORD ||
        index >= LLVMGetVectorSize(words))
        return NULL;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(LLVMGetTypeContext(type));
    for (unsigned i = 0; i < JIT_MASK_WORD; i++)
        places[i] = LLVMConstInt(i32, index * JIT_MASK_WORD + i, false);
    LLVMValueRef lanes = LLVMBuildShuffleVector(builder, mask, LLVMGetPoison(type),
                                                LLVMConstVector(places, JIT_MASK_WORD), "");
    return LLVMBuildBitCast(builder, lanes, LLVMGetElementType(words), "word");
}

static bool take_word(LLVMBuilderRef builder, LLVMValueRef extract) {
    if (!LLVMIsAExtractElementInst(extract))
        return false;
    LLVMValueRef index = LLVMGetOperand(extract, 1);
    LLVMPositionBuilderBefore(builder, extract);
    LLVMValueRef word = LLVMIsAConstantInt(index)
                            ? word_of(builder, LLVMGetOperand(extract, 0), LLVMConstIntGetZExtValue(index))
                            : NULL;
    if (!word)
        return false;
    LLVMReplaceAllUsesWith(extract, word);
    LLVMInstructionEraseFromParent(extract);
    return true;
}

void jit_take_words(LLVMModuleRef module) {
    (void)jit_each_instruction(module, take_word);
}

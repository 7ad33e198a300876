// SPDX-License-Identifier: Apache-2.0
//
// Sums under a mask. Registers are words, so what a part of the lanes adds to is chosen as words:
//
//     select(mask, bitcast(a + b), old)
//
// and LLVM makes an addition and a masked move of it. Chosen as floats it is one masked instruction.

#include "emit.h"

// What `value` is as floats of 32 or 64 bits, where an operation on floats made it. NULL: it is no such one.
static LLVMValueRef floats_of(LLVMValueRef value) {
    if (!LLVMIsABitCastInst(value))
        return NULL;
    LLVMValueRef from = LLVMGetOperand(value, 0);
    LLVMTypeRef type = LLVMTypeOf(from), words = LLVMTypeOf(value);
    if (!LLVMIsAInstruction(from) || LLVMGetTypeKind(type) != LLVMVectorTypeKind ||
        LLVMGetTypeKind(words) != LLVMVectorTypeKind || LLVMGetVectorSize(type) != LLVMGetVectorSize(words))
        return NULL;
    LLVMTypeKind kind = LLVMGetTypeKind(LLVMGetElementType(type));
    return kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind ? from : NULL;
}

static bool blend(LLVMBuilderRef builder, LLVMValueRef select) {
    LLVMValueRef floats = LLVMIsASelectInst(select) ? floats_of(LLVMGetOperand(select, 1)) : NULL;
    if (!floats || LLVMGetTypeKind(LLVMTypeOf(LLVMGetOperand(select, 0))) != LLVMVectorTypeKind)
        return false;
    LLVMPositionBuilderBefore(builder, select);
    LLVMValueRef old = LLVMBuildBitCast(builder, LLVMGetOperand(select, 2), LLVMTypeOf(floats), "");
    LLVMValueRef chosen = LLVMBuildSelect(builder, LLVMGetOperand(select, 0), floats, old, "");
    LLVMReplaceAllUsesWith(select, LLVMBuildBitCast(builder, chosen, LLVMTypeOf(select), ""));
    LLVMInstructionEraseFromParent(select);
    return true;
}

void jit_blend_floats(LLVMModuleRef module) {
    (void)jit_each_instruction(module, blend);
}

// SPDX-License-Identifier: Apache-2.0
//
// Lanes of vectors that are constants. LLVM knows what the lanes that a short row does not have are, but adds them up
// again as part of a vector, and their sums one by one to the block's:
//
//     %sum = fadd <32 x float> %some, %others    ; the upper half: zeros
//     %p4 = extractelement %sum, 16              ; 0
//     %a4 = fadd float %a3, %p4                  ; the same as %a3, if that is itself a sum with 0
//
// Each such sum waits for the one before it. Here a lane that is picked out becomes the constant that it is, and LLVM sees the rest.

#include "emit.h"

enum { STEPS_MAX = 256 };

// The lane's value, a constant. NULL: it is none, or not found within `steps`.
static LLVMValueRef lane_of(LLVMBuilderRef builder, LLVMValueRef vector, unsigned lane, unsigned *steps) {
    LLVMTypeRef type = LLVMTypeOf(vector);
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind || *steps == 0)
        return NULL;
    --*steps;
    if (LLVMIsConstant(vector)) {
        LLVMValueRef value = LLVMGetAggregateElement(vector, lane);
        return value && (LLVMIsAConstantFP(value) || LLVMIsAConstantInt(value)) ? value : NULL;
    }
    if (LLVMIsAShuffleVectorInst(vector)) {
        int from = LLVMGetMaskValue(vector, lane);
        int count = (int)LLVMGetVectorSize(LLVMTypeOf(LLVMGetOperand(vector, 0)));
        return from < 0
                   ? NULL
                   : lane_of(builder, LLVMGetOperand(vector, from >= count), (unsigned)(from % count), steps);
    }
    if (LLVMIsABitCastInst(vector)) {
        LLVMTypeRef from = LLVMTypeOf(LLVMGetOperand(vector, 0));
        bool same =
            LLVMGetTypeKind(from) == LLVMVectorTypeKind && LLVMGetVectorSize(from) == LLVMGetVectorSize(type);
        LLVMValueRef value = same ? lane_of(builder, LLVMGetOperand(vector, 0), lane, steps) : NULL;
        return value ? LLVMConstBitCast(value, LLVMGetElementType(type)) : NULL;
    }
    if (!LLVMIsABinaryOperator(vector) || LLVMGetInstructionOpcode(vector) != LLVMFAdd)
        return NULL;
    LLVMValueRef a = lane_of(builder, LLVMGetOperand(vector, 0), lane, steps);
    LLVMValueRef b = a ? lane_of(builder, LLVMGetOperand(vector, 1), lane, steps) : NULL;
    return b ? LLVMBuildFAdd(builder, a, b, "") : NULL; // of constants: one too
}

static bool fold(LLVMBuilderRef builder, LLVMValueRef extract) {
    LLVMValueRef index = LLVMIsAExtractElementInst(extract) ? LLVMGetOperand(extract, 1) : NULL;
    if (!index || !LLVMIsAConstantInt(index) || LLVMGetTypeKind(LLVMTypeOf(extract)) != LLVMFloatTypeKind)
        return false;
    unsigned steps = STEPS_MAX;
    uint64_t lane = LLVMConstIntGetZExtValue(index);
    LLVMPositionBuilderBefore(builder, extract);
    LLVMValueRef vector = LLVMGetOperand(extract, 0);
    LLVMValueRef value = lane < LLVMGetVectorSize(LLVMTypeOf(vector))
                             ? lane_of(builder, vector, (unsigned)lane, &steps)
                             : NULL;
    if (!value || !LLVMIsConstant(value))
        return false;
    LLVMReplaceAllUsesWith(extract, value);
    LLVMInstructionEraseFromParent(extract);
    return true;
}

bool jit_fold_lanes(LLVMModuleRef module) {
    return jit_each_instruction(module, fold);
}

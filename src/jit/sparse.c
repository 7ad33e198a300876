// SPDX-License-Identifier: Apache-2.0
//
// Scattered stores of a few lanes. `if (tid % 32 == 0) part[tid / 32] = sum` is, for a whole block in one vector, a
// scatter by a mask that is known: every 32nd lane. What LLVM makes of it computes all lanes' addresses and
// values; here it becomes one plain store a lane, so that the lanes that nobody stores are not computed either.

#include "emit.h"

enum { STORES_MAX = 16 };

// The lanes that a constant mask holds, at most STORES_MAX of them. False: no such mask.
static bool lanes_of(LLVMValueRef mask, unsigned *ret_lanes, unsigned *ret_count) {
    LLVMTypeRef type = LLVMTypeOf(mask);
    *ret_count = 0;
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind || !LLVMIsConstant(mask))
        return false;
    for (unsigned lane = 0; lane < LLVMGetVectorSize(type); lane++) {
        LLVMValueRef bit = LLVMGetAggregateElement(mask, lane);
        if (!bit || !LLVMIsAConstantInt(bit))
            return false;
        if (LLVMConstIntGetZExtValue(bit) == 0)
            continue;
        if (*ret_count == STORES_MAX)
            return false;
        ret_lanes[(*ret_count)++] = lane;
    }
    return true;
}

static bool is_scatter(LLVMValueRef inst) {
    static const char name[] = "llvm.masked.scatter.";
    LLVMValueRef callee = LLVMIsACallInst(inst) ? LLVMGetCalledValue(inst) : NULL;
    size_t len = 0;
    const char *callee_name = callee ? LLVMGetValueName2(callee, &len) : "";
    return len >= sizeof name && memcmp(callee_name, name, sizeof name - 1) == 0;
}

// In the order of lanes: where they meet the last one wins, as in a scatter.
static bool replace(LLVMBuilderRef builder, LLVMValueRef scatter) {
    unsigned lanes[STORES_MAX], count;
    if (!is_scatter(scatter))
        return false;
    LLVMValueRef mask = LLVMGetOperand(scatter, LLVMGetNumArgOperands(scatter) - 1);
    if (!lanes_of(mask, lanes, &count))
        return false;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(LLVMGetTypeContext(LLVMTypeOf(mask)));
    LLVMPositionBuilderBefore(builder, scatter);
    for (unsigned k = 0; k < count; k++) {
        LLVMValueRef lane = LLVMConstInt(i32, lanes[k], false), parts[2];
        for (unsigned i = 0; i < TW_COUNT(parts); i++)
            parts[i] = LLVMBuildExtractElement(builder, LLVMGetOperand(scatter, i), lane, "");
        LLVMSetAlignment(LLVMBuildStore(builder, parts[0], parts[1]), 1);
    }
    LLVMInstructionEraseFromParent(scatter);
    return true;
}

bool jit_store_sparse(LLVMModuleRef module) {
    return jit_each_instruction(module, replace);
}

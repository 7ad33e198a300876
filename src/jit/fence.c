// SPDX-License-Identifier: Apache-2.0
//
// Keeps LLVM from a wrong instruction. For AVX-512, LLVM 22 turns
//
//     select(mask, bitwise operations on three values, one of these values)
//
// into one merge-masked vpternlog, and where one value is a constant that it broadcasts from memory it may swap two
// operands without adapting the operation's table: lanes then choose by the wrong value. What is selected by a
// mask, and made by a bitwise operation, is therefore hidden behind llvm.arithmetic.fence, which costs no
// instruction; the mask is applied by a blend of its own.

#include "emit.h"

static bool is_bitwise(LLVMValueRef value) {
    if (!LLVMIsAInstruction(value))
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode == LLVMBitCast)
        return is_bitwise(LLVMGetOperand(value, 0));
    return opcode == LLVMAnd || opcode == LLVMOr || opcode == LLVMXor;
}

// float or double for vectors of 32- or 64-bit elements; NULL for other types, which vpternlog has no masks for.
static LLVMTypeRef real_of(LLVMContextRef context, LLVMTypeRef type) {
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
        return NULL;
    LLVMTypeRef element = LLVMGetElementType(type);
    unsigned bits = 0;
    if (LLVMGetTypeKind(element) == LLVMIntegerTypeKind)
        bits = LLVMGetIntTypeWidth(element);
    else if (LLVMGetTypeKind(element) == LLVMFloatTypeKind)
        bits = 32;
    else if (LLVMGetTypeKind(element) == LLVMDoubleTypeKind)
        bits = 64;
    LLVMTypeRef real = bits == 32   ? LLVMFloatTypeInContext(context)
                       : bits == 64 ? LLVMDoubleTypeInContext(context)
                                    : NULL;
    return real ? LLVMVectorType(real, LLVMGetVectorSize(type)) : NULL;
}

static void fence_operand(LLVMBuilderRef builder, LLVMValueRef select, unsigned operand) {
    LLVMModuleRef module = LLVMGetGlobalParent(LLVMGetBasicBlockParent(LLVMGetInstructionParent(select)));
    LLVMValueRef value = LLVMGetOperand(select, operand);
    LLVMTypeRef type = LLVMTypeOf(value), real = real_of(LLVMGetModuleContext(module), type);
    if (!real || !is_bitwise(value))
        return;
    unsigned id = LLVMLookupIntrinsicID("llvm.arithmetic.fence", sizeof "llvm.arithmetic.fence" - 1);
    LLVMValueRef fence = LLVMGetIntrinsicDeclaration(module, id, &real, 1);
    LLVMPositionBuilderBefore(builder, select);
    LLVMValueRef hidden = LLVMBuildBitCast(builder, value, real, "");
    hidden = LLVMBuildCall2(builder, LLVMGlobalGetValueType(fence), fence, &hidden, 1, "");
    LLVMSetOperand(select, operand, LLVMBuildBitCast(builder, hidden, type, ""));
}

static bool fence(LLVMBuilderRef builder, LLVMValueRef select) {
    if (!LLVMIsASelectInst(select))
        return false;
    fence_operand(builder, select, 1);
    fence_operand(builder, select, 2);
    return true;
}

void jit_fence_logic(LLVMModuleRef module) {
    (void)jit_each_instruction(module, fence);
}

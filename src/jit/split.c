// SPDX-License-Identifier: Apache-2.0
//
// Cuts long basic blocks. LLVM selects instructions block by block, and its combiner walks lists that grow with the
// block, for every instruction of it: 20,000 products in a row took 13 s, in pieces 2 s. The pieces follow one another
// without a jump, and what is alive between them stays in registers as within a block.

#include "emit.h"

// Longer than the unrolled bodies of real kernels, whose scheduling is worth keeping whole.
enum { PIECE_INSTRUCTIONS = 2'000 };

// The first of `block` after `count` instructions that may begin a piece; NULL: none is left but the terminator.
static LLVMValueRef find_cut(LLVMBasicBlockRef block, unsigned count) {
    LLVMValueRef at = LLVMGetFirstInstruction(block), last = LLVMGetBasicBlockTerminator(block);
    for (unsigned i = 0; at && at != last && (i < count || LLVMIsAPHINode(at)); i++)
        at = LLVMGetNextInstruction(at);
    return at == last ? NULL : at;
}

// Moves what stands before `cut` into a new block in front, which takes over whoever comes to `block`.
static void cut_before(LLVMBasicBlockRef block, LLVMValueRef cut, LLVMBuilderRef builder) {
    LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(LLVMGetBasicBlockParent(block)));
    LLVMBasicBlockRef head = LLVMInsertBasicBlockInContext(context, block, "piece");
    LLVMValueRef last = LLVMGetBasicBlockTerminator(block);
    // Without its terminator the block has no successors, whose phis would be told of `head` too.
    LLVMInstructionRemoveFromParent(last);
    LLVMReplaceAllUsesWith(LLVMBasicBlockAsValue(block), LLVMBasicBlockAsValue(head));
    LLVMPositionBuilderAtEnd(builder, block);
    LLVMInsertIntoBuilder(builder, last);
    LLVMPositionBuilderAtEnd(builder, head);
    for (LLVMValueRef at = LLVMGetFirstInstruction(block), next; at != cut; at = next) {
        next = LLVMGetNextInstruction(at);
        LLVMInstructionRemoveFromParent(at);
        LLVMInsertIntoBuilder(builder, at);
    }
    LLVMBuildBr(builder, block);
}

unsigned jit_split_blocks(LLVMModuleRef module) {
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(module));
    unsigned most = 0;
    for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
        for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b)) {
            unsigned cuts = 0;
            for (LLVMValueRef cut; (cut = find_cut(b, PIECE_INSTRUCTIONS)); cuts++)
                cut_before(b, cut, builder);
            most = cuts > most ? cuts : most;
        }
    LLVMDisposeBuilder(builder);
    return most;
}

// SPDX-License-Identifier: Apache-2.0
//
// Which kernels gain by running a whole block as one vector. Threads that work on tiles in shared memory read
// the same rows and columns over and over: with all of them in one vector each is loaded once for all, sums stay in
// registers from barrier to barrier, and a barrier is nothing at all. It costs code, and lanes that are not
// there cost time; so only kernels whose loops compute with shared memory with all lanes taking part, and whose
// barriers all threads reach together.

#include "internal.h"

enum { INSTS_MAX = 4'096 }; // times the lanes: LLVM makes as many instructions, in vectors of 16

static bool unfit(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_ATOM || inst->op == TW_KIR_PRINTF || inst->op == TW_KIR_MBARRIER ||
           inst->op == TW_KIR_CPASYNC || inst->order != TW_KIR_WEAK || inst->mods & TW_KIR_VOLATILE;
}

static bool multiplies(const struct tw_kir_inst *inst) {
    return tw_kir_type_is_float(inst->type) && (inst->op == TW_KIR_FMA || inst->op == TW_KIR_MUL);
}

// Loads from shared memory and multiplies in a loop, with all lanes there.
static bool works_on_tiles(const struct jit_block *b) {
    bool loads = false, computes = false;
    for (uint32_t i = 0; i < b->count; i++) {
        loads |= b->insts[i].op == TW_KIR_LD && b->insts[i].space == TW_KIR_SHARED;
        computes |= multiplies(&b->insts[i]);
    }
    return b->loop != JIT_NONE && !b->divergent && loads && computes;
}

bool jit_whole_runs(const struct jit_code *code) {
    for (uint32_t b = 0; b < code->count; b++)
        if (code->blocks[b].term == JIT_BARRIER && code->blocks[b].last->op != TW_KIR_BAR)
            return false;
    return !code->uses_warp_ops && !code->named_barriers;
}

// All threads of a block come to its barriers together, whatever its shape: what holds for one warp after the other
// need not hold for all of them. Looked at as vectors in which neither coordinate is the same.
static bool meets_at_barriers(const struct jit_code *code) {
    struct jit_code all = {.arena = code->arena,
                           .module = code->module,
                           .function = code->function,
                           .variant = {.lanes = TW_KERNEL_LANES_MAX, .x_multiple = 2}};
    struct tw_error unused = {};
    if (!jit_cfg_build(&all, &unused) || !jit_layout_build(&all, &unused) || !jit_liveness(&all, &unused) ||
        !jit_divergence(&all, &unused))
        return false;
    for (uint32_t b = 0; b < all.count; b++)
        if (all.blocks[b].term == JIT_BARRIER && all.blocks[b].waits)
            return false;
    return true;
}

unsigned jit_whole_lanes(const struct jit_code *code) {
    uint64_t insts = 0;
    bool gains = false;
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        gains |= works_on_tiles(block);
        insts += block->count;
        for (uint32_t i = 0; i < block->count; i++)
            if (unfit(&block->insts[i]))
                return 0;
    }
    if (!gains || !jit_whole_runs(code) || !code->uses_barriers)
        return 0;
    unsigned lanes = TW_KERNEL_LANES_MAX;
    while (lanes > TW_KERNEL_TURNS_MAX && insts * lanes > (uint64_t)INSTS_MAX * 64)
        lanes /= 2;
    return lanes > TW_KERNEL_TURNS_MAX && meets_at_barriers(code) ? lanes : 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// Which kernels gain by running a whole block as one vector. Threads that work on tiles in shared memory read
// the same rows and columns over and over: with all of them in one vector each is loaded once for all, sums stay in
// registers from barrier to barrier, and a barrier is nothing at all. It costs code, and lanes that are not
// there cost time; so only kernels whose loops compute with shared memory with all lanes taking part, and whose
// barriers all threads reach together. And short kernels whose loops leap by the size of the grid: there warp after warp
// reads a line here and a line far off, where the whole block reads a piece of memory.

#include "internal.h"

// Instructions of a kernel, by 64 lanes: LLVM makes as many, in vectors of 16.
enum { TILES_INSTS_MAX = 4'096, LEAPS_INSTS_MAX = 256 };

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

// Loads lanes that lie side by side from where a number of the launch has brought them.
static bool leaps(const struct jit_code *code, uint32_t block) {
    const struct jit_block *b = &code->blocks[block];
    for (uint32_t i = 0; i < b->count; i++) {
        const struct tw_kir_inst *inst = &b->insts[i];
        if (inst->op != TW_KIR_LD || jit_step(code, block, &inst->src[0]) != JIT_STEP_WIDE)
            continue;
        struct jit_shape shape = jit_operand_shape(code, &inst->src[0], 64);
        if (shape.kind == JIT_AFFINE && shape.stride != 0)
            return true;
    }
    return false;
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
    bool tiles = false, leaping = false;
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        tiles |= works_on_tiles(block);
        leaping |= leaps(code, b);
        insts += block->count;
        for (uint32_t i = 0; i < block->count; i++)
            if (unfit(&block->insts[i]))
                return 0;
    }
    if (!(tiles && code->uses_barriers) && !(leaping && !code->uses_barriers))
        return 0;
    if (!jit_whole_runs(code))
        return 0;
    uint64_t most = code->uses_barriers ? TILES_INSTS_MAX : LEAPS_INSTS_MAX;
    unsigned lanes = TW_KERNEL_LANES_MAX;
    while (lanes > TW_KERNEL_TURNS_MAX && insts * lanes > most * 64)
        lanes /= 2;
    return lanes > TW_KERNEL_TURNS_MAX && meets_at_barriers(code) ? lanes : 0;
}

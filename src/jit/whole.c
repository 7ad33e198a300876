// SPDX-License-Identifier: Apache-2.0
//
// Which kernels gain by running a whole block as one vector. Threads that work on tiles in shared memory read
// the same rows and columns over and over: with all of them in one vector each is loaded once for all, sums stay in
// registers from barrier to barrier, and a barrier is nothing at all. It costs code, and lanes that are not
// there cost time; so only kernels whose loops compute with shared memory with all lanes taking part, or that reduce
// rows which the block goes through side by side, and whose barriers all threads reach together. And short kernels whose
// loops leap by the size of the grid: there warp after warp reads a line here and a line far off, where the whole block
// reads a piece of memory. And those that count in shared memory what they go through side by side. All but the tiles
// gain in wider blocks too, as several such vectors, one after the other.

#include "internal.h"

// Instructions of a kernel, by 64 lanes: LLVM makes as many, in vectors of 16.
enum { TILES_INSTS_MAX = 4'096, LEAPS_INSTS_MAX = 256 };

// Their order is nobody's concern: where the old value is wanted they are mostly turns that threads take, locks and places
// in a list. A float's sum tells the order of its lanes, and what a warp adds round after round it adds before the next one.
static bool any_order(const struct jit_block *b, const struct tw_kir_inst *inst) {
    enum tw_kir_atom atom = (enum tw_kir_atom)inst->atom;
    if (tw_kir_type_is_float(inst->type) && (atom != TW_KIR_ATOM_ADD || b->loop != JIT_NONE))
        return false;
    return inst->dst_count == 0 && inst->order <= TW_KIR_RELAXED &&
           (atom == TW_KIR_ATOM_ADD || atom == TW_KIR_ATOM_MIN || atom == TW_KIR_ATOM_MAX ||
            atom == TW_KIR_ATOM_AND || atom == TW_KIR_ATOM_OR || atom == TW_KIR_ATOM_XOR);
}

static bool unfit(const struct jit_block *b, const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_ATOM)
        return !any_order(b, inst);
    return inst->op == TW_KIR_PRINTF || inst->op == TW_KIR_MBARRIER || inst->op == TW_KIR_CPASYNC ||
           inst->order != TW_KIR_WEAK || inst->mods & TW_KIR_VOLATILE;
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

// Counts in shared memory in a loop.
static bool counts(const struct jit_block *b) {
    for (uint32_t i = 0; i < b->count; i++)
        if (b->insts[i].op == TW_KIR_ATOM && b->insts[i].space == TW_KIR_SHARED)
            return b->loop != JIT_NONE;
    return false;
}

// Loads lanes that lie side by side from where a number of the launch has brought them.
static bool leaps(const struct jit_code *code, uint32_t block) {
    const struct jit_block *b = &code->blocks[block];
    for (uint32_t i = 0; i < b->count; i++) {
        const struct tw_kir_inst *inst = &b->insts[i];
        if (inst->op != TW_KIR_LD || jit_move(code, block, &inst->src[0]).reg == JIT_NONE)
            continue;
        struct jit_shape shape = jit_operand_shape(code, &inst->src[0], 64);
        if (shape.kind == JIT_AFFINE && shape.stride != 0)
            return true;
    }
    return false;
}

// The only warp operations are shuffles whose lanes are known: those of all warps of a block can be done at once.
static bool fixed_warp_ops(const struct jit_code *code) {
    for (uint32_t b = 0; b < code->function->block_count; b++)
        for (uint32_t i = 0; i < code->function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &code->function->blocks[b].insts[i];
            bool warp = (tw_kir_op_flags(inst->op) & TW_KIR_WARP) != 0;
            if (warp && (inst->op != TW_KIR_SHFL || !inst->src[1].is_imm || !inst->src[2].is_imm))
                return false;
            if (inst->op == TW_KIR_SREG && inst->index >= TW_KIR_LANEID && inst->index <= TW_KIR_LANEMASK_GE)
                return false;
        }
    return true;
}

bool jit_whole_runs(const struct jit_code *code) {
    for (uint32_t b = 0; b < code->count; b++)
        if (code->blocks[b].term == JIT_BARRIER && code->blocks[b].last->op != TW_KIR_BAR)
            return false;
    return !code->named_barriers && fixed_warp_ops(code);
}

// The kernel as one vector of as many lanes as there can be, in rows of `x_multiple`.
static bool analyse_whole(const struct jit_code *code, uint16_t x_multiple, struct jit_code *ret_all) {
    *ret_all = (struct jit_code){.arena = code->arena,
                                 .module = code->module,
                                 .function = code->function,
                                 .variant = {.lanes = TW_KERNEL_LANES_MAX, .x_multiple = x_multiple}};
    struct tw_error unused = {};
    return jit_cfg_build(ret_all, &unused) && jit_layout_build(ret_all, &unused) &&
           jit_liveness(ret_all, &unused) && jit_divergence(ret_all, &unused);
}

// All threads of a block come to its barriers together, whatever its shape: what holds for one warp after the other
// need not hold for all of them. Looked at as vectors in which neither coordinate is the same.
static bool meets_at_barriers(const struct jit_code *code) {
    struct jit_code all;
    if (!analyse_whole(code, 2, &all))
        return false;
    for (uint32_t b = 0; b < all.count; b++)
        if (all.blocks[b].term == JIT_BARRIER && all.blocks[b].waits)
            return false;
    return true;
}

// The branch's lanes are the first ones of the block, or all but these: `i < n` where i counts over the threads.
static bool splits_once(const struct jit_code *all, const struct jit_block *b) {
    for (uint32_t i = b->count; i-- > 0;) {
        const struct tw_kir_inst *inst = &b->insts[i];
        if (inst->dst_count == 0 || inst->dst[0] != b->cond.reg)
            continue;
        struct jit_shape a = jit_operand_shape(all, &inst->src[0], 32);
        return inst->op == TW_KIR_SETP && inst->src_count == 2 && jit_is_integer(inst->type) &&
               a.kind == JIT_AFFINE && a.stride == 1 &&
               jit_is_uniform(jit_operand_shape(all, &inst->src[1], 32));
    }
    return false;
}

// All lanes at one place, or side by side.
static bool goes_straight(const struct jit_code *all, const struct tw_kir_inst *inst) {
    if (inst->op != TW_KIR_LD && inst->op != TW_KIR_ST)
        return true;
    struct jit_shape address = jit_operand_shape(all, &inst->src[0], 64);
    int64_t bytes = (inst->vec ? inst->vec : 1) * (int64_t)(tw_kir_type_bits(inst->type) / 8);
    return address.kind == JIT_AFFINE && (address.stride == 0 || address.stride == bytes);
}

// Threads of a block in one row go through rows of data side by side, and warps exchange what they found. As one
// vector the block goes through a row in one loop. Where each warp has a loop of its own that would be masks and gathers.
static bool works_on_rows(const struct jit_code *code) {
    struct jit_code all;
    if (!analyse_whole(code, TW_KERNEL_LANES_MAX, &all))
        return false;
    bool loops = false;
    for (uint32_t b = 0; b < all.count; b++) {
        const struct jit_block *block = &all.blocks[b];
        if (block->loop == JIT_NONE)
            continue;
        loops = true;
        if (block->branched && !splits_once(&all, block))
            return false;
        for (uint32_t i = 0; i < block->count; i++)
            if (!goes_straight(&all, &block->insts[i]))
                return false;
    }
    return loops;
}

unsigned jit_whole_lanes(const struct jit_code *code) {
    uint64_t insts = 0;
    uint32_t float_sums = 0;
    bool tiles = false, leaping = false, counting = false;
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        tiles |= works_on_tiles(block);
        counting |= counts(block);
        leaping |= leaps(code, b);
        insts += block->count;
        for (uint32_t i = 0; i < block->count; i++) {
            const struct tw_kir_inst *inst = &block->insts[i];
            float_sums += inst->op == TW_KIR_ATOM && tw_kir_type_is_float(inst->type);
            if (unfit(block, inst) || float_sums > 1)
                return 0;
        }
    }
    bool rows = (counting || code->uses_warp_ops) && works_on_rows(code);
    tiles |= counting && rows;
    bool gains = code->uses_warp_ops ? code->uses_barriers || leaping : code->uses_barriers ? tiles : leaping;
    if (!gains || !jit_whole_runs(code) || (code->uses_warp_ops && !rows))
        return 0;
    uint64_t most = code->uses_barriers ? TILES_INSTS_MAX : LEAPS_INSTS_MAX;
    unsigned lanes = TW_KERNEL_LANES_MAX;
    while (lanes > TW_KERNEL_TURNS_MAX && insts * lanes > most * 64)
        lanes /= 2;
    if (lanes <= TW_KERNEL_TURNS_MAX || !meets_at_barriers(code))
        return 0;
    return lanes == TW_KERNEL_LANES_MAX && (rows || !code->uses_barriers) ? TW_KERNEL_ROW_MAX : lanes;
}

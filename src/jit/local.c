// SPDX-License-Identifier: Apache-2.0
//
// Registers that live within one block, where a pure operation writes them first (home.c). Each version of the
// block gets a slot of its own for them, which needs no zero at a warp's beginning: LLVM turns a slot that is used in
// one block into values at once, while one that reaches through the whole function costs it a walk over the function.
// Those that are written once need no slot at all: they are what was written.

#include "emit.h"

// Of the local ones.
static bool find_once(struct jit_emit *e) {
    const struct jit_code *code = e->code;
    uint64_t *seen = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(code->function->reg_count) + 1);
    if (!seen)
        return jit_no_memory(e->err);
    memcpy(e->once, e->local, jit_words(code->function->reg_count) * sizeof *e->once);
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t i = 0; i < code->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &code->blocks[b].insts[i];
            for (unsigned d = 0; d < inst->dst_count; d++) {
                uint32_t reg = inst->dst[d];
                if (reg == TW_KIR_NO_REG || !jit_bit(e->once, reg))
                    continue;
                if (jit_bit(seen, reg))
                    jit_bit_clear(e->once, reg);
                jit_bit_set(seen, reg);
            }
        }
    return true;
}

bool jit_locals_find(struct jit_emit *e) {
    const struct jit_code *code = e->code;
    size_t regs = code->function->reg_count;
    uint32_t *home;
    e->local = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(regs) + 1);
    e->once = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(regs) + 1);
    e->values = TW_ARENA_ARRAY(e->arena, LLVMValueRef, regs + 1);
    if (!e->local || !e->once || !e->values)
        return jit_no_memory(e->err);
    if (!jit_homes_find(code, true, &home, e->err))
        return false;
    // Warps come into the exact version in the middle of blocks.
    for (uint32_t k = 0; code->exact && k < e->points->count; k++)
        for (uint32_t r = 0; r < regs; r++)
            if (jit_bit(e->points->items[k].live, r))
                home[r] = JIT_HOME_SHARED;
    for (uint32_t r = 0; r < regs; r++)
        if (home[r] != JIT_HOME_SHARED && home[r] != JIT_NONE)
            jit_bit_set(e->local, r);
    return find_once(e);
}

void jit_locals_forget(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    for (uint32_t i = 0; i < b->count; i++)
        for (unsigned d = 0; d < b->insts[i].dst_count; d++)
            if (b->insts[i].dst[d] != TW_KIR_NO_REG && jit_bit(e->local, b->insts[i].dst[d]))
                e->regs[b->insts[i].dst[d]] = e->values[b->insts[i].dst[d]] = NULL;
}

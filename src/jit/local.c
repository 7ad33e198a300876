// SPDX-License-Identifier: Apache-2.0
//
// Registers that live within one block: the first thing that happens to them there is a write by a plain operation
// that keeps no lane's old value, and nobody else mentions them. Most registers are such, and each version of the
// block gets a slot of its own for them, which needs no zero at a warp's beginning: LLVM turns a slot that is used in
// one block into values at once, while one that reaches through the whole function costs it a walk over the function.
// Those that are written once need no slot at all: they are what was written.

#include "emit.h"

enum { UNSEEN = JIT_NONE, SHARED = JIT_NONE - 1 };

static void see_read(uint32_t *home, uint32_t block, uint32_t reg) {
    if (reg != TW_KIR_NO_REG && home[reg] != block)
        home[reg] = SHARED;
}

static void see_reads(uint32_t *home, uint32_t block, const struct tw_kir_inst *inst) {
    see_read(home, block, inst->guard);
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!inst->src[s].is_imm)
            see_read(home, block, inst->src[s].reg);
}

static void see_writes(const struct jit_code *code, uint32_t *home, uint32_t block,
                       const struct tw_kir_inst *inst) {
    bool plain = (tw_kir_op_flags(inst->op) & TW_KIR_PURE) && inst->guard == TW_KIR_NO_REG;
    for (unsigned d = 0; d < inst->dst_count; d++) {
        uint32_t reg = inst->dst[d];
        if (reg == TW_KIR_NO_REG)
            continue;
        if (home[reg] == UNSEEN && plain && !jit_must_blend(code, block, inst, reg))
            home[reg] = block;
        else if (home[reg] != block)
            home[reg] = SHARED;
    }
}

static void see_block(const struct jit_code *code, uint32_t *home, uint32_t block) {
    const struct jit_block *b = &code->blocks[block];
    for (uint32_t i = 0; i < b->count; i++) {
        see_reads(home, block, &b->insts[i]);
        see_writes(code, home, block, &b->insts[i]);
    }
    if (!b->cond.is_imm && (b->term == JIT_COND || b->term == JIT_SWITCH))
        see_read(home, block, b->cond.reg);
    for (unsigned d = 0; b->last && d < b->last->dst_count; d++) // written when the warp is taken up again
        if (b->last->dst[d] != TW_KIR_NO_REG)
            home[b->last->dst[d]] = SHARED;
    if (b->last)
        see_reads(home, block, b->last);
}

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
    uint32_t *home = TW_ARENA_ARRAY(e->arena, uint32_t, regs + 1);
    e->local = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(regs) + 1);
    e->once = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(regs) + 1);
    e->values = TW_ARENA_ARRAY(e->arena, LLVMValueRef, regs + 1);
    if (!home || !e->local || !e->once || !e->values)
        return jit_no_memory(e->err);
    for (size_t r = 0; r < regs; r++)
        home[r] = UNSEEN;
    for (uint32_t b = 0; b < code->count; b++)
        see_block(code, home, b);
    // Warps come into the exact version in the middle of blocks.
    for (uint32_t k = 0; code->exact && k < e->points->count; k++)
        for (uint32_t r = 0; r < regs; r++)
            if (jit_bit(e->points->items[k].live, r))
                home[r] = SHARED;
    for (uint32_t r = 0; r < regs; r++)
        if (home[r] != SHARED && home[r] != UNSEEN)
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

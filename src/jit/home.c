// SPDX-License-Identifier: Apache-2.0
//
// Which registers live within one block: the first thing that happens to them there is a write that keeps no lane's old
// value, and nobody else mentions them. Most registers are such.

#include "internal.h"

static void see_read(uint32_t *homes, uint32_t block, uint32_t reg) {
    if (reg != TW_KIR_NO_REG && homes[reg] != block)
        homes[reg] = JIT_HOME_SHARED;
}

static void see_reads(uint32_t *homes, uint32_t block, const struct tw_kir_inst *inst) {
    see_read(homes, block, inst->guard);
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!inst->src[s].is_imm)
            see_read(homes, block, inst->src[s].reg);
}

static void see_writes(const struct jit_code *code, bool pure, uint32_t *homes, uint32_t block,
                       const struct tw_kir_inst *inst) {
    bool plain = inst->guard == TW_KIR_NO_REG && (!pure || tw_kir_op_flags(inst->op) & TW_KIR_PURE);
    for (unsigned d = 0; d < inst->dst_count; d++) {
        uint32_t reg = inst->dst[d];
        if (reg == TW_KIR_NO_REG)
            continue;
        if (homes[reg] == JIT_NONE && plain && !jit_must_blend(code, block, inst, reg))
            homes[reg] = block;
        else if (homes[reg] != block)
            homes[reg] = JIT_HOME_SHARED;
    }
}

static void see_block(const struct jit_code *code, bool pure, uint32_t *homes, uint32_t block) {
    const struct jit_block *b = &code->blocks[block];
    for (uint32_t i = 0; i < b->count; i++) {
        see_reads(homes, block, &b->insts[i]);
        see_writes(code, pure, homes, block, &b->insts[i]);
    }
    if (!b->cond.is_imm && (b->term == JIT_COND || b->term == JIT_SWITCH))
        see_read(homes, block, b->cond.reg);
    for (unsigned d = 0; b->last && d < b->last->dst_count; d++) // written when the warp is taken up again
        if (b->last->dst[d] != TW_KIR_NO_REG)
            homes[b->last->dst[d]] = JIT_HOME_SHARED;
    if (b->last)
        see_reads(homes, block, b->last);
}

bool jit_homes_find(const struct jit_code *code, bool pure, uint32_t **ret_homes, struct tw_error *err) {
    uint32_t regs = code->function->reg_count, *homes = TW_ARENA_ARRAY(code->arena, uint32_t, regs + 1);
    if (!homes)
        return jit_no_memory(err);
    for (uint32_t r = 0; r < regs; r++)
        homes[r] = JIT_NONE;
    for (uint32_t b = 0; b < code->count; b++)
        see_block(code, pure, homes, b);
    *ret_homes = homes;
    return true;
}

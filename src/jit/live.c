// SPDX-License-Identifier: Apache-2.0
//
// Which registers hold values that are still wanted: the usual backward iteration over bitsets, as one thread
// sees the program. A guarded write does not end a register's life: where the guard is false the old value
// goes on.

#include "internal.h"

static void use(const struct tw_kir_operand *operand, uint64_t *live) {
    if (!operand->is_imm)
        jit_bit_set(live, operand->reg);
}

static void step_back(const struct tw_kir_inst *inst, uint64_t *live) {
    if (inst->guard == TW_KIR_NO_REG)
        for (unsigned i = 0; i < inst->dst_count; i++)
            if (inst->dst[i] != TW_KIR_NO_REG)
                jit_bit_clear(live, inst->dst[i]);
    if (inst->guard != TW_KIR_NO_REG)
        jit_bit_set(live, inst->guard);
    for (unsigned i = 0; i < inst->src_count; i++)
        use(&inst->src[i], live);
}

// Live at the end of the block, before its terminator or barrier.
static void live_at_end(const struct jit_code *code, const struct jit_block *b, uint64_t *live) {
    size_t words = jit_words(code->function->reg_count);
    memset(live, 0, words * sizeof *live);
    for (uint32_t k = 0; k < b->succ_count; k++)
        for (size_t w = 0; b->succs[k] < code->count && w < words; w++)
            live[w] |= code->blocks[b->succs[k]].live_in[w];
    if (b->term == JIT_BARRIER) {
        struct tw_kir_inst plain = *b->last;
        plain.guard = TW_KIR_NO_REG; // a branch around it has seen to that
        step_back(&plain, live);
    }
    if (b->term == JIT_COND || b->term == JIT_SWITCH)
        use(&b->cond, live);
}

void jit_live_at(const struct jit_code *code, uint32_t block, uint32_t at, uint64_t *ret_live) {
    const struct jit_block *b = &code->blocks[block];
    live_at_end(code, b, ret_live);
    for (uint32_t i = b->count; i-- > at;)
        step_back(&b->insts[i], ret_live);
}

bool jit_liveness(struct jit_code *code, struct tw_error *err) {
    size_t words = jit_words(code->function->reg_count);
    uint64_t *live = TW_ARENA_ARRAY(code->arena, uint64_t, words + 1);
    if (!live)
        return jit_no_memory(err);
    for (uint32_t b = 0; b < code->count; b++) {
        code->blocks[b].live_in = TW_ARENA_ARRAY(code->arena, uint64_t, words + 1);
        if (!code->blocks[b].live_in)
            return jit_no_memory(err);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t b = code->count; b-- > 0;) {
            jit_live_at(code, b, 0, live);
            if (memcmp(live, code->blocks[b].live_in, words * sizeof *live) == 0)
                continue;
            memcpy(code->blocks[b].live_in, live, words * sizeof *live);
            changed = true;
        }
    }
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// How far an address moves from one round of its innermost loop to the next. Where a warp leaps over what other warps
// read (loops that go on by the size of the block or of the grid), the processor's own prefetching finds no pattern;
// the next warps' lines, or the next round's, can be asked for while this one runs.

#include "internal.h"

enum { DEPTH_MAX = 12 }; // instructions from the address back to the counter

// Confined: one search.
struct search {
    const struct jit_code *code;
    uint32_t loop;
};

// The one instruction of the loop that writes the register. `ret_count`: how many there are.
static const struct tw_kir_inst *writer(const struct search *s, uint32_t reg, unsigned *ret_count) {
    const struct tw_kir_inst *found = NULL;
    *ret_count = 0;
    for (uint32_t b = s->code->loops[s->loop].header; b <= s->code->loops[s->loop].last; b++)
        for (uint32_t i = 0; i < s->code->blocks[b].count; i++)
            for (unsigned d = 0; d < s->code->blocks[b].insts[i].dst_count; d++)
                if (s->code->blocks[b].insts[i].dst[d] == reg) {
                    found = &s->code->blocks[b].insts[i];
                    ++*ret_count;
                }
    return found;
}

static struct jit_move still(void) {
    return (struct jit_move){.reg = JIT_NONE};
}

static struct jit_move scaled(struct jit_move m, uint64_t factor) {
    if (__builtin_mul_overflow(m.bytes, (int64_t)factor, &m.bytes) ||
        __builtin_mul_overflow(m.factor, (int64_t)factor, &m.factor))
        return still();
    return m;
}

static struct jit_move added(struct jit_move a, struct jit_move b) {
    if (a.reg != JIT_NONE && b.reg != JIT_NONE)
        return a; // by more than this: not as far as is known, but far
    struct jit_move sum = a.reg != JIT_NONE ? a : b;
    return __builtin_add_overflow(a.bytes, b.bytes, &sum.bytes) ? still() : sum;
}

static struct jit_move move_of(const struct search *s, const struct tw_kir_operand *operand, unsigned depth);

// reg = reg + something: what it counts up by.
static struct jit_move count_of(const struct search *s, const struct tw_kir_operand *by, unsigned bits) {
    struct jit_move m = still();
    unsigned writers;
    if (by->is_imm) {
        m.bytes = bits == 32 ? (int32_t)by->bits : (int64_t)by->bits;
        return m;
    }
    (void)writer(s, by->reg, &writers);
    if (writers == 0 && jit_reg_uniform(s->code, by->reg)) {
        m.reg = by->reg;
        m.factor = 1;
    }
    return m;
}

static struct jit_move sum_of(const struct search *s, const struct tw_kir_inst *inst, unsigned depth) {
    for (unsigned i = 0; i < 2; i++)
        if (!inst->src[i].is_imm && inst->src[i].reg == inst->dst[0])
            return count_of(s, &inst->src[!i], tw_kir_type_bits(inst->type));
    return added(move_of(s, &inst->src[0], depth), move_of(s, &inst->src[1], depth));
}

static struct jit_move move_of(const struct search *s, const struct tw_kir_operand *operand, unsigned depth) {
    unsigned writers;
    if (operand->is_imm || depth == 0)
        return still();
    const struct tw_kir_inst *inst = writer(s, operand->reg, &writers);
    if (writers != 1 || inst->guard != TW_KIR_NO_REG)
        return still();
    switch ((int)inst->op) {
    case TW_KIR_ADD:
        return sum_of(s, inst, depth - 1);
    case TW_KIR_MOV:
    case TW_KIR_CVT:
        return move_of(s, &inst->src[0], depth - 1);
    case TW_KIR_MUL:
    case TW_KIR_MULWIDE:
        return inst->src[1].is_imm ? scaled(move_of(s, &inst->src[0], depth - 1), inst->src[1].bits)
                                   : still();
    case TW_KIR_SHL:
        return inst->src[1].is_imm && inst->src[1].bits < 32
                   ? scaled(move_of(s, &inst->src[0], depth - 1), UINT64_C(1) << inst->src[1].bits)
                   : still();
    default:
        return still();
    }
}

struct jit_move jit_move(const struct jit_code *code, uint32_t block, const struct tw_kir_operand *address) {
    struct search s = {.code = code, .loop = code->blocks[block].loop};
    return s.loop == JIT_NONE ? still() : move_of(&s, address, DEPTH_MAX);
}

// SPDX-License-Identifier: Apache-2.0
//
// Registers that never hold a signalling NaN: all that is ever written to them comes out of an operation that makes
// NaNs quiet, or is a constant, or copied from such a register. What memory or integer operations gave may be
// anything; so may sums and products, since LLVM takes x × 1 for x.

#include "internal.h"

static bool is_signalling(uint64_t bits) {
    return (bits & 0x7f800000) == 0x7f800000 && (bits & 0x007fffff) != 0 && !(bits & 0x00400000);
}

static bool source_quiet(const struct jit_code *code, const struct tw_kir_operand *operand) {
    return operand->is_imm ? !is_signalling(operand->bits) : !jit_bit(code->loud, operand->reg);
}

static bool makes_quiet(const struct jit_code *code, const struct tw_kir_inst *inst) {
    switch (inst->op) {
    case TW_KIR_MIN:
    case TW_KIR_MAX:
    case TW_KIR_EX2:
    case TW_KIR_SQRT:
    case TW_KIR_RSQRT:
    case TW_KIR_RCP:
        return inst->type == TW_KIR_F32;
    case TW_KIR_SELECT:
        return source_quiet(code, &inst->src[0]) && source_quiet(code, &inst->src[1]);
    case TW_KIR_MOV:
    case TW_KIR_SHFL:
        return source_quiet(code, &inst->src[0]);
    default:
        return false;
    }
}

static bool visit(struct jit_code *code, const struct tw_kir_inst *inst) {
    bool grew = false, quiet = makes_quiet(code, inst);
    for (unsigned d = 0; d < inst->dst_count; d++) {
        if (inst->dst[d] == TW_KIR_NO_REG || quiet || jit_bit(code->loud, inst->dst[d]))
            continue;
        jit_bit_set(code->loud, inst->dst[d]);
        grew = true;
    }
    return grew;
}

bool jit_find_quiet(struct jit_code *code, struct tw_error *err) {
    code->loud = TW_ARENA_ARRAY(code->arena, uint64_t, jit_words(code->function->reg_count) + 1);
    if (!code->loud)
        return jit_no_memory(err);
    for (bool grew = true; grew;) {
        grew = false;
        for (uint32_t b = 0; b < code->count; b++)
            for (uint32_t i = 0; i < code->blocks[b].count; i++)
                grew |= visit(code, &code->blocks[b].insts[i]);
    }
    return true;
}

bool jit_is_quiet(const struct jit_code *code, const struct tw_kir_operand *operand) {
    return source_quiet(code, operand);
}

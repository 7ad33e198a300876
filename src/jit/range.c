// SPDX-License-Identifier: Apache-2.0
//
// Upper bounds of integers, as powers of two: thread and block indices and masks are small, and so is what is
// made of them. Where a bound is known nothing has wrapped, and a guess (exact.c) needs no check. Loops are not
// looked into: a register that grows has no bound.

#include "internal.h"

#include "kernel/limits.h"

static unsigned length(uint64_t value) {
    return value ? 64 - (unsigned)__builtin_clzll(value) : 1;
}

static unsigned below(const struct jit_code *code, const struct tw_kir_operand *operand) {
    return operand->is_imm ? length(operand->bits) : code->shapes[operand->reg].below;
}

static unsigned sreg_below(uint32_t sreg) {
    switch (sreg) {
    case TW_KIR_TID_X:
    case TW_KIR_TID_Y:
    case TW_KIR_TID_Z:
        return 10;
    case TW_KIR_NTID_X:
    case TW_KIR_NTID_Y:
    case TW_KIR_NTID_Z:
        return 11;
    case TW_KIR_CTAID_X:
    case TW_KIR_NCTAID_X:
        return 31;
    case TW_KIR_CTAID_Y:
    case TW_KIR_CTAID_Z:
    case TW_KIR_NCTAID_Y:
    case TW_KIR_NCTAID_Z:
        return 16;
    case TW_KIR_LANEID:
    case TW_KIR_WARPID:
        return 5;
    default:
        return 0;
    }
}

static unsigned greater(unsigned a, unsigned b) {
    return a > b ? a : b;
}

// The bound of a and b together, given that both are known.
static unsigned pair_below(const struct tw_kir_inst *inst, unsigned a, unsigned b) {
    uint64_t amount = inst->src[1].is_imm ? inst->src[1].bits : 64;
    switch (inst->op) {
    case TW_KIR_ADD:
        return greater(a, b) + 1;
    case TW_KIR_MUL:
    case TW_KIR_MULWIDE:
        return a + b;
    case TW_KIR_SHL:
        return amount < 64 ? a + (unsigned)amount : 0;
    case TW_KIR_SHR:
        return amount < a ? a - (unsigned)amount : amount < 64 ? 1 : 0;
    case TW_KIR_OR:
    case TW_KIR_XOR:
    case TW_KIR_SELECT:
        return greater(a, b);
    default:
        return 0;
    }
}

// The bound of anything that is moved down by so many bits.
static unsigned moved_down(const struct tw_kir_inst *inst, unsigned bits) {
    bool moves = inst->op == TW_KIR_SHR && !tw_kir_type_is_signed(inst->type) && inst->src[1].is_imm;
    return moves && inst->src[1].bits > 0 && inst->src[1].bits < bits ? bits - (unsigned)inst->src[1].bits
                                                                      : 0;
}

bool jit_never_wraps(const struct jit_code *code, const struct tw_kir_operand *operand, unsigned bits,
                     bool sign) {
    unsigned b = below(code, operand);
    return b && b <= bits - sign;
}

bool jit_is_integer(uint8_t type) {
    return !tw_kir_type_is_float(type) && type != TW_KIR_PRED && type != TW_KIR_B128;
}

uint8_t jit_below(const struct jit_code *code, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type), from = bits, found = 0;
    if (inst->op == TW_KIR_SREG)
        return (uint8_t)sreg_below(inst->index);
    if (!jit_is_integer(inst->type) || inst->mods & TW_KIR_SAT || inst->src_count == 0)
        return 0;
    unsigned a = below(code, &inst->src[0]), b = inst->src_count > 1 ? below(code, &inst->src[1]) : 0;
    switch (inst->op) {
    case TW_KIR_MOV:
        found = a;
        break;
    case TW_KIR_CVT:
        from = tw_kir_type_bits(inst->type2);
        if (inst->src_count == 1 && jit_is_integer(inst->type2) &&
            jit_never_wraps(code, &inst->src[0], from, tw_kir_type_is_signed(inst->type2)))
            found = a;
        break;
    case TW_KIR_AND:
        found = a && b ? (a < b ? a : b) : a | b;
        break;
    default:
        found = a && b ? pair_below(inst, a, b) : moved_down(inst, bits);
    }
    unsigned top = inst->op == TW_KIR_MULWIDE ? 2 * bits : bits;
    // A sign bit would make signed operations and shifts something else.
    return (uint8_t)(found < top ? found : 0);
}

// SPDX-License-Identifier: Apache-2.0
//
// Memory, addresses, special registers: see lower.h.

#include "lower.h"

// Of five operations that follow one another, for elements of 8 to 128 bits.
static uint16_t by_width(uint16_t op_of_8, unsigned bits) {
    return (uint16_t)(op_of_8 + (unsigned)__builtin_ctz(bits / 8));
}

static bool lower_sreg(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    if (bits < 16 || bits > 64 || inst->index >= TW_KIR_SREG_COUNT)
        return false;
    uint16_t op = bits == 16 ? TW_INTERP_SREG_16 : bits == 32 ? TW_INTERP_SREG_32 : TW_INTERP_SREG_64;
    jit_lower_emit(l, op, inst->index, (uint32_t[]){jit_lower_dest(l, inst, 0)}, 1);
    return true;
}

static bool lower_ldparam(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    if (bits < 8)
        return false;
    for (unsigned i = 0; i < inst->dst_count; i++)
        jit_lower_emit(l, by_width(TW_INTERP_LDPARAM_8, bits), (uint64_t)inst->offset + i * (bits / 8),
                       (uint32_t[]){jit_lower_dest(l, inst, i)}, 1);
    return true;
}

static bool lower_addr(struct jit_lower *l, const struct tw_kir_inst *inst) {
    uint64_t at = (uint64_t)inst->offset;
    uint16_t op = TW_INTERP_ADDR_PARAM;
    if (inst->op == TW_KIR_ADDR) {
        unsigned space = l->code->module->variables[inst->index].space;
        at += l->code->layout.offsets[inst->index];
        op = space == TW_KIR_SHARED  ? TW_INTERP_ADDR_SHARED
             : space == TW_KIR_LOCAL ? TW_INTERP_ADDR_LOCAL
                                     : TW_INTERP_ADDR_GLOBAL;
    }
    jit_lower_emit(l, op, at, (uint32_t[]){jit_lower_dest(l, inst, 0)}, 1);
    return true;
}

static bool lower_isspace(struct jit_lower *l, const struct tw_kir_inst *inst) {
    const struct jit_layout *layout = &l->code->layout;
    uint64_t bytes = layout->globals_bytes - layout->constants;
    if (layout->constants > UINT32_MAX || bytes > UINT32_MAX)
        return false;
    uint32_t operands[] = {jit_lower_dest(l, inst, 0), jit_lower_source(l, &inst->src[0], 64),
                           (uint32_t)layout->constants, (uint32_t)bytes};
    jit_lower_emit(l, TW_INTERP_ISSPACE, inst->space, operands, TW_COUNT(operands));
    return true;
}

static bool lower_access(struct jit_lower *l, const struct tw_kir_inst *inst) {
    bool load = inst->op == TW_KIR_LD;
    unsigned bits = tw_kir_type_bits(inst->type), count = inst->vec;
    uint32_t operands[2 + TW_INTERP_ELEMENTS_MAX] = {jit_lower_source(l, &inst->src[0], 64), count};
    if (bits < 8 || count > TW_INTERP_ELEMENTS_MAX)
        return false;
    for (unsigned i = 0; i < count; i++)
        operands[2 + i] = load ? jit_lower_dest(l, inst, i) : jit_lower_source(l, &inst->src[1 + i], bits);
    jit_lower_emit(l, by_width(load ? TW_INTERP_LD_8 : TW_INTERP_ST_8, bits), (uint64_t)inst->offset,
                   operands, 2 + count);
    return true;
}

// As many operands as its kind has; an operand that it does not have is any.
static bool lower_atom(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    bool is_float = tw_kir_type_is_float(inst->type);
    if (is_float ? bits > 64 || (inst->atom != TW_KIR_ATOM_ADD && inst->atom != TW_KIR_ATOM_EXCH)
                 : bits != 32 && bits != 64 && !(bits == 16 && inst->atom == TW_KIR_ATOM_CAS))
        return false;
    bool looks = inst->dst_count > 0 && inst->dst[0] != TW_KIR_NO_REG;
    uint32_t how = inst->atom | (uint32_t)inst->type << TW_INTERP_ATOM_TYPE_SHIFT |
                   (inst->space == TW_KIR_SHARED ? TW_INTERP_ATOM_PLAIN : 0) |
                   (looks ? 0 : TW_INTERP_ATOM_RED);
    uint32_t operands[] = {looks ? jit_lower_dest(l, inst, 0) : jit_lower_temp(l, bits),
                           jit_lower_source(l, &inst->src[0], 64), jit_lower_source(l, &inst->src[1], bits),
                           jit_lower_source(l, &inst->src[inst->src_count - 1], bits), how};
    jit_lower_emit(l,
                   bits == 16   ? TW_INTERP_ATOM_16
                   : bits == 32 ? TW_INTERP_ATOM_32
                                : TW_INTERP_ATOM_64,
                   (uint64_t)inst->offset, operands, TW_COUNT(operands));
    return true;
}

static bool lower_copy(struct jit_lower *l, const struct tw_kir_inst *inst) {
    uint32_t operands[] = {jit_lower_source(l, &inst->src[0], 64), jit_lower_source(l, &inst->src[1], 64),
                           inst->src_count > 2 ? jit_lower_source(l, &inst->src[2], 32)
                                               : jit_lower_constant(l, inst->vec, 32)};
    jit_lower_emit(l, TW_INTERP_CPASYNC, inst->vec, operands, TW_COUNT(operands));
    return true;
}

static bool lower_print(struct jit_lower *l, const struct tw_kir_inst *inst) {
    uint32_t operands[] = {inst->dst_count ? jit_lower_dest(l, inst, 0) : jit_lower_temp(l, 32),
                           jit_lower_source(l, &inst->src[0], 64), jit_lower_source(l, &inst->src[1], 64)};
    jit_lower_emit(l, TW_INTERP_PRINTF, 0, operands, TW_COUNT(operands));
    return true;
}

bool jit_lower_memory(struct jit_lower *l, const struct tw_kir_inst *inst) {
    switch (inst->op) {
    case TW_KIR_SREG:
        return lower_sreg(l, inst);
    case TW_KIR_LDPARAM:
        return lower_ldparam(l, inst);
    case TW_KIR_ADDR:
    case TW_KIR_PARAMADDR:
        return lower_addr(l, inst);
    case TW_KIR_ISSPACE:
        return lower_isspace(l, inst);
    case TW_KIR_LD:
    case TW_KIR_ST:
        return lower_access(l, inst);
    case TW_KIR_ATOM:
        return lower_atom(l, inst);
    case TW_KIR_CPASYNC:
        return lower_copy(l, inst);
    case TW_KIR_PRINTF:
        return lower_print(l, inst);
    case TW_KIR_FENCE:
        if (inst->scope != TW_KIR_CTA) // the block has one thread
            jit_lower_emit(l, TW_INTERP_FENCE, 0, NULL, 0);
        return true;
    default:
        return false;
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// One instruction at a time: integer operations on constants become moves, and operations that leave an
// operand as it is become moves of it. Floats are left alone but for what is exact by definition (selects and
// moves): rounding is the back end's business.

#include "internal.h"

static uint64_t mask_of(unsigned bits) {
    return bits >= 64 ? UINT64_MAX : (1ULL << bits) - 1;
}

static int64_t sign_extend(uint64_t value, unsigned bits) {
    return bits >= 64 ? (int64_t)value : (int64_t)(value << (64 - bits)) >> (64 - bits);
}

static bool become_move(struct tw_kir_inst *inst, uint8_t type, struct tw_kir_operand from) {
    inst->op = TW_KIR_MOV;
    inst->type = type;
    inst->type2 = inst->round = inst->cmp = inst->combine = inst->combine_not = inst->mode = 0;
    inst->mods = 0;
    inst->offset = 0;
    inst->dst_count = inst->src_count = 1;
    inst->src[0] = from;
    return true;
}

static bool become_constant(struct tw_kir_inst *inst, uint8_t type, uint64_t bits) {
    return become_move(inst, type, tw_kir_imm_operand(bits & mask_of(tw_kir_type_bits(type))));
}

// a op b of the operations that do not look at the sign; false: not one of them.
static bool modular(const struct tw_kir_inst *inst, uint64_t a, uint64_t b, uint64_t *ret_value) {
    switch ((int)inst->op) {
    case TW_KIR_ADD:
        *ret_value = a + b;
        return true;
    case TW_KIR_SUB:
        *ret_value = a - b;
        return true;
    case TW_KIR_MUL:
        *ret_value = a * b;
        return true;
    case TW_KIR_AND:
        *ret_value = a & b;
        return true;
    case TW_KIR_OR:
        *ret_value = a | b;
        return true;
    case TW_KIR_XOR:
        *ret_value = a ^ b;
        return true;
    case TW_KIR_SHL:
        *ret_value = (uint32_t)b < tw_kir_type_bits(inst->type) ? a << (uint32_t)b : 0;
        return true;
    default: // left to signed_or_not
        return false;
    }
}

// The same for those that do.
static bool signed_or_not(const struct tw_kir_inst *inst, uint64_t a, uint64_t b, uint64_t *ret_value) {
    unsigned bits = tw_kir_type_bits(inst->type), amount = (uint32_t)b < bits ? (uint32_t)b : bits;
    bool is_signed = tw_kir_type_is_signed(inst->type);
    int64_t sa = sign_extend(a, bits), sb = sign_extend(b, bits);
    bool less = is_signed ? sa < sb : a < b;
    switch ((int)inst->op) {
    case TW_KIR_MULWIDE:
        if (bits > 32)
            return false;
        *ret_value = is_signed ? (uint64_t)(sa * sb) : a * b;
        return true;
    case TW_KIR_MIN:
        *ret_value = less ? a : b;
        return true;
    case TW_KIR_MAX:
        *ret_value = less ? b : a;
        return true;
    case TW_KIR_SHR:
        if (is_signed)
            *ret_value = (uint64_t)(sa >> (amount == bits ? bits - 1 : amount));
        else
            *ret_value = amount == bits ? 0 : a >> amount;
        return true;
    default: // left to the back end
        return false;
    }
}

static uint8_t result_type(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_MULWIDE ? (uint8_t)(inst->type + 1) : inst->type;
}

// x op constant that is x, or a constant whatever x is.
static bool identity(struct tw_kir_inst *inst) {
    struct tw_kir_operand a = inst->src[0], b = inst->src[1];
    bool commutes = inst->op == TW_KIR_ADD || inst->op == TW_KIR_MUL || inst->op == TW_KIR_AND ||
                    inst->op == TW_KIR_OR || inst->op == TW_KIR_XOR;
    if (a.is_imm && !b.is_imm && commutes) {
        inst->src[0] = b;
        inst->src[1] = a;
        a = inst->src[0];
        b = inst->src[1];
    }
    if (!b.is_imm || a.is_imm)
        return false;
    uint64_t all = mask_of(tw_kir_type_bits(inst->type));
    switch ((int)inst->op) {
    case TW_KIR_ADD:
    case TW_KIR_SUB:
    case TW_KIR_XOR:
    case TW_KIR_SHL:
    case TW_KIR_SHR:
        return b.bits == 0 && become_move(inst, inst->type, a);
    case TW_KIR_OR:
        return b.bits == 0     ? become_move(inst, inst->type, a)
               : b.bits == all ? become_constant(inst, inst->type, all)
                               : false;
    case TW_KIR_AND:
        return b.bits == all ? become_move(inst, inst->type, a)
               : b.bits == 0 ? become_constant(inst, inst->type, 0)
                             : false;
    case TW_KIR_MUL:
        return b.bits == 1   ? become_move(inst, inst->type, a)
               : b.bits == 0 ? become_constant(inst, inst->type, 0)
                             : false;
    case TW_KIR_MULWIDE:
        return b.bits == 0 && become_constant(inst, result_type(inst), 0);
    default: // no identity that is worth knowing
        return false;
    }
}

static bool compare(const struct tw_kir_inst *inst, bool *ret_result) {
    unsigned bits = tw_kir_type_bits(inst->type);
    uint64_t a = inst->src[0].bits, b = inst->src[1].bits;
    bool less = tw_kir_type_is_signed(inst->type) ? sign_extend(a, bits) < sign_extend(b, bits) : a < b;
    switch ((int)inst->cmp) {
    case TW_KIR_EQ:
        *ret_result = a == b;
        return true;
    case TW_KIR_NE:
        *ret_result = a != b;
        return true;
    case TW_KIR_LT:
        *ret_result = less;
        return true;
    case TW_KIR_LE:
        *ret_result = less || a == b;
        return true;
    case TW_KIR_GT:
        *ret_result = !less && a != b;
        return true;
    case TW_KIR_GE:
        *ret_result = !less;
        return true;
    default: // unordered comparisons are floats'
        return false;
    }
}

static bool fold_setp(struct tw_kir_inst *inst) {
    bool result;
    if (inst->dst_count != 1 || inst->combine || tw_kir_type_is_float(inst->type) || !inst->src[0].is_imm ||
        !inst->src[1].is_imm || !compare(inst, &result))
        return false;
    return become_constant(inst, TW_KIR_PRED, result);
}

// Integers only, without saturation.
static bool fold_cvt(struct tw_kir_inst *inst) {
    if (inst->src_count != 1 || !inst->src[0].is_imm || inst->mods || tw_kir_type_is_float(inst->type) ||
        tw_kir_type_is_float(inst->type2) || tw_kir_type_bits(inst->type) > 64)
        return false;
    uint64_t value = inst->src[0].bits;
    if (tw_kir_type_is_signed(inst->type2))
        value = (uint64_t)sign_extend(value, tw_kir_type_bits(inst->type2));
    return become_constant(inst, inst->type, value);
}

static bool fold_select(struct tw_kir_inst *inst) {
    if (inst->src[2].is_imm)
        return become_move(inst, inst->type, inst->src[inst->src[2].bits & 1 ? 0 : 1]);
    bool same =
        inst->src[0].is_imm == inst->src[1].is_imm &&
        (inst->src[0].is_imm ? inst->src[0].bits == inst->src[1].bits : inst->src[0].reg == inst->src[1].reg);
    return same && become_move(inst, inst->type, inst->src[0]);
}

bool kernel_fold(struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    if (inst->op == TW_KIR_SETP)
        return fold_setp(inst);
    if (inst->op == TW_KIR_SELECT)
        return bits <= 64 && fold_select(inst);
    if (inst->op == TW_KIR_CVT)
        return fold_cvt(inst);
    if (bits > 64 || tw_kir_type_is_float(inst->type) || inst->mods)
        return false;
    if (inst->op == TW_KIR_NOT || inst->op == TW_KIR_NEG)
        return inst->src[0].is_imm &&
               become_constant(inst, inst->type,
                               inst->op == TW_KIR_NOT ? ~inst->src[0].bits : -inst->src[0].bits);
    if (inst->src_count != 2 || inst->dst_count != 1 || !(tw_kir_op_flags(inst->op) & TW_KIR_PURE))
        return false;
    uint64_t value;
    uint64_t a = inst->src[0].bits, b = inst->src[1].bits;
    if (inst->src[0].is_imm && inst->src[1].is_imm &&
        (modular(inst, a, b, &value) || signed_or_not(inst, a, b, &value)))
        return become_constant(inst, result_type(inst), value);
    return identity(inst);
}

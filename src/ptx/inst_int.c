// SPDX-License-Identifier: Apache-2.0
//
// Integer instructions that are more than one IR instruction: carry chains through a predicate register,
// multiply-add as a multiplication and an addition, dot products, funnel shifts, permutes, lop3.

#include "internal.h"

// d = op(a, b) into a new register, whatever the guard.
static bool temporary(struct ptx_parser *parser, enum tw_kir_op op, uint8_t type, unsigned bits,
                      const struct tw_kir_operand *sources, unsigned count, struct tw_kir_inst **ret_inst) {
    uint32_t reg;
    if (!ptx_temp(parser, bits, &reg))
        return false;
    struct tw_kir_inst *inst = ptx_emit_free(parser, op, type, 1, count);
    if (!inst)
        return false;
    inst->dst[0] = reg;
    memcpy(inst->src, sources, count * sizeof *sources);
    *ret_inst = inst;
    return true;
}

// The condition-code register of PTX's carry chains, made when first named.
static bool carry_register(struct ptx_parser *parser, uint32_t *ret_reg) {
    if (parser->carry == TW_KIR_NO_REG && !ptx_temp(parser, 1, &parser->carry))
        return false;
    *ret_reg = parser->carry;
    return true;
}

// d [, carry] = a + b + (carry or 0), or a + ~b + (carry or 1): a subtraction leaves a carry where it borrows nothing. The manual
// calls what it leaves a borrow, which is the same as long as only subtractions read it; NVIDIA's own 128-bit division reads it with addc.
static bool add_with_carry(struct ptx_parser *parser, const struct ptx_inst *inst, enum tw_kir_op op,
                           bool carry_in, uint32_t target, struct tw_kir_operand a, struct tw_kir_operand b) {
    uint32_t carry;
    if (!carry_register(parser, &carry))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, op, inst->type, 2, 3);
    if (!to)
        return false;
    to->dst[0] = target;
    to->dst[1] = ptx_has(inst, PTX_G_CC) ? carry : TW_KIR_NO_REG;
    to->src[0] = a;
    to->src[1] = b;
    to->src[2] = carry_in ? tw_kir_reg_operand(carry) : tw_kir_imm_operand(op == TW_KIR_SUBC);
    return true;
}

bool ptx_lower_addsub(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand a, b;
    uint32_t target;
    if (ptx_has(inst, PTX_G_SAT) && inst->type != TW_KIR_S32)
        return ptx_fail(parser, &inst->token, "'.sat' is for .s32 only");
    if (!ptx_has(inst, PTX_G_CC))
        return ptx_lower_plain(parser, inst);
    if (!ptx_signature_source(parser, inst, 0, &a) || !ptx_signature_source(parser, inst, 1, &b) ||
        !ptx_signature_target(parser, inst, &target))
        return false;
    enum tw_kir_op op = inst->row->op == TW_KIR_ADD ? TW_KIR_ADDC : TW_KIR_SUBC;
    return add_with_carry(parser, inst, op, false, target, a, b);
}

bool ptx_lower_carry(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand a, b;
    uint32_t target;
    return ptx_signature_source(parser, inst, 0, &a) && ptx_signature_source(parser, inst, 1, &b) &&
           ptx_signature_target(parser, inst, &target) &&
           add_with_carry(parser, inst, inst->row->op, true, target, a, b);
}

static enum tw_kir_op product(const struct ptx_inst *inst) {
    static const uint8_t ops[] = {
        [PTX_LO] = TW_KIR_MUL, [PTX_HI] = TW_KIR_MULHI, [PTX_WIDE] = TW_KIR_MULWIDE};
    return ops[inst->values[PTX_G_HALF]];
}

static bool check_wide(struct ptx_parser *parser, const struct ptx_inst *inst) {
    return inst->values[PTX_G_HALF] != PTX_WIDE || tw_kir_type_bits(inst->type) < 64 ||
           ptx_fail(parser, &inst->token, "'.wide' is for 16 and 32 bits");
}

bool ptx_lower_mul(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand a, b;
    uint32_t target;
    if (!check_wide(parser, inst) || !ptx_signature_source(parser, inst, 0, &a) ||
        !ptx_signature_source(parser, inst, 1, &b) || !ptx_signature_target(parser, inst, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, product(inst), inst->type, 1, 2);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = a;
    to->src[1] = b;
    return true;
}

// mad, mad.cc, madc: half of a × b, plus c, plus the carry for madc.
bool ptx_lower_mad(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand factors[2], c;
    uint32_t target;
    bool carry_in = inst->row->name[3] == 'c', wide = inst->values[PTX_G_HALF] == PTX_WIDE;
    if (ptx_has(inst, PTX_G_SAT) && (inst->type != TW_KIR_S32 || inst->values[PTX_G_HALF] != PTX_HI))
        return ptx_fail(parser, &inst->token, "'.sat' is for mad.hi.sat.s32 only");
    if (wide && (carry_in || ptx_has(inst, PTX_G_CC)))
        return ptx_fail(parser, &inst->token, "carries need '.lo' or '.hi'");
    if (!check_wide(parser, inst) || !ptx_signature_source(parser, inst, 0, &factors[0]) ||
        !ptx_signature_source(parser, inst, 1, &factors[1]) || !ptx_signature_source(parser, inst, 2, &c) ||
        !ptx_signature_target(parser, inst, &target))
        return false;
    uint8_t type = wide ? ptx_twice(inst->type) : inst->type;
    struct tw_kir_inst *multiply;
    if (!temporary(parser, product(inst), inst->type, tw_kir_type_bits(type), factors, 2, &multiply))
        return false;
    struct tw_kir_operand p = tw_kir_reg_operand(multiply->dst[0]);
    if (carry_in || ptx_has(inst, PTX_G_CC))
        return add_with_carry(parser, inst, TW_KIR_ADDC, carry_in, target, p, c);
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_ADD, type, 1, 2);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = p;
    to->src[1] = c;
    ptx_set_mods(inst, to);
    return true;
}

bool ptx_lower_mul24(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand sources[3];
    uint32_t target;
    if (inst->values[PTX_G_HALF] == PTX_WIDE)
        return ptx_fail(parser, &inst->token, "'%s' needs '.lo' or '.hi'", inst->row->name);
    if (ptx_has(inst, PTX_G_SAT) && (inst->type != TW_KIR_S32 || inst->values[PTX_G_HALF] != PTX_HI))
        return ptx_fail(parser, &inst->token, "'.sat' is for mad24.hi.sat.s32 only");
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!ptx_signature_source(parser, inst, i, &sources[i]))
            return false;
    if (!ptx_signature_target(parser, inst, &target))
        return false;
    uint32_t mods = inst->values[PTX_G_HALF] == PTX_HI ? TW_KIR_HI : 0;
    struct tw_kir_inst *to;
    if (inst->src_count == 2) {
        to = ptx_emit(parser, TW_KIR_MUL24, inst->type, 1, 2);
        if (!to)
            return false;
        memcpy(to->src, sources, 2 * sizeof *sources);
        to->mods |= mods;
    } else {
        struct tw_kir_inst *multiply;
        if (!temporary(parser, TW_KIR_MUL24, inst->type, 32, sources, 2, &multiply))
            return false;
        multiply->mods |= mods;
        uint32_t p = multiply->dst[0];
        to = ptx_emit(parser, TW_KIR_ADD, inst->type, 1, 2);
        if (!to)
            return false;
        to->src[0] = tw_kir_reg_operand(p);
        to->src[1] = sources[2];
        ptx_set_mods(inst, to);
    }
    to->dst[0] = target;
    return true;
}

bool ptx_lower_dp(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (inst->type2 != TW_KIR_U32 && inst->type2 != TW_KIR_S32)
        return ptx_fail(parser, &inst->token, "'%s' takes .u32 and .s32", inst->row->name);
    if (ptx_has(inst, PTX_G_HALF) && inst->values[PTX_G_HALF] == PTX_WIDE)
        return ptx_fail(parser, &inst->token, "'%s' needs '.lo' or '.hi'", inst->row->name);
    if (!ptx_lower_plain(parser, inst))
        return false;
    struct tw_kir_block *block = &ptx_current(parser)->blocks[parser->block];
    struct tw_kir_inst *to = &block->insts[block->count - 1];
    to->type2 = inst->type2;
    if (ptx_has(inst, PTX_G_HALF) && inst->values[PTX_G_HALF] == PTX_HI)
        to->mods |= TW_KIR_HI;
    return true;
}

// The row's plain form with another operation or mode put in afterwards.
static struct tw_kir_inst *plain_then(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (!ptx_lower_plain(parser, inst))
        return NULL;
    struct tw_kir_block *block = &ptx_current(parser)->blocks[parser->block];
    return &block->insts[block->count - 1];
}

bool ptx_lower_shf(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_inst *to = plain_then(parser, inst);
    if (to && inst->values[PTX_G_DIRECTION])
        to->op = TW_KIR_SHFL_R;
    return to != NULL;
}

bool ptx_lower_prmt(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_inst *to = plain_then(parser, inst);
    if (to && ptx_has(inst, PTX_G_PRMT))
        to->mode = inst->values[PTX_G_PRMT];
    return to != NULL;
}

bool ptx_lower_testp(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_inst *to = plain_then(parser, inst);
    if (to)
        to->mode = inst->values[PTX_G_TESTP];
    return to != NULL;
}

// lop3.b32 d, a, b, c, table;   lop3.BoolOp.b32 d|p, a, b, c, table, q;
bool ptx_lower_lop3(struct ptx_parser *parser, struct ptx_inst *inst) {
    bool combines = ptx_has(inst, PTX_G_BOOL);
    unsigned count = combines ? 5 : 4;
    struct tw_kir_operand sources[3], q = {};
    uint32_t target, predicate = TW_KIR_NO_REG;
    if (!ptx_results(parser, inst, combines ? 2 : 1) || !ptx_operands(parser, inst, count, count))
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (!ptx_source(parser, &inst->src[i].items[0], TW_KIR_B32, &sources[i]))
            return false;
    const struct ptx_scalar *table = &inst->src[3].items[0];
    if (table->form != PTX_INTEGER || table->bits > 255)
        return ptx_fail(parser, &table->token, "lop3's truth table is a constant from 0 to 255");
    if (!ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B32, &target) ||
        (combines && inst->dst_count == 2 &&
         !ptx_target(parser, &inst->dst[1].items[0], TW_KIR_PRED, &predicate)) ||
        (combines && !ptx_source(parser, &inst->src[4].items[0], TW_KIR_PRED, &q)))
        return false;
    if (target == TW_KIR_NO_REG && !ptx_temp(parser, 32, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_LOP3, TW_KIR_B32, 1, 3);
    if (!to)
        return false;
    to->dst[0] = target;
    memcpy(to->src, sources, sizeof sources);
    to->offset = (int64_t)table->bits;
    if (predicate == TW_KIR_NO_REG)
        return true;
    struct tw_kir_inst *compare = ptx_emit(parser, TW_KIR_SETP, TW_KIR_B32, 1, 3);
    if (!compare)
        return false;
    compare->cmp = TW_KIR_NE;
    compare->combine = inst->values[PTX_G_BOOL];
    compare->dst[0] = predicate;
    compare->src[0] = tw_kir_reg_operand(target);
    compare->src[1] = tw_kir_imm_operand(0);
    compare->src[2] = q;
    return true;
}

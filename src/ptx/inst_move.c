// SPDX-License-Identifier: Apache-2.0
//
// Moves and conversions: mov with packing and addresses, cvt in all its forms, cvta, isspacep.

#include "sequence.h"

// ---- mov ----

static bool pack(struct ptx_parser *parser, const struct ptx_inst *inst) {
    const struct ptx_operand *parts = &inst->src[0];
    unsigned width = tw_kir_type_bits(inst->type) / parts->count;
    uint32_t target;
    struct tw_kir_operand sources[PTX_MAX_ELEMENTS];
    if (parts->count < 2 || (parts->count & (parts->count - 1)) || width < 8)
        return ptx_fail(parser, &parts->items[0].token, "%u elements cannot make up .%s", parts->count,
                        tw_kir_type_name(inst->type));
    for (unsigned i = 0; i < parts->count; i++)
        if (!ptx_source_low(parser, &parts->items[i], ptx_integer_type(width, false), &sources[i]))
            return false;
    if (!ptx_target(parser, &inst->dst[0].items[0], inst->type, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_PACK, inst->type, 1, parts->count);
    if (!to)
        return false;
    to->dst[0] = target;
    memcpy(to->src, sources, parts->count * sizeof *sources);
    return true;
}

static bool unpack(struct ptx_parser *parser, const struct ptx_inst *inst) {
    const struct ptx_operand *parts = &inst->dst[0];
    unsigned width = tw_kir_type_bits(inst->type) / parts->count;
    uint32_t targets[PTX_MAX_ELEMENTS];
    struct tw_kir_operand source;
    if (parts->count < 2 || (parts->count & (parts->count - 1)) || width < 8)
        return ptx_fail(parser, &parts->items[0].token, ".%s cannot be cut into %u elements",
                        tw_kir_type_name(inst->type), parts->count);
    uint8_t type = ptx_integer_type(width, false);
    if (!ptx_source(parser, &inst->src[0].items[0], inst->type, &source))
        return false;
    for (unsigned i = 0; i < parts->count; i++)
        if (!ptx_target_wide(parser, &parts->items[i], type, &targets[i]))
            return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_UNPACK, inst->type, parts->count, 1);
    if (!to)
        return false;
    to->src[0] = source;
    memcpy(to->dst, targets, parts->count * sizeof *targets);
    for (unsigned i = 0; i < parts->count; i++)
        if (!ptx_widen(parser, &parts->items[i], type, targets[i]))
            return false;
    return true;
}

// Special registers and addresses go straight to the result where the widths agree.
static bool named(struct ptx_parser *parser, const struct ptx_inst *inst, uint32_t target, bool *ret_done) {
    const struct ptx_scalar *from = &inst->src[0].items[0];
    unsigned bits = from->form == PTX_SPECIAL ? tw_kir_type_bits(from->type) : 64;
    enum tw_kir_op op;
    *ret_done = false;
    if (from->form == PTX_SPECIAL)
        op = TW_KIR_SREG;
    else if (from->form == PTX_VARIABLE || from->form == PTX_PARAMETER)
        op = from->form == PTX_VARIABLE ? TW_KIR_ADDR : TW_KIR_PARAMADDR;
    else
        return true;
    if (bits != tw_kir_type_bits(inst->type) || tw_kir_type_is_float(inst->type))
        return true;
    struct tw_kir_inst *to = ptx_emit(parser, op, ptx_integer_type(bits, false), 1, 0);
    if (!to)
        return false;
    *ret_done = true;
    to->dst[0] = target;
    to->index = op == TW_KIR_PARAMADDR ? 0 : from->reg;
    to->offset = from->offset;
    if (op == TW_KIR_PARAMADDR)
        to->offset += ptx_current(parser)->params[from->reg].offset;
    return true;
}

static bool move(struct ptx_parser *parser, const struct ptx_inst *inst) {
    struct tw_kir_operand source;
    uint32_t target;
    bool done;
    if (!ptx_target(parser, &inst->dst[0].items[0], inst->type, &target) ||
        !named(parser, inst, target, &done))
        return false;
    if (done)
        return true;
    if (!ptx_source(parser, &inst->src[0].items[0], inst->type, &source))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_MOV, inst->type, 1, 1);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = source;
    return true;
}

bool ptx_lower_mov(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, 1, 1))
        return false;
    if (inst->dst[0].braces && inst->src[0].braces)
        return ptx_fail(parser, &inst->token, "'mov' packs or unpacks, not both");
    if (inst->src[0].braces)
        return pack(parser, inst);
    return inst->dst[0].braces ? unpack(parser, inst) : move(parser, inst);
}

bool ptx_lower_cvta(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, 1, 1))
        return false;
    const struct ptx_scalar *from = &inst->src[0].items[0];
    if (inst->src[0].braces || inst->dst[0].braces)
        return ptx_fail(parser, &inst->token, "'cvta' takes no { } operands");
    if (from->form == PTX_REG)
        ptx_parameter_is_pointer(parser, from->reg);
    return move(parser, inst);
}

bool ptx_lower_isspacep(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand source;
    uint32_t target;
    int64_t offset;
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, 1, 1))
        return false;
    const struct ptx_scalar *from = &inst->src[0].items[0];
    if (from->form != PTX_REG)
        return ptx_fail(parser, &from->token, "isspacep asks about a register");
    struct ptx_address address = {.base = PTX_AT_REG, .index = from->reg, .token = from->token};
    if (!ptx_address_source(parser, &address, &source, &offset) ||
        !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_PRED, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_ISSPACE, TW_KIR_U64, 1, 1);
    if (!to)
        return false;
    to->space = inst->values[PTX_G_SPACE];
    to->dst[0] = target;
    to->src[0] = source;
    return true;
}

// ---- cvt ----

// What the rounding modifier must be: to integers one of the …i forms, to narrower floats a plain one, else
// none.
static bool check_rounding(struct ptx_parser *parser, const struct ptx_inst *inst) {
    bool from_float = tw_kir_type_is_float(inst->type2), to_float = tw_kir_type_is_float(inst->type);
    unsigned from_bits = tw_kir_type_bits(inst->type2), to_bits = tw_kir_type_bits(inst->type);
    uint8_t round = ptx_has(inst, PTX_G_ROUND) ? inst->values[PTX_G_ROUND] : TW_KIR_ROUND_DEFAULT;
    bool integral = round >= TW_KIR_RNI, plain = round != TW_KIR_ROUND_DEFAULT && !integral;
    if (from_float && !to_float && !integral)
        return ptx_fail(parser, &inst->token, "'%.*s' needs .rni, .rzi, .rmi or .rpi",
                        TW_STR_ARG(inst->name));
    if (!from_float && to_float && !plain)
        return ptx_fail(parser, &inst->token, "'%.*s' needs .rn, .rz, .rm or .rp", TW_STR_ARG(inst->name));
    if (from_float && to_float && to_bits < from_bits && !plain)
        return ptx_fail(parser, &inst->token, "'%.*s' needs .rn, .rz, .rm or .rp", TW_STR_ARG(inst->name));
    if (!from_float && !to_float && round != TW_KIR_ROUND_DEFAULT)
        return ptx_fail(parser, &inst->token, "'%.*s' does not round", TW_STR_ARG(inst->name));
    return true;
}

// cvt.rn.f16x2.f32 d, a, b: a becomes the upper half.
static bool convert_pair(struct ptx_parser *parser, const struct ptx_inst *inst) {
    struct tw_kir_operand sources[2];
    uint32_t target;
    bool pairs = inst->type == TW_KIR_F16X2 || inst->type == TW_KIR_BF16X2 || inst->type == TW_KIR_E4M3X2 ||
                 inst->type == TW_KIR_E5M2X2;
    if (!pairs || inst->type2 != TW_KIR_F32 || !ptx_has(inst, PTX_G_ROUND))
        return ptx_fail(parser, &inst->token,
                        "'%.*s' takes one source; two make a pair out of .f32, with rounding",
                        TW_STR_ARG(inst->name));
    for (unsigned i = 0; i < 2; i++)
        if (!ptx_source(parser, &inst->src[i].items[0], TW_KIR_F32, &sources[i]))
            return false;
    if (!ptx_target_wide(parser, &inst->dst[0].items[0], inst->type, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_CVT, inst->type, 1, 2);
    if (!to)
        return false;
    to->type2 = inst->type2;
    to->dst[0] = target;
    memcpy(to->src, sources, sizeof sources);
    ptx_set_mods(inst, to);
    return ptx_widen(parser, &inst->dst[0].items[0], inst->type, target);
}

static bool saturated(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned index,
                      struct tw_kir_operand *ret_part) {
    struct tw_kir_operand source;
    uint32_t reg;
    if (!ptx_source(parser, &inst->src[index].items[0], inst->type2, &source) ||
        !ptx_temp(parser, tw_kir_type_bits(inst->type), &reg))
        return false;
    struct tw_kir_inst *to = ptx_emit_free(parser, TW_KIR_CVT, inst->type, 1, 1);
    if (!to)
        return false;
    to->type2 = inst->type2;
    to->mods = TW_KIR_SAT;
    to->dst[0] = reg;
    to->src[0] = source;
    *ret_part = tw_kir_reg_operand(reg);
    return true;
}

static bool packed(struct ptx_parser *parser, uint8_t type, uint32_t target, struct tw_kir_operand low,
                   struct tw_kir_operand high, bool guarded) {
    struct tw_kir_inst *to =
        guarded ? ptx_emit(parser, TW_KIR_PACK, type, 1, 2) : ptx_emit_free(parser, TW_KIR_PACK, type, 1, 2);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = low;
    to->src[1] = high;
    return true;
}

// The same of two and four bits, which the IR does not have: d = c, a, b from the top, c moved up by two parts.
static bool pack_narrow(struct ptx_parser *parser, const struct ptx_inst *inst) {
    struct ptx_sequence s = {.parser = parser};
    unsigned bits = tw_kir_type_bits(inst->type);
    bool is_signed = tw_kir_type_is_signed(inst->type);
    uint32_t mask = (1u << bits) - 1, most = is_signed ? mask >> 1 : mask, least = is_signed ? ~most : 0;
    struct tw_kir_operand parts[2], c;
    for (unsigned i = 0; i < 2; i++) {
        if (!ptx_source(parser, &inst->src[i].items[0], TW_KIR_S32, &parts[i]))
            return false;
        parts[i] = ptx_binary(&s, TW_KIR_MAX, TW_KIR_S32, parts[i], ptx_number(least));
        parts[i] = ptx_binary(&s, TW_KIR_MIN, TW_KIR_S32, parts[i], ptx_number(most));
        if (is_signed)
            parts[i] = ptx_binary(&s, TW_KIR_AND, TW_KIR_B32, parts[i], ptx_number(mask));
    }
    if (!ptx_source(parser, &inst->src[2].items[0], TW_KIR_B32, &c))
        return false;
    struct tw_kir_operand upper = ptx_binary(&s, TW_KIR_SHL, TW_KIR_B32, parts[0], ptx_number(bits));
    c = ptx_binary(&s, TW_KIR_SHL, TW_KIR_B32, c, ptx_number(2 * bits));
    c = ptx_binary(&s, TW_KIR_OR, TW_KIR_B32, c, upper);
    return ptx_finish(&s, &inst->dst[0].items[0], ptx_binary(&s, TW_KIR_OR, TW_KIR_B32, c, parts[1]));
}

// cvt.pack.sat.u8.s32.b32 d, a, b, c: d = c's low half, a, b from the top; of 16 bits: d = a, b.
static bool convert_pack(struct ptx_parser *parser, const struct ptx_inst *inst) {
    struct tw_kir_operand a, b, c = tw_kir_imm_operand(0);
    unsigned bits = tw_kir_type_bits(inst->type);
    uint32_t target, half;
    if (inst->type2 != TW_KIR_S32 || tw_kir_type_is_float(inst->type) || bits > 16 ||
        !ptx_has(inst, PTX_G_SAT))
        return ptx_fail(parser, &inst->token,
                        "'%.*s': cvt.pack.sat makes integers of 2, 4, 8 or 16 bits of .s32",
                        TW_STR_ARG(inst->name));
    if ((bits <= 8) != (inst->src_count == 3))
        return ptx_fail(parser, &inst->token, "'%.*s' takes %u sources", TW_STR_ARG(inst->name),
                        bits <= 8 ? 3u : 2u);
    if (bits < 8)
        return pack_narrow(parser, inst);
    if (!saturated(parser, inst, 0, &a) || !saturated(parser, inst, 1, &b) ||
        !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B32, &target))
        return false;
    if (bits == 16)
        return packed(parser, TW_KIR_B32, target, b, a, true);
    return ptx_source_low(parser, &inst->src[2].items[0], TW_KIR_U16, &c) && ptx_temp(parser, 16, &half) &&
           packed(parser, TW_KIR_B16, half, b, a, false) &&
           packed(parser, TW_KIR_B32, target, tw_kir_reg_operand(half), c, true);
}

static bool convert(struct ptx_parser *parser, const struct ptx_inst *inst) {
    struct tw_kir_operand source;
    uint32_t target;
    if (!check_rounding(parser, inst) ||
        !ptx_source_low(parser, &inst->src[0].items[0], inst->type2, &source) ||
        !ptx_target_wide(parser, &inst->dst[0].items[0], inst->type, &target))
        return false;
    bool same = tw_kir_type_bits(inst->type) == tw_kir_type_bits(inst->type2) && !inst->has &&
                tw_kir_type_is_float(inst->type) == tw_kir_type_is_float(inst->type2);
    struct tw_kir_inst *to = ptx_emit(parser, same ? TW_KIR_MOV : TW_KIR_CVT, inst->type, 1, 1);
    if (!to)
        return false;
    to->type2 = same ? 0 : inst->type2;
    to->dst[0] = target;
    to->src[0] = source;
    ptx_set_mods(inst, to);
    return ptx_widen(parser, &inst->dst[0].items[0], inst->type, target);
}

bool ptx_lower_cvt(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, 1, 3))
        return false;
    if (ptx_has(inst, PTX_G_PACK))
        return inst->src_count > 1 ? convert_pack(parser, inst)
                                   : ptx_fail(parser, &inst->token, "'cvt.pack' needs two sources");
    if (inst->type >= TW_KIR_S4 || inst->type2 >= TW_KIR_S4)
        return ptx_fail(parser, &inst->token, "'%.*s': .s4, .u4, .s2 and .u2 are types of cvt.pack alone",
                        TW_STR_ARG(inst->name));
    if (inst->src_count == 3)
        return ptx_fail(parser, &inst->token, "'%.*s' has too many sources", TW_STR_ARG(inst->name));
    return inst->src_count == 2 ? convert_pair(parser, inst) : convert(parser, inst);
}

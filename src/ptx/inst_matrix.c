// SPDX-License-Identifier: Apache-2.0
//
// Matrices: mma, ldmatrix, movmatrix. The IR knows their fragments (kernel/kernel.h); here only the words are
// read.

#include "internal.h"

// One { } operand, or a lone register, of exactly `count` elements.
static bool fragment(struct ptx_parser *parser, const struct ptx_inst *inst, struct ptx_operand *ret_operand,
                     unsigned count) {
    struct ptx_token at = parser->token;
    if (!ptx_operand(parser, ret_operand))
        return false;
    return ret_operand->count == count || ptx_fail(parser, &at, "'%.*s' holds %u registers here, found %u",
                                                   TW_STR_ARG(inst->name), count, ret_operand->count);
}

static bool results(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned count, uint8_t type,
                    uint32_t *ret_targets) {
    struct ptx_operand operand;
    if (!fragment(parser, inst, &operand, count))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!ptx_target(parser, &operand.items[i], type, &ret_targets[i]))
            return false;
    return ptx_expect(parser, ',');
}

static bool sources(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned count, uint8_t type,
                    struct tw_kir_operand *ret_sources) {
    struct ptx_operand operand;
    if (!fragment(parser, inst, &operand, count))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!ptx_source(parser, &operand.items[i], type, &ret_sources[i]))
            return false;
    return true;
}

uint8_t ptx_matrix_round(const struct ptx_inst *inst) {
    uint8_t round = inst->values[PTX_G_ROUND];
    return round == TW_KIR_RN ? TW_KIR_ROUND_DEFAULT : round;
}

// Types and modifiers as the IR says them; false: they do not go together.
static bool describe(const struct ptx_inst *inst, struct tw_kir_inst *to) {
    bool bits = inst->type2 == TW_KIR_B1;
    to->type = inst->type;
    to->type2 = inst->type2;
    to->mode = inst->values[PTX_G_SHAPE];
    to->round = ptx_matrix_round(inst);
    if (inst->type4 != inst->type || bits != ptx_has(inst, PTX_G_BITOP) || bits != ptx_has(inst, PTX_G_POPC))
        return false;
    if (inst->values[PTX_G_LAYOUT] != 0 || inst->values[PTX_G_LAYOUT2] != 1)
        return false; // of these shapes only a by rows and b by columns is there
    if (ptx_has(inst, PTX_G_ROUND) && inst->type != TW_KIR_F64)
        return false;
    if (ptx_has(inst, PTX_G_SATFINITE) && (inst->type != TW_KIR_S32 || bits))
        return false;
    if (ptx_has(inst, PTX_G_SATFINITE))
        to->mods |= TW_KIR_SAT;
    if (bits && inst->values[PTX_G_BITOP])
        to->mods |= TW_KIR_XORSIGN;
    if (ptx_has(inst, PTX_G_FORM))
        to->mods |= inst->values[PTX_G_FORM] == PTX_SPARSE ? TW_KIR_SPARSE : TW_KIR_SPARSE | TW_KIR_ORDERED;
    bool integers = !tw_kir_type_is_float(inst->type2) && !bits;
    bool mixed = integers && tw_kir_type_bits(inst->type2) == tw_kir_type_bits(inst->type3) &&
                 tw_kir_type_is_signed(inst->type2) != tw_kir_type_is_signed(inst->type3);
    if (mixed)
        to->mods |= TW_KIR_MIXED;
    return mixed || inst->type2 == inst->type3;
}

// , e, f: the word of indices, and the constant that says whose words are looked at
static bool indices(struct ptx_parser *parser, const struct ptx_inst *inst, const struct tw_kir_matrix *m,
                    struct tw_kir_operand *ret_word, int64_t *ret_selector) {
    struct ptx_operand operand;
    if (!ptx_expect(parser, ',') || !sources(parser, inst, 1, TW_KIR_B32, ret_word) ||
        !ptx_expect(parser, ','))
        return false;
    struct ptx_token at = parser->token;
    struct tw_kir_operand selector;
    if (!fragment(parser, inst, &operand, 1) || !ptx_source(parser, &operand.items[0], TW_KIR_U32, &selector))
        return false;
    unsigned most = 4 / m->index_lanes - 1;
    if (!selector.is_imm || selector.bits > most)
        return ptx_fail(parser, &at, "the sparsity selector of '%.*s' is a constant from 0 to %u",
                        TW_STR_ARG(inst->name), most);
    *ret_selector = (int64_t)selector.bits;
    return true;
}

bool ptx_lower_mma(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_inst kind = {};
    struct tw_kir_matrix m;
    uint32_t targets[4];
    struct tw_kir_operand values[13];
    int64_t selector = 0;
    bool halves = inst->type2 == TW_KIR_F16 && inst->type3 == TW_KIR_F16;
    bool sums = inst->type == TW_KIR_F32 ? inst->type4 == TW_KIR_F16 || inst->type4 == TW_KIR_F32
                                         : inst->type == TW_KIR_F16 && inst->type4 == TW_KIR_F16;
    bool plain = !ptx_has(inst, PTX_G_ROUND) && !ptx_has(inst, PTX_G_SATFINITE) &&
                 !ptx_has(inst, PTX_G_BITOP) && !ptx_has(inst, PTX_G_FORM);
    if (inst->values[PTX_G_SHAPE] == TW_KIR_M8N8K4 && halves && sums && plain)
        return ptx_volta_mma(parser, inst);
    if (!describe(inst, &kind) || !tw_kir_matrix_of(&kind, &m))
        return ptx_refuse(parser, &inst->token,
                          "instruction '%.*s' is not supported: no such product up to sm_80",
                          TW_STR_ARG(inst->name));
    uint8_t in = ptx_integer_type(m.in_bits, false), sum = ptx_integer_type(m.c_bits, false);
    if (!results(parser, inst, m.c, sum, targets) || !sources(parser, inst, m.a, in, values) ||
        !ptx_expect(parser, ',') || !sources(parser, inst, m.b, in, values + m.a) ||
        !ptx_expect(parser, ',') || !sources(parser, inst, m.c, sum, values + m.a + m.b))
        return false;
    if (m.e && !indices(parser, inst, &m, &values[m.a + m.b + m.c], &selector))
        return false;
    unsigned count = m.a + m.b + m.c + m.e;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_MMA, kind.type, m.c, count);
    if (!to)
        return false;
    to->type2 = kind.type2;
    to->mode = kind.mode;
    to->mods = kind.mods;
    to->round = kind.round;
    to->offset = selector;
    memcpy(to->dst, targets, m.c * sizeof *targets);
    memcpy(to->src, values, count * sizeof *values);
    return true;
}

bool ptx_lower_ldmatrix(struct ptx_parser *parser, struct ptx_inst *inst) {
    unsigned count = inst->values[PTX_G_COUNT];
    uint32_t targets[4];
    struct ptx_address address;
    struct tw_kir_operand base;
    int64_t offset;
    if (!count || (ptx_has(inst, PTX_G_SPACE) && inst->values[PTX_G_SPACE] != TW_KIR_SHARED))
        return ptx_fail(parser, &inst->token, "'%.*s' needs .x1, .x2 or .x4, and reads .shared memory",
                        TW_STR_ARG(inst->name));
    if (!results(parser, inst, count, TW_KIR_B32, targets) || !ptx_address(parser, &address) ||
        !ptx_address_source(parser, &address, &base, &offset))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_LDMATRIX, TW_KIR_B16, count, 1);
    if (!to)
        return false;
    to->space = ptx_has(inst, PTX_G_SPACE) ? TW_KIR_SHARED : TW_KIR_GENERIC;
    to->mods = ptx_has(inst, PTX_G_TRANS) ? TW_KIR_TRANS : 0;
    to->offset = offset;
    to->src[0] = base;
    memcpy(to->dst, targets, count * sizeof *targets);
    return true;
}

bool ptx_lower_movmatrix(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint32_t target;
    struct tw_kir_operand source;
    if (!ptx_has(inst, PTX_G_TRANS))
        return ptx_fail(parser, &inst->token, "'%.*s' needs .trans", TW_STR_ARG(inst->name));
    if (!results(parser, inst, 1, TW_KIR_B32, &target) || !sources(parser, inst, 1, TW_KIR_B32, &source))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_MOVMATRIX, TW_KIR_B16, 1, 1);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = source;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// Instructions that few machines have and the IR does not: operations on packed bytes and halfwords (vadd4,
// vabsdiff2, …) and fns. They become sequences of plain ones, slow but right.
//
//     vop4.dtype.atype.btype[.sat | .add] d[.mask], a[.asel], b[.bsel], c;   vset4.atype.btype.cmp[.add] …
//
// A mask (.b210) names the lanes of the result; the others come from c, or do not count in the sum. A selector (.b7531)
// names a lane of a (0 to 3) or b (4 to 7) for each, from the top.

#include "sequence.h"

// ---- packed lanes ----

// One of these instructions. Confined.
struct packed {
    const struct ptx_inst *inst;
    unsigned lanes, width;
    uint8_t result, a, b; // u32 or s32
    bool adds, saturates;
    struct tw_kir_operand sources[3];
    bool masked[4];         // lanes of the result
    uint8_t selected[2][4]; // lanes that go into a's and b's
};

static struct tw_kir_operand lane_of(struct ptx_sequence *s, struct tw_kir_operand word, uint8_t type,
                                     unsigned at, unsigned width) {
    return ptx_step(s, TW_KIR_BFE, type, 32,
                    (struct tw_kir_operand[]){word, ptx_number(at), ptx_number(width)}, 3);
}

static struct tw_kir_operand clamped(struct ptx_sequence *s, const struct packed *p,
                                     struct tw_kir_operand v) {
    bool is_signed = p->result == TW_KIR_S32;
    uint32_t most = (1u << (p->width - is_signed)) - 1, least = is_signed ? ~most : 0;
    v = ptx_binary(s, TW_KIR_MAX, TW_KIR_S32, v, ptx_number(least));
    return ptx_binary(s, TW_KIR_MIN, TW_KIR_S32, v, ptx_number(most));
}

static struct tw_kir_operand lane_result(struct ptx_sequence *s, const struct packed *p,
                                         struct tw_kir_operand a, struct tw_kir_operand b) {
    switch ((int)p->inst->row->op) {
    case TW_KIR_SAD: // the distance
        return ptx_unary(s, TW_KIR_ABS, TW_KIR_S32, ptx_binary(s, TW_KIR_SUB, TW_KIR_S32, a, b));
    case TW_KIR_SHR: { // the average, halves away from zero
        struct tw_kir_operand sum = ptx_binary(s, TW_KIR_ADD, TW_KIR_S32, a, b);
        struct tw_kir_operand sign = ptx_binary(s, TW_KIR_SHR, TW_KIR_S32, sum, ptx_number(31));
        sign = ptx_binary(s, TW_KIR_ADD, TW_KIR_S32, sign, ptx_number(1));
        return ptx_binary(s, TW_KIR_SHR, TW_KIR_S32, ptx_binary(s, TW_KIR_ADD, TW_KIR_S32, sum, sign),
                          ptx_number(1));
    }
    case TW_KIR_SETP:
        return ptx_choose(s, TW_KIR_B32, ptx_test(s, p->inst->values[PTX_G_CMP], TW_KIR_S32, a, b),
                          ptx_number(1), ptx_number(0));
    default:
        return ptx_binary(s, p->inst->row->op, TW_KIR_S32, a, b);
    }
}

static bool describe(struct ptx_parser *parser, const struct ptx_inst *inst, struct packed *ret_packed) {
    bool compares = inst->row->op == TW_KIR_SETP;
    struct packed p = {.inst = inst,
                       .lanes = inst->row->name[strlen(inst->row->name) - 1] == '4' ? 4 : 2,
                       .result = compares ? TW_KIR_U32 : inst->type,
                       .a = compares ? inst->type : inst->type2,
                       .b = compares ? inst->type2 : inst->type3,
                       .adds = ptx_has(inst, PTX_G_REDUCE),
                       .saturates = ptx_has(inst, PTX_G_SAT)};
    const uint8_t types[] = {p.result, p.a, p.b};
    p.width = 32 / p.lanes;
    for (size_t i = 0; i < TW_COUNT(types); i++)
        if (types[i] != TW_KIR_U32 && types[i] != TW_KIR_S32)
            return ptx_fail(parser, &inst->token, "'%.*s' takes .u32 and .s32", TW_STR_ARG(inst->name));
    if (p.adds && (p.saturates || inst->values[PTX_G_REDUCE] != TW_KIR_RED_ADD))
        return ptx_fail(parser, &inst->token, "'%.*s': either .sat or .add", TW_STR_ARG(inst->name));
    *ret_packed = p;
    return true;
}

static bool wrong_lanes(struct ptx_parser *parser, const struct packed *p, const struct ptx_token *at) {
    return ptx_fail(parser, at, "'%.*s' does not have such lanes", TW_STR_ARG(p->inst->name));
}

static bool read_mask(struct ptx_parser *parser, struct packed *p) {
    struct ptx_token at = parser->token;
    struct ptx_selector mask;
    if (!ptx_selector_read(parser, &mask))
        return false;
    for (unsigned i = 0; i < p->lanes; i++)
        p->masked[i] = !mask.letter;
    if (mask.letter && mask.letter != (p->lanes == 4 ? 'b' : 'h'))
        return wrong_lanes(parser, p, &at);
    for (unsigned i = 0; i < mask.count; i++) {
        if (mask.places[i] >= p->lanes || p->masked[mask.places[i]])
            return wrong_lanes(parser, p, &at);
        p->masked[mask.places[i]] = true;
    }
    return true;
}

static bool read_source(struct ptx_parser *parser, struct packed *p, unsigned index) {
    struct ptx_operand operand;
    struct ptx_selector selector;
    if (!ptx_operand(parser, &operand) ||
        !ptx_source(parser, &operand.items[0], TW_KIR_B32, &p->sources[index]))
        return false;
    if (index == 2)
        return true;
    struct ptx_token at = parser->token;
    if (!ptx_selector_read(parser, &selector))
        return false;
    if (selector.letter && (selector.letter != (p->lanes == 4 ? 'b' : 'h') || selector.count != p->lanes))
        return wrong_lanes(parser, p, &at);
    for (unsigned i = 0; i < p->lanes; i++) {
        p->selected[index][i] = selector.letter ? selector.places[i] : (uint8_t)(index * p->lanes + i);
        if (p->selected[index][i] >= 2 * p->lanes)
            return wrong_lanes(parser, p, &at);
    }
    return ptx_expect(parser, ',');
}

static struct tw_kir_operand source_lane(struct ptx_sequence *s, const struct packed *p, unsigned index,
                                         unsigned lane) {
    unsigned from = p->selected[index][lane];
    return lane_of(s, p->sources[from / p->lanes], index ? p->b : p->a, from % p->lanes * p->width, p->width);
}

// The masked lanes in their places, two and two; the others from c. Not one inserted after the other: of a chain of such
// instructions LLVM would ask at each step what all steps before may have set.
static struct tw_kir_operand joined(struct ptx_sequence *s, const struct packed *p,
                                    const struct tw_kir_operand results[static 4]) {
    struct tw_kir_operand halves[2];
    unsigned in_half = p->lanes / 2;
    for (unsigned i = 0; i < p->lanes; i++) {
        unsigned at = i * p->width;
        uint32_t lane = (1u << p->width) - 1;
        struct tw_kir_operand v = results[i];
        if (!p->masked[i])
            v = ptx_binary(s, TW_KIR_AND, TW_KIR_B32, p->sources[2], ptx_number(lane << at));
        else if (i + 1 < p->lanes)
            v = ptx_binary(s, TW_KIR_AND, TW_KIR_B32, v, ptx_number(lane));
        if (p->masked[i] && at)
            v = ptx_binary(s, TW_KIR_SHL, TW_KIR_B32, v, ptx_number(at));
        struct tw_kir_operand *half = &halves[i / in_half];
        *half = i % in_half ? ptx_binary(s, TW_KIR_OR, TW_KIR_B32, *half, v) : v;
    }
    return ptx_binary(s, TW_KIR_OR, TW_KIR_B32, halves[0], halves[1]);
}

bool ptx_lower_packed(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_sequence s = {.parser = parser};
    struct packed p = {};
    struct ptx_operand d;
    if (!describe(parser, inst, &p) || !ptx_operand(parser, &d) || !read_mask(parser, &p) ||
        !ptx_expect(parser, ','))
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (!read_source(parser, &p, i))
            return false;
    struct tw_kir_operand sum = p.sources[2], results[4] = {};
    for (unsigned i = 0; i < p.lanes; i++) {
        if (!p.masked[i])
            continue;
        struct tw_kir_operand v = lane_result(&s, &p, source_lane(&s, &p, 0, i), source_lane(&s, &p, 1, i));
        if (p.saturates)
            v = clamped(&s, &p, v);
        if (p.adds)
            sum = ptx_binary(&s, TW_KIR_ADD, TW_KIR_U32, sum, v);
        results[i] = v;
    }
    return ptx_finish(&s, &d.items[0], p.adds ? sum : joined(&s, &p, results));
}

// ---- fns: where the n-th set bit lies, counted from `base` up, or down for n < 0 ----

// The place of the k-th set bit, k ≥ 1, by halves. More than there are: some place.
static struct tw_kir_operand select_bit(struct ptx_sequence *s, struct tw_kir_operand bits,
                                        struct tw_kir_operand k) {
    struct tw_kir_operand place = ptx_number(0);
    for (unsigned half = 16; half; half /= 2) {
        struct tw_kir_operand low = ptx_binary(s, TW_KIR_AND, TW_KIR_B32, bits, ptx_number((1u << half) - 1)),
                              count = ptx_unary(s, TW_KIR_POPC, TW_KIR_B32, low),
                              above = ptx_test(s, TW_KIR_GT, TW_KIR_U32, k, count);
        k = ptx_choose(s, TW_KIR_B32, above, ptx_binary(s, TW_KIR_SUB, TW_KIR_U32, k, count), k);
        bits = ptx_choose(s, TW_KIR_B32, above, ptx_binary(s, TW_KIR_SHR, TW_KIR_B32, bits, ptx_number(half)),
                          bits);
        place = ptx_choose(s, TW_KIR_B32, above,
                           ptx_binary(s, TW_KIR_ADD, TW_KIR_U32, place, ptx_number(half)), place);
    }
    return place;
}

bool ptx_lower_fns(struct ptx_parser *parser, struct ptx_inst *inst) {
    static const uint8_t types[] = {TW_KIR_B32, TW_KIR_B32, TW_KIR_S32};
    struct ptx_sequence s = {.parser = parser};
    struct tw_kir_operand in[3]; // mask, base, n
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, 3, 3))
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (!ptx_source(parser, &inst->src[i].items[0], types[i], &in[i]))
            return false;
    // Downward is upward in the mirrored mask.
    struct tw_kir_operand down = ptx_test(&s, TW_KIR_LT, TW_KIR_S32, in[2], ptx_number(0));
    struct tw_kir_operand mask =
        ptx_choose(&s, TW_KIR_B32, down, ptx_unary(&s, TW_KIR_BREV, TW_KIR_B32, in[0]), in[0]);
    struct tw_kir_operand from = ptx_choose(
        &s, TW_KIR_B32, down, ptx_binary(&s, TW_KIR_SUB, TW_KIR_U32, ptx_number(31), in[1]), in[1]);
    struct tw_kir_operand bits = ptx_binary(&s, TW_KIR_SHR, TW_KIR_B32, mask, from);
    struct tw_kir_operand size = ptx_unary(&s, TW_KIR_ABS, TW_KIR_S32, in[2]);
    struct tw_kir_operand k = ptx_binary(&s, TW_KIR_MAX, TW_KIR_U32, size, ptx_number(1));
    struct tw_kir_operand place = select_bit(&s, bits, k);
    struct tw_kir_operand found =
        ptx_choose(&s, TW_KIR_B32, down, ptx_binary(&s, TW_KIR_SUB, TW_KIR_U32, in[1], place),
                   ptx_binary(&s, TW_KIR_ADD, TW_KIR_U32, in[1], place));
    // n = 0 asks about the bit at base alone.
    struct tw_kir_operand one = ptx_binary(&s, TW_KIR_AND, TW_KIR_B32, bits, ptx_number(1));
    struct tw_kir_operand all = ptx_unary(&s, TW_KIR_POPC, TW_KIR_B32, bits);
    struct tw_kir_operand zero = ptx_test(&s, TW_KIR_EQ, TW_KIR_S32, in[2], ptx_number(0));
    struct tw_kir_operand there = ptx_choose(&s, TW_KIR_B32, zero, one, all);
    struct tw_kir_operand none = ptx_test(&s, TW_KIR_GT, TW_KIR_U32, k, there);
    return ptx_finish(&s, &inst->dst[0].items[0],
                      ptx_choose(&s, TW_KIR_B32, none, ptx_number(UINT32_MAX), found));
}

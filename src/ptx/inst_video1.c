// SPDX-License-Identifier: Apache-2.0
//
// Video instructions on one value: vadd, vsub, vabsdiff, vmin, vmax, vshl, vshr, vset, vmad. Sources are bytes, halfwords
// or words, the result is worked out in 64 bits, saturated, and then merged into c or combined with it.
//
//     vop.dtype.atype.btype[.sat][.op2] d[.dsel], a[.asel], b[.bsel] [, c];   sel = b0 … b3 | h0 | h1
//     vmad.dtype.atype.btype[.po][.sat][.shr7|.shr15] d, [-]a[.asel], [-]b[.bsel], [-]c;

#include "sequence.h"

// One of them. Confined.
struct video {
    struct ptx_sequence s;
    const struct ptx_inst *inst;
    uint8_t result, types[2]; // u32 or s32
    struct ptx_scalar target;
    struct ptx_selector into;         // of d
    struct tw_kir_operand sources[3]; // a, b: 64 bits; c: 32
    bool negated[3], has_third;
};

static bool is_signed(uint8_t type) {
    return type == TW_KIR_S32;
}

static void place_of(const struct ptx_selector *selector, unsigned *ret_at, unsigned *ret_width) {
    *ret_width = selector->letter == 'b' ? 8 : selector->letter == 'h' ? 16 : 32;
    *ret_at = selector->letter ? selector->places[0] * *ret_width : 0;
}

static bool one_place(struct ptx_parser *parser, struct ptx_selector *ret_selector) {
    struct ptx_token at = parser->token;
    if (!ptx_selector_read(parser, ret_selector))
        return false;
    bool good = !ret_selector->letter ||
                (ret_selector->count == 1 && ret_selector->places[0] < (ret_selector->letter == 'b' ? 4 : 2));
    return good || ptx_fail(parser, &at, "a part is .b0 to .b3, .h0 or .h1");
}

// Source a or b as a number of 64 bits.
static bool read_source(struct ptx_parser *parser, struct video *v, unsigned index) {
    struct ptx_operand operand;
    struct ptx_selector selector;
    struct tw_kir_operand word;
    unsigned at, width;
    uint8_t type = v->types[index];
    if (v->inst->row->op == TW_KIR_FMA && !ptx_accept(parser, '-', &v->negated[index]))
        return false;
    if (!ptx_operand(parser, &operand) || !one_place(parser, &selector) ||
        !ptx_source(parser, &operand.items[0], TW_KIR_B32, &word))
        return false;
    place_of(&selector, &at, &width);
    if (width < 32)
        word = ptx_step(&v->s, TW_KIR_BFE, type, 32,
                        (struct tw_kir_operand[]){word, ptx_number(at), ptx_number(width)}, 3);
    v->sources[index] = ptx_convert(&v->s, type, TW_KIR_S64, word);
    return true;
}

static bool read_operands(struct ptx_parser *parser, struct video *v) {
    struct ptx_operand d, c;
    if (!ptx_operand(parser, &d) || !one_place(parser, &v->into) || !ptx_expect(parser, ',') ||
        !read_source(parser, v, 0) || !ptx_expect(parser, ',') || !read_source(parser, v, 1) ||
        !ptx_accept(parser, ',', &v->has_third))
        return false;
    v->target = d.items[0];
    if (v->has_third &&
        ((v->inst->row->op == TW_KIR_FMA && !ptx_accept(parser, '-', &v->negated[2])) ||
         !ptx_operand(parser, &c) || !ptx_source(parser, &c.items[0], TW_KIR_B32, &v->sources[2])))
        return false;
    bool wants = v->inst->row->op == TW_KIR_FMA || v->into.letter || ptx_has(v->inst, PTX_G_REDUCE);
    if (wants != v->has_third)
        return ptx_fail(parser, &v->inst->token,
                        wants ? "'%.*s' needs a third source" : "'%.*s' has a source too many",
                        TW_STR_ARG(v->inst->name));
    return !v->s.failed;
}

static struct tw_kir_operand shift(struct video *v) {
    bool left = v->inst->row->op == TW_KIR_SHL;
    struct tw_kir_operand amount = ptx_convert(&v->s, TW_KIR_U64, TW_KIR_U32, v->sources[1]);
    if (v->inst->values[PTX_G_WRAP])
        amount = ptx_binary(&v->s, TW_KIR_AND, TW_KIR_B32, amount, ptx_number(31));
    else
        amount = ptx_binary(&v->s, TW_KIR_MIN, TW_KIR_U32, amount, ptx_number(32));
    struct tw_kir_operand shifted =
        ptx_binary(&v->s, left ? TW_KIR_SHL : TW_KIR_SHR, TW_KIR_S64, v->sources[0], amount);
    if (left && !is_signed(v->types[0]) &&
        ptx_has(v->inst, PTX_G_SAT)) // up to 2^64: still great as a signed number
        shifted = ptx_binary(&v->s, TW_KIR_MIN, TW_KIR_U64, shifted, ptx_number(UINT64_C(1) << 62));
    return shifted;
}

static struct tw_kir_operand first_result(struct video *v) {
    struct tw_kir_operand *in = v->sources;
    switch ((int)v->inst->row->op) {
    case TW_KIR_SAD:
        return ptx_unary(&v->s, TW_KIR_ABS, TW_KIR_S64,
                         ptx_binary(&v->s, TW_KIR_SUB, TW_KIR_S64, in[0], in[1]));
    case TW_KIR_SETP: {
        struct tw_kir_operand p = ptx_test(&v->s, v->inst->values[PTX_G_CMP], TW_KIR_S64, in[0], in[1]);
        return ptx_choose(&v->s, TW_KIR_B64, p, ptx_number(1), ptx_number(0));
    }
    case TW_KIR_SHL:
    case TW_KIR_SHR:
        return shift(v);
    default:
        return ptx_binary(&v->s, v->inst->row->op, TW_KIR_S64, in[0], in[1]);
    }
}

static struct tw_kir_operand clamped(struct video *v, struct tw_kir_operand value, uint8_t type,
                                     unsigned width) {
    uint64_t most = (UINT64_C(1) << (width - is_signed(type))) - 1, least = is_signed(type) ? ~most : 0;
    value = ptx_binary(&v->s, TW_KIR_MAX, TW_KIR_S64, value, ptx_number(least));
    return ptx_binary(&v->s, TW_KIR_MIN, TW_KIR_S64, value, ptx_number(most));
}

static struct tw_kir_operand second_result(struct video *v, struct tw_kir_operand value, unsigned at,
                                           unsigned width) {
    static const uint8_t ops[] = {
        [TW_KIR_RED_ADD] = TW_KIR_ADD, [TW_KIR_RED_MIN] = TW_KIR_MIN, [TW_KIR_RED_MAX] = TW_KIR_MAX};
    if (width < 32)
        return ptx_step(&v->s, TW_KIR_BFI, TW_KIR_B32, 32,
                        (struct tw_kir_operand[]){value, v->sources[2], ptx_number(at), ptx_number(width)},
                        4);
    if (ptx_has(v->inst, PTX_G_REDUCE))
        return ptx_binary(&v->s, ops[v->inst->values[PTX_G_REDUCE]], v->result, value, v->sources[2]);
    return value;
}

// Types of result and sources; false: others than the words stand there.
static bool describe(struct ptx_parser *parser, struct video *v) {
    const struct ptx_inst *inst = v->inst;
    bool compares = inst->row->op == TW_KIR_SETP;
    v->result = compares ? TW_KIR_U32 : inst->type;
    v->types[0] = compares ? inst->type : inst->type2;
    v->types[1] = compares ? inst->type2 : inst->type3;
    const uint8_t types[] = {v->result, v->types[0], v->types[1]};
    for (size_t i = 0; i < TW_COUNT(types); i++)
        if (types[i] != TW_KIR_U32 && types[i] != TW_KIR_S32)
            return ptx_fail(parser, &inst->token, "'%.*s' takes .u32 and .s32", TW_STR_ARG(inst->name));
    if (ptx_has(inst, PTX_G_REDUCE) && inst->values[PTX_G_REDUCE] > TW_KIR_RED_MAX)
        return ptx_fail(parser, &inst->token, "'%.*s' combines with .add, .min or .max",
                        TW_STR_ARG(inst->name));
    return true;
}

bool ptx_lower_video(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct video v = {.s = {.parser = parser}, .inst = inst};
    unsigned at, width;
    if (!describe(parser, &v) || !read_operands(parser, &v))
        return false;
    place_of(&v.into, &at, &width);
    if (width < 32 && ptx_has(inst, PTX_G_REDUCE))
        return ptx_fail(parser, &inst->token, "'%.*s': either a part of the result or .add, .min, .max",
                        TW_STR_ARG(inst->name));
    struct tw_kir_operand value = first_result(&v);
    if (ptx_has(inst, PTX_G_SAT))
        value = clamped(&v, value, v.result, width);
    value = ptx_convert(&v.s, TW_KIR_U64, TW_KIR_U32, value);
    return ptx_finish(&v.s, &v.target, second_result(&v, value, at, width));
}

// ---- vmad ----

// a × b as it goes into the sum. Of two unsigned sources it may need all 64 bits; where it then counts as signed and
// saturates, 2^62 is as good as anything above.
static struct tw_kir_operand product(struct video *v, bool signs) {
    bool wide = !is_signed(v->types[0]) && !is_signed(v->types[1]);
    struct tw_kir_operand p = ptx_binary(&v->s, TW_KIR_MUL, TW_KIR_S64, v->sources[0], v->sources[1]);
    if (wide && signs && ptx_has(v->inst, PTX_G_SAT))
        p = ptx_binary(&v->s, TW_KIR_MIN, TW_KIR_U64, p, ptx_number(UINT64_C(1) << 62));
    return v->negated[0] != v->negated[1] ? ptx_unary(&v->s, TW_KIR_NEG, TW_KIR_S64, p) : p;
}

bool ptx_lower_vmad(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct video v = {.s = {.parser = parser}, .inst = inst};
    if (!describe(parser, &v) || !read_operands(parser, &v))
        return false;
    bool negates = v.negated[0] != v.negated[1], plus_one = ptx_has(inst, PTX_G_PO);
    if ((plus_one && (negates || v.negated[2])) || (negates && v.negated[2]) || v.into.letter)
        return ptx_fail(parser, &inst->token, "'%.*s' has signs or parts that do not go together",
                        TW_STR_ARG(inst->name));
    bool signs = is_signed(v.types[0]) || is_signed(v.types[1]) || negates || v.negated[2];
    struct tw_kir_operand c = v.sources[2];
    if (v.negated[2])
        c = ptx_unary(&v.s, TW_KIR_NOT, TW_KIR_B32, c);
    c = ptx_convert(&v.s, signs ? TW_KIR_S32 : TW_KIR_U32, TW_KIR_S64, c);
    if (v.negated[2] || plus_one)
        c = ptx_binary(&v.s, TW_KIR_ADD, TW_KIR_S64, c, ptx_number(1));
    struct tw_kir_operand sum = ptx_binary(&v.s, TW_KIR_ADD, TW_KIR_S64, product(&v, signs), c);
    if (ptx_has(inst, PTX_G_SCALE))
        sum = ptx_binary(&v.s, TW_KIR_SHR, signs ? TW_KIR_S64 : TW_KIR_U64, sum,
                         ptx_number(inst->values[PTX_G_SCALE]));
    if (ptx_has(inst, PTX_G_SAT) && !signs)
        sum = ptx_binary(&v.s, TW_KIR_MIN, TW_KIR_U64, sum, ptx_number(UINT32_MAX));
    else if (ptx_has(inst, PTX_G_SAT))
        sum = clamped(&v, sum, TW_KIR_S32, 32);
    return ptx_finish(&v.s, &v.target, ptx_convert(&v.s, TW_KIR_U64, TW_KIR_U32, sum));
}

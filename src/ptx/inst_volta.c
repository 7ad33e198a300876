// SPDX-License-Identifier: Apache-2.0
//
// mma.m8n8k4 of halves, the product of the first tensor cores: four products of 8 × 4 by 4 × 8 side by side, each of
// eight lanes, four of the warp's lower half and four of its upper half. No later product has such fragments, so it
// becomes shuffles and fused multiply-adds of each lane's own eight sums, in floats, rounded once at the end.
//
// With j = lane % 4 and h = lane / 16, a lane holds of its product (elements in the order of its registers):
//     a by rows: row 4h + j, columns 0 … 3       a by columns: column j, rows 4h … 4h + 3
//     b by rows: row j, columns 4h … 4h + 3      b by columns: column 4h + j, rows 0 … 3
//     sums in halves: row 4h + j, columns 0 … 7
//     sums in floats: element i is row 4h + (j & 1) + (i & 2), column (i & 4) + (j & 2) + (i & 1)

#include "sequence.h"

enum { SUMS = 8, DEPTH = 4 };

// Confined.
struct volta {
    struct ptx_sequence s;
    bool a_columns, b_columns, wide, wide_c; // wide: the sums, those in c, are floats
    struct tw_kir_operand a[2], b[2], c[SUMS];
    struct tw_kir_operand group, half, odd, upper; // lane & 12, lane & 16, lane & 1, (lane & 2) != 0
    struct tw_kir_operand j;                       // lane & 3
};

// Where an element lies: a lane; the register and the half of it, of which either may depend on the lane that asks.
struct place {
    struct tw_kir_operand lane;
    unsigned reg, part;
    bool reg_by_lane, part_by_lane; // + (lane & 2) / 2, + lane & 1
};

static struct tw_kir_operand plus(struct volta *v, struct tw_kir_operand a, struct tw_kir_operand b) {
    return ptx_binary(&v->s, TW_KIR_ADD, TW_KIR_U32, a, b);
}

static struct tw_kir_operand shuffle(struct volta *v, struct tw_kir_operand word,
                                     struct tw_kir_operand lane) {
    struct tw_kir_operand sources[] = {word, lane, ptx_number(31), ptx_number(UINT32_MAX)};
    struct tw_kir_operand moved = ptx_step(&v->s, TW_KIR_SHFL, TW_KIR_B32, 32, sources, 4);
    if (!v->s.failed)
        ptx_last_step(&v->s)->mode = TW_KIR_SHFL_IDX;
    return moved;
}

// One half of a word as a float.
static struct tw_kir_operand widen(struct volta *v, struct tw_kir_operand word, struct tw_kir_operand shift) {
    struct tw_kir_operand down = ptx_binary(&v->s, TW_KIR_SHR, TW_KIR_U32, word, shift);
    return ptx_convert(&v->s, TW_KIR_F16, TW_KIR_F32, ptx_convert(&v->s, TW_KIR_U32, TW_KIR_U16, down));
}

static struct tw_kir_operand fetch(struct volta *v, const struct tw_kir_operand *words, struct place at) {
    struct tw_kir_operand word = shuffle(v, words[at.reg], at.lane);
    if (at.reg_by_lane)
        word = ptx_choose(&v->s, TW_KIR_B32, v->upper, shuffle(v, words[at.reg + 1], at.lane), word);
    struct tw_kir_operand shift = ptx_number(16 * at.part);
    if (at.part_by_lane)
        shift = ptx_binary(&v->s, TW_KIR_SHL, TW_KIR_U32, v->odd, ptx_number(4));
    return widen(v, word, shift);
}

// a's element in column k of the row of sum i.
static struct tw_kir_operand element_a(struct volta *v, unsigned i, unsigned k) {
    struct tw_kir_operand own = plus(v, v->group, v->half);
    if (v->a_columns)
        return fetch(v, v->a,
                     (struct place){.lane = plus(v, own, ptx_number(k)),
                                    .reg = v->wide ? (i & 2) / 2 : 0,
                                    .reg_by_lane = !v->wide,
                                    .part_by_lane = true});
    struct tw_kir_operand row = v->wide ? plus(v, v->odd, ptx_number(i & 2)) : v->j;
    return fetch(v, v->a, (struct place){.lane = plus(v, own, row), .reg = k / 2, .part = k & 1});
}

// b's element in row k of the column of sum i.
static struct tw_kir_operand element_b(struct volta *v, unsigned i, unsigned k) {
    struct tw_kir_operand own = plus(v, v->group, ptx_number((i & 4) * 4));
    if (!v->b_columns)
        return fetch(v, v->b,
                     (struct place){.lane = plus(v, own, ptx_number(k)),
                                    .reg = v->wide ? 0 : (i & 2) / 2,
                                    .part = i & 1,
                                    .reg_by_lane = v->wide});
    struct tw_kir_operand column = ptx_number(i & 3);
    if (v->wide)
        column = plus(v, ptx_binary(&v->s, TW_KIR_SUB, TW_KIR_U32, v->j, v->odd), ptx_number(i & 1));
    return fetch(v, v->b, (struct place){.lane = plus(v, own, column), .reg = k / 2, .part = k & 1});
}

static struct tw_kir_operand element_c(struct volta *v, unsigned i) {
    if (v->wide_c)
        return v->c[i];
    if (!v->wide)
        return widen(v, v->c[i / 2], ptx_number(16 * (i & 1)));
    struct tw_kir_operand row = plus(v, plus(v, v->group, v->half), plus(v, v->odd, ptx_number(i & 2)));
    return fetch(v, v->c,
                 (struct place){.lane = row, .reg = (i & 4) / 2, .part = i & 1, .reg_by_lane = true});
}

static void find_lanes(struct volta *v) {
    struct tw_kir_operand lane = ptx_step(&v->s, TW_KIR_SREG, TW_KIR_U32, 32, NULL, 0);
    if (!v->s.failed)
        ptx_last_step(&v->s)->index = TW_KIR_LANEID;
    v->group = ptx_binary(&v->s, TW_KIR_AND, TW_KIR_B32, lane, ptx_number(12));
    v->half = ptx_binary(&v->s, TW_KIR_AND, TW_KIR_B32, lane, ptx_number(16));
    v->odd = ptx_binary(&v->s, TW_KIR_AND, TW_KIR_B32, lane, ptx_number(1));
    v->j = ptx_binary(&v->s, TW_KIR_AND, TW_KIR_B32, lane, ptx_number(3));
    v->upper = ptx_test(&v->s, TW_KIR_GT, TW_KIR_U32, v->j, ptx_number(1));
}

static void multiply(struct volta *v, struct tw_kir_operand *sums) {
    find_lanes(v);
    for (unsigned i = 0; i < SUMS; i++) {
        sums[i] = element_c(v, i);
        for (unsigned k = 0; k < DEPTH; k++) {
            struct tw_kir_operand factors[] = {element_a(v, i, k), element_b(v, i, k), sums[i]};
            sums[i] = ptx_step(&v->s, TW_KIR_FMA, TW_KIR_F32, 32, factors, 3);
        }
    }
}

// Two sums as halves in one word.
static struct tw_kir_operand narrow(struct volta *v, struct tw_kir_operand low, struct tw_kir_operand high) {
    struct tw_kir_operand words[2], floats[] = {low, high};
    for (unsigned i = 0; i < 2; i++) {
        struct tw_kir_operand part = ptx_convert(&v->s, TW_KIR_F32, TW_KIR_F16, floats[i]);
        if (!v->s.failed)
            ptx_last_step(&v->s)->round = TW_KIR_RN;
        words[i] = ptx_convert(&v->s, TW_KIR_U16, TW_KIR_U32, part);
    }
    struct tw_kir_operand up = ptx_binary(&v->s, TW_KIR_SHL, TW_KIR_U32, words[1], ptx_number(16));
    return ptx_binary(&v->s, TW_KIR_OR, TW_KIR_B32, words[0], up);
}

static bool read_words(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned count, uint8_t type,
                       struct tw_kir_operand *ret_words) {
    struct ptx_operand operand;
    struct ptx_token at = parser->token;
    if (!ptx_expect(parser, ',') || !ptx_operand(parser, &operand))
        return false;
    if (operand.count != count)
        return ptx_fail(parser, &at, "'%.*s' holds %u registers here, found %u", TW_STR_ARG(inst->name),
                        count, operand.count);
    for (unsigned i = 0; i < count; i++)
        if (!ptx_source(parser, &operand.items[i], type, &ret_words[i]))
            return false;
    return true;
}

// a's and b's layouts may be either; d and c are both halves, both floats, or d alone is floats.
bool ptx_volta_mma(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct volta v = {.s = {.parser = parser},
                      .a_columns = inst->values[PTX_G_LAYOUT] == 1,
                      .b_columns = inst->values[PTX_G_LAYOUT2] == 1,
                      .wide = inst->type == TW_KIR_F32,
                      .wide_c = inst->type4 == TW_KIR_F32};
    unsigned count = v.wide ? SUMS : SUMS / 2;
    uint8_t type = v.wide ? TW_KIR_F32 : TW_KIR_B32;
    struct tw_kir_operand sums[SUMS];
    struct ptx_operand target;
    struct ptx_token at = parser->token;
    if (!ptx_operand(parser, &target))
        return false;
    if (target.count != count)
        return ptx_fail(parser, &at, "'%.*s' holds %u registers here, found %u", TW_STR_ARG(inst->name),
                        count, target.count);
    if (!read_words(parser, inst, 2, TW_KIR_B32, v.a) || !read_words(parser, inst, 2, TW_KIR_B32, v.b) ||
        !read_words(parser, inst, v.wide_c ? SUMS : SUMS / 2, v.wide_c ? TW_KIR_F32 : TW_KIR_B32, v.c))
        return false;
    multiply(&v, sums);
    for (unsigned i = 0; !v.wide && i < count; i++)
        sums[i] = narrow(&v, sums[2 * i], sums[2 * i + 1]);
    for (unsigned i = 0; i < count; i++) {
        uint32_t reg;
        if (v.s.failed || !ptx_target(parser, &target.items[i], type, &reg))
            return false;
        struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_MOV, type, 1, 1);
        if (!to)
            return false;
        to->dst[0] = reg;
        to->src[0] = sums[i];
    }
    return true;
}

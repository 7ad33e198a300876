// SPDX-License-Identifier: Apache-2.0
//
// Comparisons of packed halves, each half against plain C.

#include "harness/test.h"

#include "floats.h"
#include "op_test.h"

static float half_at(uint64_t pair, unsigned index) {
    uint16_t bits = (uint16_t)(pair >> 16 * index);
    _Float16 h;
    memcpy(&h, &bits, sizeof h);
    return (float)h;
}

static float bfloat_at(uint64_t pair, unsigned index) {
    uint32_t bits = (uint32_t)(pair >> 16 * index & 0xffff) << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint64_t both(bool low, bool high, uint64_t yes) {
    return (low ? yes : 0) | (high ? yes << 16 : 0);
}

static uint64_t want_gt_mask(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return both(half_at(a, 0) > half_at(b, 0), half_at(a, 1) > half_at(b, 1), 0xffff);
}
static uint64_t want_leu_one(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return both(!(half_at(a, 0) > half_at(b, 0)), !(half_at(a, 1) > half_at(b, 1)), 0x3c00);
}
static uint64_t want_bf16_ne_one(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    float a0 = bfloat_at(a, 0), a1 = bfloat_at(a, 1), b0 = bfloat_at(b, 0), b1 = bfloat_at(b, 1);
    return both(a0 < b0 || a0 > b0, a1 < b1 || a1 > b1, 0x3f80);
}
static uint64_t want_predicates(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint64_t)(half_at(a, 0) < half_at(b, 0)) + 2 * (uint64_t)(half_at(a, 1) < half_at(b, 1));
}
static uint64_t want_combined(uint64_t a, uint64_t b, uint64_t c) {
    bool odd = c & 1;
    return (uint64_t)(bfloat_at(a, 0) >= bfloat_at(b, 0) && !odd) +
           2 * (uint64_t)(bfloat_at(a, 1) >= bfloat_at(b, 1) && !odd);
}

#define SUM_OF_PREDICATES "selp.b32 d, 1, 0, p; selp.b32 u, 2, 0, q; add.u32 d, d, u; }"

TW_TEST("comparisons of pairs look at each half") {
    static const enum op_width words[] = {OP_B32, OP_B32, OP_B32};
    const struct op_case cases[] = {
        {.text = "set.gt.u32.f16x2 d, a, b;", .want = want_gt_mask},
        {.text = "set.leu.f16x2.f16x2 d, a, b;", .want = want_leu_one},
        {.text = "set.ne.bf16x2.bf16x2 d, a, b;", .want = want_bf16_ne_one},
        {.text = "{ setp.lt.f16x2 p|q, a, b; " SUM_OF_PREDICATES, .want = want_predicates},
        {.text =
             "{ and.b32 u, c, 1; setp.ne.u32 p, u, 0; setp.ge.and.bf16x2 p|q, a, b, !p; " SUM_OF_PREDICATES,
         .count = 3,
         .want = want_combined},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct op_case op = cases[i];
        op.dst = OP_B32;
        op.count = op.count ? op.count : 2;
        memcpy(op.src, words, sizeof words);
        op_check(&op);
    }
}

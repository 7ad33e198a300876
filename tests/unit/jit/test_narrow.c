// SPDX-License-Identifier: Apache-2.0
//
// Conversions to narrower floats, in every direction: 64-bit integers to floats and doubles against the C library's
// rounding modes; anything to halves, bfloats and eight-bit floats against a search through all their numbers.

#include "harness/test.h"

#include "floats.h"
#include "op_test.h"

// ---- floats and doubles ----

#define BY_LIBRARY(mode, round, to, bits, from, type)                                                        \
    static uint64_t want_##mode##_##to##_##from(uint64_t a, [[maybe_unused]] uint64_t b,                     \
                                                [[maybe_unused]] uint64_t c) {                               \
        volatile type v = (type)a;                                                                           \
        volatile bits r;                                                                                     \
        fesetround(round);                                                                                   \
        r = (bits)v;                                                                                         \
        fesetround(FE_TONEAREST);                                                                            \
        return of_##bits(r);                                                                                 \
    }
#define of_float  of_f
#define of_double of_d
#define BOTH(mode, round)                                                                                    \
    BY_LIBRARY(mode, round, f32, float, s64, int64_t)                                                        \
    BY_LIBRARY(mode, round, f32, float, u64, uint64_t)                                                       \
    BY_LIBRARY(mode, round, f64, double, s64, int64_t)                                                       \
    BY_LIBRARY(mode, round, f64, double, u64, uint64_t)
BOTH(rz, FE_TOWARDZERO)
BOTH(rm, FE_DOWNWARD)
BOTH(rp, FE_UPWARD)

static uint64_t want_sat_f32_s32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f((int32_t)a >= 1 ? 1 : 0);
}

// ---- what is smaller ----

enum direction { NEAREST, ZERO, DOWN, UP };
struct small {
    unsigned fraction, exponent, bias;
    uint32_t most; // the greatest finite number
    bool saturates;
    unsigned nan;
};
static const struct small half = {10, 5, 15, 0x7bff, false, 0x7fff},
                          bfloat = {7, 8, 127, 0x7f7f, false, 0x7fff}, e4m3 = {3, 4, 7, 0x7e, true, 0x7f},
                          e5m2 = {2, 5, 15, 0x7b, true, 0x7f};

static long double value_of(const struct small *s, uint32_t code) {
    uint32_t exponent = code >> s->fraction, fraction = code & ((1u << s->fraction) - 1);
    long double whole = exponent ? fraction + (1u << s->fraction) : fraction;
    return ldexpl(whole, (int)(exponent ? exponent : 1) - (int)(s->bias + s->fraction));
}

static uint32_t rounded(const struct small *s, enum direction direction, long double x) {
    uint32_t sign = signbit(x) ? 1u << (s->fraction + s->exponent) : 0, low = 0, high = s->most;
    long double size = fabsl(x);
    if (isnan(x))
        return s->nan;
    if (isinf(x) || size >= value_of(s, s->most + 1) * 2)
        size = value_of(s, s->most + 1) * 2; // more than anything
    while (low < high) {                     // the greatest that is not above
        uint32_t middle = (low + high + 1) / 2;
        if (value_of(s, middle) <= size)
            low = middle;
        else
            high = middle - 1;
    }
    long double below = size - value_of(s, low), above = value_of(s, low + 1) - size;
    bool up = direction == NEAREST ? above < below || (above == below && (low & 1))
                                   : below > 0 && direction == (sign ? DOWN : UP);
    if (isinf(x))
        up = true;
    low += up ? 1 : 0;
    return sign | (s->saturates && low > s->most ? s->most : low);
}

#define ROUNDS(name, small_type, direction, value)                                                           \
    static uint64_t want_##name(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {      \
        return rounded(&small_type, direction, value);                                                       \
    }
#define ALL(name, small_type, value)                                                                         \
    ROUNDS(rn_##name, small_type, NEAREST, value)                                                            \
    ROUNDS(rz_##name, small_type, ZERO, value)                                                               \
    ROUNDS(rm_##name, small_type, DOWN, value)                                                               \
    ROUNDS(rp_##name, small_type, UP, value)
ALL(f16_s64, half, (long double)(int64_t)a)
ALL(f16_u64, half, (long double)a)
ALL(f16_s16, half, (long double)(int16_t)a)
ALL(f16_u32, half, (long double)(uint32_t)a)
ALL(bf16_s64, bfloat, (long double)(int64_t)a)
ALL(bf16_u32, bfloat, (long double)(uint32_t)a)
ALL(bf16_f32, bfloat, (long double)f_of(a))
ALL(bf16_f64, bfloat, (long double)d_of(a))

static uint64_t pair(const struct small *s, uint64_t a, uint64_t b, bool relu) {
    float upper = f_of(a), lower = f_of(b);
    upper = relu && upper < 0 ? 0 : upper;
    lower = relu && lower < 0 ? 0 : lower;
    return rounded(s, NEAREST, (long double)upper) << 8 | rounded(s, NEAREST, (long double)lower);
}
static uint64_t want_e4m3_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&e4m3, a, b, false);
}
static uint64_t want_e5m2_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&e5m2, a, b, true);
}
static uint64_t want_e4m3_f16x2(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&e4m3, of_f(half_value(a >> 16)), of_f(half_value(a & 0xffff)), false);
}
static uint64_t want_e5m2_f16x2(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&e5m2, of_f(half_value(a >> 16)), of_f(half_value(a & 0xffff)), false);
}

static uint32_t half_of_byte(const struct small *s, uint32_t byte) {
    uint32_t size = byte & 0x7f;
    bool nan = s->fraction == 3 ? size == 0x7f : size > 0x7c;
    if (nan)
        return 0x7fff;
    uint32_t bits = size == 0x7c && s->fraction == 2 ? 0x7c00 : rounded(&half, NEAREST, value_of(s, size));
    return bits | (byte & 0x80) << 8;
}
static uint64_t want_f16x2_e4m3(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return half_of_byte(&e4m3, a >> 8 & 0xff) << 16 | half_of_byte(&e4m3, a & 0xff);
}
static uint64_t want_f16x2_e5m2(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return half_of_byte(&e5m2, a >> 8 & 0xff) << 16 | half_of_byte(&e5m2, a & 0xff);
}

#define FROM(kind)    {kind, kind, kind}
#define IS_REAL(from) (#from[0] == 'f')
#define EACH(to, bits, from, kind)                                                                           \
    {"cvt.rz." #to "." #from " d, a;", bits, FROM(kind), 1, want_rz_##to##_##from, NULL, IS_REAL(from)},     \
        {"cvt.rm." #to "." #from " d, a;", bits, FROM(kind), 1, want_rm_##to##_##from, NULL, IS_REAL(from)}, \
    {                                                                                                        \
        "cvt.rp." #to "." #from " d, a;", bits, FROM(kind), 1, want_rp_##to##_##from, NULL, IS_REAL(from)    \
    }
#define NEAR(to, bits, from, kind)                                                                           \
    EACH(to, bits, from, kind), {                                                                            \
        "cvt.rn." #to "." #from " d, a;", bits, FROM(kind), 1, want_rn_##to##_##from, NULL, IS_REAL(from)    \
    }

static const struct op_case cases[] = {
    EACH(f32, OP_B32, s64, OP_B64),
    EACH(f32, OP_B32, u64, OP_B64),
    EACH(f64, OP_B64, s64, OP_B64),
    EACH(f64, OP_B64, u64, OP_B64),
    NEAR(f16, OP_B16, s64, OP_B64),
    NEAR(f16, OP_B16, u64, OP_B64),
    NEAR(f16, OP_B16, s16, OP_B16),
    NEAR(f16, OP_B16, u32, OP_B32),
    NEAR(bf16, OP_B16, s64, OP_B64),
    NEAR(bf16, OP_B16, u32, OP_B32),
    NEAR(bf16, OP_B16, f32, OP_B32),
    NEAR(bf16, OP_B16, f64, OP_B64),
    {"cvt.rn.sat.f32.s32 d, a;", OP_B32, FROM(OP_B32), 1, want_sat_f32_s32, NULL, true},
    {"cvt.rn.satfinite.e4m3x2.f32 d, a, b;", OP_B16, FROM(OP_B32), 2, want_e4m3_f32, NULL, true},
    {"cvt.rn.satfinite.relu.e5m2x2.f32 d, a, b;", OP_B16, FROM(OP_B32), 2, want_e5m2_f32, NULL, true},
    {"cvt.rn.satfinite.e4m3x2.f16x2 d, a;", OP_B16, FROM(OP_B32), 1, want_e4m3_f16x2, NULL, true},
    {"cvt.rn.satfinite.e5m2x2.f16x2 d, a;", OP_B16, FROM(OP_B32), 1, want_e5m2_f16x2, NULL, true},
    {"cvt.rn.f16x2.e4m3x2 d, a;", OP_B32, FROM(OP_B16), 1, want_f16x2_e4m3, NULL, true},
    {"cvt.rn.f16x2.e5m2x2 d, a;", OP_B32, FROM(OP_B16), 1, want_f16x2_e5m2, NULL, true},
};

TW_TEST("conversions to what is narrower round as they are told") {
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        op_check(&cases[i]);
}

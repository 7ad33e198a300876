// SPDX-License-Identifier: Apache-2.0
//
// Conversions to narrower floats, in every direction: 64-bit integers to floats and doubles against the C library's
// rounding modes; anything to halves, bfloats and eight-bit floats against a search through all their numbers.

#include "harness/test.h"

#include "floats.h"
#include "op_test.h"
#include "small_float.h"

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

#define ROUNDS(name, small_type, direction, value)                                                           \
    static uint64_t want_##name(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {      \
        return small_rounded(&small_type, direction, value);                                                 \
    }
#define ALL(name, small_type, value)                                                                         \
    ROUNDS(rn_##name, small_type, SMALL_NEAREST, value)                                                      \
    ROUNDS(rz_##name, small_type, SMALL_ZERO, value)                                                         \
    ROUNDS(rm_##name, small_type, SMALL_DOWN, value)                                                         \
    ROUNDS(rp_##name, small_type, SMALL_UP, value)
ALL(f16_s64, small_half, (long double)(int64_t)a)
ALL(f16_u64, small_half, (long double)a)
ALL(f16_s16, small_half, (long double)(int16_t)a)
ALL(f16_u32, small_half, (long double)(uint32_t)a)
ALL(bf16_s64, small_bfloat, (long double)(int64_t)a)
ALL(bf16_u32, small_bfloat, (long double)(uint32_t)a)
ALL(bf16_f32, small_bfloat, (long double)f_of(a))
ALL(bf16_f64, small_bfloat, (long double)d_of(a))

static uint64_t pair(const struct small_float *s, uint64_t a, uint64_t b, bool relu) {
    float upper = f_of(a), lower = f_of(b);
    upper = relu && upper < 0 ? 0 : upper;
    lower = relu && lower < 0 ? 0 : lower;
    return small_rounded(s, SMALL_NEAREST, (long double)upper) << 8 |
           small_rounded(s, SMALL_NEAREST, (long double)lower);
}
static uint64_t want_e4m3_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&small_e4m3, a, b, false);
}
static uint64_t want_e5m2_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&small_e5m2, a, b, true);
}
static uint64_t want_e4m3_f16x2(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&small_e4m3, of_f(half_value(a >> 16)), of_f(half_value(a & 0xffff)), false);
}
static uint64_t want_e5m2_f16x2(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return pair(&small_e5m2, of_f(half_value(a >> 16)), of_f(half_value(a & 0xffff)), false);
}

static uint32_t half_of_byte(const struct small_float *s, uint32_t byte) {
    uint32_t size = byte & 0x7f;
    bool nan = s->fraction == 3 ? size == 0x7f : size > 0x7c;
    if (nan)
        return 0x7fff;
    uint32_t bits = size == 0x7c && s->fraction == 2
                        ? 0x7c00
                        : small_rounded(&small_half, SMALL_NEAREST, small_value(s, size));
    return bits | (byte & 0x80) << 8;
}
static uint64_t want_f16x2_e4m3(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return half_of_byte(&small_e4m3, a >> 8 & 0xff) << 16 | half_of_byte(&small_e4m3, a & 0xff);
}
static uint64_t want_f16x2_e5m2(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return half_of_byte(&small_e5m2, a >> 8 & 0xff) << 16 | half_of_byte(&small_e5m2, a & 0xff);
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

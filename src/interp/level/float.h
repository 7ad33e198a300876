// SPDX-License-Identifier: Apache-2.0
//
// What rows of alu_float.def compute: signs, subnormals, limits, the smaller and the greater number, and what is read and
// written of floats of 16 bits. The same results as jit/emit_float.c's, NaNs included. Everything works on bits of any value.
#pragma once

#include <immintrin.h>

#include "alu.h"

static inline u32 bits_f32(f32 v) {
    u32 bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
static inline f32 f32_of(u32 bits) {
    f32 v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
static inline u64 bits_f64(f64 v) {
    u64 bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
static inline f64 f64_of(u64 bits) {
    f64 v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline f32 fma_f32(f32 a, f32 b, f32 c) {
    return __builtin_fmaf(a, b, c);
}
static inline f64 fma_f64(f64 a, f64 b, f64 c) {
    return __builtin_fma(a, b, c);
}

// Sums and products in which several are NaN become the first of them, as the processor does it; a C compiler may change their order.
#define FIRST_NAN(type, quiet)                                                                               \
    static inline type first_##type(type a, type v) {                                                        \
        return a != a ? type##_of(bits_##type(a) | (quiet)) : v;                                             \
    }                                                                                                        \
    static inline type add_##type(type a, type b) {                                                          \
        return first_##type(a, a + b);                                                                       \
    }                                                                                                        \
    static inline type mul_##type(type a, type b) {                                                          \
        return first_##type(a, a * b);                                                                       \
    }                                                                                                        \
    static inline type fused_##type(type a, type b, type c) {                                                \
        return first_##type(a, first_##type(b, fma_##type(a, b, c)));                                        \
    }
FIRST_NAN(f32, 0x00400000)
FIRST_NAN(f64, UINT64_C(1) << 51)

// ---- subnormals become zeros of their sign ----
static inline u16 flush_f16(u16 v) {
    return (v & 0x7fff) < 0x400 ? v & 0x8000 : v;
}
static inline u16 flush_bf16(u16 v) {
    return (v & 0x7fff) < 0x80 ? v & 0x8000 : v;
}
static inline u32 flush_f16x2(u32 v) {
    return (u32)flush_f16((u16)v) | (u32)flush_f16((u16)(v >> 16)) << 16;
}
static inline f32 flush_f32(f32 v) {
    u32 bits = bits_f32(v);
    return f32_of((bits & 0x7fffffff) < 0x00800000 ? bits & 0x80000000 : bits);
}
static inline f64 flush_f64(f64 v) {
    u64 bits = bits_f64(v), top = UINT64_C(1) << 63;
    return f64_of((bits & ~top) < UINT64_C(1) << 52 ? bits & top : bits);
}

// ---- limits ----
// To 0 … 1; NaN to 0.
static inline f32 saturate_f32(f32 v) {
    f32 positive = v > 0 ? v : 0;
    return positive < 1 ? positive : 1;
}
// -0 becomes 0 too, NaN stays.
static inline f32 relu_f32(f32 v) {
    return v <= 0 ? 0 : v;
}

// ---- the smaller and the greater number ----
// -0 is below 0; of a NaN and a number the number; of two NaNs the first. The comparison gives b where either is NaN.
static inline f32 min_f32_v3(f32 a, f32 b) {
    u32 less = bits_f32(a < b ? a : b), v = a == b ? bits_f32(a) | bits_f32(b) : less;
    return f32_of(b != b ? bits_f32(a) : v);
}
static inline f32 max_f32_v3(f32 a, f32 b) {
    u32 more = bits_f32(a > b ? a : b), v = a == b ? bits_f32(a) & bits_f32(b) : more;
    return f32_of(b != b ? bits_f32(a) : v);
}
static inline f64 min_f64(f64 a, f64 b) {
    u64 less = bits_f64(a < b ? a : b), v = a == b ? bits_f64(a) | bits_f64(b) : less;
    return f64_of(b != b ? bits_f64(a) : v);
}
static inline f64 max_f64(f64 a, f64 b) {
    u64 more = bits_f64(a > b ? a : b), v = a == b ? bits_f64(a) & bits_f64(b) : more;
    return f64_of(b != b ? bits_f64(a) : v);
}
// AVX-512's vrange: a signalling NaN counts for less than a quiet one, and the first of two signalling ones gives way.
static inline u32 nan_of_two(u32 a, u32 b) {
    return (a & 0x00400000 ? a : b) | 0x00400000;
}
static inline f32 min_f32_v4(f32 a, f32 b) {
    u32 v = bits_f32(min_f32_v3(a, b)), nan = nan_of_two(bits_f32(a), bits_f32(b));
    return f32_of(a != a && b != b ? nan : v);
}
static inline f32 max_f32_v4(f32 a, f32 b) {
    u32 v = bits_f32(max_f32_v3(a, b)), nan = nan_of_two(bits_f32(a), bits_f32(b));
    return f32_of(a != a && b != b ? nan : v);
}
#define min_f32 OF_LEVEL(min_f32)
#define max_f32 OF_LEVEL(max_f32)

static inline f32 abs_f32(f32 v) {
    return f32_of(bits_f32(v) & 0x7fffffff);
}
static inline f32 canonical_f32(f32 a, f32 b, f32 v) { // where either is NaN
    return __builtin_isunordered(a, b) ? f32_of(0x7fffffff) : v;
}
static inline f32 sign_f32(f32 v, u32 sign) { // the topmost bit of `sign`
    return f32_of((bits_f32(v) & 0x7fffffff) | (sign & 0x80000000));
}
// Of the sizes, with the product's sign.
#define XORSIGN(function, a, b) sign_f32(function(abs_f32(a), abs_f32(b)), bits_f32(a) ^ bits_f32(b))
static inline f32 min_nan_f32(f32 a, f32 b) {
    return canonical_f32(a, b, min_f32(a, b));
}
static inline f32 max_nan_f32(f32 a, f32 b) {
    return canonical_f32(a, b, max_f32(a, b));
}

// ---- properties ----
static inline bool is_normal_f32(u32 v) { // zeros are, so PTX says
    u32 size = v & 0x7fffffff;
    return size == 0 || size - 0x00800000 < 0x7f000000;
}
static inline bool is_subnormal_f32(u32 v) {
    return (v & 0x7fffffff) - 1 < 0x007fffff;
}
static inline bool is_normal_f64(u64 v) {
    u64 size = v << 1 >> 1, least = UINT64_C(1) << 52;
    return size == 0 || size - least < (UINT64_C(0x7ff) << 52) - least;
}
static inline bool is_subnormal_f64(u64 v) {
    return (v << 1 >> 1) - 1 < (UINT64_C(1) << 52) - 1;
}

// ---- floats of 16 bits ----
static inline f32 widen_bf16(u16 v) {
    return f32_of((u32)v << 16);
}
// Nearest even; NaN becomes 0x7fff.
static inline u16 narrow_bf16(f32 v) {
    u32 bits = bits_f32(v), sum = bits + 0x7fff + (bits >> 16 & 1);
    return v != v ? 0x7fff : (u16)(sum >> 16);
}
static inline void widen_f16(f32 *d, const u16 *a, [[maybe_unused]] u64 imm) {
    for (unsigned i = 0; i < TW_INTERP_LANES; i += 8)
        _mm256_storeu_ps(d + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(a + i))));
}
static inline void widen_flushed_f16(f32 *d, const u16 *a, u64 imm) {
    u16 flushed[TW_INTERP_LANES];
    EACH_LANE(i)
    flushed[i] = flush_f16(a[i]);
    widen_f16(d, flushed, imm);
}
static inline void widen_low_f16(f32 *d, const u32 *a, u64 imm) {
    u16 half[TW_INTERP_LANES];
    EACH_LANE(i)
    half[i] = (u16)a[i];
    widen_f16(d, half, imm);
}
static inline void widen_high_f16(f32 *d, const u32 *a, u64 imm) {
    u16 half[TW_INTERP_LANES];
    EACH_LANE(i)
    half[i] = (u16)(a[i] >> 16);
    widen_f16(d, half, imm);
}
static inline void widen_low_flushed_f16(f32 *d, const u32 *a, u64 imm) {
    u16 half[TW_INTERP_LANES];
    EACH_LANE(i)
    half[i] = flush_f16((u16)a[i]);
    widen_f16(d, half, imm);
}
static inline void widen_high_flushed_f16(f32 *d, const u32 *a, u64 imm) {
    u16 half[TW_INTERP_LANES];
    EACH_LANE(i)
    half[i] = flush_f16((u16)(a[i] >> 16));
    widen_f16(d, half, imm);
}
static inline void narrow_f16(u16 *d, const f32 *a, [[maybe_unused]] u64 imm) {
    for (unsigned i = 0; i < TW_INTERP_LANES; i += 8)
        _mm_storeu_si128((void *)(d + i), _mm256_cvtps_ph(_mm256_loadu_ps(a + i), _MM_FROUND_TO_NEAREST_INT));
}
static inline void narrow_flushed_f16(u16 *d, const f32 *a, u64 imm) {
    narrow_f16(d, a, imm);
    EACH_LANE(i)
    d[i] = flush_f16(d[i]);
}
static inline void narrow_f16x2(u32 *d, const f32 *low, const f32 *high, u64 imm) {
    u16 lower[TW_INTERP_LANES], upper[TW_INTERP_LANES];
    narrow_f16(lower, low, imm);
    narrow_f16(upper, high, imm);
    EACH_LANE(i)
    d[i] = lower[i] | (u32)upper[i] << 16;
}
static inline void narrow_flushed_f16x2(u32 *d, const f32 *low, const f32 *high, u64 imm) {
    narrow_f16x2(d, low, high, imm);
    EACH_LANE(i)
    d[i] = flush_f16x2(d[i]);
}

// A double as the float that rounds on to any narrower type as the double itself would: cut off, the last bit set where
// something was lost.
static inline f32 round_to_odd(f64 v) {
    f32 near = (f32)v;
    f64 back = (f64)near;
    u32 bits = bits_f32(near), away = __builtin_isgreater(__builtin_fabs(back), __builtin_fabs(v)) ? 1 : 0;
    return f32_of(__builtin_islessgreater(back, v) ? (bits - away) | 1 : bits);
}
// The same of a sum of doubles to a double: the exact error of a sum is Knuth's.
static inline f64 sum_to_odd(f64 product, f64 c) {
    f64 sum = product + c, part = sum - product, rest = (product - (sum - part)) + (c - part);
    u64 bits = bits_f64(sum);
    bool away = (rest > 0) == (sum > 0);
    return f64_of(__builtin_islessgreater(rest, 0.0) ? (away ? bits : bits - 1) | 1 : bits);
}
// Of floats that were halves: the float that the half a × b + c is made of.
static inline f32 fma_f16(f32 a, f32 b, f32 c) {
    return round_to_odd(fused_f64((f64)a, (f64)b, (f64)c));
}
// Of those that were bfloats: the product is exact in double, but of the sum a part may be lost that decides.
static inline f32 fma_bf16(f32 a, f32 b, f32 c) {
    return round_to_odd(sum_to_odd((f64)a * (f64)b, (f64)c));
}

// SPDX-License-Identifier: Apache-2.0
//
// What the expressions of alu_convert.def are made of: the same steps as compiled code takes (jit/emit_cvt.c, jit/emit_float.c), of
// one element. Half is a float of 16 bits, bfloat the upper half of one of 32; both are bits here.
#pragma once

#include "float.h"

static inline f32 f32_of_half(u16 bits) {
    _Float16 v;
    memcpy(&v, &bits, sizeof v);
    return (f32)v;
}

static inline u16 half_of_f32(f32 v) {
    _Float16 half = (_Float16)v;
    u16 bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}

// ---- limits ----

static inline f64 saturate_f64(f64 v) {
    f64 positive = v > 0 ? v : 0;
    return positive < 1 ? positive : 1;
}

static inline f64 relu_f64(f64 v) {
    return v <= 0 ? 0 : v;
}

// ---- floats to integers: toward zero, the nearest where it is too great or too small; `nan` for NaN ----

// `is_within`: v can be converted to `wide`, and the result is one of `to`.
#define TO_INTEGER(name, from, to, wide, low, high, is_within, nan)                                          \
    static inline to name(from v) {                                                                          \
        bool within = is_within;                                                                             \
        wide inside = (wide)(within ? v : 0);                                                                \
        to outside = v > 0 ? high : v < 0 ? low : nan;                                                       \
        return within ? (to)inside : outside;                                                                \
    }

TO_INTEGER(s8_of_f32, f32, s8, s32, INT8_MIN, INT8_MAX, (v > -0x1p7F - 1 && v < 0x1p7F), 0)
TO_INTEGER(s16_of_f32, f32, s16, s32, INT16_MIN, INT16_MAX, (v > -0x1p15F - 1 && v < 0x1p15F), 0)
TO_INTEGER(s32_of_f32, f32, s32, s32, INT32_MIN, INT32_MAX, (v >= -0x1p31F && v < 0x1p31F), 0)
TO_INTEGER(s64_of_f32, f32, s64, s64, INT64_MIN, INT64_MAX, (v >= -0x1p63F && v < 0x1p63F), INT64_MIN)
TO_INTEGER(u8_of_f32, f32, u8, s32, 0, UINT8_MAX, (v > -1 && v < 0x1p8F), 0)
TO_INTEGER(u16_of_f32, f32, u16, s32, 0, UINT16_MAX, (v > -1 && v < 0x1p16F), 0)
TO_INTEGER(u32_of_f32, f32, u32, u32, 0, UINT32_MAX, (v > -1 && v < 0x1p32F), 0)
TO_INTEGER(u64_of_f32, f32, u64, u64, 0, UINT64_MAX, (v > -1 && v < 0x1p64F), UINT64_C(1) << 63)
TO_INTEGER(s8_of_f64, f64, s8, s32, INT8_MIN, INT8_MAX, (v > -0x1p7 - 1 && v < 0x1p7), INT8_MIN)
TO_INTEGER(s16_of_f64, f64, s16, s32, INT16_MIN, INT16_MAX, (v > -0x1p15 - 1 && v < 0x1p15), INT16_MIN)
TO_INTEGER(s32_of_f64, f64, s32, s32, INT32_MIN, INT32_MAX, (v > -0x1p31 - 1 && v < 0x1p31), INT32_MIN)
TO_INTEGER(s64_of_f64, f64, s64, s64, INT64_MIN, INT64_MAX, (v >= -0x1p63 && v < 0x1p63), INT64_MIN)
TO_INTEGER(u8_of_f64, f64, u8, s32, 0, UINT8_MAX, (v > -1 && v < 0x1p8), 0x80)
TO_INTEGER(u16_of_f64, f64, u16, s32, 0, UINT16_MAX, (v > -1 && v < 0x1p16), 0x8000)
TO_INTEGER(u32_of_f64, f64, u32, u32, 0, UINT32_MAX, (v > -1 && v < 0x1p32), 0x80000000)
TO_INTEGER(u64_of_f64, f64, u64, u64, 0, UINT64_MAX, (v > -1 && v < 0x1p64), UINT64_C(1) << 63)

// ---- integers of 64 bits to doubles ----

static inline u64 size_of_s64(s64 v) {
    return v < 0 ? 0 - (u64)v : (u64)v;
}

// As a double that rounds on to anything of at most 40 bits as the integer itself would: where it is too long its last bit says
// whether any bit below was set.
static inline f64 sticky_u64(u64 size) {
    bool is_long = size >= UINT64_C(1) << 53;
    u64 cut = size >> 11 | ((size & 0x7ff) != 0 ? 1 : 0);
    f64 real = (f64)(is_long ? cut : size);
    return is_long ? real * 2048 : real;
}

static inline f64 sticky_s64(s64 v) {
    f64 size = sticky_u64(size_of_s64(v));
    return v < 0 ? -size : size;
}

// The bits that fit; the next number where there are more of them and it is to be rounded away from zero.
static inline f64 cut_u64(u64 size, bool away) {
    unsigned zeros = size ? (unsigned)__builtin_clzll(size) : 64, more = zeros < 11 ? 11 - zeros : 0;
    u64 kept = size & UINT64_MAX << more;
    return f64_of(bits_f64((f64)kept) + (away && kept != size ? 1 : 0));
}

static inline f64 cut_s64(s64 v, bool up, bool down) {
    f64 size = cut_u64(size_of_s64(v), v < 0 ? down : up);
    return v < 0 ? -size : size;
}

// ---- floats to narrower ones ----

// From the nearest number, as bits with the sign on top, to the next one toward the wanted direction where it lies on the wrong side:
// `above` or `below` what is exact.
#define CORRECT(name, bits_type, sign)                                                                       \
    static inline bits_type name(bits_type near, bool above, bool below, bool exact_negative, bool up,       \
                                 bool down) {                                                                \
        bool is_zero = (bits_type)(near << 1) == 0, is_negative = (near & (sign)) != 0;                      \
        bits_type more = (bits_type)(near + 1), less = (bits_type)(near - 1);                                \
        bits_type higher = is_zero ? 1 : is_negative ? less : more;                                          \
        bits_type lower = is_zero ? (sign) + 1 : is_negative ? more : less;                                  \
        bool fix_up = below && (up || (!down && exact_negative));                                            \
        bool fix_down = above && (down || (!up && !exact_negative));                                         \
        return fix_up ? higher : fix_down ? lower : near;                                                    \
    }

CORRECT(correct_16, u16, 0x8000)
CORRECT(correct_32, u32, 0x80000000)

// Toward zero where neither `up` nor `down`.
static inline u32 f32_of_f64_directed(f64 v, bool up, bool down) {
    f32 near = (f32)v;
    return correct_32(bits_f32(near), (f64)near > v, (f64)near < v, v < 0, up, down);
}

static inline u16 half_of_f32_directed(f32 v, bool up, bool down) {
    u16 near = half_of_f32(v);
    f32 back = f32_of_half(near);
    return correct_16(near, back > v, back < v, v < 0, up, down);
}

static inline u16 bfloat_of_f32_directed(f32 v, bool up, bool down) {
    u32 bits = bits_f32(v), upper = bits >> 16;
    bool away = (bits & 0xffff) != 0 && (bits >> 31 ? down : up);
    return v != v ? 0x7fff : (u16)(upper + (away ? 1 : 0));
}

// As the float that rounds on to any narrower type as the double itself would: truncated, the last bit set where inexact.
static inline u32 odd_f32_of_f64(f64 v) {
    f32 near = (f32)v;
    f64 back = (f64)near;
    u32 bits = bits_f32(near), away = __builtin_fabs(back) > __builtin_fabs(v) ? 1 : 0;
    return back < v || back > v ? (bits - away) | 1 : bits;
}

// `add`: what rounds, below the 13 bits that are cut off.
static inline u32 tf32_of_f32(u32 bits, u32 add) {
    return (bits & 0x7fffffff) >= 0x7f800000 ? bits : (bits + add) & 0xffffe000;
}

// ---- pairs of floats of eight bits: e4m3 (bias 7, no infinities, one NaN of each sign), e5m2 (bias 15, a half cut short) ----

// The nearest, ties to even; what is too great becomes the greatest, NaN 0x7f. `most`: the greatest finite number's bits.
static inline u32 byte_of_f32(f32 v, unsigned fraction, unsigned bias, u32 most) {
    u32 bits = bits_f32(v), size = bits & 0x7fffffff, sign = (bits ^ size) >> 24;
    unsigned drop = 23 - fraction;
    u32 sum = size + ((1U << (drop - 1)) - 1) + (size >> drop & 1);
    u32 normal = (sum >> drop) - ((127 - bias) << fraction);
    // Below the least normal number: whole multiples of the least one.
    bool is_small = size < (128 - bias) << 23;
    f32 units = f32_of(is_small ? size : 0) * (f32)(1U << (bias - 1 + fraction));
    u32 found = is_small ? (u32)__builtin_rintf(units) : normal;
    found = found < most ? found : most;
    return size > 0x7f800000 ? 0x7f : found | sign;
}

static inline u16 e4m3_pair(f32 upper, f32 lower) {
    return (u16)(byte_of_f32(upper, 3, 7, 0x7e) << 8 | byte_of_f32(lower, 3, 7, 0x7e));
}

static inline u16 e5m2_pair(f32 upper, f32 lower) {
    return (u16)(byte_of_f32(upper, 2, 15, 0x7b) << 8 | byte_of_f32(lower, 2, 15, 0x7b));
}

static inline f32 positive(f32 v) { // -0 stays
    return v < 0 ? 0 : v;
}

static inline u32 half_of_byte(u32 size, u32 sign, u32 found, u32 infinity, bool relu) {
    u32 value = relu && sign ? 0 : found | sign << 8;
    return size > infinity ? 0x7fff : value;
}

// Moved up to where the exponent of halves is a byte has the wrong bias, which a multiplication mends, for subnormal numbers too.
static inline u32 half_of_e4m3(u32 byte, bool relu) {
    u32 size = byte & 0x7f;
    return half_of_byte(size, byte & 0x80, half_of_f32(f32_of_half((u16)(size << 7)) * 256), 0x7e, relu);
}

static inline u32 half_of_e5m2(u32 byte, bool relu) {
    u32 size = byte & 0x7f;
    return half_of_byte(size, byte & 0x80, size << 8, 0x7c, relu);
}

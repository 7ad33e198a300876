// SPDX-License-Identifier: Apache-2.0
//
// Integer operations that are too long for a row of alu_int.def. They are written without branches, so that loops over
// lanes become vector code, and steer around what C leaves undefined: whatever the values, there is a result.
#pragma once

#include "alu.h"

__extension__ typedef __int128 s128;

// ---- shifts: what is moved beyond the width is gone ----

#define INT_SHIFTS(u, s, bits)                                                                               \
    static inline u shl_##u(u a, u32 by) {                                                                   \
        return (u)(by < bits ? a << (by & (bits - 1)) : 0);                                                  \
    }                                                                                                        \
    static inline u shr_##u(u a, u32 by) {                                                                   \
        return (u)(by < bits ? a >> (by & (bits - 1)) : 0);                                                  \
    }                                                                                                        \
    static inline s shr_##s(s a, u32 by) {                                                                   \
        return (s)(a >> (by < bits ? by : bits - 1));                                                        \
    }

INT_SHIFTS(u16, s16, 16)
INT_SHIFTS(u32, s32, 32)
INT_SHIFTS(u64, s64, 64)

// The upper word of high:low moved to the left, the lower one of it moved to the right, by 0 to 31.
static inline u32 funnel_left(u32 low, u32 high, u32 by) {
    return (u32)(((u64)high << 32 | low) << (by & 31) >> 32);
}
static inline u32 funnel_right(u32 low, u32 high, u32 by) {
    return (u32)(((u64)high << 32 | low) >> (by & 31));
}

// ---- sums and products ----

static inline u32 most_or_least(u32 a) {
    return INT32_MAX + (a >> 31);
}
static inline u32 add_sat_s32(u32 a, u32 b) {
    u32 sum = a + b;
    return (s32)(~(a ^ b) & (a ^ sum)) < 0 ? most_or_least(a) : sum;
}
static inline u32 sub_sat_s32(u32 a, u32 b) {
    u32 sum = a - b;
    return (s32)((a ^ b) & (a ^ sum)) < 0 ? most_or_least(a) : sum;
}

static inline u32 low24(u32 a) {
    return a & 0xffffff;
}
static inline s32 low24_signed(u32 a) {
    return (s32)(a << 8) >> 8;
}

static inline u32 dot_bytes(u32 sum, u32 a, u32 b, bool a_signed, bool b_signed) {
    for (unsigned at = 0; at < 32; at += 8) {
        s32 x = a_signed ? (s8)(a >> at) : (s32)(a >> at & 255);
        s32 y = b_signed ? (s8)(b >> at) : (s32)(b >> at & 255);
        sum += (u32)(x * y);
    }
    return sum;
}

// a's halves by the two lower bytes of b.
static inline u32 dot_halves(u32 sum, u32 a, u32 b, bool a_signed, bool b_signed) {
    for (unsigned i = 0; i < 2; i++) {
        s32 x = a_signed ? (s16)(a >> 16 * i) : (s32)(a >> 16 * i & 0xffff);
        s32 y = b_signed ? (s8)(b >> 8 * i) : (s32)(b >> 8 * i & 255);
        sum += (u32)(x * y);
    }
    return sum;
}

// ---- quotients ----
// 32 bits are exact in doubles: the quotient of two integers never rounds up to the next one.

static inline u32 div_u32(u32 a, u32 b) {
    f64 q = (f64)a / (f64)(b ? b : 1);
    return b ? (u32)q : UINT32_MAX;
}
// 2^31, of the least integer over -1, is -2^31.
static inline s32 div_s32(s32 a, s32 b) {
    f64 q = (f64)a / (f64)(b ? b : 1);
    return b == 0 ? -1 : q > INT32_MAX ? INT32_MIN : (s32)(q > INT32_MAX ? 0 : q);
}
static inline u32 rem_u32(u32 a, u32 b) {
    return b ? a - div_u32(a, b) * b : a;
}
static inline u32 rem_s32(u32 a, u32 b) {
    return b ? a - (u32)div_s32((s32)a, (s32)b) * b : a;
}
static inline s64 div_s64(s64 a, s64 b) {
    s64 by = b == 0 || b == -1 ? 1 : b;
    return b == 0 ? -1 : b == -1 ? (s64)(0 - (u64)a) : a / by;
}
static inline s64 rem_s64(s64 a, s64 b) {
    s64 by = b == 0 || b == -1 ? 1 : b;
    return b == 0 ? a : a % by;
}

// ---- carries ----

static inline bool carries_u64(u64 a, u64 b, bool carry) {
    u64 sum = a + b;
    return sum < a || sum + carry < sum;
}
static inline bool borrows_u64(u64 a, u64 b, bool borrow) {
    return a < b || a - b < borrow;
}

// ---- fields ----
// low_ones: 2^n - 1. A signed field that goes beyond the end repeats the last bit. unlike_sign: ones where a bit differs
// from the sign.

#define INT_FIELDS(u, s, bits, leading_zeros)                                                                \
    static inline u low_ones_##u(u n) {                                                                      \
        return n >= bits ? (u) ~(u)0 : (u)(((u)1 << (n & (bits - 1))) - 1);                                  \
    }                                                                                                        \
    static inline u bfe_##u(u a, u32 at, u32 length) {                                                       \
        u pos = at & 255, ones = low_ones_##u(length & 255);                                                 \
        return pos >= bits ? 0 : a >> (pos & (bits - 1)) & ones;                                             \
    }                                                                                                        \
    static inline u bfe_##s(u a, u32 at, u32 length) {                                                       \
        u pos = at & 255, len = length & 255, ones = low_ones_##u(len), top = pos + len - 1;                 \
        u field = (u)((s)a >> (pos < bits ? pos : bits - 1)) & ones;                                         \
        u sign = a >> (top < bits ? top : bits - 1) & 1;                                                     \
        return len == 0 ? 0 : field | ((0 - sign) & ~ones);                                                  \
    }                                                                                                        \
    static inline u bfi_##u(u a, u b, u32 at, u32 length) {                                                  \
        u pos = at & 255, by = pos & (bits - 1), mask = low_ones_##u(length & 255) << by;                    \
        return pos >= bits ? b : (b & ~mask) | (a << by & mask);                                             \
    }                                                                                                        \
    static inline u32 clz_##u(u a) {                                                                         \
        return a ? (u32)leading_zeros(a) : bits;                                                             \
    }                                                                                                        \
    static inline u32 bfind_##u(u a) {                                                                       \
        return a ? bits - 1 - clz_##u(a) : UINT32_MAX;                                                       \
    }                                                                                                        \
    static inline u32 bfind_shift_##u(u a) {                                                                 \
        return a ? clz_##u(a) : UINT32_MAX;                                                                  \
    }                                                                                                        \
    static inline u unlike_sign_##u(u a) {                                                                   \
        return a ^ (u)((s)a >> (bits - 1));                                                                  \
    }

INT_FIELDS(u32, s32, 32, __builtin_clz)
INT_FIELDS(u64, s64, 64, __builtin_clzll)

static inline u32 mask_u32(u32 pos, u32 length) {
    return pos < 32 ? low_ones_u32(length) << (pos & 31) : 0;
}
// The lower n bits, n at most 32, by their sign.
static inline u32 extend_s32(u32 a, u32 n) {
    u32 ones = low_ones_u32(n), sign = a >> ((n - 1) & 31) & 1;
    return n == 0 ? 0 : (a & ones) | ((0 - sign) & ~ones);
}
static inline u32 at_most_32(u32 n) {
    return n < 32 ? n : 32;
}

static inline u32 brev_u32(u32 a) {
    a = (a >> 1 & 0x55555555) | (a & 0x55555555) << 1;
    a = (a >> 2 & 0x33333333) | (a & 0x33333333) << 2;
    a = (a >> 4 & 0x0f0f0f0f) | (a & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(a);
}
static inline u64 brev_u64(u64 a) {
    return (u64)brev_u32((u32)a) << 32 | brev_u32((u32)(a >> 32));
}

// ---- any function of three bits ----

// Bit k of the function's table, in all bits.
static inline u32 lop3_row(u64 table, unsigned k) {
    return 0 - (u32)(table >> k & 1);
}
static inline u32 lop3_pick(u32 s, u32 one, u32 zero) {
    return zero ^ (s & (one ^ zero));
}
static inline u32 lop3(u32 a, u32 b, u32 c, u64 table) {
    u32 none = lop3_pick(c, lop3_row(table, 1), lop3_row(table, 0));
    u32 only_b = lop3_pick(c, lop3_row(table, 3), lop3_row(table, 2));
    u32 only_a = lop3_pick(c, lop3_row(table, 5), lop3_row(table, 4));
    u32 both = lop3_pick(c, lop3_row(table, 7), lop3_row(table, 6));
    return lop3_pick(a, lop3_pick(b, both, only_a), lop3_pick(b, only_b, none));
}

// ---- permutations of bytes ----

// Byte number 0 to 7 of high:low.
static inline u32 byte_of(u64 both, u32 number) {
    return (u32)(both >> 8 * (number & 7)) & 255;
}
// A digit of the selector names a byte; its top bit asks for that byte's sign instead, in all bits.
static inline u32 byte_or_sign(u64 both, u32 digit) {
    u32 byte = byte_of(both, digit);
    return digit & 8 ? (0 - (byte >> 7)) & 255 : byte;
}
static inline u32 prmt(u32 low, u32 high, u32 selector) {
    u64 both = (u64)high << 32 | low;
    return byte_or_sign(both, selector) | byte_or_sign(both, selector >> 4) << 8 |
           byte_or_sign(both, selector >> 8) << 16 | byte_or_sign(both, selector >> 12) << 24;
}
// The selectors of a named mode, 16 bits each, by the lower two bits of c.
static inline u32 prmt_by(u32 low, u32 high, u32 c, u64 selectors) {
    return prmt(low, high, (u32)(selectors >> 16 * (c & 3)) & 0xffff);
}

// SPDX-License-Identifier: Apache-2.0
//
// Integer instructions against C written from the PTX manual's own pseudo-code.

#include "harness/test.h"
#include "op_test.h"

#define U32(x) ((uint32_t)(x))
#define S32(x) ((int32_t)(uint32_t)(x))
#define S64(x) ((int64_t)(x))

static uint64_t bit_field(uint64_t a, uint64_t b, uint64_t c, unsigned bits, bool sign) {
    unsigned pos = b & 255, len = c & 255, msb = bits - 1;
    uint64_t last = sign && len ? a >> (pos + len - 1 < msb ? pos + len - 1 : msb) & 1 : 0, d = 0;
    for (unsigned i = 0; i <= msb; i++)
        d |= (i < len && pos + i <= msb ? a >> (pos + i) & 1 : last) << i;
    return d;
}

static uint64_t insert(uint64_t a, uint64_t b, uint64_t pos, uint64_t len, unsigned bits) {
    for (unsigned i = 0; i < (len & 255) && (pos & 255) + i < bits; i++) {
        uint64_t at = UINT64_C(1) << ((pos & 255) + i);
        b = a >> i & 1 ? b | at : b & ~at;
    }
    return b;
}

static uint64_t leading(uint64_t a, unsigned bits, bool sign) {
    uint64_t top = a >> (bits - 1) & 1;
    for (unsigned i = bits; i-- > 0;)
        if ((a >> i & 1) != (sign ? top : 0))
            return i;
    return 0xffffffff;
}

static uint64_t reversed(uint64_t a, unsigned bits) {
    uint64_t d = 0;
    for (unsigned i = 0; i < bits; i++)
        d |= (a >> i & 1) << (bits - 1 - i);
    return d;
}

static uint64_t permuted(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t both = b << 32 | U32(a), d = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned n = c >> (4 * i) & 15;
        uint64_t byte = both >> (8 * (n & 7)) & 255;
        if (n & 8)
            byte = byte & 128 ? 255 : 0;
        d |= byte << (8 * i);
    }
    return d;
}

static uint64_t table3(uint64_t a, uint64_t b, uint64_t c, unsigned table) {
    uint64_t d = 0;
    for (unsigned i = 0; i < 32; i++)
        d |= (uint64_t)(table >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i;
    return d;
}

static uint64_t clamp32(int64_t v) {
    return U32(v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : v);
}

static uint64_t dot4(uint64_t a, uint64_t b, uint64_t c, bool sa, bool sb) {
    int64_t sum = S32(c);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t x = (uint8_t)(a >> (8 * i)), y = (uint8_t)(b >> (8 * i));
        sum += (sa ? (int8_t)x : x) * (sb ? (int8_t)y : y);
    }
    return U32(sum);
}

static uint64_t want_add_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a + b);
}
static uint64_t want_sub_s64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return a - b;
}
static uint64_t want_add_u16_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint16_t)(a + b);
}
static uint64_t want_mul_lo_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a * b);
}
static uint64_t want_mul_lo_s64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return a * b;
}
static uint64_t want_mul_hi_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32((uint64_t)U32(a) * U32(b) >> 32);
}
static uint64_t want_mul_hi_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32((int64_t)S32(a) * S32(b) >> 32);
}
static uint64_t want_mul_hi_u64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint64_t)((unsigned __int128)a * b >> 64);
}
static uint64_t want_mul_hi_s64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint64_t)((__int128)S64(a) * S64(b) >> 64);
}
static uint64_t want_mul_wide_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint64_t)U32(a) * U32(b);
}
static uint64_t want_mul_wide_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint64_t)((int64_t)S32(a) * S32(b));
}
static uint64_t want_mul_wide_s16_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32((int32_t)(int16_t)a * (int16_t)b);
}
static uint64_t want_mul24_lo_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32((a & 0xffffff) * (b & 0xffffff));
}
static uint64_t want_mul24_hi_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32((a & 0xffffff) * (b & 0xffffff) >> 16);
}
static uint64_t want_mad_lo_s32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32(a * b + c);
}
static uint64_t want_mad_wide_u32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return (uint64_t)U32(a) * U32(b) + c;
}
static uint64_t want_mad_hi_s32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32(((int64_t)S32(a) * S32(b) >> 32) + S32(c));
}
static uint64_t want_div_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) ? U32(a) / U32(b) : 0xffffffff;
}
static uint64_t want_div_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) ? U32((int64_t)S32(a) / S32(b)) : 0xffffffff;
}
static uint64_t want_div_u64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return b ? a / b : UINT64_MAX;
}
static uint64_t want_div_s64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return !b ? UINT64_MAX : b == UINT64_MAX ? -a : (uint64_t)(S64(a) / S64(b));
}
static uint64_t want_rem_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) ? U32(a) % U32(b) : U32(a);
}
static uint64_t want_rem_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) ? U32((int64_t)S32(a) % S32(b)) : U32(a);
}
static uint64_t want_rem_s64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return !b ? a : b == UINT64_MAX ? 0 : (uint64_t)(S64(a) % S64(b));
}
static uint64_t want_div_s16_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint16_t)b ? (uint64_t)(uint16_t)((int16_t)a / (int16_t)b) : 0xffff;
}
static uint64_t want_min_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(S32(a) < S32(b) ? a : b);
}
static uint64_t want_max_u64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return a > b ? a : b;
}
static uint64_t want_abs_s32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return S32(a) < 0 ? U32(-U32(a)) : U32(a);
}
static uint64_t want_neg_s64_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return -a;
}
static uint64_t want_not_b32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(~a);
}
static uint64_t want_cnot_b32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a) == 0;
}
static uint64_t want_and_b64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return a & b;
}
static uint64_t want_shl_b32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) > 31 ? 0 : U32(U32(a) << U32(b));
}
static uint64_t want_shl_b64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) > 63 ? 0 : a << U32(b);
}
static uint64_t want_shl_b16_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) > 15 ? 0 : (uint64_t)(uint16_t)(a << U32(b));
}
static uint64_t want_shr_u32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(b) > 31 ? 0 : U32(a) >> U32(b);
}
static uint64_t want_shr_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(S32(a) >> (U32(b) > 31 ? 31 : U32(b)));
}
static uint64_t want_shr_s64_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint64_t)(S64(a) >> (U32(b) > 63 ? 63 : U32(b)));
}
static uint64_t want_shf_l_clamp_b32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32(c) > 31 ? U32(a) : U32((b << 32 | a) << U32(c) >> 32);
}
static uint64_t want_shf_r_clamp_b32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32(c) > 31 ? U32(b) : U32((b << 32 | a) >> U32(c));
}
static uint64_t want_shf_l_wrap_b32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32((b << 32 | a) << (c & 31) >> 32);
}
static uint64_t want_shf_r_wrap_b32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32((b << 32 | a) >> (c & 31));
}
static uint64_t want_bfe_u32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return bit_field(a, b, c, 32, false);
}
static uint64_t want_bfe_s32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return bit_field(a, b, c, 32, true);
}
static uint64_t want_bfe_u64_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return bit_field(a, b, c, 64, false);
}
static uint64_t want_bfe_s64_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return bit_field(a, b, c, 64, true);
}
static uint64_t want_bfi_b32_d_a_0x5a5a1234_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return insert(a, 0x5a5a1234, b, c, 32);
}
static uint64_t want_bfind_u32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a) ? 31 - (unsigned)__builtin_clz(U32(a)) : 0xffffffff;
}
static uint64_t want_bfind_s32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return leading(a, 32, true);
}
static uint64_t want_bfind_s64_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return leading(a, 64, true);
}
static uint64_t want_bfind_shiftamt_u32_d_a(uint64_t a, [[maybe_unused]] uint64_t b,
                                            [[maybe_unused]] uint64_t c) {
    return U32(a) ? (unsigned)__builtin_clz(U32(a)) : 0xffffffff;
}
static uint64_t want_brev_b32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return reversed(a, 32);
}
static uint64_t want_brev_b64_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return reversed(a, 64);
}
static uint64_t want_clz_b32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a) ? (unsigned)__builtin_clz(U32(a)) : 32;
}
static uint64_t want_clz_b64_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return a ? (unsigned)__builtin_clzll(a) : 64;
}
static uint64_t want_popc_b64_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (unsigned)__builtin_popcountll(a);
}
static uint64_t want_prmt_b32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return permuted(a, b, c);
}
static uint64_t want_prmt_b32_f4e_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return permuted(a, b, (c & 3) == 0 ? 0x3210 : (c & 3) == 1 ? 0x4321 : (c & 3) == 2 ? 0x5432 : 0x6543);
}
static uint64_t want_prmt_b32_rc16_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return permuted(a, b, c & 1 ? 0x3232 : 0x1010);
}
static uint64_t want_lop3_b32_d_a_b_c_0xe8(uint64_t a, uint64_t b, uint64_t c) {
    return U32((a & b) | (a & c) | (b & c));
}
static uint64_t want_lop3_b32_d_a_b_c_0x96(uint64_t a, uint64_t b, uint64_t c) {
    return U32(a ^ b ^ c);
}
static uint64_t want_lop3_b32_d_a_b_c_0x1b(uint64_t a, uint64_t b, uint64_t c) {
    return table3(a, b, c, 0x1b);
}
static uint64_t want_sad_s32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32(c + (S32(a) < S32(b) ? b - a : a - b));
}
static uint64_t want_sad_u32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32(c + (U32(a) < U32(b) ? b - a : a - b));
}
static uint64_t want_add_sat_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return clamp32((int64_t)S32(a) + S32(b));
}
static uint64_t want_sub_sat_s32_d_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return clamp32((int64_t)S32(a) - S32(b));
}
static uint64_t want_dp4a_s32_s32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return dot4(a, b, c, true, true);
}
static uint64_t want_dp4a_u32_s32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return dot4(a, b, c, false, true);
}
static uint64_t want_cvt_u64_u32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a);
}
static uint64_t want_cvt_s64_s32_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint64_t)(int64_t)S32(a);
}
static uint64_t want_cvt_u32_u64_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a);
}
static uint64_t want_cvt_s32_s8_d_a(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    int32_t wide = (int8_t)a;
    return (uint32_t)wide;
}
static uint64_t want_cvt_sat_u8_s32_d_a(uint64_t a, [[maybe_unused]] uint64_t b,
                                        [[maybe_unused]] uint64_t c) {
    return S32(a) < 0 ? 0 : S32(a) > 255 ? 255 : U32(a);
}
static uint64_t want_cvt_sat_s16_s32_d_a(uint64_t a, [[maybe_unused]] uint64_t b,
                                         [[maybe_unused]] uint64_t c) {
    return U32(S32(a) < -32768 ? -32768 : S32(a) > 32767 ? 32767 : S32(a));
}
static uint64_t want_cvt_sat_u32_s64_d_a(uint64_t a, [[maybe_unused]] uint64_t b,
                                         [[maybe_unused]] uint64_t c) {
    return S64(a) < 0 ? 0 : S64(a) > 0xffffffff ? 0xffffffff : a;
}
static uint64_t want_cvt_sat_s32_u32_d_a(uint64_t a, [[maybe_unused]] uint64_t b,
                                         [[maybe_unused]] uint64_t c) {
    return U32(a) > 0x7fffffff ? 0x7fffffff : U32(a);
}
static uint64_t want_setp_lt_s32_p_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return S32(a) < S32(b);
}
static uint64_t want_setp_hi_u32_p_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return U32(a) > U32(b);
}
static uint64_t want_setp_ge_u64_p_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return a >= b;
}
static uint64_t want_setp_eq_s16_p_a_b(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint16_t)a == (uint16_t)b;
}
static uint64_t want_slct_u32_s32_d_a_b_c(uint64_t a, uint64_t b, uint64_t c) {
    return S32(c) >= 0 ? U32(a) : U32(b);
}
static uint64_t want_reg_b32_h_add_cc_u32_d_a_b_addc_u32_h_0(uint64_t a, uint64_t b,
                                                             [[maybe_unused]] uint64_t c) {
    return U32(a + b + 7 * ((U32(a) + (uint64_t)U32(b)) >> 32));
}
static uint64_t want_reg_b32_h_sub_cc_u32_d_a_b_subc_u32_h_c(uint64_t a, uint64_t b, uint64_t c) {
    return U32((a - b) ^ (c - (U32(a) < U32(b))));
}

static const struct op_case cases[] = {
    {"add.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_u32_d_a_b, NULL, false},
    {"sub.s64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_sub_s64_d_a_b, NULL, false},
    {"add.u16 d, a, b;", OP_B16, {OP_B16, OP_B16, OP_B16}, 2, want_add_u16_d_a_b, NULL, false},
    {"mul.lo.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_lo_u32_d_a_b, NULL, false},
    {"mul.lo.s64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_mul_lo_s64_d_a_b, NULL, false},
    {"mul.hi.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_hi_u32_d_a_b, NULL, false},
    {"mul.hi.s32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_hi_s32_d_a_b, NULL, false},
    {"mul.hi.u64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_mul_hi_u64_d_a_b, NULL, false},
    {"mul.hi.s64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_mul_hi_s64_d_a_b, NULL, false},
    {"mul.wide.u32 d, a, b;", OP_B64, {OP_B32, OP_B32, OP_B32}, 2, want_mul_wide_u32_d_a_b, NULL, false},
    {"mul.wide.s32 d, a, b;", OP_B64, {OP_B32, OP_B32, OP_B32}, 2, want_mul_wide_s32_d_a_b, NULL, false},
    {"mul.wide.s16 d, a, b;", OP_B32, {OP_B16, OP_B16, OP_B16}, 2, want_mul_wide_s16_d_a_b, NULL, false},
    {"mul24.lo.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul24_lo_u32_d_a_b, NULL, false},
    {"mul24.hi.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul24_hi_u32_d_a_b, NULL, false},
    {"mad.lo.s32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_mad_lo_s32_d_a_b_c, NULL, false},
    {"mad.wide.u32 d, a, b, c;", OP_B64, {OP_B32, OP_B32, OP_B64}, 3, want_mad_wide_u32_d_a_b_c, NULL, false},
    {"mad.hi.s32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_mad_hi_s32_d_a_b_c, NULL, false},
    {"div.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_div_u32_d_a_b, NULL, false},
    {"div.s32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_div_s32_d_a_b, NULL, false},
    {"div.u64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_div_u64_d_a_b, NULL, false},
    {"div.s64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_div_s64_d_a_b, NULL, false},
    {"rem.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_rem_u32_d_a_b, NULL, false},
    {"rem.s32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_rem_s32_d_a_b, NULL, false},
    {"rem.s64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_rem_s64_d_a_b, NULL, false},
    {"div.s16 d, a, b;", OP_B16, {OP_B16, OP_B16, OP_B16}, 2, want_div_s16_d_a_b, NULL, false},
    {"min.s32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_min_s32_d_a_b, NULL, false},
    {"max.u64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_max_u64_d_a_b, NULL, false},
    {"abs.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_abs_s32_d_a, NULL, false},
    {"neg.s64 d, a;", OP_B64, {OP_B64, OP_B64, OP_B64}, 1, want_neg_s64_d_a, NULL, false},
    {"not.b32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_not_b32_d_a, NULL, false},
    {"cnot.b32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cnot_b32_d_a, NULL, false},
    {"and.b64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_and_b64_d_a_b, NULL, false},
    {"shl.b32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_shl_b32_d_a_b, NULL, false},
    {"shl.b64 d, a, b;", OP_B64, {OP_B64, OP_B32, OP_B32}, 2, want_shl_b64_d_a_b, NULL, false},
    {"shl.b16 d, a, b;", OP_B16, {OP_B16, OP_B32, OP_B32}, 2, want_shl_b16_d_a_b, NULL, false},
    {"shr.u32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_shr_u32_d_a_b, NULL, false},
    {"shr.s32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_shr_s32_d_a_b, NULL, false},
    {"shr.s64 d, a, b;", OP_B64, {OP_B64, OP_B32, OP_B32}, 2, want_shr_s64_d_a_b, NULL, false},
    {"shf.l.clamp.b32 d, a, b, c;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_shf_l_clamp_b32_d_a_b_c,
     NULL,
     false},
    {"shf.r.clamp.b32 d, a, b, c;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_shf_r_clamp_b32_d_a_b_c,
     NULL,
     false},
    {"shf.l.wrap.b32 d, a, b, c;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_shf_l_wrap_b32_d_a_b_c,
     NULL,
     false},
    {"shf.r.wrap.b32 d, a, b, c;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_shf_r_wrap_b32_d_a_b_c,
     NULL,
     false},
    {"bfe.u32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_bfe_u32_d_a_b_c, NULL, false},
    {"bfe.s32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_bfe_s32_d_a_b_c, NULL, false},
    {"bfe.u64 d, a, b, c;", OP_B64, {OP_B64, OP_B32, OP_B32}, 3, want_bfe_u64_d_a_b_c, NULL, false},
    {"bfe.s64 d, a, b, c;", OP_B64, {OP_B64, OP_B32, OP_B32}, 3, want_bfe_s64_d_a_b_c, NULL, false},
    {"bfi.b32 d, a, 0x5a5a1234, b, c;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_bfi_b32_d_a_0x5a5a1234_b_c,
     NULL,
     false},
    {"bfind.u32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_bfind_u32_d_a, NULL, false},
    {"bfind.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_bfind_s32_d_a, NULL, false},
    {"bfind.s64 d, a;", OP_B32, {OP_B64, OP_B32, OP_B32}, 1, want_bfind_s64_d_a, NULL, false},
    {"bfind.shiftamt.u32 d, a;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     1,
     want_bfind_shiftamt_u32_d_a,
     NULL,
     false},
    {"brev.b32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_brev_b32_d_a, NULL, false},
    {"brev.b64 d, a;", OP_B64, {OP_B64, OP_B32, OP_B32}, 1, want_brev_b64_d_a, NULL, false},
    {"clz.b32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_clz_b32_d_a, NULL, false},
    {"clz.b64 d, a;", OP_B32, {OP_B64, OP_B32, OP_B32}, 1, want_clz_b64_d_a, NULL, false},
    {"popc.b64 d, a;", OP_B32, {OP_B64, OP_B32, OP_B32}, 1, want_popc_b64_d_a, NULL, false},
    {"prmt.b32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_prmt_b32_d_a_b_c, NULL, false},
    {"prmt.b32.f4e d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_prmt_b32_f4e_d_a_b_c, NULL, false},
    {"prmt.b32.rc16 d, a, b, c;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_prmt_b32_rc16_d_a_b_c,
     NULL,
     false},
    {"lop3.b32 d, a, b, c, 0xe8;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_lop3_b32_d_a_b_c_0xe8,
     NULL,
     false},
    {"lop3.b32 d, a, b, c, 0x96;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_lop3_b32_d_a_b_c_0x96,
     NULL,
     false},
    {"lop3.b32 d, a, b, c, 0x1b;",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_lop3_b32_d_a_b_c_0x1b,
     NULL,
     false},
    {"sad.s32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_sad_s32_d_a_b_c, NULL, false},
    {"sad.u32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_sad_u32_d_a_b_c, NULL, false},
    {"add.sat.s32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_sat_s32_d_a_b, NULL, false},
    {"sub.sat.s32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_sub_sat_s32_d_a_b, NULL, false},
    {"dp4a.s32.s32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_dp4a_s32_s32_d_a_b_c, NULL, false},
    {"dp4a.u32.s32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_dp4a_u32_s32_d_a_b_c, NULL, false},
    {"cvt.u64.u32 d, a;", OP_B64, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_u64_u32_d_a, NULL, false},
    {"cvt.s64.s32 d, a;", OP_B64, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_s64_s32_d_a, NULL, false},
    {"cvt.u32.u64 d, a;", OP_B32, {OP_B64, OP_B32, OP_B32}, 1, want_cvt_u32_u64_d_a, NULL, false},
    {"cvt.s32.s8 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_s32_s8_d_a, NULL, false},
    {"cvt.sat.u8.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_sat_u8_s32_d_a, NULL, false},
    {"cvt.sat.s16.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_sat_s16_s32_d_a, NULL, false},
    {"cvt.sat.u32.s64 d, a;", OP_B32, {OP_B64, OP_B32, OP_B32}, 1, want_cvt_sat_u32_s64_d_a, NULL, false},
    {"cvt.sat.s32.u32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_sat_s32_u32_d_a, NULL, false},
    {"setp.lt.s32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_lt_s32_p_a_b, NULL, false},
    {"setp.hi.u32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_hi_u32_p_a_b, NULL, false},
    {"setp.ge.u64 p, a, b;", OP_PRED, {OP_B64, OP_B64, OP_B64}, 2, want_setp_ge_u64_p_a_b, NULL, false},
    {"setp.eq.s16 p, a, b;", OP_PRED, {OP_B16, OP_B16, OP_B16}, 2, want_setp_eq_s16_p_a_b, NULL, false},
    {"slct.u32.s32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_slct_u32_s32_d_a_b_c, NULL, false},
    {"{ .reg .b32 h; add.cc.u32 d, a, b; addc.u32 h, 0, 0; mad.lo.u32 d, h, 7, d; }",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     2,
     want_reg_b32_h_add_cc_u32_d_a_b_addc_u32_h_0,
     NULL,
     false},
    {"{ .reg .b32 h; sub.cc.u32 d, a, b; subc.u32 h, c, 0; xor.b32 d, h, d; }",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_reg_b32_h_sub_cc_u32_d_a_b_subc_u32_h_c,
     NULL,
     false},
};

TW_TEST("integer instructions do what the manual says, on vectors, on scalars and under guards") {
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        op_check(&cases[i]);
}

// SPDX-License-Identifier: Apache-2.0
//
// The .approx functions of floats: what jit/emit_math.c and jit/emit_avx512.c make, operation by operation, so that results
// are the same bits. 2^x has two forms there, of which this is the portable one: the other gives the same.
#pragma once

#include "float.h"

#define TW_KIR_APPROX(name, ...) static const f64 name[] = {__VA_ARGS__};
#include "kernel/approx.def"
#undef TW_KIR_APPROX

static inline f32 term(f32 v, f32 x, f64 coefficient) {
    return fma_f32(v, x, (f32)coefficient);
}

// 2^n for integers n in -126 … 127.
static inline f32 power_of_two(s32 n) {
    return f32_of(((u32)n + 127) << 23);
}

// 2^x = 2^n × 2^r, |r| ≤ ½; 2^n in two factors, so that results may be subnormal.
static inline f32 exp2_of(f32 x) {
    const f64 *c = exp2_terms;
    f32 most = x > 129 ? 129 : x, v = most < -160 ? -160 : most;
    f32 t = v + 0x1.8p23F,
        r = v - (t - 0x1.8p23F); // the sum is rounded to an integer, which lies in its low bits
    s32 n = (s32)(bits_f32(t) - 0x4b400000), half = n >> 1;
    f32 y = term(term(term((f32)c[6], r, c[5]), r, c[4]), r, c[3]);
    y = term(term(term(y, r, c[2]), r, c[1]), r, c[0]);
    return y * power_of_two(half) * power_of_two((s32)((u32)n - (u32)half));
}

// log2 x = k + log2 m with m in √½ … √2.
static inline f32 log2_of(f32 x) {
    const f64 *c = log2_terms;
    bool tiny = x < 0x1p-126F;
    u32 bits = bits_f32(tiny ? x * 0x1p23F : x);
    s32 k = (s32)(bits - 0x3f3504f3) >> 23; // √½
    f32 f = f32_of(bits - ((u32)k << 23)) - 1, exponent = (f32)k - (tiny ? 23.0F : 0.0F);
    f32 v = term(term(term((f32)c[9], f, c[8]), f, c[7]), f, c[6]);
    v = term(term(term(v, f, c[5]), f, c[4]), f, c[3]);
    v = term(term(term(v, f, c[2]), f, c[1]), f, c[0]);
    f32 y = fma_f32(f, v, exponent);
    y = x == __builtin_inff() ? x : y;
    y = x == 0 ? -__builtin_inff() : y;
    return x >= 0 ? y : __builtin_nanf("");
}

// x = n × π/2 + r, |r| ≤ π/4 (Cody and Waite's three parts), then sine or cosine of r by the quadrant.
static inline f32 sine_of(f32 x, u32 quarter) {
    const f64 *s = sine_terms, *c = cosine_terms;
    f32 n = __builtin_rintf(x * 0.63661977236758134F);
    f32 r = fma_f32(-n, 0x1.921fb6p+0F, x);
    r = fma_f32(-n, -0x1.777a5cp-25F, r);
    r = fma_f32(-n, -0x1.ee59dap-50F, r);
    r = r < -1 ? -1 : r;
    r = r > 1 ? 1 : r;
    f32 fours = __builtin_floorf(n * 0.25F), turn = fma_f32(fours, -4, n); // 0, 1, 2, 3
    u32 q = bits_f32(turn + 0x1.8p23F) + quarter;
    f32 z = r * r, sine = r * term(term(term((f32)s[3], z, s[2]), z, s[1]), z, s[0]);
    f32 cosine = term(term(term(term((f32)c[4], z, c[3]), z, c[2]), z, c[1]), z, c[0]);
    u32 v = bits_f32(q & 1 ? cosine : sine) ^ (q & 2) << 30;
    return abs_f32(x) < __builtin_inff() ? f32_of(v) : __builtin_nanf("");
}

// 1 - 2 / (e^2|x| + 1), and x - x³/3 near zero, where that would lose digits.
static inline f32 tanh_of(f32 x) {
    f32 a = abs_f32(x), power = exp2_of(a * 2.8853900817779268F);
    f32 far = 1 - 2 / (power + 1), near = fma_f32(a * a * a, (f32)(-1.0 / 3), a);
    return sign_f32(a < 0.2F ? near : far, bits_f32(x));
}

static inline void rsqrt_f32_v3(f32 *d, const f32 *a, [[maybe_unused]] u64 imm) {
    EACH_LANE(i)
    d[i] = 1 / __builtin_sqrtf(a[i]);
}

// The machine's estimate and one step of Newton's; what it has of 0 and infinity stays.
[[gnu::target("avx512f")]] static inline void rsqrt_f32_v4(f32 *d, const f32 *a, [[maybe_unused]] u64 imm) {
    for (unsigned i = 0; i < TW_INTERP_LANES; i += 16) {
        __m512 x = _mm512_loadu_ps(a + i), y = _mm512_rsqrt14_ps(x);
        __m512 left = _mm512_fnmadd_ps(_mm512_mul_ps(x, y), y, _mm512_set1_ps(1));
        __m512 better = _mm512_fmadd_ps(_mm512_mul_ps(y, _mm512_set1_ps(0.5F)), left, y);
        _mm512_storeu_ps(d + i, _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(left, left, _CMP_ORD_Q), better));
    }
}
#define rsqrt_f32 OF_LEVEL(rsqrt_f32)

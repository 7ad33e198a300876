// SPDX-License-Identifier: Apache-2.0
//
// Floating-point arithmetic against the C library, bit for bit, in every rounding mode.

#include "harness/test.h"

#include "floats.h"
#include "op_test.h"

// The C library's rounding modes; volatile keeps the compiler from computing at another time.
static float directed_f(char op, int mode, float x, float y) {
    volatile float a = x, b = y, r = 0;
    fesetround(mode);
    if (op == '+')
        r = a + b;
    else if (op == '-')
        r = a - b;
    else if (op == '*')
        r = a * b;
    else if (op == '/')
        r = a / b;
    else
        r = sqrtf(a);
    fesetround(FE_TONEAREST);
    return r;
}

static double directed_d(char op, int mode, double x, double y) {
    volatile double a = x, b = y, r = 0;
    fesetround(mode);
    if (op == '+')
        r = a + b;
    else if (op == '-')
        r = a - b;
    else if (op == '*')
        r = a * b;
    else
        r = a / b;
    fesetround(FE_TONEAREST);
    return r;
}

static float directed_fma(int mode, float x, float y, float z) {
    volatile float a = x, b = y, c = z, r;
    fesetround(mode);
    r = fmaf(a, b, c);
    fesetround(FE_TONEAREST);
    return r;
}

static float flushed(float f) {
    return fpclassify(f) == FP_SUBNORMAL ? copysignf(0, f) : f;
}

static float min_number(float a, float b) {
    if (isnan(a) || isnan(b))
        return isnan(a) ? b : a;
    return a == b ? (signbit(a) ? a : b) : a < b ? a : b;
}

static float max_number(float a, float b) {
    if (isnan(a) || isnan(b))
        return isnan(a) ? b : a;
    return a == b ? (signbit(a) ? b : a) : a > b ? a : b;
}

static float min_nan(float a, float b) {
    return isnan(a) || isnan(b) ? NAN : min_number(a, b);
}

static float max_nan(float a, float b) {
    return isnan(a) || isnan(b) ? NAN : max_number(a, b);
}

static uint64_t want_add_rn_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(f_of(a) + f_of(b));
}

static uint64_t want_add_rn_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(d_of(a) + d_of(b));
}

static uint64_t want_add_rz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('+', FE_TOWARDZERO, f_of(a), f_of(b)));
}

static uint64_t want_add_rz_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('+', FE_TOWARDZERO, d_of(a), d_of(b)));
}

static uint64_t want_add_rm_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('+', FE_DOWNWARD, f_of(a), f_of(b)));
}

static uint64_t want_add_rm_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('+', FE_DOWNWARD, d_of(a), d_of(b)));
}

static uint64_t want_add_rp_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('+', FE_UPWARD, f_of(a), f_of(b)));
}

static uint64_t want_add_rp_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('+', FE_UPWARD, d_of(a), d_of(b)));
}

static uint64_t want_add_ftz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(flushed(flushed(f_of(a)) + flushed(f_of(b))));
}

static uint64_t want_add_sat_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(saturated(f_of(a) + f_of(b)));
}

static uint64_t want_sub_rn_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(f_of(a) - f_of(b));
}

static uint64_t want_sub_rn_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(d_of(a) - d_of(b));
}

static uint64_t want_sub_rz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('-', FE_TOWARDZERO, f_of(a), f_of(b)));
}

static uint64_t want_sub_rz_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('-', FE_TOWARDZERO, d_of(a), d_of(b)));
}

static uint64_t want_sub_rm_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('-', FE_DOWNWARD, f_of(a), f_of(b)));
}

static uint64_t want_sub_rm_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('-', FE_DOWNWARD, d_of(a), d_of(b)));
}

static uint64_t want_sub_rp_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('-', FE_UPWARD, f_of(a), f_of(b)));
}

static uint64_t want_sub_rp_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('-', FE_UPWARD, d_of(a), d_of(b)));
}

static uint64_t want_sub_ftz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(flushed(flushed(f_of(a)) - flushed(f_of(b))));
}

static uint64_t want_sub_sat_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(saturated(f_of(a) - f_of(b)));
}

static uint64_t want_mul_rn_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(f_of(a) * f_of(b));
}

static uint64_t want_mul_rn_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(d_of(a) * d_of(b));
}

static uint64_t want_mul_rz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('*', FE_TOWARDZERO, f_of(a), f_of(b)));
}

static uint64_t want_mul_rz_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('*', FE_TOWARDZERO, d_of(a), d_of(b)));
}

static uint64_t want_mul_rm_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('*', FE_DOWNWARD, f_of(a), f_of(b)));
}

static uint64_t want_mul_rm_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('*', FE_DOWNWARD, d_of(a), d_of(b)));
}

static uint64_t want_mul_rp_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('*', FE_UPWARD, f_of(a), f_of(b)));
}

static uint64_t want_mul_rp_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('*', FE_UPWARD, d_of(a), d_of(b)));
}

static uint64_t want_mul_ftz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(flushed(flushed(f_of(a)) * flushed(f_of(b))));
}

static uint64_t want_mul_sat_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(saturated(f_of(a) * f_of(b)));
}

static uint64_t want_div_rz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('/', FE_TOWARDZERO, f_of(a), f_of(b)));
}

static uint64_t want_div_rz_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('/', FE_TOWARDZERO, d_of(a), d_of(b)));
}

static uint64_t want_sqrt_rz_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('q', FE_TOWARDZERO, f_of(a), 0));
}

static uint64_t want_rcp_rz_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('/', FE_TOWARDZERO, 1, f_of(a)));
}

static uint64_t want_fma_rz_f32(uint64_t a, uint64_t b, uint64_t c) {
    return of_f(directed_fma(FE_TOWARDZERO, f_of(a), f_of(b), f_of(c)));
}

static uint64_t want_div_rm_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('/', FE_DOWNWARD, f_of(a), f_of(b)));
}

static uint64_t want_div_rm_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('/', FE_DOWNWARD, d_of(a), d_of(b)));
}

static uint64_t want_sqrt_rm_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('q', FE_DOWNWARD, f_of(a), 0));
}

static uint64_t want_rcp_rm_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('/', FE_DOWNWARD, 1, f_of(a)));
}

static uint64_t want_fma_rm_f32(uint64_t a, uint64_t b, uint64_t c) {
    return of_f(directed_fma(FE_DOWNWARD, f_of(a), f_of(b), f_of(c)));
}

static uint64_t want_div_rp_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('/', FE_UPWARD, f_of(a), f_of(b)));
}

static uint64_t want_div_rp_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(directed_d('/', FE_UPWARD, d_of(a), d_of(b)));
}

static uint64_t want_sqrt_rp_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('q', FE_UPWARD, f_of(a), 0));
}

static uint64_t want_rcp_rp_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_f('/', FE_UPWARD, 1, f_of(a)));
}

static uint64_t want_fma_rp_f32(uint64_t a, uint64_t b, uint64_t c) {
    return of_f(directed_fma(FE_UPWARD, f_of(a), f_of(b), f_of(c)));
}

static uint64_t want_fma_rn_f32(uint64_t a, uint64_t b, uint64_t c) {
    return of_f(fmaf(f_of(a), f_of(b), f_of(c)));
}

static uint64_t want_fma_rn_f64(uint64_t a, uint64_t b, uint64_t c) {
    return of_d(fma(d_of(a), d_of(b), d_of(c)));
}

static uint64_t want_div_rn_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(f_of(a) / f_of(b));
}

static uint64_t want_div_rn_f64(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(d_of(a) / d_of(b));
}

static uint64_t want_rcp_rn_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(1.0f / f_of(a));
}

static uint64_t want_sqrt_rn_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(sqrtf(f_of(a)));
}

static uint64_t want_sqrt_rn_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(sqrt(d_of(a)));
}

static uint64_t want_neg_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(-f_of(a));
}

static uint64_t want_abs_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(fabs(d_of(a)));
}

static uint64_t want_copysign_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(copysignf(f_of(b), f_of(a)));
}

static uint64_t want_min_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(min_number(f_of(a), f_of(b)));
}

static uint64_t want_min_NaN_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(min_nan(f_of(a), f_of(b)));
}

static uint64_t want_min_ftz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(min_number(flushed(f_of(a)), flushed(f_of(b))));
}

static uint64_t want_max_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(max_number(f_of(a), f_of(b)));
}

static uint64_t want_max_NaN_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(max_nan(f_of(a), f_of(b)));
}

static uint64_t want_max_ftz_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(max_number(flushed(f_of(a)), flushed(f_of(b))));
}

// The first of two in a chain gives a quiet NaN at worst.
static uint64_t want_min_of_three(uint64_t a, uint64_t b, uint64_t c) {
    return of_f(min_number(min_number(f_of(a), f_of(b)), f_of(c)));
}

static uint64_t want_max_of_three(uint64_t a, uint64_t b, uint64_t c) {
    return of_f(max_number(max_number(f_of(a), f_of(b)), f_of(c)));
}

static const struct op_case cases[] = {
    {"add.rn.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_rn_f32, NULL, true},
    {"add.rn.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_add_rn_f64, NULL, true},
    {"add.rz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_rz_f32, NULL, true},
    {"add.rz.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_add_rz_f64, NULL, true},
    {"add.rm.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_rm_f32, NULL, true},
    {"add.rm.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_add_rm_f64, NULL, true},
    {"add.rp.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_rp_f32, NULL, true},
    {"add.rp.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_add_rp_f64, NULL, true},
    {"add.ftz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_ftz_f32, NULL, true},
    {"add.sat.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_add_sat_f32, NULL, true},
    {"sub.rn.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_sub_rn_f32, NULL, true},
    {"sub.rn.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_sub_rn_f64, NULL, true},
    {"sub.rz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_sub_rz_f32, NULL, true},
    {"sub.rz.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_sub_rz_f64, NULL, true},
    {"sub.rm.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_sub_rm_f32, NULL, true},
    {"sub.rm.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_sub_rm_f64, NULL, true},
    {"sub.rp.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_sub_rp_f32, NULL, true},
    {"sub.rp.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_sub_rp_f64, NULL, true},
    {"sub.ftz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_sub_ftz_f32, NULL, true},
    {"sub.sat.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_sub_sat_f32, NULL, true},
    {"mul.rn.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_rn_f32, NULL, true},
    {"mul.rn.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_mul_rn_f64, NULL, true},
    {"mul.rz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_rz_f32, NULL, true},
    {"mul.rz.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_mul_rz_f64, NULL, true},
    {"mul.rm.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_rm_f32, NULL, true},
    {"mul.rm.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_mul_rm_f64, NULL, true},
    {"mul.rp.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_rp_f32, NULL, true},
    {"mul.rp.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_mul_rp_f64, NULL, true},
    {"mul.ftz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_ftz_f32, NULL, true},
    {"mul.sat.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_mul_sat_f32, NULL, true},
    {"div.rz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_div_rz_f32, NULL, true},
    {"div.rz.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_div_rz_f64, NULL, true},
    {"sqrt.rz.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_sqrt_rz_f32, NULL, true},
    {"rcp.rz.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_rcp_rz_f32, NULL, true},
    {"fma.rz.f32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_fma_rz_f32, NULL, true},
    {"div.rm.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_div_rm_f32, NULL, true},
    {"div.rm.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_div_rm_f64, NULL, true},
    {"sqrt.rm.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_sqrt_rm_f32, NULL, true},
    {"rcp.rm.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_rcp_rm_f32, NULL, true},
    {"fma.rm.f32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_fma_rm_f32, NULL, true},
    {"div.rp.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_div_rp_f32, NULL, true},
    {"div.rp.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_div_rp_f64, NULL, true},
    {"sqrt.rp.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_sqrt_rp_f32, NULL, true},
    {"rcp.rp.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_rcp_rp_f32, NULL, true},
    {"fma.rp.f32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_fma_rp_f32, NULL, true},
    {"fma.rn.f32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_fma_rn_f32, NULL, true},
    {"fma.rn.f64 d, a, b, c;", OP_B64, {OP_B64, OP_B64, OP_B64}, 3, want_fma_rn_f64, NULL, true},
    {"div.rn.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_div_rn_f32, NULL, true},
    {"div.rn.f64 d, a, b;", OP_B64, {OP_B64, OP_B64, OP_B64}, 2, want_div_rn_f64, NULL, true},
    {"rcp.rn.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_rcp_rn_f32, NULL, true},
    {"sqrt.rn.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_sqrt_rn_f32, NULL, true},
    {"sqrt.rn.f64 d, a;", OP_B64, {OP_B64, OP_B64, OP_B64}, 1, want_sqrt_rn_f64, NULL, true},
    {"neg.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_neg_f32, NULL, true},
    {"abs.f64 d, a;", OP_B64, {OP_B64, OP_B64, OP_B64}, 1, want_abs_f64, NULL, true},
    {"copysign.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_copysign_f32, NULL, true},
    {"min.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_min_f32, NULL, true},
    {"min.NaN.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_min_NaN_f32, NULL, true},
    {"min.ftz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_min_ftz_f32, NULL, true},
    {"max.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_max_f32, NULL, true},
    {"max.NaN.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_max_NaN_f32, NULL, true},
    {"max.ftz.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, want_max_ftz_f32, NULL, true},
    {"{ .reg .b32 t; min.f32 t, a, b; min.f32 d, t, c; }",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_min_of_three,
     NULL,
     true},
    {"{ .reg .b32 t; max.f32 t, a, b; max.f32 d, t, c; }",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_max_of_three,
     NULL,
     true},
    {"{ .reg .b32 t; max.f32 t, a, b; max.f32 d, c, t; }",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_max_of_three,
     NULL,
     true},
};

TW_TEST("floating-point arithmetic rounds, flushes, saturates and treats NaN as the manual says") {
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        op_check(&cases[i]);
}

// SPDX-License-Identifier: Apache-2.0
//
// The .approx functions within the error that the PTX manual states, and half precision.

#include "harness/test.h"

#include "floats.h"
#include "op_test.h"

static bool accepts_half_add(uint64_t got, uint64_t a, uint64_t b, uint64_t c) {
    (void)c;
    return is_nearest_half(got, (double)half_value(a) + (double)half_value(b));
}

static bool accepts_half_fma(uint64_t got, uint64_t a, uint64_t b, uint64_t c) {
    // Exact: 22 bits of product and 11 of summand at most 2^-48 … 2^32 apart fit a long double's 64 but for
    // far smaller summands.
    long double exact = (long double)half_value(a) * (long double)half_value(b) + (long double)half_value(c);
    double odd = (double)exact;
    if ((long double)odd != exact) { // rounded to odd, so that the second rounding is right
        if (fabsl((long double)odd) > fabsl(exact))
            odd = nextafter(odd, 0);
        odd = d_of(of_d(odd) | 1);
    }
    return is_nearest_half(got, odd);
}

// |got - want| within relative × |want| or absolute; infinities, zeros and NaN must agree.
static bool close_to(uint64_t got, double want, double relative, double absolute) {
    double v = (double)f_of(got);
    if (isnan(want))
        return isnan(v);
    if (isinf(want) || fabs(want) > 0x1.fffffep127)
        return isinf(v) && signbit(v) == signbit(want);
    if (isinf(v))
        return fabs(want) > 0x1.fffffcp127;
    return fabs(v - want) <= relative * fabs(want) + absolute + 0x1p-149;
}

#define TINY 0x1p-126 // below this PTX's approximations may flush
static bool accepts_ex2(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return close_to(got, exp2((double)f_of(a)), 0x1p-22, 0);
}

static bool accepts_lg2(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    double x = (double)f_of(a);
    return x > 0.5 && x < 2 ? close_to(got, log2(x), 0, 0x1p-22) : close_to(got, log2(x), 0x1p-22, 0);
}

static bool accepts_sin(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    double x = (double)f_of(a);
    return fabs(x) > 1000 && !isinf(x) ? fabs((double)f_of(got)) <= 1.000001
                                       : close_to(got, sin(x), 0, fabs(x) > 7 ? 0x1p-14 : 0x1p-20);
}

static bool accepts_cos(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    double x = (double)f_of(a);
    return fabs(x) > 1000 && !isinf(x) ? fabs((double)f_of(got)) <= 1.000001
                                       : close_to(got, cos(x), 0, fabs(x) > 7 ? 0x1p-14 : 0x1p-20);
}

static bool accepts_tanh(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return close_to(got, tanh((double)f_of(a)), 0x1p-11, 0);
}

static bool accepts_rcp(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return close_to(got, 1 / (double)f_of(a), 0x1p-23, 0);
}

static bool accepts_rsqrt(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b,
                          [[maybe_unused]] uint64_t c) {
    return close_to(got, 1 / sqrt((double)f_of(a)), 0x1.125p-23, 0);
}

static bool accepts_sqrt(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return close_to(got, sqrt((double)f_of(a)), 0x1p-23, 0);
}

static bool accepts_div(uint64_t got, uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return close_to(got, (double)f_of(a) / (double)f_of(b), 0x1p-22, TINY);
}

static const struct op_case cases[] = {
    {"add.f16 d, a, b;", OP_B16, {OP_B16, OP_B16, OP_B16}, 2, NULL, accepts_half_add, true},
    {"fma.rn.f16 d, a, b, c;", OP_B16, {OP_B16, OP_B16, OP_B16}, 3, NULL, accepts_half_fma, true},
    {"ex2.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_ex2, true},
    {"lg2.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_lg2, true},
    {"sin.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_sin, true},
    {"cos.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_cos, true},
    {"tanh.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_tanh, true},
    {"rcp.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_rcp, true},
    {"rsqrt.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_rsqrt, true},
    {"sqrt.approx.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_sqrt, true},
    {"div.approx.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, NULL, accepts_div, true},
    {"div.full.f32 d, a, b;", OP_B32, {OP_B32, OP_B32, OP_B32}, 2, NULL, accepts_div, true},
};

TW_TEST("approximations stay within the stated error; halves round once") {
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        op_check(&cases[i]);
}

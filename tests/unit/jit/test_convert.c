// SPDX-License-Identifier: Apache-2.0
//
// Conversions, comparisons and tests of floats against the C library, bit for bit.

#include "harness/test.h"

#include "floats.h"
#include "op_test.h"

static float directed_narrow(int mode, double x) {
    volatile double a = x;
    volatile float r;
    fesetround(mode);
    r = (float)a;
    fesetround(FE_TONEAREST);
    return r;
}

static double clamped(double v, double low, double high) {
    return isnan(v) ? 0 : v < low ? low : v > high ? high : v;
}

static uint64_t to_s64(double v) {
    return isnan(v)      ? UINT64_C(1) << 63
           : v >= 0x1p63 ? INT64_MAX
           : v < -0x1p63 ? UINT64_C(1) << 63
                         : (uint64_t)(int64_t)v;
}

static uint64_t to_u64(double v) {
    return isnan(v) ? UINT64_C(1) << 63 : v >= 0x1p64 ? UINT64_MAX : v <= 0 ? 0 : (uint64_t)v;
}

static bool accepts_half(uint64_t got, uint64_t a, uint64_t b, uint64_t c) {
    (void)b;
    (void)c;
    return is_nearest_half(got, (double)f_of(a));
}

static bool accepts_bfloat(uint64_t got, uint64_t a, uint64_t b, uint64_t c) {
    (void)b;
    (void)c;
    float x = f_of(a), v = f_of(got << 16), up = f_of((got + 1) << 16), down = f_of((got - 1) << 16);
    if (isnan(x))
        return got == 0x7fff;
    if (isinf(v) || isinf(x))
        return isinf(v) && signbit(v) == signbit(x) && fabs((double)x) >= 0x1.ffp127;
    double off = fabs((double)v - (double)x);
    return signbit(v) == signbit(x) && (isinf(up) || off <= fabs((double)up - (double)x)) &&
           ((got & 0x7fff) == 0 || off <= fabs((double)down - (double)x)) &&
           (!(got & 1) || off != fabs((double)down - (double)x));
}

static uint64_t want_cvt_rz_f32_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_narrow(FE_TOWARDZERO, d_of(a)));
}

static uint64_t want_cvt_rz_f32_s32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_narrow(FE_TOWARDZERO, (double)(int32_t)(uint32_t)a));
}

static uint64_t want_cvt_rm_f32_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_narrow(FE_DOWNWARD, d_of(a)));
}

static uint64_t want_cvt_rm_f32_s32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_narrow(FE_DOWNWARD, (double)(int32_t)(uint32_t)a));
}

static uint64_t want_cvt_rp_f32_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_narrow(FE_UPWARD, d_of(a)));
}

static uint64_t want_cvt_rp_f32_s32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(directed_narrow(FE_UPWARD, (double)(int32_t)(uint32_t)a));
}

static uint64_t want_setp_lt_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return f_of(a) < f_of(b);
}

static uint64_t want_setp_equ_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return f_of(a) == f_of(b) || f_of(a) != f_of(a) || f_of(b) != f_of(b);
}

static uint64_t want_setp_neu_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return !(f_of(a) == f_of(b));
}

static uint64_t want_setp_ne_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return f_of(a) != f_of(b) && f_of(a) == f_of(a) && f_of(b) == f_of(b);
}

static uint64_t want_setp_num_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return f_of(a) == f_of(a) && f_of(b) == f_of(b);
}

static uint64_t want_setp_nan_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return f_of(a) != f_of(a) || f_of(b) != f_of(b);
}

static uint64_t want_setp_gtu_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return !(f_of(a) <= f_of(b));
}

static uint64_t want_setp_geu_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return !(f_of(a) < f_of(b));
}

static uint64_t want_setp_le_f32(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return f_of(a) <= f_of(b);
}

static uint64_t want_testp_finite_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (isfinite(f_of(a)) != 0) ? 1u : 0u;
}

static uint64_t want_testp_infinite_f32(uint64_t a, [[maybe_unused]] uint64_t b,
                                        [[maybe_unused]] uint64_t c) {
    return (isinf(f_of(a)) != 0) ? 1u : 0u;
}

static uint64_t want_testp_number_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (!isnan(f_of(a))) ? 1u : 0u;
}

static uint64_t want_testp_notanumber_f32(uint64_t a, [[maybe_unused]] uint64_t b,
                                          [[maybe_unused]] uint64_t c) {
    return (isnan(f_of(a)) != 0) ? 1u : 0u;
}

static uint64_t want_testp_normal_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return isnormal(f_of(a)) || f_of(a) == 0 ? 1u : 0u; // zeros are normal, says PTX
}

static uint64_t want_testp_subnormal_f32(uint64_t a, [[maybe_unused]] uint64_t b,
                                         [[maybe_unused]] uint64_t c) {
    return (fpclassify(f_of(a)) == FP_SUBNORMAL) ? 1u : 0u;
}

static uint64_t want_cvt_rni_s32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)(int32_t)clamped(nearbyint((double)f_of(a)), -0x1p31, 0x1p31 - 1);
}

static uint64_t want_cvt_rzi_s32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)(int32_t)clamped(trunc((double)f_of(a)), -0x1p31, 0x1p31 - 1);
}

static uint64_t want_cvt_rmi_s32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)(int32_t)clamped(floor((double)f_of(a)), -0x1p31, 0x1p31 - 1);
}

static uint64_t want_cvt_rpi_s32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)(int32_t)clamped(ceil((double)f_of(a)), -0x1p31, 0x1p31 - 1);
}

static uint64_t want_cvt_rzi_s32_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return isnan(d_of(a)) ? 0x80000000 : (uint32_t)(int32_t)clamped(trunc(d_of(a)), -0x1p31, 0x1p31 - 1);
}

static uint64_t want_cvt_rni_u32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)clamped(nearbyint((double)f_of(a)), 0, 0x1p32 - 1);
}

static uint64_t want_cvt_rzi_u32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)clamped(trunc((double)f_of(a)), 0, 0x1p32 - 1);
}

static uint64_t want_cvt_rmi_u32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)clamped(floor((double)f_of(a)), 0, 0x1p32 - 1);
}

static uint64_t want_cvt_rpi_u32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)clamped(ceil((double)f_of(a)), 0, 0x1p32 - 1);
}

static uint64_t want_cvt_rzi_u32_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return isnan(d_of(a)) ? 0x80000000 : (uint32_t)clamped(trunc(d_of(a)), 0, 0x1p32 - 1);
}

static uint64_t want_cvt_rzi_s64_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return to_s64((double)f_of(a));
}

static uint64_t want_cvt_rzi_s64_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return to_s64(d_of(a));
}

static uint64_t want_cvt_rzi_u64_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return to_u64(d_of(a));
}

static uint64_t want_cvt_rn_f32_s32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f((float)(int32_t)(uint32_t)a);
}

static uint64_t want_cvt_rn_f32_u64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f((float)a);
}

static uint64_t want_cvt_rn_f64_s64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d((double)(int64_t)a);
}

static uint64_t want_cvt_rn_f32_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f((float)d_of(a));
}

static uint64_t want_cvt_f64_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d((double)f_of(a));
}

static uint64_t want_cvt_rmi_f32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(floorf(f_of(a)));
}

static uint64_t want_cvt_rni_f64_f64(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_d(nearbyint(d_of(a)));
}

static uint64_t want_cvt_sat_f32_f32(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(saturated(f_of(a)));
}

static uint64_t want_cvt_f32_f16(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    return of_f(half_value(a));
}

static const struct op_case cases[] = {
    {"cvt.rz.f32.f64 d, a;", OP_B32, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rz_f32_f64, NULL, true},
    {"cvt.rz.f32.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rz_f32_s32, NULL, true},
    {"cvt.rm.f32.f64 d, a;", OP_B32, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rm_f32_f64, NULL, true},
    {"cvt.rm.f32.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rm_f32_s32, NULL, true},
    {"cvt.rp.f32.f64 d, a;", OP_B32, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rp_f32_f64, NULL, true},
    {"cvt.rp.f32.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rp_f32_s32, NULL, true},
    {"setp.lt.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_lt_f32, NULL, true},
    {"setp.equ.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_equ_f32, NULL, true},
    {"setp.neu.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_neu_f32, NULL, true},
    {"setp.ne.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_ne_f32, NULL, true},
    {"setp.num.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_num_f32, NULL, true},
    {"setp.nan.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_nan_f32, NULL, true},
    {"setp.gtu.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_gtu_f32, NULL, true},
    {"setp.geu.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_geu_f32, NULL, true},
    {"setp.le.f32 p, a, b;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 2, want_setp_le_f32, NULL, true},
    {"testp.finite.f32 p, a;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 1, want_testp_finite_f32, NULL, true},
    {"testp.infinite.f32 p, a;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 1, want_testp_infinite_f32, NULL, true},
    {"testp.number.f32 p, a;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 1, want_testp_number_f32, NULL, true},
    {"testp.notanumber.f32 p, a;",
     OP_PRED,
     {OP_B32, OP_B32, OP_B32},
     1,
     want_testp_notanumber_f32,
     NULL,
     true},
    {"testp.normal.f32 p, a;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 1, want_testp_normal_f32, NULL, true},
    {"testp.subnormal.f32 p, a;", OP_PRED, {OP_B32, OP_B32, OP_B32}, 1, want_testp_subnormal_f32, NULL, true},
    {"cvt.rni.s32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rni_s32_f32, NULL, true},
    {"cvt.rzi.s32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rzi_s32_f32, NULL, true},
    {"cvt.rmi.s32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rmi_s32_f32, NULL, true},
    {"cvt.rpi.s32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rpi_s32_f32, NULL, true},
    {"cvt.rzi.s32.f64 d, a;", OP_B32, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rzi_s32_f64, NULL, true},
    {"cvt.rni.u32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rni_u32_f32, NULL, true},
    {"cvt.rzi.u32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rzi_u32_f32, NULL, true},
    {"cvt.rmi.u32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rmi_u32_f32, NULL, true},
    {"cvt.rpi.u32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rpi_u32_f32, NULL, true},
    {"cvt.rzi.u32.f64 d, a;", OP_B32, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rzi_u32_f64, NULL, true},
    {"cvt.rzi.s64.f32 d, a;", OP_B64, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rzi_s64_f32, NULL, true},
    {"cvt.rzi.s64.f64 d, a;", OP_B64, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rzi_s64_f64, NULL, true},
    {"cvt.rzi.u64.f64 d, a;", OP_B64, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rzi_u64_f64, NULL, true},
    {"cvt.rn.f32.s32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rn_f32_s32, NULL, true},
    {"cvt.rn.f32.u64 d, a;", OP_B32, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rn_f32_u64, NULL, true},
    {"cvt.rn.f64.s64 d, a;", OP_B64, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rn_f64_s64, NULL, true},
    {"cvt.rn.f32.f64 d, a;", OP_B32, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rn_f32_f64, NULL, true},
    {"cvt.f64.f32 d, a;", OP_B64, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_f64_f32, NULL, true},
    {"cvt.rmi.f32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_rmi_f32_f32, NULL, true},
    {"cvt.rni.f64.f64 d, a;", OP_B64, {OP_B64, OP_B64, OP_B64}, 1, want_cvt_rni_f64_f64, NULL, true},
    {"cvt.sat.f32.f32 d, a;", OP_B32, {OP_B32, OP_B32, OP_B32}, 1, want_cvt_sat_f32_f32, NULL, true},
    {"cvt.f32.f16 d, a;", OP_B32, {OP_B16, OP_B16, OP_B16}, 1, want_cvt_f32_f16, NULL, true},
    {"cvt.rn.f16.f32 d, a;", OP_B16, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_half, true},
    {"cvt.rn.bf16.f32 d, a;", OP_B16, {OP_B32, OP_B32, OP_B32}, 1, NULL, accepts_bfloat, true},
};

TW_TEST("conversions and comparisons of floats saturate, round and treat NaN as the manual says") {
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        op_check(&cases[i]);
}

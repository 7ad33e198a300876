// SPDX-License-Identifier: Apache-2.0
//
// See plain.h: floats. f32 and f64 by the C library under its rounding modes; halves and bfloats in long double, rounded to
// odd where that is not exact, and then once to the nearest number by a search.

#include "plain.h"

#include "floats.h"
#include "small_float.h"

#define DEFINE(name) static struct plain_value name(const struct plain_inst *inst, const uint64_t in[4])

// ---- numbers ----

uint64_t plain_lane(struct plain_type type, uint64_t bits, unsigned lane) {
    return plain_low((plain_wide)(bits >> lane * (type.bits & 63)), type.bits);
}

static unsigned fraction_bits(struct plain_type type) {
    return type.kind == 'g' ? 7 : type.bits == 16 ? 10 : type.bits == 32 ? 23 : 52;
}

bool plain_is_nan(struct plain_type type, uint64_t bits) {
    unsigned f = fraction_bits(type);
    uint64_t top = (UINT64_C(1) << (type.bits - 1)) - (UINT64_C(1) << f);
    return (bits & ((UINT64_C(1) << (type.bits - 1)) - 1)) > top;
}

uint64_t plain_flushed(struct plain_type type, uint64_t bits) {
    uint64_t sign = UINT64_C(1) << (type.bits - 1);
    return (bits & (sign - 1)) < UINT64_C(1) << fraction_bits(type) ? bits & sign : bits;
}

long double plain_float(struct plain_type type, uint64_t bits) {
    float single;
    double real;
    uint32_t word = (uint32_t)bits << (type.kind == 'g' ? 16 : 0);
    if (type.bits == 64) {
        memcpy(&real, &bits, sizeof real);
        return (long double)real;
    }
    if (type.bits == 32 || type.kind == 'g') {
        memcpy(&single, &word, sizeof single);
        return (long double)single;
    }
    if (plain_is_nan(type, bits))
        return (long double)NAN;
    long double size =
        (bits & 0x7fff) == 0x7c00 ? (long double)INFINITY : small_value(&small_half, bits & 0x7fff);
    return bits & 0x8000 ? -size : size;
}

static int rounding_of(const char *direction) {
    return !strcmp(direction, "rz")   ? FE_TOWARDZERO
           : !strcmp(direction, "rm") ? FE_DOWNWARD
           : !strcmp(direction, "rp") ? FE_UPWARD
                                      : FE_TONEAREST;
}

uint64_t plain_rounded(struct plain_type type, const char *direction, long double value) {
    uint64_t bits = 0;
    int mode = rounding_of(direction);
    if (type.bits == 16)
        return small_rounded(type.kind == 'g' ? &small_bfloat : &small_half,
                             mode == FE_TOWARDZERO ? SMALL_ZERO
                             : mode == FE_DOWNWARD ? SMALL_DOWN
                             : mode == FE_UPWARD   ? SMALL_UP
                                                   : SMALL_NEAREST,
                             value);
    volatile long double exact = value;
    fesetround(mode);
    if (type.bits == 32) {
        volatile float single = (float)exact;
        bits = of_f(single);
    } else {
        volatile double real = (double)exact;
        bits = of_d(real);
    }
    fesetround(FE_TONEAREST);
    return bits;
}

const char *plain_direction(const struct plain_inst *inst) {
    return plain_has(inst, "rz") ? "rz" : plain_has(inst, "rm") ? "rm" : plain_has(inst, "rp") ? "rp" : "rn";
}

// ---- one lane ----

// a op b (+ c) cut off, and its last bit set where something was.
static long double odd(char op, long double a, long double b, long double c) {
    volatile long double x = a, y = b, z = c, value;
    fesetround(FE_TOWARDZERO);
    feclearexcept(FE_INEXACT);
    value = op == '+'   ? x + y
            : op == '-' ? x - y
            : op == '*' ? x * y
                        : x * y + z; // halves' products are exact
    bool is_inexact = fetestexcept(FE_INEXACT) != 0;
    fesetround(FE_TONEAREST);
    if (is_inexact) {
        long double result = value;
        uint64_t fraction;
        memcpy(&fraction, &result, sizeof fraction);
        fraction |= 1;
        memcpy(&result, &fraction, sizeof fraction);
        return result;
    }
    return value;
}

static uint64_t calculated32(char op, int mode, long double a, long double b, long double c) {
    volatile float x = (float)a, y = (float)b, z = (float)c, value;
    fesetround(mode);
    value = op == '+'   ? x + y
            : op == '-' ? x - y
            : op == '*' ? x * y
            : op == '/' ? x / y
            : op == 'r' ? sqrtf(x)
                        : fmaf(x, y, z);
    fesetround(FE_TONEAREST);
    return of_f(value);
}

static uint64_t calculated64(char op, int mode, long double a, long double b, long double c) {
    volatile double x = (double)a, y = (double)b, z = (double)c, value;
    fesetround(mode);
    value = op == '+'   ? x + y
            : op == '-' ? x - y
            : op == '*' ? x * y
            : op == '/' ? x / y
            : op == 'r' ? sqrt(x)
                        : fma(x, y, z);
    fesetround(FE_TONEAREST);
    return of_d(value);
}

static uint64_t calculated(const struct plain_inst *inst, char op, struct plain_type type,
                           const uint64_t in[3]) {
    long double x[3];
    int mode = rounding_of(plain_direction(inst));
    for (unsigned i = 0; i < 3; i++)
        x[i] = plain_float(type, plain_has(inst, "ftz") ? plain_flushed(type, in[i]) : in[i]);
    uint64_t bits = type.bits == 64   ? calculated64(op, mode, x[0], x[1], x[2])
                    : type.bits == 32 ? calculated32(op, mode, x[0], x[1], x[2])
                                      : plain_rounded(type, "rn", odd(op, x[0], x[1], x[2]));
    if (plain_has(inst, "ftz"))
        bits = plain_flushed(type, bits);
    long double value = plain_float(type, bits);
    if (plain_has(inst, "sat"))
        return value > 0 ? value > 1 ? plain_rounded(type, "rn", 1) : bits : 0;
    return plain_has(inst, "relu") && !plain_is_nan(type, bits) && !(value > 0) ? 0 : bits;
}

static struct plain_value by_lanes(const struct plain_inst *inst, const uint64_t in[4],
                                   uint64_t (*lane)(const struct plain_inst *, struct plain_type,
                                                    const uint64_t[3])) {
    struct plain_value value = {.type = inst->types[0]};
    for (unsigned i = 0; i < value.type.lanes; i++) {
        uint64_t parts[3];
        for (unsigned k = 0; k < 3; k++)
            parts[k] = plain_lane(value.type, in[k], i);
        value.bits |= lane(inst, value.type, parts) << i * (value.type.bits & 63);
    }
    return value;
}

#define CALCULATES(name, op)                                                                                 \
    static uint64_t name##_lane(const struct plain_inst *inst, struct plain_type type,                       \
                                const uint64_t in[3]) {                                                      \
        return calculated(inst, op, type, in);                                                               \
    }                                                                                                        \
    DEFINE(name) {                                                                                           \
        return by_lanes(inst, in, name##_lane);                                                              \
    }
CALCULATES(sum, '+')
CALCULATES(minus, '-')
CALCULATES(times, '*')
CALCULATES(fused, 'f')

static uint64_t sign_of(struct plain_type type) {
    return UINT64_C(1) << (type.bits - 1);
}
static uint64_t negative_lane(const struct plain_inst *inst, struct plain_type type, const uint64_t in[3]) {
    return (plain_has(inst, "ftz") ? plain_flushed(type, in[0]) : in[0]) ^ sign_of(type);
}
static uint64_t positive_lane(const struct plain_inst *inst, struct plain_type type, const uint64_t in[3]) {
    return (plain_has(inst, "ftz") ? plain_flushed(type, in[0]) : in[0]) & ~sign_of(type);
}
DEFINE(negative) {
    return by_lanes(inst, in, negative_lane);
}
DEFINE(positive) {
    return by_lanes(inst, in, positive_lane);
}
DEFINE(signs) {
    struct plain_type type = inst->types[0];
    return (struct plain_value){.type = type, .bits = (in[1] & ~sign_of(type)) | (in[0] & sign_of(type))};
}

// Of min and max: with .xorsign.abs the sizes are compared.
static uint64_t extreme(const struct plain_inst *inst, struct plain_type type, const uint64_t in[3],
                        bool is_max) {
    uint64_t sign = sign_of(type), a = in[0], b = in[1], crossed = (a ^ b) & sign;
    bool is_crossed = plain_has(inst, "xorsign");
    if (plain_has(inst, "ftz")) {
        a = plain_flushed(type, a);
        b = plain_flushed(type, b);
    }
    if (is_crossed) {
        a &= ~sign;
        b &= ~sign;
    }
    bool a_nan = plain_is_nan(type, a), b_nan = plain_is_nan(type, b);
    if ((a_nan && b_nan) || ((a_nan || b_nan) && plain_has(inst, "NaN")))
        return plain_rounded(type, "rn", (long double)NAN);
    long double x = plain_float(type, a), y = plain_float(type, b);
    bool a_less = x < y || (x == y && (a & sign) != 0);
    uint64_t found = a_nan ? b : b_nan ? a : a_less != is_max ? a : b;
    return is_crossed ? (found & ~sign) | crossed : found;
}
static uint64_t least_lane(const struct plain_inst *inst, struct plain_type type, const uint64_t in[3]) {
    return extreme(inst, type, in, false);
}
static uint64_t greatest_lane(const struct plain_inst *inst, struct plain_type type, const uint64_t in[3]) {
    return extreme(inst, type, in, true);
}
DEFINE(least) {
    return by_lanes(inst, in, least_lane);
}
DEFINE(greatest) {
    return by_lanes(inst, in, greatest_lane);
}

// ---- with an error that the manual states ----

static struct plain_value near_to(const struct plain_inst *inst, const uint64_t in[4],
                                  long double (*exact)(long double, long double), double relative,
                                  double absolute) {
    struct plain_value value = {.type = inst->types[0], .relative = relative, .absolute = absolute};
    struct plain_type type = value.type;
    bool flush = plain_has(inst, "ftz");
    for (unsigned i = 0; i < type.lanes; i++) {
        uint64_t a = plain_lane(type, in[0], i), b = plain_lane(type, in[1], i);
        value.near[i] = exact(plain_float(type, flush ? plain_flushed(type, a) : a),
                              plain_float(type, flush ? plain_flushed(type, b) : b));
    }
    // Below the least normal number an approximation may be zero.
    value.absolute += type.bits == 64 ? 0x1p-1022 : type.bits == 32 || type.kind == 'g' ? 0x1p-126 : 0x1p-14;
    return value;
}

static long double quotient(long double a, long double b) {
    return a / b;
}
static long double inverse(long double a, [[maybe_unused]] long double b) {
    return 1 / a;
}
static long double root(long double a, [[maybe_unused]] long double b) {
    return sqrtl(a);
}
static long double inverse_root(long double a, [[maybe_unused]] long double b) {
    return a == 0 ? copysignl(HUGE_VALL, a) : 1 / sqrtl(a);
}
static long double power(long double a, [[maybe_unused]] long double b) {
    return exp2l(a);
}
static long double tangent(long double a, [[maybe_unused]] long double b) {
    return tanhl(a);
}
static long double logarithm(long double a, [[maybe_unused]] long double b) {
    return log2l(a);
}
static long double sine(long double a, [[maybe_unused]] long double b) {
    return sinl(a);
}
static long double cosine(long double a, [[maybe_unused]] long double b) {
    return cosl(a);
}

static bool is_rounded(const struct plain_inst *inst) {
    return !plain_has(inst, "approx") && !plain_has(inst, "full");
}
static uint64_t quotient_lane(const struct plain_inst *inst, struct plain_type type, const uint64_t in[3]) {
    return calculated(inst, '/', type, in);
}
static uint64_t root_lane(const struct plain_inst *inst, struct plain_type type, const uint64_t in[3]) {
    return calculated(inst, 'r', type, in);
}
DEFINE(divided) {
    return is_rounded(inst) ? by_lanes(inst, in, quotient_lane) : near_to(inst, in, quotient, 0x1p-22, 0);
}
DEFINE(inverted) {
    const uint64_t one[4] = {plain_rounded(inst->types[0], "rn", 1), in[0]};
    bool is_double = inst->types[0].bits == 64;
    return is_rounded(inst) ? by_lanes(inst, one, quotient_lane)
                            : near_to(inst, in, inverse, is_double ? 0x1p-20 : 0x1p-23, 0);
}
DEFINE(rooted) {
    return is_rounded(inst) ? by_lanes(inst, in, root_lane) : near_to(inst, in, root, 0x1p-22, 0);
}
DEFINE(inverse_rooted) {
    return near_to(inst, in, inverse_root, inst->types[0].bits == 64 ? 0x1p-19 : 0x1.125p-23, 0);
}
DEFINE(powered) {
    struct plain_type type = inst->types[0];
    return near_to(inst, in, power, type.bits == 32 ? 0x1p-22 : type.kind == 'g' ? 0x1p-7 : 0x1.2p-10, 0);
}
DEFINE(tangents) {
    struct plain_type type = inst->types[0];
    return near_to(inst, in, tangent, type.bits == 32 ? 0x1p-11 : 0,
                   type.bits == 32    ? 0
                   : type.kind == 'g' ? 0x1p-8
                                      : 0x1.03p-11);
}
DEFINE(logarithms) {
    long double x = plain_float(inst->types[0], in[0]);
    bool is_middle = x > 0.5L && x < 2;
    return near_to(inst, in, logarithm, is_middle ? 0 : 0x1p-22, is_middle ? 0x1p-22 : 0);
}
DEFINE(waves) {
    bool is_sine = strcmp(inst->name, "sin") == 0;
    long double size = fabsl(plain_float(inst->types[0], in[0]));
    struct plain_value value = near_to(inst, in, is_sine ? sine : cosine, 0, size > 7 ? 0x1p-14 : 0x1p-20);
    value.is_any = size > 1000 && !isinf(size); // the error grows with the angle
    return value;
}

const struct plain_row plain_floats[] = {
    {"real add", "t=tt", sum},
    {"real sub", "t=tt", minus},
    {"real mul", "t=tt", times},
    {"real mad", "t=ttt", fused},
    {"fma", "t=ttt", fused},
    {"real neg", "t=t", negative},
    {"real abs", "t=t", positive},
    {"real min", "t=tt", least},
    {"real max", "t=tt", greatest},
    {"real div", "t=tt", divided},
    {"rcp", "t=t", inverted},
    {"sqrt", "t=t", rooted},
    {"rsqrt", "t=t", inverse_rooted},
    {"sin", "t=t", waves},
    {"cos", "t=t", waves},
    {"lg2", "t=t", logarithms},
    {"ex2", "t=t", powered},
    {"tanh", "t=t", tangents},
    {"copysign", "t=tt", signs},
    {},
};

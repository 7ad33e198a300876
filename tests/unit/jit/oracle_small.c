// SPDX-License-Identifier: Apache-2.0
//
// See oracle_parts.h: floats of 16 and 8 bits. Sums are worked out in double and rounded to odd, after which rounding
// to the small type is right (Boldo and Melquiond 2008).

#include <math.h>

#include "oracle_parts.h"
#include "small_float.h"

static const struct small_float *kind_of(unsigned type) {
    switch (type) {
    case TW_KIR_F16:
    case TW_KIR_F16X2:
        return &small_half;
    case TW_KIR_BF16:
    case TW_KIR_BF16X2:
        return &small_bfloat;
    case TW_KIR_E4M3X2:
        return &small_e4m3;
    case TW_KIR_E5M2X2:
        return &small_e5m2;
    default:
        return NULL;
    }
}

static double value_of(const struct small_float *s, uint64_t code) {
    unsigned width = s->fraction + s->exponent;
    uint32_t size = (uint32_t)code & ((1u << width) - 1);
    bool is_nan = size > s->most + 1 || size == s->nan; // e4m3 has no infinity
    double value = is_nan ? NAN : size > s->most ? INFINITY : (double)small_value(s, size);
    return code >> width & 1 ? -value : value;
}

static double sum_to_odd(double a, double b) {
    double sum = a + b, part = sum - a, rest = (a - (sum - part)) + (b - part);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if (!isfinite(sum) || rest == 0 || bits & 1)
        return sum;
    return nextafter(sum, rest > 0 ? INFINITY : -INFINITY);
}

static bool is_smaller(double a, double b) {
    return isnan(b) || a < b || (a == b && signbit(a) && !signbit(b));
}

bool oracle_small(const struct tw_kir_inst *inst, const uint64_t s[3], uint64_t *ret_value) {
    const struct small_float *kind = kind_of(inst->type);
    if (!kind || (inst->type != TW_KIR_F16 && inst->type != TW_KIR_BF16))
        return false;
    double x = value_of(kind, s[0]), y = value_of(kind, s[1]), z = value_of(kind, s[2]), value = 0;
    switch (inst->op) {
    case TW_KIR_NEG:
        *ret_value = s[0] ^ 0x8000;
        return true;
    case TW_KIR_ABS:
        *ret_value = s[0] & 0x7fff;
        return true;
    case TW_KIR_ADD:
        value = sum_to_odd(x, y);
        break;
    case TW_KIR_SUB:
        value = sum_to_odd(x, -y);
        break;
    case TW_KIR_MUL:
        value = x * y; // exact
        break;
    case TW_KIR_FMA:
        value = sum_to_odd(x * y, z);
        break;
    case TW_KIR_MIN:
        value = isnan(x) ? y : is_smaller(x, y) ? x : y;
        break;
    case TW_KIR_MAX:
        value = isnan(x) ? y : isnan(y) || is_smaller(y, x) ? x : y;
        break;
    default:
        return false;
    }
    *ret_value = small_rounded(kind, SMALL_NEAREST, (long double)value);
    if (inst->mods & TW_KIR_RELU && *ret_value >> 15)
        *ret_value = 0;
    return true;
}

static double wide_value(unsigned type, uint64_t bits) {
    float single;
    double value;
    if (kind_of(type))
        return value_of(kind_of(type), bits);
    if (type == TW_KIR_F32) {
        uint32_t word = (uint32_t)bits;
        memcpy(&single, &word, sizeof single);
        return (double)single;
    }
    if (type == TW_KIR_F64) {
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    unsigned shift = 64 - tw_kir_type_bits((enum tw_kir_type)type);
    return tw_kir_type_is_signed((enum tw_kir_type)type) ? (double)((int64_t)(bits << shift) >> shift)
                                                         : (double)bits;
}

// Two of eight bits each, or two of sixteen.
static uint64_t pair(const struct tw_kir_inst *inst, const struct small_float *to, const uint64_t s[2]) {
    unsigned width = 1 + to->fraction + to->exponent;
    const struct small_float *from = kind_of(inst->type2);
    double upper, lower;
    if (from) {
        unsigned step = 1 + from->fraction + from->exponent;
        upper = value_of(from, s[0] >> step);
        lower = value_of(from, s[0] & ((UINT64_C(1) << step) - 1));
    } else {
        upper = wide_value(inst->type2, s[0]);
        lower = wide_value(inst->type2, s[1]);
    }
    return (uint64_t)small_rounded(to, SMALL_NEAREST, (long double)upper) << width |
           small_rounded(to, SMALL_NEAREST, (long double)lower);
}

bool oracle_small_convert(const struct tw_kir_inst *inst, const uint64_t s[2], uint64_t *ret_value) {
    const struct small_float *to = kind_of(inst->type);
    if (to && inst->type != TW_KIR_F16 && inst->type != TW_KIR_BF16) {
        *ret_value = pair(inst, to, s);
        return true;
    }
    enum small_direction direction = inst->round == TW_KIR_RZ   ? SMALL_ZERO
                                     : inst->round == TW_KIR_RM ? SMALL_DOWN
                                     : inst->round == TW_KIR_RP ? SMALL_UP
                                                                : SMALL_NEAREST;
    double value = wide_value(inst->type2, s[0]);
    if (to) {
        *ret_value = small_rounded(to, direction, (long double)value);
        return true;
    }
    if (inst->type != TW_KIR_F32 || !kind_of(inst->type2))
        return false;
    float single = (float)value;
    uint32_t word;
    memcpy(&word, &single, sizeof word);
    *ret_value = word;
    return true;
}

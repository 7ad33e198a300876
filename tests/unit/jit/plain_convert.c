// SPDX-License-Identifier: Apache-2.0
//
// See plain.h: conversions.

#include "plain.h"

#include <math.h>

#include "small_float.h"

static bool is_real(struct plain_type type) {
    return type.kind == 'f' || type.kind == 'g';
}

// To the width of the register that holds it: 16 bits at least.
static struct plain_value in_register(struct plain_type type, plain_wide value) {
    return plain_bits(value, type.bits < 16 ? 16 : type.bits);
}

// To a whole number of the float's own type.
static long double whole(const struct plain_inst *inst, long double value) {
    return plain_has(inst, "rni")   ? nearbyintl(value)
           : plain_has(inst, "rzi") ? truncl(value)
           : plain_has(inst, "rmi") ? floorl(value)
           : plain_has(inst, "rpi") ? ceill(value)
                                    : value;
}

static struct plain_value to_integer(struct plain_type to, struct plain_type from, long double value) {
    bool is_long = from.bits == 64 || to.bits == 64;
    if (isnan(value))
        return in_register(to, is_long ? plain_number(to, UINT64_C(1) << (to.bits - 1)) : 0);
    long double most = ldexpl(1, 70);
    return in_register(to, plain_clamped(to, (plain_wide)(value > most    ? most
                                                          : value < -most ? -most
                                                                          : value)));
}

static uint64_t to_tf32(const struct plain_inst *inst, uint64_t bits) {
    struct plain_type f32 = {'f', 32, 1};
    uint64_t size = bits & 0x7fffffff, kept = size & ~UINT64_C(0x1fff), below = size & 0x1fff;
    if (plain_is_nan(f32, bits))
        return 0x7fffffff;
    bool up = plain_has(inst, "rna")  ? below >= 0x1000
              : plain_has(inst, "rz") ? false
                                      : below > 0x1000 || (below == 0x1000 && kept & 0x2000);
    return (bits & 0x80000000) | (size == 0x7f800000 ? size : kept + (up ? 0x2000 : 0));
}

// One lane of a float's conversion to a float.
static uint64_t to_float(const struct plain_inst *inst, struct plain_type to, struct plain_type from,
                         uint64_t bits) {
    bool flush = plain_has(inst, "ftz");
    if (flush && from.bits == 32)
        bits = plain_flushed(from, bits);
    long double value = whole(inst, plain_float(from, bits));
    if (plain_has(inst, "relu") && !isnan(value) && !(value > 0))
        value = 0;
    uint64_t result = to.kind == 't' ? to_tf32(inst, bits) : plain_rounded(to, plain_direction(inst), value);
    if (flush && to.bits == 32)
        result = plain_flushed(to, result);
    if (plain_has(inst, "sat")) {
        value = plain_float(to, result);
        result = !(value > 0) ? 0 : value > 1 ? plain_rounded(to, "rn", 1) : result;
    }
    return result;
}

static const struct small_float *byte_of(struct plain_type type) {
    return type.kind == 'e' ? &small_e4m3 : &small_e5m2;
}

static uint64_t to_byte(const struct plain_inst *inst, struct plain_type to, long double value) {
    if (plain_has(inst, "relu") && value < 0)
        value = 0;
    return small_rounded(byte_of(to), SMALL_NEAREST, value);
}

static uint64_t half_of_byte(const struct plain_inst *inst, struct plain_type from, uint64_t byte) {
    uint64_t size = byte & 0x7f, infinity = from.kind == 'm' ? 0x7c : 0x80;
    if (from.kind == 'e' ? size == 0x7f : size > infinity)
        return 0x7fff;
    uint64_t half = size == infinity ? 0x7c00
                                     : small_rounded(&small_half, SMALL_NEAREST,
                                                     small_value(byte_of(from), (uint32_t)size));
    return byte & 0x80 ? plain_has(inst, "relu") ? 0 : half | 0x8000 : half;
}

// Two values in one register: of two sources the first is the upper; of one, lane by lane.
static struct plain_value to_pair(const struct plain_inst *inst, const uint64_t in[4]) {
    struct plain_type to = inst->types[0], from = inst->types[1], f16 = {'f', 16, 2};
    struct plain_value value = {.type = to.bits == 8 ? (struct plain_type){'b', 16, 1} : to};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t bits = from.lanes == 2 ? plain_lane(from, in[0], i) : in[1 - i];
        struct plain_type lane = from.lanes == 2 && from.bits == 16 ? f16 : from;
        uint64_t part = from.bits == 8 ? half_of_byte(inst, from, bits)
                        : to.bits == 8 ? to_byte(inst, to, plain_float(lane, bits))
                                       : to_float(inst, to, from, bits);
        value.bits |= part << i * to.bits;
    }
    return value;
}

// cvt.pack: the first source's the upper; parts of eight bits and fewer go below c, moved up.
static struct plain_value packed(const struct plain_inst *inst, const uint64_t in[4]) {
    struct plain_type to = inst->types[0];
    uint64_t upper = plain_low(plain_clamped(to, plain_number(inst->types[1], in[0])), to.bits),
             lower = plain_low(plain_clamped(to, plain_number(inst->types[1], in[1])), to.bits);
    return plain_bits((plain_wide)((to.bits <= 8 ? in[2] << 2 * to.bits : 0) | upper << to.bits | lower), 32);
}

static struct plain_value convert(const struct plain_inst *inst, const uint64_t in[4]) {
    struct plain_type to = inst->types[0], from = inst->types[1];
    if (plain_has(inst, "pack"))
        return packed(inst, in);
    if (to.lanes == 2)
        return to_pair(inst, in);
    if (is_real(from) && (is_real(to) || to.kind == 't'))
        return (struct plain_value){.bits = to_float(inst, to, from, in[0]),
                                    .type = to.kind == 't' ? (struct plain_type){'f', 32, 1} : to};
    if (is_real(from)) {
        uint64_t bits = plain_has(inst, "ftz") ? plain_flushed(from, in[0]) : in[0];
        return to_integer(to, from, whole(inst, plain_float(from, bits)));
    }
    plain_wide number = plain_number(from, in[0]);
    if (!is_real(to)) {
        number =
            plain_has(inst, "sat") ? plain_clamped(to, number) : plain_number(to, plain_low(number, to.bits));
        return in_register(to, number);
    }
    uint64_t bits = plain_rounded(to, plain_direction(inst), (long double)number);
    if (plain_has(inst, "sat"))
        bits = number < 1 ? 0 : plain_rounded(to, "rn", 1);
    return (struct plain_value){.bits = bits, .type = to};
}

const struct plain_row plain_converts[] = {{"cvt", "", convert}, {}};

// SPDX-License-Identifier: Apache-2.0
//
// See plain.h: video instructions, on one value and on packed lanes, without parts and selectors.

#include "plain.h"

typedef plain_wide wide;

// What the name says, without the v and the count of lanes behind it.
static bool is(const struct plain_inst *inst, const char *word) {
    size_t len = strlen(word);
    const char *behind = inst->name + 1 + len;
    return strncmp(inst->name + 1, word, len) == 0 && (!*behind || *behind == '2' || *behind == '4');
}

static wide shifted(const struct plain_inst *inst, wide a, uint64_t b) {
    unsigned n = plain_has(inst, "wrap") ? b & 31 : b > 32 ? 32 : (unsigned)b;
    return is(inst, "shl") ? a * ((wide)1 << n) : a >> n;
}

static wide lane_value(const struct plain_inst *inst, wide a, wide b) {
    if (is(inst, "add"))
        return a + b;
    if (is(inst, "sub"))
        return a - b;
    if (is(inst, "absdiff"))
        return a < b ? b - a : a - b;
    if (is(inst, "min"))
        return a < b ? a : b;
    if (is(inst, "max"))
        return a > b ? a : b;
    return a + b < 0 ? (a + b) >> 1 : (a + b + 1) >> 1; // vavrg
}

// A second operation with c: .add, .min, .max.
static struct plain_value merged(const struct plain_inst *inst, bool is_signed, wide value, uint64_t c) {
    struct plain_type type = {is_signed ? 's' : 'u', 32, 1};
    wide a = plain_number(type, plain_low(value, 32)), b = plain_number(type, c);
    if (plain_has(inst, "add"))
        a += b;
    else if (plain_has(inst, "min"))
        a = a < b ? a : b;
    else if (plain_has(inst, "max"))
        a = a > b ? a : b;
    return plain_bits(a, 32);
}

static struct plain_value alone(const struct plain_inst *inst, const uint64_t in[4]) {
    bool is_set = is(inst, "set");
    struct plain_type a = inst->types[is_set ? 0 : 1], b = inst->types[is_set ? 1 : 2],
                      to = is_set ? (struct plain_type){'u', 32, 1} : inst->types[0];
    wide x = plain_number(a, in[0]), y = plain_number(b, in[1]);
    wide value;
    if (is_set)
        value = plain_compare(inst, (struct plain_type){'s', 64, 1}, (uint64_t)x, (uint64_t)y);
    else if (is(inst, "shl") || is(inst, "shr"))
        value = shifted(inst, x, plain_low((wide)in[1], 32));
    else
        value = lane_value(inst, x, y);
    if (plain_has(inst, "sat"))
        value = plain_clamped(to, value);
    return merged(inst, to.kind == 's', value, in[2]);
}

// With .add the lanes' results go to c as one sum; without, c's lanes are those that a mask leaves out: none here.
static struct plain_value lanes(const struct plain_inst *inst, const uint64_t in[4]) {
    bool is_set = is(inst, "set"), adds = plain_has(inst, "add");
    unsigned bits = inst->name[strlen(inst->name) - 1] == '2' ? 16 : 8;
    struct plain_type a = {inst->types[is_set ? 0 : 1].kind, bits, 1},
                      b = {inst->types[is_set ? 1 : 2].kind, bits, 1},
                      to = {is_set ? 'u' : inst->types[0].kind, bits, 1};
    uint64_t word = 0;
    wide total = (wide)in[2];
    for (unsigned at = 0; at < 32; at += bits) {
        wide x = plain_number(a, in[0] >> at), y = plain_number(b, in[1] >> at);
        wide value = is_set ? plain_compare(inst, (struct plain_type){'s', 64, 1}, (uint64_t)x, (uint64_t)y)
                            : lane_value(inst, x, y);
        if (plain_has(inst, "sat"))
            value = plain_clamped(to, value);
        word |= plain_low(value, bits) << at;
        total += value;
    }
    return plain_bits(adds ? total : (wide)word, 32);
}

// a × b + c in 64 bits, + 1 with .po, shifted, then to 32 bits.
static struct plain_value multiply_add(const struct plain_inst *inst, const uint64_t in[4]) {
    struct plain_type a = inst->types[1], b = inst->types[2];
    bool is_signed = a.kind == 's' || b.kind == 's';
    struct plain_type c = {is_signed ? 's' : 'u', 32, 1};
    wide value = plain_number(a, in[0]) * plain_number(b, in[1]) + plain_number(c, in[2]) +
                 (plain_has(inst, "po") ? 1 : 0);
    value >>= plain_has(inst, "shr7") ? 7 : plain_has(inst, "shr15") ? 15 : 0;
    return plain_bits(plain_has(inst, "sat") ? plain_clamped(c, value) : value, 32);
}

const struct plain_row plain_videos[] = {
    {"vadd", "r=rrr", alone},      {"vsub", "r=rrr", alone},      {"vabsdiff", "r=rrr", alone},
    {"vmin", "r=rrr", alone},      {"vmax", "r=rrr", alone},      {"vshl", "r=rrr", alone},
    {"vshr", "r=rrr", alone},      {"vset", "r=rrr", alone},      {"vmad", "r=rrr", multiply_add},
    {"vadd2", "r=rrr", lanes},     {"vadd4", "r=rrr", lanes},     {"vsub2", "r=rrr", lanes},
    {"vsub4", "r=rrr", lanes},     {"vavrg2", "r=rrr", lanes},    {"vavrg4", "r=rrr", lanes},
    {"vabsdiff2", "r=rrr", lanes}, {"vabsdiff4", "r=rrr", lanes}, {"vmin2", "r=rrr", lanes},
    {"vmin4", "r=rrr", lanes},     {"vmax2", "r=rrr", lanes},     {"vmax4", "r=rrr", lanes},
    {"vset2", "r=rrr", lanes},     {"vset4", "r=rrr", lanes},     {},
};

// SPDX-License-Identifier: Apache-2.0
//
// See plain.h: integers and bits, with 128 bits to work in.

#include "plain.h"

typedef plain_wide wide;

#define DEFINE(name)                                                                                         \
    static struct plain_value name([[maybe_unused]] const struct plain_inst *inst, const uint64_t in[4])

static struct plain_value whole(const struct plain_inst *inst, wide value) {
    struct plain_type type = inst->types[0];
    return plain_bits(plain_has(inst, "sat") ? plain_clamped(type, value) : value, type.bits);
}

static wide source(const struct plain_inst *inst, const uint64_t in[4], unsigned index) {
    return plain_number(inst->types[0], in[index]);
}

DEFINE(add) {
    return whole(inst, source(inst, in, 0) + source(inst, in, 1));
}
DEFINE(subtract) {
    return whole(inst, source(inst, in, 0) - source(inst, in, 1));
}

// addc, subc and madc begin with the carry, which comes in as in[3] & 1; all leave it as `second`.
static unsigned carried(const struct plain_inst *inst, const uint64_t in[4]) {
    return inst->name[strlen(inst->name) - 1] == 'c' ? in[3] & 1 : 0;
}
DEFINE(add_carry) {
    unsigned bits = inst->types[0].bits;
    wide sum = (wide)plain_low((wide)in[0], bits) + (wide)plain_low((wide)in[1], bits) + carried(inst, in);
    struct plain_value value = plain_bits(sum, bits);
    value.second = (uint64_t)(sum >> bits) & 1;
    return value;
}
DEFINE(subtract_carry) {
    unsigned bits = inst->types[0].bits;
    wide rest = (wide)plain_low((wide)in[0], bits) - (wide)plain_low((wide)in[1], bits) - carried(inst, in);
    struct plain_value value = plain_bits(rest, bits);
    value.second = rest < 0;
    return value;
}

// What mul, mad and madc take of the product.
static wide product(const struct plain_inst *inst, const uint64_t in[4]) {
    // modulo 2^128, which is enough for two u64s
    wide all = (wide)((unsigned __int128)source(inst, in, 0) * (unsigned __int128)source(inst, in, 1));
    if (plain_has(inst, "hi") && inst->types[0].bits == 64 && inst->types[0].kind == 'u')
        return (wide)((unsigned __int128)all >> 64);
    return plain_has(inst, "hi") ? all >> inst->types[0].bits : all;
}
DEFINE(multiply) {
    return plain_bits(product(inst, in), inst->types[0].bits * (plain_has(inst, "wide") ? 2 : 1));
}
DEFINE(multiply_add) {
    struct plain_type sum = inst->types[0];
    sum.bits *= plain_has(inst, "wide") ? 2 : 1;
    wide value = (plain_has(inst, "hi") ? product(inst, in) : (wide)plain_low(product(inst, in), sum.bits)) +
                 plain_number(sum, in[2]);
    return plain_bits(plain_has(inst, "sat") ? plain_clamped(sum, value) : value, sum.bits);
}
DEFINE(multiply_add_carry) {
    unsigned bits = inst->types[0].bits;
    wide sum =
        (wide)plain_low(product(inst, in), bits) + (wide)plain_low((wide)in[2], bits) + carried(inst, in);
    struct plain_value value = plain_bits(sum, bits);
    value.second = (uint64_t)(sum >> bits) & 1;
    return value;
}
DEFINE(multiply24) {
    struct plain_type type = {inst->types[0].kind, 24, 1};
    wide value = plain_number(type, in[0]) * plain_number(type, in[1]);
    value = plain_has(inst, "hi") ? value >> 16 : (wide)plain_number(inst->types[0], plain_low(value, 32));
    if (strcmp(inst->name, "mad24") == 0)
        value = (wide)plain_number(inst->types[0], plain_low(value, 32)) + source(inst, in, 2);
    return whole(inst, value);
}
DEFINE(difference) {
    wide a = source(inst, in, 0), b = source(inst, in, 1);
    return whole(inst, source(inst, in, 2) + (a < b ? b - a : a - b));
}
DEFINE(divide) {
    wide a = source(inst, in, 0), b = source(inst, in, 1);
    return whole(inst, b ? a / b : -1); // the manual leaves a division by zero open; this is what GPUs give
}
DEFINE(rest) {
    wide a = source(inst, in, 0), b = source(inst, in, 1);
    return whole(inst, b ? a % b : a);
}
DEFINE(bit_count) {
    return plain_bits(__builtin_popcountll(plain_low((wide)in[0], inst->types[0].bits)), 32);
}
DEFINE(zero_count) {
    unsigned count = 0, bits = inst->types[0].bits;
    while (count < bits && !(in[0] >> (bits - 1 - count) & 1))
        count++;
    return plain_bits(count, 32);
}
DEFINE(find_first) {
    unsigned bits = inst->types[0].bits;
    wide a = source(inst, in, 0);
    uint64_t word = plain_low(a < 0 ? ~a : a, bits);
    for (unsigned i = bits; i-- > 0;)
        if (word >> i & 1)
            return plain_bits(plain_has(inst, "shiftamt") ? bits - 1 - i : i, 32);
    return plain_bits(-1, 32);
}
DEFINE(find_nth) {
    int base = (int)(uint32_t)in[1], count = (int)(uint32_t)in[2], at = base;
    struct plain_value none = plain_bits(-1, 32);
    if (base < 0 || base > 31) { // the manual wants less than 32
        none.is_any = true;
        return none;
    }
    if (count == 0)
        return in[0] >> base & 1 ? plain_bits(base, 32) : none;
    for (int64_t left = llabs((int64_t)count); at >= 0 && at < 32; at += count > 0 ? 1 : -1)
        if ((in[0] >> at & 1) && --left == 0)
            return plain_bits(at, 32);
    return none;
}
DEFINE(reverse) {
    uint64_t value = 0;
    for (unsigned i = 0, bits = inst->types[0].bits; i < bits; i++)
        value |= (in[0] >> i & 1) << (bits - 1 - i);
    return plain_bits((wide)value, inst->types[0].bits);
}
DEFINE(extract) {
    unsigned bits = inst->types[0].bits, at = in[1] & 255, len = in[2] & 255,
             top = at + len - 1 < bits - 1 ? at + len - 1 : bits - 1;
    uint64_t value = 0, fill = inst->types[0].kind == 's' && len ? in[0] >> top & 1 : 0;
    for (unsigned i = 0; i < bits; i++)
        value |= (i < len && at + i < bits ? in[0] >> (at + i) & 1 : fill) << i;
    return plain_bits((wide)value, bits);
}
DEFINE(insert) {
    uint64_t value = in[1];
    for (unsigned i = 0, at = in[2] & 255; i < (in[3] & 255) && at + i < inst->types[0].bits; i++)
        value = (value & ~(UINT64_C(1) << (at + i))) | (in[0] >> i & 1) << (at + i);
    return plain_bits((wide)value, inst->types[0].bits);
}
DEFINE(extend) {
    unsigned len = plain_has(inst, "wrap") ? in[1] & 31 : in[1] > 32 ? 32 : (unsigned)in[1];
    return plain_bits(len ? plain_number((struct plain_type){inst->types[0].kind, len, 1}, in[0]) : 0, 32);
}
DEFINE(bit_mask) {
    bool wraps = plain_has(inst, "wrap");
    unsigned at = wraps        ? in[0] & 31
                  : in[0] > 32 ? 32
                               : (unsigned)in[0],
             len = wraps        ? in[1] & 31
                   : in[1] > 32 ? 32
                                : (unsigned)in[1];
    return plain_bits((((wide)1 << len) - 1) << at, 32);
}
DEFINE(dot) {
    bool is_two = strcmp(inst->name, "dp2a") == 0;
    struct plain_type a = {inst->types[0].kind, is_two ? 16 : 8, 1}, b = {inst->types[1].kind, 8, 1};
    wide sum = (wide)in[2];
    for (unsigned i = 0; i < (is_two ? 2 : 4); i++)
        sum += plain_number(a, in[0] >> i * a.bits) *
               plain_number(b, in[1] >> (plain_has(inst, "hi") ? 16 : 0) >> i * 8);
    return plain_bits(sum, 32);
}
DEFINE(bitwise) {
    uint64_t a = in[0], b = in[1], value = ~a;
    if (strcmp(inst->name, "and") == 0)
        value = a & b;
    else if (strcmp(inst->name, "or") == 0)
        value = a | b;
    else if (strcmp(inst->name, "xor") == 0)
        value = a ^ b;
    return plain_bits((wide)value, inst->types[0].bits);
}
DEFINE(is_zero) {
    return plain_bits(source(inst, in, 0) == 0, inst->types[0].bits);
}

// By a table that stands behind the operands, which are the test's: 0x1b; with .and and .or, the predicate `in[3]` too.
DEFINE(look_up) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 32; i++)
        value |= (uint64_t)(0x1b >> ((in[0] >> i & 1) * 4 + (in[1] >> i & 1) * 2 + (in[2] >> i & 1)) & 1)
                 << i;
    struct plain_value result = plain_bits((wide)value, 32);
    result.second = plain_has(inst, "and") ? value != 0 && (in[3] & 1) : value != 0 || (in[3] & 1);
    return result;
}
DEFINE(funnel) {
    uint64_t both = in[1] << 32 | in[0];
    unsigned n = plain_has(inst, "wrap") ? in[2] & 31 : in[2] > 32 ? 32 : (unsigned)in[2];
    return plain_bits(plain_has(inst, "l") ? (wide)((unsigned __int128)both << n >> 32) : (wide)both >> n,
                      32);
}
DEFINE(shift_left) {
    unsigned n = in[1] > 64 ? 64 : (unsigned)in[1];
    return whole(inst, (wide)((unsigned __int128)in[0] << n));
}
DEFINE(shift_right) {
    return whole(inst, source(inst, in, 0) >> (in[1] > 64 ? 64 : in[1]));
}
DEFINE(permute) {
    static const struct {
        const char *mode;
        uint32_t selectors[4];
    } modes[] = {{"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}},
                 {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}}, {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}},
                 {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}}};
    uint64_t both = in[1] << 32 | in[0], value = 0, control = in[2];
    for (size_t i = 0; i < TW_COUNT(modes); i++)
        if (plain_has(inst, modes[i].mode))
            control = modes[i].selectors[in[2] & 3];
    for (unsigned i = 0; i < 4; i++) {
        unsigned pick = control >> 4 * i & 15;
        uint64_t byte = both >> 8 * (pick & 7) & 255;
        value |= (pick & 8 ? byte >> 7 ? 255u : 0 : byte) << 8 * i;
    }
    return plain_bits((wide)value, 32);
}

const struct plain_row plain_integers[] = {
    {"addc", "t=tt", add_carry},
    {"subc", "t=tt", subtract_carry},
    {"madc", "t=ttt", multiply_add_carry},
    {"mul24", "t=tt", multiply24},
    {"mad24", "t=ttt", multiply24},
    {"sad", "t=ttt", difference},
    {"rem", "t=tt", rest},
    {"popc", "r=t", bit_count},
    {"clz", "r=t", zero_count},
    {"bfind", "r=t", find_first},
    {"fns", "r=rrr", find_nth},
    {"brev", "t=t", reverse},
    {"bfe", "t=trr", extract},
    {"bfi", "t=ttrr", insert},
    {"szext", "r=rr", extend},
    {"bmsk", "r=rr", bit_mask},
    {"dp4a", "r=rrr", dot},
    {"dp2a", "r=rrr", dot},
    {"and", "t=tt", bitwise},
    {"or", "t=tt", bitwise},
    {"xor", "t=tt", bitwise},
    {"not", "t=t", bitwise},
    {"cnot", "t=t", is_zero},
    {"lop3", "r=rrr", look_up},
    {"shf", "r=rrr", funnel},
    {"shl", "t=tr", shift_left},
    {"shr", "t=tr", shift_right},
    {"prmt", "r=rrr", permute},
    {"int add", "t=tt", add},
    {"int sub", "t=tt", subtract},
    {"int mul", "d=tt", multiply},
    {"int mad", "d=ttd", multiply_add},
    {"int div", "t=tt", divide},
    {"int add carry", "t=tt", add_carry},
    {"int sub carry", "t=tt", subtract_carry},
    {"int mad carry", "t=ttt", multiply_add_carry},
    {},
};

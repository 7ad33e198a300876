// SPDX-License-Identifier: Apache-2.0
//
// See plain.h: comparisons, choices and moves; the least, greatest, absolute and negated integers.

#include "plain.h"

#include <math.h>

#define DEFINE(name) static struct plain_value name(const struct plain_inst *inst, const uint64_t in[4])

// -1, 0, 1; 2 where one is no number.
static int order_of(const struct plain_inst *inst, struct plain_type type, uint64_t a, uint64_t b) {
    if (type.kind != 'f' && type.kind != 'g') {
        plain_wide x = plain_number(type, a), y = plain_number(type, b);
        return (x > y) - (x < y);
    }
    bool flush = plain_has(inst, "ftz");
    long double x = plain_float(type, flush ? plain_flushed(type, a) : a),
                y = plain_float(type, flush ? plain_flushed(type, b) : b);
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

bool plain_compare(const struct plain_inst *inst, struct plain_type type, uint64_t a, uint64_t b) {
    static const struct {
        const char *name, *orders; // what is true: < = > ?
    } names[] = {{"eq", "="},   {"ne", "<>"},   {"lt", "<"},   {"le", "<="},   {"gt", ">"},    {"ge", ">="},
                 {"lo", "<"},   {"ls", "<="},   {"hi", ">"},   {"hs", ">="},   {"equ", "=?"},  {"neu", "<>?"},
                 {"ltu", "<?"}, {"leu", "<=?"}, {"gtu", ">?"}, {"geu", ">=?"}, {"num", "<=>"}, {"nan", "?"}};
    int order = order_of(inst, type, a, b);
    for (size_t i = 0; i < TW_COUNT(names); i++)
        if (plain_has(inst, names[i].name))
            return strchr(names[i].orders, "<=>?"[order + 1]) != NULL;
    return false;
}

static bool joined(const struct plain_inst *inst, bool is_true, bool other) {
    return plain_has(inst, "and")   ? is_true && other
           : plain_has(inst, "or")  ? is_true || other
           : plain_has(inst, "xor") ? is_true != other
                                    : is_true;
}

// The predicate that is joined is in[3] & 1, negated (the tests write `!`). Of pairs there is one result a lane.
DEFINE(set_predicates) {
    struct plain_type type = inst->types[0];
    bool other = !(in[3] & 1),
         is_true = plain_compare(inst, type, plain_lane(type, in[0], 0), plain_lane(type, in[1], 0));
    struct plain_value value = plain_bits(joined(inst, is_true, other), 1);
    if (type.lanes == 2)
        is_true = !plain_compare(inst, type, plain_lane(type, in[0], 1), plain_lane(type, in[1], 1));
    value.second = joined(inst, !is_true, other);
    return value;
}

DEFINE(set_value) {
    struct plain_type to = inst->types[0], type = inst->types[1];
    struct plain_value value = {.type = to};
    for (unsigned i = 0; i < type.lanes; i++) {
        bool is_true =
            joined(inst, plain_compare(inst, type, plain_lane(type, in[0], i), plain_lane(type, in[1], i)),
                   !(in[3] & 1));
        bool is_real = to.kind == 'f' || to.kind == 'g';
        uint64_t truth = is_real ? plain_rounded(to, "rn", 1) : plain_low(-1, to.bits);
        value.bits |= (is_true ? truth : 0) << i * to.bits;
    }
    return value;
}

DEFINE(choose) {
    return plain_bits((plain_wide)(in[3] & 1 ? in[0] : in[1]), inst->types[0].bits * inst->types[0].lanes);
}
DEFINE(choose_by_sign) {
    struct plain_type type = inst->types[1];
    uint64_t c = plain_has(inst, "ftz") ? plain_flushed(type, in[2]) : in[2];
    bool is_first = type.kind == 's' ? plain_number(type, c) >= 0 : plain_float(type, c) >= 0;
    return plain_bits((plain_wide)(is_first ? in[0] : in[1]), inst->types[0].bits);
}
DEFINE(move) {
    return plain_bits((plain_wide)in[0], inst->types[0].bits * inst->types[0].lanes);
}

DEFINE(kind_of) {
    struct plain_type type = inst->types[0];
    bool is_nan = plain_is_nan(type, in[0]);
    long double size = fabsl(plain_float(type, in[0]));
    bool is_zero = size == 0, is_subnormal = !is_zero && plain_flushed(type, in[0]) != in[0];
    bool is_true = plain_has(inst, "notanumber") ? is_nan
                   : plain_has(inst, "number")   ? !is_nan
                   : plain_has(inst, "infinite") ? isinf(size)
                   : plain_has(inst, "finite")   ? !is_nan && !isinf(size)
                   : plain_has(inst, "subnormal")
                       ? is_subnormal
                       : !is_nan && !isinf(size) && !is_subnormal; // zeros are normal
    return plain_bits(is_true, 1);
}

DEFINE(least) {
    plain_wide a = plain_number(inst->types[0], in[0]), b = plain_number(inst->types[0], in[1]),
               found = a < b ? a : b;
    return plain_bits(plain_has(inst, "relu") && found < 0 ? 0 : found, inst->types[0].bits);
}
DEFINE(greatest) {
    plain_wide a = plain_number(inst->types[0], in[0]), b = plain_number(inst->types[0], in[1]),
               found = a > b ? a : b;
    return plain_bits(plain_has(inst, "relu") && found < 0 ? 0 : found, inst->types[0].bits);
}
DEFINE(size) {
    plain_wide a = plain_number(inst->types[0], in[0]);
    return plain_bits(a < 0 ? -a : a, inst->types[0].bits);
}
DEFINE(negative) {
    return plain_bits(-plain_number(inst->types[0], in[0]), inst->types[0].bits);
}

const struct plain_row plain_compares[] = {
    {"setp", "pp=tt", set_predicates},
    {"set", "t=vv", set_value},
    {"selp", "t=tt", choose},
    {"slct", "t=ttv", choose_by_sign},
    {"mov", "t=t", move},
    {"testp", "p=t", kind_of},
    {"int min", "t=tt", least},
    {"int max", "t=tt", greatest},
    {"int abs", "t=t", size},
    {"int neg", "t=t", negative},
    {},
};

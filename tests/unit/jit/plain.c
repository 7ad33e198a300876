// SPDX-License-Identifier: Apache-2.0
//
// See plain.h: an instruction's text taken apart, and results compared.

#include "plain.h"

#include <math.h>

static bool read_type(struct tw_str text, struct plain_type *ret_type) {
    static const struct {
        const char *name;
        struct plain_type type;
    } types[] = {
        {"pred", {'p', 1, 1}},    {"b8", {'b', 8, 1}},    {"b16", {'b', 16, 1}},   {"b32", {'b', 32, 1}},
        {"b64", {'b', 64, 1}},    {"u8", {'u', 8, 1}},    {"u16", {'u', 16, 1}},   {"u32", {'u', 32, 1}},
        {"u64", {'u', 64, 1}},    {"s8", {'s', 8, 1}},    {"s16", {'s', 16, 1}},   {"s32", {'s', 32, 1}},
        {"s64", {'s', 64, 1}},    {"f16", {'f', 16, 1}},  {"f16x2", {'f', 16, 2}}, {"bf16", {'g', 16, 1}},
        {"bf16x2", {'g', 16, 2}}, {"tf32", {'t', 32, 1}}, {"f32", {'f', 32, 1}},   {"f64", {'f', 64, 1}},
        {"s4", {'s', 4, 1}},      {"u4", {'u', 4, 1}},    {"s2", {'s', 2, 1}},     {"u2", {'u', 2, 1}},
        {"e4m3x2", {'e', 8, 2}},  {"e5m2x2", {'m', 8, 2}}};
    for (size_t i = 0; i < TW_COUNT(types); i++)
        if (tw_str_equal(text, tw_str_from(types[i].name))) {
            *ret_type = types[i].type;
            return true;
        }
    return false;
}

bool plain_has(const struct plain_inst *inst, const char *mod) {
    for (unsigned i = 0; i < inst->mod_count; i++)
        if (strcmp(inst->mods[i], mod) == 0)
            return true;
    return false;
}

static const struct plain_row *find_row(const char *name) {
    const struct plain_row *const tables[] = {plain_integers, plain_floats, plain_compares, plain_converts,
                                              plain_videos};
    for (size_t t = 0; t < TW_COUNT(tables); t++)
        for (const struct plain_row *row = tables[t]; row->name; row++)
            if (strcmp(name, row->name) == 0)
                return row;
    return NULL;
}

// Names that integers and floats share have two rows, and sums that carry one more.
static const struct plain_row *choose_row(const struct plain_inst *inst) {
    char name[40];
    char kind = inst->type_count ? inst->types[0].kind : 'b';
    bool is_whole = kind == 'b' || kind == 'u' || kind == 's';
    snprintf(name, sizeof name, "%s %s%s", is_whole ? "int" : "real", inst->name,
             plain_has(inst, "cc") ? " carry" : "");
    const struct plain_row *row = find_row(name);
    return row ? row : find_row(inst->name);
}

bool plain_parse(const char *text, struct plain_inst *ret_inst) {
    *ret_inst = (struct plain_inst){};
    snprintf(ret_inst->text, sizeof ret_inst->text, "%s", text);
    struct tw_str rest = tw_str_from(text), name = tw_str_cut(&rest, '.');
    snprintf(ret_inst->name, sizeof ret_inst->name, "%.*s", TW_STR_ARG(name));
    while (rest.len && ret_inst->mod_count < PLAIN_MODS) {
        struct tw_str mod = tw_str_cut(&rest, '.');
        snprintf(ret_inst->mods[ret_inst->mod_count++], 16, "%.*s", TW_STR_ARG(mod));
        if (ret_inst->type_count < 4)
            ret_inst->type_count += read_type(mod, &ret_inst->types[ret_inst->type_count]) ? 1 : 0;
    }
    ret_inst->row = choose_row(ret_inst);
    ret_inst->shape = ret_inst->row ? ret_inst->row->shape : NULL;
    return ret_inst->row && ret_inst->type_count > 0;
}

struct plain_value plain_compute(const struct plain_inst *inst, const uint64_t in[4]) {
    return inst->row->compute(inst, in);
}

// ---- whole numbers ----

plain_wide plain_number(struct plain_type type, uint64_t bits) {
    if (type.bits < 64)
        bits &= (UINT64_C(1) << type.bits) - 1;
    bool is_negative = type.kind == 's' && bits >> (type.bits - 1);
    return (plain_wide)bits - (is_negative ? (plain_wide)1 << type.bits : 0);
}

uint64_t plain_low(plain_wide value, unsigned bits) {
    return (uint64_t)value & (bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1);
}

plain_wide plain_clamped(struct plain_type type, plain_wide value) {
    bool is_signed = type.kind == 's';
    plain_wide top = (plain_wide)1 << (type.bits - (is_signed ? 1 : 0)), bottom = is_signed ? -top : 0;
    return value < bottom ? bottom : value >= top ? top - 1 : value;
}

// ---- comparing ----

static bool is_float(struct plain_type type) {
    return type.kind == 'f' || type.kind == 'g';
}

static bool lane_is_near(const struct plain_value *want, long double exact, uint64_t bits) {
    long double got = plain_float(want->type, bits);
    long double most = want->type.bits == 64                             ? 0x1p1024L
                       : want->type.bits == 32 || want->type.kind == 'g' ? 0x1p128L
                                                                         : 65520;
    if (isnan(exact) || plain_is_nan(want->type, bits))
        return isnan(exact) && plain_is_nan(want->type, bits);
    if (isinf(got))
        return fabsl(exact) * (1 + (long double)want->relative) >= most * 0.99L &&
               signbit(got) == signbit(exact);
    return fabsl(got - exact) <= (long double)want->relative * fabsl(exact) + (long double)want->absolute;
}

bool plain_same(const struct plain_value *want, uint64_t got) {
    if (want->is_any)
        return true;
    if (!is_float(want->type))
        return got == want->bits;
    for (unsigned i = 0; i < want->type.lanes; i++) {
        uint64_t mine = plain_lane(want->type, want->bits, i), theirs = plain_lane(want->type, got, i);
        bool is_near = want->relative != 0 || want->absolute != 0;
        if (is_near ? !lane_is_near(want, want->near[i], theirs)
                    : mine != theirs && !(plain_is_nan(want->type, mine) && plain_is_nan(want->type, theirs)))
            return false;
    }
    return true;
}

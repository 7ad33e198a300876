// SPDX-License-Identifier: Apache-2.0
//
// Conversions: see lower.h. One is a chain of small ones, the same steps as emit_cvt.c takes: widen, limit, round, narrow.

#include "lower.h"

enum { LINKS_MAX = 12, INTERMEDIATE = 1 }; // mode: rounds on as what it was made of would

// Confined: a conversion. Each link's result is the next one's source.
struct chain {
    struct link {
        struct tw_interp_key key;
        uint8_t type;   // of its result
        bool has_limit; // a second source
        uint64_t limit;
    } links[LINKS_MAX];
    unsigned count;
    uint8_t type; // what the value is by now
};

static void add(struct chain *c, struct tw_interp_key key, uint8_t type) {
    TW_ASSERT(c->count < LINKS_MAX);
    c->links[c->count++] = (struct link){.key = key, .type = type};
    c->type = type;
}

static void convert(struct chain *c, uint8_t to, uint8_t round, uint8_t mode) {
    add(c,
        (struct tw_interp_key){.op = TW_KIR_CVT, .type = to, .type2 = c->type, .round = round, .mode = mode},
        to);
}

// A modifier that leaves the type.
static void modify(struct chain *c, uint32_t mod) {
    add(c, (struct tw_interp_key){.op = TW_KIR_CVT, .type = c->type, .type2 = c->type, .mods = mod}, c->type);
}

static void limit(struct chain *c, uint8_t op, uint64_t value) {
    add(c, (struct tw_interp_key){.op = op, .type = c->type}, c->type);
    c->links[c->count - 1].has_limit = true;
    c->links[c->count - 1].limit = value;
}

static bool emit_chain(struct jit_lower *l, const struct chain *c, uint32_t row, uint32_t dest) {
    for (unsigned i = 0; i < c->count; i++) {
        const struct link *link = &c->links[i];
        unsigned bits = tw_kir_type_bits(link->type);
        uint32_t to = i + 1 == c->count ? dest : jit_lower_temp(l, bits), rows[3] = {to, row, 0};
        if (link->has_limit)
            rows[2] = jit_lower_constant(l, link->limit, bits);
        if (!jit_lower_alu(l, link->key, 0, rows, link->has_limit ? 3 : 2))
            return false;
        row = to;
    }
    return true;
}

static uint8_t integer_type(unsigned bits, bool sign) {
    return bits == 8    ? sign ? TW_KIR_S8 : TW_KIR_U8
           : bits == 16 ? sign ? TW_KIR_S16 : TW_KIR_U16
           : bits == 32 ? sign ? TW_KIR_S32 : TW_KIR_U32
                        : (sign ? TW_KIR_S64 : TW_KIR_U64);
}

static bool is_directed(const struct tw_kir_inst *inst) {
    return inst->round == TW_KIR_RZ || inst->round == TW_KIR_RM || inst->round == TW_KIR_RP;
}

// ---- integers ----

// The sign counts where the value gets wider.
static void resize(struct chain *c, unsigned bits) {
    unsigned from = tw_kir_type_bits(c->type);
    bool sign = tw_kir_type_is_signed(c->type);
    if (bits == from)
        return;
    c->type = integer_type(from, sign && bits > from);
    convert(c, integer_type(bits, false), 0, 0);
    c->type = integer_type(bits, sign);
}

static void clamp(struct chain *c, uint8_t to) {
    unsigned bits = tw_kir_type_bits(to), from = tw_kir_type_bits(c->type);
    bool from_sign = tw_kir_type_is_signed(c->type), to_sign = tw_kir_type_is_signed(to);
    unsigned top = bits - (to_sign ? 1 : 0), room = from - (from_sign ? 1 : 0);
    if (from_sign && !to_sign)
        limit(c, TW_KIR_MAX, 0);
    else if (from_sign && bits < from)
        limit(c, TW_KIR_MAX, ~UINT64_C(0) << top);
    if (top < room)
        limit(c, TW_KIR_MIN, (UINT64_C(1) << top) - 1);
}

static void between_integers(struct chain *c, const struct tw_kir_inst *inst) {
    if (inst->mods & TW_KIR_SAT) {
        if (tw_kir_type_bits(c->type) < 32)
            resize(c, 32);
        clamp(c, inst->type);
    }
    resize(c, tw_kir_type_bits(inst->type));
}

// ---- floats ----

// A float or double to a narrower type.
static void narrow(struct chain *c, const struct tw_kir_inst *inst, uint8_t to) {
    uint8_t round = is_directed(inst) ? inst->round : 0;
    if (c->type == TW_KIR_F64 && to != TW_KIR_F32)
        convert(c, TW_KIR_F32, 0, INTERMEDIATE);
    convert(c, to, round, 0);
}

static void from_integer(struct chain *c, const struct tw_kir_inst *inst) {
    bool is_long = tw_kir_type_bits(c->type) == 64, directed = is_directed(inst);
    if (tw_kir_type_bits(c->type) < 32) {
        resize(c, 32);
        c->type = TW_KIR_S32; // what was unsigned is positive
    }
    if (inst->type == TW_KIR_F64)
        convert(c, TW_KIR_F64, is_long && directed ? inst->round : 0, 0);
    else if (inst->type == TW_KIR_F32 && !directed)
        convert(c, TW_KIR_F32, 0, 0);
    else
        convert(c, TW_KIR_F64, 0, is_long ? INTERMEDIATE : 0);
    if (inst->mods &
        TW_KIR_SAT) // 0 and 1 are whole numbers: it makes no difference whether it is rounded before
        modify(c, TW_KIR_SAT);
    if (c->type != inst->type)
        narrow(c, inst, inst->type);
}

static void widen_small(struct chain *c) {
    if (c->type == TW_KIR_F16 || c->type == TW_KIR_BF16)
        convert(c, TW_KIR_F32, 0, 0);
}

// A double is never flushed, nor is a small float before it has become one of 32 bits.
static void flush(struct chain *c, const struct tw_kir_inst *inst) {
    if (inst->mods & TW_KIR_FTZ && c->type == TW_KIR_F32)
        modify(c, TW_KIR_FTZ);
}

static void to_integer(struct chain *c, const struct tw_kir_inst *inst) {
    widen_small(c);
    flush(c, inst);
    if (inst->round == TW_KIR_RNI || inst->round == TW_KIR_RMI || inst->round == TW_KIR_RPI)
        convert(c, c->type, inst->round, 0);
    convert(c, integer_type(tw_kir_type_bits(inst->type), tw_kir_type_is_signed(inst->type)), 0, 0);
}

static void between_floats(struct chain *c, const struct tw_kir_inst *inst, uint8_t to) {
    flush(c, inst);
    widen_small(c);
    if (inst->round >= TW_KIR_RNI && inst->round <= TW_KIR_RPI)
        convert(c, c->type, inst->round, 0);
    if (inst->mods & TW_KIR_RELU)
        modify(c, TW_KIR_RELU);
    if (inst->mods & TW_KIR_SAT)
        modify(c, TW_KIR_SAT);
    if (to == TW_KIR_TF32)
        convert(c, to, inst->round == TW_KIR_RZ || inst->round == TW_KIR_RNA ? inst->round : 0, 0);
    else if (to == TW_KIR_F64 && c->type == TW_KIR_F32)
        convert(c, to, 0, 0);
    else if (to != c->type)
        narrow(c, inst, to);
    if (inst->type2 == TW_KIR_F64 || inst->type2 == TW_KIR_BF16)
        flush(c, inst);
}

// Two floats into one register: the first becomes the upper half.
static bool lower_pair(struct jit_lower *l, const struct tw_kir_inst *inst) {
    uint8_t to = inst->type == TW_KIR_F16X2 ? TW_KIR_F16 : TW_KIR_BF16;
    uint32_t rows[3] = {jit_lower_dest(l, inst, 0)};
    if ((inst->type != TW_KIR_F16X2 && inst->type != TW_KIR_BF16X2) || inst->type2 != TW_KIR_F32)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        struct chain c = {.type = TW_KIR_F32};
        between_floats(&c, inst, to);
        rows[1 + i] = jit_lower_temp(l, 16);
        if (!emit_chain(l, &c, jit_lower_source(l, &inst->src[i], 32), rows[1 + i]))
            return false;
    }
    struct tw_interp_key key = {.op = TW_KIR_CVT, .type = TW_KIR_U32, .type2 = TW_KIR_U16, .mode = 1};
    return jit_lower_alu(l, key, 0, rows, TW_COUNT(rows));
}

static bool is_fp8(uint8_t type) {
    return type == TW_KIR_E4M3X2 || type == TW_KIR_E5M2X2;
}

// Pairs of floats of eight bits, one instruction each.
static bool lower_fp8(struct jit_lower *l, const struct tw_kir_inst *inst) {
    struct tw_interp_key key = {
        .op = TW_KIR_CVT, .type = inst->type, .type2 = inst->type2, .mods = inst->mods & TW_KIR_RELU};
    uint32_t rows[3] = {jit_lower_dest(l, inst, 0)};
    for (unsigned i = 0; i < inst->src_count; i++)
        rows[1 + i] = jit_lower_source(l, &inst->src[i], tw_kir_type_bits(inst->type2));
    return jit_lower_alu(l, key, 0, rows, 1 + inst->src_count);
}

static bool is_single(uint8_t type) {
    return (jit_is_integer(type) && tw_kir_type_bits(type) >= 8) || type == TW_KIR_F16 ||
           type == TW_KIR_BF16 || type == TW_KIR_F32 || type == TW_KIR_F64;
}

bool jit_lower_convert(struct jit_lower *l, const struct tw_kir_inst *inst) {
    bool from_float = tw_kir_type_is_float(inst->type2), to_float = tw_kir_type_is_float(inst->type);
    unsigned bits = tw_kir_type_bits(inst->type2);
    if (is_fp8(inst->type) || is_fp8(inst->type2))
        return lower_fp8(l, inst);
    if (inst->src_count == 2)
        return lower_pair(l, inst);
    if (!is_single(inst->type2) || (!is_single(inst->type) && (inst->type != TW_KIR_TF32 || !from_float)))
        return false;
    struct chain c = {.type = inst->type2};
    if (!from_float)
        c.type = integer_type(bits, tw_kir_type_is_signed(inst->type2));
    if (from_float && to_float)
        between_floats(&c, inst, inst->type);
    else if (to_float)
        from_integer(&c, inst);
    else if (from_float)
        to_integer(&c, inst);
    else
        between_integers(&c, inst);
    if (c.count == 0)
        add(&c, (struct tw_interp_key){.op = TW_KIR_MOV, .type = integer_type(bits, false)}, inst->type);
    return emit_chain(l, &c, jit_lower_source(l, &inst->src[0], bits), jit_lower_dest(l, inst, 0));
}

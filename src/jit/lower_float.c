// SPDX-License-Identifier: Apache-2.0
//
// Floats: see lower.h. Most operations are one instruction; what they do besides (subnormals flushed, results limited) are instructions
// before and behind it where no single one does it all. Those of 16 bits become floats first and are narrowed at the end, pairs of
// them half by half: what jit/emit_float.c does.

#include "lower.h"

enum {
    LIMITS = TW_KIR_FTZ | TW_KIR_SAT | TW_KIR_RELU,
    KINDS = TW_KIR_NANPROP | TW_KIR_XORSIGN,
    KNOWN = LIMITS | KINDS | TW_KIR_APPROX | TW_KIR_FULL
};

static bool is_pair(uint8_t type) {
    return type == TW_KIR_F16X2 || type == TW_KIR_BF16X2;
}

static bool is_small(uint8_t type) {
    return is_pair(type) || type == TW_KIR_F16 || type == TW_KIR_BF16;
}

// Confined: an operation of floats, or that of one half of pairs.
struct operation {
    const struct tw_kir_inst *inst;
    uint8_t type; // it is computed with
    uint8_t half; // 1: the upper one
    bool directed;
};

static bool limit(struct jit_lower *l, uint8_t type, uint32_t mod, uint32_t to, uint32_t from) {
    struct tw_interp_key key = {.op = TW_KIR_MOV, .type = type, .type2 = type, .mods = mod};
    return jit_lower_alu(l, key, 0, (uint32_t[]){to, from}, 2);
}

// A source as it is computed with.
static bool read_source(struct jit_lower *l, const struct operation *o, unsigned s, uint32_t *ret_row) {
    const struct tw_kir_inst *inst = o->inst;
    uint32_t row = jit_lower_source(l, &inst->src[s], tw_kir_type_bits(inst->type));
    struct tw_interp_key key = {.op = TW_KIR_MOV,
                                .type = o->type,
                                .type2 = inst->type,
                                .mode = o->half,
                                .mods = inst->mods & TW_KIR_FTZ};
    *ret_row = row;
    if (!is_small(inst->type) && !(inst->mods & TW_KIR_FTZ))
        return true;
    *ret_row = jit_lower_temp(l, tw_kir_type_bits(o->type));
    return jit_lower_alu(l, key, 0, (uint32_t[]){*ret_row, row}, 2);
}

static bool read_sources(struct jit_lower *l, const struct operation *o, uint32_t *rows) {
    for (unsigned s = 0; s < o->inst->src_count; s++)
        if (!read_source(l, o, s, &rows[s]))
            return false;
    return true;
}

// rows: the result's and the sources'.
static bool emit(struct jit_lower *l, const struct operation *o, uint32_t mods, uint32_t *rows) {
    const struct tw_kir_inst *inst = o->inst;
    unsigned count = 1 + inst->src_count;
    uint64_t direction = inst->round == TW_KIR_RM ? 1 : inst->round == TW_KIR_RP ? 2 : 3;
    struct tw_interp_key key = {.op = inst->op, .type = o->type, .mods = mods};
    if (inst->op == TW_KIR_FMA && is_small(inst->type)) {
        key.type = inst->type == TW_KIR_F16 || inst->type == TW_KIR_F16X2 ? TW_KIR_F16 : TW_KIR_BF16;
        key.type2 = TW_KIR_F32;
    }
    if (!o->directed)
        return jit_lower_alu(l, key, 0, rows, count);
    key.round = TW_KIR_RZ;
    if (inst->op == TW_KIR_RCP) {
        uint64_t one = o->type == TW_KIR_F64 ? UINT64_C(0x3ff) << 52 : 0x3f800000;
        key.op = TW_KIR_DIV;
        rows[2] = rows[1];
        rows[1] = jit_lower_constant(l, one, tw_kir_type_bits(o->type));
        count = 3;
    }
    return jit_lower_alu(l, key, direction, rows, count);
}

// The operation and the limits of its result, in a row of o->type.
static bool compute(struct jit_lower *l, const struct operation *o, uint32_t to) {
    static const uint32_t order[] = {TW_KIR_FTZ, TW_KIR_RELU, TW_KIR_SAT};
    uint32_t rows[4], limits = o->inst->mods & LIMITS;
    if (is_small(o->inst->type))
        limits &= ~(uint32_t)TW_KIR_FTZ; // when it is narrow again
    uint32_t from = rows[0] = limits ? jit_lower_temp(l, tw_kir_type_bits(o->type)) : to;
    if (!read_sources(l, o, rows + 1) || !emit(l, o, o->inst->mods & KINDS, rows))
        return false;
    for (unsigned i = 0; i < TW_COUNT(order); i++) {
        if (!(limits & order[i]))
            continue;
        limits &= ~order[i];
        if (!limit(l, o->type, order[i], limits ? from : to, from))
            return false;
    }
    return true;
}

// One instruction that does it all.
static bool lower_at_once(struct jit_lower *l, const struct operation *o) {
    const struct tw_kir_inst *inst = o->inst;
    uint32_t mods = inst->mods & (LIMITS | KINDS), rows[4] = {jit_lower_dest(l, inst, 0)};
    struct tw_interp_key key = {.op = inst->op, .type = inst->type, .mods = mods};
    if (o->directed || is_small(inst->type) || tw_interp_find(&key) == 0)
        return false;
    for (unsigned s = 0; s < inst->src_count; s++)
        rows[1 + s] = jit_lower_source(l, &inst->src[s], tw_kir_type_bits(inst->type));
    return emit(l, o, mods, rows);
}

static bool lower_small(struct jit_lower *l, struct operation *o) {
    const struct tw_kir_inst *inst = o->inst;
    struct tw_interp_key key = {
        .op = TW_KIR_MOV, .type = inst->type, .type2 = TW_KIR_F32, .mods = inst->mods & TW_KIR_FTZ};
    uint32_t rows[3] = {jit_lower_dest(l, inst, 0)}, halves = is_pair(inst->type) ? 2 : 1;
    for (unsigned h = 0; h < halves; h++) {
        o->half = (uint8_t)h;
        rows[1 + h] = jit_lower_temp(l, 32);
        if (!compute(l, o, rows[1 + h]))
            return false;
    }
    return jit_lower_alu(l, key, 0, rows, 1 + halves);
}

static bool lower_arithmetic(struct jit_lower *l, const struct tw_kir_inst *inst) {
    struct operation o = {.inst = inst, .type = is_small(inst->type) ? TW_KIR_F32 : inst->type};
    o.directed = inst->round == TW_KIR_RZ || inst->round == TW_KIR_RM || inst->round == TW_KIR_RP;
    if (inst->src_count == 0 || inst->src_count > 3 || (o.directed && is_small(inst->type)))
        return false;
    if (is_small(inst->type))
        return lower_small(l, &o);
    return lower_at_once(l, &o) || compute(l, &o, jit_lower_dest(l, inst, 0));
}

// Bits: what they stand for makes no difference but to flushing.
static bool lower_sign(struct jit_lower *l, const struct tw_kir_inst *inst) {
    uint8_t type = inst->type == TW_KIR_BF16     ? TW_KIR_F16
                   : inst->type == TW_KIR_BF16X2 ? TW_KIR_F16X2
                                                 : inst->type;
    unsigned bits = tw_kir_type_bits(type);
    struct tw_interp_key key = {.op = inst->op, .type = type};
    uint32_t rows[3] = {jit_lower_dest(l, inst, 0), jit_lower_source(l, &inst->src[0], bits)};
    if (inst->op != TW_KIR_COPYSIGN && inst->mods & TW_KIR_FTZ) {
        uint32_t flushed = jit_lower_temp(l, bits);
        if (!limit(l, inst->type, TW_KIR_FTZ, flushed, rows[1]))
            return false;
        rows[1] = flushed;
    }
    if (inst->op == TW_KIR_COPYSIGN)
        rows[2] = jit_lower_source(l, &inst->src[1], bits);
    return jit_lower_alu(l, key, 0, rows, 1 + inst->src_count);
}

static bool lower_testp(struct jit_lower *l, const struct tw_kir_inst *inst) {
    struct tw_interp_key key = {.op = TW_KIR_TESTP, .type = inst->type, .mode = inst->mode};
    uint32_t rows[2] = {jit_lower_dest(l, inst, 0),
                        jit_lower_source(l, &inst->src[0], tw_kir_type_bits(inst->type))};
    return jit_lower_alu(l, key, 0, rows, 2);
}

static bool lower_setp(struct jit_lower *l, const struct tw_kir_inst *inst) {
    struct operation o = {.inst = inst, .type = is_small(inst->type) ? TW_KIR_F32 : inst->type};
    struct tw_interp_key key = {.op = TW_KIR_SETP, .type = o.type, .cmp = inst->cmp};
    uint32_t rows[3] = {};
    if (is_pair(inst->type))
        return false;
    bool one = inst->dst_count == 1 && inst->combine == TW_KIR_COMBINE_NONE;
    rows[0] = one ? jit_lower_dest(l, inst, 0) : jit_lower_temp(l, 1);
    if (!read_source(l, &o, 0, &rows[1]) || !read_source(l, &o, 1, &rows[2]) ||
        !jit_lower_alu(l, key, 0, rows, 3))
        return false;
    return one || jit_lower_combined(l, inst, rows[0]);
}

bool jit_lower_float(struct jit_lower *l, const struct tw_kir_inst *inst) {
    if (inst->mods & ~(uint32_t)KNOWN)
        return false;
    switch (inst->op) {
    case TW_KIR_NEG:
    case TW_KIR_ABS:
    case TW_KIR_COPYSIGN:
        return lower_sign(l, inst);
    case TW_KIR_TESTP:
        return lower_testp(l, inst);
    case TW_KIR_SETP:
        return lower_setp(l, inst);
    default:
        return lower_arithmetic(l, inst);
    }
}

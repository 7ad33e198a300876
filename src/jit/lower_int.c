// SPDX-License-Identifier: Apache-2.0
//
// Integers, predicates, moves, packs: see lower.h. Most operations are one instruction; their rows of the table know what of
// a type or a modifier makes a difference. Packs go by halves, comparisons that are combined with a predicate take
// one instruction more, sums with carries have one for each of their results.

#include "lower.h"

// An operation whose key is what it says itself. Sources: a letter each: t as wide as the type, u 32 bits, p a predicate.
struct form {
    const char *sources;
    bool sign;     // of the type makes a difference
    uint32_t mods; // that make one
};
static const struct form forms[TW_KIR_OP_COUNT] = {
    [TW_KIR_MOV] = {.sources = "t"},
    [TW_KIR_SELECT] = {.sources = "ttp"},
    [TW_KIR_ADD] = {.sources = "tt", .mods = TW_KIR_SAT},
    [TW_KIR_SUB] = {.sources = "tt", .mods = TW_KIR_SAT},
    [TW_KIR_MUL] = {.sources = "tt"},
    [TW_KIR_MULHI] = {.sources = "tt", .sign = true},
    [TW_KIR_MULWIDE] = {.sources = "tt", .sign = true},
    [TW_KIR_MUL24] = {.sources = "tt", .sign = true, .mods = TW_KIR_HI},
    [TW_KIR_DIV] = {.sources = "tt", .sign = true},
    [TW_KIR_REM] = {.sources = "tt", .sign = true},
    [TW_KIR_MIN] = {.sources = "tt", .sign = true},
    [TW_KIR_MAX] = {.sources = "tt", .sign = true},
    [TW_KIR_ABS] = {.sources = "t"},
    [TW_KIR_NEG] = {.sources = "t"},
    [TW_KIR_NOT] = {.sources = "t"},
    [TW_KIR_CNOT] = {.sources = "t"},
    [TW_KIR_AND] = {.sources = "tt"},
    [TW_KIR_OR] = {.sources = "tt"},
    [TW_KIR_XOR] = {.sources = "tt"},
    [TW_KIR_SHL] = {.sources = "tu"},
    [TW_KIR_SHR] = {.sources = "tu", .sign = true},
    [TW_KIR_SHFL_L] = {.sources = "ttu", .mods = TW_KIR_WRAP},
    [TW_KIR_SHFL_R] = {.sources = "ttu", .mods = TW_KIR_WRAP},
    [TW_KIR_BFE] = {.sources = "tuu", .sign = true},
    [TW_KIR_BFI] = {.sources = "ttuu"},
    [TW_KIR_BFIND] = {.sources = "t", .sign = true, .mods = TW_KIR_SHIFTAMT},
    [TW_KIR_BREV] = {.sources = "t"},
    [TW_KIR_CLZ] = {.sources = "t"},
    [TW_KIR_POPC] = {.sources = "t"},
    [TW_KIR_PRMT] = {.sources = "ttt"},
    [TW_KIR_LOP3] = {.sources = "ttt"},
    [TW_KIR_SAD] = {.sources = "ttt", .sign = true},
    [TW_KIR_DP4A] = {.sources = "uuu", .sign = true},
    [TW_KIR_DP2A] = {.sources = "uuu", .sign = true, .mods = TW_KIR_HI},
    [TW_KIR_SZEXT] = {.sources = "tu", .sign = true, .mods = TW_KIR_WRAP},
    [TW_KIR_BMSK] = {.sources = "tt", .mods = TW_KIR_WRAP},
};
enum { SOURCES_MAX = 4 };

static uint8_t as_unsigned(uint8_t type) {
    switch (tw_kir_type_bits(type)) {
    case 1:
        return TW_KIR_PRED;
    case 8:
        return TW_KIR_U8;
    case 16:
        return TW_KIR_U16;
    case 32:
        return TW_KIR_U32;
    case 64:
        return TW_KIR_U64;
    default:
        return TW_KIR_B128;
    }
}

static uint8_t integer(uint8_t type, bool sign) {
    return sign && tw_kir_type_is_signed(type) ? type : as_unsigned(type);
}

static struct tw_interp_key key_of(const struct tw_kir_inst *inst, const struct form *form) {
    struct tw_interp_key key = {.op = inst->op, .mods = inst->mods & form->mods};
    key.type = integer(inst->type, form->sign || key.mods & TW_KIR_SAT);
    if (inst->op == TW_KIR_DP4A || inst->op == TW_KIR_DP2A)
        key.type2 = integer(inst->type2, true);
    if (inst->op == TW_KIR_PRMT)
        key.mode = inst->mode;
    return key;
}

static bool lower_plain(struct jit_lower *l, const struct tw_kir_inst *inst) {
    const struct form *form = &forms[inst->op];
    unsigned count = form->sources ? (unsigned)strlen(form->sources) : 0;
    uint32_t rows[1 + SOURCES_MAX] = {jit_lower_dest(l, inst, 0)};
    if (!form->sources || inst->src_count != count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        char letter = form->sources[i];
        unsigned bits = letter == 'u' ? 32 : letter == 'p' ? 1 : tw_kir_type_bits(inst->type);
        rows[1 + i] = jit_lower_source(l, &inst->src[i], bits);
    }
    uint64_t imm = inst->op == TW_KIR_LOP3 ? (uint64_t)inst->offset & 255 : 0;
    return jit_lower_alu(l, key_of(inst, form), imm, rows, 1 + count);
}

// One instruction of an unsigned type.
static bool step(struct jit_lower *l, uint8_t op, unsigned bits, const uint32_t *rows, unsigned count) {
    struct tw_interp_key key = {.op = op, .type = as_unsigned(tw_kir_bits_type(bits))};
    return jit_lower_alu(l, key, 0, rows, count);
}

// No result is below zero: behind the operation the larger of it and 0.
static bool lower_relu(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    static const uint8_t types[] = {TW_KIR_S16, TW_KIR_S32, TW_KIR_S64};
    uint32_t d = jit_lower_dest(l, inst, 0), zero = jit_lower_constant(l, 0, bits);
    if (bits < 16 || !lower_plain(l, inst))
        return false;
    struct tw_interp_key key = {.op = TW_KIR_MAX, .type = types[__builtin_ctz(bits / 16)]};
    return jit_lower_alu(l, key, 0, (uint32_t[]){d, d, zero}, 3);
}

// ---- packs ----

// Neighbours in pairs, until there is one.
static bool lower_pack(struct jit_lower *l, const struct tw_kir_inst *inst) {
    uint32_t rows[8];
    unsigned count = inst->src_count, bits = tw_kir_type_bits(inst->type) / count;
    if (count > TW_COUNT(rows) || bits < 8)
        return false;
    for (unsigned i = 0; i < count; i++)
        rows[i] = jit_lower_source(l, &inst->src[i], bits);
    for (; count > 1; count /= 2) {
        bits *= 2;
        for (unsigned i = 0; i < count / 2; i++) {
            uint32_t whole = count == 2 ? jit_lower_dest(l, inst, 0) : jit_lower_temp(l, bits);
            if (!step(l, TW_KIR_PACK, bits, (uint32_t[]){whole, rows[2 * i], rows[2 * i + 1]}, 3))
                return false;
            rows[i] = whole;
        }
    }
    return true;
}

static bool lower_unpack(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type), part = bits / inst->dst_count;
    struct tw_interp_key key = {
        .op = TW_KIR_UNPACK, .type = as_unsigned(inst->type), .type2 = as_unsigned(tw_kir_bits_type(part))};
    uint32_t from = jit_lower_source(l, &inst->src[0], bits);
    if (part < 8)
        return false;
    for (unsigned i = 0; i < inst->dst_count; i++) {
        uint32_t rows[] = {jit_lower_dest(l, inst, i), from};
        if (inst->dst[i] != TW_KIR_NO_REG && !jit_lower_alu(l, key, (uint64_t)i * part, rows, 2))
            return false;
    }
    return true;
}

// ---- comparisons ----

static bool lower_compare(struct jit_lower *l, const struct tw_kir_inst *inst, uint32_t to) {
    unsigned bits = tw_kir_type_bits(inst->type);
    uint8_t cmp = inst->cmp < TW_KIR_EQU ? inst->cmp : TW_KIR_EQ;
    bool swapped = cmp == TW_KIR_GT || cmp == TW_KIR_GE;
    if (swapped)
        cmp = cmp == TW_KIR_GT ? TW_KIR_LT : TW_KIR_LE;
    struct tw_interp_key key = {
        .op = TW_KIR_SETP, .type = integer(inst->type, cmp != TW_KIR_EQ && cmp != TW_KIR_NE), .cmp = cmp};
    uint32_t a = jit_lower_source(l, &inst->src[swapped], bits);
    uint32_t b = jit_lower_source(l, &inst->src[!swapped], bits);
    return jit_lower_alu(l, key, 0, (uint32_t[]){to, a, b}, 3);
}

// `to` = p and, or, xor the third source.
static bool combine(struct jit_lower *l, const struct tw_kir_inst *inst, uint32_t to, uint32_t p,
                    uint32_t with) {
    static const uint8_t ops[] = {[TW_KIR_COMBINE_AND] = TW_KIR_AND,
                                  [TW_KIR_COMBINE_OR] = TW_KIR_OR,
                                  [TW_KIR_COMBINE_XOR] = TW_KIR_XOR};
    if (inst->combine == TW_KIR_COMBINE_NONE)
        return step(l, TW_KIR_MOV, 1, (uint32_t[]){to, p}, 2);
    return step(l, ops[inst->combine], 1, (uint32_t[]){to, p, with}, 3);
}

bool jit_lower_combined(struct jit_lower *l, const struct tw_kir_inst *inst, uint32_t p) {
    uint32_t with = 0, first = jit_lower_dest(l, inst, 0);
    bool second = inst->dst_count > 1 && inst->dst[1] != TW_KIR_NO_REG;
    if (inst->combine != TW_KIR_COMBINE_NONE)
        with = jit_lower_source(l, &inst->src[2], 1);
    if (inst->combine != TW_KIR_COMBINE_NONE && inst->combine_not) {
        uint32_t negated = jit_lower_temp(l, 1);
        if (!step(l, TW_KIR_NOT, 1, (uint32_t[]){negated, with}, 2))
            return false;
        with = negated;
    }
    if (!second)
        return combine(l, inst, first, p, with);
    uint32_t q = jit_lower_temp(l, 1), not_p = jit_lower_temp(l, 1);
    return step(l, TW_KIR_NOT, 1, (uint32_t[]){not_p, p}, 2) && combine(l, inst, q, not_p, with) &&
           combine(l, inst, first, p, with) &&
           step(l, TW_KIR_MOV, 1, (uint32_t[]){jit_lower_dest(l, inst, 1), q}, 2);
}

static bool lower_setp(struct jit_lower *l, const struct tw_kir_inst *inst) {
    bool one =
        inst->combine == TW_KIR_COMBINE_NONE && (inst->dst_count == 1 || inst->dst[1] == TW_KIR_NO_REG);
    if (one)
        return lower_compare(l, inst, jit_lower_dest(l, inst, 0));
    uint32_t p = jit_lower_temp(l, 1);
    return lower_compare(l, inst, p) && jit_lower_combined(l, inst, p);
}

// ---- carries ----

// The second result first, in a row of its own: the first one may overwrite a source.
static bool lower_carry(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    struct tw_interp_key key = {.op = inst->op, .type = as_unsigned(inst->type), .mode = 1};
    uint32_t carry = jit_lower_temp(l, 1);
    uint32_t rows[] = {carry, jit_lower_source(l, &inst->src[0], bits),
                       jit_lower_source(l, &inst->src[1], bits), jit_lower_source(l, &inst->src[2], 1)};
    bool carries = inst->dst_count > 1 && inst->dst[1] != TW_KIR_NO_REG;
    if (carries && !jit_lower_alu(l, key, 0, rows, TW_COUNT(rows)))
        return false;
    key.mode = 0;
    rows[0] = jit_lower_dest(l, inst, 0);
    if (!jit_lower_alu(l, key, 0, rows, TW_COUNT(rows)))
        return false;
    return !carries || step(l, TW_KIR_MOV, 1, (uint32_t[]){jit_lower_dest(l, inst, 1), carry}, 2);
}

bool jit_lower_int(struct jit_lower *l, const struct tw_kir_inst *inst) {
    switch (inst->op) {
    case TW_KIR_PACK:
        return lower_pack(l, inst);
    case TW_KIR_UNPACK:
        return lower_unpack(l, inst);
    case TW_KIR_SETP:
        return lower_setp(l, inst);
    case TW_KIR_ADDC:
    case TW_KIR_SUBC:
        return lower_carry(l, inst);
    case TW_KIR_MIN:
    case TW_KIR_MAX:
        return inst->mods & TW_KIR_RELU ? lower_relu(l, inst) : lower_plain(l, inst);
    default:
        return lower_plain(l, inst);
    }
}

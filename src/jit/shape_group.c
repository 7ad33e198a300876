// SPDX-License-Identifier: Apache-2.0
//
// What neighbouring lanes of a varying register have in common. Lanes of one row of a narrow block, the lanes
// that tid / 8 and tid % 8 take together: their addresses are side by side or the same within each group, so
// one load a group serves instead of a gather. Groups are claims beside the vector of values, which is always
// right: they need care only where an access relies on them.

#include "internal.h"

static const struct jit_shape anything = {.kind = JIT_VARYING};

static unsigned zeros(uint64_t value) {
    return value ? (unsigned)__builtin_ctzll(value) : 63;
}

static uint8_t lesser(unsigned a, unsigned b) {
    return (uint8_t)(a < b ? a : b);
}

static int64_t wrap(uint64_t value, unsigned bits) {
    return bits >= 64 ? (int64_t)value : (int64_t)(value << (64 - bits)) >> (64 - bits);
}

unsigned jit_group_of(const struct jit_code *code, struct jit_shape s) {
    return s.kind == JIT_VARYING ? s.group : zeros(code->variant.lanes);
}

struct jit_shape jit_regroup(const struct jit_code *code, struct jit_shape s, unsigned group) {
    unsigned own = jit_group_of(code, s);
    int64_t step = (int64_t)((uint64_t)s.stride << group);
    if (own < group || group == 0)
        return anything;
    if (s.kind == JIT_VARYING && own == group)
        return s;
    bool compact = s.kind != JIT_VARYING || s.compact;
    bool straight = s.kind != JIT_VARYING || (s.stride == 0 && s.known && s.across == 0) ||
                    own == zeros(code->variant.lanes);
    return (struct jit_shape){.kind = JIT_VARYING,
                              .align = lesser(s.align, zeros((uint64_t)step)),
                              .group = (uint8_t)group,
                              .known = straight,
                              .compact = compact,
                              .stride = s.stride,
                              .across = straight ? step : 0};
}

// Every source the same for all lanes of a group: so is the result.
struct jit_shape jit_same_shape(const struct jit_code *code, const struct tw_kir_inst *inst) {
    unsigned group = zeros(code->variant.lanes);
    bool compact = true;
    for (unsigned i = 0; i < inst->src_count; i++) {
        if (inst->src[i].is_imm)
            continue;
        struct jit_shape s = code->shapes[inst->src[i].reg];
        if (s.stride != 0)
            return anything;
        group = lesser(group, jit_group_of(code, s));
        compact &= s.kind != JIT_VARYING || s.compact;
    }
    return (struct jit_shape){.kind = JIT_VARYING, .group = (uint8_t)group, .compact = compact};
}

// Both sources by the same groups.
static bool align_groups(const struct jit_code *code, struct jit_shape *a, struct jit_shape *b) {
    unsigned group = lesser(jit_group_of(code, *a), jit_group_of(code, *b));
    *a = jit_regroup(code, *a, group);
    *b = jit_regroup(code, *b, group);
    return group > 0;
}

static struct jit_shape sum_shape(const struct jit_code *code, struct jit_shape a, struct jit_shape b,
                                  bool subtract, unsigned bits) {
    if (!align_groups(code, &a, &b))
        return anything;
    uint64_t stride = (uint64_t)b.stride, across = (uint64_t)b.across;
    a.stride = wrap((uint64_t)a.stride + (subtract ? -stride : stride), bits);
    a.known = a.known && b.known;
    a.compact = a.compact && b.compact;
    a.across = a.known ? wrap((uint64_t)a.across + (subtract ? -across : across), bits) : 0;
    a.align = lesser(a.align, b.align);
    return a;
}

static struct jit_shape scaled_shape(struct jit_shape a, uint64_t factor, unsigned bits) {
    a.stride = wrap((uint64_t)a.stride * factor, bits);
    a.across = wrap((uint64_t)a.across * factor, bits);
    a.align = lesser(a.align + zeros(factor), 63);
    return a;
}

static bool lies_below(struct jit_shape a, struct jit_shape b) {
    return a.below && a.below <= b.align && jit_is_uniform(b);
}

bool jit_adds(const struct tw_kir_inst *inst, struct jit_shape a, struct jit_shape b) {
    bool merges = inst->op == TW_KIR_OR || inst->op == TW_KIR_XOR;
    return inst->op == TW_KIR_ADD || (merges && (lies_below(a, b) || lies_below(b, a)));
}

struct jit_shape jit_group_shape(const struct jit_code *code, const struct tw_kir_inst *inst, unsigned bits) {
    struct jit_shape same = jit_same_shape(code, inst);
    if (inst->src_count != 2)
        return same;
    bool swap = inst->src[0].is_imm;
    const struct tw_kir_operand *imm = swap ? &inst->src[0] : inst->src[1].is_imm ? &inst->src[1] : NULL;
    struct jit_shape a = jit_operand_shape(code, &inst->src[0], bits),
                     b = jit_operand_shape(code, &inst->src[1], bits), x = swap ? b : a;
    if (jit_adds(inst, a, b))
        return sum_shape(code, a, b, false, bits);
    switch (inst->op) {
    case TW_KIR_SUB:
        return sum_shape(code, a, b, true, bits);
    case TW_KIR_MUL:
        return imm && x.group ? scaled_shape(x, imm->bits, bits) : same;
    case TW_KIR_SHL:
        return imm && !swap && x.group && imm->bits < bits ? scaled_shape(x, UINT64_C(1) << imm->bits, bits)
                                                           : same;
    default:
        return same;
    }
}

// Lanes go through 0, stride … 2^low - stride again and again.
struct jit_shape jit_low_bits_shape(const struct jit_code *code, struct jit_shape a, unsigned low) {
    unsigned step = zeros((uint64_t)a.stride);
    bool power = a.stride > 0 && (a.stride & (a.stride - 1)) == 0;
    if (!power || a.align < low || step >= low || low - step > zeros(code->variant.lanes))
        return anything;
    return (struct jit_shape){.kind = JIT_VARYING,
                              .align = 63,
                              .group = (uint8_t)(low - step),
                              .known = true,
                              .compact = true,
                              .stride = a.stride};
}

// 2^amount / stride lanes share one value, the next ones the next.
struct jit_shape jit_high_bits_shape(const struct jit_code *code, struct jit_shape a, unsigned amount,
                                     bool carries) {
    unsigned step = zeros((uint64_t)a.stride);
    bool power = a.stride > 0 && (a.stride & (a.stride - 1)) == 0;
    if (!power || a.align < amount || step >= amount || amount - step > zeros(code->variant.lanes))
        return anything;
    return (struct jit_shape){.kind = JIT_VARYING,
                              .group = (uint8_t)(amount - step),
                              .known = !carries,
                              .compact = true,
                              .across = carries ? 0 : 1};
}

bool jit_may_compact(const struct tw_kir_inst *inst) {
    if (inst->guard != TW_KIR_NO_REG || inst->mods & (TW_KIR_SAT | TW_KIR_RELU) || inst->src_count > 2)
        return false;
    switch (inst->op) {
    case TW_KIR_MOV:
    case TW_KIR_ADD:
    case TW_KIR_SUB:
    case TW_KIR_MUL:
    case TW_KIR_MULWIDE:
    case TW_KIR_SHL:
    case TW_KIR_SHR:
    case TW_KIR_AND:
    case TW_KIR_OR:
    case TW_KIR_XOR:
    case TW_KIR_NEG:
    case TW_KIR_NOT:
    case TW_KIR_MIN:
    case TW_KIR_MAX:
        return jit_is_integer(inst->type);
    case TW_KIR_CVT:
        return inst->src_count == 1 && jit_is_integer(inst->type) && jit_is_integer(inst->type2);
    default:
        return false;
    }
}

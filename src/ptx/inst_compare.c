// SPDX-License-Identifier: Apache-2.0
//
// Comparisons: setp, set, slct. Those of packed halves are done half by half.

#include "internal.h"

static bool check_compare(struct ptx_parser *parser, const struct ptx_inst *inst, uint8_t type) {
    uint8_t cmp = inst->values[PTX_G_CMP];
    bool is_bits = type >= TW_KIR_B8 && type <= TW_KIR_B64;
    if (is_bits && cmp > TW_KIR_NE)
        return ptx_fail(parser, &inst->token, "'%.*s': .%s compares with .eq and .ne only",
                        TW_STR_ARG(inst->name), tw_kir_type_name(type));
    if (!tw_kir_type_is_float(type) && cmp >= TW_KIR_EQU)
        return ptx_fail(parser, &inst->token, "'%.*s': unordered comparisons are for floats",
                        TW_STR_ARG(inst->name));
    return true;
}

// What is compared. Confined.
struct comparison {
    uint8_t type;
    unsigned count; // of sources: 3 with a predicate to combine with
    bool negated;   // that predicate
    struct tw_kir_operand sources[3];
};

static bool read_comparison(struct ptx_parser *parser, const struct ptx_inst *inst, uint8_t type,
                            struct comparison *ret_comparison) {
    struct comparison *c = ret_comparison;
    bool combines = ptx_has(inst, PTX_G_BOOL);
    *c = (struct comparison){.type = type, .count = combines ? 3 : 2};
    if (!check_compare(parser, inst, type))
        return false;
    if (inst->src_count != c->count)
        return ptx_fail(parser, &inst->token, "'%.*s' takes %u sources, found %u", TW_STR_ARG(inst->name),
                        c->count, inst->src_count);
    struct ptx_scalar predicate = inst->src[2].items[0];
    c->negated = combines && predicate.form == PTX_REG && predicate.negated;
    if (combines)
        predicate.negated = false;
    return ptx_source(parser, &inst->src[0].items[0], type, &c->sources[0]) &&
           ptx_source(parser, &inst->src[1].items[0], type, &c->sources[1]) &&
           (!combines || ptx_source(parser, &predicate, TW_KIR_PRED, &c->sources[2]));
}

// a cmp b [combine c] into `targets`, under the statement's guard or always.
static bool compare(struct ptx_parser *parser, const struct ptx_inst *inst, const struct comparison *c,
                    const uint32_t *targets, unsigned target_count, bool guarded) {
    struct tw_kir_inst *to = guarded ? ptx_emit(parser, TW_KIR_SETP, c->type, target_count, c->count)
                                     : ptx_emit_free(parser, TW_KIR_SETP, c->type, target_count, c->count);
    if (!to)
        return false;
    to->cmp = inst->values[PTX_G_CMP];
    to->combine = c->count == 3 ? inst->values[PTX_G_BOOL] : TW_KIR_COMBINE_NONE;
    to->combine_not = c->negated;
    to->mods = ptx_has(inst, PTX_G_FTZ) ? TW_KIR_FTZ : 0;
    memcpy(to->dst, targets, target_count * sizeof *targets);
    memcpy(to->src, c->sources, c->count * sizeof *c->sources);
    return true;
}

static bool is_pair(uint8_t type) {
    return type == TW_KIR_F16X2 || type == TW_KIR_BF16X2;
}

static bool cut(struct ptx_parser *parser, struct tw_kir_operand pair, struct tw_kir_operand *ret_halves) {
    uint32_t regs[2];
    if (!ptx_temp(parser, 16, &regs[0]) || !ptx_temp(parser, 16, &regs[1]))
        return false;
    struct tw_kir_inst *to = ptx_emit_free(parser, TW_KIR_UNPACK, TW_KIR_B32, 2, 1);
    if (!to)
        return false;
    to->src[0] = pair;
    for (unsigned i = 0; i < 2; i++) {
        to->dst[i] = regs[i];
        ret_halves[i] = tw_kir_reg_operand(regs[i]);
    }
    return true;
}

// The first half's result may go where the predicate to combine with stands.
static bool keep(struct ptx_parser *parser, struct comparison *c) {
    uint32_t copy;
    if (c->count < 3)
        return true;
    if (!ptx_temp(parser, 1, &copy))
        return false;
    struct tw_kir_inst *to = ptx_emit_free(parser, TW_KIR_MOV, TW_KIR_PRED, 1, 1);
    if (!to)
        return false;
    to->dst[0] = copy;
    to->src[0] = c->sources[2];
    c->sources[2] = tw_kir_reg_operand(copy);
    return true;
}

// Both halves of a pair into two predicates, the lower one first.
static bool compare_pair(struct ptx_parser *parser, const struct ptx_inst *inst, uint8_t type,
                         const uint32_t *targets, bool guarded) {
    struct comparison whole;
    struct tw_kir_operand a[2], b[2];
    if (!read_comparison(parser, inst, type, &whole) || !cut(parser, whole.sources[0], a) ||
        !cut(parser, whole.sources[1], b) || !keep(parser, &whole))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        struct comparison half = whole;
        half.type = type == TW_KIR_F16X2 ? TW_KIR_F16 : TW_KIR_BF16;
        half.sources[0] = a[i];
        half.sources[1] = b[i];
        if (targets[i] != TW_KIR_NO_REG && !compare(parser, inst, &half, &targets[i], 1, guarded))
            return false;
    }
    return true;
}

bool ptx_lower_setp(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint32_t targets[2];
    if (!ptx_results(parser, inst, 2) || !ptx_operands(parser, inst, 2, 3))
        return false;
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (!ptx_target(parser, &inst->dst[i].items[0], TW_KIR_PRED, &targets[i]))
            return false;
    if (is_pair(inst->type))
        return inst->dst_count == 2
                   ? compare_pair(parser, inst, inst->type, targets, true)
                   : ptx_fail(parser, &inst->token, "'%.*s' has two results, p|q", TW_STR_ARG(inst->name));
    struct comparison c;
    return read_comparison(parser, inst, inst->type, &c) &&
           compare(parser, inst, &c, targets, inst->dst_count, true);
}

// d = p ? a : b of `type`
static bool choose(struct ptx_parser *parser, uint8_t type, uint32_t target, struct tw_kir_operand a,
                   struct tw_kir_operand b, uint32_t predicate) {
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_SELECT, type, 1, 3);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = a;
    to->src[1] = b;
    to->src[2] = tw_kir_reg_operand(predicate);
    return true;
}

// What `set` writes for true: all ones, or 1.0.
static uint64_t truth(uint8_t type) {
    unsigned bits = tw_kir_type_bits(type);
    if (tw_kir_type_is_float(type))
        return type == TW_KIR_F32 ? 0x3f80'0000 : type == TW_KIR_F16 ? 0x3c00 : 0x3f80;
    return bits == 64 ? UINT64_MAX : (1ULL << bits) - 1;
}

static bool set_pair(struct ptx_parser *parser, const struct ptx_inst *inst) {
    uint32_t predicates[2], halves[2], target;
    uint8_t half = inst->type == TW_KIR_F16X2    ? TW_KIR_F16
                   : inst->type == TW_KIR_BF16X2 ? TW_KIR_BF16
                                                 : TW_KIR_B16;
    if (tw_kir_type_bits(inst->type) != 32 || inst->type == TW_KIR_F32)
        return ptx_fail(parser, &inst->token, "'%.*s': a pair of results has 32 bits",
                        TW_STR_ARG(inst->name));
    for (unsigned i = 0; i < 2; i++)
        if (!ptx_temp(parser, 1, &predicates[i]) || !ptx_temp(parser, 16, &halves[i]))
            return false;
    if (!compare_pair(parser, inst, inst->type2, predicates, false) ||
        !ptx_target(parser, &inst->dst[0].items[0], inst->type, &target))
        return false;
    for (unsigned i = 0; i < 2; i++)
        if (!choose(parser, TW_KIR_B16, halves[i], tw_kir_imm_operand(truth(half)), tw_kir_imm_operand(0),
                    predicates[i]))
            return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_PACK, TW_KIR_B32, 1, 2);
    if (!to)
        return false;
    to->dst[0] = target;
    for (unsigned i = 0; i < 2; i++)
        to->src[i] = tw_kir_reg_operand(halves[i]);
    return true;
}

bool ptx_lower_set(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint32_t predicate, target;
    struct comparison c;
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, 2, 3))
        return false;
    if (is_pair(inst->type2))
        return set_pair(parser, inst);
    if (is_pair(inst->type))
        return ptx_fail(parser, &inst->token, "'%.*s': a pair of results needs pairs to compare",
                        TW_STR_ARG(inst->name));
    if (!ptx_temp(parser, 1, &predicate) || !read_comparison(parser, inst, inst->type2, &c) ||
        !compare(parser, inst, &c, &predicate, 1, false) ||
        !ptx_target(parser, &inst->dst[0].items[0], inst->type, &target))
        return false;
    return choose(parser, inst->type, target, tw_kir_imm_operand(truth(inst->type)), tw_kir_imm_operand(0),
                  predicate);
}

// d = c >= 0 ? a : b
bool ptx_lower_slct(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand a, b, c;
    uint32_t predicate, target;
    if (inst->type2 != TW_KIR_S32 && inst->type2 != TW_KIR_F32)
        return ptx_fail(parser, &inst->token, "'slct' tests .s32 or .f32");
    if (!ptx_signature_source(parser, inst, 0, &a) || !ptx_signature_source(parser, inst, 1, &b) ||
        !ptx_signature_source(parser, inst, 2, &c) || !ptx_temp(parser, 1, &predicate) ||
        !ptx_signature_target(parser, inst, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit_free(parser, TW_KIR_SETP, inst->type2, 1, 2);
    if (!to)
        return false;
    to->cmp = TW_KIR_GE;
    to->mods = ptx_has(inst, PTX_G_FTZ) ? TW_KIR_FTZ : 0;
    to->dst[0] = predicate;
    to->src[0] = c;
    to->src[1] = tw_kir_imm_operand(0);
    return choose(parser, inst->type, target, a, b, predicate);
}

// SPDX-License-Identifier: Apache-2.0
//
// What lanes of a warp do together: see lower.h.

#include "lower.h"

// The row of result `index`, which some instructions leave out.
static uint32_t dest_or_none(struct jit_lower *l, const struct tw_kir_inst *inst, unsigned index,
                             unsigned bits) {
    return index < inst->dst_count ? jit_lower_dest(l, inst, index) : jit_lower_temp(l, bits);
}

static bool lower_shuffle(struct jit_lower *l, const struct tw_kir_inst *inst) {
    static const uint16_t ops[] = {[TW_KIR_SHFL_UP] = TW_INTERP_SHFL_UP,
                                   [TW_KIR_SHFL_DOWN] = TW_INTERP_SHFL_DOWN,
                                   [TW_KIR_SHFL_BFLY] = TW_INTERP_SHFL_BFLY,
                                   [TW_KIR_SHFL_IDX] = TW_INTERP_SHFL_IDX};
    uint32_t rows[] = {jit_lower_dest(l, inst, 0), dest_or_none(l, inst, 1, 1),
                       jit_lower_source(l, &inst->src[0], 32), jit_lower_source(l, &inst->src[1], 32),
                       jit_lower_source(l, &inst->src[2], 32)};
    jit_lower_emit(l, ops[inst->mode], 0, rows, TW_COUNT(rows));
    return true;
}

static bool lower_vote(struct jit_lower *l, const struct tw_kir_inst *inst) {
    static const uint16_t ops[] = {[TW_KIR_VOTE_ALL] = TW_INTERP_VOTE_ALL,
                                   [TW_KIR_VOTE_ANY] = TW_INTERP_VOTE_ANY,
                                   [TW_KIR_VOTE_UNI] = TW_INTERP_VOTE_UNI,
                                   [TW_KIR_VOTE_BALLOT] = TW_INTERP_VOTE_BALLOT};
    uint32_t rows[] = {jit_lower_dest(l, inst, 0), jit_lower_source(l, &inst->src[0], 1),
                       jit_lower_source(l, &inst->src[1], 32)};
    jit_lower_emit(l, ops[inst->mode], 0, rows, TW_COUNT(rows));
    return true;
}

static bool lower_match(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    const struct tw_kir_operand *members = &inst->src[1];
    uint32_t found = jit_lower_dest(l, inst, 0), a = jit_lower_source(l, &inst->src[0], bits),
             m = jit_lower_source(l, members, 32);
    if (bits != 32 && bits != 64)
        return false;
    if (inst->mode != 1) {
        jit_lower_emit(l, bits == 32 ? TW_INTERP_MATCH_ANY_32 : TW_INTERP_MATCH_ANY_64, 0,
                       (uint32_t[]){found, a, m}, 3);
        return true;
    }
    bool varies = !members->is_imm && !jit_reg_uniform(l->code, members->reg);
    jit_lower_emit(l, bits == 32 ? TW_INTERP_MATCH_ALL_32 : TW_INTERP_MATCH_ALL_64, varies,
                   (uint32_t[]){found, dest_or_none(l, inst, 1, 1), a, m}, 4);
    return true;
}

static bool lower_redux(struct jit_lower *l, const struct tw_kir_inst *inst) {
    static const uint16_t ops[][2] = {[TW_KIR_RED_ADD] = {TW_INTERP_REDUX_ADD, TW_INTERP_REDUX_ADD},
                                      [TW_KIR_RED_MIN] = {TW_INTERP_REDUX_MIN_U, TW_INTERP_REDUX_MIN_S},
                                      [TW_KIR_RED_MAX] = {TW_INTERP_REDUX_MAX_U, TW_INTERP_REDUX_MAX_S},
                                      [TW_KIR_RED_AND] = {TW_INTERP_REDUX_AND, TW_INTERP_REDUX_AND},
                                      [TW_KIR_RED_OR] = {TW_INTERP_REDUX_OR, TW_INTERP_REDUX_OR},
                                      [TW_KIR_RED_XOR] = {TW_INTERP_REDUX_XOR, TW_INTERP_REDUX_XOR}};
    if (inst->mode >= TW_COUNT(ops) || tw_kir_type_bits(inst->type) != 32 || tw_kir_type_is_float(inst->type))
        return false;
    uint32_t rows[] = {jit_lower_dest(l, inst, 0), jit_lower_source(l, &inst->src[0], 32),
                       jit_lower_source(l, &inst->src[1], 32)};
    jit_lower_emit(l, ops[inst->mode][tw_kir_type_is_signed(inst->type)], 0, rows, TW_COUNT(rows));
    return true;
}

bool jit_lower_warp(struct jit_lower *l, const struct tw_kir_inst *inst) {
    switch (inst->op) {
    case TW_KIR_WARPSYNC:
        return true; // lanes run in step
    case TW_KIR_SHFL:
        return lower_shuffle(l, inst);
    case TW_KIR_VOTE:
        return lower_vote(l, inst);
    case TW_KIR_MATCH:
        return lower_match(l, inst);
    case TW_KIR_REDUX:
        return lower_redux(l, inst);
    case TW_KIR_ACTIVEMASK:
        jit_lower_emit(l, TW_INTERP_ACTIVEMASK, 0, (uint32_t[]){jit_lower_dest(l, inst, 0)}, 1);
        return true;
    case TW_KIR_ELECT:
        jit_lower_emit(l, TW_INTERP_ELECT, 0,
                       (uint32_t[]){jit_lower_dest(l, inst, 0), dest_or_none(l, inst, 1, 1),
                                    jit_lower_source(l, &inst->src[0], 32)},
                       3);
        return true;
    case TW_KIR_MMA:
    case TW_KIR_LDMATRIX:
    case TW_KIR_MOVMATRIX:
        return jit_lower_matrix(l, inst);
    default:
        return false;
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// What the lanes of a warp exchange: shuffles, votes, matches, reductions. A warp is one vector of 32 lanes
// here, so these are operations on vectors. The lanes that take part are those that run the instruction; a
// program that names others in its member mask waits for them on hardware and is undefined where they are
// elsewhere.

#include "emit.h"

static LLVMValueRef lane_ids(struct jit_emit *e) {
    LLVMValueRef parts[JIT_MAX_LANES];
    for (unsigned i = 0; i < e->lanes; i++)
        parts[i] = jit_i32(e, i);
    return LLVMConstVector(parts, e->lanes);
}

static LLVMValueRef band(struct jit_emit *e, LLVMValueRef a, uint64_t mask) {
    return LLVMBuildAnd(e->b, a, jit_const(LLVMTypeOf(a), mask), "");
}

// The lane each lane reads from, and whether that was in range; as the PTX manual spells it out.
static LLVMValueRef shuffle_source(struct jit_emit *e, const struct tw_kir_inst *inst,
                                   LLVMValueRef *ret_in_range) {
    LLVMValueRef all = lane_ids(e), lane = band(e, all, 31),
                 b = band(e, jit_read(e, &inst->src[1], 32, true), 31),
                 c = jit_read(e, &inst->src[2], 32, true);
    LLVMValueRef clamp = band(e, c, 31),
                 segment = band(e, LLVMBuildLShr(e->b, c, jit_const(LLVMTypeOf(c), 8), ""), 31);
    LLVMValueRef outside = LLVMBuildNot(e->b, segment, ""), least = LLVMBuildAnd(e->b, lane, segment, "");
    LLVMValueRef most = LLVMBuildOr(e->b, least, LLVMBuildAnd(e->b, clamp, outside, ""), ""), from = NULL;
    switch ((enum tw_kir_shfl)inst->mode) {
    case TW_KIR_SHFL_UP:
        from = LLVMBuildSub(e->b, lane, b, "");
        break;
    case TW_KIR_SHFL_DOWN:
        from = LLVMBuildAdd(e->b, lane, b, "");
        break;
    case TW_KIR_SHFL_BFLY:
        from = LLVMBuildXor(e->b, lane, b, "");
        break;
    case TW_KIR_SHFL_IDX:
        from = LLVMBuildOr(e->b, least, LLVMBuildAnd(e->b, b, outside, ""), "");
        break;
    }
    bool up = inst->mode == TW_KIR_SHFL_UP;
    *ret_in_range = LLVMBuildICmp(e->b, up ? LLVMIntSGE : LLVMIntSLE, from, most, "");
    from = band(e, LLVMBuildSelect(e->b, *ret_in_range, from, lane, ""), 31);
    return LLVMBuildOr(e->b, from, band(e, all, ~UINT64_C(31)), "");
}

bool jit_is_known_shuffle(const struct jit_emit *e, const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_SHFL && !inst->src[0].is_imm && inst->src[1].is_imm && inst->src[2].is_imm &&
           jit_form_of(e->code, e->code->shapes[inst->src[0].reg]) == JIT_LANES &&
           !jit_is_uniform(jit_inst_shape(e->code, inst, 0));
}

unsigned jit_shuffle_lane(const struct tw_kir_inst *inst, unsigned lane, bool *ret_in_range) {
    unsigned own = lane & 31, b = (unsigned)inst->src[1].bits & 31, c = (unsigned)inst->src[2].bits;
    unsigned segment = c >> 8 & 31, least = own & segment, most = least | (c & 31 & ~segment), from = own;
    switch ((enum tw_kir_shfl)inst->mode) {
    case TW_KIR_SHFL_UP:
        from = own - b;
        break;
    case TW_KIR_SHFL_DOWN:
        from = own + b;
        break;
    case TW_KIR_SHFL_BFLY:
        from = own ^ b;
        break;
    case TW_KIR_SHFL_IDX:
        from = least | (b & ~segment);
        break;
    }
    *ret_in_range = inst->mode == TW_KIR_SHFL_UP ? (int)from >= (int)most : (int)from <= (int)most;
    return (*ret_in_range ? from & 31 : own) | (lane & ~31U);
}

static bool emit_known_shuffle(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct jit_lanes from = {.count = e->lanes};
    LLVMValueRef in_range[JIT_MAX_LANES];
    for (unsigned k = 0; k < e->lanes; k++) {
        bool reaches;
        from.at[k] = (uint16_t)jit_shuffle_lane(inst, jit_part_lane(e, k), &reaches);
        in_range[k] = LLVMConstInt(jit_int(e, 1), reaches, false);
    }
    jit_write_any(e, inst, 0, jit_part_pick(e, inst->src[0].reg, &from));
    if (inst->dst_count > 1)
        jit_write_any(e, inst, 1, LLVMConstVector(in_range, e->lanes));
    return true;
}

static bool constant_lanes(LLVMValueRef v, unsigned n, unsigned *ret_lanes) {
    for (unsigned i = 0; i < n; i++) {
        LLVMValueRef element = LLVMIsConstant(v) ? LLVMGetAggregateElement(v, i) : NULL;
        if (!element || !LLVMIsAConstantInt(element))
            return false;
        ret_lanes[i] = (unsigned)LLVMConstIntGetZExtValue(element);
    }
    return true;
}

static LLVMValueRef half(struct jit_emit *e, LLVMValueRef v, unsigned first) {
    unsigned indices[16];
    for (unsigned i = 0; i < 16; i++)
        indices[i] = first + i;
    return jit_shuffle(e, v, NULL, indices, 16);
}

// Any lanes: AVX-512 looks up 32 words at once, elsewhere through memory.
static LLVMValueRef permute_lanes(struct jit_emit *e, LLVMValueRef a, LLVMValueRef from) {
    unsigned lanes[JIT_MAX_LANES];
    if (constant_lanes(from, e->lanes, lanes))
        return jit_shuffle(e, a, NULL, lanes, e->lanes);
    if (e->avx512) {
        LLVMValueRef low = half(e, a, 0), high = half(e, a, 16), parts[2];
        for (unsigned i = 0; i < 2; i++)
            parts[i] = jit_intrinsic(e, "llvm.x86.avx512.vpermi2var.d.512", NULL, 0,
                                     (LLVMValueRef[]){low, half(e, from, 16 * i), high}, 3);
        unsigned indices[JIT_MAX_LANES];
        for (unsigned i = 0; i < e->lanes; i++)
            indices[i] = i;
        return jit_shuffle(e, parts[0], parts[1], indices, e->lanes);
    }
    LLVMValueRef slot = jit_slot(e, LLVMTypeOf(a), "shuffled"), found = LLVMGetPoison(LLVMTypeOf(a));
    LLVMBuildStore(e->b, a, slot);
    for (unsigned i = 0; i < e->lanes; i++) {
        LLVMValueRef at = LLVMBuildExtractElement(e->b, from, jit_i32(e, i), "");
        LLVMValueRef one =
            LLVMBuildLoad2(e->b, jit_int(e, 32), LLVMBuildGEP2(e->b, jit_int(e, 32), slot, &at, 1, ""), "");
        found = LLVMBuildInsertElement(e->b, found, one, jit_i32(e, i), "");
    }
    return found;
}

static bool emit_shuffle(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct jit_shape shape = jit_inst_shape(e->code, inst, 0);
    if (jit_is_known_shuffle(e, inst))
        return emit_known_shuffle(e, inst);
    LLVMValueRef a = jit_read(e, &inst->src[0], 32, true), in_range;
    if (jit_is_uniform(shape)) {
        LLVMValueRef lane = band(e, jit_read(e, &inst->src[1], 32, false), 31);
        jit_write(e, inst, 0, LLVMBuildExtractElement(e->b, a, lane, ""), shape);
        if (inst->dst_count > 1)
            jit_write(e, inst, 1, LLVMConstAllOnes(jit_int(e, 1)), shape);
        return true;
    }
    LLVMValueRef from = shuffle_source(e, inst, &in_range);
    jit_write_any(e, inst, 0, permute_lanes(e, a, from));
    if (inst->dst_count > 1)
        jit_write_any(e, inst, 1, in_range);
    return true;
}

static LLVMValueRef word_of(struct jit_emit *e, LLVMValueRef lanes) {
    return LLVMBuildBitCast(e->b, lanes, jit_int(e, 32), "");
}

// Active lanes that the instruction's member mask names: a word, or a word a lane where the mask differs between
// lanes. Groups of lanes that name one another only (what match.any finds) do the instruction side by side.
static LLVMValueRef members(struct jit_emit *e, const struct tw_kir_operand *operand) {
    LLVMValueRef active = word_of(e, e->active);
    if (operand->is_imm && (uint32_t)operand->bits == UINT32_MAX)
        return active;
    bool varies = jit_operand_varies(e, operand);
    return LLVMBuildAnd(e->b, varies ? jit_splat(e, active) : active, jit_read(e, operand, 32, varies), "");
}

// A word, as often as there are words in `who`.
static LLVMValueRef as_members(struct jit_emit *e, LLVMValueRef word, LLVMValueRef who) {
    return jit_is_vector(who) && !jit_is_vector(word) ? jit_splat(e, word) : word;
}

static bool emit_vote(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef who = members(e, &inst->src[1]), zero = jit_const(LLVMTypeOf(who), 0);
    LLVMValueRef votes = word_of(e, jit_read(e, &inst->src[0], 1, true));
    LLVMValueRef yes = LLVMBuildAnd(e->b, as_members(e, votes, who), who, "");
    LLVMValueRef all = LLVMBuildICmp(e->b, LLVMIntEQ, yes, who, ""),
                 none = LLVMBuildICmp(e->b, LLVMIntEQ, yes, zero, ""), value = yes;
    switch ((enum tw_kir_vote)inst->mode) {
    case TW_KIR_VOTE_ALL:
        value = all;
        break;
    case TW_KIR_VOTE_ANY:
        value = LLVMBuildNot(e->b, none, "");
        break;
    case TW_KIR_VOTE_UNI:
        value = LLVMBuildOr(e->b, all, none, "");
        break;
    case TW_KIR_VOTE_BALLOT:
        break;
    }
    jit_write_any(e, inst, 0, value);
    return true;
}

static LLVMValueRef equal_lanes(struct jit_emit *e, LLVMValueRef a, LLVMValueRef value) {
    return word_of(e, LLVMBuildICmp(e->b, LLVMIntEQ, a, jit_splat(e, value), ""));
}

// A word a lane: the lanes with the same value.
static LLVMValueRef alike(struct jit_emit *e, LLVMValueRef a) {
    LLVMValueRef found = LLVMGetPoison(jit_vec(e, jit_int(e, 32)));
    for (unsigned i = 0; i < e->lanes; i++) {
        LLVMValueRef value = LLVMBuildExtractElement(e->b, a, jit_i32(e, i), "");
        found = LLVMBuildInsertElement(e->b, found, equal_lanes(e, a, value), jit_i32(e, i), "");
    }
    return found;
}

// The lowest lane of a mask, or of each; 0 for an empty one.
static LLVMValueRef first_lane(struct jit_emit *e, LLVMValueRef who) {
    LLVMTypeRef type = LLVMTypeOf(who);
    LLVMValueRef args[2] = {who, LLVMConstNull(jit_int(e, 1))};
    return LLVMBuildAnd(e->b, jit_intrinsic(e, "llvm.cttz", &type, 1, args, 2), jit_const(type, 31), "");
}

static bool emit_match(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef a = jit_read(e, &inst->src[0], tw_kir_type_bits(inst->type), true),
                 who = members(e, &inst->src[1]);
    if (inst->mode != 1) {
        LLVMValueRef everyone = jit_is_vector(who) ? who : jit_splat(e, who);
        jit_write_any(e, inst, 0, LLVMBuildAnd(e->b, alike(e, a), everyone, ""));
        return true;
    }
    LLVMValueRef same = jit_is_vector(who)
                            ? alike(e, a)
                            : equal_lanes(e, a, LLVMBuildExtractElement(e->b, a, first_lane(e, who), ""));
    LLVMValueRef all = LLVMBuildICmp(e->b, LLVMIntEQ, LLVMBuildAnd(e->b, same, who, ""), who, "");
    LLVMValueRef found = LLVMBuildSelect(e->b, all, who, jit_const(LLVMTypeOf(who), 0), "");
    jit_write_any(e, inst, 0, jit_is_vector(who) ? found : jit_splat(e, found));
    if (inst->dst_count > 1)
        jit_write_any(e, inst, 1, jit_is_vector(who) ? all : jit_splat(e, all));
    return true;
}

// The neutral element and LLVM's name of a reduction.
static const char *reduction(const struct tw_kir_inst *inst, uint32_t *ret_neutral) {
    bool sign = tw_kir_type_is_signed(inst->type);
    *ret_neutral = 0;
    switch ((enum tw_kir_reduce)inst->mode) {
    case TW_KIR_RED_ADD:
        return "llvm.vector.reduce.add";
    case TW_KIR_RED_MIN:
        *ret_neutral = sign ? INT32_MAX : UINT32_MAX;
        return sign ? "llvm.vector.reduce.smin" : "llvm.vector.reduce.umin";
    case TW_KIR_RED_MAX:
        *ret_neutral = sign ? (uint32_t)INT32_MIN : 0;
        return sign ? "llvm.vector.reduce.smax" : "llvm.vector.reduce.umax";
    case TW_KIR_RED_AND:
        *ret_neutral = UINT32_MAX;
        return "llvm.vector.reduce.and";
    case TW_KIR_RED_OR:
        return "llvm.vector.reduce.or";
    case TW_KIR_RED_XOR:
        return "llvm.vector.reduce.xor";
    case TW_KIR_RED_POPC:
        break;
    }
    return NULL;
}

static LLVMValueRef reduced(struct jit_emit *e, const char *name, LLVMValueRef a, uint32_t neutral,
                            LLVMValueRef who) {
    LLVMValueRef lanes = LLVMBuildBitCast(e->b, who, jit_vec(e, jit_int(e, 1)), "");
    return jit_unary(e, name, LLVMBuildSelect(e->b, lanes, a, jit_const(LLVMTypeOf(a), neutral), ""));
}

static bool emit_redux(struct jit_emit *e, const struct tw_kir_inst *inst) {
    uint32_t neutral;
    const char *name = reduction(inst, &neutral);
    if (!name || tw_kir_type_bits(inst->type) != 32 || tw_kir_type_is_float(inst->type))
        return jit_refuse(e->err, inst, "is not supported on the CPU device");
    LLVMValueRef a = jit_read(e, &inst->src[0], 32, true), who = members(e, &inst->src[1]);
    if (!jit_is_vector(who)) {
        jit_write_any(e, inst, 0, reduced(e, name, a, neutral, who));
        return true;
    }
    LLVMValueRef found = LLVMGetPoison(LLVMTypeOf(a));
    for (unsigned i = 0; i < e->lanes; i++) {
        LLVMValueRef group = LLVMBuildExtractElement(e->b, who, jit_i32(e, i), "");
        found = LLVMBuildInsertElement(e->b, found, reduced(e, name, a, neutral, group), jit_i32(e, i), "");
    }
    jit_write_any(e, inst, 0, found);
    return true;
}

static bool emit_elect(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef leader = first_lane(e, members(e, &inst->src[0]));
    jit_write_any(e, inst, 0, leader);
    if (inst->dst_count > 1)
        jit_write_any(e, inst, 1,
                      LLVMBuildICmp(e->b, LLVMIntEQ, lane_ids(e), as_members(e, leader, lane_ids(e)), ""));
    return true;
}

bool jit_emit_warp(struct jit_emit *e, const struct tw_kir_inst *inst) {
    switch (inst->op) {
    case TW_KIR_WARPSYNC:
        return true; // lanes run in step
    case TW_KIR_SHFL:
        return emit_shuffle(e, inst);
    case TW_KIR_VOTE:
        return emit_vote(e, inst);
    case TW_KIR_MATCH:
        return emit_match(e, inst);
    case TW_KIR_REDUX:
        return emit_redux(e, inst);
    case TW_KIR_ACTIVEMASK:
        jit_write_any(e, inst, 0, word_of(e, e->active));
        return true;
    case TW_KIR_ELECT:
        return emit_elect(e, inst);
    default:
        return jit_refuse(e->err, inst, "is not supported on the CPU device");
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// Branches whose lanes nearly always agree: `x < n && y < n` where x and y count over the lanes. The bounds of such
// values are known from one scalar each, and comparing bounds tells for all lanes at once: loops over an array and
// the inner points of a grid stay free of masks. Beside a predicate are kept two bits that say "true for all
// lanes" and "false for all lanes" where that is certain, beside a minimum or maximum its own bounds; only for
// registers that are written in one place, so that nothing else can change them.

#include "emit.h"

static void count_writes(const struct tw_kir_inst *inst, uint8_t *writes) {
    for (unsigned d = 0; d < inst->dst_count; d++)
        if (inst->dst[d] != TW_KIR_NO_REG && writes[inst->dst[d]] < 2)
            writes[inst->dst[d]]++;
}

// By register: in how many places it is written, 2 for more.
static uint8_t *find_writes(const struct jit_emit *e) {
    uint8_t *writes = TW_ARENA_ARRAY(e->arena, uint8_t, e->code->function->reg_count + 1);
    for (uint32_t b = 0; writes && b < e->code->count; b++) {
        const struct jit_block *block = &e->code->blocks[b];
        for (uint32_t i = 0; i < block->count; i++)
            count_writes(&block->insts[i], writes);
        if (block->term == JIT_BARRIER)
            count_writes(block->last, writes);
    }
    return writes;
}

static LLVMValueRef load(struct jit_emit *e, LLVMValueRef slot) {
    return LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slot), slot, "");
}

static bool is_signed(const struct tw_kir_inst *inst) {
    return tw_kir_type_is_signed(inst->type);
}

// How much the last lane is above the first, in a register kept as one value whose lanes only rise. False: no such
// one.
static bool span_of(const struct jit_code *code, struct jit_shape s, uint64_t *ret_span) {
    if (jit_form_of(code, s) != JIT_ONE || s.stride < 0 || s.across < 0 || s.stride > UINT16_MAX ||
        s.across > UINT16_MAX)
        return false;
    unsigned group = jit_group_of(code, s), rows = code->variant.lanes >> group;
    *ret_span = ((UINT64_C(1) << group) - 1) * (uint64_t)s.stride + (rows - 1) * (uint64_t)s.across;
    return true;
}

// Of all lanes, where `certain` (i1) holds.
struct bounds {
    LLVMValueRef low, high, certain;
};

static bool bounds_of(struct jit_emit *e, const struct tw_kir_operand *operand,
                      const struct tw_kir_inst *inst, struct bounds *ret) {
    unsigned bits = tw_kir_type_bits(inst->type);
    bool sign = is_signed(inst);
    LLVMValueRef yes = LLVMConstAllOnes(jit_int(e, 1));
    uint64_t span;
    if (!operand->is_imm && e->hints[operand->reg].low) {
        const struct jit_hint *h = &e->hints[operand->reg];
        *ret = (struct bounds){load(e, h->low), load(e, h->high), load(e, h->certain)};
        return h->sign == sign && !h->is_predicate;
    }
    if (!operand->is_imm && !span_of(e->code, e->code->shapes[operand->reg], &span))
        return false;
    LLVMValueRef first = jit_read(e, operand, bits, false);
    *ret = (struct bounds){first, first, yes};
    if (operand->is_imm || span == 0)
        return true;
    LLVMTypeRef type = LLVMTypeOf(first);
    uint64_t top = UINT64_MAX >> (64 - bits + sign);
    ret->high = LLVMBuildAdd(e->b, first, LLVMConstInt(type, span, false), "last");
    ret->certain = LLVMBuildICmp(e->b, sign ? LLVMIntSLE : LLVMIntULE, first,
                                 LLVMConstInt(type, top - span, false), "straight");
    return true;
}

// i1 each, for a predicate: true for all lanes, false for all lanes. Neither is no claim.
struct agreement {
    LLVMValueRef all, none;
};

static struct agreement agreement_of(struct jit_emit *e, const struct tw_kir_operand *operand, bool negate) {
    LLVMValueRef no = LLVMConstNull(jit_int(e, 1));
    struct agreement found = {no, no};
    if (operand->is_imm || jit_reg_uniform(e->code, operand->reg)) {
        found.all = jit_read(e, operand, 1, false);
        found.none = LLVMBuildNot(e->b, found.all, "");
    } else if (e->hints[operand->reg].low && e->hints[operand->reg].is_predicate) {
        found.all = load(e, e->hints[operand->reg].low);
        found.none = load(e, e->hints[operand->reg].high);
    }
    return negate ? (struct agreement){found.none, found.all} : found;
}

static struct agreement both(struct jit_emit *e, struct agreement a, struct agreement b) {
    return (struct agreement){LLVMBuildAnd(e->b, a.all, b.all, ""), LLVMBuildOr(e->b, a.none, b.none, "")};
}

static struct agreement either(struct jit_emit *e, struct agreement a, struct agreement b) {
    return (struct agreement){LLVMBuildOr(e->b, a.all, b.all, ""), LLVMBuildAnd(e->b, a.none, b.none, "")};
}

// a < b for all lanes, or a >= b for all.
static struct agreement less(struct jit_emit *e, const struct tw_kir_inst *inst, struct bounds a,
                             struct bounds b) {
    LLVMIntPredicate lt = is_signed(inst) ? LLVMIntSLT : LLVMIntULT,
                     ge = is_signed(inst) ? LLVMIntSGE : LLVMIntUGE;
    return (struct agreement){LLVMBuildICmp(e->b, lt, a.high, b.low, ""),
                              LLVMBuildICmp(e->b, ge, a.low, b.high, "")};
}

static struct agreement swapped(struct agreement a) {
    return (struct agreement){a.none, a.all};
}

static bool compare(struct jit_emit *e, const struct tw_kir_inst *inst, struct agreement *ret) {
    struct bounds a, b;
    if (tw_kir_type_is_float(inst->type) || tw_kir_type_bits(inst->type) < 32 ||
        tw_kir_type_bits(inst->type) > 64 || inst->combine == TW_KIR_COMBINE_XOR ||
        !bounds_of(e, &inst->src[0], inst, &a) || !bounds_of(e, &inst->src[1], inst, &b))
        return false;
    struct agreement below = less(e, inst, a, b), above = less(e, inst, b, a), differ;
    switch (inst->cmp) {
    case TW_KIR_LT:
        *ret = below;
        break;
    case TW_KIR_GE:
        *ret = swapped(below);
        break;
    case TW_KIR_GT:
        *ret = above;
        break;
    case TW_KIR_LE:
        *ret = swapped(above);
        break;
    case TW_KIR_EQ:
    case TW_KIR_NE:
        differ.all = LLVMBuildOr(e->b, below.all, above.all, "");
        differ.none = LLVMConstNull(jit_int(e, 1));
        *ret = inst->cmp == TW_KIR_NE ? differ : swapped(differ);
        break;
    default:
        return false;
    }
    LLVMValueRef certain = LLVMBuildAnd(e->b, a.certain, b.certain, "");
    ret->all = LLVMBuildAnd(e->b, ret->all, certain, "");
    ret->none = LLVMBuildAnd(e->b, ret->none, certain, "");
    if (inst->combine == TW_KIR_COMBINE_NONE)
        return true;
    struct agreement c = agreement_of(e, &inst->src[2], inst->combine_not);
    *ret = inst->combine == TW_KIR_COMBINE_AND ? both(e, *ret, c) : either(e, *ret, c);
    return true;
}

static bool predicate_hint(struct jit_emit *e, const struct tw_kir_inst *inst, struct agreement *ret) {
    if (jit_row_begins(e, inst))
        return true; // some lanes are there, and some are not
    if (inst->op == TW_KIR_SETP)
        return inst->src_count == 2 + (inst->combine != TW_KIR_COMBINE_NONE) && compare(e, inst, ret);
    if (inst->type != TW_KIR_PRED)
        return false;
    struct agreement a = agreement_of(e, &inst->src[0], false);
    if (inst->op == TW_KIR_NOT || inst->op == TW_KIR_MOV)
        *ret = inst->op == TW_KIR_NOT ? swapped(a) : a;
    else if (inst->op == TW_KIR_AND)
        *ret = both(e, a, agreement_of(e, &inst->src[1], false));
    else
        *ret = either(e, a, agreement_of(e, &inst->src[1], false));
    return true;
}

static bool extreme_hint(struct jit_emit *e, const struct tw_kir_inst *inst, struct bounds *ret) {
    struct bounds a, b;
    if (!bounds_of(e, &inst->src[0], inst, &a) || !bounds_of(e, &inst->src[1], inst, &b))
        return false;
    const char *name = inst->op == TW_KIR_MIN ? (is_signed(inst) ? "llvm.smin" : "llvm.umin")
                                              : (is_signed(inst) ? "llvm.smax" : "llvm.umax");
    *ret = (struct bounds){jit_binary(e, name, a.low, b.low), jit_binary(e, name, a.high, b.high),
                           LLVMBuildAnd(e->b, a.certain, b.certain, "")};
    return true;
}

static bool makes_predicate(const struct tw_kir_inst *inst) {
    switch (inst->op) {
    case TW_KIR_SETP:
        return true;
    case TW_KIR_AND:
    case TW_KIR_OR:
    case TW_KIR_NOT:
    case TW_KIR_MOV:
        return inst->type == TW_KIR_PRED;
    default:
        return false;
    }
}

static bool makes_extreme(const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    return (inst->op == TW_KIR_MIN || inst->op == TW_KIR_MAX) && jit_is_integer(inst->type) && bits >= 32 &&
           !(inst->mods & (TW_KIR_RELU | TW_KIR_SAT));
}

// A hint may be kept beside result 0 of the instruction.
static bool wants_hint(const struct jit_emit *e, uint32_t block, const struct tw_kir_inst *inst) {
    if (inst->dst_count == 0 || inst->dst[0] == TW_KIR_NO_REG || inst->guard != TW_KIR_NO_REG)
        return false;
    uint32_t reg = inst->dst[0];
    return (makes_predicate(inst) || makes_extreme(inst)) && !jit_reg_uniform(e->code, reg) &&
           jit_form_of(e->code, e->code->shapes[reg]) == JIT_LANES &&
           !jit_must_blend(e->code, block, inst, reg);
}

static LLVMValueRef hint_slot(struct jit_emit *e, LLVMTypeRef type) {
    return jit_slot(e, type, "hint");
}

bool jit_hints_build(struct jit_emit *e) {
    e->hints = TW_ARENA_ARRAY(e->arena, struct jit_hint, e->code->function->reg_count + 1);
    uint8_t *writes = find_writes(e);
    if (!e->hints || !writes)
        return jit_no_memory(e->err);
    LLVMTypeRef i1 = jit_int(e, 1);
    for (uint32_t b = 0; !e->code->exact && b < e->code->count; b++)
        for (uint32_t i = 0; i < e->code->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &e->code->blocks[b].insts[i];
            if (!wants_hint(e, b, inst) || writes[inst->dst[0]] > 1)
                continue;
            bool predicate = makes_predicate(inst);
            LLVMTypeRef type = predicate ? i1 : jit_int(e, tw_kir_type_bits(inst->type));
            e->hints[inst->dst[0]] = (struct jit_hint){.low = hint_slot(e, type),
                                                       .high = hint_slot(e, type),
                                                       .certain = predicate ? NULL : hint_slot(e, i1),
                                                       .is_predicate = predicate,
                                                       .sign = is_signed(inst)};
        }
    return true;
}

void jit_reset_hints(struct jit_emit *e) {
    for (uint32_t r = 0; r < e->code->function->reg_count; r++) {
        LLVMValueRef slots[3] = {e->hints[r].low, e->hints[r].high, e->hints[r].certain};
        for (unsigned i = 0; i < TW_COUNT(slots); i++)
            if (slots[i])
                LLVMBuildStore(e->b, LLVMConstNull(LLVMGetAllocatedType(slots[i])), slots[i]);
    }
}

void jit_note_hint(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->dst_count == 0 || inst->dst[0] == TW_KIR_NO_REG || !e->hints[inst->dst[0]].low)
        return;
    const struct jit_hint *hint = &e->hints[inst->dst[0]];
    LLVMValueRef no = LLVMConstNull(jit_int(e, 1));
    if (hint->is_predicate) {
        struct agreement found = {no, no};
        if (!predicate_hint(e, inst, &found))
            found = (struct agreement){no, no};
        LLVMBuildStore(e->b, found.all, hint->low);
        LLVMBuildStore(e->b, found.none, hint->high);
        return;
    }
    LLVMValueRef zero = LLVMConstNull(LLVMGetAllocatedType(hint->low));
    struct bounds found = {zero, zero, no};
    if (!extreme_hint(e, inst, &found))
        found = (struct bounds){zero, zero, no};
    LLVMBuildStore(e->b, found.low, hint->low);
    LLVMBuildStore(e->b, found.high, hint->high);
    LLVMBuildStore(e->b, found.certain, hint->certain);
}

bool jit_agreement(struct jit_emit *e, const struct jit_block *block, LLVMValueRef ret_all[2]) {
    if (block->cond.is_imm || !e->hints[block->cond.reg].low)
        return false;
    struct agreement found = agreement_of(e, &block->cond, false);
    if (jit_row_ends(e, e->at_block)) {
        bool below = block->insts[block->count - 1].cmp == TW_KIR_LT;
        found = (struct agreement){LLVMConstInt(jit_int(e, 1), !below, false),
                                   LLVMConstInt(jit_int(e, 1), below, false)};
    }
    ret_all[0] = found.all;
    ret_all[1] = found.none;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// Branches whose lanes nearly always agree: `i < n` where i counts 0, 1, 2 … over the lanes. Comparing the first
// and the last lane tells as much as comparing all, with two scalar comparisons: loops over an array stay free of
// masks until their last iteration.

#include "emit.h"

// The comparison that gives the branch its condition: the last write of it in the block, plain, its sources
// not written after. NULL: there is no such one.
static const struct tw_kir_inst *comparison(const struct jit_block *b) {
    for (uint32_t i = b->count; i-- > 0;) {
        const struct tw_kir_inst *inst = &b->insts[i];
        if (inst->op == TW_KIR_SETP && inst->dst[0] == b->cond.reg && inst->guard == TW_KIR_NO_REG &&
            inst->combine == TW_KIR_COMBINE_NONE && !tw_kir_type_is_float(inst->type))
            return inst;
        // Between the comparison and the branch compilers put nothing that matters; do not look further.
        for (unsigned d = 0; d < inst->dst_count; d++)
            if (inst->dst[d] == b->cond.reg)
                return NULL;
        if (inst->dst_count)
            return NULL;
    }
    return NULL;
}

static LLVMIntPredicate predicate(const struct tw_kir_inst *inst) {
    static const LLVMIntPredicate sign[] = {LLVMIntSLT, LLVMIntSLE, LLVMIntSGT, LLVMIntSGE};
    static const LLVMIntPredicate plain[] = {LLVMIntULT, LLVMIntULE, LLVMIntUGT, LLVMIntUGE};
    unsigned index = (unsigned)inst->cmp - TW_KIR_LT;
    return tw_kir_type_is_signed(inst->type) ? sign[index] : plain[index];
}

bool jit_agreement(struct jit_emit *e, const struct jit_block *block, LLVMValueRef ret_all[2]) {
    const struct tw_kir_inst *inst = comparison(block);
    if (!inst || inst->cmp < TW_KIR_LT || inst->cmp > TW_KIR_GE || inst->src_count > 2)
        return false;
    unsigned bits = tw_kir_type_bits(inst->type);
    struct jit_shape a = jit_operand_shape(e->code, &inst->src[0], bits),
                     b = jit_operand_shape(e->code, &inst->src[1], bits);
    if (a.kind == JIT_VARYING || b.kind == JIT_VARYING || b.stride != 0 || a.stride <= 0 ||
        a.stride > UINT16_MAX || bits < 32)
        return false;
    bool sign = tw_kir_type_is_signed(inst->type);
    uint64_t top = UINT64_MAX >> (64 - bits + sign), span = (e->lanes - 1) * (uint64_t)a.stride;
    LLVMValueRef first = jit_read(e, &inst->src[0], bits, false),
                 limit = jit_read(e, &inst->src[1], bits, false);
    LLVMTypeRef type = LLVMTypeOf(first);
    LLVMValueRef last = LLVMBuildAdd(e->b, first, jit_const(type, span), "last");
    LLVMValueRef straight =
        LLVMBuildICmp(e->b, sign ? LLVMIntSLE : LLVMIntULE, first, LLVMConstInt(type, top - span, false), "");
    LLVMValueRef x = LLVMBuildICmp(e->b, predicate(inst), first, limit, ""),
                 y = LLVMBuildICmp(e->b, predicate(inst), last, limit, "");
    ret_all[0] = LLVMBuildAnd(e->b, straight, LLVMBuildAnd(e->b, x, y, ""), "all_true");
    ret_all[1] = LLVMBuildAnd(e->b, straight,
                              LLVMBuildAnd(e->b, LLVMBuildNot(e->b, x, ""), LLVMBuildNot(e->b, y, ""), ""),
                              "all_false");
    return true;
}

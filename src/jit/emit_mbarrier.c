// SPDX-License-Identifier: Apache-2.0
//
// Barriers in shared memory. PTX leaves the 64 bits of such an object, and of the state that an arrival gives, to the
// machine; here both are
//
//     bits 0 … 19 arrivals that the phase still wants · 20 … 39 those that the next one wants · 40 … 63 the phase
//
// A state is the object as it was before the arrival. Lanes arrive one after the other, like those of an atomic
// operation on shared memory. Waiting is a loop of tests, in which other warps run (waiting.c).

#include "emit.h"

enum { COUNT_BITS = 20, PHASE_AT = 40 };
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
_Static_assert(2 * COUNT_BITS == PHASE_AT, "the fields lie side by side");

LLVMValueRef jit_mbarrier_next(struct jit_emit *e, uint8_t mode, LLVMValueRef old, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(old);
    LLVMValueRef mask = jit_const(type, COUNT_MASK), bits = jit_const(type, COUNT_BITS);
    v = LLVMBuildAnd(e->b, v, mask, "");
    if (mode == TW_KIR_MBARRIER_INIT)
        return LLVMBuildOr(e->b, v, LLVMBuildShl(e->b, v, bits, ""), "");
    if (mode < TW_KIR_MBARRIER_ARRIVE || mode > TW_KIR_MBARRIER_DROP_STAYING)
        return old;
    LLVMValueRef wanted = LLVMBuildAnd(e->b, LLVMBuildLShr(e->b, old, bits, ""), mask, "");
    if (mode >= TW_KIR_MBARRIER_DROP)
        wanted = LLVMBuildAnd(e->b, LLVMBuildSub(e->b, wanted, v, ""), mask, "");
    LLVMValueRef missing =
        LLVMBuildAnd(e->b, LLVMBuildSub(e->b, LLVMBuildAnd(e->b, old, mask, ""), v, ""), mask, "");
    LLVMValueRef phase = LLVMBuildLShr(e->b, old, jit_const(type, PHASE_AT), "");
    LLVMValueRef full = LLVMBuildICmp(e->b, LLVMIntEQ, missing, LLVMConstNull(type), "");
    missing = LLVMBuildSelect(e->b, full, wanted, missing, "");
    phase = LLVMBuildAdd(e->b, phase, LLVMBuildZExt(e->b, full, type, ""), "");
    phase = LLVMBuildShl(e->b, phase, jit_const(type, PHASE_AT), "");
    return LLVMBuildOr(e->b, phase, LLVMBuildOr(e->b, LLVMBuildShl(e->b, wanted, bits, ""), missing, ""), "");
}

// i1 of each lane: the phase that `told` is of is over, by the object `now`.
static LLVMValueRef is_over(struct jit_emit *e, bool parity, LLVMValueRef now, LLVMValueRef told) {
    LLVMTypeRef type = LLVMTypeOf(now);
    LLVMValueRef phase = LLVMBuildLShr(e->b, now, jit_const(type, PHASE_AT), "");
    if (parity)
        return LLVMBuildTrunc(e->b, LLVMBuildXor(e->b, phase, told, ""), jit_like_bool(e, type), "");
    return LLVMBuildICmp(e->b, LLVMIntNE, phase, LLVMBuildLShr(e->b, told, jit_const(type, PHASE_AT), ""),
                         "");
}

bool jit_emit_mbarrier(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMTypeRef wide = jit_vec(e, jit_int(e, 64)), narrow = jit_vec(e, jit_int(e, 32));
    struct jit_shape varying = {.kind = JIT_VARYING};
    LLVMValueRef v = LLVMConstNull(wide);
    if (inst->mode == TW_KIR_MBARRIER_INVAL)
        return true;
    if (inst->mode == TW_KIR_MBARRIER_PENDING) {
        v = LLVMBuildAnd(e->b, jit_read(e, &inst->src[0], 64, true), jit_const(wide, COUNT_MASK), "");
        jit_write(e, inst, 0, LLVMBuildTrunc(e->b, v, narrow, ""), varying);
        return true;
    }
    if (inst->mode == TW_KIR_MBARRIER_TEST)
        v = jit_read(e, &inst->src[1], 64, true);
    else
        v = LLVMBuildZExt(e->b, jit_read(e, &inst->src[1], 32, true), wide, "");
    LLVMValueRef old = jit_mbarrier_lanes(e, inst, v);
    if (inst->mode >= TW_KIR_MBARRIER_TEST)
        old = is_over(e, inst->mode == TW_KIR_MBARRIER_TEST_PARITY, old, v);
    if (inst->dst_count && inst->dst[0] != TW_KIR_NO_REG)
        jit_write(e, inst, 0, old, varying);
    return true;
}

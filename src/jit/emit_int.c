// SPDX-License-Identifier: Apache-2.0
//
// Integer arithmetic, comparisons' friends and shifts. What LLVM leaves undefined (a shift by the width or
// more, division by zero, the least integer over -1) PTX defines, so it is steered around here.

#include "emit.h"

static bool is_signed(const struct tw_kir_inst *inst) {
    return tw_kir_type_is_signed(inst->type);
}

static LLVMValueRef zero_like(LLVMValueRef v) {
    return LLVMConstNull(LLVMTypeOf(v));
}

static unsigned width(LLVMValueRef v) {
    return jit_element_bits(LLVMTypeOf(v));
}

// The u32 amount as the shifted type's integers, and whether it is below the width.
static LLVMValueRef shift_amount(struct jit_emit *e, LLVMValueRef like, LLVMValueRef amount,
                                 LLVMValueRef *ret_in_range) {
    LLVMTypeRef type = LLVMTypeOf(like);
    unsigned bits = width(like);
    *ret_in_range = LLVMBuildICmp(e->b, LLVMIntULT, amount, jit_const(LLVMTypeOf(amount), bits), "");
    LLVMValueRef low = LLVMBuildAnd(e->b, amount, jit_const(LLVMTypeOf(amount), bits - 1), "");
    return bits == 32  ? low
           : bits < 32 ? LLVMBuildTrunc(e->b, low, type, "")
                       : LLVMBuildZExt(e->b, low, type, "");
}

static LLVMValueRef shift(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a,
                          LLVMValueRef amount) {
    LLVMValueRef in_range, by = shift_amount(e, a, amount, &in_range);
    if (inst->op == TW_KIR_SHL)
        return LLVMBuildSelect(e->b, in_range, LLVMBuildShl(e->b, a, by, ""), zero_like(a), "");
    if (!is_signed(inst))
        return LLVMBuildSelect(e->b, in_range, LLVMBuildLShr(e->b, a, by, ""), zero_like(a), "");
    LLVMValueRef most = LLVMBuildSelect(e->b, in_range, by, jit_const(LLVMTypeOf(a), width(a) - 1), "");
    return LLVMBuildAShr(e->b, a, most, "");
}

static LLVMValueRef widen(struct jit_emit *e, LLVMValueRef a, bool sign) {
    LLVMTypeRef wide = jit_resize(e, LLVMTypeOf(a), 2 * width(a));
    return sign ? LLVMBuildSExt(e->b, a, wide, "") : LLVMBuildZExt(e->b, a, wide, "");
}

static LLVMValueRef wide_product(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    return LLVMBuildMul(e->b, widen(e, src[0], is_signed(inst)), widen(e, src[1], is_signed(inst)), "");
}

static LLVMValueRef multiply_high(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    LLVMValueRef product = wide_product(e, inst, src);
    LLVMValueRef high = LLVMBuildLShr(e->b, product, jit_const(LLVMTypeOf(product), width(src[0])), "");
    return LLVMBuildTrunc(e->b, high, LLVMTypeOf(src[0]), "");
}

// 24-bit factors; the low 32 bits of the 48-bit product, or bits 16 to 47.
static LLVMValueRef multiply24(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    LLVMTypeRef wide = jit_resize(e, LLVMTypeOf(src[0]), 64);
    LLVMValueRef factor[2];
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef top = LLVMBuildShl(e->b, src[i], jit_const(LLVMTypeOf(src[i]), 8), "");
        LLVMValueRef by = jit_const(LLVMTypeOf(top), 8);
        LLVMValueRef low =
            is_signed(inst) ? LLVMBuildAShr(e->b, top, by, "") : LLVMBuildLShr(e->b, top, by, "");
        factor[i] = is_signed(inst) ? LLVMBuildSExt(e->b, low, wide, "") : LLVMBuildZExt(e->b, low, wide, "");
    }
    LLVMValueRef product = LLVMBuildMul(e->b, factor[0], factor[1], "");
    if (inst->mods & TW_KIR_HI)
        product = LLVMBuildLShr(e->b, product, jit_const(wide, 16), "");
    return LLVMBuildTrunc(e->b, product, LLVMTypeOf(src[0]), "");
}

static LLVMValueRef other_product(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    if (inst->op == TW_KIR_MULWIDE)
        return wide_product(e, inst, src);
    return inst->op == TW_KIR_MULHI ? multiply_high(e, inst, src) : multiply24(e, inst, src);
}

// Divisors that LLVM must not see become 1; what PTX says then is selected.
static LLVMValueRef divide(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a,
                           LLVMValueRef b) {
    LLVMTypeRef type = LLVMTypeOf(a);
    bool rem = inst->op == TW_KIR_REM;
    LLVMValueRef zero = zero_like(a), one = jit_const(type, 1), ones = LLVMConstAllOnes(type);
    LLVMValueRef by_zero = LLVMBuildICmp(e->b, LLVMIntEQ, b, zero, ""), unsafe = by_zero, minus_one = NULL;
    if (is_signed(inst)) {
        minus_one = LLVMBuildICmp(e->b, LLVMIntEQ, b, ones, "");
        unsafe = LLVMBuildOr(e->b, by_zero, minus_one, "");
    }
    LLVMValueRef d = LLVMBuildSelect(e->b, unsafe, one, b, ""), q;
    if (is_signed(inst))
        q = rem ? LLVMBuildSRem(e->b, a, d, "") : LLVMBuildSDiv(e->b, a, d, "");
    else
        q = rem ? LLVMBuildURem(e->b, a, d, "") : LLVMBuildUDiv(e->b, a, d, "");
    if (minus_one)
        q = LLVMBuildSelect(e->b, minus_one, rem ? zero : LLVMBuildNeg(e->b, a, ""), q, "");
    return LLVMBuildSelect(e->b, by_zero, rem ? a : ones, q, "");
}

// Vector division goes lane by lane in LLVM; 32-bit lanes are exact in doubles: q = trunc(a / b) never rounds
// up to the next integer.
static LLVMValueRef divide_in_doubles(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a,
                                      LLVMValueRef b) {
    LLVMTypeRef type = LLVMTypeOf(a), real = jit_vec(e, LLVMDoubleTypeInContext(e->context));
    LLVMValueRef zero = zero_like(a), by_zero = LLVMBuildICmp(e->b, LLVMIntEQ, b, zero, "");
    LLVMValueRef d = LLVMBuildSelect(e->b, by_zero, jit_const(type, 1), b, "");
    LLVMTypeRef wide = jit_resize(e, type, 64);
    LLVMValueRef x, y;
    if (is_signed(inst)) {
        x = LLVMBuildSIToFP(e->b, a, real, "");
        y = LLVMBuildSIToFP(e->b, d, real, "");
    } else {
        x = LLVMBuildUIToFP(e->b, a, real, "");
        y = LLVMBuildUIToFP(e->b, d, real, "");
    }
    LLVMValueRef ratio = LLVMBuildFDiv(e->b, x, y, "");
    LLVMValueRef q = LLVMBuildTrunc(e->b, LLVMBuildFPToSI(e->b, ratio, wide, ""), type, "");
    if (inst->op == TW_KIR_DIV)
        return LLVMBuildSelect(e->b, by_zero, LLVMConstAllOnes(type), q, "");
    LLVMValueRef r = LLVMBuildSub(e->b, a, LLVMBuildMul(e->b, q, d, ""), "");
    return LLVMBuildSelect(e->b, by_zero, a, r, "");
}

static LLVMValueRef saturating(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    bool add = inst->op == TW_KIR_ADD;
    const char *name = is_signed(inst) ? (add ? "llvm.sadd.sat" : "llvm.ssub.sat")
                                       : (add ? "llvm.uadd.sat" : "llvm.usub.sat");
    return jit_binary(e, name, src[0], src[1]);
}

static LLVMValueRef absolute_difference(struct jit_emit *e, const struct tw_kir_inst *inst,
                                        LLVMValueRef *src) {
    LLVMIntPredicate less = is_signed(inst) ? LLVMIntSLT : LLVMIntULT;
    LLVMValueRef lt = LLVMBuildICmp(e->b, less, src[0], src[1], "");
    LLVMValueRef d = LLVMBuildSelect(e->b, lt, LLVMBuildSub(e->b, src[1], src[0], ""),
                                     LLVMBuildSub(e->b, src[0], src[1], ""), "");
    return LLVMBuildAdd(e->b, src[2], d, "");
}

// Four byte products (dp4a) or two of halves and bytes (dp2a) added to c; each side has its own sign.
static LLVMValueRef dot(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    bool four = inst->op == TW_KIR_DP4A;
    LLVMTypeRef type = LLVMTypeOf(src[0]);
    unsigned a_bits = four ? 8 : 16, n = four ? 4 : 2, first = !four && (inst->mods & TW_KIR_HI) ? 2 : 0;
    LLVMValueRef sum = src[2];
    for (unsigned i = 0; i < n; i++) {
        LLVMValueRef a = LLVMBuildShl(e->b, src[0], jit_const(type, 32 - a_bits * (i + 1)), "");
        LLVMValueRef b = LLVMBuildShl(e->b, src[1], jit_const(type, 32 - 8 * (first + i + 1)), "");
        LLVMValueRef a_by = jit_const(type, 32 - a_bits), b_by = jit_const(type, 24);
        a = tw_kir_type_is_signed(inst->type) ? LLVMBuildAShr(e->b, a, a_by, "")
                                              : LLVMBuildLShr(e->b, a, a_by, "");
        b = tw_kir_type_is_signed(inst->type2) ? LLVMBuildAShr(e->b, b, b_by, "")
                                               : LLVMBuildLShr(e->b, b, b_by, "");
        sum = LLVMBuildAdd(e->b, sum, LLVMBuildMul(e->b, a, b, ""), "");
    }
    return sum;
}

static LLVMValueRef least_or_most(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    bool min = inst->op == TW_KIR_MIN;
    const char *name =
        is_signed(inst) ? (min ? "llvm.smin" : "llvm.smax") : (min ? "llvm.umin" : "llvm.umax");
    LLVMValueRef v = jit_binary(e, name, src[0], src[1]);
    if (inst->mods & TW_KIR_RELU)
        v = jit_binary(e, "llvm.smax", v, zero_like(v));
    return v;
}

static LLVMValueRef division(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    if (jit_is_vector(src[0]) && width(src[0]) == 32 && !LLVMIsConstant(src[1]))
        return divide_in_doubles(e, inst, src[0], src[1]);
    return divide(e, inst, src[0], src[1]);
}

static LLVMValueRef absolute(struct jit_emit *e, LLVMValueRef a) {
    LLVMTypeRef type = LLVMTypeOf(a);
    return jit_intrinsic(e, "llvm.abs", &type, 1, (LLVMValueRef[]){a, LLVMConstNull(jit_int(e, 1))}, 2);
}

LLVMValueRef jit_emit_int(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    bool sat = (inst->mods & TW_KIR_SAT) != 0;
    switch (inst->op) {
    case TW_KIR_MOV:
        return src[0];
    case TW_KIR_SELECT:
        return LLVMBuildSelect(e->b, src[2], src[0], src[1], "");
    case TW_KIR_ADD:
        return sat ? saturating(e, inst, src) : LLVMBuildAdd(e->b, src[0], src[1], "");
    case TW_KIR_SUB:
        return sat ? saturating(e, inst, src) : LLVMBuildSub(e->b, src[0], src[1], "");
    case TW_KIR_MUL:
        return LLVMBuildMul(e->b, src[0], src[1], "");
    case TW_KIR_MULHI:
    case TW_KIR_MULWIDE:
    case TW_KIR_MUL24:
        return other_product(e, inst, src);
    case TW_KIR_DIV:
    case TW_KIR_REM:
        return division(e, inst, src);
    case TW_KIR_MIN:
    case TW_KIR_MAX:
        return least_or_most(e, inst, src);
    case TW_KIR_ABS:
        return absolute(e, src[0]);
    case TW_KIR_NEG:
        return LLVMBuildNeg(e->b, src[0], "");
    case TW_KIR_SHL:
    case TW_KIR_SHR:
        return shift(e, inst, src[0], src[1]);
    case TW_KIR_SAD:
        return absolute_difference(e, inst, src);
    case TW_KIR_DP4A:
    case TW_KIR_DP2A:
        return dot(e, inst, src);
    default:
        return NULL;
    }
}

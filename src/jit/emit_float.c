// SPDX-License-Identifier: Apache-2.0
//
// Floating point. Halves and bfloats are computed as floats and rounded once more, which gives the right
// answer for one add, sub, mul, min or max (a float has more than twice their bits); their fma goes through
// double and rounding to odd.

#include "emit.h"

static LLVMTypeKind kind_of(LLVMTypeRef type) {
    return LLVMGetTypeKind(LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type);
}

// The floats of `element`, as many as `like` has.
LLVMTypeRef jit_like_float(const struct jit_emit *e, LLVMTypeRef like, LLVMTypeRef element) {
    (void)e;
    return LLVMGetTypeKind(like) == LLVMVectorTypeKind ? LLVMVectorType(element, LLVMGetVectorSize(like))
                                                       : element;
}

static LLVMValueRef as_bits(struct jit_emit *e, LLVMValueRef v) {
    return LLVMBuildBitCast(e->b, v, jit_like_int(e, LLVMTypeOf(v)), "");
}

LLVMValueRef jit_to_f32(struct jit_emit *e, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v), f32 = jit_like_float(e, type, LLVMFloatTypeInContext(e->context));
    if (kind_of(type) == LLVMHalfTypeKind)
        return LLVMBuildFPExt(e->b, v, f32, "");
    if (kind_of(type) != LLVMBFloatTypeKind)
        return v;
    LLVMTypeRef i32 = jit_resize(e, type, 32);
    LLVMValueRef bits =
        LLVMBuildShl(e->b, LLVMBuildZExt(e->b, as_bits(e, v), i32, ""), jit_const(i32, 16), "");
    return LLVMBuildBitCast(e->b, bits, f32, "");
}

// Floats to bfloats, nearest even; NaN becomes 0x7fff as in PTX.
static LLVMValueRef to_bfloat(struct jit_emit *e, LLVMValueRef v, LLVMTypeRef type) {
    LLVMValueRef bits = as_bits(e, v), nan = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    LLVMTypeRef i32 = LLVMTypeOf(bits), i16 = jit_resize(e, i32, 16);
    LLVMValueRef odd =
        LLVMBuildAnd(e->b, LLVMBuildLShr(e->b, bits, jit_const(i32, 16), ""), jit_const(i32, 1), "");
    LLVMValueRef sum = LLVMBuildAdd(e->b, LLVMBuildAdd(e->b, bits, jit_const(i32, 0x7fff), ""), odd, "");
    LLVMValueRef half = LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, sum, jit_const(i32, 16), ""), i16, "");
    half = LLVMBuildSelect(e->b, nan, jit_const(i16, 0x7fff), half, "");
    return LLVMBuildBitCast(e->b, half, type, "");
}

LLVMValueRef jit_from_f32(struct jit_emit *e, LLVMValueRef v, LLVMTypeRef type) {
    if (kind_of(type) == LLVMHalfTypeKind)
        return LLVMBuildFPTrunc(e->b, v, type, "");
    return kind_of(type) == LLVMBFloatTypeKind ? to_bfloat(e, v, type) : v;
}

// A double as the float that rounds on to any narrower type as the double itself would: truncated, the last
// bit set where inexact.
LLVMValueRef jit_round_to_odd(struct jit_emit *e, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v), f32 = jit_like_float(e, type, LLVMFloatTypeInContext(e->context));
    LLVMValueRef near = LLVMBuildFPTrunc(e->b, v, f32, ""), back = LLVMBuildFPExt(e->b, near, type, "");
    LLVMValueRef inexact = LLVMBuildFCmp(e->b, LLVMRealONE, back, v, "");
    LLVMValueRef away =
        LLVMBuildFCmp(e->b, LLVMRealOGT, jit_unary(e, "llvm.fabs", back), jit_unary(e, "llvm.fabs", v), "");
    LLVMValueRef bits = as_bits(e, near);
    LLVMTypeRef i32 = LLVMTypeOf(bits);
    LLVMValueRef down = LLVMBuildSub(e->b, bits, LLVMBuildZExt(e->b, away, i32, ""), "");
    LLVMValueRef odd = LLVMBuildOr(e->b, down, jit_const(i32, 1), "");
    return LLVMBuildBitCast(e->b, LLVMBuildSelect(e->b, inexact, odd, bits, ""), f32, "");
}

// What is below the type's least normal number, to zero.
static LLVMValueRef flush_below(struct jit_emit *e, LLVMValueRef v, uint64_t least) {
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef bits = as_bits(e, v);
    LLVMTypeRef whole = LLVMTypeOf(bits);
    uint64_t top = UINT64_C(1) << (jit_element_bits(type) - 1);
    LLVMValueRef size = LLVMBuildAnd(e->b, bits, jit_const(whole, top - 1), ""),
                 sign = LLVMBuildAnd(e->b, bits, jit_const(whole, top), "");
    LLVMValueRef small = LLVMBuildICmp(e->b, LLVMIntULT, size, jit_const(whole, least), "");
    return LLVMBuildBitCast(e->b, LLVMBuildSelect(e->b, small, sign, bits, ""), type, "");
}

LLVMValueRef jit_flush(struct jit_emit *e, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v);
    if (kind_of(type) != LLVMFloatTypeKind)
        return v;
    LLVMValueRef small =
        LLVMBuildFCmp(e->b, LLVMRealOLT, jit_unary(e, "llvm.fabs", v), jit_fconst(type, 0x1p-126), "");
    LLVMValueRef bits = as_bits(e, v),
                 sign = LLVMBuildAnd(e->b, bits, jit_const(LLVMTypeOf(bits), 0x80000000), "");
    return LLVMBuildSelect(e->b, small, LLVMBuildBitCast(e->b, sign, type, ""), v, "");
}

LLVMValueRef jit_flush_own(struct jit_emit *e, LLVMValueRef v) {
    switch ((int)kind_of(LLVMTypeOf(v))) {
    case LLVMHalfTypeKind:
        return flush_below(e, v, 0x400);
    case LLVMBFloatTypeKind:
        return flush_below(e, v, 0x80);
    case LLVMDoubleTypeKind:
        return flush_below(e, v, UINT64_C(1) << 52);
    default:
        return jit_flush(e, v);
    }
}

LLVMValueRef jit_saturate(struct jit_emit *e, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef zero = jit_fconst(type, 0), one = jit_fconst(type, 1);
    LLVMValueRef positive = LLVMBuildFCmp(e->b, LLVMRealOGT, v, zero, "");
    v = LLVMBuildSelect(e->b, positive, v, zero, "");
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, v, one, ""), v, one, "");
}

static LLVMValueRef arithmetic(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a,
                               LLVMValueRef b) {
    // Never contracted by LLVM: kernel/contract.c has done that, the same for every tier.
    return inst->op == TW_KIR_ADD   ? LLVMBuildFAdd(e->b, a, b, "")
           : inst->op == TW_KIR_SUB ? LLVMBuildFSub(e->b, a, b, "")
           : inst->op == TW_KIR_MUL ? LLVMBuildFMul(e->b, a, b, "")
                                    : LLVMBuildFDiv(e->b, a, b, "");
}

static bool known_number(LLVMValueRef v) {
    LLVMBool loses;
    if (jit_is_vector(v) && LLVMIsAConstantDataVector(v))
        v = LLVMGetAggregateElement(v, 0);
    if (!LLVMIsAConstantFP(v))
        return false;
    double d = LLVMConstRealGetDouble(v, &loses);
    return d == d;
}

// The number where one source is NaN, -0 below +0. The comparison gives b where either is NaN or they are
// equal.
static LLVMValueRef number_min_max(struct jit_emit *e, bool min, LLVMValueRef a, LLVMValueRef b) {
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef better = LLVMBuildFCmp(e->b, min ? LLVMRealOLT : LLVMRealOGT, a, b, "");
    LLVMValueRef v = LLVMBuildSelect(e->b, better, a, b, "");
    LLVMValueRef x = as_bits(e, a), y = as_bits(e, b);
    LLVMValueRef both = min ? LLVMBuildOr(e->b, x, y, "") : LLVMBuildAnd(e->b, x, y, "");
    LLVMValueRef equal = LLVMBuildFCmp(e->b, LLVMRealOEQ, a, b, "");
    v = LLVMBuildSelect(e->b, equal, LLVMBuildBitCast(e->b, both, type, ""), v, "");
    if (known_number(b))
        return v;
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, b, b, ""), a, v, "");
}

static LLVMValueRef canonical_nan(LLVMTypeRef type) {
    static const uint64_t nans[] = {0x7fff, 0x7fffffff, 0x7fffffffffffffff};
    unsigned bits = jit_element_bits(type);
    LLVMTypeRef element = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
    LLVMContextRef context = LLVMGetTypeContext(type);
    uint64_t pattern = bits == 16 ? nans[0] : bits == 32 ? nans[1] : nans[2];
    LLVMValueRef one =
        LLVMConstBitCast(LLVMConstInt(LLVMIntTypeInContext(context, bits), pattern, false), element);
    if (element == type)
        return one;
    LLVMValueRef parts[2 * JIT_MAX_LANES];
    for (unsigned i = 0; i < LLVMGetVectorSize(type); i++)
        parts[i] = one;
    return LLVMConstVector(parts, LLVMGetVectorSize(type));
}

static LLVMValueRef min_max(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a,
                            LLVMValueRef b) {
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef sign = NULL;
    if (inst->mods & TW_KIR_XORSIGN) {
        sign = LLVMBuildXor(e->b, as_bits(e, a), as_bits(e, b), "");
        a = jit_unary(e, "llvm.fabs", a);
        b = jit_unary(e, "llvm.fabs", b);
    }
    bool quiet[2] = {jit_is_quiet(e->code, &inst->src[0]), jit_is_quiet(e->code, &inst->src[1])};
    LLVMValueRef v = jit_avx512_takes(e, a)
                         ? jit_avx512_min_max(e, inst->op == TW_KIR_MIN, (LLVMValueRef[]){a, b}, quiet)
                         : number_min_max(e, inst->op == TW_KIR_MIN, a, b);
    if (inst->mods & TW_KIR_NANPROP)
        v = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, a, b, ""), canonical_nan(type), v, "");
    if (sign)
        v = jit_binary(e, "llvm.copysign", v, LLVMBuildBitCast(e->b, sign, type, ""));
    return v;
}

static LLVMValueRef reciprocal(struct jit_emit *e, LLVMValueRef a, bool root) {
    if (root && jit_avx512_takes(e, a))
        return jit_avx512_rsqrt(e, a);
    if (root)
        a = jit_unary(e, "llvm.sqrt", a);
    return LLVMBuildFDiv(e->b, jit_fconst(LLVMTypeOf(a), 1), a, "");
}

static LLVMValueRef between(struct jit_emit *e, LLVMValueRef bits, uint64_t low, uint64_t span) {
    LLVMValueRef moved = LLVMBuildSub(e->b, bits, jit_const(LLVMTypeOf(bits), low), "");
    return LLVMBuildICmp(e->b, LLVMIntULT, moved, jit_const(LLVMTypeOf(bits), span), "");
}

static LLVMValueRef test_property(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a) {
    unsigned bits = jit_element_bits(LLVMTypeOf(a));
    uint64_t inf = bits == 32 ? 0x7f800000 : UINT64_C(0x7ff) << 52,
             least = bits == 32 ? 0x00800000 : UINT64_C(1) << 52;
    LLVMValueRef m = as_bits(e, jit_unary(e, "llvm.fabs", a));
    switch ((enum tw_kir_testp)inst->mode) {
    case TW_KIR_TESTP_FINITE:
        return between(e, m, 0, inf);
    case TW_KIR_TESTP_INFINITE:
        return LLVMBuildICmp(e->b, LLVMIntEQ, m, jit_const(LLVMTypeOf(m), inf), "");
    case TW_KIR_TESTP_NUMBER:
        return LLVMBuildFCmp(e->b, LLVMRealORD, a, a, "");
    case TW_KIR_TESTP_NOTANUMBER:
        return LLVMBuildFCmp(e->b, LLVMRealUNO, a, a, "");
    case TW_KIR_TESTP_NORMAL: // zeros are, so PTX says
        return LLVMBuildOr(e->b, between(e, m, least, inf - least), between(e, m, 0, 1), "");
    case TW_KIR_TESTP_SUBNORMAL:
        return between(e, m, 1, least - 1);
    }
    return NULL;
}

// a × b + c in double, rounded to odd: the product of two small floats is exact there, but of their sum with a third
// one of another size a part may be lost, which decides between two bfloats where what is left lies in the middle.
static LLVMValueRef sum_to_odd(struct jit_emit *e, LLVMValueRef product, LLVMValueRef c) {
    LLVMTypeRef whole = jit_like_int(e, LLVMTypeOf(c));
    LLVMValueRef sum = LLVMBuildFAdd(e->b, product, c, ""), part = LLVMBuildFSub(e->b, sum, product, "");
    LLVMValueRef rest = LLVMBuildFAdd( // Knuth's exact error of a sum
        e->b, LLVMBuildFSub(e->b, product, LLVMBuildFSub(e->b, sum, part, ""), ""),
        LLVMBuildFSub(e->b, c, part, ""), "");
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(c)), bits = LLVMBuildBitCast(e->b, sum, whole, "");
    LLVMValueRef away = LLVMBuildICmp(e->b, LLVMIntEQ, LLVMBuildFCmp(e->b, LLVMRealOGT, rest, zero, ""),
                                      LLVMBuildFCmp(e->b, LLVMRealOGT, sum, zero, ""), "");
    LLVMValueRef moved =
        LLVMBuildSelect(e->b, away, bits, LLVMBuildSub(e->b, bits, jit_const(whole, 1), ""), "");
    LLVMValueRef odd = LLVMBuildOr(e->b, moved, jit_const(whole, 1), "");
    LLVMValueRef lost = LLVMBuildFCmp(e->b, LLVMRealONE, rest, zero, "");
    return LLVMBuildBitCast(e->b, LLVMBuildSelect(e->b, lost, odd, bits, ""), LLVMTypeOf(c), "");
}

static LLVMValueRef fused(struct jit_emit *e, LLVMValueRef *src, LLVMTypeRef wanted) {
    LLVMTypeRef type = LLVMTypeOf(src[0]);
    if (LLVMTypeOf(src[0]) == wanted)
        return jit_intrinsic(e, "llvm.fma", &type, 1, src, 3);
    LLVMTypeRef f64 = jit_like_float(e, type, LLVMDoubleTypeInContext(e->context));
    LLVMValueRef wide[3];
    for (unsigned i = 0; i < 3; i++)
        wide[i] = LLVMBuildFPExt(e->b, src[i], f64, "");
    if (kind_of(wanted) == LLVMBFloatTypeKind)
        return jit_round_to_odd(e, sum_to_odd(e, LLVMBuildFMul(e->b, wide[0], wide[1], ""), wide[2]));
    return jit_round_to_odd(e, jit_intrinsic(e, "llvm.fma", &f64, 1, wide, 3));
}

static LLVMValueRef compute(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src,
                            LLVMTypeRef wanted) {
    bool directed = inst->round == TW_KIR_RZ || inst->round == TW_KIR_RM || inst->round == TW_KIR_RP;
    if (directed)
        return wanted == LLVMTypeOf(src[0]) ? jit_emit_rounded(e, inst, src) : NULL;
    switch (inst->op) {
    case TW_KIR_ADD:
    case TW_KIR_SUB:
    case TW_KIR_MUL:
    case TW_KIR_DIV:
        return arithmetic(e, inst, src[0], src[1]);
    case TW_KIR_FMA:
        return fused(e, src, wanted);
    case TW_KIR_MIN:
    case TW_KIR_MAX:
        return min_max(e, inst, src[0], src[1]);
    case TW_KIR_SQRT:
        return jit_unary(e, "llvm.sqrt", src[0]);
    case TW_KIR_RCP:
    case TW_KIR_RSQRT:
        return reciprocal(e, src[0], inst->op == TW_KIR_RSQRT);
    case TW_KIR_SIN:
    case TW_KIR_COS:
    case TW_KIR_EX2:
    case TW_KIR_LG2:
    case TW_KIR_TANH:
        return jit_emit_math(e, inst, src[0]);
    default:
        return NULL;
    }
}

// -v or |v|. Of bfloats as bits: without AVX-512 LLVM widens them for it, and would call a function to narrow them again.
static LLVMValueRef with_sign(struct jit_emit *e, LLVMValueRef v, bool negate) {
    if (kind_of(LLVMTypeOf(v)) != LLVMBFloatTypeKind)
        return negate ? LLVMBuildFNeg(e->b, v, "") : jit_unary(e, "llvm.fabs", v);
    LLVMValueRef bits = as_bits(e, v);
    bits = negate ? LLVMBuildXor(e->b, bits, jit_const(LLVMTypeOf(bits), 0x8000), "")
                  : LLVMBuildAnd(e->b, bits, jit_const(LLVMTypeOf(bits), 0x7fff), "");
    return LLVMBuildBitCast(e->b, bits, LLVMTypeOf(v), "");
}

static LLVMValueRef sign_operation(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    switch (inst->op) {
    case TW_KIR_MOV:
        return src[0];
    case TW_KIR_SELECT:
        return NULL; // packed halves: the predicate has fewer lanes than the value; see below
    case TW_KIR_NEG:
        return with_sign(e, inst->mods & TW_KIR_FTZ ? jit_flush_own(e, src[0]) : src[0], true);
    case TW_KIR_ABS:
        return with_sign(e, inst->mods & TW_KIR_FTZ ? jit_flush_own(e, src[0]) : src[0], false);
    case TW_KIR_COPYSIGN:
        return jit_binary(e, "llvm.copysign", src[1], src[0]);
    case TW_KIR_TESTP:
        return test_property(e, inst, src[0]);
    default:
        return NULL;
    }
}

LLVMValueRef jit_emit_float(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    LLVMTypeRef type = LLVMTypeOf(src[0]);
    if (inst->op == TW_KIR_SELECT) {
        LLVMTypeRef bits = LLVMTypeOf(src[2]) == jit_int(e, 1)
                               ? jit_int(e, tw_kir_type_bits(inst->type))
                               : jit_reg_type(e, tw_kir_type_bits(inst->type), true);
        return LLVMBuildSelect(e->b, src[2], LLVMBuildBitCast(e->b, src[0], bits, ""),
                               LLVMBuildBitCast(e->b, src[1], bits, ""), "");
    }
    LLVMValueRef v = sign_operation(e, inst, src);
    if (v)
        return v;
    bool small = kind_of(type) == LLVMHalfTypeKind || kind_of(type) == LLVMBFloatTypeKind;
    bool flushes = (inst->mods & TW_KIR_FTZ) != 0;
    for (unsigned i = 0; i < inst->src_count; i++) {
        if (flushes)
            src[i] = jit_flush_own(e, src[i]);
        src[i] = small ? jit_to_f32(e, src[i]) : src[i];
    }
    v = compute(e, inst, src, type);
    if (!v)
        return NULL;
    if (flushes && !small)
        v = jit_flush_own(e, v);
    if (inst->mods & TW_KIR_RELU) { // -0 becomes 0 too
        LLVMValueRef zero = jit_fconst(LLVMTypeOf(v), 0);
        v = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLE, v, zero, ""), zero, v, "");
    }
    if (inst->mods & TW_KIR_SAT)
        v = jit_saturate(e, v);
    if (small)
        v = jit_from_f32(e, v, type);
    return flushes && small ? jit_flush_own(e, v) : v;
}

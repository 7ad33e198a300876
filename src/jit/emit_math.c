// SPDX-License-Identifier: Apache-2.0
//
// The .approx functions, as polynomials in IR: no libm, nothing outside the object. Arguments are float; halves come
// here as floats. interp/level/approx.h does the same, operation by operation: a change here is one there.

#include "emit.h"

#include <math.h>

#define TW_KIR_APPROX(name, ...) static const double name[] = {__VA_ARGS__};
#include "kernel/approx.def"
#undef TW_KIR_APPROX

static LLVMValueRef constant(LLVMValueRef like, double value) {
    return jit_fconst(LLVMTypeOf(like), value);
}

static LLVMValueRef fma3(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    LLVMTypeRef type = LLVMTypeOf(a);
    return jit_intrinsic(e, "llvm.fma", &type, 1, (LLVMValueRef[]){a, b, c}, 3);
}

static LLVMValueRef bits_of(struct jit_emit *e, LLVMValueRef v) {
    return LLVMBuildBitCast(e->b, v, jit_like_int(e, LLVMTypeOf(v)), "");
}

static LLVMValueRef polynomial(struct jit_emit *e, LLVMValueRef x, const double *coefficients, unsigned n) {
    LLVMValueRef v = constant(x, coefficients[n - 1]);
    for (unsigned i = n - 1; i-- > 0;)
        v = fma3(e, v, x, constant(x, coefficients[i]));
    return v;
}

static LLVMValueRef choose(struct jit_emit *e, LLVMRealPredicate cmp, LLVMValueRef x, double limit,
                           LLVMValueRef then, LLVMValueRef other) {
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, cmp, x, constant(x, limit), ""), then, other, "");
}

// 2^n for integers n in -126 … 127.
static LLVMValueRef power_of_two(struct jit_emit *e, LLVMValueRef n, LLVMTypeRef type) {
    LLVMTypeRef i32 = LLVMTypeOf(n);
    LLVMValueRef biased = LLVMBuildAdd(e->b, n, jit_const(i32, 127), "");
    return LLVMBuildBitCast(e->b, LLVMBuildShl(e->b, biased, jit_const(i32, 23), ""), type, "");
}

// 2^x = 2^n × 2^r, |r| ≤ ½; 2^n in two factors, so that results may be subnormal.
static LLVMValueRef exp2_of(struct jit_emit *e, LLVMValueRef x) {
    LLVMTypeRef type = LLVMTypeOf(x);
    if (jit_avx512_takes(e, x)) {
        LLVMValueRef fraction = jit_avx512_fraction(e, x), n = LLVMBuildFSub(e->b, x, fraction, "");
        return jit_avx512_scale(e, polynomial(e, fraction, exp2_terms, TW_COUNT(exp2_terms)), n);
    }
    LLVMValueRef v = choose(e, LLVMRealOGT, x, 129, constant(x, 129), x);
    v = choose(e, LLVMRealOLT, v, -160, constant(x, -160), v);
    LLVMValueRef magic =
        constant(x, 0x1.8p23); // adding it rounds to an integer and leaves that in the low bits
    LLVMValueRef t = LLVMBuildFAdd(e->b, v, magic, ""),
                 r = LLVMBuildFSub(e->b, v, LLVMBuildFSub(e->b, t, magic, ""), "");
    LLVMValueRef n = LLVMBuildSub(e->b, bits_of(e, t), jit_const(jit_like_int(e, type), 0x4b400000), "");
    LLVMValueRef half = LLVMBuildAShr(e->b, n, jit_const(LLVMTypeOf(n), 1), ""),
                 rest = LLVMBuildSub(e->b, n, half, "");
    LLVMValueRef y = polynomial(e, r, exp2_terms, TW_COUNT(exp2_terms));
    return LLVMBuildFMul(e->b, LLVMBuildFMul(e->b, y, power_of_two(e, half, type), ""),
                         power_of_two(e, rest, type), "");
}

// log2 x = k + log2 m with m in √½ … √2.
static LLVMValueRef log2_of(struct jit_emit *e, LLVMValueRef x) {
    LLVMTypeRef type = LLVMTypeOf(x), i32 = jit_like_int(e, type);
    LLVMValueRef tiny = LLVMBuildFCmp(e->b, LLVMRealOLT, x, constant(x, 0x1p-126), "");
    LLVMValueRef scaled = LLVMBuildSelect(e->b, tiny, LLVMBuildFMul(e->b, x, constant(x, 0x1p23), ""), x, "");
    LLVMValueRef bits = bits_of(e, scaled),
                 moved = LLVMBuildSub(e->b, bits, jit_const(i32, 0x3f3504f3), ""); // √½
    LLVMValueRef k = LLVMBuildAShr(e->b, moved, jit_const(i32, 23), "");
    LLVMValueRef m = LLVMBuildSub(e->b, bits, LLVMBuildShl(e->b, k, jit_const(i32, 23), ""), "");
    LLVMValueRef f = LLVMBuildFSub(e->b, LLVMBuildBitCast(e->b, m, type, ""), constant(x, 1), "");
    LLVMValueRef exponent = LLVMBuildSIToFP(e->b, k, type, "");
    exponent = LLVMBuildSelect(e->b, tiny, LLVMBuildFSub(e->b, exponent, constant(x, 23), ""), exponent, "");
    LLVMValueRef y = fma3(e, f, polynomial(e, f, log2_terms, TW_COUNT(log2_terms)), exponent);
    y = choose(e, LLVMRealOEQ, x, (double)INFINITY, x, y);
    y = choose(e, LLVMRealOEQ, x, 0, constant(x, -(double)INFINITY), y);
    return choose(e, LLVMRealULT, x, 0, constant(x, (double)NAN), y);
}

// x = n × π/2 + r, |r| ≤ π/4 (Cody and Waite's three parts), then sine or cosine of r by the quadrant.
static LLVMValueRef sine_of(struct jit_emit *e, LLVMValueRef x, unsigned quarter) {
    LLVMTypeRef type = LLVMTypeOf(x), i32 = jit_like_int(e, type);
    LLVMValueRef n = jit_unary(e, "llvm.rint", LLVMBuildFMul(e->b, x, constant(x, 0.63661977236758134), ""));
    LLVMValueRef minus = LLVMBuildFNeg(e->b, n, "");
    LLVMValueRef r = fma3(e, minus, constant(x, 0x1.921fb6p+0), x);
    r = fma3(e, minus, constant(x, -0x1.777a5cp-25), r);
    r = fma3(e, minus, constant(x, -0x1.ee59dap-50), r);
    r = choose(e, LLVMRealOGT, r, 1, constant(x, 1), choose(e, LLVMRealOLT, r, -1, constant(x, -1), r));
    LLVMValueRef fours = jit_unary(e, "llvm.floor", LLVMBuildFMul(e->b, n, constant(x, 0.25), ""));
    LLVMValueRef q = fma3(e, fours, constant(x, -4), n); // 0, 1, 2, 3
    q = bits_of(e, LLVMBuildFAdd(e->b, q, constant(x, 0x1.8p23), ""));
    q = LLVMBuildAdd(e->b, q, jit_const(i32, quarter), "");
    LLVMValueRef z = LLVMBuildFMul(e->b, r, r, "");
    LLVMValueRef sine = LLVMBuildFMul(e->b, r, polynomial(e, z, sine_terms, TW_COUNT(sine_terms)), ""),
                 cosine = polynomial(e, z, cosine_terms, TW_COUNT(cosine_terms));
    LLVMValueRef odd =
        LLVMBuildICmp(e->b, LLVMIntNE, LLVMBuildAnd(e->b, q, jit_const(i32, 1), ""), jit_const(i32, 0), "");
    LLVMValueRef sign =
        LLVMBuildShl(e->b, LLVMBuildAnd(e->b, q, jit_const(i32, 2), ""), jit_const(i32, 30), "");
    LLVMValueRef v = bits_of(e, LLVMBuildSelect(e->b, odd, cosine, sine, ""));
    v = LLVMBuildBitCast(e->b, LLVMBuildXor(e->b, v, sign, ""), type, "");
    return choose(e, LLVMRealUEQ, jit_unary(e, "llvm.fabs", x), (double)INFINITY, constant(x, (double)NAN),
                  v);
}

// 1 - 2 / (e^2|x| + 1), and x - x³/3 near zero, where that would lose digits.
static LLVMValueRef tanh_of(struct jit_emit *e, LLVMValueRef x) {
    LLVMValueRef a = jit_unary(e, "llvm.fabs", x);
    LLVMValueRef power = exp2_of(e, LLVMBuildFMul(e->b, a, constant(x, 2.8853900817779268), ""));
    LLVMValueRef far =
        LLVMBuildFDiv(e->b, constant(x, 2), LLVMBuildFAdd(e->b, power, constant(x, 1), ""), "");
    far = LLVMBuildFSub(e->b, constant(x, 1), far, "");
    LLVMValueRef cube = LLVMBuildFMul(e->b, LLVMBuildFMul(e->b, a, a, ""), a, "");
    LLVMValueRef near = fma3(e, cube, constant(x, -1.0 / 3), a);
    return jit_binary(e, "llvm.copysign", choose(e, LLVMRealOLT, a, 0.2, near, far), x);
}

LLVMValueRef jit_emit_math(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a) {
    if (jit_element_bits(LLVMTypeOf(a)) != 32)
        return NULL;
    switch (inst->op) {
    case TW_KIR_EX2:
        return exp2_of(e, a);
    case TW_KIR_LG2:
        return log2_of(e, a);
    case TW_KIR_SIN:
        return sine_of(e, a, 0);
    case TW_KIR_COS:
        return sine_of(e, a, 1);
    case TW_KIR_TANH:
        return tanh_of(e, a);
    default:
        return NULL;
    }
}

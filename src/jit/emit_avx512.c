// SPDX-License-Identifier: Apache-2.0
//
// Float operations for which AVX-512 has an instruction of its own, where portable IR takes five to twenty: the smaller
// and the greater number with PTX's rules for NaN and zeros (vrange), 2^x (vreduce, vscalef) and 1/√x (vrsqrt14).
// Vectors of any length are done in pieces of a register. Sources: Intel's Software Developer's Manual, volume 2, of
// these instructions.

#include "emit.h"

// A machine's vector: what an LLVM value is cut into.
struct piece {
    unsigned lanes, bits; // bits of the register
    bool whole;           // the value is one piece
};

static struct piece piece_of(LLVMValueRef v) {
    unsigned lanes = jit_is_vector(v) ? LLVMGetVectorSize(LLVMTypeOf(v)) : 1;
    if (lanes >= 16)
        return (struct piece){16, 512, lanes == 16};
    return lanes == 8 ? (struct piece){8, 256, true} : (struct piece){4, 128, lanes == 4};
}

static LLVMValueRef cut(struct jit_emit *e, LLVMValueRef v, struct piece p, unsigned first) {
    if (p.whole)
        return v;
    if (!jit_is_vector(v)) {
        LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(v), p.lanes);
        return LLVMBuildInsertElement(e->b, LLVMGetPoison(type), v, jit_i32(e, 0), "");
    }
    unsigned indices[16];
    for (unsigned i = 0; i < p.lanes; i++)
        indices[i] = first + i;
    return jit_shuffle(e, v, NULL, indices, p.lanes);
}

// Confined: one instruction, `llvm.x86.avx512.NAME.ps.BITS`. `immediate` stands behind the sources; `carry`: they are
// followed by what lanes without a mask bit keep.
struct machine_op {
    const char *name;
    int immediate; // -1: none
    bool carry;
    bool estimates; // and does not round
};

static LLVMValueRef one_piece(struct jit_emit *e, const struct machine_op *op, const LLVMValueRef *sources,
                              unsigned count, struct piece p) {
    char name[64];
    LLVMValueRef args[8];
    unsigned n = 0;
    snprintf(name, sizeof name, "llvm.x86.avx512.%s.ps.%u", op->name, p.bits);
    for (unsigned i = 0; i < count; i++)
        args[n++] = sources[i];
    if (op->immediate >= 0)
        args[n++] = jit_i32(e, (uint32_t)op->immediate);
    if (op->carry)
        args[n++] = LLVMConstNull(LLVMTypeOf(sources[0]));
    args[n++] = LLVMConstAllOnes(jit_int(e, p.lanes < 8 ? 8 : p.lanes));
    if (p.bits == 512 && !op->estimates)
        args[n++] = jit_i32(e, 4); // rounds as the control register says
    return jit_intrinsic(e, name, NULL, 0, args, n);
}

static LLVMValueRef apply(struct jit_emit *e, const struct machine_op *op, const LLVMValueRef *sources,
                          unsigned count) {
    struct piece p = piece_of(sources[0]);
    unsigned lanes = jit_is_vector(sources[0]) ? LLVMGetVectorSize(LLVMTypeOf(sources[0])) : 1,
             pieces = lanes > p.lanes ? lanes / p.lanes : 1;
    LLVMValueRef parts[JIT_MAX_LANES], cuts[3];
    for (unsigned k = 0; k < pieces; k++) {
        for (unsigned i = 0; i < count; i++)
            cuts[i] = cut(e, sources[i], p, k * p.lanes);
        parts[k] = one_piece(e, op, cuts, count, p);
    }
    return lanes == 1 ? LLVMBuildExtractElement(e->b, parts[0], jit_i32(e, 0), "")
                      : jit_concatenate(e, parts, pieces, p.lanes);
}

static LLVMValueRef table_like(struct jit_emit *e, LLVMValueRef v, uint32_t entries) {
    return jit_const(jit_like_int(e, LLVMTypeOf(v)), entries);
}

bool jit_avx512_takes(const struct jit_emit *e, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v);
    unsigned lanes = jit_is_vector(v) ? LLVMGetVectorSize(type) : 1;
    LLVMTypeRef element = jit_is_vector(v) ? LLVMGetElementType(type) : type;
    return e->avx512 && LLVMGetTypeKind(element) == LLVMFloatTypeKind && lanes != 2;
}

// vrange gives the number beside a quiet NaN, but a signalling one wins; so a signalling one is replaced before (vfixupimm: a table
// of what each class of float becomes; 1: itself, 0: the other source, 2: a quiet NaN of it). By the other source where that comes
// first or may be such a NaN too: what is left then is the other's NaN. A source that is known before the other, which sums up
// what came before, is not made to wait for it.
LLVMValueRef jit_avx512_min_max(struct jit_emit *e, bool min, LLVMValueRef *src, const bool *quiet) {
    static const struct machine_op range[2] = {{.name = "mask.range", .immediate = 5, .carry = true},
                                               {.name = "mask.range", .immediate = 4, .carry = true}};
    static const struct machine_op fix = {.name = "mask.fixupimm"};
    LLVMValueRef clean[2];
    for (unsigned i = 0; i < 2; i++) {
        bool alone = i == 1 && quiet[0]; // vrange takes the first of two NaNs
        LLVMValueRef table = table_like(e, src[i], alone ? 0x11111121 : 0x11111101),
                     other = alone ? src[i] : src[!i];
        clean[i] = quiet[i] ? src[i] : apply(e, &fix, (LLVMValueRef[]){other, src[i], table}, 3);
    }
    return apply(e, &range[min], clean, 2);
}

// x - round(x), 0 for infinities.
LLVMValueRef jit_avx512_fraction(struct jit_emit *e, LLVMValueRef x) {
    static const struct machine_op reduce = {.name = "mask.reduce", .immediate = 8, .carry = true};
    return apply(e, &reduce, &x, 1);
}

// y × 2^n, rounded once; n is an integer or infinite.
LLVMValueRef jit_avx512_scale(struct jit_emit *e, LLVMValueRef y, LLVMValueRef n) {
    static const struct machine_op scale = {.name = "mask.scalef", .immediate = -1, .carry = true};
    return apply(e, &scale, (LLVMValueRef[]){y, n}, 2);
}

// 1 / √x: an estimate y to 2^-14 and one step of Newton's, y + y/2 × (1 - x y²), which leaves less than 2^-23. The step
// makes NaN of the infinity and the zero that 0 and infinity have; these stay as they are.
LLVMValueRef jit_avx512_rsqrt(struct jit_emit *e, LLVMValueRef x) {
    static const struct machine_op estimate = {
        .name = "rsqrt14", .immediate = -1, .carry = true, .estimates = true};
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef y = apply(e, &estimate, &x, 1), product = LLVMBuildFMul(e->b, x, y, "");
    LLVMValueRef left =
        jit_intrinsic(e, "llvm.fma", &type, 1,
                      (LLVMValueRef[]){LLVMBuildFNeg(e->b, product, ""), y, jit_fconst(type, 1)}, 3);
    LLVMValueRef half = LLVMBuildFMul(e->b, y, jit_fconst(type, 0.5), "");
    LLVMValueRef better = jit_intrinsic(e, "llvm.fma", &type, 1, (LLVMValueRef[]){half, left, y}, 3);
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealORD, left, left, ""), better, y, "");
}

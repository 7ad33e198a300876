// SPDX-License-Identifier: Apache-2.0
//
// Pairs of eight-bit floats: e4m3 (bias 7, no infinities, one NaN of each sign) and e5m2 (bias 15, a half cut short).
// No x86 before the newest knows them, so they are made of integer operations.

#include "emit.h"

struct format {
    unsigned fraction, bias;
    uint32_t most; // the greatest finite number's bits
};

static struct format format_of(uint8_t type) {
    return type == TW_KIR_E4M3X2 ? (struct format){3, 7, 0x7e} : (struct format){2, 15, 0x7b};
}

// Floats to the nearest number of the format, ties to even; what is too great becomes the greatest, NaN 0x7f.
static LLVMValueRef to_byte(struct jit_emit *e, struct format f, LLVMValueRef v) {
    LLVMTypeRef real = LLVMTypeOf(v), type = jit_like_int(e, real);
    LLVMValueRef bits = LLVMBuildBitCast(e->b, v, type, ""),
                 size = LLVMBuildAnd(e->b, bits, jit_const(type, 0x7fffffff), "");
    unsigned drop = 23 - f.fraction;
    LLVMValueRef odd =
        LLVMBuildAnd(e->b, LLVMBuildLShr(e->b, size, jit_const(type, drop), ""), jit_const(type, 1), "");
    LLVMValueRef half = jit_const(type, (1u << (drop - 1)) - 1);
    LLVMValueRef sum = LLVMBuildAdd(e->b, size, LLVMBuildAdd(e->b, half, odd, ""), "");
    LLVMValueRef normal = LLVMBuildLShr(e->b, sum, jit_const(type, drop), "");
    normal = LLVMBuildSub(e->b, normal, jit_const(type, (uint64_t)(127 - f.bias) << f.fraction), "");
    // Below the least normal number: whole multiples of the least one.
    LLVMValueRef positive = LLVMBuildBitCast(e->b, size, real, "");
    LLVMValueRef units =
        LLVMBuildFMul(e->b, positive, jit_fconst(real, (double)(1u << (f.bias - 1 + f.fraction))), "");
    LLVMValueRef is_small =
        LLVMBuildICmp(e->b, LLVMIntULT, size, jit_const(type, (uint64_t)(128 - f.bias) << 23), "");
    units = LLVMBuildSelect(e->b, is_small, units, LLVMConstNull(real), "");
    LLVMValueRef small = LLVMBuildFPToUI(e->b, jit_unary(e, "llvm.roundeven", units), type, "");
    LLVMValueRef found = LLVMBuildSelect(e->b, is_small, small, normal, "");
    found = jit_binary(e, "llvm.umin", found, jit_const(type, f.most));
    LLVMValueRef sign = LLVMBuildLShr(e->b, LLVMBuildXor(e->b, bits, size, ""), jit_const(type, 24), "");
    LLVMValueRef nan = LLVMBuildICmp(e->b, LLVMIntUGT, size, jit_const(type, 0x7f800000), "");
    return LLVMBuildSelect(e->b, nan, jit_const(type, 0x7f), LLVMBuildOr(e->b, found, sign, ""), "");
}

static LLVMValueRef without_negatives(struct jit_emit *e, LLVMValueRef v) {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(v));
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, v, zero, ""), zero, v, "");
}

LLVMValueRef jit_emit_to_fp8(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector) {
    LLVMTypeRef i32 = jit_reg_type(e, 32, vector), i16 = jit_reg_type(e, 16, vector);
    LLVMTypeRef half = jit_type(e, TW_KIR_F16, vector);
    LLVMValueRef parts[2]; // upper, lower
    if (inst->type2 != TW_KIR_F32 && inst->type2 != TW_KIR_F16X2)
        return NULL;
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef v;
        if (inst->src_count == 2)
            v = jit_read_typed(e, &inst->src[i], TW_KIR_F32, vector);
        else {
            LLVMValueRef pair = jit_read(e, &inst->src[0], 32, vector);
            LLVMValueRef down = i ? pair : LLVMBuildLShr(e->b, pair, jit_const(i32, 16), "");
            v = jit_to_f32(e, LLVMBuildBitCast(e->b, LLVMBuildTrunc(e->b, down, i16, ""), half, ""));
        }
        parts[i] = to_byte(e, format_of(inst->type), inst->mods & TW_KIR_RELU ? without_negatives(e, v) : v);
    }
    LLVMValueRef both = LLVMBuildOr(e->b, LLVMBuildShl(e->b, parts[0], jit_const(i32, 8), ""), parts[1], "");
    return LLVMBuildTrunc(e->b, both, i16, "");
}

// The half that a byte (of 16 bits) stands for. A byte moved up to where the exponent of halves is has the wrong bias,
// which a multiplication mends, for subnormal numbers too.
static LLVMValueRef to_half(struct jit_emit *e, uint8_t from, LLVMValueRef byte, LLVMTypeRef half,
                            bool relu) {
    LLVMTypeRef type = LLVMTypeOf(byte);
    bool e4m3 = from == TW_KIR_E4M3X2;
    LLVMValueRef size = LLVMBuildAnd(e->b, byte, jit_const(type, 0x7f), "");
    LLVMValueRef sign = LLVMBuildShl(e->b, LLVMBuildXor(e->b, byte, size, ""), jit_const(type, 8), "");
    LLVMValueRef found = LLVMBuildShl(e->b, size, jit_const(type, e4m3 ? 7 : 8), "");
    if (e4m3) {
        LLVMValueRef wide = jit_to_f32(e, LLVMBuildBitCast(e->b, found, half, ""));
        wide = LLVMBuildFMul(e->b, wide, jit_fconst(LLVMTypeOf(wide), 256), "");
        found = LLVMBuildBitCast(e->b, jit_from_f32(e, wide, half), type, "");
    }
    found = LLVMBuildOr(e->b, found, sign, "");
    if (relu) {
        LLVMValueRef negative = LLVMBuildICmp(e->b, LLVMIntNE, sign, LLVMConstNull(type), "");
        found = LLVMBuildSelect(e->b, negative, LLVMConstNull(type), found, "");
    }
    LLVMValueRef nan = LLVMBuildICmp(e->b, LLVMIntUGT, size, jit_const(type, e4m3 ? 0x7e : 0x7c), "");
    return LLVMBuildSelect(e->b, nan, jit_const(type, 0x7fff), found, "");
}

LLVMValueRef jit_emit_from_fp8(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector) {
    if (inst->type != TW_KIR_F16X2 || inst->src_count != 1)
        return NULL;
    LLVMTypeRef i32 = jit_reg_type(e, 32, vector), half = jit_type(e, TW_KIR_F16, vector);
    LLVMValueRef pair = jit_read(e, &inst->src[0], 16, vector), halves[2];
    LLVMTypeRef i16 = LLVMTypeOf(pair);
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef byte = i ? LLVMBuildLShr(e->b, pair, jit_const(i16, 8), "")
                              : LLVMBuildAnd(e->b, pair, jit_const(i16, 0xff), "");
        halves[i] = to_half(e, inst->type2, byte, half, (inst->mods & TW_KIR_RELU) != 0);
        halves[i] = LLVMBuildZExt(e->b, halves[i], i32, "");
    }
    return LLVMBuildOr(e->b, LLVMBuildShl(e->b, halves[1], jit_const(i32, 16), ""), halves[0], "");
}

// SPDX-License-Identifier: Apache-2.0
//
// Conversions. Those between integers and floats saturate, NaN becomes 0 (or the top bit alone where a double
// or a 64-bit integer takes part); those to narrower floats round as the instruction says.

#include "emit.h"

static bool is_float(uint8_t type) {
    return tw_kir_type_is_float(type);
}

static LLVMTypeRef lane_type(struct jit_emit *e, uint8_t type, bool vector) {
    return jit_type(e, type, vector);
}

static bool directed(const struct tw_kir_inst *inst) {
    return inst->round == TW_KIR_RZ || inst->round == TW_KIR_RM || inst->round == TW_KIR_RP;
}

static LLVMValueRef round_to_integer(struct jit_emit *e, unsigned round, LLVMValueRef v) {
    switch (round) {
    case TW_KIR_RNI:
        return jit_unary(e, "llvm.roundeven", v);
    case TW_KIR_RMI:
        return jit_unary(e, "llvm.floor", v);
    case TW_KIR_RPI:
        return jit_unary(e, "llvm.ceil", v);
    default:
        return jit_unary(e, "llvm.trunc", v);
    }
}

static LLVMValueRef clamp_integer(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v) {
    unsigned from = tw_kir_type_bits(inst->type2), to = tw_kir_type_bits(inst->type);
    bool from_sign = tw_kir_type_is_signed(inst->type2), to_sign = tw_kir_type_is_signed(inst->type);
    unsigned top = to - (to_sign ? 1 : 0); // the greatest value is 2^top - 1
    LLVMTypeRef type = LLVMTypeOf(v);
    unsigned room = from - (from_sign ? 1 : 0);
    if (from_sign && !to_sign)
        v = jit_binary(e, "llvm.smax", v, jit_const(type, 0));
    else if (from_sign && to < from)
        v = jit_binary(e, "llvm.smax", v, jit_const(type, ~UINT64_C(0) << top));
    if (top < room)
        v = jit_binary(e, from_sign ? "llvm.smin" : "llvm.umin", v,
                       jit_const(type, (UINT64_C(1) << top) - 1));
    return v;
}

static LLVMValueRef between_integers(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v,
                                     bool vector) {
    unsigned from = tw_kir_type_bits(inst->type2), to = tw_kir_type_bits(inst->type);
    LLVMTypeRef type = lane_type(e, inst->type, vector);
    if (inst->mods & TW_KIR_SAT)
        v = clamp_integer(e, inst, v);
    if (to == from)
        return v;
    if (to < from)
        return LLVMBuildTrunc(e->b, v, type, "");
    return tw_kir_type_is_signed(inst->type2) ? LLVMBuildSExt(e->b, v, type, "")
                                              : LLVMBuildZExt(e->b, v, type, "");
}

// A double or float to the next one toward the wanted direction where the nearest lies on the wrong side;
// `exact` is wider.
static LLVMValueRef correct(struct jit_emit *e, unsigned round, LLVMValueRef near, LLVMValueRef exact) {
    LLVMTypeRef narrow = LLVMTypeOf(near), ints = jit_like_int(e, narrow);
    LLVMValueRef back = LLVMBuildFPExt(e->b, near, LLVMTypeOf(exact), ""),
                 bits = LLVMBuildBitCast(e->b, near, ints, "");
    LLVMValueRef above = LLVMBuildFCmp(e->b, LLVMRealOGT, back, exact, ""),
                 below = LLVMBuildFCmp(e->b, LLVMRealOLT, back, exact, "");
    LLVMValueRef negative = LLVMBuildICmp(e->b, LLVMIntSLT, bits, LLVMConstNull(ints), "");
    // Sign and magnitude: the next greater value of a positive is one more, of a negative one less. Zero
    // never needs a step toward zero.
    LLVMValueRef one = jit_const(ints, 1), more = LLVMBuildAdd(e->b, bits, one, ""),
                 less = LLVMBuildSub(e->b, bits, one, "");
    LLVMValueRef up = LLVMBuildSelect(e->b, negative, less, more, ""),
                 down = LLVMBuildSelect(e->b, negative, more, less, "");
    LLVMValueRef zero =
        LLVMBuildICmp(e->b, LLVMIntEQ, LLVMBuildShl(e->b, bits, one, ""), LLVMConstNull(ints), "");
    unsigned width = jit_element_bits(narrow);
    up = LLVMBuildSelect(e->b, zero, one, up, "");
    down = LLVMBuildSelect(e->b, zero, jit_const(ints, (UINT64_C(1) << (width - 1)) + 1), down, "");
    LLVMValueRef exact_negative =
        LLVMBuildFCmp(e->b, LLVMRealOLT, exact, LLVMConstNull(LLVMTypeOf(exact)), "");
    LLVMValueRef fix_up = round == TW_KIR_RP ? below : LLVMBuildAnd(e->b, below, exact_negative, "");
    LLVMValueRef fix_down =
        round == TW_KIR_RM ? above : LLVMBuildAnd(e->b, above, LLVMBuildNot(e->b, exact_negative, ""), "");
    if (round != TW_KIR_RM)
        bits = LLVMBuildSelect(e->b, fix_up, up, bits, "");
    if (round != TW_KIR_RP)
        bits = LLVMBuildSelect(e->b, fix_down, down, bits, "");
    return LLVMBuildBitCast(e->b, bits, narrow, "");
}

static LLVMValueRef magnitude_of(struct jit_emit *e, LLVMValueRef v, bool sign) {
    if (!sign)
        return v;
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, v, LLVMConstNull(LLVMTypeOf(v)), ""),
                           LLVMBuildNeg(e->b, v, ""), v, "");
}

static LLVMValueRef with_sign_of(struct jit_emit *e, LLVMValueRef size, LLVMValueRef v, bool sign) {
    if (!sign)
        return size;
    LLVMValueRef negative = LLVMBuildICmp(e->b, LLVMIntSLT, v, LLVMConstNull(LLVMTypeOf(v)), "");
    return LLVMBuildSelect(e->b, negative, LLVMBuildFNeg(e->b, size, ""), size, "");
}

// A 64-bit integer as a double that rounds on to anything of at most 40 bits as the integer itself would: where it is
// too long its last bit says whether any bit below was set.
static LLVMValueRef sticky_double(struct jit_emit *e, LLVMValueRef v, bool sign, LLVMTypeRef f64) {
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef size = magnitude_of(e, v, sign), zero = LLVMConstNull(type);
    LLVMValueRef is_long = LLVMBuildICmp(e->b, LLVMIntUGE, size, jit_const(type, UINT64_C(1) << 53), "");
    LLVMValueRef below =
        LLVMBuildICmp(e->b, LLVMIntNE, LLVMBuildAnd(e->b, size, jit_const(type, 0x7ff), ""), zero, "");
    LLVMValueRef cut = LLVMBuildOr(e->b, LLVMBuildLShr(e->b, size, jit_const(type, 11), ""),
                                   LLVMBuildZExt(e->b, below, type, ""), "");
    LLVMValueRef real = LLVMBuildUIToFP(e->b, LLVMBuildSelect(e->b, is_long, cut, size, ""), f64, "");
    LLVMValueRef scaled = LLVMBuildFMul(e->b, real, jit_fconst(f64, 2048), "");
    return with_sign_of(e, LLVMBuildSelect(e->b, is_long, scaled, real, ""), v, sign);
}

// A 64-bit integer to a double, toward zero, down or up: the bits that fit, and the next number where that is wanted.
static LLVMValueRef directed_double(struct jit_emit *e, unsigned round, LLVMValueRef v, bool sign,
                                    LLVMTypeRef f64) {
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef size = magnitude_of(e, v, sign), zero = LLVMConstNull(type);
    LLVMValueRef args[2] = {size, LLVMConstNull(jit_int(e, 1))};
    LLVMValueRef zeros = jit_intrinsic(e, "llvm.ctlz", &type, 1, args, 2);
    LLVMValueRef more = jit_binary(e, "llvm.usub.sat", jit_const(type, 11), zeros);
    LLVMValueRef ones = LLVMConstAllOnes(type);
    LLVMValueRef kept = LLVMBuildAnd(e->b, size, LLVMBuildShl(e->b, ones, more, ""), "");
    LLVMValueRef bits = LLVMBuildBitCast(e->b, LLVMBuildUIToFP(e->b, kept, f64, ""), type, "");
    LLVMValueRef away = LLVMBuildICmp(e->b, LLVMIntNE, kept, size, "");
    LLVMValueRef negative =
        sign ? LLVMBuildICmp(e->b, LLVMIntSLT, v, zero, "") : LLVMConstNull(LLVMTypeOf(away));
    if (round == TW_KIR_RZ)
        away = LLVMConstNull(LLVMTypeOf(away));
    else
        away = LLVMBuildAnd(e->b, away, round == TW_KIR_RM ? negative : LLVMBuildNot(e->b, negative, ""), "");
    bits = LLVMBuildAdd(e->b, bits, LLVMBuildZExt(e->b, away, type, ""), "");
    return with_sign_of(e, LLVMBuildBitCast(e->b, bits, f64, ""), v, sign);
}

static LLVMValueRef narrow(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v, uint8_t to,
                           bool vector);

static LLVMValueRef from_integer(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v,
                                 bool vector) {
    LLVMTypeRef f64 = lane_type(e, TW_KIR_F64, vector), f32 = lane_type(e, TW_KIR_F32, vector);
    bool sign = tw_kir_type_is_signed(inst->type2);
    unsigned from = tw_kir_type_bits(inst->type2);
    bool exact_f64 = from <= 32;
    if (inst->type == TW_KIR_F64 && (exact_f64 || !directed(inst)))
        return sign ? LLVMBuildSIToFP(e->b, v, f64, "") : LLVMBuildUIToFP(e->b, v, f64, "");
    if (inst->type == TW_KIR_F32 && !directed(inst))
        return sign ? LLVMBuildSIToFP(e->b, v, f32, "") : LLVMBuildUIToFP(e->b, v, f32, "");
    if (inst->type == TW_KIR_F64)
        return directed_double(e, inst->round, v, sign, f64);
    LLVMValueRef exact = !exact_f64 ? sticky_double(e, v, sign, f64)
                         : sign     ? LLVMBuildSIToFP(e->b, v, f64, "")
                                    : LLVMBuildUIToFP(e->b, v, f64, "");
    return narrow(e, inst, exact, inst->type, vector);
}

static LLVMValueRef to_integer(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v,
                               bool vector) {
    LLVMTypeRef type = lane_type(e, inst->type, vector);
    unsigned bits = tw_kir_type_bits(inst->type);
    if (inst->type2 == TW_KIR_F16 || inst->type2 == TW_KIR_BF16)
        v = jit_to_f32(e, v);
    if (inst->mods & TW_KIR_FTZ)
        v = jit_flush(e, v);
    v = round_to_integer(e, inst->round, v);
    LLVMTypeRef overloads[2] = {type, LLVMTypeOf(v)};
    const char *name = tw_kir_type_is_signed(inst->type) ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
    LLVMValueRef found = jit_intrinsic(e, name, overloads, 2, &v, 1);
    if (bits < 64 && inst->type2 != TW_KIR_F64)
        return found;
    LLVMValueRef nan = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    return LLVMBuildSelect(e->b, nan, jit_const(type, UINT64_C(1) << (bits - 1)), found, "");
}

static LLVMValueRef to_tf32(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v) {
    LLVMTypeRef type = LLVMTypeOf(v), i32 = jit_like_int(e, type);
    LLVMValueRef bits = LLVMBuildBitCast(e->b, v, i32, ""), add = jit_const(i32, 0x1000);
    if (inst->round == TW_KIR_RZ) {
        add = LLVMConstNull(i32);
    } else if (inst->round != TW_KIR_RNA) { // nearest even
        LLVMValueRef odd =
            LLVMBuildAnd(e->b, LLVMBuildLShr(e->b, bits, jit_const(i32, 13), ""), jit_const(i32, 1), "");
        add = LLVMBuildAdd(e->b, jit_const(i32, 0xfff), odd, "");
    }
    LLVMValueRef sum = LLVMBuildAnd(e->b, LLVMBuildAdd(e->b, bits, add, ""), jit_const(i32, 0xffffe000), "");
    LLVMValueRef magnitude = LLVMBuildAnd(e->b, bits, jit_const(i32, 0x7fffffff), "");
    LLVMValueRef special = LLVMBuildICmp(e->b, LLVMIntUGE, magnitude, jit_const(i32, 0x7f800000), "");
    return LLVMBuildBitCast(e->b, LLVMBuildSelect(e->b, special, bits, sum, ""), type, "");
}

// A float to a bfloat, toward zero, down or up: its upper half, or the next one.
static LLVMValueRef directed_bfloat(struct jit_emit *e, unsigned round, LLVMValueRef v, LLVMTypeRef type) {
    LLVMTypeRef i32 = jit_like_int(e, LLVMTypeOf(v));
    LLVMValueRef bits = LLVMBuildBitCast(e->b, v, i32, ""), zero = LLVMConstNull(i32);
    LLVMValueRef upper = LLVMBuildLShr(e->b, bits, jit_const(i32, 16), "");
    if (round != TW_KIR_RZ) {
        LLVMValueRef low = LLVMBuildAnd(e->b, bits, jit_const(i32, 0xffff), "");
        LLVMValueRef side = LLVMBuildICmp(e->b, round == TW_KIR_RM ? LLVMIntSLT : LLVMIntSGE, bits, zero, "");
        LLVMValueRef away = LLVMBuildAnd(e->b, side, LLVMBuildICmp(e->b, LLVMIntNE, low, zero, ""), "");
        upper = LLVMBuildAdd(e->b, upper, LLVMBuildZExt(e->b, away, i32, ""), "");
    }
    LLVMValueRef nan = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    upper = LLVMBuildSelect(e->b, nan, jit_const(i32, 0x7fff), upper, "");
    return LLVMBuildBitCast(e->b, LLVMBuildTrunc(e->b, upper, jit_resize(e, i32, 16), ""), type, "");
}

// Floats to one narrower type, with the direction.
static LLVMValueRef narrow(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v, uint8_t to,
                           bool vector) {
    LLVMTypeRef type = lane_type(e, to, vector);
    bool from_double = jit_element_bits(LLVMTypeOf(v)) == 64;
    if (to == TW_KIR_F32) {
        LLVMValueRef near = LLVMBuildFPTrunc(e->b, v, type, "");
        return directed(inst) ? correct(e, inst->round, near, v) : near;
    }
    if (from_double)
        v = jit_round_to_odd(e, v);
    if (!directed(inst))
        return jit_from_f32(e, v, type);
    if (to == TW_KIR_F16)
        return correct(e, inst->round, LLVMBuildFPTrunc(e->b, v, type, ""), v);
    return directed_bfloat(e, inst->round, v, type);
}

static LLVMValueRef limit(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v) {
    if (inst->mods & TW_KIR_RELU) { // -0 becomes 0 too
        LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(v));
        v = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLE, v, zero, ""), zero, v, "");
    }
    return inst->mods & TW_KIR_SAT ? jit_saturate(e, v) : v;
}

static LLVMValueRef between_floats(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef v,
                                   uint8_t to, bool vector) {
    uint8_t from = inst->type2;
    if (inst->mods & TW_KIR_FTZ)
        v = jit_flush(e, v);
    if (from == TW_KIR_F16 || from == TW_KIR_BF16)
        v = jit_to_f32(e, v);
    if (inst->round >= TW_KIR_RNI && inst->round <= TW_KIR_RPI)
        v = round_to_integer(e, inst->round, v);
    v = limit(e, inst, v);
    if (to == TW_KIR_TF32)
        return to_tf32(e, inst, v);
    unsigned have = jit_element_bits(LLVMTypeOf(v)), want = tw_kir_type_bits(to);
    if (want > have)
        return LLVMBuildFPExt(e->b, v, lane_type(e, to, vector), "");
    v = want < have ? narrow(e, inst, v, to, vector) : v;
    return v && (inst->mods & TW_KIR_FTZ) ? jit_flush(e, v) : v;
}

// Two floats into one register: the first becomes the upper half.
static LLVMValueRef pack_halves(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector) {
    uint8_t to = inst->type == TW_KIR_F16X2 ? TW_KIR_F16 : TW_KIR_BF16;
    LLVMTypeRef i32 = jit_reg_type(e, 32, vector);
    LLVMValueRef halves[2];
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef v =
            between_floats(e, inst, jit_read_typed(e, &inst->src[i], inst->type2, vector), to, vector);
        if (!v)
            return NULL;
        halves[i] = LLVMBuildZExt(e->b, LLVMBuildBitCast(e->b, v, jit_reg_type(e, 16, vector), ""), i32, "");
    }
    return LLVMBuildOr(e->b, LLVMBuildShl(e->b, halves[0], jit_const(i32, 16), ""), halves[1], "");
}

static bool is_pair(uint8_t type) {
    return type == TW_KIR_F16X2 || type == TW_KIR_BF16X2;
}

static bool is_fp8(uint8_t type) {
    return type == TW_KIR_E4M3X2 || type == TW_KIR_E5M2X2;
}

static LLVMValueRef convert(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector) {
    if (is_fp8(inst->type))
        return jit_emit_to_fp8(e, inst, vector);
    if (is_fp8(inst->type2))
        return jit_emit_from_fp8(e, inst, vector);
    if (inst->src_count == 2)
        return is_pair(inst->type) && inst->type2 == TW_KIR_F32 ? pack_halves(e, inst, vector) : NULL;
    if (is_pair(inst->type) || is_pair(inst->type2) || inst->type >= TW_KIR_E4M3X2 ||
        inst->type2 >= TW_KIR_E4M3X2)
        return NULL;
    LLVMValueRef v = jit_read_typed(e, &inst->src[0], inst->type2, vector);
    if (is_float(inst->type) && is_float(inst->type2))
        return between_floats(e, inst, v, inst->type, vector);
    if (is_float(inst->type)) {
        v = from_integer(e, inst, v, vector);
        return inst->mods & TW_KIR_SAT ? jit_saturate(e, v) : v;
    }
    return is_float(inst->type2) ? to_integer(e, inst, v, vector) : between_integers(e, inst, v, vector);
}

bool jit_emit_cvt(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct jit_shape shape = jit_inst_shape(e->code, inst, 0);
    LLVMValueRef value = convert(e, inst, shape.kind == JIT_VARYING);
    if (!value)
        return jit_refuse(e->err, inst, "from %s is not supported on the CPU device",
                          tw_kir_type_name(inst->type2));
    jit_write(e, inst, 0, value, shape);
    return true;
}

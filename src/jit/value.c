// SPDX-License-Identifier: Apache-2.0
//
// Types, constants, and the slots of registers.

#include "emit.h"

LLVMTypeRef jit_int(const struct jit_emit *e, unsigned bits) {
    return LLVMIntTypeInContext(e->context, bits);
}

LLVMTypeRef jit_vec(const struct jit_emit *e, LLVMTypeRef element) {
    return LLVMVectorType(element, e->lanes);
}

LLVMTypeRef jit_reg_type(const struct jit_emit *e, unsigned bits, bool vector) {
    LLVMTypeRef t = jit_int(e, bits);
    return vector ? jit_vec(e, t) : t;
}

// How many of the element make one value of the type: 2 for packed halves.
static LLVMTypeRef float_element(const struct jit_emit *e, enum tw_kir_type type, unsigned *ret_count) {
    *ret_count = type == TW_KIR_F16X2 || type == TW_KIR_BF16X2 ? 2 : 1;
    if (type == TW_KIR_F16 || type == TW_KIR_F16X2)
        return LLVMHalfTypeInContext(e->context);
    if (type == TW_KIR_BF16 || type == TW_KIR_BF16X2)
        return LLVMBFloatTypeInContext(e->context);
    if (type == TW_KIR_F32 || type == TW_KIR_TF32)
        return LLVMFloatTypeInContext(e->context);
    return type == TW_KIR_F64 ? LLVMDoubleTypeInContext(e->context) : NULL;
}

LLVMTypeRef jit_type(const struct jit_emit *e, enum tw_kir_type type, bool vector) {
    unsigned count;
    LLVMTypeRef element = float_element(e, type, &count);
    if (!element)
        return jit_reg_type(e, tw_kir_type_bits(type), vector);
    count *= vector ? e->lanes : 1;
    return vector || count > 1 ? LLVMVectorType(element, count) : element;
}

bool jit_is_vector(LLVMValueRef value) {
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

static LLVMTypeRef element_of(LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

unsigned jit_element_bits(LLVMTypeRef type) {
    LLVMTypeRef t = element_of(type);
    switch (LLVMGetTypeKind(t)) {
    case LLVMHalfTypeKind:
    case LLVMBFloatTypeKind:
        return 16;
    case LLVMFloatTypeKind:
        return 32;
    case LLVMDoubleTypeKind:
        return 64;
    default:
        return LLVMGetIntTypeWidth(t);
    }
}

LLVMTypeRef jit_resize(const struct jit_emit *e, LLVMTypeRef like, unsigned bits) {
    LLVMTypeRef t = jit_int(e, bits);
    return LLVMGetTypeKind(like) == LLVMVectorTypeKind ? LLVMVectorType(t, LLVMGetVectorSize(like)) : t;
}

LLVMTypeRef jit_like_int(const struct jit_emit *e, LLVMTypeRef like) {
    return jit_resize(e, like, jit_element_bits(like));
}

LLVMTypeRef jit_like_bool(const struct jit_emit *e, LLVMTypeRef like) {
    return jit_resize(e, like, 1);
}

static LLVMValueRef const_splat(LLVMTypeRef like, LLVMValueRef scalar) {
    if (LLVMGetTypeKind(like) != LLVMVectorTypeKind)
        return scalar;
    LLVMValueRef parts[2 * JIT_MAX_LANES * 2];
    unsigned n = LLVMGetVectorSize(like);
    for (unsigned i = 0; i < n; i++)
        parts[i] = scalar;
    return LLVMConstVector(parts, n);
}

LLVMValueRef jit_const(LLVMTypeRef like, uint64_t value) {
    return const_splat(like, LLVMConstInt(element_of(like), value, true));
}

LLVMValueRef jit_fconst(LLVMTypeRef like, double value) {
    return const_splat(like, LLVMConstReal(element_of(like), value));
}

LLVMValueRef jit_i64(const struct jit_emit *e, uint64_t value) {
    return LLVMConstInt(jit_int(e, 64), value, false);
}

LLVMValueRef jit_i32(const struct jit_emit *e, uint32_t value) {
    return LLVMConstInt(jit_int(e, 32), value, false);
}

LLVMValueRef jit_splat_n(struct jit_emit *e, LLVMValueRef scalar, unsigned n) {
    LLVMTypeRef vector = LLVMVectorType(LLVMTypeOf(scalar), n);
    if (LLVMIsConstant(scalar))
        return const_splat(vector, scalar);
    LLVMValueRef one = LLVMBuildInsertElement(e->b, LLVMGetPoison(vector), scalar, jit_i32(e, 0), "");
    return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(vector),
                                  LLVMConstNull(LLVMVectorType(jit_int(e, 32), n)), "");
}

LLVMValueRef jit_splat(struct jit_emit *e, LLVMValueRef scalar) {
    return jit_splat_n(e, scalar, e->lanes);
}

LLVMValueRef jit_slot(struct jit_emit *e, LLVMTypeRef type, const char *name) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b), entry = LLVMGetEntryBasicBlock(e->function);
    LLVMValueRef first = LLVMGetFirstInstruction(entry);
    if (first)
        LLVMPositionBuilderBefore(e->b, first);
    else
        LLVMPositionBuilderAtEnd(e->b, entry);
    LLVMValueRef slot = LLVMBuildAlloca(e->b, type, name);
    LLVMPositionBuilderAtEnd(e->b, here);
    return slot;
}

LLVMValueRef jit_expand(struct jit_emit *e, LLVMValueRef scalar, struct jit_shape shape) {
    return jit_is_uniform(shape) ? jit_splat(e, scalar) : jit_spread(e, scalar, shape);
}

static LLVMValueRef wide_const(LLVMTypeRef type, uint64_t bits) {
    return LLVMConstInt(type, bits, false);
}

// The slot of a register, made when it is first met; it begins as zero so that nothing depends on what was
// there.
LLVMValueRef jit_reg_slot(struct jit_emit *e, uint32_t reg) {
    if (e->regs[reg])
        return e->regs[reg];
    unsigned count = e->few[reg] ? e->few[reg]->count : jit_form_count(e->code, e->code->shapes[reg]);
    const struct tw_kir_reg *r = &e->code->function->regs[reg];
    LLVMTypeRef type = count > 1 ? LLVMVectorType(jit_int(e, r->bits), count) : jit_int(e, r->bits);
    e->regs[reg] = jit_slot(e, type, r->name);
    return e->regs[reg];
}

LLVMValueRef jit_reg_get(struct jit_emit *e, uint32_t reg) {
    if (e->values[reg])
        return e->values[reg];
    LLVMValueRef slot = jit_reg_slot(e, reg);
    return LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slot), slot, "");
}

void jit_reg_set(struct jit_emit *e, uint32_t reg, LLVMValueRef value) {
    if (jit_bit(e->once, reg))
        e->values[reg] = value;
    else
        LLVMBuildStore(e->b, value, jit_reg_slot(e, reg));
}

LLVMValueRef jit_read(struct jit_emit *e, const struct tw_kir_operand *operand, unsigned bits, bool vector) {
    if (operand->is_imm) {
        LLVMValueRef c = wide_const(jit_int(e, bits), operand->bits);
        return vector ? jit_splat(e, c) : c;
    }
    struct jit_shape shape = e->code->shapes[operand->reg];
    LLVMValueRef value = jit_part_load(e, operand->reg);
    return vector && jit_form_of(e->code, shape) != JIT_LANES ? jit_expand(e, value, shape) : value;
}

LLVMValueRef jit_read_typed(struct jit_emit *e, const struct tw_kir_operand *operand, enum tw_kir_type type,
                            bool vector) {
    LLVMTypeRef want = jit_type(e, type, vector), one = jit_type(e, type, false);
    bool spreads = vector && tw_kir_type_is_float(type) && LLVMGetTypeKind(one) != LLVMVectorTypeKind &&
                   !operand->is_imm && jit_reg_uniform(e->code, operand->reg);
    // As a float before it is spread: a float that waits as a word does so among the integers.
    if (spreads)
        return jit_splat(e, LLVMBuildBitCast(e->b, jit_part_load(e, operand->reg), one, ""));
    LLVMValueRef value = jit_read(e, operand, tw_kir_type_bits(type), vector);
    return LLVMTypeOf(value) == want ? value : LLVMBuildBitCast(e->b, value, want, "");
}

bool jit_operand_varies(const struct jit_emit *e, const struct tw_kir_operand *operand) {
    return !operand->is_imm && !jit_reg_uniform(e->code, operand->reg);
}

void jit_write(struct jit_emit *e, const struct tw_kir_inst *inst, unsigned index, LLVMValueRef value,
               struct jit_shape shape) {
    uint32_t reg = inst->dst[index];
    if (reg == TW_KIR_NO_REG)
        return;
    unsigned bits = e->code->function->regs[reg].bits;
    bool vector = e->code->shapes[reg].kind == JIT_VARYING;
    LLVMTypeRef type = jit_reg_type(e, bits, vector), scalar = jit_reg_type(e, bits, false);
    bool is_vector = shape.kind == JIT_VARYING;
    if (!is_vector && LLVMTypeOf(value) != scalar)
        value = LLVMBuildBitCast(e->b, value, scalar, "");
    if (!is_vector && vector)
        value = jit_expand(e, value, shape);
    if (LLVMTypeOf(value) != type)
        value = LLVMBuildBitCast(e->b, value, type, "");
    if (vector && jit_form_of(e->code, e->code->shapes[reg]) != JIT_LANES) {
        jit_reg_set(e, reg, jit_gather_up(e, value, e->code->shapes[reg]));
        return;
    }
    if (vector && !e->active_full && jit_must_blend(e->code, e->at_block, inst, reg))
        value = LLVMBuildSelect(e->b, e->active, value, jit_part_load(e, reg), "");
    jit_part_store(e, reg, value);
}

void jit_write_any(struct jit_emit *e, const struct tw_kir_inst *inst, unsigned index, LLVMValueRef value) {
    // Packed halves of one lane are a vector too: a vector of lanes has W elements or more.
    bool vector = jit_is_vector(value) && LLVMGetVectorSize(LLVMTypeOf(value)) >= e->lanes;
    jit_write(e, inst, index, value, (struct jit_shape){.kind = vector ? JIT_VARYING : JIT_AFFINE});
}

// SPDX-License-Identifier: Apache-2.0
//
// Registers of which the lanes of a group have all but their place in common: tid.y where a vector holds several
// rows, what t / 8 and t % 8 of a thread number give, and addresses made of them. They are kept as the value of each
// group's first lane, a vector of W >> group elements, or where groups are a known distance apart as that of
// lane 0; an operation on them is done on that. Their lanes' values are made only where somebody asks for them.

#include "emit.h"

enum jit_form jit_form_of(const struct jit_code *code, struct jit_shape s) {
    if (s.kind != JIT_VARYING)
        return JIT_ONE;
    if (!s.compact || s.group == 0)
        return JIT_LANES;
    return s.known || code->variant.lanes >> s.group == 1 ? JIT_ONE : JIT_FIRSTS;
}

static enum jit_form form_of(const struct jit_emit *e, uint32_t reg) {
    return jit_form_of(e->code, e->code->shapes[reg]);
}

unsigned jit_form_count(const struct jit_code *code, struct jit_shape s) {
    unsigned lanes = code->variant.lanes;
    enum jit_form form = jit_form_of(code, s);
    return form == JIT_ONE ? 1 : form == JIT_FIRSTS ? lanes >> s.group : lanes;
}

// How much lane `lane` is above its group's first lane, or above lane 0 where that stands for all.
uint64_t jit_above(const struct jit_emit *e, struct jit_shape s, unsigned lane) {
    if (s.kind != JIT_VARYING)
        return lane * (uint64_t)s.stride;
    unsigned in_group = lane & ((1U << s.group) - 1);
    uint64_t own = in_group * (uint64_t)s.stride;
    return jit_form_of(e->code, s) == JIT_ONE ? own + (lane >> s.group) * (uint64_t)s.across : own;
}

// The values of lanes 0, step, 2 × step …, `count` of them, of a register of shape `s` held as `value`. Of a part's lanes where
// that is all there are now.
static LLVMValueRef some_lanes(struct jit_emit *e, LLVMValueRef value, struct jit_shape s, unsigned step,
                               unsigned count) {
    unsigned from[JIT_MAX_LANES];
    LLVMValueRef offsets[JIT_MAX_LANES];
    enum jit_form form = jit_form_of(e->code, s);
    LLVMTypeRef type = LLVMTypeOf(value), element = jit_is_vector(value) ? LLVMGetElementType(type) : type;
    for (unsigned k = 0; k < count; k++) {
        unsigned lane = jit_part_lane(e, k * step);
        from[k] = form == JIT_LANES ? lane : lane >> s.group;
        offsets[k] = LLVMConstInt(element, form == JIT_LANES ? 0 : jit_above(e, s, lane), false);
    }
    if (count == 1 && !e->part)
        return form == JIT_ONE ? value : LLVMBuildExtractElement(e->b, value, jit_i32(e, 0), "");
    LLVMValueRef values =
        form == JIT_ONE ? jit_splat_n(e, value, count) : jit_shuffle(e, value, NULL, from, count);
    return form == JIT_LANES ? values : LLVMBuildAdd(e->b, values, LLVMConstVector(offsets, count), "");
}

LLVMValueRef jit_spread(struct jit_emit *e, LLVMValueRef value, struct jit_shape shape) {
    return jit_form_of(e->code, shape) == JIT_LANES ? value : some_lanes(e, value, shape, 1, e->lanes);
}

LLVMValueRef jit_firsts(struct jit_emit *e, const struct tw_kir_operand *operand, unsigned bits,
                        struct jit_shape like) {
    unsigned count = jit_form_count(e->code, like), step = e->lanes / count;
    LLVMTypeRef type = jit_int(e, bits);
    if (operand->is_imm)
        return jit_const(count == 1 ? type : LLVMVectorType(type, count), operand->bits);
    return some_lanes(e, jit_reg_get(e, operand->reg), e->code->shapes[operand->reg], step, count);
}

LLVMValueRef jit_gather_up(struct jit_emit *e, LLVMValueRef lanes, struct jit_shape shape) {
    unsigned count = jit_form_count(e->code, shape);
    return some_lanes(e, lanes, (struct jit_shape){.kind = JIT_VARYING}, e->lanes / count, count);
}

static LLVMValueRef convert(struct jit_emit *e, const struct tw_kir_inst *inst, struct jit_shape shape) {
    unsigned from = tw_kir_type_bits(inst->type2), to = tw_kir_type_bits(inst->type);
    LLVMValueRef value = jit_firsts(e, &inst->src[0], from, shape);
    LLVMTypeRef type = jit_resize(e, LLVMTypeOf(value), to);
    if (to <= from)
        return LLVMBuildTruncOrBitCast(e->b, value, type, "");
    return tw_kir_type_is_signed(inst->type2) ? LLVMBuildSExt(e->b, value, type, "")
                                              : LLVMBuildZExt(e->b, value, type, "");
}

bool jit_emit_compact(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->dst_count != 1 || inst->dst[0] == TW_KIR_NO_REG || !jit_may_compact(inst))
        return false;
    struct jit_shape shape = e->code->shapes[inst->dst[0]];
    if (shape.kind != JIT_VARYING || form_of(e, inst->dst[0]) == JIT_LANES)
        return false;
    LLVMValueRef src[2] = {}, value;
    unsigned bits = tw_kir_type_bits(inst->type);
    bool shifts = inst->op == TW_KIR_SHL || inst->op == TW_KIR_SHR;
    for (unsigned i = 0; inst->op != TW_KIR_CVT && i < inst->src_count; i++)
        src[i] = jit_firsts(e, &inst->src[i], shifts && i == 1 ? 32 : bits, shape);
    if (inst->op == TW_KIR_CVT)
        value = convert(e, inst, shape);
    else if (!(value = jit_emit_int(e, inst, src)))
        value = jit_emit_bits(e, inst, src);
    jit_reg_set(e, inst->dst[0], value);
    return true;
}

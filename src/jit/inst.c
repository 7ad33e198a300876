// SPDX-License-Identifier: Apache-2.0
//
// One instruction: its guard, then by kind. Element-wise operations read all sources as scalars or all as
// vectors, as the result's shape says.

#include "emit.h"

static LLVMValueRef emit_elementwise(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    LLVMValueRef found = NULL;
    if (tw_kir_type_is_float(inst->type))
        return jit_emit_float(e, inst, src);
    found = jit_emit_int(e, inst, src);
    return found ? found : jit_emit_bits(e, inst, src);
}

static enum tw_kir_type source_type(const struct tw_kir_inst *inst, unsigned index) {
    switch (inst->op) {
    case TW_KIR_SHL:
    case TW_KIR_SHR:
    case TW_KIR_BFE:
    case TW_KIR_SZEXT:
        return index == 0 ? (enum tw_kir_type)inst->type : TW_KIR_B32;
    case TW_KIR_SHFL_L:
    case TW_KIR_SHFL_R:
    case TW_KIR_BFI:
        return index < 2 ? (enum tw_kir_type)inst->type : TW_KIR_B32;
    case TW_KIR_DP4A:
    case TW_KIR_DP2A:
        return TW_KIR_B32;
    case TW_KIR_SELECT:
    case TW_KIR_ADDC:
    case TW_KIR_SUBC:
    case TW_KIR_SETP:
        return index == 2 ? TW_KIR_PRED : (enum tw_kir_type)inst->type;
    default:
        return inst->type;
    }
}

static bool emit_pure(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct jit_shape shape = jit_inst_shape(e->code, inst, 0);
    LLVMValueRef src[4] = {};
    if (inst->src_count > TW_COUNT(src))
        return jit_refuse(e->err, inst, "is not supported on the CPU device");
    for (unsigned i = 0; i < inst->src_count; i++)
        src[i] = jit_read_typed(e, &inst->src[i], source_type(inst, i), shape.kind == JIT_VARYING);
    LLVMValueRef value = emit_elementwise(e, inst, src);
    if (!value)
        return jit_refuse(e->err, inst, "is not supported on the CPU device");
    jit_write(e, inst, 0, value, shape);
    return true;
}

static bool emit_ldparam(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMTypeRef type = jit_int(e, tw_kir_type_bits(inst->type));
    for (unsigned i = 0; i < inst->dst_count; i++) {
        // Parameters are read in the entry block: a load in a block that only some warps reach would keep
        // LLVM from moving it.
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
        LLVMPositionBuilderBefore(e->b, LLVMGetBasicBlockTerminator(LLVMGetEntryBasicBlock(e->function)));
        LLVMValueRef at =
            jit_i64(e, (uint64_t)inst->offset + i * (uint64_t)(tw_kir_type_bits(inst->type) / 8));
        LLVMValueRef value =
            LLVMBuildLoad2(e->b, type, LLVMBuildGEP2(e->b, jit_int(e, 8), e->params, &at, 1, ""), "param");
        LLVMSetAlignment(value, 1);
        LLVMPositionBuilderAtEnd(e->b, here);
        jit_write(e, inst, i, value, (struct jit_shape){.kind = JIT_AFFINE});
    }
    return true;
}

static bool emit_addr(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_PARAMADDR) {
        jit_write(e, inst, 0, LLVMBuildAdd(e->b, e->param_base, jit_i64(e, (uint64_t)inst->offset), ""),
                  (struct jit_shape){.kind = JIT_AFFINE});
        return true;
    }
    const struct tw_kir_variable *v = &e->code->module->variables[inst->index];
    LLVMValueRef base = v->space == TW_KIR_SHARED  ? e->shared_base
                        : v->space == TW_KIR_LOCAL ? e->local_base
                                                   : e->global_base;
    LLVMValueRef offset = jit_i64(e, e->code->layout.offsets[inst->index] + (uint64_t)inst->offset);
    LLVMValueRef value = LLVMBuildAdd(e->b, base, offset, "");
    if (v->space == TW_KIR_LOCAL) {
        LLVMValueRef thread = LLVMBuildZExt(e->b, e->linear, jit_int(e, 64), "");
        value = LLVMBuildAdd(e->b, value,
                             LLVMBuildMul(e->b, thread, jit_i64(e, e->code->layout.local_bytes), ""), "");
    }
    jit_write(e, inst, 0, value, jit_inst_shape(e->code, inst, 0));
    return true;
}

static bool emit_pack(struct jit_emit *e, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type), part = bits / inst->src_count;
    bool vector = jit_inst_shape(e->code, inst, 0).kind == JIT_VARYING;
    LLVMTypeRef type = jit_reg_type(e, bits, vector);
    LLVMValueRef all = LLVMConstNull(type);
    for (unsigned i = 0; i < inst->src_count; i++) {
        LLVMValueRef p = LLVMBuildZExt(e->b, jit_read(e, &inst->src[i], part, vector), type, "");
        all = LLVMBuildOr(e->b, all, LLVMBuildShl(e->b, p, jit_const(type, (uint64_t)i * part), ""), "");
    }
    jit_write_any(e, inst, 0, all);
    return true;
}

static bool emit_unpack(struct jit_emit *e, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type), part = bits / inst->dst_count;
    bool vector = jit_inst_shape(e->code, inst, 0).kind == JIT_VARYING;
    LLVMValueRef all = jit_read(e, &inst->src[0], bits, vector);
    LLVMTypeRef type = LLVMTypeOf(all);
    for (unsigned i = 0; i < inst->dst_count; i++) {
        if (inst->dst[i] == TW_KIR_NO_REG)
            continue;
        LLVMValueRef p = LLVMBuildLShr(e->b, all, jit_const(type, (uint64_t)i * part), "");
        jit_write_any(e, inst, i, LLVMBuildTrunc(e->b, p, jit_reg_type(e, part, vector), ""));
    }
    return true;
}

static LLVMValueRef compare(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef a,
                            LLVMValueRef b) {
    static const LLVMRealPredicate real[] = {LLVMRealOEQ, LLVMRealONE, LLVMRealOLT, LLVMRealOLE, LLVMRealOGT,
                                             LLVMRealOGE, LLVMRealUEQ, LLVMRealUNE, LLVMRealULT, LLVMRealULE,
                                             LLVMRealUGT, LLVMRealUGE, LLVMRealORD, LLVMRealUNO};
    static const LLVMIntPredicate sign[] = {LLVMIntEQ,  LLVMIntNE,  LLVMIntSLT,
                                            LLVMIntSLE, LLVMIntSGT, LLVMIntSGE};
    static const LLVMIntPredicate plain[] = {LLVMIntEQ,  LLVMIntNE,  LLVMIntULT,
                                             LLVMIntULE, LLVMIntUGT, LLVMIntUGE};
    if (tw_kir_type_is_float(inst->type)) {
        if (inst->mods & TW_KIR_FTZ) {
            a = jit_flush_own(e, a);
            b = jit_flush_own(e, b);
        }
        return LLVMBuildFCmp(e->b, real[inst->cmp], a, b, "");
    }
    unsigned cmp = inst->cmp < TW_KIR_EQU ? inst->cmp : TW_KIR_EQ;
    return LLVMBuildICmp(e->b, tw_kir_type_is_signed(inst->type) ? sign[cmp] : plain[cmp], a, b, "");
}

static LLVMValueRef combine(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef p,
                            LLVMValueRef c) {
    switch ((enum tw_kir_combine)inst->combine) {
    case TW_KIR_COMBINE_AND:
        return LLVMBuildAnd(e->b, p, c, "");
    case TW_KIR_COMBINE_OR:
        return LLVMBuildOr(e->b, p, c, "");
    case TW_KIR_COMBINE_XOR:
        return LLVMBuildXor(e->b, p, c, "");
    case TW_KIR_COMBINE_NONE:
        break;
    }
    return p;
}

static LLVMValueRef compare_sources(struct jit_emit *e, const struct tw_kir_inst *inst, bool vector) {
    struct jit_prefix prefix;
    LLVMValueRef row = vector ? jit_prefix_row(e, inst) : NULL;
    if (row)
        return row;
    bool counts = vector && jit_prefix_begin(e, inst, &prefix);
    LLVMValueRef a = jit_read_typed(e, &inst->src[0], inst->type, vector),
                 b = jit_read_typed(e, &inst->src[1], inst->type, vector), p = compare(e, inst, a, b);
    return counts ? jit_prefix_end(e, &prefix, p) : p;
}

static bool emit_setp(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (inst->type == TW_KIR_F16X2 || inst->type == TW_KIR_BF16X2)
        return jit_refuse(e->err, inst, "is not supported on the CPU device; compare the halves one by one");
    bool vector = jit_inst_shape(e->code, inst, 0).kind == JIT_VARYING;
    LLVMValueRef p = compare_sources(e, inst, vector);
    LLVMValueRef q = LLVMBuildNot(e->b, p, "");
    if (inst->combine != TW_KIR_COMBINE_NONE && inst->src_count > 2) {
        LLVMValueRef c = jit_read(e, &inst->src[2], 1, vector);
        if (inst->combine_not)
            c = LLVMBuildNot(e->b, c, "");
        p = combine(e, inst, p, c);
        q = combine(e, inst, q, c);
    }
    jit_write_any(e, inst, 0, p);
    if (inst->dst_count > 1)
        jit_write_any(e, inst, 1, q);
    return true;
}

// A subtraction adds the complement: it carries where it borrows nothing.
static bool emit_carry(struct jit_emit *e, const struct tw_kir_inst *inst) {
    bool vector = jit_inst_shape(e->code, inst, 0).kind == JIT_VARYING, add = inst->op == TW_KIR_ADDC;
    unsigned bits = tw_kir_type_bits(inst->type);
    LLVMValueRef a = jit_read(e, &inst->src[0], bits, vector), b = jit_read(e, &inst->src[1], bits, vector);
    LLVMTypeRef wide = jit_reg_type(e, bits * 2, vector), narrow = LLVMTypeOf(a);
    LLVMValueRef c = jit_read(e, &inst->src[2], 1, vector);
    c = LLVMBuildZExt(e->b, add ? c : LLVMBuildNot(e->b, c, ""), wide, "");
    a = LLVMBuildZExt(e->b, a, wide, "");
    b = LLVMBuildZExt(e->b, b, wide, "");
    LLVMValueRef sum = add ? LLVMBuildAdd(e->b, LLVMBuildAdd(e->b, a, b, ""), c, "")
                           : LLVMBuildSub(e->b, LLVMBuildSub(e->b, a, b, ""), c, "");
    LLVMValueRef beyond = LLVMBuildLShr(e->b, sum, jit_const(wide, bits), ""),
                 carry = LLVMBuildTrunc(e->b, beyond, jit_like_bool(e, narrow), "");
    jit_write_any(e, inst, 0, LLVMBuildTrunc(e->b, sum, narrow, ""));
    if (inst->dst_count > 1)
        jit_write_any(e, inst, 1, add ? carry : LLVMBuildNot(e->b, carry, ""));
    return true;
}

static bool emit_trap(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMBasicBlockRef hit = jit_block_new(e, "trap"), on = jit_block_new(e, "on");
    LLVMBuildCondBr(e->b, jit_any(e, e->active), hit, on);
    LLVMPositionBuilderAtEnd(e->b, hit);
    jit_fail_kernel(e, TW_KERNEL_TRAP, inst->line);
    LLVMPositionBuilderAtEnd(e->b, on);
    return true;
}

void jit_fail_kernel(struct jit_emit *e, uint32_t status, uint32_t line) {
    jit_fail_kernel_at(e, status, jit_i64(e, line));
}

void jit_fail_kernel_at(struct jit_emit *e, uint32_t status, LLVMValueRef line) {
    LLVMValueRef at = jit_i64(e, offsetof(struct tw_kernel_frame, fault_site));
    LLVMBuildStore(e->b, line, LLVMBuildGEP2(e->b, jit_int(e, 8), e->frame, &at, 1, ""));
    LLVMBuildStore(e->b, jit_i32(e, status), e->status);
    LLVMBuildBr(e->b, e->leave);
}

// Whether addresses lie in `bytes` bytes from `base` on.
static LLVMValueRef lies_within(struct jit_emit *e, LLVMValueRef address, LLVMValueRef base,
                                LLVMValueRef bytes) {
    bool vector = jit_is_vector(address);
    LLVMValueRef from = LLVMBuildSub(e->b, address, vector ? jit_splat(e, base) : base, "");
    return LLVMBuildICmp(e->b, LLVMIntULT, from, vector ? jit_splat(e, bytes) : bytes, "");
}

static LLVMValueRef lies_in(struct jit_emit *e, LLVMValueRef address, unsigned space) {
    LLVMTypeRef i64 = jit_int(e, 64);
    const struct jit_layout *l = &e->code->layout;
    if (space == TW_KIR_SHARED)
        return lies_within(e, address, e->shared_base,
                           jit_frame_field(e, offsetof(struct tw_kernel_frame, shared_limit), i64, ""));
    if (space == TW_KIR_CONST)
        return lies_within(e, address, LLVMBuildAdd(e->b, e->global_base, jit_i64(e, l->constants), ""),
                           jit_i64(e, l->globals_bytes - l->constants));
    LLVMValueRef threads =
        LLVMBuildMul(e->b, LLVMBuildMul(e->b, e->block[0], e->block[1], ""), e->block[2], "");
    LLVMValueRef bytes =
        LLVMBuildMul(e->b, LLVMBuildZExt(e->b, threads, i64, ""), jit_i64(e, l->local_bytes), "");
    return lies_within(e, address, e->local_base, bytes);
}

static bool emit_isspace(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMValueRef a = jit_read(e, &inst->src[0], 64, jit_operand_varies(e, &inst->src[0]));
    LLVMValueRef found = jit_const(jit_like_bool(e, LLVMTypeOf(a)), 0);
    if (inst->space == TW_KIR_SHARED || inst->space == TW_KIR_LOCAL || inst->space == TW_KIR_CONST)
        found = lies_in(e, a, inst->space);
    else if (inst->space == TW_KIR_GLOBAL) {
        LLVMValueRef elsewhere =
            LLVMBuildOr(e->b, lies_in(e, a, TW_KIR_SHARED), lies_in(e, a, TW_KIR_LOCAL), "");
        found = LLVMBuildNot(e->b, LLVMBuildOr(e->b, elsewhere, lies_in(e, a, TW_KIR_CONST), ""), "");
    }
    jit_write_any(e, inst, 0, found);
    return true;
}

static bool emit_arrive(struct jit_emit *e, const struct tw_kir_inst *inst) {
    LLVMBasicBlockRef some = jit_block_new(e, "some"), on = jit_block_new(e, "on");
    LLVMBuildCondBr(e->b, jit_any(e, e->active), some, on);
    LLVMPositionBuilderAtEnd(e->b, some);
    jit_named_arrive(e, inst, false);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    return true;
}

// Operations with effects or with lanes that look at each other.
static bool emit_effect(struct jit_emit *e, const struct tw_kir_inst *inst) {
    unsigned flags = tw_kir_op_flags(inst->op);
    if (inst->op == TW_KIR_TRAP)
        return emit_trap(e, inst);
    if (inst->op == TW_KIR_BARARRIVE)
        return emit_arrive(e, inst);
    if (inst->op == TW_KIR_MMA || inst->op == TW_KIR_LDMATRIX || inst->op == TW_KIR_MOVMATRIX)
        return jit_emit_matrix(e, inst);
    if (inst->op == TW_KIR_PRINTF)
        return jit_emit_print(e, inst);
    if (inst->op == TW_KIR_CALL)
        return jit_refuse(e->err, inst, "is not supported on the CPU device");
    if (inst->op == TW_KIR_MBARRIER)
        return jit_emit_mbarrier(e, inst);
    if (inst->op == TW_KIR_ATOM || inst->op == TW_KIR_FENCE)
        return jit_emit_atomic(e, inst);
    return flags & TW_KIR_MEM ? jit_emit_memory(e, inst) : jit_emit_warp(e, inst);
}

static bool emit_op(struct jit_emit *e, const struct tw_kir_inst *inst) {
    jit_check_guess(e, inst);
    if (jit_emit_compact(e, inst))
        return true;
    switch (inst->op) {
    case TW_KIR_SREG:
        return jit_emit_sreg(e, inst);
    case TW_KIR_ADDR:
    case TW_KIR_PARAMADDR:
        return emit_addr(e, inst);
    case TW_KIR_LDPARAM:
        return emit_ldparam(e, inst);
    case TW_KIR_PACK:
        return emit_pack(e, inst);
    case TW_KIR_UNPACK:
        return emit_unpack(e, inst);
    case TW_KIR_SETP:
        return emit_setp(e, inst);
    case TW_KIR_ADDC:
    case TW_KIR_SUBC:
        return emit_carry(e, inst);
    case TW_KIR_CVT:
        return jit_emit_cvt(e, inst);
    case TW_KIR_ISSPACE:
        return emit_isspace(e, inst);
    default:
        return tw_kir_op_flags(inst->op) & TW_KIR_PURE ? emit_pure(e, inst) : emit_effect(e, inst);
    }
}

// A guard on which all lanes agree is a branch around the instruction.
static bool emit_uniform_guard(struct jit_emit *e, const struct tw_kir_inst *inst) {
    struct tw_kir_operand guard = tw_kir_reg_operand(inst->guard);
    LLVMBasicBlockRef then = jit_block_new(e, "guarded"), on = jit_block_new(e, "on");
    LLVMValueRef cond = jit_read(e, &guard, 1, false);
    LLVMBuildCondBr(e->b, cond, inst->guard_not ? on : then, inst->guard_not ? then : on);
    LLVMPositionBuilderAtEnd(e->b, then);
    if (!emit_op(e, inst))
        return false;
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    return true;
}

bool jit_emit_inst(struct jit_emit *e, const struct tw_kir_inst *inst) {
    if (jit_makes_few(e, inst))
        return jit_emit_few(e, inst);
    e->active = e->mask;
    e->active_full = e->mask_full;
    e->active_some = true;
    if (inst->guard == TW_KIR_NO_REG)
        return emit_op(e, inst);
    if (jit_reg_uniform(e->code, inst->guard))
        return emit_uniform_guard(e, inst);
    struct tw_kir_operand guard = tw_kir_reg_operand(inst->guard);
    LLVMValueRef cond = jit_read(e, &guard, 1, true);
    if (inst->guard_not)
        cond = LLVMBuildNot(e->b, cond, "");
    e->active = e->mask_full ? cond : LLVMBuildAnd(e->b, e->mask, cond, "");
    e->active_full = e->active_some = false;
    return emit_op(e, inst);
}

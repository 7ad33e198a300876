// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic rounded toward zero, down or up. AVX-512 has the direction in the instruction; elsewhere the
// operation is a piece of assembly that sets and resets MXCSR around itself, so that LLVM never sees another
// mode. (A kernel that is stopped in between by a signal begins the next launch with MXCSR as the kernel
// gives it to handlers: the default.)

#include "emit.h"

static unsigned x86_mode(const struct tw_kir_inst *inst) {
    return inst->round == TW_KIR_RM ? 1 : inst->round == TW_KIR_RP ? 2 : inst->round == TW_KIR_RZ ? 3 : 0;
}

static const char *intrinsic_name(const struct tw_kir_inst *inst, bool wide) {
    switch (inst->op) {
    case TW_KIR_ADD:
        return wide ? "llvm.x86.avx512.add.pd.512" : "llvm.x86.avx512.add.ps.512";
    case TW_KIR_SUB:
        return wide ? "llvm.x86.avx512.sub.pd.512" : "llvm.x86.avx512.sub.ps.512";
    case TW_KIR_MUL:
        return wide ? "llvm.x86.avx512.mul.pd.512" : "llvm.x86.avx512.mul.ps.512";
    case TW_KIR_DIV:
    case TW_KIR_RCP:
        return wide ? "llvm.x86.avx512.div.pd.512" : "llvm.x86.avx512.div.ps.512";
    case TW_KIR_SQRT:
        return wide ? "llvm.x86.avx512.sqrt.pd.512" : "llvm.x86.avx512.sqrt.ps.512";
    case TW_KIR_FMA:
        return wide ? "llvm.x86.avx512.vfmadd.pd.512" : "llvm.x86.avx512.vfmadd.ps.512";
    default:
        return NULL;
    }
}

static const char *assembly_name(const struct tw_kir_inst *inst, bool wide) {
    switch (inst->op) {
    case TW_KIR_ADD:
        return wide ? "vaddpd $2, $1, $0" : "vaddps $2, $1, $0";
    case TW_KIR_SUB:
        return wide ? "vsubpd $2, $1, $0" : "vsubps $2, $1, $0";
    case TW_KIR_MUL:
        return wide ? "vmulpd $2, $1, $0" : "vmulps $2, $1, $0";
    case TW_KIR_DIV:
    case TW_KIR_RCP:
        return wide ? "vdivpd $2, $1, $0" : "vdivps $2, $1, $0";
    case TW_KIR_SQRT:
        return wide ? "vsqrtpd $1, $0" : "vsqrtps $1, $0";
    case TW_KIR_FMA:
        return wide ? "vfmadd132pd $2, $3, $0" : "vfmadd132ps $2, $3, $0";
    default:
        return NULL;
    }
}

static LLVMValueRef csr_word(struct jit_emit *e, uint32_t value) {
    LLVMValueRef word = LLVMAddGlobal(e->module, jit_int(e, 32), "mxcsr");
    LLVMSetInitializer(word, jit_i32(e, value));
    LLVMSetLinkage(word, LLVMPrivateLinkage);
    LLVMSetGlobalConstant(word, true);
    return word;
}

static LLVMValueRef call_assembly(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *args,
                                  unsigned n, bool wide) {
    char text[128];
    LLVMTypeRef type = LLVMTypeOf(args[0]), pointer = LLVMPointerTypeInContext(e->context, 0);
    snprintf(text, sizeof text, "vldmxcsr ($%u)\n\t%s\n\tvldmxcsr ($%u)", n + 1, assembly_name(inst, wide),
             n + 2);
    const char *constraints = n == 1   ? "=&x,x,r,r,~{dirflag},~{fpsr},~{flags}"
                              : n == 2 ? "=&x,x,x,r,r,~{dirflag},~{fpsr},~{flags}"
                                       : "=&x,0,x,x,r,r,~{dirflag},~{fpsr},~{flags}";
    LLVMTypeRef params[5];
    LLVMValueRef values[5];
    for (unsigned i = 0; i < n; i++) {
        params[i] = type;
        values[i] = args[i];
    }
    params[n] = params[n + 1] = pointer;
    values[n] = csr_word(e, 0x1f80 | x86_mode(inst) << 13);
    values[n + 1] = csr_word(e, 0x1f80);
    LLVMTypeRef function = LLVMFunctionType(type, params, n + 2, false);
    LLVMValueRef assembly = LLVMGetInlineAsm(function, text, strlen(text), constraints, strlen(constraints),
                                             true, false, LLVMInlineAsmDialectATT, false);
    return LLVMBuildCall2(e->b, function, assembly, values, n + 2, "");
}

static LLVMValueRef one_chunk(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *args,
                              unsigned n, bool wide) {
    if (!e->avx512)
        return call_assembly(e, inst, args, n, wide);
    args[n] = jit_i32(e, 8 | x86_mode(inst)); // 8: no exceptions
    return jit_intrinsic(e, intrinsic_name(inst, wide), NULL, 0, args, n + 1);
}

// Elements first … first + chunk - 1 of v, padded where there are not as many.
static LLVMValueRef take(struct jit_emit *e, LLVMValueRef v, unsigned first, unsigned chunk) {
    unsigned indices[64];
    if (!jit_is_vector(v))
        return jit_splat_n(e, v, chunk);
    unsigned n = LLVMGetVectorSize(LLVMTypeOf(v));
    for (unsigned i = 0; i < chunk; i++)
        indices[i] = first + i < n ? first + i : 0;
    return jit_shuffle(e, v, NULL, indices, chunk);
}

LLVMValueRef jit_emit_rounded(struct jit_emit *e, const struct tw_kir_inst *inst, LLVMValueRef *src) {
    bool wide = inst->type == TW_KIR_F64;
    unsigned chunk = (e->avx512 ? 64u : 32u) / (wide ? 8u : 4u), n = inst->src_count;
    LLVMTypeRef type = LLVMTypeOf(src[0]);
    if (!intrinsic_name(inst, wide) || (inst->type != TW_KIR_F32 && !wide))
        return NULL;
    LLVMValueRef operands[3] = {src[0], n > 1 ? src[1] : NULL, n > 2 ? src[2] : NULL};
    if (inst->op == TW_KIR_RCP) {
        operands[1] = src[0];
        operands[0] = jit_fconst(type, 1);
        n = 2;
    }
    unsigned total = jit_is_vector(src[0]) ? LLVMGetVectorSize(type) : 1;
    LLVMValueRef all = NULL;
    for (unsigned first = 0; first < total; first += chunk) {
        LLVMValueRef args[4];
        for (unsigned i = 0; i < n; i++)
            args[i] = take(e, operands[i], first, chunk);
        LLVMValueRef part = one_chunk(e, inst, args, n, wide);
        if (total == 1)
            return LLVMBuildExtractElement(e->b, part, jit_i32(e, 0), "");
        for (unsigned i = 0; i < chunk && first + i < total; i++) {
            LLVMValueRef element = LLVMBuildExtractElement(e->b, part, jit_i32(e, i), "");
            all = LLVMBuildInsertElement(e->b, all ? all : LLVMGetPoison(type), element,
                                         jit_i32(e, first + i), "");
        }
    }
    return all;
}

// SPDX-License-Identifier: Apache-2.0
//
// Gathers and scatters from one table: a uniform base, and each lane's index times a constant,
//
//     %off  = mul.wide.s32 %index, 4;        // or shl.b64 %wide, 2; or mul.lo.s64
//     %at   = add.s64 %base, %off;
//     %v    = ld.global.f32 [%at + 8];
//
// An arena is at most 2³³ bytes, so in words of four bytes an address inside it has 31 bits: base/4 + index × (factor/4)
// modulo 2³¹ is the very word that the masked 64-bit sum names, and what base is more than a multiple of four goes to
// the scalar part. All of it is arithmetic on 32-bit lanes, of which a vector has twice as many, and the processor
// sign-extends and scales the index by itself.

#include "emit.h"

enum { WORD_SHIFT = 2, WORD_BYTES = 1 << WORD_SHIFT };
_Static_assert(TW_KERNEL_ARENA_SHIFT_MAX - WORD_SHIFT <= 31, "a word's number is a positive 32-bit integer");

// The instruction of the block that wrote the register last before `before`; NULL: none there, or not for all lanes.
static const struct tw_kir_inst *writer(const struct jit_block *block, const struct tw_kir_inst *before,
                                        uint32_t reg) {
    for (const struct tw_kir_inst *at = before; at-- > block->insts;)
        for (unsigned d = 0; d < at->dst_count; d++)
            if (at->dst[d] == reg)
                return at->guard == TW_KIR_NO_REG && at->dst_count == 1 ? at : NULL;
    return NULL;
}

// Still the value that `from` read?
static bool is_kept(const struct tw_kir_inst *from, const struct tw_kir_inst *to,
                    const struct tw_kir_operand *operand) {
    for (const struct tw_kir_inst *at = from; at < to; at++)
        for (unsigned d = 0; d < at->dst_count; d++)
            if (!operand->is_imm && at->dst[d] == operand->reg)
                return false;
    return true;
}

// By how many bytes an index of one more moves the result; 0: it is none such, or not whole words.
static uint64_t factor_of(const struct tw_kir_inst *inst) {
    bool is_constant = inst->src_count == 2 && inst->src[1].is_imm;
    unsigned bits = tw_kir_type_bits(inst->type);
    uint64_t factor = 0;
    if (is_constant && inst->op == TW_KIR_MULWIDE && bits == 32)
        factor = (uint32_t)inst->src[1].bits;
    else if (is_constant && inst->op == TW_KIR_MUL && bits == 64 && !tw_kir_type_is_float(inst->type))
        factor = inst->src[1].bits;
    else if (is_constant && inst->op == TW_KIR_SHL && bits == 64 && inst->src[1].bits < 32)
        factor = UINT64_C(1) << inst->src[1].bits;
    return factor % WORD_BYTES == 0 && factor < UINT32_MAX / 2 ? factor : 0;
}

// Confined: what an address is made of. `index` NULL: of nothing that is known.
struct parts {
    const struct tw_kir_operand *base, *index;
    unsigned index_bits;
    uint32_t factor;
};

static bool split(const struct jit_emit *e, const struct tw_kir_inst *inst, struct parts *ret) {
    const struct jit_block *block = &e->code->blocks[e->at_block];
    if (inst < block->insts || inst >= block->insts + block->count || inst->src[0].is_imm)
        return false;
    const struct tw_kir_inst *sum = writer(block, inst, inst->src[0].reg);
    if (!sum || sum->op != TW_KIR_ADD || tw_kir_type_bits(sum->type) != 64 || tw_kir_type_is_float(sum->type))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        const struct tw_kir_operand *base = &sum->src[i], *offset = &sum->src[!i];
        const struct tw_kir_inst *product =
            offset->is_imm || jit_operand_varies(e, base) ? NULL : writer(block, sum, offset->reg);
        uint64_t factor = product ? factor_of(product) : 0;
        if (!factor || !is_kept(product, inst, &product->src[0]) || !is_kept(sum, inst, base))
            continue;
        *ret = (struct parts){.base = base,
                              .index = &product->src[0],
                              .index_bits = tw_kir_type_bits(product->type),
                              .factor = (uint32_t)factor};
        return true;
    }
    return false;
}

// The low half of each lane's index.
static LLVMValueRef read_index(struct jit_emit *e, const struct parts *parts) {
    LLVMTypeRef words = jit_vec(e, jit_int(e, 32));
    LLVMValueRef index = jit_read(e, parts->index, parts->index_bits, true);
    if (parts->index_bits == 64)
        index = LLVMBuildTrunc(e->b, index, words, "");
    return LLVMBuildMul(e->b, index, jit_const(words, parts->factor / WORD_BYTES), "");
}

bool jit_indexed(struct jit_emit *e, const struct tw_kir_inst *inst, struct jit_places *ret) {
    struct parts parts;
    // The exact version may begin between the two, with what is alive there: the address, and not what it was made of.
    if (e->code->exact || e->code->variant.unconfined || !split(e, inst, &parts))
        return false;
    LLVMTypeRef word = jit_int(e, 32);
    LLVMValueRef base = jit_read(e, parts.base, 64, false), two = jit_i64(e, WORD_SHIFT), at = NULL;
    int64_t behind = tw_kernel_behind_mask(inst->offset), before = inst->offset - behind;
    base = LLVMBuildAdd(e->b, base, jit_i64(e, (uint64_t)before), "");
    at = LLVMBuildAnd(e->b, base, jit_i64(e, WORD_BYTES - 1), "");
    at = LLVMBuildAdd(e->b, at, jit_i64(e, (uint64_t)behind), "");
    LLVMValueRef first = LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, base, two, ""), word, ""),
                 mask = LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, e->arena_mask, two, ""), word, ""),
                 sum = LLVMBuildAdd(e->b, read_index(e, &parts), jit_splat(e, first), "");
    *ret = (struct jit_places){.base = jit_offset_pointer(e, e->arena_base, at),
                               .words = LLVMBuildAnd(e->b, sum, jit_splat(e, mask), "")};
    return true;
}

LLVMValueRef jit_places_at(struct jit_emit *e, const struct jit_places *places, uint64_t bytes) {
    LLVMValueRef at = jit_i64(e, bytes);
    LLVMValueRef base = bytes ? jit_offset_pointer(e, places->base, at) : places->base;
    if (!places->words)
        return base;
    LLVMValueRef words = places->words;
    return LLVMBuildGEP2(e->b, jit_int(e, 32), base, &words, 1, "");
}

// SPDX-License-Identifier: Apache-2.0
//
// Blocks of code that only some lanes of a long vector run: the last round of a loop over a row, or all of it where the
// row is shorter than the block. What goes lane by lane there is made for stretches of 64 lanes, each run only if one of its
// lanes is there, and without a mask if all are, as most stretches of a row have all or none:
//
//     for each stretch: if (all of its lanes) { load; sub; mul; exp; add } else if (any) { the same under a mask }
//
// Scalars between such instructions that none of them reads or writes go before them all. What a stretch writes lies in
// slots of its own until all are done. While one is being emitted the emitter's lanes are the stretch's (`e->part`).

#include "emit.h"

enum {
    STRETCH = JIT_MASK_WORD,
    STRETCHES_MAX = JIT_MASK_WORDS_MAX,
    WORTH_MIN = 4,
    RUN_MAX = 64,
    DSTS_MAX = 4
};

// Confined: instructions of one block that stretches run, and the registers that they write.
struct run {
    uint32_t block, end;
    uint32_t insts[RUN_MAX], scalars[RUN_MAX], written[DSTS_MAX * RUN_MAX];
    uint32_t inst_count, scalar_count, written_count;
};

static LLVMValueRef stretch_of(struct jit_emit *e, LLVMValueRef all, unsigned first) {
    unsigned indices[STRETCH];
    for (unsigned i = 0; i < STRETCH; i++)
        indices[i] = first + i;
    return jit_shuffle(e, all, NULL, indices, STRETCH);
}

static bool mentions(const struct tw_kir_inst *inst, uint32_t reg) {
    for (unsigned d = 0; d < inst->dst_count; d++)
        if (inst->dst[d] == reg)
            return true;
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!inst->src[s].is_imm && inst->src[s].reg == reg)
            return true;
    return inst->guard == reg;
}

static bool keeps_lanes(const struct jit_emit *e, uint32_t reg) {
    return reg != TW_KIR_NO_REG && jit_form_of(e->code, e->code->shapes[reg]) == JIT_LANES &&
           e->code->shapes[reg].kind == JIT_VARYING && !e->hints[reg].low && !e->few[reg];
}

static bool is_row_access(const struct jit_emit *e, const struct tw_kir_inst *inst) {
    if ((inst->op != TW_KIR_LD && inst->op != TW_KIR_ST) || inst->order != TW_KIR_WEAK ||
        (inst->mods & TW_KIR_VOLATILE))
        return false;
    struct jit_shape address = jit_operand_shape(e->code, &inst->src[0], 64);
    unsigned count = inst->vec ? inst->vec : 1, bits = tw_kir_type_bits(inst->type);
    return count <= 4 && bits <= 64 && address.kind == JIT_AFFINE &&
           address.stride == (int64_t)(count * bits / 8);
}

static bool is_plain(const struct jit_emit *e, uint32_t block, uint32_t at) {
    const struct tw_kir_inst *inst = &e->code->blocks[block].insts[at];
    return inst->guard == TW_KIR_NO_REG && jit_point_at(e, block, at) == JIT_NONE;
}

// Every lane does it for itself.
static bool is_lane_wise(const struct jit_emit *e, uint32_t block, uint32_t at) {
    const struct tw_kir_inst *inst = &e->code->blocks[block].insts[at];
    unsigned flags = tw_kir_op_flags(inst->op);
    bool pure = (flags & TW_KIR_PURE) && inst->op != TW_KIR_SREG && inst->dst_count;
    if (!is_plain(e, block, at) || (!pure && !is_row_access(e, inst)) || inst->dst_count > DSTS_MAX)
        return false;
    for (unsigned d = 0; d < inst->dst_count; d++)
        if (!keeps_lanes(e, inst->dst[d]))
            return false;
    return true;
}

// A scalar operation that may go before the run's instructions.
static bool may_go_before(const struct jit_emit *e, const struct run *run, uint32_t at) {
    const struct jit_block *b = &e->code->blocks[run->block];
    const struct tw_kir_inst *inst = &b->insts[at];
    if (!(tw_kir_op_flags(inst->op) & TW_KIR_PURE) || !is_plain(e, run->block, at))
        return false;
    for (unsigned d = 0; d < inst->dst_count; d++)
        if (inst->dst[d] != TW_KIR_NO_REG && e->code->shapes[inst->dst[d]].kind == JIT_VARYING)
            return false;
    for (uint32_t i = 0; i < run->inst_count; i++) {
        for (unsigned d = 0; d < inst->dst_count; d++)
            if (mentions(&b->insts[run->insts[i]], inst->dst[d]))
                return false;
        for (unsigned d = 0; d < b->insts[run->insts[i]].dst_count; d++)
            if (mentions(inst, b->insts[run->insts[i]].dst[d]))
                return false;
    }
    return true;
}

static void add_written(struct run *run, const struct tw_kir_inst *inst) {
    for (unsigned d = 0; d < inst->dst_count; d++) {
        bool known = false;
        for (uint32_t i = 0; i < run->written_count; i++)
            known |= run->written[i] == inst->dst[d];
        if (!known)
            run->written[run->written_count++] = inst->dst[d];
    }
}

// The run that begins at an instruction. False: it is not worth it.
static bool find_run(const struct jit_emit *e, uint32_t block, uint32_t begin, uint32_t end,
                     struct run *ret) {
    const struct jit_block *b = &e->code->blocks[block];
    bool accesses = false;
    *ret = (struct run){.block = block};
    for (ret->end = begin; ret->end < end; ret->end++) {
        uint32_t at = ret->end;
        if (ret->inst_count == RUN_MAX || ret->scalar_count == RUN_MAX)
            break;
        if (is_lane_wise(e, block, at)) {
            ret->insts[ret->inst_count++] = at;
            add_written(ret, &b->insts[at]);
            accesses |= (tw_kir_op_flags(b->insts[at].op) & TW_KIR_MEM) != 0;
        } else if (may_go_before(e, ret, at)) {
            ret->scalars[ret->scalar_count++] = at;
        } else {
            break;
        }
    }
    return ret->inst_count > 1 && (accesses || ret->inst_count >= WORTH_MIN);
}

static bool emit_at(struct jit_emit *e, uint32_t block, uint32_t at) {
    const struct tw_kir_inst *inst = &e->code->blocks[block].insts[at];
    e->at_inst = at;
    if (!jit_emit_inst(e, inst))
        return false;
    if (!e->part)
        jit_note_hint(e, inst);
    return true;
}

// What the register held before is wanted: by an instruction that reads it before one writes it, or by other lanes.
static bool wants_old(const struct jit_emit *e, const struct run *run, uint32_t reg) {
    const struct jit_block *b = &e->code->blocks[run->block];
    uint32_t i = 0;
    while (!mentions(&b->insts[run->insts[i]], reg))
        i++;
    const struct tw_kir_inst *inst = &b->insts[run->insts[i]];
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!inst->src[s].is_imm && inst->src[s].reg == reg)
            return true;
    return jit_must_blend(e->code, run->block, inst, reg);
}

static LLVMValueRef stretch_slot(struct jit_emit *e, const struct run *run, uint32_t reg, unsigned first) {
    LLVMTypeRef type = LLVMVectorType(jit_int(e, e->code->function->regs[reg].bits), STRETCH);
    LLVMValueRef slot = jit_slot(e, type, "stretch");
    LLVMValueRef old =
        wants_old(e, run, reg) ? stretch_of(e, jit_reg_get(e, reg), first) : LLVMConstNull(type);
    LLVMBuildStore(e->b, old, slot);
    return slot;
}

// Its lanes are all there, or some of them.
static bool emit_insts(struct jit_emit *e, const struct run *run, const struct jit_part *part, bool full) {
    LLVMValueRef mask = e->mask;
    unsigned lanes = e->lanes;
    e->lanes = STRETCH;
    e->part = part;
    e->mask = full ? jit_full_mask(e) : stretch_of(e, mask, part->lanes->at[0]);
    e->mask_full = full;
    bool ok = true;
    for (uint32_t i = 0; ok && i < run->inst_count; i++)
        ok = emit_at(e, run->block, run->insts[i]);
    e->lanes = lanes;
    e->part = NULL;
    e->mask = mask;
    e->mask_full = false;
    return ok;
}

static bool emit_stretch(struct jit_emit *e, const struct run *run, LLVMValueRef word,
                         const struct jit_part *part) {
    LLVMBasicBlockRef some = jit_block_new(e, "some"), all = jit_block_new(e, "stretch"),
                      rest = jit_block_new(e, "rest"), on = jit_block_new(e, "on");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, word, jit_i64(e, 0), ""), some, on);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, word, jit_i64(e, UINT64_MAX), ""), all, rest);
    LLVMPositionBuilderAtEnd(e->b, all);
    if (!emit_insts(e, run, part, true))
        return false;
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, rest);
    if (!emit_insts(e, run, part, false))
        return false;
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    return true;
}

static bool emit_run(struct jit_emit *e, const struct run *run) {
    LLVMValueRef words[STRETCHES_MAX], slots[STRETCHES_MAX][DSTS_MAX * RUN_MAX];
    unsigned count = jit_mask_words(e, e->mask, words);
    for (uint32_t i = 0; i < run->scalar_count; i++)
        if (!emit_at(e, run->block, run->scalars[i]))
            return false;
    for (unsigned k = 0; k < count; k++) {
        struct jit_lanes lanes = {.count = STRETCH};
        struct jit_part part = {&lanes, e->stretch_slots};
        for (unsigned i = 0; i < STRETCH; i++)
            lanes.at[i] = (uint16_t)(k * STRETCH + i);
        for (uint32_t i = 0; i < run->written_count; i++)
            slots[k][i] = part.slots[run->written[i]] = stretch_slot(e, run, run->written[i], k * STRETCH);
        if (!emit_stretch(e, run, words[k], &part))
            return false;
    }
    for (uint32_t i = 0; i < run->written_count; i++) {
        LLVMValueRef parts[STRETCHES_MAX];
        e->stretch_slots[run->written[i]] = NULL;
        for (unsigned k = 0; k < count; k++)
            parts[k] = LLVMBuildLoad2(e->b, LLVMGetAllocatedType(slots[k][i]), slots[k][i], "");
        jit_reg_set(e, run->written[i], jit_concatenate(e, parts, count, STRETCH));
    }
    return true;
}

bool jit_emit_stretches(struct jit_emit *e, uint32_t block, uint32_t end, uint32_t *at) {
    struct run run;
    if (e->mask_full || e->code->exact || e->lanes <= STRETCH || !find_run(e, block, *at, end, &run))
        return true;
    if (!e->stretch_slots &&
        !(e->stretch_slots = TW_ARENA_ARRAY(e->arena, LLVMValueRef, e->code->function->reg_count + 1)))
        return jit_no_memory(e->err);
    *at = run.end;
    return emit_run(e, &run);
}

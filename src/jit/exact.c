// SPDX-License-Identifier: Apache-2.0
//
// The way back from a wrong guess. Where 32-bit lanes are widened the main version takes them to stay affine
// and checks that they do not wrap. When they do (a negative index in unsigned arithmetic, a byte offset
// beyond 4 GiB) the warp leaves the main version right there, for good: its live registers and masks go to
// its spill area, and a second version of the kernel, which guesses nothing, takes it up at that very
// instruction and runs it to its next barrier or end. A *point* is an instruction where that may happen.
//
// The two versions are objects of their own: few kernels ever guess wrong, so the second one is compiled when a warp
// first asks for it. The first calls it through frame->exact. What both must agree on (the points, and where each
// register and mask lies in the spill area) follows from analyses that both compilations make of the same text.
//
//     state of a warp:  0 the beginning · 1 + n resume point n · EXACT + 1 + n the same in the exact version
//     · POINT + n point n · ENDED

#include "emit.h"

static bool has_point(const struct jit_code *code, uint32_t block, uint32_t at) {
    return jit_inst_speculates(code, &code->blocks[block].insts[at]);
}

bool jit_points_find(const struct jit_code *code, struct jit_points *ret_points, struct tw_error *err) {
    uint32_t n = 0;
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t i = 0; i < code->blocks[b].count; i++)
            n += has_point(code, b, i);
    *ret_points = (struct jit_points){.items = TW_ARENA_ARRAY(code->arena, struct jit_point, n + 1)};
    if (!ret_points->items)
        return jit_no_memory(err);
    size_t words = jit_words(code->function->reg_count);
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        for (uint32_t i = 0; i < block->count; i++) {
            if (!has_point(code, b, i))
                continue;
            struct jit_point *p = &ret_points->items[ret_points->count++];
            *p = (struct jit_point){
                .block = b, .inst = i, .live = TW_ARENA_ARRAY(code->arena, uint64_t, words + 1)};
            if (!p->live)
                return jit_no_memory(err);
            jit_live_at(code, b, i, p->live);
            for (size_t w = 0; block->kept && w < words; w++)
                p->live[w] |= block->kept[w];
        }
    }
    return true;
}

uint32_t jit_point_at(const struct jit_emit *e, uint32_t block, uint32_t at) {
    for (uint32_t i = 0; e->points && i < e->points->count; i++)
        if (e->points->items[i].block == block && e->points->items[i].inst == at)
            return i;
    return JIT_NONE;
}

LLVMTypeRef jit_exact_type(struct jit_emit *e) {
    LLVMTypeRef params[9] = {LLVMPointerTypeInContext(e->context, 0)};
    for (unsigned i = 1; i < 9; i++)
        params[i] = jit_int(e, 32);
    return LLVMFunctionType(jit_int(e, 32), params, 9, false);
}

void jit_exact_go(struct jit_emit *e, LLVMValueRef where) {
    if (!e->hand_over) {
        e->hand_over = jit_block_new(e, "hand_over");
        e->handed_at = jit_slot(e, jit_int(e, 32), "handed_at");
    }
    LLVMBuildStore(e->b, where, e->handed_at);
    LLVMBuildBr(e->b, e->hand_over);
}

void jit_emit_hand_over(struct jit_emit *e) {
    if (!e->hand_over)
        return;
    LLVMPositionBuilderAtEnd(e->b, e->hand_over);
    LLVMTypeRef i32 = jit_int(e, 32);
    LLVMValueRef args[9] = {e->frame};
    for (unsigned i = 0; i < 3; i++) {
        args[1 + i] = LLVMBuildLoad2(e->b, i32, e->ctaid[i], "");
        args[5 + i] = e->tid_base[i];
    }
    args[4] = LLVMBuildLoad2(e->b, i32, e->warp, "");
    args[8] = LLVMBuildLoad2(e->b, i32, e->handed_at, "");
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->context, 0);
    LLVMValueRef exact = LLVMBuildLoad2(
        e->b, pointer, jit_offset_pointer(e, e->frame, jit_i64(e, offsetof(struct tw_kernel_frame, exact))),
        "exact");
    LLVMValueRef next = LLVMBuildCall2(e->b, jit_exact_type(e), exact, args, 9, "");
    LLVMBuildStore(e->b, next, e->next_state);
    LLVMValueRef status = LLVMBuildSub(e->b, next, jit_i32(e, JIT_STATE_FAILED), "");
    LLVMBasicBlockRef failed = jit_block_new(e, "failed");
    LLVMValueRef is_status = LLVMBuildICmp(e->b, LLVMIntULE, status, jit_i32(e, TW_KERNEL_DEADLOCK), "");
    LLVMBuildCondBr(e->b, is_status, failed, e->warp_end);
    LLVMPositionBuilderAtEnd(e->b, failed);
    LLVMBuildStore(e->b, status, e->status);
    LLVMBuildBr(e->b, e->leave);
}

// Where the mask of a block waits in the spill area: behind the registers. The running block's own has the
// place after the last: lanes may wait for its next iteration meanwhile.
static LLVMValueRef mask_pointer(struct jit_emit *e, uint32_t block) {
    const struct jit_emit *exact = e->exact ? e->exact : e;
    return jit_offset_pointer(e, jit_spill_pointer(e),
                              jit_i64(e, exact->mask_at + jit_mask_bytes(e) * (uint64_t)block));
}

static void store_mask(struct jit_emit *e, uint32_t block, LLVMValueRef mask) {
    LLVMValueRef bits =
        LLVMBuildZExtOrBitCast(e->b, jit_mask_bits(e, mask), jit_int(e, 8 * jit_mask_bytes(e)), "");
    LLVMSetAlignment(LLVMBuildStore(e->b, bits, mask_pointer(e, block)), 8);
}

static LLVMValueRef load_mask(struct jit_emit *e, uint32_t block) {
    LLVMValueRef bits = LLVMBuildLoad2(e->b, jit_int(e, 8 * jit_mask_bytes(e)), mask_pointer(e, block), "");
    LLVMSetAlignment(bits, 8);
    return LLVMBuildBitCast(e->b, LLVMBuildTruncOrBitCast(e->b, bits, jit_int(e, e->lanes), ""),
                            jit_vec(e, jit_int(e, 1)), "");
}

static void leave_at(struct jit_emit *e, uint32_t point) {
    const struct jit_point *p = &e->points->items[point];
    const uint64_t *waits = e->code->blocks[p->block].waits;
    for (uint32_t r = 0; r < e->code->function->reg_count; r++) {
        if (!jit_bit(p->live, r))
            continue;
        // In the main version's shape: the other one spreads it out.
        jit_spill_store(e, e->exact, r, jit_reg_get(e, r));
    }
    store_mask(e, e->code->count, e->mask);
    for (uint32_t x = 0; waits && x < e->code->count; x++)
        if (jit_bit(waits, x) && e->flow.masks[x])
            store_mask(e, x, jit_mask_load(e, e->flow.masks[x]));
    jit_exact_go(e, jit_i32(e, JIT_STATE_POINT + point));
}

// i1: within some group of lanes of the varying value `v` of shape `s` one that takes part may have wrapped.
static LLVMValueRef group_wraps(struct jit_emit *e, LLVMValueRef v, struct jit_shape s, unsigned bits,
                                bool sign) {
    uint64_t top = UINT64_MAX >> (64 - bits + sign),
             span = ((UINT64_C(1) << s.group) - 1) * (uint64_t)s.stride;
    LLVMValueRef edge = jit_const(LLVMTypeOf(v), span < top ? top - span : 0);
    LLVMValueRef wrong = LLVMBuildICmp(e->b, sign ? LLVMIntSGT : LLVMIntUGT, v, edge, "");
    if (jit_is_vector(wrong) && LLVMGetVectorSize(LLVMTypeOf(wrong)) == e->lanes)
        return jit_any(e, e->mask_full ? wrong : LLVMBuildAnd(e->b, wrong, e->mask, ""));
    if (!jit_is_vector(wrong))
        return wrong;
    LLVMTypeRef word = jit_int(e, LLVMGetVectorSize(LLVMTypeOf(wrong)));
    return LLVMBuildICmp(e->b, LLVMIntNE, LLVMBuildBitCast(e->b, wrong, word, ""), LLVMConstNull(word), "");
}

// i1: some lane of the affine value `base` + lane × stride leaves the range it is widened from.
static LLVMValueRef wraps(struct jit_emit *e, LLVMValueRef base, int64_t stride, unsigned bits, bool sign) {
    uint64_t top = sign         ? (UINT64_C(1) << (bits - 1)) - 1
                   : bits == 64 ? UINT64_MAX
                                : (UINT64_C(1) << bits) - 1;
    uint64_t span = (e->lanes - 1) * (uint64_t)(stride < 0 ? -stride : stride);
    LLVMTypeRef type = LLVMTypeOf(base);
    if (stride < 0 && !sign)
        return LLVMBuildICmp(e->b, LLVMIntULT, base, LLVMConstInt(type, span, false), "");
    if (stride < 0)
        return LLVMBuildICmp(e->b, LLVMIntSLT, base, LLVMConstInt(type, ~top + span, true), "");
    return LLVMBuildICmp(e->b, sign ? LLVMIntSGT : LLVMIntUGT, base, LLVMConstInt(type, top - span, false),
                         "");
}

void jit_check_guess(struct jit_emit *e, const struct tw_kir_inst *inst) {
    uint32_t point = jit_point_at(e, e->at_block, e->at_inst);
    if (point == JIT_NONE || e->code->exact)
        return;
    const struct tw_kir_operand *source = &inst->src[inst->src[0].is_imm ? 1 : 0];
    unsigned bits = tw_kir_type_bits(inst->op == TW_KIR_CVT ? inst->type2 : inst->type);
    uint8_t type = inst->op == TW_KIR_CVT ? inst->type2 : inst->type;
    struct jit_shape shape = jit_operand_shape(e->code, source, bits);
    int64_t stride = shape.stride;
    // Where all lanes take part each group's first one speaks for it.
    struct jit_shape firsts = shape;
    firsts.compact = true;
    firsts.known = false;
    LLVMValueRef base = shape.kind != JIT_VARYING ? jit_read(e, source, bits, false)
                        : e->mask_full            ? jit_firsts(e, source, bits, firsts)
                                                  : jit_read(e, source, bits, true);
    LLVMValueRef wrong;
    if (shape.kind == JIT_VARYING) {
        wrong = group_wraps(e, base, shape, bits, tw_kir_type_is_signed(type));
    } else if (inst->op == TW_KIR_AND) {
        uint64_t mask = inst->src[inst->src[0].is_imm ? 0 : 1].bits;
        base = LLVMBuildAnd(e->b, base, LLVMConstInt(LLVMTypeOf(base), mask, false), "");
        uint64_t span = (e->lanes - 1) * (uint64_t)(stride < 0 ? -stride : stride);
        LLVMValueRef edge = LLVMConstInt(LLVMTypeOf(base), stride < 0 ? span : mask - span, false);
        wrong = LLVMBuildICmp(e->b, stride < 0 ? LLVMIntULT : LLVMIntUGT, base, edge, "");
    } else {
        wrong = wraps(e, base, stride, bits, tw_kir_type_is_signed(type));
    }
    LLVMBasicBlockRef guess_failed = jit_block_new(e, "guess_failed"), on = jit_block_new(e, "on");
    LLVMBuildCondBr(e->b, wrong, guess_failed, on);
    LLVMPositionBuilderAtEnd(e->b, guess_failed);
    leave_at(e, point);
    LLVMPositionBuilderAtEnd(e->b, on);
}

// The exact version begins a block of its own where a warp may come in.
void jit_enter_point(struct jit_emit *e) {
    uint32_t point = e->code->exact ? jit_point_at(e, e->at_block, e->at_inst) : JIT_NONE;
    if (point == JIT_NONE)
        return;
    LLVMBuildStore(e->b, e->mask, e->current_mask);
    LLVMBuildBr(e->b, e->point_blocks[point]);
    LLVMPositionBuilderAtEnd(e->b, e->point_blocks[point]);
    if (e->flow.masks[e->at_block])
        e->mask = LLVMBuildLoad2(e->b, LLVMTypeOf(e->mask), e->current_mask, "");
}

// A register as the main version left it, in this version's shape.
static LLVMValueRef arriving(struct jit_emit *e, const struct jit_code *main_code, uint32_t reg) {
    struct jit_shape shape = main_code->shapes[reg], own = e->code->shapes[reg];
    LLVMValueRef value = jit_spill_load(e, reg, shape);
    if (own.kind != JIT_VARYING)
        return value;
    value = jit_is_vector(value) || shape.kind == JIT_VARYING ? jit_spread(e, value, shape)
                                                              : jit_expand(e, value, shape);
    return jit_form_of(e->code, own) == JIT_LANES ? value : jit_gather_up(e, value, own);
}

// Takes a warp up at a point; `waits` of the main version say which masks came with it.
static void emit_arrival(struct jit_emit *e, const struct jit_code *main_code, uint32_t point) {
    const struct jit_point *p = &e->points->items[point];
    const uint64_t *waits = main_code->blocks[p->block].waits;
    for (uint32_t r = 0; r < e->code->function->reg_count; r++)
        if (jit_bit(p->live, r))
            LLVMBuildStore(e->b, arriving(e, main_code, r), jit_reg_slot(e, r));
    LLVMBuildStore(e->b, load_mask(e, e->code->count), e->current_mask);
    for (uint32_t x = 0; waits && x < e->code->count; x++)
        if (jit_bit(waits, x) && main_code->blocks[x].divergent && e->flow.masks[x])
            jit_mask_store(e, load_mask(e, x), e->flow.masks[x]);
    LLVMBuildBr(e->b, e->point_blocks[point]);
}

static void begin_function(struct jit_emit *e) {
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, e->function, "entry"));
    LLVMTypeRef i32 = jit_int(e, 32);
    e->frame = LLVMGetParam(e->function, 0);
    e->warp = jit_slot(e, i32, "warp");
    e->status = jit_slot(e, i32, "status");
    e->next_state = jit_slot(e, i32, "next_state");
    e->rounds = jit_slot(e, i32, "rounds");
    e->current_mask = jit_slot(e, jit_vec(e, jit_int(e, 1)), "current_mask");
    jit_load_frame(e);
    for (unsigned i = 0; i < 3; i++) {
        e->ctaid[i] = jit_slot(e, i32, "ctaid");
        LLVMBuildStore(e->b, LLVMGetParam(e->function, 1 + i), e->ctaid[i]);
    }
    LLVMBuildStore(e->b, LLVMGetParam(e->function, 4), e->warp);
    LLVMBuildStore(e->b, jit_i32(e, JIT_STATE_ENDED), e->next_state);
    LLVMValueRef base[3];
    for (unsigned i = 0; i < 3; i++)
        base[i] = LLVMGetParam(e->function, 5 + i);
    jit_begin_warp(e, base);
}

static void end_function(struct jit_emit *e) {
    LLVMPositionBuilderAtEnd(e->b, e->warp_end);
    LLVMBuildRet(e->b, LLVMBuildLoad2(e->b, jit_int(e, 32), e->next_state, ""));
    LLVMPositionBuilderAtEnd(e->b, e->leave);
    LLVMValueRef status = LLVMBuildLoad2(e->b, jit_int(e, 32), e->status, "");
    LLVMBuildRet(e->b, LLVMBuildAdd(e->b, status, jit_i32(e, JIT_STATE_FAILED), ""));
}

bool jit_exact_emit(struct jit_emit *e, const struct jit_code *main_code) {
    e->regs = TW_ARENA_ARRAY(e->arena, LLVMValueRef, e->code->function->reg_count + 1);
    e->point_blocks = TW_ARENA_ARRAY(e->arena, LLVMBasicBlockRef, e->points->count + 1);
    if (!e->regs || !e->point_blocks)
        return jit_no_memory(e->err);
    if (!jit_locals_find(e) || !jit_tiles_find(e) || !jit_few_find(e))
        return false;
    begin_function(e);
    e->warp_end = jit_block_new(e, "warp_end");
    e->leave = jit_block_new(e, "leave");
    LLVMBasicBlockRef reset = jit_block_new(e, "reset");
    LLVMBuildBr(e->b, reset);
    for (uint32_t i = 0; i < e->points->count; i++)
        e->point_blocks[i] = jit_block_new(e, "point");
    if (!jit_flow_build(e) || !jit_emit_blocks(e))
        return false;
    LLVMPositionBuilderAtEnd(e->b, reset);
    jit_reset_slots(e);
    LLVMBasicBlockRef nowhere = jit_block_new(e, "nowhere");
    LLVMValueRef sw =
        LLVMBuildSwitch(e->b, LLVMGetParam(e->function, 8), nowhere, e->points->count + e->code->root_count);
    for (uint32_t i = 0; i < e->points->count; i++) {
        LLVMBasicBlockRef arrival = jit_block_new(e, "arrival");
        LLVMAddCase(sw, jit_i32(e, JIT_STATE_POINT + i), arrival);
        LLVMPositionBuilderAtEnd(e->b, arrival);
        emit_arrival(e, main_code, i);
    }
    jit_emit_resumes(e, sw, JIT_STATE_EXACT);
    LLVMPositionBuilderAtEnd(e->b, nowhere);
    LLVMBuildBr(e->b, e->warp_end);
    end_function(e);
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// Control flow of a warp. A block runs with the mask of the lanes that have come to it. Its terminator hands
// the lanes on by setting the masks of its successors; then the earliest block in the order where lanes may
// be waiting is next. Where analysis shows that only one block comes into question that is a plain branch (so
// uniform control flow costs nothing); else a chain of guards looks for the first one with any lane.
//
// Chain nodes are the blocks in order, and behind the last block of every loop its end: there lanes wait that
// begin another iteration.

#include "emit.h"

enum { FULL_VERSION_MAX = 400 }; // instructions

// Loads or stores whose addresses differ between lanes: without a mask they are several times as fast.
static bool has_wide_access(const struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    for (uint32_t i = 0; i < b->count; i++)
        if ((b->insts[i].op == TW_KIR_LD || b->insts[i].op == TW_KIR_ST || b->insts[i].op == TW_KIR_ATOM) &&
            jit_operand_varies(e, &b->insts[i].src[0]))
            return true;
    return false;
}

// In a loop over a short row lanes are always missing.
static bool is_row(const struct jit_emit *e, uint32_t block) {
    uint32_t loop = e->code->blocks[block].loop;
    for (uint32_t b = block; loop != JIT_NONE && b <= e->code->loops[loop].last; b++)
        if (e->code->blocks[b].loop == loop && jit_row_ends(e, b))
            return true;
    return false;
}

// Blocks that are worth a second version for warps with all lanes there, or that lie in a loop with such a one. Where masks
// cost little none is worth the time in which a launch waits for light code.
static bool wants_full_version(const struct jit_emit *e, uint32_t block) {
    const struct jit_code *code = e->code;
    if ((e->avx512 && code->variant.opt_level == TW_KERNEL_LIGHT) || code->exact || is_row(e, block) ||
        jit_is_serial(code, block) || code->blocks[block].count > FULL_VERSION_MAX ||
        (!e->flow.masks[block] && LLVMIsConstant(e->start_mask)))
        return false;
    if (has_wide_access(e, block))
        return true;
    for (uint32_t x = 0; code->blocks[block].loop != JIT_NONE && x < code->count; x++)
        if (code->blocks[x].loop == code->blocks[block].loop && has_wide_access(e, x))
            return true;
    return false;
}

bool jit_flow_build(struct jit_emit *e) {
    struct jit_flow *f = &e->flow;
    uint32_t n = e->code->count;
    if (!jit_nodes_number(e->code, &f->nodes, e->err) || !jit_hints_build(e))
        return false;
    f->bodies = TW_ARENA_ARRAY(e->arena, LLVMBasicBlockRef, n);
    f->guards = TW_ARENA_ARRAY(e->arena, LLVMBasicBlockRef, f->nodes.count);
    f->later = TW_ARENA_ARRAY(e->arena, uint64_t *, f->nodes.count);
    f->masks = TW_ARENA_ARRAY(e->arena, LLVMValueRef, n);
    f->fulls = TW_ARENA_ARRAY(e->arena, LLVMBasicBlockRef, n);
    f->resumes = TW_ARENA_ARRAY(e->arena, LLVMBasicBlockRef, n);
    if (!f->resumes || !f->fulls || !f->bodies || !f->guards || !f->later || !f->masks)
        return jit_no_memory(e->err);
    for (uint32_t b = 0; b < n; b++) {
        f->bodies[b] = jit_block_new(e, "body");
        if (e->code->blocks[b].divergent)
            f->masks[b] = jit_slot(e, jit_mask_type(e), "mask");
    }
    for (uint32_t b = 0; b < n; b++)
        if (wants_full_version(e, b))
            f->fulls[b] = jit_block_new(e, "full");
    for (uint32_t i = 0; i < f->nodes.count; i++) {
        f->later[i] = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(f->nodes.count));
        if (!f->later[i])
            return jit_no_memory(e->err);
    }
    return true;
}

// The node where a lane that goes from block `from` to block `to` waits.
static uint32_t node_towards(const struct jit_emit *e, uint32_t from, uint32_t to) {
    return jit_node_towards(e->code, &e->flow.nodes, from, to);
}

static LLVMBasicBlockRef guard_of(struct jit_emit *e, uint32_t node) {
    if (!e->flow.guards[node])
        e->flow.guards[node] = jit_block_new(e, "guard");
    return e->flow.guards[node];
}

// Nodes where lanes may wait after block `from` ran: its waits and the given successors.
static void candidates(struct jit_emit *e, uint32_t from, uint64_t *ret_set) {
    const struct jit_block *b = &e->code->blocks[from];
    memset(ret_set, 0, jit_words(e->flow.nodes.count) * sizeof *ret_set);
    for (uint32_t x = 0; b->waits && x < e->code->count; x++)
        if (jit_bit(b->waits, x))
            jit_bit_set(ret_set, node_towards(e, from, x));
}

static uint32_t first_of(const struct jit_emit *e, const uint64_t *set) {
    for (size_t w = 0; w < jit_words(e->flow.nodes.count); w++)
        if (set[w])
            return (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(set[w]));
    return JIT_NONE;
}

// Goes on with the first node of `set` where a lane waits. `certain`: there is one.
static void go_first(struct jit_emit *e, uint64_t *set, bool certain) {
    uint32_t first = first_of(e, set);
    if (first == JIT_NONE) {
        LLVMBuildBr(e->b, e->warp_end);
        return;
    }
    jit_bit_clear(set, first);
    if (certain && first_of(e, set) == JIT_NONE) {
        LLVMBuildBr(e->b, e->flow.bodies[e->flow.nodes.block[first]]);
        return;
    }
    for (size_t w = 0; w < jit_words(e->flow.nodes.count); w++)
        e->flow.later[first][w] |= set[w];
    LLVMBuildBr(e->b, guard_of(e, first));
}

// Lanes `mask` of the running block go to block `to`.
static void hand_on(struct jit_emit *e, uint32_t to, LLVMValueRef mask) {
    LLVMValueRef slot = e->flow.masks[to];
    if (!slot)
        return;
    if (e->code->blocks[to].pending) {
        LLVMValueRef old = jit_mask_load(e, slot);
        mask = jit_mask_op(e, LLVMOr, old, mask);
    }
    jit_mask_store(e, mask, slot);
}

// All lanes go from one block to another, or end: nobody waits anywhere.
static void jump_full(struct jit_emit *e, uint32_t to) {
    if (to == e->code->count) {
        LLVMBuildBr(e->b, e->warp_end);
        return;
    }
    LLVMBasicBlockRef full = e->flow.fulls[to];
    if (!full)
        hand_on(e, to, e->mask);
    LLVMBuildBr(e->b, full ? full : e->flow.bodies[to]);
}

static void jump_goto(struct jit_emit *e, uint32_t from, uint32_t to, uint64_t *set) {
    if (e->mask_full) {
        jump_full(e, to);
        return;
    }
    candidates(e, from, set);
    if (to < e->code->count) {
        hand_on(e, to, e->mask);
        jit_bit_set(set, node_towards(e, from, to));
    }
    go_first(e, set, to < e->code->count);
}

// A branch whose lanes agree, but where others may be waiting before its targets: an LLVM branch to a jump
// each.
static void jump_uniform(struct jit_emit *e, uint32_t from, uint64_t *set) {
    const struct jit_block *b = &e->code->blocks[from];
    LLVMBasicBlockRef cases[256];
    for (uint32_t k = 0; k < b->succ_count; k++)
        cases[k] = jit_block_new(e, "edge");
    if (b->term == JIT_COND) {
        LLVMValueRef cond = jit_read(e, &b->cond, 1, false);
        LLVMBuildCondBr(e->b, cond, cases[b->cond_not], cases[!b->cond_not]);
    } else {
        LLVMValueRef index = jit_read(e, &b->cond, 32, false);
        LLVMValueRef sw = LLVMBuildSwitch(e->b, index, cases[b->succ_count - 1], b->succ_count);
        for (uint32_t k = 0; k + 1 < b->succ_count; k++)
            LLVMAddCase(sw, jit_i32(e, k), cases[k]);
    }
    for (uint32_t k = 0; k < b->succ_count; k++) {
        LLVMPositionBuilderAtEnd(e->b, cases[k]);
        jump_goto(e, from, b->succs[k], set);
    }
}

static void jump_varying(struct jit_emit *e, uint32_t from, uint64_t *set) {
    const struct jit_block *b = &e->code->blocks[from];
    LLVMValueRef cond = jit_read(e, &b->cond, b->term == JIT_COND ? 1 : 32, true), rest = e->mask;
    bool certain = true;
    candidates(e, from, set);
    for (uint32_t k = 0; k < b->succ_count; k++) {
        LLVMValueRef take = rest;
        if (b->term == JIT_COND) {
            bool when = (k == 0) != b->cond_not;
            LLVMValueRef c = when ? cond : jit_mask_op(e, LLVMXor, cond, jit_full_mask(e));
            take = e->mask_full ? c : jit_mask_op(e, LLVMAnd, e->mask, c);
        } else if (k + 1 < b->succ_count) {
            LLVMValueRef hit = LLVMBuildICmp(e->b, LLVMIntEQ, cond, jit_const(LLVMTypeOf(cond), k), "");
            take = LLVMBuildAnd(e->b, rest, hit, "");
            rest = LLVMBuildAnd(e->b, rest, LLVMBuildNot(e->b, hit, ""), "");
        }
        if (b->succs[k] == e->code->count) {
            certain = false;
            continue;
        }
        hand_on(e, b->succs[k], take);
        jit_bit_set(set, node_towards(e, from, b->succs[k]));
    }
    go_first(e, set, certain);
}

// A part of a warp is worth asking scalars about only where masks are long.
static bool may_agree(const struct jit_emit *e, const struct jit_block *b) {
    return b->term == JIT_COND && (e->mask_full || e->lanes > TW_KERNEL_TURNS_MAX);
}

// Where scalars tell that all lanes that are here go one way, they go there together; else on. True: they always do.
static bool jump_together(struct jit_emit *e, uint32_t from, uint64_t *set) {
    const struct jit_block *b = &e->code->blocks[from];
    LLVMValueRef all[2]; // lanes for which the condition is true, false
    if (!may_agree(e, b) || !jit_agreement(e, b, all))
        return false;
    for (unsigned k = 0; k < 2; k++) {
        if (LLVMIsConstant(all[k]) && LLVMIsNull(all[k]))
            continue;
        if (LLVMIsConstant(all[k])) {
            jump_goto(e, from, b->succs[k != b->cond_not], set);
            return true;
        }
        LLVMBasicBlockRef together = jit_block_new(e, "together"), apart = jit_block_new(e, "apart");
        LLVMBuildCondBr(e->b, all[k], together, apart);
        LLVMPositionBuilderAtEnd(e->b, together);
        jump_goto(e, from, b->succs[k != b->cond_not], set);
        LLVMPositionBuilderAtEnd(e->b, apart);
    }
    return false;
}

// On, or out and back in later.
static void jump_yielding(struct jit_emit *e, uint32_t block, uint64_t *set) {
    LLVMValueRef mask = e->mask;
    bool full = e->mask_full;
    uint32_t to = e->code->blocks[block].succs[0];
    jit_emit_yield(e, block);
    jump_goto(e, block, to, set);
    if (jit_begin_yield_resume(e, block))
        jump_goto(e, block, to, set);
    e->mask = mask;
    e->mask_full = full;
}

void jit_jump_out(struct jit_emit *e, uint32_t loop_block, uint32_t to) {
    uint64_t *set = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(e->flow.nodes.count));
    if (!set) {
        e->out_of_memory = true;
        LLVMBuildBr(e->b, e->warp_end);
        return;
    }
    candidates(e, loop_block, set);
    jit_bit_clear(set, e->flow.nodes.of_end[e->code->blocks[loop_block].loop]); // nobody is left in the loop
    if (to < e->code->count) {
        hand_on(e, to, e->mask);
        jit_bit_set(set, node_towards(e, loop_block, to));
    }
    go_first(e, set, to < e->code->count);
}

// The comparison that ends a block and that nothing but its branch wants is made only where scalars do not tell what
// comes of it.
static bool decides_last(const struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    if (!b->branched || !may_agree(e, b) || b->count == 0)
        return false;
    const struct tw_kir_inst *last = &b->insts[b->count - 1];
    return last->op == TW_KIR_SETP && last->dst_count == 1 && last->dst[0] == b->cond.reg &&
           jit_bit(e->local, b->cond.reg) && e->hints[b->cond.reg].low;
}

static bool jump_apart(struct jit_emit *e, uint32_t block, uint64_t *set) {
    const struct jit_block *b = &e->code->blocks[block];
    if (jump_together(e, block, set))
        return true;
    if (decides_last(e, block) && !jit_emit_inst(e, &b->insts[b->count - 1]))
        return false;
    jump_varying(e, block, set);
    return true;
}

bool jit_jump(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    uint64_t *set = TW_ARENA_ARRAY(e->arena, uint64_t, jit_words(e->flow.nodes.count));
    if (!set) { // the arena is large; what is emitted now is thrown away by the check at the end
        e->out_of_memory = true;
        LLVMBuildBr(e->b, e->warp_end);
        return true;
    }
    if (b->term == JIT_EXIT || b->term == JIT_GOTO)
        jump_goto(e, block, b->succs[0], set);
    else if (jit_is_yield(b))
        jump_yielding(e, block, set);
    else if (b->term == JIT_BARRIER)
        (e->code->turns ? jit_emit_barrier : jit_pass_barrier)(e, block);
    else if (b->branched)
        return jump_apart(e, block, set);
    else
        jump_uniform(e, block, set);
    return true;
}

// Guards are emitted last, in order, when it is known which are jumped to and what may wait behind them.
static void emit_guards(struct jit_emit *e) {
    for (uint32_t node = 0; node < e->flow.nodes.count; node++) {
        if (!e->flow.guards[node])
            continue;
        uint32_t block = e->flow.nodes.block[node];
        LLVMPositionBuilderAtEnd(e->b, e->flow.guards[node]);
        if (!e->flow.masks[block]) { // all lanes meet here, and nobody is left behind
            LLVMBuildBr(e->b, e->flow.bodies[block]);
            continue;
        }
        LLVMValueRef mask = jit_mask_load(e, e->flow.masks[block]);
        LLVMBasicBlockRef next = jit_block_new(e, "next");
        LLVMBuildCondBr(e->b, jit_any(e, mask), e->flow.bodies[block], next);
        LLVMPositionBuilderAtEnd(e->b, next);
        go_first(e, e->flow.later[node], false);
    }
}

static bool emit_insts(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    const struct jit_tile *tile = e->mask_full ? e->tiles[block] : NULL;
    uint32_t last = b->count - (b->count > 0 && decides_last(e, block));
    for (uint32_t i = 0; i < b->count; i++) {
        if (!jit_emit_stretches(e, block, last, &i))
            return false;
        if (i == b->count)
            break;
        e->at_inst = i;
        jit_enter_point(e);
        bool in_tile = tile && tile->steps[i].chain != JIT_NONE;
        bool later = !in_tile && i + 1 == b->count && decides_last(e, block);
        if (in_tile ? i == tile->at && !jit_emit_tile(e, block) : !later && !jit_emit_inst(e, &b->insts[i]))
            return false;
        jit_note_hint(e, &b->insts[i]);
    }
    return true;
}

// Its lanes are all there: goes to the version for that, else on in this one.
static void branch_to_full(struct jit_emit *e, uint32_t block) {
    LLVMBasicBlockRef part = jit_block_new(e, "part");
    LLVMBuildCondBr(e->b, jit_all(e, e->mask), e->flow.fulls[block], part);
    LLVMPositionBuilderAtEnd(e->b, part);
}

static bool emit_full(struct jit_emit *e, uint32_t block) {
    LLVMPositionBuilderAtEnd(e->b, e->flow.fulls[block]);
    jit_locals_forget(e, block);
    e->mask = jit_full_mask(e);
    e->mask_full = true;
    if (!emit_insts(e, block))
        return false;
    return jit_jump(e, block);
}

static bool emit_body(struct jit_emit *e, uint32_t block) {
    const struct jit_block *b = &e->code->blocks[block];
    LLVMPositionBuilderAtEnd(e->b, e->flow.bodies[block]);
    e->at_block = block;
    jit_locals_forget(e, block);
    e->mask = e->start_mask;
    e->mask_full = LLVMIsConstant(e->start_mask);
    LLVMValueRef slot = e->flow.masks[block];
    if (slot) {
        e->mask = jit_mask_load(e, slot);
        e->mask_full = false;
        if (b->pending)
            jit_mask_store(e, LLVMConstNull(LLVMTypeOf(e->mask)), slot);
    }
    if (jit_is_serial(e->code, block))
        return jit_emit_serial(e, block);
    if (e->flow.fulls[block])
        branch_to_full(e, block);
    if (!emit_insts(e, block))
        return false;
    return jit_jump(e, block) && (!e->flow.fulls[block] || emit_full(e, block));
}

bool jit_emit_blocks(struct jit_emit *e) {
    for (uint32_t b = 0; b < e->code->count; b++)
        if (!emit_body(e, b))
            return false;
    emit_guards(e);
    return e->out_of_memory ? jit_no_memory(e->err) : true;
}

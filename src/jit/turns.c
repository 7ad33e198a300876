// SPDX-License-Identifier: Apache-2.0
//
// Lanes of one warp that wait for each other: the lane that has a lock must give it back before the others, which
// spin, can have it; but a vector-warp's lanes that left a loop wait behind it for those that are still inside. So
// such a loop is made longer: it reaches to where the lock is given back, by a branch there, back to its beginning,
// that is never taken. Lanes that are done leave from there, in whatever round they are done.
//
//     L: cas; if (lost) goto L          L: cas; if (lost) goto L
//     X: …; release          becomes    X: …; release; if (never) goto L
//     …                                 …
//
// On every way out of the loop the end is the first store or atomic that goes where the loop looks; where there is none
// on any way, the last one that is volatile or ordered, which may be what another lane looks at. What lies behind a
// barrier or an operation of the warp is not looked at: all lanes must come there together. What lies behind another
// loop that waits is looked at for the same address, and else only where there is nothing before it; and a loop that
// has no end itself, in another loop, takes that one's. A test before the loop that leads around it (compilers turn
// `while (cas) sleep;` into `if (cas) do sleep; while (cas);`) leads to the same end: the loop then has two entries,
// and is given one (kernel/irreducible.c), so that lanes which never went round let the others on as well. Where a
// longer loop then has others in it that wait, these are joined to it (join.c). (Lanes on the other side of a branch before the loop go first: order.c.)

#include "internal.h"

enum { BLOCKS_MAX = 256, ENDS_MAX = 16 }; // that are looked at behind a loop; ways out that are made longer

// Confined: what is known of one loop.
struct turn {
    const struct jit_code *code;
    uint32_t loop;
    uint64_t *behind;               // blocks that lanes come to from the loop, of `code`
    uint32_t *stack, stacked, seen; // those still to be looked at; how many there were
    uint32_t *ends;                 // of each block: its instruction that ends a turn + 1, or 0
    bool through;                   // what lies behind other loops that wait too
    bool same_address;              // only what goes where the loop looks ends one
    bool around;                    // what lanes come to around the loop too, from the branch before it
};

static bool is_write(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_ST || inst->op == TW_KIR_ATOM;
}

static bool is_told(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_ATOM || (inst->mods & TW_KIR_VOLATILE) || inst->order != TW_KIR_WEAK;
}

// Whether the loop reads or swaps at the address that `write` goes to.
static bool looks_there(const struct turn *t, const struct tw_kir_inst *write) {
    for (uint32_t b = 0; b < t->code->count; b++)
        for (uint32_t i = 0; jit_in_loop(t->code, t->loop, b) && i < t->code->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &t->code->blocks[b].insts[i];
            if ((inst->op == TW_KIR_LD || inst->op == TW_KIR_ATOM) && is_told(inst) &&
                inst->offset == write->offset && inst->src[0].is_imm == write->src[0].is_imm &&
                (write->src[0].is_imm ? inst->src[0].bits == write->src[0].bits
                                      : inst->src[0].reg == write->src[0].reg))
                return true;
        }
    return false;
}

// Whether lanes come to the block only by the loop's header, or around it from the branch before.
static bool is_behind(const struct turn *t, uint32_t block) {
    uint32_t header = t->code->loops[t->loop].header, before = t->code->blocks[header].idom;
    if (!t->around)
        return jit_dominates(t->code, header, block);
    while (before != JIT_NONE && t->code->blocks[before].succ_count < 2)
        before = t->code->blocks[before].idom;
    return before != JIT_NONE && block > header && jit_dominates(t->code, before, block);
}

// Block `to` is looked at too, if it is behind the loop, and maybe not if it is in another loop that waits.
static void follow(struct turn *t, uint32_t to) {
    const struct jit_code *code = t->code;
    uint32_t header = code->loops[t->loop].header;
    if (to >= code->count || jit_in_loop(code, t->loop, to) || jit_bit(t->behind, to) ||
        t->seen == BLOCKS_MAX || !is_behind(t, to))
        return;
    for (uint32_t l = code->blocks[to].loop; l != JIT_NONE && !jit_in_loop(code, l, header);
         l = code->loops[l].parent)
        if (code->loops[l].waits && !t->through)
            return;
    jit_bit_set(t->behind, to);
    t->stack[t->stacked++] = to;
    t->seen++;
}

// Looks for the end of a turn in a block; whether lanes go on behind it as they come.
static bool look_into(struct turn *t, uint32_t b) {
    const struct jit_block *block = &t->code->blocks[b];
    for (uint32_t i = 0; i < block->count; i++) {
        const struct tw_kir_inst *inst = &block->insts[i];
        if (tw_kir_op_flags(inst->op) & TW_KIR_WARP)
            return false;
        if (!is_write(inst) || !(t->same_address ? looks_there(t, inst) : is_told(inst)))
            continue;
        t->ends[b] = i + 1;
        if (t->same_address)
            return false;
    }
    return block->term != JIT_BARRIER || block->last->op == TW_KIR_NANOSLEEP;
}

// Of the ends, those from which another one may follow are none.
static void keep_last(struct turn *t) {
    const struct jit_code *code = t->code;
    for (uint32_t b = code->count; b-- > 0;) {
        bool more = false;
        for (uint32_t k = 0; jit_bit(t->behind, b) && k < code->blocks[b].succ_count; k++) {
            uint32_t to = code->blocks[b].succs[k];
            more |= to > b && to < code->count && jit_bit(t->behind, to) && t->ends[to];
        }
        if (more)
            t->ends[b] = JIT_NONE; // leads to one
    }
    for (uint32_t b = 0; b < code->count; b++)
        t->ends[b] = t->ends[b] == JIT_NONE ? 0 : t->ends[b];
}

static bool needs_all(const struct jit_block *block) {
    for (uint32_t i = 0; i < block->count; i++)
        if (tw_kir_op_flags(block->insts[i].op) & TW_KIR_WARP)
            return true;
    return false;
}

static bool is_barrier(const struct jit_block *block) {
    return block->term == JIT_BARRIER && block->last->op != TW_KIR_NANOSLEEP;
}

static bool loop_needs_all(const struct jit_code *code, uint32_t loop) {
    for (uint32_t b = 0; b < code->count; b++)
        if (jit_in_loop(code, loop, b) && (is_barrier(&code->blocks[b]) || needs_all(&code->blocks[b])))
            return true;
    return false;
}

// Whether, on some way from the loop to an end, all lanes must come to a place together: they could not.
static bool meets_on_the_way(struct turn *t) {
    const struct jit_code *code = t->code;
    bool meets = false;
    memset(t->behind, 0, jit_words(code->count) * sizeof *t->behind);
    for (uint32_t b = 0; b < code->count; b++)
        if (t->ends[b])
            t->stack[t->stacked++] = b;
    while (t->stacked) {
        const struct jit_block *block = &code->blocks[t->stack[--t->stacked]];
        for (uint32_t k = 0; k < block->pred_count; k++) {
            uint32_t from = block->preds[k];
            if (jit_in_loop(code, t->loop, from) || jit_bit(t->behind, from) ||
                (t->around && !is_behind(t, from)))
                continue;
            jit_bit_set(t->behind, from);
            meets |= is_barrier(&code->blocks[from]) || needs_all(&code->blocks[from]);
            if (!t->ends[from])
                t->stack[t->stacked++] = from;
        }
    }
    return meets;
}

// How many ends of turns there are behind the loop.
static uint32_t find_ends(struct turn *t, bool same_address, bool through) {
    const struct jit_code *code = t->code;
    memset(t->behind, 0, jit_words(code->count) * sizeof *t->behind);
    memset(t->ends, 0, code->count * sizeof *t->ends);
    t->same_address = same_address;
    t->through = through;
    t->seen = 0;
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t k = 0; jit_in_loop(code, t->loop, b) && k < code->blocks[b].succ_count; k++)
            follow(t, code->blocks[b].succs[k]);
    while (t->stacked) {
        uint32_t b = t->stack[--t->stacked];
        bool goes_on = look_into(t, b);
        for (uint32_t k = 0; goes_on && k < code->blocks[b].succ_count; k++)
            follow(t, code->blocks[b].succs[k]);
    }
    if (!same_address)
        keep_last(t);
    uint32_t count = 0;
    for (uint32_t b = 0; b < code->count; b++)
        count += t->ends[b] != 0;
    return count <= ENDS_MAX && !meets_on_the_way(t) ? count : 0;
}

// The function's block that holds the instruction at `inst`.
static uint32_t block_of(const struct tw_kir_function *function, const struct tw_kir_inst *inst) {
    uint32_t b = 0;
    while (inst < function->blocks[b].insts || inst >= function->blocks[b].insts + function->blocks[b].count)
        b++;
    return b;
}

static struct tw_kir_inst *add(struct tw_kir_module *module, struct tw_kir_function *function, uint32_t block,
                               enum tw_kir_op op, unsigned dsts, unsigned srcs, unsigned targets,
                               struct tw_error *err) {
    return tw_kir_inst_add(module, &function->blocks[block], op, TW_KIR_U32, dsts, srcs, targets, err);
}

// Behind insts[position] of `block`: if (%tid.x has all bits set) goto header.
static bool add_branch(struct tw_kir_module *module, struct tw_kir_function *function, uint32_t block,
                       uint32_t position, uint32_t header, struct tw_error *err) {
    uint32_t rest = tw_kir_block_add(module, function, NULL, err);
    uint32_t width = rest == TW_KIR_NO_REG ? rest : tw_kir_reg_add(module, function, NULL, 32, err);
    uint32_t never = width == TW_KIR_NO_REG ? width : tw_kir_reg_add(module, function, NULL, 1, err);
    if (never == TW_KIR_NO_REG)
        return false;
    // The two halves share the old array: the head has no spare room, so it moves away when it grows.
    struct tw_kir_block *head = &function->blocks[block], *tail = &function->blocks[rest];
    tail->insts = head->insts + position + 1;
    tail->count = tail->capacity = head->count - position - 1;
    head->count = head->capacity = position + 1;
    struct tw_kir_inst *read = add(module, function, block, TW_KIR_SREG, 1, 0, 0, err);
    if (!read)
        return false;
    read->index = TW_KIR_TID_X;
    read->dst[0] = width;
    struct tw_kir_inst *test = add(module, function, block, TW_KIR_SETP, 1, 2, 0, err);
    if (!test)
        return false;
    test->cmp = TW_KIR_EQ;
    test->dst[0] = never;
    test->src[0] = tw_kir_reg_operand(width);
    test->src[1] = tw_kir_imm_operand(UINT32_MAX);
    struct tw_kir_inst *branch = add(module, function, block, TW_KIR_BRC, 0, 1, 2, err);
    if (!branch)
        return false;
    branch->type = TW_KIR_PRED;
    branch->src[0] = tw_kir_reg_operand(never);
    branch->targets[0] = header;
    branch->targets[1] = rest;
    return true;
}

// The loop that is to be longer: `loop`, or the next one around it that can be; JIT_NONE: none.
static uint32_t find_turn(struct turn *t, uint32_t loop) {
    for (t->loop = loop; t->loop != JIT_NONE; t->loop = t->code->loops[t->loop].parent) {
        if (t->loop != loop && loop_needs_all(t->code, t->loop))
            return JIT_NONE;
        if (find_ends(t, true, true) || find_ends(t, false, false) || find_ends(t, false, true))
            return t->loop;
        t->around = t->loop == loop;
        if (t->around && find_ends(t, true, true))
            return t->loop;
        t->around = false;
    }
    return JIT_NONE;
}

// Makes the loop longer, at every end of a turn.
static bool lengthen(const struct turn *t, struct tw_kir_module *module, uint32_t header,
                     struct tw_error *err) {
    const struct jit_code *code = t->code;
    struct tw_kir_function *function = &module->functions[code->function - module->functions];
    // In the order of the blocks: where one of the function's blocks has two ends, the second is in the tail.
    for (uint32_t b = 0; b < code->count; b++) {
        if (!t->ends[b])
            continue;
        const struct tw_kir_inst *end = &code->blocks[b].insts[t->ends[b] - 1];
        uint32_t block = block_of(function, end);
        if (!add_branch(module, function, block, (uint32_t)(end - function->blocks[block].insts), header,
                        err))
            return false;
    }
    return true;
}

// Looks at the function as it is now; the loop that begins at `header`, JIT_NONE: none.
static bool look_at(struct turn *t, const struct jit_code *code, struct jit_code *scratch,
                    const struct tw_kir_block *header, struct tw_error *err) {
    *scratch = *code;
    if (!jit_cfg_build(scratch, err))
        return false;
    *t = (struct turn){.code = scratch,
                       .loop = jit_loop_at(scratch, header),
                       .behind = TW_ARENA_ARRAY(code->arena, uint64_t, jit_words(scratch->count)),
                       .stack = TW_ARENA_ARRAY(code->arena, uint32_t, scratch->count),
                       .ends = TW_ARENA_ARRAY(code->arena, uint32_t, scratch->count)};
    return (t->behind && t->stack && t->ends) || jit_no_memory(err);
}

bool jit_take_turns(const struct jit_code *code, struct tw_kir_module *module, uint32_t header,
                    struct tw_error *err) {
    struct tw_kir_function *function = &module->functions[code->function - module->functions];
    struct jit_code scratch;
    struct turn t;
    if (!look_at(&t, code, &scratch, &function->blocks[header], err))
        return false;
    uint32_t loop = t.loop, joined = 0;
    uint32_t longer = loop == JIT_NONE ? loop : find_turn(&t, loop);
    if (longer == JIT_NONE)
        return true;
    uint32_t first = block_of(function, scratch.blocks[scratch.loops[longer].header].insts);
    uint32_t within = longer == loop ? jit_count_waiting(&scratch, loop) : 0;
    if (t.around)
        return lengthen(&t, module, first, err) && tw_kir_mend_loops(module, function, err);
    if (!lengthen(&t, module, first, err) || !jit_join_loops(code, module, &first, within, &joined, err))
        return false;
    // What the inner loops looked at may be written further behind: their locks given back after the outer one.
    for (; joined; joined--) {
        if (!look_at(&t, code, &scratch, &function->blocks[first], err))
            return false;
        if (t.loop == JIT_NONE || !find_ends(&t, true, false))
            return true;
        if (!lengthen(&t, module, first, err))
            return false;
    }
    return true;
}

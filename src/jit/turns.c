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
// The end is the first store or atomic behind the loop, in blocks that only the loop leads to, that goes where the
// loop looks; or else one that is volatile or ordered, which may be what another lane looks at. With a barrier or an
// operation of the warp on the way the loop stays as it is.

#include "internal.h"

enum { BLOCKS_MAX = 64 }; // that are looked at behind a loop

// Confined: what is known of one loop.
struct turn {
    const struct jit_code *code;
    uint32_t loop, exit;
    uint32_t found_block, found_inst; // in `code`
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

// Looks through the blocks behind the exit in their order; false: there is none, or something that all lanes must
// reach together comes first.
static bool find_end(struct turn *t, bool same_address) {
    const struct jit_code *code = t->code;
    for (uint32_t b = t->exit; b < code->count && b - t->exit < BLOCKS_MAX; b++) {
        const struct jit_block *block = &code->blocks[b];
        if (!jit_dominates(code, t->exit, b) || block->loop != code->blocks[t->exit].loop)
            continue;
        for (uint32_t i = 0; i < block->count; i++) {
            const struct tw_kir_inst *inst = &block->insts[i];
            if (tw_kir_op_flags(inst->op) & TW_KIR_WARP)
                return false;
            if (!is_write(inst) || (same_address ? !looks_there(t, inst) : !is_told(inst)))
                continue;
            t->found_block = b;
            t->found_inst = i;
            return true;
        }
        if (block->term == JIT_BARRIER)
            return false;
    }
    return false;
}

// The only way out of the loop, if that is a block which nothing else leads to.
static bool find_exit(struct turn *t) {
    t->exit = JIT_NONE;
    for (uint32_t b = 0; b < t->code->count; b++) {
        const struct jit_block *block = &t->code->blocks[b];
        for (uint32_t k = 0; jit_in_loop(t->code, t->loop, b) && k < block->succ_count; k++) {
            uint32_t to = block->succs[k];
            if (to < t->code->count && jit_in_loop(t->code, t->loop, to))
                continue;
            if (to >= t->code->count || (t->exit != JIT_NONE && t->exit != to))
                return false;
            t->exit = to;
        }
    }
    return t->exit != JIT_NONE && jit_dominates(t->code, t->code->loops[t->loop].header, t->exit);
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

bool jit_take_turns(const struct jit_code *code, struct tw_kir_module *module, uint32_t header,
                    struct tw_error *err) {
    struct jit_code scratch = *code;
    struct tw_kir_function *function = &module->functions[code->function - module->functions];
    if (!jit_cfg_build(&scratch, err))
        return false;
    for (uint32_t l = 0; l < scratch.loop_count; l++) {
        const struct jit_block *first = &scratch.blocks[scratch.loops[l].header];
        struct turn t = {.code = &scratch, .loop = l};
        if (first->insts != function->blocks[header].insts || !find_exit(&t) ||
            (!find_end(&t, true) && !find_end(&t, false)))
            continue;
        const struct tw_kir_inst *end = &scratch.blocks[t.found_block].insts[t.found_inst];
        uint32_t block = block_of(function, end);
        return add_branch(module, function, block, (uint32_t)(end - function->blocks[block].insts), header,
                          err);
    }
    return true;
}

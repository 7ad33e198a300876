// SPDX-License-Identifier: Apache-2.0
//
// Loops that wait, in a loop that waits: the inner one would go round until all its lanes are done, and those that it
// waits for may be at the outer one's beginning. So both become one loop: whoever goes round in the inner one comes to
// the outer one's beginning, remembers where it was, and goes on there in its turn.
//
//     O: …                       N: if (inner) goto I; goto O
//     I: …; if (wait) goto I     O: …
//     …; goto O                  I: …; if (wait) {inner = true; goto N}
//                                …; inner = false; goto N
//
// What came to O from outside comes by way of "inner = false" too. Nothing else changes.

#include "internal.h"

enum { JOINS_MAX = 8 };

uint32_t jit_loop_at(const struct jit_code *code, const struct tw_kir_block *header) {
    for (uint32_t l = 0; l < code->loop_count; l++)
        if (code->blocks[code->loops[l].header].insts == header->insts)
            return l;
    return JIT_NONE;
}

uint32_t jit_count_waiting(const struct jit_code *code, uint32_t loop) {
    uint32_t count = 0;
    for (uint32_t l = 0; l < code->loop_count; l++)
        count += l != loop && code->loops[l].waits && jit_in_loop(code, loop, code->loops[l].header);
    return count;
}

// The loop to be joined to `outer` next: around a place where a warp waits, and right in it. JIT_NONE: none is left.
static uint32_t find_inner(const struct jit_code *code, uint32_t outer) {
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        uint32_t l = block->loop;
        if (block->term != JIT_BARRIER || block->last->op != TW_KIR_NANOSLEEP || l == outer ||
            !jit_in_loop(code, outer, b))
            continue;
        while (code->loops[l].parent != outer)
            l = code->loops[l].parent;
        return l;
    }
    return JIT_NONE;
}

// Confined: one join.
struct join {
    struct tw_kir_module *module;
    struct tw_kir_function *function;
    const struct jit_code *code;
    uint32_t outer, inner; // loops
    uint32_t remembers;    // register: 1 goes to the inner loop
    uint32_t head, in, out,
        again; // blocks: N; those that lead there from within, from outside, and from the inner loop
    struct tw_error *err;
};

// A block that sets the register and goes to N.
static bool fill_way(const struct join *j, uint32_t block, uint64_t value) {
    struct tw_kir_inst *set =
        tw_kir_inst_add(j->module, &j->function->blocks[block], TW_KIR_MOV, TW_KIR_B32, 1, 1, 0, j->err);
    if (!set)
        return false;
    set->dst[0] = j->remembers;
    set->src[0] = tw_kir_imm_operand(value);
    struct tw_kir_inst *go =
        tw_kir_inst_add(j->module, &j->function->blocks[block], TW_KIR_BR, TW_KIR_B32, 0, 0, 1, j->err);
    if (go)
        go->targets[0] = j->head;
    return go;
}

static bool fill_head(const struct join *j, uint32_t to_inner, uint32_t to_outer) {
    struct tw_kir_block *head = &j->function->blocks[j->head];
    uint32_t is_inner = tw_kir_reg_add(j->module, j->function, NULL, 1, j->err);
    struct tw_kir_inst *test = is_inner == TW_KIR_NO_REG ? NULL
                                                         : tw_kir_inst_add(j->module, head, TW_KIR_SETP,
                                                                           TW_KIR_U32, 1, 2, 0, j->err);
    if (!test)
        return false;
    test->cmp = TW_KIR_EQ;
    test->dst[0] = is_inner;
    test->src[0] = tw_kir_reg_operand(j->remembers);
    test->src[1] = tw_kir_imm_operand(1);
    struct tw_kir_inst *branch = tw_kir_inst_add(j->module, head, TW_KIR_BRC, TW_KIR_PRED, 0, 1, 2, j->err);
    if (!branch)
        return false;
    branch->src[0] = tw_kir_reg_operand(is_inner);
    branch->targets[0] = to_inner;
    branch->targets[1] = to_outer;
    return true;
}

// Whether the block with this terminator is in the loop.
static bool ends_in_loop(const struct jit_code *code, uint32_t loop, const struct tw_kir_inst *last) {
    for (uint32_t b = 0; b < code->count; b++)
        if (code->blocks[b].last == last)
            return jit_in_loop(code, loop, b);
    return false;
}

static void redirect(const struct join *j, uint32_t blocks, uint32_t to_inner, uint32_t to_outer) {
    for (uint32_t b = 0; b < blocks; b++) {
        struct tw_kir_block *block = &j->function->blocks[b];
        struct tw_kir_inst *last = &block->insts[block->count - 1];
        for (unsigned k = 0; k < last->target_count; k++) {
            if (last->targets[k] == to_outer)
                last->targets[k] = ends_in_loop(j->code, j->outer, last) ? j->in : j->out;
            else if (last->targets[k] == to_inner && ends_in_loop(j->code, j->inner, last))
                last->targets[k] = j->again;
        }
    }
}

static uint32_t block_at(const struct tw_kir_function *function, const struct jit_code *code, uint32_t loop) {
    uint32_t b = 0;
    while (function->blocks[b].insts != code->blocks[code->loops[loop].header].insts)
        b++;
    return b;
}

static bool join(struct join *j) {
    struct tw_kir_function *f = j->function;
    uint32_t blocks = f->block_count, to_inner = block_at(f, j->code, j->inner),
             to_outer = block_at(f, j->code, j->outer);
    uint32_t *const made[] = {&j->head, &j->in, &j->out, &j->again};
    for (size_t i = 0; i < TW_COUNT(made); i++)
        if ((*made[i] = tw_kir_block_add(j->module, f, NULL, j->err)) == TW_KIR_NO_REG)
            return false;
    j->remembers = tw_kir_reg_add(j->module, f, NULL, 32, j->err);
    if (j->remembers == TW_KIR_NO_REG)
        return false;
    redirect(j, blocks, to_inner, to_outer);
    return fill_head(j, to_inner, to_outer) && fill_way(j, j->in, 0) && fill_way(j, j->out, 0) &&
           fill_way(j, j->again, 1);
}

bool jit_join_loops(const struct jit_code *code, struct tw_kir_module *module, uint32_t *header,
                    uint32_t within, uint32_t *ret_joined, struct tw_error *err) {
    struct tw_kir_function *function = &module->functions[code->function - module->functions];
    uint32_t joined = 0;
    for (; joined < JOINS_MAX && *header != 0; joined++) { // nothing may lead to a function's first block
        struct jit_code scratch = *code;
        if (!jit_cfg_build(&scratch, err))
            return false;
        uint32_t outer = jit_loop_at(&scratch, &function->blocks[*header]);
        if (outer == JIT_NONE || jit_count_waiting(&scratch, outer) <= within)
            break;
        struct join j = {
            .module = module, .function = function, .code = &scratch, .outer = outer, .err = err};
        j.inner = find_inner(&scratch, outer);
        if (j.inner == JIT_NONE)
            break;
        if (!join(&j))
            return false;
        *header = j.head;
    }
    *ret_joined = joined;
    return true;
}

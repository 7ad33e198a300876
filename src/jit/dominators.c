// SPDX-License-Identifier: Apache-2.0
//
// Immediate dominators and post-dominators by Cooper, Harvey and Kennedy's iteration ("A Simple, Fast
// Dominance Algorithm", 2001), and natural loops. Blocks are numbered in reverse post-order. The end of the
// thread is one more node, `count`.

#include "internal.h"

static uint32_t meet(const uint32_t *idom, const uint32_t *rank, uint32_t a, uint32_t b) {
    while (a != b) {
        while (rank[a] > rank[b])
            a = idom[a];
        while (rank[b] > rank[a])
            b = idom[b];
    }
    return a;
}

bool jit_dominators(struct jit_code *code, struct tw_error *err) {
    uint32_t n = code->count;
    uint32_t *idom = TW_ARENA_ARRAY(code->arena, uint32_t, n),
             *rank = TW_ARENA_ARRAY(code->arena, uint32_t, n);
    if (!idom || !rank)
        return jit_no_memory(err);
    for (uint32_t b = 0; b < n; b++) {
        idom[b] = JIT_NONE;
        rank[b] = b;
    }
    idom[0] = 0;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t b = 1; b < n; b++) {
            uint32_t best = JIT_NONE;
            for (uint32_t k = 0; k < code->blocks[b].pred_count; k++) {
                uint32_t p = code->blocks[b].preds[k];
                if (idom[p] != JIT_NONE)
                    best = best == JIT_NONE ? p : meet(idom, rank, best, p);
            }
            changed |= idom[b] != best;
            idom[b] = best;
        }
    }
    for (uint32_t b = 0; b < n; b++)
        code->blocks[b].idom = b ? idom[b] : JIT_NONE;
    return true;
}

bool jit_dominates(const struct jit_code *code, uint32_t a, uint32_t b) {
    while (b != JIT_NONE && b > a)
        b = code->blocks[b].idom;
    return a == b;
}

// Post-order numbers of the reversed graph from the end; `rank` 0 is the end. Blocks that never end keep
// JIT_NONE.
static bool reverse_ranks(const struct jit_code *code, uint32_t *rank, uint32_t *order, uint32_t *ret_count,
                          struct tw_error *err) {
    uint32_t n = code->count, depth = 0, post = 0;
    uint32_t *stack = TW_ARENA_ARRAY(code->arena, uint32_t, n + 1),
             *edge = TW_ARENA_ARRAY(code->arena, uint32_t, n + 1);
    bool *seen = TW_ARENA_ARRAY(code->arena, bool, n + 1);
    uint32_t *ends = TW_ARENA_ARRAY(code->arena, uint32_t, n + 1), end_count = 0;
    if (!stack || !edge || !seen || !ends)
        return jit_no_memory(err);
    for (uint32_t b = 0; b < n; b++)
        for (uint32_t k = 0; k < code->blocks[b].succ_count; k++)
            if (code->blocks[b].succs[k] == n && (end_count == 0 || ends[end_count - 1] != b))
                ends[end_count++] = b;
    stack[depth++] = n;
    seen[n] = true;
    while (depth) {
        uint32_t b = stack[depth - 1];
        uint32_t preds = b == n ? end_count : code->blocks[b].pred_count;
        if (edge[b] == preds) {
            order[post++] = b;
            depth--;
            continue;
        }
        uint32_t to = b == n ? ends[edge[b]++] : code->blocks[b].preds[edge[b]++];
        if (!seen[to]) {
            seen[to] = true;
            stack[depth++] = to;
        }
    }
    for (uint32_t i = 0; i < post; i++)
        rank[order[i]] = post - 1 - i;
    *ret_count = post;
    return true;
}

bool jit_post_dominators(struct jit_code *code, struct tw_error *err) {
    uint32_t n = code->count, reached = 0;
    uint32_t *ipdom = TW_ARENA_ARRAY(code->arena, uint32_t, n + 1),
             *rank = TW_ARENA_ARRAY(code->arena, uint32_t, n + 1);
    uint32_t *order = TW_ARENA_ARRAY(code->arena, uint32_t, n + 1);
    if (!ipdom || !rank || !order)
        return jit_no_memory(err);
    for (uint32_t b = 0; b <= n; b++)
        ipdom[b] = rank[b] = JIT_NONE;
    if (!reverse_ranks(code, rank, order, &reached, err))
        return false;
    ipdom[n] = n;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = reached - 1; i-- > 0;) { // order[reached - 1] is the end
            uint32_t b = order[i], best = JIT_NONE;
            for (uint32_t k = 0; k < code->blocks[b].succ_count; k++) {
                uint32_t s = code->blocks[b].succs[k];
                if (ipdom[s] != JIT_NONE)
                    best = best == JIT_NONE ? s : meet(ipdom, rank, best, s);
            }
            changed |= ipdom[b] != best;
            ipdom[b] = best;
        }
    }
    for (uint32_t b = 0; b < n; b++)
        code->blocks[b].ipdom = ipdom[b] == JIT_NONE ? n : ipdom[b];
    return true;
}

bool jit_in_loop(const struct jit_code *code, uint32_t loop, uint32_t block) {
    return loop == JIT_NONE || (block < code->count && jit_bit(code->loops[loop].blocks, block));
}

// Adds the blocks that reach `latch` without passing the header.
static void gather_loop(struct jit_code *code, struct jit_loop *loop, uint32_t latch, uint32_t *stack) {
    uint32_t depth = 0;
    if (!jit_bit(loop->blocks, latch)) {
        jit_bit_set(loop->blocks, latch);
        stack[depth++] = latch;
    }
    while (depth) {
        const struct jit_block *b = &code->blocks[stack[--depth]];
        for (uint32_t k = 0; k < b->pred_count; k++)
            if (!jit_bit(loop->blocks, b->preds[k])) {
                jit_bit_set(loop->blocks, b->preds[k]);
                stack[depth++] = b->preds[k];
            }
    }
}

// Innermost loops of blocks, parents and depths: headers come in dominance order, so an outer loop is seen
// before its inner ones.
static void nest_loops(struct jit_code *code) {
    for (uint32_t b = 0; b < code->count; b++)
        code->blocks[b].loop = JIT_NONE;
    for (uint32_t l = 0; l < code->loop_count; l++) {
        struct jit_loop *loop = &code->loops[l];
        loop->parent = code->blocks[loop->header].loop;
        loop->depth = loop->parent == JIT_NONE ? 1 : code->loops[loop->parent].depth + 1;
        for (uint32_t b = 0; b < code->count; b++)
            if (jit_bit(loop->blocks, b)) {
                code->blocks[b].loop = l;
                loop->last = b;
            }
    }
}

// Loops around a nanosleep, the program's own or one of waiting.c.
static void find_waiting_loops(struct jit_code *code) {
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        if (block->term != JIT_BARRIER || block->last->op != TW_KIR_NANOSLEEP)
            continue;
        for (uint32_t l = block->loop; l != JIT_NONE; l = code->loops[l].parent)
            code->loops[l].waits = true;
    }
}

bool jit_loops(struct jit_code *code, struct tw_error *err) {
    uint32_t *stack = TW_ARENA_ARRAY(code->arena, uint32_t, code->count + 1);
    code->loops = TW_ARENA_ARRAY(code->arena, struct jit_loop, code->count + 1);
    code->loop_count = 0;
    if (!stack || !code->loops)
        return jit_no_memory(err);
    for (uint32_t h = 0; h < code->count; h++) {
        struct jit_loop *loop = NULL;
        for (uint32_t k = 0; k < code->blocks[h].pred_count; k++) {
            uint32_t latch = code->blocks[h].preds[k];
            if (!jit_dominates(code, h, latch))
                continue;
            if (!loop) {
                loop = &code->loops[code->loop_count++];
                *loop = (struct jit_loop){.header = h};
                loop->blocks = TW_ARENA_ARRAY(code->arena, uint64_t, jit_words(code->count));
                if (!loop->blocks)
                    return jit_no_memory(err);
                jit_bit_set(loop->blocks, h);
            }
            gather_loop(code, loop, latch, stack);
        }
    }
    nest_loops(code);
    find_waiting_loops(code);
    return true;
}

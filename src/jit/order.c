// SPDX-License-Identifier: Apache-2.0
//
// The order in which blocks are laid out: reverse post-order in which every loop is contiguous, so that lanes
// that wait are always at a later block or at the header of a loop around. Found in two steps: a depth-first
// order, then Kahn's topological sort that prefers blocks of the innermost loop that is still open. Blocks
// that cannot be reached disappear. Of two sides of a branch one with a loop that waits comes last: what it waits
// for may be written by lanes that went the other way.

#include "internal.h"

// Depth-first search without recursion; writes reachable blocks in post-order.
static uint32_t post_order(const struct jit_code *code, uint32_t *ret_order, uint32_t *stack, uint32_t *edge,
                           bool *seen) {
    uint32_t depth = 0, n = 0;
    stack[depth++] = 0;
    seen[0] = true;
    while (depth) {
        uint32_t b = stack[depth - 1];
        if (edge[b] == code->blocks[b].succ_count) {
            ret_order[n++] = b;
            depth--;
            continue;
        }
        uint32_t to = code->blocks[b].succs[edge[b]++];
        if (to < code->count && !seen[to]) {
            seen[to] = true;
            stack[depth++] = to;
        }
    }
    return n;
}

// Makes order[i] the new block i.
static bool renumber(struct jit_code *code, const uint32_t *order, uint32_t n, struct tw_error *err) {
    struct jit_block *blocks = TW_ARENA_ARRAY(code->arena, struct jit_block, n);
    uint32_t *place = TW_ARENA_ARRAY(code->arena, uint32_t, code->count + 1);
    if (!blocks || !place)
        return jit_no_memory(err);
    for (uint32_t i = 0; i <= code->count; i++)
        place[i] = n;
    for (uint32_t i = 0; i < n; i++) {
        place[order[i]] = i;
        blocks[i] = code->blocks[order[i]];
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < blocks[i].succ_count; k++)
            blocks[i].succs[k] = place[blocks[i].succs[k]];
    code->blocks = blocks;
    code->count = n;
    return true;
}

static bool depth_first(struct jit_code *code, struct tw_error *err) {
    uint32_t n = code->count;
    uint32_t *order = TW_ARENA_ARRAY(code->arena, uint32_t, n),
             *stack = TW_ARENA_ARRAY(code->arena, uint32_t, n);
    uint32_t *edge = TW_ARENA_ARRAY(code->arena, uint32_t, n);
    bool *seen = TW_ARENA_ARRAY(code->arena, bool, n);
    if (!order || !stack || !edge || !seen)
        return jit_no_memory(err);
    uint32_t reached = post_order(code, order, stack, edge, seen);
    for (uint32_t i = 0; i < reached / 2; i++) {
        uint32_t other = order[i];
        order[i] = order[reached - 1 - i];
        order[reached - 1 - i] = other;
    }
    return renumber(code, order, reached, err);
}

// Whether the block begins, within the open loop, a loop in which a warp may wait.
static bool begins_wait(const struct jit_code *code, uint32_t open, uint32_t block) {
    uint32_t l = code->blocks[block].loop;
    while (l != JIT_NONE && l != open && code->loops[l].parent != open)
        l = code->loops[l].parent;
    return l != JIT_NONE && l != open && code->loops[l].waits;
}

// The ready block in the deepest open loop: the smallest number first, those that may wait last.
static uint32_t pick(const struct jit_code *code, const uint32_t *ready, uint32_t ready_count,
                     uint32_t open) {
    uint32_t best = JIT_NONE;
    bool best_waits = false;
    for (uint32_t i = 0; i < ready_count; i++) {
        if (!jit_in_loop(code, open, ready[i]))
            continue;
        bool waits = begins_wait(code, open, ready[i]);
        if (best == JIT_NONE || waits < best_waits || (waits == best_waits && ready[i] < ready[best])) {
            best = i;
            best_waits = waits;
        }
    }
    return best;
}

// Confined: one topological sort.
struct sorter {
    struct jit_code *code;
    uint32_t *order, *ready, *waiting, *left; // left: blocks of each loop not yet placed
    uint32_t placed, ready_count, open;
};

static void place_block(struct sorter *s, uint32_t at) {
    const struct jit_code *code = s->code;
    uint32_t b = s->ready[at];
    s->ready[at] = s->ready[--s->ready_count];
    s->order[s->placed++] = b;
    for (uint32_t l = code->blocks[b].loop; l != JIT_NONE; l = code->loops[l].parent)
        s->left[l]--;
    s->open = code->blocks[b].loop;
    while (s->open != JIT_NONE && s->left[s->open] == 0)
        s->open = code->loops[s->open].parent;
    for (uint32_t k = 0; k < code->blocks[b].succ_count; k++) {
        uint32_t to = code->blocks[b].succs[k];
        if (to < code->count && !jit_dominates(code, to, b) && --s->waiting[to] == 0)
            s->ready[s->ready_count++] = to;
    }
}

static bool contiguous(struct jit_code *code, struct tw_error *err) {
    uint32_t n = code->count;
    struct sorter s = {.code = code, .open = JIT_NONE};
    s.order = TW_ARENA_ARRAY(code->arena, uint32_t, n);
    s.ready = TW_ARENA_ARRAY(code->arena, uint32_t, n);
    s.waiting = TW_ARENA_ARRAY(code->arena, uint32_t, n);
    s.left = TW_ARENA_ARRAY(code->arena, uint32_t, code->loop_count + 1);
    if (!s.order || !s.ready || !s.waiting || !s.left)
        return jit_no_memory(err);
    for (uint32_t b = 0; b < n; b++) {
        for (uint32_t k = 0; k < code->blocks[b].pred_count; k++)
            s.waiting[b] += !jit_dominates(code, b, code->blocks[b].preds[k]);
        for (uint32_t l = code->blocks[b].loop; l != JIT_NONE; l = code->loops[l].parent)
            s.left[l]++;
    }
    s.ready[s.ready_count++] = 0;
    while (s.ready_count) {
        uint32_t at = pick(code, s.ready, s.ready_count, s.open);
        place_block(&s, at == JIT_NONE ? 0 : at);
    }
    if (s.placed != n)
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX,
                       "kernel %.80s jumps into the middle of a loop (irreducible control flow), which is "
                       "not supported; "
                       "give every loop one entry",
                       code->function->name);
    return renumber(code, s.order, n, err);
}

bool jit_order(struct jit_code *code, struct tw_error *err) {
    return depth_first(code, err) && jit_preds(code, err) && jit_dominators(code, err) &&
           jit_loops(code, err) && contiguous(code, err);
}

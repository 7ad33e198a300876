// SPDX-License-Identifier: Apache-2.0
//
// Control flow of a function: order of the blocks, predecessors, dominators by the iteration of Cooper,
// Harvey and Kennedy ("A Simple, Fast Dominance Algorithm", 2001), and an interval numbering of the dominator
// tree for constant-time questions.

#include "internal.h"

bool kernel_fail_memory(struct tw_error *err) {
    return tw_fail(err, TW_ERR_CUDA_QUOTA, "no memory left for simplifying the kernel");
}

static const struct tw_kir_inst *last(const struct tw_kir_function *function, uint32_t block) {
    return &function->blocks[block].insts[function->blocks[block].count - 1];
}

// Depth-first from the entry, without recursion; fills order and rank. `stack` and `next` are scratch, a word
// a block.
static void number_blocks(struct kernel_flow *flow, const struct tw_kir_function *function, uint32_t *stack,
                          uint32_t *next) {
    enum { SEEN = 1 };
    uint32_t depth = 0, post = flow->block_count;
    for (uint32_t b = 0; b < flow->block_count; b++) {
        flow->rank[b] = TW_KIR_NO_REG;
        next[b] = 0;
    }
    stack[depth++] = 0;
    flow->rank[0] = SEEN;
    while (depth) {
        uint32_t block = stack[depth - 1];
        const struct tw_kir_inst *end = last(function, block);
        if (next[block] == end->target_count) {
            flow->order[--post] = block;
            depth--;
            continue;
        }
        uint32_t target = end->targets[next[block]++];
        if (flow->rank[target] == TW_KIR_NO_REG) {
            flow->rank[target] = SEEN;
            stack[depth++] = target;
        }
    }
    flow->order_count = flow->block_count - post;
    memmove(flow->order, flow->order + post, flow->order_count * sizeof *flow->order);
    for (uint32_t i = 0; i < flow->order_count; i++)
        flow->rank[flow->order[i]] = i;
}

// Counts at start[target + 2], sums, then fills through start[target + 1], which ends up where the next list
// begins.
static void list_predecessors(struct kernel_flow *flow, const struct tw_kir_function *function) {
    uint32_t *start = flow->pred_start;
    for (uint32_t i = 0; i < flow->order_count; i++) {
        const struct tw_kir_inst *end = last(function, flow->order[i]);
        for (unsigned t = 0; t < end->target_count; t++)
            start[end->targets[t] + 2]++;
    }
    for (uint32_t b = 2; b < flow->block_count + 2; b++)
        start[b] += start[b - 1];
    for (uint32_t i = 0; i < flow->order_count; i++) {
        const struct tw_kir_inst *end = last(function, flow->order[i]);
        for (unsigned t = 0; t < end->target_count; t++)
            flow->preds[start[end->targets[t] + 1]++] = flow->order[i];
    }
}

static uint32_t meet(const struct kernel_flow *flow, uint32_t a, uint32_t b) {
    while (a != b) {
        while (flow->rank[a] > flow->rank[b])
            a = flow->idom[a];
        while (flow->rank[b] > flow->rank[a])
            b = flow->idom[b];
    }
    return a;
}

static void find_dominators(struct kernel_flow *flow) {
    for (uint32_t b = 0; b < flow->block_count; b++)
        flow->idom[b] = TW_KIR_NO_REG;
    flow->idom[0] = 0;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 1; i < flow->order_count; i++) {
            uint32_t block = flow->order[i], best = TW_KIR_NO_REG;
            for (uint32_t p = flow->pred_start[block]; p < flow->pred_start[block + 1]; p++) {
                uint32_t pred = flow->preds[p];
                if (flow->idom[pred] != TW_KIR_NO_REG)
                    best = best == TW_KIR_NO_REG ? pred : meet(flow, pred, best);
            }
            changed |= flow->idom[block] != best;
            flow->idom[block] = best;
        }
    }
}

// Subtree sizes from the back of the order, then intervals from the front. `size` and `used` are scratch.
static void number_tree(struct kernel_flow *flow, uint32_t *size, uint32_t *used) {
    for (uint32_t i = 0; i < flow->order_count; i++) {
        size[flow->order[i]] = 1;
        used[flow->order[i]] = 1;
    }
    for (uint32_t i = flow->order_count; i-- > 1;)
        size[flow->idom[flow->order[i]]] += size[flow->order[i]];
    flow->enter[0] = 0;
    flow->leave[0] = flow->order_count;
    for (uint32_t i = 1; i < flow->order_count; i++) {
        uint32_t block = flow->order[i], parent = flow->idom[block];
        flow->enter[block] = flow->enter[parent] + used[parent];
        flow->leave[block] = flow->enter[block] + size[block];
        used[parent] += size[block];
    }
}

bool kernel_flow_init(struct kernel_flow *flow, const struct tw_kir_function *function,
                      struct tw_error *err) {
    uint32_t n = function->block_count;
    size_t edges = 0;
    for (uint32_t b = 0; b < n; b++)
        edges += last(function, b)->target_count;
    *flow = (struct kernel_flow){.block_count = n};
    uint32_t *memory = tw_alloc_zero((size_t)n * 8 + 2 + edges, sizeof *memory);
    if (!memory)
        return kernel_fail_memory(err);
    flow->memory = memory;
    flow->order = memory;
    flow->rank = memory + n;
    flow->idom = memory + 2 * (size_t)n;
    flow->enter = memory + 3 * (size_t)n;
    flow->leave = memory + 4 * (size_t)n;
    uint32_t *scratch = memory + 5 * (size_t)n;
    flow->pred_start = memory + 7 * (size_t)n;
    flow->preds = flow->pred_start + n + 2;
    number_blocks(flow, function, scratch, scratch + n);
    list_predecessors(flow, function);
    find_dominators(flow);
    number_tree(flow, scratch, scratch + n);
    return true;
}

void kernel_flow_done(struct kernel_flow *flow) {
    free(flow->memory);
    *flow = (struct kernel_flow){};
}

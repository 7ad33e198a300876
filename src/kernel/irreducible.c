// SPDX-License-Identifier: Apache-2.0
//
// Loops with several entries (jumps into the middle of a loop, and functions that call each other in a circle)
// get one: a new header that branches by a number to the old entries. Whoever went to entry n goes to a block
// that sets the number to n and then to the header; there are two of these for each entry, one for jumps from
// outside the loop and one for those inside, so that only the header is entered from outside.
//
// Loops are found as strongly connected components; taking out the header of one uncovers the loops inside.

#include "internal.h"

// Confined: one search.
struct search {
    const struct tw_kir_function *function;
    const struct kernel_flow *flow;
    uint32_t *region;       // by block: which loop is being looked into; 0: none any more
    uint32_t *number, *low; // Tarjan's; 0: not met
    uint32_t *stack, *path, *edge;
    uint32_t stack_count, path_count, next, region_count;
    uint32_t *members, member_count; // the component found last
};

static const struct tw_kir_inst *last(const struct tw_kir_function *function, uint32_t block) {
    return &function->blocks[block].insts[function->blocks[block].count - 1];
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static void enter(struct search *s, uint32_t block) {
    s->number[block] = s->low[block] = ++s->next;
    s->edge[block] = 0;
    s->stack[s->stack_count++] = block;
    s->path[s->path_count++] = block;
}

static bool is_cycle(const struct search *s) {
    uint32_t block = s->members[0];
    const struct tw_kir_inst *end = last(s->function, block);
    for (unsigned t = 0; s->member_count == 1 && t < end->target_count; t++)
        if (end->targets[t] == block)
            return true;
    return s->member_count > 1;
}

// Takes the component of its root `block` off the stack.
static void take_members(struct search *s, uint32_t block) {
    s->member_count = 0;
    do
        s->members[s->member_count++] = s->stack[--s->stack_count];
    while (s->stack[s->stack_count] != block);
}

// Blocks of the component that are reached from outside it; the function's entry counts as one.
static uint32_t find_entries(const struct search *s, uint32_t region, uint32_t *ret_entries) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->member_count; i++) {
        uint32_t block = s->members[i];
        bool outside = block == 0;
        for (uint32_t p = s->flow->pred_start[block]; p < s->flow->pred_start[block + 1]; p++)
            outside |= s->region[s->flow->preds[p]] != region;
        if (outside)
            ret_entries[count++] = block;
    }
    return count;
}

// A component is complete: it is no loop, or one with one header, which goes, or the one looked for (true).
static bool settle(struct search *s, uint32_t root, uint32_t *ret_entries, uint32_t *ret_count) {
    take_members(s, root);
    bool cycle = is_cycle(s);
    uint32_t region = cycle ? ++s->region_count : 0;
    for (uint32_t i = 0; i < s->member_count; i++)
        s->region[s->members[i]] = region;
    if (!cycle)
        return false;
    *ret_count = find_entries(s, region, ret_entries);
    if (*ret_count > 1)
        return true;
    s->region[ret_entries[0]] = 0;
    return false;
}

// Looks through the blocks of one region. True: found a loop with several entries.
static bool search_region(struct search *s, uint32_t region, uint32_t start, uint32_t *ret_entries,
                          uint32_t *ret_count) {
    enter(s, start);
    while (s->path_count) {
        uint32_t block = s->path[s->path_count - 1];
        const struct tw_kir_inst *end = last(s->function, block);
        if (s->edge[block] == end->target_count) {
            s->path_count--;
            if (s->path_count)
                s->low[s->path[s->path_count - 1]] = least(s->low[s->path[s->path_count - 1]], s->low[block]);
            if (s->low[block] == s->number[block] && settle(s, block, ret_entries, ret_count))
                return true;
            continue;
        }
        uint32_t to = end->targets[s->edge[block]++];
        if (s->region[to] != region)
            continue; // outside, or in a component that is complete
        if (!s->number[to])
            enter(s, to);
        else
            s->low[block] = least(s->low[block], s->number[to]);
    }
    return false;
}

// The first loop with several entries; *ret_count 0: there is none.
static void search_all(struct search *s, uint32_t *ret_entries, uint32_t *ret_count) {
    const struct tw_kir_function *f = s->function;
    *ret_count = 0;
    s->region_count = 1;
    for (uint32_t i = 0; i < s->flow->order_count; i++)
        s->region[s->flow->order[i]] = 1;
    for (uint32_t region = 1; region <= s->region_count; region++) {
        memset(s->number, 0, f->block_count * sizeof *s->number);
        for (uint32_t b = 0; b < f->block_count; b++) {
            if (s->region[b] != region || s->number[b])
                continue;
            if (search_region(s, region, b, ret_entries, ret_count) && *ret_count > 1)
                return;
        }
    }
    *ret_count = 0;
}

// ---- the new header ----

static struct tw_kir_inst *add(struct tw_kir_module *module, struct tw_kir_function *function, uint32_t block,
                               enum tw_kir_op op, unsigned dsts, unsigned srcs, unsigned targets,
                               struct tw_error *err) {
    return tw_kir_inst_add(module, &function->blocks[block], op, op == TW_KIR_MOV ? TW_KIR_B32 : TW_KIR_PRED,
                           dsts, srcs, targets, err);
}

static bool new_block(struct tw_kir_module *module, struct tw_kir_function *function, uint32_t *ret_block,
                      struct tw_error *err) {
    char *label = tw_arena_printf(module->arena, "entry.%u", function->block_count);
    if (!label)
        return kernel_fail_memory(err);
    *ret_block = tw_kir_block_add(module, function, label, err);
    return *ret_block != TW_KIR_NO_REG;
}

// A block that goes to entry `index` by way of the header.
static bool new_way(struct tw_kir_module *module, struct tw_kir_function *function, uint32_t header,
                    uint32_t selector, uint32_t index, uint32_t *ret_block, struct tw_error *err) {
    if (!new_block(module, function, ret_block, err))
        return false;
    struct tw_kir_inst *set = add(module, function, *ret_block, TW_KIR_MOV, 1, 1, 0, err);
    if (!set)
        return false;
    set->dst[0] = selector;
    set->src[0] = tw_kir_imm_operand(index);
    struct tw_kir_inst *jump = add(module, function, *ret_block, TW_KIR_BR, 0, 0, 1, err);
    if (jump)
        jump->targets[0] = header;
    return jump != NULL;
}

// Sends the jumps to `entry` through the two ways: from inside the loop, and from elsewhere.
static void redirect(struct tw_kir_function *function, const uint32_t *region, uint32_t loop, uint32_t blocks,
                     uint32_t entry, const uint32_t ways[2]) {
    for (uint32_t b = 0; b < blocks; b++) {
        struct tw_kir_block *block = &function->blocks[b];
        struct tw_kir_inst *end = &block->insts[block->count - 1];
        for (unsigned t = 0; t < end->target_count; t++)
            if (end->targets[t] == entry)
                end->targets[t] = ways[region[b] == loop];
    }
}

static bool give_header(struct tw_kir_module *module, struct tw_kir_function *function,
                        const struct search *s, const uint32_t *entries, uint32_t count,
                        struct tw_error *err) {
    uint32_t header, selector, blocks = function->block_count, loop = s->region[entries[0]];
    if (count > TW_KIR_MAX_TARGETS)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "kernel %.80s has a loop with %u entries, the limit is %d",
                       function->name, count, TW_KIR_MAX_TARGETS);
    selector = tw_kir_reg_add(module, function, NULL, 32, err);
    if (selector == TW_KIR_NO_REG || !new_block(module, function, &header, err))
        return false;
    struct tw_kir_inst *branch = add(module, function, header, TW_KIR_BRX, 0, 1, count, err);
    if (!branch)
        return false;
    branch->src[0] = tw_kir_reg_operand(selector);
    memcpy(branch->targets, entries, count * sizeof *entries);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t ways[2];
        for (unsigned inside = 0; inside < 2; inside++)
            if (!new_way(module, function, header, selector, i, &ways[inside], err))
                return false;
        redirect(function, s->region, loop, blocks, entries[i], ways);
    }
    return true;
}

static bool is_reducible(const struct tw_kir_function *function, const struct kernel_flow *flow) {
    for (uint32_t i = 0; i < flow->order_count; i++) {
        const struct tw_kir_inst *end = last(function, flow->order[i]);
        for (unsigned t = 0; t < end->target_count; t++)
            if (flow->rank[end->targets[t]] <= i && !kernel_dominates(flow, end->targets[t], flow->order[i]))
                return false;
    }
    return true;
}

// Gives the function an entry that nothing jumps to.
static bool free_entry(struct tw_kir_module *module, struct tw_kir_function *function, struct tw_error *err) {
    uint32_t moved, blocks = function->block_count;
    if (!new_block(module, function, &moved, err))
        return false;
    struct tw_kir_block *old = &function->blocks[0], *to = &function->blocks[moved];
    *to = (struct tw_kir_block){
        .label = to->label, .insts = old->insts, .count = old->count, .capacity = old->capacity};
    *old = (struct tw_kir_block){.label = old->label};
    for (uint32_t b = 1; b <= blocks; b++) {
        struct tw_kir_block *block = &function->blocks[b];
        struct tw_kir_inst *end = &block->insts[block->count - 1];
        for (unsigned t = 0; t < end->target_count; t++)
            if (end->targets[t] == 0)
                end->targets[t] = moved;
    }
    struct tw_kir_inst *jump = add(module, function, 0, TW_KIR_BR, 0, 0, 1, err);
    if (jump)
        jump->targets[0] = moved;
    return jump != NULL;
}

// Mends one loop; *ret_done: there was none to mend.
static bool mend_one(struct tw_kir_module *module, struct tw_kir_function *function, bool *ret_done,
                     struct tw_error *err) {
    struct kernel_flow flow;
    uint32_t n = function->block_count, count = 0;
    if (!kernel_flow_init(&flow, function, err))
        return false;
    *ret_done = is_reducible(function, &flow);
    if (!*ret_done && flow.pred_start[1] > flow.pred_start[0]) {
        kernel_flow_done(&flow);
        return free_entry(module, function, err);
    }
    uint32_t *memory = *ret_done ? NULL : tw_alloc_zero((size_t)n * 8, sizeof *memory);
    bool good = *ret_done || memory || kernel_fail_memory(err);
    if (good && !*ret_done) {
        struct search s = {.function = function,
                           .flow = &flow,
                           .region = memory,
                           .number = memory + n,
                           .low = memory + 2 * (size_t)n,
                           .stack = memory + 3 * (size_t)n,
                           .path = memory + 4 * (size_t)n,
                           .edge = memory + 5 * (size_t)n,
                           .members = memory + 6 * (size_t)n};
        uint32_t *entries = memory + 7 * (size_t)n;
        search_all(&s, entries, &count);
        *ret_done = count == 0;
        good = count == 0 || give_header(module, function, &s, entries, count, err);
    }
    free(memory);
    kernel_flow_done(&flow);
    return good;
}

bool tw_kir_mend_loops(struct tw_kir_module *module, struct tw_kir_function *function, struct tw_error *err) {
    for (bool done = false; !done;)
        if (!mend_one(module, function, &done, err))
            return false;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// Blocks: branches whose way is known become jumps, jumps to jumps go straight to the end, blocks that
// nothing reaches go away, and a block whose only successor has no other predecessor swallows it.

#include "internal.h"

static struct tw_kir_inst *last(const struct tw_kir_function *function, uint32_t block) {
    return &function->blocks[block].insts[function->blocks[block].count - 1];
}

// Where a jump to `block` ends up when blocks that only jump on are skipped. Rings of such blocks end the
// walk.
static uint32_t final_target(const struct tw_kir_function *function, uint32_t block) {
    for (uint32_t steps = 0; steps < 64; steps++) {
        const struct tw_kir_block *at = &function->blocks[block];
        if (at->count != 1 || at->insts[0].op != TW_KIR_BR || at->insts[0].targets[0] == block)
            break;
        block = at->insts[0].targets[0];
    }
    return block;
}

static void become_jump(struct tw_kir_inst *inst, uint32_t target) {
    inst->op = TW_KIR_BR;
    inst->src_count = 0;
    inst->target_count = 1;
    inst->targets[0] = target;
}

static void straighten(struct tw_kir_function *function) {
    for (uint32_t b = 0; b < function->block_count; b++) {
        struct tw_kir_inst *end = last(function, b);
        for (unsigned t = 0; t < end->target_count; t++)
            end->targets[t] = final_target(function, end->targets[t]);
        if (end->op == TW_KIR_BRC && end->src[0].is_imm)
            become_jump(end, end->targets[end->src[0].bits & 1 ? 0 : 1]);
        else if (end->op == TW_KIR_BRC && end->targets[0] == end->targets[1])
            become_jump(end, end->targets[0]);
        else if (end->op == TW_KIR_BRX && end->src[0].is_imm)
            become_jump(end, end->targets[end->src[0].bits < end->target_count ? end->src[0].bits
                                                                               : end->target_count - 1u]);
    }
}

static bool has_one_predecessor(const struct kernel_flow *flow, uint32_t block) {
    return block != 0 && flow->pred_start[block + 1] - flow->pred_start[block] == 1;
}

// The block that `block` should swallow; NO_REG: none.
static uint32_t swallowed(const struct kernel_flow *flow, const struct tw_kir_function *function,
                          uint32_t block) {
    const struct tw_kir_inst *end = last(function, block);
    return end->op == TW_KIR_BR && end->targets[0] != block && has_one_predecessor(flow, end->targets[0])
               ? end->targets[0]
               : TW_KIR_NO_REG;
}

// Joins the chain of blocks that begins at `head`.
static bool join_chain(struct tw_kir_module *module, const struct kernel_flow *flow,
                       struct tw_kir_function *function, uint32_t head, struct tw_error *err) {
    uint32_t count = 0, next;
    for (uint32_t b = head; b != TW_KIR_NO_REG; b = next) {
        next = swallowed(flow, function, b);
        count += function->blocks[b].count - (next != TW_KIR_NO_REG);
    }
    struct tw_kir_inst *insts = TW_ARENA_ARRAY(module->arena, struct tw_kir_inst, count);
    if (!insts)
        return kernel_fail_memory(err);
    uint32_t at = 0;
    for (uint32_t b = head; b != TW_KIR_NO_REG; b = next) {
        const struct tw_kir_block *block = &function->blocks[b];
        next = swallowed(flow, function, b);
        uint32_t keep = block->count - (next != TW_KIR_NO_REG);
        memcpy(insts + at, block->insts, keep * sizeof *insts);
        at += keep;
    }
    function->blocks[head].insts = insts;
    function->blocks[head].count = function->blocks[head].capacity = count;
    return true;
}

static bool join(struct tw_kir_module *module, const struct kernel_flow *flow,
                 struct tw_kir_function *function, bool *inside, struct tw_error *err) {
    for (uint32_t i = 0; i < flow->order_count; i++) {
        uint32_t next = swallowed(flow, function, flow->order[i]);
        if (next != TW_KIR_NO_REG)
            inside[next] = true;
    }
    for (uint32_t i = 0; i < flow->order_count; i++) {
        uint32_t head = flow->order[i];
        // The chain's members keep their own blocks, which nothing reaches any more.
        if (!inside[head] && swallowed(flow, function, head) != TW_KIR_NO_REG &&
            !join_chain(module, flow, function, head, err))
            return false;
    }
    return true;
}

// Closes the gaps that `gone` blocks leave; the others keep their order.
static void drop(struct tw_kir_function *function, const bool *gone, uint32_t *index) {
    uint32_t kept = 0;
    for (uint32_t b = 0; b < function->block_count; b++) {
        index[b] = kept;
        if (!gone[b])
            function->blocks[kept++] = function->blocks[b];
    }
    function->block_count = kept;
    for (uint32_t b = 0; b < kept; b++) {
        struct tw_kir_inst *end = last(function, b);
        for (unsigned t = 0; t < end->target_count; t++)
            end->targets[t] = index[end->targets[t]];
    }
}

bool kernel_clean_blocks(struct tw_kir_module *module, struct tw_kir_function *function,
                         struct tw_error *err) {
    straighten(function);
    struct kernel_flow flow;
    uint32_t n = function->block_count;
    if (!kernel_flow_init(&flow, function, err))
        return false;
    bool *gone = tw_alloc_zero(n, sizeof *gone);
    uint32_t *index = tw_alloc_zero(n, sizeof *index);
    bool good = gone && index;
    if (!good)
        kernel_fail_memory(err);
    else
        good = join(module, &flow, function, gone, err);
    for (uint32_t b = 0; good && b < n; b++)
        gone[b] |= flow.rank[b] == TW_KIR_NO_REG;
    if (good)
        drop(function, gone, index);
    free(gone);
    free(index);
    kernel_flow_done(&flow);
    return good;
}

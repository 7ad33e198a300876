// SPDX-License-Identifier: Apache-2.0
//
// Calls replaced by the callee's body. Callees are inlined first, so that each body that is copied is free of
// calls. A block is cut at its call: the first half jumps to the copy of the callee's entry, the callee's
// returns jump to the second half (copy.c). Functions that call themselves stay and are dealt with at the end
// (recursion.c).

#include "inline.h"

// Inlines the call at insts[position] of `block`; *ret_rest is the block that holds what followed it.
static bool inline_call(struct kernel_inliner *in, uint32_t block, uint32_t position, uint32_t *ret_rest) {
    struct kernel_copy site = {.call = kernel_inliner_function(in)->blocks[block].insts[position]};
    const struct tw_kir_inst *call = &site.call;
    if (!kernel_cut_block(in, block, position, &site.rest))
        return false;
    uint32_t reg_base = kernel_inliner_function(in)->reg_count;
    if (!kernel_copy_body(in, &site))
        return false;
    const struct tw_kir_function *callee = &in->module->functions[call->index];
    for (uint32_t i = 0; i < call->src_count; i++) {
        uint32_t formal = callee->params[i].reg;
        if (!kernel_copy_move(in, block, callee->regs[formal].bits, formal + reg_base, call->src[i], call))
            return false;
    }
    *ret_rest = site.rest;
    return kernel_copy_branch(in, block, site.block_base, call);
}

static bool inline_function(const struct kernel_inliner *from, uint32_t function, uint32_t *path,
                            unsigned depth);

static bool inline_block(struct kernel_inliner *in, uint32_t block, uint32_t *path, unsigned depth) {
    for (uint32_t i = 0; i < kernel_inliner_function(in)->blocks[block].count; i++) {
        const struct tw_kir_inst *inst = &kernel_inliner_function(in)->blocks[block].insts[i];
        if (inst->op != TW_KIR_CALL || in->recursive[inst->index])
            continue;
        if (!inline_function(in, inst->index, path, depth + 1) || !inline_call(in, block, i, &block))
            return false;
        i = UINT32_MAX; // go on at the beginning of the rest
    }
    return true;
}

// Recursive functions were told apart before, so the path ends.
static bool inline_function(const struct kernel_inliner *from, uint32_t function, uint32_t *path,
                            unsigned depth) {
    struct kernel_inliner in = {
        .module = from->module, .function = function, .recursive = from->recursive, .err = from->err};
    if (depth == TW_KIR_MAX_INLINE_DEPTH)
        return tw_fail(in.err, TW_ERR_CUDA_QUOTA, "calls nest deeper than %d at function %.100s",
                       TW_KIR_MAX_INLINE_DEPTH, in.module->functions[function].name);
    path[depth] = function;
    uint32_t count = kernel_inliner_function(&in)
                         ->block_count; // those that inlining adds are free of calls, or done on the way
    for (uint32_t b = 0; b < count; b++)
        if (!inline_block(&in, b, path, depth))
            return false;
    return true;
}

static bool inline_all(struct kernel_inliner *in, bool any) {
    uint32_t path[TW_KIR_MAX_INLINE_DEPTH];
    for (uint32_t i = 0; any && i < in->module->function_count; i++)
        if (in->recursive[i] && !inline_function(in, i, path, 0))
            return false;
    return inline_function(in, in->function, path, 0) && (!any || kernel_lower_recursion(in));
}

bool tw_kir_inline(struct tw_kir_module *module, struct tw_kir_function *function, struct tw_error *err) {
    if (function->refusal)
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "%s", function->refusal);
    bool *recursive = tw_alloc_zero((size_t)module->function_count + 1, sizeof *recursive), any;
    if (!recursive)
        return kernel_fail_memory(err);
    struct kernel_inliner in = {.module = module,
                                .function = (uint32_t)(function - module->functions),
                                .recursive = recursive,
                                .err = err};
    bool good = kernel_find_recursion(module, in.function, recursive, &any, err) && inline_all(&in, any);
    free(recursive);
    return good;
}

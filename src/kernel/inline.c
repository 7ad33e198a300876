// SPDX-License-Identifier: Apache-2.0
//
// Calls replaced by the callee's body. Callees are inlined first, so that each body that is copied is free of
// calls. A block is cut at its call: the first half jumps to the copy of the callee's entry, the callee's
// returns jump to the second half.
//
// Names stay unique: copied registers and blocks get their own number in the caller as suffix. A function's
// shared and local variables are cloned once a caller; calls never overlap in time, so its call sites may
// share the clone. Functions that call themselves stay and are dealt with at the end (recursion.c).

#include "inline.h"

static bool no_memory(struct tw_error *err) {
    return tw_fail(err, TW_ERR_CUDA_QUOTA,
                   "the kernel needs more memory than a compilation may use after inlining");
}

uint8_t kernel_bits_type(unsigned bits) {
    return bits == 1     ? TW_KIR_PRED
           : bits == 8   ? TW_KIR_B8
           : bits == 16  ? TW_KIR_B16
           : bits == 32  ? TW_KIR_B32
           : bits == 128 ? TW_KIR_B128
                         : TW_KIR_B64;
}

static bool move(const struct kernel_inliner *in, uint32_t block, unsigned bits, uint32_t to,
                 struct tw_kir_operand from, const struct tw_kir_inst *call) {
    struct tw_kir_inst *inst = tw_kir_inst_add(in->module, &kernel_inliner_function(in)->blocks[block],
                                               TW_KIR_MOV, kernel_bits_type(bits), 1, 1, 0, in->err);
    if (!inst)
        return false;
    inst->dst[0] = to;
    inst->src[0] = from;
    inst->line = call->line;
    inst->column = call->column;
    return true;
}

static bool branch(const struct kernel_inliner *in, uint32_t block, uint32_t target,
                   const struct tw_kir_inst *from) {
    struct tw_kir_inst *inst = tw_kir_inst_add(in->module, &kernel_inliner_function(in)->blocks[block],
                                               TW_KIR_BR, TW_KIR_PRED, 0, 0, 1, in->err);
    if (!inst)
        return false;
    inst->targets[0] = target;
    inst->line = from->line;
    inst->column = from->column;
    return true;
}

// The caller's own copy of a callee's variable; variables of module scope are themselves.
static bool clone_variable(struct kernel_inliner *in, uint32_t variable, uint32_t *ret_clone) {
    const struct tw_kir_variable *old = &in->module->variables[variable];
    *ret_clone = variable;
    if (old->function == TW_KIR_NO_REG || old->function == in->function)
        return true;
    if (variable >= in->clone_count) { // variables that earlier inlining added
        uint32_t count = in->module->variable_count;
        uint32_t *bigger = TW_ARENA_ARRAY(in->module->arena, uint32_t, count);
        if (!bigger)
            return no_memory(in->err);
        memset(bigger, 0xff, count * sizeof *bigger);
        if (in->clone_count)
            memcpy(bigger, in->clones, in->clone_count * sizeof *bigger);
        in->clones = bigger;
        in->clone_count = count;
    }
    if (in->clones[variable] == TW_KIR_NO_REG) {
        struct tw_kir_variable clone = *old;
        clone.function = in->function;
        clone.name = tw_arena_printf(in->module->arena, "%s.%u", old->name, in->module->variable_count);
        if (!clone.name)
            return no_memory(in->err);
        in->clones[variable] = tw_kir_variable_add(in->module, &clone, in->err);
        if (in->clones[variable] == TW_KIR_NO_REG)
            return false;
    }
    *ret_clone = in->clones[variable];
    return true;
}

// Appends the callee's instruction with registers and blocks moved up by their bases.
static bool copy_inst(struct kernel_inliner *in, uint32_t block, const struct tw_kir_inst *from,
                      uint32_t reg_base, uint32_t block_base) {
    struct tw_kir_inst *to =
        tw_kir_inst_add(in->module, &kernel_inliner_function(in)->blocks[block], from->op, from->type,
                        from->dst_count, from->src_count, from->target_count, in->err);
    if (!to)
        return false;
    uint32_t *dst = to->dst, *targets = to->targets;
    struct tw_kir_operand *src = to->src;
    *to = *from;
    to->dst = dst;
    to->src = src;
    to->targets = targets;
    for (unsigned i = 0; i < from->dst_count; i++)
        dst[i] = from->dst[i] == TW_KIR_NO_REG ? TW_KIR_NO_REG : from->dst[i] + reg_base;
    for (unsigned i = 0; i < from->src_count; i++) {
        src[i] = from->src[i];
        if (!src[i].is_imm)
            src[i].reg += reg_base;
    }
    for (unsigned i = 0; i < from->target_count; i++)
        targets[i] = from->targets[i] + block_base;
    if (to->guard != TW_KIR_NO_REG)
        to->guard += reg_base;
    return to->op != TW_KIR_ADDR || clone_variable(in, from->index, &to->index);
}

static bool copy_registers(const struct kernel_inliner *in, uint32_t callee) {
    for (uint32_t i = 0; i < in->module->functions[callee].reg_count; i++) {
        const struct tw_kir_reg *old = &in->module->functions[callee].regs[i];
        char *name =
            tw_arena_printf(in->module->arena, "%s.%u", old->name, kernel_inliner_function(in)->reg_count);
        if (!name)
            return no_memory(in->err);
        if (tw_kir_reg_add(in->module, kernel_inliner_function(in), name, old->bits, in->err) ==
            TW_KIR_NO_REG)
            return false;
    }
    return true;
}

bool kernel_copy_new_block(const struct kernel_inliner *in, const char *label, uint32_t *ret_block) {
    char *name = tw_arena_printf(in->module->arena, "%s.%u", label, kernel_inliner_function(in)->block_count);
    if (!name)
        return no_memory(in->err);
    *ret_block = tw_kir_block_add(in->module, kernel_inliner_function(in), name, in->err);
    return *ret_block != TW_KIR_NO_REG;
}

// A return: the results go where the call wanted them, and on to the rest.
static bool leave(const struct kernel_inliner *in, const struct kernel_copy *site, uint32_t block,
                  const struct tw_kir_inst *at) {
    const struct tw_kir_function *callee = &in->module->functions[site->call.index];
    for (uint32_t i = 0; i < site->call.dst_count; i++) {
        uint32_t formal = callee->results[i].reg;
        if (site->call.dst[i] != TW_KIR_NO_REG &&
            !move(in, block, callee->regs[formal].bits, site->call.dst[i],
                  tw_kir_reg_operand(formal + site->reg_base), at))
            return false;
    }
    return branch(in, block, site->rest, at);
}

static bool copy_blocks(struct kernel_inliner *in, const struct kernel_copy *site) {
    uint32_t callee = site->call.index, count = in->module->functions[callee].block_count, made;
    for (uint32_t b = 0; b < count; b++)
        if (!kernel_copy_new_block(in, in->module->functions[callee].blocks[b].label, &made))
            return false;
    for (uint32_t b = 0; b < count; b++) {
        const struct tw_kir_block *from = &in->module->functions[callee].blocks[b];
        uint32_t to = site->block_base + b;
        for (uint32_t i = 0; i < from->count; i++) {
            const struct tw_kir_inst *inst = &from->insts[i];
            bool good = inst->op == TW_KIR_RET ? leave(in, site, to, inst)
                                               : copy_inst(in, to, inst, site->reg_base, site->block_base);
            if (!good)
                return false;
        }
    }
    return true;
}

bool kernel_copy_body(struct kernel_inliner *in, struct kernel_copy *copy) {
    copy->reg_base = kernel_inliner_function(in)->reg_count;
    copy->block_base = kernel_inliner_function(in)->block_count;
    return copy_registers(in, copy->call.index) && copy_blocks(in, copy);
}

bool kernel_cut_block(const struct kernel_inliner *in, uint32_t block, uint32_t position,
                      uint32_t *ret_rest) {
    if (!kernel_copy_new_block(in, kernel_inliner_function(in)->blocks[block].label, ret_rest))
        return false;
    // The two halves share the old array: the head has no spare room, so it moves away when it grows.
    struct tw_kir_block *head = &kernel_inliner_function(in)->blocks[block],
                        *rest = &kernel_inliner_function(in)->blocks[*ret_rest];
    rest->insts = head->insts + position + 1;
    rest->count = rest->capacity = head->count - position - 1;
    head->count = head->capacity = position;
    return true;
}

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
        if (!move(in, block, callee->regs[formal].bits, formal + reg_base, call->src[i], call))
            return false;
    }
    *ret_rest = site.rest;
    return branch(in, block, site.block_base, call);
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

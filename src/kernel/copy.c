// SPDX-License-Identifier: Apache-2.0
//
// A function's body copied into another one.
//
// Names stay unique: copied registers and blocks get their own number in the caller as suffix. A function's
// shared and local variables are cloned once a caller; calls never overlap in time, so its call sites may
// share the clone.

#include "inline.h"

static bool no_memory(struct tw_error *err) {
    return tw_fail(err, TW_ERR_CUDA_QUOTA,
                   "the kernel needs more memory than a compilation may use after inlining");
}

bool kernel_copy_move(const struct kernel_inliner *in, uint32_t block, unsigned bits, uint32_t to,
                      struct tw_kir_operand from, const struct tw_kir_inst *call) {
    struct tw_kir_inst *inst = tw_kir_inst_add(in->module, &kernel_inliner_function(in)->blocks[block],
                                               TW_KIR_MOV, tw_kir_bits_type(bits), 1, 1, 0, in->err);
    if (!inst)
        return false;
    inst->dst[0] = to;
    inst->src[0] = from;
    inst->line = call->line;
    inst->column = call->column;
    return true;
}

bool kernel_copy_branch(const struct kernel_inliner *in, uint32_t block, uint32_t target,
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
            !kernel_copy_move(in, block, callee->regs[formal].bits, site->call.dst[i],
                              tw_kir_reg_operand(formal + site->reg_base), at))
            return false;
    }
    return kernel_copy_branch(in, block, site->rest, at);
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

// SPDX-License-Identifier: Apache-2.0
//
// Dead code: what only makes registers is kept when some instruction with an effect needs them, directly or
// through others. All definitions of a needed register are needed. Afterwards registers that nothing mentions
// are dropped and the others renumbered.

#include "internal.h"

// Confined: one pass.
struct dead {
    struct tw_kir_function *function;
    uint32_t *start; // defining instructions of r: defs[start[r]] … defs[start[r + 1] - 1]
    struct tw_kir_inst **defs;
    bool *needed;               // by register
    uint32_t *work, work_count; // needed registers whose definitions are to be visited
};

static void need(struct dead *d, uint32_t reg) {
    if (!d->needed[reg]) {
        d->needed[reg] = true;
        d->work[d->work_count++] = reg;
    }
}

static void need_sources(struct dead *d, const struct tw_kir_inst *inst) {
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm)
            need(d, inst->src[i].reg);
    if (inst->guard != TW_KIR_NO_REG)
        need(d, inst->guard);
}

static bool is_pure(const struct tw_kir_inst *inst) {
    return (tw_kir_op_flags(inst->op) & TW_KIR_PURE) != 0;
}

static void mark(struct dead *d) {
    for (uint32_t i = 0; i < d->function->result_count; i++)
        if (d->function->results[i].reg != TW_KIR_NO_REG)
            need(d, d->function->results[i].reg);
    for (uint32_t b = 0; b < d->function->block_count; b++)
        for (uint32_t i = 0; i < d->function->blocks[b].count; i++)
            if (!is_pure(&d->function->blocks[b].insts[i]))
                need_sources(d, &d->function->blocks[b].insts[i]);
    while (d->work_count) {
        uint32_t reg = d->work[--d->work_count];
        for (uint32_t i = d->start[reg]; i < d->start[reg + 1]; i++)
            need_sources(d, d->defs[i]);
    }
}

// Drops results that nobody needs; false: the whole instruction is dead.
static bool trim(const struct dead *d, struct tw_kir_inst *inst) {
    bool some = false;
    for (unsigned i = 0; i < inst->dst_count; i++) {
        if (inst->dst[i] != TW_KIR_NO_REG && !d->needed[inst->dst[i]])
            inst->dst[i] = TW_KIR_NO_REG;
        some |= inst->dst[i] != TW_KIR_NO_REG;
    }
    if (inst->op == TW_KIR_ATOM && !some)
        inst->dst_count = 0;
    if (inst->op == TW_KIR_SETP && inst->dst_count == 2 && inst->dst[1] == TW_KIR_NO_REG)
        inst->dst_count = 1;
    return some || !is_pure(inst);
}

static void sweep(const struct dead *d) {
    for (uint32_t b = 0; b < d->function->block_count; b++) {
        struct tw_kir_block *block = &d->function->blocks[b];
        uint32_t kept = 0;
        for (uint32_t i = 0; i < block->count; i++)
            if (trim(d, &block->insts[i]))
                block->insts[kept++] = block->insts[i];
        block->count = kept;
    }
}

static void list_definitions(struct dead *d, bool fill) {
    for (uint32_t b = 0; b < d->function->block_count; b++)
        for (uint32_t i = 0; i < d->function->blocks[b].count; i++) {
            struct tw_kir_inst *inst = &d->function->blocks[b].insts[i];
            for (unsigned k = 0; k < inst->dst_count; k++) {
                if (inst->dst[k] == TW_KIR_NO_REG)
                    continue;
                if (fill)
                    d->defs[d->start[inst->dst[k] + 1]++] = inst;
                else
                    d->start[inst->dst[k] + 2]++;
            }
        }
}

bool kernel_remove_dead(struct tw_kir_function *function, struct tw_error *err) {
    struct dead d = {.function = function};
    size_t regs = function->reg_count;
    d.start = tw_alloc_zero(regs + 2, sizeof *d.start);
    d.needed = tw_alloc_zero(regs + 1, sizeof *d.needed);
    d.work = tw_alloc_zero(regs + 1, sizeof *d.work);
    bool good = d.start && d.needed && d.work;
    if (good) {
        list_definitions(&d, false);
        for (size_t r = 2; r < regs + 2; r++)
            d.start[r] += d.start[r - 1];
        d.defs = tw_alloc_zero((size_t)d.start[regs + 1] + 1, sizeof(struct tw_kir_inst *));
        good = d.defs != NULL;
    }
    if (good) {
        list_definitions(&d, true);
        mark(&d);
        sweep(&d);
    } else
        kernel_fail_memory(err);
    free(d.start);
    free(d.needed);
    free(d.work);
    free(d.defs);
    return good;
}

// The new number of a register, given when it is first mentioned.
static void renumber(uint32_t *slot, uint32_t *index, uint32_t *count) {
    if (*slot == TW_KIR_NO_REG)
        return;
    if (index[*slot] == TW_KIR_NO_REG)
        index[*slot] = (*count)++;
    *slot = index[*slot];
}

static void renumber_all(struct tw_kir_function *function, uint32_t *index, uint32_t *count) {
    for (uint32_t i = 0; i < function->param_count; i++)
        renumber(&function->params[i].reg, index, count);
    for (uint32_t i = 0; i < function->result_count; i++)
        renumber(&function->results[i].reg, index, count);
    for (uint32_t b = 0; b < function->block_count; b++)
        for (uint32_t i = 0; i < function->blocks[b].count; i++) {
            struct tw_kir_inst *inst = &function->blocks[b].insts[i];
            renumber(&inst->guard, index, count);
            for (unsigned s = 0; s < inst->src_count; s++)
                if (!inst->src[s].is_imm)
                    renumber(&inst->src[s].reg, index, count);
            for (unsigned d = 0; d < inst->dst_count; d++)
                renumber(&inst->dst[d], index, count);
        }
}

bool kernel_pack_registers(struct tw_kir_function *function, struct tw_error *err) {
    uint32_t regs = function->reg_count, count = 0;
    uint32_t *index = tw_alloc_zero((size_t)regs + 1, sizeof *index);
    struct tw_kir_reg *old = tw_alloc_zero((size_t)regs + 1, sizeof *old);
    bool good = index && old;
    if (good) {
        memset(index, 0xff, (size_t)regs * sizeof *index);
        if (regs)
            memcpy(old, function->regs, regs * sizeof *old);
        renumber_all(function, index, &count);
        for (uint32_t r = 0; r < regs; r++)
            if (index[r] != TW_KIR_NO_REG)
                function->regs[index[r]] = old[r];
        function->reg_count = count;
    } else
        kernel_fail_memory(err);
    free(index);
    free(old);
    return good;
}

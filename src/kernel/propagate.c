// SPDX-License-Identifier: Apache-2.0
//
// Constants and copies. A register with one unguarded definition that dominates every use behaves as in SSA
// form: where it is a copy of a constant, or of another such register, its uses name the original.
// Instructions whose operands became constants are folded on the way (fold.c). Blocks are walked in reverse
// post-order, so a definition is seen before its uses.

#include "internal.h"

// Confined: one pass.
struct propagation {
    struct tw_kir_function *function;
    struct kernel_flow flow;
    uint32_t *def_count, *def_block, *def_position; // by register
    bool *single;                                   // as in SSA form
    struct tw_kir_operand *value; // what to name instead; itself when nothing better is known
};

static void note_definitions(struct propagation *p) {
    struct tw_kir_function *function = p->function;
    for (uint32_t i = 0; i < function->param_count; i++) // formals are defined before the first instruction
        if (function->params[i].reg != TW_KIR_NO_REG)
            p->def_count[function->params[i].reg]++;
    for (uint32_t b = 0; b < function->block_count; b++)
        for (uint32_t i = 0; i < function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &function->blocks[b].insts[i];
            for (unsigned d = 0; d < inst->dst_count; d++) {
                if (inst->dst[d] == TW_KIR_NO_REG)
                    continue;
                p->def_count[inst->dst[d]] += inst->guard == TW_KIR_NO_REG ? 1 : 2;
                p->def_block[inst->dst[d]] = b;
                p->def_position[inst->dst[d]] = i + 1;
            }
        }
}

static void check_use(struct propagation *p, uint32_t reg, uint32_t block, uint32_t position) {
    if (p->def_block[reg] == block ? p->def_position[reg] > position
                                   : !kernel_dominates(&p->flow, p->def_block[reg], block))
        p->single[reg] = false;
}

static void find_single(struct propagation *p) {
    struct tw_kir_function *function = p->function;
    for (uint32_t r = 0; r < function->reg_count; r++)
        p->single[r] = p->def_count[r] == 1;
    for (uint32_t b = 0; b < function->block_count; b++)
        for (uint32_t i = 0; i < function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &function->blocks[b].insts[i];
            for (unsigned s = 0; s < inst->src_count; s++)
                if (!inst->src[s].is_imm)
                    check_use(p, inst->src[s].reg, b, i);
            if (inst->guard != TW_KIR_NO_REG)
                check_use(p, inst->guard, b, i);
        }
    for (uint32_t i = 0; i < function->result_count; i++)
        if (function->results[i].reg != TW_KIR_NO_REG)
            p->single[function->results[i].reg] = false;
}

// A guard that is known: always, or never. False: the instruction does nothing.
static bool settle_guard(struct propagation *p, struct tw_kir_inst *inst) {
    if (inst->guard == TW_KIR_NO_REG)
        return true;
    struct tw_kir_operand value = p->value[inst->guard];
    if (!value.is_imm) {
        inst->guard = value.reg;
        return true;
    }
    bool runs = (value.bits & 1) != inst->guard_not;
    inst->guard = TW_KIR_NO_REG;
    inst->guard_not = false;
    return runs;
}

static bool visit(struct propagation *p, struct tw_kir_inst *inst) {
    for (unsigned s = 0; s < inst->src_count; s++)
        if (!inst->src[s].is_imm)
            inst->src[s] = p->value[inst->src[s].reg];
    if (!settle_guard(p, inst))
        return false;
    kernel_fold(inst);
    if (inst->op == TW_KIR_MOV && inst->guard == TW_KIR_NO_REG && inst->dst[0] != TW_KIR_NO_REG &&
        p->single[inst->dst[0]] && (inst->src[0].is_imm || p->single[inst->src[0].reg]))
        p->value[inst->dst[0]] = inst->src[0];
    return true;
}

static void walk(struct propagation *p) {
    for (uint32_t r = 0; r < p->function->reg_count; r++)
        p->value[r] = tw_kir_reg_operand(r);
    for (uint32_t i = 0; i < p->flow.order_count; i++) {
        struct tw_kir_block *block = &p->function->blocks[p->flow.order[i]];
        uint32_t kept = 0;
        for (uint32_t k = 0; k < block->count; k++)
            if (visit(p, &block->insts[k]))
                block->insts[kept++] = block->insts[k];
        block->count = kept;
    }
}

bool kernel_propagate(struct tw_kir_function *function, struct tw_error *err) {
    struct propagation p = {.function = function};
    size_t regs = (size_t)function->reg_count + 1;
    if (!kernel_flow_init(&p.flow, function, err))
        return false;
    p.def_count = tw_alloc_zero(regs * 3, sizeof(uint32_t));
    p.single = tw_alloc_zero(regs, sizeof *p.single);
    p.value = tw_alloc_zero(regs, sizeof *p.value);
    bool good = p.def_count && p.single && p.value;
    if (good) {
        p.def_block = p.def_count + regs;
        p.def_position = p.def_block + regs;
        note_definitions(&p);
        find_single(&p);
        walk(&p);
    } else
        kernel_fail_memory(err);
    free(p.def_count);
    free(p.single);
    free(p.value);
    kernel_flow_done(&p.flow);
    return good;
}

// SPDX-License-Identifier: Apache-2.0
//
// Register webs: a register that is assigned for several unrelated purposes becomes several. A web holds the
// definitions that reach a common use. For each register with more than one definition: every block into
// which a value flows that some use needs is a node, so is every definition; a node of a block is united with
// what its predecessors leave (union-find); each class is a web. A guarded definition may keep the old value,
// so it belongs to the web of what it found.

#include "internal.h"

// One mention of a register, in the order of the code.
struct mention {
    uint32_t *slot;
    uint32_t block;
    uint32_t node; // of a definition: its number among the register's nodes
    enum { USE, DEFINITION, GUARDED } kind;
};

// Confined: one pass over a function.
struct webs {
    struct tw_kir_module *module;
    struct tw_kir_function *function;
    struct kernel_flow flow;
    uint32_t *def_count,
        *start; // by register; mentions of r: mentions[start[r]] … mentions[start[r + 1] - 1]
    struct mention *mentions;
    uint32_t *entry_node; // by block: node of what flows in, for the register at hand; NO_REG none
    uint32_t *exit_node;  // by block: its last definition, NO_REG none
    uint32_t *touched, touched_count; // blocks whose two entries above are set
    uint32_t *parent, node_count;     // union-find
    uint32_t *work, work_count;       // blocks whose predecessors are to be asked
    uint32_t *web;                    // by node that leads a class: its register
    struct tw_error *err;
};

static uint32_t find(struct webs *w, uint32_t node) {
    while (w->parent[node] != node)
        node = w->parent[node] = w->parent[w->parent[node]];
    return node;
}

static void unite(struct webs *w, uint32_t a, uint32_t b) {
    w->parent[find(w, a)] = find(w, b);
}

static uint32_t new_node(struct webs *w) {
    w->parent[w->node_count] = w->node_count;
    return w->node_count++;
}

static void touch(struct webs *w, uint32_t block) {
    if (w->entry_node[block] == TW_KIR_NO_REG && w->exit_node[block] == TW_KIR_NO_REG)
        w->touched[w->touched_count++] = block;
}

static uint32_t flows_in(struct webs *w, uint32_t block) {
    if (w->entry_node[block] == TW_KIR_NO_REG) {
        touch(w, block);
        w->entry_node[block] = new_node(w);
        w->work[w->work_count++] = block;
    }
    return w->entry_node[block];
}

// Nodes for definitions, and for blocks whose first mention is a use.
static void scan(struct webs *w, uint32_t reg) {
    for (uint32_t i = w->start[reg]; i < w->start[reg + 1]; i++)
        if (w->mentions[i].kind != USE) {
            w->mentions[i].node = new_node(w);
            touch(w, w->mentions[i].block);
            w->exit_node[w->mentions[i].block] = w->mentions[i].node;
        }
    uint32_t block = TW_KIR_NO_REG, here = TW_KIR_NO_REG;
    for (uint32_t i = w->start[reg]; i < w->start[reg + 1]; i++) {
        struct mention *m = &w->mentions[i];
        if (m->block != block) {
            block = m->block;
            here = TW_KIR_NO_REG;
        }
        if (m->kind != DEFINITION && here == TW_KIR_NO_REG)
            here = flows_in(w, block);
        if (m->kind == GUARDED)
            unite(w, m->node, here);
        if (m->kind == USE)
            m->node = here;
        else
            here = m->node;
    }
}

static void ask_predecessors(struct webs *w) {
    while (w->work_count) {
        uint32_t block = w->work[--w->work_count];
        for (uint32_t p = w->flow.pred_start[block]; p < w->flow.pred_start[block + 1]; p++) {
            uint32_t pred = w->flow.preds[p];
            uint32_t leaves = w->exit_node[pred] != TW_KIR_NO_REG ? w->exit_node[pred] : flows_in(w, pred);
            unite(w, w->entry_node[block], leaves);
        }
    }
}

static bool rename_webs(struct webs *w, uint32_t reg) {
    bool first = true;
    for (uint32_t i = 0; i < w->node_count; i++)
        w->web[i] = TW_KIR_NO_REG;
    for (uint32_t i = w->start[reg]; i < w->start[reg + 1]; i++) {
        uint32_t leader = find(w, w->mentions[i].node);
        if (w->web[leader] == TW_KIR_NO_REG && first) {
            w->web[leader] = reg;
            first = false;
        } else if (w->web[leader] == TW_KIR_NO_REG) {
            const struct tw_kir_reg old = w->function->regs[reg];
            char *name = tw_arena_printf(w->module->arena, "%s.%u", old.name, w->function->reg_count);
            if (!name)
                return kernel_fail_memory(w->err);
            w->web[leader] = tw_kir_reg_add(w->module, w->function, name, old.bits, w->err);
            if (w->web[leader] == TW_KIR_NO_REG)
                return false;
        }
        *w->mentions[i].slot = w->web[leader];
    }
    return true;
}

static bool split(struct webs *w, uint32_t reg) {
    w->node_count = w->touched_count = w->work_count = 0;
    scan(w, reg);
    ask_predecessors(w);
    bool good = rename_webs(w, reg);
    for (uint32_t i = 0; i < w->touched_count; i++)
        w->entry_node[w->touched[i]] = w->exit_node[w->touched[i]] = TW_KIR_NO_REG;
    return good;
}

typedef void visit(struct webs *w, uint32_t *slot, uint32_t block, unsigned kind);

static void each_mention(struct webs *w, visit *visit_slot) {
    for (uint32_t b = 0; b < w->function->block_count; b++)
        for (uint32_t i = 0; i < w->function->blocks[b].count; i++) {
            struct tw_kir_inst *inst = &w->function->blocks[b].insts[i];
            bool guarded = inst->guard != TW_KIR_NO_REG;
            for (unsigned s = 0; s < inst->src_count; s++)
                if (!inst->src[s].is_imm)
                    visit_slot(w, &inst->src[s].reg, b, USE);
            if (guarded)
                visit_slot(w, &inst->guard, b, USE);
            for (unsigned d = 0; d < inst->dst_count; d++)
                if (inst->dst[d] != TW_KIR_NO_REG)
                    visit_slot(w, &inst->dst[d], b, guarded ? GUARDED : DEFINITION);
        }
}

static void count_definition(struct webs *w, uint32_t *slot, [[maybe_unused]] uint32_t block, unsigned kind) {
    w->def_count[*slot] += kind != USE;
}

// Formals keep their registers: they are named outside the code too.
static bool splits(const struct webs *w, uint32_t reg) {
    return w->def_count[reg] > 1 && w->def_count[reg] != TW_KIR_NO_REG;
}

static void count_mention(struct webs *w, uint32_t *slot, [[maybe_unused]] uint32_t block,
                          [[maybe_unused]] unsigned kind) {
    if (splits(w, *slot))
        w->start[*slot + 2]++;
}

static void note_mention(struct webs *w, uint32_t *slot, uint32_t block, unsigned kind) {
    if (splits(w, *slot))
        w->mentions[w->start[*slot + 1]++] = (struct mention){.slot = slot, .block = block, .kind = kind};
}

static void pin_formals(struct webs *w, const struct tw_kir_param *params, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (params[i].reg != TW_KIR_NO_REG)
            w->def_count[params[i].reg] = TW_KIR_NO_REG;
}

static bool prepare(struct webs *w) {
    uint32_t regs = w->function->reg_count, blocks = w->function->block_count, most = 0;
    w->def_count = tw_alloc_zero(regs + 1, sizeof *w->def_count);
    w->start = tw_alloc_zero((size_t)regs + 3, sizeof *w->start);
    if (!w->def_count || !w->start)
        return kernel_fail_memory(w->err);
    each_mention(w, count_definition);
    pin_formals(w, w->function->params, w->function->param_count);
    pin_formals(w, w->function->results, w->function->result_count);
    each_mention(w, count_mention);
    for (uint32_t r = 0; r < regs; r++) {
        most = w->start[r + 2] > most ? w->start[r + 2] : most;
        w->start[r + 2] += w->start[r + 1];
    }
    size_t nodes = (size_t)most + blocks + 1;
    w->mentions = tw_alloc_zero((size_t)w->start[regs + 1] + 1, sizeof *w->mentions);
    w->entry_node = tw_alloc_zero((size_t)blocks * 4, sizeof(uint32_t));
    w->parent = tw_alloc_zero(nodes * 2, sizeof(uint32_t));
    if (!w->mentions || !w->entry_node || !w->parent)
        return kernel_fail_memory(w->err);
    w->exit_node = w->entry_node + blocks;
    w->touched = w->exit_node + blocks;
    w->work = w->touched + blocks;
    w->web = w->parent + nodes;
    memset(w->entry_node, 0xff, (size_t)blocks * 2 * sizeof(uint32_t));
    each_mention(w, note_mention);
    return true;
}

bool kernel_split_webs(struct tw_kir_module *module, struct tw_kir_function *function, struct tw_error *err) {
    struct webs w = {.module = module, .function = function, .err = err};
    if (!kernel_flow_init(&w.flow, function, err))
        return false;
    bool good = prepare(&w);
    uint32_t regs = function->reg_count; // those added on the way are whole already
    for (uint32_t r = 0; good && r < regs; r++)
        if (splits(&w, r))
            good = split(&w, r);
    free(w.def_count);
    free(w.start);
    free(w.mentions);
    free(w.entry_node);
    free(w.parent);
    kernel_flow_done(&w.flow);
    return good;
}

// SPDX-License-Identifier: Apache-2.0
//
// Which functions call themselves: the strongly connected components of the call graph, found by Tarjan's
// algorithm ("Depth-First Search and Linear Graph Algorithms", 1972).

#include "inline.h"

// Tarjan's strongly connected components of the call graph, without recursion. Confined.
struct components {
    const struct tw_kir_module *module;
    uint32_t *number, *low; // by function; 0: not met
    bool *open;             // on `stack`
    uint32_t *stack, stack_count;
    struct visit {
        uint32_t function, block, inst;
    } *path;
    uint32_t path_count, next;
};

static void enter(struct components *c, uint32_t function) {
    c->number[function] = c->low[function] = ++c->next;
    c->open[function] = true;
    c->stack[c->stack_count++] = function;
    c->path[c->path_count++] = (struct visit){.function = function};
}

// The next callee of the function on top of the path; false: there are no more.
static bool next_callee(struct components *c, uint32_t *ret_callee) {
    struct visit *v = &c->path[c->path_count - 1];
    const struct tw_kir_function *f = &c->module->functions[v->function];
    for (; v->block < f->block_count; v->block++, v->inst = 0)
        for (; v->inst < f->blocks[v->block].count; v->inst++)
            if (f->blocks[v->block].insts[v->inst].op == TW_KIR_CALL) {
                *ret_callee = f->blocks[v->block].insts[v->inst++].index;
                return true;
            }
    return false;
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

// The function on top of the path is done: it may be the root of a component.
static void finish(struct components *c, bool *recursive, bool *any) {
    uint32_t f = c->path[--c->path_count].function, member, size = 0;
    if (c->path_count) {
        uint32_t parent = c->path[c->path_count - 1].function;
        c->low[parent] = least(c->low[parent], c->low[f]);
    }
    if (c->low[f] != c->number[f])
        return;
    do {
        member = c->stack[--c->stack_count];
        c->open[member] = false;
        if (++size > 1 || member != f)
            recursive[member] = recursive[f] = *any = true;
    } while (member != f);
}

static void search(struct components *c, uint32_t function, bool *recursive, bool *any) {
    uint32_t callee;
    enter(c, function);
    while (c->path_count) {
        uint32_t top = c->path[c->path_count - 1].function;
        if (!next_callee(c, &callee))
            finish(c, recursive, any);
        else if (!c->number[callee])
            enter(c, callee);
        else if (c->open[callee]) {
            c->low[top] = least(c->low[top], c->number[callee]);
            if (callee == top)
                recursive[top] = *any = true;
        }
    }
}

bool kernel_find_recursion(const struct tw_kir_module *module, uint32_t function, bool *ret_recursive,
                           bool *ret_any, struct tw_error *err) {
    size_t n = (size_t)module->function_count + 1;
    struct components c = {.module = module,
                           .number = tw_alloc_zero(n, sizeof *c.number),
                           .low = tw_alloc_zero(n, sizeof *c.low),
                           .open = tw_alloc_zero(n, sizeof *c.open),
                           .stack = tw_alloc_zero(n, sizeof *c.stack),
                           .path = tw_alloc_zero(n, sizeof *c.path)};
    bool good = c.number && c.low && c.open && c.stack && c.path;
    *ret_any = false;
    if (good)
        search(&c, function, ret_recursive, ret_any);
    else
        kernel_fail_memory(err);
    free(c.number);
    free(c.low);
    free(c.open);
    free(c.stack);
    free(c.path);
    return good;
}

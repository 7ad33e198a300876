// SPDX-License-Identifier: Apache-2.0
//
// Places variables: module variables one after the other into an image that the device copies into the
// instance; shared ones into the block's window (static first, the extern arrays all at the same place after
// them); local ones into each thread's window.

#include "internal.h"

#include "kernel/limits.h"

static uint64_t place(uint64_t *end, const struct tw_kir_variable *v) {
    uint64_t align = v->align ? v->align : 1;
    uint64_t at = tw_align_up(*end, align);
    *end = at + v->size;
    return at;
}

// Shared and local variables that the kernel names. Module variables are all laid out, so that every kernel
// of a module agrees.
static bool find_used(const struct jit_code *code, bool **ret_used, struct tw_error *err) {
    bool *used = TW_ARENA_ARRAY(code->arena, bool, code->module->variable_count + 1);
    if (!used)
        return jit_no_memory(err);
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t i = 0; i < code->blocks[b].count; i++)
            if (code->blocks[b].insts[i].op == TW_KIR_ADDR)
                used[code->blocks[b].insts[i].index] = true;
    *ret_used = used;
    return true;
}

// The module's variables in one image, those of the constant space behind the others, so that addresses tell them apart.
static void place_module(struct jit_code *code) {
    struct jit_layout *l = &code->layout;
    l->globals_align = 16;
    for (unsigned constant = 0; constant < 2; constant++) {
        if (constant)
            l->constants = l->globals_bytes;
        for (uint32_t i = 0; i < code->module->variable_count; i++) {
            const struct tw_kir_variable *v = &code->module->variables[i];
            if (v->space != (constant ? TW_KIR_CONST : TW_KIR_GLOBAL))
                continue;
            l->globals_align = v->align > l->globals_align ? v->align : l->globals_align;
            l->offsets[i] = place(&l->globals_bytes, v);
        }
    }
}

static bool place_all(struct jit_code *code, struct tw_error *err) {
    struct jit_layout *l = &code->layout;
    uint64_t dynamic_align = 16;
    bool *used;
    if (!find_used(code, &used, err))
        return false;
    place_module(code);
    for (uint32_t i = 0; i < code->module->variable_count; i++) {
        const struct tw_kir_variable *v = &code->module->variables[i];
        if (v->space == TW_KIR_GLOBAL || v->space == TW_KIR_CONST || !used[i]) {
            continue;
        } else if (v->space == TW_KIR_SHARED && v->size) {
            l->offsets[i] = place(&l->static_shared, v);
        } else if (v->space == TW_KIR_SHARED) {
            dynamic_align = v->align > dynamic_align ? v->align : dynamic_align;
        } else if (v->space == TW_KIR_LOCAL) {
            l->offsets[i] = place(&l->local_bytes, v);
        }
    }
    if (l->globals_bytes > TW_KIR_MAX_VARIABLE_BYTES || l->static_shared > TW_KIR_MAX_SHARED_BYTES ||
        l->local_bytes > TW_KIR_MAX_LOCAL_BYTES)
        return tw_fail(err, TW_ERR_CUDA_QUOTA,
                       "variables take %" PRIu64 " global, %" PRIu64 " shared and %" PRIu64
                       " local bytes; the limits are %d, %d and %d",
                       l->globals_bytes, l->static_shared, l->local_bytes, TW_KIR_MAX_VARIABLE_BYTES,
                       TW_KIR_MAX_SHARED_BYTES, TW_KIR_MAX_LOCAL_BYTES);
    if (code->prints) // the arguments of a printf may end where the last thread's window does
        l->local_bytes += TW_KERNEL_PRINT_ARGS;
    l->local_bytes = tw_align_up(l->local_bytes, 16);
    l->dynamic_offset = tw_align_up(l->static_shared, dynamic_align);
    for (uint32_t i = 0; i < code->module->variable_count; i++)
        if (code->module->variables[i].space == TW_KIR_SHARED && !code->module->variables[i].size)
            l->offsets[i] = l->dynamic_offset;
    return true;
}

static bool fill_relocs(struct jit_code *code, const struct tw_kir_variable *v, uint64_t at,
                        struct tw_error *err) {
    struct jit_layout *l = &code->layout;
    for (uint32_t i = 0; i < v->reloc_count; i++) {
        const struct tw_kir_variable *to = &code->module->variables[v->relocs[i].variable];
        if ((to->space != TW_KIR_GLOBAL && to->space != TW_KIR_CONST) || v->relocs[i].at + 8 > v->size)
            return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX,
                           "the initial value of %.80s takes the address of %.80s, which is not a global or "
                           "constant variable",
                           v->name, to->name);
        uint64_t value = l->offsets[v->relocs[i].variable] + (uint64_t)v->relocs[i].addend;
        memcpy(l->image + at + v->relocs[i].at, &value, sizeof value);
        l->relocs[l->reloc_count++] = at + v->relocs[i].at;
    }
    return true;
}

bool jit_layout_build(struct jit_code *code, struct tw_error *err) {
    struct jit_layout *l = &code->layout;
    uint32_t n = code->module->variable_count;
    bool initialised = false;
    uint32_t relocs = 0;
    l->offsets = TW_ARENA_ARRAY(code->arena, uint64_t, n + 1);
    if (!l->offsets)
        return jit_no_memory(err);
    if (!place_all(code, err))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const struct tw_kir_variable *v = &code->module->variables[i];
        initialised |= v->init != NULL || v->reloc_count;
        relocs += v->reloc_count;
    }
    if (!initialised)
        return true;
    l->image = tw_arena_alloc(code->arena, l->globals_bytes + 8, 16);
    l->relocs = TW_ARENA_ARRAY(code->arena, uint64_t, relocs + 1);
    if (!l->image || !l->relocs)
        return jit_no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const struct tw_kir_variable *v = &code->module->variables[i];
        if (v->space != TW_KIR_GLOBAL && v->space != TW_KIR_CONST)
            continue;
        if (v->init)
            memcpy(l->image + l->offsets[i], v->init, v->size);
        if (!fill_relocs(code, v, l->offsets[i], err))
            return false;
    }
    return true;
}

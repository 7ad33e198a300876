// SPDX-License-Identifier: Apache-2.0
//
// Copying a function's body into another: what inlining and recursion share.
#pragma once

#include "internal.h"

// One function being freed of its calls. Confined.
struct kernel_inliner {
    struct tw_kir_module *module;
    uint32_t function;
    const bool *recursive; // by function: calls of these stay
    uint32_t *clones;      // by variable: its clone in this function, or NO_REG
    uint32_t clone_count;  // length of `clones`
    struct tw_error *err;
};

// A body to copy. Confined.
struct kernel_copy {
    struct tw_kir_inst call;       // index: the function; its results go to dst
    uint32_t reg_base, block_base; // where the callee's registers and blocks went
    uint32_t rest;                 // the block that its returns jump to
};

static inline struct tw_kir_function *kernel_inliner_function(const struct kernel_inliner *in) {
    return &in->module->functions[in->function];
}

// ---- copy.c ----
// Append to `block` a move and a jump, which stand where `call` or `from` stood in the text.
[[nodiscard]] bool kernel_copy_move(const struct kernel_inliner *in, uint32_t block, unsigned bits,
                                    uint32_t to, struct tw_kir_operand from, const struct tw_kir_inst *call);
[[nodiscard]] bool kernel_copy_branch(const struct kernel_inliner *in, uint32_t block, uint32_t target,
                                      const struct tw_kir_inst *from);
[[nodiscard]] bool kernel_copy_new_block(const struct kernel_inliner *in, const char *label,
                                         uint32_t *ret_block);
// Appends the registers, then the blocks, of copy->call.index; sets the bases.
[[nodiscard]] bool kernel_copy_body(struct kernel_inliner *in, struct kernel_copy *copy);
// Cuts `block` before insts[position]: what follows it goes to the new block *ret_rest, the instruction itself
// disappears.
[[nodiscard]] bool kernel_cut_block(const struct kernel_inliner *in, uint32_t block, uint32_t position,
                                    uint32_t *ret_rest);

// callgraph.c: marks the functions that call themselves, directly or through others, and that `function` reaches.
[[nodiscard]] bool kernel_find_recursion(const struct tw_kir_module *module, uint32_t function,
                                         bool *ret_recursive, bool *ret_any, struct tw_error *err);
// recursion.c: replaces the calls of recursive functions that are left, in a function that is free of others.
[[nodiscard]] bool kernel_lower_recursion(struct kernel_inliner *in);

// SPDX-License-Identifier: Apache-2.0
//
// The order of the passes. Webs come first, since a register with one purpose is what constants and copies
// can be followed through; blocks are cleaned before and after, since known branches leave blocks that
// nothing reaches. Products are fused with their sums when only what is needed is left. Loops with several entries get
// one at the very end, when none of that can undo it.

#include "internal.h"

bool tw_kir_simplify(struct tw_kir_module *module, struct tw_kir_function *function, struct tw_error *err) {
    enum { ROUNDS = 2 }; // a second one sees the constants that the first one's branches left
    if (function->is_declaration)
        return true;
    if (!kernel_clean_blocks(module, function, err) || !kernel_split_webs(module, function, err))
        return false;
    for (unsigned i = 0; i < ROUNDS; i++)
        if (!kernel_propagate(function, err) || !kernel_remove_dead(function, err) ||
            !kernel_clean_blocks(module, function, err))
            return false;
    if (!kernel_contract(module, function, err) || !kernel_remove_dead(function, err))
        return false;
    return tw_kir_mend_loops(module, function, err) && kernel_pack_registers(function, err);
}

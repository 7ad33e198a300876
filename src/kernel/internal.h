// SPDX-License-Identifier: Apache-2.0
//
// What the files of kernel/ share: the name tables of the printed form, and small helpers of the passes.
#pragma once

#include "kernel/kernel.h"
#include "kernel/limits.h"

// The names of an enum's values by number; NULL where the printed form shows nothing.
struct kernel_names {
    const char *const *items;
    size_t count;
};
extern const struct kernel_names kernel_spaces, kernel_rounds, kernel_cmps, kernel_combines, kernel_mods,
    kernel_orders, kernel_scopes, kernel_atoms, kernel_sregs;
struct kernel_names kernel_modes(uint8_t op); // names of inst->mode; empty when the op's modes are numbers
bool kernel_name_find(struct kernel_names names, struct tw_str text, uint8_t *ret_value);
bool kernel_type_find(struct tw_str text, uint8_t *ret_type);
bool kernel_op_find(struct tw_str text, uint8_t *ret_op);

unsigned kernel_op_dsts(uint8_t op); // the table's columns
unsigned kernel_op_srcs(uint8_t op);

// What the widths of an instruction's registers must be; 0: any.
unsigned kernel_dst_bits(const struct tw_kir_inst *inst, unsigned index);
unsigned kernel_src_bits(const struct tw_kir_inst *inst, unsigned index);

static inline bool kernel_is_terminator(const struct tw_kir_inst *inst) {
    return (tw_kir_op_flags(inst->op) & TW_KIR_TERM) != 0;
}

// True where src[0] is an address and inst->offset is added to it.
static inline bool kernel_has_address(uint8_t op) {
    return op == TW_KIR_LD || op == TW_KIR_ST || op == TW_KIR_ATOM || op == TW_KIR_LDMATRIX;
}
bool kernel_type_fits(uint8_t op, uint8_t type); // floats, integers or both, as the operation takes

// ---- flow.c: who follows whom. Confined; freed with kernel_flow_done. All blocks must be reachable but for
// `rank`. ----
struct kernel_flow {
    uint32_t block_count;
    uint32_t *order, order_count; // reachable blocks in reverse post-order, the entry first
    uint32_t *rank;               // by block: its place in `order`, or NO_REG when it cannot be reached
    uint32_t *pred_start, *preds; // predecessors of b: preds[pred_start[b]] … preds[pred_start[b + 1] - 1]
    uint32_t *idom;               // immediate dominator; the entry's is itself
    uint32_t *enter, *leave; // numbering of the dominator tree: a dominates b when b's interval lies in a's
    uint32_t *memory;
};
[[nodiscard]] bool kernel_flow_init(struct kernel_flow *flow, const struct tw_kir_function *function,
                                    struct tw_error *err);
void kernel_flow_done(struct kernel_flow *flow);
static inline bool kernel_dominates(const struct kernel_flow *flow, uint32_t a, uint32_t b) {
    return flow->enter[a] <= flow->enter[b] && flow->leave[b] <= flow->leave[a];
}
bool kernel_fail_memory(struct tw_error *err);

// ---- passes of tw_kir_simplify; each leaves verified IR ----
[[nodiscard]] bool kernel_clean_blocks(struct tw_kir_module *module, struct tw_kir_function *function,
                                       struct tw_error *err); // clean.c
[[nodiscard]] bool kernel_split_webs(struct tw_kir_module *module, struct tw_kir_function *function,
                                     struct tw_error *err);                                  // webs.c
[[nodiscard]] bool kernel_propagate(struct tw_kir_function *function, struct tw_error *err); // propagate.c
[[nodiscard]] bool kernel_contract(struct tw_kir_module *module, struct tw_kir_function *function,
                                   struct tw_error *err);                                      // contract.c
[[nodiscard]] bool kernel_remove_dead(struct tw_kir_function *function, struct tw_error *err); // dead.c
[[nodiscard]] bool kernel_pack_registers(struct tw_kir_function *function, struct tw_error *err); // dead.c
bool kernel_fold(struct tw_kir_inst *inst); // fold.c: true when the instruction became simpler

// SPDX-License-Identifier: Apache-2.0
//
// Integers, predicates, moves, packs: see lower.h.

#include "lower.h"

static uint8_t as_unsigned(uint8_t type) {
    switch (tw_kir_type_bits(type)) {
    case 1:
        return TW_KIR_PRED;
    case 8:
        return TW_KIR_U8;
    case 16:
        return TW_KIR_U16;
    case 32:
        return TW_KIR_U32;
    case 64:
        return TW_KIR_U64;
    default:
        return TW_KIR_B128;
    }
}

bool jit_lower_int(struct jit_lower *l, const struct tw_kir_inst *inst) {
    unsigned bits = tw_kir_type_bits(inst->type);
    struct tw_interp_key key = {.op = inst->op, .type = as_unsigned(inst->type)};
    if (inst->op == TW_KIR_MOV)
        return jit_lower_alu(
            l, key, 0, (uint32_t[]){jit_lower_dest(l, inst, 0), jit_lower_source(l, &inst->src[0], bits)}, 2);
    if (inst->op == TW_KIR_ADD && inst->mods == 0)
        return jit_lower_alu(l, key, 0,
                             (uint32_t[]){jit_lower_dest(l, inst, 0),
                                          jit_lower_source(l, &inst->src[0], bits),
                                          jit_lower_source(l, &inst->src[1], bits)},
                             3);
    return false;
}

// SPDX-License-Identifier: Apache-2.0
//
// Products of matrices, dense ones, and what brings their operands into the lanes: see lower.h.

#include "lower.h"

static bool lower_product(struct jit_lower *l, const struct tw_kir_inst *inst) {
    struct tw_kir_matrix m;
    uint32_t rows[1 + TW_INTERP_OPERANDS_MAX], count = 0;
    bool directed = inst->round == TW_KIR_RZ || inst->round == TW_KIR_RM || inst->round == TW_KIR_RP;
    if (!tw_kir_matrix_of(inst, &m) || m.e || (directed && inst->type == TW_KIR_F64) ||
        inst->dst_count + inst->src_count > TW_INTERP_OPERANDS_MAX)
        return false;
    rows[count++] = inst->dst_count + inst->src_count;
    for (unsigned d = 0; d < inst->dst_count; d++)
        rows[count++] = jit_lower_dest(l, inst, d);
    for (unsigned s = 0; s < inst->src_count; s++)
        rows[count++] = jit_lower_source(l, &inst->src[s], s < m.a + m.b ? m.in_bits : m.c_bits);
    jit_lower_emit(l, m.c_bits == 64 ? TW_INTERP_MMA_64 : TW_INTERP_MMA_32,
                   tw_interp_product(inst->mode, inst->type, inst->type2, inst->mods), rows, count);
    return true;
}

static bool lower_load(struct jit_lower *l, const struct tw_kir_inst *inst) {
    uint32_t rows[2 + 4] = {jit_lower_source(l, &inst->src[0], 64), inst->dst_count};
    if (inst->dst_count > 4)
        return false;
    for (unsigned d = 0; d < inst->dst_count; d++)
        rows[2 + d] = jit_lower_dest(l, inst, d);
    jit_lower_emit(l, inst->mods & TW_KIR_TRANS ? TW_INTERP_LDMATRIX_TRANS : TW_INTERP_LDMATRIX,
                   (uint64_t)inst->offset, rows, 2 + inst->dst_count);
    return true;
}

bool jit_lower_matrix(struct jit_lower *l, const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_MMA)
        return lower_product(l, inst);
    if (inst->op == TW_KIR_LDMATRIX)
        return lower_load(l, inst);
    jit_lower_emit(l, TW_INTERP_MOVMATRIX, 0,
                   (uint32_t[]){jit_lower_dest(l, inst, 0), jit_lower_source(l, &inst->src[0], 32)}, 2);
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// Which matrix products there are, and the fragments that the lanes of a warp hold of them: the layouts of
// mma.sync in the PTX manual, which follow one rule (kernel.h states it).

#include "internal.h"

static const struct {
    uint8_t m, n;
    uint16_t k;
} shapes[TW_KIR_MMA_COUNT] = {
    [TW_KIR_M8N8K4] = {8, 8, 4},       [TW_KIR_M8N8K16] = {8, 8, 16},     [TW_KIR_M8N8K32] = {8, 8, 32},
    [TW_KIR_M8N8K128] = {8, 8, 128},   [TW_KIR_M16N8K4] = {16, 8, 4},     [TW_KIR_M16N8K8] = {16, 8, 8},
    [TW_KIR_M16N8K16] = {16, 8, 16},   [TW_KIR_M16N8K32] = {16, 8, 32},   [TW_KIR_M16N8K64] = {16, 8, 64},
    [TW_KIR_M16N8K128] = {16, 8, 128}, [TW_KIR_M16N8K256] = {16, 8, 256},
};

#define SHAPE(name) (1u << TW_KIR_##name)

// By the type of the elements: the shapes, those of sparse products, and what they may be added up in.
static const struct {
    uint8_t in, sums[2];
    uint16_t shapes, sparse;
    uint8_t chunk; // columns that share four bits of indices
} products[] = {
    {TW_KIR_F16,
     {TW_KIR_F32, TW_KIR_F16},
     SHAPE(M16N8K8) | SHAPE(M16N8K16),
     SHAPE(M16N8K16) | SHAPE(M16N8K32),
     4},
    {TW_KIR_BF16,
     {TW_KIR_F32, TW_KIR_F32},
     SHAPE(M16N8K8) | SHAPE(M16N8K16),
     SHAPE(M16N8K16) | SHAPE(M16N8K32),
     4},
    {TW_KIR_TF32,
     {TW_KIR_F32, TW_KIR_F32},
     SHAPE(M16N8K4) | SHAPE(M16N8K8),
     SHAPE(M16N8K8) | SHAPE(M16N8K16),
     2},
    {TW_KIR_F64, {TW_KIR_F64, TW_KIR_F64}, SHAPE(M8N8K4), 0, 0},
    {TW_KIR_S8,
     {TW_KIR_S32, TW_KIR_S32},
     SHAPE(M8N8K16) | SHAPE(M16N8K16) | SHAPE(M16N8K32),
     SHAPE(M16N8K32) | SHAPE(M16N8K64),
     4},
    {TW_KIR_U8,
     {TW_KIR_S32, TW_KIR_S32},
     SHAPE(M8N8K16) | SHAPE(M16N8K16) | SHAPE(M16N8K32),
     SHAPE(M16N8K32) | SHAPE(M16N8K64),
     4},
    {TW_KIR_S4,
     {TW_KIR_S32, TW_KIR_S32},
     SHAPE(M8N8K32) | SHAPE(M16N8K32) | SHAPE(M16N8K64),
     SHAPE(M16N8K64) | SHAPE(M16N8K128),
     8},
    {TW_KIR_U4,
     {TW_KIR_S32, TW_KIR_S32},
     SHAPE(M8N8K32) | SHAPE(M16N8K32) | SHAPE(M16N8K64),
     SHAPE(M16N8K64) | SHAPE(M16N8K128),
     8},
    {TW_KIR_B1, {TW_KIR_S32, TW_KIR_S32}, SHAPE(M8N8K128) | SHAPE(M16N8K128) | SHAPE(M16N8K256), 0, 0},
};

bool tw_kir_matrix_of(const struct tw_kir_inst *inst, struct tw_kir_matrix *ret_matrix) {
    bool sparse = (inst->mods & TW_KIR_SPARSE) != 0;
    for (size_t i = 0; i < TW_COUNT(products); i++) {
        uint16_t possible = sparse ? products[i].sparse : products[i].shapes;
        if (products[i].in != inst->type2 || inst->mode >= TW_KIR_MMA_COUNT ||
            !(possible >> inst->mode & 1) ||
            (products[i].sums[0] != inst->type && products[i].sums[1] != inst->type))
            continue;
        struct tw_kir_matrix m = {
            .m = shapes[inst->mode].m, .n = shapes[inst->mode].n, .k = shapes[inst->mode].k};
        bool wide = inst->type2 == TW_KIR_F64;
        m.in_bits = m.c_bits = wide ? 64 : 32;
        m.elements = m.in_bits / tw_kir_type_bits(inst->type2);
        m.a = m.m * m.k / (32 * m.elements);
        m.b = m.n * m.k / (32 * m.elements);
        m.c = m.m * m.n / (inst->type == TW_KIR_F16 ? 64 : 32);
        if (sparse) {
            m.a /= 2;
            m.e = 1;
            m.chunk = products[i].chunk;
            m.index_lanes = m.k / m.chunk / 4;
        }
        *ret_matrix = m;
        return true;
    }
    return false;
}

// SPDX-License-Identifier: Apache-2.0
//
// Which operations there are: keys and operands of the element-wise ones, from their tables.

#include "internal.h"

#include <pthread.h>

// Letters of element types.
#define SIZE_pred "p"
#define SIZE_u8   "b"
#define SIZE_s8   "b"
#define SIZE_u16  "h"
#define SIZE_s16  "h"
#define SIZE_u32  "w"
#define SIZE_s32  "w"
#define SIZE_f32  "w"
#define SIZE_u64  "q"
#define SIZE_s64  "q"
#define SIZE_f64  "q"
#define SIZE_u128 "o"

#define PLAIN    .mods = 0
#define HOW(...) __VA_ARGS__
#define KEY(operation, first, second, ...)                                                                   \
    {.op = TW_KIR_##operation, .type = TW_KIR_##first, .type2 = TW_KIR_##second, __VA_ARGS__}
#define ALU1(op, type, type2, how, D, A, expr)    {KEY(op, type, type2, how), SIZE_##D SIZE_##A},
#define ALU2(op, type, type2, how, D, A, B, expr) {KEY(op, type, type2, how), SIZE_##D SIZE_##A SIZE_##B},
#define ALU3(op, type, type2, how, D, A, B, C, expr)                                                         \
    {KEY(op, type, type2, how), SIZE_##D SIZE_##A SIZE_##B SIZE_##C},
#define ALU4(op, type, type2, how, D, A, B, C, E, expr)                                                      \
    {KEY(op, type, type2, how), SIZE_##D SIZE_##A SIZE_##B SIZE_##C SIZE_##E},
#define ROW1 ALU1
#define ROW2 ALU2
#define ROW3 ALU3

static const struct interp_alu ints[] = {
#include "interp/alu_int.def"
};
static const struct interp_alu floats[] = {
#include "interp/alu_float.def"
};
static const struct interp_alu conversions[] = {
#include "interp/alu_convert.def"
};

const struct interp_alu_table interp_alu_tables[INTERP_ALU_TABLES] = {
    [INTERP_ALU_INT] = {ints, TW_COUNT(ints)},
    [INTERP_ALU_FLOAT] = {floats, TW_COUNT(floats)},
    [INTERP_ALU_CONVERT] = {conversions, TW_COUNT(conversions)},
};

static const char *const special_operands[] = {
#define INTERP_OP(op, name, sizes, flags) sizes,
#include "interp/ops.def"
#undef INTERP_OP
};

const char *tw_interp_operands(uint16_t op) {
    if (op < TW_INTERP_ALU)
        return special_operands[op];
    uint32_t at = op - TW_INTERP_ALU;
    for (unsigned t = 0; t < INTERP_ALU_TABLES; at -= interp_alu_tables[t++].count)
        if (at < interp_alu_tables[t].count)
            return interp_alu_tables[t].rows[at].operands;
    return NULL;
}

// Element-wise operations that have one kernel IR operation, one after the other. Frozen once made.
enum { ALU_MAX = 4'096 };
static struct {
    uint16_t first[TW_KIR_OP_COUNT], next[ALU_MAX]; // numbers from TW_INTERP_ALU on; 0 ends
    const struct interp_alu *rows[ALU_MAX];
} chains;

static void make_chains(void) {
    uint16_t at = 0;
    for (unsigned t = 0; t < INTERP_ALU_TABLES; t++)
        for (uint32_t i = 0; i < interp_alu_tables[t].count && at < ALU_MAX; i++, at++) {
            const struct interp_alu *row = &interp_alu_tables[t].rows[i];
            chains.rows[at] = row;
            chains.next[at] = chains.first[row->key.op];
            chains.first[row->key.op] = (uint16_t)(TW_INTERP_ALU + at);
        }
}

uint16_t tw_interp_find(const struct tw_interp_key *key) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_chains);
    for (uint16_t op = key->op < TW_KIR_OP_COUNT ? chains.first[key->op] : 0; op;
         op = chains.next[op - TW_INTERP_ALU])
        if (memcmp(&chains.rows[op - TW_INTERP_ALU]->key, key, sizeof *key) == 0)
            return op;
    return 0;
}

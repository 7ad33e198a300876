// SPDX-License-Identifier: Apache-2.0
//
// Private to interp/: a program that has been checked, and a warp that runs it.
//
// A *step* is an instruction ready to run: its handler, its operands. A handler does its work on all 32 lanes and returns
// the step to go on with; NULL when the warp has ended, waits at a barrier, or has failed:
//
//     while (step) step = step->run(warp, step);
//
// Handlers are compiled once a level of the processor (level/, CMakeLists.txt): the table of the best one is taken.
#pragma once

#include "interp/interp.h"

struct interp_warp;
struct interp_step;
typedef const struct interp_step *interp_handler(struct interp_warp *warp, const struct interp_step *step);

struct interp_step {
    interp_handler *run;
    const uint32_t *operands;
    uint64_t imm;
};

// Frozen.
struct tw_interp_program {
    struct interp_step *steps;
    uint32_t *operands, *blocks; // blocks: first steps
    struct tw_interp_constant *constants;
    struct tw_interp_zero *zeros;
    uint32_t constant_count, zero_count, reg_bytes, local_bytes;
    bool barriers;
};

// What a warp gets when it goes on behind a bar.red.
enum interp_reduce { INTERP_REDUCE_NOTHING, INTERP_REDUCE_AND, INTERP_REDUCE_OR, INTERP_REDUCE_POPC };
struct interp_reduction {
    enum interp_reduce what;
    uint32_t row; // of words for POPC, else of predicates
};

// What a handler sees of the warp that it runs for. Confined.
struct interp_warp {
    uint8_t *regs;         // its rows
    uint32_t mask, active; // lanes that are here; those of them that pass the guard
    uint32_t linear;       // number in the block of lane 0's thread
    uint32_t index, count; // of the warp in its block; warps of the block
    uint32_t ctaid[3];
    uint64_t local_limit; // bytes of the block's local window
    struct tw_kernel_frame *frame;
    const struct tw_interp_program *program;
    bool stored;     // the block has written something that outlives it: memory, or what it prints
    uint32_t status; // enum tw_kernel_status
    uint32_t behind; // block to go on with; INTERP_ENDED
    struct interp_reduction reduction; // to be written there
    uint32_t true_count,
        reduced_count; // threads that have come to a bar.red in this round: whose predicate holds, all
    uint32_t waiting_count;
    struct interp_waiting { // lanes that are elsewhere, the lowest place last
        uint32_t place, block, mask;
    } waiting[TW_INTERP_LANES];
};
enum { INTERP_ENDED = 0xffffffff };

static inline const struct interp_step *interp_block(const struct interp_warp *warp, uint32_t block) {
    return &warp->program->steps[warp->program->blocks[block]];
}
// The row of operand `index`.
static inline void *interp_row(const struct interp_warp *warp, const struct interp_step *step,
                               unsigned index) {
    return __builtin_assume_aligned(warp->regs + step->operands[index], TW_INTERP_ROW_ALIGN);
}
// Lanes where a predicate holds: the upper bits of eight bytes at once, which the product brings side by side.
static inline uint32_t interp_lanes(const uint8_t *row) {
    uint32_t lanes = 0;
    for (unsigned i = 0; i < TW_INTERP_LANES; i += 8) {
        uint64_t bytes;
        memcpy(&bytes, row + i, sizeof bytes);
        lanes |= (uint32_t)((bytes >> 7 & 0x0101010101010101) * 0x0102040810204080 >> 56) << i;
    }
    return lanes;
}

// What a product's number says, as kernel IR.
static inline struct tw_kir_inst interp_product(uint64_t imm) {
    return (struct tw_kir_inst){.op = TW_KIR_MMA,
                                .mode = (uint8_t)imm,
                                .type = (uint8_t)(imm >> 8),
                                .type2 = (uint8_t)(imm >> 16),
                                .mods = (uint32_t)(imm >> 32)};
}

// ---- tables ----
// One table of element-wise operations, frozen.
struct interp_alu {
    struct tw_interp_key key;
    const char *operands;
};
struct interp_alu_table {
    const struct interp_alu *rows;
    uint32_t count;
};
enum { INTERP_ALU_INT, INTERP_ALU_FLOAT, INTERP_ALU_CONVERT, INTERP_ALU_TABLES };
extern const struct interp_alu_table interp_alu_tables[INTERP_ALU_TABLES];

// The handlers of one level.
struct interp_level {
    interp_handler *const *special;                // by enum tw_interp_op
    interp_handler *const *alu[INTERP_ALU_TABLES]; // in the tables' order
};
extern const struct interp_level interp_level_v3, interp_level_v4;

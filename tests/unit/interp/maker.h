// SPDX-License-Identifier: Apache-2.0
//
// Programs by hand, for the tests of interp/: rows, constants, instructions, blocks.
//
//     struct maker m; maker_init(&m);
//     uint32_t lane = maker_lanes(&m);                        // 0 … 31
//     maker_block(&m); MAKE(&m, TW_INTERP_END, 0);
//     struct tw_interp_program *program = maker_load(&m);
//
// Anything that fails ends the test.
#pragma once

#include "interp/interp.h"

enum { MAKER_MAX = 4'096, MAKER_ROW = 512 }; // entries of a list; every row gets room for the widest elements

// Confined. The parts are what tw_interp_load reads, one behind the other.
struct maker {
    uint32_t flags, reg_bytes;
    uint32_t inst_count, constant_count, zero_count, operand_count, block_count;
    struct tw_interp_inst insts[MAKER_MAX];
    struct tw_interp_constant constants[MAKER_MAX];
    struct tw_interp_zero zeros[MAKER_MAX];
    uint32_t operands[4 * MAKER_MAX], blocks[MAKER_MAX];
    struct tw_kernel_info info; // as for a program; spill_bytes is set when it is loaded
};

void maker_init(struct maker *m);
uint32_t maker_row(struct maker *m);
uint32_t maker_constant(struct maker *m, uint64_t bits, unsigned element_bytes);
// Rows that differ by lane, made of constants that lie over one another.
uint32_t maker_bit(struct maker *m, unsigned bit); // a predicate: bit 0, 1 or 2 of the lane's number
uint32_t maker_upper(struct maker *m);             // 32 bits: -1 in lanes 16 … 31, 0 in the others
// The block that instructions are added to from now on.
uint32_t maker_block(struct maker *m);
#define MAKE(m, op, imm, ...)                                                                                \
    maker_inst(m, op, imm, (const uint32_t[]){0 __VA_OPT__(, ) __VA_ARGS__},                                 \
               sizeof((const uint32_t[]){0 __VA_OPT__(, ) __VA_ARGS__}) / sizeof(uint32_t))
// operands[0] is not one.
void maker_inst(struct maker *m, uint16_t op, uint64_t imm, const uint32_t *operands, size_t count);
// Element-wise operations of 32 bits.
void maker_move(struct maker *m, uint32_t to, uint32_t from);
void maker_add(struct maker *m, uint32_t to, uint32_t a, uint32_t b);
void maker_select(struct maker *m, uint32_t to, uint32_t a, uint32_t b, uint32_t where);
void maker_less(struct maker *m, uint32_t to, uint32_t a, uint32_t b); // a predicate; signed
// 0 … 31; instructions of the block that is being made.
uint32_t maker_lanes(struct maker *m);

struct tw_span maker_bytes(const struct maker *m); // free() them
struct tw_interp_program *maker_load(struct maker *m);

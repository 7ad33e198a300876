// SPDX-License-Identifier: Apache-2.0
//
// Private to jit/: kernel IR to a program for interp/. lower.c goes through the blocks; a file a topic (lower_int.c, …)
// says what becomes of an instruction. Nothing here knows LLVM.
//
// Every register has a row; those that live within one block share rows with others. A source is a register's row or that of
// a constant. Results are written to the rows that jit_lower_dest gives: where other lanes' values must survive that is a row of
// its own, of which lower.c moves the lanes that take part when the instruction is done. So operations that look at no
// memory and no other lane work on all 32 lanes, whatever the mask.
#pragma once

#include "internal.h"
#include "interp/interp.h"

// Confined to one compilation.
struct jit_lower {
    const struct jit_code *code;
    struct tw_buf insts, constants, zeros, operands, blocks; // arrays of what interp.h has
    uint32_t *rows;                                          // by register; JIT_NONE: none yet
    uint32_t *homes;        // by register: the block that it lives in (home.c)
    uint32_t *last_use;     // by register: its last instruction there
    uint32_t *free_rows[6]; // by log2 of the elements' bytes, and 5 for predicates: rows of nobody
    uint32_t free_counts[6], free_capacity;
    uint32_t temps[64], temp_classes[64], temp_count; // of the instruction
    uint32_t dests[TW_INTERP_OPERANDS_MAX];
    uint32_t reg_bytes;
    struct jit_nodes nodes; // where lanes wait
    bool full;              // out of memory or beyond a limit
    char *why;              // of struct jit_lowered
};

// The row of a source, whose elements have `bits` bits.
uint32_t jit_lower_source(struct jit_lower *l, const struct tw_kir_operand *operand, unsigned bits);
uint32_t jit_lower_constant(struct jit_lower *l, uint64_t value, unsigned bits);
// The row to write result `index` of the instruction to (one that nobody reads where PTX has `_`).
uint32_t jit_lower_dest(struct jit_lower *l, const struct tw_kir_inst *inst, unsigned index);
// A row for the rest of the instruction.
uint32_t jit_lower_temp(struct jit_lower *l, unsigned bits);
void jit_lower_emit(struct jit_lower *l, uint16_t op, uint64_t imm, const uint32_t *operands, unsigned count);
// The element-wise operation of that key, of rows (the result's first). False: there is none.
[[nodiscard]] bool jit_lower_alu(struct jit_lower *l, struct tw_interp_key key, uint64_t imm,
                                 const uint32_t *rows, unsigned count);

// What becomes of one instruction, whose guard is dealt with already. False: programs cannot say it.
[[nodiscard]] bool jit_lower_int(struct jit_lower *l,
                                 const struct tw_kir_inst *inst); // and predicates, moves, packs
// The rest of a setp whose comparison is in row `p`, a temporary: what it is combined with, and the second result.
[[nodiscard]] bool jit_lower_combined(struct jit_lower *l, const struct tw_kir_inst *inst, uint32_t p);
[[nodiscard]] bool jit_lower_float(struct jit_lower *l, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_lower_convert(struct jit_lower *l, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_lower_memory(struct jit_lower *l,
                                    const struct tw_kir_inst *inst); // addresses and special registers too
[[nodiscard]] bool jit_lower_warp(struct jit_lower *l, const struct tw_kir_inst *inst);
[[nodiscard]] bool jit_lower_matrix(struct jit_lower *l, const struct tw_kir_inst *inst);

struct jit_lowered {
    bool can;           // false: it has something that programs cannot say, and needs no program then
    uint32_t reg_bytes; // a warp's rows
    char why[160];      // what it cannot say: "line 12: programs cannot say mma.f32"
};
// The program of an analysed kernel (`exact`: nothing guessed) of 32 lanes.
[[nodiscard]] bool jit_lower(const struct jit_code *code, struct tw_buf *out, struct jit_lowered *ret_lowered,
                             struct tw_error *err);

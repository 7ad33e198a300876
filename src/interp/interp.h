// SPDX-License-Identifier: Apache-2.0
//
// Kernels that run without machine code of their own: the first launches of a kernel, while it is being compiled. The
// compiler process lowers kernel IR to a *program* (jit/lower.c), a list of instructions over rows; this room checks a
// program and runs it. A *row* holds one register of a warp: the values of 32 lanes side by side. An instruction works on
// whole rows, so that what it costs to find the next one is shared by 32 lanes.
//
//     struct tw_interp_program *program;
//     if (tw_interp_load(artifact.object, &artifact.info, &program, &err)) …
//     frame.program = program;
//     status = tw_interp_run(&frame, first_block, block_count);   // a tw_kernel_entry
//
// Control flow: lanes of a warp run block by block in the compiler's order. Where a branch parts them, those that have
// come to the earliest *place* go on, the others wait at theirs; a jump back to the head of a loop has its place at the
// loop's end, so that lanes meet again there (the same order as compiled code keeps).
#pragma once

#include "kernel/kernel.h"

enum {
    TW_INTERP_LANES = 32,
    TW_INTERP_ROW_ALIGN = 64,    // rows begin at multiples of it
    TW_INTERP_OPERANDS_MAX = 24, // of an instruction
    TW_INTERP_ELEMENTS_MAX = 4,  // of an access to memory
    TW_INTERP_INSTS_MAX = 100'000,
    TW_INTERP_BLOCKS_MAX = 8'192,
    TW_INTERP_REG_BYTES_MAX = 1 << 20, // a warp's rows
};

// ---- operations ----
// First those that need more than the values of their sources (ops.def), from TW_INTERP_ALU on the rows of the tables of
// element-wise ones (alu_*.def), one after the other.
enum tw_interp_op {
#define INTERP_OP(op, name, sizes, flags) TW_INTERP_##op,
#include "interp/ops.def"
#undef INTERP_OP
    TW_INTERP_ALU
};

// Which element-wise operation: what the kernel IR says, with everything that makes no difference taken out
// (jit/lower.c does that). Compared as a whole.
struct tw_interp_key {
    uint8_t op;          // enum tw_kir_op
    uint8_t type, type2; // enum tw_kir_type
    uint8_t round;       // enum tw_kir_round; ROUND_DEFAULT for RN
    uint8_t cmp;         // enum tw_kir_cmp
    uint8_t mode;        // by op
    uint16_t unused;     // 0
    uint32_t mods;       // enum tw_kir_mod
};
// The operation's number, or 0 (which is none of them): there is none, and the kernel has to be compiled.
uint16_t tw_interp_find(const struct tw_interp_key *key);

// The number of a product of matrices: which shape (enum tw_kir_mma), of which types, how (enum tw_kir_mod).
static inline uint64_t tw_interp_product(uint8_t shape, uint8_t type, uint8_t type2, uint32_t mods) {
    return (uint64_t)mods << 32 | (uint32_t)type2 << 16 | (uint32_t)type << 8 | shape;
}

// What each operand is, a letter each: sizes of a row's elements in bytes, p a predicate (1 byte: 0 or 255), b 1, h 2, w 4,
// q 8, o 16; and for numbers that are no rows: B a block, # any. The results come first.
const char *tw_interp_operands(uint16_t op);
// Bytes of a row whose elements have so many bits (1: a predicate).
static inline uint32_t tw_interp_row_bytes(unsigned bits) {
    return TW_INTERP_LANES * (bits < 8 ? 1 : bits / 8);
}

// How an atomic operation goes: enum tw_kir_atom, enum tw_kir_type << 8, and bits.
enum {
    TW_INTERP_ATOM_TYPE_SHIFT = 8,
    TW_INTERP_ATOM_PLAIN = 1 << 16, // no other thread can see the memory
    TW_INTERP_ATOM_RED = 1 << 17    // nobody looks at what was there
};

// ---- programs ----
// In this order, each part behind the other without gaps: header, instructions, constants, zeros, operands, blocks.
enum { TW_INTERP_MAGIC = 0x49574e01 };
enum { TW_INTERP_BARRIERS = 1 }; // flags
struct tw_interp_header {
    uint32_t magic, flags;
    uint32_t inst_count, constant_count, zero_count, operand_count, block_count;
    uint32_t reg_bytes; // a warp's rows
};
struct tw_interp_inst {
    uint16_t op, operand_count;
    uint32_t operands; // index of the first one
    uint64_t imm;      // by op
};
// A row whose elements all have these bits, from before a warp begins; nothing writes it.
struct tw_interp_constant {
    uint64_t bits;
    uint32_t row, element_bytes; // 16: the upper half is zero
};
// A row that a warp may read before it has written it: it begins as zero.
struct tw_interp_zero {
    uint32_t row, bytes;
};
// Operands are uint32_t: offsets of rows in a warp's part of frame->spill, or numbers. Blocks are uint32_t: each one's first
// instruction; the last one of each block, and no other, is a terminator (ops.def).

struct tw_interp_program;
// Checks everything: whatever the bytes are, what is accepted touches its rows, its frame and the arena only. The
// program is a copy. INTERNAL when it is none of ours.
[[nodiscard]] bool tw_interp_load(struct tw_span bytes, const struct tw_kernel_info *info,
                                  struct tw_interp_program **ret_program, struct tw_error *err);
void tw_interp_program_done(struct tw_interp_program *program); // NULL: nothing to do
// The same bytes as text, an instruction a line (print.c). INTERNAL as tw_interp_load; CAPACITY: `out` is full.
[[nodiscard]] bool tw_interp_print(struct tw_span bytes, const struct tw_kernel_info *info,
                                   struct tw_buf *out, struct tw_error *err);

// A tw_kernel_entry for frame->program. It takes no locks and allocates nothing, may fault at addresses of the arena,
// and may be left by siglongjmp at any instruction. Needs info->spill_bytes a warp in frame->spill. When frame->better is
// raised it returns TW_KERNEL_AGAIN: behind a block, or in a loop of one that has not stored anything yet.
uint32_t tw_interp_run(struct tw_kernel_frame *frame, uint64_t first_block, uint64_t block_count);

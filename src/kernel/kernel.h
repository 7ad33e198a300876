// SPDX-License-Identifier: Apache-2.0
//
// The one kernel IR. Front ends (ptx/, offload/) make it, back ends (jit/, ptx/) read it; in between run
// small passes.
//
// A function is a list of basic blocks over *registers* that may be assigned many times (PTX and Wasm locals
// are like that; it is not SSA). A register is bits of one width; the instruction says how they are read
// (inst->type). Any instruction but a terminator may carry a guard predicate: where it is false the
// instruction does nothing and its results keep their old values. block[0] is the entry. Addresses of all
// state spaces are one 64-bit number, the *arena offset* (see struct tw_kernel_frame), so address-space
// conversions are moves.
//
//     struct tw_arena arena; struct tw_kir_module *m; struct tw_error err = {};
//     if (tw_ptx_parse(&arena, text, &m, &err) && tw_kir_verify(m, &err) && tw_kir_inline(&arena, m, f, &err)) …
//
// Everything of a module lives in the arena it was built in. Confined to one thread.
#pragma once

#include "base/base.h"
#include "kernel/enums.h"
#include "kernel/frame.h"

// An operand: a register, or bits (the low bits, as many as the instruction's type has, higher ones zero). A
// register is exactly as wide as the instruction reads or writes it: front ends put a cvt where PTX lets a
// register be wider (ld.u8 into 16 bits, st.b8 from 32).
struct tw_kir_operand {
    bool is_imm;
    uint32_t reg; // index into function->regs
    uint64_t bits;
};
static inline struct tw_kir_operand tw_kir_reg_operand(uint32_t reg) {
    return (struct tw_kir_operand){.reg = reg};
}
static inline struct tw_kir_operand tw_kir_imm_operand(uint64_t bits) {
    return (struct tw_kir_operand){.is_imm = true, .bits = bits};
}

enum { TW_KIR_NO_REG = 0xffffffff };

struct tw_kir_inst {
    uint8_t op;      // enum tw_kir_op
    uint8_t type;    // enum tw_kir_type
    uint8_t type2;   // enum tw_kir_type
    uint8_t space;   // enum tw_kir_space
    uint8_t round;   // enum tw_kir_round
    uint8_t cmp;     // enum tw_kir_cmp
    uint8_t combine; // enum tw_kir_combine; combine_not negates c
    uint8_t combine_not;
    uint8_t atom;  // enum tw_kir_atom
    uint8_t order; // enum tw_kir_order
    uint8_t scope; // enum tw_kir_scope
    uint8_t mode;  // by op
    uint8_t vec;   // elements of ld/st (1, 2, 4, 8)
    uint8_t dst_count, src_count, target_count;
    bool guard_not;
    uint32_t mods;  // enum tw_kir_mod
    uint32_t guard; // predicate register, or TW_KIR_NO_REG
    uint32_t index; // by op: special register, variable, function
    int64_t offset; // by op: address offset, truth table, selector of a sparse product
    uint32_t *dst;  // registers; TW_KIR_NO_REG where PTX has `_`
    struct tw_kir_operand *src;
    uint32_t *targets;     // block indices
    uint32_t line, column; // of the source, 0 when none
};

struct tw_kir_block {
    const char *label; // for people; unique in the function
    struct tw_kir_inst *insts;
    uint32_t count, capacity;
};

struct tw_kir_reg {
    const char *name; // unique in the function, without spaces or commas
    uint16_t bits;    // 1, 8, 16, 32, 64 or 128
};

// A kernel parameter, or a device function's formal.
struct tw_kir_param {
    const char *name;
    enum tw_kir_type type; // of a scalar; B8 for an array of bytes
    uint32_t offset, size, align;
    bool is_pointer; // 64-bit and declared .ptr, or proven to be used as an address only
    uint32_t reg;    // device functions: the register that holds it; else TW_KIR_NO_REG
};

// A variable in memory: module scope (global, const, shared) or a function's (shared, local).
struct tw_kir_variable {
    const char *name;
    enum tw_kir_space space;
    uint32_t align;
    uint64_t size;        // 0: extern shared array whose size the launch gives
    const uint8_t *init;  // `size` bytes, or NULL for zeros
    struct tw_kir_reloc { // 8-byte addresses of other variables inside init
        uint64_t at;
        uint32_t variable;
        int64_t addend;
    } *relocs;
    uint32_t reloc_count;
    uint32_t function; // the function it belongs to, or TW_KIR_NO_REG for module scope
};

struct tw_kir_function {
    const char *name;
    bool is_entry;
    bool is_declaration; // no body: only vprintf and the like
    bool is_prepared;    // by tw_jit_compile, which must see the same for every variant
    const char *refusal; // "line 12, column 5: …": why it cannot be compiled, and has no body; NULL: it can
    struct tw_kir_param *params, *results; // results: device functions only
    uint32_t param_count, result_count;
    uint32_t param_bytes;
    struct tw_kir_reg *regs;
    uint32_t reg_count, reg_capacity;
    struct tw_kir_block *blocks;
    uint32_t block_count, block_capacity;
    uint32_t required_block[3], max_block[3]; // .reqntid / .maxntid, zeros when none
};

// Confined; everything in it is owned by `arena`.
struct tw_kir_module {
    struct tw_arena *arena;
    uint32_t ptx_version; // 78 for 7.8; 0 when not from PTX
    uint32_t sm;          // 80
    struct tw_kir_function *functions;
    uint32_t function_count, function_capacity;
    struct tw_kir_variable *variables;
    uint32_t variable_count, variable_capacity;
    uint32_t inst_count; // ever added, for the limit
};

// ---- builder: each returns false or NO_REG with an error when a limit (kernel/limits.h) or the arena is
// exhausted ----
[[nodiscard]] struct tw_kir_module *tw_kir_module_new(struct tw_arena *arena, struct tw_error *err);
[[nodiscard]] struct tw_kir_function *tw_kir_function_add(struct tw_kir_module *module, const char *name,
                                                          struct tw_error *err);
// `name` NULL: one is made up. Names are borrowed for the life of the module.
[[nodiscard]] uint32_t tw_kir_reg_add(struct tw_kir_module *module, struct tw_kir_function *function,
                                      const char *name, unsigned bits, struct tw_error *err);
[[nodiscard]] uint32_t tw_kir_block_add(struct tw_kir_module *module, struct tw_kir_function *function,
                                        const char *label, struct tw_error *err);
[[nodiscard]] uint32_t tw_kir_variable_add(struct tw_kir_module *module,
                                           const struct tw_kir_variable *variable, struct tw_error *err);
// Appends to the block with room for the counts; fields are zero but guard (NO_REG) and vec (1). NULL on
// failure.
[[nodiscard]] struct tw_kir_inst *tw_kir_inst_add(struct tw_kir_module *module, struct tw_kir_block *block,
                                                  enum tw_kir_op op, enum tw_kir_type type, unsigned dsts,
                                                  unsigned srcs, unsigned targets, struct tw_error *err);

// ---- the table ----
const char *tw_kir_op_name(enum tw_kir_op op);
unsigned tw_kir_op_flags(enum tw_kir_op op);
struct tw_kir_function *tw_kir_function_find(const struct tw_kir_module *module,
                                             const char *name); // NULL: none

// Fragments of a matrix product: how many registers each lane of the warp holds of a, b and c (d is as c), and
// how wide they are. Where an element lies is the same for all: with g = lane / 4, t = lane % 4 and e elements
// in a register,
//   a: register i holds row g + 8 × (i % (m / 8)), columns 4e × (i / (m / 8)) + t × e …
//   b: register i holds column g, rows 4e × i + t × e …
//   c: element i lies in row g + 8 × (i / 2), column 2t + i % 2; halves in pairs
//
// Sparse: half of each chunk of a's columns is not zero, and a holds only that half: its fragment is that of k / 2
// columns. Four bits a chunk say where they lie, the lower two of its first half, the upper two of the rest:
//   8, 16 bits: of 4 columns 2 are there, at the columns that the two numbers name
//   4 bits:     of 8 columns 4 are there, in pairs, at the pairs that the two numbers name
//   tf32:       of 2 columns 1 is there, at the column that bit 1 names (PTX allows 0b0100 and 0b1110)
// A lane's word of indices has eight chunks, lowest first: of integers those of one row (4 lanes of a group have rows g,
// g + 8, then the same rows of the next eight chunks), of floats four of row g and the same four of row g + 8 (the next
// lane has the next four). A product that needs fewer than the four lanes of a group takes those from
// selector × lanes on.
struct tw_kir_matrix {
    unsigned m, n, k;
    unsigned a, b, c;         // registers
    unsigned e;               // and of the indices: 1 in sparse products
    unsigned chunk;           // columns that share four bits of indices; 0: all of a is there
    unsigned index_lanes;     // of a group, whose words hold the indices
    unsigned elements;        // of a and b in a register
    unsigned in_bits, c_bits; // width of registers of a and b; of c and d
};
// False: there is no product of this shape and these types.
bool tw_kir_matrix_of(const struct tw_kir_inst *inst, struct tw_kir_matrix *ret_matrix);

// ---- passes and text ----
// Structure, widths, ranges of indices, terminators; CUDA_MALFORMED_PTX with function, block and instruction.
[[nodiscard]] bool tw_kir_verify(const struct tw_kir_module *module, struct tw_error *err);
// Replaces every call in `function` by the callee's body; recursive functions get a stack in local memory.
// CUDA_MALFORMED_PTX with its refusal when it has one.
[[nodiscard]] bool tw_kir_inline(struct tw_kir_module *module, struct tw_kir_function *function,
                                 struct tw_error *err);
// Constant folding, copy propagation, dead code, unreachable blocks, register webs split (each web its own
// register).
[[nodiscard]] bool tw_kir_simplify(struct tw_kir_module *module, struct tw_kir_function *function,
                                   struct tw_error *err);
// Gives loops with several entries one. tw_kir_simplify does it last; whoever adds branches after it asks again.
[[nodiscard]] bool tw_kir_mend_loops(struct tw_kir_module *module, struct tw_kir_function *function,
                                     struct tw_error *err);
[[nodiscard]] bool tw_kir_print(const struct tw_kir_module *module, struct tw_buf *out, struct tw_error *err);
// The operation's name and what says which form of it: "setp.f32.lt". False: `out` is full.
[[nodiscard]] bool tw_kir_print_op(const struct tw_kir_inst *inst, struct tw_buf *out);
// Reads what tw_kir_print wrote: the same module.
[[nodiscard]] bool tw_kir_parse(struct tw_arena *arena, struct tw_str text, struct tw_kir_module **ret_module,
                                struct tw_error *err);

// SPDX-License-Identifier: Apache-2.0
//
// What the files of the printer share: print.c (module and variables), print_function.c (headers and blocks),
// print_inst.c and print_forms.c (instructions), print_memory.c (accesses and the fence), print_carry.c (the
// condition code), print_space.c (which registers hold addresses of which space), print_names.c.
//
// Each IR instruction becomes one statement that reads back as that instruction alone, with statements before
// it where PTX wants them. So the printed text of what was read from a printed text is that text again.
#pragma once

#include "internal.h"

// ---- which address a register holds (print_space.c) ----
enum ptx_home {         // bits of ptx_pointer.may
    PTX_HOME_PLAIN = 1, // a number, a pointer from outside, or the address of a global variable
    PTX_HOME_SHARED = 2,
    PTX_HOME_LOCAL = 4,
    PTX_HOME_CONST = 8,
    PTX_HOME_PARAM = 16,
    PTX_HOME_GLOBAL = 32, // of a module variable; told apart only where the fence is printed
    PTX_HOME_SPECIAL = PTX_HOME_SHARED | PTX_HOME_LOCAL | PTX_HOME_CONST | PTX_HOME_PARAM,
};
enum ptx_use {          // bits of ptx_pointer.uses
    PTX_USE_NATIVE = 1, // as an address in its own space
    PTX_USE_ACCESS = 2, // as an address of a generic access
    PTX_USE_ESCAPE = 4, // as a value that others read: stored, passed, compared
};
struct ptx_pointer {
    uint8_t may, uses;
    bool is_generic;   // holds generic addresses, else those of its space
    uint32_t variable; // PTX_HOME_GLOBAL: which one; NO_REG: none yet, PTX_MANY: several
};
enum { PTX_MANY = 0xfffffffe };

// ---- the printer ----
struct ptx_name { // print_names.c
    struct tw_str text;
    uint32_t owner, next_suffix;
};
enum { PTX_CLASSES = 6 }; // registers by width: 1, 8, 16, 32, 64, 128 bits

// Confined to one tw_ptx_print; all its memory is in `arena`.
struct ptx_printer {
    struct tw_arena arena;
    const struct tw_kir_module *module;
    const struct tw_ptx_options *options;
    struct tw_error *err;
    struct tw_buf *out, body; // the body is printed before its registers' declarations, which stand before it
    struct ptx_name *names;
    uint32_t name_slots;
    uint64_t seed;
    const char **function_names, **variable_names, ***param_names;
    bool *prints; // by function: a kernel that was asked for, or called by what is printed
    bool calls_vprintf;
    // of the current function
    const struct tw_kir_function *function;
    uint32_t index;
    const struct tw_kir_inst *inst;
    uint32_t *numbers; // by register: its number + 1, 0 not named yet
    uint32_t counts[PTX_CLASSES];
    struct ptx_pointer
        *pointers;         // NULL: no register holds an address of shared, local, const or parameter memory
    bool generics_leave;   // generic addresses of such memory exist
    uint32_t *labels;      // by block: number + 1, 0 no branch names it
    uint32_t base, mask;   // registers of the fence
    uint32_t tables;       // of brx
    uint8_t *carry_values; // by register: a carry that must be there as a predicate too
    uint32_t carry, carry_guard; // what the condition code holds; the guard it was written under
    bool carry_guard_not, copies_pending;
};

// A piece of a statement, put where its format has a '#'.
struct ptx_piece {
    enum { PTX_PIECE_END, PTX_PIECE_REG, PTX_PIECE_VALUE, PTX_PIECE_TEXT, PTX_PIECE_NUMBER } kind;
    uint8_t type; // of a value
    uint32_t reg;
    struct tw_kir_operand value;
    const char *text;
    int64_t number;
};
#define PTX_R(r)        ((struct ptx_piece){.kind = PTX_PIECE_REG, .reg = (r)})
#define PTX_V(v, t)     ((struct ptx_piece){.kind = PTX_PIECE_VALUE, .value = (v), .type = (uint8_t)(t)})
#define PTX_T(t)        ((struct ptx_piece){.kind = PTX_PIECE_TEXT, .text = (t)})
#define PTX_N(n)        ((struct ptx_piece){.kind = PTX_PIECE_NUMBER, .number = (n)})
#define PTX_PIECES(...) ((const struct ptx_piece[]){__VA_ARGS__ __VA_OPT__(, ){.kind = PTX_PIECE_END}})
// A whole statement: ptx_say(p, "and.b64 #, #, #", PTX_PIECES(…)); ptx_say_guarded puts the current
// instruction's guard before it.
[[nodiscard]] bool ptx_say(struct ptx_printer *p, const char *format, const struct ptx_piece *pieces);
[[nodiscard]] bool ptx_say_guarded(struct ptx_printer *p, const char *format, const struct ptx_piece *pieces);
// Parts of a statement.
[[nodiscard]] bool ptx_put(struct ptx_printer *p, const char *text);
[[nodiscard]] bool ptx_put_reg(struct ptx_printer *p, uint32_t reg); // `_` for NO_REG
[[nodiscard]] bool ptx_put_value(struct ptx_printer *p, struct tw_kir_operand value, uint8_t type);
[[nodiscard]] bool ptx_put_guard(struct ptx_printer *p); // the tabulator, and the current instruction's guard
// A register that the IR does not have; named at once, so print it next.
uint32_t ptx_print_temp(struct ptx_printer *p, unsigned bits);
unsigned ptx_print_bits(const struct ptx_printer *p, uint32_t reg);
// CUDA_INVALID_KERNEL: what cannot be printed, in which instruction and where.
[[gnu::format(printf, 2, 3)]] bool ptx_print_fail(struct ptx_printer *p, const char *format, ...);
bool ptx_print_full(struct ptx_printer *p); // no room or memory

// The value in a register, where PTX takes no immediate.
[[nodiscard]] bool ptx_in_register(struct ptx_printer *p, struct tw_kir_operand *value, uint8_t type);

[[nodiscard]] bool ptx_names(struct ptx_printer *p); // print_names.c
[[nodiscard]] bool
ptx_reach(struct ptx_printer *p); // print_function.c: labels[b] is not 0 for each block that can be reached
[[nodiscard]] bool ptx_function_text(struct ptx_printer *p, bool declares);     // print_function.c
[[nodiscard]] bool ptx_variable_text(struct ptx_printer *p, uint32_t variable); // print.c
[[nodiscard]] bool
ptx_print_inst(struct ptx_printer *p); // print_inst.c: the current instruction, no terminator
[[nodiscard]] bool ptx_print_form(struct ptx_printer *p, const struct tw_kir_operand *src,
                                  bool *ret_done); // print_forms.c
const char *ptx_print_round(uint8_t round);        // ".rz"; of the default ""
[[nodiscard]] bool ptx_print_cvt(struct ptx_printer *p, const struct tw_kir_operand *src);
[[nodiscard]] bool ptx_print_setp(struct ptx_printer *p, const struct tw_kir_operand *src);
// print_memory.c
[[nodiscard]] bool ptx_print_ldparam(struct ptx_printer *p);
[[nodiscard]] bool ptx_print_memory(struct ptx_printer *p, const struct tw_kir_operand *src);
[[nodiscard]] bool ptx_print_copies_end(struct ptx_printer *p); // waits for cp.async that were printed
// print_carry.c
[[nodiscard]] bool ptx_carries(struct ptx_printer *p);
[[nodiscard]] bool ptx_print_carry(struct ptx_printer *p, const struct tw_kir_operand *src);
void ptx_carry_follow(
    struct ptx_printer *p); // after an instruction: does the condition code still hold a register?
// print_space.c
[[nodiscard]] bool ptx_pointers(struct ptx_printer *p);
struct ptx_pointer ptx_pointer_of(const struct ptx_printer *p, const struct tw_kir_operand *value);
const char *ptx_home_name(uint8_t may); // "shared": of exactly one home
// Source `index` of the current instruction as its statement wants it: made generic where it leaves its
// space.
[[nodiscard]] bool ptx_pointer_source(struct ptx_printer *p, unsigned index,
                                      struct tw_kir_operand *ret_value);
bool ptx_pointer_is_definite(struct ptx_pointer place); // an address of one special space and nothing else

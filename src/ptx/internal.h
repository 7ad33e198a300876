// SPDX-License-Identifier: Apache-2.0
//
// The PTX reader: characters → tokens (lex.c) → directives (module.c, function.c, variables.c) and
// instructions (instruction.c finds the row of isa.def, reads operands by its signature, then calls the row's
// lower function in inst_*.c). It works in one pass over the text; only branch targets wait for their labels.
#pragma once

#include <stdarg.h>

#include "kernel/kernel.h"
#include "kernel/limits.h"
#include "ptx/limits.h"
#include "ptx/ptx.h"

// ---- tokens (lex.c) ----
enum ptx_token_kind {
    PTX_END,
    PTX_WORD,   // add, %r1, $L__BB0_1, _
    PTX_DOT,    // .visible, .s32, .L2::128B: text without the first dot
    PTX_NUMBER, // integer: value
    PTX_FLOAT,  // value: bits of a double, or of a float when is_single
    PTX_STRING, // text without the quotes
    PTX_PUNCT,  // one character: text[0]
};
struct ptx_token {
    enum ptx_token_kind kind;
    struct tw_str text;
    uint32_t line, column;
    uint64_t value;
    bool is_single; // 0f…
    bool spaced;    // white space stood before it
};

// ---- symbols (symbols.c) ----
enum ptx_symbol_kind {
    PTX_SYM_REG,      // index: register; type
    PTX_SYM_RANGE,    // %r<10>: registers made on first use in `list`; count
    PTX_SYM_VECTOR,   // .reg .v4: registers in `list`; count
    PTX_SYM_VARIABLE, // index: variable
    PTX_SYM_EXTERN,   // declared .extern and never defined
    PTX_SYM_PARAM,    // kernel parameter, index
    PTX_SYM_ARGUMENT, // .param of a device function or a call: scalar in register index, or memory
                      // (is_memory) at the address in it
    PTX_SYM_FUNCTION, // index
    PTX_SYM_LABEL,    // index: block
    PTX_SYM_TARGETS,  // .branchtargets: the names in `names`, count
    PTX_SYM_TEXTURE,  // a texture, sampler or surface: it may be declared, not used
};
struct ptx_symbol {
    struct tw_str name;
    uint64_t hash;
    struct ptx_symbol *next;     // in the bucket
    struct ptx_symbol *previous; // declared before it (scopes pop this list)
    enum ptx_symbol_kind kind;
    uint32_t index, count;
    uint32_t scope;
    uint8_t type; // enum tw_kir_type
    bool is_memory;
    uint32_t bytes;
    uint32_t *list;
    struct ptx_token *names;
};
struct ptx_symbols {
    struct ptx_symbol **buckets; // a power of two of them
    uint32_t bucket_count, count;
    struct ptx_symbol *last;
    uint64_t seed;
};

// ---- operands (operands.c) ----
enum ptx_form {
    PTX_SINK,      // _
    PTX_REG,       // reg, type
    PTX_INTEGER,   // bits
    PTX_SINGLE,    // bits of a float
    PTX_DOUBLE,    // bits of a double
    PTX_SPECIAL,   // reg: special register
    PTX_VARIABLE,  // reg: variable, offset
    PTX_PARAMETER, // reg: kernel parameter, offset
};
struct ptx_scalar {
    enum ptx_form form;
    uint8_t type; // of a register
    bool negated; // !%p
    uint32_t reg;
    uint64_t bits;
    int64_t offset;
    struct ptx_token token;
};
// What stands between two commas: a scalar, or { } of several.
struct ptx_operand {
    uint8_t count;
    bool braces;
    struct ptx_scalar items[PTX_MAX_ELEMENTS];
};
struct ptx_address {
    enum { PTX_AT_REG, PTX_AT_VARIABLE, PTX_AT_PARAMETER, PTX_AT_ARGUMENT, PTX_AT_ABSOLUTE } base;
    uint32_t index; // register, variable, parameter
    const struct ptx_symbol *argument;
    int64_t offset;
    struct ptx_token token;
};

// ---- instructions (instruction.c) ----
enum ptx_group {
#define PTX_GROUP(name) PTX_G_##name,
#include "ptx/groups.def"
#undef PTX_GROUP
    PTX_GROUP_COUNT
};
#define PTX_BIT(group) (1ULL << PTX_G_##group)

// Values of modifiers that are no enum of the IR.
enum { PTX_LO, PTX_HI, PTX_WIDE };
enum { PTX_BAR_SYNC, PTX_BAR_ARRIVE, PTX_BAR_RED };
enum { PTX_BARRIERS = 16, PTX_WARP_THREADS = 32 }; // of a block; of a warp
enum { PTX_COMMIT_GROUP, PTX_WAIT_GROUP, PTX_WAIT_ALL, PTX_COPIES_ARRIVE };
enum { PTX_VOLATILE = TW_KIR_SC + 1 };
enum { PTX_L1 = TW_KIR_SYS + 1, PTX_L2 };    // caches, beside membar's levels
enum { PTX_UNCACHED = 2 };                   // .mmio, beside cache hints
enum { PTX_POLICY_RANGE = 2 };               // createpolicy.range, as a value of its group
enum { PTX_SPARSE = 2, PTX_SPARSE_ORDERED }; // mma.sp, beside the forms of other instructions
enum { PTX_WMMA_LOAD, PTX_WMMA_MMA, PTX_WMMA_STORE };
enum {
    PTX_MBARRIER_INIT = PTX_WMMA_STORE + 1,
    PTX_MBARRIER_INVAL,
    PTX_MBARRIER_ARRIVE,
    PTX_MBARRIER_DROP,
    PTX_MBARRIER_TEST,
    PTX_MBARRIER_TRY,
    PTX_MBARRIER_PENDING,
    PTX_PROXY_ALIAS // fence.proxy.alias
};
enum { PTX_FRAGMENT_A, PTX_FRAGMENT_B, PTX_FRAGMENT_C, PTX_FRAGMENT_D };
enum { PTX_M16N16K16 = TW_KIR_MMA_COUNT, PTX_M32N8K16, PTX_M8N32K16, PTX_M16N16K8 }; // shapes of wmma alone

struct ptx_parser;
struct ptx_inst;
typedef bool (*ptx_lower)(struct ptx_parser *parser, struct ptx_inst *inst);

// A row of isa.def.
struct ptx_row {
    const char *name;
    ptx_lower lower;
    uint8_t op;            // enum tw_kir_op of plain rows
    const char *signature; // NULL: the lower function reads the operands
    uint8_t type_count;
    uint32_t types;  // bits 1 << enum tw_kir_type: the first type must be one of them
    uint64_t groups; // modifiers it takes
    uint64_t needs;  // of these, one must stand
};
// One instruction as read. Confined to the statement.
struct ptx_inst {
    const struct ptx_row *row;
    struct ptx_token token;            // its name
    struct tw_str name;                // with all modifiers, as written
    uint8_t type, type2, type3, type4; // type modifiers in order
    uint8_t values[PTX_GROUP_COUNT];   // of a modifier group, where its bit stands in `has`
    uint64_t has;
    uint32_t guard; // or TW_KIR_NO_REG
    bool guard_not;
    unsigned dst_count, src_count; // read by the signature
    struct ptx_operand dst[2], src[PTX_MAX_OPERANDS];
};
static inline bool ptx_has(const struct ptx_inst *inst, enum ptx_group group) {
    return (inst->has >> group & 1) != 0;
}

// A branch that waits for its label.
struct ptx_fixup {
    struct ptx_fixup *next;
    struct ptx_token label;
    uint32_t *target;
    uint32_t scope;
};

enum { PTX_TABLE_SLOTS = 1'024 };

// The whole state of one parse. Confined.
struct ptx_parser {
    struct tw_arena *arena;
    struct tw_kir_module *module;
    struct tw_error *err;
    const char *cursor, *end, *line_start;
    uint32_t line;
    struct ptx_token token; // the next one
    struct ptx_symbols symbols;
    uint32_t scope; // nesting depth, 0: module
    uint32_t function, block;
    bool open;                 // the current block has no terminator yet
    uint32_t carry;            // the condition-code register, or NO_REG
    uint32_t stack, stack_top; // of alloca: its variable, and the register with what is free, or NO_REG
    struct ptx_fixup *fixups;
    struct ptx_call *call;          // scratch of inst_control.c, made at the first call
    struct ptx_indirect *indirects; // calls through pointers
    bool *taken;                    // by function: its address is taken; NULL: none
    bool refused;                   // the statement failed by ptx_refuse
    const struct ptx_inst *inst;    // being lowered: guard and position of what is emitted
    uint16_t rows[PTX_TABLE_SLOTS], modifiers[PTX_TABLE_SLOTS],
        sregs[PTX_TABLE_SLOTS];                  // hash tables: index + 1
    uint16_t next_modifier[PTX_TABLE_SLOTS / 2]; // by modifier: the next of the same text, + 1; 0: none
    uint32_t *parameter_of; // by register: 1 + the kernel parameter that was loaded into it, 0 none
    uint32_t parameter_of_count;
};

// lex.c
bool ptx_lex_init(struct ptx_parser *parser, struct tw_str text);
[[nodiscard]] bool ptx_next(struct ptx_parser *parser); // token = the next; false: not a token
[[nodiscard]] bool
ptx_skip_line(struct ptx_parser *parser); // drops the rest of the line that `token` stands on
[[gnu::format(printf, 3, 4)]] bool ptx_fail(struct ptx_parser *parser, const struct ptx_token *at,
                                            const char *format, ...);
[[gnu::format(printf, 3, 4)]] bool ptx_fail_quota(struct ptx_parser *parser, const struct ptx_token *at,
                                                  const char *format, ...);
// One line, whatever the text that it quotes holds.
[[gnu::format(printf, 3, 0)]] void ptx_message(char *out, size_t size, const char *format, va_list args);
bool ptx_fail_expected(struct ptx_parser *parser, const char *expected); // "expected …, found '…'"
bool ptx_fail_memory(struct ptx_parser *parser);
static inline bool ptx_is(const struct ptx_parser *parser, char punct) {
    return parser->token.kind == PTX_PUNCT && parser->token.text.data[0] == punct;
}
static inline bool ptx_text_is(struct tw_str text, const char *word) {
    return strlen(word) == text.len && memcmp(text.data, word, text.len) == 0;
}
static inline bool ptx_is_dot(const struct ptx_parser *parser, const char *word) {
    return parser->token.kind == PTX_DOT && ptx_text_is(parser->token.text, word);
}
// Where the lexer stands, to come back to.
struct ptx_place {
    const char *cursor, *line_start;
    uint32_t line;
    struct ptx_token token;
};
struct ptx_place ptx_place_get(const struct ptx_parser *parser);
void ptx_place_set(struct ptx_parser *parser, const struct ptx_place *place);
[[nodiscard]] bool ptx_expect(struct ptx_parser *parser, char punct);
[[nodiscard]] bool ptx_accept(struct ptx_parser *parser, char punct, bool *ret_accepted);

// refuse.c: like ptx_fail, but in a function's body it is that function which is refused, with its callers: the
// statement that fails so is skipped.
[[gnu::format(printf, 3, 4)]] bool ptx_refuse(struct ptx_parser *parser, const struct ptx_token *at,
                                              const char *format, ...);
bool ptx_is_texture(const struct ptx_parser *parser);      // the token is .texref or the like
[[nodiscard]] bool ptx_texture(struct ptx_parser *parser); // reads its declaration: using it is refused
// Special registers that this device has no values for: zero, as a driver that fills none leaves them, or refused.
bool ptx_special_zero(struct tw_str name);
bool ptx_special_newer(struct tw_str name);
// The first GPU whose `instruction` takes the modifier, where that is newer than sm_80; else NULL.
const char *ptx_modifier_newer(const char *instruction, struct tw_str modifier);
void ptx_refused_clear(struct ptx_parser *parser); // the refusal is noted, the statement goes on
[[nodiscard]] bool ptx_refused_skip(struct ptx_parser *parser, const struct ptx_token *start);
[[nodiscard]] bool ptx_refused_spread(struct ptx_parser *parser); // when the module has been read

// symbols.c
[[nodiscard]] bool ptx_symbols_init(struct ptx_parser *parser);
uint64_t ptx_hash(uint64_t seed, struct tw_str text);
struct ptx_symbol *ptx_symbol_find(const struct ptx_parser *parser,
                                   struct tw_str name); // innermost; NULL: none
// A new symbol in the current scope; refused when the scope has the name already. NULL on failure.
[[nodiscard]] struct ptx_symbol *ptx_symbol_add(struct ptx_parser *parser, const struct ptx_token *name,
                                                enum ptx_symbol_kind kind);
void ptx_symbols_pop(struct ptx_parser *parser, uint32_t scope); // forgets symbols of scopes > `scope`
// The register that a name stands for as a member of a range; NO_REG: none.
[[nodiscard]] bool ptx_range_find(struct ptx_parser *parser, struct tw_str name, uint32_t *ret_reg,
                                  uint8_t *ret_type);

// constants.c
// A constant expression of integers; `ret_float` when it is a lone float literal.
[[nodiscard]] bool ptx_constant(struct ptx_parser *parser, struct ptx_scalar *ret_value);
[[nodiscard]] bool ptx_integer(struct ptx_parser *parser, int64_t min, int64_t max, const char *what,
                               int64_t *ret_value);
bool ptx_literal_bits(struct ptx_parser *parser, const struct ptx_scalar *literal, uint8_t type,
                      uint64_t *ret_bits);

// variables.c
bool ptx_type_of(struct tw_str name, uint8_t *ret_type); // "s32"
// .global/.const/.shared/.local declarations; `token` is the state space's directive.
[[nodiscard]] bool ptx_variable(struct ptx_parser *parser, enum tw_kir_space space, bool is_extern);
[[nodiscard]] bool ptx_registers(struct ptx_parser *parser);                      // after .reg
[[nodiscard]] bool ptx_alignment(struct ptx_parser *parser, uint32_t *ret_align); // after .align

// module.c
[[nodiscard]] bool ptx_module(struct ptx_parser *parser);
// .global, .const, .shared or .local at the token; *ret_found false: none of them.
[[nodiscard]] bool ptx_variable_directive(struct ptx_parser *parser, bool is_extern, bool *ret_found);
// .loc, .file, .section, .pragma: skipped.
[[nodiscard]] bool ptx_debug_directive(struct ptx_parser *parser, bool *ret_found);

// function.c
[[nodiscard]] bool ptx_function(struct ptx_parser *parser, bool is_entry); // token: after .entry/.func
static inline struct tw_kir_function *ptx_current(struct ptx_parser *parser) {
    return &parser->module->functions[parser->function];
}
// Begins a block, falling through from the open one.
[[nodiscard]] bool ptx_block_open(struct ptx_parser *parser, const char *label);
// Lets *target name the block of a label, now or when the label comes.
[[nodiscard]] bool ptx_branch_to(struct ptx_parser *parser, const struct ptx_token *label, uint32_t *target);

// formals.c
enum ptx_formal_kind { PTX_KERNEL_PARAM, PTX_FUNCTION_PARAM, PTX_FUNCTION_RESULT };
// "(" [formal {"," formal}] ")" of the current function, declared in the current scope.
[[nodiscard]] bool ptx_formals(struct ptx_parser *parser, enum ptx_formal_kind kind);
[[nodiscard]] bool ptx_call_param(struct ptx_parser *parser); // in a body, after .param
// Gives the memory results of a device function their storage; the current block is its first.
[[nodiscard]] bool ptx_result_storage(struct ptx_parser *parser);

// operands.c
[[nodiscard]] bool ptx_operand(struct ptx_parser *parser, struct ptx_operand *ret_operand);
[[nodiscard]] bool ptx_address(struct ptx_parser *parser, struct ptx_address *ret_address); // [ … ]
// As a source of exactly the width of `type`.
[[nodiscard]] bool ptx_source(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                              struct tw_kir_operand *ret_source);
// The same, but a register may be wider: its low bits are taken.
[[nodiscard]] bool ptx_source_low(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                                  struct tw_kir_operand *ret_source);
// The register (or `_`) that a result of `type` goes to.
[[nodiscard]] bool ptx_target(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                              uint32_t *ret_reg);
// For ld and cvt: the register may be wider; *ret_reg is then a temporary which ptx_widen extends into it.
[[nodiscard]] bool ptx_target_wide(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                                   uint32_t *ret_reg);
[[nodiscard]] bool ptx_widen(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                             uint32_t reg);
// The address as a 64-bit source and the offset to add to it.
[[nodiscard]] bool ptx_address_source(struct ptx_parser *parser, const struct ptx_address *address,
                                      struct tw_kir_operand *ret_source, int64_t *ret_offset);
bool ptx_special_find(const struct ptx_parser *parser, struct tw_str name, uint32_t *ret_sreg,
                      uint8_t *ret_type);
void ptx_parameter_note(struct ptx_parser *parser, uint32_t reg,
                        uint32_t parameter);                            // the parameter was loaded into reg
void ptx_parameter_is_pointer(struct ptx_parser *parser, uint32_t reg); // reg is used as an address

// instruction.c
void ptx_tables_init(struct ptx_parser *parser);
[[nodiscard]] bool ptx_instruction(struct ptx_parser *parser); // token: its name or the guard's @
// Appends to the current block. `ptx_emit` carries the statement's guard, `ptx_emit_free` does not (pure work
// into temporaries).
[[nodiscard]] struct tw_kir_inst *ptx_emit(struct ptx_parser *parser, enum tw_kir_op op, uint8_t type,
                                           unsigned dsts, unsigned srcs);
[[nodiscard]] struct tw_kir_inst *ptx_emit_free(struct ptx_parser *parser, enum tw_kir_op op, uint8_t type,
                                                unsigned dsts, unsigned srcs);
[[nodiscard]] struct tw_kir_inst *ptx_emit_branch(struct ptx_parser *parser, enum tw_kir_op op, unsigned srcs,
                                                  unsigned targets); // ends the block
[[nodiscard]] bool ptx_temp(struct ptx_parser *parser, unsigned bits, uint32_t *ret_reg);
// For a guarded statement that must not be predicated: the rest of it runs in a block of its own.
[[nodiscard]] bool ptx_guard_begin(struct ptx_parser *parser, struct ptx_inst *inst, uint32_t **ret_skip);
[[nodiscard]] bool ptx_guard_end(struct ptx_parser *parser, uint32_t *skip);
static inline uint8_t ptx_integer_type(unsigned bits, bool is_signed) { // (32, true) → s32
    uint8_t first = is_signed ? TW_KIR_S8 : TW_KIR_U8;
    return (uint8_t)(first + (bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : 3));
}
static inline uint8_t ptx_twice(uint8_t type) { // s16 → s32
    return (uint8_t)(type + 1);
}
// Fills src[0…] with operands between commas, at least `least` and at most `most` of them.
[[nodiscard]] bool ptx_operands(struct ptx_parser *parser, struct ptx_inst *inst, unsigned least,
                                unsigned most);
// d, or d|p: fills dst[0] and dst[1] and takes the comma after them.
[[nodiscard]] bool ptx_results(struct ptx_parser *parser, struct ptx_inst *inst, unsigned most);
// The operands read by a signature, each with the type its letter says.
[[nodiscard]] bool ptx_signature_source(struct ptx_parser *parser, const struct ptx_inst *inst,
                                        unsigned index, struct tw_kir_operand *ret_source);
[[nodiscard]] bool ptx_signature_target(struct ptx_parser *parser, const struct ptx_inst *inst,
                                        uint32_t *ret_reg);
void ptx_set_mods(const struct ptx_inst *inst, struct tw_kir_inst *to); // rounding, .ftz, .sat and the like

// What stands in the parentheses of a call. Confined.
struct ptx_call {
    struct ptx_token name;
    const struct tw_kir_function *callee; // NULL: through `pointer`
    struct ptx_scalar pointer, results[PTX_MAX_RESULTS], arguments[PTX_MAX_ARGUMENTS];
    const struct ptx_symbol *result_symbols[PTX_MAX_RESULTS],
        *argument_symbols[PTX_MAX_ARGUMENTS]; // of those in memory
    unsigned result_count, argument_count;
    uint32_t targets[PTX_MAX_RESULTS]; // addresses of memory results, after the call
};

// inst_volta.c: mma.m8n8k4 of halves; the token stands behind the name.
uint8_t ptx_matrix_round(const struct ptx_inst *inst); // of sums in f64, as the IR says it
[[nodiscard]] bool ptx_volta_mma(struct ptx_parser *parser, struct ptx_inst *inst);

// inst_stack.c: when a function's body has been read.
[[nodiscard]] bool ptx_stack_end(struct ptx_parser *parser);

// inst_mbarrier.c: cp.async.mbarrier.arrive.
[[nodiscard]] bool ptx_copies_arrive(struct ptx_parser *parser, struct ptx_inst *inst);

// inst_indirect.c: calls through pointers.
[[nodiscard]] bool ptx_function_address(struct ptx_parser *parser, uint32_t function, uint64_t *ret_address);
[[nodiscard]] bool ptx_call_label(struct ptx_parser *parser, const struct ptx_token *name); // .callprototype
[[nodiscard]] bool ptx_indirect_call(struct ptx_parser *parser, struct ptx_call *call);
[[nodiscard]] bool ptx_indirect_end(struct ptx_parser *parser); // when the module has been read

// The lower functions that isa.def names: each makes the IR of one statement and leaves the token at its
// semicolon.
#define PTX_LOWER(name) bool ptx_lower_##name(struct ptx_parser *parser, struct ptx_inst *inst);
#include "ptx/lowers.def"
#undef PTX_LOWER

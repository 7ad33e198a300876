// SPDX-License-Identifier: Apache-2.0
//
// What the files of this room share: the byte reader, the decoder of instructions, the parsed module's
// private part and the places of polls.
//
//     parse.c     preamble, order of sections        reader.c   bytes to integers, names, types; the errors
//     types.c     the type section                   decode.c   one instruction at a time
//     sections.c  imports … exports, start
//     segments.c  element and data segments          expr.c     constant expressions
//     code.c      function bodies                    names.c    the name section
//     polls.c     where to poll                      bulk.c     long fills and copies in pieces
//     helpers.c   which of those there are           rewrite.c  the new binary
#pragma once

#include "wasmbin/limits.h"
#include "wasmbin/wasmbin.h"

enum wasmbin_section_id {
    WASMBIN_CUSTOM,
    WASMBIN_TYPES,
    WASMBIN_IMPORTS,
    WASMBIN_FUNCTIONS,
    WASMBIN_TABLES,
    WASMBIN_MEMORIES,
    WASMBIN_GLOBALS,
    WASMBIN_EXPORTS,
    WASMBIN_START,
    WASMBIN_ELEMENTS,
    WASMBIN_CODE,
    WASMBIN_DATA,
    WASMBIN_DATA_COUNT,
    WASMBIN_TAGS,
    WASMBIN_SECTION_COUNT,
};
// Where a section stands in a module: DATA_COUNT comes before CODE. `id` is not WASMBIN_CUSTOM.
unsigned wasmbin_section_rank(enum wasmbin_section_id id);

// ---- reading ----------------------------------------------------------------------------------------------
// Confined. A failed read leaves `at` somewhere in the broken item; the reader is not used after.
struct wasmbin_reader {
    const uint8_t *base; // of the module: offsets in messages count from here
    const uint8_t *at, *end;
    struct tw_error *err;
};

// Fails with INVALID_WASM: "byte 123: …", the position being that of `at`.
[[gnu::format(printf, 3, 4)]] bool wasmbin_bad(const struct wasmbin_reader *reader, const uint8_t *at,
                                               const char *format, ...);
// Fails with INVALID_WASM: the module uses a proposal that this host does not take.
bool wasmbin_refused(const struct wasmbin_reader *reader, const uint8_t *at, const char *what,
                     const char *proposal);
// Fails with MODULE_TOO_LARGE.
bool wasmbin_too_many(const struct wasmbin_reader *reader, const char *what, uint64_t value, uint64_t max);
// Fails with CAPACITY: the arena is full.
bool wasmbin_no_memory(struct tw_error *err);

// `what` names the item in messages: "a function index".
[[nodiscard]] bool wasmbin_read_byte(struct wasmbin_reader *reader, const char *what, uint8_t *ret_byte);
[[nodiscard]] bool wasmbin_read_long_u32(struct wasmbin_reader *reader, const char *what,
                                         uint32_t *ret_value);
[[nodiscard]] static inline bool wasmbin_read_u32(struct wasmbin_reader *reader, const char *what,
                                                  uint32_t *ret_value) {
    if (reader->at < reader->end && *reader->at < 0x80) { // most numbers are one byte
        *ret_value = *reader->at++;
        return true;
    }
    return wasmbin_read_long_u32(reader, what, ret_value);
}
// Signed, `bits` wide (32, 33 or 64).
[[nodiscard]] bool wasmbin_read_signed(struct wasmbin_reader *reader, unsigned bits, int64_t *ret_value);
[[nodiscard]] bool wasmbin_read_bytes(struct wasmbin_reader *reader, const char *what, size_t len,
                                      struct tw_span *ret_bytes);
// A length, then UTF-8 of at most `max` bytes.
[[nodiscard]] bool wasmbin_read_name(struct wasmbin_reader *reader, const char *what, size_t max,
                                     struct tw_str *ret_name);
// A count of items that take at least one byte each: never more than `max` (of `what`s) or than bytes are
// left.
[[nodiscard]] bool wasmbin_read_count(struct wasmbin_reader *reader, const char *what, uint32_t max,
                                      uint32_t *ret_count);
// enum tw_wasm_valtype; what a reference of a kind of its own refers to is not told.
[[nodiscard]] bool wasmbin_read_valtype(struct wasmbin_reader *reader, uint8_t *ret_type);
[[nodiscard]] bool wasmbin_read_reftype(struct wasmbin_reader *reader, uint8_t *ret_type);
// A value type, or an integer of 8 or 16 bits: what structures and arrays hold.
enum {
    WASMBIN_STORAGE_I16 = 0x77,
    WASMBIN_STORAGE_I8 = 0x78,
    WASMBIN_REF_NULL_TYPE = 0x63,
    WASMBIN_REF_TYPE = 0x64
};
[[nodiscard]] bool wasmbin_read_storage(struct wasmbin_reader *reader);
// What a reference may refer to; the type is that of a reference to it that may be null.
[[nodiscard]] bool wasmbin_read_heaptype(struct wasmbin_reader *reader, uint8_t *ret_type);
bool wasmbin_is_numeric(uint8_t type);
// Fails unless `index` < `count`.
[[nodiscard]] bool wasmbin_check_index(const struct wasmbin_reader *reader, const uint8_t *at,
                                       const char *what, uint32_t index, uint32_t count);

// ---- instructions -----------------------------------------------------------------------------------------
// What follows an opcode, and where struct wasmbin_op has it. All indices are LEB128 of 32 bits.
enum wasmbin_immediates {
    WASMBIN_IMM_UNKNOWN, // no such instruction
    WASMBIN_IMM_REFUSED,
    WASMBIN_IMM_NONE,
    WASMBIN_IMM_BLOCK,      // block type; a: type index, or UINT32_MAX
    WASMBIN_IMM_TRY,        // block type as above; b: how many catch clauses follow at `labels`
    WASMBIN_IMM_LABEL,      // a: depth
    WASMBIN_IMM_LABELS,     // a: how many depths follow at `labels` (the default is the last), b: the largest
    WASMBIN_IMM_CAST_LABEL, // a: depth
    WASMBIN_IMM_FUNC,       // a
    WASMBIN_IMM_TAG,        // a
    WASMBIN_IMM_TYPE,       // a
    WASMBIN_IMM_TYPE_TYPE,  // a, b
    WASMBIN_IMM_TYPE_NUMBER,   // a: type, b: a field, or a count
    WASMBIN_IMM_TYPE_DATA,     // a: type, b: segment
    WASMBIN_IMM_TYPE_ELEM,     // a: type, b: segment
    WASMBIN_IMM_TYPE_TABLE,    // a: type, b: table
    WASMBIN_IMM_TYPES,         // a vector of value types
    WASMBIN_IMM_LOCAL,         // a
    WASMBIN_IMM_GLOBAL,        // a
    WASMBIN_IMM_TABLE,         // a
    WASMBIN_IMM_TABLE_TABLE,   // a, b
    WASMBIN_IMM_ELEM,          // a
    WASMBIN_IMM_ELEM_TABLE,    // a: segment, b: table
    WASMBIN_IMM_DATA,          // a
    WASMBIN_IMM_DATA_MEMORY,   // a: segment, b: memory
    WASMBIN_IMM_MEMORY,        // a
    WASMBIN_IMM_MEMORY_MEMORY, // a, b
    WASMBIN_IMM_MEMARG,        // a: memory
    WASMBIN_IMM_MEMARG_LANE,   // a: memory
    WASMBIN_IMM_LANE,
    WASMBIN_IMM_HEAP, // a: enum tw_wasm_valtype of a reference to it
    WASMBIN_IMM_S32,  // value
    WASMBIN_IMM_S64,  // value
    WASMBIN_IMM_BYTES4,
    WASMBIN_IMM_BYTES8,
    WASMBIN_IMM_BYTES16,
};

// WASMBIN_I32_ADD and so on: the byte, or the prefix and the code.
enum wasmbin_code {
    WASMBIN_PREFIX_FB = 0xfb000,
    WASMBIN_PREFIX_FC = 0xfc000,
    WASMBIN_PREFIX_FD = 0xfd000,
#define WASMBIN_OP(byte, immediates, id, text) WASMBIN_##id = (byte),
#define WASMBIN_FB(code, immediates, id, text) WASMBIN_##id = WASMBIN_PREFIX_FB | (code),
#define WASMBIN_FC(code, immediates, id, text) WASMBIN_##id = WASMBIN_PREFIX_FC | (code),
#define WASMBIN_FD(code, immediates, id, text) WASMBIN_##id = WASMBIN_PREFIX_FD | (code),
#define WASMBIN_REFUSED(byte, proposal, text)
#include "wasmbin/opcodes.def"
#undef WASMBIN_OP
#undef WASMBIN_FB
#undef WASMBIN_FC
#undef WASMBIN_FD
#undef WASMBIN_REFUSED
};

// Plain value.
struct wasmbin_op {
    const uint8_t *at; // its first byte
    uint32_t code;     // enum wasmbin_code
    enum wasmbin_immediates immediates;
    uint32_t a, b;
    int64_t value;
    const uint8_t *labels;
};
// The next instruction. Checks its encoding, not its indices.
[[nodiscard]] bool wasmbin_next(struct wasmbin_reader *reader, struct wasmbin_op *ret_op);

// Plain value. Where an exception goes on; the label counts from outside the try_table.
struct wasmbin_catch {
    uint32_t tag, label; // tag: UINT32_MAX catches all
};
[[nodiscard]] bool wasmbin_read_catch(struct wasmbin_reader *reader, struct wasmbin_catch *ret_catch);

// ---- the parsed module ------------------------------------------------------------------------------------
// Plain value.
struct wasmbin_section {
    enum wasmbin_section_id id;
    struct tw_str name;     // of a custom section
    struct tw_span whole;   // with its header
    struct tw_span content; // of a custom section: after the name
};
// Plain value.
struct wasmbin_body {
    const uint8_t *start; // its locals
    const uint8_t *code;  // its first instruction
    const uint8_t *end;
    uint32_t locals; // without parameters
};
// What a constant expression gave. Plain value.
struct wasmbin_constant {
    uint8_t type;   // enum tw_wasm_valtype
    bool is_known;  // the value is an integer or a float that depends on nothing imported
    uint64_t value; // its bits
};
// Plain value.
struct wasmbin_segment {  // beside wasm->data
    struct tw_span whole; // as it was encoded
    bool is_kept;         // active, but its memory or offset is imported: it stays as it is
};
// Confined, in the arena: tw_wasm's `sections`.
struct wasmbin_module {
    struct wasmbin_section *sections;
    uint32_t section_count;
    struct wasmbin_body *bodies;      // of defined functions
    struct wasmbin_constant *globals; // initial values; imported ones are not known
    uint8_t *data_used;               // by data segment: named by memory.init or data.drop
    uint8_t *declared;                // by function: ref.func may name it in code
    struct wasmbin_segment *segments; // by data segment
    struct tw_span export_items;      // the items of that section, without their count
    uint32_t export_items_count;
    uint32_t elem_count;
    uint32_t *elem_lens; // by element segment: its elements
    uint32_t *arrays;    // by type: where an array's storage type is in the module's bytes; 0: it is no array
    uint32_t declared_data; // of the DataCount section
    bool has_data_count;
};

// ---- parsing ----------------------------------------------------------------------------------------------
// Confined.
struct wasmbin_parser {
    struct tw_arena *arena;
    struct tw_wasm *wasm;
    struct wasmbin_module *module;
    struct tw_error *err;
    uint32_t defined_funcs; // entries of the function section
    bool has_code;
};
// Zeroed array in the arena; NULL and a CAPACITY error when it is full. A count of 0 gives a pointer all the
// same.
[[nodiscard]] void *wasmbin_alloc(struct tw_arena *arena, size_t count, size_t size, size_t align,
                                  struct tw_error *err);
#define WASMBIN_ARRAY(arena, type, count, err)                                                               \
    ((type *)wasmbin_alloc((arena), (count), sizeof(type), _Alignof(type), (err)))

// One a section: reads its content to the end of `reader`.
[[nodiscard]] bool wasmbin_parse_types(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_imports(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_functions(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_tables(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_memories(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_tags(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_globals(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_exports(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_start(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_elements(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_data_count(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_code(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
[[nodiscard]] bool wasmbin_parse_data(struct wasmbin_parser *parser, struct wasmbin_reader *reader);
// Function names; a section that is not as it should be is ignored.
void wasmbin_parse_names(struct wasmbin_parser *parser, struct tw_span content);

// Notes that a function is named outside of code, so that ref.func may name it there. No functions are added
// after the first call.
[[nodiscard]] bool wasmbin_declare(struct wasmbin_parser *parser, uint32_t func);

// A constant expression with its `end`.
[[nodiscard]] bool wasmbin_read_constant(struct wasmbin_parser *parser, struct wasmbin_reader *reader,
                                         struct wasmbin_constant *ret_constant);

// ---- rewriting --------------------------------------------------------------------------------------------
// A function that does an instruction of such a length in pieces. Plain value.
struct wasmbin_helper {
    uint32_t code, a, b;  // of the instruction
    uint32_t segment_len; // of what it reads: bytes, or elements
    uint8_t unit_log2;    // of a data segment's bytes for each element
    uint32_t filler;      // of what makes an array: the helper that fills it
};
// Confined, in the arena.
struct wasmbin_helpers {
    struct wasmbin_helper *items;
    uint32_t count;
    uint16_t *slots; // a hash table of their numbers
    bool is_full;    // one more was wanted than there may be
};
// The instructions of a poll, up to its offset.
struct wasmbin_poll {
    uint8_t bytes[WASMBIN_POLL_HEAD_MAX];
    uint32_t len;
};
struct wasmbin_helper_body {
    uint8_t bytes[WASMBIN_HELPER_BYTES_MAX];
    size_t len;
    uint32_t poll_count;
};
struct wasmbin_helper_type {
    uint8_t bytes[WASMBIN_HELPER_TYPE_BYTES_MAX];
    size_t len;
};
#define WASMBIN_NO_HELPER UINT32_MAX
[[nodiscard]] bool wasmbin_helpers_init(struct wasmbin_helpers *helpers, struct tw_arena *arena,
                                        struct tw_error *err);
// The bytes or elements in a piece of what such an instruction does; 0: no other instruction is done in pieces.
uint32_t wasmbin_piece(uint32_t code);
// array.new, array.new_data, array.new_elem.
bool wasmbin_makes_array(uint32_t code);
// The number of the helper for this instruction, which is added when it is the first. WASMBIN_NO_HELPER: it is never longer
// than a piece, or names what it cannot, or `helpers` is full.
uint32_t wasmbin_helper_find(struct wasmbin_helpers *helpers, const struct tw_wasm *wasm,
                             const struct wasmbin_op *op);
// `first_func`: the function of the first helper.
void wasmbin_helper_write(const struct wasmbin_helper *helper, const struct wasmbin_poll *poll_code,
                          uint32_t first_func, struct wasmbin_helper_body *ret_body);
// Its function's type, as an item of the type section.
void wasmbin_helper_type_write(const struct tw_wasm *wasm, const struct wasmbin_helper *helper,
                               struct wasmbin_helper_type *ret_type);

// A change in a body, ascending by offset from body->start: a poll that comes in, or a helper's call that stands there
// instead of the instruction. Plain value.
struct wasmbin_edit {
    uint32_t offset;
    uint32_t helper; // WASMBIN_NO_HELPER: a poll
};
struct wasmbin_edits {
    const struct wasmbin_edit *items;
    uint32_t count, poll_count;
};
// For every defined function; what is called goes to `helpers`.
[[nodiscard]] bool wasmbin_polls_place(struct tw_arena *arena, const struct tw_wasm *wasm,
                                       struct wasmbin_helpers *helpers, struct wasmbin_edits **ret_edits,
                                       struct tw_error *err);

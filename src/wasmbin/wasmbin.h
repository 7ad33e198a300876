// SPDX-License-Identifier: Apache-2.0
//
// Reads, checks and rewrites WebAssembly binaries, so that an instance's whole state can be read, reset and
// interrupted from outside.
//
//     struct tw_wasm wasm;
//     if (tw_wasm_parse(&arena, bytes, &wasm, &err) && tw_wasm_rewrite(&wasm, &options, &out, &rewritten, &err)) …
//
// Parsing checks everything the rewrite relies on (structure, index ranges, instruction boundaries, limits);
// full validation of types is the engine's, in the compiler process. All results live in the arena and borrow
// from `bytes`. Confined to one thread.
#pragma once

#include "base/base.h"

enum {
    TW_WASM_MAX_BYTES = 64 << 20,
    TW_WASM_MAX_REWRITTEN_BYTES = 128 << 20
}; // what is taken; what the rewrite may make of it

#define TW_WASM_RESERVED "tw:" // exports of a rewritten module that begin so are ours

enum tw_wasm_kind { TW_WASM_FUNC, TW_WASM_TABLE, TW_WASM_MEMORY, TW_WASM_GLOBAL, TW_WASM_TAG };
enum tw_wasm_valtype {
    TW_WASM_I32 = 0x7f,
    TW_WASM_I64 = 0x7e,
    TW_WASM_F32 = 0x7d,
    TW_WASM_F64 = 0x7c,
    TW_WASM_V128 = 0x7b,
    TW_WASM_FUNCREF = 0x70,
    TW_WASM_EXTERNREF = 0x6f,
    TW_WASM_REF =
        0x64 // any other reference: not null, to a type of the module, to an object, to an exception
};

struct tw_wasm_functype {            // empty for a structure's or an array's type
    const uint8_t *params, *results; // enum tw_wasm_valtype, a byte each
    uint32_t param_count, result_count;
};
struct tw_wasm_import {
    struct tw_str module, name;
    enum tw_wasm_kind kind;
    uint32_t type; // FUNC, TAG: index into types
};
struct tw_wasm_export {
    struct tw_str name;
    enum tw_wasm_kind kind;
    uint32_t index;
};
struct tw_wasm_limits {
    uint64_t min, max; // pages or elements; max = UINT64_MAX when none
    bool is_64, is_shared;
};
struct tw_wasm_global {
    uint8_t type; // enum tw_wasm_valtype
    bool is_mutable;
    bool is_known;  // an integer or a float whose initial value depends on nothing imported
    uint64_t value; // its bits
};
// A data segment. An active one has its offset worked out and lies within the memory's first size: bytes of
// the memory image.
struct tw_wasm_data {
    uint32_t memory;
    uint64_t offset;
    struct tw_span bytes;
    bool is_active; // false as well for one whose memory or offset is imported: it stays active in the
                    // rewritten module, for the engine to apply
};
struct tw_wasm_name { // from the name section
    uint32_t func;
    struct tw_str name;
};

// A parsed module. Index spaces include imports first, as in Wasm.
struct tw_wasm {
    struct tw_span bytes;
    struct tw_wasm_functype *types;
    uint32_t type_count;
    struct tw_wasm_import *imports;
    uint32_t import_count;
    struct tw_wasm_export *exports;
    uint32_t export_count;
    uint32_t *func_types; // type index of every function
    uint32_t func_count, imported_funcs;
    struct tw_wasm_limits *memories, *tables;
    uint32_t memory_count, imported_memories, table_count, imported_tables;
    uint32_t tag_count, imported_tags;
    struct tw_wasm_global *globals;
    uint32_t global_count, imported_globals;
    struct tw_wasm_data *data;
    uint32_t data_count;
    struct tw_wasm_name *names;
    uint32_t name_count;
    bool has_start;
    uint32_t start;
    // table.set/grow/fill/copy/init or elem.drop occur, or a mutable global holds a reference: cannot be
    // reset in place
    bool mutates_tables;
    bool uses_data_drop; // data.drop or memory.init of a passive segment occur: segments carry state
    bool has_objects;    // it declares structures or arrays: state that lies in no memory
    void *sections;      // wasmbin's own
};

// INVALID_WASM with the byte offset and what was expected; MODULE_TOO_LARGE above a limit, naming it.
// memory64, threads (shared memories and atomics), the exceptions of before WebAssembly 3.0 and component
// binaries are refused by name. CAPACITY when the arena is full: 2 MiB and 12 bytes for each byte of the module
// do for both functions.
[[nodiscard]] bool tw_wasm_parse(struct tw_arena *arena, struct tw_span bytes, struct tw_wasm *ret_wasm,
                                 struct tw_error *err);
// The exported function with that name; NULL: none. Borrowed from the module.
const struct tw_wasm_functype *tw_wasm_export_type(const struct tw_wasm *wasm, struct tw_str name);

struct tw_wasm_rewrite_options {
    // Add the poll memory and `i32.load8_u offset=k (i32.const 0); drop` of it at every loop header, at the
    // entry of every function but leaves (no calls in it) of at most 64 bytes of code, and wherever a
    // function could otherwise run for more than about 0.1 ms (long straight code, memory.fill and the like
    // in a row): recursion, tail calls and trees of calls (f1 calls f2 twice, f2 calls f3 twice, …) all run
    // long without a loop. k is the number of the poll within its function, from 0: Cranelift would merge a
    // load with a dominating load of the same address and leave the inner loop without any (seen in its
    // output). Functions with more than 65,536 polls are refused.
    bool poll;
};

// What the rewritten module offers beyond the original's exports (all reserved names start with "tw:"; a
// module that uses them itself is refused):
//   tw:m0 tw:m1 …  every defined memory       tw:t0 …  every defined table
//   tw:g0 …        every defined mutable global that holds a number (a reference sets mutates_tables)
//   tw:start       the start function         tw:poll  the poll memory (1 page, the last memory)
// Memories without a maximum got the one that they have anyway, 65,536 pages: so the engine can tell them from
// a collector's heap. Active data segments became empty passive ones (their bytes are in wasm->data), active element
// segments stay as they are. Custom sections about code offsets, debugging and linking are dropped, since code moves;
// all indices stay.
struct tw_wasm_rewritten {
    uint32_t memory_count, global_count, table_count; // how many tw:m, tw:g, tw:t there are
    uint32_t *globals;                                // indices in the original's global space behind tw:g0 …
    bool has_start, has_poll;
    uint32_t poll_count;   // loads that were put in
    uint32_t helper_count; // functions that were added behind the module's: long fills and copies in pieces
};
// Appends the new binary to `out` (untouched on failure). INVALID_WASM for an export with a reserved name,
// MODULE_TOO_LARGE when polls make a function or the module larger than the engine takes, CAPACITY without
// memory.
[[nodiscard]] bool tw_wasm_rewrite(struct tw_arena *arena, const struct tw_wasm *wasm,
                                   const struct tw_wasm_rewrite_options *options, struct tw_buf *out,
                                   struct tw_wasm_rewritten *ret_rewritten, struct tw_error *err);

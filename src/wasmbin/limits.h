// SPDX-License-Identifier: Apache-2.0
//
// The maxima of this room, each with its reason. A module above one is refused with MODULE_TOO_LARGE, naming
// it. Where Wasmtime (48) has a limit of its own, ours is not above it, so that the clearer message comes
// first.
#pragma once

#include "wasmbin/wasmbin.h"

enum {
    // Index spaces. Functions bound the arrays here and what a compiler process needs; ten times less than
    // the
    // engine's own limit, 1,000,000.
    WASMBIN_MAX_FUNCTIONS = 100'000,
    WASMBIN_MAX_TYPES = 100'000,    // a compiler makes no more types than functions
    WASMBIN_MAX_IMPORTS = 10'000,   // the host offers some 150
    WASMBIN_MAX_EXPORTS = 10'000,   // looked up by name, one by one; reserved names not counted
    WASMBIN_MAX_GLOBALS = 10'000,   // each mutable one is read and set on every reset
    WASMBIN_MAX_TAGS = 100'000,     // the engine's limit is ten times that
    WASMBIN_MAX_TABLES = 100,       // the engine's limit
    WASMBIN_MAX_MEMORIES = 16,      // address space: each may reserve 4 GiB. One of them is for polling
    WASMBIN_MAX_SEGMENTS = 100'000, // the engine's limit, for data and for element segments
    WASMBIN_MAX_SECTIONS = 1'000,   // 13 have a meaning, the rest are custom; debug information makes a dozen

    // Types.
    WASMBIN_MAX_PARAMS = 1'000,              // the engine's limit
    WASMBIN_MAX_RESULTS = 1'000,             // the engine's limit
    WASMBIN_MAX_FIELDS = 10'000,             // of a structure; the engine's limit
    WASMBIN_MAX_PAGES = 65'536,              // 4 GiB: all that 32 bits address
    WASMBIN_MAX_TABLE_ELEMENTS = 10'000'000, // at the start; the engine's limit

    // Functions.
    WASMBIN_MAX_LOCALS = 50'000,        // with parameters; the engine's limit
    WASMBIN_MAX_BODY_BYTES = 7'654'321, // the engine's limit, before and after polls were put in
    WASMBIN_MAX_CATCHES = 10'000,       // of one try_table; the engine's limit
    WASMBIN_MAX_NESTING = 10'000,       // a C switch may be a block a case; our stacks are this deep

    // Constant expressions are evaluated on a stack of their own; what linkers make needs 2 values.
    WASMBIN_MAX_CONSTANT_STACK = 64,

    // Names. Those of imports and exports are kept in records and shown in answers; those of the name
    // section are only borrowed, and mangled C++ names are long.
    WASMBIN_MAX_NAME_BYTES = 10'000,
    WASMBIN_MAX_DEBUG_NAME_BYTES = 100'000, // the engine's limit

    // Polling (polls.c). Units are about one instruction each, 0.3 to 1 ns.
    WASMBIN_MAX_POLLS = 65'536,    // in a function: each loads another byte of the poll page
    WASMBIN_POLL_BUDGET = 250'000, // longest stretch without a poll: some 0.1 ms
    WASMBIN_BULK_COST =
        WASMBIN_POLL_BUDGET / 2,        // what takes a length and is not done in pieces: tables, new arrays
    WASMBIN_PIECE_BYTES = 256 << 10,    // of a long fill or copy, between two polls: some 20 µs
    WASMBIN_BULK_BYTES_PER_UNIT = 16,   // when its length is a constant
    WASMBIN_GROW_COST = 10'000,         // memory.grow: a system call or two
    WASMBIN_OBJECT_COST = 50,           // making one, and its part in collecting them
    WASMBIN_THROW_COST = 1'000,         // looking for who catches it, a frame at a time
    WASMBIN_CALL_COST = 4,              // a call and its frame
    WASMBIN_PIECE_ELEMENTS = 16 << 10,  // of an array, for the same: 1.3 ns for a counted reference
    WASMBIN_PIECE_REFERENCES = 4 << 10, // of an element segment: 36 ns to make one of a function
    // Functions that the rewrite adds: one for each instruction with what it names. All that can be of memories are 272, and
    // compilers have a dozen or two of arrays. The longest has 234 bytes, with numbers written as long as can be.
    WASMBIN_MAX_HELPERS = 1'024,
    WASMBIN_HELPER_SLOTS = 2 * WASMBIN_MAX_HELPERS,
    WASMBIN_HELPER_BYTES_MAX = 256,
    WASMBIN_HELPER_TYPE_BYTES_MAX = 24, // two references of 6 bytes, or one and an element
    WASMBIN_POLL_HEAD_MAX = 5,          // i32.const 0, i32.load8_u with a memory's index
    // Leaves up to this size have no poll at their entry, which would cost a getter as much as the getter
    // does.
    WASMBIN_SMALL_BYTES = 64,  // of code
    WASMBIN_SMALL_LOCALS = 64, // they are zeroed on entry, 8 or more at a time
    WASMBIN_SMALL_COST = WASMBIN_CALL_COST + WASMBIN_SMALL_BYTES + WASMBIN_SMALL_LOCALS / 8,
    // What a frame may run without a poll after a call returned: a deep recursion unwinds through all its
    // frames, 30,000
    // of 32 bytes in 1 MiB of stack, so this times 30,000 must stay in the order of 10 ms.
    WASMBIN_UNWIND_SLACK = 1'000,
};

// SPDX-License-Identifier: Apache-2.0
//
// What the parser says about good modules, and how it refuses bad ones: with the byte and the reason, whole
// or not at all.

#include "guests.h"

#define MODULE(bytes)             tw_span_of("\0asm\1\0\0\0" bytes, sizeof("\0asm\1\0\0\0" bytes) - 1)
#define REFUSE(bytes, part)       refuse(MODULE(bytes), TW_ERR_INVALID_WASM, part)
#define REFUSE_LARGE(bytes, part) refuse(MODULE(bytes), TW_ERR_MODULE_TOO_LARGE, part)
#define assert_str(s, wanted)     ck_assert_msg(tw_str_equal((s), TW_STR(wanted)), "%.*s", TW_STR_ARG(s))
#define assert_bytes(span, wanted)                                                                           \
    (ck_assert_uint_eq((span).len, sizeof(wanted) - 1),                                                      \
     ck_assert_mem_eq((span).data, wanted, sizeof(wanted) - 1))

// ---- good ones --------------------------------------------------------------------------------------------
TW_TEST("index spaces begin with the imports") {
    parse(assemble(
        "(module (type (func (param i32 f64) (result i64)))"
        "(import \"a\" \"f\" (func (type 0))) (import \"b\" \"m\" (memory 2 7)) (import \"c\" \"t\" (table 3 "
        "funcref))"
        "(import \"d\" \"g\" (global (mut i64))) (import \"\" \"\\c3\\a9\" (func (param externref)))"
        "(memory 1) (table 5 9 externref) (global f32 (f32.const 1))"
        "(func (export \"own\") (param v128)) (export \"again\" (func 0)) (export \"g\" (global 1)))"));
    ck_assert_uint_eq(wasm.import_count, 5);
    assert_str(wasm.imports[0].module, "a");
    assert_str(wasm.imports[0].name, "f");
    ck_assert_int_eq(wasm.imports[0].kind, TW_WASM_FUNC);
    ck_assert_uint_eq(wasm.imports[0].type, 0);
    ck_assert_int_eq(wasm.imports[1].kind, TW_WASM_MEMORY);
    ck_assert_int_eq(wasm.imports[2].kind, TW_WASM_TABLE);
    ck_assert_int_eq(wasm.imports[3].kind, TW_WASM_GLOBAL);
    assert_str(wasm.imports[4].module, "");
    assert_str(wasm.imports[4].name, "\xc3\xa9");
    ck_assert_uint_eq(wasm.func_count, 3);
    ck_assert_uint_eq(wasm.imported_funcs, 2);
    ck_assert_uint_eq(wasm.memory_count, 2);
    ck_assert_uint_eq(wasm.imported_memories, 1);
    ck_assert_uint_eq(wasm.memories[0].min, 2);
    ck_assert_uint_eq(wasm.memories[0].max, 7);
    ck_assert_uint_eq(wasm.memories[1].min, 1);
    ck_assert(wasm.memories[1].max == UINT64_MAX);
    ck_assert_uint_eq(wasm.table_count, 2);
    ck_assert_uint_eq(wasm.imported_tables, 1);
    ck_assert_uint_eq(wasm.tables[1].min, 5);
    ck_assert_uint_eq(wasm.tables[1].max, 9);
    ck_assert_uint_eq(wasm.global_count, 2);
    ck_assert_uint_eq(wasm.imported_globals, 1);
    ck_assert_uint_eq(wasm.globals[0].type, TW_WASM_I64);
    ck_assert(wasm.globals[0].is_mutable);
    ck_assert_uint_eq(wasm.globals[1].type, TW_WASM_F32);
    ck_assert(!wasm.globals[1].is_mutable);
    ck_assert(!wasm.has_start && !wasm.mutates_tables && !wasm.uses_data_drop);

    const struct tw_wasm_functype *type = tw_wasm_export_type(&wasm, TW_STR("again"));
    ck_assert_ptr_nonnull(type);
    ck_assert_uint_eq(type->param_count, 2);
    ck_assert_uint_eq(type->params[0], TW_WASM_I32);
    ck_assert_uint_eq(type->params[1], TW_WASM_F64);
    ck_assert_uint_eq(type->result_count, 1);
    ck_assert_uint_eq(type->results[0], TW_WASM_I64);
    type = tw_wasm_export_type(&wasm, TW_STR("own"));
    ck_assert_ptr_nonnull(type);
    ck_assert_uint_eq(type->param_count, 1);
    ck_assert_uint_eq(type->params[0], TW_WASM_V128);
    ck_assert_ptr_null(tw_wasm_export_type(&wasm, TW_STR("g"))); // not a function
    ck_assert_ptr_null(tw_wasm_export_type(&wasm, TW_STR("ow")));
}

TW_TEST("active data has its offset worked out") {
    parse(assemble_file(GUESTS "/data.wat", ""));
    ck_assert_uint_eq(wasm.data_count, 6);
    static const struct tw_wasm_data wanted[] = {
        {0, 16, {(const uint8_t *)"hello", 5}, true},   {0, 121, {(const uint8_t *)"computed", 8}, true},
        {0, 0, {(const uint8_t *)"passive", 7}, false}, {1, 4096, {(const uint8_t *)"based", 5}, true},
        {0, 65536, {(const uint8_t *)"", 0}, true},     {0, 65535, {(const uint8_t *)"\xff", 1}, true}};
    for (uint32_t i = 0; i < wasm.data_count; i++) {
        ck_assert_uint_eq(wasm.data[i].memory, wanted[i].memory);
        ck_assert_uint_eq(wasm.data[i].offset, wanted[i].offset);
        ck_assert(wasm.data[i].is_active == wanted[i].is_active);
        ck_assert_uint_eq(wasm.data[i].bytes.len, wanted[i].bytes.len);
        ck_assert_mem_eq(wasm.data[i].bytes.data, wanted[i].bytes.data, wanted[i].bytes.len);
    }
    ck_assert(wasm.uses_data_drop);
}

TW_TEST("offsets wrap as i32 does, and may come from constant globals of the module") {
    parse(assemble_with("(module (memory 1) (global $a i32 (i32.const 40)) (global $b i32 (i32.add "
                        "(global.get $a) (i32.const 2)))"
                        "(data (i32.sub (global.get $b) (i32.const 1)) \"x\")"
                        "(data (i32.add (i32.const -1) (i32.const 11)) \"y\")"
                        "(data (i32.mul (i32.const 0x10000) (i32.const 0x10001)) \"\"))",
                        "--no-check"));
    ck_assert_uint_eq(wasm.data[0].offset, 41);
    ck_assert_uint_eq(wasm.data[1].offset, 10);
    ck_assert_uint_eq(wasm.data[2].offset, 65'536);
    refuse(assemble("(module (memory 1) (data (i32.const -1) \"x\"))"), TW_ERR_INVALID_WASM,
           "1 bytes at offset 4294967295 does not fit memory 0, which begins with 65536 bytes");
}

TW_TEST("segments that depend on imports are left to the engine") {
    parse(assemble_file(GUESTS "/data_imported.wat", ""));
    ck_assert(!wasm.data[0].is_active);
    ck_assert(!wasm.data[1].is_active);
    ck_assert(wasm.data[2].is_active);
    ck_assert_uint_eq(wasm.data[2].offset, 8);
    ck_assert(!wasm.uses_data_drop);
}

TW_TEST("segments are state only when code uses a passive one") {
    parse(assemble("(module (memory 1) (data $a (i32.const 0) \"x\") (func (data.drop $a)))"));
    ck_assert(!wasm.uses_data_drop); // an active one is dropped from the beginning
    parse(assemble("(module (memory 1) (data $a \"x\") (data $b \"y\") (func (data.drop $b)))"));
    ck_assert(wasm.uses_data_drop);
    parse(assemble("(module (memory 1) (data $a \"x\"))"));
    ck_assert(!wasm.uses_data_drop);
}

// ---- names ------------------------------------------------------------------------------------------------
TW_TEST("function names come from the name section") {
    parse(assemble_with(
        "(module (import \"a\" \"b\" (func $host)) (func $first) (func) (func $third (param $p i32)))",
        "--debug-names"));
    ck_assert_uint_eq(wasm.name_count, 3);
    ck_assert_uint_eq(wasm.names[0].func, 0);
    assert_str(wasm.names[0].name, "host");
    ck_assert_uint_eq(wasm.names[1].func, 1);
    assert_str(wasm.names[1].name, "first");
    ck_assert_uint_eq(wasm.names[2].func, 3);
    assert_str(wasm.names[2].name, "third");
}

// One function, then a name section with that content.
#define NAMED(size, content)                                                                                 \
    MODULE("\1\4\1\x60\0\0"                                                                                  \
           "\3\2\1\0"                                                                                        \
           "\xa\4\1\2\0\xb"                                                                                  \
           "\0" size "\4name" content)

TW_TEST("a name section with anything wrong gives no names and is no error") {
    parse(NAMED("\xa", "\1\3\1\0\0"));
    ck_assert_uint_eq(wasm.name_count, 1);
    static const struct tw_span broken[] = {
        {(const uint8_t *)"", 0},                        // empty
        {(const uint8_t *)"\1\7\2\0\1a\0\1b", 9},        // the same function twice
        {(const uint8_t *)"\1\4\1\1\1a", 6},             // a function that does not exist
        {(const uint8_t *)"\1\4\1\0\1\xff", 6},          // not UTF-8
        {(const uint8_t *)"\1\4\1\0\2a", 6},             // cut off
        {(const uint8_t *)"\1\5\1\0\1ab", 7},            // goes on
        {(const uint8_t *)"\1\4\1\0\1a\1\4\1\0\1a", 12}, // two subsections
        {(const uint8_t *)"\1\4\1\0\1a\0\1\0", 9},       // not in order
        {(const uint8_t *)"\1\4\1\0\1a\2", 7},           // another one without a size
        {(const uint8_t *)"\1\4\1\0\1a\2\x7f", 8},       // another one cut off
        {(const uint8_t *)"\1\xff\xff\xff\xff\x0f", 6},  // a huge one
    };
    for (size_t i = 0; i < TW_COUNT(broken); i++) {
        uint8_t bytes[64];
        struct tw_span start = NAMED("", "");
        size_t len = start.len - 6; // up to the section's id
        memcpy(bytes, start.data, len);
        bytes[len++] = 0;
        bytes[len++] = (uint8_t)(5 + broken[i].len);
        memcpy(bytes + len, "\4name", 5);
        memcpy(bytes + len + 5, broken[i].data, broken[i].len);
        parse(tw_span_of(bytes, len + 5 + broken[i].len));
        ck_assert_uint_eq(wasm.name_count, 0);
    }
    // Of two sections the first that is right counts.
    parse(NAMED("\7", "\1\0"
                      "\0\xb\4name\1\4\1\0\1b"
                      "\0\xb\4name\1\4\1\0\1c"));
    ck_assert_uint_eq(wasm.name_count, 1);
    assert_str(wasm.names[0].name, "b");
}

// ---- bad ones ---------------------------------------------------------------------------------------------
TW_TEST("what is not a module is told apart") {
    refuse(tw_span_of("", 0), TW_ERR_INVALID_WASM, "byte 0: not a WebAssembly module");
    refuse(tw_span_of("\0asm\1\0\0", 7), TW_ERR_INVALID_WASM, "byte 0: not a WebAssembly module");
    refuse(tw_span_of("\x7f"
                      "ELF\1\1\1\0\0",
                      9),
           TW_ERR_INVALID_WASM, "byte 0: not a WebAssembly module");
    refuse(tw_span_of("(module)", 8), TW_ERR_INVALID_WASM, "this is WebAssembly text");
    refuse(tw_span_of("\0asm\x0d\0\1\0", 8), TW_ERR_INVALID_WASM, "byte 4: this is a component");
    refuse(tw_span_of("\0asm\2\0\0\0", 8), TW_ERR_INVALID_WASM, "expected version 1, found 0x00000002");
    static const uint8_t huge[1];
    refuse(tw_span_of(huge, TW_WASM_MAX_BYTES + 1), TW_ERR_MODULE_TOO_LARGE,
           "67108865 bytes in a module, the limit is 67108864");
}

TW_TEST("sections come once, in order, and whole") {
    REFUSE("\1", "byte 9: the size of a section is cut short");
    REFUSE("\1\5\0", "a section has 5 bytes, only 1 are left");
    REFUSE("\x0e\0", "byte 8: unknown section 14");
    REFUSE("\6\1\0\xd\1\0", "byte 11: the tag section comes twice or too late");
    REFUSE("\1\1\0\1\1\0", "byte 11: the type section comes twice or too late");
    REFUSE("\3\1\0\1\1\0", "the type section comes twice or too late");
    REFUSE("\xa\1\0\xc\1\0", "the data count section comes twice or too late");
    REFUSE("\1\2\0\0", "byte 11: 1 bytes too many at the end of the type section");
    REFUSE("\0\0", "byte 10: the name of a custom section is cut short");
    REFUSE("\0\3\2ab\0\2\1\xff", "the name of a custom section is not UTF-8");
    REFUSE("\1\4\1\x60\0\0\3\2\1\0", "1 functions are declared, but there is no code section");
    REFUSE("\1\4\1\x60\0\0\3\2\1\0\xa\1\0", "0 function bodies for 1 declared functions");
    REFUSE("\xa\4\1\2\0\xb", "1 function bodies for 0 declared functions");
    REFUSE("\xc\1\2", "2 data segments are declared, but there is no data section");
    REFUSE("\xc\1\2\xb\1\0", "0 data segments, the data count section says 2");
    parse(MODULE("\0\3\2ab\1\1\0\0\1\0\3\1\0\xa\1\0\0\1\0"));
    ck_assert_uint_eq(wasm.func_count, 0);
}

TW_TEST("declarations are checked against what was declared before") {
    REFUSE("\1\2\1\x60", "parameters is cut short");
    REFUSE("\1\4\1\x61\0\0", "expected the type of a function, a structure or an array, found 0x61");
    REFUSE("\1\2\1\x5d", "a continuation type: stack switching is not supported");
    REFUSE("\1\2\1\x65", "a shared type: threads are not supported");
    REFUSE("\1\2\1\x4d", "a described type: custom descriptors are not supported");
    REFUSE("\1\5\1\x5f\1\x7f\2", "expected 0 or 1 for a field's mutability, found 2");
    REFUSE("\1\4\1\x5e\x76\0", "expected a value type, found 0x76"); // between i16 and the references
    REFUSE_LARGE("\1\5\1\x50\2\0\0", "byte 13: 2 supertypes, the limit is 1");
    REFUSE("\1\4\1\x4e\2\x5f", "2 types in a group are announced, only 1 bytes are left");
    REFUSE("\1\5\1\x60\1\x7f\1", "1 results are announced, only 0 bytes are left");
    REFUSE("\1\5\1\x60\1\x01\0", "byte 13: expected a value type, found 0x01");
    REFUSE("\2\5\1\0\0\0\0", "type 0 does not exist, there are 0");
    REFUSE("\2\4\1\0\0\5", "unknown kind of import 0x05");
    REFUSE("\2\6\1\0\0\4\0\0", "type 0 does not exist, there are 0");
    REFUSE("\2\6\1\0\0\4\1\0", "unknown kind of tag 0x01");
    REFUSE("\xd\3\1\0\0", "type 0 does not exist, there are 0");
    REFUSE("\2\5\1\1\xff\0\0", "the module of an import is not UTF-8");
    REFUSE("\3\2\1\0", "type 0 does not exist, there are 0");
    REFUSE("\4\4\1\x7f\0\1", "byte 11: expected a reference type, found 0x7f");
    REFUSE("\4\7\1\x40\0\x70\0\1\x0b", "a constant expression leaves 0 values");
    REFUSE("\4\7\1\x40\1\x70\0\1\x0b", "expected 0x40 0x00 before a table with an initial value");
    REFUSE("\5\4\1\1\2\1", "the maximum 1 is below the minimum 2");
    REFUSE("\5\3\1\x10\0", "unknown limit flags 0x10");
    REFUSE("\5\3\1\2\1", "threads and shared memories are not supported");
    REFUSE("\5\3\1\4\1", "64-bit memories and tables (memory64) are not supported");
    REFUSE("\5\3\1\x8\1", "custom page sizes are not supported");
    REFUSE("\5\x9\1\1\0\x81\x80\x80\x80\0\0", "bytes too many"); // max = 1 in a long form, then a byte
    REFUSE("\5\6\1\1\0\x81\x80\4", "a memory of at most 65537 pages; 32 bits address 65536");
    REFUSE_LARGE("\5\5\1\0\x81\x80\4", "65537 pages of memory at the start, the limit is 65536");
    REFUSE("\6\4\1\x7f\2\x41", "a shared global: threads are not supported");
    REFUSE("\6\4\1\x7f\4\x41", "expected 0 or 1 for a global's mutability, found 4");
    REFUSE("\7\5\1\1m\2\0", "exported memory 0 does not exist, there are 0");
    REFUSE("\5\3\1\0\1\7\5\1\1m\2\1", "byte 16: exported memory 1 does not exist, there are 1");
    REFUSE("\7\5\1\1m\4\0", "exported tag 0 does not exist, there are 0");
    REFUSE("\7\5\1\1m\5\0", "unknown kind of export 0x05");
    REFUSE("\x8\1\0", "start function 0 does not exist, there are 0");
    REFUSE("\1\5\1\x60\1\x7f\0\3\2\1\0\x8\1\0", "the start function 0 has 1 parameters and 0 results");
}

// The engine allows it for exported functions, and the rewrite exports the start function.
TW_TEST("code takes references only of functions that are named before it") {
    static const char text[] = "(module %s (func $start) (start $start) (func (drop (ref.func $start))))";
    static const char *const names[] = {"", "(export \"a\" (func $start))", "(elem declare func $start)",
                                        "(global funcref (ref.func $start))"};
    for (size_t i = 0; i < TW_COUNT(names); i++) {
        char guest[256];
        snprintf(guest, sizeof guest, text, names[i]);
        struct tw_span bytes = assemble_with(guest, "--no-check");
        if (i == 0)
            refuse(bytes, TW_ERR_INVALID_WASM,
                   "ref.func of function 0, which no export, element segment or global");
        else
            parse(bytes);
    }
}

// (rec (sub (struct (field i8) (field (mut (ref null 0)))))), (array (mut i64)), (func (param (ref 0) funcref
// (ref null func) (ref null any) i32) (result externref))
TW_TEST("types of objects are counted, references are told apart as far as callers need") {
    parse(
        MODULE("\1\x1b\3\x4e\1\x50\0\x5f\2\x78\0\x63\0\1\x5e\x7e\1\x60\5\x64\0\x70\x63\x70\x63\x6e\x7f\1\x6f"
               "\x0d\3\1\0\2"));
    ck_assert_uint_eq(wasm.type_count, 3);
    ck_assert(wasm.has_objects);
    ck_assert_uint_eq(wasm.tag_count, 1);
    ck_assert_uint_eq(wasm.types[0].param_count + wasm.types[1].param_count, 0);
    static const uint8_t params[] = {TW_WASM_REF, TW_WASM_FUNCREF, TW_WASM_FUNCREF, TW_WASM_REF, TW_WASM_I32};
    ck_assert_uint_eq(wasm.types[2].param_count, sizeof params);
    ck_assert_mem_eq(wasm.types[2].params, params, sizeof params);
    ck_assert_uint_eq(wasm.types[2].result_count, 1);
    ck_assert_uint_eq(wasm.types[2].results[0], TW_WASM_EXTERNREF);
}

TW_TEST("constant expressions are constant and leave one value") {
    REFUSE("\6\4\1\x7f\0\x0b", "a constant expression leaves 0 values");
    REFUSE("\6\x8\1\x7f\0\x41\0\x41\0\x0b", "a constant expression leaves 2 values");
    REFUSE("\6\6\1\x7f\0\x6a\x0b\0", "takes more values than there are");
    REFUSE("\6\x9\1\x7f\0\x41\0\x42\0\x6a\x0b", "adds values of other types");
    REFUSE("\6\x6\1\x7f\0\x45\0\x0b", "instruction 0x45 is not allowed in a constant expression");
    REFUSE("\6\x6\1\x7f\0\x23\0\x0b", "global 0 does not exist, there are 0"); // not even itself
    REFUSE("\6\xb\2\x7f\1\x41\0\x0b\x7f\0\x23\0\x0b", "reads global 0, which is mutable");
    REFUSE("\6\x6\1\x70\0\xd2\0\x0b", "function 0 does not exist, there are 0");
    REFUSE("\6\x5\1\x7f\0\x41\0", "expected an instruction, found the end");
    REFUSE("\5\3\1\0\1\xb\7\1\0\x42\0\x0b\1x", "the offset of a data segment is not an i32");
}

TW_TEST("segments are checked") {
    REFUSE("\x9\2\1\x8", "unknown flags 8 of an element segment");
    REFUSE("\x9\6\1\0\x41\0\x0b\0", "byte 11: table 0 does not exist, there are 0");
    REFUSE("\x9\5\1\1\0\1\0", "function 0 does not exist, there are 0");
    REFUSE("\x9\4\1\1\1\0", "unknown kind of element segment 0x01");
    REFUSE("\x9\4\1\5\x7f\0", "expected a reference type, found 0x7f");
    REFUSE("\x9\5\1\1\0\x7f\0", "127 elements are announced, only 1 bytes are left");
    REFUSE("\xb\2\1\3", "unknown flags 3 of a data segment");
    REFUSE("\xb\6\1\0\x41\0\x0b\0", "memory 0 does not exist, there are 0");
    REFUSE("\xb\4\1\1\5x", "a data segment has 5 bytes, only 1 are left");
    refuse(assemble("(module (memory 1) (data (i32.const 65533) \"four\"))"), TW_ERR_INVALID_WASM,
           "a data segment of 4 bytes at offset 65533 does not fit memory 0");
    refuse(assemble("(module (memory 0) (data (i32.const 1) \"\"))"), TW_ERR_INVALID_WASM,
           "does not fit memory 0");
}

// A module with one function () -> () of that code (after `declarations`), locals none.
#define BODY(size, total, code)                                                                              \
    "\1\4\1\x60\0\0"                                                                                         \
    "\3\2\1\0"                                                                                               \
    "\xa" total "\1" size "\0" code

TW_TEST("bodies are whole, nested rightly, and name only what exists") {
    parse(MODULE(BODY("\2", "\4", "\xb")));
    REFUSE(BODY("\3", "\4", "\xb"), "a function has 3 bytes, only 2 are left");
    REFUSE(BODY("\3", "\5", "\xb\xb"), "byte 24: a function goes on after its last `end`");
    REFUSE(BODY("\2", "\4", "\1"), "an `end` is missing");
    REFUSE(BODY("\3", "\5", "\5\xb"), "an `else` without an `if`");
    REFUSE(BODY("\6", "\x8", "\2\x40\5\xb\xb"), "an `else` without an `if`");
    REFUSE(BODY("\x8", "\xa", "\4\x40\5\5\xb\xb\xb"), "an `else` without an `if`");
    REFUSE(BODY("\4", "\6", "\xc\1\xb"), "label 1 does not exist, there are 1");
    REFUSE(BODY("\6", "\x8", "\xe\1\0\1\xb"), "label 1 does not exist, there are 1");
    REFUSE(BODY("\4", "\6", "\x10\1\xb"), "function 1 does not exist, there are 1");
    REFUSE(BODY("\4", "\6", "\x12\7\xb"), "function 7 does not exist, there are 1");
    REFUSE(BODY("\4", "\6", "\xd2\1\xb"), "function 1 does not exist, there are 1");
    REFUSE(BODY("\5", "\7", "\x11\1\0\xb"), "type 1 does not exist, there are 1");
    REFUSE(BODY("\5", "\7", "\x11\0\0\xb"), "table 0 does not exist, there are 0");
    REFUSE(BODY("\4", "\6", "\x20\0\xb"), "local 0 does not exist, there are 0");
    REFUSE(BODY("\4", "\6", "\x23\0\xb"), "global 0 does not exist, there are 0");
    REFUSE(BODY("\4", "\6", "\x25\0\xb"), "table 0 does not exist, there are 0");
    REFUSE(BODY("\5", "\7", "\2\1\xb\xb"), "type 1 does not exist, there are 1");
    REFUSE(BODY("\5", "\7", "\xfc\xd\0\xb"), "element segment 0 does not exist, there are 0");
    REFUSE(BODY("\6", "\x8", "\xfc\xc\0\0\xb"), "element segment 0 does not exist, there are 0");
    REFUSE(BODY("\6", "\x8", "\xfc\xe\0\0\xb"), "table 0 does not exist, there are 0");
    REFUSE(BODY("\5", "\7", "\xfc\x9\0\xb"), "need a data count section");
    REFUSE("\1\4\1\x60\0\0"
           "\3\2\1\0"
           "\xc\1\0"
           "\xa\7\1\5\0\xfc\x9\0\xb",
           "data segment 0 does not exist, there are 0");
    REFUSE(BODY("\4", "\6", "\x27\0\xb"), "code section: function 0: byte 23: unknown instruction 0x27");
    // One type, imported function 0: the body's number counts imports.
    REFUSE("\1\4\1\x60\0\0"
           "\2\5\1\0\0\0\0"
           "\3\2\1\0"
           "\xa\6\1\4\0\x20\0\xb",
           "function 1: byte 30: local 0");
}

TW_TEST("no instruction can name the memory that will be the poll memory") {
    // Without a memory, memory 0 would be it; with one, memory 1.
    REFUSE(BODY("\7", "\x9", "\x41\0\x28\2\0\xb"), "memory 0 does not exist, there are 0");
    REFUSE(BODY("\4", "\6", "\x3f\0\xb"), "memory 0 does not exist");
    REFUSE(BODY("\4", "\6", "\x40\0\xb"), "memory 0 does not exist");
    REFUSE(BODY("\6", "\x8", "\xfc\xa\0\0\xb"), "memory 0 does not exist");
    REFUSE(BODY("\5", "\7", "\xfc\xb\0\xb"), "memory 0 does not exist");
    REFUSE(BODY("\6", "\x8", "\xfd\0\0\0\xb"), "memory 0 does not exist");
    REFUSE(BODY("\7", "\x9", "\xfd\x54\0\0\0\xb"), "memory 0 does not exist");
    static const char *const code[] = {"(i32.load 1 (i32.const 0))",
                                       "(i32.store8 1 (i32.const 0) (i32.const 0))",
                                       "(memory.size 1)",
                                       "(memory.grow 1 (i32.const 1))",
                                       "(memory.copy 0 1 (i32.const 0) (i32.const 0) (i32.const 0))",
                                       "(memory.copy 1 0 (i32.const 0) (i32.const 0) (i32.const 0))",
                                       "(memory.fill 1 (i32.const 0) (i32.const 0) (i32.const 0))",
                                       "(memory.init 1 $d (i32.const 0) (i32.const 0) (i32.const 0))",
                                       "(v128.load16_lane 1 0 (i32.const 0) (v128.const i32x4 0 0 0 0))"};
    for (size_t i = 0; i < TW_COUNT(code); i++) {
        char text[512];
        snprintf(text, sizeof text, "(module (memory 1) (data $d \"\") (func %s))", code[i]);
        refuse(assemble_with(text, "--no-check"), TW_ERR_INVALID_WASM,
               "memory 1 does not exist, there are 1");
    }
}

// ---- limits -----------------------------------------------------------------------------------------------
TW_TEST("what is above a limit is refused by that limit's name") {
    REFUSE_LARGE("\1\5\xa1\x8d\6\0\0", "100001 types, the limit is 100000");
    REFUSE_LARGE("\3\5\xa1\x8d\6\0\0", "100001 functions, the limit is 100000");
    REFUSE_LARGE("\2\4\x91\x4e\0\0", "10001 imports, the limit is 10000");
    REFUSE_LARGE("\6\4\x91\x4e\0\0", "10001 globals, the limit is 10000");
    REFUSE_LARGE("\4\2\x65\0", "101 tables, the limit is 100");
    REFUSE_LARGE("\5\2\x11\0", "17 memories, the limit is 16");
    REFUSE_LARGE("\x9\5\xa1\x8d\6\0\0", "100001 element segments, the limit is 100000");
    REFUSE_LARGE("\xb\5\xa1\x8d\6\0\0", "100001 data segments, the limit is 100000");
    REFUSE_LARGE("\xc\3\xa1\x8d\6", "100001 data segments, the limit is 100000");
    REFUSE_LARGE("\1\5\1\x60\xe9\7\0", "1001 parameters, the limit is 1000");
    REFUSE_LARGE("\1\6\1\x60\0\xe9\7\0", "1001 results, the limit is 1000");
    REFUSE_LARGE("\4\7\1\x70\0\x81\xad\xe2\4", "10000001 table elements at the start, the limit is 10000000");
    REFUSE_LARGE("\1\4\1\x60\0\0"
                 "\3\2\1\0"
                 "\xa\6\1\xb2\x97\xd3\3\0",
                 "7654322 bytes in one function, the limit is 7654321");
    REFUSE_LARGE("\1\4\1\x60\0\0"
                 "\3\2\1\0"
                 "\xa\x9\1\7\1\xd1\x86\3\x7f\xb\0",
                 "50001 locals in a function, the limit is 50000");
    REFUSE_LARGE("\2\6\1\x91\x4e\0\0\0", "the module of an import has 10001 bytes, the limit is 10000");
    REFUSE("\1\5\x80\x80\4\0\0", "65536 types are announced, only 2 bytes are left");
}

TW_TEST("deep nesting is taken up to the limit and refused beyond") {
    for (unsigned over = 0; over < 2; over++) {
        struct tw_buf text;
        tw_buf_init(&text, 16 << 20);
        ck_assert(tw_buf_printf(&text, "(module (func "));
        unsigned blocks = WASMBIN_MAX_NESTING - 1 + over; // the function is one itself
        for (unsigned i = 0; i < blocks; i++)
            ck_assert(tw_buf_printf(&text, "block "));
        for (unsigned i = 0; i < blocks; i++)
            ck_assert(tw_buf_printf(&text, "end "));
        ck_assert(tw_buf_printf(&text, "))"));
        struct tw_span bytes = assemble((const char *)text.data);
        if (over)
            refuse(bytes, TW_ERR_MODULE_TOO_LARGE, "10001 nested blocks, the limit is 10000");
        else
            rewrite(bytes, true);
        tw_buf_done(&text);
    }
}

TW_TEST("a deep constant expression is refused") {
    struct tw_buf text;
    tw_buf_init(&text, 1 << 20);
    ck_assert(tw_buf_printf(&text, "(module (global i32"));
    for (unsigned i = 0; i < 65; i++)
        ck_assert(tw_buf_printf(&text, " i32.const 1"));
    for (unsigned i = 0; i < 64; i++)
        ck_assert(tw_buf_printf(&text, " i32.add"));
    ck_assert(tw_buf_printf(&text, "))"));
    refuse(assemble((const char *)text.data), TW_ERR_MODULE_TOO_LARGE,
           "65 values on the stack of a constant expression, the limit is 64");
    tw_buf_done(&text);
}

TW_TEST("without memory the module is refused whole, wherever memory ends") {
    struct tw_span bytes = assemble_file(GUESTS "/state.wat", "");
    struct tw_wasm_rewrite_options options = {.poll = true};
    bool done = false;
    for (size_t max = 0; !done; max += 4096) {
        struct tw_arena small;
        struct tw_buf out;
        struct tw_error error = {};
        tw_arena_init(&small, max);
        tw_buf_init(&out, 1 << 20);
        done = tw_wasm_parse(&small, bytes, &wasm, &error) &&
               tw_wasm_rewrite(&small, &wasm, &options, &out, &rewritten, &error);
        ck_assert(done ? out.len > 0 : out.len == 0 && error.code == TW_ERR_CAPACITY);
        tw_buf_done(&out);
        tw_arena_done(&small);
        ck_assert_uint_lt(max, 4 << 20);
    }
}

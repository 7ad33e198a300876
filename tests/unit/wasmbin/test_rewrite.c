// SPDX-License-Identifier: Apache-2.0
//
// The new binary, section by section, as wabt's tools and our own parser see it.

#include "guests.h"

// The reserved exports of a binary: "name kind index" lines in their order.
static struct tw_str exports_of(struct tw_span bytes) {
    static const char *const kinds[] = {"func", "table", "memory", "global", "tag"};
    static char lines[4096];
    size_t len = 0;
    parse(bytes);
    for (uint32_t i = 0; i < wasm.export_count; i++)
        len += (size_t)snprintf(lines + len, sizeof lines - len, "%.*s %s %u\n",
                                TW_STR_ARG(wasm.exports[i].name), kinds[wasm.exports[i].kind],
                                wasm.exports[i].index);
    return tw_str_of(lines, len);
}

#define assert_exports(bytes, wanted)                                                                        \
    do {                                                                                                     \
        struct tw_str found = exports_of(bytes);                                                             \
        ck_assert_msg(tw_str_equal(found, TW_STR(wanted)), "%.*s", TW_STR_ARG(found));                       \
    } while (0)

TW_TEST("state is exported under reserved names after the module's own exports") {
    struct tw_span out = rewrite(assemble_file(GUESTS "/state.wat", ""), true);
    static const uint32_t globals[] = {2, 4, 5, 6, 8}; // b (3) and f (7) are immutable, 0 and 1 imported
    ck_assert_uint_eq(rewritten.global_count, TW_COUNT(globals));
    ck_assert_mem_eq(rewritten.globals, globals, sizeof globals);
    ck_assert(rewritten.has_start);
    ck_assert(rewritten.has_poll);
    assert_exports(out, "second memory 2\nc global 4\n"
                        "tw:m0 memory 1\ntw:m1 memory 2\n"
                        "tw:g0 global 2\ntw:g1 global 4\ntw:g2 global 5\ntw:g3 global 6\ntw:g4 global 8\n"
                        "tw:t0 table 1\ntw:t1 table 2\ntw:start func 0\ntw:poll memory 3\n");
    ck_assert(!wasm.has_start);
}

TW_TEST("an empty module gets a memory and an export section for the poll memory alone") {
    struct tw_span empty = assemble("(module)");
    assert_exports(rewrite(empty, true), "tw:poll memory 0\n");
    ck_assert_uint_eq(wasm.memory_count, 1);
    ck_assert_uint_eq(wasm.memories[0].min, 1);
    ck_assert_uint_eq(wasm.memories[0].max, 1);
    assert_exports(rewrite(empty, false), "");
    ck_assert_uint_eq(wasm.memory_count, 0);
}

TW_TEST("sections that come in stand at their place, whatever is around") {
    // Each leaves out other sections; wabt insists on the order.
    static const char *const texts[] = {
        "(module (func (loop)))",
        "(module (table 1 funcref))",
        "(module (global (mut i32) (i32.const 0)))",
        "(module (func $f) (start $f))",
        "(module (func $f) (elem declare func $f))",
        "(module (import \"a\" \"b\" (func)))",
        "(module (import \"a\" \"b\" (memory 1)) (data (i32.const 0) \"x\"))",
        "(module (memory 1) (data (i32.const 0) \"x\"))",
        "(module (type (func)))",
        "(module (data \"x\"))",
        "(module (memory 1) (data $d \"x\") (func (data.drop $d)))",
        "(module (func (export \"f\")) (global i32 (i32.const 1)))",
    };
    for (size_t i = 0; i < TW_COUNT(texts); i++) {
        struct tw_span bytes = assemble(texts[i]);
        validate(rewrite(bytes, true), "");
        validate(rewrite(bytes, false), "");
    }
}

TW_TEST("active data becomes empty and passive, other segments stay") {
    struct tw_span out = rewrite(assemble_file(GUESTS "/data.wat", ""), false);
    parse(out);
    ck_assert_uint_eq(wasm.data_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert(!wasm.data[i].is_active);
        ck_assert_uint_eq(wasm.data[i].bytes.len, i == 2 ? 7 : 0);
    }
    ck_assert_mem_eq(wasm.data[2].bytes.data, "passive", 7);
    char *listing = objdump(out, "-h");
    ck_assert_uint_eq(count_of(listing, "DataCount"), 1);
    free(listing);

    out = rewrite(assemble_file(GUESTS "/data_imported.wat", ""), false);
    listing = objdump(out, "-x");
    ck_assert_ptr_nonnull(strstr(listing, "segment[0] memory=0 size=6 - init i32=8\n"));
    ck_assert_ptr_nonnull(strstr(listing, "segment[1] memory=1 size=9"));
    ck_assert_ptr_nonnull(strstr(listing, "segment[2] passive size=0\n"));
    free(listing);
}

TW_TEST("each poll of a function loads a byte of its own of the last memory, and drops it") {
    struct tw_span out = rewrite(assemble("(module (memory 1) (func (export \"f\") (loop) (loop)))"), true);
    char *listing = objdump(out, "-d");
    // wat2wasm gives `loop` no values, so the poll follows its type at once.
    ck_assert_ptr_nonnull(strstr(listing, ": 03 40                      | loop\n"));
    ck_assert_ptr_nonnull(strstr(listing, ": 41 00                      |   i32.const 0\n"));
    ck_assert_ptr_nonnull(strstr(listing, ": 2d 40 01 00                |   i32.load8_u 0 1 0\n"));
    ck_assert_ptr_nonnull(strstr(listing, ": 2d 40 01 01                |   i32.load8_u 0 1 1\n"));
    ck_assert_ptr_nonnull(strstr(listing, ": 1a                         |   drop\n"));
    free(listing);
    listing = objdump(rewrite(assemble("(module (func $f (call $f)))"), true), "-d");
    ck_assert_ptr_nonnull(strstr(listing, ": 2d 00 00                   | i32.load8_u 0 0\n"));
    free(listing);
}

// ---- custom sections --------------------------------------------------------------------------------------
static bool has_section(const char *name) {
    const struct wasmbin_module *module = wasm.sections;
    for (uint32_t i = 0; i < module->section_count; i++)
        if (module->sections[i].id == WASMBIN_CUSTOM &&
            tw_str_equal(module->sections[i].name, tw_str_from(name)))
            return true;
    return false;
}

TW_TEST("custom sections about code offsets are dropped, others stay") {
    static const char *const dropped[] = {
        "metadata.code.branch_hint", ".debug_info",        ".debug_line", "reloc.CODE", "linking",
        "sourceMappingURL",          "external_debug_info"};
    static const char *const stay[] = {"producers", "target_features", "metadata", "debug", "dylink.0"};
    struct tw_buf bytes;
    tw_buf_init(&bytes, 4096);
    ck_assert(tw_buf_append(&bytes, "\0asm\1\0\0\0", 8));
    for (size_t i = 0; i < TW_COUNT(dropped) + TW_COUNT(stay); i++) {
        const char *name = i < TW_COUNT(dropped) ? dropped[i] : stay[i - TW_COUNT(dropped)];
        uint8_t header[3] = {0, (uint8_t)(strlen(name) + 3), (uint8_t)strlen(name)};
        ck_assert(tw_buf_append(&bytes, header, 3) && tw_buf_append(&bytes, name, strlen(name)) &&
                  tw_buf_append(&bytes, "\1\2", 2));
    }
    struct tw_span out = rewrite(tw_buf_span(&bytes), true);
    for (size_t i = 0; i < TW_COUNT(dropped); i++)
        ck_assert(has_section(dropped[i]));
    parse(out);
    for (size_t i = 0; i < TW_COUNT(dropped); i++)
        ck_assert_msg(!has_section(dropped[i]), "%s", dropped[i]);
    for (size_t i = 0; i < TW_COUNT(stay); i++)
        ck_assert_msg(has_section(stay[i]), "%s", stay[i]);
    tw_buf_done(&bytes);
}

TW_TEST("function names outlive the rewrite") {
    struct tw_span bytes = assemble_with(
        "(module (import \"a\" \"b\" (func $host)) (func $mine (loop (call $host))))", "--debug-names");
    parse(rewrite(bytes, true));
    ck_assert_uint_eq(wasm.name_count, 2);
    ck_assert(tw_str_equal(wasm.names[1].name, TW_STR("mine")));
    ck_assert_uint_eq(wasm.names[1].func, 1);
}

// ---- failures ---------------------------------------------------------------------------------------------
static void rewrite_fails(size_t max, enum tw_code code, const char *part) {
    struct tw_buf out;
    struct tw_error error = {};
    struct tw_wasm_rewrite_options options = {.poll = true};
    tw_buf_init(&out, max);
    ck_assert(tw_buf_append(&out, "before", 6));
    rewritten = (struct tw_wasm_rewritten){.poll_count = 4711};
    ck_assert(!tw_wasm_rewrite(&arena, &wasm, &options, &out, &rewritten, &error));
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.message, part) != NULL, "%s", error.message);
    ck_assert_str_eq((const char *)out.data, "before");
    ck_assert_uint_eq(out.len, 6);
    ck_assert_uint_eq(rewritten.poll_count, 4711);
    tw_buf_done(&out);
}

TW_TEST("a rewrite that fails leaves the buffer as it was") {
    parse(assemble_file(GUESTS "/state.wat", ""));
    rewrite_fails(100, TW_ERR_CAPACITY, "no memory left for the rewritten module");
}

TW_TEST("the new module is appended to what is in the buffer") {
    struct tw_buf out;
    struct tw_wasm_rewrite_options options = {.poll = true};
    struct tw_span alone = rewrite(assemble_file(GUESTS "/loops.wat", ""), true);
    tw_buf_init(&out, 1 << 20);
    ck_assert(tw_buf_append(&out, "before", 6));
    tw_assert_ok(tw_wasm_rewrite(&arena, &wasm, &options, &out, &rewritten, &err), &err);
    ck_assert_uint_eq(out.len, 6 + alone.len);
    ck_assert_mem_eq(out.data + 6, alone.data, alone.len);
    tw_buf_done(&out);
}

TW_TEST("a function that polls make too large is refused by its number") {
    struct tw_buf text;
    tw_buf_init(&text, 64 << 20);
    ck_assert(tw_buf_printf(&text, "(module (func) (func "));
    // 60,000 loops of 3 bytes and 7.2 MB beside them fit; with some 7 bytes for each poll they do not.
    for (unsigned i = 0; i < 60'000; i++)
        ck_assert(tw_buf_printf(&text, "loop end\n"));
    for (unsigned i = 0; i < 7'200'000; i++)
        ck_assert(tw_buf_append(&text, "nop\n", 4));
    ck_assert(tw_buf_printf(&text, "))"));
    parse(assemble((const char *)text.data));
    rewrite_fails(64 << 20, TW_ERR_MODULE_TOO_LARGE, "function 1 grows to 7");
    tw_buf_done(&text);
}

TW_TEST("a function with more polls than the page has bytes is refused") {
    struct tw_buf text;
    tw_buf_init(&text, 64 << 20);
    ck_assert(tw_buf_printf(&text, "(module (func "));
    for (unsigned i = 0; i < 65'537; i++)
        ck_assert(tw_buf_printf(&text, "loop end\n"));
    ck_assert(tw_buf_printf(&text, "))"));
    parse(assemble((const char *)text.data));
    rewrite_fails(64 << 20, TW_ERR_MODULE_TOO_LARGE, "function 0 has more than 65536 loops");
    tw_buf_done(&text);
}

// ---- modules made here, larger than what wabt should be asked for ------------------------------------------
static void put(struct tw_buf *out, const void *bytes, size_t len) {
    ck_assert(tw_buf_append(out, bytes, len));
}

// Five bytes, as long as a number of 32 bits can be.
static void put_number(struct tw_buf *out, uint32_t value) {
    const uint8_t bytes[] = {(uint8_t)(value | 0x80), (uint8_t)(value >> 7 | 0x80),
                             (uint8_t)(value >> 14 | 0x80), (uint8_t)(value >> 21 | 0x80),
                             (uint8_t)(value >> 28)};
    put(out, bytes, sizeof bytes);
}

// `count` items, each the same bytes.
static void put_section(struct tw_buf *out, uint8_t id, uint32_t count, const void *item, size_t len) {
    put(out, &id, 1);
    put_number(out, (uint32_t)(5 + count * len));
    put_number(out, count);
    for (uint32_t i = 0; i < count; i++)
        put(out, item, len);
}

static void begin_module(struct tw_buf *out) {
    tw_buf_init(out, GUEST_MAX);
    put(out, "\0asm\1\0\0\0", 8);
    put_section(out, 1, 1, "\x60\0\0", 3); // a type: takes nothing, gives nothing
}

TW_TEST("a module that polls make too large is refused") {
    enum { LOOPS = 65'000, FUNCTIONS = 200 }; // 39 MB, and 7 to 9 bytes more for each of 13 million loops
    struct tw_buf module, body;
    tw_buf_init(&body, GUEST_MAX);
    put_number(&body, 2 + 3 * LOOPS);
    put(&body, "\0", 1);
    for (unsigned i = 0; i < LOOPS; i++)
        put(&body, "\x03\x40\x0b", 3);
    put(&body, "\x0b", 1);
    begin_module(&module);
    put_section(&module, 3, FUNCTIONS, "\0", 1);
    put_section(&module, 10, FUNCTIONS, body.data, body.len);
    parse(tw_span_of(module.data, module.len));
    rewrite_fails(256 << 20, TW_ERR_MODULE_TOO_LARGE, "the module grows beyond 134217728 bytes");
    tw_buf_done(&module);
    tw_buf_done(&body);
}

TW_TEST("a module without room for the functions that come in is refused") {
    struct tw_buf module;
    begin_module(&module);
    put_section(&module, 2, WASMBIN_MAX_IMPORTS, "\0\0\0\0", 4);
    put_section(&module, 3, WASMBIN_MAX_FUNCTIONS, "\0", 1);
    put_section(&module, 5, 1, "\0\1", 2);
    // memory.fill of as many bytes as a local says: a function does it in pieces
    put_section(&module, 10, WASMBIN_MAX_FUNCTIONS, "\xd\1\1\x7f\x20\0\x20\0\x20\0\xfc\xb\0\xb", 14);
    parse(tw_span_of(module.data, module.len));
    rewrite_fails(64 << 20, TW_ERR_MODULE_TOO_LARGE, "110000 functions, the limit is 108976");
    tw_buf_done(&module);
}

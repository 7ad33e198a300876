// SPDX-License-Identifier: Apache-2.0
//
// Guests for the tests of wasmbin/: text becomes binaries with wat2wasm, and wabt's other tools are the
// second opinion on what the room says and writes. A guest file says what is expected of it in comments, a
// line each:
//
//     ;; tools: --enable-exceptions     what wabt's tools need beyond the usual
//     ;; expect: memories=1 polls=3     what the rewrite must offer (names in test_corpus.c)
#pragma once

#include "harness/test.h"

#include <dirent.h>
#include <stdarg.h>
#include <unistd.h>

#include "internal.h"
#include "wasmbin/wasmbin.h"

#define TOOL_FLAGS "--enable-multi-memory --enable-extended-const --enable-tail-call --enable-relaxed-simd"
#define GUESTS     TW_TEST_SOURCE_DIR "/guests/wasmbin"

enum { GUEST_MAX = 80 << 20 };

static struct tw_error err;
static struct tw_arena arena;
static struct tw_wasm wasm;
static struct tw_wasm_rewritten rewritten;

// Blocks live as long as the test's process: still reachable, so no leak.
static void *kept[65'536];
static size_t kept_count;

[[maybe_unused]] static void *keep(void *block) {
    ck_assert_uint_lt(kept_count, TW_COUNT(kept));
    kept[kept_count++] = block;
    return block;
}

// Runs a shell command and gives what it printed; ends in NUL. NULL when it failed.
[[maybe_unused]] [[gnu::format(printf, 1, 2)]] static char *shell(const char *format, ...) {
    char command[4096];
    va_list args;
    va_start(args, format);
    ck_assert_int_lt(vsnprintf(command, sizeof command, format, args), (int)sizeof command);
    va_end(args);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    struct tw_buf out;
    tw_buf_init(&out, 512 << 20);
    for (;;) {
        uint8_t *room = tw_buf_reserve(&out, 65'536);
        ck_assert_ptr_nonnull(room);
        size_t len = fread(room, 1, 65'536, pipe);
        if (!len)
            break;
        tw_buf_commit(&out, len);
    }
    if (pclose(pipe) != 0) {
        tw_buf_done(&out);
        return NULL;
    }
    return (char *)tw_buf_take(&out, NULL);
}

[[maybe_unused]] static void temp_path(char *ret_path, const char *suffix) {
    static unsigned counter;
    snprintf(ret_path, 96, "/tmp/tw-wasmbin-%d-%u%s", (int)getpid(), counter++, suffix);
}

[[maybe_unused]] static void write_file(const char *path, struct tw_span bytes) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    ck_assert_int_eq(fclose(file), 0);
}

[[maybe_unused]] static struct tw_span read_whole(const char *path) {
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    size_t len = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = keep(malloc(len + 1));
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, len, file), len);
    bytes[len] = 0;
    ck_assert_int_eq(fclose(file), 0);
    return tw_span_of(bytes, len);
}

// A text file of a guest, as a binary. The test's process is its owner.
[[maybe_unused]] static struct tw_span assemble_file(const char *path, const char *flags) {
    char made[96];
    temp_path(made, ".wasm");
    char *said = shell("wat2wasm " TOOL_FLAGS " %s '%s' -o %s 2>&1", flags, path, made);
    if (!said)
        ck_abort_msg("wat2wasm refuses %s", path);
    free(said);
    struct tw_span bytes = read_whole(made);
    unlink(made);
    return bytes;
}

[[maybe_unused]] static struct tw_span assemble_with(const char *text, const char *flags) {
    char path[96];
    temp_path(path, ".wat");
    write_file(path, tw_span_of(text, strlen(text)));
    struct tw_span bytes = assemble_file(path, flags);
    unlink(path);
    return bytes;
}

[[maybe_unused]] static struct tw_span assemble(const char *text) {
    return assemble_with(text, "");
}

// Parses into `wasm`; must succeed.
[[maybe_unused]] static void parse(struct tw_span bytes) {
    tw_arena_done(&arena);
    tw_arena_init(&arena, (size_t)1 << 30);
    tw_assert_ok(tw_wasm_parse(&arena, bytes, &wasm, &err), &err);
}

// Parses; must fail with `code` and a message that contains `part`.
[[maybe_unused]] static void refuse(struct tw_span bytes, enum tw_code code, const char *part) {
    struct tw_error error = {};
    tw_arena_done(&arena);
    tw_arena_init(&arena, (size_t)1 << 30);
    memset(&wasm, 0xa5, sizeof wasm);
    struct tw_wasm before = wasm;
    ck_assert_msg(!tw_wasm_parse(&arena, bytes, &wasm, &error), "parsed, expected: %s", part);
    ck_assert_mem_eq(&before, &wasm, sizeof wasm);
    ck_assert_msg(error.code == code, "%s: %s, expected code %s", tw_code_name(error.code), error.message,
                  tw_code_name(code));
    ck_assert_msg(strstr(error.message, part) != NULL, "\"%s\" does not contain \"%s\"", error.message, part);
    tw_arena_done(&arena);
}

// Parses `bytes` into `wasm` and rewrites it; must succeed.
[[maybe_unused]] static struct tw_span rewrite(struct tw_span bytes, bool poll) {
    struct tw_buf out;
    tw_buf_init(&out, GUEST_MAX * 2);
    parse(bytes);
    struct tw_wasm_rewrite_options options = {.poll = poll};
    tw_assert_ok(tw_wasm_rewrite(&arena, &wasm, &options, &out, &rewritten, &err), &err);
    size_t len;
    uint8_t *data = keep(tw_buf_take(&out, &len));
    return tw_span_of(data, len);
}

// What wasm-objdump says about a binary.
[[maybe_unused]] static char *objdump(struct tw_span bytes, const char *flags) {
    char path[96];
    temp_path(path, ".wasm");
    write_file(path, bytes);
    char *said = shell("wasm-objdump %s %s", flags, path);
    unlink(path);
    ck_assert_ptr_nonnull(said);
    return said;
}

[[maybe_unused]] static unsigned count_of(const char *text, const char *part) {
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

// The polls in a binary, counted in wabt's disassembly: loads of the last memory.
[[maybe_unused]] static unsigned count_polls(struct tw_span bytes, uint32_t memory) {
    char load[64];
    char *text = objdump(bytes, "-d");
    if (memory)
        snprintf(load, sizeof load, "i32.load8_u 0 %u ", memory);
    else
        snprintf(load, sizeof load, "i32.load8_u 0 ");
    unsigned count = count_of(text, load);
    free(text);
    return count;
}

// Fails unless wasm-validate takes the binary.
[[maybe_unused]] static void validate(struct tw_span bytes, const char *flags) {
    char path[96];
    temp_path(path, ".wasm");
    write_file(path, bytes);
    char *said = shell("wasm-validate " TOOL_FLAGS " %s %s 2>&1", flags, path);
    ck_assert_msg(said != NULL, "wasm-validate refuses %s", path);
    free(said);
    unlink(path);
}

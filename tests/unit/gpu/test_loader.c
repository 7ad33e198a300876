// SPDX-License-Identifier: Apache-2.0
//
// The object loader: what it takes, what it refuses, and that no mutation of an object makes it crash.

#include "unit/gpu/fixture.h"

#include <elf.h>

static struct tw_buf make_object(void) {
    return compile_object(
        "static const s32 table[] = {3, 5, 7, 11, 13, 17, 19, 23};\n"
        "KERNEL(pick) {\n"
        "  switch (count) {\n" // a jump table: relocations against .rodata
        "  case 100: return first + 1; case 101: return first * 3; case 102: return ~first;\n"
        "  case 103: return first ^ 0x55; case 104: return first << 3; case 105: return first / 7; }\n"
        "  return table[(first + count) & 7]; }\n",
        NULL);
}

TW_TEST("a compiled object is loaded, its constants are found, and code and constants are closed") {
    struct tw_buf object = make_object();
    struct gpu_text text;
    struct tw_error err = {};
    tw_assert_ok(gpu_object_load(tw_buf_span(&object), &text, &err), &err);
    struct tw_kernel_frame frame = {};
    ck_assert_uint_eq(text.entry(&frame, 1, 2), 11);
    ck_assert_uint_eq(text.entry(&frame, 0, 0), 3);
    ck_assert_uint_eq(text.entry(&frame, 6, 101), 18);
    ck_assert_uint_eq(text.entry(&frame, 70, 105), 10);
    ck_assert_uint_eq(text.entry(&frame, 0x50, 103), 0x05);
    gpu_text_done(&text);
    tw_buf_done(&object);
}

static void on_write_fault(int signal_number) {
    (void)signal_number;
    _exit(42);
}

TW_TEST("loaded code cannot be written") {
    struct tw_buf object = make_object();
    struct gpu_text text;
    struct tw_error err = {};
    tw_assert_ok(gpu_object_load(tw_buf_span(&object), &text, &err), &err);
    for (size_t at = 0; at < text.mapping_bytes; at += 4096) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, on_write_fault);
            *(volatile uint8_t *)(text.mapping + at) = 0;
            _exit(0);
        }
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), 42);
    }
    gpu_text_done(&text);
    tw_buf_done(&object);
}

static void expect_refusal(const char *source, const char *words) {
    struct tw_buf object = compile_object(source, NULL);
    struct gpu_text text;
    struct tw_error err = {};
    ck_assert(!gpu_object_load(tw_buf_span(&object), &text, &err));
    ck_assert_int_eq(err.code, TW_ERR_INTERNAL);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
    tw_buf_done(&object);
}

TW_TEST("an object that calls something outside itself is refused by name") {
    expect_refusal("u32 puts(const char *); KERNEL(k) { return puts(\"x\"); }", "'puts'");
}

TW_TEST("an object with writable data is refused") {
    expect_refusal("static volatile s32 n = 4; KERNEL(k) { return n++; }", "writable");
    expect_refusal("static volatile s32 n; KERNEL(k) { return n++; }", "writable");
    expect_refusal("static __thread volatile s32 n; KERNEL(k) { return n++; }", "thread-local");
}

TW_TEST("an object with two entries, with none, or with a constructor is refused") {
    expect_refusal("KERNEL(a) { return 0; } KERNEL(b) { return 1; }", "more than one entry");
    expect_refusal("static KERNEL(a) { return 0; } const void *const keep = a;", "no entry");
    expect_refusal("__attribute__((constructor)) static void go(void) { __asm__ volatile(\"\"); } KERNEL(a) "
                   "{ return 0; }",
                   "type");
}

TW_TEST("bytes that are no object are refused") {
    struct gpu_text text;
    struct tw_error err = {};
    uint8_t junk[256] = {};
    ck_assert(!gpu_object_load(tw_span_of(junk, 0), &text, &err));
    ck_assert(!gpu_object_load(tw_span_of(junk, sizeof(junk)), &text, &err));
    memcpy(junk, ELFMAG, 4);
    ck_assert(!gpu_object_load(tw_span_of(junk, sizeof(junk)), &text, &err));
}

// Loads a mutated copy that ends where its memory ends, so that reading past it faults.
static bool load_at_page_end(const uint8_t *bytes, size_t len) {
    static uint8_t *pages;
    static const size_t room = 1 << 16;
    if (!pages) {
        pages = mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert(pages != MAP_FAILED);
        ck_assert_int_eq(mprotect(pages + room, 4096, PROT_NONE), 0);
    }
    ck_assert_uint_le(len, room);
    uint8_t *copy = pages + room - len;
    memcpy(copy, bytes, len);
    struct gpu_text text;
    struct tw_error err = {};
    if (!gpu_object_load(tw_span_of(copy, len), &text, &err)) {
        ck_assert_int_ne(err.code, TW_OK);
        ck_assert_uint_gt(strlen(err.message), 10);
        return false;
    }
    // What was accepted has its entry in its code and nothing writable.
    uintptr_t entry = (uintptr_t)text.entry - (uintptr_t)text.mapping;
    ck_assert_uint_lt(entry, text.code_bytes);
    gpu_text_done(&text);
    return true;
}

TW_TEST("every truncation of an object is refused or loads within bounds") {
    struct tw_buf object = make_object();
    size_t accepted = 0;
    for (size_t len = 0; len < object.len; len++)
        accepted += load_at_page_end(object.data, len);
    ck_assert_uint_eq(accepted, 0); // the section table is at the end
    ck_assert(load_at_page_end(object.data, object.len));
    tw_buf_done(&object);
}

TW_TEST("mutated objects are refused or load within bounds: 200,000 of them") {
    struct tw_buf object = make_object();
    uint8_t *copy = malloc(object.len);
    static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff, 8, 0x10, 0x40};
    Elf64_Ehdr header;
    memcpy(&header, object.data, sizeof(header));
    uint64_t seed = 88'172'645'463'325'252ULL, refused = 0;
    for (int round = 0; round < 200'000; round++) {
        memcpy(copy, object.data, object.len);
        for (int change = 0; change < 1 + round % 3; change++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            // Mostly in the tables, where it hurts.
            size_t at = (seed >> 8) % object.len;
            if (seed & 1)
                at = header.e_shoff + at % (header.e_shnum * sizeof(Elf64_Shdr));
            copy[at] = (seed & 2) ? values[(seed >> 4) % TW_COUNT(values)] : (uint8_t)(seed >> 40);
        }
        refused += !load_at_page_end(copy, object.len);
    }
    ck_assert_uint_gt(refused, 1000);
    free(copy);
    tw_buf_done(&object);
}

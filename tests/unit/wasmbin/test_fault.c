// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out, and binaries that grow too large: whichever allocation fails, and wherever the limit is met,
// parsing and rewriting end with an error, leave nothing behind, and go well the next time.

#include "guests.h"

#include "base/fault.h"

enum { ALLOCATIONS_MAX = 400 };

// Parses and rewrites with arenas and buffers of its own. What stopped it, TW_OK when nothing did.
static enum tw_code attempt(struct tw_span bytes, size_t arena_bytes, size_t out_bytes) {
    struct tw_arena scratch;
    struct tw_wasm first;
    struct tw_buf out;
    struct tw_wasm_rewritten result;
    struct tw_error error = {};
    struct tw_wasm_rewrite_options options = {.poll = true};
    tw_arena_init(&scratch, arena_bytes);
    tw_buf_init(&out, out_bytes);
    ck_assert(tw_buf_append(&out, "kept", 4));
    bool ok = tw_wasm_parse(&scratch, bytes, &first, &error) &&
              tw_wasm_rewrite(&scratch, &first, &options, &out, &result, &error);
    ck_assert(ok == (error.code == TW_OK));
    ck_assert(ok || error.message[0]);
    // On failure the buffer is what it was.
    ck_assert_mem_eq(out.data, "kept", 4);
    ck_assert(ok ? out.len > 4 : out.len == 4);
    tw_buf_done(&out);
    tw_arena_done(&scratch);
    return error.code;
}

// Every guest that is taken: what its text says is none of this test's business.
static void for_each_guest(void (*check)(struct tw_span bytes)) {
    static const char *const names[] = {"data",      "indirect",   "memories", "pieces",
                                        "recursion", "references", "state",    "tables"};
    for (size_t i = 0; i < TW_COUNT(names); i++) {
        char path[256];
        snprintf(path, sizeof path, GUESTS "/%s.wat", names[i]);
        check(assemble_file(path, ""));
    }
}

static void check_allocations(struct tw_span bytes) {
    char fault[32];
    unsigned failed = 0;
    for (unsigned n = 1; n < ALLOCATIONS_MAX; n++) {
        snprintf(fault, sizeof fault, "alloc:%u", n + 1); // the first is the test's own buffer
        tw_fault_configure(fault);
        enum tw_code code = attempt(bytes, 1 << 30, GUEST_MAX);
        tw_fault_configure(NULL);
        if (code == TW_OK) {
            ck_assert_uint_ge(failed, 3);
            return;
        }
        ck_assert_int_eq(code, TW_ERR_CAPACITY);
        failed++;
    }
    ck_abort_msg("more than %d allocations for one small guest", ALLOCATIONS_MAX);
}

TW_TEST("whichever allocation fails, nothing is left half done") {
    for_each_guest(check_allocations);
}

static void check_room(struct tw_span bytes) {
    size_t out = 8;
    while (attempt(bytes, 1 << 30, out) != TW_OK) {
        ck_assert_uint_lt(out, bytes.len * 8 + 4096);
        out++;
    }
    ck_assert_uint_gt(out, bytes.len / 2);
}

TW_TEST("however little room the new binary has, it is whole or not there") {
    for_each_guest(check_room);
}

// ---- limits --------------------------------------------------------------------------------------------------

// A module with `count` times the same field.
static struct tw_span repeated(const char *field, unsigned count) {
    struct tw_buf text;
    tw_buf_init(&text, 64 << 20);
    ck_assert(tw_buf_append(&text, "(module ", 8));
    for (unsigned i = 0; i < count; i++)
        ck_assert(tw_buf_append(&text, field, strlen(field)));
    ck_assert(tw_buf_append(&text, ")", 2));
    struct tw_span bytes = assemble((const char *)text.data);
    tw_buf_done(&text);
    return bytes;
}

TW_TEST("one memory, table or import too many is refused with the limit") {
    static const struct {
        const char *field;
        unsigned count;
        const char *message;
    } cases[] = {
        {"(memory 0)", 17, "17 memories"},
        {"(table 1 funcref)", 101, "101 tables"},
        {"(import \"a\" \"b\" (func))", 10'001, "10001 imports"},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        refuse(repeated(cases[i].field, cases[i].count), TW_ERR_MODULE_TOO_LARGE, cases[i].message);
        parse(repeated(cases[i].field, cases[i].count - 1));
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// Any bytes through the Wasm parser; what parses is rewritten, with and without polls, and what comes out
// must parse again, offer what the rewrite says it offers, and be the same when made a second time.

#include "wasmbin/wasmbin.h"

enum { ARENA_MAX = 256 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Our own checks; a failure must be seen as a crash.
static void check(bool condition) {
    if (!condition)
        abort();
}

static uint32_t reserved_exports(const struct tw_wasm *wasm) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < wasm->export_count; i++)
        count += tw_str_starts(wasm->exports[i].name, TW_STR(TW_WASM_RESERVED));
    return count;
}

static void check_output(const struct tw_wasm *first, const struct tw_wasm_rewritten *rewritten,
                         struct tw_span bytes) {
    struct tw_arena arena;
    struct tw_wasm second;
    struct tw_error err = {};
    tw_arena_init(&arena, ARENA_MAX);
    check(tw_wasm_parse(&arena, bytes, &second, &err));
    check(!second.has_start);
    check(second.func_count == first->func_count + rewritten->helper_count &&
          second.data_count == first->data_count);
    check(second.memory_count == first->memory_count + rewritten->has_poll);
    check(second.mutates_tables == first->mutates_tables);
    check(reserved_exports(&second) == rewritten->memory_count + rewritten->global_count +
                                           rewritten->table_count + rewritten->has_start +
                                           rewritten->has_poll);
    for (uint32_t i = 0; i < second.data_count; i++)
        check(!second.data[i].is_active);
    tw_arena_done(&arena);
}

static void rewrite(struct tw_arena *arena, const struct tw_wasm *wasm, bool poll) {
    struct tw_wasm_rewrite_options options = {.poll = poll};
    struct tw_wasm_rewritten rewritten, again;
    struct tw_buf out, copy;
    struct tw_error err = {};
    tw_buf_init(&out, TW_WASM_MAX_REWRITTEN_BYTES);
    tw_buf_init(&copy, TW_WASM_MAX_REWRITTEN_BYTES);
    if (tw_wasm_rewrite(arena, wasm, &options, &out, &rewritten, &err)) {
        check_output(wasm, &rewritten, tw_buf_span(&out));
        check(tw_wasm_rewrite(arena, wasm, &options, &copy, &again, &err));
        check(out.len == copy.len && memcmp(out.data, copy.data, out.len) == 0);
    } else {
        check(err.code != TW_OK && err.message[0] && out.len == 0);
    }
    tw_buf_done(&out);
    tw_buf_done(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_arena arena;
    struct tw_wasm wasm;
    struct tw_error err = {};
    tw_arena_init(&arena, ARENA_MAX);
    if (tw_wasm_parse(&arena, tw_span_of(data, size), &wasm, &err)) {
        rewrite(&arena, &wasm, false);
        rewrite(&arena, &wasm, true);
    } else {
        check(err.code != TW_OK && err.message[0]);
    }
    tw_arena_done(&arena);
    return 0;
}

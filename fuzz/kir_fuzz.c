// SPDX-License-Identifier: Apache-2.0
//
// Any bytes through the reader of IR text, and what it accepts through the verifier, the printer, the passes
// and the printer of PTX. What was printed reads back and prints the same.

#include "ptx/ptx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_MAX = 256 << 20, TEXT_MAX = 64 << 20 };

static void print(const struct tw_kir_module *module, struct tw_buf *out) {
    tw_buf_init(out, TEXT_MAX);
    if (!tw_kir_print(module, out, NULL))
        abort();
}

static void round_trip(const struct tw_kir_module *module) {
    struct tw_buf first, second;
    struct tw_arena arena;
    struct tw_kir_module *again;
    struct tw_error err = {};
    tw_arena_init(&arena, ARENA_MAX);
    print(module, &first);
    if (!tw_kir_parse(&arena, tw_buf_str(&first), &again, &err)) {
        fprintf(stderr, "%s\n%.*s", err.message, TW_STR_ARG(tw_buf_str(&first)));
        abort();
    }
    print(again, &second);
    if (!tw_str_equal(tw_buf_str(&first), tw_buf_str(&second))) {
        fprintf(stderr, "%.*s\nis not\n%.*s", TW_STR_ARG(tw_buf_str(&first)),
                TW_STR_ARG(tw_buf_str(&second)));
        abort();
    }
    tw_buf_done(&first);
    tw_buf_done(&second);
    tw_arena_done(&arena);
}

// Every kernel alone: inlined and simplified it is still good, or a limit was met.
static void run_passes(struct tw_kir_module *module) {
    for (uint32_t i = 0; i < module->function_count; i++) {
        struct tw_error err = {};
        if (!module->functions[i].is_entry || module->functions[i].is_declaration ||
            !tw_kir_inline(module, &module->functions[i], &err))
            continue;
        if (!tw_kir_verify(module, &err) || !tw_kir_simplify(module, &module->functions[i], &err) ||
            !tw_kir_verify(module, &err)) {
            if (err.code == TW_ERR_CUDA_QUOTA)
                return;
            fprintf(stderr, "%s\n", err.message);
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err = {};
    tw_arena_init(&arena, ARENA_MAX);
    if (tw_kir_parse(&arena, tw_str_of((const char *)data, size), &module, &err)) {
        round_trip(module);
        if (tw_kir_verify(module, &err)) {
            run_passes(module);
            round_trip(module);
            struct tw_buf text;
            tw_buf_init(&text, TEXT_MAX);
            (void)tw_ptx_print(module, &(struct tw_ptx_options){.fence = true}, &text, &err);
            tw_buf_done(&text);
        }
    } else if (err.code == TW_OK) {
        abort(); // a failure says why
    }
    tw_arena_done(&arena);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// Any bytes through the PTX reader, and what it accepts through every pass, the printers of
// IR and of PTX and their readers. The second printing must equal the first.

#include "ptx/ptx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const struct tw_kir_module *module, struct tw_buf *out) {
    tw_buf_init(out, 64 << 20);
    if (!tw_kir_print(module, out, NULL))
        abort();
}

static void round_trip(const struct tw_kir_module *module) {
    struct tw_buf first, second;
    struct tw_arena arena;
    struct tw_kir_module *again;
    struct tw_error err = {};
    tw_arena_init(&arena, 256 << 20);
    print(module, &first);
    if (!tw_kir_parse(&arena, tw_buf_str(&first), &again, &err)) {
        fprintf(stderr, "%s\n%.*s", err.message, TW_STR_ARG(tw_buf_str(&first)));
        abort();
    }
    print(again, &second);
    if (!tw_str_equal(tw_buf_str(&first), tw_buf_str(&second)))
        abort();
    tw_buf_done(&first);
    tw_buf_done(&second);
    tw_arena_done(&arena);
}

// The PTX printed from a module is refused, or reads back to a module that prints the same.
static void ptx_round_trip(const struct tw_kir_module *module, bool fence) {
    struct tw_buf first, second;
    struct tw_arena arena;
    struct tw_kir_module *again;
    struct tw_error err = {};
    tw_arena_init(&arena, 256 << 20);
    tw_buf_init(&first, 64 << 20);
    tw_buf_init(&second, 64 << 20);
    if (tw_ptx_print(module, &(struct tw_ptx_options){.fence = fence}, &first, &err)) {
        bool good = tw_ptx_parse(&arena, tw_buf_str(&first), &again, &err) &&
                    tw_ptx_print(again, &(struct tw_ptx_options){}, &second, &err);
        if (!good && err.code != TW_ERR_CUDA_QUOTA) {
            fprintf(stderr, "%s\n%.*s", err.message, TW_STR_ARG(tw_buf_str(&first)));
            abort();
        }
        if (good && !tw_str_equal(tw_buf_str(&first), tw_buf_str(&second))) {
            fprintf(stderr, "%.*s\nis not\n%.*s", TW_STR_ARG(tw_buf_str(&first)),
                    TW_STR_ARG(tw_buf_str(&second)));
            abort();
        }
    }
    tw_buf_done(&first);
    tw_buf_done(&second);
    tw_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err = {};
    tw_arena_init(&arena, 256 << 20);
    if (tw_ptx_parse(&arena, tw_str_of((const char *)data, size), &module, &err)) {
        round_trip(module);
        ptx_round_trip(module, false);
        for (uint32_t i = 0; i < module->function_count; i++) {
            struct tw_kir_function *function = &module->functions[i];
            if (!function->is_entry || !tw_kir_inline(module, function, &err))
                continue;
            if (!tw_kir_verify(module, &err) || !tw_kir_simplify(module, &module->functions[i], &err) ||
                !tw_kir_verify(module, &err)) {
                if (err.code == TW_ERR_CUDA_QUOTA)
                    break;
                fprintf(stderr, "%s\n", err.message);
                abort();
            }
        }
        ptx_round_trip(module, false);
        ptx_round_trip(module, true);
    }
    tw_arena_done(&arena);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// The CUDA kernels of tests/golden/ptx, compiled by clang at three levels: they parse, inline, simplify and
// print, and the printed IR reads back to the same text. Then the same texts cut short and with bytes
// flipped: refused or accepted, never worse.

#include "golden.h"
#include "snippet.h"

static const char *const kernels[] = {"vector_add", "saxpy",       "reduce",    "sgemm",
                                      "softmax",    "convolution", "histogram", "calls"};

static void print(const struct tw_kir_module *module, struct tw_buf *out) {
    struct tw_error err = {};
    tw_buf_init(out, 16 << 20);
    tw_assert_ok(tw_kir_print(module, out, &err), &err);
}

static void round_trip(const struct tw_kir_module *module) {
    struct tw_buf first, second;
    struct tw_arena arena;
    struct tw_kir_module *again;
    struct tw_error err = {};
    tw_arena_init(&arena, 64 << 20);
    print(module, &first);
    tw_assert_ok(tw_kir_parse(&arena, tw_buf_str(&first), &again, &err), &err);
    print(again, &second);
    ck_assert_str_eq((const char *)first.data, (const char *)second.data);
    tw_buf_done(&first);
    tw_buf_done(&second);
    tw_arena_done(&arena);
}

TW_TEST("every kernel at every level goes through all passes and back from text") {
    static struct snippet s;
    for (size_t i = 0; i < TW_COUNT(kernels); i++)
        for (int level = 0; level <= 3; level++) {
            char *ptx = golden_compile(kernels[i], level);
            if (!ptx)
                return;
            s.err = (struct tw_error){};
            tw_assert_ok(snippet_parse(&s, ptx), &s.err);
            round_trip(s.module);
            for (uint32_t f = 0; f < s.module->function_count; f++) {
                if (!s.module->functions[f].is_entry)
                    continue;
                tw_assert_ok(tw_kir_inline(s.module, &s.module->functions[f], &s.err), &s.err);
                tw_assert_ok(tw_kir_verify(s.module, &s.err), &s.err);
                round_trip(s.module);
                tw_assert_ok(tw_kir_simplify(s.module, &s.module->functions[f], &s.err), &s.err);
                tw_assert_ok(tw_kir_verify(s.module, &s.err), &s.err);
            }
            round_trip(s.module);
            tw_arena_done(&s.arena);
            free(ptx);
        }
}

static void try_text(const char *text, size_t len) {
    static struct snippet s;
    struct tw_error err = {};
    // A copy without a NUL behind it, so that the sanitizer sees reads past the end.
    char *copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    tw_arena_init(&s.arena, 64 << 20);
    if (tw_ptx_parse(&s.arena, tw_str_of(copy, len), &s.module, &err)) {
        for (uint32_t f = 0; f < s.module->function_count; f++)
            if (s.module->functions[f].is_entry && tw_kir_inline(s.module, &s.module->functions[f], &err)) {
                tw_assert_ok(tw_kir_simplify(s.module, &s.module->functions[f], &err), &err);
                tw_assert_ok(tw_kir_verify(s.module, &err), &err);
            }
    } else
        ck_assert_ptr_nonnull(strstr(err.message, "line "));
    tw_arena_done(&s.arena);
    free(copy);
}

TW_TEST("texts cut short anywhere are refused with a place or accepted") {
    char *ptx = golden_compile("softmax", 0);
    if (!ptx)
        return;
    size_t len = strlen(ptx);
    for (size_t cut = 0; cut < len; cut += 7)
        try_text(ptx, cut);
    free(ptx);
}

TW_TEST("flipped bytes are refused with a place or accepted") {
    char *ptx = golden_compile("histogram", 3);
    if (!ptx)
        return;
    size_t len = strlen(ptx);
    uint64_t state = 1;
    for (unsigned i = 0; i < 3'000; i++) {
        state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
        size_t at = (size_t)(state >> 33) % len;
        char old = ptx[at];
        ptx[at] = (char)(old ^ (1 << (state >> 20 & 7)));
        try_text(ptx, len);
        ptx[at] = old;
    }
    free(ptx);
}

TW_TEST("a kernel of two hundred lines is read in well under a millisecond") {
    char *ptx = golden_compile("sgemm", 3);
    if (!ptx)
        return;
    struct tw_str text = tw_str_from(ptx);
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; i < 50; i++) {
        struct tw_arena arena;
        struct tw_kir_module *module;
        struct tw_error err = {};
        tw_arena_init(&arena, 64 << 20);
        int64_t start = tw_clock_ns();
        tw_assert_ok(tw_ptx_parse(&arena, text, &module, &err), &err);
        uint64_t took = (uint64_t)(tw_clock_ns() - start);
        best = took < best ? took : best;
        tw_arena_done(&arena);
    }
    ck_assert_msg(best < 5'000'000, "%" PRIu64 " ns",
                  best); // ten times the target: sanitizers and busy machines
    free(ptx);
}

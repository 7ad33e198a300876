// SPDX-License-Identifier: Apache-2.0
//
// Registers of which few lanes are wanted: trees of shuffles whose results some threads store, of blocks as one vector or two and
// by warps of 32, light and full; against arrays in plain C.

#include "floats.h"
#include "harness/test.h"
#include "kernel_run.h"

enum { THREADS_MAX = 512, STEPS = 5, STRIDE_MAX = 3 };

struct tree {
    const char *op;      // what a step does with the two values
    const char *shuffle; // how it comes to the other one
    const char *mask;    // %p1: who stores, from the thread's number in %r9
    bool (*stores)(unsigned thread);
    uint32_t (*combine)(uint32_t a, uint32_t b);
    unsigned (*from)(unsigned lane, unsigned step);
    unsigned places; // words between what warps store; 0: all store at one place
    bool other_use;  // every thread stores the middle of the tree too
};

static uint32_t add_floats(uint32_t a, uint32_t b) {
    return (uint32_t)of_f(f_of(a) + f_of(b));
}

static uint32_t greater_float(uint32_t a, uint32_t b) {
    if (isnan(f_of(a)) || isnan(f_of(b)))
        return isnan(f_of(a)) ? b : a; // the test has no pairs of NaN
    return f_of(a) > f_of(b) ? a : b;
}

static uint32_t mix_words(uint32_t a, uint32_t b) {
    return 3 * a - b;
}

static unsigned across(unsigned lane, unsigned step) {
    return lane ^ step;
}

static unsigned downward(unsigned lane, unsigned step) {
    return lane + step < 32 ? lane + step : lane;
}

static unsigned upward(unsigned lane, unsigned step) {
    return lane >= step ? lane - step : lane;
}

static bool first_of_warp(unsigned thread) {
    return thread % 32 == 0;
}

static bool fifth_of_warp(unsigned thread) {
    return (thread & 31) == 5;
}

static bool first_of_all(unsigned thread) {
    return thread == 0;
}

static bool some_of_warp(unsigned thread) {
    return (thread & 31) <= 2;
}

static bool not_first_half(unsigned thread) {
    return thread >= 33;
}

static const struct tree trees[] = {
    {"add.f32", "bfly", "and.b32 %r10, %r9, 31;\nsetp.ne.s32 %p1, %r10, 0;\n", first_of_warp, add_floats,
     across, 1, false},
    {"max.f32", "bfly", "and.b32 %r10, %r9, 31;\nsetp.ne.s32 %p1, %r10, 0;\n", first_of_warp, greater_float,
     across, 1, false},
    {"max.f32", "down", "rem.u32 %r10, %r9, 32;\nsetp.ne.u32 %p1, %r10, 0;\n", first_of_warp, greater_float,
     downward, 3, false},
    {"add.f32", "down", "and.b32 %r10, %r9, 31;\nsetp.ne.s32 %p1, %r10, 5;\n", fifth_of_warp, add_floats,
     downward, 1, true},
    {"mix", "up", "and.b32 %r10, %r9, 31;\nsetp.ne.s32 %p1, %r10, 5;\n", fifth_of_warp, mix_words, upward, 2,
     false},
    {"mix", "down", "setp.gt.u32 %p1, %r9, 0;\n", first_of_all, mix_words, downward, 0, false},
    {"mix", "bfly", "and.b32 %r10, %r9, 31;\nsetp.gt.s32 %p1, %r10, 2;\n", some_of_warp, mix_words, across, 0,
     false},
    {"mix", "up", "setp.lt.u32 %p1, %r9, 33;\n", not_first_half, mix_words, upward, 1, false},
};

// k(in, out): out[places × (thread / 32)] is the tree's result of the last thread of those that store there; out[1024 + thread]
// its middle, where the tree says so.
static void write_kernel(const struct tree *t, char *text, size_t size) {
    size_t n = (size_t)snprintf(
        text, size,
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out) "
        "{\n"
        ".shared .align 4 .b8 s[1024];\n.reg .b32 %%r<40>;\n.reg .b64 %%rd<20>;\n.reg .pred %%p<4>;\n"
        "ld.param.u64 %%rd1, [in];\nld.param.u64 %%rd2, [out];\nmov.u32 %%r9, %%tid.x;\nmul.wide.u32 %%rd3, "
        "%%r9, 4;\n"
        "add.u64 %%rd4, %%rd1, %%rd3;\nadd.u64 %%rd5, %%rd2, %%rd3;\nld.global.u32 %%r20, [%%rd4];\n");
    for (unsigned k = 0; k < STEPS; k++) {
        unsigned v = 20 + 2 * k;
        n += (size_t)snprintf(text + n, size - n, "shfl.sync.%s.b32 %%r%u, %%r%u, %u, %u, -1;\n", t->shuffle,
                              v + 1, v, 16U >> k, strcmp(t->shuffle, "up") ? 31U : 0U);
        if (strcmp(t->op, "mix"))
            n += (size_t)snprintf(text + n, size - n, "%s %%r%u, %%r%u, %%r%u;\n", t->op, v + 2, v, v + 1);
        else
            n += (size_t)snprintf(text + n, size - n,
                                  "mul.lo.u32 %%r%u, %%r%u, 3;\nsub.u32 %%r%u, %%r%u, %%r%u;\n", v + 2, v,
                                  v + 2, v + 2, v + 1);
    }
    n += (size_t)snprintf(
        text + n, size - n,
        "%s%sshr.u32 %%r11, %%r9, 5;\nmul.wide.u32 %%rd6, %%r11, %u;\nmov.u64 %%rd7, s;\nadd.u64 %%rd7, "
        "%%rd7, %%rd6;\n"
        "add.u64 %%rd8, %%rd2, %%rd6;\n@%%p1 bra past;\nst.shared.u32 [%%rd7], %%r30;\npast:\nbar.sync 0;\n"
        "@%%p1 bra done;\nld.shared.u32 %%r12, [%%rd7];\nst.global.u32 [%%rd8], %%r12;\ndone:\nret;\n}\n",
        t->other_use ? "st.global.u32 [%rd5+4096], %r24;\n" : "", t->mask, 4 * t->places);
    ck_assert_uint_lt(n, size);
}

static void check(const struct tree *t, const uint32_t *in, const uint32_t *out, unsigned threads,
                  const char *how) {
    uint32_t v[THREADS_MAX], next[THREADS_MAX], middle[THREADS_MAX], want[STRIDE_MAX * THREADS_MAX] = {};
    memcpy(v, in, threads * sizeof *v);
    for (unsigned k = 0; k < STEPS; k++) {
        for (unsigned i = 0; i < threads; i++)
            next[i] = t->combine(v[i], v[(i & ~31U) + t->from(i % 32, 16U >> k)]);
        memcpy(v, next, threads * sizeof *v);
        if (k == 1)
            memcpy(middle, v, threads * sizeof *v);
    }
    for (unsigned i = 0; i < threads; i++)
        if (t->stores(i))
            want[t->places * (i / 32)] = v[i];
    for (unsigned i = 0; i < t->places * threads / 32 + 1; i++)
        ck_assert_msg(out[i] == want[i], "%s by %s, %u threads %s: [%u] is %08x, not %08x", t->op, t->shuffle,
                      threads, how, i, out[i], want[i]);
    for (unsigned i = 0; t->other_use && i < threads; i++)
        ck_assert_uint_eq(out[1024 + i], middle[i]);
}

// As one vector, as two of 256, or by warps.
static void run_tree(const struct tree *t, unsigned threads, unsigned lanes, int level) {
    char text[4096], how[64];
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    rig.opt_level = level;
    uint64_t params[2] = {rig_alloc(&rig, 4 * THREADS_MAX), rig_alloc(&rig, 8192)};
    uint32_t *in = rig_at(&rig, params[0]);
    for (unsigned i = 0; i < threads; i++)
        in[i] = strcmp(t->op, "mix") ? (uint32_t)of_f((float)(i * 7919 % 1009) / 64 - 3.3F) : i * 2654435761U;
    if (!strcmp(t->op, "max.f32"))
        in[7] = (uint32_t)of_f(NAN);
    write_kernel(t, text, sizeof text);
    kernel_from_ptx(&rig, &k, text, "k", lanes, lanes < TW_KERNEL_LANES_MAX ? lanes : threads);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){threads, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    snprintf(how, sizeof how, "in vectors of %u at level %d", lanes, level);
    check(t, in, rig_at(&rig, params[1]), threads, how);
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("what few threads store of a tree of shuffles is what all of them would have") {
    static const unsigned threads[] = {64, 128, 256};
    for (unsigned i = 0; i < TW_COUNT(trees); i++)
        for (unsigned k = 0; k < TW_COUNT(threads); k++) {
            run_tree(&trees[i], threads[k], threads[k], 1);
            run_tree(&trees[i], threads[k], i % 2 ? threads[k] : 32, (int)(i + k) % 2);
        }
    for (unsigned i = 0; i < TW_COUNT(trees); i++)
        run_tree(&trees[i], 512, 256, (int)(i % 4 != 1));
}

// A quarter of a register around each lane is kept.
TW_TEST("a block's sum by shuffles does not shuffle whole vectors for the lanes that are stored") {
    char text[4096];
    struct rig rig;
    rig_init(&rig);
    write_kernel(&trees[0], text, sizeof text);
    char *llvm = kernel_llvm(text, "k", 256, 256);
    ck_assert_ptr_nonnull(strstr(llvm, "fadd <128 x float>"));
    ck_assert_ptr_nonnull(strstr(llvm, "fadd <32 x float>"));
    ck_assert_ptr_null(strstr(llvm, "fadd <256 x float>"));
    ck_assert_ptr_nonnull(strstr(llvm, "store <8 x"));
    free(llvm);
    rig_done(&rig);
}

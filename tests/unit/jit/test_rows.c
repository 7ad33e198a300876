// SPDX-License-Identifier: Apache-2.0
//
// Rows that a block goes through side by side: kernels whose loops go round once for a short row, which have a version for these,
// and kernels that only look like it; with rows of every length, against arrays in plain C.

#include "harness/test.h"
#include "kernel_run.h"

enum { THREADS_MAX = 256, ROW_MAX = 1'200, EMPTY = 77 };

// for (again = 0; again < agains; again++)
//     for (i = thread + first; i < n + more; i += step) a = 3 a + in[i];
struct loop {
    const char *name;
    const char *first;                            // %r3: where the thread begins, from its number in %r1
    const char *step;                             // makes %r3 of %r3, the block's width being in %r2
    const char *bound;                            // %r4, from n in %r5
    const char *more;                             // %p2: the loop goes on
    uint32_t first_add, step_by, more_by, agains; // step_by 0: the block's width
    bool is_short;                                // has a version for short rows, by blocks of 256
};

#define MOVE "mov.u32 %r3, %r1;\n"
#define LESS "setp.lt.s32 %p2, %r3, %r4;\n"
#define SAME "mov.b32 %r4, %r5;\n"

static const struct loop loops[] = {
    {"by 256", MOVE, "add.s32 %r3, %r3, 256;\n", SAME, LESS, 0, 256, 0, 1, true},
    {"by the block's width", MOVE, "add.s32 %r3, %r3, %r2;\n", SAME, LESS, 0, 0, 0, 1, true},
    {"by 1024, without a sign", MOVE, "add.u32 %r3, %r3, 1024;\n", SAME, "setp.lt.u32 %p2, %r3, %r4;\n", 0,
     1024, 0, 1, true},
    {"by 128", MOVE, "add.s32 %r3, %r3, 128;\n", SAME, LESS, 0, 128, 0, 1, false},
    {"in two steps", MOVE, "add.s32 %r3, %r3, 256;\nadd.s32 %r3, %r3, -192;\n", SAME, LESS, 0, 64, 0, 1,
     false},
    {"from the second element", "add.u32 %r3, %r1, 1;\n", "add.s32 %r3, %r3, 256;\n", SAME, LESS, 1, 256, 0,
     1, false},
    {"one element more", MOVE, "add.s32 %r3, %r3, 256;\n", "add.u32 %r4, %r5, 1;\n", LESS, 0, 256, 1, 1,
     false},
    {"up to n itself", MOVE, "add.s32 %r3, %r3, 256;\n", SAME, "setp.le.s32 %p2, %r3, %r4;\n", 0, 256, 1, 1,
     false},
    {"three times", MOVE, "add.s32 %r3, %r3, 256;\n", SAME, LESS, 0, 256, 0, 3, false},
};

// k(in, out, n): threads without an element store EMPTY.
static void write_kernel(const struct loop *l, char *text, size_t size) {
    bool equal = strstr(l->more, "setp.le") != NULL;
    int n = snprintf(
        text, size,
        ".version 7.8\n.target sm_80\n.address_size 64\n"
        ".visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n) {\n"
        ".reg .b32 %%r<20>;\n.reg .b64 %%rd<20>;\n.reg .pred %%p<4>;\n.shared .align 4 .b8 s[1024];\n"
        "ld.param.u64 %%rd1, [in];\nld.param.u64 %%rd2, [out];\nld.param.u32 %%r5, [n];\nmov.u32 %%r1, "
        "%%tid.x;\n"
        "mov.u32 %%r2, %%ntid.x;\nmul.wide.u32 %%rd3, %%r1, 4;\nadd.u64 %%rd4, %%rd2, %%rd3;\nmov.u32 "
        "%%r6, %u;\n"
        "mov.u32 %%r7, 0;\nmov.u64 %%rd7, s;\nadd.u64 %%rd8, %%rd7, %%rd3;\n%s%ssetp.%s.s32 %%p1, %%r3, "
        "%%r4;\n"
        "@%%p1 bra after;\nmov.u32 %%r6, 0;\n"
        "again:\n%sloop:\nmul.wide.u32 %%rd5, %%r3, 4;\nadd.u64 %%rd6, %%rd1, %%rd5;\nld.global.u32 %%r8, "
        "[%%rd6];\n"
        "mad.lo.u32 %%r6, %%r6, 3, %%r8;\n%s%s@%%p2 bra loop;\n%s"
        "after:\nst.shared.u32 [%%rd8], %%r6;\nbar.sync 0;\nld.shared.u32 %%r9, [%%rd8];\nst.global.u32 "
        "[%%rd4], %%r9;\nret;\n}\n",
        EMPTY, l->first, l->bound, equal ? "gt" : "ge", l->first, l->step, l->more,
        l->agains > 1 ? "add.u32 %r7, %r7, 1;\nsetp.lt.u32 %p3, %r7, 3;\n@%p3 bra again;\n" : "");
    ck_assert_int_lt(n, (int)size);
}

static uint32_t value_of(const struct loop *l, const uint32_t *in, uint32_t thread, uint32_t threads,
                         uint32_t n) {
    uint32_t a = 0, step = l->step_by ? l->step_by : threads;
    if (thread + l->first_add >= n + l->more_by)
        return EMPTY;
    for (uint32_t again = 0; again < l->agains; again++)
        for (uint32_t i = thread + l->first_add; i < n + l->more_by; i += step)
            a = 3 * a + in[i];
    return a;
}

static void run_loop(const struct loop *l, uint32_t threads) {
    static const uint32_t rows[] = {0,   1,   2,   31,  32,  33,  63,  64,  65,  127, 128,
                                    129, 191, 192, 255, 256, 257, 383, 511, 512, 513, 1'100};
    char text[4096];
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    rig.opt_level = 1;
    struct {
        uint64_t in, out;
        uint32_t n;
    } params = {rig_alloc(&rig, 4 * ROW_MAX), rig_alloc(&rig, 4 * THREADS_MAX), 0};
    uint32_t *in = rig_at(&rig, params.in), *out = rig_at(&rig, params.out);
    for (uint32_t i = 0; i < ROW_MAX; i++)
        in[i] = i * 2654435761U;
    write_kernel(l, text, sizeof text);
    kernel_from_ptx(&rig, &k, text, "k", threads, threads);
    for (unsigned r = 0; r < TW_COUNT(rows); r++) {
        params.n = rows[r];
        memset(out, 0xaa, 4 * THREADS_MAX);
        ck_assert_uint_eq(rig_launch(&rig, &k, (uint32_t[3]){3, 1, 1}, (uint32_t[3]){threads, 1, 1}, 0,
                                     &params, sizeof params),
                          TW_KERNEL_OK);
        for (uint32_t t = 0; t < threads; t++) {
            uint32_t want = value_of(l, in, t, threads, rows[r]);
            ck_assert_msg(out[t] == want, "%s, %u threads, row of %u: thread %u has %08x, not %08x", l->name,
                          threads, rows[r], t, out[t], want);
        }
    }
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("rows of every length give the same in blocks of 256, whatever the loop looks like") {
    for (unsigned i = 0; i < TW_COUNT(loops); i++)
        run_loop(&loops[i], 256);
}

TW_TEST("rows of every length give the same in blocks of 128 and 64") {
    for (unsigned i = 0; i < TW_COUNT(loops); i++)
        run_loop(&loops[i], i % 2 ? 128 : 64);
    run_loop(&loops[0], 128);
    run_loop(&loops[1], 128);
}

TW_TEST("loops that a short row ends in the first round have a version for these rows, others have none") {
    struct rig rig;
    rig_init(&rig);
    for (unsigned i = 0; i < TW_COUNT(loops); i++) {
        char text[4096];
        write_kernel(&loops[i], text, sizeof text);
        char *llvm = kernel_llvm(text, "k", 256, 256);
        bool wide = strstr(llvm, "prefer-vector-width") !=
                    NULL; // without AVX-512 masks are no words, and nothing has it
        ck_assert_msg(!strstr(llvm, "short_rows") == !(loops[i].is_short && wide), "%s", loops[i].name);
        free(llvm);
    }
    rig_done(&rig);
}

// sum(in, out, n): every thread of 256 adds its elements to `first`, warps by shuffles, and then all add up the warps' sums.
static void write_sum(uint32_t first, char *text, size_t size) {
    size_t n = (size_t)snprintf(
        text, size,
        ".version 7.8\n.target sm_80\n.address_size 64\n"
        ".visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n) {\n"
        ".reg .b32 %%r<40>;\n.reg .b64 %%rd<20>;\n.reg .pred %%p<4>;\n.shared .align 4 .b8 s[32];\n"
        "ld.param.u64 %%rd1, [in];\nld.param.u64 %%rd2, [out];\nld.param.u32 %%r5, [n];\nmov.u32 %%r1, "
        "%%tid.x;\n"
        "mul.wide.u32 %%rd3, %%r1, 4;\nadd.u64 %%rd4, %%rd1, %%rd3;\nadd.u64 %%rd5, %%rd2, %%rd3;\nmov.b32 "
        "%%r20, %#x;\nmov.u32 %%r3, %%r1;\n"
        "setp.ge.s32 %%p1, %%r1, %%r5;\n@%%p1 bra after;\nloop:\nld.global.f32 %%r8, [%%rd4];\nadd.f32 "
        "%%r20, %%r20, %%r8;\nadd.u64 %%rd4, %%rd4, 1024;\nadd.s32 %%r3, %%r3, 256;\nsetp.lt.s32 %%p2, "
        "%%r3, %%r5;\n@%%p2 bra loop;\nafter:\n",
        first);
    for (unsigned step = 16, v = 20; step; step /= 2, v += 2)
        n += (size_t)snprintf(text + n, size - n,
                              "shfl.sync.bfly.b32 %%r%u, %%r%u, %u, 31, -1;\nadd.f32 %%r%u, %%r%u, %%r%u;\n",
                              v + 1, v, step, v + 2, v, v + 1);
    n += (size_t)snprintf(
        text + n, size - n,
        "and.b32 %%r10, %%r1, 31;\nsetp.ne.u32 %%p3, %%r10, 0;\nshr.u32 %%r11, %%r1, 5;\nmul.wide.u32 %%rd6, "
        "%%r11, 4;\nmov.u64 %%rd7, s;\nadd.u64 %%rd8, %%rd7, %%rd6;\n@%%p3 bra past;\nst.shared.u32 [%%rd8], "
        "%%r30;\npast:\nbar.sync 0;\nld.shared.f32 %%r31, [s];\n");
    for (unsigned w = 1; w < 8; w++)
        n += (size_t)snprintf(text + n, size - n,
                              "ld.shared.f32 %%r32, [s+%u];\nadd.f32 %%r31, %%r31, %%r32;\n", 4 * w);
    n += (size_t)snprintf(text + n, size - n, "st.global.f32 [%%rd5], %%r31;\nret;\n}\n");
    ck_assert_uint_lt(n, size);
}

static float sum_of(float first, const float *in, uint32_t n) {
    float v[THREADS_MAX], next[THREADS_MAX], sum = 0;
    for (uint32_t t = 0; t < THREADS_MAX; t++) {
        v[t] = first;
        for (uint32_t i = t; i < n; i += THREADS_MAX)
            v[t] += in[i];
    }
    for (unsigned step = 16; step; step /= 2, memcpy(v, next, sizeof v))
        for (unsigned t = 0; t < THREADS_MAX; t++)
            next[t] = v[t] + v[t ^ step];
    for (unsigned w = 0; w < THREADS_MAX / 32; w++)
        sum = w ? sum + v[32 * w] : v[0];
    return sum;
}

static void run_sum(uint32_t first_bits, float scale) {
    static const uint32_t rows[] = {0, 1, 20, 64, 65, 127, 128, 129, 256, 300};
    char text[8192];
    float first;
    struct rig rig;
    struct kernel k;
    memcpy(&first, &first_bits, sizeof first);
    rig_init(&rig);
    rig.opt_level = 1;
    struct {
        uint64_t in, out;
        uint32_t n;
    } params = {rig_alloc(&rig, 4 * ROW_MAX), rig_alloc(&rig, 4 * THREADS_MAX), 0};
    float *in = rig_at(&rig, params.in), *out = rig_at(&rig, params.out);
    for (uint32_t i = 0; i < ROW_MAX; i++)
        in[i] = scale * (float)(i * 7919 % 1009 + 1);
    write_sum(first_bits, text, sizeof text);
    kernel_from_ptx(&rig, &k, text, "k", 256, 256);
    for (unsigned r = 0; r < TW_COUNT(rows); r++) {
        params.n = rows[r];
        ck_assert_uint_eq(
            rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){256, 1, 1}, 0, &params, sizeof params),
            TW_KERNEL_OK);
        float want = sum_of(first, in, rows[r]);
        for (unsigned t = 0; t < THREADS_MAX; t++)
            ck_assert_msg(memcmp(&out[t], &want, sizeof want) == 0,
                          "row of %u from %a: thread %u has %a, not %a", rows[r], (double)first, t,
                          (double)out[t], (double)want);
    }
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("sums of rows of every length are added in the same order, from 0, -0 and more, to the bit") {
    run_sum(0, 0.37F);
    run_sum(0x80000000, 0.37F);
    run_sum(0x80000000, -0.0F);
    run_sum(0, -0.0F);
    run_sum(0x3f8ccccd, -0.0011F);
}

// SPDX-License-Identifier: Apache-2.0
//
// What some lanes of a long vector run in stretches of 64: last rounds of loops, rows that are shorter than the block, lanes
// that went elsewhere or have ended, scalars between, and atomics behind; every thread against an interpreter.

#include "harness/test.h"
#include "kernel_run.h"
#include "oracle.h"
#include "ptx/ptx.h"

enum { ROW_MAX = 600, THREADS_MAX = 256, MEMORY = 1 << 16, STEPS_MAX = 100'000 };

// k(in, out, sum, n, m): threads from m on end at once. The others go through n elements side by side; odd ones, and those that an
// element is too great for, take a way of their own. What they found goes behind the elements, and is summed.
#define KERNEL(end)                                                                                          \
    ".version 7.8\n.target sm_80\n.address_size 64\n"                                                        \
    ".visible .entry k(.param .u64 in, .param .u64 out, .param .u64 sum, .param .u32 n, .param .u32 m) {\n"  \
    ".reg .b32 %r<40>;\n.reg .b64 %rd<20>;\n.reg .pred %p<8>;\n"                                             \
    "ld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\nld.param.u64 %rd3, [sum];\nld.param.u32 %r1, "     \
    "[n];\n"                                                                                                 \
    "ld.param.u32 %r2, [m];\nmov.u32 %r9, %tid.x;\nmov.u32 %r8, %ntid.x;\nsetp.ge.s32 %p1, %r9, %r2;\n@%p1 " \
    "ret;\n"                                                                                                 \
    "mul.wide.u32 %rd4, %r9, 4;\nadd.u64 %rd5, %rd1, %rd4;\nadd.u64 %rd6, %rd2, %rd4;\nmul.wide.u32 %rd9, "  \
    "%r8, 4;\n"                                                                                              \
    "mov.u32 %r3, 0;\nmov.u32 %r4, 0x3f800000;\nmov.u32 %r6, 7;\nmov.u32 %r10, %r9;\nsetp.ge.s32 %p2, %r9, " \
    "%r1;\n"                                                                                                 \
    "@%p2 bra after;\n"                                                                                      \
    "loop:\nld.global.u32 %r11, [%rd5];\ncvt.rn.f32.s32 %r12, %r11;\nmul.f32 %r13, %r12, 0f3A83126F;\n"      \
    "add.s32 %r6, %r6, %r8;\nmax.f32 %r4, %r4, %r13;\nfma.rn.f32 %r14, %r13, %r4, %r13;\nxor.b32 %r15, "     \
    "%r11, %r6;\n"                                                                                           \
    "shr.u32 %r16, %r15, 3;\nadd.s32 %r3, %r3, %r16;\nsetp.gt.f32 %p3, %r13, 0f44000000;\nselp.b32 %r17, "   \
    "%r14, %r15, %p3;\n"                                                                                     \
    "add.u64 %rd5, %rd5, %rd9;\nst.global.u32 [%rd6], %r17;\nmov.b32 %r18, %r17;\nld.global.u32 %r19, "      \
    "[%rd6];\n"                                                                                              \
    "add.s32 %r3, %r3, %r19;\nadd.u64 %rd6, %rd6, %rd9;\n"                                                   \
    "and.b32 %r20, %r11, 4095;\nsetp.lt.u32 %p4, %r20, 1000;\n@%p4 bra even;\n"                              \
    "mul.lo.s32 %r21, %r11, 3;\nsub.s32 %r22, %r21, %r3;\nxor.b32 %r3, %r22, %r18;\nshl.b32 %r23, %r3, 1;\n" \
    "add.s32 %r3, %r3, %r23;\n"                                                                              \
    "even:\nadd.s32 %r10, %r10, %r8;\nsetp.lt.s32 %p5, %r10, %r1;\n@%p5 bra loop;\n"                         \
    "after:\nmul.wide.u32 %rd7, %r9, 8;\nadd.u64 %rd8, %rd2, %rd7;\nst.global.v2.u32 [%rd8+4096], {%r3, "    \
    "%r4};\n" end "ret;\n}\n"

// An interpreter of one thread knows no atomics.
static const char text[] = KERNEL("red.global.add.u32 [%rd3], %r3;\n"), alone[] = KERNEL("");

struct arguments {
    uint64_t in, out, sum;
    uint32_t n, m;
};

static void interpret(const struct arguments *a, uint8_t *memory, uint32_t threads) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err = {};
    tw_arena_init(&arena, 64 << 20);
    tw_assert_ok(tw_ptx_parse(&arena, tw_str_from(alone), &module, &err), &err);
    for (uint32_t i = 0; i < threads; i++) {
        struct oracle oracle = {.module = module,
                                .function = tw_kir_function_find(module, "k"),
                                .params = (const uint8_t *)a,
                                .memory = memory,
                                .memory_bytes = MEMORY,
                                .block = {threads, 1, 1},
                                .grid = {1, 1, 1},
                                .thread_id = {i, 0, 0},
                                .steps_left = STEPS_MAX};
        ck_assert_msg(oracle_run(&oracle), "%s", oracle.trouble);
    }
    tw_arena_done(&arena);
}

static void compare(struct rig *rig, const struct kernel *k, const struct arguments *a, uint32_t threads) {
    static uint8_t memory[MEMORY];
    memset(memory, 0, sizeof memory);
    memset(rig_at(rig, a->out), 0, MEMORY - a->out);
    uint32_t *in = rig_at(rig, a->in);
    for (uint32_t i = 0; i < ROW_MAX; i++)
        in[i] = i * 2654435761U >> 7;
    memcpy(memory + a->in, in, 4 * ROW_MAX);
    interpret(a, memory, threads);
    for (uint32_t i = 0; i < a->m; i++)
        *(uint32_t *)(memory + a->sum) += *(const uint32_t *)(memory + a->out + 4096 + 8 * i);
    ck_assert_uint_eq(
        rig_launch(rig, k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){threads, 1, 1}, 0, a, sizeof *a),
        TW_KERNEL_OK);
    const uint32_t *got = rig_at(rig, a->out), *want = (const uint32_t *)(memory + a->out);
    for (size_t i = 0; i < (MEMORY - a->out) / 4; i++)
        ck_assert_msg(got[i] == want[i],
                      "%u threads in vectors of %u, %u of them, row of %u: word %zu is %08x, not %08x",
                      threads, k->info.variant.lanes, a->m, a->n, i, got[i], want[i]);
}

static void run_vectors(unsigned lanes, uint32_t threads, int level) {
    static const uint32_t rows[] = {0, 1, 63, 64, 65, 127, 128, 130, 192, 255, 256, 300, 511, 600};
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    rig.opt_level = level;
    uint64_t in = rig_alloc(&rig, 4 * ROW_MAX), out = rig_alloc(&rig, 4096 + 8 * THREADS_MAX);
    struct arguments a = {in, out, rig_alloc(&rig, 8), 0, 0};
    kernel_from_ptx(&rig, &k, text, "k", lanes, lanes);
    for (unsigned i = 0; i < TW_COUNT(rows); i++) {
        const uint32_t there[] = {threads, 1 + i * 37 % threads, threads / 2};
        for (unsigned j = 0; j < TW_COUNT(there); j++) {
            a.n = rows[i];
            a.m = there[j];
            compare(&rig, &k, &a, threads);
        }
    }
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("stretches of a vector of 256 lanes do what their threads would alone") {
    run_vectors(256, 256, 1);
}

TW_TEST("stretches of a vector of 128 lanes do what their threads would alone, with less optimisation too") {
    run_vectors(128, 128, 1);
    run_vectors(128, 128, 0);
}

TW_TEST("one stretch, and warps of 32, do the same") {
    run_vectors(64, 64, 1);
    run_vectors(32, 256, 1);
}

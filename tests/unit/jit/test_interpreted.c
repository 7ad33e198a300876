// SPDX-License-Identifier: Apache-2.0
//
// Programs in place of code: what jit/lower.c makes and interp/ runs. The other tests of this room check operations; with
// TW_TEST_INTERPRETED=1 in the environment they do so by programs too (CMakeLists.txt).

#include "base/atomic.h"
#include "harness/test.h"
#include "kernel_run.h"

static const char nothing[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) { ret; }\n";

TW_TEST("a kernel that does nothing runs to its end") {
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    kernel_program(&rig, &k, nothing);
    uint64_t out = rig_alloc(&rig, 400);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){3, 1, 1}, (uint32_t[3]){50, 1, 1}, 0, &out, sizeof out),
        TW_KERNEL_OK);
    kernel_done(&k);
    rig_done(&rig);
}

static void run_text(struct rig *rig, int opt_level, const char *text, const uint32_t grid[3],
                     const uint32_t block[3], const uint64_t *params, size_t count) {
    struct kernel k;
    rig->opt_level = opt_level;
    kernel_from_ptx(rig, &k, text, "k", 32, 1);
    ck_assert_int_eq(k.info.variant.opt_level, opt_level);
    ck_assert_uint_eq(rig_launch(rig, &k, grid, block, 0, params, count * sizeof *params), TW_KERNEL_OK);
    kernel_done(&k);
}

TW_TEST("a register that is read before it is written is zero, in every block and warp") {
    static const char text[] =
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) {\n"
        ".reg .b64 %d<4>; .reg .b32 %r<9>; .reg .pred %p<2>;\n"
        "mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mad.lo.s32 %r3, %r2, 70, %r1;\n"
        "mul.wide.u32 %d1, %r3, 4; ld.param.u64 %d2, [out]; add.s64 %d3, %d2, %d1;\n"
        "setp.lt.u32 %p1, %r1, 40; @%p1 bra READ;\n"
        "mov.u32 %r5, 9;\n"
        "READ: add.u32 %r5, %r5, 1; st.global.u32 [%d3], %r5; ret; }\n";
    struct rig rig;
    rig_init(&rig);
    uint64_t out = rig_alloc(&rig, 3 * 70 * 4);
    memset(rig.spill, 0x77, rig.spill_bytes); // another kernel's
    run_text(&rig, TW_KERNEL_INTERPRETED, text, (uint32_t[3]){3, 1, 1}, (uint32_t[3]){70, 1, 1}, &out, 1);
    const uint32_t *got = rig_at(&rig, out);
    for (uint32_t i = 0; i < 3 * 70; i++)
        ck_assert_uint_eq(got[i], i % 70 < 40 ? 1 : 10);
    rig_done(&rig);
}

TW_TEST("threads know their places in grids and blocks of three dimensions") {
    static const char text[] =
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) {\n"
        ".reg .b64 %d<4>; .reg .b32 %r<20>;\n"
        "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y; mov.u32 %r3, %ctaid.z;\n"
        "mov.u32 %r4, %nctaid.x; mov.u32 %r5, %nctaid.y;\n"
        "mad.lo.s32 %r6, %r3, %r5, %r2; mad.lo.s32 %r6, %r6, %r4, %r1;\n"
        "mov.u32 %r7, %tid.x; mov.u32 %r8, %tid.y; mov.u32 %r9, %tid.z;\n"
        "mov.u32 %r10, %ntid.x; mov.u32 %r11, %ntid.y; mov.u32 %r12, %ntid.z;\n"
        "mad.lo.s32 %r13, %r9, %r11, %r8; mad.lo.s32 %r13, %r13, %r10, %r7;\n"
        "mul.lo.s32 %r14, %r10, %r11; mul.lo.s32 %r14, %r14, %r12; mad.lo.s32 %r15, %r6, %r14, %r13;\n"
        "mul.wide.u32 %d1, %r15, 4; ld.param.u64 %d2, [out]; add.s64 %d3, %d2, %d1;\n"
        "st.global.u32 [%d3], %r15; ret; }\n";
    enum { GRID = 5 * 3 * 4, BLOCK = 7 * 2 * 5 };
    struct rig rig;
    rig_init(&rig);
    uint64_t out = rig_alloc(&rig, (size_t)(GRID * BLOCK + 1) * 4);
    run_text(&rig, TW_KERNEL_INTERPRETED, text, (uint32_t[3]){5, 3, 4}, (uint32_t[3]){7, 2, 5}, &out, 1);
    const uint32_t *got = rig_at(&rig, out);
    for (uint32_t i = 0; i < GRID * BLOCK; i++)
        ck_assert_uint_eq(got[i], i);
    ck_assert_uint_eq(got[GRID * BLOCK], 0);
    rig_done(&rig);
}

// out[i] += 1 for each thread; the first of block `when` raises the flag that lies in the arena, and all go round a loop then.
static const char handed_over[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".visible .entry k(.param .u64 out, .param .u64 flag, .param .u64 when) {\n"
    ".reg .b64 %d<9>; .reg .b32 %r<9>; .reg .pred %p<4>;\n"
    "ld.param.u64 %d1, [out]; ld.param.u64 %d2, [flag]; ld.param.u32 %r1, [when];\n"
    "mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mad.lo.s32 %r4, %r3, 50, %r2;\n"
    "mul.wide.u32 %d3, %r4, 4; add.s64 %d4, %d1, %d3;\n"
    "setp.eq.u32 %p1, %r3, %r1; setp.eq.and.u32 %p2, %r2, 0, %p1; mov.u32 %r5, 1;\n"
    "@%p2 st.global.u32 [%d2], %r5; mov.u32 %r6, 0;\n"
    "LOOP: add.u32 %r6, %r6, 1; setp.lt.u32 %p3, %r6, 20; @%p3 bra LOOP;\n"
    "ld.global.u32 %r7, [%d4]; add.u32 %r7, %r7, 1; st.global.u32 [%d4], %r7; ret; }\n";

TW_TEST("a launch begun by a program and ended by its code runs each block once") {
    enum { BLOCKS = 9, THREADS = 50 };
    for (uint64_t when = 0; when <= BLOCKS; when++) {
        struct rig rig;
        struct kernel program, code;
        rig_init(&rig);
        uint64_t out = rig_alloc(&rig, (size_t)BLOCKS * THREADS * 4), flag = rig_alloc(&rig, 64);
        const uint64_t params[] = {out, flag, when};
        kernel_program(&rig, &program, handed_over);
        rig.opt_level = TW_KERNEL_FULL;
        kernel_from_ptx(&rig, &code, handed_over, "k", 32, 1);
        rig.better = rig_at(&rig, flag);
        uint32_t status = rig_launch(&rig, &program, (uint32_t[3]){BLOCKS, 1, 1},
                                     (uint32_t[3]){THREADS, 1, 1}, 0, params, sizeof params);
        bool early = when + 1 < BLOCKS; // it has stored: the block goes on to its end
        ck_assert_uint_eq(status, early ? TW_KERNEL_AGAIN : TW_KERNEL_OK);
        const uint32_t *got = rig_at(&rig, out);
        if (early) {
            ck_assert_uint_eq(rig.again, when + 1);
            ck_assert_uint_eq(got[rig.again * THREADS - 1], 1);
            ck_assert_uint_eq(got[rig.again * THREADS], 0);
            rig.first = rig.again;
            status = rig_launch(&rig, &code, (uint32_t[3]){BLOCKS, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0,
                                params, sizeof params);
            ck_assert_uint_eq(status, TW_KERNEL_OK);
        }
        for (uint32_t i = 0; i < BLOCKS * THREADS; i++)
            ck_assert_uint_eq(got[i], 1);
        kernel_done(&program);
        kernel_done(&code);
        rig_done(&rig);
    }
}

TW_TEST("ordinary kernels have programs; of one that spins on a lock it is told what keeps it from that") {
    static const struct {
        const char *file, *entries[5];
    } files[] = {{"vector_add.cu", {"vector_add"}},
                 {"softmax.cu", {"softmax"}},
                 {"warps.cu", {"bitonic", "votes"}},
                 {"numeric.cu", {"attention", "fft", "halves", "layernorm", "spmv"}},
                 {"tensors.cu", {"mma_f16", "half_pairs"}}};
    struct rig rig;
    struct tw_error err = {};
    rig_init(&rig);
    for (size_t f = 0; f < TW_COUNT(files); f++) {
        char *ptx = ptx_from_cu(files[f].file);
        for (size_t e = 0; e < TW_COUNT(files[f].entries) && files[f].entries[e]; e++)
            ck_assert_msg(kernel_has_program(ptx, files[f].entries[e], &err), "%s: %s", files[f].entries[e],
                          err.message);
        free(ptx);
    }
    char *locks = ptx_from_cu("graphs.cu");
    ck_assert(!kernel_has_program(locks, "locked", &err));
    ck_assert_int_eq(err.code, TW_ERR_NOT_IMPLEMENTED);
    ck_assert_msg(strncmp(err.message, "line ", 5) == 0 && strtol(err.message + 5, NULL, 10) > 0, "%s",
                  err.message);
    ck_assert_ptr_nonnull(strstr(err.message, "in which a warp waits for others"));
    free(locks);
    rig_done(&rig);
}

// SPDX-License-Identifier: Apache-2.0
//
// Requests that leave the number of lanes to the compiler: what it chooses, and that kernels from before there was
// bar.warp.sync, whose threads rely on their warp running in step, get all of the warp as one vector.

#include "harness/test.h"
#include "kernel_run.h"

enum { THREADS = 64 };

#define HEAD                                                                                                 \
    ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) {\n"                  \
    ".reg .b32 %r<20>;\n.reg .b64 %rd<5>;\n.reg .pred %p<2>;\n.shared .align 4 .b8 s[512];\n"                \
    "ld.param.u64 %rd1, [out];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\nadd.u64 %rd1, %rd1, "      \
    "%rd2;\n"                                                                                                \
    "mov.u32 %r2, s;\nshl.b32 %r3, %r1, 2;\nadd.u32 %r2, %r2, %r3;\n"
#define TAIL "st.global.u32 [%rd1], %r4;\nret;\n}\n"
// A thread's word and the one `bytes` behind it added up, as one step of a warp's sum.
#define STEP(bytes)                                                                                          \
    "ld.volatile.shared.u32 %r5, [%r2+" #bytes "];\nadd.u32 %r4, %r4, %r5;\nst.volatile.shared.u32 [%r2], "  \
    "%r4;\n"

static const char plain[] = HEAD "mul.lo.u32 %r4, %r1, %r1;\n" TAIL;
static const char shuffles[] = HEAD "shfl.sync.bfly.b32 %r4, %r1, 16, 31, -1;\n" TAIL;
static const char in_step[] =
    HEAD "mad.lo.u32 %r4, %r1, %r1, 1;\nst.volatile.shared.u32 [%r2], %r4;\nbar.sync 0;\n"
         "setp.ge.u32 %p1, %r1, 32;\n@%p1 bra END;\n" STEP(128) STEP(64) STEP(32) STEP(16) STEP(8)
             STEP(4) "END:\n" TAIL;

static uint32_t want_square(uint32_t i) {
    return i * i;
}

static uint32_t want_partner(uint32_t i) {
    return i ^ 16;
}

// Only thread 0 has the sum of all; the others of the first warp have sums of some.
static uint32_t want_sum(uint32_t i) {
    uint32_t sum = 0;
    for (uint32_t k = 0; k < THREADS; k++)
        sum += k * k + 1;
    return i ? UINT32_MAX : sum;
}

TW_TEST(
    "who leaves the lanes to the compiler gets 16 in light code and 32 where a warp has to be one vector") {
    static const struct {
        const char *text;
        uint32_t (*want)(uint32_t i);
        unsigned light;
    } cases[] = {{plain, want_square, 16}, {shuffles, want_partner, 32}, {in_step, want_sum, 32}};
    struct rig rig;
    rig_init(&rig);
    for (unsigned t = 0; t < TW_COUNT(cases); t++)
        for (int level = TW_KERNEL_LIGHT; level <= TW_KERNEL_FULL; level++) {
            struct kernel k;
            rig.opt_level = level;
            kernel_from_ptx(&rig, &k, cases[t].text, "k", TW_KERNEL_LANES_ANY, 0);
            unsigned lanes = level == TW_KERNEL_LIGHT && !k.program ? cases[t].light : 32;
            ck_assert_uint_eq(k.info.variant.lanes, lanes);
            ck_assert_uint_eq(k.info.variant.x_multiple, k.program ? 1 : lanes);
            ck_assert_int_eq(k.info.variant.opt_level, k.program ? TW_KERNEL_INTERPRETED : level);
            uint64_t out = rig_alloc(&rig, THREADS * sizeof(uint32_t));
            const uint32_t *found = rig_at(&rig, out);
            const uint32_t grid[3] = {1, 1, 1}, block[3] = {THREADS, 1, 1};
            ck_assert_uint_eq(rig_launch(&rig, &k, grid, block, 0, &out, sizeof out), TW_KERNEL_OK);
            for (uint32_t i = 0; i < THREADS; i++) {
                uint32_t want = cases[t].want(i);
                ck_assert_msg(want == UINT32_MAX || found[i] == want, "case %u level %d: thread %u has %u", t,
                              level, i, found[i]);
            }
            kernel_done(&k);
        }
    rig_done(&rig);
}

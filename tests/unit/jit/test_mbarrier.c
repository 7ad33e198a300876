// SPDX-License-Identifier: Apache-2.0
//
// Barriers that are objects in shared memory, against a model of them: arrivals by lanes in order, phases, counts that
// drop; and warps that wait at them in loops.

#include "harness/test.h"
#include "kernel_run.h"

#define ENTRY                                                                                                \
    ".version 8.0\n.target sm_90\n.address_size 64\n"                                                        \
    ".visible .entry k(.param .u64 out) {\n.reg .b32 %r<20>;\n.reg .b64 %rd<12>;\n.reg .pred %p<8>;\n"       \
    ".shared .align 8 .b64 bars[4];\n.shared .align 16 .b8 data[1024];\n"                                    \
    "ld.param.u64 %rd9, [out];\nmov.u32 %r9, %tid.x;\nmul.wide.u32 %rd7, %r9, 16;\nadd.u64 %rd9, %rd9, "     \
    "%rd7;\nshr.u32 %r8, %r9, 5;\nand.b32 %r7, %r9, 31;\nsetp.eq.u32 %p7, %r9, 0;\n"

enum { WORDS = 4 }; // a thread writes

static void run(const char *text, unsigned row, uint32_t grid, uint32_t block, uint32_t *ret_words) {
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    uint64_t params[1] = {rig_alloc(&rig, 16384)};
    kernel_from_ptx(&rig, &k, text, "k", 32, row);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){grid, 1, 1}, (uint32_t[3]){block, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    memcpy(ret_words, rig_at(&rig, params[0]), (size_t)block * WORDS * sizeof *ret_words);
    kernel_done(&k);
    rig_done(&rig);
}

// The model: an arrival gives how many were missing before it.
struct model {
    uint32_t missing, wanted, phase;
};
static uint32_t arrive(struct model *m, uint32_t count, bool drops) {
    uint32_t before = m->missing;
    m->wanted -= drops ? count : 0;
    m->missing -= count;
    if (m->missing == 0) {
        m->missing = m->wanted;
        m->phase++;
    }
    return before;
}

TW_TEST("lanes arrive one after the other, some for the last time, and tests tell which phases are over") {
    static const char text[] = ENTRY
        "@%p7 mbarrier.init.shared.b64 [bars], 40;\nbar.sync 0;\nand.b32 %r1, %r9, 3;\nsetp.eq.u32 %p1, %r1, "
        "3;\n"
        "@%p1 mbarrier.arrive_drop.shared.b64 %rd1, [bars];\nand.b32 %r2, %r9, 1;\nadd.u32 %r2, %r2, 1;\n"
        "@!%p1 mbarrier.arrive.release.cta.shared::cta.b64 %rd1, [bars], %r2;\n"
        "mbarrier.pending_count.b64 %r3, %rd1;\nbar.sync 0;\n"
        "mbarrier.test_wait.shared.b64 %p2, [bars], %rd1;\nselp.u32 %r4, 1, 0, %p2;\n"
        "mbarrier.test_wait.parity.shared.b64 %p3, [bars], %r1;\nselp.u32 %r5, 1, 0, %p3;\n"
        "mov.u64 %rd2, bars;\ncvta.shared.u64 %rd2, %rd2;\nmov.u32 %r6, 0;\n"
        "@%p7 mbarrier.arrive.noComplete.b64 %rd1, [%rd2], 1;\n@%p7 mbarrier.pending_count.b64 %r6, %rd1;\n"
        "st.global.v4.u32 [%rd9], {%r3, %r4, %r5, %r6};\n@%p7 mbarrier.inval.shared.b64 [bars];\nret;\n}\n";
    static uint32_t got[64 * WORDS];
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        struct model m = {40, 40, 0};
        uint32_t before[64], phase[64];
        // The guarded instructions run one after the other in each warp: first those that drop.
        for (uint32_t warp = 0; warp < 2; warp++)
            for (uint32_t kind = 0; kind < 2; kind++)
                for (uint32_t lane = 0; lane < 32; lane++) {
                    uint32_t t = warp * 32 + lane;
                    bool drops = t % 4 == 3;
                    if (drops != (kind == 0))
                        continue;
                    phase[t] = m.phase;
                    before[t] = arrive(&m, drops ? 1 : t % 2 + 1, drops);
                }
        run(text, row, 1, 64, got);
        for (uint32_t t = 0; t < 64; t++) {
            ck_assert_uint_eq(got[t * WORDS], before[t]);
            ck_assert_uint_eq(got[t * WORDS + 1], phase[t] != m.phase);
            ck_assert_uint_eq(got[t * WORDS + 2], (t & 1) != (m.phase & 1));
        }
        ck_assert_uint_eq(got[3], m.missing);
    }
}

TW_TEST("consumers wait for a producer, and it for them, through a ring of two") {
    // Warp 2 fills the ring with round × 1,000 + lane, warps 0 and 1 add up what they take out: 7 rounds.
    static const char text[] = ENTRY
        "@!%p7 bra begin;\nmbarrier.init.shared.b64 [bars], 32;\nmbarrier.init.shared.b64 [bars+8], 32;\n"
        "mbarrier.init.shared.b64 [bars+16], 64;\nmbarrier.init.shared.b64 [bars+24], 64;\nbegin:\nbar.sync "
        "0;\n"
        "mov.u32 %r1, 0;\nmov.u32 %r6, 0;\nsetp.eq.u32 %p1, %r8, 2;\n"
        "round:\nand.b32 %r2, %r1, 1;\nshr.u32 %r3, %r1, 1;\nand.b32 %r3, %r3, 1;\n" // slot and its parity
        "mov.u32 %r10, bars;\nshl.b32 %r11, %r2, 3;\nadd.u32 %r10, %r10, %r11;\n"
        "mov.u32 %r12, data;\nshl.b32 %r11, %r2, 7;\nadd.u32 %r12, %r12, %r11;\nshl.b32 %r11, %r7, 2;\n"
        "add.u32 %r12, %r12, %r11;\n@%p1 bra produce;\n"
        "full:\nmbarrier.try_wait.parity.shared.b64 %p2, [%r10], %r3, 1000;\n@!%p2 bra full;\n"
        "ld.shared.u32 %r4, [%r12];\nadd.u32 %r6, %r6, %r4;\nmbarrier.arrive.shared.b64 _, [%r10+16];\nbra "
        "next;\n"
        "produce:\nxor.b32 %r3, %r3, 1;\n"
        "empty:\nmbarrier.test_wait.parity.shared.b64 %p2, [%r10+16], %r3;\n@%p2 bra fill;\nnanosleep.u32 "
        "32;\nbra empty;\n"
        "fill:\nmad.lo.u32 %r4, %r1, 1000, %r7;\nst.shared.u32 [%r12], %r4;\nadd.u32 %r6, %r6, 1;\n"
        "cp.async.mbarrier.arrive.shared.b64 [%r10];\ncp.async.mbarrier.arrive.noinc.shared.b64 [%r10];\n"
        "next:\nadd.u32 %r1, %r1, 1;\nsetp.lt.u32 %p3, %r1, 7;\n@%p3 bra round;\n"
        "st.global.v4.u32 [%rd9], {%r6, %r6, %r6, %r6};\nret;\n}\n";
    static uint32_t got[96 * WORDS];
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        run(text, row, 3, 96, got);
        for (uint32_t t = 0; t < 96; t++)
            ck_assert_uint_eq(got[t * WORDS], t < 64 ? 21 * 1000 + 7 * (t % 32) : 7);
    }
}

TW_TEST("what is no barrier in shared memory is refused by name and place") {
    static const char *const wrong[] = {
        "mbarrier.init.global.b64 [%rd1], 32;",
        "mbarrier.arrive.noComplete.shared.b64 %rd1, [%rd2];",
        "mbarrier.arrive.expect_tx.shared.b64 %rd1, [%rd2], 4;",
        "mbarrier.init.parity.shared.b64 [%rd1], 32;",
        "mbarrier.test_wait.shared.b64 %p1, [%rd1], %r1;",
        "cp.async.mbarrier.shared.b64 [%rd1];",
    };
    struct rig rig;
    rig_init(&rig);
    for (size_t i = 0; i < TW_COUNT(wrong); i++) {
        struct tw_error err = {};
        char text[1200];
        snprintf(text, sizeof text, "%s%s\nret;\n}\n", ENTRY, wrong[i]);
        ck_assert_msg(!kernel_try(text, "k", 32, 32, &err), "%s", wrong[i]);
        ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
        ck_assert_msg(strstr(err.message, "line 17, column ") != NULL, "%s", err.message);
    }
    rig_done(&rig);
}

// SPDX-License-Identifier: Apache-2.0
//
// Warps that wait in loops for what other warps of their block write. The first warp is the one that waits, so that
// without suspension nothing would ever come; what the lanes hold meanwhile must be there afterwards.

#include "harness/test.h"
#include "kernel_run.h"

#define ENTRY                                                                                                \
    ".version 7.8\n.target sm_80\n.address_size 64\n"                                                        \
    ".visible .entry k(.param .u64 out, .param .u64 global) {\n"                                             \
    ".reg .b32 %r<20>;\n.reg .b64 %rd<12>;\n.reg .pred %p<8>;\n.shared .align 8 .b8 s[1024];\n"              \
    "ld.param.u64 %rd9, [out];\nld.param.u64 %rd8, [global];\nmov.u32 %r9, %tid.x;\n"                        \
    "mul.wide.u32 %rd7, %r9, 4;\nadd.u64 %rd9, %rd9, %rd7;\nshr.u32 %r8, %r9, 5;\nand.b32 %r7, %r9, 31;\n"

static const uint32_t *run_global(const char *text, unsigned lanes_in_row, uint32_t grid, uint32_t block,
                                  uint32_t **ret_global) {
    static struct rig rig;
    struct kernel k;
    rig_init(&rig);
    rig.opt_level = lanes_in_row == 32; // each shape with one of the pipelines
    uint64_t params[2] = {rig_alloc(&rig, 8192), rig_alloc(&rig, 8192)};
    kernel_from_ptx(&rig, &k, text, "k", 32, lanes_in_row);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){grid, 1, 1}, (uint32_t[3]){block, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    kernel_done(&k);
    if (ret_global)
        *ret_global = rig_at(&rig, params[1]);
    return rig_at(&rig, params[0]);
}

static void check(const char *text, uint32_t grid, uint32_t block, uint32_t (*want)(uint32_t)) {
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        const uint32_t *got = run_global(text, row, grid, block, NULL);
        for (uint32_t i = 0; i < block; i++)
            ck_assert_msg(got[i] == want(i), "thread %u wrote %u, not %u", i, got[i], want(i));
    }
}

static uint32_t want_flag(uint32_t t) {
    return t < 32 ? 7 * t + 41 : t;
}

TW_TEST("a warp sees a flag that a later warp sets") {
    check(ENTRY "mul.lo.u32 %r1, %r9, 7;\nsetp.eq.u32 %p1, %r8, 0;\n@%p1 bra wait;\n"
                "st.shared.u32 [s+4], 41;\nmembar.cta;\nst.volatile.shared.u32 [s], 1;\nst.global.u32 "
                "[%rd9], %r9;\nret;\n"
                "wait:\nld.volatile.shared.u32 %r2, [s];\nsetp.eq.u32 %p2, %r2, 0;\n@%p2 bra wait;\n"
                "ld.shared.u32 %r3, [s+4];\nadd.u32 %r1, %r1, %r3;\nst.global.u32 [%rd9], %r1;\nret;\n}\n",
          2, 96, want_flag);
}

// Warps pass a token on, three rounds, the last warp first; each adds its number, times ten in every step.
static uint32_t want_token(uint32_t t) {
    uint32_t token = 0, seen = 0;
    for (uint32_t turn = 0; turn < 12; turn++) {
        uint32_t warp = 3 - turn % 4;
        token = token * 3 + warp;
        if (warp == t / 32)
            seen = token + t % 32;
    }
    return seen;
}

TW_TEST("warps take turns by a counter, and meet at barriers in between") {
    check(ENTRY "mov.u32 %r1, 0;\nbar.sync 0;\nround:\nshl.b32 %r2, %r1, 2;\nsub.u32 %r3, 3, %r8;\nadd.u32 "
                "%r2, %r2, %r3;\n"
                "wait:\nld.relaxed.cta.shared.u32 %r4, [s];\nsetp.ne.u32 %p1, %r4, %r2;\n@%p1 bra wait;\n"
                "ld.shared.u32 %r5, [s+8];\nmad.lo.u32 %r5, %r5, 3, %r8;\nadd.u32 %r6, %r5, %r7;\n"
                "setp.ne.u32 %p2, %r7, 0;\n@!%p2 st.shared.u32 [s+8], %r5;\nmembar.cta;\n"
                "bar.warp.sync -1;\n@!%p2 st.volatile.shared.u32 [s], %r4;\nadd.u32 %r4, %r4, 1;\n"
                "@!%p2 st.volatile.shared.u32 [s], %r4;\nadd.u32 %r1, %r1, 1;\nbar.sync 0;\nsetp.lt.u32 %p3, "
                "%r1, 3;\n"
                "@%p3 bra round;\nst.global.u32 [%rd9], %r6;\nret;\n}\n",
          1, 128, want_token);
}

static uint32_t want_apart(uint32_t t) {
    uint32_t base = t * t;
    if (t >= 32)
        return base;
    return t % 3 == 1 ? base + 100 + t : t % 3 == 2 ? base * 2 + t : base + 3;
}

TW_TEST("lanes that wait and lanes that are elsewhere keep what they hold") {
    // Of the first warp, a third waits for its own word, a third has gone the other way and a third around both.
    check(ENTRY "mul.lo.u32 %r1, %r9, %r9;\nrem.u32 %r2, %r9, 3;\nadd.u64 %rd1, %rd8, %rd7;\n"
                "setp.ne.u32 %p1, %r8, 0;\n@%p1 bra write;\nsetp.eq.u32 %p2, %r2, 0;\nmov.u32 %r5, 3;\n@%p2 "
                "bra join;\n"
                "setp.eq.u32 %p3, %r2, 2;\n@%p3 bra other;\nmov.u32 %r5, 100;\n"
                "wait:\nld.acquire.gpu.global.u32 %r3, [%rd1];\nsetp.eq.u32 %p4, %r3, 0;\n@%p4 bra wait;\n"
                "add.u32 %r5, %r5, %r3;\nbra join;\nother:\nadd.u32 %r5, %r1, %r9;\n"
                "join:\nadd.u32 %r1, %r1, %r5;\nst.global.u32 [%rd9], %r1;\nret;\n"
                "write:\nand.b32 %r4, %r9, 31;\nmul.wide.u32 %rd2, %r4, 4;\nadd.u64 %rd2, %rd8, %rd2;\n"
                "st.global.u32 [%rd2], %r4;\nst.global.u32 [%rd9], %r1;\nret;\n}\n",
          1, 64, want_apart);
}

static uint32_t want_locked(uint32_t t) {
    return t;
}

TW_TEST("one lane of each warp takes a lock whose holder sleeps") {
    static const char text[] = ENTRY
        "st.global.u32 [%rd9], %r9;\nsetp.ne.u32 %p1, %r7, 0;\n@%p1 bra done;\n"
        "lock:\natom.global.cas.b32 %r1, [%rd8], 0, 1;\nsetp.ne.u32 %p2, %r1, 0;\n@%p2 bra lock;\n"
        "ld.volatile.global.u32 %r2, [%rd8+4];\nmov.u32 %r3, 0;\n"
        "sleep:\nnanosleep.u32 20;\nadd.u32 %r3, %r3, 1;\nsetp.lt.u32 %p3, %r3, 100;\n@%p3 bra sleep;\n"
        "add.u32 %r2, %r2, 1;\nst.volatile.global.u32 [%rd8+4], %r2;\natom.global.exch.b32 %r1, [%rd8], 0;\n"
        "done:\nret;\n}\n";
    uint32_t *global;
    check(text, 3, 160, want_locked);
    (void)run_global(text, 32, 3, 160, &global);
    ck_assert_uint_eq(global[0], 0);
    ck_assert_uint_eq(global[1], 15); // five warps in each of three blocks
}

static uint32_t want_wide(uint32_t t) {
    return t < 32 ? t - 5 + 9 : t;
}

TW_TEST("every lane takes the same lock, in its turn") {
    uint32_t *global;
    const char *text = ENTRY
        "lock:\natom.global.cas.b32 %r1, [%rd8], 0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra lock;\n"
        "ld.volatile.global.u32 %r2, [%rd8+4];\nadd.u32 %r2, %r2, 1;\nst.volatile.global.u32 [%rd8+4], %r2;\n"
        "setp.gt.u32 %p2, %r9, 40;\n@%p2 bra free;\nst.global.u32 [%rd9], %r2;\nfree:\nmembar.gl;\n"
        "atom.global.exch.b32 %r3, [%rd8], 0;\n@%p2 ret;\nld.global.u32 %r4, [%rd9];\n"
        "add.u32 %r4, %r4, 1000;\nst.global.u32 [%rd9], %r4;\nret;\n}\n";
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        const uint32_t *got = run_global(text, row, 1, 96, &global);
        uint32_t seen[97] = {};
        ck_assert_uint_eq(global[0], 0);
        ck_assert_uint_eq(global[1], 96);
        for (uint32_t i = 0; i <= 40; i++) { // each its own number of 1 … 96
            ck_assert_uint_gt(got[i], 1000);
            ck_assert_uint_le(got[i], 1096);
            ck_assert_uint_eq(seen[got[i] - 1000]++, 0);
        }
    }
}

static uint32_t want_chain(uint32_t t) {
    return 3 * t + 5;
}

// As compilers turn `while (cas) sleep;` into a test and a loop behind it: who has the lock at once never goes round.
TW_TEST("every lane takes a lock that some take without going round the loop that waits") {
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        uint32_t *global;
        run_global(ENTRY
                   "atom.acquire.gpu.global.cas.b32 %r1, [%rd8], 0, 1;\nsetp.ne.b32 %p1, %r1, 1;\n"
                   "@%p1 bra have;\nmov.b32 %r2, 8;\nwait:\nnanosleep.u32 %r2;\nshl.b32 %r2, %r2, 1;\n"
                   "and.b32 %r2, %r2, 255;\natom.acquire.gpu.global.cas.b32 %r1, [%rd8], 0, 1;\n"
                   "setp.eq.b32 %p2, %r1, 1;\n@%p2 bra wait;\nhave:\nld.volatile.global.u32 %r3, "
                   "[%rd8+4];\nadd.u32 %r3, %r3, 1;\nst.volatile.global.u32 [%rd8+4], %r3;\n"
                   "st.global.u32 [%rd9], %r3;\nmembar.gl;\natom.global.exch.b32 %r4, [%rd8], 0;\nret;\n}\n",
                   row, 2, 96, &global);
        ck_assert_uint_eq(global[0], 0);
        ck_assert_uint_eq(global[1], 192);
    }
}

TW_TEST("each lane waits for what the lane before it writes") {
    check(ENTRY
          "setp.eq.u32 %p1, %r9, 0;\nmul.lo.u32 %r1, %r9, 4;\nmov.u32 %r2, s;\nadd.u32 %r1, %r1, %r2;\n"
          "@%p1 st.volatile.shared.u32 [%r1], 2;\nbar.sync 0;\n"
          "wait:\nld.volatile.shared.u32 %r3, [%r1];\nsetp.eq.u32 %p2, %r3, 0;\n@%p2 bra wait;\n"
          "add.u32 %r3, %r3, 3;\nst.volatile.shared.u32 [%r1+4], %r3;\nst.global.u32 [%rd9], %r3;\nret;\n}\n",
          1, 96, want_chain);
}

// In each warp lane 5 is the one that writes, behind a loop of its own; the others wait, in what stands first in the
// text.
static uint32_t want_written(uint32_t t) {
    return t % 32 == 5 ? 100 : 100 + 2 * t;
}

TW_TEST("lanes wait for what a lane writes that went the other way") {
    check(ENTRY
          "shl.b32 %r1, %r8, 2;\nmov.u32 %r2, s;\nadd.u32 %r1, %r1, %r2;\nsetp.eq.u32 %p1, %r7, 5;\n"
          "mov.u32 %r4, 0;\nmov.u32 %r5, 0;\n@%p1 bra write;\n"
          "wait:\nld.volatile.shared.u32 %r3, [%r1];\nsetp.eq.u32 %p2, %r3, 0;\n@%p2 bra wait;\n"
          "add.u32 %r3, %r3, %r9;\nadd.u32 %r3, %r3, %r9;\nbra join;\n"
          "write:\nadd.u32 %r4, %r4, 1;\nadd.u32 %r5, %r5, 4;\nsetp.lt.u32 %p3, %r4, 25;\n@%p3 bra write;\n"
          "st.volatile.shared.u32 [%r1], %r5;\nmov.u32 %r3, %r5;\n"
          "join:\nst.global.u32 [%rd9], %r3;\nret;\n}\n",
          2, 96, want_written);
}

// A chain in which each lane passes its value on, plus 1 or plus 10: odd lanes leave the loop by another way, and write
// in a loop of their own.
static uint32_t want_ways(uint32_t t) {
    uint32_t value = 2;
    for (uint32_t i = 0; i < t; i++)
        value += i % 2 ? 10 : 1;
    return value;
}

TW_TEST("each lane waits for the lane before it, which leaves the loop on one of two ways") {
    check(
        ENTRY
        "setp.eq.u32 %p1, %r9, 0;\nmul.lo.u32 %r1, %r9, 4;\nmov.u32 %r2, s;\nadd.u32 %r1, %r1, %r2;\n"
        "@%p1 st.volatile.shared.u32 [%r1], 2;\nand.b32 %r6, %r9, 1;\nsetp.eq.u32 %p4, %r6, 1;\nbar.sync 0;\n"
        "wait:\nld.volatile.shared.u32 %r3, [%r1];\nsetp.eq.u32 %p2, %r3, 0;\n@%p2 bra wait2;\n"
        "@%p4 bra odd;\nadd.u32 %r4, %r3, 1;\nst.volatile.shared.u32 [%r1+4], %r4;\nbra join;\n"
        "wait2:\nbra wait;\n"
        "odd:\nmov.u32 %r4, %r3;\nmov.u32 %r5, 0;\n"
        "more:\nadd.u32 %r4, %r4, 2;\nadd.u32 %r5, %r5, 1;\nsetp.eq.u32 %p5, %r5, 5;\n"
        "@%p5 st.volatile.shared.u32 [%r1+4], %r4;\n@!%p5 bra more;\n"
        "join:\nst.global.u32 [%rd9], %r3;\nret;\n}\n",
        1, 96, want_ways);
}

TW_TEST("every lane takes a lock that is given back by another pointer, on one of two ways, behind volatile "
        "stores") {
    uint32_t *global;
    const char *text = ENTRY
        "and.b32 %r6, %r9, 1;\nsetp.eq.u32 %p4, %r6, 1;\nst.global.u32 [%rd9], %r9;\n"
        "lock:\natom.global.cas.b32 %r1, [%rd8], 0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra lock;\n"
        "ld.volatile.global.u32 %r2, [%rd8+4];\nadd.u32 %r2, %r2, 1;\nst.volatile.global.u32 [%rd8+4], %r2;\n"
        "add.u64 %rd1, %rd8, 64;\nmov.u32 %r5, 0;\n"
        "rows:\nld.volatile.global.u32 %r4, [%rd1];\nadd.u32 %r4, %r4, %r9;\nst.volatile.global.u32 [%rd1], "
        "%r4;\n"
        "add.u64 %rd1, %rd1, 4;\nadd.u32 %r5, %r5, 1;\nsetp.lt.u32 %p2, %r5, 3;\n@%p2 bra rows;\n"
        "add.u64 %rd2, %rd1, -76;\nmembar.gl;\n@%p4 bra odd;\natom.global.exch.b32 %r3, [%rd2], 0;\nret;\n"
        "odd:\nst.volatile.global.u32 [%rd2], 0;\nret;\n}\n";
    check(text, 1, 96, want_locked);
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        (void)run_global(text, row, 1, 96, &global);
        ck_assert_uint_eq(global[0], 0);
        ck_assert_uint_eq(global[1], 96);
        for (unsigned i = 0; i < 3; i++)
            ck_assert_uint_eq(global[16 + i], 96 * 95 / 2);
    }
}

// Two of seven locks each, the lower one first; under both it adds to two sums.
TW_TEST("every lane takes two locks, one inside the other") {
    uint32_t *global, want[16] = {};
    const char *text = ENTRY
        "st.global.u32 [%rd9], %r9;\nrem.u32 %r1, %r9, 7;\nmad.lo.u32 %r2, %r9, 5, 3;\nrem.u32 %r2, %r2, 6;\n"
        "setp.ge.u32 %p1, %r2, %r1;\n@%p1 add.u32 %r2, %r2, 1;\nmin.u32 %r3, %r1, %r2;\nmax.u32 %r4, %r1, "
        "%r2;\n"
        "mul.wide.u32 %rd1, %r3, 4;\nadd.u64 %rd1, %rd1, %rd8;\nmul.wide.u32 %rd2, %r4, 4;\nadd.u64 %rd2, "
        "%rd2, "
        "%rd8;\n"
        "one:\natom.global.cas.b32 %r5, [%rd1], 0, 1;\nsetp.ne.u32 %p2, %r5, 0;\n@%p2 bra one;\n"
        "two:\natom.global.cas.b32 %r5, [%rd2], 0, 1;\nsetp.ne.u32 %p2, %r5, 0;\n@%p2 bra two;\n"
        "ld.volatile.global.u32 %r6, [%rd1+32];\nadd.u32 %r6, %r6, 1;\nst.volatile.global.u32 [%rd1+32], "
        "%r6;\n"
        "ld.volatile.global.u32 %r6, [%rd2+32];\nadd.u32 %r6, %r6, %r9;\nst.volatile.global.u32 [%rd2+32], "
        "%r6;\n"
        "membar.gl;\natom.global.exch.b32 %r5, [%rd2], 0;\natom.global.exch.b32 %r5, [%rd1], 0;\nret;\n}\n";
    for (uint32_t i = 0; i < 96; i++) {
        uint32_t a = i % 7, b = (5 * i + 3) % 6;
        b += b >= a;
        want[8 + (a < b ? a : b)] += 1;
        want[8 + (a < b ? b : a)] += i;
    }
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        (void)run_global(text, row, 1, 96, &global);
        ck_assert_mem_eq(global, want, sizeof want);
    }
}

// The first lock taken is the first given back.
TW_TEST("every lane takes the same four locks, one inside the other") {
    uint32_t *global, want[8] = {0, 0, 0, 0, 96};
    const char *text =
        ENTRY "a:\natom.global.cas.b32 %r1, [%rd8], 0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra a;\n"
              "b:\natom.global.cas.b32 %r1, [%rd8+4], 0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra b;\n"
              "c:\natom.global.cas.b32 %r1, [%rd8+8], 0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra c;\n"
              "d:\natom.global.cas.b32 %r1, [%rd8+12], 0, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra d;\n"
              "ld.volatile.global.u32 %r2, [%rd8+16];\nadd.u32 %r2, %r2, 1;\nst.volatile.global.u32 "
              "[%rd8+16], %r2;\n"
              "membar.gl;\natom.global.exch.b32 %r1, [%rd8], 0;\natom.global.exch.b32 %r1, [%rd8+4], 0;\n"
              "atom.global.exch.b32 %r1, [%rd8+8], 0;\natom.global.exch.b32 %r1, [%rd8+12], 0;\nret;\n}\n";
    for (unsigned row = 32; row; row = row == 32 ? 1 : 0) {
        (void)run_global(text, row, 1, 96, &global);
        ck_assert_mem_eq(global, want, sizeof want);
    }
}

// Thread t adds up what threads 2t + 1 and 2t + 2 have told, which it waits for one after the other.
static uint32_t want_tree(uint32_t t) {
    uint32_t sum = t;
    for (uint32_t child = 2 * t + 1; child < 2 * t + 3 && child < 96; child++)
        sum += want_tree(child);
    return sum;
}

TW_TEST("each lane waits for several others in a loop, and lets another one on behind it") {
    check(ENTRY
          "mul.lo.u32 %r1, %r9, 2;\nadd.u32 %r1, %r1, 1;\nadd.u32 %r2, %r1, 2;\nmin.u32 %r2, %r2, 96;\n"
          "mov.u32 %r3, %r9;\n"
          "child:\nsetp.ge.u32 %p1, %r1, %r2;\n@%p1 bra tell;\nmul.wide.u32 %rd1, %r1, 4;\nadd.u64 %rd1, "
          "%rd1, %rd8;\n"
          "wait:\nld.acquire.gpu.global.u32 %r4, [%rd1];\nsetp.eq.u32 %p2, %r4, 0;\n@%p2 bra wait;\n"
          "sub.u32 %r4, %r4, 1;\nadd.u32 %r3, %r3, %r4;\nadd.u32 %r1, %r1, 1;\nbra child;\n"
          "tell:\nst.global.u32 [%rd9], %r3;\nadd.u32 %r5, %r3, 1;\nadd.u64 %rd2, %rd8, %rd7;\n"
          "st.release.gpu.global.u32 [%rd2], %r5;\nret;\n}\n",
          1, 96, want_tree);
}

TW_TEST("a warp whose indices have wrapped waits in the exact version") {
    check(ENTRY "sub.u32 %r1, %r9, 5;\nsetp.ne.u32 %p1, %r8, 0;\n@%p1 bra set;\n"
                "cvt.u64.u32 %rd1, %r1;\nwait:\nld.volatile.shared.u32 %r2, [s];\nsetp.eq.u32 %p2, %r2, "
                "0;\n@%p2 bra wait;\n"
                "cvt.u32.u64 %r3, %rd1;\nadd.u32 %r3, %r3, %r2;\nst.global.u32 [%rd9], %r3;\nret;\n"
                "set:\nst.volatile.shared.u32 [s], 9;\nst.global.u32 [%rd9], %r9;\nret;\n}\n",
          1, 64, want_wide);
}

TW_TEST("loops that swap in what they have read are not made to wait") {
    // Its warps have eight lanes: waiting needs warps of 32.
    struct tw_error err = {};
    struct rig rig;
    rig_init(&rig);
    static const char text[] = ENTRY
        "ld.global.u32 %r1, [%rd8];\nagain:\nmax.u32 %r2, %r1, %r9;\nmov.u32 %r3, %r1;\n"
        "atom.global.cas.b32 %r1, [%rd8], %r3, %r2;\nsetp.ne.u32 %p1, %r1, %r3;\n@%p1 bra again;\nret;\n}\n";
    ck_assert_msg(kernel_try(text, "k", 8, 8, &err), "%s", err.message);
}

static uint32_t want_mirrored(uint32_t t) {
    return 127 - t - 5;
}

TW_TEST("warps of both versions meet at barriers with numbers") {
    // Of four warps only the first has lanes whose index wraps: it goes on in the exact version, which keeps all lanes
    // of %rd2 and not the first alone, and has to count its arrivals where the others do.
    check(ENTRY
          "mov.u64 %rd1, s;\nmul.wide.u32 %rd7, %r9, 8;\nadd.u64 %rd7, %rd1, %rd7;\nsub.u32 %r1, %r9, 5;\n"
          "cvt.u64.u32 %rd2, %r1;\nbar.sync 1;\nst.shared.u64 [%rd7], %rd2;\nbar.sync 2;\n"
          "xor.b32 %r3, %r9, 127;\nmul.wide.u32 %rd3, %r3, 8;\nadd.u64 %rd3, %rd1, %rd3;\n"
          "ld.shared.v2.u32 {%r4, %r5}, [%rd3];\nxor.b32 %r4, %r4, %r5;\nst.global.u32 [%rd9], "
          "%r4;\nret;\n}\n",
          2, 128, want_mirrored);
}

TW_TEST("a deadlock names the line of a barrier that warps wait at") {
    static const char text[] =
        ENTRY "setp.ne.u32 %p1, %r8, 0;\n@%p1 bra other;\nbar.sync 1;\nret;\nother:\nbar.sync 2;\nret;\n}\n";
    uint64_t line = 1;
    for (const char *at = text; at < strstr(text, "bar.sync 2"); at++)
        line += *at == '\n';
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    uint64_t params[2] = {rig_alloc(&rig, 8192), rig_alloc(&rig, 8192)};
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){64, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_DEADLOCK);
    ck_assert_uint_eq(rig.fault_site, line);
    kernel_done(&k);
    rig_done(&rig);
}

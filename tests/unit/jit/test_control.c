// SPDX-License-Identifier: Apache-2.0
//
// Barriers, early ends, wrong guesses, warp operations, atomics, variables and traps, in small PTX kernels
// against plain C.

#include "harness/test.h"
#include "kernel_run.h"

#define HEAD ".version 7.8\n.target sm_80\n.address_size 64\n"
// out + 4 × thread in %rd9, the thread's number in %r9
#define PLACE                                                                                                \
    "ld.param.u64 %rd9, [out];\nmov.u32 %r9, %tid.x;\nmov.u32 %r8, %ctaid.x;\nmov.u32 %r7, "                 \
    "%ntid.x;\nmad.lo.u32 %r9, %r8, %r7, %r9;\n"                                                             \
    "mul.wide.u32 %rd8, %r9, 4;\nadd.u64 %rd9, %rd9, %rd8;\n"
#define ENTRY HEAD ".visible .entry k(.param .u64 out, .param .u32 n) {\n"
#define REGS  ".reg .b32 %r<20>;\n.reg .b64 %rd<20>;\n.reg .pred %p<8>;\n"

// Runs a kernel of (out, n); the words it wrote. 4 KiB of output.
static uint32_t *run_text(struct rig *rig, const char *text, unsigned lanes, unsigned x_multiple,
                          uint32_t grid, uint32_t block, uint32_t n, uint32_t want_status) {
    struct kernel k;
    struct {
        uint64_t out;
        uint32_t n;
    } params = {.n = n};
    params.out = rig_alloc(rig, 16384);
    memset(rig_at(rig, params.out), 0, 16384);
    kernel_from_ptx(rig, &k, text, "k", lanes, x_multiple);
    uint32_t status = rig_launch(rig, &k, (uint32_t[3]){grid, 1, 1}, (uint32_t[3]){block, 1, 1}, 64, &params,
                                 sizeof params);
    ck_assert_uint_eq(status, want_status);
    kernel_done(&k);
    return rig_at(rig, params.out);
}

static void check_words(const uint32_t *got, uint32_t count, uint32_t (*want)(uint32_t)) {
    for (uint32_t i = 0; i < count; i++)
        ck_assert_msg(got[i] == want(i), "word %u is %u, not %u", i, got[i], want(i));
}

static uint32_t want_wrapped(uint32_t i) {
    return i + 3 < 100 && i < 97 ? i * 2 + 1 : 0;
}

TW_TEST("an index that wraps below zero in some lanes is taken for what it is") {
    static const char text[] = ENTRY REGS
        "ld.param.u64 %rd1, [out];\nld.param.u32 %r1, [n];\nmov.u32 %r2, %tid.x;\nsub.u32 %r2, %r2, 3;\n"
        "setp.ge.u32 %p1, %r2, %r1;\n@%p1 bra done;\n"
        "cvt.u64.u32 %rd3, %r2;\nshr.u64 %rd3, %rd3, 32;\ncvt.u32.u64 %r4, %rd3;\n"
        "mul.wide.u32 %rd2, %r2, 4;\nadd.u64 %rd1, %rd1, %rd2;\nshl.b32 %r3, %r2, 1;\nadd.u32 %r3, %r3, "
        "1;\nadd.u32 %r3, %r3, %r4;\n"
        "st.global.u32 [%rd1], %r3;\ndone:\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    for (unsigned level = 0; level < 2; level++) {
        rig.opt_level = (int)level;
        check_words(run_text(&rig, text, 32, 32, 1, 128, 97, TW_KERNEL_OK), 128, want_wrapped);
        check_words(run_text(&rig, text, 8, 8, 1, 128, 97, TW_KERNEL_OK), 128, want_wrapped);
        check_words(run_text(&rig, text, 32, 1, 1, 120, 97, TW_KERNEL_OK), 128, want_wrapped);
    }
}

static uint32_t want_neighbour(uint32_t i) {
    uint32_t left = i ? i - 1 : 127;
    return i < 128 ? left * 10 + (left < 5 ? 0 : 1000) : 0;
}

static uint32_t want_retries(uint32_t t) {
    uint32_t sum = 0, tries = 0;
    for (uint32_t round = 0; round < 3; round++) {
        do
            tries++;
        while (tries % 7 < t % 5);
        sum = sum * 10 + tries;
    }
    return sum;
}

static uint32_t want_once(uint32_t t) {
    return 3 * (t > 1 ? t : 1);
}

// The outer loop's end is the same for all lanes, yet each comes there in another round of the inner one.
TW_TEST("lanes leave two loops that begin at one block in whatever round they are done") {
    static const char text[] =
        ENTRY REGS "ld.param.u64 %rd1, [out];\nld.param.u32 %r6, [n];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 "
                   "%rd2, %r1, 4;\n"
                   "add.u64 %rd1, %rd1, %rd2;\nmov.u32 %r2, 0;\n"
                   "again:\nadd.u32 %r2, %r2, 1;\nsetp.lt.u32 %p1, %r2, %r1;\n@%p1 bra again;\n"
                   "st.global.u32 [%rd1], %r2;\nsetp.eq.u32 %p2, %r6, 0;\n@%p2 bra again;\n"
                   "ld.global.u32 %r3, [%rd1];\nshl.b32 %r2, %r2, 1;\nadd.u32 %r3, %r3, %r2;\n"
                   "st.global.u32 [%rd1], %r3;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    for (unsigned level = 0; level < 2; level++) {
        rig.opt_level = (int)level;
        check_words(run_text(&rig, text, 32, 32, 1, 96, 1, TW_KERNEL_OK), 96, want_once);
        check_words(run_text(&rig, text, 8, 8, 1, 40, 1, TW_KERNEL_OK), 40, want_once);
    }
    rig_done(&rig);
}

// Both loops begin at the same block: lanes that go round the inner one are apart from those that go on in the outer.
TW_TEST("an inner loop that the outer one begins with may have other rounds in each lane") {
    static const char text[] = ENTRY REGS
        "ld.param.u64 %rd1, [out];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\n"
        "add.u64 %rd1, %rd1, %rd2;\nrem.u32 %r2, %r1, 5;\nmov.u32 %r3, 0;\nmov.u32 %r4, 0;\nmov.u32 %r7, 0;\n"
        "again:\nadd.u32 %r3, %r3, 1;\nrem.u32 %r5, %r3, 7;\nsetp.lt.u32 %p1, %r5, %r2;\n@%p1 bra again;\n"
        "mad.lo.u32 %r4, %r4, 10, %r3;\nadd.u32 %r7, %r7, 1;\nsetp.lt.u32 %p2, %r7, 3;\n@%p2 bra again;\n"
        "st.global.u32 [%rd1], %r4;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    for (unsigned level = 0; level < 2; level++) {
        rig.opt_level = (int)level;
        check_words(run_text(&rig, text, 32, 32, 1, 96, 0, TW_KERNEL_OK), 96, want_retries);
        check_words(run_text(&rig, text, 8, 8, 1, 40, 0, TW_KERNEL_OK), 40, want_retries);
    }
    rig_done(&rig);
}

TW_TEST("a warp that left its first version goes on behind barriers") {
    // Thread i writes i × 10 to shared memory through an unsigned index that wraps for the first threads,
    // adds 1000 above 4 in a loop, waits, reads its left neighbour.
    static const char text[] =
        HEAD ".visible .entry k(.param .u64 out, .param .u32 n) {\n.shared .align 4 .b8 s[512];\n" REGS PLACE
             "mov.u64 %rd1, s;\nsub.u32 %r1, %r9, 5;\ncvt.u64.u32 %rd2, %r1;\nshr.u64 %rd5, %rd2, "
             "32;\ncvt.u32.u64 %r10, %rd5;\nand.b64 %rd2, %rd2, 127;\n"
             "setp.gt.u32 %p1, %r1, 200;\nmad.lo.u32 %r2, %r9, 10, %r10;\nmov.u32 %r3, 0;\n@%p1 bra "
             "join;\nloop:\nadd.u32 %r2, %r2, 100;\nadd.u32 %r3, %r3, 1;\n"
             "setp.lt.u32 %p2, %r3, 10;\n@%p2 bra loop;\njoin:\nbar.sync 0;\nshl.b64 %rd2, %rd2, 2;\nadd.u64 "
             "%rd3, %rd1, %rd2;\nst.shared.u32 [%rd3], %r2;\n"
             "bar.sync 0;\nsub.u32 %r4, %r9, 6;\nand.b32 %r4, %r4, 127;\nmul.wide.u32 %rd4, %r4, 4;\nadd.u64 "
             "%rd4, %rd1, %rd4;\nld.shared.u32 %r5, [%rd4];\n"
             "st.global.u32 [%rd9], %r5;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    for (unsigned level = 0; level < 2; level++) {
        rig.opt_level = (int)level;
        check_words(run_text(&rig, text, 32, 32, 1, 128, 0, TW_KERNEL_OK), 130, want_neighbour);
        check_words(run_text(&rig, text, 16, 16, 1, 128, 0, TW_KERNEL_OK), 130, want_neighbour);
        check_words(run_text(&rig, text, 32, 1, 1, 128, 0, TW_KERNEL_OK), 130, want_neighbour);
    }
}

static uint32_t want_partners(uint32_t i) {
    return i < 70 ? (69 - i) * 3 : 0;
}

TW_TEST("threads that ended early do not hold up a barrier") {
    static const char text[] =
        HEAD ".visible .entry k(.param .u64 out, .param .u32 n) {\n.shared .align 4 .b8 s[1024];\n" REGS PLACE
             "ld.param.u32 %r1, [n];\nsetp.ge.u32 %p1, %r9, %r1;\n@%p1 ret;\nmov.u64 %rd1, s;\nadd.u64 %rd2, "
             "%rd1, %rd8;\n"
             "mul.lo.u32 %r2, %r9, 3;\nst.shared.u32 [%rd2], %r2;\nbarrier.sync 0;\nsub.u32 %r3, %r1, "
             "%r9;\nsub.u32 %r3, %r3, 1;\n"
             "mul.wide.u32 %rd3, %r3, 4;\nadd.u64 %rd3, %rd1, %rd3;\nld.shared.u32 %r4, "
             "[%rd3];\nst.global.u32 [%rd9], %r4;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 32, 1, 128, 70, TW_KERNEL_OK), 130, want_partners);
    check_words(run_text(&rig, text, 8, 8, 1, 128, 70, TW_KERNEL_OK), 130, want_partners);
    check_words(run_text(&rig, text, 32, 1, 1, 100, 70, TW_KERNEL_OK), 130, want_partners);
}

static uint32_t want_reduction(uint32_t i) {
    return i >= 100 ? 0 : 34 * 100 + 10 + 0; // 34 of 0 … 99 are multiples of 3; some are, not all are
}

TW_TEST("bar.red counts over the whole block") {
    static const char text[] =
        ENTRY REGS PLACE "rem.u32 %r1, %r9, 3;\nsetp.eq.u32 %p1, %r1, 0;\nbar.red.popc.u32 %r2, 0, "
                         "%p1;\nbar.red.or.pred %p2, 0, %p1;\n"
                         "bar.red.and.pred %p3, 0, %p1;\nselp.b32 %r3, 10, 0, %p2;\nselp.b32 %r4, 1, 0, "
                         "%p3;\nmad.lo.u32 %r2, %r2, 100, %r3;\n"
                         "add.u32 %r2, %r2, %r4;\nst.global.u32 [%rd9], %r2;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 1, 1, 100, 0, TW_KERNEL_OK), 101, want_reduction);
    check_words(run_text(&rig, text, 16, 1, 1, 100, 0, TW_KERNEL_OK), 101, want_reduction);
}

TW_TEST("a trap ends the launch and says where") {
    static const char text[] =
        ENTRY REGS PLACE "setp.eq.u32 %p1, %r9, 40;\n@%p1 trap;\nst.global.u32 [%rd9], 7;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    const uint32_t *got = run_text(&rig, text, 32, 32, 1, 64, 0, TW_KERNEL_TRAP);
    ck_assert_uint_eq(got[31], 7); // the first warp had run
    ck_assert_uint_eq(got[33], 0);
}

TW_TEST("a wild address stays in the arena") {
    // The address is far outside; masked it is the place n in the arena.
    static const char text[] = ENTRY REGS
        "ld.param.u32 %r1, [n];\ncvt.u64.u32 %rd1, %r1;\nadd.u64 %rd1, %rd1, 0x7f5500000000;\nmov.u32 %r2, "
        "%tid.x;\n"
        "mul.wide.u32 %rd2, %r2, 4;\nadd.u64 %rd1, %rd1, %rd2;\nst.global.u32 [%rd1], %r2;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    uint64_t place = rig_alloc(&rig, 4096);
    (void)run_text(&rig, text, 32, 32, 1, 64, (uint32_t)place, TW_KERNEL_OK);
    const uint32_t *got = rig_at(&rig, place);
    for (uint32_t i = 0; i < 64; i++)
        ck_assert_uint_eq(got[i], i);
}

static uint32_t want_tables(uint32_t i) {
    static const uint32_t table[] = {100, 101, 102, 103, 104, 105, 106, 107};
    uint32_t lane = i & 31, sum = 0;
    for (uint32_t k = 0; k < 8; k++)
        sum += (lane + k) * (k + 1);
    return i >= 64 ? 0 : table[(i * 5) & 7] + sum;
}

TW_TEST("constants, pointers between variables and private arrays work") {
    static const char text[] =
        HEAD ".const .align 4 .u32 table[8] = {100, 101, 102, 103, 104, 105, 106, 107};\n.global .align 8 "
             ".u64 pointer = generic(table);\n"
             ".visible .entry k(.param .u64 out, .param .u32 n) {\n.local .align 4 .b8 own[32];\n" REGS PLACE
             "mov.u64 %rd1, pointer;\nld.global.u64 %rd1, [%rd1];\nmul.lo.u32 %r1, %r9, 5;\nand.b32 %r1, "
             "%r1, 7;\nmul.wide.u32 %rd2, %r1, 4;\nadd.u64 %rd2, %rd1, %rd2;\n"
             "ld.u32 %r2, [%rd2];\nmov.u64 %rd3, own;\nand.b32 %r3, %r9, 31;\nmov.u32 %r4, 0;\n"
             "fill:\nadd.u32 %r5, %r3, %r4;\nmul.wide.u32 %rd4, %r4, 4;\nadd.u64 %rd4, %rd3, "
             "%rd4;\nst.local.u32 [%rd4], %r5;\nadd.u32 %r4, %r4, 1;\n"
             "setp.lt.u32 %p1, %r4, 8;\n@%p1 bra fill;\nmov.u32 %r4, 0;\n"
             "sum:\nmul.wide.u32 %rd4, %r4, 4;\nadd.u64 %rd4, %rd3, %rd4;\nld.local.u32 %r5, "
             "[%rd4];\nadd.u32 %r4, %r4, 1;\nmad.lo.u32 %r2, %r5, %r4, %r2;\n"
             "setp.lt.u32 %p1, %r4, 8;\n@%p1 bra sum;\nst.global.u32 [%rd9], %r2;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 32, 1, 64, 0, TW_KERNEL_OK), 65, want_tables);
    check_words(run_text(&rig, text, 8, 1, 1, 64, 0, TW_KERNEL_OK), 65, want_tables);
}

TW_TEST("vectors of two and four move, side by side and scattered") {
    static const char text[] = ENTRY REGS "ld.param.u64 %rd1, [out];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 "
                                          "%rd2, %r1, 16;\nadd.u64 %rd3, %rd1, %rd2;\n"
                                          "add.u32 %r2, %r1, 1000;\nadd.u32 %r3, %r1, 2000;\nadd.u32 %r4, "
                                          "%r1, 3000;\nst.global.v4.u32 [%rd3], {%r1, %r2, %r3, %r4};\n"
                                          "ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd3];\nmul.wide.u32 "
                                          "%rd4, %r1, 24;\nadd.u64 %rd4, %rd1, %rd4;\n"
                                          "st.global.v2.u32 [%rd4+8192], {%r8, %r6};\nld.global.v2.u32 "
                                          "{%r10, %r11}, [%rd4+8192];\nxor.b32 %r10, %r10, %r11;\n"
                                          "st.global.u32 [%rd4+8208], %r10;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    for (unsigned lanes = 8; lanes <= 32; lanes *= 2) {
        const uint32_t *got = run_text(&rig, text, lanes, lanes, 1, 64, 0, TW_KERNEL_OK);
        for (uint32_t i = 0; i < 64; i++) {
            for (uint32_t k = 0; k < 4; k++)
                ck_assert_uint_eq(got[4 * i + k], i + 1000 * k);
            ck_assert_uint_eq(got[2048 + 6 * i], i + 3000);
            ck_assert_uint_eq(got[2048 + 6 * i + 1], i + 1000);
            ck_assert_uint_eq(got[2048 + 6 * i + 4], (i + 3000) ^ (i + 1000));
        }
    }
}

static uint32_t want_case(uint32_t i) {
    static const uint32_t by[] = {11, 22, 33};
    return i < 64 ? by[i % 4 < 3 ? i % 4 : 2] + i : 0;
}

TW_TEST("an indexed branch sends each lane its way") {
    static const char text[] = ENTRY REGS PLACE
        "and.b32 %r1, %r9, 3;\nmin.u32 %r1, %r1, 2;\nts: .branchtargets a, b, c;\nbrx.idx %r1, ts;\n"
        "a:\nadd.u32 %r2, %r9, 11;\nbra done;\nb:\nadd.u32 %r2, %r9, 22;\nbra done;\nc:\nadd.u32 %r2, %r9, "
        "33;\ndone:\n"
        "st.global.u32 [%rd9], %r2;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 32, 1, 64, 0, TW_KERNEL_OK), 65, want_case);
}

TW_TEST("what is not supported is refused by name and line") {
    struct tw_error err = {};
    struct rig rig;
    rig_init(&rig);
    static const char text[] =
        ENTRY REGS "mov.u32 %r1, %tid.x;\natom.global.min.f32 %r2, [%rd1], %r1;\nret;\n}\n";
    ck_assert(!kernel_try(text, "k", 32, 32, &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
    ck_assert_msg(strstr(err.message, "line 9") != NULL && strstr(err.message, "atom"), "%s", err.message);
    err = (struct tw_error){};
    static const char other[] = ENTRY "ret;\n}\n";
    ck_assert(!kernel_try(other, "nothing", 32, 32, &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_INVALID_KERNEL);
    ck_assert_msg(strstr(err.message, "has: k") != NULL, "%s", err.message);
}

static uint32_t want_pipeline(uint32_t i) {
    // Consumers (threads 32 … 63) add up what the producer wrote in each of 5 rounds: round × 100 + lane.
    uint32_t sum = 0;
    for (uint32_t r = 0; r < 5; r++)
        sum += r * 100 + (i & 31);
    return i >= 32 && i < 64 ? sum : i < 32 ? 1 : 0;
}

TW_TEST("a producer and a consumer warp take turns through two named barriers") {
    static const char text[] =
        HEAD ".visible .entry k(.param .u64 out, .param .u32 n) {\n.shared .align 4 .b8 s[128];\n" REGS PLACE
             "mov.u64 %rd1, s;\nand.b32 %r1, %r9, 31;\nmul.wide.u32 %rd2, %r1, 4;\nadd.u64 %rd1, %rd1, "
             "%rd2;\nmov.u32 %r2, 0;\nmov.u32 %r3, 1;\nshr.u32 %r4, %r9, 5;\n"
             "setp.ne.u32 %p1, %r4, 0;\n@%p1 bra consume;\nproduce:\nsetp.eq.u32 %p2, %r2, 0;\n@%p2 bra "
             "first;\nbar.sync 2, 64;\nfirst:\nmad.lo.u32 %r5, %r2, 100, %r1;\n"
             "st.shared.u32 [%rd1], %r5;\nbar.arrive 1, 64;\nadd.u32 %r2, %r2, 1;\nsetp.lt.u32 %p3, %r2, "
             "5;\n@%p3 bra produce;\nbra done;\n"
             "consume:\nmov.u32 %r3, 0;\nagain:\nbar.sync 1, 64;\nld.shared.u32 %r5, [%rd1];\nadd.u32 %r3, "
             "%r3, %r5;\nadd.u32 %r2, %r2, 1;\nsetp.lt.u32 %p3, %r2, 5;\n"
             "@!%p3 bra done;\nbar.arrive 2, 64;\nbra again;\ndone:\nst.global.u32 [%rd9], %r3;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 32, 1, 64, 0, TW_KERNEL_OK), 65, want_pipeline);
}

TW_TEST("warps that wait at different barriers for each other are deadlocked") {
    static const char text[] =
        ENTRY REGS PLACE "shr.u32 %r1, %r9, 5;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra two;\nbar.sync 1;\nbra "
                         "done;\ntwo:\nbar.sync 2;\ndone:\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    (void)run_text(&rig, text, 32, 32, 1, 64, 0, TW_KERNEL_DEADLOCK);
    (void)run_text(&rig, text, 32, 32, 1, 32, 0, TW_KERNEL_OK);
    static const char differs[] =
        ENTRY REGS PLACE "xor.b32 %r1, %r9, 5;\nld.param.u32 %r2, [n];\nand.b32 %r1, %r1, %r2;\n"
                         "bar.sync %r1;\nret;\n}\n";
    (void)run_text(&rig, differs, 32, 32, 1, 64, 1, TW_KERNEL_DEADLOCK); // barrier 0 or 1, by lane
    (void)run_text(&rig, differs, 32, 32, 1, 64, 0, TW_KERNEL_OK);
}

// Warps 0 and 1 meet at barrier 1, warps 2 and 3 at barrier 2, each pair for itself; then all at barrier 0.
static uint32_t want_reductions(uint32_t t) {
    uint32_t pair = t / 64, odd = 0, all = pair == 0, any = 0;
    for (uint32_t i = pair * 64; i < pair * 64 + 64; i++) {
        odd += i % 3 == 1;
        all &= i < 100;
        any |= i == 77;
    }
    uint32_t of_block = 0;
    for (uint32_t i = 0; i < 128; i++)
        of_block += i % 5 == 2;
    return odd + 1000 * all + 2000 * any + 10000 * of_block;
}

static uint32_t want_nothing(uint32_t t) {
    return t + 7;
}

TW_TEST("a barrier whose reduction nobody looks at is a barrier") {
    static const char text[] =
        ENTRY REGS PLACE "add.u32 %r1, %r9, 7;\nsetp.eq.u32 %p1, %r9, 1;\n"
                         "bar.red.popc.u32 %r2, 0, %p1;\nst.global.u32 [%rd9], %r1;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 32, 1, 64, 0, TW_KERNEL_OK), 64, want_nothing);
    rig_done(&rig);
}

TW_TEST("reductions at several barriers, with counts, are each those of the threads that meet there") {
    static const char text[] = ENTRY REGS PLACE
        "shr.u32 %r1, %r9, 6;\nadd.u32 %r1, %r1, 1;\nrem.u32 %r2, %r9, 3;\nsetp.eq.u32 %p1, %r2, 1;\n"
        "bar.red.popc.u32 %r3, %r1, 64, %p1;\nsetp.lt.u32 %p2, %r9, 100;\nsetp.eq.u32 %p3, %r9, 77;\n"
        "setp.eq.u32 %p4, %r1, 1;\nand.pred %p2, %p2, %p4;\n"
        "bar.red.and.pred %p4, %r1, 64, %p2;\nbar.red.or.pred %p5, %r1, 64, %p3;\n"
        "selp.u32 %r4, 1000, 0, %p4;\nselp.u32 %r5, 2000, 0, %p5;\nadd.u32 %r3, %r3, %r4;\nadd.u32 %r3, %r3, "
        "%r5;\n"
        "rem.u32 %r2, %r9, 5;\nsetp.eq.u32 %p1, %r2, 2;\nbar.red.popc.u32 %r4, 0, %p1;\n"
        "mad.lo.u32 %r3, %r4, 10000, %r3;\nst.global.u32 [%rd9], %r3;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 32, 1, 128, 0, TW_KERNEL_OK), 128, want_reductions);
    rig_done(&rig);
}

TW_TEST("a barrier in a loop of varying length works while warps stay whole, and fails when they tear") {
    // Threads loop from their number to n in steps of 64: alike for all lanes when n is a multiple of 32.
    static const char text[] = ENTRY REGS PLACE "ld.param.u32 %r1, [n];\nmov.u32 %r2, %r9;\nmov.u32 %r3, "
                                                "0;\nsetp.ge.u32 %p1, %r2, %r1;\n@%p1 bra done;\nloop:\n"
                                                "add.u32 %r3, %r3, 1;\nbar.sync 0;\nadd.u32 %r2, %r2, "
                                                "64;\nsetp.lt.u32 %p1, %r2, %r1;\n@%p1 bra loop;\ndone:\n"
                                                "st.global.u32 [%rd9], %r3;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    const uint32_t *got = run_text(&rig, text, 32, 32, 1, 64, 160, TW_KERNEL_OK);
    for (uint32_t i = 0; i < 64; i++)
        ck_assert_uint_eq(got[i], i < 32 ? 3 : 2);
    (void)run_text(&rig, text, 32, 32, 1, 64, 150, TW_KERNEL_DEADLOCK);
}

// How many lanes a vector may have for a kernel with a product and a barrier in a loop, which threads leave by
// `leaving`.
static unsigned whole_lanes_of(const char *leaving) {
    static const char before[] =
        HEAD ".visible .entry k(.param .u64 out, .param .u32 n) {\n.shared .align 16 .b8 s[512];\n" REGS
             ".reg .f32 %f<4>;\nld.param.u32 %r1, [n];\nmov.u32 %r2, %tid.x;\nmov.u64 %rd2, s;\n"
             "mov.f32 %f1, 0f3f800000;\nmov.u32 %r4, %r1;\nloop:\nld.shared.f32 %f2, [%rd2];\n"
             "fma.rn.f32 %f1, %f1, %f2, %f2;\nbar.sync 0;\nadd.u32 %r4, %r4, 1;\n",
                      after[] = "@%p1 bra loop;\nst.shared.f32 [%rd2], %f1;\nret;\n}\n";
    char text[2048];
    snprintf(text, sizeof text, "%s%s%s", before, leaving, after);
    struct rig rig;
    struct kernel kernel;
    rig_init(&rig);
    kernel_from_ptx(&rig, &kernel, text, "k", 32, 32);
    unsigned lanes = kernel.info.whole_lanes;
    kernel_done(&kernel);
    rig_done(&rig);
    return lanes;
}

TW_TEST("a block may be one vector only where all its threads come to each barrier together") {
    ck_assert_uint_eq(whole_lanes_of("setp.lt.u32 %p1, %r4, 9;\n"), 256);
    ck_assert_uint_eq(whole_lanes_of("setp.lt.u32 %p1, %r4, %r2;\n"), 0);
    // Alike in each warp, but not in the block.
    ck_assert_uint_eq(whole_lanes_of("shr.u32 %r3, %r2, 5;\nsetp.lt.u32 %p1, %r4, %r3;\n"), 0);
    ck_assert_uint_eq(whole_lanes_of("mov.u32 %r3, %tid.y;\nsetp.lt.u32 %p1, %r4, %r3;\n"), 0);
}

TW_TEST("asynchronous copies bring as many bytes as they are told, whole words or not, and zeros beyond") {
    static const char text[] =
        HEAD ".visible .entry k(.param .u64 out, .param .u32 n) {\n.shared .align 16 .b8 s[512];\n" REGS
             "ld.param.u64 %rd1, [out];\nmov.u32 %r1, %tid.x;\n"
             "mul.wide.u32 %rd2, %r1, 16;\nadd.u64 %rd3, %rd1, %rd2;\nmov.u64 %rd4, s;\nadd.u64 %rd4, %rd4, "
             "%rd2;\nmad.lo.u32 %r2, %r1, 0x01020304, 0x05a0b0c0;\nst.global.v4.u32 [%rd3], {%r2, %r2, %r2, "
             "%r2};\nand.b32 %r3, %r1, 31;\nmin.u32 %r3, %r3, 16;\ncvt.u32.u64 %r4, "
             "%rd4;\ncp.async.cg.shared.global [%r4], [%rd3], 16, %r3;\ncp.async.wait_all;\n"
             "ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%rd4];\nst.global.v4.u32 [%rd3+2048], {%r5, %r6, %r7, "
             "%r8};\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    const uint32_t *got = run_text(&rig, text, 32, 32, 1, 32, 0, TW_KERNEL_OK);
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t word = i * 0x01020304 + 0x05a0b0c0;
        for (uint32_t k = 0; k < 16; k++) // byte by byte
            ck_assert_uint_eq(got[512 + 4 * i + k / 4] >> 8 * (k % 4) & 255,
                              k < i ? word >> 8 * (k % 4) & 255 : 0);
    }
}

// What thread t of 64 writes at 128 + 16 × (t / 8) + t % 8.
static uint32_t grouped(uint32_t t) {
    uint32_t z = 16 * (t / 8) + t % 8;
    return 3 * (t % 8 + 1) + 1000 * 3 * (t / 8 + 1) + 100000 * (z < 64 ? z + 1 : 0) * 3;
}

TW_TEST("lanes that share rows and columns by division load and store what they should") {
    static const char text[] = ENTRY REGS
        "ld.param.u64 %rd1, [out];\nld.param.u32 %r9, [n];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, "
        "4;\n"
        "add.u64 %rd2, %rd1, %rd2;\nmad.lo.u32 %r2, %r1, 3, 3;\nst.global.u32 [%rd2], %r2;\nbar.sync 0;\n"
        "setp.ge.u32 %p1, %r1, %r9;\n@%p1 bra done;\n"
        "and.b32 %r3, %r1, 7;\nshr.u32 %r4, %r1, 3;\nmad.lo.u32 %r5, %r4, 16, %r3;\n"
        "mul.wide.u32 %rd3, %r3, 4;\nadd.u64 %rd3, %rd1, %rd3;\nld.global.u32 %r6, [%rd3];\n"
        "mul.wide.u32 %rd4, %r4, 4;\nadd.u64 %rd4, %rd1, %rd4;\nld.global.u32 %r7, [%rd4];\n"
        "mul.wide.u32 %rd5, %r5, 4;\nadd.u64 %rd5, %rd1, %rd5;\nld.global.u32 %r8, [%rd5];\n"
        "mad.lo.u32 %r6, %r7, 1000, %r6;\nmad.lo.u32 %r6, %r8, 100000, %r6;\n"
        "st.global.u32 [%rd5+512], %r6;\ndone:\nret;\n}\n";
    static const unsigned variants[][2] = {{32, 32}, {16, 16}, {8, 8}, {32, 1}, {64, 64}};
    struct rig rig;
    rig_init(&rig);
    for (unsigned v = 0; v < TW_COUNT(variants); v++)
        for (uint32_t n = 64; n > 20; n -= 11) { // all of them, and some of a warp
            const uint32_t *got =
                run_text(&rig, text, variants[v][0], variants[v][1], 1, 64, n, TW_KERNEL_OK);
            for (uint32_t t = 0; t < 64; t++) {
                uint32_t want = t < n ? grouped(t) : 0, found = got[128 + 16 * (t / 8) + t % 8];
                ck_assert_msg(found == want, "variant %u, %u of 64: thread %u wrote %u, not %u", v, n, t,
                              found, want);
            }
        }
    rig_done(&rig);
}

static uint32_t below_32(uint32_t t) {
    return (uint32_t)((t < 32) | (t >= 64) << 1 | (t > 31) << 2 | (t <= 95) << 3 | (t < 33) << 4 |
                      (t > 32) << 5);
}

TW_TEST("comparisons at and beside the edges of a warp tell lanes apart only where they differ") {
    static const char text[] = ENTRY REGS "ld.param.u64 %rd1, [out];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 "
                                          "%rd2, %r1, 4;\nadd.u64 %rd1, %rd1, %rd2;\n"
                                          "mov.u32 %r2, 0;\n"
                                          "setp.lt.u32 %p1, %r1, 32;\n@%p1 add.u32 %r2, %r2, 1;\n"
                                          "setp.ge.s32 %p1, %r1, 64;\n@%p1 add.u32 %r2, %r2, 2;\n"
                                          "setp.gt.u32 %p1, %r1, 31;\n@%p1 add.u32 %r2, %r2, 4;\n"
                                          "setp.le.s32 %p1, %r1, 95;\n@%p1 add.u32 %r2, %r2, 8;\n"
                                          "setp.lt.u32 %p1, %r1, 33;\n@%p1 add.u32 %r2, %r2, 16;\n"
                                          "setp.gt.s32 %p1, %r1, 32;\n@%p1 add.u32 %r2, %r2, 32;\n"
                                          "st.global.u32 [%rd1], %r2;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    check_words(run_text(&rig, text, 32, 32, 1, 128, 0, TW_KERNEL_OK), 128, below_32);
    check_words(run_text(&rig, text, 8, 8, 1, 128, 0, TW_KERNEL_OK), 128, below_32);
    check_words(run_text(&rig, text, 32, 1, 1, 120, 0, TW_KERNEL_OK), 120, below_32);
    rig_done(&rig);
}

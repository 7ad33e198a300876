// SPDX-License-Identifier: Apache-2.0
//
// Whole blocks of 64 and 256 threads as one vector: comparisons that are counts, accesses under long masks,
// shuffles of several warps at once, stores of few lanes, atomics; against plain C.

#include "harness/test.h"
#include "kernel_run.h"

#define HEAD ".version 7.8\n.target sm_80\n.address_size 64\n"
#define REGS ".reg .b32 %r<20>;\n.reg .b64 %rd<20>;\n.reg .pred %p<8>;\n"

static const unsigned widths[] = {64, 256};

// Runs one block of `lanes` threads, as one vector and by warps of 32, in both tiers, and has each looked at.
struct whole_run {
    const char *text;
    const void *params;
    size_t param_bytes;
    void (*check)(struct rig *rig, unsigned lanes, void *context);
    void *context;
};

static void run_all(struct rig *rig, const struct whole_run *run) {
    for (unsigned w = 0; w < TW_COUNT(widths); w++)
        for (unsigned lanes = 32; lanes <= widths[w]; lanes += widths[w] - 32)
            for (int level = 0; level < 2; level++) {
                struct kernel k;
                rig->opt_level = level;
                kernel_from_ptx(rig, &k, run->text, "k", lanes, lanes);
                ck_assert_uint_eq(rig_launch(rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){widths[w], 1, 1},
                                             0, run->params, run->param_bytes),
                                  TW_KERNEL_OK);
                run->check(rig, widths[w], run->context);
                kernel_done(&k);
            }
}

// ---- comparisons ----

enum { NUMBERS = 9 };
static const uint64_t
    firsts[NUMBERS] =
        {0, 5, 0x7fffff80, 0xffffff80, 0x80000000, 0x7fffffffffffff90, 0xffffffffffffffa0, 300, 0xfffffff0},
    bounds[NUMBERS] = {
        0, 1, 100, 256, 0x7fffffc0, 0x80000000, 0xffffffd0, 0x7fffffffffffffd0, 0xffffffffffffffff};

struct comparison {
    const char *name;
    bool sign;
    unsigned bits;
    uint64_t out;
};

static bool compared(const char *name, bool less, bool equal) {
    bool result = name[0] == 'l' ? less : !less && !equal;
    return name[1] == 'e' ? result || equal : result;
}

static void check_comparison(struct rig *rig, unsigned lanes, void *context) {
    const struct comparison *c = context;
    const uint32_t *got = rig_at(rig, c->out);
    for (unsigned pair = 0; pair < NUMBERS * NUMBERS; pair++)
        for (unsigned lane = 0; lane < lanes; lane++) {
            uint64_t a = firsts[pair / NUMBERS] + lane, b = bounds[pair % NUMBERS];
            unsigned unused = 64 - c->bits;
            a <<= unused;
            b <<= unused;
            bool less = c->sign ? (int64_t)a < (int64_t)b : a < b;
            ck_assert_msg(got[pair * 256 + lane] == compared(c->name, less, a == b),
                          "%s, %u bits, %s, %u lanes: first %" PRIx64 ", lane %u, bound %" PRIx64, c->name,
                          c->bits, c->sign ? "signed" : "unsigned", lanes, firsts[pair / NUMBERS], lane,
                          b >> unused);
        }
}

// Pairs of numbers lie in memory: 8 bytes the first lane's, 8 the bound.
static void compare(struct rig *rig, const char *name, bool sign, unsigned bits) {
    static const char before[] = HEAD
        ".visible .entry k(.param .u64 in, .param .u64 out) {\n" REGS
        "ld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\nmov.u32 %r9, %tid.x;\ncvt.u64.u32 %rd9, %r9;\n"
        "mul.wide.u32 %rd3, %r9, 4;\nadd.u64 %rd2, %rd2, %rd3;\nmov.u32 %r5, 0;\nloop:\n";
    char text[2048];
    struct comparison c = {name, sign, bits, rig_alloc(rig, NUMBERS * NUMBERS * 1024)};
    uint64_t params[2] = {rig_alloc(rig, NUMBERS * NUMBERS * 16), c.out};
    uint64_t *numbers = rig_at(rig, params[0]);
    for (unsigned pair = 0; pair < NUMBERS * NUMBERS; pair++) {
        numbers[2 * pair] = firsts[pair / NUMBERS];
        numbers[2 * pair + 1] = bounds[pair % NUMBERS];
    }
    const char *reg = bits == 32 ? "%r" : "%rd";
    snprintf(text, sizeof text,
             "%sld.global.u%u %s7, [%%rd1];\nld.global.u%u %s8, [%%rd1+8];\nadd.u%u %s7, %s7, %s9;\n"
             "setp.%s.%c%u %%p1, %s7, %s8;\nselp.u32 %%r6, 1, 0, %%p1;\nst.global.u32 [%%rd2], %%r6;\n"
             "add.u64 %%rd1, %%rd1, 16;\nadd.u64 %%rd2, %%rd2, 1024;\nadd.u32 %%r5, %%r5, 1;\n"
             "setp.lt.u32 %%p2, %%r5, %d;\n@%%p2 bra loop;\nret;\n}\n",
             before, bits, reg, bits, reg, bits, reg, reg, reg, name, sign ? 's' : 'u', bits, reg, reg,
             NUMBERS * NUMBERS);
    struct whole_run run = {text, params, sizeof params, check_comparison, &c};
    run_all(rig, &run);
}

TW_TEST("comparisons with a number that counts over the lanes are right up to where it wraps") {
    static const char *const names[] = {"lt", "le", "gt", "ge"};
    struct rig rig;
    rig_init(&rig);
    for (unsigned i = 0; i < TW_COUNT(names); i++)
        for (unsigned bits = 32; bits <= 64; bits += 32)
            compare(&rig, names[i], i % 2 == bits / 64, bits);
    rig_done(&rig);
}

// ---- accesses ----

enum { MOST = 1200 };
struct doubled {
    uint64_t in, out;
    uint32_t n;
};

static void check_doubled(struct rig *rig, unsigned lanes, void *context) {
    const struct doubled *d = context;
    const uint32_t *in = rig_at(rig, d->in);
    uint32_t *out = rig_at(rig, d->out);
    for (uint32_t i = 0; i < 2 * MOST; i++)
        ck_assert_msg(out[i] == (i < 2 * d->n ? 2 * in[i] : 7), "%u lanes, %u of them: [%u] is %u", lanes,
                      d->n, i, out[i]);
    for (uint32_t i = 0; i < 2 * MOST; i++)
        out[i] = 7;
}

TW_TEST("a part of a long vector loads and stores its own elements only") {
    static const char text[] = HEAD
        ".visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n) {\n" REGS
        "ld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\nld.param.u32 %r1, [n];\nmov.u32 %r9, %tid.x;\n"
        "mov.u32 %r8, %ntid.x;\nsetp.ge.s32 %p1, %r9, %r1;\n@%p1 bra done;\nloop:\nmul.wide.u32 %rd3, %r9, "
        "8;\n"
        "add.u64 %rd4, %rd1, %rd3;\nadd.u64 %rd5, %rd2, %rd3;\nld.global.v2.u32 {%r3, %r4}, [%rd4];\n"
        "add.u32 %r3, %r3, %r3;\nadd.u32 %r4, %r4, %r4;\nst.global.u32 [%rd5], %r3;\n"
        "st.global.u32 [%rd5+4], %r4;\nst.global.v2.u32 [%rd5], {%r3, %r4};\n"
        "add.s32 %r9, %r9, %r8;\nsetp.lt.s32 %p2, %r9, %r1;\n@%p2 bra loop;\ndone:\nret;\n}\n";
    static const uint32_t counts[] = {0, 1, 63, 64, 100, 128, 255, 256, 300, 1024, 1100};
    struct rig rig;
    rig_init(&rig);
    struct doubled d = {rig_alloc(&rig, 8 * MOST), rig_alloc(&rig, 8 * MOST), 0};
    for (uint32_t i = 0; i < 2 * MOST; i++) {
        ((uint32_t *)rig_at(&rig, d.in))[i] = i * 2654435761u;
        ((uint32_t *)rig_at(&rig, d.out))[i] = 7;
    }
    for (unsigned c = 0; c < TW_COUNT(counts); c++) {
        d.n = counts[c];
        struct whole_run run = {text, &d, 20, check_doubled, &d};
        run_all(&rig, &run);
    }
    rig_done(&rig);
}

// ---- warps of a block at once ----

struct warps {
    uint64_t in, out;
};

// out[lane] gets the shuffle's value, out[256 + warp] what the warp's lane 5 has, out[512 …] the sum of all those.
static void check_warps(struct rig *rig, unsigned lanes, void *context) {
    const struct warps *w = context;
    const uint32_t *in = rig_at(rig, w->in), *out = rig_at(rig, w->out);
    uint32_t sum = 0;
    for (unsigned i = 5; i < lanes; i += 32)
        sum += in[i ^ 9];
    for (unsigned i = 0; i < lanes; i++) {
        unsigned lane = i % 32, down = lane + 3 <= 31 ? i + 3 : i, up = lane >= 4 ? i - 4 : i;
        uint32_t want = in[i ^ 9] + 3 * in[down] + 5 * in[up] + 7 * in[i - lane + 11];
        ck_assert_msg(out[i] == want, "%u lanes: thread %u has %u, not %u", lanes, i, out[i], want);
        ck_assert_uint_eq(out[512 + i], sum);
    }
    for (unsigned i = 0; i < lanes / 32; i++)
        ck_assert_uint_eq(out[256 + i], in[(32 * i + 5) ^ 9]);
}

TW_TEST("shuffles stay within their warps, and a lane of each warp stores for it") {
    static const char text[] = HEAD
        ".visible .entry k(.param .u64 in, .param .u64 out) {\n.shared .align 4 .b8 s[32];\n" REGS
        "ld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\nmov.u32 %r9, %tid.x;\nmul.wide.u32 %rd3, %r9, "
        "4;\n"
        "add.u64 %rd1, %rd1, %rd3;\nadd.u64 %rd4, %rd2, %rd3;\nld.global.u32 %r1, [%rd1];\n"
        "shfl.sync.bfly.b32 %r2, %r1, 9, 31, -1;\nshfl.sync.down.b32 %r3, %r1, 3, 31, -1;\n"
        "shfl.sync.up.b32 %r4, %r1, 4, 0, -1;\nshfl.sync.idx.b32 %r5, %r1, 11, 31, -1;\n"
        "mad.lo.u32 %r6, %r3, 3, %r2;\nmad.lo.u32 %r6, %r4, 5, %r6;\nmad.lo.u32 %r6, %r5, 7, %r6;\n"
        "st.global.u32 [%rd4], %r6;\nand.b32 %r7, %r9, 31;\nsetp.ne.u32 %p1, %r7, 5;\nshr.u32 %r8, %r9, 5;\n"
        "mul.wide.u32 %rd5, %r8, 4;\nadd.u64 %rd6, %rd2, %rd5;\nmov.u64 %rd7, s;\nadd.u64 %rd8, %rd7, %rd5;\n"
        "@%p1 bra past;\nst.global.u32 [%rd6+1024], %r2;\nst.shared.u32 [%rd8], %r2;\npast:\nbar.sync 0;\n"
        "mov.u32 %r10, 0;\nmov.u32 %r11, 0;\nmov.u32 %r12, %ntid.x;\nshr.u32 %r12, %r12, 5;\nloop:\n"
        "ld.shared.u32 %r13, [%rd7];\nadd.u32 %r10, %r10, %r13;\nadd.u64 %rd7, %rd7, 4;\nadd.u32 %r11, %r11, "
        "1;\n"
        "setp.lt.u32 %p2, %r11, %r12;\n@%p2 bra loop;\nst.global.u32 [%rd4+2048], %r10;\nret;\n}\n";
    struct rig rig;
    rig_init(&rig);
    struct warps w = {rig_alloc(&rig, 1024), rig_alloc(&rig, 3072)};
    for (uint32_t i = 0; i < 256; i++)
        ((uint32_t *)rig_at(&rig, w.in))[i] = i * 2654435761u;
    struct whole_run run = {text, &w, sizeof w, check_warps, &w};
    run_all(&rig, &run);
    rig_done(&rig);
}

// ---- atomics ----

enum { WORDS = 16, SUMS = 8 };
struct atomics {
    uint64_t words, olds, sums;
    const char *op;
    bool divergent, shared;
    uint32_t step; // words between lanes; 0: all at one
};

static bool takes_part(const struct atomics *a, unsigned lane) {
    return !a->divergent || (lane * 7 + lane / 64) % 5 < 2;
}

static uint32_t applied(const char *op, uint32_t old, uint32_t v) {
    if (strcmp(op, "add") == 0)
        return old + v;
    if (strcmp(op, "max") == 0)
        return old > v ? old : v;
    if (strcmp(op, "exch") == 0)
        return v;
    return old >= v ? 0 : old + 1; // inc
}

// Lane after lane, what each found; then as much again without looking, and floats in the order of lanes.
static void check_atomics(struct rig *rig, unsigned lanes, void *context) {
    const struct atomics *a = context;
    uint32_t *words = rig_at(rig, a->words), *olds = rig_at(rig, a->olds), want[WORDS] = {};
    float *sums = rig_at(rig, a->sums), sum = 0, same = 0;
    for (unsigned lane = 0; lane < lanes; lane++) {
        uint32_t at = lane * a->step % WORDS, v = lane * 2654435761u >> 20;
        if (takes_part(a, lane)) {
            ck_assert_msg(olds[lane] == want[at], "%s, %u lanes: lane %u found %u, not %u", a->op, lanes,
                          lane, olds[lane], want[at]);
            want[at] = applied(a->op, want[at], v);
            sum += (float)v * 0.1f;
            same += 0.1f;
        }
        olds[lane] = 0;
    }
    for (unsigned lane = 0; lane < lanes; lane++)
        if (takes_part(a, lane))
            want[lane * a->step % WORDS] += lane;
    for (unsigned i = 0; i < WORDS; i++)
        ck_assert_msg(words[i] == want[i], "%s, %u lanes: word %u is %u, not %u", a->op, lanes, i, words[i],
                      want[i]);
    ck_assert_msg(sums[0] == sum, "%u lanes: the sum is %.9g, not %.9g", lanes, (double)sums[0], (double)sum);
    ck_assert_msg(sums[1] == same, "%u lanes: the sum is %.9g, not %.9g", lanes, (double)sums[1],
                  (double)same);
    ck_assert_msg(sums[2] == (takes_part(a, 77) && lanes > 77 ? 0.1f : 0.0f), "one lane's is %.9g",
                  (double)sums[2]);
    memset(words, 0, 4 * WORDS);
    memset(sums, 0, 4 * SUMS);
}

static void run_atomics(struct rig *rig, struct atomics *a) {
    static const char head[] = HEAD
        ".visible .entry k(.param .u64 words, .param .u64 olds, .param .u64 sums) {\n"
        ".shared .align 4 .b8 s[64];\n" REGS ".reg .f32 %f<4>;\n"
        "ld.param.u64 %rd1, [words];\nld.param.u64 %rd2, [olds];\nld.param.u64 %rd3, [sums];\n"
        "mov.u32 %r9, %tid.x;\nmul.wide.u32 %rd4, %r9, 4;\nadd.u64 %rd2, %rd2, %rd4;\nmov.u64 %rd7, s;\n"
        "and.b32 %r1, %r9, 15;\nmul.wide.u32 %rd5, %r1, 4;\nadd.u64 %rd8, %rd7, %rd5;\nst.shared.u32 [%rd8], "
        "0;\n"
        "bar.sync 0;\nmul.lo.u32 %r2, %r9, 0x9e3779b1;\nshr.u32 %r2, %r2, 20;\n"
        "mul.lo.u32 %r3, %r9, 7;\nshr.u32 %r4, %r9, 6;\nadd.u32 %r3, %r3, %r4;\nrem.u32 %r3, %r3, 5;\n";
    char text[4096];
    const char *space = a->shared ? "shared" : "global";
    snprintf(text, sizeof text,
             "%smul.lo.u32 %%r5, %%r9, %u;\nand.b32 %%r5, %%r5, 15;\nmul.wide.u32 %%rd5, %%r5, 4;\n"
             "add.u64 %%rd6, %s, %%rd5;\ncvt.rn.f32.u32 %%f1, %%r2;\nmov.f32 %%f2, 0f3DCCCCCD;\n"
             "mul.f32 %%f1, %%f1, %%f2;\nsetp.gt.u32 %%p1, %%r3, %u;\n@%%p1 bra past;\n"
             "atom.%s.%s.u32 %%r6, [%%rd6], %%r2;\nst.global.u32 [%%rd2], %%r6;\n"
             "red.global.add.f32 [%%rd3], %%f1;\nred.global.add.f32 [%%rd3+4], %%f2;\n"
             "setp.ne.u32 %%p2, %%r9, 77;\n@%%p2 bra more;\nred.global.add.f32 [%%rd3+8], %%f2;\nmore:\n"
             "past:\nbar.sync 0;\n@%%p1 bra behind;\nred.%s.add.u32 [%%rd6], %%r9;\nbehind:\nbar.sync "
             "0;\nsetp.gt.u32 %%p3, %%r9, 15;\n"
             "@%%p3 bra done;\nmul.wide.u32 %%rd5, %%r1, 4;\nadd.u64 %%rd9, %%rd1, %%rd5;\n"
             "ld.shared.u32 %%r7, [%%rd8];\nred.global.add.u32 [%%rd9], %%r7;\ndone:\nret;\n}\n",
             head, a->step, a->shared ? "%rd7" : "%rd1", a->divergent ? 1 : 9, space, a->op, space);
    struct whole_run run = {text, &a->words, 24, check_atomics, a};
    run_all(rig, &run);
}

TW_TEST("atomics of long vectors go lane after lane, whoever takes part and whoever looks at old values") {
    static const char *const ops[] = {"add", "max", "exch", "inc"};
    struct rig rig;
    rig_init(&rig);
    struct atomics a = {
        rig_alloc(&rig, 4 * WORDS), rig_alloc(&rig, 1024), rig_alloc(&rig, 4 * SUMS), "", false, false, 0};
    for (unsigned i = 0; i < 8; i++) {
        rig.alone = i % 2;
        a.op = ops[i / 2];
        a.divergent = i % 3 != 2;
        a.shared = i / 2 % 2;
        a.step = i % 3 * 3;
        run_atomics(&rig, &a);
    }
    rig_done(&rig);
}

// The size of blocks that gain by one vector: threads go through data side by side, `%rd7` in shared memory for each.
static unsigned whole_lanes_with(const char *inside, const char *behind) {
    char text[2048];
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    snprintf(text, sizeof text,
             "%s.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n) {\n"
             ".shared .align 4 .b8 s[1024];\n%s"
             "ld.param.u64 %%rd1, [in];\nld.param.u64 %%rd2, [out];\nld.param.u32 %%r1, [n];\n"
             "mov.u32 %%r2, %%tid.x;\nmov.u32 %%r3, %%ntid.x;\nmov.u64 %%rd7, s;\nbar.sync 0;\nloop:\n"
             "mul.wide.u32 %%rd3, %%r2, 4;\nadd.u64 %%rd4, %%rd1, %%rd3;\nld.global.u32 %%r4, [%%rd4];\n"
             "and.b32 %%r5, %%r4, 252;\ncvt.u64.u32 %%rd5, %%r5;\nadd.u64 %%rd7, %%rd7, %%rd5;\n%s"
             "add.u32 %%r2, %%r2, %%r3;\nsetp.lt.u32 %%p1, %%r2, %%r1;\n@%%p1 bra loop;\nbar.sync 0;\n"
             "%sret;\n}\n",
             HEAD, REGS, inside, behind);
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    unsigned lanes = k.info.whole_lanes;
    kernel_done(&k);
    rig_done(&rig);
    return lanes;
}

TW_TEST("whole blocks count in shared memory, but the order of what can be seen stays that of warps") {
    static const char count[] = "red.shared.add.u32 [%rd7], 1;\n";
    ck_assert_uint_eq(whole_lanes_with(count, ""), TW_KERNEL_ROW_MAX);
    ck_assert_uint_eq(whole_lanes_with(count, "red.global.add.f32 [%rd2], 0f3F800000;\n"), TW_KERNEL_ROW_MAX);
    ck_assert_uint_eq(whole_lanes_with(count, "red.global.add.f32 [%rd2], 0f3F800000;\n"
                                              "red.global.add.f32 [%rd2+4], 0f3F800000;\n"),
                      0);
    ck_assert_uint_eq(whole_lanes_with(count, "atom.global.exch.b32 %r6, [%rd2], 1;\n"), 0);
    ck_assert_uint_eq(whole_lanes_with("red.shared.add.f32 [%rd7], 0f3F800000;\n", ""), 0);
    ck_assert_uint_eq(
        whole_lanes_with("atom.shared.add.u32 %r6, [%rd7], 1;\nst.global.u32 [%rd4], %r6;\n", ""), 0);
    ck_assert_uint_eq(whole_lanes_with("", ""), 0);
}

// ---- several vectors a block ----

// Threads below n put a number into shared memory and take another thread's after the barrier, in a loop; the rest have
// ended. out[t] of n = the sum over 3 rounds of what thread n - 1 - t had.
TW_TEST(
    "threads of one vector see behind a barrier what those of another have written, and some have ended") {
    static const char text[] = HEAD
        ".visible .entry k(.param .u64 out, .param .u32 n) {\n.shared .align 4 .b8 s[4096];\n" REGS
        "ld.param.u64 %rd1, [out];\nld.param.u32 %r1, [n];\nmov.u32 %r2, %tid.x;\nsetp.ge.u32 %p1, %r2, "
        "%r1;\n@%p1 bra done;\nmul.wide.u32 %rd2, %r2, 4;\nmov.u64 %rd3, s;\nadd.u64 %rd4, %rd3, %rd2;\n"
        "sub.u32 %r3, %r1, %r2;\nmul.wide.u32 %rd5, %r3, 4;\nadd.u64 %rd5, %rd3, %rd5;\nmov.u32 %r4, 0;\n"
        "mov.u32 %r5, 0;\nloop:\nmad.lo.u32 %r6, %r2, %r2, %r5;\nst.shared.u32 [%rd4], %r6;\nbar.sync 0;\n"
        "ld.shared.u32 %r7, [%rd5+-4];\nadd.u32 %r4, %r4, %r7;\nbar.sync 0;\nadd.u32 %r5, %r5, 1;\n"
        "setp.lt.u32 %p2, %r5, 3;\n@%p2 bra loop;\nadd.u64 %rd1, %rd1, %rd2;\nst.global.u32 [%rd1], %r4;\n"
        "done:\nret;\n}\n";
    static const uint32_t sizes[] = {1, 200, 256, 300, 512, 700, 1023, 1024};
    struct rig rig;
    rig_init(&rig);
    uint64_t out = rig_alloc(&rig, 4096);
    uint32_t *got = rig_at(&rig, out);
    for (unsigned threads = 512; threads <= 1024; threads *= 2)
        for (int level = 0; level < 2; level++) {
            struct kernel k;
            rig.opt_level = level;
            kernel_from_ptx(&rig, &k, text, "k", TW_KERNEL_LANES_MAX, threads);
            for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
                struct {
                    uint64_t out;
                    uint32_t n;
                } params = {out, sizes[s] < threads ? sizes[s] : threads};
                memset(got, 0xff, 4096);
                ck_assert_uint_eq(rig_launch(&rig, &k, (uint32_t[3]){2, 1, 1}, (uint32_t[3]){threads, 1, 1},
                                             0, &params, 12),
                                  TW_KERNEL_OK);
                for (uint32_t t = 0; t < 1024; t++) {
                    uint32_t other = params.n - 1 - t,
                             want = t < params.n ? 3 * other * other + 3 : UINT32_MAX;
                    ck_assert_msg(got[t] == want, "%u threads, %u of them: [%u] is %u, not %u", threads,
                                  params.n, t, got[t], want);
                }
            }
            kernel_done(&k);
        }
    rig_done(&rig);
}

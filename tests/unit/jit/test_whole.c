// SPDX-License-Identifier: Apache-2.0
//
// Whole blocks of 64 and 256 threads as one vector: comparisons that are counts, accesses under long masks,
// shuffles of several warps at once, stores of few lanes; against plain C.

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

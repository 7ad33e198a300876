// SPDX-License-Identifier: Apache-2.0
//
// Shuffles, votes, matches and reductions of a warp, and every atomic operation, against plain C.

#include "harness/test.h"
#include "kernel_run.h"

enum { LANES = 32 };

#define HEAD                                                                                                 \
    ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out) "     \
    "{\n.reg .b32 %r<20>;\n.reg .b64 %rd<20>;\n.reg .pred %p<8>;\n"
#define LOAD                                                                                                 \
    "ld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\nmov.u32 %r9, %tid.x;\nmul.wide.u32 %rd3, %r9, "    \
    "4;\nadd.u64 %rd1, %rd1, %rd3;\n"                                                                        \
    "add.u64 %rd2, %rd2, %rd3;\nld.global.u32 %r1, [%rd1];\nld.global.u32 %r2, [%rd1+256];\n"
#define STORE "st.global.u32 [%rd2], %r3;\nst.global.u32 [%rd2+256], %r4;\nret;\n}\n"

// Two words in a thread, two out.
struct words {
    uint32_t a[64], b[64], d[64], e[64];
};

static void run_text(const char *body, struct words *w) {
    struct rig rig;
    struct kernel k;
    char text[4096];
    rig_init(&rig);
    uint64_t params[2] = {rig_alloc(&rig, 512), rig_alloc(&rig, 512)};
    snprintf(text, sizeof text, "%s%s%s%s", HEAD, LOAD, body, STORE);
    memcpy(rig_at(&rig, params[0]), w->a, 512);
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    ck_assert(k.info.uses_warp_ops);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){64, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    memcpy(w->d, rig_at(&rig, params[1]), 512);
    kernel_done(&k);
    rig_done(&rig);
}

static void fill(struct words *w) {
    for (uint32_t i = 0; i < 64; i++) {
        w->a[i] = i * 2654435761u;
        w->b[i] = (i * 7 + 3) % 41;
    }
}

// The manual's pseudo-code of shfl.sync.
static uint32_t shuffled(const struct words *w, uint32_t thread, char mode, uint32_t b, uint32_t c,
                         uint32_t *ret_in_range) {
    int lane = (int)(thread & 31), first = (int)(thread & ~31u), segment = (int)(c >> 8 & 31),
        clamp = (int)(c & 31);
    int most = (lane & segment) | (clamp & ~segment), least = lane & segment, at = 0;
    bool in_range = true;
    b &= 31;
    switch (mode) {
    case 'u':
        at = lane - (int)b;
        in_range = at >= most;
        break;
    case 'd':
        at = lane + (int)b;
        in_range = at <= most;
        break;
    case 'b':
        at = lane ^ (int)b;
        in_range = at <= most;
        break;
    default:
        at = least | ((int)b & ~segment);
        in_range = at <= most;
        break;
    }
    *ret_in_range = in_range;
    return w->a[first + (in_range ? at : lane)];
}

TW_TEST("shuffles take from the lane the manual says, by constants and by registers") {
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    static const uint32_t clamps[] = {0, 31, 0x1c03, 0x181f, 0x1000};
    for (unsigned m = 0; m < 4; m++)
        for (unsigned c = 0; c < TW_COUNT(clamps); c++)
            for (int constant = 0; constant < 3; constant++) {
                struct words w;
                char body[300], amount[8];
                static const uint32_t amounts[] = {1, 5, 17};
                fill(&w);
                snprintf(amount, sizeof amount, constant ? "%u" : "%%r2", amounts[constant]);
                snprintf(body, sizeof body,
                         "shfl.sync.%s.b32 %%r3|%%p1, %%r1, %s, %u, -1;\nselp.b32 %%r4, 1, 0, %%p1;\n",
                         modes[m], amount, clamps[c]);
                run_text(body, &w);
                for (uint32_t i = 0; i < 64; i++) {
                    uint32_t in_range,
                        want = shuffled(&w, i, modes[m][0], constant ? amounts[constant] : w.b[i], clamps[c],
                                        &in_range);
                    ck_assert_msg(w.d[i] == want && w.e[i] == in_range, "%s thread %u: %u %u, not %u %u",
                                  body, i, w.d[i], w.e[i], want, in_range);
                }
            }
}

TW_TEST("votes and the active mask count the lanes that run them") {
    struct words w;
    fill(&w);
    run_text("setp.gt.u32 %p1, %r2, 20;\nvote.sync.ballot.b32 %r3, %p1, -1;\nmov.u32 %r4, 0;\nsetp.lt.u32 "
             "%p2, %r2, 30;\n@!%p2 bra skip;\n"
             "activemask.b32 %r4;\nskip:\n",
             &w);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t ballot = 0, active = 0;
        for (uint32_t k = 0; k < LANES; k++) {
            ballot |= (uint32_t)(w.b[(i & ~31u) + k] > 20) << k;
            active |= (uint32_t)(w.b[(i & ~31u) + k] < 30) << k;
        }
        ck_assert_uint_eq(w.d[i], ballot);
        ck_assert_uint_eq(w.e[i], w.b[i] < 30 ? active : 0);
    }
    run_text("setp.ne.u32 %p1, %r2, 100;\nsetp.eq.u32 %p2, %r9, 33;\nvote.sync.all.pred %p3, %p1, "
             "-1;\nvote.sync.any.pred %p4, %p2, -1;\nvote.sync.uni.pred %p5, %p2, -1;\n"
             "selp.b32 %r3, 1, 0, %p3;\nselp.b32 %r4, 2, 0, %p4;\nadd.u32 %r3, %r3, %r4;\nselp.b32 %r4, 1, "
             "0, %p5;\n",
             &w);
    for (uint32_t i = 0; i < 64; i++) {
        ck_assert_uint_eq(w.d[i], i < 32 ? 1 : 3);
        ck_assert_uint_eq(w.e[i], i < 32 ? 1 : 0);
    }
}

TW_TEST("match and redux see all lanes") {
    struct words w;
    fill(&w);
    run_text("and.b32 %r5, %r2, 7;\nmatch.any.sync.b32 %r3, %r5, -1;\nredux.sync.add.s32 %r4, %r2, "
             "-1;\nredux.sync.min.s32 %r6, %r1, -1;\nxor.b32 %r4, %r4, %r6;\n"
             "redux.sync.max.u32 %r6, %r1, -1;\nxor.b32 %r4, %r4, %r6;\n",
             &w);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t same = 0, sum = 0, most = 0;
        int32_t least = INT32_MAX;
        for (uint32_t k = i & ~31u; k < (i & ~31u) + LANES; k++) {
            same |= (uint32_t)((w.b[k] & 7) == (w.b[i] & 7)) << (k & 31);
            sum += w.b[k];
            least = (int32_t)w.a[k] < least ? (int32_t)w.a[k] : least;
            most = w.a[k] > most ? w.a[k] : most;
        }
        ck_assert_uint_eq(w.d[i], same);
        ck_assert_uint_eq(w.e[i], sum ^ (uint32_t)least ^ most);
    }
}

TW_TEST("groups of lanes that name one another vote, match, reduce and elect side by side") {
    struct words w;
    fill(&w);
    run_text("and.b32 %r5, %r2, 3;\nmatch.any.sync.b32 %r6, %r5, -1;\nsetp.gt.u32 %p1, %r2, 20;\n"
             "vote.sync.ballot.b32 %r3, %p1, %r6;\nredux.sync.add.s32 %r4, %r2, %r6;\n"
             "redux.sync.min.u32 %r7, %r1, %r6;\nxor.b32 %r4, %r4, %r7;\n",
             &w);
    struct words v = w;
    run_text(
        "and.b32 %r5, %r2, 3;\nmatch.any.sync.b32 %r6, %r5, -1;\nsetp.gt.u32 %p1, %r2, 2;\n"
        "vote.sync.all.pred %p2, %p1, %r6;\nvote.sync.any.pred %p3, !%p1, %r6;\nvote.sync.uni.pred %p4, %p1, "
        "%r6;\nshr.u32 %r7, %r2, 3;\nmatch.all.sync.b32 %r3|%p5, %r5, %r6;\n"
        "match.all.sync.b32 %r8|%p6, %r7, %r6;\nmatch.any.sync.b32 %r10, %r7, %r6;\nelect.sync %r11|%p7, "
        "%r6;\n"
        "shl.b32 %r11, %r11, 8;\n@%p2 or.b32 %r11, %r11, 1;\n@%p3 or.b32 %r11, %r11, 2;\n@%p4 or.b32 %r11, "
        "%r11, 4;\n@%p5 or.b32 %r11, %r11, 8;\n@%p6 or.b32 %r11, %r11, 16;\n@%p7 or.b32 %r11, %r11, 32;\n"
        "xor.b32 %r3, %r3, %r8;\nxor.b32 %r3, %r3, %r10;\nmov.b32 %r4, %r11;\n",
        &v);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t group = 0, ballot = 0, sum = 0, least = UINT32_MAX, alike = 0, small = 0;
        for (uint32_t k = i & ~31u; k < (i & ~31u) + LANES; k++) {
            if ((w.b[k] & 3) != (w.b[i] & 3))
                continue;
            group |= 1u << (k & 31);
            ballot |= (uint32_t)(w.b[k] > 20) << (k & 31);
            small |= (uint32_t)(w.b[k] <= 2) << (k & 31);
            alike |= (uint32_t)(w.b[k] >> 3 == w.b[i] >> 3) << (k & 31);
            sum += w.b[k];
            least = w.a[k] < least ? w.a[k] : least;
        }
        uint32_t leader = (uint32_t)__builtin_ctz(group), bits = leader << 8 | 8;
        bits |= (small == 0 ? 1u : 2u) | (small == 0 || small == group ? 4u : 0) |
                (alike == group ? 16u : 0) | (leader == (i & 31) ? 32u : 0);
        ck_assert_uint_eq(w.d[i], ballot);
        ck_assert_uint_eq(w.e[i], sum ^ least);
        ck_assert_uint_eq(v.d[i], group ^ (alike == group ? group : 0) ^ alike);
        ck_assert_uint_eq(v.e[i], bits);
    }
}

// ---- atomics: each thread does one operation on one of some words; the order is lane after lane, which C
// can follow ----
static uint32_t apply(const char *op, uint32_t old, uint32_t v, uint32_t v2) {
    if (!strcmp(op, "add.u32"))
        return old + v;
    if (!strcmp(op, "min.s32"))
        return (int32_t)old < (int32_t)v ? old : v;
    if (!strcmp(op, "max.u32"))
        return old > v ? old : v;
    if (!strcmp(op, "and.b32"))
        return old & v;
    if (!strcmp(op, "or.b32"))
        return old | v;
    if (!strcmp(op, "xor.b32"))
        return old ^ v;
    if (!strcmp(op, "exch.b32"))
        return v;
    if (!strcmp(op, "inc.u32"))
        return old >= v ? 0 : old + 1;
    if (!strcmp(op, "dec.u32"))
        return old == 0 || old > v ? v : old - 1;
    return old == v ? v2 : old; // cas
}

static void check_atomic(const char *op, const char *space, uint32_t spread, bool alone) {
    enum { WORDS = 128 };
    struct rig rig;
    struct kernel k;
    char text[2048];
    bool cas = !strncmp(op, "cas", 3);
    rig_init(&rig);
    rig.alone = alone;
    snprintf(text, sizeof text,
             ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 memory, .param "
             ".u64 in, .param .u64 out) {\n.reg .b32 %%r<9>;\n.reg .b64 "
             "%%rd<9>;\nld.param.u64 %%rd1, [memory];\nld.param.u64 %%rd2, [in];\nld.param.u64 %%rd3, "
             "[out];\nmov.u32 %%r1, %%tid.x;\nmul.wide.u32 %%rd4, %%r1, 4;\n"
             "add.u64 %%rd2, %%rd2, %%rd4;\nadd.u64 %%rd3, %%rd3, %%rd4;\nld.global.u32 %%r2, "
             "[%%rd2];\nand.b32 %%r3, %%r1, %u;\nmul.wide.u32 %%rd5, %%r3, 4;\n"
             "add.u64 %%rd1, %%rd1, %%rd5;\nadd.u32 %%r4, %%r1, 900;\natom.%s.%s %%r5, [%%rd1], "
             "%%r2%s;\nst.global.u32 [%%rd3], %%r5;\nret;\n}\n",
             spread, space, op, cas ? ", %r4" : "");
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    uint64_t params[3] = {rig_alloc(&rig, 4 * WORDS), rig_alloc(&rig, 1024), rig_alloc(&rig, 1024)};
    uint32_t *memory = rig_at(&rig, params[0]), *in = rig_at(&rig, params[1]), *out = rig_at(&rig, params[2]),
             want[WORDS];
    for (uint32_t i = 0; i < WORDS; i++)
        memory[i] = want[i] = i * 3;
    for (uint32_t i = 0; i < 128; i++)
        in[i] = cas ? i % 25 : i % 9 == 4 ? 0xfffffff0 + i : i % 23;
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){128, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    for (uint32_t i = 0; i < 128; i++) {
        uint32_t *at = &want[i & spread];
        ck_assert_msg(out[i] == *at, "%s.%s: thread %u saw %u, not %u", space, op, i, out[i], *at);
        *at = apply(op, *at, in[i], i + 900);
    }
    for (uint32_t i = 0; i < WORDS; i++)
        ck_assert_msg(memory[i] == want[i], "%s.%s: word %u is %u, not %u", space, op, i, memory[i], want[i]);
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("atomics of every kind update and return what was there") {
    static const char *const ops[] = {"add.u32", "min.s32",  "max.u32", "and.b32", "or.b32",
                                      "xor.b32", "exch.b32", "inc.u32", "dec.u32", "cas.b32"};
    for (unsigned i = 0; i < TW_COUNT(ops); i++) {
        check_atomic(ops[i], "global", 7, false);
        check_atomic(ops[i], "global", 0, false);
        check_atomic(ops[i], "shared", 7, false);
    }
}

TW_TEST("atomics of a launch that is alone, and of lanes side by side, do the same") {
    static const char *const ops[] = {"add.u32", "min.s32",  "max.u32", "and.b32", "or.b32",
                                      "xor.b32", "exch.b32", "inc.u32", "dec.u32", "cas.b32"};
    for (unsigned i = 0; i < TW_COUNT(ops); i++) {
        check_atomic(ops[i], "global", 7, true);
        check_atomic(ops[i], "global", 127, true);
        check_atomic(ops[i], "shared", 127, false);
    }
}

TW_TEST("reductions without a result and floating-point atomics add up") {
    struct rig rig;
    struct kernel k;
    static const char text[] =
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 memory) {\n.reg .b32 "
        "%r<9>;\n.reg .b64 %rd<9>;\n.reg .pred %p<3>;\n"
        ".reg .f32 %f<3>;\n.reg .f64 %fd<3>;\nld.param.u64 %rd1, [memory];\nmov.u32 %r1, %tid.x;\nmov.u32 "
        "%r2, %ctaid.x;\nmad.lo.u32 %r1, %r2, 100, %r1;\n"
        "red.global.add.u32 [%rd1], %r1;\nred.global.max.s32 [%rd1+4], %r1;\nsetp.lt.u32 %p1, %r1, 50;\n@%p1 "
        "red.global.add.u64 [%rd1+8], 3;\n"
        "cvt.rn.f32.u32 %f1, %r1;\natom.global.add.f32 %f2, [%rd1+16], %f1;\ncvt.rn.f64.u32 %fd1, "
        "%r1;\nred.global.add.f64 [%rd1+24], %fd1;\nret;\n}\n";
    struct {
        uint32_t sum;
        int32_t most;
        uint64_t threes;
        float f, unused;
        double d;
    } *got;
    rig_init(&rig);
    kernel_from_ptx(&rig, &k, text, "k", 32, 1);
    uint64_t memory = rig_alloc(&rig, 64);
    got = rig_at(&rig, memory);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){3, 1, 1}, (uint32_t[3]){100, 1, 1}, 0, &memory, sizeof memory),
        TW_KERNEL_OK);
    ck_assert_uint_eq(got->sum, 300 * 299 / 2);
    ck_assert_int_eq(got->most, 299);
    ck_assert_uint_eq(got->threes, 150);
    ck_assert(got->f == 300.0f * 299 / 2);
    ck_assert(got->d == 300.0 * 299 / 2);
    kernel_done(&k);
    rig_done(&rig);
}

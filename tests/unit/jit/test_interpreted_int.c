// SPDX-License-Identifier: Apache-2.0
//
// Integer operations of programs whose results lie where their sources were, several results at a time. That all of them can be said
// test_sayable.c says, and what they compute the tests that run by programs too.

#include "harness/test.h"

#include "floats.h"
#include "kernel_run.h"

// Registers that go round a loop in which no lane is apart, and are written once there, keep their rows: results lie where
// sources were.
static const char rounds[] =
    ".version 8.3\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 pin) {\n"
    ".reg .b64 at; .reg .b32 t, x, a, b, i; .reg .pred p, q, v, w, more;\n"
    "ld.param.u64 at, [pin]; mov.u32 t, %tid.x; mad.wide.u32 at, t, 32, at;\n"
    "ld.global.b32 x, [at]; ld.global.b32 a, [at+4]; ld.global.b32 b, [at+8];\n"
    "setp.lt.u32 p, a, x; setp.lt.u32 q, b, x; setp.lt.u32 v, a, b; setp.eq.u32 w, a, b;\n"
    "mov.u32 i, 0; add.cc.u32 t, x, a;\n"
    "again:\n"
    "addc.cc.u32 a, a, x;\n"
    "setp.lt.xor.u32 p|q, a, x, q; setp.gt.or.s32 v|w, x, a, !v;\n"
    "@p min.relu.s32 b, b, a; @q xor.b32 b, b, a; @!w sub.s32 b, i, b; @v prmt.b32 b, b, i, b;\n"
    "add.u32 i, i, 1; setp.lt.u32 more, i, 40; @more bra again;\n"
    "addc.u32 i, 0, 0; selp.b32 t, 2, 0, p; or.b32 i, i, t; selp.b32 t, 4, 0, q; or.b32 i, i, t;\n"
    "selp.b32 t, 8, 0, v; or.b32 i, i, t; selp.b32 t, 16, 0, w; or.b32 i, i, t;\n"
    "st.global.b32 [at+16], a; st.global.b32 [at+20], b; st.global.b32 [at+24], i;\nret;\n}\n";

static uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
    uint32_t d = 0;
    for (unsigned i = 0; i < 4; i++, selector >>= 4) {
        uint32_t byte = (selector & 4 ? b : a) >> 8 * (selector & 3) & 255;
        d |= (selector & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * i;
    }
    return d;
}

static void want_rounds(const uint32_t in[3], uint32_t out[3]) {
    uint32_t x = in[0], a = in[1], b = in[2];
    bool p = false, q = b < x, v = a < b, w = false;
    uint64_t sum = (uint64_t)x + a;
    for (uint32_t i = 0; i < 40; i++) {
        sum = (uint64_t)a + x + (sum >> 32);
        a = (uint32_t)sum;
        p = (a < x) != q;
        q = (a >= x) != q;
        w = (int32_t)x <= (int32_t)a || !v;
        v = (int32_t)x > (int32_t)a || !v;
        if (p)
            b = (int32_t)a < 0 || (int32_t)b < 0 ? 0 : a < b ? a : b;
        b = q ? b ^ a : b;
        b = w ? b : i - b;
        b = v ? permuted(b, i, b) : b;
    }
    memcpy(out, (uint32_t[]){a, b, (uint32_t)(sum >> 32) | 2u * p | 4u * q | 8u * v | 16u * w}, 12);
}

TW_TEST("results of programs may lie where their sources were") {
    enum { THREADS = 100 };
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    kernel_program(&rig, &k, rounds);
    uint64_t at = rig_alloc(&rig, THREADS * 32);
    uint32_t(*words)[8] = rig_at(&rig, at), state = 1;
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned i = 0; i < 3; i++)
            words[t][i] = random_word(&state) >> (t & 7);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, &at, sizeof at),
        TW_KERNEL_OK);
    for (uint32_t t = 0; t < THREADS; t++) {
        uint32_t want[3];
        want_rounds(words[t], want);
        for (unsigned i = 0; i < 3; i++)
            ck_assert_msg(words[t][4 + i] == want[i], "thread %u: result %u is %x, not %x", t, i,
                          words[t][4 + i], want[i]);
    }
    kernel_done(&k);
    rig_done(&rig);
}

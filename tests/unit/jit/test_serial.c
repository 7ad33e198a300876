// SPDX-License-Identifier: Apache-2.0
//
// Loops of look-ups, which run one lane after the other: within another loop that lanes leave at different times, with
// threads that ended before, guards, values that all lanes share and values that count over the lanes, in whole and in
// partial warps, against plain C.

#include "harness/test.h"
#include "kernel_run.h"

enum { WORDS = 256, BLOCKS = 3 };

// Follows `next` from its own place, adding up what `in` has there, `in[...] & 15` times; all of that `in[t] & 3` times.
static const char walk[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 next, "
    ".param "
    ".u64 out, .param .u32 factor) {\n.reg .b32 %r<20>;\n.reg .b64 %rd<20>;\n.reg .pred %p<9>;\n"
    "ld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [next];\nld.param.u64 %rd3, [out];\nld.param.u32 %r1, "
    "[factor];\n"
    "mov.u32 %r2, %tid.x;\nmov.u32 %r3, %ctaid.x;\nmov.u32 %r4, %ntid.x;\nmad.lo.u32 %r5, %r3, %r4, %r2;\n"
    "rem.u32 %r6, %r5, 7;\nsetp.eq.u32 %p1, %r6, 3;\n@%p1 bra END;\n"
    "mul.wide.u32 %rd4, %r2, 4;\nadd.u64 %rd5, %rd1, %rd4;\nld.global.u32 %r7, [%rd5];\nand.b32 %r7, %r7, "
    "3;\n"
    "mov.u32 %r8, 0;\nmov.u32 %r9, 0;\nmov.u32 %r10, %r2;\nmov.u32 %r16, 0;\n"
    "OUTER:\nsetp.ge.u32 %p2, %r8, %r7;\n@%p2 bra STORE;\n"
    "add.u32 %r11, %r5, %r8;\nand.b32 %r11, %r11, 255;\nmul.wide.u32 %rd6, %r11, 4;\nadd.u64 %rd6, %rd1, "
    "%rd6;\n"
    "ld.global.u32 %r12, [%rd6];\nand.b32 %r12, %r12, 15;\nadd.u32 %r8, %r8, 1;\nsetp.eq.u32 %p3, %r12, "
    "0;\n@%p3 bra "
    "OUTER;\n"
    "INNER:\nmul.wide.u32 %rd7, %r10, 4;\nadd.u64 %rd8, %rd1, %rd7;\nadd.u64 %rd9, %rd2, %rd7;\n"
    "ld.global.u32 %r13, [%rd8];\nld.global.u32 %r10, [%rd9];\nmad.lo.u32 %r9, %r9, %r1, %r13;\nadd.u32 %r9, "
    "%r9, "
    "%r2;\n"
    "and.b32 %r14, %r13, 1;\nsetp.ne.u32 %p4, %r14, 0;\n@%p4 add.u32 %r16, %r16, 1;\nsub.u32 %r12, %r12, 1;\n"
    "setp.ne.u32 %p5, %r12, 0;\n@%p5 bra INNER;\nbra OUTER;\n"
    "STORE:\nmul.wide.u32 %rd10, %r5, 4;\nadd.u64 %rd11, %rd3, %rd10;\nshl.b32 %r16, %r16, 24;\nxor.b32 %r9, "
    "%r9, "
    "%r16;\nxor.b32 %r9, %r9, %r10;\n"
    "st.global.u32 [%rd11], %r9;\nEND:\nret;\n}\n";

static uint32_t follow(const uint32_t *in, const uint32_t *next, uint32_t t, uint32_t tid, uint32_t factor) {
    uint32_t sum = 0, odd = 0, at = tid;
    for (uint32_t k = 0; k < (in[tid] & 3); k++)
        for (uint32_t n = in [(t + k) & 255] & 15; n > 0; n--) {
            sum = sum * factor + in[at] + tid;
            odd += in[at] & 1;
            at = next[at];
        }
    return sum ^ odd << 24 ^ at;
}

static void check(uint32_t threads, int opt_level, unsigned lanes) {
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    rig.opt_level = opt_level;
    kernel_from_ptx(&rig, &k, walk, "k", lanes, threads % lanes ? 1 : lanes);
    struct {
        uint64_t in, next, out;
        uint32_t factor;
    } params = {rig_alloc(&rig, 4 * WORDS), rig_alloc(&rig, 4 * WORDS), rig_alloc(&rig, 4 * WORDS * BLOCKS),
                5};
    uint32_t *in = rig_at(&rig, params.in), *next = rig_at(&rig, params.next),
             *out = rig_at(&rig, params.out);
    for (uint32_t i = 0; i < WORDS; i++) {
        in[i] = i * 2654435761u >> 9;
        next[i] = (i * 77 + 13) % WORDS;
    }
    ck_assert_uint_eq(rig_launch(&rig, &k, (uint32_t[3]){BLOCKS, 1, 1}, (uint32_t[3]){threads, 1, 1}, 0,
                                 &params, sizeof params),
                      TW_KERNEL_OK);
    for (uint32_t t = 0; t < BLOCKS * threads; t++) {
        uint32_t want = t % 7 == 3 ? 0 : follow(in, next, t, t % threads, params.factor);
        ck_assert_msg(out[t] == want, "%u threads, %u lanes: thread %u has %08x, not %08x", threads, lanes, t,
                      out[t], want);
    }
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("loops of look-ups give every lane its own result, whenever it leaves them") {
    for (int opt_level = 0; opt_level < 2; opt_level++) {
        check(96, opt_level, 32);
        check(50, opt_level, 32);
        check(48, opt_level, 16);
        check(1, opt_level, 8);
        check(64, opt_level, 64);
        check(256, opt_level, 256); // more lanes than a word has bits
    }
}

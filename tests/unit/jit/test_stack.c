// SPDX-License-Identifier: Apache-2.0
//
// alloca, stacksave and stackrestore: memory of sizes that differ between threads is each thread's own, is given back,
// and ends with a trap, not with somebody else's memory.

#include "harness/test.h"
#include "kernel_run.h"

#define HEAD                                                                                                 \
    ".func (.reg .u32 %s) sum(.reg .u32 %n) {\n" /* of 1 … n, by way of an array that holds them */          \
    ".reg .b64 %p, %q, %x; .reg .b32 %i; .reg .pred %c; mul.wide.u32 %x, %n, 4; alloca.u64 %p, %x, 64;\n"    \
    "mov.u32 %i, 0; mov.u32 %s, 0; mov.u64 %q, %p;\n"                                                        \
    "FILL: setp.ge.u32 %c, %i, %n; @%c bra FULL; add.u32 %i, %i, 1; st.local.u32 [%q], %i; add.u64 %q, %q, " \
    "4; bra FILL;\n"                                                                                         \
    "FULL: setp.eq.u32 %c, %i, 0; @%c bra DONE; sub.u32 %i, %i, 1; sub.u64 %q, %q, 4; ld.local.u32 %n, "     \
    "[%q];\n"                                                                                                \
    "add.u32 %s, %s, %n; bra FULL;\nDONE: ret; }\n"

enum { THREADS = 70 };

// Runs k(out) in one block; the status.
static uint32_t run_with(const char *functions, const char *body, uint32_t *ret_words) {
    char *ptx = NULL;
    struct rig rig;
    struct kernel kernel;
    ck_assert_int_gt(
        asprintf(&ptx,
                 ".version 7.8\n.target sm_80\n.address_size 64\n%s.entry k(.param .u64 out) {\n.reg .b64 "
                 "%%o, %%x<9>; .reg .b32 %%t, %%r<9>; .reg .pred "
                 "%%p<4>; ld.param.u64 %%o, [out]; mov.u32 %%t, %%tid.x; mul.wide.u32 %%x0, %%t, 4; "
                 "add.u64 %%o, %%o, %%x0;\n%s\nst.global.u32 [%%o], %%r0; ret; }\n",
                 functions, body),
        0);
    rig_init(&rig);
    uint64_t out = rig_alloc(&rig, 4 * THREADS);
    kernel_from_ptx(&rig, &kernel, ptx, "k", 32, 1);
    uint32_t status =
        rig_launch(&rig, &kernel, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, &out, sizeof out);
    memcpy(ret_words, rig_at(&rig, out), 4 * THREADS);
    kernel_done(&kernel);
    rig_done(&rig);
    free(ptx);
    return status;
}

static uint32_t run(const char *body, uint32_t *ret_words) {
    return run_with(HEAD, body, ret_words);
}

TW_TEST("arrays of different sizes are each thread's own and end with their function") {
    uint32_t words[THREADS];
    // Twenty calls of up to 69 words each, 64-aligned, would not fit without being given back.
    ck_assert_uint_eq(run("mov.u32 %r0, 0; mov.u32 %r1, 0;\n"
                          "NEXT: call (%r2), sum, (%t); add.u32 %r0, %r0, %r2; add.u32 %r1, %r1, 1;\n"
                          "setp.lt.u32 %p1, %r1, 90; @%p1 bra NEXT;",
                          words),
                      TW_KERNEL_OK);
    for (uint32_t i = 0; i < THREADS; i++)
        ck_assert_uint_eq(words[i], 90 * i * (i + 1) / 2);
}

TW_TEST("what was allocated since a save is given back by its restore, and alignments hold") {
    uint32_t words[THREADS];
    ck_assert_uint_eq(
        run("stacksave.u64 %x1; mov.u32 %r1, 0; mov.u32 %r0, 0;\n"
            "AGAIN: alloca.u64 %x2, 1001; alloca.u64 %x3, 1, 256; alloca.u32 %r3, %t;\n"
            "and.b64 %x4, %x2, 7; and.b64 %x5, %x3, 255; or.b64 %x4, %x4, %x5; cvt.u32.u64 %r2, %x4;\n"
            "or.b32 %r0, %r0, %r2; st.local.u8 [%x2+1000], %r1; st.local.u8 [%x3], %t; ld.local.u8 %r2, "
            "[%x3];\n"
            "sub.u32 %r2, %r2, %t; or.b32 %r0, %r0, %r2; @!%p2 stackrestore.u64 %x1;\n"
            "add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 100; @%p1 bra AGAIN;",
            words),
        TW_KERNEL_OK);
    for (uint32_t i = 0; i < THREADS; i++)
        ck_assert_uint_eq(words[i], 0);
}

TW_TEST("a thread that asks for more than there is traps") {
    uint32_t words[THREADS];
    ck_assert_uint_eq(run("mov.u32 %r0, 16385; alloca.u32 %r1, %r0;", words), TW_KERNEL_TRAP);
    ck_assert_uint_eq(run("mov.u32 %r0, 16384; alloca.u32 %r1, %r0;", words), TW_KERNEL_OK);
    ck_assert_uint_eq(run("mov.u64 %x1, -8; mov.u32 %r0, 0; alloca.u64 %x2, 8; alloca.u64 %x2, %x1;", words),
                      TW_KERNEL_TRAP);
    ck_assert_uint_eq(run("mov.u32 %r0, 0; setp.gt.u32 %p1, %t, 100; @%p1 alloca.u64 %x2, 20000;", words),
                      TW_KERNEL_OK);
    ck_assert_uint_eq(
        run("mov.u32 %r0, 0;\nMORE: alloca.u64 %x2, 512; add.u32 %r0, %r0, 1; setp.lt.u32 %p1, %r0, 33;\n"
            "@%p1 bra MORE;",
            words),
        TW_KERNEL_TRAP);
}

// each(n, …): n words of an array whose size the caller chooses; 1,000 × the first + all of them.
#define EACH                                                                                                 \
    ".func (.param .b32 result) each(.param .b32 n, .param .align 8 .b8 words[]) {\n"                        \
    ".reg .b32 %i, %s, %x; .reg .b64 %p; .reg .pred %c; ld.param.b32 %i, [n]; ld.param.b32 %s, [words];\n"   \
    "mul.lo.u32 %s, %s, 1000; mov.b64 %p, words;\n"                                                          \
    "NEXT: setp.eq.u32 %c, %i, 0; @%c bra DONE; ld.local.b32 %x, [%p]; add.u32 %s, %s, %x;\n"                \
    "add.u64 %p, %p, 4; sub.u32 %i, %i, 1; bra NEXT;\nDONE: st.param.b32 [result], %s; ret; }\n"

TW_TEST("a function's last parameter may be an array of any size") {
    uint32_t words[THREADS];
    ck_assert_uint_eq(
        run_with(
            EACH,
            "{ .param .b32 n; .param .align 8 .b8 v[16]; .param .b32 got; st.param.b32 [n], 4; st.param.b32 "
            "[v], %t; st.param.b32 [v+4], 10; st.param.b64 [v+8], 0x1e00000014; call (got), each, (n, v); "
            "ld.param.b32 %r0, [got]; }\n"
            "{ .param .b32 n; .param .align 8 .b8 v[4]; .param .b32 got; st.param.b32 [n], 1; st.param.b32 "
            "[v], 7; call (got), each, (n, v); ld.param.b32 %r1, [got]; }\nadd.u32 %r0, %r0, %r1;",
            words),
        TW_KERNEL_OK);
    for (uint32_t i = 0; i < THREADS; i++)
        ck_assert_uint_eq(words[i], 1000 * i + i + 60 + 7007);
}

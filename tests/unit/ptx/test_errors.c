// SPDX-License-Identifier: Apache-2.0
//
// What is refused, with which words and at which place.

#include "snippet.h"

static struct snippet s;

static void refused(const char *ptx, enum tw_code code, const char *message) {
    s.err = (struct tw_error){};
    ck_assert_msg(!snippet_parse(&s, ptx), "accepted: %s", ptx);
    tw_arena_done(&s.arena);
    ck_assert_msg(s.err.code == code, "%s gives %s: %s", ptx, tw_code_name(s.err.code), s.err.message);
    ck_assert_msg(strstr(s.err.message, message) != NULL, "%s\n gives: %s\n not: %s", ptx, s.err.message,
                  message);
}

// A statement at line 11 of the snippet's text.
static void refused_body(const char *body, const char *message) {
    s.err = (struct tw_error){};
    ck_assert_msg(!snippet_body(&s, body), "accepted: %s", body);
    tw_arena_done(&s.arena);
    ck_assert_msg(s.err.code == TW_ERR_CUDA_MALFORMED_PTX, "%s gives %s: %s", body, tw_code_name(s.err.code),
                  s.err.message);
    ck_assert_msg(strstr(s.err.message, message) != NULL, "%s\n gives: %s\n not: %s", body, s.err.message,
                  message);
}

#define HEAD      ".version 7.8\n.target sm_80\n.address_size 64\n"
#define MALFORMED TW_ERR_CUDA_MALFORMED_PTX
#define QUOTA     TW_ERR_CUDA_QUOTA

TW_TEST("texts that are no PTX say so") {
    refused("", MALFORMED, "line 1, column 1: the text is empty");
    refused("  // nothing\n", MALFORMED, "line 2, column 1: the text is empty");
    refused("hello", MALFORMED,
            "line 1, column 1: expected '.version' (PTX text begins with it), found 'hello'");
    refused(".target sm_80\n", MALFORMED, "expected '.version'");
    refused("\177ELF\2\1\1", MALFORMED, "ELF");
    refused(".version 7.8\n\x80", MALFORMED, "line 2, column 1: byte 0x80 is not PTX text");
    struct tw_arena arena;
    struct tw_kir_module *module = NULL;
    struct tw_error err = {};
    tw_arena_init(&arena, 1 << 20);
    ck_assert(!tw_ptx_parse(&arena, TW_STR(".version\n 7.\0 8"), &module, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "line 2, column 4: a NUL byte"));
    ck_assert_ptr_null(module);
    tw_arena_done(&arena);
}

TW_TEST("headers that cannot be served say which can") {
    refused(".version 1.4\n.target sm_13\n", MALFORMED, "line 1, column 10: .version 1.4 is not supported");
    refused(".version x\n", MALFORMED, "line 1, column 10: expected a version like 7.8, found 'x'");
    refused(".version 7.8\n.target gfx90a\n", MALFORMED, "line 2, column 9: target 'gfx90a' is not known");
    refused(".version 7.8\n.target sm_80\n.address_size 32\n", MALFORMED,
            "line 3, column 15: .address_size 32");
    refused(".version 7.8\n", MALFORMED, "no .target");
}

TW_TEST("instructions that are not offered are named") {
    refused_body("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 %r1;",
                 "line 11, column 1: instruction 'wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16' is not "
                 "supported: "
                 "it needs sm_90a");
    refused_body("  tex.2d.v4.f32.f32 {%f1}, [t];", "line 11, column 3: instruction 'tex.2d.v4.f32.f32'");
    refused_body("mma.sync.aligned.m8n8k4.row.col.f32.bf16.bf16.f32 %r1;",
                 "line 11, column 1: instruction 'mma.sync.aligned.m8n8k4");
    refused_body("setmaxnreg.inc.sync.aligned.u32 64;", "instruction 'setmaxnreg.inc.sync.aligned.u32'");
    refused_body("cp.async.bulk.tensor.1d [%rd1];",
                 "modifier '.bulk' of 'cp' is not supported: it needs sm_90; compile for sm_80");
    refused_body("frob.u32 %r1;", "line 11, column 1: unknown instruction 'frob.u32'");
    refused_body("barrier.cluster.arrive;",
                 "modifier '.cluster' of 'barrier' is not supported: it needs sm_90");
    refused_body("min.s16x2 %r1, %r2, %r3;", "modifier '.s16x2' of 'min' is not supported: it needs sm_90");
    refused_body("fma.rn.oob.f16 %h1, %h1, %h1, %h1;",
                 "modifier '.oob' of 'fma' is not supported: it needs sm_90");
    refused_body("mbarrier.expect_tx.relaxed.cta.shared.b64 [%rd1], 4;",
                 "modifier '.expect_tx' of 'mbarrier' is not");
    refused_body("st.async.weak.shared::cluster.b32 [%rd1], %r1, [%rd2];",
                 "modifier '.async' of 'st' is not supported");
    refused_body("mul.cluster.s32 %r1, %r1, %r1;", "modifier '.cluster' is not possible on 'mul'");
    refused_body("atom.global.and.f32 %f1, [%rd1], %f2;", "does not take the type .f32");
    refused_body("add.rn.s32 %r1, %r2, %r3;", "line 11, column 4: modifier '.rn' is not possible on 'add'");
    refused_body("add.f32.f32 %f1, %f2, %f3;", "line 11, column 8: 'add' has too many types");
    refused_body("popc.u32 %r1, %r2;", "line 11, column 5: type .u32 is not possible for 'popc'");
    refused_body("mul.s32 %r1, %r2, %r3;", "'mul.s32' lacks a modifier");
    refused_body("div.f32 %f1, %f2, %f3;", "'div.f32' lacks a modifier");
    refused_body("cvt.s32.f32 %r1, %f1;", "'cvt.s32.f32' needs .rni, .rzi, .rmi or .rpi");
    refused_body("cvt.s4.s32 %r1, %r2;", "'cvt.s4.s32': .s4, .u4, .s2 and .u2 are types of cvt.pack alone");
    refused_body("cvt.pack.sat.u4.s32 %r1, %r2, %r3;", "'cvt.pack.sat.u4.s32' takes 3 sources");
    refused_body("setp.lt.b32 %p1, %r1, %r2;", "compares with .eq and .ne only");
    refused_body("mul.wide.u64 %rd1, %rd2, %rd3;", "'.wide' is for 16 and 32 bits");
    refused_body("add.sat.u32 %r1, %r2, %r3;", "'.sat' is for .s32 only");
}

TW_TEST("barriers have numbers up to 15 and take whole warps") {
    refused_body("bar.sync 16;",
                 "line 11, column 10: 'bar.sync': there is no barrier 16: their numbers go from 0 to 15");
    refused_body("bar.sync -1;", "there is no barrier 4294967295");
    refused_body("barrier.sync 17, 64;", "line 11, column 14: 'barrier.sync': there is no barrier 17");
    refused_body("bar.arrive 16, 64;", "there is no barrier 16");
    refused_body("bar.red.popc.u32 %r1, 99, %p1;",
                 "line 11, column 23: 'bar.red.popc.u32': there is no barrier 99");
    refused_body("bar.sync 1, 33;",
                 "line 11, column 13: 'bar.sync': a barrier of 33 threads is not possible: whole "
                 "warps come to it, so it takes a multiple of 32");
    refused_body("bar.sync %r1, 16;", "a barrier of 16 threads is not possible");
    refused_body("bar.red.and.pred %p1, 0, 31, %p2;", "a barrier of 31 threads is not possible");
    refused_body("bar.arrive 1, 0;",
                 "a barrier of 0 threads is not possible: whole warps come to it, so it takes a "
                 "multiple of 32 above 0");
}

TW_TEST("operands that do not fit are named with their place") {
    refused_body("add.s32 %r1, %r2;", "line 11, column 17: '");
    refused_body("add.s32 %r1, %r2, %r3, %r4;", "line 11, column 22: expected ';', found ','");
    refused_body("add.s64 %rd1, %rd2, %r3;",
                 "line 11, column 21: '%r3' has 32 bits, type .s64 of 'add.s64' needs 64");
    refused_body("add.s32 %rd1, %r2, %r3;", "line 11, column 9: '%rd1' has 64 bits");
    refused_body("mov.b32 %r9, 1;", "line 11, column 9: '%r9' is not declared");
    refused_body("mov.b32 %x, 1;", "'%x' is not declared");
    refused_body("mov.b32 1, %r1;", "expected a register for the result");
    refused_body("mov.b32 %r1, _;", "'_' cannot be a source");
    refused_body("add.f32 %f1, %f2, 1;",
                 "line 11, column 19: expected a float literal for type .f32, found an integer");
    refused_body("add.s32 %r1, %r2, 0f3F800000;", "a float literal cannot stand for type .s32");
    refused_body("mov.b32 %r1, 0f3F80;", "0f needs 8 hexadecimal digits, found 4");
    refused_body("mov.b32 %r1, 0x;", "is not a number of base 16");
    refused_body("mov.b32 %r1, 09;", "is not a number of base 8");
    refused_body("mov.b64 %rd1, 99999999999999999999;", "does not fit 64 bits");
    refused_body("mov.b32 %r1, 1 / 0;", "divides by zero");
    refused_body("ld.global.v2.f32 %f1, [%rd1];", "moves 2 elements, found 1");
    refused_body("ld.global.f32 %f1, %rd1;", "expected '[', found '%rd1'");
    refused_body("ld.global.f32 %f1, [%h1];", "an address has 32 or 64 bits, '%h1' has 16");
    refused_body("ld.param.u64 %rd1, [n];", "reads bytes 8 to 16 of 12 parameter bytes");
    refused_body("st.param.u32 [n], %r1;", "cannot be written");
    refused_body("@%r1 bra L; L: ret;", "expected a predicate register as guard, found '%r1'");
    refused_body("bra NOWHERE;", "line 11, column 5: label 'NOWHERE' is not defined in this function");
    refused_body("brx.idx %r1, L; L: ret;", "expected the label of a .branchtargets list");
    refused_body("L: L: ret;", "line 11, column 4: 'L' is declared twice in this scope");
    refused_body(".reg .b32 %z; .reg .b32 %z;", "'%z' is declared twice");
    refused_body("call nothing;", "function 'nothing' is not declared");
    refused_body("call %rd1, ();", "expected ','");
    refused_body("call (%r1), %rd1, (%r2), nothing;", "the label of a .callprototype");
    refused_body("call 5, ();", "'5' is neither a function nor a register that points to one");
    refused_body("\"text", "line 11, column 1: the string that begins here has no closing quote");
    refused_body("/* open", "line 11, column 1: the comment that begins here has no end");
    refused_body("{ ret;", "expected '}' at the end of the function, found the end of the text");
    refused_body("add.s32 %r1, %r2, %r3", "expected ';', found '}'");
    refused_body("mov.u32 %r1, %clusterid.x;",
                 "line 11, column 14: '%clusterid.x' is not supported: it needs sm_90");
    refused_body("mov.u32 %r1, %envreg32;", "'%envreg32' is not declared");
    refused_body("mov.u32 %r1, %pm8;", "'%pm8' is not declared");
}

TW_TEST("arrays of no size are named where they cannot be") {
    refused(HEAD ".func f (.param .align 8 .b8 a[], .param .b32 b) { ret; }\n", MALFORMED,
            "line 4, column 30: array 'a' has no size");
    refused(HEAD ".entry k(.param .align 8 .b8 a[]) { ret; }\n", MALFORMED, "array 'a' has no size");
    refused(HEAD ".func (.param .align 8 .b8 a[]) f () { ret; }\n", MALFORMED, "array 'a' has no size");
    refused_body("{ .param .align 8 .b8 a[]; }", "array 'a' has no size");
}

TW_TEST("kernel parameters that point to shared memory are named") {
    refused(HEAD
            ".entry k(.param .u64 .ptr .global .align 4 a,\n .param .u64 .ptr .shared .align 4 b) { ret; }\n",
            MALFORMED, "line 5, column 36: parameter 'b' points to shared memory");
    refused(HEAD ".entry k(.param .ptr .shared .u64 b) { ret; }\n", MALFORMED,
            "parameter 'b' points to shared memory");
}

TW_TEST("functions that are declared and called but never defined are named") {
    refused(HEAD ".extern .func f();\n.entry k() { call f; ret; }", MALFORMED,
            "calls f, which is only declared");
    refused(
        HEAD
        ".extern .func (.param .b64 p) malloc(.param .b64 n);\n.entry k() { .param .b64 a; .param .b64 b; "
        "call (a), malloc, (b); ret; }",
        MALFORMED, "malloc inside kernels is not offered");
}

TW_TEST("limits are told with their numbers") {
    refused(HEAD ".entry k() { .reg .b32 %r<300000>; ret; }", QUOTA, "the limit is 200000 registers");
    refused(HEAD ".shared .b8 big[1000000];", QUOTA, "has 1000000 bytes, the limit of its space is 232448");
    refused(HEAD ".global .b8 big[67108865];", MALFORMED,
            "an array size is 67108865; 0 to 67108864 is possible");
    refused(HEAD ".entry k(.param .b8 p[5000], .param .b8 q[5000]) { ret; }", QUOTA,
            "more than 8192 bytes of parameters");
    refused(HEAD ".global .align 3 .b8 x;", MALFORMED, "alignment 3 is no power of two");
    refused(HEAD ".global .b8 x[2] = {1, 2, 3};", MALFORMED, "more than the 2 bytes of x");
    char *deep = malloc(10'000);
    ck_assert_ptr_nonnull(deep);
    size_t at = (size_t)snprintf(deep, 10'000, HEAD ".entry k() { .reg .b32 %%r; mov.b32 %%r, ");
    memset(deep + at, '(', 5'000);
    deep[at + 5'000] = 0;
    refused(deep, MALFORMED, "nests deeper than 64");
    at = (size_t)snprintf(deep, 10'000, HEAD ".entry k() ");
    memset(deep + at, '{', 5'000);
    deep[at + 5'000] = 0;
    refused(deep, QUOTA, "nest deeper than 64");
    free(deep);
    char *large = malloc((8 << 20) + 2);
    ck_assert_ptr_nonnull(large);
    memset(large, ' ', (8 << 20) + 1);
    large[(8 << 20) + 1] = 0;
    refused(large, QUOTA, "8388609 bytes of PTX, the limit is 8388608");
    free(large);
}

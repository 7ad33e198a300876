// SPDX-License-Identifier: Apache-2.0
//
// Broken IR is refused with the rule it breaks; the reader of printed IR refuses what it cannot read.

#include "harness/test.h"
#include "kernel/kernel.h"

static void refused(const char *text, const char *message) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err = {};
    tw_arena_init(&arena, 16 << 20);
    ck_assert_msg(!tw_kir_parse(&arena, tw_str_from(text), &module, &err), "accepted: %s", text);
    ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
    ck_assert_msg(strstr(err.message, message) != NULL, "%s\n gives: %s", text, err.message);
    tw_arena_done(&arena);
}

#define K(body) "entry k params 8\nregs b32 a b\nregs b64 p\nregs b1 t\nblock x\n" body "end\n"

TW_TEST("structure: blocks end in their only terminator") {
    refused(K("  a = mov.b32 1\n"), "ends its block, but is no terminator");
    refused(K("  ret\n  ret\n"), "ends a block before its end");
    refused(K("  @t ret\n"), "carries a guard; terminators have none");
    refused("entry k params 0\nblock x\nend\n", "block x is empty");
    refused("entry k params 0\nend\n", "has no body");
    refused(K("  br -> x, x\n"), "has 2 branch targets");
}

TW_TEST("widths: every register is as wide as it is read or written") {
    refused(K("  a = add.s64 p, p\n  ret\n"), "needs 64 bits as its result, register a has 32");
    refused(K("  a = add.s32 a, p\n  ret\n"), "needs 32 bits as its source, register p has 64");
    refused(K("  p = shl.b64 p, p\n  ret\n"), "needs 32 bits as its source, register p has 64");
    refused(K("  @a p = mov.b64 1\n  ret\n"), "needs 1 bits as its guard, register a has 32");
    refused(K("  a = ld.b32 [b]\n  ret\n"), "needs 64 bits as its source");
    refused(K("  a = select.b32 a, b, b\n  ret\n"), "needs 1 bits as its source");
    refused(K("  a = mov.b64 1\n  ret\n"), "function k, block x, instruction 0 'mov'");
}

#define SPARSE(selector, indices)                                                                            \
    K("  a, b, a, b = mma.f32.f16.m16n8k32.sparse " selector " a, a, a, a, b, b, b, b, a, a, a, a" indices   \
      "\n  ret\n")

TW_TEST("counts, types and ranges") {
    refused(K("  a = add.s32 a\n  ret\n"), "has 1 sources, it takes 2");
    refused(K("  a, b = mov.b32 a\n  ret\n"), "has 2 results, it takes 1");
    refused(K("  a, b = ld.b32 [p]\n  ret\n"), "has 2 results for 1 elements");
    refused(K("  st.b32.v2 [p], a\n  ret\n"), "has 2 sources for an address and 2 elements");
    refused(K("  p = ldparam.b64 +4\n  ret\n"), "reads bytes 4 to 12 of 8 parameter bytes");
    refused(K("  p = ldparam.b64 -8\n  ret\n"), "reads bytes -8 to 0");
    refused(K("  a = mulhi.f32 a, b\n  ret\n"), "does not take the type f32");
    refused(K("  a = fma.s32 a, b, a\n  ret\n"), "does not take the type s32");
    refused(K("  a = atom.b32.cas [p], a\n  ret\n"), "has 2 sources, which its operation does not take");
    refused(SPARSE("+2", ", b"), "selects indices 2 of 2");
    refused(SPARSE("-1", ", b"), "selects indices -1 of 2");
    refused(SPARSE("+1", ""), "has 4 results and 12 sources, it takes 4 and 13");
    refused(K("  a = mma.s32.b1.m16n8k256.sparse a\n  ret\n"), "is a matrix product that does not exist");
    refused("variable v shared align 3 size 4\n", "has alignment 3; a power of two");
    refused("variable v global align 8 size 8 address 0 v +0\n", "has an address outside itself");
}

TW_TEST("the reader says what it does not know, with the line") {
    refused(K("  a = frob.b32 1\n  ret\n"), "line 6 of the IR: unknown operation 'frob.b32'");
    refused(K("  a = mov.b32.frob 1\n  ret\n"), "unknown attribute '.frob'");
    refused(K("  a = mov.b32 c\n  ret\n"), "there is no register 'c'");
    refused(K("  br -> y\n"), "there is no block 'y'");
    refused("entry k params 0\nregs b32 a a\n", "'a' is there twice");
    refused("entry k params 0\nblock x\n  ret\n", "has no 'end'");
    refused("entry k params 8\nparam  u64 offset 0 size 8 align 8\nblock x\n  ret\nend\n", "no type");
    refused("entry k params 8\nparam \nblock x\n  ret\nend\n", "a parameter without a name");
    refused("  ret\n", "an instruction outside any block");
    refused("variable v global align 1 size 2 init 0\n", "are not 2 in hex");
    refused("nonsense\n", "unexpected 'nonsense'");
}

TW_TEST("calls agree with what they call") {
    refused(
        "function f params 0\nregs b32 x\nparam x b32 offset 0 size 4 align 4 in x\nblock b\n  ret\nend\n" K(
            "  call @f\n  ret\n"),
        "passes 0 and takes 0 values, f has 1 parameters");
    refused(
        "function f params 0\nregs b32 x\nparam x b32 offset 0 size 4 align 4 in x\nblock b\n  ret\nend\n" K(
            "  call @f p\n  ret\n"),
        "needs 32 bits as its argument, register p has 64");
    refused("declare f params 0\nend\n" K("  call @f\n  ret\n"), "calls f, which is only declared");
    refused("function f params 0\nblock b\n  ret\nend\n" K("  @t call @f\n  ret\n"), "carries a guard");
}

TW_TEST("every attribute survives printing and reading") {
    static const char text[] =
        "module ptx 83 sm 90\n"
        "variable v global align 8 size 8 init 0102030405060708\n"
        "variable s shared align 16 size 0\n"
        "variable w const align 8 size 16 init 00000000000000000000000000000000 address 8 v -4\n"
        "declare vprintf params 0\nend\n"
        "entry k params 16 required 8 4 1 max 256 1 1\n"
        "regs b32 a b\nregs b64 p q\nregs b1 t u\nregs b16 h\nregs b8 c\nregs b128 z\n"
        "param p u64 offset 0 size 8 align 8 pointer\nparam n f32 offset 8 size 4 align 4\n"
        "block x\n"
        "  a = sreg.u32 ctaid.y  ; 3:4\n  p = addr.u64 @s +16\n  p, t = addc.u64 p, 0x123456789, u\n"
        "  @!t a, t = shfl.b32.bfly a, 1, 31, 0xffffffff\n  t, u = setp.f32.leu.with_xor.with_not.ftz a, b, "
        "t\n"
        "  a = cvt.s32.f32.rzi.ftz.sat b\n  h = cvt.f16.f32.rn.relu a\n  a = lop3.b32 +202 a, b, 3\n"
        "  a = ld.b32.global.acquire.sys [p-8]\n  ret\nend\n";
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err = {};
    struct tw_buf out;
    tw_arena_init(&arena, 16 << 20);
    tw_buf_init(&out, 1 << 20);
    tw_assert_ok(tw_kir_parse(&arena, tw_str_from(text), &module, &err), &err);
    tw_assert_ok(tw_kir_print(module, &out, &err), &err);
    ck_assert_str_eq((const char *)out.data, text);
    tw_buf_done(&out);
    tw_arena_done(&arena);
}

TW_TEST("a NUL does not cut a name short") {
    static const char text[] = "entry k params 0\nregs b32 a\0 b\nblock x\n  ret\nend\n";
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err = {};
    tw_arena_init(&arena, 16 << 20);
    ck_assert(!tw_kir_parse(&arena, tw_str_of(text, sizeof text - 1), &module, &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
    tw_arena_done(&arena);
}

// SPDX-License-Identifier: Apache-2.0
//
// What is refused takes its function and that one's callers with it, and nothing else.

#include "snippet.h"

#define HEAD ".version 7.8\n.target sm_80\n.address_size 64\n"

static struct tw_arena arena;
static struct tw_kir_module *module;

static void parse(const char *text) {
    struct tw_error err = {};
    tw_arena_init(&arena, 64 << 20);
    tw_assert_ok(tw_ptx_parse(&arena, tw_str_from(text), &module, &err), &err);
}

static void refused(const char *name, const char *reason) {
    const struct tw_kir_function *function = tw_kir_function_find(module, name);
    ck_assert_ptr_nonnull(function);
    ck_assert_int_eq(function->block_count == 0, reason != NULL);
    ck_assert_msg(!reason == !function->refusal, "%s: %s", name, function->refusal);
    ck_assert_msg(!reason || strstr(function->refusal, reason), "%s: %s", name, function->refusal);
}

TW_TEST("a refused instruction refuses its kernel and no other") {
    parse(HEAD
          ".entry a() { ret; }\n"
          ".entry b() { .reg .b32 %r<4>; .reg .pred %p; mov.u32 %r1, 1;\n"
          " @%p wgmma.fence.sync.aligned; tex.2d.v4.s32.s32 {%r1, %r2, %r3, %r3}, [nowhere, {%r1, %r2}];\n"
          "LATER: @%p bra LATER; { frobnicate.x {1, {2}}; } ret; }\n"
          ".entry c() { .reg .b32 %r; mov.u32 %r, 2; ret; }\n");
    refused("a", NULL);
    refused("b", "line 6, column 6: instruction 'wgmma.fence.sync.aligned' is not supported");
    refused("c", NULL);
    tw_arena_done(&arena);
}

TW_TEST("how textures are bound refuses nothing, a kernel that uses one is refused") {
    parse(".version 7.8\n.target sm_80, texmode_independent\n.global .texref t;\n"
          ".entry a() { .reg .f32 %f<6>; tex.1d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [t, {%f5}]; ret; }\n"
          ".entry b() { ret; }\n");
    refused("a", "line 4, column 31: instruction 'tex.1d.v4.f32.f32' is not supported");
    refused("b", NULL);
    tw_arena_done(&arena);
}

TW_TEST("callers of a refused function are refused, through any number of calls") {
    parse(HEAD ".func around(); .func second(); .func third(); .extern .func outside();\n"
               ".func first() { call second; ret; }\n"
               ".func second() { call around; call third; ret; }\n"
               ".func third() { frobnicate.u32 5; ret; }\n"
               ".func around() { call around; call first; ret; }\n"
               ".func apart() { call apart; ret; }\n"
               ".entry a() { call around; ret; }\n"
               ".entry b() { call apart; ret; }\n"
               ".entry c() { call outside; ret; }\n");
    refused("a", "line 7, column 17: unknown instruction 'frobnicate.u32'");
    refused("first", "line 7, column 17");
    refused("apart", NULL);
    refused("b", NULL);
    refused("c", "line 12, column 14: calls outside, which is only declared");
    tw_arena_done(&arena);
}

TW_TEST("a refused function is no target of calls through pointers") {
    parse(
        HEAD
        ".func good() { ret; }\n.func bad() { frobnicate; ret; }\n"
        ".entry k() { .reg .b64 %p, %q; mov.u64 %p, good; mov.u64 %q, bad;\n"
        "P: .callprototype _ (); call %p, (), P; call %q, (), P; ret; }\n"
        ".entry l() { .reg .b64 %p; mov.u64 %p, bad; P: .callprototype _ (); call %p, (), P; sust; ret; }\n");
    refused("k", NULL);
    refused("bad", "unknown instruction 'frobnicate'");
    refused("l", "instruction 'sust' is not supported: it needs surfaces");
    tw_arena_done(&arena);
}

TW_TEST("textures may be declared, and refuse who uses them") {
    parse(HEAD ".global .texref t;\n.global .samplerref s = { addr_mode_0 = wrap, filter_mode = nearest };\n"
               ".tex .u32 old; .global .surfref many[4];\n"
               ".entry a(.param .texref given) { ret; }\n"
               ".entry b() { .reg .b64 %r; mov.u64 %r, t; ret; }\n"
               ".entry c() { ret; }\n");
    refused("a", "line 7, column 17: a parameter '.texref' is not supported");
    refused("b", "line 8, column 40: 't' is not supported: there is no texture unit");
    refused("c", NULL);
    tw_arena_done(&arena);
}

TW_TEST("directives and parameters that are not offered refuse their kernel") {
    parse(HEAD ".entry a() .reqnctapercluster 2, 1, 1 .maxntid 32 { ret; }\n"
               ".entry b(.param .u64 .ptr .shared .align 4 x, .param .u32 n) { .reg .b32 %r; ld.param.u32 "
               "%r, [n]; ret; }\n"
               ".entry c() .explicitcluster { ret; }\n"
               ".entry d() .maxntid 32 { ret; }\n");
    refused("a", "line 4, column 12: directive '.reqnctapercluster' is not supported");
    refused("b", "line 5, column 44: parameter 'x' points to shared memory");
    refused("c", "directive '.explicitcluster'");
    refused("d", NULL);
    tw_arena_done(&arena);
}

TW_TEST("refusals are printed and read back, and such a kernel is not compiled") {
    struct tw_error err = {};
    struct tw_buf first, second;
    struct tw_kir_module *again;
    parse(HEAD ".func (.reg .b32 %x) f(.reg .b32 %y) { frobnicate; ret; }\n"
               ".entry k(.param .u32 n) .maxntid 64, 1, 1 { .reg .b32 %r; call (%r), f, (%r); ret; }\n");
    tw_buf_init(&first, 1 << 20);
    tw_buf_init(&second, 1 << 20);
    tw_assert_ok(tw_kir_print(module, &first, &err), &err);
    tw_assert_ok(tw_kir_parse(&arena, tw_buf_str(&first), &again, &err), &err);
    tw_assert_ok(tw_kir_verify(again, &err), &err);
    tw_assert_ok(tw_kir_print(again, &second, &err), &err);
    ck_assert(tw_str_equal(tw_buf_str(&first), tw_buf_str(&second)));
    module = again;
    refused("k", "line 4, column 40: unknown instruction 'frobnicate'");
    ck_assert(tw_kir_function_find(module, "k")->is_entry);
    ck_assert(!tw_kir_inline(module, tw_kir_function_find(module, "k"), &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
    ck_assert_ptr_nonnull(strstr(err.message, "line 4, column 40: unknown instruction 'frobnicate'"));
    tw_buf_done(&first);
    tw_buf_done(&second);
    tw_arena_done(&arena);
}

TW_TEST("a reason is one line, however the instruction is written") {
    parse(HEAD ".entry k() { frob\n.much/*\n*/.u32 5; ret; }\n");
    refused("k", "unknown instruction 'frob .much/* */.u32'");
    tw_arena_done(&arena);
}

TW_TEST("statements that do not end are errors of the whole text, whatever they name") {
    static const char *const texts[] = {"frobnicate.u32 5 }", "frobnicate {1, 2;", "tex.2d \x01;",
                                        "frobnicate"};
    for (size_t i = 0; i < TW_COUNT(texts); i++) {
        char text[200];
        struct tw_error err = {};
        snprintf(text, sizeof text, HEAD ".entry k() { %s", texts[i]);
        tw_arena_init(&arena, 64 << 20);
        ck_assert_msg(!tw_ptx_parse(&arena, tw_str_from(text), &module, &err), "%s", text);
        ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
        tw_arena_done(&arena);
    }
}

TW_TEST("registers that only a driver fills are zero") {
    static struct snippet s;
    ck_assert(snippet_body(
        &s, "mov.u32 %r1, %envreg0; mov.b32 %r1, %envreg31; mov.u32 %r1, %pm7; mov.u64 %rd1, %pm0_64;\n"
            "mov.b32 %r1, %reserved_smem_offset_begin; mov.u64 %rd1, %current_graph_exec;"));
    ck_assert_str_eq(snippet_ir(&s), "%r1 = mov.u32 0\n%r1 = mov.b32 0\n%r1 = mov.u32 0\n%rd1 = mov.u64 0\n"
                                     "%r1 = mov.b32 0\n%rd1 = mov.u64 0");
    tw_arena_done(&s.arena);
}

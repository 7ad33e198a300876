// SPDX-License-Identifier: Apache-2.0
//
// Module scope: variables with initialisers, parameters, directives that are skipped, device functions with
// aggregates.

#include "snippet.h"

#define HEAD ".version 7.8\n.target sm_80, debug\n.address_size 64\n"

static struct snippet s;

static const struct tw_kir_variable *variable(const char *name) {
    for (uint32_t i = 0; i < s.module->variable_count; i++)
        if (strcmp(s.module->variables[i].name, name) == 0)
            return &s.module->variables[i];
    ck_abort_msg("no variable %s", name);
}

TW_TEST("initialisers become bytes, addresses become relocations") {
    tw_assert_ok(snippet_parse(&s, HEAD ".global .align 8 .b8 bytes[6] = {1, 2, 0xff};\n"
                                        ".visible .const .s16 words[] = {-2, 3};\n"
                                        ".global .f32 pair[2][2] = {{1.0, 0f40000000}, {}};\n"
                                        ".global .u64 where[3] = {bytes+4, 7, generic(words)};\n"
                                        ".global .v2 .b32 vec = {5, 6};\n"
                                        ".weak .global .b32 one = 1, two;\n"),
                 &s.err);
    const struct tw_kir_variable *v = variable("bytes");
    ck_assert_uint_eq(v->align, 8);
    ck_assert_mem_eq(v->init, ((uint8_t[]){1, 2, 255, 0, 0, 0}), 6);
    v = variable("words");
    ck_assert_uint_eq(v->size, 4);
    ck_assert_int_eq(v->space, TW_KIR_CONST);
    ck_assert_uint_eq(v->align, 2);
    ck_assert_mem_eq(v->init, ((uint8_t[]){0xfe, 0xff, 3, 0}), 4);
    ck_assert_mem_eq(variable("pair")->init, ((float[]){1, 2, 0, 0}), 16);
    v = variable("where");
    ck_assert_uint_eq(v->reloc_count, 2);
    ck_assert_uint_eq(v->relocs[0].at, 0);
    ck_assert_int_eq(v->relocs[0].addend, 4);
    ck_assert_str_eq(s.module->variables[v->relocs[0].variable].name, "bytes");
    ck_assert_uint_eq(v->relocs[1].at, 16);
    ck_assert_mem_eq(v->init, ((uint64_t[]){0, 7, 0}), 24);
    ck_assert_uint_eq(variable("vec")->align, 8);
    ck_assert_uint_eq(variable("two")->size, 4);
    ck_assert_ptr_null(variable("two")->init);
    tw_arena_done(&s.arena);
}

TW_TEST("addresses stand byte by byte where structures have no alignment") {
    tw_assert_ok(
        snippet_parse(&s,
                      HEAD ".global .b32 one;\n.global .align 1 .b8 packed[18] = {7, 0xFF(one), 0xFF00(one), "
                           "0xFF0000(one), 0xFF000000(one), 0xFF00000000(one), 0xFF0000000000(one), "
                           "0xFF000000000000(one), 0xFF00000000000000(one), 0xFF(generic(one)+4), "
                           "0xFF00(generic(one)+4), 0xFF0000(generic(one)+4), 0xFF000000(generic(one)+4), "
                           "0xFF00000000(generic(one)+4), 0xFF0000000000(generic(one)+4), "
                           "0xFF000000000000(generic(one)+4), 0xFF00000000000000(generic(one)+4), 9};\n"),
        &s.err);
    const struct tw_kir_variable *v = variable("packed");
    ck_assert_uint_eq(v->reloc_count, 2);
    ck_assert_uint_eq(v->relocs[0].at, 1);
    ck_assert_int_eq(v->relocs[0].addend, 0);
    ck_assert_uint_eq(v->relocs[1].at, 9);
    ck_assert_int_eq(v->relocs[1].addend, 4);
    ck_assert_str_eq(s.module->variables[v->relocs[1].variable].name, "one");
    ck_assert_mem_eq(v->init, ((uint8_t[18]){7, [17] = 9}), 18);
    tw_arena_done(&s.arena);
    static const char *const wrong[] = {
        "{0xFF(one), 0xFF00(one)}",      "{0xFF00(one)}", "{0xFF(one), 0xFF(one)}",
        "{0xFF(one), 0xFF00(one+1), 0}", "{0xFF(none)}",
    };
    for (size_t i = 0; i < TW_COUNT(wrong); i++) {
        char text[256];
        snprintf(text, sizeof text, HEAD ".global .b32 one;\n.global .b8 x[16] = %s;\n", wrong[i]);
        ck_assert_msg(!snippet_parse(&s, text), "%s", wrong[i]);
        ck_assert_int_eq(s.err.code, TW_ERR_CUDA_MALFORMED_PTX);
        tw_arena_done(&s.arena);
    }
}

TW_TEST("kernel parameters lie at aligned offsets, arrays are bytes, pointers are marked") {
    tw_assert_ok(snippet_parse(&s, HEAD ".entry k(.param .u8 a, .param .align 16 .b8 b[20], .param .f64 c,\n"
                                        ".param .u64 .ptr .global .align 4 d, .param .v2 .f32 e)\n"
                                        ".maxntid 128, 2\n.reqntid 64\n.minnctapersm 2\n{ ret; }\n"),
                 &s.err);
    const struct tw_kir_function *k = tw_kir_function_find(s.module, "k");
    static const uint32_t offsets[] = {0, 16, 40, 48, 56}, sizes[] = {1, 20, 8, 8, 8};
    ck_assert_uint_eq(k->param_count, 5);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_eq(k->params[i].offset, offsets[i]);
        ck_assert_uint_eq(k->params[i].size, sizes[i]);
        ck_assert_int_eq(k->params[i].is_pointer, i == 3);
    }
    ck_assert_uint_eq(k->param_bytes, 64);
    ck_assert_int_eq(k->params[1].type, TW_KIR_B8);
    ck_assert_uint_eq(k->max_block[0], 128);
    ck_assert_uint_eq(k->max_block[1], 2);
    ck_assert_uint_eq(k->max_block[2], 1);
    ck_assert_uint_eq(k->required_block[0], 64);
    ck_assert_uint_eq(s.module->sm, 80);
    ck_assert_uint_eq(s.module->ptx_version, 78);
    tw_arena_done(&s.arena);
}

TW_TEST("debug directives are skipped") {
    tw_assert_ok(
        snippet_parse(
            &s,
            HEAD ".file 1 \"a b.cu\"\n.pragma \"nounroll\";\n"
                 ".visible .entry k()\n.pragma \"x\";\n{\n.loc 1 2 3, function_name $L, inlined_at 1 2 3\n"
                 ".pragma \"nounroll\";\n/* a\n comment */ ret; // done\n}\n"
                 ".section .debug_str { $L: .b8 1, 2\n .b32 .debug_str+4 }\n@@DWARF .byte 1\n"),
        &s.err);
    ck_assert_uint_eq(s.module->function_count, 1);
    tw_arena_done(&s.arena);
}

TW_TEST("an extern variable may be declared and not used, or defined later") {
    tw_assert_ok(snippet_parse(&s, HEAD
                               ".extern .global .b32 x;\n.extern .global .b32 unused;\n.global .b32 x = 3;\n"
                               ".entry k() { .reg .b64 %r; mov.b64 %r, x; ret; }"),
                 &s.err);
    ck_assert_uint_eq(s.module->variable_count, 1);
    tw_arena_done(&s.arena);
}

TW_TEST("inlining a call of an aggregate keeps values: parameter, frame and result are memory") {
    tw_assert_ok(
        snippet_parse(
            &s,
            HEAD ".func (.param .align 8 .b8 r[12]) f(.param .align 8 .b8 x[12], .param .b32 y) {\n"
                 ".reg .b32 %r<4>; ld.param.b32 %r1, [x+8]; ld.param.b32 %r2, [y]; add.s32 %r3, %r1, %r2;\n"
                 "st.param.b32 [r+8], %r3; ret; }\n"
                 ".entry k(.param .u64 out) { .reg .b32 %r<4>; .reg .b64 %rd<3>;\n"
                 "{ .param .align 8 .b8 p[12]; .param .b32 q; .param .align 8 .b8 v[12];\n"
                 "st.param.b32 [p+8], 5; st.param.b32 [q], 6; call (v), f, (p, q);\n"
                 "ld.param.b32 %r1, [v+8]; }\n"
                 "ld.param.u64 %rd1, [out]; st.global.b32 [%rd1], %r1; ret; }\n"),
        &s.err);
    struct tw_kir_function *k = tw_kir_function_find(s.module, "k");
    tw_assert_ok(tw_kir_inline(s.module, k, &s.err), &s.err);
    tw_assert_ok(tw_kir_verify(s.module, &s.err), &s.err);
    tw_assert_ok(tw_kir_simplify(s.module, k, &s.err), &s.err);
    tw_assert_ok(tw_kir_verify(s.module, &s.err), &s.err);
    ck_assert_uint_eq(k->block_count, 1);
    unsigned loads = 0, stores = 0;
    for (uint32_t i = 0; i < k->blocks[0].count; i++) {
        ck_assert_int_ne(k->blocks[0].insts[i].op, TW_KIR_CALL);
        loads += k->blocks[0].insts[i].op == TW_KIR_LD;
        stores += k->blocks[0].insts[i].op == TW_KIR_ST;
    }
    ck_assert_uint_eq(loads, 4);  // x+8; two pieces (8 + 4 bytes) of the result; v+8
    ck_assert_uint_eq(stores, 5); // p+8; r+8; two pieces; out
    tw_arena_done(&s.arena);
}

TW_TEST("vprintf becomes printf, __assertfail a trap") {
    tw_assert_ok(
        snippet_parse(
            &s, HEAD
            ".extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);\n"
            ".extern .func __assertfail(.param .b64 m);\n"
            ".entry k() { .reg .b64 %rd; .reg .b32 %r;\n"
            "{ .param .b64 p; .param .b64 q; .param .b32 v; st.param.b64 [p], %rd; st.param.b64 [q], %rd;\n"
            "call.uni (v), vprintf, (p, q); ld.param.b32 %r, [v]; }\n"
            "{ .param .b64 p; call.uni __assertfail, (p); }\nret; }\n"),
        &s.err);
    const char *ir = snippet_ir(&s);
    ck_assert_ptr_nonnull(strstr(ir, "v.4 = printf.u32 p.2, q.3"));
    ck_assert_ptr_nonnull(strstr(ir, "\ntrap"));
    tw_arena_done(&s.arena);
}

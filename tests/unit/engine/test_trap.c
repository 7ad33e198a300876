// SPDX-License-Identifier: Apache-2.0
//
// Traps: their kinds, the backtrace with names, and that the server and the next call are unharmed.

#include "engine_test.h"

TW_TEST("each trap has its kind") {
    static const struct {
        const char *export, *kind;
    } cases[] = {
        {"unreachable", "unreachable"},   {"load", "out_of_bounds"},
        {"far", "out_of_bounds"},         {"divide", "integer_division_by_zero"},
        {"overflow", "integer_overflow"}, {"convert", "bad_conversion_to_integer"},
        {"table", "table_out_of_bounds"}, {"null", "indirect_call_to_null"},
        {"signature", "bad_signature"},   {"deep", "stack_overflow"},
        {"fill", "out_of_bounds"},
    };
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (memory (export \"memory\") 1) (table 2 funcref) (elem (i32.const 0) $good)"
               "(func $good (export \"good\") (result i32) (i32.const 7))"
               "(func (export \"unreachable\") unreachable)"
               "(func (export \"load\") (drop (i32.load (i32.const 65533))))"
               "(func (export \"far\") (drop (i64.load offset=0xfffffff0 (i32.const -1))))"
               "(func (export \"divide\") (drop (i32.div_s (i32.const 1) (i32.const 0))))"
               "(func (export \"overflow\") (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))"
               "(func (export \"convert\") (drop (i32.trunc_f32_s (f32.const nan))))"
               "(func (export \"table\") (drop (call_indirect (result i32) (i32.const 2))))"
               "(func (export \"null\") (drop (call_indirect (result i32) (i32.const 1))))"
               "(func (export \"signature\") (drop (call_indirect (result i64) (i32.const 0))))"
               "(func $deep (export \"deep\") (call $deep))"
               "(func (export \"fill\") (memory.fill (i32.const 65000) (i32.const 1) (i32.const 1000))))");
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct engine_test_call call = {};
        ck_assert_int_eq(engine_test_code(&test, module, cases[i].export, 5000, &call), TW_ERR_GUEST_TRAP);
        ck_assert_str_eq(call.invoke.trap_kind, cases[i].kind);
        engine_test_forget(&call);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a backtrace names the functions, demangled, innermost first") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (func $_ZN4math6divide17h0123456789abcdefE (unreachable))"
        "(func $middle (call $_ZN4math6divide17h0123456789abcdefE)) (func (export \"run\") (call $middle)))");
    struct engine_test_call call = {};
    struct tw_error err = {};
    ck_assert_int_eq(engine_test_code(&test, module, "run", 5000, &call), TW_ERR_GUEST_TRAP);
    ck_assert_str_eq(call.invoke.error.message, "the function trapped: unreachable in math::divide");
    struct tw_json *trace = tw_json_parse(tw_buf_span(&call.invoke.backtrace), &err);
    tw_assert_ok(trace, &err);
    ck_assert_uint_eq(tw_json_count(trace), 3);
    static const char *const names[] = {"math::divide", "middle", "run"}; // the last is its export's
    for (size_t i = 0; i < 3; i++) {
        const struct tw_json *frame = tw_json_at(trace, i);
        ck_assert_int_eq(tw_json_int(tw_json_get(frame, "index")), (int64_t)i);
        ck_assert(tw_str_equal(tw_json_str(tw_json_get(frame, "function")), tw_str_from(names[i])));
    }
    tw_json_free(trace);
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("what a call printed before it trapped is kept") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
        "(import \"wasi:tensor/host@0.1.0\" \"log\" (func $log (param i32 i32 i32)))"
        "(memory (export \"memory\") 1) (data (i32.const 0) \"hello\")"
        "(func (export \"run\") (drop (call $emit (i32.const 0) (i32.const 5))) (call $log (i32.const 3) "
        "(i32.const 0) (i32.const 4))"
        " unreachable))");
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(&test, module, "run", 5000, &call), TW_ERR_GUEST_TRAP);
    ck_assert_str_eq((char *)call.invoke.output.data, "hello");
    ck_assert_str_eq((char *)call.invoke.stderr_text.data, "warn: hell\n");
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out at any moment: a build and a call fail with an error or work, and the next ones work.

#include "engine_test.h"

static const char *const guest =
    "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result "
    "i32)))"
    "(import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
    "(memory (export \"memory\") 1) (memory $other 1) (global $g (mut i32) (i32.const 1)) (table 2 funcref) "
    "(elem (i32.const 0) $s)"
    "(func $s (global.set $g (i32.const 2))) (start $s)"
    "(func (export \"f\") (result i32) (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) "
    "(i64.const 1000))"
    " (drop (call $emit (i32.const 0) (i32.const 8)))"
    " (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200))) (i32.add (i32.load "
    "(i32.const 200)) (global.get $g)))"
    "(func (export \"trap\") unreachable))";

// Whether both calls went as they should, or all failed with an error that a lack of memory explains.
static bool run_all(struct engine_test *test, struct tw_span wasm, bool must) {
    struct tw_error err = {};
    struct tw_module *module = engine_test_try(test, wasm, NULL, &err);
    if (!module) {
        ck_assert_int_ne(err.code, TW_OK);
        ck_assert_int_ne(err.code, TW_ERR_INVALID_WASM);
        return false;
    }
    bool good = true;
    for (int i = 0; i < 2; i++) {
        struct engine_test_call call = {};
        engine_test_prepare(&call, module, i ? "trap" : "f", 10000);
        if (!tw_engine_submit(test->engine, &call.invoke, &err)) {
            ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
            good = false;
            continue;
        }
        engine_test_wait(&call);
        enum tw_code code = call.invoke.error.code;
        if (must)
            ck_assert_int_eq(code, i ? TW_ERR_GUEST_TRAP : TW_OK);
        ck_assert(code == TW_OK || code == TW_ERR_GUEST_TRAP || code == TW_ERR_CAPACITY);
        ck_assert(code != TW_OK || call.invoke.results[0].of.i32 == 3 || call.invoke.results[0].of.i32 == 2);
        good = good && code == (i ? TW_ERR_GUEST_TRAP : TW_OK);
        engine_test_forget(&call);
    }
    tw_module_unref(module);
    return good;
}

TW_TEST("any allocation may fail while a module is built and called") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 1};
    engine_test_open(&test, &options);
    struct tw_span wasm = engine_test_wat(guest);
    ck_assert(run_all(&test, wasm, true));
    int failed = 0;
    for (int n = 1, in_a_row = 0; in_a_row < 30 && n < 2000; n++) {
        char text[32];
        snprintf(text, sizeof(text), "alloc:%d", n);
        tw_fault_configure(text);
        bool good = run_all(&test, wasm, false);
        tw_fault_configure("");
        in_a_row = good ? in_a_row + 1 : 0;
        failed += !good;
        struct tw_engine_stats stats; // the worker lets go of the module a moment after `done`
        do
            tw_engine_stats(test.engine, &stats);
        while (stats.instances > 0);
    }
    ck_assert_int_gt(failed, 10); // it did strike
    ck_assert(run_all(&test, wasm, true));
    free((void *)(uintptr_t)wasm.data);
    engine_test_close(&test);
}

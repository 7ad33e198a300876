// SPDX-License-Identifier: Apache-2.0
//
// Compiled code: shared where the bytes are the same, mapped when it is used, unmapped when it is not.

#include "engine_test.h"

static struct tw_module *numbered(struct engine_test *test, int number) {
    char text[256];
    snprintf(text, sizeof(text),
             "(module (memory (export \"memory\") 1) (global $g (mut i32) (i32.const %d)) (func (export "
             "\"f\") (result "
             "i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g)))",
             number);
    return engine_test_module(test, text);
}

static uint64_t mapped(struct engine_test *test) {
    struct tw_engine_stats stats;
    tw_engine_stats(test->engine, &stats);
    return stats.code_bytes;
}

TW_TEST("modules with the same bytes share code and nothing else") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 2};
    engine_test_open(&test, &options);
    struct tw_module *one = numbered(&test, 1);
    ck_assert_int_eq(ENGINE_CALL(&test, one, "f"), 2);
    uint64_t alone = mapped(&test);
    ck_assert_uint_gt(alone, 0);
    struct tw_module *same = numbered(&test, 1), *other = numbered(&test, 5);
    ck_assert_ptr_eq(one->code, same->code);
    ck_assert_ptr_ne(one->code, other->code);
    struct tw_error err = {};
    struct tw_instance *kept = tw_instance_new(same, 9, NULL, 1000 * TW_NS_PER_S, &err);
    tw_assert_ok(kept, &err);
    for (int i = 0; i < 3; i++) {
        struct engine_test_call call = {};
        engine_test_prepare(&call, same, "f", 60'000);
        call.invoke.instance = kept;
        engine_test_submit(&test, &call);
        engine_test_wait(&call);
        ck_assert_int_eq(call.invoke.results[0].of.i32, 2 + i); // its own state
        engine_test_forget(&call);
        ck_assert_int_eq(ENGINE_CALL(&test, one, "f"), 2);
        ck_assert_int_eq(ENGINE_CALL(&test, same, "f"), 2);
        ck_assert_int_eq(ENGINE_CALL(&test, other, "f"), 6);
    }
    ck_assert_uint_lt(mapped(&test), 3 * alone); // two, of nearly the same size
    tw_module_unref(one);
    ck_assert_int_eq(ENGINE_CALL(&test, same, "f"), 2);
    tw_instance_unref(kept);
    tw_module_unref(same);
    tw_module_unref(other);
    engine_test_close(&test);
}

TW_TEST("beyond the limit what nobody uses is unmapped, and mapped again by its next instance") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 0, .max_code_bytes = 1};
    engine_test_open(&test, &options);
    struct tw_module *modules[3];
    for (int i = 0; i < 3; i++)
        modules[i] = numbered(&test, 10 * i);
    ck_assert_int_eq(ENGINE_CALL(&test, modules[0], "f"), 1);
    uint64_t one = mapped(&test);
    ck_assert_uint_gt(one, 0);
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(ENGINE_CALL(&test, modules[i % 3], "f"), i % 3 * 10 + 1);
        ck_assert_uint_lt(mapped(&test),
                          3 * one); // the call's own and, while it is being freed, the one before
    }
    struct tw_error err = {};
    struct tw_instance *kept[3];
    for (int i = 0; i < 3; i++)
        tw_assert_ok(kept[i] = tw_instance_new(modules[i], 0, NULL, 1000 * TW_NS_PER_S, &err), &err);
    ck_assert_uint_gt(mapped(&test), 2 * one); // in use: none may go
    for (int i = 0; i < 3; i++)
        tw_instance_unref(kept[i]);
    ck_assert_int_eq(ENGINE_CALL(&test, modules[1], "f"), 11);
    ck_assert_uint_lt(mapped(&test), 2 * one);
    for (int i = 0; i < 3; i++)
        tw_module_unref(modules[i]);
    struct tw_engine_stats stats;
    do
        tw_engine_stats(test.engine, &stats);
    while (stats.instances || stats.code_bytes); // the worker lets go a moment after `done`
    engine_test_close(&test);
}

TW_TEST("code comes and goes under calls from many workers") {
    enum { MODULES = 5, CALLS = 400 };
    struct engine_test test;
    struct tw_engine_options options = {
        .workers = 4, .warm_per_function = 1, .max_warm = 2, .max_code_bytes = 1, .max_queued = 2 * CALLS};
    engine_test_open(&test, &options);
    struct tw_module *modules[MODULES];
    static struct engine_test_call calls[CALLS];
    for (int i = 0; i < MODULES; i++)
        modules[i] = numbered(&test, 10 * i);
    for (int i = 0; i < CALLS; i++) {
        engine_test_prepare(&calls[i], modules[i % MODULES], "f", 600'000);
        engine_test_submit(&test, &calls[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, TW_OK);
        ck_assert_int_eq(calls[i].invoke.results[0].of.i32, i % MODULES * 10 + 1);
        engine_test_forget(&calls[i]);
    }
    for (int i = 0; i < MODULES; i++)
        tw_module_unref(modules[i]);
    engine_test_close(&test);
}

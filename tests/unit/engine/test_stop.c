// SPDX-License-Identifier: Apache-2.0
//
// Deadlines and cancelling, in whatever a guest spends its time; and that a stopped instance serves again.

#include "engine_test.h"

// Runs an export into a deadline of 100 ms, twice, and a good one after each.
static void check_stopped(struct engine_test *test, const char *wat) {
    struct tw_module *module = engine_test_module(test, wat);
    for (int i = 0; i < 2; i++) {
        struct engine_test_call call = {};
        int64_t before = tw_clock_ns();
        ck_assert_int_eq(engine_test_code(test, module, "run", 100, &call), TW_ERR_TIMEOUT);
        ck_assert_int_lt(tw_clock_ns() - before, 20 * TW_NS_PER_S); // none of these ends by itself
        engine_test_forget(&call);
        ck_assert_int_eq(ENGINE_CALL(test, module, "good"), 7);
    }
    tw_module_unref(module);
}

#define GOOD "(func (export \"good\") (result i32) (i32.const 7))"

static void check_all(const struct tw_engine_options *options) {
    static const char *const guests[] = {
        "(module (func (export \"run\") (loop $l (br $l)))" GOOD ")",
        // The inner loop's poll is dominated by the outer's, with nothing between that could change memory.
        "(module (func (export \"run\") (result i64) (local $n i64)"
        " (loop $o (loop $i (local.set $n (i64.add (local.get $n) (i64.const 1)))"
        " (br_if $i (i64.ne (local.get $n) (i64.const 0)))) (br $o)) (local.get $n))" GOOD ")",
        // Recursion without loops, and calls that call each other.
        "(module (func $f (param i32) (result i32) (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) "
        "(then (i32.const 1))"
        " (else (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) "
        "(i32.const 2)))))))"
        "(func (export \"run\") (result i32) (call $f (i32.const 90)))" GOOD ")",
        "(module (func $a (return_call $b)) (func $b (return_call $a)) (func (export \"run\") (call $a))" GOOD
        ")",
        // A loop whose body is a big memory.fill.
        "(module (memory (export \"memory\") 512) (func (export \"run\") (loop $l (memory.fill (i32.const 0) "
        "(i32.const 1) (i32.const 33554432)) (br $l)))" GOOD ")",
        "(module (memory (export \"memory\") 1) (func (export \"run\") (loop $l (i32.store (i32.const 0) "
        "(i32.add (i32.load (i32.const 0)) (i32.const 1))) (br $l)))" GOOD ")",
    };
    struct engine_test test;
    engine_test_open(&test, options);
    for (size_t i = 0; i < TW_COUNT(guests); i++)
        check_stopped(&test, guests[i]);
    engine_test_close(&test);
}

TW_TEST("a deadline stops loops, recursion, tail calls and fills, and the instance serves again") {
    struct tw_engine_options options = {.warm_per_function = 1};
    check_all(&options);
}

TW_TEST("a deadline stops them with epochs too") {
    struct tw_engine_options options = {.warm_per_function = 1, .interrupt = TW_INTERRUPT_EPOCH};
    check_all(&options);
}

// One fill or copy of a gigabyte: without polls in it, it would run to its end and return.
TW_TEST("a single huge fill or copy is stopped in the middle, and traps tell the guest's own function") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module_limits limits = {.memory_bytes = 1ULL << 30};
    struct tw_error err = {};
    struct tw_span wasm = engine_test_wat("(module (memory (export \"memory\") 16384)"
                                          "(func (export \"fill\") (param i32) (result i32) (memory.fill "
                                          "(i32.const 0) (i32.const 1) (local.get 0))"
                                          " (i32.load8_u (i32.const 0x3fffffff)))"
                                          "(func (export \"copy\") (param i32) (result i32) (memory.copy "
                                          "(i32.const 1) (i32.const 0) (local.get 0))"
                                          " (i32.load8_u (i32.const 0x3fffffff)))" GOOD ")");
    struct tw_module *module = engine_test_try(&test, wasm, &limits, &err);
    tw_assert_ok(module, &err);
    static const char *const exports[] = {"fill", "copy"};
    for (size_t i = 0; i < TW_COUNT(exports); i++) {
        struct engine_test_call far = {}, huge = {};
        engine_test_put_args(&far, 1, (int[]){(1 << 30) + 1});
        ck_assert_int_eq(engine_test_code(&test, module, exports[i], 20000, &far), TW_ERR_GUEST_TRAP);
        char wanted[80];
        snprintf(wanted, sizeof(wanted), "the function trapped: out_of_bounds in %s", exports[i]);
        ck_assert_str_eq(far.invoke.error.message, wanted);
        engine_test_forget(&far);
        engine_test_put_args(&huge, 1, (int[]){(1 << 30) - 1});
        ck_assert_int_eq(engine_test_code(&test, module, exports[i], 5, &huge), TW_ERR_TIMEOUT);
        engine_test_forget(&huge);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    }
    tw_module_unref(module);
    free((void *)(uintptr_t)wasm.data);
    engine_test_close(&test);
}

TW_TEST("a tree of sixty calls without loops or recursion is stopped") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    char text[8192];
    int len = snprintf(text, sizeof(text),
                       "(module (func $f0 (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))");
    for (int i = 1; i <= 60; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len,
                        "(func $f%d (param i32) (result i32) (call $f%d (call $f%d (local.get 0))))", i,
                        i - 1, i - 1);
    snprintf(text + len, sizeof(text) - (size_t)len,
             "(func (export \"run\") (result i32) (call $f60 (i32.const 0)))" GOOD ")");
    check_stopped(&test, text);
    engine_test_close(&test);
}

TW_TEST("cancel stops a running call and one that has not begun") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 1};
    engine_test_open(&test, &options);
    struct tw_module *module =
        engine_test_module(&test, "(module (func (export \"run\") (loop $l (br $l)))" GOOD ")");
    struct engine_test_call first = {}, second = {};
    engine_test_prepare(&first, module, "run", 30000);
    engine_test_prepare(&second, module, "run", 30000);
    engine_test_submit(&test, &first);
    engine_test_submit(&test, &second);
    tw_invoke_cancel(&second.invoke);
    tw_invoke_cancel(&first.invoke);
    engine_test_wait(&first);
    engine_test_wait(&second);
    ck_assert_int_eq(first.invoke.error.code, TW_ERR_CANCELLED);
    ck_assert_int_eq(second.invoke.error.code, TW_ERR_CANCELLED);
    engine_test_forget(&first);
    engine_test_forget(&second);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    tw_module_unref(module);
    engine_test_close(&test);
}

// `done` waits for the canceller, so that a cancel is never after it.
struct race {
    struct engine_test_call call;
    struct tw_state cancelled;
};

static void race_over(struct tw_invoke *invoke) {
    struct race *race = invoke->context;
    while (tw_state_get(&race->cancelled) == 0)
        tw_state_wait(&race->cancelled, 0, -1);
    tw_state_set(&race->call.over, 1);
    tw_state_wake(&race->call.over);
}

TW_TEST("cancelling as a call ends harms neither it nor the next") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module =
        engine_test_module(&test, "(module (memory (export \"memory\") 1) (func (export \"short\") (param "
                                  "i32) (result i32) (local $n i32)"
                                  " (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) "
                                  "(i32.const 1))) (local.get 0)))) (local.get $n))" GOOD ")");
    unsigned cancelled = 0, finished = 0;
    for (int i = 0; i < 2000; i++) {
        struct race race = {};
        engine_test_prepare(&race.call, module, "short", 30000);
        race.call.invoke.context = &race;
        race.call.invoke.done = race_over;
        engine_test_put_args(&race.call, 1, (int[]){1 + i * 20});
        engine_test_submit(&test, &race.call);
        for (volatile int spin = 0; spin < (i * 37) % 4000; spin++)
            continue;
        tw_invoke_cancel(&race.call.invoke);
        tw_state_set(&race.cancelled, 1);
        tw_state_wake(&race.cancelled);
        engine_test_wait(&race.call);
        if (race.call.invoke.error.code == TW_ERR_CANCELLED) {
            cancelled++;
        } else {
            ck_assert_int_eq(race.call.invoke.error.code, TW_OK);
            ck_assert_int_eq(race.call.invoke.results[0].of.i32, 1 + i * 20);
            finished++;
        }
        engine_test_forget(&race.call);
    }
    ck_assert_uint_gt(cancelled, 0);
    ck_assert_uint_eq(cancelled + finished, 2000);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a call that waited until its deadline is not begun, and a full queue refuses") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .max_queued = 2, .max_long_calls = 1};
    engine_test_open(&test, &options);
    struct tw_module *module =
        engine_test_module(&test, "(module (func (export \"run\") (loop $l (br $l)))" GOOD ")");
    struct engine_test_call running = {}, late = {}, next = {}, refused = {};
    engine_test_prepare(&running, module, "run", ENGINE_TEST_PATIENCE_MS);
    engine_test_submit(&test, &running);
    struct tw_engine_stats stats;
    do
        tw_engine_stats(test.engine, &stats);
    while (stats.running == 0 || stats.queued > 0);
    engine_test_prepare(&late, module, "good", 50);
    engine_test_prepare(&next, module, "good", ENGINE_TEST_PATIENCE_MS);
    engine_test_prepare(&refused, module, "good", ENGINE_TEST_PATIENCE_MS);
    engine_test_submit(&test, &late);
    engine_test_submit(&test, &next);
    struct tw_error err = {};
    ck_assert(!tw_engine_submit(test.engine, &refused.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    engine_test_wait(&late); // while the other runs
    tw_invoke_cancel(&running.invoke);
    engine_test_wait(&running);
    engine_test_wait(&next);
    ck_assert_int_eq(running.invoke.error.code, TW_ERR_CANCELLED);
    ck_assert_int_eq(late.invoke.error.code, TW_ERR_TIMEOUT);
    ck_assert_int_eq(next.invoke.error.code, TW_OK);
    engine_test_forget(&running);
    engine_test_forget(&late);
    engine_test_forget(&next);
    tw_module_unref(module);
    engine_test_close(&test);
}

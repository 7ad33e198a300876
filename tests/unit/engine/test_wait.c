// SPDX-License-Identifier: Apache-2.0
//
// Calls that wait hold no thread; sleepers are woken in time or by their end; yielding lets others go first.

#include "engine_test.h"

// sleep(ms) through poll_oneoff, relative, monotonic; returns the number of events.
static const char *const sleeper =
    "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result "
    "i32)))"
    "(memory (export \"memory\") 1)"
    "(func (export \"sleep\") (param i32) (result i32)"
    " (i64.store (i32.const 0) (i64.const 0x1234)) (i32.store (i32.const 16) (i32.const 1))"
    " (i64.store (i32.const 24) (i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 1000000)))"
    " (if (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)) (then (return (i32.const "
    "-1))))"
    " (if (i64.ne (i64.load (i32.const 100)) (i64.const 0x1234)) (then (return (i32.const -2))))"
    " (i32.load (i32.const 200)))"
    "(func (export \"good\") (result i32) (i32.const 7)))";

// Threads of this process.
static int thread_count(void) {
    FILE *status = fopen("/proc/self/status", "r");
    char line[128];
    int count = -1;
    ck_assert_ptr_nonnull(status);
    while (count < 0 && fgets(line, sizeof(line), status))
        sscanf(line, "Threads: %d", &count);
    fclose(status);
    return count;
}

// As many as ThreadSanitizer leaves address space for.
TW_TEST("hundreds of sleepers hold no threads") {
    enum { SLEEPERS = 400 };
    struct engine_test test;
    struct tw_engine_options options = {.workers = 2, .warm_per_function = 4};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, sleeper);
    struct engine_test_call *calls = calloc(SLEEPERS, sizeof(*calls));
    int threads = thread_count();
    int64_t before = tw_clock_ns();
    for (int i = 0; i < SLEEPERS; i++) {
        engine_test_prepare(&calls[i], module, "sleep", 20000);
        engine_test_put_args(&calls[i], 1, (int[]){1500});
        engine_test_submit(&test, &calls[i]);
    }
    // Two workers, and all of them sleep: another call gets through before any wakes.
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    ck_assert_int_lt(tw_clock_ns() - before, 1500 * TW_NS_PER_MS);
    ck_assert_int_le(thread_count(),
                     threads + 2); // a worker that was held up making an instance has a deputy
    for (int i = 0; i < SLEEPERS; i++) {
        engine_test_wait(&calls[i]);
        if (calls[i].invoke.error.code)
            ck_abort_msg("sleeper %d: %s", i, calls[i].invoke.error.message);
        ck_assert_int_eq(calls[i].invoke.results[0].of.i32, 1);
        ck_assert_int_ge(calls[i].invoke.times.ended_ns - calls[i].invoke.times.running_ns,
                         1500 * TW_NS_PER_MS);
        engine_test_forget(&calls[i]);
    }
    ck_assert_int_lt(tw_clock_ns() - before, 10 * TW_NS_PER_S);
    free(calls);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a sleeper is ended by its deadline and by a cancel") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, sleeper);
    struct engine_test_call timed = {}, cancelled = {};
    int64_t before = tw_clock_ns();
    engine_test_prepare(&timed, module, "sleep", 100);
    engine_test_prepare(&cancelled, module, "sleep", 50000);
    engine_test_put_args(&timed, 1, (int[]){20000});
    engine_test_put_args(&cancelled, 1, (int[]){20000});
    engine_test_submit(&test, &timed);
    engine_test_submit(&test, &cancelled);
    engine_test_wait(&timed);
    ck_assert_int_eq(timed.invoke.error.code, TW_ERR_TIMEOUT);
    tw_invoke_cancel(&cancelled.invoke);
    engine_test_wait(&cancelled);
    ck_assert_int_eq(cancelled.invoke.error.code, TW_ERR_CANCELLED);
    ck_assert_int_lt(tw_clock_ns() - before, 5 * TW_NS_PER_S);
    engine_test_forget(&timed);
    engine_test_forget(&cancelled);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "sleep", 1), 1);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a call on the calling thread sleeps too, and so does start code") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, sleeper);
    struct tw_value arg = {.type = TW_WASM_I32, .of.i32 = 40};
    struct tw_invoke invoke = {
        .module = module, .export = "sleep", .args = &arg, .arg_count = 1, .deadline_ns = TW_NO_DEADLINE};
    int64_t before = tw_clock_ns();
    tw_engine_run(test.engine, &invoke);
    ck_assert_int_eq(invoke.error.code, TW_OK);
    ck_assert_int_eq(invoke.results[0].of.i32, 1);
    ck_assert_int_ge(tw_clock_ns() - before, 40 * TW_NS_PER_MS);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("yield lets a queued call go first, and tells how the deadline is") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 4};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(
        &test, "(module (import \"wasi:scheduler/host@0.1.0\" \"yield\" (func $yield (result i32)))"
               "(import \"wasi:scheduler/host@0.1.0\" \"deadline-remaining-ms\" (func $left (result i32)))"
               "(func (export \"until\") (param i32) (result i32) (local $s i32)" // yields until it says so
               " (loop $l (local.set $s (call $yield)) (br_if $l (i32.lt_u (local.get $s) (local.get 0)))) "
               "(local.get $s))"
               "(func (export \"left\") (result i32) (call $left))"
               "(func (export \"good\") (result i32) (i32.const 7)))");
    struct engine_test_call spinning = {};
    engine_test_prepare(&spinning, module, "until", 600);
    engine_test_put_args(&spinning, 1, (int[]){1});
    engine_test_submit(&test, &spinning);
    int64_t before = tw_clock_ns();
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7); // one worker: only if the other gave way
    ck_assert_int_lt(tw_clock_ns() - before, 500 * TW_NS_PER_MS);
    engine_test_wait(&spinning);
    ck_assert_int_eq(spinning.invoke.error.code, TW_OK);
    ck_assert_int_eq(spinning.invoke.results[0].of.i32, 1);
    engine_test_forget(&spinning);
    int left = ENGINE_CALL(&test, module, "left"); // of 10,000
    ck_assert(left > 8000 && left <= 10000);
    tw_module_unref(module);
    engine_test_close(&test);
}

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

enum { SLEEPERS = 400 }; // as many as ThreadSanitizer leaves address space for

// Whether another call got through before any of them woke: two workers, and all of them sleep. All of them wake in any case.
static bool sleep_beside(struct engine_test *test, struct tw_module *module, int ms) {
    struct engine_test_call *calls = calloc(SLEEPERS, sizeof(*calls));
    int threads = thread_count();
    int64_t before_ns = tw_clock_ns();
    for (int i = 0; i < SLEEPERS; i++) {
        engine_test_prepare(&calls[i], module, "sleep", ENGINE_TEST_PATIENCE_MS);
        engine_test_put_args(&calls[i], 1, (int[]){ms});
        engine_test_submit(test, &calls[i]);
    }
    ck_assert_int_eq(ENGINE_CALL(test, module, "good"), 7);
    bool is_beside = tw_clock_ns() - before_ns < ms * TW_NS_PER_MS;
    // A worker that was held up making an instance has a deputy.
    ck_assert_int_lt(thread_count(), threads + SLEEPERS / 10);
    for (int i = 0; i < SLEEPERS; i++) {
        engine_test_wait(&calls[i]);
        if (calls[i].invoke.error.code)
            ck_abort_msg("sleeper %d: %s", i, calls[i].invoke.error.message);
        ck_assert_int_eq(calls[i].invoke.results[0].of.i32, 1);
        ck_assert_int_ge(calls[i].invoke.times.ended_ns - calls[i].invoke.times.running_ns,
                         ms * TW_NS_PER_MS);
        engine_test_forget(&calls[i]);
    }
    free(calls);
    return is_beside;
}

TW_TEST("hundreds of sleepers hold no threads") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 2, .warm_per_function = 4};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, sleeper);
    int ms = 1500;
    while (!sleep_beside(&test, module, ms)) {
        ms *= 2; // the machine was too slow to have all of them asleep by then
        ck_assert_int_lt(ms, 60'000);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a sleeper is ended by its deadline and by a cancel") {
    enum { HOUR_MS = 3'600'000 };
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, sleeper);
    struct engine_test_call timed = {}, cancelled = {};
    engine_test_prepare(&timed, module, "sleep", 100);
    engine_test_prepare(&cancelled, module, "sleep", 2 * HOUR_MS);
    engine_test_put_args(&timed, 1, (int[]){HOUR_MS});
    engine_test_put_args(&cancelled, 1, (int[]){HOUR_MS});
    engine_test_submit(&test, &timed);
    engine_test_submit(&test, &cancelled);
    engine_test_wait(&timed);
    ck_assert_int_eq(timed.invoke.error.code, TW_ERR_TIMEOUT);
    tw_invoke_cancel(&cancelled.invoke);
    engine_test_wait(&cancelled);
    ck_assert_int_eq(cancelled.invoke.error.code, TW_ERR_CANCELLED);
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

// What the guest that yields until it is told so was told. On a busy machine it may have no processor between that and its deadline.
static int told_that_the_end_is_near(struct engine_test *test, struct tw_module *module) {
    for (;;) {
        struct engine_test_call call = {};
        engine_test_put_args(&call, 1, (int[]){1});
        enum tw_code code = engine_test_code(test, module, "until", 300, &call);
        engine_test_forget(&call);
        if (code == TW_ERR_TIMEOUT)
            continue;
        ck_assert_int_eq(code, TW_OK);
        return call.invoke.results[0].of.i32;
    }
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
    engine_test_prepare(&spinning, module, "until", 3'600'000);
    engine_test_put_args(&spinning, 1, (int[]){1});
    engine_test_submit(&test, &spinning);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7); // one worker: only if the other gave way
    ck_assert_uint_eq(tw_state_get(&spinning.over), 0);
    tw_invoke_cancel(&spinning.invoke);
    engine_test_wait(&spinning);
    enum tw_code code = spinning.invoke.error.code; // stopped, or told to stop before that
    ck_assert(code == TW_ERR_CANCELLED || (code == TW_OK && spinning.invoke.results[0].of.i32 == 2));
    engine_test_forget(&spinning);
    ck_assert_int_eq(told_that_the_end_is_near(&test, module), 1);
    int64_t before_ns = tw_clock_ns();
    int left = ENGINE_CALL(&test, module, "left");
    ck_assert_int_le(left, ENGINE_TEST_PATIENCE_MS);
    ck_assert_int_ge(left + (tw_clock_ns() - before_ns) / TW_NS_PER_MS + 1, ENGINE_TEST_PATIENCE_MS);
    tw_module_unref(module);
    engine_test_close(&test);
}

// ---- slow clients ----

// A client that takes one chunk at a time.
struct client {
    struct engine_test_call call;
    struct tw_counter bytes;
    struct tw_state waits; // 1: the guest waits for it
};

static bool take_chunk(struct tw_invoke *invoke, struct tw_span bytes) {
    tw_counter_add(&((struct client *)invoke->context)->bytes, (int64_t)bytes.len);
    return true;
}

static bool always_slow(struct tw_invoke *invoke, bool waits) {
    struct client *client = invoke->context;
    if (waits) {
        tw_state_set(&client->waits, 1);
        tw_state_wake(&client->waits);
    }
    return true;
}

static void client_open(struct engine_test *test, struct client *client, struct tw_module *module,
                        const char *export, int timeout_ms) {
    engine_test_prepare(&client->call, module, export, timeout_ms);
    client->call.invoke.emit = take_chunk;
    client->call.invoke.is_slow = always_slow;
    engine_test_submit(test, &client->call);
}

static void wait_until_it_waits(struct client *client) {
    while (tw_state_get(&client->waits) == 0)
        tw_state_wait(&client->waits, 0, -1);
    tw_state_set(&client->waits, 0);
}

static void expect_end(struct client *client, enum tw_code code, int result) {
    engine_test_wait(&client->call);
    ck_assert_int_eq(client->call.invoke.error.code, code);
    if (!code)
        ck_assert_int_eq(client->call.invoke.results[0].of.i32, result);
    engine_test_forget(&client->call);
}

static const char *const writer =
    "(module (import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
    "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"
    "(memory (export \"memory\") 1)"
    "(func (export \"emit\") (result i32) (i32.or (call $emit (i32.const 0) (i32.const 100))"
    " (i32.or (call $emit (i32.const 0) (i32.const 200)) (call $emit (i32.const 0) (i32.const 300)))))"
    "(func (export \"write\") (result i32) (i32.store (i32.const 4) (i32.const 77))"
    " (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))"
    " (i32.load (i32.const 16)))"
    "(func (export \"good\") (result i32) (i32.const 7)))";

TW_TEST(
    "a guest waits while its client is slow, goes on when it has caught up, and can be stopped meanwhile") {
    static const int64_t seen[] = {100, 300, 600};
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 4};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, writer);
    struct client client = {};
    client_open(&test, &client, module, "emit", 60000);
    for (int i = 0; i < 3; i++) {
        wait_until_it_waits(&client);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7); // the only worker is free
        ck_assert_int_eq(tw_counter_get(&client.bytes), seen[i]);
        tw_invoke_resume(&client.call.invoke);
    }
    expect_end(&client, TW_OK, 0);
    client_open(&test, &client, module, "write", 60000);
    wait_until_it_waits(&client);
    tw_invoke_resume(&client.call.invoke);
    expect_end(&client, TW_OK, 77);
    client_open(&test, &client, module, "emit", 60000);
    wait_until_it_waits(&client);
    tw_invoke_cancel(&client.call.invoke);
    expect_end(&client, TW_ERR_CANCELLED, 0);
    client_open(&test, &client, module, "emit", 100);
    expect_end(&client, TW_ERR_TIMEOUT, 0);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    tw_module_unref(module);
    engine_test_close(&test);
}

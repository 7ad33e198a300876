// SPDX-License-Identifier: Apache-2.0
//
// Calls that are stopped while the collector lets a long list go: they are answered before it has ended, and what
// their guests hold is given back after it has.

#include "engine_test.h"

// Makes lists of that many objects and lets each go, for ever; after each one it emits a byte.
static const char *const guest =
    "(module (import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
    "(memory (export \"memory\") 1) (type $s (struct (field (mut (ref null $s)))))"
    "(global $keep (mut (ref null $s)) (ref.null $s))"
    "(func (export \"churn\") (param $length i32) (local $n i32)"
    " (loop $l (global.set $keep (struct.new $s (global.get $keep)))"
    "  (if (i32.eq (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get $length))"
    "   (then (local.set $n (i32.const 0)) (global.set $keep (ref.null $s))"
    "    (drop (call $emit (i32.const 0) (i32.const 1)))))"
    "  (br $l)))"
    "(func (export \"good\") (result i32) (i32.const 7)))";

enum { TENANT = 7, LONG_LIST = 1'000'000, ATTEMPTS_MAX = 500 };

// A call with a permit of its tenant. `over` and what follows are written when it is answered.
struct permitted {
    struct engine_test_call call;
    struct tw_counter emitted; // since it began
    uint64_t held;             // permits when it was answered, before its own was given back
    struct tw_flag is_over;
};

static bool on_emit(struct tw_invoke *invoke, struct tw_span bytes) {
    struct permitted *permitted = invoke->context;
    ck_assert_msg(!tw_flag_is_raised(&permitted->is_over), "a guest emitted after its call was answered");
    tw_counter_add(&permitted->emitted, (int64_t)bytes.len);
    return true;
}

static uint64_t permits(const struct tw_account *account) {
    return tw_account_use(account, TW_RESOURCE_CONCURRENT).now;
}

static void on_done(struct tw_invoke *invoke) {
    struct permitted *permitted = invoke->context;
    permitted->held = permits(invoke->account);
    if (!invoke->goes_on)
        tw_account_give(invoke->account, TW_RESOURCE_CONCURRENT, 1);
    tw_flag_raise(&permitted->is_over);
    tw_state_set(&permitted->call.over, 1);
    tw_state_wake(&permitted->call.over);
}

static void submit(struct engine_test *test, struct permitted *permitted, struct tw_module *module,
                   struct tw_account *account, int length, int timeout_ms) {
    struct tw_error err = {};
    engine_test_prepare(&permitted->call, module, "churn", timeout_ms);
    engine_test_put_args(&permitted->call, 1, &length);
    permitted->call.invoke.tenant = TENANT;
    permitted->call.invoke.account = account;
    permitted->call.invoke.has_permit = true;
    permitted->call.invoke.context = permitted;
    permitted->call.invoke.emit = on_emit;
    permitted->call.invoke.done = on_done;
    tw_flag_lower(&permitted->is_over);
    tw_assert_ok(tw_account_take(account, TW_RESOURCE_CONCURRENT, 1, &err), &err);
    engine_test_submit(test, &permitted->call);
}

static void await_no_permits(const struct tw_account *account) {
    while (permits(account) > 0)
        sched_yield();
}

static void check_nothing_left(struct engine_test *test, const struct tw_account *account) {
    struct tw_engine_stats stats;
    await_no_permits(account);
    while (tw_engine_stats(test->engine, &stats), stats.running > 0)
        sched_yield();
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_CONCURRENT).refused, 0);
}

// The order of events is the proof: the permit, which its guest gives back when it ends, was still held when the caller
// heard of the deadline. It takes a few calls until one is in the collector at that moment.
static void check_order(enum tw_interrupt interrupt, bool by_cancel) {
    struct engine_test test;
    struct tw_error err = {};
    struct tw_engine_options options = {.interrupt = interrupt};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_account *account = tw_account_new(TENANT, &err);
    tw_assert_ok(account, &err);
    enum tw_code code = by_cancel ? TW_ERR_CANCELLED : TW_ERR_TIMEOUT;
    bool was_ahead = false;
    for (int i = 0; i < ATTEMPTS_MAX && !was_ahead; i++) {
        struct permitted one = {};
        int run_ms = 50 + i * 37 % 250;
        submit(&test, &one, module, account, LONG_LIST, by_cancel ? ENGINE_TEST_PATIENCE_MS : run_ms);
        if (by_cancel) {
            int64_t until_ns = tw_clock_ns() + run_ms * TW_NS_PER_MS;
            while (tw_clock_ns() < until_ns)
                sched_yield();
            tw_invoke_cancel(&one.call.invoke);
        }
        engine_test_wait(&one.call);
        tw_invoke_cancel(&one.call.invoke); // harmless
        ck_assert_int_eq(one.call.invoke.error.code, code);
        if (one.call.invoke.times.running_ns) // else it waited for a worker until then
            ck_assert(strstr(one.call.invoke.error.message,
                             by_cancel ? "the call was cancelled"
                                       : "the function did not finish before its deadline, "));
        was_ahead = one.call.invoke.goes_on && one.held == 1;
        engine_test_forget(&one.call);
        await_no_permits(account);
    }
    ck_assert_msg(was_ahead, "%d calls were all answered after the collector", ATTEMPTS_MAX);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    tw_module_unref(module);
    check_nothing_left(&test, account);
    ck_assert(tw_account_cpu(account).total_ms > 0);
    engine_test_close(&test);
    ck_assert(!tw_account_is_shared(account));
    tw_account_unref(account);
}

TW_TEST(
    "a deadline is answered while the collector lets a list go, and its guest keeps the permit until then") {
    check_order(TW_INTERRUPT_POLL, false);
}

TW_TEST("a cancel is answered while the collector lets a list go") {
    check_order(TW_INTERRUPT_POLL, true);
}

TW_TEST("a deadline is answered while the collector lets a list go, with epochs too") {
    check_order(TW_INTERRUPT_EPOCH, false);
}

TW_TEST("the engine ends while a guest goes on in the collector") {
    for (int i = 0; i < 8; i++) {
        struct engine_test test;
        struct tw_error err = {};
        engine_test_open(&test, NULL);
        struct tw_module *module = engine_test_module(&test, guest);
        struct tw_account *account = tw_account_new(TENANT, &err);
        struct permitted one = {};
        submit(&test, &one, module, account, LONG_LIST, 100 + i * 50);
        engine_test_wait(&one.call);
        ck_assert_int_eq(one.call.invoke.error.code, TW_ERR_TIMEOUT);
        engine_test_forget(&one.call);
        tw_module_unref(module);
        engine_test_close(&test); // waits for it
        ck_assert_uint_eq(permits(account), 0);
        ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_INSTANCES).now, 0);
        ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_CPU_MEMORY).now, 0);
        ck_assert(!tw_account_is_shared(account));
        tw_account_unref(account);
    }
}

// ---- instances that keep their state ----

TW_TEST(
    "an instance whose guest goes on has ended when its call is answered, and who waits for it hears so") {
    struct engine_test test;
    struct tw_error err = {};
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_account *account = tw_account_new(TENANT, &err);
    bool was_ahead = false;
    for (int i = 0; i < ATTEMPTS_MAX && !was_ahead; i++) {
        struct permitted one = {};
        struct engine_test_call next = {};
        struct tw_instance *instance = tw_instance_new(module, TENANT, NULL, 1000 * TW_NS_PER_S, &err);
        tw_assert_ok(instance, &err);
        one.call.invoke.instance = next.invoke.instance = instance;
        submit(&test, &one, module, account, LONG_LIST, 50 + i * 37 % 250);
        engine_test_prepare(&next, module, "good", ENGINE_TEST_PATIENCE_MS);
        engine_test_submit(&test, &next);
        engine_test_wait(&one.call);
        was_ahead = one.call.invoke.goes_on && one.held == 1;
        bool has_run = one.call.invoke.times.running_ns; // else it waited for a worker until then
        struct tw_instance_state state;
        tw_instance_look(instance, &state);
        ck_assert_int_eq(state.has_ended, has_run);
        ck_assert(!has_run || strstr(state.reason, "deadline"));
        tw_instance_end(instance, "enough");
        engine_test_wait(&next);
        ck_assert(!has_run || next.invoke.error.code == TW_ERR_CONFLICT);
        engine_test_forget(&one.call);
        engine_test_forget(&next);
        tw_instance_unref(instance); // perhaps before its guest has ended
        await_no_permits(account);
    }
    ck_assert(was_ahead);
    tw_module_unref(module);
    check_nothing_left(&test, account);
    engine_test_close(&test);
    tw_account_unref(account);
}

// ---- races ----

enum { CALLS = 16, ROUNDS = 15, SHORT_LIST = 60'000 };

struct racers {
    struct permitted calls[CALLS];
    struct tw_flag ends;
};

static void cancel_again_and_again(void *context) {
    struct racers *racers = context;
    for (unsigned i = 0; !tw_flag_is_raised(&racers->ends); i++) {
        for (volatile unsigned spin = 0; spin < i * 37 % 20'000; spin++)
            continue;
        tw_invoke_cancel(&racers->calls[i % CALLS].call.invoke);
    }
}

// A round of one tenant's calls, each into its deadline, some cancelled, some on an instance that somebody ends; another
// tenant's call beside them.
static void run_round(struct engine_test *test, struct racers *racers, struct tw_module *module,
                      struct tw_account *account, int round) {
    struct tw_error err = {};
    struct tw_instance *instance = tw_instance_new(module, TENANT, NULL, 1000 * TW_NS_PER_S, &err);
    tw_assert_ok(instance, &err);
    for (int i = 0; i < CALLS; i++) {
        racers->calls[i].call.invoke.instance = i == 0 ? instance : NULL;
        submit(test, &racers->calls[i], module, account, SHORT_LIST, 2 + (round * 7 + i * 3) % 40);
    }
    ck_assert_int_eq(ENGINE_CALL(test, module, "good"), 7);
    if (round % 2)
        tw_instance_end(instance, "enough");
    for (int i = 0; i < CALLS; i++)
        engine_test_wait(&racers->calls[i].call);
    tw_instance_unref(instance);
}

TW_TEST(
    "deadlines, cancels and ends of instances that race with the collector harm no call and leave nothing") {
    static struct racers racers;
    struct engine_test test;
    struct tw_error err = {};
    pthread_t thread;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_account *account = tw_account_new(TENANT, &err);
    tw_account_set_limit(account, TW_RESOURCE_CONCURRENT, 100 * CALLS);
    tw_assert_ok(tw_thread_start(&thread, "racer", cancel_again_and_again, &racers, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        run_round(&test, &racers, module, account, round);
        for (int i = 0; i < CALLS; i++) {
            enum tw_code code = racers.calls[i].call.invoke.error.code;
            ck_assert_msg(code == TW_ERR_TIMEOUT || code == TW_ERR_CANCELLED ||
                              (i == 0 && code == TW_ERR_CONFLICT),
                          "%s", tw_code_name(code));
            engine_test_forget(&racers.calls[i].call);
        }
    }
    tw_flag_raise(&racers.ends);
    tw_thread_join(thread);
    tw_module_unref(module);
    check_nothing_left(&test, account);
    engine_test_close(&test);
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_INSTANCES).now, 0);
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_CPU_MEMORY).now, 0);
    ck_assert(!tw_account_is_shared(account));
    tw_account_unref(account);
}

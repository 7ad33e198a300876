// SPDX-License-Identifier: Apache-2.0
//
// Who runs when: event loops that run calls themselves and are taken over, computing guests that are paused and
// resumed, tenants' shares, stops of paused guests, and stops that race with the end.

#include "engine_test.h"

static const char *const guest =
    "(module (import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $clock (param i32 i64 i32) (result "
    "i32)))"
    "(memory (export \"memory\") 1)"
    "(func $now (result i64) (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8))) (i64.load "
    "(i32.const 8)))"
    "(func (export \"spin\") (loop $l (br $l)))"
    // How many rounds of a million steps it gets done within some ms on the clock.
    "(func (export \"count\") (param i32) (result i32) (local $end i64) (local $n i32) (local $i i32)"
    " (local.set $end (i64.add (call $now) (i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 1000000))))"
    " (loop $o (local.set $i (i32.const 0))"
    "  (loop $i (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))"
    "   (br_if $i (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))"
    "  (local.set $n (i32.add (local.get $n) (i32.const 1)))"
    "  (br_if $o (i64.lt_u (call $now) (local.get $end)))) (local.get $n))"
    "(func (export \"short\") (param i32) (result i32) (local $n i32)"
    " (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get 0)))) "
    "(local.get $n))"
    "(func (export \"good\") (result i32) (i32.const 7)))";

// ---- event loops ----

// A loop without sockets. `taken` counts how often its thread was replaced.
struct loop {
    struct tw_executor executor;
    struct tw_state overdue, replaced;
    pthread_t replaced_thread;
};

static void on_overdue(struct tw_executor *executor) {
    struct loop *loop = (struct loop *)executor;
    tw_state_set(&loop->overdue, 1);
    tw_state_wake(&loop->overdue);
}

static void on_replaced(struct tw_executor *executor) {
    struct loop *loop = (struct loop *)executor;
    loop->replaced_thread = pthread_self();
    tw_state_set(&loop->replaced, 1);
}

static void loop_open(struct loop *loop, struct engine_test *test) {
    struct tw_error err = {};
    *loop = (struct loop){.executor = {.overdue = on_overdue, .replaced = on_replaced}};
    tw_assert_ok(tw_executor_init(&loop->executor, test->engine, &err), &err);
}

// A call that is stopped, or that does not get on because the machine is busy, costs the loop its thread: this one
// is the next as well.
static void run_all(struct loop *loop) {
    while (tw_executor_waiting(&loop->executor))
        if (!tw_executor_run(&loop->executor, TW_NS_PER_MS))
            continue;
}

struct noted {
    struct engine_test_call call;
    pthread_t thread;
    unsigned *order, place;
};

static void note_over(struct tw_invoke *invoke) {
    struct noted *noted = invoke->context;
    noted->thread = pthread_self();
    noted->place = ++*noted->order;
    tw_state_set(&noted->call.over, 1);
    tw_state_wake(&noted->call.over);
}

static void submit_noted(struct engine_test *test, struct loop *loop, struct noted *noted,
                         struct tw_module *module, uint64_t tenant, unsigned *order) {
    engine_test_prepare(&noted->call, module, "good", 20000);
    noted->call.invoke.tenant = tenant;
    noted->call.invoke.executor = &loop->executor;
    noted->call.invoke.done = note_over;
    noted->call.invoke.context = noted;
    noted->order = order;
    engine_test_submit(test, &noted->call);
}

TW_TEST("an event loop runs short calls on its own thread, and only when it says so") {
    struct engine_test test;
    struct loop loop;
    unsigned order = 0;
    engine_test_open(&test, NULL);
    loop_open(&loop, &test);
    struct tw_module *module = engine_test_module(&test, guest);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7); // leaves a warm instance
    struct noted noted = {};
    submit_noted(&test, &loop, &noted, module, 0, &order);
    ck_assert_uint_eq(order, 0);
    run_all(&loop);
    ck_assert_uint_eq(order, 1);
    ck_assert(pthread_equal(noted.thread, pthread_self()));
    ck_assert_int_eq(noted.call.invoke.results[0].of.i32, 7);
    engine_test_forget(&noted.call);
    // Another tenant has no warm instance: a worker makes it.
    submit_noted(&test, &loop, &noted, module, 1, &order);
    run_all(&loop);
    engine_test_wait(&noted.call);
    ck_assert(!pthread_equal(noted.thread, pthread_self()));
    engine_test_forget(&noted.call);
    tw_executor_done(&loop.executor);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("on an event loop, one tenant's flood does not delay another's call") {
    enum { FLOOD = 100 };
    struct engine_test test;
    struct loop loop;
    unsigned order = 0;
    engine_test_open(&test, NULL);
    loop_open(&loop, &test);
    struct tw_module *flooded = engine_test_module(&test, guest), *other = engine_test_module(&test, guest);
    ck_assert_int_eq(ENGINE_CALL(&test, flooded, "good"), 7);
    struct noted first = {}, last = {}, *flood = calloc(FLOOD, sizeof(*flood));
    submit_noted(&test, &loop, &first, other, 1, &order); // warms it for tenant 1
    run_all(&loop);
    engine_test_wait(&first.call);
    order = 0;
    for (int i = 0; i < FLOOD; i++)
        submit_noted(&test, &loop, &flood[i], flooded, 0, &order);
    submit_noted(&test, &loop, &last, other, 1, &order);
    run_all(&loop);
    ck_assert_uint_eq(order, FLOOD + 1);
    ck_assert_uint_le(last.place, 3);
    engine_test_forget(&first.call);
    engine_test_forget(&last.call);
    for (int i = 0; i < FLOOD; i++)
        engine_test_forget(&flood[i].call);
    free(flood);
    tw_executor_done(&loop.executor);
    tw_module_unref(flooded);
    tw_module_unref(other);
    engine_test_close(&test);
}

static void run_until_replaced(void *context) {
    struct loop *loop = context;
    while (tw_executor_run(&loop->executor, TW_NS_PER_MS))
        ck_assert(tw_executor_waiting(&loop->executor));
}

TW_TEST("a call that goes on for long costs its loop the thread and not its other calls") {
    struct engine_test test;
    struct loop loop;
    unsigned order = 0;
    engine_test_open(&test, NULL);
    loop_open(&loop, &test);
    struct tw_module *module = engine_test_module(&test, guest), *other = engine_test_module(&test, guest);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    ck_assert_int_eq(ENGINE_CALL(&test, other, "good"), 7);
    struct engine_test_call spinning = {};
    struct noted behind = {};
    pthread_t thread;
    struct tw_error err = {};
    engine_test_prepare(&spinning, module, "spin", 60000);
    spinning.invoke.executor = &loop.executor;
    engine_test_submit(&test, &spinning);
    submit_noted(&test, &loop, &behind, other, 0, &order);
    tw_assert_ok(tw_thread_start(&thread, "loop", run_until_replaced, &loop, &err), &err);
    while (tw_state_get(&loop.overdue) == 0)
        tw_state_wait(&loop.overdue, 0, -1);
    run_all(&loop); // this thread has taken the loop over
    engine_test_wait(&behind.call);
    ck_assert_int_eq(behind.call.invoke.error.code, TW_OK);
    ck_assert_uint_eq(tw_state_get(&spinning.over), 0);
    ck_assert_uint_eq(tw_state_get(&loop.replaced), 0);
    tw_invoke_cancel(&spinning.invoke);
    engine_test_wait(&spinning);
    tw_thread_join(thread);
    ck_assert_int_eq(spinning.invoke.error.code, TW_ERR_CANCELLED);
    ck_assert_uint_eq(tw_state_get(&loop.replaced), 1);
    ck_assert(pthread_equal(loop.replaced_thread, thread));
    engine_test_forget(&spinning);
    engine_test_forget(&behind.call);
    tw_executor_done(&loop.executor);
    tw_module_unref(module);
    tw_module_unref(other);
    engine_test_close(&test);
}

// ---- computing guests ----

static struct tw_account *account_of(uint64_t tenant, uint32_t weight) {
    struct tw_error err = {};
    struct tw_account *account;
    tw_assert_ok(account = tw_account_new(tenant, &err), &err);
    tw_account_set_weight(account, weight);
    return account;
}

enum { RIVALS = 6, COUNT_MS = 1500 };

// The computing time of one guest of tenant 1, relative to that of RIVALS guests of tenant 0 together until it ends, on one
// core. (What they get done in it depends on who else uses the machine.)
static double share_of_one(enum tw_interrupt interrupt, uint32_t weight) {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 8, .interrupt = interrupt};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_account *accounts[] = {account_of(0, 1), account_of(1, weight)};
    struct engine_test_call calls[RIVALS + 1] = {};
    double ms[2];
    for (int i = 0; i <= RIVALS; i++) {
        engine_test_prepare(&calls[i], module, "count", 60000);
        engine_test_put_args(&calls[i], 1, (int[]){COUNT_MS});
        calls[i].invoke.tenant = i == RIVALS;
        calls[i].invoke.account = accounts[i == RIVALS];
        engine_test_submit(&test, &calls[i]);
    }
    engine_test_wait(&calls[RIVALS]);
    for (int i = 0; i < 2; i++)
        ms[i] = (double)tw_account_cpu(accounts[i]).total_ms;
    for (int i = 0; i <= RIVALS; i++) {
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, TW_OK);
        ck_assert_int_gt(calls[i].invoke.results[0].of.i32, 0);
        engine_test_forget(&calls[i]);
    }
    for (int i = 0; i < 2; i++)
        tw_account_unref(accounts[i]);
    tw_module_unref(module);
    engine_test_close(&test);
    return ms[1] / ms[0];
}

// On a busy machine the guests may have a few turns only: then it is looked at again.
static void check_share(enum tw_interrupt interrupt, uint32_t weight, double least) {
    enum { LOOKS = 5 };
    double share = 0;
    for (int i = 0; i < LOOKS && share <= least; i++)
        share = share_of_one(interrupt, weight);
    ck_assert_double_gt(share, least);
}

TW_TEST("computing guests of two tenants share a core evenly, however many one has") {
    check_share(TW_INTERRUPT_POLL, 1, 0.4); // without shares it would be 1 to 6
}

TW_TEST("with epochs too") {
    check_share(TW_INTERRUPT_EPOCH, 1, 0.4);
}

TW_TEST("a tenant of weight eight gets more") {
    check_share(TW_INTERRUPT_POLL, 8, 1.4);
}

static void check_stop_paused(enum tw_interrupt interrupt) {
    enum { GUESTS = 5 };
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 8, .interrupt = interrupt};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, guest);
    for (int round = 0; round < 3; round++) { // on reused instances
        struct engine_test_call calls[GUESTS] = {};
        for (int i = 0; i < GUESTS; i++) {
            // The first has the earliest deadline, and so the turn.
            engine_test_prepare(&calls[i], module, "spin", 60000 + 1000 * i);
            engine_test_submit(&test, &calls[i]);
        }
        while (engine_test_paused(&test) < GUESTS - 1)
            sched_yield();
        ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7); // a short call waits for none of them
        for (int i = GUESTS - 1; i >= 0; i--) {
            tw_invoke_cancel(&calls[i].invoke);
            engine_test_wait(&calls[i]);
            ck_assert_int_eq(calls[i].invoke.error.code, TW_ERR_CANCELLED);
            engine_test_forget(&calls[i]);
        }
        ck_assert_uint_eq(engine_test_paused(&test), 0);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("paused guests are stopped at once, and short calls wait for none of them") {
    check_stop_paused(TW_INTERRUPT_POLL);
}

TW_TEST("paused guests are stopped at once with epochs too") {
    check_stop_paused(TW_INTERRUPT_EPOCH);
}

TW_TEST("a tenant that holds its part of the threads leaves room for others") {
    enum { SPINNERS = 12 };
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .max_long_calls = 8};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, guest);
    struct engine_test_call calls[SPINNERS] = {};
    for (int i = 0; i < SPINNERS; i++) {
        engine_test_prepare(&calls[i], module, "spin", 60000);
        engine_test_submit(&test, &calls[i]);
    }
    // It may hold as many as are left: four of eight.
    while (tw_counter_get(&test.engine->sched.held) < 4)
        sched_yield();
    struct engine_test_call other = {};
    engine_test_prepare(&other, module, "good", 60000);
    other.invoke.tenant = 1;
    engine_test_submit(&test, &other);
    engine_test_wait(&other);
    ck_assert_int_eq(other.invoke.error.code, TW_OK);
    ck_assert_int_eq(tw_counter_get(&test.engine->sched.held), 4);
    engine_test_forget(&other);
    for (int i = 0; i < SPINNERS; i++)
        tw_invoke_cancel(&calls[i].invoke);
    for (int i = 0; i < SPINNERS; i++) {
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, TW_ERR_CANCELLED);
        engine_test_forget(&calls[i]);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

// ---- stops that race with the end ----

struct racer {
    struct tw_invoke *invoke;
    struct tw_flag ends;
};

static void cancel_again_and_again(void *context) {
    struct racer *racer = context;
    for (unsigned i = 0; !tw_flag_is_raised(&racer->ends); i++) {
        for (volatile unsigned spin = 0; spin < i * 37 % 20000; spin++)
            continue;
        tw_invoke_cancel(racer->invoke);
    }
}

// One call on the loop, which may be cancelled at some moment before, while or after it runs.
static enum tw_code run_short(struct engine_test *test, struct loop *loop, struct engine_test_call *call,
                              struct tw_module *module, int steps) {
    engine_test_prepare(call, module, "short", 60000);
    engine_test_put_args(call, 1, &steps);
    call->invoke.executor = &loop->executor;
    engine_test_submit(test, call);
    run_all(loop);
    engine_test_wait(call);
    if (!call->invoke.error.code)
        ck_assert_int_eq(call->invoke.results[0].of.i32, steps);
    engine_test_forget(call);
    return call->invoke.error.code;
}

// A million calls, or as many as some seconds allow.
static void race(enum tw_interrupt interrupt, int seconds) {
    struct engine_test test;
    struct loop loop;
    struct tw_error err = {};
    struct tw_engine_options options = {.warm_per_function = 2, .interrupt = interrupt};
    engine_test_open(&test, &options);
    loop_open(&loop, &test);
    struct tw_module *module = engine_test_module(&test, guest);
    struct engine_test_call call = {};
    struct racer racer = {.invoke = &call.invoke};
    pthread_t thread;
    tw_assert_ok(tw_thread_start(&thread, "racer", cancel_again_and_again, &racer, &err), &err);
    unsigned over[TW_CODE_COUNT] = {}, count = 0;
    int64_t until_ns = tw_clock_ns() + seconds * TW_NS_PER_S;
    for (; count < 1000000 && tw_clock_ns() < until_ns; count++)
        over[run_short(&test, &loop, &call, module, 1 + (int)count % 5000)]++;
    tw_flag_raise(&racer.ends);
    tw_thread_join(thread);
    ck_assert_uint_gt(over[TW_OK], 0);
    ck_assert_uint_gt(over[TW_ERR_CANCELLED], 0);
    ck_assert_uint_eq(over[TW_OK] + over[TW_ERR_CANCELLED], count);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    tw_executor_done(&loop.executor);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("cancels that race with the end of a million calls harm no call and no instance") {
    race(TW_INTERRUPT_POLL, 6);
}

TW_TEST("the same with epochs") {
    race(TW_INTERRUPT_EPOCH, 2);
}

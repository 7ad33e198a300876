// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of a tenant's calls of a module, and what becomes of calls that are likely to be long.

#include "engine_test.h"

TW_TEST("three long calls make a habit, three short ones break it, sixteen end it") {
    struct tw_module module = {};
    tw_lock_init(&module.lock);
    tw_map_init(&module.habits, 10);
    ck_assert_int_eq(engine_habit_of(&module, 1), ENGINE_HABIT_SHORT);
    engine_habit_note(&module, 1, false); // nothing to remember
    ck_assert_int_eq(tw_counter_get(&module.long_tenants), 0);
    for (int i = 0; i < 2; i++) {
        engine_habit_note(&module, 1, true);
        ck_assert_int_eq(engine_habit_of(&module, 1), ENGINE_HABIT_MIXED);
    }
    engine_habit_note(&module, 1, true);
    ck_assert_int_eq(engine_habit_of(&module, 1), ENGINE_HABIT_LONG);
    for (int i = 0; i < 100; i++)
        engine_habit_note(&module, 1, true);
    for (int i = 1; i <= 16; i++) {
        ck_assert_int_eq(tw_counter_get(&module.long_tenants), 1);
        engine_habit_note(&module, 1, false);
        ck_assert_int_eq(engine_habit_of(&module, 1), i < 3    ? ENGINE_HABIT_LONG
                                                      : i < 16 ? ENGINE_HABIT_MIXED
                                                               : ENGINE_HABIT_SHORT);
    }
    ck_assert_int_eq(tw_counter_get(&module.long_tenants), 0);
    ck_assert_uint_eq(module.habits.count, 0);
    engine_habits_done(&module);
    tw_lock_done(&module.lock);
}

TW_TEST("each tenant has its own habits, and without room for them none is remembered") {
    struct tw_module module = {};
    tw_lock_init(&module.lock);
    tw_map_init(&module.habits, 1);
    for (int i = 0; i < 3; i++) {
        engine_habit_note(&module, 1, true);
        engine_habit_note(&module, 2, true);
    }
    ck_assert_int_eq(engine_habit_of(&module, 1), ENGINE_HABIT_LONG);
    ck_assert_int_eq(engine_habit_of(&module, 2), ENGINE_HABIT_SHORT);
    for (int i = 0; i < 20; i++)
        engine_habit_note(&module, 2, false); // another's are not forgotten for it
    ck_assert_int_eq(engine_habit_of(&module, 1), ENGINE_HABIT_LONG);
    ck_assert_int_eq(tw_counter_get(&module.long_tenants), 1);
    engine_habits_done(&module);
    tw_lock_done(&module.lock);
}

// ---- on the real engine, with one core ----

static const char *const guest = "(module (func (export \"spin\") (loop $l (br $l)))"
                                 "(func (export \"good\") (result i32) (i32.const 7)))";

enum { FOUND = 3, SPINNERS = 6, LATE_MS = 3'600'000 };

static int64_t begun(const char *how) {
    return tw_metric_get(TW_METRIC_LONG_CALLS, (struct tw_labels){.values = {how}});
}

static void spin(struct engine_test *test, struct tw_module *module, struct engine_test_call *call) {
    engine_test_prepare(call, module, "spin", LATE_MS);
    engine_test_submit(test, call);
}

// A short call that is due after all that spin.
static void check_good(struct engine_test *test, struct tw_module *module, uint64_t tenant) {
    struct engine_test_call call = {};
    engine_test_prepare(&call, module, "good", LATE_MS + 600'000);
    call.invoke.tenant = tenant;
    engine_test_submit(test, &call);
    engine_test_wait(&call);
    ck_assert_int_eq(call.invoke.error.code, TW_OK);
    ck_assert_int_eq(call.invoke.results[0].of.i32, 7);
    engine_test_forget(&call);
}

static void check_foreseen(enum tw_interrupt interrupt) {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 8, .interrupt = interrupt};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, guest);
    struct engine_test_call calls[SPINNERS] = {};
    for (int i = 0; i < FOUND; i++)
        spin(&test, module, &calls[i]);
    while (begun("found") < FOUND)
        sched_yield();
    ck_assert_int_eq(engine_habit_of(module, 0), ENGINE_HABIT_LONG);
    for (int i = FOUND; i < SPINNERS; i++)
        spin(&test, module, &calls[i]);
    while (begun("foreseen") < SPINNERS - FOUND)
        sched_yield();
    ck_assert_int_eq(begun("found"), FOUND);
    ck_assert_int_eq(tw_counter_get(&test.engine->sched.held), SPINNERS);
    // One that is short after all has its turn before those that had theirs, and not when they end.
    check_good(&test, module, 0);
    ck_assert_int_eq(begun("foreseen"), SPINNERS - FOUND + 1);
    // Another tenant's is none of these.
    ck_assert_int_eq(engine_habit_of(module, 1), ENGINE_HABIT_SHORT);
    check_good(&test, module, 1);
    ck_assert_int_eq(begun("foreseen"), SPINNERS - FOUND + 1);
    for (int i = SPINNERS - 1; i >= 0; i--) {
        tw_invoke_cancel(&calls[i].invoke);
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, TW_ERR_CANCELLED);
        engine_test_forget(&calls[i]);
    }
    ck_assert_int_eq(tw_counter_get(&test.engine->sched.held), 0);
    while (engine_habit_of(module, 0) != ENGINE_HABIT_SHORT)
        check_good(&test, module, 0); // one may take long for want of a processor
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("calls that wait end the habit when they begin to wait, and not when they end") {
    enum { SLEEPERS = 60 };
    static const char sleeping[] =
        "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) "
        "(result "
        "i32))) (memory (export \"memory\") 1) (func (export \"spin\") (loop $l (br $l)))"
        "(func (export \"sleep\") (result i32) (i32.store (i32.const 16) (i32.const 1))"
        " (i64.store (i32.const 24) (i64.const 3600000000000))"
        " (call $poll (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512))))";
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .max_instances = FOUND + SLEEPERS};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, sleeping);
    struct engine_test_call spinners[FOUND] = {}, sleepers[SLEEPERS] = {};
    for (int i = 0; i < FOUND; i++)
        spin(&test, module, &spinners[i]);
    while (engine_habit_of(module, 0) != ENGINE_HABIT_LONG)
        sched_yield();
    for (int i = 0; i < SLEEPERS; i++) {
        engine_test_prepare(&sleepers[i], module, "sleep", LATE_MS);
        engine_test_submit(&test, &sleepers[i]);
    }
    while (engine_habit_of(module, 0) == ENGINE_HABIT_LONG) // none of them has ended
        sched_yield();
    for (int i = 0; i < FOUND + SLEEPERS; i++) {
        struct engine_test_call *call = i < FOUND ? &spinners[i] : &sleepers[i - FOUND];
        tw_invoke_cancel(&call->invoke);
        engine_test_wait(call);
        ck_assert_int_eq(call->invoke.error.code, TW_ERR_CANCELLED);
        engine_test_forget(call);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("calls whose predecessors were long begin with a turn of their tenant's") {
    check_foreseen(TW_INTERRUPT_POLL);
}

TW_TEST("the same with epochs") {
    check_foreseen(TW_INTERRUPT_EPOCH);
}

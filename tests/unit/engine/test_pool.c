// SPDX-License-Identifier: Apache-2.0
//
// Warm instances: whose they are, how many there are, how they come and go.

#include "engine_test.h"

static const char *const plain = "(module (memory (export \"memory\") 1) (global $g (mut i32) (i32.const 5))"
                                 "(func (export \"f\") (result i32) (global.set $g (i32.add (global.get $g) "
                                 "(i32.const 1))) (global.get $g)))";
// Its code changes a table, so its instances serve once.
static const char *const once =
    "(module (table $t 2 funcref) (elem declare func $f) (func $f) (func (export \"f\") (result i32)"
    " (table.set $t (i32.const 1) (ref.func $f)) (i32.const 6)))";

static struct engine_instance *take(struct tw_module *module, uint64_t tenant) {
    struct tw_error err = {};
    struct engine_instance *instance = engine_pool_take(module, tenant, NULL, TW_NO_DEADLINE, &err);
    tw_assert_ok(instance, &err);
    ck_assert_uint_eq(instance->tenant, tenant);
    return instance;
}

static uint32_t prewarm(struct engine_test *test, struct tw_module *module, uint64_t tenant, uint32_t count) {
    struct tw_error err = {};
    uint32_t warm;
    tw_assert_ok(tw_module_prewarm(test->engine, module, tenant, NULL, count, &warm, &err), &err);
    return warm;
}

static struct tw_engine_stats stats_of(struct engine_test *test) {
    struct tw_engine_stats stats;
    tw_engine_stats(test->engine, &stats);
    return stats;
}

static void rest(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1'000'000}, NULL);
}

TW_TEST("each tenant has a pool of its own with a maximum of its own, newest first") {
    enum { TENANTS = 50 };
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 2};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, plain);
    for (uint64_t tenant = 0; tenant < TENANTS; tenant++)
        ck_assert_uint_eq(prewarm(&test, module, tenant, 5), 2);
    ck_assert_uint_eq(stats_of(&test).warm, 2 * TENANTS);
    for (uint64_t tenant = 0; tenant < TENANTS; tenant++) {
        struct engine_instance *first = take(module, tenant), *second = take(module, tenant);
        ck_assert_uint_eq(stats_of(&test).instances, 2 * TENANTS); // both were hits
        engine_pool_give(first);
        engine_pool_give(second);
        ck_assert_ptr_eq(take(module, tenant), second);
        engine_pool_give(second);
    }
    tw_module_unref(module);
    ck_assert_uint_eq(stats_of(&test).instances, 0);
    engine_test_close(&test);
}

TW_TEST("what nobody takes goes, what is taken stays") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 8, .warm_idle_ms = 40};
    engine_test_open(&test, &options);
    struct tw_module *busy = engine_test_module(&test, plain), *idle = engine_test_module(&test, plain);
    prewarm(&test, busy, 0, 6);
    prewarm(&test, idle, 0, 6);
    ck_assert_uint_eq(stats_of(&test).warm, 12);
    do {
        ck_assert_int_eq(ENGINE_CALL(&test, busy, "f"), 6);
        rest();
    } while (stats_of(&test).instances != 1); // six and five are gone; the one is the busy function's
    while (stats_of(&test).instances != 0)
        rest();
    ck_assert_int_eq(ENGINE_CALL(&test, idle, "f"), 6);
    tw_module_unref(busy);
    tw_module_unref(idle);
    engine_test_close(&test);
}

TW_TEST("at the maximum of warm ones an idle function's makes room") {
    struct engine_test test;
    struct tw_engine_options options = {
        .workers = 1, .warm_per_function = 2, .max_warm = 1, .warm_idle_ms = 1'000'000};
    engine_test_open(&test, &options);
    struct tw_module *a = engine_test_module(&test, plain), *b = engine_test_module(&test, plain);
    prewarm(&test, a, 0, 1);
    struct engine_instance *own, *taken;
    do { // not at first: a's was in use a moment ago
        rest();
        engine_pool_give(own = take(b, 0));
        ck_assert_uint_eq(stats_of(&test).instances, 1);
        taken = take(b, 0);
        engine_pool_give(taken);
    } while (taken != own);
    ck_assert_uint_eq(stats_of(&test).instances, 1);
    tw_module_unref(a);
    tw_module_unref(b);
    engine_test_close(&test);
}

TW_TEST("instances that serve once are made ahead, as many as were needed at once") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 3};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, once);
    ck_assert(module->single_use);
    ck_assert_uint_eq(stats_of(&test).warm, 0);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 6);
        while (stats_of(&test).warm != 1)
            rest();
    }
    // Two at once: one hit, one miss; from then on two are ready.
    struct engine_instance *one = take(module, 0), *two = take(module, 0);
    engine_pool_give(one);
    engine_pool_give(two);
    engine_pool_refill(module, 0, NULL);
    while (stats_of(&test).warm != 2)
        rest();
    ck_assert_uint_eq(stats_of(&test).instances, 2);
    tw_module_unref(module);
    while (stats_of(&test).instances) // the task that makes them may hold the module for a moment
        rest();
    engine_test_close(&test);
}

TW_TEST("at the cap on instances the pool that lay idle longest makes room") {
    enum { FUNCTIONS = 6 };
    struct engine_test test;
    struct tw_engine_options options = {
        .workers = 1, .warm_per_function = 2, .max_instances = FUNCTIONS, .warm_idle_ms = 1'000'000};
    engine_test_open(&test, &options);
    struct tw_module *modules[FUNCTIONS + 1];
    for (int i = 0; i < FUNCTIONS + 1; i++)
        modules[i] = engine_test_module(&test, plain);
    for (int i = 0; i < FUNCTIONS; i++)
        prewarm(&test, modules[i], (uint64_t)i, 1);
    for (int i = 0; i < 3 * FUNCTIONS; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, modules[i % (FUNCTIONS + 1)], "f"), 6);
    ck_assert_uint_eq(stats_of(&test).instances, FUNCTIONS);
    for (int i = 0; i < FUNCTIONS + 1; i++)
        tw_module_unref(modules[i]);
    while (stats_of(&test).instances) // the last call's worker may hold its module for a moment
        rest();
    engine_test_close(&test);
}

TW_TEST("prewarming ends at the cap on instances, says so, and what it made serves") {
    enum { CAP = 3 };
    struct engine_test test;
    struct tw_engine_options options = {
        .workers = 1, .warm_per_function = 8, .max_instances = CAP, .warm_idle_ms = 1'000'000};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, plain), *other = engine_test_module(&test, plain);
    struct tw_error err = {};
    uint32_t warm = 77;
    ck_assert(!tw_module_prewarm(test.engine, module, 0, NULL, CAP + 2, &warm, &err));
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    ck_assert_uint_eq(warm, 77); // as all outputs of what failed
    ck_assert_uint_eq(stats_of(&test).warm, CAP);
    int64_t made = tw_metric_get(TW_METRIC_INSTANCE_SPAWNS, tw_labels());
    struct engine_instance *taken[CAP];
    for (int i = 0; i < CAP; i++)
        taken[i] = take(module, 0);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_INSTANCE_SPAWNS, tw_labels()), made);
    ck_assert_uint_eq(stats_of(&test).warm, 0);
    // All of them are in use: another function gets none, until one is back, which then makes room.
    ck_assert_ptr_null(engine_pool_take(other, 0, NULL, TW_NO_DEADLINE, &err));
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
    for (int i = 0; i < CAP; i++)
        engine_pool_give(taken[i]);
    ck_assert_int_eq(ENGINE_CALL(&test, other, "f"), 6);
    ck_assert_uint_eq(stats_of(&test).instances, CAP);
    tw_module_unref(module);
    tw_module_unref(other);
    while (stats_of(&test).instances) // the last call's worker may hold its module for a moment
        rest();
    engine_test_close(&test);
}

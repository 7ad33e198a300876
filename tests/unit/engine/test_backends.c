// SPDX-License-Identifier: Apache-2.0
//
// What must hold wherever memory lies and however guests are interrupted: guests that are paused and resumed again and again
// compute what they compute alone, paused ones are stopped, stops that race with the end of a call harm nothing, and a
// reset that fails costs its instance only. On instances that are used again.

#include "engine_test.h"

#include <sched.h>

static const char guest[] =
    "(module (memory (export \"memory\") 1 4) (global $g (mut i32) (i32.const 5))"
    // Locals, memory and a global go through it.
    "(func (export \"mix\") (param $seed i32) (param $n i32) (result i32) (local $i i32) (local $x f64)"
    " (if (i32.or (i32.ne (global.get $g) (i32.const 5)) (i32.ne (memory.size) (i32.const 1))) (then "
    "unreachable))"
    " (global.set $g (local.get $seed)) (drop (memory.grow (i32.const 2)))"
    " (loop $l"
    "  (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))"
    "  (i32.store (i32.and (local.get $i) (i32.const 0x1fffc)) (i32.xor (local.get $seed)"
    "   (i32.load (i32.and (local.get $seed) (i32.const 0x1fffc)))))"
    "  (local.set $x (f64.add (local.get $x) (f64.const 0.5)))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))"
    " (i32.add (i32.add (i32.load (i32.and (local.get $seed) (i32.const 0x1fffc))) (i32.trunc_f64_u "
    "(local.get $x)))"
    "  (global.get $g)))"
    "(func (export \"spin\") (loop $l (br $l))))";

static int mixed(uint32_t seed, uint32_t n) {
    static uint32_t memory[0x20000 / 4 + 1];
    uint32_t began_with = seed;
    memset(memory, 0, sizeof memory);
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        memory[(i & 0x1fffc) / 4] = seed ^ memory[(seed & 0x1fffc) / 4];
    }
    return (int)(memory[(seed & 0x1fffc) / 4] + n / 2 + began_with);
}

static void submit_mix(struct engine_test *test, struct engine_test_call *call, struct tw_module *module,
                       int seed, int n) {
    *call = (struct engine_test_call){};
    engine_test_prepare(call, module, "mix", ENGINE_TEST_PATIENCE_MS);
    engine_test_put_args(call, 2, (int[]){seed, n});
    engine_test_submit(test, call);
}

static const struct backend {
    const char *name;
    enum tw_memory_backend memory;
    enum tw_interrupt interrupt;
} backends[] = {
    {"owned, polls", TW_MEMORY_OWNED, TW_INTERRUPT_POLL},
    {"owned, epochs", TW_MEMORY_OWNED, TW_INTERRUPT_EPOCH},
    {"pooling, polls", TW_MEMORY_POOLING, TW_INTERRUPT_POLL},
    {"pooling, epochs", TW_MEMORY_POOLING, TW_INTERRUPT_EPOCH},
};

// One core's worth of turns for all of its guests.
static struct tw_module *open_backend(struct engine_test *test, const struct backend *backend) {
    struct tw_engine_options options = {.workers = 1,
                                        .warm_per_function = 8,
                                        .max_instances = 64,
                                        .memory = backend->memory,
                                        .interrupt = backend->interrupt};
    engine_test_open(test, &options);
    return engine_test_module(test, guest);
}

// ---- pauses -----------------------------------------------------------------------------------------------
enum { GUESTS = 5, STEPS = 20'000'000, ROUNDS_MOST = 50 };

// Whether one of them was seen paused.
static bool mix_at_once(struct engine_test *test, struct tw_module *module, const int *expected) {
    struct engine_test_call calls[GUESTS];
    bool was_paused = false;
    for (int i = 0; i < GUESTS; i++)
        submit_mix(test, &calls[i], module, i, STEPS);
    for (int i = 0; i < GUESTS; i++) {
        while (tw_state_get(&calls[i].over) == 0) {
            was_paused = was_paused || engine_test_paused(test) > 0;
            sched_yield();
        }
        ck_assert_int_eq(calls[i].invoke.error.code, TW_OK);
        ck_assert_int_eq(calls[i].invoke.results[0].of.i32, expected[i]);
        engine_test_forget(&calls[i]);
    }
    return was_paused;
}

TW_TEST("guests that are paused and resumed again and again compute what they compute alone") {
    int expected[GUESTS];
    for (int i = 0; i < GUESTS; i++)
        expected[i] = mixed((uint32_t)i, STEPS);
    for (size_t b = 0; b < TW_COUNT(backends); b++) {
        struct engine_test test;
        struct tw_module *module = open_backend(&test, &backends[b]);
        int rounds = 0;
        while (!mix_at_once(&test, module, expected))
            ck_assert_msg(++rounds < ROUNDS_MOST, "%s: nobody was ever paused", backends[b].name);
        tw_module_unref(module);
        engine_test_close(&test);
    }
}

TW_TEST("paused guests are stopped in a pool's slots too, and the slots serve again") {
    for (size_t b = 2; b < TW_COUNT(backends); b++) {
        struct engine_test test;
        struct tw_module *module = open_backend(&test, &backends[b]);
        struct engine_test_call calls[GUESTS] = {};
        for (int i = 0; i < GUESTS; i++) {
            engine_test_prepare(&calls[i], module, "spin", ENGINE_TEST_PATIENCE_MS);
            engine_test_submit(&test, &calls[i]);
        }
        while (engine_test_paused(&test) < GUESTS - 1)
            sched_yield();
        for (int i = GUESTS - 1; i >= 0; i--) {
            tw_invoke_cancel(&calls[i].invoke);
            engine_test_wait(&calls[i]);
            ck_assert_int_eq(calls[i].invoke.error.code, TW_ERR_CANCELLED);
            engine_test_forget(&calls[i]);
        }
        for (int i = 0; i < 2 * GUESTS; i++)
            ck_assert_int_eq(engine_test_i32(&test, module, "mix", 2, (int[]){i, 1000}),
                             mixed((uint32_t)i, 1000));
        tw_module_unref(module);
        engine_test_close(&test);
    }
}

// ---- stops that race with the end -------------------------------------------------------------------------
// Deadlines and cancels around the moment at which a call returns by itself: it did, or it was stopped.
static void race(const struct backend *backend, int64_t until_ns) {
    struct engine_test test;
    struct tw_module *module = open_backend(&test, backend);
    unsigned over[TW_CODE_COUNT] = {}, count = 0;
    int expected = mixed(3, 300'000);
    for (; count < 100'000 && (tw_clock_ns() < until_ns || !over[TW_OK] || !over[TW_ERR_CANCELLED]);
         count++) {
        struct engine_test_call call;
        // Within 2 ms, and later and later where calls take longer.
        int64_t moment_ns = tw_clock_ns() + (int64_t)(count * 7919 % 1000) * (2000 + 10 * (int64_t)count);
        submit_mix(&test, &call, module, 3, 300'000);
        while (tw_clock_ns() < moment_ns && tw_state_get(&call.over) == 0)
            continue;
        tw_invoke_cancel(&call.invoke);
        engine_test_wait(&call);
        over[call.invoke.error.code]++;
        if (!call.invoke.error.code)
            ck_assert_int_eq(call.invoke.results[0].of.i32, expected);
        engine_test_forget(&call);
    }
    ck_assert_uint_gt(over[TW_OK], 0);
    ck_assert_uint_gt(over[TW_ERR_CANCELLED], 0);
    ck_assert_uint_eq(over[TW_OK] + over[TW_ERR_CANCELLED], count);
    ck_assert_int_eq(engine_test_i32(&test, module, "mix", 2, (int[]){3, 300'000}), expected);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("cancels that race with a call's end harm neither it nor the next, wherever memory lies") {
    for (size_t b = 0; b < TW_COUNT(backends); b++)
        race(&backends[b], tw_clock_ns() + TW_NS_PER_S);
}

// ---- resets that fail -------------------------------------------------------------------------------------
TW_TEST("a reset that fails in a pool's slot costs its instance, is counted, and the next call is fresh") {
    for (size_t b = 2; b < TW_COUNT(backends); b++) {
        struct engine_test test;
        struct tw_module *module = open_backend(&test, &backends[b]);
        struct tw_engine_stats stats;
        for (int i = 0; i < 200; i++) { // more often than there are slots: none is lost
            int64_t failed = tw_metric_get(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(0));
            tw_fault_configure("reset:1");
            ck_assert_int_eq(engine_test_i32(&test, module, "mix", 2, (int[]){i, 100}),
                             mixed((uint32_t)i, 100));
            while (tw_metric_get(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(0)) == failed)
                sched_yield(); // the answer comes before the reset
            tw_fault_configure("");
            ck_assert_int_eq(tw_metric_get(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(0)), failed + 1);
            do
                tw_engine_stats(test.engine, &stats);
            while (stats.instances > 0);
        }
        ck_assert_int_eq(engine_test_i32(&test, module, "mix", 2, (int[]){9, 100}), mixed(9, 100));
        tw_module_unref(module);
        engine_test_close(&test);
    }
}

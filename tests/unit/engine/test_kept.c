// SPDX-License-Identifier: Apache-2.0
//
// Instances that keep their state: what lives on, what does not, whose turn it is, and what ends them.

#include "engine_test.h"

static const char *const guest =
    "(module (import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
    "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
    "(import \"wasi:tensor/host@0.1.0\" \"read-input\" (func $read (param i32 i32) (result i32)))"
    "(memory (export \"memory\") 1 10) (global $g (mut i32) (i32.const 100)) (table $t 4 funcref)"
    "(elem declare func $exit)"
    "(func (export \"count\") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1)))"
    " (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))"
    " (i32.add (i32.mul (i32.load (i32.const 64)) (i32.const 1000)) (global.get $g)))"
    "(func (export \"grow\") (result i32) (drop (memory.grow (i32.const 1))) (memory.size))"
    "(func (export \"set\") (table.set $t (i32.const 2) (ref.func $exit)))"
    "(func (export \"is_set\") (result i32) (i32.eqz (ref.is_null (table.get $t (i32.const 2)))))"
    "(func (export \"read\") (result i32) (call $read (i32.const 1000) (i32.const 100)))"
    "(func (export \"trap\") (result i32) unreachable)"
    "(func (export \"leave\") (call $exit (i32.const 0)))"
    "(func (export \"spin\") (loop $l (br $l)))"
    "(func (export \"tell_and_spin\") (drop (call $emit (i32.const 0) (i32.const 1))) (loop $l (br $l)))"
    "(func (export \"emit\") (drop (call $emit (i32.const 0) (i32.const 1)))))";

static struct tw_instance *make(struct tw_module *module) {
    struct tw_error err = {};
    struct tw_instance *instance = tw_instance_new(module, 7, NULL, 1000 * TW_NS_PER_S, &err);
    tw_assert_ok(instance, &err);
    return instance;
}

static void prepare(struct engine_test_call *call, struct tw_module *module, struct tw_instance *instance,
                    const char *export, int timeout_ms) {
    engine_test_prepare(call, module, export, timeout_ms);
    call->invoke.instance = instance;
    call->invoke.tenant = 7;
}

// A call's i32 result; the call must succeed.
static int result(struct engine_test *test, struct tw_module *module, struct tw_instance *instance,
                  const char *export) {
    struct engine_test_call call = {};
    prepare(&call, module, instance, export, 600'000);
    engine_test_submit(test, &call);
    engine_test_wait(&call);
    if (call.invoke.error.code)
        ck_abort_msg("%s: %s", export, call.invoke.error.message);
    int value = call.invoke.result_count ? call.invoke.results[0].of.i32 : 0;
    engine_test_forget(&call);
    return value;
}

static enum tw_code code(struct engine_test *test, struct tw_module *module, struct tw_instance *instance,
                         const char *export, int timeout_ms) {
    struct engine_test_call call = {};
    prepare(&call, module, instance, export, timeout_ms);
    engine_test_submit(test, &call);
    engine_test_wait(&call);
    enum tw_code found = call.invoke.error.code;
    engine_test_forget(&call);
    return found;
}

// The error that a call is refused with before it is queued.
static struct tw_error refused(struct engine_test *test, struct tw_module *module,
                               struct tw_instance *instance) {
    struct engine_test_call call = {};
    struct tw_error err = {};
    prepare(&call, module, instance, "count", 600'000);
    ck_assert(!tw_engine_submit(test->engine, &call.invoke, &err));
    engine_test_forget(&call);
    return err;
}

TW_TEST("memory, globals, tables and growth live on, input does not, and instances do not share") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_instance *one = make(module), *two = make(module);
    for (int i = 1; i <= 3; i++)
        ck_assert_int_eq(result(&test, module, one, "count"), i * 1000 + 100 + i);
    ck_assert_int_eq(result(&test, module, two, "count"), 1101);
    ck_assert_int_eq(result(&test, module, one, "grow"), 2);
    ck_assert_int_eq(result(&test, module, one, "grow"), 3);
    ck_assert_int_eq(result(&test, module, one, "is_set"), 0);
    result(&test, module, one, "set");
    ck_assert_int_eq(result(&test, module, one, "is_set"), 1);
    ck_assert_int_eq(result(&test, module, two, "is_set"), 0);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "count"), 1101); // on a fresh one
    for (int i = 0; i < 2; i++) {
        struct engine_test_call call = {};
        prepare(&call, module, one, "read", 600'000);
        call.invoke.input = tw_span_of("abcdef", 6);
        engine_test_submit(&test, &call);
        engine_test_wait(&call);
        ck_assert_int_eq(call.invoke.results[0].of.i32, 6); // the second call's input is whole again
        engine_test_forget(&call);
    }
    struct tw_instance_state state;
    tw_instance_look(one, &state);
    ck_assert_uint_eq(state.calls, 10);
    ck_assert_uint_eq(state.memory_bytes, 3 * 65536);
    ck_assert(!state.has_ended && !state.is_running);
    tw_instance_unref(one);
    tw_instance_unref(two);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a trap, an exit or a deadline ends the instance, and later calls hear why") {
    static const struct {
        const char *export, *reason;
        enum tw_code code;
    } ends[] = {{"trap", "unreachable", TW_ERR_GUEST_TRAP},
                {"leave", "proc_exit", TW_OK},
                {"spin", "deadline", TW_ERR_TIMEOUT}};
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    for (size_t i = 0; i < TW_COUNT(ends); i++) {
        struct tw_instance *instance = make(module);
        ck_assert_int_eq(result(&test, module, instance, "count"), 1101);
        ck_assert_int_eq(code(&test, module, instance, ends[i].export, i == 2 ? 50 : 600'000), ends[i].code);
        struct tw_error err = refused(&test, module, instance);
        ck_assert_int_eq(err.code, TW_ERR_CONFLICT);
        if (!strstr(err.message, ends[i].reason))
            ck_abort_msg("%s", err.message);
        struct tw_engine_stats stats;
        tw_engine_stats(test.engine, &stats);
        ck_assert_uint_eq(stats.kept, 0);
        tw_instance_unref(instance);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a call that is refused or never began leaves the instance alone") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_instance *instance = make(module);
    struct engine_test_call call = {};
    struct tw_error err = {};
    prepare(&call, module, instance, "nothing", 600'000);
    ck_assert(!tw_engine_submit(test.engine, &call.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_MISSING_EXPORT);
    engine_test_forget(&call);
    ck_assert_int_eq(code(&test, module, instance, "count", -1), TW_ERR_TIMEOUT); // late before it begins
    ck_assert_int_eq(result(&test, module, instance, "count"), 1101);
    tw_instance_unref(instance);
    tw_module_unref(module);
    engine_test_close(&test);
}

// A guest that emits waits until the gate opens.
static struct tw_state gate;

static bool wait_at_gate(struct tw_invoke *invoke, struct tw_span bytes) {
    (void)invoke;
    (void)bytes;
    while (tw_state_get(&gate) == 0)
        tw_state_wait(&gate, 0, -1);
    return true;
}

TW_TEST("calls wait for their turn in order; one that waits too long or is cancelled leaves the queue") {
    enum { CALLS = 20 };
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_instance *instance = make(module);
    struct engine_test_call holder = {}, late = {}, gone = {};
    static struct engine_test_call calls[CALLS];
    prepare(&holder, module, instance, "emit", 600'000);
    holder.invoke.emit = wait_at_gate;
    engine_test_submit(&test, &holder);
    prepare(&late, module, instance, "count", 20);
    engine_test_submit(&test, &late);
    prepare(&gone, module, instance, "count", 600'000);
    engine_test_submit(&test, &gone);
    for (int i = 0; i < CALLS; i++) {
        prepare(&calls[i], module, instance, "count", 600'000);
        engine_test_submit(&test, &calls[i]);
    }
    tw_invoke_cancel(&gone.invoke);
    engine_test_wait(&late);
    engine_test_wait(&gone);
    ck_assert_int_eq(late.invoke.error.code, TW_ERR_TIMEOUT);
    ck_assert_int_eq(gone.invoke.error.code, TW_ERR_CANCELLED);
    tw_state_set(&gate, 1);
    tw_state_wake(&gate);
    engine_test_wait(&holder);
    ck_assert_int_eq(holder.invoke.error.code, TW_OK);
    for (int i = 0; i < CALLS; i++) {
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.results[0].of.i32, (i + 1) * 1000 + 101 + i);
        engine_test_forget(&calls[i]);
    }
    engine_test_forget(&holder);
    engine_test_forget(&late);
    engine_test_forget(&gone);
    tw_instance_unref(instance);
    tw_module_unref(module);
    engine_test_close(&test);
}

// What a guest emits tells that it runs.
static struct tw_state spins;
static bool tell(struct tw_invoke *invoke, struct tw_span bytes) {
    (void)invoke;
    (void)bytes;
    tw_state_set(&spins, 1);
    tw_state_wake(&spins);
    return true;
}

TW_TEST("more calls than may wait are refused, and ending the instance sends the waiting ones away") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_instance *instance = make(module);
    struct engine_test_call spinner = {};
    static struct engine_test_call calls[ENGINE_KEPT_WAITING_MAX];
    prepare(&spinner, module, instance, "tell_and_spin", 600'000);
    spinner.invoke.emit = tell;
    engine_test_submit(&test, &spinner);
    while (tw_state_get(&spins) == 0)
        tw_state_wait(&spins, 0, -1);
    for (int i = 0; i < ENGINE_KEPT_WAITING_MAX; i++) {
        prepare(&calls[i], module, instance, "count", 600'000);
        engine_test_submit(&test, &calls[i]);
    }
    ck_assert_int_eq(refused(&test, module, instance).code, TW_ERR_CONCURRENCY);
    tw_instance_end(instance, "it was deleted");
    engine_test_wait(&spinner);
    ck_assert_int_eq(spinner.invoke.error.code, TW_ERR_CANCELLED);
    for (int i = 0; i < ENGINE_KEPT_WAITING_MAX; i++) {
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, TW_ERR_CONFLICT);
        ck_assert_ptr_nonnull(strstr(calls[i].invoke.error.message, "it was deleted"));
        engine_test_forget(&calls[i]);
    }
    engine_test_forget(&spinner);
    tw_instance_unref(instance);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("an instance nobody calls ends by itself and frees its room") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_error err = {};
    struct tw_instance *instance = tw_instance_new(module, 7, NULL, TW_NS_PER_MS, &err);
    tw_assert_ok(instance, &err);
    struct tw_instance_state state;
    struct tw_engine_stats stats;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 1'000'000}, NULL);
        tw_instance_look(instance, &state);
        tw_engine_stats(test.engine, &stats);
    } while (!state.has_ended || stats.kept || stats.instances);
    ck_assert_ptr_nonnull(strstr(state.reason, "nobody called it"));
    tw_instance_unref(instance);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("hundreds of calls on few instances count right") {
    enum { CALLS = 600, INSTANCES = 3 };
    struct engine_test test;
    struct tw_engine_options options = {.workers = 4, .warm_per_function = 1, .max_queued = CALLS};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_instance *instances[INSTANCES];
    static struct engine_test_call calls[CALLS];
    int counted[INSTANCES] = {};
    for (int i = 0; i < INSTANCES; i++)
        instances[i] = make(module);
    for (int i = 0; i < CALLS; i++) {
        prepare(&calls[i], module, instances[i % INSTANCES], "count", 600'000);
        struct tw_error err = {};
        while (!tw_engine_submit(test.engine, &calls[i].invoke, &err))
            ck_assert_int_eq(err.code, TW_ERR_CONCURRENCY);
    }
    for (int i = 0; i < CALLS; i++) {
        engine_test_wait(&calls[i]);
        int expected = ++counted[i % INSTANCES];
        ck_assert_int_eq(calls[i].invoke.results[0].of.i32, expected * 1000 + 100 + expected);
        engine_test_forget(&calls[i]);
    }
    for (int i = 0; i < INSTANCES; i++)
        tw_instance_unref(instances[i]);
    tw_module_unref(module);
    engine_test_close(&test);
}

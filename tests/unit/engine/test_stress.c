// SPDX-License-Identifier: Apache-2.0
//
// Many calls at once, of several modules and tenants, that compute, sleep, yield, grow, trap, exit or never
// end: each has its own right outcome, and nothing is left over.

#include "engine_test.h"

static const char *const guest =
    "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result "
    "i32)))"
    "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
    "(import \"wasi:scheduler/host@0.1.0\" \"yield\" (func $yield (result i32)))"
    "(memory (export \"memory\") 2 20) (global $g (mut i32) (i32.const 0))"
    // Trouble if anything is left of another call; else marks memory, global and size.
    "(func $mark (if (i32.or (i32.or (i32.load (i32.const 70000)) (global.get $g)) (i32.ne (memory.size) "
    "(i32.const 2))) (then unreachable))"
    " (i32.store (i32.const 70000) (i32.const 1)) (global.set $g (i32.const 1)) (drop (memory.grow "
    "(i32.const 1))))"
    "(func $sleep (param i32) (i32.store (i32.const 16) (i32.const 1))"
    " (i64.store (i32.const 24) (i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 1000)))"
    " (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200))))"
    "(func (export \"f\") (param $kind i32) (param $n i32) (result i32) (local $i i32)"
    " (call $mark)"
    " (if (i32.eq (local.get $kind) (i32.const 0)) (then (loop $l (local.set $i (i32.add (local.get $i) "
    "(i32.const 1)))"
    "  (br_if $l (i32.lt_u (local.get $i) (local.get $n))))))"
    " (if (i32.eq (local.get $kind) (i32.const 1)) (then (call $sleep (local.get $n))))"
    " (if (i32.eq (local.get $kind) (i32.const 2)) (then (drop (call $yield)) (drop (call $yield))))"
    " (if (i32.eq (local.get $kind) (i32.const 3)) (then (drop (i32.load (i32.const -1)))))"
    " (if (i32.eq (local.get $kind) (i32.const 4)) (then (call $exit (i32.const 9))))"
    " (if (i32.eq (local.get $kind) (i32.const 5)) (then (loop $l (br $l))))"
    " (if (i32.eq (local.get $kind) (i32.const 6)) (then (loop $l (call $sleep (i32.const 100)) (br $l))))"
    " (local.get $n)))";

enum { CALLS = 3000, MODULES = 3, KINDS = 7 };

static enum tw_code expected(int kind) {
    static const enum tw_code codes[KINDS] = {
        TW_OK, TW_OK, TW_OK, TW_ERR_GUEST_TRAP, TW_ERR_GUEST_EXIT, TW_ERR_TIMEOUT, TW_ERR_TIMEOUT};
    return codes[kind];
}

TW_TEST("thousands of calls at once each have their own outcome") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 4, .warm_per_function = 8, .max_queued = 3 * CALLS};
    engine_test_open(&test, &options);
    struct tw_module *modules[MODULES];
    for (int i = 0; i < MODULES; i++)
        modules[i] = engine_test_module(&test, guest);
    struct engine_test_call *calls = calloc(CALLS, sizeof(*calls));
    for (int i = 0; i < CALLS; i++) {
        // Those that never end are few: they hold a worker until their deadline.
        int kind = i % 100 == 50 ? 5 + i / 100 % 2 : i % 5;
        engine_test_prepare(&calls[i], modules[i % MODULES], "f", kind >= 5 ? 20 : 40000);
        calls[i].invoke.tenant = (uint64_t)(i % 2);
        engine_test_put_args(&calls[i], 2, (int[]){kind, i % 1000});
        engine_test_submit(&test, &calls[i]);
        if (kind < 5 && i % 7 == 0)
            tw_invoke_cancel(&calls[i].invoke); // it may be over already
    }
    unsigned cancelled = 0;
    for (int i = 0; i < CALLS; i++) {
        struct tw_invoke *invoke = &calls[i].invoke;
        int kind = calls[i].args[0].of.i32;
        engine_test_wait(&calls[i]);
        if (invoke->error.code == TW_ERR_CANCELLED && kind < 5 && i % 7 == 0)
            cancelled++;
        else if (invoke->error.code != expected(kind))
            ck_abort_msg("call %d of kind %d: %s: %s", i, kind, tw_code_name(invoke->error.code),
                         invoke->error.message);
        else if (kind < 3)
            ck_assert_int_eq(invoke->results[0].of.i32, i % 1000);
        else if (kind == 3)
            ck_assert_str_eq(invoke->trap_kind, "out_of_bounds");
        engine_test_forget(&calls[i]);
    }
    ck_assert_uint_gt(cancelled, 0);
    free(calls);
    for (int i = 0; i < MODULES; i++)
        tw_module_unref(modules[i]);
    struct tw_engine_stats stats;
    do
        tw_engine_stats(test.engine, &stats);
    while (stats.instances > 0);
    ck_assert_uint_eq(stats.warm, 0);
    engine_test_close(&test);
}

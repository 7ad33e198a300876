// SPDX-License-Identifier: Apache-2.0
//
// Wasmtime's pooling allocator as the memory backend gives what the owned memory gives: fresh state for every call,
// limits, deadlines, memory that grows under host functions. What it cannot do it says.

#include "engine_test.h"

static void open_pooled(struct engine_test *test, enum tw_interrupt interrupt) {
    struct tw_engine_options options = {
        .warm_per_function = 4, .max_instances = 64, .memory = TW_MEMORY_POOLING, .interrupt = interrupt};
    engine_test_open(test, &options);
}

// Answers what the image has; leaves nothing of it behind.
static const char vandal[] =
    "(module (memory (export \"memory\") 1) (global $g (mut i32) (i32.const 7))"
    " (data (i32.const 65000) \"\\05\")"
    " (func $start (drop (memory.grow (i32.const 1))) (i32.store8 (i32.const 100000) (i32.const 9)))"
    " (start $start)"
    " (func (export \"vandal\") (result i32) (local $seen i32)"
    "  (local.set $seen (i32.add (i32.add (i32.load8_u (i32.const 65000)) (global.get $g))"
    "   (i32.add (i32.load8_u (i32.const 100000)) (i32.mul (memory.size) (i32.const 1000)))))"
    "  (drop (memory.grow (i32.const 2)))"
    "  (memory.fill (i32.const 0) (i32.const 255) (i32.mul (memory.size) (i32.const 65536)))"
    "  (global.set $g (i32.const 99)) (local.get $seen))"
    " (func (export \"die\") (memory.fill (i32.const 0) (i32.const 255) (i32.const 65536))"
    "  (global.set $g (i32.const 1)) unreachable)"
    " (func (export \"spin\") (i32.store (i32.const 0) (i32.const 1)) (loop (br 0))))";

// 5 of the data + 7 of the global + 9 that start code wrote + 1,000 a page.
enum { FRESH = 5 + 7 + 9 + 2000 };

static void check_fresh(enum tw_interrupt interrupt) {
    struct engine_test test;
    open_pooled(&test, interrupt);
    struct tw_module *module = engine_test_module(&test, vandal);
    for (int i = 0; i < 20; i++) {
        struct engine_test_call call = {};
        ck_assert_int_eq(ENGINE_CALL(&test, module, "vandal"), FRESH);
        ck_assert_int_eq(engine_test_code(&test, module, "die", 10'000, &call), TW_ERR_GUEST_TRAP);
        ck_assert_str_eq(call.invoke.trap_kind, "unreachable");
        engine_test_forget(&call);
        if (i % 5)
            continue;
        call = (struct engine_test_call){};
        ck_assert_int_eq(engine_test_code(&test, module, "spin", 20, &call), TW_ERR_TIMEOUT);
        engine_test_forget(&call);
    }
    ck_assert_int_eq(ENGINE_CALL(&test, module, "vandal"), FRESH);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("every call finds the image, whatever the last one did and however it ended") {
    check_fresh(TW_INTERRUPT_POLL);
}

TW_TEST("and with epochs too") {
    check_fresh(TW_INTERRUPT_EPOCH);
}

TW_TEST("a closed poll page does not stay closed for whoever gets its slot next") {
    struct engine_test test;
    open_pooled(&test, TW_INTERRUPT_POLL);
    struct tw_module *spins = engine_test_module(&test, vandal);
    for (int i = 0; i < 8; i++) {
        struct engine_test_call call = {};
        ck_assert_int_eq(engine_test_code(&test, spins, "spin", 5, &call), TW_ERR_TIMEOUT);
        engine_test_forget(&call);
        // Its memory may lie where the other's poll page did.
        struct tw_module *module = engine_test_module(
            &test,
            "(module (memory (export \"memory\") 1) (func (export \"run\") (result i32)"
            " (memory.fill (i32.const 0) (i32.const 3) (i32.const 65536)) (i32.load8_u (i32.const 65535))))");
        ck_assert_int_eq(ENGINE_CALL(&test, module, "run"), 3);
        tw_module_unref(module);
    }
    tw_module_unref(spins);
    engine_test_close(&test);
}

TW_TEST("host functions see a memory that has grown, and nothing behind it") {
    static const char wat[] =
        "(module (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result "
        "i32)))"
        " (memory (export \"memory\") 1)"
        " (func (export \"run\") (result i32) (local $before i32)"
        "  (local.set $before (call $random (i32.const 65536) (i32.const 16)))"
        "  (drop (memory.grow (i32.const 1)))"
        "  (i32.add (i32.mul (local.get $before) (i32.const 1000))"
        "   (i32.add (i32.mul (call $random (i32.const 131064) (i32.const 16)) (i32.const 10))"
        "    (call $random (i32.const 65536) (i32.const 16))))))";
    enum { EFAULT_OF_WASI = 21 };
    struct engine_test test;
    open_pooled(&test, TW_INTERRUPT_POLL);
    struct tw_module *module = engine_test_module(&test, wat);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "run"), EFAULT_OF_WASI * 1010);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("the function's limit holds for one memory, and for several together") {
    struct engine_test test;
    struct tw_error err = {};
    struct tw_module_limits limits = {.memory_bytes = 16 * ENGINE_WASM_PAGE};
    open_pooled(&test, TW_INTERRUPT_POLL);
    // How many pages can be had one by one.
    struct tw_span one = engine_test_wat(
        "(module (memory (export \"memory\") 1) (func (export \"run\") (result i32)"
        " (loop (br_if 0 (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) (memory.size)))");
    struct tw_span two = engine_test_wat(
        "(module (memory (export \"memory\") 1) (memory $b 3) (func (export \"run\") (result i32)"
        " (loop (br_if 0 (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))"
        " (loop (br_if 0 (i32.ge_s (memory.grow $b (i32.const 1)) (i32.const 0))))"
        " (i32.add (memory.size) (memory.size $b))))");
    struct tw_module *alone = engine_test_try(&test, one, &limits, &err);
    tw_assert_ok(alone, &err);
    struct tw_module *both = engine_test_try(&test, two, &limits, &err);
    tw_assert_ok(both, &err);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ENGINE_CALL(&test, alone, "run"), 16);
        ck_assert_int_eq(ENGINE_CALL(&test, both, "run"), 16);
    }
    tw_module_unref(alone);
    tw_module_unref(both);
    free((void *)(uintptr_t)one.data);
    free((void *)(uintptr_t)two.data);
    engine_test_close(&test);
}

TW_TEST("devices are refused with a reason") {
    static const char wat[] =
        "(module (import \"wasi_cuda\" \"device_count\" (func $count (result i32)))"
        " (import \"wasi_cuda\" \"alloc\" (func $alloc (param i32 i32) (result i64)))"
        " (memory (export \"memory\") 1)"
        " (func (export \"run\") (result i32) (i32.add (i32.mul (call $count) (i32.const 100))"
        "  (i32.wrap_i64 (call $alloc (i32.const 64) (i32.const 0))))))";
    struct engine_test test;
    open_pooled(&test, TW_INTERRUPT_POLL);
    struct tw_module *module = engine_test_module(&test, wat);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "run"), -1);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("an instance that keeps its state keeps it, and says how large it is") {
    struct engine_test test;
    struct tw_error err = {};
    open_pooled(&test, TW_INTERRUPT_POLL);
    struct tw_module *module = engine_test_module(
        &test, "(module (memory (export \"memory\") 1) (func (export \"run\") (result i32)"
               " (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))"
               " (drop (memory.grow (i32.const 1))) (i32.load (i32.const 0))))");
    struct tw_instance *kept = tw_instance_new(module, 7, NULL, TW_NO_DEADLINE, &err);
    tw_assert_ok(kept, &err);
    for (int i = 1; i <= 3; i++) {
        struct engine_test_call call = {.invoke.instance = kept};
        ck_assert_int_eq(engine_test_code(&test, module, "run", 10'000, &call), TW_OK);
        ck_assert_int_eq(call.invoke.results[0].of.i32, i);
        engine_test_forget(&call);
    }
    ck_assert_int_eq(ENGINE_CALL(&test, module, "run"), 1); // another instance
    struct tw_instance_state state;
    tw_instance_look(kept, &state);
    ck_assert_uint_eq(state.memory_bytes, 4 * ENGINE_WASM_PAGE);
    tw_instance_end(kept, "enough");
    tw_instance_unref(kept);
    tw_module_unref(module);
    engine_test_close(&test);
}

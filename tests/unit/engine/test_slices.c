// SPDX-License-Identifier: Apache-2.0
//
// Host functions that move as many bytes as the guest says: they move the same bytes a slice at a time, and end soon when the call is
// stopped.

#include "begun.h"

enum { ATTEMPTS = 1000, SHARE = 2 };

#define BUFFERS                                                                                              \
    "(import \"wasi_cuda\" \"alloc\" (func $alloc (param i32 i32) (result i64)))"                            \
    "(import \"wasi_cuda\" \"memset_d8\" (func $set (param i64 i64 i32 i64) (result i32)))"                  \
    "(import \"wasi_cuda\" \"memcpy_d2d\" (func $d2d (param i64 i64 i64 i64 i64) (result i32)))"             \
    "(import \"wasi_cuda\" \"memcpy_h2d\" (func $h2d (param i32 i32 i32 i32) (result i32)))"                 \
    "(import \"wasi_cuda\" \"memcpy_d2h\" (func $d2h (param i32 i32 i32 i32) (result i32)))"                 \
    "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"    \
    "(import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))"      \
    "(import \"wasi:tensor/host@0.1.0\" \"read-input\" (func $input (param i32 i32) (result i32)))"          \
    "(memory (export \"memory\") 1100) (global $b (mut i64) (i64.const 0))"                                  \
    "(func $low (result i32) (i32.wrap_i64 (global.get $b)))"                                                \
    "(func $high (result i32) (i32.wrap_i64 (i64.shr_u (global.get $b) (i64.const 32))))"

// ---- the same bytes ---------------------------------------------------------------------------------------
// Both halves of 11 MiB: one goes through the device, one is done by memory.copy. Answers how many bytes differ, and more for errors.
static const char moves[] =
    "(module " BUFFERS "(func $ok (param i32) (if (local.get 0) (then unreachable)))"
    "(func $pattern (local $i i32) (loop $l"
    " (i32.store (i32.add (i32.const 1048576) (local.get $i)) (i32.mul (i32.add (local.get $i) (i32.const "
    "1)) (i32.const 0x9e3779b1)))"
    " (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 11534336))))"
    " (memory.copy (i32.const 20000000) (i32.const 1048576) (i32.const 11534336)))"
    "(func $differ (result i32) (local $i i32) (local $n i32) (loop $l"
    " (local.set $n (i32.add (local.get $n) (i32.ne (i32.load8_u (i32.add (i32.const 1048576) (local.get "
    "$i))) (i32.load8_u (i32.add (i32.const 20000000) (local.get $i))))))"
    " (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 11534336)))) "
    "(local.get $n))"
    "(func $there (global.set $b (call $alloc (i32.const 11534336) (i32.const 0))) (call $pattern)"
    " (call $ok (call $h2d (call $low) (call $high) (i32.const 1048576) (i32.const 11534336)))"
    " (memory.fill (i32.const 1048576) (i32.const 0) (i32.const 11534336)))"
    "(func $back (result i32) (call $ok (call $d2h (i32.const 1048576) (call $low) (call $high) (i32.const "
    "11534336))) (call $differ))"
    "(func (export \"there and back\") (result i32) (call $there) (call $back))"
    "(func (export \"copy\") (param i32 i32 i32) (result i32) (call $there)"
    " (call $ok (call $d2d (global.get $b) (i64.extend_i32_u (local.get 0)) (global.get $b) "
    "(i64.extend_i32_u (local.get 1)) (i64.extend_i32_u (local.get 2))))"
    " (memory.copy (i32.add (i32.const 20000000) (local.get 0)) (i32.add (i32.const 20000000) (local.get 1)) "
    "(local.get 2)) (call $back))"
    "(func (export \"fill\") (param i32 i32 i32) (result i32) (call $there)"
    " (call $ok (call $set (global.get $b) (i64.extend_i32_u (local.get 0)) (local.get 1) (i64.extend_i32_u "
    "(local.get 2))))"
    " (memory.fill (i32.add (i32.const 20000000) (local.get 0)) (local.get 1) (local.get 2)) (call $back))"
    // Reads its input in two ways and writes it again.
    "(func (export \"echo\") (param i32) (result i32)"
    " (drop (call $input (i32.const 1048576) (local.get 0)))"
    " (i32.store (i32.const 16) (i32.add (i32.const 1048576) (local.get 0))) (i32.store (i32.const 20) "
    "(i32.const 11534336))"
    " (call $ok (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))"
    " (i32.store (i32.const 16) (i32.const 1048576)) (i32.store (i32.const 20) (i32.add (local.get 0) "
    "(i32.load (i32.const 24))))"
    " (call $ok (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))) (i32.load "
    "(i32.const 24))))";

TW_TEST("device memory is copied and filled as in one go, whichever way the ranges overlap") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, moves);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "there and back"), 0);
    static const int copies[][3] = {
        {100, 0, 11'000'000},      {0, 100, 11'000'000},  {5, 5, 11'000'000},
        {6'000'000, 0, 5'534'336}, {1 << 20, 0, 8 << 20},
    };
    for (size_t i = 0; i < TW_COUNT(copies); i++)
        ck_assert_int_eq(engine_test_i32(&test, module, "copy", 3, copies[i]), 0);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "fill", 1, 0x55, 11'534'335), 0);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "fill", 3'000'000, 7, 3 << 20), 0);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("long input and output are whole") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    enum { LEN = 11'534'336 };
    struct tw_module *module = engine_test_module(&test, moves);
    uint8_t *input = malloc(LEN);
    for (uint32_t i = 0; i < LEN; i++)
        input[i] = (uint8_t)(i * i >> 5);
    struct engine_test_call call = {.invoke.input = tw_span_of(input, LEN)};
    engine_test_put_args(&call, 1, (int[]){3'333'333});
    ck_assert_int_eq(engine_test_code(&test, module, "echo", 20'000, &call), TW_OK);
    ck_assert_int_eq(call.invoke.results[0].of.i32, LEN);
    ck_assert_uint_eq(call.invoke.output.len, LEN);
    ck_assert_mem_eq(call.invoke.output.data, input, LEN);
    engine_test_forget(&call);
    free(input);
    tw_module_unref(module);
    engine_test_close(&test);
}

// ---- stopping ---------------------------------------------------------------------------------------------
static const char long_moves[] =
    "(module " BEGUN_IMPORTS BUFFERS
    "(func $there (global.set $b (call $alloc (i32.const 134217728) (i32.const 0))))"
    "(func (export \"fill\") (call $there) " BEGUN_HERE
    "(drop (call $set (global.get $b) (i64.const 0) (i32.const 7) (i64.const 134217728)))" BEGUN_DONE ")"
    "(func (export \"copy\") (call $there) " BEGUN_HERE
    "(drop (call $d2d (global.get $b) (i64.const 67108864) (global.get $b) (i64.const 0) (i64.const "
    "67108864)))" BEGUN_DONE ")"
    "(func (export \"to device\") (call $there) " BEGUN_HERE
    "(drop (call $h2d (i32.wrap_i64 (global.get $b)) (i32.wrap_i64 (i64.shr_u (global.get $b) (i64.const "
    "32))) (i32.const 64) (i32.const 70000000)))" BEGUN_DONE ")"
    "(func (export \"from device\") (call $there) " BEGUN_HERE
    "(drop (call $d2h (i32.const 64) (i32.wrap_i64 (global.get $b)) (i32.wrap_i64 (i64.shr_u (global.get $b) "
    "(i64.const 32))) (i32.const 70000000)))" BEGUN_DONE "))";

// The least time that the whole takes, against a call that is cancelled as it begins. On a busy machine one or another takes long.
static void check_ends_soon(struct engine_test *test, struct tw_module *module, const char *export) {
    int64_t whole_ns = INT64_MAX, ns;
    for (int i = 0; i < 3; i++) {
        ck_assert(begun_run(test, module, export, false, &ns));
        whole_ns = ns < whole_ns ? ns : whole_ns;
    }
    for (int i = 0; i < ATTEMPTS; i++)
        if (!begun_run(test, module, export, true, &ns) && ns < whole_ns / SHARE)
            return;
    ck_abort_msg("%s: never ended in less than half of the whole", export);
}

TW_TEST("a cancelled call leaves a long move of device memory soon") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, long_moves);
    static const char *const exports[] = {"fill", "copy", "to device", "from device"};
    for (size_t i = 0; i < TW_COUNT(exports); i++)
        check_ends_soon(&test, module, exports[i]);
    tw_module_unref(module);
    engine_test_close(&test);
}

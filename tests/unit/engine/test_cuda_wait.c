// SPDX-License-Identifier: Apache-2.0
//
// Operations on device memory while the instance's launches run: the guest waits without a thread, the operation comes
// after the kernel, errors are left for sync, deadlines and cancels end the wait.

#include <dirent.h>
#include <sched.h>

#include "engine_test.h"

// Waits until a word of the guest's memory is set, and writes it to a buffer.
#define WAITS                                                                                                \
    ".version 7.0 .target sm_70 .address_size 64 .visible .entry k(.param .u64 flag, .param .u64 out) {"     \
    " .reg .b64 %rd<2>; .reg .b32 %r<1>; .reg .pred %p<1>;"                                                  \
    " ld.param.u64 %rd0, [flag]; ld.param.u64 %rd1, [out];"                                                  \
    " L: ld.volatile.global.u32 %r0, [%rd0]; setp.eq.u32 %p0, %r0, 0; @%p0 bra L;"                           \
    " st.global.u32 [%rd1], %r0; }"
#define TRAPS                                                                                                \
    ".version 7.0 .target sm_70 .address_size 64 .visible .entry k(.param .u64 flag, .param .u64 out) { "    \
    "trap; }"

enum { FLAG_AT = 256, D2H = 0, MEMSET, H2D, D2D, FREE, UNLOAD, DESTROY, OPERATIONS };

// run(operation) launches on a stream, does the operation, and answers the word that is in the buffer afterwards, or the
// operation's code where that is not 0. sticky() answers the codes of a copy and of two syncs, as decimal digits.
static const char guest[] =
    "(module (import \"wasi_cuda\" \"load_ptx\" (func $load (param i32 i32 i32 i32) (result i64)))"
    "(import \"wasi_cuda\" \"unload\" (func $unload (param i64) (result i32)))"
    "(import \"wasi_cuda\" \"alloc\" (func $alloc (param i32 i32) (result i64)))"
    "(import \"wasi_cuda\" \"free\" (func $free (param i32 i32) (result i32)))"
    "(import \"wasi_cuda\" \"memset_d8\" (func $set (param i64 i64 i32 i64) (result i32)))"
    "(import \"wasi_cuda\" \"memcpy_h2d\" (func $h2d (param i32 i32 i32 i32) (result i32)))"
    "(import \"wasi_cuda\" \"memcpy_d2h\" (func $d2h (param i32 i32 i32 i32) (result i32)))"
    "(import \"wasi_cuda\" \"memcpy_d2d\" (func $d2d (param i64 i64 i64 i64 i64) (result i32)))"
    "(import \"wasi_cuda\" \"stream_create\" (func $stream (result i64)))"
    "(import \"wasi_cuda\" \"stream_destroy\" (func $destroy (param i64) (result i32)))"
    "(import \"wasi_cuda\" \"launch_async\" (func $launch (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 "
    "i32) (result i32)))"
    "(import \"wasi_cuda\" \"sync\" (func $sync (result i32)))"
    "(memory (export \"memory\") 1) (data (i32.const 1024) \"PTX\") (data (i32.const 8) \"k\")"
    "(data (i32.const 16) \"\\09\\00\\00\\00\")"
    "(global $kernel (mut i64) (i64.const 0)) (global $buffer (mut i64) (i64.const 0))"
    "(global $at (mut i64) (i64.const 0))"
    "(func $begin (param $len i32)"
    " (global.set $kernel (call $load (i32.const 1024) (local.get $len) (i32.const 8) (i32.const 1)))"
    " (if (i64.le_s (global.get $kernel) (i64.const 0)) (then unreachable))"
    " (global.set $buffer (call $alloc (i32.const 64) (i32.const 0)))"
    " (global.set $at (call $stream))"
    " (i32.store8 (i32.const 512) (i32.const 7)) (i32.store (i32.const 513) (i32.const 256))"
    " (i32.store (i32.const 517) (i32.const 4))"
    " (i32.store8 (i32.const 521) (i32.const 8)) (i64.store (i32.const 522) (global.get $buffer))"
    " (i64.store (i32.const 530) (i64.const 0))"
    " (if (call $launch (global.get $at) (global.get $kernel) (i32.const 1) (i32.const 1) (i32.const 1)"
    "   (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 512) (i32.const 26))"
    "  (then unreachable)))"
    "(func $read (param $buffer i64) (result i32)"
    " (call $d2h (i32.const 128) (i32.wrap_i64 (local.get $buffer))"
    "  (i32.wrap_i64 (i64.shr_u (local.get $buffer) (i64.const 32))) (i32.const 4)))"
    "(func (export \"run\") (param $operation i32) (param $len i32) (result i32) (local $other i64) (local "
    "$code i32)"
    " (call $begin (local.get $len)) (local.set $other (global.get $buffer))"
    " (block $done (block $destroy (block $unload (block $free (block $d2d (block $h2d (block $set (block "
    "$d2h"
    "  (br_table $d2h $set $h2d $d2d $free $unload $destroy (local.get $operation)))"
    "  (br $done))"
    "  (local.set $code (call $set (global.get $buffer) (i64.const 0) (i32.const 7) (i64.const 4))) (br "
    "$done))"
    "  (local.set $code (call $h2d (i32.wrap_i64 (global.get $buffer))"
    "   (i32.wrap_i64 (i64.shr_u (global.get $buffer) (i64.const 32))) (i32.const 16) (i32.const 4))) (br "
    "$done))"
    "  (local.set $other (call $alloc (i32.const 64) (i32.const 0)))"
    "  (local.set $code (call $d2d (local.get $other) (i64.const 0) (global.get $buffer) (i64.const 0) "
    "(i64.const 4)))"
    "  (br $done))"
    "  (local.set $code (call $free (i32.wrap_i64 (global.get $buffer))"
    "   (i32.wrap_i64 (i64.shr_u (global.get $buffer) (i64.const 32))))) (br $done))"
    "  (local.set $code (call $unload (global.get $kernel))) (br $done))"
    "  (local.set $code (call $destroy (global.get $at))))"
    " (if (local.get $code) (then (return (local.get $code))))"
    " (local.set $code (call $read (local.get $other)))"
    " (if (local.get $code) (then (return (local.get $code))))"
    " (i32.load (i32.const 128)))"
    "(func (export \"sticky\") (param $len i32) (result i32)"
    " (call $begin (local.get $len))"
    " (i32.sub (i32.sub (i32.mul (call $read (global.get $buffer)) (i32.const -100))"
    "  (i32.mul (call $sync) (i32.const 10))) (call $sync))))";

static struct tw_module *guest_with(struct engine_test *test, const char *ptx) {
    struct tw_error err = {};
    tw_assert_ok(tw_gpu_prepare(test->gpu, 1, tw_str_from(ptx), TW_STR("k"), TW_NO_DEADLINE, &err), &err);
    char text[16384];
    const char *mark = strstr(guest, "\"PTX\"") + 1;
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(mark - guest), guest, ptx, mark + 3);
    return engine_test_module(test, text);
}

static unsigned thread_count(void) {
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(tasks);
    for (const struct dirent *entry; (entry = readdir(tasks));)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void start(struct engine_test *test, struct engine_test_call *call, struct tw_module *module,
                  int operation, int timeout_ms) {
    engine_test_prepare(call, module, "run", timeout_ms);
    engine_test_put_args(call, 2, (int[]){operation, (int)strlen(WAITS)});
    engine_test_submit(test, call);
}

// It waits for its kernel: loading one that is compiled does not wait.
static struct engine_call *wait_until_parked(struct engine_test_call *call) {
    struct engine_call *inside = call->invoke.engine_state;
    while (tw_state_get(&inside->state) != ENGINE_PARKED)
        sched_yield();
    return inside;
}

// What the kernel waits for. ThreadSanitizer does not see that the kernel reads it, nor what follows from that.
[[gnu::noinline, gnu::no_sanitize("thread")]] static void store_flag(uint8_t *memory, uint32_t value) {
    *(volatile uint32_t *)(memory + FLAG_AT) = value;
}

static void let_go(struct engine_test_call *call, const struct engine_call *inside, uint32_t value) {
    uint8_t *memory = inside->instance->memory->base;
    tw_invoke_resume(&call->invoke); // changes nothing, but what was read above is read before the call's end
    store_flag(memory, value);
}

TW_TEST(
    "guests that wait for their launches to touch device memory hold no thread, and come after the kernel") {
    enum { CALLS = 2 * OPERATIONS };
    static struct engine_test_call calls[CALLS];
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = CALLS};
    engine_test_open(&test, &options);
    struct tw_module *module = guest_with(&test, WAITS);
    // The first call, so that all threads are there.
    start(&test, &calls[0], module, D2H, 600'000);
    let_go(&calls[0], wait_until_parked(&calls[0]), 5);
    engine_test_wait(&calls[0]);
    ck_assert_int_eq(calls[0].invoke.results[0].of.i32, 5);
    engine_test_forget(&calls[0]);
    unsigned threads = thread_count();
    struct engine_call *inside[CALLS];
    memset(calls, 0, sizeof(calls));
    for (int i = 0; i < CALLS; i++)
        start(&test, &calls[i], module, i % OPERATIONS, 600'000);
    for (int i = 0; i < CALLS; i++)
        inside[i] = wait_until_parked(&calls[i]); // all of them at once, on one worker
    ck_assert_uint_le(thread_count(), threads);
    for (int i = CALLS - 1; i >= 0; i--)
        let_go(&calls[i], inside[i], 40 + (uint32_t)i);
    for (int i = 0; i < CALLS; i++) {
        static const int fixed[OPERATIONS] = {[MEMSET] = 0x07070707, [H2D] = 9, [FREE] = -11};
        int wanted = fixed[i % OPERATIONS] ? fixed[i % OPERATIONS] : 40 + i;
        engine_test_wait(&calls[i]);
        tw_assert_ok(!calls[i].invoke.error.code, &calls[i].invoke.error);
        ck_assert_int_eq(calls[i].invoke.results[0].of.i32, wanted);
        engine_test_forget(&calls[i]);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a failed launch does not fail the copy behind it, and sync tells it once") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = guest_with(&test, TRAPS);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "sticky", (int)strlen(TRAPS)), 50); // 0, -5, 0
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a deadline and a cancel end the wait, and the instance serves again") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 1};
    engine_test_open(&test, &options);
    struct tw_module *module = guest_with(&test, WAITS);
    for (int operation = 0; operation < OPERATIONS; operation++) {
        struct engine_test_call late = {}, cancelled = {}, good = {};
        start(&test, &cancelled, module, operation, 600'000);
        wait_until_parked(&cancelled);
        tw_invoke_cancel(&cancelled.invoke);
        engine_test_wait(&cancelled);
        ck_assert_int_eq(cancelled.invoke.error.code, TW_ERR_CANCELLED);
        engine_test_forget(&cancelled);
        start(&test, &late, module, operation, 50);
        engine_test_wait(&late);
        ck_assert_int_eq(late.invoke.error.code, TW_ERR_TIMEOUT);
        engine_test_forget(&late);
        start(&test, &good, module, D2H, 600'000);
        let_go(&good, wait_until_parked(&good), 77);
        engine_test_wait(&good);
        ck_assert_int_eq(good.invoke.results[0].of.i32, 77);
        engine_test_forget(&good);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

// SPDX-License-Identifier: Apache-2.0
//
// Nothing that one call leaves is seen by the next on the same slot: a guest writes all it can reach and ends in every
// way there is; then its instance is compared, byte by byte, with what it was before, and calls a guest that looks for
// traces itself. With both ways of putting memory back, with pages out of memory, and with every step of a reset made
// to fail.

#include <fcntl.h>
#include <sys/mman.h>

#include "engine_test.h"

#define PTX                                                                                                  \
    ".version 7.0 .target sm_70 .address_size 64 .visible .entry k() { .reg .b32 %r<2>; mov.u32 %r0, 0; "    \
    "L: add.u32 %r0, %r0, 1; bra L; }"

// attack(how) writes and leaves everything, then ends as told. look() is 0 when it finds no trace.
static const char *const hostile =
    "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
    "(import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))"
    "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"
    "(import \"wasi:tensor/host@0.1.0\" \"read-input\" (func $read (param i32 i32) (result i32)))"
    "(import \"wasi:tensor/host@0.1.0\" \"input-len\" (func $left (result i32)))"
    "(import \"wasi_cuda\" \"alloc\" (func $alloc (param i32 i32) (result i64)))"
    "(import \"wasi_cuda\" \"free\" (func $free (param i32 i32) (result i32)))"
    "(import \"wasi_cuda\" \"memset_d8\" (func $set (param i64 i64 i32 i64) (result i32)))"
    "(import \"wasi_cuda\" \"memcpy_d2h\" (func $get (param i32 i32 i32 i32) (result i32)))"
    "(import \"wasi_cuda\" \"stream_create\" (func $stream (result i64)))"
    "(import \"wasi_cuda\" \"stream_destroy\" (func $unstream (param i64) (result i32)))"
    "(import \"wasi_cuda\" \"load_ptx\" (func $load (param i32 i32 i32 i32) (result i64)))"
    "(import \"wasi_cuda\" \"unload\" (func $unload (param i64) (result i32)))"
    "(import \"wasi_cuda\" \"launch_async\" (func $launch (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 "
    "i32) "
    "(result i32)))"
    "(import \"wasi_cuda\" \"last_error_len\" (func $error (result i32)))"
    "(memory (export \"memory\") 3 40) (data (i32.const 1000) \"the image's bytes\") (data (i32.const "
    "131000) "
    "\"across a page\") (data (i32.const 2048) \"" PTX "\") (data (i32.const 3000) \"k\")"
    "(global $a (mut i32) (i32.const 11)) (global $b (mut i64) (i64.const 12)) (global $c (mut f32) "
    "(f32.const 1.5))"
    "(global $d (mut f64) (f64.const 2.5)) (global $e (mut v128) (v128.const i32x4 1 2 3 4))"
    "(func $leave_on_device (local $buffer i64) (local $kernel i64) (local $stream i64)"
    " (local.set $buffer (call $alloc (i32.const 8192) (i32.const 0)))"
    " (drop (call $set (local.get $buffer) (i64.const 0) (i32.const 0xAA) (i64.const 8192)))"
    " (local.set $kernel (call $load (i32.const 2048) (i32.const LEN) (i32.const 3000) (i32.const 1)))"
    " (local.set $stream (call $stream))"
    " (drop (call $launch (local.get $stream) (local.get $kernel) (i32.const 1) (i32.const 1) (i32.const 1)"
    "  (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))"
    " (drop (call $free (i32.const 77) (i32.const 77))))"
    "(func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) "
    "(i32.const 1)))"
    "(func (export \"attack\") (param $how i32) (result i32)"
    " (drop (call $read (i32.const 60000) (i32.const 3)))"
    " (call $leave_on_device) (drop (call $close (i32.const 1)))"
    " (drop (memory.grow (i32.const 5))) (memory.fill (i32.const 0) (i32.const 0xAA) (i32.const 524288))"
    " (global.set $a (i32.const -1)) (global.set $b (i64.const -1)) (global.set $c (f32.const nan))"
    " (global.set $d (f64.const inf)) (global.set $e (v128.const i32x4 -1 -1 -1 -1))"
    " (if (i32.eq (local.get $how) (i32.const 1)) (then unreachable))"
    " (if (i32.eq (local.get $how) (i32.const 2)) (then (call $exit (i32.const 0))))"
    " (if (i32.eq (local.get $how) (i32.const 3)) (then (call $exit (i32.const 9))))"
    " (if (i32.eq (local.get $how) (i32.const 4)) (then (loop $l (br $l))))"
    " (if (i32.eq (local.get $how) (i32.const 5)) (then (drop (call $deep (i32.const 0)))))"
    " (if (i32.eq (local.get $how) (i32.const 6)) (then (drop (i32.load (i32.const -1)))))"
    " (i32.const 5))"
    "(func (export \"look\") (result i32) (local $at i32) (local $sum i32)"
    " (if (i32.ne (memory.size) (i32.const 3)) (then (return (i32.const 1))))"
    " (loop $l (local.set $sum (i32.add (i32.rotl (local.get $sum) (i32.const 5)) (i32.load8_u (local.get "
    "$at))))"
    "  (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 196608))))"
    " (if (i32.or (i32.ne (global.get $a) (i32.const 11)) (i64.ne (global.get $b) (i64.const 12))) (then "
    "(return "
    "(i32.const 2))))"
    " (if (i32.or (f32.ne (global.get $c) (f32.const 1.5)) (f64.ne (global.get $d) (f64.const 2.5))) (then "
    "(return "
    "(i32.const 3))))"
    " (if (i32.ne (i32x4.bitmask (i32x4.ne (global.get $e) (v128.const i32x4 1 2 3 4))) (i32.const 0)) (then "
    "(return "
    "(i32.const 4))))"
    " (if (i32.ne (call $left) (i32.const 6)) (then (return (i32.const 5))))"
    " (if (i32.ne (call $error) (i32.const 0)) (then (return (i32.const 6))))"
    " (i32.store (i32.const 50000) (i32.const 1000)) (i32.store (i32.const 50004) (i32.const 3))"
    " (if (i32.ne (call $write (i32.const 1) (i32.const 50000) (i32.const 1) (i32.const 50008)) (i32.const "
    "0)) (then "
    "(return (i32.const 7))))"
    " (local.set $at (i32.const 0))" // handles of a buffer, a stream, a kernel: nobody's
    " (loop $h (if (i32.ge_s (call $free (local.get $at) (i32.const 0)) (i32.const 0)) (then (return "
    "(i32.const 8))))"
    "  (if (i32.ge_s (call $unstream (i64.extend_i32_u (i32.add (local.get $at) (i32.const 1)))) (i32.const "
    "0)) (then "
    "(return (i32.const 9))))"
    "  (if (i32.ge_s (call $unload (i64.extend_i32_u (local.get $at))) (i32.const 0)) (then (return "
    "(i32.const 10))))"
    "  (br_if $h (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 300))))"
    " (drop (call $get (i32.const 100000) (i32.wrap_i64 (call $alloc (i32.const 8192) (i32.const 0))) "
    "(i32.const 0) "
    "(i32.const 8192)))"
    " (local.set $at (i32.const 100000))"
    " (loop $z (if (i32.ne (i32.load (local.get $at)) (i32.const 0)) (then (return (i32.const 11))))"
    "  (br_if $z (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const 108192))))"
    " (local.get $sum)))";

static struct tw_module *hostile_module(struct engine_test *test) {
    char text[16384], len[16];
    const char *mark = strstr(hostile, "LEN");
    snprintf(len, sizeof(len), "%zu", strlen(PTX));
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(mark - hostile), hostile, len, mark + 3);
    return engine_test_module(test, text);
}

// The instance the next call would get; it must be warm, and is given back.
static uint32_t slot_of(struct tw_module *module) {
    struct tw_error err = {};
    uint64_t made = (uint64_t)tw_metric_get(TW_METRIC_INSTANCE_SPAWNS, tw_labels());
    struct engine_instance *instance = engine_pool_take(module, 0, NULL, TW_NO_DEADLINE, &err);
    tw_assert_ok(instance, &err);
    ck_assert_uint_eq((uint64_t)tw_metric_get(TW_METRIC_INSTANCE_SPAWNS, tw_labels()), made);
    uint32_t slot = instance->arena->id;
    engine_pool_give(instance);
    return slot;
}

static enum tw_code attack(struct engine_test *test, struct tw_module *module, int how) {
    struct engine_test_call call = {};
    engine_test_prepare(&call, module, "attack", how == 4 ? 200 : 600'000);
    engine_test_put_args(&call, 1, &how);
    call.invoke.input = tw_span_of("abcdef", 6);
    engine_test_submit(test, &call);
    engine_test_wait(&call);
    enum tw_code code = call.invoke.error.code;
    engine_test_forget(&call);
    return code;
}

// What a guest finds: the sum over its memory, or the number of the trace it found.
static int look(struct engine_test *test, struct tw_module *module) {
    struct engine_test_call call = {};
    engine_test_prepare(&call, module, "look", 600'000);
    call.invoke.input = tw_span_of("abcdef", 6);
    engine_test_submit(test, &call);
    engine_test_wait(&call);
    if (call.invoke.error.code)
        ck_abort_msg("look: %s", call.invoke.error.message);
    int found = call.invoke.results[0].of.i32;
    ck_assert_uint_eq(call.invoke.output.len, 3);
    engine_test_forget(&call);
    return found;
}

// What the guest's sum must be, worked out here from the module's text.
static int expected_sum(void) {
    static uint8_t memory[196608];
    memcpy(memory + 1000, "the image's bytes", 17);
    memcpy(memory + 131000, "across a page", 13);
    memcpy(memory + 2048, PTX, strlen(PTX));
    memory[3000] = 'k';
    uint32_t sum = 0;
    for (size_t i = 0; i < sizeof(memory); i++)
        sum = ((sum << 5) | (sum >> 27)) + memory[i];
    return (int)sum;
}

static void attack_in_every_way(const struct tw_engine_options *options) {
    static const enum tw_code ends[] = {TW_OK,
                                        TW_ERR_GUEST_TRAP,
                                        TW_OK,
                                        TW_ERR_GUEST_EXIT,
                                        TW_ERR_TIMEOUT,
                                        TW_ERR_GUEST_TRAP,
                                        TW_ERR_GUEST_TRAP};
    struct engine_test test;
    engine_test_open(&test, options);
    struct tw_module *module = hostile_module(&test);
    ck_assert(!module->single_use);
    int expected = expected_sum();
    ck_assert_int_eq(look(&test, module), expected);
    uint32_t slot = slot_of(module);
    for (int how = 0; how < (int)TW_COUNT(ends); how++) {
        ck_assert_int_eq(attack(&test, module, how), ends[how]);
        ck_assert_uint_eq(slot_of(module), slot);
        int found = look(&test, module);
        if (found != expected)
            ck_abort_msg("after ending %d the next call finds trace %d", how, found);
        ck_assert_uint_eq(slot_of(module), slot);
    }
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.instances, 1);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("however a hostile call ends, the next call on its slot finds no trace") {
    attack_in_every_way(&(struct tw_engine_options){.workers = 1, .warm_per_function = 1});
}

TW_TEST("nor does it where all pages are given back to the kernel") {
    attack_in_every_way(
        &(struct tw_engine_options){.workers = 1, .warm_per_function = 1, .reset = TW_RESET_MADVISE});
}

TW_TEST("nor does it where guests are stopped by epochs") {
    attack_in_every_way(
        &(struct tw_engine_options){.workers = 1, .warm_per_function = 1, .interrupt = TW_INTERRUPT_EPOCH});
}

// Looks for any byte that is not the image's, then writes at `at`, perhaps going on on another thread in between.
static const char *const wanderer =
    "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result "
    "i32)))"
    "(memory (export \"memory\") 4) (data (i32.const 70000) \"\\11\")"
    "(func $sleep (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 1000))"
    " (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200))))"
    "(func (export \"f\") (param $at i32) (param $sleeps i32) (result i32) (local $i i32) (local $any i64)"
    " (loop $l (local.set $any (i64.or (local.get $any) (i64.load (local.get $i))))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 262144))))"
    " (if (i64.ne (local.get $any) (i64.const 0x11)) (then (return (i32.const 1))))"
    " (if (local.get $sleeps) (then (call $sleep)))"
    " (i64.store (local.get $at) (i64.const -1))"
    " (if (local.get $sleeps) (then (call $sleep))) (i32.const 0)))";

TW_TEST("whatever pages calls write on whatever threads, the next call sees none of it") {
    enum { CALLS = 1500 };
    static struct engine_test_call calls[CALLS];
    uint32_t random = 1;
    for (unsigned workers = 1; workers <= 4; workers += 3) {
        struct engine_test test;
        struct tw_engine_options options = {
            .workers = workers, .warm_per_function = 3, .max_queued = 2 * CALLS};
        engine_test_open(&test, &options);
        struct tw_module *module = engine_test_module(&test, wanderer);
        for (int i = 0; i < CALLS; i++) {
            random = random * 1664525 + 1013904223;
            // Mostly where calls before wrote, now and then elsewhere.
            int at = (random >> 8) % 4 ? 8192 : (int)((random >> 12) % 32'767) * 8;
            memset(&calls[i], 0, sizeof(calls[i]));
            engine_test_prepare(&calls[i], module, "f", 600'000);
            engine_test_put_args(&calls[i], 2, (int[]){at, (random >> 28) % 2});
            engine_test_submit(&test, &calls[i]);
            if (i % 3 == 0)
                engine_test_wait(&calls[i]);
        }
        for (int i = 0; i < CALLS; i++) {
            engine_test_wait(&calls[i]);
            ck_assert_int_eq(calls[i].invoke.error.code, TW_OK);
            if (calls[i].invoke.results[0].of.i32)
                ck_abort_msg("call %d of %d workers found what another wrote", i, (int)workers);
            engine_test_forget(&calls[i]);
        }
        tw_module_unref(module);
        engine_test_close(&test);
    }
}

// How many of the pages lie in swap.
static unsigned swapped(const uint8_t *base, size_t bytes) {
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    unsigned count = 0;
    for (size_t at = 0; fd >= 0 && at < bytes; at += 4096) {
        uint64_t entry = 0;
        if (pread(fd, &entry, sizeof(entry), (off_t)(((uintptr_t)base + at) / 4096 * 8)) == sizeof(entry))
            count += entry >> 62 & 1;
    }
    if (fd >= 0)
        close(fd);
    return count;
}

TW_TEST("pages that were written and went out of memory are put back too") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 1};
    engine_test_open(&test, &options);
    struct tw_module *module = hostile_module(&test);
    ck_assert_int_eq(look(&test, module), expected_sum());
    struct tw_error err = {};
    struct engine_instance *instance = engine_pool_take(module, 0, NULL, TW_NO_DEADLINE, &err);
    tw_assert_ok(instance, &err);
    uint32_t slot = instance->arena->id;
    memset(instance->memory->base, 0xAA, instance->memory->size);
    madvise(instance->memory->base, instance->memory->size,
            MADV_PAGEOUT); // a request: without swap nothing goes
    unsigned out = swapped(instance->memory->base, instance->memory->size);
    printf("     %u of %" PRIu64 " pages were swapped out\n", out, instance->memory->size / 4096);
    engine_pool_give(instance);
    ck_assert_uint_eq(slot_of(module), slot);
    ck_assert_int_eq(look(&test, module), expected_sum());
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("whichever step of a reset fails, the instance goes, it is counted, and the next call is fresh") {
    static const enum tw_reset methods[] = {TW_RESET_AUTO, TW_RESET_MADVISE};
    for (size_t i = 0; i < TW_COUNT(methods); i++) {
        struct engine_test test;
        struct tw_engine_options options = {.workers = 1, .warm_per_function = 1, .reset = methods[i]};
        engine_test_open(&test, &options);
        struct tw_module *module = hostile_module(&test);
        int expected = expected_sum();
        int steps = 0;
        for (bool struck = true; struck; steps += struck) {
            char text[32];
            ck_assert_int_eq(look(&test, module), expected);
            slot_of(module);
            int64_t failed = tw_metric_get(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(0)),
                    ended = tw_metric_get(TW_METRIC_INSTANCE_TERMINATIONS, tw_labels());
            snprintf(text, sizeof(text), "reset:%d", steps + 1);
            tw_fault_configure(text);
            ck_assert_int_eq(attack(&test, module, 4), TW_ERR_TIMEOUT); // closes the poll page too
            ck_assert_int_eq(look(&test, module), expected);            // the first call's reset is over
            tw_fault_configure("");
            int64_t more = tw_metric_get(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(0)) - failed;
            struck = more > 0;
            if (struck)
                ck_assert_int_eq(more, 1);
            ck_assert_int_ge(tw_metric_get(TW_METRIC_INSTANCE_TERMINATIONS, tw_labels()) - ended, more);
            if (steps > 40)
                break;
        }
        ck_assert_int_ge(steps, 6); // poll page, device, three of shrinking, memory, globals, and look's own
        tw_module_unref(module);
        engine_test_close(&test);
    }
}

TW_TEST("a call that sets every slot of a table leaves none set in the next") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 0};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(
        &test, "(module (memory (export \"memory\") 1) (table $t 64 funcref) (elem (i32.const 3) $f) (elem "
               "declare func "
               "$attack) (func $f)"
               "(func $attack (export \"attack\") (result i32) (local $i i32) (loop $l"
               "  (table.set $t (local.get $i) (ref.func $attack)) (i32.store8 (local.get $i) (i32.const 1))"
               "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))"
               " (drop (table.grow $t (ref.func $attack) (i32.const 9))) (table.size $t))"
               "(func (export \"look\") (result i32) (local $i i32) (local $set i32) (loop $l"
               "  (local.set $set (i32.add (local.get $set) (i32.add (i32.load8_u (local.get $i))"
               "   (i32.eqz (ref.is_null (table.get $t (local.get $i)))))))"
               "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))"
               " (i32.add (local.get $set) (i32.mul (i32.const 100) (table.size $t)))))");
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(ENGINE_CALL(&test, module, "attack"), 73);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "look"), 6401);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

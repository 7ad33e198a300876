// SPDX-License-Identifier: Apache-2.0
//
// The steady path: a call on a warm instance asks the kernel to map, unmap or protect nothing. Counted by
// standing in for the C library's functions (malloc's own mapping does not come this way).

#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "engine_test.h"

static int mappings; // changed on the one worker only while the test waits for it

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    mappings++;
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}

int munmap(void *at, size_t len) {
    mappings++;
    return (int)syscall(SYS_munmap, at, len);
}

int mprotect(void *at, size_t len, int protection) {
    mappings++;
    return (int)syscall(SYS_mprotect, at, len, protection);
}

static int scans; // of written pages

int ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    scans++;
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

TW_TEST("a warm call makes no mapping, a call that grows its memory does") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 1};
    engine_test_open(&test, &options);
    ck_assert_int_gt(mappings, 0); // it is counted
    struct tw_module *module = engine_test_module(
        &test,
        "(module (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $yield (result i32)))"
        "(memory (export \"memory\") 4) (global $g (mut i32) (i32.const 5)) (data (i32.const 100) \"abc\")"
        "(func (export \"f\") (result i32) (drop (call $yield)) (i32.store (i32.const 70000) (i32.const 1))"
        " (i32.store8 (i32.const 100) (i32.const 1)) (global.set $g (i32.const 6)) (i32.const 3))"
        "(func (export \"grow\") (result i32) (memory.grow (i32.const 1))))");
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 3);
    int before = mappings;
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 3);
    ck_assert_int_eq(mappings, before);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "grow"), 4);
    ck_assert_int_gt(mappings, before);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a reset that can find nothing new does not look, and puts back what it found before") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = 1};
    engine_test_open(&test, &options);
    struct tw_module *module =
        engine_test_module(&test, "(module (memory (export \"memory\") 4) (data (i32.const 100) \"abc\"))");
    bool skipped = test.engine->resetter.pagemap < 0; // then there is nothing to leave out
    struct tw_error err = {};
    // A page fault of this thread for whatever reason makes a reset look; not every one of many meets one.
    for (int i = 0; i < 1000 && !skipped; i++) {
        struct engine_instance *instance = engine_pool_take(module, 0, NULL, TW_NO_DEADLINE, &err);
        tw_assert_ok(instance, &err);
        ck_assert_int_eq(instance->memory->base[100], 'a');
        instance->memory->base[100] = 1;
        int before = scans;
        engine_pool_give(instance);
        skipped = scans == before;
    }
    ck_assert(skipped);
    struct engine_instance *instance = engine_pool_take(module, 0, NULL, TW_NO_DEADLINE, &err);
    tw_assert_ok(instance, &err);
    ck_assert_int_eq(instance->memory->base[100], 'a');
    engine_pool_give(instance);
    tw_module_unref(module);
    engine_test_close(&test);
}

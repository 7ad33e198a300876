// SPDX-License-Identifier: Apache-2.0
//
// What a call wrote and the kernel then moved to swap is put back like everything else: a page in swap is neither in
// memory nor the image's. A guest soils all it has and waits; the process's pages are sent out (MADV_PAGEOUT) and
// /proc/self/pagemap asked whether they went; the guest goes on or is cancelled; the next call looks for traces. Without
// swap nothing goes out, which is said; with it (as root: fallocate -l 256M F; chmod 600 F; mkswap F; swapon F) all do.

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#include "engine_test.h"

// attack() leaves 0xAA everywhere, waits in the middle, finds what it wrote and writes some more; look() is 0 where all
// is the image's. Two memories: one in the arena and one of its own.
static const char guest[] =
    "(module (import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
    " (memory $a (export \"memory\") 32 64) (memory $b 8 16)"
    " (data (memory $a) (i32.const 70000) \"image\") (data (memory $b) (i32.const 5000) \"another\")"
    " (global $g (mut i64) (i64.const 21)) (global $v (mut v128) (v128.const i64x2 3 4))"
    " (table $t 3 funcref) (elem (i32.const 0) $one $one $one) (func $one)"
    " (func $count (param $of i32) (param $end i32) (result i32) (local $i i32) (local $n i32)"
    "  (loop $l"
    "   (local.set $n (i32.add (local.get $n) (i32.eq (local.get $of)"
    "    (i32.load8_u $a (local.get $i)))))"
    "   (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $end))))"
    "  (local.get $n))"
    " (func $count_b (param $of i32) (param $end i32) (result i32) (local $i i32) (local $n i32)"
    "  (loop $l"
    "   (local.set $n (i32.add (local.get $n) (i32.eq (local.get $of)"
    "    (i32.load8_u $b (local.get $i)))))"
    "   (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $end))))"
    "  (local.get $n))"
    " (func (export \"attack\") (result i32)"
    "  (drop (memory.grow $a (i32.const 4))) (drop (memory.grow $b (i32.const 2)))"
    "  (memory.fill $a (i32.const 0) (i32.const 0xAA) (i32.const 2359296))"
    "  (memory.fill $b (i32.const 0) (i32.const 0xAA) (i32.const 655360))"
    "  (global.set $g (i64.const -1)) (global.set $v (v128.const i64x2 -1 -1))"
    "  (drop (call $emit (i32.const 0) (i32.const 8)))"
    "  (i32.store8 $a (i32.const 12345) (i32.const 1)) (i32.store8 $b (i32.const 12345) (i32.const 1))"
    "  (i32.add (call $count (i32.const 0xAA) (i32.const 2359296))"
    "   (call $count_b (i32.const 0xAA) (i32.const 655360))))"
    " (func (export \"look\") (result i32)"
    "  (if (i32.or (i32.ne (memory.size $a) (i32.const 32)) (i32.ne (memory.size $b) (i32.const 8)))"
    "   (then (return (i32.const 1))))"
    "  (if (i64.ne (global.get $g) (i64.const 21)) (then (return (i32.const 2))))"
    "  (if (i32.ne (i64x2.bitmask (i64x2.ne (global.get $v) (v128.const i64x2 3 4))) (i32.const 0))"
    "   (then (return (i32.const 3))))"
    "  (if (i64.ne (i64.load $a (i32.const 70000)) (i64.const 0x6567616d69)) (then (return (i32.const 4))))"
    "  (if (i64.ne (i64.load $b (i32.const 5000)) (i64.const 0x726568746f6e61)) (then (return (i32.const "
    "5))))"
    "  (if (i32.ne (call $count (i32.const 0) (i32.const 2097152)) (i32.const 2097147))"
    "   (then (return (i32.const 6))))"
    "  (if (i32.ne (call $count_b (i32.const 0) (i32.const 524288)) (i32.const 524281))"
    "   (then (return (i32.const 7))))"
    "  (i32.const 0)))";

enum { WRITTEN = 2359296 + 655360, WRITTEN_AGAIN = 2 };

// ---- sending pages out ----

// How many of the pages lie in swap, by bit 62 of their entries.
static uint64_t swapped(const uint8_t *base, uint64_t bytes) {
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    uint64_t count = 0;
    for (uint64_t at = 0; at < bytes; at += 4096) {
        uint64_t entry = 0;
        if (pread(fd, &entry, sizeof(entry), (off_t)(((uintptr_t)base + at) / 4096 * 8)) == sizeof(entry))
            count += entry >> 62 & 1;
    }
    close(fd);
    return count;
}

// The process's heap, where Wasmtime keeps globals and tables, the threads' and the guests' stacks, and so on.
static void send_process_out(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;
        char access[5];
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, access) == 3 &&
            strcmp(access, "rw-p") == 0 && to - from <= 1ULL << 30) // a sanitizer's shadow is larger
            madvise((void *)from, to - from, MADV_PAGEOUT);
    }
    fclose(maps);
}

static void send_out(const struct engine_instance *instance, const char *what) {
    uint64_t pages = 0, out = 0;
    for (uint32_t i = 0; i < instance->region_count; i++) {
        const struct engine_region *region = &instance->regions[i];
        madvise(region->base, region->size, MADV_PAGEOUT); // a request: without swap nothing goes
    }
    send_process_out();
    for (uint32_t i = 0; i < instance->region_count; i++) {
        pages += instance->regions[i].size / 4096;
        out += swapped(instance->regions[i].base, instance->regions[i].size);
    }
    printf("     %s: %" PRIu64 " of %" PRIu64 " pages were swapped out%s\n", what, out, pages,
           out ? "" : ", so this shows nothing about swap");
}

// ---- the guest ----

static bool always_slow(struct tw_invoke *invoke, bool waits) {
    (void)invoke;
    (void)waits;
    return true;
}

static void check_swapped(struct engine_test *test, struct tw_module *module, bool is_cancelled,
                          const char *what) {
    struct engine_test_call call = {};
    engine_test_prepare(&call, module, "attack", 600'000);
    call.invoke.is_slow = always_slow;
    engine_test_submit(test, &call);
    struct engine_call *inside = call.invoke.engine_state;
    while (tw_state_get(&inside->state) != ENGINE_PARKED)
        sched_yield();
    send_out(inside->instance, what);
    if (is_cancelled)
        tw_invoke_cancel(&call.invoke);
    else
        tw_invoke_resume(&call.invoke);
    engine_test_wait(&call);
    ck_assert_int_eq(call.invoke.error.code, is_cancelled ? TW_ERR_CANCELLED : TW_OK);
    if (!is_cancelled)
        ck_assert_int_eq(call.invoke.results[0].of.i32, WRITTEN - WRITTEN_AGAIN);
    engine_test_forget(&call);
}

static void check_all(const struct tw_engine_options *more, const char *what) {
    struct engine_test test;
    struct tw_engine_options options = *more;
    options.workers = 1;
    options.warm_per_function = 1;
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, guest);
    ck_assert(!module->single_use);
    for (int round = 0; round < 4; round++) {
        // After a clean call the reset knows which pages there are; after a soiled one it does not.
        if (round % 2)
            ck_assert_int_eq(ENGINE_CALL(&test, module, "look"), 0);
        check_swapped(&test, module, round / 2, what);
        int trace = ENGINE_CALL(&test, module, "look");
        if (trace)
            ck_abort_msg("%s: round %d, the next call finds trace %d", what, round, trace);
    }
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.instances, 1); // none had to be given up
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("pages in swap are put back where the kernel names the written ones") {
    check_all(&(struct tw_engine_options){}, "auto");
}

TW_TEST("pages in swap are put back where all are given back to the kernel") {
    check_all(&(struct tw_engine_options){.reset = TW_RESET_MADVISE}, "madvise");
}

TW_TEST("pages in swap do not come back in a slot of Wasmtime's pool") {
    check_all(&(struct tw_engine_options){.memory = TW_MEMORY_POOLING, .max_instances = 16}, "pooling");
}

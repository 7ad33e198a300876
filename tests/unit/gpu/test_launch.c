// SPDX-License-Identifier: Apache-2.0
//
// Launches on the CPU device: results, dimensions, faults, time limits, and what a context may do afterwards.

#include "unit/gpu/fixture.h"

// out[i] = a[i] + b[i] over n u32, grid-stride by thread.
static const char vector_add[] =
    "KERNEL(k) { u64 a = PARAM(u64, 0), b = PARAM(u64, 8), out = PARAM(u64, 16), n = PARAM(u64, 24);\n"
    "  EACH_THREAD(g, t) { u64 i = g * f->block[0] + t;\n"
    "    if (i < n) AT(u32, out + 4 * i) = AT(u32, a + 4 * i) + AT(u32, b + 4 * i); } return 0; }";
static const char store_at[] = "KERNEL(k) { AT(u32, PARAM(u64, 0)) = 1; return 0; }";
static const char spin[] = "KERNEL(k) { for (;;) __asm__ volatile(\"\"); }";
static const char count_up[] =
    "KERNEL(k) { for (u64 b = first; b < first + count; b++) "
    "__atomic_fetch_add((u32 *)(f->base + (PARAM(u64, 0) & f->mask)), 1, 0); return 0; }";

static void check_vector_add(struct fixture *fixture, int64_t kernel, uint32_t n) {
    uint64_t a, b, out;
    uint32_t *host = calloc(n, sizeof(uint32_t));
    tw_assert_ok(tw_gpu_alloc(fixture->context, 4 * (uint64_t)n, &a, &fixture->err), &fixture->err);
    tw_assert_ok(tw_gpu_alloc(fixture->context, 4 * (uint64_t)n, &b, &fixture->err), &fixture->err);
    tw_assert_ok(tw_gpu_alloc(fixture->context, 4 * (uint64_t)n, &out, &fixture->err), &fixture->err);
    for (uint32_t i = 0; i < n; i++)
        host[i] = 3 * i;
    tw_assert_ok(tw_gpu_write(fixture->context, a, 0, host, 4 * (uint64_t)n, &fixture->err), &fixture->err);
    for (uint32_t i = 0; i < n; i++)
        host[i] = 1000 - i;
    tw_assert_ok(tw_gpu_write(fixture->context, b, 0, host, 4 * (uint64_t)n, &fixture->err), &fixture->err);
    struct args args = {};
    put_buffer(&args, a, 0), put_buffer(&args, b, 0), put_buffer(&args, out, 0), put_u64(&args, n);
    struct tw_gpu_launch launch = make_launch(kernel, (n + 127) / 128, 128, &args);
    ck_assert_int_eq(tw_gpu_launch(fixture->context, &launch, NULL, &fixture->err), TW_GPU_DONE);
    tw_assert_ok(tw_gpu_read(fixture->context, out, 0, host, 4 * (uint64_t)n, &fixture->err), &fixture->err);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_uint_eq(host[i], 1000 + 2 * i);
    free(host);
}

TW_TEST("a kernel over device buffers gives the right numbers, small and large") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t kernel = load_kernel(fixture.context, vector_add, 3, 1);
    check_vector_add(&fixture, kernel, 1);
    check_vector_add(&fixture, kernel, 1000);
    check_vector_add(&fixture, kernel, 3'000'000);
    struct tw_gpu_usage usage;
    tw_gpu_context_usage(fixture.context, &usage);
    ck_assert_uint_eq(usage.launches, 3);
    ck_assert_uint_gt(usage.kernel_ns, 0);
    ck_assert_uint_eq(usage.allocated_bytes, 12 * (1 + 1000 + 3'000'000));
    fixture_close(&fixture);
}

TW_TEST("every block of a grid runs once, with its frame filled in") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t kernel = load_kernel(
        fixture.context,
        "KERNEL(k) { for (u64 b = first; b < first + count; b++) { u64 at = PARAM(u64, 0) + 16 * b;\n"
        "  __atomic_fetch_add((u32 *)(f->base + (at & f->mask)), 1, 0);\n"
        "  AT(u32, at + 4) = f->grid[0] * 100 + f->grid[1] * 10 + f->grid[2];\n"
        "  AT(u32, at + 8) = f->block[0] * 100 + f->block[1] * 10 + f->block[2];\n"
        "  AT(u32, at + 12) = f->dynamic; AT(u32, f->shared + f->shared_limit - 4) = 1; } return 0; }",
        1, 0);
    enum { BLOCKS = 9 * 8 * 7 };
    uint64_t out;
    tw_assert_ok(tw_gpu_alloc(fixture.context, 16 * BLOCKS, &out, &fixture.err), &fixture.err);
    struct args args = {};
    put_buffer(&args, out, 0);
    struct tw_gpu_launch launch = make_launch(kernel, 9, 4, &args);
    launch.grid[1] = 8, launch.grid[2] = 7, launch.block[1] = 3, launch.block[2] = 2,
    launch.shared_bytes = 233'472;
    for (int round = 1; round <= 20; round++) {
        ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_DONE);
        uint32_t host[BLOCKS][4];
        tw_assert_ok(tw_gpu_read(fixture.context, out, 0, host, sizeof(host), &fixture.err), &fixture.err);
        for (int i = 0; i < BLOCKS; i++) {
            ck_assert_uint_eq(host[i][0], (uint32_t)round);
            ck_assert_uint_eq(host[i][1], 987);
            ck_assert_uint_eq(host[i][2], 432);
            ck_assert_uint_eq(host[i][3], 233'472);
        }
    }
    fixture_close(&fixture);
}

TW_TEST("a guest range is the arena's upper half, and what lies past guest memory faults") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    uint8_t *memory = open_guest_memory(fixture.arena, 65'536);
    int64_t kernel = load_kernel(fixture.context, store_at, 1, 0);
    struct args args = {};
    put_range(&args, 65'532, 4);
    struct tw_gpu_launch launch = make_launch(kernel, 1, 1, &args);
    launch.memory_bytes = 65'536;
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_DONE);
    ck_assert_uint_eq(memory[65'532], 1);
    struct args beyond = {};
    put_range(&beyond, 65'536, 0); // an empty range at the end is a range
    launch.args = tw_span_of(beyond.bytes, beyond.len);
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_FAILED);
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_LAUNCH_FAILED);
    ck_assert_msg(strstr(fixture.err.message, "byte 65536 of guest memory"), "%s", fixture.err.message);
    fixture_close(&fixture);
}

// Launches `source` with one u64 and expects words in the error, then shows that the context still works.
static void expect_fault(const char *source, uint64_t value, uint32_t grid, const char *words) {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t kernel = load_kernel(fixture.context, source, 0, 1),
            good = load_kernel(fixture.context, vector_add, 3, 1);
    struct args args = {};
    put_u64(&args, value);
    struct tw_gpu_launch launch = make_launch(kernel, grid, 64, &args);
    for (int round = 0; round < 3; round++) {
        struct tw_error err = {};
        ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &err), TW_GPU_FAILED);
        ck_assert_int_eq(err.code, TW_ERR_CUDA_LAUNCH_FAILED);
        ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
        check_vector_add(&fixture, good, 500);
    }
    fixture_close(&fixture);
}

TW_TEST("a null pointer faults with its arena offset") {
    expect_fault(store_at, 0x18, 1, "illegal address 0x18 (arena offset; a null pointer");
    expect_fault(store_at, 0x18, 100'000, "illegal address 0x18");
}

TW_TEST("a stray pointer faults, and addresses are confined by the mask") {
    expect_fault(store_at, 0xc000'0000, 1,
                 "illegal address 0xc0000000 (arena offset; outside every allocation");
    expect_fault(store_at, 0x7fff'0000'0000'0010, 1, "illegal address 0x10 ");
    expect_fault(store_at, (1ULL << 33) - 2, 1, "illegal address");
}

TW_TEST("a division by zero, an illegal instruction and a misaligned vector are launch failures") {
    expect_fault("KERNEL(k) { volatile u32 zero = 0; return 7 / zero; }", 0, 1, "arithmetic fault");
    expect_fault("KERNEL(k) { __builtin_trap(); }", 0, 1, "illegal instruction");
    expect_fault("typedef float v __attribute__((vector_size(16)));\n"
                 "KERNEL(k) { __asm__ volatile(\"movaps (%0), %%xmm0\" :: \"r\"(f->base + 0x10000001) : "
                 "\"xmm0\"); return 0; }",
                 0, 1, "misaligned");
}

TW_TEST("a kernel that overflows its stack is a launch failure") {
    expect_fault(
        "static __attribute__((noinline)) u32 down(u64 n) { volatile u8 pad[4096]; pad[n & 4095] = 1;\n"
        "  return n ? down(n - 1) + pad[0] : pad[1]; }\n"
        "KERNEL(k) { return down(1000000); }",
        0, 1, "stack overflow");
}

TW_TEST("a trap and a deadlock name their line") {
    expect_fault("KERNEL(k) { f->fault_site = 17; return 1; }", 0, 1, "trap at line 17");
    expect_fault("KERNEL(k) { f->fault_site = 23; return 2; }", 0, 3000, "deadlock");
}

static void expect_stop(const struct tw_gpu_options *options, int64_t deadline_ms, uint32_t grid,
                        const char *words, int64_t expected_ms) {
    struct fixture fixture;
    fixture_open(&fixture, options);
    int64_t kernel = load_kernel(fixture.context, spin, 0, 0),
            good = load_kernel(fixture.context, vector_add, 3, 1);
    for (int round = 0; round < 5; round++) {
        struct tw_gpu_launch launch = make_launch(kernel, grid, 1, NULL);
        int64_t began_ns = tw_clock_ns();
        if (deadline_ms)
            launch.deadline_ns = began_ns + deadline_ms * TW_NS_PER_MS;
        struct tw_error err = {};
        ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &err), TW_GPU_FAILED);
        int64_t took_ns = tw_clock_ns() - began_ns;
        ck_assert_int_eq(err.code, TW_ERR_CUDA_LAUNCH_FAILED);
        ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
        ck_assert_int_ge(took_ns, expected_ms * TW_NS_PER_MS);
        check_vector_add(&fixture, good, 500);
    }
    fixture_close(&fixture);
}

TW_TEST("an infinite loop is stopped by the time limit, on this thread and on the device's") {
    if (!can_stop_kernels())
        return;
    struct tw_gpu_options options = {
        .device = "cpu", .cpu_threads = 2, .kernel_timeout_ms = 50, .max_arenas = 8};
    expect_stop(&options, 0, 1, "killed by the time limit of 50 ms", 50);
    expect_stop(&options, 0, 1000, "killed by the time limit of 50 ms", 50);
}

TW_TEST("an infinite loop is stopped by the invocation's deadline") {
    if (!can_stop_kernels())
        return;
    expect_stop(NULL, 20, 1, "killed by the invocation's deadline", 20);
    expect_stop(NULL, 20, 1000, "killed by the invocation's deadline", 20);
}

TW_TEST("dimensions are checked as CUDA's are") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    struct tw_kernel_info info = make_info("shaped", 0, 0);
    int64_t any = load_info(fixture.context, "KERNEL(k) { return 0; }", &info);
    info.required_block[0] = 16, info.required_block[1] = 4, info.required_block[2] = 1;
    int64_t required = load_info(fixture.context, "KERNEL(k) { return 0; }", &info);
    info = make_info("shaped", 0, 0);
    info.max_block[0] = 64, info.max_block[1] = 2, info.max_block[2] = 1;
    info.static_shared = 200'000;
    int64_t most = load_info(fixture.context, "KERNEL(k) { return 0; }", &info);
    static const struct {
        int which;
        uint32_t grid[3], block[3], shared;
        bool ok;
    } cases[] = {
        {0, {1, 1, 1}, {1024, 1, 1}, 0, true},
        {0, {1, 1, 1}, {1025, 1, 1}, 0, false},
        {0, {1, 1, 1}, {32, 32, 1}, 0, true},
        {0, {1, 1, 1}, {32, 32, 2}, 0, false},
        {0, {1, 1, 1}, {1, 1, 65}, 0, false},
        {0, {1, 1, 1}, {4, 4, 64}, 0, true},
        {0, {1, 1, 1}, {0, 1, 1}, 0, false},
        {0, {1, 1, 1}, {1, 0, 1}, 0, false},
        {0, {1, 1, 1}, {1, 1, 0}, 0, false},
        {0, {1, 1, 1}, {0xffff'ffff, 0xffff'ffff, 0xffff'ffff}, 0, false},
        {0, {1, 1, 1}, {0x8000'0000, 2, 1}, 0, false},
        {0, {0, 1, 1}, {1, 1, 1}, 0, false},
        {0, {1, 0, 1}, {1, 1, 1}, 0, false},
        {0, {1, 1, 0}, {1, 1, 1}, 0, false},
        {0, {0x8000'0000, 1, 1}, {1, 1, 1}, 0, false},
        {0, {1, 65'536, 1}, {1, 1, 1}, 0, false},
        {0, {1, 1, 65'536}, {1, 1, 1}, 0, false},
        {0, {1, 1, 1}, {1, 1, 1}, 233'472, true},
        {0, {1, 1, 1}, {1, 1, 1}, 233'473, false},
        {0, {1, 1, 1}, {1, 1, 1}, 0xffff'ffff, false},
        {1, {1, 1, 1}, {16, 4, 1}, 0, true},
        {1, {1, 1, 1}, {4, 16, 1}, 0, false},
        {2, {1, 1, 1}, {128, 1, 1}, 0, true},
        {2, {1, 1, 1}, {129, 1, 1}, 0, false},
        {2, {1, 1, 1}, {1, 1, 1}, 33'472, true},
        {2, {1, 1, 1}, {1, 1, 1}, 33'473, false},
    };
    int64_t kernels[] = {any, required, most};
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_gpu_launch launch = make_launch(kernels[cases[i].which], 1, 1, NULL);
        memcpy(launch.grid, cases[i].grid, sizeof(launch.grid));
        memcpy(launch.block, cases[i].block, sizeof(launch.block));
        launch.shared_bytes = cases[i].shared;
        struct tw_error err = {};
        enum tw_gpu_progress progress = tw_gpu_launch(fixture.context, &launch, NULL, &err);
        ck_assert_msg(progress == (cases[i].ok ? TW_GPU_DONE : TW_GPU_FAILED), "case %zu: %s", i,
                      err.message);
        if (!cases[i].ok)
            ck_assert_int_eq(err.code, TW_ERR_CUDA_INVALID_DIMENSIONS);
    }
    fixture_close(&fixture);
}

TW_TEST("unknown kernels and streams are refused, another context's among them") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    struct tw_gpu_arena *arena = tw_gpu_arena_take(fixture.gpu, &fixture.err);
    struct tw_gpu_context *other =
        tw_gpu_context_new(tw_gpu_device_default(fixture.gpu), arena, 8, NULL, &fixture.err);
    int64_t kernel = load_kernel(fixture.context, vector_add, 3, 1),
            theirs = load_kernel(other, vector_add, 3, 1);
    ck_assert_int_gt(kernel, 0);
    ck_assert_int_ne(kernel, theirs);
    int64_t bad[] = {0, -1, theirs, kernel + 1, kernel ^ (1LL << 20), INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        struct tw_gpu_launch launch = make_launch(bad[i], 1, 1, NULL);
        ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_FAILED);
        ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_INVALID_KERNEL);
        ck_assert(!tw_gpu_unload(fixture.context, bad[i], &fixture.err));
    }
    struct tw_gpu_launch launch = make_launch(kernel, 1, 1, NULL);
    launch.stream = 99;
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_FAILED);
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_INVALID_HANDLE);
    tw_assert_ok(tw_gpu_unload(fixture.context, kernel, &fixture.err), &fixture.err);
    launch.stream = 0;
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_FAILED);
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_INVALID_KERNEL);
    tw_gpu_context_free(other);
    tw_gpu_arena_give(fixture.gpu, arena);
    fixture_close(&fixture);
}

struct hearing {
    struct tw_gpu_waiter waiter; // first
    struct tw_state heard;
};
static void on_notify(struct tw_gpu_waiter *waiter) {
    struct hearing *hearing = (struct hearing *)waiter;
    tw_state_set(&hearing->heard, tw_state_get(&hearing->heard) + 1);
    tw_state_wake(&hearing->heard);
}
static void wait_heard(struct hearing *hearing) {
    while (tw_state_get(&hearing->heard) == 0)
        tw_state_wait(&hearing->heard, 0, -1);
}

TW_TEST("a waiter hears the end of a long launch once, with its error") {
    if (!can_stop_kernels())
        return;
    struct fixture fixture;
    struct tw_gpu_options options = {
        .device = "cpu", .cpu_threads = 2, .kernel_timeout_ms = 40, .max_arenas = 8};
    fixture_open(&fixture, &options);
    int64_t loop = load_kernel(fixture.context, spin, 0, 0),
            count = load_kernel(fixture.context, count_up, 1, 0);
    struct hearing hearing = {.waiter = {.notify = on_notify}};
    struct tw_gpu_launch launch = make_launch(loop, 100'000, 1, NULL);
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, &hearing.waiter, &fixture.err), TW_GPU_PENDING);
    wait_heard(&hearing);
    ck_assert_int_eq(hearing.waiter.error.code, TW_ERR_CUDA_LAUNCH_FAILED);
    ck_assert_ptr_nonnull(strstr(hearing.waiter.error.message, "40 ms"));

    uint64_t cell;
    uint32_t total = 0;
    tw_assert_ok(tw_gpu_alloc(fixture.context, 4, &cell, &fixture.err), &fixture.err);
    struct args args = {};
    put_buffer(&args, cell, 0);
    launch = make_launch(count, 1'000'000, 1, &args);
    hearing = (struct hearing){.waiter = {.notify = on_notify}};
    enum tw_gpu_progress progress = tw_gpu_launch(fixture.context, &launch, &hearing.waiter, &fixture.err);
    ck_assert_int_eq(progress, TW_GPU_PENDING);
    wait_heard(&hearing);
    ck_assert_int_eq(hearing.waiter.error.code, TW_OK);
    tw_assert_ok(tw_gpu_read(fixture.context, cell, 0, &total, 4, &fixture.err), &fixture.err);
    ck_assert_uint_eq(total, 1'000'000);
    ck_assert_uint_eq(tw_state_get(&hearing.heard), 1);
    fixture_close(&fixture);
}

TW_TEST("small launches with a waiter are done at once and notify nobody") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t kernel = load_kernel(fixture.context, "KERNEL(k) { return 0; }", 0, 0);
    struct tw_gpu_launch launch = make_launch(kernel, 2, 64, NULL);
    int done = 0;
    for (int i = 0; i < 200; i++) {
        struct hearing hearing = {.waiter = {.notify = on_notify}};
        enum tw_gpu_progress progress =
            tw_gpu_launch(fixture.context, &launch, &hearing.waiter, &fixture.err);
        ck_assert_int_ne(progress, TW_GPU_FAILED);
        if (progress == TW_GPU_PENDING) // this thread lost its core while the kernel was measured
            wait_heard(&hearing);
        else
            ck_assert_uint_eq(tw_state_get(&hearing.heard), 0);
        done += progress == TW_GPU_DONE;
    }
    ck_assert_int_gt(done, 20);
    fixture_close(&fixture);
}

struct canceller {
    struct tw_gpu_context *context;
    struct tw_flag may_end;
};

// A cancel is for what runs: the first may come before anything does.
static void cancel_until_it_ends(void *argument) {
    struct canceller *canceller = argument;
    while (!tw_flag_is_raised(&canceller->may_end)) {
        usleep(20'000);
        tw_gpu_cancel(canceller->context);
    }
}

TW_TEST("a cancel from another thread ends what the context runs, and the context goes on") {
    if (!can_stop_kernels())
        return;
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t kernel = load_kernel(fixture.context, spin, 0, 0),
            good = load_kernel(fixture.context, vector_add, 3, 1);
    pthread_t thread;
    struct canceller canceller = {.context = fixture.context};
    tw_assert_ok(tw_thread_start(&thread, "canceller", cancel_until_it_ends, &canceller, &fixture.err),
                 &fixture.err);
    struct tw_gpu_launch launch = make_launch(kernel, 50, 1, NULL);
    ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_FAILED);
    ck_assert_ptr_nonnull(strstr(fixture.err.message, "cancelled"));
    tw_flag_raise(&canceller.may_end);
    tw_thread_join(thread);
    check_vector_add(&fixture, good, 500);
    fixture_close(&fixture);
}

struct client {
    struct tw_gpu *gpu;
    uint64_t tenant;
    const char *failure; // NULL: none
    pthread_t thread;
};

// Launches of all sizes on a context of its own; each adds its grid to one cell.
static const char *run_client(struct tw_gpu_context *context, struct tw_error *err) {
    int64_t kernel = load_kernel(context, count_up, 1, 0), bad = load_kernel(context, store_at, 0, 1);
    uint64_t cell;
    uint32_t expected = 0, total = 0;
    if (!tw_gpu_alloc(context, 4, &cell, err))
        return "alloc";
    struct args args = {}, stray = {};
    put_buffer(&args, cell, 0);
    put_u64(&stray, 8);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t grid = i % 7 == 0 ? 20'000 : i % 5 + 1;
        struct tw_gpu_launch launch = make_launch(kernel, grid, 1, &args);
        if (i % 3 == 0 ? !tw_gpu_launch_async(context, &launch, err)
                       : tw_gpu_launch(context, &launch, NULL, err) != TW_GPU_DONE)
            return "launch";
        expected += grid;
        struct tw_gpu_launch fault = make_launch(bad, grid, 1, &stray);
        if (i % 11 == 0 && tw_gpu_launch(context, &fault, NULL, err) != TW_GPU_FAILED)
            return "a stray pointer did not fault";
    }
    if (tw_gpu_sync(context, -1, NULL, err) != TW_GPU_DONE || !tw_gpu_read(context, cell, 0, &total, 4, err))
        return "sync";
    return total == expected ? NULL : "wrong total";
}

static void client_main(void *argument) {
    struct client *client = argument;
    struct tw_error err = {};
    struct tw_gpu_arena *arena = tw_gpu_arena_take(client->gpu, &err);
    struct tw_gpu_context *context =
        tw_gpu_context_new(tw_gpu_device_default(client->gpu), arena, client->tenant, NULL, &err);
    client->failure = run_client(context, &err);
    tw_gpu_context_free(context);
    tw_gpu_arena_give(client->gpu, arena);
}

TW_TEST("launches from many contexts at once keep their results apart, with fewer permits than clients") {
    struct tw_gpu_options options = {.device = "cpu", .cpu_threads = 2, .permits = 3, .max_arenas = 8};
    struct fixture fixture;
    fixture_open(&fixture, &options);
    struct client clients[6];
    for (size_t i = 0; i < TW_COUNT(clients); i++) {
        clients[i] = (struct client){.gpu = fixture.gpu, .tenant = i / 2};
        tw_assert_ok(tw_thread_start(&clients[i].thread, "client", client_main, &clients[i], &fixture.err),
                     &fixture.err);
    }
    for (size_t i = 0; i < TW_COUNT(clients); i++) {
        tw_thread_join(clients[i].thread);
        ck_assert_msg(!clients[i].failure, "client %zu: %s", i, clients[i].failure);
    }
    fixture_close(&fixture);
}

TW_TEST("a tenant's account is charged for what device threads work, not for what its own thread does") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    struct tw_account *account = tw_account_new(9, &fixture.err);
    struct tw_gpu_limits limits = {.account = account};
    struct tw_gpu_arena *arena = tw_gpu_arena_take(fixture.gpu, &fixture.err);
    struct tw_gpu_context *context =
        tw_gpu_context_new(tw_gpu_device_default(fixture.gpu), arena, 9, &limits, &fixture.err);
    tw_assert_ok(context, &fixture.err);
    int64_t kernel = load_kernel(
        context,
        "KERNEL(k) { for (u64 b = first; b < first + count; b++) for (int i = 0; i < 10000000; i++) "
        "__asm__ volatile(\"\"); return 0; }",
        0, 0);
    struct tw_gpu_launch launch = make_launch(kernel, 1, 1, NULL);
    ck_assert_int_eq(tw_gpu_launch(context, &launch, NULL, &fixture.err), TW_GPU_DONE);
    struct tw_gpu_usage usage;
    tw_gpu_context_usage(context, &usage);
    ck_assert_uint_ge(usage.kernel_ns, TW_NS_PER_MS);
    ck_assert_uint_eq(tw_account_cpu(account).total_ms, 0); // one block: nobody could help
    launch = make_launch(kernel, 40, 1, NULL);
    ck_assert_int_eq(tw_gpu_launch(context, &launch, NULL, &fixture.err), TW_GPU_DONE);
    ck_assert_uint_ge(tw_account_cpu(account).total_ms, 20); // 40 blocks of a millisecond at least
    ck_assert_uint_eq(tw_account_use(account, TW_RESOURCE_LAUNCHES).now, 0);
    tw_gpu_context_free(context);
    tw_gpu_arena_give(fixture.gpu, arena);
    ck_assert(!tw_account_is_shared(account));
    tw_account_unref(account);
    fixture_close(&fixture);
}

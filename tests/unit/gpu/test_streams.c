// SPDX-License-Identifier: Apache-2.0
//
// Streams: order within one, overlap between two, and where errors surface.

#include "unit/gpu/fixture.h"

// cell = cell * 3 + value: the result tells the order.
static const char step_kernel[] =
    "KERNEL(k) { AT(u64, PARAM(u64, 0)) = AT(u64, PARAM(u64, 0)) * 3 + PARAM(u64, 8); return 0; }";
// Waits until another kernel has written; both must run at once.
static const char wait_kernel[] =
    "KERNEL(k) { while (AT(u64, PARAM(u64, 0)) != PARAM(u64, 8)) __builtin_ia32_pause(); return 0; }";
static const char set_kernel[] = "KERNEL(k) { AT(u64, PARAM(u64, 0)) = PARAM(u64, 8); return 0; }";
static const char fault_kernel[] = "KERNEL(k) { AT(u64, 16) = 1; return 0; }";

static uint64_t make_cell(struct fixture *fixture) {
    uint64_t cell;
    tw_assert_ok(tw_gpu_alloc(fixture->context, 8, &cell, &fixture->err), &fixture->err);
    return cell;
}

static bool launch_async(struct fixture *fixture, int64_t kernel, int64_t stream, uint64_t cell,
                         uint64_t value) {
    struct args args = {};
    put_buffer(&args, cell, 0), put_u64(&args, value);
    struct tw_gpu_launch launch = make_launch(kernel, 1, 1, &args);
    launch.stream = stream;
    return tw_gpu_launch_async(fixture->context, &launch, &fixture->err);
}

static uint64_t read_cell(struct fixture *fixture, uint64_t cell) {
    uint64_t value;
    tw_assert_ok(tw_gpu_read(fixture->context, cell, 0, &value, 8, &fixture->err), &fixture->err);
    return value;
}

TW_TEST("launches of one stream run in their order, also behind a synchronous one") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t step = load_kernel(fixture.context, step_kernel, 1, 1), stream;
    tw_assert_ok(tw_gpu_stream_new(fixture.context, &stream, &fixture.err), &fixture.err);
    uint64_t cells[2] = {make_cell(&fixture), make_cell(&fixture)}, expected = 0;
    for (uint64_t i = 0; i < 500; i++) {
        ck_assert(launch_async(&fixture, step, 0, cells[0], i));
        ck_assert(launch_async(&fixture, step, stream, cells[1], i));
        expected = expected * 3 + i;
        if (i % 100 == 99) {
            struct args args = {};
            put_buffer(&args, cells[0], 0), put_u64(&args, 5);
            struct tw_gpu_launch launch = make_launch(step, 1, 1, &args);
            ck_assert_int_eq(tw_gpu_launch(fixture.context, &launch, NULL, &fixture.err), TW_GPU_DONE);
            ck_assert(launch_async(&fixture, step, stream, cells[1], 5));
            expected = expected * 3 + 5;
        }
    }
    ck_assert_int_eq(tw_gpu_sync(fixture.context, -1, NULL, &fixture.err), TW_GPU_DONE);
    ck_assert_uint_eq(read_cell(&fixture, cells[0]), expected);
    ck_assert_uint_eq(read_cell(&fixture, cells[1]), expected);
    fixture_close(&fixture);
}

TW_TEST("different streams overlap") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t waits = load_kernel(fixture.context, wait_kernel, 1, 1),
            sets = load_kernel(fixture.context, set_kernel, 1, 1);
    int64_t streams[2];
    for (int i = 0; i < 2; i++)
        tw_assert_ok(tw_gpu_stream_new(fixture.context, &streams[i], &fixture.err), &fixture.err);
    for (uint64_t round = 1; round <= 20; round++) {
        uint64_t cell = make_cell(&fixture);
        ck_assert(launch_async(&fixture, waits, streams[0], cell, round));
        ck_assert(launch_async(&fixture, sets, streams[1], cell, round));
        ck_assert_int_eq(tw_gpu_sync(fixture.context, streams[0], NULL, &fixture.err), TW_GPU_DONE);
        ck_assert_int_eq(tw_gpu_sync(fixture.context, streams[1], NULL, &fixture.err), TW_GPU_DONE);
    }
    fixture_close(&fixture);
}

TW_TEST("an error surfaces at the sync of its stream, once, and the stream goes on") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t fault = load_kernel(fixture.context, fault_kernel, 0, 0),
            step = load_kernel(fixture.context, step_kernel, 1, 1);
    int64_t stream, other;
    tw_assert_ok(tw_gpu_stream_new(fixture.context, &stream, &fixture.err), &fixture.err);
    tw_assert_ok(tw_gpu_stream_new(fixture.context, &other, &fixture.err), &fixture.err);
    uint64_t cell = make_cell(&fixture);
    struct tw_gpu_launch launch = make_launch(fault, 1, 1, NULL);
    launch.stream = stream;
    for (int round = 0; round < 5; round++) {
        ck_assert(tw_gpu_launch_async(fixture.context, &launch, &fixture.err));
        ck_assert(launch_async(&fixture, step, stream, cell, 1));
        ck_assert_int_eq(tw_gpu_sync(fixture.context, other, NULL, &fixture.err), TW_GPU_DONE);
        struct tw_error err = {};
        ck_assert_int_eq(tw_gpu_sync(fixture.context, round % 2 ? stream : -1, NULL, &err), TW_GPU_FAILED);
        ck_assert_int_eq(err.code, TW_ERR_CUDA_LAUNCH_FAILED);
        ck_assert_ptr_nonnull(strstr(err.message, "illegal address 0x10"));
        ck_assert_int_eq(tw_gpu_sync(fixture.context, -1, NULL, &fixture.err), TW_GPU_DONE);
    }
    ck_assert_uint_eq(read_cell(&fixture, cell), 1 + 3 + 9 + 27 + 81);
    // A stream that goes with an unseen error leaves it behind.
    ck_assert(tw_gpu_launch_async(fixture.context, &launch, &fixture.err));
    tw_assert_ok(tw_gpu_stream_free(fixture.context, stream, &fixture.err), &fixture.err);
    ck_assert_int_eq(tw_gpu_sync(fixture.context, -1, NULL, &fixture.err), TW_GPU_FAILED);
    fixture_close(&fixture);
}

struct hearing {
    struct tw_gpu_waiter waiter; // first
    struct tw_state heard;
};
static void on_notify(struct tw_gpu_waiter *waiter) {
    struct hearing *hearing = (struct hearing *)waiter;
    tw_state_set(&hearing->heard, 1);
    tw_state_wake(&hearing->heard);
}

TW_TEST("a waiting sync hears when the last launch has ended") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t waits = load_kernel(fixture.context, wait_kernel, 1, 1), stream;
    tw_assert_ok(tw_gpu_stream_new(fixture.context, &stream, &fixture.err), &fixture.err);
    uint64_t cell = make_cell(&fixture);
    volatile uint64_t *word =
        (volatile uint64_t *)(fixture.arena->base +
                              ((struct gpu_buffer *)gpu_handle_find(&fixture.context->buffers, cell))
                                  ->address);
    for (uint64_t round = 1; round <= 10; round++) {
        ck_assert(launch_async(&fixture, waits, stream, cell, round));
        struct hearing hearing = {.waiter = {.notify = on_notify}};
        ck_assert_int_eq(tw_gpu_sync(fixture.context, round % 2 ? -1 : stream, &hearing.waiter, &fixture.err),
                         TW_GPU_PENDING);
        ck_assert_uint_eq(tw_state_get(&hearing.heard), 0);
        *word = round;
        while (!tw_state_get(&hearing.heard))
            tw_state_wait(&hearing.heard, 0, -1);
        ck_assert_int_eq(hearing.waiter.error.code, TW_OK);
        ck_assert_int_eq(tw_gpu_sync(fixture.context, -1, &hearing.waiter, &fixture.err), TW_GPU_DONE);
    }
    fixture_close(&fixture);
}

TW_TEST("a queue that is full refuses, and reading waits for the queue") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t waits = load_kernel(fixture.context, wait_kernel, 1, 1),
            step = load_kernel(fixture.context, step_kernel, 1, 1);
    uint64_t gate = make_cell(&fixture), cell = make_cell(&fixture);
    volatile uint64_t *word =
        (volatile uint64_t *)(fixture.arena->base +
                              ((struct gpu_buffer *)gpu_handle_find(&fixture.context->buffers, gate))
                                  ->address);
    ck_assert(launch_async(&fixture, waits, 0, gate, 1));
    uint64_t expected = 0;
    for (uint64_t i = 1; i < GPU_QUEUED_MAX; i++) {
        ck_assert(launch_async(&fixture, step, 0, cell, i));
        expected = expected * 3 + i;
    }
    ck_assert(!launch_async(&fixture, step, 0, cell, 1));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);
    ck_assert_ptr_nonnull(strstr(fixture.err.message, "1024 launches are queued"));
    *word = 1;
    ck_assert_uint_eq(read_cell(&fixture, cell), expected);
    ck_assert(launch_async(&fixture, step, 0, cell, 1));
    fixture_close(&fixture);
}

TW_TEST("streams are checked, limited and forgotten at a reset that stops what runs") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    int64_t stream, streams[GPU_STREAMS_MAX];
    for (int i = 0; i < GPU_STREAMS_MAX; i++)
        tw_assert_ok(tw_gpu_stream_new(fixture.context, &streams[i], &fixture.err), &fixture.err);
    ck_assert(!tw_gpu_stream_new(fixture.context, &stream, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);
    ck_assert(!tw_gpu_stream_free(fixture.context, 0, &fixture.err));
    ck_assert(!tw_gpu_stream_free(fixture.context, -5, &fixture.err));
    ck_assert(!tw_gpu_stream_free(fixture.context, streams[3] + 1, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_INVALID_HANDLE);
    ck_assert_int_eq(tw_gpu_sync(fixture.context, streams[3] + 1, NULL, &fixture.err), TW_GPU_FAILED);
    if (can_stop_kernels()) {
        int64_t spin = load_kernel(fixture.context, "KERNEL(k) { for (;;) __asm__ volatile(\"\"); }", 0, 0);
        struct tw_gpu_launch launch = make_launch(spin, 1, 1, NULL);
        for (int i = 0; i < 5; i++) {
            launch.stream = streams[i];
            ck_assert(tw_gpu_launch_async(fixture.context, &launch, &fixture.err));
        }
    }
    tw_assert_ok(tw_gpu_context_reset(fixture.context, &fixture.err), &fixture.err);
    ck_assert_int_eq(tw_gpu_sync(fixture.context, streams[3], NULL, &fixture.err), TW_GPU_FAILED);
    ck_assert_int_eq(tw_gpu_sync(fixture.context, -1, NULL, &fixture.err), TW_GPU_DONE);
    fixture_close(&fixture);
}

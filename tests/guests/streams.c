// SPDX-License-Identifier: Apache-2.0
//
// Launches that do not wait: order in a stream, two streams at once, errors that come with the sync, what is
// left running. Each export prints its numbers on one line.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tensor_wasm.h"

#define EXPORT(name) __attribute__((export_name(#name))) void name(void)

static const char ptx[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    // x = 3x + i: shows the order
    ".visible .entry step(.param .u64 cell, .param .u32 i) {\n"
    ".reg .b32 %r<4>; .reg .b64 %d<2>;\n"
    "ld.param.u64 %d1, [cell]; ld.param.u32 %r1, [i];\n"
    "ld.global.u32 %r2, [%d1]; mad.lo.u32 %r2, %r2, 3, %r1; st.global.u32 [%d1], %r2; ret; }\n"
    // waits until another kernel has written the cell, then answers in the next one
    ".visible .entry await(.param .u64 cell) {\n"
    ".reg .b32 %r<4>; .reg .b64 %d<2>; .reg .pred %p;\n"
    "ld.param.u64 %d1, [cell];\n"
    "L: ld.acquire.gpu.global.u32 %r1, [%d1]; setp.eq.u32 %p, %r1, 0; @%p bra L;\n"
    "add.u32 %r1, %r1, 1; st.global.u32 [%d1+4], %r1; ret; }\n"
    ".visible .entry tell(.param .u64 cell) {\n"
    ".reg .b32 %r<4>; .reg .b64 %d<2>;\n"
    "ld.param.u64 %d1, [cell]; mov.u32 %r1, 7; st.release.gpu.global.u32 [%d1], %r1; ret; }\n"
    ".visible .entry fault() { trap; }\n"
    ".visible .entry stray() { .reg .b64 %d; mov.u64 %d, 64; st.global.u32 [%d], 5; ret; }\n"
    ".visible .entry forever() { L: bra L; }\n";

static void say(const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    tw_emit(line, (size_t)len);
}

static int64_t load(const char *entry) {
    return tw_load_ptx(ptx, sizeof ptx - 1, entry);
}

static int queue(int64_t stream, int64_t kernel, const void *cell, int number) {
    struct tw_args args;
    tw_args_reset(&args);
    if (cell)
        tw_args_range(&args, cell, 8);
    if (number >= 0)
        tw_args_i32(&args, number);
    return tw_launch_async(stream, kernel, tw_dim(1), tw_dim(1), 0, &args);
}

static uint32_t cells[4][2];

// 200 dependent launches on each of three streams, the default one among them.
EXPORT(order) {
    int64_t step = load("step"), streams[3] = {0, tw_cuda_stream_create(), tw_cuda_stream_create()};
    int code = 0;
    for (int i = 0; i < 200; i++)
        for (int s = 0; s < 3; s++)
            code |= queue(streams[s], step, cells[s], i * (s + 1));
    int first = tw_cuda_stream_sync(streams[1]);
    uint32_t early = cells[1][0];
    int all = tw_cuda_sync();
    say("%d %d %d %u %u %u %d", code, first, all, cells[0][0], cells[1][0], cells[2][0],
        early == cells[1][0]);
}

// The first stream's kernel ends only when the second one's has run.
EXPORT(overlap) {
    int64_t one = tw_cuda_stream_create(), two = tw_cuda_stream_create();
    int64_t await = load("await"), tell = load("tell"); // both before: compiling takes a while
    int code = queue(one, await, cells[0], -1) | queue(two, tell, cells[0], -1);
    int synced = tw_cuda_sync();
    say("%d %d %u", code, synced, cells[0][1]);
}

// An error comes with its stream's sync, once; the stream goes on, and the other never hears of it.
EXPORT(errors) {
    int64_t fault = load("fault"), step = load("step"), one = tw_cuda_stream_create(),
            two = tw_cuda_stream_create();
    int queued = queue(one, fault, NULL, -1) | queue(two, step, cells[0], 5);
    int other = tw_cuda_stream_sync(two), first = tw_cuda_stream_sync(one);
    char error[TW_ERROR_TEXT_MAX + 1];
    int has_text = tw_cuda_last_error(error, sizeof error)[0] != 0;
    int second = tw_cuda_stream_sync(one), later = queue(one, step, cells[1], 6), third = tw_cuda_sync();
    say("%d %d %d %d %d %d %d %u %u", queued, other, first, has_text, second, later, third, cells[0][0],
        cells[1][0]);
}

// Whether the last error's text has these words.
static int told(const char *words) {
    char error[TW_ERROR_TEXT_MAX + 1];
    return strstr(tw_cuda_last_error(error, sizeof error), words) != NULL;
}

// Of a stream's errors its sync tells the first; sync tells the default stream's before the others', and then all are
// told. Neither a launch that waits nor a copy tells them.
EXPORT(first_errors) {
    int64_t fault = load("fault"), stray = load("stray"), step = load("step"), one = tw_cuda_stream_create(),
            two = tw_cuda_stream_create(), buffer = tw_cuda_alloc(8);
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_range(&args, cells[0], 8);
    tw_args_i32(&args, 5);
    int queued = queue(one, fault, NULL, -1) | queue(one, stray, NULL, -1) | queue(two, stray, NULL, -1) |
                 queue(0, stray, NULL, -1);
    int launched = tw_launch(step, tw_dim(1), tw_dim(1), 0, &args);
    int copied = tw_cuda_memcpy_h2d(buffer, cells, 8);
    int first = tw_cuda_stream_sync(one), is_trap = told("'fault': trap"), again = tw_cuda_stream_sync(one);
    queued |= queue(one, fault, NULL, -1);
    int all = tw_cuda_sync(), is_stray = told("'stray': illegal address"), after = tw_cuda_sync(),
        each = tw_cuda_stream_sync(0) | tw_cuda_stream_sync(one) | tw_cuda_stream_sync(two);
    say("%d %d %d %d %d %d %d %d %d %d %u", queued, launched, copied, first, is_trap, again, all, is_stray,
        after, each, cells[0][0]);
}

// An error that nobody asks for: the copy waits for the kernel.
EXPORT(leave_error) {
    int64_t buffer = tw_cuda_alloc(8);
    int queued = queue(0, load("fault"), NULL, -1);
    say("%d %d", queued, tw_cuda_memcpy_h2d(buffer, cells, 8));
}

EXPORT(only_sync) {
    int first = tw_cuda_sync(), len = tw_cuda_last_error_len();
    say("%d %d %d", first, len > 0, tw_cuda_sync());
}

static int queue_on_buffer(int64_t stream, int64_t kernel, int64_t buffer, int number) {
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_buffer(&args, buffer, 0);
    if (number >= 0)
        tw_args_i32(&args, number);
    return tw_launch_async(stream, kernel, tw_dim(1), tw_dim(1), 0, &args);
}

// Every copy and fill comes after what was queued before it and before what is queued after it.
EXPORT(copies_between) {
    int64_t step = load("step"), stream = tw_cuda_stream_create(), from = tw_cuda_alloc(8),
            to = tw_cuda_alloc(8);
    uint32_t words[2][2];
    int code = tw_cuda_memset_d8(from, 0, 1, 4); // 0x01010101
    for (int i = 0; i < 50; i++)
        code |= queue_on_buffer(stream, step, from, i);
    code |= tw_cuda_memcpy_d2d(to, 0, from, 0, 8);
    code |= queue_on_buffer(stream, step, from, 1) | queue_on_buffer(stream, step, to, 2);
    code |= tw_cuda_memcpy_d2h(words[0], to, 8) | tw_cuda_memset_d8(to, 0, 0, 8);
    code |= queue_on_buffer(stream, step, to, 3) | tw_cuda_memcpy_d2h(words[1], to, 8);
    say("%d %u %u", code, words[0][0], words[1][0]);
}

// A buffer is freed when the launches that were queued have ended; nobody reaches it later, and the next is zero.
EXPORT(free_waits) {
    int64_t one = tw_cuda_stream_create(), two = tw_cuda_stream_create(), await = load("await"),
            tell = load("tell"), step = load("step"), buffer = tw_cuda_alloc(8);
    uint32_t words[2] = {9, 9};
    int code = queue_on_buffer(one, await, buffer, -1) | queue_on_buffer(two, tell, buffer, -1);
    for (int i = 0; i < 50; i++)
        code |= queue_on_buffer(two, step, buffer, i);
    int freed = tw_cuda_free(buffer), again = tw_cuda_free(buffer),
        gone = queue_on_buffer(one, step, buffer, 1);
    int64_t next = tw_cuda_alloc(8);
    code |= tw_cuda_memcpy_d2h(words, next, 8);
    say("%d %d %d %d %d %u %u", code, freed, again, gone, tw_cuda_sync(), words[0], words[1]);
}

// A kernel whose launches are pending is forgotten after them.
EXPORT(unload_waits) {
    int64_t one = tw_cuda_stream_create(), step = load("step");
    int code = 0;
    for (int i = 0; i < 50; i++)
        code |= queue(one, step, cells[0], i);
    int unloaded = tw_cuda_unload(step);
    uint32_t then = cells[0][0];
    say("%d %d %u %d %d", code, unloaded, then, queue(one, step, cells[0], 1), tw_cuda_sync());
}

// Queues behind a kernel that waits for this guest's own word until no more may be queued, then gives that word.
EXPORT(queue_limit) {
    int64_t await = load("await"), step = load("step");
    int code = queue(0, await, cells[0], -1), count = 0;
    while (code == TW_OK && count < 100000)
        if ((code = queue(0, step, cells[1], count)) == TW_OK)
            count++;
    int is_told = told("sync before launching more");
    __atomic_store_n(&cells[0][0], 7, __ATOMIC_SEQ_CST);
    int synced = tw_cuda_sync(), later = queue(0, step, cells[2], 4) | tw_cuda_sync();
    say("%d %d %d %d %u %d %u %u", count, code, is_told, synced, cells[0][1], later, cells[1][0],
        cells[2][0]);
}

EXPORT(stream_limit) {
    int64_t stream = 0, last = 0;
    int count = 0;
    for (; count < 100000 && (stream = tw_cuda_stream_create()) > 0; count++)
        last = stream;
    int destroyed = tw_cuda_stream_destroy(last);
    say("%d %d %d %d", count, (int)stream, destroyed, tw_cuda_stream_create() > 0);
}

// In an instance that is kept: a kernel that waits, left by one call, and what it waits for, sent by another.
EXPORT(begin) {
    int64_t stream = tw_cuda_stream_create(), await = load("await");
    load("tell"); // compiled already when finish asks for it
    say("%d", queue(stream, await, cells[3], -1));
}

// As begin, but with blocks for every thread of the device; this guest itself sends what they wait for.
EXPORT(begin_wide) {
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_range(&args, cells[3], 8);
    say("%d", tw_launch_async(0, load("await"), tw_dim(4096), tw_dim(1), 0, &args));
}

EXPORT(finish_wide) {
    __atomic_store_n(&cells[3][0], 7, __ATOMIC_SEQ_CST);
    int synced = tw_cuda_sync();
    say("%d %u", synced, cells[3][1]);
}

EXPORT(finish) {
    int code = queue(0, load("tell"), cells[3], -1), synced = tw_cuda_sync();
    say("%d %d %u", code, synced, cells[3][1]);
}

// A copy waits for what was queued before it.
EXPORT(copies_wait) {
    int64_t step = load("step"), stream = tw_cuda_stream_create(), buffer = tw_cuda_alloc(8);
    uint32_t words[2] = {1, 0};
    int code = tw_cuda_memcpy_h2d(buffer, words, 8);
    for (int i = 0; i < 100; i++) {
        struct tw_args args;
        tw_args_reset(&args);
        tw_args_buffer(&args, buffer, 0);
        tw_args_i32(&args, i);
        code |= tw_launch_async(stream, step, tw_dim(1), tw_dim(1), 0, &args);
    }
    code |= tw_cuda_memcpy_d2h(words, buffer, 8);
    say("%d %u", code, words[0]);
}

EXPORT(handles) {
    int64_t step = load("step"), stream = tw_cuda_stream_create();
    int gone = tw_cuda_stream_destroy(stream);
    say("%d %d %d %d %d %d %d", gone, queue(stream, step, cells[0], 1), tw_cuda_stream_sync(stream),
        tw_cuda_stream_destroy(stream), queue(-1, step, cells[0], 1), tw_cuda_stream_sync(-1),
        tw_cuda_stream_destroy(0));
}

// Nearly as many streams as there may be, each with work that nobody waits for but the stream's end; in the last of them a
// kernel fails, which the next sync tells.
EXPORT(many) {
    enum { STREAMS = 255, STEPS = 4 };
    static uint32_t cell[STREAMS][2];
    int64_t step = load("step"), fault = load("fault"), streams[STREAMS];
    int code = 0, gone = 0, right = 0;
    for (int s = 0; s < STREAMS; s++)
        code |= (streams[s] = tw_cuda_stream_create()) < 0;
    for (int i = 0; i < STEPS; i++)
        for (int s = 0; s < STREAMS; s++)
            code |= queue(streams[s], step, cell[s], s + i);
    code |= queue(streams[STREAMS - 1], fault, NULL, -1);
    for (int s = 0; s < STREAMS; s++)
        gone |= tw_cuda_stream_destroy(streams[s]);
    for (uint32_t s = 0; s < STREAMS; s++) // ((s · 3 + s + 1) · 3 + s + 2) · 3 + s + 3
        right += cell[s][0] == 40 * s + 18;
    int told = tw_cuda_sync(), again = tw_cuda_sync();
    code |= tw_cuda_stream_create() < 0;
    say("%d %d %d %d %d", code, gone, right, told, again);
}

// Returns while its kernels still run: the call's end stops them.
EXPORT(left_running) {
    int64_t stream = tw_cuda_stream_create(), forever = load("forever");
    say("%d %d", queue(stream, forever, NULL, -1), queue(stream, load("step"), cells[0], 1));
}

EXPORT(spin) {
    int code = queue(0, load("forever"), NULL, -1);
    say("%d %d", code, tw_cuda_sync());
}

// Three streams with a kernel that never ends, or work behind one; waits for the first of them.
static void leave_pending(void) {
    int64_t forever = load("forever"), step = load("step");
    for (int s = 0; s < 3; s++) {
        int64_t stream = tw_cuda_stream_create();
        queue(stream, forever, NULL, -1);
        for (int i = 0; i < 20; i++)
            queue(stream, s == 2 ? forever : step, s == 2 ? NULL : cells[s], s == 2 ? -1 : i);
    }
}

EXPORT(wait_for_pending) {
    leave_pending();
    say("%d", tw_cuda_stream_sync(tw_cuda_stream_create()) | tw_cuda_sync());
}

EXPORT(copy_after_pending) {
    int64_t buffer = tw_cuda_alloc(8);
    leave_pending();
    say("%d", tw_cuda_memcpy_d2h(cells, buffer, 8));
}

EXPORT(compute_while_pending) {
    leave_pending();
    for (volatile int i = 0;; i++)
        ;
}

EXPORT(trap_while_pending) {
    leave_pending();
    __builtin_trap();
}

// Each endless kernel is ended by the time limit, and what is queued behind it runs.
EXPORT(limits) {
    int64_t forever = load("forever"), step = load("step"), one = tw_cuda_stream_create();
    int code = queue(one, forever, NULL, -1) | queue(one, forever, NULL, -1) | queue(one, step, cells[0], 5);
    int first = tw_cuda_stream_sync(one), is_limit = told("killed by the time limit"),
        second = tw_cuda_sync();
    int third = queue(0, forever, NULL, -1) | tw_cuda_sync();
    say("%d %d %d %d %d %d %u", code, first, is_limit, second, third, told("killed by the time limit"),
        cells[0][0]);
}

// What is left of whatever ran in this memory before: nothing.
EXPORT(fresh) {
    int left = 0;
    for (int i = 0; i < 4; i++)
        left |= cells[i][0] != 0 || cells[i][1] != 0;
    int error = tw_cuda_last_error_len(), synced = tw_cuda_sync();
    say("%d %d %d %d", left, error, synced, queue(0, load("step"), cells[0], 3) | tw_cuda_sync());
}

int main(void) {
    return 0; // every export stands for itself
}

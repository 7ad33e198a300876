// SPDX-License-Identifier: Apache-2.0
//
// Launches that do not wait: order in a stream, two streams at once, errors that come with the sync, what is
// left running. Each export prints its numbers on one line.

#include <stdarg.h>
#include <stdio.h>

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

int main(void) {
    return 0; // every export stands for itself
}

// SPDX-License-Identifier: Apache-2.0
//
// Exercises every function of wasi_cuda from within a guest; the engine's tests call its exports. Each
// answers 0 or the line at which something was not as it should be.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensor_wasm.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return __LINE__;                                                                                 \
    } while (0)

// y[i] += a * x[i]; and a kernel that never ends; and one that stores where nothing is.
static const char ptx[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry saxpy(.param .u64 px, .param .u64 py, .param .f32 pa, .param .u32 pn) {\n"
    " .reg .pred %p; .reg .b32 %r<6>; .reg .b64 %d<6>; .reg .f32 %f<4>;\n"
    " ld.param.u64 %d0, [px]; ld.param.u64 %d1, [py]; ld.param.f32 %f0, [pa]; ld.param.u32 %r0, [pn];\n"
    " mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.s32 %r4, %r1, %r2, %r3;\n"
    " setp.ge.u32 %p, %r4, %r0; @%p bra DONE;\n"
    " mul.wide.u32 %d2, %r4, 4; add.s64 %d3, %d0, %d2; add.s64 %d4, %d1, %d2;\n"
    " ld.global.f32 %f1, [%d3]; ld.global.f32 %f2, [%d4]; fma.rn.f32 %f3, %f0, %f1, %f2; st.global.f32 "
    "[%d4], %f3;\n"
    "DONE: ret; }\n"
    ".visible .entry forever() { .reg .b32 %r<2>; mov.u32 %r0, 0; L: add.u32 %r0, %r0, 1; bra L; }\n"
    ".visible .entry stray() { .reg .b64 %d<2>; mov.u64 %d0, 64; st.global.u32 [%d0], 5; ret; }\n"
    ".extern .func (.param .b32 r) vprintf (.param .b64 format, .param .b64 values);\n"
    ".global .align 1 .b8 hello[] = {104, 105, 32, 37, 100, 10, 0};\n" // "hi %d\n"
    ".visible .entry speaks() { .local .align 8 .b8 values[8]; .reg .b64 %d<2>; .reg .b32 %r<2>;\n"
    " mov.u32 %r0, %tid.x; mov.u64 %d1, values; st.local.u32 [%d1], %r0; cvta.local.u64 %d1, %d1;\n"
    " mov.u64 %d0, hello; { .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], %d0;\n"
    " st.param.b64 [b], %d1; call.uni (r), vprintf, (a, b); ld.param.b32 %r1, [r]; } ret; }\n";

static int64_t load(const char *entry) {
    return tw_load_ptx(ptx, sizeof ptx - 1, entry);
}

enum { N = 100000 };
static float x[N], y[N];

static int is_saxpy(const float *result, float a) {
    for (int i = 0; i < N; i++) {
        if (result[i] != a * (float)i + 1)
            return 0;
    }
    return 1;
}

static void fill(void) {
    for (int i = 0; i < N; i++) {
        x[i] = (float)i;
        y[i] = 1;
    }
}

// In place on guest memory, large and small grids.
EXPORT("in_place") int in_place(void) {
    fill();
    int64_t kernel = load("saxpy");
    CHECK(kernel > 0);
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_range(&args, x, sizeof x);
    tw_args_range(&args, y, sizeof y);
    tw_args_f32(&args, 3);
    tw_args_u32(&args, N);
    CHECK(tw_launch(kernel, tw_dim((N + 255) / 256), tw_dim(256), 0, &args) == TW_OK);
    CHECK(is_saxpy(y, 3));
    CHECK(tw_cuda_unload(kernel) == TW_OK);
    CHECK(tw_cuda_unload(kernel) == TW_INVALID_KERNEL);
    CHECK(tw_launch(kernel, tw_dim(1), tw_dim(256), 0, &args) == TW_INVALID_KERNEL);
    return 0;
}

EXPORT("speaks") int speaks(void) {
    int64_t kernel = load("speaks");
    CHECK(kernel > 0);
    struct tw_args args;
    tw_args_reset(&args);
    CHECK(tw_launch(kernel, tw_dim(1), tw_dim(3), 0, &args) == TW_OK);
    return 0;
}

EXPORT("buffers") int buffers(void) {
    fill();
    int64_t kernel = load("saxpy"), bx = tw_cuda_alloc(sizeof x), by = tw_cuda_alloc(sizeof y),
            bz = tw_cuda_alloc(sizeof y);
    CHECK(kernel > 0 && bx > 0 && by > 0 && bz > 0);
    CHECK(tw_cuda_memcpy_h2d(bx, x, sizeof x) == TW_OK && tw_cuda_memcpy_h2d(by, y, sizeof y) == TW_OK);
    int64_t stream = tw_cuda_stream_create();
    CHECK(stream > 0);
    struct tw_args args;
    tw_args_reset(&args);
    tw_args_buffer(&args, bx, 0);
    tw_args_buffer(&args, by, 0);
    tw_args_f32(&args, 2);
    tw_args_u32(&args, N);
    CHECK(tw_launch_async(stream, kernel, tw_dim((N + 127) / 128), tw_dim(128), 0, &args) == TW_OK);
    CHECK(tw_cuda_stream_sync(stream) == TW_OK);
    CHECK(tw_cuda_memcpy_d2d(bz, 0, by, 0, sizeof y) == TW_OK);
    memset(y, 0, sizeof y);
    CHECK(tw_cuda_memcpy_d2h(y, bz, sizeof y) == TW_OK && is_saxpy(y, 2));
    CHECK(tw_cuda_memset_d8(bz, 4, 0, 8) == TW_OK && tw_cuda_memcpy_d2h(y, bz, 16) == TW_OK);
    CHECK(y[0] == 1 && y[1] == 0 && y[2] == 0 && y[3] == 7);
    CHECK(tw_launch_async(0, kernel, tw_dim((N + 127) / 128), tw_dim(128), 0, &args) == TW_OK);
    CHECK(tw_cuda_sync() == TW_OK);
    CHECK(tw_cuda_memcpy_d2h(y, by, sizeof y) == TW_OK && y[1000] == 4001);
    CHECK(tw_cuda_stream_destroy(stream) == TW_OK && tw_cuda_stream_destroy(stream) == TW_INVALID_HANDLE);
    CHECK(tw_cuda_free(bx) == TW_OK && tw_cuda_free(bx) == TW_INVALID_HANDLE);
    return 0; // the rest is the reset's
}

// After another call's buffers(): its handles are nobody's.
EXPORT("fresh") int fresh(void) {
    char text[8];
    CHECK(tw_cuda_last_error_len() == 0);
    CHECK(tw_cuda_last_error_copy(text, sizeof text) == 0);
    for (int64_t handle = 1; handle < 200; handle++)
        CHECK(tw_cuda_free(handle) == TW_INVALID_HANDLE);
    return 0;
}

EXPORT("errors") int errors(void) {
    char text[600];
    void *beyond = (void *)(__builtin_wasm_memory_size(0) * 65536 - 4);
    CHECK(tw_cuda_load_ptx("nonsense", 8, "f", 1) == TW_MALFORMED_PTX);
    CHECK(tw_cuda_last_error_len() > 0 && tw_cuda_last_error_len() <= 512);
    CHECK(strstr(tw_cuda_last_error(text, sizeof text), "line") || strstr(text, "1:"));
    CHECK(load("nothing") == TW_INVALID_KERNEL);
    CHECK(tw_cuda_load_ptx(beyond, 8, "f", 1) == TW_INVALID_POINTER);
    CHECK(tw_cuda_load_ptx(ptx, (size_t)-1, "f", 1) == TW_QUOTA_EXCEEDED);
    CHECK(tw_cuda_load_ptx(ptx, sizeof ptx - 1, beyond, 8) == TW_INVALID_POINTER);
    CHECK(tw_cuda_load_kernel("k", 1, "1", 1) == TW_NOT_AVAILABLE);
    int64_t kernel = load("saxpy"), buffer = tw_cuda_alloc(64);
    CHECK(kernel > 0 && buffer > 0);
    struct tw_args args;
    tw_args_reset(&args);
    CHECK(tw_launch(kernel, tw_dim(1), tw_dim(32), 0, &args) == TW_INVALID_ARGS);
    CHECK(tw_cuda_launch(kernel, 1, 1, 1, 32, 1, 1, 0, beyond, 8) == TW_INVALID_POINTER);
    CHECK(tw_cuda_launch(kernel, 1, 1, 1, 32, 1, 1, 0, args.bytes, 5000) == TW_KERNEL_ARGS_UNSUPPORTED);
    tw_args_range(&args, beyond, 400);
    tw_args_range(&args, y, 400);
    tw_args_f32(&args, 1);
    tw_args_u32(&args, 100);
    CHECK(tw_launch(kernel, tw_dim(1), tw_dim(128), 0, &args) == TW_INVALID_POINTER);
    tw_args_reset(&args);
    tw_args_range(&args, x, sizeof x);
    tw_args_range(&args, y, sizeof y);
    tw_args_f32(&args, 1);
    tw_args_u32(&args, 100);
    CHECK(tw_launch(kernel, tw_dim(1), tw_dim(2048), 0, &args) == TW_INVALID_DIMENSIONS);
    CHECK(tw_launch(kernel, tw_dim(0), tw_dim(32), 0, &args) == TW_INVALID_DIMENSIONS);
    CHECK(tw_cuda_memcpy_h2d(buffer, beyond, 8) == TW_INVALID_POINTER);
    CHECK(tw_cuda_memcpy_d2h(beyond, buffer, 8) == TW_INVALID_POINTER);
    CHECK(tw_cuda_memcpy_h2d(buffer, x, 65) < 0);
    CHECK(tw_cuda_memcpy_h2d(buffer + 1000, x, 4) == TW_INVALID_HANDLE);
    CHECK(tw_cuda_stream_sync(-1) == TW_INVALID_HANDLE);
    CHECK(tw_cuda_alloc((uint64_t)1 << 40) == TW_QUOTA_EXCEEDED);
    CHECK(load("stray") > 0 &&
          tw_launch(load("stray"), tw_dim(1), tw_dim(1), 0, &(struct tw_args){}) == TW_LAUNCH_FAILED);
    CHECK(tw_cuda_device_count() >= 1);
    int need = tw_cuda_device_info(0, text, 1);
    CHECK(need > 1);
    char *json = malloc((size_t)need);
    CHECK(json && tw_cuda_device_info(0, json, (size_t)need) == need && json[0] == '{' &&
          json[need - 1] == '}');
    CHECK(tw_cuda_device_info(99, text, sizeof text) == TW_NOT_AVAILABLE);
    CHECK(tw_cuda_device_info(0, beyond, 64) == TW_INVALID_POINTER);
    CHECK(tw_cuda_last_error_copy(beyond, 512) == TW_INVALID_POINTER);
    return 0;
}

EXPORT("forever") int forever(void) {
    int64_t kernel = load("forever");
    CHECK(kernel > 0);
    return tw_launch(kernel, tw_dim(4), tw_dim(64), 0, &(struct tw_args){}) == TW_LAUNCH_FAILED ? 0
                                                                                                : __LINE__;
}

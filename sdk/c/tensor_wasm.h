// SPDX-License-Identifier: Apache-2.0
//
// What TensorWasm offers to guests written in C or C++ for wasm32, with or without a C library. Including it
// costs nothing: only what is called becomes an import. A kernel, from its PTX to its result:
//
//     int64_t kernel = tw_cuda_load_ptx(ptx, sizeof ptx, "saxpy", 5);
//     struct tw_args args;
//     tw_args_reset(&args);
//     tw_args_f32(&args, 2.0f);                       // float a
//     tw_args_range(&args, x, n * sizeof *x);         // const float *x: our own memory, no copy
//     tw_args_buffer(&args, y, 0);                    // float *y: a buffer of tw_cuda_alloc
//     tw_args_i32(&args, n);                          // int n
//     int status = kernel < 0 ? (int)kernel : tw_launch(kernel, tw_dim(n / 256 + 1), tw_dim(256), 0, &args);
//
// Functions that return an int answer TW_OK or one of the negative codes below; those that return an int64_t
// answer an id or handle above 0, or a code. tw_cuda_last_error() has the text of the instance's last failed
// wasi_cuda call. A range that leaves the guest's memory is a code, never a crash.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifndef __wasm32__
#error "tensor_wasm.h is for guests: compile with --target=wasm32-wasi or --target=wasm32"
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TW_OK = 0,
    TW_NOT_AVAILABLE = -1,   // no device, or the tenant may not use one
    TW_INVALID_POINTER = -2, // a range leaves guest memory
    TW_INVALID_KERNEL = -3,  // unknown id
    TW_MALFORMED_PTX = -4,   // the text tells line, column and what was expected, or the unknown instruction
    TW_LAUNCH_FAILED = -5,   // the kernel accessed what is not its, trapped, or ran too long
    TW_QUOTA_EXCEEDED = -6,  // a size, a count, or the deadline is too near
    TW_INTERNAL = -7,        // a bug of the host
    TW_INVALID_DIMENSIONS = -8,       // grid, block or shared memory
    TW_INVALID_ARGS = -9,             // the arguments do not fit the kernel's parameters
    TW_KERNEL_ARGS_UNSUPPORTED = -10, // more than TW_ARGS_MAX arguments or TW_ARGS_BYTES_MAX bytes
    TW_INVALID_HANDLE = -11,          // unknown buffer or stream
};

enum {
    TW_ARGS_MAX = 128,
    TW_ARGS_BYTES_MAX = 4096,
    TW_CHUNK_MAX = 65536,    // bytes of one tw_emit_chunk; tw_emit takes any number
    TW_ERROR_TEXT_MAX = 512, // bytes of the last error's text
};

#define TW_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

// ---- request and response: wasi:tensor ----
// The request's body is read piece by piece, the response's written piece by piece. Standard input and output
// are the same streams.

#define TW_TENSOR(name) TW_IMPORT("wasi:tensor/host@0.1.0", name)

TW_TENSOR("input-len") uint32_t tw_input_len(void);               // bytes that are still to be read
TW_TENSOR("read-input") int tw_read_input(void *to, size_t size); // bytes read, 0 at the end, or a code
TW_TENSOR("emit-chunk")
int tw_emit_chunk(const void *data, size_t size); // at most TW_CHUNK_MAX; waits for slow clients
TW_TENSOR("flush") int tw_flush(void);            // what was emitted is sent now
TW_TENSOR("set-content-type") int tw_set_content_type_n(const char *text, size_t len);
TW_TENSOR("set-status") int tw_set_status(int http_status); // 200 to 599
enum { TW_LOG_TRACE = 0, TW_LOG_DEBUG = 1, TW_LOG_INFO = 2, TW_LOG_WARN = 3, TW_LOG_ERROR = 4 };
TW_TENSOR("log")
void tw_log_n(int level, const char *text, size_t len); // into what the call wrote to standard error

// ---- time: wasi:scheduler ----

enum { TW_GO_ON = 0, TW_DEADLINE_NEAR = 1, TW_STOP_NOW = 2 };
#define TW_NO_DEADLINE UINT32_MAX
TW_IMPORT("wasi:scheduler/host@0.1.0", "yield") int tw_yield(void); // lets others run; says whether to hurry
TW_IMPORT("wasi:scheduler/host@0.1.0", "deadline-remaining-ms") uint32_t tw_deadline_remaining_ms(void);

// ---- devices, memory, kernels: wasi_cuda ----

#define TW_CUDA(name) TW_IMPORT("wasi_cuda", name)

// A kernel is one entry of a PTX text, compiled for the device.
TW_CUDA("load_ptx")
int64_t tw_cuda_load_ptx(const void *ptx, size_t len, const char *entry, size_t entry_len);
TW_CUDA("load_kernel")
int64_t tw_cuda_load_kernel(const char *name, size_t name_len, const char *version, size_t version_len);
TW_CUDA("unload") int tw_cuda_unload(int64_t kernel);

// Runs grid × block threads and returns when all have ended. `args` is a run of records; struct tw_args makes
// it.
TW_CUDA("launch")
int tw_cuda_launch(int64_t kernel, uint32_t grid_x, uint32_t grid_y, uint32_t grid_z, uint32_t block_x,
                   uint32_t block_y, uint32_t block_z, uint32_t shared_bytes, const void *args,
                   size_t args_len);
// Returns at once; what fails later is told by the sync. Launches on one stream run one after another.
TW_CUDA("launch_async")
int tw_cuda_launch_async(int64_t stream, int64_t kernel, uint32_t grid_x, uint32_t grid_y, uint32_t grid_z,
                         uint32_t block_x, uint32_t block_y, uint32_t block_z, uint32_t shared_bytes,
                         const void *args, size_t args_len);
TW_CUDA("sync") int tw_cuda_sync(void); // waits for all streams
TW_CUDA("stream_create") int64_t tw_cuda_stream_create(void);
TW_CUDA("stream_destroy") int tw_cuda_stream_destroy(int64_t stream);
TW_CUDA("stream_sync") int tw_cuda_stream_sync(int64_t stream);

// Buffers of the device. The host takes handles and sizes of these in two halves; the functions without
// _halves join them.
TW_CUDA("alloc") int64_t tw_cuda_alloc_halves(uint32_t size_low, uint32_t size_high);
TW_CUDA("free") int tw_cuda_free_halves(uint32_t low, uint32_t high);
TW_CUDA("memcpy_h2d")
int tw_cuda_memcpy_h2d_halves(uint32_t low, uint32_t high, const void *from, size_t len);
TW_CUDA("memcpy_d2h") int tw_cuda_memcpy_d2h_halves(void *to, uint32_t low, uint32_t high, size_t len);
TW_CUDA("memcpy_d2d")
int tw_cuda_memcpy_d2d(int64_t to, int64_t to_offset, int64_t from, int64_t from_offset, int64_t len);
TW_CUDA("memset_d8") int tw_cuda_memset_d8(int64_t buffer, int64_t offset, int value, int64_t len);

TW_CUDA("device_count") int tw_cuda_device_count(void);
// JSON; the bytes written, or the size that is needed when `size` is less.
TW_CUDA("device_info") int tw_cuda_device_info(int index, char *to, size_t size);

TW_CUDA("last_error_len") int tw_cuda_last_error_len(void);
TW_CUDA("last_error_copy")
int tw_cuda_last_error_copy(char *to, size_t size); // bytes copied; no zero at the end

static inline int64_t tw_cuda_alloc(uint64_t size) {
    return tw_cuda_alloc_halves((uint32_t)size, (uint32_t)(size >> 32));
}

static inline int tw_cuda_free(int64_t buffer) {
    return tw_cuda_free_halves((uint32_t)buffer, (uint32_t)((uint64_t)buffer >> 32));
}

// Into the start of the buffer.
static inline int tw_cuda_memcpy_h2d(int64_t buffer, const void *from, size_t len) {
    return tw_cuda_memcpy_h2d_halves((uint32_t)buffer, (uint32_t)((uint64_t)buffer >> 32), from, len);
}

// From the start of the buffer.
static inline int tw_cuda_memcpy_d2h(void *to, int64_t buffer, size_t len) {
    return tw_cuda_memcpy_d2h_halves(to, (uint32_t)buffer, (uint32_t)((uint64_t)buffer >> 32), len);
}

// The text of the last failed wasi_cuda call, ended by a zero, cut to what fits; `to` is returned.
static inline const char *tw_cuda_last_error(char *to, size_t size) {
    int len = size > 0 ? tw_cuda_last_error_copy(to, size - 1) : -1;
    if (size > 0)
        to[len > 0 ? len : 0] = 0;
    return to;
}

// ---- arguments ----
// Each record is one tag byte and a little-endian value, which wasm32 writes by itself. What does not fit is
// remembered and told by tw_launch, so that the calls in between need no checks.

struct tw_args {
    uint32_t len, count;
    uint8_t bytes[TW_ARGS_BYTES_MAX];
};

static inline void tw_args_reset(struct tw_args *args) {
    args->len = args->count = 0;
}

static inline void tw_args_append(struct tw_args *args, uint8_t tag, const void *value, uint32_t size) {
    if (++args->count > TW_ARGS_MAX || args->len + 1 + size > TW_ARGS_BYTES_MAX) {
        args->count = TW_ARGS_MAX + 1;
        return;
    }
    args->bytes[args->len] = tag;
    for (uint32_t i = 0; i < size; i++)
        args->bytes[args->len + 1 + i] = ((const uint8_t *)value)[i];
    args->len += 1 + size;
}

static inline void tw_args_i32(struct tw_args *args, int32_t value) {
    tw_args_append(args, 1, &value, sizeof value);
}
static inline void tw_args_i64(struct tw_args *args, int64_t value) {
    tw_args_append(args, 2, &value, sizeof value);
}
static inline void tw_args_f32(struct tw_args *args, float value) {
    tw_args_append(args, 3, &value, sizeof value);
}
static inline void tw_args_f64(struct tw_args *args, double value) {
    tw_args_append(args, 4, &value, sizeof value);
}
static inline void tw_args_u32(struct tw_args *args, uint32_t value) {
    tw_args_append(args, 5, &value, sizeof value);
}
static inline void tw_args_u64(struct tw_args *args, uint64_t value) {
    tw_args_append(args, 6, &value, sizeof value);
}

// A pointer to `size` bytes of the guest's own memory: the kernel works on them in place. They must stay
// until it has ended.
static inline void tw_args_range(struct tw_args *args, const void *start, uint32_t size) {
    uint32_t value[2] = {(uint32_t)(uintptr_t)start, size};
    tw_args_append(args, 7, value, sizeof value);
}

// A pointer into a device buffer.
static inline void tw_args_buffer(struct tw_args *args, int64_t buffer, uint64_t offset) {
    uint64_t value[2] = {(uint64_t)buffer, offset};
    tw_args_append(args, 8, value, sizeof value);
}

struct tw_dim {
    uint32_t x, y, z;
};

static inline struct tw_dim tw_dim(uint32_t x) {
    return (struct tw_dim){x, 1, 1};
}
static inline struct tw_dim tw_dim2(uint32_t x, uint32_t y) {
    return (struct tw_dim){x, y, 1};
}

static inline int tw_launch(int64_t kernel, struct tw_dim grid, struct tw_dim block, uint32_t shared_bytes,
                            const struct tw_args *args) {
    if (args->count > TW_ARGS_MAX)
        return TW_KERNEL_ARGS_UNSUPPORTED;
    return tw_cuda_launch(kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes,
                          args->bytes, args->len);
}

static inline int tw_launch_async(int64_t stream, int64_t kernel, struct tw_dim grid, struct tw_dim block,
                                  uint32_t shared_bytes, const struct tw_args *args) {
    if (args->count > TW_ARGS_MAX)
        return TW_KERNEL_ARGS_UNSUPPORTED;
    return tw_cuda_launch_async(stream, kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                                shared_bytes, args->bytes, args->len);
}

// ---- texts and bytes ----

static inline size_t tw_length(const char *text) {
    size_t len = 0;
    while (text[len])
        len++;
    return len;
}

static inline int64_t tw_load_ptx(const void *ptx, size_t len, const char *entry) {
    return tw_cuda_load_ptx(ptx, len, entry, tw_length(entry));
}

// A kernel that the tenant has published; an empty version means the one published last.
static inline int64_t tw_load_kernel(const char *name, const char *version) {
    return tw_cuda_load_kernel(name, tw_length(name), version, tw_length(version));
}

static inline int tw_set_content_type(const char *text) {
    return tw_set_content_type_n(text, tw_length(text));
}

static inline void tw_log(int level, const char *text) {
    tw_log_n(level, text, tw_length(text));
}

// Emits any number of bytes. The first code that is not TW_OK ends it.
static inline int tw_emit(const void *data, size_t size) {
    const uint8_t *at = (const uint8_t *)data;
    int status = TW_OK;
    while (size > 0 && status == TW_OK) {
        size_t part = size < TW_CHUNK_MAX ? size : TW_CHUNK_MAX;
        status = tw_emit_chunk(at, part);
        at += part;
        size -= part;
    }
    return status;
}

// Reads the whole input into `to`; the bytes read, at most `size`.
static inline size_t tw_read_all(void *to, size_t size) {
    size_t len = 0;
    for (int got = 1; got > 0 && len < size; len += got > 0 ? (size_t)got : 0)
        got = tw_read_input((uint8_t *)to + len, size - len);
    return len;
}

#ifdef __cplusplus
}
#endif

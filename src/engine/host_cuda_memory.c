// SPDX-License-Identifier: Apache-2.0
//
// wasi_cuda: device memory, and what else must not happen while the instance's kernels run: forgetting a kernel or a
// stream. Each operation is checked at once; while launches of the instance run the guest waits as a parked fiber that
// holds no thread, then the operation is done as if the guest had asked for it only now. Errors of those launches are
// left for sync to tell.

#include "engine/host_cuda.h"

static uint64_t handle_of(const wasmtime_val_raw_t *low) {
    return (uint32_t)low[0].i32 | (uint64_t)(uint32_t)low[1].i32 << 32;
}

// ---- once no kernel runs ----

static void finish_idle(struct engine_call *call, wasmtime_val_raw_t *result) {
    struct tw_error err = {};
    engine_cuda_take_prints(call->instance);
    engine_cuda_answer32(call->instance, result, call->wait.operation(call->instance, call->wait.args, &err),
                         &err);
}

// Does it now, or when launches of the stream (< 0: all) have ended. `is_fine`: it was checked, the reason is in
// `error` if not.
static wasm_trap_t *when_idle(struct engine_instance *instance, wasmtime_val_raw_t *args, int64_t stream,
                              engine_operation operation, bool is_fine, struct tw_error *error) {
    struct engine_call *call = instance->call;
    if (!is_fine)
        return engine_cuda_answer32(instance, args, false, error);
    memcpy(call->wait.args, args, sizeof(call->wait.args));
    call->wait.operation = operation;
    struct tw_gpu_waiter *waiter = engine_cuda_arm(call, finish_idle);
    enum tw_gpu_progress progress = tw_gpu_wait(instance->gpu, stream, waiter, error);
    if (progress == TW_GPU_PENDING)
        return NULL;
    engine_call_disarm(call);
    bool ok = progress == TW_GPU_DONE && operation(instance, args, error);
    return engine_cuda_answer32(instance, args, ok, error);
}

// ---- kernels and streams ----

static bool unload(struct engine_instance *instance, const wasmtime_val_raw_t *args, struct tw_error *err) {
    return tw_gpu_unload(instance->gpu, args[0].i64, err);
}

wasm_trap_t *engine_cuda_unload(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    struct tw_gpu_context *context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_kernel_check(context, args[0].i64, &err);
    return when_idle(instance, args, -1, unload, ok, &err);
}

static bool destroy_stream(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                           struct tw_error *err) {
    return tw_gpu_stream_free(instance->gpu, args[0].i64, err);
}

wasm_trap_t *engine_cuda_stream_destroy(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    int64_t stream = args[0].i64;
    bool ok = engine_cuda_context(instance, &err);
    if (ok && stream <= 0) // the default stream stays, and less than it means all to gpu/
        return engine_cuda_answer32(instance, args, destroy_stream(instance, args, &err), &err);
    return when_idle(instance, args, stream, destroy_stream, ok, &err);
}

// ---- memory ----

wasm_trap_t *engine_cuda_alloc(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    uint64_t handle = 0;
    struct tw_gpu_context *context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_alloc(context, handle_of(&args[0]), &handle, &err);
    return engine_cuda_answer64(instance, args, ok, (int64_t)handle, &err);
}

static bool free_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_error *err) {
    return tw_gpu_buffer_free(instance->gpu, handle_of(&args[0]), err);
}

wasm_trap_t *engine_cuda_free(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    struct tw_gpu_context *context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_buffer_check(context, handle_of(&args[0]), 0, 0, &err);
    return when_idle(instance, args, -1, free_buffer, ok, &err);
}

static bool write_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                         struct tw_error *err) {
    uint32_t len = (uint32_t)args[3].i32;
    const uint8_t *from = engine_cuda_range(instance, &args[2], len, "memcpy_h2d", err);
    return from && tw_gpu_write(instance->gpu, handle_of(&args[0]), 0, from, len, err);
}

wasm_trap_t *engine_cuda_memcpy_h2d(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    uint32_t len = (uint32_t)args[3].i32;
    struct tw_gpu_context *context = NULL;
    if (engine_cuda_range(instance, &args[2], len, "memcpy_h2d", &err))
        context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_buffer_check(context, handle_of(&args[0]), 0, len, &err);
    return when_idle(instance, args, -1, write_buffer, ok, &err);
}

static bool read_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_error *err) {
    uint32_t len = (uint32_t)args[3].i32;
    uint8_t *to = engine_cuda_range(instance, &args[0], len, "memcpy_d2h", err);
    return to && tw_gpu_read(instance->gpu, handle_of(&args[1]), 0, to, len, err);
}

wasm_trap_t *engine_cuda_memcpy_d2h(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    uint32_t len = (uint32_t)args[3].i32;
    struct tw_gpu_context *context = NULL;
    if (engine_cuda_range(instance, &args[0], len, "memcpy_d2h", &err))
        context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_buffer_check(context, handle_of(&args[1]), 0, len, &err);
    return when_idle(instance, args, -1, read_buffer, ok, &err);
}

static bool copy_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_error *err) {
    return tw_gpu_copy(instance->gpu, (uint64_t)args[0].i64, (uint64_t)args[1].i64, (uint64_t)args[2].i64,
                       (uint64_t)args[3].i64, (uint64_t)args[4].i64, err);
}

wasm_trap_t *engine_cuda_memcpy_d2d(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    uint64_t len = (uint64_t)args[4].i64;
    struct tw_gpu_context *context = engine_cuda_context(instance, &err);
    bool ok = context &&
              tw_gpu_buffer_check(context, (uint64_t)args[0].i64, (uint64_t)args[1].i64, len, &err) &&
              tw_gpu_buffer_check(context, (uint64_t)args[2].i64, (uint64_t)args[3].i64, len, &err);
    return when_idle(instance, args, -1, copy_buffer, ok, &err);
}

static bool fill_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_error *err) {
    return tw_gpu_fill(instance->gpu, (uint64_t)args[0].i64, (uint64_t)args[1].i64, (uint8_t)args[2].i32,
                       (uint64_t)args[3].i64, err);
}

wasm_trap_t *engine_cuda_memset_d8(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    struct tw_gpu_context *context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_buffer_check(context, (uint64_t)args[0].i64, (uint64_t)args[1].i64,
                                             (uint64_t)args[3].i64, &err);
    return when_idle(instance, args, -1, fill_buffer, ok, &err);
}

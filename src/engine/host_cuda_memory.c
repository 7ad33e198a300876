// SPDX-License-Identifier: Apache-2.0
//
// wasi_cuda: device memory, and what else must not happen while the instance's kernels run: forgetting a kernel or a
// stream. Each operation is checked at once; while launches of the instance run the guest waits as a parked fiber that
// holds no thread, then the operation is done as if the guest had asked for it only now. Errors of those launches are
// left for sync to tell. What moves bytes does it a slice at a time, so that a deadline or a cancel ends it soon.

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

// ---- moving bytes ----

// What is to be moved or filled. Plain value.
struct move {
    uint64_t to, to_offset, from, from_offset, len; // `to`, `from`: buffers
    uint8_t *host;                                  // instead of a buffer
    uint8_t value;                                  // of a fill
};
// A slice of it.
typedef bool (*slice_mover)(struct tw_gpu_context *context, const struct move *move, uint64_t at,
                            uint64_t len, struct tw_error *err);

// From the end where the beginning of the target is the end of the source. When the call is to end the rest is left; the guest
// does not see that, since it gets no further.
static bool move_slices(struct engine_instance *instance, const struct move *move, slice_mover slice,
                        struct tw_error *err) {
    bool from_the_end = move->from == move->to && move->to_offset > move->from_offset;
    uint64_t left = move->len, part;
    do {
        part = engine_slice(left);
        uint64_t at = from_the_end ? left - part : move->len - left;
        if (!slice(instance->gpu, move, at, part, err))
            return false;
        left -= part;
    } while (left && !engine_is_stopping(instance));
    return true;
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

static bool write_slice(struct tw_gpu_context *context, const struct move *move, uint64_t at, uint64_t len,
                        struct tw_error *err) {
    return tw_gpu_write(context, move->to, at, move->host + at, len, err);
}

static bool write_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                         struct tw_error *err) {
    struct move move = {.to = handle_of(&args[0]), .len = (uint32_t)args[3].i32};
    move.host = engine_cuda_range(instance, &args[2], move.len, "memcpy_h2d", err);
    return move.host && move_slices(instance, &move, write_slice, err);
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

static bool read_slice(struct tw_gpu_context *context, const struct move *move, uint64_t at, uint64_t len,
                       struct tw_error *err) {
    return tw_gpu_read(context, move->from, at, move->host + at, len, err);
}

static bool read_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_error *err) {
    struct move move = {.from = handle_of(&args[1]), .len = (uint32_t)args[3].i32};
    move.host = engine_cuda_range(instance, &args[0], move.len, "memcpy_d2h", err);
    return move.host && move_slices(instance, &move, read_slice, err);
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

static bool copy_slice(struct tw_gpu_context *context, const struct move *move, uint64_t at, uint64_t len,
                       struct tw_error *err) {
    return tw_gpu_copy(context, move->to, move->to_offset + at, move->from, move->from_offset + at, len, err);
}

static bool copy_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_error *err) {
    struct move move = {.to = (uint64_t)args[0].i64,
                        .to_offset = (uint64_t)args[1].i64,
                        .from = (uint64_t)args[2].i64,
                        .from_offset = (uint64_t)args[3].i64,
                        .len = (uint64_t)args[4].i64};
    return move_slices(instance, &move, copy_slice, err);
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

static bool fill_slice(struct tw_gpu_context *context, const struct move *move, uint64_t at, uint64_t len,
                       struct tw_error *err) {
    return tw_gpu_fill(context, move->to, move->to_offset + at, move->value, len, err);
}

static bool fill_buffer(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_error *err) {
    struct move move = {.to = (uint64_t)args[0].i64,
                        .to_offset = (uint64_t)args[1].i64,
                        .value = (uint8_t)args[2].i32,
                        .len = (uint64_t)args[3].i64};
    return move_slices(instance, &move, fill_slice, err);
}

wasm_trap_t *engine_cuda_memset_d8(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    struct tw_gpu_context *context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_buffer_check(context, (uint64_t)args[0].i64, (uint64_t)args[1].i64,
                                             (uint64_t)args[3].i64, &err);
    return when_idle(instance, args, -1, fill_buffer, ok, &err);
}

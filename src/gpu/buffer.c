// SPDX-License-Identifier: Apache-2.0
//
// Device buffers: handles over the device's memory, with the instance's limits and checked ranges. Reading,
// writing and freeing wait for the instance's launches first, as CUDA's default stream does, so that a guest
// that forgets to sync still reads what its kernels wrote.

#include "gpu/internal.h"

bool gpu_memory_take(struct tw_gpu_context *context, uint64_t size, uint64_t *ret_address,
                     struct tw_error *err) {
    uint64_t total = context->limits.total_bytes;
    if (context->allocated_bytes > total || size > total - context->allocated_bytes)
        return tw_fail(err, TW_ERR_CUDA_QUOTA,
                       "%" PRIu64 " bytes of device memory asked, %" PRIu64 " of the instance's %" PRIu64
                       " are in use; free some",
                       size, context->allocated_bytes, total);
    if (!tw_account_take(context->tenant->account, TW_RESOURCE_DEVICE_MEMORY, size, err))
        return false;
    if (!context->device->hooks->alloc(context, size, ret_address, err)) {
        tw_account_give(context->tenant->account, TW_RESOURCE_DEVICE_MEMORY, size);
        return false;
    }
    context->allocated_bytes += size;
    tw_metric_add(TW_METRIC_GPU_MEMORY_USED, tw_labels(), (int64_t)size);
    tw_series_add(context->tenant->memory, (int64_t)size);
    return true;
}

static void count_down(struct tw_gpu_context *context, uint64_t size) {
    context->allocated_bytes -= size;
    tw_account_give(context->tenant->account, TW_RESOURCE_DEVICE_MEMORY, size);
    tw_metric_add(TW_METRIC_GPU_MEMORY_USED, tw_labels(), -(int64_t)size);
    tw_series_add(context->tenant->memory, -(int64_t)size);
}

void gpu_memory_give(struct tw_gpu_context *context, uint64_t address, uint64_t size) {
    context->device->hooks->free(context, address, size);
    count_down(context, size);
}

bool tw_gpu_alloc(struct tw_gpu_context *context, uint64_t size, uint64_t *ret_handle, struct tw_error *err) {
    if (size == 0 || size > context->limits.alloc_bytes)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%" PRIu64 " bytes asked, an allocation has 1 to %" PRIu64,
                       size, context->limits.alloc_bytes);
    if (context->buffers.live >= context->limits.handles)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%" PRIu32 " device buffers exist already; free some",
                       context->buffers.live);
    if (!gpu_context_use(context, err))
        return false;
    struct gpu_buffer *buffer = tw_alloc(sizeof(*buffer));
    if (!buffer)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a device buffer");
    buffer->size = size;
    if (!gpu_memory_take(context, size, &buffer->address, err)) {
        free(buffer);
        return false;
    }
    if (!gpu_handle_add(&context->buffers, buffer, context->limits.handles, ret_handle)) {
        gpu_memory_give(context, buffer->address, size);
        free(buffer);
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a device buffer's handle");
    }
    return true;
}

static bool fail_no_buffer(uint64_t handle, struct tw_error *err) {
    return tw_fail(err, TW_ERR_CUDA_INVALID_HANDLE,
                   "there is no device buffer %" PRIu64 "; use a handle that alloc gave", handle);
}

bool tw_gpu_buffer_free(struct tw_gpu_context *context, uint64_t handle, struct tw_error *err) {
    if (!gpu_handle_find(&context->buffers, handle))
        return fail_no_buffer(handle, err);
    gpu_context_wait_idle(context);
    struct gpu_buffer *buffer = gpu_handle_remove(&context->buffers, handle);
    gpu_memory_give(context, buffer->address, buffer->size);
    free(buffer);
    return true;
}

void gpu_buffers_free(struct tw_gpu_context *context) {
    size_t position = 0;
    struct gpu_buffer *buffer;
    while ((buffer = gpu_handle_next(&context->buffers, &position))) {
        count_down(context, buffer->size); // the device forgets them all at once
        free(buffer);
    }
    gpu_handles_done(&context->buffers);
}

bool tw_gpu_buffer_check(const struct tw_gpu_context *context, uint64_t handle, uint64_t offset, uint64_t len,
                         struct tw_error *err) {
    const struct gpu_buffer *buffer = gpu_handle_find(&context->buffers, handle);
    if (!buffer)
        return fail_no_buffer(handle, err);
    return (offset <= buffer->size && len <= buffer->size - offset) ||
           tw_fail(err, TW_ERR_CUDA_INVALID_POINTER,
                   "%" PRIu64 " bytes at offset %" PRIu64 " leave the device buffer of %" PRIu64 " bytes",
                   len, offset, buffer->size);
}

// The address of `len` bytes at `offset` of a buffer, once no kernel may be using it.
static bool locate(struct tw_gpu_context *context, uint64_t handle, uint64_t offset, uint64_t len,
                   uint64_t *ret_address, struct tw_error *err) {
    if (!tw_gpu_buffer_check(context, handle, offset, len, err))
        return false;
    gpu_context_wait_idle(context);
    const struct gpu_buffer *buffer = gpu_handle_find(&context->buffers, handle);
    *ret_address = buffer->address + offset;
    return true;
}

bool tw_gpu_write(struct tw_gpu_context *context, uint64_t handle, uint64_t offset, const void *host,
                  uint64_t len, struct tw_error *err) {
    uint64_t address;
    return locate(context, handle, offset, len, &address, err) &&
           (len == 0 || context->device->hooks->write(context, address, host, len, err));
}

bool tw_gpu_read(struct tw_gpu_context *context, uint64_t handle, uint64_t offset, void *host, uint64_t len,
                 struct tw_error *err) {
    uint64_t address;
    return locate(context, handle, offset, len, &address, err) &&
           (len == 0 || context->device->hooks->read(context, address, host, len, err));
}

bool tw_gpu_copy(struct tw_gpu_context *context, uint64_t dst, uint64_t dst_offset, uint64_t src,
                 uint64_t src_offset, uint64_t len, struct tw_error *err) {
    uint64_t to, from;
    return locate(context, dst, dst_offset, len, &to, err) &&
           locate(context, src, src_offset, len, &from, err) &&
           (len == 0 || context->device->hooks->copy(context, to, from, len, err));
}

bool tw_gpu_fill(struct tw_gpu_context *context, uint64_t handle, uint64_t offset, uint8_t value,
                 uint64_t len, struct tw_error *err) {
    uint64_t address;
    return locate(context, handle, offset, len, &address, err) &&
           (len == 0 || context->device->hooks->fill(context, address, value, len, err));
}

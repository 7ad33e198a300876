// SPDX-License-Identifier: Apache-2.0
//
// Contexts: one instance's memory, kernels and streams on a device. A context costs nothing until its
// instance uses the device, and a reset of one that was not used is one load and a compare.

#include "gpu/internal.h"

static uint64_t or_default(uint64_t value, uint64_t fallback) {
    return value ? value : fallback;
}

static struct tw_gpu_limits fill_limits(const struct tw_gpu_limits *limits) {
    struct tw_gpu_limits given = limits ? *limits : (struct tw_gpu_limits){};
    uint32_t handles = given.handles ? given.handles : GPU_HANDLES_DEFAULT;
    uint32_t kernels = given.kernels ? given.kernels : GPU_KERNELS_DEFAULT;
    return (struct tw_gpu_limits){
        .alloc_bytes = or_default(given.alloc_bytes, GPU_ALLOC_BYTES_DEFAULT),
        .total_bytes = or_default(given.total_bytes, GPU_TOTAL_BYTES_DEFAULT),
        .handles = handles < GPU_HANDLES_MAX ? handles : GPU_HANDLES_MAX,
        .kernels = kernels < GPU_HANDLES_MAX ? kernels : GPU_HANDLES_MAX,
        .ptx_bytes = or_default(given.ptx_bytes, GPU_PTX_BYTES_DEFAULT),
        .account = given.account,
    };
}

struct tw_gpu_context *tw_gpu_context_new(struct tw_gpu_device *device, struct tw_gpu_arena *arena,
                                          uint64_t tenant, const struct tw_gpu_limits *limits,
                                          struct tw_error *err) {
    struct tw_gpu_context *context = tw_alloc_zero(1, sizeof(*context));
    if (!context) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a device context");
        return NULL;
    }
    context->device = device;
    context->gpu = device->gpu;
    context->arena = arena;
    context->limits = fill_limits(limits);
    context->tenant = gpu_tenant_take(context->gpu->permits, tenant, context->limits.account, err);
    if (!context->tenant) {
        free(context);
        return NULL;
    }
    tw_lock_init(&context->lock);
    tw_cond_init(&context->ended);
    tw_counter_add(&context->gpu->contexts, 1);
    return context;
}

bool gpu_context_use(struct tw_gpu_context *context, struct tw_error *err) {
    context->used = true;
    return context->device_state != NULL || context->device->hooks->context_open(context, err);
}

static void stop_all(struct tw_gpu_context *context) {
    bool busy;
    {
        TW_LOCK_SCOPE(&context->lock);
        busy = context->jobs != NULL;
    }
    if (busy)
        tw_gpu_cancel(context);
    gpu_context_wait_idle(context);
}

// Everything the instance made, but for the device's own state.
static void forget(struct tw_gpu_context *context) {
    stop_all(context);
    size_t position = 0;
    struct gpu_loaded *loaded;
    while ((loaded = gpu_handle_next(&context->kernels, &position)))
        gpu_loaded_free(context, loaded);
    gpu_handles_done(&context->kernels);
    gpu_buffers_free(context);
    gpu_streams_free(context);
    tw_buf_done(&context->log);
    context->ptx_bytes = 0;
}

static void spare_jobs_free(struct tw_gpu_context *context) {
    free(context->own_job);
    while (context->spare_jobs) {
        struct gpu_job *job = context->spare_jobs;
        context->spare_jobs = job->next;
        free(job);
    }
}

void tw_gpu_context_free(struct tw_gpu_context *context) {
    if (!context)
        return;
    struct tw_gpu *gpu = context->gpu;
    forget(context);
    if (context->device_state)
        context->device->hooks->context_close(context);
    spare_jobs_free(context);
    gpu_tenant_give(gpu->permits, context->tenant);
    tw_cond_done(&context->ended);
    tw_lock_done(&context->lock);
    free(context);
    tw_counter_add(&gpu->contexts, -1);
}

bool tw_gpu_context_reset(struct tw_gpu_context *context, struct tw_error *err) {
    if (!context->used)
        return true;
    forget(context);
    if (context->device_state && !context->device->hooks->context_reset(context, err))
        return false;
    tw_counter_set(&context->kernel_ns, 0);
    tw_counter_set(&context->launches, 0);
    context->used = false;
    return true;
}

void tw_gpu_context_usage(const struct tw_gpu_context *context, struct tw_gpu_usage *ret_usage) {
    *ret_usage = (struct tw_gpu_usage){.kernel_ns = (uint64_t)tw_counter_get(&context->kernel_ns),
                                       .launches = (uint64_t)tw_counter_get(&context->launches),
                                       .allocated_bytes = context->allocated_bytes,
                                       .objects = context->kernels.live + context->buffers.live +
                                                  context->streams.live};
}

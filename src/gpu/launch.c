// SPDX-License-Identifier: Apache-2.0
//
// Launches: everything a guest asked for is checked here, before anything runs, and becomes a job.

#include "gpu/internal.h"

static bool check_block(const uint32_t block[3], uint32_t *ret_threads, struct tw_error *err) {
    uint64_t threads = (uint64_t)block[0] * block[1]; // at most 2⁶⁴ - 2³³ + 1
    bool ok = threads >= 1 && threads <= GPU_BLOCK_THREADS_MAX && block[2] >= 1 &&
              block[2] <= GPU_BLOCK_Z_MAX && threads * block[2] <= GPU_BLOCK_THREADS_MAX;
    if (!ok)
        return tw_fail(err, TW_ERR_CUDA_INVALID_DIMENSIONS,
                       "a block of %" PRIu32 " × %" PRIu32 " × %" PRIu32
                       " threads; each is at least 1, z at most %d, the product at "
                       "most %d",
                       block[0], block[1], block[2], GPU_BLOCK_Z_MAX, GPU_BLOCK_THREADS_MAX);
    *ret_threads = (uint32_t)threads * block[2];
    return true;
}

static bool check_grid(const uint32_t grid[3], struct tw_error *err) {
    if (grid[0] >= 1 && grid[0] <= GPU_GRID_X_MAX && grid[1] >= 1 && grid[1] <= GPU_GRID_YZ_MAX &&
        grid[2] >= 1 && grid[2] <= GPU_GRID_YZ_MAX)
        return true;
    return tw_fail(err, TW_ERR_CUDA_INVALID_DIMENSIONS,
                   "a grid of %" PRIu32 " × %" PRIu32 " × %" PRIu32
                   " blocks; each is at least 1, x at most %d, y and z at most %d",
                   grid[0], grid[1], grid[2], GPU_GRID_X_MAX, GPU_GRID_YZ_MAX);
}

// .reqntid and .maxntid.
static bool check_kernel_shape(const struct tw_kernel_info *info, const uint32_t block[3], uint32_t threads,
                               struct tw_error *err) {
    const uint32_t *required = info->required_block;
    if (required[0] && memcmp(required, block, sizeof(info->required_block)) != 0)
        return tw_fail(err, TW_ERR_CUDA_INVALID_DIMENSIONS,
                       "kernel '%.64s' requires blocks of %" PRIu32 " × %" PRIu32 " × %" PRIu32
                       " threads (.reqntid)",
                       info->name, required[0], required[1], required[2]);
    uint64_t most = (uint64_t)info->max_block[0];
    for (int i = 1; i < 3 && most <= GPU_BLOCK_THREADS_MAX; i++)
        most *= info->max_block[i] ? info->max_block[i] : 1;
    if (most && threads > most)
        return tw_fail(err, TW_ERR_CUDA_INVALID_DIMENSIONS,
                       "kernel '%.64s' takes at most %" PRIu64 " threads a block (.maxntid), %" PRIu32
                       " were asked",
                       info->name, most, threads);
    return true;
}

static bool size_shared(const struct tw_kernel_info *info, uint32_t dynamic, uint64_t *ret_bytes,
                        struct tw_error *err) {
    uint64_t fixed = info->static_shared;
    if (dynamic > 0 && info->dynamic_shared_offset > fixed)
        fixed = info->dynamic_shared_offset;
    uint64_t bytes = fixed + dynamic;
    if (bytes > GPU_SHARED_MAX)
        return tw_fail(err, TW_ERR_CUDA_INVALID_DIMENSIONS,
                       "%" PRIu64 " bytes of shared memory a block (%" PRIu64 " static, %" PRIu32
                       " dynamic), the device has %d",
                       bytes, fixed, dynamic, GPU_SHARED_MAX);
    *ret_bytes = bytes;
    return true;
}

// Finds the code for this block shape; asked for again when the shape or the kernel's best variant changes.
static bool find_code(struct tw_gpu_context *context, struct gpu_loaded *loaded,
                      const struct tw_gpu_launch *launch, struct tw_error *err) {
    int64_t generation = tw_counter_get(&loaded->kernel->generation);
    if (loaded->code && loaded->generation == generation &&
        memcmp(loaded->block, launch->block, sizeof(loaded->block)) == 0)
        return true;
    struct gpu_successor *successor;
    struct gpu_code *code = gpu_kernel_code(context->gpu->kernels, loaded->kernel, context->tenant->id,
                                            launch->block, launch->deadline_ns, &successor, err);
    if (!code)
        return false;
    loaded->code = code;
    loaded->successor = successor;
    loaded->generation = generation;
    memcpy(loaded->block, launch->block, sizeof(loaded->block));
    return true;
}

static bool fill_job(struct tw_gpu_context *context, const struct tw_gpu_launch *launch, struct gpu_job *job,
                     struct tw_error *err) {
    const struct tw_kernel_info *info = &job->code->parts.info;
    uint64_t shared = 0;
    if (!check_kernel_shape(info, launch->block, job->threads, err) ||
        !size_shared(info, launch->shared_bytes, &shared, err) ||
        !gpu_args_bind(context, info, launch, job->params, err))
        return false;
    struct tw_kernel_frame *frame = &job->frame;
    memcpy(frame->grid, launch->grid, sizeof(frame->grid));
    memcpy(frame->block, launch->block, sizeof(frame->block));
    frame->dynamic_shared = launch->shared_bytes;
    frame->shared_limit = shared;
    frame->global_base = job->loaded->globals ? job->loaded->globals->address : 0;
    job->block_total = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    job->deadline_ns = launch->deadline_ns;
    return context->device->hooks->prepare(context, job, err);
}

// A job ready to be submitted; NULL on failure.
static struct gpu_job *make_job(struct tw_gpu_context *context, const struct tw_gpu_launch *launch,
                                struct tw_error *err) {
    uint32_t threads = 0;
    struct gpu_loaded *loaded =
        launch->kernel > 0 ? gpu_handle_find(&context->kernels, (uint64_t)launch->kernel) : NULL;
    struct gpu_stream *stream = gpu_stream_find(context, launch->stream);
    if (!loaded) {
        tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL,
                "there is no kernel %" PRId64 "; use an id that load_ptx gave", launch->kernel);
        return NULL;
    }
    if (!stream) {
        tw_fail(err, TW_ERR_CUDA_INVALID_HANDLE,
                "there is no stream %" PRId64 "; use one that stream_create gave, or 0", launch->stream);
        return NULL;
    }
    if (!check_block(launch->block, &threads, err) || !check_grid(launch->grid, err))
        return NULL;
    if (!find_code(context, loaded, launch, err))
        return NULL;
    struct gpu_job *job = gpu_job_take(context);
    if (!job) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a launch");
        return NULL;
    }
    job->loaded = loaded;
    job->stream = stream;
    job->code = loaded->code;
    job->successor = loaded->successor;
    job->threads = threads;
    if (fill_job(context, launch, job, err))
        return job;
    gpu_job_give(context, job);
    return NULL;
}

static enum tw_gpu_progress finish(struct tw_gpu_context *context, struct gpu_job *job,
                                   struct tw_error *err) {
    bool ok = job->error.code == TW_OK;
    if (!ok && err)
        *err = job->error;
    gpu_job_give(context, job);
    return ok ? TW_GPU_DONE : TW_GPU_FAILED;
}

enum tw_gpu_progress tw_gpu_launch(struct tw_gpu_context *context, const struct tw_gpu_launch *launch,
                                   struct tw_gpu_waiter *waiter, struct tw_error *err) {
    struct gpu_job *job = make_job(context, launch, err);
    if (!job)
        return TW_GPU_FAILED;
    bool ended;
    job->kept = true;
    if (!gpu_job_submit(job, waiter ? GPU_START_SMALL : GPU_START_HELP, &ended, err)) {
        gpu_job_give(context, job);
        return TW_GPU_FAILED;
    }
    if (!ended) {
        TW_LOCK_SCOPE(&context->lock);
        if (waiter && !job->ended) {
            job->waiter = waiter;
            job->kept = false; // it recycles itself
            return TW_GPU_PENDING;
        }
        while (!job->ended)
            tw_cond_wait(&context->ended, &context->lock, TW_NO_DEADLINE);
    }
    return finish(context, job, err);
}

bool tw_gpu_launch_async(struct tw_gpu_context *context, const struct tw_gpu_launch *launch,
                         struct tw_error *err) {
    struct gpu_job *job = make_job(context, launch, err);
    if (!job)
        return false;
    // Never on this thread, however short: it may wait for what the guest does next.
    bool ended;
    if (gpu_job_submit(job, GPU_START_AWAY, &ended, err))
        return true;
    gpu_job_give(context, job);
    return false;
}

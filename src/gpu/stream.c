// SPDX-License-Identifier: Apache-2.0
//
// Streams, and the life of a job once it is queued. Jobs of one stream run one after the other; the first of
// each stream asks for a permit and is started with it:
//
//     queued ─ first of its stream ─▶ asks ─ granted ─▶ started ─▶ gpu_job_end
//                                      └─ waits ─ granted by whoever gives one back ─▶ started …
//                                            └─ its deadline passes (the watcher) ─▶ gpu_job_end
//
// gpu_job_end is the one place where a job ends, on whatever thread: it counts, gives the permit back, starts
// what may start now, and tells who waits. A job's error goes to whoever waits for it, else to its stream,
// where sync finds the first one.

#include "gpu/internal.h"

// ---- lists, under the context's lock ----

static void jobs_add_locked(struct tw_gpu_context *context, struct gpu_job *job) {
    job->previous = NULL;
    job->next = context->jobs;
    if (job->next)
        job->next->previous = job;
    context->jobs = job;
    context->job_count++;
    struct gpu_stream *stream = job->stream;
    job->next_in_stream = NULL;
    if (stream->first)
        stream->last->next_in_stream = job;
    else
        stream->first = job;
    stream->last = job;
}

// Jobs end at the front of their stream only.
static void jobs_remove_locked(struct tw_gpu_context *context, struct gpu_job *job) {
    if (job->previous)
        job->previous->next = job->next;
    else
        context->jobs = job->next;
    if (job->next)
        job->next->previous = job->previous;
    context->job_count--;
    job->stream->first = job->next_in_stream;
}

static void spare_locked(struct tw_gpu_context *context, struct gpu_job *job) {
    job->next = context->spare_jobs;
    context->spare_jobs = job;
}

struct gpu_job *gpu_job_take(struct tw_gpu_context *context) {
    struct gpu_job *job = context->own_job;
    context->own_job = NULL;
    if (!job) {
        TW_LOCK_SCOPE(&context->lock);
        job = context->spare_jobs;
        if (job)
            context->spare_jobs = job->next;
    }
    if (!job) {
        size_t bytes = tw_align_up(sizeof(*job), _Alignof(struct gpu_job));
        if (tw_fault_strikes(TW_FAULT_ALLOC) || !(job = aligned_alloc(_Alignof(struct gpu_job), bytes)))
            return NULL;
    }
    memset(job, 0, offsetof(struct gpu_job, params));
    job->context = context;
    return job;
}

void gpu_job_give(struct tw_gpu_context *context, struct gpu_job *job) {
    if (!context->own_job) {
        context->own_job = job;
        return;
    }
    TW_LOCK_SCOPE(&context->lock);
    spare_locked(context, job);
}

// ---- starting ----

bool gpu_job_stop(struct gpu_job *job, enum gpu_stop reason) {
    return tw_state_change(&job->stop, GPU_STOP_NONE, reason);
}

void gpu_job_begin(struct gpu_job *job, int64_t now_ns) {
    job->started_ns = now_ns;
    int64_t limit_ns = now_ns + (int64_t)job->context->gpu->kernel_timeout_ms * TW_NS_PER_MS;
    job->limit_ns = limit_ns < job->deadline_ns ? limit_ns : job->deadline_ns;
}

static bool fail_refused(const struct gpu_job *job, struct tw_error *err) {
    struct tw_account *account = job->context->tenant->account;
    if (account && tw_account_use(account, TW_RESOURCE_LAUNCHES).limit == 0)
        return tw_account_take(account, TW_RESOURCE_LAUNCHES, 1, err); // counts and words the refusal
    return tw_fail(err, TW_ERR_CUDA_QUOTA,
                   "%d launches wait for a permit already; try again later, or raise the dispatch permits",
                   GPU_PERMIT_QUEUE_MAX);
}

static bool submit_locked(struct gpu_job *job, enum gpu_permit *ret_permit, struct tw_error *err) {
    struct tw_gpu_context *context = job->context;
    if (context->job_count >= GPU_QUEUED_MAX)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%d launches are queued already; sync before launching more",
                       GPU_QUEUED_MAX);
    jobs_add_locked(context, job);
    job->only = context->job_count == 1;
    *ret_permit = GPU_PERMIT_QUEUED;
    if (job->stream->first != job)
        return true;
    *ret_permit = gpu_permit_ask(context->gpu->permits, job);
    if (*ret_permit != GPU_PERMIT_REFUSED)
        return true;
    jobs_remove_locked(context, job);
    return fail_refused(job, err);
}

bool gpu_job_submit(struct gpu_job *job, enum gpu_start how, bool *ret_ended, struct tw_error *err) {
    struct tw_gpu_context *context = job->context;
    struct tw_gpu *gpu = context->gpu;
    const struct gpu_device_hooks *hooks = context->device->hooks;
    enum gpu_permit permit = GPU_PERMIT_QUEUED;
    {
        TW_LOCK_SCOPE(&context->lock);
        job->frame.grid_id = ++context->next_grid_id;
        if (!submit_locked(job, &permit, err))
            return false;
        tw_counter_add(&context->launches, 1);
    }
    // From here on the job may be gone, unless it is kept.
    *ret_ended = false;
    if (permit == GPU_PERMIT_GRANTED)
        *ret_ended = hooks->start(job, how);
    else
        gpu_watch_wake(gpu->watch);
    return true;
}

// ---- ending ----

// Where the kernel's threads waited, if they did, behind what ended it.
static void describe_wait(struct gpu_job *job) {
    uint64_t place = (uint64_t)tw_counter_get(&job->waited_at);
    if (!place)
        return;
    size_t len = strlen(job->error.message);
    snprintf(job->error.message + len, sizeof job->error.message - len,
             "; its threads last waited in the loop of line %" PRIu32 " for what others write%s",
             (uint32_t)place,
             place & TW_KERNEL_APART ? ", but others of the same warp go on only after that loop" : "");
}

static void describe_stop(struct gpu_job *job) {
    switch ((enum gpu_stop)tw_state_get(&job->stop)) {
    case GPU_STOP_NONE:
    case GPU_STOP_FAULT: // the device has filled in the error
        return;
    case GPU_STOP_TIME_LIMIT:
        tw_fail(&job->error, TW_ERR_CUDA_LAUNCH_FAILED, "kernel '%.64s': killed by the time limit of %u ms%s",
                job->code->parts.info.name, job->context->gpu->kernel_timeout_ms,
                tw_counter_get(&job->waited_at) ? "" : "; launch less work at a time");
        describe_wait(job);
        return;
    case GPU_STOP_DEADLINE:
        if (job->started_ns)
            tw_fail(&job->error, TW_ERR_CUDA_LAUNCH_FAILED,
                    "kernel '%.64s': killed by the invocation's deadline", job->code->parts.info.name);
        else
            tw_fail(&job->error, TW_ERR_CUDA_QUOTA,
                    "the invocation's deadline passed while the launch waited for its turn; launch fewer at "
                    "once");
        return;
    case GPU_STOP_CANCEL:
        tw_fail(&job->error, TW_ERR_CUDA_LAUNCH_FAILED, "kernel '%.64s': cancelled",
                job->code->parts.info.name);
        return;
    }
}

// What it ran: a program's time has been counted already, where it was spent.
static void count_code(const struct gpu_job *job, int64_t ended_ns) {
    int64_t changed_ns = tw_counter_get(&job->changed_ns);
    struct gpu_code *code = changed_ns ? job->successor->code : job->code;
    int64_t began_ns = changed_ns ? changed_ns : job->started_ns;
    tw_state_set(&job->loaded->ran,
                 1U << job->code->parts.info.variant.opt_level | 1U << code->parts.info.variant.opt_level);
    gpu_kernel_ran(job->context->gpu->kernels, job->loaded->kernel, code, job->frame.block,
                   ended_ns - began_ns);
}

// What is counted of a launch that was started.
static void count(struct gpu_job *job) {
    struct tw_gpu_context *context = job->context;
    if (job->error.code != TW_OK)
        tw_series_add(context->tenant->failures, 1);
    if (!job->started_ns)
        return;
    int64_t ns = (job->ended_ns ? job->ended_ns : tw_clock_ns()) - job->started_ns;
    tw_series_add(context->tenant->dispatches, 1);
    tw_series_observe(context->tenant->latency, (double)ns * 1e-9);
    tw_counter_add(&context->kernel_ns, ns);
    int64_t cpu_ns = tw_counter_get(&job->cpu_ns);
    if (!job->on_caller)
        tw_account_charge_cpu(context->tenant->account, (uint64_t)(cpu_ns ? cpu_ns : ns));
    count_code(job, job->started_ns + ns);
}

static void take_error(struct gpu_stream *stream, struct tw_error *ret_error) {
    if (ret_error->code == TW_OK)
        *ret_error = stream->error;
    stream->error = (struct tw_error){};
}

// The first error of one stream or of all, which forget theirs.
static struct tw_error take_errors_locked(struct tw_gpu_context *context, struct gpu_stream *only) {
    struct tw_error error = {};
    if (only) {
        take_error(only, &error);
        return error;
    }
    take_error(&context->default_stream, &error);
    size_t position = 0;
    struct gpu_stream *stream;
    while ((stream = gpu_handle_next(&context->streams, &position)))
        take_error(stream, &error);
    return error;
}

static bool is_idle_locked(const struct tw_gpu_context *context, const struct gpu_stream *only) {
    return only ? !only->first : !context->jobs;
}

// What follows from a job's end, gathered under the lock and done after it. The context may be gone by then.
struct aftermath {
    const struct gpu_device_hooks *hooks;
    struct gpu_job *start, *end;
    struct tw_gpu_waiter *waiters[2];
    unsigned waiter_count;
};

static void tell_locked(struct aftermath *after, struct tw_gpu_waiter *waiter, const struct tw_error *error) {
    waiter->error = *error;
    after->waiters[after->waiter_count++] = waiter;
}

static void leave_locked(struct gpu_job *job, struct aftermath *after) {
    struct tw_gpu_context *context = job->context;
    struct gpu_stream *stream = job->stream;
    jobs_remove_locked(context, job);
    if (job->waiter)
        tell_locked(after, job->waiter, &job->error);
    else if (!job->kept && stream->error.code == TW_OK)
        stream->error = job->error;
    struct gpu_job *next = stream->first;
    if (next) {
        enum gpu_permit permit = gpu_permit_ask(context->gpu->permits, next);
        if (permit == GPU_PERMIT_GRANTED)
            after->start = next;
        if (permit == GPU_PERMIT_REFUSED && gpu_job_stop(next, GPU_STOP_FAULT)) {
            fail_refused(next, &next->error);
            after->end = next;
        } else if (permit == GPU_PERMIT_REFUSED) {
            after->end = next;
        }
    }
    if (context->sync_waiter && is_idle_locked(context, context->sync_stream)) {
        struct tw_error error = {};
        if (context->sync_takes_errors)
            error = take_errors_locked(context, context->sync_stream);
        tell_locked(after, context->sync_waiter, &error);
        context->sync_waiter = NULL;
    }
    job->ended = true;
    if (!job->kept)
        spare_locked(context, job);
    tw_cond_wake_all(&context->ended);
}

// The next of the stream when it must end too, else NULL.
static struct gpu_job *end_one(struct gpu_job *job) {
    struct tw_gpu_context *context = job->context;
    struct tw_gpu *gpu = context->gpu;
    struct aftermath after = {.hooks = context->device->hooks};
    describe_stop(job);
    count(job);
    // The permit goes back first: afterwards the context may be freed by whoever waits for it.
    struct gpu_job *granted = job->has_permit ? gpu_permit_return(gpu->permits, context->tenant) : NULL;
    if (granted)
        granted->context->device->hooks->start(granted, GPU_START_AWAY);
    {
        TW_LOCK_SCOPE(&context->lock);
        leave_locked(job, &after);
    }
    if (after.start)
        after.hooks->start(after.start, GPU_START_AWAY);
    for (unsigned i = 0; i < after.waiter_count; i++)
        after.waiters[i]->notify(after.waiters[i]);
    return after.end;
}

void gpu_job_end(struct gpu_job *job) {
    while (job)
        job = end_one(job);
}

void gpu_context_wait_idle(struct tw_gpu_context *context) {
    TW_LOCK_SCOPE(&context->lock);
    while (context->jobs)
        tw_cond_wait(&context->ended, &context->lock, TW_NO_DEADLINE);
}

// ---- streams ----

struct gpu_stream *gpu_stream_find(struct tw_gpu_context *context, int64_t stream) {
    if (stream == 0)
        return &context->default_stream;
    return stream < 0 ? NULL : gpu_handle_find(&context->streams, (uint64_t)stream);
}

static bool fail_no_stream(int64_t stream, struct tw_error *err) {
    return tw_fail(err, TW_ERR_CUDA_INVALID_HANDLE,
                   "there is no stream %" PRId64 "; use one that stream_create gave, or 0", stream);
}

bool tw_gpu_stream_new(struct tw_gpu_context *context, int64_t *ret_stream, struct tw_error *err) {
    if (!gpu_context_use(context, err))
        return false;
    struct gpu_stream *stream = tw_alloc_zero(1, sizeof(*stream));
    uint64_t handle;
    if (!stream)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a stream");
    // The table is looked through under the lock by jobs that end.
    TW_LOCK_SCOPE(&context->lock);
    if (!gpu_handle_add(&context->streams, stream, GPU_STREAMS_MAX, &handle)) {
        free(stream);
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%d streams exist already; destroy some", GPU_STREAMS_MAX);
    }
    stream->id = (int64_t)handle;
    *ret_stream = stream->id;
    return true;
}

bool tw_gpu_stream_free(struct tw_gpu_context *context, int64_t id, struct tw_error *err) {
    struct gpu_stream *stream = id ? gpu_stream_find(context, id) : NULL;
    if (!stream)
        return fail_no_stream(id, err);
    TW_LOCK_SCOPE(&context->lock);
    while (stream->first)
        tw_cond_wait(&context->ended, &context->lock, TW_NO_DEADLINE);
    // An error that nobody has seen is not lost with the stream.
    if (context->default_stream.error.code == TW_OK)
        context->default_stream.error = stream->error;
    gpu_handle_remove(&context->streams, (uint64_t)id);
    free(stream);
    return true;
}

void gpu_streams_free(struct tw_gpu_context *context) {
    size_t position = 0;
    struct gpu_stream *stream;
    while ((stream = gpu_handle_next(&context->streams, &position)))
        free(stream);
    gpu_handles_done(&context->streams);
    context->default_stream = (struct gpu_stream){};
}

static enum tw_gpu_progress wait_for(struct tw_gpu_context *context, int64_t id, bool takes_errors,
                                     struct tw_gpu_waiter *waiter, struct tw_error *err) {
    struct gpu_stream *stream = id < 0 ? NULL : gpu_stream_find(context, id);
    if (id >= 0 && !stream)
        return fail_no_stream(id, err) ? TW_GPU_DONE : TW_GPU_FAILED;
    TW_LOCK_SCOPE(&context->lock);
    if (waiter && !is_idle_locked(context, stream)) {
        context->sync_waiter = waiter;
        context->sync_stream = stream;
        context->sync_takes_errors = takes_errors;
        return TW_GPU_PENDING;
    }
    while (!is_idle_locked(context, stream))
        tw_cond_wait(&context->ended, &context->lock, TW_NO_DEADLINE);
    struct tw_error error = {};
    if (takes_errors)
        error = take_errors_locked(context, stream);
    if (error.code == TW_OK)
        return TW_GPU_DONE;
    if (err)
        *err = error;
    return TW_GPU_FAILED;
}

enum tw_gpu_progress tw_gpu_sync(struct tw_gpu_context *context, int64_t stream, struct tw_gpu_waiter *waiter,
                                 struct tw_error *err) {
    return wait_for(context, stream, true, waiter, err);
}

enum tw_gpu_progress tw_gpu_wait(struct tw_gpu_context *context, int64_t stream, struct tw_gpu_waiter *waiter,
                                 struct tw_error *err) {
    return wait_for(context, stream, false, waiter, err);
}

enum tw_gpu_progress tw_gpu_wait_prints(struct tw_gpu_context *context, struct tw_gpu_waiter *waiter) {
    TW_LOCK_SCOPE(&context->lock);
    for (struct gpu_job *job = context->jobs; job; job = job->next) {
        if (!job->code->parts.info.prints)
            continue;
        context->sync_waiter = waiter;
        context->sync_stream = job->stream;
        context->sync_takes_errors = false;
        return TW_GPU_PENDING;
    }
    return TW_GPU_DONE;
}

void tw_gpu_cancel(struct tw_gpu_context *context) {
    struct gpu_watch *watch = context->gpu->watch;
    {
        TW_LOCK_SCOPE(&context->lock);
        for (struct gpu_job *job = context->jobs; job; job = job->next)
            gpu_job_stop(job, GPU_STOP_CANCEL);
    }
    gpu_watch_now(watch);
}

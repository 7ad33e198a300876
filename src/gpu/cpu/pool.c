// SPDX-License-Identifier: Apache-2.0
//
// The device's threads, one a core, and how they share jobs. A job lies in the list while it has blocks
// nobody has taken; threads join it, take chunks of blocks from its counter (part.c), and leave when there are none or
// when their turn of 2 ms is over. The last to leave a job without blocks ends it.
//
//     list: job A (tenant 7) → job B (tenant 7) → job C (tenant 3)      a free thread joins the job whose tenant
//                                                                      has the fewest threads: C; of one
//                                                                      tenant the instance that has fewest
//
// A launch that is short by what its kernel took lately runs on the launching thread at once; where there is one
// core, so does every launch that the thread waits for. A thread stuck
// in a long block cannot be taken away from its job; when a tenant with no thread at all has waited for 10
// ms, a spare thread is let in, and the operating system shares the cores out. So it is for an instance with none
// whose tenant has some, but the last spare is kept for tenants.

#include "gpu/cpu/internal.h"

#define TURN_NS         (2 * TW_NS_PER_MS)
#define STARVING_NS     (10 * TW_NS_PER_MS)
#define SPARE_LINGER_NS (200 * TW_NS_PER_MS)
enum { SPARES_MIN = 2 };

// Guarded by `lock`; `gpu`, `base_threads` and `thread_max` are frozen.
struct cpu_pool {
    struct tw_gpu *gpu;
    struct tw_lock lock;
    struct tw_cond work;
    struct gpu_job *first, *last;
    unsigned base_threads, thread_max;
    unsigned started, idle, busy;
    unsigned allowed; // may be busy at a time
    int64_t starved_ns;
    bool closing;
    struct cpu_worker {
        struct cpu_pool *pool;
        unsigned slot;
        pthread_t thread;
    } workers[];
};

static bool is_exhausted(const struct gpu_job *job) {
    return (uint64_t)tw_counter_get(&job->pool.next_block) >= job->block_total ||
           tw_state_get(&job->stop) != GPU_STOP_NONE;
}

// ---- the list ----

static void list_push_locked(struct cpu_pool *pool, struct gpu_job *job) {
    job->pool.next = NULL;
    if (pool->first)
        pool->last->pool.next = job;
    else
        pool->first = job;
    pool->last = job;
}

static void list_remove_locked(struct cpu_pool *pool, struct gpu_job *job) {
    struct gpu_job *before = NULL;
    for (struct gpu_job *at = pool->first; at != job; at = at->pool.next)
        before = at;
    if (before)
        before->pool.next = job->pool.next;
    else
        pool->first = job->pool.next;
    if (pool->last == job)
        pool->last = before;
}

static bool has_fewer_threads(const struct gpu_job *job, const struct gpu_job *than) {
    uint32_t ours = job->context->tenant->workers, theirs = than->context->tenant->workers;
    return ours != theirs ? ours < theirs : job->context->workers < than->context->workers;
}

// The job to work on: of the tenant with the fewest threads, and of its instance with the fewest, the one that has
// waited longest for a turn. NULL: none.
static struct gpu_job *pick_locked(struct cpu_pool *pool) {
    if (pool->busy >= pool->allowed)
        return NULL;
    struct gpu_job *best = NULL;
    for (struct gpu_job *job = pool->first; job; job = job->pool.next) {
        if (job->pool.participants > 0 && is_exhausted(job))
            continue;
        if (!best || has_fewer_threads(job, best))
            best = job;
    }
    if (best) {
        list_remove_locked(pool, best);
        list_push_locked(pool, best);
    }
    return best;
}

static void join_locked(struct gpu_job *job) {
    job->pool.participants++;
    job->context->tenant->workers++;
    job->context->workers++;
    if (!job->started_ns)
        gpu_job_begin(job, tw_clock_ns());
}

// True: the caller ends the job.
static bool leave_locked(struct cpu_pool *pool, struct gpu_job *job) {
    job->pool.participants--;
    job->context->tenant->workers--;
    job->context->workers--;
    if (!is_exhausted(job))
        return false;
    if (job->pool.listed)
        list_remove_locked(pool, job);
    job->pool.listed = false;
    return job->pool.participants == 0;
}

// A worker that has just ended a job looks at the list next: what it started itself needs one thread fewer.
static _Thread_local bool looks_next;

static void worker_main(void *argument) {
    struct cpu_worker *worker = argument;
    struct cpu_pool *pool = worker->pool;
    struct tw_error error = {};
    struct gpu_runner *runner = NULL;
    tw_lock_take(&pool->lock);
    while (!pool->closing) {
        struct gpu_job *job = pick_locked(pool);
        if (!job) {
            pool->idle++;
            tw_cond_wait(&pool->work, &pool->lock, TW_NO_DEADLINE);
            pool->idle--;
            continue;
        }
        join_locked(job);
        pool->busy++;
        tw_lock_give(&pool->lock);
        if (!runner)
            runner = gpu_runner_mine(&error);
        if (runner)
            cpu_participate(runner, job, worker->slot, pool->thread_max + 1, pool->base_threads,
                            tw_clock_ns() + TURN_NS);
        else if (gpu_job_stop(job, GPU_STOP_FAULT))
            job->error = error;
        tw_lock_take(&pool->lock);
        pool->busy--;
        if (leave_locked(pool, job)) {
            tw_lock_give(&pool->lock);
            looks_next = true;
            gpu_job_end(job);
            looks_next = false;
            tw_lock_take(&pool->lock);
        }
    }
    tw_lock_give(&pool->lock);
}

// ---- starting jobs ----

static bool is_small(const struct cpu_pool *pool, const struct gpu_job *job, enum gpu_start how) {
    if (how == GPU_START_AWAY)
        return false;
    if (how == GPU_START_HELP && (job->block_total == 1 || pool->base_threads == 1))
        return true; // nobody could help
    return cpu_is_short(job);
}

static void run_here(const struct cpu_pool *pool, struct gpu_job *job) {
    struct tw_error error = {};
    struct gpu_runner *runner = gpu_runner_mine(&error);
    job->on_caller = true;
    gpu_job_begin(job, tw_clock_ns());
    if (runner)
        cpu_participate(runner, job, 0, pool->thread_max + 1, 0, TW_NO_DEADLINE);
    else if (gpu_job_stop(job, GPU_STOP_FAULT))
        job->error = error;
    gpu_job_end(job);
}

static void wake_locked(struct cpu_pool *pool, uint64_t wanted) {
    if (wanted == 0)
        return;
    if (looks_next) {
        looks_next = false;
        wanted--;
    }
    if (wanted >= pool->idle) {
        tw_cond_wake_all(&pool->work);
        return;
    }
    for (; wanted > 0; wanted--)
        tw_cond_wake_one(&pool->work);
}

// True when it was the last to leave, and ended the job.
static bool help(struct cpu_pool *pool, struct gpu_job *job) {
    struct tw_error error = {};
    struct gpu_runner *runner = gpu_runner_mine(&error);
    if (runner)
        cpu_participate(runner, job, 0, pool->thread_max + 1, pool->base_threads, TW_NO_DEADLINE);
    tw_lock_take(&pool->lock);
    bool last = leave_locked(pool, job);
    tw_lock_give(&pool->lock);
    if (last)
        gpu_job_end(job);
    return last;
}

bool cpu_pool_start(struct cpu_pool *pool, struct gpu_job *job, enum gpu_start how) {
    if (is_small(pool, job, how)) {
        run_here(pool, job);
        return true;
    }
    bool helps = how == GPU_START_HELP;
    {
        TW_LOCK_SCOPE(&pool->lock);
        job->pool.listed = true;
        job->pool.listed_ns = tw_clock_ns();
        list_push_locked(pool, job);
        if (helps)
            join_locked(job);
        uint64_t wanted = job->block_total - helps, others = pool->base_threads - helps;
        wake_locked(pool, wanted < others ? wanted : others);
    }
    return helps && help(pool, job);
}

// ---- the watcher's look ----

static bool is_starving(const struct cpu_pool *pool, const struct gpu_job *job, int64_t now_ns) {
    bool has_thread = job->pool.participants > 0 || job->context->workers > 0,
         has_right = job->context->tenant->workers == 0 || pool->allowed + 1 < pool->thread_max;
    return !has_thread && has_right && now_ns - job->pool.listed_ns > STARVING_NS;
}

// Lets one more thread in for a tenant or an instance that has none. True when a thread has to be started.
static bool relieve_locked(struct cpu_pool *pool, int64_t now_ns) {
    bool starving = false;
    for (struct gpu_job *job = pool->first; job; job = job->pool.next) {
        if (job->deadline_ns <= now_ns)
            gpu_job_stop(job, GPU_STOP_DEADLINE);
        starving |= is_starving(pool, job, now_ns);
    }
    if (starving && pool->busy >= pool->allowed) {
        pool->starved_ns = now_ns;
        if (pool->allowed < pool->thread_max)
            pool->allowed++;
        tw_cond_wake_all(&pool->work);
        return pool->started < pool->allowed;
    }
    if (pool->allowed > pool->base_threads && now_ns - pool->starved_ns > SPARE_LINGER_NS)
        pool->allowed--;
    return false;
}

static bool start_thread(struct cpu_pool *pool, struct tw_error *err) {
    struct cpu_worker *worker = &pool->workers[pool->started];
    *worker = (struct cpu_worker){.pool = pool, .slot = pool->started + 1};
    char name[16];
    snprintf(name, sizeof(name), "gpu-cpu-%u", pool->started);
    if (!tw_thread_start(&worker->thread, name, worker_main, worker, err))
        return false;
    pool->started++;
    return true;
}

bool cpu_pool_tick(struct cpu_pool *pool, int64_t now_ns) {
    TW_LOCK_SCOPE(&pool->lock);
    if (relieve_locked(pool, now_ns))
        (void)start_thread(pool, NULL); // without it the tenant waits for a thread to come free
    return pool->first != NULL || pool->allowed > pool->base_threads;
}

struct cpu_pool *cpu_pool_new(struct tw_gpu *gpu, unsigned threads, struct tw_error *err) {
    unsigned most = threads + (threads < SPARES_MIN ? SPARES_MIN : threads);
    struct cpu_pool *pool = tw_alloc_zero(1, sizeof(*pool) + most * sizeof(pool->workers[0]));
    if (!pool) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the CPU device's threads");
        return NULL;
    }
    pool->gpu = gpu;
    pool->base_threads = pool->allowed = threads;
    pool->thread_max = most;
    tw_lock_init(&pool->lock);
    tw_cond_init(&pool->work);
    bool ok = true;
    tw_lock_take(&pool->lock);
    while (ok && pool->started < threads)
        ok = start_thread(pool, err);
    tw_lock_give(&pool->lock);
    if (ok)
        return pool;
    cpu_pool_free(pool);
    return NULL;
}

void cpu_pool_free(struct cpu_pool *pool) {
    if (!pool)
        return;
    tw_lock_take(&pool->lock);
    pool->closing = true;
    tw_cond_wake_all(&pool->work);
    tw_lock_give(&pool->lock);
    for (unsigned i = 0; i < pool->started; i++)
        tw_thread_join(pool->workers[i].thread);
    tw_cond_done(&pool->work);
    tw_lock_done(&pool->lock);
    free(pool);
}

unsigned cpu_pool_slots(const struct cpu_pool *pool) {
    return pool->thread_max + 1;
}

// SPDX-License-Identifier: Apache-2.0
//
// A pool of threads over one first-in-first-out list. Tasks carry their own link, so that queueing never
// allocates. The lock covers the list only; a task runs without it.

#include "base/clock.h"
#include "base/fault.h"
#include "base/thread.h"

// Guarded by `lock`; `threads` and `max_queued` are frozen once made.
struct tw_pool {
    struct tw_lock lock;
    struct tw_cond work;
    struct tw_task *first, **last_link;
    size_t queued, max_queued;
    bool closing;
    unsigned thread_count;
    pthread_t threads[];
};

// The next task, or NULL when the pool closes and the list is empty.
static struct tw_task *take(struct tw_pool *pool) {
    TW_LOCK_SCOPE(&pool->lock);
    while (!pool->first && !pool->closing)
        tw_cond_wait(&pool->work, &pool->lock, TW_NO_DEADLINE);
    struct tw_task *task = pool->first;
    if (!task)
        return NULL;
    pool->first = task->next;
    if (!pool->first)
        pool->last_link = &pool->first;
    pool->queued--;
    return task;
}

static void pool_main(void *context) {
    struct tw_pool *pool = context;
    struct tw_task *task;
    while ((task = take(pool)))
        task->run(task); // the task may be gone after this
}

struct tw_pool *tw_pool_new(const char *name, unsigned threads, size_t max_queued, struct tw_error *err) {
    TW_ASSERT(threads > 0);
    struct tw_pool *pool = tw_alloc_zero(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));
    if (!pool) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the thread pool %s; free some or lower the limits",
                name);
        return NULL;
    }
    tw_lock_init(&pool->lock);
    tw_cond_init(&pool->work);
    pool->last_link = &pool->first;
    pool->max_queued = max_queued;
    for (; pool->thread_count < threads; pool->thread_count++) {
        char thread_name[32];
        snprintf(thread_name, sizeof(thread_name), "%.10s-%u", name, pool->thread_count);
        if (!tw_thread_start(&pool->threads[pool->thread_count], thread_name, pool_main, pool, err)) {
            tw_pool_free(pool);
            return NULL;
        }
    }
    return pool;
}

void tw_pool_free(struct tw_pool *pool) {
    if (!pool)
        return;
    tw_lock_take(&pool->lock);
    pool->closing = true;
    tw_cond_wake_all(&pool->work);
    tw_lock_give(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        tw_thread_join(pool->threads[i]);
    tw_cond_done(&pool->work);
    tw_lock_done(&pool->lock);
    free(pool);
}

bool tw_pool_submit(struct tw_pool *pool, struct tw_task *task, struct tw_error *err) {
    TW_LOCK_SCOPE(&pool->lock);
    if (pool->queued >= pool->max_queued)
        return tw_fail(err, TW_ERR_CAPACITY, "%zu tasks wait already, the limit is %zu; try again later",
                       pool->queued, pool->max_queued);
    task->next = NULL;
    *pool->last_link = task;
    pool->last_link = &task->next;
    pool->queued++;
    tw_cond_wake_one(&pool->work);
    return true;
}

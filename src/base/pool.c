// SPDX-License-Identifier: Apache-2.0
//
// A pool of threads that its tenants share fairly. Tasks carry their own link, so that queueing allocates nothing but
// a tenant's place in a short table:
//
//     the server's own:  ▢ → ▢                  first in, first out, before all others
//     tenant 7:          ▢ → ▢ → ▢ → …          each by how long its tasks held threads, divided by its weight:
//     tenant 9:          ▢                      the least is next
//
// Nobody's slow tasks keep the threads from others: a tenant holds half of them at most, and the last quarter begins
// tasks only of tenants that hold none. Nor can one fill the queue: it may queue more only while it has no more there than
// is left for all. Who comes back from doing nothing begins at the time of the one that was served last, so that nobody
// saves up turns. The lock covers the queues only; a task runs without it.

#include <sched.h>

#include "base/account.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/ref.h"
#include "base/thread.h"
#include "base/vec.h"

// Guarded by the pool's lock. Of a tenant that has tasks waiting or running.
struct pool_share {
    uint64_t tenant;
    uint32_t weight, queued, running;
    uint64_t virtual_ns; // how long its tasks held threads, divided by its weight
    struct tw_task *first, *last;
};

// Guarded by `lock`; `size`, `max_queued` and, once all are started, the threads are frozen.
struct tw_pool {
    struct tw_lock lock;
    struct tw_cond work;
    struct tw_task *first, *last; // the server's own
    struct pool_share *shares;
    size_t share_count, share_capacity;
    uint64_t virtual_ns; // of the tenant that was served last, when it was
    size_t queued, max_queued;
    unsigned busy, size; // threads with a task, and all
    bool closing;
    struct tw_ref wakers;  // the pool's own, and one of each submitter that is about to wake a thread
    unsigned thread_count; // started
    pthread_t threads[];
};

// ---- shares ----

static struct pool_share *find_share_locked(struct tw_pool *pool, uint64_t tenant) {
    for (size_t i = 0; i < pool->share_count; i++)
        if (pool->shares[i].tenant == tenant)
            return &pool->shares[i];
    return NULL;
}

static struct pool_share *get_share_locked(struct tw_pool *pool, uint64_t tenant) {
    struct pool_share *share = find_share_locked(pool, tenant);
    if (share)
        return share;
    if (!tw_vec_grow(&pool->shares, &pool->share_capacity, pool->share_count, sizeof(*pool->shares),
                     pool->max_queued + pool->size))
        return NULL;
    share = &pool->shares[pool->share_count++];
    *share = (struct pool_share){.tenant = tenant, .virtual_ns = pool->virtual_ns};
    return share;
}

static void forget_share_locked(struct tw_pool *pool, struct pool_share *share) {
    if (!share->queued && !share->running)
        *share = pool->shares[--pool->share_count];
}

static bool may_begin_locked(const struct tw_pool *pool, const struct pool_share *share) {
    return share->running == 0 || pool->closing ||
           (share->running < (pool->size + 1) / 2 && pool->busy < pool->size - pool->size / 4);
}

// Whose task is next; NULL: no tenant's may begin now.
static struct pool_share *next_share_locked(const struct tw_pool *pool) {
    struct pool_share *next = NULL;
    for (size_t i = 0; i < pool->share_count; i++) {
        struct pool_share *share = &pool->shares[i];
        if (share->first && (!next || share->virtual_ns < next->virtual_ns) && may_begin_locked(pool, share))
            next = share;
    }
    return next;
}

// ---- tasks ----

static void append(struct tw_task **first, struct tw_task **last, struct tw_task *task) {
    task->next = NULL;
    *(*first ? &(*last)->next : first) = task;
    *last = task;
}

static struct tw_task *take_first(struct tw_task **first) {
    struct tw_task *task = *first;
    if (task)
        *first = task->next;
    return task;
}

// NULL: none may begin now.
static struct tw_task *take_locked(struct tw_pool *pool) {
    struct tw_task *task = take_first(&pool->first);
    struct pool_share *share = task ? NULL : next_share_locked(pool);
    if (share) {
        task = take_first(&share->first);
        share->queued--;
        share->running++;
        if (share->virtual_ns > pool->virtual_ns)
            pool->virtual_ns = share->virtual_ns;
    }
    if (!task)
        return NULL;
    pool->queued--;
    pool->busy++;
    // What has ended may have been in the way of more than one.
    if (pool->busy < pool->size && (pool->first || next_share_locked(pool)))
        tw_cond_wake_one(&pool->work);
    return task;
}

// The next task, or NULL when the pool closes and nothing waits any more.
static struct tw_task *take(struct tw_pool *pool) {
    TW_LOCK_SCOPE(&pool->lock);
    struct tw_task *task;
    while (!(task = take_locked(pool)) && !pool->closing)
        tw_cond_wait(&pool->work, &pool->lock, TW_NO_DEADLINE);
    return task;
}

static void give_back(struct tw_pool *pool, uint64_t tenant, bool is_own, int64_t held_ns) {
    TW_LOCK_SCOPE(&pool->lock);
    pool->busy--;
    if (is_own)
        return;
    struct pool_share *share = find_share_locked(pool, tenant);
    share->running--;
    share->virtual_ns += (uint64_t)held_ns / share->weight;
    forget_share_locked(pool, share);
}

static void pool_main(void *context) {
    struct tw_pool *pool = context;
    struct tw_task *task;
    while ((task = take(pool))) {
        uint64_t tenant = task->tenant;
        bool is_own = task->weight == 0;
        int64_t begun_ns = tw_clock_ns();
        task->run(task); // the task may be gone after this
        give_back(pool, tenant, is_own, tw_clock_ns() - begun_ns);
    }
}

static bool queue(struct tw_pool *pool, struct tw_task *task, struct tw_error *err) {
    TW_LOCK_SCOPE(&pool->lock);
    size_t left = pool->max_queued - pool->queued;
    if (left == 0)
        return tw_fail(err, TW_ERR_CAPACITY, "%zu tasks wait already, the limit is %zu; try again later",
                       pool->queued, pool->max_queued);
    if (task->weight) {
        struct pool_share *share = get_share_locked(pool, task->tenant);
        if (!share)
            return tw_fail(err, TW_ERR_CAPACITY, "no memory for a tenant's queue; try again later");
        if (share->queued >= left)
            return tw_fail(err, TW_ERR_QUOTA,
                           "%" PRIu32 " tasks of tenant %" PRIu64
                           " wait already, and it may have no more than "
                           "the %zu that are left for all; send fewer at once",
                           share->queued, task->tenant, left);
        share->weight = task->weight;
        share->queued++;
        append(&share->first, &share->last, task);
    } else {
        append(&pool->first, &pool->last, task);
    }
    pool->queued++;
    tw_ref_up(&pool->wakers);
    return true;
}

bool tw_pool_submit(struct tw_pool *pool, struct tw_task *task, struct tw_error *err) {
    if (!queue(pool, task, err))
        return false;
    tw_cond_wake_one(&pool->work); // without the lock, which is the first thing that who wakes takes
    (void)tw_ref_down(&pool->wakers);
    return true;
}

size_t tw_pool_queued(struct tw_pool *pool) {
    TW_LOCK_SCOPE(&pool->lock);
    return pool->queued;
}

void tw_task_set_account(struct tw_task *task, const struct tw_account *account) {
    task->tenant = account ? tw_account_tenant(account) : 0;
    task->weight = account ? tw_account_weight(account) : 0;
}

// ---- start and end ----

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
    tw_ref_init(&pool->wakers);
    pool->max_queued = max_queued;
    pool->size = threads;
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
    // A task may have run, and been the last one, before who submitted it woke anybody.
    while (tw_ref_is_shared(&pool->wakers))
        sched_yield();
    tw_cond_done(&pool->work);
    tw_lock_done(&pool->lock);
    free(pool->shares);
    free(pool);
}

// SPDX-License-Identifier: Apache-2.0
//
// Calls wait in one bounded queue, first come first served; workers run them until they end or wait. A parked
// call is in no queue and on no thread.

#include <unistd.h>

#include "engine/internal.h"

enum { WORKERS_MAX = 1024 };

static struct engine_call *pop(struct engine_sched *sched) {
    TW_LOCK_SCOPE(&sched->lock);
    while (!sched->first && !sched->stopping) {
        sched->idle++;
        tw_cond_wait(&sched->some, &sched->lock, TW_NO_DEADLINE);
        sched->idle--;
    }
    struct engine_call *call = sched->first;
    if (!call)
        return NULL;
    sched->first = call->next;
    if (!sched->first)
        sched->last = NULL;
    tw_counter_add(&sched->queued, -1);
    return call;
}

static void work(void *context) {
    struct engine_sched *sched = context;
    struct engine_call *call;
    while ((call = pop(sched))) {
        tw_counter_add(&sched->running, 1);
        engine_call_step(call);
        tw_counter_add(&sched->running, -1);
    }
}

bool engine_sched_push(struct engine_sched *sched, struct engine_call *call, bool fresh,
                       struct tw_error *err) {
    tw_lock_take(&sched->lock);
    if (fresh && (tw_counter_get(&sched->queued) >= sched->max_queued || sched->stopping)) {
        tw_lock_give(&sched->lock);
        return tw_fail(err, TW_ERR_CAPACITY, "%" PRIu32 " calls wait already; try again later",
                       sched->max_queued);
    }
    call->next = NULL;
    if (sched->last)
        sched->last->next = call;
    else
        sched->first = call;
    sched->last = call;
    tw_counter_add(&sched->queued, 1);
    bool wake = sched->idle > 0;
    tw_lock_give(&sched->lock);
    if (wake)
        tw_cond_wake_one(&sched->some);
    return true;
}

uint32_t engine_sched_queued(const struct engine_sched *sched) {
    return (uint32_t)tw_counter_get(&sched->queued);
}

static unsigned default_workers(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : (unsigned)cores;
}

bool engine_sched_init(struct tw_engine *engine, unsigned workers, uint32_t max_queued,
                       struct tw_error *err) {
    struct engine_sched *sched = &engine->sched;
    tw_lock_init(&sched->lock);
    tw_cond_init(&sched->some);
    sched->max_queued = max_queued;
    workers = workers ? workers : default_workers();
    if (workers > WORKERS_MAX)
        workers = WORKERS_MAX;
    sched->workers = tw_alloc_zero(workers, sizeof(*sched->workers));
    if (!sched->workers)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for workers");
    for (; sched->worker_count < workers; sched->worker_count++) {
        char name[16];
        snprintf(name, sizeof(name), "tw-guest-%u", sched->worker_count % 1000);
        if (!tw_thread_start(&sched->workers[sched->worker_count], name, work, sched, err))
            return false;
    }
    return true;
}

void engine_sched_done(struct engine_sched *sched) {
    tw_lock_take(&sched->lock);
    sched->stopping = true;
    tw_cond_wake_all(&sched->some);
    tw_lock_give(&sched->lock);
    for (unsigned i = 0; i < sched->worker_count; i++)
        tw_thread_join(sched->workers[i]);
    free(sched->workers);
    tw_cond_done(&sched->some);
    tw_lock_done(&sched->lock);
}

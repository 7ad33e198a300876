// SPDX-License-Identifier: Apache-2.0
//
// Workers: threads that run what event loops do not run themselves, from one bounded queue that is fair
// between tenants (fair.c). As many run short calls at once as there are cores. One whose call goes on for long
// (runner.c) does not count any more, and another takes its place, so a queue never stands behind a call that
// computes; how many threads long calls may hold is bounded, and each tenant may begin another only while it
// holds fewer than are left (dynamic thresholds, A. Choudhury and E. Hahne, 1998). A parked call is in no
// queue and on no thread. One that is cancelled, or whose deadline comes while it waits, is answered then.

#include <sched.h>
#include <unistd.h>

#include "engine/internal.h"

enum { WORKERS_MAX = 1024 };

uint32_t engine_weight_of(const struct tw_invoke *invoke) {
    return tw_account_weight(invoke->account);
}

// ---- the queue ----

static bool may_begin(void *context, const struct engine_share *share) {
    const struct engine_sched *sched = context;
    // More may be held than the maximum: those that had begun when it was reached.
    uint32_t held = (uint32_t)tw_counter_get(&sched->held);
    return held < sched->held_max && share->held < sched->held_max - held;
}

bool engine_sched_may_begin(struct engine_sched *sched, uint64_t tenant) {
    uint32_t held = (uint32_t)tw_counter_get(&sched->held);
    if (2 * held < sched->held_max)
        return true; // the usual case: fewer than are left even if they were all this tenant's
    TW_LOCK_SCOPE(&sched->lock);
    const struct engine_share *share = tw_map_find(&sched->fair.shares, tw_span_of(&tenant, sizeof(tenant)));
    if ((uint32_t)tw_counter_get(&sched->held) >= sched->held_max)
        return false;
    return !share || may_begin(sched, share);
}

// In how many seconds there may be room, by the rate at which calls left the queue of late.
static uint32_t retry_after_locked(struct engine_sched *sched) {
    int64_t now_ns = tw_clock_ns(), elapsed_ns = now_ns - sched->drain_since_ns;
    if (elapsed_ns >= TW_NS_PER_S) {
        sched->drain_rate = (uint32_t)(sched->drained * (uint64_t)TW_NS_PER_S / (uint64_t)elapsed_ns);
        sched->drained = 0;
        sched->drain_since_ns = now_ns;
    }
    uint32_t seconds = sched->fair.queued / (sched->drain_rate ? sched->drain_rate : 1) + 1;
    return seconds < ENGINE_RETRY_MAX_S ? seconds : ENGINE_RETRY_MAX_S;
}

// A tenant's calls may fill two thirds of an empty queue, and less of a fuller one.
static bool check_room_locked(struct engine_sched *sched, const struct engine_share *share,
                              struct tw_error *err) {
    uint32_t queued = sched->fair.queued, left = queued < sched->max_queued ? sched->max_queued - queued : 0;
    if (left && share->queued <= 2 * left && !sched->stopping)
        return true;
    if (left && !sched->stopping)
        tw_fail(err, TW_ERR_CONCURRENCY, "%" PRIu32 " calls of this tenant wait already; try again later",
                share->queued);
    else
        tw_fail(err, TW_ERR_CAPACITY, "%" PRIu32 " calls wait already; try again later", queued);
    if (err)
        err->retry_after_s = retry_after_locked(sched);
    return false;
}

static bool check_wait_locked(struct engine_sched *sched, struct engine_share *share, int64_t now_ns,
                              struct tw_error *err) {
    int64_t wait_ns;
    return engine_crowd_admits(&sched->fair, share, &sched->patience, now_ns, &wait_ns) ||
           engine_crowd_refuse(&sched->fair, share, wait_ns, err);
}

static bool push_locked(struct engine_sched *sched, struct engine_call *call, enum engine_place place,
                        bool is_fresh, struct tw_error *err) {
    const struct tw_invoke *invoke = call->invoke;
    int64_t now_ns = tw_clock_ns();
    struct engine_share *share = engine_fair_get(&sched->fair, invoke->tenant, engine_weight_of(invoke));
    if (is_fresh && (!check_room_locked(sched, share, err) ||
                     (!invoke->is_patient && !check_wait_locked(sched, share, now_ns, err))))
        return false;
    engine_fair_push(&sched->fair, share, call, place);
    engine_crowd_join(&sched->fair, share, now_ns);
    call->waits_in = share;
    if (tw_state_look(&call->cancelled)) // before it waited here
        engine_sched_excuse_locked(sched, call);
    tw_counter_set(&sched->queued, sched->fair.queued);
    engine_sched_call_worker_locked(sched);
    return true;
}

bool engine_sched_push(struct engine_sched *sched, struct engine_call *call, enum engine_place place,
                       bool is_fresh, struct tw_error *err) {
    if (!tw_state_look(&sched->watching))
        engine_watch_start(sched); // it sees to deadlines
    tw_lock_take(&sched->lock);
    bool is_taken = push_locked(sched, call, place, is_fresh, err);
    engine_sched_give(sched);
    return is_taken;
}

// ---- those that need not wait any longer: a worker tells them so at once ----

static void leave_locked(struct engine_sched *sched, struct engine_call *call) {
    call->next = NULL;
    *sched->leaving_last = call;
    sched->leaving_last = &call->next;
    engine_sched_call_worker_locked(sched);
}

void engine_sched_answer(struct engine_sched *sched, struct engine_call *answer) {
    tw_lock_take(&sched->lock);
    leave_locked(sched, answer);
    engine_sched_give(sched);
}

void engine_sched_excuse_locked(struct engine_sched *sched, struct engine_call *call) {
    if (!call->waits_in || call->future)
        return;
    engine_fair_remove(&sched->fair, call->waits_in, call);
    engine_crowd_drop(&sched->fair, call->waits_in);
    tw_counter_set(&sched->queued, sched->fair.queued);
    call->waits_in = NULL;
    leave_locked(sched, call);
}

static struct engine_call *take_leaving(struct engine_sched *sched) {
    struct engine_call *call = sched->leaving;
    if (!call)
        return NULL;
    sched->leaving = call->next;
    if (!sched->leaving)
        sched->leaving_last = &sched->leaving;
    return call;
}

// The first ones have the earliest deadlines, but for those that go on and stand where they came.
bool engine_sched_sweep_locked(struct engine_sched *sched, int64_t now_ns) {
    int64_t oldest_ns = 0;
    size_t position = 0;
    struct engine_share *share;
    while (sched->fair.queued && (share = engine_fair_next(&sched->fair, &position))) {
        for (struct engine_call *call = share->first, *next; call; call = next) {
            next = call->next;
            if (!call->future && call->invoke->deadline_ns > now_ns)
                break;
            engine_sched_excuse_locked(sched, call);
        }
        int64_t queued_ns = share->first ? share->first->invoke->times.queued_ns : 0;
        if (queued_ns && (!oldest_ns || queued_ns < oldest_ns))
            oldest_ns = queued_ns;
    }
    tw_counter_set(&sched->oldest_ns, oldest_ns);
    return sched->fair.queued;
}

int64_t engine_sched_wait_ns(const struct engine_sched *sched) {
    int64_t oldest_ns = tw_counter_get(&sched->oldest_ns), now_ns = tw_clock_ns();
    return oldest_ns && oldest_ns < now_ns && engine_sched_queued(sched) ? now_ns - oldest_ns : 0;
}

uint32_t engine_sched_queued(const struct engine_sched *sched) {
    return (uint32_t)tw_counter_get(&sched->queued);
}

// ---- workers ----

// The next call, when a worker is wanted; NULL: the engine ends.
static struct engine_call *pop_locked(struct engine_sched *sched, struct engine_runner *runner) {
    struct engine_call *call = NULL;
    for (;;) {
        call = take_leaving(sched);
        runner->is_excusing = call;
        if (!call && sched->busy < sched->worker_target)
            call = engine_fair_pop(&sched->fair, may_begin, sched);
        if (call || sched->stopping)
            break;
        sched->idle++;
        tw_cond_wait(&sched->some, &sched->lock, TW_NO_DEADLINE);
        sched->idle--;
    }
    if (!call)
        return NULL;
    call->waits_in = NULL;
    sched->busy++;
    sched->drained++;
    tw_counter_set(&sched->queued, sched->fair.queued);
    engine_sched_call_worker_locked(sched); // for the call behind it
    return call;
}

static struct engine_call *pop(struct engine_sched *sched, struct engine_runner *runner) {
    tw_lock_take(&sched->lock);
    struct engine_call *call = pop_locked(sched, runner);
    engine_sched_give(sched);
    return call;
}

// A call was run: its time is charged to its tenant, unless the watch has done so.
static void settle(struct engine_sched *sched, const struct engine_runner *runner, uint64_t tenant,
                   uint32_t weight, int64_t since_ns) {
    int64_t now_ns = tw_clock_ns();
    TW_LOCK_SCOPE(&sched->lock);
    struct engine_share *share = engine_fair_get(&sched->fair, tenant, weight);
    sched->busy--;
    if (!runner->is_excusing)
        engine_crowd_leave(&sched->fair, share, now_ns);
    if (!runner->was_managed)
        engine_fair_charge(&sched->fair, share, now_ns - since_ns);
}

// Will the call be one that computes for long, by those before it?
static void foresee(const struct engine_runner *runner, struct engine_call *call) {
    const struct tw_invoke *invoke = call->invoke;
    if (!call->future && !runner->is_excusing)
        call->begins_long = engine_habit_of(invoke->module, invoke->tenant) == ENGINE_HABIT_LONG;
}

static void work(void *context) {
    struct tw_engine *engine = context;
    struct engine_sched *sched = &engine->sched;
    struct engine_runner runner = {.is_worker = true};
    struct engine_call *call;
    engine_runner_join(engine, &runner);
    engine_runner_use(&runner);
    tw_lock_take(&sched->lock);
    sched->idle--; // counted since it was started
    tw_lock_give(&sched->lock);
    while ((call = pop(sched, &runner))) {
        uint64_t tenant = call->invoke->tenant;
        uint32_t weight = engine_weight_of(call->invoke);
        int64_t since_ns = tw_clock_ns();
        tw_counter_add(&sched->running, 1);
        foresee(&runner, call);
        engine_call_step(call);
        tw_counter_add(&sched->running, -1);
        settle(sched, &runner, tenant, weight, since_ns);
    }
    engine_runner_part(&runner);
}

// Without the lock, in the next slot: `sched->is_starting`, so nobody else does so now, or nobody else is there yet.
static bool start_worker(struct engine_sched *sched, struct tw_error *err) {
    struct tw_engine *engine = (struct tw_engine *)((char *)sched - offsetof(struct tw_engine, sched));
    char name[16];
    snprintf(name, sizeof(name), "tw-guest-%u", sched->worker_count % 1000);
    return tw_thread_start(&sched->workers[sched->worker_count], name, work, engine, err);
}

void engine_sched_call_worker_locked(struct engine_sched *sched) {
    if (!sched->leaving && (!sched->fair.count || sched->busy >= sched->worker_target))
        return;
    if (sched->idle) {
        sched->calls_worker = true;
    } else if (!sched->is_starting && sched->worker_count < sched->worker_max && !sched->stopping) {
        sched->starts_worker = true;
        sched->idle++; // it counts as that from now on
    }
}

// Starts one, then takes the lock.
static void start_called(struct engine_sched *sched) {
    bool is_started = start_worker(sched, NULL);
    tw_lock_take(&sched->lock);
    sched->is_starting = false;
    sched->worker_count += is_started;
    if (is_started)
        engine_sched_call_worker_locked(sched); // for what has come meanwhile
    else
        sched->idle--; // one that is busy will look
    if (sched->stopping)
        tw_cond_wake_all(&sched->some);
}

void engine_sched_give(struct engine_sched *sched) {
    for (bool starts = true; starts;) {
        bool wakes = sched->calls_worker;
        starts = sched->starts_worker;
        sched->calls_worker = sched->starts_worker = false;
        sched->is_starting |= starts;
        if (wakes)
            tw_ref_up(&sched->wakers);
        tw_lock_give(&sched->lock);
        if (wakes) {
            tw_cond_wake_one(&sched->some);
            (void)tw_ref_down(&sched->wakers);
        }
        if (starts)
            start_called(sched);
    }
}

static unsigned default_workers(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : (unsigned)cores;
}

bool engine_sched_init(struct tw_engine *engine, struct tw_error *err) {
    struct engine_sched *sched = &engine->sched;
    unsigned workers = engine->options.workers ? engine->options.workers : default_workers();
    tw_lock_init(&sched->lock);
    tw_cond_init(&sched->some);
    tw_cond_init(&sched->acted);
    tw_ref_init(&sched->wakers);
    sched->timers = &engine->timers;
    sched->watch.fire = engine_runner_watch;
    sched->leaving_last = &sched->leaving;
    sched->max_queued = engine->options.max_queued;
    sched->patience = (struct engine_patience){engine->options.queue_target_ms * TW_NS_PER_MS,
                                               engine->options.queue_burst_ms * TW_NS_PER_MS};
    sched->held_max = engine->options.max_long_calls;
    sched->worker_target = workers < WORKERS_MAX ? workers : WORKERS_MAX;
    sched->worker_max = sched->worker_target + sched->held_max;
    sched->drain_since_ns = tw_clock_ns();
    sched->workers = tw_alloc_zero(sched->worker_max, sizeof(*sched->workers));
    if (!sched->workers)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for workers");
    if (!engine_fair_init(&sched->fair, sched->worker_target, err))
        return false;
    sched->idle = sched->worker_target; // the first ones may begin before the last one is there
    for (; sched->worker_count < sched->worker_target; sched->worker_count++)
        if (!start_worker(sched, err))
            return false;
    return true;
}

void engine_sched_stop(struct engine_sched *sched) {
    tw_lock_take(&sched->lock);
    sched->stopping = true; // no worker is started any more, but for one that is about to be
    tw_cond_wake_all(&sched->some);
    while (sched->is_starting)
        tw_cond_wait(&sched->some, &sched->lock, TW_NO_DEADLINE);
    tw_lock_give(&sched->lock);
    for (unsigned i = 0; i < sched->worker_count; i++)
        tw_thread_join(sched->workers[i]);
    sched->worker_count = 0;
}

void engine_sched_done(struct engine_sched *sched) {
    if (sched->timers)
        engine_timer_remove(sched->timers, &sched->watch);
    // A device's thread may have brought the last call back that ran here, and not have woken anybody for it yet.
    while (tw_ref_is_shared(&sched->wakers))
        sched_yield();
    free(sched->workers);
    engine_fair_done(&sched->fair);
    tw_cond_done(&sched->acted);
    tw_cond_done(&sched->some);
    tw_lock_done(&sched->lock);
}

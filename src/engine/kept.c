// SPDX-License-Identifier: Apache-2.0
//
// Instances that keep their state between calls. One call holds the guest at a time; the next ones wait here in
// a short queue and are handed on when it ends:
//
//     submit ── nobody runs ──▶ run queue ─▶ take ─▶ (runs) ─▶ give ─▶ the first that waits, to the run queue
//       └──── somebody runs ──▶ waits; its timer takes it out at its deadline (or when it is cancelled)
//
// A call that traps, exits or is stopped ends the instance; so does the keeper's thread when nobody has called for
// long. An ended instance has no guest any more, only the reason why.
//
// An instance's lock is taken before the timers' and before the run queue's, after the engine's.

#include "engine/internal.h"

struct tw_instance {
    struct tw_ref ref;
    struct tw_engine *engine;
    struct tw_instance *older, *newer; // the engine's list, guarded by the engine's lock
    int64_t idle_ns;
    // ---- guarded by `lock` ----
    struct tw_lock lock;
    struct tw_module *module; // referenced while there is a guest
    struct engine_instance *guest;
    struct engine_call *running;      // holds the guest, or is on its way to it
    struct engine_call *first, *last; // wait
    uint32_t waiting;
    bool has_ended;
    uint32_t captures;            // that wait for the guest or have it: calls wait behind them
    bool is_captured;             // one of them has it
    struct tw_cond rested;        // no call runs any more, or a capture is over
    uint64_t calls, memory_bytes; // the latter after the last call
    int64_t used_ns;
    char reason[TW_ERROR_MESSAGE_MAX];
};

// What an ended instance leaves, to be freed under no lock.
struct remains {
    struct engine_instance *guest;
    struct tw_module *module;
};

// ---- life ----

struct tw_instance *tw_instance_new(struct tw_module *module, uint64_t tenant, struct tw_account *account,
                                    int64_t idle_ns, struct tw_error *err) {
    struct tw_instance *instance = tw_alloc_zero(1, sizeof(*instance));
    if (!instance) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for an instance");
        return NULL;
    }
    struct engine_instance *guest = engine_pool_make(module, tenant, account, TW_NO_DEADLINE, err);
    if (!guest) {
        free(instance);
        return NULL;
    }
    struct tw_engine *engine = module->engine;
    tw_ref_init(&instance->ref);
    tw_lock_init(&instance->lock);
    tw_cond_init(&instance->rested);
    instance->engine = engine;
    instance->module = tw_module_ref(module);
    instance->guest = guest;
    instance->idle_ns = idle_ns;
    instance->used_ns = tw_clock_ns();
    instance->memory_bytes = engine_instance_memory(guest);
    tw_counter_add(&engine->kept, 1);
    TW_LOCK_SCOPE(&engine->lock);
    instance->older = engine->newest_kept;
    if (instance->older)
        instance->older->newer = instance;
    engine->newest_kept = instance;
    return instance;
}

struct tw_instance *tw_instance_ref(struct tw_instance *instance) {
    tw_ref_up(&instance->ref);
    return instance;
}

static void bury(struct tw_engine *engine, const struct remains *remains) {
    if (!remains->guest)
        return;
    engine_instance_free(remains->guest);
    tw_module_unref(remains->module);
    tw_counter_add(&engine->kept, -1);
}

// No call runs.
static struct remains take_guest_locked(struct tw_instance *instance) {
    struct remains remains = {instance->guest, instance->module};
    instance->guest = NULL;
    instance->module = NULL;
    return remains;
}

void tw_instance_unref(struct tw_instance *instance) {
    if (!instance || !tw_ref_down(&instance->ref))
        return;
    {
        TW_LOCK_SCOPE(&instance->engine->lock);
        if (instance->newer)
            instance->newer->older = instance->older;
        else
            instance->engine->newest_kept = instance->older;
        if (instance->older)
            instance->older->newer = instance->newer;
    }
    // Calls hold references, so there is none.
    struct remains remains = take_guest_locked(instance);
    bury(instance->engine, &remains);
    tw_cond_done(&instance->rested);
    tw_lock_done(&instance->lock);
    free(instance);
}

// ---- who waits ----

static bool unlink_locked(struct tw_instance *instance, const struct engine_call *call) {
    struct engine_call *before = NULL;
    for (struct engine_call *at = instance->first; at; before = at, at = at->waits_before) {
        if (at != call)
            continue;
        if (before)
            before->waits_before = at->waits_before;
        else
            instance->first = at->waits_before;
        if (instance->last == at)
            instance->last = before;
        at->waits_before = NULL;
        instance->waiting--;
        return true;
    }
    return false;
}

static void queue(struct engine_call *call) {
    if (!engine_sched_push(&call->engine->sched, call, ENGINE_BY_DEADLINE, false, NULL))
        TW_ASSERT(false); // only fresh calls are refused
}

// On the timers' thread: its deadline came, or it was cancelled. A worker tells it so (engine_kept_take).
static void stop_waiting(struct engine_timer *timer) {
    struct engine_call *call = (struct engine_call *)((char *)timer - offsetof(struct engine_call, deadline));
    struct tw_instance *instance = call->invoke->instance;
    bool waits;
    {
        TW_LOCK_SCOPE(&instance->lock);
        waits = unlink_locked(instance, call);
    }
    if (waits)
        queue(call);
}

// The first that waits becomes the one that runs.
static struct engine_call *next_locked(struct tw_instance *instance) {
    struct engine_call *call = instance->first;
    if (call)
        unlink_locked(instance, call);
    instance->running = call;
    return call;
}

// Under no lock: the timer may be waiting for the instance's.
static void hand_on(struct engine_call *call) {
    if (!call)
        return;
    engine_timer_remove(&call->engine->timers, &call->deadline);
    queue(call);
}

static bool wait_locked(struct tw_instance *instance, struct engine_call *call, struct tw_error *err) {
    struct engine_timers *timers = &call->engine->timers;
    if (instance->waiting >= ENGINE_KEPT_WAITING_MAX)
        return tw_fail(err, TW_ERR_CONCURRENCY,
                       "%" PRIu32
                       " calls wait for this instance already, one runs at a time; try again later",
                       instance->waiting);
    call->deadline.fire = stop_waiting;
    if (!engine_timer_set(timers, &call->deadline, call->invoke->deadline_ns))
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a deadline");
    {
        TW_LOCK_SCOPE(&timers->lock);
        if (tw_state_look(&call->cancelled)) // before there was a timer to hurry
            engine_timer_hurry_locked(timers, &call->deadline, 0);
    }
    if (instance->last)
        instance->last->waits_before = call;
    else
        instance->first = call;
    instance->last = call;
    instance->waiting++;
    return true;
}

// ---- a call's way ----

static bool fail_ended(const struct tw_instance *instance, struct tw_error *err) {
    return tw_fail(err, TW_ERR_CONFLICT, "the instance has ended: %.160s; make another one",
                   instance->reason);
}

bool engine_kept_submit(struct engine_call *call, struct tw_error *err) {
    struct tw_instance *instance = call->invoke->instance;
    {
        TW_LOCK_SCOPE(&instance->lock);
        if (instance->has_ended)
            return fail_ended(instance, err);
        if (instance->running || instance->captures) {
            if (!wait_locked(instance, call, err))
                return false;
            tw_instance_ref(instance);
            return true;
        }
        instance->running = call;
        tw_instance_ref(instance);
    }
    if (engine_sched_push(&call->engine->sched, call, ENGINE_BY_DEADLINE, true, err))
        return true;
    engine_kept_give(call);
    return false;
}

struct engine_instance *engine_kept_take(struct engine_call *call, struct tw_error *err) {
    struct tw_instance *instance = call->invoke->instance;
    TW_LOCK_SCOPE(&instance->lock);
    if (instance->has_ended)
        fail_ended(instance, err);
    else if (instance->running != call)
        tw_fail(err, TW_ERR_TIMEOUT, "the call waited for other calls of this instance until its deadline");
    if (instance->has_ended || instance->running != call)
        return NULL;
    instance->calls++;
    return instance->guest;
}

// Why the instance cannot go on after this call; false: it can.
static bool ends_it(const struct engine_call *call, char reason[TW_ERROR_MESSAGE_MAX]) {
    const struct tw_invoke *invoke = call->invoke;
    if (!call->instance || !invoke->times.running_ns || (!invoke->error.code && !call->exited))
        return false;
    if (invoke->error.code)
        snprintf(reason, TW_ERROR_MESSAGE_MAX, "%s", invoke->error.message);
    else
        snprintf(reason, TW_ERROR_MESSAGE_MAX, "the function left with proc_exit");
    return true;
}

// Who waited gets to hear that it is over.
static void send_away(struct tw_instance *instance) {
    for (;;) {
        struct engine_call *call;
        {
            TW_LOCK_SCOPE(&instance->lock);
            call = instance->first;
            if (!call)
                return;
            unlink_locked(instance, call);
        }
        hand_on(call);
    }
}

void engine_kept_give(struct engine_call *call) {
    struct tw_instance *instance = call->invoke->instance;
    struct engine_call *next = NULL;
    struct remains remains = {};
    bool has_ended;
    {
        TW_LOCK_SCOPE(&instance->lock);
        if (instance->running == call) {
            instance->used_ns = tw_clock_ns();
            if (!instance->has_ended)
                instance->has_ended = ends_it(call, instance->reason);
            if (call->instance) {
                engine_instance_end_call(call->instance);
                instance->memory_bytes = engine_instance_memory(call->instance);
            }
            instance->running = NULL;
            if (instance->has_ended)
                remains = take_guest_locked(instance);
            else if (!instance->captures)
                next = next_locked(instance);
            tw_cond_wake_all(&instance->rested);
        }
        has_ended = instance->has_ended;
    }
    hand_on(next);
    if (has_ended)
        send_away(instance);
    bury(instance->engine, &remains);
    tw_instance_unref(instance);
}

void engine_kept_answer(struct engine_call *call, struct tw_invoke *rest) {
    struct tw_instance *instance = rest->instance;
    {
        TW_LOCK_SCOPE(&instance->lock); // who ends the instance cancels its call's invoke under it
        call->invoke = rest;
        if (!instance->has_ended)
            snprintf(instance->reason, sizeof(instance->reason), "%s", rest->error.message);
        instance->has_ended = true; // engine_kept_give does the rest
    }
    send_away(instance);
}

// ---- ending, looking ----

// The caller holds the lock, and sends waiting calls away.
static struct remains end_locked(struct tw_instance *instance, const char *reason) {
    if (instance->has_ended)
        return (struct remains){};
    instance->has_ended = true;
    snprintf(instance->reason, sizeof(instance->reason), "%s", reason);
    if (instance->running)
        tw_invoke_cancel(instance->running->invoke); // engine_kept_give does the rest
    if (instance->running || instance->is_captured)
        return (struct remains){};
    return take_guest_locked(instance);
}

void tw_instance_end(struct tw_instance *instance, const char *reason) {
    struct remains remains;
    {
        TW_LOCK_SCOPE(&instance->lock);
        remains = end_locked(instance, reason);
    }
    send_away(instance);
    bury(instance->engine, &remains);
}

static struct remains take_idle(struct tw_instance *instance, int64_t now_ns) {
    TW_LOCK_SCOPE(&instance->lock);
    if (instance->running || instance->captures || now_ns - instance->used_ns <= instance->idle_ns)
        return (struct remains){};
    return end_locked(instance, "nobody called it for too long");
}

void engine_kept_expire(struct tw_engine *engine, int64_t now_ns) {
    for (;;) {
        struct remains remains = {};
        {
            TW_LOCK_SCOPE(&engine->lock);
            for (struct tw_instance *at = engine->newest_kept; at && !remains.guest; at = at->older)
                remains = take_idle(at, now_ns);
        }
        if (!remains.guest)
            return;
        bury(engine, &remains);
    }
}

// ---- capturing ----

static bool can_be_captured(const struct engine_instance *guest, struct tw_error *err) {
    struct tw_gpu_usage usage = {};
    if (guest->module->single_use)
        return tw_fail(
            err, TW_ERR_CONFLICT,
            "the module changes tables, drops segments or makes objects, which no snapshot can hold");
    if (guest->gpu)
        tw_gpu_context_usage(guest->gpu, &usage);
    return usage.objects == 0 || tw_fail(err, TW_ERR_CONFLICT,
                                         "the instance holds %" PRIu32
                                         " buffers, kernels or streams on a device, which no snapshot "
                                         "can hold; let it free them first",
                                         usage.objects);
}

// Waits until no call has the guest and no other capture.
static bool take_for_capture(struct tw_instance *instance, int64_t deadline_ns, struct tw_error *err) {
    TW_LOCK_SCOPE(&instance->lock);
    bool in_time = true;
    instance->captures++;
    while (in_time && !instance->has_ended && (instance->running || instance->is_captured))
        in_time = tw_cond_wait(&instance->rested, &instance->lock, deadline_ns);
    if (!instance->has_ended && !instance->running && !instance->is_captured) {
        instance->is_captured = true;
        return true;
    }
    instance->captures--; // whoever has the guest hands it on
    return instance->has_ended
               ? fail_ended(instance, err)
               : tw_fail(err, TW_ERR_TIMEOUT, "a call of the instance ran until the deadline");
}

static void give_after_capture(struct tw_instance *instance) {
    struct engine_call *next = NULL;
    struct remains remains = {};
    {
        TW_LOCK_SCOPE(&instance->lock);
        instance->is_captured = false;
        instance->captures--;
        if (instance->has_ended)
            remains = take_guest_locked(instance);
        else if (!instance->captures)
            next = next_locked(instance);
        tw_cond_wake_all(&instance->rested);
    }
    hand_on(next);
    bury(instance->engine, &remains);
}

bool tw_instance_capture(struct tw_instance *instance, int64_t deadline_ns, struct tw_buf *image,
                         struct tw_error *err) {
    if (!take_for_capture(instance, deadline_ns, err))
        return false;
    struct engine_instance *guest = instance->guest;
    bool ok =
        can_be_captured(guest, err) && engine_image_capture(guest, &guest->module->digest, false, image, err);
    give_after_capture(instance);
    if (ok)
        engine_image_seal(image);
    return ok;
}

void tw_instance_look(struct tw_instance *instance, struct tw_instance_state *ret_state) {
    TW_LOCK_SCOPE(&instance->lock);
    *ret_state = (struct tw_instance_state){
        .has_ended = instance->has_ended,
        .is_running = instance->running,
        .waiting = instance->waiting,
        .calls = instance->calls,
        .memory_bytes = instance->has_ended ? 0 : instance->memory_bytes,
        .used_ns = instance->used_ns,
    };
    snprintf(ret_state->reason, sizeof(ret_state->reason), "%s", instance->reason);
}

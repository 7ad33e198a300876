// SPDX-License-Identifier: Apache-2.0
//
// Threads that run guests. Entering and leaving a guest costs one atomic word each:
//
//                     enter                         leave
//     IDLE ───────────────────▶ BUSY (entry n) ───────────────▶ IDLE        the usual way, no lock
//      │                          │      │ cancel
//      │                          │      ▼
//      │                          │    KICKED
//      │  still the same entry at │      │ next tick
//      │  next tick, or its deadline     ▼
//      └───────────────────────▶ MANAGED ─────────────────────▶ IDLE        under the scheduler's lock
//        enter_long: its tenant's calls of the function took long of late (habit.c)
//
// What MANAGED means, and who becomes it, says watch.c; how a guest is paused, gate.c.

#include "engine/internal.h"

static _Thread_local struct engine_runner *own;

struct engine_runner *engine_runner_own(void) {
    return own;
}

void engine_runner_join(struct tw_engine *engine, struct engine_runner *runner) {
    struct engine_sched *sched = &engine->sched;
    TW_LOCK_SCOPE(&sched->lock);
    runner->engine = engine;
    runner->thread = pthread_self();
    runner->thread_id = tw_thread_id();
    runner->next = sched->runners;
    if (runner->next)
        runner->next->prev = runner;
    sched->runners = runner;
}

void engine_runner_part(struct engine_runner *runner) {
    struct engine_sched *sched = &runner->engine->sched;
    TW_LOCK_SCOPE(&sched->lock);
    *(runner->prev ? &runner->prev->next : &sched->runners) = runner->next;
    if (runner->next)
        runner->next->prev = runner->prev;
}

struct engine_runner *engine_runner_use(struct engine_runner *runner) {
    struct engine_runner *before = own;
    own = runner;
    return before;
}

void engine_watch_start(struct engine_sched *sched) {
    if (!tw_state_change(&sched->watching, 0, 1))
        return;
    sched->quiet_ticks = 0;
    // Without memory for the timer a later entry tries again.
    if (!engine_timer_set(sched->timers, &sched->watch, tw_clock_ns() + ENGINE_TICK_NS))
        tw_state_set(&sched->watching, 0);
}

void engine_runner_enter(struct engine_runner *runner, struct engine_call *call) {
    struct engine_sched *sched = &call->engine->sched;
    uint32_t word = ENGINE_WORD(++runner->entries, ENGINE_BUSY);
    runner->was_managed = false;
    tw_counter_set(&runner->call, (intptr_t)call);
    tw_counter_set(&runner->deadline_ns, call->invoke->deadline_ns);
    tw_state_publish(&runner->word, word);
    if (!tw_state_look(&sched->watching))
        engine_watch_start(sched);
    if (tw_state_look(&call->cancelled))
        tw_state_change(&runner->word, word, ENGINE_WORD(runner->entries, ENGINE_KICKED));
}

void engine_runner_manage_locked(struct engine_sched *sched, struct engine_runner *runner, int64_t now_ns) {
    const struct engine_call *call = engine_runner_call(runner);
    const struct tw_invoke *invoke = call->invoke;
    runner->share = engine_fair_get(&sched->fair, invoke->tenant, engine_weight_of(invoke));
    runner->share->held++;
    if (!runner->is_worker) // else it has been counted since it was queued
        engine_crowd_join(&sched->fair, runner->share, now_ns);
    tw_counter_add(&sched->held, 1);
    sched->busy -= runner->is_worker;
    runner->is_new = false;
    runner->charged_ns = call->entered_ns;
    runner->stopped_ns = 0;
    runner->stop_ns = tw_state_look(&call->cancelled) ? now_ns : invoke->deadline_ns;
}

// Is there a core for one more guest that computes?
static bool has_turn_locked(const struct engine_sched *sched) {
    uint32_t computing = 0;
    for (const struct engine_runner *runner = sched->runners; runner; runner = runner->next)
        computing += runner->share && !runner->is_paused;
    return computing < sched->worker_target;
}

void engine_runner_enter_long(struct engine_runner *runner, struct engine_call *call) {
    struct engine_sched *sched = &call->engine->sched;
    uint32_t word = ENGINE_WORD(++runner->entries, ENGINE_MANAGED);
    runner->was_managed = false;
    tw_counter_set(&runner->call, (intptr_t)call);
    tw_counter_set(&runner->deadline_ns, call->invoke->deadline_ns);
    runner->seen_cpu_ns = tw_thread_cpu_ns(runner->thread);
    tw_lock_take(&sched->lock);
    runner->is_paused = !has_turn_locked(sched);
    runner->is_chosen = !runner->is_paused;
    int64_t now_ns = call->entered_ns = tw_clock_ns();
    engine_runner_manage_locked(sched, runner, now_ns);
    runner->is_new = true;
    runner->turn_ns = engine_turn_from(runner, now_ns);
    if (runner->is_paused)
        tw_state_set(&call->instance->gate, ENGINE_GATE_PAUSE); // no page: it stands before the gate already
    tw_state_publish(&runner->word, word);
    engine_sched_call_worker_locked(sched); // its worker's place is free
    engine_sched_give(sched);
    if (!tw_state_look(&sched->watching))
        engine_watch_start(sched);
    tw_metric_add(TW_METRIC_LONG_CALLS, (struct tw_labels){.values = {"foreseen"}}, 1);
    tw_thread_stand_back(runner->thread_id, true);
    tw_state_set(&runner->stands_back, 1);
    engine_gate_pass(call->instance); // stopped meanwhile: its first poll ends it
}

void engine_runner_charge(struct engine_runner *runner, int64_t now_ns) {
    int64_t ns = now_ns - runner->charged_ns;
    runner->charged_ns = now_ns;
    engine_fair_charge(&runner->engine->sched.fair, runner->share, ns);
    tw_account_charge_cpu(engine_runner_call(runner)->invoke->account, (uint64_t)(ns > 0 ? ns : 0));
}

// A managed call is over: takes it out of the scheduler's books.
static void release_locked(struct engine_sched *sched, struct engine_runner *runner) {
    int64_t now_ns = tw_clock_ns();
    if (!runner->is_paused)
        engine_runner_charge(runner, now_ns);
    runner->share->held--;
    if (!runner->is_worker)
        engine_crowd_leave(&sched->fair, runner->share, now_ns);
    runner->share = NULL;
    runner->is_paused = false;
    runner->was_managed = true;
    tw_counter_add(&sched->held, -1);
    sched->busy += runner->is_worker;
    engine_fair_unbar(&sched->fair);
    engine_sched_call_worker_locked(sched);
}

// A thread that stands back must not hold a lock that others wait for.
static void stand_back_no_longer(struct engine_runner *runner) {
    if (tw_state_change(&runner->stands_back, 1, 0))
        tw_thread_stand_back(runner->thread_id, false);
}

// The watch has taken charge, or a cancel has come: puts everything back. No system call is made under the lock: at its
// end this thread, which has computed for long, may lose the processor, and all others would wait for the lock until it
// has its turn again.
static void leave_managed(struct engine_runner *runner) {
    struct engine_sched *sched = &runner->engine->sched;
    stand_back_no_longer(runner);
    tw_lock_take(&sched->lock);
    while (sched->acting == runner)
        tw_cond_wait(&sched->acted, &sched->lock, TW_NO_DEADLINE);
    if ((tw_state_get(&runner->word) & ENGINE_KIND_MASK) == ENGINE_MANAGED)
        release_locked(sched, runner);
    tw_state_set(&runner->word, ENGINE_WORD(runner->entries, ENGINE_IDLE)); // from here on nobody acts on it
    struct tw_executor *replaced = runner->replaced;
    runner->replaced = NULL;
    engine_sched_give(sched);
    stand_back_no_longer(runner); // the watch may have been about to see to it
    if (runner->was_managed)
        engine_gate_open(engine_runner_call(runner)->instance);
    if (!replaced)
        return;
    runner->is_replaced = true;
    replaced->replaced(replaced);
}

void engine_runner_leave(struct engine_runner *runner) {
    uint32_t word = ENGINE_WORD(runner->entries, ENGINE_BUSY);
    if (!tw_state_change(&runner->word, word, ENGINE_WORD(runner->entries, ENGINE_IDLE)))
        leave_managed(runner);
}

void engine_runner_kick(struct engine_sched *sched, struct engine_call *call) {
    tw_lock_take(&sched->lock);
    engine_sched_excuse_locked(sched, call);
    for (struct engine_runner *runner = sched->runners; runner; runner = runner->next) {
        uint32_t word = tw_state_look(&runner->word);
        // The word changes when its thread leaves this entry: if it does not, the call was this one all along.
        if (tw_counter_get(&runner->call) != (intptr_t)call)
            continue;
        if ((word & ENGINE_KIND_MASK) == ENGINE_BUSY)
            tw_state_change(&runner->word, word, word - ENGINE_BUSY + ENGINE_KICKED);
        else if ((word & ENGINE_KIND_MASK) == ENGINE_MANAGED)
            runner->stop_ns = 0;
    }
    engine_sched_give(sched);
    TW_LOCK_SCOPE(&sched->timers->lock);
    engine_timer_hurry_locked(sched->timers, &sched->watch, 0);
}

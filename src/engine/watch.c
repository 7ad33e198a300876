// SPDX-License-Identifier: Apache-2.0
//
// The watch over threads that run guests: a timer that ticks each millisecond while a guest runs, and not at all when none
// does. Whom it finds in the same entry twice, and computing, has run for a quantum; it takes charge of that call. From then
// on the call counts as computing: its time is charged to its tenant's share, it is stopped at its deadline, and when more
// guests compute than have room, it is paused at its next poll while others have their turn. A managed call on an event
// loop's thread costs the loop its thread: somebody else takes the loop over (executor.c).

#include "engine/internal.h"

// Takes charge of what the runner is in; false: it has just left.
static bool manage(struct engine_sched *sched, struct engine_runner *runner, uint32_t word, int64_t now_ns) {
    if (!tw_state_change(&runner->word, word, ENGINE_WORD(word >> ENGINE_KIND_BITS, ENGINE_MANAGED)))
        return false;
    engine_runner_manage_locked(sched, runner, now_ns);
    engine_runner_charge(runner, now_ns);
    runner->turn_ns = now_ns - ENGINE_SLICE_NS; // the turn it has begun in was not given to it
    return true;
}

// What needs the lock to be free: while it acts on a runner, that one's call does not end.
static void act_begin(struct engine_sched *sched, struct engine_runner *runner) {
    sched->acting = runner;
    tw_lock_give(&sched->lock);
}

static void act_end(struct engine_sched *sched) {
    tw_lock_take(&sched->lock);
    sched->acting = NULL;
    tw_cond_wake_all(&sched->acted);
}

// It was just taken charge of: its thread is one that computes for long, and the loop whose it was needs another. `is_long`: it
// was not only stopped.
static void set_apart(struct engine_sched *sched, struct engine_runner *runner, bool is_long) {
    struct tw_executor *executor = runner->executor;
    const struct tw_invoke *invoke = engine_runner_call(runner)->invoke;
    runner->executor = NULL;
    runner->replaced = executor;
    if (executor)
        executor->state->runner = NULL;
    act_begin(sched, runner);
    if (is_long) {
        engine_habit_note(invoke->module, invoke->tenant, true);
        tw_metric_add(TW_METRIC_LONG_CALLS, (struct tw_labels){.values = {"found"}}, 1);
        tw_thread_stand_back(runner->thread_id, true);
        tw_state_set(&runner->stands_back, 1);
    }
    if (executor)
        executor->overdue(executor);
    act_end(sched);
}

// Is it in the same guest as at the last tick, and has it computed meanwhile? A thread that only waited for a
// processor has not, and another one would wait as well; but it may also be held up in a host function.
static bool is_long(struct engine_runner *runner, uint32_t word, int64_t now_ns) {
    int64_t cpu_ns = tw_thread_cpu_ns(runner->thread);
    if (word == runner->seen)
        return cpu_ns - runner->seen_cpu_ns >= ENGINE_QUANTUM_NS ||
               now_ns - runner->seen_ns >= ENGINE_PATIENCE_NS;
    runner->seen = word;
    runner->seen_ns = now_ns;
    runner->seen_cpu_ns = cpu_ns;
    return false;
}

// Was it stopped, and does its guest go on all the same? One whose thread waits for a processor may be about to end.
static bool is_stuck(const struct engine_runner *runner, int64_t now_ns) {
    return runner->stopped_ns &&
           (tw_thread_cpu_ns(runner->thread) - runner->stopped_cpu_ns >= ENGINE_QUANTUM_NS ||
            now_ns - runner->stopped_ns >= ENGINE_PATIENCE_NS);
}

static void stop(struct engine_sched *sched, struct engine_runner *runner, int64_t now_ns) {
    if (!runner->stopped_ns) {
        runner->stopped_ns = now_ns;
        runner->stopped_cpu_ns = tw_thread_cpu_ns(runner->thread);
    }
    runner->stop_ns = now_ns + ENGINE_RESTOP_NS; // a kernel may be launched while this goes on
    act_begin(sched, runner);
    engine_call_stop(engine_runner_call(runner));
    act_end(sched);
}

static void answer(struct engine_sched *sched, struct engine_runner *runner, int64_t now_ns) {
    act_begin(sched, runner);
    bool goes_on = engine_call_answer(engine_runner_call(runner));
    act_end(sched);
    if (!goes_on || !runner->is_paused)
        return;
    runner->is_paused = false; // the collector did not come to its gate, and computes
    runner->charged_ns = now_ns;
}

// One tick's look at a runner; true when it is in a guest. *next_ns becomes earlier where it has to be looked
// at before the next tick.
static bool look_at(struct engine_sched *sched, struct engine_runner *runner, int64_t now_ns,
                    int64_t *next_ns) {
    uint32_t word = tw_state_look(&runner->word), kind = word & ENGINE_KIND_MASK;
    int64_t deadline_ns = tw_counter_get(&runner->deadline_ns);
    bool is_due = kind == ENGINE_KICKED ||
                  (kind == ENGINE_BUSY && (is_long(runner, word, now_ns) || deadline_ns <= now_ns));
    if (is_due && manage(sched, runner, word, now_ns)) {
        set_apart(sched, runner, kind != ENGINE_KICKED && deadline_ns > now_ns);
        kind = ENGINE_MANAGED;
    }
    if (kind == ENGINE_MANAGED && is_stuck(runner, now_ns))
        answer(sched, runner, now_ns);
    if (kind == ENGINE_MANAGED && runner->stop_ns <= now_ns)
        stop(sched, runner, now_ns);
    int64_t due_ns = kind == ENGINE_MANAGED ? runner->stop_ns : deadline_ns;
    if (kind != ENGINE_IDLE && due_ns < *next_ns)
        *next_ns = due_ns;
    return kind != ENGINE_IDLE;
}

// ---- turns ----

static bool is_computing(const struct engine_runner *runner) {
    return runner->share && !tw_flag_is_raised(&engine_runner_call(runner)->stopping);
}

bool engine_runner_has_computed(const struct engine_runner *runner) {
    return tw_thread_cpu_ns(runner->thread) - runner->seen_cpu_ns >= ENGINE_QUANTUM_NS;
}

int64_t engine_turn_from(const struct engine_runner *runner, int64_t now_ns) {
    return runner->is_new ? now_ns - ENGINE_SLICE_NS + ENGINE_TICK_NS : now_ns;
}

static void choose(struct engine_runner *runner) {
    runner->is_chosen = true;
    runner->share->ahead_ns += ENGINE_SLICE_NS / runner->share->weight;
}

static bool is_before(const struct engine_runner *one, const struct engine_runner *other) {
    uint64_t one_ns = one->share->virtual_ns + one->share->ahead_ns;
    uint64_t other_ns = other->share->virtual_ns + other->share->ahead_ns;
    if (one_ns != other_ns)
        return one_ns < other_ns;
    if (one->is_new != other->is_new)
        return one->is_new;
    return engine_runner_call(one)->invoke->deadline_ns < engine_runner_call(other)->invoke->deadline_ns;
}

static struct engine_runner *next_of(struct engine_sched *sched) {
    struct engine_runner *best = NULL;
    for (struct engine_runner *runner = sched->runners; runner; runner = runner->next)
        if (is_computing(runner) && !runner->is_chosen && (!best || is_before(runner, best)))
            best = runner;
    return best;
}

// Charges those that compute and counts them.
static uint32_t settle(struct engine_sched *sched, int64_t now_ns) {
    uint32_t count = 0;
    uint64_t least_ns = UINT64_MAX;
    for (struct engine_runner *runner = sched->runners; runner; runner = runner->next) {
        if (!is_computing(runner))
            continue;
        count++;
        if (!runner->is_paused)
            engine_runner_charge(runner, now_ns);
        if (!runner->is_paused && runner->is_new)
            runner->is_new = !engine_runner_has_computed(runner);
        runner->charged_ns = now_ns;
        runner->is_chosen = false;
        runner->share->ahead_ns = 0;
        if (runner->share->virtual_ns < least_ns)
            least_ns = runner->share->virtual_ns;
    }
    // Nobody who comes now may be behind all who are here.
    if (count && least_ns > sched->fair.virtual_ns)
        sched->fair.virtual_ns = least_ns;
    return count;
}

static void carry_out(struct engine_sched *sched) {
    for (struct engine_runner *runner = sched->runners; runner; runner = runner->next) {
        if (!is_computing(runner) || runner->is_chosen != runner->is_paused)
            continue;
        bool pauses = runner->is_paused = !runner->is_chosen;
        act_begin(sched, runner);
        if (pauses)
            engine_gate_close(engine_runner_call(runner)->instance, ENGINE_GATE_PAUSE);
        else
            engine_gate_open(engine_runner_call(runner)->instance);
        act_end(sched);
    }
}

// Gives the turns: as many guests compute as there are cores. Whoever is within its turn keeps it; the others
// go by their tenants' virtual time, as if each chosen one had used its turn already; within a tenant those that are new
// have a tick first, then it goes by deadline.
static void share_out(struct engine_sched *sched, int64_t now_ns) {
    uint32_t count = settle(sched, now_ns), room = sched->worker_target;
    for (struct engine_runner *runner = sched->runners; runner && room; runner = runner->next) {
        if (count <= sched->worker_target || !is_computing(runner) || runner->is_paused ||
            now_ns - runner->turn_ns >= ENGINE_SLICE_NS)
            continue;
        choose(runner);
        room--;
    }
    for (struct engine_runner *runner; room && (runner = next_of(sched)); room--) {
        choose(runner);
        runner->turn_ns = engine_turn_from(runner, now_ns);
    }
    if (count)
        carry_out(sched);
}

static struct engine_sched *of_watch(struct engine_timer *timer) {
    return (struct engine_sched *)((char *)timer - offsetof(struct engine_sched, watch));
}

static bool is_anybody_in(const struct engine_sched *sched) {
    for (const struct engine_runner *runner = sched->runners; runner; runner = runner->next)
        if (tw_state_look(&runner->word) & ENGINE_KIND_MASK)
            return true;
    return false;
}

// After a while without guests it stops ticking; whoever enters one then starts it. Each sets its own word
// first and looks at the other's afterwards, so that they cannot miss each other.
static bool goes_on(struct engine_sched *sched, bool is_busy) {
    sched->quiet_ticks = is_busy ? 0 : sched->quiet_ticks + 1;
    if (sched->quiet_ticks < ENGINE_QUIET_TICKS)
        return true;
    tw_state_publish(&sched->watching, 0);
    return (is_anybody_in(sched) || sched->fair.queued) && tw_state_change(&sched->watching, 0, 1);
}

void engine_runner_watch(struct engine_timer *timer) {
    struct engine_sched *sched = of_watch(timer);
    int64_t now_ns = tw_clock_ns(), next_ns = now_ns + ENGINE_TICK_NS;
    bool is_busy = false;
    tw_lock_take(&sched->lock);
    for (struct engine_runner *runner = sched->runners; runner; runner = runner->next)
        is_busy |= look_at(sched, runner, now_ns, &next_ns);
    share_out(sched, now_ns);
    is_busy |= engine_sched_sweep_locked(sched, now_ns);
    engine_sched_call_worker_locked(sched);
    bool again = goes_on(sched, is_busy);
    engine_sched_give(sched);
    // A slot that has just become free is there again.
    if (again && !engine_timer_set(sched->timers, timer, next_ns))
        tw_state_set(&sched->watching, 0);
}

// SPDX-License-Identifier: Apache-2.0
//
// Threads that run guests, and the watch over them. Entering and leaving a guest costs one atomic word each:
//
//                     enter                         leave
//     IDLE ───────────────────▶ BUSY (entry n) ───────────────▶ IDLE        the usual way, no lock
//                                 │      │ cancel
//                                 │      ▼
//                                 │    KICKED
//     still the same entry at the │      │ next tick
//     next tick, or its deadline  ▼      ▼
//                               MANAGED ───────────────────────▶ IDLE        under the scheduler's lock
//
// The watch is a timer: it ticks each millisecond while a guest runs, and not at all when none does. Whom it
// finds in the same entry twice, and computing, has run for a quantum; it takes charge of that call. From then on the call
// counts as computing: its time is charged to its tenant's share, it is stopped at its deadline, and when more
// guests compute than have room, it is paused at its next poll while others have their turn. A managed call on
// an event loop's thread costs the loop its thread: somebody else takes the loop over (executor.c).
//
// A pause closes the poll page; the fault handler here, asked before Wasmtime's, sleeps until the page is open
// again and returns to the same load. With epochs the callback sleeps. A paused guest holds its thread.

#include "engine/internal.h"

enum { IDLE, BUSY, KICKED, MANAGED, KIND_MASK = 3, KIND_BITS = 2 };
#define WORD(entry, kind) ((entry) << KIND_BITS | (kind))

static _Thread_local struct engine_runner *own;

struct engine_runner *engine_runner_own(void) {
    return own;
}

static struct engine_call *call_of(const struct engine_runner *runner) {
    return (struct engine_call *)(intptr_t)tw_counter_get(&runner->call);
}

// ---- a guest's gate ----

// Waits while it is closed for a pause; false: the guest is to end. Async-signal-safe.
static bool pass_gate(struct engine_instance *instance) {
    for (;;) {
        switch ((enum engine_gate)tw_state_get(&instance->gate)) {
        case ENGINE_GATE_OPEN:
            return true;
        case ENGINE_GATE_PAUSE:
            tw_state_wait(&instance->gate, ENGINE_GATE_PAUSE, -1);
            break;
        case ENGINE_GATE_STOP:
            return false;
        }
    }
}

static bool on_poll_fault(int signal_number, siginfo_t *info, void *ucontext) {
    (void)ucontext;
    const struct engine_call *call = own && signal_number == SIGSEGV ? call_of(own) : NULL;
    if (!call || !call->instance || !call->instance->poll)
        return false;
    uintptr_t page = (uintptr_t)call->instance->poll;
    if ((uintptr_t)info->si_addr - page >= ENGINE_WASM_PAGE)
        return false;
    return pass_gate(call->instance);
}

bool engine_gate_pass(struct engine_instance *instance) {
    return pass_gate(instance);
}

static void install(void) {
    TW_ASSERT(tw_signals_add_fault(on_poll_fault));
}

void engine_runners_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

// Closes the gate for a pause or a stop: the guest comes to it at its next poll.
static void close_gate(struct engine_instance *instance, enum engine_gate gate) {
    struct tw_engine *engine = instance->module->engine;
    tw_state_set(&instance->gate, gate); // before the page: whoever faults finds why
    if (engine->options.interrupt == TW_INTERRUPT_EPOCH)
        wasmtime_engine_increment_epoch(engine->wasmtime);
    else if (instance->poll && !instance->poll_closed)
        instance->poll_closed = engine_poll_page(instance, false);
    if (gate == ENGINE_GATE_STOP)
        tw_state_wake(&instance->gate);
}

static void open_gate(struct engine_instance *instance) {
    if (tw_state_get(&instance->gate) != ENGINE_GATE_PAUSE)
        return;
    // A page that cannot be opened again ends the guest.
    bool open = !instance->poll_closed || engine_poll_page(instance, true);
    instance->poll_closed = !open;
    tw_state_set(&instance->gate, open ? ENGINE_GATE_OPEN : ENGINE_GATE_STOP);
    tw_state_wake(&instance->gate);
}

void engine_gate_stop(struct engine_instance *instance) {
    close_gate(instance, ENGINE_GATE_STOP);
}

// ---- joining, entering, leaving ----

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
    uint32_t word = WORD(++runner->entries, BUSY);
    runner->was_managed = false;
    tw_counter_set(&runner->call, (intptr_t)call);
    tw_counter_set(&runner->deadline_ns, call->invoke->deadline_ns);
    tw_state_publish(&runner->word, word);
    if (!tw_state_look(&sched->watching))
        engine_watch_start(sched);
    if (tw_state_look(&call->cancelled))
        tw_state_change(&runner->word, word, WORD(runner->entries, KICKED));
}

// The time since it was charged last, to its share and to its tenant's account.
static void charge(struct engine_runner *runner, int64_t now_ns) {
    int64_t ns = now_ns - runner->charged_ns;
    runner->charged_ns = now_ns;
    engine_fair_charge(&runner->engine->sched.fair, runner->share, ns);
    tw_account_charge_cpu(call_of(runner)->invoke->account, (uint64_t)(ns > 0 ? ns : 0));
}

// A managed call is over: takes it out of the scheduler's books.
static void release_locked(struct engine_sched *sched, struct engine_runner *runner) {
    int64_t now_ns = tw_clock_ns();
    if (!runner->is_paused)
        charge(runner, now_ns);
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

// The watch has taken charge, or a cancel has come: puts everything back. No system call is made under the lock: at its
// end this thread, which has computed for long, may lose the processor, and all others would wait for the lock until it
// has its turn again.
static void leave_managed(struct engine_runner *runner) {
    struct engine_sched *sched = &runner->engine->sched;
    tw_lock_take(&sched->lock);
    while (sched->acting == runner)
        tw_cond_wait(&sched->acted, &sched->lock, TW_NO_DEADLINE);
    if ((tw_state_get(&runner->word) & KIND_MASK) == MANAGED)
        release_locked(sched, runner);
    tw_state_set(&runner->word, WORD(runner->entries, IDLE)); // from here on nobody acts on it
    struct tw_executor *replaced = runner->replaced;
    runner->replaced = NULL;
    engine_sched_give(sched);
    if (runner->was_managed) {
        open_gate(call_of(runner)->instance);
        tw_thread_stand_back(runner->thread_id, false);
    }
    if (!replaced)
        return;
    runner->is_replaced = true;
    replaced->replaced(replaced);
}

void engine_runner_leave(struct engine_runner *runner) {
    uint32_t word = WORD(runner->entries, BUSY);
    if (!tw_state_change(&runner->word, word, WORD(runner->entries, IDLE)))
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
        if ((word & KIND_MASK) == BUSY)
            tw_state_change(&runner->word, word, word - BUSY + KICKED);
        else if ((word & KIND_MASK) == MANAGED)
            runner->stop_ns = 0;
    }
    engine_sched_give(sched);
    TW_LOCK_SCOPE(&sched->timers->lock);
    engine_timer_hurry_locked(sched->timers, &sched->watch, 0);
}

// ---- the watch ----

// Takes charge of what the runner is in; false: it has just left.
static bool manage(struct engine_sched *sched, struct engine_runner *runner, uint32_t word, int64_t now_ns) {
    if (!tw_state_change(&runner->word, word, WORD(word >> KIND_BITS, MANAGED)))
        return false;
    const struct engine_call *call = call_of(runner);
    const struct tw_invoke *invoke = call->invoke;
    runner->share = engine_fair_get(&sched->fair, invoke->tenant, engine_weight_of(invoke));
    runner->share->held++;
    if (!runner->is_worker) // else it has been counted since it was queued
        engine_crowd_join(&sched->fair, runner->share, now_ns);
    tw_counter_add(&sched->held, 1);
    sched->busy -= runner->is_worker;
    bool is_cancelled = tw_state_look(&call->cancelled);
    if (!is_cancelled && invoke->deadline_ns > now_ns)
        tw_counter_set(&invoke->module->long_calls, ENGINE_LONG_CALLS);
    runner->charged_ns = call->entered_ns;
    charge(runner, now_ns);
    runner->turn_ns = now_ns - ENGINE_SLICE_NS; // the turn it has begun in was not given to it
    runner->stop_ns = is_cancelled ? now_ns : invoke->deadline_ns;
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

// Its thread is one that computes for long, and whose loop it was needs another.
static void set_apart(struct engine_sched *sched, struct engine_runner *runner) {
    struct tw_executor *executor = runner->executor;
    runner->executor = NULL;
    runner->replaced = executor;
    if (executor)
        executor->state->runner = NULL;
    act_begin(sched, runner);
    tw_thread_stand_back(runner->thread_id, true);
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

// One tick's look at a runner; true when it is in a guest. *next_ns becomes earlier where it has to be looked
// at before the next tick.
static bool look_at(struct engine_sched *sched, struct engine_runner *runner, int64_t now_ns,
                    int64_t *next_ns) {
    uint32_t word = tw_state_look(&runner->word), kind = word & KIND_MASK;
    int64_t deadline_ns = tw_counter_get(&runner->deadline_ns);
    bool is_due =
        kind == KICKED || (kind == BUSY && (is_long(runner, word, now_ns) || deadline_ns <= now_ns));
    if (is_due && manage(sched, runner, word, now_ns)) {
        kind = MANAGED;
        set_apart(sched, runner);
    }
    if (kind == MANAGED && runner->stop_ns <= now_ns) {
        runner->stop_ns = now_ns + ENGINE_RESTOP_NS; // a kernel may be launched while this goes on
        act_begin(sched, runner);
        engine_call_stop(call_of(runner));
        act_end(sched);
    }
    int64_t due_ns = kind == MANAGED ? runner->stop_ns : deadline_ns;
    if (kind != IDLE && due_ns < *next_ns)
        *next_ns = due_ns;
    return kind != IDLE;
}

// ---- turns ----

static bool is_computing(const struct engine_runner *runner) {
    return runner->share && !tw_flag_is_raised(&call_of(runner)->stopping);
}

static void choose(struct engine_runner *runner) {
    runner->is_chosen = true;
    runner->share->ahead_ns += ENGINE_SLICE_NS / runner->share->weight;
}

static bool is_before(const struct engine_runner *one, const struct engine_runner *other) {
    uint64_t one_ns = one->share->virtual_ns + one->share->ahead_ns;
    uint64_t other_ns = other->share->virtual_ns + other->share->ahead_ns;
    return one_ns < other_ns ||
           (one_ns == other_ns && call_of(one)->invoke->deadline_ns < call_of(other)->invoke->deadline_ns);
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
            charge(runner, now_ns);
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
            close_gate(call_of(runner)->instance, ENGINE_GATE_PAUSE);
        else
            open_gate(call_of(runner)->instance);
        act_end(sched);
    }
}

// Gives the turns: as many guests compute as there are cores. Whoever is within its turn keeps it; the others
// go by their tenants' virtual time, as if each chosen one had used its turn already, then by deadline.
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
        runner->turn_ns = now_ns;
    }
    if (count)
        carry_out(sched);
}

static struct engine_sched *of_watch(struct engine_timer *timer) {
    return (struct engine_sched *)((char *)timer - offsetof(struct engine_sched, watch));
}

static bool is_anybody_in(const struct engine_sched *sched) {
    for (const struct engine_runner *runner = sched->runners; runner; runner = runner->next)
        if (tw_state_look(&runner->word) & KIND_MASK)
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

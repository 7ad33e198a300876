// SPDX-License-Identifier: Apache-2.0
//
// Who runs when:
//
//     fair.c      calls that wait, a queue a tenant; whose turn it is
//     crowd.c     how long they wait, and who is refused for it
//     executor.c  event loops run short calls themselves, from a queue of their own
//     sched.c     workers run everything else, from the shared queue
//     runner.c    every thread that runs guests
//     watch.c     who runs for long is taken note of, computes on under the share of its tenant, and is paused (gate.c)
//                 while others have their turn
//     habit.c     whose calls took long of late, so that the next ones begin that way
#pragma once

#include "engine/config.h"
#include "telemetry/telemetry.h"

struct engine_call;
struct engine_instance;

// ---- timers (timer.c): one thread that runs what is due ----
// A timer is embedded; guarded by the timers' lock.
struct engine_timer {
    int64_t due_ns;
    size_t slot;                              // in the heap, from 1; 0: not set
    bool unwanted;                            // is being removed
    void (*fire)(struct engine_timer *timer); // on the timers' thread, under no lock
};
struct engine_timers {
    struct tw_lock lock;
    struct tw_cond changed, fired;
    struct engine_timer **heap; // heap[1] is due first
    size_t count, capacity;
    struct engine_timer *firing;
    int64_t sleeping_until_ns;
    bool stopping, started;
    pthread_t thread;
};
[[nodiscard]] bool engine_timers_init(struct engine_timers *timers, struct tw_error *err);
void engine_timers_done(struct engine_timers *timers); // no timer is set
// Sets or moves it. False without memory.
[[nodiscard]] bool engine_timer_set(struct engine_timers *timers, struct engine_timer *timer, int64_t due_ns);
// Moves it forward, if it is set. The caller holds the lock.
void engine_timer_hurry_locked(struct engine_timers *timers, struct engine_timer *timer, int64_t due_ns);
// After it returns the timer is neither set nor firing. Not from `fire`.
void engine_timer_remove(struct engine_timers *timers, struct engine_timer *timer);
// Unsets it; true when it was set, so that it will not fire. Does not wait.
bool engine_timer_take(struct engine_timers *timers, struct engine_timer *timer);

// ---- how crowded it is (crowd.c) ----
// When new calls are refused because others wait. Frozen.
struct engine_patience {
    int64_t target_ns; // the longest wait of a call that comes while the queue stands; 0: nobody is refused
    int64_t burst_ns;  // how long a queue may stand before that
};
// One tenant's part of it. As its share.
struct engine_crowd {
    uint32_t load;    // calls that wait, and those that workers or long calls' threads have begun
    uint32_t weight;  // counted in its queue; 0 without calls
    int64_t since_ns; // since when some of them always had to wait; 0: none does
    int64_t until_ns; // it counts as overloaded until then
    int64_t left_ns;  // when the last one left
    int64_t gap_ns;   // between two that leave while others wait, on average
};

// ---- fair queues (fair.c) ----
// One tenant's part. Guarded as its queue.
struct engine_share {
    uint64_t tenant;
    uint64_t virtual_ns; // computing time received, divided by weight
    uint64_t ahead_ns;   // scratch of the choice among computing guests
    uint32_t weight;
    uint32_t slot;                          // in the heap, from 1; 0: nothing of it may run
    uint32_t queued;                        // calls in the lists
    uint32_t held;                          // threads that its long calls hold
    bool is_barred;                         // has calls, but holds too many threads to begin another
    struct engine_call *woken, *woken_last; // go on before others begin
    struct engine_call *first, *last;       // by deadline
    struct engine_crowd crowd;
};
// Calls that wait, a queue a tenant. The tenant with the least virtual time is next; one that comes back from
// doing nothing begins at the time of the one that was served last. Confined, or guarded by its owner.
struct engine_fair {
    struct tw_map shares; // by tenant
    struct engine_share **heap;
    size_t count, capacity; // of the heap
    uint64_t virtual_ns;
    uint32_t queued, barred;
    uint32_t places;             // calls that run at once; frozen
    uint64_t present_weight;     // of the tenants that have calls
    struct engine_share *latest; // the last one that was looked up
    struct engine_share common;  // of all tenants for whom there was no memory
};
[[nodiscard]] bool engine_fair_init(struct engine_fair *fair, uint32_t places, struct tw_error *err);
void engine_fair_done(struct engine_fair *fair);
// The tenant's share, made if it is not there. Valid until the next engine_fair_get, or as long as it has calls
// or holds threads.
struct engine_share *engine_fair_get(struct engine_fair *fair, uint64_t tenant, uint32_t weight);
enum engine_place { ENGINE_BY_DEADLINE, ENGINE_LAST, ENGINE_WOKEN_FIRST };
void engine_fair_push(struct engine_fair *fair, struct engine_share *share, struct engine_call *call,
                      enum engine_place place);
// The next call, or NULL. `may_begin` says whether the share may begin a call, and not only go on with woken
// ones; shares that may not are barred. NULL: all may.
struct engine_call *engine_fair_pop(struct engine_fair *fair,
                                    bool (*may_begin)(void *context, const struct engine_share *share),
                                    void *context);
// Takes a call out of its queue before its turn.
void engine_fair_remove(struct engine_fair *fair, struct engine_share *share, struct engine_call *call);
// The next share that has calls, barred ones included; `*position` begins as 0. NULL: no more.
struct engine_share *engine_fair_next(struct engine_fair *fair, size_t *position);
// Barred shares are asked again.
void engine_fair_unbar(struct engine_fair *fair);
void engine_fair_charge(struct engine_fair *fair, struct engine_share *share, int64_t ns);

// A call of the tenant has come, or has left: ended or parked.
void engine_crowd_join(struct engine_fair *fair, struct engine_share *share, int64_t now_ns);
void engine_crowd_leave(struct engine_fair *fair, struct engine_share *share, int64_t now_ns);
// One has left that never had its turn: this says nothing about how long the others take.
void engine_crowd_drop(struct engine_fair *fair, struct engine_share *share);
// May another one come? False: how long it would have to wait.
[[nodiscard]] bool engine_crowd_admits(const struct engine_fair *fair, struct engine_share *share,
                                       const struct engine_patience *patience, int64_t now_ns,
                                       int64_t *ret_wait_ns);
// CAPACITY, or CONCURRENCY where other tenants have calls too; with retry_after_s. Returns false.
bool engine_crowd_refuse(const struct engine_fair *fair, struct engine_share *share, int64_t wait_ns,
                         struct tw_error *err);

// ---- runners (runner.c): threads that run guests ----
// What a runner's word says, drawn in runner.c: the kind, and above it the number of the entry.
enum { ENGINE_IDLE, ENGINE_BUSY, ENGINE_KICKED, ENGINE_MANAGED, ENGINE_KIND_MASK = 3, ENGINE_KIND_BITS = 2 };
#define ENGINE_WORD(entry, kind) ((entry) << ENGINE_KIND_BITS | (kind))
// A thread's. `word` and `call` are its own until the watch has taken charge of the call; the second group is
// guarded by the scheduler's lock.
struct engine_runner {
    struct tw_state word;
    struct tw_state stands_back;   // 1: its thread asks for long turns
    struct tw_counter call;        // struct engine_call *, as a number: others may only compare it
    struct tw_counter deadline_ns; // of the call
    uint32_t entries;              // guests entered

    struct engine_runner *next, *prev;
    pthread_t thread;
    pid_t thread_id;
    uint32_t seen; // the word at the last tick
    // When that word was seen first, on the clock and in the thread's CPU time.
    int64_t seen_ns, seen_cpu_ns;
    struct tw_engine *engine;
    struct tw_executor *executor; // whose thread it is; NULL: none's
    struct tw_executor *replaced; // whose thread it was until its call went on for long
    struct engine_share *share;   // while it is managed
    bool is_paused, is_chosen, is_worker;
    bool is_new; // was taken charge of before it began, and has hardly computed: it may be short after all
    bool is_excusing; // a worker's: its call waited in vain, and was taken out of the queue before
    // Its thread's: the last call was managed, and so is charged; the loop it worked for goes on without it.
    bool was_managed, is_replaced;
    int64_t charged_ns; // its computing time is charged up to here
    int64_t turn_ns;    // since when it has its turn
    int64_t stop_ns;    // when it is to be stopped, again
    // When it was stopped first, on the clock and in the thread's CPU time; 0: not yet.
    int64_t stopped_ns, stopped_cpu_ns;
};

// ---- the scheduler (sched.c). Guarded by `lock`, but for the counters. ----
struct engine_sched {
    struct tw_lock lock;
    struct tw_cond some;     // workers wait for calls
    struct tw_cond acted;    // `acting` has changed
    struct engine_fair fair; // calls that wait for a worker, and shares of those that compute
    struct engine_call *leaving,
        **leaving_last; // need not wait any more: cancelled, past their deadline, or answers
    uint32_t max_queued;
    struct engine_patience patience; // frozen
    uint32_t worker_target; // workers that run short calls at once, and computing guests that have a turn
    uint32_t held_max;      // threads in long calls
    uint32_t idle, busy;    // workers that wait for calls; that run one which is not managed
    struct tw_counter held; // managed runners
    bool calls_worker;      // one is woken when the lock is given
    bool starts_worker;     // one is started then, which counts as idle already
    bool is_starting;       // somebody is about to do so
    struct tw_ref wakers;   // who has given the lock and wakes a worker now, and one
    bool stopping;
    pthread_t *workers;
    unsigned worker_count, worker_max;
    struct engine_runner *runners;
    struct engine_runner *acting; // the watch works on its call, without the lock
    struct engine_timers *timers; // frozen
    struct engine_timer watch;
    struct tw_state watching; // 1: the watch ticks
    unsigned quiet_ticks;     // the timers' thread's
    int64_t drain_since_ns;   // of the rate at which calls leave the queue
    uint32_t drained, drain_rate;
    struct tw_counter queued, running; // for statistics
    struct tw_counter oldest_ns; // since when the first of a queue waits, at the last tick; 0: none does
};
[[nodiscard]] bool engine_sched_init(struct tw_engine *engine, struct tw_error *err);
// Ends the workers; no call is running. Other threads may still run start code.
void engine_sched_stop(struct engine_sched *sched);
void engine_sched_done(struct engine_sched *sched); // stopped, and no thread runs guests
// Queues a call. `is_fresh`: bounded; CAPACITY or CONCURRENCY, with retry_after_s, when too many wait. Others
// always find room.
[[nodiscard]] bool engine_sched_push(struct engine_sched *sched, struct engine_call *call,
                                     enum engine_place place, bool is_fresh, struct tw_error *err);
// The call was cancelled: if it waits for a worker it need not any longer. The caller holds the lock.
void engine_sched_excuse_locked(struct engine_sched *sched, struct engine_call *call);
// A worker tells the caller of `answer`, whose guest goes on elsewhere. Never refused.
void engine_sched_answer(struct engine_sched *sched, struct engine_call *answer);
// Excuses those that are past their deadlines. True while calls wait.
bool engine_sched_sweep_locked(struct engine_sched *sched, int64_t now_ns);
// Sees to it that somebody serves the queue, once the lock was given by engine_sched_give.
void engine_sched_call_worker_locked(struct engine_sched *sched);
// Gives the lock and then wakes the worker that was called: it may get this thread's processor at once.
void engine_sched_give(struct engine_sched *sched);
uint32_t engine_sched_queued(const struct engine_sched *sched);
int64_t engine_sched_wait_ns(const struct engine_sched *sched); // of the call that is next in a queue
// May the tenant begin another call that could hold a thread for long?
bool engine_sched_may_begin(struct engine_sched *sched, uint64_t tenant);
uint32_t engine_weight_of(const struct tw_invoke *invoke);

void engine_runners_prepare(void); // once a process, before threads start
void engine_runner_join(struct tw_engine *engine, struct engine_runner *runner);
void engine_runner_part(struct engine_runner *runner); // it is in no guest
struct engine_runner *engine_runner_own(void);         // of this thread, or NULL
// From now on this thread runs guests as `runner`; the one before.
struct engine_runner *engine_runner_use(struct engine_runner *runner);
void engine_runner_enter(struct engine_runner *runner, struct engine_call *call);
// The same for a worker's call that is to be a managed one from its beginning on: waits until it has a turn.
void engine_runner_enter_long(struct engine_runner *runner, struct engine_call *call);
void engine_runner_leave(struct engine_runner *runner);
// The call was cancelled: if it is in a guest, it is stopped soon.
void engine_runner_kick(struct engine_sched *sched, struct engine_call *call);
// Puts its call, whose word is MANAGED or will be, into the scheduler's books.
void engine_runner_manage_locked(struct engine_sched *sched, struct engine_runner *runner, int64_t now_ns);
// The time since it was charged last, to its share and to its tenant's account.
void engine_runner_charge(struct engine_runner *runner, int64_t now_ns);
// Sees to it that the watch ticks. Under no lock.
void engine_watch_start(struct engine_sched *sched);
void engine_runner_watch(struct engine_timer *timer);
// Has it computed for a quantum since `seen_cpu_ns`? However long its turn was: it may have had no processor yet.
bool engine_runner_has_computed(const struct engine_runner *runner);
// Since when a turn counts that is given now: those that are new have short ones.
int64_t engine_turn_from(const struct engine_runner *runner, int64_t now_ns);
static inline struct engine_call *engine_runner_call(const struct engine_runner *runner) {
    return (struct engine_call *)(intptr_t)tw_counter_get(&runner->call);
}

// ---- habits (habit.c): what a tenant's calls of a module were like of late ----
// SHORT: event loops run them. MIXED: workers do. LONG: they begin as managed ones.
enum engine_habit { ENGINE_HABIT_SHORT, ENGINE_HABIT_MIXED, ENGINE_HABIT_LONG };
enum engine_habit engine_habit_of(struct tw_module *module, uint64_t tenant);
void engine_habit_note(struct tw_module *module, uint64_t tenant, bool was_long);
void engine_habit_note_begun(const struct engine_call *call, bool was_long); // one that began as a long call
void engine_habit_note_end(const struct engine_call *call);                  // on the thread that ran it
void engine_habits_done(struct tw_module *module);

// ---- a guest's gate (gate.c): what a closed poll page means ----
enum engine_gate { ENGINE_GATE_OPEN, ENGINE_GATE_PAUSE, ENGINE_GATE_STOP };
// Waits while the gate is closed for a pause; false: the guest is to end. On the guest's thread.
bool engine_gate_pass(struct engine_instance *instance);
// For a pause or a stop: the guest comes to it at its next poll. On the timers' thread.
void engine_gate_close(struct engine_instance *instance, enum engine_gate gate);
void engine_gate_open(struct engine_instance *instance); // unless the guest is to end

// ---- executors (executor.c). Confined to the executor's thread of the moment, but for `runner`. ----
struct engine_executor {
    struct tw_engine *engine;
    struct engine_fair ready;
    struct engine_runner *runner; // NULL: the next thread brings one
    int64_t mean_ns;              // of a call of late
};
// Takes a call that can run at once on the executor's thread. FOR_WORKERS: they have to; REFUSED: too many wait
// (`err`).
enum engine_taken { ENGINE_TAKEN, ENGINE_FOR_WORKERS, ENGINE_REFUSED };
[[nodiscard]] enum engine_taken engine_executor_take(struct tw_executor *executor, struct engine_call *call,
                                                     struct tw_error *err);

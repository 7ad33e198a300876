// SPDX-License-Identifier: Apache-2.0
//
// Threads, locks and conditions with our error type, and a pool of threads for blocking work. Locks are plain
// and not recursive; the order in which they may be taken stands in ARCHITECTURE.md.
#pragma once

#include <pthread.h>

#include "base/error.h"

// Embedded, guarded by itself.
struct tw_lock {
    pthread_mutex_t mutex;
};
struct tw_cond {
    pthread_cond_t cond; // on the monotonic clock
};
void tw_lock_init(struct tw_lock *lock);
void tw_lock_done(struct tw_lock *lock);

static inline void tw_lock_take(struct tw_lock *lock) {
    TW_ASSERT(pthread_mutex_lock(&lock->mutex) == 0);
}

static inline void tw_lock_give(struct tw_lock *lock) {
    TW_ASSERT(pthread_mutex_unlock(&lock->mutex) == 0);
}

void tw_cond_init(struct tw_cond *cond);
void tw_cond_done(struct tw_cond *cond);
// May wake without cause. False when `deadline_ns` (monotonic; TW_NO_DEADLINE for none) has passed.
bool tw_cond_wait(struct tw_cond *cond, struct tw_lock *lock, int64_t deadline_ns);
void tw_cond_wake_one(struct tw_cond *cond);
void tw_cond_wake_all(struct tw_cond *cond);

// Takes the lock until the end of the scope.
#define TW_LOCK_SCOPE(lock)                                                                                  \
    [[gnu::cleanup(tw_lock_give_scope), maybe_unused]] struct tw_lock *tw_lock_scope_ =                      \
        (tw_lock_take(lock), (lock))
static inline void tw_lock_give_scope(struct tw_lock **lock) {
    tw_lock_give(*lock);
}

// Starts a thread with all signals but SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGUSR2 blocked, named for `top`
// and gdb (≤ 15 characters).
[[nodiscard]] bool tw_thread_start(pthread_t *ret_thread, const char *name, void (*run)(void *),
                                   void *context, struct tw_error *err);
void tw_thread_join(pthread_t thread);
// The calling thread's number in the kernel.
pid_t tw_thread_id(void);
// A thread that computes for long stands back: it asks for long turns, so that whoever wakes meanwhile gets the processor
// from it at once and not at the end of a usual turn. What it gets in all stays the same. For Linux's EEVDF scheduler,
// from 6.12 on, without any privilege; older kernels take no notice.
void tw_thread_stand_back(pid_t thread, bool on);
// A thread that others wait for, and that does not compute for long, goes first: where both want a processor it has it nine
// times as often as a usual thread. Where the process may raise priorities, that is as root, with CAP_SYS_NICE, or with a limit
// (RLIMIT_NICE) that allows it; elsewhere nothing changes. Threads that it starts do not go first; standing back ends it.
void tw_thread_go_first(void);
// CPU time that a thread, which runs, has used, in ns.
int64_t tw_thread_cpu_ns(pthread_t thread);

// A pool of threads for blocking work (store, compiler, deploys). Guarded by its own lock. Tenants share it by their
// weights: none holds more than half of the threads, or has the others' tasks refused.
struct tw_account;
struct tw_pool;
struct tw_task {
    void (*run)(struct tw_task *task); // embed the task in what it works on
    struct tw_task *next;              // the pool's
    uint64_t tenant;                   // whose it is
    uint32_t weight;                   // the tenant's; 0: it is the server's own, and goes before all others
};
void tw_task_set_account(struct tw_task *task, const struct tw_account *account); // NULL: the server's own
[[nodiscard]] struct tw_pool *tw_pool_new(const char *name, unsigned threads, size_t max_queued,
                                          struct tw_error *err);
void tw_pool_free(struct tw_pool *pool); // runs what is queued, then joins
// Queues; the task must live until it ran. CAPACITY when the queue is full, QUOTA when the tenant has more in it than is
// left for all.
[[nodiscard]] bool tw_pool_submit(struct tw_pool *pool, struct tw_task *task, struct tw_error *err);
size_t tw_pool_queued(struct tw_pool *pool); // tasks that wait for a thread

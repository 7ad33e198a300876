// SPDX-License-Identifier: Apache-2.0
//
// Locks, conditions and threads on pthreads. Their calls fail only when they are used wrongly (a bug of
// ours); starting a thread alone can fail for want of resources.

#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

enum {
    NAME_SIZE = 16,            // the kernel's limit, with the NUL
    LONG_TURN_NS = 20'000'000, // longer than any thread has by itself (about 3 ms)
    NICE_FIRST = -10, // nine times the weight of others: what it computes is hardly ever owed to them
    NICE_LEAST = -20, // the kernel's
};

// The kernel's (sched_setattr(2)), as of its first version; C libraries of today have none.
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

// What a new thread is told. Confined: made by the starter, then the thread's.
struct start {
    void (*run)(void *);
    void *context;
    char name[NAME_SIZE];
    bool was_first; // the starter goes first
};

static _Thread_local bool goes_first;

void tw_lock_init(struct tw_lock *lock) {
    TW_ASSERT(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

void tw_lock_done(struct tw_lock *lock) {
    TW_ASSERT(pthread_mutex_destroy(&lock->mutex) == 0);
}

void tw_cond_init(struct tw_cond *cond) {
    pthread_condattr_t attributes;
    TW_ASSERT(pthread_condattr_init(&attributes) == 0);
    TW_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    TW_ASSERT(pthread_cond_init(&cond->cond, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

void tw_cond_done(struct tw_cond *cond) {
    TW_ASSERT(pthread_cond_destroy(&cond->cond) == 0);
}

bool tw_cond_wait(struct tw_cond *cond, struct tw_lock *lock, int64_t deadline_ns) {
    if (deadline_ns == TW_NO_DEADLINE) {
        TW_ASSERT(pthread_cond_wait(&cond->cond, &lock->mutex) == 0);
        return true;
    }
    int64_t at = deadline_ns < 0 ? 0 : deadline_ns;
    struct timespec deadline = {.tv_sec = at / TW_NS_PER_S, .tv_nsec = at % TW_NS_PER_S};
    int result = pthread_cond_timedwait(&cond->cond, &lock->mutex, &deadline);
    TW_ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

void tw_cond_wake_one(struct tw_cond *cond) {
    pthread_cond_signal(&cond->cond);
}

void tw_cond_wake_all(struct tw_cond *cond) {
    pthread_cond_broadcast(&cond->cond);
}

// The main thread never goes first: its niceness is the one that the process was given.
static int own_nice(void) {
    return getpriority(PRIO_PROCESS, (id_t)getpid());
}

static void *thread_main(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    if (start.was_first) // a new thread has its starter's
        setpriority(PRIO_PROCESS, (id_t)tw_thread_id(), own_nice());
    pthread_setname_np(pthread_self(), start.name);
    start.run(start.context);
    return NULL;
}

// All signals but the faults of the thread itself and the stop of runaway kernels: the process's signals are
// the main thread's.
static sigset_t blocked_signals(void) {
    static const int open_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGUSR2};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < TW_COUNT(open_signals); i++)
        sigdelset(&set, open_signals[i]);
    return set;
}

bool tw_thread_start(pthread_t *ret_thread, const char *name, void (*run)(void *), void *context,
                     struct tw_error *err) {
    struct start *start = tw_alloc(sizeof(*start));
    if (!start)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory to start thread %s; free some or lower the limits",
                       name);
    *start = (struct start){.run = run, .context = context, .was_first = goes_first};
    snprintf(start->name, sizeof(start->name), "%s", name);
    // A thread begins with its starter's mask, so that no signal finds it open meanwhile.
    sigset_t blocked = blocked_signals(), before;
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int result = pthread_create(ret_thread, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result == 0)
        return true;
    free(start);
    return tw_fail_errno(err, TW_ERR_CAPACITY, result,
                         "thread %s could not be started; raise the process limit", name);
}

pid_t tw_thread_id(void) {
    return (pid_t)syscall(SYS_gettid);
}

void tw_thread_go_first(void) {
    int nice = own_nice() + NICE_FIRST;
    goes_first = setpriority(PRIO_PROCESS, (id_t)tw_thread_id(), nice > NICE_LEAST ? nice : NICE_LEAST) == 0;
}

void tw_thread_stand_back(pid_t thread, bool on) {
    struct attributes attributes = {.size = sizeof(attributes)};
    if (syscall(SYS_sched_getattr, thread, &attributes, sizeof(attributes), 0) != 0 ||
        (attributes.policy != SCHED_OTHER && attributes.policy != SCHED_BATCH))
        return;
    attributes.runtime_ns = on ? LONG_TURN_NS : 0; // 0: the kernel's own choice
    int nice = own_nice();
    if (on && attributes.nice < nice)
        attributes.nice = nice;
    syscall(SYS_sched_setattr, thread, &attributes, 0);
}

int64_t tw_thread_cpu_ns(pthread_t thread) {
    clockid_t clock;
    struct timespec now = {};
    TW_ASSERT(pthread_getcpuclockid(thread, &clock) == 0 && clock_gettime(clock, &now) == 0);
    return now.tv_sec * TW_NS_PER_S + now.tv_nsec;
}

void tw_thread_join(pthread_t thread) {
    TW_ASSERT(pthread_join(thread, NULL) == 0);
}

// SPDX-License-Identifier: Apache-2.0
//
// Locks, conditions, threads and their signal masks.

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/test.h"

enum { THREADS = 4, ROUNDS = 10'000 };

struct shared {
    struct tw_lock lock;
    struct tw_cond cond;
    unsigned count;
    char name[32];
    sigset_t mask;
};

static void shared_init(struct shared *shared) {
    tw_lock_init(&shared->lock);
    tw_cond_init(&shared->cond);
}

static void shared_done(struct shared *shared) {
    tw_cond_done(&shared->cond);
    tw_lock_done(&shared->lock);
}

static void count_locked(void *context) {
    struct shared *shared = context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        TW_LOCK_SCOPE(&shared->lock);
        shared->count++;
        if (shared->count == THREADS * ROUNDS)
            tw_cond_wake_all(&shared->cond);
    }
}

TW_TEST("a scoped lock guards, and a condition tells when it is reached") {
    struct shared shared = {};
    struct tw_error err = {};
    pthread_t threads[THREADS];
    shared_init(&shared);
    for (unsigned i = 0; i < THREADS; i++)
        tw_assert_ok(tw_thread_start(&threads[i], "count", count_locked, &shared, &err), &err);
    tw_lock_take(&shared.lock);
    while (shared.count < THREADS * ROUNDS)
        ck_assert(tw_cond_wait(&shared.cond, &shared.lock, TW_NO_DEADLINE));
    tw_lock_give(&shared.lock);
    for (unsigned i = 0; i < THREADS; i++)
        tw_thread_join(threads[i]);
    ck_assert_uint_eq(shared.count, THREADS * ROUNDS);
    shared_done(&shared);
}

TW_TEST("a wait ends at its deadline, also one that lies in the past") {
    struct shared shared = {};
    shared_init(&shared);
    tw_lock_take(&shared.lock);
    int64_t deadline = tw_clock_ns() + 20 * TW_NS_PER_MS;
    while (tw_cond_wait(&shared.cond, &shared.lock, deadline))
        ;
    ck_assert_int_ge(tw_clock_ns(), deadline);
    ck_assert(!tw_cond_wait(&shared.cond, &shared.lock, 0));
    ck_assert(!tw_cond_wait(&shared.cond, &shared.lock, -5));
    tw_lock_give(&shared.lock);
    shared_done(&shared);
}

static void look_at_self(void *context) {
    struct shared *shared = context;
    pthread_getname_np(pthread_self(), shared->name, sizeof(shared->name));
    pthread_sigmask(SIG_SETMASK, NULL, &shared->mask);
}

TW_TEST("a thread is named, cut to 15 characters, and takes fault signals only") {
    struct shared shared = {};
    struct tw_error err = {};
    pthread_t thread;
    tw_assert_ok(tw_thread_start(&thread, "a-name-that-is-too-long", look_at_self, &shared, &err), &err);
    tw_thread_join(thread);
    ck_assert_str_eq(shared.name, "a-name-that-is-");
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGUSR2},
                     closed[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1};
    for (size_t i = 0; i < TW_COUNT(open); i++)
        ck_assert(!sigismember(&shared.mask, open[i]) && sigismember(&shared.mask, closed[i]));
    sigset_t own;
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    ck_assert(!sigismember(&own, SIGTERM)); // the starter's mask is as before
}

TW_TEST("without memory no thread is started") {
    struct tw_error err = {};
    pthread_t thread;
    tw_fault_configure("alloc:1");
    bool started = tw_thread_start(&thread, "x", look_at_self, NULL, &err);
    tw_fault_configure(NULL);
    ck_assert(!started);
    ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
}

static void note_niceness(void *context) {
    *(int *)context = getpriority(PRIO_PROCESS, 0);
}

static void go_first(void *context) {
    int *niceness = context;
    struct tw_error err = {};
    pthread_t thread;
    tw_thread_go_first();
    niceness[0] = getpriority(PRIO_PROCESS, 0);
    tw_assert_ok(tw_thread_start(&thread, "child", note_niceness, &niceness[1], &err), &err);
    tw_thread_join(thread);
    tw_thread_stand_back(tw_thread_id(), true);
    niceness[2] = getpriority(PRIO_PROCESS, 0);
}

TW_TEST("a thread goes first where the process may raise priorities, and those it starts do not") {
    int niceness[3] = {100, 100, 100}, own = getpriority(PRIO_PROCESS, 0);
    // What the kernel says of it, from a process of its own.
    pid_t child = fork();
    if (child == 0)
        _exit(setpriority(PRIO_PROCESS, 0, own - 10) == 0 ? 0 : 1);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    bool may = WEXITSTATUS(status) == 0;
    struct tw_error err = {};
    pthread_t thread;
    tw_assert_ok(tw_thread_start(&thread, "first", go_first, niceness, &err), &err);
    tw_thread_join(thread);
    int first = own - 10 < -20 ? -20 : own - 10;
    ck_assert_int_eq(niceness[0], may ? first : own);
    ck_assert_int_eq(niceness[1], own);
    ck_assert_int_eq(niceness[2], own);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), own);
}

TW_TEST("a thread that stood back is as it was") {
    ck_assert_int_eq(tw_thread_id(), getpid()); // a test's only thread
    int policy = sched_getscheduler(0), niceness = getpriority(PRIO_PROCESS, 0);
    for (int i = 0; i < 3; i++) {
        tw_thread_stand_back(tw_thread_id(), true);
        ck_assert_int_ge(getpriority(PRIO_PROCESS, 0), niceness);
        tw_thread_stand_back(tw_thread_id(), false);
        ck_assert_int_eq(sched_getscheduler(0), policy);
        ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), niceness);
    }
    tw_thread_stand_back(INT32_MAX, true); // a thread that is not there: nothing happens
}

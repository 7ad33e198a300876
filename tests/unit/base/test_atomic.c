// SPDX-License-Identifier: Apache-2.0
//
// Atomic cells and reference counts under several threads.

#include "harness/test.h"

enum { THREADS = 4, ROUNDS = 20'000 };

struct shared {
    struct tw_flag flag, first;
    struct tw_counter counter, bounded, winners;
    struct tw_state state;
    struct tw_ref ref;
    int payload;
};

static void run_threads(void (*run)(void *), struct shared *shared, unsigned count) {
    pthread_t threads[THREADS];
    struct tw_error err = {};
    for (unsigned i = 0; i < count; i++)
        tw_assert_ok(tw_thread_start(&threads[i], "atomic", run, shared, &err), &err);
    for (unsigned i = 0; i < count; i++)
        tw_thread_join(threads[i]);
}

static void count_up(void *context) {
    struct shared *shared = context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        tw_counter_add(&shared->counter, 1);
        if (tw_counter_add_below(&shared->bounded, 3, 100'000))
            tw_counter_add(&shared->winners, 3);
    }
}

TW_TEST("counters lose nothing, and a bounded one never passes its maximum") {
    struct shared shared = {};
    run_threads(count_up, &shared, THREADS);
    ck_assert_int_eq(tw_counter_get(&shared.counter), THREADS * ROUNDS);
    ck_assert_int_eq(tw_counter_get(&shared.bounded), 99'999);
    ck_assert_int_eq(tw_counter_get(&shared.winners), 99'999);
    tw_counter_set(&shared.bounded, 5);
    ck_assert(!tw_counter_add_below(&shared.bounded, INT64_MAX, INT64_MAX));
    ck_assert(tw_counter_add_below(&shared.bounded, -9, 0));
    ck_assert_int_eq(tw_counter_add(&shared.bounded, 1), -4);
}

static void raise_once(void *context) {
    struct shared *shared = context;
    if (tw_flag_raise_first(&shared->first))
        tw_counter_add(&shared->winners, 1);
}

TW_TEST("one thread alone raises a flag first") {
    struct shared shared = {};
    run_threads(raise_once, &shared, THREADS);
    ck_assert_int_eq(tw_counter_get(&shared.winners), 1);
    ck_assert(tw_flag_is_raised(&shared.first));
    tw_flag_lower(&shared.first);
    ck_assert(!tw_flag_is_raised(&shared.first));
    ck_assert(tw_flag_raise_first(&shared.first));
}

static void wait_for_one(void *context) {
    struct shared *shared = context;
    while (tw_state_get(&shared->state) == 0)
        tw_state_wait(&shared->state, 0, -1);
    tw_counter_add(&shared->counter, shared->payload);
}

static void publish(void *context) {
    struct shared *shared = context;
    shared->payload = 7; // ThreadSanitizer checks that the state publishes this
    ck_assert(tw_state_change(&shared->state, 0, 1));
    tw_state_wake(&shared->state);
}

TW_TEST("a change of state wakes every sleeper and publishes what was written before") {
    struct shared shared = {};
    pthread_t sleepers[THREADS];
    struct tw_error err = {};
    for (unsigned i = 0; i < THREADS; i++)
        tw_assert_ok(tw_thread_start(&sleepers[i], "sleeper", wait_for_one, &shared, &err), &err);
    run_threads(publish, &shared, 1);
    for (unsigned i = 0; i < THREADS; i++)
        tw_thread_join(sleepers[i]);
    ck_assert_int_eq(tw_counter_get(&shared.counter), 7 * THREADS);
    ck_assert(!tw_state_change(&shared.state, 0, 2));
    tw_state_set(&shared.state, 2);
    ck_assert_uint_eq(tw_state_get(&shared.state), 2);
}

TW_TEST("waiting ends with its timeout and keeps errno") {
    struct tw_state state = {};
    int64_t start = tw_clock_ns();
    errno = 77;
    tw_state_wait(&state, 0, 20 * TW_NS_PER_MS);
    ck_assert_int_eq(errno, 77);
    ck_assert_int_ge(tw_clock_ns() - start, 19 * TW_NS_PER_MS);
    tw_state_wait(&state, 1, -1); // another value: returns at once
}

static void up_and_down(void *context) {
    struct shared *shared = context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        tw_ref_up(&shared->ref);
        if (tw_ref_down(&shared->ref))
            tw_counter_add(&shared->winners, 1);
    }
}

TW_TEST("the last holder alone is told so") {
    struct shared shared = {};
    tw_ref_init(&shared.ref);
    run_threads(up_and_down, &shared, THREADS);
    ck_assert_int_eq(tw_counter_get(&shared.winners), 0);
    ck_assert(tw_ref_down(&shared.ref));
}

// SPDX-License-Identifier: Apache-2.0
//
// The memory orders of the atomic cells. Flags and states publish (release) and see what was published
// (acquire); counters order nothing; tw_state_publish and tw_state_look are sequentially consistent. Sleeping on a state is a futex on its word: the kernel compares the word
// again under its own lock, so that a change between our look and our sleep is not missed.

#include "base/atomic.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

void tw_flag_raise(struct tw_flag *flag) {
    atomic_store_explicit(&flag->value, 1, memory_order_release);
}

void tw_flag_lower(struct tw_flag *flag) {
    atomic_store_explicit(&flag->value, 0, memory_order_release);
}

bool tw_flag_is_raised(const struct tw_flag *flag) {
    return atomic_load_explicit(&flag->value, memory_order_acquire) != 0;
}

bool tw_flag_raise_first(struct tw_flag *flag) {
    return atomic_exchange_explicit(&flag->value, 1, memory_order_acq_rel) == 0;
}

int64_t tw_counter_add(struct tw_counter *counter, int64_t delta) {
    return atomic_fetch_add_explicit(&counter->value, delta, memory_order_relaxed);
}

int64_t tw_counter_get(const struct tw_counter *counter) {
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

void tw_counter_set(struct tw_counter *counter, int64_t value) {
    atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

bool tw_counter_add_below(struct tw_counter *counter, int64_t delta, int64_t max) {
    int64_t now = atomic_load_explicit(&counter->value, memory_order_relaxed);
    int64_t sum;
    do {
        if (__builtin_add_overflow(now, delta, &sum) || sum > max)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&counter->value, &now, sum, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

uint32_t tw_state_get(const struct tw_state *state) {
    return atomic_load_explicit(&state->value, memory_order_acquire);
}

void tw_state_set(struct tw_state *state, uint32_t value) {
    atomic_store_explicit(&state->value, value, memory_order_release);
}

bool tw_state_change(struct tw_state *state, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong_explicit(&state->value, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

void tw_state_publish(struct tw_state *state, uint32_t value) {
    atomic_store_explicit(&state->value, value, memory_order_seq_cst);
}

uint32_t tw_state_look(const struct tw_state *state) {
    return atomic_load_explicit(&state->value, memory_order_seq_cst);
}

void tw_state_wait(struct tw_state *state, uint32_t value, int64_t timeout_ns) {
    struct timespec timeout = {.tv_sec = timeout_ns / TW_NS_PER_S, .tv_nsec = timeout_ns % TW_NS_PER_S};
    int saved_errno = errno; // this runs in signal handlers
    syscall(SYS_futex, &state->value, FUTEX_WAIT_PRIVATE, value, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
    errno = saved_errno;
}

void tw_state_wake(struct tw_state *state) {
    int saved_errno = errno;
    syscall(SYS_futex, &state->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    errno = saved_errno;
}

// SPDX-License-Identifier: Apache-2.0
//
// What of the atomic cells is more than an instruction. Sleeping on a state is a futex on its word: the kernel
// compares the word again under its own lock, so that a change between our look and our sleep is not missed.

#include "base/atomic.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

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

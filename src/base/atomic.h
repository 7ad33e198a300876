// SPDX-License-Identifier: Apache-2.0
//
// The few atomic cells other rooms may use, so that memory orders are reasoned about in one place. Flags and states
// publish (release) and see what was published (acquire); counters order nothing; tw_state_publish and tw_state_look
// are sequentially consistent. Inline, because a request passes dozens of them; sleeping is in atomic.c.
#pragma once

#include <stdatomic.h>

#include "base/port.h"

// A flag that is raised once, or lowered and raised, and read from any thread. Raising publishes what was
// written before.
struct tw_flag {
    _Atomic uint32_t value;
};

static inline void tw_flag_raise(struct tw_flag *flag) {
    atomic_store_explicit(&flag->value, 1, memory_order_release);
}

static inline void tw_flag_lower(struct tw_flag *flag) {
    atomic_store_explicit(&flag->value, 0, memory_order_release);
}

static inline bool tw_flag_is_raised(const struct tw_flag *flag) {
    return atomic_load_explicit(&flag->value, memory_order_acquire) != 0;
}

// Raises it; true for the one caller that found it lowered.
static inline bool tw_flag_raise_first(struct tw_flag *flag) {
    return atomic_exchange_explicit(&flag->value, 1, memory_order_acq_rel) == 0;
}

// A signed counter (gauges, tickets). Relaxed: it orders nothing else.
struct tw_counter {
    _Atomic int64_t value;
};

// Gives the value before.
static inline int64_t tw_counter_add(struct tw_counter *counter, int64_t delta) {
    return atomic_fetch_add_explicit(&counter->value, delta, memory_order_relaxed);
}

static inline int64_t tw_counter_get(const struct tw_counter *counter) {
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

static inline void tw_counter_set(struct tw_counter *counter, int64_t value) {
    atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

// Adds `delta` unless the sum would pass `max`; false then, and nothing changed.
[[nodiscard]] bool tw_counter_add_below(struct tw_counter *counter, int64_t delta, int64_t max);

// A one-word state machine: acquire on success and on read, release on change.
struct tw_state {
    _Atomic uint32_t value;
};

static inline uint32_t tw_state_get(const struct tw_state *state) {
    return atomic_load_explicit(&state->value, memory_order_acquire);
}

static inline void tw_state_set(struct tw_state *state, uint32_t value) {
    atomic_store_explicit(&state->value, value, memory_order_release);
}

// `from` → `to`; false when the state was something else.
static inline bool tw_state_change(struct tw_state *state, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong_explicit(&state->value, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

// Set and get in one order that all threads agree on: of two threads that each set one state and then look at
// the other's, at least one sees what the other has set.
static inline void tw_state_publish(struct tw_state *state, uint32_t value) {
    atomic_store_explicit(&state->value, value, memory_order_seq_cst);
}

static inline uint32_t tw_state_look(const struct tw_state *state) {
    return atomic_load_explicit(&state->value, memory_order_seq_cst);
}

// Sleeps while the state is `value` (a futex); may wake without cause. timeout_ns < 0 waits for ever.
// Async-signal-safe.
void tw_state_wait(struct tw_state *state, uint32_t value, int64_t timeout_ns);
void tw_state_wake(struct tw_state *state); // all sleepers

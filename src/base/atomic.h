// SPDX-License-Identifier: Apache-2.0
//
// The few atomic cells other rooms may use, so that memory orders are reasoned about in one place.
#pragma once

#include "base/port.h"

// A flag that is raised once, or lowered and raised, and read from any thread. Raising publishes what was
// written before.
struct tw_flag {
    _Atomic uint32_t value;
};
void tw_flag_raise(struct tw_flag *flag);
void tw_flag_lower(struct tw_flag *flag);
bool tw_flag_is_raised(const struct tw_flag *flag);
// Raises it; true for the one caller that found it lowered.
bool tw_flag_raise_first(struct tw_flag *flag);

// A signed counter (gauges, tickets). Relaxed: it orders nothing else.
struct tw_counter {
    _Atomic int64_t value;
};
int64_t tw_counter_add(struct tw_counter *counter, int64_t delta); // the value before
int64_t tw_counter_get(const struct tw_counter *counter);
void tw_counter_set(struct tw_counter *counter, int64_t value);
// Adds `delta` unless the sum would pass `max`; false then, and nothing changed.
[[nodiscard]] bool tw_counter_add_below(struct tw_counter *counter, int64_t delta, int64_t max);

// A one-word state machine: acquire on success and on read, release on change.
struct tw_state {
    _Atomic uint32_t value;
};
uint32_t tw_state_get(const struct tw_state *state);
void tw_state_set(struct tw_state *state, uint32_t value);
// `from` → `to`; false when the state was something else.
bool tw_state_change(struct tw_state *state, uint32_t from, uint32_t to);
// Set and get in one order that all threads agree on: of two threads that each set one state and then look at
// the other's, at least one sees what the other has set.
void tw_state_publish(struct tw_state *state, uint32_t value);
uint32_t tw_state_look(const struct tw_state *state);
// Sleeps while the state is `value` (a futex); may wake without cause. timeout_ns < 0 waits for ever.
// Async-signal-safe.
void tw_state_wait(struct tw_state *state, uint32_t value, int64_t timeout_ns);
void tw_state_wake(struct tw_state *state); // all sleepers

// SPDX-License-Identifier: Apache-2.0
//
// wasi:scheduler/host@0.1.0: how much time is left, and giving way to other calls.

#include "engine/internal.h"

enum { YIELD_GO_ON = 0, YIELD_DEADLINE_NEAR = 1, YIELD_STOP = 2 };
#define NEAR_NS (50 * TW_NS_PER_MS)

static int state_of(const struct engine_call *call) {
    int64_t deadline_ns = call->invoke->deadline_ns;
    int64_t left_ns = deadline_ns == TW_NO_DEADLINE ? INT64_MAX : deadline_ns - tw_clock_ns();
    if (left_ns <= 0 || tw_state_look(&call->cancelled))
        return YIELD_STOP;
    return left_ns <= NEAR_NS ? YIELD_DEADLINE_NEAR : YIELD_GO_ON;
}

static void finish_yield(struct engine_call *call, wasmtime_val_raw_t *result) {
    result->i32 = state_of(call);
}

wasm_trap_t *engine_scheduler_yield(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    args[0].i32 = state_of(instance->call);
    if (args[0].i32 != YIELD_STOP)
        engine_call_yield(instance->call, finish_yield);
    return NULL;
}

wasm_trap_t *engine_scheduler_deadline_remaining_ms(struct engine_instance *instance,
                                                    wasmtime_val_raw_t *args) {
    int64_t deadline_ns = instance->call->invoke->deadline_ns;
    uint32_t left_ms = UINT32_MAX;
    if (deadline_ns != TW_NO_DEADLINE) {
        int64_t left = (deadline_ns - tw_clock_ns()) / TW_NS_PER_MS;
        left_ms = left < 0 ? 0 : left >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)left;
    }
    args[0].i32 = (int32_t)left_ms;
    return NULL;
}

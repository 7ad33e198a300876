// SPDX-License-Identifier: Apache-2.0
//
// Calls that are cancelled while they are in one long operation. Their guest prepares, notes in its memory that it begins, does the
// operation and then says that it has. There is no poll between: growing the memory has one before it, and leaves enough of the
// budget.
#pragma once

#include "engine_test.h"

#include <sched.h>

#define BEGUN_IMPORTS                                                                                        \
    "(import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"           \
    "(import \"wasi:tensor/host@0.1.0\" \"log\" (func $log (param i32 i32 i32)))"
#define BEGUN_EMIT "(drop (call $emit (i32.const 0) (i32.const 1)))"
// The memory's first byte says it.
#define BEGUN_HERE BEGUN_EMIT "(drop (memory.grow (i32.const 0))) (i32.store8 (i32.const 0) (i32.const 1))"
#define BEGUN_DONE "(call $log (i32.const 0) (i32.const 0) (i32.const 4))" BEGUN_EMIT

struct begun {
    struct engine_test_call call;  // first, as engine_test_over has it
    const volatile uint8_t *began; // in the guest's memory, which is there until the call may end
    struct tw_state is_ready, may_end;
};

static inline bool begun_emit(struct tw_invoke *invoke, struct tw_span bytes) {
    struct begun *begun = invoke->context;
    if (begun->began && bytes.data != begun->began)
        return true; // the operation itself writes
    if (!begun->began) {
        begun->began = bytes.data;
        tw_state_set(&begun->is_ready, 1);
        tw_state_wake(&begun->is_ready);
        return true;
    }
    while (tw_state_get(&begun->may_end) == 0)
        tw_state_wait(&begun->may_end, 0, -1);
    return true;
}

// Runs an export, and cancels it once it is in its operation, or does not. Whether it came to the operation's end; ret_ns, which may be
// NULL: how long it went on.
static inline bool begun_run(struct engine_test *test, struct tw_module *module, const char *export,
                             bool is_cancelled, int64_t *ret_ns) {
    struct begun begun = {};
    engine_test_prepare(&begun.call, module, export, ENGINE_TEST_PATIENCE_MS);
    begun.call.invoke.context = &begun;
    begun.call.invoke.emit = begun_emit;
    engine_test_submit(test, &begun.call);
    while (tw_state_get(&begun.is_ready) == 0)
        tw_state_wait(&begun.is_ready, 0, -1);
    while (*begun.began == 0)
        sched_yield();
    int64_t from_ns = tw_clock_ns();
    if (is_cancelled)
        tw_invoke_cancel(&begun.call.invoke);
    tw_state_set(&begun.may_end, 1);
    tw_state_wake(&begun.may_end);
    engine_test_wait(&begun.call);
    if (ret_ns)
        *ret_ns = tw_clock_ns() - from_ns;
    enum tw_code code = begun.call.invoke.error.code;
    ck_assert_msg(code == TW_OK || (is_cancelled && code == TW_ERR_CANCELLED), "%s: %s", export,
                  begun.call.invoke.error.message);
    bool has_ended = begun.call.invoke.stderr_text.len > 0;
    engine_test_forget(&begun.call);
    return has_ended;
}

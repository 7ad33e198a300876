// SPDX-License-Identifier: Apache-2.0
//
// A guest's gate: how it is paused and stopped. A pause closes the poll page; the fault handler here, asked before
// Wasmtime's, sleeps until the page is open again and returns to the same load. A stop closes it as well, and the
// handler lets Wasmtime turn the fault into a trap. With epochs the callback sleeps. A paused guest holds its thread.

#include "engine/internal.h"

// Async-signal-safe.
bool engine_gate_pass(struct engine_instance *instance) {
    for (;;) {
        switch ((enum engine_gate)tw_state_get(&instance->gate)) {
        case ENGINE_GATE_OPEN:
            return true;
        case ENGINE_GATE_PAUSE:
            tw_state_wait(&instance->gate, ENGINE_GATE_PAUSE, -1);
            break;
        case ENGINE_GATE_STOP:
            return false;
        }
    }
}

static bool on_poll_fault(int signal_number, siginfo_t *info, void *ucontext) {
    (void)ucontext;
    const struct engine_runner *runner = engine_runner_own();
    const struct engine_call *call = runner && signal_number == SIGSEGV ? engine_runner_call(runner) : NULL;
    if (!call || !call->instance || !call->instance->poll)
        return false;
    uintptr_t page = (uintptr_t)call->instance->poll;
    if ((uintptr_t)info->si_addr - page >= ENGINE_WASM_PAGE)
        return false;
    return engine_gate_pass(call->instance);
}

static void install(void) {
    TW_ASSERT(tw_signals_add_fault(on_poll_fault));
}

void engine_runners_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

// Closes the gate for a pause or a stop: the guest comes to it at its next poll.
void engine_gate_close(struct engine_instance *instance, enum engine_gate gate) {
    struct tw_engine *engine = instance->module->engine;
    tw_state_set(&instance->gate, gate); // before the page: whoever faults finds why
    if (engine->options.interrupt == TW_INTERRUPT_EPOCH)
        wasmtime_engine_increment_epoch(engine->wasmtime);
    else if (instance->poll && !instance->poll_closed)
        instance->poll_closed = engine_poll_page(instance, false);
    if (gate == ENGINE_GATE_STOP)
        tw_state_wake(&instance->gate);
}

void engine_gate_open(struct engine_instance *instance) {
    if (tw_state_get(&instance->gate) != ENGINE_GATE_PAUSE)
        return;
    // A page that cannot be opened again ends the guest.
    bool open = !instance->poll_closed || engine_poll_page(instance, true);
    instance->poll_closed = !open;
    tw_state_set(&instance->gate, open ? ENGINE_GATE_OPEN : ENGINE_GATE_STOP);
    tw_state_wake(&instance->gate);
}

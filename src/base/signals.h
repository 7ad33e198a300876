// SPDX-License-Identifier: Apache-2.0
//
// One SIGSEGV/SIGBUS/SIGFPE/SIGILL handler for the process, which asks ours in the order they were added and
// then hands over to whoever was installed before (Wasmtime), then to the default. Also the stop signal
// (SIGUSR2) that ends runaway kernels. Handlers run on the thread that faulted, on its alternate stack, and
// must be async-signal-safe.
#pragma once

#include <signal.h>

#include "base/error.h"

// Returns true when it dealt with the fault (execution goes on at the context it left), or never returns
// (siglongjmp).
typedef bool (*tw_fault_handler)(int signal_number, siginfo_t *info, void *ucontext);

enum { TW_FAULT_HANDLERS_MAX = 4 };
// Call before threads start. False when the table is full.
[[nodiscard]] bool tw_signals_add_fault(tw_fault_handler handler);
// Installs ours on top of what is there now; call after the Wasm engine exists. May be called again: it
// re-installs only if displaced.
[[nodiscard]] bool tw_signals_install(struct tw_error *err);
// Called on SIGUSR2 in the thread it was sent to.
void tw_signals_set_stop(void (*on_stop)(siginfo_t *info, void *ucontext));
// Gives the calling thread an alternate signal stack (64 KiB) if it has none; freed when the thread ends.
[[nodiscard]] bool tw_signals_thread(struct tw_error *err);

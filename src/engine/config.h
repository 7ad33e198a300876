// SPDX-License-Identifier: Apache-2.0
//
// The one set of Wasmtime settings. Code compiled in the compiler process runs in the server only if both
// made their engine here: Wasmtime compares the settings that are baked into code when it loads an artifact.
#pragma once

// wasmtime.h before base/: some of its headers need what base/port.h poisons.
#include <wasmtime.h>

#include "engine/engine.h"

// Sizes that generated code relies on.
#define ENGINE_MEMORY_RESERVATION (4ULL << 30)
#define ENGINE_MEMORY_GUARD       (32ULL << 20)

enum {
    ENGINE_STACK_BYTES_DEFAULT = 1 << 20,
    // Host functions run on the guest's fiber; the deepest (a small kernel that runs at once) stays within
    // 100 KiB.
    ENGINE_STACK_HOST_BYTES = 256 << 10,
};

// The caller adds creators of memory and stacks on the server's side, then gives it to
// wasm_engine_new_with_config. `stack_bytes` is what a guest may use; 0: the default. NULL without memory.
wasm_config_t *engine_config_new(enum tw_interrupt interrupt, size_t stack_bytes);

// Does Wasmtime's text contain that?
bool engine_error_says(const wasmtime_error_t *error, const char *text);
// Fills `err` with the code and Wasmtime's text, cut to fit; frees `error`. Returns false.
bool engine_fail(struct tw_error *err, enum tw_code code, const char *what, wasmtime_error_t *error);

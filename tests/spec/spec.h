// SPDX-License-Identifier: Apache-2.0
//
// Runs what `wast2json` or `wasm-tools json-from-wast` makes of a specification test: modules, actions and what is
// asserted of them. Modules go the engine's way (parsed, rewritten, compiled with its settings, their data written
// and their start code run by the host) or, to compare, straight into Wasmtime.
//
//     spec_run [--plain | --epoch] TEST.json     one line a command: number of the line, command, pass | fail | skip, why
//
//     main.c  commands        modules.c  from a file to an instance        values.c  arguments and results
//
// Confined to one thread. tools/spec_tests.py runs it over folders.
#pragma once

#include <wasmtime.h>

#include "engine/config.h"

// How modules are taken.
enum spec_mode { SPEC_REWRITTEN, SPEC_EPOCH, SPEC_PLAIN };

enum {
    SPEC_INSTANCES_MAX = 4'096,
    SPEC_DEFINITIONS_MAX = 64,
    SPEC_VALUES_MAX = 64,
    SPEC_TEXT_MAX = 400,
    SPEC_BYTES_MAX = 128 << 20,
};

// How an attempt ended. What the specification calls malformed and invalid, this host refuses before anything runs.
enum spec_end {
    SPEC_OK,
    SPEC_REFUSED,     // at parsing, rewriting or compiling
    SPEC_UNSUPPORTED, // refused, because this host does not take a proposal
    SPEC_UNLINKABLE,
    SPEC_TRAPPED,
    SPEC_THREW, // an exception that nothing caught
    SPEC_LOST,  // the test names what is not there, or this program cannot do it
};
struct spec_outcome {
    enum spec_end end;
    char text[SPEC_TEXT_MAX]; // why, when not OK
};

struct spec_instance {
    char name[128]; // "$a"; "" when it has none
    wasmtime_instance_t handle;
};

struct spec_definition {
    char name[128], file[1024];
};

struct spec_run {
    enum spec_mode mode;
    const char *folder; // of the binaries
    wasm_engine_t *engine;
    wasmtime_linker_t *linker;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    struct spec_instance instances[SPEC_INSTANCES_MAX];
    size_t instance_count;
    struct spec_definition definitions[SPEC_DEFINITIONS_MAX];
    size_t definition_count;
    bool has_current; // the newest module became an instance: instances[instance_count - 1]
};

void spec_open(struct spec_run *run, enum spec_mode mode, const char *folder);
void spec_close(struct spec_run *run);

// Compiles a binary file of the test; `ret_module` is the caller's to delete.
[[nodiscard]] bool spec_compile(struct spec_run *run, const char *file, wasmtime_module_t **ret_module,
                                struct spec_outcome *ret_outcome);
// Makes an instance of a binary file of the test, which becomes the current one when that works.
void spec_instantiate(struct spec_run *run, const char *file, const char *name,
                      struct spec_outcome *ret_outcome);
// The effects on others of a module that was refused because a data segment does not fit.
void spec_pretend(struct spec_run *run, const char *file);
// The instance with that name, the current one for "". NULL: none.
const struct spec_instance *spec_find(const struct spec_run *run, const char *name);
// What a call's trap or error means; frees both. True when there was none.
bool spec_judge(struct spec_run *run, wasm_trap_t *trap, wasmtime_error_t *error,
                struct spec_outcome *ret_outcome);

// A value as the test writes it. False: this program has no such value.
[[nodiscard]] bool spec_value(struct spec_run *run, const struct tw_json *json, wasmtime_val_t *ret_value);
// Whether a result is what the test expects; `text` (of SPEC_TEXT_MAX) gets what was found.
[[nodiscard]] bool spec_matches(struct spec_run *run, const struct tw_json *expected,
                                const wasmtime_val_t *value, char *text);

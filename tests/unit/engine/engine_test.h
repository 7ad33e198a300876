// SPDX-License-Identifier: Apache-2.0
//
// What the engine's tests share: an engine with a real compiler process and the CPU device, guests from WAT
// or C, and calls whose outcome is easy to compare.
#pragma once

#include <wasmtime.h>

#include <unistd.h>

#include "engine/internal.h"
#include "harness/test.h"

struct engine_test {
    struct tw_compiler *compiler;
    struct tw_gpu *gpu;
    struct tw_engine *engine;
    char dir[64]; // for image files
};

static inline void engine_test_open(struct engine_test *test, const struct tw_engine_options *more) {
    struct tw_error err = {};
    memset(test, 0, sizeof(*test));
    snprintf(test->dir, sizeof(test->dir), "/tmp/tw-engine-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test->dir));
    const char *program = getenv("TW_TEST_COMPILER");
    struct tw_compiler_options compiler = {
        .program = program ? program : TW_TEST_BIN_DIR "/tensor-wasm-compiler", .processes = 1};
    tw_assert_ok(test->compiler = tw_compiler_new(&compiler, &err), &err);
    struct tw_gpu_options gpu = {
        .device = "cpu", .compiler = test->compiler, .cpu_threads = 2, .max_arenas = 2000};
    tw_assert_ok(test->gpu = tw_gpu_new(&gpu, &err), &err);
    struct tw_engine_options options = more ? *more : (struct tw_engine_options){.warm_per_function = 4};
    options.compiler = test->compiler;
    options.gpu = test->gpu;
    const char *memory = getenv("TW_TEST_MEMORY_BACKEND"); // the same tests on the other one
    if (memory && strcmp(memory, "pooling") == 0)
        options.memory = TW_MEMORY_POOLING;
    tw_assert_ok(test->engine = tw_engine_new(&options, &err), &err);
}

static inline void engine_test_close(struct engine_test *test) {
    tw_engine_free(test->engine);
    tw_gpu_free(test->gpu);
    tw_compiler_free(test->compiler);
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", test->dir);
    ck_assert_int_eq(system(command), 0);
}

// The binary of a text module; the caller frees it.
static inline struct tw_span engine_test_wat(const char *text) {
    wasm_byte_vec_t bytes;
    wasmtime_error_t *error = wasmtime_wat2wasm(text, strlen(text), &bytes);
    if (error) {
        struct tw_error err = {};
        engine_fail(&err, TW_ERR_INTERNAL, "wat2wasm", error);
        ck_abort_msg("%s", err.message);
    }
    uint8_t *copy = malloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    struct tw_span span = {copy, bytes.size};
    wasm_byte_vec_delete(&bytes);
    return span;
}

// Builds a module; NULL and `err` when it is refused.
static inline struct tw_module *engine_test_try(struct engine_test *test, struct tw_span wasm,
                                                const struct tw_module_limits *limits, struct tw_error *err) {
    struct tw_buf image;
    tw_buf_init(&image, 256 << 20);
    struct tw_module *module = tw_module_build(test->engine, wasm, limits, NULL, NULL, &image, err);
    tw_buf_done(&image);
    return module;
}

static inline struct tw_module *engine_test_module(struct engine_test *test, const char *wat) {
    struct tw_error err = {};
    struct tw_span wasm = engine_test_wat(wat);
    struct tw_module *module = engine_test_try(test, wasm, NULL, &err);
    free((void *)(uintptr_t)wasm.data);
    if (!module)
        ck_abort_msg("%s: %s", tw_code_name(err.code), err.message);
    return module;
}

// The error a text module is refused with.
static inline struct tw_error engine_test_refused(struct engine_test *test, const char *wat,
                                                  const struct tw_module_limits *limits) {
    struct tw_error err = {};
    struct tw_span wasm = engine_test_wat(wat);
    struct tw_module *module = engine_test_try(test, wasm, limits, &err);
    free((void *)(uintptr_t)wasm.data);
    ck_assert_ptr_null(module);
    ck_assert_int_ne(err.code, TW_OK);
    return err;
}

// A C guest from a file, compiled with wasi-libc.
static inline struct tw_module *engine_test_c_file(struct engine_test *test, const char *source,
                                                   const char *flags) {
    char command[512], path[96];
    struct tw_error err = {};
    snprintf(command, sizeof(command),
             TW_TEST_CLANG " --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 %s -o %s/guest.wasm %s",
             flags, test->dir, source);
    ck_assert_int_eq(system(command), 0);
    struct tw_buf wasm;
    tw_buf_init(&wasm, 64 << 20);
    snprintf(path, sizeof(path), "%s/guest.wasm", test->dir);
    tw_assert_ok(tw_file_read(path, &wasm, &err), &err);
    struct tw_module *module = engine_test_try(test, tw_buf_span(&wasm), NULL, &err);
    tw_buf_done(&wasm);
    if (!module)
        ck_abort_msg("%s: %s", tw_code_name(err.code), err.message);
    return module;
}

// A C guest from a text.
static inline struct tw_module *engine_test_c(struct engine_test *test, const char *source) {
    char path[96];
    struct tw_error err = {};
    snprintf(path, sizeof(path), "%s/guest.c", test->dir);
    tw_assert_ok(tw_file_write(path, tw_span_of(source, strlen(source)), 0600, &err), &err);
    return engine_test_c_file(test, path, "");
}

// ---- calls ----

// For calls that have to end well: far more than any needs on a busy machine.
enum { ENGINE_TEST_PATIENCE_MS = 250'000 };

// A call and the flag that says it is over. Give it to engine_test_wait, then engine_test_forget.
struct engine_test_call {
    struct tw_invoke invoke;
    struct tw_state over;
    struct tw_value args[4];
};

static inline void engine_test_over(struct tw_invoke *invoke) {
    struct engine_test_call *call = invoke->context;
    tw_state_set(&call->over, 1);
    tw_state_wake(&call->over);
}

static inline void engine_test_prepare(struct engine_test_call *call, struct tw_module *module,
                                       const char *export, int timeout_ms) {
    call->invoke.module = module;
    call->invoke.export = export;
    call->invoke.args = call->args;
    call->invoke.deadline_ns = tw_clock_ns() + timeout_ms * TW_NS_PER_MS;
    call->invoke.done = engine_test_over;
    call->invoke.context = call;
    tw_state_set(&call->over, 0);
}

static inline void engine_test_submit(struct engine_test *test, struct engine_test_call *call) {
    struct tw_error err = {};
    tw_assert_ok(tw_engine_submit(test->engine, &call->invoke, &err), &err);
}

static inline void engine_test_wait(struct engine_test_call *call) {
    while (tw_state_get(&call->over) == 0)
        tw_state_wait(&call->over, 0, -1);
}

static inline void engine_test_forget(struct engine_test_call *call) {
    tw_buf_done(&call->invoke.output);
    tw_buf_done(&call->invoke.stderr_text);
    tw_buf_done(&call->invoke.backtrace);
}

static inline void engine_test_put_args(struct engine_test_call *call, int count, const int *args) {
    for (int i = 0; i < count; i++)
        call->args[i] = (struct tw_value){.type = TW_WASM_I32, .of.i32 = args[i]};
    call->invoke.arg_count = (uint32_t)count;
}

// Calls an export with i32 arguments through the workers and waits; returns its i32 result. The call must
// succeed.
static inline int engine_test_i32(struct engine_test *test, struct tw_module *module, const char *export,
                                  int count, const int *args) {
    struct engine_test_call call = {};
    engine_test_prepare(&call, module, export, ENGINE_TEST_PATIENCE_MS);
    engine_test_put_args(&call, count, args);
    engine_test_submit(test, &call);
    engine_test_wait(&call);
    if (call.invoke.error.code)
        ck_abort_msg("%s: %s: %s", export, tw_code_name(call.invoke.error.code), call.invoke.error.message);
    int result = call.invoke.result_count ? call.invoke.results[0].of.i32 : 0;
    engine_test_forget(&call);
    return result;
}
#define ENGINE_CALL(test, module, export, ...)                                                               \
    engine_test_i32((test), (module), (export), (int)(sizeof((int[]){0, ##__VA_ARGS__}) / sizeof(int)) - 1,  \
                    (int[]){0, ##__VA_ARGS__} + 1)

// Calls and returns the error; the rest of the outcome is in `call`.
static inline enum tw_code engine_test_code(struct engine_test *test, struct tw_module *module,
                                            const char *export, int timeout_ms,
                                            struct engine_test_call *call) {
    engine_test_prepare(call, module, export, timeout_ms);
    engine_test_submit(test, call);
    engine_test_wait(call);
    return call->invoke.error.code;
}

// How many guests are paused now.
static inline unsigned engine_test_paused(struct engine_test *test) {
    struct engine_sched *sched = &test->engine->sched;
    unsigned count = 0;
    TW_LOCK_SCOPE(&sched->lock);
    for (const struct engine_runner *runner = sched->runners; runner; runner = runner->next)
        count += runner->is_paused;
    return count;
}

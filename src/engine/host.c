// SPDX-License-Identifier: Apache-2.0
//
// The way from Wasm into a host function and back. Functions that cannot wait are called unchecked: a pointer
// to the arguments, 5 ns. Those that may wait are Wasmtime's async host functions: the handler either has its
// result at once, or has armed the call; then the fiber is left (the future is pending) and polled again when
// the call was woken.

#include "engine/internal.h"

// ---- the table ----

enum { CUDA_MODULES = 3, IMPORTS_MAX = 512 };

static struct engine_import imports[IMPORTS_MAX];
static uint32_t import_count;

static void add(struct engine_import import) {
    TW_ASSERT(import_count < IMPORTS_MAX);
    imports[import_count++] = import;
}

static void make_table(void) {
    static const char *const cuda_modules[CUDA_MODULES] = {"wasi_cuda", "wasi:cuda/host@0.2.0",
                                                           "wasi:cuda/host@0.1.0"};
#define HOST(module, name, signature, handler, may_suspend)                                                  \
    add((struct engine_import){module, name, signature, handler, may_suspend});
#define HOST_CUDA(name, signature, handler, may_suspend)
#include "engine/host.def"
#undef HOST
#undef HOST_CUDA
    for (size_t i = 0; i < TW_COUNT(cuda_modules); i++) {
#define HOST(module, name, signature, handler, may_suspend)
#define HOST_CUDA(name, signature, handler, may_suspend)                                                     \
    add((struct engine_import){cuda_modules[i], name, signature, handler, may_suspend});                     \
    add((struct engine_import){cuda_modules[i], "wasi_cuda_" name, signature, handler, may_suspend});
#include "engine/host.def"
#undef HOST
#undef HOST_CUDA
    }
}

const struct engine_import *engine_imports(uint32_t *ret_count) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_table);
    *ret_count = import_count;
    return imports;
}

// ---- calls that cannot wait ----

static struct engine_instance *instance_of(wasmtime_caller_t *caller) {
    struct engine_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    if (instance->is_pooled) // its memory may have grown
        engine_pooling_look(instance);
    return instance;
}

static wasm_trap_t *call_at_once(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                 size_t count) {
    const struct engine_import *import = env;
    struct engine_instance *instance = instance_of(caller);
    struct engine_call *call = instance->call;
    (void)count;
    if (!engine_call_take_hold(call))
        return engine_stop_trap();
    wasm_trap_t *trap = import->handler(instance, args);
    engine_call_let_go(call);
    return trap;
}

// ---- what takes long ----

bool engine_is_stopping(const struct engine_instance *instance) {
    return tw_flag_is_raised(&instance->call->stopping);
}

bool engine_copy(const struct engine_instance *instance, void *to, const void *from, size_t len) {
    for (size_t done = 0, part; done < len; done += part) {
        if (engine_is_stopping(instance))
            return false;
        part = engine_slice(len - done);
        memcpy((uint8_t *)to + done, (const uint8_t *)from + done, part);
    }
    return true;
}

// ---- calls that may wait ----

static bool always_done(void *env) {
    (void)env;
    return true;
}

static void put_result(struct engine_wait *wait, const wasmtime_val_raw_t *raw, wasmtime_valkind_t kind) {
    if (!wait->result_count)
        return;
    wait->results[0].kind = kind;
    wait->results[0].of.i64 = kind == WASMTIME_I64 ? raw->i64 : 0;
    if (kind == WASMTIME_I32)
        wait->results[0].of.i32 = raw->i32;
}

static wasmtime_valkind_t result_kind(const struct engine_import *import) {
    const char *colon = strchr(import->signature, ':');
    return colon[1] == 'I' ? WASMTIME_I64 : WASMTIME_I32;
}

// Polled when the call was just armed, and again when it was woken. What was left because the call is to end has no result.
static bool is_woken(void *env) {
    struct engine_call *call = env;
    struct engine_wait *wait = &call->wait;
    if (tw_state_get(&call->state) != ENGINE_WOKEN)
        return false;
    tw_state_set(&call->state, ENGINE_RUNNING);
    wasmtime_val_raw_t raw = {};
    if (!tw_flag_is_raised(&call->stopping))
        wait->finish(call, &raw);
    if (tw_flag_is_raised(&call->stopping))
        *wait->trap = engine_stop_trap();
    else
        put_result(wait, &raw, wait->results[0].kind);
    engine_call_let_go(call);
    return true;
}

// Calls the handler; true: it waits.
static bool begin_wait(struct engine_call *call, const struct engine_import *import,
                       wasmtime_val_raw_t *raw) {
    struct engine_wait *wait = &call->wait;
    *wait->trap =
        tw_flag_is_raised(&call->stopping) ? engine_stop_trap() : import->handler(call->instance, raw);
    if (*wait->trap || wait->finish)
        return !*wait->trap;
    if (tw_flag_is_raised(&call->stopping))
        *wait->trap = engine_stop_trap();
    else
        put_result(wait, &raw[0], result_kind(import));
    return false;
}

static void call_may_wait(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args, size_t arg_count,
                          wasmtime_val_t *results, size_t result_count, wasm_trap_t **ret_trap,
                          wasmtime_async_continuation_t *ret_continuation) {
    enum { ARGS_MAX = 16 };
    const struct engine_import *import = env;
    struct engine_call *call = instance_of(caller)->call;
    struct engine_wait *wait = &call->wait;
    wasmtime_val_raw_t raw[ARGS_MAX] = {};
    for (size_t i = 0; i < arg_count && i < ARGS_MAX; i++)
        raw[i].i64 = args[i].kind == WASMTIME_I64 ? args[i].of.i64 : args[i].of.i32;
    *ret_continuation = (wasmtime_async_continuation_t){.callback = always_done};
    if (!engine_call_take_hold(call)) {
        *ret_trap = engine_stop_trap();
        return;
    }
    wait->finish = NULL;
    wait->trap = ret_trap;
    wait->results = results;
    wait->result_count = result_count;
    if (result_count)
        results[0].kind = result_kind(import);
    if (begin_wait(call, import, raw))
        *ret_continuation = (wasmtime_async_continuation_t){.callback = is_woken, .env = call};
    else
        engine_call_let_go(call);
}

// ---- linking ----

static wasm_functype_t *make_type(const char *signature) {
    wasm_valtype_t *types[2][16];
    size_t counts[2] = {};
    unsigned side = 0;
    for (const char *c = signature; *c; c++) {
        if (*c == ':')
            side = 1;
        else
            types[side][counts[side]++] = wasm_valtype_new(*c == 'I' ? WASM_I64 : WASM_I32);
    }
    wasm_valtype_vec_t params, results;
    wasm_valtype_vec_new(&params, counts[0], types[0]);
    wasm_valtype_vec_new(&results, counts[1], types[1]);
    return wasm_functype_new(&params, &results);
}

bool engine_link(wasmtime_linker_t *linker, struct tw_error *err) {
    uint32_t count;
    const struct engine_import *table = engine_imports(&count);
    for (uint32_t i = 0; i < count; i++) {
        wasm_functype_t *type = make_type(table[i].signature);
        const struct engine_import *import = &table[i];
        void *env = &imports[i];
        size_t module_len = strlen(import->module), name_len = strlen(import->name);
        wasmtime_error_t *error =
            import->may_suspend
                ? wasmtime_linker_define_async_func(linker, import->module, module_len, import->name,
                                                    name_len, type, call_may_wait, env, NULL)
                : wasmtime_linker_define_func_unchecked(linker, import->module, module_len, import->name,
                                                        name_len, type, call_at_once, env, NULL);
        wasm_functype_delete(type);
        if (error)
            return engine_fail(err, TW_ERR_INTERNAL, import->name, error);
    }
    return true;
}

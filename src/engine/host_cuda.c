// SPDX-License-Identifier: Apache-2.0
//
// wasi_cuda: the guest's side of gpu/. Guest ranges are checked here, everything else there. A call that
// fails leaves its text for last_error_copy and answers the code of the guest ABI. The device context is made
// at first use and reset with the instance. What waits (launch, sync, compiling PTX) gives the thread away. Device
// memory is in host_cuda_memory.c.

#include "engine/host_cuda.h"

enum { PTX_MAX = 8 << 20 }; // one load, part of the guest ABI

int engine_cuda_code(enum tw_code code) {
    static const struct {
        enum tw_code code;
        int value;
    } codes[] = {
        {TW_ERR_CUDA_NOT_AVAILABLE, -1},
        {TW_ERR_CUDA_INVALID_POINTER, -2},
        {TW_ERR_CUDA_INVALID_KERNEL, -3},
        {TW_ERR_NOT_FOUND, -3},
        {TW_ERR_KERNEL_SIGNATURE, -3},
        {TW_ERR_CUDA_MALFORMED_PTX, -4},
        {TW_ERR_COMPILE_FAILED, -4},
        {TW_ERR_CUDA_LAUNCH_FAILED, -5},
        {TW_ERR_CUDA_QUOTA, -6},
        {TW_ERR_QUOTA, -6},
        {TW_ERR_CAPACITY, -6},
        {TW_ERR_TIMEOUT, -6},
        {TW_ERR_CUDA_INVALID_DIMENSIONS, -8},
        {TW_ERR_CUDA_INVALID_ARGS, -9},
        {TW_ERR_CUDA_ARGS_UNSUPPORTED, -10},
        {TW_ERR_CUDA_INVALID_HANDLE, -11},
    };
    for (size_t i = 0; i < TW_COUNT(codes); i++) {
        if (codes[i].code == code)
            return codes[i].value;
    }
    return -7; // internal
}

int engine_cuda_fail(struct engine_instance *instance, const struct tw_error *error) {
    struct engine_host *host = &instance->host;
    size_t len = strlen(error->message);
    host->gpu_error_len = (uint32_t)(len < sizeof(host->gpu_error) ? len : sizeof(host->gpu_error));
    memcpy(host->gpu_error, error->message, host->gpu_error_len);
    return engine_cuda_code(error->code);
}

wasm_trap_t *engine_cuda_answer32(struct engine_instance *instance, wasmtime_val_raw_t *args, bool ok,
                                  const struct tw_error *error) {
    args[0].i32 = ok ? 0 : engine_cuda_fail(instance, error);
    return NULL;
}

wasm_trap_t *engine_cuda_answer64(struct engine_instance *instance, wasmtime_val_raw_t *args, bool ok,
                                  int64_t value, const struct tw_error *error) {
    args[0].i64 = ok ? value : engine_cuda_fail(instance, error);
    return NULL;
}

// NULL: none that this instance could use.
static struct tw_gpu *devices_of(const struct engine_instance *instance) {
    return instance->is_pooled ? NULL : instance->module->engine->options.gpu;
}

struct tw_gpu_context *engine_cuda_context(struct engine_instance *instance, struct tw_error *err) {
    if (instance->gpu)
        return instance->gpu;
    if (instance->is_pooled) {
        tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE,
                "devices need memory that the server owns; start it with --memory-backend owned");
        return NULL;
    }
    struct tw_gpu *gpu = devices_of(instance);
    struct tw_gpu_device *device = gpu ? tw_gpu_device_default(gpu) : NULL;
    if (!device) {
        tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE, "this host has no device");
        return NULL;
    }
    struct tw_gpu_limits limits = {.account = instance->account};
    struct tw_gpu_context *context =
        tw_gpu_context_new(device, instance->arena, instance->tenant, &limits, err);
    TW_LOCK_SCOPE(&instance->gpu_lock);
    instance->gpu = context;
    return context;
}

// A range of the guest's memory, or CUDA_INVALID_POINTER.
uint8_t *engine_cuda_range(const struct engine_instance *instance, const wasmtime_val_raw_t *ptr,
                           uint64_t len, const char *what, struct tw_error *err) {
    uint8_t *at = engine_guest(instance, (uint32_t)ptr->i32, len);
    if (!at)
        tw_fail(err, TW_ERR_CUDA_INVALID_POINTER,
                "%s: %" PRIu64 " bytes at %" PRIu32 " leave the guest's memory of %" PRIu64 " bytes", what,
                len, (uint32_t)ptr->i32, instance->memory ? instance->memory->size : 0);
    return at;
}

// ---- spans: one a load, launch or sync, from its call to its end ----

static void span_begin(struct engine_call *call, enum tw_trace_span span, int64_t amount) {
    if (!tw_trace_is_on(call->invoke->trace))
        return;
    call->wait.span = span;
    call->wait.amount = amount;
    call->wait.started_ns = tw_clock_ns();
}

static void span_end(const struct engine_call *call, enum tw_code code) {
    if (tw_trace_is_on(call->invoke->trace))
        tw_trace_span(call->invoke->trace, call->wait.span, call->wait.started_ns, tw_clock_ns(), code,
                      call->wait.amount);
}

// ---- kernels ----

static void finish_load(struct engine_call *call, wasmtime_val_raw_t *result) {
    span_end(call, call->wait.error.code);
    result->i64 =
        call->wait.error.code ? engine_cuda_fail(call->instance, &call->wait.error) : call->wait.kernel;
}

// On a thread of its own: compiling takes milliseconds.
static void run_load(struct tw_task *task) {
    struct engine_call *call = (struct engine_call *)((char *)task - offsetof(struct engine_call, wait.task));
    struct engine_wait *wait = &call->wait;
    int64_t kernel = 0;
    if (tw_gpu_load_ptx(call->instance->gpu, wait->ptx, wait->entry, call->invoke->deadline_ns, &kernel,
                        &wait->error))
        wait->kernel = kernel;
    engine_call_wake(call);
}

static bool check_load(const struct engine_instance *instance, const wasmtime_val_raw_t *args,
                       struct engine_wait *wait, struct tw_error *err) {
    uint32_t ptx_len = (uint32_t)args[1].i32, entry_len = (uint32_t)args[3].i32;
    if (ptx_len > PTX_MAX)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%" PRIu32 " bytes of PTX, the limit is %d; split the kernels",
                       ptx_len, PTX_MAX);
    if (entry_len > ENGINE_ENTRY_MAX)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "an entry's name of %" PRIu32 " bytes, the limit is %d",
                       entry_len, ENGINE_ENTRY_MAX);
    const uint8_t *ptx = engine_cuda_range(instance, &args[0], ptx_len, "load_ptx: the PTX", err);
    const uint8_t *entry =
        ptx ? engine_cuda_range(instance, &args[2], entry_len, "load_ptx: the entry's name", err) : NULL;
    if (!entry)
        return false;
    wait->ptx = tw_str_of((const char *)ptx, ptx_len);
    wait->entry = tw_str_of((const char *)entry, entry_len);
    return true;
}

// The call waits while `run` works on another thread.
static wasm_trap_t *load_elsewhere(struct engine_instance *instance, wasmtime_val_raw_t *args,
                                   void (*run)(struct tw_task *task)) {
    struct engine_call *call = instance->call;
    struct tw_error err = {};
    call->wait.error = (struct tw_error){};
    call->wait.task = (struct tw_task){.run = run};
    tw_task_set_account(&call->wait.task, call->invoke->account);
    engine_call_arm(call, finish_load);
    if (tw_pool_submit(instance->module->engine->blocking, &call->wait.task, &err))
        return NULL;
    engine_call_disarm(call);
    span_end(call, err.code);
    return engine_cuda_answer64(instance, args, false, 0, &err);
}

wasm_trap_t *engine_cuda_load_ptx(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct engine_call *call = instance->call;
    struct engine_wait *wait = &call->wait;
    struct tw_error err = {};
    if (!check_load(instance, args, wait, &err) || !engine_cuda_context(instance, &err))
        return engine_cuda_answer64(instance, args, false, 0, &err);
    span_begin(call, TW_SPAN_LOAD_PTX, (int64_t)wait->ptx.len);
    if (tw_gpu_ptx_is_cached(instance->gpu, wait->ptx, wait->entry)) {
        int64_t kernel = 0;
        bool ok =
            tw_gpu_load_ptx(instance->gpu, wait->ptx, wait->entry, call->invoke->deadline_ns, &kernel, &err);
        span_end(call, err.code);
        return engine_cuda_answer64(instance, args, ok, kernel, &err);
    }
    return load_elsewhere(instance, args, run_load);
}

// ---- published kernels ----

// On a thread of its own: the registry may read the store, and the kernel may have to be compiled.
static void run_load_kernel(struct tw_task *task) {
    struct engine_call *call = (struct engine_call *)((char *)task - offsetof(struct engine_call, wait.task));
    struct engine_wait *wait = &call->wait;
    const struct tw_kernel_registry *registry = &call->engine->options.registry;
    struct tw_registered_kernel found = {};
    int64_t kernel = 0;
    // Copies: a kernel that still runs may change the guest's memory.
    char name[ENGINE_REGISTERED_MAX], version[ENGINE_REGISTERED_MAX];
    memcpy(name, wait->name.data, wait->name.len);
    memcpy(version, wait->version.data, wait->version.len);
    if (registry->find(registry->context, call->invoke->tenant, tw_str_of(name, wait->name.len),
                       tw_str_of(version, wait->version.len), true, &found, &wait->error) &&
        tw_gpu_load_ptx(call->instance->gpu, tw_str_of((const char *)found.ptx.data, found.ptx.len),
                        tw_str_from(found.entry), call->invoke->deadline_ns, &kernel, &wait->error))
        wait->kernel = kernel;
    tw_file_unmap(&found.ptx);
    engine_call_wake(call);
}

static bool check_load_kernel(const struct engine_instance *instance, const wasmtime_val_raw_t *args,
                              struct engine_wait *wait, struct tw_error *err) {
    uint32_t name_len = (uint32_t)args[1].i32, version_len = (uint32_t)args[3].i32;
    const uint8_t *name = engine_cuda_range(instance, &args[0], name_len, "load_kernel: the name", err);
    const uint8_t *version =
        name ? engine_cuda_range(instance, &args[2], version_len, "load_kernel: the version", err) : NULL;
    if (!version)
        return false;
    if (name_len > ENGINE_REGISTERED_MAX || version_len > ENGINE_REGISTERED_MAX)
        return tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL,
                       "names and versions of kernels have at most %d characters", ENGINE_REGISTERED_MAX);
    wait->name = tw_str_of((const char *)name, name_len);
    wait->version = tw_str_of((const char *)version, version_len);
    return instance->module->engine->options.registry.find ||
           tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE, "this host has no kernel registry; use load_ptx");
}

// Without waiting: the registry knows it, and its code is loaded. `*ret_kernel` is 0 when that is not so.
static bool load_known(struct engine_instance *instance, const struct engine_wait *wait, int64_t *ret_kernel,
                       struct tw_error *err) {
    const struct tw_kernel_registry *registry = &instance->module->engine->options.registry;
    struct tw_registered_kernel found;
    struct tw_error ignored = {};
    *ret_kernel = 0;
    if (!registry->find(registry->context, instance->call->invoke->tenant, wait->name, wait->version, false,
                        &found, &ignored))
        return true;
    return tw_gpu_load_known(instance->gpu, &found.digest, tw_str_from(found.entry), ret_kernel, err);
}

wasm_trap_t *engine_cuda_load_kernel(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct engine_call *call = instance->call;
    struct engine_wait *wait = &call->wait;
    struct tw_error err = {};
    int64_t kernel = 0;
    if (!check_load_kernel(instance, args, wait, &err) || !engine_cuda_context(instance, &err))
        return engine_cuda_answer64(instance, args, false, 0, &err);
    span_begin(call, TW_SPAN_LOAD_PTX, 0);
    bool ok = load_known(instance, wait, &kernel, &err);
    if (ok && !kernel)
        return load_elsewhere(instance, args, run_load_kernel);
    span_end(call, err.code);
    return engine_cuda_answer64(instance, args, ok, kernel, &err);
}

// Wakes the call whose waiter it is.
static void notify(struct tw_gpu_waiter *waiter) {
    engine_call_wake((struct engine_call *)((char *)waiter - offsetof(struct engine_call, wait.waiter)));
}

// What kernels printed goes where the guest's own standard error goes.
void engine_cuda_take_prints(struct engine_instance *instance) {
    tw_gpu_log_take(instance->gpu, &instance->call->invoke->stderr_text);
}

bool engine_cuda_drain(struct engine_call *call) {
    call->wait.waiter = (struct tw_gpu_waiter){.notify = notify};
    engine_call_arm(call, NULL);
    if (tw_gpu_wait_prints(call->instance->gpu, &call->wait.waiter) == TW_GPU_PENDING)
        return false;
    engine_call_disarm(call);
    return true;
}

static void finish_waiter(struct engine_call *call, wasmtime_val_raw_t *result) {
    const struct tw_error *error = &call->wait.waiter.error;
    span_end(call, error->code);
    engine_cuda_take_prints(call->instance);
    result->i32 = error->code ? engine_cuda_fail(call->instance, error) : 0;
}

struct tw_gpu_waiter *engine_cuda_arm(struct engine_call *call,
                                      void (*finish)(struct engine_call *, wasmtime_val_raw_t *)) {
    call->wait.waiter = (struct tw_gpu_waiter){.notify = notify};
    engine_call_arm(call, finish);
    return &call->wait.waiter;
}

static wasm_trap_t *answer_progress(struct engine_instance *instance, wasmtime_val_raw_t *args,
                                    enum tw_gpu_progress progress, const struct tw_error *error) {
    if (progress == TW_GPU_PENDING)
        return NULL;
    engine_call_disarm(instance->call);
    span_end(instance->call, error->code);
    engine_cuda_take_prints(instance);
    return engine_cuda_answer32(instance, args, progress == TW_GPU_DONE, error);
}

static int64_t threads_of(const struct tw_gpu_launch *launch) {
    uint64_t threads = 1;
    for (int i = 0; i < 3; i++) // saturates: the numbers are the guest's and not checked yet
        if (__builtin_mul_overflow(threads, (uint64_t)launch->grid[i] * launch->block[i], &threads))
            return INT64_MAX;
    return threads < INT64_MAX ? (int64_t)threads : INT64_MAX;
}

static bool make_launch(struct engine_instance *instance, const wasmtime_val_raw_t *args,
                        struct tw_gpu_launch *launch, struct tw_error *err) {
    uint32_t args_len = (uint32_t)args[9].i32;
    if (args_len > ENGINE_ARGS_MAX)
        return tw_fail(err, TW_ERR_CUDA_ARGS_UNSUPPORTED, "%" PRIu32 " bytes of arguments, the limit is %d",
                       args_len, ENGINE_ARGS_MAX);
    const uint8_t *records = engine_cuda_range(instance, &args[8], args_len, "launch: the arguments", err);
    if (!records)
        return false;
    *launch = (struct tw_gpu_launch){
        .kernel = args[0].i64,
        .grid = {(uint32_t)args[1].i32, (uint32_t)args[2].i32, (uint32_t)args[3].i32},
        .block = {(uint32_t)args[4].i32, (uint32_t)args[5].i32, (uint32_t)args[6].i32},
        .shared_bytes = (uint32_t)args[7].i32,
        .args = tw_span_of(records, args_len),
        .memory_bytes = instance->memory->size,
        .deadline_ns = instance->call->invoke->deadline_ns,
    };
    return true;
}

wasm_trap_t *engine_cuda_launch(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    struct tw_gpu_launch launch;
    if (!make_launch(instance, args, &launch, &err) || !engine_cuda_context(instance, &err))
        return engine_cuda_answer32(instance, args, false, &err);
    span_begin(instance->call, TW_SPAN_LAUNCH, threads_of(&launch));
    struct tw_gpu_waiter *waiter = engine_cuda_arm(instance->call, finish_waiter);
    return answer_progress(instance, args, tw_gpu_launch(instance->gpu, &launch, waiter, &err), &err);
}

wasm_trap_t *engine_cuda_launch_async(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    struct tw_gpu_launch launch;
    bool ok = make_launch(instance, args + 1, &launch, &err) && engine_cuda_context(instance, &err);
    if (ok) {
        launch.stream = args[0].i64;
        ok = tw_gpu_launch_async(instance->gpu, &launch, &err);
    }
    return engine_cuda_answer32(instance, args, ok, &err);
}

static wasm_trap_t *sync_streams(struct engine_instance *instance, wasmtime_val_raw_t *args, int64_t stream) {
    struct tw_error err = {};
    if (!engine_cuda_context(instance, &err))
        return engine_cuda_answer32(instance, args, false, &err);
    span_begin(instance->call, TW_SPAN_SYNC, 0);
    struct tw_gpu_waiter *waiter = engine_cuda_arm(instance->call, finish_waiter);
    return answer_progress(instance, args, tw_gpu_sync(instance->gpu, stream, waiter, &err), &err);
}

wasm_trap_t *engine_cuda_sync(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return sync_streams(instance, args, -1);
}

wasm_trap_t *engine_cuda_stream_sync(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    if (args[0].i64 < 0) { // means all streams to gpu/, nothing to guests
        tw_fail(&err, TW_ERR_CUDA_INVALID_HANDLE, "there is no stream %" PRId64, args[0].i64);
        return engine_cuda_answer32(instance, args, false, &err);
    }
    return sync_streams(instance, args, args[0].i64);
}

wasm_trap_t *engine_cuda_stream_create(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_error err = {};
    int64_t stream = 0;
    struct tw_gpu_context *context = engine_cuda_context(instance, &err);
    bool ok = context && tw_gpu_stream_new(context, &stream, &err);
    return engine_cuda_answer64(instance, args, ok, stream, &err);
}

// ---- devices and errors ----

wasm_trap_t *engine_cuda_device_count(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_gpu *gpu = devices_of(instance);
    args[0].i32 = gpu ? (int32_t)tw_gpu_device_count(gpu) : 0;
    return NULL;
}

wasm_trap_t *engine_cuda_device_info(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct tw_gpu *gpu = devices_of(instance);
    uint32_t index = (uint32_t)args[0].i32, len = (uint32_t)args[2].i32;
    struct tw_error err = {};
    struct tw_gpu_device *device = gpu ? tw_gpu_device_at(gpu, index) : NULL;
    if (!device)
        tw_fail(&err, TW_ERR_CUDA_NOT_AVAILABLE, "there is no device %" PRIu32, index);
    uint8_t *to = device ? engine_cuda_range(instance, &args[1], len, "device_info", &err) : NULL;
    if (!to)
        return engine_cuda_answer32(instance, args, false, &err);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, ENGINE_DEVICE_INFO_MAX);
    if (!tw_gpu_device_json(device, &text)) {
        tw_fail(&err, TW_ERR_INTERNAL, "the device's description does not fit");
        return engine_cuda_answer32(instance, args, false, &err);
    }
    if (text.len <= len)
        memcpy(to, text.data, text.len);
    args[0].i32 = (int32_t)text.len;
    return NULL;
}

wasm_trap_t *engine_cuda_last_error_len(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    args[0].i32 = (int32_t)instance->host.gpu_error_len;
    return NULL;
}

// Does not change the text, not even by failing.
wasm_trap_t *engine_cuda_last_error_copy(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    uint32_t len = (uint32_t)args[1].i32;
    uint8_t *to = engine_guest(instance, (uint32_t)args[0].i32, len);
    if (len > instance->host.gpu_error_len)
        len = instance->host.gpu_error_len;
    if (to)
        memcpy(to, instance->host.gpu_error, len);
    args[0].i32 = to ? (int32_t)len : engine_cuda_code(TW_ERR_CUDA_INVALID_POINTER);
    return NULL;
}

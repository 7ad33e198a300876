// SPDX-License-Identifier: Apache-2.0
//
// One guest: a Wasmtime store with an instance in it, its arena, its memories, its device context. Made from
// the module's image, reset to it after a call, freed when it may not be reused. Handles to memories, globals
// and functions are looked up once.

#include <sys/mman.h>

#include "engine/internal.h"

bool engine_type_is_numeric(uint8_t type) {
    return type == TW_WASM_I32 || type == TW_WASM_I64 || type == TW_WASM_F32 || type == TW_WASM_F64 ||
           type == TW_WASM_V128;
}

// ---- making ----

static bool find(struct engine_instance *instance, const char *prefix, uint32_t index,
                 wasmtime_extern_t *ret_item, struct tw_error *err) {
    char name[24];
    int len = snprintf(name, sizeof(name), "%s%" PRIu32, prefix, index);
    return wasmtime_instance_export_get(instance->context, &instance->instance, name, (size_t)len,
                                        ret_item) ||
           tw_fail(err, TW_ERR_INTERNAL, "the rewritten module lacks %s", name);
}

static bool look_up(struct engine_instance *instance, struct tw_error *err) {
    const struct tw_module *module = instance->module;
    wasmtime_extern_t item;
    for (uint32_t i = 0; i < module->memory_count; i++) {
        if (!find(instance, "tw:m", i, &item, err))
            return false;
        instance->memories[i] = item.of.memory;
        // See is_heap in memory.c.
        if (!instance->is_pooled &&
            (instance->regions_made <= i ||
             wasmtime_memory_data(instance->context, &item.of.memory) != instance->regions[i].base))
            return tw_fail(err, TW_ERR_INTERNAL, "the engine made the memories in another order");
    }
    for (uint32_t i = 0; i < module->global_count; i++) {
        if (!find(instance, "tw:g", i, &item, err))
            return false;
        instance->globals[i] = item.of.global;
    }
    return true;
}

// Runs when the engine's epoch went on: some guest is to pause or stop, perhaps this one.
static wasmtime_error_t *on_epoch(wasmtime_context_t *context, void *env, uint64_t *ret_delta,
                                  wasmtime_update_deadline_kind_t *ret_kind) {
    struct engine_instance *instance = env;
    (void)context;
    if (!engine_gate_pass(instance))
        return wasmtime_error_new("stopped");
    *ret_delta = 1;
    *ret_kind = WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return NULL;
}

bool engine_instance_denied(const struct engine_instance *instance, uint32_t memory, struct tw_error *err) {
    if (instance->regions[memory].denied == ENGINE_DENIED_BY_FUNCTION)
        return tw_fail(err, TW_ERR_QUOTA,
                       "memory %" PRIu32 " of the module begins with more than the limit of %" PRIu64
                       " bytes; raise the function's memory limit or declare less",
                       memory, instance->module->limits.memory_bytes);
    struct tw_account_use use = tw_account_use(instance->account, TW_RESOURCE_CPU_MEMORY);
    return tw_fail(err, TW_ERR_QUOTA,
                   "an instance needs %" PRIu64 " bytes of memory, tenant %" PRIu64 " uses %" PRIu64
                   " of its %" PRIu64 " %s; run fewer at once, or have the limit raised",
                   instance->regions[memory].image_size, instance->tenant, use.now, use.limit,
                   tw_resource_name(TW_RESOURCE_CPU_MEMORY));
}

// At the caps of Wasmtime's pool others can make room; at the module's own limits nobody can.
static enum tw_code code_of(const wasmtime_error_t *error) {
    return engine_error_says(error, ENGINE_POOL_FULL) ? TW_ERR_CAPACITY : TW_ERR_QUOTA;
}

static bool instantiate(struct engine_instance *instance, struct tw_error *err) {
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;
    const wasmtime_instance_pre_t *pre = engine_code_take(instance->module->code, err);
    if (!pre)
        return false;
    instance->code = instance->module->code;
    engine_memory_creating(instance);
    wasmtime_call_future_t *future =
        wasmtime_instance_pre_instantiate_async(pre, instance->context, &instance->instance, &trap, &error);
    // Start code was taken out: nothing here waits.
    bool done = wasmtime_call_future_poll(future);
    wasmtime_call_future_delete(future);
    engine_memory_creating(NULL);
    for (uint32_t i = 0; i < instance->regions_made; i++) {
        if (instance->regions[i].denied) {
            wasmtime_error_delete(error);
            return engine_instance_denied(instance, i, err);
        }
    }
    if (trap) {
        wasm_trap_delete(trap);
        return tw_fail(err, TW_ERR_START_FAILED, "an element segment does not fit its table");
    }
    if (error)
        return engine_fail(err, code_of(error), "the module could not be instantiated", error);
    return done || tw_fail(err, TW_ERR_INTERNAL, "instantiating waited for something");
}

static bool set_globals(struct engine_instance *instance) {
    const struct engine_image *image = &instance->module->image;
    for (uint32_t i = 0; i < image->global_count; i++) {
        wasmtime_val_t value = {};
        switch (image->globals[i].type) {
        case TW_WASM_I32:
            value.kind = WASMTIME_I32;
            break;
        case TW_WASM_I64:
            value.kind = WASMTIME_I64;
            break;
        case TW_WASM_F32:
            value.kind = WASMTIME_F32;
            break;
        case TW_WASM_F64:
            value.kind = WASMTIME_F64;
            break;
        case TW_WASM_V128:
            value.kind = WASMTIME_V128;
            break;
        case TW_WASM_FUNCREF:
            value.kind = WASMTIME_FUNCREF; // zeros: null
            break;
        default:
            value.kind = WASMTIME_EXTERNREF;
            break;
        }
        memcpy(&value.of, image->globals[i].value, sizeof(image->globals[i].value));
        wasmtime_error_t *error = wasmtime_global_set(instance->context, &instance->globals[i], &value);
        if (error) {
            wasmtime_error_delete(error);
            return false;
        }
    }
    return true;
}

static void *array(size_t count, size_t size) {
    return tw_alloc_zero(count ? count : 1, size);
}

static bool make_lists(struct engine_instance *instance, struct tw_error *err) {
    const struct tw_module *module = instance->module;
    instance->region_count = module->memory_count;
    instance->regions = array(module->memory_count, sizeof(*instance->regions));
    instance->memories = array(module->memory_count, sizeof(*instance->memories));
    instance->globals = array(module->global_count, sizeof(*instance->globals));
    instance->exports = array(module->export_count, sizeof(*instance->exports));
    if (!instance->regions || !instance->memories || !instance->globals || !instance->exports)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for an instance");
    if (module->abi_memory < module->memory_count)
        instance->memory = &instance->regions[module->abi_memory];
    instance->is_pooled = module->engine->options.memory == TW_MEMORY_POOLING;
    if (!instance->is_pooled)
        instance->arena = tw_gpu_arena_take(module->engine->options.gpu, err);
    return instance->is_pooled || instance->arena;
}

static bool make_store(struct engine_instance *instance, struct tw_error *err) {
    struct tw_module *module = instance->module;
    struct tw_engine *engine = module->engine;
    instance->store = wasmtime_store_new(engine->wasmtime, instance, NULL);
    if (!instance->store)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for an instance");
    instance->context = wasmtime_store_context(instance->store);
    // Memories of ours are limited by memory.c.
    int64_t memory_bytes = instance->is_pooled ? (int64_t)module->limits.memory_bytes : -1;
    wasmtime_store_limiter(instance->store, memory_bytes, (int64_t)module->limits.table_elements, -1, -1, -1);
    if (engine->options.interrupt == TW_INTERRUPT_EPOCH) {
        wasmtime_context_set_epoch_deadline(instance->context, 1);
        wasmtime_store_epoch_deadline_callback(instance->store, on_epoch, instance, NULL);
    }
    return true;
}

// The store with the guest in it, as the image has it.
static bool make_guest(struct engine_instance *instance, struct tw_error *err) {
    return make_store(instance, err) && instantiate(instance, err) && look_up(instance, err) &&
           (!instance->is_pooled || engine_pooling_bind(instance, err)) &&
           (set_globals(instance) || tw_fail(err, TW_ERR_INTERNAL, "the image does not fit the module"));
}

// Counts one more for the server and the tenant.
static bool count_instance(struct tw_engine *engine, struct tw_account *account, struct tw_error *err) {
    if (!tw_account_take(account, TW_RESOURCE_INSTANCES, 1, err))
        return false;
    if (tw_counter_add_below(&engine->instances, 1, engine->options.max_instances))
        return true;
    tw_account_give(account, TW_RESOURCE_INSTANCES, 1);
    return tw_fail(err, TW_ERR_CAPACITY,
                   "all %" PRIu32 " instances are in use; try again, or raise the limit",
                   engine->options.max_instances);
}

static void uncount_instance(struct tw_engine *engine, struct tw_account *account) {
    tw_counter_add(&engine->instances, -1);
    tw_account_give(account, TW_RESOURCE_INSTANCES, 1);
}

struct engine_instance *engine_instance_new(struct tw_module *module, uint64_t tenant,
                                            struct tw_account *account, int64_t deadline_ns,
                                            struct tw_error *err) {
    struct tw_engine *engine = module->engine;
    if (!count_instance(engine, account, err))
        return NULL;
    struct engine_instance *instance = tw_alloc_zero(1, sizeof(*instance));
    if (!instance) {
        uncount_instance(engine, account);
        tw_fail(err, TW_ERR_CAPACITY, "no memory for an instance");
        return NULL;
    }
    tw_metric_add(TW_METRIC_INSTANCE_SPAWNS, tw_labels(), 1);
    tw_lock_init(&instance->gpu_lock);
    instance->engine = engine;
    instance->module = module;
    instance->tenant = tenant;
    instance->account = tw_account_ref(account);
    bool ok = make_lists(instance, err) && make_guest(instance, err);
    if (ok && module->image.mapping && module->image.replay)
        ok = engine_instance_start(instance, deadline_ns, err);
    if (ok)
        return instance;
    engine_instance_free(instance);
    return NULL;
}

static void drop_store(struct engine_instance *instance) {
    if (instance->store && (!instance->is_pooled || engine_pooling_leave(instance)))
        wasmtime_store_delete(instance->store);
    instance->store = NULL;
}

void engine_instance_free(struct engine_instance *instance) {
    if (!instance)
        return;
    struct tw_engine *engine = instance->engine;
    tw_gpu_context_free(instance->gpu);
    drop_store(instance);
    if (engine_memories_done(instance) && instance->arena)
        tw_gpu_arena_give(engine->options.gpu, instance->arena);
    engine_code_give(instance->code);
    free(instance->regions);
    free(instance->memories);
    free(instance->globals);
    free(instance->exports);
    tw_lock_done(&instance->gpu_lock);
    uncount_instance(engine, instance->account);
    tw_account_unref(instance->account);
    free(instance);
    tw_metric_add(TW_METRIC_INSTANCE_TERMINATIONS, tw_labels(), 1);
}

// ---- start code ----

static bool start_failed(const struct tw_invoke *invoke, const char *name, struct tw_error *err) {
    switch ((int)invoke->error.code) {
    case TW_OK:
        return true;
    case TW_ERR_TIMEOUT:
        return tw_fail(err, TW_ERR_START_FAILED, "%s did not finish in time; do less at start", name);
    case TW_ERR_GUEST_EXIT:
        return tw_fail(err, TW_ERR_START_FAILED, "%s left with proc_exit(%d)", name, invoke->exit_code);
    default:
        return tw_fail(err, TW_ERR_START_FAILED, "%s failed: %s", name, invoke->error.message);
    }
}

static bool run_start(struct engine_instance *instance, const char *export, const char *name,
                      int64_t deadline_ns, struct tw_error *err) {
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(instance->context, &instance->instance, export, strlen(export),
                                      &item) ||
        item.kind != WASMTIME_EXTERN_FUNC)
        return tw_fail(err, TW_ERR_INTERNAL, "the rewritten module lacks %s", export);
    struct tw_invoke invoke = {
        .module = instance->module,
        .tenant = instance->tenant,
        .account = instance->account,
        .deadline_ns = deadline_ns,
    };
    tw_buf_init(&invoke.output, ENGINE_STDERR_MAX);
    tw_buf_init(&invoke.stderr_text, ENGINE_STDERR_MAX);
    tw_buf_init(&invoke.backtrace, ENGINE_BACKTRACE_MAX);
    engine_call_inside(instance, &item.of.func, &invoke);
    if (!invoke.error.code && invoke.exit_code)
        invoke.error.code = TW_ERR_GUEST_EXIT;
    bool ok = start_failed(&invoke, name, err);
    tw_buf_done(&invoke.output);
    tw_buf_done(&invoke.stderr_text);
    tw_buf_done(&invoke.backtrace);
    return ok;
}

bool engine_instance_start(struct engine_instance *instance, int64_t deadline_ns, struct tw_error *err) {
    const struct tw_module *module = instance->module;
    int64_t limit_ns = tw_clock_ns() + module->limits.start_ms * TW_NS_PER_MS;
    if (deadline_ns > limit_ns)
        deadline_ns = limit_ns;
    bool ok =
        (!module->has_start || run_start(instance, "tw:start", "the start function", deadline_ns, err)) &&
        (!module->has_initialize || run_start(instance, "_initialize", "_initialize", deadline_ns, err));
    instance->host = (struct engine_host){};
    if (instance->is_pooled)
        engine_pooling_look(instance);
    return ok;
}

// ---- reset ----

// One step of a reset, made to fail on demand.
static bool fails(void) {
    return tw_fault_strikes(TW_FAULT_RESET);
}

static bool shrink(struct engine_instance *instance, uint32_t index) {
    struct engine_region *region = &instance->regions[index];
    uint8_t *end = region->base + region->image_size;
    size_t grown = region->size - region->image_size;
    if (grown == 0)
        return true;
    if (fails() || madvise(end, grown, MADV_DONTNEED) != 0 || fails() || mprotect(end, grown, PROT_NONE) != 0)
        return false;
    region->size = region->image_size;
    (void)engine_region_count(region, region->size); // giving back is never refused
    // Growing by nothing makes Wasmtime read the size again.
    uint64_t before;
    wasmtime_error_t *error = wasmtime_memory_grow(instance->context, &instance->memories[index], 0, &before);
    if (error)
        wasmtime_error_delete(error);
    return !error && !fails();
}

void engine_instance_end_call(struct engine_instance *instance) {
    if (instance->is_pooled)
        engine_pooling_look(instance);
    instance->call = NULL;
    instance->host.input_at = 0;
    instance->host.emitted = 0;
    instance->host.closed_fds = 0;
    instance->host.gpu_error_len = 0;
    if (instance->gpu) {
        struct tw_gpu_usage usage;
        tw_gpu_context_usage(instance->gpu, &usage);
        instance->kernel_ns_before = usage.kernel_ns;
    }
}

// In a pool's slot a guest is as fresh as new by being new.
static bool renew(struct engine_instance *instance) {
    struct engine_code *code = instance->code;
    struct tw_error err;
    drop_store(instance);
    instance->code = NULL;
    instance->poll = NULL;
    memset(instance->exports, 0, instance->module->export_count * sizeof(*instance->exports));
    bool ok = !fails() && make_guest(instance, &err);
    engine_code_give(code); // what it has now is its own
    return ok;
}

bool engine_instance_reset(struct engine_instance *instance) {
    const struct tw_module *module = instance->module;
    if (module->single_use)
        return false;
    if (instance->is_pooled) {
        if (!renew(instance))
            return false;
        engine_instance_end_call(instance);
        return true;
    }
    if (instance->poll_closed) {
        if (fails() || !engine_poll_page(instance, true))
            return false;
        instance->poll_closed = false;
    }
    struct tw_error err;
    if (instance->gpu && (fails() || !tw_gpu_context_reset(instance->gpu, &err)))
        return false;
    for (uint32_t i = 0; i < instance->region_count; i++) {
        if (!shrink(instance, i))
            return false;
    }
    if (!engine_regions_restore(instance) || fails() || !set_globals(instance))
        return false;
    engine_instance_end_call(instance);
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// The engine: Wasmtime with our memories and stacks, the host functions, workers, timers.

#include "engine/internal.h"

static void set_defaults(struct tw_engine_options *options) {
    if (!options->max_instances)
        options->max_instances = ENGINE_INSTANCES_DEFAULT;
    if (!options->max_queued)
        options->max_queued = ENGINE_QUEUE_DEFAULT;
    if (!options->warm_idle_ms)
        options->warm_idle_ms = ENGINE_WARM_IDLE_MS_DEFAULT;
    if (!options->max_code_bytes)
        options->max_code_bytes = UINT64_MAX;
    if (!options->max_long_calls)
        options->max_long_calls = ENGINE_HELD_DEFAULT;
    if (!options->queue_burst_ms)
        options->queue_burst_ms = ENGINE_BURST_MS_DEFAULT;
    if (!options->stack_bytes)
        options->stack_bytes = ENGINE_STACK_BYTES_DEFAULT;
}

static void collect(void *context) {
    struct tw_engine *engine = context;
    tw_metric_set(TW_METRIC_ACTIVE_INSTANCES, tw_labels(), tw_counter_get(&engine->instances));
    tw_metric_set(TW_METRIC_QUEUED_CALLS, tw_labels(), engine_sched_queued(&engine->sched));
    tw_metric_set(TW_METRIC_KEPT_INSTANCES, tw_labels(), tw_counter_get(&engine->kept));
    tw_metric_set(TW_METRIC_CODE_MAPPED, tw_labels(), tw_counter_get(&engine->codes.mapped_bytes));
    tw_metric_set(TW_METRIC_POOL_WARM, tw_labels(), tw_counter_get(&engine->warm));
}

static bool start_wasmtime(struct tw_engine *engine, struct tw_error *err) {
    wasm_config_t *config = engine_config_new(engine->options.interrupt, engine->options.stack_bytes);
    if (!config)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for Wasmtime");
    if (engine->options.memory == TW_MEMORY_POOLING) {
        if (!engine_pooling_configure(config, &engine->options, err)) {
            wasm_config_delete(config);
            return false;
        }
    } else {
        engine_memory_configure(config);
        engine_stacks_configure(&engine->stacks, config);
    }
    engine->wasmtime = wasm_engine_new_with_config(config);
    if (!engine->wasmtime)
        return tw_fail(err, TW_ERR_INTERNAL, "Wasmtime did not start");
    // It has just installed its fault handler; ours goes on top.
    if (!tw_signals_install(err))
        return false;
    engine->linker = wasmtime_linker_new(engine->wasmtime);
    return engine_link(engine->linker, err);
}

struct tw_engine *tw_engine_new(const struct tw_engine_options *options, struct tw_error *err) {
    if (!options->compiler || !options->gpu) {
        tw_fail(err, TW_ERR_INTERNAL, "an engine needs a compiler and devices");
        return NULL;
    }
    struct tw_engine *engine = tw_alloc_zero(1, sizeof(*engine));
    if (!engine) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the engine");
        return NULL;
    }
    engine->options = *options;
    set_defaults(&engine->options);
    tw_lock_init(&engine->lock);
    engine_runners_prepare();
    engine_stacks_init(&engine->stacks);
    engine_codes_init(&engine->codes);
    engine_resetter_init(&engine->resetter, engine->options.reset);
    engine->hits = tw_series_get(TW_METRIC_POOL_DRAWS, (struct tw_labels){.values = {"hit"}});
    engine->misses = tw_series_get(TW_METRIC_POOL_DRAWS, (struct tw_labels){.values = {"miss"}});
    engine->blocking = tw_pool_new("tw-load", ENGINE_BLOCKING_THREADS, engine->options.max_instances, err);
    engine->refilling = tw_pool_new("tw-refill", ENGINE_REFILL_THREADS, engine->options.max_instances, err);
    bool timers = engine_timers_init(&engine->timers, err);
    bool sched = engine_sched_init(engine, err);
    bool keeper = engine_keeper_init(engine, err);
    if (engine->blocking && engine->refilling && timers && sched && keeper && start_wasmtime(engine, err)) {
        tw_metrics_on_collect(collect, engine);
        return engine;
    }
    tw_engine_free(engine);
    return NULL;
}

void tw_engine_free(struct tw_engine *engine) {
    if (!engine)
        return;
    tw_metrics_off_collect(collect, engine);
    engine_keeper_done(engine);
    // A worker that ends its last call may ask for a refill; a refill runs start code under the scheduler's eyes.
    engine_sched_stop(&engine->sched);
    tw_pool_free(engine->blocking);
    tw_pool_free(engine->refilling);
    engine_sched_done(&engine->sched);
    engine_timers_done(&engine->timers);
    engine_codes_done(&engine->codes);
    if (engine->linker)
        wasmtime_linker_delete(engine->linker);
    if (engine->wasmtime)
        wasm_engine_delete(engine->wasmtime);
    engine_stacks_done(&engine->stacks);
    engine_resetter_done(&engine->resetter);
    tw_lock_done(&engine->lock);
    free(engine);
}

void tw_engine_stats(const struct tw_engine *engine, struct tw_engine_stats *ret_stats) {
    bool is_pooled = engine->options.memory == TW_MEMORY_POOLING;
    *ret_stats = (struct tw_engine_stats){
        .instances = (uint32_t)tw_counter_get(&engine->instances),
        .warm = (uint32_t)tw_counter_get(&engine->warm),
        .kept = (uint32_t)tw_counter_get(&engine->kept),
        .running = (uint32_t)tw_counter_get(&engine->sched.running),
        .code_bytes = (uint64_t)tw_counter_get(&engine->codes.mapped_bytes),
        .queued = engine_sched_queued(&engine->sched),
        .queue_wait_ns = engine_sched_wait_ns(&engine->sched),
        .max_instances = engine->options.max_instances,
        .memory_backend = is_pooled ? "pooling" : "owned",
        .reset_method = is_pooled                       ? "instantiate"
                        : engine->resetter.pagemap >= 0 ? "pagemap_scan"
                                                        : "madvise",
    };
}

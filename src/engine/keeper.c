// SPDX-License-Identifier: Apache-2.0
//
// The thread that looks after what nobody uses: a few times a second it frees warm instances that nobody took and
// ends kept ones that nobody called for too long. Nothing waits for it.

#include "engine/internal.h"

static void keep(void *context) {
    struct tw_engine *engine = context;
    struct engine_keeper *keeper = &engine->keeper;
    tw_lock_take(&keeper->lock);
    while (!keeper->stopping) {
        tw_cond_wait(&keeper->changed, &keeper->lock, tw_clock_ns() + keeper->period_ns);
        tw_lock_give(&keeper->lock);
        int64_t tick = tw_counter_add(&engine->tick, 1) + 1;
        engine_pools_shrink(engine, tick - keeper->warm_ticks);
        engine_kept_expire(engine, tw_clock_ns());
        tw_lock_take(&keeper->lock);
    }
    tw_lock_give(&keeper->lock);
}

bool engine_keeper_init(struct tw_engine *engine, struct tw_error *err) {
    struct engine_keeper *keeper = &engine->keeper;
    int64_t idle_ns = engine->options.warm_idle_ms * TW_NS_PER_MS;
    keeper->period_ns = idle_ns / 4 < ENGINE_KEEPER_PERIOD_NS ? idle_ns / 4 + 1 : ENGINE_KEEPER_PERIOD_NS;
    keeper->warm_ticks = idle_ns / keeper->period_ns + 1;
    tw_lock_init(&keeper->lock);
    tw_cond_init(&keeper->changed);
    keeper->started = tw_thread_start(&keeper->thread, "tw-keeper", keep, engine, err);
    return keeper->started;
}

void engine_keeper_done(struct tw_engine *engine) {
    struct engine_keeper *keeper = &engine->keeper;
    tw_lock_take(&keeper->lock);
    keeper->stopping = true;
    tw_cond_wake_all(&keeper->changed);
    tw_lock_give(&keeper->lock);
    if (keeper->started)
        tw_thread_join(keeper->thread);
    tw_cond_done(&keeper->changed);
    tw_lock_done(&keeper->lock);
}

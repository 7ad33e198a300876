// SPDX-License-Identifier: Apache-2.0
//
// The thread that looks after what nobody uses: a few times a second it ends instances that nobody has called for
// too long. Nothing waits for it.

#include "engine/internal.h"

static void keep(void *context) {
    struct tw_engine *engine = context;
    struct engine_keeper *keeper = &engine->keeper;
    tw_lock_take(&keeper->lock);
    while (!keeper->stopping) {
        tw_cond_wait(&keeper->changed, &keeper->lock, tw_clock_ns() + ENGINE_KEEPER_PERIOD_NS);
        tw_lock_give(&keeper->lock);
        engine_kept_expire(engine, tw_clock_ns());
        tw_lock_take(&keeper->lock);
    }
    tw_lock_give(&keeper->lock);
}

bool engine_keeper_init(struct tw_engine *engine, struct tw_error *err) {
    struct engine_keeper *keeper = &engine->keeper;
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

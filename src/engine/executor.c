// SPDX-License-Identifier: Apache-2.0
//
// Event loops run short calls themselves, so that these need no other thread: no hand-over, no wake-up, no
// lock. A loop takes what can run at once (a warm instance is there, the module's calls were short of late, the
// tenant does not hold too many threads already) into a queue of its own, fair between tenants, and runs it
// between two polls of its sockets. A guest that waits leaves the loop and goes on with a worker. One that
// computes past its quantum keeps the thread: the watch says so, another thread takes the loop over, and this
// one ends the call as a worker would.

#include "engine/internal.h"

enum {
    MEAN_OF = 16, // calls whose times make the mean, the last ones most
    MEAN_OUTLIER = 4,
};

bool tw_executor_init(struct tw_executor *executor, struct tw_engine *engine, struct tw_error *err) {
    struct engine_executor *state = tw_alloc_zero(1, sizeof(*state));
    if (!state)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for an event loop's calls");
    state->engine = engine;
    executor->state = state;
    return engine_fair_init(&state->ready, 1, err);
}

static void drop_runner(struct engine_runner *runner) {
    engine_runner_part(runner);
    free(runner);
}

void tw_executor_done(struct tw_executor *executor) {
    struct engine_executor *state = executor->state;
    if (!state)
        return;
    if (state->runner)
        drop_runner(state->runner);
    engine_fair_done(&state->ready);
    free(state);
    executor->state = NULL;
}

uint32_t tw_executor_waiting(const struct tw_executor *executor) {
    return executor->state ? executor->state->ready.queued : 0;
}

// The loop's calls wait a short while only: many short ones, or a few longer ones.
static bool has_room(const struct engine_executor *state) {
    uint32_t queued = state->ready.queued;
    return queued < ENGINE_READY_MIN ||
           (queued < ENGINE_READY_MAX && queued * state->mean_ns < ENGINE_READY_NS);
}

enum engine_taken engine_executor_take(struct tw_executor *executor, struct engine_call *call,
                                       struct tw_error *err) {
    struct engine_executor *state = executor->state;
    const struct tw_invoke *invoke = call->invoke;
    if (!has_room(state) || invoke->module->single_use ||
        engine_habit_of(invoke->module, invoke->tenant) != ENGINE_HABIT_SHORT ||
        !engine_sched_may_begin(&state->engine->sched, invoke->tenant))
        return ENGINE_FOR_WORKERS;
    struct engine_share *share = engine_fair_get(&state->ready, invoke->tenant, engine_weight_of(invoke));
    int64_t wait_ns, now_ns = invoke->times.queued_ns;
    // So few brief ones wait here that none is refused, even where the loop itself has to wait for a processor.
    if (!invoke->is_patient && state->mean_ns >= ENGINE_BRIEF_NS &&
        !engine_crowd_admits(&state->ready, share, &state->engine->sched.patience, now_ns, &wait_ns)) {
        engine_crowd_refuse(&state->ready, share, wait_ns, err);
        return ENGINE_REFUSED;
    }
    engine_fair_push(&state->ready, share, call, ENGINE_BY_DEADLINE);
    engine_crowd_join(&state->ready, share, now_ns);
    return ENGINE_TAKEN;
}

// To a worker, who will make an instance.
static void pass_on(struct engine_executor *state, struct engine_call *call) {
    struct tw_error err;
    if (!engine_sched_push(&state->engine->sched, call, ENGINE_BY_DEADLINE, false, &err))
        engine_call_refuse(call, &err);
}

static struct engine_runner *runner_of(struct tw_executor *executor) {
    struct engine_executor *state = executor->state;
    if (state->runner)
        return state->runner;
    struct engine_runner *runner = tw_alloc_zero(1, sizeof(*runner));
    if (!runner)
        return NULL;
    runner->executor = executor;
    engine_runner_join(state->engine, runner);
    return state->runner = runner;
}

// One call alone lifts the mean by little: it may be its thread that waited for a processor.
static void note_time(struct engine_executor *state, int64_t took_ns) {
    int64_t most_ns = MEAN_OUTLIER * (state->mean_ns + TW_NS_PER_US);
    state->mean_ns += ((took_ns < most_ns ? took_ns : most_ns) - state->mean_ns) / MEAN_OF;
}

// False: the loop has another thread now.
static bool run_one(struct engine_executor *state, struct engine_runner *runner, struct engine_call *call,
                    int64_t *now_ns) {
    uint64_t tenant = call->invoke->tenant;
    uint32_t weight = engine_weight_of(call->invoke);
    engine_crowd_leave(&state->ready, engine_fair_get(&state->ready, tenant, weight), *now_ns);
    call->instance = runner ? engine_pool_take_warm(call->invoke->module, tenant) : NULL;
    if (!call->instance) {
        pass_on(state, call);
        return true;
    }
    struct engine_sched *sched = &state->engine->sched;
    tw_counter_add(&sched->running, 1);
    call->entered_ns = *now_ns;
    engine_call_step(call);
    tw_counter_add(&sched->running, -1);
    if (runner->is_replaced)
        return false;
    int64_t since_ns = *now_ns;
    *now_ns = tw_clock_ns();
    int64_t took_ns = *now_ns - since_ns;
    engine_fair_charge(&state->ready, engine_fair_get(&state->ready, tenant, weight), took_ns);
    note_time(state, took_ns);
    return true;
}

bool tw_executor_run(struct tw_executor *executor, int64_t budget_ns) {
    struct engine_executor *state = executor->state;
    if (!state->ready.queued)
        return true;
    struct engine_runner *runner = runner_of(executor);
    struct engine_call *call;
    int64_t now_ns = tw_clock_ns(), until_ns = now_ns + budget_ns;
    engine_runner_use(runner);
    bool stays = true;
    while (stays && now_ns < until_ns && (call = engine_fair_pop(&state->ready, NULL, NULL)))
        stays = run_one(state, runner, call, &now_ns);
    engine_runner_use(NULL);
    if (!stays)
        drop_runner(runner);
    return stays;
}

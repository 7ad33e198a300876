// SPDX-License-Identifier: Apache-2.0
//
// One call from its beginning to `done`. The guest runs on a fiber behind a future: polling it runs the guest
// until it ends or a host function waits.
//
//     RUNNING ─arm→ ARMED ─future pending→ PARKED
//        ↑            │ wake                 │ wake: back into the queue
//        └── poll ── WOKEN ←─────────────────┘
//
// Whoever wakes changes the state once and does not look at the call again: a woken call may end at once.
//
// Stopping (deadline, cancel) is done by the timers' thread alone: it closes the poll page, stops kernels and
// wakes a sleeper. A guest that runs is watched by way of its thread (runner.c), a parked one by a timer of its
// own; neither's end passes while it is being stopped, hence a closed page is always this call's. A guest that goes
// on all the same loses its invoke (answer.c).

#include "engine/host_cuda.h"
#include "engine/internal.h"

wasm_trap_t *engine_stop_trap(void) {
    return wasmtime_trap_new_code(WASMTIME_TRAP_CODE_INTERRUPT);
}

// ---- waiting ----

void engine_call_arm(struct engine_call *call, void (*finish)(struct engine_call *, wasmtime_val_raw_t *)) {
    call->wait.finish = finish;
    tw_state_set(&call->state, ENGINE_ARMED);
}

void engine_call_disarm(struct engine_call *call) {
    call->wait.finish = NULL;
    tw_state_set(&call->state, ENGINE_RUNNING);
}

void engine_call_wake(struct engine_call *call) {
    struct tw_engine *engine = call->engine;
    bool on_caller = call->on_caller;
    if (tw_state_change(&call->state, ENGINE_ARMED, ENGINE_WOKEN))
        return;
    tw_state_change(&call->state, ENGINE_PARKED, ENGINE_WOKEN);
    if (on_caller)
        tw_state_wake(&call->state);
    else if (!engine_sched_push(&engine->sched, call, ENGINE_WOKEN_FIRST, false, NULL))
        TW_ASSERT(false); // only fresh calls are refused
}

void engine_call_yield(struct engine_call *call, void (*finish)(struct engine_call *, wasmtime_val_raw_t *)) {
    if (call->on_caller || !engine_sched_queued(&call->engine->sched))
        return;
    call->yielding = true;
    engine_call_arm(call, finish);
}

static struct engine_call *of_sleep(struct engine_timer *timer) {
    return (struct engine_call *)((char *)timer - offsetof(struct engine_call, sleep));
}

static struct engine_call *of_deadline(struct engine_timer *timer) {
    return (struct engine_call *)((char *)timer - offsetof(struct engine_call, deadline));
}

static void end_sleep(struct engine_timer *timer) {
    engine_call_wake(of_sleep(timer));
}

bool engine_call_sleep(struct engine_call *call, int64_t due_ns,
                       void (*finish)(struct engine_call *, wasmtime_val_raw_t *)) {
    call->sleep.fire = end_sleep;
    engine_call_arm(call, finish);
    if (engine_timer_set(&call->engine->timers, &call->sleep, due_ns))
        return true;
    engine_call_disarm(call);
    return false;
}

// ---- stopping ----

void engine_call_stop(struct engine_call *call) {
    struct engine_instance *instance = call->instance;
    if (!tw_flag_is_raised(&call->stopping)) {
        call->stop_code = tw_state_look(&call->cancelled) ? TW_ERR_CANCELLED : TW_ERR_TIMEOUT;
        tw_flag_raise(&call->stopping);
    }
    engine_gate_close(instance, ENGINE_GATE_STOP);
    tw_lock_take(&instance->gpu_lock);
    struct tw_gpu_context *gpu = instance->gpu;
    tw_lock_give(&instance->gpu_lock);
    if (gpu)
        tw_gpu_cancel(gpu);
}

// A parked call's deadline, on the timers' thread; again later, since a kernel may be launched while this goes
// on.
static void end_wait(struct engine_timer *timer) {
    struct engine_call *call = of_deadline(timer);
    struct engine_timers *timers = &call->engine->timers;
    engine_call_stop(call);
    if (!engine_timer_set(timers, timer, tw_clock_ns() + ENGINE_RESTOP_NS))
        return;
    if (engine_timer_take(timers, &call->sleep))
        engine_call_wake(call);
}

// ---- beginning ----

static void put_args(struct engine_call *call) {
    const struct tw_invoke *invoke = call->invoke;
    const struct tw_signature *signature = call->signature;
    for (uint32_t i = 0; i < signature->param_count; i++) {
        wasmtime_val_t *to = &call->args[i];
        // C's main as the default export has its two parameters without being given any.
        struct tw_value zero = {.type = signature->params[i]};
        const struct tw_value *from = i < invoke->arg_count ? &invoke->args[i] : &zero;
        switch (signature->params[i]) {
        case TW_WASM_I32:
            *to = (wasmtime_val_t){.kind = WASMTIME_I32, .of.i32 = from->of.i32};
            break;
        case TW_WASM_I64:
            *to = (wasmtime_val_t){.kind = WASMTIME_I64, .of.i64 = from->of.i64};
            break;
        case TW_WASM_F32:
            *to = (wasmtime_val_t){.kind = WASMTIME_F32, .of.f32 = from->of.f32};
            break;
        case TW_WASM_F64:
            *to = (wasmtime_val_t){.kind = WASMTIME_F64, .of.f64 = from->of.f64};
            break;
        default:
            to->kind = WASMTIME_V128;
            memcpy(to->of.v128, from->of.v128, sizeof(from->of.v128));
            break;
        }
    }
}

static void take_results(struct engine_call *call) {
    struct tw_invoke *invoke = call->invoke;
    invoke->result_count = call->signature ? call->signature->result_count : 0;
    for (uint32_t i = 0; i < invoke->result_count; i++) {
        struct tw_value *to = &invoke->results[i];
        const wasmtime_val_t *from = &call->results[i];
        *to = (struct tw_value){.type = call->signature->results[i]};
        memcpy(to->of.v128, from->of.v128, sizeof(to->of.v128));
    }
}

static bool find_export(struct engine_call *call, struct tw_error *err) {
    struct engine_instance *instance = call->instance;
    struct engine_exported *exported = &instance->exports[call->signature - instance->module->exports];
    if (!exported->known) {
        wasmtime_extern_t item;
        const char *name = call->signature->name;
        if (!wasmtime_instance_export_get(instance->context, &instance->instance, name, strlen(name), &item))
            return tw_fail(err, TW_ERR_INTERNAL, "the rewritten module lacks %s", name);
        exported->func = item.of.func;
        exported->known = true;
    }
    call->func = exported->func;
    return true;
}

static bool begin(struct engine_call *call, struct tw_error *err) {
    struct tw_invoke *invoke = call->invoke;
    invoke->times.started_ns = call->entered_ns ? call->entered_ns : tw_clock_ns();
    if (tw_state_look(&call->cancelled))
        return tw_fail(err, TW_ERR_CANCELLED, "the call was cancelled before it began");
    if (invoke->times.started_ns >= invoke->deadline_ns)
        return tw_fail(err, TW_ERR_TIMEOUT, "the call waited in the queue until its deadline");
    bool is_at_hand = call->instance; // an event loop brings one
    if (invoke->instance)
        call->instance = engine_kept_take(call, err);
    else if (!is_at_hand)
        call->instance =
            engine_pool_take(invoke->module, invoke->tenant, invoke->account, invoke->deadline_ns, err);
    if (!call->instance)
        return false;
    call->instance->call = call;
    tw_state_set(&call->instance->gate, ENGINE_GATE_OPEN);
    if (!find_export(call, err))
        return false;
    put_args(call);
    call->entered_ns = invoke->times.running_ns = is_at_hand ? invoke->times.started_ns : tw_clock_ns();
    call->future = wasmtime_func_call_async(call->instance->context, &call->func, call->args,
                                            call->signature->param_count, call->results,
                                            call->signature->result_count, &call->trap, &call->error);
    return true;
}

struct engine_call *engine_call_new(struct tw_engine *engine, struct tw_invoke *invoke,
                                    struct tw_error *err) {
    const struct tw_signature *signature =
        invoke->signature ? invoke->signature : tw_module_export_find(invoke->module, invoke->export);
    if (!signature) {
        tw_fail(err, TW_ERR_MISSING_EXPORT, "the module exports no function %s",
                invoke->export ? invoke->export : "_start or main; name one");
        return NULL;
    }
    // C's main, called without a name.
    bool bare_main = !invoke->export && invoke->arg_count == 0 && signature->param_count == 2 &&
                     signature->params[0] == TW_WASM_I32 && signature->params[1] == TW_WASM_I32;
    bool fits = bare_main || signature->param_count == invoke->arg_count;
    for (uint32_t i = 0; fits && i < invoke->arg_count; i++)
        fits = invoke->args[i].type == signature->params[i] && engine_type_is_numeric(signature->params[i]);
    for (uint32_t i = 0; fits && i < signature->result_count; i++)
        fits = i < TW_INVOKE_VALUES_MAX && engine_type_is_numeric(signature->results[i]);
    if (!fits) {
        tw_fail(err, TW_ERR_INVALID_ARGS,
                "%" PRIu32 " arguments do not fit the export %s, which takes %" PRIu32
                "; only numbers, and at most %d results, can be passed",
                invoke->arg_count, signature->name, signature->param_count, TW_INVOKE_VALUES_MAX);
        return NULL;
    }
    size_t values = (size_t)signature->param_count + signature->result_count;
    struct engine_call *call = tw_alloc(sizeof(*call) + values * sizeof(wasmtime_val_t));
    if (!call) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a call");
        return NULL;
    }
    *call = (struct engine_call){
        .engine = engine, .invoke = invoke, .signature = signature, .may_go_on = invoke->module->has_heap};
    call->args = call->values;
    call->results = call->values + signature->param_count;
    return call;
}

// ---- running and ending ----

void engine_call_gather(struct engine_call *call) {
    struct engine_instance *instance = call->instance;
    if (!instance->gpu)
        return;
    struct tw_gpu_usage usage;
    engine_cuda_take_prints(instance);
    tw_gpu_context_usage(instance->gpu, &usage);
    call->invoke->times.kernel_ns = usage.kernel_ns - instance->kernel_ns_before;
}

static void end_guest(struct engine_call *call) {
    bool stopped = tw_flag_is_raised(&call->stopping);
    // Kernels end at the deadline too, perhaps a moment before the timer strikes.
    bool late = !stopped && call->invoke->times.ended_ns >= call->invoke->deadline_ns;
    if (late)
        call->stop_code = TW_ERR_TIMEOUT;
    wasmtime_call_future_delete(call->future);
    call->future = NULL;
    engine_call_gather(call);
    engine_outcome(call, stopped || late);
    if (!call->invoke->error.code && !call->exited)
        take_results(call);
    (void)engine_output_count(call, 0); // giving back is never refused
    call->instance->call = NULL;
}

static void end(struct engine_call *call) {
    struct tw_invoke *invoke = call->invoke;
    struct tw_module *module = invoke->module;
    uint64_t tenant = invoke->tenant;
    bool was_kept = invoke->instance;
    struct tw_account *account = module->single_use ? tw_account_ref(invoke->account) : NULL;
    if (invoke->instance)
        engine_kept_give(call);
    else if (call->instance)
        engine_pool_give(call->instance);
    if (!invoke->times.ended_ns)
        invoke->times.ended_ns = tw_clock_ns();
    engine_invoke_part(invoke);
    engine_habit_note_end(call);
    if (invoke->done)
        invoke->done(invoke); // the invoke may be gone afterwards
    if (module->single_use && !was_kept)
        engine_pool_refill(module, tenant, account);
    tw_account_unref(account);
    tw_module_unref(module);
    free(call);
}

// Leaves the thread, unless it was woken meanwhile (false).
static bool park(struct engine_call *call) {
    struct engine_timers *timers = &call->engine->timers;
    bool is_yielding = call->yielding;
    call->yielding = false;
    call->deadline.fire = end_wait;
    if (!engine_timer_set(timers, &call->deadline, call->invoke->deadline_ns)) {
        // No memory for its deadline: it must not wait.
        call->stop_code = TW_ERR_CAPACITY;
        tw_flag_raise(&call->stopping);
        if (engine_timer_take(timers, &call->sleep) || is_yielding)
            tw_state_change(&call->state, ENGINE_ARMED, ENGINE_WOKEN);
        engine_call_stop(call);
    } else if (tw_state_look(&call->cancelled)) {
        TW_LOCK_SCOPE(&timers->lock);
        engine_timer_hurry_locked(timers, &call->deadline, 0);
    }
    if (is_yielding) {
        tw_state_set(&call->state, ENGINE_WOKEN);
        if (engine_sched_push(&call->engine->sched, call, ENGINE_LAST, false, NULL))
            return true;
    } else if (tw_state_change(&call->state, ENGINE_ARMED, ENGINE_PARKED)) {
        return true;
    }
    engine_timer_remove(timers, &call->deadline);
    return false;
}

// Runs the guest until it returns (true) or waits.
static bool poll_guest(struct engine_call *call) {
    struct engine_runner *runner = engine_runner_own();
    engine_reset_watch(call->instance);
    bool begins_long = call->begins_long && !call->has_entered;
    if (!call->has_entered)
        engine_call_let_go(call);
    if (begins_long)
        engine_runner_enter_long(runner, call);
    else
        engine_runner_enter(runner, call);
    call->has_entered = true;
    bool has_returned = wasmtime_call_future_poll(call->future);
    engine_runner_leave(runner);
    if (begins_long)
        engine_habit_note_begun(call, engine_runner_has_computed(runner));
    int64_t now_ns = tw_clock_ns();
    if (!runner->was_managed) // else the watch has charged it
        tw_account_charge_cpu(call->invoke->account, (uint64_t)(now_ns - call->entered_ns));
    call->entered_ns = call->invoke->times.ended_ns = now_ns;
    return has_returned;
}

// Whether the kernels that a guest left running and that print have ended too: what they print belongs to its call.
// Other kernels are stopped with it, and so are those of a guest that failed; those of an instance that is kept go on.
static bool drain(struct engine_call *call) {
    bool failed = (call->trap || call->error) && !call->exited;
    if (!call->instance->gpu || failed || tw_flag_is_raised(&call->stopping) || call->invoke->instance)
        return true;
    bool is_over = engine_cuda_drain(call);
    call->invoke->times.ended_ns = tw_clock_ns();
    return is_over;
}

// Goes on until the call has ended (true) or is parked (false).
static bool run(struct engine_call *call) {
    for (;;) {
        call->draining = call->draining || poll_guest(call);
        if (call->draining && drain(call)) {
            end_guest(call);
            return true;
        }
        if (park(call))
            return false;
    }
}

void engine_call_refuse(struct engine_call *call, const struct tw_error *error) {
    if (call->instance)
        call->instance->call = NULL;
    call->invoke->error = *error;
    end(call);
}

bool engine_call_step(struct engine_call *call) {
    if (call->is_answer) {
        engine_answer_give(call);
        return true;
    }
    if (!call->future) {
        struct tw_error err = {};
        if (!begin(call, &err)) {
            engine_call_refuse(call, &err);
            return true;
        }
    } else {
        engine_timer_remove(&call->engine->timers, &call->deadline); // was parked
        call->entered_ns = tw_clock_ns();
    }
    if (!run(call))
        return false;
    end(call);
    return true;
}

// Runs on this thread until `step` says that it is over: waiting holds the thread.
static void run_here(struct engine_call *call, bool (*step)(struct engine_call *)) {
    struct engine_runner here = {}, *before = engine_runner_own();
    if (!before) {
        engine_runner_join(call->engine, &here);
        engine_runner_use(&here);
    }
    while (!step(call)) {
        while (tw_state_get(&call->state) == ENGINE_PARKED)
            tw_state_wait(&call->state, ENGINE_PARKED, -1);
    }
    if (!before) {
        engine_runner_use(NULL);
        engine_runner_part(&here);
    }
}

static bool go_on_inside(struct engine_call *call) {
    engine_timer_remove(&call->engine->timers, &call->deadline);
    call->entered_ns = tw_clock_ns();
    return run(call);
}

void engine_call_inside(struct engine_instance *instance, const wasmtime_func_t *func,
                        struct tw_invoke *invoke) {
    struct engine_call call = {.engine = instance->module->engine,
                               .invoke = invoke,
                               .instance = instance,
                               .on_caller = true,
                               .func = *func};
    instance->call = &call;
    tw_state_set(&instance->gate, ENGINE_GATE_OPEN);
    invoke->times.running_ns = tw_clock_ns();
    call.future =
        wasmtime_func_call_async(instance->context, &call.func, NULL, 0, NULL, 0, &call.trap, &call.error);
    run_here(&call, go_on_inside);
}

static void prepare(struct tw_invoke *invoke) {
    uint64_t max = invoke->output_max ? invoke->output_max : ENGINE_OUTPUT_DEFAULT;
    tw_buf_init(&invoke->output, max);
    tw_buf_init(&invoke->stderr_text, ENGINE_STDERR_MAX);
    tw_buf_init(&invoke->backtrace, ENGINE_BACKTRACE_MAX);
    invoke->error.code = TW_OK;
    invoke->goes_on = false;
    invoke->result_count = 0;
    invoke->content_type[0] = invoke->trap_kind[0] = '\0';
    invoke->status = invoke->exit_code = 0;
    invoke->times =
        (struct tw_invoke_times){.queued_ns = invoke->queued_ns ? invoke->queued_ns : tw_clock_ns()};
}

static void go_live(struct engine_call *call) {
    struct tw_invoke *invoke = call->invoke;
    prepare(invoke);
    tw_module_ref(invoke->module);
    engine_invoke_go_live(invoke, call);
}

static bool queue(struct engine_call *call, struct tw_error *err) {
    struct tw_invoke *invoke = call->invoke;
    if (invoke->instance)
        return engine_kept_submit(call, err);
    enum engine_taken taken = ENGINE_FOR_WORKERS;
    if (invoke->executor)
        taken = engine_executor_take(invoke->executor, call, err);
    if (taken != ENGINE_FOR_WORKERS)
        return taken == ENGINE_TAKEN;
    return engine_sched_push(&call->engine->sched, call, ENGINE_BY_DEADLINE, true, err);
}

bool tw_engine_submit(struct tw_engine *engine, struct tw_invoke *invoke, struct tw_error *err) {
    struct engine_call *call = engine_call_new(engine, invoke, err);
    if (!call)
        return false;
    go_live(call);
    if (queue(call, err))
        return true;
    engine_invoke_part(invoke);
    tw_module_unref(invoke->module);
    free(call);
    return false;
}

void tw_engine_run(struct tw_engine *engine, struct tw_invoke *invoke) {
    prepare(invoke);
    invoke->instance = NULL;
    struct engine_call *call = engine_call_new(engine, invoke, &invoke->error);
    if (!call) {
        if (invoke->done)
            invoke->done(invoke);
        return;
    }
    call->on_caller = true;
    call->may_go_on = false; // nobody else could answer it
    go_live(call);
    run_here(call, engine_call_step);
}

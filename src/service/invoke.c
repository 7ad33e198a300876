// SPDX-License-Identifier: Apache-2.0
//
// One call, from its request to its answer. The steps:
//
//     begin ──module open, JSON short──▶ hand over to the engine ──▶ (runs) ──▶ on_invoke_done ──▶ call->done
//       └──else opened and read on the pool ──┘
//
// A call that is cancelled before the hand-over ends there; after it, the engine stops it.

#include "service/instances.h"
#include "telemetry/telemetry.h"

// What a call needs beside its request; dies with the call.
struct call_state {
    struct tw_service *service;
    struct service_function *function;
    struct service_instance *instance; // NULL: a fresh one
    struct tw_service_call *call;
    struct tw_lease lease; // of the tenant's concurrent calls
    struct tw_task open_task;
    struct tw_json *body;
    struct tw_str export;
    char *export_text;
    struct tw_value *args;           // as many as the export takes
    bool is_submitted, is_cancelled; // guarded by the call's stripe of service->call_locks
};

static struct tw_lock *lock_of(struct tw_service *service, const struct tw_service_call *call) {
    return &service->call_locks[((uintptr_t)call >> 6) % SERVICE_CALL_LOCKS];
}

static void free_state(struct call_state *state) {
    tw_quota_give(&state->lease);
    tw_json_free(state->body);
    free(state->export_text);
    free(state->args);
    service_function_unref(state->function);
    service_instance_unref(state->instance);
    free(state);
}

// JSON mode: {export?, args?}.
static bool read_body(struct call_state *state, const struct tw_json **ret_args, struct tw_error *err) {
    struct tw_service_call *call = state->call;
    *ret_args = NULL;
    if (!call->is_json)
        return true;
    state->body = tw_json_parse(call->body.len ? call->body : tw_span_of("{}", 2), err);
    if (!state->body)
        return false;
    if (tw_json_type(state->body) != TW_JSON_OBJECT)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "the body has to be an object with the members export and args, both optional");
    const char *key;
    const struct tw_json *value;
    for (void *iter = NULL; tw_json_next(state->body, &iter, &key, &value);) {
        if (strcmp(key, "args") == 0)
            *ret_args = value;
        else if (strcmp(key, "export") == 0 && tw_json_type(value) == TW_JSON_STRING)
            state->export = tw_json_str(value);
        else
            return tw_fail(
                err, TW_ERR_INVALID_REQUEST,
                "'%.64s' is not known or of the wrong type; there are export (a string) and args (an array)",
                key);
    }
    return true;
}

// The export's arguments; the default export called with raw input takes none.
static bool read_args(struct call_state *state, const struct tw_json *json, struct tw_error *err) {
    struct tw_invoke *invoke = &state->call->invoke;
    if (state->export.len) {
        state->export_text = tw_str_dup(state->export);
        if (!state->export_text)
            return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    }
    const struct tw_signature *signature = tw_module_export_find(invoke->module, state->export_text);
    if (!signature && state->export_text)
        return tw_fail(err, TW_ERR_MISSING_EXPORT,
                       "function '%s' has no export '%.100s'; GET /functions/%s lists them",
                       state->function->name, state->export_text, state->function->name);
    if (!signature)
        return tw_fail(err, TW_ERR_MISSING_EXPORT,
                       "function '%s' exports neither _start nor main; name an export",
                       state->function->name);
    bool is_c_main =
        !json && strcmp(signature->name, "main") == 0; // main(argc, argv): the engine fills them in
    invoke->export = state->export_text;
    invoke->signature = signature;
    invoke->arg_count = is_c_main ? 0 : signature->param_count;
    if (invoke->arg_count) {
        state->args = tw_alloc_zero(invoke->arg_count, sizeof *state->args);
        if (!state->args)
            return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    }
    invoke->args = state->args;
    return is_c_main || tw_args_from_json(signature, json, state->args, err);
}

static int64_t deadline_of(const struct call_state *state, int64_t now_ns) {
    uint32_t limit_ms = state->function->config.timeout_ms ? state->function->config.timeout_ms
                                                           : state->service->options.invoke_timeout_ms;
    uint32_t wanted_ms = state->call->deadline_ms;
    return now_ns + (wanted_ms && wanted_ms < limit_ms ? wanted_ms : limit_ms) * TW_NS_PER_MS;
}

enum { ESCAPED_MAX = 6 }; // bytes that JSON makes of one

// Writes {"function_id","result",…} or passes the guest's output on.
static bool write_answer(struct call_state *state, struct tw_error *err) {
    struct tw_service_call *call = state->call;
    struct tw_invoke *invoke = &call->invoke;
    call->status = invoke->status ? invoke->status : 200;
    if (!call->is_json) {
        call->body_out = invoke->output;
        invoke->output = (struct tw_buf){};
        call->content_type = invoke->content_type[0] ? invoke->content_type : "application/octet-stream";
        return true;
    }
    struct tw_json_writer writer;
    tw_buf_init(&call->body_out, ESCAPED_MAX * (invoke->output.len + invoke->stderr_text.len) + 65536 +
                                     TW_INVOKE_VALUES_MAX * 64);
    tw_json_write_init(&writer, &call->body_out);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "function_id");
    tw_json_write_str(&writer, tw_str_from(state->function->id));
    if (state->instance) {
        tw_json_write_key(&writer, "instance_id");
        tw_json_write_str(&writer, tw_str_from(state->instance->id));
    }
    tw_json_write_key(&writer, "result");
    tw_results_to_json(invoke->results, invoke->result_count, &writer);
    if (invoke->output.len) {
        struct tw_str text = tw_buf_str(&invoke->output);
        bool is_text = tw_utf8_valid(text);
        tw_json_write_key(&writer, is_text ? "output" : "output_b64");
        [[gnu::cleanup(tw_buf_done)]] struct tw_buf base64;
        tw_buf_init(&base64, text.len * 2 + 8);
        if (!is_text && tw_base64_append(&base64, tw_buf_span(&invoke->output)))
            text = tw_buf_str(&base64);
        tw_json_write_str(&writer, text);
    }
    if (invoke->stderr_text.len)
        tw_json_write_text(&writer, "stderr", tw_buf_str(&invoke->stderr_text));
    tw_json_write_end(&writer, '}');
    call->content_type = "application/json";
    call->status = 200;
    return tw_json_write_done(&writer) || tw_fail(err, TW_ERR_CAPACITY, "out of memory for the answer");
}

// ---- counting ----

void service_calls_init(struct tw_service *service) {
    static const char *const phases[SERVICE_PHASES] = {"queue", "start", "run", "kernel"};
    for (size_t i = 0; i < SERVICE_PHASES; i++)
        service->phases[i] =
            tw_series_get(TW_METRIC_INVOKE_SECONDS, (struct tw_labels){.values = {phases[i]}});
    service->good_calls =
        tw_series_get(TW_METRIC_INVOKES, (struct tw_labels){.values = {tw_code_name(TW_OK)}});
}

static void count_outcome(const struct tw_service *service, enum tw_code code) {
    if (code == TW_OK)
        tw_series_add(service->good_calls, 1);
    else
        tw_metric_add(TW_METRIC_INVOKES, (struct tw_labels){.values = {tw_code_name(code)}}, 1);
}

static void count_call(const struct tw_service *service, const struct tw_service_call *call) {
    const struct tw_invoke_times *times = &call->invoke.times;
    count_outcome(service, call->error.code);
    if (!times->ended_ns)
        return;
    const int64_t phases[SERVICE_PHASES] = {
        times->started_ns - times->queued_ns, times->running_ns - times->started_ns,
        times->ended_ns - times->running_ns - (int64_t)times->kernel_ns, (int64_t)times->kernel_ns};
    // One that never came to its guest (cancelled, refused) has only waited.
    size_t count = times->running_ns ? SERVICE_PHASES : times->started_ns ? 1 : 0;
    for (size_t i = 0; i < count; i++)
        tw_series_observe(service->phases[i], (double)(phases[i] > 0 ? phases[i] : 0) * 1e-9);
}

// The call's phases, as spans of whatever asked for it.
static void record_spans(const struct tw_service_call *call) {
    const struct tw_invoke_times *times = &call->invoke.times;
    if (!tw_trace_is_on(call->trace) || !times->queued_ns || !times->ended_ns)
        return;
    enum tw_code code = call->error.code;
    bool was_taken = times->started_ns, has_run = times->running_ns;
    int64_t started_ns = was_taken ? times->started_ns : times->ended_ns;
    int64_t running_ns = has_run ? times->running_ns : times->ended_ns;
    tw_trace_span(call->trace, TW_SPAN_QUEUE, times->queued_ns, started_ns, was_taken ? TW_OK : code, 0);
    if (was_taken)
        tw_trace_span(call->trace, TW_SPAN_ACQUIRE, started_ns, running_ns, has_run ? TW_OK : code, 0);
    if (has_run)
        tw_trace_span(call->trace, TW_SPAN_CALL, running_ns, times->ended_ns, code, 0);
}

// From here on cancel finds nothing to do. The thread that handed the call over, or one that cancels it, may still
// hold the lock.
static void close_to_cancel(struct call_state *state) {
    TW_LOCK_SCOPE(lock_of(state->service, state->call));
    state->call->state = NULL;
}

// The last step: tells the caller, after which the call is theirs again.
static void finish(struct call_state *state) {
    struct tw_service *service = state->service;
    struct tw_service_call *call = state->call;
    count_call(service, call);
    record_spans(call);
    free_state(state);
    call->done(call);
    service_leave(service);
}

static void on_invoke_done(struct tw_invoke *invoke) {
    struct call_state *state = invoke->context;
    struct tw_service_call *call = state->call;
    close_to_cancel(state);
    if (invoke->goes_on)
        state->lease = (struct tw_lease){}; // the engine gives it back, once the guest has ended
    if (invoke->error.code != TW_OK)
        call->error = invoke->error;
    else
        (void)write_answer(state, &call->error);
    finish(state);
}

static bool forward_emit(struct tw_invoke *invoke, struct tw_span bytes) {
    struct call_state *state = invoke->context;
    return state->call->emit(state->call, bytes);
}

static bool forward_is_slow(struct tw_invoke *invoke, bool waits) {
    struct call_state *state = invoke->context;
    return state->call->is_slow(state->call, waits);
}

// Hands the call over to the engine. On true it may have ended already. `executor`: this thread's, or NULL.
static bool hand_over(struct call_state *state, struct tw_executor *executor, struct tw_error *err) {
    struct tw_service *service = state->service;
    struct tw_service_call *call = state->call;
    struct tw_invoke *invoke = &call->invoke;
    const struct tw_json *args;
    invoke->module = service_function_open(service, state->function, err);
    if (!invoke->module || !read_body(state, &args, err) || !read_args(state, args, err))
        return false;
    tw_json_free(state->body); // what was read of it is copied, and it may be large
    state->body = NULL;
    state->export = (struct tw_str){};
    invoke->instance = state->instance ? state->instance->kept : NULL;
    invoke->tenant = state->function->tenant;
    invoke->account = state->lease.account;
    invoke->input = call->is_json ? (struct tw_span){} : call->body;
    // Without an executor it may have waited for its module to be opened, which is not the call's time.
    invoke->queued_ns = executor && call->asked_ns ? call->asked_ns : tw_clock_ns();
    invoke->deadline_ns = deadline_of(state, invoke->queued_ns);
    invoke->trace_id = call->trace_id;
    invoke->trace = call->trace;
    invoke->wasi_args = (const char *const *)state->function->config.args;
    invoke->wasi_env = (const char *const *)state->function->config.env;
    invoke->emit = call->emit ? forward_emit : NULL;
    invoke->is_slow = call->is_slow ? forward_is_slow : NULL;
    invoke->done = on_invoke_done;
    invoke->context = state;
    invoke->executor = executor;
    invoke->is_patient = call->is_patient;
    invoke->has_permit = true;
    TW_LOCK_SCOPE(lock_of(service, call));
    if (state->is_cancelled)
        return tw_fail(err, TW_ERR_CANCELLED, "the client went away");
    state->is_submitted = true;
    if (tw_engine_submit(service->engine, invoke, err))
        return true;
    state->is_submitted = false;
    return false;
}

static void open_then_hand_over(struct tw_task *task) {
    struct call_state *state = (struct call_state *)((char *)task - offsetof(struct call_state, open_task));
    struct tw_error err = {};
    if (hand_over(state, NULL, &err))
        return;
    close_to_cancel(state);
    state->call->error = err;
    finish(state);
}

static bool begin(struct call_state *state, struct tw_error *err) {
    const struct tw_service_call *call = state->call;
    bool is_quick = !call->is_json || call->body.len <= SERVICE_AT_ONCE_MAX;
    if (is_quick && tw_flag_is_raised(&state->function->is_open))
        return hand_over(state, call->executor, err);
    state->open_task.run = open_then_hand_over;
    tw_task_set_account(&state->open_task, state->lease.account);
    return tw_pool_submit(state->service->pool, &state->open_task, err);
}

bool tw_service_invoke(struct tw_service *service, const struct tw_caller *caller,
                       struct tw_service_call *call, struct tw_error *err) {
    struct tw_lease lease;
    return tw_quota_admit(service->quotas, caller->tenant, &lease, err) &&
           service_invoke_admitted(service, caller, call, &lease, err);
}

// What is called, with a reference: a function, or an instance with the version it was made from.
static struct service_function *find_function(struct tw_service *service, uint64_t tenant,
                                              const struct tw_service_call *call,
                                              struct service_instance **ret_instance, struct tw_error *err) {
    if (!call->instance.len)
        return service_registry_get(service, tenant, call->function, err);
    *ret_instance = service_instance_get(service, tenant, call->instance, err);
    return *ret_instance ? service_function_ref((*ret_instance)->function) : NULL;
}

bool service_invoke_admitted(struct tw_service *service, const struct tw_caller *caller,
                             struct tw_service_call *call, struct tw_lease *lease, struct tw_error *err) {
    if (!service_enter(service, err)) {
        tw_quota_give(lease);
        return false;
    }
    struct call_state *state = tw_alloc(sizeof *state);
    if (!state)
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    struct service_instance *instance = NULL;
    struct service_function *function =
        state ? find_function(service, caller->tenant, call, &instance, err) : NULL;
    if (!function) {
        tw_quota_give(lease);
        free(state);
        service_leave(service);
        return false;
    }
    *state = (struct call_state){.service = service,
                                 .function = function,
                                 .instance = instance,
                                 .call = call,
                                 .export = call->export,
                                 .lease = *lease};
    *lease = (struct tw_lease){};
    call->service = service;
    call->state = state;
    if (begin(state, err))
        return true;
    call->state = NULL;
    count_outcome(service, err ? err->code : TW_ERR_INTERNAL);
    free_state(state);
    service_leave(service);
    return false;
}

void tw_service_call_cancel(struct tw_service_call *call) {
    if (!call->service)
        return;
    TW_LOCK_SCOPE(lock_of(call->service, call));
    struct call_state *state = call->state;
    if (!state)
        return; // it has ended
    state->is_cancelled = true;
    if (state->is_submitted)
        tw_invoke_cancel(&call->invoke);
}

void tw_service_call_resume(struct tw_service_call *call) {
    if (!call->service)
        return;
    TW_LOCK_SCOPE(lock_of(call->service, call));
    const struct call_state *state = call->state;
    if (state && state->is_submitted)
        tw_invoke_resume(&call->invoke);
}

void tw_service_call_init(struct tw_service_call *call) {
    memset(call, 0, offsetof(struct tw_service_call, invoke.results));
}

void tw_service_call_done(struct tw_service_call *call) {
    tw_buf_done(&call->body_out);
    tw_buf_done(&call->invoke.output);
    tw_buf_done(&call->invoke.stderr_text);
    tw_buf_done(&call->invoke.backtrace);
}

bool tw_service_executor_init(struct tw_service *service, struct tw_executor *executor,
                              struct tw_error *err) {
    return tw_executor_init(executor, service->engine, err);
}

void tw_service_executor_done(struct tw_executor *executor) {
    tw_executor_done(executor);
}

uint32_t tw_service_executor_waiting(const struct tw_executor *executor) {
    return tw_executor_waiting(executor);
}

bool tw_service_executor_run(struct tw_executor *executor, int64_t budget_ns) {
    return tw_executor_run(executor, budget_ns);
}

bool tw_service_call_detail(const struct tw_service_call *call, struct tw_buf *out) {
    const struct tw_invoke *invoke = &call->invoke;
    bool ok = true;
    if (call->error.code == TW_ERR_GUEST_TRAP) {
        ok = tw_buf_printf(out, ",\"trap\":\"%s\"", invoke->trap_kind);
        if (invoke->backtrace.len)
            ok = ok && tw_buf_append_str(out, TW_STR(",\"backtrace\":")) &&
                 tw_buf_append_str(out, tw_buf_str(&invoke->backtrace));
    }
    if (call->error.code == TW_ERR_GUEST_EXIT)
        ok = tw_buf_printf(out, ",\"exit_code\":%d", invoke->exit_code);
    if (invoke->stderr_text.len == 0 || !ok)
        return ok;
    struct tw_json_writer writer;
    if (!tw_buf_append_str(out, TW_STR(",\"stderr\":")))
        return false;
    tw_json_write_init(&writer, out);
    tw_json_write_str(&writer, tw_buf_str(&invoke->stderr_text));
    return tw_json_write_done(&writer);
}

// SPDX-License-Identifier: Apache-2.0
//
// Event loops run echo and long themselves. One worker thread ends the other calls in the order in which they become ready; held calls wait in a list. Calls that
// emit run on the pool, because they may have to wait for the client.

#include "fake_service.h"

enum { OUTPUT_MAX = 256 << 20, WAIT_S = 100 };

// What a call needs; in call->state.
struct fake_call {
    struct tw_task task;
    struct tw_service_call *call;
    struct fake_call *next;
    bool is_cancelled, is_resumed;
};

// Guarded by lock.
struct tw_service {
    struct tw_pool *pool;
    pthread_t worker;
    struct tw_lock lock;
    struct tw_cond changed;
    struct fake_call *held, *ready, **ready_last;
    unsigned running, cancelled, waits;
    int once_status;
    size_t once_len;
    bool stops, is_released;
};

static void run(struct fake_call *fake);

static void worker(void *context) {
    struct tw_service *service = context;
    tw_lock_take(&service->lock);
    while (!service->stops || service->ready) {
        struct fake_call *fake = service->ready;
        if (!fake) {
            tw_cond_wait(&service->changed, &service->lock, TW_NO_DEADLINE);
            continue;
        }
        service->ready = fake->next;
        if (!service->ready)
            service->ready_last = &service->ready;
        tw_lock_give(&service->lock);
        run(fake);
        tw_lock_take(&service->lock);
    }
    tw_lock_give(&service->lock);
}

struct tw_service *fake_service_new(void) {
    struct tw_service *service = calloc(1, sizeof *service);
    struct tw_error err;
    tw_lock_init(&service->lock);
    tw_cond_init(&service->changed);
    service->ready_last = &service->ready;
    service->pool = tw_pool_new("fake", 4, 1024, &err);
    if (!service->pool || !tw_thread_start(&service->worker, "fake-worker", worker, service, &err))
        abort();
    return service;
}

void fake_service_free(struct tw_service *service) {
    tw_pool_free(service->pool);
    tw_lock_take(&service->lock);
    service->stops = true;
    tw_cond_wake_all(&service->changed);
    tw_lock_give(&service->lock);
    tw_thread_join(service->worker);
    tw_cond_done(&service->changed);
    tw_lock_done(&service->lock);
    free(service);
}

static void make_ready_locked(struct tw_service *service, struct fake_call *fake) {
    fake->next = NULL;
    *service->ready_last = fake;
    service->ready_last = &fake->next;
    tw_cond_wake_all(&service->changed);
}

void fake_release(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->lock);
    service->is_released = true;
    tw_cond_wake_all(&service->changed);
    while (service->held) {
        struct fake_call *fake = service->held;
        service->held = fake->next;
        make_ready_locked(service, fake);
    }
}

unsigned fake_running(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->lock);
    return service->running;
}

unsigned fake_cancelled(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->lock);
    return service->cancelled;
}

static bool wait_for(struct tw_service *service, const unsigned *value, unsigned count) {
    int64_t deadline_ns = tw_clock_ns() + WAIT_S * TW_NS_PER_S;
    TW_LOCK_SCOPE(&service->lock);
    while (*value < count)
        if (!tw_cond_wait(&service->changed, &service->lock, deadline_ns))
            return false;
    return true;
}

bool fake_wait_waits(struct tw_service *service, unsigned count) {
    return wait_for(service, &service->waits, count);
}

bool fake_wait_cancelled(struct tw_service *service, unsigned count) {
    return wait_for(service, &service->cancelled, count);
}

bool fake_wait_running(struct tw_service *service, unsigned count) {
    return wait_for(service, &service->running, count);
}

// ---- calls ----

static bool is(const struct tw_service_call *call, const char *name) {
    return tw_str_equal(call->function, tw_str_from(name));
}

static uint64_t number(const struct tw_service_call *call) {
    uint64_t value = 0;
    return tw_str_u64(call->export, &value) ? value : 0;
}

// As the engine does it: a writer that is too fast waits until the loop says that its client has caught up.
static void wait_for_client(struct tw_service_call *call) {
    struct tw_service *service = call->service;
    struct fake_call *fake = call->state;
    if (!is(call, "stream") || !call->is_slow || !call->is_slow(call, false) || !call->is_slow(call, true))
        return;
    TW_LOCK_SCOPE(&service->lock);
    service->waits++;
    tw_cond_wake_all(&service->changed);
    while (!fake->is_resumed && !fake->is_cancelled)
        tw_cond_wait(&service->changed, &service->lock, TW_NO_DEADLINE);
    fake->is_resumed = false;
}

void tw_service_call_resume(struct tw_service_call *call) {
    struct tw_service *service = call->service;
    TW_LOCK_SCOPE(&service->lock);
    struct fake_call *fake = call->state;
    if (fake)
        fake->is_resumed = true;
    tw_cond_wake_all(&service->changed);
}

static void emit_pieces(struct tw_service_call *call, uint64_t count) {
    char piece[1000];
    for (uint64_t i = 0; i < count; i++) {
        memset(piece, 'a' + (int)(i % 26), sizeof piece);
        bool ok = call->emit ? call->emit(call, tw_span_of(piece, sizeof piece))
                             : tw_buf_append(&call->body_out, piece, sizeof piece);
        if (!ok) {
            tw_fail(&call->error, TW_ERR_CANCELLED, "the client went away");
            return;
        }
        wait_for_client(call);
    }
}

static bool fill_x(struct tw_buf *out, uint64_t count) {
    uint8_t *room = count ? tw_buf_reserve(out, count) : NULL;
    if (!room)
        return count == 0;
    memset(room, 'x', count);
    tw_buf_commit(out, count);
    return true;
}

static void fill(struct tw_service_call *call) {
    call->status = 200;
    call->content_type = call->is_json ? "application/json" : "application/octet-stream";
    tw_buf_init(&call->body_out, OUTPUT_MAX);
    bool ok = true;
    if (is(call, "echo") && call->is_json)
        ok = tw_buf_printf(&call->body_out, "{\"function_id\":\"echo\",\"result\":%zu}", call->body.len);
    else if (is(call, "echo"))
        ok = tw_buf_append(&call->body_out, call->body.data, call->body.len);
    else if (is(call, "size"))
        ok = fill_x(&call->body_out, number(call));
    else if (is(call, "stream") || is(call, "tail") || is(call, "rude"))
        emit_pieces(call, number(call));
    else if (is(call, "half")) {
        if (call->emit)
            (void)call->emit(call, tw_span_of("half", 4));
        tw_fail(&call->error, TW_ERR_GUEST_TRAP, "unreachable");
    } else if (is(call, "teapot")) {
        call->status = 418;
        call->content_type = "text/tea";
    } else if (is(call, "inject")) {
        call->content_type = "text/plain\r\nX-Evil: 1";
    } else if (is(call, "trap")) {
        tw_fail(&call->error, TW_ERR_GUEST_TRAP, "integer divide by zero");
    }
    if (!ok)
        tw_fail(&call->error, TW_ERR_CAPACITY, "no memory");
}

static void run(struct fake_call *fake) {
    struct tw_service_call *call = fake->call;
    struct tw_service *service = call->service;
    tw_lock_take(&service->lock);
    bool is_cancelled = fake->is_cancelled;
    tw_lock_give(&service->lock);
    if (is_cancelled)
        tw_fail(&call->error, TW_ERR_CANCELLED, "cancelled");
    else
        fill(call);
    tw_lock_take(&service->lock);
    while (is(call, "tail") && !service->is_released)
        tw_cond_wait(&service->changed, &service->lock, TW_NO_DEADLINE);
    call->state = NULL;
    service->running--;
    tw_cond_wake_all(&service->changed);
    tw_lock_give(&service->lock);
    free(fake);
    call->done(call);
}

static void run_task(struct tw_task *task) {
    run((struct fake_call *)((char *)task - offsetof(struct fake_call, task)));
}

// ---- on an event loop's thread ----

// Confined to the loop's thread of the moment.
struct engine_executor {
    struct tw_service *service;
    struct fake_call *first, **last;
};

bool tw_service_executor_init(struct tw_service *service, struct tw_executor *executor,
                              [[maybe_unused]] struct tw_error *err) {
    executor->state = calloc(1, sizeof *executor->state);
    *executor->state = (struct engine_executor){.service = service, .last = &executor->state->first};
    return true;
}

void tw_service_executor_done(struct tw_executor *executor) {
    free(executor->state);
}

uint32_t tw_service_executor_waiting(const struct tw_executor *executor) {
    uint32_t count = 0;
    for (const struct fake_call *fake = executor->state->first; fake; fake = fake->next)
        count++;
    return count;
}

static void count_running(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->lock);
    service->running++;
    tw_cond_wake_all(&service->changed);
}

static void take_on_loop(struct tw_executor *executor, struct fake_call *fake) {
    count_running(executor->state->service);
    fake->next = NULL;
    *executor->state->last = fake;
    executor->state->last = &fake->next;
}

static void wait_released(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->lock);
    while (!service->is_released)
        tw_cond_wait(&service->changed, &service->lock, TW_NO_DEADLINE);
}

bool tw_service_executor_run(struct tw_executor *executor, [[maybe_unused]] int64_t budget_ns) {
    struct engine_executor *state = executor->state;
    struct fake_call *fake;
    while ((fake = state->first)) {
        struct tw_service *service = state->service;
        state->first = fake->next;
        if (!state->first)
            state->last = &state->first;
        bool is_long = is(fake->call, "long");
        if (is_long) {
            executor->overdue(executor); // `state` is another thread's from here on
            wait_released(service);
            executor->replaced(executor);
        }
        run(fake);
        if (is_long)
            return false;
    }
    return true;
}

bool tw_service_invoke(struct tw_service *service, [[maybe_unused]] const struct tw_caller *caller,
                       struct tw_service_call *call, struct tw_error *err) {
    static const char *const known[] = {"echo",   "hold",   "size", "stream", "tail", "half",
                                        "teapot", "inject", "trap", "long",   "rude"};
    bool is_known = false;
    for (size_t i = 0; i < TW_COUNT(known); i++)
        is_known |= is(call, known[i]);
    if (is(call, "busy"))
        return tw_fail(err, TW_ERR_CAPACITY, "the queue is full");
    if (!is_known)
        return tw_fail(err, TW_ERR_NOT_FOUND, "there is no such function");
    struct fake_call *fake = calloc(1, sizeof *fake);
    fake->call = call;
    fake->task.run = run_task;
    call->service = service;
    call->state = fake;
    if (call->executor && !call->emit && (is(call, "echo") || is(call, "long"))) {
        take_on_loop(call->executor, fake);
        return true;
    }
    TW_LOCK_SCOPE(&service->lock);
    service->running++;
    tw_cond_wake_all(&service->changed);
    if (is(call, "hold")) {
        fake->next = service->held;
        service->held = fake;
    } else if (call->emit) {
        return tw_pool_submit(service->pool, &fake->task, err);
    } else {
        make_ready_locked(service, fake);
    }
    return true;
}

void tw_service_call_init(struct tw_service_call *call) {
    *call = (struct tw_service_call){};
}

void tw_service_call_cancel(struct tw_service_call *call) {
    struct tw_service *service = call->service;
    if (!service)
        return;
    TW_LOCK_SCOPE(&service->lock);
    struct fake_call *fake = call->state;
    if (!fake || fake->is_cancelled)
        return;
    fake->is_cancelled = true;
    service->cancelled++;
    tw_cond_wake_all(&service->changed);
    for (struct fake_call **link = &service->held; *link; link = &(*link)->next) {
        if (*link == fake) {
            *link = fake->next;
            make_ready_locked(service, fake);
            return;
        }
    }
}

void tw_service_call_done(struct tw_service_call *call) {
    tw_buf_done(&call->body_out);
}

bool tw_service_call_detail(const struct tw_service_call *call, struct tw_buf *out) {
    return call->error.code != TW_ERR_GUEST_TRAP || tw_buf_printf(out, ",\"trap\":\"divide_by_zero\"");
}

// ---- the rest: enough to see what the gateway passed on ----

bool tw_service_submit(struct tw_service *service, [[maybe_unused]] const struct tw_caller *caller,
                       struct tw_task *task, struct tw_error *err) {
    return tw_pool_submit(service->pool, task, err);
}

const char *tw_service_path([[maybe_unused]] const struct tw_service *service) {
    return "/tmp";
}

bool tw_service_ready([[maybe_unused]] struct tw_service *service, struct tw_buf *out,
                      [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"status\":\"ready\"}");
}

bool tw_service_devices([[maybe_unused]] struct tw_service *service, struct tw_buf *out) {
    return tw_buf_printf(out, "{\"devices\":[]}");
}

bool tw_version_json(struct tw_buf *out) {
    return tw_buf_printf(out, "{\"version\":\"test\"}");
}

bool tw_service_observe([[maybe_unused]] struct tw_service *service,
                        [[maybe_unused]] const struct tw_caller *caller, struct tw_json_writer *writer,
                        [[maybe_unused]] struct tw_error *err) {
    tw_json_write_number(writer, "fake", 1);
    return true;
}

bool tw_service_deploy([[maybe_unused]] struct tw_service *service, const struct tw_caller *caller,
                       struct tw_deploy *deploy, struct tw_buf *out, struct tw_error *err) {
    if (deploy->name.len == 0)
        return tw_fail(err, TW_ERR_INVALID_NAME, "no name");
    return tw_buf_printf(
        out, "{\"name\":\"%.*s\",\"bytes\":%zu,\"tenant\":%" PRIu64 ",\"replace\":%d,\"config\":%zu}",
        TW_STR_ARG(deploy->name), deploy->wasm.len, caller->tenant, deploy->replace,
        deploy->config ? tw_json_count(deploy->config) : 0);
}

void tw_deploy_done([[maybe_unused]] struct tw_deploy *deploy) {
}

bool tw_service_functions([[maybe_unused]] struct tw_service *service,
                          [[maybe_unused]] const struct tw_caller *caller, struct tw_str cursor,
                          uint32_t limit, struct tw_buf *out, [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"cursor\":\"%.*s\",\"limit\":%u}", TW_STR_ARG(cursor), limit);
}

bool tw_service_function_get([[maybe_unused]] struct tw_service *service,
                             [[maybe_unused]] const struct tw_caller *caller, struct tw_str id,
                             struct tw_buf *out, struct tw_error *err) {
    if (tw_str_equal(id, TW_STR("nobody")))
        return tw_fail(err, TW_ERR_NOT_FOUND, "there is no function nobody");
    return tw_buf_printf(out, "{\"id\":\"%.*s\"}", TW_STR_ARG(id));
}

bool tw_service_function_delete([[maybe_unused]] struct tw_service *service,
                                [[maybe_unused]] const struct tw_caller *caller, struct tw_str id,
                                struct tw_error *err) {
    return !tw_str_equal(id, TW_STR("nobody")) ||
           tw_fail(err, TW_ERR_NOT_FOUND, "there is no function nobody");
}

bool tw_service_prewarm([[maybe_unused]] struct tw_service *service,
                        [[maybe_unused]] const struct tw_caller *caller, [[maybe_unused]] struct tw_str id,
                        uint32_t count, struct tw_buf *out, [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"warm\":%u}", count);
}

bool tw_service_job_start([[maybe_unused]] struct tw_service *service,
                          [[maybe_unused]] const struct tw_caller *caller,
                          const struct tw_job_request *request, struct tw_buf *out, struct tw_error *err) {
    if (tw_str_equal(request->function, TW_STR("missing")))
        return tw_fail(err, TW_ERR_NOT_FOUND, "no such function");
    return tw_buf_printf(out, "{\"job_id\":\"job-1\",\"state\":\"queued\"}");
}

bool tw_service_jobs([[maybe_unused]] struct tw_service *service,
                     [[maybe_unused]] const struct tw_caller *caller, [[maybe_unused]] struct tw_str cursor,
                     [[maybe_unused]] uint32_t limit, struct tw_buf *out,
                     [[maybe_unused]] struct tw_error *err) {
    return tw_buf_printf(out, "{\"jobs\":[],\"next\":null}");
}

bool tw_service_job_get([[maybe_unused]] struct tw_service *service,
                        [[maybe_unused]] const struct tw_caller *caller, struct tw_str id, struct tw_buf *out,
                        struct tw_error *err) {
    if (!tw_str_equal(id, TW_STR("job-1")))
        return tw_fail(err, TW_ERR_NOT_FOUND, "no such job");
    return tw_buf_printf(out, "{\"job_id\":\"job-1\",\"state\":\"done\"}");
}

bool tw_service_job_cancel([[maybe_unused]] struct tw_service *service,
                           [[maybe_unused]] const struct tw_caller *caller, struct tw_str id,
                           struct tw_error *err) {
    return tw_str_equal(id, TW_STR("job-1")) || tw_fail(err, TW_ERR_NOT_FOUND, "no such job");
}

bool tw_service_once_begin([[maybe_unused]] struct tw_service *service,
                           [[maybe_unused]] const struct tw_caller *caller, struct tw_str key,
                           [[maybe_unused]] const struct tw_digest *request, int *ret_status,
                           struct tw_buf *out, struct tw_error *err) {
    if (tw_str_equal(key, TW_STR("busy")))
        return tw_fail(err, TW_ERR_IN_PROGRESS, "still worked on");
    if (tw_str_equal(key, TW_STR("other")))
        return tw_fail(err, TW_ERR_KEY_REUSED, "another request");
    *ret_status = tw_str_equal(key, TW_STR("again")) ? 201 : 0;
    return *ret_status == 0 || tw_buf_printf(out, "{\"stored\":1}");
}

void tw_service_once_end(struct tw_service *service, [[maybe_unused]] const struct tw_caller *caller,
                         [[maybe_unused]] struct tw_str key, int status, struct tw_str body) {
    TW_LOCK_SCOPE(&service->lock);
    service->once_status = status;
    service->once_len = body.len;
}

int fake_once_status(struct tw_service *service, size_t *ret_len) {
    TW_LOCK_SCOPE(&service->lock);
    *ret_len = service->once_len;
    return service->once_status;
}

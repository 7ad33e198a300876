// SPDX-License-Identifier: Apache-2.0
//
// Starting, listing, reading and cancelling jobs.
//
//     queued ──▶ running ──▶ done | failed | cancelled ──(an hour)──▶ forgotten
//
// A job is acknowledged when its record is on disk, and shown as ended only when its outcome is; a restart
// turns what had not ended into failed, with the kind `interrupted`.

#include "service/jobs.h"
#include "telemetry/telemetry.h"

static void count_active(int64_t delta) {
    tw_metric_add(TW_METRIC_JOBS_ACTIVE, tw_labels(), delta);
}

// ---- the table ----

static bool table_add(struct tw_service *service, struct service_job *job, struct tw_error *err) {
    TW_LOCK_SCOPE(&service->lock);
    return tw_map_put(&service->jobs, tw_key_str(tw_str_from(job->id)), job) ||
           tw_fail(err, TW_ERR_CAPACITY, "this server keeps %d jobs already; delete some", SERVICE_JOBS_MAX);
}

static struct service_job *table_get(struct tw_service *service, uint64_t tenant, struct tw_str id,
                                     struct tw_error *err) {
    TW_LOCK_SCOPE(&service->lock);
    struct service_job *job = tw_map_find(&service->jobs, tw_key_str(id));
    if (job && job->tenant == tenant)
        return service_job_ref(job);
    tw_fail(err, TW_ERR_NOT_FOUND,
            "there is no job '%.*s' of tenant %" PRIu64 "; jobs are kept for %d s after they end",
            (int)(id.len < 64 ? id.len : 64), id.data, tenant, SERVICE_JOB_KEEP_S);
    return NULL;
}

static bool ended_before(struct service_job *job, int64_t wall_ns) {
    TW_LOCK_SCOPE(&job->lock);
    return service_job_has_ended_locked(job) && job->ended_ns < wall_ns;
}

// Takes expired jobs out of the table; a list through `next_expired`, each with the table's reference.
static struct service_job *take_expired(struct tw_service *service) {
    struct service_job *expired = NULL;
    int64_t oldest_ns = tw_clock_wall_ns() - SERVICE_JOB_KEEP_S * TW_NS_PER_S;
    TW_LOCK_SCOPE(&service->lock);
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->jobs, &position, &key, &value)) {
        struct service_job *job = value;
        if (ended_before(job, oldest_ns)) {
            job->next_expired = expired;
            expired = job;
        }
    }
    for (struct service_job *job = expired; job; job = job->next_expired)
        tw_map_remove(&service->jobs, tw_key_str(tw_str_from(job->id)));
    return expired;
}

static void forget_expired(struct tw_service *service) {
    for (struct service_job *job = take_expired(service); job;) {
        struct service_job *next = job->next_expired;
        struct tw_error ignored = {}; // a record that stays is found expired again after the next start
        (void)tw_store_delete_record(service->store, "job", job->id, &ignored);
        service_job_unref(job);
        job = next;
    }
}

static bool check_quota(struct tw_service *service, uint64_t tenant, struct tw_error *err) {
    uint32_t count = 0;
    TW_LOCK_SCOPE(&service->lock);
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->jobs, &position, &key, &value))
        count += ((const struct service_job *)value)->tenant == tenant;
    if (count >= SERVICE_JOBS_TENANT_MAX)
        return tw_fail(err, TW_ERR_QUOTA,
                       "tenant %" PRIu64 " has %" PRIu32
                       " jobs, the limit is %d; delete some that have ended",
                       tenant, count, SERVICE_JOBS_TENANT_MAX);
    return true;
}

// ---- running ----

static void end_trace(struct service_job *job) {
    struct tw_trace_root root = {.name = "job",
                                 .function = tw_str_from(job->function),
                                 .tenant = job->tenant,
                                 .code = job->call.error.code};
    tw_trace_end(&job->trace, &root, tw_clock_ns());
}

static enum job_state state_of(const struct tw_service_call *call, bool is_kept) {
    if (call->error.code == TW_ERR_CANCELLED)
        return JOB_CANCELLED;
    return call->error.code == TW_OK && is_kept ? JOB_DONE : JOB_FAILED;
}

// The outcome counts as the tenant's stored bytes. One that finds no room there is replaced by the reason, which is short
// and always finds some.
static char *make_room(struct service_job *job, char *outcome, bool *kept) {
    struct tw_quotas *quotas = job->service->quotas;
    struct tw_lease lease = {};
    struct tw_error err = {};
    if (*kept && outcome &&
        !tw_quota_take(quotas, job->tenant, TW_RESOURCE_STORED, strlen(outcome), &lease, &err)) {
        free(outcome);
        *kept = false;
        tw_wrap(&err, "the result could not be kept");
        outcome = service_job_problem(&err);
    }
    uint64_t stored = outcome ? strlen(outcome) : 0;
    if (tw_quota_settle(quotas, job->tenant, TW_RESOURCE_STORED, (int64_t)stored, &lease, &err)) {
        TW_LOCK_SCOPE(&job->lock);
        job->stored = stored;
    }
    tw_quota_give(&lease);
    return outcome;
}

// Makes the end durable, then visible. On the blocking pool.
static void finish(struct tw_task *task) {
    struct service_job *job =
        (struct service_job *)((char *)task - offsetof(struct service_job, finish_task));
    const struct tw_service_call *call = &job->call;
    bool is_kept;
    char *outcome = service_job_outcome(call, &is_kept);
    outcome = make_room(job, outcome, &is_kept);
    tw_log_trace_set(job->trace_id[0] ? job->trace_id : NULL);
    struct service_job shown = {.service = job->service, .tenant = job->tenant, .outcome = outcome};
    int64_t now_ns = tw_clock_wall_ns();
    enum job_state state = state_of(call, is_kept);
    // The record is written from a copy, so that nobody sees the job ended before the disk has it.
    memcpy(shown.id, job->id, sizeof shown.id);
    memcpy(shown.function_id, job->function_id, sizeof shown.function_id);
    memcpy(shown.function, job->function, sizeof shown.function);
    tw_lock_init(&shown.lock);
    shown.state = state;
    shown.created_ns = job->created_ns;
    shown.started_ns =
        call->invoke.times.started_ns ? now_ns - (tw_clock_ns() - call->invoke.times.started_ns) : 0;
    shown.ended_ns = now_ns;
    struct tw_error err = {};
    if (!service_job_save(&shown, &err))
        tw_log(TW_LOG_ERROR, "service", "a job's end could not be stored", "job", job->id, "error",
               err.message, NULL);
    tw_lock_done(&shown.lock);
    {
        TW_LOCK_SCOPE(&job->lock);
        job->state = state;
        job->started_ns = shown.started_ns;
        job->ended_ns = shown.ended_ns;
        job->outcome = outcome;
    }
    count_active(-1);
    end_trace(job);
    tw_log_trace_set(NULL);
    struct tw_service *service = job->service;
    service_job_unref(job);
    service_leave(service);
}

static void on_done(struct tw_service_call *call) {
    struct service_job *job = call->context;
    struct tw_error err = {};
    job->finish_task.run = finish;
    if (!tw_service_submit(job->service, &job->caller, &job->finish_task, &err))
        finish(&job->finish_task); // no room there: this worker waits for the disk itself
}

static bool begin_call(struct service_job *job, const struct tw_job_request *request, struct tw_error *err) {
    job->call = (struct tw_service_call){.function = tw_str_from(job->function_id),
                                         .is_json = request->is_json,
                                         .body = tw_buf_span(&job->body),
                                         .export = tw_str_from(job->export),
                                         .deadline_ms = request->deadline_ms,
                                         .trace_id = job->trace_id[0] ? job->trace_id : NULL,
                                         .trace = &job->trace,
                                         .is_patient = true,
                                         .done = on_done,
                                         .context = job};
    if (!service_invoke_admitted(job->service, &job->caller, &job->call, &job->lease, err))
        return false;
    bool cancel_asked;
    {
        TW_LOCK_SCOPE(&job->lock);
        if (job->state == JOB_QUEUED) // it may have ended already
            job->state = JOB_RUNNING;
        cancel_asked = job->cancel_asked;
    }
    if (cancel_asked)
        tw_service_call_cancel(&job->call);
    return true;
}

static bool copy_request(struct service_job *job, const struct tw_job_request *request,
                         const struct service_function *function, struct tw_error *err) {
    uint8_t random[12];
    tw_random(random, sizeof random);
    memcpy(job->id, "job-", 4);
    tw_hex(tw_span_of(random, sizeof random), job->id + 4);
    memcpy(job->function_id, function->id, sizeof job->function_id);
    memcpy(job->function, function->name, sizeof job->function);
    job->tenant = function->tenant;
    job->created_ns = tw_clock_wall_ns();
    if (request->trace_id)
        snprintf(job->trace_id, sizeof job->trace_id, "%s", request->trace_id);
    tw_trace_follow(&job->trace, request->trace);
    tw_buf_init(&job->body, request->body.len + 1);
    job->export = tw_str_dup(request->export);
    return (job->export && tw_buf_append(&job->body, request->body.data, request->body.len)) ||
           tw_fail(err, TW_ERR_CAPACITY, "out of memory");
}

static bool start(struct tw_service *service, struct service_job *job, const struct tw_job_request *request,
                  struct tw_error *err) {
    if (!service_job_save(job, err) || !table_add(service, job, err))
        return false;
    count_active(1);
    service_job_ref(job); // the call's, given back in finish
    service_job_ref(job); // ours, while the call may end and the job be deleted
    service_enter_again(service);
    struct tw_error refusal = {};
    if (!begin_call(job, request, &refusal)) {
        job->call.error = refusal;
        on_done(&job->call); // ends at once, as failed
    }
    service_job_unref(job);
    return true;
}

bool tw_service_job_start(struct tw_service *service, const struct tw_caller *caller,
                          const struct tw_job_request *request, struct tw_buf *out, struct tw_error *err) {
    forget_expired(service);
    if (!service_enter(service, err))
        return false;
    struct service_function *function = service_registry_get(service, caller->tenant, request->function, err);
    struct service_job *job =
        function && check_quota(service, caller->tenant, err) ? service_job_new(service, err) : NULL;
    bool ok = job && tw_quota_admit(service->quotas, caller->tenant, &job->lease, err) &&
              copy_request(job, request, function, err);
    if (ok) {
        job->caller = *caller;
        ok = tw_buf_printf(out, "{\"job_id\":\"%s\",\"state\":\"queued\"}", job->id) ||
             tw_fail(err, TW_ERR_INTERNAL, "the answer does not fit its buffer");
    }
    ok = ok && start(service, job, request, err);
    if (!ok)
        service_job_unref(job); // else the reference is the table's now
    service_function_unref(function);
    service_leave(service);
    return ok;
}

// ---- looking and cancelling ----

bool tw_service_job_get(struct tw_service *service, const struct tw_caller *caller, struct tw_str id,
                        struct tw_buf *out, struct tw_error *err) {
    struct service_job *job = table_get(service, caller->tenant, id, err);
    if (!job)
        return false;
    tw_lock_take(&job->lock);
    bool ok = service_job_json_locked(job, out, err);
    tw_lock_give(&job->lock);
    service_job_unref(job);
    return ok;
}

static bool remove_ended(struct tw_service *service, struct service_job *job, struct tw_error *err) {
    if (!tw_store_delete_record(service->store, "job", job->id, err))
        return false;
    struct service_job *removed;
    {
        TW_LOCK_SCOPE(&service->lock);
        removed = tw_map_remove(&service->jobs, tw_key_str(tw_str_from(job->id)));
    }
    service_job_unref(removed);
    return true;
}

// Stops it unless it has ended; true when it had.
static bool cancel_unless_ended(struct service_job *job) {
    tw_lock_take(&job->lock);
    bool has_ended = service_job_has_ended_locked(job), is_running = job->state == JOB_RUNNING;
    job->cancel_asked = true;
    tw_lock_give(&job->lock);
    if (!has_ended && is_running)
        tw_service_call_cancel(&job->call);
    return has_ended;
}

bool tw_service_job_cancel(struct tw_service *service, const struct tw_caller *caller, struct tw_str id,
                           struct tw_error *err) {
    struct service_job *job = table_get(service, caller->tenant, id, err);
    if (!job)
        return false;
    bool ok = !cancel_unless_ended(job) || remove_ended(service, job, err);
    service_job_unref(job);
    return ok;
}

static bool is_left_to_cancel(struct service_job *job) {
    TW_LOCK_SCOPE(&job->lock);
    return !service_job_has_ended_locked(job) && !job->cancel_asked;
}

// The next job to cancel, with a reference.
static struct service_job *next_to_cancel(struct tw_service *service) {
    TW_LOCK_SCOPE(&service->lock);
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->jobs, &position, &key, &value))
        if (is_left_to_cancel(value))
            return service_job_ref(value);
    return NULL;
}

void tw_service_cancel_jobs(struct tw_service *service) {
    for (struct service_job *job; (job = next_to_cancel(service));) {
        cancel_unless_ended(job);
        service_job_unref(job);
    }
}

// The newest first; the cursor is the creation time and id of the last one shown.
static bool is_after(const struct service_job *job, int64_t created_ns, const char *id) {
    return job->created_ns < created_ns || (job->created_ns == created_ns && strcmp(job->id, id) > 0);
}

struct job_page {
    struct service_job *items[SERVICE_PAGE_MAX + 1];
    uint32_t count, limit;
};

static void page_insert(struct job_page *page, struct service_job *job) {
    uint32_t at = page->count;
    while (at > 0 && is_after(page->items[at - 1], job->created_ns, job->id))
        at--;
    if (at == page->limit)
        return;
    uint32_t last = page->count < page->limit ? page->count++ : page->limit - 1;
    memmove(&page->items[at + 1], &page->items[at], (last - at) * sizeof *page->items);
    page->items[at] = job;
}

// "NANOSECONDS:ID"; empty: from the newest.
static bool parse_cursor(struct tw_str cursor, int64_t *ret_created_ns, char ret_id[TW_FUNCTION_ID_MAX + 1],
                         struct tw_error *err) {
    *ret_created_ns = INT64_MAX;
    ret_id[0] = 0;
    if (cursor.len == 0)
        return true;
    uint64_t created_ns;
    if (!tw_str_u64(tw_str_cut(&cursor, ':'), &created_ns) || cursor.len == 0 ||
        cursor.len > TW_FUNCTION_ID_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the cursor is not one this server gave");
    *ret_created_ns = (int64_t)created_ns;
    snprintf(ret_id, TW_FUNCTION_ID_MAX + 1, "%.*s", TW_STR_ARG(cursor));
    return true;
}

static void page_collect(struct tw_service *service, uint64_t tenant, int64_t created_ns, const char *id,
                         struct job_page *page) {
    TW_LOCK_SCOPE(&service->lock);
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->jobs, &position, &key, &value)) {
        struct service_job *job = value;
        if (job->tenant == tenant && is_after(job, created_ns, id))
            page_insert(page, job);
    }
    for (uint32_t i = 0; i < page->count; i++)
        service_job_ref(page->items[i]);
}

// Writes and gives back the references.
static bool page_write(struct job_page *page, struct tw_buf *out, struct tw_error *err) {
    uint32_t shown = page->count < page->limit ? page->count : page->limit - 1;
    bool ok = tw_buf_append_str(out, TW_STR("{\"jobs\":["));
    for (uint32_t i = 0; i < shown && ok; i++) {
        TW_LOCK_SCOPE(&page->items[i]->lock);
        ok = (i == 0 || tw_buf_append_byte(out, ',')) && service_job_json_locked(page->items[i], out, err);
    }
    const struct service_job *last = shown ? page->items[shown - 1] : NULL;
    ok = ok && (page->count > shown
                    ? tw_buf_printf(out, "],\"next\":\"%" PRId64 ":%s\"}", last->created_ns, last->id)
                    : tw_buf_append_str(out, TW_STR("],\"next\":null}")));
    for (uint32_t i = 0; i < page->count; i++)
        service_job_unref(page->items[i]);
    return ok || tw_buf_fail(out, err, TW_ERR_INVALID_REQUEST,
                             "the page is larger than %zu bytes; ask for fewer jobs with limit=", out->max);
}

bool tw_service_jobs(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                     uint32_t limit, struct tw_buf *out, struct tw_error *err) {
    int64_t created_ns;
    char id[TW_FUNCTION_ID_MAX + 1];
    if (limit > SERVICE_PAGE_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "limit is %" PRIu32 "; 1 to %d are allowed", limit,
                       SERVICE_PAGE_MAX);
    if (!parse_cursor(cursor, &created_ns, id, err))
        return false;
    forget_expired(service);
    struct job_page page = {.limit = (limit ? limit : SERVICE_PAGE_DEFAULT) + 1};
    page_collect(service, caller->tenant, created_ns, id, &page);
    return page_write(&page, out, err);
}

// ---- start and end of the server ----

struct load_state {
    struct tw_service *service;
    struct tw_error *err;
    bool failed;
};

static bool load(void *context, const char *key, struct tw_span data, uint64_t version) {
    (void)version;
    struct load_state *state = context;
    struct service_job *job = service_job_decode(state->service, data, state->err);
    if (job && !service_job_has_ended_locked(job)) {
        job->state = JOB_FAILED;
        job->ended_ns = tw_clock_wall_ns();
        free(job->outcome);
        job->outcome = tw_str_dup(TW_STR("\"error\":{\"kind\":\"interrupted\",\"message\":\"the server "
                                         "stopped before the job ended; start it again\"}"));
        (void)service_job_save(job, state->err); // if this fails, the next start says the same again
        *state->err = (struct tw_error){};
    }
    if (job && job->outcome &&
        tw_quota_settle(state->service->quotas, job->tenant, TW_RESOURCE_STORED,
                        (int64_t)strlen(job->outcome), NULL, state->err))
        job->stored = strlen(job->outcome);
    state->failed = !job || !table_add(state->service, job, state->err);
    if (!state->failed)
        return true;
    service_job_unref(job);
    tw_wrap(state->err, "loading job '%s'", key);
    return false;
}

bool service_jobs_init(struct tw_service *service, struct tw_error *err) {
    struct load_state state = {.service = service, .err = err};
    return tw_store_each_record(service->store, "job", load, &state, err) && !state.failed;
}

void service_jobs_done(struct tw_service *service) {
    size_t position = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(&service->jobs, &position, &key, &value))
        service_job_unref(value);
    tw_map_done(&service->jobs);
}

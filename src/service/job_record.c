// SPDX-License-Identifier: Apache-2.0
//
// A job as an object, as JSON, and as a record in the store.

#include "service/jobs.h"

static const char *const state_names[] = {"queued", "running", "done", "failed", "cancelled"};

struct service_job *service_job_new(struct tw_service *service, struct tw_error *err) {
    struct service_job *job = tw_alloc_zero(1, sizeof *job);
    if (!job) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    tw_ref_init(&job->ref);
    tw_lock_init(&job->lock);
    job->service = service;
    return job;
}

struct service_job *service_job_ref(struct service_job *job) {
    tw_ref_up(&job->ref);
    return job;
}

void service_job_unref(struct service_job *job) {
    if (!job || !tw_ref_down(&job->ref))
        return;
    tw_quota_give(&job->lease);
    if (job->stored) // giving back is never refused
        (void)tw_quota_settle(job->service->quotas, job->tenant, TW_RESOURCE_STORED, -(int64_t)job->stored,
                              NULL, NULL);
    tw_service_call_done(&job->call);
    tw_buf_done(&job->body);
    free(job->export);
    free(job->outcome);
    tw_lock_done(&job->lock);
    free(job);
}

bool service_job_has_ended_locked(const struct service_job *job) {
    return job->state == JOB_DONE || job->state == JOB_FAILED || job->state == JOB_CANCELLED;
}

static void write_time(struct tw_json_writer *writer, const char *key, int64_t wall_ns) {
    char text[TW_TIME_TEXT_SIZE];
    tw_json_write_key(writer, key);
    if (!wall_ns) {
        tw_json_write_null(writer);
        return;
    }
    tw_clock_text(wall_ns, text);
    tw_json_write_str(writer, tw_str_from(text));
}

static void write_text(struct tw_json_writer *writer, const char *key, const char *text) {
    tw_json_write_key(writer, key);
    tw_json_write_str(writer, tw_str_from(text));
}

// The outcome is members, already JSON: it goes before the closing brace as it is.
static bool close_with_outcome(struct tw_json_writer *writer, const char *outcome, struct tw_buf *out) {
    if (outcome && !(tw_buf_append_byte(out, ',') && tw_buf_append_str(out, tw_str_from(outcome))))
        return false;
    tw_json_write_end(writer, '}');
    return tw_json_write_done(writer);
}

bool service_job_json_locked(const struct service_job *job, struct tw_buf *out, struct tw_error *err) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    write_text(&writer, "job_id", job->id);
    write_text(&writer, "function_id", job->function_id);
    write_text(&writer, "function", job->function);
    write_text(&writer, "state", state_names[job->state]);
    write_time(&writer, "created_at", job->created_ns);
    write_time(&writer, "started_at", job->started_ns);
    write_time(&writer, "ended_at", job->ended_ns);
    return close_with_outcome(&writer, job->outcome, out) ||
           tw_fail(err, TW_ERR_CAPACITY, "the job's description is larger than %zu bytes", out->max);
}

bool service_job_save(struct service_job *job, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record;
    struct tw_json_writer writer;
    char tenant[24];
    tw_buf_init(&record, SERVICE_JOB_RECORD_MAX);
    snprintf(tenant, sizeof tenant, "%" PRIu64, job->tenant);
    tw_json_write_init(&writer, &record);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, "format");
    tw_json_write_int(&writer, 1);
    write_text(&writer, "tenant", tenant);
    {
        TW_LOCK_SCOPE(&job->lock);
        const int64_t times[] = {job->created_ns, job->started_ns, job->ended_ns};
        static const char *const keys[] = {"created_ns", "started_ns", "ended_ns"};
        write_text(&writer, "job_id", job->id);
        write_text(&writer, "function_id", job->function_id);
        write_text(&writer, "function", job->function);
        tw_json_write_key(&writer, "state");
        tw_json_write_int(&writer, job->state);
        for (size_t i = 0; i < TW_COUNT(times); i++) {
            tw_json_write_key(&writer, keys[i]);
            tw_json_write_int(&writer, times[i]);
        }
        if (job->outcome)
            write_text(&writer, "outcome", job->outcome);
    }
    tw_json_write_end(&writer, '}');
    if (!tw_json_write_done(&writer))
        return tw_fail(err, TW_ERR_CAPACITY,
                       "the job's result is larger than the %d bytes that are kept of one",
                       SERVICE_JOB_RECORD_MAX);
    return tw_store_put_record(job->service->store, "job", job->id, tw_buf_span(&record), TW_STORE_ANY, NULL,
                               err);
}

static bool copy_member(const struct tw_json *root, const char *key, char *into, size_t size) {
    struct tw_str text = tw_json_str(tw_json_get(root, key));
    if (text.len == 0 || text.len >= size)
        return false;
    memcpy(into, text.data, text.len);
    into[text.len] = 0;
    return true;
}

static bool decode(struct service_job *job, const struct tw_json *root, struct tw_error *err) {
    int64_t state = tw_json_int(tw_json_get(root, "state"));
    bool ok = tw_json_int(tw_json_get(root, "format")) == 1 && state >= 0 &&
              state < (int64_t)TW_COUNT(state_names) &&
              tw_str_u64(tw_json_str(tw_json_get(root, "tenant")), &job->tenant) &&
              copy_member(root, "job_id", job->id, sizeof job->id) &&
              copy_member(root, "function_id", job->function_id, sizeof job->function_id) &&
              copy_member(root, "function", job->function, sizeof job->function);
    if (!ok)
        return tw_fail(err, TW_ERR_STORE, "the job's record is not of this version's form");
    job->state = (enum job_state)state;
    job->created_ns = tw_json_int(tw_json_get(root, "created_ns"));
    job->started_ns = tw_json_int(tw_json_get(root, "started_ns"));
    job->ended_ns = tw_json_int(tw_json_get(root, "ended_ns"));
    struct tw_str outcome = tw_json_str(tw_json_get(root, "outcome"));
    job->outcome = outcome.len ? tw_str_dup(outcome) : NULL;
    return true;
}

struct service_job *service_job_decode(struct tw_service *service, struct tw_span record,
                                       struct tw_error *err) {
    struct tw_json *root = tw_json_parse(record, err);
    struct service_job *job = root ? service_job_new(service, err) : NULL;
    if (job && !decode(job, root, err)) {
        service_job_unref(job);
        job = NULL;
    }
    tw_json_free(root);
    return job;
}

// {"function_id":…,"result":…,…} without the braces and the function's id, which the job has itself.
static bool append_answer(struct tw_buf *out, const struct tw_service_call *call) {
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_buf_span(&call->body_out), &err);
    bool ok = root && tw_buf_append_str(out, TW_STR("\"result\":")) &&
              tw_json_append(out, tw_json_get(root, "result"));
    static const char *const keys[] = {"output", "output_b64", "stderr"};
    for (size_t i = 0; i < TW_COUNT(keys); i++) {
        const struct tw_json *value = tw_json_get(root, keys[i]);
        ok = ok && (!value || (tw_buf_printf(out, ",\"%s\":", keys[i]) && tw_json_append(out, value)));
    }
    tw_json_free(root);
    return ok;
}

static bool append_raw(struct tw_buf *out, const struct tw_service_call *call) {
    struct tw_str text = tw_buf_str(&call->body_out);
    bool is_text = tw_utf8_valid(text);
    struct tw_json_writer writer;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf base64;
    tw_buf_init(&base64, 2 * text.len + 8);
    if (!is_text && !tw_base64_append(&base64, tw_buf_span(&call->body_out)))
        return false;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    write_text(&writer, "content_type", call->content_type);
    tw_json_write_key(&writer, is_text ? "output" : "output_b64");
    tw_json_write_str(&writer, is_text ? text : tw_buf_str(&base64));
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) && tw_service_call_detail(call, out);
}

// `"error":{"kind":…,"message":…`, still open.
static bool append_problem(struct tw_buf *out, const struct tw_error *err) {
    struct tw_json_writer writer;
    if (!tw_buf_printf(out, "\"error\":{\"kind\":\"%s\",\"message\":", tw_code_name(err->code)))
        return false;
    tw_json_write_init(&writer, out);
    tw_json_write_str(&writer, tw_str_from(err->message));
    return tw_json_write_done(&writer);
}

// The buffer's text, which is the caller's then; NULL unless `ok`.
static char *finish(struct tw_buf *out, bool ok) {
    size_t len;
    char *text = ok ? (char *)tw_buf_take(out, &len) : NULL;
    tw_buf_done(out);
    return text;
}

char *service_job_problem(const struct tw_error *err) {
    struct tw_buf out;
    tw_buf_init(&out, 4096);
    bool ok = append_problem(&out, err) && tw_buf_append_byte(&out, '}');
    return finish(&out, ok);
}

char *service_job_outcome(const struct tw_service_call *call, bool *ret_kept) {
    struct tw_buf out;
    tw_buf_init(&out, SERVICE_JOB_RECORD_MAX / 2);
    bool ok;
    if (call->error.code != TW_OK)
        ok = append_problem(&out, &call->error) && tw_service_call_detail(call, &out) &&
             tw_buf_append_byte(&out, '}');
    else if (call->is_json)
        ok = append_answer(&out, call);
    else
        ok = tw_buf_append_str(&out, TW_STR("\"result\":")) && append_raw(&out, call);
    *ret_kept = ok;
    if (ok)
        return finish(&out, true);
    tw_buf_done(&out);
    struct tw_error err = {};
    tw_fail(&err, TW_ERR_CAPACITY,
            "the result could not be kept: it is larger than the %d bytes that are kept of a job, or memory "
            "ran out",
            SERVICE_JOB_RECORD_MAX / 2);
    return service_job_problem(&err);
}

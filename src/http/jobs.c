// SPDX-License-Identifier: Apache-2.0
//
// POST /functions/{id}/invoke-async and /jobs: calls whose caller does not wait. The body is an invoke's. All
// of them may touch the store, so they run on the service's pool.

#include "http/handlers.h"
#include "http/internal.h"
#include "http/invoke.h"

enum { ANSWER_MAX = 64 << 20 };

static void start(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    struct tw_job_request request = {.function = x->params[0],
                                     .is_json = http_content_type_is(x, TW_STR("application/json")),
                                     .body = http_body(x),
                                     .trace_id = x->trace_id,
                                     .trace = &x->trace};
    tw_buf_init(&out, ANSWER_MAX);
    bool ok = http_call_deadline(x, &request.deadline_ms, &err) &&
              http_query_find(x, TW_STR("export"), &request.export, &err) &&
              tw_service_job_start(http_service(x), &x->caller, &request, &out, &err);
    http_respond_result(x, ok, 202, &out, &err);
}

void http_job_start(struct http_exchange *x) {
    http_run_blocking(x, start);
}

static void list(struct http_exchange *x) {
    http_answer_page(x, ANSWER_MAX, tw_service_jobs);
}

void http_job_list(struct http_exchange *x) {
    http_run_blocking(x, list);
}

static void get(struct http_exchange *x) {
    http_answer_object(x, ANSWER_MAX, tw_service_job_get);
}

void http_job_get(struct http_exchange *x) {
    http_run_blocking(x, get);
}

static void cancel(struct http_exchange *x) {
    struct tw_error err = {};
    bool ok = tw_service_job_cancel(http_service(x), &x->caller, x->params[0], &err);
    http_answer_gone(x, ok, &err);
}

void http_job_cancel(struct http_exchange *x) {
    http_run_blocking(x, cancel);
}

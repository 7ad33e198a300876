// SPDX-License-Identifier: Apache-2.0
//
// What is told of requests: a line each at the level debug, one at the level error for what is our own fault, and
// the last answers of status 5xx, which GET /observe shows. Repeats of the newest are counted in it, so that an
// overload does not push everything else out.

#include "http/internal.h"

void http_journal_answer(const struct http_exchange *x) {
    if (!tw_log_enabled(TW_LOG_DEBUG, "http"))
        return;
    int64_t time_us = (tw_clock_ns() - x->started_ns) / TW_NS_PER_US;
    char status[8], time[24], tenant[24];
    snprintf(status, sizeof status, "%d", x->reply.status);
    snprintf(time, sizeof time, "%" PRId64, time_us);
    snprintf(tenant, sizeof tenant, "%" PRIu64, x->caller.tenant);
    tw_log(TW_LOG_DEBUG, "http", "request", "method", http_method_name(x->method), "route",
           x->route ? x->route->template : "other", "status", status, "us", time, "outcome",
           tw_code_name(x->outcome), "tenant", tenant, "request", x->request_id, "trace", x->trace_id, NULL);
}

void http_journal_failure(const struct http_exchange *x, const struct tw_error *err) {
    const char *route = x->route ? x->route->template : "other";
    if (err->code == TW_ERR_INTERNAL)
        tw_log(TW_LOG_ERROR, "http", "a request failed", "error", err->message, "route", route, "request",
               x->request_id, "trace", x->trace_id, NULL);
    if (tw_code_status(err->code) < 500)
        return;
    struct http_journal *journal = &x->loop->http->journal;
    TW_LOCK_SCOPE(&journal->lock);
    struct http_failure *newest =
        &journal->failures[(journal->next + HTTP_FAILURES_KEPT - 1) % HTTP_FAILURES_KEPT];
    bool is_repeat = newest->count && newest->code == err->code && newest->route == route &&
                     newest->tenant == x->caller.tenant;
    struct http_failure *failure = is_repeat ? newest : &journal->failures[journal->next];
    if (!is_repeat)
        journal->next = (journal->next + 1) % HTTP_FAILURES_KEPT;
    *failure = (struct http_failure){.count = is_repeat ? newest->count + 1 : 1,
                                     .time_ns = tw_clock_wall_ns(),
                                     .code = err->code,
                                     .route = route,
                                     .tenant = x->caller.tenant};
    memcpy(failure->message, err->message, sizeof failure->message);
    memcpy(failure->request_id, x->request_id, sizeof failure->request_id);
    memcpy(failure->trace_id, x->trace_id, sizeof failure->trace_id);
}

static void write_failure(struct tw_json_writer *writer, const struct http_failure *failure) {
    char time[TW_TIME_TEXT_SIZE];
    tw_clock_text(failure->time_ns, time);
    tw_json_write_object(writer);
    tw_json_write_text(writer, "time", tw_str_from(time));
    tw_json_write_text(writer, "kind", tw_str_from(tw_code_name(failure->code)));
    tw_json_write_text(writer, "message", tw_str_from(failure->message));
    tw_json_write_text(writer, "route", tw_str_from(failure->route));
    tw_json_write_id(writer, "tenant", failure->tenant);
    tw_json_write_text(writer, "request_id", tw_str_from(failure->request_id));
    tw_json_write_text(writer, "trace_id", tw_str_from(failure->trace_id));
    tw_json_write_number(writer, "count", failure->count);
    tw_json_write_end(writer, '}');
}

void http_journal_write(struct http_journal *journal, struct tw_json_writer *writer) {
    TW_LOCK_SCOPE(&journal->lock);
    tw_json_write_array(writer);
    for (unsigned i = 1; i <= HTTP_FAILURES_KEPT; i++) {
        const struct http_failure *failure =
            &journal->failures[(journal->next + HTTP_FAILURES_KEPT - i) % HTTP_FAILURES_KEPT];
        if (failure->count)
            write_failure(writer, failure);
    }
    tw_json_write_end(writer, ']');
}

// SPDX-License-Identifier: Apache-2.0
//
// POST /functions/{id}/invoke. The loop starts the call, and runs it at the end of its turn when it can at
// once; else the service's workers do. When the client goes away the call is cancelled. application/json is {export?,
// args?}; any other body is the guest's input and the guest's output is the answer. invoke_stream.c shares the start
// and the failure.

#include "http/invoke.h"

#include "http/handlers.h"
#include "http/internal.h"

enum { DETAIL_MAX = 192 << 10 };

static void on_abort(struct http_exchange *x) {
    tw_service_call_cancel(&x->call); // nothing happens when it has ended meanwhile
}

void http_call_problem(struct http_exchange *x, struct http_reply *reply, const struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf detail;
    tw_buf_init(&detail, DETAIL_MAX);
    x->outcome = err->code;
    http_journal_failure(x, err);
    bool ok = tw_service_call_detail(&x->call, &detail);
    http_reply_problem(reply, err, ok ? tw_buf_str(&detail) : TW_STR(""));
    tw_service_call_done(&x->call);
}

// May it stand in a header? The guest chose it.
static bool is_media_type(struct tw_str text) {
    return text.len > 0 && !tw_str_has_control(text) && memchr(text.data, '/', text.len);
}

struct tw_str http_call_type(const char *chosen) {
    struct tw_str type = tw_str_trim(tw_str_from(chosen));
    return is_media_type(type) ? type : TW_STR("application/octet-stream");
}

bool http_call_status_check(int status, struct tw_error *err) {
    return (status >= 200 && status <= 599) ||
           tw_fail(err, TW_ERR_GUEST_TRAP, "the function set the status %d; 200 to 599 can be sent", status);
}

// On the loop's thread, or on a worker, once.
void http_call_answer(struct tw_service_call *call) {
    struct http_exchange *x = call->context;
    struct tw_error *err = &call->error;
    if (err->code != TW_OK || !http_call_status_check(call->status, err)) {
        http_call_problem(x, &x->reply, err);
    } else {
        x->reply.status = call->status;
        x->reply.content_type = http_call_type(call->content_type);
        x->reply.body = call->body_out;
        call->body_out = (struct tw_buf){};
        tw_service_call_done(call);
    }
    http_respond(x);
}

// ---- starting ----

bool http_call_deadline(const struct http_exchange *x, uint32_t *ret_ms, struct tw_error *err) {
    struct tw_str text = http_header_find(x, TW_STR("x-tensorwasm-deadline-ms"));
    uint64_t value = 0;
    bool is_there = http_header_has(x, TW_STR("x-tensorwasm-deadline-ms"));
    if (is_there && (!tw_str_u64(text, &value) || value == 0 || value > UINT32_MAX))
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "X-TensorWasm-Deadline-Ms takes a whole number of milliseconds above 0");
    *ret_ms = (uint32_t)value;
    return true;
}

static bool prepare(struct http_exchange *x, struct tw_error *err) {
    struct tw_service_call *call = &x->call;
    call->is_json = http_content_type_is(x, TW_STR("application/json"));
    call->body = http_body(x);
    call->trace_id = x->trace_id;
    call->trace = &x->trace;
    call->context = x;
    call->executor = &x->loop->executor;
    call->asked_ns = x->loop->now_ns;
    return http_call_deadline(x, &call->deadline_ms, err) &&
           http_query_find(x, TW_STR("export"), &call->export, err);
}

struct tw_service_call *http_call_new(struct http_exchange *x) {
    tw_service_call_init(&x->call);
    return &x->call;
}

void http_call_start(struct http_exchange *x) {
    struct tw_error err = {};
    if (!prepare(x, &err)) {
        http_fail(x, &err);
        return;
    }
    x->on_abort = on_abort;
    if (tw_service_invoke(http_service(x), &x->caller, &x->call, &err))
        return;
    tw_service_call_done(&x->call);
    http_fail(x, &err);
}

void http_function_invoke(struct http_exchange *x) {
    struct tw_service_call *call = http_call_new(x);
    call->function = x->params[0];
    call->done = http_call_answer;
    http_call_start(x);
}

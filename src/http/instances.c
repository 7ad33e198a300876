// SPDX-License-Identifier: Apache-2.0
//
// /instances: make one that keeps its state, list, read, end; call it as a function is called. Making one may open
// the function and run start code, ending one frees its memory: both on the service's pool.

#include "http/handlers.h"
#include "http/internal.h"
#include "http/invoke.h"

enum { ANSWER_MAX = 16 << 20 };

// {"function", "idle_ms"?}; `request` points into the JSON.
static bool read_request(const struct tw_json *root, struct tw_instance_request *request,
                         struct tw_error *err) {
    const char *key;
    const struct tw_json *value;
    if (tw_json_type(root) != TW_JSON_OBJECT)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "the body has to be an object with function, an id or name");
    for (void *iter = NULL; tw_json_next(root, &iter, &key, &value);) {
        bool is_idle = strcmp(key, "idle_ms") == 0 && tw_json_type(value) == TW_JSON_INT &&
                       tw_json_int(value) > 0 && tw_json_int(value) <= UINT32_MAX;
        if (is_idle)
            request->idle_ms = (uint32_t)tw_json_int(value);
        else if (strcmp(key, "function") == 0 && tw_json_type(value) == TW_JSON_STRING)
            request->function = tw_json_str(value);
        else
            return tw_fail(
                err, TW_ERR_INVALID_REQUEST,
                "'%.64s' is not known or of the wrong kind; there are function (an id or name) and "
                "idle_ms (milliseconds, above 0)",
                key);
    }
    return request->function.len ||
           tw_fail(err, TW_ERR_INVALID_REQUEST, "function is missing: the id or name of what to make one of");
}

static void make(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    struct tw_instance_request request = {};
    tw_buf_init(&out, ANSWER_MAX);
    struct tw_json *root = tw_json_parse(http_body(x), &err);
    bool ok = root && read_request(root, &request, &err);
    if (ok)
        http_audit_object(x, request.function);
    ok = ok && tw_service_instance_new(http_service(x), &x->caller, &request, &out, &err);
    tw_json_free(root);
    http_respond_result(x, ok, 201, &out, &err);
}

void http_instance_new(struct http_exchange *x) {
    http_run_blocking(x, make);
}

static void list(struct http_exchange *x) {
    http_answer_page(x, ANSWER_MAX, tw_service_instances);
}

void http_instance_list(struct http_exchange *x) {
    http_run_blocking(x, list);
}

void http_instance_get(struct http_exchange *x) {
    http_answer_object(x, ANSWER_MAX, tw_service_instance_get);
}

static void delete(struct http_exchange *x) {
    struct tw_error err = {};
    bool ok = tw_service_instance_delete(http_service(x), &x->caller, x->params[0], &err);
    http_answer_gone(x, ok, &err);
}

void http_instance_delete(struct http_exchange *x) {
    http_run_blocking(x, delete);
}

void http_instance_invoke(struct http_exchange *x) {
    struct tw_service_call *call = http_call_new(x);
    call->instance = x->params[0];
    call->done = http_call_answer;
    http_call_start(x);
}

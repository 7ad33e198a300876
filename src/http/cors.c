// SPDX-License-Identifier: Apache-2.0
//
// OPTIONS, and what browsers ask before a page of another origin may use the API (Fetch Standard, 3.2: CORS
// protocol). Only origins that the operator has named are told yes. Where origins are named one by one,
// credentials are allowed too, for proxies that sign users in with cookies; with "*" they never are.

#include "http/internal.h"

static bool is_any(const struct http_allow *origins) {
    for (unsigned i = 0; i < origins->count; i++)
        if (tw_str_equal(origins->items[i], TW_STR("*")))
            return true;
    return false;
}

// Access-Control-Allow-Origin, when the request's origin is allowed.
static bool allow_origin(struct http_exchange *x) {
    const struct http_allow *origins = &x->loop->http->origins;
    struct tw_str origin = http_header_find(x, TW_STR("origin"));
    if (origins->count && !is_any(origins))
        x->reply.vary |= HTTP_VARY_ORIGIN;
    if (!origin.len || !http_origin_is_allowed(origins, origin))
        return false;
    http_reply_header(&x->reply, "Access-Control-Allow-Origin", is_any(origins) ? TW_STR("*") : origin);
    if (!is_any(origins))
        http_reply_header(&x->reply, "Access-Control-Allow-Credentials", TW_STR("true"));
    return true;
}

void http_cors_answer(struct http_exchange *x) {
    if (!x->loop->http->origins.count || x->method == HTTP_OPTIONS_)
        return;
    if (allow_origin(x))
        http_reply_header(
            &x->reply, "Access-Control-Expose-Headers",
            TW_STR("Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Retry-After, "
                   "X-Request-Id, X-Trace-Id"));
}

void http_options(struct http_exchange *x) {
    x->reply.status = 204;
    bool is_preflight = http_header_find(x, TW_STR("access-control-request-method")).len;
    if (x->loop->http->origins.count && is_preflight && allow_origin(x)) {
        struct http_reply *reply = &x->reply;
        http_reply_header(reply, "Access-Control-Allow-Methods", TW_STR("GET, HEAD, POST, PUT, DELETE"));
        http_reply_header(
            reply, "Access-Control-Allow-Headers",
            TW_STR("Authorization, Content-Type, Idempotency-Key, If-None-Match, If-Range, Range, "
                   "X-TensorWasm-Tenant, X-TensorWasm-Deadline-Ms, traceparent, tracestate"));
        http_reply_header(reply, "Access-Control-Max-Age", TW_STR("600"));
    }
    http_respond(x);
}

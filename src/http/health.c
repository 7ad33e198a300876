// SPDX-License-Identifier: Apache-2.0
//
// What orchestrators and dashboards ask: alive, ready, which build, the API's description. The numbers: scrape.c.

#include "http/handlers.h"
#include "http/internal.h"
#include "http/openapi.h"

enum { READY_MAX = 64 << 10, VERSION_MAX = 16 << 10 };

void http_healthz(struct http_exchange *x) {
    static const char body[] = "{\"status\":\"ok\"}\n";
    x->reply.status = 200;
    x->reply.content_type = TW_STR("application/json");
    x->reply.borrowed = tw_span_of(body, sizeof body - 1);
    http_respond(x);
}

static void check_ready(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, READY_MAX);
    if (tw_service_ready(http_service(x), &out, &err))
        http_respond_json(x, 200, &out);
    else
        http_fail(x, &err);
    tw_buf_done(&out);
}

void http_readyz(struct http_exchange *x) {
    struct tw_error err = {};
    if (!tw_flag_is_raised(&x->loop->http->leaving)) {
        http_run_blocking(x, check_ready);
        return;
    }
    tw_fail(&err, TW_ERR_DRAINING, "the server is shutting down; send requests elsewhere");
    http_fail(x, &err);
}

void http_version(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, VERSION_MAX);
    if (tw_version_json(&out)) {
        http_respond_json(x, 200, &out);
    } else {
        tw_fail(&err, TW_ERR_CAPACITY, "no memory for the version");
        http_fail(x, &err);
    }
    tw_buf_done(&out);
}

void http_openapi(struct http_exchange *x) {
    x->reply.status = 200;
    x->reply.content_type = TW_STR("application/json");
    http_text_reply(x->loop->http->openapi, &x->reply);
    http_etag_set(x, tw_str_from(http_openapi_tag));
    http_respond(x);
}

// SPDX-License-Identifier: Apache-2.0
//
// What orchestrators and dashboards ask: alive, ready, which build, the API's description, the numbers.

#include "http/handlers.h"
#include "http/internal.h"
#include "http/openapi.h"
#include "telemetry/telemetry.h"

enum { READY_MAX = 64 << 10, VERSION_MAX = 16 << 10, METRICS_MAX = 32 << 20 };

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
    x->reply.borrowed = tw_span_of(http_openapi_text, http_openapi_len);
    http_etag_set(x, tw_str_from(http_openapi_tag));
    http_respond(x);
}

// Does the Accept header name OpenMetrics? Scrapers that can read it list it first.
static bool wants_openmetrics(const struct http_exchange *x) {
    struct tw_str rest = http_header_find(x, TW_STR("accept"));
    while (rest.len) {
        struct tw_str range = tw_str_cut(&rest, ',');
        if (tw_str_equal_nocase(tw_str_trim(tw_str_cut(&range, ';')), TW_STR("application/openmetrics-text")))
            return true;
    }
    return false;
}

// On the pool: collectors may take locks of other rooms.
static void write_metrics(struct http_exchange *x) {
    bool openmetrics = wants_openmetrics(x);
    struct tw_error err = {};
    tw_buf_done(&x->reply.body);
    tw_buf_init(&x->reply.body, METRICS_MAX);
    if (!tw_metrics_write(&x->reply.body, openmetrics)) {
        tw_fail(&err, TW_ERR_CAPACITY, "no memory for the metrics");
        http_fail(x, &err);
        return;
    }
    x->reply.status = 200;
    x->reply.vary |= HTTP_VARY_ACCEPT;
    x->reply.content_type = openmetrics ? TW_STR("application/openmetrics-text; version=1.0.0; charset=utf-8")
                                        : TW_STR("text/plain; version=0.0.4; charset=utf-8");
    http_respond(x);
}

void http_metrics(struct http_exchange *x) {
    http_run_blocking(x, write_metrics);
}

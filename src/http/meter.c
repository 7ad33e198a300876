// SPDX-License-Identifier: Apache-2.0
//
// What the gateway counts. Series handles are kept by (route, method, status), so that an answer costs two
// array reads and two relaxed additions; label sets are bounded by the tables.

#include "http/internal.h"

// Statuses with a slot of their own; others (a guest may set any) share the classes at the end.
static const int slots[HTTP_STATUS_SLOTS] = {200, 201, 202, 204, 206, 304, 400, 401, 403,
                                             404, 405, 408, 409, 413, 414, 416, 417, 421,
                                             422, 429, 431, 500, 501, 502, 503, 504, 505};
enum { CLASS_SLOTS = 27 }; // + status / 100 - 1
static const char *const class_names[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};

static unsigned slot_of(int status) {
    for (unsigned i = 0; slots[i]; i++)
        if (slots[i] == status)
            return i;
    return CLASS_SLOTS + (unsigned)(status / 100 - 1) % 5;
}

static size_t cell_count(void) {
    return (size_t)(http_route_count() + 1) * HTTP_METHOD_COUNT * HTTP_STATUS_SLOTS;
}

bool http_meter_init(struct http_loop *loop) {
    loop->requests = tw_alloc_zero(cell_count(), sizeof(struct tw_series *));
    loop->durations = tw_alloc_zero(cell_count(), sizeof(struct tw_series *));
    return loop->requests && loop->durations;
}

void http_meter_done(struct http_loop *loop) {
    free(loop->requests);
    free(loop->durations);
    loop->requests = loop->durations = NULL;
}

void http_meter_answer(struct http_exchange *x) {
    struct http_loop *loop = x->loop;
    unsigned slot = slot_of(x->reply.status);
    unsigned route = x->route ? x->route->index : http_route_count();
    size_t cell = ((size_t)route * HTTP_METHOD_COUNT + x->method) * HTTP_STATUS_SLOTS + slot;
    if (!loop->requests[cell]) {
        char status[8];
        snprintf(status, sizeof status, "%d", x->reply.status);
        struct tw_labels labels = {.values = {x->route ? x->route->template : "other",
                                              http_method_name(x->method),
                                              slot < CLASS_SLOTS ? status : class_names[slot - CLASS_SLOTS]}};
        loop->requests[cell] = tw_series_get(TW_METRIC_HTTP_REQUESTS, labels);
        loop->durations[cell] = tw_series_get(TW_METRIC_HTTP_DURATION, labels);
    }
    tw_series_add(loop->requests[cell], 1);
    x->ended_ns = tw_clock_ns();
    tw_series_observe(loop->durations[cell], (double)(x->ended_ns - x->started_ns) / 1e9);
}

void http_meter_collect(void *context) {
    struct tw_http *http = context;
    int64_t in_flight = 0;
    for (unsigned i = 0; i < http->loop_count; i++)
        in_flight += tw_counter_get(&http->loops[i].in_flight);
    tw_metric_set(TW_METRIC_HTTP_IN_FLIGHT, tw_labels(), in_flight);
    tw_metric_set(TW_METRIC_HTTP_CONNECTIONS, tw_labels(), tw_counter_get(&http->conn_count));
}

void http_meter_reject(const char *reason) {
    tw_metric_add(TW_METRIC_HTTP_REJECTED, (struct tw_labels){.values = {reason}}, 1);
}

// SPDX-License-Identifier: Apache-2.0
//
// The server as a whole: options with their defaults, the loops, the orderly end.

#include <unistd.h>

#include "http/http.h"

#include "http/internal.h"
#include "http/openapi.h"

static unsigned or_default(unsigned value, unsigned fallback) {
    return value ? value : fallback;
}

static void fill_defaults(struct tw_http_options *options) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    options->loops = or_default(options->loops, cores > 0 ? (unsigned)cores : 1);
    options->max_body_bytes = options->max_body_bytes ? options->max_body_bytes : 64 << 20;
    options->max_connections = or_default(options->max_connections, 10000);
    options->header_timeout_ms = or_default(options->header_timeout_ms, 10000);
    options->idle_timeout_ms = or_default(options->idle_timeout_ms, 75000);
    options->body_min_rate = or_default(options->body_min_rate, 1024);
    options->write_stall_ms = or_default(options->write_stall_ms, 30000);
}

static bool read_options(struct tw_http *http, struct tw_error *err) {
    const struct tw_http_options *options = &http->options;
    if (!http_hosts_parse(&http->hosts, options->trusted_hosts, err) ||
        !http_origins_parse(&http->origins, options->cors_origins, err))
        return false;
    http->disk = tw_pool_new("tw-http-disk", HTTP_DISK_THREADS, HTTP_DISK_QUEUE, err);
    if (!http->disk)
        return false;
    if (options->max_connections_per_address)
        http->peers = http_peers_new(options->max_connections, options->max_connections_per_address, err);
    return !options->max_connections_per_address || http->peers;
}

static bool start(struct tw_http *http, struct tw_error *err) {
    http->openapi = http_text_of_static(tw_span_of(http_openapi_text, http_openapi_len));
    if (!http->openapi)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the API's description");
    if (!read_options(http, err))
        return false;
    for (unsigned i = 0; i < http->loop_count; i++)
        if (!http_loop_init(&http->loops[i], http, i, err))
            return false;
    if (!http_listen(http, err))
        return false;
    for (unsigned i = 0; i < http->loop_count; i++)
        if (!http_loop_start(&http->loops[i], err))
            return false;
    return true;
}

struct tw_http *tw_http_start(const struct tw_http_options *options, struct tw_error *err) {
    struct tw_http *http = tw_alloc_zero(1, sizeof *http);
    if (!http) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the HTTP server");
        return NULL;
    }
    http->options = *options;
    fill_defaults(&http->options);
    tw_lock_init(&http->lock);
    tw_cond_init(&http->empty);
    tw_cond_init(&http->orphaned);
    tw_lock_init(&http->journal.lock);
    http_shares_init(&http->bodies, HTTP_BODY_TOTAL_MAX);
    http_shares_init(&http->files, HTTP_SPILL_TOTAL_MAX);
    http_scrapes_init(&http->scrapes, http);
    http->started_ns = tw_clock_ns();
    http->loops = tw_alloc_zero(http->options.loops, sizeof http->loops[0]);
    http->loop_count = http->loops ? http->options.loops : 0;
    tw_metrics_on_collect(http_meter_collect, http);
    bool ok =
        http->loops || tw_fail(err, TW_ERR_CAPACITY, "no memory for %u event loops", http->options.loops);
    if (ok && start(http, err))
        return http;
    tw_http_free(http);
    return NULL;
}

uint16_t tw_http_port(const struct tw_http *http) {
    return http->port;
}

static void tell_all(struct tw_http *http, struct tw_flag *flag) {
    tw_flag_raise(flag);
    for (unsigned i = 0; i < http->loop_count; i++)
        if (http->loops[i].started)
            http_wake(&http->loops[i]);
}

static bool is_empty(const struct tw_http *http) {
    for (unsigned i = 0; i < http->loop_count; i++)
        if (tw_counter_get(&http->loops[i].conn_count) > 0 ||
            !tw_flag_is_raised(&http->loops[i].stopped_listening))
            return false;
    return true;
}

void tw_http_announce(struct tw_http *http) {
    tw_flag_raise(&http->leaving);
}

void tw_http_drain(struct tw_http *http) {
    tw_http_announce(http);
    tell_all(http, &http->draining);
}

bool tw_http_wait(struct tw_http *http, int64_t until_ns) {
    TW_LOCK_SCOPE(&http->lock);
    while (!is_empty(http))
        if (!tw_cond_wait(&http->empty, &http->lock, until_ns))
            return is_empty(http);
    return true;
}

void tw_http_close(struct tw_http *http) {
    tell_all(http, &http->closing);
    tw_http_wait(http, tw_clock_ns() + TW_NS_PER_S);
}

void tw_http_free(struct tw_http *http) {
    if (!http)
        return;
    tw_metrics_off_collect(http_meter_collect, http);
    tw_flag_raise(&http->draining);
    tw_flag_raise(&http->closing);
    tell_all(http, &http->stopping);
    for (unsigned i = 0; i < http->loop_count; i++)
        http_loop_join(&http->loops[i]);
    http_threads_end(http);
    for (unsigned i = 0; i < http->loop_count; i++)
        http_loop_done(&http->loops[i]);
    free(http->loops);
    if (http->disk)
        tw_pool_free(http->disk);
    http_allow_done(&http->hosts);
    http_allow_done(&http->origins);
    http_peers_free(http->peers);
    http_scrapes_done(&http->scrapes);
    http_text_unref(http->openapi);
    http_shares_done(&http->bodies);
    http_shares_done(&http->files);
    tw_cond_done(&http->orphaned);
    tw_cond_done(&http->empty);
    tw_lock_done(&http->journal.lock);
    tw_lock_done(&http->lock);
    free(http);
}

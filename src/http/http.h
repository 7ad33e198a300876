// SPDX-License-Identifier: Apache-2.0
//
// The gateway: event loops, HTTP/1.1 and h2c on one port, routes, problem bodies.
//
//     struct tw_http *http = tw_http_start(&options, &err);    // listening when it returns
//     … tw_http_drain(http); tw_http_wait(http, deadline_ns); tw_http_close(http); tw_http_free(http);
#pragma once

#include "base/base.h"
#include "service/service.h"
#include "tenant/tenant.h"

struct tw_tracer;
struct tw_http_options {
    const char *address;        // "127.0.0.1:8080", "[::1]:8080"; port 0 picks one
    unsigned loops;             // 0: one a core
    struct tw_service *service; // borrowed
    struct tw_tenants *tenants; // borrowed
    struct tw_audit *audit;     // borrowed; NULL: none
    struct tw_tracer *tracer;   // borrowed; NULL: no traces
    uint64_t max_body_bytes;    // 0: 64 MiB
    const char *trusted_hosts;  // "a.example, *.b.example:8080": others are told 421; NULL or empty: any
    const char *cors_origins;   // "https://a.example, …" or "*": whose pages may read answers; NULL: none
    const char *config_json;    // the settings in effect, without secrets, for GET /observe; NULL: null
    const char *metrics_token;  // asked for on /metrics; NULL or empty: nothing is
    uint32_t max_connections;   // 0: 10,000
    uint32_t max_connections_per_address; // 0: as many as there may be
    unsigned header_timeout_ms; // 0: 10,000: from a request's first byte to the end of its header section
    unsigned idle_timeout_ms;   // 0: 75,000: keep-alive without a request
    unsigned body_min_rate;     // 0: 1,024 bytes a second, after a grace of 5 s
    unsigned write_stall_ms;    // 0: 30,000: a client that takes nothing
};
struct tw_http;
[[nodiscard]] struct tw_http *tw_http_start(const struct tw_http_options *options, struct tw_error *err);
uint16_t tw_http_port(const struct tw_http *http);
// The end, in four steps, each optional: /readyz says 503 and all else goes on as before;
void tw_http_announce(struct tw_http *http);
// no new connections, and goodbye to those that are open (Connection: close, GOAWAY twice);
void tw_http_drain(struct tw_http *http);
// until none is open; false when `until_ns` came first;
bool tw_http_wait(struct tw_http *http, int64_t until_ns);
// what is still open is closed and its calls are cancelled: 503 where nothing was sent yet, else an end that is none.
void tw_http_close(struct tw_http *http);
void tw_http_free(struct tw_http *http);

// SPDX-License-Identifier: Apache-2.0
//
// What an operator may ask of requests: hosts, origins, a token for the metrics, connections of one address.

#include "harness/test.h"

#include <unistd.h>

#include "gateway.h"
#include "internal.h"

static void check_hosts(const char *list, const char *host, bool is_wanted) {
    struct tw_error err = {};
    struct http_allow allow = {};
    ck_assert_msg(http_hosts_parse(&allow, list, &err), "%s: %s", list, err.message);
    ck_assert_msg(http_host_is_allowed(&allow, tw_str_from(host)) == is_wanted, "'%s' in '%s'", host, list);
    http_allow_done(&allow);
}

TW_TEST("a host list takes names, ports and leading wildcards, in any case") {
    check_hosts("api.example", "api.example", true);
    check_hosts("api.example", "API.Example", true);
    check_hosts("api.example", "api.example:8080", true);
    check_hosts("api.example:8080", "api.example:8080", true);
    check_hosts("api.example:8080", "api.example:8081", false);
    check_hosts("api.example:8080", "api.example", false);
    check_hosts("api.example", "api.example.evil", false);
    check_hosts("api.example", "xapi.example", false);
    check_hosts("api.example", "", false);
    check_hosts("*.example", "a.example", true);
    check_hosts("*.example", "a.b.example:1", true);
    check_hosts("*.example", "example", false);
    check_hosts("*.example", ".example", false);
    check_hosts("*.example", "badexample", false);
    check_hosts("a, b ,c", "b", true);
    check_hosts("[::1]", "[::1]:8080", true);
    check_hosts("[::1]:8080", "[::1]:8080", true);
    check_hosts("[::1]:8080", "[::1]", false);
}

TW_TEST("what is no host and no origin stops the start by name") {
    static const char *const hosts[] = {"a b", "a,,b", "http://a", "a/b", "*"};
    static const char *const origins[] = {"a", "https://", "https://a/", "null", "ftp://a", "https://a,,"};
    struct tw_error err = {};
    for (size_t i = 0; i < TW_COUNT(hosts); i++) {
        struct http_allow allow = {};
        ck_assert_msg(!http_hosts_parse(&allow, hosts[i], &err), "%s", hosts[i]);
        ck_assert_int_eq(err.code, TW_ERR_INVALID_REQUEST);
        http_allow_done(&allow);
    }
    for (size_t i = 0; i < TW_COUNT(origins); i++) {
        struct http_allow allow = {};
        ck_assert_msg(!http_origins_parse(&allow, origins[i], &err), "%s", origins[i]);
        http_allow_done(&allow);
    }
}

TW_TEST("another host is told 421, probes are not") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.trusted_hosts = "api.example"}, NULL);
    client_expect(&gateway, "GET /version HTTP/1.1\r\nHost: api.example\r\n\r\n", 200, NULL);
    client_expect(&gateway, "GET /version HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421,
                  "\"misdirected_request\"");
    client_expect(&gateway, "GET http://evil.example/version HTTP/1.1\r\nHost: api.example\r\n\r\n", 421,
                  NULL);
    client_expect(&gateway, "GET http://api.example/version HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200,
                  NULL);
    client_expect(&gateway, "GET /version HTTP/1.0\r\n\r\n", 421, NULL);
    client_expect(&gateway, "GET /healthz HTTP/1.1\r\nHost: 10.0.0.7\r\n\r\n", 200, NULL);
    gateway_stop(&gateway);
}

static void expect_header(const struct gateway *gateway, const char *request, int status, const char *name,
                          const char *value) {
    struct answer answer = client_ask(gateway, request);
    const char *found = answer_header(&answer, name);
    ck_assert_msg(answer.status == status, "%.60s: %d", request, answer.status);
    if (value)
        ck_assert_msg(found && strcmp(found, value) == 0, "%.60s: %s is %s", request, name,
                      found ? found : "missing");
    else
        ck_assert_msg(!found, "%.60s: %s is %s", request, name, found);
    answer_done(&answer);
}

#define AT(path, more) "GET " path " HTTP/1.1\r\nHost: a\r\n" more "\r\n"
#define PREFLIGHT(origin)                                                                                    \
    "OPTIONS /functions HTTP/1.1\r\nHost: a\r\nOrigin: " origin                                              \
    "\r\nAccess-Control-Request-Method: POST\r\n\r\n"

TW_TEST("pages of named origins may read answers, others not, and caches are told") {
    struct gateway gateway;
    const char *const allow = "Access-Control-Allow-Origin";
    gateway_start(&gateway, &(struct tw_http_options){.cors_origins = "https://a.example, http://b:81"},
                  "sixteen-or-more-chars");
    expect_header(&gateway, AT("/version", "Origin: https://a.example\r\n"), 200, allow, "https://a.example");
    expect_header(&gateway, AT("/version", "Origin: http://b:81\r\n"), 200, allow, "http://b:81");
    expect_header(&gateway, AT("/version", "Origin: http://b:81\r\n"), 200,
                  "Access-Control-Allow-Credentials", "true");
    expect_header(&gateway, AT("/version", "Origin: https://a.example.evil\r\n"), 200, allow, NULL);
    expect_header(&gateway, AT("/version", "Origin: null\r\n"), 200, allow, NULL);
    expect_header(&gateway, AT("/version", ""), 200, allow, NULL);
    expect_header(&gateway, AT("/version", ""), 200, "Vary", "Origin");
    // An error can be read too; a preflight needs no token.
    expect_header(&gateway, AT("/functions", "Origin: https://a.example\r\n"), 401, allow,
                  "https://a.example");
    expect_header(&gateway, PREFLIGHT("https://a.example"), 204, allow, "https://a.example");
    expect_header(&gateway, PREFLIGHT("https://a.example"), 204, "Access-Control-Max-Age", "600");
    expect_header(&gateway, PREFLIGHT("https://a.example"), 204, "Allow", "OPTIONS, GET, HEAD, POST");
    expect_header(
        &gateway, PREFLIGHT("https://a.example"), 204, "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Idempotency-Key, If-None-Match, If-Range, Range, X-TensorWasm-Tenant, "
        "X-TensorWasm-Deadline-Ms, traceparent, tracestate");
    expect_header(&gateway, AT("/version", "Origin: http://b:81\r\n"), 200, "Access-Control-Expose-Headers",
                  "Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Retry-After, X-Request-Id, "
                  "X-Trace-Id");
    expect_header(&gateway, PREFLIGHT("https://c.example"), 204, allow, NULL);
    expect_header(&gateway, PREFLIGHT("https://c.example"), 204, "Access-Control-Allow-Methods", NULL);
    gateway_stop(&gateway);
}

TW_TEST("any origin means any, but never with credentials; no list means none") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.cors_origins = "*"}, NULL);
    expect_header(&gateway, AT("/version", "Origin: https://x\r\n"), 200, "Access-Control-Allow-Origin", "*");
    expect_header(&gateway, AT("/version", "Origin: https://x\r\n"), 200, "Access-Control-Allow-Credentials",
                  NULL);
    expect_header(&gateway, PREFLIGHT("https://x"), 204, "Access-Control-Allow-Origin", "*");
    gateway_stop(&gateway);
    gateway_start(&gateway, NULL, NULL);
    expect_header(&gateway, AT("/version", "Origin: https://x\r\n"), 200, "Access-Control-Allow-Origin",
                  NULL);
    expect_header(&gateway, PREFLIGHT("https://x"), 204, "Access-Control-Allow-Origin", NULL);
    gateway_stop(&gateway);
}

TW_TEST("the metrics can have a token of their own") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.metrics_token = "scrape-me"}, "sixteen-or-more-chars");
    client_expect(&gateway, AT("/metrics", ""), 401, "unauthorized");
    client_expect(&gateway, AT("/metrics", "Authorization: Bearer scrape-m\r\n"), 401, NULL);
    client_expect(&gateway, AT("/metrics", "Authorization: Basic scrape-me\r\n"), 401, NULL);
    client_expect(&gateway, AT("/metrics", "Authorization: Bearer scrape-me\r\n"), 200,
                  "tensor_wasm_http_connections");
    client_expect(&gateway, AT("/functions", "Authorization: Bearer scrape-me\r\n"), 401, NULL);
    gateway_stop(&gateway);
}

TW_TEST("one address has its share of the connections") {
    struct gateway gateway;
    int fds[4];
    gateway_start(&gateway, &(struct tw_http_options){.max_connections_per_address = 4}, NULL);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < TW_COUNT(fds); i++) {
            struct answer answer;
            fds[i] = client_connect(&gateway);
            client_text(fds[i], AT("/healthz", ""));
            ck_assert(client_read(fds[i], false, &answer));
            ck_assert_int_eq(answer.status, 200);
            answer_done(&answer);
        }
        int more = client_connect(&gateway);
        struct answer answer;
        ck_assert(client_read(more, false, &answer));
        ck_assert_int_eq(answer.status, 429);
        ck_assert_str_eq(answer_header(&answer, "Retry-After"), "1");
        ck_assert(!answer.is_cut && strstr((char *)answer.body.data, "from this address"));
        answer_done(&answer);
        close(more);
        for (size_t i = 0; i < TW_COUNT(fds); i++)
            close(fds[i]);
        // Room again once the server has seen them close.
        int64_t end_ns = tw_clock_ns() + 10 * TW_NS_PER_S;
        while (client_status(&gateway, AT("/healthz", "")) != 200)
            ck_assert(tw_clock_ns() < end_ns);
        while (tw_counter_get(&gateway.http->conn_count) > 0)
            ck_assert(tw_clock_ns() < end_ns);
    }
    gateway_stop(&gateway);
}

// SPDX-License-Identifier: Apache-2.0
//
// Memory and disks that fail: the n-th allocation, the n-th file operation, for every n that a round of requests
// reaches. Each request is answered (perhaps with 503) or its connection is closed; the next round is served as if
// nothing had been.

#include "harness/test.h"

#include <unistd.h>

#include "gateway.h"

#define H "Host: a\r\n"

enum { WALK_MAX = 400, LARGE = 3 << 20 };

static const char *const requests[] = {
    "GET /healthz HTTP/1.1\r\n" H "\r\n",
    "POST /functions/echo/invoke HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
    "POST /functions/echo/invoke HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /functions/trap/invoke HTTP/1.1\r\n" H "\r\n",
    "POST /functions/stream/invoke-stream?export=3 HTTP/1.1\r\n" H "\r\n",
    "GET /functions/a%20b HTTP/1.1\r\n" H "If-None-Match: \"x\"\r\n\r\n",
    "POST /functions HTTP/1.1\r\n" H
    "Content-Type: application/json\r\nContent-Length: 34\r\n\r\n{\"name\":\"a\",\"wasm_b64\":\"AGFzbQ==\"}",
    "GET /nothing HTTP/1.1\r\n" H "\r\n",
    "GET /openapi.json HTTP/1.1\r\n" H "Accept-Encoding: gzip\r\n\r\n",
    "POST /functions?name=a HTTP/1.1\r\n" H
    "Content-Type: application/wasm\r\nIdempotency-Key: k\r\nContent-Length: 3\r\n\r\nabc",
    "POST /functions/echo/invoke HTTP/1.1\r\n" H
    "Content-Type: application/json\r\nContent-Length: 3145728\r\n\r\n",
};
static const int wanted[TW_COUNT(requests)] = {200, 200, 200, 502, 200, 200, 201, 404, 200, 201, 200};
enum { LARGE_REQUEST = TW_COUNT(requests) - 1 }; // LARGE bytes follow

static int status_or_0(const struct gateway *gateway, size_t i) {
    static char large[LARGE];
    struct answer answer = {};
    int fd = client_connect(gateway);
    bool ok = client_try_send(fd, requests[i], strlen(requests[i]));
    // One that is refused early may have been answered before all of it was sent.
    if (ok && i == LARGE_REQUEST)
        (void)client_try_send(fd, large, sizeof large);
    ok = ok && client_read(fd, false, &answer);
    int status = ok && !answer.is_cut ? answer.status : 0;
    answer_done(&answer);
    close(fd);
    return status;
}

// One gateway with the n-th operation failing; true when none failed any more.
static bool round_is_clean(const char *kind, unsigned n) {
    struct gateway gateway;
    char fault[16];
    unsigned failures = 0;
    gateway_start(&gateway, &(struct tw_http_options){.loops = 1}, NULL);
    snprintf(fault, sizeof fault, "%s:%u", kind, n);
    tw_fault_configure(fault);
    for (size_t i = 0; i < TW_COUNT(requests); i++)
        failures += status_or_0(&gateway, i) != wanted[i];
    tw_fault_configure(NULL);
    for (size_t i = 0; i < TW_COUNT(requests); i++)
        ck_assert_msg(status_or_0(&gateway, i) == wanted[i], "%s:%u spoilt request %zu", kind, n, i);
    gateway_stop(&gateway);
    return failures == 0;
}

// Until several rounds on end see no failure: some allocations fail without anybody noticing.
static unsigned walk(const char *kind) {
    unsigned n = 1, failed = 0;
    for (unsigned clean = 0; clean < 5; n++) {
        bool is_clean = round_is_clean(kind, n);
        clean = is_clean ? clean + 1 : 0;
        failed += !is_clean;
        ck_assert_uint_lt(n, WALK_MAX);
    }
    return failed;
}

TW_TEST("wherever memory runs out, the gateway answers or closes, and goes on") {
    ck_assert_uint_gt(walk("alloc"), 10);
}

TW_TEST("wherever the disk fails under a body, its request alone is refused") {
    ck_assert_uint_gt(walk("io"), 1);
}

// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out: the n-th allocation fails, for every n that a round of requests reaches. Each request
// is answered (perhaps with 503) or its connection is closed; the next round is served as if nothing had
// been.

#include "harness/test.h"

#include <unistd.h>

#include "gateway.h"

#define H "Host: a\r\n"

static const char *const requests[] = {
    "GET /healthz HTTP/1.1\r\n" H "\r\n",
    "POST /functions/echo/invoke HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
    "POST /functions/echo/invoke HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /functions/trap/invoke HTTP/1.1\r\n" H "\r\n",
    "POST /functions/stream/invoke-stream?export=3 HTTP/1.1\r\n" H "\r\n",
    "GET /functions/a%20b HTTP/1.1\r\n" H "\r\n",
    "POST /functions HTTP/1.1\r\n" H
    "Content-Type: application/json\r\nContent-Length: 34\r\n\r\n{\"name\":\"a\",\"wasm_b64\":\"AGFzbQ==\"}",
    "GET /nothing HTTP/1.1\r\n" H "\r\n",
};

static int status_or_0(const struct gateway *gateway, const char *request) {
    struct answer answer = {};
    int fd = client_connect(gateway);
    bool ok = client_try_send(fd, request, strlen(request)) && client_read(fd, false, &answer);
    int status = ok && !answer.is_cut ? answer.status : 0;
    answer_done(&answer);
    close(fd);
    return status;
}

TW_TEST("wherever memory runs out, the gateway answers or closes, and goes on") {
    static const int wanted[TW_COUNT(requests)] = {200, 200, 200, 502, 200, 200, 201, 404};
    unsigned failures = 0;
    for (unsigned n = 1; n <= 40; n++) {
        struct gateway gateway;
        char fault[16];
        gateway_start(&gateway, &(struct tw_http_options){.loops = 1}, NULL);
        snprintf(fault, sizeof fault, "alloc:%u", n);
        tw_fault_configure(fault);
        for (size_t i = 0; i < TW_COUNT(requests); i++)
            failures += status_or_0(&gateway, requests[i]) != wanted[i];
        tw_fault_configure(NULL);
        for (size_t i = 0; i < TW_COUNT(requests); i++)
            ck_assert_int_eq(status_or_0(&gateway, requests[i]), wanted[i]);
        gateway_stop(&gateway);
    }
    ck_assert_uint_gt(failures, 10); // the faults did strike
}

// SPDX-License-Identifier: Apache-2.0
//
// Clients that are slow, silent or too many, over HTTP/1: each deadline strikes where it should and only
// there.

#include "harness/test.h"

#include <unistd.h>

#include "gateway.h"
#include "telemetry/telemetry.h"

#define H            "Host: a\r\n"
#define INVOKE(name) "POST /functions/" name "/invoke HTTP/1.1\r\n" H

// How many connections the server has open.
static int64_t connections(void) {
    struct tw_buf out;
    tw_buf_init(&out, 8 << 20);
    ck_assert(tw_metrics_write(&out, false));
    tw_buf_done(&out);
    return tw_metric_get(TW_METRIC_HTTP_CONNECTIONS, tw_labels());
}

TW_TEST("a client that takes nothing is cut off") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.write_stall_ms = 300}, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /functions/size/invoke?export=90000000 HTTP/1.1\r\n" H "\r\n");
    ck_assert(!client_is_quiet(fd, 100000)); // the answer has begun
    for (int i = 0; i < 10000 && connections() > 0; i++)
        usleep(10000); // this client's whole behaviour: it does not read
    struct answer answer;
    ck_assert(client_read(fd, false, &answer));
    ck_assert(answer.is_cut);
    answer_done(&answer);
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("a header section that drips in is cut at its deadline, whole requests are not") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.header_timeout_ms = 500}, NULL);
    int64_t start_ns = tw_clock_ns();
    int fd = client_connect(&gateway), silent = client_connect(&gateway);
    client_text(fd, "GET /healthz HTTP/1.1\r\n");
    while (client_is_quiet(fd, 100) && client_try_send(fd, "A: b\r\n", 6)) {
    }
    int64_t elapsed_ms = (tw_clock_ns() - start_ns) / TW_NS_PER_MS;
    struct answer answer;
    ck_assert(client_read(fd, false, &answer));
    ck_assert_int_eq(answer.status, 408);
    ck_assert_int_ge(elapsed_ms, 450);
    ck_assert(client_is_closed(fd, 100000));
    ck_assert(client_is_closed(silent, 100000)); // nothing was sent: closed without a word
    answer_done(&answer);
    close(fd);
    close(silent);
    gateway_stop(&gateway);
}

TW_TEST("a body that drips in is cut after the grace, one that comes fast enough is not") {
    struct gateway gateway;
    struct answer answer;
    gateway_start(&gateway, &(struct tw_http_options){.body_min_rate = 1000}, NULL);
    int64_t start_ns = tw_clock_ns();
    int slow = client_connect(&gateway), fast = client_connect(&gateway);
    static const char bytes[5000] = {};
    client_text(slow, INVOKE("echo") "Content-Length: 100000\r\n\r\n");
    client_text(fast, INVOKE("echo") "Content-Length: 10000000\r\n\r\n");
    while (client_is_quiet(slow, 100) && client_try_send(slow, "x", 1))
        client_send(fast, bytes, sizeof bytes);
    int64_t elapsed_ms = (tw_clock_ns() - start_ns) / TW_NS_PER_MS;
    ck_assert(client_read(slow, false, &answer));
    ck_assert_int_eq(answer.status, 408);
    ck_assert_int_ge(elapsed_ms, 5000);
    ck_assert(client_is_quiet(fast, 0));
    answer_done(&answer);
    close(slow);
    close(fast);
    gateway_stop(&gateway);
}

TW_TEST("an idle connection is closed, one whose call runs is not") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.idle_timeout_ms = 300, .header_timeout_ms = 300},
                  NULL);
    int idle = client_connect(&gateway), busy = client_connect(&gateway);
    struct answer answer;
    client_text(busy, INVOKE("hold") "\r\n");
    client_text(idle, "GET /healthz HTTP/1.1\r\n" H "\r\n");
    ck_assert(client_read(idle, false, &answer));
    answer_done(&answer);
    ck_assert(client_is_closed(idle, 100000));
    ck_assert(client_is_quiet(busy, 300));
    fake_release(gateway.service);
    ck_assert(client_read(busy, false, &answer));
    ck_assert_int_eq(answer.status, 200);
    answer_done(&answer);
    close(idle);
    close(busy);
    gateway_stop(&gateway);
}

// More than the kernel's buffers between the two ever hold.
enum { WHOLE = 24 << 20 };

static void send_chunks(int fd, const char *bytes) {
    for (int i = 0; i < WHOLE >> 20; i++) {
        client_text(fd, "100000\r\n");
        client_send(fd, bytes, 1 << 20);
        client_text(fd, "\r\n");
    }
    client_text(fd, "0\r\n\r\n");
}

TW_TEST("an early answer reaches a client that sends its whole body first") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.max_body_bytes = 1 << 20}, NULL);
    static const struct {
        const char *head;
        int status;
    } cases[] = {
        {INVOKE("echo") "Content-Length: 25165824\r\n\r\n", 413},
        {INVOKE("echo") "Transfer-Encoding: chunked\r\n\r\n", 413}, // noticed inside the body
        {"POST /nothing HTTP/1.1\r\n" H "Content-Length: 25165824\r\n\r\n", 404},
        {"POST /nothing HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 404},
        {INVOKE("echo") "Content-Length: 25165824\r\nContent-Length: 1\r\n\r\n", 400},
    };
    char *bytes = calloc(1, WHOLE);
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        int fd = client_connect(&gateway);
        struct answer answer;
        client_text(fd, cases[i].head);
        if (strstr(cases[i].head, "chunked"))
            send_chunks(fd, bytes);
        else
            client_send(fd, bytes, WHOLE);
        ck_assert_msg(client_read(fd, false, &answer), "case %zu: the answer was lost", i);
        ck_assert_int_eq(answer.status, cases[i].status);
        ck_assert(!answer.is_cut && client_is_closed(fd, 100000));
        answer_done(&answer);
        close(fd);
    }
    free(bytes);
    gateway_stop(&gateway);
}

TW_TEST("who was answered early and then sends nothing is let go") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /nothing HTTP/1.1\r\n" H "Content-Length: 25165824\r\n\r\n");
    ck_assert(!client_is_quiet(fd, 100000)); // the answer is there
    int64_t start_ns = tw_clock_ns();
    while (connections() > 0)
        usleep(10000); // this client's whole behaviour: it does not send, and does not close
    ck_assert_int_lt(tw_clock_ns() - start_ns, 25 * TW_NS_PER_S); // one that sends may take 30 s
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("a drain waits for no client that was answered and goes on sending") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /nothing HTTP/1.1\r\n" H "Content-Length: 25165824\r\n\r\n");
    ck_assert(!client_is_quiet(fd, 100000));
    tw_http_drain(gateway.http);
    int64_t start_ns = tw_clock_ns();
    while (client_try_send(fd, "x", 1))
        usleep(10000); // never idle
    ck_assert_int_lt(tw_clock_ns() - start_ns, 25 * TW_NS_PER_S);
    ck_assert(tw_http_wait(gateway.http, tw_clock_ns() + 10 * TW_NS_PER_S));
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("connections above the cap are told so at once") {
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.max_connections = 2}, NULL);
    int fds[2];
    struct answer answer;
    for (int i = 0; i < 2; i++) {
        fds[i] = client_connect(&gateway);
        client_text(fds[i], "GET /healthz HTTP/1.1\r\n" H "\r\n");
        ck_assert(client_read(fds[i], false, &answer));
        ck_assert_int_eq(answer.status, 200);
        answer_done(&answer);
    }
    int fd = client_connect(&gateway);
    ck_assert(client_read(fd, false, &answer));
    ck_assert_int_eq(answer.status, 503);
    ck_assert_str_eq(answer_header(&answer, "Retry-After"), "1");
    ck_assert(!answer.is_cut);
    ck_assert_ptr_nonnull(strstr((char *)answer.body.data, "\"kind\":\"capacity_exhausted\""));
    answer_done(&answer);
    ck_assert(client_is_closed(fd, 100000));
    close(fd);
    close(fds[0]);
    int status = 0; // the place becomes free when the server has seen the close
    for (int i = 0; i < 100000 && status != 200; i++)
        status = client_status(&gateway, "GET /healthz HTTP/1.1\r\n" H "\r\n");
    ck_assert_int_eq(status, 200);
    close(fds[1]);
    gateway_stop(&gateway);
}

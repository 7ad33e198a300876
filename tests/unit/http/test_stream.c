// SPDX-License-Identifier: Apache-2.0
//
// Streamed answers over HTTP/1: framing, events, back-pressure, what a client sees of an error half-way.

#include "harness/test.h"

#include <unistd.h>

#include "gateway.h"

#define H "Host: a\r\n"

TW_TEST("a streamed answer comes in chunks, as events where they are asked for, and shows when it broke") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    struct answer answer =
        client_ask(&gateway, "POST /functions/stream/invoke-stream?export=3000 HTTP/1.1\r\n" H "\r\n");
    ck_assert_str_eq(answer_header(&answer, "Transfer-Encoding"), "chunked");
    ck_assert_uint_eq(answer.body.len, 3000000);
    for (size_t i = 0; i < answer.body.len; i += 97)
        ck_assert_int_eq(answer.body.data[i], 'a' + (int)(i / 1000 % 26));
    answer_done(&answer);
    answer = client_ask(&gateway, "POST /functions/stream/invoke-stream?export=2 HTTP/1.1\r\n" H
                                  "Accept: text/event-stream\r\n\r\n");
    ck_assert_str_eq(answer_header(&answer, "Content-Type"), "text/event-stream");
    const char *body = (const char *)answer.body.data;
    ck_assert_ptr_eq(strstr(body, "event: chunk\ndata: {\"text\":\"aaaa"), body);
    ck_assert_ptr_nonnull(strstr(body, "bbb\"}\n\nevent: done\ndata: {}\n\n"));
    answer_done(&answer);
    answer = client_ask(&gateway, "POST /functions/half/invoke-stream HTTP/1.1\r\n" H
                                  "Accept: text/event-stream\r\n\r\n");
    ck_assert_ptr_nonnull(
        strstr((char *)answer.body.data, "event: error\ndata: {\"error\":{\"kind\":\"guest_trap\""));
    answer_done(&answer);
    client_expect(&gateway, "POST /functions/trap/invoke-stream HTTP/1.1\r\n" H "\r\n", 502, "guest_trap");
    int fd = client_connect(&gateway);
    client_text(fd, "POST /functions/half/invoke-stream HTTP/1.1\r\n" H "\r\n");
    ck_assert(client_read(fd, false, &answer));
    ck_assert_int_eq(answer.status, 200);
    ck_assert(answer.is_cut);
    answer_done(&answer);
    close(fd);
    answer = client_ask(&gateway, "POST /functions/stream/invoke-stream?export=2 HTTP/1.0\r\n\r\n");
    ck_assert_ptr_null(answer_header(&answer, "Transfer-Encoding"));
    ck_assert_uint_eq(answer.body.len, 2000);
    answer_done(&answer);
    gateway_stop(&gateway);
}

static bool wait_ended(const struct gateway *gateway) {
    for (int i = 0; i < 100000 && fake_running(gateway->service); i++)
        usleep(1000);
    return fake_running(gateway->service) == 0;
}

TW_TEST("a writer waits while its client is slow, other calls do not, and the client gets everything") {
    enum { CLIENTS = 3, LEN = 60000000 }; // fewer than the fake service has threads; more than sockets hold
    struct gateway gateway;
    int fds[CLIENTS];
    gateway_start(&gateway, NULL, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(&gateway);
        client_text(fds[i], "POST /functions/stream/invoke-stream?export=60000 HTTP/1.1\r\n" H "\r\n");
    }
    ck_assert(fake_wait_waits(gateway.service, CLIENTS));
    client_expect(&gateway, "POST /functions/stream/invoke-stream?export=2 HTTP/1.1\r\n" H "\r\n", 200,
                  "bbbb");
    ck_assert_uint_eq(fake_running(gateway.service), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        struct answer answer;
        ck_assert(client_read(fds[i], false, &answer));
        ck_assert(!answer.is_cut);
        ck_assert_uint_eq(answer.body.len, LEN);
        for (size_t at = 0; at < LEN; at += 4999)
            ck_assert_int_eq(answer.body.data[at], 'a' + (int)(at / 1000 % 26));
        answer_done(&answer);
        close(fds[i]);
    }
    gateway_stop(&gateway);
}

TW_TEST("a client that goes away while its writer waits cancels the call") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /functions/stream/invoke-stream?export=60000 HTTP/1.1\r\n" H "\r\n");
    ck_assert(fake_wait_waits(gateway.service, 1));
    close(fd);
    ck_assert(fake_wait_cancelled(gateway.service, 1));
    ck_assert(wait_ended(&gateway));
    gateway_stop(&gateway);
}

TW_TEST("a client for which too much would be held loses its stream") {
    struct gateway gateway;
    struct answer answer;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /functions/rude/invoke-stream?export=500000 HTTP/1.1\r\n" H "\r\n");
    ck_assert(!client_is_quiet(fd, 100000));
    ck_assert(wait_ended(&gateway)); // 500 MB were not to be held
    ck_assert(client_read(fd, false, &answer));
    ck_assert(answer.is_cut);
    ck_assert_uint_lt(answer.body.len, 250000000);
    answer_done(&answer);
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("a client that goes away cancels its streaming call") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /functions/hold/invoke-stream HTTP/1.1\r\n" H "\r\n");
    ck_assert(fake_wait_running(gateway.service, 1));
    close(fd);
    ck_assert(fake_wait_cancelled(gateway.service, 1));
    gateway_stop(&gateway);
}

TW_TEST("a client that goes away after its call has ended leaves nothing behind") {
    struct gateway gateway;
    gateway_start(&gateway, NULL, NULL);
    int fd = client_connect(&gateway);
    client_text(fd, "POST /functions/tail/invoke-stream?export=20000 HTTP/1.1\r\n" H "\r\n");
    ck_assert(!client_is_quiet(fd, 100000));
    usleep(300 * 1000); // the socket is full: what the end of the call finds
    fake_release(gateway.service);
    ck_assert(wait_ended(&gateway));
    usleep(100 * 1000);
    close(fd);
    gateway_stop(&gateway); // waits for every request that somebody still owes an answer
}

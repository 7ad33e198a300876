// SPDX-License-Identifier: Apache-2.0
//
// Clients that send more than a connection's turn has time for: nothing of it is lost or comes twice, whatever the turns
// cut it into, and its order stays.

#include "harness/test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "gateway.h"

#define H       "Host: a\r\n"
#define PROBE   "GET /healthz HTTP/1.1\r\n" H "\r\n"
#define NOWHERE "GET /nowhere HTTP/1.1\r\n" H "\r\n"

// 40 KB of requests, which a socket takes before any of it is read; answering them takes dozens of turns.
enum { REQUESTS = 1000, EVERY = 7 };

static struct gateway gateway;

static void start(void) {
    gateway_start(&gateway, &(struct tw_http_options){.loops = 1}, NULL);
}

// Probes; every seventh asks for what is not there.
static void append_pipeline(struct tw_buf *text) {
    for (int i = 0; i < REQUESTS; i++)
        ck_assert(tw_buf_append_str(text, i % EVERY ? TW_STR(PROBE) : TW_STR(NOWHERE)));
}

static void expect_status(int fd, int status) {
    struct answer answer;
    ck_assert(client_read(fd, false, &answer));
    ck_assert_int_eq(answer.status, status);
    answer_done(&answer);
}

static void expect_pipeline(int fd) {
    for (int i = 0; i < REQUESTS; i++)
        expect_status(fd, i % EVERY ? 200 : 404);
}

static struct tw_buf text_new(void) {
    struct tw_buf text;
    tw_buf_init(&text, 1 << 20);
    return text;
}

TW_TEST("a thousand pipelined requests are answered in order, and the connection lives on") {
    start();
    struct tw_buf text = text_new();
    append_pipeline(&text);
    int fd = client_connect(&gateway);
    for (int round = 0; round < 3; round++) {
        client_send(fd, text.data, text.len);
        expect_pipeline(fd);
    }
    client_text(fd, PROBE);
    expect_status(fd, 200);
    close(fd);
    tw_buf_done(&text);
    gateway_stop(&gateway);
}

TW_TEST("a pipeline is answered to its end though its client sends nothing more") {
    start();
    struct tw_buf text = text_new();
    append_pipeline(&text);
    int fd = client_connect(&gateway);
    client_send(fd, text.data, text.len);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    expect_pipeline(fd);
    ck_assert(client_is_closed(fd, 10000));
    close(fd);
    tw_buf_done(&text);
    gateway_stop(&gateway);
}

TW_TEST("what waited behind a call is answered over many turns") {
    start();
    struct tw_buf text = text_new();
    ck_assert(tw_buf_append_str(
        &text, TW_STR("POST /functions/hold/invoke HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n")));
    append_pipeline(&text);
    int fd = client_connect(&gateway);
    client_send(fd, text.data, text.len);
    ck_assert(fake_wait_running(gateway.service, 1));
    fake_release(gateway.service);
    expect_status(fd, 200);
    expect_pipeline(fd);
    close(fd);
    tw_buf_done(&text);
    gateway_stop(&gateway);
}

// One body of 5,000 chunks of a byte, in pieces of a length that no block's is a multiple of.
static void send_chunks(int fd) {
    enum { CHUNKS = 5000, PIECE = 4099 };
    struct tw_buf text = text_new();
    ck_assert(tw_buf_append_str(
        &text, TW_STR("POST /functions/echo/invoke HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n")));
    for (int i = 0; i < CHUNKS; i++)
        ck_assert(tw_buf_printf(&text, "1\r\n%c\r\n", 'a' + i % 26));
    ck_assert(tw_buf_append_str(&text, TW_STR("0\r\n\r\n")));
    for (size_t at = 0; at < text.len; at += PIECE)
        client_send(fd, text.data + at, text.len - at < PIECE ? text.len - at : PIECE);
    tw_buf_done(&text);
}

TW_TEST("bodies of one-byte chunks come whole from many connections at once, and others are answered") {
    enum { CLIENTS = 20, CHUNKS = 5000 };
    start();
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(&gateway);
        send_chunks(fds[i]);
        ck_assert_int_eq(client_status(&gateway, PROBE), 200);
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct answer answer;
        ck_assert(client_read(fds[i], false, &answer));
        ck_assert_int_eq(answer.status, 200);
        ck_assert_uint_eq(answer.body.len, CHUNKS);
        for (size_t k = 0; k < CHUNKS; k++)
            ck_assert_int_eq(answer.body.data[k], 'a' + (int)(k % 26));
        answer_done(&answer);
        close(fds[i]);
    }
    gateway_stop(&gateway);
}

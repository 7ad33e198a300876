// SPDX-License-Identifier: Apache-2.0
//
// Event loops that run calls themselves, and what happens to a loop whose thread stays inside a long call.

#include "gateway.h"

#include "harness/test.h"

#include <unistd.h>

static const char *const LONG =
    "POST /functions/long/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
static const char *const ECHO =
    "POST /functions/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";

static void expect(int fd, int status, const char *body) {
    struct answer answer;
    ck_assert(client_read(fd, false, &answer));
    ck_assert_int_eq(answer.status, status);
    if (body)
        ck_assert(tw_str_equal(tw_buf_str(&answer.body), tw_str_from(body)));
    answer_done(&answer);
}

static void start(struct gateway *gateway, unsigned loops) {
    struct tw_http_options options = {.loops = loops};
    gateway_start(gateway, &options, NULL);
}

TW_TEST("a loop whose thread is inside a long call serves on, and the long call is answered") {
    struct gateway gateway;
    start(&gateway, 1);
    int slow = client_connect(&gateway), other = client_connect(&gateway);
    client_text(slow, LONG);
    ck_assert(fake_wait_running(gateway.service, 1));
    for (int i = 0; i < 20; i++) {
        client_text(other, ECHO);
        expect(other, 200, "hello");
    }
    ck_assert_uint_eq(fake_running(gateway.service), 1);
    fake_release(gateway.service);
    expect(slow, 200, NULL);
    client_text(slow, ECHO); // the connection stayed with the loop
    expect(slow, 200, "hello");
    close(slow);
    close(other);
    gateway_stop(&gateway);
}

TW_TEST("many long calls at once leave every loop a thread, and the threads serve again afterwards") {
    enum { CALLS = 40 };
    struct gateway gateway;
    start(&gateway, 2);
    int slow[CALLS], other = client_connect(&gateway);
    for (int i = 0; i < CALLS; i++) {
        slow[i] = client_connect(&gateway);
        client_text(slow[i], LONG);
    }
    ck_assert(fake_wait_running(gateway.service, CALLS));
    client_text(other, ECHO);
    expect(other, 200, "hello");
    fake_release(gateway.service);
    for (int i = 0; i < CALLS; i++)
        expect(slow[i], 200, NULL);
    for (int i = 0; i < CALLS; i++) { // from now on a long call ends at once, on a replaced thread still
        client_text(slow[i], LONG);
        expect(slow[i], 200, NULL);
        close(slow[i]);
    }
    close(other);
    gateway_stop(&gateway);
}

TW_TEST("connections that wait beside one that takes the loop's thread are served by the next thread") {
    enum { PAIRS = 32 };
    struct gateway gateway;
    start(&gateway, 1);
    int slow[PAIRS], other[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        slow[i] = client_connect(&gateway);
        other[i] = client_connect(&gateway);
    }
    for (int i = 0; i < PAIRS; i++) {
        client_text(slow[i], LONG);
        client_text(other[i], ECHO);
    }
    for (int i = 0; i < PAIRS; i++)
        expect(other[i], 200, "hello");
    ck_assert(fake_wait_running(gateway.service, PAIRS));
    fake_release(gateway.service);
    for (int i = 0; i < PAIRS; i++) {
        expect(slow[i], 200, NULL);
        close(slow[i]);
        close(other[i]);
    }
    gateway_stop(&gateway);
}

TW_TEST("a client that leaves during a long call is forgotten, and draining waits for the call") {
    struct gateway gateway;
    start(&gateway, 1);
    int slow = client_connect(&gateway);
    client_text(slow, LONG);
    ck_assert(fake_wait_running(gateway.service, 1));
    close(slow);
    ck_assert(fake_wait_cancelled(gateway.service, 1));
    slow = client_connect(&gateway);
    client_text(slow, LONG);
    ck_assert(fake_wait_running(gateway.service, 2));
    fake_release(gateway.service);
    expect(slow, 200, NULL);
    close(slow);
    gateway_stop(&gateway);
}

TW_TEST("pipelined short calls on one connection are answered in order") {
    enum { CALLS = 200 };
    struct gateway gateway;
    start(&gateway, 1);
    int fd = client_connect(&gateway);
    for (int i = 0; i < CALLS; i++) {
        char text[160];
        snprintf(text, sizeof text,
                 "POST /functions/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%04d", i);
        client_text(fd, text);
    }
    for (int i = 0; i < CALLS; i++) {
        char text[12];
        snprintf(text, sizeof text, "%04d", i);
        expect(fd, 200, text);
    }
    close(fd);
    gateway_stop(&gateway);
}

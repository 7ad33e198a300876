// SPDX-License-Identifier: Apache-2.0
//
// Many who ask for the metrics at once: each gets its own format, and numbers no older than its question.

#include "harness/test.h"

#include <unistd.h>

#include "gateway.h"

#define SCRAPE      "GET /metrics HTTP/1.1\r\nHost: a\r\n"
#define OPENMETRICS "Accept: application/openmetrics-text\r\n"

enum { CLIENTS = 24, SCRAPES = 12 };

static struct gateway gateway;

static bool ends_with_eof(const struct answer *answer) {
    static const char end[] = "# EOF\n";
    size_t len = sizeof end - 1;
    return answer->body.len > len && memcmp(answer->body.data + answer->body.len - len, end, len) == 0;
}

static void expect_numbers(int fd, bool openmetrics) {
    struct answer answer;
    ck_assert(client_read(fd, false, &answer));
    ck_assert_int_eq(answer.status, 200);
    const char *type = answer_header(&answer, "Content-Type");
    ck_assert_ptr_nonnull(strstr(type, openmetrics ? "openmetrics-text" : "text/plain"));
    ck_assert(ends_with_eof(&answer) == openmetrics);
    answer_done(&answer);
}

TW_TEST("many scrapers at once each get the format that they asked for") {
    gateway_start(&gateway, NULL, NULL);
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(&gateway);
        for (int k = 0; k < SCRAPES; k++)
            client_text(fds[i], (i + k) % 2 ? SCRAPE "\r\n" : SCRAPE OPENMETRICS "\r\n");
    }
    for (int i = 0; i < CLIENTS; i++) {
        for (int k = 0; k < SCRAPES; k++)
            expect_numbers(fds[i], (i + k) % 2 == 0);
        close(fds[i]);
    }
    gateway_stop(&gateway);
}

TW_TEST("scrapers that go away leave the others' numbers alone, and the server ends") {
    gateway_start(&gateway, NULL, NULL);
    int stays = client_connect(&gateway);
    for (int i = 0; i < CLIENTS; i++) {
        int goes = client_connect(&gateway);
        client_text(goes, SCRAPE "\r\n");
        close(goes);
    }
    client_text(stays, SCRAPE "\r\n");
    expect_numbers(stays, false);
    client_text(stays, SCRAPE "\r\n"); // nobody reads this one
    close(stays);
    gateway_stop(&gateway);
}

// The number that follows `name` in the metrics; 0 when it is not there.
static unsigned long number_of(const struct tw_buf *text, const char *name) {
    const char *at = strstr((const char *)text->data, name);
    return at ? strtoul(at + strlen(name) + 1, NULL, 10) : 0;
}

TW_TEST("numbers are no older than the question, however many ask") {
    static const char name[] =
        "tensor_wasm_http_requests_total{route=\"/healthz\",method=\"GET\",status=\"200\"}";
    gateway_start(&gateway, NULL, NULL);
    int crowd = client_connect(&gateway);
    for (int k = 0; k < SCRAPES; k++)
        client_text(crowd, SCRAPE "\r\n");
    unsigned long last = 0;
    for (int i = 0; i < SCRAPES; i++) {
        client_expect(&gateway, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200, "ok");
        // A request counts once its answer is written: the client may be quicker than that by one.
        struct answer answer = client_ask(&gateway, SCRAPE "\r\n");
        unsigned long now = number_of(&answer.body, name);
        ck_assert_uint_ge(now, (unsigned long)i);
        ck_assert_uint_ge(now, last);
        last = now;
        answer_done(&answer);
    }
    for (int k = 0; k < SCRAPES; k++)
        expect_numbers(crowd, false);
    close(crowd);
    gateway_stop(&gateway);
}

// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 with prior knowledge: streams, flow control, limits, cancelling, drain. Attacks are in
// test_h2_attacks.c.

#include "harness/test.h"

#include <unistd.h>

#include "h2_client.h"

static struct h2_client client;
static struct gateway gateway;

TW_TEST("the same port answers HTTP/2 with prior knowledge") {
    h2_begin(&client, &gateway, NULL);
    h2_expect(&client, h2_request(&client, "GET", "/healthz", NULL, 0, -1), 200, "{\"status\":\"ok\"}\n");
    h2_expect(&client, h2_request(&client, "HEAD", "/healthz", NULL, 0, -1), 200, "");
    h2_expect(&client, h2_request(&client, "GET", "/nothing", NULL, 0, -1), 404, NULL);
    h2_expect(&client, h2_request(&client, "PUT", "/healthz", "x", 1, 1), 405, NULL);
    h2_expect(&client, h2_request(&client, "POST", "/functions/echo/invoke", "hello", 5, 5), 200, "hello");
    h2_expect(&client, h2_request(&client, "DELETE", "/functions/x", NULL, 0, -1), 204, "");
    h2_end(&client, &gateway);
}

TW_TEST("the preface may come byte by byte") {
    gateway_start(&gateway, NULL, NULL);
    static const uint8_t bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    int fd = client_connect(&gateway);
    for (size_t i = 0; i < sizeof bytes - 1; i++)
        client_send(fd, bytes + i, 1);
    uint8_t head[9];
    for (size_t at = 0; at < sizeof head;) {
        ssize_t len = read(fd, head + at, sizeof head - at);
        ck_assert_int_gt(len, 0);
        at += (size_t)len;
    }
    ck_assert_uint_eq(head[3], NGHTTP2_SETTINGS);
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("100 streams at once are answered in whatever order they end") {
    enum { COUNT = 100 };
    h2_begin(&client, &gateway, NULL);
    struct h2_stream *held = h2_request(&client, "POST", "/functions/hold/invoke", NULL, 0, -1);
    struct h2_stream *streams[COUNT];
    char bodies[COUNT][32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(bodies[i], sizeof bodies[i], "body %d", i);
        streams[i] = h2_request(&client, "POST", "/functions/echo/invoke", bodies[i], strlen(bodies[i]), -1);
    }
    for (int i = 0; i < COUNT; i++)
        h2_expect(&client, streams[i], 200, bodies[i]);
    ck_assert(!held->is_closed);
    fake_release(gateway.service);
    h2_expect(&client, held, 200, NULL);
    h2_end(&client, &gateway);
}

TW_TEST("10 MiB go up and come back through the windows") {
    enum { LEN = 10 << 20 };
    h2_begin(&client, &gateway, NULL);
    uint8_t *bytes = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 9));
    struct h2_stream *stream = h2_request(&client, "POST", "/functions/echo/invoke", bytes, LEN, LEN);
    h2_expect(&client, stream, 200, NULL);
    ck_assert_uint_eq(stream->body.len, LEN);
    ck_assert_mem_eq(stream->body.data, bytes, LEN);
    free(bytes);
    h2_end(&client, &gateway);
}

TW_TEST("a streamed answer comes whole, and a broken one is reset") {
    h2_begin(&client, &gateway, NULL);
    struct h2_stream *stream =
        h2_request(&client, "POST", "/functions/stream/invoke-stream?export=3000", NULL, 0, -1);
    h2_expect(&client, stream, 200, NULL);
    ck_assert_uint_eq(stream->body.len, 3000000);
    ck_assert_int_eq(stream->body.data[2999999], 'a' + 2999 % 26);
    stream = h2_request(&client, "POST", "/functions/half/invoke-stream", NULL, 0, -1);
    ck_assert(h2_until(&client, &stream->is_closed));
    ck_assert_uint_ne(stream->error_code, NGHTTP2_NO_ERROR);
    h2_expect(&client, h2_request(&client, "GET", "/healthz", NULL, 0, -1), 200, NULL);
    h2_end(&client, &gateway);
}

TW_TEST("a refused upload is answered before it has come") {
    h2_begin(&client, &gateway, &(struct tw_http_options){.max_body_bytes = 1000});
    struct h2_stream *stream = h2_request(&client, "POST", "/functions/echo/invoke", "x", 1, 1001);
    stream->wants_body_held = true;
    h2_expect(&client, stream, 413, NULL);
    static uint8_t bytes[100000];
    stream = h2_request(&client, "POST", "/functions/echo/invoke", bytes, sizeof bytes, -1); // not announced
    h2_expect(&client, stream, 413, NULL);
    stream = h2_request(&client, "POST", "/nothing", bytes, sizeof bytes, -1);
    h2_expect(&client, stream, 404, NULL);
    h2_expect(&client, h2_request(&client, "GET", "/healthz", NULL, 0, -1), 200, NULL);
    h2_end(&client, &gateway);
}

TW_TEST("refused uploads give their windows back, and streams beside them live") {
    enum { COUNT = 40, LEN = 1 << 20, ROUNDS = 3 }; // 256 KiB each arrive before the refusal: 30 MiB in all
    h2_begin(&client, &gateway, NULL);
    uint8_t *bytes = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 11));
    for (int round = 0; round < ROUNDS; round++) {
        struct h2_stream *refused[COUNT];
        for (int i = 0; i < COUNT; i++)
            refused[i] = h2_request(&client, "POST", "/nothing", bytes, LEN, i % 2 ? LEN : -1);
        struct h2_stream *echo = h2_request(&client, "POST", "/functions/echo/invoke", bytes, LEN, LEN);
        for (int i = 0; i < COUNT; i++)
            h2_expect(&client, refused[i], 404, NULL);
        h2_expect(&client, echo, 200, NULL);
        ck_assert_uint_eq(echo->body.len, LEN);
        ck_assert_mem_eq(echo->body.data, bytes, LEN);
    }
    free(bytes);
    h2_end(&client, &gateway);
}

TW_TEST("header sections and targets above the limits are refused") {
    h2_begin(&client, &gateway, NULL);
    char *path = malloc(20001);
    memset(path, 'x', 20000);
    path[0] = '/';
    path[20000] = '\0';
    h2_expect(&client, h2_request(&client, "GET", path, NULL, 0, -1), 414, NULL);
    nghttp2_nv fields[70] = {h2_pair(":method", "GET"), h2_pair(":scheme", "http"),
                             h2_pair(":authority", "a"), h2_pair(":path", "/healthz")};
    path[600] = '\0';
    for (size_t i = 4; i < TW_COUNT(fields); i++)
        fields[i] = h2_pair("a", path);
    int32_t id = nghttp2_submit_request(client.session, NULL, fields, TW_COUNT(fields), NULL, NULL);
    h2_expect(&client, &client.streams[id / 2], 431, NULL);
    h2_expect(&client, h2_request(&client, "GET", "/healthz", NULL, 0, -1), 200, NULL);
    free(path);
    h2_end(&client, &gateway);
}

TW_TEST("a body that contradicts its content-length never reaches a handler") {
    h2_begin(&client, &gateway, NULL);
    struct h2_stream *stream = h2_request(&client, "POST", "/functions/hold/invoke", "abc", 3, 5);
    ck_assert(h2_until(&client, &stream->is_closed));
    ck_assert_uint_eq(stream->error_code, NGHTTP2_PROTOCOL_ERROR);
    stream = h2_request(&client, "POST", "/functions/hold/invoke", "abcdef", 6, 5);
    ck_assert(h2_until(&client, &stream->is_closed));
    ck_assert_uint_eq(stream->error_code, NGHTTP2_PROTOCOL_ERROR);
    ck_assert_uint_eq(fake_running(gateway.service), 0);
    h2_end(&client, &gateway);
}

TW_TEST("resetting a stream cancels its call, and only its call") {
    h2_begin(&client, &gateway, NULL);
    struct h2_stream *a = h2_request(&client, "POST", "/functions/hold/invoke", NULL, 0, -1);
    struct h2_stream *b = h2_request(&client, "POST", "/functions/hold/invoke", NULL, 0, -1);
    h2_flush(&client);
    ck_assert(fake_wait_running(gateway.service, 2));
    nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, h2_stream_id(&client, a), NGHTTP2_CANCEL);
    h2_flush(&client);
    ck_assert(fake_wait_cancelled(gateway.service, 1));
    fake_release(gateway.service);
    h2_expect(&client, b, 200, NULL);
    ck_assert_uint_eq(fake_cancelled(gateway.service), 1);
    h2_end(&client, &gateway);
}

TW_TEST("hanging up cancels all calls of the connection") {
    h2_begin(&client, &gateway, NULL);
    for (int i = 0; i < 50; i++)
        h2_request(&client, "POST", "/functions/hold/invoke", NULL, 0, -1);
    h2_flush(&client);
    ck_assert(fake_wait_running(gateway.service, 50));
    h2_stop(&client);
    ck_assert(fake_wait_cancelled(gateway.service, 50));
    gateway_stop(&gateway);
}

TW_TEST("a client that gives no window loses its stream, not its connection") {
    h2_begin(&client, &gateway, &(struct tw_http_options){.write_stall_ms = 300});
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    nghttp2_submit_settings(client.session, NGHTTP2_FLAG_NONE, &entry, 1);
    struct h2_stream *stream = h2_request(&client, "POST", "/functions/size/invoke?export=1000", NULL, 0, -1);
    ck_assert(h2_until(&client, &stream->is_closed));
    ck_assert_uint_eq(stream->error_code, NGHTTP2_CANCEL);
    h2_expect(&client, h2_request(&client, "HEAD", "/healthz", NULL, 0, -1), 200, NULL);
    h2_end(&client, &gateway);
}

TW_TEST("an idle connection gets a goodbye and is closed") {
    h2_begin(&client, &gateway, &(struct tw_http_options){.idle_timeout_ms = 300});
    h2_expect(&client, h2_request(&client, "GET", "/healthz", NULL, 0, -1), 200, NULL);
    bool never = false;
    ck_assert(!h2_until(&client, &never));
    ck_assert(client.is_closed);
    ck_assert_uint_eq(client.goaways, 1);
    h2_end(&client, &gateway);
}

TW_TEST("a drain says goodbye twice and lets streams end") {
    h2_begin(&client, &gateway, NULL);
    struct h2_stream *stream = h2_request(&client, "POST", "/functions/hold/invoke", NULL, 0, -1);
    h2_flush(&client);
    ck_assert(fake_wait_running(gateway.service, 1));
    tw_http_drain(gateway.http);
    for (int i = 0; i < 100 && client.goaways < 1; i++)
        h2_pump(&client, 20);
    ck_assert_int_eq(client.last_goaway_id, INT32_MAX);
    for (int i = 0; i < 100 && client.goaways < 2; i++)
        h2_pump(&client, 20);
    ck_assert_int_eq(client.last_goaway_id, h2_stream_id(&client, stream));
    ck_assert(!stream->is_closed);
    fake_release(gateway.service);
    h2_expect(&client, stream, 200, NULL);
    ck_assert(tw_http_wait(gateway.http, tw_clock_ns() + 20 * TW_NS_PER_S));
    h2_end(&client, &gateway);
}

TW_TEST("at the drain's deadline streams are told, those whose answers have begun are reset") {
    h2_begin(&client, &gateway, NULL);
    struct h2_stream *held = h2_request(&client, "POST", "/functions/hold/invoke", NULL, 0, -1);
    struct h2_stream *up = h2_request(&client, "POST", "/functions/echo/invoke", "x", 1, 2);
    up->wants_body_held = true;
    struct h2_stream *begun =
        h2_request(&client, "POST", "/functions/tail/invoke-stream?export=1", NULL, 0, -1);
    h2_flush(&client);
    ck_assert(fake_wait_running(gateway.service, 2));
    for (int i = 0; i < 5000 && begun->body.len == 0; i++)
        h2_pump(&client, 20);
    tw_http_drain(gateway.http);
    tw_http_close(gateway.http);
    h2_expect(&client, held, 503, NULL);
    ck_assert_ptr_nonnull(strstr((char *)held->body.data, "\"kind\":\"draining\""));
    h2_expect(&client, up, 503, NULL);
    ck_assert(h2_until(&client, &begun->is_closed));
    ck_assert_uint_eq(begun->error_code, NGHTTP2_CANCEL);
    ck_assert_uint_ge(client.goaways, 1);
    ck_assert(fake_wait_cancelled(gateway.service, 1));
    fake_release(gateway.service);
    h2_end(&client, &gateway);
}

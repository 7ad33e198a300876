// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 clients that mean no good, frame by frame: floods, what is begun and never ended, headers that swell.

#include "harness/test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "h2_client.h"
#include "http/limits.h"

static struct h2_client client;
static struct gateway gateway;

// An HPACK block: POST, http, /functions/hold/invoke, authority a (indexed names, plain values).
static const uint8_t request_block[] = "\x83\x86\x04\x16/functions/hold/invoke\x01\x01"
                                       "a";
enum { BLOCK_LEN = sizeof request_block - 1, END_STREAM = 1, END_HEADERS = 4 };

TW_TEST("rapid reset is closed, and leaves no call running") {
    gateway_start(&gateway, NULL, NULL);
    int fd = h2_raw_connect(&gateway);
    static const uint8_t cancel[4] = {0, 0, 0, 8};
    unsigned sent = 0;
    bool ok = true;
    for (; sent < 20000 && ok; sent++)
        ok = h2_raw_frame(fd, NGHTTP2_HEADERS, END_STREAM | END_HEADERS, 2 * sent + 1, request_block,
                          BLOCK_LEN) &&
             h2_raw_frame(fd, NGHTTP2_RST_STREAM, 0, 2 * sent + 1, cancel, sizeof cancel);
    ck_assert(h2_raw_is_cut(fd, 100000));
    close(fd);
    for (int i = 0; i < 100000 && fake_running(gateway.service); i++)
        usleep(1000);
    ck_assert_uint_eq(fake_running(gateway.service), 0);
    ck_assert_uint_le(fake_cancelled(gateway.service), 2000);
    ck_assert_int_eq(client_status(&gateway, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    gateway_stop(&gateway);
}

TW_TEST("streams above the limit are refused and start no call") {
    gateway_start(&gateway, NULL, NULL);
    int fd = h2_raw_connect(&gateway);
    for (unsigned i = 0; i < 1000; i++)
        if (!h2_raw_frame(fd, NGHTTP2_HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, request_block, BLOCK_LEN))
            break;
    ck_assert(fake_wait_running(gateway.service, HTTP2_STREAMS_MAX));
    ck_assert_int_eq(client_status(&gateway, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    ck_assert_uint_eq(fake_running(gateway.service), HTTP2_STREAMS_MAX);
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("a loop that has its fill of requests refuses more at once, but not probes") {
    enum { FULL = HTTP_IN_FLIGHT_MAX / HTTP2_STREAMS_MAX };
    gateway_start(&gateway, &(struct tw_http_options){.loops = 1}, NULL);
    int fds[FULL];
    for (size_t i = 0; i < FULL; i++) {
        fds[i] = h2_raw_connect(&gateway);
        for (unsigned k = 0; k < HTTP2_STREAMS_MAX; k++)
            ck_assert(h2_raw_frame(fds[i], NGHTTP2_HEADERS, END_STREAM | END_HEADERS, 2 * k + 1,
                                   request_block, BLOCK_LEN));
    }
    ck_assert(fake_wait_running(gateway.service, HTTP_IN_FLIGHT_MAX));
    struct answer answer = client_ask(&gateway, "GET /devices HTTP/1.1\r\nHost: a\r\n\r\n");
    ck_assert_int_eq(answer.status, 503);
    ck_assert_str_eq(answer_header(&answer, "Retry-After"), "1");
    answer_done(&answer);
    client_expect(&gateway, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200, "ok");
    fake_release(gateway.service);
    for (int i = 0; i < 100000 && client_status(&gateway, "GET /devices HTTP/1.1\r\nHost: a\r\n\r\n") != 200;
         i++)
        usleep(1000);
    client_expect(&gateway, "GET /devices HTTP/1.1\r\nHost: a\r\n\r\n", 200, "devices");
    for (size_t i = 0; i < FULL; i++)
        close(fds[i]);
    gateway_stop(&gateway);
}

// Reads frames up to the answer to a PING: what was sent before it has been taken.
static void await_pong(int fd) {
    uint8_t head[9], payload[16384];
    do {
        ck_assert_int_eq(recv(fd, head, sizeof head, MSG_WAITALL), sizeof head);
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        ck_assert_uint_le(len, sizeof payload);
        ck_assert(len == 0 || recv(fd, payload, len, MSG_WAITALL) == (ssize_t)len);
    } while (head[3] != NGHTTP2_PING);
}

// A connection with as many uploads as it may have, none of which ends. With `is_large` their header sections are
// 27,000 bytes and more, by references to one field.
static int begin_uploads(bool is_large) {
    static uint8_t block[4000];
    static const uint8_t body[1000], upload[] = "\x83\x86\x04\x16/functions/echo/invoke\x01\x01"
                                                "a";
    int fd = h2_raw_connect(&gateway);
    for (unsigned k = 0; k < HTTP2_STREAMS_MAX; k++) {
        size_t len = sizeof upload - 1;
        memcpy(block, upload, len);
        if (is_large && k == 0) {
            // A literal with indexing of "a" and 3,000 bytes (127 + 0x39 + (0x16 << 7)), to be referred to.
            memcpy(block + len,
                   "\x40\x01"
                   "a\x7F\xB9\x16",
                   6);
            memset(block + len + 6, 'x', 3000);
            len += 3006;
        }
        for (int i = 0; i < 9 && is_large; i++)
            block[len++] = 0xBE; // index 62, the newest
        ck_assert(h2_raw_frame(fd, NGHTTP2_HEADERS, END_HEADERS, 2 * k + 1, block, len));
        ck_assert(h2_raw_frame(fd, NGHTTP2_DATA, 0, 2 * k + 1, body, sizeof body));
    }
    ck_assert(h2_raw_frame(fd, NGHTTP2_PING, 0, 0, body, 8));
    await_pong(fd);
    return fd;
}

// Asks until the answer is the wanted one: a status, or 0 for a stream that is refused.
static void expect_soon(nghttp2_nv *fields, size_t count, int status) {
    struct h2_stream *stream;
    int64_t give_up_ns = tw_clock_ns() + 40 * TW_NS_PER_S;
    do {
        int32_t id = nghttp2_submit_request(client.session, NULL, fields, count, NULL, NULL);
        stream = &client.streams[id / 2];
        ck_assert(h2_until(&client, &stream->is_closed));
        tw_buf_done(&stream->body);
        if (stream->status != status)
            h2_pump(&client, 20);
    } while (stream->status != status && tw_clock_ns() < give_up_ns);
    ck_assert_int_eq(stream->status, status);
    ck_assert_uint_eq(stream->error_code, status ? NGHTTP2_NO_ERROR : NGHTTP2_REFUSED_STREAM);
}

TW_TEST("what clients begin and do not end takes a bounded room") {
    enum { FULL = HTTP_EXCHANGES_MAX / HTTP2_STREAMS_MAX };
    h2_begin(&client, &gateway, &(struct tw_http_options){.loops = 1, .body_min_rate = 1});
    nghttp2_nv fields[] = {h2_pair(":method", "GET"), h2_pair(":scheme", "http"), h2_pair(":authority", "a"),
                           h2_pair(":path", "/healthz")};
    int fds[FULL];
    for (size_t i = 0; i < FULL; i++)
        fds[i] = begin_uploads(false);
    expect_soon(fields, TW_COUNT(fields), 0);
    client_expect(&gateway, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200, "ok");
    for (size_t i = 0; i < FULL; i++)
        close(fds[i]);
    expect_soon(fields, TW_COUNT(fields), 200);
    h2_end(&client, &gateway);
}

TW_TEST("large header sections take a bounded room, small ones go on") {
    enum { FULL = HTTP_LARGE_HEADS_MAX / HTTP2_STREAMS_MAX };
    h2_begin(&client, &gateway, &(struct tw_http_options){.loops = 1, .body_min_rate = 1});
    char value[1001] = "";
    memset(value, 'x', sizeof value - 1);
    nghttp2_nv fields[14] = {h2_pair(":method", "GET"), h2_pair(":scheme", "http"),
                             h2_pair(":authority", "a"), h2_pair(":path", "/healthz")};
    for (size_t i = 4; i < TW_COUNT(fields); i++)
        fields[i] = h2_pair("a", value);
    expect_soon(fields, TW_COUNT(fields), 200);
    int fds[FULL];
    for (size_t i = 0; i < FULL; i++)
        fds[i] = begin_uploads(true);
    expect_soon(fields, TW_COUNT(fields), 503);
    h2_expect(&client, h2_request(&client, "GET", "/healthz", NULL, 0, -1), 200, NULL);
    for (size_t i = 0; i < FULL; i++)
        close(fds[i]);
    expect_soon(fields, TW_COUNT(fields), 200);
    h2_end(&client, &gateway);
}

TW_TEST("floods of CONTINUATION, empty CONTINUATION, PING and SETTINGS are closed") {
    gateway_start(&gateway, &(struct tw_http_options){.write_stall_ms = 500}, NULL);
    static const uint8_t bytes[16384];
    int fd = h2_raw_connect(&gateway);
    ck_assert(h2_raw_frame(fd, NGHTTP2_HEADERS, END_STREAM, 1, request_block, BLOCK_LEN));
    unsigned sent = 0;
    while (sent < 1000 && h2_raw_frame(fd, NGHTTP2_CONTINUATION, 0, 1, bytes, 1024))
        sent++;
    ck_assert(h2_raw_is_cut(fd, 100000));
    close(fd);
    fd = h2_raw_connect(&gateway);
    ck_assert(h2_raw_frame(fd, NGHTTP2_HEADERS, END_STREAM, 1, request_block, BLOCK_LEN));
    for (sent = 0; sent < 1000 && h2_raw_frame(fd, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);)
        sent++;
    ck_assert(h2_raw_is_cut(fd, 100000));
    close(fd);
    // Replies are not read meanwhile: the server stops reading too, and closes when the client has stalled
    // for long enough.
    static const uint8_t types[] = {NGHTTP2_PING, NGHTTP2_SETTINGS};
    for (size_t i = 0; i < TW_COUNT(types); i++) {
        fd = h2_raw_connect(&gateway);
        // How much the kernel holds between the two differs from machine to machine: keep this end small, and
        // count time, not frames.
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){16384}, sizeof(int)), 0);
        // Who gets no further for so long is stopped as well: what the kernel dropped it may not send again for minutes.
        ck_assert_int_eq(
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = 8}, sizeof(struct timeval)),
            0);
        int64_t give_up_ns = tw_clock_ns() + 40 * TW_NS_PER_S;
        bool ok = true;
        for (sent = 0; ok && (sent % 1024 || tw_clock_ns() < give_up_ns); sent++)
            ok = h2_raw_frame(fd, types[i], 0, 0, bytes, types[i] == NGHTTP2_PING ? 8 : 0);
        ck_assert_msg(!ok, "%u frames of type %u were taken", sent, types[i]);
        close(fd);
    }
    ck_assert_int_eq(client_status(&gateway, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    gateway_stop(&gateway);
}

TW_TEST("a header block that swells by references is reset") {
    gateway_start(&gateway, NULL, NULL);
    int fd = h2_raw_connect(&gateway);
    // The request, a literal with indexing of "a" and 3,000 bytes, then 16,000-odd references to it (index
    // 62).
    uint8_t *block = malloc(30000);
    size_t len = 0;
    memcpy(block, request_block, BLOCK_LEN);
    len += BLOCK_LEN;
    static const uint8_t literal[] = {0x40, 1, 'a', 0x7F, 0xB9, 0x16}; // 3,000 = 127 + 0x39 + (0x16 << 7)
    memcpy(block + len, literal, sizeof literal);
    len += sizeof literal;
    memset(block + len, 'v', 3000);
    len += 3000;
    memset(block + len, 0x80 | 62, 13000);
    len += 13000;
    ck_assert_uint_le(len, 16384);
    ck_assert(h2_raw_frame(fd, NGHTTP2_HEADERS, END_STREAM | END_HEADERS, 1, block, len));
    free(block);
    uint8_t head[9], payload[16384];
    uint8_t type = 0;
    for (int frames = 0; frames < 10 && type != NGHTTP2_RST_STREAM && type != NGHTTP2_GOAWAY; frames++) {
        ck_assert_int_eq(recv(fd, head, sizeof head, 0x100 /* MSG_WAITALL */), 9);
        size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        type = head[3];
        if (size)
            ck_assert_int_eq(recv(fd, payload, size, 0x100), (int)size);
    }
    ck_assert(type == NGHTTP2_RST_STREAM || type == NGHTTP2_GOAWAY);
    ck_assert_uint_eq(fake_running(gateway.service), 0);
    close(fd);
    gateway_stop(&gateway);
}

TW_TEST("forbidden headers are reset by the framing layer") {
    h2_begin(&client, &gateway, NULL);
    static const char *const names[] = {"Upper", "connection", "transfer-encoding", "te"};
    static const char *const values[] = {"x", "close", "chunked", "gzip"};
    for (size_t i = 0; i < TW_COUNT(names); i++) {
        int fd = h2_raw_connect(&gateway);
        uint8_t block[256];
        size_t len = BLOCK_LEN;
        memcpy(block, request_block, BLOCK_LEN);
        block[len++] = 0;
        block[len++] = (uint8_t)strlen(names[i]);
        memcpy(block + len, names[i], strlen(names[i]));
        len += strlen(names[i]);
        block[len++] = (uint8_t)strlen(values[i]);
        memcpy(block + len, values[i], strlen(values[i]));
        len += strlen(values[i]);
        ck_assert(h2_raw_frame(fd, NGHTTP2_HEADERS, END_STREAM | END_HEADERS, 1, block, len));
        uint8_t head[9], payload[16384], type = 0;
        for (int frames = 0; frames < 10 && type != NGHTTP2_RST_STREAM && type != NGHTTP2_HEADERS; frames++) {
            ck_assert_int_eq(recv(fd, head, sizeof head, 0x100), 9);
            size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
            type = head[3];
            if (size)
                ck_assert_int_eq(recv(fd, payload, size, 0x100), (int)size);
        }
        ck_assert_msg(type == NGHTTP2_RST_STREAM, "%s was taken", names[i]);
        close(fd);
    }
    ck_assert_uint_eq(fake_running(gateway.service), 0);
    h2_end(&client, &gateway);
}

// SPDX-License-Identifier: Apache-2.0
//
// The session reads and writes the blocking socket through h2_flush and h2_pump; one thread.

#include "h2_client.h"

#include <check.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct h2_stream *stream_of(struct h2_client *client, int32_t id) {
    ck_assert_int_lt(id / 2, H2_STREAMS_MAX);
    return &client->streams[id / 2];
}

int32_t h2_stream_id(const struct h2_client *client, const struct h2_stream *stream) {
    return (int32_t)(stream - client->streams) * 2 + 1;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, [[maybe_unused]] size_t value_len,
                     [[maybe_unused]] uint8_t flags, void *context) {
    (void)session;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0)
        stream_of(context, frame->hd.stream_id)->status = (int)strtol((const char *)value, NULL, 10);
    return 0;
}

static int on_data(nghttp2_session *session, [[maybe_unused]] uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *context) {
    (void)session;
    struct h2_stream *stream = stream_of(context, id);
    if (!stream->body.max)
        tw_buf_init(&stream->body, 256 << 20);
    ck_assert(tw_buf_append(&stream->body, data, len));
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *context) {
    (void)session;
    struct h2_stream *stream = stream_of(context, id);
    stream->is_closed = true;
    stream->error_code = error_code;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    (void)session;
    struct h2_client *client = context;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->goaways++;
        client->last_goaway_id = frame->goaway.last_stream_id;
    }
    return 0;
}

void h2_start(struct h2_client *client, const struct gateway *gateway) {
    nghttp2_session_callbacks *callbacks;
    *client = (struct h2_client){.fd = client_connect(gateway)};
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    ck_assert_int_eq(nghttp2_session_client_new(&client->session, callbacks, client), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
    h2_flush(client);
}

void h2_stop(struct h2_client *client) {
    for (size_t i = 0; i < H2_STREAMS_MAX; i++)
        tw_buf_done(&client->streams[i].body);
    nghttp2_session_del(client->session);
    close(client->fd);
}

static ssize_t read_upload(nghttp2_session *session, int32_t id, uint8_t *out, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, [[maybe_unused]] void *context) {
    (void)session;
    (void)id;
    struct h2_stream *stream = source->ptr;
    size_t part = stream->upload_len - stream->uploaded < room ? stream->upload_len - stream->uploaded : room;
    if (part == 0 && stream->wants_body_held)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(out, stream->upload + stream->uploaded, part);
    stream->uploaded += part;
    if (stream->uploaded == stream->upload_len && !stream->wants_body_held)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

nghttp2_nv h2_pair(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

struct h2_stream *h2_request(struct h2_client *client, const char *method, const char *path,
                             const void *upload, size_t upload_len, int64_t length) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, length);
    nghttp2_nv fields[] = {h2_pair(":method", method), h2_pair(":scheme", "http"), h2_pair(":authority", "a"),
                           h2_pair(":path", path), h2_pair("content-length", digits)};
    int32_t next = (int32_t)nghttp2_session_get_next_stream_id(client->session);
    struct h2_stream *stream = stream_of(client, next);
    *stream = (struct h2_stream){.upload = upload, .upload_len = upload_len};
    nghttp2_data_provider body = {.source.ptr = stream, .read_callback = read_upload};
    int32_t id = nghttp2_submit_request(client->session, NULL, fields, length >= 0 ? 5 : 4,
                                        upload ? &body : NULL, NULL);
    ck_assert_int_eq(id, next);
    return stream;
}

void h2_flush(struct h2_client *client) {
    const uint8_t *data;
    ssize_t len;
    while ((len = nghttp2_session_mem_send(client->session, &data)) > 0)
        if (!client_try_send(client->fd, data, (size_t)len))
            client->is_closed = true;
    ck_assert_int_eq(len, 0);
}

static void receive(struct h2_client *client, int wait_ms) {
    static uint8_t block[65536];
    struct pollfd item = {.fd = client->fd, .events = POLLIN};
    if (poll(&item, 1, wait_ms) != 1)
        return;
    ssize_t len = recv(client->fd, block, sizeof block, 0);
    if (len <= 0) {
        client->is_closed = true;
        return;
    }
    ck_assert_int_ge(nghttp2_session_mem_recv(client->session, block, (size_t)len), 0);
    h2_flush(client);
}

bool h2_until(struct h2_client *client, const bool *flag) {
    int64_t deadline_ns = tw_clock_ns() + 100 * TW_NS_PER_S;
    h2_flush(client);
    while (!*flag && !client->is_closed && tw_clock_ns() < deadline_ns)
        receive(client, 100);
    return *flag;
}

void h2_pump(struct h2_client *client, int wait_ms) {
    int64_t deadline_ns = tw_clock_ns() + wait_ms * TW_NS_PER_MS;
    h2_flush(client);
    while (!client->is_closed && tw_clock_ns() < deadline_ns)
        receive(client, 10);
}

void h2_expect(struct h2_client *client, struct h2_stream *stream, int status, const char *body) {
    ck_assert_msg(h2_until(client, &stream->is_closed), "the stream was not answered");
    ck_assert_int_eq(stream->status, status);
    ck_assert_uint_eq(stream->error_code, NGHTTP2_NO_ERROR);
    if (body)
        ck_assert_str_eq(stream->body.data ? (char *)stream->body.data : "", body);
}

void h2_begin(struct h2_client *client, struct gateway *gateway, const struct tw_http_options *options) {
    gateway_start(gateway, options, NULL);
    h2_start(client, gateway);
}

void h2_end(struct h2_client *client, struct gateway *gateway) {
    h2_stop(client);
    gateway_stop(gateway);
}

// ---- raw frames ----

bool h2_raw_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream_id, const void *payload, size_t len) {
    uint8_t frame[9 + 16384] = {(uint8_t)(len >> 16),
                                (uint8_t)(len >> 8),
                                (uint8_t)len,
                                type,
                                flags,
                                (uint8_t)(stream_id >> 24),
                                (uint8_t)(stream_id >> 16),
                                (uint8_t)(stream_id >> 8),
                                (uint8_t)stream_id};
    if (len)
        memcpy(frame + 9, payload, len);
    return client_try_send(fd, frame, 9 + len);
}

int h2_raw_connect(const struct gateway *gateway) {
    int fd = client_connect(gateway);
    client_text(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    ck_assert(h2_raw_frame(fd, NGHTTP2_SETTINGS, 0, 0, NULL, 0));
    return fd;
}

bool h2_raw_is_cut(int fd, int wait_ms) {
    char block[65536];
    struct pollfd item = {.fd = fd, .events = POLLIN};
    while (poll(&item, 1, wait_ms) == 1)
        if (recv(fd, block, sizeof block, 0) <= 0)
            return true;
    return false;
}

// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 answers: header blocks, bodies as nghttp2 asks for them (within the client's windows), and one write
// of all that is ready per connection and batch.

#include "http/h2_send.h"

#include "http/internal.h"

enum { FIELDS_MAX = 8 + HTTP_REPLY_HEADERS_MAX, FRAME_MAX = (16 << 10) + 9 };

// ---- header blocks ----

// A block being put together.
struct block {
    size_t count;
    nghttp2_nv fields[FIELDS_MAX];
};

// The name is lower case, as all are on this protocol.
static void add(struct block *block, struct tw_str name, struct tw_str value) {
    TW_ASSERT(block->count < FIELDS_MAX);
    block->fields[block->count++] =
        (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data, name.len, value.len,
                     NGHTTP2_NV_FLAG_NONE};
}

// A value that no other answer will have: the compressor's table is not churned for it.
static void add_unique(struct block *block, struct tw_str name, struct tw_str value) {
    add(block, name, value);
    block->fields[block->count - 1].flags = NGHTTP2_NV_FLAG_NO_INDEX;
}

// The handler's headers, whose names are written as on HTTP/1. False without memory.
static bool add_extra(struct block *block, struct http_exchange *x) {
    for (unsigned i = 0; i < x->reply.extra_count; i++) {
        struct tw_str name = tw_str_from(x->reply.extra[i].name);
        char *lower = tw_arena_str(&x->arena, name);
        if (!lower)
            return false;
        for (size_t at = 0; at < name.len; at++)
            lower[at] =
                (char)(name.data[at] >= 'A' && name.data[at] <= 'Z' ? name.data[at] | 0x20 : name.data[at]);
        add(block, tw_str_of(lower, name.len), x->reply.extra[i].value);
    }
    return true;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, [[maybe_unused]] void *context) {
    struct http_exchange *x = source->ptr;
    (void)session;
    (void)stream_id;
    if (x->is_streaming && x->sent == x->chunk.len && x->stage == HTTP_WORKING) {
        bool ended;
        http_stream_take(x, &ended);
        x->sent = 0;
        if (x->chunk.len == 0 && !ended)
            return NGHTTP2_ERR_DEFERRED;
    }
    if (x->is_streaming && x->stage == HTTP_ANSWERING && x->stream.failed)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // resets the stream
    struct tw_span body = x->is_streaming ? tw_buf_span(&x->chunk) : http_reply_body(x);
    size_t part = body.len - x->sent < room ? body.len - x->sent : room;
    if (part)
        memcpy(out, body.data + x->sent, part);
    x->sent += part;
    x->progress_ns = x->loop->now_ns;
    if (x->sent == body.len && x->stage == HTTP_ANSWERING)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

void http_h2_send(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    struct block block = {};
    char status[TW_U64_DIGITS], length[TW_U64_DIGITS];
    size_t len = http_reply_body(x).len;
    bool has_body = http_status_has_body(x->reply.status);
    add(&block, TW_STR(":status"), tw_str_of_u64((uint64_t)x->reply.status, status));
    add(&block, TW_STR("date"), tw_str_from(http_date(x->loop)));
    if (x->reply.content_type.len)
        add(&block, TW_STR("content-type"), x->reply.content_type);
    if (has_body && !x->is_streaming)
        add(&block, TW_STR("content-length"), tw_str_of_u64(len, length));
    add_unique(&block, TW_STR("x-request-id"), tw_str_of(x->request_id, 16));
    add_unique(&block, TW_STR("x-trace-id"), tw_str_of(x->trace_id, 32));
    if (x->reply.vary)
        add(&block, TW_STR("vary"), http_reply_vary(&x->reply));
    char traceparent[HTTP_TRACEPARENT_SIZE];
    if (http_trace_parent(x, traceparent))
        add(&block, TW_STR("traceparent"), tw_str_from(traceparent));
    x->progress_ns = x->loop->now_ns;
    x->has_head = true;
    nghttp2_data_provider body = {.source.ptr = x, .read_callback = read_body};
    bool is_empty = x->method == HTTP_HEAD_ || !has_body || (!x->is_streaming && len == 0);
    // False: out of memory. This may run inside one of the session's callbacks: it is closed at the next flush.
    bool ok = add_extra(&block, x) && nghttp2_submit_response(conn->h2, x->stream_id, block.fields,
                                                              block.count, is_empty ? NULL : &body) == 0;
    conn->is_broken |= !ok;
    http_mark_dirty(conn);
}

void http_h2_stream(struct http_exchange *x) {
    if (x->method == HTTP_HEAD_) {
        bool ended;
        http_stream_take(x, &ended);
    }
    // An error means that the stream is not waiting for data, which is well too.
    (void)nghttp2_session_resume_data(x->conn->h2, x->stream_id);
    http_mark_dirty(x->conn);
}

static ssize_t read_cut(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                        uint32_t *flags, nghttp2_data_source *source, [[maybe_unused]] void *context) {
    struct http_exchange *x = source->ptr;
    (void)session;
    (void)stream_id;
    size_t left = sizeof HTTP_CUT_TEXT - 1 - x->sent, part = left < room ? left : room;
    memcpy(out, &HTTP_CUT_TEXT[x->sent], part);
    x->sent += part;
    if (part == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

// The answer that a stream gets instead of its own, of which nothing was sent.
static int submit_cut(struct http_exchange *x) {
    struct block block = {};
    nghttp2_data_provider body = {.source.ptr = x, .read_callback = read_cut};
    add(&block, TW_STR(":status"), TW_STR("503"));
    add(&block, TW_STR("content-type"), TW_STR("application/json"));
    add(&block, TW_STR("retry-after"), TW_STR("1"));
    add_unique(&block, TW_STR("x-request-id"), tw_str_of(x->request_id, 16));
    x->has_head = true;
    return nghttp2_submit_response(x->conn->h2, x->stream_id, block.fields, block.count,
                                   x->method == HTTP_HEAD_ ? NULL : &body);
}

void http_h2_cut(struct http_conn *conn) {
    int result = 0;
    for (struct http_exchange *x = conn->exchanges; x && result == 0; x = x->next) {
        if (x->stream_id <= 0)
            continue;
        if (x->head_done && !x->has_head)
            result = submit_cut(x);
        else
            result = nghttp2_submit_rst_stream(conn->h2, NGHTTP2_FLAG_NONE, x->stream_id, NGHTTP2_CANCEL);
    }
    int32_t last = nghttp2_session_get_last_proc_stream_id(conn->h2);
    if (result == 0 &&
        nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) == 0)
        http_h2_flush(conn); // without memory they only see the end
}

// A request that was answered before it was whole: its rest is not wanted (RFC 9113, 8.1).
int http_h2_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    (void)context;
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    if (!ends)
        return 0;
    struct http_exchange *x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (x && !x->is_whole)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

// ---- the socket ----

// Sends, keeping what the socket does not take. False: nothing more can be sent now, or the connection is
// gone.
static bool send_or_keep(struct http_conn *conn, const uint8_t *data, size_t len) {
    struct tw_span span = tw_span_of(data, len);
    while (span.len) {
        ssize_t sent = http_conn_send(conn, &span, 1);
        if (sent < 0)
            return false;
        span = tw_span_of(span.data + sent, span.len - (size_t)sent);
        if (sent > 0 || conn->writable)
            continue;
        if (!tw_buf_append(&conn->pending, span.data, span.len))
            http_conn_close(conn);
        return false;
    }
    return true;
}

// What was kept goes first.
static bool send_pending(struct http_conn *conn) {
    while (conn->pending.len) {
        struct tw_span span = tw_buf_span(&conn->pending);
        ssize_t sent = http_conn_send(conn, &span, 1);
        if (sent < 0 || (sent == 0 && !conn->writable))
            return false;
        tw_buf_drop_front(&conn->pending, (size_t)sent);
    }
    return true;
}

// Fills the loop's output block with whole frames; the bytes gathered, or -1 when the session failed.
static ssize_t gather(struct http_conn *conn) {
    uint8_t *out = conn->loop->out;
    size_t len = 0;
    while (len + FRAME_MAX <= HTTP_SCRATCH) {
        const uint8_t *data;
        ssize_t part = nghttp2_session_mem_send(conn->h2, &data);
        if (part < 0 || (size_t)part > HTTP_SCRATCH - len)
            return -1;
        if (part == 0)
            break;
        memcpy(out + len, data, (size_t)part);
        len += (size_t)part;
    }
    return (ssize_t)len;
}

void http_h2_flush(struct http_conn *conn) {
    bool had_pending = conn->pending.len > 0;
    if (conn->is_broken) {
        http_conn_close(conn);
        return;
    }
    if (!send_pending(conn))
        return;
    for (;;) {
        ssize_t len = gather(conn);
        if (len < 0) {
            http_conn_close(conn);
            return;
        }
        if (len == 0)
            break;
        if (!send_or_keep(conn, conn->loop->out, (size_t)len))
            return;
    }
    if (!nghttp2_session_want_read(conn->h2) && !nghttp2_session_want_write(conn->h2))
        http_conn_linger(conn);
    else if (had_pending && conn->readable)
        http_mark_ready(conn); // reading was held back meanwhile
}

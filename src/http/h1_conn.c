// SPDX-License-Identifier: Apache-2.0
//
// An HTTP/1 connection: bytes from the socket to the parser, one request at a time, answers in order.
//
//     RECEIVING ──whole──▶ WORKING ──respond──▶ ANSWERING ──written──▶ next request, or linger and close
//
// While a request is worked on nothing more is read; what came behind it waits in conn->pending, as does what a turn had
// no time for.

#include "http/h1.h"

#include "http/internal.h"

bool http_h1_wants_input(const struct http_conn *conn) {
    const struct http_exchange *x = conn->exchanges;
    return conn->kind == HTTP_ONE && (!x || (x->stage == HTTP_RECEIVING && !http_spill_is_full(x)));
}

// ---- in ----

// Is what is left of the request small enough to be read and thrown away?
static bool may_discard(const struct http_exchange *x) {
    if (x->expects_continue || x->conn->h1.seen.is_chunked)
        return false;
    return x->content_length == UINT64_MAX || x->content_length <= HTTP_DISCARD_MAX;
}

static void send_continue(struct http_conn *conn) {
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct tw_span span = tw_span_of(text, sizeof text - 1);
    ssize_t sent = http_conn_send(conn, &span, 1);
    if (sent >= 0 && (size_t)sent != span.len)
        http_conn_close(conn); // every answer before was written out, so that this client reads nothing
}

static void refuse_and_close(struct http_exchange *x) {
    x->close_after = true;
    http_exchange_refuse(x);
}

static void on_head(struct http_conn *conn, struct http_exchange *x) {
    x->authority = http_header_find(x, TW_STR("host"));
    http_exchange_head(x, tw_str_of((const char *)x->head.data, conn->h1.target_len));
    if (x->refusal.code != TW_OK && !may_discard(x))
        refuse_and_close(x);
    else if (x->expects_continue)
        send_continue(conn);
}

// The first bytes of a connection are a line, and no HTTP: there is nobody who would understand an answer.
static bool is_foreign(const struct http_conn *conn, const uint8_t *data, size_t len) {
    const uint8_t *end = conn->has_spoken ? NULL : memchr(data, '\n', len);
    return end && llhttp_get_errno(&conn->h1.parser) == HPE_INVALID_METHOD &&
           !memmem(data, (size_t)(end - data), " HTTP/", 6);
}

static void on_bad(struct http_conn *conn, struct http_exchange *x) {
    x->refusal = conn->h1.error;
    refuse_and_close(x);
}

// Empty lines before a request are allowed (RFC 9112, 2.2) and start no request.
static size_t empty_lines(const uint8_t *data, size_t len) {
    size_t at = 0;
    while (at < len && (data[at] == '\r' || data[at] == '\n'))
        at++;
    return at;
}

// One step of the parser; returns the bytes used.
static size_t step(struct http_conn *conn, const uint8_t *data, size_t len) {
    size_t used = 0;
    struct http_exchange *x = conn->exchanges;
    if (!x) {
        used = empty_lines(data, len);
        if (used)
            return used;
        x = http_exchange_new(conn);
        if (!x) {
            http_conn_close(conn);
            return len;
        }
        http_h1_next(&conn->h1, x);
    }
    switch (http_h1_parse(&conn->h1, data, len, &used)) {
    case HTTP_H1_MORE:
        break;
    case HTTP_H1_HEAD:
        conn->has_spoken = true;
        on_head(conn, x);
        break;
    case HTTP_H1_REQUEST:
        x->close_after |= !conn->h1.keep_alive;
        http_exchange_run(x);
        break;
    case HTTP_H1_BAD:
        if (is_foreign(conn, data, len)) {
            http_meter_reject("not_http");
            http_conn_close(conn);
        } else {
            on_bad(conn, x);
        }
        break;
    }
    return used;
}

// Is the turn over? Asked when one of a pipeline of requests was answered at once: there may be thousands.
static bool is_over(const struct http_conn *conn, int64_t *end_ns) {
    if (conn->kind != HTTP_ONE || conn->exchanges)
        return false;
    int64_t now_ns = tw_clock_ns();
    if (!*end_ns)
        *end_ns = now_ns + (conn->is_heavy ? HTTP_HEAVY_TURN_NS : HTTP_TURN_NS);
    return now_ns >= *end_ns;
}

void http_h1_input(struct http_conn *conn, const uint8_t *data, size_t len) {
    conn->is_feeding = true;
    int64_t end_ns = 0;   // not looked at yet
    bool at_head = false; // a request without a body is whole only after one more step, which needs no bytes
    while ((len || at_head) && http_h1_wants_input(conn)) {
        size_t used = step(conn, data, len);
        data += used;
        len -= used;
        at_head = conn->kind == HTTP_ONE && conn->exchanges && conn->h1.phase == HTTP_H1_HEAD && !at_head;
        if (len && is_over(conn, &end_ns))
            break;
    }
    conn->is_feeding = false;
    if (conn->kind == HTTP_ONE && len && !tw_buf_append(&conn->pending, data, len))
        http_conn_close(conn);
}

// The next request: what waits already, then what the socket has.
static void resume(struct http_conn *conn) {
    if (conn->is_feeding)
        return;
    if (conn->pending.len) {
        struct tw_buf waiting = conn->pending;
        tw_buf_init(&conn->pending, waiting.max);
        http_h1_input(conn, waiting.data, waiting.len);
        tw_buf_done(&waiting);
    }
    if (http_h1_wants_input(conn) && (conn->readable || conn->pending.len))
        http_mark_ready(conn);
}

void http_h1_more_room(struct http_conn *conn) {
    resume(conn);
}

// ---- out ----

static void finish(struct http_conn *conn, struct http_exchange *x) {
    bool is_last = x->close_after;
    bool is_whole = conn->h1.phase == HTTP_H1_REQUEST;
    http_exchange_sent(x);
    conn->since_ns = conn->loop->now_ns;
    if (!is_last)
        resume(conn);
    else if (is_whole && !conn->pending.len && !conn->readable)
        http_conn_close(conn);
    else
        http_conn_linger(conn);
}

static void advance(struct http_exchange *x, size_t sent) {
    unsigned done = 0;
    while (done < x->out_count && sent >= x->out[done].len)
        sent -= x->out[done++].len;
    x->out_count -= done;
    memmove(x->out, x->out + done, x->out_count * sizeof x->out[0]);
    if (x->out_count)
        x->out[0] = tw_span_of(x->out[0].data + sent, x->out[0].len - sent);
}

// Writes what is prepared; true when all of it is gone. False: the socket is full, or broke.
static bool write_out(struct http_conn *conn, struct http_exchange *x) {
    while (x->out_count) {
        ssize_t sent = http_conn_send(conn, x->out, x->out_count);
        if (sent <= 0)
            return false;
        advance(x, (size_t)sent);
    }
    return true;
}

static void add_out(struct http_exchange *x, const void *data, size_t len) {
    if (len)
        x->out[x->out_count++] = tw_span_of(data, len);
}

// Prepares the next piece of a streamed answer; false when there is none yet. chunk = size CRLF data CRLF.
static bool prepare_chunk(struct http_exchange *x) {
    bool ended, is_bare = x->is_http10;
    http_stream_take(x, &ended);
    size_t len = x->method == HTTP_HEAD_ ? 0 : x->chunk.len;
    if (len && !is_bare) {
        int digits = snprintf(x->chunk_head, sizeof x->chunk_head, "%zx\r\n", len);
        add_out(x, x->chunk_head, (size_t)digits);
    }
    add_out(x, x->chunk.data, len);
    bool is_framed = !is_bare && x->method != HTTP_HEAD_;
    if (ended && is_framed)
        add_out(x, len ? "\r\n0\r\n\r\n" : "0\r\n\r\n", len ? 7 : 5);
    else if (len && is_framed)
        add_out(x, "\r\n", 2);
    return len || ended;
}

void http_h1_stream(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    while (write_out(conn, x)) {
        if (x->stage == HTTP_ANSWERING) {
            finish(conn, x);
            return;
        }
        bool goes_on = prepare_chunk(x);
        if (x->stage == HTTP_ANSWERING && x->stream.failed) {
            http_conn_close(conn); // without the last chunk
            return;
        }
        if (!goes_on)
            return; // the handler will say when there is more
    }
}

// The head and the body. A small body goes behind the head, as one piece for the kernel.
static void add_answer(struct http_exchange *x) {
    struct tw_span body = {};
    if (x->method != HTTP_HEAD_ && http_status_has_body(x->reply.status))
        body = http_reply_body(x);
    bool is_one = body.len <= HTTP_JOINED_MAX && tw_buf_append(&x->out_head, body.data, body.len);
    add_out(x, x->out_head.data, x->out_head.len);
    if (!is_one)
        add_out(x, body.data, body.len);
}

void http_h1_send(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    if (tw_flag_is_raised(&conn->loop->http->draining) || (x->is_streaming && x->is_http10))
        x->close_after = true;
    if (!http_reply_head(x, !x->close_after, x->is_streaming)) {
        http_conn_close(conn);
        return;
    }
    conn->progress_ns = conn->loop->now_ns;
    x->has_head = true;
    if (x->is_streaming) {
        add_out(x, x->out_head.data, x->out_head.len);
        http_h1_stream(x);
        return;
    }
    add_answer(x);
    if (write_out(conn, x))
        finish(conn, x);
}

void http_h1_cut(struct http_conn *conn) {
    const struct http_exchange *x = conn->exchanges;
    if (!x || !x->head_done || x->has_head)
        return;
    char head[256];
    int len =
        snprintf(head, sizeof head,
                 "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: "
                 "%zu\r\nRetry-After: 1\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n",
                 sizeof HTTP_CUT_TEXT - 1, x->request_id);
    struct tw_span parts[] = {tw_span_of(head, (size_t)len),
                              tw_span_of(HTTP_CUT_TEXT, sizeof HTTP_CUT_TEXT - 1)};
    // What the socket does not take of it is lost: nobody waits for slow clients any more.
    (void)http_conn_send(conn, parts, x->method == HTTP_HEAD_ ? 1 : 2);
}

void http_h1_writable(struct http_conn *conn) {
    struct http_exchange *x = conn->exchanges;
    if (!x || !x->out_count)
        return;
    if (x->is_streaming)
        http_h1_stream(x);
    else if (write_out(conn, x))
        finish(conn, x);
}

// ---- deadlines ----

static void too_slow(struct http_exchange *x, const char *what) {
    tw_fail(&x->refusal, TW_ERR_TIMEOUT_CLIENT, "the %s did not arrive in time; send it at once", what);
    refuse_and_close(x);
}

void http_h1_sweep(struct http_conn *conn) {
    const struct tw_http_options *options = &conn->loop->http->options;
    struct http_exchange *x = conn->exchanges;
    int64_t now_ns = conn->loop->now_ns;
    if (!x) {
        if (now_ns - conn->since_ns > options->idle_timeout_ms * TW_NS_PER_MS)
            http_conn_close(conn);
    } else if (x->stage == HTTP_RECEIVING && !x->head_done) {
        if (now_ns - x->started_ns > options->header_timeout_ms * TW_NS_PER_MS)
            too_slow(x, "header section");
    } else if (x->stage == HTTP_RECEIVING) {
        if (http_exchange_drips(x))
            too_slow(x, "body");
    } else if (x->out_count && now_ns - conn->progress_ns > options->write_stall_ms * TW_NS_PER_MS) {
        http_conn_close(conn);
    }
}

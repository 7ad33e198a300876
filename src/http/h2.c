// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 with prior knowledge: an nghttp2 session a connection, an exchange a stream. nghttp2 checks the
// framing and the messages and closes the known floods (resets, settings, pings, continuations); what is
// counted here is the header section and the calls a client keeps busy. This file receives; h2_send.c
// answers.

#include <nghttp2/nghttp2.h>

#include "http/h2_send.h"
#include "http/internal.h"

// A section this many times the limit is not even decoded to its end.
enum { HEADER_EXCESS = 4, HPACK_OVERHEAD = 32 };

static struct http_exchange *exchange_of(nghttp2_session *session, int32_t stream_id) {
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

// A client that opens stream 5 after stream 1 has closed stream 3 by that; opening it later is an error of the
// connection (RFC 9113, 5.1.1). nghttp2 takes it for one that was used and closed, and ignores it.
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *context) {
    struct http_conn *conn = context;
    if (hd->type != NGHTTP2_HEADERS || hd->stream_id % 2 == 0)
        return 0;
    if (hd->stream_id > conn->h2_last_id) {
        if (hd->stream_id > conn->h2_last_id + 2) {
            conn->h2_gap_from = conn->h2_last_id + 1;
            conn->h2_gap_to = hd->stream_id - 2;
        }
        conn->h2_last_id = hd->stream_id;
        return 0;
    }
    bool is_skipped = hd->stream_id >= conn->h2_gap_from && hd->stream_id <= conn->h2_gap_to;
    return is_skipped ? nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR) : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    struct http_conn *conn = context;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    // Streams that were reset count until their call has ended, so that resetting is no way around the limit.
    bool has_room = conn->exchange_count < HTTP2_CALLS_MAX &&
                    tw_counter_get(&conn->loop->exchange_count) < HTTP_EXCHANGES_MAX;
    struct http_exchange *x = has_room ? http_exchange_new(conn) : NULL;
    if (!has_room)
        http_meter_reject("http2_streams");
    if (!x)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM);
    x->stream_id = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, x);
    return 0;
}

// :path or :authority, into `head`.
static void take_pseudo(struct http_exchange *x, struct tw_str value, uint32_t *ret_at, uint32_t *ret_len) {
    size_t at = x->head.len;
    if (value.len > HTTP_TARGET_MAX) {
        tw_fail(&x->refusal, TW_ERR_URI_TOO_LONG, "the request target is longer than %d bytes",
                HTTP_TARGET_MAX);
    } else if (!tw_buf_append_str(&x->head, value)) {
        tw_fail(&x->refusal, TW_ERR_CAPACITY, "no memory for the request's headers");
    } else {
        *ret_at = (uint32_t)at;
        *ret_len = (uint32_t)value.len;
    }
}

static void take_field(struct http_exchange *x, struct tw_str name, struct tw_str value) {
    struct tw_error *err = &x->refusal;
    uint64_t length;
    if (tw_str_equal(name, TW_STR(":method")))
        x->method = http_method_of(value);
    else if (tw_str_equal(name, TW_STR(":path")))
        take_pseudo(x, value, &x->path_at, &x->path_len);
    else if (tw_str_equal(name, TW_STR(":authority")))
        take_pseudo(x, value, &x->authority_at, &x->authority_len);
    else if (tw_str_starts(name, TW_STR(":")))
        return; // nghttp2 has checked :scheme; nothing here depends on it
    else if (http_exchange_field(x, name, value, err) && tw_str_equal(name, TW_STR("content-length")) &&
             tw_str_u64(value, &length))
        x->content_length = length;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, [[maybe_unused]] uint8_t flags,
                     [[maybe_unused]] void *context) {
    struct http_exchange *x = exchange_of(session, frame->hd.stream_id);
    if (!x || x->stage != HTTP_RECEIVING)
        return 0;
    x->header_bytes += name_len + value_len + HPACK_OVERHEAD;
    if (x->header_bytes > (size_t)HTTP_HEADER_BYTES_MAX * HEADER_EXCESS)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // resets the stream
    if (x->header_bytes > HTTP_HEADER_BYTES_MAX && x->refusal.code == TW_OK)
        tw_fail(&x->refusal, TW_ERR_HEADERS_TOO_LARGE,
                "the header section is larger than %d bytes; send less", HTTP_HEADER_BYTES_MAX);
    bool is_trailer = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
    if (x->refusal.code == TW_OK && !is_trailer)
        take_field(x, tw_str_of((const char *)name, name_len), tw_str_of((const char *)value, value_len));
    return 0;
}

// Who is asked for: :authority or Host; when both are there they have to agree (RFC 9113, 8.3.1).
static void find_authority(struct http_exchange *x) {
    struct tw_str host = http_header_find(x, TW_STR("host"));
    x->authority = tw_str_of((const char *)x->head.data + x->authority_at, x->authority_len);
    if (!x->authority.len)
        x->authority = host;
    else if (host.len && !tw_str_equal_nocase(host, x->authority) && x->refusal.code == TW_OK)
        tw_fail(&x->refusal, TW_ERR_INVALID_REQUEST,
                ":authority and the Host header differ; send one of them");
}

static void on_head(struct http_exchange *x) {
    find_authority(x);
    http_exchange_head(x, tw_str_of((const char *)x->head.data + x->path_at, x->path_len));
    if (x->refusal.code != TW_OK && !x->is_whole)
        http_exchange_refuse(x);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
                         [[maybe_unused]] void *context) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct http_exchange *x = exchange_of(session, frame->hd.stream_id);
    if (!x)
        return 0;
    x->is_whole |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (x->stage == HTTP_RECEIVING && !x->head_done)
        on_head(x);
    if (x->stage == HTTP_RECEIVING && x->is_whole)
        http_exchange_run(x);
    return 0;
}

static int on_data(nghttp2_session *session, [[maybe_unused]] uint8_t flags, int32_t stream_id,
                   const uint8_t *data, size_t len, [[maybe_unused]] void *context) {
    struct http_exchange *x = exchange_of(session, stream_id);
    if (x && x->stage == HTTP_RECEIVING && !http_exchange_body(x, data, len))
        http_exchange_refuse(x);
    if (x && x->stage == HTTP_RECEIVING && http_spill_is_full(x)) {
        x->spill.unconsumed += len; // the stream's window stays shut; the connection's is for all
        return nghttp2_session_consume_connection(session, len) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return nghttp2_session_consume(session, stream_id, len) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

void http_h2_more_room(struct http_exchange *x) {
    size_t len = x->spill.unconsumed;
    x->spill.unconsumed = 0;
    if (nghttp2_session_consume_stream(x->conn->h2, x->stream_id, len) != 0)
        x->conn->is_broken = true; // no memory
    http_mark_dirty(x->conn);
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *context) {
    struct http_conn *conn = context;
    struct http_exchange *x = exchange_of(session, stream_id);
    conn->since_ns = conn->loop->now_ns;
    if (!x)
        return 0;
    if (x->stage == HTTP_ANSWERING && error_code == NGHTTP2_NO_ERROR) {
        http_exchange_sent(x);
        return 0;
    }
    x->stream_id = -1;
    http_exchange_abort(x);
    return 0;
}

// ---- the session ----

static nghttp2_session_callbacks *make_callbacks(void) {
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, http_h2_frame_sent);
    return callbacks;
}

static bool configure(nghttp2_session *session) {
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEADER_BYTES_MAX},
    };
    return nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, TW_COUNT(settings)) == 0 &&
           nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, HTTP2_CONNECTION_WINDOW) == 0;
}

bool http_h2_open(struct http_conn *conn) {
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = NULL;
    bool ok = callbacks && nghttp2_option_new(&option) == 0;
    if (ok) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        ok = nghttp2_session_server_new2(&conn->h2, callbacks, conn, option) == 0 && configure(conn->h2);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    conn->since_ns = conn->loop->now_ns;
    conn->pending.max = HTTP2_OUT_MAX;
    return ok;
}

void http_h2_close(struct http_conn *conn) {
    nghttp2_session_del(conn->h2);
    conn->h2 = NULL;
}

void http_h2_end(struct http_conn *conn, uint32_t error_code) {
    nghttp2_session_terminate_session(conn->h2, error_code);
    http_h2_flush(conn);
}

void http_h2_input(struct http_conn *conn, const uint8_t *data, size_t len) {
    ssize_t used = nghttp2_session_mem_recv(conn->h2, data, len);
    if (used >= 0) {
        http_mark_dirty(conn);
        return;
    }
    http_meter_reject(used == NGHTTP2_ERR_FLOODED ? "http2_flood" : "http2_protocol");
    http_h2_end(conn, used == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    http_conn_linger(conn);
}

// ---- deadlines ----

// False: the whole connection has to go.
static bool sweep_stream(struct http_conn *conn, struct http_exchange *x) {
    const struct tw_http_options *options = &conn->loop->http->options;
    int64_t now_ns = conn->loop->now_ns;
    if (x->stage == HTTP_RECEIVING && !x->head_done)
        return now_ns - x->started_ns <= options->header_timeout_ms * TW_NS_PER_MS;
    if (x->stage == HTTP_RECEIVING && http_exchange_drips(x)) {
        tw_fail(&x->refusal, TW_ERR_TIMEOUT_CLIENT, "the body did not arrive in time; send it at once");
        http_exchange_refuse(x);
        return true;
    }
    bool has_output = x->stage == HTTP_ANSWERING ||
                      (x->is_streaming && (x->sent < x->chunk.len || http_stream_has_pending(x)));
    if (!has_output)
        x->progress_ns = now_ns;
    else if (x->stream_id > 0 && now_ns - x->progress_ns > options->write_stall_ms * TW_NS_PER_MS) {
        // The client gives no window: this stream only.
        if (nghttp2_submit_rst_stream(conn->h2, NGHTTP2_FLAG_NONE, x->stream_id, NGHTTP2_CANCEL) == 0)
            http_mark_dirty(conn);
    }
    return true;
}

void http_h2_sweep(struct http_conn *conn) {
    const struct tw_http_options *options = &conn->loop->http->options;
    int64_t now_ns = conn->loop->now_ns;
    bool is_stalled =
        conn->pending.len && now_ns - conn->progress_ns > options->write_stall_ms * TW_NS_PER_MS;
    bool is_slow = false;
    for (struct http_exchange *x = conn->exchanges, *next; x && !is_slow; x = next) {
        next = x->next;
        is_slow = !sweep_stream(conn, x);
    }
    if (is_stalled)
        http_conn_close(conn);
    else if (is_slow)
        http_h2_end(conn, NGHTTP2_ENHANCE_YOUR_CALM);
    else if (!conn->exchanges && now_ns - conn->since_ns > options->idle_timeout_ms * TW_NS_PER_MS)
        http_h2_end(conn, NGHTTP2_NO_ERROR);
}

void http_h2_drain(struct http_conn *conn) {
    int64_t now_ns = conn->loop->now_ns;
    int result = 0;
    if (!conn->goaway_ns) {
        // "Send nothing new", with no stream refused yet; the final word comes a round trip later (RFC
        // 9113, 6.8).
        conn->goaway_ns = now_ns;
        result = nghttp2_submit_shutdown_notice(conn->h2);
    } else if (!conn->final_goaway && now_ns - conn->goaway_ns > HTTP2_GOAWAY_PAUSE_MS * TW_NS_PER_MS) {
        conn->final_goaway = true;
        result = nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE,
                                       nghttp2_session_get_last_proc_stream_id(conn->h2), NGHTTP2_NO_ERROR,
                                       NULL, 0);
    }
    if (result != 0)
        http_conn_close(conn);
    else
        http_mark_dirty(conn);
}

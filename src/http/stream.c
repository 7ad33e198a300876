// SPDX-License-Identifier: Apache-2.0
//
// Streamed answers: a handler's thread appends to a bounded buffer, and the loop empties it as fast as the client
// reads. A guest that is faster than its client waits, parked, when the buffer passes a mark, until the loop has
// taken all of it. One note wakes the loop per empty → non-empty change.

#include "http/internal.h"

static void on_note(struct http_note *note) {
    struct http_exchange *x =
        (struct http_exchange *)((char *)note - offsetof(struct http_exchange, stream.note));
    bool begins = !x->is_streaming, ended;
    tw_lock_take(&x->stream.lock);
    x->stream.posted = false;
    ended = x->stream.ended;
    tw_lock_give(&x->stream.lock);
    x->is_streaming = true;
    if (!x->conn || x->stream_id < 0) {
        if (ended) {
            tw_counter_add(&x->loop->in_flight, -1);
            http_exchange_free(x);
        }
        return;
    }
    bool is_h2 = x->conn->kind == HTTP_TWO;
    if (begins)
        http_cors_answer(x);
    if (begins)
        (is_h2 ? http_h2_send : http_h1_send)(x);
    else
        (is_h2 ? http_h2_stream : http_h1_stream)(x);
}

void http_stream_init(struct http_stream *stream) {
    tw_lock_init(&stream->lock);
    stream->note.run = on_note;
}

void http_stream_clean(struct http_exchange *x) {
    struct http_stream *stream = &x->stream;
    http_shares_give(&x->loop->http->bodies, x->caller.tenant, stream->charged);
    stream->charged = 0;
    tw_buf_done(&stream->pending);
    stream->posted = stream->ended = stream->failed = stream->gone = stream->waits = false;
}

// Tells the loop, unless it was told and has not looked yet.
static void post_locked(struct http_exchange *x) {
    if (x->stream.posted)
        return;
    x->stream.posted = true;
    http_post(x->loop, &x->stream.note);
}

void http_stream_begin(struct http_exchange *x) {
    TW_LOCK_SCOPE(&x->stream.lock);
    tw_buf_init(&x->stream.pending, HTTP_STREAM_MAX);
    post_locked(x);
}

bool http_stream_write(struct http_exchange *x, struct tw_span bytes) {
    struct http_stream *stream = &x->stream;
    TW_LOCK_SCOPE(&stream->lock);
    struct tw_error ignored = {};
    if (stream->gone ||
        !http_shares_take(&x->loop->http->bodies, x->caller.tenant, (int64_t)bytes.len, &ignored))
        return false;
    stream->charged += (int64_t)bytes.len;
    if (!tw_buf_append(&stream->pending, bytes.data, bytes.len))
        return false;
    post_locked(x);
    return true;
}

bool http_stream_is_slow(struct http_exchange *x, bool waits) {
    struct http_stream *stream = &x->stream;
    TW_LOCK_SCOPE(&stream->lock);
    bool is_slow = stream->pending.len >= HTTP_STREAM_MARK && !stream->gone;
    stream->waits |= is_slow && waits;
    return is_slow;
}

void http_stream_end(struct http_exchange *x, bool ok) {
    TW_LOCK_SCOPE(&x->stream.lock);
    x->stream.failed = !ok;
    x->stream.ended = true;
    post_locked(x);
}

bool http_stream_abort(struct http_exchange *x) {
    TW_LOCK_SCOPE(&x->stream.lock);
    x->stream.gone = true;
    // When a note is under way, that one will find the end.
    return x->stream.ended && !x->stream.posted;
}

// Gives `bytes` back to the total.
static void discharge(struct http_exchange *x, int64_t bytes) {
    x->stream.charged -= bytes;
    http_shares_give(&x->loop->http->bodies, x->caller.tenant, bytes);
}

static bool take_locked(struct http_exchange *x, bool *ret_ended) {
    bool was_waiting = x->stream.waits;
    x->stream.waits = false;
    discharge(x, (int64_t)x->chunk.len); // the piece before was sent
    struct tw_buf empty = x->chunk;
    tw_buf_reset(&empty);
    empty.max = HTTP_STREAM_MAX;
    x->chunk = x->stream.pending;
    x->stream.pending = empty;
    // When another note is under way, that one will find the end.
    *ret_ended = x->stream.ended && !x->stream.posted;
    if (*ret_ended) {
        x->stage = HTTP_ANSWERING; // the handler has let go
        tw_counter_add(&x->loop->in_flight, -1);
    }
    return was_waiting;
}

void http_stream_take(struct http_exchange *x, bool *ret_ended) {
    tw_lock_take(&x->stream.lock);
    bool was_waiting = take_locked(x, ret_ended);
    tw_lock_give(&x->stream.lock);
    if (was_waiting)
        tw_service_call_resume(&x->call); // what was held is on its way; the call may have ended
}

bool http_stream_has_pending(struct http_exchange *x) {
    TW_LOCK_SCOPE(&x->stream.lock);
    return x->stream.pending.len > 0;
}

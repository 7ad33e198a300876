// SPDX-License-Identifier: Apache-2.0
//
// POST /functions/{id}/invoke-stream: the answer goes out while the guest writes it; the guest waits while
// the client is slow. As raw bytes, or as server-sent events where the client accepts text/event-stream:
//
//     event: chunk            data: {"text":"…"} or, when it is not UTF-8, {"base64":"…"}
//     event: done             data: {} or, called with JSON, {"function_id":…,"result":…}
//     event: error            data: {"error":{…}}
//
// Until the first byte was written an error is an ordinary problem answer. After it, raw bytes end without
// their proper end.

#include "http/handlers.h"
#include "http/internal.h"
#include "http/invoke.h"

enum { EVENT_MAX = 1 << 20 };

static bool wants_events(const struct http_exchange *x) {
    struct tw_str rest = http_header_find(x, TW_STR("accept"));
    while (rest.len) {
        struct tw_str range = tw_str_cut(&rest, ',');
        if (tw_str_equal_nocase(tw_str_trim(tw_str_cut(&range, ';')), TW_STR("text/event-stream")))
            return true;
    }
    return false;
}

// On the worker that runs the call, before the first byte.
static void begin(struct http_exchange *x) {
    const struct tw_invoke *invoke = &x->call.invoke;
    bool events = x->is_events = wants_events(x);
    x->has_begun = true;
    x->reply.status = events || !invoke->status ? 200 : invoke->status;
    x->reply.content_type = events ? TW_STR("text/event-stream") : http_call_type(invoke->content_type);
    if (events)
        http_reply_header(&x->reply, "Cache-Control", TW_STR("no-store"));
    http_stream_begin(x);
}

static bool write_event(struct http_exchange *x, const char *name, struct tw_str json) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf event;
    tw_buf_init(&event, EVENT_MAX);
    while (json.len && json.data[json.len - 1] == '\n')
        json.len--;
    return tw_buf_printf(&event, "event: %s\ndata: ", name) && tw_buf_append_str(&event, json) &&
           tw_buf_append(&event, "\n\n", 2) && http_stream_write(x, tw_buf_span(&event));
}

static bool write_chunk_event(struct http_exchange *x, struct tw_span bytes) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf json;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf base64;
    struct tw_json_writer writer;
    struct tw_str text = tw_str_of((const char *)bytes.data, bytes.len);
    bool is_text = tw_utf8_valid(text);
    tw_buf_init(&json, EVENT_MAX);
    tw_buf_init(&base64, EVENT_MAX);
    if (!is_text && !tw_base64_append(&base64, bytes))
        return false;
    tw_json_write_init(&writer, &json);
    tw_json_write_object(&writer);
    tw_json_write_key(&writer, is_text ? "text" : "base64");
    tw_json_write_str(&writer, is_text ? text : tw_buf_str(&base64));
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer) && write_event(x, "chunk", tw_buf_str(&json));
}

static bool on_emit(struct tw_service_call *call, struct tw_span bytes) {
    enum { PIECE_MAX = 64 << 10 }; // so that an event has a bound
    struct http_exchange *x = call->context;
    if (!x->has_begun) {
        struct tw_error err;
        if (call->invoke.status && !http_call_status_check(call->invoke.status, &err))
            return false;
        begin(x);
    }
    if (!x->is_events) {
        tw_metric_add(TW_METRIC_STREAM_CHUNKS, tw_labels(), 1);
        return http_stream_write(x, bytes);
    }
    while (bytes.len) {
        size_t part = bytes.len < PIECE_MAX ? bytes.len : PIECE_MAX;
        tw_metric_add(TW_METRIC_STREAM_CHUNKS, tw_labels(), 1);
        if (!write_chunk_event(x, tw_span_of(bytes.data, part)))
            return false;
        bytes = tw_span_of(bytes.data + part, bytes.len - part);
    }
    return true;
}

static bool is_slow(struct tw_service_call *call, bool waits) {
    struct http_exchange *x = call->context;
    return x->has_begun && http_stream_is_slow(x, waits);
}

static void end_with_error(struct http_exchange *x, const struct tw_error *err) {
    if (!x->has_begun) {
        http_call_problem(x, &x->reply, err);
        http_respond(x);
        return;
    }
    struct http_reply problem = {}; // x->reply is the loop's since the stream began
    http_call_problem(x, &problem, err);
    bool ok = x->is_events && write_event(x, "error", tw_buf_str(&problem.body));
    tw_buf_done(&problem.body);
    http_stream_end(x, ok);
}

static void on_done(struct tw_service_call *call) {
    struct http_exchange *x = call->context;
    if (call->error.code != TW_OK) {
        struct tw_error err = call->error;
        end_with_error(x, &err);
        return;
    }
    if (!x->has_begun)
        begin(x);
    bool ok = true;
    if (x->is_events)
        ok = write_event(x, "done", call->is_json ? tw_buf_str(&call->body_out) : TW_STR("{}"));
    else if (!call->is_json && call->body_out.len)
        ok = http_stream_write(x, tw_buf_span(&call->body_out));
    tw_service_call_done(call);
    http_stream_end(x, ok);
}

void http_function_stream(struct http_exchange *x) {
    struct tw_service_call *call = http_call_new(x);
    call->function = x->params[0];
    call->done = on_done;
    call->emit = on_emit;
    call->is_slow = is_slow;
    http_call_start(x);
}

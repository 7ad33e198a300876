// SPDX-License-Identifier: Apache-2.0
//
// The header section of an HTTP/1 answer, and the pieces both protocols share (date, reason phrases, which
// answers have a body).

#include "http/internal.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *reason_of(int status) {
    for (size_t i = 0; i < TW_COUNT(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return ""; // the phrase is optional (RFC 9112, 4)
}

bool http_status_has_body(int status) {
    return status != 204 && status != 304;
}

struct tw_span http_reply_body(const struct http_exchange *x) {
    return x->reply.body.len ? tw_buf_span(&x->reply.body) : x->reply.borrowed;
}

struct tw_str http_reply_vary(const struct http_reply *reply) {
    static const char *const values[] = {
        "",       "Origin",         "Accept-Encoding",         "Origin, Accept-Encoding",
        "Accept", "Origin, Accept", "Accept-Encoding, Accept", "Origin, Accept-Encoding, Accept"};
    return tw_str_from(values[reply->vary]);
}

const char *http_date(struct http_loop *loop) {
    if (loop->now_ns >= loop->date_until_ns) {
        int64_t wall_ns = tw_clock_wall_ns();
        loop->date_until_ns = loop->now_ns + TW_NS_PER_S - wall_ns % TW_NS_PER_S;
        time_t seconds = (time_t)(wall_ns / TW_NS_PER_S);
        struct tm parts;
        gmtime_r(&seconds, &parts);
        strftime(loop->date, sizeof loop->date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return loop->date;
}

static bool put(struct tw_buf *out, struct tw_str name, struct tw_str value) {
    return tw_buf_append_str(out, name) && tw_buf_append(out, ": ", 2) && tw_buf_append_str(out, value) &&
           tw_buf_append(out, "\r\n", 2);
}

// Content-Length, Transfer-Encoding or neither (an answer that ends with the connection).
static bool put_framing(struct http_exchange *x, bool is_chunked) {
    if (!http_status_has_body(x->reply.status))
        return true;
    if (is_chunked)
        return x->is_http10 || put(&x->out_head, TW_STR("Transfer-Encoding"), TW_STR("chunked"));
    char digits[TW_U64_DIGITS];
    return put(&x->out_head, TW_STR("Content-Length"), tw_str_of_u64(http_reply_body(x).len, digits));
}

static bool put_connection(struct http_exchange *x, bool keep_alive) {
    if (!keep_alive)
        return put(&x->out_head, TW_STR("Connection"), TW_STR("close"));
    return !x->is_http10 || put(&x->out_head, TW_STR("Connection"), TW_STR("keep-alive"));
}

static bool put_status(struct tw_buf *out, int status) {
    char digits[TW_U64_DIGITS];
    return tw_buf_append(out, "HTTP/1.1 ", 9) &&
           tw_buf_append_str(out, tw_str_of_u64((uint64_t)status, digits)) && tw_buf_append(out, " ", 1) &&
           tw_buf_append_str(out, tw_str_from(reason_of(status))) && tw_buf_append(out, "\r\n", 2);
}

bool http_reply_head(struct http_exchange *x, bool keep_alive, bool is_chunked) {
    struct tw_buf *out = &x->out_head;
    tw_buf_reset(out);
    bool ok = put_status(out, x->reply.status) && put(out, TW_STR("Date"), tw_str_from(http_date(x->loop))) &&
              (!x->reply.vary || put(out, TW_STR("Vary"), http_reply_vary(&x->reply))) &&
              (!x->reply.content_type.len || put(out, TW_STR("Content-Type"), x->reply.content_type)) &&
              put_framing(x, is_chunked) && put(out, TW_STR("X-Request-Id"), tw_str_of(x->request_id, 16)) &&
              put(out, TW_STR("X-Trace-Id"), tw_str_of(x->trace_id, 32)) && put_connection(x, keep_alive);
    char traceparent[HTTP_TRACEPARENT_SIZE];
    if (http_trace_parent(x, traceparent))
        ok = ok && put(out, TW_STR("traceparent"), tw_str_from(traceparent));
    for (unsigned i = 0; ok && i < x->reply.extra_count; i++)
        ok = put(out, tw_str_from(x->reply.extra[i].name), x->reply.extra[i].value);
    return ok && tw_buf_append(out, "\r\n", 2);
}

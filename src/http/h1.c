// SPDX-License-Identifier: Apache-2.0
//
// llhttp's callbacks. They count every byte of the header section, the chunk extensions and the trailers
// before keeping it, put the headers where an exchange wants them, and ask h1_policy.c about each. A callback
// that refuses leaves the reason in h1->error and returns HPE_USER.

#include "http/h1.h"

#include "http/exchange.h"
#include "http/internal.h"

static struct http_h1 *h1_of(llhttp_t *parser) {
    return parser->data;
}

static bool is_trailer(const llhttp_t *parser) {
    return parser->flags & F_TRAILING;
}

static int refuse(struct http_h1 *h1) {
    TW_ASSERT(h1->error.code != TW_OK);
    return HPE_USER;
}

// Counts bytes of the header section; `more` includes what stands around names and values.
static bool count_header(struct http_h1 *h1, size_t more) {
    h1->seen.header_bytes += more;
    return h1->seen.header_bytes <= HTTP_HEADER_BYTES_MAX ||
           tw_fail(&h1->error, TW_ERR_HEADERS_TOO_LARGE,
                   "the header section is larger than %d bytes; send less", HTTP_HEADER_BYTES_MAX);
}

static bool count_trailer(struct http_h1 *h1, size_t more) {
    h1->seen.trailer_bytes += more;
    return h1->seen.trailer_bytes <= HTTP_TRAILER_BYTES_MAX ||
           tw_fail(&h1->error, TW_ERR_HEADERS_TOO_LARGE,
                   "chunk extensions and trailers are larger than %d bytes; leave them out",
                   HTTP_TRAILER_BYTES_MAX);
}

static bool keep(struct http_h1 *h1, const char *at, size_t len) {
    return tw_buf_append(&h1->x->head, at, len) ||
           tw_fail(&h1->error, TW_ERR_CAPACITY, "no memory for the request's headers");
}

static int on_url(llhttp_t *parser, const char *at, size_t len) {
    struct http_h1 *h1 = h1_of(parser);
    if (h1->x->head.len + len > HTTP_TARGET_MAX) {
        tw_fail(&h1->error, TW_ERR_URI_TOO_LONG, "the request target is longer than %d bytes",
                HTTP_TARGET_MAX);
        return refuse(h1);
    }
    return keep(h1, at, len) ? 0 : refuse(h1);
}

static int on_url_complete(llhttp_t *parser) {
    struct http_h1 *h1 = h1_of(parser);
    h1->target_len = h1->name_at = h1->x->head.len;
    return 0;
}

static int on_version_complete(llhttp_t *parser) {
    struct http_h1 *h1 = h1_of(parser);
    return http_h1_check_version(parser, &h1->error) ? 0 : refuse(h1);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len) {
    struct http_h1 *h1 = h1_of(parser);
    if (is_trailer(parser))
        return count_trailer(h1, len) ? 0 : refuse(h1);
    return count_header(h1, len) && keep(h1, at, len) ? 0 : refuse(h1);
}

static int on_header_field_complete(llhttp_t *parser) {
    struct http_h1 *h1 = h1_of(parser);
    if (is_trailer(parser))
        return count_trailer(h1, 4) ? 0 : refuse(h1);
    h1->value_at = h1->x->head.len;
    tw_ascii_lower((char *)h1->x->head.data + h1->name_at, h1->value_at - h1->name_at);
    return count_header(h1, 4) ? 0 : refuse(h1);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len) {
    struct http_h1 *h1 = h1_of(parser);
    if (is_trailer(parser))
        return count_trailer(h1, len) ? 0 : refuse(h1);
    return count_header(h1, len) && keep(h1, at, len) ? 0 : refuse(h1);
}

static int on_header_value_complete(llhttp_t *parser) {
    struct http_h1 *h1 = h1_of(parser);
    struct http_exchange *x = h1->x;
    if (is_trailer(parser))
        return 0;
    const char *head = (const char *)x->head.data;
    struct tw_str name = tw_str_of(head + h1->name_at, h1->value_at - h1->name_at);
    struct tw_str value = tw_str_trim(tw_str_of(head + h1->value_at, x->head.len - h1->value_at));
    if (x->field_count == HTTP_HEADERS_MAX) {
        tw_fail(&h1->error, TW_ERR_HEADERS_TOO_LARGE, "a request may have %d headers; send fewer",
                HTTP_HEADERS_MAX);
        return refuse(h1);
    }
    if (!http_h1_check_header(h1, name, value, &h1->error))
        return refuse(h1);
    x->fields[x->field_count++] = (struct http_field){(uint32_t)h1->name_at, (uint32_t)name.len,
                                                      (uint32_t)(value.data - head), (uint32_t)value.len};
    h1->name_at = x->head.len;
    return 0;
}

static int on_headers_complete(llhttp_t *parser) {
    struct http_h1 *h1 = h1_of(parser);
    parser->upgrade = 0; // Upgrade is ignored, as RFC 9110, 7.8 allows
    struct tw_str method = tw_str_from(llhttp_method_name((llhttp_method_t)parser->method));
    h1->x->method = http_method_of(method);
    return http_h1_check_head(h1, &h1->error) ? HPE_PAUSED : refuse(h1);
}

static int on_chunk_header(llhttp_t *parser) {
    struct http_h1 *h1 = h1_of(parser);
    if (parser->content_length <= h1->body_max && h1->x->body_seen <= h1->body_max - parser->content_length)
        return 0;
    tw_fail(&h1->error, TW_ERR_BODY_TOO_LARGE, "the body is larger than the limit of %" PRIu64 " bytes",
            h1->body_max);
    return refuse(h1);
}

static int on_chunk_extension(llhttp_t *parser, [[maybe_unused]] const char *at, size_t len) {
    struct http_h1 *h1 = h1_of(parser);
    return count_trailer(h1, len + 1) ? 0 : refuse(h1);
}

static int on_body(llhttp_t *parser, const char *at, size_t len) {
    struct http_h1 *h1 = h1_of(parser);
    if (http_exchange_body(h1->x, (const uint8_t *)at, len))
        return 0;
    h1->error = h1->x->refusal;
    return refuse(h1);
}

static int on_message_complete(llhttp_t *parser) {
    h1_of(parser)->keep_alive = llhttp_should_keep_alive(parser);
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_version_complete = on_version_complete,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_h1_init(struct http_h1 *h1, uint64_t body_max) {
    *h1 = (struct http_h1){.body_max = body_max};
    llhttp_init(&h1->parser, HTTP_REQUEST, &settings);
    h1->parser.data = h1;
}

void http_h1_next(struct http_h1 *h1, struct http_exchange *x) {
    llhttp_reset(&h1->parser);
    h1->x = x;
    h1->seen = (struct http_h1_seen){};
    h1->error.code = TW_OK;
    h1->target_len = h1->name_at = h1->value_at = 0;
    h1->keep_alive = false;
    h1->phase = HTTP_H1_MORE;
}

enum http_h1_result http_h1_parse(struct http_h1 *h1, const uint8_t *data, size_t len, size_t *ret_used) {
    const char *start = (const char *)data;
    llhttp_errno_t code = llhttp_execute(&h1->parser, start, len);
    *ret_used = len;
    if (code == HPE_OK)
        return HTTP_H1_MORE;
    if (code == HPE_PAUSED) {
        *ret_used = (size_t)(llhttp_get_error_pos(&h1->parser) - start);
        llhttp_resume(&h1->parser);
        h1->phase = h1->phase == HTTP_H1_MORE ? HTTP_H1_HEAD : HTTP_H1_REQUEST;
        return h1->phase;
    }
    if (h1->error.code == TW_OK)
        http_h1_syntax_error(&h1->parser, code, &h1->error);
    return HTTP_H1_BAD;
}

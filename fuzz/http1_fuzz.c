// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1 bytes through the parser and the policy, with no socket: the input is fed in pieces whose sizes it
// chooses itself (its first byte), request after request, as a connection would. What comes out is checked
// against what has to hold for every request that is let through.

#include "base/base.h"
#include "http/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 1 << 16 };

// Whatever the bytes were, a request that was taken has one Host (or is 1.0), a sane target and a body within
// the limit.
static void check_head(const struct http_h1 *h1, const struct http_exchange *x) {
    TW_ASSERT(x->field_count <= HTTP_HEADERS_MAX);
    TW_ASSERT(h1->target_len <= HTTP_TARGET_MAX && h1->target_len <= x->head.len);
    TW_ASSERT(h1->seen.hosts == 1 || (x->is_http10 && h1->seen.hosts == 0));
    TW_ASSERT(!(h1->seen.is_chunked && x->content_length != UINT64_MAX));
    TW_ASSERT(!(h1->seen.is_chunked && x->is_http10));
    unsigned hosts = 0;
    for (unsigned i = 0; i < x->field_count; i++) {
        const struct http_field *field = &x->fields[i];
        TW_ASSERT((size_t)field->name_at + field->name_len <= x->head.len && field->name_len > 0);
        TW_ASSERT((size_t)field->value_at + field->value_len <= x->head.len);
        const uint8_t *value = x->head.data + field->value_at;
        for (uint32_t k = 0; k < field->value_len; k++)
            TW_ASSERT(value[k] != '\r' && value[k] != '\n' && value[k] != '\0');
        hosts += field->name_len == 4 && memcmp(x->head.data + field->name_at, "host", 4) == 0;
    }
    TW_ASSERT(hosts == h1->seen.hosts);
}

static void use_head(struct http_exchange *x, struct http_h1 *h1) {
    struct tw_error err;
    struct tw_str value;
    if (!http_target_split(tw_str_of((const char *)x->head.data, h1->target_len), x->method, &x->authority,
                           &x->path, &x->query, &err))
        return;
    (void)http_route_find(x, &err);
    (void)http_query_find(x, TW_STR("name"), &value, &err);
    (void)http_content_type_is(x, TW_STR("application/json"));
    http_trace_begin(x);
}

static void restart(struct http_exchange *x, struct http_h1 *h1) {
    tw_buf_reset(&x->head);
    tw_buf_reset(&x->body);
    tw_arena_reset(&x->arena);
    x->field_count = 0;
    x->body_seen = 0;
    x->route = NULL;
    x->reply.extra_count = 0;
    x->refusal.code = TW_OK;
    http_h1_next(h1, x);
}

static void feed(struct http_exchange *x, struct http_h1 *h1, const uint8_t *data, size_t size) {
    size_t piece = size ? 1 + data[0] % 64 : 1;
    bool at_head = false;
    for (size_t at = size ? 1 : 0; at < size || at_head;) {
        size_t used, len = size - at < piece ? size - at : piece;
        switch (http_h1_parse(h1, data + at, len, &used)) {
        case HTTP_H1_MORE:
            TW_ASSERT(used == len);
            at_head = false;
            break;
        case HTTP_H1_HEAD:
            check_head(h1, x);
            use_head(x, h1);
            at_head = true;
            break;
        case HTTP_H1_REQUEST:
            TW_ASSERT(x->body_seen <= BODY_MAX);
            TW_ASSERT(x->content_length == UINT64_MAX || x->body_seen == x->content_length);
            restart(x, h1);
            at_head = false;
            break;
        case HTTP_H1_BAD:
            TW_ASSERT(h1->error.code != TW_OK && tw_code_status(h1->error.code) >= 400);
            return;
        }
        TW_ASSERT(used <= len);
        at += used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct tw_http http;
    static struct http_loop loop;
    static struct http_exchange x;
    static struct http_h1 h1;
    http.options.max_body_bytes = BODY_MAX;
    loop.http = &http;
    x.loop = &loop;
    tw_arena_init(&x.arena, HTTP_ARENA_MAX);
    tw_buf_init(&x.head, HTTP_TARGET_MAX + HTTP_HEADER_BYTES_MAX + 1024);
    tw_buf_init(&x.body, BODY_MAX);
    http_h1_init(&h1, BODY_MAX);
    restart(&x, &h1);
    feed(&x, &h1, data, size);
    tw_arena_done(&x.arena);
    tw_buf_done(&x.head);
    tw_buf_done(&x.body);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// What reading and deleting have in common, whatever the objects are: a page of a list, one by its id, gone. The
// handlers say which use case of the service it is, and whether it may stay on the loop.

#include "http/exchange.h"

void http_answer_page(struct http_exchange *x, size_t max_bytes, http_page_case *page) {
    struct tw_error err = {};
    struct tw_buf out;
    struct tw_str cursor;
    uint32_t limit = 0;
    tw_buf_init(&out, max_bytes);
    bool ok = http_query_find(x, TW_STR("cursor"), &cursor, &err) &&
              http_query_u32(x, TW_STR("limit"), &limit, &err) &&
              page(http_service(x), &x->caller, cursor, limit, &out, &err);
    http_respond_result(x, ok, 200, &out, &err);
}

void http_answer_object(struct http_exchange *x, size_t max_bytes, http_read_case *read) {
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, max_bytes);
    bool ok = read(http_service(x), &x->caller, x->params[0], &out, &err);
    http_respond_result(x, ok, 200, &out, &err);
}

void http_answer_gone(struct http_exchange *x, bool ok, const struct tw_error *err) {
    if (!ok) {
        http_fail(x, err);
        return;
    }
    x->reply.status = 204;
    http_respond(x);
}

// SPDX-License-Identifier: Apache-2.0
//
// Reads that a client has already: an ETag on every JSON answer to GET, and 304 for If-None-Match (RFC 9110, 8.8.3
// and 13.1.2). The tags are weak, because one document may be sent in several codings.

#include "http/internal.h"

// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE; compared weakly, so without W/.
static struct tw_str opaque_of(struct tw_str tag) {
    tag = tw_str_trim(tag);
    if (tw_str_starts(tag, TW_STR("W/")))
        tag = tw_str_of(tag.data + 2, tag.len - 2);
    return tag;
}

// A comma inside a tag splits it, and the halves then match nothing; our own tags have none.
static bool is_listed(struct tw_str list, struct tw_str tag) {
    while (list.len) {
        struct tw_str item = opaque_of(tw_str_cut(&list, ','));
        if (tw_str_equal(item, TW_STR("*")) || tw_str_equal(item, opaque_of(tag)))
            return true;
    }
    return false;
}

void http_etag_set(struct http_exchange *x, struct tw_str tag) {
    http_reply_header(&x->reply, "ETag", tag);
    if (!is_listed(http_header_find(x, TW_STR("if-none-match")), tag))
        return;
    x->reply.status = 304;
    x->reply.content_type = (struct tw_str){};
    tw_buf_done(&x->reply.body);
    x->reply.borrowed = (struct tw_span){};
}

void http_etag(struct http_exchange *x) {
    enum { DIGEST_BYTES = 16 };
    if ((x->method != HTTP_GET_ && x->method != HTTP_HEAD_) || x->reply.status != 200)
        return;
    struct tw_digest digest = tw_sha256(http_reply_body(x));
    char hex[2 * DIGEST_BYTES + 1];
    tw_hex(tw_span_of(digest.bytes, DIGEST_BYTES), hex);
    const char *tag = tw_arena_printf(&x->arena, "W/\"%s\"", hex);
    if (tag)
        http_etag_set(x, tw_str_from(tag));
}

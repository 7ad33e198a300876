// SPDX-License-Identifier: Apache-2.0
//
// Parts of downloads (RFC 9110, 14): one range of bytes, 206; one that the body does not reach, 416. Several ranges at
// once, other units and what cannot be read are answered with the whole, as the RFC allows.

#include "http/internal.h"

// A number of digits only; true with UINT64_MAX where it is too large to matter.
static bool read_number(struct tw_str text, uint64_t *ret_value) {
    bool ok = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        ok = ok && text.data[i] >= '0' && text.data[i] <= '9';
    if (ok && !tw_str_u64(text, ret_value))
        *ret_value = UINT64_MAX;
    return ok;
}

struct range {
    uint64_t first, last; // inclusive
};

// first-last, first-, -suffix. False: it says nothing about this body.
static bool read_range(struct tw_str text, uint64_t len, struct range *ret_range) {
    struct tw_str rest = tw_str_trim(text);
    if (memchr(rest.data, ',', rest.len) || !memchr(rest.data, '-', rest.len))
        return false;
    struct tw_str first = tw_str_trim(tw_str_cut(&rest, '-')), last = tw_str_trim(rest);
    uint64_t suffix;
    *ret_range = (struct range){.last = UINT64_MAX};
    if (first.len == 0) {
        if (!read_number(last, &suffix))
            return false;
        *ret_range = (struct range){suffix < len ? len - suffix : 0, suffix ? UINT64_MAX : 0};
        if (suffix == 0) // nothing: no body reaches it
            ret_range->first = UINT64_MAX;
        return true;
    }
    return read_number(first, &ret_range->first) && (last.len == 0 || read_number(last, &ret_range->last)) &&
           ret_range->first <= ret_range->last;
}

// Does the client's part belong to what the body is now? Tags are compared strongly; a date is never the same.
static bool is_current(const struct http_exchange *x, struct tw_str tag) {
    struct tw_str condition = http_header_find(x, TW_STR("if-range"));
    return condition.len == 0 || tw_str_equal(tw_str_trim(condition), tag);
}

static void say_range(struct http_exchange *x, const char *text) {
    if (text)
        http_reply_header(&x->reply, "Content-Range", tw_str_from(text));
}

void http_range(struct http_exchange *x, struct tw_str tag) {
    struct tw_str unit = http_header_find(x, TW_STR("range"));
    struct tw_span body = http_reply_body(x);
    struct range range;
    http_reply_header(&x->reply, "Accept-Ranges", TW_STR("bytes"));
    if (x->method != HTTP_GET_ || x->reply.status != 200 || unit.len == 0 || !is_current(x, tag) ||
        !tw_str_equal_nocase(tw_str_trim(tw_str_cut(&unit, '=')), TW_STR("bytes")) ||
        !read_range(unit, body.len, &range))
        return;
    if (range.first >= body.len) {
        struct tw_error err = {};
        tw_fail(&err, TW_ERR_RANGE, "the range begins behind the last of %zu bytes", body.len);
        x->reply.extra_count = 0; // what was said of the body
        http_reply_problem(&x->reply, &err, (struct tw_str){});
        say_range(x, tw_arena_printf(&x->arena, "bytes */%zu", body.len));
        return;
    }
    if (range.last >= body.len)
        range.last = body.len - 1;
    x->reply.status = 206;
    x->reply.borrowed = tw_span_of(body.data + range.first, range.last - range.first + 1);
    say_range(x, tw_arena_printf(&x->arena, "bytes %" PRIu64 "-%" PRIu64 "/%zu", range.first, range.last,
                                 body.len));
}

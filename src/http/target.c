// SPDX-License-Identifier: Apache-2.0
//
// Request targets (RFC 9112, 3.2) and percent-encoding (RFC 3986, 2.1).
//
//     target = origin-form "/path?query" / absolute-form "http://authority/path?query" / "*" (OPTIONS only)

#include "http/internal.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool http_percent_decode(struct tw_arena *arena, struct tw_str text, bool plus_is_space,
                         struct tw_str *ret_text, struct tw_error *err) {
    if (!memchr(text.data, '%', text.len) && !(plus_is_space && memchr(text.data, '+', text.len))) {
        *ret_text = text;
        return true;
    }
    char *out = tw_arena_alloc(arena, text.len + 1, 1);
    if (!out)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory to decode the request target");
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit(text.data[i + 2]);
            if (low < 0 || high + low == 0)
                return tw_fail(err, TW_ERR_INVALID_REQUEST,
                               "the request target has a bad percent escape at byte %zu; two hex digits "
                               "follow %%, not 00",
                               i);
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[len++] = c;
    }
    *ret_text = tw_str_of(out, len);
    return true;
}

// Cuts "http://authority" off.
static bool cut_authority(struct tw_str *target, struct tw_str *ret_authority) {
    size_t start = tw_str_starts(*target, TW_STR("http://"))    ? 7
                   : tw_str_starts(*target, TW_STR("https://")) ? 8
                                                                : 0;
    if (start == 0)
        return false;
    size_t end = start;
    while (end < target->len && target->data[end] != '/' && target->data[end] != '?')
        end++;
    if (end == start)
        return false;
    *ret_authority = tw_str_of(target->data + start, end - start);
    *target = tw_str_of(target->data + end, target->len - end);
    return true;
}

bool http_target_split(struct tw_str target, enum http_method method, struct tw_str *ret_authority,
                       struct tw_str *ret_path, struct tw_str *ret_query, struct tw_error *err) {
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.data[i];
        if (c <= 0x20 || c >= 0x7F || c == '#')
            return tw_fail(err, TW_ERR_INVALID_REQUEST,
                           "byte %zu of the request target (0x%02x) is not allowed there; percent-encode it",
                           i, c);
    }
    bool is_star = method == HTTP_OPTIONS_ && tw_str_equal(target, TW_STR("*"));
    if (!is_star && !tw_str_starts(target, TW_STR("/")) && !cut_authority(&target, ret_authority))
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the request target has to begin with / or http://");
    struct tw_str rest = target;
    struct tw_str path = tw_str_cut(&rest, '?');
    *ret_path = path.len ? path : TW_STR("/");
    *ret_query = rest;
    return true;
}

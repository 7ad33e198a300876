// SPDX-License-Identifier: Apache-2.0
//
// The two lists that an operator may give: the hosts this server answers for, and the origins whose pages may
// read its answers.
//
//     hosts   = host *( "," host )         host = name [":" port] / "*." name [":" port]
//     origins = "*" / origin *( "," origin )    origin = scheme "://" name [":" port]
//
// A host without a port stands for every port. Origins are compared whole (RFC 6454, 5).

#include "http/internal.h"

static bool is_name_byte(char c) {
    bool is_alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    return is_alnum || (c && strchr("-._:[]", c));
}

static bool is_authority(struct tw_str text) {
    for (size_t i = 0; i < text.len; i++)
        if (!is_name_byte(text.data[i]))
            return false;
    return text.len > 0;
}

static bool is_host_entry(struct tw_str text) {
    if (tw_str_starts(text, TW_STR("*.")))
        text = tw_str_of(text.data + 2, text.len - 2);
    return is_authority(text);
}

static bool is_origin_entry(struct tw_str text) {
    if (tw_str_equal(text, TW_STR("*")))
        return true;
    struct tw_str schemes[] = {TW_STR("https://"), TW_STR("http://")};
    for (size_t i = 0; i < TW_COUNT(schemes); i++)
        if (tw_str_starts(text, schemes[i]))
            return is_authority(tw_str_of(text.data + schemes[i].len, text.len - schemes[i].len));
    return false;
}

static bool parse(struct http_allow *allow, const char *text, bool (*is_entry)(struct tw_str),
                  const char *form, struct tw_error *err) {
    if (!text || !*text)
        return true;
    allow->text = tw_str_dup(tw_str_from(text));
    if (!allow->text)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a list of the settings");
    struct tw_str rest = tw_str_from(allow->text);
    while (rest.len) {
        struct tw_str item = tw_str_trim(tw_str_cut(&rest, ','));
        if (allow->count == HTTP_ALLOW_MAX)
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "the list '%.40s…' has more than %d entries", text,
                           HTTP_ALLOW_MAX);
        if (!is_entry(item))
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "'%.*s' is no %s",
                           (int)(item.len < 80 ? item.len : 80), item.data, form);
        allow->items[allow->count++] = item;
    }
    return true;
}

bool http_hosts_parse(struct http_allow *allow, const char *text, struct tw_error *err) {
    return parse(allow, text, is_host_entry, "host name; give NAME, NAME:PORT or *.NAME, comma separated",
                 err);
}

bool http_origins_parse(struct http_allow *allow, const char *text, struct tw_error *err) {
    return parse(allow, text, is_origin_entry,
                 "origin; give https://NAME[:PORT] without a path, comma separated, or *", err);
}

void http_allow_done(struct http_allow *allow) {
    free(allow->text);
    *allow = (struct http_allow){};
}

// The part before ":port"; a bracketed IPv6 address holds colons of its own.
static struct tw_str name_of(struct tw_str authority) {
    for (size_t i = authority.len; i > 0; i--) {
        if (authority.data[i - 1] == ']')
            break;
        if (authority.data[i - 1] == ':')
            return tw_str_of(authority.data, i - 1);
    }
    return authority;
}

static bool host_fits(struct tw_str item, struct tw_str authority) {
    bool has_port = name_of(item).len != item.len;
    struct tw_str given = has_port ? authority : name_of(authority);
    if (!tw_str_starts(item, TW_STR("*.")))
        return tw_str_equal_nocase(item, given);
    struct tw_str tail = tw_str_of(item.data + 1, item.len - 1); // with its dot
    return given.len > tail.len &&
           tw_str_equal_nocase(tail, tw_str_of(given.data + given.len - tail.len, tail.len));
}

bool http_host_is_allowed(const struct http_allow *allow, struct tw_str authority) {
    for (unsigned i = 0; i < allow->count; i++)
        if (host_fits(allow->items[i], authority))
            return true;
    return false;
}

bool http_origin_is_allowed(const struct http_allow *allow, struct tw_str origin) {
    for (unsigned i = 0; i < allow->count; i++)
        if (tw_str_equal(allow->items[i], TW_STR("*")) || tw_str_equal(allow->items[i], origin))
            return true;
    return false;
}

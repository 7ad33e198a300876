// SPDX-License-Identifier: Apache-2.0
//
// Request targets, percent-encoding and the preface, piece by piece.

#include "harness/test.h"

#include "internal.h"

static struct tw_str authority, path, query;
static struct tw_error err;

static bool split(const char *target, enum http_method method) {
    return http_target_split(tw_str_from(target), method, &authority, &path, &query, &err);
}

static void check(const char *target, const char *wanted_path, const char *wanted_query) {
    ck_assert_msg(split(target, HTTP_GET_), "%s: %s", target, err.message);
    ck_assert_msg(tw_str_equal(path, tw_str_from(wanted_path)), "%s: path %.*s", target, TW_STR_ARG(path));
    ck_assert_msg(tw_str_equal(query, tw_str_from(wanted_query)), "%s: query %.*s", target,
                  TW_STR_ARG(query));
}

TW_TEST("a target splits into path and query at the first question mark") {
    check("/", "/", "");
    check("/a/b", "/a/b", "");
    check("/a?b", "/a", "b");
    check("/a?b?c=/", "/a", "b?c=/");
    check("/?", "/", "");
    check("http://host:80/a?b", "/a", "b");
    check("https://host", "/", "");
    check("http://host?b", "/", "b");
}

TW_TEST("targets that are none are refused") {
    static const char *const bad[] = {"",     "a",    "*",     "http://",   "http:///a", "ftp://a/",
                                      "/a b", "/a#b", "/\x7f", "/\xc3\xa4", "/\t"};
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(!split(bad[i], HTTP_GET_), "'%s' was taken", bad[i]);
    ck_assert(split("*", HTTP_OPTIONS_));
}

TW_TEST("percent escapes are decoded once, and bad ones are refused with their place") {
    static const struct {
        const char *text, *wanted;
        bool plus;
    } good[] = {{"abc", "abc", true},          {"a%20b", "a b", false}, {"%2f%2F", "//", false},
                {"a+b", "a b", true},          {"a+b", "a+b", false},   {"%2525", "%25", false},
                {"%c3%A4", "\xc3\xa4", false}, {"", "", true}};
    struct tw_arena arena;
    struct tw_str out;
    tw_arena_init(&arena, 65536);
    for (size_t i = 0; i < TW_COUNT(good); i++) {
        tw_assert_ok(http_percent_decode(&arena, tw_str_from(good[i].text), good[i].plus, &out, &err), &err);
        ck_assert_msg(tw_str_equal(out, tw_str_from(good[i].wanted)), "%s: %.*s", good[i].text,
                      TW_STR_ARG(out));
    }
    static const char *const bad[] = {"%", "a%", "a%2", "%2x", "%x2", "%00", "%%20", "%-1"};
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(!http_percent_decode(&arena, tw_str_from(bad[i]), false, &out, &err), "'%s' was taken",
                      bad[i]);
    ck_assert(!http_percent_decode(&arena, TW_STR("abc%zz"), false, &out, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "byte 3"));
    tw_arena_done(&arena);
}

TW_TEST("the preface is told from HTTP/1 at the first byte that differs, however it is cut") {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (unsigned cut = 0; cut <= 24; cut++) {
        ck_assert_uint_eq(http_preface_match(0, (const uint8_t *)preface, cut), cut);
        ck_assert_uint_eq(http_preface_match(cut, (const uint8_t *)preface + cut, 24 - cut), 24 - cut);
    }
    ck_assert_uint_eq(http_preface_match(0, (const uint8_t *)"PROPFIND", 8), 2);
    ck_assert_uint_eq(http_preface_match(0, (const uint8_t *)"GET", 3), 0);
    ck_assert_uint_eq(http_preface_match(24, (const uint8_t *)"PRI", 3), 0);
}

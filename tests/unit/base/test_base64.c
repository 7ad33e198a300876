// SPDX-License-Identifier: Apache-2.0
//
// Base64: the vectors of RFC 4648, round trips, and what a strict reader refuses, with the position.

#include "harness/test.h"

static const struct {
    const char *plain, *text;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

TW_TEST("the vectors of RFC 4648 go both ways") {
    for (size_t i = 0; i < TW_COUNT(vectors); i++) {
        struct tw_buf out;
        struct tw_error err = {};
        tw_buf_init(&out, 100);
        ck_assert(tw_base64_append(&out, tw_span_of(vectors[i].plain, strlen(vectors[i].plain))));
        ck_assert(tw_str_equal(tw_buf_str(&out), tw_str_from(vectors[i].text)));
        tw_buf_reset(&out);
        tw_assert_ok(tw_base64_parse(tw_str_from(vectors[i].text), &out, &err), &err);
        ck_assert(tw_str_equal(tw_buf_str(&out), tw_str_from(vectors[i].plain)));
        tw_buf_done(&out);
    }
}

TW_TEST("all bytes at all lengths come back") {
    uint8_t data[300];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len <= sizeof(data); len++) {
        struct tw_buf text, back;
        struct tw_error err = {};
        tw_buf_init(&text, 400);
        tw_buf_init(&back, len);
        ck_assert(tw_base64_append(&text, tw_span_of(data, len)));
        ck_assert_uint_eq(text.len, (len + 2) / 3 * 4);
        tw_assert_ok(tw_base64_parse(tw_buf_str(&text), &back, &err), &err);
        ck_assert_uint_eq(back.len, len);
        ck_assert(len == 0 || memcmp(back.data, data, len) == 0);
        tw_buf_done(&text);
        tw_buf_done(&back);
    }
}

TW_TEST("what is not strict base64 is refused with its position, and nothing is appended") {
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"Zg", "position 2"},         {"Zg=", "position 3"},          {"Zm9v\n", "position 5"},
        {"Zm9vZ===", "position 5"},   {"Zm\n9vYg=", "position 2"},    {"Zm9v Zg=", "position 4"},
        {"Z-9v", "position 1"},       {"Zm9_", "position 3"},         {"Zg==Zg==", "position 2"},
        {"====", "position 0"},       {"Zh==", "position 1"},         {"Zm9=", "position 2"},
        {"\xC3\xA9Zm", "position 0"}, {"Zm9vZm9vZ*==", "position 9"},
    };
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        struct tw_buf out;
        struct tw_error err = {};
        tw_buf_init(&out, 100);
        ck_assert(tw_buf_append_str(&out, TW_STR("kept")));
        ck_assert_msg(!tw_base64_parse(tw_str_from(bad[i].text), &out, &err), "%s", bad[i].text);
        ck_assert_int_eq(err.code, TW_ERR_INVALID_BASE64);
        ck_assert_msg(strstr(err.message, bad[i].says), "%s: %s", bad[i].text, err.message);
        ck_assert_str_eq((char *)out.data, "kept");
        tw_buf_done(&out);
    }
}

TW_TEST("the output's maximum holds") {
    struct tw_buf out;
    struct tw_error err = {};
    tw_buf_init(&out, 5);
    ck_assert(!tw_base64_parse(TW_STR("Zm9vYmFy"), &out, &err));
    ck_assert_int_eq(err.code, TW_ERR_BODY_TOO_LARGE);
    ck_assert(!tw_base64_append(&out, tw_span_of("abcd", 4)));
    ck_assert(tw_base64_append(&out, tw_span_of("abc", 3)));
    tw_buf_done(&out);
}

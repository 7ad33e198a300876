// SPDX-License-Identifier: Apache-2.0
//
// Writing JSON: commas, escapes, numbers that read back as themselves, and the full buffer.

#include <math.h>

#include "harness/test.h"

TW_TEST("commas, colons and quotes come by themselves") {
    struct tw_buf out;
    struct tw_json_writer w;
    tw_buf_init(&out, 1000);
    tw_json_write_init(&w, &out);
    tw_json_write_object(&w);
    tw_json_write_key(&w, "a");
    tw_json_write_array(&w);
    tw_json_write_int(&w, INT64_MIN);
    tw_json_write_u64(&w, UINT64_MAX);
    tw_json_write_array(&w);
    tw_json_write_end(&w, ']');
    tw_json_write_bool(&w, true);
    tw_json_write_end(&w, ']');
    tw_json_write_key(&w, "b");
    tw_json_write_object(&w);
    tw_json_write_key(&w, "x");
    tw_json_write_null(&w);
    tw_json_write_end(&w, '}');
    tw_json_write_key(&w, "c");
    tw_json_write_raw(&w, TW_STR("[1, 2]"));
    tw_json_write_key(&w, "d");
    tw_json_write_bool(&w, false);
    tw_json_write_end(&w, '}');
    ck_assert(tw_json_write_done(&w));
    ck_assert_str_eq((char *)out.data,
                     "{\"a\":[-9223372036854775808,18446744073709551615,[],true],\"b\":{\"x\":null},"
                     "\"c\":[1, 2],\"d\":false}");
    tw_buf_done(&out);
}

static void check_string(struct tw_str text, const char *expected) {
    struct tw_buf out;
    struct tw_json_writer w;
    tw_buf_init(&out, 1000);
    tw_json_write_init(&w, &out);
    tw_json_write_str(&w, text);
    ck_assert(tw_json_write_done(&w));
    ck_assert_str_eq((char *)out.data, expected);
    tw_buf_done(&out);
}

TW_TEST("strings are escaped, and bytes that are no UTF-8 become replacement characters") {
    check_string(TW_STR(""), "\"\"");
    check_string(TW_STR("a\"b\\c/\b\f\n\r\t"), "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\"");
    check_string(tw_str_of("\0\x1F\x7F", 3), "\"\\u0000\\u001f\\u007f\"");
    check_string(TW_STR("\xC3\xA9\xF0\x9F\x98\x80"), "\"\xC3\xA9\xF0\x9F\x98\x80\"");
    check_string(TW_STR("x\xFFy\xC3"), "\"x\xEF\xBF\xBDy\xEF\xBF\xBD\"");
    check_string(TW_STR("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

// Every piece of a text is short or long, and ends anywhere in the block that short ones are gathered in.
TW_TEST("strings of plain pieces of any length between escapes come whole") {
    enum { PIECES = 40, LONGEST = 400 };
    static char text[PIECES * (LONGEST + 1)], expected[PIECES * (LONGEST + 6) + 3];
    for (size_t longest = 0; longest < LONGEST; longest++) {
        size_t len = 0, at = 0;
        expected[at++] = '"';
        for (size_t piece = 0; piece < PIECES; piece++) {
            size_t plain = longest ? (piece * 37 + longest) % (longest + 1) : 0;
            memset(text + len, 'a' + (int)(piece % 26), plain);
            memset(expected + at, 'a' + (int)(piece % 26), plain);
            len += plain;
            at += plain;
            text[len++] = piece % 3 == 0 ? '\0' : piece % 3 == 1 ? '\n' : '\xFF';
            at += (size_t)snprintf(expected + at, 7, "%s",
                                   piece % 3 == 0   ? "\\u0000"
                                   : piece % 3 == 1 ? "\\n"
                                                    : "\xEF\xBF\xBD");
        }
        memcpy(expected + at, "\"", 2);
        struct tw_buf out;
        struct tw_json_writer w;
        tw_buf_init(&out, sizeof(expected));
        tw_json_write_init(&w, &out);
        tw_json_write_str(&w, tw_str_of(text, len));
        ck_assert(tw_json_write_done(&w));
        ck_assert_str_eq((char *)out.data, expected);
        tw_buf_done(&out);
    }
}

static void check_real(double value, const char *expected) {
    struct tw_buf out;
    struct tw_json_writer w;
    struct tw_error err = {};
    tw_buf_init(&out, 100);
    tw_json_write_init(&w, &out);
    tw_json_write_real(&w, value);
    ck_assert(tw_json_write_done(&w));
    if (expected)
        ck_assert_str_eq((char *)out.data, expected);
    if (isfinite(value)) {
        struct tw_json *back = tw_json_parse(tw_buf_span(&out), &err);
        tw_assert_ok(back, &err);
        double read = tw_json_real(back);
        bool is_whole = value == trunc(value) && fabs(value) <= 0x1p53 && !(value == 0 && signbit(value));
        ck_assert_int_eq(tw_json_type(back), is_whole ? TW_JSON_INT : TW_JSON_REAL);
        ck_assert_msg(memcmp(&read, &value, sizeof(value)) == 0, "%a became %a", value, read);
        tw_json_free(back);
    }
    tw_buf_done(&out);
}

TW_TEST("reals are short and read back bit for bit") {
    check_real(0.1, "0.1");
    check_real(1, "1.0");
    check_real(-0.0, "-0.0");
    check_real(1e22, "1e+22");
    check_real(5e-324, NULL);
    check_real(1.7976931348623157e308, "1.7976931348623157e+308");
    check_real(0.30000000000000004, "0.30000000000000004");
    check_real((double)NAN, "\"NaN\"");
    check_real((double)INFINITY, "\"Infinity\"");
    check_real(-(double)INFINITY, "\"-Infinity\"");
    uint64_t random = 88'172'645'463'325'252;
    for (unsigned i = 0; i < 20'000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        double value;
        memcpy(&value, &random, sizeof(value));
        if (isfinite(value))
            check_real(value, NULL);
    }
}

TW_TEST("a full buffer is noticed at the end, and the buffer keeps its maximum") {
    for (size_t max = 0; max < 15; max++) {
        struct tw_buf out;
        struct tw_json_writer w;
        tw_buf_init(&out, max);
        tw_json_write_init(&w, &out);
        tw_json_write_object(&w);
        tw_json_write_key(&w, "key");
        tw_json_write_str(&w, TW_STR("value"));
        tw_json_write_end(&w, '}');
        ck_assert(!tw_json_write_done(&w)); // {"key":"value"} has 15 bytes
        ck_assert_uint_le(out.len, max);
        tw_buf_done(&out);
    }
}

TW_TEST("a parsed value is appended as compact JSON, or not at all") {
    static const char text[] = "{\"a\":[1,2.5,null,true,\"\\u0000\\\"\"],\"b\":{}}";
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_span_of(text, sizeof(text) - 1), &err);
    tw_assert_ok(root, &err);
    struct tw_buf out;
    tw_buf_init(&out, sizeof(text) - 1);
    ck_assert(tw_json_append(&out, root));
    ck_assert_str_eq((char *)out.data, text);
    ck_assert(!tw_json_append(&out, root));
    ck_assert_str_eq((char *)out.data, text);
    tw_buf_reset(&out);
    ck_assert(tw_json_append(&out, tw_json_at(tw_json_get(root, "a"), 1)));
    ck_assert_str_eq((char *)out.data, "2.5");
    tw_buf_done(&out);
    tw_json_free(root);
}

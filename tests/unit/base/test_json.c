// SPDX-License-Identifier: Apache-2.0
//
// Reading JSON: types, exactness, and what is refused.

#include "harness/test.h"

static struct tw_json *parse(const char *text, struct tw_error *err) {
    return tw_json_parse(tw_span_of(text, strlen(text)), err);
}

TW_TEST("members are found with their types and values") {
    struct tw_error err = {};
    struct tw_json *root = parse("{\"n\":null,\"t\":true,\"f\":false,\"i\":-9223372036854775808,\"r\":0.1,"
                                 "\"s\":\"a\\u0000\\u00e9\",\"a\":[1,2.5]}",
                                 &err);
    tw_assert_ok(root, &err);
    ck_assert_int_eq(tw_json_type(root), TW_JSON_OBJECT);
    ck_assert_uint_eq(tw_json_count(root), 7);
    ck_assert_int_eq(tw_json_type(tw_json_get(root, "n")), TW_JSON_NULL);
    ck_assert_int_eq(tw_json_type(tw_json_get(root, "f")), TW_JSON_BOOL);
    ck_assert(tw_json_bool(tw_json_get(root, "t")) && !tw_json_bool(tw_json_get(root, "f")));
    ck_assert(tw_json_int(tw_json_get(root, "i")) == INT64_MIN);
    ck_assert(tw_json_real(tw_json_get(root, "r")) == 0.1);
    ck_assert_int_eq(tw_json_type(tw_json_get(root, "r")), TW_JSON_REAL);
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(root, "s")), tw_str_of("a\0\xC3\xA9", 4)));
    const struct tw_json *array = tw_json_get(root, "a");
    ck_assert_int_eq(tw_json_type(array), TW_JSON_ARRAY);
    ck_assert_uint_eq(tw_json_count(array), 2);
    ck_assert_int_eq(tw_json_type(tw_json_at(array, 0)), TW_JSON_INT);
    ck_assert(tw_json_real(tw_json_at(array, 0)) == 1.0);
    ck_assert(tw_json_real(tw_json_at(array, 1)) == 2.5);
    ck_assert_ptr_null(tw_json_at(array, 2));
    tw_json_free(root);
}

TW_TEST("asking the wrong type is harmless") {
    struct tw_error err = {};
    struct tw_json *root = parse("7", &err);
    tw_assert_ok(root, &err);
    ck_assert_ptr_null(tw_json_get(root, "x"));
    ck_assert_ptr_null(tw_json_at(root, 0));
    ck_assert_uint_eq(tw_json_count(root), 0);
    ck_assert_uint_eq(tw_json_str(root).len, 0);
    ck_assert(!tw_json_bool(root));
    void *iter = NULL;
    const char *key;
    const struct tw_json *value;
    ck_assert(!tw_json_next(root, &iter, &key, &value));
    ck_assert_int_eq(tw_json_int(NULL), 0);
    ck_assert_ptr_null(tw_json_get(NULL, "x"));
    tw_json_free(root);
    tw_json_free(NULL);
}

TW_TEST("a walk meets every member once") {
    struct tw_error err = {};
    struct tw_json *root = parse("{\"a\":1,\"b\":2,\"c\":4}", &err);
    tw_assert_ok(root, &err);
    void *iter = NULL;
    const char *key;
    const struct tw_json *value;
    int64_t sum = 0;
    unsigned count = 0;
    while (tw_json_next(root, &iter, &key, &value)) {
        ck_assert_ptr_eq(tw_json_get(root, key), value);
        sum += tw_json_int(value);
        count++;
    }
    ck_assert_int_eq(sum, 7);
    ck_assert_uint_eq(count, 3);
    tw_json_free(root);
}

TW_TEST("what is not strict JSON is refused with a line and a column") {
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "{\"a\":1,}",
        "[1,]",
        "{\"a\":1,\"a\":2}",
        "nul",
        "01",
        "1.",
        "+1",
        "[1] 2",
        "'x'",
        "\"\xFF\"",
        "\"\xED\xA0\x80\"",
        "\"\\ud800\"",
        "9223372036854775808",
        "-9223372036854775809",
        "1e999",
        "NaN",
        "// x\n1",
        "\"\t\"",
        "{1:2}",
    };
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        struct tw_error err = {};
        ck_assert_msg(!parse(bad[i], &err), "%s", bad[i]);
        ck_assert_msg(err.code == TW_ERR_INVALID_JSON, "%s: %s", bad[i], err.message);
        ck_assert_msg(strstr(err.message, "line ") && strstr(err.message, "column "), "%s: %s", bad[i],
                      err.message);
    }
    struct tw_error err = {};
    ck_assert_ptr_null(parse("{\n  \"a\": tru\n}", &err));
    ck_assert_msg(strncmp(err.message, "line 2, ", 8) == 0, "%s", err.message);
}

static struct tw_json *parse_nested(unsigned depth, struct tw_error *err) {
    char text[300];
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return tw_json_parse(tw_span_of(text, 2 * depth), err);
}

TW_TEST("two million commas pass, one more does not, and those in strings do not count") {
    enum { MOST = 2'000'000, LEN = 2 * MOST + 5 };
    struct tw_error err = {};
    char *text = malloc(LEN);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < LEN; i++) // [1,1,…,1] with MOST commas, and one more
        text[i] = i % 2 ? '1' : ',';
    text[0] = '[';
    text[2 * MOST + 2] = ']';
    struct tw_json *root = tw_json_parse(tw_span_of(text, 2 * MOST + 3), &err);
    tw_assert_ok(root, &err);
    ck_assert_uint_eq(tw_json_count(root), MOST + 1);
    tw_json_free(root);
    text[2 * MOST + 2] = ',';
    text[2 * MOST + 4] = ']';
    ck_assert_ptr_null(tw_json_parse(tw_span_of(text, LEN), &err));
    ck_assert_int_eq(err.code, TW_ERR_INVALID_JSON);
    ck_assert_str_eq(err.message, "line 1, column 4000003: more than 2000000 values; send fewer");
    text[0] = text[LEN - 1] = '"';
    err = (struct tw_error){};
    root = tw_json_parse(tw_span_of(text, LEN), &err);
    tw_assert_ok(root, &err);
    tw_json_free(root);
    free(text);
}

TW_TEST("64 levels pass, 65 do not, and brackets in strings do not count") {
    struct tw_error err = {};
    struct tw_json *root = parse_nested(64, &err);
    tw_assert_ok(root, &err);
    tw_json_free(root);
    ck_assert_ptr_null(parse_nested(65, &err));
    ck_assert_str_eq(err.message, "line 1, column 65: nested deeper than 64; make it flatter");
    char text[210] = "\"\\\"";
    memset(text + 3, '[', 200);
    text[203] = '"';
    err = (struct tw_error){};
    root = tw_json_parse(tw_span_of(text, 204), &err);
    tw_assert_ok(root, &err);
    ck_assert_uint_eq(tw_json_str(root).len, 201);
    tw_json_free(root);
}

TW_TEST("many siblings do not count as depth") {
    struct tw_buf text;
    struct tw_error err = {};
    tw_buf_init(&text, 1 << 20);
    ck_assert(tw_buf_append_str(&text, TW_STR("[")));
    for (unsigned i = 0; i < 1000; i++)
        ck_assert(tw_buf_append_str(&text, TW_STR("[{}],")));
    ck_assert(tw_buf_append_str(&text, TW_STR("1]")));
    struct tw_json *root = tw_json_parse(tw_buf_span(&text), &err);
    tw_assert_ok(root, &err);
    ck_assert_uint_eq(tw_json_count(root), 1001);
    tw_json_free(root);
    tw_buf_done(&text);
}

TW_TEST("every allocation that fails while parsing is an error and leaks nothing") {
    struct tw_error err = {};
    tw_json_free(parse("[]", &err)); // what jansson keeps for the process is made now
    for (unsigned n = 1;; n++) {
        char fault[16];
        snprintf(fault, sizeof(fault), "alloc:%u", n);
        tw_fault_configure(fault);
        err = (struct tw_error){};
        struct tw_json *root =
            parse("{\"a\":[1,2.5,\"text that is a little longer\",{\"b\":null}],\"c\":\"\\u00e9\"}", &err);
        tw_fault_configure(NULL);
        if (root) {
            ck_assert_uint_gt(n, 5);
            tw_json_free(root);
            break;
        }
        ck_assert_int_ne(err.code, TW_OK);
        ck_assert_uint_lt(n, 1000);
    }
}

TW_TEST("every allocation that fails while a value is written is an error, and nothing is written") {
    static const char text[] = "{\"a\":[1,{\"b\":\"c\"}],\"d\":5}";
    struct tw_error err = {};
    struct tw_json *root = tw_json_parse(tw_span_of(text, sizeof text - 1), &err);
    ck_assert_ptr_nonnull(root);
    const struct tw_json *values[] = {root, tw_json_get(root, "a"), tw_json_get(root, "d")};
    const char *written[] = {text, "[1,{\"b\":\"c\"}]", "5"};
    for (size_t i = 0; i < TW_COUNT(values); i++) {
        bool ok = false;
        for (int n = 1; !ok; n++) {
            char fault[32];
            struct tw_buf out;
            ck_assert_int_lt(n, 100);
            tw_buf_init(&out, 1000);
            snprintf(fault, sizeof fault, "alloc:%d", n);
            tw_fault_configure(fault);
            ok = tw_json_append(&out, values[i]);
            tw_fault_configure(NULL);
            if (ok)
                ck_assert_str_eq((const char *)out.data, written[i]);
            else
                ck_assert_uint_eq(out.len, 0);
            tw_buf_done(&out);
        }
    }
    tw_json_free(root);
}

TW_TEST("a real without a fraction is a whole number where a double is exact; minus zero is not") {
    struct tw_error err = {};
    static const struct {
        const char *text;
        enum tw_json_type type;
        int64_t value;
    } cases[] = {
        {"1.0", TW_JSON_INT, 1},   {"-3e2", TW_JSON_INT, -300},
        {"0.0", TW_JSON_INT, 0},   {"9007199254740992.0", TW_JSON_INT, 9007199254740992},
        {"1.5", TW_JSON_REAL, 0},  {"-0.0", TW_JSON_REAL, 0},
        {"1e16", TW_JSON_REAL, 0}, {"1e300", TW_JSON_REAL, 0},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_json *root = tw_json_parse(tw_span_of(cases[i].text, strlen(cases[i].text)), &err);
        tw_assert_ok(root, &err);
        ck_assert_msg(tw_json_type(root) == cases[i].type, "%s", cases[i].text);
        ck_assert_msg(tw_json_int(root) == cases[i].value, "%s", cases[i].text);
        ck_assert_msg(tw_json_real(root) == strtod(cases[i].text, NULL), "%s", cases[i].text);
        tw_json_free(root);
    }
}

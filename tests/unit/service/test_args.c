// SPDX-License-Identifier: Apache-2.0
//
// JSON arguments to values by a signature, and values back.

#include "harness/test.h"

#include <math.h>

#include "service/service.h"

static struct tw_error err;
static struct tw_value values[TW_INVOKE_VALUES_MAX];

static bool parse(const uint8_t *types, uint32_t count, const char *text) {
    struct tw_signature signature = {.name = "f", .params = types, .param_count = count};
    struct tw_json *json = tw_json_parse(tw_span_of(text, strlen(text)), &err);
    tw_assert_ok(json, &err);
    err = (struct tw_error){};
    bool ok = tw_args_from_json(&signature, json, values, &err);
    tw_json_free(json);
    return ok;
}

static bool parse_one(uint8_t type, const char *text) {
    return parse(&type, 1, text);
}

TW_TEST("the number 1 is a valid i32, i64, f32 and f64") {
    static const uint8_t types[] = {TW_WASM_I32, TW_WASM_I64, TW_WASM_F32, TW_WASM_F64};
    tw_assert_ok(parse(types, 4, "[1,1,1,1]"), &err);
    ck_assert_int_eq(values[0].of.i32, 1);
    ck_assert_int_eq(values[1].of.i64, 1);
    ck_assert(values[2].of.f32 == 1.0f);
    ck_assert(values[3].of.f64 == 1.0);
}

TW_TEST("integers keep every bit to the ends of their range") {
    tw_assert_ok(parse_one(TW_WASM_I32, "[-2147483648]"), &err);
    ck_assert_int_eq(values[0].of.i32, INT32_MIN);
    tw_assert_ok(parse_one(TW_WASM_I32, "[4294967295]"), &err);
    ck_assert_int_eq(values[0].of.i32, -1);
    tw_assert_ok(parse_one(TW_WASM_I64, "[9007199254740993]"), &err);
    ck_assert_int_eq(values[0].of.i64, 9007199254740993);
    tw_assert_ok(parse_one(TW_WASM_I64, "[\"-9223372036854775808\"]"), &err);
    ck_assert_int_eq(values[0].of.i64, INT64_MIN);
    tw_assert_ok(parse_one(TW_WASM_I64, "[\"18446744073709551615\"]"), &err);
    ck_assert_int_eq(values[0].of.i64, -1);
}

TW_TEST("what does not fit is refused with its position") {
    static const struct {
        uint8_t type;
        const char *text;
    } bad[] = {
        {TW_WASM_I32, "[4294967296]"},
        {TW_WASM_I32, "[-2147483649]"},
        {TW_WASM_I32, "[1.5]"},
        {TW_WASM_I32, "[\"1\"]"},
        {TW_WASM_I32, "[true]"},
        {TW_WASM_I32, "[null]"},
        {TW_WASM_I64, "[0.5]"},
        {TW_WASM_I64, "[\"1e3\"]"},
        {TW_WASM_I64, "[\"\"]"},
        {TW_WASM_I64, "[1e300]"},
        {TW_WASM_I64, "[\"-9223372036854775809\"]"},
        {TW_WASM_F32, "[1e39]"},
        {TW_WASM_F32, "[\"nan\"]"},
        {TW_WASM_F64, "[\"1\"]"},
        {TW_WASM_V128, "[\"00\"]"},
        {TW_WASM_V128, "[0]"},
        {TW_WASM_FUNCREF, "[0]"},
    };
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        ck_assert_msg(!parse_one(bad[i].type, bad[i].text), "%s", bad[i].text);
        ck_assert_int_eq(err.code, TW_ERR_INVALID_ARGS);
        ck_assert_ptr_nonnull(strstr(err.message, "args[0]"));
    }
    ck_assert(!parse_one(TW_WASM_I32, "[1,2]"));
    ck_assert(!parse_one(TW_WASM_I32, "[]"));
    ck_assert(!parse_one(TW_WASM_I32, "{}"));
}

TW_TEST("floats take the words that JSON has no number for") {
    tw_assert_ok(parse_one(TW_WASM_F32, "[\"NaN\"]"), &err);
    ck_assert(isnan(values[0].of.f32));
    tw_assert_ok(parse_one(TW_WASM_F64, "[\"-Infinity\"]"), &err);
    ck_assert(values[0].of.f64 == -INFINITY);
    tw_assert_ok(parse_one(TW_WASM_I32, "[3.0]"), &err);
    ck_assert_int_eq(values[0].of.i32, 3);
}

static void check_results(const struct tw_value *list, uint32_t count, const char *wanted) {
    struct tw_buf out;
    struct tw_json_writer writer;
    tw_buf_init(&out, 4096);
    tw_json_write_init(&writer, &out);
    tw_results_to_json(list, count, &writer);
    ck_assert(tw_json_write_done(&writer));
    ck_assert_str_eq((const char *)out.data, wanted);
    tw_buf_done(&out);
}

TW_TEST("results are null, one value, or an array") {
    const struct tw_value list[] = {{.type = TW_WASM_I64, .of.i64 = 9007199254740993},
                                    {.type = TW_WASM_F64, .of.f64 = 0.1},
                                    {.type = TW_WASM_F64, .of.f64 = (double)INFINITY},
                                    {.type = TW_WASM_V128, .of.v128 = {0xab, 1}}};
    check_results(list, 0, "null");
    check_results(list, 1, "9007199254740993");
    check_results(list, 4, "[9007199254740993,0.1,\"Infinity\",\"ab010000000000000000000000000000\"]");
}

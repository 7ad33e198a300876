// SPDX-License-Identifier: Apache-2.0
//
// JSON arguments to Wasm values by the export's signature, and results back to JSON. Exact: what does not fit
// is refused by position.

#include <errno.h>
#include <math.h>

#include "service/internal.h"

static bool bad(struct tw_error *err, size_t position, const char *wanted) {
    return tw_fail(err, TW_ERR_INVALID_ARGS, "args[%zu]: %s", position, wanted);
}

// A whole decimal number with an optional sign that fits 64 bits, signed or unsigned.
static bool parse_int_text(struct tw_str text, int64_t *ret_value) {
    bool negative = text.len > 0 && text.data[0] == '-';
    uint64_t magnitude;
    if (!tw_str_u64(tw_str_of(text.data + negative, text.len - negative), &magnitude))
        return false;
    if (negative && magnitude > (uint64_t)INT64_MAX + 1)
        return false;
    *ret_value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

static bool integer_of(const struct tw_json *json, int64_t *ret_value) {
    bool is_minus_zero = tw_json_type(json) == TW_JSON_REAL && tw_json_real(json) == 0.0;
    *ret_value = tw_json_int(json);
    return tw_json_type(json) == TW_JSON_INT || is_minus_zero;
}

static bool to_i32(const struct tw_json *json, size_t position, struct tw_value *value,
                   struct tw_error *err) {
    int64_t number;
    if (!integer_of(json, &number) || number < INT32_MIN || number > (int64_t)UINT32_MAX)
        return bad(err, position, "i32 takes a whole number from -2147483648 to 4294967295");
    value->of.i32 = (int32_t)(uint32_t)number;
    return true;
}

static bool to_i64(const struct tw_json *json, size_t position, struct tw_value *value,
                   struct tw_error *err) {
    bool ok = tw_json_type(json) == TW_JSON_STRING ? parse_int_text(tw_json_str(json), &value->of.i64)
                                                   : integer_of(json, &value->of.i64);
    return ok ||
           bad(err, position, "i64 takes a whole number of 64 bits; beyond 2^63-1 write it as a string");
}

// A number, or one of the words that JSON has no number for.
static bool real_of(const struct tw_json *json, double *ret_value) {
    static const struct {
        const char *name;
        double value;
    } words[] = {{"NaN", (double)NAN}, {"Infinity", (double)INFINITY}, {"-Infinity", -(double)INFINITY}};
    if (tw_json_type(json) == TW_JSON_INT || tw_json_type(json) == TW_JSON_REAL) {
        *ret_value = tw_json_real(json);
        return true;
    }
    for (size_t i = 0; i < TW_COUNT(words); i++)
        if (tw_json_type(json) == TW_JSON_STRING &&
            tw_str_equal(tw_json_str(json), tw_str_from(words[i].name))) {
            *ret_value = words[i].value;
            return true;
        }
    return false;
}

static bool to_f32(const struct tw_json *json, size_t position, struct tw_value *value,
                   struct tw_error *err) {
    double real;
    if (!real_of(json, &real))
        return bad(err, position, "f32 takes a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    value->of.f32 = (float)real;
    if (isinf(value->of.f32) && !isinf(real))
        return bad(err, position, "the number is too large for f32");
    return true;
}

static bool to_f64(const struct tw_json *json, size_t position, struct tw_value *value,
                   struct tw_error *err) {
    return real_of(json, &value->of.f64) ||
           bad(err, position, "f64 takes a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
}

static bool to_v128(const struct tw_json *json, size_t position, struct tw_value *value,
                    struct tw_error *err) {
    struct tw_str text = tw_json_str(json);
    bool ok =
        tw_json_type(json) == TW_JSON_STRING && text.len == 32 && tw_hex_parse(text, value->of.v128, 16);
    return ok || bad(err, position, "v128 takes a string of 32 hex digits, byte 0 first");
}

static bool to_value(uint8_t type, const struct tw_json *json, size_t position, struct tw_value *value,
                     struct tw_error *err) {
    value->type = type;
    switch (type) {
    case TW_WASM_I32:
        return to_i32(json, position, value, err);
    case TW_WASM_I64:
        return to_i64(json, position, value, err);
    case TW_WASM_F32:
        return to_f32(json, position, value, err);
    case TW_WASM_F64:
        return to_f64(json, position, value, err);
    case TW_WASM_V128:
        return to_v128(json, position, value, err);
    default:
        return bad(err, position, "the export takes a reference here, which cannot be given from outside");
    }
}

bool tw_args_from_json(const struct tw_signature *signature, const struct tw_json *args,
                       struct tw_value *ret_values, struct tw_error *err) {
    if (args && tw_json_type(args) != TW_JSON_ARRAY && tw_json_type(args) != TW_JSON_NULL)
        return tw_fail(err, TW_ERR_INVALID_ARGS, "args has to be an array");
    size_t count = tw_json_count(args);
    if (count != signature->param_count)
        return tw_fail(err, TW_ERR_INVALID_ARGS,
                       "export '%.100s' takes %" PRIu32 " arguments, %zu were given", signature->name,
                       signature->param_count, count);
    if (count > TW_INVOKE_VALUES_MAX)
        return tw_fail(err, TW_ERR_INVALID_ARGS, "at most %d arguments can be given", TW_INVOKE_VALUES_MAX);
    if (count == 0)
        return true;
    struct tw_value values[TW_INVOKE_VALUES_MAX] = {};
    for (size_t i = 0; i < count; i++)
        if (!to_value(signature->params[i], tw_json_at(args, i), i, &values[i], err))
            return false;
    memcpy(ret_values, values, count * sizeof *values);
    return true;
}

static void write_value(const struct tw_value *value, struct tw_json_writer *writer) {
    char hex[33];
    switch (value->type) {
    case TW_WASM_I32:
        tw_json_write_int(writer, value->of.i32);
        break;
    case TW_WASM_I64:
        tw_json_write_int(writer, value->of.i64);
        break;
    case TW_WASM_F32:
        tw_json_write_real(writer, (double)value->of.f32);
        break;
    case TW_WASM_F64:
        tw_json_write_real(writer, value->of.f64);
        break;
    case TW_WASM_V128:
        tw_hex(tw_span_of(value->of.v128, 16), hex);
        tw_json_write_str(writer, tw_str_from(hex));
        break;
    default:
        tw_json_write_null(writer); // a reference means nothing outside its instance
    }
}

void tw_results_to_json(const struct tw_value *values, uint32_t count, struct tw_json_writer *writer) {
    if (count == 0) {
        tw_json_write_null(writer);
    } else if (count == 1) {
        write_value(&values[0], writer);
    } else {
        tw_json_write_array(writer);
        for (uint32_t i = 0; i < count; i++)
            write_value(&values[i], writer);
        tw_json_write_end(writer, ']');
    }
}

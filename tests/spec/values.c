// SPDX-License-Identifier: Apache-2.0
//
// Values of specification tests: integers are decimal text, floats the decimal text of their bits or a pattern of NaNs,
// vectors a list of lanes, references null, a host's number, or only a kind.

#include "spec.h"

static struct tw_str text_of(const struct tw_json *json, const char *key) {
    return tw_json_str(tw_json_get(json, key));
}

static bool is(const struct tw_json *json, const char *key, const char *text) {
    return tw_str_equal(text_of(json, key), tw_str_from(text));
}

// Decimal text of up to 64 bits, signed or not.
static uint64_t bits_of(struct tw_str text) {
    uint64_t bits = 0;
    bool negative = text.len && text.data[0] == '-';
    for (size_t i = negative; i < text.len; i++)
        bits = bits * 10 + (uint64_t)(text.data[i] - '0');
    return negative ? 0 - bits : bits;
}

// ---- lanes: a vector is what lies in memory, little-endian ----
static unsigned lane_bytes(const struct tw_json *json) {
    struct tw_str lane = text_of(json, "lane_type");
    return lane.len < 2 ? 0 : (unsigned)bits_of(tw_str_of(lane.data + 1, lane.len - 1)) / 8;
}

static bool vector_of(const struct tw_json *json, uint8_t *ret_bytes) {
    const struct tw_json *lanes = tw_json_get(json, "value");
    unsigned size = lane_bytes(json);
    if (!size || tw_json_count(lanes) * size != 16)
        return false;
    for (size_t i = 0; i * size < 16; i++) {
        uint64_t bits = bits_of(tw_json_str(tw_json_at(lanes, i)));
        memcpy(ret_bytes + i * size, &bits, size);
    }
    return true;
}

// ---- references ----
static bool is_null(const wasmtime_val_t *value) {
    switch (value->kind) {
    case WASMTIME_FUNCREF:
        return wasmtime_funcref_is_null(&value->of.funcref);
    case WASMTIME_EXTERNREF:
        return wasmtime_externref_is_null(&value->of.externref);
    case WASMTIME_ANYREF:
        return value->of.anyref.store_id == 0;
    case WASMTIME_EXNREF:
        return value->of.exnref.store_id == 0;
    default:
        return false;
    }
}

// The number a host reference stands for, apart from null.
static void *host_number(uint64_t number) {
    return (void *)(uintptr_t)(number + 1);
}

static bool reference_of(struct spec_run *run, const struct tw_json *json, wasmtime_val_t *ret_value) {
    struct tw_str type = text_of(json, "type"), value = text_of(json, "value");
    bool null = tw_str_equal(value, TW_STR("null")) || tw_str_starts(type, TW_STR("null"));
    ret_value->kind =
        tw_str_equal(type, TW_STR("funcref")) || tw_str_equal(type, TW_STR("nullfuncref")) ? WASMTIME_FUNCREF
        : tw_str_equal(type, TW_STR("externref")) || tw_str_equal(type, TW_STR("nullexternref"))
            ? WASMTIME_EXTERNREF
        : tw_str_equal(type, TW_STR("exnref")) || tw_str_equal(type, TW_STR("nullexnref")) ? WASMTIME_EXNREF
                                                                                           : WASMTIME_ANYREF;
    if (null || !value.len)
        return null;
    return ret_value->kind == WASMTIME_EXTERNREF &&
           wasmtime_externref_new(run->context, host_number(bits_of(value)), NULL, &ret_value->of.externref);
}

static bool is_of_kind(struct spec_run *run, struct tw_str type, const wasmtime_val_t *value) {
    if (tw_str_equal(type, TW_STR("funcref")))
        return value->kind == WASMTIME_FUNCREF;
    if (tw_str_equal(type, TW_STR("externref")))
        return value->kind == WASMTIME_EXTERNREF;
    if (tw_str_equal(type, TW_STR("exnref")))
        return value->kind == WASMTIME_EXNREF;
    if (value->kind != WASMTIME_ANYREF)
        return false;
    if (tw_str_equal(type, TW_STR("eqref")))
        return wasmtime_anyref_is_eqref(run->context, &value->of.anyref);
    if (tw_str_equal(type, TW_STR("i31ref")))
        return wasmtime_anyref_is_i31(run->context, &value->of.anyref);
    if (tw_str_equal(type, TW_STR("structref")))
        return wasmtime_anyref_is_struct(run->context, &value->of.anyref);
    if (tw_str_equal(type, TW_STR("arrayref")))
        return wasmtime_anyref_is_array(run->context, &value->of.anyref);
    return tw_str_equal(type, TW_STR("anyref"));
}

static bool matches_reference(struct spec_run *run, const struct tw_json *expected,
                              const wasmtime_val_t *value) {
    struct tw_str type = text_of(expected, "type"), wanted = text_of(expected, "value");
    if (tw_str_equal(wanted, TW_STR("null")) || tw_str_starts(type, TW_STR("null")) ||
        tw_str_equal(type, TW_STR("refnull")))
        return is_null(value);
    if (is_null(value) || !is_of_kind(run, type, value))
        return false;
    if (value->kind != WASMTIME_EXTERNREF || !wanted.len)
        return true;
    return wasmtime_externref_data(run->context, &value->of.externref) == host_number(bits_of(wanted));
}

// ---- values ----
bool spec_value(struct spec_run *run, const struct tw_json *json, wasmtime_val_t *ret_value) {
    uint64_t bits = bits_of(text_of(json, "value"));
    *ret_value = (wasmtime_val_t){};
    if (is(json, "type", "v128")) {
        ret_value->kind = WASMTIME_V128;
        return vector_of(json, ret_value->of.v128);
    }
    if (is(json, "type", "i32") || is(json, "type", "f32")) {
        ret_value->kind = is(json, "type", "i32") ? WASMTIME_I32 : WASMTIME_F32;
        ret_value->of.i32 = (int32_t)(uint32_t)bits;
        return true;
    }
    if (is(json, "type", "i64") || is(json, "type", "f64")) {
        ret_value->kind = is(json, "type", "i64") ? WASMTIME_I64 : WASMTIME_F64;
        ret_value->of.i64 = (int64_t)bits;
        return true;
    }
    return reference_of(run, json, ret_value);
}

// A float of `size` bytes: bits, or the canonical NaN, or any quiet one.
static bool matches_float(struct tw_str expected, unsigned size, uint64_t bits) {
    uint64_t quiet = size == 4 ? 0x7fc00000 : 0x7ff8000000000000;
    uint64_t sign = size == 4 ? 1ULL << 31 : 1ULL << 63;
    if (tw_str_equal(expected, TW_STR("nan:canonical")))
        return (bits & ~sign) == quiet;
    if (tw_str_equal(expected, TW_STR("nan:arithmetic")))
        return (bits & quiet) == quiet;
    return bits == bits_of(expected);
}

static bool matches_vector(const struct tw_json *expected, const uint8_t *bytes) {
    const struct tw_json *lanes = tw_json_get(expected, "value");
    unsigned size = lane_bytes(expected);
    bool is_float = tw_str_starts(text_of(expected, "lane_type"), TW_STR("f"));
    if (!size || tw_json_count(lanes) * size != 16)
        return false;
    for (size_t i = 0; i * size < 16; i++) {
        struct tw_str lane = tw_json_str(tw_json_at(lanes, i));
        uint64_t found = 0, wanted = bits_of(lane);
        memcpy(&found, bytes + i * size, size);
        if (is_float ? !matches_float(lane, size, found) : memcmp(&found, &wanted, size) != 0)
            return false;
    }
    return true;
}

static void describe(const wasmtime_val_t *value, char *text) {
    const uint8_t *bytes = value->of.v128;
    size_t len = value->kind == WASMTIME_V128                                 ? 16
                 : value->kind == WASMTIME_I32 || value->kind == WASMTIME_F32 ? 4
                 : value->kind == WASMTIME_I64 || value->kind == WASMTIME_F64 ? 8
                                                                              : 0;
    if (!len)
        snprintf(text, SPEC_TEXT_MAX, "found a %s reference of kind %u", is_null(value) ? "null" : "live",
                 value->kind);
    else
        snprintf(text, SPEC_TEXT_MAX, "found 0x");
    for (size_t i = len; i-- > 0;)
        snprintf(text + strlen(text), SPEC_TEXT_MAX - strlen(text), "%02x", bytes[i]);
}

static bool matches(struct spec_run *run, const struct tw_json *expected, const wasmtime_val_t *value) {
    struct tw_str wanted = text_of(expected, "value");
    if (is(expected, "type", "i32"))
        return value->kind == WASMTIME_I32 && (uint32_t)value->of.i32 == (uint32_t)bits_of(wanted);
    if (is(expected, "type", "i64"))
        return value->kind == WASMTIME_I64 && (uint64_t)value->of.i64 == bits_of(wanted);
    if (is(expected, "type", "f32"))
        return value->kind == WASMTIME_F32 && matches_float(wanted, 4, (uint32_t)value->of.i32);
    if (is(expected, "type", "f64"))
        return value->kind == WASMTIME_F64 && matches_float(wanted, 8, (uint64_t)value->of.i64);
    if (is(expected, "type", "v128"))
        return value->kind == WASMTIME_V128 && matches_vector(expected, value->of.v128);
    return matches_reference(run, expected, value);
}

bool spec_matches(struct spec_run *run, const struct tw_json *expected, const wasmtime_val_t *value,
                  char *text) {
    const struct tw_json *choices = tw_json_get(expected, "values");
    describe(value, text);
    if (!is(expected, "type", "either"))
        return matches(run, expected, value);
    for (size_t i = 0; i < tw_json_count(choices); i++)
        if (matches(run, tw_json_at(choices, i), value))
            return true;
    return false;
}

// SPDX-License-Identifier: Apache-2.0
//
// Reading JSON through jansson. A struct tw_json is a json_t seen from outside. jansson checks UTF-8,
// duplicate keys and the range of 64-bit integers itself; nesting is checked here first, over the raw text,
// because its own limit of 2048 would recurse deeper than our smallest stacks allow. So is the number of values.

#include "base/json.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>

#include "base/fault.h"

enum { DEPTH_MAX = 64 }; // deeper than any document we define; bounds the recursion of reader and writer
// Each takes some 40 bytes and as many nanoseconds, and a body holds 32 million; the largest records of functions hold
// less than 1.5 million.
enum { VALUES_MAX = 2'000'000 };

// jansson tells some failed allocations as mistakes in the text; this tells them apart.
static _Thread_local bool memory_failed;

static void *allocate(size_t size) {
    void *memory = tw_alloc(size);
    memory_failed |= !memory;
    return memory;
}

static void set_allocator(void) {
    json_set_alloc_funcs(allocate, free);
}

// jansson takes non-const pointers even where it changes nothing.
static json_t *inside(const struct tw_json *value) {
    return (json_t *)(uintptr_t)value;
}

static const struct tw_json *outside(const json_t *value) {
    return (const struct tw_json *)value;
}

// Fails when brackets nest deeper than DEPTH_MAX, or there are more values than VALUES_MAX. What is not JSON is left for
// the parser to refuse.
static bool check_size(struct tw_span text, struct tw_error *err) {
    size_t depth = 0, commas = 0, line = 1, line_start = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '\n') {
            line++;
            line_start = i + 1;
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if ((c == '[' || c == '{') && ++depth > DEPTH_MAX) {
            return tw_fail(err, TW_ERR_INVALID_JSON,
                           "line %zu, column %zu: nested deeper than %d; make it flatter", line,
                           i - line_start + 1, DEPTH_MAX);
        } else if (c == ',' && ++commas > VALUES_MAX) {
            return tw_fail(err, TW_ERR_INVALID_JSON, "line %zu, column %zu: more than %d values; send fewer",
                           line, i - line_start + 1, VALUES_MAX);
        }
    }
    return true;
}

struct tw_json *tw_json_parse(struct tw_span text, struct tw_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_allocator);
    if (!check_size(text, err))
        return NULL;
    json_error_t error = {};
    memory_failed = false;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *root = json_loadb(text.len ? (const char *)text.data : "", text.len, flags, &error);
    if (root)
        return (struct tw_json *)root;
    if (memory_failed || error.text[0] == '\0')
        tw_fail(err, TW_ERR_CAPACITY, "no memory to parse %zu bytes of JSON; try again later", text.len);
    else
        tw_fail(err, TW_ERR_INVALID_JSON, "line %d, column %d: %s", error.line, error.column, error.text);
    return NULL;
}

void tw_json_free(struct tw_json *root) {
    json_decref((json_t *)root);
}

// A real without a fraction that a double holds exactly is a whole number, as JSON Schema has it. Minus zero is not:
// an integer would lose its sign.
static bool is_whole(const json_t *json) {
    double real = json_real_value(json);
    return json_is_real(json) && real == trunc(real) && fabs(real) <= 9007199254740992.0 &&
           !(real == 0.0 && signbit(real));
}

enum tw_json_type tw_json_type(const struct tw_json *value) {
    switch (json_typeof(inside(value))) {
    case JSON_OBJECT:
        return TW_JSON_OBJECT;
    case JSON_ARRAY:
        return TW_JSON_ARRAY;
    case JSON_STRING:
        return TW_JSON_STRING;
    case JSON_INTEGER:
        return TW_JSON_INT;
    case JSON_REAL:
        return is_whole(inside(value)) ? TW_JSON_INT : TW_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return TW_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return TW_JSON_NULL;
}

const struct tw_json *tw_json_get(const struct tw_json *object, const char *key) {
    return outside(json_object_get(inside(object), key));
}

size_t tw_json_count(const struct tw_json *value) {
    const json_t *json = inside(value);
    return json_is_object(json) ? json_object_size(json) : json_array_size(json);
}

const struct tw_json *tw_json_at(const struct tw_json *array, size_t index) {
    return outside(json_array_get(inside(array), index));
}

bool tw_json_next(const struct tw_json *object, void **iter, const char **ret_key,
                  const struct tw_json **ret_value) {
    json_t *json = inside(object);
    *iter = *iter ? json_object_iter_next(json, *iter) : json_object_iter(json);
    if (!*iter)
        return false;
    *ret_key = json_object_iter_key(*iter);
    *ret_value = outside(json_object_iter_value(*iter));
    return true;
}

bool tw_json_bool(const struct tw_json *value) {
    return json_is_true(inside(value));
}

int64_t tw_json_int(const struct tw_json *value) {
    const json_t *json = inside(value);
    return is_whole(json) ? (int64_t)json_real_value(json) : json_integer_value(json);
}

double tw_json_real(const struct tw_json *value) {
    return json_number_value(inside(value));
}

struct tw_str tw_json_str(const struct tw_json *value) {
    const json_t *json = inside(value);
    return json_is_string(json) ? tw_str_of(json_string_value(json), json_string_length(json)) : TW_STR("");
}

bool tw_json_append(struct tw_buf *out, const struct tw_json *value) {
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    size_t len = json_dumpb(inside(value), NULL, 0, flags);
    uint8_t *at = len ? tw_buf_reserve(out, len) : NULL;
    // Either call allocates, and may fail.
    if (!at || json_dumpb(inside(value), (char *)at, len, flags) != len)
        return false;
    tw_buf_commit(out, len);
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// The fence around the JSON library: strict parsing (depth ≤ 64, no duplicate keys, valid UTF-8, exact 64-bit
// integers), and a writer that appends to a tw_buf. Other rooms never see the library itself.
//
//     struct tw_json *root = tw_json_parse(body, err);
//     const struct tw_json *name = tw_json_get(root, "name");
//     …
//     tw_json_free(root);
//
// Values are confined; members are borrowed from their root until it is freed.
#pragma once

#include "base/buf.h"

struct tw_json; // an opaque parsed value

enum tw_json_type {
    TW_JSON_NULL,
    TW_JSON_BOOL,
    TW_JSON_INT, // also 1.0 and 1e3: whole, and exact in a double
    TW_JSON_REAL,
    TW_JSON_STRING,
    TW_JSON_ARRAY,
    TW_JSON_OBJECT
};

// NULL and INVALID_JSON (with line and column) on failure: also for more than two million values. The caller frees with tw_json_free.
[[nodiscard]] struct tw_json *tw_json_parse(struct tw_span text, struct tw_error *err);
void tw_json_free(struct tw_json *root);
enum tw_json_type tw_json_type(const struct tw_json *value);
const struct tw_json *tw_json_get(const struct tw_json *object,
                                  const char *key); // NULL: absent, or not an object
size_t tw_json_count(const struct tw_json *value);  // elements or members, else 0
const struct tw_json *tw_json_at(const struct tw_json *array, size_t index);
// Walks an object's members: start with *iter = NULL; false at the end.
bool tw_json_next(const struct tw_json *object, void **iter, const char **ret_key,
                  const struct tw_json **ret_value);
bool tw_json_bool(const struct tw_json *value);         // false unless it is true
int64_t tw_json_int(const struct tw_json *value);       // 0 unless INT
double tw_json_real(const struct tw_json *value);       // INT or REAL, else 0
struct tw_str tw_json_str(const struct tw_json *value); // empty unless STRING

// Appends the value as compact JSON; false when the buffer is too small (nothing is appended then).
[[nodiscard]] bool tw_json_append(struct tw_buf *out, const struct tw_json *value);

// The writer: puts commas and quotes; confined. Failure (buffer full) is sticky and shown by
// tw_json_write_done.
struct tw_json_writer {
    struct tw_buf *out;
    uint64_t has_member; // one bit a depth level
    unsigned depth;
    bool failed, after_key;
};
void tw_json_write_init(struct tw_json_writer *writer, struct tw_buf *out);
void tw_json_write_object(struct tw_json_writer *writer);
void tw_json_write_array(struct tw_json_writer *writer);
void tw_json_write_end(struct tw_json_writer *writer, char bracket); // '}' or ']'
void tw_json_write_key(struct tw_json_writer *writer, const char *key);
void tw_json_write_str(struct tw_json_writer *writer, struct tw_str text); // bad UTF-8 becomes U+FFFD
void tw_json_write_int(struct tw_json_writer *writer, int64_t value);
void tw_json_write_u64(struct tw_json_writer *writer, uint64_t value);
void tw_json_write_real(
    struct tw_json_writer *writer,
    double value); // shortest form that reads back the same; NaN and infinities as strings
void tw_json_write_bool(struct tw_json_writer *writer, bool value);
void tw_json_write_null(struct tw_json_writer *writer);
// A key and its value.
void tw_json_write_text(struct tw_json_writer *writer, const char *key, struct tw_str text);
void tw_json_write_number(struct tw_json_writer *writer, const char *key, uint64_t value);
void tw_json_write_id(struct tw_json_writer *writer, const char *key,
                      uint64_t id); // as text: JSON readers take no number this large
void tw_json_write_raw(struct tw_json_writer *writer, struct tw_str json); // one whole value, already JSON
[[nodiscard]] bool tw_json_write_done(struct tw_json_writer *writer);      // false: the buffer was too small

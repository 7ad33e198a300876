// SPDX-License-Identifier: Apache-2.0
//
// Writing JSON into a tw_buf as it comes, without a tree. The writer knows where it is (after a key, first in
// its bracket) and puts commas and colons itself. Once the buffer is full nothing more is written.

#include <math.h>

#include "base/internal.h"
#include "base/json.h"

enum { DEPTH_MAX = 63 }; // one bit of has_member each, bit 0 for the root
enum { ESCAPE_MAX = 6, BLOCK_BYTES = 128 };

static void put(struct tw_json_writer *writer, const char *text, size_t len) {
    if (!writer->failed && !tw_buf_append(writer->out, text, len))
        writer->failed = true;
}

void tw_json_write_init(struct tw_json_writer *writer, struct tw_buf *out) {
    *writer = (struct tw_json_writer){.out = out};
}

// What comes before a value or a key.
static void begin(struct tw_json_writer *writer) {
    if (writer->after_key) {
        writer->after_key = false;
        return;
    }
    uint64_t bit = 1ULL << writer->depth;
    if (writer->has_member & bit) {
        TW_ASSERT(writer->depth > 0); // one value at the root
        put(writer, ",", 1);
    }
    writer->has_member |= bit;
}

static void open_bracket(struct tw_json_writer *writer, const char *bracket) {
    begin(writer);
    TW_ASSERT(writer->depth < DEPTH_MAX);
    put(writer, bracket, 1);
    writer->depth++;
    writer->has_member &= ~(1ULL << writer->depth);
}

void tw_json_write_object(struct tw_json_writer *writer) {
    open_bracket(writer, "{");
}

void tw_json_write_array(struct tw_json_writer *writer) {
    open_bracket(writer, "[");
}

void tw_json_write_end(struct tw_json_writer *writer, char bracket) {
    TW_ASSERT(writer->depth > 0 && !writer->after_key && (bracket == '}' || bracket == ']'));
    writer->depth--;
    put(writer, &bracket, 1);
}

// Writes the escape of one ASCII character that may not stand for itself, and returns its length.
static size_t write_escape(char *out, char c) {
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt"; // pairs: character, letter of its escape
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i + 1 < sizeof(named); i += 2) {
        if (named[i] == c) {
            out[0] = '\\';
            out[1] = named[i + 1];
            return 2;
        }
    }
    memcpy(out, "\\u00", 4);
    out[4] = digits[(unsigned char)c >> 4];
    out[5] = digits[c & 15];
    return ESCAPE_MAX;
}

// Length of the part of `text` that may be copied as it is.
static size_t plain_length(const char *text, size_t len) {
    size_t at = 0;
    while (at < len) {
        unsigned char c = (unsigned char)text[at];
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
            break;
        size_t step = c < 0x80 ? 1 : base_utf8_step(text + at, len - at);
        if (step == 0)
            break;
        at += step;
    }
    return at;
}

// What comes in short pieces, escapes above all, is gathered in a block: a guest's output may be 64 MiB of nothing else.
static void put_string(struct tw_json_writer *writer, struct tw_str text) {
    char block[BLOCK_BYTES];
    size_t filled = 0;
    block[filled++] = '"';
    for (size_t at = 0; at < text.len && !writer->failed;) {
        size_t plain = plain_length(text.data + at, text.len - at);
        if (filled + plain + ESCAPE_MAX > BLOCK_BYTES) {
            put(writer, block, filled);
            filled = 0;
        }
        if (plain + ESCAPE_MAX > BLOCK_BYTES) {
            put(writer, text.data + at, plain);
        } else {
            memcpy(block + filled, text.data + at, plain);
            filled += plain;
        }
        at += plain;
        if (at == text.len)
            break;
        if ((unsigned char)text.data[at] < 0x80) {
            filled += write_escape(block + filled, text.data[at]);
        } else {
            memcpy(block + filled, "\xEF\xBF\xBD", 3); // U+FFFD for each byte that is not part of a character
            filled += 3;
        }
        at++;
    }
    put(writer, block, filled);
    put(writer, "\"", 1);
}

void tw_json_write_key(struct tw_json_writer *writer, const char *key) {
    TW_ASSERT(!writer->after_key && writer->depth > 0);
    begin(writer);
    put_string(writer, tw_str_from(key));
    put(writer, ":", 1);
    writer->after_key = true;
}

void tw_json_write_str(struct tw_json_writer *writer, struct tw_str text) {
    begin(writer);
    put_string(writer, text);
}

void tw_json_write_int(struct tw_json_writer *writer, int64_t value) {
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRId64, value);
    begin(writer);
    put(writer, text, (size_t)len);
}

void tw_json_write_u64(struct tw_json_writer *writer, uint64_t value) {
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64, value);
    begin(writer);
    put(writer, text, (size_t)len);
}

void tw_json_write_real(struct tw_json_writer *writer, double value) {
    if (!isfinite(value)) {
        tw_json_write_str(writer, isnan(value) ? TW_STR("NaN")
                                  : value > 0  ? TW_STR("Infinity")
                                               : TW_STR("-Infinity"));
        return;
    }
    char text[40];
    int len = 0;
    // 15 digits always survive text → double → text, 17 always survive double → text → double.
    for (int digits = 15; digits <= 17; digits++) {
        len = snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    // A whole number keeps its point, so that it reads back as a real (and -0.0 with its sign).
    if (strcspn(text, ".e") == (size_t)len)
        len = snprintf(text + len, sizeof(text) - (size_t)len, ".0") + len;
    begin(writer);
    put(writer, text, (size_t)len);
}

void tw_json_write_bool(struct tw_json_writer *writer, bool value) {
    begin(writer);
    put(writer, value ? "true" : "false", value ? 4 : 5);
}

void tw_json_write_null(struct tw_json_writer *writer) {
    begin(writer);
    put(writer, "null", 4);
}

void tw_json_write_text(struct tw_json_writer *writer, const char *key, struct tw_str text) {
    tw_json_write_key(writer, key);
    tw_json_write_str(writer, text);
}

void tw_json_write_number(struct tw_json_writer *writer, const char *key, uint64_t value) {
    tw_json_write_key(writer, key);
    tw_json_write_u64(writer, value);
}

void tw_json_write_id(struct tw_json_writer *writer, const char *key, uint64_t id) {
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64, id);
    tw_json_write_text(writer, key, tw_str_of(text, (size_t)len));
}

void tw_json_write_raw(struct tw_json_writer *writer, struct tw_str json) {
    begin(writer);
    put(writer, json.data, json.len);
}

bool tw_json_write_done(struct tw_json_writer *writer) {
    TW_ASSERT(writer->depth == 0 && !writer->after_key);
    return !writer->failed;
}

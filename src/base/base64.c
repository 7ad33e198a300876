// SPDX-License-Identifier: Apache-2.0
//
// Base64 of RFC 4648 section 4. The reader is strict, so that one value has one spelling: padding is
// required, and the unused bits of the last digit must be zero.

#include "base/hash.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { NO_DIGIT = 64 };

// The value of each character, plus one so that what is not named is 0.
#define D(c, v) [c] = (v) + 1
static const uint8_t values[256] = {
    D('A', 0),  D('B', 1),  D('C', 2),  D('D', 3),  D('E', 4),  D('F', 5),  D('G', 6),  D('H', 7),
    D('I', 8),  D('J', 9),  D('K', 10), D('L', 11), D('M', 12), D('N', 13), D('O', 14), D('P', 15),
    D('Q', 16), D('R', 17), D('S', 18), D('T', 19), D('U', 20), D('V', 21), D('W', 22), D('X', 23),
    D('Y', 24), D('Z', 25), D('a', 26), D('b', 27), D('c', 28), D('d', 29), D('e', 30), D('f', 31),
    D('g', 32), D('h', 33), D('i', 34), D('j', 35), D('k', 36), D('l', 37), D('m', 38), D('n', 39),
    D('o', 40), D('p', 41), D('q', 42), D('r', 43), D('s', 44), D('t', 45), D('u', 46), D('v', 47),
    D('w', 48), D('x', 49), D('y', 50), D('z', 51), D('0', 52), D('1', 53), D('2', 54), D('3', 55),
    D('4', 56), D('5', 57), D('6', 58), D('7', 59), D('8', 60), D('9', 61), D('+', 62), D('/', 63),
};
#undef D

static uint32_t value_of(char c) {
    uint8_t value = values[(unsigned char)c];
    return value ? value - 1U : NO_DIGIT;
}

// Writes the four digits of up to three bytes; those beyond `count` are padding.
static void encode_group(const uint8_t *bytes, size_t count, uint8_t *ret_text) {
    uint32_t word =
        (uint32_t)bytes[0] << 16 | (count > 1 ? (uint32_t)bytes[1] << 8 : 0) | (count > 2 ? bytes[2] : 0U);
    ret_text[0] = (uint8_t)digits[word >> 18];
    ret_text[1] = (uint8_t)digits[word >> 12 & 63];
    ret_text[2] = (uint8_t)(count > 1 ? digits[word >> 6 & 63] : '=');
    ret_text[3] = (uint8_t)(count > 2 ? digits[word & 63] : '=');
}

bool tw_base64_append(struct tw_buf *out, struct tw_span data) {
    if (data.len == 0)
        return true;
    if (data.len > SIZE_MAX / 4 * 3 - 3)
        return false;
    size_t len = (data.len + 2) / 3 * 4;
    uint8_t *text = tw_buf_reserve(out, len);
    if (!text)
        return false;
    size_t at = 0;
    for (; data.len - at >= 3; at += 3, text += 4)
        encode_group(data.data + at, 3, text);
    if (at < data.len)
        encode_group(data.data + at, data.len - at, text);
    tw_buf_commit(out, len);
    return true;
}

static bool bad_digit(const char *text, size_t at, struct tw_error *err) {
    unsigned char c = (unsigned char)text[at];
    if (c == '=')
        return tw_fail(err, TW_ERR_INVALID_BASE64, "padding at position %zu; it may stand only at the end",
                       at);
    return tw_fail(err, TW_ERR_INVALID_BASE64,
                   "byte 0x%02x at position %zu is not a base64 digit; use A-Z a-z 0-9 + / and padding, "
                   "without white space",
                   c, at);
}

// Names the first of `count` characters from `at` that is no digit.
static bool first_bad_digit(const char *text, size_t at, size_t count, struct tw_error *err) {
    for (size_t i = at; i < at + count; i++) {
        if (value_of(text[i]) == NO_DIGIT)
            return bad_digit(text, i, err);
    }
    return tw_fail(err, TW_ERR_INVALID_BASE64, "bits beyond the data are set at position %zu; encode it anew",
                   at + count - 1);
}

// Decodes the last group, of two to four digits, into one to three bytes.
static bool decode_last(const char *text, size_t at, size_t count, uint8_t *ret_bytes, struct tw_error *err) {
    uint32_t word = 0, bad = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t value = i < count ? value_of(text[at + i]) : 0;
        bad |= value & NO_DIGIT;
        word = word << 6 | (value & 63);
    }
    uint32_t unused = count == 2 ? 0xFFFF : count == 3 ? 0xFF : 0;
    if (bad || (word & unused))
        return first_bad_digit(text, at, count, err);
    for (size_t i = 0; i + 1 < count; i++)
        ret_bytes[i] = (uint8_t)(word >> (16 - 8 * i));
    return true;
}

bool tw_base64_parse(struct tw_str text, struct tw_buf *out, struct tw_error *err) {
    if (text.len == 0)
        return true;
    if (text.len % 4 != 0)
        return tw_fail(err, TW_ERR_INVALID_BASE64,
                       "%zu characters end at position %zu inside a group of four; pad the end with '='",
                       text.len, text.len);
    size_t padding = text.data[text.len - 1] != '=' ? 0 : text.data[text.len - 2] != '=' ? 1 : 2;
    size_t len = text.len / 4 * 3 - padding;
    uint8_t *bytes = tw_buf_reserve(out, len);
    if (!bytes)
        return tw_fail(err, TW_ERR_BODY_TOO_LARGE,
                       "%zu decoded bytes do not fit, the limit is %zu; send less", len, out->max);
    size_t last = text.len - 4;
    for (size_t at = 0; at < last; at += 4, bytes += 3) {
        const char *group = text.data + at;
        uint32_t a = value_of(group[0]), b = value_of(group[1]), c = value_of(group[2]),
                 d = value_of(group[3]);
        if ((a | b | c | d) & NO_DIGIT) {
            out->data[out->len] = '\0';
            return first_bad_digit(text.data, at, 4, err);
        }
        bytes[0] = (uint8_t)(a << 2 | b >> 4);
        bytes[1] = (uint8_t)(b << 4 | c >> 2);
        bytes[2] = (uint8_t)(c << 6 | d);
    }
    if (!decode_last(text.data, last, 4 - padding, bytes, err)) {
        out->data[out->len] = '\0';
        return false;
    }
    tw_buf_commit(out, len);
    return true;
}

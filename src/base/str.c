// SPDX-License-Identifier: Apache-2.0
//
// Work on borrowed text: comparing, cutting, numbers and UTF-8. Nothing here depends on the locale.

#include "base/str.h"

#include "base/fault.h"
#include "base/internal.h"

struct tw_str tw_str_from(const char *text) {
    return text ? tw_str_of(text, strlen(text)) : TW_STR("");
}

static unsigned char lower(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool tw_str_equal_nocase(struct tw_str a, struct tw_str b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    }
    return true;
}

bool tw_str_starts(struct tw_str s, struct tw_str prefix) {
    return s.len >= prefix.len && tw_str_equal(tw_str_of(s.data, prefix.len), prefix);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

struct tw_str tw_str_trim(struct tw_str s) {
    while (s.len && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

struct tw_str tw_str_cut(struct tw_str *rest, char separator) {
    struct tw_str whole = *rest;
    const char *at = whole.len ? memchr(whole.data, separator, whole.len) : NULL;
    if (!at) {
        *rest = tw_str_of(whole.len ? whole.data + whole.len : whole.data, 0);
        return whole;
    }
    size_t before = (size_t)(at - whole.data);
    *rest = tw_str_of(at + 1, whole.len - before - 1);
    return tw_str_of(whole.data, before);
}

uint32_t tw_str_distance(struct tw_str a, struct tw_str b) {
    enum { COMPARED_MAX = 64 };
    if (a.len > COMPARED_MAX || b.len > COMPARED_MAX)
        return UINT32_MAX;
    uint32_t row[COMPARED_MAX + 1];
    for (uint32_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= a.len; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= b.len; j++) {
            uint32_t replace = diagonal + (a.data[i - 1] != b.data[j - 1]);
            uint32_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < other ? replace : other;
        }
    }
    return row[b.len];
}

bool tw_str_u64(struct tw_str s, uint64_t *ret_value) {
    if (s.len == 0)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.data[i] - '0');
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

struct tw_str tw_str_of_u64(uint64_t value, char room[TW_U64_DIGITS]) {
    char *at = room + TW_U64_DIGITS;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return tw_str_of(at, (size_t)(room + TW_U64_DIGITS - at));
}

char *tw_str_dup(struct tw_str s) {
    char *copy = s.len == SIZE_MAX ? NULL : tw_alloc(s.len + 1);
    if (!copy)
        return NULL;
    if (s.len)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}

static bool in_range(const char *text, size_t index, unsigned low, unsigned high) {
    unsigned char byte = (unsigned char)text[index];
    return byte >= low && byte <= high;
}

size_t base_utf8_step(const char *text, size_t len) {
    if (len == 0)
        return 0;
    unsigned char lead = (unsigned char)text[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (len < size)
        return 0;
    // Only the second byte's range depends on the lead: it is where overlong forms, surrogates and > U+10FFFF
    // are shut out.
    unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (!in_range(text, 1, low, high))
        return 0;
    for (size_t i = 2; i < size; i++) {
        if (!in_range(text, i, 0x80, 0xBF))
            return 0;
    }
    return size;
}

size_t base_utf8_cut(const char *text, size_t len, size_t max) {
    if (len <= max)
        return len;
    size_t end = max;
    while (end > 0 && max - end < 3 && in_range(text, end, 0x80, 0xBF))
        end--;
    // Bytes that are no UTF-8 anyway are cut where they stand.
    return base_utf8_step(text + end, len - end) ? end : max;
}

bool tw_utf8_valid(struct tw_str s) {
    size_t at = 0;
    while (at < s.len) {
        // Eight ASCII bytes at a time: most text is nothing else.
        uint64_t word;
        if (s.len - at >= sizeof(word)) {
            memcpy(&word, s.data + at, sizeof(word));
            if ((word & 0x8080808080808080) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        size_t step = base_utf8_step(s.data + at, s.len - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

// ---- eight bytes at a time (H. Warren, Hacker's Delight, 2nd ed., 6-1 and 6-2) ----

enum { WORD = sizeof(uint64_t) };

#define EACH(byte) ((uint64_t)(byte) * 0x0101010101010101)

static uint64_t word_at(const char *text) {
    uint64_t word;
    memcpy(&word, text, sizeof(word));
    return word;
}

// Adding what is missing to 0x80 carries into the highest bit of exactly the bytes that are large enough.
static bool word_has_control(uint64_t word) {
    uint64_t low = word & EACH(0x7F);
    uint64_t is_printable = (low + EACH(0x80 - 0x20)) & ~(low + EACH(0x80 - 0x7F));
    return ((is_printable | word) & EACH(0x80)) != EACH(0x80);
}

static uint64_t word_lower(uint64_t word) {
    uint64_t low = word & EACH(0x7F);
    uint64_t is_upper = (low + EACH(0x80 - 'A')) & ~(low + EACH(0x80 - 'Z' - 1)) & ~word & EACH(0x80);
    return word | is_upper >> 2; // 0x20
}

bool tw_str_has_control(struct tw_str s) {
    size_t at = 0;
    for (; s.len - at >= WORD; at += WORD) {
        if (word_has_control(word_at(s.data + at)))
            return true;
    }
    uint64_t rest = EACH(' ');
    memcpy(&rest, s.len ? s.data + at : "", s.len - at);
    return word_has_control(rest);
}

void tw_ascii_lower(char *text, size_t len) {
    size_t at = 0;
    for (; len - at >= WORD; at += WORD) {
        uint64_t word = word_lower(word_at(text + at));
        memcpy(text + at, &word, sizeof(word));
    }
    for (; at < len; at++)
        text[at] = (char)lower(text[at]);
}

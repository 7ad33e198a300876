// SPDX-License-Identifier: Apache-2.0
//
// Borrowed byte and text ranges. A span owns nothing and need not end in NUL.
#pragma once

#include "base/port.h"

// Bytes. Confined; borrowed from whoever made it.
struct tw_span {
    const uint8_t *data;
    size_t len;
};

// Text (UTF-8 unless said otherwise). Confined; borrowed.
struct tw_str {
    const char *data;
    size_t len;
};

#define TW_STR(literal) ((struct tw_str){"" literal, sizeof(literal) - 1})
// For printf: "%.*s", TW_STR_ARG(s)
#define TW_STR_ARG(s) (int)(s).len, (s).data

struct tw_str tw_str_from(const char *text); // NULL gives the empty string
static inline struct tw_span tw_span_of(const void *data, size_t len) {
    return (struct tw_span){data, len};
}
static inline struct tw_str tw_str_of(const char *data, size_t len) {
    return (struct tw_str){data, len};
}
static inline bool tw_str_equal(struct tw_str a, struct tw_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
bool tw_str_equal_nocase(struct tw_str a, struct tw_str b); // ASCII only
bool tw_str_starts(struct tw_str s, struct tw_str prefix);
struct tw_str tw_str_trim(struct tw_str s); // spaces and tabs at both ends
// Cuts `*rest` at the first `separator`: returns the part before it, `*rest` becomes what follows (empty at
// the end).
struct tw_str tw_str_cut(struct tw_str *rest, char separator);
// Edit distance (Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966),
// for suggestions; UINT32_MAX when one is longer than 64 bytes.
uint32_t tw_str_distance(struct tw_str a, struct tw_str b);
// Whole decimal number, no sign, no spaces, no overflow.
[[nodiscard]] bool tw_str_u64(struct tw_str s, uint64_t *ret_value);
// Writes a number in decimal, without a NUL; gives its text, in `room`.
enum { TW_U64_DIGITS = 20 };
struct tw_str tw_str_of_u64(uint64_t value, char room[TW_U64_DIGITS]);
// Heap copy ended by NUL; the caller frees it.
char *tw_str_dup(struct tw_str s);
bool tw_utf8_valid(struct tw_str s);
bool tw_str_has_control(struct tw_str s); // a byte below 0x20, or 0x7F
void tw_ascii_lower(char *text, size_t len);

// SPDX-License-Identifier: Apache-2.0
//
// The two ids every answer carries: a request id of our own making, and the trace id, taken from a valid W3C
// traceparent header or made anew. They name things in logs and are no secrets.

#include "http/internal.h"

// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), seeded from the
// kernel.
static uint64_t next_random(struct http_loop *loop) {
    uint64_t z = loop->random += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

static void hex64(uint64_t value, char *ret_digits) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 15; i >= 0; i--, value >>= 4)
        ret_digits[i] = digits[value & 15];
}

// Lower-case hex, not all zeros.
static bool is_hex_id(const char *text, size_t len) {
    bool nonzero = false;
    for (size_t i = 0; i < len; i++) {
        bool is_digit = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (!is_digit)
            return false;
        nonzero |= text[i] != '0';
    }
    return nonzero;
}

// version "-" trace-id "-" parent-id "-" flags (W3C Trace Context, 3.2). A later version may be longer.
static bool parse_traceparent(struct tw_str text, char ret_trace_id[33]) {
    enum { LEN = 55 };
    if (text.len < LEN || text.data[2] != '-' || text.data[35] != '-' || text.data[52] != '-')
        return false;
    bool is_version_0 = memcmp(text.data, "00", 2) == 0;
    if (memcmp(text.data, "ff", 2) == 0 || (!is_version_0 && !is_hex_id(text.data, 2)))
        return false;
    if (is_version_0 ? text.len != LEN : text.len > LEN && text.data[LEN] != '-')
        return false;
    if (!is_hex_id(text.data + 3, 32) || !is_hex_id(text.data + 36, 16))
        return false;
    memcpy(ret_trace_id, text.data + 3, 32);
    ret_trace_id[32] = '\0';
    return true;
}

void http_trace_begin(struct http_exchange *x) {
    hex64(next_random(x->loop), x->request_id);
    x->request_id[16] = '\0';
    if (parse_traceparent(http_header_find(x, TW_STR("traceparent")), x->trace_id))
        return;
    hex64(next_random(x->loop) | 1, x->trace_id);
    hex64(next_random(x->loop), x->trace_id + 16);
    x->trace_id[32] = '\0';
}

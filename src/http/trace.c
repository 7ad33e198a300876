// SPDX-License-Identifier: Apache-2.0
//
// The two ids every answer carries: a request id of our own making, and the trace id, taken from a valid W3C
// traceparent header or made anew. They name things in logs and are no secrets. With an endpoint for traces the
// request and what happens in it become spans (telemetry/), and the answer names its span in a traceparent.

#include "http/internal.h"

// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), seeded from the
// kernel.
static uint64_t next_random(struct http_loop *loop) {
    uint64_t z = loop->random += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

// Eight digits at once: a digit's value in each byte, then what makes it a character, which is more for ten and above.
static void hex32(uint32_t value, char *ret_digits) {
    const uint64_t each = 0x0101010101010101;
    uint64_t word = value;
    word = (word << 16 | word) & 0x0000FFFF0000FFFF;
    word = (word << 8 | word) & 0x00FF00FF00FF00FF;
    word = (word << 4 | word) & 0x0F0F0F0F0F0F0F0F;
    uint64_t is_letter = (word + 6 * each) >> 4 & each;
    word = __builtin_bswap64(word + '0' * each + ('a' - '0' - 10) * is_letter);
    memcpy(ret_digits, &word, sizeof word);
}

static void hex64(uint64_t value, char *ret_digits) {
    hex32((uint32_t)(value >> 32), ret_digits);
    hex32((uint32_t)value, ret_digits + 8);
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
static bool parse_traceparent(struct tw_str text, char ret_trace_id[33],
                              struct tw_trace_context *ret_context) {
    enum { LEN = 55, SAMPLED = 1 };
    if (text.len < LEN || text.data[2] != '-' || text.data[35] != '-' || text.data[52] != '-')
        return false;
    bool is_version_0 = memcmp(text.data, "00", 2) == 0;
    if (memcmp(text.data, "ff", 2) == 0 || (!is_version_0 && !is_hex_id(text.data, 2)))
        return false;
    if (is_version_0 ? text.len != LEN : text.len > LEN && text.data[LEN] != '-')
        return false;
    uint8_t flags;
    if (!is_hex_id(text.data + 3, 32) || !is_hex_id(text.data + 36, 16) ||
        !tw_hex_parse(tw_str_of(text.data + 3, 32), ret_context->trace_id, 16) ||
        !tw_hex_parse(tw_str_of(text.data + 36, 16), ret_context->parent_id, 8) ||
        !tw_hex_parse(tw_str_of(text.data + 53, 2), &flags, 1))
        return false;
    ret_context->parent_sampled = flags & SAMPLED;
    memcpy(ret_trace_id, text.data + 3, 32);
    ret_trace_id[32] = '\0';
    return true;
}

static void make_trace_id(struct http_exchange *x, struct tw_trace_context *ret_context) {
    const uint64_t halves[] = {next_random(x->loop) | 1, next_random(x->loop)};
    *ret_context = (struct tw_trace_context){};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t big_endian = __builtin_bswap64(halves[i]);
        memcpy(ret_context->trace_id + 8 * i, &big_endian, sizeof big_endian);
    }
    hex64(halves[0], x->trace_id);
    hex64(halves[1], x->trace_id + 16);
    x->trace_id[32] = '\0';
}

void http_trace_begin(struct http_exchange *x) {
    struct tw_trace_context context;
    hex64(next_random(x->loop), x->request_id);
    x->request_id[16] = '\0';
    if (!parse_traceparent(http_header_find(x, TW_STR("traceparent")), x->trace_id, &context))
        make_trace_id(x, &context);
    tw_trace_begin(&x->trace, x->loop->http->options.tracer, &context, next_random(x->loop), x->started_ns);
}

// Probes and scrapes come every few seconds for ever and say nothing about a request's way.
static bool is_worth_tracing(const struct http_exchange *x) {
    return !x->route || x->route->access == HTTP_TOKEN;
}

void http_trace_end(struct http_exchange *x) {
    if (!tw_trace_is_on(&x->trace))
        return;
    if (!is_worth_tracing(x)) {
        x->trace.tracer = NULL;
        return;
    }
    struct tw_trace_root root = {
        .method = http_method_name(x->method),
        .route = x->route ? x->route->template : "other",
        .function = x->route ? x->params[0] : (struct tw_str){},
        .request_id = x->request_id,
        .tenant = x->caller.tenant,
        .status = x->reply.status,
        .code = x->outcome,
    };
    tw_trace_end(&x->trace, &root, x->ended_ns ? x->ended_ns : tw_clock_ns());
}

bool http_trace_parent(const struct http_exchange *x, char ret_text[HTTP_TRACEPARENT_SIZE]) {
    if (!tw_trace_is_on(&x->trace))
        return false;
    static const char form[HTTP_TRACEPARENT_SIZE] = "00-................................-................-01";
    memcpy(ret_text, form, sizeof form);
    memcpy(ret_text + 3, x->trace_id, 32);
    hex64(x->trace.span_id, ret_text + 36);
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// Recording a request's spans: sampling, and records in the request's own memory. What becomes of them is in
// otlp.c (bytes) and tracer.c (sending).
//
// Sampling is OpenTelemetry's parent-based, ratio-based sampler: a parent's decision is kept; a trace that
// begins here is sampled when the low 56 bits of its id, which are random, lie below ratio × 2⁵⁶.

#include "telemetry/trace.h"

static bool has_parent(const struct tw_trace_context *context) {
    static const uint8_t none[sizeof context->parent_id];
    return memcmp(context->parent_id, none, sizeof none) != 0;
}

static uint64_t low_56_bits(const uint8_t trace_id[16]) {
    uint64_t value;
    memcpy(&value, trace_id + 8, sizeof value);
    return __builtin_bswap64(value) & ((1ULL << 56) - 1);
}

static bool is_sampled(const struct tw_tracer *tracer, const struct tw_trace_context *context) {
    if (has_parent(context))
        return context->parent_sampled;
    return low_56_bits(context->trace_id) < telemetry_tracer_threshold(tracer);
}

void tw_trace_begin(struct tw_trace *trace, struct tw_tracer *tracer, const struct tw_trace_context *context,
                    uint64_t random, int64_t start_ns) {
    trace->tracer = tracer && is_sampled(tracer, context) ? tracer : NULL;
    if (!trace->tracer)
        return;
    trace->context = *context;
    trace->span_id = random | 1; // zero means none
    trace->start_ns = start_ns;
    trace->count = trace->dropped = 0;
}

void tw_trace_follow(struct tw_trace *trace, const struct tw_trace *from) {
    trace->tracer = NULL;
    if (!tw_trace_is_on(from))
        return;
    struct tw_trace_context context = from->context;
    context.parent_sampled = true;
    uint64_t id = from->span_id, random;
    for (int i = 7; i >= 0; i--, id >>= 8)
        context.parent_id[i] = (uint8_t)id;
    tw_random(&random, sizeof random);
    tw_trace_begin(trace, from->tracer, &context, random, tw_clock_ns());
}

void tw_trace_span(struct tw_trace *trace, enum tw_trace_span span, int64_t start_ns, int64_t end_ns,
                   enum tw_code code, int64_t amount) {
    if (!tw_trace_is_on(trace))
        return;
    if (trace->count == TW_TRACE_SPANS_MAX) {
        trace->dropped++;
        return;
    }
    trace->spans[trace->count++] = (struct tw_trace_record){.start_ns = start_ns,
                                                            .end_ns = end_ns < start_ns ? start_ns : end_ns,
                                                            .amount = amount,
                                                            .span = (uint16_t)span,
                                                            .code = (uint16_t)code};
}

void tw_trace_end(struct tw_trace *trace, const struct tw_trace_root *root, int64_t end_ns) {
    if (!tw_trace_is_on(trace))
        return;
    TW_UNINITIALIZED uint8_t bytes[TELEMETRY_TRACE_BYTES_MAX]; // some hundred are used
    size_t len =
        telemetry_otlp_spans(trace, root, end_ns, telemetry_tracer_wall_offset(trace->tracer), bytes);
    telemetry_tracer_put(trace->tracer, tw_span_of(bytes, len), trace->count + 1);
    trace->tracer = NULL;
}

// SPDX-License-Identifier: Apache-2.0
//
// What the files of tracing share:
//
//     trace.c records → otlp.c turns a finished trace into bytes → tracer.c gathers and sends them through
//     otlp_send.c
#pragma once

#include "telemetry/telemetry.h"

enum {
    TELEMETRY_TEXT_MAX = 127,            // of an attribute's value; longer ones are cut. One byte of length
    TELEMETRY_TRACE_BYTES_MAX = 8 << 10, // a root of at most 1,700 bytes and 24 children of at most 260
    TELEMETRY_BATCH_MAX = 4 << 20,       // spans that wait: about 20,000; gRPC receivers take 4 MiB a message
    TELEMETRY_BATCH_SEND = 512 << 10,    // as many are sent before the interval is over
    TELEMETRY_BATCH_MS = 1000,           // how long a span waits at most when all is well
    TELEMETRY_SEND_TIMEOUT_MS = 10000,   // of one export: OpenTelemetry's default
    TELEMETRY_SEND_TRIES = 5,            // of one batch, pauses 1, 2, 4 and 8 s
    TELEMETRY_LAST_SEND_MS = 2000,       // at the end of the process
};

// ---- otlp.c ----
// The trace as `Span` messages, each with its field's tag, ready to be appended to a ScopeSpans. Returns the
// length. `wall_offset_ns`: wall clock minus monotonic clock.
size_t telemetry_otlp_spans(const struct tw_trace *trace, const struct tw_trace_root *root, int64_t end_ns,
                            int64_t wall_offset_ns, uint8_t ret_bytes[TELEMETRY_TRACE_BYTES_MAX]);
enum { TELEMETRY_OTLP_HEAD_MAX = 1024 };
// What stands before `span_bytes` bytes of Span messages to make them one ExportTraceServiceRequest.
size_t telemetry_otlp_head(const char *instance, size_t span_bytes,
                           uint8_t ret_bytes[TELEMETRY_OTLP_HEAD_MAX]);

// ---- otlp_send.c ----
// Where exports go. Confined to the tracer's thread once it runs.
struct telemetry_collector;
[[nodiscard]] struct telemetry_collector *telemetry_collector_new(const struct tw_tracer_options *options,
                                                                  struct tw_error *err);
void telemetry_collector_free(struct telemetry_collector *collector);
enum telemetry_sent { TELEMETRY_SENT, TELEMETRY_SEND_AGAIN, TELEMETRY_SEND_REFUSED };
// One ExportTraceServiceRequest in two parts; the process's last one gets less time. SEND_AGAIN: it may be taken
// later. `err` says why it was not.
enum telemetry_sent telemetry_collector_send(struct telemetry_collector *collector, struct tw_span head,
                                             struct tw_span spans, bool is_last, struct tw_error *err);
// Exports but the last one end within about a second from now on. Any thread.
void telemetry_collector_hurry(struct telemetry_collector *collector);

// ---- tracer.c ----
uint64_t telemetry_tracer_threshold(const struct tw_tracer *tracer);
int64_t
telemetry_tracer_wall_offset(const struct tw_tracer *tracer); // the wall clock's, at most a second old
// Any thread; never waits for more than a copy.
void telemetry_tracer_put(struct tw_tracer *tracer, struct tw_span bytes, uint32_t spans);

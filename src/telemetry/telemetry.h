// SPDX-License-Identifier: Apache-2.0
//
// Metrics: one table (metrics.def), counters cheap enough for the hot path, Prometheus text out.
//
//     tw_metric_add(TW_METRIC_INSTANCE_SPAWNS, tw_labels(), 1);
//     tw_metric_observe(TW_METRIC_KERNEL_LATENCY, tw_labels_tenant(7), seconds);
//
// Values are process-wide. Updating is lock-free after a label set's first use and may be done on any thread.
// Label sets are bounded: tenants beyond TW_METRIC_TENANTS_MAX of a metric fold into "other", and so does
// every label of a set beyond the metric's share of TW_METRIC_SERIES_MAX; use tw_metric_add, not _set, where
// a set may be folded. Updates that find no memory for a new series are dropped. No update fails.
#pragma once

#include "base/base.h"

enum tw_metric {
#define TW_METRIC(id, name, kind, labels, help) TW_METRIC_##id,
#include "telemetry/metrics.def"
#undef TW_METRIC
    TW_METRIC_COUNT
};

enum { TW_METRIC_TENANTS_MAX = 200, TW_METRIC_SERIES_MAX = 4096, TW_METRIC_LABELS_MAX = 3 };

// Values for a metric's labels, in the table's order. Plain value; strings are borrowed during the call only.
struct tw_labels {
    const char *values[TW_METRIC_LABELS_MAX];
    uint64_t tenant;
    bool has_tenant; // the label named tenant (or tenant_id) is `tenant`
};
static inline struct tw_labels tw_labels(void) {
    return (struct tw_labels){};
}
static inline struct tw_labels tw_labels_tenant(uint64_t tenant) {
    return (struct tw_labels){.tenant = tenant, .has_tenant = true};
}

void tw_metric_add(enum tw_metric metric, struct tw_labels labels,
                   int64_t delta); // counters (delta ≥ 0) and gauges
void tw_metric_set(enum tw_metric metric, struct tw_labels labels, int64_t value);      // gauges
void tw_metric_observe(enum tw_metric metric, struct tw_labels labels, double seconds); // histograms
// Counters and gauges; 0 when unused. A folded set has the value of what it was folded into.
int64_t tw_metric_get(enum tw_metric metric, struct tw_labels labels);

// A handle to one series, for paths that cannot afford the lookup. Valid for the life of the process.
struct tw_series;
struct tw_series *tw_series_get(enum tw_metric metric, struct tw_labels labels);
void tw_series_add(struct tw_series *series, int64_t delta);
void tw_series_observe(struct tw_series *series, double seconds);

// Called before every exposition to refresh gauges that are cheaper to read than to keep; at most 16.
// Registered at start. A collector holds no lock of ours, may update any metric, and must not call these two
// or tw_metrics_write.
void tw_metrics_on_collect(void (*collect)(void *context), void *context);
// Forgets a collector; after it returns it is not running.
void tw_metrics_off_collect(void (*collect)(void *context), void *context);
// One JSON object: every metric, summed over its labels, histograms with quantiles. As tw_metrics_write it calls
// the collectors first.
void tw_metrics_digest(struct tw_json_writer *writer);
// Appends the exposition: Prometheus text 0.0.4 (text/plain; version=0.0.4; charset=utf-8), or
// OpenMetrics 1.0 (application/openmetrics-text; version=1.0.0; charset=utf-8). False when `out` is too
// small: nothing was appended.
[[nodiscard]] bool tw_metrics_write(struct tw_buf *out, bool openmetrics);

// ---- traces ----
//
//     struct tw_trace trace;                                       // part of the request
//     tw_trace_begin(&trace, tracer, &context, random, start_ns);
//     tw_trace_span(&trace, TW_SPAN_CALL, from_ns, to_ns, TW_OK);  // any number; a few are kept
//     tw_trace_end(&trace, &(struct tw_trace_root){…}, end_ns);    // gone to the exporter, or dropped and counted
//
// OpenTelemetry's terms: a request is a trace's server span, what happens inside it are child spans. Recording
// writes into the request itself; a thread of the tracer's sends what has come together, as OTLP. Nothing here
// ever waits for the network, and what the collector does not take in time is dropped and counted.
enum tw_trace_span {
#define TW_SPAN(id, name, parent, amount) TW_SPAN_##id,
#include "telemetry/spans.def"
#undef TW_SPAN
    TW_SPAN_COUNT
};
enum { TW_TRACE_SPANS_MAX = 24 }; // children kept of a request; the root says how many more there were

// Where a request's trace comes from: W3C Trace Context. Plain value.
struct tw_trace_context {
    uint8_t trace_id[16];
    uint8_t parent_id[8]; // zeros: this request is the trace's beginning
    bool parent_sampled;  // with a parent: its decision, which is kept
};

struct tw_trace_record {
    int64_t start_ns, end_ns; // monotonic
    int64_t amount;           // of what spans.def says
    uint16_t span, code;      // enum tw_trace_span, enum tw_code
};
// Confined to whoever works on the request. `{}` is one that records nothing.
struct tw_trace {
    struct tw_tracer *tracer; // NULL: not sampled
    struct tw_trace_context context;
    uint64_t span_id; // of the root; children's are made from it
    int64_t start_ns; // monotonic
    uint32_t count, dropped;
    struct tw_trace_record spans[TW_TRACE_SPANS_MAX];
};

struct tw_tracer_options {
    const char *endpoint; // "http://collector:4317" (gRPC), "http://collector:4318" (HTTP)
    const char *protocol; // "auto" (HTTP for port 4318 or a path, else gRPC), "grpc" or "http"
    const char *headers;  // "name=value,name=value", sent with every export; may be empty. Never logged
    const char *instance; // service.instance.id
    double ratio;         // of requests without a parent, 0 to 1
};
struct tw_tracer;
// INVALID_REQUEST says which option is wrong. Once a process, before other threads (it initialises libcurl).
[[nodiscard]] struct tw_tracer *tw_tracer_new(const struct tw_tracer_options *options, struct tw_error *err);
// Sends what is left, for two seconds at most. No trace may be recording. NULL is fine.
void tw_tracer_free(struct tw_tracer *tracer);

// Decides whether the request is sampled. `tracer` may be NULL. `random` is the root span's id.
void tw_trace_begin(struct tw_trace *trace, struct tw_tracer *tracer, const struct tw_trace_context *context,
                    uint64_t random, int64_t start_ns);
// A trace of something that a request began and that outlives it: below the request's span, sampled as it was.
// `from` may be NULL.
void tw_trace_follow(struct tw_trace *trace, const struct tw_trace *from);
static inline bool tw_trace_is_on(const struct tw_trace *trace) {
    return trace && trace->tracer;
}
// One child span that has ended. `trace` may be NULL. `amount`: a number that belongs to it (spans.def).
void tw_trace_span(struct tw_trace *trace, enum tw_trace_span span, int64_t start_ns, int64_t end_ns,
                   enum tw_code code, int64_t amount);
struct tw_trace_root {
    const char *name;           // of what is no request; a request's is its method and route
    const char *method, *route; // NULL: what is traced is no request, and has no status
    struct tw_str function;     // empty: none
    const char *request_id;     // may be NULL
    uint64_t tenant;
    int status;        // HTTP's
    enum tw_code code; // how it ended
};
// Hands the trace over; it records nothing any more. Nothing happens when it is not on.
void tw_trace_end(struct tw_trace *trace, const struct tw_trace_root *root, int64_t end_ns);

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
// Appends the exposition: Prometheus text 0.0.4 (text/plain; version=0.0.4; charset=utf-8), or
// OpenMetrics 1.0 (application/openmetrics-text; version=1.0.0; charset=utf-8). False when `out` is too
// small: nothing was appended.
[[nodiscard]] bool tw_metrics_write(struct tw_buf *out, bool openmetrics);

// SPDX-License-Identifier: Apache-2.0
//
// What the files of telemetry/ share: the table with its buckets (table.c), the series (series.c) and how
// they are read (expose.c). A series is one metric with one set of label values.
#pragma once

#include "telemetry/telemetry.h"

enum telemetry_kind {
    TELEMETRY_COUNTER,
    TELEMETRY_GAUGE,
    TELEMETRY_HISTOGRAM_KERNEL,
    TELEMETRY_HISTOGRAM_HTTP,
};

enum {
    TELEMETRY_SHARDS_MAX = 16,          // more threads than this seldom update one series at the same moment
    TELEMETRY_METRIC_SERIES_MAX = 1024, // so that no one metric takes all of TW_METRIC_SERIES_MAX
    TELEMETRY_LABEL_VALUE_MAX = 128,    // routes and error kinds are shorter; longer values are cut
};

// Frozen once telemetry_metric gave it out.
struct telemetry_metric {
    const char *name, *help;
    enum telemetry_kind kind;
    unsigned label_count;
    struct tw_str labels[TW_METRIC_LABELS_MAX];
    int tenant_label;      // index of tenant or tenant_id, -1 without
    const double *buckets; // upper bounds in seconds, ascending, without +Inf; NULL unless a histogram
    unsigned bucket_count;
};

// The row of metrics.def.
const struct telemetry_metric *telemetry_metric(enum tw_metric metric);

// The first series of the metric and the one after, in the order they were made; NULL at the end. Any thread.
const struct tw_series *telemetry_series_first(enum tw_metric metric);
const struct tw_series *telemetry_series_next(const struct tw_series *series);
struct tw_str telemetry_series_label(const struct tw_series *series, unsigned index);
// One word of the series over all shards. Counters and gauges have word 0. Histograms have one a bucket, then
// one for what is beyond the last bucket, then the sum in nanoseconds.
int64_t telemetry_series_read(const struct tw_series *series, unsigned word);
// How many words a series of this metric has.
unsigned telemetry_words(const struct telemetry_metric *metric);

// Runs the collectors (collect.c).
void telemetry_collect(void);

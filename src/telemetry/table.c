// SPDX-License-Identifier: Apache-2.0
//
// The rows of metrics.def, with their label lists cut apart once, and the bounds of the histograms' buckets.

#include "telemetry/internal.h"

// Launches: an empty kernel takes about 1 µs, the objective for dispatch is 50 µs, the default time limit is
// 10 s.
static const double kernel_buckets[] = {1e-6, 5e-6, 10e-6, 50e-6, 100e-6, 500e-6, 0.001, 0.005,
                                        0.01, 0.05, 0.1,   0.5,   1,      2,      5,     10};
// Requests and their phases: from a cached answer to a guest that uses up its 30 s. 10 ms, 100 ms and 500 ms
// are objectives.
static const double http_buckets[] = {5e-6,  10e-6,  25e-6, 50e-6, 100e-6, 250e-6, 500e-6,
                                      0.001, 0.0025, 0.005, 0.01,  0.025,  0.05,   0.1,
                                      0.25,  0.5,    1,     2.5,   5,      10,     30};

static struct telemetry_metric metrics[TW_METRIC_COUNT] = {
#define TW_METRIC(id, metric_name, metric_kind, label_list, help_text)                                       \
    [TW_METRIC_##id] = {.name = (metric_name),                                                               \
                        .help = (help_text),                                                                 \
                        .kind = TELEMETRY_##metric_kind,                                                     \
                        .labels = {TW_STR(label_list)}},
#include "telemetry/metrics.def"
#undef TW_METRIC
};

static void set_buckets(struct telemetry_metric *metric) {
    switch (metric->kind) {
    case TELEMETRY_COUNTER:
    case TELEMETRY_GAUGE:
        break;
    case TELEMETRY_HISTOGRAM_KERNEL:
        metric->buckets = kernel_buckets;
        metric->bucket_count = TW_COUNT(kernel_buckets);
        break;
    case TELEMETRY_HISTOGRAM_HTTP:
        metric->buckets = http_buckets;
        metric->bucket_count = TW_COUNT(http_buckets);
        break;
    }
}

// The first label holds the whole list until it is cut apart here.
static void set_labels(struct telemetry_metric *metric) {
    struct tw_str list = metric->labels[0];
    metric->tenant_label = -1;
    while (list.len) {
        TW_ASSERT(metric->label_count < TW_METRIC_LABELS_MAX);
        struct tw_str name = tw_str_cut(&list, ',');
        if (tw_str_equal(name, TW_STR("tenant")) || tw_str_equal(name, TW_STR("tenant_id")))
            metric->tenant_label = (int)metric->label_count;
        metric->labels[metric->label_count++] = name;
    }
}

static void complete(void) {
    for (unsigned i = 0; i < TW_METRIC_COUNT; i++) {
        set_buckets(&metrics[i]);
        set_labels(&metrics[i]);
    }
}

const struct telemetry_metric *telemetry_metric(enum tw_metric metric) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, complete);
    TW_ASSERT((unsigned)metric < TW_METRIC_COUNT);
    return &metrics[metric];
}

unsigned telemetry_words(const struct telemetry_metric *metric) {
    return metric->buckets ? metric->bucket_count + 2 : 1;
}

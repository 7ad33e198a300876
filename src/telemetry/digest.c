// SPDX-License-Identifier: Apache-2.0
//
// All metrics as one JSON object, summed over their labels: what a board or an incident report needs, and small.
// Where a metric has one label and it is no tenant, the sums by that label stand beside the total.
//
//     {"NAME": {"total": 7, "by": {"hit": 5, "miss": 2}},
//      "NAME": {"count": 3, "sum_s": 0.002, "p50_s": 0.0005, …, "buckets": [[0.001, 2], …, [null, 1]]}, …}

#include "telemetry/internal.h"

static void write_by(struct tw_json_writer *writer, const struct telemetry_metric *metric,
                     enum tw_metric id) {
    if (metric->label_count != 1 || metric->tenant_label >= 0)
        return;
    tw_json_write_key(writer, "by");
    tw_json_write_object(writer);
    const struct tw_series *series = telemetry_series_first(id);
    for (; series; series = telemetry_series_next(series)) {
        char label[TELEMETRY_LABEL_VALUE_MAX + 1];
        snprintf(label, sizeof(label), "%.*s", TW_STR_ARG(telemetry_series_label(series, 0)));
        tw_json_write_key(writer, label);
        tw_json_write_int(writer, telemetry_series_read(series, 0));
    }
    tw_json_write_end(writer, '}');
}

static void write_total(struct tw_json_writer *writer, const struct telemetry_metric *metric,
                        enum tw_metric id) {
    int64_t total = 0;
    const struct tw_series *series = telemetry_series_first(id);
    for (; series; series = telemetry_series_next(series))
        total += telemetry_series_read(series, 0);
    tw_json_write_key(writer, "total");
    tw_json_write_int(writer, total);
    write_by(writer, metric, id);
}

// Where a share of the observations lies below, assuming that they lie evenly within a bucket; beyond the last
// bound there is only that bound to say.
static double quantile(const struct telemetry_metric *metric, const int64_t *counts, int64_t count,
                       double share) {
    double wanted = share * (double)count, below = 0, from = 0;
    for (unsigned i = 0; i < metric->bucket_count; i++) {
        if (counts[i] > 0 && below + (double)counts[i] >= wanted)
            return from + (metric->buckets[i] - from) * (wanted - below) / (double)counts[i];
        below += (double)counts[i];
        from = metric->buckets[i];
    }
    return from;
}

static void write_histogram(struct tw_json_writer *writer, const struct telemetry_metric *metric,
                            enum tw_metric id) {
    int64_t counts[64] = {}, count = 0, sum_ns = 0;
    unsigned words = metric->bucket_count + 1;
    TW_ASSERT(words <= TW_COUNT(counts));
    const struct tw_series *series = telemetry_series_first(id);
    for (; series; series = telemetry_series_next(series)) {
        for (unsigned i = 0; i < words; i++)
            counts[i] += telemetry_series_read(series, i);
        sum_ns += telemetry_series_read(series, words);
    }
    for (unsigned i = 0; i < words; i++)
        count += counts[i];
    tw_json_write_key(writer, "count");
    tw_json_write_int(writer, count);
    tw_json_write_key(writer, "sum_s");
    tw_json_write_real(writer, (double)sum_ns * 1e-9);
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50_s", 0.5}, {"p90_s", 0.9}, {"p99_s", 0.99}};
    for (unsigned i = 0; count && i < TW_COUNT(quantiles); i++) {
        tw_json_write_key(writer, quantiles[i].name);
        tw_json_write_real(writer, quantile(metric, counts, count, quantiles[i].share));
    }
    tw_json_write_key(writer, "buckets");
    tw_json_write_array(writer);
    for (unsigned i = 0; i < words; i++) {
        tw_json_write_array(writer);
        if (i < metric->bucket_count)
            tw_json_write_real(writer, metric->buckets[i]);
        else
            tw_json_write_null(writer);
        tw_json_write_int(writer, counts[i]);
        tw_json_write_end(writer, ']');
    }
    tw_json_write_end(writer, ']');
}

void tw_metrics_digest(struct tw_json_writer *writer) {
    telemetry_collect();
    tw_json_write_object(writer);
    for (unsigned i = 0; i < TW_METRIC_COUNT; i++) {
        const struct telemetry_metric *metric = telemetry_metric((enum tw_metric)i);
        tw_json_write_key(writer, metric->name);
        tw_json_write_object(writer);
        if (metric->buckets)
            write_histogram(writer, metric, (enum tw_metric)i);
        else
            write_total(writer, metric, (enum tw_metric)i);
        tw_json_write_end(writer, '}');
    }
    tw_json_write_end(writer, '}');
}

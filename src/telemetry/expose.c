// SPDX-License-Identifier: Apache-2.0
//
// The exposition: Prometheus text format 0.0.4, or OpenMetrics 1.0 text. They differ in the name of a
// counter's family (without _total), in the spelling of bucket bounds (always with a point or an exponent)
// and in the last line (# EOF).

#include "telemetry/internal.h"

// Where a sample is being written. Confined to one exposition.
struct writer {
    struct tw_buf *out;
    bool openmetrics;
};

static const char *type_name(enum telemetry_kind kind) {
    switch (kind) {
    case TELEMETRY_COUNTER:
        return "counter";
    case TELEMETRY_GAUGE:
        return "gauge";
    case TELEMETRY_HISTOGRAM_KERNEL:
    case TELEMETRY_HISTOGRAM_HTTP:
        break;
    }
    return "histogram";
}

// The family's name: in OpenMetrics a counter's is without _total.
static struct tw_str family_name(const struct writer *writer, const struct telemetry_metric *metric) {
    static const size_t suffix_len = sizeof("_total") - 1;
    struct tw_str name = tw_str_from(metric->name);
    if (writer->openmetrics && metric->kind == TELEMETRY_COUNTER)
        name.len -= suffix_len;
    return name;
}

static bool write_head(const struct writer *writer, const struct telemetry_metric *metric) {
    struct tw_str name = family_name(writer, metric);
    return tw_buf_printf(writer->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", TW_STR_ARG(name), metric->help,
                         TW_STR_ARG(name), type_name(metric->kind));
}

// Escapes as both formats ask; bytes of a text that is no UTF-8 become question marks, since one of them
// spoils a whole scrape.
static bool write_value(struct tw_buf *out, struct tw_str value) {
    bool utf8 = tw_utf8_valid(value);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        bool ok;
        if (c == '\n')
            ok = tw_buf_append(out, "\\n", 2);
        else if (c == '"' || c == '\\')
            ok = tw_buf_append_byte(out, '\\') && tw_buf_append_byte(out, (uint8_t)c);
        else
            ok = tw_buf_append_byte(out, (uint8_t)(!utf8 && (unsigned char)c >= 0x80 ? '?' : c));
        if (!ok)
            return false;
    }
    return true;
}

// {route="…",le="…"}; `bound` is NULL outside buckets.
static bool write_labels(const struct writer *writer, const struct telemetry_metric *metric,
                         const struct tw_series *series, const char *bound) {
    char separator = '{';
    for (unsigned i = 0; i < metric->label_count; i++) {
        if (!tw_buf_printf(writer->out, "%c%.*s=\"", separator, TW_STR_ARG(metric->labels[i])) ||
            !write_value(writer->out, telemetry_series_label(series, i)) ||
            !tw_buf_append_byte(writer->out, '"'))
            return false;
        separator = ',';
    }
    if (bound && !tw_buf_printf(writer->out, "%cle=\"%s\"", separator, bound))
        return false;
    return (!bound && separator == '{') || tw_buf_append_byte(writer->out, '}');
}

static bool write_sample(const struct writer *writer, const struct telemetry_metric *metric,
                         const struct tw_series *series, const char *suffix, const char *bound,
                         int64_t value) {
    return tw_buf_printf(writer->out, "%s%s", metric->name, suffix) &&
           write_labels(writer, metric, series, bound) && tw_buf_printf(writer->out, " %" PRId64 "\n", value);
}

// The bound of a bucket as text, in `ret_text` of 32 bytes.
static void spell_bound(const struct writer *writer, double bound, char *ret_text) {
    int len = snprintf(ret_text, 32, "%g", bound);
    if (writer->openmetrics && !strpbrk(ret_text, ".e"))
        snprintf(ret_text + len, 32 - (size_t)len, ".0");
}

// Buckets are read once, and the count is their sum, so that a scrape agrees with itself while others
// observe.
static bool write_histogram(const struct writer *writer, const struct telemetry_metric *metric,
                            const struct tw_series *series) {
    int64_t count = 0;
    for (unsigned i = 0; i < metric->bucket_count; i++) {
        char bound[32];
        spell_bound(writer, metric->buckets[i], bound);
        count += telemetry_series_read(series, i);
        if (!write_sample(writer, metric, series, "_bucket", bound, count))
            return false;
    }
    count += telemetry_series_read(series, metric->bucket_count);
    int64_t sum_ns = telemetry_series_read(series, metric->bucket_count + 1);
    return write_sample(writer, metric, series, "_bucket", "+Inf", count) &&
           tw_buf_printf(writer->out, "%s_sum", metric->name) && write_labels(writer, metric, series, NULL) &&
           tw_buf_printf(writer->out, " %lld.%09lld\n", sum_ns / TW_NS_PER_S, sum_ns % TW_NS_PER_S) &&
           write_sample(writer, metric, series, "_count", NULL, count);
}

static bool write_metric(const struct writer *writer, enum tw_metric id) {
    const struct telemetry_metric *metric = telemetry_metric(id);
    if (!write_head(writer, metric))
        return false;
    const struct tw_series *series = telemetry_series_first(id);
    for (; series; series = telemetry_series_next(series)) {
        bool ok = metric->buckets
                      ? write_histogram(writer, metric, series)
                      : write_sample(writer, metric, series, "", NULL, telemetry_series_read(series, 0));
        if (!ok)
            return false;
    }
    return true;
}

bool tw_metrics_write(struct tw_buf *out, bool openmetrics) {
    telemetry_collect();
    struct writer writer = {.out = out, .openmetrics = openmetrics};
    size_t before = out->len;
    bool ok = true;
    for (unsigned i = 0; ok && i < TW_METRIC_COUNT; i++)
        ok = write_metric(&writer, (enum tw_metric)i);
    if (ok && openmetrics)
        ok = tw_buf_append_str(out, TW_STR("# EOF\n"));
    if (!ok && out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    return ok;
}

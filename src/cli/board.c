// SPDX-License-Identifier: Apache-2.0
//
// Draws the board. Rates are differences of counters over the time between two answers; percentiles are those of
// what happened in between, from the differences of the histograms' buckets.

#include "cli/board.h"

#include <stdarg.h>

enum { LINE_MAX_BYTES = 512, BOUNDS_MAX = 64 };

struct page {
    const struct board *board;
    struct tw_buf *out;
    unsigned rows;
    bool failed;
};

[[gnu::format(printf, 2, 3)]] static void put_line(struct page *page, const char *format, ...) {
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (page->rows >= page->board->rows)
        return;
    page->rows++;
    size_t len = 0;
    for (unsigned columns = 0; line[len]; len++) {
        columns += ((unsigned char)line[len] & 0xC0) != 0x80; // the first byte of a character
        if (columns > page->board->width)
            break;
    }
    bool ok = tw_buf_append(page->out, line, len) && tw_buf_append_byte(page->out, '\n');
    page->failed = page->failed || !ok;
}

// ---- reading the answers ----

static const struct tw_json *metric(const struct tw_json *root, const char *name) {
    return tw_json_get(tw_json_get(root, "metrics"), name);
}

static int64_t total(const struct page *page, const char *name) {
    return tw_json_int(tw_json_get(metric(page->board->now, name), "total"));
}

static double per_second(const struct page *page, int64_t now, int64_t before) {
    return now > before ? (double)(now - before) / page->board->seconds : 0; // less after a restart
}

static double rate(const struct page *page, const char *name) {
    const struct tw_json *before = metric(page->board->before, name);
    return per_second(page, total(page, name), tw_json_int(tw_json_get(before, "total")));
}

static int64_t number(const struct tw_json *root, const char *member, const char *key) {
    return tw_json_int(tw_json_get(tw_json_get(root, member), key));
}

static int64_t bucket(const struct tw_json *histogram, size_t i) {
    return tw_json_int(tw_json_at(tw_json_at(tw_json_get(histogram, "buckets"), i), 1));
}

// What happened between the answers: a histogram.
struct interval {
    double bounds[BOUNDS_MAX];
    int64_t counts[BOUNDS_MAX], count;
    size_t len;
};

static void read_interval(const struct page *page, const char *name, struct interval *ret_interval) {
    const struct tw_json *now = metric(page->board->now, name), *before = metric(page->board->before, name);
    *ret_interval = (struct interval){.len = tw_json_count(tw_json_get(now, "buckets"))};
    if (ret_interval->len > BOUNDS_MAX)
        ret_interval->len = BOUNDS_MAX;
    for (size_t i = 0; i < ret_interval->len; i++) {
        int64_t more = bucket(now, i) - bucket(before, i);
        ret_interval->counts[i] = more > 0 ? more : 0;
        ret_interval->bounds[i] = tw_json_real(tw_json_at(tw_json_at(tw_json_get(now, "buckets"), i), 0));
        ret_interval->count += ret_interval->counts[i];
    }
}

// In ms; beyond the last bound there is only that bound to say.
static double quantile_ms(const struct interval *interval, double share) {
    double wanted = share * (double)interval->count, below = 0, from = 0;
    for (size_t i = 0; i + 1 < interval->len; i++) {
        double count = (double)interval->counts[i];
        if (count > 0 && below + count >= wanted)
            return 1e3 * (from + (interval->bounds[i] - from) * (wanted - below) / count);
        below += count;
        from = interval->bounds[i];
    }
    return 1e3 * from;
}

// ---- the lines ----

static void put_head(struct page *page) {
    const struct tw_json *now = page->board->now;
    int64_t uptime_s = tw_json_int(tw_json_get(now, "uptime_s"));
    struct tw_str time = tw_json_str(tw_json_get(now, "time"));
    bool ready = tw_json_bool(tw_json_get(now, "ready"));
    struct tw_str version = tw_json_str(tw_json_get(tw_json_get(now, "version"), "version"));
    put_line(page, "tensor-wasm %.*s  %s  up %" PRId64 ":%02" PRId64 ":%02" PRId64 "  %s  %.*s",
             TW_STR_ARG(version), page->board->server, uptime_s / 3600, uptime_s / 60 % 60, uptime_s % 60,
             tw_json_bool(tw_json_get(now, "is_leaving")) ? "leaving"
             : ready                                      ? "ready"
                                                          : "not ready",
             TW_STR_ARG(time));
    if (!ready)
        put_line(page, "not ready: %.*s", TW_STR_ARG(tw_json_str(tw_json_get(now, "not_ready_because"))));
}

static void put_latency(struct page *page, const char *what, double a_second, const char *histogram,
                        const char *rest) {
    struct interval interval;
    read_interval(page, histogram, &interval);
    char percentiles[96] = "no latency yet";
    if (interval.count)
        snprintf(percentiles, sizeof percentiles, "p50 %.3g ms  p90 %.3g ms  p99 %.3g ms",
                 quantile_ms(&interval, 0.5), quantile_ms(&interval, 0.9), quantile_ms(&interval, 0.99));
    put_line(page, "%-9s %10.1f/s  %-44s %s", what, a_second, percentiles, rest);
}

static double lost_spans(const struct page *page) {
    const char *name = "tensor_wasm_trace_spans_total", *const results[] = {"dropped", "failed"};
    double sum = 0;
    for (size_t i = 0; i < TW_COUNT(results); i++)
        sum += per_second(page, number(metric(page->board->now, name), "by", results[i]),
                          number(metric(page->board->before, name), "by", results[i]));
    return sum;
}

static void put_work(struct page *page) {
    const struct tw_json *now = page->board->now;
    char rest[160];
    snprintf(rest, sizeof rest, "in flight %" PRId64 "  connections %" PRId64,
             total(page, "tensor_wasm_http_requests_in_flight"), total(page, "tensor_wasm_http_connections"));
    put_latency(page, "requests", rate(page, "tensor_wasm_http_requests_total"),
                "tensor_wasm_http_request_duration_seconds", rest);
    int64_t used = total(page, "tensor_wasm_backpressure_permits_used");
    snprintf(rest, sizeof rest, "permits %" PRId64 " of %" PRId64 "  failures %.1f/s", used,
             used + total(page, "tensor_wasm_backpressure_permits_available"),
             rate(page, "tensor_wasm_kernel_failures_total"));
    put_latency(page, "kernels", rate(page, "tensor_wasm_kernel_dispatches_total"),
                "tensor_wasm_kernel_latency_seconds", rest);
    put_line(page,
             "calls     %10.1f/s  running %" PRId64 "  queued %" PRId64 "  jobs %" PRId64
             "   instances %" PRId64 "  warm %" PRId64 "  kept %" PRId64,
             rate(page, "tensor_wasm_invokes_total"), number(now, "engine", "running"),
             number(now, "engine", "queued"), total(page, "tensor_wasm_jobs_active"),
             number(now, "engine", "instances"), number(now, "engine", "warm"),
             number(now, "engine", "kept"));
    put_line(page, "queue     next has waited %.1f ms  refused %.1f/s   trace spans dropped %.1f/s",
             (double)number(now, "engine", "queue_wait_us") / 1e3,
             rate(page, "tensor_wasm_queue_refusals_total"), lost_spans(page));
    put_line(page, "memory    guests %.1f MiB  device %.1f MiB   functions %" PRId64,
             (double)total(page, "tensor_wasm_cpu_memory_bytes_per_tenant") / 1048576,
             (double)total(page, "tensor_wasm_gpu_memory_used_bytes") / 1048576,
             tw_json_int(tw_json_get(now, "function_count")));
}

// "guest_trap 1.0/s  invoke_timeout 0.5/s", of the sums by a metric's label that is not `good`.
static void put_kinds(struct page *page, const char *title, const char *name, const char *good) {
    const struct tw_json *now = tw_json_get(metric(page->board->now, name), "by"), *value;
    const struct tw_json *before = tw_json_get(metric(page->board->before, name), "by");
    char text[LINE_MAX_BYTES] = "";
    size_t len = 0;
    const char *key;
    for (void *iter = NULL; tw_json_next(now, &iter, &key, &value) && len < sizeof text;) {
        double a_second = per_second(page, tw_json_int(value), tw_json_int(tw_json_get(before, key)));
        if (a_second > 0 && strcmp(key, good) != 0)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %.1f/s", len ? "  " : "", key,
                                    a_second);
    }
    put_line(page, "%-9s %s", title, len ? text : "none");
}

static const struct tw_json *find_tenant(const struct tw_json *root, struct tw_str id) {
    const struct tw_json *tenants = tw_json_get(root, "tenants");
    for (size_t i = 0; i < tw_json_count(tenants); i++)
        if (tw_str_equal(tw_json_str(tw_json_get(tw_json_at(tenants, i), "id")), id))
            return tw_json_at(tenants, i);
    return NULL;
}

static int64_t used(const struct tw_json *tenant, const char *limit, const char *key) {
    return number(tw_json_get(tenant, "use"), limit, key);
}

static int64_t refusals(const struct tw_json *tenant) {
    int64_t sum = 0;
    const char *key;
    const struct tw_json *value, *use = tw_json_get(tenant, "use");
    for (void *iter = NULL; tw_json_next(use, &iter, &key, &value);)
        sum += tw_json_int(tw_json_get(value, "refused"));
    return sum;
}

static void put_tenant(struct page *page, const struct tw_json *tenant) {
    struct tw_str id = tw_json_str(tw_json_get(tenant, "id"));
    const struct tw_json *before = find_tenant(page->board->before, id);
    double cpu_ms = per_second(page, used(tenant, "cpu_ms_per_minute", "total_ms"),
                               used(before ? before : tenant, "cpu_ms_per_minute", "total_ms"));
    struct tw_str name = tw_json_str(tw_json_get(tenant, "name"));
    put_line(page, "%-20.*s %-16.*s %6" PRId64 " %6" PRId64 " %6.0f%% %11.1f %11.1f %7.1f", TW_STR_ARG(id),
             TW_STR_ARG(name), used(tenant, "concurrent_invocations", "now"),
             used(tenant, "instances", "now"), cpu_ms / 10,
             (double)used(tenant, "cpu_memory_bytes", "now") / 1048576,
             (double)used(tenant, "device_memory_bytes", "now") / 1048576,
             per_second(page, refusals(tenant), refusals(before ? before : tenant)));
}

static void put_tenants(struct page *page, size_t most) {
    const struct tw_json *tenants = tw_json_get(page->board->now, "tenants");
    put_line(page, "%-20s %-16s %6s %6s %7s %11s %11s %7s", "TENANT", "NAME", "CALLS", "INST", "CPU",
             "MEM MiB", "DEVICE MiB", "REFUSED/s");
    for (size_t i = 0; i < tw_json_count(tenants) && i < most; i++)
        put_tenant(page, tw_json_at(tenants, i));
}

static void put_errors(struct page *page) {
    const struct tw_json *errors = tw_json_get(page->board->now, "errors");
    if (tw_json_count(errors) == 0)
        return;
    put_line(page, "%s", "");
    put_line(page, "LAST ERRORS");
    for (size_t i = 0; i < tw_json_count(errors) && i < 10; i++) {
        const struct tw_json *error = tw_json_at(errors, i);
        struct tw_str time = tw_json_str(tw_json_get(error, "time"));
        put_line(page, "%.*s %.*s tenant %.*s %.*s ×%" PRId64 " %.*s trace %.*s", TW_STR_ARG(time),
                 TW_STR_ARG(tw_json_str(tw_json_get(error, "kind"))),
                 TW_STR_ARG(tw_json_str(tw_json_get(error, "tenant"))),
                 TW_STR_ARG(tw_json_str(tw_json_get(error, "route"))),
                 tw_json_int(tw_json_get(error, "count")),
                 TW_STR_ARG(tw_json_str(tw_json_get(error, "message"))),
                 TW_STR_ARG(tw_json_str(tw_json_get(error, "trace_id"))));
    }
}

bool cli_board_draw(const struct board *board, struct tw_buf *out) {
    struct page page = {.board = board, .out = out};
    put_head(&page);
    put_work(&page);
    put_kinds(&page, "failures", "tensor_wasm_invokes_total", "ok");
    put_kinds(&page, "rejected", "tensor_wasm_http_rejected_total", "");
    put_line(&page, "%s", "");
    put_tenants(&page, board->rows > 24 ? board->rows - 22 : 5);
    put_errors(&page);
    return !page.failed;
}

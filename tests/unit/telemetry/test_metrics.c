// SPDX-License-Identifier: Apache-2.0
//
// Metrics from update to text: values, label sets and their bounds, threads, and both text formats. promtool
// judges the exposition where it is installed.

#include <sys/wait.h>
#include <unistd.h>

#include "harness/test.h"
#include "internal.h"

// The exposition as a C string; the caller frees it.
static char *exposition(bool openmetrics) {
    struct tw_buf out;
    tw_buf_init(&out, 16 << 20);
    ck_assert(tw_metrics_write(&out, openmetrics));
    return (char *)tw_buf_take(&out, NULL);
}

// Whether the exposition has exactly this line.
static bool has_line(const char *text, const char *line) {
    size_t len = strlen(line);
    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line)) {
        if ((at == text || at[-1] == '\n') && at[len] == '\n')
            return true;
    }
    return false;
}

static void expect_line(const char *line) {
    char *text = exposition(false);
    ck_assert_msg(has_line(text, line), "no line \"%s\" in:\n%s", line, text);
    free(text);
}

static unsigned count_lines(const char *text, const char *start) {
    unsigned count = 0;
    for (const char *at = strstr(text, start); at; at = strstr(at + 1, start))
        count += at == text || at[-1] == '\n';
    return count;
}

static struct tw_labels http_labels(const char *route, const char *method, const char *status) {
    return (struct tw_labels){.values = {route, method, status}};
}

TW_TEST("a metric without labels is there before it moves, one with labels is not") {
    expect_line("tensor_wasm_active_instances 0");
    expect_line("# TYPE tensor_wasm_active_instances gauge");
    expect_line("# HELP tensor_wasm_http_requests_total HTTP requests answered.");
    char *text = exposition(false);
    ck_assert_uint_eq(count_lines(text, "tensor_wasm_http_requests_total"), 0);
    free(text);
}

TW_TEST("counters and gauges show what was added and set") {
    tw_metric_add(TW_METRIC_INSTANCE_SPAWNS, tw_labels(), 3);
    tw_metric_add(TW_METRIC_INSTANCE_SPAWNS, tw_labels(), 4);
    tw_metric_add(TW_METRIC_INSTANCE_SPAWNS, tw_labels(), -100); // a counter never falls
    tw_metric_add(TW_METRIC_ACTIVE_INSTANCES, tw_labels(), 5);
    tw_metric_add(TW_METRIC_ACTIVE_INSTANCES, tw_labels(), -7);
    tw_metric_set(TW_METRIC_POOL_WARM, tw_labels(), 9);
    tw_metric_set(TW_METRIC_POOL_WARM, tw_labels(), 8);
    tw_metric_add(TW_METRIC_KERNEL_DISPATCHES, tw_labels_tenant(UINT64_MAX), 2);
    tw_metric_add(TW_METRIC_GPU_MEMORY_TENANT, tw_labels_tenant(7), 4096);
    tw_metric_add(TW_METRIC_HTTP_REQUESTS, http_labels("/functions/:id", "GET", "200"), 1);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_INSTANCE_SPAWNS, tw_labels()), 7);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_ACTIVE_INSTANCES, tw_labels()), -2);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_DISPATCHES, tw_labels_tenant(1)), 0);
    expect_line("tensor_wasm_instance_spawns_total 7");
    expect_line("tensor_wasm_active_instances -2");
    expect_line("tensor_wasm_pool_warm_instances 8");
    expect_line("tensor_wasm_kernel_dispatches_total{tenant=\"18446744073709551615\"} 2");
    expect_line("tensor_wasm_gpu_memory_bytes_per_tenant{tenant_id=\"7\"} 4096");
    expect_line("tensor_wasm_http_requests_total{route=\"/functions/:id\",method=\"GET\",status=\"200\"} 1");
}

TW_TEST("asking for a value makes no series") {
    ck_assert_int_eq(tw_metric_get(TW_METRIC_STORE_ERRORS, (struct tw_labels){.values = {"put"}}), 0);
    char *text = exposition(false);
    ck_assert_uint_eq(count_lines(text, "tensor_wasm_store_errors_total"), 0);
    free(text);
}

TW_TEST("label values are told apart wherever they differ, and one set is one series") {
    static const char *const values[] = {"", "a", "aa", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaab"};
    enum { COUNT = TW_COUNT(values) };
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i < COUNT * COUNT * COUNT; i++) {
            struct tw_labels labels =
                http_labels(values[i % COUNT], values[i / COUNT % COUNT], values[i / COUNT / COUNT]);
            tw_metric_add(TW_METRIC_HTTP_REQUESTS, labels, i);
        }
    }
    for (unsigned i = 0; i < COUNT * COUNT * COUNT; i++) {
        struct tw_labels labels =
            http_labels(values[i % COUNT], values[i / COUNT % COUNT], values[i / COUNT / COUNT]);
        ck_assert_int_eq(tw_metric_get(TW_METRIC_HTTP_REQUESTS, labels), 2 * i);
    }
    char *text = exposition(false);
    ck_assert_uint_eq(count_lines(text, "tensor_wasm_http_requests_total{"), COUNT * COUNT * COUNT);
    free(text);
}

TW_TEST("a histogram counts into cumulative buckets, a bound belonging to its own") {
    struct tw_labels seven = tw_labels_tenant(7);
    static const double observed[] = {0, 1e-6, 1.1e-6, 0.003, 0.5, 10, 10.5, -1};
    for (size_t i = 0; i < TW_COUNT(observed); i++)
        tw_metric_observe(TW_METRIC_KERNEL_LATENCY, seven, observed[i]);
    tw_metric_observe(TW_METRIC_KERNEL_LATENCY, seven, __builtin_nan(""));
    expect_line("# TYPE tensor_wasm_kernel_latency_seconds histogram");
    expect_line(
        "tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"1e-06\"} 4"); // 0, 1e-6, -1 and NaN as 0
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"5e-06\"} 5");
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"0.001\"} 5");
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"0.005\"} 6");
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"0.1\"} 6");
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"0.5\"} 7");
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"5\"} 7");
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"10\"} 8");
    expect_line("tensor_wasm_kernel_latency_seconds_bucket{tenant=\"7\",le=\"+Inf\"} 9");
    expect_line("tensor_wasm_kernel_latency_seconds_count{tenant=\"7\"} 9");
    // 1e-6 + 1.1e-6 + 0.003 + 0.5 + 10 + 10.5
    expect_line("tensor_wasm_kernel_latency_seconds_sum{tenant=\"7\"} 21.003002100");
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_LATENCY, seven), 0);
}

TW_TEST("an immense duration is counted and spoils nothing") {
    struct tw_labels labels = {.values = {"run"}};
    tw_metric_observe(TW_METRIC_INVOKE_SECONDS, labels, 1e300);
    expect_line("tensor_wasm_invoke_phase_seconds_bucket{phase=\"run\",le=\"30\"} 0");
    expect_line("tensor_wasm_invoke_phase_seconds_sum{phase=\"run\"} 1000000000.000000000");
}

TW_TEST("label values are escaped, cut, and never invalid UTF-8") {
    char immense[1000];
    memset(immense, 'x', sizeof(immense) - 1);
    immense[sizeof(immense) - 1] = '\0';
    static const char *const values[] = {"a\\b\"c\nd", "caf\xC3\xA9", "bad\xFF", NULL};
    for (size_t i = 0; i < TW_COUNT(values); i++)
        tw_metric_add(TW_METRIC_HTTP_REJECTED, (struct tw_labels){.values = {values[i]}}, 1);
    tw_metric_add(TW_METRIC_HTTP_REJECTED, (struct tw_labels){.values = {immense}}, 1);
    expect_line("tensor_wasm_http_rejected_total{reason=\"a\\\\b\\\"c\\nd\"} 1");
    expect_line("tensor_wasm_http_rejected_total{reason=\"caf\xC3\xA9\"} 1");
    expect_line("tensor_wasm_http_rejected_total{reason=\"bad?\"} 1");
    expect_line("tensor_wasm_http_rejected_total{reason=\"\"} 1");
    char line[300];
    snprintf(line, sizeof(line), "tensor_wasm_http_rejected_total{reason=\"%.128s\"} 1", immense);
    expect_line(line);
}

TW_TEST("tenants beyond the maximum fold into other, each metric for itself") {
    for (uint64_t tenant = 0; tenant < TW_METRIC_TENANTS_MAX + 50; tenant++)
        tw_metric_add(TW_METRIC_KERNEL_DISPATCHES, tw_labels_tenant(tenant), 1);
    tw_metric_add(TW_METRIC_KERNEL_DISPATCHES, tw_labels_tenant(3), 1); // one that has its own still does
    tw_metric_add(TW_METRIC_POOL_RESET_FAILED, tw_labels_tenant(1'000'000), 1);
    expect_line("tensor_wasm_kernel_dispatches_total{tenant=\"other\"} 50");
    expect_line("tensor_wasm_kernel_dispatches_total{tenant=\"3\"} 2");
    expect_line("tensor_wasm_pool_reset_failed_total{tenant=\"1000000\"} 1");
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_DISPATCHES, tw_labels_tenant(5'000)), 50);
    char *text = exposition(false);
    ck_assert_uint_eq(count_lines(text, "tensor_wasm_kernel_dispatches_total{"), TW_METRIC_TENANTS_MAX + 1);
    free(text);
}

TW_TEST("label sets beyond a metric's maximum fold into one, and no update is lost") {
    enum { SETS = 3000 };
    char route[32];
    for (unsigned i = 0; i < SETS; i++) {
        snprintf(route, sizeof(route), "/%u", i);
        tw_metric_add(TW_METRIC_HTTP_REQUESTS, http_labels(route, "GET", "200"), 1);
    }
    char *text = exposition(false);
    ck_assert_uint_eq(count_lines(text, "tensor_wasm_http_requests_total{"), TELEMETRY_METRIC_SERIES_MAX + 1);
    free(text);
    char line[128];
    snprintf(line, sizeof(line),
             "tensor_wasm_http_requests_total{route=\"other\",method=\"other\",status=\"other\"} %d",
             SETS - TELEMETRY_METRIC_SERIES_MAX);
    expect_line(line);
    expect_line("tensor_wasm_http_requests_total{route=\"/0\",method=\"GET\",status=\"200\"} 1");
}

TW_TEST("the process's maximum of series holds over all metrics") {
    char value[32];
    for (unsigned metric = 0; metric < TW_METRIC_COUNT; metric++) {
        if (telemetry_metric((enum tw_metric)metric)->label_count == 0)
            continue;
        for (unsigned i = 0; i < TELEMETRY_METRIC_SERIES_MAX; i++) {
            snprintf(value, sizeof(value), "v%u", i);
            tw_series_get((enum tw_metric)metric, http_labels(value, value, value));
        }
    }
    unsigned count = 0, metrics = 0;
    for (unsigned metric = 0; metric < TW_METRIC_COUNT; metric++) {
        const struct tw_series *series = telemetry_series_first((enum tw_metric)metric);
        metrics += series != NULL;
        for (; series; series = telemetry_series_next(series))
            count++;
    }
    ck_assert_uint_eq(metrics, TW_METRIC_COUNT); // the last ones have at least their "other"
    ck_assert_uint_ge(count, TW_METRIC_SERIES_MAX);
    ck_assert_uint_le(count, TW_METRIC_SERIES_MAX + TW_METRIC_COUNT);
}

TW_TEST("without memory an update is dropped and the next one counts") {
    struct tw_labels labels = {.values = {"put"}};
    tw_metric_add(TW_METRIC_INSTANCE_SPAWNS, tw_labels(), 1); // what is made once is made
    tw_fault_configure("alloc:1");
    tw_metric_add(TW_METRIC_STORE_ERRORS, labels, 1);
    tw_fault_configure("alloc:1");
    tw_metric_observe(TW_METRIC_COMPILE_SECONDS, labels, 1);
    tw_fault_configure(NULL);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_STORE_ERRORS, labels), 0);
    tw_metric_add(TW_METRIC_STORE_ERRORS, labels, 1);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_STORE_ERRORS, labels), 1);
}

enum { THREADS = 4, ROUNDS = 20'000 };

static void update_much(void *context) {
    struct tw_series *spawns = context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        tw_series_add(spawns, 1);
        tw_metric_add(TW_METRIC_ACTIVE_INSTANCES, tw_labels(), i % 2 ? -1 : 1);
        tw_metric_add(TW_METRIC_KERNEL_DISPATCHES, tw_labels_tenant(i % 300), 1);
        tw_metric_observe(TW_METRIC_KERNEL_LATENCY, tw_labels_tenant(i % 10), 0.001);
    }
}

// The value of the first sample that starts so.
static long long sample(const char *text, const char *start) {
    const char *at = strstr(text, start);
    ck_assert_msg(at, "%s", start);
    return strtoll(at + strlen(start), NULL, 10);
}

TW_TEST("threads lose no update, and scrapes meanwhile never see a counter fall") {
    pthread_t threads[THREADS];
    struct tw_error err = {};
    struct tw_series *spawns = tw_series_get(TW_METRIC_INSTANCE_SPAWNS, tw_labels());
    for (unsigned i = 0; i < THREADS; i++)
        tw_assert_ok(tw_thread_start(&threads[i], "update", update_much, spawns, &err), &err);
    long long last = 0;
    for (unsigned i = 0; i < 20; i++) {
        char *text = exposition(false);
        long long now = sample(text, "\ntensor_wasm_instance_spawns_total ");
        ck_assert_int_ge(now, last);
        last = now;
        free(text);
    }
    for (unsigned i = 0; i < THREADS; i++)
        tw_thread_join(threads[i]);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_INSTANCE_SPAWNS, tw_labels()), THREADS * ROUNDS);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_ACTIVE_INSTANCES, tw_labels()), 0);
    char *text = exposition(false);
    long long dispatches = 0;
    for (const char *at = text; (at = strstr(at, "\ntensor_wasm_kernel_dispatches_total{")); at++)
        dispatches += strtoll(strchr(at, '}') + 1, NULL, 10);
    ck_assert_int_eq(dispatches, THREADS * ROUNDS);
    ck_assert_int_eq(sample(text, "tensor_wasm_kernel_latency_seconds_count{tenant=\"3\"} "),
                     THREADS * ROUNDS / 10);
    free(text);
}

static void set_connections(void *context) {
    tw_metric_set(TW_METRIC_HTTP_CONNECTIONS, tw_labels(), ++*(int *)context);
}

TW_TEST("collectors run before an exposition until they are taken off") {
    int a = 10, b = 100;
    tw_metrics_on_collect(set_connections, &a);
    expect_line("tensor_wasm_http_connections 11");
    tw_metrics_on_collect(set_connections, &b);
    expect_line("tensor_wasm_http_connections 101");
    tw_metrics_off_collect(set_connections, &b);
    tw_metrics_off_collect(set_connections, &b);
    expect_line("tensor_wasm_http_connections 13");
    tw_metrics_off_collect(set_connections, &a);
    expect_line("tensor_wasm_http_connections 13");
    ck_assert(a == 13 && b == 101);
}

struct slow {
    struct tw_state entered, leave;
    struct tw_flag left;
};

static void collect_slowly(void *context) {
    struct slow *slow = context;
    tw_state_set(&slow->entered, 1);
    tw_state_wake(&slow->entered);
    while (tw_state_get(&slow->leave) == 0)
        tw_state_wait(&slow->leave, 0, -1);
    tw_flag_raise(&slow->left);
}

static void scrape(void *context) {
    (void)context;
    free(exposition(false));
}

static void let_leave(void *context) {
    struct slow *slow = context;
    tw_state_wait(&slow->leave, 0, 20 * TW_NS_PER_MS); // gives the other thread time to get it wrong
    tw_state_set(&slow->leave, 1);
    tw_state_wake(&slow->leave);
}

TW_TEST("a collector that was taken off does not run any more") {
    struct slow slow = {};
    pthread_t scraper, helper;
    struct tw_error err = {};
    tw_metrics_on_collect(collect_slowly, &slow);
    tw_assert_ok(tw_thread_start(&scraper, "scrape", scrape, NULL, &err), &err);
    while (tw_state_get(&slow.entered) == 0)
        tw_state_wait(&slow.entered, 0, -1);
    tw_assert_ok(tw_thread_start(&helper, "leave", let_leave, &slow, &err), &err);
    tw_metrics_off_collect(collect_slowly, &slow);
    ck_assert(tw_flag_is_raised(&slow.left));
    tw_thread_join(scraper);
    tw_thread_join(helper);
}

TW_TEST("a buffer that is too small gets nothing") {
    struct tw_buf out;
    char *whole = exposition(true);
    size_t len = strlen(whole);
    free(whole);
    tw_buf_init(&out, len + 3);
    ck_assert(tw_buf_append(&out, "kept", 4));
    ck_assert(!tw_metrics_write(&out, true));
    ck_assert_str_eq((char *)out.data, "kept");
    tw_buf_done(&out);
}

static void move_everything(void) {
    for (unsigned i = 0; i < TW_METRIC_COUNT; i++) {
        enum tw_metric metric = (enum tw_metric)i;
        struct tw_labels labels = {.values = {"x\"y", "b", "c"}, .tenant = 5, .has_tenant = true};
        if (telemetry_metric(metric)->buckets)
            tw_metric_observe(metric, labels, 0.25);
        else
            tw_metric_add(metric, labels, 1);
    }
}

TW_TEST("every metric of the table moves, and its name and labels are sound") {
    move_everything();
    char *text = exposition(false);
    for (unsigned i = 0; i < TW_METRIC_COUNT; i++) {
        const struct telemetry_metric *metric = telemetry_metric((enum tw_metric)i);
        char start[128];
        snprintf(start, sizeof(start), "# TYPE %s ", metric->name);
        ck_assert_msg(count_lines(text, start) == 1, "%s is not there once", metric->name);
        snprintf(start, sizeof(start), "%s%s%s", metric->name, metric->buckets ? "_count" : "",
                 metric->label_count ? "{" : " ");
        ck_assert_msg(count_lines(text, start) == 1, "%s has no sample", metric->name);
        ck_assert(strncmp(metric->name, "tensor_wasm_", 12) == 0);
        size_t len = strlen(metric->name);
        bool total = len > 6 && strcmp(metric->name + len - 6, "_total") == 0;
        ck_assert_msg(total == (metric->kind == TELEMETRY_COUNTER), "%s", metric->name);
        ck_assert_uint_gt(strlen(metric->help), 10);
        ck_assert_ptr_null(strpbrk(metric->help, "\\\n"));
        for (unsigned k = 1; k < metric->bucket_count; k++)
            ck_assert(metric->buckets[k - 1] < metric->buckets[k]);
    }
    free(text);
}

TW_TEST("OpenMetrics names counter families without _total and ends with EOF") {
    move_everything();
    char *text = exposition(true);
    ck_assert(has_line(text, "# TYPE tensor_wasm_instance_spawns counter"));
    ck_assert(has_line(text, "# HELP tensor_wasm_instance_spawns Guest instances created."));
    ck_assert(has_line(text, "tensor_wasm_instance_spawns_total 1"));
    ck_assert(has_line(text, "tensor_wasm_kernel_latency_seconds_bucket{tenant=\"5\",le=\"1.0\"} 1"));
    ck_assert(has_line(text, "tensor_wasm_kernel_latency_seconds_bucket{tenant=\"5\",le=\"1e-06\"} 0"));
    ck_assert_str_eq(text + strlen(text) - 7, "\n# EOF\n");
    ck_assert_uint_eq(count_lines(text, "# EOF"), 1);
    free(text);
}

// Feeds the text to `promtool check metrics`; returns its exit status, 127 when there is no promtool.
static int promtool(const char *text) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("promtool", "promtool", "check", "metrics", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    for (size_t left = strlen(text); left;) {
        ssize_t count = write(ends[1], text, left);
        if (count < 0)
            break;
        text += count;
        left -= (size_t)count;
    }
    close(ends[1]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TW_TEST("promtool finds nothing to complain about, and does in a broken text") {
    move_everything();
    char *text = exposition(false);
    int status = promtool(text);
    free(text);
    if (status == 127) {
        fprintf(stderr, "promtool is not installed: its judgement is left out\n");
        return;
    }
    ck_assert_int_eq(status, 0);
    ck_assert_int_ne(promtool("a{b=\"c} 1\n"), 0);
}

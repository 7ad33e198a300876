// SPDX-License-Identifier: Apache-2.0
//
// Log lines, read back from a pipe that stands in for standard error.

#include <unistd.h>

#include "harness/test.h"

static int saved_stderr, reading_end;

static void capture(void) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    reading_end = ends[0];
}

// What was logged since, as a C string.
static const char *captured(void) {
    static char text[64 << 10];
    dup2(saved_stderr, STDERR_FILENO); // closes the pipe's last writing end
    close(saved_stderr);
    size_t len = 0;
    ssize_t count;
    while ((count = read(reading_end, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)count;
    close(reading_end);
    text[len] = '\0';
    return text;
}

TW_TEST("a text line has time, level, room, event, pairs and the trace id") {
    capture();
    tw_log_trace_set("abc123");
    tw_log(TW_LOG_WARN, "http", "listener failed", "address", "0.0.0.0:80", "error", "in use \"now\"\n",
           "empty", "", NULL);
    tw_log_trace_set(NULL);
    const char *line = captured();
    ck_assert_uint_eq(strspn(line, "0123456789-:.TZ"), 24);
    ck_assert_str_eq(line + 24, " WARN  http: listener failed address=0.0.0.0:80 error=\"in use "
                                "\\\"now\\\"\\n\" empty=\"\" trace=abc123\n");
}

TW_TEST("a JSON line is one JSON object with all values as strings") {
    struct tw_error err = {};
    tw_assert_ok(tw_log_configure("info", TW_LOG_JSON, &err), &err);
    capture();
    tw_log(TW_LOG_ERROR, "service", "odd \"event\"", "path", "a\\b\nc", "bad", "\xFF", NULL);
    const char *line = captured();
    struct tw_json *root = tw_json_parse(tw_span_of(line, strlen(line)), &err);
    tw_assert_ok(root, &err);
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(root, "level")), TW_STR("error")));
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(root, "room")), TW_STR("service")));
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(root, "event")), TW_STR("odd \"event\"")));
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(root, "path")), TW_STR("a\\b\nc")));
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(root, "bad")), TW_STR("\xEF\xBF\xBD")));
    ck_assert_uint_eq(tw_json_str(tw_json_get(root, "time")).len, 24);
    ck_assert_uint_eq(tw_json_count(root), 6);
    tw_json_free(root);
    ck_assert_int_eq(line[strlen(line) - 1], '\n');
}

TW_TEST("the filter decides by room, then by the general level") {
    struct tw_error err = {};
    tw_assert_ok(tw_log_configure("warn, http=debug ,store=error", TW_LOG_TEXT, &err), &err);
    ck_assert(tw_log_enabled(TW_LOG_WARN, "cli") && !tw_log_enabled(TW_LOG_INFO, "cli"));
    ck_assert(tw_log_enabled(TW_LOG_DEBUG, "http") && !tw_log_enabled(TW_LOG_TRACE, "http"));
    ck_assert(!tw_log_enabled(TW_LOG_WARN, "store"));
    static const char *const bad[] = {"loud", "http=", "=info", "info,,warn",
                                      "a-name-of-24-characters-x=info"};
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(!tw_log_configure(bad[i], TW_LOG_TEXT, &err), "%s", bad[i]);
    ck_assert(tw_log_enabled(TW_LOG_DEBUG, "http")); // a refused filter changes nothing
    capture();
    tw_log(TW_LOG_INFO, "cli", "not shown", NULL);
    ck_assert_str_eq(captured(), "");
}

static void check_long(enum tw_log_format format) {
    struct tw_error err = {};
    tw_assert_ok(tw_log_configure("info", format, &err), &err);
    char value[3000];
    memset(value, '\n', sizeof(value) - 1); // two bytes each when escaped
    value[sizeof(value) - 1] = '\0';
    capture();
    tw_log_trace_set("0af7651916cd43dd8448eb211c80319c");
    tw_log(TW_LOG_INFO, "cli", value, "a", value, "b", value, "c", value, "d", "short", NULL);
    tw_log_trace_set(NULL);
    const char *line = captured();
    size_t len = strlen(line);
    ck_assert_uint_le(len, 4096);
    ck_assert_int_eq(line[len - 1], '\n');
    ck_assert_ptr_nonnull(strstr(line, "0af7651916cd43dd8448eb211c80319c"));
    ck_assert_ptr_nonnull(strstr(line, "short"));
    ck_assert_ptr_nonnull(strstr(line, format == TW_LOG_JSON ? "\"cut\":\"true\"}" : " cut=true"));
    if (format == TW_LOG_JSON) {
        struct tw_json *root = tw_json_parse(tw_span_of(line, len), &err);
        tw_assert_ok(root, &err);
        tw_json_free(root);
    }
}

TW_TEST("a line that is too long is cut, says so, and is still whole") {
    check_long(TW_LOG_JSON);
    check_long(TW_LOG_TEXT);
}

// ---- the thread that writes ----

static char *drained; // what the reader got
static size_t drained_len;

static void *drain(void *context) {
    (void)context;
    enum { DRAIN_MAX = 8 << 20 };
    drained = malloc(DRAIN_MAX);
    ssize_t count;
    while ((count = read(reading_end, drained + drained_len, DRAIN_MAX - 1 - drained_len)) > 0)
        drained_len += (size_t)count;
    drained[drained_len] = '\0';
    return NULL;
}

// Stops the log's thread and gives what was written since capture().
static void stop_and_drain(void) {
    pthread_t reader;
    ck_assert_int_eq(pthread_create(&reader, NULL, drain, NULL), 0);
    tw_log_stop();
    dup2(saved_stderr, STDERR_FILENO); // closes the pipe's last writing end
    close(saved_stderr);
    pthread_join(reader, NULL);
    close(reading_end);
}

TW_TEST("with a thread that writes, lines come whole and in order, and the last ones before its end too") {
    enum { LINES = 300 };
    struct tw_error err = {};
    capture();
    tw_assert_ok(tw_log_start(&err), &err);
    for (int i = 0; i < LINES; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        tw_log(TW_LOG_INFO, "cli", "numbered", "n", number, NULL);
    }
    stop_and_drain();
    ck_assert_uint_eq(tw_log_lost(), 0);
    const char *at = drained;
    for (int i = 0; i < LINES; i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, " INFO  cli: numbered n=%d\n", i);
        ck_assert_ptr_nonnull(at);
        ck_assert_int_eq(strncmp(at + 24, wanted, strlen(wanted)), 0);
        at = strchr(at, '\n') + 1;
    }
    ck_assert_str_eq(at, "");
    free(drained);
}

TW_TEST("while nobody reads, nobody who logs waits; what is lost is counted and told") {
    enum { LINES = 20'000 }; // some megabytes: more than the pipe and both buffers take
    char text[200];
    struct tw_error err = {};
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    capture();
    tw_assert_ok(tw_log_start(&err), &err);
    for (int i = 0; i < LINES; i++)
        tw_log(TW_LOG_INFO, "cli", "filler", "text", text, NULL);
    uint64_t lost = tw_log_lost();
    ck_assert_uint_gt(lost, 0);
    stop_and_drain();
    ck_assert_uint_eq(tw_log_lost(), lost);
    unsigned fillers = 0;
    uint64_t told = 0;
    for (const char *at = drained; *at; at = strchr(at, '\n') + 1) {
        const char *count = strstr(at, "count=");
        if (strncmp(at + 24, " INFO  cli: filler", 18) == 0)
            fillers++;
        else
            told += strtoull(count + 6, NULL, 10);
    }
    ck_assert_uint_eq(told, lost);
    ck_assert_uint_eq(fillers + lost, LINES);
    free(drained);
    tw_log(TW_LOG_INFO, "cli", "whoever logs writes again", NULL);
}

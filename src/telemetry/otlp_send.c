// SPDX-License-Identifier: Apache-2.0
//
// Exports to a collector through libcurl:
//
//     gRPC  POST /opentelemetry.proto.collector.trace.v1.TraceService/Export, HTTP/2 with prior knowledge, the
//           message behind five bytes (compressed? length), the outcome in the trailer grpc-status
//     HTTP  POST /v1/traces, the message as it is, the outcome in the status
//
// Which failures are worth another try is the OTLP specification's list (Exporter: retryable codes).

#include <curl/curl.h>

#include "telemetry/trace.h"

enum { URL_MAX = 1024, GRPC_PREFIX = 5 };

// Confined to one thread at a time.
struct telemetry_collector {
    CURL *curl;
    struct curl_slist *headers;
    bool is_grpc;
    struct tw_flag hurried; // any thread raises it
    char url[URL_MAX];
    // ---- of the export at work ----
    struct tw_span parts[3];
    size_t part, at;
    bool is_last;
    int grpc_status; // -1: none came
    char error[CURL_ERROR_SIZE];
};

// ---- the endpoint ----

static bool ends_with(struct tw_str text, struct tw_str end) {
    return text.len >= end.len && memcmp(text.data + text.len - end.len, end.data, end.len) == 0;
}

// scheme://host[:port][/path] → where the path begins; 0 when there is no scheme or host.
static size_t path_at(struct tw_str url) {
    struct tw_str http = TW_STR("http://"), https = TW_STR("https://");
    size_t host = tw_str_starts(url, http) ? http.len : tw_str_starts(url, https) ? https.len : 0;
    const char *slash = host ? memchr(url.data + host, '/', url.len - host) : NULL;
    size_t end = slash ? (size_t)(slash - url.data) : url.len;
    return host && end > host ? end : 0;
}

static bool read_protocol(struct telemetry_collector *collector, const struct tw_tracer_options *options,
                          struct tw_str origin, struct tw_str path, struct tw_error *err) {
    const char *protocol = options->protocol ? options->protocol : "auto";
    bool has_path = path.len > 1;
    if (strcmp(protocol, "auto") == 0)
        collector->is_grpc = !has_path && !ends_with(origin, TW_STR(":4318"));
    else if (strcmp(protocol, "grpc") == 0 || strcmp(protocol, "http") == 0)
        collector->is_grpc = protocol[0] == 'g';
    else
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the traces' protocol is auto, grpc or http, not '%s'",
                       protocol);
    return true;
}

static bool read_endpoint(struct telemetry_collector *collector, const struct tw_tracer_options *options,
                          struct tw_error *err) {
    struct tw_str url = tw_str_from(options->endpoint);
    size_t at = path_at(url);
    if (!at || url.len > URL_MAX - 128)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "the traces' endpoint looks like http://collector:4317, not '%.*s'",
                       (int)(url.len < 100 ? url.len : 100), url.data);
    struct tw_str origin = tw_str_of(url.data, at), path = tw_str_of(url.data + at, url.len - at);
    if (!read_protocol(collector, options, origin, path, err))
        return false;
    struct tw_str tail = collector->is_grpc
                             ? TW_STR("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
                         : path.len > 1 ? path
                                        : TW_STR("/v1/traces");
    snprintf(collector->url, sizeof collector->url, "%.*s%.*s", TW_STR_ARG(origin), TW_STR_ARG(tail));
    return true;
}

// ---- headers ----

static bool add_header(struct telemetry_collector *collector, const char *line) {
    struct curl_slist *longer = curl_slist_append(collector->headers, line);
    if (longer)
        collector->headers = longer;
    return longer;
}

static bool is_token_byte(unsigned char c) {
    return c > 0x20 && c < 0x7F && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

// "name=value,name=value". The values are secrets: no message shows them.
static bool add_own_headers(struct telemetry_collector *collector, const char *text, struct tw_error *err) {
    struct tw_str rest = tw_str_from(text);
    for (unsigned number = 1; rest.len; number++) {
        struct tw_str value = tw_str_trim(tw_str_cut(&rest, ','));
        bool has_value = memchr(value.data, '=', value.len);
        struct tw_str name = tw_str_trim(tw_str_cut(&value, '='));
        bool ok = has_value && name.len && !memchr(value.data, '\n', value.len) &&
                  !memchr(value.data, '\r', value.len);
        for (size_t i = 0; ok && i < name.len; i++)
            ok = is_token_byte((unsigned char)name.data[i]);
        char line[1024];
        int len = snprintf(line, sizeof line, "%.*s: %.*s", TW_STR_ARG(name), TW_STR_ARG(value));
        if (!ok || len >= (int)sizeof line)
            return tw_fail(err, TW_ERR_INVALID_REQUEST,
                           "header %u of the traces' headers is no name=value of at most %zu bytes", number,
                           sizeof line - 3);
        if (!add_header(collector, line))
            return tw_fail(err, TW_ERR_CAPACITY, "no memory for the traces' headers");
    }
    return true;
}

static bool add_headers(struct telemetry_collector *collector, const struct tw_tracer_options *options,
                        struct tw_error *err) {
    bool ok = add_header(collector, collector->is_grpc ? "Content-Type: application/grpc"
                                                       : "Content-Type: application/x-protobuf") &&
              add_header(collector, "Expect:") &&
              (!collector->is_grpc || add_header(collector, "TE: trailers"));
    if (!ok)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the traces' headers");
    return add_own_headers(collector, options->headers, err);
}

// ---- one export ----

static size_t give_body(char *out, size_t size, size_t count, void *context) {
    struct telemetry_collector *collector = context;
    size_t room = size * count, given = 0;
    while (room && collector->part < TW_COUNT(collector->parts)) {
        struct tw_span part = collector->parts[collector->part];
        size_t len = part.len - collector->at < room ? part.len - collector->at : room;
        if (len)
            memcpy(out + given, part.data + collector->at, len);
        collector->at += len;
        given += len;
        room -= len;
        if (collector->at == part.len) {
            collector->part++;
            collector->at = 0;
        }
    }
    return given;
}

// libcurl sends the body again, from its beginning, when a kept connection turns out to be closed.
static int rewind_body(void *context, curl_off_t offset, int origin) {
    struct telemetry_collector *collector = context;
    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    collector->part = collector->at = 0;
    return CURL_SEEKFUNC_OK;
}

// About once a second while an export is at work: not zero breaks it off.
static int has_to_end(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                      curl_off_t up) {
    (void)down_total, (void)down, (void)up_total, (void)up;
    const struct telemetry_collector *collector = context;
    return !collector->is_last && tw_flag_is_raised(&collector->hurried);
}

static size_t drop_body(char *data, size_t size, size_t count, void *context) {
    (void)data, (void)context;
    return size * count;
}

// Headers and trailers come here alike.
static size_t take_header(char *data, size_t size, size_t count, void *context) {
    struct telemetry_collector *collector = context;
    struct tw_str value = tw_str_of(data, size * count);
    uint64_t status;
    if (tw_str_equal_nocase(tw_str_trim(tw_str_cut(&value, ':')), TW_STR("grpc-status"))) {
        while (value.len && (value.data[value.len - 1] == '\n' || value.data[value.len - 1] == '\r'))
            value.len--;
        if (tw_str_u64(tw_str_trim(value), &status) && status <= 99)
            collector->grpc_status = (int)status;
    }
    return size * count;
}

static void set_options(struct telemetry_collector *collector) {
    CURL *curl = collector->curl;
    curl_easy_setopt(curl, CURLOPT_URL, collector->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
                     collector->is_grpc ? (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                                        : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, collector->headers);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(curl, CURLOPT_READDATA, collector);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind_body);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, collector);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, collector);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, collector->error);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, has_to_end);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, collector);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    // libcurl before 8.0 cannot send a second request over a connection with prior knowledge of HTTP/2; one a second
    // costs nothing.
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, collector->is_grpc ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); // a collector is near, whatever proxy the environment names
}

static bool is_retryable(const struct telemetry_collector *collector, long status) {
    // gRPC's codes: cancelled, deadline exceeded, resource exhausted, aborted, out of range, unavailable, data loss.
    static const int grpc[] = {1, 4, 8, 10, 11, 14, 15};
    for (size_t i = 0; collector->is_grpc && i < TW_COUNT(grpc); i++)
        if (collector->grpc_status == grpc[i])
            return true;
    return status == 429 || (status >= 502 && status <= 504);
}

enum telemetry_sent telemetry_collector_send(struct telemetry_collector *collector, struct tw_span head,
                                             struct tw_span spans, bool is_last, struct tw_error *err) {
    size_t len = head.len + spans.len;
    const uint8_t prefix[GRPC_PREFIX] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                                         (uint8_t)len};
    size_t prefix_len = collector->is_grpc ? sizeof prefix : 0;
    collector->parts[0] = tw_span_of(prefix, prefix_len);
    collector->parts[1] = head;
    collector->parts[2] = spans;
    collector->part = collector->at = 0;
    collector->grpc_status = -1;
    collector->is_last = is_last;
    collector->error[0] = '\0';
    curl_easy_setopt(collector->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(prefix_len + len));
    curl_easy_setopt(collector->curl, CURLOPT_TIMEOUT_MS,
                     is_last ? (long)TELEMETRY_LAST_SEND_MS : (long)TELEMETRY_SEND_TIMEOUT_MS);
    CURLcode result = curl_easy_perform(collector->curl);
    long status = 0;
    curl_easy_getinfo(collector->curl, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK) {
        tw_fail(err, TW_ERR_CAPACITY, "%s",
                collector->error[0] ? collector->error : curl_easy_strerror(result));
        return TELEMETRY_SEND_AGAIN;
    }
    if (status / 100 == 2 && (!collector->is_grpc || collector->grpc_status == 0))
        return TELEMETRY_SENT;
    tw_fail(err, TW_ERR_CAPACITY, "it answered the status %ld, grpc-status %d", status,
            collector->grpc_status);
    return is_retryable(collector, status) ? TELEMETRY_SEND_AGAIN : TELEMETRY_SEND_REFUSED;
}

// ---- life ----

struct telemetry_collector *telemetry_collector_new(const struct tw_tracer_options *options,
                                                    struct tw_error *err) {
    struct telemetry_collector *collector = tw_alloc_zero(1, sizeof *collector);
    if (!collector) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the traces' exporter");
        return NULL;
    }
    bool ok = read_endpoint(collector, options, err) && add_headers(collector, options, err);
    if (ok) {
        collector->curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
        ok = collector->curl || tw_fail(err, TW_ERR_CAPACITY, "the HTTP client could not be made");
    }
    if (ok) {
        set_options(collector);
        return collector;
    }
    telemetry_collector_free(collector);
    return NULL;
}

void telemetry_collector_hurry(struct telemetry_collector *collector) {
    tw_flag_raise(&collector->hurried);
}

void telemetry_collector_free(struct telemetry_collector *collector) {
    if (!collector)
        return;
    curl_easy_cleanup(collector->curl);
    curl_slist_free_all(collector->headers);
    free(collector);
}

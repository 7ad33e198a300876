// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/test.h"
#include "telemetry/trace.h"

// ---- a reader of protocol buffers, written from their specification ----

struct field {
    unsigned number, wire;
    uint64_t value;       // of a varint or a fixed64
    const uint8_t *bytes; // of a length-delimited field
    size_t len;
};

static uint64_t read_varint(const uint8_t **at, const uint8_t *end) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        ck_assert(*at < end && shift < 64);
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return value;
    }
}

static bool next_field(const uint8_t **at, const uint8_t *end, struct field *field) {
    if (*at == end)
        return false;
    uint64_t tag = read_varint(at, end);
    *field = (struct field){.number = (unsigned)(tag >> 3), .wire = tag & 7};
    if (field->wire == 0) {
        field->value = read_varint(at, end);
    } else if (field->wire == 1) {
        ck_assert(end - *at >= 8);
        memcpy(&field->value, *at, 8); // little-endian, as every machine we run on
        *at += 8;
    } else {
        ck_assert_uint_eq(field->wire, 2);
        field->len = read_varint(at, end);
        ck_assert_uint_le(field->len, (size_t)(end - *at));
        field->bytes = *at;
        *at += field->len;
    }
    return true;
}

// The first field of that number; number 0 when there is none.
static struct field find(const uint8_t *bytes, size_t len, unsigned number) {
    struct field field, found = {};
    for (const uint8_t *at = bytes; next_field(&at, bytes + len, &field);)
        if (field.number == number && !found.number)
            found = field;
    return found;
}

static const struct tw_trace_root plain_root = {
    .name = "GET /x", .method = "GET", .route = "/x", .tenant = UINT64_MAX, .status = 200};

static struct tw_trace begun(void) {
    // Nothing is sent: only whether there is a tracer is asked.
    static char somewhere;
    struct tw_trace trace = {
        .tracer = (struct tw_tracer *)&somewhere, .span_id = 0x0102030405060708, .start_ns = 100};
    memset(trace.context.trace_id, 0xAB, sizeof trace.context.trace_id);
    return trace;
}

TW_TEST("times are on the wall clock, ids are big-endian, and a trace that begins here has no parent") {
    struct tw_trace trace = begun();
    uint8_t bytes[TELEMETRY_TRACE_BYTES_MAX];
    size_t len = telemetry_otlp_spans(&trace, &plain_root, 350, 1000000, bytes);
    struct field span = find(bytes, len, 2);
    ck_assert_uint_eq(find(span.bytes, span.len, 7).value, 1000100);
    ck_assert_uint_eq(find(span.bytes, span.len, 8).value, 1000350);
    static const uint8_t id[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct field span_id = find(span.bytes, span.len, 2);
    ck_assert_uint_eq(span_id.len, 8);
    ck_assert_mem_eq(span_id.bytes, id, 8);
    ck_assert_uint_eq(find(span.bytes, span.len, 4).number, 0);
    ck_assert_uint_eq(find(span.bytes, span.len, 6).value, 2); // a server's span
}

TW_TEST("the fullest trace with the longest texts fits, whole, and says how many spans were left out") {
    struct tw_trace trace = begun();
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < TW_TRACE_SPANS_MAX + 7; i++)
        tw_trace_span(&trace, TW_SPAN_LOAD_PTX, INT64_MAX / 4, INT64_MAX / 2, TW_ERR_CUDA_MALFORMED_PTX, -1);
    struct tw_trace_root root = {.name = text,
                                 .method = text,
                                 .route = text,
                                 .function = tw_str_of(text, sizeof text - 1),
                                 .request_id = text,
                                 .tenant = UINT64_MAX,
                                 .status = 500,
                                 .code = TW_ERR_INTERNAL};
    uint8_t bytes[TELEMETRY_TRACE_BYTES_MAX];
    size_t len = telemetry_otlp_spans(&trace, &root, 350, 0, bytes);
    unsigned spans = 0, left_out = 0;
    struct field span, inner;
    for (const uint8_t *at = bytes; next_field(&at, bytes + len, &span); spans++)
        for (const uint8_t *in = span.bytes; next_field(&in, span.bytes + span.len, &inner);)
            if (inner.number == 9 && memmem(inner.bytes, inner.len, "tensor_wasm.spans_dropped", 25)) {
                struct field value = find(inner.bytes, inner.len, 2);
                left_out = (unsigned)find(value.bytes, value.len, 3).value;
            }
    ck_assert_uint_eq(spans, TW_TRACE_SPANS_MAX + 1);
    ck_assert_uint_eq(left_out, 7);
}

TW_TEST("what stands around the spans counts them exactly, whatever their length") {
    static const size_t lengths[] = {0, 1, 100, 127, 128, 16000, 16384, TELEMETRY_BATCH_MAX};
    for (size_t i = 0; i < TW_COUNT(lengths); i++) {
        uint8_t head[TELEMETRY_OTLP_HEAD_MAX];
        size_t len = telemetry_otlp_head("host:1", lengths[i], head), total = len + lengths[i];
        const uint8_t *at = head;
        ck_assert_uint_eq(read_varint(&at, head + len), 1 << 3 | 2);
        uint64_t resource_spans = read_varint(&at, head + len);
        ck_assert_uint_eq((size_t)(at - head) + resource_spans, total);
        struct field resource;
        ck_assert(next_field(&at, head + len, &resource));
        ck_assert_ptr_nonnull(memmem(resource.bytes, resource.len, "host:1", 6));
        ck_assert_uint_eq(read_varint(&at, head + len), 2 << 3 | 2);
        uint64_t scope_spans = read_varint(&at, head + len);
        ck_assert_uint_eq((size_t)(at - head) + scope_spans, total);
    }
}

// ---- sampling; the tracer's thread has nothing to send ----

static struct tw_tracer *tracer_of(double ratio) {
    struct tw_error err = {};
    struct tw_tracer_options options = {.endpoint = "http://127.0.0.1:9", .instance = "t", .ratio = ratio};
    struct tw_tracer *tracer = tw_tracer_new(&options, &err);
    ck_assert_msg(tracer, "%s", err.message);
    return tracer;
}

TW_TEST("a ratio samples about that share of the traces that begin here") {
    static const double ratios[] = {0, 0.25, 1};
    for (size_t i = 0; i < TW_COUNT(ratios); i++) {
        struct tw_tracer *tracer = tracer_of(ratios[i]);
        int sampled = 0;
        for (int k = 0; k < 4000; k++) {
            struct tw_trace_context context = {};
            tw_random(context.trace_id, sizeof context.trace_id);
            struct tw_trace trace;
            tw_trace_begin(&trace, tracer, &context, 1, 0);
            sampled += tw_trace_is_on(&trace);
        }
        // Ten standard deviations of a fair draw.
        ck_assert_double_le(sampled, 4000 * ratios[i] + 280);
        ck_assert_double_ge(sampled, 4000 * ratios[i] - 280);
        ck_assert(ratios[i] != 0 || sampled == 0);
        ck_assert(ratios[i] != 1 || sampled == 4000);
        tw_tracer_free(tracer);
    }
}

TW_TEST("traces beyond what may wait are dropped whole and counted, and never wait") {
    // A collector that takes connections and says nothing.
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", ntohs(address.sin_port));
    struct tw_error err = {};
    struct tw_tracer *tracer =
        tw_tracer_new(&(struct tw_tracer_options){.endpoint = endpoint, .instance = "t", .ratio = 1}, &err);
    ck_assert_msg(tracer, "%s", err.message);
    struct tw_labels dropped = {.values = {"dropped"}};
    for (int i = 0; i < 200000 && tw_metric_get(TW_METRIC_TRACE_SPANS, dropped) == 0; i++) {
        struct tw_trace trace;
        tw_trace_begin(&trace, tracer, &(struct tw_trace_context){.trace_id = {1}}, 1, 0);
        tw_trace_end(&trace, &plain_root, 1);
    }
    ck_assert_int_gt(tw_metric_get(TW_METRIC_TRACE_SPANS, dropped), 0);
    tw_tracer_free(tracer);
    close(listener);
}

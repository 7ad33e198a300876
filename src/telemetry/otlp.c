// SPDX-License-Identifier: Apache-2.0
//
// Traces as OpenTelemetry's protocol buffers (opentelemetry/proto/trace/v1/trace.proto, 1.x):
//
//     ExportTraceServiceRequest { 1: ResourceSpans { 1: Resource { 1: KeyValue … }
//                                                    2: ScopeSpans { 1: InstrumentationScope  2: Span … } } }
//     Span { 1 trace_id  2 span_id  4 parent_span_id  5 name  6 kind  7 start  8 end  9 attributes  15 status }
//
// Every request that is traced comes through here, so nothing is measured twice and nothing is looked for: texts have
// a maximum below 128 bytes, hence their lengths are one byte and those around them two (a varint's upper group may be
// zeros); names and keys are constants whose lengths the compiler knows. What a trace can have at most fits the
// caller's buffer (see the assertions), so nothing is checked on the way.

#include "telemetry/trace.h"

// Names are copied with what stands behind them, so that the copy is of a constant length.
enum { NAME_ROOM = 24 };
static const struct {
    char name[NAME_ROOM];
    const char *amount;
    uint8_t name_len, amount_len;
    bool in_call;
} table[TW_SPAN_COUNT] = {
#define ROOT                              false
#define CALL                              true
#define TW_SPAN(id, name, parent, amount) {name, amount, sizeof(name) - 1, sizeof(amount) - 1, parent},
#include "telemetry/spans.def"
#undef TW_SPAN
#undef CALL
#undef ROOT
};

// ---- protocol buffers. Each writes at `at` and returns where it ends ----

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };
#define TAG(field, wire) ((uint8_t)((field) << 3 | (wire)))

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t len) {
    memcpy(at, data, len);
    return at + len;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_len2(uint8_t *at, size_t len) {
    at[0] = (uint8_t)(len | 0x80);
    at[1] = (uint8_t)(len >> 7);
    return at + 2;
}

// Opens a message whose length is still to come: at most 16,383 bytes. `close_message` gets what it returns.
static uint8_t *open_message(uint8_t *at, unsigned field) {
    *at = TAG(field, WIRE_BYTES);
    return at + 3;
}

static uint8_t *close_message(uint8_t *begin, uint8_t *end) {
    put_len2(begin - 2, (size_t)(end - begin));
    return end;
}

static struct tw_str cut(struct tw_str text) {
    return tw_str_of(text.data, text.len < TELEMETRY_TEXT_MAX ? text.len : TELEMETRY_TEXT_MAX);
}

static uint8_t *put_short(uint8_t *at, unsigned field, struct tw_str text) {
    *at++ = TAG(field, WIRE_BYTES);
    *at++ = (uint8_t)text.len;
    return text.len ? put_bytes(at, text.data, text.len) : at;
}

static uint8_t *put_fixed64(uint8_t *at, unsigned field, int64_t value) {
    *at++ = TAG(field, WIRE_FIXED64);
    return put_bytes(at, &value, sizeof value); // little-endian, as every machine we run on
}

// An id: its highest byte first.
static uint8_t *put_id(uint8_t *at, unsigned field, uint64_t id) {
    *at++ = TAG(field, WIRE_BYTES);
    *at++ = sizeof id;
    id = __builtin_bswap64(id);
    return put_bytes(at, &id, sizeof id);
}

// ---- attributes: KeyValue { 1 key  2 AnyValue { 1 string  3 int } } ----

enum { VARINT_MAX = 10 };

// `value_len`: of the AnyValue.
[[gnu::always_inline]] static inline uint8_t *put_key(uint8_t *at, unsigned field, const char *key,
                                                      size_t key_len, size_t value_len) {
    *at++ = TAG(field, WIRE_BYTES);
    at = put_len2(at, 2 + key_len + 3 + value_len);
    *at++ = TAG(1, WIRE_BYTES);
    *at++ = (uint8_t)key_len;
    at = put_bytes(at, key, key_len);
    *at++ = TAG(2, WIRE_BYTES);
    return put_len2(at, value_len);
}

[[gnu::always_inline]] static inline uint8_t *put_text_pair(uint8_t *at, unsigned field, const char *key,
                                                            size_t key_len, struct tw_str value) {
    value = cut(value);
    return put_short(put_key(at, field, key, key_len, 2 + value.len), 1, value);
}

[[gnu::always_inline]] static inline uint8_t *put_number_pair(uint8_t *at, unsigned field, const char *key,
                                                              size_t key_len, int64_t value) {
    uint8_t number[VARINT_MAX];
    size_t len = (size_t)(put_varint(number, (uint64_t)value) - number);
    at = put_key(at, field, key, key_len, 1 + len);
    *at++ = TAG(3, WIRE_VARINT);
    return put_bytes(at, number, len);
}

#define put_text(at, field, key, value)   put_text_pair(at, field, key, sizeof(key) - 1, value)
#define put_number(at, field, key, value) put_number_pair(at, field, key, sizeof(key) - 1, value)

// ---- spans ----

enum { SPAN_FIELD = 2 }; // of ScopeSpans
enum { ATTRIBUTES = 9, STATUS = 15 };
enum { KIND_INTERNAL = 1, KIND_SERVER = 2 };
enum { STATUS_ERROR = 2 };
enum { METHOD_MAX = 32 }; // the longest one that is registered has 17
// What a span takes at most: ids, times and name; an attribute (its key has at most 40 bytes); the status.
enum {
    PLAIN_MAX = 3 + 18 + 10 + 10 + 2 + TELEMETRY_TEXT_MAX + 2 + 9 + 9,
    PAIR_MAX = 3 + 2 + 40 + 3 + 2 + TELEMETRY_TEXT_MAX,
    STATUS_MAX = PAIR_MAX + 3 + 2 + TELEMETRY_TEXT_MAX + 2,
    CHILD_MAX = PLAIN_MAX - TELEMETRY_TEXT_MAX + NAME_ROOM + 3 + 2 + 40 + 3 + 1 + VARINT_MAX + 100,
    ROOT_MAX = PLAIN_MAX + 7 * PAIR_MAX + STATUS_MAX,
};
_Static_assert((int)ROOT_MAX + (int)TW_TRACE_SPANS_MAX * (int)CHILD_MAX <= (int)TELEMETRY_TRACE_BYTES_MAX,
               "the fullest trace fits");
_Static_assert((int)TELEMETRY_TEXT_MAX < 128, "a text's length is one byte");

// A child's id: the root's, stirred with its number (splitmix64's last steps: Steele, Lea, Flood, 2014).
static uint64_t child_id(uint64_t root, uint64_t number) {
    uint64_t z = root + number * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (z ^ (z >> 31)) | 1;
}

static uint8_t *put_status(uint8_t *at, enum tw_code code) {
    if (code == TW_OK)
        return at;
    struct tw_str name = cut(tw_str_from(tw_code_name(code)));
    at = put_text(at, ATTRIBUTES, "error.type", name);
    uint8_t *status = open_message(at, STATUS);
    at = put_short(status, 2, name);
    *at++ = TAG(3, WIRE_VARINT);
    *at++ = STATUS_ERROR;
    return close_message(status, at);
}

static uint8_t *put_trace_id(uint8_t *at, const struct tw_trace *trace) {
    *at++ = TAG(1, WIRE_BYTES);
    *at++ = sizeof trace->context.trace_id;
    return put_bytes(at, trace->context.trace_id, sizeof trace->context.trace_id);
}

static uint8_t *put_times(uint8_t *at, unsigned kind, int64_t start_ns, int64_t end_ns) {
    *at++ = TAG(6, WIRE_VARINT);
    *at++ = (uint8_t)kind;
    return put_fixed64(put_fixed64(at, 7, start_ns), 8, end_ns);
}

static uint8_t *put_child(uint8_t *at, const struct tw_trace *trace, uint32_t index, uint64_t call_id,
                          int64_t wall_offset_ns) {
    const struct tw_trace_record *record = &trace->spans[index];
    // The call has an id that its children know although it is recorded after them.
    uint64_t id = record->span == TW_SPAN_CALL ? call_id : child_id(trace->span_id, 2 + (uint64_t)index);
    uint8_t *span = open_message(at, SPAN_FIELD);
    at = put_trace_id(span, trace);
    at = put_id(at, 2, id);
    at = put_id(at, 4, table[record->span].in_call ? call_id : trace->span_id);
    *at++ = TAG(5, WIRE_BYTES);
    *at++ = table[record->span].name_len;
    memcpy(at, table[record->span].name, NAME_ROOM);
    at += table[record->span].name_len;
    at = put_times(at, KIND_INTERNAL, record->start_ns + wall_offset_ns, record->end_ns + wall_offset_ns);
    if (table[record->span].amount_len)
        at = put_number_pair(at, ATTRIBUTES, table[record->span].amount, table[record->span].amount_len,
                             record->amount);
    return close_message(span, put_status(at, (enum tw_code)record->code));
}

// "GET /functions", or what is traced is no request.
static uint8_t *put_name(uint8_t *at, const struct tw_trace_root *root, struct tw_str method,
                         struct tw_str route) {
    if (!root->method)
        return put_short(at, 5, cut(tw_str_from(root->name)));
    size_t len = method.len + 1 + route.len;
    *at++ = TAG(5, WIRE_BYTES);
    uint8_t *begin = at + 1;
    uint8_t *end = put_bytes(begin, method.data, method.len);
    *end++ = ' ';
    put_bytes(end, route.data, len > TELEMETRY_TEXT_MAX ? TELEMETRY_TEXT_MAX - method.len - 1 : route.len);
    *at = (uint8_t)(len > TELEMETRY_TEXT_MAX ? TELEMETRY_TEXT_MAX : len);
    return begin + *at;
}

static uint8_t *put_root_attributes(uint8_t *at, const struct tw_trace *trace,
                                    const struct tw_trace_root *root, struct tw_str method,
                                    struct tw_str route) {
    if (root->method) {
        at = put_text(at, ATTRIBUTES, "http.request.method", method);
        at = put_text(at, ATTRIBUTES, "http.route", route);
        at = put_number(at, ATTRIBUTES, "http.response.status_code", root->status);
    }
    char digits[TW_U64_DIGITS]; // as a text: beyond an int64
    at = put_text(at, ATTRIBUTES, "tensor_wasm.tenant", tw_str_of_u64(root->tenant, digits));
    if (root->function.len)
        at = put_text(at, ATTRIBUTES, "tensor_wasm.function", root->function);
    if (root->request_id)
        at = put_text(at, ATTRIBUTES, "tensor_wasm.request_id", tw_str_from(root->request_id));
    if (trace->dropped)
        at = put_number(at, ATTRIBUTES, "tensor_wasm.spans_dropped", trace->dropped);
    return at;
}

size_t telemetry_otlp_spans(const struct tw_trace *trace, const struct tw_trace_root *root, int64_t end_ns,
                            int64_t wall_offset_ns, uint8_t ret_bytes[TELEMETRY_TRACE_BYTES_MAX]) {
    static const uint8_t none[sizeof trace->context.parent_id];
    struct tw_str method = tw_str_of(root->method, root->method ? strnlen(root->method, METHOD_MAX) : 0);
    struct tw_str route = cut(tw_str_from(root->route ? root->route : ""));
    uint8_t *span = open_message(ret_bytes, SPAN_FIELD), *at = put_trace_id(span, trace);
    at = put_id(at, 2, trace->span_id);
    if (memcmp(trace->context.parent_id, none, sizeof none) != 0)
        at = put_short(at, 4, tw_str_of((const char *)trace->context.parent_id, sizeof none));
    at = put_name(at, root, method, route);
    at = put_times(at, root->method ? KIND_SERVER : KIND_INTERNAL, trace->start_ns + wall_offset_ns,
                   end_ns + wall_offset_ns);
    at = put_root_attributes(at, trace, root, method, route);
    // A client's mistake is no error of the server's span (OpenTelemetry's conventions for HTTP).
    at = close_message(span, put_status(at, !root->method || root->status >= 500 ? root->code : TW_OK));
    uint64_t call_id = child_id(trace->span_id, 1);
    for (uint32_t i = 0; i < trace->count; i++)
        at = put_child(at, trace, i, call_id, wall_offset_ns);
    return (size_t)(at - ret_bytes);
}

// ---- what stands around them ----

static size_t varint_len(size_t value) {
    uint8_t bytes[VARINT_MAX];
    return (size_t)(put_varint(bytes, value) - bytes);
}

// service.name and such.
static size_t write_resource(const char *instance, uint8_t *begin) {
    uint8_t *inner = open_message(begin, 1);
    uint8_t *at = put_text(inner, 1, "service.name", TW_STR("tensor-wasm"));
    at = put_text(at, 1, "service.version", TW_STR(TW_VERSION));
    at = put_text(at, 1, "service.instance.id", tw_str_from(instance));
    return (size_t)(close_message(inner, at) - begin);
}

static size_t write_scope(uint8_t *begin) {
    uint8_t *inner = open_message(begin, 1);
    uint8_t *at = put_short(put_short(inner, 1, TW_STR("tensor-wasm")), 2, TW_STR(TW_VERSION));
    return (size_t)(close_message(inner, at) - begin);
}

size_t telemetry_otlp_head(const char *instance, size_t span_bytes,
                           uint8_t ret_bytes[TELEMETRY_OTLP_HEAD_MAX]) {
    enum { RESOURCE_MAX = 512, SCOPE_MAX = 128 }; // three attributes of at most 180 bytes; two short texts
    uint8_t resource[RESOURCE_MAX], scope[SCOPE_MAX];
    size_t resource_len = write_resource(instance, resource), scope_len = write_scope(scope);
    size_t scope_spans = scope_len + span_bytes;
    uint8_t *at = ret_bytes;
    *at++ = TAG(1, WIRE_BYTES);
    at = put_varint(at, resource_len + 1 + varint_len(scope_spans) + scope_spans);
    at = put_bytes(at, resource, resource_len);
    *at++ = TAG(2, WIRE_BYTES);
    at = put_varint(at, scope_spans);
    at = put_bytes(at, scope, scope_len);
    return (size_t)(at - ret_bytes);
}

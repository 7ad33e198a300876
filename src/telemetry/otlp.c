// SPDX-License-Identifier: Apache-2.0
//
// Traces as OpenTelemetry's protocol buffers (opentelemetry/proto/trace/v1/trace.proto, 1.x):
//
//     ExportTraceServiceRequest { 1: ResourceSpans { 1: Resource { 1: KeyValue … }
//                                                    2: ScopeSpans { 1: InstrumentationScope  2: Span … } } }
//     Span { 1 trace_id  2 span_id  4 parent_span_id  5 name  6 kind  7 start  8 end  9 attributes  15 status }
//
// A length whose message is still to come is written as a varint of fixed width (its upper groups may be
// zeros), so that nothing is measured before it is written.

#include "telemetry/trace.h"

static const struct {
    const char *name, *amount;
    bool in_call;
} table[TW_SPAN_COUNT] = {
#define ROOT                              false
#define CALL                              true
#define TW_SPAN(id, name, parent, amount) {name, amount, parent},
#include "telemetry/spans.def"
#undef TW_SPAN
#undef CALL
#undef ROOT
};

// ---- protocol buffers ----

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };
enum { LENGTH_MAX = (1 << 14) - 1 }; // of a nested message here
_Static_assert((int)TELEMETRY_TRACE_BYTES_MAX <= (int)LENGTH_MAX,
               "every nested length fits two groups of seven bits");

// Appends into a buffer whose size the callers' bounds guarantee; what would not fit is left out whole.
struct writer {
    uint8_t *data;
    size_t len, max;
};

static bool has_room(const struct writer *out, size_t len) {
    return len <= out->max - out->len;
}

static void put_byte(struct writer *out, uint8_t byte) {
    if (has_room(out, 1))
        out->data[out->len++] = byte;
}

static void put_varint(struct writer *out, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        put_byte(out, (uint8_t)(value | 0x80));
    put_byte(out, (uint8_t)value);
}

static void put_tag(struct writer *out, unsigned field, unsigned wire) {
    put_varint(out, field << 3 | wire);
}

static void put_bytes(struct writer *out, unsigned field, const void *data, size_t len) {
    put_tag(out, field, WIRE_BYTES);
    put_varint(out, len);
    if (!has_room(out, len))
        return;
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void put_text(struct writer *out, unsigned field, struct tw_str text) {
    put_bytes(out, field, text.data, text.len < TELEMETRY_TEXT_MAX ? text.len : TELEMETRY_TEXT_MAX);
}

static void put_number(struct writer *out, unsigned field, uint64_t value) {
    put_tag(out, field, WIRE_VARINT);
    put_varint(out, value);
}

static void put_fixed64(struct writer *out, unsigned field, uint64_t value) {
    put_tag(out, field, WIRE_FIXED64);
    for (int i = 0; i < 8; i++, value >>= 8)
        put_byte(out, (uint8_t)value);
}

// Opens a nested message; the result goes to `close_message`.
static size_t open_message(struct writer *out, unsigned field) {
    put_tag(out, field, WIRE_BYTES);
    put_byte(out, 0x80);
    put_byte(out, 0);
    return out->len;
}

static void close_message(struct writer *out, size_t at) {
    size_t len = out->len - at;
    out->data[at - 2] = (uint8_t)(len | 0x80);
    out->data[at - 1] = (uint8_t)(len >> 7);
}

// ---- attributes: KeyValue { 1 key  2 AnyValue { 1 string  3 int } } ----

static void put_text_attribute(struct writer *out, unsigned field, const char *key, struct tw_str value) {
    size_t pair = open_message(out, field);
    put_text(out, 1, tw_str_from(key));
    size_t any = open_message(out, 2);
    put_text(out, 1, value);
    close_message(out, any);
    close_message(out, pair);
}

static void put_number_attribute(struct writer *out, unsigned field, const char *key, int64_t value) {
    size_t pair = open_message(out, field);
    put_text(out, 1, tw_str_from(key));
    size_t any = open_message(out, 2);
    put_number(out, 3, (uint64_t)value);
    close_message(out, any);
    close_message(out, pair);
}

// ---- spans ----

enum { SPAN_FIELD = 2 }; // of ScopeSpans
enum { ATTRIBUTES = 9, STATUS = 15 };
enum { KIND_INTERNAL = 1, KIND_SERVER = 2 };
enum { STATUS_ERROR = 2 };

// A child's id: the root's, stirred with its number (splitmix64's last steps: Steele, Lea, Flood, 2014).
static uint64_t child_id(uint64_t root, uint64_t number) {
    uint64_t z = root + number * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (z ^ (z >> 31)) | 1;
}

static void put_id(struct writer *out, unsigned field, uint64_t id) {
    uint8_t bytes[8];
    for (int i = 7; i >= 0; i--, id >>= 8)
        bytes[i] = (uint8_t)id;
    put_bytes(out, field, bytes, sizeof bytes);
}

static void put_status(struct writer *out, enum tw_code code) {
    if (code == TW_OK)
        return;
    put_text_attribute(out, ATTRIBUTES, "error.type", tw_str_from(tw_code_name(code)));
    size_t status = open_message(out, STATUS);
    put_text(out, 2, tw_str_from(tw_code_name(code)));
    put_number(out, 3, STATUS_ERROR);
    close_message(out, status);
}

static uint64_t id_of(const struct tw_trace *trace, uint32_t index) {
    // The call has an id that its children know although it is recorded after them.
    bool is_call = trace->spans[index].span == TW_SPAN_CALL;
    return child_id(trace->span_id, is_call ? 1 : 2 + (uint64_t)index);
}

static void put_child(struct writer *out, const struct tw_trace *trace, uint32_t index,
                      int64_t wall_offset_ns) {
    const struct tw_trace_record *record = &trace->spans[index];
    size_t span = open_message(out, SPAN_FIELD);
    put_bytes(out, 1, trace->context.trace_id, sizeof trace->context.trace_id);
    put_id(out, 2, id_of(trace, index));
    put_id(out, 4, table[record->span].in_call ? child_id(trace->span_id, 1) : trace->span_id);
    put_text(out, 5, tw_str_from(table[record->span].name));
    put_number(out, 6, KIND_INTERNAL);
    put_fixed64(out, 7, (uint64_t)(record->start_ns + wall_offset_ns));
    put_fixed64(out, 8, (uint64_t)(record->end_ns + wall_offset_ns));
    if (table[record->span].amount[0])
        put_number_attribute(out, ATTRIBUTES, table[record->span].amount, record->amount);
    put_status(out, (enum tw_code)record->code);
    close_message(out, span);
}

static void put_root_attributes(struct writer *out, const struct tw_trace *trace,
                                const struct tw_trace_root *root) {
    char tenant[21];
    int tenant_len = snprintf(tenant, sizeof tenant, "%" PRIu64, root->tenant); // beyond an int64
    if (root->method) {
        put_text_attribute(out, ATTRIBUTES, "http.request.method", tw_str_from(root->method));
        put_text_attribute(out, ATTRIBUTES, "http.route", tw_str_from(root->route));
        put_number_attribute(out, ATTRIBUTES, "http.response.status_code", root->status);
    }
    put_text_attribute(out, ATTRIBUTES, "tensor_wasm.tenant", tw_str_of(tenant, (size_t)tenant_len));
    if (root->function.len)
        put_text_attribute(out, ATTRIBUTES, "tensor_wasm.function", root->function);
    if (root->request_id)
        put_text_attribute(out, ATTRIBUTES, "tensor_wasm.request_id", tw_str_from(root->request_id));
    if (trace->dropped)
        put_number_attribute(out, ATTRIBUTES, "tensor_wasm.spans_dropped", trace->dropped);
}

size_t telemetry_otlp_spans(const struct tw_trace *trace, const struct tw_trace_root *root, int64_t end_ns,
                            int64_t wall_offset_ns, uint8_t ret_bytes[TELEMETRY_TRACE_BYTES_MAX]) {
    static const uint8_t none[sizeof trace->context.parent_id];
    struct writer out = {.data = ret_bytes, .max = TELEMETRY_TRACE_BYTES_MAX};
    size_t span = open_message(&out, SPAN_FIELD);
    put_bytes(&out, 1, trace->context.trace_id, sizeof trace->context.trace_id);
    put_id(&out, 2, trace->span_id);
    if (memcmp(trace->context.parent_id, none, sizeof none) != 0)
        put_bytes(&out, 4, trace->context.parent_id, sizeof trace->context.parent_id);
    put_text(&out, 5, tw_str_from(root->name));
    put_number(&out, 6, root->method ? KIND_SERVER : KIND_INTERNAL);
    put_fixed64(&out, 7, (uint64_t)(trace->start_ns + wall_offset_ns));
    put_fixed64(&out, 8, (uint64_t)(end_ns + wall_offset_ns));
    put_root_attributes(&out, trace, root);
    // A client's mistake is no error of the server's span (OpenTelemetry's conventions for HTTP).
    put_status(&out, !root->method || root->status >= 500 ? root->code : TW_OK);
    close_message(&out, span);
    for (uint32_t i = 0; i < trace->count; i++)
        put_child(&out, trace, i, wall_offset_ns);
    return out.len;
}

// ---- what stands around them ----

static size_t varint_len(size_t value) {
    size_t len = 1;
    while (value >>= 7)
        len++;
    return len;
}

size_t telemetry_otlp_head(const char *instance, size_t span_bytes,
                           uint8_t ret_bytes[TELEMETRY_OTLP_HEAD_MAX]) {
    uint8_t resource_bytes[512], scope_bytes[128];
    struct writer resource = {.data = resource_bytes, .max = sizeof resource_bytes};
    size_t inner = open_message(&resource, 1);
    put_text_attribute(&resource, 1, "service.name", TW_STR("tensor-wasm"));
    put_text_attribute(&resource, 1, "service.version", TW_STR(TW_VERSION));
    put_text_attribute(&resource, 1, "service.instance.id", tw_str_from(instance));
    close_message(&resource, inner);
    struct writer scope = {.data = scope_bytes, .max = sizeof scope_bytes};
    inner = open_message(&scope, 1);
    put_text(&scope, 1, TW_STR("tensor-wasm"));
    put_text(&scope, 2, TW_STR(TW_VERSION));
    close_message(&scope, inner);

    struct writer out = {.data = ret_bytes, .max = TELEMETRY_OTLP_HEAD_MAX};
    size_t scope_spans = scope.len + span_bytes;
    put_tag(&out, 1, WIRE_BYTES);
    put_varint(&out, resource.len + 1 + varint_len(scope_spans) + scope_spans);
    memcpy(out.data + out.len, resource_bytes, resource.len);
    out.len += resource.len;
    put_tag(&out, 2, WIRE_BYTES);
    put_varint(&out, scope_spans);
    memcpy(out.data + out.len, scope_bytes, scope.len);
    return out.len + scope.len;
}

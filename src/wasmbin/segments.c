// SPDX-License-Identifier: Apache-2.0
//
// Element and data segments (binary format, chapters 5.5.12 and 5.5.14 of the specification). Active data segments get
// their offsets worked out; one that would not fit its memory could never be instantiated, so it is refused here.

#include "wasmbin/internal.h"

enum { PAGE_BYTES = 65'536 };

// ---- elements ---------------------------------------------------------------------------------------------
enum { ELEM_NOT_ACTIVE = 1, ELEM_EXPLICIT = 2, ELEM_EXPRESSIONS = 4 }; // bits of a segment's flags

static bool read_elem_function(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    const uint8_t *start = reader->at;
    uint32_t func;
    if (!wasmbin_read_u32(reader, "a function index", &func) ||
        !wasmbin_check_index(reader, start, "function", func, parser->wasm->func_count))
        return false;
    return wasmbin_declare(parser, func);
}

// elemkind (0: functions) or reftype; the short forms of flags 0 and 4 have none
static bool read_elem_type(struct wasmbin_reader *reader, uint32_t flags) {
    uint8_t type;
    if (!(flags & (ELEM_NOT_ACTIVE | ELEM_EXPLICIT)))
        return true;
    if (flags & ELEM_EXPRESSIONS)
        return wasmbin_read_reftype(reader, &type);
    if (!wasmbin_read_byte(reader, "the kind of an element segment", &type))
        return false;
    return type == 0 || wasmbin_bad(reader, reader->at - 1, "unknown kind of element segment 0x%02x", type);
}

// elem ::= flags [table] [offset:expr] [elemkind | reftype] (vec(funcidx) | vec(expr))
static bool read_elem(struct wasmbin_parser *parser, struct wasmbin_reader *reader, uint32_t *ret_len) {
    const uint8_t *start = reader->at;
    uint32_t flags, table = 0, count;
    struct wasmbin_constant constant;
    if (!wasmbin_read_u32(reader, "the flags of an element segment", &flags))
        return false;
    if (flags > 7)
        return wasmbin_bad(reader, start, "unknown flags %u of an element segment", flags);
    bool is_active = !(flags & ELEM_NOT_ACTIVE);
    if (is_active && (flags & ELEM_EXPLICIT) && !wasmbin_read_u32(reader, "a table index", &table))
        return false;
    if (is_active && (!wasmbin_check_index(reader, start, "table", table, parser->wasm->table_count) ||
                      !wasmbin_read_constant(parser, reader, &constant)))
        return false;
    if (!read_elem_type(reader, flags) || !wasmbin_read_count(reader, "elements", UINT32_MAX, &count))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (flags & ELEM_EXPRESSIONS ? !wasmbin_read_constant(parser, reader, &constant)
                                     : !read_elem_function(parser, reader))
            return false;
    }
    *ret_len = count;
    return true;
}

bool wasmbin_parse_elements(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    uint32_t count;
    if (!wasmbin_read_count(reader, "element segments", WASMBIN_MAX_SEGMENTS, &count))
        return false;
    parser->module->elem_lens = WASMBIN_ARRAY(parser->arena, uint32_t, count, parser->err);
    if (!parser->module->elem_lens)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!read_elem(parser, reader, &parser->module->elem_lens[i]))
            return false;
    parser->module->elem_count = count;
    return true;
}

// ---- data -------------------------------------------------------------------------------------------------
bool wasmbin_parse_data_count(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct wasmbin_module *module = parser->module;
    if (!wasmbin_read_u32(reader, "the count of data segments", &module->declared_data))
        return false;
    if (module->declared_data > WASMBIN_MAX_SEGMENTS)
        return wasmbin_too_many(reader, "data segments", module->declared_data, WASMBIN_MAX_SEGMENTS);
    module->has_data_count = true;
    module->data_used = WASMBIN_ARRAY(parser->arena, uint8_t, module->declared_data, parser->err);
    return module->data_used != NULL;
}

// The bytes of an active segment are all within the memory's first size, unless that is not known here.
static bool place_data(struct wasmbin_parser *parser, const struct wasmbin_reader *reader,
                       const uint8_t *start, const struct wasmbin_constant *offset, struct tw_wasm_data *data,
                       struct wasmbin_segment *segment) {
    const struct tw_wasm *wasm = parser->wasm;
    if (offset->type != TW_WASM_I32)
        return wasmbin_bad(reader, start, "the offset of a data segment is not an i32");
    segment->is_kept = data->memory < wasm->imported_memories || !offset->is_known;
    if (segment->is_kept)
        return true;
    uint64_t size = wasm->memories[data->memory].min * PAGE_BYTES;
    if (offset->value + (uint64_t)data->bytes.len > size)
        return wasmbin_bad(reader, start,
                           "a data segment of %zu bytes at offset %" PRIu64
                           " does not fit memory %u, which begins with %" PRIu64
                           " bytes; raise the memory's minimum",
                           data->bytes.len, offset->value, data->memory, size);
    data->offset = offset->value;
    data->is_active = true;
    return true;
}

// data ::= 0 offset:expr bytes | 1 bytes | 2 memory offset:expr bytes
static bool read_data(struct wasmbin_parser *parser, struct wasmbin_reader *reader, struct tw_wasm_data *data,
                      struct wasmbin_segment *segment) {
    const uint8_t *start = reader->at;
    struct wasmbin_constant offset = {};
    uint32_t flags, len;
    if (!wasmbin_read_u32(reader, "the flags of a data segment", &flags))
        return false;
    if (flags > 2)
        return wasmbin_bad(reader, start, "unknown flags %u of a data segment", flags);
    if (flags == 2 && !wasmbin_read_u32(reader, "a memory index", &data->memory))
        return false;
    if (flags != 1 &&
        (!wasmbin_check_index(reader, start, "memory", data->memory, parser->wasm->memory_count) ||
         !wasmbin_read_constant(parser, reader, &offset)))
        return false;
    if (!wasmbin_read_u32(reader, "the length of a data segment", &len) ||
        !wasmbin_read_bytes(reader, "a data segment", len, &data->bytes))
        return false;
    segment->whole = tw_span_of(start, (size_t)(reader->at - start));
    return flags == 1 || place_data(parser, reader, start, &offset, data, segment);
}

// A passive segment that code may drop or copy from is state.
static void note_use(struct wasmbin_parser *parser, uint32_t index) {
    const struct wasmbin_module *module = parser->module;
    bool is_passive = !parser->wasm->data[index].is_active && !module->segments[index].is_kept;
    if (is_passive && module->has_data_count && module->data_used[index])
        parser->wasm->uses_data_drop = true;
}

bool wasmbin_parse_data(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    struct wasmbin_module *module = parser->module;
    const uint8_t *start = reader->at;
    uint32_t count;
    if (!wasmbin_read_count(reader, "data segments", WASMBIN_MAX_SEGMENTS, &count))
        return false;
    if (module->has_data_count && module->declared_data != count)
        return wasmbin_bad(reader, start, "%u data segments, the data count section says %u", count,
                           module->declared_data);
    wasm->data = WASMBIN_ARRAY(parser->arena, struct tw_wasm_data, count, parser->err);
    module->segments = WASMBIN_ARRAY(parser->arena, struct wasmbin_segment, count, parser->err);
    if (!wasm->data || !module->segments)
        return false;
    for (; wasm->data_count < count; wasm->data_count++) {
        uint32_t i = wasm->data_count;
        if (!read_data(parser, reader, &wasm->data[i], &module->segments[i]))
            return false;
        note_use(parser, i);
    }
    return true;
}

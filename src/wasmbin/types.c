// SPDX-License-Identifier: Apache-2.0
//
// The type section: functions, and the structures and arrays of garbage-collected objects. Groups and subtypes are read
// for their boundaries and for how many types there are; what they mean is the engine's to check (binary format,
// chapter 5.3 of the specification).
//
//     rectype  ::= 0x4e vec(subtype) | subtype
//     subtype  ::= (0x50 | 0x4f) vec(typeidx) comptype | comptype
//     comptype ::= 0x5e fieldtype | 0x5f vec(fieldtype) | 0x60 resulttype resulttype

#include "wasmbin/internal.h"

// Confined. The section is read twice: first to count the types in its groups, then to keep them.
struct type_reader {
    struct wasmbin_parser *parser;
    struct wasmbin_reader *reader;
    struct tw_wasm_functype *types; // NULL: only count
    uint32_t *arrays;
    uint32_t count;
};

// ---- functions --------------------------------------------------------------------------------------------
// A byte a type: those of the module where they are such, else a list of our own.
static bool keep_result_type(struct type_reader *types, const uint8_t *start, uint32_t count,
                             const uint8_t **ret_types) {
    struct wasmbin_reader again = *types->reader;
    *ret_types = start;
    if ((size_t)(types->reader->at - start) == count) {
        bool plain = true;
        for (uint32_t i = 0; i < count; i++)
            plain = plain && (wasmbin_is_numeric(start[i]) || start[i] == TW_WASM_FUNCREF ||
                              start[i] == TW_WASM_EXTERNREF);
        if (plain)
            return true;
    }
    uint8_t *own = WASMBIN_ARRAY(types->parser->arena, uint8_t, count, types->parser->err);
    if (!own)
        return false;
    again.at = start;
    for (uint32_t i = 0; i < count; i++)
        if (!wasmbin_read_valtype(&again, &own[i]))
            return false;
    *ret_types = own;
    return true;
}

// resulttype ::= vec(valtype)
static bool read_result_type(struct type_reader *types, const char *what, uint32_t max,
                             const uint8_t **ret_types, uint32_t *ret_count) {
    uint8_t type;
    if (!wasmbin_read_count(types->reader, what, max, ret_count))
        return false;
    const uint8_t *start = types->reader->at;
    for (uint32_t i = 0; i < *ret_count; i++)
        if (!wasmbin_read_valtype(types->reader, &type))
            return false;
    return !types->types || keep_result_type(types, start, *ret_count, ret_types);
}

static bool read_functype(struct type_reader *types) {
    struct tw_wasm_functype type = {};
    if (!read_result_type(types, "parameters", WASMBIN_MAX_PARAMS, &type.params, &type.param_count) ||
        !read_result_type(types, "results", WASMBIN_MAX_RESULTS, &type.results, &type.result_count))
        return false;
    if (types->types)
        types->types[types->count] = type;
    return true;
}

// ---- structures and arrays --------------------------------------------------------------------------------
// fieldtype ::= storagetype (0 | 1)
static bool read_field(struct type_reader *types) {
    uint8_t is_mutable;
    if (!wasmbin_read_storage(types->reader) ||
        !wasmbin_read_byte(types->reader, "a field's mutability", &is_mutable))
        return false;
    return is_mutable <= 1 || wasmbin_bad(types->reader, types->reader->at - 1,
                                          "expected 0 or 1 for a field's mutability, found %u", is_mutable);
}

static bool read_struct(struct type_reader *types) {
    uint32_t count;
    if (!wasmbin_read_count(types->reader, "fields", WASMBIN_MAX_FIELDS, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!read_field(types))
            return false;
    return true;
}

static bool read_composite(struct type_reader *types) {
    struct wasmbin_reader *reader = types->reader;
    uint8_t form;
    if (!wasmbin_read_byte(reader, "a type", &form))
        return false;
    switch (form) {
    case 0x60:
        return read_functype(types);
    case 0x5e:
        types->parser->wasm->has_objects = true;
        if (types->types)
            types->arrays[types->count] = (uint32_t)(reader->at - reader->base);
        return read_field(types);
    case 0x5f:
        types->parser->wasm->has_objects = true;
        return read_struct(types);
    case 0x5d:
        return wasmbin_refused(reader, reader->at - 1, "a continuation type", "stack switching is");
    case 0x4c:
    case 0x4d:
        return wasmbin_refused(reader, reader->at - 1, "a described type", "custom descriptors are");
    case 0x65:
        return wasmbin_refused(reader, reader->at - 1, "a shared type", "threads are");
    default:
        return wasmbin_bad(reader, reader->at - 1,
                           "expected the type of a function, a structure or an array, found 0x%02x", form);
    }
}

// ---- groups -----------------------------------------------------------------------------------------------
static bool read_subtype(struct type_reader *types) {
    struct wasmbin_reader *reader = types->reader;
    uint32_t supertypes, index;
    if (types->count == WASMBIN_MAX_TYPES)
        return wasmbin_too_many(reader, "types", WASMBIN_MAX_TYPES + 1, WASMBIN_MAX_TYPES);
    if (reader->at < reader->end && (*reader->at == 0x50 || *reader->at == 0x4f)) {
        reader->at++;
        if (!wasmbin_read_count(reader, "supertypes", 1, &supertypes))
            return false;
        if (supertypes && !wasmbin_read_u32(reader, "a supertype", &index))
            return false;
    }
    if (!read_composite(types))
        return false;
    types->count++;
    return true;
}

static bool read_group(struct type_reader *types) {
    struct wasmbin_reader *reader = types->reader;
    uint32_t count = 1;
    if (reader->at < reader->end && *reader->at == 0x4e) {
        reader->at++;
        if (!wasmbin_read_count(reader, "types in a group", WASMBIN_MAX_TYPES, &count))
            return false;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!read_subtype(types))
            return false;
    return true;
}

static bool read_all(struct type_reader *types) {
    uint32_t groups;
    if (!wasmbin_read_count(types->reader, "types", WASMBIN_MAX_TYPES, &groups))
        return false;
    for (uint32_t i = 0; i < groups; i++)
        if (!read_group(types))
            return false;
    return true;
}

bool wasmbin_parse_types(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct wasmbin_reader first = *reader;
    struct type_reader counting = {.parser = parser, .reader = &first};
    if (!read_all(&counting))
        return false;
    struct type_reader keeping = {.parser = parser, .reader = reader};
    keeping.types = WASMBIN_ARRAY(parser->arena, struct tw_wasm_functype, counting.count, parser->err);
    keeping.arrays = WASMBIN_ARRAY(parser->arena, uint32_t, counting.count, parser->err);
    if (!keeping.types || !keeping.arrays || !read_all(&keeping))
        return false;
    parser->wasm->types = keeping.types;
    parser->module->arrays = keeping.arrays;
    parser->wasm->type_count = keeping.count;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// The sections that declare things: imports, functions, tables, memories, tags, globals, exports, start
// (binary format, chapter 5.5 of the specification). Index spaces begin with the imports, so their arrays are
// made when the imports are read and extended by the section that defines the rest.

#include "wasmbin/internal.h"

// ---- what imports and definitions share -------------------------------------------------------------------
// limits ::= flags min:u32 [max:u32]; the flags: 1 there is a maximum, 2 shared, 4 of 64 bits, 8 another page
// size
static bool read_limits(struct wasmbin_reader *reader, const char *what, uint32_t most,
                        struct tw_wasm_limits *ret_limits) {
    const uint8_t *start = reader->at;
    uint8_t flags;
    uint32_t min, max = UINT32_MAX;
    if (!wasmbin_read_byte(reader, "limits", &flags))
        return false;
    if (flags > 0x0f)
        return wasmbin_bad(reader, start, "unknown limit flags 0x%02x", flags);
    if (flags & 8)
        return wasmbin_refused(reader, start, what, "custom page sizes are");
    if (flags & 4)
        return wasmbin_refused(reader, start, what, "64-bit memories and tables (memory64) are");
    if (flags & 2)
        return wasmbin_refused(reader, start, what, "threads and shared memories are");
    if (!wasmbin_read_u32(reader, "a minimum", &min) ||
        ((flags & 1) && !wasmbin_read_u32(reader, "a maximum", &max)))
        return false;
    if (max < min)
        return wasmbin_bad(reader, start, "%s: the maximum %u is below the minimum %u", what, max, min);
    if (min > most)
        return wasmbin_too_many(reader, what, min, most);
    *ret_limits = (struct tw_wasm_limits){.min = min, .max = flags & 1 ? max : UINT64_MAX};
    return true;
}

static bool read_memory(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    const uint8_t *start = reader->at;
    if (wasm->memory_count == WASMBIN_MAX_MEMORIES)
        return wasmbin_too_many(reader, "memories", WASMBIN_MAX_MEMORIES + 1, WASMBIN_MAX_MEMORIES);
    struct tw_wasm_limits *limits = &wasm->memories[wasm->memory_count];
    if (!read_limits(reader, "pages of memory at the start", WASMBIN_MAX_PAGES, limits))
        return false;
    if (limits->max != UINT64_MAX && limits->max > WASMBIN_MAX_PAGES)
        return wasmbin_bad(reader, start, "a memory of at most %" PRIu64 " pages; 32 bits address %d",
                           limits->max, WASMBIN_MAX_PAGES);
    wasm->memory_count++;
    return true;
}

// tabletype ::= reftype limits
static bool read_table(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    if (wasm->table_count == WASMBIN_MAX_TABLES)
        return wasmbin_too_many(reader, "tables", WASMBIN_MAX_TABLES + 1, WASMBIN_MAX_TABLES);
    uint8_t type;
    if (!wasmbin_read_reftype(reader, &type) ||
        !read_limits(reader, "table elements at the start", WASMBIN_MAX_TABLE_ELEMENTS,
                     &wasm->tables[wasm->table_count]))
        return false;
    wasm->table_count++;
    return true;
}

// globaltype ::= valtype (0 | 1)
static bool read_global_type(struct wasmbin_reader *reader, struct tw_wasm_global *global) {
    uint8_t type, is_mutable;
    if (!wasmbin_read_valtype(reader, &type) ||
        !wasmbin_read_byte(reader, "a global's mutability", &is_mutable))
        return false;
    if (is_mutable & 2)
        return wasmbin_refused(reader, reader->at - 1, "a shared global", "threads are");
    if (is_mutable > 1)
        return wasmbin_bad(reader, reader->at - 1, "expected 0 or 1 for a global's mutability, found %u",
                           is_mutable);
    *global = (struct tw_wasm_global){.type = type, .is_mutable = is_mutable};
    return true;
}

// tagtype ::= 0 typeidx
static bool read_tag(struct wasmbin_parser *parser, struct wasmbin_reader *reader, uint32_t *ret_type) {
    const uint8_t *start = reader->at;
    uint8_t kind;
    if (!wasmbin_read_byte(reader, "a tag", &kind))
        return false;
    if (kind != 0)
        return wasmbin_bad(reader, start, "unknown kind of tag 0x%02x", kind);
    if (!wasmbin_read_u32(reader, "a type index", ret_type) ||
        !wasmbin_check_index(reader, start, "type", *ret_type, parser->wasm->type_count))
        return false;
    parser->wasm->tag_count++;
    return true;
}

static bool add_function(struct wasmbin_parser *parser, struct wasmbin_reader *reader, uint32_t *ret_type) {
    struct tw_wasm *wasm = parser->wasm;
    const uint8_t *start = reader->at;
    if (!wasmbin_read_u32(reader, "a type index", ret_type) ||
        !wasmbin_check_index(reader, start, "type", *ret_type, wasm->type_count))
        return false;
    wasm->func_types[wasm->func_count++] = *ret_type;
    return true;
}

// ---- imports ----------------------------------------------------------------------------------------------
// Room for `count` imports of any kind, and for all memories and tables that there may be.
static bool make_spaces(struct wasmbin_parser *parser, uint32_t count) {
    struct tw_wasm *wasm = parser->wasm;
    wasm->imports = WASMBIN_ARRAY(parser->arena, struct tw_wasm_import, count, parser->err);
    wasm->func_types = WASMBIN_ARRAY(parser->arena, uint32_t, count, parser->err);
    wasm->globals = WASMBIN_ARRAY(parser->arena, struct tw_wasm_global, count, parser->err);
    parser->module->globals = WASMBIN_ARRAY(parser->arena, struct wasmbin_constant, count, parser->err);
    return wasm->imports && wasm->func_types && wasm->globals && parser->module->globals;
}

static bool import_global(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    struct tw_wasm_global *global = &wasm->globals[wasm->global_count];
    if (!read_global_type(reader, global))
        return false;
    parser->module->globals[wasm->global_count++].type = global->type; // its value is not known
    return true;
}

static bool read_import(struct wasmbin_parser *parser, struct wasmbin_reader *reader,
                        struct tw_wasm_import *import) {
    uint8_t kind;
    if (!wasmbin_read_name(reader, "the module of an import", WASMBIN_MAX_NAME_BYTES, &import->module) ||
        !wasmbin_read_name(reader, "the name of an import", WASMBIN_MAX_NAME_BYTES, &import->name) ||
        !wasmbin_read_byte(reader, "the kind of an import", &kind))
        return false;
    if (kind > TW_WASM_TAG)
        return wasmbin_bad(reader, reader->at - 1, "unknown kind of import 0x%02x", kind);
    import->kind = kind;
    switch (import->kind) {
    case TW_WASM_FUNC:
        return add_function(parser, reader, &import->type);
    case TW_WASM_TABLE:
        return read_table(parser, reader);
    case TW_WASM_MEMORY:
        return read_memory(parser, reader);
    case TW_WASM_GLOBAL:
        return import_global(parser, reader);
    case TW_WASM_TAG:
        return read_tag(parser, reader, &import->type);
    }
    return false;
}

bool wasmbin_parse_imports(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    uint32_t count;
    if (!wasmbin_read_count(reader, "imports", WASMBIN_MAX_IMPORTS, &count) || !make_spaces(parser, count))
        return false;
    for (; wasm->import_count < count; wasm->import_count++)
        if (!read_import(parser, reader, &wasm->imports[wasm->import_count]))
            return false;
    wasm->imported_funcs = wasm->func_count;
    wasm->imported_tables = wasm->table_count;
    wasm->imported_memories = wasm->memory_count;
    wasm->imported_globals = wasm->global_count;
    wasm->imported_tags = wasm->tag_count;
    return true;
}

// ---- functions, tables, memories, globals -----------------------------------------------------------------
bool wasmbin_parse_functions(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    uint32_t count, type;
    if (!wasmbin_read_count(reader, "functions", WASMBIN_MAX_FUNCTIONS, &count))
        return false;
    uint32_t *types = WASMBIN_ARRAY(parser->arena, uint32_t, wasm->func_count + count, parser->err);
    if (!types)
        return false;
    if (wasm->func_count)
        memcpy(types, wasm->func_types, wasm->func_count * sizeof *types);
    wasm->func_types = types;
    parser->defined_funcs = count;
    for (uint32_t i = 0; i < count; i++)
        if (!add_function(parser, reader, &type))
            return false;
    return true;
}

// table ::= tabletype | 0x40 0x00 tabletype expr
static bool define_table(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    const uint8_t *start = reader->at;
    struct wasmbin_constant constant;
    if (start == reader->end || *start != 0x40)
        return read_table(parser, reader);
    uint8_t zero = 0;
    reader->at++;
    if (!wasmbin_read_byte(reader, "a table", &zero))
        return false;
    if (zero)
        return wasmbin_bad(reader, start,
                           "expected 0x40 0x00 before a table with an initial value, found 0x40 0x%02x",
                           zero);
    return read_table(parser, reader) && wasmbin_read_constant(parser, reader, &constant);
}

bool wasmbin_parse_tables(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    uint32_t count;
    if (!wasmbin_read_count(reader, "tables", WASMBIN_MAX_TABLES, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!define_table(parser, reader))
            return false;
    return true;
}

bool wasmbin_parse_memories(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    uint32_t count;
    if (!wasmbin_read_count(reader, "memories", WASMBIN_MAX_MEMORIES, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!read_memory(parser, reader))
            return false;
    return true;
}

bool wasmbin_parse_tags(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    uint32_t count, type;
    if (!wasmbin_read_count(reader, "tags", WASMBIN_MAX_TAGS, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!read_tag(parser, reader, &type))
            return false;
    return true;
}

// A reference in a global cannot be set back from outside, just as a table cannot.
static void note_global(struct tw_wasm *wasm, const struct tw_wasm_global *global) {
    if (global->is_mutable && !wasmbin_is_numeric(global->type))
        wasm->mutates_tables = true;
}

bool wasmbin_parse_globals(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    struct wasmbin_module *module = parser->module;
    uint32_t count;
    if (!wasmbin_read_count(reader, "globals", WASMBIN_MAX_GLOBALS, &count))
        return false;
    uint32_t total = wasm->global_count + count;
    struct tw_wasm_global *globals = WASMBIN_ARRAY(parser->arena, struct tw_wasm_global, total, parser->err);
    struct wasmbin_constant *values =
        WASMBIN_ARRAY(parser->arena, struct wasmbin_constant, total, parser->err);
    if (!globals || !values)
        return false;
    for (uint32_t i = 0; i < wasm->global_count; i++) {
        globals[i] = wasm->globals[i];
        values[i] = module->globals[i];
    }
    wasm->globals = globals;
    module->globals = values;
    for (uint32_t i = 0; i < count; i++) {
        // A global sees only those before it, so it is counted after its own value.
        uint32_t index = wasm->global_count;
        if (!read_global_type(reader, &globals[index]) ||
            !wasmbin_read_constant(parser, reader, &values[index]))
            return false;
        globals[index].is_known = values[index].is_known && values[index].type == globals[index].type;
        globals[index].value = values[index].value;
        note_global(wasm, &globals[index]);
        wasm->global_count++;
    }
    return true;
}

// What code may take a reference of is told before the code: the rewrite's own exports must not add to it.
bool wasmbin_declare(struct wasmbin_parser *parser, uint32_t func) {
    struct wasmbin_module *module = parser->module;
    if (!module->declared)
        module->declared = WASMBIN_ARRAY(parser->arena, uint8_t, parser->wasm->func_count, parser->err);
    if (module->declared)
        module->declared[func] = 1;
    return module->declared != NULL;
}

// ---- exports, start ---------------------------------------------------------------------------------------
static uint32_t space_size(const struct tw_wasm *wasm, enum tw_wasm_kind kind) {
    switch (kind) {
    case TW_WASM_FUNC:
        return wasm->func_count;
    case TW_WASM_TABLE:
        return wasm->table_count;
    case TW_WASM_MEMORY:
        return wasm->memory_count;
    case TW_WASM_GLOBAL:
        return wasm->global_count;
    case TW_WASM_TAG:
        return wasm->tag_count;
    }
    return 0;
}

// export ::= name kind index
static bool read_export(struct wasmbin_parser *parser, struct wasmbin_reader *reader,
                        struct tw_wasm_export *export) {
    static const char *const names[] = {"exported function", "exported table", "exported memory",
                                        "exported global", "exported tag"};
    const uint8_t *start = reader->at;
    uint8_t kind;
    if (!wasmbin_read_name(reader, "the name of an export", WASMBIN_MAX_NAME_BYTES, &export->name) ||
        !wasmbin_read_byte(reader, "the kind of an export", &kind) ||
        !wasmbin_read_u32(reader, "the index of an export", &export->index))
        return false;
    if (kind > TW_WASM_TAG)
        return wasmbin_bad(reader, start, "unknown kind of export 0x%02x", kind);
    export->kind = kind;
    if (!wasmbin_check_index(reader, start, names[kind], export->index,
                             space_size(parser->wasm, export->kind)))
        return false;
    return export->kind != TW_WASM_FUNC || wasmbin_declare(parser, export->index);
}

bool wasmbin_parse_exports(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    // What the rewrite adds must be readable again.
    static const uint32_t most =
        WASMBIN_MAX_EXPORTS + WASMBIN_MAX_GLOBALS + WASMBIN_MAX_TABLES + WASMBIN_MAX_MEMORIES + 2;
    struct tw_wasm *wasm = parser->wasm;
    struct wasmbin_module *module = parser->module;
    uint32_t count, own = 0;
    if (!wasmbin_read_count(reader, "exports", most, &count))
        return false;
    wasm->exports = WASMBIN_ARRAY(parser->arena, struct tw_wasm_export, count, parser->err);
    if (!wasm->exports)
        return false;
    module->export_items_count = count;
    module->export_items = tw_span_of(reader->at, (size_t)(reader->end - reader->at));
    for (; wasm->export_count < count; wasm->export_count++) {
        struct tw_wasm_export *export = &wasm->exports[wasm->export_count];
        if (!read_export(parser, reader, export))
            return false;
        own += !tw_str_starts(export->name, TW_STR(TW_WASM_RESERVED));
        if (own > WASMBIN_MAX_EXPORTS)
            return wasmbin_too_many(reader, "exports", count, WASMBIN_MAX_EXPORTS);
    }
    return true;
}

bool wasmbin_parse_start(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct tw_wasm *wasm = parser->wasm;
    const uint8_t *start = reader->at;
    if (!wasmbin_read_u32(reader, "the start function", &wasm->start) ||
        !wasmbin_check_index(reader, start, "start function", wasm->start, wasm->func_count))
        return false;
    // The rewrite makes an export of it, which may have any type.
    const struct tw_wasm_functype *type = &wasm->types[wasm->func_types[wasm->start]];
    if (type->param_count || type->result_count)
        return wasmbin_bad(reader, start,
                           "the start function %u has %u parameters and %u results, it may have none",
                           wasm->start, type->param_count, type->result_count);
    wasm->has_start = true;
    return true;
}

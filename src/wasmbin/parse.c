// SPDX-License-Identifier: Apache-2.0
//
// The frame of a module: preamble, then sections, each at most once and in their order, custom ones anywhere
// between (binary format, chapter 5.5 of the specification).
//
//     module ::= "\0asm" version:u32le section*        section ::= id:byte size:u32 content

#include "wasmbin/internal.h"

typedef bool (*section_parser)(struct wasmbin_parser *parser, struct wasmbin_reader *reader);

// Frozen. By id; the order is that of a module, from 1.
struct section_kind {
    const char *name;
    unsigned rank;
    section_parser parse;
};
static const struct section_kind kinds[WASMBIN_SECTION_COUNT] = {
    [WASMBIN_TYPES] = {"type", 1, wasmbin_parse_types},
    [WASMBIN_IMPORTS] = {"import", 2, wasmbin_parse_imports},
    [WASMBIN_FUNCTIONS] = {"function", 3, wasmbin_parse_functions},
    [WASMBIN_TABLES] = {"table", 4, wasmbin_parse_tables},
    [WASMBIN_MEMORIES] = {"memory", 5, wasmbin_parse_memories},
    [WASMBIN_TAGS] = {"tag", 6, wasmbin_parse_tags},
    [WASMBIN_GLOBALS] = {"global", 7, wasmbin_parse_globals},
    [WASMBIN_EXPORTS] = {"export", 8, wasmbin_parse_exports},
    [WASMBIN_START] = {"start", 9, wasmbin_parse_start},
    [WASMBIN_ELEMENTS] = {"element", 10, wasmbin_parse_elements},
    [WASMBIN_DATA_COUNT] = {"data count", 11, wasmbin_parse_data_count},
    [WASMBIN_CODE] = {"code", 12, wasmbin_parse_code},
    [WASMBIN_DATA] = {"data", 13, wasmbin_parse_data},
};

unsigned wasmbin_section_rank(enum wasmbin_section_id id) {
    return kinds[id].rank;
}

void *wasmbin_alloc(struct tw_arena *arena, size_t count, size_t size, size_t align, struct tw_error *err) {
    void *memory = tw_arena_alloc_array(arena, count, size, align);
    if (!memory)
        (void)wasmbin_no_memory(err);
    return memory;
}

static bool check_preamble(struct wasmbin_reader *reader) {
    static const uint8_t magic[4] = {0, 'a', 's', 'm'};
    size_t len = (size_t)(reader->end - reader->at);
    if (len > TW_WASM_MAX_BYTES)
        return wasmbin_too_many(reader, "bytes in a module", len, TW_WASM_MAX_BYTES);
    if (len && reader->at[0] == '(')
        return wasmbin_bad(reader, reader->at, "this is WebAssembly text; translate it with wat2wasm first");
    if (len < 8 || memcmp(reader->at, magic, sizeof magic) != 0)
        return wasmbin_bad(reader, reader->at, "not a WebAssembly module, which begins with \\0asm");
    const uint8_t *version = reader->at + 4;
    if (version[2] == 1 && version[3] == 0)
        return wasmbin_bad(reader, version,
                           "this is a component; components are not supported by this host, upload its "
                           "core module");
    if (version[0] != 1 || version[1] || version[2] || version[3])
        return wasmbin_bad(reader, version, "expected version 1, found 0x%02x%02x%02x%02x", version[3],
                           version[2], version[1], version[0]);
    reader->at += 8;
    return true;
}

// section ::= id size content; a custom section's content begins with its name
static bool read_section(struct wasmbin_reader *reader, struct wasmbin_section *section,
                         struct wasmbin_reader *ret_content) {
    const uint8_t *start = reader->at;
    uint8_t id;
    uint32_t size;
    struct tw_span content;
    if (!wasmbin_read_byte(reader, "a section", &id))
        return false;
    if (id >= WASMBIN_SECTION_COUNT)
        return wasmbin_bad(reader, start, "unknown section %u", id);
    if (!wasmbin_read_u32(reader, "the size of a section", &size) ||
        !wasmbin_read_bytes(reader, "a section", size, &content))
        return false;
    *ret_content =
        (struct wasmbin_reader){reader->base, content.data, content.data + content.len, reader->err};
    section->id = id;
    section->whole = tw_span_of(start, (size_t)(reader->at - start));
    if (section->id != WASMBIN_CUSTOM)
        return true;
    if (!wasmbin_read_name(ret_content, "the name of a custom section", WASMBIN_MAX_NAME_BYTES,
                           &section->name))
        return false;
    section->content = tw_span_of(ret_content->at, (size_t)(ret_content->end - ret_content->at));
    return true;
}

static bool parse_section(struct wasmbin_parser *parser, const struct wasmbin_section *section,
                          struct wasmbin_reader *content, unsigned *last_rank) {
    const struct section_kind *kind = &kinds[section->id];
    if (kind->rank <= *last_rank)
        return wasmbin_bad(content, section->whole.data, "the %s section comes twice or too late",
                           kind->name);
    *last_rank = kind->rank;
    if (!kind->parse(parser, content))
        return tw_wrap(parser->err, "%s section", kind->name);
    if (content->at != content->end)
        return wasmbin_bad(content, content->at, "%zu bytes too many at the end of the %s section",
                           (size_t)(content->end - content->at), kind->name);
    parser->has_code |= section->id == WASMBIN_CODE;
    return true;
}

static bool parse_sections(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    struct wasmbin_module *module = parser->module;
    unsigned last_rank = 0;
    while (reader->at < reader->end) {
        if (module->section_count == WASMBIN_MAX_SECTIONS)
            return wasmbin_too_many(reader, "sections", WASMBIN_MAX_SECTIONS + 1, WASMBIN_MAX_SECTIONS);
        struct wasmbin_section *section = &module->sections[module->section_count++];
        struct wasmbin_reader content;
        if (!read_section(reader, section, &content))
            return false;
        if (section->id != WASMBIN_CUSTOM && !parse_section(parser, section, &content, &last_rank))
            return false;
    }
    if (parser->defined_funcs && !parser->has_code)
        return wasmbin_bad(reader, reader->end, "%u functions are declared, but there is no code section",
                           parser->defined_funcs);
    if (module->declared_data && !parser->wasm->data)
        return wasmbin_bad(reader, reader->end, "%u data segments are declared, but there is no data section",
                           module->declared_data);
    return true;
}

static void parse_custom(struct wasmbin_parser *parser) {
    const struct wasmbin_module *module = parser->module;
    for (uint32_t i = 0; i < module->section_count; i++)
        if (module->sections[i].id == WASMBIN_CUSTOM &&
            tw_str_equal(module->sections[i].name, TW_STR("name")))
            wasmbin_parse_names(parser, module->sections[i].content);
}

bool tw_wasm_parse(struct tw_arena *arena, struct tw_span bytes, struct tw_wasm *ret_wasm,
                   struct tw_error *err) {
    struct wasmbin_reader reader = {bytes.data, bytes.data, bytes.data + bytes.len, err};
    struct tw_wasm wasm = {.bytes = bytes};
    struct wasmbin_parser parser = {.arena = arena, .wasm = &wasm, .err = err};
    if (!check_preamble(&reader))
        return false;
    parser.module = WASMBIN_ARRAY(arena, struct wasmbin_module, 1, err);
    wasm.memories = WASMBIN_ARRAY(arena, struct tw_wasm_limits, WASMBIN_MAX_MEMORIES, err);
    wasm.tables = WASMBIN_ARRAY(arena, struct tw_wasm_limits, WASMBIN_MAX_TABLES, err);
    if (!parser.module || !wasm.memories || !wasm.tables)
        return false;
    wasm.sections = parser.module;
    parser.module->sections = WASMBIN_ARRAY(arena, struct wasmbin_section, WASMBIN_MAX_SECTIONS, err);
    if (!parser.module->sections || !parse_sections(&parser, &reader))
        return false;
    parse_custom(&parser);
    *ret_wasm = wasm;
    return true;
}

const struct tw_wasm_functype *tw_wasm_export_type(const struct tw_wasm *wasm, struct tw_str name) {
    for (uint32_t i = 0; i < wasm->export_count; i++) {
        const struct tw_wasm_export *export = &wasm->exports[i];
        if (export->kind == TW_WASM_FUNC && tw_str_equal(export->name, name))
            return &wasm->types[wasm->func_types[export->index]];
    }
    return NULL;
}

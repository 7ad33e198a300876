// SPDX-License-Identifier: Apache-2.0
//
// Function names from the custom section "name", for backtraces (specification, appendix A.3.1). They are a
// courtesy: a section with anything wrong in it gives no names and is no error, and only the first one that
// is right counts.
//
//     namedata ::= (id:byte size:u32 content)*, ids ascending; 1 ::= vec(func:u32 name), funcs ascending

#include "wasmbin/internal.h"

enum { NAMES_OF_FUNCTIONS = 1 };

// Fills `names` (as many as there are functions), or counts only, when it is NULL.
static bool read_names(struct wasmbin_reader *reader, uint32_t func_count, struct tw_wasm_name *names,
                       uint32_t *ret_count) {
    uint32_t count;
    int64_t last = -1;
    if (!wasmbin_read_count(reader, "names", func_count, &count))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct tw_wasm_name name;
        if (!wasmbin_read_u32(reader, "a function index", &name.func) ||
            !wasmbin_read_name(reader, "a function name", WASMBIN_MAX_DEBUG_NAME_BYTES, &name.name) ||
            name.func >= func_count || name.func <= last)
            return false;
        last = name.func;
        if (names)
            names[i] = name;
    }
    *ret_count = count;
    return reader->at == reader->end;
}

// The content of the subsection with the names of functions; false: none, or the section is broken.
static bool find_names(struct wasmbin_reader *reader, struct tw_span *ret_names) {
    int last = -1;
    bool found = false;
    while (reader->at < reader->end) {
        uint8_t id;
        uint32_t size;
        struct tw_span content;
        if (!wasmbin_read_byte(reader, "a name subsection", &id) || id <= last ||
            !wasmbin_read_u32(reader, "a name subsection", &size) ||
            !wasmbin_read_bytes(reader, "a name subsection", size, &content))
            return false;
        last = id;
        if (id == NAMES_OF_FUNCTIONS) {
            *ret_names = content;
            found = true;
        }
    }
    return found;
}

void wasmbin_parse_names(struct wasmbin_parser *parser, struct tw_span content) {
    struct tw_wasm *wasm = parser->wasm;
    struct wasmbin_reader reader = {
        .base = content.data, .at = content.data, .end = content.data + content.len};
    struct tw_span items = {};
    uint32_t count;
    if (wasm->names || !find_names(&reader, &items))
        return;
    struct wasmbin_reader counting = {.base = items.data, .at = items.data, .end = items.data + items.len};
    struct wasmbin_reader filling = counting;
    if (!read_names(&counting, wasm->func_count, NULL, &count))
        return;
    struct tw_wasm_name *names = TW_ARENA_ARRAY(parser->arena, struct tw_wasm_name, count);
    if (!names || !read_names(&filling, wasm->func_count, names, &wasm->name_count))
        return;
    wasm->names = names;
}

// SPDX-License-Identifier: Apache-2.0
//
// The new binary: the old sections in their order, most of them as they are. Changed: memories (the poll
// memory comes last, so no index moves), exports (the reserved ones come last), start (left out), code (polls
// are put in, long fills and copies become calls of functions behind the module's), data (active segments become empty
// passive ones). Sections that were not there and are needed
// come in at their place. A data count section is never added: only code with memory.init or data.drop needs
// one, and then it is there already.
//
// A section's size is written as a LEB128 of 5 bytes once it is known, as linkers do.

#include "wasmbin/internal.h"

enum { SIZE_BYTES = 5 }; // of a size that is filled in later

// Confined.
struct rewriter {
    struct tw_arena *arena;
    const struct tw_wasm *wasm;
    const struct wasmbin_module *module;
    struct tw_buf *out;
    size_t start; // of the new module in `out`
    struct tw_wasm_rewritten result;
    const struct wasmbin_edits *edits; // by defined function; NULL: no polls wanted
    struct wasmbin_helpers helpers;
    struct wasmbin_poll poll;
    struct tw_error *err;
};

// ---- writing ----------------------------------------------------------------------------------------------
static bool write_bytes(struct rewriter *rewriter, const void *bytes, size_t len) {
    if (rewriter->out->len - rewriter->start + len > TW_WASM_MAX_REWRITTEN_BYTES)
        return tw_fail(rewriter->err, TW_ERR_MODULE_TOO_LARGE,
                       "the module grows beyond %d bytes when polls are put in; make it smaller or split it",
                       TW_WASM_MAX_REWRITTEN_BYTES);
    if (!tw_buf_append(rewriter->out, bytes, len))
        return tw_fail(rewriter->err, TW_ERR_CAPACITY,
                       "no memory left for the rewritten module; try again later");
    return true;
}

static bool write_span(struct rewriter *rewriter, struct tw_span bytes) {
    return write_bytes(rewriter, bytes.data, bytes.len);
}

static bool write_byte(struct rewriter *rewriter, uint8_t byte) {
    return write_bytes(rewriter, &byte, 1);
}

static bool write_u32(struct rewriter *rewriter, uint32_t value) {
    uint8_t bytes[SIZE_BYTES];
    size_t len = 0;
    for (; value > 0x7f; value >>= 7)
        bytes[len++] = (uint8_t)(value | 0x80);
    bytes[len++] = (uint8_t)value;
    return write_bytes(rewriter, bytes, len);
}

static bool begin_section(struct rewriter *rewriter, enum wasmbin_section_id id, size_t *ret_content) {
    static const uint8_t size[SIZE_BYTES] = {};
    if (!write_byte(rewriter, (uint8_t)id) || !write_bytes(rewriter, size, sizeof size))
        return false;
    *ret_content = rewriter->out->len;
    return true;
}

static void end_section(struct rewriter *rewriter, size_t content) {
    size_t size = rewriter->out->len - content;
    uint8_t *at = rewriter->out->data + content - SIZE_BYTES;
    for (unsigned i = 0; i < SIZE_BYTES; i++)
        at[i] = (uint8_t)((size >> (7 * i) & 0x7f) | (i < SIZE_BYTES - 1 ? 0x80 : 0));
}

// ---- memories ---------------------------------------------------------------------------------------------
static bool write_memories(struct rewriter *rewriter) {
    static const uint8_t one_page[] = {1, 1, 1}; // a maximum, minimum 1, maximum 1
    const struct tw_wasm *wasm = rewriter->wasm;
    size_t content;
    if (!begin_section(rewriter, WASMBIN_MEMORIES, &content) ||
        !write_u32(rewriter, rewriter->result.memory_count + rewriter->result.has_poll))
        return false;
    for (uint32_t i = wasm->imported_memories; i < wasm->memory_count; i++) {
        uint64_t max = wasm->memories[i].max == UINT64_MAX ? WASMBIN_MAX_PAGES : wasm->memories[i].max;
        if (!write_byte(rewriter, 1) || !write_u32(rewriter, (uint32_t)wasm->memories[i].min) ||
            !write_u32(rewriter, (uint32_t)max))
            return false;
    }
    if (rewriter->result.has_poll && !write_bytes(rewriter, one_page, sizeof one_page))
        return false;
    end_section(rewriter, content);
    return true;
}

// ---- exports ----------------------------------------------------------------------------------------------
static bool write_name(struct rewriter *rewriter, const char *name) {
    uint32_t len = (uint32_t)strlen(name);
    return write_u32(rewriter, len) && write_bytes(rewriter, name, len);
}

static bool write_export(struct rewriter *rewriter, const char *name, enum tw_wasm_kind kind,
                         uint32_t index) {
    return write_name(rewriter, name) && write_byte(rewriter, (uint8_t)kind) && write_u32(rewriter, index);
}

// TW_WASM_RESERVED, a letter and a number.
static bool write_numbered(struct rewriter *rewriter, char letter, uint32_t number, enum tw_wasm_kind kind,
                           uint32_t index) {
    char name[32];
    snprintf(name, sizeof name, TW_WASM_RESERVED "%c%" PRIu32, letter, number);
    return write_export(rewriter, name, kind, index);
}

static bool write_state_exports(struct rewriter *rewriter) {
    const struct tw_wasm *wasm = rewriter->wasm;
    const struct tw_wasm_rewritten *result = &rewriter->result;
    for (uint32_t i = 0; i < result->memory_count; i++)
        if (!write_numbered(rewriter, 'm', i, TW_WASM_MEMORY, wasm->imported_memories + i))
            return false;
    for (uint32_t i = 0; i < result->global_count; i++)
        if (!write_numbered(rewriter, 'g', i, TW_WASM_GLOBAL, result->globals[i]))
            return false;
    for (uint32_t i = 0; i < result->table_count; i++)
        if (!write_numbered(rewriter, 't', i, TW_WASM_TABLE, wasm->imported_tables + i))
            return false;
    return true;
}

static bool write_exports(struct rewriter *rewriter) {
    const struct tw_wasm_rewritten *result = &rewriter->result;
    uint32_t added = result->memory_count + result->global_count + result->table_count + result->has_start +
                     result->has_poll;
    size_t content;
    if (!begin_section(rewriter, WASMBIN_EXPORTS, &content) ||
        !write_u32(rewriter, rewriter->module->export_items_count + added) ||
        !write_span(rewriter, rewriter->module->export_items) || !write_state_exports(rewriter))
        return false;
    if (result->has_start &&
        !write_export(rewriter, TW_WASM_RESERVED "start", TW_WASM_FUNC, rewriter->wasm->start))
        return false;
    if (result->has_poll &&
        !write_export(rewriter, TW_WASM_RESERVED "poll", TW_WASM_MEMORY, rewriter->wasm->memory_count))
        return false;
    end_section(rewriter, content);
    return true;
}

// ---- code -------------------------------------------------------------------------------------------------
// i32.const 0, i32.load8_u of memory `index`, which an offset and drop follow
static void make_poll(struct rewriter *rewriter, uint32_t index) {
    const uint8_t first[] = {WASMBIN_I32_CONST, 0, WASMBIN_I32_LOAD8_U, 0};
    const uint8_t other[] = {WASMBIN_I32_CONST, 0, WASMBIN_I32_LOAD8_U, 0x40, (uint8_t)index};
    rewriter->poll.len = index ? sizeof other : sizeof first;
    memcpy(rewriter->poll.bytes, index ? other : first, rewriter->poll.len);
}

// Each poll of a function has an offset of its own (WASMBIN_MAX_POLLS are in the page): the engine's compiler
// drops a load that another one of the same address dominates, and a loop would be left without its poll.
static bool write_poll(struct rewriter *rewriter, uint32_t offset) {
    const uint8_t drop[] = {WASMBIN_DROP};
    return write_bytes(rewriter, rewriter->poll.bytes, rewriter->poll.len) && write_u32(rewriter, offset) &&
           write_bytes(rewriter, drop, sizeof drop);
}

static uint32_t u32_len(uint32_t value) {
    return value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : 3;
}

static uint32_t helper_index(const struct rewriter *rewriter, uint32_t helper) {
    return rewriter->wasm->func_count + helper;
}

// Where the instruction at `at` ends; it was read before.
static const uint8_t *after(const struct rewriter *rewriter, const struct wasmbin_body *body,
                            const uint8_t *at) {
    struct wasmbin_reader reader = {rewriter->wasm->bytes.data, at, body->end, rewriter->err};
    struct wasmbin_op op;
    return wasmbin_next(&reader, &op) ? reader.at : body->end;
}

static uint64_t size_with_edits(const struct rewriter *rewriter, const struct wasmbin_body *body,
                                const struct wasmbin_edits *edits) {
    uint64_t size = (uint64_t)(body->end - body->start);
    uint32_t polls = 0;
    for (uint32_t i = 0; i < edits->count; i++) {
        const struct wasmbin_edit *edit = &edits->items[i];
        const uint8_t *at = body->start + edit->offset;
        if (edit->helper == WASMBIN_NO_HELPER)
            size += rewriter->poll.len + u32_len(polls++) + 1;
        else
            size += 1 + u32_len(helper_index(rewriter, edit->helper)) -
                    (uint64_t)(after(rewriter, body, at) - at);
    }
    return size;
}

static bool write_body(struct rewriter *rewriter, const struct wasmbin_body *body,
                       const struct wasmbin_edits *edits, uint32_t func) {
    uint64_t size = size_with_edits(rewriter, body, edits);
    if (size > WASMBIN_MAX_BODY_BYTES)
        return tw_fail(rewriter->err, TW_ERR_MODULE_TOO_LARGE,
                       "function %u grows to %" PRIu64 " bytes with %u polls, the limit is %d; split it",
                       func, size, edits->poll_count, WASMBIN_MAX_BODY_BYTES);
    if (!write_u32(rewriter, (uint32_t)size))
        return false;
    const uint8_t *at = body->start;
    uint32_t polls = 0;
    for (uint32_t i = 0; i < edits->count; i++) {
        const struct wasmbin_edit *edit = &edits->items[i];
        const uint8_t *next = body->start + edit->offset;
        if (!write_bytes(rewriter, at, (size_t)(next - at)))
            return false;
        if (edit->helper == WASMBIN_NO_HELPER) {
            if (!write_poll(rewriter, polls++))
                return false;
            at = next;
        } else {
            if (!write_byte(rewriter, WASMBIN_CALL) ||
                !write_u32(rewriter, helper_index(rewriter, edit->helper)))
                return false;
            at = after(rewriter, body, next);
        }
    }
    rewriter->result.poll_count += polls;
    return write_bytes(rewriter, at, (size_t)(body->end - at));
}

static bool write_helpers(struct rewriter *rewriter) {
    for (uint32_t i = 0; i < rewriter->helpers.count; i++) {
        struct wasmbin_helper_body body;
        wasmbin_helper_write(&rewriter->helpers.items[i], &rewriter->poll, helper_index(rewriter, 0), &body);
        if (!write_u32(rewriter, (uint32_t)body.len) || !write_bytes(rewriter, body.bytes, body.len))
            return false;
        rewriter->result.poll_count += body.poll_count;
    }
    return true;
}

static bool write_code(struct rewriter *rewriter, const struct wasmbin_section *section) {
    if (!rewriter->edits)
        return write_span(rewriter, section->whole);
    const struct tw_wasm *wasm = rewriter->wasm;
    uint32_t count = wasm->func_count - wasm->imported_funcs;
    size_t content;
    if (!begin_section(rewriter, WASMBIN_CODE, &content) ||
        !write_u32(rewriter, count + rewriter->helpers.count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!write_body(rewriter, &rewriter->module->bodies[i], &rewriter->edits[i],
                        wasm->imported_funcs + i))
            return false;
    if (!write_helpers(rewriter))
        return false;
    end_section(rewriter, content);
    return true;
}

// ---- the helpers' declarations ----------------------------------------------------------------------------
// A section's items without their count; it was read before.
static struct tw_span items_of(struct rewriter *rewriter, const struct wasmbin_section *section,
                               uint32_t *ret_count) {
    struct wasmbin_reader reader = {rewriter->wasm->bytes.data, section->whole.data + 1,
                                    section->whole.data + section->whole.len, rewriter->err};
    uint32_t size;
    *ret_count = 0;
    if (!wasmbin_read_u32(&reader, "a size", &size) || !wasmbin_read_u32(&reader, "a count", ret_count))
        return (struct tw_span){};
    return tw_span_of(reader.at, (size_t)(reader.end - reader.at));
}

// Behind the module's own types, one for each helper.
static bool write_types(struct rewriter *rewriter, const struct wasmbin_section *section) {
    uint32_t count;
    size_t content;
    if (!rewriter->helpers.count)
        return write_span(rewriter, section->whole);
    struct tw_span items = items_of(rewriter, section, &count);
    if (!begin_section(rewriter, WASMBIN_TYPES, &content) ||
        !write_u32(rewriter, count + rewriter->helpers.count) || !write_span(rewriter, items))
        return false;
    for (uint32_t i = 0; i < rewriter->helpers.count; i++) {
        struct wasmbin_helper_type type;
        wasmbin_helper_type_write(rewriter->wasm, &rewriter->helpers.items[i], &type);
        if (!write_bytes(rewriter, type.bytes, type.len))
            return false;
    }
    end_section(rewriter, content);
    return true;
}

static bool write_functions(struct rewriter *rewriter, const struct wasmbin_section *section) {
    uint32_t count;
    size_t content;
    if (!rewriter->helpers.count)
        return write_span(rewriter, section->whole);
    struct tw_span items = items_of(rewriter, section, &count);
    if (!begin_section(rewriter, WASMBIN_FUNCTIONS, &content) ||
        !write_u32(rewriter, count + rewriter->helpers.count) || !write_span(rewriter, items))
        return false;
    for (uint32_t i = 0; i < rewriter->helpers.count; i++)
        if (!write_u32(rewriter, rewriter->wasm->type_count + i))
            return false;
    end_section(rewriter, content);
    return true;
}

// ---- data -------------------------------------------------------------------------------------------------
static bool write_data(struct rewriter *rewriter) {
    static const uint8_t empty_passive[] = {1, 0}; // passive, no bytes
    const struct tw_wasm *wasm = rewriter->wasm;
    size_t content;
    if (!begin_section(rewriter, WASMBIN_DATA, &content) || !write_u32(rewriter, wasm->data_count))
        return false;
    for (uint32_t i = 0; i < wasm->data_count; i++) {
        if (wasm->data[i].is_active ? !write_bytes(rewriter, empty_passive, sizeof empty_passive)
                                    : !write_span(rewriter, rewriter->module->segments[i].whole))
            return false;
    }
    end_section(rewriter, content);
    return true;
}

// ---- sections ---------------------------------------------------------------------------------------------
// Custom sections that would lie about the new code (offsets into it, relocations of it), or that only a
// debugger reads: they are often larger than the code and would be carried along for nothing.
static bool is_dropped(struct tw_str name) {
    static const char *const prefixes[] = {"metadata.code.", ".debug_", "reloc."};
    static const char *const names[] = {"linking", "sourceMappingURL", "external_debug_info"};
    for (size_t i = 0; i < TW_COUNT(prefixes); i++)
        if (tw_str_starts(name, tw_str_from(prefixes[i])))
            return true;
    for (size_t i = 0; i < TW_COUNT(names); i++)
        if (tw_str_equal(name, tw_str_from(names[i])))
            return true;
    return false;
}

static bool write_section(struct rewriter *rewriter, const struct wasmbin_section *section) {
    switch (section->id) {
    case WASMBIN_CUSTOM:
        return is_dropped(section->name) || write_span(rewriter, section->whole);
    case WASMBIN_CODE:
        return write_code(rewriter, section);
    case WASMBIN_DATA:
        return write_data(rewriter);
    case WASMBIN_MEMORIES:
    case WASMBIN_EXPORTS:
    case WASMBIN_START:
        return true; // written by write_due, or left out
    case WASMBIN_TYPES:
        return write_types(rewriter, section);
    case WASMBIN_FUNCTIONS:
        return write_functions(rewriter, section);
    case WASMBIN_IMPORTS:
    case WASMBIN_TABLES:
    case WASMBIN_TAGS:
    case WASMBIN_GLOBALS:
    case WASMBIN_ELEMENTS:
    case WASMBIN_DATA_COUNT:
        return write_span(rewriter, section->whole);
    case WASMBIN_SECTION_COUNT:
        break;
    }
    return false;
}

// Memories and exports are written when their place has come, whether or not the old module has such a
// section. `done` is the rank up to which this has been done.
static bool write_due(struct rewriter *rewriter, unsigned rank, unsigned *done) {
    unsigned memories = wasmbin_section_rank(WASMBIN_MEMORIES),
             exports = wasmbin_section_rank(WASMBIN_EXPORTS);
    if (*done < memories && rank >= memories &&
        (rewriter->result.memory_count || rewriter->result.has_poll) && !write_memories(rewriter))
        return false;
    if (*done < exports && rank >= exports && !write_exports(rewriter))
        return false;
    if (rank > *done)
        *done = rank;
    return true;
}

static bool write_module(struct rewriter *rewriter) {
    const struct wasmbin_module *module = rewriter->module;
    unsigned done = 0;
    if (!write_bytes(rewriter, rewriter->wasm->bytes.data, 8))
        return false;
    for (uint32_t i = 0; i < module->section_count; i++) {
        const struct wasmbin_section *section = &module->sections[i];
        if (section->id != WASMBIN_CUSTOM && !write_due(rewriter, wasmbin_section_rank(section->id), &done))
            return false;
        if (!write_section(rewriter, section))
            return false;
    }
    return write_due(rewriter, wasmbin_section_rank(WASMBIN_DATA), &done);
}

// ---- what there is to offer -------------------------------------------------------------------------------
static bool check_names(const struct tw_wasm *wasm, struct tw_error *err) {
    for (uint32_t i = 0; i < wasm->export_count; i++) {
        struct tw_str name = wasm->exports[i].name;
        if (tw_str_starts(name, TW_STR(TW_WASM_RESERVED)))
            return tw_fail(err, TW_ERR_INVALID_WASM,
                           "the export \"%.*s\" has a name that begins with \"" TW_WASM_RESERVED
                           "\", which is reserved; give it another",
                           TW_STR_ARG(name));
    }
    return true;
}

static bool find_globals(struct rewriter *rewriter) {
    const struct tw_wasm *wasm = rewriter->wasm;
    struct tw_wasm_rewritten *result = &rewriter->result;
    result->globals = WASMBIN_ARRAY(rewriter->arena, uint32_t, wasm->global_count, rewriter->err);
    if (!result->globals)
        return false;
    for (uint32_t i = wasm->imported_globals; i < wasm->global_count; i++)
        if (wasm->globals[i].is_mutable && wasmbin_is_numeric(wasm->globals[i].type))
            result->globals[result->global_count++] = i;
    return true;
}

static bool prepare_polls(struct rewriter *rewriter) {
    const struct tw_wasm *wasm = rewriter->wasm;
    struct wasmbin_edits *edits;
    if (wasm->memory_count == WASMBIN_MAX_MEMORIES)
        return tw_fail(rewriter->err, TW_ERR_MODULE_TOO_LARGE, "%u memories, the limit is %d; use fewer",
                       wasm->memory_count, WASMBIN_MAX_MEMORIES - 1);
    if (!wasmbin_helpers_init(&rewriter->helpers, rewriter->arena, rewriter->err) ||
        !wasmbin_polls_place(rewriter->arena, wasm, &rewriter->helpers, &edits, rewriter->err))
        return false;
    if (wasm->func_count + rewriter->helpers.count > WASMBIN_MAX_FUNCTIONS + WASMBIN_MAX_IMPORTS)
        return tw_fail(rewriter->err, TW_ERR_MODULE_TOO_LARGE,
                       "%u functions, the limit is %d; split the module", wasm->func_count,
                       WASMBIN_MAX_FUNCTIONS + WASMBIN_MAX_IMPORTS - WASMBIN_MAX_HELPERS);
    rewriter->result.helper_count = rewriter->helpers.count;
    make_poll(rewriter, wasm->memory_count);
    rewriter->edits = edits;
    rewriter->result.has_poll = true;
    return true;
}

bool tw_wasm_rewrite(struct tw_arena *arena, const struct tw_wasm *wasm,
                     const struct tw_wasm_rewrite_options *options, struct tw_buf *out,
                     struct tw_wasm_rewritten *ret_rewritten, struct tw_error *err) {
    struct rewriter rewriter = {
        .arena = arena, .wasm = wasm, .module = wasm->sections, .out = out, .start = out->len, .err = err};
    rewriter.result.memory_count = wasm->memory_count - wasm->imported_memories;
    rewriter.result.table_count = wasm->table_count - wasm->imported_tables;
    rewriter.result.has_start = wasm->has_start;
    if (!check_names(wasm, err) || !find_globals(&rewriter) || (options->poll && !prepare_polls(&rewriter)))
        return false;
    if (!write_module(&rewriter)) {
        out->len = rewriter.start;
        if (out->data)
            out->data[out->len] = '\0';
        return false;
    }
    *ret_rewritten = rewriter.result;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// The new binary: the old sections in their order, most of them as they are. Changed: memories (the poll
// memory comes last, so no index moves), exports (the reserved ones come last), start (left out), code (polls
// are put in), data (active segments become empty passive ones). Sections that were not there and are needed
// come in at their place. A data count section is never added: only code with memory.init or data.drop needs
// one, and then it is there already.
//
// A section's size is written as a LEB128 of 5 bytes once it is known, as linkers do.

#include "wasmbin/internal.h"

enum {
    SIZE_BYTES = 5,    // of a size that is filled in later
    POLL_HEAD_MAX = 5, // of one poll, up to its offset
};

// Confined.
struct rewriter {
    struct tw_arena *arena;
    const struct tw_wasm *wasm;
    const struct wasmbin_module *module;
    struct tw_buf *out;
    size_t start; // of the new module in `out`
    struct tw_wasm_rewritten result;
    const struct wasmbin_polls *polls; // by defined function; NULL: none wanted
    uint8_t poll[POLL_HEAD_MAX];       // the instructions of a poll, up to its offset
    uint32_t poll_len;
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
    rewriter->poll_len = index ? sizeof other : sizeof first;
    memcpy(rewriter->poll, index ? other : first, rewriter->poll_len);
}

// Each poll of a function has an offset of its own (WASMBIN_MAX_POLLS are in the page): the engine's compiler
// drops a load that another one of the same address dominates, and a loop would be left without its poll.
static bool write_poll(struct rewriter *rewriter, uint32_t offset) {
    const uint8_t drop[] = {WASMBIN_DROP};
    return write_bytes(rewriter, rewriter->poll, rewriter->poll_len) && write_u32(rewriter, offset) &&
           write_bytes(rewriter, drop, sizeof drop);
}

static uint32_t u32_len(uint32_t value) {
    return value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : 3;
}

static bool write_body(struct rewriter *rewriter, const struct wasmbin_body *body,
                       const struct wasmbin_polls *polls, uint32_t func) {
    uint64_t size = (uint64_t)(body->end - body->start);
    for (uint32_t i = 0; i < polls->count; i++)
        size += rewriter->poll_len + u32_len(i) + 1;
    if (size > WASMBIN_MAX_BODY_BYTES)
        return tw_fail(rewriter->err, TW_ERR_MODULE_TOO_LARGE,
                       "function %u grows to %" PRIu64 " bytes with %u polls, the limit is %d; split it",
                       func, size, polls->count, WASMBIN_MAX_BODY_BYTES);
    if (!write_u32(rewriter, (uint32_t)size))
        return false;
    const uint8_t *at = body->start;
    for (uint32_t i = 0; i < polls->count; i++) {
        const uint8_t *next = body->start + polls->offsets[i];
        if (!write_bytes(rewriter, at, (size_t)(next - at)) || !write_poll(rewriter, i))
            return false;
        at = next;
    }
    rewriter->result.poll_count += polls->count;
    return write_bytes(rewriter, at, (size_t)(body->end - at));
}

static bool write_code(struct rewriter *rewriter, const struct wasmbin_section *section) {
    if (!rewriter->polls)
        return write_span(rewriter, section->whole);
    const struct tw_wasm *wasm = rewriter->wasm;
    uint32_t count = wasm->func_count - wasm->imported_funcs;
    size_t content;
    if (!begin_section(rewriter, WASMBIN_CODE, &content) || !write_u32(rewriter, count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!write_body(rewriter, &rewriter->module->bodies[i], &rewriter->polls[i],
                        wasm->imported_funcs + i))
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
    case WASMBIN_IMPORTS:
    case WASMBIN_FUNCTIONS:
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
    struct wasmbin_polls *polls;
    if (wasm->memory_count == WASMBIN_MAX_MEMORIES)
        return tw_fail(rewriter->err, TW_ERR_MODULE_TOO_LARGE, "%u memories, the limit is %d; use fewer",
                       wasm->memory_count, WASMBIN_MAX_MEMORIES - 1);
    if (!wasmbin_polls_place(rewriter->arena, wasm, &polls, rewriter->err))
        return false;
    make_poll(rewriter, wasm->memory_count);
    rewriter->polls = polls;
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

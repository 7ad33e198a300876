// SPDX-License-Identifier: Apache-2.0
//
// Walks function bodies once: instruction boundaries, nesting, and every index in range. That is what the
// rewrite relies on: since memory indices are checked here against the memories that the module itself has,
// no guest code can name the poll memory that is appended later. On the way it gathers whom each function may
// call, which functions' references are taken, and whether tables or segments are changed. Types are the
// engine's to check.

#include "wasmbin/internal.h"

// What stands on the stack of open constructs.
enum construct { BLOCK, LOOP, IF, ELSE };

// Confined. Of all bodies, one after the other.
struct walker {
    struct wasmbin_parser *parser;
    struct wasmbin_reader reader;
    uint8_t *open;   // enum construct, WASMBIN_MAX_NESTING of them; the function itself is open[0]
    uint32_t depth;  // how many are open
    uint32_t locals; // of this function, with parameters
};

// ---- index ranges -----------------------------------------------------------------------------------------
static bool check(const struct walker *walker, const struct wasmbin_op *op, const char *what, uint32_t index,
                  uint32_t count) {
    return index < count || wasmbin_check_index(&walker->reader, op->at, what, index, count);
}

// table.get and table.size only read.
static void note_table(struct walker *walker, const struct wasmbin_op *op) {
    if (op->code != WASMBIN_TABLE_GET && op->code != WASMBIN_TABLE_SIZE)
        walker->parser->wasm->mutates_tables = true;
}

static bool check_data(struct walker *walker, const struct wasmbin_op *op, uint32_t segment) {
    struct wasmbin_module *module = walker->parser->module;
    if (!module->has_data_count)
        return wasmbin_bad(&walker->reader, op->at,
                           "instructions that name a data segment need a data count section before the code");
    if (!check(walker, op, "data segment", segment, module->declared_data))
        return false;
    module->data_used[segment] = 1;
    return true;
}

static bool check_elem(struct walker *walker, const struct wasmbin_op *op, uint32_t segment) {
    walker->parser->wasm->mutates_tables = true;
    return check(walker, op, "element segment", segment, walker->parser->module->elem_count);
}

static bool check_try(struct walker *walker, const struct wasmbin_op *op) {
    const struct tw_wasm *wasm = walker->parser->wasm;
    struct wasmbin_reader clauses = walker->reader;
    struct wasmbin_catch clause;
    if (op->a != UINT32_MAX && !check(walker, op, "type", op->a, wasm->type_count))
        return false;
    clauses.at = op->labels;
    for (uint32_t i = 0; i < op->b; i++)
        if (!wasmbin_read_catch(&clauses, &clause) ||
            (clause.tag != UINT32_MAX && !check(walker, op, "tag", clause.tag, wasm->tag_count)) ||
            !check(walker, op, "label", clause.label, walker->depth))
            return false;
    return true;
}

// Only what was named before the code may be: an export that the rewrite adds would allow more.
static bool check_function(struct walker *walker, const struct wasmbin_op *op) {
    const struct wasmbin_module *module = walker->parser->module;
    if (!check(walker, op, "function", op->a, walker->parser->wasm->func_count))
        return false;
    return op->code != WASMBIN_REF_FUNC || (module->declared && module->declared[op->a]) ||
           wasmbin_bad(&walker->reader, op->at,
                       "ref.func of function %u, which no export, element segment or global names", op->a);
}

static bool check_indices(struct walker *walker, const struct wasmbin_op *op) {
    const struct tw_wasm *wasm = walker->parser->wasm;
    switch (op->immediates) {
    case WASMBIN_IMM_UNKNOWN:
    case WASMBIN_IMM_REFUSED:
        return false; // wasmbin_next does not return these
    case WASMBIN_IMM_BLOCK:
        return op->a == UINT32_MAX || check(walker, op, "type", op->a, wasm->type_count);
    case WASMBIN_IMM_TRY:
        return check_try(walker, op);
    case WASMBIN_IMM_LABEL:
    case WASMBIN_IMM_CAST_LABEL:
        return check(walker, op, "label", op->a, walker->depth);
    case WASMBIN_IMM_LABELS:
        return check(walker, op, "label", op->b, walker->depth);
    case WASMBIN_IMM_FUNC:
        return check_function(walker, op);
    case WASMBIN_IMM_TAG:
        return check(walker, op, "tag", op->a, wasm->tag_count);
    case WASMBIN_IMM_TYPE:
    case WASMBIN_IMM_TYPE_NUMBER:
        return check(walker, op, "type", op->a, wasm->type_count);
    case WASMBIN_IMM_TYPE_TYPE:
        return check(walker, op, "type", op->a, wasm->type_count) &&
               check(walker, op, "type", op->b, wasm->type_count);
    case WASMBIN_IMM_TYPE_DATA:
        return check(walker, op, "type", op->a, wasm->type_count) && check_data(walker, op, op->b);
    case WASMBIN_IMM_TYPE_ELEM:
        return check(walker, op, "type", op->a, wasm->type_count) && check_elem(walker, op, op->b);
    case WASMBIN_IMM_TYPE_TABLE:
        return check(walker, op, "type", op->a, wasm->type_count) &&
               check(walker, op, "table", op->b, wasm->table_count);
    case WASMBIN_IMM_LOCAL:
        return check(walker, op, "local", op->a, walker->locals);
    case WASMBIN_IMM_GLOBAL:
        return check(walker, op, "global", op->a, wasm->global_count);
    case WASMBIN_IMM_TABLE:
        note_table(walker, op);
        return check(walker, op, "table", op->a, wasm->table_count);
    case WASMBIN_IMM_TABLE_TABLE:
        note_table(walker, op);
        return check(walker, op, "table", op->a, wasm->table_count) &&
               check(walker, op, "table", op->b, wasm->table_count);
    case WASMBIN_IMM_ELEM:
        return check_elem(walker, op, op->a);
    case WASMBIN_IMM_ELEM_TABLE:
        return check_elem(walker, op, op->a) && check(walker, op, "table", op->b, wasm->table_count);
    case WASMBIN_IMM_DATA:
        return check_data(walker, op, op->a);
    case WASMBIN_IMM_DATA_MEMORY:
        return check_data(walker, op, op->a) && check(walker, op, "memory", op->b, wasm->memory_count);
    case WASMBIN_IMM_MEMORY_MEMORY:
        return check(walker, op, "memory", op->a, wasm->memory_count) &&
               check(walker, op, "memory", op->b, wasm->memory_count);
    case WASMBIN_IMM_MEMORY:
    case WASMBIN_IMM_MEMARG:
    case WASMBIN_IMM_MEMARG_LANE:
        return check(walker, op, "memory", op->a, wasm->memory_count);
    case WASMBIN_IMM_NONE:
    case WASMBIN_IMM_TYPES:
    case WASMBIN_IMM_LANE:
    case WASMBIN_IMM_HEAP:
    case WASMBIN_IMM_S32:
    case WASMBIN_IMM_S64:
    case WASMBIN_IMM_BYTES4:
    case WASMBIN_IMM_BYTES8:
    case WASMBIN_IMM_BYTES16:
        return true;
    }
    return false;
}

// ---- nesting ----------------------------------------------------------------------------------------------
static bool nest(struct walker *walker, const struct wasmbin_op *op) {
    switch (op->code) {
    case WASMBIN_BLOCK:
    case WASMBIN_LOOP:
    case WASMBIN_IF:
    case WASMBIN_TRY_TABLE:
        if (walker->depth == WASMBIN_MAX_NESTING)
            return wasmbin_too_many(&walker->reader, "nested blocks", WASMBIN_MAX_NESTING + 1,
                                    WASMBIN_MAX_NESTING);
        walker->open[walker->depth++] = op->code == WASMBIN_IF ? IF : op->code == WASMBIN_LOOP ? LOOP : BLOCK;
        return true;
    case WASMBIN_ELSE:
        if (walker->open[walker->depth - 1] != IF)
            return wasmbin_bad(&walker->reader, op->at, "an `else` without an `if`");
        walker->open[walker->depth - 1] = ELSE;
        return true;
    case WASMBIN_END:
        walker->depth--;
        return true;
    default:
        return true;
    }
}

static bool walk_code(struct walker *walker) {
    struct wasmbin_op op;
    walker->depth = 1;
    walker->open[0] = BLOCK;
    while (walker->depth) {
        if (!wasmbin_next(&walker->reader, &op))
            return false;
        // Most instructions have no index and nest nothing.
        if (op.immediates != WASMBIN_IMM_NONE && !check_indices(walker, &op))
            return false;
        if ((op.code <= WASMBIN_END || op.code == WASMBIN_TRY_TABLE) && !nest(walker, &op))
            return false;
    }
    if (walker->reader.at != walker->reader.end)
        return wasmbin_bad(&walker->reader, walker->reader.at, "a function goes on after its last `end`");
    return true;
}

// ---- bodies -----------------------------------------------------------------------------------------------
// locals ::= vec(count:u32 valtype)
static bool read_locals(struct walker *walker, uint32_t params, struct wasmbin_body *body) {
    struct wasmbin_reader *reader = &walker->reader;
    uint32_t groups;
    uint64_t total = params;
    if (!wasmbin_read_count(reader, "groups of locals", WASMBIN_MAX_LOCALS, &groups))
        return false;
    for (uint32_t i = 0; i < groups; i++) {
        uint32_t count;
        uint8_t type;
        if (!wasmbin_read_u32(reader, "a count of locals", &count) || !wasmbin_read_valtype(reader, &type))
            return false;
        total += count;
        if (total > WASMBIN_MAX_LOCALS)
            return wasmbin_too_many(reader, "locals in a function", total, WASMBIN_MAX_LOCALS);
    }
    walker->locals = (uint32_t)total;
    body->locals = (uint32_t)total - params;
    return true;
}

// code ::= size:u32 locals expr
static bool read_body(struct walker *walker, struct wasmbin_reader *section, uint32_t index) {
    const struct tw_wasm *wasm = walker->parser->wasm;
    struct wasmbin_body *body = &walker->parser->module->bodies[index];
    uint32_t size;
    struct tw_span bytes;
    if (!wasmbin_read_u32(section, "the size of a function", &size))
        return false;
    if (size > WASMBIN_MAX_BODY_BYTES)
        return wasmbin_too_many(section, "bytes in one function", size, WASMBIN_MAX_BODY_BYTES);
    if (!wasmbin_read_bytes(section, "a function", size, &bytes))
        return false;
    walker->reader = (struct wasmbin_reader){section->base, bytes.data, bytes.data + bytes.len, section->err};
    uint32_t type = wasm->func_types[wasm->imported_funcs + index];
    body->start = bytes.data;
    body->end = bytes.data + bytes.len;
    if (!read_locals(walker, wasm->types[type].param_count, body))
        return false;
    body->code = walker->reader.at;
    if (!walk_code(walker))
        return tw_wrap(section->err, "function %u", wasm->imported_funcs + index);
    return true;
}

bool wasmbin_parse_code(struct wasmbin_parser *parser, struct wasmbin_reader *reader) {
    const uint8_t *start = reader->at;
    uint32_t count;
    if (!wasmbin_read_u32(reader, "the count of functions", &count))
        return false;
    if (count != parser->defined_funcs)
        return wasmbin_bad(reader, start, "%u function bodies for %u declared functions", count,
                           parser->defined_funcs);
    struct walker walker = {.parser = parser};
    walker.open = WASMBIN_ARRAY(parser->arena, uint8_t, WASMBIN_MAX_NESTING, parser->err);
    parser->module->bodies = WASMBIN_ARRAY(parser->arena, struct wasmbin_body, count, parser->err);
    if (!walker.open || !parser->module->bodies)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!read_body(&walker, reader, i))
            return false;
    return true;
}

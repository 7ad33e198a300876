// SPDX-License-Identifier: Apache-2.0
//
// Where to poll, so that no guest can run long without one. Three rules:
//
// 1. At every loop header.
// 2. At the entry of every function but small leaves. That covers recursion of all kinds (direct, through
// tables, through
//    the host, by tail calls) and trees of calls: sixty functions that each call the next one twice run for
//    years without a loop.
// 3. Wherever more than WASMBIN_POLL_BUDGET units of work could pass within a function: a hundred thousand
// table.fill in a
//    row take minutes without a loop or a call, and long straight code adds up. Each body is walked, adding up the units since the last poll
//    on the worst path. Between loop headers a body only goes forward, so that is known exactly: at the end
//    of a construct it is the worst of the paths that fall through or branch there.
//
// After a call that polled at its entry the callee may have used the budget up, or it is one of thousands of
// frames that return now, so only WASMBIN_UNWIND_SLACK is left of it.

#include "wasmbin/internal.h"

// Confined. An open construct.
struct construct {
    int32_t entry;       // units when it was opened: what its `else` begins with
    int32_t ending;      // worst units of the branches to its end so far
    bool is_loop, is_if; // is_if: an `if` that had no `else` yet
};

// Confined. Of all bodies, one after the other.
struct poller {
    const struct tw_wasm *wasm;
    const uint8_t *is_small; // by defined function
    struct construct *open;
    uint32_t depth;
    const uint8_t *start; // of the body being walked
    int32_t units;        // since the last poll, on the worst path here; 0 where no path leads
    struct wasmbin_helpers *helpers;
    struct {
        struct wasmbin_edit *items;
        size_t count, capacity;
    } edits; // of this body
    uint32_t poll_count;
    uint32_t constant; // the value that the instruction before this one pushed
    bool has_constant;
    bool is_starved; // no memory
};

static int32_t larger(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static void edit(struct poller *poller, const uint8_t *at, uint32_t helper) {
    struct wasmbin_edit edit = {(uint32_t)(at - poller->start), helper};
    if (!TW_VEC_PUSH(&poller->edits, edit, 2 * WASMBIN_MAX_BODY_BYTES))
        poller->is_starved = true;
}

static void place(struct poller *poller, const uint8_t *at) {
    poller->units = 0;
    poller->poll_count++;
    edit(poller, at, WASMBIN_NO_HELPER);
}

// `units` of work begin at `at`. Polls there when they would be too much.
static void spend(struct poller *poller, const uint8_t *at, int32_t units) {
    if (poller->units + units > WASMBIN_POLL_BUDGET)
        place(poller, at);
    poller->units += units;
}

// ---- what instructions cost -------------------------------------------------------------------------------
// An instruction that takes a length: as said by the constant before it, which is how compilers copy structs;
// else the worst. An array's elements take about as long as an instruction each.
static int32_t bulk_cost(const struct poller *poller, uint32_t code) {
    if (!poller->has_constant)
        return WASMBIN_BULK_COST;
    bool is_array = code >= WASMBIN_ARRAY_NEW && code <= WASMBIN_ARRAY_INIT_ELEM;
    uint32_t per_unit = is_array ? 1 : WASMBIN_BULK_BYTES_PER_UNIT;
    uint32_t units = poller->constant / per_unit + WASMBIN_CALL_COST;
    return units < WASMBIN_BULK_COST ? (int32_t)units : WASMBIN_BULK_COST;
}

// One piece and the way to it.
static int32_t piece_cost(const struct poller *poller, uint32_t code) {
    const int32_t most = WASMBIN_PIECE_BYTES / WASMBIN_BULK_BYTES_PER_UNIT + 4 * WASMBIN_CALL_COST;
    int32_t cost = bulk_cost(poller, code);
    return cost < most || code == WASMBIN_ARRAY_INIT_ELEM ? cost : most;
}

// Without what a callee does.
static int32_t cost_of(const struct poller *poller, uint32_t code) {
    switch (code) {
    case WASMBIN_MEMORY_GROW:
        return WASMBIN_GROW_COST;
    case WASMBIN_MEMORY_COPY:
    case WASMBIN_MEMORY_FILL:
    case WASMBIN_MEMORY_INIT:
    case WASMBIN_ARRAY_FILL:
    case WASMBIN_ARRAY_COPY:
    case WASMBIN_ARRAY_INIT_DATA:
    case WASMBIN_ARRAY_INIT_ELEM:
        return piece_cost(poller, code);
    case WASMBIN_TABLE_INIT:
    case WASMBIN_TABLE_COPY:
    case WASMBIN_TABLE_FILL:
    case WASMBIN_TABLE_GROW:
    case WASMBIN_ARRAY_NEW:
    case WASMBIN_ARRAY_NEW_DEFAULT:
    case WASMBIN_ARRAY_NEW_DATA:
    case WASMBIN_ARRAY_NEW_ELEM:
        return bulk_cost(poller, code);
    case WASMBIN_STRUCT_NEW:
    case WASMBIN_STRUCT_NEW_DEFAULT:
    case WASMBIN_ARRAY_NEW_FIXED:
        return WASMBIN_OBJECT_COST;
    case WASMBIN_THROW:
    case WASMBIN_THROW_REF:
        return WASMBIN_THROW_COST;
    default:
        return 1;
    }
}

static bool is_call(uint32_t code) {
    return code >= WASMBIN_CALL && code <= WASMBIN_RETURN_CALL_REF;
}

// A direct call, or one through a table, which may go to a small leaf as well as to any other function.
static void call(struct poller *poller, const struct wasmbin_op *op) {
    bool is_direct = op->immediates == WASMBIN_IMM_FUNC;
    bool is_own = is_direct && op->a >= poller->wasm->imported_funcs;
    bool is_small = is_own && poller->is_small[op->a - poller->wasm->imported_funcs];
    spend(poller, op->at, is_direct && !is_small ? WASMBIN_CALL_COST : WASMBIN_SMALL_COST);
    if (!is_small)
        poller->units = larger(is_own ? 0 : poller->units, WASMBIN_POLL_BUDGET - WASMBIN_UNWIND_SLACK);
}

// ---- control ----------------------------------------------------------------------------------------------
static void branch(struct poller *poller, uint32_t label) {
    struct construct *target = &poller->open[poller->depth - 1 - label];
    if (!target->is_loop) // to a loop it goes back to the poll at its header
        target->ending = larger(target->ending, poller->units);
}

static void branch_table(struct poller *poller, const struct wasmbin_op *op,
                         const struct wasmbin_reader *reader) {
    struct wasmbin_reader labels = {.base = reader->base, .at = op->labels, .end = reader->end};
    uint32_t label;
    for (uint32_t i = 0; i < op->a && wasmbin_read_u32(&labels, "a label", &label); i++)
        branch(poller, label);
    poller->units = 0;
}

// Whatever was spent when an exception was thrown within: it comes to a poll at once.
static void catch_all(struct poller *poller, const struct wasmbin_op *op,
                      const struct wasmbin_reader *reader) {
    struct wasmbin_reader clauses = {.base = reader->base, .at = op->labels, .end = reader->end};
    struct wasmbin_catch clause;
    int32_t units = poller->units;
    poller->units = WASMBIN_POLL_BUDGET;
    for (uint32_t i = 0; i < op->b && wasmbin_read_catch(&clauses, &clause); i++)
        branch(poller, clause.label);
    poller->units = units;
}

static void leave(struct poller *poller, uint32_t label) {
    branch(poller, label);
    poller->units = 0;
}

static void open_construct(struct poller *poller, const struct wasmbin_op *op, const uint8_t *after) {
    bool is_loop = op->code == WASMBIN_LOOP;
    if (is_loop)
        place(poller, after);
    poller->open[poller->depth++] =
        (struct construct){.entry = poller->units, .is_loop = is_loop, .is_if = op->code == WASMBIN_IF};
}

static void begin_else(struct poller *poller) {
    struct construct *top = &poller->open[poller->depth - 1];
    top->ending = larger(top->ending, poller->units);
    top->is_if = false;
    poller->units = top->entry;
}

static void close_construct(struct poller *poller) {
    const struct construct *closed = &poller->open[--poller->depth];
    poller->units = larger(poller->units, closed->ending);
    if (closed->is_if)
        poller->units = larger(poller->units, closed->entry);
}

static void control(struct poller *poller, const struct wasmbin_op *op, const struct wasmbin_reader *reader) {
    switch (op->code) {
    case WASMBIN_BLOCK:
    case WASMBIN_LOOP:
    case WASMBIN_IF:
        return open_construct(poller, op, reader->at);
    case WASMBIN_ELSE:
        return begin_else(poller);
    case WASMBIN_END:
        return close_construct(poller);
    case WASMBIN_TRY_TABLE:
        catch_all(poller, op, reader);
        return open_construct(poller, op, reader->at);
    case WASMBIN_BR_IF:
    case WASMBIN_BR_ON_NULL:
    case WASMBIN_BR_ON_NON_NULL:
    case WASMBIN_BR_ON_CAST:
    case WASMBIN_BR_ON_CAST_FAIL:
        return branch(poller, op->a);
    case WASMBIN_BR:
        return leave(poller, op->a);
    case WASMBIN_BR_TABLE:
        return branch_table(poller, op, reader);
    case WASMBIN_UNREACHABLE:
    case WASMBIN_RETURN:
    case WASMBIN_RETURN_CALL:
    case WASMBIN_RETURN_CALL_INDIRECT:
    case WASMBIN_RETURN_CALL_REF:
    case WASMBIN_THROW:
    case WASMBIN_THROW_REF:
        poller->units = 0;
        return;
    default:
        return;
    }
}

// ---- bodies -----------------------------------------------------------------------------------------------
// A call instead of an instruction that is done in pieces, unless it is known to be a single one.
static void in_pieces(struct poller *poller, const struct wasmbin_op *op) {
    uint32_t piece = wasmbin_piece(op->code);
    if (!piece || (poller->has_constant && poller->constant <= piece))
        return;
    uint32_t helper = wasmbin_helper_find(poller->helpers, poller->wasm, op);
    if (helper != WASMBIN_NO_HELPER)
        edit(poller, op->at, helper);
}

static void step(struct poller *poller, const struct wasmbin_op *op, const struct wasmbin_reader *reader) {
    spend(poller, op->at, cost_of(poller, op->code));
    in_pieces(poller, op);
    if (is_call(op->code))
        call(poller, op);
    control(poller, op, reader);
    poller->has_constant = op->code == WASMBIN_I32_CONST;
    poller->constant = (uint32_t)op->value;
}

static struct wasmbin_reader reader_of(const struct tw_wasm *wasm, const struct wasmbin_body *body,
                                       struct tw_error *err) {
    return (struct wasmbin_reader){wasm->bytes.data, body->code, body->end, err};
}

// Little code, few locals, no calls, and nothing that takes longer than other instructions.
static bool find_small(const struct tw_wasm *wasm, const struct wasmbin_body *body, uint8_t *ret_small,
                       struct tw_error *err) {
    static const struct poller nothing_known;
    struct wasmbin_reader reader = reader_of(wasm, body, err);
    struct wasmbin_op op;
    if (body->end - body->code > WASMBIN_SMALL_BYTES || body->locals > WASMBIN_SMALL_LOCALS)
        return true;
    while (reader.at < reader.end) {
        if (!wasmbin_next(&reader, &op))
            return false;
        if (is_call(op.code) || cost_of(&nothing_known, op.code) > 1)
            return true;
    }
    *ret_small = 1;
    return true;
}

static bool keep_edits(struct tw_arena *arena, const struct poller *poller, uint32_t func,
                       struct wasmbin_edits *edits, struct tw_error *err) {
    if (poller->poll_count > WASMBIN_MAX_POLLS)
        return tw_fail(err, TW_ERR_MODULE_TOO_LARGE,
                       "function %u has more than %d loops or other places that need a poll; split it", func,
                       WASMBIN_MAX_POLLS);
    if (poller->helpers->is_full)
        return tw_fail(err, TW_ERR_MODULE_TOO_LARGE,
                       "fills and copies that may be long, of more than %d types, memories and segments; use "
                       "fewer, or split the module",
                       WASMBIN_MAX_HELPERS);
    if (poller->is_starved)
        return wasmbin_no_memory(err);
    struct wasmbin_edit *items = WASMBIN_ARRAY(arena, struct wasmbin_edit, poller->edits.count, err);
    if (!items)
        return false;
    if (poller->edits.count)
        memcpy(items, poller->edits.items, poller->edits.count * sizeof *items);
    *edits = (struct wasmbin_edits){items, (uint32_t)poller->edits.count, poller->poll_count};
    return true;
}

static bool walk_body(struct tw_arena *arena, struct poller *poller, uint32_t index,
                      struct wasmbin_edits *edits, struct tw_error *err) {
    const struct wasmbin_body *body = &((const struct wasmbin_module *)poller->wasm->sections)->bodies[index];
    struct wasmbin_reader reader = reader_of(poller->wasm, body, err);
    struct wasmbin_op op = {};
    poller->start = body->start;
    poller->has_constant = false;
    poller->edits.count = 0;
    poller->poll_count = 0;
    poller->units = 0;
    poller->depth = 1;
    poller->open[0] = (struct construct){};
    if (!poller->is_small[index])
        place(poller, body->code);
    while (poller->depth) {
        if (!wasmbin_next(&reader, &op))
            return false;
        step(poller, &op, &reader);
    }
    return keep_edits(arena, poller, poller->wasm->imported_funcs + index, edits, err);
}

bool wasmbin_polls_place(struct tw_arena *arena, const struct tw_wasm *wasm, struct wasmbin_helpers *helpers,
                         struct wasmbin_edits **ret_edits, struct tw_error *err) {
    const struct wasmbin_module *module = wasm->sections;
    uint32_t count = wasm->func_count - wasm->imported_funcs;
    struct wasmbin_edits *edits = WASMBIN_ARRAY(arena, struct wasmbin_edits, count, err);
    struct construct *open = WASMBIN_ARRAY(arena, struct construct, WASMBIN_MAX_NESTING, err);
    uint8_t *is_small = WASMBIN_ARRAY(arena, uint8_t, count, err);
    if (!edits || !open || !is_small)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!find_small(wasm, &module->bodies[i], &is_small[i], err))
            return false;
    struct poller poller = {.wasm = wasm, .is_small = is_small, .open = open, .helpers = helpers};
    bool ok = true;
    for (uint32_t i = 0; i < count && ok; i++)
        ok = walk_body(arena, &poller, i, &edits[i], err);
    free(poller.edits.items);
    if (!ok)
        return false;
    *ret_edits = edits;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// memory.fill, memory.copy, memory.init and their like on arrays of objects take as long as the length that they are given:
// 4 GiB are half a second without a poll. Where it is not known to be small they become calls of functions that stand behind
// the module's own, one for each memory, type or segment that they name, which do the same in pieces with a poll before each:
//
//     (func $fill (param $to i32) (param $value i32) (param $n i32)
//       (block $whole
//         (br_if $whole (i32.le_u $n PIECE)) (br_if $whole (to + n > size))     traps before it writes anything
//         (loop $next poll (memory.fill $to $value PIECE) to += PIECE, n -= PIECE (br_if $next (i32.gt_u $n PIECE))))
//       (memory.fill $to $value $n))                                            the rest, or all of it
//
// A copy to higher places goes from the end to the beginning, so that it reads nothing that it has written. A segment that was
// dropped has no bytes, so its first piece traps as the whole does. What makes an array stays one instruction: no piece of an
// object can be made.

#include "wasmbin/internal.h"

enum { NO_LOCAL = 0xff };

// Where an operation's parameters are. Frozen.
struct shape {
    uint8_t params; // the last one is the count
    uint8_t to, from;
    uint8_t to_array, from_array; // NO_LOCAL: a memory, a segment, or nothing
};
static const struct shape memory_fill = {3, 0, NO_LOCAL, NO_LOCAL, NO_LOCAL},
                          memory_from = {3, 0, 1, NO_LOCAL, NO_LOCAL}, // a memory or a segment
    array_fill = {4, 1, NO_LOCAL, 0, NO_LOCAL}, array_copy = {5, 1, 3, 0, 2},
                          array_init = {4, 1, 2, 0, NO_LOCAL};

static const struct shape *shape_of(uint32_t code) {
    switch (code) {
    case WASMBIN_MEMORY_FILL:
        return &memory_fill;
    case WASMBIN_MEMORY_COPY:
    case WASMBIN_MEMORY_INIT:
        return &memory_from;
    case WASMBIN_ARRAY_FILL:
        return &array_fill;
    case WASMBIN_ARRAY_COPY:
        return &array_copy;
    case WASMBIN_ARRAY_INIT_DATA:
    case WASMBIN_ARRAY_INIT_ELEM:
        return &array_init;
    default:
        return NULL;
    }
}

uint32_t wasmbin_piece(uint32_t code) {
    if (!shape_of(code))
        return 0;
    if (shape_of(code)->to_array == NO_LOCAL)
        return WASMBIN_PIECE_BYTES;
    return code == WASMBIN_ARRAY_INIT_ELEM ? WASMBIN_PIECE_REFERENCES : WASMBIN_PIECE_ELEMENTS;
}

// ---- writing ----------------------------------------------------------------------------------------------
// Confined. A function's bytes as they are put together.
struct code {
    struct wasmbin_helper_body *body;
    const struct wasmbin_poll *poll;
    const struct wasmbin_helper *helper;
    struct shape shape;
    uint32_t piece;
};

static void put(struct code *code, const uint8_t *bytes, size_t len) {
    TW_ASSERT(code->body->len + len <= sizeof code->body->bytes);
    memcpy(code->body->bytes + code->body->len, bytes, len);
    code->body->len += len;
}
#define PUT(code, ...) put((code), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void get(struct code *code, uint8_t local) {
    PUT(code, WASMBIN_LOCAL_GET, local);
}

// The count is the last parameter.
static uint8_t count_of(const struct code *code) {
    return (uint8_t)(code->shape.params - 1);
}

// i32.const or i64.const of a value below 2^31: a signed LEB128.
static void constant(struct code *code, uint8_t opcode, uint32_t value) {
    PUT(code, opcode);
    for (; value > 0x3f; value >>= 7)
        PUT(code, (uint8_t)(value | 0x80));
    PUT(code, (uint8_t)value);
}

static void poll(struct code *code) {
    put(code, code->poll->bytes, code->poll->len);
    PUT(code, (uint8_t)code->body->poll_count++, WASMBIN_DROP);
}

static void leave_when(struct code *code, uint8_t condition) {
    PUT(code, condition, WASMBIN_BR_IF, 0);
}

// The instruction itself, of a piece, or of what is left.
static void one_piece(struct code *code, bool from_the_end) {
    for (uint8_t i = 0; i < count_of(code); i++) {
        get(code, i);
        if (from_the_end && (i == code->shape.to || i == code->shape.from)) {
            get(code, count_of(code));
            PUT(code, WASMBIN_I32_ADD);
        }
    }
    constant(code, WASMBIN_I32_CONST, code->piece);
    put(code, code->helper->instruction.data, code->helper->instruction.len);
}

static void the_rest(struct code *code) {
    for (uint8_t i = 0; i < code->shape.params; i++)
        get(code, i);
    put(code, code->helper->instruction.data, code->helper->instruction.len);
}

// ---- bounds -----------------------------------------------------------------------------------------------
// On the stack, as i64: local + count << shift.
static void range_end(struct code *code, uint8_t local, uint8_t shift) {
    get(code, local);
    PUT(code, WASMBIN_I64_EXTEND_I32_U);
    get(code, count_of(code));
    PUT(code, WASMBIN_I64_EXTEND_I32_U, WASMBIN_I64_CONST, shift, WASMBIN_I64_SHL, WASMBIN_I64_ADD);
}

static void leave_outside_memory(struct code *code, uint8_t local, uint32_t memory) {
    range_end(code, local, 0);
    PUT(code, WASMBIN_MEMORY_SIZE, (uint8_t)memory, WASMBIN_I64_EXTEND_I32_U, WASMBIN_I64_CONST, 16,
        WASMBIN_I64_SHL);
    leave_when(code, WASMBIN_I64_GT_U);
}

static void leave_outside_segment(struct code *code) {
    range_end(code, code->shape.from, code->helper->unit_log2);
    constant(code, WASMBIN_I64_CONST, code->helper->segment_len);
    leave_when(code, WASMBIN_I64_GT_U);
}

static void leave_outside_array(struct code *code, uint8_t array, uint8_t local) {
    get(code, array);
    leave_when(code, WASMBIN_REF_IS_NULL);
    range_end(code, local, 0);
    get(code, array);
    PUT(code, 0xfb, WASMBIN_ARRAY_LEN & 0xff, WASMBIN_I64_EXTEND_I32_U);
    leave_when(code, WASMBIN_I64_GT_U);
}

// Leaves the enclosing block when the instruction would trap: that is left to it, done in one.
static void leave_to_trap(struct code *code) {
    const struct wasmbin_helper *helper = code->helper;
    if (code->shape.to_array != NO_LOCAL)
        leave_outside_array(code, code->shape.to_array, code->shape.to);
    else
        leave_outside_memory(code, code->shape.to,
                             helper->code == WASMBIN_MEMORY_INIT ? helper->b : helper->a);
    if (code->shape.from_array != NO_LOCAL)
        leave_outside_array(code, code->shape.from_array, code->shape.from);
    else if (helper->code == WASMBIN_MEMORY_COPY)
        leave_outside_memory(code, code->shape.from, helper->b);
    else if (code->shape.from != NO_LOCAL)
        leave_outside_segment(code);
}

// ---- loops ------------------------------------------------------------------------------------------------
// local ± by, in the local.
static void step(struct code *code, uint8_t local, uint8_t operation, uint32_t by) {
    get(code, local);
    constant(code, WASMBIN_I32_CONST, by);
    PUT(code, operation, WASMBIN_LOCAL_SET, local);
}

static void again_while_more(struct code *code) {
    get(code, count_of(code));
    constant(code, WASMBIN_I32_CONST, code->piece);
    leave_when(code, WASMBIN_I32_GT_U);
    PUT(code, WASMBIN_END);
}

static void forwards(struct code *code) {
    PUT(code, WASMBIN_LOOP, 0x40);
    poll(code);
    one_piece(code, false);
    step(code, code->shape.to, WASMBIN_I32_ADD, code->piece);
    if (code->shape.from != NO_LOCAL)
        step(code, code->shape.from, WASMBIN_I32_ADD, code->piece << code->helper->unit_log2);
    step(code, count_of(code), WASMBIN_I32_SUB, code->piece);
    again_while_more(code);
}

// Within `block $whole`: leaves it when done, falls through when the copy has to go forwards.
static void backwards(struct code *code) {
    PUT(code, WASMBIN_BLOCK, 0x40);
    get(code, code->shape.to);
    get(code, code->shape.from);
    leave_when(code, WASMBIN_I32_LE_U);
    PUT(code, WASMBIN_LOOP, 0x40);
    poll(code);
    step(code, count_of(code), WASMBIN_I32_SUB, code->piece);
    one_piece(code, true);
    again_while_more(code);
    PUT(code, WASMBIN_BR, 1, WASMBIN_END);
}

// Two arrays may be one.
static bool may_overlap(const struct wasmbin_helper *helper) {
    return helper->code == WASMBIN_ARRAY_COPY ||
           (helper->code == WASMBIN_MEMORY_COPY && helper->a == helper->b);
}

void wasmbin_helper_write(const struct wasmbin_helper *helper, const struct wasmbin_poll *poll_code,
                          struct wasmbin_helper_body *ret_body) {
    struct code code = {ret_body, poll_code, helper, *shape_of(helper->code), wasmbin_piece(helper->code)};
    *ret_body = (struct wasmbin_helper_body){};
    PUT(&code, 0, WASMBIN_BLOCK, 0x40); // no locals
    get(&code, count_of(&code));
    constant(&code, WASMBIN_I32_CONST, code.piece);
    leave_when(&code, WASMBIN_I32_LE_U);
    leave_to_trap(&code);
    if (may_overlap(helper))
        backwards(&code);
    forwards(&code);
    PUT(&code, WASMBIN_END);
    the_rest(&code);
    PUT(&code, WASMBIN_END);
}

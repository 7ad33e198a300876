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
// dropped has no bytes, so its first piece traps as the whole does.
//
// No piece of an object can be made. But zeros are written a dozen times faster than elements, and what is made can then be filled:
//
//     (func $new (param $value i32) (param $n i32) (result (ref $a)) (local $array (ref null $a))
//       (block $whole
//         (br_if $whole (i32.le_u $n PIECE))
//         (array.fill $a (local.tee $array (array.new_default $a $n)) 0 $value $n)          the function for that
//         (return (ref.as_non_null $array)))
//       (array.new $a $value $n))

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
                          array_init = {4, 1, 2, 0, NO_LOCAL},
                          array_new = {2, NO_LOCAL, NO_LOCAL, NO_LOCAL, NO_LOCAL},
                          array_new_from = {2, NO_LOCAL, 0, NO_LOCAL, NO_LOCAL};

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
    case WASMBIN_ARRAY_NEW:
        return &array_new;
    case WASMBIN_ARRAY_NEW_DATA:
    case WASMBIN_ARRAY_NEW_ELEM:
        return &array_new_from;
    default:
        return NULL;
    }
}

uint32_t wasmbin_piece(uint32_t code) {
    switch (code) {
    case WASMBIN_MEMORY_FILL:
    case WASMBIN_MEMORY_COPY:
    case WASMBIN_MEMORY_INIT:
        return WASMBIN_PIECE_BYTES;
    case WASMBIN_ARRAY_FILL:
    case WASMBIN_ARRAY_COPY:
    case WASMBIN_ARRAY_INIT_DATA:
    case WASMBIN_ARRAY_NEW:
    case WASMBIN_ARRAY_NEW_DATA:
        return WASMBIN_PIECE_ELEMENTS;
    case WASMBIN_ARRAY_INIT_ELEM:
    case WASMBIN_ARRAY_NEW_ELEM:
        return WASMBIN_PIECE_REFERENCES;
    default:
        return 0;
    }
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

// A LEB128 of a value below 2^31: `last` is the most that its last byte holds, less when it is signed.
static void number(struct code *code, uint32_t value, uint32_t last) {
    for (; value > last; value >>= 7)
        PUT(code, (uint8_t)(value | 0x80));
    PUT(code, (uint8_t)value);
}

// i32.const or i64.const of a value below 2^31.
static void constant(struct code *code, uint8_t opcode, uint32_t value) {
    PUT(code, opcode);
    number(code, value, 0x3f);
}

// One with a prefix, up to its first index.
static void operation(struct code *code, uint32_t opcode, uint32_t index) {
    PUT(code, (uint8_t)(opcode >> 12));
    number(code, opcode & 0xfff, 0x7f);
    number(code, index, 0x7f);
}

// The instruction that the function stands for.
static void instruction(struct code *code) {
    const struct wasmbin_helper *helper = code->helper;
    operation(code, helper->code, helper->a);
    if (helper->code != WASMBIN_MEMORY_FILL && helper->code != WASMBIN_ARRAY_FILL &&
        helper->code != WASMBIN_ARRAY_NEW)
        number(code, helper->b, 0x7f);
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
    instruction(code);
}

static void the_rest(struct code *code) {
    for (uint8_t i = 0; i < code->shape.params; i++)
        get(code, i);
    instruction(code);
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

static void to_the_end(struct code *code) {
    leave_to_trap(code);
    if (may_overlap(code->helper))
        backwards(code);
    forwards(code);
}

// ---- what makes an array ----------------------------------------------------------------------------------
// Traps where the segment was dropped, before there is an array: takes its last element alone.
static void try_segment(struct code *code) {
    leave_outside_segment(code);
    get(code, count_of(code));
    constant(code, WASMBIN_I32_CONST, 1);
    PUT(code, WASMBIN_I32_SUB);
    constant(code, WASMBIN_I32_CONST, code->helper->unit_log2);
    PUT(code, WASMBIN_I32_SHL);
    get(code, code->shape.from);
    PUT(code, WASMBIN_I32_ADD);
    constant(code, WASMBIN_I32_CONST, 1);
    instruction(code);
    PUT(code, WASMBIN_DROP);
}

static void make_and_fill(struct code *code, uint32_t first_func) {
    uint8_t array = code->shape.params;
    if (code->shape.from != NO_LOCAL)
        try_segment(code);
    get(code, count_of(code));
    operation(code, WASMBIN_ARRAY_NEW_DEFAULT, code->helper->a);
    PUT(code, WASMBIN_LOCAL_TEE, array);
    constant(code, WASMBIN_I32_CONST, 0);
    for (uint8_t i = 0; i < code->shape.params; i++)
        get(code, i);
    PUT(code, WASMBIN_CALL);
    number(code, first_func + code->helper->filler, 0x7f);
    get(code, array);
    PUT(code, WASMBIN_REF_AS_NON_NULL, WASMBIN_RETURN);
}

void wasmbin_helper_write(const struct wasmbin_helper *helper, const struct wasmbin_poll *poll_code,
                          uint32_t first_func, struct wasmbin_helper_body *ret_body) {
    struct code code = {ret_body, poll_code, helper, *shape_of(helper->code), wasmbin_piece(helper->code)};
    bool is_new = wasmbin_makes_array(helper->code);
    *ret_body = (struct wasmbin_helper_body){};
    PUT(&code, is_new);
    if (is_new) { // a local of the array's type
        PUT(&code, 1, WASMBIN_REF_NULL_TYPE);
        number(&code, helper->a, 0x3f);
    }
    PUT(&code, WASMBIN_BLOCK, 0x40);
    get(&code, count_of(&code));
    constant(&code, WASMBIN_I32_CONST, code.piece);
    leave_when(&code, WASMBIN_I32_LE_U);
    if (is_new)
        make_and_fill(&code, first_func);
    else
        to_the_end(&code);
    PUT(&code, WASMBIN_END);
    the_rest(&code);
    PUT(&code, WASMBIN_END);
}

// SPDX-License-Identifier: Apache-2.0
//
// memory.fill and memory.copy of a length that is not known to be small take as long as they like: 4 GiB are half a
// second without a poll. They become calls of functions that stand behind the module's own, one for each memory or
// pair of memories, which do the same in pieces with a poll before each:
//
//     (func $fill (param $to i32) (param $value i32) (param $n i32)
//       (block $whole
//         (br_if $whole (i32.le_u $n PIECE)) (br_if $whole (to + n > size))     traps before it writes anything
//         (loop $next poll (memory.fill $to $value PIECE) to += PIECE, n -= PIECE (br_if $next (i32.gt_u $n PIECE))))
//       (memory.fill $to $value $n))                                            the rest, or all of it
//
// A copy to higher addresses of the same memory goes from the end to the beginning, so that it reads nothing that it has
// written.

#include "wasmbin/internal.h"

enum { TO, FROM, COUNT }; // the parameters; FROM is a fill's value

// Confined. A function's bytes as they are put together.
struct code {
    struct wasmbin_helper_body *body;
    const struct wasmbin_poll *poll;
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

// i32.const PIECE: its signed LEB128 has three bytes.
static void piece(struct code *code) {
    _Static_assert(WASMBIN_PIECE_BYTES == 1 << 18, "the bytes below say 2^18");
    PUT(code, WASMBIN_I32_CONST, 0x80, 0x80, 0x10);
}

static void poll(struct code *code, uint8_t number) {
    put(code, code->poll->bytes, code->poll->len);
    PUT(code, number, WASMBIN_DROP);
    code->body->poll_count++;
}

// The instruction itself, of what is on the stack.
static void bulk(struct code *code, const struct wasmbin_helper *helper) {
    if (helper->is_copy)
        PUT(code, 0xfc, WASMBIN_MEMORY_COPY & 0xff, (uint8_t)helper->to, (uint8_t)helper->from);
    else
        PUT(code, 0xfc, WASMBIN_MEMORY_FILL & 0xff, (uint8_t)helper->to);
}

// Leaves the enclosing block when the range is not all in the memory.
static void leave_outside(struct code *code, uint8_t local, uint32_t memory) {
    get(code, local);
    PUT(code, WASMBIN_I64_EXTEND_I32_U);
    get(code, COUNT);
    PUT(code, WASMBIN_I64_EXTEND_I32_U, WASMBIN_I64_ADD, WASMBIN_MEMORY_SIZE, (uint8_t)memory,
        WASMBIN_I64_EXTEND_I32_U, WASMBIN_I64_CONST, 16, WASMBIN_I64_SHL, WASMBIN_I64_GT_U, WASMBIN_BR_IF, 0);
}

// local ± PIECE, on the stack and in the local.
static void step(struct code *code, uint8_t local, uint8_t operation) {
    get(code, local);
    piece(code);
    PUT(code, operation, WASMBIN_LOCAL_TEE, local);
}

static void again_while_more(struct code *code) {
    piece(code);
    PUT(code, WASMBIN_I32_GT_U, WASMBIN_BR_IF, 0, WASMBIN_END);
}

static void forwards(struct code *code, const struct wasmbin_helper *helper, uint8_t number) {
    PUT(code, WASMBIN_LOOP, 0x40);
    poll(code, number);
    get(code, TO);
    get(code, FROM);
    piece(code);
    bulk(code, helper);
    step(code, TO, WASMBIN_I32_ADD);
    PUT(code, WASMBIN_DROP);
    if (helper->is_copy) {
        step(code, FROM, WASMBIN_I32_ADD);
        PUT(code, WASMBIN_DROP);
    }
    step(code, COUNT, WASMBIN_I32_SUB);
    again_while_more(code);
}

// Within `block $whole`: leaves it when done, falls through when the copy has to go forwards.
static void backwards(struct code *code, const struct wasmbin_helper *helper) {
    PUT(code, WASMBIN_BLOCK, 0x40);
    get(code, TO);
    get(code, FROM);
    PUT(code, WASMBIN_I32_LE_U, WASMBIN_BR_IF, 0, WASMBIN_LOOP, 0x40);
    poll(code, 0);
    get(code, TO);
    step(code, COUNT, WASMBIN_I32_SUB);
    PUT(code, WASMBIN_I32_ADD);
    get(code, FROM);
    get(code, COUNT);
    PUT(code, WASMBIN_I32_ADD);
    piece(code);
    bulk(code, helper);
    get(code, COUNT);
    again_while_more(code);
    PUT(code, WASMBIN_BR, 1, WASMBIN_END);
}

void wasmbin_helper_write(const struct wasmbin_helper *helper, const struct wasmbin_poll *poll_code,
                          struct wasmbin_helper_body *ret_body) {
    struct code code = {ret_body, poll_code};
    bool may_overlap = helper->is_copy && helper->to == helper->from;
    *ret_body = (struct wasmbin_helper_body){};
    PUT(&code, 0, WASMBIN_BLOCK, 0x40); // no locals
    get(&code, COUNT);
    piece(&code);
    PUT(&code, WASMBIN_I32_LE_U, WASMBIN_BR_IF, 0);
    leave_outside(&code, TO, helper->to);
    if (helper->is_copy)
        leave_outside(&code, FROM, helper->from);
    if (may_overlap)
        backwards(&code, helper);
    forwards(&code, helper, may_overlap);
    PUT(&code, WASMBIN_END);
    get(&code, TO);
    get(&code, FROM);
    get(&code, COUNT);
    bulk(&code, helper);
    PUT(&code, WASMBIN_END);
}

uint32_t wasmbin_helper_find(struct wasmbin_helpers *helpers, const struct wasmbin_op *op) {
    struct wasmbin_helper wanted = {.is_copy = op->code == WASMBIN_MEMORY_COPY, .to = op->a};
    if (wanted.is_copy)
        wanted.from = op->b;
    for (uint32_t i = 0; i < helpers->count; i++) {
        const struct wasmbin_helper *helper = &helpers->items[i];
        if (helper->is_copy == wanted.is_copy && helper->to == wanted.to && helper->from == wanted.from)
            return i;
    }
    TW_ASSERT(helpers->count < WASMBIN_MAX_HELPERS);
    helpers->items[helpers->count] = wanted;
    return helpers->count++;
}

bool wasmbin_is_helper_type(const struct tw_wasm_functype *type) {
    static const uint8_t params[] = {TW_WASM_I32, TW_WASM_I32, TW_WASM_I32};
    return type->param_count == sizeof params && type->result_count == 0 &&
           memcmp(type->params, params, sizeof params) == 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// Constant expressions: initial values of globals, offsets of segments, elements. They are read with the
// extended constants (add, sub, mul) and evaluated for integers and floats; vectors and references are
// only counted. What depends on an imported global is not known here. Types are the engine's to check,
// apart from what evaluation needs: as soon as an object is made, all that is known is that a reference comes out.
//
//     expr ::= (t.const c | ref.null t | ref.func x | ref.i31 | global.get x | t.add | t.sub | t.mul
//               | struct.new… t | array.new… t | any.convert_extern | extern.convert_any)* end

#include "wasmbin/internal.h"

// Confined.
struct stack {
    struct wasmbin_constant values[WASMBIN_MAX_CONSTANT_STACK];
    uint32_t count;
    bool is_opaque; // an object was made: the values are not followed any more
};

static bool push(struct stack *stack, const struct wasmbin_reader *reader, struct wasmbin_constant value) {
    if (stack->is_opaque)
        return true;
    if (stack->count == WASMBIN_MAX_CONSTANT_STACK)
        return wasmbin_too_many(reader, "values on the stack of a constant expression", stack->count + 1,
                                WASMBIN_MAX_CONSTANT_STACK);
    stack->values[stack->count++] = value;
    return true;
}

static uint64_t combine(uint32_t code, uint64_t a, uint64_t b) {
    if (code == WASMBIN_I32_ADD || code == WASMBIN_I64_ADD)
        return a + b;
    return code == WASMBIN_I32_SUB || code == WASMBIN_I64_SUB ? a - b : a * b;
}

// The two topmost values become one.
static bool operate(struct stack *stack, const struct wasmbin_reader *reader, const struct wasmbin_op *op,
                    uint8_t type) {
    if (stack->is_opaque)
        return true;
    if (stack->count < 2)
        return wasmbin_bad(reader, op->at, "a constant expression takes more values than there are");
    const struct wasmbin_constant *b = &stack->values[--stack->count];
    struct wasmbin_constant *a = &stack->values[stack->count - 1];
    if (a->type != type || b->type != type)
        return wasmbin_bad(reader, op->at, "a constant expression adds values of other types");
    a->is_known = a->is_known && b->is_known;
    uint64_t value = a->is_known ? combine(op->code, a->value, b->value) : 0;
    a->value = type == TW_WASM_I32 ? (uint32_t)value : value;
    return true;
}

static bool get_global(struct wasmbin_parser *parser, struct stack *stack,
                       const struct wasmbin_reader *reader, const struct wasmbin_op *op) {
    if (!wasmbin_check_index(reader, op->at, "global", op->a, parser->wasm->global_count))
        return false;
    if (parser->wasm->globals[op->a].is_mutable)
        return wasmbin_bad(reader, op->at, "a constant expression reads global %u, which is mutable", op->a);
    return push(stack, reader, parser->module->globals[op->a]);
}

// A constant's type; 0: the instruction is none.
static uint8_t constant_type(const struct wasmbin_op *op) {
    switch (op->code) {
    case WASMBIN_I32_CONST:
        return TW_WASM_I32;
    case WASMBIN_I64_CONST:
        return TW_WASM_I64;
    case WASMBIN_F32_CONST:
        return TW_WASM_F32;
    case WASMBIN_F64_CONST:
        return TW_WASM_F64;
    case WASMBIN_V128_CONST:
        return TW_WASM_V128;
    case WASMBIN_REF_NULL:
        return (uint8_t)op->a;
    default:
        return 0;
    }
}

static struct wasmbin_constant constant_of(const struct wasmbin_op *op, uint8_t type) {
    struct wasmbin_constant constant = {.type = type, .is_known = true};
    const uint8_t *bytes = op->at + 1; // of a float, little-endian
    for (unsigned i = 0; i < 8 && (type == TW_WASM_F64 || (type == TW_WASM_F32 && i < 4)); i++)
        constant.value |= (uint64_t)bytes[i] << (8 * i);
    if (type == TW_WASM_I32 || type == TW_WASM_I64)
        constant.value = type == TW_WASM_I32 ? (uint32_t)op->value : (uint64_t)op->value;
    else
        constant.is_known = type == TW_WASM_F32 || type == TW_WASM_F64;
    return constant;
}

// An instruction that makes an object of a type or turns one reference into another.
static bool is_of_objects(const struct wasmbin_op *op) {
    return (op->code >= WASMBIN_STRUCT_NEW && op->code <= WASMBIN_STRUCT_NEW_DEFAULT) ||
           (op->code >= WASMBIN_ARRAY_NEW && op->code <= WASMBIN_ARRAY_NEW_FIXED) ||
           (op->code >= WASMBIN_ANY_CONVERT_EXTERN && op->code <= WASMBIN_REF_I31);
}

static bool step(struct wasmbin_parser *parser, struct stack *stack, const struct wasmbin_reader *reader,
                 const struct wasmbin_op *op) {
    uint8_t type = constant_type(op);
    if (type)
        return push(stack, reader, constant_of(op, type));
    if (is_of_objects(op)) {
        stack->is_opaque = true;
        return op->immediates == WASMBIN_IMM_NONE ||
               wasmbin_check_index(reader, op->at, "type", op->a, parser->wasm->type_count);
    }
    switch (op->code) {
    case WASMBIN_REF_FUNC:
        return wasmbin_check_index(reader, op->at, "function", op->a, parser->wasm->func_count) &&
               wasmbin_declare(parser, op->a) &&
               push(stack, reader, (struct wasmbin_constant){.type = TW_WASM_FUNCREF});
    case WASMBIN_GLOBAL_GET:
        return get_global(parser, stack, reader, op);
    case WASMBIN_I32_ADD:
    case WASMBIN_I32_SUB:
    case WASMBIN_I32_MUL:
        return operate(stack, reader, op, TW_WASM_I32);
    case WASMBIN_I64_ADD:
    case WASMBIN_I64_SUB:
    case WASMBIN_I64_MUL:
        return operate(stack, reader, op, TW_WASM_I64);
    default:
        return wasmbin_bad(reader, op->at, "instruction 0x%02x is not allowed in a constant expression",
                           op->code);
    }
}

bool wasmbin_read_constant(struct wasmbin_parser *parser, struct wasmbin_reader *reader,
                           struct wasmbin_constant *ret_constant) {
    const uint8_t *start = reader->at;
    struct stack stack;
    stack.count = 0;
    stack.is_opaque = false;
    struct wasmbin_op op;
    for (;;) {
        if (!wasmbin_next(reader, &op))
            return false;
        if (op.code == WASMBIN_END)
            break;
        if (!step(parser, &stack, reader, &op))
            return false;
    }
    if (stack.is_opaque) {
        *ret_constant = (struct wasmbin_constant){.type = TW_WASM_REF};
        return true;
    }
    if (stack.count != 1)
        return wasmbin_bad(reader, start, "a constant expression leaves %u values, it must leave one",
                           stack.count);
    *ret_constant = stack.values[0];
    return true;
}

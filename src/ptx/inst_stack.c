// SPDX-License-Identifier: Apache-2.0
//
// alloca, stacksave, stackrestore: memory whose size is known when the function runs. A function that has one of them
// has a local array of PTX_STACK_BYTES and a register with the address of what is free in it, which its beginning
// sets: so returning frees what was allocated. A thread that asks for more than is left traps.

#include "sequence.h"

static bool has_stack(struct ptx_parser *parser) {
    if (parser->stack_top != TW_KIR_NO_REG)
        return true;
    struct tw_kir_variable stack = {
        .space = TW_KIR_LOCAL, .align = 16, .size = PTX_STACK_BYTES, .function = parser->function};
    stack.name = tw_arena_printf(parser->arena, "alloca.%u", parser->module->variable_count);
    if (!stack.name)
        return ptx_fail_memory(parser);
    parser->stack = tw_kir_variable_add(parser->module, &stack, parser->err);
    return parser->stack != TW_KIR_NO_REG && ptx_temp(parser, 64, &parser->stack_top);
}

// Puts the address of the array before the function's first instruction.
bool ptx_stack_end(struct ptx_parser *parser) {
    if (parser->stack_top == TW_KIR_NO_REG)
        return true;
    struct tw_kir_block *first = &ptx_current(parser)->blocks[0], old = *first;
    *first = (struct tw_kir_block){.label = old.label};
    struct tw_kir_inst *inst =
        tw_kir_inst_add(parser->module, first, TW_KIR_ADDR, TW_KIR_U64, 1, 0, 0, parser->err);
    if (!inst)
        return false;
    inst->index = parser->stack;
    inst->dst[0] = parser->stack_top;
    for (uint32_t i = 0; i < old.count; i++) {
        inst =
            tw_kir_inst_add(parser->module, first, old.insts[i].op, old.insts[i].type, 0, 0, 0, parser->err);
        if (!inst)
            return false;
        *inst = old.insts[i];
    }
    return true;
}

static bool set_top(struct ptx_parser *parser, struct tw_kir_operand value) {
    struct tw_kir_inst *to = ptx_emit_free(parser, TW_KIR_MOV, TW_KIR_U64, 1, 1);
    if (!to)
        return false;
    to->dst[0] = parser->stack_top;
    to->src[0] = value;
    return true;
}

// `value` to the register of the statement's type.
static bool give(struct ptx_sequence *s, const struct ptx_inst *inst, const struct ptx_scalar *target,
                 struct tw_kir_operand value) {
    uint32_t reg;
    if (inst->type == TW_KIR_U32)
        value = ptx_convert(s, TW_KIR_U64, TW_KIR_U32, value);
    if (s->failed || !ptx_target(s->parser, target, inst->type, &reg))
        return false;
    struct tw_kir_inst *to = ptx_emit_free(s->parser, TW_KIR_MOV, inst->type, 1, 1);
    if (!to)
        return false;
    to->dst[0] = reg;
    to->src[0] = value;
    return true;
}

// ptr, size {, alignment}
static bool allocate(struct ptx_parser *parser, struct ptx_inst *inst, const struct ptx_operand *target) {
    struct ptx_operand size;
    struct tw_kir_operand bytes;
    int64_t align = 8;
    bool has_align;
    if (!ptx_expect(parser, ',') || !ptx_operand(parser, &size) ||
        !ptx_source(parser, &size.items[0], inst->type, &bytes) || !ptx_accept(parser, ',', &has_align) ||
        (has_align && !ptx_integer(parser, 1, 4'096, "the alignment of alloca", &align)))
        return false;
    if (align & (align - 1))
        return ptx_fail(parser, &inst->token, "alignment %" PRId64 " is no power of two", align);
    struct ptx_sequence s = {.parser = parser};
    const struct tw_kir_operand top = tw_kir_reg_operand(parser->stack_top);
    struct tw_kir_operand begin = ptx_step(&s, TW_KIR_ADDR, TW_KIR_U64, 64, NULL, 0);
    if (!s.failed)
        ptx_last_step(&s)->index = parser->stack;
    struct tw_kir_operand end = ptx_binary(&s, TW_KIR_ADD, TW_KIR_U64, begin, ptx_number(PTX_STACK_BYTES));
    struct tw_kir_operand up = ptx_binary(&s, TW_KIR_ADD, TW_KIR_U64, top, ptx_number((uint64_t)align - 1));
    struct tw_kir_operand at = ptx_binary(&s, TW_KIR_AND, TW_KIR_B64, up, ptx_number(~((uint64_t)align - 1)));
    if (inst->type == TW_KIR_U32)
        bytes = ptx_convert(&s, TW_KIR_U32, TW_KIR_U64, bytes);
    struct tw_kir_operand next = ptx_binary(&s, TW_KIR_ADD, TW_KIR_U64, at, bytes);
    struct tw_kir_operand beyond = ptx_test(&s, TW_KIR_GT, TW_KIR_U64, next, end),
                          wrapped = ptx_test(&s, TW_KIR_LT, TW_KIR_U64, next, top);
    struct tw_kir_operand bad = ptx_binary(&s, TW_KIR_OR, TW_KIR_PRED, beyond, wrapped);
    struct tw_kir_inst *trap = s.failed ? NULL : ptx_emit_free(parser, TW_KIR_TRAP, TW_KIR_PRED, 0, 0);
    if (!trap)
        return false;
    trap->guard = bad.reg;
    return set_top(parser, next) && give(&s, inst, &target->items[0], at);
}

static bool restore(struct ptx_parser *parser, const struct ptx_inst *inst,
                    const struct ptx_operand *source) {
    struct ptx_sequence s = {.parser = parser};
    struct tw_kir_operand value;
    if (!ptx_source(parser, &source->items[0], inst->type, &value))
        return false;
    if (inst->type == TW_KIR_U32)
        value = ptx_convert(&s, TW_KIR_U32, TW_KIR_U64, value);
    return !s.failed && set_top(parser, value);
}

bool ptx_lower_stack(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_operand first;
    uint32_t *skip;
    if (!has_stack(parser) || !ptx_guard_begin(parser, inst, &skip) || !ptx_operand(parser, &first))
        return false;
    struct ptx_sequence s = {.parser = parser};
    bool good = inst->row->op == TW_KIR_ADDR ? allocate(parser, inst, &first)
                : inst->row->op == TW_KIR_LD
                    ? give(&s, inst, &first.items[0], tw_kir_reg_operand(parser->stack_top))
                    : restore(parser, inst, &first);
    return good && ptx_guard_end(parser, skip);
}

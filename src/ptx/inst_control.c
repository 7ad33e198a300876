// SPDX-License-Identifier: Apache-2.0
//
// Control flow: branches, returns, traps, and calls of device functions with the .param variables that carry
// their values.

#include "internal.h"

bool ptx_lower_bra(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_token label = parser->token;
    if (label.kind != PTX_WORD)
        return ptx_fail_expected(parser, "a label");
    bool guarded = inst->guard != TW_KIR_NO_REG;
    struct tw_kir_inst *to =
        ptx_emit_branch(parser, guarded ? TW_KIR_BRC : TW_KIR_BR, guarded ? 1 : 0, guarded ? 2 : 1);
    if (!to)
        return false;
    if (ptx_has(inst, PTX_G_UNI))
        to->mods |= TW_KIR_UNIFORM;
    uint32_t *targets = to->targets;
    if (guarded)
        to->src[0] = tw_kir_reg_operand(inst->guard);
    unsigned taken = guarded && inst->guard_not ? 1 : 0;
    if (!ptx_branch_to(parser, &label, &targets[taken]))
        return false;
    if (guarded) {
        if (!ptx_block_open(parser, NULL))
            return false;
        targets[!taken] = parser->block;
    }
    return ptx_next(parser);
}

bool ptx_lower_brx(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand index;
    uint32_t *skip;
    if (!ptx_operands(parser, inst, 1, 1) || !ptx_expect(parser, ','))
        return false;
    struct ptx_token name = parser->token;
    const struct ptx_symbol *table = name.kind == PTX_WORD ? ptx_symbol_find(parser, name.text) : NULL;
    if (!table || table->kind != PTX_SYM_TARGETS)
        return ptx_fail_expected(parser, "the label of a .branchtargets list that stands before");
    if (!ptx_source(parser, &inst->src[0].items[0], TW_KIR_U32, &index) ||
        !ptx_guard_begin(parser, inst, &skip))
        return false;
    struct tw_kir_inst *to = ptx_emit_branch(parser, TW_KIR_BRX, 1, table->count);
    if (!to)
        return false;
    to->src[0] = index;
    uint32_t *targets = to->targets;
    for (uint32_t i = 0; i < table->count; i++)
        if (!ptx_branch_to(parser, &table->names[i], &targets[i]))
            return false;
    return ptx_guard_end(parser, skip) && ptx_next(parser);
}

// ret and exit
bool ptx_lower_leave(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint32_t *skip;
    return ptx_guard_begin(parser, inst, &skip) && ptx_emit_branch(parser, inst->row->op, 0, 0) &&
           ptx_guard_end(parser, skip);
}

bool ptx_lower_trap(struct ptx_parser *parser, [[maybe_unused]] struct ptx_inst *inst) {
    return ptx_emit(parser, TW_KIR_TRAP, TW_KIR_PRED, 0, 0) != NULL;
}

bool ptx_lower_nanosleep(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand time;
    if (!ptx_operands(parser, inst, 1, 1) || !ptx_source(parser, &inst->src[0].items[0], TW_KIR_U32, &time))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_NANOSLEEP, TW_KIR_U32, 0, 1);
    if (!to)
        return false;
    to->src[0] = time;
    return true;
}

bool ptx_lower_pmevent(struct ptx_parser *parser, [[maybe_unused]] struct ptx_inst *inst) {
    int64_t event;
    return ptx_integer(parser, 0, UINT16_MAX, "a performance event", &event);
}

// ---- call ----

// A .param variable stands for its register; others are registers and constants themselves.
static bool call_item(struct ptx_parser *parser, struct ptx_scalar *ret_item,
                      const struct ptx_symbol **ret_symbol) {
    const struct ptx_symbol *symbol =
        parser->token.kind == PTX_WORD ? ptx_symbol_find(parser, parser->token.text) : NULL;
    *ret_symbol = NULL;
    if (symbol && symbol->kind == PTX_SYM_ARGUMENT) {
        *ret_item = (struct ptx_scalar){.form = PTX_REG,
                                        .type = symbol->is_memory ? TW_KIR_U64 : symbol->type,
                                        .reg = symbol->index,
                                        .token = parser->token};
        *ret_symbol = symbol->is_memory ? symbol : NULL;
        return ptx_next(parser);
    }
    struct ptx_operand operand;
    if (!ptx_operand(parser, &operand))
        return false;
    *ret_item = operand.items[0];
    return !operand.braces || ptx_fail(parser, &ret_item->token, "calls take no { } operands");
}

static bool call_list(struct ptx_parser *parser, struct ptx_scalar *items, const struct ptx_symbol **symbols,
                      unsigned most, unsigned *ret_count) {
    if (!ptx_expect(parser, '('))
        return false;
    for (bool more = !ptx_is(parser, ')'); more;) {
        const struct ptx_symbol *symbol;
        if (*ret_count == most)
            return ptx_fail_quota(parser, &parser->token, "a call passes more than %u values", most);
        if (!call_item(parser, &items[*ret_count], &symbol))
            return false;
        symbols[*ret_count] = symbol;
        ++*ret_count;
        if (!ptx_accept(parser, ',', &more))
            return false;
    }
    return ptx_expect(parser, ')');
}

// A call through a pointer names a register.
static bool read_pointer(struct ptx_parser *parser, struct ptx_call *call) {
    struct ptx_operand operand;
    if (!ptx_operand(parser, &operand))
        return false;
    call->pointer = operand.items[0];
    return (!operand.braces && call->pointer.form == PTX_REG && !call->pointer.negated) ||
           ptx_fail(parser, &call->name, "'%.*s' is neither a function nor a register that points to one",
                    TW_STR_ARG(call->name.text));
}

// The label of a .callprototype or .calltargets that stands before.
static bool read_prototype(struct ptx_parser *parser) {
    const struct ptx_symbol *symbol =
        parser->token.kind == PTX_WORD ? ptx_symbol_find(parser, parser->token.text) : NULL;
    if (!symbol || symbol->kind != PTX_SYM_TARGETS)
        return ptx_fail_expected(parser, "the label of a .callprototype or .calltargets that stands before");
    return ptx_next(parser);
}

static bool read_call(struct ptx_parser *parser, struct ptx_call *call) {
    if (ptx_is(parser, '(') &&
        (!call_list(parser, call->results, call->result_symbols, PTX_MAX_RESULTS, &call->result_count) ||
         !ptx_expect(parser, ',')))
        return false;
    call->name = parser->token;
    const struct ptx_symbol *symbol =
        call->name.kind == PTX_WORD ? ptx_symbol_find(parser, call->name.text) : NULL;
    if (!symbol && call->name.kind == PTX_WORD && call->name.text.data[0] != '%')
        return ptx_fail(parser, &call->name, "function '%.*s' is not declared", TW_STR_ARG(call->name.text));
    bool more;
    call->callee = NULL;
    if (symbol && symbol->kind == PTX_SYM_FUNCTION) {
        call->callee = &parser->module->functions[symbol->index];
        if (!ptx_next(parser))
            return false;
    } else if (!read_pointer(parser, call))
        return false;
    if (!ptx_accept(parser, ',', &more))
        return false;
    bool listed = more && (call->callee || ptx_is(parser, '('));
    if (listed &&
        !call_list(parser, call->arguments, call->argument_symbols, PTX_MAX_ARGUMENTS, &call->argument_count))
        return false;
    if (call->callee)
        return true;
    return (more && !listed ? true : ptx_expect(parser, ',')) && read_prototype(parser);
}

// After the call: a memory result lies in the callee's frame; copy it into the caller's variable.
static bool copy_result(struct ptx_parser *parser, const struct ptx_symbol *to, uint32_t from) {
    uint32_t unit = to->count >= 8 ? 8 : to->count; // count: alignment
    uint8_t type = ptx_integer_type(unit * 8, false);
    for (uint32_t at = 0; at < to->bytes;) {
        while (unit > to->bytes - at) {
            unit /= 2;
            type = ptx_integer_type(unit * 8, false);
        }
        uint32_t value;
        if (!ptx_temp(parser, unit * 8, &value))
            return false;
        struct tw_kir_inst *load = ptx_emit(parser, TW_KIR_LD, type, 1, 1);
        if (!load)
            return false;
        load->space = TW_KIR_LOCAL;
        load->offset = at;
        load->dst[0] = value;
        load->src[0] = tw_kir_reg_operand(from);
        struct tw_kir_inst *store = ptx_emit(parser, TW_KIR_ST, type, 0, 2);
        if (!store)
            return false;
        store->space = TW_KIR_LOCAL;
        store->offset = at;
        store->src[0] = tw_kir_reg_operand(to->index);
        store->src[1] = tw_kir_reg_operand(value);
        at += unit;
    }
    return true;
}

static bool emit_call(struct ptx_parser *parser, struct ptx_call *call) {
    const struct tw_kir_function *callee = call->callee;
    struct tw_kir_operand sources[PTX_MAX_ARGUMENTS];
    uint32_t targets[PTX_MAX_RESULTS];
    if (call->result_count != callee->result_count || call->argument_count != callee->param_count)
        return ptx_fail(parser, &call->name,
                        "%s has %u parameters and %u results, the call gives %u and takes %u", callee->name,
                        callee->param_count, callee->result_count, call->argument_count, call->result_count);
    for (unsigned i = 0; i < call->argument_count; i++)
        if (!ptx_source(parser, &call->arguments[i],
                        callee->params[i].type == TW_KIR_B8 && callee->regs[callee->params[i].reg].bits == 64
                            ? TW_KIR_U64
                            : (uint8_t)callee->params[i].type,
                        &sources[i]))
            return false;
    for (unsigned i = 0; i < call->result_count; i++) {
        targets[i] = TW_KIR_NO_REG;
        if (call->result_symbols[i] && !ptx_temp(parser, 64, &targets[i]))
            return false;
        if (!call->result_symbols[i] &&
            !ptx_target(parser, &call->results[i], (uint8_t)callee->results[i].type, &targets[i]))
            return false;
    }
    uint32_t index = (uint32_t)(callee - parser->module->functions);
    struct tw_kir_inst *to =
        ptx_emit(parser, TW_KIR_CALL, TW_KIR_PRED, call->result_count, call->argument_count);
    if (!to)
        return false;
    to->index = index;
    for (unsigned i = 0; i < call->argument_count; i++)
        to->src[i] = sources[i];
    for (unsigned i = 0; i < call->result_count; i++)
        to->dst[i] = targets[i];
    memcpy(call->targets, targets, sizeof targets);
    return true;
}

static bool copy_results(struct ptx_parser *parser, const struct ptx_call *call) {
    for (unsigned i = 0; i < call->result_count; i++)
        if (call->result_symbols[i] && !copy_result(parser, call->result_symbols[i], call->targets[i]))
            return false;
    return true;
}

// vprintf(format, arguments)
static bool emit_printf(struct ptx_parser *parser, struct ptx_call *call) {
    struct tw_kir_operand sources[2];
    uint32_t target = TW_KIR_NO_REG;
    if (call->argument_count != 2 || call->result_count > 1)
        return ptx_fail(parser, &call->name, "vprintf takes two addresses and gives one result");
    if (!ptx_source(parser, &call->arguments[0], TW_KIR_U64, &sources[0]) ||
        !ptx_source(parser, &call->arguments[1], TW_KIR_U64, &sources[1]) ||
        (call->result_count && !ptx_target(parser, &call->results[0], TW_KIR_U32, &target)))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_PRINTF, TW_KIR_U32, 1, 2);
    if (!to)
        return false;
    to->dst[0] = target;
    memcpy(to->src, sources, sizeof sources);
    return true;
}

static bool direct_call(struct ptx_parser *parser, struct ptx_call *call) {
    static const char *const heap[] = {"malloc", "free", "cudaMalloc", "cudaLaunchDevice",
                                       "cudaGetParameterBuffer"};
    const char *name = call->callee->name;
    for (size_t i = 0; call->callee->is_declaration && i < TW_COUNT(heap); i++)
        if (strcmp(name, heap[i]) == 0)
            return ptx_refuse(parser, &call->name,
                              "%s inside kernels is not offered; allocate before the launch", name);
    if (call->callee->is_declaration && strcmp(name, "vprintf") == 0)
        return emit_printf(parser, call);
    if (call->callee->is_declaration && strcmp(name, "__assertfail") == 0)
        return ptx_emit(parser, TW_KIR_TRAP, TW_KIR_PRED, 0, 0) != NULL;
    return emit_call(parser, call) && copy_results(parser, call);
}

bool ptx_lower_call(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_call *call = parser->call ? parser->call : TW_ARENA_NEW(parser->arena, struct ptx_call);
    uint32_t *skip;
    if (!call)
        return ptx_fail_memory(parser);
    parser->call = call;
    call->result_count = call->argument_count = 0;
    if (!read_call(parser, call))
        return false;
    if (!ptx_guard_begin(parser, inst, &skip))
        return false;
    bool good = call->callee ? direct_call(parser, call)
                             : ptx_indirect_call(parser, call) && copy_results(parser, call);
    return good && ptx_guard_end(parser, skip);
}

// SPDX-License-Identifier: Apache-2.0
//
// Calls through pointers. The address of a function is a number made from its index. A call through a pointer
// jumps to a chain of comparisons with the functions whose address is taken anywhere in the module and which
// take and give as many values of the same widths; each has a direct call behind it, and a pointer that is
// none of them ends the launch. The chain is made when the whole module has been read.

#include "internal.h"

// A call whose chain waits for the end of the module. Confined.
struct ptx_indirect {
    struct ptx_indirect *next;
    struct ptx_token token;
    uint32_t function, join; // where it stands; the block behind it
    uint32_t *entry;         // the branch to the chain
    struct tw_kir_operand pointer;
    unsigned count, result_count;
    struct tw_kir_operand *arguments;
    uint8_t *widths, *result_widths; // in bits; 0: memory, passed by its address
    uint32_t *results;
};

enum { MEMORY = 0, FUNCTION_STEP = 16 };

bool ptx_function_address(struct ptx_parser *parser, uint32_t function, uint64_t *ret_address) {
    if (!parser->taken) {
        parser->taken = TW_ARENA_ARRAY(parser->arena, bool, TW_KIR_MAX_FUNCTIONS);
        if (!parser->taken)
            return ptx_fail_memory(parser);
    }
    parser->taken[function] = true;
    *ret_address = (uint64_t)(function + 1) * FUNCTION_STEP;
    return true;
}

// name: .callprototype …; and name: .calltargets …; say nothing that the call does not say itself.
bool ptx_call_label(struct ptx_parser *parser, const struct ptx_token *name) {
    struct ptx_symbol *symbol = ptx_symbol_add(parser, name, PTX_SYM_TARGETS);
    if (!symbol)
        return false;
    symbol->count = 0;
    while (!ptx_is(parser, ';')) {
        if (parser->token.kind == PTX_END)
            return ptx_fail_expected(parser, "';'");
        if (!ptx_next(parser))
            return false;
    }
    return ptx_next(parser);
}

static uint8_t width_of(struct ptx_parser *parser, const struct ptx_scalar *item,
                        const struct ptx_symbol *memory) {
    return memory ? MEMORY : (uint8_t)ptx_current(parser)->regs[item->reg].bits;
}

static bool take_values(struct ptx_parser *parser, const struct ptx_call *call, struct ptx_indirect *site) {
    for (unsigned i = 0; i < call->argument_count; i++) {
        const struct ptx_scalar *item = &call->arguments[i];
        if (item->form != PTX_REG)
            return ptx_fail(parser, &item->token,
                            "a call through a pointer passes registers and .param variables");
        site->widths[i] = width_of(parser, item, call->argument_symbols[i]);
        site->arguments[i] = tw_kir_reg_operand(item->reg);
    }
    for (unsigned i = 0; i < call->result_count; i++) {
        const struct ptx_scalar *item = &call->results[i];
        site->results[i] = TW_KIR_NO_REG;
        if (item->form != PTX_REG)
            return ptx_fail(parser, &item->token,
                            "the result of a call through a pointer goes to a register or a .param variable");
        site->result_widths[i] = width_of(parser, item, call->result_symbols[i]);
        if (!call->result_symbols[i])
            site->results[i] = item->reg;
        else if (!ptx_temp(parser, 64, &site->results[i]))
            return false;
    }
    return true;
}

bool ptx_indirect_call(struct ptx_parser *parser, struct ptx_call *call) {
    struct ptx_indirect *site = TW_ARENA_NEW(parser->arena, struct ptx_indirect);
    if (!site)
        return ptx_fail_memory(parser);
    site->arguments = TW_ARENA_ARRAY(parser->arena, struct tw_kir_operand, call->argument_count + 1);
    site->widths = TW_ARENA_ARRAY(parser->arena, uint8_t, call->argument_count + 1);
    site->results = TW_ARENA_ARRAY(parser->arena, uint32_t, call->result_count + 1);
    site->result_widths = TW_ARENA_ARRAY(parser->arena, uint8_t, call->result_count + 1);
    if (!site->arguments || !site->widths || !site->results || !site->result_widths)
        return ptx_fail_memory(parser);
    site->token = call->name;
    site->function = parser->function;
    site->count = call->argument_count;
    site->result_count = call->result_count;
    if (!ptx_source(parser, &call->pointer, TW_KIR_U64, &site->pointer) || !take_values(parser, call, site))
        return false;
    struct tw_kir_inst *branch = ptx_emit_branch(parser, TW_KIR_BR, 0, 1);
    if (!branch)
        return false;
    site->entry = branch->targets;
    if (!ptx_block_open(parser, NULL))
        return false;
    *site->entry = site->join = parser->block;
    for (unsigned i = 0; i < call->result_count; i++)
        call->targets[i] = site->results[i];
    site->next = parser->indirects;
    parser->indirects = site;
    return true;
}

static uint8_t formal_width(const struct tw_kir_function *function, const struct tw_kir_param *formal) {
    unsigned bits = function->regs[formal->reg].bits;
    return formal->type == TW_KIR_B8 && bits == 64 ? MEMORY : (uint8_t)bits;
}

static bool fits(const struct tw_kir_function *function, const struct ptx_indirect *site) {
    if (function->is_entry || function->is_declaration || function->param_count != site->count ||
        function->result_count != site->result_count)
        return false;
    for (unsigned i = 0; i < site->count; i++)
        if (formal_width(function, &function->params[i]) != site->widths[i])
            return false;
    for (unsigned i = 0; i < site->result_count; i++)
        if (formal_width(function, &function->results[i]) != site->result_widths[i])
            return false;
    return true;
}

static bool new_block(struct ptx_parser *parser, const struct ptx_indirect *site, uint32_t *ret_block) {
    struct tw_kir_function *caller = &parser->module->functions[site->function];
    char *label = tw_arena_printf(parser->arena, "indirect.%u", caller->block_count);
    if (!label)
        return ptx_fail_memory(parser);
    *ret_block = tw_kir_block_add(parser->module, caller, label, parser->err);
    return *ret_block != TW_KIR_NO_REG;
}

static struct tw_kir_inst *add(struct ptx_parser *parser, const struct ptx_indirect *site, uint32_t block,
                               enum tw_kir_op op, unsigned dsts, unsigned srcs, unsigned targets) {
    struct tw_kir_block *to = &parser->module->functions[site->function].blocks[block];
    struct tw_kir_inst *inst =
        tw_kir_inst_add(parser->module, to, op, TW_KIR_PRED, dsts, srcs, targets, parser->err);
    if (inst) {
        inst->line = site->token.line;
        inst->column = site->token.column;
    }
    return inst;
}

static bool add_jump(struct ptx_parser *parser, const struct ptx_indirect *site, uint32_t block) {
    struct tw_kir_inst *jump = add(parser, site, block, TW_KIR_BR, 0, 0, 1);
    if (jump)
        jump->targets[0] = site->join;
    return jump != NULL;
}

static bool add_direct_call(struct ptx_parser *parser, const struct ptx_indirect *site, uint32_t block,
                            uint32_t callee) {
    struct tw_kir_inst *call = add(parser, site, block, TW_KIR_CALL, site->result_count, site->count, 0);
    if (!call)
        return false;
    call->index = callee;
    for (unsigned i = 0; i < site->count; i++)
        call->src[i] = site->arguments[i];
    for (unsigned i = 0; i < site->result_count; i++)
        call->dst[i] = site->results[i];
    return add_jump(parser, site, block);
}

// One link: the pointer is this function's address, or on to the next link. *link: the branch to fill in.
static bool add_link(struct ptx_parser *parser, const struct ptx_indirect *site, uint32_t callee,
                     uint32_t **link) {
    uint32_t test, call, equal;
    if (!new_block(parser, site, &test) || !new_block(parser, site, &call))
        return false;
    equal = tw_kir_reg_add(parser->module, &parser->module->functions[site->function], NULL, 1, parser->err);
    struct tw_kir_inst *compare =
        equal == TW_KIR_NO_REG ? NULL : add(parser, site, test, TW_KIR_SETP, 1, 2, 0);
    if (!compare)
        return false;
    compare->type = TW_KIR_U64;
    compare->cmp = TW_KIR_EQ;
    compare->dst[0] = equal;
    compare->src[0] = site->pointer;
    compare->src[1] = tw_kir_imm_operand((uint64_t)(callee + 1) * FUNCTION_STEP);
    struct tw_kir_inst *branch = add(parser, site, test, TW_KIR_BRC, 0, 1, 2);
    if (!branch)
        return false;
    branch->src[0] = tw_kir_reg_operand(equal);
    branch->targets[0] = call;
    **link = test;
    *link = &branch->targets[1];
    return add_direct_call(parser, site, call, callee);
}

bool ptx_indirect_end(struct ptx_parser *parser) {
    for (struct ptx_indirect *site = parser->indirects; site; site = site->next) {
        uint32_t *link = site->entry, trap;
        if (parser->module->functions[site->function].refusal)
            continue;
        for (uint32_t i = 0; i < parser->module->function_count; i++)
            if (parser->taken && parser->taken[i] && fits(&parser->module->functions[i], site) &&
                !add_link(parser, site, i, &link))
                return false;
        if (!new_block(parser, site, &trap) || !add(parser, site, trap, TW_KIR_TRAP, 0, 0, 0) ||
            !add_jump(parser, site, trap))
            return false;
        *link = trap;
    }
    return true;
}

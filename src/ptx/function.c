// SPDX-License-Identifier: Apache-2.0
//
// Kernels and device functions: header, performance directives, body. The body is one pass over statements;
// nested { } are scopes for names and labels. A branch is noted and resolved when the scope it stands in
// closes, or one further out.
//
//     function  = [results] name formals {directive} (";" | body)
//     statement = label ":" | declaration | "{" {statement} "}" | [guard] instruction ";"

#include "internal.h"

bool ptx_block_open(struct ptx_parser *parser, const char *label) {
    uint32_t before = parser->block;
    uint32_t block = tw_kir_block_add(parser->module, ptx_current(parser), label, parser->err);
    if (block == TW_KIR_NO_REG)
        return false;
    if (parser->open) {
        struct tw_kir_inst *inst = tw_kir_inst_add(parser->module, &ptx_current(parser)->blocks[before],
                                                   TW_KIR_BR, TW_KIR_PRED, 0, 0, 1, parser->err);
        if (!inst)
            return false;
        inst->targets[0] = block;
        inst->line = parser->token.line;
        inst->column = parser->token.column;
    }
    parser->block = block;
    parser->open = true;
    return true;
}

// ---- labels ----

bool ptx_branch_to(struct ptx_parser *parser, const struct ptx_token *label, uint32_t *target) {
    struct ptx_fixup *fixup = TW_ARENA_NEW(parser->arena, struct ptx_fixup);
    if (!fixup)
        return ptx_fail_memory(parser);
    *fixup =
        (struct ptx_fixup){.next = parser->fixups, .label = *label, .target = target, .scope = parser->scope};
    parser->fixups = fixup;
    return true;
}

// Branches of the closing scope stand first in the list: those to its labels are settled, the others move one
// scope out.
static bool settle_branches(struct ptx_parser *parser) {
    struct ptx_fixup **link = &parser->fixups;
    while (*link && (*link)->scope == parser->scope) {
        struct ptx_fixup *fixup = *link;
        const struct ptx_symbol *symbol = ptx_symbol_find(parser, fixup->label.text);
        if (symbol && symbol->scope == parser->scope && symbol->kind == PTX_SYM_LABEL) {
            *fixup->target = symbol->index;
            *link = fixup->next;
            continue;
        }
        if (parser->scope == 1)
            return ptx_fail(parser, &fixup->label, "label '%.*s' is not defined in this function",
                            TW_STR_ARG(fixup->label.text));
        fixup->scope--;
        link = &fixup->next;
    }
    return true;
}

// name: .branchtargets L1, L2;
static bool branch_targets(struct ptx_parser *parser, const struct ptx_token *name) {
    struct ptx_symbol *symbol = ptx_symbol_add(parser, name, PTX_SYM_TARGETS);
    if (!symbol || !ptx_next(parser))
        return false;
    symbol->names = TW_ARENA_ARRAY(parser->arena, struct ptx_token, TW_KIR_MAX_TARGETS);
    if (!symbol->names)
        return ptx_fail_memory(parser);
    symbol->count = 0;
    for (bool more = true; more;) {
        if (parser->token.kind != PTX_WORD)
            return ptx_fail_expected(parser, "a label");
        if (symbol->count == TW_KIR_MAX_TARGETS)
            return ptx_fail_quota(parser, &parser->token, "more than %d branch targets", TW_KIR_MAX_TARGETS);
        symbol->names[symbol->count++] = parser->token;
        if (!ptx_next(parser) || !ptx_accept(parser, ',', &more))
            return false;
    }
    return ptx_expect(parser, ';');
}

static bool label(struct ptx_parser *parser) {
    struct ptx_token name = parser->token;
    if (!ptx_next(parser) || !ptx_expect(parser, ':'))
        return false;
    if (ptx_is_dot(parser, "branchtargets"))
        return branch_targets(parser, &name);
    if (ptx_is_dot(parser, "callprototype") || ptx_is_dot(parser, "calltargets"))
        return ptx_call_label(parser, &name);
    struct ptx_symbol *symbol = ptx_symbol_add(parser, &name, PTX_SYM_LABEL);
    if (!symbol)
        return false;
    char *text = parser->scope > 1 ? tw_arena_printf(parser->arena, "%.*s.%u", TW_STR_ARG(name.text),
                                                     ptx_current(parser)->block_count)
                                   : tw_arena_str(parser->arena, name.text);
    if (!text)
        return ptx_fail_memory(parser);
    if (!ptx_block_open(parser, text))
        return false;
    symbol->index = parser->block;
    return true;
}

// Whether the word at the token is followed by a colon.
static bool at_label(const struct ptx_parser *parser) {
    const char *at = parser->cursor;
    while (at < parser->end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at < parser->end && *at == ':';
}

// ---- statements ----

static bool declaration(struct ptx_parser *parser) {
    bool found;
    if (ptx_is_dot(parser, "reg"))
        return ptx_next(parser) && ptx_registers(parser);
    if (ptx_is_dot(parser, "param"))
        return ptx_next(parser) && ptx_call_param(parser);
    if (!ptx_debug_directive(parser, &found))
        return false;
    if (found)
        return true;
    bool is_extern = ptx_is_dot(parser, "extern");
    if (is_extern && !ptx_next(parser))
        return false;
    if (!ptx_variable_directive(parser, is_extern, &found))
        return false;
    return found || ptx_fail_expected(parser, "a directive of a function's body (.reg, .shared, .param …)");
}

static bool open_scope(struct ptx_parser *parser) {
    if (parser->scope == PTX_MAX_SCOPES)
        return ptx_fail_quota(parser, &parser->token, "{ } nest deeper than %d", PTX_MAX_SCOPES);
    parser->scope++;
    return ptx_next(parser);
}

static bool close_scope(struct ptx_parser *parser) {
    if (!settle_branches(parser))
        return false;
    ptx_symbols_pop(parser, --parser->scope);
    return ptx_next(parser);
}

static bool statement(struct ptx_parser *parser) {
    if (ptx_is(parser, '{'))
        return open_scope(parser);
    if (ptx_is(parser, '}'))
        return close_scope(parser);
    if (ptx_is(parser, ';'))
        return ptx_next(parser);
    if (parser->token.kind == PTX_DOT)
        return declaration(parser);
    if (parser->token.kind == PTX_WORD && at_label(parser))
        return label(parser);
    if (parser->token.kind == PTX_END)
        return ptx_fail_expected(parser, "'}' at the end of the function");
    return ptx_instruction(parser);
}

static bool body(struct ptx_parser *parser) {
    parser->open = false;
    parser->carry = parser->stack_top = TW_KIR_NO_REG;
    parser->fixups = NULL;
    parser->parameter_of_count = 0;
    struct ptx_inst none = {.token = parser->token, .guard = TW_KIR_NO_REG};
    parser->inst = &none; // what is emitted outside instructions stands on the opening brace
    if (!ptx_next(parser) || !ptx_block_open(parser, NULL) || !ptx_result_storage(parser))
        return false;
    while (parser->scope > 0) {
        none.token = parser->token;
        parser->inst = &none;
        if (ptx_is(parser, '}') && parser->scope == 1 && parser->open &&
            !ptx_emit_branch(parser, TW_KIR_RET, 0, 0)) // falling off the end returns
            return false;
        if (!statement(parser))
            return false;
    }
    parser->inst = NULL;
    return ptx_stack_end(parser);
}

// ---- headers ----

// .maxntid 256, 1, 1 and the like: up to `most` numbers.
static bool numbers(struct ptx_parser *parser, uint32_t *ret_values, unsigned most) {
    unsigned count = 0;
    for (bool more = true; more;) {
        int64_t value;
        if (count == most)
            return ptx_fail_expected(parser, "fewer numbers");
        if (!ptx_integer(parser, 1, INT32_MAX, "this value", &value) || !ptx_accept(parser, ',', &more))
            return false;
        ret_values[count++] = (uint32_t)value;
    }
    while (count < most)
        ret_values[count++] = 1;
    return true;
}

// What follows the name of a directive that is not offered.
static bool skip_directive(struct ptx_parser *parser) {
    ptx_refused_clear(parser);
    while (parser->token.kind != PTX_DOT && !ptx_is(parser, '{') && !ptx_is(parser, ';')) {
        if (parser->token.kind == PTX_END)
            return ptx_fail_expected(parser, "'{' or ';'");
        if (!ptx_next(parser))
            return false;
    }
    return true;
}

static bool performance(struct ptx_parser *parser) {
    static const char *const ignored[] = {"minnctapersm", "maxnctapersm", "maxnreg"};
    uint32_t unused[3];
    bool found;
    if (!ptx_debug_directive(parser, &found))
        return false;
    if (found)
        return true;
    struct ptx_token directive = parser->token;
    if (directive.kind != PTX_DOT || !ptx_next(parser))
        return directive.kind == PTX_DOT ? false
                                         : ptx_fail_expected(parser, "'{', ';' or a directive of a function");
    if (ptx_text_is(directive.text, "noreturn"))
        return true;
    if (ptx_text_is(directive.text, "reqntid"))
        return numbers(parser, ptx_current(parser)->required_block, 3);
    if (ptx_text_is(directive.text, "maxntid"))
        return numbers(parser, ptx_current(parser)->max_block, 3);
    for (size_t i = 0; i < TW_COUNT(ignored); i++)
        if (ptx_text_is(directive.text, ignored[i]))
            return numbers(parser, unused, 1);
    ptx_refuse(parser, &directive, "directive '.%.*s' is not supported on a function",
               TW_STR_ARG(directive.text));
    return parser->refused && skip_directive(parser);
}

// The function's symbol at module scope: new, or declared before and now to be defined.
static bool function_symbol(struct ptx_parser *parser, const struct ptx_token *name) {
    struct ptx_symbol *symbol = ptx_symbol_find(parser, name->text);
    if (symbol && symbol->kind == PTX_SYM_FUNCTION) {
        parser->function = symbol->index;
        if (ptx_current(parser)->is_declaration) {
            ptx_current(parser)->is_declaration = false;
            return true;
        }
    }
    uint32_t scope = parser->scope;
    parser->scope = 0;
    symbol = ptx_symbol_add(parser, name, PTX_SYM_FUNCTION);
    parser->scope = scope;
    char *text = symbol ? tw_arena_str(parser->arena, name->text) : NULL;
    if (!text)
        return symbol && ptx_fail_memory(parser);
    if (!tw_kir_function_add(parser->module, text, parser->err))
        return false;
    symbol->index = parser->function = parser->module->function_count - 1;
    return true;
}

bool ptx_function(struct ptx_parser *parser, bool is_entry) {
    // Results stand before the name, yet belong to the function: they are read once it is known.
    struct ptx_place results = ptx_place_get(parser);
    bool has_results = !is_entry && ptx_is(parser, '(');
    while (has_results && !ptx_is(parser, ')'))
        if (parser->token.kind == PTX_END || !ptx_next(parser))
            return parser->token.kind == PTX_END ? ptx_fail_expected(parser, "')'") : false;
    if (has_results && !ptx_next(parser))
        return false;
    struct ptx_token name = parser->token;
    if (name.kind != PTX_WORD)
        return ptx_fail_expected(parser, "the name of a function");
    if (is_entry && name.text.len > TW_KERNEL_NAME_MAX)
        return ptx_fail_quota(parser, &name, "a kernel's name has %zu characters, the limit is %d",
                              name.text.len, TW_KERNEL_NAME_MAX);
    if (!function_symbol(parser, &name))
        return false;
    struct tw_kir_function *function = ptx_current(parser);
    *function = (struct tw_kir_function){.name = function->name, .is_entry = is_entry};
    parser->scope = 1;
    if (has_results) {
        struct ptx_place after = ptx_place_get(parser);
        ptx_place_set(parser, &results);
        if (!ptx_formals(parser, PTX_FUNCTION_RESULT))
            return false;
        ptx_place_set(parser, &after);
    }
    if (!ptx_next(parser) ||
        (ptx_is(parser, '(') && !ptx_formals(parser, is_entry ? PTX_KERNEL_PARAM : PTX_FUNCTION_PARAM)))
        return false;
    while (!ptx_is(parser, '{') && !ptx_is(parser, ';'))
        if (!performance(parser))
            return false;
    if (ptx_is(parser, '{'))
        return body(parser);
    ptx_current(parser)->is_declaration = true;
    parser->scope = 0;
    ptx_symbols_pop(parser, 0);
    return ptx_next(parser);
}

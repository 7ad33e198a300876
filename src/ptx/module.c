// SPDX-License-Identifier: Apache-2.0
//
// The text as a whole: is it PTX at all, its header (.version, .target, .address_size), and the directives of
// module scope.

#include "internal.h"

// ".version" 7.8: the lexer makes a float of it, its text is what counts.
static bool version(struct ptx_parser *parser) {
    if (!ptx_is_dot(parser, "version"))
        return ptx_fail_expected(parser, "'.version' (PTX text begins with it)");
    if (!ptx_next(parser))
        return false;
    struct ptx_token at = parser->token;
    struct tw_str minor = at.text, major = tw_str_cut(&minor, '.');
    uint64_t high, low;
    if (!tw_str_u64(major, &high) || !tw_str_u64(minor, &low) || low > 9)
        return ptx_fail_expected(parser, "a version like 7.8");
    if (high < 2 || high > 9)
        return ptx_fail(parser, &at,
                        ".version %.*s is not supported; 2.0 to 9.9 are (from CUDA: -arch sm_50 to sm_80)",
                        TW_STR_ARG(at.text));
    parser->module->ptx_version = (uint32_t)(high * 10 + low);
    return ptx_next(parser);
}

// What says nothing to this machine: how textures are bound (kernels that use one are refused), and debug.
static bool is_option(struct tw_str text) {
    return ptx_text_is(text, "texmode_unified") || ptx_text_is(text, "texmode_independent") ||
           ptx_text_is(text, "debug");
}

// .target sm_80 {"," option}
static bool target(struct ptx_parser *parser) {
    for (bool more = true; more;) {
        struct ptx_token at = parser->token;
        if (at.kind != PTX_WORD)
            return ptx_fail_expected(parser, "a target like sm_80");
        struct tw_str number = at.text;
        uint64_t sm = 0;
        if (tw_str_starts(at.text, TW_STR("sm_"))) {
            number.data += 3;
            number.len -= 3;
            if (number.len && (number.data[number.len - 1] == 'a' || number.data[number.len - 1] == 'f'))
                number.len--;
            if (!tw_str_u64(number, &sm) || sm < 10 || sm > 999)
                return ptx_fail(parser, &at, "target '%.*s' is not known; sm_50 to sm_90 are usual",
                                TW_STR_ARG(at.text));
            parser->module->sm = (uint32_t)sm;
        } else if (ptx_text_is(at.text, "map_f64_to_f32"))
            return ptx_fail(parser, &at,
                            "target map_f64_to_f32 is not supported; compile for sm_50 or later");
        else if (!is_option(at.text))
            return ptx_fail(parser, &at, "target '%.*s' is not known; sm_50 to sm_90 are usual",
                            TW_STR_ARG(at.text));
        if (!ptx_next(parser) || !ptx_accept(parser, ',', &more))
            return false;
    }
    return true;
}

static bool address_size(struct ptx_parser *parser) {
    struct ptx_token at = parser->token;
    if (at.kind != PTX_NUMBER)
        return ptx_fail_expected(parser, "64 after .address_size");
    if (at.value != 64)
        return ptx_fail(parser, &at,
                        ".address_size %.*s is not supported; compile with 64-bit addresses (nvcc -m64)",
                        TW_STR_ARG(at.text));
    return ptx_next(parser);
}

static bool section(struct ptx_parser *parser) {
    struct ptx_token start = parser->token;
    while (!ptx_is(parser, '{')) {
        if (parser->token.kind == PTX_END)
            return ptx_fail(parser, &start, "the section that begins here has no body");
        if (!ptx_next(parser))
            return false;
    }
    while (!ptx_is(parser, '}')) {
        if (parser->token.kind == PTX_END)
            return ptx_fail(parser, &start, "the section that begins here has no closing '}'");
        if (!ptx_next(parser))
            return false;
    }
    return ptx_next(parser);
}

static bool to_semicolon(struct ptx_parser *parser) {
    while (!ptx_is(parser, ';') && parser->token.kind != PTX_END)
        if (!ptx_next(parser))
            return false;
    return ptx_expect(parser, ';');
}

// .alias name, target;
static bool alias(struct ptx_parser *parser) {
    struct ptx_token name = parser->token;
    if (name.kind != PTX_WORD)
        return ptx_fail_expected(parser, "a name after .alias");
    if (!ptx_next(parser) || !ptx_expect(parser, ','))
        return false;
    const struct ptx_symbol *target_symbol =
        parser->token.kind == PTX_WORD ? ptx_symbol_find(parser, parser->token.text) : NULL;
    if (!target_symbol || target_symbol->kind != PTX_SYM_FUNCTION)
        return ptx_fail_expected(parser, "a function that is already declared");
    struct ptx_symbol *symbol = ptx_symbol_find(parser, name.text);
    if (!symbol && !(symbol = ptx_symbol_add(parser, &name, PTX_SYM_FUNCTION)))
        return false;
    if (symbol->kind != PTX_SYM_FUNCTION)
        return ptx_fail(parser, &name, "'%.*s' is no function", TW_STR_ARG(name.text));
    symbol->index = target_symbol->index;
    return ptx_next(parser) && ptx_expect(parser, ';');
}

static bool linking(struct ptx_parser *parser, bool *ret_extern) {
    *ret_extern = false;
    for (;;) {
        bool external = ptx_is_dot(parser, "extern") || ptx_is_dot(parser, "common");
        if (!external && !ptx_is_dot(parser, "visible") && !ptx_is_dot(parser, "weak"))
            return true;
        *ret_extern |= ptx_is_dot(parser, "extern");
        if (!ptx_next(parser))
            return false;
    }
}

static const struct {
    const char *word;
    enum tw_kir_space space;
} variable_spaces[] = {
    {"global", TW_KIR_GLOBAL}, {"const", TW_KIR_CONST}, {"shared", TW_KIR_SHARED}, {"local", TW_KIR_LOCAL}};

bool ptx_variable_directive(struct ptx_parser *parser, bool is_extern, bool *ret_found) {
    for (size_t i = 0; i < TW_COUNT(variable_spaces); i++)
        if (ptx_is_dot(parser, variable_spaces[i].word)) {
            *ret_found = true;
            return ptx_next(parser) && ptx_variable(parser, variable_spaces[i].space, is_extern);
        }
    *ret_found = false;
    return true;
}

bool ptx_debug_directive(struct ptx_parser *parser, bool *ret_found) {
    *ret_found = true;
    if (ptx_is_dot(parser, "loc") || ptx_is_dot(parser, "file"))
        return ptx_skip_line(parser);
    if (ptx_is_dot(parser, "section"))
        return section(parser);
    if (ptx_is_dot(parser, "pragma"))
        return to_semicolon(parser);
    *ret_found = false;
    return true;
}

static bool directive(struct ptx_parser *parser) {
    bool found, is_extern;
    if (!ptx_debug_directive(parser, &found))
        return false;
    if (found)
        return true;
    if (ptx_is_dot(parser, "target"))
        return ptx_next(parser) && target(parser);
    if (ptx_is_dot(parser, "address_size"))
        return ptx_next(parser) && address_size(parser);
    if (ptx_is_dot(parser, "alias"))
        return ptx_next(parser) && alias(parser);
    if (ptx_is_dot(parser, "version"))
        return version(parser);
    if (!linking(parser, &is_extern) || !ptx_variable_directive(parser, is_extern, &found))
        return false;
    if (found)
        return true;
    bool is_entry = ptx_is_dot(parser, "entry");
    if (is_entry || ptx_is_dot(parser, "func"))
        return ptx_next(parser) && ptx_function(parser, is_entry);
    if (ptx_is_texture(parser))
        return ptx_texture(parser);
    return ptx_fail_expected(parser, "a directive of module scope (.global, .entry, .func …)");
}

bool ptx_module(struct ptx_parser *parser) {
    if (parser->token.kind == PTX_END)
        return ptx_fail(parser, &parser->token, "the text is empty; PTX begins with .version");
    if (!version(parser))
        return false;
    while (parser->token.kind != PTX_END) {
        if (ptx_is(parser, ';')) {
            if (!ptx_next(parser))
                return false;
            continue;
        }
        if (parser->token.kind != PTX_DOT)
            return ptx_fail_expected(parser, "a directive of module scope (.global, .entry, .func …)");
        if (!directive(parser))
            return false;
    }
    if (parser->module->sm == 0)
        return ptx_fail(parser, &parser->token, "the module has no .target");
    return ptx_refused_spread(parser) && ptx_indirect_end(parser);
}

// Says what a text that cannot be PTX probably is.
static bool check_text(struct tw_str text, struct tw_error *err) {
    if (text.len > TW_PTX_MAX_BYTES)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%zu bytes of PTX, the limit is %d; split the module",
                       text.len, TW_PTX_MAX_BYTES);
    if (text.len >= 4 && memcmp(text.data, "\177ELF", 4) == 0)
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX,
                       "line 1, column 1: this is an ELF file (a cubin?); compile to PTX text (nvcc -ptx)");
    // A final NUL is what C callers of the CUDA driver pass along.
    const char *nul = memchr(text.data, 0, text.len);
    if (!nul)
        return true;
    uint32_t line = 1;
    const char *start = text.data;
    for (const char *at = text.data; at < nul; at++)
        if (*at == '\n') {
            line++;
            start = at + 1;
        }
    return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX,
                   "line %u, column %td: a NUL byte is not PTX text; is this a binary (cubin, fatbin)?", line,
                   nul - start + 1);
}

bool tw_ptx_parse(struct tw_arena *arena, struct tw_str text, struct tw_kir_module **ret_module,
                  struct tw_error *err) {
    struct tw_error local = {};
    if (text.len && text.data[text.len - 1] == 0)
        text.len--;
    if (!check_text(text, err))
        return false;
    struct ptx_parser *parser = TW_ARENA_NEW(arena, struct ptx_parser);
    struct tw_kir_module *module = parser ? tw_kir_module_new(arena, &local) : NULL;
    if (!module)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "no memory left for reading PTX");
    *parser = (struct ptx_parser){.arena = arena, .module = module, .err = &local, .carry = TW_KIR_NO_REG};
    if (!ptx_symbols_init(parser))
        return tw_fail(err, local.code, "%s", local.message);
    ptx_tables_init(parser);
    if (!ptx_lex_init(parser, text) || !ptx_module(parser) || !tw_kir_verify(module, &local))
        return tw_fail(err, local.code, "%s", local.message);
    *ret_module = module;
    return true;
}

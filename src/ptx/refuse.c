// SPDX-License-Identifier: Apache-2.0
//
// What is well-formed PTX but is not offered here (texture reads, instructions of newer GPUs, functions of
// another module) refuses the function that holds it and those that call it; the module's other kernels
// run. A refused function keeps its name and parameters, has no body, and says why.

#include "internal.h"

static bool note(struct ptx_parser *parser, struct tw_kir_function *function, const struct ptx_token *at,
                 const char *text) {
    if (function->refusal)
        return true; // the first reason is the one to tell
    function->refusal = tw_arena_printf(parser->arena, "line %u, column %u: %s", at->line, at->column, text);
    return function->refusal || ptx_fail_memory(parser);
}

bool ptx_refuse(struct ptx_parser *parser, const struct ptx_token *at, const char *format, ...) {
    char text[200];
    va_list args;
    va_start(args, format);
    ptx_message(text, sizeof text, format, args);
    va_end(args);
    if (parser->scope > 0)
        parser->refused = note(parser, ptx_current(parser), at, text);
    return ptx_fail(parser, at, "%s", text);
}

void ptx_refused_clear(struct ptx_parser *parser) {
    parser->refused = false;
    *parser->err = (struct tw_error){};
}

// To the semicolon after the name at `start`, past the { } of operands.
bool ptx_refused_skip(struct ptx_parser *parser, const struct ptx_token *start) {
    struct ptx_place place = {.cursor = start->text.data + start->text.len,
                              .line_start = start->text.data - (start->column - 1),
                              .line = start->line,
                              .token = *start};
    ptx_refused_clear(parser);
    ptx_place_set(parser, &place);
    for (unsigned depth = 0; !ptx_is(parser, ';');) {
        if (parser->token.kind == PTX_END || (depth == 0 && ptx_is(parser, '}')))
            return ptx_fail_expected(parser, "';'");
        if (ptx_is(parser, '{'))
            depth++;
        else if (ptx_is(parser, '}'))
            depth--;
        if (!ptx_next(parser))
            return false;
    }
    return ptx_next(parser);
}

// ---- textures, and special registers ----

static bool is_in(struct tw_str text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (ptx_text_is(text, words[i]))
            return true;
    return false;
}

bool ptx_is_texture(const struct ptx_parser *parser) {
    static const char *const kinds[] = {"texref", "samplerref", "surfref", "tex", "sampler", "surf"};
    return parser->token.kind == PTX_DOT && is_in(parser->token.text, kinds, TW_COUNT(kinds));
}

// .global .samplerref name = { … };   .tex .u32 name;
bool ptx_texture(struct ptx_parser *parser) {
    while (parser->token.kind == PTX_DOT)
        if (!ptx_next(parser))
            return false;
    struct ptx_token name = parser->token;
    if (name.kind != PTX_WORD)
        return ptx_fail_expected(parser, "the name of a texture, sampler or surface");
    return ptx_symbol_add(parser, &name, PTX_SYM_TEXTURE) && ptx_refused_skip(parser, &name);
}

// envreg0 … envreg31, pm0 … pm7, pm0_64 … pm7_64 and a few names.
bool ptx_special_zero(struct tw_str name) {
    static const struct {
        const char *prefix;
        unsigned count;
    } ranges[] = {{"envreg", 32}, {"pm", 8}, {"reserved_smem_offset_", 2}};
    static const char *const singles[] = {"reserved_smem_offset_begin", "reserved_smem_offset_end",
                                          "reserved_smem_offset_cap", "current_graph_exec"};
    for (size_t i = 0; i < TW_COUNT(ranges); i++) {
        size_t prefix = strlen(ranges[i].prefix);
        if (!tw_str_starts(name, tw_str_from(ranges[i].prefix)))
            continue;
        struct tw_str rest = tw_str_of(name.data + prefix, name.len - prefix);
        struct tw_str number = tw_str_cut(&rest, '_');
        uint64_t member;
        if (tw_str_u64(number, &member) && member < ranges[i].count &&
            (rest.len == 0 || (ranges[i].prefix[0] == 'p' && ptx_text_is(rest, "64"))))
            return true;
    }
    return is_in(name, singles, TW_COUNT(singles));
}

bool ptx_special_newer(struct tw_str name) {
    static const char *const newer[] = {"is_explicit_cluster", "clusterid",      "nclusterid",
                                        "cluster_ctaid",       "cluster_nctaid", "cluster_ctarank",
                                        "cluster_nctarank",    "aggr_smem_size"};
    return is_in(tw_str_cut(&name, '.'), newer, TW_COUNT(newer));
}

const char *ptx_modifier_newer(const char *instruction, struct tw_str modifier) {
    static const struct {
        const char *instruction, *modifier, *target;
    } newer[] = {
        {"barrier", "cluster", "sm_90"},
        {"cp", "bulk", "sm_90"},
        {"st", "async", "sm_90"},
        {"red", "async", "sm_90"},
        {"fma", "oob", "sm_90"},
        {"mbarrier", "expect_tx", "sm_90"},
        {"mbarrier", "complete_tx", "sm_90"},
        {"fence", "mbarrier_init", "sm_90"},
        {"add", "s16x2", "sm_90"},
        {"add", "u16x2", "sm_90"},
        {"min", "s16x2", "sm_90"},
        {"min", "u16x2", "sm_90"},
        {"max", "s16x2", "sm_90"},
        {"max", "u16x2", "sm_90"},
    };
    for (size_t i = 0; i < TW_COUNT(newer); i++)
        if (strcmp(newer[i].instruction, instruction) == 0 && ptx_text_is(modifier, newer[i].modifier))
            return newer[i].target;
    return NULL;
}

// ---- whom it concerns ----

// A call, in the list of those of its callee. Confined.
struct call {
    uint32_t caller;
    const struct call *next;
};

struct spread {
    struct ptx_parser *parser;
    const struct call **calls; // by function: who calls it
    uint32_t *work, work_count;
};

// Lists the calls of one function. One of a function that is defined nowhere refuses its caller.
static bool list_calls(struct spread *s, uint32_t caller) {
    struct tw_kir_module *module = s->parser->module;
    struct tw_kir_function *function = &module->functions[caller];
    for (uint32_t b = 0; b < function->block_count; b++)
        for (uint32_t i = 0; i < function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &function->blocks[b].insts[i];
            if (inst->op != TW_KIR_CALL)
                continue;
            const struct tw_kir_function *callee = &module->functions[inst->index];
            struct ptx_token at = {.line = inst->line, .column = inst->column};
            char text[200];
            snprintf(text, sizeof text, "calls %.120s, which is only declared in this module", callee->name);
            if (callee->is_declaration && !callee->refusal && !note(s->parser, function, &at, text))
                return false;
            struct call *call = TW_ARENA_NEW(s->parser->arena, struct call);
            if (!call)
                return ptx_fail_memory(s->parser);
            *call = (struct call){.caller = caller, .next = s->calls[inst->index]};
            s->calls[inst->index] = call;
        }
    return true;
}

// From the refused functions on to their callers, until there are no more.
static void tell_callers(struct spread *s) {
    struct tw_kir_function *functions = s->parser->module->functions;
    while (s->work_count) {
        uint32_t callee = s->work[--s->work_count];
        for (const struct call *call = s->calls[callee]; call; call = call->next) {
            if (functions[call->caller].refusal)
                continue;
            functions[call->caller].refusal = functions[callee].refusal;
            s->work[s->work_count++] = call->caller;
        }
    }
}

bool ptx_refused_spread(struct ptx_parser *parser) {
    struct tw_kir_module *module = parser->module;
    uint32_t count = module->function_count;
    struct spread s = {.parser = parser,
                       .calls = TW_ARENA_ARRAY(parser->arena, const struct call *, count + 1),
                       .work = TW_ARENA_ARRAY(parser->arena, uint32_t, count + 1)};
    if (!s.calls || !s.work)
        return ptx_fail_memory(parser);
    for (uint32_t i = 0; i < count; i++)
        if (!list_calls(&s, i))
            return false;
    for (uint32_t i = 0; i < count; i++)
        if (module->functions[i].refusal)
            s.work[s.work_count++] = i;
    tell_callers(&s);
    for (uint32_t i = 0; i < count; i++) {
        struct tw_kir_function *function = &module->functions[i];
        if (!function->refusal)
            continue;
        function->is_declaration = true;
        function->blocks = NULL;
        function->block_count = function->block_capacity = 0;
    }
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// Parameters: of kernels (bytes of the parameter block), of device functions (registers), and the .param
// variables of call sequences. A scalar of a device function is a register. An aggregate is memory of the
// caller's frame (of the callee's for results), and a 64-bit register holds its address.
//
//     formal = (".param" | ".reg") {".align" n | ".ptr" [space] [".align" n]} [".v2"|".v4"] type name ["[" [n]
//     "]"]

#include "internal.h"

// What one formal says. Confined.
struct formal {
    struct ptx_token name;
    uint8_t type;
    bool is_reg, is_pointer, is_array;
    bool is_shared; // .ptr .shared
    bool is_open;   // an array whose size each call gives
    uint32_t align, size;
};

static bool attributes(struct ptx_parser *parser, struct formal *f, uint32_t *ret_elements) {
    *ret_elements = 1;
    while (parser->token.kind == PTX_DOT && !ptx_type_of(parser->token.text, &f->type)) {
        bool align = ptx_is_dot(parser, "align");
        uint32_t value;
        if (ptx_is_texture(parser)) {
            ptx_refuse(parser, &parser->token,
                       "a parameter '.%.*s' is not supported: there is no texture unit",
                       TW_STR_ARG(parser->token.text));
            f->type = TW_KIR_U64;
            if (!parser->refused)
                return false;
            ptx_refused_clear(parser);
            break;
        }
        if (ptx_is_dot(parser, "ptr"))
            f->is_pointer = true;
        else if (ptx_is_dot(parser, "v2") || ptx_is_dot(parser, "v4"))
            *ret_elements = (uint32_t)(parser->token.text.data[1] - '0');
        else if (!align && !(f->is_pointer && (ptx_is_dot(parser, "global") || ptx_is_dot(parser, "shared") ||
                                               ptx_is_dot(parser, "const") || ptx_is_dot(parser, "local"))))
            return ptx_fail_expected(parser, "a parameter's type");
        f->is_shared |= f->is_pointer && ptx_is_dot(parser, "shared");
        if (!ptx_next(parser))
            return false;
        if (align && !ptx_alignment(parser, &value))
            return false;
        if (align && !f->is_pointer)
            f->align = value; // after .ptr it is the alignment of what the pointer points to
    }
    return parser->token.kind == PTX_DOT || ptx_fail_expected(parser, "a parameter's type");
}

// Behind the name: "[n]", or "[]".
static bool array_size(struct ptx_parser *parser, struct formal *f, uint64_t *bytes) {
    int64_t count;
    if (!ptx_accept(parser, '[', &f->is_array))
        return false;
    f->is_open = f->is_array && ptx_is(parser, ']');
    if (f->is_open) {
        *bytes = 0;
        return ptx_next(parser);
    }
    if (!f->is_array)
        return true;
    if (!ptx_integer(parser, 1, TW_KIR_MAX_PARAM_BYTES, "the size of a parameter array", &count))
        return false;
    *bytes *= (uint64_t)count;
    return ptx_expect(parser, ']');
}

// .param .u64 .ptr .global .align 4 name: the type may stand before .ptr.
static bool formal_text(struct ptx_parser *parser, struct formal *f) {
    uint32_t elements, ignored;
    if (!attributes(parser, f, &elements))
        return false;
    uint8_t type = f->type;
    if (!ptx_next(parser))
        return false;
    if (ptx_is_dot(parser, "ptr")) {
        while (parser->token.kind == PTX_DOT) {
            bool align = ptx_is_dot(parser, "align");
            f->is_shared |= ptx_is_dot(parser, "shared");
            if (!ptx_next(parser) || (align && !ptx_alignment(parser, &ignored)))
                return false;
        }
        f->is_pointer = true;
    }
    f->type = type;
    f->name = parser->token;
    if (f->name.kind != PTX_WORD)
        return ptx_fail_expected(parser, "the name of a parameter");
    uint64_t bytes = type == TW_KIR_PRED ? 0 : tw_kir_type_bits(type) / 8 * (uint64_t)elements;
    if (f->align == 0)
        f->align = bytes ? (uint32_t)bytes : 1;
    if (!ptx_next(parser) || !array_size(parser, f, &bytes))
        return false;
    f->is_array |= elements > 1;
    if (bytes > TW_KIR_MAX_PARAM_BYTES || (bytes == 0 && !f->is_reg && !f->is_open))
        return ptx_fail(parser, &f->name, "parameter '%.*s' has %" PRIu64 " bytes; 1 to %d are possible",
                        TW_STR_ARG(f->name.text), bytes, TW_KIR_MAX_PARAM_BYTES);
    f->size = (uint32_t)bytes;
    return true;
}

static bool new_register(struct ptx_parser *parser, const struct ptx_token *name, unsigned bits,
                         uint32_t *ret_reg) {
    char *text =
        tw_arena_printf(parser->arena, "%.*s.%u", TW_STR_ARG(name->text), ptx_current(parser)->reg_count);
    if (!text)
        return ptx_fail_memory(parser);
    *ret_reg = tw_kir_reg_add(parser->module, ptx_current(parser), text, bits, parser->err);
    return *ret_reg != TW_KIR_NO_REG;
}

static bool param_grow(struct ptx_parser *parser, struct tw_kir_param **list, uint32_t count,
                       unsigned limit) {
    if (count == limit)
        return ptx_fail_quota(parser, &parser->token, "more than %u parameters", limit);
    if (count & (count - 1)) // grows at 0, 1, 2, 4, 8 …
        return true;
    struct tw_kir_param *bigger = TW_ARENA_ARRAY(parser->arena, struct tw_kir_param, count ? count * 2 : 1);
    if (!bigger)
        return ptx_fail_memory(parser);
    if (count)
        memcpy(bigger, *list, count * sizeof *bigger);
    *list = bigger;
    return true;
}

static bool add_kernel_param(struct ptx_parser *parser, const struct formal *f) {
    if (f->is_shared) {
        ptx_refuse(
            parser, &f->name,
            "parameter '%.*s' points to shared memory, of which a launch cannot say how much; declare the "
            "array in the kernel, or as .extern .shared",
            TW_STR_ARG(f->name.text));
        if (!parser->refused)
            return false;
        ptx_refused_clear(parser);
    }
    struct tw_kir_function *function = ptx_current(parser);
    if (f->is_reg)
        return ptx_fail(parser, &f->name, "kernels have no .reg parameters");
    if (!param_grow(parser, &function->params, function->param_count, TW_KERNEL_PARAMS_MAX))
        return false;
    struct ptx_symbol *symbol = ptx_symbol_add(parser, &f->name, PTX_SYM_PARAM);
    char *name = symbol ? tw_arena_str(parser->arena, f->name.text) : NULL;
    if (!name)
        return symbol && ptx_fail_memory(parser);
    uint64_t offset = tw_align_up(function->param_bytes, f->align);
    if (offset + f->size > TW_KIR_MAX_PARAM_BYTES)
        return ptx_fail_quota(parser, &f->name, "more than %d bytes of parameters", TW_KIR_MAX_PARAM_BYTES);
    symbol->index = function->param_count;
    function->params[function->param_count++] = (struct tw_kir_param){
        .name = name,
        .type = f->is_array ? TW_KIR_B8 : f->type,
        .offset = (uint32_t)offset,
        .size = f->size,
        .align = f->align,
        .is_pointer = f->is_pointer && f->size == 8,
        .reg = TW_KIR_NO_REG,
    };
    function->param_bytes = (uint32_t)offset + f->size;
    return true;
}

// The symbol of a device function's formal or of a call's .param variable.
static struct ptx_symbol *add_argument(struct ptx_parser *parser, const struct formal *f) {
    struct ptx_symbol *symbol = ptx_symbol_add(parser, &f->name, f->is_reg ? PTX_SYM_REG : PTX_SYM_ARGUMENT);
    if (!symbol)
        return NULL;
    symbol->type = f->type;
    symbol->is_memory = f->is_array;
    symbol->bytes = f->size;
    symbol->count = f->align;
    return new_register(parser, &f->name, f->is_array ? 64 : tw_kir_type_bits(f->type), &symbol->index)
               ? symbol
               : NULL;
}

static bool add_function_formal(struct ptx_parser *parser, const struct formal *f, bool is_result) {
    struct tw_kir_function *function = ptx_current(parser);
    struct tw_kir_param **list = is_result ? &function->results : &function->params;
    uint32_t *count = is_result ? &function->result_count : &function->param_count;
    if (!param_grow(parser, list, *count, is_result ? PTX_MAX_RESULTS : PTX_MAX_ARGUMENTS))
        return false;
    const struct ptx_symbol *symbol = add_argument(parser, f);
    char *name = symbol ? tw_arena_str(parser->arena, f->name.text) : NULL;
    if (!name)
        return symbol && ptx_fail_memory(parser);
    (*list)[(*count)++] = (struct tw_kir_param){.name = name,
                                                .type = f->is_array ? TW_KIR_B8 : f->type,
                                                .size = f->size,
                                                .align = f->align,
                                                .reg = symbol->index};
    return true;
}

static bool fail_open(struct ptx_parser *parser, const struct formal *f) {
    return ptx_fail(parser, &f->name,
                    "array '%.*s' has no size; only the last parameter of a device function may lack it",
                    TW_STR_ARG(f->name.text));
}

bool ptx_formals(struct ptx_parser *parser, enum ptx_formal_kind kind) {
    if (!ptx_expect(parser, '('))
        return false;
    if (ptx_is(parser, ')'))
        return ptx_next(parser);
    for (bool more = true; more;) {
        struct formal f = {.is_reg = ptx_is_dot(parser, "reg")};
        if (!f.is_reg && !ptx_is_dot(parser, "param"))
            return ptx_fail_expected(parser, "'.param'");
        if (!ptx_next(parser) || !formal_text(parser, &f))
            return false;
        bool good = kind == PTX_KERNEL_PARAM ? add_kernel_param(parser, &f)
                                             : add_function_formal(parser, &f, kind == PTX_FUNCTION_RESULT);
        if (!good || !ptx_accept(parser, ',', &more))
            return false;
        if (f.is_open && (more || kind != PTX_FUNCTION_PARAM))
            return fail_open(parser, &f);
    }
    return ptx_expect(parser, ')');
}

// Memory in the frame of the current function, its address in `reg` from here on.
static bool frame_memory(struct ptx_parser *parser, const char *name, uint32_t bytes, uint32_t align,
                         uint32_t reg) {
    char *text = tw_arena_printf(parser->arena, "%s.%s.%u", ptx_current(parser)->name, name,
                                 parser->module->variable_count);
    if (!text)
        return ptx_fail_memory(parser);
    struct tw_kir_variable variable = {
        .name = text, .space = TW_KIR_LOCAL, .align = align, .size = bytes, .function = parser->function};
    uint32_t index = tw_kir_variable_add(parser->module, &variable, parser->err);
    struct tw_kir_inst *inst =
        index == TW_KIR_NO_REG ? NULL : ptx_emit_free(parser, TW_KIR_ADDR, TW_KIR_U64, 1, 0);
    if (!inst)
        return false;
    inst->dst[0] = reg;
    inst->index = index;
    return true;
}

bool ptx_result_storage(struct ptx_parser *parser) {
    for (uint32_t i = 0; i < ptx_current(parser)->result_count; i++) {
        const struct tw_kir_param result = ptx_current(parser)->results[i];
        const struct ptx_symbol *symbol = ptx_symbol_find(parser, tw_str_from(result.name));
        if (symbol && symbol->is_memory &&
            !frame_memory(parser, result.name, result.size, result.align, result.reg))
            return false;
    }
    return true;
}

bool ptx_call_param(struct ptx_parser *parser) {
    for (bool more = true; more;) {
        struct formal f = {};
        if (!formal_text(parser, &f))
            return false;
        if (f.is_open)
            return fail_open(parser, &f);
        struct ptx_symbol *symbol = add_argument(parser, &f);
        if (!symbol)
            return false;
        if (symbol->is_memory && !frame_memory(parser, "param", f.size, f.align, symbol->index))
            return false;
        if (!ptx_accept(parser, ',', &more))
            return false;
        if (more && parser->token.kind == PTX_WORD)
            return ptx_fail_expected(parser, "one .param variable a declaration");
    }
    return ptx_expect(parser, ';');
}

// SPDX-License-Identifier: Apache-2.0
//
// Operands: registers, literals, special registers, variables, { } vectors and [ ] addresses as they are
// read, and then as the IR wants them: exactly as wide as the instruction's type, with a conversion where PTX
// lets a register be wider.
//
//     operand = "_" | ["!"] name ["." ("x"|"y"|"z"|"w")] | constant | symbol ["+" constant] | "{" operand
//     {"," operand} "}" address = "[" (register | symbol | constant) [("+"|"-") constant] "]"

#include "internal.h"

static bool vector_element(struct ptx_parser *parser, const struct ptx_symbol *vector,
                           struct ptx_scalar *ret_scalar) {
    static const char *const letters[] = {"xr", "yg", "zb", "wa"};
    const struct tw_str text = parser->token.text;
    for (uint32_t i = 0; i < vector->count && i < TW_COUNT(letters); i++)
        if (text.len == 1 && strchr(letters[i], text.data[0])) {
            *ret_scalar = (struct ptx_scalar){
                .form = PTX_REG, .type = vector->type, .reg = vector->list[i], .token = ret_scalar->token};
            return ptx_next(parser);
        }
    return ptx_fail_expected(parser, "an element (.x .y .z .w) of the vector register");
}

// %tid.x: a special register's name may go on in the next token.
static bool special(struct ptx_parser *parser, struct ptx_scalar *ret_scalar, bool *ret_found) {
    struct tw_str name = ret_scalar->token.text;
    name.data++;
    name.len--;
    if (parser->token.kind == PTX_DOT && !parser->token.spaced)
        name.len = (size_t)(parser->token.text.data + parser->token.text.len - name.data);
    *ret_found = ptx_special_find(parser, name, &ret_scalar->reg, &ret_scalar->type);
    ret_scalar->form = PTX_SPECIAL;
    if (!*ret_found && ptx_special_newer(name))
        return ptx_refuse(parser, &ret_scalar->token,
                          "'%%%.*s' is not supported: it needs sm_90; compile for sm_80", TW_STR_ARG(name));
    if (!*ret_found && ptx_special_zero(name)) {
        *ret_found = true;
        ret_scalar->form = PTX_INTEGER;
    }
    if (!*ret_found)
        return true;
    return parser->token.kind != PTX_DOT || parser->token.spaced || ptx_next(parser);
}

static bool offset_after(struct ptx_parser *parser, int64_t *ret_offset) {
    if (ptx_is(parser, '+')) {
        if (!ptx_next(parser))
            return false;
    } else if (!ptx_is(parser, '-'))
        return true;
    struct ptx_scalar value;
    if (!ptx_constant(parser, &value))
        return false;
    if (value.form != PTX_INTEGER)
        return ptx_fail(parser, &value.token, "an address offset is an integer");
    *ret_offset = (int64_t)value.bits;
    return true;
}

static bool refuse_symbol(struct ptx_parser *parser, const struct ptx_symbol *symbol,
                          const struct ptx_token *at) {
    return ptx_refuse(parser, at, "'%.*s' is %s", TW_STR_ARG(symbol->name),
                      symbol->kind == PTX_SYM_EXTERN ? "declared .extern but defined nowhere in this module"
                                                     : "not supported: there is no texture unit");
}

static bool symbol_operand(struct ptx_parser *parser, const struct ptx_symbol *symbol,
                           struct ptx_scalar *ret_scalar) {
    switch (symbol->kind) {
    case PTX_SYM_REG:
        ret_scalar->form = PTX_REG;
        ret_scalar->reg = symbol->index;
        ret_scalar->type = symbol->type;
        return true;
    case PTX_SYM_VECTOR:
        return vector_element(parser, symbol, ret_scalar);
    case PTX_SYM_VARIABLE:
    case PTX_SYM_PARAM:
        ret_scalar->form = symbol->kind == PTX_SYM_VARIABLE ? PTX_VARIABLE : PTX_PARAMETER;
        ret_scalar->reg = symbol->index;
        return offset_after(parser, &ret_scalar->offset);
    case PTX_SYM_ARGUMENT:
        if (!symbol->is_memory)
            return ptx_fail(parser, &ret_scalar->token,
                            "the address of scalar parameter '%.*s' cannot be taken",
                            TW_STR_ARG(symbol->name));
        ret_scalar->form = PTX_REG;
        ret_scalar->reg = symbol->index;
        ret_scalar->type = TW_KIR_U64;
        return true;
    case PTX_SYM_EXTERN:
    case PTX_SYM_TEXTURE:
        return refuse_symbol(parser, symbol, &ret_scalar->token);
    case PTX_SYM_FUNCTION:
        ret_scalar->form = PTX_INTEGER;
        return ptx_function_address(parser, symbol->index, &ret_scalar->bits);
    case PTX_SYM_LABEL:
    case PTX_SYM_TARGETS:
    case PTX_SYM_RANGE:
        break;
    }
    return ptx_fail(parser, &ret_scalar->token, "'%.*s' cannot be an operand here: it is a %s",
                    TW_STR_ARG(symbol->name), symbol->kind == PTX_SYM_RANGE ? "range of registers" : "label");
}

static bool word_operand(struct ptx_parser *parser, struct ptx_scalar *ret_scalar) {
    struct tw_str name = parser->token.text;
    ret_scalar->token = parser->token;
    if (!ptx_next(parser))
        return false;
    if (name.len == 1 && name.data[0] == '_') {
        ret_scalar->form = PTX_SINK;
        return true;
    }
    const struct ptx_symbol *symbol = ptx_symbol_find(parser, name);
    if (symbol)
        return symbol_operand(parser, symbol, ret_scalar);
    if (!ptx_range_find(parser, name, &ret_scalar->reg, &ret_scalar->type))
        return false;
    ret_scalar->form = PTX_REG;
    if (ret_scalar->reg != TW_KIR_NO_REG)
        return true;
    bool found = false;
    if (name.data[0] == '%' && (!special(parser, ret_scalar, &found) || found))
        return found;
    return ptx_fail(parser, &ret_scalar->token, "'%.*s' is not declared", TW_STR_ARG(name));
}

static bool scalar(struct ptx_parser *parser, struct ptx_scalar *ret_scalar) {
    *ret_scalar = (struct ptx_scalar){.token = parser->token};
    if (parser->token.kind == PTX_WORD && !ptx_text_is(parser->token.text, "WARP_SZ"))
        return word_operand(parser, ret_scalar);
    char after = parser->cursor < parser->end ? *parser->cursor : 0;
    if (ptx_is(parser, '!') && (after < '0' || after > '9') && after != '(') {
        if (!ptx_next(parser))
            return false;
        if (parser->token.kind != PTX_WORD)
            return ptx_fail_expected(parser, "a predicate after '!'");
        if (!word_operand(parser, ret_scalar))
            return false;
        ret_scalar->negated = true;
        return (ret_scalar->form == PTX_REG && ret_scalar->type == TW_KIR_PRED) ||
               ptx_fail(parser, &ret_scalar->token, "'!' goes before predicates only");
    }
    return ptx_constant(parser, ret_scalar);
}

// A vector register by its name stands for all its elements.
static bool whole_vector(struct ptx_parser *parser, struct ptx_operand *ret_operand) {
    const struct ptx_symbol *symbol = ptx_symbol_find(parser, parser->token.text);
    struct ptx_token name = parser->token;
    ret_operand->braces = true;
    ret_operand->count = (uint8_t)symbol->count;
    for (uint32_t i = 0; i < symbol->count; i++)
        ret_operand->items[i] =
            (struct ptx_scalar){.form = PTX_REG, .type = symbol->type, .reg = symbol->list[i], .token = name};
    if (!ptx_next(parser))
        return false;
    if (parser->token.kind != PTX_DOT || parser->token.spaced)
        return true;
    ret_operand->braces = false;
    ret_operand->count = 1;
    return vector_element(parser, symbol, &ret_operand->items[0]);
}

bool ptx_operand(struct ptx_parser *parser, struct ptx_operand *ret_operand) {
    ret_operand->braces = false;
    ret_operand->count = 1;
    if (parser->token.kind == PTX_WORD) {
        const struct ptx_symbol *symbol = ptx_symbol_find(parser, parser->token.text);
        if (symbol && symbol->kind == PTX_SYM_VECTOR)
            return whole_vector(parser, ret_operand);
    }
    if (!ptx_is(parser, '{'))
        return scalar(parser, &ret_operand->items[0]);
    ret_operand->braces = true;
    ret_operand->count = 0;
    if (!ptx_next(parser))
        return false;
    for (bool more = true; more;) {
        if (ret_operand->count == PTX_MAX_ELEMENTS)
            return ptx_fail(parser, &parser->token, "more than %d elements in { }", PTX_MAX_ELEMENTS);
        if (!scalar(parser, &ret_operand->items[ret_operand->count]))
            return false;
        ret_operand->count++;
        if (!ptx_accept(parser, ',', &more))
            return false;
    }
    return ptx_expect(parser, '}');
}

static bool address_base(struct ptx_parser *parser, struct ptx_address *ret_address) {
    if (parser->token.kind != PTX_WORD) {
        struct ptx_scalar value;
        if (!ptx_constant(parser, &value))
            return false;
        ret_address->base = PTX_AT_ABSOLUTE;
        ret_address->offset = (int64_t)value.bits;
        return value.form == PTX_INTEGER || ptx_fail(parser, &value.token, "an address is an integer");
    }
    const struct ptx_symbol *symbol = ptx_symbol_find(parser, parser->token.text);
    if (symbol && symbol->kind == PTX_SYM_ARGUMENT) {
        ret_address->base = PTX_AT_ARGUMENT;
        ret_address->argument = symbol;
        return ptx_next(parser) && offset_after(parser, &ret_address->offset);
    }
    struct ptx_scalar base;
    if (!scalar(parser, &base))
        return false;
    ret_address->index = base.reg;
    ret_address->offset = base.offset;
    if (base.form == PTX_VARIABLE || base.form == PTX_PARAMETER) {
        ret_address->base = base.form == PTX_VARIABLE ? PTX_AT_VARIABLE : PTX_AT_PARAMETER;
        return true;
    }
    if (base.form != PTX_REG)
        return ptx_fail(parser, &base.token, "'%.*s' cannot be an address", TW_STR_ARG(base.token.text));
    ret_address->base = PTX_AT_REG;
    return offset_after(parser, &ret_address->offset);
}

bool ptx_address(struct ptx_parser *parser, struct ptx_address *ret_address) {
    if (!ptx_expect(parser, '['))
        return false;
    *ret_address = (struct ptx_address){.token = parser->token};
    return address_base(parser, ret_address) && ptx_expect(parser, ']');
}

// ---- as the IR wants them ----

static unsigned reg_bits(struct ptx_parser *parser, uint32_t reg) {
    return ptx_current(parser)->regs[reg].bits;
}

// d = convert(a) into a new register, whatever the guard.
static bool converted(struct ptx_parser *parser, uint8_t from, uint8_t to, struct tw_kir_operand source,
                      uint32_t *ret_reg) {
    if (!ptx_temp(parser, tw_kir_type_bits(to), ret_reg))
        return false;
    struct tw_kir_inst *inst = ptx_emit_free(parser, TW_KIR_CVT, to, 1, 1);
    if (!inst)
        return false;
    inst->type2 = from;
    inst->dst[0] = *ret_reg;
    inst->src[0] = source;
    return true;
}

static bool mismatch(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type) {
    return ptx_fail(parser, &scalar->token, "'%.*s' has %u bits, type .%s of '%.*s' needs %u",
                    TW_STR_ARG(scalar->token.text), reg_bits(parser, scalar->reg), tw_kir_type_name(type),
                    TW_STR_ARG(parser->inst->name), tw_kir_type_bits(type));
}

// A register that was made for this statement alone, brought to the width of `type`.
static bool fit(struct ptx_parser *parser, uint32_t reg, uint8_t type, struct tw_kir_operand *ret_source) {
    unsigned have = reg_bits(parser, reg), want = tw_kir_type_bits(type);
    *ret_source = tw_kir_reg_operand(reg);
    if (have == want)
        return true;
    uint32_t fitted;
    if (!converted(parser, ptx_integer_type(have, false), ptx_integer_type(want, false), *ret_source,
                   &fitted))
        return false;
    *ret_source = tw_kir_reg_operand(fitted);
    return true;
}

static bool named_source(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                         struct tw_kir_operand *ret_source) {
    unsigned bits = scalar->form == PTX_SPECIAL ? tw_kir_type_bits(scalar->type) : 64;
    enum tw_kir_op op = scalar->form == PTX_SPECIAL    ? TW_KIR_SREG
                        : scalar->form == PTX_VARIABLE ? TW_KIR_ADDR
                                                       : TW_KIR_PARAMADDR;
    unsigned want = tw_kir_type_bits(type);
    if (want < 16 || want > 64 || tw_kir_type_is_float(type) || (bits == 64 && want == 16))
        return ptx_fail(parser, &scalar->token, "'%.*s' has %u bits, which type .%s cannot hold",
                        TW_STR_ARG(scalar->token.text), bits, tw_kir_type_name(type));
    uint32_t reg;
    if (!ptx_temp(parser, bits, &reg))
        return false;
    struct tw_kir_inst *inst = ptx_emit_free(parser, op, ptx_integer_type(bits, false), 1, 0);
    if (!inst)
        return false;
    inst->dst[0] = reg;
    inst->index = scalar->form == PTX_PARAMETER ? 0 : scalar->reg;
    inst->offset = scalar->offset;
    if (scalar->form == PTX_PARAMETER)
        inst->offset += ptx_current(parser)->params[scalar->reg].offset;
    return fit(parser, reg, type, ret_source);
}

static bool negated_source(struct ptx_parser *parser, const struct ptx_scalar *scalar,
                           struct tw_kir_operand *ret_source) {
    uint32_t reg;
    if (!ptx_temp(parser, 1, &reg))
        return false;
    struct tw_kir_inst *inst = ptx_emit_free(parser, TW_KIR_NOT, TW_KIR_PRED, 1, 1);
    if (!inst)
        return false;
    inst->dst[0] = reg;
    inst->src[0] = tw_kir_reg_operand(scalar->reg);
    *ret_source = tw_kir_reg_operand(reg);
    return true;
}

bool ptx_source(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                struct tw_kir_operand *ret_source) {
    uint64_t bits;
    switch (scalar->form) {
    case PTX_REG:
        if (reg_bits(parser, scalar->reg) != tw_kir_type_bits(type))
            return mismatch(parser, scalar, type);
        *ret_source = tw_kir_reg_operand(scalar->reg);
        return !scalar->negated || negated_source(parser, scalar, ret_source);
    case PTX_INTEGER:
    case PTX_SINGLE:
    case PTX_DOUBLE:
        if (!ptx_literal_bits(parser, scalar, type, &bits))
            return false;
        *ret_source = tw_kir_imm_operand(bits);
        return true;
    case PTX_SPECIAL:
    case PTX_VARIABLE:
    case PTX_PARAMETER:
        return named_source(parser, scalar, type, ret_source);
    case PTX_SINK:
        break;
    }
    return ptx_fail(parser, &scalar->token, "'_' cannot be a source");
}

bool ptx_source_low(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                    struct tw_kir_operand *ret_source) {
    if (scalar->form != PTX_REG || reg_bits(parser, scalar->reg) <= tw_kir_type_bits(type) || scalar->negated)
        return ptx_source(parser, scalar, type, ret_source);
    if (reg_bits(parser, scalar->reg) > 64)
        return mismatch(parser, scalar, type);
    return fit(parser, scalar->reg, type, ret_source);
}

static bool is_register(struct ptx_parser *parser, const struct ptx_scalar *scalar) {
    if (scalar->form == PTX_SINK || (scalar->form == PTX_REG && !scalar->negated))
        return true;
    return ptx_fail(parser, &scalar->token, "expected a register for the result of '%.*s', found '%.*s'",
                    TW_STR_ARG(parser->inst->name), (int)scalar->token.text.len, scalar->token.text.data);
}

bool ptx_target(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type, uint32_t *ret_reg) {
    if (!is_register(parser, scalar))
        return false;
    *ret_reg = scalar->form == PTX_SINK ? TW_KIR_NO_REG : scalar->reg;
    return *ret_reg == TW_KIR_NO_REG || reg_bits(parser, *ret_reg) == tw_kir_type_bits(type) ||
           mismatch(parser, scalar, type);
}

bool ptx_target_wide(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type,
                     uint32_t *ret_reg) {
    if (!is_register(parser, scalar))
        return false;
    unsigned have = scalar->form == PTX_SINK ? 0 : reg_bits(parser, scalar->reg),
             want = tw_kir_type_bits(type);
    if (scalar->form == PTX_SINK || have == want) {
        *ret_reg = scalar->form == PTX_SINK ? TW_KIR_NO_REG : scalar->reg;
        return true;
    }
    if (have < want || have > 64 || want < 8)
        return mismatch(parser, scalar, type);
    return ptx_temp(parser, want, ret_reg);
}

bool ptx_widen(struct ptx_parser *parser, const struct ptx_scalar *scalar, uint8_t type, uint32_t reg) {
    if (reg == TW_KIR_NO_REG || reg == scalar->reg)
        return true;
    bool is_signed = tw_kir_type_is_signed(type);
    struct tw_kir_inst *inst =
        ptx_emit(parser, TW_KIR_CVT, ptx_integer_type(reg_bits(parser, scalar->reg), is_signed), 1, 1);
    if (!inst)
        return false;
    inst->type2 = ptx_integer_type(tw_kir_type_bits(type), is_signed);
    inst->dst[0] = scalar->reg;
    inst->src[0] = tw_kir_reg_operand(reg);
    return true;
}

bool ptx_address_source(struct ptx_parser *parser, const struct ptx_address *address,
                        struct tw_kir_operand *ret_source, int64_t *ret_offset) {
    struct ptx_scalar base = {.form = PTX_REG, .reg = address->index, .token = address->token};
    *ret_offset = address->offset;
    switch (address->base) {
    case PTX_AT_ABSOLUTE:
        *ret_source = tw_kir_imm_operand((uint64_t)address->offset);
        *ret_offset = 0;
        return true;
    case PTX_AT_REG: {
        unsigned bits = reg_bits(parser, address->index);
        if (bits != 32 && bits != 64)
            return ptx_fail(parser, &address->token, "an address has 32 or 64 bits, '%.*s' has %u",
                            TW_STR_ARG(address->token.text), bits);
        ptx_parameter_is_pointer(parser, address->index);
        return fit(parser, address->index, TW_KIR_U64, ret_source);
    }
    case PTX_AT_VARIABLE:
    case PTX_AT_PARAMETER:
        base.form = address->base == PTX_AT_VARIABLE ? PTX_VARIABLE : PTX_PARAMETER;
        return named_source(parser, &base, TW_KIR_U64, ret_source);
    case PTX_AT_ARGUMENT:
        *ret_source = tw_kir_reg_operand(address->argument->index);
        return address->argument->is_memory ||
               ptx_fail(parser, &address->token,
                        "parameter '%.*s' is reached with ld.param and st.param only",
                        TW_STR_ARG(address->token.text));
    }
    return false;
}

// ---- which kernel parameters are pointers ----

void ptx_parameter_note(struct ptx_parser *parser, uint32_t reg, uint32_t parameter) {
    if (reg >= parser->parameter_of_count) {
        uint32_t count = reg * 2 + 64;
        uint32_t *bigger = TW_ARENA_ARRAY(parser->arena, uint32_t, count);
        if (!bigger)
            return; // a hint only
        if (parser->parameter_of_count)
            memcpy(bigger, parser->parameter_of, parser->parameter_of_count * sizeof *bigger);
        parser->parameter_of = bigger;
        parser->parameter_of_count = count;
    }
    parser->parameter_of[reg] = parameter + 1;
}

void ptx_parameter_is_pointer(struct ptx_parser *parser, uint32_t reg) {
    struct tw_kir_function *function = ptx_current(parser);
    uint32_t parameter = reg < parser->parameter_of_count ? parser->parameter_of[reg] : 0;
    if (function->is_entry && parameter && parameter <= function->param_count)
        function->params[parameter - 1].is_pointer = true;
}

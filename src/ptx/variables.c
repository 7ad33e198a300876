// SPDX-License-Identifier: Apache-2.0
//
// Declarations: registers, and variables of the global, const, shared and local spaces with their
// initialisers.
//
//     variable    = space {".align" n | ".visible" | …} [".v2"|".v4"] type name {"[" [n] "]"} ["="
//     initialiser] ";" initialiser = "{" initialiser {"," initialiser} [","] "}" | constant | ["generic" "("]
//     symbol [")"] ["+" constant]

#include "internal.h"

bool ptx_type_of(struct tw_str name, uint8_t *ret_type) {
    for (unsigned i = 0; i < TW_KIR_E4M3X2; i++)
        if (ptx_text_is(name, tw_kir_type_name(i))) {
            *ret_type = (uint8_t)i;
            return true;
        }
    return false;
}

bool ptx_alignment(struct ptx_parser *parser, uint32_t *ret_align) {
    struct ptx_token at = parser->token;
    int64_t align;
    if (!ptx_integer(parser, 1, 4'096, "an alignment", &align))
        return false;
    if (align & (align - 1))
        return ptx_fail(parser, &at, "alignment %" PRId64 " is no power of two", align);
    *ret_align = (uint32_t)align;
    return true;
}

// ---- registers ----

static bool one_register(struct ptx_parser *parser, const struct ptx_token *name, uint8_t type,
                         uint32_t *ret_reg) {
    struct tw_kir_function *function = ptx_current(parser);
    char *text = parser->scope > 1
                     ? tw_arena_printf(parser->arena, "%.*s.%u", TW_STR_ARG(name->text), function->reg_count)
                     : tw_arena_str(parser->arena, name->text);
    if (!text)
        return ptx_fail_memory(parser);
    *ret_reg = tw_kir_reg_add(parser->module, function, text, tw_kir_type_bits(type), parser->err);
    return *ret_reg != TW_KIR_NO_REG;
}

static bool register_list(struct ptx_parser *parser, struct ptx_symbol *symbol, uint32_t count) {
    symbol->count = count;
    symbol->list = TW_ARENA_ARRAY(parser->arena, uint32_t, count ? count : 1);
    if (!symbol->list)
        return ptx_fail_memory(parser);
    for (uint32_t i = 0; i < count; i++)
        symbol->list[i] = TW_KIR_NO_REG;
    return true;
}

// %r<n>
static bool register_range(struct ptx_parser *parser, const struct ptx_token *name, uint8_t type) {
    int64_t count;
    struct ptx_token at = parser->token;
    if (parser->token.kind != PTX_NUMBER)
        return ptx_fail_expected(parser, "the number of registers");
    count = (int64_t)parser->token.value;
    if (parser->token.value > TW_KIR_MAX_REGS)
        return ptx_fail_quota(parser, &at, "%.*s<%" PRIu64 ">: the limit is %d registers in a function",
                              TW_STR_ARG(name->text), parser->token.value, TW_KIR_MAX_REGS);
    struct ptx_symbol *symbol = ptx_symbol_add(parser, name, PTX_SYM_RANGE);
    if (!symbol)
        return false;
    symbol->type = type;
    return register_list(parser, symbol, (uint32_t)count) && ptx_next(parser) && ptx_expect(parser, '>');
}

static bool vector_register(struct ptx_parser *parser, const struct ptx_token *name, uint8_t type,
                            uint32_t count) {
    struct ptx_symbol *symbol = ptx_symbol_add(parser, name, PTX_SYM_VECTOR);
    if (!symbol || !register_list(parser, symbol, count))
        return false;
    symbol->type = type;
    for (uint32_t i = 0; i < count; i++) {
        char *text =
            tw_arena_printf(parser->arena, "%.*s.%u", TW_STR_ARG(name->text), ptx_current(parser)->reg_count);
        if (!text)
            return ptx_fail_memory(parser);
        symbol->list[i] =
            tw_kir_reg_add(parser->module, ptx_current(parser), text, tw_kir_type_bits(type), parser->err);
        if (symbol->list[i] == TW_KIR_NO_REG)
            return false;
    }
    return true;
}

// .reg [.v2|.v4] type name {"," name} ";"
bool ptx_registers(struct ptx_parser *parser) {
    uint32_t elements = 1;
    uint8_t type;
    if (ptx_is_dot(parser, "v2") || ptx_is_dot(parser, "v4")) {
        elements = (uint32_t)(parser->token.text.data[1] - '0');
        if (!ptx_next(parser))
            return false;
    }
    if (parser->token.kind != PTX_DOT || !ptx_type_of(parser->token.text, &type))
        return ptx_fail_expected(parser, "a register type");
    if (!ptx_next(parser))
        return false;
    for (bool more = true; more;) {
        struct ptx_token name = parser->token;
        bool range;
        if (name.kind != PTX_WORD)
            return ptx_fail_expected(parser, "a register name");
        if (!ptx_next(parser) || !ptx_accept(parser, '<', &range))
            return false;
        struct ptx_symbol *symbol = NULL;
        if (range && !register_range(parser, &name, type))
            return false;
        if (!range && elements > 1 && !vector_register(parser, &name, type, elements))
            return false;
        if (!range && elements == 1) {
            symbol = ptx_symbol_add(parser, &name, PTX_SYM_REG);
            if (!symbol || !one_register(parser, &name, type, &symbol->index))
                return false;
            symbol->type = type;
        }
        if (!ptx_accept(parser, ',', &more))
            return false;
    }
    return ptx_expect(parser, ';');
}

// ---- variables ----

// What is being declared. Confined.
struct declaration {
    struct tw_kir_variable variable;
    uint8_t type;
    uint32_t elements; // of .v2 and .v4
    uint64_t sizes[PTX_MAX_INIT_DEPTH];
    unsigned dimensions;
    bool unsized;          // name[]
    uint64_t at, capacity; // of the initialiser: next byte, bytes of variable.init
    uint32_t reloc_capacity;
};

static uint64_t element_bytes(const struct declaration *d) {
    return tw_kir_type_bits(d->type) / 8 * d->elements;
}

static bool dimensions(struct ptx_parser *parser, struct declaration *d) {
    uint64_t total = element_bytes(d);
    for (;;) {
        bool more;
        struct ptx_token at = parser->token;
        if (!ptx_accept(parser, '[', &more))
            return false;
        if (!more)
            break;
        if (d->dimensions == PTX_MAX_INIT_DEPTH)
            return ptx_fail(parser, &at, "an array has more than %d dimensions", PTX_MAX_INIT_DEPTH);
        int64_t size = 0;
        if (ptx_is(parser, ']') && d->dimensions == 0)
            d->unsized = true;
        else if (!ptx_integer(parser, 0, TW_KIR_MAX_VARIABLE_BYTES, "an array size", &size))
            return false;
        d->sizes[d->dimensions++] = (uint64_t)size;
        if (!d->unsized || d->dimensions > 1)
            total *= (uint64_t)size;
        if (total > TW_KIR_MAX_VARIABLE_BYTES)
            return ptx_fail_quota(parser, &at, "variable %s has more than %d bytes", d->variable.name,
                                  TW_KIR_MAX_VARIABLE_BYTES);
        if (!ptx_expect(parser, ']'))
            return false;
    }
    d->variable.size = d->unsized ? 0 : total;
    return true;
}

// Room for `bytes` at d->at; unsized arrays grow.
static uint8_t *init_room(struct ptx_parser *parser, struct declaration *d, uint64_t bytes) {
    uint64_t limit = d->unsized ? (uint64_t)TW_KIR_MAX_VARIABLE_BYTES : d->variable.size;
    if (d->at + bytes > limit) {
        ptx_fail(parser, &parser->token, "the initialiser has more than the %" PRIu64 " bytes of %s", limit,
                 d->variable.name);
        return NULL;
    }
    if (d->at + bytes > d->capacity) {
        uint64_t capacity = d->unsized ? (d->at + bytes) * 2 + 64 : d->variable.size;
        uint8_t *bigger = tw_arena_alloc(parser->arena, capacity, 16);
        if (!bigger) {
            ptx_fail_memory(parser);
            return NULL;
        }
        if (d->capacity)
            memcpy(bigger, d->variable.init, d->capacity);
        d->variable.init = bigger;
        d->capacity = capacity;
    }
    // The bytes are ours until the variable is published; the field is const for its readers.
    uint8_t *room = (uint8_t *)(uintptr_t)(d->variable.init + d->at);
    d->at += bytes;
    if (d->unsized && d->at > d->variable.size)
        d->variable.size = d->at;
    return room;
}

static bool init_number(struct ptx_parser *parser, struct declaration *d) {
    struct ptx_scalar value;
    uint64_t bits;
    if (!ptx_constant(parser, &value))
        return false;
    if (value.form == PTX_INTEGER)
        bits = value.bits;
    else if (!ptx_literal_bits(parser, &value, d->type, &bits))
        return false;
    uint64_t bytes = tw_kir_type_bits(d->type) / 8;
    uint8_t *room = init_room(parser, d, bytes);
    if (!room)
        return false;
    memcpy(room, &bits, bytes < 8 ? bytes : 8);
    return true;
}

static bool add_reloc(struct ptx_parser *parser, struct declaration *d, struct tw_kir_reloc reloc) {
    struct tw_kir_variable *v = &d->variable;
    if (v->reloc_count == d->reloc_capacity) {
        uint32_t capacity = d->reloc_capacity ? d->reloc_capacity * 2 : 8;
        struct tw_kir_reloc *bigger = TW_ARENA_ARRAY(parser->arena, struct tw_kir_reloc, capacity);
        if (!bigger)
            return ptx_fail_memory(parser);
        if (v->reloc_count)
            memcpy(bigger, v->relocs, v->reloc_count * sizeof *bigger);
        v->relocs = bigger;
        d->reloc_capacity = capacity;
    }
    v->relocs[v->reloc_count++] = reloc;
    return true;
}

static bool init_function(struct ptx_parser *parser, struct declaration *d, uint32_t function,
                          uint64_t bytes) {
    uint64_t address;
    if (!ptx_function_address(parser, function, &address))
        return false;
    uint8_t *room = init_room(parser, d, bytes);
    if (room)
        memcpy(room, &address, bytes < 8 ? bytes : 8);
    return room != NULL;
}

// What an initialiser takes the address of.
struct target {
    struct ptx_token name;
    const struct ptx_symbol *symbol;
    int64_t addend;
};

// target = (name | "generic" "(" name ")") [["+"] number]
static bool read_target(struct ptx_parser *parser, struct target *ret_target) {
    struct ptx_token name = parser->token;
    bool generic = ptx_text_is(name.text, "generic");
    if (!ptx_next(parser))
        return false;
    if (generic) {
        if (!ptx_expect(parser, '('))
            return false;
        name = parser->token;
        if (!ptx_next(parser) || !ptx_expect(parser, ')'))
            return false;
    }
    const struct ptx_symbol *symbol = name.kind == PTX_WORD ? ptx_symbol_find(parser, name.text) : NULL;
    if (!symbol || (symbol->kind != PTX_SYM_VARIABLE && symbol->kind != PTX_SYM_FUNCTION))
        return ptx_fail(parser, &name, "'%.*s' is no variable or function whose address could stand here",
                        TW_STR_ARG(name.text));
    struct ptx_scalar addend = {};
    bool is_variable = symbol->kind == PTX_SYM_VARIABLE;
    if (is_variable &&
        ((ptx_is(parser, '+') && !ptx_next(parser)) ||
         ((parser->token.kind == PTX_NUMBER || ptx_is(parser, '-')) && !ptx_constant(parser, &addend))))
        return false;
    *ret_target = (struct target){name, symbol, (int64_t)addend.bits};
    return true;
}

static bool put_target(struct ptx_parser *parser, struct declaration *d, const struct target *target) {
    struct tw_kir_reloc reloc = {.at = d->at, .variable = target->symbol->index, .addend = target->addend};
    return init_room(parser, d, 8) && add_reloc(parser, d, reloc);
}

// An address of another variable, or of a function.
static bool init_address(struct ptx_parser *parser, struct declaration *d) {
    struct target target;
    unsigned bits = tw_kir_type_bits(d->type);
    if (!read_target(parser, &target))
        return false;
    if (target.symbol->kind == PTX_SYM_FUNCTION)
        return init_function(parser, d, target.symbol->index, bits / 8);
    if (bits != 64)
        return ptx_fail(parser, &target.name, "an address needs 64 bits, elements of %s have %u",
                        d->variable.name, bits);
    return put_target(parser, d, &target);
}

// 0xFF(x), 0xFF00(x), … 0xFF00000000000000(x): an address in a structure without alignment, byte by byte. All eight
// stand one after the other, since what is kept of an address is where the whole of it lies.
static bool init_address_bytes(struct ptx_parser *parser, struct declaration *d) {
    struct target first = {}, target;
    for (unsigned byte = 0; byte < 8; byte++) {
        struct ptx_token mask = parser->token;
        if (byte && !ptx_expect(parser, ','))
            return false;
        if (byte)
            mask = parser->token;
        if (mask.kind != PTX_NUMBER || mask.value != UINT64_C(0xff) << 8 * byte || d->type == TW_KIR_PRED ||
            tw_kir_type_bits(d->type) != 8)
            return ptx_fail(
                parser, &mask,
                "an address byte by byte is the eight bytes 0xFF(x), 0xFF00(x) … of an array of .b8");
        if (!ptx_next(parser) || !ptx_expect(parser, '(') || !read_target(parser, &target) ||
            !ptx_expect(parser, ')'))
            return false;
        if (byte == 0)
            first = target;
        if (target.symbol != first.symbol || target.addend != first.addend)
            return ptx_fail(parser, &target.name, "the bytes of an address are not all of the same one");
    }
    return first.symbol->kind == PTX_SYM_FUNCTION ? init_function(parser, d, first.symbol->index, 8)
                                                  : put_target(parser, d, &first);
}

static bool initialiser(struct ptx_parser *parser, struct declaration *d, unsigned depth) {
    if (!ptx_is(parser, '{')) {
        bool address = parser->token.kind == PTX_WORD && !ptx_text_is(parser->token.text, "WARP_SZ");
        if (parser->token.kind == PTX_NUMBER && parser->cursor < parser->end && *parser->cursor == '(')
            return init_address_bytes(parser, d);
        return address ? init_address(parser, d) : init_number(parser, d);
    }
    if (depth == PTX_MAX_INIT_DEPTH)
        return ptx_fail(parser, &parser->token, "initialisers nest deeper than %d", PTX_MAX_INIT_DEPTH);
    uint64_t start = d->at, whole = element_bytes(d); // of this brace: a row of the inner dimensions
    for (unsigned i = depth; i < d->dimensions; i++)
        whole *= d->sizes[i];
    bool more = true;
    if (!ptx_next(parser))
        return false;
    while (more && !ptx_is(parser, '}'))
        if (!initialiser(parser, d, depth + 1) || !ptx_accept(parser, ',', &more))
            return false;
    if (depth > 0 && depth < d->dimensions && d->at < start + whole &&
        !init_room(parser, d, start + whole - d->at))
        return false; // a short row: its rest is zero
    return ptx_expect(parser, '}');
}

static bool attributes(struct ptx_parser *parser, struct declaration *d) {
    for (; parser->token.kind == PTX_DOT;) {
        if (ptx_is_dot(parser, "align")) {
            if (!ptx_next(parser) || !ptx_alignment(parser, &d->variable.align))
                return false;
        } else if (ptx_is_dot(parser, "v2") || ptx_is_dot(parser, "v4")) {
            d->elements = (uint32_t)(parser->token.text.data[1] - '0');
            if (!ptx_next(parser))
                return false;
        } else if (ptx_is_dot(parser, "attribute")) { // .attribute(.managed), (.unified(…))
            for (unsigned depth = 0;;) {
                if (!ptx_next(parser))
                    return false;
                depth += ptx_is(parser, '(');
                if (ptx_is(parser, ')') && --depth == 0)
                    break;
                if (parser->token.kind == PTX_END || depth == 0)
                    return ptx_fail_expected(parser, "'(' … ')' after .attribute");
            }
            if (!ptx_next(parser))
                return false;
        } else {
            if (!ptx_type_of(parser->token.text, &d->type) || d->type == TW_KIR_PRED)
                return ptx_fail_expected(parser, "a type of variable");
            return ptx_next(parser);
        }
    }
    return ptx_fail_expected(parser, "a type");
}

static char *unique_name(struct ptx_parser *parser, const struct ptx_token *name) {
    if (parser->scope == 0)
        return tw_arena_str(parser->arena, name->text);
    return tw_arena_printf(parser->arena, "%s.%.*s.%u", ptx_current(parser)->name, TW_STR_ARG(name->text),
                           parser->module->variable_count);
}

static bool check_limits(struct ptx_parser *parser, const struct ptx_token *name,
                         const struct declaration *d) {
    uint64_t limit = d->variable.space == TW_KIR_LOCAL    ? TW_KIR_MAX_LOCAL_BYTES
                     : d->variable.space == TW_KIR_SHARED ? TW_KIR_MAX_SHARED_BYTES
                                                          : TW_KIR_MAX_VARIABLE_BYTES;
    if (d->variable.size > limit)
        return ptx_fail_quota(parser, name, "%s has %" PRIu64 " bytes, the limit of its space is %" PRIu64,
                              d->variable.name, d->variable.size, limit);
    return true;
}

static bool declarator(struct ptx_parser *parser, struct declaration d, bool is_extern) {
    struct ptx_token name = parser->token;
    bool initialised;
    if (name.kind != PTX_WORD)
        return ptx_fail_expected(parser, "the name of a variable");
    if (!(d.variable.name = unique_name(parser, &name)))
        return ptx_fail_memory(parser);
    if (!ptx_next(parser) || !dimensions(parser, &d) || !ptx_accept(parser, '=', &initialised))
        return false;
    bool stores = d.variable.space == TW_KIR_GLOBAL || d.variable.space == TW_KIR_CONST;
    if (initialised && !stores)
        return ptx_fail(parser, &parser->token, "shared and local variables have no initialisers");
    if (initialised && !initialiser(parser, &d, 0))
        return false;
    bool dynamic = d.unsized && d.variable.space == TW_KIR_SHARED && is_extern;
    if (d.unsized && !initialised && !dynamic && !is_extern)
        return ptx_fail(parser, &name, "'%.*s' has no size", TW_STR_ARG(name.text));
    if (d.variable.align == 0)
        d.variable.align = (uint32_t)element_bytes(&d);
    if (!check_limits(parser, &name, &d))
        return false;
    struct ptx_symbol *old = ptx_symbol_find(parser, name.text);
    bool redeclares = old && old->scope == parser->scope && old->kind == PTX_SYM_EXTERN;
    struct ptx_symbol *symbol = redeclares ? old : ptx_symbol_add(parser, &name, PTX_SYM_VARIABLE);
    if (!symbol)
        return false;
    symbol->kind = is_extern && stores ? PTX_SYM_EXTERN : PTX_SYM_VARIABLE;
    if (symbol->kind == PTX_SYM_EXTERN)
        return true;
    symbol->index = tw_kir_variable_add(parser->module, &d.variable, parser->err);
    return symbol->index != TW_KIR_NO_REG;
}

bool ptx_variable(struct ptx_parser *parser, enum tw_kir_space space, bool is_extern) {
    struct declaration d = {.elements = 1};
    d.variable.space = space;
    d.variable.function = parser->scope ? parser->function : TW_KIR_NO_REG;
    if (ptx_is_texture(parser))
        return ptx_texture(parser);
    if (!attributes(parser, &d))
        return false;
    for (bool more = true; more;)
        if (!declarator(parser, d, is_extern) || !ptx_accept(parser, ',', &more))
            return false;
    return ptx_expect(parser, ';');
}

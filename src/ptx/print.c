// SPDX-License-Identifier: Apache-2.0
//
// Kernel IR as PTX text: the header, the module's variables with their initialisers, the functions. Also the
// words of which all statements are made: registers, values, guards.

#include "print.h"

#include <stdarg.h>

bool ptx_print_full(struct ptx_printer *p) {
    return tw_fail(p->err, TW_ERR_CUDA_QUOTA, "the printed PTX is larger than the %zu bytes of its buffer",
                   p->out->max);
}

bool ptx_print_fail(struct ptx_printer *p, const char *format, ...) {
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!p->inst)
        return tw_fail(p->err, TW_ERR_CUDA_INVALID_KERNEL, "cannot print as PTX: %s", text);
    return tw_fail(p->err, TW_ERR_CUDA_INVALID_KERNEL, "cannot print '%s' of %.80s (line %u) as PTX: %s",
                   tw_kir_op_name(p->inst->op), p->function->name, p->inst->line, text);
}

// ---- words ----

bool ptx_put(struct ptx_printer *p, const char *text) {
    return tw_buf_append_str(&p->body, tw_str_from(text)) || ptx_print_full(p);
}

static unsigned class_of(unsigned bits) {
    return bits == 1 ? 0 : bits == 8 ? 1 : bits == 16 ? 2 : bits == 32 ? 3 : bits == 64 ? 4 : 5;
}

static const char *const class_names[PTX_CLASSES] = {"p", "c", "h", "r", "rd", "q"};
static const uint8_t class_bits[PTX_CLASSES] = {1, 8, 16, 32, 64, 128};

// Registers of the printer itself carry their class and number in their index.
enum { TEMP = 1 << 30, TEMP_CLASS_SHIFT = 27 };

uint32_t ptx_print_temp(struct ptx_printer *p, unsigned bits) {
    unsigned class = class_of(bits);
    return TEMP | class << TEMP_CLASS_SHIFT | p->counts[class]++;
}

unsigned ptx_print_bits(const struct ptx_printer *p, uint32_t reg) {
    return reg & TEMP ? class_bits[reg >> TEMP_CLASS_SHIFT & 7] : p->function->regs[reg].bits;
}

bool ptx_put_reg(struct ptx_printer *p, uint32_t reg) {
    if (reg == TW_KIR_NO_REG)
        return ptx_put(p, "_");
    unsigned class = class_of(ptx_print_bits(p, reg));
    uint32_t number = reg & ((1U << TEMP_CLASS_SHIFT) - 1);
    if (!(reg & TEMP)) {
        if (!p->numbers[reg])
            p->numbers[reg] = ++p->counts[class];
        number = p->numbers[reg] - 1;
    }
    return tw_buf_printf(&p->body, "%%%s%u", class_names[class], number) || ptx_print_full(p);
}

bool ptx_put_value(struct ptx_printer *p, struct tw_kir_operand value, uint8_t type) {
    if (!value.is_imm)
        return ptx_put_reg(p, value.reg);
    unsigned bits = tw_kir_type_bits(type);
    int64_t number = bits >= 64 ? (int64_t)value.bits : (int64_t)(value.bits << (64 - bits)) >> (64 - bits);
    bool good;
    if (type == TW_KIR_F32)
        good = tw_buf_printf(&p->body, "0f%08" PRIX32, (uint32_t)value.bits);
    else if (type == TW_KIR_F64)
        good = tw_buf_printf(&p->body, "0d%016" PRIX64, value.bits);
    else if (number == INT64_MIN)
        good = tw_buf_printf(&p->body, "0x%" PRIx64, value.bits);
    else
        good = tw_buf_printf(&p->body, "%" PRId64, number);
    return good || ptx_print_full(p);
}

bool ptx_put_guard(struct ptx_printer *p) {
    const struct tw_kir_inst *inst = p->inst;
    if (inst->guard == TW_KIR_NO_REG)
        return ptx_put(p, "\t");
    return ptx_put(p, inst->guard_not ? "\t@!" : "\t@") && ptx_put_reg(p, inst->guard) && ptx_put(p, " ");
}

static bool piece(struct ptx_printer *p, const struct ptx_piece *piece) {
    switch (piece->kind) {
    case PTX_PIECE_REG:
        return ptx_put_reg(p, piece->reg);
    case PTX_PIECE_VALUE:
        return ptx_put_value(p, piece->value, piece->type);
    case PTX_PIECE_TEXT:
        return ptx_put(p, piece->text);
    case PTX_PIECE_NUMBER:
        return tw_buf_printf(&p->body, "%" PRId64, piece->number) || ptx_print_full(p);
    case PTX_PIECE_END:
        break;
    }
    return true;
}

static bool pieces_text(struct ptx_printer *p, const char *format, const struct ptx_piece *pieces) {
    for (;;) {
        size_t plain = strcspn(format, "#");
        if (!tw_buf_append(&p->body, format, plain))
            return ptx_print_full(p);
        if (!format[plain])
            return ptx_put(p, ";\n");
        format += plain + 1;
        if (!piece(p, pieces))
            return false;
        pieces += pieces->kind != PTX_PIECE_END;
    }
}

bool ptx_say(struct ptx_printer *p, const char *format, const struct ptx_piece *pieces) {
    return ptx_put(p, "\t") && pieces_text(p, format, pieces);
}

bool ptx_say_guarded(struct ptx_printer *p, const char *format, const struct ptx_piece *pieces) {
    return ptx_put_guard(p) && pieces_text(p, format, pieces);
}

bool ptx_in_register(struct ptx_printer *p, struct tw_kir_operand *value, uint8_t type) {
    if (!value->is_imm)
        return true;
    unsigned bits = tw_kir_type_bits(type);
    uint8_t plain = bits == 8 ? TW_KIR_B16 : bits == 128 ? TW_KIR_B64 : tw_kir_bits_type(bits);
    uint32_t reg = ptx_print_temp(p, tw_kir_type_bits(plain));
    if (!ptx_say(p, "mov.# #, #",
                 PTX_PIECES(PTX_T(tw_kir_type_name(plain)), PTX_R(reg), PTX_V(*value, plain))))
        return false;
    if (bits == 8) {
        uint32_t narrow = ptx_print_temp(p, 8);
        if (!ptx_say(p, "cvt.u8.u16 #, #", PTX_PIECES(PTX_R(narrow), PTX_R(reg))))
            return false;
        reg = narrow;
    } else if (bits == 128) {
        uint32_t wide = ptx_print_temp(p, 128);
        if (!ptx_say(p, "mov.b128 #, {#, 0}", PTX_PIECES(PTX_R(wide), PTX_R(reg))))
            return false;
        reg = wide;
    }
    *value = tw_kir_reg_operand(reg);
    return true;
}

// ---- variables ----

static bool relocation(struct ptx_printer *p, const struct tw_kir_reloc *reloc) {
    const struct tw_kir_variable *to = &p->module->variables[reloc->variable];
    if (to->space != TW_KIR_GLOBAL)
        return ptx_print_fail(p,
                              "an initialiser holds the address of %s, which is not global: it cannot be "
                              "told whether it is generic",
                              to->name);
    if (p->options->fence)
        return ptx_print_fail(p, "an initialiser holds the address of %s, where the fence cannot follow it",
                              to->name);
    if (!tw_buf_printf(&p->body, "generic(%s)", p->variable_names[reloc->variable]))
        return ptx_print_full(p);
    return reloc->addend == 0 || tw_buf_printf(&p->body, "+0x%" PRIx64, (uint64_t)reloc->addend) ||
           ptx_print_full(p);
}

// Words of eight bytes, some of them addresses.
static bool words(struct ptx_printer *p, const struct tw_kir_variable *variable) {
    uint32_t next = 0;
    for (uint64_t at = 0; at < variable->size; at += 8) {
        uint64_t word;
        memcpy(&word, variable->init + at, 8);
        bool is_address = next < variable->reloc_count && variable->relocs[next].at == at;
        if (!ptx_put(p, at ? ", " : "") || !(is_address ? relocation(p, &variable->relocs[next])
                                                        : tw_buf_printf(&p->body, "0x%" PRIx64, word)))
            return is_address ? false : ptx_print_full(p);
        next += is_address;
    }
    return next == variable->reloc_count ||
           ptx_print_fail(p, "variable %s holds addresses out of order", variable->name);
}

// 0xFF(x), 0xFF00(x), …: an address where words cannot stand.
static bool relocation_bytes(struct ptx_printer *p, const struct tw_kir_reloc *reloc) {
    for (unsigned i = 0; i < 8; i++) {
        if (!tw_buf_printf(&p->body, i ? ", 0xFF%0*u(" : "0xFF(", 2 * (int)i, 0))
            return ptx_print_full(p);
        if (!relocation(p, reloc) || !ptx_put(p, ")"))
            return false;
    }
    return true;
}

// Up to the last byte that is not zero, or the last address.
static bool bytes(struct ptx_printer *p, const struct tw_kir_variable *variable) {
    uint32_t next = 0, relocs = variable->reloc_count;
    uint64_t count = variable->size, least = relocs ? variable->relocs[relocs - 1].at + 8 : 1;
    while (count > least && variable->init[count - 1] == 0)
        count--;
    for (uint64_t i = 0; i < count; i++) {
        bool is_address = next < relocs && variable->relocs[next].at == i;
        if (!ptx_put(p, i ? ", " : "") || (is_address ? !relocation_bytes(p, &variable->relocs[next])
                                                      : !tw_buf_printf(&p->body, "%u", variable->init[i])))
            return is_address ? false : ptx_print_full(p);
        next += is_address;
        i += is_address ? 7 : 0;
    }
    return next == relocs || ptx_print_fail(p, "variable %s holds addresses out of order", variable->name);
}

static bool fits_words(const struct tw_kir_variable *variable) {
    bool fits = variable->reloc_count != 0 && variable->size % 8 == 0;
    for (uint32_t i = 0; i < variable->reloc_count; i++)
        fits &= variable->relocs[i].at % 8 == 0;
    return fits;
}

bool ptx_variable_text(struct ptx_printer *p, uint32_t index) {
    static const char *const spaces[] = {[TW_KIR_GLOBAL] = "global",
                                         [TW_KIR_SHARED] = "shared",
                                         [TW_KIR_LOCAL] = "local",
                                         [TW_KIR_CONST] = "const"};
    const struct tw_kir_variable *variable = &p->module->variables[index];
    const char *space = spaces[variable->space], *name = p->variable_names[index];
    if (variable->space == TW_KIR_SHARED && variable->size == 0)
        return tw_buf_printf(&p->body, ".extern .shared .align %u .b8 %s[];\n", variable->align, name) ||
               ptx_print_full(p);
    bool is_words = fits_words(variable);
    if (!tw_buf_printf(&p->body, ".%s .align %u .%s %s[%" PRIu64 "]", space, variable->align,
                       is_words                ? "u64"
                       : variable->reloc_count ? "u8"
                                               : "b8",
                       name, is_words ? variable->size / 8 : variable->size))
        return ptx_print_full(p);
    if (!variable->init || variable->size == 0)
        return ptx_put(p, ";\n");
    return ptx_put(p, " = {") && (is_words ? words(p, variable) : bytes(p, variable)) && ptx_put(p, "};\n");
}

static bool module_variables(struct ptx_printer *p) {
    for (uint32_t i = 0; i < p->module->variable_count; i++)
        if (p->module->variables[i].function == TW_KIR_NO_REG && !ptx_variable_text(p, i))
            return false;
    return true;
}

// ---- functions ----

static bool is_wanted(const struct ptx_printer *p, const struct tw_kir_function *function) {
    const char *entry = p->options->entry;
    return function->is_entry && !function->is_declaration &&
           (!entry || !entry[0] || strcmp(entry, function->name) == 0);
}

// Marks what the current function calls where it can be reached; `stack` takes what is new.
static bool mark_called(struct ptx_printer *p, uint32_t *stack, uint32_t *depth) {
    if (!ptx_reach(p))
        return false;
    for (uint32_t b = 0; b < p->function->block_count; b++)
        for (uint32_t i = 0; p->labels[b] && i < p->function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &p->function->blocks[b].insts[i];
            p->calls_vprintf |= inst->op == TW_KIR_PRINTF;
            if (inst->op != TW_KIR_CALL || p->prints[inst->index])
                continue;
            p->prints[inst->index] = true;
            stack[(*depth)++] = inst->index;
        }
    return true;
}

static bool choose_functions(struct ptx_printer *p) {
    const struct tw_kir_module *module = p->module;
    uint32_t depth = 0;
    p->prints = TW_ARENA_ARRAY(&p->arena, bool, module->function_count + 1);
    uint32_t *stack = TW_ARENA_ARRAY(&p->arena, uint32_t, module->function_count + 1);
    if (!p->prints || !stack)
        return ptx_print_full(p);
    for (uint32_t i = 0; i < module->function_count; i++)
        if ((p->prints[i] = is_wanted(p, &module->functions[i])))
            stack[depth++] = i;
    if (!depth && p->options->entry && p->options->entry[0])
        return tw_fail(p->err, TW_ERR_CUDA_INVALID_KERNEL, "the module has no kernel '%.200s'",
                       p->options->entry);
    while (depth) {
        p->function = &module->functions[stack[--depth]];
        if (!mark_called(p, stack, &depth))
            return false;
    }
    return true;
}

// First the device functions' declarations, for they may call each other in any order, then their bodies,
// then the kernels.
static bool functions(struct ptx_printer *p) {
    for (unsigned round = 0; round < 3; round++)
        for (p->index = 0; p->index < p->module->function_count; p->index++) {
            p->function = &p->module->functions[p->index];
            if (p->prints[p->index] && p->function->is_entry == (round == 2) &&
                !ptx_function_text(p, round == 0))
                return false;
        }
    return true;
}

static bool header(struct ptx_printer *p) {
    unsigned version = p->options->version, sm = p->options->sm;
    if (!version)
        version = p->module->ptx_version > 70 ? p->module->ptx_version : 70;
    if (!sm)
        sm = p->module->sm > 70 ? p->module->sm : 70;
    if (!tw_buf_printf(p->out, ".version %u.%u\n.target sm_%u\n.address_size 64\n", version / 10,
                       version % 10, sm))
        return ptx_print_full(p);
    return !p->calls_vprintf ||
           ptx_put(p, ".extern .func (.param .b32 result) vprintf (.param .b64 format, .param .b64 "
                      "arguments);\n");
}

bool tw_ptx_print(const struct tw_kir_module *module, const struct tw_ptx_options *options,
                  struct tw_buf *out, struct tw_error *err) {
    struct ptx_printer p = {.module = module, .options = options, .err = err, .out = out};
    tw_arena_init(&p.arena, (size_t)1 << 30);
    tw_buf_init(&p.body, out->max);
    bool good = ptx_names(&p) && choose_functions(&p) && header(&p) && module_variables(&p);
    good = good && (tw_buf_append_str(out, tw_buf_str(&p.body)) || ptx_print_full(&p)) && functions(&p);
    tw_buf_done(&p.body);
    tw_arena_done(&p.arena);
    return good;
}

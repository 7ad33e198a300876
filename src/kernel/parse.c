// SPDX-License-Identifier: Apache-2.0
//
// Reads the printed form of IR back (see print.c for an example), so that tests and tools can start from any
// stage. One line is one thing; the first pass makes functions and variables, so that later lines may name
// them before they come. What is read is verified.

#include "parse.h"

// ---- lines ----

static bool next_line(struct ir_reader *r) {
    if (r->text.len == 0)
        return false;
    r->rest = tw_str_cut(&r->text, '\n');
    r->line++;
    return true;
}

static bool is(struct tw_str word, const char *text) {
    return strlen(text) == word.len && memcmp(text, word.data, word.len) == 0;
}

static bool expect(struct ir_reader *r, const char *text) {
    struct tw_str word = kernel_parse_word(r);
    return is(word, text) || kernel_parse_fail(r, "expected '%s', found '%.*s'", text, TW_STR_ARG(word));
}

static bool is_function_word(struct tw_str word) {
    return is(word, "entry") || is(word, "function") || is(word, "declare");
}

// First pass: empty functions and variables with their names.
static bool collect(struct ir_reader *r) {
    while (next_line(r)) {
        struct tw_str word = kernel_parse_word(r);
        bool function = is_function_word(word);
        if (!function && !is(word, "variable"))
            continue;
        struct tw_str name = kernel_parse_word(r);
        char *text = tw_arena_str(r->module->arena, name);
        if (!text)
            return kernel_parse_memory(r);
        struct tw_kir_variable variable = {.name = text, .function = TW_KIR_NO_REG};
        if (function ? !tw_kir_function_add(r->module, text, r->err)
                     : tw_kir_variable_add(r->module, &variable, r->err) == TW_KIR_NO_REG)
            return false;
        uint32_t index = (function ? r->module->function_count : r->module->variable_count) - 1;
        if (!kernel_parse_name_put(r, function ? &r->functions : &r->variables, name, index))
            return false;
    }
    return true;
}

static bool variable_init(struct ir_reader *r, struct tw_kir_variable *v) {
    struct tw_str hex = kernel_parse_word(r);
    uint8_t *bytes = tw_arena_alloc(r->module->arena, v->size ? v->size : 1, 16);
    if (!bytes)
        return kernel_parse_memory(r);
    if (hex.len != v->size * 2 || !tw_hex_parse(hex, bytes, v->size))
        return kernel_parse_fail(r, "the initial bytes of '%s' are not %" PRIu64 " in hex", v->name, v->size);
    v->init = bytes;
    return true;
}

static bool variable_address(struct ir_reader *r, struct tw_kir_variable *v, uint32_t *capacity) {
    uint64_t at;
    struct tw_kir_reloc reloc = {};
    if (!kernel_parse_number(r, TW_KIR_MAX_VARIABLE_BYTES, &at) ||
        !kernel_parse_name_find(r, &r->variables, kernel_parse_word(r), "variable", &reloc.variable) ||
        !kernel_parse_signed(r, kernel_parse_word(r), &reloc.addend))
        return false;
    if (v->reloc_count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 8;
        struct tw_kir_reloc *bigger = TW_ARENA_ARRAY(r->module->arena, struct tw_kir_reloc, *capacity);
        if (!bigger)
            return kernel_parse_memory(r);
        if (v->reloc_count)
            memcpy(bigger, v->relocs, v->reloc_count * sizeof *bigger);
        v->relocs = bigger;
    }
    reloc.at = at;
    v->relocs[v->reloc_count++] = reloc;
    return true;
}

// variable NAME SPACE align N size N [of FUNCTION] [init HEX] {address AT NAME ADDEND}
static bool variable(struct ir_reader *r) {
    uint64_t align, size;
    uint32_t index, capacity = 0;
    uint8_t space;
    if (!kernel_parse_name_find(r, &r->variables, kernel_parse_word(r), "variable", &index))
        return false;
    struct tw_kir_variable *v = &r->module->variables[index];
    struct tw_str word = kernel_parse_word(r);
    if (!kernel_name_find(kernel_spaces, word, &space))
        return kernel_parse_fail(r, "'%.*s' is no space", TW_STR_ARG(word));
    if (!expect(r, "align") || !kernel_parse_number(r, 4'096, &align) || !expect(r, "size") ||
        !kernel_parse_number(r, TW_KIR_MAX_VARIABLE_BYTES, &size))
        return false;
    v->space = space;
    v->align = (uint32_t)align;
    v->size = size;
    for (word = kernel_parse_word(r); word.len; word = kernel_parse_word(r)) {
        bool good = is(word, "of")        ? kernel_parse_name_find(r, &r->functions, kernel_parse_word(r),
                                                                   "function", &v->function)
                    : is(word, "init")    ? variable_init(r, v)
                    : is(word, "address") ? variable_address(r, v, &capacity)
                                          : kernel_parse_fail(r, "unexpected '%.*s'", TW_STR_ARG(word));
        if (!good)
            return false;
    }
    return true;
}

// regs bN name…
static bool registers(struct ir_reader *r) {
    struct tw_str width = kernel_parse_word(r);
    uint64_t bits = 0;
    if (width.len > 1 && width.data[0] == 'b')
        width = tw_str_of(width.data + 1, width.len - 1);
    if (!tw_str_u64(width, &bits) ||
        (bits != 1 && bits != 8 && bits != 16 && bits != 32 && bits != 64 && bits != 128))
        return kernel_parse_fail(r, "registers have 1, 8, 16, 32, 64 or 128 bits");
    for (struct tw_str name = kernel_parse_word(r); name.len; name = kernel_parse_word(r)) {
        char *text = tw_arena_str(r->module->arena, name);
        if (!text)
            return kernel_parse_memory(r);
        uint32_t reg = tw_kir_reg_add(r->module, kernel_parse_function(r), text, (unsigned)bits, r->err);
        if (reg == TW_KIR_NO_REG || !kernel_parse_name_put(r, &r->regs, name, reg))
            return false;
    }
    return true;
}

// param NAME TYPE offset N size N align N [pointer] [in REG]
static bool parameter(struct ir_reader *r, struct tw_kir_param **list, uint32_t *count) {
    struct tw_kir_param p = {.reg = TW_KIR_NO_REG};
    uint64_t offset, size, align;
    uint8_t type;
    struct tw_str name = kernel_parse_word(r);
    if (*count == TW_KIR_MAX_PARAMS || name.len == 0)
        return kernel_parse_fail(r, "a parameter without a name, or more than %d of them", TW_KIR_MAX_PARAMS);
    if (!(p.name = tw_arena_str(r->module->arena, name)))
        return kernel_parse_memory(r);
    struct tw_str word = kernel_parse_word(r);
    if (!kernel_type_find(word, &type))
        return kernel_parse_fail(r, "'%.*s' is no type", TW_STR_ARG(word));
    if (!expect(r, "offset") || !kernel_parse_number(r, UINT32_MAX, &offset) || !expect(r, "size") ||
        !kernel_parse_number(r, UINT32_MAX, &size) || !expect(r, "align") ||
        !kernel_parse_number(r, 4'096, &align))
        return false;
    p.type = type;
    p.offset = (uint32_t)offset;
    p.size = (uint32_t)size;
    p.align = (uint32_t)align;
    for (word = kernel_parse_word(r); word.len; word = kernel_parse_word(r)) {
        p.is_pointer |= is(word, "pointer");
        if (is(word, "in")
                ? !kernel_parse_name_find(r, &r->regs, kernel_parse_word(r), "register", &p.reg)
                : !is(word, "pointer") && !kernel_parse_fail(r, "unexpected '%.*s'", TW_STR_ARG(word)))
            return false;
    }
    if ((*count & (*count - 1)) == 0) {
        struct tw_kir_param *bigger =
            TW_ARENA_ARRAY(r->module->arena, struct tw_kir_param, *count ? *count * 2 : 1);
        if (!bigger)
            return kernel_parse_memory(r);
        if (*count)
            memcpy(bigger, *list, *count * sizeof *bigger);
        *list = bigger;
    }
    (*list)[(*count)++] = p;
    return true;
}

static bool three(struct ir_reader *r, uint32_t *ret_values) {
    for (unsigned i = 0; i < 3; i++) {
        uint64_t value;
        if (!kernel_parse_number(r, UINT32_MAX, &value))
            return false;
        ret_values[i] = (uint32_t)value;
    }
    return true;
}

// The blocks of the function that begins here, so that branches may name them.
static bool collect_blocks(struct ir_reader *r) {
    struct tw_str text = r->text, rest = r->rest;
    uint32_t line = r->line;
    while (next_line(r)) {
        struct tw_str word = kernel_parse_word(r);
        if (is(word, "end"))
            break;
        if (!is(word, "block"))
            continue;
        struct tw_str name = kernel_parse_word(r);
        char *label = tw_arena_str(r->module->arena, name);
        if (!label)
            return kernel_parse_memory(r);
        uint32_t block = tw_kir_block_add(r->module, kernel_parse_function(r), label, r->err);
        if (block == TW_KIR_NO_REG || !kernel_parse_name_put(r, &r->labels, name, block))
            return false;
    }
    r->text = text;
    r->rest = rest;
    r->line = line;
    return true;
}

// What is left of the line: why the function has no body.
static bool refusal(struct ir_reader *r, struct tw_kir_function *f) {
    struct tw_str text = tw_str_trim(r->rest);
    r->rest = (struct tw_str){};
    f->is_declaration = true;
    if (text.len == 0 || text.len > TW_KIR_MAX_NAME || memchr(text.data, 0, text.len))
        return kernel_parse_fail(r, "expected a reason of at most %d characters", TW_KIR_MAX_NAME);
    f->refusal = tw_arena_str(r->module->arena, text);
    return f->refusal || kernel_parse_memory(r);
}

// entry NAME params N [required X Y Z] [max X Y Z] [refused REASON]
static bool function(struct ir_reader *r, struct tw_str kind) {
    uint64_t bytes;
    if (!kernel_parse_name_find(r, &r->functions, kernel_parse_word(r), "function", &r->function) ||
        !expect(r, "params") || !kernel_parse_number(r, TW_KIR_MAX_PARAM_BYTES, &bytes))
        return false;
    struct tw_kir_function *f = kernel_parse_function(r);
    f->is_entry = is(kind, "entry");
    f->is_declaration = is(kind, "declare");
    f->param_bytes = (uint32_t)bytes;
    for (struct tw_str word = kernel_parse_word(r); word.len; word = kernel_parse_word(r)) {
        if (is(word, "refused")) {
            if (!refusal(r, f))
                return false;
            continue;
        }
        bool required = is(word, "required");
        if (!required && !is(word, "max"))
            return kernel_parse_fail(r, "unexpected '%.*s'", TW_STR_ARG(word));
        if (!three(r, required ? f->required_block : f->max_block))
            return false;
    }
    tw_map_done(&r->regs);
    tw_map_done(&r->labels);
    tw_map_init(&r->regs, TW_KIR_MAX_REGS);
    tw_map_init(&r->labels, TW_KIR_MAX_BLOCKS);
    r->block = TW_KIR_NO_REG;
    r->in_function = true;
    return collect_blocks(r);
}

static bool module_line(struct ir_reader *r) {
    uint64_t version, sm;
    if (!expect(r, "ptx") || !kernel_parse_number(r, 999, &version) || !expect(r, "sm") ||
        !kernel_parse_number(r, 999, &sm))
        return false;
    r->module->ptx_version = (uint32_t)version;
    r->module->sm = (uint32_t)sm;
    return true;
}

static bool body_line(struct ir_reader *r, struct tw_str word) {
    struct tw_kir_function *f = kernel_parse_function(r);
    if (is(word, "regs"))
        return registers(r);
    if (is(word, "param"))
        return parameter(r, &f->params, &f->param_count);
    if (is(word, "result"))
        return parameter(r, &f->results, &f->result_count);
    if (is(word, "block"))
        return kernel_parse_name_find(r, &r->labels, kernel_parse_word(r), "block", &r->block);
    r->in_function = !is(word, "end");
    return !r->in_function || kernel_parse_fail(r, "unexpected '%.*s'", TW_STR_ARG(word));
}

static bool each_line(struct ir_reader *r) {
    while (next_line(r)) {
        if (r->rest.len == 0)
            continue;
        if (r->rest.data[0] == ' ') {
            if (!r->in_function || r->block == TW_KIR_NO_REG)
                return kernel_parse_fail(r, "an instruction outside any block");
            if (!kernel_parse_instruction(r))
                return false;
            continue;
        }
        struct tw_str word = kernel_parse_word(r);
        bool good = r->in_function           ? body_line(r, word)
                    : is(word, "module")     ? module_line(r)
                    : is(word, "variable")   ? variable(r)
                    : is_function_word(word) ? function(r, word)
                                             : kernel_parse_fail(r, "unexpected '%.*s'", TW_STR_ARG(word));
        if (!good)
            return false;
    }
    return !r->in_function || kernel_parse_fail(r, "the last function has no 'end'");
}

bool tw_kir_parse(struct tw_arena *arena, struct tw_str text, struct tw_kir_module **ret_module,
                  struct tw_error *err) {
    struct ir_reader r = {.text = text, .err = err};
    if (text.len > TW_KIR_MAX_TEXT)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%zu bytes of IR, the limit is %d", text.len, TW_KIR_MAX_TEXT);
    // Names are C strings from here on: one that a NUL cuts short would be another one.
    if (text.len && memchr(text.data, 0, text.len))
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "a NUL byte is not IR text");
    if (!(r.module = tw_kir_module_new(arena, err)))
        return false;
    tw_map_init(&r.functions, TW_KIR_MAX_FUNCTIONS);
    tw_map_init(&r.variables, TW_KIR_MAX_VARIABLES);
    bool good = collect(&r);
    r.text = text;
    r.line = 0;
    good = good && each_line(&r) && tw_kir_verify(r.module, err);
    tw_map_done(&r.functions);
    tw_map_done(&r.variables);
    tw_map_done(&r.regs);
    tw_map_done(&r.labels);
    if (good)
        *ret_module = r.module;
    return good;
}

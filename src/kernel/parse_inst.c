// SPDX-License-Identifier: Apache-2.0
//
// One instruction of printed IR:
//
//     ["@" ["!"] reg] [reg {"," reg} "="] op {"." attribute} [name] [offset] [operand {"," operand}] ["->"
//     label {"," label}]
//         [";" line ":" column]

#include "parse.h"

// What the line says, before it becomes an instruction. Confined.
struct line {
    struct tw_kir_inst inst;
    uint32_t dst[TW_KIR_MAX_TARGETS], targets[TW_KIR_MAX_TARGETS];
    struct tw_kir_operand src[TW_KIR_MAX_TARGETS];
};

// The next piece before " separator " or the end; moves `*text` behind it.
static struct tw_str piece(struct tw_str *text, const char *separator, bool *ret_found) {
    size_t len = strlen(separator);
    const char *at = text->len >= len ? memmem(text->data, text->len, separator, len) : NULL;
    struct tw_str whole = *text;
    *ret_found = at != NULL;
    if (!at)
        return whole;
    text->data = at + len;
    text->len = (size_t)(whole.data + whole.len - text->data);
    return tw_str_of(whole.data, (size_t)(at - whole.data));
}

static bool operand(struct ir_reader *r, struct tw_str text, struct tw_kir_operand *ret_operand) {
    *ret_operand = (struct tw_kir_operand){};
    ret_operand->is_imm = text.len && text.data[0] >= '0' && text.data[0] <= '9';
    if (!ret_operand->is_imm)
        return kernel_parse_name_find(r, &r->regs, text, "register", &ret_operand->reg);
    if (text.len <= 2 || text.data[1] != 'x')
        return tw_str_u64(text, &ret_operand->bits) ||
               kernel_parse_fail(r, "'%.*s' is no number", TW_STR_ARG(text));
    for (size_t i = 2; i < text.len; i++) {
        char c = text.data[i];
        bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
        if ((!digit && !letter) || text.len > 18)
            return kernel_parse_fail(r, "'%.*s' is no number", TW_STR_ARG(text));
        ret_operand->bits = ret_operand->bits << 4 | (unsigned)(digit ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static bool guard(struct ir_reader *r, struct tw_kir_inst *inst) {
    inst->guard = TW_KIR_NO_REG;
    if (r->rest.len == 0 || r->rest.data[0] != '@')
        return true;
    struct tw_str word = kernel_parse_word(r);
    inst->guard_not = word.len > 1 && word.data[1] == '!';
    size_t skip = inst->guard_not ? 2 : 1;
    return kernel_parse_name_find(r, &r->regs, tw_str_of(word.data + skip, word.len - skip), "register",
                                  &inst->guard);
}

static bool results(struct ir_reader *r, struct line *l) {
    bool found, more = true;
    struct tw_str list = piece(&r->rest, " = ", &found);
    while (found && more) {
        struct tw_str name = piece(&list, ", ", &more);
        if (l->inst.dst_count == TW_KIR_MAX_TARGETS)
            return kernel_parse_fail(r, "too many results");
        uint32_t *dst = &l->dst[l->inst.dst_count++];
        *dst = TW_KIR_NO_REG;
        if (!(name.len == 1 && name.data[0] == '_') &&
            !kernel_parse_name_find(r, &r->regs, name, "register", dst))
            return false;
    }
    return true;
}

static bool attribute(struct ir_reader *r, struct tw_kir_inst *inst, struct tw_str word, bool *typed) {
    uint8_t value;
    uint64_t number;
    struct tw_str digits = word.len > 1 ? tw_str_of(word.data + 1, word.len - 1) : word;
    if (kernel_name_find(kernel_modes(inst->op), word, &inst->mode))
        return true;
    if (kernel_type_find(word, &value)) {
        *(*typed ? &inst->type2 : &inst->type) = value;
        *typed = true;
        return true;
    }
    if (tw_str_equal(word, TW_STR("with_not"))) {
        inst->combine_not = 1;
        return true;
    }
    if ((inst->op == TW_KIR_SETP && kernel_name_find(kernel_cmps, word, &inst->cmp)) ||
        (inst->op == TW_KIR_ATOM && kernel_name_find(kernel_atoms, word, &inst->atom)) ||
        kernel_name_find(kernel_spaces, word, &inst->space) ||
        kernel_name_find(kernel_rounds, word, &inst->round) ||
        kernel_name_find(kernel_combines, word, &inst->combine) ||
        kernel_name_find(kernel_orders, word, &inst->order) ||
        kernel_name_find(kernel_scopes, word, &inst->scope))
        return true;
    if (kernel_name_find(kernel_mods, word, &value)) {
        inst->mods |= 1u << value;
        return true;
    }
    if (word.len > 1 && word.data[0] == 'v' && tw_str_u64(digits, &number) && number <= UINT8_MAX) {
        inst->vec = (uint8_t)number;
        return true;
    }
    if (tw_str_starts(word, TW_STR("mode")) && tw_str_u64(tw_str_of(word.data + 4, word.len - 4), &number) &&
        number <= UINT8_MAX) {
        inst->mode = (uint8_t)number;
        return true;
    }
    return kernel_parse_fail(r, "unknown attribute '.%.*s'", TW_STR_ARG(word));
}

static bool name_and_attributes(struct ir_reader *r, struct tw_kir_inst *inst) {
    struct tw_str word = kernel_parse_word(r), rest = word, first = tw_str_cut(&rest, '.'), second = rest;
    second = tw_str_cut(&second, '.');
    bool typed = false;
    // Some operations have a dot in their names: cp.async, shf.l.
    if (second.len &&
        kernel_op_find(tw_str_of(word.data, (size_t)(second.data + second.len - word.data)), &inst->op))
        tw_str_cut(&rest, '.');
    else if (!kernel_op_find(first, &inst->op))
        return kernel_parse_fail(r, "unknown operation '%.*s'", TW_STR_ARG(word));
    while (rest.len)
        if (!attribute(r, inst, tw_str_cut(&rest, '.'), &typed))
            return false;
    return true;
}

// A special register, @variable, @function or #number.
static bool index_name(struct ir_reader *r, struct tw_kir_inst *inst) {
    struct tw_str saved = r->rest, word = kernel_parse_word(r);
    uint8_t sreg;
    uint64_t number;
    if (inst->op == TW_KIR_SREG && kernel_name_find(kernel_sregs, word, &sreg)) {
        inst->index = sreg;
        return true;
    }
    struct tw_str name = word.len > 1 ? tw_str_of(word.data + 1, word.len - 1) : word;
    if (inst->op == TW_KIR_ADDR && word.len && word.data[0] == '@')
        return kernel_parse_name_find(r, &r->variables, name, "variable", &inst->index);
    if (inst->op == TW_KIR_CALL && word.len && word.data[0] == '@')
        return kernel_parse_name_find(r, &r->functions, name, "function", &inst->index);
    if (word.len > 1 && word.data[0] == '#' && tw_str_u64(name, &number) && number <= UINT32_MAX) {
        inst->index = (uint32_t)number;
        return true;
    }
    r->rest = saved;
    return true;
}

// [reg+8]
static bool address(struct ir_reader *r, struct tw_str text, struct line *l) {
    if (text.len < 3 || text.data[0] != '[' || text.data[text.len - 1] != ']')
        return kernel_parse_fail(r, "expected an address in [ ], found '%.*s'", TW_STR_ARG(text));
    struct tw_str base = tw_str_of(text.data + 1, text.len - 2);
    // Names may contain neither + nor -, so the last sign begins the offset.
    size_t at = base.len;
    while (at > 0 && base.data[at - 1] != '+' && base.data[at - 1] != '-')
        at--;
    if (at > 0) {
        if (!kernel_parse_signed(r, tw_str_of(base.data + at - 1, base.len - at + 1), &l->inst.offset))
            return false;
        base.len = at - 1;
    }
    l->inst.src_count = 1;
    return operand(r, base, &l->src[0]);
}

static bool sources(struct ir_reader *r, struct line *l) {
    bool more = true, addressed = kernel_has_address(l->inst.op);
    struct tw_str saved = r->rest, word = kernel_parse_word(r);
    if (!addressed && word.len && (word.data[0] == '+' || word.data[0] == '-')) {
        if (!kernel_parse_signed(r, word, &l->inst.offset))
            return false;
    } else
        r->rest = saved;
    struct tw_str list = tw_str_trim(r->rest);
    while (list.len && more) {
        struct tw_str text = piece(&list, ", ", &more);
        if (l->inst.src_count == TW_KIR_MAX_TARGETS)
            return kernel_parse_fail(r, "too many sources");
        if (addressed && l->inst.src_count == 0) {
            if (!address(r, text, l))
                return false;
        } else if (!operand(r, text, &l->src[l->inst.src_count++]))
            return false;
    }
    return true;
}

static bool branch_targets(struct ir_reader *r, struct tw_str list, struct line *l) {
    for (bool more = true; more;) {
        struct tw_str label = piece(&list, ", ", &more);
        if (l->inst.target_count == TW_KIR_MAX_TARGETS)
            return kernel_parse_fail(r, "too many branch targets");
        if (!kernel_parse_name_find(r, &r->labels, label, "block", &l->targets[l->inst.target_count++]))
            return false;
    }
    return true;
}

static bool position(struct ir_reader *r, struct tw_str text, struct tw_kir_inst *inst) {
    struct tw_str column = text, line = tw_str_cut(&column, ':');
    uint64_t a, b;
    if (!tw_str_u64(line, &a) || !tw_str_u64(column, &b) || a > UINT32_MAX || b > UINT32_MAX)
        return kernel_parse_fail(r, "'%.*s' is no position", TW_STR_ARG(text));
    inst->line = (uint32_t)a;
    inst->column = (uint32_t)b;
    return true;
}

static bool append(struct ir_reader *r, const struct line *l) {
    const struct tw_kir_inst *from = &l->inst;
    struct tw_kir_inst *to =
        tw_kir_inst_add(r->module, &kernel_parse_function(r)->blocks[r->block], from->op, from->type,
                        from->dst_count, from->src_count, from->target_count, r->err);
    if (!to)
        return false;
    struct tw_kir_inst lists = *to;
    *to = *from;
    to->dst = lists.dst;
    to->src = lists.src;
    to->targets = lists.targets;
    for (unsigned i = 0; i < from->dst_count; i++)
        to->dst[i] = l->dst[i];
    for (unsigned i = 0; i < from->src_count; i++)
        to->src[i] = l->src[i];
    for (unsigned i = 0; i < from->target_count; i++)
        to->targets[i] = l->targets[i];
    return true;
}

bool kernel_parse_instruction(struct ir_reader *r) {
    struct line l;
    bool has_position, has_targets;
    l.inst = (struct tw_kir_inst){.vec = 1};
    struct tw_str at = r->rest, code = piece(&at, "  ; ", &has_position), targets;
    if (has_position && !position(r, at, &l.inst))
        return false;
    targets = code;
    r->rest = tw_str_trim(piece(&targets, " -> ", &has_targets));
    return guard(r, &l.inst) && results(r, &l) && name_and_attributes(r, &l.inst) && index_name(r, &l.inst) &&
           sources(r, &l) && (!has_targets || branch_targets(r, targets, &l)) && append(r, &l);
}

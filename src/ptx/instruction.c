// SPDX-License-Identifier: Apache-2.0
//
// One instruction: its guard, its name with modifiers, the row of isa.def that fits, the operands by the
// row's signature; then the row's lower function makes the IR. Names and modifiers are found through small
// hash tables made once a parse.

#include "internal.h"

#define BIT(type)  (1u << TW_KIR_##type)
#define PRED       BIT(PRED)
#define U8         BIT(U8)
#define S8         BIT(S8)
#define B16        BIT(B16)
#define B32        BIT(B32)
#define B64        BIT(B64)
#define B128       BIT(B128)
#define U16        BIT(U16)
#define U32        BIT(U32)
#define U64        BIT(U64)
#define S16        BIT(S16)
#define S32        BIT(S32)
#define S64        BIT(S64)
#define F16        BIT(F16)
#define F16X2      BIT(F16X2)
#define BF16       BIT(BF16)
#define BF16X2     BIT(BF16X2)
#define TF32       BIT(TF32)
#define F32        BIT(F32)
#define F64        BIT(F64)
#define E4M3X2     BIT(E4M3X2)
#define E5M2X2     BIT(E5M2X2)
#define SMALL      (BIT(S4) | BIT(U4) | BIT(B1))
#define NARROW     (BIT(S4) | BIT(U4) | BIT(S2) | BIT(U2))
#define BITS       (B16 | B32 | B64)
#define BYTES      (BIT(B8) | BIT(U8) | BIT(S8))
#define INTEGERS   (U16 | U32 | U64 | S16 | S32 | S64)
#define BIG_FLOATS (F32 | F64)
#define FLOATS     (BIG_FLOATS | F16 | F16X2 | BF16 | BF16X2)

static const struct ptx_row rows[] = {
#define G(group) PTX_BIT(group)
#define PTX_INST(text, function, opcode, operands, type_number, type_set, group_set, needed)                 \
    {.name = (text),                                                                                         \
     .lower = ptx_lower_##function,                                                                          \
     .op = TW_KIR_##opcode,                                                                                  \
     .signature = (operands),                                                                                \
     .type_count = (type_number),                                                                            \
     .types = (type_set),                                                                                    \
     .groups = (group_set),                                                                                  \
     .needs = (needed)},
#include "ptx/isa.def"
#undef PTX_INST
#undef G
};

static const struct {
    const char *text;
    uint8_t group, value;
} modifiers[] = {
#define PTX_MODIFIER(name, kind, number) {.text = (name), .group = PTX_G_##kind, .value = (number)},
#include "ptx/modifiers.def"
#undef PTX_MODIFIER
};

static const struct {
    const char *text;
    uint8_t sreg, type;
} sregs[] = {
#define PTX_SREG(name, number, bits) {.text = (name), .sreg = TW_KIR_##number, .type = TW_KIR_##bits},
#include "ptx/sregs.def"
#undef PTX_SREG
};

// ---- tables: open addressing, index + 1 of the first entry of a text ----

static const char *table_text(const uint16_t *slots, const struct ptx_parser *parser, unsigned index) {
    return slots == parser->rows        ? rows[index].name
           : slots == parser->modifiers ? modifiers[index].text
                                        : sregs[index].text;
}

// The slot of a text, or the free one where it would go.
static unsigned slot_of(const struct ptx_parser *parser, const uint16_t *slots, struct tw_str text) {
    unsigned slot = ptx_hash(parser->symbols.seed, text) % PTX_TABLE_SLOTS;
    while (slots[slot] && !ptx_text_is(text, table_text(slots, parser, slots[slot] - 1u)))
        slot = (slot + 1) % PTX_TABLE_SLOTS;
    return slot;
}

static void fill(struct ptx_parser *parser, uint16_t *slots, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned slot = slot_of(parser, slots, tw_str_from(table_text(slots, parser, (unsigned)i)));
        if (!slots[slot])
            slots[slot] = (uint16_t)(i + 1);
    }
}

void ptx_tables_init(struct ptx_parser *parser) {
    _Static_assert(TW_COUNT(rows) < PTX_TABLE_SLOTS / 2 && TW_COUNT(modifiers) < PTX_TABLE_SLOTS / 2,
                   "tables too full");
    fill(parser, parser->rows, TW_COUNT(rows));
    fill(parser, parser->modifiers, TW_COUNT(modifiers));
    fill(parser, parser->sregs, TW_COUNT(sregs));
    for (size_t i = 0; i < TW_COUNT(modifiers); i++) {
        unsigned at = parser->modifiers[slot_of(parser, parser->modifiers, tw_str_from(modifiers[i].text))];
        if (at == i + 1)
            continue;
        while (parser->next_modifier[at - 1])
            at = parser->next_modifier[at - 1];
        parser->next_modifier[at - 1] = (uint16_t)(i + 1);
    }
}

bool ptx_special_find(const struct ptx_parser *parser, struct tw_str name, uint32_t *ret_sreg,
                      uint8_t *ret_type) {
    unsigned found = parser->sregs[slot_of(parser, parser->sregs, name)];
    if (!found)
        return false;
    *ret_sreg = sregs[found - 1].sreg;
    *ret_type = sregs[found - 1].type;
    return true;
}

// ---- emission ----

static struct tw_kir_inst *append(struct ptx_parser *parser, enum tw_kir_op op, uint8_t type, unsigned dsts,
                                  unsigned srcs, unsigned targets) {
    if (!parser->open && !ptx_block_open(parser, NULL)) // unreachable code still needs a block
        return NULL;
    struct tw_kir_block *block = &ptx_current(parser)->blocks[parser->block];
    struct tw_kir_inst *inst =
        tw_kir_inst_add(parser->module, block, op, type, dsts, srcs, targets, parser->err);
    if (inst) {
        inst->line = parser->inst->token.line;
        inst->column = parser->inst->token.column;
    }
    return inst;
}

struct tw_kir_inst *ptx_emit(struct ptx_parser *parser, enum tw_kir_op op, uint8_t type, unsigned dsts,
                             unsigned srcs) {
    struct tw_kir_inst *inst = append(parser, op, type, dsts, srcs, 0);
    if (inst) {
        inst->guard = parser->inst->guard;
        inst->guard_not = parser->inst->guard_not;
    }
    return inst;
}

struct tw_kir_inst *ptx_emit_free(struct ptx_parser *parser, enum tw_kir_op op, uint8_t type, unsigned dsts,
                                  unsigned srcs) {
    return append(parser, op, type, dsts, srcs, 0);
}

struct tw_kir_inst *ptx_emit_branch(struct ptx_parser *parser, enum tw_kir_op op, unsigned srcs,
                                    unsigned targets) {
    struct tw_kir_inst *inst = append(parser, op, TW_KIR_PRED, 0, srcs, targets);
    parser->open = false;
    return inst;
}

bool ptx_temp(struct ptx_parser *parser, unsigned bits, uint32_t *ret_reg) {
    *ret_reg = tw_kir_reg_add(parser->module, ptx_current(parser), NULL, bits, parser->err);
    return *ret_reg != TW_KIR_NO_REG;
}

void ptx_set_mods(const struct ptx_inst *inst, struct tw_kir_inst *to) {
    static const struct {
        enum ptx_group group;
        uint32_t mod;
    } same[] = {
        {PTX_G_FTZ, TW_KIR_FTZ},       {PTX_G_SAT, TW_KIR_SAT},           {PTX_G_APPROX, TW_KIR_APPROX},
        {PTX_G_FULL, TW_KIR_FULL},     {PTX_G_NAN, TW_KIR_NANPROP},       {PTX_G_XORSIGN, TW_KIR_XORSIGN},
        {PTX_G_RELU, TW_KIR_RELU},     {PTX_G_SHIFTAMT, TW_KIR_SHIFTAMT}, {PTX_G_NC, TW_KIR_NONCOHERENT},
        {PTX_G_SATFINITE, TW_KIR_SAT},
    };
    for (size_t i = 0; i < TW_COUNT(same); i++)
        if (ptx_has(inst, same[i].group))
            to->mods |= same[i].mod;
    if (ptx_has(inst, PTX_G_WRAP) && inst->values[PTX_G_WRAP])
        to->mods |= TW_KIR_WRAP;
    if (ptx_has(inst, PTX_G_ROUND))
        to->round = inst->values[PTX_G_ROUND];
}

// ---- guards that need control flow ----

bool ptx_guard_begin(struct ptx_parser *parser, struct ptx_inst *inst, uint32_t **ret_skip) {
    *ret_skip = NULL;
    if (inst->guard == TW_KIR_NO_REG)
        return true;
    struct tw_kir_inst *branch = ptx_emit_branch(parser, TW_KIR_BRC, 1, 2);
    if (!branch)
        return false;
    uint32_t *targets = branch->targets;
    branch->src[0] = tw_kir_reg_operand(inst->guard);
    unsigned taken = inst->guard_not ? 1 : 0;
    inst->guard = TW_KIR_NO_REG;
    if (!ptx_block_open(parser, NULL))
        return false;
    targets[taken] = parser->block;
    *ret_skip = &targets[!taken];
    return true;
}

bool ptx_guard_end(struct ptx_parser *parser, uint32_t *skip) {
    if (!skip)
        return true;
    if (!ptx_block_open(parser, NULL))
        return false;
    *skip = parser->block;
    return true;
}

// ---- reading ----

static bool read_guard(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (!ptx_next(parser) || !ptx_accept(parser, '!', &inst->guard_not))
        return false;
    struct ptx_operand guard;
    if (!ptx_operand(parser, &guard))
        return false;
    if (guard.braces || guard.items[0].form != PTX_REG || guard.items[0].type != TW_KIR_PRED ||
        guard.items[0].negated)
        return ptx_fail(parser, &guard.items[0].token, "expected a predicate register as guard, found '%.*s'",
                        TW_STR_ARG(guard.items[0].token.text));
    inst->guard = guard.items[0].reg;
    return true;
}

static int modifier_find(const struct ptx_parser *parser, struct tw_str text, uint64_t groups) {
    unsigned found = parser->modifiers[slot_of(parser, parser->modifiers, text)];
    if (!found)
        return -1;
    for (; found; found = parser->next_modifier[found - 1])
        if (groups >> modifiers[found - 1].group & 1)
            return (int)found - 1;
    return -1;
}

// The row of this name that takes the first type among the modifiers.
static const struct ptx_row *choose_row(const struct ptx_parser *parser, unsigned first,
                                        const struct ptx_token *dots, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        int type = modifier_find(parser, dots[i].text, PTX_BIT(TYPE));
        if (type < 0)
            continue;
        for (unsigned row = first; row < TW_COUNT(rows) && strcmp(rows[row].name, rows[first].name) == 0;
             row++)
            if (rows[row].types >> modifiers[type].value & 1)
                return &rows[row];
        break;
    }
    return &rows[first];
}

static bool take_type(struct ptx_parser *parser, struct ptx_inst *inst, const struct ptx_token *dot,
                      unsigned *count, uint8_t type) {
    if (*count == 0 && !(inst->row->types >> type & 1))
        return ptx_refuse(parser, dot, "type .%.*s is not possible for '%s'", TW_STR_ARG(dot->text),
                          inst->row->name);
    unsigned most =
        (inst->row->type_count ? inst->row->type_count : 1u) + (ptx_has(inst, PTX_G_PACK) ? 1u : 0u);
    if (inst->row->lower == ptx_lower_wmma)
        most = 4; // products name all four matrices' types, or two
    if (*count == most)
        return ptx_fail(parser, dot, "'%s' has too many types", inst->row->name);
    uint8_t *const slots[] = {&inst->type, &inst->type2, &inst->type3, &inst->type4};
    *slots[(*count)++] = type;
    return true;
}

// Groups hold more than some of their rows can mean: roundings of conversions, comparisons of floats, and what these
// operations lack.
static bool is_meant(const struct ptx_row *row, unsigned group, uint8_t value) {
    static const struct {
        uint8_t op, group;
        uint32_t values; // a bit each
    } possible[] = {
        {TW_KIR_LOP3, PTX_G_BOOL, 1u << TW_KIR_COMBINE_AND | 1u << TW_KIR_COMBINE_OR},
        {TW_KIR_LD, PTX_G_ORDER,
         1u << TW_KIR_WEAK | 1u << TW_KIR_RELAXED | 1u << TW_KIR_ACQUIRE | 1u << PTX_VOLATILE},
        {TW_KIR_ST, PTX_G_ORDER,
         1u << TW_KIR_WEAK | 1u << TW_KIR_RELAXED | 1u << TW_KIR_RELEASE | 1u << PTX_VOLATILE},
        {TW_KIR_ST, PTX_G_SPACE,
         1u << TW_KIR_GLOBAL | 1u << TW_KIR_SHARED | 1u << TW_KIR_LOCAL | 1u << TW_KIR_PARAM},
        {TW_KIR_ATOM, PTX_G_ORDER,
         1u << TW_KIR_RELAXED | 1u << TW_KIR_ACQUIRE | 1u << TW_KIR_RELEASE | 1u << TW_KIR_ACQ_REL},
        {TW_KIR_ATOM, PTX_G_SPACE, 1u << TW_KIR_GLOBAL | 1u << TW_KIR_SHARED},
        {TW_KIR_CPASYNC, PTX_G_CACHE, ~(1u << PTX_UNCACHED)},
        {TW_KIR_CPASYNC, PTX_G_NOCOMPLETE, 1u << 1},
        {TW_KIR_MMA, PTX_G_KIND, 1u << PTX_WMMA_LOAD | 1u << PTX_WMMA_MMA | 1u << PTX_WMMA_STORE},
        {TW_KIR_MMA, PTX_G_FORM, 1u << PTX_SPARSE | 1u << PTX_SPARSE_ORDERED},
        {TW_KIR_FENCE, PTX_G_FORM, 1u << 1},
        {TW_KIR_MOV, PTX_G_FORM, 1u << 1},
        {TW_KIR_MBARRIER, PTX_G_ORDER, 1u << TW_KIR_RELAXED | 1u << TW_KIR_ACQUIRE | 1u << TW_KIR_RELEASE},
        {TW_KIR_MBARRIER, PTX_G_SCOPE, 1u << TW_KIR_CTA | 1u << TW_KIR_GPU},
        {TW_KIR_FENCE, PTX_G_LEVEL, 1u << TW_KIR_CTA | 1u << TW_KIR_GPU | 1u << TW_KIR_SYS},
        {TW_KIR_MOV, PTX_G_LEVEL, 1u << PTX_L1 | 1u << PTX_L2},
    };
    for (size_t i = 0; i < TW_COUNT(possible); i++)
        if (possible[i].op == row->op && possible[i].group == group && !(possible[i].values >> value & 1))
            return false;
    if (group == PTX_G_ROUND)
        return value <= TW_KIR_RP || row->op == TW_KIR_CVT;
    return group != PTX_G_CMP || value <= TW_KIR_GE || (row->types & F32);
}

static bool refuse_modifier(struct ptx_parser *parser, const struct ptx_row *row,
                            const struct ptx_token *dot) {
    const char *target = ptx_modifier_newer(row->name, dot->text);
    if (target)
        return ptx_refuse(parser, dot,
                          "modifier '.%.*s' of '%s' is not supported: it needs %s; compile for sm_80",
                          TW_STR_ARG(dot->text), row->name, target);
    return ptx_refuse(parser, dot, "modifier '.%.*s' is not possible %son '%s'", TW_STR_ARG(dot->text),
                      modifier_find(parser, dot->text, row->groups) < 0 ? "" : "twice ", row->name);
}

static bool take_modifiers(struct ptx_parser *parser, struct ptx_inst *inst, const struct ptx_token *dots,
                           unsigned count) {
    const struct ptx_row *row = inst->row;
    unsigned type_count = 0;
    for (unsigned i = 0; i < count; i++) {
        int found = modifier_find(parser, dots[i].text, (row->groups & ~inst->has) | PTX_BIT(TYPE));
        if (found < 0 || !is_meant(row, modifiers[found].group, modifiers[found].value))
            return refuse_modifier(parser, row, &dots[i]);
        if (modifiers[found].group == PTX_G_TYPE) {
            if (!take_type(parser, inst, &dots[i], &type_count, modifiers[found].value))
                return false;
            continue;
        }
        inst->has |= 1ULL << modifiers[found].group;
        inst->values[modifiers[found].group] = modifiers[found].value;
    }
    if (type_count < row->type_count)
        return ptx_fail(parser, &inst->token, "'%.*s' needs %u type modifier%s, it has %u",
                        TW_STR_ARG(inst->name), row->type_count, row->type_count == 1 ? "" : "s", type_count);
    if (row->needs && !(inst->has & row->needs))
        return ptx_fail(parser, &inst->token, "'%.*s' lacks a modifier that says which form is meant",
                        TW_STR_ARG(inst->name));
    return true;
}

static bool read_name(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_token dots[PTX_MAX_MODIFIERS];
    unsigned count = 0;
    inst->token = parser->token;
    inst->name = parser->token.text;
    if (parser->token.kind != PTX_WORD)
        return ptx_fail_expected(parser, "an instruction, a label or a directive");
    if (!ptx_next(parser))
        return false;
    for (; parser->token.kind == PTX_DOT; count++) {
        if (count == PTX_MAX_MODIFIERS)
            return ptx_fail(parser, &parser->token, "'%.*s' has more than %d modifiers",
                            TW_STR_ARG(inst->token.text), PTX_MAX_MODIFIERS);
        dots[count] = parser->token;
        inst->name.len = (size_t)(parser->token.text.data + parser->token.text.len - inst->name.data);
        if (!ptx_next(parser))
            return false;
    }
    if (inst->name.len > 80)
        inst->name.len = 80; // for messages
    unsigned row = parser->rows[slot_of(parser, parser->rows, inst->token.text)];
    if (!row)
        return ptx_refuse(parser, &inst->token, "unknown instruction '%.*s'", TW_STR_ARG(inst->name));
    inst->row = choose_row(parser, row - 1, dots, count);
    if (inst->row->lower == ptx_lower_refused)
        return ptx_lower_refused(parser, inst);
    return take_modifiers(parser, inst, dots, count);
}

bool ptx_operands(struct ptx_parser *parser, struct ptx_inst *inst, unsigned least, unsigned most) {
    inst->src_count = 0;
    for (bool more = true; more && inst->src_count < most;) {
        if (!ptx_operand(parser, &inst->src[inst->src_count]))
            return false;
        inst->src_count++;
        if (inst->src_count == most)
            break;
        if (!ptx_accept(parser, ',', &more))
            return false;
    }
    if (inst->src_count < least)
        return ptx_fail(parser, &parser->token, "'%.*s' needs %u source operands, found %u",
                        TW_STR_ARG(inst->name), least, inst->src_count);
    return true;
}

bool ptx_results(struct ptx_parser *parser, struct ptx_inst *inst, unsigned most) {
    bool second;
    if (!ptx_operand(parser, &inst->dst[0]) || !ptx_accept(parser, '|', &second))
        return false;
    inst->dst_count = 1;
    if (second) {
        if (most < 2)
            return ptx_fail(parser, &parser->token, "'%.*s' has one result", TW_STR_ARG(inst->name));
        if (!ptx_operand(parser, &inst->dst[1]))
            return false;
        inst->dst_count = 2;
    }
    return ptx_expect(parser, ',');
}

static bool read_signature(struct ptx_parser *parser, struct ptx_inst *inst) {
    const char *sources = strchr(inst->row->signature, '=');
    if (!sources)
        return true;
    unsigned count = (unsigned)strlen(sources + 1);
    if (!ptx_results(parser, inst, 1) || !ptx_operands(parser, inst, count, count))
        return false;
    return ptx_is(parser, ';') || ptx_fail_expected(parser, "';'");
}

bool ptx_instruction(struct ptx_parser *parser) {
    struct ptx_inst inst = {.guard = TW_KIR_NO_REG};
    if (ptx_is(parser, '@') && !read_guard(parser, &inst))
        return false;
    parser->inst = &inst;
    bool good = read_name(parser, &inst) && read_signature(parser, &inst) && inst.row->lower(parser, &inst) &&
                ptx_expect(parser, ';');
    parser->inst = NULL;
    return good || (parser->refused && ptx_refused_skip(parser, &inst.token));
}

// ---- rows whose IR is one instruction of the same shape ----

static uint8_t letter_type(const struct ptx_inst *inst, char letter) {
    bool wide = ptx_has(inst, PTX_G_HALF) && inst->values[PTX_G_HALF] == PTX_WIDE;
    switch (letter) {
    case 'd':
        return wide ? ptx_twice(inst->type) : inst->type;
    case 'w':
        return ptx_twice(inst->type);
    case 'u':
        return TW_KIR_U32;
    case 'p':
        return TW_KIR_PRED;
    case '2':
        return inst->type2;
    default:
        return inst->type;
    }
}

bool ptx_signature_source(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned index,
                          struct tw_kir_operand *ret_source) {
    uint8_t type = letter_type(inst, inst->row->signature[2 + index]);
    if (inst->src[index].braces)
        return ptx_fail(parser, &inst->src[index].items[0].token, "'%s' takes no { } operands",
                        inst->row->name);
    return ptx_source(parser, &inst->src[index].items[0], type, ret_source);
}

bool ptx_signature_target(struct ptx_parser *parser, const struct ptx_inst *inst, uint32_t *ret_reg) {
    return ptx_target(parser, &inst->dst[0].items[0], letter_type(inst, inst->row->signature[0]), ret_reg);
}

bool ptx_lower_plain(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct tw_kir_operand sources[PTX_MAX_OPERANDS];
    uint32_t target;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!ptx_signature_source(parser, inst, i, &sources[i]))
            return false;
    if (!ptx_signature_target(parser, inst, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, inst->row->op, inst->type, 1, inst->src_count);
    if (!to)
        return false;
    to->dst[0] = target;
    memcpy(to->src, sources, inst->src_count * sizeof *sources);
    ptx_set_mods(inst, to);
    return true;
}

bool ptx_lower_refused(struct ptx_parser *parser, struct ptx_inst *inst) {
    return ptx_refuse(parser, &inst->token, "instruction '%.*s' is not supported: %s", TW_STR_ARG(inst->name),
                      inst->row->signature);
}

// SPDX-License-Identifier: Apache-2.0
//
// The steps of sequences (sequence.h).

#include "sequence.h"

struct tw_kir_operand ptx_step(struct ptx_sequence *s, enum tw_kir_op op, uint8_t type, unsigned bits,
                               const struct tw_kir_operand *sources, unsigned count) {
    uint32_t reg = TW_KIR_NO_REG;
    struct tw_kir_inst *to = NULL;
    if (!s->failed && ptx_temp(s->parser, bits, &reg))
        to = ptx_emit_free(s->parser, op, type, 1, count);
    if (!to) {
        s->failed = true;
        return ptx_number(0);
    }
    to->dst[0] = reg;
    if (count)
        memcpy(to->src, sources, count * sizeof *sources);
    return tw_kir_reg_operand(reg);
}

struct tw_kir_inst *ptx_last_step(struct ptx_sequence *s) {
    if (s->failed)
        return NULL;
    struct tw_kir_block *block = &ptx_current(s->parser)->blocks[s->parser->block];
    return &block->insts[block->count - 1];
}

struct tw_kir_operand ptx_unary(struct ptx_sequence *s, enum tw_kir_op op, uint8_t type,
                                struct tw_kir_operand a) {
    return ptx_step(s, op, type, tw_kir_type_bits(type), &a, 1);
}

struct tw_kir_operand ptx_binary(struct ptx_sequence *s, enum tw_kir_op op, uint8_t type,
                                 struct tw_kir_operand a, struct tw_kir_operand b) {
    return ptx_step(s, op, type, tw_kir_type_bits(type), (struct tw_kir_operand[]){a, b}, 2);
}

struct tw_kir_operand ptx_test(struct ptx_sequence *s, uint8_t cmp, uint8_t type, struct tw_kir_operand a,
                               struct tw_kir_operand b) {
    struct tw_kir_operand p = ptx_step(s, TW_KIR_SETP, type, 1, (struct tw_kir_operand[]){a, b}, 2);
    if (!s->failed)
        ptx_last_step(s)->cmp = cmp;
    return p;
}

struct tw_kir_operand ptx_choose(struct ptx_sequence *s, uint8_t type, struct tw_kir_operand p,
                                 struct tw_kir_operand yes, struct tw_kir_operand no) {
    return ptx_step(s, TW_KIR_SELECT, type, tw_kir_type_bits(type), (struct tw_kir_operand[]){yes, no, p}, 3);
}

struct tw_kir_operand ptx_convert(struct ptx_sequence *s, uint8_t from, uint8_t to, struct tw_kir_operand a) {
    struct tw_kir_operand d = ptx_step(s, TW_KIR_CVT, to, tw_kir_type_bits(to), &a, 1);
    if (!s->failed)
        ptx_last_step(s)->type2 = from;
    return d;
}

bool ptx_selector_read(struct ptx_parser *parser, struct ptx_selector *ret_selector) {
    *ret_selector = (struct ptx_selector){};
    if (parser->token.kind != PTX_DOT || parser->token.spaced)
        return true;
    struct tw_str text = parser->token.text;
    bool good = text.len >= 2 && text.len <= 5 && (text.data[0] == 'b' || text.data[0] == 'h');
    for (size_t i = 1; good && i < text.len; i++)
        good = text.data[i] >= '0' && text.data[i] <= '7';
    if (!good)
        return ptx_fail(parser, &parser->token, "'.%.*s' names no bytes or halfwords", TW_STR_ARG(text));
    ret_selector->letter = text.data[0];
    ret_selector->count = (unsigned)text.len - 1;
    for (unsigned i = 0; i < ret_selector->count; i++)
        ret_selector->places[i] = (uint8_t)(text.data[text.len - 1 - i] - '0');
    return ptx_next(parser);
}

bool ptx_finish(struct ptx_sequence *s, const struct ptx_scalar *target, struct tw_kir_operand value) {
    uint32_t reg;
    if (s->failed || !ptx_target(s->parser, target, TW_KIR_B32, &reg))
        return false;
    struct tw_kir_inst *to = ptx_emit(s->parser, TW_KIR_MOV, TW_KIR_B32, 1, 1);
    if (!to)
        return false;
    to->dst[0] = reg;
    to->src[0] = value;
    return true;
}

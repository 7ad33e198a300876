// SPDX-License-Identifier: Apache-2.0
//
// Private to ptx/: instructions that the IR does not have become sequences of plain ones. Each step's result is a
// register of its own, whatever the statement's guard; a step that fails makes the rest do nothing, so that only the
// end has to look.
//
//     struct ptx_sequence s = {.parser = parser};
//     struct tw_kir_operand sum = ptx_binary(&s, TW_KIR_ADD, TW_KIR_U32, a, b);
//     return ptx_finish(&s, &inst->dst[0].items[0], sum);
#pragma once

#include "internal.h"

// Confined.
struct ptx_sequence {
    struct ptx_parser *parser;
    bool failed; // the parser's error says why
};

static inline struct tw_kir_operand ptx_number(uint64_t value) {
    return tw_kir_imm_operand(value);
}
// One operation with a result of `bits` bits. The instruction may be changed until the next step.
struct tw_kir_operand ptx_step(struct ptx_sequence *s, enum tw_kir_op op, uint8_t type, unsigned bits,
                               const struct tw_kir_operand *sources, unsigned count);
struct tw_kir_inst *ptx_last_step(struct ptx_sequence *s); // NULL when the sequence has failed
// Operations whose result is as wide as their type.
struct tw_kir_operand ptx_unary(struct ptx_sequence *s, enum tw_kir_op op, uint8_t type,
                                struct tw_kir_operand a);
struct tw_kir_operand ptx_binary(struct ptx_sequence *s, enum tw_kir_op op, uint8_t type,
                                 struct tw_kir_operand a, struct tw_kir_operand b);
struct tw_kir_operand ptx_test(struct ptx_sequence *s, uint8_t cmp, uint8_t type, struct tw_kir_operand a,
                               struct tw_kir_operand b);
struct tw_kir_operand ptx_choose(struct ptx_sequence *s, uint8_t type, struct tw_kir_operand p,
                                 struct tw_kir_operand yes, struct tw_kir_operand no);
struct tw_kir_operand ptx_convert(struct ptx_sequence *s, uint8_t from, uint8_t to, struct tw_kir_operand a);

// Parts of a word behind an operand: .b0, .h10, .b7531. Without one the letter is 0.
struct ptx_selector {
    char letter; // b, h
    unsigned count;
    uint8_t places[4]; // the rightmost, lowest first; each below 8
};
[[nodiscard]] bool ptx_selector_read(struct ptx_parser *parser, struct ptx_selector *ret_selector);

// The value goes to the 32-bit register that the statement names, under its guard.
[[nodiscard]] bool ptx_finish(struct ptx_sequence *s, const struct ptx_scalar *target,
                              struct tw_kir_operand value);

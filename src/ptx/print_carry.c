// SPDX-License-Identifier: Apache-2.0
//
// Additions and subtractions with carry. The IR has the carry in a predicate register, PTX in its one
// condition code, which only the next .cc instruction writes and addc and subc read. A carry that is read
// right after it was written stays there; one that is read as a predicate, or later, is copied out when it is
// written and put back before it is read.

#include "print.h"

static bool is_carry(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_ADDC || inst->op == TW_KIR_SUBC;
}

// Whether this is no plain sum or difference: those begin with no carry, and with one.
static bool carry_comes_in(const struct tw_kir_inst *inst) {
    return !inst->src[2].is_imm || (inst->src[2].bits & 1) != (inst->op == TW_KIR_SUBC);
}

static uint32_t written(const struct tw_kir_inst *inst) {
    return is_carry(inst) ? inst->dst[1] : TW_KIR_NO_REG;
}

// Whether the condition code holds what this instruction reads as its carry.
static bool is_at_hand(const struct ptx_printer *p, const struct tw_kir_inst *inst) {
    bool same_guard = p->carry_guard == TW_KIR_NO_REG ||
                      (p->carry_guard == inst->guard && p->carry_guard_not == inst->guard_not);
    return !inst->src[2].is_imm && p->carry == inst->src[2].reg && p->carry != TW_KIR_NO_REG && same_guard;
}

void ptx_carry_follow(struct ptx_printer *p) {
    const struct tw_kir_inst *inst = p->inst;
    bool at_hand = is_carry(inst) && is_at_hand(p, inst);
    if (is_carry(inst) && carry_comes_in(inst) && !at_hand) { // it was put back
        p->carry = inst->src[2].is_imm ? TW_KIR_NO_REG : inst->src[2].reg;
        p->carry_guard = TW_KIR_NO_REG;
    }
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (inst->dst[i] != TW_KIR_NO_REG && (inst->dst[i] == p->carry || inst->dst[i] == p->carry_guard))
            p->carry = TW_KIR_NO_REG;
    if (inst->op == TW_KIR_CALL || inst->op == TW_KIR_PRINTF)
        p->carry = TW_KIR_NO_REG;
    if (written(inst) == TW_KIR_NO_REG)
        return;
    p->carry = written(inst);
    p->carry_guard = inst->guard;
    p->carry_guard_not = inst->guard_not;
}

static void note_reads(struct ptx_printer *p, const struct tw_kir_inst *inst) {
    if (inst->guard != TW_KIR_NO_REG)
        p->carry_values[inst->guard] = 1;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm && !(is_carry(inst) && i == 2 && is_at_hand(p, inst)))
            p->carry_values[inst->src[i].reg] = 1;
}

bool ptx_carries(struct ptx_printer *p) {
    const struct tw_kir_function *function = p->function;
    p->carry_values = TW_ARENA_ARRAY(&p->arena, uint8_t, function->reg_count + 1);
    if (!p->carry_values)
        return ptx_print_full(p);
    for (uint32_t b = 0; b < function->block_count; b++) {
        p->carry = TW_KIR_NO_REG;
        for (uint32_t i = 0; p->labels[b] && i < function->blocks[b].count; i++) {
            p->inst = &function->blocks[b].insts[i];
            note_reads(p, p->inst);
            ptx_carry_follow(p);
        }
    }
    for (uint32_t i = 0; i < function->result_count && !function->is_entry; i++)
        p->carry_values[function->results[i].reg] = 1;
    p->inst = NULL;
    return true;
}

// The condition code from a predicate: all ones plus one carries.
static bool put_back(struct ptx_printer *p, uint32_t carry) {
    uint32_t one = ptx_print_temp(p, 32);
    if (!ptx_say(p, "selp.u32 #, 1, 0, #", PTX_PIECES(PTX_R(one), PTX_R(carry))))
        return false;
    uint32_t unused = ptx_print_temp(p, 32);
    return ptx_say(p, "add.cc.u32 #, #, -1", PTX_PIECES(PTX_R(unused), PTX_R(one)));
}

static bool copy_out(struct ptx_printer *p, uint32_t carry) {
    uint32_t value = ptx_print_temp(p, 32);
    return ptx_say(p, "addc.u32 #, 0, 0", PTX_PIECES(PTX_R(value))) &&
           ptx_say_guarded(p, "setp.ne.u32 #, #, 0", PTX_PIECES(PTX_R(carry), PTX_R(value)));
}

bool ptx_print_carry(struct ptx_printer *p, const struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    uint32_t out = inst->dst[1], target = inst->dst[0];
    bool adds = inst->op == TW_KIR_ADDC, carries_in = carry_comes_in(inst);
    uint8_t type =
        inst->type <= TW_KIR_B64 ? ptx_integer_type(tw_kir_type_bits(inst->type), false) : inst->type;
    if (tw_kir_type_bits(type) < 32)
        return ptx_print_fail(p, "carries are for 32 and 64 bits");
    if (src[2].is_imm && carries_in) {
        struct tw_kir_operand carry = src[2];
        if (!ptx_in_register(p, &carry, TW_KIR_PRED) || !put_back(p, carry.reg))
            return false;
    } else if (carries_in && !is_at_hand(p, inst) && !put_back(p, src[2].reg))
        return false;
    const char *name = adds ? carries_in ? "addc" : "add" : carries_in ? "subc" : "sub";
    if (target == TW_KIR_NO_REG)
        target = ptx_print_temp(p, tw_kir_type_bits(type));
    if (!ptx_say_guarded(p, "##.# #, #, #",
                         PTX_PIECES(PTX_T(name), PTX_T(out == TW_KIR_NO_REG ? "" : ".cc"),
                                    PTX_T(tw_kir_type_name(type)), PTX_R(target), PTX_V(src[0], type),
                                    PTX_V(src[1], type))))
        return false;
    return out == TW_KIR_NO_REG || !p->carry_values[out] || copy_out(p, out);
}

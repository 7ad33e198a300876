// SPDX-License-Identifier: Apache-2.0
//
// Loops in which a warp waits for others. Warps of a block run in turn, so such a loop would never see what it waits
// for: it gets a nanosleep at the end of each round, where the warp is suspended now and then (yield.c).
//
// A loop waits if a branch out of it depends on a value that it reads anew in every round and that others may write
// meanwhile: a volatile or ordered load, a compare-and-swap with a value that stays the same, an exchange, an atomic
// operation that changes nothing, a test of an mbarrier. Loops that swap in what they have just read get on alone.

#include "internal.h"

// Confined: one search.
struct search {
    const struct jit_code *code; // built for this search only
    uint64_t *written, *told;    // registers: set in the loop; following from what others write
};

static bool changes_nothing(const struct tw_kir_inst *atom) {
    const struct tw_kir_operand *value = &atom->src[1];
    if (!value->is_imm)
        return false;
    uint64_t ones = UINT64_MAX >> (64 - tw_kir_type_bits(atom->type));
    switch ((enum tw_kir_atom)atom->atom) {
    case TW_KIR_ATOM_ADD:
    case TW_KIR_ATOM_OR:
    case TW_KIR_ATOM_XOR:
        return value->bits == 0;
    case TW_KIR_ATOM_AND:
        return value->bits == ones;
    default:
        return false;
    }
}

// Whether the instruction looks at what others write, again and again.
static bool looks(const struct search *s, const struct tw_kir_inst *inst) {
    switch ((int)inst->op) {
    case TW_KIR_LD:
        return (inst->mods & TW_KIR_VOLATILE) || inst->order != TW_KIR_WEAK;
    case TW_KIR_ATOM:
        if (inst->dst_count == 0 || inst->dst[0] == TW_KIR_NO_REG)
            return false;
        if (inst->atom == TW_KIR_ATOM_CAS)
            return inst->src[1].is_imm || !jit_bit(s->written, inst->src[1].reg);
        return inst->atom == TW_KIR_ATOM_EXCH || changes_nothing(inst);
    case TW_KIR_MBARRIER:
        return inst->mode == TW_KIR_MBARRIER_TEST || inst->mode == TW_KIR_MBARRIER_TEST_PARITY;
    default:
        return false;
    }
}

static bool reads_told(const struct search *s, const struct tw_kir_inst *inst) {
    bool told = inst->guard != TW_KIR_NO_REG && jit_bit(s->told, inst->guard);
    for (unsigned i = 0; i < inst->src_count; i++)
        told |= !inst->src[i].is_imm && jit_bit(s->told, inst->src[i].reg);
    return told;
}

// Adds what the block's instructions make of what others write; whether there was anything new.
static bool follow(struct search *s, const struct jit_block *b) {
    bool grew = false;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct tw_kir_inst *inst = &b->insts[i];
        if (!looks(s, inst) && !reads_told(s, inst))
            continue;
        for (unsigned d = 0; d < inst->dst_count; d++) {
            grew |= inst->dst[d] != TW_KIR_NO_REG && !jit_bit(s->told, inst->dst[d]);
            if (inst->dst[d] != TW_KIR_NO_REG)
                jit_bit_set(s->told, inst->dst[d]);
        }
    }
    return grew;
}

static bool waits(struct search *s, uint32_t loop) {
    const struct jit_code *code = s->code;
    size_t words = jit_words(code->function->reg_count);
    memset(s->written, 0, words * sizeof *s->written);
    memset(s->told, 0, words * sizeof *s->told);
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t i = 0; jit_in_loop(code, loop, b) && i < code->blocks[b].count; i++)
            for (unsigned d = 0; d < code->blocks[b].insts[i].dst_count; d++)
                if (code->blocks[b].insts[i].dst[d] != TW_KIR_NO_REG)
                    jit_bit_set(s->written, code->blocks[b].insts[i].dst[d]);
    for (bool grew = true; grew;) {
        grew = false;
        for (uint32_t b = 0; b < code->count; b++)
            grew |= jit_in_loop(code, loop, b) && follow(s, &code->blocks[b]);
    }
    for (uint32_t b = 0; b < code->count; b++) {
        const struct jit_block *block = &code->blocks[b];
        bool leaves = false;
        for (uint32_t k = 0; k < block->succ_count; k++)
            leaves |= block->succs[k] >= code->count || !jit_in_loop(code, loop, block->succs[k]);
        if (jit_in_loop(code, loop, b) && leaves && (block->term == JIT_COND || block->term == JIT_SWITCH) &&
            !block->cond.is_imm && jit_bit(s->told, block->cond.reg))
            return true;
    }
    return false;
}

// A nanosleep before the block's terminator.
static bool add_sleep(struct tw_kir_module *module, struct tw_kir_block *block, struct tw_error *err) {
    struct tw_kir_inst *sleep = tw_kir_inst_add(module, block, TW_KIR_NANOSLEEP, TW_KIR_U32, 0, 1, 0, err);
    if (!sleep)
        return false;
    sleep->src[0] = tw_kir_imm_operand(0);
    sleep->line = block->insts[block->count - 2].line;
    struct tw_kir_inst last = *sleep;
    block->insts[block->count - 1] = block->insts[block->count - 2];
    block->insts[block->count - 2] = last;
    return true;
}

// Whether the program sleeps in the loop, and in no loop within it.
static bool sleeps(const struct jit_code *code, uint32_t loop) {
    for (uint32_t b = 0; b < code->count; b++)
        if (code->blocks[b].loop == loop && code->blocks[b].term == JIT_BARRIER &&
            code->blocks[b].last->op == TW_KIR_NANOSLEEP)
            return true;
    return false;
}

// Marks the blocks of the function that lead back to the beginnings of waiting loops, and those beginnings. A loop with
// a nanosleep of its own waits as it is.
static void mark_ends(struct search *s, const struct tw_kir_function *function, bool *ends, bool *headers) {
    for (uint32_t l = 0; l < s->code->loop_count; l++) {
        bool sleeping = sleeps(s->code, l);
        if (!sleeping && !waits(s, l))
            continue;
        uint32_t header = s->code->loops[l].header;
        for (uint32_t b = 0; b < function->block_count; b++)
            headers[b] |= function->blocks[b].insts == s->code->blocks[header].insts;
        for (uint32_t k = 0; !sleeping && k < s->code->blocks[header].pred_count; k++) {
            uint32_t from = s->code->blocks[header].preds[k];
            for (uint32_t b = 0; jit_in_loop(s->code, l, from) && b < function->block_count; b++)
                ends[b] |=
                    &function->blocks[b].insts[function->blocks[b].count - 1] == s->code->blocks[from].last;
        }
    }
}

static bool has_reads(const struct tw_kir_function *function) {
    for (uint32_t b = 0; b < function->block_count; b++)
        for (uint32_t i = 0; i < function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &function->blocks[b].insts[i];
            bool ordered = (inst->mods & TW_KIR_VOLATILE) || inst->order != TW_KIR_WEAK;
            if ((inst->op == TW_KIR_LD && ordered) || inst->op == TW_KIR_ATOM || inst->op == TW_KIR_MBARRIER)
                return true;
        }
    return false;
}

bool jit_find_waiting(struct jit_code *code, struct tw_kir_module *module, struct tw_error *err) {
    struct tw_kir_function *function = &module->functions[code->function - module->functions];
    if (!has_reads(function))
        return true;
    struct jit_code scratch = *code;
    size_t words = jit_words(function->reg_count) + 1;
    struct search s = {.code = &scratch,
                       .written = TW_ARENA_ARRAY(code->arena, uint64_t, words),
                       .told = TW_ARENA_ARRAY(code->arena, uint64_t, words)};
    bool *ends = TW_ARENA_ARRAY(code->arena, bool, function->block_count);
    bool *headers = TW_ARENA_ARRAY(code->arena, bool, function->block_count);
    if (!s.written || !s.told || !ends || !headers)
        return jit_no_memory(err);
    if (!jit_cfg_build(&scratch, err))
        return false;
    uint32_t blocks = function->block_count;
    mark_ends(&s, function, ends, headers);
    for (uint32_t b = 0; b < blocks; b++)
        if (ends[b] && !add_sleep(module, &function->blocks[b], err))
            return false;
    for (uint32_t b = 0; b < blocks; b++)
        if (headers[b] && !jit_take_turns(code, module, b, err))
            return false;
    return true;
}

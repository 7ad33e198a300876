// SPDX-License-Identifier: Apache-2.0
//
// Threads that each own a tile of a matrix add to more sums than the processor has registers for: every multiplication
// would fetch its sum from memory and put it back. Most such sums live in chains through one block
//
//     t = a × b + s;  …  u = c × d + t;  …  s = e × f + u
//
// whose factors come from shared memory, where they stay for as long as the block runs. So the chains need not be done
// side by side, as the program has them: here they are found, to be done a few at a time, each from its beginning to its
// end, in registers (emit_tile.c). Each sum still adds the same products in the same order.

#include "emit.h"

enum { STEPS_MIN = 2, UNSEEN = JIT_NONE };

// Confined: one block looked at.
struct search {
    const struct jit_emit *e;
    const struct jit_block *block;
    const uint32_t *everywhere; // by register: mentions in the function
    uint32_t *here;             // … and in the block
    uint32_t *chain_at;         // by register: the chain of which it is the last sum
    uint32_t *loaded_at;        // by register: the load that wrote it last
    uint32_t *written_at;       // by register: the last write
    uint32_t changed_at;        // the last instruction that may write memory
    struct jit_tile *tile;
};

static void count_mentions(const struct jit_block *b, uint32_t *counts) {
    for (uint32_t i = 0; i < b->count; i++) {
        for (unsigned k = 0; k < b->insts[i].src_count; k++)
            if (!b->insts[i].src[k].is_imm)
                counts[b->insts[i].src[k].reg]++;
        for (unsigned d = 0; d < b->insts[i].dst_count; d++)
            if (b->insts[i].dst[d] != TW_KIR_NO_REG)
                counts[b->insts[i].dst[d]]++;
    }
    if (!b->cond.is_imm && (b->term == JIT_COND || b->term == JIT_SWITCH))
        counts[b->cond.reg]++;
}

static bool is_step(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_FMA && (inst->type == TW_KIR_F32 || inst->type == TW_KIR_F64) &&
           inst->round == TW_KIR_RN && inst->mods == 0 && inst->guard == TW_KIR_NO_REG &&
           !inst->src[0].is_imm && !inst->src[1].is_imm && !inst->src[2].is_imm;
}

// A load that finds the same values when it is done again later in the block, unless something writes memory: nobody
// else runs in this shared memory meanwhile.
static bool is_repeatable(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_LD && inst->space == TW_KIR_SHARED && inst->guard == TW_KIR_NO_REG &&
           inst->order == TW_KIR_WEAK && !(inst->mods & TW_KIR_VOLATILE) && inst->vec <= 4;
}

static bool is_harmless(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_LD || (tw_kir_op_flags(inst->op) & TW_KIR_PURE);
}

static unsigned place_of(const struct tw_kir_inst *load, uint32_t reg) {
    unsigned d = 0;
    while (load->dst[d] != reg)
        d++;
    return d;
}

// Appends step `at` to the chain that it goes on with, or begins one.
static void add_step(struct search *s, uint32_t at) {
    const struct tw_kir_inst *inst = &s->block->insts[at];
    uint32_t from = inst->src[2].reg, to = inst->dst[0], index = s->chain_at[from];
    if (index == UNSEEN) {
        index = s->tile->count++;
        s->tile->chains[index] = (struct jit_chain){.reg = from, .first = at};
    }
    struct jit_chain *chain = &s->tile->chains[index];
    struct jit_step *step = &s->tile->steps[at];
    *step = (struct jit_step){.chain = index, .next = JIT_NONE};
    for (unsigned k = 0; k < 2; k++) {
        step->load[k] = s->loaded_at[inst->src[k].reg];
        if (step->load[k] != UNSEEN)
            step->place[k] = place_of(&s->block->insts[step->load[k]], inst->src[k].reg);
    }
    if (chain->count++)
        s->tile->steps[chain->last].next = at;
    chain->last = at;
    s->chain_at[from] = UNSEEN;
    s->chain_at[to] = to == chain->reg ? UNSEEN : index;
}

static void follow(struct search *s) {
    for (uint32_t i = 0; i < s->block->count; i++) {
        const struct tw_kir_inst *inst = &s->block->insts[i];
        s->tile->steps[i].chain = JIT_NONE;
        if (is_step(inst))
            add_step(s, i);
        if (!is_harmless(inst))
            s->changed_at = i;
        for (unsigned d = 0; d < inst->dst_count; d++)
            if (inst->dst[d] != TW_KIR_NO_REG) {
                s->written_at[inst->dst[d]] = i;
                s->loaded_at[inst->dst[d]] = is_repeatable(inst) ? i : UNSEEN;
            }
    }
}

static bool is_before(uint32_t written, uint32_t at) {
    return written == UNSEEN || written < at;
}

// The factor can be loaded at the end of the block as well, a vector of the processor at a time.
static bool good_factor(const struct search *s, uint32_t at, const struct tw_kir_inst *step) {
    struct jit_pieces unused;
    if (at == UNSEEN || !is_before(s->changed_at, at))
        return false;
    const struct tw_kir_inst *load = &s->block->insts[at];
    return tw_kir_type_bits(load->type) == tw_kir_type_bits(step->type) && !load->src[0].is_imm &&
           is_before(s->written_at[load->src[0].reg], at) && jit_pieces_of(s->e, load, &unused);
}

// Nobody but its own steps mentions the sum in this block, and what lies between them anywhere.
static bool good_chain(const struct search *s, const struct jit_chain *chain) {
    const struct tw_kir_inst *insts = s->block->insts;
    if (chain->count < STEPS_MIN || insts[chain->last].dst[0] != chain->reg || s->here[chain->reg] != 2 ||
        insts[chain->last].type != insts[chain->first].type ||
        jit_form_of(s->e->code, s->e->code->shapes[chain->reg]) != JIT_LANES)
        return false;
    for (uint32_t i = chain->first; i != JIT_NONE; i = s->tile->steps[i].next) {
        const struct jit_step *step = &s->tile->steps[i];
        if ((i != chain->last && s->everywhere[insts[i].dst[0]] != 2) ||
            insts[i].type != insts[chain->first].type || !good_factor(s, step->load[0], &insts[i]) ||
            !good_factor(s, step->load[1], &insts[i]))
            return false;
    }
    return true;
}

// Keeps the good chains, and their steps.
static void sift(struct search *s) {
    struct jit_tile *tile = s->tile;
    uint32_t found = tile->count;
    tile->count = 0;
    for (uint32_t c = 0; c < found; c++) {
        struct jit_chain chain = tile->chains[c];
        bool good = good_chain(s, &chain);
        for (uint32_t i = chain.first; i != JIT_NONE; i = tile->steps[i].next)
            tile->steps[i].chain = good ? tile->count : JIT_NONE;
        if (!good)
            continue;
        tile->chains[tile->count++] = chain;
        tile->at = chain.last > tile->at ? chain.last : tile->at;
    }
}

// Warps that find a guess wrong leave in the middle of the block, with the sums as the program has them there.
static bool guesses(const struct search *s) {
    for (uint32_t i = 0; i < s->block->count; i++)
        if (jit_inst_speculates(s->e->code, &s->block->insts[i]))
            return true;
    return false;
}

static bool is_worth_it(const struct search *s) {
    uint64_t bytes = 0;
    for (uint32_t c = 0; c < s->tile->count; c++)
        bytes += (uint64_t)s->e->lanes * s->e->code->function->regs[s->tile->chains[c].reg].bits / 8;
    return bytes > (uint64_t)jit_vector_bytes(s->e) * jit_vector_count(s->e);
}

static bool look_at(struct jit_emit *e, uint32_t block, const uint32_t *everywhere) {
    size_t regs = e->code->function->reg_count, insts = e->code->blocks[block].count;
    struct search s = {
        .e = e, .block = &e->code->blocks[block], .everywhere = everywhere, .changed_at = UNSEEN};
    uint32_t **tables[] = {&s.here, &s.chain_at, &s.loaded_at, &s.written_at};
    for (size_t t = 0; t < TW_COUNT(tables); t++) {
        *tables[t] = TW_ARENA_ARRAY(e->arena, uint32_t, regs + 1);
        if (!*tables[t])
            return jit_no_memory(e->err);
        memset(*tables[t], t == 0 ? 0 : 0xff, regs * sizeof(uint32_t));
    }
    s.tile = TW_ARENA_ARRAY(e->arena, struct jit_tile, 1);
    if (s.tile) {
        s.tile->chains = TW_ARENA_ARRAY(e->arena, struct jit_chain, insts);
        s.tile->steps = TW_ARENA_ARRAY(e->arena, struct jit_step, insts);
    }
    if (!s.tile || !s.tile->chains || !s.tile->steps)
        return jit_no_memory(e->err);
    count_mentions(s.block, s.here);
    follow(&s);
    sift(&s);
    e->tiles[block] = is_worth_it(&s) && !guesses(&s) ? s.tile : NULL;
    return true;
}

static uint32_t count_steps(const struct jit_block *b) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->count; i++)
        count += is_step(&b->insts[i]);
    return count;
}

bool jit_tiles_find(struct jit_emit *e) {
    const struct jit_code *code = e->code;
    uint32_t *everywhere = TW_ARENA_ARRAY(e->arena, uint32_t, code->function->reg_count + 1);
    e->tiles = TW_ARENA_ARRAY(e->arena, struct jit_tile *, code->count);
    if (!everywhere || !e->tiles)
        return jit_no_memory(e->err);
    if (code->exact || code->variant.opt_level != TW_KERNEL_FULL)
        return true;
    for (uint32_t b = 0; b < code->count; b++)
        count_mentions(&code->blocks[b], everywhere);
    for (uint32_t b = 0; b < code->count; b++)
        if (count_steps(&code->blocks[b]) > jit_vector_count(e) / 2 && !look_at(e, b, everywhere))
            return false;
    return true;
}

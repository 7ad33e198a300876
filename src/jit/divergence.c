// SPDX-License-Identifier: Apache-2.0
//
// Where lanes of one warp may be apart. A branch whose lanes disagree sends some one way and some the other;
// until its immediate post-dominator they are at different blocks, of which the earliest in the order runs
// first while the lanes at the others wait. For every block this finds the blocks where others may wait,
// hence the registers whose old values a write must keep.
//
// For a varying branch D, block B on one side and X on the other: lanes can wait at X while B runs if both
// are reached within one iteration of the loops that X is in, and X is later than B or the header of a loop
// around both.

#include "internal.h"

// Confined: one varying branch.
struct spread {
    struct jit_code *code;
    uint32_t branch, join;
    uint32_t *stack;
    uint64_t *side, *others, *one; // blocks; `count` bits plus the end
    size_t words;
};

// A header of a loop around the branch that is at most `level` deep.
static bool is_iteration_end(const struct spread *s, uint32_t block, uint32_t level) {
    for (uint32_t l = s->code->blocks[s->branch].loop; l != JIT_NONE; l = s->code->loops[l].parent)
        if (s->code->loops[l].header == block)
            return s->code->loops[l].depth <= level;
    return false;
}

// Blocks that can be reached from `from` without passing the join or beginning another iteration of the outer
// `level` loops.
static void reach(const struct spread *s, uint32_t from, uint32_t level, uint64_t *ret_set) {
    const struct jit_code *code = s->code;
    uint32_t depth = 0;
    memset(ret_set, 0, s->words * sizeof *ret_set);
    if (from == s->join || from == code->count)
        return;
    jit_bit_set(ret_set, from);
    if (!is_iteration_end(s, from, level))
        s->stack[depth++] = from;
    while (depth) {
        const struct jit_block *b = &code->blocks[s->stack[--depth]];
        for (uint32_t k = 0; k < b->succ_count; k++) {
            uint32_t to = b->succs[k];
            if (to == s->join || to == code->count || jit_bit(ret_set, to))
                continue;
            jit_bit_set(ret_set, to);
            if (!is_iteration_end(s, to, level))
                s->stack[depth++] = to;
        }
    }
}

static bool may_wait(const struct jit_code *code, uint32_t at, uint32_t running) {
    if (at > running)
        return true;
    uint32_t l = code->blocks[at].loop;
    return l != JIT_NONE && code->loops[l].header == at && jit_in_loop(code, l, running);
}

// Lanes wait at blocks of `others` whose loops around the branch are exactly the outer `level` ones, while
// blocks of `side` in those loops run.
static bool add_waits(struct spread *s, uint32_t outer, uint32_t inner, uint32_t level,
                      struct tw_error *err) {
    struct jit_code *code = s->code;
    for (uint32_t x = 0; x < code->count; x++)
        if (jit_bit(s->others, x) &&
            (!jit_in_loop(code, outer, x) || (inner != JIT_NONE && jit_in_loop(code, inner, x))))
            jit_bit_clear(s->others, x);
    for (uint32_t b = 0; b < code->count; b++) {
        if (!jit_bit(s->side, b) || !jit_in_loop(code, outer, b) || is_iteration_end(s, b, level))
            continue;
        struct jit_block *block = &code->blocks[b];
        for (size_t w = 0; w < s->words; w++) {
            uint64_t set = s->others[w];
            for (; set; set &= set - 1) {
                uint32_t x = (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(set));
                if (x >= code->count || !may_wait(code, x, b))
                    continue;
                if (!block->waits)
                    block->waits = TW_ARENA_ARRAY(code->arena, uint64_t, s->words);
                if (!block->waits)
                    return jit_no_memory(err);
                jit_bit_set(block->waits, x);
            }
        }
    }
    return true;
}

// Whether lanes can begin another iteration of the outer `level` loops without passing the join.
static bool escapes(const struct spread *s, uint32_t level) {
    const struct jit_code *code = s->code;
    const struct jit_block *d = &code->blocks[s->branch];
    for (uint32_t k = 0; k < d->succ_count; k++) {
        reach(s, d->succs[k], level, s->one);
        for (uint32_t l = d->loop; l != JIT_NONE; l = code->loops[l].parent)
            if (code->loops[l].depth <= level && jit_bit(s->one, code->loops[l].header))
                return true;
    }
    return false;
}

// Whether one side comes to the join only by way of another iteration of a loop around both: lanes of the other side
// do not wait for it.
static bool passes_by(const struct spread *s) {
    const struct jit_code *code = s->code;
    for (uint32_t l = code->blocks[s->branch].loop; l != JIT_NONE; l = code->loops[l].parent)
        if (s->join < code->count && jit_in_loop(code, l, s->join) && escapes(s, code->loops[l].depth))
            return true;
    return false;
}

// Where both sides meet again: the immediate post-dominator, or a later place.
static void find_join(struct spread *s) {
    s->join = s->code->blocks[s->branch].ipdom;
    while (passes_by(s))
        s->join = s->code->blocks[s->join].ipdom;
}

// One level of the loops around the branch: `outer` (JIT_NONE: the whole kernel) holds both sides, `inner` is
// the next one in.
static bool spread_level(struct spread *s, uint32_t outer, uint32_t inner, uint32_t level,
                         struct tw_error *err) {
    const struct jit_block *d = &s->code->blocks[s->branch];
    find_join(s);
    for (uint32_t i = 0; i < d->succ_count; i++) {
        reach(s, d->succs[i], level, s->side);
        for (uint32_t b = 0; level == 0 && b < s->code->count; b++)
            s->code->blocks[b].divergent |= jit_bit(s->side, b);
        memset(s->others, 0, s->words * sizeof *s->others);
        for (uint32_t k = 0; k < d->succ_count; k++) {
            if (d->succs[k] == d->succs[i])
                continue;
            reach(s, d->succs[k], level, s->one);
            for (size_t w = 0; w < s->words; w++)
                s->others[w] |= s->one[w];
        }
        if (s->join < s->code->count)
            jit_bit_set(s->others, s->join);
        if (!add_waits(s, outer, inner, level, err))
            return false;
    }
    return true;
}

static bool spread_branch(struct spread *s, struct tw_error *err) {
    const struct jit_code *code = s->code;
    uint32_t inner = JIT_NONE;
    for (uint32_t l = code->blocks[s->branch].loop;; l = code->loops[l].parent) {
        if (!spread_level(s, l, inner, l == JIT_NONE ? 0 : code->loops[l].depth, err))
            return false;
        if (l == JIT_NONE)
            return true;
        inner = l;
    }
}

static bool is_varying_branch(const struct jit_code *code, const struct jit_block *b) {
    return (b->term == JIT_COND || b->term == JIT_SWITCH) && !b->cond.is_imm &&
           !jit_reg_uniform(code, b->cond.reg);
}

// What the lanes waiting elsewhere still want.
static bool find_kept(struct jit_code *code, struct tw_error *err) {
    size_t words = jit_words(code->function->reg_count);
    for (uint32_t b = 0; b < code->count; b++) {
        struct jit_block *block = &code->blocks[b];
        if (!block->waits)
            continue;
        if (!block->kept)
            block->kept = TW_ARENA_ARRAY(code->arena, uint64_t, words + 1);
        if (!block->kept)
            return jit_no_memory(err);
        for (uint32_t x = 0; x < code->count; x++) {
            if (!jit_bit(block->waits, x))
                continue;
            code->blocks[x].pending = true;
            for (size_t w = 0; w < words; w++)
                block->kept[w] |= code->blocks[x].live_in[w];
        }
    }
    return true;
}

bool jit_must_blend(const struct jit_code *code, uint32_t block, const struct tw_kir_inst *inst,
                    uint32_t reg) {
    if (inst->guard != TW_KIR_NO_REG && !jit_reg_uniform(code, inst->guard) &&
        !(code->blocks[block].term == JIT_BARRIER && inst == code->blocks[block].last))
        return true;
    const uint64_t *kept = code->blocks[block].kept;
    return kept && jit_bit(kept, reg);
}

// Blocks that a varying branch leads to must be able to hold some lanes while others come.
static void mark_targets(struct jit_code *code) {
    for (uint32_t b = 0; b < code->count; b++)
        for (uint32_t k = 0; code->blocks[b].branched && k < code->blocks[b].succ_count; k++)
            if (code->blocks[b].succs[k] < code->count)
                code->blocks[code->blocks[b].succs[k]].pending = true;
}

bool jit_divergence(struct jit_code *code, struct tw_error *err) {
    struct spread s = {.code = code, .words = jit_words((size_t)code->count + 1)};
    s.stack = TW_ARENA_ARRAY(code->arena, uint32_t, code->count + 1);
    s.side = TW_ARENA_ARRAY(code->arena, uint64_t, s.words);
    s.others = TW_ARENA_ARRAY(code->arena, uint64_t, s.words);
    s.one = TW_ARENA_ARRAY(code->arena, uint64_t, s.words);
    if (!s.stack || !s.side || !s.others || !s.one)
        return jit_no_memory(err);
    for (bool changed = true; changed;) {
        changed = false;
        if (!jit_shapes(code, err))
            return false;
        for (uint32_t b = 0; b < code->count; b++) {
            if (code->blocks[b].branched || !is_varying_branch(code, &code->blocks[b]))
                continue;
            s.branch = b;
            if (!spread_branch(&s, err))
                return false;
            code->blocks[b].branched = changed = true;
        }
        if (changed && !find_kept(code, err))
            return false;
    }
    mark_targets(code);
    return true;
}

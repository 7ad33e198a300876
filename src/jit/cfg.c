// SPDX-License-Identifier: Apache-2.0
//
// From the function's blocks to ours: barriers end a block (what follows is a resume point), a guarded
// barrier becomes a branch around it, and blocks that only end the thread disappear into the edge that leads
// there, so that nobody waits at them. Then edges and predecessors.

#include "internal.h"

#include <stdarg.h>

bool jit_no_memory(struct tw_error *err) {
    return tw_fail(err, TW_ERR_CUDA_QUOTA,
                   "compiling the kernel needs more than %u MiB; split it into smaller ones",
                   (unsigned)(JIT_ARENA_BYTES >> 20));
}

bool jit_refuse(struct tw_error *err, const struct tw_kir_inst *inst, const char *format, ...) {
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (inst->line)
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "line %u, column %u: '%s.%s' %s", inst->line,
                       inst->column, tw_kir_op_name(inst->op), tw_kir_type_name(inst->type), text);
    return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "'%s.%s' %s", tw_kir_op_name(inst->op),
                   tw_kir_type_name(inst->type), text);
}

// Where a warp stops and others run: barriers, and nanosleep.
static bool is_barrier(const struct tw_kir_inst *inst) {
    return inst->op == TW_KIR_BAR || inst->op == TW_KIR_BARRED || inst->op == TW_KIR_NANOSLEEP;
}

static bool only_ends(const struct tw_kir_block *block) {
    return block->count == 1 && (block->insts[0].op == TW_KIR_RET || block->insts[0].op == TW_KIR_EXIT);
}

// Confined: how function blocks map to ours while they are made.
struct splitter {
    struct jit_code *code;
    uint32_t *first; // our first block of each function block; `count` marks the end of the thread
    uint32_t total, next;
    struct tw_error *err;
};

// How many of our blocks a function block becomes.
static uint32_t count_pieces(const struct tw_kir_block *block) {
    uint32_t pieces = 1;
    for (uint32_t i = 0; i < block->count; i++)
        if (is_barrier(&block->insts[i]))
            pieces += block->insts[i].guard == TW_KIR_NO_REG ? 1 : 2;
    return pieces;
}

static bool set_succs(struct splitter *s, struct jit_block *b, const uint32_t *succs, uint32_t count) {
    b->succs = TW_ARENA_ARRAY(s->code->arena, uint32_t, count ? count : 1);
    if (!b->succs)
        return jit_no_memory(s->err);
    for (uint32_t i = 0; i < count; i++)
        b->succs[i] = succs[i];
    b->succ_count = count;
    return true;
}

static bool end_piece(struct splitter *s, struct jit_block *b, const struct tw_kir_inst *last) {
    uint32_t targets[256];
    b->last = last;
    for (unsigned i = 0; i < last->target_count; i++)
        targets[i] = s->first[last->targets[i]];
    if (last->op == TW_KIR_RET || last->op == TW_KIR_EXIT) {
        b->term = JIT_EXIT;
        targets[0] = s->total;
        return set_succs(s, b, targets, 1);
    }
    bool same = true;
    for (unsigned i = 1; i < last->target_count; i++)
        same &= targets[i] == targets[0];
    if (last->op == TW_KIR_BR || same) {
        b->term = JIT_GOTO;
        return set_succs(s, b, targets, 1);
    }
    b->term = last->op == TW_KIR_BRC ? JIT_COND : JIT_SWITCH;
    b->cond = last->src[0];
    return set_succs(s, b, targets, last->target_count);
}

// Cuts at a barrier: `b` ends there. A guarded one gets a block of its own, skipped where the guard is false.
static bool cut_at_barrier(struct splitter *s, struct jit_block **b, struct tw_kir_inst *barrier) {
    if (barrier->guard != TW_KIR_NO_REG) {
        (*b)->term = JIT_COND;
        (*b)->cond = tw_kir_reg_operand(barrier->guard);
        (*b)->cond_not = barrier->guard_not;
        if (!set_succs(s, *b, (uint32_t[]){s->next, s->next + 1}, 2))
            return false;
        *b = &s->code->blocks[s->next++];
    }
    (*b)->term = JIT_BARRIER;
    (*b)->last = barrier;
    if (!set_succs(s, *b, &s->next, 1))
        return false;
    *b = &s->code->blocks[s->next++];
    (*b)->insts = barrier + 1;
    s->code->uses_barriers = true;
    return true;
}

static bool split_block(struct splitter *s, const struct tw_kir_block *block) {
    struct jit_block *b = &s->code->blocks[s->next++];
    b->insts = block->insts;
    for (uint32_t i = 0; i + 1 < block->count; i++) {
        if (!is_barrier(&block->insts[i]))
            b->count++;
        else if (!cut_at_barrier(s, &b, &block->insts[i]))
            return false;
    }
    return end_piece(s, b, &block->insts[block->count - 1]);
}

static bool split_all(struct jit_code *code, struct tw_error *err) {
    const struct tw_kir_function *f = code->function;
    struct splitter s = {.code = code, .err = err};
    uint64_t insts = 0;
    s.first = TW_ARENA_ARRAY(code->arena, uint32_t, f->block_count);
    if (!s.first)
        return jit_no_memory(err);
    for (uint32_t i = 0; i < f->block_count; i++) {
        bool ends = i > 0 && only_ends(&f->blocks[i]);
        s.first[i] = ends ? JIT_NONE : s.total;
        s.total += ends ? 0 : count_pieces(&f->blocks[i]);
        insts += f->blocks[i].count;
    }
    if (s.total > JIT_MAX_BLOCKS)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "kernel %.80s has %u blocks, the limit is %u; split it",
                       f->name, s.total, (unsigned)JIT_MAX_BLOCKS);
    if (insts > JIT_MAX_INSTS)
        return tw_fail(err, TW_ERR_CUDA_QUOTA,
                       "kernel %.80s has %" PRIu64 " instructions, the limit is %u; split it", f->name, insts,
                       (unsigned)JIT_MAX_INSTS);
    code->blocks = TW_ARENA_ARRAY(code->arena, struct jit_block, s.total);
    if (!code->blocks)
        return jit_no_memory(err);
    code->count = s.total;
    for (uint32_t i = 0; i < f->block_count; i++)
        if (s.first[i] == JIT_NONE)
            s.first[i] = s.total;
    for (uint32_t i = 0; i < f->block_count; i++)
        if (s.first[i] != s.total && !split_block(&s, &f->blocks[i]))
            return false;
    return true;
}

bool jit_preds(struct jit_code *code, struct tw_error *err) {
    for (uint32_t i = 0; i < code->count; i++)
        code->blocks[i].pred_count = 0;
    for (uint32_t i = 0; i < code->count; i++)
        for (uint32_t k = 0; k < code->blocks[i].succ_count; k++)
            if (code->blocks[i].succs[k] < code->count)
                code->blocks[code->blocks[i].succs[k]].pred_count++;
    for (uint32_t i = 0; i < code->count; i++) {
        struct jit_block *b = &code->blocks[i];
        b->preds = TW_ARENA_ARRAY(code->arena, uint32_t, b->pred_count ? b->pred_count : 1);
        if (!b->preds)
            return jit_no_memory(err);
        b->pred_count = 0;
    }
    for (uint32_t i = 0; i < code->count; i++)
        for (uint32_t k = 0; k < code->blocks[i].succ_count; k++)
            if (code->blocks[i].succs[k] < code->count) {
                struct jit_block *to = &code->blocks[code->blocks[i].succs[k]];
                to->preds[to->pred_count++] = i;
            }
    return true;
}

static bool number_roots(struct jit_code *code, struct tw_error *err) {
    code->roots = TW_ARENA_ARRAY(code->arena, uint32_t, code->count + 1);
    if (!code->roots)
        return jit_no_memory(err);
    for (uint32_t i = 0; i < code->count; i++)
        code->blocks[i].root = JIT_NONE;
    for (uint32_t i = 0; i < code->count; i++) {
        if (code->blocks[i].term != JIT_BARRIER || code->blocks[i].succs[0] >= code->count)
            continue;
        struct jit_block *to = &code->blocks[code->blocks[i].succs[0]];
        if (to->root == JIT_NONE) {
            to->root = code->root_count;
            code->roots[code->root_count++] = code->blocks[i].succs[0];
        }
    }
    return true;
}

bool jit_cfg_build(struct jit_code *code, struct tw_error *err) {
    return split_all(code, err) && jit_order(code, err) && jit_preds(code, err) &&
           jit_dominators(code, err) && jit_loops(code, err) && jit_post_dominators(code, err) &&
           number_roots(code, err);
}

// SPDX-License-Identifier: Apache-2.0
//
// Functions that call themselves. Each is copied into the kernel once; a call of it becomes a jump to the copy,
// with the number of the place to come back to in a register, and its return an indexed branch over those
// places. What a caller inside such a function still needs afterwards, its own place to come back to included,
// lies meanwhile on a stack in the thread's local memory, and so do the function's local variables:
//
//     call:    push live registers; parameters = arguments; place = n; br function
//     place n: results; pop; go on                function: frame = top; top += size of its variables; …
//     return:  top -= size of its variables; brx place → place 0, 1, …
//
// A thread whose stack is full traps.

#include "inline.h"

enum {
    // 16 times what CUDA gives a thread by default; local memory is threads × this.
    STACK_BYTES = 16 << 10,
    FRAME_ALIGN = 16,
    // Bits of liveness of one function: 64 MiB.
    MAX_LIVE_BITS = 1 << 29,
};

// ---- which registers a caller needs after a call ----

static bool bit(const uint64_t *set, uint32_t i) {
    return set[i / 64] >> (i % 64) & 1;
}

static void step_back(const struct tw_kir_function *f, const struct tw_kir_inst *inst, uint64_t *live) {
    if (inst->guard == TW_KIR_NO_REG)
        for (unsigned i = 0; i < inst->dst_count; i++)
            if (inst->dst[i] != TW_KIR_NO_REG)
                live[inst->dst[i] / 64] &= ~(1ULL << inst->dst[i] % 64);
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm)
            live[inst->src[i].reg / 64] |= 1ULL << inst->src[i].reg % 64;
    if (inst->guard != TW_KIR_NO_REG)
        live[inst->guard / 64] |= 1ULL << inst->guard % 64;
    for (uint32_t i = 0; inst->op == TW_KIR_RET && i < f->result_count; i++)
        live[f->results[i].reg / 64] |= 1ULL << f->results[i].reg % 64;
}

// Registers alive before insts[from] of the block, from what is alive at the beginning of others.
static void live_before(const struct tw_kir_function *f, const uint64_t *begin, size_t words, uint32_t block,
                        uint32_t from, uint64_t *ret_live) {
    const struct tw_kir_block *b = &f->blocks[block];
    const struct tw_kir_inst *last = &b->insts[b->count - 1];
    memset(ret_live, 0, words * sizeof *ret_live);
    for (unsigned i = 0; i < last->target_count; i++)
        for (size_t w = 0; w < words; w++)
            ret_live[w] |= begin[last->targets[i] * words + w];
    for (uint32_t i = b->count; i > from; i--)
        step_back(f, &b->insts[i - 1], ret_live);
}

// By block; NULL without memory. free() it.
static uint64_t *liveness(const struct tw_kir_function *f, size_t words) {
    if ((uint64_t)f->block_count * words * 64 > MAX_LIVE_BITS)
        return NULL;
    uint64_t *begin = tw_alloc_zero(f->block_count * words + words, sizeof *begin);
    if (!begin)
        return NULL;
    uint64_t *now = begin + f->block_count * words;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t b = f->block_count; b > 0; b--) {
            live_before(f, begin, words, b - 1, 0, now);
            changed |= memcmp(now, begin + (b - 1) * words, words * sizeof *now) != 0;
            memcpy(begin + (b - 1) * words, now, words * sizeof *now);
        }
    }
    return begin;
}

// ---- the copies ----

// A recursive function and its copy. Confined.
struct body {
    struct kernel_copy copy;
    uint32_t first;        // the block that calls jump to
    uint32_t place, frame; // registers: where to return; the address of its variables
    uint64_t frame_bytes;
    uint32_t *places; // blocks to return to
    uint32_t place_count, end_block;
    size_t words;
    uint64_t *begin; // liveness of the original
};

struct lowering {
    struct kernel_inliner *in;
    struct body *bodies;
    uint32_t count;
    uint32_t stack, top; // the variable; the register with the address of what is free
};

static struct tw_kir_inst *add(const struct lowering *l, uint32_t block, enum tw_kir_op op, uint8_t type,
                               unsigned dsts, unsigned srcs, unsigned targets) {
    return tw_kir_inst_add(l->in->module, &kernel_inliner_function(l->in)->blocks[block], op, type, dsts,
                           srcs, targets, l->in->err);
}

static bool new_register(const struct lowering *l, unsigned bits, uint32_t *ret_reg) {
    *ret_reg = tw_kir_reg_add(l->in->module, kernel_inliner_function(l->in), NULL, bits, l->in->err);
    return *ret_reg != TW_KIR_NO_REG;
}

static bool jump(const struct lowering *l, uint32_t block, uint32_t to) {
    struct tw_kir_inst *inst = add(l, block, TW_KIR_BR, TW_KIR_PRED, 0, 0, 1);
    if (inst)
        inst->targets[0] = to;
    return inst != NULL;
}

static bool move(const struct lowering *l, uint32_t block, unsigned bits, uint32_t to,
                 struct tw_kir_operand from) {
    struct tw_kir_inst *inst = add(l, block, TW_KIR_MOV, tw_kir_bits_type(bits), 1, 1, 0);
    if (!inst)
        return false;
    inst->dst[0] = to;
    inst->src[0] = from;
    return true;
}

// top += bytes, which may be negative.
static bool move_top(const struct lowering *l, uint32_t block, int64_t bytes) {
    struct tw_kir_inst *inst = add(l, block, TW_KIR_ADD, TW_KIR_U64, 1, 2, 0);
    if (!inst)
        return false;
    inst->dst[0] = l->top;
    inst->src[0] = tw_kir_reg_operand(l->top);
    inst->src[1] = tw_kir_imm_operand((uint64_t)bytes);
    return true;
}

// Takes `bytes` of the stack, which the thread traps without.
static bool take(const struct lowering *l, uint32_t block, uint64_t bytes, uint32_t line) {
    uint32_t limit, full;
    if (bytes > STACK_BYTES)
        return tw_fail(l->in->err, TW_ERR_CUDA_QUOTA,
                       "line %u: a recursive function needs %" PRIu64
                       " bytes of stack for each call, a thread has %d",
                       line, bytes, STACK_BYTES);
    if (bytes == 0)
        return true;
    if (!new_register(l, 64, &limit) || !new_register(l, 1, &full))
        return false;
    struct tw_kir_inst *inst = add(l, block, TW_KIR_ADDR, TW_KIR_U64, 1, 0, 0);
    if (!inst)
        return false;
    inst->index = l->stack;
    inst->offset = (int64_t)(STACK_BYTES - bytes);
    inst->dst[0] = limit;
    inst = add(l, block, TW_KIR_SETP, TW_KIR_U64, 1, 2, 0);
    if (!inst)
        return false;
    inst->cmp = TW_KIR_GT;
    inst->dst[0] = full;
    inst->src[0] = tw_kir_reg_operand(l->top);
    inst->src[1] = tw_kir_reg_operand(limit);
    inst = add(l, block, TW_KIR_TRAP, TW_KIR_PRED, 0, 0, 0);
    if (!inst)
        return false;
    inst->guard = full;
    inst->line = line;
    return move_top(l, block, (int64_t)bytes);
}

// The addresses of the copy's local variables become places in its frame.
static bool frame_variables(struct lowering *l, struct body *body, uint32_t function, uint64_t *offsets) {
    const struct tw_kir_function *from = &l->in->module->functions[function];
    struct tw_kir_function *to = kernel_inliner_function(l->in);
    for (uint32_t b = 0; b < from->block_count; b++)
        for (uint32_t i = 0; i < from->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &from->blocks[b].insts[i];
            if (inst->op != TW_KIR_ADDR || !offsets[inst->index])
                continue;
            struct tw_kir_inst *copy = &to->blocks[body->copy.block_base + b].insts[i];
            copy->src = TW_ARENA_ARRAY(l->in->module->arena, struct tw_kir_operand, 2);
            if (!copy->src)
                return kernel_fail_memory(l->in->err);
            copy->op = TW_KIR_ADD;
            copy->type = TW_KIR_U64;
            copy->src_count = 2;
            copy->src[0] = tw_kir_reg_operand(body->frame);
            copy->src[1] = tw_kir_imm_operand(offsets[inst->index] - 1 + (uint64_t)inst->offset);
            copy->index = 0;
            copy->offset = 0;
        }
    return true;
}

// Lays out the function's local variables; offsets: 1 + place in the frame by variable, 0 for others.
static bool lay_out(struct lowering *l, struct body *body, uint32_t function) {
    const struct tw_kir_module *module = l->in->module;
    uint64_t *offsets = tw_alloc_zero((size_t)module->variable_count + 1, sizeof *offsets), at = 0;
    if (!offsets)
        return kernel_fail_memory(l->in->err);
    for (uint32_t v = 0; v < module->variable_count; v++) {
        const struct tw_kir_variable *variable = &module->variables[v];
        if (variable->function != function || variable->space != TW_KIR_LOCAL)
            continue;
        at = tw_align_up(at, variable->align);
        offsets[v] = at + 1;
        at += variable->size;
    }
    body->frame_bytes = tw_align_up(at, FRAME_ALIGN);
    bool good = frame_variables(l, body, function, offsets);
    free(offsets);
    return good;
}

static bool copy_body(struct lowering *l, struct body *body, uint32_t function) {
    const struct tw_kir_function *from = &l->in->module->functions[function];
    body->words = ((size_t)from->reg_count + 63) / 64 + 1;
    body->begin = liveness(from, body->words);
    if (!body->begin)
        return kernel_fail_memory(l->in->err);
    body->places = TW_ARENA_ARRAY(l->in->module->arena, uint32_t, TW_KIR_MAX_TARGETS);
    if (!body->places)
        return kernel_fail_memory(l->in->err);
    body->copy.call.index = function;
    if (!kernel_copy_new_block(l->in, "return", &body->copy.rest) || !kernel_copy_body(l->in, &body->copy) ||
        !kernel_copy_new_block(l->in, "enter", &body->first) || !new_register(l, 32, &body->place) ||
        !new_register(l, 64, &body->frame) || !lay_out(l, body, function))
        return false;
    return move(l, body->first, 64, body->frame, tw_kir_reg_operand(l->top)) &&
           take(l, body->first, body->frame_bytes, from->blocks[0].insts[0].line) &&
           jump(l, body->first, body->copy.block_base);
}

// ---- a call ----

// What a caller inside a recursive function keeps on the stack. Confined.
struct saved {
    struct {
        uint32_t reg;
        uint64_t at;
    } *items;
    uint32_t count;
    uint64_t bytes;
};

static void save(const struct lowering *l, struct saved *s, uint32_t reg) {
    unsigned bits = kernel_inliner_function(l->in)->regs[reg].bits;
    uint64_t size = bits == 1 ? 1 : bits / 8;
    s->bytes = tw_align_up(s->bytes, size);
    s->items[s->count].reg = reg;
    s->items[s->count++].at = s->bytes;
    s->bytes += size;
}

// `block` and `position` are the call's in the original of `body`.
static bool find_saved(const struct lowering *l, const struct body *body, uint32_t block, uint32_t position,
                       const struct tw_kir_inst *call, struct saved *ret_saved) {
    const struct tw_kir_function *f = &l->in->module->functions[body->copy.call.index];
    uint64_t *live = tw_alloc_zero(body->words, sizeof *live);
    ret_saved->items =
        TW_ARENA_ARRAY(l->in->module->arena, typeof(*ret_saved->items), (size_t)f->reg_count + 2);
    if (!live || !ret_saved->items) {
        free(live);
        return kernel_fail_memory(l->in->err);
    }
    live_before(f, body->begin, body->words, block, position + 1, live);
    for (unsigned i = 0; i < call->dst_count; i++)
        if (call->dst[i] != TW_KIR_NO_REG)
            live[call->dst[i] / 64] &= ~(1ULL << call->dst[i] % 64);
    for (uint32_t r = 0; r < f->reg_count; r++)
        if (bit(live, r))
            save(l, ret_saved, r + body->copy.reg_base);
    save(l, ret_saved, body->place);
    if (body->frame_bytes)
        save(l, ret_saved, body->frame);
    ret_saved->bytes = tw_align_up(ret_saved->bytes, FRAME_ALIGN);
    free(live);
    return true;
}

// Memory at top - bytes + at, as the stack stands after the push.
static struct tw_kir_inst *stack_access(const struct lowering *l, uint32_t block, enum tw_kir_op op,
                                        uint8_t type, const struct saved *s, uint32_t index) {
    bool load = op == TW_KIR_LD;
    struct tw_kir_inst *inst = add(l, block, op, type, load ? 1 : 0, load ? 1 : 2, 0);
    if (!inst)
        return NULL;
    inst->space = TW_KIR_LOCAL;
    inst->offset = (int64_t)s->items[index].at - (int64_t)s->bytes;
    inst->src[0] = tw_kir_reg_operand(l->top);
    return inst;
}

static bool push_one(const struct lowering *l, uint32_t block, const struct saved *s, uint32_t index) {
    uint32_t reg = s->items[index].reg, byte = reg;
    unsigned bits = kernel_inliner_function(l->in)->regs[reg].bits;
    if (bits == 1) {
        struct tw_kir_inst *choice =
            new_register(l, 8, &byte) ? add(l, block, TW_KIR_SELECT, TW_KIR_B8, 1, 3, 0) : NULL;
        if (!choice)
            return false;
        choice->dst[0] = byte;
        choice->src[0] = tw_kir_imm_operand(1);
        choice->src[1] = tw_kir_imm_operand(0);
        choice->src[2] = tw_kir_reg_operand(reg);
    }
    struct tw_kir_inst *store =
        stack_access(l, block, TW_KIR_ST, tw_kir_bits_type(bits == 1 ? 8 : bits), s, index);
    if (store)
        store->src[1] = tw_kir_reg_operand(byte);
    return store != NULL;
}

static bool pop_one(const struct lowering *l, uint32_t block, const struct saved *s, uint32_t index) {
    uint32_t reg = s->items[index].reg, byte = reg;
    unsigned bits = kernel_inliner_function(l->in)->regs[reg].bits;
    if (bits == 1 && !new_register(l, 8, &byte))
        return false;
    struct tw_kir_inst *load =
        stack_access(l, block, TW_KIR_LD, tw_kir_bits_type(bits == 1 ? 8 : bits), s, index);
    if (!load)
        return false;
    load->dst[0] = byte;
    if (bits > 1)
        return true;
    struct tw_kir_inst *test = add(l, block, TW_KIR_SETP, TW_KIR_B8, 1, 2, 0);
    if (!test)
        return false;
    test->cmp = TW_KIR_NE;
    test->dst[0] = reg;
    test->src[0] = tw_kir_reg_operand(byte);
    test->src[1] = tw_kir_imm_operand(0);
    return true;
}

// The arguments may be parameters of the same function, so they go through registers of their own.
static bool pass_arguments(const struct lowering *l, uint32_t block, const struct tw_kir_inst *call,
                           const struct body *callee) {
    const struct tw_kir_function *f = &l->in->module->functions[callee->copy.call.index];
    uint32_t *between = TW_ARENA_ARRAY(l->in->module->arena, uint32_t, call->src_count + 1u);
    if (!between)
        return kernel_fail_memory(l->in->err);
    for (unsigned i = 0; i < call->src_count; i++) {
        unsigned bits = f->regs[f->params[i].reg].bits;
        if (!new_register(l, bits, &between[i]) || !move(l, block, bits, between[i], call->src[i]))
            return false;
    }
    for (unsigned i = 0; i < call->src_count; i++)
        if (!move(l, block, f->regs[f->params[i].reg].bits, f->params[i].reg + callee->copy.reg_base,
                  tw_kir_reg_operand(between[i])))
            return false;
    return true;
}

static bool take_results(const struct lowering *l, uint32_t block, const struct tw_kir_inst *call,
                         const struct body *callee) {
    const struct tw_kir_function *f = &l->in->module->functions[callee->copy.call.index];
    for (unsigned i = 0; i < call->dst_count; i++)
        if (call->dst[i] != TW_KIR_NO_REG &&
            !move(l, block, f->regs[f->results[i].reg].bits, call->dst[i],
                  tw_kir_reg_operand(f->results[i].reg + callee->copy.reg_base)))
            return false;
    return true;
}

// Replaces the call at insts[position] of `block`.
static bool lower_call(const struct lowering *l, uint32_t block, uint32_t position, const struct saved *s,
                       uint32_t *ret_rest) {
    const struct tw_kir_inst call = kernel_inliner_function(l->in)->blocks[block].insts[position];
    struct body *callee = l->bodies;
    uint32_t back;
    while (callee->copy.call.index != call.index)
        callee++;
    if (callee->place_count == TW_KIR_MAX_TARGETS)
        return tw_fail(l->in->err, TW_ERR_CUDA_QUOTA,
                       "recursive function %.100s is called from more than %d places",
                       l->in->module->functions[call.index].name, TW_KIR_MAX_TARGETS);
    if (!kernel_cut_block(l->in, block, position, ret_rest) || !kernel_copy_new_block(l->in, "back", &back) ||
        !take(l, block, s->bytes, call.line))
        return false;
    // The results are the callee's registers, which the pop makes the caller's again.
    if (!take_results(l, back, &call, callee))
        return false;
    for (uint32_t i = 0; i < s->count; i++)
        if (!push_one(l, block, s, i) || !pop_one(l, back, s, i))
            return false;
    callee->places[callee->place_count] = back;
    return pass_arguments(l, block, &call, callee) &&
           move(l, block, 32, callee->place, tw_kir_imm_operand(callee->place_count++)) &&
           jump(l, block, callee->first) && (s->bytes == 0 || move_top(l, back, -(int64_t)s->bytes)) &&
           jump(l, back, *ret_rest);
}

// All calls of one block; `body` NULL: the kernel's own. `original` is the block in the body's function.
static bool lower_block(const struct lowering *l, const struct body *body, uint32_t block,
                        uint32_t original) {
    uint32_t before = 0; // instructions of the original that are behind us
    for (uint32_t i = 0; i < kernel_inliner_function(l->in)->blocks[block].count; i++) {
        if (kernel_inliner_function(l->in)->blocks[block].insts[i].op != TW_KIR_CALL)
            continue;
        struct saved s = {};
        if (body) {
            const struct tw_kir_function *f = &l->in->module->functions[body->copy.call.index];
            const struct tw_kir_inst *call = &f->blocks[original].insts[before + i];
            if (!find_saved(l, body, original, before + i, call, &s))
                return false;
        }
        if (!lower_call(l, block, i, &s, &block))
            return false;
        before += i + 1;
        i = UINT32_MAX; // go on at the beginning of the rest
    }
    return true;
}

static bool end_body(const struct lowering *l, const struct body *body) {
    uint32_t block = body->copy.rest;
    if (body->frame_bytes && !move_top(l, block, -(int64_t)body->frame_bytes))
        return false;
    struct tw_kir_inst *inst = add(l, block, TW_KIR_BRX, TW_KIR_PRED, 0, 1, body->place_count);
    if (!inst)
        return false;
    inst->src[0] = tw_kir_reg_operand(body->place);
    memcpy(inst->targets, body->places, body->place_count * sizeof *inst->targets);
    return true;
}

// The stack, and its top at the kernel's beginning.
static bool make_stack(struct lowering *l) {
    struct tw_kir_module *module = l->in->module;
    struct tw_kir_variable stack = {
        .space = TW_KIR_LOCAL, .align = FRAME_ALIGN, .size = STACK_BYTES, .function = l->in->function};
    stack.name = tw_arena_printf(module->arena, "stack.%u", module->variable_count);
    if (!stack.name)
        return kernel_fail_memory(l->in->err);
    l->stack = tw_kir_variable_add(module, &stack, l->in->err);
    if (l->stack == TW_KIR_NO_REG || !new_register(l, 64, &l->top))
        return false;
    struct tw_kir_block *first = &kernel_inliner_function(l->in)->blocks[0], old = *first;
    *first = (struct tw_kir_block){.label = old.label};
    struct tw_kir_inst *inst = tw_kir_inst_add(module, first, TW_KIR_ADDR, TW_KIR_U64, 1, 0, 0, l->in->err);
    if (!inst)
        return false;
    inst->index = l->stack;
    inst->dst[0] = l->top;
    for (uint32_t i = 0; i < old.count; i++) {
        inst = tw_kir_inst_add(module, first, old.insts[i].op, old.insts[i].type, 0, 0, 0, l->in->err);
        if (!inst)
            return false;
        *inst = old.insts[i];
    }
    return true;
}

static bool lower_all(struct lowering *l, uint32_t own_blocks) {
    struct tw_kir_module *module = l->in->module;
    if (!make_stack(l))
        return false;
    for (uint32_t i = 0, k = 0; i < module->function_count; i++)
        if (l->in->recursive[i] && !copy_body(l, &l->bodies[k++], i))
            return false;
    for (uint32_t b = 0; b < own_blocks; b++)
        if (!lower_block(l, NULL, b, b))
            return false;
    for (uint32_t k = 0; k < l->count; k++) {
        const struct body *body = &l->bodies[k];
        uint32_t blocks = module->functions[body->copy.call.index].block_count;
        for (uint32_t b = 0; b < blocks; b++)
            if (!lower_block(l, body, body->copy.block_base + b, b))
                return false;
    }
    for (uint32_t k = 0; k < l->count; k++)
        if (!end_body(l, &l->bodies[k]))
            return false;
    return true;
}

bool kernel_lower_recursion(struct kernel_inliner *in) {
    struct lowering l = {.in = in};
    for (uint32_t i = 0; i < in->module->function_count; i++)
        l.count += in->recursive[i];
    l.bodies = tw_alloc_zero(l.count, sizeof *l.bodies);
    if (!l.bodies)
        return kernel_fail_memory(in->err);
    bool good = lower_all(&l, kernel_inliner_function(in)->block_count);
    for (uint32_t k = 0; k < l.count; k++)
        free(l.bodies[k].begin);
    free(l.bodies);
    return good;
}

// SPDX-License-Identifier: Apache-2.0
//
// One function: header, declarations, blocks and the branches between them. Only blocks that can be reached
// are printed, in the order they have; only those that a branch names have a label.

#include "print.h"

// ---- control flow ----

static const struct tw_kir_inst *last_of(const struct ptx_printer *p, uint32_t block) {
    const struct tw_kir_block *b = &p->function->blocks[block];
    return &b->insts[b->count - 1];
}

enum { REACHED = 1 }; // p->labels while blocks are sought: 0 unseen; later: number + 2, or REACHED

bool ptx_reach(struct ptx_printer *p) {
    uint32_t count = p->function->block_count, depth = 0;
    p->labels = TW_ARENA_ARRAY(&p->arena, uint32_t, count);
    uint32_t *stack = TW_ARENA_ARRAY(&p->arena, uint32_t, count);
    if (!p->labels || !stack)
        return ptx_print_full(p);
    p->labels[0] = REACHED;
    stack[depth++] = 0;
    while (depth) {
        const struct tw_kir_inst *last = last_of(p, stack[--depth]);
        for (unsigned i = 0; i < last->target_count; i++)
            if (!p->labels[last->targets[i]]) {
                p->labels[last->targets[i]] = REACHED;
                stack[depth++] = last->targets[i];
            }
    }
    return true;
}

// The block printed after this one; NO_REG: none.
static uint32_t after(const struct ptx_printer *p, uint32_t block) {
    for (uint32_t next = block + 1; next < p->function->block_count; next++)
        if (p->labels[next])
            return next;
    return TW_KIR_NO_REG;
}

// Which target a terminator falls through to; -1: none.
static int falls_to(const struct tw_kir_inst *last, uint32_t next) {
    if (last->op == TW_KIR_BR)
        return last->targets[0] == next ? 0 : -1;
    if (last->op != TW_KIR_BRC)
        return -1;
    return last->targets[1] == next ? 1 : last->targets[0] == next ? 0 : -1;
}

// Numbers the blocks that branches name, in the order they are printed.
static bool number_labels(struct ptx_printer *p) {
    uint32_t number = 0, next;
    bool *named = TW_ARENA_ARRAY(&p->arena, bool, p->function->block_count);
    if (!named)
        return ptx_print_full(p);
    for (uint32_t b = 0; b < p->function->block_count; b++) {
        if (!p->labels[b])
            continue;
        const struct tw_kir_inst *last = last_of(p, b);
        next = after(p, b);
        int falls = falls_to(last, next);
        for (int i = 0; i < last->target_count; i++)
            named[last->targets[i]] |= i != falls;
    }
    for (uint32_t b = 0; b < p->function->block_count; b++)
        if (named[b])
            p->labels[b] = REACHED + 1 + number++;
    return true;
}

static bool label(struct ptx_printer *p, uint32_t block) {
    return tw_buf_printf(&p->body, "$B%u", p->labels[block] - REACHED - 1) || ptx_print_full(p);
}

static bool branch(struct ptx_printer *p, const char *guard, uint32_t target) {
    const struct tw_kir_inst *inst = p->inst;
    bool guarded = guard != NULL;
    return ptx_put(p, "\t") &&
           (!guarded || (ptx_put(p, guard) && ptx_put_reg(p, inst->src[0].reg) && ptx_put(p, " "))) &&
           ptx_put(p, inst->mods & TW_KIR_UNIFORM ? "bra.uni " : "bra ") && label(p, target) &&
           ptx_put(p, ";\n");
}

static bool conditional(struct ptx_printer *p, uint32_t next) {
    const struct tw_kir_inst *inst = p->inst;
    const uint32_t *targets = inst->targets;
    if (inst->src[0].is_imm || targets[0] == targets[1]) {
        uint32_t target = targets[inst->src[0].is_imm && !(inst->src[0].bits & 1)];
        return target == next || branch(p, NULL, target);
    }
    int falls = falls_to(inst, next);
    if (falls == 0)
        return branch(p, "@!", targets[1]);
    return branch(p, "@", targets[0]) && (falls == 1 || branch(p, NULL, targets[1]));
}

// Where the index is already bounded in its block, bounding it again would only make the text grow.
static bool is_bounded(const struct ptx_printer *p, const struct tw_kir_block *block, uint32_t count) {
    for (uint32_t i = block->count - 1; i-- > 0;) {
        const struct tw_kir_inst *inst = &block->insts[i];
        for (unsigned d = 0; d < inst->dst_count; d++)
            if (inst->dst[d] == p->inst->src[0].reg)
                return inst->op == TW_KIR_MIN && inst->type == TW_KIR_U32 && inst->guard == TW_KIR_NO_REG &&
                       inst->src[1].is_imm && inst->src[1].bits < count;
    }
    return false;
}

// An index beyond the list is undefined in PTX, the last target in the IR.
static bool indexed(struct ptx_printer *p, const struct tw_kir_block *block) {
    const struct tw_kir_inst *inst = p->inst;
    struct tw_kir_operand index = inst->src[0];
    if (!ptx_in_register(p, &index, TW_KIR_U32))
        return false;
    if (inst->src[0].is_imm || !is_bounded(p, block, inst->target_count)) {
        uint32_t bounded = ptx_print_temp(p, 32);
        if (!ptx_say(p, "min.u32 #, #, #",
                     PTX_PIECES(PTX_R(bounded), PTX_R(index.reg), PTX_N(inst->target_count - 1))))
            return false;
        index.reg = bounded;
    }
    uint32_t table = p->tables++;
    if (!tw_buf_printf(&p->body, "$T%u: .branchtargets ", table))
        return ptx_print_full(p);
    for (unsigned i = 0; i < inst->target_count; i++)
        if (!ptx_put(p, i ? ", " : "") || !label(p, inst->targets[i]))
            return false;
    return ptx_put(p, ";\n") &&
           ptx_say(p, inst->mods & TW_KIR_UNIFORM ? "brx.idx.uni #, $T#" : "brx.idx #, $T#",
                   PTX_PIECES(PTX_R(index.reg), PTX_N(table)));
}

static bool terminator(struct ptx_printer *p, const struct tw_kir_block *block, uint32_t next) {
    if (!ptx_print_copies_end(p))
        return false;
    switch ((int)p->inst->op) {
    case TW_KIR_BR:
        return falls_to(p->inst, next) == 0 || branch(p, NULL, p->inst->targets[0]);
    case TW_KIR_BRC:
        return conditional(p, next);
    case TW_KIR_BRX:
        return indexed(p, block);
    case TW_KIR_EXIT:
        return ptx_say(p, "exit", PTX_PIECES());
    default:
        return ptx_say(p, "ret", PTX_PIECES());
    }
}

static bool blocks(struct ptx_printer *p) {
    for (uint32_t b = 0; b < p->function->block_count; b++) {
        const struct tw_kir_block *block = &p->function->blocks[b];
        if (!p->labels[b])
            continue;
        if (p->labels[b] > REACHED && (!label(p, b) || !ptx_put(p, ":\n")))
            return false;
        p->carry = TW_KIR_NO_REG;
        for (uint32_t i = 0; i < block->count; i++) {
            p->inst = &block->insts[i];
            bool last = i + 1 == block->count;
            if (!(last ? terminator(p, block, after(p, b)) : ptx_print_inst(p)))
                return false;
            ptx_carry_follow(p);
        }
    }
    p->inst = NULL;
    return true;
}

// ---- the header ----

static bool put_out(struct ptx_printer *p, const char *text) {
    return tw_buf_append_str(p->out, tw_str_from(text)) || ptx_print_full(p);
}

// Types that parameters and registers may have: floats of 16 bits and pairs are bits.
static const char *declared_type(uint8_t type) {
    if (tw_kir_type_is_float(type) && type != TW_KIR_F32 && type != TW_KIR_F64)
        type = tw_kir_bits_type(tw_kir_type_bits(type));
    return tw_kir_type_name(type);
}

static bool kernel_param(struct ptx_printer *p, uint32_t index) {
    const struct tw_kir_param *param = &p->function->params[index];
    const char *name = p->param_names[p->index][index];
    bool good;
    if (param->type == TW_KIR_B8)
        good = tw_buf_printf(p->out, "\t.param .align %u .b8 %s[%u]", param->align, name, param->size);
    else if (param->align != param->size)
        good = tw_buf_printf(p->out, "\t.param .align %u .%s %s", param->align,
                             declared_type((uint8_t)param->type), name);
    else
        good = tw_buf_printf(p->out, "\t.param .%s %s%s", declared_type((uint8_t)param->type),
                             param->is_pointer ? ".ptr .align 1 " : "", name);
    return good || ptx_print_full(p);
}

static bool entry_header(struct ptx_printer *p) {
    const struct tw_kir_function *function = p->function;
    const uint32_t *required = function->required_block, *max = function->max_block;
    if (!tw_buf_printf(p->out, "\n.visible .entry %s(", p->function_names[p->index]))
        return ptx_print_full(p);
    for (uint32_t i = 0; i < function->param_count; i++)
        if (!put_out(p, i ? ",\n" : "\n") || !kernel_param(p, i))
            return false;
    if (p->options->fence &&
        !put_out(p, function->param_count ? ",\n\t.param .u64 tw_base,\n\t.param .u64 tw_mask"
                                          : "\n\t.param .u64 tw_base,\n\t.param .u64 tw_mask"))
        return false;
    if (!put_out(p, "\n)\n"))
        return false;
    if (required[0] && !tw_buf_printf(p->out, ".reqntid %u, %u, %u\n", required[0], required[1], required[2]))
        return ptx_print_full(p);
    if (max[0] && !tw_buf_printf(p->out, ".maxntid %u, %u, %u\n", max[0], max[1], max[2]))
        return ptx_print_full(p);
    return true;
}

// Formals of device functions are registers; they are named before the body is.
static bool formals(struct ptx_printer *p, const struct tw_kir_param *params, uint32_t count) {
    if (!put_out(p, "("))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        unsigned bits = p->function->regs[params[i].reg].bits;
        const char *type = tw_kir_type_bits(params[i].type) == bits
                               ? declared_type((uint8_t)params[i].type)
                               : tw_kir_type_name(tw_kir_bits_type(bits));
        size_t before = p->body.len;
        if (!tw_buf_printf(p->out, "%s.reg .%s ", i ? ", " : "", type) || !ptx_put_reg(p, params[i].reg) ||
            !tw_buf_append(p->out, p->body.data + before, p->body.len - before))
            return ptx_print_full(p);
    }
    return put_out(p, ")");
}

static bool device_header(struct ptx_printer *p) {
    const struct tw_kir_function *function = p->function;
    if (!put_out(p, "\n.func "))
        return false;
    for (uint32_t i = 0; i < function->result_count; i++)
        if (function->results[i].type == TW_KIR_B8)
            return ptx_print_fail(p, "%.80s gives back a structure; inline the module before",
                                  function->name);
    if (function->result_count && !(formals(p, function->results, function->result_count) && put_out(p, " ")))
        return false;
    return put_out(p, p->function_names[p->index]) && put_out(p, " ") &&
           formals(p, function->params, function->param_count);
}

// Formals were declared in the header; the other registers are ranges, in which a formal's number stays
// unused.
static bool registers(struct ptx_printer *p) {
    static const char *const declarations[PTX_CLASSES] = {".pred %p", ".b8 %c",   ".b16 %h",
                                                          ".b32 %r",  ".b64 %rd", ".b128 %q"};
    for (unsigned i = 0; i < PTX_CLASSES; i++)
        if (p->counts[i] && !tw_buf_printf(p->out, "\t.reg %s<%u>;\n", declarations[i], p->counts[i]))
            return ptx_print_full(p);
    return true;
}

// Shared and local variables whose address is taken in a block that is printed.
static bool variables(struct ptx_printer *p) {
    bool *used = TW_ARENA_ARRAY(&p->arena, bool, p->module->variable_count + 1);
    if (!used)
        return ptx_print_full(p);
    for (uint32_t b = 0; b < p->function->block_count; b++)
        for (uint32_t i = 0; p->labels[b] && i < p->function->blocks[b].count; i++)
            if (p->function->blocks[b].insts[i].op == TW_KIR_ADDR)
                used[p->function->blocks[b].insts[i].index] = true;
    for (uint32_t i = 0; i < p->module->variable_count; i++)
        if (used[i] && p->module->variables[i].function == p->index &&
            !(ptx_put(p, "\t") && ptx_variable_text(p, i)))
            return false;
    return true;
}

static bool fence_registers(struct ptx_printer *p) {
    if (!p->options->fence)
        return true;
    p->base = ptx_print_temp(p, 64);
    p->mask = ptx_print_temp(p, 64);
    return ptx_say(p, "ld.param.u64 #, [tw_base]", PTX_PIECES(PTX_R(p->base))) &&
           ptx_say(p, "ld.param.u64 #, [tw_mask]", PTX_PIECES(PTX_R(p->mask)));
}

static bool append_body(struct ptx_printer *p) {
    return tw_buf_append_str(p->out, tw_buf_str(&p->body)) || ptx_print_full(p);
}

bool ptx_function_text(struct ptx_printer *p, bool declares) {
    p->inst = NULL;
    p->tables = 0;
    p->copies_pending = false;
    memset(p->counts, 0, sizeof p->counts);
    p->numbers = TW_ARENA_ARRAY(&p->arena, uint32_t, p->function->reg_count + 1);
    if (!p->numbers)
        return ptx_print_full(p);
    tw_buf_reset(&p->body);
    if (!(p->function->is_entry ? entry_header(p) : device_header(p)))
        return false;
    tw_buf_reset(&p->body);
    if (declares)
        return put_out(p, ";\n");
    if (p->options->fence && !p->function->is_entry)
        return ptx_print_fail(p, "%.80s is called; the fence needs the module inlined", p->function->name);
    if (!ptx_reach(p) || !number_labels(p) || !ptx_pointers(p) || !ptx_carries(p) || !fence_registers(p) ||
        !blocks(p))
        return false;
    // What is declared before the blocks, then the blocks.
    struct tw_buf text = p->body;
    tw_buf_init(&p->body, text.max);
    bool good =
        variables(p) && put_out(p, p->function->is_entry ? "{\n" : "\n{\n") && append_body(p) && registers(p);
    tw_buf_done(&p->body);
    p->body = text;
    return good && append_body(p) && put_out(p, "}\n");
}

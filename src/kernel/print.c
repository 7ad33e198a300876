// SPDX-License-Identifier: Apache-2.0
//
// The printed form of IR: what tests compare, `kernel dump --stage ir` shows and tw_kir_parse reads back
// without loss.
//
//     module ptx 78 sm 80
//     variable smem shared align 4 size 1024
//     entry saxpy params 24
//     param n u32 offset 0 size 4 align 4
//     regs b32 %r1 %r2
//     block $entry
//       %r1 = ldparam.u32 +0
//       @!%p1 st.global.f32.v2 [%rd1+8], %f1, %f2        ; 12:5
//       brc %p1 -> $L1, $L2
//     end
//
// Attributes stand in a fixed order and are left out where they have their default; see attributes() below.

#include "internal.h"

static bool put(struct tw_buf *out, const char *text) {
    return tw_buf_append_str(out, tw_str_from(text));
}

static bool dotted(struct tw_buf *out, struct kernel_names names, unsigned value) {
    if (value >= names.count)
        return tw_buf_printf(out, ".?%u", value);
    return !names.items[value] || tw_buf_printf(out, ".%s", names.items[value]);
}

static bool mode(struct tw_buf *out, const struct tw_kir_inst *inst) {
    struct kernel_names names = kernel_modes(inst->op);
    if (inst->mode < names.count)
        return dotted(out, names, inst->mode);
    return inst->mode == 0 || tw_buf_printf(out, ".mode%u", inst->mode);
}

// .type [.type2] [.space] [.round] [.cmp] [.combine [.with_not]] [.atom] [.order] [.scope] [.mode] [.vN]
// [.mods…]
static bool attributes(struct tw_buf *out, const struct tw_kir_inst *inst) {
    bool typed = inst->type || inst->type2 || inst->op < TW_KIR_FENCE; // control flow has no type
    bool good = !typed || tw_buf_printf(out, ".%s", tw_kir_type_name(inst->type));
    if (inst->type2)
        good = good && tw_buf_printf(out, ".%s", tw_kir_type_name(inst->type2));
    good = good && dotted(out, kernel_spaces, inst->space) && dotted(out, kernel_rounds, inst->round);
    if (inst->op == TW_KIR_SETP)
        good = good && dotted(out, kernel_cmps, inst->cmp);
    good = good && dotted(out, kernel_combines, inst->combine);
    if (inst->combine_not)
        good = good && put(out, ".with_not");
    if (inst->op == TW_KIR_ATOM)
        good = good && dotted(out, kernel_atoms, inst->atom);
    good = good && dotted(out, kernel_orders, inst->order) && dotted(out, kernel_scopes, inst->scope);
    good = good && mode(out, inst);
    if (inst->vec != 1)
        good = good && tw_buf_printf(out, ".v%u", inst->vec);
    for (unsigned bit = 0; bit < kernel_mods.count; bit++)
        if (inst->mods >> bit & 1)
            good = good && dotted(out, kernel_mods, bit);
    return good;
}

static bool reg(struct tw_buf *out, const struct tw_kir_function *function, uint32_t index) {
    if (index == TW_KIR_NO_REG)
        return put(out, "_");
    return index < function->reg_count ? put(out, function->regs[index].name)
                                       : tw_buf_printf(out, "?%u", index);
}

static bool operand(struct tw_buf *out, const struct tw_kir_function *function,
                    const struct tw_kir_operand *operand) {
    if (!operand->is_imm)
        return reg(out, function, operand->reg);
    return tw_buf_printf(out, operand->bits < 65'536 ? "%" PRIu64 : "0x%" PRIx64, operand->bits);
}

// Where the instruction names something beside registers: a special register, a variable, a function.
static bool index_name(struct tw_buf *out, const struct tw_kir_module *module,
                       const struct tw_kir_inst *inst) {
    if (inst->op == TW_KIR_SREG && inst->index < kernel_sregs.count)
        return tw_buf_printf(out, " %s", kernel_sregs.items[inst->index]);
    if (inst->op == TW_KIR_ADDR && inst->index < module->variable_count)
        return tw_buf_printf(out, " @%s", module->variables[inst->index].name);
    if (inst->op == TW_KIR_CALL && inst->index < module->function_count)
        return tw_buf_printf(out, " @%s", module->functions[inst->index].name);
    return inst->index == 0 || tw_buf_printf(out, " #%u", inst->index);
}

static bool sources(struct tw_buf *out, const struct tw_kir_function *function,
                    const struct tw_kir_inst *inst) {
    bool address = kernel_has_address(inst->op), good = true;
    if (!address && inst->offset)
        good = tw_buf_printf(out, " %+" PRId64, inst->offset);
    for (unsigned i = 0; good && i < inst->src_count; i++) {
        good = put(out, i ? ", " : address ? " [" : " ") && operand(out, function, &inst->src[i]);
        if (good && address && i == 0)
            good = (inst->offset == 0 || tw_buf_printf(out, "%+" PRId64, inst->offset)) && put(out, "]");
    }
    return good;
}

bool tw_kir_print_op(const struct tw_kir_inst *inst, struct tw_buf *out) {
    return put(out, tw_kir_op_name(inst->op)) && attributes(out, inst);
}

static bool instruction(struct tw_buf *out, const struct tw_kir_module *module,
                        const struct tw_kir_function *function, const struct tw_kir_inst *inst) {
    bool good = put(out, "  ");
    if (inst->guard != TW_KIR_NO_REG)
        good = good && put(out, inst->guard_not ? "@!" : "@") && reg(out, function, inst->guard) &&
               put(out, " ");
    for (unsigned i = 0; good && i < inst->dst_count; i++)
        good = reg(out, function, inst->dst[i]) && put(out, i + 1 < inst->dst_count ? ", " : " = ");
    good =
        good && tw_kir_print_op(inst, out) && index_name(out, module, inst) && sources(out, function, inst);
    for (unsigned i = 0; good && i < inst->target_count; i++) {
        uint32_t target = inst->targets[i];
        const char *label = target < function->block_count ? function->blocks[target].label : "?";
        good = put(out, i ? ", " : " -> ") && put(out, label);
    }
    if (inst->line)
        good = good && tw_buf_printf(out, "  ; %u:%u", inst->line, inst->column);
    return good && put(out, "\n");
}

static bool registers(struct tw_buf *out, const struct tw_kir_function *function) {
    bool good = true;
    unsigned bits = 0;
    for (uint32_t i = 0; good && i < function->reg_count; i++) {
        if (function->regs[i].bits != bits) {
            bits = function->regs[i].bits;
            good = tw_buf_printf(out, i ? "\nregs b%u" : "regs b%u", bits);
        }
        good = good && tw_buf_printf(out, " %s", function->regs[i].name);
    }
    return good && (function->reg_count == 0 || put(out, "\n"));
}

static bool parameters(struct tw_buf *out, const struct tw_kir_function *function, const char *word,
                       const struct tw_kir_param *params, uint32_t count) {
    bool good = true;
    for (uint32_t i = 0; good && i < count; i++) {
        const struct tw_kir_param *param = &params[i];
        good = tw_buf_printf(out, "%s %s %s offset %u size %u align %u", word, param->name,
                             tw_kir_type_name(param->type), param->offset, param->size, param->align);
        if (param->is_pointer)
            good = good && put(out, " pointer");
        if (param->reg != TW_KIR_NO_REG)
            good = good && put(out, " in ") && reg(out, function, param->reg);
        good = good && put(out, "\n");
    }
    return good;
}

static bool function_text(struct tw_buf *out, const struct tw_kir_module *module,
                          const struct tw_kir_function *function) {
    const uint32_t *required = function->required_block, *max = function->max_block;
    bool declared = function->is_declaration && !function->refusal;
    const char *word = declared ? "declare" : function->is_entry ? "entry" : "function";
    bool good = tw_buf_printf(out, "%s %s params %u", word, function->name, function->param_bytes);
    if (required[0])
        good = good && tw_buf_printf(out, " required %u %u %u", required[0], required[1], required[2]);
    if (max[0])
        good = good && tw_buf_printf(out, " max %u %u %u", max[0], max[1], max[2]);
    if (function->refusal)
        good = good && tw_buf_printf(out, " refused %s", function->refusal);
    good = good && put(out, "\n") && registers(out, function) &&
           parameters(out, function, "result", function->results, function->result_count) &&
           parameters(out, function, "param", function->params, function->param_count);
    for (uint32_t b = 0; good && b < function->block_count; b++) {
        const struct tw_kir_block *block = &function->blocks[b];
        good = tw_buf_printf(out, "block %s\n", block->label);
        for (uint32_t i = 0; good && i < block->count; i++)
            good = instruction(out, module, function, &block->insts[i]);
    }
    return good && put(out, "end\n");
}

static bool initial_bytes(struct tw_buf *out, const struct tw_kir_variable *variable) {
    static const char digits[] = "0123456789abcdef";
    if (!put(out, " init "))
        return false;
    uint8_t *text = tw_buf_reserve(out, variable->size * 2);
    if (!text)
        return false;
    for (uint64_t i = 0; i < variable->size; i++) {
        text[2 * i] = (uint8_t)digits[variable->init[i] >> 4];
        text[2 * i + 1] = (uint8_t)digits[variable->init[i] & 15];
    }
    tw_buf_commit(out, variable->size * 2);
    return true;
}

static bool variable_text(struct tw_buf *out, const struct tw_kir_module *module,
                          const struct tw_kir_variable *variable) {
    bool good = tw_buf_printf(out, "variable %s %s align %u size %" PRIu64, variable->name,
                              kernel_spaces.items[variable->space], variable->align, variable->size);
    if (variable->function != TW_KIR_NO_REG)
        good = good && tw_buf_printf(out, " of %s", module->functions[variable->function].name);
    if (variable->init)
        good = good && initial_bytes(out, variable);
    for (uint32_t i = 0; good && i < variable->reloc_count; i++)
        good =
            tw_buf_printf(out, " address %" PRIu64 " %s %+" PRId64, variable->relocs[i].at,
                          module->variables[variable->relocs[i].variable].name, variable->relocs[i].addend);
    return good && put(out, "\n");
}

bool tw_kir_print(const struct tw_kir_module *module, struct tw_buf *out, struct tw_error *err) {
    bool good = tw_buf_printf(out, "module ptx %u sm %u\n", module->ptx_version, module->sm);
    for (uint32_t i = 0; good && i < module->variable_count; i++)
        good = variable_text(out, module, &module->variables[i]);
    for (uint32_t i = 0; good && i < module->function_count; i++)
        good = function_text(out, module, &module->functions[i]);
    return good || tw_fail(err, TW_ERR_CUDA_QUOTA,
                           "the printed kernel is larger than the %zu bytes of its buffer", out->max);
}

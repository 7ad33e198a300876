// SPDX-License-Identifier: Apache-2.0
//
// The rules that every pass and back end may rely on: each block ends in its only terminator, indices are in
// range, counts fit the table, each register is exactly as wide as the instruction reads or writes it, kernel
// parameters are read inside their block. It does not look at meaning (registers may be read before they are
// written: PTX leaves their value undefined).

#include "internal.h"

#include <stdarg.h>

// Confined: one check of a module.
struct verifier {
    const struct tw_kir_module *module;
    const struct tw_kir_function *function;
    const struct tw_kir_block *block;
    const struct tw_kir_inst *inst;
    uint32_t position;
    struct tw_error *err;
};

[[gnu::format(printf, 2, 3)]] static bool wrong(const struct verifier *v, const char *format, ...) {
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (v->inst && v->inst->line)
        return tw_fail(v->err, TW_ERR_CUDA_MALFORMED_PTX, "line %u, column %u: '%s' %s", v->inst->line,
                       v->inst->column, tw_kir_op_name(v->inst->op), text);
    if (v->inst)
        return tw_fail(v->err, TW_ERR_CUDA_MALFORMED_PTX,
                       "function %.60s, block %.40s, instruction %u '%s': %s", v->function->name,
                       v->block->label, v->position, tw_kir_op_name(v->inst->op), text);
    if (v->function)
        return tw_fail(v->err, TW_ERR_CUDA_MALFORMED_PTX, "function %.60s: %s", v->function->name, text);
    return tw_fail(v->err, TW_ERR_CUDA_MALFORMED_PTX, "%s", text);
}

static bool check_reg(const struct verifier *v, uint32_t reg, unsigned bits, const char *what) {
    if (reg >= v->function->reg_count)
        return wrong(v, "names register %u, the function has %u", reg, v->function->reg_count);
    const struct tw_kir_reg *found = &v->function->regs[reg];
    if (bits && found->bits != bits)
        return wrong(v, "needs %u bits as its %s, register %.40s has %u", bits, what, found->name,
                     found->bits);
    return true;
}

static bool check_registers(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    if (inst->guard != TW_KIR_NO_REG && !check_reg(v, inst->guard, 1, "guard"))
        return false;
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (inst->dst[i] != TW_KIR_NO_REG && !check_reg(v, inst->dst[i], kernel_dst_bits(inst, i), "result"))
            return false;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm && !check_reg(v, inst->src[i].reg, kernel_src_bits(inst, i), "source"))
            return false;
    return true;
}

static bool check_counts(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    unsigned dsts = kernel_op_dsts(inst->op), srcs = kernel_op_srcs(inst->op);
    bool variadic = (tw_kir_op_flags(inst->op) & TW_KIR_VARIADIC) != 0;
    if (variadic ? inst->dst_count > dsts : inst->dst_count != dsts)
        return wrong(v, "has %u results, it takes %u", inst->dst_count, dsts);
    if (variadic ? inst->src_count > srcs : inst->src_count != srcs)
        return wrong(v, "has %u sources, it takes %u", inst->src_count, srcs);
    if (inst->vec != 1 && inst->vec != 2 && inst->vec != 4 && inst->vec != 8 && inst->vec != 16)
        return wrong(v, "has vectors of %u elements; 1, 2, 4 or 8 are possible", inst->vec);
    return true;
}

// The least counts of the variadic operations, and what their other fields must say.
static bool check_memory(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    uint64_t bytes = (uint64_t)inst->vec * ((tw_kir_type_bits(inst->type) + 7) / 8);
    switch ((int)inst->op) {
    case TW_KIR_LD:
        if (inst->dst_count != inst->vec || inst->src_count != 1)
            return wrong(v, "has %u results for %u elements", inst->dst_count, inst->vec);
        break;
    case TW_KIR_ST:
        if (inst->src_count != inst->vec + 1u)
            return wrong(v, "has %u sources for an address and %u elements", inst->src_count, inst->vec);
        break;
    case TW_KIR_LDPARAM:
        if (inst->dst_count != inst->vec)
            return wrong(v, "has %u results for %u elements", inst->dst_count, inst->vec);
        if (inst->offset < 0 || (uint64_t)inst->offset + bytes > v->function->param_bytes)
            return wrong(v, "reads bytes %" PRId64 " to %" PRId64 " of %u parameter bytes", inst->offset,
                         inst->offset + (int64_t)bytes, v->function->param_bytes);
        break;
    case TW_KIR_ATOM:
        if (inst->atom > TW_KIR_ATOM_DEC || inst->src_count != (inst->atom == TW_KIR_ATOM_CAS ? 3 : 2))
            return wrong(v, "has %u sources, which its operation does not take", inst->src_count);
        break;
    case TW_KIR_CPASYNC:
        if (inst->src_count < 2 || (inst->vec != 4 && inst->vec != 8 && inst->vec != 16))
            return wrong(v, "copies %u bytes from %u addresses; 4, 8 or 16 bytes are possible", inst->vec,
                         inst->src_count);
        break;
    default: // not one of the operations checked here
        break;
    }
    return true;
}

// The highest inst->mode of operations that have modes.
static unsigned modes(const struct tw_kir_inst *inst) {
    switch ((int)inst->op) {
    case TW_KIR_PRMT:
        return TW_KIR_PRMT_RC16;
    case TW_KIR_TESTP:
        return TW_KIR_TESTP_SUBNORMAL;
    case TW_KIR_SHFL:
        return TW_KIR_SHFL_IDX;
    case TW_KIR_VOTE:
        return TW_KIR_VOTE_BALLOT;
    case TW_KIR_REDUX:
    case TW_KIR_BARRED:
        return TW_KIR_RED_POPC;
    case TW_KIR_MATCH:
        return 1;
    case TW_KIR_MBARRIER:
        return TW_KIR_MBARRIER_PENDING;
    default: // no modes, or its own business
        return UINT8_MAX;
    }
}

static bool check_threads(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    switch ((int)inst->op) {
    case TW_KIR_BAR:
    case TW_KIR_BARRED:
        if (inst->src_count < (inst->op == TW_KIR_BAR ? 1 : 2))
            return wrong(v, "names no barrier");
        break;
    case TW_KIR_MATCH:
    case TW_KIR_ELECT:
        if (inst->dst_count < 1 || inst->src_count != (inst->op == TW_KIR_MATCH ? 2 : 1))
            return wrong(v, "has %u results and %u sources", inst->dst_count, inst->src_count);
        break;
    case TW_KIR_MBARRIER:
        if (inst->dst_count != (inst->mode >= TW_KIR_MBARRIER_ARRIVE) ||
            inst->src_count !=
                (inst->mode == TW_KIR_MBARRIER_INVAL || inst->mode == TW_KIR_MBARRIER_PENDING ? 1 : 2))
            return wrong(v, "has %u results and %u sources", inst->dst_count, inst->src_count);
        break;
    case TW_KIR_LDMATRIX:
        if (inst->dst_count != 1 && inst->dst_count != 2 && inst->dst_count != 4)
            return wrong(v, "loads %u matrices; 1, 2 or 4 are possible", inst->dst_count);
        if (inst->src_count != 1)
            return wrong(v, "has no address");
        break;
    default: // not one of the operations checked here
        break;
    }
    return inst->mode <= modes(inst) || wrong(v, "has an unknown mode %u", inst->mode);
}

static bool check_lists(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    unsigned bits = tw_kir_type_bits(inst->type);
    switch ((int)inst->op) {
    case TW_KIR_PACK:
        if (inst->src_count < 2 || bits % inst->src_count)
            return wrong(v, "cannot make %u bits of %u parts", bits, inst->src_count);
        break;
    case TW_KIR_UNPACK:
        if (inst->src_count != 1 || inst->dst_count < 2 || bits % inst->dst_count)
            return wrong(v, "cannot cut %u bits into %u parts", bits, inst->dst_count);
        break;
    case TW_KIR_SETP:
        if (inst->cmp > TW_KIR_NAN || inst->combine > TW_KIR_COMBINE_XOR || inst->dst_count < 1 ||
            inst->src_count != (inst->combine ? 3 : 2))
            return wrong(v, "has %u results and %u sources", inst->dst_count, inst->src_count);
        break;
    case TW_KIR_CVT:
        if (inst->dst_count != 1 || inst->src_count < 1 || inst->type == TW_KIR_PRED ||
            inst->type2 == TW_KIR_PRED)
            return wrong(v, "has %u sources, or a predicate as its type", inst->src_count);
        break;
    case TW_KIR_SHFL:
        if (inst->dst_count < 1 || inst->src_count != 4 || bits != 32)
            return wrong(v, "has %u sources of %u bits; 4 of 32 are possible", inst->src_count, bits);
        break;
    default: // the others are below, or have fixed lists
        break;
    }
    return check_memory(v) && check_threads(v);
}

static unsigned formal_bits(const struct tw_kir_function *callee, const struct tw_kir_param *formal) {
    return formal->reg < callee->reg_count ? callee->regs[formal->reg].bits : 0;
}

static bool check_call(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    if (inst->guard != TW_KIR_NO_REG)
        return wrong(v, "carries a guard; branch around the call");
    if (inst->index >= v->module->function_count)
        return wrong(v, "calls function %u of %u", inst->index, v->module->function_count);
    const struct tw_kir_function *callee = &v->module->functions[inst->index];
    if (callee->is_entry || callee->is_declaration)
        return wrong(v, "calls %.60s, which is %s", callee->name,
                     callee->is_entry ? "a kernel" : "only declared");
    if (inst->src_count != callee->param_count || inst->dst_count != callee->result_count)
        return wrong(v, "passes %u and takes %u values, %.60s has %u parameters and %u results",
                     inst->src_count, inst->dst_count, callee->name, callee->param_count,
                     callee->result_count);
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm &&
            !check_reg(v, inst->src[i].reg, formal_bits(callee, &callee->params[i]), "argument"))
            return false;
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (inst->dst[i] != TW_KIR_NO_REG &&
            !check_reg(v, inst->dst[i], formal_bits(callee, &callee->results[i]), "result"))
            return false;
    return true;
}

static bool check_matrix(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    struct tw_kir_matrix m;
    if (!tw_kir_matrix_of(inst, &m))
        return wrong(v, "is a matrix product that does not exist");
    if (inst->dst_count != m.c || inst->src_count != m.a + m.b + m.c + m.e)
        return wrong(v, "has %u results and %u sources, it takes %u and %u", inst->dst_count, inst->src_count,
                     m.c, m.a + m.b + m.c + m.e);
    if (m.e && (inst->offset < 0 || inst->offset >= 4 / (int64_t)m.index_lanes))
        return wrong(v, "selects indices %" PRId64 " of %u", inst->offset, 4 / m.index_lanes);
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (inst->dst[i] != TW_KIR_NO_REG && !check_reg(v, inst->dst[i], m.c_bits, "result"))
            return false;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm &&
            !check_reg(v, inst->src[i].reg, i < m.a + m.b ? m.in_bits : m.c_bits, "source"))
            return false;
    return true;
}

static bool check_targets(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    unsigned needed = inst->op == TW_KIR_BR ? 1 : inst->op == TW_KIR_BRC ? 2 : 0;
    if (inst->op == TW_KIR_BRX ? inst->target_count == 0 : inst->target_count != needed)
        return wrong(v, "has %u branch targets", inst->target_count);
    for (unsigned i = 0; i < inst->target_count; i++)
        if (inst->targets[i] >= v->function->block_count)
            return wrong(v, "branches to block %u of %u", inst->targets[i], v->function->block_count);
    return true;
}

static bool check_inst(const struct verifier *v) {
    const struct tw_kir_inst *inst = v->inst;
    if (inst->op >= TW_KIR_OP_COUNT || inst->type >= TW_KIR_TYPE_COUNT || inst->type2 >= TW_KIR_TYPE_COUNT)
        return wrong(v, "has an unknown operation or type");
    if (inst->space > TW_KIR_PARAM || inst->round > TW_KIR_RPI || inst->order > TW_KIR_SC ||
        inst->scope > TW_KIR_SYS)
        return wrong(v, "has an unknown space, rounding, order or scope");
    bool last = v->position + 1 == v->block->count;
    if (kernel_is_terminator(inst) != last)
        return last ? wrong(v, "ends its block, but is no terminator")
                    : wrong(v, "ends a block before its end");
    if (last && inst->guard != TW_KIR_NO_REG)
        return wrong(v, "carries a guard; terminators have none");
    if (!kernel_type_fits(inst->op, inst->type))
        return wrong(v, "does not take the type %s", tw_kir_type_name(inst->type));
    if (inst->op == TW_KIR_SREG && inst->index >= TW_KIR_SREG_COUNT)
        return wrong(v, "reads special register %u", inst->index);
    if (inst->op == TW_KIR_ADDR && inst->index >= v->module->variable_count)
        return wrong(v, "takes the address of variable %u of %u", inst->index, v->module->variable_count);
    if (!check_counts(v) || !check_lists(v) || !check_targets(v) || !check_registers(v))
        return false;
    if (inst->type2 >= TW_KIR_S4 && inst->op != TW_KIR_MMA)
        return wrong(v, "does not take the type %s", tw_kir_type_name(inst->type2));
    if (inst->op == TW_KIR_MMA)
        return check_matrix(v);
    return inst->op != TW_KIR_CALL || check_call(v);
}

static bool check_params(const struct verifier *v, const struct tw_kir_param *params, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!v->function->is_entry && !v->function->is_declaration && params[i].reg >= v->function->reg_count)
            return wrong(v, "parameter %.60s has no register", params[i].name);
        if (v->function->is_entry && (uint64_t)params[i].offset + params[i].size > v->function->param_bytes)
            return wrong(v, "parameter %.60s lies outside the parameter block", params[i].name);
    }
    return true;
}

static bool check_function(struct verifier *v, const struct tw_kir_function *function) {
    v->function = function;
    v->inst = NULL;
    if (function->is_declaration)
        return function->block_count == 0 || wrong(v, "is only declared, yet has a body");
    if (function->block_count == 0)
        return wrong(v, "has no body");
    if (function->is_entry && function->param_count > TW_KERNEL_PARAMS_MAX)
        return wrong(v, "has %u parameters, the limit is %d", function->param_count, TW_KERNEL_PARAMS_MAX);
    if (!check_params(v, function->params, function->param_count) ||
        !check_params(v, function->results, function->result_count))
        return false;
    for (uint32_t b = 0; b < function->block_count; b++) {
        v->block = &function->blocks[b];
        v->inst = NULL;
        if (v->block->count == 0)
            return wrong(v, "block %.60s is empty", v->block->label);
        for (v->position = 0; v->position < v->block->count; v->position++) {
            v->inst = &v->block->insts[v->position];
            if (!check_inst(v))
                return false;
        }
    }
    return true;
}

static bool check_variable(const struct verifier *v, const struct tw_kir_variable *variable) {
    if (variable->space < TW_KIR_GLOBAL || variable->space > TW_KIR_CONST)
        return wrong(v, "variable %.60s lies in no space that has variables", variable->name);
    if (variable->align == 0 || (variable->align & (variable->align - 1)) || variable->align > 4'096)
        return wrong(v, "variable %.60s has alignment %u; a power of two up to 4096 is possible",
                     variable->name, variable->align);
    if (variable->function != TW_KIR_NO_REG && variable->function >= v->module->function_count)
        return wrong(v, "variable %.60s belongs to function %u of %u", variable->name, variable->function,
                     v->module->function_count);
    for (uint32_t i = 0; i < variable->reloc_count; i++)
        if (!variable->init || variable->relocs[i].at > variable->size ||
            variable->size - variable->relocs[i].at < 8 ||
            variable->relocs[i].variable >= v->module->variable_count)
            return wrong(v, "variable %.60s has an address outside itself or of nothing", variable->name);
    return true;
}

bool tw_kir_verify(const struct tw_kir_module *module, struct tw_error *err) {
    struct verifier v = {.module = module, .err = err};
    for (uint32_t i = 0; i < module->variable_count; i++)
        if (!check_variable(&v, &module->variables[i]))
            return false;
    for (uint32_t i = 0; i < module->function_count; i++)
        if (!check_function(&v, &module->functions[i]))
            return false;
    return true;
}

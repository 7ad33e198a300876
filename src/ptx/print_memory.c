// SPDX-License-Identifier: Apache-2.0
//
// Loads, stores, atomic operations, copies into shared memory, fences; and the fence around global memory: an
// access that may reach memory of others goes to base + (address & mask). Where generic addresses of shared
// or local memory are about, such an address is told at run time (isspacep) and left alone: the device bounds
// it.

#include "print.h"

// ---- parameters ----

static bool list(struct ptx_printer *p, const uint32_t *regs, unsigned count) {
    if (count == 1)
        return ptx_put_reg(p, regs[0]);
    for (unsigned i = 0; i < count; i++)
        if (!ptx_put(p, i ? ", " : "{") || !ptx_put_reg(p, regs[i]))
            return false;
    return ptx_put(p, "}");
}

// Types of memory: floats of 16 bits and pairs are bits.
static const char *memory_type(uint8_t type) {
    bool small = tw_kir_type_is_float(type) && type != TW_KIR_F32 && type != TW_KIR_F64;
    return tw_kir_type_name(small ? tw_kir_bits_type(tw_kir_type_bits(type)) : type);
}

static bool vector_and_type(struct ptx_printer *p) {
    const struct tw_kir_inst *inst = p->inst;
    bool good = inst->vec == 1 ? tw_buf_printf(&p->body, ".%s ", memory_type(inst->type))
                               : tw_buf_printf(&p->body, ".v%u.%s ", inst->vec, memory_type(inst->type));
    return good || ptx_print_full(p);
}

bool ptx_print_ldparam(struct ptx_printer *p) {
    const struct tw_kir_inst *inst = p->inst;
    const struct tw_kir_function *function = p->function;
    uint32_t param = 0;
    if (function->param_count == 0)
        return ptx_print_fail(p, "the function has no parameters");
    while (param + 1 < function->param_count && function->params[param + 1].offset <= inst->offset)
        param++;
    int64_t offset = inst->offset - function->params[param].offset;
    if (!ptx_put_guard(p) || !ptx_put(p, "ld.param") || !vector_and_type(p) ||
        !list(p, inst->dst, inst->dst_count) || !ptx_put(p, ", [") ||
        !ptx_put(p, p->param_names[p->index][param]))
        return false;
    return (offset == 0 || tw_buf_printf(&p->body, "+%" PRId64, offset) || ptx_print_full(p)) &&
           ptx_put(p, "];\n");
}

// ---- where an access goes ----

struct target {
    struct tw_kir_operand address;
    int64_t offset;
    uint8_t space; // enum tw_kir_space
};

// The whole address in one register.
static bool sum(struct ptx_printer *p, struct target *t) {
    if (t->address.is_imm) {
        t->address.bits += (uint64_t)t->offset;
        t->offset = 0;
        return ptx_in_register(p, &t->address, TW_KIR_U64);
    }
    if (t->offset == 0)
        return true;
    uint32_t reg = ptx_print_temp(p, 64);
    if (!ptx_say(p, "add.s64 #, #, #", PTX_PIECES(PTX_R(reg), PTX_R(t->address.reg), PTX_N(t->offset))))
        return false;
    *t = (struct target){.address = tw_kir_reg_operand(reg), .space = t->space};
    return true;
}

// Inside the module variable that the address comes from; an address beyond it becomes its first byte.
static bool bound(struct ptx_printer *p, struct target *t, uint32_t index, uint64_t bytes) {
    const struct tw_kir_variable *variable = &p->module->variables[index];
    if (variable->size < bytes)
        return ptx_print_fail(p, "it accesses %" PRIu64 " bytes of variable %s, which has %" PRIu64, bytes,
                              variable->name, variable->size);
    if (!sum(p, t))
        return false;
    uint32_t start = ptx_print_temp(p, 64);
    if (!ptx_say(p, "mov.u64 #, #", PTX_PIECES(PTX_R(start), PTX_T(p->variable_names[index]))))
        return false;
    uint32_t offset = ptx_print_temp(p, 64), inside = ptx_print_temp(p, 1);
    if (!ptx_say(p, "sub.s64 #, #, #", PTX_PIECES(PTX_R(offset), PTX_R(t->address.reg), PTX_R(start))) ||
        !ptx_say(p, "setp.le.u64 #, #, #",
                 PTX_PIECES(PTX_R(inside), PTX_R(offset), PTX_N((int64_t)(variable->size - bytes)))))
        return false;
    uint32_t kept = ptx_print_temp(p, 64);
    if (!ptx_say(p, "selp.b64 #, #, 0, #", PTX_PIECES(PTX_R(kept), PTX_R(offset), PTX_R(inside))))
        return false;
    uint32_t reg = ptx_print_temp(p, 64);
    t->address = tw_kir_reg_operand(reg);
    t->space = TW_KIR_GLOBAL;
    return ptx_say(p, "add.s64 #, #, #", PTX_PIECES(PTX_R(reg), PTX_R(start), PTX_R(kept)));
}

// The address unless it lies in the shared, local or const window, where it stays.
static bool unless_window(struct ptx_printer *p, struct target *t, uint32_t given, uint32_t fenced) {
    static const char *const windows[] = {"shared", "local", "const"};
    uint32_t outside = fenced;
    for (size_t i = 0; i < TW_COUNT(windows); i++) {
        uint32_t is_there = ptx_print_temp(p, 1);
        if (!ptx_say(p, "isspacep.# #, #", PTX_PIECES(PTX_T(windows[i]), PTX_R(is_there), PTX_R(given))))
            return false;
        uint32_t chosen = ptx_print_temp(p, 64);
        if (!ptx_say(p, "selp.b64 #, #, #, #",
                     PTX_PIECES(PTX_R(chosen), PTX_R(given), PTX_R(outside), PTX_R(is_there))))
            return false;
        outside = chosen;
    }
    t->address = tw_kir_reg_operand(outside);
    return true;
}

static bool fence(struct ptx_printer *p, struct target *t) {
    if (!sum(p, t))
        return false;
    uint32_t given = t->address.reg, low = ptx_print_temp(p, 64);
    if (!ptx_say(p, "and.b64 #, #, #", PTX_PIECES(PTX_R(low), PTX_R(given), PTX_R(p->mask))))
        return false;
    uint32_t fenced = ptx_print_temp(p, 64);
    if (!ptx_say(p, "add.s64 #, #, #", PTX_PIECES(PTX_R(fenced), PTX_R(low), PTX_R(p->base))))
        return false;
    if (t->space == TW_KIR_GENERIC && p->generics_leave)
        return unless_window(p, t, given, fenced);
    t->address = tw_kir_reg_operand(fenced);
    t->space = TW_KIR_GLOBAL;
    return true;
}

// Settles space and address of an access of `bytes` at src[index].
static bool settle(struct ptx_printer *p, struct target *t, unsigned index, uint64_t bytes) {
    static const uint8_t spaces[] = {[PTX_HOME_SHARED] = TW_KIR_SHARED,
                                     [PTX_HOME_LOCAL] = TW_KIR_LOCAL,
                                     [PTX_HOME_CONST] = TW_KIR_CONST,
                                     [PTX_HOME_PARAM] = TW_KIR_PARAM};
    const struct ptx_pointer place = ptx_pointer_of(p, &p->inst->src[index]);
    bool definite = ptx_pointer_is_definite(place),
         reaches_all = t->space == TW_KIR_GENERIC || t->space == TW_KIR_GLOBAL;
    bool kept_generic = place.is_generic || t->address.reg != p->inst->src[index].reg;
    if (definite && t->space != TW_KIR_GENERIC && t->space != spaces[place.may])
        return ptx_print_fail(p, "it accesses another space with an address of %s memory",
                              ptx_home_name(place.may));
    if (definite && t->space == TW_KIR_GENERIC && !kept_generic)
        t->space = spaces[place.may];
    else if (p->options->fence && (place.may & PTX_HOME_GLOBAL)) {
        if (place.may != PTX_HOME_GLOBAL || place.variable == PTX_MANY || !reaches_all)
            return ptx_print_fail(
                p, "it cannot be told which module variable this address is of; the fence needs to know");
        return bound(p, t, place.variable, bytes);
    } else if (p->options->fence && reaches_all)
        return fence(p, t);
    if (t->address.is_imm) // literal addresses are for .local only
        return sum(p, t);
    return true;
}

static bool put_target(struct ptx_printer *p, const struct target *t) {
    if (!ptx_put(p, "[") || !ptx_put_value(p, t->address, TW_KIR_U64))
        return false;
    return (t->offset == 0 || tw_buf_printf(&p->body, "+%" PRId64, t->offset) || ptx_print_full(p)) &&
           ptx_put(p, "]");
}

// ---- ld, st ----

static const char *const spaces[] = {"", ".global", ".shared", ".local", ".const", ".param"};
static const char *const orders[] = {"", ".relaxed", ".acquire", ".release", ".acq_rel", ".sc"};
static const char *const scopes[] = {".cta", ".gpu", ".sys"};

// Memory that only this thread writes, or nobody, has no order.
static bool put_order(struct ptx_printer *p, uint8_t space) {
    const struct tw_kir_inst *inst = p->inst;
    if (space == TW_KIR_LOCAL || space == TW_KIR_CONST || space == TW_KIR_PARAM)
        return true;
    if (inst->mods & TW_KIR_VOLATILE)
        return ptx_put(p, ".volatile");
    return inst->order == TW_KIR_WEAK || (ptx_put(p, orders[inst->order]) && ptx_put(p, scopes[inst->scope]));
}

static bool load(struct ptx_printer *p, struct tw_kir_operand address) {
    const struct tw_kir_inst *inst = p->inst;
    struct target t = {.address = address, .offset = inst->offset, .space = inst->space};
    if (!settle(p, &t, 0, (uint64_t)inst->vec * tw_kir_type_bits(inst->type) / 8))
        return false;
    bool ordered = inst->order || (inst->mods & TW_KIR_VOLATILE);
    bool fixed = (inst->mods & TW_KIR_NONCOHERENT) && !ordered && !p->generics_leave &&
                 (t.space == TW_KIR_GLOBAL || t.space == TW_KIR_GENERIC);
    return ptx_put_guard(p) && ptx_put(p, "ld") && put_order(p, t.space) &&
           ptx_put(p, fixed ? ".global.nc" : spaces[t.space]) && vector_and_type(p) &&
           list(p, inst->dst, inst->dst_count) && ptx_put(p, ", ") && put_target(p, &t) && ptx_put(p, ";\n");
}

static bool store(struct ptx_printer *p, struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    struct target t = {.address = src[0], .offset = inst->offset, .space = inst->space};
    if (!settle(p, &t, 0, (uint64_t)inst->vec * tw_kir_type_bits(inst->type) / 8))
        return false;
    if (t.space == TW_KIR_CONST || t.space == TW_KIR_PARAM)
        return ptx_print_fail(p, "it writes memory that cannot be written");
    for (unsigned i = 1; i < inst->src_count; i++)
        if (tw_kir_type_bits(inst->type) == 128 && !ptx_in_register(p, &src[i], TW_KIR_B128))
            return false;
    if (!ptx_put_guard(p) || !ptx_put(p, "st") || !put_order(p, t.space) || !ptx_put(p, spaces[t.space]) ||
        !vector_and_type(p) || !put_target(p, &t) || !ptx_put(p, inst->vec > 1 ? ", {" : ", "))
        return false;
    for (unsigned i = 1; i < inst->src_count; i++)
        if (!ptx_put(p, i > 1 ? ", " : "") || !ptx_put_value(p, src[i], inst->type))
            return false;
    return ptx_put(p, inst->vec > 1 ? "};\n" : ";\n");
}

// ldmatrix reads shared memory, by an address that must be known to be one of it.
static bool load_matrices(struct ptx_printer *p, struct tw_kir_operand address) {
    const struct tw_kir_inst *inst = p->inst;
    struct target t = {.address = address, .offset = inst->offset, .space = inst->space};
    if (inst->space == TW_KIR_GENERIC && ptx_pointer_of(p, &inst->src[0]).may != PTX_HOME_SHARED)
        return ptx_print_fail(p, "it cannot be told whether its address is one of shared memory");
    t.space = TW_KIR_SHARED;
    if (!settle(p, &t, 0, 16) || !ptx_put_guard(p) || !ptx_put(p, "ldmatrix.sync.aligned.m8n8"))
        return false;
    if (!tw_buf_printf(&p->body, ".x%u%s.shared.b16 ", inst->dst_count,
                       inst->mods & TW_KIR_TRANS ? ".trans" : ""))
        return ptx_print_full(p);
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (!ptx_put(p, i ? ", " : "{") || !ptx_put_reg(p, inst->dst[i]))
            return false;
    return ptx_put(p, "}, ") && put_target(p, &t) && ptx_put(p, ";\n");
}

// ---- atom, red ----

static uint8_t atom_type(const struct tw_kir_inst *inst) {
    bool is_float = tw_kir_type_is_float(inst->type);
    switch ((enum tw_kir_atom)inst->atom) {
    case TW_KIR_ATOM_ADD:
        return inst->type == TW_KIR_S64 ? TW_KIR_U64 : inst->type;
    case TW_KIR_ATOM_AND:
    case TW_KIR_ATOM_OR:
    case TW_KIR_ATOM_XOR:
    case TW_KIR_ATOM_EXCH:
    case TW_KIR_ATOM_CAS:
        return tw_kir_bits_type(tw_kir_type_bits(inst->type));
    case TW_KIR_ATOM_MIN:
    case TW_KIR_ATOM_MAX:
    case TW_KIR_ATOM_INC:
    case TW_KIR_ATOM_DEC:
        break;
    }
    return inst->type >= TW_KIR_B8 && inst->type <= TW_KIR_B64 && !is_float
               ? ptx_integer_type(tw_kir_type_bits(inst->type), false)
               : inst->type;
}

static bool atomic(struct ptx_printer *p, struct tw_kir_operand *src) {
    static const char *const names[] = {".add", ".min",  ".max", ".and", ".or",
                                        ".xor", ".exch", ".cas", ".inc", ".dec"};
    const struct tw_kir_inst *inst = p->inst;
    struct target t = {.address = src[0], .offset = inst->offset, .space = inst->space};
    uint8_t type = atom_type(inst);
    bool small = tw_kir_type_is_float(type) && type != TW_KIR_F32 && type != TW_KIR_F64;
    bool swaps = inst->atom == TW_KIR_ATOM_EXCH || inst->atom == TW_KIR_ATOM_CAS;
    bool reduces = (inst->dst_count == 0 || inst->dst[0] == TW_KIR_NO_REG) && !swaps;
    if (!settle(p, &t, 0, tw_kir_type_bits(inst->type) / 8))
        return false;
    if (t.space != TW_KIR_GENERIC && t.space != TW_KIR_GLOBAL && t.space != TW_KIR_SHARED)
        return ptx_print_fail(p, "atomic operations reach global and shared memory only");
    for (unsigned i = 1; i < inst->src_count; i++)
        if (small && !ptx_in_register(p, &src[i], type))
            return false;
    bool plain = inst->order <= TW_KIR_RELAXED && inst->scope == TW_KIR_GPU;
    if (!ptx_put_guard(p) || !ptx_put(p, reduces ? "red" : "atom") ||
        (!plain &&
         !(ptx_put(p, inst->order ? orders[inst->order] : ".relaxed") && ptx_put(p, scopes[inst->scope]))) ||
        !ptx_put(p, spaces[t.space]) || !ptx_put(p, names[inst->atom]) ||
        (small && inst->atom == TW_KIR_ATOM_ADD && !ptx_put(p, ".noftz")) || !ptx_put(p, ".") ||
        !ptx_put(p, tw_kir_type_name(type)) || !ptx_put(p, " "))
        return false;
    if (!reduces && !(ptx_put_reg(p, inst->dst_count ? inst->dst[0] : TW_KIR_NO_REG) && ptx_put(p, ", ")))
        return false;
    if (!put_target(p, &t))
        return false;
    for (unsigned i = 1; i < inst->src_count; i++)
        if (!ptx_put(p, ", ") || !ptx_put_value(p, src[i], type))
            return false;
    return ptx_put(p, ";\n");
}

// ---- cp.async: in the IR the copy is done at once; here it is before the next statement that could see it ----

bool ptx_print_copies_end(struct ptx_printer *p) {
    if (!p->copies_pending)
        return true;
    p->copies_pending = false;
    return ptx_say(p, "cp.async.wait_all", PTX_PIECES());
}

static bool copy(struct ptx_printer *p, const struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    struct target to = {.address = src[0], .space = TW_KIR_SHARED},
                  from = {.address = src[1], .space = TW_KIR_GLOBAL};
    if (!settle(p, &to, 0, inst->vec) || !settle(p, &from, 1, inst->vec) || !ptx_put_guard(p) ||
        !ptx_put(p, "cp.async.ca.shared.global ") || !put_target(p, &to) || !ptx_put(p, ", ") ||
        !put_target(p, &from))
        return false;
    if (!tw_buf_printf(&p->body, ", %u", inst->vec))
        return ptx_print_full(p);
    p->copies_pending = true;
    return (inst->src_count < 3 || (ptx_put(p, ", ") && ptx_put_value(p, src[2], TW_KIR_U32))) &&
           ptx_put(p, ";\n");
}

// ---- mbarrier ----

static bool pending_count(struct ptx_printer *p, struct tw_kir_operand state) {
    return ptx_in_register(p, &state, TW_KIR_B64) &&
           ptx_say_guarded(p, "mbarrier.pending_count.b64 #, #",
                           PTX_PIECES(PTX_R(p->inst->dst[0]), PTX_R(state.reg)));
}

// Objects lie in shared memory, by an address that a fence must know to be one of it.
static bool barrier_object(struct ptx_printer *p, struct tw_kir_operand *src) {
    static const char *const names[] = {"init",        "inval",
                                        "arrive",      "arrive.noComplete",
                                        "arrive_drop", "arrive_drop.noComplete",
                                        "test_wait",   "test_wait.parity"};
    const struct tw_kir_inst *inst = p->inst;
    if (inst->mode == TW_KIR_MBARRIER_PENDING)
        return pending_count(p, src[0]);
    struct target t = {.address = src[0], .offset = inst->offset, .space = inst->space};
    bool is_shared = t.space == TW_KIR_SHARED || ptx_pointer_of(p, &inst->src[0]).may == PTX_HOME_SHARED;
    if (p->options->fence && !is_shared)
        return ptx_print_fail(p, "it cannot be told whether its address is one of shared memory");
    if (is_shared)
        t.space = TW_KIR_SHARED;
    if (!settle(p, &t, 0, 8))
        return false;
    bool arrives = inst->mode >= TW_KIR_MBARRIER_ARRIVE && inst->mode <= TW_KIR_MBARRIER_DROP_STAYING;
    bool alone = arrives && src[1].is_imm && src[1].bits == 1 &&
                 inst->mode != TW_KIR_MBARRIER_ARRIVE_STAYING && inst->mode != TW_KIR_MBARRIER_DROP_STAYING;
    if (inst->mode == TW_KIR_MBARRIER_TEST && !ptx_in_register(p, &src[1], TW_KIR_B64))
        return false;
    uint32_t result = inst->dst_count ? inst->dst[0] : TW_KIR_NO_REG;
    if (inst->dst_count && result == TW_KIR_NO_REG)
        result = ptx_print_temp(p, arrives ? 64 : 1);
    if (!ptx_put_guard(p) || !ptx_put(p, "mbarrier.") || !ptx_put(p, names[inst->mode]) ||
        !ptx_put(p, spaces[t.space]) || !ptx_put(p, ".b64 ") ||
        (inst->dst_count && !(ptx_put_reg(p, result) && ptx_put(p, ", "))) || !put_target(p, &t))
        return false;
    uint8_t type = inst->mode == TW_KIR_MBARRIER_TEST ? TW_KIR_B64 : TW_KIR_U32;
    return (inst->src_count < 2 || alone || (ptx_put(p, ", ") && ptx_put_value(p, src[1], type))) &&
           ptx_put(p, ";\n");
}

// ---- the others ----

static bool memory_fence(struct ptx_printer *p) {
    bool sc =
        p->inst->order == TW_KIR_SC; // acquire and release alone are for sm_90: the stronger one is for all
    return ptx_say_guarded(p, "fence##",
                           PTX_PIECES(PTX_T(sc ? ".sc" : ".acq_rel"), PTX_T(scopes[p->inst->scope])));
}

static bool is_space(struct ptx_printer *p, struct tw_kir_operand address) {
    if (p->inst->space == TW_KIR_GENERIC)
        return ptx_print_fail(p, "it asks about no space");
    return ptx_in_register(p, &address, TW_KIR_U64) &&
           ptx_say_guarded(
               p, "isspacep# #, #",
               PTX_PIECES(PTX_T(spaces[p->inst->space]), PTX_R(p->inst->dst[0]), PTX_R(address.reg)));
}

bool ptx_print_memory(struct ptx_printer *p, const struct tw_kir_operand *given) {
    struct tw_kir_operand src[PTX_MAX_ELEMENTS + 1];
    memcpy(src, given, p->inst->src_count * sizeof *src);
    switch ((int)p->inst->op) {
    case TW_KIR_LD:
        return load(p, src[0]);
    case TW_KIR_LDMATRIX:
        return load_matrices(p, src[0]);
    case TW_KIR_ST:
        return store(p, src);
    case TW_KIR_ATOM:
        return atomic(p, src);
    case TW_KIR_CPASYNC:
        return copy(p, src);
    case TW_KIR_MBARRIER:
        return barrier_object(p, src);
    case TW_KIR_FENCE:
        return memory_fence(p);
    default:
        return is_space(p, src[0]);
    }
}

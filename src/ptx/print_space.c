// SPDX-License-Identifier: Apache-2.0
//
// Which registers hold addresses of shared, local, const or parameter memory. The IR has one number for an
// address; PTX has two: the address in its space, which ld.shared wants, and the generic one, which ld and a
// pointer kept in memory want. `cvta` turns the first into the second; the parser dropped it, here it is put
// back.
//
// `may` goes forward from ADDR and PARAMADDR through moves, sums and the like, `uses` backward from accesses.
// A register of one home holds addresses of its space, unless it only leaves (is stored, passed, compared); a
// register of several holds generic ones. Generic accesses of one home are printed as accesses of its space.
// What cannot be told is refused when its instruction is printed.

#include "print.h"

const char *ptx_home_name(uint8_t may) {
    return may & PTX_HOME_SHARED  ? "shared"
           : may & PTX_HOME_LOCAL ? "local"
           : may & PTX_HOME_CONST ? "const"
                                  : "param";
}

bool ptx_pointer_is_definite(struct ptx_pointer place) {
    return place.may == PTX_HOME_SHARED || place.may == PTX_HOME_LOCAL || place.may == PTX_HOME_CONST ||
           place.may == PTX_HOME_PARAM;
}

struct ptx_pointer ptx_pointer_of(const struct ptx_printer *p, const struct tw_kir_operand *value) {
    bool known = p->pointers && !value->is_imm && value->reg < p->function->reg_count;
    return known ? p->pointers[value->reg]
                 : (struct ptx_pointer){.may = PTX_HOME_PLAIN, .variable = TW_KIR_NO_REG};
}

static bool is_far(const struct ptx_pointer *place) { // holds, perhaps, an address that is not plain
    return (place->may & (PTX_HOME_SPECIAL | PTX_HOME_GLOBAL)) != 0;
}

// ---- what each operation does to addresses ----

// Masks that align an address leave an address, masks that take its low bits a number.
static bool takes_low_bits(const struct tw_kir_operand *mask, unsigned bits) {
    return mask->is_imm && (mask->bits >> (bits - 1) & 1) == 0;
}

static bool is_integer(uint8_t type) {
    return !tw_kir_type_is_float(type) && tw_kir_type_bits(type) >= 32;
}

// Whether the result is source `index`, or it with a number added: an address where the source is one.
static bool passes(const struct ptx_printer *p, const struct tw_kir_inst *inst, unsigned index) {
    switch ((int)inst->op) {
    case TW_KIR_MOV:
        return true;
    case TW_KIR_CVT:
        return inst->src_count == 1 && is_integer(inst->type) && is_integer(inst->type2);
    case TW_KIR_SELECT:
        return index < 2;
    case TW_KIR_ADD:
    case TW_KIR_OR:
    case TW_KIR_XOR:
    case TW_KIR_MIN:
    case TW_KIR_MAX:
    case TW_KIR_LOP3:
        return is_integer(inst->type);
    case TW_KIR_AND:
        return is_integer(inst->type) && !takes_low_bits(&inst->src[!index], tw_kir_type_bits(inst->type));
    case TW_KIR_SUB: { // the difference of two addresses is a number
        struct ptx_pointer second = ptx_pointer_of(p, &inst->src[1]);
        return index == 0 && is_integer(inst->type) && !is_far(&second);
    }
    default:
        return false;
    }
}

// Either source is the result, rather than their sum.
static bool is_choice(uint8_t op) {
    return op == TW_KIR_MOV || op == TW_KIR_CVT || op == TW_KIR_SELECT || op == TW_KIR_MIN ||
           op == TW_KIR_MAX;
}

enum { EITHER = PTX_USE_NATIVE | PTX_USE_ACCESS };

// How source `index` is used, beside what `passes` says; 0: as a number.
static uint8_t use_of(const struct ptx_printer *p, const struct tw_kir_inst *inst, unsigned index) {
    bool native = inst->space == TW_KIR_SHARED || inst->space == TW_KIR_LOCAL ||
                  inst->space == TW_KIR_CONST || inst->space == TW_KIR_PARAM;
    struct ptx_pointer place = ptx_pointer_of(p, &inst->src[index]);
    switch ((int)inst->op) {
    case TW_KIR_LD:
    case TW_KIR_LDMATRIX:
    case TW_KIR_ST:
        return index ? PTX_USE_ESCAPE : native ? PTX_USE_NATIVE : PTX_USE_ACCESS;
    case TW_KIR_ATOM:
        if (index == 0 && !native && place.may != PTX_HOME_SHARED && place.may != PTX_HOME_GLOBAL)
            return PTX_USE_ESCAPE; // there is no atom.local
        return index ? PTX_USE_ESCAPE : native ? PTX_USE_NATIVE : PTX_USE_ACCESS;
    case TW_KIR_MBARRIER:
        if (inst->mode == TW_KIR_MBARRIER_PENDING)
            return 0;
        return index ? 0 : native ? PTX_USE_NATIVE : PTX_USE_ACCESS;
    case TW_KIR_CPASYNC:
        return index == 0 ? PTX_USE_NATIVE : index == 1 ? PTX_USE_ACCESS : 0;
    case TW_KIR_PRINTF:
    case TW_KIR_ISSPACE:
    case TW_KIR_MATCH:
    case TW_KIR_PACK:
    case TW_KIR_UNPACK:
        return PTX_USE_ESCAPE;
    case TW_KIR_CALL: // structures are passed by their address in local memory
        return p->module->functions[inst->index].params[index].type == TW_KIR_B8 ? PTX_USE_NATIVE
                                                                                 : PTX_USE_ESCAPE;
    case TW_KIR_SETP:
    case TW_KIR_SUB: { // compared with, or taken from, what is no address of the same space
        struct ptx_pointer other = ptx_pointer_of(p, &inst->src[index == 0]);
        bool pointers = tw_kir_type_bits(inst->type) == 64 && (inst->op == TW_KIR_SETP || is_far(&other));
        return index < 2 && pointers && !(other.may == place.may && ptx_pointer_is_definite(place))
                   ? PTX_USE_ESCAPE
                   : 0;
    }
    default:
        return 0;
    }
}

// ---- forward ----

static bool add_homes(struct ptx_pointer *to, uint8_t may, uint32_t variable) {
    struct ptx_pointer before = *to;
    to->may |= may;
    if (may & PTX_HOME_GLOBAL)
        to->variable =
            before.variable == TW_KIR_NO_REG || before.variable == variable ? variable : (uint32_t)PTX_MANY;
    return to->may != before.may || to->variable != before.variable;
}

static bool forward_address(struct ptx_printer *p, const struct tw_kir_inst *inst) {
    static const uint8_t homes[] = {
        [TW_KIR_SHARED] = PTX_HOME_SHARED, [TW_KIR_LOCAL] = PTX_HOME_LOCAL, [TW_KIR_CONST] = PTX_HOME_CONST};
    if (inst->op == TW_KIR_PARAMADDR)
        return add_homes(&p->pointers[inst->dst[0]], PTX_HOME_PARAM, TW_KIR_NO_REG);
    enum tw_kir_space space = p->module->variables[inst->index].space;
    uint8_t home =
        space == TW_KIR_GLOBAL ? p->options->fence ? PTX_HOME_GLOBAL : PTX_HOME_PLAIN : homes[space];
    return add_homes(&p->pointers[inst->dst[0]], home, inst->index);
}

// The homes of a sum are those of its addresses; where it has none, it is plain. Nothing yet while a source
// is unknown.
static bool forward_sum(struct ptx_printer *p, const struct tw_kir_inst *inst) {
    bool far = false, unknown = false, changed = false;
    for (unsigned i = 0; i < inst->src_count; i++) {
        struct ptx_pointer from = ptx_pointer_of(p, &inst->src[i]);
        unknown |= from.may == 0;
        if (!passes(p, inst, i) || !(is_far(&from) || is_choice(inst->op)))
            continue;
        far = true;
        changed |= add_homes(&p->pointers[inst->dst[0]], from.may, from.variable);
    }
    if (!far && !unknown)
        changed |= add_homes(&p->pointers[inst->dst[0]], PTX_HOME_PLAIN, TW_KIR_NO_REG);
    return changed;
}

static bool forward(struct ptx_printer *p, const struct tw_kir_inst *inst) {
    bool changed = false;
    if (inst->dst_count && inst->dst[0] != TW_KIR_NO_REG) {
        if (inst->op == TW_KIR_ADDR || inst->op == TW_KIR_PARAMADDR)
            changed |= forward_address(p, inst);
        else if (inst->dst_count == 1 && inst->src_count &&
                 passes(p, inst, 0) + passes(p, inst, 1 % inst->src_count))
            changed |= forward_sum(p, inst);
        else
            changed |= add_homes(&p->pointers[inst->dst[0]], PTX_HOME_PLAIN, TW_KIR_NO_REG);
    }
    for (unsigned i = 1; i < inst->dst_count; i++)
        if (inst->dst[i] != TW_KIR_NO_REG)
            changed |= add_homes(&p->pointers[inst->dst[i]], PTX_HOME_PLAIN, TW_KIR_NO_REG);
    return changed;
}

// ---- backward ----

// How a source is used through the result it passes to. A generic access of a mixed result makes an address
// of one space leave it. A move can be the cvta itself, and half an address does not leave as an address.
static uint8_t uses_through(const struct ptx_printer *p, const struct tw_kir_inst *inst,
                            const struct ptx_pointer *source) {
    const struct ptx_pointer *result = &p->pointers[inst->dst[0]];
    uint8_t uses = result->uses;
    if (ptx_pointer_is_definite(*source) && !ptx_pointer_is_definite(*result) && (uses & PTX_USE_ACCESS))
        uses = (uint8_t)((uses & ~PTX_USE_ACCESS) | PTX_USE_ESCAPE);
    bool stops = inst->op == TW_KIR_MOV || (inst->op == TW_KIR_CVT && tw_kir_type_bits(inst->type) < 64);
    return stops ? uses & EITHER : uses;
}

static bool backward(struct ptx_printer *p, const struct tw_kir_inst *inst) {
    bool changed = false;
    for (unsigned i = 0; i < inst->src_count; i++) {
        if (inst->src[i].is_imm || !is_far(&p->pointers[inst->src[i].reg]))
            continue;
        struct ptx_pointer *place = &p->pointers[inst->src[i].reg];
        uint8_t uses = place->uses | use_of(p, inst, i);
        if (inst->dst_count && inst->dst[0] != TW_KIR_NO_REG && passes(p, inst, i))
            uses |= uses_through(p, inst, place);
        changed |= uses != place->uses;
        place->uses = uses;
    }
    return changed;
}

static bool over_all(struct ptx_printer *p, bool (*step)(struct ptx_printer *, const struct tw_kir_inst *),
                     bool reversed) {
    bool changed = false;
    const struct tw_kir_function *function = p->function;
    for (uint32_t n = 0; n < function->block_count; n++) {
        uint32_t b = reversed ? function->block_count - 1 - n : n;
        const struct tw_kir_block *block = &function->blocks[b];
        bool is_reached = p->labels[b] != 0;
        for (uint32_t i = 0; is_reached && i < block->count; i++)
            changed |= step(p, &block->insts[reversed ? block->count - 1 - i : i]);
    }
    return changed;
}

static bool has_addresses(const struct ptx_printer *p) {
    const struct tw_kir_function *function = p->function;
    for (uint32_t b = 0; b < function->block_count; b++)
        for (uint32_t i = 0; p->labels[b] && i < function->blocks[b].count; i++) {
            const struct tw_kir_inst *inst = &function->blocks[b].insts[i];
            if (inst->op == TW_KIR_PARAMADDR ||
                (inst->op == TW_KIR_ADDR &&
                 (p->options->fence || p->module->variables[inst->index].space != TW_KIR_GLOBAL)))
                return true;
        }
    return false;
}

// Registers that arrive from outside: formals, and whatever is never written.
static void start(struct ptx_printer *p) {
    const struct tw_kir_function *function = p->function;
    for (uint32_t i = 0; i < function->reg_count; i++)
        p->pointers[i] = (struct ptx_pointer){.variable = TW_KIR_NO_REG};
    for (uint32_t i = 0; i < function->param_count && !function->is_entry; i++)
        p->pointers[function->params[i].reg].may = PTX_HOME_PLAIN;
}

bool ptx_pointers(struct ptx_printer *p) {
    p->pointers = NULL;
    p->generics_leave = false;
    if (!has_addresses(p))
        return true;
    p->pointers = TW_ARENA_ARRAY(&p->arena, struct ptx_pointer, p->function->reg_count + 1);
    if (!p->pointers)
        return ptx_print_full(p);
    start(p);
    while (over_all(p, forward, false))
        ;
    for (uint32_t i = 0; i < p->function->reg_count; i++)
        if (p->pointers[i].may == 0)
            p->pointers[i].may = PTX_HOME_PLAIN;
    while (over_all(p, backward, true))
        ;
    for (uint32_t i = 0; i < p->function->reg_count; i++) {
        struct ptx_pointer *place = &p->pointers[i];
        if (!(place->may & PTX_HOME_SPECIAL) || p->function->regs[i].bits != 64)
            continue;
        bool generic_only = place->uses && !(place->uses & PTX_USE_NATIVE);
        place->is_generic = ptx_pointer_is_definite(*place) ? place->uses == PTX_USE_ESCAPE : generic_only;
        p->generics_leave |= place->is_generic || (place->uses & PTX_USE_ESCAPE);
    }
    return true;
}

// ---- printing ----

static bool refuse(struct ptx_printer *p, struct ptx_pointer place) {
    if (p->options->fence && ptx_pointer_is_definite(place))
        return ptx_print_fail(
            p, "an address of parameter memory goes where the fence cannot follow it; copy the parameter");
    if (place.may & PTX_HOME_GLOBAL)
        return ptx_print_fail(
            p,
            "the address of module variable %s goes where the fence cannot follow it; pass the memory as an "
            "argument of the kernel",
            place.variable < p->module->variable_count ? p->module->variables[place.variable].name
                                                       : "(one of several)");
    return ptx_print_fail(
        p,
        "it cannot be told whether this is an address of %s memory or a generic one; use one kind of pointer",
        ptx_home_name(place.may));
}

// Whether the instruction's value must be generic where it stands.
static bool wants_generic(const struct ptx_printer *p, unsigned index, uint8_t use) {
    const struct tw_kir_inst *inst = p->inst;
    if (use & PTX_USE_ESCAPE)
        return true;
    return inst->dst_count && inst->dst[0] != TW_KIR_NO_REG && passes(p, inst, index) &&
           p->pointers[inst->dst[0]].is_generic;
}

bool ptx_pointer_source(struct ptx_printer *p, unsigned index, struct tw_kir_operand *ret_value) {
    *ret_value = p->inst->src[index];
    struct ptx_pointer place = ptx_pointer_of(p, ret_value);
    if (!is_far(&place) || ret_value->is_imm)
        return true;
    uint8_t use = use_of(p, p->inst, index);
    unsigned bits = ptx_print_bits(p, ret_value->reg);
    if (p->options->fence && place.may == PTX_HOME_PARAM && wants_generic(p, index, use))
        return refuse(p, place); // the fence does not know its window
    uint8_t special = place.may & PTX_HOME_SPECIAL;
    bool definite = ptx_pointer_is_definite(place), several = (special & (special - 1)) != 0;
    if (place.may & PTX_HOME_GLOBAL) // the memory accesses look for themselves
        return !(use & PTX_USE_ESCAPE) || refuse(p, place);
    if (!definite && (place.uses & PTX_USE_NATIVE) && ((place.uses & PTX_USE_ACCESS) || several))
        return refuse(p, place);
    if (bits != 64)
        return definite || !(use & PTX_USE_ACCESS) || refuse(p, place);
    if (place.is_generic || !wants_generic(p, index, use))
        return true;
    if (!definite)
        return refuse(p, place);
    if (p->inst->op == TW_KIR_MOV) // which is printed as the cvta
        return true;
    uint32_t generic = ptx_print_temp(p, 64);
    if (!ptx_say(p, "cvta.#.u64 #, #",
                 PTX_PIECES(PTX_T(ptx_home_name(place.may)), PTX_R(generic), PTX_R(ret_value->reg))))
        return false;
    *ret_value = tw_kir_reg_operand(generic);
    return true;
}

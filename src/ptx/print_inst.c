// SPDX-License-Identifier: Apache-2.0
//
// One instruction that is no terminator: its sources brought to what PTX wants, then its statement. Moves,
// packing, special registers, calls, barriers and warp operations are here; the others in print_forms.c,
// print_memory.c, print_carry.c.

#include "print.h"

// ---- moves ----

static bool move(struct ptx_printer *p, struct tw_kir_operand value) {
    const struct tw_kir_inst *inst = p->inst;
    struct ptx_pointer from = ptx_pointer_of(p, &value);
    unsigned bits = tw_kir_type_bits(inst->type);
    bool small = tw_kir_type_is_float(inst->type) && inst->type != TW_KIR_F32 && inst->type != TW_KIR_F64;
    uint8_t type = small ? tw_kir_bits_type(bits) : inst->type;
    if (p->pointers && p->pointers[inst->dst[0]].is_generic && ptx_pointer_is_definite(from) &&
        !from.is_generic)
        return ptx_say_guarded(
            p, "cvta.#.u64 #, #",
            PTX_PIECES(PTX_T(ptx_home_name(from.may)), PTX_R(inst->dst[0]), PTX_R(value.reg)));
    if ((bits == 8 || bits == 128) && !ptx_in_register(p, &value, type))
        return false;
    if (bits == 8)
        return ptx_say_guarded(p, "cvt.u8.u8 #, #", PTX_PIECES(PTX_R(inst->dst[0]), PTX_R(value.reg)));
    return ptx_say_guarded(
        p, "mov.# #, #", PTX_PIECES(PTX_T(tw_kir_type_name(type)), PTX_R(inst->dst[0]), PTX_V(value, type)));
}

// mov of a symbol's address, made generic where the register wants that.
static bool address(struct ptx_printer *p, const char *symbol, int64_t offset, uint8_t home) {
    const struct tw_kir_inst *inst = p->inst;
    bool generic = p->pointers && p->pointers[inst->dst[0]].is_generic && home;
    uint32_t target = generic ? ptx_print_temp(p, 64) : inst->dst[0];
    if (!(generic ? ptx_put(p, "\t") : ptx_put_guard(p)) || !ptx_put(p, "mov.u64 ") ||
        !ptx_put_reg(p, target) || !ptx_put(p, ", ") || !ptx_put(p, symbol))
        return false;
    if (offset && !tw_buf_printf(&p->body, "+%" PRId64, offset))
        return ptx_print_full(p);
    if (!ptx_put(p, ";\n"))
        return false;
    return !generic ||
           ptx_say_guarded(p, "cvta.#.u64 #, #",
                           PTX_PIECES(PTX_T(ptx_home_name(home)), PTX_R(inst->dst[0]), PTX_R(target)));
}

static bool variable_address(struct ptx_printer *p) {
    static const uint8_t homes[] = {
        [TW_KIR_SHARED] = PTX_HOME_SHARED, [TW_KIR_LOCAL] = PTX_HOME_LOCAL, [TW_KIR_CONST] = PTX_HOME_CONST};
    const struct tw_kir_variable *variable = &p->module->variables[p->inst->index];
    uint8_t home = variable->space == TW_KIR_GLOBAL ? 0 : homes[variable->space];
    if (variable->function != TW_KIR_NO_REG && variable->function != p->index)
        return ptx_print_fail(p, "variable %s belongs to another function", variable->name);
    return address(p, p->variable_names[p->inst->index], p->inst->offset, home);
}

static bool param_address(struct ptx_printer *p) {
    const struct tw_kir_function *function = p->function;
    uint32_t param = 0;
    if (function->param_count == 0 || !function->is_entry)
        return ptx_print_fail(p, "the function has no parameter block");
    while (param + 1 < function->param_count && function->params[param + 1].offset <= p->inst->offset)
        param++;
    return address(p, p->param_names[p->index][param], p->inst->offset - function->params[param].offset,
                   PTX_HOME_PARAM);
}

static bool special_register(struct ptx_printer *p) {
    static const struct {
        const char *name;
        uint8_t type;
    } sregs[TW_KIR_SREG_COUNT] = {
#define PTX_SREG(text, number, bits) [TW_KIR_##number] = {.name = (text), .type = TW_KIR_##bits},
#include "ptx/sregs.def"
#undef PTX_SREG
    };
    const struct tw_kir_inst *inst = p->inst;
    if (tw_kir_type_bits(sregs[inst->index].type) != tw_kir_type_bits(inst->type))
        return ptx_print_fail(p, "%%%s has another width", sregs[inst->index].name);
    return ptx_say_guarded(p, "mov.# #, %#",
                           PTX_PIECES(PTX_T(tw_kir_type_name(sregs[inst->index].type)), PTX_R(inst->dst[0]),
                                      PTX_T(sregs[inst->index].name)));
}

// { a, b, … without the end
static bool braces_open(struct ptx_printer *p, const struct tw_kir_operand *values, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (!ptx_put(p, i ? ", " : "{") || !ptx_put_reg(p, values[i].reg))
            return false;
    return true;
}

// { a, b, … }
static bool braces(struct ptx_printer *p, const struct tw_kir_operand *values, unsigned count, uint8_t type) {
    for (unsigned i = 0; i < count; i++)
        if (!ptx_put(p, i ? ", " : "{") || !ptx_put_value(p, values[i], type))
            return false;
    return ptx_put(p, "}");
}

static bool pack(struct ptx_printer *p, struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    unsigned bits = tw_kir_type_bits(inst->type);
    uint8_t part = tw_kir_bits_type(bits / inst->src_count);
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!ptx_in_register(p, &src[i], part))
            return false;
    return ptx_put_guard(p) && ptx_put(p, "mov.") && ptx_put(p, tw_kir_type_name(tw_kir_bits_type(bits))) &&
           ptx_put(p, " ") && ptx_put_reg(p, inst->dst[0]) && ptx_put(p, ", ") &&
           braces(p, src, inst->src_count, part) && ptx_put(p, ";\n");
}

static bool unpack(struct ptx_printer *p, struct tw_kir_operand value) {
    const struct tw_kir_inst *inst = p->inst;
    uint8_t type = tw_kir_bits_type(tw_kir_type_bits(inst->type));
    if (!ptx_in_register(p, &value, type) || !ptx_put_guard(p) || !ptx_put(p, "mov.") ||
        !ptx_put(p, tw_kir_type_name(type)) || !ptx_put(p, " "))
        return false;
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (!ptx_put(p, i ? ", " : "{") || !ptx_put_reg(p, inst->dst[i]))
            return false;
    return ptx_put(p, "}, ") && ptx_put_reg(p, value.reg) && ptx_put(p, ";\n");
}

// ---- calls ----

static bool call(struct ptx_printer *p, const struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    const struct tw_kir_function *callee = &p->module->functions[inst->index];
    if (!ptx_put_guard(p) || !ptx_put(p, "call.uni "))
        return false;
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (!ptx_put(p, i ? ", " : "(") || !ptx_put_reg(p, inst->dst[i]))
            return false;
    if (!ptx_put(p, inst->dst_count ? "), " : "") || !ptx_put(p, p->function_names[inst->index]) ||
        !ptx_put(p, ", ("))
        return false;
    for (unsigned i = 0; i < inst->src_count; i++) {
        unsigned bits = callee->regs[callee->params[i].reg].bits;
        uint8_t type = (uint8_t)callee->params[i].type;
        if (!ptx_put(p, i ? ", " : "") ||
            !ptx_put_value(p, src[i], tw_kir_type_bits(type) == bits ? type : tw_kir_bits_type(bits)))
            return false;
    }
    return ptx_put(p, ");\n");
}

static bool call_vprintf(struct ptx_printer *p, const struct tw_kir_operand *src) {
    if (p->options->fence)
        return ptx_print_fail(p, "it reads memory that the fence does not reach");
    if (p->inst->guard != TW_KIR_NO_REG)
        return ptx_print_fail(p, "it carries a guard; branch around it");
    return ptx_say(p, "call.uni (#), vprintf, (#, #)",
                   PTX_PIECES(PTX_R(p->inst->dst[0]), PTX_V(src[0], TW_KIR_U64), PTX_V(src[1], TW_KIR_U64)));
}

// ---- threads ----

static const char *const reduces[] = {".add", ".min", ".max", ".and", ".or", ".xor", ".popc"};

// name #, #, …: the operands of a barrier, 32 bits each.
static bool barrier(struct ptx_printer *p, const char *name, const struct tw_kir_operand *src,
                    unsigned count) {
    if (!ptx_put_guard(p) || !ptx_put(p, name))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!ptx_put(p, i ? ", " : " ") || !ptx_put_value(p, src[i], TW_KIR_U32))
            return false;
    return ptx_put(p, ";\n");
}

static bool barrier_reduction(struct ptx_printer *p, const struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    const char *type = inst->mode == TW_KIR_RED_POPC ? ".u32 " : ".pred ";
    if (!ptx_put_guard(p) || !ptx_put(p, "barrier.red") || !ptx_put(p, reduces[inst->mode]) ||
        !ptx_put(p, type) || !ptx_put_reg(p, inst->dst[0]))
        return false;
    for (unsigned i = 1; i < inst->src_count; i++)
        if (!ptx_put(p, ", ") || !ptx_put_value(p, src[i], TW_KIR_U32))
            return false;
    return ptx_put(p, ", ") && ptx_put_value(p, src[0], TW_KIR_PRED) && ptx_put(p, ";\n");
}

static bool shuffle(struct ptx_printer *p, const struct tw_kir_operand *src) {
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    const struct tw_kir_inst *inst = p->inst;
    bool second = inst->dst_count == 2 && inst->dst[1] != TW_KIR_NO_REG;
    uint32_t target =
        inst->dst[0] == TW_KIR_NO_REG ? ptx_print_temp(p, 32) : inst->dst[0]; // it cannot be discarded
    return ptx_put_guard(p) && ptx_put(p, "shfl.sync.") && ptx_put(p, modes[inst->mode]) &&
           ptx_put(p, ".b32 ") && ptx_put_reg(p, target) &&
           (!second || (ptx_put(p, "|") && ptx_put_reg(p, inst->dst[1]))) && ptx_put(p, ", ") &&
           ptx_put_value(p, src[0], TW_KIR_B32) && ptx_put(p, ", ") && ptx_put_value(p, src[1], TW_KIR_U32) &&
           ptx_put(p, ", ") && ptx_put_value(p, src[2], TW_KIR_U32) && ptx_put(p, ", ") &&
           ptx_put_value(p, src[3], TW_KIR_U32) && ptx_put(p, ";\n");
}

static bool vote(struct ptx_printer *p, const struct tw_kir_operand *src) {
    static const char *const modes[] = {"all.pred", "any.pred", "uni.pred", "ballot.b32"};
    return ptx_say_guarded(p, "vote.sync.# #, #, #",
                           PTX_PIECES(PTX_T(modes[p->inst->mode]), PTX_R(p->inst->dst[0]),
                                      PTX_V(src[0], TW_KIR_PRED), PTX_V(src[1], TW_KIR_U32)));
}

static bool match(struct ptx_printer *p, const struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    uint8_t type = tw_kir_bits_type(tw_kir_type_bits(inst->type));
    bool second = inst->dst_count == 2;
    return ptx_say_guarded(p, "match.#.sync.# ###, #, #",
                           PTX_PIECES(PTX_T(inst->mode ? "all" : "any"), PTX_T(tw_kir_type_name(type)),
                                      PTX_R(inst->dst[0]), PTX_T(second ? "|" : ""),
                                      second ? PTX_R(inst->dst[1]) : PTX_T(""), PTX_V(src[0], type),
                                      PTX_V(src[1], TW_KIR_U32)));
}

static bool redux(struct ptx_printer *p, const struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    return ptx_say_guarded(p, "redux.sync#.# #, #, #",
                           PTX_PIECES(PTX_T(reduces[inst->mode]), PTX_T(tw_kir_type_name(inst->type)),
                                      PTX_R(inst->dst[0]), PTX_V(src[0], inst->type),
                                      PTX_V(src[1], TW_KIR_U32)));
}

static bool elect(struct ptx_printer *p, const struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    uint32_t second = inst->dst_count == 2 ? inst->dst[1] : TW_KIR_NO_REG;
    if (second == TW_KIR_NO_REG)
        second = ptx_print_temp(p, 1);
    return ptx_say_guarded(p, "elect.sync #|#, #",
                           PTX_PIECES(PTX_R(inst->dst[0]), PTX_R(second), PTX_V(src[0], TW_KIR_U32)));
}

// mma[.sp].sync.aligned.SHAPE.row.col[.satfinite][.round].TYPES[.xor.popc]
static bool product_name(struct ptx_printer *p) {
    static const char *const shapes[TW_KIR_MMA_COUNT] = {"m8n8k4",   "m8n8k16",   "m8n8k32",  "m8n8k128",
                                                         "m16n8k4",  "m16n8k8",   "m16n8k16", "m16n8k32",
                                                         "m16n8k64", "m16n8k128", "m16n8k256"};
    const struct tw_kir_inst *inst = p->inst;
    bool bits = inst->type2 == TW_KIR_B1;
    uint8_t b = inst->type2;
    if (inst->mods & TW_KIR_MIXED)
        b = b == TW_KIR_S8 ? TW_KIR_U8 : b == TW_KIR_U8 ? TW_KIR_S8 : b == TW_KIR_S4 ? TW_KIR_U4 : TW_KIR_S4;
    const char *sparse = !(inst->mods & TW_KIR_SPARSE) ? ""
                         : inst->mods & TW_KIR_ORDERED ? ".sp::ordered_metadata"
                                                       : ".sp";
    if (!ptx_put(p, "mma") || !ptx_put(p, sparse) || !ptx_put(p, ".sync.aligned.") ||
        !ptx_put(p, shapes[inst->mode]) || !ptx_put(p, ".row.col") ||
        !ptx_put(p, inst->mods & TW_KIR_SAT ? ".satfinite" : "") || !ptx_put(p, ptx_print_round(inst->round)))
        return false;
    const uint8_t types[] = {inst->type, inst->type2, b, inst->type};
    for (size_t i = 0; i < TW_COUNT(types); i++)
        if (!ptx_put(p, ".") || !ptx_put(p, tw_kir_type_name(types[i])))
            return false;
    return !bits || ptx_put(p, inst->mods & TW_KIR_XORSIGN ? ".xor.popc" : ".and.popc");
}

// Fragments are registers, since PTX takes no immediates there.
static bool product(struct ptx_printer *p, struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    struct tw_kir_matrix m;
    if (!tw_kir_matrix_of(inst, &m))
        return ptx_print_fail(p, "there is no such matrix product");
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!ptx_in_register(p, &src[i], tw_kir_bits_type(i < m.a + m.b ? m.in_bits : m.c_bits)))
            return false;
    const unsigned counts[] = {m.a, m.b, m.c};
    if (!ptx_put_guard(p) || !product_name(p) || !ptx_put(p, " "))
        return false;
    for (unsigned i = 0; i < m.c; i++) {
        uint32_t d = inst->dst[i] == TW_KIR_NO_REG ? ptx_print_temp(p, m.c_bits) : inst->dst[i];
        if (!ptx_put(p, i ? ", " : "{") || !ptx_put_reg(p, d))
            return false;
    }
    for (size_t part = 0; part < TW_COUNT(counts); src += counts[part++])
        if (!ptx_put(p, "}, ") || !braces_open(p, src, counts[part]))
            return false;
    if (!m.e)
        return ptx_put(p, "};\n");
    return ptx_put(p, "}, ") && ptx_put_reg(p, src[0].reg) &&
           tw_buf_printf(&p->body, ", %u;\n", (unsigned)inst->offset);
}

static bool threads(struct ptx_printer *p, struct tw_kir_operand *src) {
    const struct tw_kir_inst *inst = p->inst;
    switch ((int)inst->op) {
    case TW_KIR_BAR: // bar is barrier.aligned
        return barrier(p, inst->mods & TW_KIR_ALIGNED ? "bar.sync" : "barrier.sync", src, inst->src_count);
    case TW_KIR_BARARRIVE:
        return barrier(p, inst->mods & TW_KIR_ALIGNED ? "bar.arrive" : "barrier.arrive", src,
                       inst->src_count);
    case TW_KIR_BARRED:
        return barrier_reduction(p, src);
    case TW_KIR_WARPSYNC:
        return barrier(p, "bar.warp.sync", src, 1);
    case TW_KIR_NANOSLEEP:
        return barrier(p, "nanosleep.u32", src, 1);
    case TW_KIR_SHFL:
        return shuffle(p, src);
    case TW_KIR_VOTE:
        return vote(p, src);
    case TW_KIR_MATCH:
        return match(p, src);
    case TW_KIR_REDUX:
        return redux(p, src);
    case TW_KIR_ACTIVEMASK:
        return ptx_say_guarded(p, "activemask.b32 #", PTX_PIECES(PTX_R(inst->dst[0])));
    case TW_KIR_ELECT:
        return elect(p, src);
    case TW_KIR_TRAP:
        return ptx_say_guarded(p, "trap", PTX_PIECES());
    case TW_KIR_MMA:
        return product(p, src);
    case TW_KIR_MOVMATRIX:
        return ptx_in_register(p, &src[0], TW_KIR_B32) &&
               ptx_say_guarded(p, "movmatrix.sync.aligned.m8n8.trans.b16 #, #",
                               PTX_PIECES(PTX_R(inst->dst[0]), PTX_R(src[0].reg)));
    default:
        return ptx_print_fail(p, "there is no PTX for it");
    }
}

// ---- all of them ----

static bool statement(struct ptx_printer *p, struct tw_kir_operand *src) {
    bool done;
    switch ((int)p->inst->op) {
    case TW_KIR_MOV:
        return move(p, src[0]);
    case TW_KIR_SREG:
        return special_register(p);
    case TW_KIR_ADDR:
        return variable_address(p);
    case TW_KIR_PARAMADDR:
        return param_address(p);
    case TW_KIR_LDPARAM:
        return ptx_print_ldparam(p);
    case TW_KIR_PACK:
        return pack(p, src);
    case TW_KIR_UNPACK:
        return unpack(p, src[0]);
    case TW_KIR_ADDC:
    case TW_KIR_SUBC:
        return ptx_print_carry(p, src);
    case TW_KIR_CVT:
        return ptx_print_cvt(p, src);
    case TW_KIR_SETP:
        return ptx_print_setp(p, src);
    case TW_KIR_ISSPACE:
        return ptx_print_memory(p, src);
    case TW_KIR_CALL:
        return call(p, src);
    case TW_KIR_PRINTF:
        return call_vprintf(p, src);
    default:
        if (tw_kir_op_flags(p->inst->op) & TW_KIR_MEM)
            return ptx_print_memory(p, src);
        return ptx_print_form(p, src, &done) && (done || threads(p, src));
    }
}

static bool has_no_effect(const struct tw_kir_inst *inst) {
    for (unsigned i = 0; i < inst->dst_count; i++)
        if (inst->dst[i] != TW_KIR_NO_REG)
            return false;
    return (tw_kir_op_flags(inst->op) & TW_KIR_PURE) != 0;
}

bool ptx_print_inst(struct ptx_printer *p) {
    const struct tw_kir_inst *inst = p->inst;
    struct tw_kir_operand src[PTX_MAX_ARGUMENTS];
    if (has_no_effect(inst))
        return true;
    if (!(tw_kir_op_flags(inst->op) & TW_KIR_PURE) && inst->op != TW_KIR_CPASYNC && !ptx_print_copies_end(p))
        return false;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!ptx_pointer_source(p, i, &src[i]))
            return false;
    return statement(p, src);
}

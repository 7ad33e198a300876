// SPDX-License-Identifier: Apache-2.0
//
// Memory: ld, st, atom, red, cp.async, fences, prefetches. Cache hints are read and dropped. Parameters of
// kernels are read with ldparam; .param variables of calls and of device functions are registers (scalars) or
// the caller's local memory.

#include "internal.h"

static unsigned elements(const struct ptx_inst *inst) {
    return ptx_has(inst, PTX_G_VEC) ? inst->values[PTX_G_VEC] : 1;
}

static bool check_vector(struct ptx_parser *parser, const struct ptx_inst *inst,
                         const struct ptx_operand *operand) {
    unsigned count = elements(inst);
    uint64_t bits = (uint64_t)count * tw_kir_type_bits(inst->type);
    if (bits > 256 || (count == 8 && tw_kir_type_bits(inst->type) != 32))
        return ptx_fail(parser, &inst->token,
                        "'%.*s' moves %" PRIu64 " bits at once; at most 128 are possible",
                        TW_STR_ARG(inst->name), bits);
    return operand->count == count ||
           ptx_fail(parser, &operand->items[0].token, "'%.*s' moves %u element%s, found %u",
                    TW_STR_ARG(inst->name), count, count == 1 ? "" : "s", operand->count);
}

static void set_order(const struct ptx_inst *inst, struct tw_kir_inst *to) {
    uint8_t order = ptx_has(inst, PTX_G_ORDER) ? inst->values[PTX_G_ORDER] : TW_KIR_WEAK;
    if (order == PTX_VOLATILE || inst->values[PTX_G_CACHE] == PTX_UNCACHED)
        to->mods |= TW_KIR_VOLATILE;
    else
        to->order = order;
    if (ptx_has(inst, PTX_G_SCOPE))
        to->scope = inst->values[PTX_G_SCOPE];
    if (ptx_has(inst, PTX_G_NC))
        to->mods |= TW_KIR_NONCOHERENT;
}

// , cache-policy
static bool policy(struct ptx_parser *parser, const struct ptx_inst *inst) {
    struct ptx_operand unused;
    return !ptx_has(inst, PTX_G_POLICY) || (ptx_expect(parser, ',') && ptx_operand(parser, &unused));
}

// ---- ld ----

// Which kernel parameter a 64-bit load reads whole.
static void note_parameter(struct ptx_parser *parser, const struct tw_kir_inst *load) {
    const struct tw_kir_function *function = ptx_current(parser);
    if (load->vec != 1 || tw_kir_type_bits(load->type) != 64 || load->dst[0] == TW_KIR_NO_REG)
        return;
    for (uint32_t i = 0; i < function->param_count; i++)
        if (function->params[i].offset == load->offset && function->params[i].size == 8)
            ptx_parameter_note(parser, load->dst[0], i);
}

// A scalar .param variable is a register.
static bool load_scalar_argument(struct ptx_parser *parser, const struct ptx_inst *inst,
                                 const struct ptx_address *address) {
    const struct ptx_symbol *from = address->argument;
    const struct ptx_scalar *item = &inst->dst[0].items[0];
    unsigned have = ptx_current(parser)->regs[from->index].bits, want = tw_kir_type_bits(inst->type);
    uint32_t target;
    if (elements(inst) != 1 || address->offset || want > have)
        return ptx_fail(parser, &address->token, "'%.*s' reads more than scalar parameter '%.*s' has",
                        TW_STR_ARG(inst->name), TW_STR_ARG(from->name));
    if (!ptx_target_wide(parser, item, inst->type, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, want == have ? TW_KIR_MOV : TW_KIR_CVT, inst->type, 1, 1);
    if (!to)
        return false;
    to->type = want == have ? inst->type : ptx_integer_type(want, false);
    to->type2 = want == have ? 0 : ptx_integer_type(have, false);
    to->dst[0] = target;
    to->src[0] = tw_kir_reg_operand(from->index);
    return ptx_widen(parser, item, inst->type, target);
}

static bool load(struct ptx_parser *parser, const struct ptx_inst *inst, const struct ptx_address *address) {
    bool is_param = ptx_has(inst, PTX_G_SPACE) && inst->values[PTX_G_SPACE] == TW_KIR_PARAM;
    bool kernel_param = is_param && address->base == PTX_AT_PARAMETER;
    unsigned count = elements(inst);
    struct tw_kir_operand base = {};
    int64_t offset = address->offset;
    uint32_t targets[PTX_MAX_ELEMENTS];
    if (!kernel_param && !ptx_address_source(parser, address, &base, &offset))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!ptx_target_wide(parser, &inst->dst[0].items[i], inst->type, &targets[i]))
            return false;
    struct tw_kir_inst *to =
        ptx_emit(parser, kernel_param ? TW_KIR_LDPARAM : TW_KIR_LD, inst->type, count, kernel_param ? 0 : 1);
    if (!to)
        return false;
    to->vec = (uint8_t)count;
    to->offset = offset;
    memcpy(to->dst, targets, count * sizeof *targets);
    if (kernel_param) {
        to->offset += ptx_current(parser)->params[address->index].offset;
        note_parameter(parser, to);
    } else {
        to->src[0] = base;
        to->space = ptx_has(inst, PTX_G_SPACE) ? inst->values[PTX_G_SPACE] : TW_KIR_GENERIC;
        if (address->base == PTX_AT_ARGUMENT)
            to->space = TW_KIR_LOCAL;
        set_order(inst, to);
    }
    for (unsigned i = 0; i < count; i++)
        if (!ptx_widen(parser, &inst->dst[0].items[i], inst->type, targets[i]))
            return false;
    return true;
}

bool ptx_lower_ld(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_address address;
    if (!ptx_results(parser, inst, 1) || !ptx_address(parser, &address) || !policy(parser, inst) ||
        !check_vector(parser, inst, &inst->dst[0]))
        return false;
    if (address.base == PTX_AT_ARGUMENT && !address.argument->is_memory)
        return load_scalar_argument(parser, inst, &address);
    return load(parser, inst, &address);
}

// ---- st ----

static bool store_scalar_argument(struct ptx_parser *parser, const struct ptx_inst *inst,
                                  const struct ptx_address *address) {
    const struct ptx_symbol *symbol = address->argument;
    unsigned want = ptx_current(parser)->regs[symbol->index].bits, have = tw_kir_type_bits(inst->type);
    struct tw_kir_operand value;
    if (elements(inst) != 1 || address->offset || have > want)
        return ptx_fail(parser, &address->token, "'%.*s' writes more than scalar parameter '%.*s' has",
                        TW_STR_ARG(inst->name), TW_STR_ARG(symbol->name));
    if (!ptx_source_low(parser, &inst->src[0].items[0], inst->type, &value))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, want == have ? TW_KIR_MOV : TW_KIR_CVT, inst->type, 1, 1);
    if (!to)
        return false;
    bool is_signed = tw_kir_type_is_signed(inst->type);
    to->type = want == have ? inst->type : ptx_integer_type(want, is_signed);
    to->type2 = want == have ? 0 : ptx_integer_type(have, is_signed);
    to->dst[0] = symbol->index;
    to->src[0] = value;
    return true;
}

bool ptx_lower_st(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_address address;
    struct tw_kir_operand sources[PTX_MAX_ELEMENTS + 1];
    int64_t offset;
    if (!ptx_address(parser, &address) || !ptx_expect(parser, ',') || !ptx_operands(parser, inst, 1, 1) ||
        !policy(parser, inst) || !check_vector(parser, inst, &inst->src[0]))
        return false;
    if (address.base == PTX_AT_PARAMETER)
        return ptx_fail(parser, &address.token, "kernel parameter '%.*s' cannot be written",
                        TW_STR_ARG(address.token.text));
    if (address.base == PTX_AT_ARGUMENT && !address.argument->is_memory)
        return store_scalar_argument(parser, inst, &address);
    unsigned count = elements(inst);
    if (!ptx_address_source(parser, &address, &sources[0], &offset))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!ptx_source_low(parser, &inst->src[0].items[i], inst->type, &sources[i + 1]))
            return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_ST, inst->type, 0, count + 1);
    if (!to)
        return false;
    to->vec = (uint8_t)count;
    to->offset = offset;
    to->space = ptx_has(inst, PTX_G_SPACE) ? inst->values[PTX_G_SPACE] : TW_KIR_GENERIC;
    if (address.base == PTX_AT_ARGUMENT)
        to->space = TW_KIR_LOCAL;
    set_order(inst, to);
    memcpy(to->src, sources, (count + 1) * sizeof *sources);
    return true;
}

// ---- atom, red ----

static bool check_atom(struct ptx_parser *parser, const struct ptx_inst *inst) {
    uint8_t atom = inst->values[PTX_G_ATOM], type = inst->type;
    unsigned bits = tw_kir_type_bits(type);
    bool is_float = tw_kir_type_is_float(type), is_bits = type >= TW_KIR_B8 && type <= TW_KIR_B64,
         good = false;
    switch ((enum tw_kir_atom)atom) {
    case TW_KIR_ATOM_ADD:
        good = !is_bits;
        break;
    case TW_KIR_ATOM_MIN:
    case TW_KIR_ATOM_MAX:
        good = !is_bits && bits >= 32 && type != TW_KIR_F32 && type != TW_KIR_F64;
        break;
    case TW_KIR_ATOM_AND:
    case TW_KIR_ATOM_OR:
    case TW_KIR_ATOM_XOR:
    case TW_KIR_ATOM_EXCH:
        good = !is_float && bits >= 32;
        break;
    case TW_KIR_ATOM_CAS:
        good = !is_float;
        break;
    case TW_KIR_ATOM_INC:
    case TW_KIR_ATOM_DEC:
        good = type == TW_KIR_U32;
        break;
    }
    return good || ptx_fail(parser, &inst->token, "'%.*s': the operation does not take the type .%s",
                            TW_STR_ARG(inst->name), tw_kir_type_name(type));
}

bool ptx_lower_atom(struct ptx_parser *parser, struct ptx_inst *inst) {
    bool is_red = inst->row->name[0] == 'r';
    unsigned count = inst->values[PTX_G_ATOM] == TW_KIR_ATOM_CAS ? 2 : 1;
    struct ptx_address address;
    struct tw_kir_operand sources[3];
    int64_t offset;
    uint32_t target = TW_KIR_NO_REG;
    if (!check_atom(parser, inst))
        return false;
    if (is_red && inst->values[PTX_G_ATOM] >= TW_KIR_ATOM_EXCH && inst->values[PTX_G_ATOM] <= TW_KIR_ATOM_CAS)
        return ptx_fail(parser, &inst->token, "'%.*s': red has no exch and cas", TW_STR_ARG(inst->name));
    if ((!is_red && !ptx_results(parser, inst, 1)) || !ptx_address(parser, &address) ||
        !ptx_expect(parser, ',') || !ptx_operands(parser, inst, count, count) || !policy(parser, inst) ||
        !ptx_address_source(parser, &address, &sources[0], &offset))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!ptx_source(parser, &inst->src[i].items[0], inst->type, &sources[i + 1]))
            return false;
    if (!is_red && !ptx_target(parser, &inst->dst[0].items[0], inst->type, &target))
        return false;
    unsigned results = target == TW_KIR_NO_REG ? 0 : 1;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_ATOM, inst->type, results, count + 1);
    if (!to)
        return false;
    to->atom = inst->values[PTX_G_ATOM];
    to->space = ptx_has(inst, PTX_G_SPACE) ? inst->values[PTX_G_SPACE] : TW_KIR_GENERIC;
    to->order = ptx_has(inst, PTX_G_ORDER) && inst->values[PTX_G_ORDER] != PTX_VOLATILE
                    ? inst->values[PTX_G_ORDER]
                    : TW_KIR_RELAXED;
    to->scope = ptx_has(inst, PTX_G_SCOPE) ? inst->values[PTX_G_SCOPE] : TW_KIR_GPU;
    to->offset = offset;
    if (results)
        to->dst[0] = target;
    memcpy(to->src, sources, (count + 1) * sizeof *sources);
    return true;
}

// ---- cp.async: done at once, so that waiting for it is nothing ----

static bool plus_offset(struct ptx_parser *parser, int64_t offset, struct tw_kir_operand *address) {
    if (offset == 0)
        return true;
    uint32_t sum;
    if (!ptx_temp(parser, 64, &sum))
        return false;
    struct tw_kir_inst *add = ptx_emit_free(parser, TW_KIR_ADD, TW_KIR_U64, 1, 2);
    if (!add)
        return false;
    add->dst[0] = sum;
    add->src[0] = *address;
    add->src[1] = tw_kir_imm_operand((uint64_t)offset);
    *address = tw_kir_reg_operand(sum);
    return true;
}

// The number of bytes to read: a number, or a predicate that says "none".
static bool source_size(struct ptx_parser *parser, const struct ptx_scalar *scalar, unsigned bytes,
                        struct tw_kir_operand *ret_size) {
    struct tw_kir_operand ignore;
    uint32_t size;
    if (scalar->form != PTX_REG || scalar->type != TW_KIR_PRED)
        return ptx_source(parser, scalar, TW_KIR_U32, ret_size);
    if (!ptx_source(parser, scalar, TW_KIR_PRED, &ignore) || !ptx_temp(parser, 32, &size))
        return false;
    struct tw_kir_inst *to = ptx_emit_free(parser, TW_KIR_SELECT, TW_KIR_U32, 1, 3);
    if (!to)
        return false;
    to->dst[0] = size;
    to->src[0] = tw_kir_imm_operand(0);
    to->src[1] = tw_kir_imm_operand(bytes);
    to->src[2] = ignore;
    *ret_size = tw_kir_reg_operand(size);
    return true;
}

static bool copy_async(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_address to_address, from_address;
    struct tw_kir_operand sources[3];
    int64_t offsets[2], bytes;
    bool sized, has_policy = ptx_has(inst, PTX_G_POLICY);
    if (!ptx_has(inst, PTX_G_CPDST) || !ptx_has(inst, PTX_G_SPACE) ||
        inst->values[PTX_G_SPACE] != TW_KIR_GLOBAL || !ptx_has(inst, PTX_G_CACHE))
        return ptx_refuse(parser, &inst->token,
                          "'%.*s' is not supported: cp.async.ca or .cg, .shared.global is",
                          TW_STR_ARG(inst->name));
    if (!ptx_address(parser, &to_address) || !ptx_expect(parser, ',') ||
        !ptx_address(parser, &from_address) || !ptx_expect(parser, ',') ||
        !ptx_integer(parser, 4, 16, "the size to copy", &bytes) || !ptx_accept(parser, ',', &sized))
        return false;
    if (bytes != 4 && bytes != 8 && bytes != 16)
        return ptx_fail(parser, &inst->token, "cp.async copies 4, 8 or 16 bytes, not %" PRId64, bytes);
    unsigned more = 0;
    if (sized) {
        if (!ptx_operands(parser, inst, 1, has_policy ? 2 : 1))
            return false;
        more = inst->src_count - (has_policy ? 1 : 0);
    }
    if (!ptx_address_source(parser, &to_address, &sources[0], &offsets[0]) ||
        !ptx_address_source(parser, &from_address, &sources[1], &offsets[1]) ||
        !plus_offset(parser, offsets[0], &sources[0]) || !plus_offset(parser, offsets[1], &sources[1]) ||
        (more && !source_size(parser, &inst->src[0].items[0], (unsigned)bytes, &sources[2])))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_CPASYNC, TW_KIR_B8, 0, 2 + more);
    if (!to)
        return false;
    to->vec = (uint8_t)bytes;
    memcpy(to->src, sources, (2 + more) * sizeof *sources);
    return true;
}

bool ptx_lower_cp_async(struct ptx_parser *parser, struct ptx_inst *inst) {
    int64_t groups;
    if (!ptx_has(inst, PTX_G_ASYNCOP))
        return copy_async(parser, inst);
    if (inst->values[PTX_G_ASYNCOP] == PTX_COPIES_ARRIVE)
        return ptx_copies_arrive(parser, inst);
    return inst->values[PTX_G_ASYNCOP] != PTX_WAIT_GROUP ||
           ptx_integer(parser, 0, INT32_MAX, "the number of groups", &groups);
}

// ---- fences and hints ----

static bool fence(struct ptx_parser *parser, uint8_t order, uint8_t scope) {
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_FENCE, TW_KIR_PRED, 0, 0);
    if (!to)
        return false;
    to->order = order;
    to->scope = scope;
    return true;
}

// fence.proxy.alias: between addresses that are the same memory, which is a fence like others here.
static bool proxy_fence(struct ptx_parser *parser, const struct ptx_inst *inst) {
    if (!ptx_has(inst, PTX_G_FORM) || inst->values[PTX_G_KIND] != PTX_PROXY_ALIAS ||
        inst->has & (PTX_BIT(LEVEL) | PTX_BIT(ORDER) | PTX_BIT(SCOPE)))
        return ptx_fail(parser, &inst->token, "'%.*s' is no fence: .proxy.alias stands alone",
                        TW_STR_ARG(inst->name));
    return fence(parser, TW_KIR_SC, TW_KIR_SYS);
}

bool ptx_lower_membar(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (inst->has & (PTX_BIT(FORM) | PTX_BIT(KIND)))
        return proxy_fence(parser, inst);
    return fence(parser, TW_KIR_SC, inst->values[PTX_G_LEVEL]);
}

bool ptx_lower_fence(struct ptx_parser *parser, struct ptx_inst *inst) {
    if (inst->has & (PTX_BIT(FORM) | PTX_BIT(KIND)))
        return proxy_fence(parser, inst);
    uint8_t order = ptx_has(inst, PTX_G_ORDER) ? inst->values[PTX_G_ORDER] : TW_KIR_ACQ_REL;
    if (order == PTX_VOLATILE || order < TW_KIR_ACQUIRE)
        return ptx_fail(parser, &inst->token, "'%.*s' needs .sc, .acq_rel, .acquire or .release",
                        TW_STR_ARG(inst->name));
    return fence(parser, order, inst->values[PTX_G_SCOPE]);
}

bool ptx_lower_prefetch(struct ptx_parser *parser, [[maybe_unused]] struct ptx_inst *inst) {
    struct ptx_address unused;
    return ptx_address(parser, &unused);
}

// discard.global.L2 [a], 128; and applypriority: the memory may hold anything, or what it held.
bool ptx_lower_cache_hint(struct ptx_parser *parser, [[maybe_unused]] struct ptx_inst *inst) {
    struct ptx_address unused;
    int64_t size;
    return ptx_address(parser, &unused) && ptx_expect(parser, ',') &&
           ptx_integer(parser, 128, 128, "the size", &size);
}

// , [a], primary-size, total-size
static bool policy_range(struct ptx_parser *parser) {
    struct ptx_address address;
    struct ptx_operand size;
    return ptx_address(parser, &address) && ptx_expect(parser, ',') && ptx_operand(parser, &size) &&
           ptx_expect(parser, ',') && ptx_operand(parser, &size);
}

// A policy is a number that hints carry; hints vanish, so it is 0. createpolicy.fractional d [, fraction];
// createpolicy.range d, [a], primary-size, total-size; createpolicy.cvt d, a
bool ptx_lower_createpolicy(struct ptx_parser *parser, struct ptx_inst *inst) {
    struct ptx_operand unused;
    uint32_t target;
    bool more, has_range = inst->values[PTX_G_FRACTIONAL] == PTX_POLICY_RANGE;
    if (!ptx_operand(parser, &inst->dst[0]) || !ptx_accept(parser, ',', &more) ||
        (has_range && !more && !ptx_expect(parser, ',')) ||
        (more && !(has_range ? policy_range(parser) : ptx_operand(parser, &unused))) ||
        !ptx_target(parser, &inst->dst[0].items[0], TW_KIR_B64, &target))
        return false;
    struct tw_kir_inst *to = ptx_emit(parser, TW_KIR_MOV, TW_KIR_B64, 1, 1);
    if (!to)
        return false;
    to->dst[0] = target;
    to->src[0] = tw_kir_imm_operand(0);
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// What the W lanes of a register have in common: a transfer function an operation, forwards over all
// instructions to a fixpoint. An affine register is kept as the value of lane 0, and an operation on it is
// done once: whatever gives lane 0's value from lane 0's sources is right.
//
// Where a 32-bit value is widened the lanes may wrap in 32 bits but not in 64; the result is taken to be
// affine all the same and the code checks it (jit_inst_speculates), unless code->exact.

#include "internal.h"

static const struct jit_shape varying = {.kind = JIT_VARYING};

static struct jit_shape uniform(unsigned align) {
    return (struct jit_shape){.kind = JIT_AFFINE, .align = (uint8_t)(align > 63 ? 63 : align)};
}

static unsigned zeros(uint64_t value) {
    return value ? (unsigned)__builtin_ctzll(value) : 63;
}

static int64_t wrap(int64_t value, unsigned bits) {
    return bits >= 64 ? value : (int64_t)((uint64_t)value << (64 - bits)) >> (64 - bits);
}

struct jit_shape jit_operand_shape(const struct jit_code *code, const struct tw_kir_operand *operand,
                                   unsigned bits) {
    if (!operand->is_imm)
        return code->shapes[operand->reg];
    return uniform(zeros((uint64_t)wrap((int64_t)operand->bits, bits)));
}

bool jit_reg_uniform(const struct jit_code *code, uint32_t reg) {
    return jit_is_uniform(code->shapes[reg]);
}

static struct jit_shape join_groups(const struct jit_code *code, struct jit_shape a, struct jit_shape b) {
    unsigned group_a = jit_group_of(code, a), group_b = jit_group_of(code, b);
    unsigned group = group_a < group_b ? group_a : group_b;
    if (group == 0 || a.stride != b.stride)
        return varying;
    a = jit_regroup(code, a, group);
    b = jit_regroup(code, b, group);
    a.known = a.known && b.known && a.across == b.across;
    a.compact = a.compact && b.compact;
    a.across = a.known ? a.across : 0;
    a.align = a.align < b.align ? a.align : b.align;
    return a;
}

static struct jit_shape join(const struct jit_code *code, struct jit_shape a, struct jit_shape b) {
    if (a.kind == JIT_BOTTOM)
        return b;
    if (b.kind == JIT_BOTTOM)
        return a;
    if (a.kind == JIT_VARYING || b.kind == JIT_VARYING || a.stride != b.stride)
        return join_groups(code, a, b);
    a.align = a.align < b.align ? a.align : b.align;
    return a;
}

static struct jit_shape affine(unsigned align, int64_t stride, unsigned bits) {
    struct jit_shape s = uniform(align);
    s.stride = wrap(stride, bits);
    return s;
}

// lane × stride never carries into the base: its bits lie below the base's lowest one. Returns the mask of
// those bits, or 0.
static uint64_t free_bits(const struct jit_code *code, struct jit_shape s, unsigned bits) {
    unsigned top = bits < 64 ? bits : 63;
    uint64_t room = UINT64_C(1) << (s.align < top ? s.align : top);
    if (s.stride <= 0 || (uint64_t)s.stride > UINT32_MAX ||
        (code->variant.lanes - 1u) * (uint64_t)s.stride >= room)
        return 0;
    return room - 1;
}

// Bits that lane × stride can set, given free_bits.
static uint64_t lane_bits(const struct jit_code *code, struct jit_shape s) {
    uint64_t bits = 0;
    for (unsigned lane = 0; lane < code->variant.lanes; lane++)
        bits |= lane * (uint64_t)s.stride;
    return bits;
}

static bool low_mask(uint64_t value) {
    return value && (value & (value + 1)) == 0;
}

// The lanes span half of what the type holds, or more.
static bool too_steep(const struct jit_code *code, struct jit_shape s, unsigned bits) {
    uint64_t size = (uint64_t)(s.stride < 0 ? -s.stride : s.stride);
    return size >= (UINT64_C(1) << (bits - 1)) / code->variant.lanes;
}

static struct jit_shape and_shape(const struct jit_code *code, struct jit_shape a, uint64_t mask,
                                  unsigned bits) {
    uint64_t room = free_bits(code, a, bits), moved = room ? lane_bits(code, a) : 0;
    unsigned align = zeros(mask) > a.align ? zeros(mask) : a.align;
    if (wrap((int64_t)mask, bits) == -1 || (low_mask(mask) && a.below && a.below <= zeros(mask + 1)))
        return a;
    if (room && (mask & moved) == 0)
        return uniform(zeros(mask));
    if (room && (mask & moved) == moved)
        return affine(low_mask(mask) && mask < room ? 63 : align, a.stride, bits);
    if (!code->exact && low_mask(mask) && mask >= UINT16_MAX && !too_steep(code, a, zeros(mask + 1)))
        return affine(a.align, a.stride, bits);
    return low_mask(mask) ? jit_low_bits_shape(code, a, zeros(mask + 1)) : varying;
}

static struct jit_shape shr_shape(const struct jit_code *code, struct jit_shape a, uint64_t amount,
                                  unsigned bits) {
    uint64_t room = free_bits(code, a, bits);
    if (amount >= bits)
        return varying;
    if (room && lane_bits(code, a) >> amount == 0)
        return uniform(a.align > amount ? a.align - (unsigned)amount : 0);
    if (room && zeros((uint64_t)a.stride) >= amount && a.align >= amount)
        return affine(a.align - (unsigned)amount, a.stride >> amount, bits);
    return jit_high_bits_shape(code, a, (unsigned)amount, room == 0);
}

static struct jit_shape or_shape(const struct jit_code *code, struct jit_shape a, uint64_t value,
                                 unsigned bits) {
    if (free_bits(code, a, bits) && (lane_bits(code, a) & value) == 0)
        return affine(zeros(value) < a.align ? zeros(value) : a.align, a.stride, bits);
    return varying;
}

// Integer operations with one affine and one uniform (often immediate) source.
static struct jit_shape integer_shape(const struct jit_code *code, const struct tw_kir_inst *inst,
                                      unsigned bits) {
    struct jit_shape a = jit_operand_shape(code, &inst->src[0], bits),
                     b = jit_operand_shape(code, &inst->src[1], bits);
    unsigned low = a.align < b.align ? a.align : b.align;
    bool swap = inst->src[0].is_imm;
    const struct tw_kir_operand *imm = swap ? &inst->src[0] : inst->src[1].is_imm ? &inst->src[1] : NULL;
    struct jit_shape x = swap ? b : a;
    if (jit_adds(inst, a, b))
        return affine(low, (int64_t)((uint64_t)a.stride + (uint64_t)b.stride), bits);
    switch (inst->op) {
    case TW_KIR_SUB:
        return affine(low, (int64_t)((uint64_t)a.stride - (uint64_t)b.stride), bits);
    case TW_KIR_MUL:
        return imm ? affine(x.align + zeros(imm->bits), (int64_t)((uint64_t)x.stride * imm->bits), bits)
                   : varying;
    case TW_KIR_SHL:
        if (!imm || swap || imm->bits >= bits)
            return varying;
        return affine(x.align + (unsigned)imm->bits, (int64_t)((uint64_t)x.stride << imm->bits), bits);
    case TW_KIR_SHR:
        return imm && !swap ? shr_shape(code, x, imm->bits, bits) : varying;
    case TW_KIR_AND:
        return imm ? and_shape(code, x, imm->bits, bits) : varying;
    case TW_KIR_OR:
    case TW_KIR_XOR:
        return imm ? or_shape(code, x, imm->bits, bits) : varying;
    default:
        return varying;
    }
}

// The source of a widening operation that varies, and what it is multiplied by. NULL: not by a constant.
static const struct tw_kir_operand *widened(const struct tw_kir_inst *inst, unsigned from,
                                            int64_t *ret_factor) {
    *ret_factor = 1;
    if (inst->op == TW_KIR_CVT)
        return &inst->src[0];
    if (!inst->src[0].is_imm && !inst->src[1].is_imm)
        return NULL;
    const struct tw_kir_operand *imm = &inst->src[inst->src[1].is_imm];
    *ret_factor = tw_kir_type_is_signed(inst->type) ? wrap((int64_t)imm->bits, from) : (int64_t)imm->bits;
    return &inst->src[inst->src[0].is_imm];
}

static unsigned widened_bits(const struct tw_kir_inst *inst) {
    return tw_kir_type_bits(inst->op == TW_KIR_CVT ? inst->type2 : inst->type);
}

static bool widens_signed(const struct tw_kir_inst *inst) {
    return tw_kir_type_is_signed(inst->op == TW_KIR_CVT ? inst->type2 : inst->type);
}

static struct jit_shape widen_shape(const struct jit_code *code, const struct tw_kir_inst *inst) {
    unsigned from = widened_bits(inst), to = inst->op == TW_KIR_CVT ? tw_kir_type_bits(inst->type) : 2 * from;
    int64_t factor, unused;
    const struct tw_kir_operand *x = widened(inst, from, &factor);
    if (!x)
        return jit_group_shape(code, inst, to);
    struct jit_shape a = jit_operand_shape(code, x, from);
    bool proven = to <= from || jit_never_wraps(code, x, from, widens_signed(inst));
    if (a.kind == JIT_VARYING && !proven && (code->exact || a.stride < 0))
        return a.stride == 0 ? jit_group_shape(code, inst, to) : varying;
    if (a.kind != JIT_VARYING && !proven && (code->exact || too_steep(code, a, from)))
        return varying;
    if (__builtin_mul_overflow(a.stride, factor, &a.stride) ||
        __builtin_mul_overflow(a.across, factor, &unused))
        return varying;
    a.across *= factor;
    a.known = a.known && (proven || a.across == 0);
    a.across = a.known ? wrap(a.across, to) : 0;
    a.stride = wrap(a.stride, to);
    a.align = uniform(a.align + zeros((uint64_t)factor)).align;
    return a;
}

static struct jit_shape sreg_shape(const struct jit_code *code, uint32_t sreg) {
    unsigned lanes_log2 = zeros(code->variant.lanes);
    unsigned width = zeros(code->variant.x_multiple);
    unsigned row = width < lanes_log2 ? width : lanes_log2; // log2 of the lanes that lie in one row
    struct jit_shape in_row = {.kind = JIT_VARYING, .group = (uint8_t)row, .known = true, .compact = true};
    switch (sreg) {
    case TW_KIR_TID_X:
        in_row.stride = 1;
        in_row.align = 63;
        return row == lanes_log2 ? affine(lanes_log2, 1, 32) : row ? in_row : varying;
    case TW_KIR_TID_Y:
        in_row.across = 1;
        return row == lanes_log2 ? uniform(0) : row ? in_row : varying;
    case TW_KIR_TID_Z:
        return row ? uniform(0) : varying;
    case TW_KIR_NTID_X:
        return uniform(width);
    case TW_KIR_LANEID:
        return affine(63, 1, 32);
    case TW_KIR_LANEMASK_EQ:
    case TW_KIR_LANEMASK_LT:
    case TW_KIR_LANEMASK_LE:
    case TW_KIR_LANEMASK_GT:
    case TW_KIR_LANEMASK_GE:
        return varying;
    default:
        return uniform(0);
    }
}

static struct jit_shape address_shape(const struct jit_code *code, const struct tw_kir_inst *inst) {
    const struct tw_kir_variable *v = &code->module->variables[inst->index];
    uint64_t offset = code->layout.offsets[inst->index] + (uint64_t)inst->offset;
    if (v->space == TW_KIR_LOCAL)
        return affine(0, (int64_t)code->layout.local_bytes, 64);
    unsigned limit = v->space == TW_KIR_SHARED ? 10 : 3;
    return uniform(zeros(offset) < limit ? zeros(offset) : limit);
}

static bool all_uniform_from(const struct jit_code *code, const struct tw_kir_inst *inst, unsigned first) {
    for (unsigned i = first; i < inst->src_count; i++)
        if (!inst->src[i].is_imm && !jit_reg_uniform(code, inst->src[i].reg))
            return false;
    return true;
}

static bool all_uniform(const struct jit_code *code, const struct tw_kir_inst *inst) {
    return all_uniform_from(code, inst, 0);
}

// A result that all lanes share; how far it is aligned.
static struct jit_shape uniform_shape(const struct jit_code *code, const struct tw_kir_inst *inst,
                                      unsigned bits) {
    struct jit_shape a = jit_operand_shape(code, &inst->src[0], bits),
                     b = jit_operand_shape(code, &inst->src[1], bits);
    uint64_t amount = inst->src[1].is_imm ? inst->src[1].bits : 0;
    switch (inst->op) {
    case TW_KIR_MUL:
        return uniform(a.align + b.align);
    case TW_KIR_SHL:
        return uniform(inst->src[1].is_imm && amount < bits ? a.align + (unsigned)amount : 0);
    case TW_KIR_SHR:
        return uniform(inst->src[1].is_imm && amount < a.align ? a.align - (unsigned)amount : 0);
    case TW_KIR_AND:
        return uniform(a.align > b.align ? a.align : b.align);
    default:
        return uniform(a.align < b.align ? a.align : b.align);
    }
}

static bool any_varying(const struct jit_code *code, const struct tw_kir_inst *inst) {
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm && code->shapes[inst->src[i].reg].kind == JIT_VARYING)
            return true;
    return false;
}

static struct jit_shape select_shape(const struct jit_code *code, const struct tw_kir_inst *inst) {
    if (!inst->src[2].is_imm && !jit_reg_uniform(code, inst->src[2].reg))
        return varying;
    unsigned bits = tw_kir_type_bits(inst->type);
    return join(code, jit_operand_shape(code, &inst->src[0], bits),
                jit_operand_shape(code, &inst->src[1], bits));
}

// A shuffle that gives every lane the value of one lane; of several warps in one vector each has its own.
static bool broadcasts(const struct jit_code *code, const struct tw_kir_inst *inst) {
    const struct tw_kir_operand *lane = &inst->src[1], *clamp = &inst->src[2];
    return code->variant.lanes <= TW_KERNEL_TURNS_MAX && inst->mode == TW_KIR_SHFL_IDX && clamp->is_imm &&
           (clamp->bits & 0x1f1f) == 0x1f && (lane->is_imm || jit_reg_uniform(code, lane->reg));
}

// Whether all lanes name the same ones.
static bool same_members(const struct jit_code *code, const struct tw_kir_operand *mask) {
    return mask->is_imm || jit_reg_uniform(code, mask->reg);
}

static struct jit_shape other_shape(const struct jit_code *code, const struct tw_kir_inst *inst,
                                    unsigned index) {
    switch (inst->op) {
    case TW_KIR_SREG:
        return sreg_shape(code, inst->index);
    case TW_KIR_ADDR:
        return address_shape(code, inst);
    case TW_KIR_SHFL:
        return broadcasts(code, inst) ? uniform(0) : varying;
    case TW_KIR_ACTIVEMASK:
    case TW_KIR_BARRED:
        return uniform(0);
    case TW_KIR_VOTE:
    case TW_KIR_REDUX:
        return same_members(code, &inst->src[1]) ? uniform(0) : varying;
    case TW_KIR_ELECT:
        return index == 0 && same_members(code, &inst->src[0]) ? uniform(0) : varying;
    case TW_KIR_ATOM:
    case TW_KIR_MBARRIER:
    case TW_KIR_MATCH:
    case TW_KIR_MMA:
    case TW_KIR_LDMATRIX:
    case TW_KIR_MOVMATRIX:
        return varying;
    default:
        return all_uniform(code, inst) ? uniform(0) : jit_same_shape(code, inst);
    }
}

// tid < 32 and its like: lanes of an aligned warp are all below a multiple of what they span, or none is.
static bool all_agree(const struct jit_code *code, const struct tw_kir_inst *inst, unsigned bits) {
    struct jit_shape a = jit_operand_shape(code, &inst->src[0], bits),
                     b = jit_operand_shape(code, &inst->src[1], bits);
    uint64_t room = a.kind == JIT_AFFINE ? free_bits(code, a, bits) : 0;
    if (room == 0 || !jit_is_uniform(b) || (inst->src_count > 2 && !all_uniform_from(code, inst, 2)))
        return false;
    unsigned span = 64 - (unsigned)__builtin_clzll((code->variant.lanes - 1u) * (uint64_t)a.stride);
    if (inst->cmp == TW_KIR_LT || inst->cmp == TW_KIR_GE)
        return b.align >= span;
    bool next = inst->src[1].is_imm && zeros(inst->src[1].bits + 1) >= span;
    return next && (inst->cmp == TW_KIR_LE || inst->cmp == TW_KIR_GT);
}

static struct jit_shape inst_shape(const struct jit_code *code, const struct tw_kir_inst *inst,
                                   unsigned index) {
    unsigned bits = tw_kir_type_bits(inst->type);
    bool integer = jit_is_integer(inst->type) && !(inst->mods & TW_KIR_SAT);
    switch (inst->op) {
    case TW_KIR_MOV:
        return jit_operand_shape(code, &inst->src[0], bits);
    case TW_KIR_SELECT:
        return select_shape(code, inst);
    case TW_KIR_ADD:
    case TW_KIR_SUB:
    case TW_KIR_MUL:
    case TW_KIR_SHL:
    case TW_KIR_SHR:
    case TW_KIR_AND:
    case TW_KIR_OR:
    case TW_KIR_XOR:
        if (!integer)
            break;
        if (any_varying(code, inst))
            return jit_group_shape(code, inst, bits);
        return all_uniform(code, inst) ? uniform_shape(code, inst, bits) : integer_shape(code, inst, bits);
    case TW_KIR_SETP:
        if (integer && all_agree(code, inst, bits))
            return uniform(0);
        break;
    case TW_KIR_CVT:
        if (!integer || !jit_is_integer(inst->type2) || inst->src_count > 1 || all_uniform(code, inst))
            break;
        return widen_shape(code, inst);
    case TW_KIR_MULWIDE:
        if (all_uniform(code, inst))
            break;
        return widen_shape(code, inst);
    default:
        break;
    }
    return other_shape(code, inst, index);
}

struct jit_shape jit_inst_shape(const struct jit_code *code, const struct tw_kir_inst *inst, unsigned index) {
    struct jit_shape s = inst_shape(code, inst, index);
    s.below = jit_below(code, inst);
    s.compact = s.compact && (inst->op == TW_KIR_SREG || jit_may_compact(inst));
    return s;
}

bool jit_inst_speculates(const struct jit_code *code, const struct tw_kir_inst *inst) {
    if (code->exact || (inst->op != TW_KIR_CVT && inst->op != TW_KIR_MULWIDE && inst->op != TW_KIR_AND))
        return false;
    struct jit_shape s = jit_inst_shape(code, inst, 0);
    bool claims = s.kind == JIT_AFFINE ? s.stride != 0 : s.group > 0 && s.stride != 0;
    if (!claims)
        return false;
    struct jit_code exact = *code;
    exact.exact = true;
    struct jit_shape without = jit_inst_shape(&exact, inst, 0);
    return without.kind != s.kind || without.group < s.group;
}

// `limited`: the bound cannot grow for ever.
static bool shape_changes(struct jit_code *code, uint32_t reg, struct jit_shape found, bool limited) {
    struct jit_shape old = code->shapes[reg], joined = join(code, old, found);
    joined.below = old.kind == JIT_BOTTOM || found.below == old.below ? found.below
                   : found.below && found.below < old.below           ? old.below
                   : old.below && limited                             ? found.below
                                                                      : 0;
    code->shapes[reg] = joined;
    return joined.kind != old.kind || joined.align != old.align || joined.stride != old.stride ||
           joined.group != old.group || joined.below != old.below || joined.known != old.known ||
           joined.compact != old.compact || joined.across != old.across;
}

static bool visit(struct jit_code *code, uint32_t block, const struct tw_kir_inst *inst) {
    bool changed = false;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!inst->src[i].is_imm && code->shapes[inst->src[i].reg].kind == JIT_BOTTOM)
            return false; // its turn comes once that register is known
    for (unsigned i = 0; i < inst->dst_count; i++) {
        if (inst->dst[i] == TW_KIR_NO_REG)
            continue;
        bool blend = jit_must_blend(code, block, inst, inst->dst[i]);
        changed |= shape_changes(code, inst->dst[i], blend ? varying : jit_inst_shape(code, inst, i),
                                 inst->op == TW_KIR_SHR);
    }
    return changed;
}

static void settle(struct jit_code *code) {
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t b = 0; b < code->count; b++) {
            for (uint32_t i = 0; i < code->blocks[b].count; i++)
                changed |= visit(code, b, &code->blocks[b].insts[i]);
            if (code->blocks[b].term == JIT_BARRIER)
                changed |= visit(code, b, code->blocks[b].last);
        }
    }
}

bool jit_shapes(struct jit_code *code, struct tw_error *err) {
    if (!code->shapes)
        code->shapes = TW_ARENA_ARRAY(code->arena, struct jit_shape, code->function->reg_count + 1);
    if (!code->shapes)
        return jit_no_memory(err);
    settle(code);
    for (uint32_t r = 0; r < code->function->reg_count; r++)
        if (code->shapes[r].kind == JIT_BOTTOM)
            code->shapes[r] = uniform(0); // read before it is ever written
    settle(code);
    return true;
}

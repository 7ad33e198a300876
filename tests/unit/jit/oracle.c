// SPDX-License-Identifier: Apache-2.0
//
// See oracle.h. Values are kept as 64 bits; each operation reads as many as its type has.

#include "oracle.h"

#include <math.h>

#include "oracle_parts.h"

struct thread {
    struct oracle *oracle;
    uint64_t *regs;
    const struct tw_kir_inst *inst;
    uint8_t local[64]; // the kernel's one local array, which begins at address 0
};

static bool stop(struct thread *t, const char *why) {
    snprintf(t->oracle->trouble, sizeof t->oracle->trouble, "line %u: '%s': %s", t->inst->line,
             tw_kir_op_name((enum tw_kir_op)t->inst->op), why);
    return false;
}

static unsigned bits_of(unsigned type) {
    return tw_kir_type_bits((enum tw_kir_type)type);
}

static uint64_t low(uint64_t value, unsigned bits) {
    return bits >= 64 ? value : value & ((UINT64_C(1) << bits) - 1);
}

static int64_t extend(uint64_t value, unsigned bits) {
    return (int64_t)(value << (64 - bits)) >> (64 - bits);
}

static uint64_t source(const struct thread *t, unsigned index, unsigned bits) {
    const struct tw_kir_operand *operand = &t->inst->src[index];
    return low(operand->is_imm ? operand->bits : t->regs[operand->reg], bits);
}

static void set(struct thread *t, unsigned index, uint64_t value) {
    uint32_t reg = t->inst->dst[index];
    if (reg != TW_KIR_NO_REG)
        t->regs[reg] = low(value, t->oracle->function->regs[reg].bits);
}

static float f32_of(uint64_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double f64_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint64_t of_f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// ---- integers ----

static uint64_t divide(uint64_t a, uint64_t b, unsigned bits, bool is_signed, bool wants_rest) {
    int64_t sa = extend(a, bits), sb = extend(b, bits);
    if (b == 0)
        return wants_rest ? a : UINT64_MAX;
    if (!is_signed)
        return wants_rest ? a % b : a / b;
    if (sb == -1)
        return wants_rest ? 0 : 0 - a;
    return (uint64_t)(wants_rest ? sa % sb : sa / sb);
}

static uint64_t shift(unsigned op, uint64_t a, uint64_t amount, unsigned bits, bool is_signed) {
    if (op == TW_KIR_SHL)
        return amount >= bits ? 0 : a << amount;
    if (is_signed)
        return (uint64_t)(extend(a, bits) >> (amount >= bits ? bits - 1 : amount));
    return amount >= bits ? 0 : a >> amount;
}

static uint64_t reverse(uint64_t value, unsigned bits) {
    uint64_t result = 0;
    for (unsigned i = 0; i < bits; i++)
        result |= (value >> i & 1) << (bits - 1 - i);
    return result;
}

static uint64_t field(uint64_t a, uint64_t at, uint64_t len, unsigned bits, bool is_signed) {
    uint64_t result = 0;
    unsigned position = (unsigned)at & 255, count = (unsigned)len & 255;
    unsigned top = position + count - 1 < bits - 1 ? position + count - 1 : bits - 1;
    uint64_t sign = !is_signed || count == 0 ? 0 : a >> top & 1;
    for (unsigned i = 0; i < bits; i++)
        result |= (i < count && position + i < bits ? a >> (position + i) & 1 : sign) << i;
    return result;
}

__extension__ typedef __int128 wide_signed;
__extension__ typedef unsigned __int128 wide_unsigned;

static uint64_t high_half(uint64_t a, uint64_t b, unsigned bits, bool is_signed) {
    if (is_signed)
        return (uint64_t)((wide_signed)extend(a, bits) * extend(b, bits) >> bits);
    return (uint64_t)((wide_unsigned)a * b >> bits);
}

static bool less(uint64_t a, uint64_t b, unsigned bits, bool is_signed) {
    return is_signed ? extend(a, bits) < extend(b, bits) : a < b;
}

static uint64_t bit_value(struct thread *t, unsigned bits, bool is_signed, uint64_t a, uint64_t b) {
    switch (t->inst->op) {
    case TW_KIR_NOT:
        return ~a;
    case TW_KIR_AND:
        return a & b;
    case TW_KIR_OR:
        return a | b;
    case TW_KIR_XOR:
        return a ^ b;
    case TW_KIR_SHL:
    case TW_KIR_SHR:
        return shift(t->inst->op, a, source(t, 1, 32), bits, is_signed);
    case TW_KIR_BREV:
        return reverse(a, bits);
    case TW_KIR_CLZ:
        return a ? (uint64_t)__builtin_clzll(a) - (64 - bits) : bits;
    case TW_KIR_POPC:
        return (uint64_t)__builtin_popcountll(a);
    case TW_KIR_BFE:
        return field(a, source(t, 1, 32), source(t, 2, 32), bits, is_signed);
    default:
        return stop(t, "not an integer operation of the oracle");
    }
}

static uint64_t integer_value(struct thread *t, unsigned bits, bool is_signed, uint64_t a, uint64_t b,
                              uint64_t c) {
    switch (t->inst->op) {
    case TW_KIR_MOV:
        return a;
    case TW_KIR_ADD:
        return a + b;
    case TW_KIR_SUB:
        return a - b;
    case TW_KIR_MUL:
        return a * b;
    case TW_KIR_MULHI:
        return high_half(a, b, bits, is_signed);
    case TW_KIR_MULWIDE:
        return is_signed ? (uint64_t)extend(a, bits) * (uint64_t)extend(b, bits) : a * b;
    case TW_KIR_DIV:
    case TW_KIR_REM:
        return divide(a, b, bits, is_signed, t->inst->op == TW_KIR_REM);
    case TW_KIR_MIN:
        return less(a, b, bits, is_signed) ? a : b;
    case TW_KIR_MAX:
        return less(a, b, bits, is_signed) ? b : a;
    case TW_KIR_ABS:
        return extend(a, bits) < 0 ? 0 - a : a;
    case TW_KIR_SAD:
        return c + (less(a, b, bits, is_signed) ? b - a : a - b);
    default:
        return bit_value(t, bits, is_signed, a, b);
    }
}

static bool integer_op(struct thread *t, unsigned bits, bool is_signed) {
    uint64_t sources[4] = {}, value;
    for (unsigned i = 0; i < t->inst->src_count && i < 4; i++)
        sources[i] = source(t, i, bits);
    if (oracle_field(t->inst, is_signed, sources, &value)) {
        set(t, 0, value);
        return true;
    }
    set(t, 0, integer_value(t, bits, is_signed, sources[0], sources[1], sources[2]));
    return t->oracle->trouble[0] == 0;
}

// ---- floats ----

// -0 is less than +0, and a NaN loses.
static double smaller(double a, double b) {
    if (isnan(a) || isnan(b))
        return isnan(a) ? b : a;
    return a == b ? (signbit(a) ? a : b) : a < b ? a : b;
}

static bool float_op(struct thread *t, unsigned bits) {
    const struct tw_kir_inst *inst = t->inst;
    uint64_t raw[3] = {}, small;
    double x[3] = {}, value = 0;
    for (unsigned i = 0; i < inst->src_count && i < 3; i++) {
        raw[i] = source(t, i, bits);
        x[i] = bits == 32 ? (double)f32_of(raw[i]) : f64_of(raw[i]);
    }
    if (oracle_small(inst, raw, &small)) {
        set(t, 0, small);
        return true;
    }
    switch (inst->op) {
    case TW_KIR_MOV:
        set(t, 0, raw[0]);
        return true;
    case TW_KIR_NEG:
        set(t, 0, raw[0] ^ UINT64_C(1) << (bits - 1));
        return true;
    case TW_KIR_ABS:
        set(t, 0, raw[0] & ~(UINT64_C(1) << (bits - 1)));
        return true;
    // In double a float sum, product, quotient or root is exact enough to be rounded once more (Figueroa 1995).
    case TW_KIR_ADD:
        value = x[0] + x[1];
        break;
    case TW_KIR_SUB:
        value = x[0] - x[1];
        break;
    case TW_KIR_MUL:
        value = x[0] * x[1];
        break;
    case TW_KIR_DIV:
        value = x[0] / x[1];
        break;
    case TW_KIR_SQRT:
        value = sqrt(x[0]);
        break;
    case TW_KIR_MIN:
        value = smaller(x[0], x[1]);
        break;
    case TW_KIR_MAX:
        value = -smaller(-x[0], -x[1]);
        break;
    case TW_KIR_FMA:
        set(t, 0,
            bits == 32 ? of_f32(fmaf(f32_of(raw[0]), f32_of(raw[1]), f32_of(raw[2])))
                       : of_f64(fma(x[0], x[1], x[2])));
        return true;
    default:
        return stop(t, "not a float operation of the oracle");
    }
    set(t, 0, bits == 32 ? of_f32((float)value) : of_f64(value));
    return true;
}

// ---- comparisons, conversions, memory ----

static bool compares(unsigned cmp, int order, bool is_unordered) {
    switch (cmp) {
    case TW_KIR_EQ:
        return !is_unordered && order == 0;
    case TW_KIR_NE:
        return !is_unordered && order != 0;
    case TW_KIR_LT:
        return !is_unordered && order < 0;
    case TW_KIR_LE:
        return !is_unordered && order <= 0;
    case TW_KIR_GT:
        return !is_unordered && order > 0;
    case TW_KIR_GE:
        return !is_unordered && order >= 0;
    case TW_KIR_EQU:
        return is_unordered || order == 0;
    case TW_KIR_NEU:
        return is_unordered || order != 0;
    case TW_KIR_LTU:
        return is_unordered || order < 0;
    case TW_KIR_LEU:
        return is_unordered || order <= 0;
    case TW_KIR_GTU:
        return is_unordered || order > 0;
    case TW_KIR_GEU:
        return is_unordered || order >= 0;
    case TW_KIR_NUM:
        return !is_unordered;
    default:
        return is_unordered;
    }
}

static bool set_predicate(struct thread *t) {
    const struct tw_kir_inst *inst = t->inst;
    unsigned bits = bits_of(inst->type);
    uint64_t a = source(t, 0, bits), b = source(t, 1, bits);
    bool is_unordered = false;
    int order;
    if (tw_kir_type_is_float((enum tw_kir_type)inst->type)) {
        double x = bits == 32 ? (double)f32_of(a) : f64_of(a), y = bits == 32 ? (double)f32_of(b) : f64_of(b);
        is_unordered = isnan(x) || isnan(y);
        order = (x > y) - (x < y);
    } else {
        bool is_signed = tw_kir_type_is_signed((enum tw_kir_type)inst->type);
        order = less(b, a, bits, is_signed) - less(a, b, bits, is_signed);
    }
    bool first = compares(inst->cmp, order, is_unordered), second = !first;
    if (inst->combine != TW_KIR_COMBINE_NONE) {
        bool c = source(t, 2, 1) != inst->combine_not;
        first = inst->combine == TW_KIR_COMBINE_AND  ? first && c
                : inst->combine == TW_KIR_COMBINE_OR ? first || c
                                                     : first != c;
        second = inst->combine == TW_KIR_COMBINE_AND  ? second && c
                 : inst->combine == TW_KIR_COMBINE_OR ? second || c
                                                      : second != c;
    }
    set(t, 0, first);
    if (inst->dst_count > 1)
        set(t, 1, second);
    return true;
}

// A float, rounded to a whole number already, as an integer of that type: the nearest there is.
static uint64_t saturate(double value, unsigned bits, bool is_signed) {
    double top = ldexp(1, (int)(is_signed ? bits - 1 : bits));
    if (isnan(value))
        return 0;
    if (is_signed)
        return value >= top    ? (UINT64_C(1) << (bits - 1)) - 1
               : value <= -top ? UINT64_C(1) << (bits - 1)
                               : (uint64_t)(int64_t)value;
    return value >= top ? UINT64_MAX : value <= 0 ? 0 : (uint64_t)value;
}

// An integer as the nearest one of a narrower or otherwise signed type.
static uint64_t clamped(const struct thread *t, uint64_t a, unsigned from, unsigned to) {
    bool signs = tw_kir_type_is_signed((enum tw_kir_type)t->inst->type);
    wide_signed value =
        tw_kir_type_is_signed((enum tw_kir_type)t->inst->type2) ? extend(a, from) : (wide_signed)a;
    wide_signed top = (wide_signed)1 << (signs ? to - 1 : to), bottom = signs ? -top : 0;
    return (uint64_t)(value < bottom ? bottom : value >= top ? top - 1 : value);
}

static bool convert(struct thread *t) {
    const struct tw_kir_inst *inst = t->inst;
    unsigned to = bits_of(inst->type), from = bits_of(inst->type2);
    bool to_float = tw_kir_type_is_float((enum tw_kir_type)inst->type),
         from_float = tw_kir_type_is_float((enum tw_kir_type)inst->type2),
         from_signed = tw_kir_type_is_signed((enum tw_kir_type)inst->type2);
    uint64_t a = source(t, 0, from);
    if (!to_float && !from_float) {
        bool sat = inst->mods & TW_KIR_SAT;
        set(t, 0, sat ? clamped(t, a, from, to) : from_signed ? (uint64_t)extend(a, from) : a);
        return true;
    }
    uint64_t small, sources[2] = {a, inst->src_count > 1 ? source(t, 1, from) : 0};
    if (oracle_small_convert(inst, sources, &small)) {
        set(t, 0, small);
        return true;
    }
    double value = !from_float ? 0 : from == 32 ? (double)f32_of(a) : f64_of(a);
    if (to_float && from_float) {
        set(t, 0, to == 32 ? of_f32((float)value) : of_f64(value));
    } else if (to_float) {
        int64_t number = extend(a, from);
        set(t, 0,
            to == 32 ? of_f32(from_signed ? (float)number : (float)a)
                     : of_f64(from_signed ? (double)number : (double)a));
    } else {
        value = inst->round == TW_KIR_RNI   ? nearbyint(value)
                : inst->round == TW_KIR_RMI ? floor(value)
                : inst->round == TW_KIR_RPI ? ceil(value)
                                            : trunc(value);
        set(t, 0, saturate(value, to, tw_kir_type_is_signed((enum tw_kir_type)inst->type)));
    }
    return true;
}

static bool touch_memory(struct thread *t) {
    const struct tw_kir_inst *inst = t->inst;
    unsigned bytes = bits_of(inst->type) / 8;
    uint64_t at = source(t, 0, 64) + (uint64_t)inst->offset, size = t->oracle->memory_bytes;
    uint8_t *memory = t->oracle->memory;
    if (inst->space == TW_KIR_LOCAL) {
        memory = t->local;
        size = sizeof t->local;
    }
    if (at > size || (uint64_t)bytes * inst->vec > size - at)
        return stop(t, "outside");
    for (unsigned i = 0; i < inst->vec; i++) {
        uint64_t value = inst->op == TW_KIR_ST ? source(t, 1 + i, bytes * 8) : 0;
        if (inst->op == TW_KIR_ST)
            memcpy(memory + at + i * bytes, &value, bytes);
        else
            memcpy(&value, memory + at + i * bytes, bytes);
        if (inst->op == TW_KIR_LD)
            set(t, i, value);
    }
    return true;
}

static bool special(struct thread *t) {
    const struct oracle *o = t->oracle;
    uint32_t triple = t->inst->index / 3, part = t->inst->index % 3;
    const uint32_t *const triples[] = {o->thread_id, o->block, o->block_id, o->grid};
    if (t->inst->index > TW_KIR_NCTAID_Z)
        return stop(t, "not a special register of the oracle");
    set(t, 0, triples[triple][part]);
    return true;
}

static bool parameter(struct thread *t) {
    unsigned bytes = bits_of(t->inst->type) / 8;
    for (unsigned i = 0; i < t->inst->dst_count; i++) {
        uint64_t value = 0;
        memcpy(&value, t->oracle->params + t->inst->offset + i * bytes, bytes);
        set(t, i, value);
    }
    return true;
}

static bool step(struct thread *t) {
    const struct tw_kir_inst *inst = t->inst;
    bool is_float = tw_kir_type_is_float((enum tw_kir_type)inst->type);
    unsigned bits = bits_of(inst->type);
    switch (inst->op) {
    case TW_KIR_SREG:
        return special(t);
    case TW_KIR_LDPARAM:
        return parameter(t);
    case TW_KIR_SETP:
        return set_predicate(t);
    case TW_KIR_CVT:
        return convert(t);
    case TW_KIR_ADDR:
        set(t, 0, 0);
        return true;
    case TW_KIR_LD:
    case TW_KIR_ST:
        return touch_memory(t);
    case TW_KIR_SELECT:
        set(t, 0, source(t, 2, 1) ? source(t, 0, bits) : source(t, 1, bits));
        return true;
    default:
        return is_float ? float_op(t, bits)
                        : integer_op(t, bits, tw_kir_type_is_signed((enum tw_kir_type)inst->type));
    }
}

// The block that follows; UINT32_MAX: the thread has ended.
static uint32_t next_block(const struct thread *t) {
    const struct tw_kir_inst *inst = t->inst;
    if (inst->op == TW_KIR_BR)
        return inst->targets[0];
    if (inst->op == TW_KIR_BRC)
        return inst->targets[source(t, 0, 1) ? 0 : 1];
    if (inst->op == TW_KIR_BRX) {
        uint64_t index = source(t, 0, 32);
        return inst->targets[index < inst->target_count ? index : inst->target_count - 1u];
    }
    return UINT32_MAX;
}

static bool run_block(struct thread *t, const struct tw_kir_block *block) {
    for (uint32_t i = 0; i < block->count; i++) {
        t->inst = &block->insts[i];
        if (t->oracle->steps_left-- == 0)
            return stop(t, "too many steps");
        if (tw_kir_op_flags((enum tw_kir_op)t->inst->op) & TW_KIR_TERM)
            return true;
        bool is_off = t->inst->guard != TW_KIR_NO_REG && (t->regs[t->inst->guard] & 1) == t->inst->guard_not;
        if (!is_off && !step(t))
            return false;
    }
    return stop(t, "a block without an end");
}

bool oracle_run(struct oracle *oracle) {
    struct thread t = {.oracle = oracle, .regs = calloc(oracle->function->reg_count + 1, sizeof(uint64_t))};
    bool ok = t.regs;
    for (uint32_t at = 0; ok && at != UINT32_MAX;) {
        ok = run_block(&t, &oracle->function->blocks[at]);
        at = ok ? next_block(&t) : UINT32_MAX;
    }
    free(t.regs);
    return ok;
}

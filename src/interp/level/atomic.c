// SPDX-License-Identifier: Apache-2.0
//
// Atomics, lane by lane in the lanes' order. Those on memory that other threads may touch are the machine's. Addresses are
// aligned down to the operand's size, as in compiled code.

#include "convert.h"
#include "memory.h"

enum { SEQ_CST = __ATOMIC_SEQ_CST };

// What an instruction does. Confined.
struct operation {
    enum tw_kir_atom atom;
    enum tw_kir_type type;
    bool is_signed, plain, red;
};

static struct operation operation_of(const struct interp_warp *warp, uint32_t how) {
    enum tw_kir_type type = (enum tw_kir_type)(how >> TW_INTERP_ATOM_TYPE_SHIFT & 0xff);
    return (struct operation){.atom = (enum tw_kir_atom)(how & 0xff),
                              .type = type,
                              .is_signed = type >= TW_KIR_S8 && type <= TW_KIR_S64,
                              .plain = how & TW_INTERP_ATOM_PLAIN || warp->frame->alone,
                              .red = how & TW_INTERP_ATOM_RED};
}

static u16 half_sum(u64 x, u64 y) {
    return half_of_f32(add_f32(f32_of_half((u16)x), f32_of_half((u16)y)));
}

static u16 bfloat_sum(u64 x, u64 y) {
    return narrow_bf16(add_f32(widen_bf16((u16)x), widen_bf16((u16)y)));
}

static u64 sum(enum tw_kir_type type, u64 x, u64 y) {
    switch ((int)type) {
    case TW_KIR_F16:
        return half_sum(x, y);
    case TW_KIR_F16X2:
        return half_sum(x, y) | (u64)half_sum(x >> 16, y >> 16) << 16;
    case TW_KIR_BF16:
        return bfloat_sum(x, y);
    case TW_KIR_BF16X2:
        return bfloat_sum(x, y) | (u64)bfloat_sum(x >> 16, y >> 16) << 16;
    case TW_KIR_F32:
        return bits_f32(add_f32(f32_of((u32)x), f32_of((u32)y)));
    case TW_KIR_F64:
        return bits_f64(add_f64(f64_of(x), f64_of(y)));
    default: // integers of any width
        return x + y;
    }
}

// Numbers of `bits` bits, of which the upper ones are zero.
static bool is_less(const struct operation *o, unsigned bits, u64 x, u64 y) {
    u64 top = o->is_signed ? UINT64_C(1) << (bits - 1) : 0;
    return (x ^ top) < (y ^ top);
}

// The new value, in its lower bits, from the old one and the operand.
static u64 combine(const struct operation *o, unsigned bits, u64 old, u64 v) {
    switch (o->atom) {
    case TW_KIR_ATOM_ADD:
        return sum(o->type, old, v);
    case TW_KIR_ATOM_MIN:
        return is_less(o, bits, v, old) ? v : old;
    case TW_KIR_ATOM_MAX:
        return is_less(o, bits, old, v) ? v : old;
    case TW_KIR_ATOM_AND:
        return old & v;
    case TW_KIR_ATOM_OR:
        return old | v;
    case TW_KIR_ATOM_XOR:
        return old ^ v;
    case TW_KIR_ATOM_INC:
        return old >= v ? 0 : old + 1;
    case TW_KIR_ATOM_DEC:
        return old == 0 || old > v ? v : old - 1;
    case TW_KIR_ATOM_EXCH:
    case TW_KIR_ATOM_CAS: // not done here
        break;
    }
    return v;
}

// It does not matter which comes first: lanes at one place may do it together.
static bool is_free(const struct operation *o) {
    bool is_float = o->type >= TW_KIR_F16 && o->type <= TW_KIR_F64;
    return o->red && !is_float && o->atom <= TW_KIR_ATOM_XOR;
}

static void find_aligned(const struct interp_warp *warp, const struct interp_step *step, u64 bytes,
                         struct places *ret) {
    const u64 *addresses = interp_row(warp, step, 1);
    u64 aligned[TW_INTERP_LANES];
    EACH_LANE(i)
    aligned[i] = (addresses[i] + step->imm) & ~(bytes - 1);
    places_find(warp, aligned, 0, ret);
}

#define ATOM(bits, type)                                                                                     \
    typedef type shared_##bits __attribute__((may_alias));                                                   \
                                                                                                             \
    static INTERP_RACES type one_##bits(const struct operation *o, shared_##bits *at, type a, type b) {      \
        bool compares = o->atom == TW_KIR_ATOM_CAS;                                                          \
        if (o->plain) {                                                                                      \
            type old = *at;                                                                                  \
            *at = compares ? (old == a ? b : old) : (type)combine(o, bits, old, a);                          \
            return old;                                                                                      \
        }                                                                                                    \
        if (compares) {                                                                                      \
            (void)__atomic_compare_exchange_n(at, &a, b, false, SEQ_CST, SEQ_CST);                           \
            return a;                                                                                        \
        }                                                                                                    \
        type old = __atomic_load_n(at, __ATOMIC_RELAXED);                                                    \
        while (                                                                                              \
            !__atomic_compare_exchange_n(at, &old, (type)combine(o, bits, old, a), false, SEQ_CST, SEQ_CST)) \
            ;                                                                                                \
        return old;                                                                                          \
    }                                                                                                        \
    INTERP_RACES INTERP_HANDLER(ATOM_##bits) {                                                               \
        struct places places;                                                                                \
        struct operation o = operation_of(warp, step->operands[4]);                                          \
        type *old = interp_row(warp, step, 0);                                                               \
        const type *a = interp_row(warp, step, 2), *b = interp_row(warp, step, 3);                           \
        uint32_t left = warp->active;                                                                        \
        if (!left)                                                                                           \
            return step + 1;                                                                                 \
        find_aligned(warp, step, sizeof(type), &places);                                                     \
        places_note_stored(warp, &places, sizeof(type));                                                     \
        if (is_free(&o) && places_apart(&places, 0)) {                                                       \
            type all = a[__builtin_ctz(left)];                                                               \
            for (left &= left - 1; left; left &= left - 1)                                                   \
                all = (type)combine(&o, bits, all, a[__builtin_ctz(left)]);                                  \
            (void)one_##bits(&o, (shared_##bits *)(void *)(places.base + places.at[0]), all, all);           \
        }                                                                                                    \
        for (; left; left &= left - 1) {                                                                     \
            unsigned i = (unsigned)__builtin_ctz(left);                                                      \
            old[i] = one_##bits(&o, (shared_##bits *)(void *)(places.base + places.at[i]), a[i], b[i]);      \
        }                                                                                                    \
        return step + 1;                                                                                     \
    }

ATOM(16, uint16_t)
ATOM(32, uint32_t)
ATOM(64, uint64_t)

INTERP_HANDLER(FENCE) {
    __builtin_ia32_mfence();
    return step + 1;
}

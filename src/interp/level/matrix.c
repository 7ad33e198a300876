// SPDX-License-Identifier: Apache-2.0
//
// Products of matrices by a warp, dense ones, and what brings their operands into the lanes. Elements are added up in the order of
// compiled code (jit/emit_matrix.c): one k after the other, halves in floats that are rounded once at the end. Element i of c lies in
// the same place of every lane's fragment, so a product is k times moves of elements of a and b to the lanes that want them, and
// fused multiply-adds of whole rows.
//
// Lanes that take no part may get anything: a product is one of all lanes.

#include "convert.h"
#include "memory.h"

enum { LANES = TW_INTERP_LANES, SUMS_MAX = 4, RESULTS_MAX = 4 };

// Confined: one product.
struct product {
    struct tw_kir_inst kind;
    struct tw_kir_matrix shape;
    const struct interp_warp *warp;
    const uint32_t *results, *a, *b, *c; // rows
};

static struct product begin(const struct interp_warp *warp, const struct interp_step *step) {
    struct product p = {.kind = interp_product(step->imm), .warp = warp, .results = step->operands + 1};
    tw_kir_matrix_of(&p.kind, &p.shape); // load.c has asked whether there is one
    p.a = p.results + p.shape.c;
    p.b = p.a + p.shape.a;
    p.c = p.b + p.shape.b;
    return p;
}

static void *row_at(const struct interp_warp *warp, uint32_t row) {
    return __builtin_assume_aligned(warp->regs + row, TW_INTERP_ROW_ALIGN);
}

// ---- element `index` of a fragment's registers as sums want it ----

static void halves(const u32 *words, unsigned index, f32 *to) {
    EACH_LANE(i)
    to[i] = f32_of_half((u16)(words[i] >> 16 * index));
}

static void element_f32(const struct product *p, const u32 *words, unsigned index,
                        [[maybe_unused]] bool is_signed, f32 *to) {
    uint32_t mask = p->kind.type2 == TW_KIR_TF32 ? 0xffffe000 : 0xffff0000, up = index ? 0 : 16;
    if (p->kind.type2 == TW_KIR_F16) {
        halves(words, index, to);
        return;
    }
    if (p->kind.type2 == TW_KIR_TF32) // the low bits are not looked at
        up = 0;
    EACH_LANE(i)
    to[i] = f32_of(words[i] << up & mask);
}

static void element_u32(const struct product *p, const u32 *words, unsigned index, bool is_signed, u32 *to) {
    unsigned bits = tw_kir_type_bits(p->kind.type2);
    bool whole = p->kind.type2 == TW_KIR_B1;
    unsigned up = whole ? 0 : 32 - bits - bits * index, down = whole ? 0 : 32 - bits;
    EACH_LANE(i)
    to[i] = is_signed ? (u32)((s32)(words[i] << up) >> down) : words[i] << up >> down;
}

static void element_f64([[maybe_unused]] const struct product *p, const f64 *words,
                        [[maybe_unused]] unsigned index, [[maybe_unused]] bool is_signed, f64 *to) {
    memcpy(to, words, LANES * sizeof *to);
}

// ---- sums ----

// sums[2 × r + c]: rows 8r …, columns c, c + 2, … Rows of a stay in their group of four lanes; columns 2 × (lane % 4), and the one after
// it, of b come from all of them.
#define SUMS(name, type, word, element, add)                                                                 \
    static void step_##name(unsigned rows, unsigned step, const type(*from_a)[LANES], const type *from_b,    \
                            [[maybe_unused]] bool exclusive, type(*sums)[LANES]) {                           \
        type columns[2][LANES], row[LANES];                                                                  \
        EACH_LANE(i) {                                                                                       \
            columns[0][i] = from_b[(i & 3) * 8 + step];                                                      \
            columns[1][i] = from_b[(i & 3) * 8 + 4 + step];                                                  \
        }                                                                                                    \
        for (unsigned r = 0; r < rows; r++) {                                                                \
            EACH_LANE(i)                                                                                     \
            row[i] = from_a[r][(i & ~3U) | step];                                                            \
            for (unsigned k = 0; k < 2; k++) {                                                               \
                EACH_LANE(i) {                                                                               \
                    type a = row[i], b = columns[k][i], sum = sums[2 * r + k][i];                            \
                    sums[2 * r + k][i] = add;                                                                \
                }                                                                                            \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    static void add_##name(const struct product *p, type(*sums)[LANES]) {                                    \
        const struct tw_kir_matrix *m = &p->shape;                                                           \
        unsigned rows = m->m / 8, elements = p->kind.type2 == TW_KIR_B1 ? 1 : m->elements;                   \
        bool a_signed = tw_kir_type_is_signed(p->kind.type2),                                                \
             b_signed = a_signed != ((p->kind.mods & TW_KIR_MIXED) != 0);                                    \
        bool exclusive = (p->kind.mods & TW_KIR_XORSIGN) != 0;                                               \
        for (unsigned group = 0; group < m->b; group++)                                                      \
            for (unsigned j = 0; j < elements; j++) {                                                        \
                type a[2][LANES], b[LANES];                                                                  \
                element(p, (const word *)row_at(p->warp, p->b[group]), j, b_signed, b);                      \
                for (unsigned r = 0; r < rows; r++)                                                          \
                    element(p, (const word *)row_at(p->warp, p->a[group * rows + r]), j, a_signed, a[r]);    \
                for (unsigned step = 0; step < 4; step++)                                                    \
                    step_##name(rows, step, (const type(*)[LANES])a, b, exclusive, sums);                    \
            }                                                                                                \
    }

SUMS(floats, f32, u32, element_f32, __builtin_fmaf(a, b, sum))
SUMS(doubles, f64, f64, element_f64, __builtin_fma(a, b, sum))
SUMS(integers, u32, u32, element_u32, sum + a * b)
SUMS(bits, u32, u32, element_u32, sum + (u32)__builtin_popcount(exclusive ? a ^ b : a & b))

// ---- products ----

static void multiply_floats(const struct product *p) {
    f32 sums[SUMS_MAX][LANES];
    bool is_half = p->kind.type == TW_KIR_F16;
    for (unsigned k = 0; k < p->shape.m / 4; k++)
        if (is_half)
            halves(row_at(p->warp, p->c[k / 2]), k % 2, sums[k]);
        else
            memcpy(sums[k], row_at(p->warp, p->c[k]), sizeof sums[k]);
    add_floats(p, sums);
    for (unsigned k = 0; k < p->shape.c; k++) {
        u32 *d = row_at(p->warp, p->results[k]);
        if (is_half)
            EACH_LANE(i)
        d[i] = half_of_f32(sums[2 * k][i]) | (u32)half_of_f32(sums[2 * k + 1][i]) << 16;
        else memcpy(d, sums[k], sizeof sums[k]);
    }
}

static u32 saturated_sum(u32 a, u32 b) {
    s64 sum = (s64)(s32)a + (s32)b;
    return (u32)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}

// Sums begin with zero and take c at the end, where they may saturate.
static void multiply_integers(const struct product *p) {
    u32 sums[SUMS_MAX][LANES] = {};
    if (p->kind.type2 == TW_KIR_B1)
        add_bits(p, sums);
    else
        add_integers(p, sums);
    for (unsigned k = 0; k < p->shape.c; k++) {
        const u32 *c = row_at(p->warp, p->c[k]);
        EACH_LANE(i)
        sums[k][i] = p->kind.mods & TW_KIR_SAT ? saturated_sum(sums[k][i], c[i]) : sums[k][i] + c[i];
    }
    for (unsigned k = 0; k < p->shape.c; k++)
        memcpy(row_at(p->warp, p->results[k]), sums[k], sizeof sums[k]);
}

INTERP_HANDLER(MMA_32) {
    struct product p = begin(warp, step);
    if (p.kind.type == TW_KIR_S32)
        multiply_integers(&p);
    else
        multiply_floats(&p);
    return step + 1;
}

INTERP_HANDLER(MMA_64) {
    struct product p = begin(warp, step);
    f64 sums[SUMS_MAX][LANES];
    for (unsigned k = 0; k < p.shape.c; k++)
        memcpy(sums[k], row_at(warp, p.c[k]), sizeof sums[k]);
    add_doubles(&p, sums);
    for (unsigned k = 0; k < p.shape.c; k++)
        memcpy(row_at(warp, p.results[k]), sums[k], sizeof sums[k]);
    return step + 1;
}

// ---- operands ----

// Lanes 8k … 8k + 7 hold the addresses of the rows of matrix k: places of elements of so many bytes, of the row that each lane takes
// part of.
static void find_rows(const struct interp_warp *warp, const struct interp_step *step, const unsigned *lanes,
                      const unsigned *bytes, struct places *ret) {
    const u64 *rows = interp_row(warp, step, 0);
    u64 addresses[LANES];
    for (unsigned i = 0; i < LANES; i++)
        addresses[i] = rows[lanes[i] & 31] + step->imm + bytes[i];
    places_find(warp, addresses, 0, ret);
}

static INTERP_RACES void load_words(struct interp_warp *warp, const struct interp_step *step, unsigned k,
                                    u32 *to) {
    struct places places;
    unsigned lanes[LANES], bytes[LANES];
    for (unsigned i = 0; i < LANES; i++) {
        lanes[i] = 8 * k + i / 4;
        bytes[i] = 4 * (i % 4);
    }
    find_rows(warp, step, lanes, bytes, &places);
    for (unsigned i = 0; i < LANES; i++)
        to[i] = *(const loose_32 *)(places.base + places.at[i]);
}

static INTERP_RACES void load_transposed(struct interp_warp *warp, const struct interp_step *step, unsigned k,
                                         u32 *to) {
    struct places places;
    unsigned lanes[LANES], bytes[LANES];
    memset(to, 0, LANES * sizeof *to);
    for (unsigned odd = 0; odd < 2; odd++) {
        for (unsigned i = 0; i < LANES; i++) {
            lanes[i] = 8 * k + 2 * (i % 4) + odd;
            bytes[i] = 2 * (i / 4);
        }
        find_rows(warp, step, lanes, bytes, &places);
        for (unsigned i = 0; i < LANES; i++)
            to[i] |= (u32) * (const loose_16 *)(places.base + places.at[i]) << 16 * odd;
    }
}

// operands: the addresses' row, how many matrices, a row each.
static const struct interp_step *load(struct interp_warp *warp, const struct interp_step *step,
                                      void (*load_one)(struct interp_warp *, const struct interp_step *,
                                                       unsigned, u32 *)) {
    u32 found[RESULTS_MAX][LANES];
    unsigned count = step->operands[1] < RESULTS_MAX ? step->operands[1] : RESULTS_MAX;
    if (!warp->active)
        return step + 1;
    for (unsigned k = 0; k < count; k++)
        load_one(warp, step, k, found[k]);
    for (unsigned k = 0; k < count; k++)
        memcpy(interp_row(warp, step, 2 + k), found[k], sizeof found[k]);
    return step + 1;
}

INTERP_HANDLER(LDMATRIX) {
    return load(warp, step, load_words);
}

INTERP_HANDLER(LDMATRIX_TRANS) {
    return load(warp, step, load_transposed);
}

// Element (row, column) of an 8 × 8 matrix of halves lies in lane 4 × row + column / 2.
INTERP_HANDLER(MOVMATRIX) {
    const u32 *a = interp_row(warp, step, 1);
    u32 found[LANES];
    for (unsigned i = 0; i < LANES; i++) {
        unsigned from = 8 * (i % 4) + i / 8, up = i / 4 % 2 ? 16 : 0;
        found[i] = (a[from] >> up & 0xffff) | (a[from + 4] >> up & 0xffff) << 16;
    }
    memcpy(interp_row(warp, step, 0), found, sizeof found);
    return step + 1;
}

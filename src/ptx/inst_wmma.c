// SPDX-License-Identifier: Apache-2.0
//
// wmma: products of whole matrices whose fragments PTX leaves to the machine. Here they are those of mma.sync, tile
// by tile, so that a load is plain loads and a product some mma:
//
//     a: the tiles from top to bottom, each the registers of mma's a     c, d: tiles by rows, then by columns, each
//     b: the tiles from left to right, each the registers of mma's b           the registers of mma's c
//
// Of m8n32k16 mma has no shape: its tiles are m16n8k16 with zeros for the lower eight rows, whose registers are left
// out. Fragments of halves have more registers than that fills; the others repeat them.

#include "sequence.h"

enum { FRAGMENT_MAX = 8 };

// What a lane holds of one matrix.
struct fragment_shape {
    unsigned registers, used; // the operand's, and those that differ
    unsigned bits;            // of an element
    unsigned reg_bits;
};

// One product. Confined.
struct wmma {
    uint8_t in;             // type of a's and b's elements
    struct tw_kir_inst mma; // its kind of tile
    struct tw_kir_matrix tile;
    unsigned rows, columns; // tiles
    bool half;              // only the upper half of a tile
};

static const struct {
    uint8_t shape, m, n;
    uint32_t types; // of elements: bits 1 << enum tw_kir_type
} shapes[] = {
    {PTX_M16N16K16, 16, 16, 1u << TW_KIR_F16 | 1u << TW_KIR_BF16 | 1u << TW_KIR_S8 | 1u << TW_KIR_U8},
    {PTX_M32N8K16, 32, 8, 1u << TW_KIR_F16 | 1u << TW_KIR_BF16 | 1u << TW_KIR_S8 | 1u << TW_KIR_U8},
    {PTX_M8N32K16, 8, 32, 1u << TW_KIR_F16 | 1u << TW_KIR_BF16 | 1u << TW_KIR_S8 | 1u << TW_KIR_U8},
    {PTX_M16N16K8, 16, 16, 1u << TW_KIR_TF32},
    {TW_KIR_M8N8K4, 8, 8, 1u << TW_KIR_F64},
    {TW_KIR_M8N8K32, 8, 8, 1u << TW_KIR_S4 | 1u << TW_KIR_U4},
    {TW_KIR_M8N8K128, 8, 8, 1u << TW_KIR_B1},
};

static uint8_t tile_of(uint8_t in) {
    switch (in) {
    case TW_KIR_TF32:
        return TW_KIR_M16N8K8;
    case TW_KIR_F64:
        return TW_KIR_M8N8K4;
    case TW_KIR_S4:
    case TW_KIR_U4:
        return TW_KIR_M8N8K32;
    case TW_KIR_B1:
        return TW_KIR_M8N8K128;
    default:
        return TW_KIR_M16N8K16;
    }
}

static bool not_offered(struct ptx_parser *parser, const struct ptx_inst *inst) {
    return ptx_refuse(parser, &inst->token, "instruction '%.*s' is not supported: no such matrix up to sm_80",
                      TW_STR_ARG(inst->name));
}

// `in` and `sum`: types of a's and b's elements, and of the tiles' sums.
static bool describe(struct ptx_parser *parser, const struct ptx_inst *inst, uint8_t in, uint8_t sum,
                     struct wmma *ret_wmma) {
    struct wmma w = {.in = in, .mma = {.type = sum, .type2 = in, .mode = tile_of(in)}};
    unsigned m = 0, n = 0;
    for (size_t i = 0; i < TW_COUNT(shapes); i++)
        if (shapes[i].shape == inst->values[PTX_G_SHAPE] && (shapes[i].types >> in & 1)) {
            m = shapes[i].m;
            n = shapes[i].n;
        }
    if (!m || !tw_kir_matrix_of(&w.mma, &w.tile))
        return not_offered(parser, inst);
    w.half = m < w.tile.m;
    w.rows = w.half ? 1 : m / w.tile.m;
    w.columns = n / w.tile.n;
    *ret_wmma = w;
    return true;
}

static unsigned a_of_tile(const struct wmma *w) {
    return w->half ? w->tile.a / 2 : w->tile.a;
}
static unsigned c_of_tile(const struct wmma *w) {
    return w->half ? w->tile.c / 2 : w->tile.c;
}

static struct fragment_shape fragment_of(const struct wmma *w, unsigned letter) {
    unsigned counts[] = {w->rows * a_of_tile(w), w->columns * w->tile.b, w->rows * w->columns * c_of_tile(w)};
    bool sum = letter >= PTX_FRAGMENT_C;
    struct fragment_shape f = {.used = counts[sum ? PTX_FRAGMENT_C : letter],
                               .bits = tw_kir_type_bits(sum ? w->mma.type : w->in),
                               .reg_bits = sum ? w->tile.c_bits : w->tile.in_bits};
    f.registers = w->in == TW_KIR_F16 && !sum ? FRAGMENT_MAX : f.used;
    return f;
}

// ---- where elements lie ----

// Row and column of element `j` of register `i`, less what the lane adds.
static void place_of(const struct wmma *w, unsigned letter, unsigned i, unsigned j, unsigned *ret_row,
                     unsigned *ret_column) {
    const struct tw_kir_matrix *t = &w->tile;
    unsigned e = t->elements, per_row = t->m / 8;
    if (letter == PTX_FRAGMENT_A) {
        unsigned tile = i / a_of_tile(w), r = i % a_of_tile(w) * (w->half ? 2 : 1);
        *ret_row = tile * t->m + 8 * (r % per_row);
        *ret_column = 4 * e * (r / per_row) + j;
    } else if (letter == PTX_FRAGMENT_B) {
        *ret_row = 4 * e * (i % t->b) + j;
        *ret_column = i / t->b * t->n;
    } else {
        unsigned tile = i / c_of_tile(w), r = i % c_of_tile(w) * (w->mma.type == TW_KIR_F16 ? 2 : 1) + j;
        *ret_row = tile / w->columns * t->m + 8 * (r / 2);
        *ret_column = tile % w->columns * t->n + r % 2;
    }
}

// A matrix in memory, as this lane sees it: address of its first element and the distance of rows, or of columns
// where those are what lies together. Confined.
struct memory {
    struct ptx_sequence *s;
    const struct wmma *w;
    unsigned letter;
    struct fragment_shape f;
    bool by_columns; // elements of a column follow one another
    uint8_t space;
    int64_t offset;
    struct tw_kir_operand base, stride; // 64 bits; bytes
};

static struct tw_kir_operand times(struct ptx_sequence *s, struct tw_kir_operand a, uint64_t factor) {
    if (a.is_imm)
        return ptx_number(a.bits * factor);
    return factor == 1 ? a : ptx_binary(s, TW_KIR_MUL, TW_KIR_U64, a, ptx_number(factor));
}

static uint64_t elements_bytes(const struct memory *m, unsigned elements) {
    return (uint64_t)elements * m->f.bits / 8;
}

// Adds the lane's own part: rows (a, c) or columns (b) by lane / 4, the others by lane % 4.
static void begin_lane(struct memory *m) {
    struct ptx_sequence *s = m->s;
    struct tw_kir_operand lane = ptx_step(s, TW_KIR_SREG, TW_KIR_U32, 32, NULL, 0);
    if (s->failed)
        return;
    ptx_last_step(s)->index = TW_KIR_LANEID;
    struct tw_kir_operand wide = ptx_convert(s, TW_KIR_U32, TW_KIR_U64, lane);
    struct tw_kir_operand group = ptx_binary(s, TW_KIR_SHR, TW_KIR_U64, wide, ptx_number(2)),
                          in_group = ptx_binary(s, TW_KIR_AND, TW_KIR_B64, wide, ptx_number(3));
    unsigned each = m->letter >= PTX_FRAGMENT_C ? 2 : m->w->tile.elements;
    bool group_is_column = m->letter == PTX_FRAGMENT_B, group_is_major = group_is_column == m->by_columns;
    struct tw_kir_operand major = group_is_major ? group : times(s, in_group, each),
                          minor = group_is_major ? times(s, in_group, elements_bytes(m, each))
                                                 : times(s, group, elements_bytes(m, 1));
    struct tw_kir_operand at = ptx_binary(s, TW_KIR_MUL, TW_KIR_U64, major, m->stride);
    m->base =
        ptx_binary(s, TW_KIR_ADD, TW_KIR_U64, m->base, ptx_binary(s, TW_KIR_ADD, TW_KIR_U64, at, minor));
}

// The address of element `j` of register `i`: a register and an offset.
static struct tw_kir_operand address_of(const struct memory *m, unsigned i, unsigned j, int64_t *ret_offset) {
    unsigned row, column;
    place_of(m->w, m->letter, i, j, &row, &column);
    unsigned major = m->by_columns ? column : row, minor = m->by_columns ? row : column;
    *ret_offset = m->offset + (int64_t)elements_bytes(m, minor);
    if (!major)
        return m->base;
    if (m->stride.is_imm) {
        *ret_offset += (int64_t)(m->stride.bits * major);
        return m->base;
    }
    return ptx_binary(m->s, TW_KIR_ADD, TW_KIR_U64, m->base, times(m->s, m->stride, major));
}

// Whether the elements of a register lie together, so that it is moved as a whole.
static bool together(const struct memory *m) {
    bool along_columns = m->letter == PTX_FRAGMENT_B; // a register's elements are of one column
    return m->f.bits == m->f.reg_bits || along_columns == m->by_columns;
}

static struct tw_kir_operand load_piece(const struct memory *m, unsigned i, unsigned j, unsigned bits) {
    int64_t offset;
    struct tw_kir_operand at = address_of(m, i, j, &offset);
    struct tw_kir_operand d = ptx_step(m->s, TW_KIR_LD, ptx_integer_type(bits, false), bits, &at, 1);
    if (!m->s->failed) {
        ptx_last_step(m->s)->space = m->space;
        ptx_last_step(m->s)->offset = offset;
    }
    return d;
}

static struct tw_kir_operand load_register(const struct memory *m, unsigned i) {
    if (together(m))
        return load_piece(m, i, 0, m->f.reg_bits);
    unsigned count = m->f.reg_bits / m->f.bits;
    struct tw_kir_operand parts[4];
    for (unsigned j = 0; j < count; j++)
        parts[j] = load_piece(m, i, j, m->f.bits);
    return ptx_step(m->s, TW_KIR_PACK, TW_KIR_B32, 32, parts, count);
}

static void store_piece(const struct memory *m, unsigned i, unsigned j, unsigned bits,
                        struct tw_kir_operand value) {
    int64_t offset;
    struct tw_kir_operand at = address_of(m, i, j, &offset);
    struct tw_kir_inst *to =
        m->s->failed ? NULL : ptx_emit_free(m->s->parser, TW_KIR_ST, ptx_integer_type(bits, false), 0, 2);
    m->s->failed |= !to;
    if (!to)
        return;
    to->space = m->space;
    to->offset = offset;
    to->src[0] = at;
    to->src[1] = value;
}

static void store_register(const struct memory *m, unsigned i, struct tw_kir_operand value) {
    if (together(m)) {
        store_piece(m, i, 0, m->f.reg_bits, value);
        return;
    }
    struct tw_kir_operand low = ptx_convert(m->s, TW_KIR_U32, TW_KIR_U16,
                                            value), // only halves of sums lie apart
        down = ptx_binary(m->s, TW_KIR_SHR, TW_KIR_U32, value, ptx_number(16)),
                          high = ptx_convert(m->s, TW_KIR_U32, TW_KIR_U16, down);
    store_piece(m, i, 0, 16, low);
    store_piece(m, i, 1, 16, high);
}

// ---- statements ----

static bool fragment_operand(struct ptx_parser *parser, const struct ptx_inst *inst, unsigned count,
                             struct ptx_operand *ret_operand) {
    struct ptx_token at = parser->token;
    if (!ptx_operand(parser, ret_operand))
        return false;
    return ret_operand->count == count || ptx_fail(parser, &at, "'%.*s' holds %u registers here, found %u",
                                                   TW_STR_ARG(inst->name), count, ret_operand->count);
}

static bool fragment_sources(struct ptx_parser *parser, const struct ptx_inst *inst, struct fragment_shape f,
                             struct tw_kir_operand *ret_sources) {
    struct ptx_operand operand;
    if (!fragment_operand(parser, inst, f.registers, &operand))
        return false;
    for (unsigned i = 0; i < f.used; i++)
        if (!ptx_source(parser, &operand.items[i], ptx_integer_type(f.reg_bits, false), &ret_sources[i]))
            return false;
    return true;
}

static bool write_fragment(struct ptx_sequence *s, const struct ptx_operand *operand, struct fragment_shape f,
                           const struct tw_kir_operand *values) {
    uint8_t type = f.reg_bits == 64 ? TW_KIR_B64 : TW_KIR_B32;
    for (unsigned i = 0; i < f.registers; i++) {
        uint32_t target;
        if (s->failed || !ptx_target(s->parser, &operand->items[i], type, &target))
            return false;
        struct tw_kir_inst *to = ptx_emit_free(s->parser, TW_KIR_MOV, type, 1, 1);
        if (!to)
            return false;
        to->dst[0] = target;
        to->src[0] = values[i % f.used];
    }
    return true;
}

// [, stride]: in elements; without it the matrix is as it is, row behind row.
static bool stride(struct ptx_parser *parser, struct memory *m) {
    const struct wmma *w = m->w;
    unsigned rows = m->letter == PTX_FRAGMENT_B ? w->tile.k
                    : w->half                   ? 8
                                                : w->rows * w->tile.m,
             columns = m->letter == PTX_FRAGMENT_A ? w->tile.k : w->columns * w->tile.n;
    bool given;
    struct ptx_operand operand;
    struct tw_kir_operand elements = ptx_number(m->by_columns ? rows : columns);
    if (!ptx_accept(parser, ',', &given) || (given && !ptx_operand(parser, &operand)) ||
        (given && !ptx_source(parser, &operand.items[0], TW_KIR_U32, &elements)))
        return false;
    if (elements.is_imm) {
        m->stride = ptx_number(elements_bytes(m, (unsigned)elements.bits));
        return true;
    }
    elements = ptx_convert(m->s, TW_KIR_U32, TW_KIR_U64, elements);
    m->stride = m->f.bits < 8
                    ? ptx_binary(m->s, TW_KIR_SHR, TW_KIR_U64, elements, ptx_number(m->f.bits == 4 ? 1 : 3))
                    : times(m->s, elements, m->f.bits / 8);
    return true;
}

static bool memory_operand(struct ptx_parser *parser, const struct ptx_inst *inst, struct memory *m) {
    struct ptx_address address;
    m->f = fragment_of(m->w, m->letter);
    m->by_columns = inst->values[PTX_G_LAYOUT] == 1;
    m->space = ptx_has(inst, PTX_G_SPACE) ? inst->values[PTX_G_SPACE] : TW_KIR_GENERIC;
    if (m->f.bits < 8 && !together(m))
        return not_offered(parser, inst);
    if (m->space != TW_KIR_GENERIC && m->space != TW_KIR_GLOBAL && m->space != TW_KIR_SHARED)
        return ptx_fail(parser, &inst->token, "'%.*s': matrices lie in .global or .shared memory",
                        TW_STR_ARG(inst->name));
    return ptx_address(parser, &address) && ptx_address_source(parser, &address, &m->base, &m->offset);
}

static bool load_matrix(struct ptx_parser *parser, const struct ptx_inst *inst, struct memory *m) {
    struct ptx_operand operand;
    struct tw_kir_operand values[FRAGMENT_MAX];
    if (!fragment_operand(parser, inst, fragment_of(m->w, m->letter).registers, &operand) ||
        !ptx_expect(parser, ',') || !memory_operand(parser, inst, m) || !stride(parser, m))
        return false;
    begin_lane(m);
    for (unsigned i = 0; i < m->f.used; i++)
        values[i] = load_register(m, i);
    return write_fragment(m->s, &operand, m->f, values);
}

static bool store_matrix(struct ptx_parser *parser, const struct ptx_inst *inst, struct memory *m) {
    struct tw_kir_operand values[FRAGMENT_MAX];
    if (!memory_operand(parser, inst, m) || !ptx_expect(parser, ',') ||
        !fragment_sources(parser, inst, m->f, values) || !stride(parser, m))
        return false;
    begin_lane(m);
    for (unsigned i = 0; i < m->f.used; i++)
        store_register(m, i, values[i]);
    return !m->s->failed;
}

// The type of a's and b's elements where only that of the sums is named: any that has this shape.
static uint8_t elements_of_sum(const struct ptx_inst *inst) {
    uint8_t shape = inst->values[PTX_G_SHAPE];
    if (shape == PTX_M16N16K8)
        return TW_KIR_TF32;
    if (inst->type != TW_KIR_S32)
        return inst->type == TW_KIR_F64 ? TW_KIR_F64 : TW_KIR_F16;
    return shape == TW_KIR_M8N8K32 ? TW_KIR_S4 : shape == TW_KIR_M8N8K128 ? TW_KIR_B1 : TW_KIR_S8;
}

static uint8_t sum_of_elements(uint8_t in) {
    return in == TW_KIR_F64 ? TW_KIR_F64 : tw_kir_type_is_float(in) ? TW_KIR_F32 : TW_KIR_S32;
}

// wmma.load.{a,b,c}.sync.aligned.LAYOUT.SHAPE[.SPACE].TYPE {r, …}, [p] [, stride]
// wmma.store.d.sync.aligned.LAYOUT.SHAPE[.SPACE].TYPE [p], {r, …} [, stride]
static bool move_matrix(struct ptx_parser *parser, const struct ptx_inst *inst, bool stores) {
    struct wmma w;
    struct ptx_sequence s = {.parser = parser};
    struct memory m = {.s = &s, .w = &w, .letter = inst->values[PTX_G_FRAGMENT]};
    bool sum = m.letter >= PTX_FRAGMENT_C;
    uint8_t in = sum ? elements_of_sum(inst) : inst->type;
    if (!ptx_has(inst, PTX_G_FRAGMENT) || stores != (m.letter == PTX_FRAGMENT_D) ||
        !ptx_has(inst, PTX_G_LAYOUT) || inst->type2)
        return not_offered(parser, inst);
    if (!describe(parser, inst, in, sum ? inst->type : sum_of_elements(in), &w))
        return false;
    return stores ? store_matrix(parser, inst, &m) : load_matrix(parser, inst, &m);
}

// ---- products ----

// Types of a product: of the elements and of d and c. False: these do not go together.
static bool product_types(const struct ptx_inst *inst, uint8_t *ret_in, uint8_t *ret_c) {
    bool halves = !inst->type3;
    *ret_in = halves ? TW_KIR_F16 : inst->type2;
    *ret_c = halves ? inst->type2 : inst->type4;
    bool bits = *ret_in == TW_KIR_B1, small = bits || *ret_in == TW_KIR_S4 || *ret_in == TW_KIR_U4;
    if (bits != ptx_has(inst, PTX_G_BITOP) || bits != ptx_has(inst, PTX_G_POPC))
        return false;
    if (small && (inst->values[PTX_G_LAYOUT] != 0 || inst->values[PTX_G_LAYOUT2] != 1))
        return false;
    if (ptx_has(inst, PTX_G_SATFINITE) && (inst->type != TW_KIR_S32 || bits))
        return false;
    if (ptx_has(inst, PTX_G_ROUND) && inst->type != TW_KIR_F64)
        return false;
    if (halves)
        return (inst->type == TW_KIR_F16 || inst->type == TW_KIR_F32) &&
               (*ret_c == TW_KIR_F16 || *ret_c == TW_KIR_F32);
    return inst->type2 == inst->type3 && inst->type == *ret_c && inst->type == sum_of_elements(*ret_in) &&
           *ret_in != TW_KIR_F16;
}

// Halves to floats: register i becomes 2i and 2i + 1.
static void widen_sums(struct ptx_sequence *s, struct tw_kir_operand *values, unsigned count) {
    for (unsigned i = count; i-- > 0;) {
        struct tw_kir_operand word = values[i];
        for (unsigned j = 0; j < 2; j++) {
            struct tw_kir_operand down =
                j ? ptx_binary(s, TW_KIR_SHR, TW_KIR_U32, word, ptx_number(16)) : word;
            values[2 * i + j] =
                ptx_convert(s, TW_KIR_F16, TW_KIR_F32, ptx_convert(s, TW_KIR_U32, TW_KIR_U16, down));
        }
    }
}

static void narrow_sums(struct ptx_sequence *s, struct tw_kir_operand *values, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const struct tw_kir_operand parts[2] = {values[2 * i + 1], values[2 * i]};
        values[i] = ptx_step(s, TW_KIR_CVT, TW_KIR_F16X2, 32, parts, 2);
        if (!s->failed) {
            ptx_last_step(s)->type2 = TW_KIR_F32;
            ptx_last_step(s)->round = TW_KIR_RN;
        }
    }
}

// One tile's mma; its sums go from c to d.
static void multiply_tile(struct ptx_sequence *s, const struct wmma *w, const struct tw_kir_operand *a,
                          const struct tw_kir_operand *b, const struct tw_kir_operand *c,
                          struct tw_kir_operand *ret_d) {
    const struct tw_kir_matrix *t = &w->tile;
    unsigned used = c_of_tile(w);
    struct tw_kir_inst *to =
        s->failed ? NULL : ptx_emit_free(s->parser, TW_KIR_MMA, w->mma.type, t->c, t->a + t->b + t->c);
    s->failed |= !to;
    if (!to)
        return;
    to->type2 = w->mma.type2;
    to->mode = w->mma.mode;
    to->mods = w->mma.mods;
    to->round = w->mma.round;
    for (unsigned i = 0; i < t->a; i++)
        to->src[i] = !w->half ? a[i] : i % 2 ? ptx_number(0) : a[i / 2];
    for (unsigned i = 0; i < t->b; i++)
        to->src[t->a + i] = b[i];
    for (unsigned i = 0; i < t->c; i++) {
        to->src[t->a + t->b + i] = i < used ? c[i] : ptx_number(0);
        to->dst[i] = TW_KIR_NO_REG;
    }
    for (unsigned i = 0; i < used; i++) {
        s->failed |= !ptx_temp(s->parser, t->c_bits, &to->dst[i]);
        ret_d[i] = tw_kir_reg_operand(to->dst[i]);
    }
}

static void multiply(struct ptx_sequence *s, const struct wmma *w, const struct tw_kir_operand *a,
                     const struct tw_kir_operand *b, const struct tw_kir_operand *c,
                     struct tw_kir_operand *ret_d) {
    for (unsigned row = 0; row < w->rows; row++)
        for (unsigned column = 0; column < w->columns; column++) {
            unsigned first = (row * w->columns + column) * c_of_tile(w);
            multiply_tile(s, w, &a[row * a_of_tile(w)], &b[column * w->tile.b], &c[first], &ret_d[first]);
        }
}

// wmma.mma.sync.aligned.LAYOUT.LAYOUT.SHAPE.TYPES d, a, b, c
static bool multiply_matrices(struct ptx_parser *parser, const struct ptx_inst *inst) {
    struct wmma w, of_c, of_d;
    struct ptx_sequence s = {.parser = parser};
    struct ptx_operand d;
    struct tw_kir_operand a[FRAGMENT_MAX], b[FRAGMENT_MAX], c[FRAGMENT_MAX], sums[FRAGMENT_MAX];
    uint8_t in, c_type;
    if (!ptx_has(inst, PTX_G_LAYOUT) || !ptx_has(inst, PTX_G_LAYOUT2) || !product_types(inst, &in, &c_type))
        return not_offered(parser, inst);
    bool halves = inst->type == TW_KIR_F16 && c_type == TW_KIR_F16;
    uint8_t sum = in == TW_KIR_F16 && !halves ? TW_KIR_F32 : inst->type;
    if (!describe(parser, inst, in, sum, &w) || !describe(parser, inst, in, c_type, &of_c) ||
        !describe(parser, inst, in, inst->type, &of_d))
        return false;
    w.mma.mods |= ptx_has(inst, PTX_G_SATFINITE) ? TW_KIR_SAT : 0;
    w.mma.mods |= in == TW_KIR_B1 && inst->values[PTX_G_BITOP] ? TW_KIR_XORSIGN : 0;
    w.mma.round = ptx_matrix_round(inst);
    struct fragment_shape fc = fragment_of(&of_c, PTX_FRAGMENT_C), fd = fragment_of(&of_d, PTX_FRAGMENT_D);
    if (!fragment_operand(parser, inst, fd.registers, &d) || !ptx_expect(parser, ',') ||
        !fragment_sources(parser, inst, fragment_of(&w, PTX_FRAGMENT_A), a) || !ptx_expect(parser, ',') ||
        !fragment_sources(parser, inst, fragment_of(&w, PTX_FRAGMENT_B), b) || !ptx_expect(parser, ',') ||
        !fragment_sources(parser, inst, fc, c))
        return false;
    if (c_type != sum)
        widen_sums(&s, c, fc.used);
    multiply(&s, &w, a, b, c, sums);
    if (inst->type != sum)
        narrow_sums(&s, sums, fd.used);
    return write_fragment(&s, &d, fd, sums);
}

bool ptx_lower_wmma(struct ptx_parser *parser, struct ptx_inst *inst) {
    uint32_t *skip;
    uint8_t kind = inst->values[PTX_G_KIND];
    if (!ptx_guard_begin(parser, inst, &skip))
        return false;
    bool ok = kind == PTX_WMMA_MMA ? multiply_matrices(parser, inst)
                                   : move_matrix(parser, inst, kind == PTX_WMMA_STORE);
    return ok && ptx_guard_end(parser, skip);
}

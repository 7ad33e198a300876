// SPDX-License-Identifier: Apache-2.0
//
// mma.sp against plain C: a matrix with zeros is made here with its indices, and multiplied whole. Where its elements and
// their indices lie in the lanes' registers is written down shape by shape, as the PTX manual tabulates and draws it,
// not by the rule that the compiler follows.

#include "floats.h"
#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

enum { LANES = 32, REGS_MAX = 4, K_MAX = 128, WORDS = 13 };

static uint32_t random_state = 7;

enum number { F16, BF16, TF32, S8, U8, S4, U4 };
static const char *const type_names[] = {"f16", "bf16", "tf32", "s8", "u8", "s4", "u4"};
static const unsigned widths[] = {16, 16, 32, 8, 8, 4, 4};

static bool is_float(enum number type) {
    return type <= TF32;
}

// What `bits` of an element mean.
static double value_of(enum number type, uint32_t bits) {
    switch (type) {
    case F16:
        return (double)h_of(bits);
    case BF16:
        return (double)f_of(bits << 16);
    case TF32: // what lies below the 13th bit is not part of the number
        return (double)f_of(bits & ~0x1fffu);
    case S8:
        return (int8_t)bits;
    case S4:
        return (int)(bits & 15) - (bits & 8 ? 16 : 0);
    default:
        return bits;
    }
}

// Of an element between -2 and 2, or any integer.
static uint32_t random_bits(enum number type) {
    uint32_t r = random_word(&random_state);
    float f = (float)(int32_t)r * 0x1p-30f;
    if (is_float(type))
        return (uint32_t)(type == F16 ? of_h(f) : type == BF16 ? of_f(f) >> 16 : of_f(f));
    return r >> 7 & ((1u << widths[type]) - 1);
}

// ---- where elements and indices lie ----

// Of element i of a lane's fragment, its lane being 4 × group + in_group: of a the row and the first column of the
// columns that it may be of; of b row and column.
struct place {
    unsigned row, column;
};
typedef struct place (*fragment)(unsigned group, unsigned in_group, unsigned i);

static struct place a_f16_k16(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 2 ? group : group + 8, in_group * 4};
}
static struct place a_f16_k32(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 2 || (i >= 4 && i < 6) ? group : group + 8,
                          i < 4 ? in_group * 4 : in_group * 4 + 16};
}
static struct place b_f16(unsigned group, unsigned in_group, unsigned i) {
    static const unsigned first[] = {0, 0, 8, 8, 16, 16, 24, 24};
    return (struct place){first[i] + in_group * 2 + (i & 1), group};
}
static struct place a_tf32_k8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i == 0 ? group : group + 8, in_group * 2};
}
static struct place a_tf32_k16(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i == 0 || i == 2 ? group : group + 8, i < 2 ? in_group * 2 : in_group * 2 + 8};
}
static struct place b_tf32(unsigned group, unsigned in_group, unsigned i) {
    static const unsigned first[] = {0, 4, 8, 12};
    return (struct place){first[i] + in_group, group};
}
static struct place a_s8_k32(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 4 ? group : group + 8, in_group * 8 + (i & 2) * 2};
}
static struct place a_s8_k64(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 4 || (i >= 8 && i < 12) ? group : group + 8,
                          (i < 8 ? in_group * 8 : in_group * 8 + 32) + (i & 2) * 2};
}
static struct place b_s8(unsigned group, unsigned in_group, unsigned i) {
    static const unsigned first[] = {0, 16, 32, 48};
    return (struct place){first[i / 4] + in_group * 4 + (i & 3), group};
}
static struct place a_s4_k64(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 8 ? group : group + 8, in_group * 16 + (i & 4) * 2};
}
static struct place a_s4_k128(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 8 || (i >= 16 && i < 24) ? group : group + 8,
                          (i < 16 ? in_group * 16 : in_group * 16 + 64) + (i & 4) * 2};
}
static struct place b_s4(unsigned group, unsigned in_group, unsigned i) {
    static const unsigned first[] = {0, 32, 64, 96};
    return (struct place){first[i / 8] + in_group * 8 + (i & 7), group};
}

// Of the four bits for the chunk that begins at a column of a row: which lane's word of the group, and its lowest bit.
struct bits_place {
    unsigned lane, bit;
};
typedef struct bits_place (*indices)(unsigned row, unsigned column, unsigned selector);

static struct bits_place e_f16_k16(unsigned row, unsigned column, unsigned selector) {
    return (struct bits_place){selector, column + (row < 8 ? 0 : 16)};
}
static struct bits_place e_f16_k32(unsigned row, unsigned column, unsigned selector) {
    return (struct bits_place){selector * 2 + (column < 16 ? 0 : 1), column % 16 + (row < 8 ? 0 : 16)};
}
static struct bits_place e_tf32_k8(unsigned row, unsigned column, unsigned selector) {
    return (struct bits_place){selector, column * 2 + (row < 8 ? 0 : 16)};
}
static struct bits_place e_tf32_k16(unsigned row, unsigned column, unsigned selector) {
    return (struct bits_place){selector * 2 + (column < 8 ? 0 : 1), column % 8 * 2 + (row < 8 ? 0 : 16)};
}
static struct bits_place e_s8_k32(unsigned row, unsigned column, unsigned selector) {
    return (struct bits_place){selector * 2 + (row < 8 ? 0 : 1), column};
}
static struct bits_place e_s8_k64(unsigned row, unsigned column, [[maybe_unused]] unsigned selector) {
    return (struct bits_place){(column < 32 ? 0u : 2u) + (row < 8 ? 0 : 1), column % 32};
}
static struct bits_place e_s4_k64(unsigned row, unsigned column, unsigned selector) {
    return (struct bits_place){selector * 2 + (row < 8 ? 0 : 1), column / 2};
}
static struct bits_place e_s4_k128(unsigned row, unsigned column, [[maybe_unused]] unsigned selector) {
    return (struct bits_place){(column < 64 ? 0u : 2u) + (row < 8 ? 0 : 1), column % 64 / 2};
}

static const struct shape {
    const char *name;
    unsigned width, k, selectors; // width of elements
    fragment a, b;
    indices e;
} shapes[] = {
    {"m16n8k16.", 16, 16, 4, a_f16_k16, b_f16, e_f16_k16},
    {"m16n8k32.", 16, 32, 2, a_f16_k32, b_f16, e_f16_k32},
    {"m16n8k8.", 32, 8, 4, a_tf32_k8, b_tf32, e_tf32_k8},
    {"m16n8k16.", 32, 16, 2, a_tf32_k16, b_tf32, e_tf32_k16},
    {"m16n8k32.", 8, 32, 2, a_s8_k32, b_s8, e_s8_k32},
    {"m16n8k64.", 8, 64, 1, a_s8_k64, b_s8, e_s8_k64},
    {"m16n8k64.", 4, 64, 2, a_s4_k64, b_s4, e_s4_k64},
    {"m16n8k128.", 4, 128, 1, a_s4_k128, b_s4, e_s4_k128},
};

// ---- one product ----

enum codes { VALID, RISING, ANY }; // the two numbers of a chunk differ; rise; may be the same

struct product {
    const char *name; // mma.sp.sync.aligned.…
    const struct shape *shape;
    enum number a_type, b_type;
    enum codes codes;
    bool half_sums, saturates;
    unsigned selector;
    double a[16][K_MAX], b[K_MAX][8], c[16][8];
    uint8_t chunks[16][K_MAX / 2]; // the four bits of each
};

static unsigned chunk_columns(const struct product *p) {
    return p->shape->width == 32 ? 2 : p->shape->width == 4 ? 8 : 4;
}

static uint8_t random_code(const struct product *p) {
    if (p->shape->width == 32)
        return random_word(&random_state) & 64 ? 0b1110 : 0b0100;
    for (;;) {
        uint8_t code = random_word(&random_state) >> 9 & 15, first = code & 3, second = code >> 2;
        if (p->codes == ANY || (p->codes == RISING ? first < second : first != second))
            return code;
    }
}

// The column of element `place` of a chunk, from the chunk's first on.
static unsigned column_in(const struct product *p, uint8_t code, unsigned place) {
    if (p->shape->width == 32)
        return code == 0b1110;
    if (p->shape->width == 4)
        return (code >> place / 2 * 2 & 3) * 2 + place % 2;
    return code >> place * 2 & 3;
}

static void fill_a(struct product *p, uint64_t *words, unsigned regs) {
    unsigned width = p->shape->width, each = 32 / width, columns = chunk_columns(p);
    for (unsigned row = 0; row < 16; row++)
        for (unsigned chunk = 0; chunk < p->shape->k / columns; chunk++)
            p->chunks[row][chunk] = random_code(p);
    for (unsigned lane = 0; lane < LANES; lane++)
        for (unsigned i = 0; i < regs * each; i++) {
            struct place at = p->shape->a(lane / 4, lane % 4, i);
            uint32_t bits = random_bits(p->a_type);
            unsigned column = column_in(p, p->chunks[at.row][at.column / columns], i % (columns / 2));
            p->a[at.row][at.column + column] += value_of(p->a_type, bits);
            words[i / each * LANES + lane] |= (uint64_t)bits << i % each * width;
        }
}

static void fill_b(struct product *p, uint64_t *words, unsigned regs) {
    unsigned width = p->shape->width, each = 32 / width;
    for (unsigned lane = 0; lane < LANES; lane++)
        for (unsigned i = 0; i < regs * each; i++) {
            struct place at = p->shape->b(lane / 4, lane % 4, i);
            uint32_t bits = random_bits(p->b_type);
            p->b[at.row][at.column] = value_of(p->b_type, bits);
            words[i / each * LANES + lane] |= (uint64_t)bits << i % each * width;
        }
}

static struct place place_of_sum(unsigned lane, unsigned i) {
    return (struct place){i < 2 ? lane / 4 : lane / 4 + 8, lane % 4 * 2 + (i & 1)};
}

static void fill_c(struct product *p, uint64_t *words) {
    for (unsigned lane = 0; lane < LANES; lane++)
        for (unsigned i = 0; i < 4; i++) {
            struct place at = place_of_sum(lane, i);
            uint32_t bits = p->half_sums ? random_bits(F16)
                            : is_float(p->a_type)
                                ? (uint32_t)of_f((float)(int32_t)random_word(&random_state) * 0x1p-29f)
                            : p->saturates ? INT32_MAX - (random_word(&random_state) & 0x3fff)
                                           : random_word(&random_state) >> 8;
            p->c[at.row][at.column] = p->half_sums          ? (double)h_of(bits)
                                      : is_float(p->a_type) ? (double)f_of(bits)
                                                            : (double)(int32_t)bits;
            if (p->half_sums)
                words[i / 2 * LANES + lane] |= (uint64_t)bits << i % 2 * 16;
            else
                words[i * LANES + lane] = bits;
        }
}

// Lanes that the selector does not name hold something else.
static void fill_indices(struct product *p, uint64_t *words) {
    uint32_t found[LANES] = {}, known[LANES] = {};
    unsigned columns = chunk_columns(p);
    for (unsigned row = 0; row < 16; row++)
        for (unsigned chunk = 0; chunk < p->shape->k / columns; chunk++) {
            struct bits_place at = p->shape->e(row, chunk * columns, p->selector);
            unsigned lane = row % 8 * 4 + at.lane;
            found[lane] |= (uint32_t)p->chunks[row][chunk] << at.bit;
            known[lane] |= 15u << at.bit;
        }
    for (unsigned lane = 0; lane < LANES; lane++)
        words[lane] = found[lane] | (random_word(&random_state) & ~known[lane]);
}

static char *kernel_text(const struct product *p, unsigned a, unsigned b, unsigned c) {
    struct tw_buf out;
    tw_buf_init(&out, 1 << 16);
    ck_assert(tw_buf_printf(
        &out, ".version 8.5\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, "
              ".param .u64 out) {\n.reg .b32 %%r<3>, %%x<20>, %%d<5>; .reg .b64 %%rd<8>;\n"
              "ld.param.u64 %%rd1, [in]; ld.param.u64 %%rd2, [out]; mov.u32 %%r1, %%tid.x;\n"
              "mad.wide.u32 %%rd1, %%r1, 8, %%rd1; mad.wide.u32 %%rd2, %%r1, 8, %%rd2;\n"));
    for (unsigned i = 0; i < WORDS; i++)
        ck_assert(tw_buf_printf(&out, "ld.global.b32 %%x%u, [%%rd1+%u];\n", i, i * LANES * 8));
    ck_assert(tw_buf_printf(&out, "%s {", p->name));
    for (unsigned i = 0; i < c; i++)
        ck_assert(tw_buf_printf(&out, "%s%%d%u", i ? ", " : "", i));
    for (unsigned i = 0; i < a + b + c; i++)
        ck_assert(tw_buf_printf(&out, "%s%%x%u", i == 0 || i == a || i == a + b ? "}, {" : ", ", i));
    ck_assert(tw_buf_printf(&out, "}, %%x%u, 0x%x;\n", a + b + c, p->selector));
    for (unsigned i = 0; i < c; i++)
        ck_assert(tw_buf_printf(&out, "st.global.b32 [%%rd2+%u], %%d%u;\n", i * LANES * 8, i));
    ck_assert(tw_buf_printf(&out, "ret;\n}\n") && tw_buf_append_byte(&out, 0));
    return (char *)out.data;
}

static double wanted(const struct product *p, struct place at) {
    double sum = 0;
    for (unsigned k = 0; k < p->shape->k; k++)
        sum += p->a[at.row][k] * p->b[k][at.column];
    sum += p->c[at.row][at.column];
    return p->saturates && sum > INT32_MAX ? INT32_MAX : sum;
}

static void check_sums(const struct product *p, const uint64_t *told) {
    // One rounding of the sums' type for each product, of numbers below 4 each.
    double off = p->half_sums ? 0x1p-4 : is_float(p->a_type) ? p->shape->k * 0x1p-18 : 0;
    for (unsigned lane = 0; lane < LANES; lane++)
        for (unsigned i = 0; i < 4; i++) {
            struct place at = place_of_sum(lane, i);
            uint32_t bits = (uint32_t)told[(p->half_sums ? i / 2 : i) * LANES + lane];
            double got = p->half_sums          ? (double)h_of(bits >> i % 2 * 16)
                         : is_float(p->a_type) ? (double)f_of(bits)
                                               : (double)(int32_t)bits;
            double want = wanted(p, at);
            ck_assert_msg(fabs(want - got) <= off, "%s, %u: row %u, column %u is %.9g, not %.9g", p->name,
                          p->selector, at.row, at.column, got, want);
        }
}

static void check_product(struct rig *rig, struct product *p) {
    struct kernel k;
    unsigned width = p->shape->width, a = 16 * p->shape->k / 2 * width / 32 / LANES,
             b = 8 * p->shape->k * width / 32 / LANES, c = p->half_sums ? 2 : 4;
    ck_assert(a <= REGS_MAX && b <= REGS_MAX);
    uint64_t params[2] = {rig_alloc(rig, WORDS * LANES * 8), rig_alloc(rig, 4 * LANES * 8)};
    uint64_t *words = rig_at(rig, params[0]);
    memset(p->a, 0, sizeof p->a);
    fill_a(p, words, a);
    fill_b(p, words + (size_t)a * LANES, b);
    fill_c(p, words + (size_t)(a + b) * LANES);
    fill_indices(p, words + (size_t)(a + b + c) * LANES);
    char *text = kernel_text(p, a, b, c);
    kernel_from_ptx(rig, &k, text, "k", 32, 32);
    ck_assert_uint_eq(
        rig_launch(rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){32, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    check_sums(p, rig_at(rig, params[1]));
    kernel_done(&k);
    free(text);
}

// ---- all of the list ----

// Types 1 and 2 of a name: m16n8k32.row.col.s32.s8.u8.s32.
static enum number type_of(const char *name, unsigned index) {
    struct tw_str rest = tw_str_from(name);
    unsigned at = 0;
    while (rest.len) {
        struct tw_str part = tw_str_cut(&rest, '.');
        bool is_sum = tw_str_equal(part, TW_STR("f32")) || tw_str_equal(part, TW_STR("s32"));
        for (unsigned i = 0; i < TW_COUNT(type_names); i++)
            if (tw_str_equal(part, tw_str_from(type_names[i])) && at++ == index)
                return (enum number)i;
        at += is_sum;
    }
    ck_abort_msg("%s has no type %u", name, index);
}

struct tried {
    struct rig rig;
    char names[120][80];
    unsigned count;
};

static void check_form(const char *text, void *context) {
    static struct product p;
    struct tried *tried = context;
    const char *shape = strstr(text, "aligned.");
    if (strncmp(text, "mma.sp", 6) != 0 || !shape)
        return;
    for (unsigned i = 0; i < tried->count; i++)
        if (strcmp(tried->names[i], text) == 0)
            return;
    ck_assert_uint_lt(tried->count, TW_COUNT(tried->names));
    snprintf(tried->names[tried->count++], sizeof tried->names[0], "%s", text);
    shape += strlen("aligned.");
    p = (struct product){.name = text, .a_type = type_of(shape, 1), .b_type = type_of(shape, 2)};
    p.half_sums = strstr(text, ".f16.f16.f16.f16") != NULL;
    p.saturates = strstr(text, "satfinite") != NULL;
    p.codes = strstr(text, "ordered") ? RISING : VALID;
    for (size_t i = 0; i < TW_COUNT(shapes); i++)
        if (strncmp(shapes[i].name, shape, strlen(shapes[i].name)) == 0 &&
            shapes[i].width == widths[p.a_type])
            p.shape = &shapes[i];
    ck_assert_msg(p.shape != NULL, "%s has no layout", text);
    for (p.selector = 0; p.selector < p.shape->selectors; p.selector++)
        check_product(&tried->rig, &p);
}

TW_TEST("every product with a sparse matrix is that of plain C") {
    static struct tried tried;
    rig_init(&tried.rig);
    isa_each_name(check_form, &tried);
    ck_assert_uint_ge(tried.count, 46);
    rig_done(&tried.rig);
}

// The manual leaves two equal numbers undefined: both elements are of that column here.
TW_TEST("indices that name one column twice add both elements there") {
    static struct product p;
    struct rig rig;
    rig_init(&rig);
    static const struct {
        const char *name;
        unsigned shape;
        enum number type;
    } kinds[] = {{"mma.sp.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32", 1, F16},
                 {"mma.sp.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32", 5, S8},
                 {"mma.sp::ordered_metadata.sync.aligned.m16n8k128.row.col.s32.s4.s4.s32", 7, S4}};
    for (size_t i = 0; i < TW_COUNT(kinds); i++) {
        p = (struct product){.name = kinds[i].name, .shape = &shapes[kinds[i].shape], .codes = ANY};
        p.a_type = p.b_type = kinds[i].type;
        check_product(&rig, &p);
    }
    rig_done(&rig);
}

TW_TEST("sparse products that do not exist, and selectors out of range, are refused by name and place") {
    static const struct {
        const char *text, *why;
    } wrong[] = {
        {"mma.sp.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%a, %a, %a, %a}, {%a}, {%a}, {%a, %a, %a, "
         "%a}, %a, 0;",
         "no such product"},
        {"mma.sp.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%d, %d}, {%d}, {%d}, {%d, %d}, %a, 0;",
         "no such product"},
        {"mma.sp.sync.aligned.m8n8k4.row.col.f16.f16.f16.f16 {%a, %a, %a, %a}, {%a, %a}, {%a, %a}, {%a, %a, "
         "%a, %a}, "
         "%a, 0;",
         "no such product"},
        {"mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%a, %a, %a, %a}, {%a, %a}, {%a, %a}, {%a, "
         "%a, %a, "
         "%a}, %a, 4;",
         "a constant from 0 to 3"},
        {"mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%a, %a, %a, %a}, {%a, %a}, {%a, %a}, {%a, "
         "%a, %a, "
         "%a}, %a, %a;",
         "a constant from 0 to 3"},
        {"mma.sp.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32 {%a, %a, %a, %a}, {%a, %a, %a, %a}, {%a, %a, "
         "%a, %a}, "
         "{%a, %a, %a, %a}, %a, 1;",
         "a constant from 0 to 0"},
        {"mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%a, %a, %a, %a}, {%a, %a}, {%a, %a}, {%a, "
         "%a, %a, "
         "%a};",
         "','"},
        {"fence.sp.alias;", "'.sp' is not possible"},
    };
    for (size_t i = 0; i < TW_COUNT(wrong); i++) {
        struct tw_error err = {};
        char text[600];
        snprintf(text, sizeof text,
                 ".version 8.5\n.target sm_80\n.address_size 64\n.visible .entry k() {\n.reg .b32 %%a; .reg "
                 ".b64 %%d;\n  %s\nret; }\n",
                 wrong[i].text);
        ck_assert_msg(!kernel_try(text, "k", 32, 32, &err), "%s", wrong[i].text);
        ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
        ck_assert_msg(strstr(err.message, "line 6, column ") && strstr(err.message, wrong[i].why), "%s",
                      err.message);
    }
}

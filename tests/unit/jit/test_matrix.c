// SPDX-License-Identifier: Apache-2.0
//
// mma, ldmatrix and movmatrix against plain C. Where an element lies in the lanes' registers is written down
// here shape by shape as the PTX manual tabulates it, not by the rule that the compiler follows.

#include "floats.h"
#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

enum { LANES = 32, MOST_REGS = 4, MOST_K = 256 };

static uint32_t random_state = 1;

// ---- kinds of products ----

// Element i of lane's fragment: (group, in_group) are lane / 4 and lane % 4, as the manual calls them.
struct place {
    unsigned row, column;
};
typedef struct place (*fragment)(unsigned group, unsigned in_group, unsigned i);

static struct place a_f16_k8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 2 ? group : group + 8, in_group * 2 + (i & 1)};
}
static struct place b_f16_k8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){in_group * 2 + i, group};
}
static struct place a_f16_k16(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 2 || (i >= 4 && i < 6) ? group : group + 8,
                          i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8};
}
static struct place b_f16_k16(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8, group};
}
static struct place a_tf32_k4(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i == 0 ? group : group + 8, in_group};
}
static struct place b_tf32_k4(unsigned group, unsigned in_group, [[maybe_unused]] unsigned i) {
    return (struct place){in_group, group};
}
static struct place a_tf32_k8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i == 0 || i == 2 ? group : group + 8, i < 2 ? in_group : in_group + 4};
}
static struct place b_tf32_k8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i == 0 ? in_group : in_group + 4, group};
}
static struct place a_f64(unsigned group, unsigned in_group, [[maybe_unused]] unsigned i) {
    return (struct place){group, in_group};
}
static struct place b_f64(unsigned group, unsigned in_group, [[maybe_unused]] unsigned i) {
    return (struct place){in_group, group};
}
static struct place a_s8_m8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){group, in_group * 4 + i};
}
static struct place b_s8_k16(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){in_group * 4 + i, group};
}
static struct place a_s8_k16(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 4 ? group : group + 8, in_group * 4 + (i & 3)};
}
static struct place a_s8_k32(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 4 || (i >= 8 && i < 12) ? group : group + 8,
                          i < 8 ? in_group * 4 + (i & 3) : in_group * 4 + (i & 3) + 16};
}
static struct place b_s8_k32(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 4 ? in_group * 4 + (i & 3) : in_group * 4 + (i & 3) + 16, group};
}
static struct place a_s4_m8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){group, in_group * 8 + i};
}
static struct place b_s4_k32(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){in_group * 8 + (i & 7), group};
}
static struct place a_s4_k32(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 8 ? group : group + 8, in_group * 8 + (i & 7)};
}
static struct place a_s4_k64(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 8 || (i >= 16 && i < 24) ? group : group + 8,
                          i < 16 ? in_group * 8 + (i & 7) : in_group * 8 + (i & 7) + 32};
}
static struct place b_s4_k64(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 8 ? in_group * 8 + (i & 7) : in_group * 8 + (i & 7) + 32, group};
}
static struct place a_b1_m8(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){group, in_group * 32 + i};
}
static struct place b_b1_k128(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){in_group * 32 + i, group};
}
static struct place a_b1_k128(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 32 ? group : group + 8, in_group * 32 + (i & 31)};
}
static struct place a_b1_k256(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 32 || (i >= 64 && i < 96) ? group : group + 8,
                          i < 64 ? in_group * 32 + (i & 31) : in_group * 32 + (i & 31) + 128};
}
static struct place b_b1_k256(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 32 ? in_group * 32 + (i & 31) : in_group * 32 + (i & 31) + 128, group};
}
static struct place c_of(unsigned group, unsigned in_group, unsigned i) {
    return (struct place){i < 2 ? group : group + 8, in_group * 2 + (i & 1)};
}

enum number { F16, BF16, TF32, F64, S8, U8, S4, U4, B1 };
static const unsigned widths[] = {16, 16, 32, 64, 8, 8, 4, 4, 1};

struct kind {
    const char *name; // what follows mma.sync.aligned.
    unsigned m, k;
    enum number a_type, b_type;
    fragment a, b;
    bool half_sums, saturates, exclusive;
};
static const struct kind kinds[] = {
    {"m16n8k8.row.col.f32.f16.f16.f32", 16, 8, F16, F16, a_f16_k8, b_f16_k8, 0, 0, 0},
    {"m16n8k8.row.col.f16.f16.f16.f16", 16, 8, F16, F16, a_f16_k8, b_f16_k8, 1, 0, 0},
    {"m16n8k16.row.col.f32.f16.f16.f32", 16, 16, F16, F16, a_f16_k16, b_f16_k16, 0, 0, 0},
    {"m16n8k16.row.col.f16.f16.f16.f16", 16, 16, F16, F16, a_f16_k16, b_f16_k16, 1, 0, 0},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 16, 8, BF16, BF16, a_f16_k8, b_f16_k8, 0, 0, 0},
    {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 16, BF16, BF16, a_f16_k16, b_f16_k16, 0, 0, 0},
    {"m16n8k4.row.col.f32.tf32.tf32.f32", 16, 4, TF32, TF32, a_tf32_k4, b_tf32_k4, 0, 0, 0},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 16, 8, TF32, TF32, a_tf32_k8, b_tf32_k8, 0, 0, 0},
    {"m8n8k4.row.col.f64.f64.f64.f64", 8, 4, F64, F64, a_f64, b_f64, 0, 0, 0},
    {"m8n8k16.row.col.s32.s8.s8.s32", 8, 16, S8, S8, a_s8_m8, b_s8_k16, 0, 0, 0},
    {"m16n8k16.row.col.s32.u8.s8.s32", 16, 16, U8, S8, a_s8_k16, b_s8_k16, 0, 0, 0},
    {"m16n8k32.row.col.s32.s8.u8.s32", 16, 32, S8, U8, a_s8_k32, b_s8_k32, 0, 0, 0},
    {"m16n8k32.row.col.satfinite.s32.u8.u8.s32", 16, 32, U8, U8, a_s8_k32, b_s8_k32, 0, 1, 0},
    {"m8n8k32.row.col.s32.s4.u4.s32", 8, 32, S4, U4, a_s4_m8, b_s4_k32, 0, 0, 0},
    {"m16n8k32.row.col.s32.u4.u4.s32", 16, 32, U4, U4, a_s4_k32, b_s4_k32, 0, 0, 0},
    {"m16n8k64.row.col.satfinite.s32.s4.s4.s32", 16, 64, S4, S4, a_s4_k64, b_s4_k64, 0, 1, 0},
    {"m8n8k128.row.col.s32.b1.b1.s32.xor.popc", 8, 128, B1, B1, a_b1_m8, b_b1_k128, 0, 0, 1},
    {"m16n8k128.row.col.s32.b1.b1.s32.and.popc", 16, 128, B1, B1, a_b1_k128, b_b1_k128, 0, 0, 0},
    {"m16n8k256.row.col.s32.b1.b1.s32.xor.popc", 16, 256, B1, B1, a_b1_k256, b_b1_k256, 0, 0, 1},
};

// ---- one of them ----

struct numbers {
    double a[16][MOST_K], b[MOST_K][8], c[16][8];
};

// A number that the type holds, and its bits.
static double random_number(enum number type, uint64_t *ret_bits) {
    uint32_t r = random_word(&random_state);
    float f = (float)(int32_t)r * 0x1p-30f;
    switch (type) {
    case F16:
        *ret_bits = of_h(f);
        return (double)h_of(*ret_bits);
    case BF16:
        *ret_bits = of_f(f) >> 16;
        return (double)f_of(*ret_bits << 16);
    case TF32: // what lies below the 13th bit is not part of the number
        *ret_bits = of_f(f);
        return (double)f_of(*ret_bits & ~0x1fffull);
    case F64: {
        double d = (double)(int32_t)r * 0x1p-30 + 0x1p-50;
        memcpy(ret_bits, &d, sizeof d);
        return d;
    }
    case S8:
        *ret_bits = (uint8_t)r;
        return (int8_t)r;
    case S4:
        *ret_bits = r & 15;
        return (int)(r & 15) - (r & 8 ? 16 : 0);
    default: {
        unsigned width = widths[type];
        *ret_bits = r >> 7 & ((1u << width) - 1);
        return (double)*ret_bits;
    }
    }
}

static void fill_inputs(const struct kind *kind, struct numbers *numbers, uint64_t *words, unsigned regs_a,
                        unsigned regs_b) {
    unsigned width_a = widths[kind->a_type], bits = kind->a_type == F64 ? 64 : 32, elements = bits / width_a;
    for (unsigned lane = 0; lane < LANES; lane++) {
        for (unsigned i = 0; i < regs_a * elements; i++) {
            struct place at = kind->a(lane / 4, lane % 4, i);
            uint64_t value;
            numbers->a[at.row][at.column] = random_number(kind->a_type, &value);
            words[i / elements * LANES + lane] |= value << i % elements * width_a;
        }
        for (unsigned i = 0; i < regs_b * elements; i++) {
            struct place at = kind->b(lane / 4, lane % 4, i);
            uint64_t value;
            numbers->b[at.row][at.column] = random_number(kind->b_type, &value);
            words[(regs_a + i / elements) * LANES + lane] |= value << i % elements * width_a;
        }
    }
}

static void fill_sums(const struct kind *kind, struct numbers *numbers, uint64_t *words, unsigned first) {
    for (unsigned lane = 0; lane < LANES; lane++)
        for (unsigned i = 0; i < kind->m / 4; i++) {
            struct place at = c_of(lane / 4, lane % 4, i);
            uint64_t bits = 0;
            double *c = &numbers->c[at.row][at.column];
            if (kind->half_sums)
                *c = random_number(F16, &bits);
            else if (kind->a_type == F64)
                *c = random_number(F64, &bits);
            else if (kind->a_type < F64) {
                *c = (double)(float)(int32_t)random_word(&random_state) * 0x1p-29;
                bits = of_f((float)*c);
            } else {
                int32_t whole = kind->saturates ? INT32_MAX - (int32_t)(random_word(&random_state) & 0xffff)
                                                : (int32_t)(random_word(&random_state) >> 8);
                *c = whole;
                bits = (uint32_t)whole;
            }
            words[(first + (kind->half_sums ? i / 2 : i)) * LANES + lane] |=
                bits << (kind->half_sums ? i % 2 * 16 : 0);
        }
}

static double product_of(const struct kind *kind, const struct numbers *n, unsigned row, unsigned column) {
    double sum = 0;
    for (unsigned k = 0; k < kind->k; k++) {
        double a = n->a[row][k], b = n->b[k][column];
        sum += kind->a_type != B1 ? a * b : (double)(kind->exclusive ? a != b : a != 0 && b != 0);
    }
    sum += n->c[row][column];
    return kind->saturates && sum > INT32_MAX ? INT32_MAX : sum;
}

static char *kernel_text(const struct kind *kind, unsigned a, unsigned b, unsigned c) {
    struct tw_buf out;
    bool wide = kind->a_type == F64;
    tw_buf_init(&out, 1 << 16);
    ck_assert(tw_buf_printf(&out,
                            ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 "
                            "in, .param .u64 out) {\n"
                            ".reg .b32 %%r<3>; .reg .b64 %%rd<8>; .reg .b%u %%x<20>; .reg .b%u %%d<5>;\n"
                            "ld.param.u64 %%rd1, [in]; ld.param.u64 %%rd2, [out]; mov.u32 %%r1, %%tid.x;\n"
                            "mad.wide.u32 %%rd1, %%r1, 8, %%rd1; mad.wide.u32 %%rd2, %%r1, 8, %%rd2;\n",
                            wide ? 64 : 32, wide ? 64 : 32));
    for (unsigned i = 0; i < a + b + c; i++)
        ck_assert(
            tw_buf_printf(&out, "ld.global.b%d %%x%u, [%%rd1+%u];\n", wide ? 64 : 32, i, i * LANES * 8));
    ck_assert(tw_buf_printf(&out, "mma.sync.aligned.%s {", kind->name));
    for (unsigned i = 0; i < c; i++)
        ck_assert(tw_buf_printf(&out, "%s%%d%u", i ? ", " : "", i));
    for (unsigned i = 0; i < a + b + c; i++)
        ck_assert(tw_buf_printf(&out, "%s%%x%u", i == 0 || i == a || i == a + b ? "}, {" : ", ", i));
    ck_assert(tw_buf_printf(&out, "};\n"));
    for (unsigned i = 0; i < c; i++)
        ck_assert(
            tw_buf_printf(&out, "st.global.b%d [%%rd2+%u], %%d%u;\n", wide ? 64 : 32, i * LANES * 8, i));
    ck_assert(tw_buf_printf(&out, "ret;\n}\n") && tw_buf_append_byte(&out, 0));
    return (char *)out.data;
}

static double result_at(const struct kind *kind, const uint64_t *words, unsigned lane, unsigned i) {
    if (kind->half_sums)
        return (double)h_of(words[i / 2 * LANES + lane] >> i % 2 * 16);
    uint64_t bits = words[i * LANES + lane];
    if (kind->a_type == F64) {
        double d;
        memcpy(&d, &bits, sizeof d);
        return d;
    }
    return kind->a_type < F64 ? (double)f_of(bits) : (double)(int32_t)bits;
}

// How far a result may be off: one rounding of the sums' type for each product, of numbers below 4 each.
static double tolerance(const struct kind *kind) {
    if (kind->half_sums)
        return 0x1p-4; // sums stay below 128: half a unit is 2⁻⁵
    return kind->a_type < F64 ? kind->k * 0x1p-18 : kind->a_type == F64 ? 0x1p-45 : 0;
}

static void check_kind(struct rig *rig, const struct kind *kind) {
    static struct numbers numbers;
    struct kernel k;
    unsigned elements = (kind->a_type == F64 ? 64 : 32) / widths[kind->a_type];
    unsigned a = kind->m * kind->k / LANES / elements, b = 8 * kind->k / LANES / elements,
             c = kind->m / (kind->half_sums ? 8 : 4);
    ck_assert_uint_le(a, MOST_REGS);
    uint64_t params[2] = {rig_alloc(rig, 16 * LANES * 8), rig_alloc(rig, 4 * LANES * 8)};
    uint64_t *words = rig_at(rig, params[0]);
    memset(&numbers, 0, sizeof numbers);
    fill_inputs(kind, &numbers, words, a, b);
    fill_sums(kind, &numbers, words, a + b);
    char *text = kernel_text(kind, a, b, c);
    kernel_from_ptx(rig, &k, text, "k", 32, 32);
    ck_assert_uint_eq(
        rig_launch(rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){32, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    const uint64_t *told = rig_at(rig, params[1]);
    for (unsigned lane = 0; lane < LANES; lane++)
        for (unsigned i = 0; i < kind->m / 4; i++) {
            struct place at = c_of(lane / 4, lane % 4, i);
            double want = product_of(kind, &numbers, at.row, at.column), got = result_at(kind, told, lane, i);
            ck_assert_msg(fabs(want - got) <= tolerance(kind), "%s: row %u, column %u is %.9g, not %.9g",
                          kind->name, at.row, at.column, got, want);
        }
    kernel_done(&k);
    free(text);
}

// ---- all of the list ----

// Type `index` of a name: m16n8k16.row.col.s32.s8.u8.s32.
static enum number type_of(const char *name, unsigned index) {
    static const char *const names[] = {"f16", "bf16", "tf32", "f64", "s8", "u8", "s4", "u4", "b1"};
    struct tw_str rest = tw_str_from(name);
    unsigned at = 0;
    while (rest.len) {
        struct tw_str part = tw_str_cut(&rest, '.');
        for (unsigned i = 0; i < TW_COUNT(names); i++)
            if (tw_str_equal(part, tw_str_from(names[i])) && at++ == index)
                return (enum number)i;
        at += tw_str_equal(part, TW_STR("f32")) || tw_str_equal(part, TW_STR("s32"));
    }
    return F16;
}

struct tried {
    struct rig rig;
    char names[100][64];
    unsigned count;
};

// A form of isa_forms.c: laid out as the kind above that has its shape, and elements as wide.
static void check_form(const char *text, void *context) {
    static const char head[] = "mma.sync.aligned.";
    struct tried *tried = context;
    const char *name = text + strlen(head);
    bool is_known = strncmp(text, head, strlen(head)) != 0;
    for (unsigned i = 0; i < tried->count; i++)
        is_known |= strcmp(tried->names[i], text) == 0;
    for (size_t i = 0; !is_known && i < TW_COUNT(kinds); i++) {
        struct kind kind = kinds[i];
        size_t shape = strcspn(kind.name, ".") + 1;
        if (strncmp(kind.name, name, shape) != 0 || widths[kind.a_type] != widths[type_of(name, 1)])
            continue;
        kind.name = name;
        kind.a_type = type_of(name, 1);
        kind.b_type = type_of(name, 2);
        kind.half_sums = strstr(name, ".f16.f16.f16.f16") != NULL;
        kind.saturates = strstr(name, "satfinite") != NULL;
        kind.exclusive = strstr(name, "xor") != NULL;
        check_kind(&tried->rig, &kind);
        ck_assert_uint_lt(tried->count, TW_COUNT(tried->names));
        snprintf(tried->names[tried->count++], sizeof tried->names[0], "%s", text);
        return;
    }
    ck_assert_msg(is_known || strstr(name, "m8n8k4."), "%s has no layout", text); // test_volta.c
}

TW_TEST("every product of matrices is that of plain C") {
    static struct tried tried;
    rig_init(&tried.rig);
    for (size_t i = 0; i < TW_COUNT(kinds); i++)
        check_kind(&tried.rig, &kinds[i]);
    isa_each_name(check_form, &tried);
    ck_assert_uint_gt(tried.count, 50);
    rig_done(&tried.rig);
}

TW_TEST("products that do not exist are refused by name and place") {
    static const char *const wrong[] = {
        "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%a, %a}, {%a}, {%a}, {%a, %a};",
        "mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32 {%a, %a, %a, %a}, {%a, %a, %a, %a}, {%a, %a}, "
        "{%a, %a, %a, %a};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.bf16.f32 {%a, %a, %a, %a}, {%a, %a, %a, %a}, {%a, %a}, "
        "{%a, %a, %a, %a};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%a, %a, %a}, {%a, %a, %a, %a}, {%a, %a}, {%a, "
        "%a, %a, %a};",
        "ldmatrix.sync.aligned.m8n8.x4.global.b16 {%a, %a, %a, %a}, [%d];",
    };
    for (size_t i = 0; i < TW_COUNT(wrong); i++) {
        struct tw_error err = {};
        char text[600];
        snprintf(text, sizeof text,
                 ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k() {\n.reg .b32 %%a; .reg "
                 ".b64 %%d;\n  %s\nret; }\n",
                 wrong[i]);
        ck_assert(!kernel_try(text, "k", 32, 32, &err));
        ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
        ck_assert_msg(strstr(err.message, "line 6, column ") != NULL, "%s", err.message);
    }
}

// ---- ldmatrix, movmatrix ----

#define MATRIX_HEAD                                                                                          \
    ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out) {\n"  \
    ".reg .b32 %r<9>; .reg .b64 %rd<9>; .shared .align 16 .b8 tile[1024];\n"                                 \
    "ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out]; mov.u32 %r1, %tid.x;\n"                              \
    "mad.wide.u32 %rd2, %r1, 16, %rd2;\n"

// 32 rows of 8 halves lie in shared memory, the rows of the four matrices in the order of the lanes' addresses: row r
// at 16 × (r × 5 % 32).
static void run_loads(const char *suffix, const uint16_t *rows, uint32_t *ret_words) {
    struct rig rig;
    struct kernel k;
    char text[2048];
    rig_init(&rig);
    uint64_t params[2] = {rig_alloc(&rig, 512), rig_alloc(&rig, 512)};
    memcpy(rig_at(&rig, params[0]), rows, 512);
    snprintf(text, sizeof text,
             "%smad.wide.u32 %%rd1, %%r1, 16, %%rd1; ld.global.v4.b32 {%%r2, %%r3, %%r4, %%r5}, [%%rd1];\n"
             "mul.lo.u32 %%r6, %%r1, 5; and.b32 %%r6, %%r6, 31; shl.b32 %%r6, %%r6, 4; mov.u32 %%r7, tile; "
             "add.u32 %%r6, %%r6, %%r7;\n"
             "st.shared.v4.b32 [%%r6], {%%r2, %%r3, %%r4, %%r5}; bar.sync 0;\n"
             "ldmatrix.sync.aligned.m8n8.x4%s.shared.b16 {%%r2, %%r3, %%r4, %%r5}, [%%r6];\n"
             "st.global.v4.b32 [%%rd2], {%%r2, %%r3, %%r4, %%r5}; ret; }\n",
             MATRIX_HEAD, suffix);
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){32, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    memcpy(ret_words, rig_at(&rig, params[1]), 512);
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("ldmatrix gives each lane its two elements of a row, or of a column") {
    uint16_t rows[32][8];
    uint32_t words[32][4];
    for (unsigned i = 0; i < 256; i++)
        rows[i / 8][i % 8] = (uint16_t)(i * 257 + 11);
    run_loads("", &rows[0][0], &words[0][0]);
    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned m = 0; m < 4; m++) {
            const uint16_t *row = rows[8 * m + lane / 4];
            ck_assert_uint_eq(words[lane][m], row[lane % 4 * 2] | (uint32_t)row[lane % 4 * 2 + 1] << 16);
        }
    run_loads(".trans", &rows[0][0], &words[0][0]);
    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned m = 0; m < 4; m++) {
            unsigned row = 8 * m + lane % 4 * 2;
            ck_assert_uint_eq(words[lane][m], rows[row][lane / 4] | (uint32_t)rows[row + 1][lane / 4] << 16);
        }
}

TW_TEST("movmatrix transposes what the lanes hold") {
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    uint64_t params[2] = {rig_alloc(&rig, 512), rig_alloc(&rig, 512)};
    uint16_t *matrix = rig_at(&rig, params[0]);
    for (unsigned i = 0; i < 64; i++)
        matrix[i] = (uint16_t)(1000 + i);
    kernel_from_ptx(&rig, &k,
                    MATRIX_HEAD
                    "mad.wide.u32 %rd1, %r1, 4, %rd1; ld.global.b32 %r2, [%rd1];\n"
                    "movmatrix.sync.aligned.m8n8.trans.b16 %r3, %r2; st.global.b32 [%rd2], %r3; ret; }\n",
                    "k", 32, 32);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){32, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    const uint32_t *out = rig_at(&rig, params[1]);
    for (unsigned lane = 0; lane < 32; lane++) {
        unsigned row = lane / 4, column = lane % 4 * 2;
        ck_assert_uint_eq(out[lane * 4],
                          matrix[column * 8 + row] | (uint32_t)matrix[(column + 1) * 8 + row] << 16);
    }
    kernel_done(&k);
    rig_done(&rig);
}

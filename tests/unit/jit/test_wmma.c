// SPDX-License-Identifier: Apache-2.0
//
// wmma against plain C: whole matrices in memory go in and one comes out. What the lanes hold in between is nobody's
// business. Values are small whole numbers, so that every sum is exact in every type; but for the sums of f64 in each
// direction, of wmma and of mma, at the end.

#include <fenv.h>
#include <math.h>

#include "harness/test.h"
#include "kernel_run.h"

enum { MOST = 128 * 32 };
enum number { F16, BF16, TF32, F32, F64, S8, U8, S4, U4, B1, S32 };
static const unsigned widths[] = {16, 16, 32, 32, 64, 8, 8, 4, 4, 1, 32};
static const char *const names[] = {"f16", "bf16", "tf32", "f32", "f64", "s8", "u8", "s4", "u4", "b1", "s32"};

struct kind {
    const char *shape;
    unsigned m, n, k;
    enum number in, c, d;
    unsigned a_regs, b_regs, c_regs, d_regs; // as the PTX manual lists them
    const char *extra;                       // modifiers behind the types
};
static const struct kind kinds[] = {
    {"m16n16k16", 16, 16, 16, F16, F32, F32, 8, 8, 8, 8, ""},
    {"m16n16k16", 16, 16, 16, F16, F16, F16, 8, 8, 4, 4, ""},
    {"m16n16k16", 16, 16, 16, F16, F32, F16, 8, 8, 8, 4, ""},
    {"m16n16k16", 16, 16, 16, F16, F16, F32, 8, 8, 4, 8, ""},
    {"m32n8k16", 32, 8, 16, F16, F32, F32, 8, 8, 8, 8, ""},
    {"m32n8k16", 32, 8, 16, F16, F16, F16, 8, 8, 4, 4, ""},
    {"m8n32k16", 8, 32, 16, F16, F32, F32, 8, 8, 8, 8, ""},
    {"m8n32k16", 8, 32, 16, F16, F16, F32, 8, 8, 4, 8, ""},
    {"m16n16k16", 16, 16, 16, BF16, F32, F32, 4, 4, 8, 8, ""},
    {"m32n8k16", 32, 8, 16, BF16, F32, F32, 8, 2, 8, 8, ""},
    {"m8n32k16", 8, 32, 16, BF16, F32, F32, 2, 8, 8, 8, ""},
    {"m16n16k8", 16, 16, 8, TF32, F32, F32, 4, 4, 8, 8, ""},
    {"m16n16k16", 16, 16, 16, S8, S32, S32, 2, 2, 8, 8, ""},
    {"m32n8k16", 32, 8, 16, U8, S32, S32, 4, 1, 8, 8, ""},
    {"m8n32k16", 8, 32, 16, S8, S32, S32, 1, 4, 8, 8, ".satfinite"},
    {"m8n8k4", 8, 8, 4, F64, F64, F64, 1, 1, 2, 2, ""},
    {"m8n8k32", 8, 8, 32, S4, S32, S32, 1, 1, 2, 2, ""},
    {"m8n8k32", 8, 8, 32, U4, S32, S32, 1, 1, 2, 2, ".satfinite"},
    {"m8n8k128", 8, 8, 128, B1, S32, S32, 1, 1, 2, 2, ".xor.popc"},
    {"m8n8k128", 8, 8, 128, B1, S32, S32, 1, 1, 2, 2, ".and.popc"},
};

static uint32_t random_state = 7;
static int random_number(enum number type) {
    random_state = random_state * 1664525 + 1013904223;
    int r = (int)(random_state >> 16 & 0xff);
    return type == B1 ? r & 1 : type == U4 ? r & 15 : type == U8 ? r : type == S4 ? (r & 15) - 8 : r % 9 - 4;
}

static void put(uint8_t *at, enum number type, unsigned index, int value) {
    _Float16 h = (_Float16)value;
    float f = (float)value;
    double d = value;
    int8_t byte = (int8_t)value;
    switch (type) {
    case F16:
        memcpy(at + 2 * index, &h, 2);
        break;
    case BF16:
        memcpy(at + 2 * index, (uint8_t *)&f + 2, 2);
        break;
    case TF32:
    case F32:
        memcpy(at + 4 * index, &f, 4);
        break;
    case F64:
        memcpy(at + 8 * index, &d, 8);
        break;
    case S8:
    case U8:
        at[index] = (uint8_t)byte;
        break;
    case S4:
    case U4:
        at[index / 2] |= (uint8_t)((value & 15) << index % 2 * 4);
        break;
    case B1:
        at[index / 8] |= (uint8_t)(value << index % 8);
        break;
    case S32:
        memcpy(at + 4 * index, &value, 4);
        break;
    }
}

static double get(const uint8_t *at, enum number type, unsigned index) {
    _Float16 h;
    float f;
    double d;
    int32_t whole;
    memcpy(&h, at + 2 * index, 2);
    memcpy(&f, at + 4 * index, 4);
    memcpy(&whole, at + 4 * index, 4);
    if (type == F64) {
        memcpy(&d, at + 8 * index, 8);
        return d;
    }
    return type == F16 ? (double)h : type == F32 ? (double)f : whole;
}

// One matrix of the test: `ld` elements from row to row, or from column to column.
struct matrix {
    unsigned rows, columns, ld;
    bool by_columns;
    int values[128][128];
    uint64_t at; // in the arena
};
static unsigned index_of(const struct matrix *m, unsigned row, unsigned column) {
    return m->by_columns ? column * m->ld + row : row * m->ld + column;
}

static void make(struct rig *rig, struct matrix *m, enum number type, unsigned rows, unsigned columns,
                 bool by_columns) {
    *m = (struct matrix){.rows = rows, .columns = columns, .by_columns = by_columns};
    m->ld = (by_columns ? rows : columns) + 256 / widths[type];
    m->at = rig_alloc(rig, 8 * MOST);
    for (unsigned r = 0; r < rows; r++)
        for (unsigned c = 0; c < columns; c++) {
            int value = random_number(type);
            m->values[r][c] = value;
            put(rig_at(rig, m->at), type, index_of(m, r, c), value);
        }
}

static void list(struct tw_buf *out, const char *prefix, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        ck_assert(tw_buf_printf(out, "%s%%%s%u", i ? ", " : "{", prefix, i));
    ck_assert(tw_buf_printf(out, "}"));
}

static void move(struct tw_buf *out, const char *what, const char *letter, const struct kind *kind,
                 enum number type, const struct matrix *m, unsigned count, bool stride_in_register) {
    ck_assert(tw_buf_printf(out, "wmma.%s.sync.aligned.%s.%s.global.%s ", what, m->by_columns ? "col" : "row",
                            kind->shape, names[type]));
    if (what[0] == 's')
        ck_assert(tw_buf_printf(out, "[%%p%s], ", letter));
    list(out, letter, count);
    if (what[0] == 'l')
        ck_assert(tw_buf_printf(out, ", [%%p%s]", letter));
    if (stride_in_register)
        ck_assert(tw_buf_printf(out, ", %%l%s;\n", letter));
    else
        ck_assert(tw_buf_printf(out, ", %u;\n", m->ld));
}

static char *kernel_text(const struct kind *kind, const struct matrix *m, bool stride_in_register) {
    static const char *const letters[] = {"a", "b", "c", "d"};
    struct tw_buf out;
    const enum number types[] = {kind->in, kind->in, kind->c, kind->d};
    tw_buf_init(&out, 1 << 16);
    ck_assert(tw_buf_printf(&out,
                            ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 a, "
                            ".param .u64 b, .param .u64 c, .param .u64 d) {\n"));
    for (unsigned i = 0; i < 4; i++) {
        const char *reg = types[i] == F64 ? "f64" : types[i] == F32 ? "f32" : "b32", *l = letters[i];
        ck_assert(
            tw_buf_printf(&out,
                          ".reg .%s %%%s<8>; .reg .b64 %%p%s; .reg .b32 %%l%s; ld.param.u64 %%p%s, [%s]; "
                          "mov.u32 %%l%s, %u;\n",
                          reg, l, l, l, l, l, l, m[i].ld));
    }
    move(&out, "load.a", "a", kind, kind->in, &m[0], kind->a_regs, stride_in_register);
    move(&out, "load.b", "b", kind, kind->in, &m[1], kind->b_regs, stride_in_register);
    move(&out, "load.c", "c", kind, kind->c, &m[2], kind->c_regs, stride_in_register);
    const char *la = m[0].by_columns ? "col" : "row", *lb = m[1].by_columns ? "col" : "row";
    if (kind->in == F16)
        ck_assert(tw_buf_printf(&out, "wmma.mma.sync.aligned.%s.%s.%s.%s.%s ", la, lb, kind->shape,
                                names[kind->d], names[kind->c]));
    else
        ck_assert(tw_buf_printf(&out, "wmma.mma%s.sync.aligned.%s.%s.%s.%s.%s.%s.%s%s ",
                                kind->in == B1 ? kind->extra : "", la, lb, kind->shape, names[kind->d],
                                names[kind->in], names[kind->in], names[kind->c],
                                kind->in == B1 ? "" : kind->extra));
    const unsigned counts[] = {kind->d_regs, kind->a_regs, kind->b_regs, kind->c_regs};
    for (unsigned i = 0; i < 4; i++) {
        list(&out, letters[(i + 3) % 4], counts[i]);
        ck_assert(tw_buf_printf(&out, i < 3 ? ", " : ";\n"));
    }
    move(&out, "store.d", "d", kind, kind->d, &m[3], kind->d_regs, stride_in_register);
    ck_assert(tw_buf_printf(&out, "ret;\n}\n") && tw_buf_append_byte(&out, 0));
    return (char *)out.data;
}

static double product_of(const struct kind *kind, const struct matrix *m, unsigned row, unsigned column) {
    int sum = m[2].values[row][column];
    for (unsigned k = 0; k < kind->k; k++) {
        int a = m[0].values[row][k], b = m[1].values[k][column];
        sum += kind->in != B1 ? a * b : kind->extra[1] == 'x' ? a ^ b : a & b;
    }
    return sum;
}

// `layouts`: bits of a, b, c and d that lie by columns.
static void check(const struct kind *kind, unsigned layouts, bool stride_in_register) {
    static struct matrix m[4];
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    make(&rig, &m[0], kind->in, kind->m, kind->k, layouts & 1);
    make(&rig, &m[1], kind->in, kind->k, kind->n, layouts >> 1 & 1);
    make(&rig, &m[2], kind->c, kind->m, kind->n, layouts >> 2 & 1);
    make(&rig, &m[3], kind->d, kind->m, kind->n, layouts >> 3 & 1);
    const uint64_t params[4] = {m[0].at, m[1].at, m[2].at, m[3].at};
    char *text = kernel_text(kind, m, stride_in_register);
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    const uint32_t one[3] = {1, 1, 1}, warp[3] = {32, 1, 1};
    ck_assert_uint_eq(rig_launch(&rig, &k, one, warp, 0, params, sizeof params), TW_KERNEL_OK);
    for (unsigned r = 0; r < kind->m; r++)
        for (unsigned c = 0; c < kind->n; c++) {
            double want = product_of(kind, m, r, c),
                   got = get(rig_at(&rig, m[3].at), kind->d, index_of(&m[3], r, c));
            ck_assert_msg(want == got, "%s of %s, layouts %u: row %u, column %u is %g, not %g", kind->shape,
                          names[kind->in], layouts, r, c, got, want);
        }
    kernel_done(&k);
    free(text);
    rig_done(&rig);
}

TW_TEST("every product of whole matrices is that of plain C") {
    for (size_t i = 0; i < TW_COUNT(kinds); i++) {
        bool small = widths[kinds[i].in] < 8; // these lie one way only
        for (unsigned ab = 0; ab < 4; ab++)
            if (!small || ab == 2)
                check(&kinds[i], ab | (ab * 7 + (unsigned)i) % 4 << 2, (ab + i) % 2);
    }
}

TW_TEST("matrices that do not exist are refused by name and place") {
    static const char *const wrong[] = {
        "wmma.load.a.sync.aligned.row.m16n16k16.f32 {%a, %a, %a, %a, %a, %a, %a, %a}, [%d];",
        "wmma.load.a.sync.aligned.row.m16n16k16.f16 {%a, %a, %a, %a}, [%d];",
        "wmma.load.a.sync.aligned.col.m8n8k32.s4 {%a}, [%d];",
        "wmma.load.d.sync.aligned.row.m16n16k16.f32 {%a, %a, %a, %a, %a, %a, %a, %a}, [%d];",
        "wmma.load.a.sync.aligned.row.m16n16k16.local.f16 {%a, %a, %a, %a, %a, %a, %a, %a}, [%d];",
        "wmma.mma.sync.aligned.row.col.m16n16k8.f32.f32 {%a, %a}, {%a}, {%a}, {%a, %a};",
        "wmma.mma.sync.aligned.row.row.m8n8k32.s32.s4.s4.s32 {%a, %a}, {%a}, {%a}, {%a, %a};",
        "wmma.mma.sync.aligned.row.row.m8n8k4.satfinite.f64.f64.f64.f64 {%d, %d}, {%d}, {%d}, {%d, %d};",
    };
    for (size_t i = 0; i < TW_COUNT(wrong); i++) {
        struct tw_error err = {};
        char text[600];
        snprintf(text, sizeof text,
                 ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k() {\n.reg .b32 %%a; .reg "
                 ".b64 %%d;\n  %s\nret; }\n",
                 wrong[i]);
        ck_assert_msg(!kernel_try(text, "k", 32, 32, &err), "%s", wrong[i]);
        ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
        ck_assert_msg(strstr(err.message, "line 6, column ") != NULL, "%s", err.message);
    }
}

// ---- roundings of f64 ----

static const struct {
    const char *name;
    int mode;
} roundings[] = {{"", FE_TONEAREST},
                 {".rn", FE_TONEAREST},
                 {".rz", FE_TOWARDZERO},
                 {".rm", FE_DOWNWARD},
                 {".rp", FE_UPWARD}};

// c + a × b, k by k, each step rounded.
static double rounded_sum(const double *a, const double *b, double c, int mode) {
    volatile double sum = c;
    fesetround(mode);
    for (unsigned k = 0; k < 4; k++)
        sum = fma(a[k], b[k], sum);
    fesetround(FE_TONEAREST);
    return sum;
}

// Whole matrices in memory; m8n8k4 of mma, or of wmma, which loads and stores them itself.
static void check_rounding(struct rig *rig, unsigned rounding, bool whole) {
    struct kernel k;
    char text[2048];
    uint64_t params[2] = {rig_alloc(rig, 128 * 8), rig_alloc(rig, 64 * 8)};
    double *in = rig_at(rig, params[0]); // a by rows, b by columns, c by rows
    for (unsigned i = 0; i < 128; i++)
        in[i] = ldexp(random_number(U8) - 128 + 1 / 3.0, random_number(U8) % 40);
    snprintf(text, sizeof text,
             ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 "
             "out) {\n"
             ".reg .b32 %%r<9>; .reg .b64 %%rd<9>; .reg .f64 %%f<9>;\n"
             "ld.param.u64 %%rd1, [in]; ld.param.u64 %%rd2, [out]; mov.u32 %%r1, %%tid.x;\n"
             "mad.wide.u32 %%rd3, %%r1, 8, %%rd1; mad.wide.u32 %%rd4, %%r1, 16, %%rd1; mad.wide.u32 %%rd5, "
             "%%r1, 16, "
             "%%rd2;\n"
             "ld.f64 %%f1, [%%rd3]; ld.f64 %%f2, [%%rd3+256]; ld.v2.f64 {%%f3, %%f4}, [%%rd4+512];\n"
             "add.u64 %%rd6, %%rd1, 256; add.u64 %%rd7, %%rd1, 512;\n%s"
             "%s.sync.aligned%s.m8n8k4%s%s.f64.f64.f64.f64 {%%f3, %%f4}, {%%f1}, {%%f2}, {%%f3, "
             "%%f4};\n%sret; }\n",
             !whole ? ""
                    : "wmma.load.a.sync.aligned.row.m8n8k4.f64 {%f1}, [%rd1], 4;\n"
                      "wmma.load.b.sync.aligned.col.m8n8k4.f64 {%f2}, [%rd6], 4;\n"
                      "wmma.load.c.sync.aligned.row.m8n8k4.f64 {%f3, %f4}, [%rd7], 8;\n",
             whole ? "wmma.mma" : "mma", whole ? ".row.col" : "", whole ? "" : ".row.col",
             roundings[rounding].name,
             whole ? "wmma.store.d.sync.aligned.row.m8n8k4.f64 [%rd2], {%f3, %f4}, 8;\n"
                   : "st.v2.f64 [%rd5], {%f3, %f4};\n");
    kernel_from_ptx(rig, &k, text, "k", 32, 32);
    ck_assert_uint_eq(
        rig_launch(rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){32, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    const double *out = rig_at(rig, params[1]);
    for (unsigned i = 0; i < 64; i++) {
        double want = rounded_sum(&in[i / 8 * 4], &in[32 + i % 8 * 4], in[64 + i], roundings[rounding].mode);
        ck_assert_msg(memcmp(&want, &out[i], sizeof want) == 0, "%s%s: sum %u is %a, not %a",
                      whole ? "wmma" : "mma", roundings[rounding].name, i, out[i], want);
    }
    kernel_done(&k);
}

TW_TEST("sums of f64 are rounded step by step in each direction") {
    struct rig rig;
    rig_init(&rig);
    for (unsigned i = 0; i < TW_COUNT(roundings); i++)
        for (unsigned whole = 0; whole < 2; whole++)
            check_rounding(&rig, i, whole != 0);
    rig_done(&rig);
}

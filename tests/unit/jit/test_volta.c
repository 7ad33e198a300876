// SPDX-License-Identifier: Apache-2.0
//
// mma.m8n8k4 of halves against plain C, in every layout and with every type of sums. Where an element lies in the
// lanes' registers is written down as the PTX manual does it, lane by lane.

#include "harness/test.h"
#include "kernel_run.h"

enum { LANES = 32, GROUPS = 4, ROWS = 8, COLUMNS = 8, DEPTH = 4, WORDS = 2 + 2 + 8 + 8 };

static float half_at(const uint32_t *words, unsigned element) {
    uint16_t bits = (uint16_t)(words[element / 2] >> 16 * (element & 1));
    _Float16 half;
    memcpy(&half, &bits, sizeof half);
    return (float)half;
}

static void put_half(uint32_t *words, unsigned element, float value) {
    _Float16 half = (_Float16)value;
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    words[element / 2] = (words[element / 2] & ~(0xffffu << 16 * (element & 1))) | (uint32_t)bits
                                                                                       << 16 * (element & 1);
}

static float float_at(const uint32_t *words, unsigned element) {
    float value;
    memcpy(&value, &words[element], sizeof value);
    return value;
}

// Which of the four products a lane works on.
static unsigned group_of(unsigned lane) {
    return lane % 16 / 4;
}

static unsigned row_of_sum(unsigned lane, unsigned i, bool wide) {
    unsigned low = wide ? (lane & 1) + (i & 2) : lane % 4;
    return lane < 16 ? low : low + 4;
}

static unsigned column_of_sum(unsigned lane, unsigned i, bool wide) {
    return wide ? (i & 4) + (lane & 2) + (i & 1) : i;
}

struct product {
    float a[ROWS][DEPTH], b[DEPTH][COLUMNS], c[ROWS][COLUMNS];
};

// Small whole numbers and quarters: every sum is exact in halves, in whatever order.
static float number(unsigned *state) {
    *state = *state * 1'103'515'245 + 12'345;
    return (float)((int)(*state >> 16 & 15) - 8) / 4;
}

static void fill(struct product *products) {
    unsigned state = 7;
    for (unsigned g = 0; g < GROUPS; g++) {
        for (unsigned r = 0; r < ROWS; r++)
            for (unsigned k = 0; k < DEPTH; k++)
                products[g].a[r][k] = number(&state);
        for (unsigned k = 0; k < DEPTH; k++)
            for (unsigned c = 0; c < COLUMNS; c++)
                products[g].b[k][c] = number(&state);
        for (unsigned r = 0; r < ROWS; r++)
            for (unsigned c = 0; c < COLUMNS; c++)
                products[g].c[r][c] = number(&state);
    }
}

// The lane's registers: a, b, c, and room for d.
static void load(const struct product *products, unsigned lane, bool a_columns, bool b_columns, bool wide_c,
                 uint32_t *words) {
    const struct product *p = &products[group_of(lane)];
    for (unsigned i = 0; i < 4; i++) {
        unsigned upper = lane < 16 ? 0 : 4;
        put_half(words, i, a_columns ? p->a[i + upper][lane % 4] : p->a[lane % 4 + upper][i]);
        put_half(words + 2, i, b_columns ? p->b[i][lane % 4 + upper] : p->b[lane % 4][i + upper]);
    }
    for (unsigned i = 0; i < 8; i++) {
        float value = p->c[row_of_sum(lane, i, wide_c)][column_of_sum(lane, i, wide_c)];
        if (wide_c)
            memcpy(&words[4 + i], &value, sizeof value);
        else
            put_half(words + 4, i, value);
    }
}

static void check(const struct product *products, unsigned lane, bool wide, const uint32_t *sums,
                  const char *name) {
    for (unsigned i = 0; i < 8; i++) {
        const struct product *p = &products[group_of(lane)];
        unsigned row = row_of_sum(lane, i, wide), column = column_of_sum(lane, i, wide);
        float want = p->c[row][column];
        for (unsigned k = 0; k < DEPTH; k++)
            want += p->a[row][k] * p->b[k][column];
        float got = wide ? float_at(sums, i) : half_at(sums, i);
        ck_assert_msg(got == want, "%s, lane %u, element %u: %f, not %f", name, lane, i, (double)got,
                      (double)want);
    }
}

static const char text[] =
    ".version 7.8\n.target sm_70\n.address_size 64\n.entry k(.param .u64 data) {\n"
    ".reg .b64 %%x<3>; .reg .b32 %%t, %%a<2>, %%b<2>, %%h<4>, %%e<4>; .reg .f32 %%f<8>, %%d<8>;\n"
    "ld.param.u64 %%x0, [data]; mov.u32 %%t, %%tid.x; mul.wide.u32 %%x1, %%t, 80; add.u64 %%x0, %%x0, %%x1;\n"
    "ld.global.v2.b32 {%%a0, %%a1}, [%%x0]; ld.global.v2.b32 {%%b0, %%b1}, [%%x0+8];\n"
    "ld.global.v4.b32 {%%h0, %%h1, %%h2, %%h3}, [%%x0+16];\n"
    "ld.global.v4.f32 {%%f0, %%f1, %%f2, %%f3}, [%%x0+16]; ld.global.v4.f32 {%%f4, %%f5, %%f6, %%f7}, "
    "[%%x0+32];\n"
    "mma.sync.aligned.m8n8k4.%s.%s.%s.f16.f16.%s %s, {%%a0, %%a1}, {%%b0, %%b1}, %s;\n%s ret; }\n";

static void try_product(const struct product *products, bool a_columns, bool b_columns, bool wide,
                        bool wide_c) {
    static const char *const halves = "{%h0, %h1, %h2, %h3}", *const floats =
                                                                  "{%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}";
    char *ptx = NULL, name[80];
    struct rig rig;
    struct kernel kernel;
    snprintf(name, sizeof name, "%s.%s.%s…%s", a_columns ? "col" : "row", b_columns ? "col" : "row",
             wide ? "f32" : "f16", wide_c ? "f32" : "f16");
    ck_assert_int_gt(asprintf(&ptx, text, a_columns ? "col" : "row", b_columns ? "col" : "row",
                              wide ? "f32" : "f16", wide_c ? "f32" : "f16",
                              wide ? "{%d0, %d1, %d2, %d3, %d4, %d5, %d6, %d7}" : "{%e0, %e1, %e2, %e3}",
                              wide_c ? floats : halves,
                              wide ? "st.global.v4.f32 [%x0+48], {%d0, %d1, %d2, %d3}; st.global.v4.f32 "
                                     "[%x0+64], {%d4, %d5, %d6, %d7};"
                                   : "st.global.v4.b32 [%x0+48], {%e0, %e1, %e2, %e3};"),
                     0);
    rig_init(&rig);
    uint64_t data = rig_alloc(&rig, sizeof(uint32_t) * LANES * WORDS);
    uint32_t *words = rig_at(&rig, data);
    for (unsigned lane = 0; lane < LANES; lane++)
        load(products, lane, a_columns, b_columns, wide_c, words + (size_t)lane * WORDS);
    kernel_from_ptx(&rig, &kernel, ptx, "k", 32, 32);
    ck_assert_uint_eq(
        rig_launch(&rig, &kernel, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){LANES, 1, 1}, 0, &data, sizeof data),
        0);
    for (unsigned lane = 0; lane < LANES; lane++)
        check(products, lane, wide, words + (size_t)lane * WORDS + 12, name);
    kernel_done(&kernel);
    rig_done(&rig);
    free(ptx);
}

TW_TEST("the first tensor cores' product is right in every layout, with sums in halves and in floats") {
    static struct product products[GROUPS];
    fill(products);
    for (unsigned layouts = 0; layouts < 4; layouts++) {
        try_product(products, layouts & 1, layouts & 2, false, false);
        try_product(products, layouts & 1, layouts & 2, true, false);
        try_product(products, layouts & 1, layouts & 2, true, true);
    }
}

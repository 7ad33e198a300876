// SPDX-License-Identifier: Apache-2.0
//
// Matrix products whose threads own more sums than the processor has registers for, in every variant, against plain C
// that adds the same products in the same order: bit by bit. That the sums were taken a few at a time shows in the text.

#include <math.h>

#include "harness/test.h"
#include "internal.h"
#include "kernel_run.h"

enum { N = 64, EDGE = 32, STEP = 8 };

static const unsigned shapes[][3] = {
    {64, 64, TW_KERNEL_FULL}, {32, 32, TW_KERNEL_FULL}, {32, 1, TW_KERNEL_LIGHT}};

static double some_value(uint32_t i) {
    uint32_t x = i * 2654435761u;
    return (double)(int32_t)(x ^ x >> 15) / 3e8;
}

// The sum that the kernel adds one to before its fifth step.
static bool is_odd_one(uint32_t row, uint32_t column) {
    return row % EDGE / 8 == 3 && column % EDGE / 8 == 3;
}

static float want_f32(const float *a, const float *b, uint32_t row, uint32_t column) {
    float sum = 0;
    for (uint32_t k = 0; k < N; k++) {
        if (k % STEP == 4 && is_odd_one(row, column))
            sum += 1;
        sum = fmaf(a[row * N + k], b[k * N + column], sum);
    }
    return sum;
}

static double want_f64(const double *a, const double *b, uint32_t row, uint32_t column) {
    double sum = 0;
    for (uint32_t k = 0; k < N; k++) {
        if (k % STEP == 4 && is_odd_one(row, column))
            sum += 1;
        sum = fma(a[row * N + k], b[k * N + column], sum);
    }
    return sum;
}

struct params {
    uint64_t a, b, c;
    int32_t n;
};

static void launch(struct rig *rig, const char *entry, const unsigned shape[3], const struct params *params) {
    struct kernel k;
    rig->opt_level = (int)shape[2];
    kernel_from_cu(rig, &k, "tiles.cu", entry, shape[0], shape[1]);
    uint32_t status = rig_launch(rig, &k, (uint32_t[3]){N / EDGE, N / EDGE, 1}, (uint32_t[3]){64, 1, 1}, 0,
                                 params, sizeof *params);
    ck_assert_uint_eq(status, TW_KERNEL_OK);
    kernel_done(&k);
}

static void check_f32(unsigned variants) {
    struct rig rig;
    rig_init(&rig);
    struct params p = {rig_alloc(&rig, 4 * N * N), rig_alloc(&rig, 4 * N * N), rig_alloc(&rig, 4 * N * N), N};
    float *a = rig_at(&rig, p.a), *b = rig_at(&rig, p.b), *c = rig_at(&rig, p.c);
    for (uint32_t i = 0; i < N * N; i++) {
        a[i] = (float)some_value(i);
        b[i] = (float)some_value(i + 99'999);
    }
    for (unsigned v = 0; v < variants; v++) {
        memset(c, 0, 4 * N * N);
        launch(&rig, "product_f32", shapes[v], &p);
        for (uint32_t i = 0; i < N * N; i++)
            ck_assert_msg(c[i] == want_f32(a, b, i / N, i % N), "%u lanes: result %u is %a", shapes[v][0], i,
                          (double)c[i]);
    }
    rig_done(&rig);
}

static void check_f64(unsigned variants) {
    struct rig rig;
    rig_init(&rig);
    struct params p = {rig_alloc(&rig, 8 * N * N), rig_alloc(&rig, 8 * N * N), rig_alloc(&rig, 8 * N * N), N};
    double *a = rig_at(&rig, p.a), *b = rig_at(&rig, p.b), *c = rig_at(&rig, p.c);
    for (uint32_t i = 0; i < N * N; i++) {
        a[i] = some_value(i);
        b[i] = some_value(i + 99'999);
    }
    for (unsigned v = 0; v < variants; v++) {
        memset(c, 0, 8 * N * N);
        launch(&rig, "product_f64", shapes[v], &p);
        for (uint32_t i = 0; i < N * N; i++)
            ck_assert_msg(c[i] == want_f64(a, b, i / N, i % N), "%u lanes: result %u is %a", shapes[v][0], i,
                          c[i]);
    }
    rig_done(&rig);
}

static unsigned count(const char *text, const char *word) {
    unsigned found = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        found++;
    return found;
}

TW_TEST("sums that do not fit into registers add their products in the program's order") {
    check_f32(TW_COUNT(shapes));
    check_f64(1);
}

TW_TEST("so they do on CPUs without AVX-512") {
    struct rig rig;
    rig_init(&rig);
    rig_done(&rig);
    jit_set_cpu("x86-64-v3", "+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt,+movbe");
    check_f32(2);
}

TW_TEST("sums that do not fit into registers are taken a few at a time, and tiles stored by columns in "
        "stretches") {
    struct rig rig;
    rig_init(&rig);
    char *ptx = ptx_from_cu("tiles.cu"), *text = kernel_llvm(ptx, "product_f32", 64, 64);
    // 15 chains of 8 steps, each step once for all pieces; the last sum is no chain.
    ck_assert_uint_ge(count(text, "= phi i64"), 1);
    ck_assert_uint_eq(count(text, "call <64 x float> @llvm.fma"), STEP);
    ck_assert_uint_eq(count(text, "call void @llvm.masked.scatter"), 0);
    ck_assert_uint_eq(count(text, "call <64 x i32> @llvm.masked.gather"), 0);
    free(text);
    free(ptx);
    rig_done(&rig);
}

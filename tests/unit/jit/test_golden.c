// SPDX-License-Identifier: Apache-2.0
//
// The kernels of tests/golden/ptx, as clang compiles them, against plain C over many sizes.

#include <math.h>

#include "harness/test.h"
#include "kernel_run.h"

static float some_float(uint32_t i) {
    uint32_t x = i * 2654435761u;
    x ^= x >> 15;
    return (float)(int32_t)(x & 0xffff) / 4096.0f - 8.0f;
}

static const unsigned shapes[][2] = {{32, 32}, {16, 16}, {8, 8},
                                     {32, 1},  {16, 1},  {8, 1}}; // lanes, x multiple

TW_TEST("vector_add adds at every size and in every variant, and touches nothing beyond") {
    static const uint32_t sizes[] = {0, 1, 2, 31, 32, 33, 63, 64, 100, 255, 256, 257, 1000, 4096, 4097};
    struct rig rig;
    rig_init(&rig);
    enum { MOST = 5000 };
    uint64_t a = rig_alloc(&rig, MOST * 4), b = rig_alloc(&rig, MOST * 4), c = rig_alloc(&rig, MOST * 4);
    float *fa = rig_at(&rig, a), *fb = rig_at(&rig, b), *fc = rig_at(&rig, c);
    for (uint32_t i = 0; i < MOST; i++) {
        fa[i] = some_float(i);
        fb[i] = some_float(i + 77777);
    }
    fa[5] = NAN;
    fa[6] = INFINITY;
    fb[6] = -INFINITY;
    for (int level = 0; level < 2; level++)
        for (unsigned v = 0; v < TW_COUNT(shapes); v++) {
            struct kernel k;
            rig.opt_level = level;
            kernel_from_cu(&rig, &k, "vector_add.cu", "vector_add", shapes[v][0], shapes[v][1]);
            for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
                struct {
                    uint64_t a, b, c;
                    int32_t n;
                } params = {a, b, c, (int32_t)sizes[s]};
                uint32_t block = shapes[v][1] > 1 ? 128 : 100;
                for (uint32_t i = 0; i < MOST; i++)
                    fc[i] = -1.5f;
                uint32_t status = rig_launch(&rig, &k, (uint32_t[3]){(MOST + block - 1) / block, 1, 1},
                                             (uint32_t[3]){block, 1, 1}, 0, &params, sizeof params);
                ck_assert_uint_eq(status, TW_KERNEL_OK);
                for (uint32_t i = 0; i < MOST; i++) {
                    float want = i < sizes[s] ? fa[i] + fb[i] : -1.5f;
                    ck_assert_msg(fc[i] == want || (want != want && fc[i] != fc[i]),
                                  "variant %u size %u: c[%u] is %a, not %a", v, sizes[s], i, (double)fc[i],
                                  (double)want);
                }
            }
            kernel_done(&k);
        }
}

// Launches and expects success.
static void run(struct rig *rig, const struct kernel *k, uint32_t gx, uint32_t gy, uint32_t bx, uint32_t by,
                const void *params, size_t bytes) {
    ck_assert_uint_eq(
        rig_launch(rig, k, (uint32_t[3]){gx, gy, 1}, (uint32_t[3]){bx, by, 1}, 0, params, bytes),
        TW_KERNEL_OK);
}

TW_TEST("saxpy with a grid-stride loop reaches every element") {
    static const int32_t sizes[] = {0, 1, 31, 33, 1000, 4096, 9999};
    struct rig rig;
    rig_init(&rig);
    enum { MOST = 10000 };
    uint64_t x = rig_alloc(&rig, MOST * 4), y = rig_alloc(&rig, MOST * 4);
    float *fx = rig_at(&rig, x), *fy = rig_at(&rig, y);
    for (int level = 0; level < 2; level++)
        for (unsigned v = 0; v < TW_COUNT(shapes); v++) {
            struct kernel k;
            rig.opt_level = level;
            kernel_from_cu(&rig, &k, "saxpy.cu", "saxpy", shapes[v][0], shapes[v][1]);
            for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
                struct {
                    float a;
                    uint64_t x, y;
                    int32_t n;
                } params = {2.5f, x, y, sizes[s]};
                for (uint32_t i = 0; i < MOST; i++) {
                    fx[i] = some_float(i);
                    fy[i] = some_float(i * 3 + 1);
                }
                run(&rig, &k, 3, 1, shapes[v][1] > 1 ? 64 : 70, 1, &params, sizeof params);
                for (int32_t i = 0; i < MOST; i++) {
                    float was = some_float((uint32_t)i * 3 + 1), fused = fmaf(2.5f, fx[i], was),
                          split = 2.5f * fx[i] + was;
                    ck_assert(fy[i] == (i < sizes[s] ? fused : was) || (i < sizes[s] && fy[i] == split));
                }
            }
            kernel_done(&k);
        }
}

TW_TEST("the tiled sgemm multiplies matrices of ragged sizes") {
    static const int32_t sizes[][3] = {{16, 16, 16}, {1, 1, 1}, {33, 47, 20}, {64, 48, 100}, {5, 70, 3}};
    static const unsigned variants[][2] = {{16, 16}, {8, 8}, {32, 16}, {32, 1}, {16, 1}, {256, 16}};
    struct rig rig;
    rig_init(&rig);
    uint64_t a = rig_alloc(&rig, 65536), b = rig_alloc(&rig, 65536), c = rig_alloc(&rig, 65536);
    float *fa = rig_at(&rig, a), *fb = rig_at(&rig, b), *fc = rig_at(&rig, c);
    for (uint32_t i = 0; i < 16384; i++) {
        fa[i] = some_float(i);
        fb[i] = some_float(i + 5);
    }
    for (int level = 0; level < 2; level++)
        for (unsigned v = 0; v < TW_COUNT(variants); v++) {
            struct kernel k;
            rig.opt_level = level;
            kernel_from_cu(&rig, &k, "sgemm.cu", "sgemm", variants[v][0], variants[v][1]);
            for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
                int32_t m = sizes[s][0], n = sizes[s][1], kk = sizes[s][2];
                struct {
                    uint64_t a, b, c;
                    int32_t m, n, k;
                } params = {a, b, c, m, n, kk};
                memset(fc, 0, 65536);
                run(&rig, &k, (uint32_t)(n + 15) / 16, (uint32_t)(m + 15) / 16, 16, 16, &params,
                    sizeof params);
                for (int32_t row = 0; row < m; row++)
                    for (int32_t col = 0; col < n; col++) {
                        double sum = 0, size = 0;
                        for (int32_t i = 0; i < kk; i++) {
                            double term = (double)fa[row * kk + i] * (double)fb[i * n + col];
                            sum += term;
                            size += fabs(term);
                        }
                        double off = fabs((double)fc[row * n + col] - sum);
                        ck_assert_msg(off <= 1e-5 * size + 1e-9, "variant %u size %u: c[%d][%d] is off by %g",
                                      v, s, row, col, off);
                    }
                ck_assert(fc[m * n] == 0);
            }
            kernel_done(&k);
        }
}

static void check_reduce(const char *entry, bool each_block) {
    static const int32_t sizes[] = {0, 1, 255, 256, 257, 5000, 16000};
    static const unsigned variants[][2] = {{32, 32}, {32, 1}, {256, 256}};
    struct rig rig;
    rig_init(&rig);
    uint64_t in = rig_alloc(&rig, 65536), out = rig_alloc(&rig, 4096);
    float *fin = rig_at(&rig, in), *fout = rig_at(&rig, out);
    for (uint32_t i = 0; i < 16384; i++)
        fin[i] = (float)(i % 97) - 40; // sums are exact
    for (int level = 0; level < 2; level++)
        for (unsigned v = 0; v < TW_COUNT(variants) - !each_block; v++) { // atomics are for warps
            struct kernel k;
            rig.opt_level = level;
            kernel_from_cu(&rig, &k, "reduce.cu", entry, variants[v][0], variants[v][1]);
            for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
                struct {
                    uint64_t in, out;
                    int32_t n;
                } params = {in, out, sizes[s]};
                memset(fout, 0, 4096);
                run(&rig, &k, 4, 1, 256, 1, &params, sizeof params);
                double want = 0, got = 0;
                for (int32_t i = 0; i < sizes[s]; i++)
                    want += (double)fin[i];
                for (unsigned i = 0; i < (each_block ? 4 : 1); i++)
                    got += (double)fout[i];
                ck_assert_msg(got == want, "%s variant %u size %d: %g, not %g", entry, v, sizes[s], got,
                              want);
            }
            kernel_done(&k);
        }
}

TW_TEST("a reduction through shared memory and barriers sums") {
    check_reduce("reduce_shared", true);
}

TW_TEST("a reduction through shuffles and an atomic sums") {
    check_reduce("reduce_shuffle", false);
}

static void check_histogram(const char *entry) {
    static const unsigned variants[][2] = {{32, 32}, {16, 16}, {8, 1}};
    struct rig rig;
    rig_init(&rig);
    uint64_t in = rig_alloc(&rig, 20000), bins = rig_alloc(&rig, 2048);
    uint8_t *bytes = rig_at(&rig, in);
    int32_t *counts = rig_at(&rig, bins);
    for (uint32_t i = 0; i < 20000; i++)
        bytes[i] = (uint8_t)((i * 2654435761u) >> 24);
    for (int level = 0; level < 2; level++)
        for (unsigned v = 0; v < TW_COUNT(variants); v++) {
            struct kernel k;
            struct {
                uint64_t in, bins;
                int32_t n;
            } params = {in, bins, 19991};
            int32_t want[256] = {};
            rig.opt_level = level;
            kernel_from_cu(&rig, &k, "histogram.cu", entry, variants[v][0], variants[v][1]);
            memset(counts, 0, 1024);
            run(&rig, &k, 3, 1, variants[v][1] > 1 ? 128 : 100, 1, &params, sizeof params);
            for (int32_t i = 0; i < 19991; i++)
                want[bytes[i]]++;
            for (unsigned i = 0; i < 256; i++)
                ck_assert_msg(counts[i] == want[i], "%s variant %u: bin %u is %d, not %d", entry, v, i,
                              counts[i], want[i]);
            kernel_done(&k);
        }
}

TW_TEST("a histogram in shared memory counts") {
    check_histogram("histogram_shared");
}

TW_TEST("a histogram in global memory counts") {
    check_histogram("histogram_global");
}

TW_TEST("softmax gives rows that sum to one and follow exp") {
    static const int32_t columns[] = {1, 31, 256, 300, 1000};
    static const unsigned variants[][2] = {{32, 32}, {32, 1}, {256, 256}};
    struct rig rig;
    rig_init(&rig);
    uint64_t in = rig_alloc(&rig, 65536), out = rig_alloc(&rig, 65536);
    float *fin = rig_at(&rig, in), *fout = rig_at(&rig, out);
    for (uint32_t i = 0; i < 16384; i++)
        fin[i] = some_float(i);
    for (int level = 0; level < 2; level++)
        for (unsigned v = 0; v < TW_COUNT(variants); v++) {
            struct kernel k;
            rig.opt_level = level;
            kernel_from_cu(&rig, &k, "softmax.cu", "softmax", variants[v][0], variants[v][1]);
            for (unsigned s = 0; s < TW_COUNT(columns); s++) {
                struct {
                    uint64_t in, out;
                    int32_t columns;
                } params = {in, out, columns[s]};
                run(&rig, &k, 5, 1, 256, 1, &params, sizeof params);
                for (int32_t row = 0; row < 5; row++) {
                    const float *x = fin + row * columns[s];
                    double sum = 0, top = -1e30;
                    for (int32_t i = 0; i < columns[s]; i++)
                        top = fmax(top, (double)x[i]);
                    for (int32_t i = 0; i < columns[s]; i++)
                        sum += exp((double)x[i] - top);
                    for (int32_t i = 0; i < columns[s]; i++) {
                        double want = exp((double)x[i] - top) / sum, got = (double)fout[row * columns[s] + i];
                        ck_assert_msg(fabs(got - want) <= 4e-6 * want,
                                      "columns %d row %d: [%d] is %g, not %g", columns[s], row, i, got, want);
                    }
                }
            }
            kernel_done(&k);
        }
}

TW_TEST("a convolution leaves out what lies beyond the edges") {
    static const int32_t sizes[][2] = {{1, 1}, {7, 5}, {64, 33}, {100, 41}};
    static const unsigned variants[][3] = {{16, 16, 16}, {32, 32, 32}, {8, 8, 8},
                                           {32, 8, 8},   {16, 4, 4},   {32, 1, 10}};
    static const float w[9] = {1, 2, 1, 2, 4, 2, 1, 2, 1};
    struct rig rig;
    rig_init(&rig);
    uint64_t in = rig_alloc(&rig, 32768), out = rig_alloc(&rig, 32768);
    float *fin = rig_at(&rig, in), *fout = rig_at(&rig, out);
    for (uint32_t i = 0; i < 8192; i++)
        fin[i] = (float)(i % 31);
    for (int level = 0; level < 2; level++)
        for (unsigned v = 0; v < TW_COUNT(variants); v++) {
            struct kernel k;
            rig.opt_level = level;
            kernel_from_cu(&rig, &k, "convolution.cu", "convolution", variants[v][0], variants[v][1]);
            for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
                int32_t width = sizes[s][0], height = sizes[s][1];
                struct {
                    uint64_t in, out;
                    int32_t width, height;
                } params = {in, out, width, height};
                uint32_t bx = variants[v][2];
                memset(fout, 0, 32768);
                run(&rig, &k, ((uint32_t)width + bx - 1) / bx, ((uint32_t)height + 3) / 4, bx, 4, &params,
                    sizeof params);
                for (int32_t y = 0; y < height; y++)
                    for (int32_t x = 0; x < width; x++) {
                        float sum = 0;
                        for (int32_t dy = -1; dy <= 1; dy++)
                            for (int32_t dx = -1; dx <= 1; dx++)
                                if (x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height)
                                    sum += w[(dy + 1) * 3 + dx + 1] * fin[(y + dy) * width + x + dx];
                        ck_assert_msg(fout[y * width + x] == sum,
                                      "variant %u size %u: (%d, %d) is %g, not %g", v, s, x, y,
                                      (double)fout[y * width + x], (double)sum);
                    }
                ck_assert(fout[width * height] == 0);
            }
            kernel_done(&k);
        }
}

// SPDX-License-Identifier: Apache-2.0
//
// The C that kernels are compared with: `openmp KERNEL N REPEAT` prints the median microseconds of a run as
// the last number. Plain loops, as a C programmer writes them, for clang -O3 -march=native -fopenmp.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void vector_add(const float *restrict a, const float *restrict b, float *restrict c, size_t n) {
#pragma omp parallel for simd
    for (size_t i = 0; i < n; i++)
        c[i] = a[i] + b[i];
}

// The i-k-j order, which vectorises along rows.
static void sgemm(const float *restrict a, const float *restrict b, float *restrict c, size_t n) {
#pragma omp parallel for
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            c[i * n + j] = 0;
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < n; j++)
                c[i * n + j] += a[i * n + k] * b[k * n + j];
    }
}

static int compare(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return fprintf(stderr, "usage: openmp vector_add|sgemm N REPEAT\n"), 2;
    size_t n = strtoul(argv[2], NULL, 10), repeat = strtoul(argv[3], NULL, 10);
    int is_gemm = strcmp(argv[1], "sgemm") == 0;
    size_t count = is_gemm ? n * n : n;
    float *a = aligned_alloc(64, (count * 4 + 63) / 64 * 64),
          *b = aligned_alloc(64, (count * 4 + 63) / 64 * 64);
    float *c = aligned_alloc(64, (count * 4 + 63) / 64 * 64);
    double *times = malloc(repeat * sizeof *times);
    for (size_t i = 0; i < count; i++) {
        a[i] = (float)(i % 7);
        b[i] = (float)(i % 5);
        c[i] = 0;
    }
    for (size_t r = 0; r < repeat; r++) {
        double start = now_us();
        if (is_gemm)
            sgemm(a, b, c, n);
        else
            vector_add(a, b, c, n);
        times[r] = now_us() - start;
    }
    qsort(times, repeat, sizeof *times, compare);
    printf("%g %.3f\n", (double)c[count - 1], times[repeat / 2]);
    return 0;
}

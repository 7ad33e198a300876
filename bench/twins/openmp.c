// SPDX-License-Identifier: Apache-2.0
//
// The C that kernels are compared with: `openmp KERNEL REPEAT ARG…` with the arguments of the kernel. Written
// as one who wants speed writes it for clang -O3 -march=native -fopenmp -ffast-math: loops that vectorise, no
// threads for what is too small for them, exp as a polynomial, B packed for the matrix product.

#include <math.h>
#include <stdint.h>

#include "twin.h"

#define LARGE          32768
#define P(type, index) ((type *)a[index].data)

static inline float fast_exp(float x) {
    float y = x * 1.4426950408889634f, n = floorf(y + 0.5f), r = y - n;
    y = fmaxf(fminf(y, 127.0f), -126.0f);
    float p = 0.00015469731946495812f;
    p = p * r + 0.0013400432166281462f;
    p = p * r + 0.009618025603040791f;
    p = p * r + 0.055503272142064866f;
    p = p * r + 0.24022651213594903f;
    p = p * r + 0.6931472067106207f;
    p = p * r + 1.0f;
    union {
        int32_t i;
        float f;
    } scale = {.i = ((int32_t)fmaxf(fminf(n, 127.0f), -126.0f) + 127) << 23};
    return p * scale.f;
}

// ---- streams ----

static void vector_add(const struct twin_arg *a) {
    const float *x = P(float, 0), *y = P(float, 1);
    float *restrict z = P(float, 2);
    int n = a[3].i;
#pragma omp parallel for simd if (n > LARGE)
    for (int i = 0; i < n; i++)
        z[i] = x[i] + y[i];
}

static void saxpy(const struct twin_arg *a) {
    const float *x = P(float, 0), s = a[2].f;
    float *restrict y = P(float, 1);
    int n = a[3].i;
#pragma omp parallel for simd if (n > LARGE)
    for (int i = 0; i < n; i++)
        y[i] += s * x[i];
}

static void triad(const struct twin_arg *a) {
    const float *x = P(float, 0), *y = P(float, 1), s = a[3].f;
    float *restrict z = P(float, 2);
    int n = a[4].i;
#pragma omp parallel for simd if (n > LARGE)
    for (int i = 0; i < n; i++)
        z[i] = x[i] + s * y[i];
}

static void gelu(const struct twin_arg *a) {
    const float *x = P(float, 0);
    float *restrict y = P(float, 1);
    int n = a[2].i;
#pragma omp parallel for simd if (n > LARGE)
    for (int i = 0; i < n; i++) {
        float v = x[i];
        y[i] = v / (1.0f + fast_exp(-1.5957691216f * (v + 0.044715f * v * v * v)));
    }
}

// ---- neighbours ----

static void stencil9(const struct twin_arg *a) {
    const float *in = P(float, 0);
    float *restrict out = P(float, 1);
    int n = a[2].i;
#pragma omp parallel for if (n * n > LARGE)
    for (int y = 1; y < n - 1; y++)
#pragma omp simd
        for (int x = 1; x < n - 1; x++) {
            const float *p = in + y * n + x;
            out[y * n + x] = 0.25f * p[0] + 0.125f * (p[-1] + p[1] + p[-n] + p[n]) +
                             0.0625f * (p[-n - 1] + p[-n + 1] + p[n - 1] + p[n + 1]);
        }
}

static void stencil7(const struct twin_arg *a) {
    const float *in = P(float, 0);
    float *restrict out = P(float, 1);
    int n = a[2].i;
#pragma omp parallel for collapse(2) if (n * n * n > LARGE)
    for (int z = 1; z < n - 1; z++)
        for (int y = 1; y < n - 1; y++)
#pragma omp simd
            for (int x = 1; x < n - 1; x++) {
                int i = (z * n + y) * n + x;
                out[i] = 0.4f * in[i] + 0.1f * (in[i - 1] + in[i + 1] + in[i - n] + in[i + n] +
                                                in[i - n * n] + in[i + n * n]);
            }
}

// Sums of columns first, then of five of them.
static void box5(const struct twin_arg *a) {
    const uint8_t *in = P(uint8_t, 0);
    uint8_t *restrict out = P(uint8_t, 1);
    int n = a[2].i;
#pragma omp parallel if (n * n > LARGE)
    {
        uint16_t *restrict column = twin_buffer((size_t)n * 2);
#pragma omp for
        for (int y = 2; y < n - 2; y++) {
            const uint8_t *p = in + (y - 2) * n;
#pragma omp simd
            for (int x = 0; x < n; x++)
                column[x] = (uint16_t)(p[x] + p[x + n] + p[x + 2 * n] + p[x + 3 * n] + p[x + 4 * n]);
#pragma omp simd
            for (int x = 2; x < n - 2; x++) {
                uint32_t sum =
                    (uint32_t)column[x - 2] + column[x - 1] + column[x] + column[x + 1] + column[x + 2];
                out[y * n + x] = (uint8_t)(sum * 2622 >> 16);
            }
        }
        free(column);
    }
}

static void transpose(const struct twin_arg *a) {
    const float *in = P(float, 0);
    float *restrict out = P(float, 1);
    int n = a[2].i;
#pragma omp parallel for collapse(2) if (n * n > LARGE)
    for (int by = 0; by < n; by += 16)
        for (int bx = 0; bx < n; bx += 16)
            for (int y = by; y < by + 16; y++)
#pragma omp simd
                for (int x = bx; x < bx + 16; x++)
                    out[y * n + x] = in[x * n + y];
}

// ---- matrices ----

// The i-k-j order, which vectorises along rows.
static void sgemm_naive(const struct twin_arg *a) {
    const float *x = P(float, 0), *y = P(float, 1);
    float *restrict z = P(float, 2);
    int n = a[3].i;
#pragma omp parallel for if (n * n > LARGE)
    for (int i = 0; i < n; i++) {
        memset(z + i * n, 0, (size_t)n * 4);
        for (int k = 0; k < n; k++)
#pragma omp simd
            for (int j = 0; j < n; j++)
                z[i * n + j] += x[i * n + k] * y[k * n + j];
    }
}

// 8 rows by 32 columns in registers, over a packed panel of B.
typedef float float16 __attribute__((vector_size(64), aligned(4)));
enum { ROWS = 8, WIDTH = 32 };

static void micro(const float *x, const float16 *panel, float *z, int n) {
    float16 sum[ROWS][2] = {0};
    for (int k = 0; k < n; k++)
        for (int i = 0; i < ROWS; i++)
            for (int h = 0; h < 2; h++)
                sum[i][h] += x[i * n + k] * panel[2 * k + h];
    for (int i = 0; i < ROWS; i++)
        for (int h = 0; h < 2; h++)
            *(float16 *)(z + i * n + 16 * h) = sum[i][h];
}

static void edge(const float *x, const float *y, float *z, int n, int rows, int columns) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            float sum = 0;
            for (int k = 0; k < n; k++)
                sum += x[i * n + k] * y[k * n + j];
            z[i * n + j] = sum;
        }
}

static void sgemm_blocked(const struct twin_arg *a) {
    const float *x = P(float, 0), *y = P(float, 1);
    float *z = P(float, 2);
    int n = a[3].i;
#pragma omp parallel if (n * n > LARGE / 8)
    {
        float *panel = twin_buffer((size_t)n * WIDTH * 4);
#pragma omp for
        for (int j = 0; j < n; j += WIDTH) {
            int columns = n - j < WIDTH ? n - j : WIDTH;
            for (int k = 0; k < n && columns == WIDTH; k++)
                memcpy(panel + k * WIDTH, y + k * n + j, WIDTH * 4);
            for (int i = 0; i < n; i += ROWS)
                if (columns == WIDTH && i + ROWS <= n)
                    micro(x + i * n, (const float16 *)panel, z + i * n + j, n);
                else
                    edge(x + i * n, y + j, z + i * n + j, n, n - i < ROWS ? n - i : ROWS, columns);
        }
        free(panel);
    }
}

static void matvec(const struct twin_arg *a) {
    const float *m = P(float, 0), *x = P(float, 1);
    float *restrict y = P(float, 2);
    int n = a[3].i;
#pragma omp parallel for if (n * n > LARGE)
    for (int i = 0; i < n; i++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int j = 0; j < n; j++)
            sum += m[i * n + j] * x[j];
        y[i] = sum;
    }
}

// ---- reductions ----

static void reduce(const struct twin_arg *a) {
    const float *x = P(float, 0);
    float sum = 0;
    int n = a[2].i;
#pragma omp parallel for simd reduction(+ : sum) if (n > LARGE)
    for (int i = 0; i < n; i++)
        sum += x[i];
    *P(float, 1) += sum;
}

static void dot(const struct twin_arg *a) {
    const float *x = P(float, 0), *y = P(float, 1);
    float sum = 0;
    int n = a[3].i;
#pragma omp parallel for simd reduction(+ : sum) if (n > LARGE)
    for (int i = 0; i < n; i++)
        sum += x[i] * y[i];
    *P(float, 2) += sum;
}

static void softmax(const struct twin_arg *a) {
    const float *in = P(float, 0);
    float *restrict out = P(float, 1);
    int n = a[2].i;
#pragma omp parallel for if (n * n > LARGE)
    for (int r = 0; r < n; r++) {
        const float *row = in + r * n;
        float *restrict to = out + r * n, top = -3.4e38f, sum = 0;
#pragma omp simd reduction(max : top)
        for (int i = 0; i < n; i++)
            top = fmaxf(top, row[i]);
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < n; i++)
            sum += to[i] = fast_exp(row[i] - top);
        sum = 1.0f / sum;
#pragma omp simd
        for (int i = 0; i < n; i++)
            to[i] *= sum;
    }
}

static void layernorm(const struct twin_arg *a) {
    const float *in = P(float, 0);
    float *restrict out = P(float, 1);
    int n = a[2].i;
#pragma omp parallel for if (n * n > LARGE)
    for (int r = 0; r < n; r++) {
        const float *row = in + r * n;
        float *restrict to = out + r * n, sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < n; i++)
            sum += row[i];
        float mean = sum / (float)n;
#pragma omp simd reduction(+ : squares)
        for (int i = 0; i < n; i++)
            squares += (row[i] - mean) * (row[i] - mean);
        float scale = 1.0f / sqrtf(squares / (float)n + 1e-5f);
#pragma omp simd
        for (int i = 0; i < n; i++)
            to[i] = (row[i] - mean) * scale;
    }
}

static void scan(const struct twin_arg *a) {
    const float *in = P(float, 0);
    float *restrict out = P(float, 1);
    int n = a[2].i;
#pragma omp parallel for if (n > LARGE)
    for (int b = 0; b < n; b += 256) {
        float sum = 0;
        for (int i = b; i < b + 256 && i < n; i++)
            out[i] = sum += in[i];
    }
}

// ---- irregular ----

static void spmv(const struct twin_arg *a) {
    const int *start = P(int, 0), *column = P(int, 1);
    const float *value = P(float, 2), *x = P(float, 3);
    float *restrict y = P(float, 4);
    int n = a[5].i;
#pragma omp parallel for if (n * 16 > LARGE)
    for (int r = 0; r < n; r++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int i = start[r]; i < start[r + 1]; i++)
            sum += value[i] * x[column[i]];
        y[r] = sum;
    }
}

// Four counters a value, so that runs of one value do not wait for each other.
static void histogram(const struct twin_arg *a) {
    const uint8_t *in = P(uint8_t, 0);
    int *bins = P(int, 1), n = a[2].i;
#pragma omp parallel if (n > LARGE)
    {
        int mine[4][256] = {0};
#pragma omp for
        for (int i = 0; i < n / 4; i++)
            for (int k = 0; k < 4; k++)
                mine[k][in[4 * i + k]]++;
#pragma omp critical
        for (int i = 0; i < 256; i++)
            bins[i] += mine[0][i] + mine[1][i] + mine[2][i] + mine[3][i];
    }
}

static void nbody(const struct twin_arg *a) {
    const float *body = P(float, 0);
    float *restrict out = P(float, 1);
    int n = a[2].i;
    float *split = twin_buffer((size_t)n * 16), *x = split, *y = x + n, *z = y + n, *mass = z + n;
    for (int i = 0; i < n; i++) {
        x[i] = body[4 * i];
        y[i] = body[4 * i + 1];
        z[i] = body[4 * i + 2];
        mass[i] = body[4 * i + 3];
    }
#pragma omp parallel for if (n * n > LARGE)
    for (int i = 0; i < n; i++) {
        float ax = 0, ay = 0, az = 0;
#pragma omp simd reduction(+ : ax, ay, az)
        for (int j = 0; j < n; j++) {
            float dx = x[j] - x[i], dy = y[j] - y[i], dz = z[j] - z[i];
            float r = 1.0f / sqrtf(dx * dx + dy * dy + dz * dz + 0.01f), s = mass[j] * r * r * r;
            ax += dx * s;
            ay += dy * s;
            az += dz * s;
        }
        memcpy(out + 4 * i, (float[]){ax, ay, az, 0}, 16);
    }
    free(split);
}

// 16 points at a time, until the last of them is out.
typedef int int16 __attribute__((vector_size(64)));
static void mandelbrot(const struct twin_arg *a) {
    int *restrict out = P(int, 0), n = a[1].i;
#pragma omp parallel for schedule(dynamic) if (n * n > LARGE / 16)
    for (int py = 0; py < n; py++)
        for (int px = 0; px < n; px += 16) {
            float16 cx, cy = (float16){0} + (-1.5f + 3.0f * (float)py / (float)n), x = {0}, y = {0};
            int16 count = {0}, inside = count - 1;
            for (int k = 0; k < 16; k++)
                cx[k] = -2.0f + 3.0f * (float)(px + k) / (float)n;
            for (int i = 0; i < 256; i++) {
                inside &= (int16)(x * x + y * y < 4.0f);
                if (!__builtin_reduce_or(inside))
                    break;
                count -= inside;
                float16 next = x * x - y * y + cx;
                y = 2.0f * x * y + cy;
                x = next;
            }
            memcpy(out + py * n + px, &count, sizeof count);
        }
}

static const struct {
    const char *name;
    void (*run)(const struct twin_arg *args);
} twins[] = {
    {"vector_add", vector_add},
    {"saxpy", saxpy},
    {"triad", triad},
    {"gelu", gelu},
    {"stencil9", stencil9},
    {"stencil7", stencil7},
    {"box5", box5},
    {"transpose", transpose},
    {"sgemm_naive", sgemm_naive},
    {"sgemm_tiled", sgemm_blocked},
    {"matvec", matvec},
    {"sgemm_registers", sgemm_blocked},
    {"reduce", reduce},
    {"dot", dot},
    {"dot_wide", dot},
    {"softmax", softmax},
    {"layernorm", layernorm},
    {"scan", scan},
    {"spmv", spmv},
    {"histogram", histogram},
    {"nbody", nbody},
    {"mandelbrot", mandelbrot},
};

int main(int argc, char **argv) {
    if (argc < 4 || argc > 3 + TWIN_ARGS_MAX)
        twin_die("usage: openmp KERNEL REPEAT ARG…");
    int repeat = atoi(argv[2]);
    struct twin_arg args[TWIN_ARGS_MAX];
    double *times = malloc((size_t)repeat * sizeof *times);
    for (int i = 3; i < argc; i++)
        args[i - 3] = twin_parse(argv[i]);
    for (size_t t = 0; t < sizeof twins / sizeof *twins; t++) {
        if (strcmp(twins[t].name, argv[1]))
            continue;
        for (int r = 0; r < repeat; r++) {
            double start = twin_now_us();
            twins[t].run(args);
            times[r] = twin_now_us() - start;
        }
        for (int i = 3; i < argc; i++)
            twin_write(&args[i - 3]);
        twin_report(times, repeat);
        return 0;
    }
    twin_die("no such kernel");
}

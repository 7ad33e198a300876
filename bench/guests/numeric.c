// SPDX-License-Identifier: Apache-2.0
//
// A dozen numeric loops for bench/interrupt.c, each an export that fills its arrays, computes for some
// milliseconds and returns a sum of what it computed.

enum { N = 160, LINE = 20000, GRID = 300, TIMES = 10 };

static double a[N][N], b[N][N], c[N][N], line[LINE], other[LINE], grid[GRID][GRID], next[GRID][GRID];

// The first time also pays for the pages of a fresh memory.
#define EXPORT(name)                                                                                         \
    static double once_##name(void);                                                                         \
    __attribute__((export_name(#name))) double name(void) {                                                  \
        double sum = 0;                                                                                      \
        for (int i = 0; i < TIMES; i++)                                                                      \
            sum += once_##name();                                                                            \
        return sum;                                                                                          \
    }                                                                                                        \
    static double once_##name(void)

static void fill(void) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (i == j ? N : 0) + (double)((i * 7 + j * 3) % 11) / 11;
            b[i][j] = (double)((i * 5 + j) % 13) / 13;
            c[i][j] = 0;
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++)
            a[i][j] = a[j][i];
}

static double sum_of(double (*m)[N]) {
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum += m[i][j];
    return sum;
}

EXPORT(lu) {
    fill();
    for (int k = 0; k < N; k++)
        for (int i = k + 1; i < N; i++) {
            a[i][k] /= a[k][k];
            for (int j = k + 1; j < N; j++)
                a[i][j] -= a[i][k] * a[k][j];
        }
    return sum_of(a);
}

EXPORT(cholesky) {
    fill();
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            for (int k = 0; k < j; k++)
                a[i][j] -= a[i][k] * a[j][k];
            a[i][j] /= a[j][j];
        }
        for (int k = 0; k < i; k++)
            a[i][i] -= a[i][k] * a[i][k];
        a[i][i] = __builtin_sqrt(a[i][i]);
    }
    return sum_of(a);
}

EXPORT(gemm) {
    fill();
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            for (int j = 0; j < N; j++)
                c[i][j] += a[i][k] * b[k][j];
    return sum_of(c);
}

// The inner loop is a sum: nothing but the accumulator lives in registers.
EXPORT(dot_gemm) {
    fill();
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    return sum_of(c);
}

EXPORT(triangular) {
    fill();
    double sum = 0;
    for (int round = 0; round < 60; round++)
        for (int i = 0; i < N; i++) {
            double x = b[round][i];
            for (int j = 0; j < i; j++)
                x -= a[i][j] * b[round][j];
            b[round][i] = x / a[i][i];
            sum += b[round][i];
        }
    return sum;
}

EXPORT(jacobi_1d) {
    for (int i = 0; i < LINE; i++)
        line[i] = other[i] = (double)(i % 17);
    for (int round = 0; round < 100; round++) {
        for (int i = 1; i < LINE - 1; i++)
            other[i] = 0.33333 * (line[i - 1] + line[i] + line[i + 1]);
        for (int i = 1; i < LINE - 1; i++)
            line[i] = other[i];
    }
    return line[LINE / 2];
}

EXPORT(jacobi_2d) {
    for (int i = 0; i < GRID; i++)
        for (int j = 0; j < GRID; j++)
            grid[i][j] = next[i][j] = (double)((i * j) % 19);
    for (int round = 0; round < 30; round++) {
        for (int i = 1; i < GRID - 1; i++)
            for (int j = 1; j < GRID - 1; j++)
                next[i][j] =
                    0.2 * (grid[i][j] + grid[i][j - 1] + grid[i][j + 1] + grid[i - 1][j] + grid[i + 1][j]);
        for (int i = 1; i < GRID - 1; i++)
            for (int j = 1; j < GRID - 1; j++)
                grid[i][j] = next[i][j];
    }
    return grid[GRID / 2][GRID / 2];
}

EXPORT(seidel) {
    for (int i = 0; i < GRID; i++)
        for (int j = 0; j < GRID; j++)
            grid[i][j] = (double)((i + j) % 23);
    for (int round = 0; round < 10; round++)
        for (int i = 1; i < GRID - 1; i++)
            for (int j = 1; j < GRID - 1; j++)
                grid[i][j] =
                    (grid[i - 1][j] + grid[i][j - 1] + grid[i][j] + grid[i][j + 1] + grid[i + 1][j]) / 5;
    return grid[GRID / 2][GRID / 2];
}

EXPORT(sums) {
    for (int i = 0; i < LINE; i++)
        line[i] = (double)(i % 29) * 0.5;
    double sum = 0;
    for (int round = 0; round < 150; round++)
        for (int i = 0; i < LINE; i++)
            sum += line[i];
    return sum;
}

EXPORT(prefix) {
    for (int i = 0; i < LINE; i++)
        line[i] = (double)(i % 31);
    double last = 0;
    for (int round = 0; round < 100; round++) {
        double sum = 0;
        for (int i = 0; i < LINE; i++) {
            sum = sum * 0.999 + line[i];
            other[i] = sum;
        }
        last += other[LINE - 1];
    }
    return last;
}

EXPORT(n_body) {
    enum { BODIES = 40, STEPS = 200 };
    double x[BODIES], v[BODIES] = {0};
    for (int i = 0; i < BODIES; i++)
        x[i] = i * 1.1 + (i % 3);
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < BODIES; i++)
            for (int j = 0; j < BODIES; j++) {
                double d = x[j] - x[i], r = d * d + 0.01;
                v[i] += 0.001 * d / (r * __builtin_sqrt(r));
            }
        for (int i = 0; i < BODIES; i++)
            x[i] += 0.001 * v[i];
    }
    return x[0] + x[BODIES - 1];
}

EXPORT(mandelbrot) {
    int inside = 0;
    for (int py = 0; py < 100; py++)
        for (int px = 0; px < 100; px++) {
            double cx = px / 40.0 - 2, cy = py / 50.0 - 1, x = 0, y = 0;
            int i = 0;
            for (; i < 200 && x * x + y * y < 4; i++) {
                double t = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = t;
            }
            inside += i == 200;
        }
    return inside;
}

EXPORT(floyd_warshall) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i][j] = (double)((i * 13 + j * 7) % 101) + 1;
    for (int k = 0; k < N; k++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double through = a[i][k] + a[k][j];
                a[i][j] = through < a[i][j] ? through : a[i][j];
            }
    return sum_of(a);
}

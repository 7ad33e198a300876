// SPDX-License-Identifier: Apache-2.0
//
// Linear algebra, neural networks and simulations in small.
#include "cuda_min.h"

extern "C" __global__ void transpose(const float *in, float *out, int width, int height) {
    __shared__ float tile[16][17];
    int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
    if (x < width && y < height)
        tile[threadIdx.y][threadIdx.x] = in[y * width + x];
    __syncthreads();
    x = blockIdx.y * 16 + threadIdx.x;
    y = blockIdx.x * 16 + threadIdx.y;
    if (x < height && y < width)
        out[y * height + x] = tile[threadIdx.x][threadIdx.y];
}

// A warp a row.
extern "C" __global__ void spmv(const int *starts, const int *columns, const float *values, const float *x, float *y, int rows) {
    int row = thread() / 32;
    if (row >= rows)
        return;
    float sum = 0;
    for (int k = starts[row] + laneid(); k < starts[row + 1]; k += 32)
        sum += values[k] * x[columns[k]];
    for (int d = 16; d; d /= 2)
        sum += tw_shfl_down(sum, d);
    if (laneid() == 0)
        y[row] = sum;
}

extern "C" __global__ void dgemv(const double *a, const double *x, double *y, int n) {
    double sum = 0;
    for (int k = 0; k < n; k++)
        sum = __nvvm_fma_rn_d(a[thread() * n + k], x[k], sum);
    y[thread()] = sum;
}

extern "C" __global__ void layernorm(const float *in, float *out, int n) {
    __shared__ float part[2][8];
    const float *row = in + blockIdx.x * n;
    float sum = 0, squares = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        sum += row[i];
        squares += row[i] * row[i];
    }
    for (int d = 16; d; d /= 2) {
        sum += tw_shfl_xor(sum, d);
        squares += tw_shfl_xor(squares, d);
    }
    if (laneid() == 0) {
        part[0][threadIdx.x / 32] = sum;
        part[1][threadIdx.x / 32] = squares;
    }
    __syncthreads();
    sum = squares = 0;
    for (unsigned w = 0; w < blockDim.x / 32; w++) {
        sum += part[0][w];
        squares += part[1][w];
    }
    float mean = sum / n, variance = squares / n - mean * mean;
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        out[blockIdx.x * n + i] = (row[i] - mean) / tw_sqrt(variance + 1e-5f);
}

// One query a thread, 16 wide; keys and values pass through shared memory 32 at a time.
extern "C" __global__ void attention(const float *q, const float *k, const float *v, float *out, int n) {
    __shared__ float keys[32][16], values[32][16];
    int row = thread();
    float acc[16] = {}, most = -1e30f, sum = 0;
    for (int first = 0; first < n; first += 32) {
        __syncthreads();
        for (int i = threadIdx.x; i < 512; i += blockDim.x) {
            keys[i / 16][i % 16] = k[first * 16 + i];
            values[i / 16][i % 16] = v[first * 16 + i];
        }
        __syncthreads();
        for (int j = 0; j < 32; j++) {
            float s = 0;
            for (int d = 0; d < 16; d++)
                s += q[row * 16 + d] * keys[j][d];
            float next = tw_max(most, s), scale = tw_exp(most - next), p = tw_exp(s - next);
            sum = sum * scale + p;
            for (int d = 0; d < 16; d++)
                acc[d] = acc[d] * scale + p * values[j][d];
            most = next;
        }
    }
    for (int d = 0; d < 16; d++)
        out[row * 16 + d] = acc[d] / sum;
}

extern "C" __global__ void adam(float *w, const float *g, float *m, float *v, float rate, int n) {
    int i = thread();
    if (i >= n)
        return;
    m[i] = 0.9f * m[i] + 0.1f * g[i];
    v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
    w[i] -= rate * m[i] / (tw_sqrt(v[i]) + 1e-8f);
}

extern "C" __global__ void maxpool(const float *in, float *out, int width) {
    int x = threadIdx.x, y = threadIdx.y, z = blockIdx.x * blockDim.z + threadIdx.z, half = width / 2;
    const float *at = in + (z * width + 2 * y) * width + 2 * x;
    out[(z * half + y) * half + x] = tw_max(tw_max(at[0], at[1]), tw_max(at[width], at[width + 1]));
}

// 256 points, one block of 128, radix 2, by decimation in time.
extern "C" __global__ void fft(const float *re, const float *im, float *out_re, float *out_im) {
    __shared__ float r[256], m[256];
    int i = threadIdx.x;
    for (int k = i; k < 256; k += 128) {
        int from = __builtin_bitreverse32(k) >> 24;
        r[k] = re[from];
        m[k] = im[from];
    }
    for (int half = 1; half < 256; half *= 2) {
        __syncthreads();
        int j = i & (half - 1), a = 2 * (i - j) + j, b = a + half;
        float angle = -3.14159265f * j / half, c = __nvvm_cos_approx_f(angle), s = __nvvm_sin_approx_f(angle);
        float x = r[b] * c - m[b] * s, y = r[b] * s + m[b] * c;
        r[b] = r[a] - x;
        m[b] = m[a] - y;
        r[a] += x;
        m[a] += y;
    }
    __syncthreads();
    for (int k = i; k < 256; k += 128) {
        out_re[k] = r[k];
        out_im[k] = m[k];
    }
}

extern "C" __global__ void nbody(const float *x, const float *y, float *ax, float *ay, int n) {
    int i = thread();
    if (i >= n)
        return;
    float fx = 0, fy = 0;
    for (int j = 0; j < n; j++) {
        float dx = x[j] - x[i], dy = y[j] - y[i], d = dx * dx + dy * dy + 0.01f, inverse = 1 / tw_sqrt(d);
        fx += dx * inverse * inverse * inverse;
        fy += dy * inverse * inverse * inverse;
    }
    ax[i] = fx;
    ay[i] = fy;
}

extern "C" __global__ void mandelbrot(int *out, int width, int most) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, n = 0;
    double cr = x * 3.0 / width - 2, ci = y * 2.0 / width - 1, r = 0, i = 0;
    while (n < most && r * r + i * i < 4) {
        double t = r * r - i * i + cr;
        i = 2 * r * i + ci;
        r = t;
        n++;
    }
    out[y * width + x] = n;
}

extern "C" __global__ void life(const unsigned char *in, unsigned char *out, int size) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, alive = 0;
    if (x >= size || y >= size)
        return;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++)
            if (dx || dy)
                alive += in[(y + dy + size) % size * size + (x + dx + size) % size];
    out[y * size + x] = alive == 3 || (alive == 2 && in[y * size + x]);
}

extern "C" __global__ void heat3(const float *in, float *out, int size) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y,
        z = blockIdx.z * blockDim.z + threadIdx.z, at = (z * size + y) * size + x;
    if (x < 1 || y < 1 || z < 1 || x >= size - 1 || y >= size - 1 || z >= size - 1)
        return;
    out[at] = (in[at - 1] + in[at + 1] + in[at - size] + in[at + size] + in[at - size * size] + in[at + size * size]) / 6;
}

// Points of a xorshift generator inside the circle.
extern "C" __global__ void circle(int *hits, int rounds) {
    unsigned s = thread() * 2654435761u + 1;
    int mine = 0;
    for (int k = 0; k < rounds; k++) {
        s ^= s << 13, s ^= s >> 17, s ^= s << 5;
        unsigned x = s >> 16, y = s & 0xffff;
        mine += (unsigned long)x * x + (unsigned long)y * y < 1ul << 32;
    }
    atomicAdd(hits, mine);
}

extern "C" __global__ void collatz(const unsigned long *in, int *out) {
    unsigned long v = in[thread()];
    int steps = 0;
    for (; v != 1; steps++)
        v = v & 1 ? 3 * v + 1 : v / 2;
    out[thread()] = steps;
}

extern "C" __global__ void gcd(const long *a, const long *b, long *out) {
    long x = a[thread()], y = b[thread()];
    while (y) {
        long r = x % y;
        x = y;
        y = r;
    }
    out[thread()] = x;
}

extern "C" __global__ void mulmod(const unsigned long *a, const unsigned long *b, unsigned long *out, unsigned long m) {
    unsigned long x = a[thread()] % m, y = b[thread()], r = 0;
    for (; y; y >>= 1) {
        if (y & 1)
            r = r >= m - x ? r - (m - x) : r + x;
        x = x >= m - x ? x - (m - x) : x + x;
    }
    out[thread()] = r;
}

extern "C" __global__ void halves(const _Float16 *a, const _Float16 *b, _Float16 *out) {
    out[thread()] = a[thread()] * b[thread()] + (_Float16)1;
}

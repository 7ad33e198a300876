// SPDX-License-Identifier: Apache-2.0
//
// Sums and maxima over a block by warp shuffles and then over its warps. Rows of n x n matrices where there are rows; blocks of 256, and of
// other sizes where nothing is said of them. There is no OpenCL twin: it has no shuffles.
#include "dialect.h"

DEVICE float block_sum(float value) {
    SHARED float part[8];
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = value;
    __syncthreads();
    value = part[0];
    for (int w = 1; w < 8; w++)
        value += part[w];
    __syncthreads();
    return value;
}

DEVICE float block_max(float value) {
    SHARED float part[8];
    value = warp_max(value);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = value;
    __syncthreads();
    value = part[0];
    for (int w = 1; w < 8; w++)
        value = MAX(value, part[w]);
    __syncthreads();
    return value;
}

KERNEL reduce(const float *in, float *out, int n) {
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum += in[i];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        __nvvm_atom_add_gen_f(out, sum);
}

KERNEL dot(const float *a, const float *b, float *out, int n) {
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum = FMA(a[i], b[i], sum);
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        __nvvm_atom_add_gen_f(out, sum);
}

// The same in blocks of up to 1,024.
KERNEL dot_wide(const float *a, const float *b, float *out, int n) {
    SHARED float part[32];
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum = FMA(a[i], b[i], sum);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x >= 32)
        return;
    sum = warp_sum(threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0.0f);
    if (threadIdx.x == 0)
        __nvvm_atom_add_gen_f(out, sum);
}

// y = A x, a warp a row.
KERNEL matvec(const float *a, const float *x, float *y, int n) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    float sum = 0;
    for (int i = threadIdx.x % 32; i < n; i += 32)
        sum = FMA(a[row * n + i], x[i], sum);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        y[row] = sum;
}

KERNEL softmax(const float *in, float *out, int n) {
    const float *row = in + blockIdx.x * n;
    float *to = out + blockIdx.x * n, top = -3.4e38f, sum = 0;
    for (int i = threadIdx.x; i < n; i += 256)
        top = MAX(top, row[i]);
    top = block_max(top);
    for (int i = threadIdx.x; i < n; i += 256)
        sum += EXP(row[i] - top);
    sum = 1.0f / block_sum(sum);
    for (int i = threadIdx.x; i < n; i += 256)
        to[i] = EXP(row[i] - top) * sum;
}

KERNEL layernorm(const float *in, float *out, int n) {
    const float *row = in + blockIdx.x * n;
    float *to = out + blockIdx.x * n, sum = 0, squares = 0;
    for (int i = threadIdx.x; i < n; i += 256)
        sum += row[i];
    float mean = block_sum(sum) / (float)n;
    for (int i = threadIdx.x; i < n; i += 256)
        squares = FMA(row[i] - mean, row[i] - mean, squares);
    float scale = RSQRT(block_sum(squares) / (float)n + 1e-5f);
    for (int i = threadIdx.x; i < n; i += 256)
        to[i] = (row[i] - mean) * scale;
}

// Running sums of every 256 elements, by shuffles and then over the warps.
KERNEL scan(const float *in, float *out, int n) {
    SHARED float part[8];
    int i = blockIdx.x * 256 + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float value = i < n ? in[i] : 0.0f;
    for (int step = 1; step < 32; step <<= 1) {
        float other = shuffle_up(value, step);
        if (lane >= step)
            value += other;
    }
    if (lane == 31)
        part[warp] = value;
    __syncthreads();
    for (int w = 0; w < warp; w++)
        value += part[w];
    if (i < n)
        out[i] = value;
}

// SPDX-License-Identifier: Apache-2.0
//
// Irregular work: indices from memory, loops of different lengths, atomics, all pairs.
#include "dialect.h"

// y = A x in compressed rows, a thread a row.
KERNEL spmv(GLOBAL const int *start, GLOBAL const int *column, GLOBAL const float *value, GLOBAL const float *x, GLOBAL float *y, int n) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= n)
        return;
    float sum = 0;
    for (int i = start[row]; i < start[row + 1]; i++)
        sum = FMA(value[i], x[column[i]], sum);
    y[row] = sum;
}

// Bytes into 256 bins: a copy a block in shared memory, then one flush.
KERNEL histogram(GLOBAL const uchar *in, GLOBAL int *bins, int n) {
    SHARED int local_bins[256];
    for (int i = threadIdx.x; i < 256; i += blockDim.x)
        local_bins[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        ATOMIC_ADD(&local_bins[in[i]], 1);
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x)
        ATOMIC_ADD(&bins[i], local_bins[i]);
}

// Accelerations of n bodies (x, y, z, mass), tiles of 128 in shared memory, blocks of 128.
KERNEL nbody(GLOBAL const float4 *body, GLOBAL float4 *acceleration, int n) {
    SHARED float4 tile[128];
    int i = blockIdx.x * 128 + threadIdx.x;
    float4 me = body[i];
    float ax = 0, ay = 0, az = 0;
    for (int t = 0; t < n; t += 128) {
        tile[threadIdx.x] = body[t + threadIdx.x];
        __syncthreads();
        for (int j = 0; j < 128; j++) {
            float dx = tile[j].x - me.x, dy = tile[j].y - me.y, dz = tile[j].z - me.z;
            float r = RSQRT(FMA(dx, dx, FMA(dy, dy, FMA(dz, dz, 0.01f))));
            float s = tile[j].w * r * r * r;
            ax = FMA(dx, s, ax);
            ay = FMA(dy, s, ay);
            az = FMA(dz, s, az);
        }
        __syncthreads();
    }
    float4 result = {ax, ay, az, 0.0f};
    acceleration[i] = result;
}

// Iterations until a point of the plane leaves the circle, at most 256: lanes leave one by one.
KERNEL mandelbrot(GLOBAL int *out, int n) {
    int px = blockIdx.x * blockDim.x + threadIdx.x, py = blockIdx.y * blockDim.y + threadIdx.y, count = 0;
    if (px >= n || py >= n)
        return;
    float cx = -2.0f + 3.0f * (float)px / (float)n, cy = -1.5f + 3.0f * (float)py / (float)n, x = 0, y = 0;
    while (count < 256 && x * x + y * y < 4.0f) {
        float next = x * x - y * y + cx;
        y = 2.0f * x * y + cy;
        x = next;
        count++;
    }
    out[py * n + px] = count;
}

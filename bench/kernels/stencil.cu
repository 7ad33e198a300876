// SPDX-License-Identifier: Apache-2.0
//
// Neighbours on a grid of n x n or n x n x n points; the edge stays as it is.
#include "dialect.h"

KERNEL stencil9(GLOBAL const float *in, GLOBAL float *out, int n) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < 1 || y < 1 || x >= n - 1 || y >= n - 1)
        return;
    GLOBAL const float *p = in + y * n + x;
    out[y * n + x] = 0.25f * p[0] + 0.125f * (p[-1] + p[1] + p[-n] + p[n]) + 0.0625f * (p[-n - 1] + p[-n + 1] + p[n - 1] + p[n + 1]);
}

KERNEL stencil7(GLOBAL const float *in, GLOBAL float *out, int n) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, z = blockIdx.z;
    if (x < 1 || y < 1 || z < 1 || x >= n - 1 || y >= n - 1 || z >= n - 1)
        return;
    int i = (z * n + y) * n + x;
    out[i] = 0.4f * in[i] + 0.1f * (in[i - 1] + in[i + 1] + in[i - n] + in[i + n] + in[i - n * n] + in[i + n * n]);
}

// The mean of 5 x 5 bytes.
KERNEL box5(GLOBAL const uchar *in, GLOBAL uchar *out, int n) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, sum = 0;
    if (x < 2 || y < 2 || x >= n - 2 || y >= n - 2)
        return;
    for (int dy = -2; dy <= 2; dy++)
        for (int dx = -2; dx <= 2; dx++)
            sum += in[(y + dy) * n + x + dx];
    out[y * n + x] = (uchar)(sum * 2622 >> 16);
}

// Through a tile in shared memory, blocks of 32 x 8.
KERNEL transpose(GLOBAL const float *in, GLOBAL float *out, int n) {
    SHARED float tile[32][33];
    int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8)
        tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * n + x];
    __syncthreads();
    x = blockIdx.y * 32 + threadIdx.x;
    y = blockIdx.x * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8)
        out[(y + j) * n + x] = tile[threadIdx.x][threadIdx.y + j];
}

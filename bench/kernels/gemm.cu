// SPDX-License-Identifier: Apache-2.0
//
// C = A B for square matrices, as textbooks climb: no sharing, tiles in shared memory, tiles of 8 x 8 in registers. n is a multiple of 64
// for the last.
#include "dialect.h"

#define TILE 16
#define EDGE 64
#define STEP 8
#define OWN 8

// Blocks of 32 x 8.
KERNEL sgemm_naive(GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c, int n) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= n || row >= n)
        return;
    float sum = 0;
    for (int k = 0; k < n; k++)
        sum = FMA(a[row * n + k], b[k * n + column], sum);
    c[row * n + column] = sum;
}

// Blocks of 16 x 16.
KERNEL sgemm_tiled(GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c, int n) {
    SHARED float at[TILE][TILE], bt[TILE][TILE];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    float sum = 0;
    for (int t = 0; t < n; t += TILE) {
        at[y][x] = row < n && t + x < n ? a[row * n + t + x] : 0.0f;
        bt[y][x] = column < n && t + y < n ? b[(t + y) * n + column] : 0.0f;
        __syncthreads();
        for (int i = 0; i < TILE; i++)
            sum = FMA(at[y][i], bt[i][x], sum);
        __syncthreads();
    }
    if (row < n && column < n)
        c[row * n + column] = sum;
}

// Blocks of 64 threads for 64 x 64 results: thread t owns rows t / 8 + 8 i and columns t % 8 + 8 j.
KERNEL sgemm_registers(GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c, int n) {
    SHARED float at[STEP][EDGE], bt[STEP][EDGE];
    int t = threadIdx.x, tx = t % 8, ty = t / 8, top = blockIdx.y * EDGE, left = blockIdx.x * EDGE;
    float sum[OWN][OWN] = {};
    for (int k = 0; k < n; k += STEP) {
#pragma unroll
        for (int i = 0; i < STEP; i++) {
            at[tx][ty + 8 * i] = a[(top + ty + 8 * i) * n + k + tx];
            bt[i][t] = b[(k + i) * n + left + t];
        }
        __syncthreads();
#pragma unroll
        for (int s = 0; s < STEP; s++)
#pragma unroll
            for (int i = 0; i < OWN; i++)
#pragma unroll
                for (int j = 0; j < OWN; j++)
                    sum[i][j] = FMA(at[s][ty + 8 * i], bt[s][tx + 8 * j], sum[i][j]);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < OWN; i++)
#pragma unroll
        for (int j = 0; j < OWN; j++)
            c[(top + ty + 8 * i) * n + left + tx + 8 * j] = sum[i][j];
}

// SPDX-License-Identifier: Apache-2.0
//
// C = A B for row-major M x K and K x N: 16 x 16 tiles in shared memory, ragged edges filled with zeros. Blocks of 16 x 16.
#include "cuda_min.h"

enum { TILE = 16 };

extern "C" __global__ void sgemm(const float *a, const float *b, float *c, int m, int n, int k) {
    __shared__ float at[TILE][TILE], bt[TILE][TILE];
    int x = threadIdx.x, y = threadIdx.y;
    int row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    float sum = 0;
    for (int t = 0; t < k; t += TILE) {
        at[y][x] = row < m && t + x < k ? a[row * k + t + x] : 0.0f;
        bt[y][x] = column < n && t + y < k ? b[(t + y) * n + column] : 0.0f;
        tw_syncthreads();
        for (int i = 0; i < TILE; i++)
            sum += at[y][i] * bt[i][x];
        tw_syncthreads();
    }
    if (row < m && column < n)
        c[row * n + column] = sum;
}

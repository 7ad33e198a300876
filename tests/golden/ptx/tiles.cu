// SPDX-License-Identifier: Apache-2.0
//
// Matrix products in which each thread owns more sums than a processor has registers for.
#include "cuda_min.h"

#define STEP 8
#define EDGE 32

static inline __device__ float fma_of(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}
static inline __device__ double fma_of(double a, double b, double c) {
    return __builtin_fma(a, b, c);
}

// Blocks of 64 threads for EDGE x EDGE results: thread t owns rows t / 8 + 8 i and columns t % 8 + 8 j. One sum is
// changed between its steps.
template <typename T> static inline __device__ void product(const T *a, const T *b, T *c, int n) {
    __shared__ T at[STEP][EDGE], bt[STEP][EDGE];
    int t = threadIdx.x, tx = t % 8, ty = t / 8, top = blockIdx.y * EDGE, left = blockIdx.x * EDGE;
    T sum[4][4] = {};
    for (int k = 0; k < n; k += STEP) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            at[tx][ty + 8 * i] = a[(top + ty + 8 * i) * n + k + tx];
            bt[ty][tx + 8 * i] = b[(k + ty) * n + left + tx + 8 * i];
        }
        tw_syncthreads();
#pragma unroll
        for (int s = 0; s < STEP; s++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    if (s == 4 && i == 3 && j == 3)
                        sum[i][j] += 1;
                    sum[i][j] = fma_of(at[s][ty + 8 * i], bt[s][tx + 8 * j], sum[i][j]);
                }
        tw_syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            c[(top + ty + 8 * i) * n + left + tx + 8 * j] = sum[i][j];
}

extern "C" __global__ void product_f32(const float *a, const float *b, float *c, int n) {
    product(a, b, c, n);
}

extern "C" __global__ void product_f64(const double *a, const double *b, double *c, int n) {
    product(a, b, c, n);
}

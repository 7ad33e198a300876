// SPDX-License-Identifier: Apache-2.0
//
// Softmax over each row: a block a row, blocks of 256, maxima and sums by warp shuffles and then over the warps.
#include "cuda_min.h"

static __device__ float over_block(float value, bool sum) {
    __shared__ float part[8];
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        float other = tw_shfl_xor(value, lanes);
        value = sum ? value + other : tw_max(value, other);
    }
    if ((threadIdx.x & 31) == 0)
        part[threadIdx.x / 32] = value;
    tw_syncthreads();
    value = part[0];
    for (int w = 1; w < 8; w++)
        value = sum ? value + part[w] : tw_max(value, part[w]);
    tw_syncthreads();
    return value;
}

extern "C" __global__ void softmax(const float *in, float *out, int columns) {
    const float *row = in + (long)blockIdx.x * columns;
    float *to = out + (long)blockIdx.x * columns;
    float top = -3.4e38f, sum = 0;
    for (int i = threadIdx.x; i < columns; i += 256)
        top = tw_max(top, row[i]);
    top = over_block(top, false);
    for (int i = threadIdx.x; i < columns; i += 256)
        sum += tw_exp(row[i] - top);
    sum = over_block(sum, true);
    for (int i = threadIdx.x; i < columns; i += 256)
        to[i] = tw_exp(row[i] - top) / sum;
}

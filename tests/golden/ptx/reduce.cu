// SPDX-License-Identifier: Apache-2.0
//
// Sums: a tree in shared memory with barriers, and a warp-shuffle variant that ends in an atomic. Blocks of 256.
#include "cuda_min.h"

extern "C" __global__ void reduce_shared(const float *in, float *out, int n) {
    __shared__ float part[256];
    int t = threadIdx.x;
    float sum = 0;
    for (int i = blockIdx.x * 256 + t; i < n; i += gridDim.x * 256)
        sum += in[i];
    part[t] = sum;
    tw_syncthreads();
    for (int half = 128; half > 0; half >>= 1) {
        if (t < half)
            part[t] += part[t + half];
        tw_syncthreads();
    }
    if (t == 0)
        out[blockIdx.x] = part[0];
}

extern "C" __global__ void reduce_shuffle(const float *in, float *out, int n) {
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum += in[i];
    for (int delta = 16; delta > 0; delta >>= 1)
        sum += tw_shfl_down(sum, delta);
    if ((threadIdx.x & 31) == 0)
        __nvvm_atom_add_gen_f(out, sum);
}

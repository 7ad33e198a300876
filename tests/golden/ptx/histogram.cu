// SPDX-License-Identifier: Apache-2.0
//
// Counts of byte values: atomics on shared memory and one flush a block, and a variant straight to global memory.
#include "cuda_min.h"

extern "C" __global__ void histogram_shared(const unsigned char *in, int *bins, int n) {
    __shared__ int local[256];
    for (int i = threadIdx.x; i < 256; i += blockDim.x)
        local[i] = 0;
    tw_syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        __nvvm_atom_add_gen_i(&local[in[i]], 1);
    tw_syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x)
        __nvvm_atom_add_gen_i(&bins[i], local[i]);
}

extern "C" __global__ void histogram_global(const unsigned char *in, int *bins, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        __nvvm_atom_add_gen_i(&bins[in[i]], 1);
}

// SPDX-License-Identifier: Apache-2.0
//
// c[i] = a[i] + b[i], one element a thread; the last block may reach beyond the end.
#include "tensor_wasm_kernel.h"

extern "C" __global__ void vector_add(const float *a, const float *b, float *c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        c[i] = a[i] + b[i];
}

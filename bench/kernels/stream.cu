// SPDX-License-Identifier: Apache-2.0
//
// One element or four a thread, in order: what memory allows.
#include "dialect.h"

KERNEL vector_add(GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        c[i] = a[i] + b[i];
}

// A grid that is smaller than the data: every thread strides over it.
KERNEL saxpy(GLOBAL const float *x, GLOBAL float *y, float s, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = FMA(s, x[i], y[i]);
}

KERNEL triad(GLOBAL const float4 *b, GLOBAL const float4 *c, GLOBAL float4 *a, float s, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n / 4)
        a[i] = b[i] + s * c[i];
}

KERNEL gelu(GLOBAL const float *x, GLOBAL float *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        float v = x[i], t = 1.5957691216f * (v + 0.044715f * v * v * v);
        y[i] = DIVIDE(v, 1.0f + EXP(-t));
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// What the other kernels leave out: calls with structures by value, a switch that becomes an indexed branch, variables that hold
// addresses, dynamic shared memory, printf, 128-bit arithmetic in carry chains. Not meant to compute anything useful.
#include "cuda_min.h"

struct record {
    int a, b;
    float c;
    long d;
};

extern "C" __device__ int vprintf(const char *, void *);
extern __shared__ int scratch[];
__device__ int table[4] = {1, 2, 3, 4};
__device__ int *halves[2] = {table, table + 2};

__device__ __noinline__ record changed(record r, int k) {
    r.a += k;
    r.d *= 3;
    return r;
}

extern "C" __global__ void calls(record *p, int i, record by_value) {
    p[threadIdx.y] = changed(p[threadIdx.x], i);
    p[5] = changed(by_value, 2);
    scratch[threadIdx.x] = halves[i & 1][0];
    switch (i) {
    case 0: p[0].a = 2; break;
    case 1: p[1].b = 3; break;
    case 2: p[2].c = 4; break;
    case 3: p[0].d = 7; break;
    case 4: p[0].d = 9; break;
    case 5: p[9].a = scratch[0]; break;
    }
    int arguments[2] = {i, 2};
    vprintf("%d of %d\n", arguments);
    unsigned long x = p[1].d, y = p[2].d;
    p[3].d = (long)(((unsigned __int128)x * y) >> 64);
    p[4].d = (long)(((__int128)x + y) * 3 >> 13);
}

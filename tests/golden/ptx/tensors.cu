// SPDX-License-Identifier: Apache-2.0
//
// Tensor cores, asynchronous copies, packed halves and bytes, as people write them in inline assembly.
#include "cuda_min.h"

// c (16 × 8) = a (16 × 16) × b (16 × 8), halves added up in floats. a and b come to shared memory by cp.async, to
// registers by ldmatrix.
extern "C" __global__ void mma_f16(const unsigned short *a, const unsigned short *b, float *c) {
    __shared__ __attribute__((aligned(16))) unsigned short sa[16 * 16], sb[16 * 8];
    unsigned lane = threadIdx.x, at_a = (unsigned)(unsigned long)(__attribute__((address_space(3))) unsigned short *)sa,
             at_b = (unsigned)(unsigned long)(__attribute__((address_space(3))) unsigned short *)sb;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at_a + lane * 16), "l"(a + lane * 8));
    if (lane < 16)
        asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(at_b + lane * 16), "l"(b + lane * 8));
    asm volatile("cp.async.commit_group; cp.async.wait_group 0;");
    __syncthreads();
    unsigned x[4], y[2];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at_a + (lane % 16) * 32 + lane / 16 * 16));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(y[0]), "=r"(y[1]) : "r"(at_b + (lane % 16) * 16));
    float d[4];
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]), "f"(0.0f));
    for (int i = 0; i < 4; i++)
        c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

extern "C" __global__ void half_pairs(const unsigned *a, const unsigned *b, unsigned *sums, unsigned *greater) {
    unsigned i = threadIdx.x, d, g;
    asm("fma.rn.f16x2 %0, %1, %2, %2;" : "=r"(d) : "r"(a[i]), "r"(b[i]));
    asm("set.gt.u32.f16x2 %0, %1, %2;" : "=r"(g) : "r"(a[i]), "r"(b[i]));
    sums[i] = d;
    greater[i] = g;
}

extern "C" __global__ void bytes(const unsigned *a, const unsigned *b, int *dots, unsigned *mixed) {
    unsigned i = threadIdx.x, p, l;
    int d;
    asm("dp4a.s32.u32 %0, %1, %2, %3;" : "=r"(d) : "r"(a[i]), "r"(b[i]), "r"(5));
    asm("prmt.b32 %0, %1, %2, 0x6240;" : "=r"(p) : "r"(a[i]), "r"(b[i]));
    asm("lop3.b32 %0, %1, %2, %3, 0xe8;" : "=r"(l) : "r"(a[i]), "r"(b[i]), "r"(p));
    dots[i] = d;
    mixed[i] = p ^ l;
}

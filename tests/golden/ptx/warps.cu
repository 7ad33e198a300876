// SPDX-License-Identifier: Apache-2.0
//
// Warps at work: scans, votes, matches, compaction, sorting.
#include "cuda_min.h"

// Inclusive scan of one block of 256.
extern "C" __global__ void scan(const int *in, int *out, int n) {
    __shared__ int sums[8];
    int i = threadIdx.x, lane = laneid(), v = i < n ? in[i] : 0;
    for (int d = 1; d < 32; d *= 2) {
        int other = shfl_up(v, d);
        if (lane >= d)
            v += other;
    }
    if (lane == 31)
        sums[i / 32] = v;
    __syncthreads();
    if (i < 8) {
        int total = 0;
        for (int k = 0; k < i; k++)
            total += sums[k];
        __nvvm_bar_warp_sync(0xff);
        sums[i] = total;
    }
    __syncthreads();
    if (i < n)
        out[i] = v + sums[i / 32];
}

// Keeps what is odd, in any order.
extern "C" __global__ void compact(const int *in, int *out, int *count, int n) {
    int i = thread();
    bool keep = i < n && in[i] & 1;
    unsigned who = ballot(keep);
    int base = 0;
    if (laneid() == 0)
        base = atomicAdd(count, __builtin_popcount(who));
    base = shfl_from(base, 0);
    if (keep)
        out[base + __builtin_popcount(who & ((1u << laneid()) - 1))] = in[i];
}

// One lane of those with the same key counts for all of them.
extern "C" __global__ void count_keys(const int *keys, int *counts) {
    int key = keys[thread()];
    unsigned same = __nvvm_match_any_sync_i32(0xffffffffu, key);
    if (laneid() == __builtin_ctz(same))
        atomicAdd(&counts[key], __builtin_popcount(same));
}

extern "C" __global__ void votes(const int *in, int *out) {
    int v = in[thread()];
    bool all = __nvvm_vote_all_sync(0xffffffffu, v > 0), any = __nvvm_vote_any_sync(0xffffffffu, v > 90);
    out[thread()] = all * 2 + any;
}

// 512 numbers, two a thread.
extern "C" __global__ void bitonic(float *data) {
    __shared__ float s[512];
    int i = threadIdx.x;
    s[i] = data[i];
    s[i + 256] = data[i + 256];
    for (int size = 2; size <= 512; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            __syncthreads();
            int a = 2 * i - (i & (stride - 1)), b = a + stride;
            bool up = (a & size) == 0;
            float x = s[a], y = s[b];
            if (x > y == up) {
                s[a] = y;
                s[b] = x;
            }
        }
    __syncthreads();
    data[i] = s[i];
    data[i + 256] = s[i + 256];
}

// One stable pass over 4 bits, in one block.
extern "C" __global__ void radix_pass(const unsigned *in, unsigned *out, int shift) {
    __shared__ int counts[16][256];
    int i = threadIdx.x;
    unsigned v = in[i], digit = v >> shift & 15;
    for (int d = 0; d < 16; d++)
        counts[d][i] = d == digit;
    __syncthreads();
    for (int step = 1; step < 256; step *= 2) {
        int more[16];
        for (int d = 0; d < 16; d++)
            more[d] = i >= step ? counts[d][i - step] : 0;
        __syncthreads();
        for (int d = 0; d < 16; d++)
            counts[d][i] += more[d];
        __syncthreads();
    }
    int before = 0;
    for (int d = 0; d < digit; d++)
        before += counts[d][255];
    out[before + counts[digit][i] - 1] = v;
}

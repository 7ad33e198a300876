// SPDX-License-Identifier: Apache-2.0
//
// What threads do to each other: graphs, hash tables, locks.
#include "cuda_min.h"

extern "C" __global__ void bfs(const int *starts, const int *edges, int *levels, int *changed, int level, int n) {
    int v = thread();
    if (v >= n || levels[v] != level)
        return;
    for (int k = starts[v]; k < starts[v + 1]; k++)
        if (atomicCAS(&levels[edges[k]], -1, level + 1) == -1)
            *changed = 1;
}

extern "C" __global__ void hash_insert(const int *keys, int *table, int *counts, int size) {
    int key = keys[thread()], at = (unsigned)key * 2654435761u % size;
    for (;; at = (at + 1) % size) {
        int old = atomicCAS(&table[at], -1, key);
        if (old == -1 || old == key)
            break;
    }
    atomicAdd(&counts[at], 1);
}

extern "C" __global__ void shorten(const int *from, const int *to, const int *weights, int *distances, int n) {
    int e = thread();
    if (e < n && distances[from[e]] < 1 << 29)
        atomicMin(&distances[to[e]], distances[from[e]] + weights[e]);
}

extern "C" __global__ void pagerank(const int *from, const int *to, const double *ranks, const int *degrees, double *next, int n) {
    int e = thread();
    if (e < n)
        atomicAdd(&next[to[e]], 0.85 * ranks[from[e]] / degrees[from[e]]);
}

// One thread of each warp takes a lock that all blocks want.
extern "C" __global__ void locked(int *lock, int *value) {
    if (threadIdx.x % 32)
        return;
    while (atomicCAS(lock, 0, 1))
        ;
    __nvvm_membar_gl();
    *(volatile int *)value = *(volatile int *)value + 1;
    __nvvm_membar_gl();
    atomicExch(lock, 0);
}

// SPDX-License-Identifier: Apache-2.0
//
// The little of CUDA's headers that the kernels in this folder need, so that clang alone can compile them.
#pragma once

#define __global__   __attribute__((global))
#define __device__   __attribute__((device))
#define __shared__   __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __noinline__ __attribute__((noinline))
#define __restrict   __restrict__

#define TW_TRIPLE(name, reg)                                                                                 \
    struct name##_type {                                                                                     \
        __declspec(property(get = get_x)) unsigned x;                                                        \
        __declspec(property(get = get_y)) unsigned y;                                                        \
        __declspec(property(get = get_z)) unsigned z;                                                        \
        static inline __device__ unsigned get_x(void) {                                                      \
            return __nvvm_read_ptx_sreg_##reg##_x();                                                         \
        }                                                                                                    \
        static inline __device__ unsigned get_y(void) {                                                      \
            return __nvvm_read_ptx_sreg_##reg##_y();                                                         \
        }                                                                                                    \
        static inline __device__ unsigned get_z(void) {                                                      \
            return __nvvm_read_ptx_sreg_##reg##_z();                                                         \
        }                                                                                                    \
    };                                                                                                       \
    extern const __device__ name##_type name;

TW_TRIPLE(threadIdx, tid)
TW_TRIPLE(blockIdx, ctaid)
TW_TRIPLE(blockDim, ntid)
TW_TRIPLE(gridDim, nctaid)

static inline __device__ void tw_syncthreads(void) {
    __syncthreads();
}
static inline __device__ float tw_shfl_down(float value, int delta) {
    return __nvvm_shfl_sync_down_f32(0xffffffffu, value, delta, 31);
}
static inline __device__ float tw_shfl_xor(float value, int lanes) {
    return __nvvm_shfl_sync_bfly_f32(0xffffffffu, value, lanes, 31);
}
static inline __device__ float tw_exp(float x) {
    return __nvvm_ex2_approx_f(x * 1.4426950408889634f);
}
static inline __device__ float tw_max(float a, float b) {
    return __nvvm_fmax_f(a, b);
}

// ---- by their CUDA names ----
static inline __device__ int atomicAdd(int *at, int value) {
    return __nvvm_atom_add_gen_i(at, value);
}
static inline __device__ float atomicAdd(float *at, float value) {
    return __nvvm_atom_add_gen_f(at, value);
}
static inline __device__ double atomicAdd(double *at, double value) {
    return __nvvm_atom_add_gen_d(at, value);
}
static inline __device__ int atomicCAS(int *at, int expected, int value) {
    return __nvvm_atom_cas_gen_i(at, expected, value);
}
static inline __device__ int atomicMin(int *at, int value) {
    return __nvvm_atom_min_gen_i(at, value);
}
static inline __device__ int atomicExch(int *at, int value) {
    return __nvvm_atom_xchg_gen_i(at, value);
}
static inline __device__ int laneid(void) {
    return __nvvm_read_ptx_sreg_laneid();
}
static inline __device__ int shfl_up(int value, int delta) {
    return __nvvm_shfl_sync_up_i32(0xffffffffu, value, delta, 0);
}
static inline __device__ int shfl_from(int value, int lane) {
    return __nvvm_shfl_sync_idx_i32(0xffffffffu, value, lane, 31);
}
static inline __device__ unsigned ballot(bool p) {
    return __nvvm_vote_ballot_sync(0xffffffffu, p);
}
static inline __device__ float tw_sqrt(float x) {
    return __nvvm_sqrt_rn_f(x);
}
static inline __device__ int thread(void) {
    return blockIdx.x * blockDim.x + threadIdx.x;
}

// SPDX-License-Identifier: Apache-2.0
//
// CUDA's words for clang without CUDA's headers, and the same words for an OpenCL compiler: so that one source is both our kernel and
// pocl's twin. What OpenCL has no word for (shuffles) stands behind `#ifdef __CUDA__`.
#pragma once

#ifdef __CUDA__
#define KERNEL extern "C" __attribute__((global)) void
#define GLOBAL
#define SHARED   __attribute__((shared))
#define DEVICE   static __attribute__((device)) inline
#define RESTRICT __restrict__
struct index3 {
    unsigned x, y, z;
};
#define INDEX3(r)                                                                                            \
    (index3{__nvvm_read_ptx_sreg_##r##_x(), __nvvm_read_ptx_sreg_##r##_y(), __nvvm_read_ptx_sreg_##r##_z()})
#define threadIdx        INDEX3(tid)
#define blockIdx         INDEX3(ctaid)
#define blockDim         INDEX3(ntid)
#define gridDim          INDEX3(nctaid)
#define EXP2(x)          __nvvm_ex2_approx_f(x)
#define RSQRT(x)         __nvvm_rsqrt_approx_f(x)
#define DIVIDE(a, b)     __nvvm_div_approx_f(a, b)
#define MAX(a, b)        __nvvm_fmax_f(a, b)
#define ATOMIC_ADD(p, v) __nvvm_atom_add_gen_i(p, v)
#define FMA(a, b, c)     __builtin_fmaf(a, b, c)
typedef float float4 __attribute__((ext_vector_type(4)));
typedef unsigned char uchar;
DEVICE float shuffle_xor(float value, int lanes) {
    return __nvvm_shfl_sync_bfly_f32(0xffffffffu, value, lanes, 31);
}
DEVICE float shuffle_up(float value, int lanes) {
    return __nvvm_shfl_sync_up_f32(0xffffffffu, value, lanes, 0);
}
DEVICE float warp_sum(float value) {
    for (int lanes = 16; lanes > 0; lanes >>= 1)
        value += shuffle_xor(value, lanes);
    return value;
}
DEVICE float warp_max(float value) {
    for (int lanes = 16; lanes > 0; lanes >>= 1)
        value = MAX(value, shuffle_xor(value, lanes));
    return value;
}
#else
#define KERNEL           __kernel void
#define GLOBAL           __global
#define SHARED           __local
#define DEVICE           static inline
#define RESTRICT         restrict
#define INDEX3(f)        ((uint3)(f(0), f(1), f(2)))
#define threadIdx        INDEX3(get_local_id)
#define blockIdx         INDEX3(get_group_id)
#define blockDim         INDEX3(get_local_size)
#define gridDim          INDEX3(get_num_groups)
#define __syncthreads()  barrier(CLK_LOCAL_MEM_FENCE)
#define EXP2(x)          native_exp2(x)
#define RSQRT(x)         native_rsqrt(x)
#define DIVIDE(a, b)     native_divide(a, b)
#define MAX(a, b)        fmax(a, b)
#define ATOMIC_ADD(p, v) atomic_add(p, v)
#define FMA(a, b, c)     fma(a, b, c)
#endif

#define EXP(x) EXP2((x) * 1.4426950408889634f)

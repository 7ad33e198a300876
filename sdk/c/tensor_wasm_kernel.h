// SPDX-License-Identifier: Apache-2.0
//
// The little of CUDA's own headers that a kernel needs so that clang alone, without a CUDA toolkit, makes PTX
// of it:
//
//     clang -x cuda --cuda-device-only --cuda-gpu-arch=sm_80 --cuda-feature=+ptx78 -nocudainc -nocudalib -O3
//     -S k.cu -o k.ptx
//
// Kernels are extern "C" so that their entry has the name that tw_load_ptx asks for. With nvcc this header is
// not needed.
#pragma once

#define __global__   __attribute__((global))
#define __device__   __attribute__((device))
#define __shared__   __attribute__((shared))
#define __constant__ __attribute__((constant))

#define TW_INDEX(name, reg)                                                                                  \
    struct tw_##name {                                                                                       \
        __declspec(property(get = get_x)) unsigned x;                                                        \
        __declspec(property(get = get_y)) unsigned y;                                                        \
        __declspec(property(get = get_z)) unsigned z;                                                        \
        static inline __device__ unsigned get_x() {                                                          \
            return __nvvm_read_ptx_sreg_##reg##_x();                                                         \
        }                                                                                                    \
        static inline __device__ unsigned get_y() {                                                          \
            return __nvvm_read_ptx_sreg_##reg##_y();                                                         \
        }                                                                                                    \
        static inline __device__ unsigned get_z() {                                                          \
            return __nvvm_read_ptx_sreg_##reg##_z();                                                         \
        }                                                                                                    \
    };                                                                                                       \
    extern const __device__ tw_##name name;

TW_INDEX(threadIdx, tid)
TW_INDEX(blockIdx, ctaid)
TW_INDEX(blockDim, ntid)
TW_INDEX(gridDim, nctaid)

// SPDX-License-Identifier: Apache-2.0
//
// The maxima of kernel IR, each with its reason. They hold for every front end, so that no pass and no back
// end ever meets more.
#pragma once

enum {
    // The biggest kernels compilers make (fully unrolled gemms) have some 40,000 instructions; LLVM needs
    // about 1 KiB for each.
    TW_KIR_MAX_INSTS = 1'000'000,
    // A register costs a bitset column in the back end; nvcc numbers values, so big kernels have one a
    // result.
    TW_KIR_MAX_REGS = 200'000,
    // Dominator and liveness tables grow with blocks × registers.
    TW_KIR_MAX_BLOCKS = 100'000,
    // A module of nvcc's holds one library at most.
    TW_KIR_MAX_FUNCTIONS = 4'096,
    TW_KIR_MAX_VARIABLES = 16'384,
    // Device functions; kernels stop at TW_KERNEL_PARAMS_MAX.
    TW_KIR_MAX_PARAMS = 256,
    // PTX allows 4,352 bytes of kernel parameters; rounded up.
    TW_KIR_MAX_PARAM_BYTES = 8'192,
    // Module variables are copied into every instance that loads the kernel.
    TW_KIR_MAX_VARIABLE_BYTES = 64 << 20,
    // What CUDA calls the largest local memory a thread may have.
    TW_KIR_MAX_LOCAL_BYTES = 512 << 10,
    // sm_90's largest shared memory a block; the device refuses more than it has at launch.
    TW_KIR_MAX_SHARED_BYTES = 227 << 10,
    // Identifiers are cut nowhere, so a name must fit an error message comfortably.
    TW_KIR_MAX_NAME = 1'024,
    // Calls nest this deep when inlined; recursive ones are not.
    TW_KIR_MAX_INLINE_DEPTH = 64,
    // brx tables and the like.
    TW_KIR_MAX_TARGETS = 255,
    // Text of printed IR that tw_kir_parse takes.
    TW_KIR_MAX_TEXT = 256 << 20,
};

// SPDX-License-Identifier: Apache-2.0
//
// Kernel IR to x86-64 SIMD code through LLVM. Runs in the compiler process only (and in `kernel dump` and
// tests).
//
// The SPMD vectoriser is ours: W threads of a block (a vector-warp) become lanes of LLVM vectors; shapes
// (uniform, affine, varying) decide what stays scalar, masks follow control flow in reverse post-order,
// barriers cut the kernel into regions, and each region loops over the block's warps. Every address is masked
// into the instance's arena.
//
//     struct tw_jit_result result = {};
//     if (tw_jit_compile(module, "saxpy", &variant, &result, &err)) …
//     tw_jit_result_done(&result);
#pragma once

#include "kernel/kernel.h"

// Call once before the first compile; not thread-safe. After it all functions may run on any thread, one
// compile a thread.
[[nodiscard]] bool tw_jit_init(struct tw_error *err);

// PROGRAM: what is run until there is code (interp/interp.h), whatever the variant; NOT_IMPLEMENTED: there is none.
enum tw_jit_stage { TW_JIT_OBJECT, TW_JIT_LLVM, TW_JIT_ASM, TW_JIT_PROGRAM };

// How long each part took: inlining and simplifying, shapes and masks, making LLVM IR, LLVM's passes, its code
// generator.
struct tw_jit_times {
    int64_t simplify_ns, analyse_ns, emit_ns, passes_ns, code_ns;
};

// Owned by the caller.
struct tw_jit_result {
    struct tw_buf bytes; // the encoded artifact (kernel/frame.h), or the text of the stage asked for
    struct tw_jit_times times;
};

// Compiles one entry, as `variant` says: the fast version, or the exact one that it falls back to. `module` is
// verified IR; the function is inlined and simplified here, in the module's arena. CUDA_INVALID_KERNEL: no such entry
// (the message lists those there are); CUDA_MALFORMED_PTX: something this back end refuses, by name.
[[nodiscard]] bool tw_jit_compile(struct tw_kir_module *module, const char *entry,
                                  const struct tw_kernel_variant *variant, enum tw_jit_stage stage,
                                  struct tw_jit_result *ret_result, struct tw_error *err);
void tw_jit_result_done(struct tw_jit_result *result);

// What the code is compiled for, part of every artifact's name: "x86-64-v4:znver5:0c1d2e3f:llvm22.1.8:tw1" (a
// checksum of its features).
const char *tw_jit_target(void);

// SPDX-License-Identifier: Apache-2.0
//
// PTX text to kernel IR and back. The parser takes what clang and nvcc make and what people write by hand, up
// to .version 8.x and sm_80's instruction set; anything else is refused by name with line and column. One
// table, isa.def, is the list of instructions. The printer writes IR as PTX that the parser reads back, on
// request with every access fenced into one range of memory.
//
//     if (!tw_ptx_parse(&arena, tw_str_of(text, len), &module, &err))
//         puts(err.message);   // "line 12, column 5: unknown instruction 'wgmma.mma_async' …"
//     if (!tw_ptx_print(module, &(struct tw_ptx_options){.fence = true}, &out, &err)) …
#pragma once

#include "kernel/kernel.h"

enum { TW_PTX_MAX_BYTES = 8 << 20 };

// CUDA_MALFORMED_PTX with "line L, column C: …" on failure; CUDA_QUOTA when it is too large (bytes,
// registers, blocks, instructions). The result is verified IR, owned by the arena. Functions that use what is
// not offered, or call such functions, have a `refusal` and no body; the others are not touched by it.
[[nodiscard]] bool tw_ptx_parse(struct tw_arena *arena, struct tw_str text, struct tw_kir_module **ret_module,
                                struct tw_error *err);

// The fence: each kernel gets two more .u64 parameters behind its own, tw_base and tw_mask, and each global
// or generic access goes to tw_base + (address & tw_mask). tw_mask + 1 is a power of two, tw_base a multiple
// of it (then real addresses in the range stay what they are) or at least of 32. Accesses proven to hit
// shared, local, const or parameter memory stay in their space, where the device bounds them; those proven to
// hit one module variable are bounded by its size.
struct tw_ptx_options {
    unsigned sm;      // of .target: 80; 0: the module's own, at least 70
    unsigned version; // 78 for 7.8; 0: the module's own, at least 7.0
    bool fence;
    const char *entry; // this kernel only; NULL or "": all
};

// Kernels with what they call (inline them first where the fence is wanted) and the variables, appended to
// `out`. CUDA_INVALID_KERNEL with function and line when something cannot be said in PTX; CUDA_QUOTA when
// `out` is full.
[[nodiscard]] bool tw_ptx_print(const struct tw_kir_module *module, const struct tw_ptx_options *options,
                                struct tw_buf *out, struct tw_error *err);

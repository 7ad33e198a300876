// SPDX-License-Identifier: Apache-2.0
//
// The maxima of gpu/, each with its reason. Those a deployment may want to change are options in gpu.h.
#pragma once

enum {
    // What CUDA's own limits are; guests are written against them.
    GPU_BLOCK_THREADS_MAX = 1'024,
    GPU_BLOCK_Z_MAX = 64,
    GPU_GRID_X_MAX = 2'147'483'647,
    GPU_GRID_YZ_MAX = 65'535,
    // sm_90 gives a block 227 KiB; one more is what the multiprocessor has. Kernel IR stops at 227 KiB
    // static.
    GPU_SHARED_MAX = 228 << 10,
    // The guest ABI's caps on an argument buffer.
    GPU_ARGS_MAX = 128,
    GPU_ARGS_BYTES_MAX = 4'096,
    // 128 arguments of 8 bytes, twice: room for alignment. More cannot be filled by the ABI's records.
    GPU_PARAM_BYTES_MAX = 2'048,
    // A stream is a list head; CUDA programs use tens.
    GPU_STREAMS_MAX = 256,
    // Launches an instance may have queued on its streams: each holds about 2.5 KiB.
    GPU_QUEUED_MAX = 1'024,
    // Launches of all tenants that wait for a permit; beyond that the wait would outlive every deadline.
    GPU_PERMIT_QUEUE_MAX = 65'536,
    GPU_PERMITS_DEFAULT = 64,
    GPU_TURN = 1 << 20, // a turn of a tenant of weight 1: weights go to 1,000
    // Tenants with live contexts; more than arenas there can be none.
    GPU_TENANTS_MAX = 65'536,
    GPU_KERNEL_TIMEOUT_MS_DEFAULT = 10'000,
    GPU_ARENAS_DEFAULT = 10'000,
    // Reservations double from few (a command-line run needs one) to this many arenas: 1 TiB of address space
    // each.
    GPU_RESERVATION_ARENAS_MIN = 4,
    GPU_RESERVATION_ARENAS_MAX = 128,
    // Slots of a handle table: 16 bits of a handle.
    GPU_HANDLES_MAX = 65'536,
    // Kernels that no context uses any more stay loaded for the next one that asks, at 8 KiB of code or so
    // each.
    GPU_IDLE_KERNELS_MAX = 256,
    // Variants of one kernel: lanes × shapes of blocks (32, 16 or 8 × as wide, 1, rows of 2, 4, 8, 16), light, full
    // and exact; a program.
    GPU_VARIANTS_MAX = 48,
    // Light variants of one kernel, of those.
    GPU_SUCCESSORS_MAX = 16,
    // Light code that programs wait for. Two threads, as the compiler has two processes or more: one tenant's kernels do not
    // keep all of them. Who finds no place asks again.
    GPU_LIGHT_THREADS = 2,
    GPU_LIGHT_QUEUED_MAX = 256,
    // Full code, in no hurry.
    GPU_FULL_QUEUED_MAX = 64,
    // PTX text kept for compiling further variants, all kernels together, in MiB.
    GPU_PTX_KEPT_MAX_MIB = 2'048,
    // One load.
    GPU_PTX_MAX_BYTES = 8 << 20,
    // An object file; the biggest kernels compile to a few MiB.
    GPU_OBJECT_MAX_BYTES = 64 << 20,
    GPU_OBJECT_SECTIONS_MAX = 4'096,
    // Private memory for the registers of waiting warps, a thread; big kernels take tens of KiB a warp.
    GPU_SPILL_MAX_BYTES = 64 << 20,
    // What kernels have printed and nobody has taken yet; the log of a call holds 64 KiB.
    GPU_LOG_MAX_BYTES = 64 << 10,
    GPU_DEVICES_MAX = 16,
};

#define GPU_ALLOC_BYTES_DEFAULT (256ULL << 20)
#define GPU_TOTAL_BYTES_DEFAULT (1ULL << 30)
#define GPU_HANDLES_DEFAULT     4'096
#define GPU_KERNELS_DEFAULT     256
#define GPU_PTX_BYTES_DEFAULT   (512ULL << 20)

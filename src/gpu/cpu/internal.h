// SPDX-License-Identifier: Apache-2.0
//
// The CPU device's own parts, and how it lays out the lower half of an arena (offsets from its base):
//
//     128 MiB                                               2.5 GiB                4 GiB - 64 MiB     4 GiB
//     | windows: one of 256 KiB a slot | heap ………………………… | local: one a slot      | never mapped     | linear
//     memory
//       └ shared 228 KiB │ parameters 8 KiB
//
// A slot belongs to a thread: 0 to the one that launches, 1 … to the device's. The windows and the local part
// are one mapping each, made at the first launch that needs them.
#pragma once

#include "gpu/internal.h"

enum {
    CPU_WINDOW_BYTES = 256 << 10,
    CPU_WINDOW_PARAMS = 240 << 10, // offset of the parameter copy
    CPU_PAGE_BYTES = 4'096,
    CPU_GAP_BYTES = 64 << 10,
    // More threads than that would leave too little local memory a slot.
    CPU_THREADS_MAX = 512,
};
#define CPU_LOCAL_OFFSET (5ULL << 29)
#define CPU_LOCAL_END    (TW_ARENA_MEMORY_OFFSET - TW_ARENA_LOW_GUARD)

// ---- the heap: pages of the arena's lower half ----
// Confined to the context. Live and cached extents in order of their place; a cached one is mapped, zero and
// free.
struct cpu_heap {
    uint8_t *base; // the arena
    uint64_t begin, end;
    struct cpu_extent {
        uint64_t offset, bytes;
        bool live;
    } *extents;
    size_t count, capacity;
    size_t cached;
};
void cpu_heap_init(struct cpu_heap *heap, uint8_t *arena_base, uint64_t begin, uint64_t end);
void cpu_heap_done(struct cpu_heap *heap); // the arena's mappings are left as they are
[[nodiscard]] bool cpu_heap_alloc(struct cpu_heap *heap, uint64_t size, uint64_t *ret_offset,
                                  struct tw_error *err);
void cpu_heap_free(struct cpu_heap *heap, uint64_t offset);
void cpu_heap_reset(struct cpu_heap *heap); // frees all; what stays mapped is zero

// ---- running blocks on this thread ----
// AGAIN: better code is there; the blocks from frame->again on have not run.
enum cpu_outcome { CPU_OK, CPU_TRAP, CPU_DEADLOCK, CPU_AGAIN, CPU_FAULT, CPU_STOPPED };
struct cpu_fault {
    int signal;
    enum { CPU_FAULT_ARENA, CPU_FAULT_ALIGN, CPU_FAULT_STACK, CPU_FAULT_OTHER } kind;
    uint64_t offset; // of an ARENA fault
};
// Before threads start; once.
[[nodiscard]] bool cpu_run_install(struct tw_error *err);
enum cpu_outcome cpu_run(struct gpu_runner *runner, struct gpu_job *job, struct gpu_code *code,
                         struct tw_kernel_frame *frame, uint64_t first, uint64_t count,
                         struct cpu_fault *ret_fault);
// What kernels find as frame->exact: asks for the exact version, and goes there.
uint32_t cpu_exact(struct tw_kernel_frame *frame, uint32_t ctaid_x, uint32_t ctaid_y, uint32_t ctaid_z,
                   uint32_t warp, uint32_t tid_x, uint32_t tid_y, uint32_t tid_z, uint32_t state);
// time.c: what a frame says of the time; the moment that it counts from is that of the first `begin`.
void cpu_time_begin(void);
void cpu_time_fill(struct tw_kernel_frame *frame);
void cpu_describe_fault(const struct gpu_job *job, enum cpu_outcome outcome, const struct cpu_fault *fault,
                        uint64_t line, struct tw_error *ret_error);

// ---- the threads ----
struct cpu_pool;
[[nodiscard]] struct cpu_pool *cpu_pool_new(struct tw_gpu *gpu, unsigned threads, struct tw_error *err);
void cpu_pool_free(struct cpu_pool *pool);
unsigned cpu_pool_slots(const struct cpu_pool *pool); // threads there may ever be, and the launching one
bool cpu_pool_start(struct cpu_pool *pool, struct gpu_job *job, enum gpu_start how);
bool cpu_pool_tick(struct cpu_pool *pool, int64_t now_ns);

// ---- part.c: a thread's part in a job ----
// Of the registers of a block's threads, and of what they print.
uint64_t cpu_spill_bytes(const struct tw_kernel_info *info, uint32_t threads);
// Whether all of it takes no longer than some switches of threads.
bool cpu_is_short(const struct gpu_job *job);
// Takes part in a job from one slot until it has no more blocks or `until_ns`.
void cpu_participate(struct gpu_runner *runner, struct gpu_job *job, unsigned slot, unsigned slots,
                     unsigned helpers, int64_t until_ns);

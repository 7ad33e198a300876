// SPDX-License-Identifier: Apache-2.0
//
// Devices and what guests do on them: contexts, memory, kernels, streams, launches, permits. `cpu` is the
// reference device and always there.
//
//     struct tw_gpu_context *context = tw_gpu_context_new(device, arena, tenant, &limits, &err);
//     tw_gpu_load_ptx(context, ptx, TW_STR("saxpy"), deadline, &kernel, &err);
//     struct tw_gpu_launch launch = {.kernel = kernel, .grid = {16, 1, 1}, .block = {256, 1, 1}, .args =
//     args, …}; tw_gpu_launch(context, &launch, NULL, &err);       // NULL: returns when the kernel has
//     finished
//
// A context belongs to one guest instance and is used by one thread at a time (confined to the instance);
// devices are shared and guarded inside. Errors carry the CUDA_… codes of base/error.def; messages hold no
// host addresses. Guest-supplied values may be anything.
#pragma once

#include "base/base.h"
#include "compile/compile.h"

// ---- arenas: 8 GiB of address space an instance ----
//
//   0            128 MiB                    4 GiB                                8 GiB
//   | no device's  | windows, device heap …   | linear memory, grown by the engine | guard: 64 MiB of no device's
//
// Every arena has a poll page (64 KiB, the engine's), which lies behind many arenas beside those of the others, so
// that they are one mapping. It must be at least 4 GiB and Wasmtime's guard (32 MiB) away from the linear memory's
// beginning: Wasmtime aborts the process when a fault may belong to two memories of an instance, and it counts
// each as 4 GiB.
enum { TW_ARENA_SHIFT = 33 };
#define TW_ARENA_BYTES         (1ULL << TW_ARENA_SHIFT)
#define TW_ARENA_MEMORY_OFFSET (1ULL << 32)
#define TW_ARENA_LOW_GUARD     (64ULL << 20)
#define TW_ARENA_POLL_BYTES    (64ULL << 10)
#define TW_ARENA_HEAP_OFFSET   (128ULL << 20) // from here on the device's: windows, then heap

// Owned by whoever took it. `id` is its slot number.
struct tw_gpu_arena {
    uint8_t *base;
    uint8_t *poll; // TW_ARENA_POLL_BYTES, readable
    uint32_t id;
    bool low_half_used; // set by gpu/ when it maps anything in the lower half
};
struct tw_gpu;
// A recycled or new reservation; everything in it but the poll page is inaccessible. CAPACITY when the
// address space or the instance cap is used up.
[[nodiscard]] struct tw_gpu_arena *tw_gpu_arena_take(struct tw_gpu *gpu, struct tw_error *err);
// Back for reuse; the upper half must be inaccessible or discarded by the caller, the poll page readable.
void tw_gpu_arena_give(struct tw_gpu *gpu, struct tw_gpu_arena *arena);

// ---- devices ----
// Which code kernels run: LIGHT is compiled in a few milliseconds, FULL runs faster, and what is INTERPRETED, where it can be,
// needs no compiling. AUTO begins with what is there at once, interpreted if need be, and compiles in the background what
// is busy: lightly at first, then fully.
enum tw_gpu_tier { TW_GPU_TIER_AUTO, TW_GPU_TIER_LIGHT, TW_GPU_TIER_FULL, TW_GPU_TIER_INTERPRETED };
#define TW_GPU_TIER_WORDS "auto, light, full or interpreted"
[[nodiscard]] bool tw_gpu_tier_parse(const char *text, enum tw_gpu_tier *ret_tier); // one of the words
struct tw_gpu_options {
    const char *device;           // "auto", "cpu", "cuda" or "cuda:N"
    struct tw_compiler *compiler; // borrowed
    unsigned cpu_threads;         // 0: one a core, and at least two unless it is one_tenant
    bool one_tenant;              // nobody else's launches wait behind a long one
    unsigned permits;             // launches in flight in the process
    unsigned kernel_timeout_ms;
    enum tw_gpu_tier tier;
    bool unconfined; // kernels without the sandbox, to measure what it costs; never where there are tenants
    uint32_t max_arenas;
};
[[nodiscard]] struct tw_gpu *tw_gpu_new(const struct tw_gpu_options *options, struct tw_error *err);
void tw_gpu_free(struct tw_gpu *gpu); // no context may be left

struct tw_gpu_device;
unsigned tw_gpu_device_count(const struct tw_gpu *gpu);
struct tw_gpu_device *tw_gpu_device_at(const struct tw_gpu *gpu,
                                       unsigned index); // Borrowed; NULL out of range
struct tw_gpu_device *tw_gpu_device_default(const struct tw_gpu *gpu);
// One JSON object: name, kind, cores, lanes, memory, limits, isolation, health.
[[nodiscard]] bool tw_gpu_device_json(const struct tw_gpu_device *device, struct tw_buf *out);
bool tw_gpu_healthy(const struct tw_gpu *gpu);

// ---- contexts ----
struct tw_gpu_limits {
    uint64_t alloc_bytes; // one allocation; 0: 256 MiB
    uint64_t total_bytes; // all allocations; 0: 1 GiB
    uint32_t handles;     // 0: 4,096
    uint32_t kernels;     // 0: 256
    uint64_t ptx_bytes;   // all loads; 0: 512 MiB
    struct tw_account
        *account; // the tenant's, for memory, launches and time; NULL: none. A reference is taken
};
struct tw_gpu_context;
// Makes nothing on the device until first use. `arena` is borrowed for the context's life.
[[nodiscard]] struct tw_gpu_context *tw_gpu_context_new(struct tw_gpu_device *device,
                                                        struct tw_gpu_arena *arena, uint64_t tenant,
                                                        const struct tw_gpu_limits *limits,
                                                        struct tw_error *err);
void tw_gpu_context_free(struct tw_gpu_context *context);
// Waits for or stops its launches, then forgets kernels, buffers, streams and the sticky error; memory that
// was written reads as zeros if allocated again. False: it cannot be reused. Cheap (a load and a compare)
// when the context was not used.
[[nodiscard]] bool tw_gpu_context_reset(struct tw_gpu_context *context, struct tw_error *err);

// Kernels. load_ptx blocks while it compiles (milliseconds; cached: microseconds): call it on a thread that
// may block.
[[nodiscard]] bool tw_gpu_load_ptx(struct tw_gpu_context *context, struct tw_str ptx, struct tw_str entry,
                                   int64_t deadline_ns, int64_t *ret_kernel, struct tw_error *err);
// Compiles a text that contexts will load later, so that they need not wait. Blocks, but not for the light code of a kernel that
// can begin interpreted: that is made behind it.
[[nodiscard]] bool tw_gpu_prepare(struct tw_gpu *gpu, uint64_t tenant, struct tw_str ptx, struct tw_str entry,
                                  int64_t deadline_ns, struct tw_error *err);
// As load_ptx for a text of that sha256, without blocking: `*ret_kernel` is 0 when it is not loaded in this
// process.
[[nodiscard]] bool tw_gpu_load_known(struct tw_gpu_context *context, const struct tw_digest *ptx,
                                     struct tw_str entry, int64_t *ret_kernel, struct tw_error *err);
// True when load_ptx would not have to compile (nor block).
bool tw_gpu_ptx_is_cached(struct tw_gpu_context *context, struct tw_str ptx, struct tw_str entry);
// What the kernel's last launch in this context that has ended ran, a bit for each enum tw_kernel_tier: two where other code
// took over in its middle. 0 before the first.
unsigned tw_gpu_kernel_ran(const struct tw_gpu_context *context, int64_t kernel);
[[nodiscard]] bool tw_gpu_unload(struct tw_gpu_context *context, int64_t kernel, struct tw_error *err);

// INVALID_KERNEL unless it is there.
[[nodiscard]] bool tw_gpu_kernel_check(const struct tw_gpu_context *context, int64_t kernel,
                                       struct tw_error *err);

// Buffers: handles > 0; offsets and lengths in bytes, checked. All but alloc and check wait for the context's
// launches first, as unload and stream_free do; who must not block calls tw_gpu_wait with a waiter before.
[[nodiscard]] bool tw_gpu_buffer_check(const struct tw_gpu_context *context, uint64_t handle, uint64_t offset,
                                       uint64_t len, struct tw_error *err);
[[nodiscard]] bool tw_gpu_alloc(struct tw_gpu_context *context, uint64_t size_bytes, uint64_t *ret_handle,
                                struct tw_error *err);
[[nodiscard]] bool tw_gpu_buffer_free(struct tw_gpu_context *context, uint64_t handle, struct tw_error *err);
[[nodiscard]] bool tw_gpu_write(struct tw_gpu_context *context, uint64_t handle, uint64_t offset,
                                const void *host, uint64_t len, struct tw_error *err);
[[nodiscard]] bool tw_gpu_read(struct tw_gpu_context *context, uint64_t handle, uint64_t offset, void *host,
                               uint64_t len, struct tw_error *err);
[[nodiscard]] bool tw_gpu_copy(struct tw_gpu_context *context, uint64_t dst, uint64_t dst_offset,
                               uint64_t src, uint64_t src_offset, uint64_t len, struct tw_error *err);
[[nodiscard]] bool tw_gpu_fill(struct tw_gpu_context *context, uint64_t handle, uint64_t offset,
                               uint8_t value, uint64_t len, struct tw_error *err);

// Streams. 0 is the default stream.
[[nodiscard]] bool tw_gpu_stream_new(struct tw_gpu_context *context, int64_t *ret_stream,
                                     struct tw_error *err);
[[nodiscard]] bool tw_gpu_stream_free(struct tw_gpu_context *context, int64_t stream, struct tw_error *err);

enum tw_gpu_progress { TW_GPU_DONE, TW_GPU_PENDING, TW_GPU_FAILED };

// Who wants to hear about a pending operation. `notify` runs once on a device thread, under no lock; the
// result is in `error` (code TW_OK: fine).
struct tw_gpu_waiter {
    void (*notify)(struct tw_gpu_waiter *waiter);
    struct tw_error error;
    void *next; // gpu's
};

struct tw_gpu_launch {
    int64_t kernel;
    int64_t stream; // 0: the default stream
    uint32_t grid[3], block[3];
    uint32_t shared_bytes; // dynamic
    struct tw_span args;   // the guest ABI's tagged records
    uint64_t memory_bytes; // the linear memory's size now, for guest ranges
    int64_t deadline_ns;   // of the invocation
};
// Runs a kernel. With `waiter` NULL it returns DONE or FAILED when the kernel has ended. Else it may return
// PENDING, and `waiter` hears the end; small grids run on the calling thread and return DONE at once.
// Arguments are checked against the kernel's parameters before anything runs.
enum tw_gpu_progress tw_gpu_launch(struct tw_gpu_context *context, const struct tw_gpu_launch *launch,
                                   struct tw_gpu_waiter *waiter, struct tw_error *err);
// Queues; errors surface at sync.
[[nodiscard]] bool tw_gpu_launch_async(struct tw_gpu_context *context, const struct tw_gpu_launch *launch,
                                       struct tw_error *err);
// Waits for one stream (or all: stream < 0); as tw_gpu_launch for `waiter`.
enum tw_gpu_progress tw_gpu_sync(struct tw_gpu_context *context, int64_t stream, struct tw_gpu_waiter *waiter,
                                 struct tw_error *err);
// The same, but leaves the launches' errors to sync.
enum tw_gpu_progress tw_gpu_wait(struct tw_gpu_context *context, int64_t stream, struct tw_gpu_waiter *waiter,
                                 struct tw_error *err);
// Waits for what will print, if anything does; DONE or, with PENDING, `waiter` hears when to ask again.
enum tw_gpu_progress tw_gpu_wait_prints(struct tw_gpu_context *context, struct tw_gpu_waiter *waiter);
// Stops whatever the context runs (deadline, cancel); the launches end with CUDA_LAUNCH_FAILED. Any thread.
void tw_gpu_cancel(struct tw_gpu_context *context);

// Moves what the context's kernels have printed so far to the end of `out`, as much as fits. Any thread.
void tw_gpu_log_take(struct tw_gpu_context *context, struct tw_buf *out);

// Time spent in kernels since the last reset, bytes now allocated, and how many buffers, kernels and streams there are.
struct tw_gpu_usage {
    uint64_t kernel_ns, launches, allocated_bytes;
    uint32_t objects;
};
void tw_gpu_context_usage(const struct tw_gpu_context *context, struct tw_gpu_usage *ret_usage);

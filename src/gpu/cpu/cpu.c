// SPDX-License-Identifier: Apache-2.0
//
// The CPU device's hooks: the reference for every kind of device. A context's memory is the lower half of its
// instance's arena, addresses are offsets in the arena, and moving memory is memcpy.

#include "gpu/cpu/internal.h"

_Static_assert((int)TW_ARENA_SHIFT <= (int)TW_KERNEL_ARENA_SHIFT_MAX, "what compiled code takes");

#include <cpuid.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

// Frozen.
struct cpu_device {
    struct cpu_pool *pool;
    unsigned threads;
    char name[64];
    uint64_t memory_bytes;
};

// Confined to the context.
struct cpu_context {
    struct cpu_heap heap;
    bool windows_mapped, local_mapped;
};

static unsigned count_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

// The processor's brand string: 48 characters in three leaves.
static void read_name(char *name, size_t size) {
    unsigned words[13] = {};
    if (__get_cpuid_max(0x80000000, NULL) < 0x80000004) {
        snprintf(name, size, "x86-64");
        return;
    }
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
    struct tw_str text = tw_str_trim(tw_str_from((const char *)words));
    snprintf(name, size, "%.*s", TW_STR_ARG(text));
}

static bool cpu_open(struct tw_gpu_device *device, const struct tw_gpu_options *options,
                     struct tw_error *err) {
    if (options->cpu_threads > CPU_THREADS_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "%u threads for the CPU device, the limit is %d",
                       options->cpu_threads, CPU_THREADS_MAX);
    struct cpu_device *cpu = tw_alloc_zero(1, sizeof(*cpu));
    if (!cpu)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the CPU device");
    cpu_time_begin();
    unsigned cores = count_cores();
    cpu->threads = options->cpu_threads ? options->cpu_threads
                   : cores < 2 && !options->one_tenant
                       ? 2 // a kernel that goes on for long leaves others a thread
                   : cores < CPU_THREADS_MAX ? cores
                                             : CPU_THREADS_MAX;
    struct sysinfo system;
    cpu->memory_bytes = sysinfo(&system) == 0 ? (uint64_t)system.totalram * system.mem_unit : 0;
    read_name(cpu->name, sizeof(cpu->name));
    if (!cpu_run_install(err) || !(cpu->pool = cpu_pool_new(device->gpu, cpu->threads, err))) {
        free(cpu);
        return false;
    }
    device->state = cpu;
    return true;
}

static void cpu_close(struct tw_gpu_device *device) {
    struct cpu_device *cpu = device->state;
    if (!cpu)
        return;
    cpu_pool_free(cpu->pool);
    free(cpu);
    device->state = NULL;
}

static const char *isa_level(void) {
    if (__builtin_cpu_supports("x86-64-v4"))
        return "x86-64-v4";
    return __builtin_cpu_supports("x86-64-v3") ? "x86-64-v3" : "x86-64-v2";
}

static void describe_features(struct tw_json_writer *json) {
    tw_json_write_key(json, "features");
    tw_json_write_array(json);
#define FEATURE(name)                                                                                        \
    if (__builtin_cpu_supports(name))                                                                        \
    tw_json_write_str(json, TW_STR(name))
    FEATURE("avx2");
    FEATURE("fma");
    FEATURE("avx512f");
    FEATURE("avx512bw");
    FEATURE("avx512dq");
    FEATURE("avx512vl");
    FEATURE("avx512bf16");
#undef FEATURE
    tw_json_write_end(json, ']');
}

static void cpu_describe(const struct tw_gpu_device *device, struct tw_json_writer *json) {
    const struct cpu_device *cpu = device->state;
    tw_json_write_key(json, "name");
    tw_json_write_str(json, tw_str_from(cpu->name));
    tw_json_write_key(json, "cores");
    tw_json_write_u64(json, cpu->threads);
    tw_json_write_key(json, "lanes");
    tw_json_write_u64(json, 32);
    tw_json_write_key(json, "vector_bits");
    tw_json_write_u64(json, __builtin_cpu_supports("avx512f") ? 512
                            : __builtin_cpu_supports("avx2")  ? 256
                                                              : 128);
    tw_json_write_key(json, "isa");
    tw_json_write_str(json, tw_str_from(isa_level()));
    describe_features(json);
    tw_json_write_key(json, "memory_bytes");
    tw_json_write_u64(json, cpu->memory_bytes);
    tw_json_write_key(json, "isolation");
    tw_json_write_str(json, TW_STR("arena"));
}

static bool cpu_healthy(const struct tw_gpu_device *device) {
    return device->state != NULL;
}

// ---- contexts ----

static uint64_t windows_bytes(const struct cpu_device *cpu) {
    return cpu_pool_slots(cpu->pool) * (uint64_t)CPU_WINDOW_BYTES;
}

static bool cpu_context_open(struct tw_gpu_context *context, struct tw_error *err) {
    struct cpu_context *state = tw_alloc_zero(1, sizeof(*state));
    if (!state)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a context on the CPU device");
    cpu_heap_init(&state->heap, context->arena->base,
                  TW_ARENA_HEAP_OFFSET + windows_bytes(context->device->state), CPU_LOCAL_OFFSET);
    context->device_state = state;
    return true;
}

static void cpu_context_close(struct tw_gpu_context *context) {
    struct cpu_context *state = context->device_state;
    if (!state)
        return;
    cpu_heap_done(&state->heap);
    free(state);
    context->device_state = NULL;
}

static bool discard(struct tw_gpu_context *context, uint64_t offset, uint64_t bytes, struct tw_error *err) {
    if (madvise(context->arena->base + offset, bytes, MADV_DONTNEED) == 0)
        return true;
    return tw_fail_errno(err, TW_ERR_INTERNAL, errno, "device memory could not be discarded");
}

static bool cpu_context_reset(struct tw_gpu_context *context, struct tw_error *err) {
    struct cpu_context *state = context->device_state;
    cpu_heap_reset(&state->heap);
    if (tw_counter_get(&context->launches) == 0)
        return true; // nobody has written into the windows
    return (!state->windows_mapped ||
            discard(context, TW_ARENA_HEAP_OFFSET, windows_bytes(context->device->state), err)) &&
           (!state->local_mapped ||
            discard(context, CPU_LOCAL_OFFSET, CPU_LOCAL_END - CPU_LOCAL_OFFSET, err));
}

// ---- memory ----

static bool cpu_alloc(struct tw_gpu_context *context, uint64_t size, uint64_t *ret_address,
                      struct tw_error *err) {
    struct cpu_context *state = context->device_state;
    if (!cpu_heap_alloc(&state->heap, size, ret_address, err))
        return false;
    context->arena->low_half_used = true;
    return true;
}

static void cpu_free(struct tw_gpu_context *context, uint64_t address, uint64_t size) {
    (void)size;
    struct cpu_context *state = context->device_state;
    cpu_heap_free(&state->heap, address);
}

static bool cpu_write(struct tw_gpu_context *context, uint64_t address, const void *host, uint64_t len,
                      struct tw_error *err) {
    (void)err;
    memcpy(context->arena->base + address, host, len);
    return true;
}

static bool cpu_read(struct tw_gpu_context *context, uint64_t address, void *host, uint64_t len,
                     struct tw_error *err) {
    (void)err;
    memcpy(host, context->arena->base + address, len);
    return true;
}

static bool cpu_copy(struct tw_gpu_context *context, uint64_t dst, uint64_t src, uint64_t len,
                     struct tw_error *err) {
    (void)err;
    memmove(context->arena->base + dst, context->arena->base + src, len);
    return true;
}

static bool cpu_fill(struct tw_gpu_context *context, uint64_t address, uint8_t value, uint64_t len,
                     struct tw_error *err) {
    (void)err;
    memset(context->arena->base + address, value, len);
    return true;
}

// ---- launches ----

static bool open_range(struct tw_gpu_context *context, uint64_t offset, uint64_t bytes, bool *mapped,
                       struct tw_error *err) {
    if (*mapped)
        return true;
    if (mprotect(context->arena->base + offset, bytes, PROT_READ | PROT_WRITE) != 0)
        return tw_fail_errno(err, TW_ERR_CAPACITY, errno, "no shared or local memory for kernels");
    context->arena->low_half_used = true;
    *mapped = true;
    return true;
}

static bool size_job(const struct cpu_device *cpu, struct gpu_job *job, struct tw_error *err) {
    const struct tw_kernel_info *info = &job->code->parts.info;
    job->local_bytes = job->threads * (uint64_t)info->local_bytes;
    uint64_t local_max = (CPU_LOCAL_END - CPU_LOCAL_OFFSET) / cpu_pool_slots(cpu->pool) - CPU_PAGE_BYTES;
    if (job->local_bytes > local_max)
        return tw_fail(err, TW_ERR_CUDA_QUOTA,
                       "kernel '%.64s': %" PRIu32 " threads with %" PRIu32
                       " bytes of local memory each, the device has %" PRIu64 " a block; use smaller blocks",
                       info->name, job->threads, info->local_bytes, local_max);
    if (cpu_spill_bytes(info, job->threads) > GPU_SPILL_MAX_BYTES)
        return tw_fail(err, TW_ERR_CUDA_QUOTA,
                       "kernel '%.64s': too many registers for %" PRIu32 " threads; use smaller blocks",
                       info->name, job->threads);
    return true;
}

static bool cpu_prepare(struct tw_gpu_context *context, struct gpu_job *job, struct tw_error *err) {
    const struct cpu_device *cpu = context->device->state;
    struct cpu_context *state = context->device_state;
    const struct tw_kernel_info *info = &job->code->parts.info;
    if (!size_job(cpu, job, err))
        return false;
    job->frame.arena_base = context->arena->base;
    job->frame.arena_mask = TW_ARENA_BYTES - 1;
    if ((job->frame.shared_limit > 0 || info->needs_param_copy) &&
        !open_range(context, TW_ARENA_HEAP_OFFSET, windows_bytes(cpu), &state->windows_mapped, err))
        return false;
    return job->local_bytes == 0 ||
           open_range(context, CPU_LOCAL_OFFSET, CPU_LOCAL_END - CPU_LOCAL_OFFSET, &state->local_mapped, err);
}

static bool cpu_start(struct gpu_job *job, enum gpu_start how) {
    const struct cpu_device *cpu = job->context->device->state;
    return cpu_pool_start(cpu->pool, job, how);
}

static bool cpu_tick(struct tw_gpu_device *device, int64_t now_ns) {
    const struct cpu_device *cpu = device->state;
    return cpu_pool_tick(cpu->pool, now_ns);
}

const struct gpu_device_hooks gpu_cpu_hooks = {
    .kind = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .healthy = cpu_healthy,
    .context_open = cpu_context_open,
    .context_close = cpu_context_close,
    .context_reset = cpu_context_reset,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .write = cpu_write,
    .read = cpu_read,
    .copy = cpu_copy,
    .fill = cpu_fill,
    .prepare = cpu_prepare,
    .start = cpu_start,
    .tick = cpu_tick,
};

// SPDX-License-Identifier: Apache-2.0
//
// The process's table of kernels, by (sha256 of the PTX, entry): contexts that load the same PTX share the code.
//
//     not there ── first to ask ──▶ LOADING ── compiled ──▶ READY ── nobody uses it ──▶ idle ── 256 after it ──▶ gone
//                                      └── refused ──▶ BROKEN: told to those who waited, then gone
//
// One thread compiles, the others wait for it. A kernel starts with one variant: the best that the artifact cache has, else a
// program for the interpreter, else light code; variant.c finds the one for a launch's block shape, promote.c has better ones
// compiled. Variants stay as long as their kernel, so a launch needs no reference of its own: its context's use of the
// kernel holds all of them.

#include "gpu/internal.h"

enum { KERNELS_MAX = 65'536 };

struct gpu_kernels *gpu_kernels_new(const struct tw_gpu_options *options, struct tw_error *err) {
    struct gpu_kernels *kernels = tw_alloc_zero(1, sizeof(*kernels));
    if (!kernels) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the table of kernels");
        return NULL;
    }
    kernels->light = tw_pool_new("gpu-light", GPU_LIGHT_THREADS, GPU_LIGHT_QUEUED_MAX, err);
    kernels->full = kernels->light ? tw_pool_new("gpu-compile", 1, GPU_FULL_QUEUED_MAX, err) : NULL;
    if (!kernels->full) {
        if (kernels->light)
            tw_pool_free(kernels->light);
        free(kernels);
        return NULL;
    }
    kernels->compiler = options->compiler;
    kernels->tier = options->tier;
    kernels->unconfined = options->unconfined;
    tw_lock_init(&kernels->lock);
    tw_cond_init(&kernels->changed);
    tw_map_init(&kernels->table, KERNELS_MAX);
    return kernels;
}

static void kernel_free(struct gpu_kernel *kernel) {
    for (uint32_t i = 0; i < kernel->variant_count; i++)
        gpu_code_free(kernel->variants[i]);
    free(kernel->ptx);
    free(kernel);
}

// ---- idle ones: a list by age ----

static void idle_remove_locked(struct gpu_kernels *kernels, struct gpu_kernel *kernel) {
    if (kernel->newer)
        kernel->newer->older = kernel->older;
    else
        kernels->newest = kernel->older;
    if (kernel->older)
        kernel->older->newer = kernel->newer;
    else
        kernels->oldest = kernel->newer;
    kernel->newer = kernel->older = NULL;
    kernels->idle--;
}

static void forget_locked(struct gpu_kernels *kernels, struct gpu_kernel *kernel) {
    tw_map_remove(&kernels->table, tw_span_of(kernel->key.bytes, TW_DIGEST_SIZE));
    kernels->ptx_kept -= kernel->ptx_len;
    kernel_free(kernel);
}

static void idle_add_locked(struct gpu_kernels *kernels, struct gpu_kernel *kernel) {
    kernel->older = kernels->newest;
    kernel->newer = NULL;
    if (kernels->newest)
        kernels->newest->newer = kernel;
    else
        kernels->oldest = kernel;
    kernels->newest = kernel;
    if (++kernels->idle <= GPU_IDLE_KERNELS_MAX)
        return;
    struct gpu_kernel *oldest = kernels->oldest;
    idle_remove_locked(kernels, oldest);
    forget_locked(kernels, oldest);
}

void gpu_kernels_free(struct gpu_kernels *kernels) {
    if (!kernels)
        return;
    tw_flag_raise(&kernels->closing);
    tw_pool_free(kernels->light);
    tw_pool_free(kernels->full);
    while (kernels->oldest) {
        struct gpu_kernel *kernel = kernels->oldest;
        idle_remove_locked(kernels, kernel);
        forget_locked(kernels, kernel);
    }
    TW_ASSERT(kernels->table.count == 0);
    tw_map_done(&kernels->table);
    tw_cond_done(&kernels->changed);
    tw_lock_done(&kernels->lock);
    free(kernels);
}

static void drop_use_locked(struct gpu_kernels *kernels, struct gpu_kernel *kernel) {
    if (--kernel->users > 0)
        return;
    if (kernel->state == GPU_KERNEL_READY && kernel->ptx)
        idle_add_locked(kernels, kernel);
    else if (kernel->ptx)
        forget_locked(kernels, kernel);
    else
        kernel_free(kernel); // loaded without PTX: it is in no table
}

void gpu_kernel_give(struct gpu_kernels *kernels, struct gpu_kernel *kernel) {
    TW_LOCK_SCOPE(&kernels->lock);
    drop_use_locked(kernels, kernel);
}

// ---- loading ----

static void count_load(const char *result) {
    tw_metric_add(TW_METRIC_KERNEL_LOADS, (struct tw_labels){.values = {result}}, 1);
}

static struct tw_digest key_of(const struct tw_digest *ptx_digest, struct tw_str entry) {
    struct tw_span parts[] = {tw_span_of(ptx_digest->bytes, TW_DIGEST_SIZE),
                              tw_span_of(entry.data, entry.len)};
    return tw_sha256_parts(parts, TW_COUNT(parts));
}

static struct gpu_kernel *find_locked(const struct gpu_kernels *kernels, const struct tw_digest *key) {
    return tw_map_find(&kernels->table, tw_span_of(key->bytes, TW_DIGEST_SIZE));
}

// A kernel of its own copies of the text and the name: they may lie in a guest's memory, where a kernel that still runs
// can change them, and what is hashed has to be what is kept, else one tenant could put another text under a digest
// that all share.
static struct gpu_kernel *kernel_new(struct tw_str ptx, struct tw_str entry, struct tw_error *err) {
    struct gpu_kernel *kernel = tw_alloc_zero(1, sizeof(*kernel));
    if (kernel)
        kernel->ptx = tw_alloc(ptx.len);
    if (!kernel || !kernel->ptx) {
        free(kernel);
        tw_fail(err, TW_ERR_CAPACITY, "no memory for another kernel");
        return NULL;
    }
    memcpy(kernel->entry, entry.data, entry.len);
    memcpy(kernel->ptx, ptx.data, ptx.len);
    kernel->ptx_len = ptx.len;
    kernel->ptx_digest = tw_sha256(tw_span_of(kernel->ptx, kernel->ptx_len));
    kernel->key = key_of(&kernel->ptx_digest, tw_str_of(kernel->entry, entry.len));
    kernel->users = 1;
    return kernel;
}

static bool add_locked(struct gpu_kernels *kernels, struct gpu_kernel *kernel, struct tw_error *err) {
    if (kernels->ptx_kept + kernel->ptx_len > (uint64_t)GPU_PTX_KEPT_MAX_MIB << 20)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "the server keeps %d MiB of PTX already; unload kernels",
                       GPU_PTX_KEPT_MAX_MIB);
    if (!tw_map_put(&kernels->table, tw_span_of(kernel->key.bytes, TW_DIGEST_SIZE), kernel))
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for another kernel");
    kernels->ptx_kept += kernel->ptx_len;
    return true;
}

// The kernel of this text and name, counted as used; *ret_mine when the caller has to load it. NULL: no memory.
static struct gpu_kernel *find_or_add(struct gpu_kernels *kernels, struct tw_str ptx, struct tw_str entry,
                                      bool *ret_mine, struct tw_error *err) {
    struct gpu_kernel *mine = kernel_new(ptx, entry, err), *kernel = NULL;
    if (!mine)
        return NULL;
    {
        TW_LOCK_SCOPE(&kernels->lock);
        kernel = find_locked(kernels, &mine->key);
        *ret_mine = !kernel;
        if (kernel && kernel->users++ == 0)
            idle_remove_locked(kernels, kernel);
        if (!kernel && add_locked(kernels, mine, err))
            return mine;
    }
    kernel_free(mine);
    return kernel;
}

// Soon there: what the cache has, else a program, else, where the kernel has what programs cannot say, light code.
static struct gpu_order first_order(const struct gpu_kernels *kernels, uint64_t tenant, int64_t deadline_ns) {
    static const struct tw_kernel_variant full = {.lanes = 32, .x_multiple = 32, .opt_level = TW_KERNEL_FULL},
                                          light = {.opt_level = TW_KERNEL_LIGHT},
                                          program = {.lanes = TW_INTERP_LANES,
                                                     .x_multiple = 1,
                                                     .opt_level = TW_KERNEL_INTERPRETED};
    struct gpu_order order = {.tenant = tenant, .deadline_ns = deadline_ns};
    order.variant = kernels->tier == TW_GPU_TIER_FULL         ? full
                    : gpu_variants_begin_interpreted(kernels) ? program
                                                              : light;
    if (kernels->tier == TW_GPU_TIER_AUTO) {
        order.cached[order.cached_count++] = full;
        order.cached[order.cached_count++] = light;
    }
    return order;
}

static bool load_first(struct gpu_kernels *kernels, struct gpu_kernel *kernel, uint64_t tenant,
                       int64_t deadline_ns, struct tw_error *err) {
    struct gpu_order order = first_order(kernels, tenant, deadline_ns);
    bool cached = false;
    struct tw_error error = {};
    struct gpu_code *code = gpu_variant_new(kernels, kernel, &order, &cached, &error);
    count_load(!code ? "failed" : cached ? "cached" : "compiled");
    TW_LOCK_SCOPE(&kernels->lock);
    kernel->state = code ? GPU_KERNEL_READY : GPU_KERNEL_BROKEN;
    kernel->error = error;
    if (code)
        kernel->variants[kernel->variant_count++] = code;
    if (code && !cached)
        gpu_variant_count(code);
    tw_cond_wake_all(&kernels->changed);
    if (code)
        return true;
    drop_use_locked(kernels, kernel);
    if (err)
        *err = error;
    return false;
}

static bool is_input_fault(enum tw_code code) {
    return code == TW_ERR_CUDA_MALFORMED_PTX || code == TW_ERR_CUDA_INVALID_KERNEL;
}

// Waits for whoever loads it. False: it is given back; *ret_again when the trouble was the other's alone.
static bool wait_ready(struct gpu_kernels *kernels, struct gpu_kernel *kernel, int64_t deadline_ns,
                       bool *ret_again, struct tw_error *err) {
    *ret_again = false;
    TW_LOCK_SCOPE(&kernels->lock);
    bool in_time = true;
    while (kernel->state == GPU_KERNEL_LOADING && in_time)
        in_time = tw_cond_wait(&kernels->changed, &kernels->lock, deadline_ns);
    if (kernel->state == GPU_KERNEL_READY) {
        count_load("cached");
        return true;
    }
    if (kernel->state == GPU_KERNEL_LOADING)
        tw_fail(err, TW_ERR_CUDA_QUOTA, "the invocation's deadline passed while the kernel was compiled");
    else if (is_input_fault(kernel->error.code) && err)
        *err = kernel->error;
    else
        *ret_again = true;
    drop_use_locked(kernels, kernel);
    return false;
}

struct gpu_kernel *gpu_kernel_take(struct gpu_kernels *kernels, uint64_t tenant, struct tw_str ptx,
                                   struct tw_str entry, int64_t deadline_ns, struct tw_error *err) {
    for (;;) {
        bool mine, again = false;
        struct gpu_kernel *kernel = find_or_add(kernels, ptx, entry, &mine, err);
        if (!kernel)
            return NULL;
        if (mine)
            return load_first(kernels, kernel, tenant, deadline_ns, err) ? kernel : NULL;
        if (wait_ready(kernels, kernel, deadline_ns, &again, err))
            return kernel;
        if (!again)
            return NULL;
    }
}

struct gpu_kernel *gpu_kernel_take_ready(struct gpu_kernels *kernels, const struct tw_digest *ptx,
                                         struct tw_str entry) {
    struct tw_digest key = key_of(ptx, entry);
    TW_LOCK_SCOPE(&kernels->lock);
    struct gpu_kernel *kernel = find_locked(kernels, &key);
    if (!kernel || kernel->state != GPU_KERNEL_READY)
        return NULL;
    if (kernel->users++ == 0)
        idle_remove_locked(kernels, kernel);
    count_load("cached");
    return kernel;
}

bool gpu_kernel_is_ready(struct gpu_kernels *kernels, struct tw_str ptx, struct tw_str entry) {
    struct tw_digest ptx_digest = tw_sha256(tw_key_str(ptx));
    struct tw_digest key = key_of(&ptx_digest, entry);
    TW_LOCK_SCOPE(&kernels->lock);
    const struct gpu_kernel *kernel = find_locked(kernels, &key);
    return kernel && kernel->state == GPU_KERNEL_READY;
}

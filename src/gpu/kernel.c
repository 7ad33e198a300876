// SPDX-License-Identifier: Apache-2.0
//
// The process's table of kernels, by (sha256 of the PTX, entry): contexts that load the same PTX share the code.
//
//     not there ── first to ask ──▶ LOADING ── compiled ──▶ READY ── nobody uses it ──▶ idle ── 256 after it ──▶ gone
//                                      └── refused ──▶ BROKEN: told to those who waited, then gone
//
// One thread compiles, the others wait for it. A kernel starts with one variant: the best that the artifact cache has, else one
// compiled lightly; a launch whose block shape needs another compiles that one then. What was busy for as long as that costs
// is compiled again with everything LLVM has, in the background, for launches that start afterwards. Variants stay as
// long as their kernel, so a launch needs no reference of its own: its context's use of the kernel holds all of them.

#include "gpu/internal.h"

// A better variant is compiled when this much time was spent in the kernel: what it costs for most.
#define HOT_NS (10 * TW_NS_PER_MS)

enum { KERNELS_MAX = 65'536, PROMOTIONS_QUEUED_MAX = 64 };

struct gpu_promotion {
    struct tw_task task;
    struct gpu_kernels *kernels;
    struct gpu_kernel *kernel; // counted as used
    struct tw_kernel_variant variant;
};

// Guarded by `lock`; `compiler`, `tier` and `unconfined` are frozen.
struct gpu_kernels {
    struct tw_compiler *compiler;
    enum tw_gpu_tier tier;
    bool unconfined;
    struct tw_pool *background;
    struct tw_lock lock;
    struct tw_cond changed;
    struct tw_map table; // key → struct gpu_kernel
    struct gpu_kernel *newest, *oldest;
    uint32_t idle;
    uint64_t ptx_kept;
};

struct gpu_kernels *gpu_kernels_new(const struct tw_gpu_options *options, struct tw_error *err) {
    struct gpu_kernels *kernels = tw_alloc_zero(1, sizeof(*kernels));
    if (!kernels) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the table of kernels");
        return NULL;
    }
    kernels->background = tw_pool_new("gpu-compile", 1, PROMOTIONS_QUEUED_MAX, err);
    if (!kernels->background) {
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
    tw_pool_free(kernels->background);
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

// ---- compiling ----

// What the compiler says in the words of the guest ABI.
static bool translate(struct tw_error *err) {
    if (!err)
        return false;
    if (err->code == TW_ERR_COMPILE_FAILED)
        err->code = TW_ERR_CUDA_MALFORMED_PTX;
    if (err->code == TW_ERR_TIMEOUT)
        err->code = TW_ERR_CUDA_QUOTA;
    return false;
}

static void count_compiled(const struct gpu_code *code) {
    static const char *const names[] = {"light", "full", "exact"};
    struct tw_labels tier = {.values = {names[code->parts.info.variant.opt_level]}};
    tw_metric_add(TW_METRIC_KERNEL_COMPILES, tier, 1);
}

// From the cache, where `full` (NULL: none), for the same blocks, is as good as the light one asked for; else compiled.
static struct tw_artifact *obtain(const struct gpu_kernels *kernels, struct tw_compile_request *request,
                                  const struct tw_kernel_variant *full, bool *ret_cached,
                                  struct tw_error *err) {
    struct tw_error unused = {};
    struct tw_artifact *artifact = NULL;
    struct tw_compile_request better = *request;
    if (full && request->variant.opt_level == TW_KERNEL_LIGHT && kernels->tier == TW_GPU_TIER_AUTO) {
        better.variant = *full;
        artifact = tw_compile_cached(kernels->compiler, &better, &unused);
    }
    if (!artifact)
        artifact = tw_compile_cached(kernels->compiler, request, &unused);
    *ret_cached = artifact != NULL;
    return artifact ? artifact : tw_compile(kernels->compiler, request, err);
}

static struct gpu_code *compile(const struct gpu_kernels *kernels, const struct gpu_kernel *kernel,
                                uint64_t tenant, struct tw_kernel_variant variant,
                                const struct tw_kernel_variant *full, int64_t deadline_ns, bool *ret_cached,
                                struct tw_error *err) {
    if (!kernels->compiler) {
        tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE, "there is no kernel compiler in this process");
        return NULL;
    }
    struct tw_compile_request request = {.kind = TW_COMPILE_PTX,
                                         .input = tw_span_of(kernel->ptx, kernel->ptx_len),
                                         .digest = &kernel->ptx_digest, // of this very copy
                                         .variant = variant,
                                         .tenant = tenant,
                                         .background = deadline_ns == TW_NO_DEADLINE &&
                                                       variant.opt_level == TW_KERNEL_FULL &&
                                                       kernels->tier == TW_GPU_TIER_AUTO,
                                         .deadline_ns = deadline_ns};
    request.variant.unconfined = kernels->unconfined;
    memcpy(request.entry, kernel->entry, sizeof(request.entry));
    struct tw_artifact *artifact = obtain(kernels, &request, full, ret_cached, err);
    if (!artifact) {
        translate(err);
        return NULL;
    }
    struct gpu_code *code = gpu_code_new(artifact, tw_artifact_bytes(artifact), err);
    tw_artifact_unref(artifact);
    return code;
}

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

// What is compiled when a launch waits for it.
static uint16_t first_tier(const struct gpu_kernels *kernels) {
    return kernels->tier == TW_GPU_TIER_FULL ? TW_KERNEL_FULL : TW_KERNEL_LIGHT;
}

static bool load_first(struct gpu_kernels *kernels, struct gpu_kernel *kernel, uint64_t tenant,
                       int64_t deadline_ns, struct tw_error *err) {
    struct tw_kernel_variant full = {.lanes = 32, .x_multiple = 32, .opt_level = TW_KERNEL_FULL}, light = {};
    struct tw_kernel_variant first = first_tier(kernels) == TW_KERNEL_LIGHT ? light : full;
    bool cached = false;
    struct tw_error error = {};
    struct gpu_code *code = compile(kernels, kernel, tenant, first, &full, deadline_ns, &cached, &error);
    count_load(!code ? "failed" : cached ? "cached" : "compiled");
    TW_LOCK_SCOPE(&kernels->lock);
    kernel->state = code ? GPU_KERNEL_READY : GPU_KERNEL_BROKEN;
    kernel->error = error;
    if (code)
        kernel->variants[kernel->variant_count++] = code;
    if (code && !cached)
        count_compiled(code);
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

// ---- variants ----

// All in a table are confined, or none is.
static bool same_variant(const struct tw_kernel_variant *a, const struct tw_kernel_variant *b) {
    return a->lanes == b->lanes && a->x_multiple == b->x_multiple && a->opt_level == b->opt_level;
}

static struct gpu_code *find_variant_locked(const struct gpu_kernel *kernel,
                                            const struct tw_kernel_variant *variant) {
    for (uint32_t i = 0; i < kernel->variant_count; i++) {
        if (same_variant(&kernel->variants[i]->parts.info.variant, variant))
            return kernel->variants[i];
    }
    return NULL;
}

// Adds it unless another thread was faster; what is in the table now.
static struct gpu_code *add_variant(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                    struct gpu_code *code, struct tw_error *err) {
    const struct tw_kernel_info *info = &code->parts.info, *first = &kernel->variants[0]->parts.info;
    struct gpu_code *there;
    bool full, differs;
    {
        TW_LOCK_SCOPE(&kernels->lock);
        there = find_variant_locked(kernel, &info->variant);
        full = kernel->variant_count == GPU_VARIANTS_MAX;
        // Variables are laid out once a context, for all variants.
        differs = info->globals_bytes != first->globals_bytes || info->param_bytes != first->param_bytes ||
                  info->param_count != first->param_count;
        if (!there && !full && !differs) {
            kernel->variants[kernel->variant_count++] = code;
            return code;
        }
    }
    gpu_code_free(code);
    if (!there)
        tw_fail(err, TW_ERR_INTERNAL,
                differs ? "two variants of a kernel do not agree" : "a kernel has too many variants");
    return there;
}

static struct gpu_code *variant_for(struct gpu_kernels *kernels, struct gpu_kernel *kernel, uint64_t tenant,
                                    struct tw_kernel_variant variant, const struct tw_kernel_variant *full,
                                    int64_t deadline_ns, struct tw_error *err) {
    struct gpu_code *code;
    {
        TW_LOCK_SCOPE(&kernels->lock);
        code = find_variant_locked(kernel, &variant);
    }
    if (code)
        return code;
    bool cached;
    code = compile(kernels, kernel, tenant, variant, full, deadline_ns, &cached, err);
    struct gpu_code *added = code ? add_variant(kernels, kernel, code, err) : NULL;
    if (added && added == code && !cached) // who came second shares what the first had compiled
        count_compiled(added);
    return added;
}

struct gpu_code *gpu_kernel_code(struct gpu_kernels *kernels, struct gpu_kernel *kernel, uint64_t tenant,
                                 const uint32_t block[3], int64_t deadline_ns, struct tw_error *err) {
    if (!kernel->ptx)
        return kernel->variants[0];
    const struct tw_kernel_info *info = &kernel->variants[0]->parts.info; // frozen, as the first one stays
    struct tw_kernel_variant full = tw_kernel_variant_for(info, block, TW_KERNEL_FULL);
    {
        TW_LOCK_SCOPE(&kernels->lock);
        struct gpu_code *code = find_variant_locked(kernel, &full);
        if (code)
            return code;
    }
    struct tw_kernel_variant first = tw_kernel_variant_for(info, block, first_tier(kernels));
    return variant_for(kernels, kernel, tenant, first, &full, deadline_ns, err);
}

// ---- exact versions ----

const struct gpu_code *gpu_kernel_exact(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                        uint64_t tenant, struct gpu_code *code, int64_t deadline_ns,
                                        struct tw_error *err) {
    const struct gpu_code *there = gpu_code_exact(code);
    if (there)
        return there;
    const struct tw_kernel_info *info = &code->parts.info;
    if (!kernel->ptx) {
        tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE,
                "kernel '%.64s' was loaded without the text of its exact version", info->name);
        return NULL;
    }
    struct tw_kernel_variant variant = info->variant;
    variant.opt_level = TW_KERNEL_EXACT;
    const struct gpu_code *exact = variant_for(kernels, kernel, tenant, variant, NULL, deadline_ns, err);
    if (!exact)
        return NULL;
    if (exact->parts.info.spill_bytes != info->spill_bytes) {
        tw_fail(err, TW_ERR_INTERNAL, "the versions of kernel '%.64s' do not agree", info->name);
        return NULL;
    }
    TW_LOCK_SCOPE(&kernels->lock);
    if (!gpu_code_exact(code)) // written once: others read it without the lock
        code->exact = exact;
    tw_state_publish(&code->has_exact, 1);
    return exact;
}

// ---- compiling again what is hot ----

static void promote(struct tw_task *task) {
    struct gpu_promotion *promotion = (struct gpu_promotion *)task;
    struct gpu_kernels *kernels = promotion->kernels;
    struct gpu_kernel *kernel = promotion->kernel;
    struct tw_error err = {};
    struct gpu_code *code = variant_for(kernels, kernel, 0, promotion->variant, NULL, TW_NO_DEADLINE, &err);
    if (code)
        tw_counter_add(&kernel->generation, 1); // contexts look again at their next launch
    else                                        // the light one stays in use
        tw_metric_add(TW_METRIC_KERNEL_PROMOTIONS_FAILED, (struct tw_labels){}, 1);
    free(promotion);
    gpu_kernel_give(kernels, kernel);
}

void gpu_kernel_ran(struct gpu_kernels *kernels, struct gpu_kernel *kernel, struct gpu_code *code,
                    const uint32_t block[3], int64_t ns) {
    if (!kernel->ptx || kernels->tier != TW_GPU_TIER_AUTO ||
        code->parts.info.variant.opt_level != TW_KERNEL_LIGHT)
        return;
    if (tw_counter_add(&code->busy_ns, ns) + ns < HOT_NS || !tw_flag_raise_first(&code->promoted))
        return;
    struct gpu_promotion *promotion = tw_alloc_zero(1, sizeof(*promotion));
    if (!promotion)
        return; // it stays as it is
    promotion->task.run = promote;
    promotion->kernels = kernels;
    promotion->kernel = kernel;
    promotion->variant = tw_kernel_variant_for(&kernel->variants[0]->parts.info, block, TW_KERNEL_FULL);
    {
        TW_LOCK_SCOPE(&kernels->lock);
        kernel->users++;
    }
    if (tw_pool_submit(kernels->background, &promotion->task, NULL))
        return;
    free(promotion);
    gpu_kernel_give(kernels, kernel);
}

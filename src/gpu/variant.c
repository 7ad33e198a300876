// SPDX-License-Identifier: Apache-2.0
//
// A kernel's variants: which one a block shape takes, and having one compiled. The best there is serves a launch:
//
//     full code for the shape │ light code for the shape │ a program, for all shapes │ none: light code is compiled, and waited for
//
// What the artifact cache has counts as there, but is looked up once a shape only.

#include "gpu/internal.h"

// ---- asking the compiler ----

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

void gpu_variant_count(const struct gpu_code *code) {
    static const char *const names[] = {"light", "full", "exact", "interpreted"};
    struct tw_labels tier = {.values = {names[code->parts.info.variant.opt_level]}};
    tw_metric_add(TW_METRIC_KERNEL_COMPILES, tier, 1);
}

// A measurement without masks is one of compiled code.
bool gpu_variants_begin_interpreted(const struct gpu_kernels *kernels) {
    return !kernels->unconfined &&
           (kernels->tier == TW_GPU_TIER_AUTO || kernels->tier == TW_GPU_TIER_INTERPRETED);
}

// request->variant is what was found, or asked for at last.
static struct tw_artifact *obtain(const struct gpu_kernels *kernels, struct tw_compile_request *request,
                                  const struct gpu_order *order, bool *ret_cached, struct tw_error *err) {
    struct tw_error unused = {};
    struct tw_artifact *artifact = NULL;
    struct tw_kernel_variant wanted = request->variant;
    *ret_cached = true;
    for (unsigned i = 0; i < order->cached_count && !artifact; i++) {
        request->variant = order->cached[i];
        request->variant.unconfined = kernels->unconfined;
        artifact = tw_compile_cached(kernels->compiler, request, &unused);
    }
    if (artifact)
        return artifact;
    request->variant = wanted;
    artifact = tw_compile_cached(kernels->compiler, request, order->only_cached ? err : &unused);
    if (artifact || order->only_cached)
        return artifact;
    *ret_cached = false;
    return tw_compile(kernels->compiler, request, err);
}

// Who asks for a program gets light code where there can be none.
static bool is_answer(const struct tw_kernel_variant *asked, const struct gpu_code *code) {
    uint16_t level = code->parts.info.variant.opt_level;
    return level == asked->opt_level ||
           (asked->opt_level == TW_KERNEL_INTERPRETED && level == TW_KERNEL_LIGHT);
}

static struct gpu_code *code_of(struct tw_artifact *artifact, const struct tw_kernel_variant *asked,
                                struct tw_error *err) {
    struct gpu_code *code = gpu_code_new(artifact, tw_artifact_bytes(artifact), err);
    tw_artifact_unref(artifact);
    if (!code || is_answer(asked, code))
        return code;
    tw_fail(err, TW_ERR_INTERNAL, "the compiler answered with other code than was asked for");
    gpu_code_free(code);
    return NULL;
}

struct gpu_code *gpu_variant_new(const struct gpu_kernels *kernels, const struct gpu_kernel *kernel,
                                 const struct gpu_order *order, bool *ret_cached, struct tw_error *err) {
    if (!kernels->compiler) {
        tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE, "there is no kernel compiler in this process");
        return NULL;
    }
    struct tw_compile_request request = {.kind = TW_COMPILE_PTX,
                                         .input = tw_span_of(kernel->ptx, kernel->ptx_len),
                                         .digest = &kernel->ptx_digest, // of this very copy
                                         .variant = order->variant,
                                         .tenant = order->tenant,
                                         .background = order->deadline_ns == TW_NO_DEADLINE &&
                                                       order->variant.opt_level == TW_KERNEL_FULL &&
                                                       kernels->tier == TW_GPU_TIER_AUTO,
                                         .deadline_ns = order->deadline_ns};
    request.variant.unconfined = kernels->unconfined;
    memcpy(request.entry, kernel->entry, sizeof(request.entry));
    struct tw_artifact *artifact = obtain(kernels, &request, order, ret_cached, err);
    if (artifact)
        return code_of(artifact, &request.variant, err);
    translate(err);
    return NULL;
}

// ---- the kernel's table ----

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

// What decides on variants for block shapes: the first compiled one's, as a program's makers do not look at shapes. A
// program's, while there is nothing else, tells all that light code needs.
static const struct tw_kernel_info *shapes_locked(const struct gpu_kernel *kernel) {
    for (uint32_t i = 0; i < kernel->variant_count; i++) {
        if (!kernel->variants[i]->program)
            return &kernel->variants[i]->parts.info;
    }
    return &kernel->variants[0]->parts.info;
}

static struct tw_kernel_variant variant_for_locked(const struct gpu_kernel *kernel, const uint32_t block[3],
                                                   enum tw_kernel_tier tier) {
    return tw_kernel_variant_for(shapes_locked(kernel), block, tier);
}

struct tw_kernel_variant gpu_variant_for(struct gpu_kernels *kernels, const struct gpu_kernel *kernel,
                                         const uint32_t block[3], enum tw_kernel_tier tier) {
    TW_LOCK_SCOPE(&kernels->lock);
    return variant_for_locked(kernel, block, tier);
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

// Light code for whole rows of 32 is asked for as it is when nothing is known of the kernel, so that the next process that
// loads the kernel finds it under that name.
static struct gpu_order by_name(const struct gpu_kernel *kernel, const struct gpu_order *order) {
    static const uint32_t row[] = {32, 1, 1};
    struct gpu_order named = *order;
    struct tw_kernel_variant light = variant_for_locked(kernel, row, TW_KERNEL_LIGHT);
    if (same_variant(&light, &order->variant))
        named.variant = (struct tw_kernel_variant){.lanes = TW_KERNEL_LANES_ANY};
    return named;
}

struct gpu_code *gpu_variant_get(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                 const struct gpu_order *order, struct tw_error *err) {
    struct gpu_code *code;
    struct gpu_order named;
    {
        TW_LOCK_SCOPE(&kernels->lock);
        code = find_variant_locked(kernel, &order->variant);
        named = by_name(kernel, order);
    }
    if (code)
        return code;
    bool cached;
    code = gpu_variant_new(kernels, kernel, &named, &cached, err);
    struct gpu_code *added = code ? add_variant(kernels, kernel, code, err) : NULL;
    if (added && added == code && !cached) // who came second shares what the first had compiled
        gpu_variant_count(added);
    return added;
}

// ---- for a launch ----

static struct gpu_code *find_program_locked(const struct gpu_kernel *kernel) {
    for (uint32_t i = 0; i < kernel->variant_count; i++) {
        if (kernel->variants[i]->program)
            return kernel->variants[i];
    }
    return NULL;
}

// What there is for the shape. NULL: it has to be compiled.
static struct gpu_code *find_code(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                  const uint32_t block[3], struct gpu_successor **ret_successor) {
    TW_LOCK_SCOPE(&kernels->lock);
    *ret_successor = NULL;
    struct tw_kernel_variant full = variant_for_locked(kernel, block, TW_KERNEL_FULL),
                             light = variant_for_locked(kernel, block, TW_KERNEL_LIGHT);
    struct gpu_code *code = find_variant_locked(kernel, &full);
    if (code || kernels->tier == TW_GPU_TIER_FULL)
        return code;
    code = find_variant_locked(kernel, &light);
    struct gpu_code *program = code ? NULL : find_program_locked(kernel);
    if (!program || kernels->tier != TW_GPU_TIER_AUTO)
        return code ? code : program;
    *ret_successor = gpu_successor_find_locked(kernels, kernel, program, &light);
    return *ret_successor ? program : NULL;
}

// What a former process left for the shape: light code, and full code if there is such. NULL: nothing.
static struct gpu_code *look_up(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                const struct gpu_successor *successor, const uint32_t block[3]) {
    struct tw_error unused = {};
    struct gpu_order order = {
        .variant = successor->variant, .only_cached = true, .deadline_ns = TW_NO_DEADLINE};
    struct gpu_code *light = gpu_variant_get(kernels, kernel, &order, &unused);
    if (!light)
        return NULL;
    order.variant = gpu_variant_for(kernels, kernel, block, TW_KERNEL_FULL);
    struct gpu_code *full = gpu_variant_get(kernels, kernel, &order, &unused);
    return full ? full : light;
}

struct gpu_code *gpu_kernel_code(struct gpu_kernels *kernels, struct gpu_kernel *kernel, uint64_t tenant,
                                 const uint32_t block[3], int64_t deadline_ns,
                                 struct gpu_successor **ret_successor, struct tw_error *err) {
    *ret_successor = NULL;
    if (!kernel->ptx)
        return kernel->variants[0];
    struct gpu_code *code = find_code(kernels, kernel, block, ret_successor), *better = NULL;
    if (*ret_successor && tw_flag_raise_first(&(*ret_successor)->looked_up))
        better = look_up(kernels, kernel, *ret_successor, block);
    if (better)
        *ret_successor = NULL;
    if (code)
        return better ? better : code;
    struct gpu_order order = {.tenant = tenant, .deadline_ns = deadline_ns};
    enum tw_kernel_tier tier = kernels->tier == TW_GPU_TIER_FULL ? TW_KERNEL_FULL : TW_KERNEL_LIGHT;
    order.variant = gpu_variant_for(kernels, kernel, block, tier);
    if (kernels->tier == TW_GPU_TIER_AUTO)
        order.cached[order.cached_count++] = gpu_variant_for(kernels, kernel, block, TW_KERNEL_FULL);
    return gpu_variant_get(kernels, kernel, &order, err);
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
    struct gpu_order order = {.tenant = tenant, .variant = info->variant, .deadline_ns = deadline_ns};
    order.variant.opt_level = TW_KERNEL_EXACT;
    const struct gpu_code *exact = gpu_variant_get(kernels, kernel, &order, err);
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

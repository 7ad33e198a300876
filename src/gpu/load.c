// SPDX-License-Identifier: Apache-2.0
//
// Kernels in a context: loading and unloading, the instance's limits, and module variables. The entries
// loaded from one PTX text share its variables, as the functions of one CUDA module do, when they agree on
// what they are.

#include "gpu/internal.h"

static struct tw_digest image_digest(const struct tw_kernel_artifact *parts) {
    struct tw_span spans[] = {
        parts->globals,
        tw_span_of(parts->global_relocs, parts->global_reloc_count * sizeof(parts->global_relocs[0]))};
    return tw_sha256_parts(spans, TW_COUNT(spans));
}

static struct gpu_globals *find_globals(const struct tw_gpu_context *context, const struct gpu_kernel *kernel,
                                        const struct tw_digest *image, uint64_t bytes) {
    for (struct gpu_globals *globals = context->globals; globals; globals = globals->next) {
        if (globals->bytes == bytes && kernel->ptx &&
            tw_digest_equal(&globals->ptx_digest, &kernel->ptx_digest) &&
            tw_digest_equal(&globals->image, image))
            return globals;
    }
    return NULL;
}

// The initial bytes, with addresses of other variables made absolute.
static bool write_image(struct tw_gpu_context *context, const struct tw_kernel_artifact *parts,
                        uint64_t address, struct tw_error *err) {
    if (parts->globals.len == 0 && parts->global_reloc_count == 0)
        return true; // memory is zero
    uint8_t *image = tw_alloc_zero(1, parts->info.globals_bytes);
    if (!image)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel's variables");
    memcpy(image, parts->globals.data, parts->globals.len);
    bool ok = true;
    for (uint32_t i = 0; ok && i < parts->global_reloc_count; i++) {
        uint64_t at = parts->global_relocs[i], value;
        ok = at <= parts->info.globals_bytes && sizeof(value) <= parts->info.globals_bytes - at;
        if (!ok)
            break;
        memcpy(&value, image + at, sizeof(value));
        value += address;
        memcpy(image + at, &value, sizeof(value));
    }
    if (!ok)
        tw_fail(err, TW_ERR_INTERNAL, "kernel '%.64s': a variable's address lies outside its variables",
                parts->info.name);
    ok = ok && context->device->hooks->write(context, address, image, parts->info.globals_bytes, err);
    free(image);
    return ok;
}

// Alignments up to a page's are met by every allocation of whole pages that begins with its pages.
static bool take_globals(struct tw_gpu_context *context, struct gpu_loaded *loaded,
                         const struct gpu_code *code, struct tw_error *err) {
    const struct tw_kernel_info *info = &code->parts.info;
    if (info->globals_bytes == 0)
        return true;
    struct tw_digest image = image_digest(&code->parts);
    struct gpu_globals *globals = find_globals(context, loaded->kernel, &image, info->globals_bytes);
    if (!globals) {
        globals = tw_alloc_zero(1, sizeof(*globals));
        if (!globals)
            return tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel's variables");
        uint64_t align = info->globals_align > 256 ? info->globals_align : 256;
        globals->bytes = info->globals_bytes;
        globals->taken_bytes = tw_align_up(info->globals_bytes, align) + (align > 256 ? align : 0);
        globals->image = image;
        globals->ptx_digest = loaded->kernel->ptx_digest;
        if (!gpu_memory_take(context, globals->taken_bytes, &globals->taken, err)) {
            free(globals);
            return false;
        }
        globals->address = tw_align_up(globals->taken, align);
        if (!write_image(context, &code->parts, globals->address, err)) {
            gpu_memory_give(context, globals->taken, globals->taken_bytes);
            free(globals);
            return false;
        }
        globals->next = context->globals;
        context->globals = globals;
    }
    globals->users++;
    loaded->globals = globals;
    return true;
}

static void give_globals(struct tw_gpu_context *context, struct gpu_globals *globals) {
    if (!globals || --globals->users > 0)
        return;
    struct gpu_globals **link = &context->globals;
    while (*link != globals)
        link = &(*link)->next;
    *link = globals->next;
    gpu_memory_give(context, globals->taken, globals->taken_bytes);
    free(globals);
}

void gpu_loaded_free(struct tw_gpu_context *context, struct gpu_loaded *loaded) {
    give_globals(context, loaded->globals);
    gpu_kernel_give(context->gpu->kernels, loaded->kernel);
    context->ptx_bytes -= loaded->ptx_bytes;
    free(loaded);
}

static bool check_text(struct tw_str ptx, struct tw_str entry, struct tw_error *err) {
    if (ptx.len > GPU_PTX_MAX_BYTES)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%zu bytes of PTX, the limit of one load is %d", ptx.len,
                       GPU_PTX_MAX_BYTES);
    if (ptx.len == 0)
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "the PTX is empty");
    if (entry.len == 0 || entry.len > TW_KERNEL_NAME_MAX || memchr(entry.data, 0, entry.len))
        return tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL,
                       "an entry's name has 1 to %d characters, this one %zu", TW_KERNEL_NAME_MAX, entry.len);
    return true;
}

static bool check_limits(const struct tw_gpu_context *context, size_t ptx_len, struct tw_error *err) {
    if (ptx_len > context->limits.ptx_bytes - context->ptx_bytes)
        return tw_fail(err, TW_ERR_CUDA_QUOTA,
                       "more than %" PRIu64 " bytes of PTX are loaded; unload kernels",
                       context->limits.ptx_bytes);
    if (context->kernels.live >= context->limits.kernels)
        return tw_fail(err, TW_ERR_CUDA_QUOTA, "%" PRIu32 " kernels are loaded already; unload some",
                       context->kernels.live);
    return true;
}

// Takes the caller's use of `kernel`, also on failure.
static bool add_loaded(struct tw_gpu_context *context, struct gpu_kernel *kernel, int64_t *ret_kernel,
                       struct tw_error *err) {
    struct gpu_loaded *loaded = tw_alloc_zero(1, sizeof(*loaded));
    uint64_t handle;
    if (!loaded) {
        gpu_kernel_give(context->gpu->kernels, kernel);
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel");
    }
    loaded->kernel = kernel;
    loaded->ptx_bytes = kernel->ptx_len;
    context->ptx_bytes += kernel->ptx_len;
    bool ok = gpu_context_use(context, err) && take_globals(context, loaded, kernel->variants[0], err);
    if (ok && !gpu_handle_add(&context->kernels, loaded, context->limits.kernels, &handle))
        ok = tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel's handle");
    if (!ok) {
        gpu_loaded_free(context, loaded);
        return false;
    }
    *ret_kernel = (int64_t)handle;
    return true;
}

bool tw_gpu_load_ptx(struct tw_gpu_context *context, struct tw_str ptx, struct tw_str entry,
                     int64_t deadline_ns, int64_t *ret_kernel, struct tw_error *err) {
    if (!check_text(ptx, entry, err) || !check_limits(context, ptx.len, err))
        return false;
    struct gpu_kernel *kernel =
        gpu_kernel_take(context->gpu->kernels, context->tenant->id, ptx, entry, deadline_ns, err);
    return kernel && add_loaded(context, kernel, ret_kernel, err);
}

bool tw_gpu_load_known(struct tw_gpu_context *context, const struct tw_digest *ptx, struct tw_str entry,
                       int64_t *ret_kernel, struct tw_error *err) {
    struct gpu_kernel *kernel = gpu_kernel_take_ready(context->gpu->kernels, ptx, entry);
    *ret_kernel = 0;
    if (!kernel)
        return true;
    if (check_limits(context, kernel->ptx_len, err))
        return add_loaded(context, kernel, ret_kernel, err);
    gpu_kernel_give(context->gpu->kernels, kernel);
    return false;
}

bool tw_gpu_prepare(struct tw_gpu *gpu, uint64_t tenant, struct tw_str ptx, struct tw_str entry,
                    int64_t deadline_ns, struct tw_error *err) {
    struct gpu_kernel *kernel = check_text(ptx, entry, err)
                                    ? gpu_kernel_take(gpu->kernels, tenant, ptx, entry, deadline_ns, err)
                                    : NULL;
    if (!kernel)
        return false;
    gpu_kernel_ask_light(gpu->kernels, kernel, tenant); // whoever publishes it is going to launch it
    gpu_kernel_give(gpu->kernels, kernel);
    return true;
}

bool tw_gpu_ptx_is_cached(struct tw_gpu_context *context, struct tw_str ptx, struct tw_str entry) {
    // What will be refused needs no compiler either.
    return !check_text(ptx, entry, NULL) || !check_limits(context, ptx.len, NULL) ||
           gpu_kernel_is_ready(context->gpu->kernels, ptx, entry);
}

bool tw_gpu_kernel_check(const struct tw_gpu_context *context, int64_t kernel, struct tw_error *err) {
    if (kernel > 0 && gpu_handle_find(&context->kernels, (uint64_t)kernel))
        return true;
    return tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL,
                   "there is no kernel %" PRId64 "; use an id that load_ptx gave", kernel);
}

bool tw_gpu_unload(struct tw_gpu_context *context, int64_t kernel, struct tw_error *err) {
    if (!tw_gpu_kernel_check(context, kernel, err))
        return false;
    gpu_context_wait_idle(context);
    gpu_loaded_free(context, gpu_handle_remove(&context->kernels, (uint64_t)kernel));
    return true;
}

unsigned tw_gpu_kernel_ran(const struct tw_gpu_context *context, int64_t kernel) {
    const struct gpu_loaded *loaded =
        kernel > 0 ? gpu_handle_find(&context->kernels, (uint64_t)kernel) : NULL;
    return loaded ? tw_state_get(&loaded->ran) : 0;
}

bool gpu_load_artifact(struct tw_gpu_context *context, struct tw_span bytes, int64_t *ret_kernel,
                       struct tw_error *err) {
    struct gpu_kernel *kernel = tw_alloc_zero(1, sizeof(*kernel));
    if (!kernel)
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel");
    kernel->variants[0] = gpu_code_new(NULL, bytes, err);
    if (!kernel->variants[0]) {
        free(kernel);
        return false;
    }
    kernel->variant_count = 1;
    kernel->users = 1;
    kernel->state = GPU_KERNEL_READY;
    return add_loaded(context, kernel, ret_kernel, err);
}

// SPDX-License-Identifier: Apache-2.0
//
// One compiled variant in memory: the artifact's description, and its object loaded by our loader, or a program for the
// interpreter. Frozen, and shared by every context that uses the kernel.

#include "gpu/internal.h"

// A parameter block that a launch could overrun would be a bug of the compiler; it is found here, once.
static bool check_info(const struct tw_kernel_info *info, struct tw_error *err) {
    for (uint32_t i = 0; i < info->param_count; i++) {
        const struct tw_kernel_param *param = &info->params[i];
        if (param->offset > info->param_bytes || param->size > info->param_bytes - param->offset)
            return tw_fail(err, TW_ERR_INTERNAL,
                           "kernel '%.64s': parameter %" PRIu32 " lies outside the parameter block",
                           info->name, i);
    }
    if (info->globals_align > 1 && (info->globals_align & (info->globals_align - 1)) != 0)
        return tw_fail(err, TW_ERR_INTERNAL,
                       "kernel '%.64s': the alignment of its variables is not a power of two", info->name);
    return true;
}

// A program's warps have 32 lanes, and it serves blocks of every shape: what its launches get is sized by that.
static bool load_program(struct gpu_code *code, struct tw_error *err) {
    const struct tw_kernel_variant *variant = &code->parts.info.variant;
    if (variant->lanes != TW_INTERP_LANES || variant->x_multiple != 1)
        return tw_fail(err, TW_ERR_INTERNAL, "kernel '%.64s': a program of %u lanes, not %d",
                       code->parts.info.name, variant->lanes, TW_INTERP_LANES);
    return tw_interp_load(code->parts.object, &code->parts.info, &code->program, err);
}

static bool load_object(struct gpu_code *code, struct tw_error *err) {
    return code->parts.info.variant.opt_level == TW_KERNEL_INTERPRETED
               ? load_program(code, err)
               : gpu_object_load(code->parts.object, &code->text, err);
}

struct gpu_code *gpu_code_new(struct tw_artifact *artifact, struct tw_span bytes, struct tw_error *err) {
    struct gpu_code *code = tw_alloc_zero(1, sizeof(*code));
    if (!code) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel");
        return NULL;
    }
    if (!artifact) {
        code->bytes = tw_alloc(bytes.len);
        if (!code->bytes) {
            free(code);
            tw_fail(err, TW_ERR_CAPACITY, "no memory for a kernel of %zu bytes", bytes.len);
            return NULL;
        }
        memcpy(code->bytes, bytes.data, bytes.len);
        bytes.data = code->bytes;
    }
    if (!tw_kernel_artifact_decode(bytes, &code->parts, err) || !check_info(&code->parts.info, err) ||
        !load_object(code, err)) {
        gpu_code_free(code);
        return NULL;
    }
    code->artifact = artifact ? tw_artifact_ref(artifact) : NULL;
    return code;
}

void gpu_code_free(struct gpu_code *code) {
    if (!code)
        return;
    gpu_text_done(&code->text);
    tw_interp_program_done(code->program);
    if (code->artifact)
        tw_artifact_unref(code->artifact);
    free(code->bytes);
    free(code);
}

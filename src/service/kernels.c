// SPDX-License-Identifier: Apache-2.0
//
// One kernel without a guest: `kernel run` and `kernel dump`. The kernel goes the same way as a guest's:
// through the compiler process, the argument records, the sandbox.

#include "service/internal.h"

enum { RECORD_MAX = 17, REPEAT_MAX = 1000000 };

// A run's place on the device.
struct kernel_place {
    struct tw_gpu *gpu;
    struct tw_gpu_arena *arena;
    struct tw_gpu_context *context;
};

static bool open_place(struct tw_service *service, struct kernel_place *place, struct tw_error *err) {
    // One run may hold what a whole server's guests share: the machine is the user's.
    static const struct tw_gpu_limits limits = {.alloc_bytes = 3ULL << 30, .total_bytes = 3ULL << 30};
    place->gpu = service->gpu;
    place->arena = tw_gpu_arena_take(service->gpu, err);
    if (place->arena)
        place->context =
            tw_gpu_context_new(tw_gpu_device_default(service->gpu), place->arena, 0, &limits, err);
    return place->context;
}

static void close_place(struct kernel_place *place) {
    if (place->context)
        tw_gpu_context_free(place->context);
    if (place->arena)
        tw_gpu_arena_give(place->gpu, place->arena);
}

static size_t scalar_size(uint8_t tag) {
    return tag == 1 || tag == 3 || tag == 5 ? 4 : 8;
}

// One tagged record of the guest ABI, little-endian; buffers are allocated and filled on the way.
static bool add_record(struct kernel_place *place, const struct tw_kernel_arg *arg, uint64_t *ret_handle,
                       struct tw_buf *records, struct tw_error *err) {
    uint8_t record[RECORD_MAX] = {arg->tag};
    size_t len;
    if (arg->kind == TW_KERNEL_ARG_SCALAR) {
        len = scalar_size(arg->tag);
        memcpy(record + 1, &arg->bits, len);
    } else {
        record[0] = 8;
        len = 16; // handle, then the offset 0
        if (arg->buffer->len &&
            (!tw_gpu_alloc(place->context, arg->buffer->len, ret_handle, err) ||
             !tw_gpu_write(place->context, *ret_handle, 0, arg->buffer->data, arg->buffer->len, err)))
            return false;
        if (!arg->buffer->len && !tw_gpu_alloc(place->context, 1, ret_handle, err))
            return false;
        memcpy(record + 1, ret_handle, 8);
    }
    return tw_buf_append(records, record, 1 + len) ||
           tw_fail(err, TW_ERR_CUDA_ARGS_UNSUPPORTED, "the arguments are larger than 4096 bytes");
}

static int compare_times(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool launch_all(struct kernel_place *place, struct tw_kernel_run *run,
                       const struct tw_gpu_launch *launch, struct tw_error *err) {
    uint32_t repeat = run->repeat ? run->repeat : 1;
    if (repeat > REPEAT_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "%" PRIu32 " repetitions asked, the limit is %d", repeat,
                       REPEAT_MAX);
    int64_t *times = tw_alloc_zero(repeat, sizeof *times);
    if (!times)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    bool ok = true;
    for (uint32_t i = 0; ok && i < repeat; i++) {
        int64_t start_ns = tw_clock_ns();
        ok = tw_gpu_launch(place->context, launch, NULL, err) == TW_GPU_DONE;
        times[i] = tw_clock_ns() - start_ns;
        unsigned ran = tw_gpu_kernel_ran(place->context, launch->kernel);
        run->first_ran = i == 0 ? ran : run->first_ran;
        run->ran |= ran;
        if (run->log)
            tw_gpu_log_take(place->context, run->log);
    }
    run->first_us = (double)times[0] / 1000.0;
    qsort(times, repeat, sizeof *times, compare_times);
    run->median_us = (double)times[repeat / 2] / 1000.0;
    run->least_us = (double)times[0] / 1000.0;
    free(times);
    return ok;
}

static bool read_back(struct kernel_place *place, const struct tw_kernel_run *run, const uint64_t *handles,
                      struct tw_error *err) {
    for (uint32_t i = 0; i < run->arg_count; i++) {
        const struct tw_kernel_arg *arg = &run->args[i];
        if (arg->kind == TW_KERNEL_ARG_BUFFER && arg->is_output && arg->buffer->len &&
            !tw_gpu_read(place->context, handles[i], 0, arg->buffer->data, arg->buffer->len, err))
            return false;
    }
    return true;
}

static bool run_in(struct kernel_place *place, struct tw_kernel_run *run, struct tw_error *err) {
    uint64_t handles[TW_KERNEL_PARAMS_MAX] = {};
    if (run->arg_count > TW_KERNEL_PARAMS_MAX)
        return tw_fail(err, TW_ERR_CUDA_ARGS_UNSUPPORTED, "%" PRIu32 " arguments, the limit is %d",
                       run->arg_count, TW_KERNEL_PARAMS_MAX);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf records;
    tw_buf_init(&records, 4096);
    for (uint32_t i = 0; i < run->arg_count; i++)
        if (!add_record(place, &run->args[i], &handles[i], &records, err))
            return tw_wrap(err, "argument %" PRIu32, i);
    struct tw_gpu_launch launch = {
        .shared_bytes = run->shared_bytes, .args = tw_buf_span(&records), .deadline_ns = TW_NO_DEADLINE};
    memcpy(launch.grid, run->grid, sizeof launch.grid);
    memcpy(launch.block, run->block, sizeof launch.block);
    int64_t start_ns = tw_clock_ns();
    if (!tw_gpu_load_ptx(place->context, run->ptx, run->entry, TW_NO_DEADLINE, &launch.kernel, err))
        return false;
    run->load_us = (double)(tw_clock_ns() - start_ns) / 1000.0;
    return launch_all(place, run, &launch, err) && read_back(place, run, handles, err);
}

bool tw_service_kernel_run(struct tw_service *service, struct tw_kernel_run *run, struct tw_error *err) {
    [[gnu::cleanup(close_place)]] struct kernel_place place = {};
    return open_place(service, &place, err) && run_in(&place, run, err);
}

// The variant for blocks of this shape: what the kernel is like is known once it has been compiled.
static bool choose_variant(struct tw_service *service, struct tw_compile_request request,
                           const uint32_t block[3], struct tw_kernel_variant *ret_variant,
                           struct tw_error *err) {
    request.kind = TW_COMPILE_PTX;
    unsigned tier = request.variant.opt_level;
    request.variant.opt_level = TW_KERNEL_LIGHT;
    struct tw_kernel_artifact parts;
    struct tw_artifact *artifact = tw_compile(service->compiler, &request, err);
    bool ok = artifact && tw_kernel_artifact_decode(tw_artifact_bytes(artifact), &parts, err);
    if (ok)
        *ret_variant = tw_kernel_variant_for(&parts.info, block, tier);
    tw_artifact_unref(artifact);
    return ok;
}

bool tw_service_kernel_dump(struct tw_service *service, struct tw_str ptx, struct tw_str entry,
                            const char *stage, bool full, const uint32_t block[3], struct tw_buf *out,
                            struct tw_error *err) {
    struct tw_compile_request request = {.kind = TW_COMPILE_DUMP,
                                         .input = tw_span_of(ptx.data, ptx.len),
                                         .variant = {.lanes = TW_KERNEL_LANES_ANY, .opt_level = full},
                                         .deadline_ns = TW_NO_DEADLINE};
    if (entry.len > TW_KERNEL_NAME_MAX || strlen(stage) >= sizeof request.stage)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the entry's name or the stage is too long");
    snprintf(request.entry, sizeof request.entry, "%.*s", TW_STR_ARG(entry));
    if (block[0] && !choose_variant(service, request, block, &request.variant, err))
        return false;
    snprintf(request.stage, sizeof request.stage, "%s", stage);
    struct tw_artifact *artifact = tw_compile(service->compiler, &request, err);
    if (!artifact)
        return false;
    struct tw_span text = tw_artifact_bytes(artifact);
    bool ok = tw_buf_append(out, text.data, text.len) ||
              tw_fail(err, TW_ERR_CAPACITY, "the text is larger than %zu bytes", out->max);
    tw_artifact_unref(artifact);
    return ok;
}

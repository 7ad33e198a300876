// SPDX-License-Identifier: Apache-2.0
//
// The whole: which devices there are, and what all of them share. One kind is built in, `cpu`; "auto" takes
// the best there is.

#include "gpu/internal.h"

static void collect(void *context) {
    const struct tw_gpu *gpu = context;
    uint32_t used, max, waiting;
    gpu_permits_state(gpu->permits, &used, &max, &waiting);
    tw_metric_set(TW_METRIC_PERMITS_USED, tw_labels(), used);
    tw_metric_set(TW_METRIC_PERMITS_AVAILABLE, tw_labels(), max - used);
}

static bool open_device(struct tw_gpu *gpu, const struct gpu_device_hooks *hooks,
                        const struct tw_gpu_options *options, struct tw_error *err) {
    struct tw_gpu_device *device = &gpu->devices[gpu->device_count];
    *device = (struct tw_gpu_device){.gpu = gpu, .hooks = hooks, .index = gpu->device_count};
    if (!hooks->open(device, options, err))
        return tw_wrap(err, "opening the %s device", hooks->kind);
    gpu->device_count++;
    return true;
}

static bool open_devices(struct tw_gpu *gpu, const struct tw_gpu_options *options, struct tw_error *err) {
    struct tw_str wanted = tw_str_from(options->device);
    struct tw_str kind = wanted;
    if (tw_str_equal(tw_str_cut(&kind, ':'), TW_STR("cuda")))
        return tw_fail(err, TW_ERR_CUDA_NOT_AVAILABLE,
                       "device '%.*s' was asked for, but this build has no CUDA back end; use auto or cpu",
                       TW_STR_ARG(wanted));
    if (wanted.len > 0 && !tw_str_equal(wanted, TW_STR("auto")) && !tw_str_equal(wanted, TW_STR("cpu")))
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "there is no kind of device '%.*s'; use auto, cpu, cuda or cuda:N",
                       TW_STR_ARG(wanted));
    return open_device(gpu, &gpu_cpu_hooks, options, err);
}

bool tw_gpu_tier_parse(const char *text, enum tw_gpu_tier *ret_tier) {
    static const char *const names[] = {"auto", "light", "full", "interpreted"};
    for (unsigned i = 0; i < TW_COUNT(names); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        *ret_tier = (enum tw_gpu_tier)i;
        return true;
    }
    return false;
}

struct tw_gpu *tw_gpu_new(const struct tw_gpu_options *options, struct tw_error *err) {
    struct tw_gpu *gpu = tw_alloc_zero(1, sizeof(*gpu));
    if (!gpu) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the devices");
        return NULL;
    }
    gpu->kernel_timeout_ms =
        options->kernel_timeout_ms ? options->kernel_timeout_ms : GPU_KERNEL_TIMEOUT_MS_DEFAULT;
    if (!(gpu->arenas = gpu_arenas_new(options->max_arenas, err)) ||
        !(gpu->kernels = gpu_kernels_new(options, err)) ||
        !(gpu->permits = gpu_permits_new(options->permits, err)) || !open_devices(gpu, options, err) ||
        !(gpu->watch = gpu_watch_new(gpu, err))) {
        tw_gpu_free(gpu);
        return NULL;
    }
    tw_metrics_on_collect(collect, gpu);
    return gpu;
}

void tw_gpu_free(struct tw_gpu *gpu) {
    if (!gpu)
        return;
    TW_ASSERT(tw_counter_get(&gpu->contexts) == 0);
    tw_metrics_off_collect(collect, gpu);
    gpu_watch_free(gpu->watch);
    for (unsigned i = gpu->device_count; i > 0; i--)
        gpu->devices[i - 1].hooks->close(&gpu->devices[i - 1]);
    gpu_permits_free(gpu->permits);
    gpu_kernels_free(gpu->kernels);
    gpu_arenas_free(gpu->arenas);
    free(gpu);
}

struct tw_gpu_arena *tw_gpu_arena_take(struct tw_gpu *gpu, struct tw_error *err) {
    return gpu_arena_take(gpu->arenas, err);
}

void tw_gpu_arena_give(struct tw_gpu *gpu, struct tw_gpu_arena *arena) {
    gpu_arena_give(gpu->arenas, arena);
}

unsigned tw_gpu_device_count(const struct tw_gpu *gpu) {
    return gpu->device_count;
}

// The caller may use devices whatever it may do with the whole.
static struct tw_gpu_device *device_at(const struct tw_gpu *gpu, unsigned index) {
    const struct tw_gpu_device *device = &gpu->devices[index];
    return device->gpu->devices + index;
}

struct tw_gpu_device *tw_gpu_device_at(const struct tw_gpu *gpu, unsigned index) {
    return index < gpu->device_count ? device_at(gpu, index) : NULL;
}

struct tw_gpu_device *tw_gpu_device_default(const struct tw_gpu *gpu) {
    return device_at(gpu, 0);
}

static void write_limits(struct tw_json_writer *json) {
    static const struct {
        const char *name;
        uint64_t value;
    } limits[] = {
        {"max_threads_per_block", GPU_BLOCK_THREADS_MAX},
        {"max_block_x", GPU_BLOCK_THREADS_MAX},
        {"max_block_y", GPU_BLOCK_THREADS_MAX},
        {"max_block_z", GPU_BLOCK_Z_MAX},
        {"max_grid_x", GPU_GRID_X_MAX},
        {"max_grid_y", GPU_GRID_YZ_MAX},
        {"max_grid_z", GPU_GRID_YZ_MAX},
        {"max_shared_bytes_per_block", GPU_SHARED_MAX},
    };
    tw_json_write_key(json, "limits");
    tw_json_write_object(json);
    for (size_t i = 0; i < TW_COUNT(limits); i++) {
        tw_json_write_key(json, limits[i].name);
        tw_json_write_u64(json, limits[i].value);
    }
    tw_json_write_end(json, '}');
}

bool tw_gpu_device_json(const struct tw_gpu_device *device, struct tw_buf *out) {
    struct tw_json_writer json;
    tw_json_write_init(&json, out);
    tw_json_write_object(&json);
    tw_json_write_key(&json, "index");
    tw_json_write_u64(&json, device->index);
    tw_json_write_key(&json, "kind");
    tw_json_write_str(&json, tw_str_from(device->hooks->kind));
    device->hooks->describe(device, &json);
    write_limits(&json);
    tw_json_write_key(&json, "healthy");
    tw_json_write_bool(&json, device->hooks->healthy(device));
    tw_json_write_end(&json, '}');
    return tw_json_write_done(&json);
}

bool tw_gpu_healthy(const struct tw_gpu *gpu) {
    for (unsigned i = 0; i < gpu->device_count; i++) {
        if (!gpu->devices[i].hooks->healthy(&gpu->devices[i]))
            return false;
    }
    return gpu->device_count > 0;
}

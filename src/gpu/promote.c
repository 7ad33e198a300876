// SPDX-License-Identifier: Apache-2.0
//
// Better code for what is busy, compiled in the background:
//
//     program ── has run for 1 ms ──▶ light code, in the middle of a launch
//     light code ── launches took 10 ms ──▶ full code, for launches that start afterwards
//
// Each is asked for when as much time was spent as it costs to have it: who waits until then pays at most twice what would
// have been best in hindsight. What comes to nothing is counted, and what runs goes on.

#include "gpu/internal.h"

// Light code takes 3 to 8 ms of a core, but of one that mostly nothing else wants: with the program on others, 1 ms of it says
// that there is more to come.
#define ASK_NS TW_NS_PER_MS
// Full code takes 10 to 50 ms, and the launches that it serves are up to 17 times as fast.
#define HOT_NS (10 * TW_NS_PER_MS)

// Light code that takes so long, all waiting included, has come too late for what it was asked for.
#define LIGHT_WAIT_NS (20 * TW_NS_PER_S)

static void count_failed(void) {
    tw_metric_add(TW_METRIC_KERNEL_PROMOTIONS_FAILED, (struct tw_labels){}, 1);
}

static void hold(struct gpu_kernels *kernels, struct gpu_kernel *kernel) {
    TW_LOCK_SCOPE(&kernels->lock);
    kernel->users++; // by somebody who uses it: it is not idle
}

// ---- from programs to light code ----

struct gpu_successor *gpu_successor_find_locked(struct gpu_kernels *kernels, struct gpu_kernel *kernel,
                                                const struct gpu_code *program,
                                                const struct tw_kernel_variant *variant) {
    for (uint32_t i = 0; i < kernel->successor_count; i++) {
        const struct tw_kernel_variant *there = &kernel->successors[i].variant;
        if (there->lanes == variant->lanes && there->x_multiple == variant->x_multiple)
            return &kernel->successors[i];
    }
    if (kernel->successor_count == GPU_SUCCESSORS_MAX)
        return NULL;
    struct gpu_successor *successor = &kernel->successors[kernel->successor_count++];
    successor->variant = *variant;
    successor->program = program;
    successor->kernels = kernels;
    successor->kernel = kernel;
    return successor;
}

// A launch that was prepared for one may go on with the other.
static bool agrees(const struct tw_kernel_info *a, const struct tw_kernel_info *b) {
    return a->param_count == b->param_count && a->param_bytes == b->param_bytes &&
           memcmp(a->params, b->params, sizeof(a->params)) == 0 && a->static_shared == b->static_shared &&
           a->dynamic_shared_offset == b->dynamic_shared_offset && a->local_bytes == b->local_bytes &&
           memcmp(a->required_block, b->required_block, sizeof(a->required_block)) == 0 &&
           memcmp(a->max_block, b->max_block, sizeof(a->max_block)) == 0 &&
           a->needs_param_copy == b->needs_param_copy && a->prints == b->prints &&
           a->globals_bytes == b->globals_bytes;
}

static void succeed(struct tw_task *task) {
    struct gpu_successor *successor = (struct gpu_successor *)task;
    struct gpu_kernels *kernels = successor->kernels;
    struct gpu_kernel *kernel = successor->kernel;
    struct gpu_order order = {.tenant = successor->tenant,
                              .variant = successor->variant,
                              .deadline_ns = tw_clock_ns() + LIGHT_WAIT_NS};
    struct tw_error err = {};
    bool closing = tw_flag_is_raised(&kernels->closing);
    struct gpu_code *code = closing ? NULL : gpu_variant_get(kernels, kernel, &order, &err);
    if (code && agrees(&code->parts.info, &successor->program->parts.info)) {
        successor->code = code;
        tw_flag_raise(&successor->came);
    } else if (!closing) {
        count_failed();
    }
    if (code)
        tw_counter_add(&kernel->generation, 1); // contexts look again at their next launch
    gpu_kernel_give(kernels, kernel);
}

void gpu_successor_ask(struct gpu_successor *successor, uint64_t tenant) {
    struct gpu_kernels *kernels = successor->kernels;
    if (tw_flag_is_raised(&successor->asked) || !tw_flag_raise_first(&successor->asked))
        return;
    successor->task = (struct tw_task){.run = succeed, .tenant = tenant, .weight = 1};
    successor->tenant = tenant;
    hold(kernels, successor->kernel);
    if (tw_pool_submit(kernels->light, &successor->task, NULL))
        return;
    tw_flag_lower(&successor->asked); // too many wait: again, when as much was spent once more
    tw_counter_set(&successor->spent_ns, 0);
    gpu_kernel_give(kernels, successor->kernel);
}

void gpu_successor_spent(struct gpu_successor *successor, uint64_t tenant, int64_t ns) {
    if (tw_counter_add(&successor->spent_ns, ns) + ns >= ASK_NS)
        gpu_successor_ask(successor, tenant);
}

void gpu_successor_waits(struct gpu_successor *successor, uint64_t tenant, int64_t ns) {
    if (ns >= ASK_NS)
        gpu_successor_ask(successor, tenant);
}

void gpu_kernel_ask_light(struct gpu_kernels *kernels, struct gpu_kernel *kernel, uint64_t tenant) {
    static const uint32_t row[] = {32, 1, 1};
    struct gpu_successor *successor;
    (void)gpu_kernel_code(kernels, kernel, tenant, row, TW_NO_DEADLINE, &successor, NULL);
    if (successor)
        gpu_successor_ask(successor, tenant);
}

// ---- from light to full code ----

struct promotion {
    struct tw_task task;
    struct gpu_kernels *kernels;
    struct gpu_kernel *kernel; // counted as used
    struct tw_kernel_variant variant;
};

static void promote(struct tw_task *task) {
    struct promotion *promotion = (struct promotion *)task;
    struct gpu_kernels *kernels = promotion->kernels;
    struct gpu_kernel *kernel = promotion->kernel;
    struct gpu_order order = {.variant = promotion->variant, .deadline_ns = TW_NO_DEADLINE};
    struct tw_error err = {};
    bool closing = tw_flag_is_raised(&kernels->closing);
    struct gpu_code *code = closing ? NULL : gpu_variant_get(kernels, kernel, &order, &err);
    if (code)
        tw_counter_add(&kernel->generation, 1); // contexts look again at their next launch
    else if (!closing)                          // the light one stays in use
        count_failed();
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
    struct promotion *promotion = tw_alloc_zero(1, sizeof(*promotion));
    if (!promotion)
        return; // it stays as it is
    promotion->task.run = promote;
    promotion->kernels = kernels;
    promotion->kernel = kernel;
    promotion->variant = gpu_variant_for(kernels, kernel, block, TW_KERNEL_FULL);
    hold(kernels, kernel);
    if (tw_pool_submit(kernels->full, &promotion->task, NULL))
        return;
    free(promotion);
    gpu_kernel_give(kernels, kernel);
}

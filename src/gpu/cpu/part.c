// SPDX-License-Identifier: Apache-2.0
//
// A thread's part in a job: it takes chunks of blocks, runs them, and measures what a block takes. Where the job runs a
// program and better code comes meanwhile, the thread goes on with that, behind the last block that it has run; the other
// threads of the job do so when they come to it. So for a moment they run different code, with the same results.

#include "gpu/cpu/internal.h"

// Launches up to this long are not worth a switch of threads.
#define SMALL_NS      (20 * TW_NS_PER_US)
#define SMALL_THREADS 4'096 // … as long as nothing is known of the kernel
#define CHUNK_NS      (100 * TW_NS_PER_US)
enum { BLOCK_NS_SCALE = 16, FIRST_CHUNK_MAX = 4'096 };

// Confined.
struct part {
    struct gpu_runner *runner;
    struct gpu_job *job;
    struct gpu_code *code; // that the thread runs now
    unsigned slot, slots, helpers;
    struct tw_kernel_frame frame;
    uint64_t chunk;           // blocks to take at a time
    int64_t now_ns, since_ns; // the end of the last chunk; from where on what follows was
    uint64_t done;            // blocks since then
};

// ---- how long blocks take ----

bool cpu_is_short(const struct gpu_job *job) {
    uint64_t block_ns = (uint64_t)tw_counter_get(&job->code->block_ns);
    if (block_ns != 0)
        return job->block_total <= SMALL_NS * BLOCK_NS_SCALE / block_ns;
    return job->block_total <= SMALL_THREADS / job->threads;
}

// A share lets all helpers end at about the same time; a chunk bounds how long nobody looks at the clock. A program's blocks
// may take long: of the first one nothing is known.
static uint64_t chunk_of(const struct part *part) {
    const struct gpu_job *job = part->job;
    uint64_t share = part->helpers ? job->block_total / (4ULL * (part->helpers + 1)) + 1 : job->block_total;
    uint64_t block_ns = (uint64_t)tw_counter_get(&part->code->block_ns) / BLOCK_NS_SCALE;
    uint64_t first = part->code->program ? 1 : FIRST_CHUNK_MAX;
    uint64_t chunk = block_ns ? CHUNK_NS / block_ns + 1 : first;
    return chunk < share ? chunk : share;
}

// A thread that the system took off its core in the middle measures far too much: so a measurement may at
// most double what is known, and the first counts a quarter (it also faulted pages in).
static void measure(struct gpu_code *code, int64_t ns, uint64_t blocks) {
    int64_t now = (int64_t)((uint64_t)ns * BLOCK_NS_SCALE / blocks);
    int64_t before = tw_counter_get(&code->block_ns);
    int64_t next = before == 0 ? now / 4 : now > 2 * before ? 2 * before : (before + now) / 2;
    if (next != before)
        tw_counter_set(&code->block_ns, next > 0 ? next : 1);
}

// What was done since the last measurement.
static void measure_part(struct part *part) {
    int64_t ns = part->now_ns - part->since_ns;
    if (part->done > 0)
        measure(part->code, ns, part->done);
    if (part->code->program && part->job->successor)
        gpu_successor_spent(part->job->successor, part->job->context->tenant->id, ns);
    part->since_ns = part->now_ns;
    part->done = 0;
}

// ---- which code ----

uint64_t cpu_spill_bytes(const struct tw_kernel_info *info, uint32_t threads) {
    uint64_t lanes = info->variant.lanes ? info->variant.lanes : 1;
    uint64_t bytes = (threads + lanes - 1) / lanes * ((uint64_t)info->spill_bytes + 64) + 64;
    return info->prints ? tw_align_up(bytes, 64) + sizeof(struct tw_kernel_prints) : bytes;
}

static void fill_frame(struct part *part) {
    const struct gpu_runner *runner = part->runner;
    const struct gpu_job *job = part->job;
    const struct gpu_code *code = part->code;
    const struct tw_kernel_info *info = &code->parts.info;
    struct tw_kernel_frame *frame = &part->frame;
    *frame = job->frame;
    uint64_t window = TW_ARENA_HEAP_OFFSET + part->slot * (uint64_t)CPU_WINDOW_BYTES;
    uint64_t local_slot = (CPU_LOCAL_END - CPU_LOCAL_OFFSET) / part->slots & ~(uint64_t)(CPU_PAGE_BYTES - 1);
    frame->params = job->params;
    frame->shared_base = window;
    frame->local_base = CPU_LOCAL_OFFSET + part->slot * local_slot;
    frame->spill = runner->spill;
    frame->worker = part->slot;
    frame->worker_count = part->slots;
    frame->alone = job->only && job->on_caller; // the one thread that could launch more runs this
    const struct gpu_code *exact = gpu_code_exact(code);
    frame->exact = exact ? gpu_exact_entry(exact) : cpu_exact;
    frame->program = code->program;
    frame->better = code->program && job->successor ? &job->successor->came : NULL;
    if (info->tells_time)
        cpu_time_fill(frame);
    frame->prints = NULL;
    if (info->prints) { // behind the registers
        frame->prints =
            (struct tw_kernel_prints *)(void *)(runner->spill + cpu_spill_bytes(info, job->threads) -
                                                sizeof(*frame->prints));
        frame->prints->count = frame->prints->lost = 0;
    }
    if (info->needs_param_copy) {
        frame->param_base = window + CPU_WINDOW_PARAMS;
        memcpy(frame->arena_base + frame->param_base, job->params, info->param_bytes);
    }
}

static bool grow_spill(struct gpu_runner *runner, uint64_t bytes) {
    if (bytes <= runner->spill_bytes)
        return true;
    uint64_t size = tw_align_up(bytes, CPU_PAGE_BYTES);
    uint8_t *spill = tw_fault_strikes(TW_FAULT_ALLOC) ? NULL : aligned_alloc(64, size);
    if (!spill)
        return false;
    free(runner->spill);
    runner->spill = spill;
    runner->spill_bytes = size;
    return true;
}

// From here on the thread runs this code. False: there is no memory for its registers, and nothing changes.
static bool take_code(struct part *part, struct gpu_code *code) {
    uint64_t bytes = cpu_spill_bytes(&code->parts.info, part->job->threads);
    if (bytes > GPU_SPILL_MAX_BYTES || !grow_spill(part->runner, bytes))
        return false;
    part->code = code;
    part->chunk = chunk_of(part);
    fill_frame(part);
    return true;
}

static bool take_better_code(struct part *part) {
    struct gpu_successor *successor = part->job->successor;
    if (!successor || !tw_flag_is_raised(&successor->came) || !take_code(part, successor->code))
        return false;
    if (tw_counter_get(&part->job->changed_ns) == 0)
        tw_counter_set(&part->job->changed_ns, tw_clock_ns());
    return true;
}

// ---- running ----

static void fail_job(struct gpu_job *job, enum cpu_outcome outcome, const struct cpu_fault *fault,
                     uint64_t line) {
    if (outcome == CPU_STOPPED && line)
        tw_counter_set(&job->waited_at, (int64_t)line);
    if (outcome != CPU_STOPPED && gpu_job_stop(job, GPU_STOP_FAULT))
        cpu_describe_fault(job, outcome, fault, line, &job->error);
}

// False: the job has failed, or is to stop.
static bool run_blocks(struct part *part, uint64_t block, uint64_t count) {
    enum cpu_outcome outcome = CPU_AGAIN;
    while (outcome == CPU_AGAIN) {
        struct cpu_fault fault = {};
        part->frame.fault_site = 0;
        outcome = cpu_run(part->runner, part->job, part->code, &part->frame, block, count, &fault);
        part->now_ns = tw_clock_ns();
        if (part->frame.prints)
            gpu_prints_collect(part->job, part->frame.prints);
        uint64_t left = outcome == CPU_AGAIN ? block + count - part->frame.again : 0;
        if (outcome != CPU_OK && outcome != CPU_AGAIN) {
            fail_job(part->job, outcome, &fault, part->frame.fault_site);
            return false;
        }
        part->done += count - left;
        block += count - left;
        count = left;
        if (part->code->program) {
            measure_part(part);
            part->chunk = chunk_of(part);
        }
        if (outcome == CPU_AGAIN && !take_better_code(part))
            part->frame.better = NULL; // to the end with what there is
    }
    return true;
}

static bool begin_part(struct part *part) {
    if (take_better_code(part) || take_code(part, part->job->code))
        return true;
    if (gpu_job_stop(part->job, GPU_STOP_FAULT))
        tw_fail(&part->job->error, TW_ERR_CAPACITY, "no memory for the registers of %" PRIu32 " threads",
                part->job->threads);
    return false;
}

void cpu_participate(struct gpu_runner *runner, struct gpu_job *job, unsigned slot, unsigned slots,
                     unsigned helpers, int64_t until_ns) {
    struct part part = {.runner = runner, .job = job, .slot = slot, .slots = slots, .helpers = helpers};
    if (!begin_part(&part))
        return;
    gpu_watch_enter(job->context->gpu->watch, runner, job);
    int64_t began_ns = helpers == 0 ? job->started_ns : tw_clock_ns();
    part.now_ns = part.since_ns = began_ns;
    while (part.now_ns < until_ns && tw_state_get(&job->stop) == GPU_STOP_NONE) {
        uint64_t chunk = part.chunk;
        uint64_t block = (uint64_t)tw_counter_add(&job->pool.next_block, (int64_t)chunk);
        if (block >= job->block_total)
            break;
        if (!run_blocks(&part, block, job->block_total - block < chunk ? job->block_total - block : chunk))
            break;
    }
    gpu_watch_leave(runner);
    tw_counter_add(&job->cpu_ns, part.now_ns - began_ns);
    if (helpers == 0)
        job->ended_ns = part.now_ns;
    if (!part.code->program)
        measure_part(&part);
}

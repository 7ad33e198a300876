// SPDX-License-Identifier: Apache-2.0
//
// Blocks of a launch, warp by warp. In a kernel without barriers all warps use one set of rows, one after the other. With
// barriers each warp has a set of its own, and runs from barrier to barrier in turn with the others:
//
//     frame->spill:  warp 0's rows | warp 1's rows | …   info->spill_bytes each
//                    then 64 bytes a warp: struct place

#include "internal.h"

#include "base/atomic.h"

// Where a warp goes on in the next round.
struct place {
    uint32_t block; // INTERP_ENDED
    uint32_t mask;
    struct interp_reduction reduction;
    uint8_t unused[48];
};
_Static_assert(sizeof(struct place) == 64, "as large as what the device keeps for a warp");

// Confined: one call.
struct run {
    struct interp_warp warp;
    uint32_t threads, warps;
    struct place *places;
};

static void set_constant(uint8_t *row, const struct tw_interp_constant *constant) {
    uint32_t size = constant->element_bytes;
    memset(row, 0, size);
    memcpy(row, &constant->bits, size < 8 ? size : 8);
    for (uint32_t done = size; done < size * TW_INTERP_LANES; done *= 2)
        memcpy(row + done, row, done);
}

// Rows are zero at first: what other kernels left in them is nobody's business.
static void clear_rows(const struct tw_interp_program *program, uint8_t *regs) {
    memset(regs, 0, program->reg_bytes);
    for (uint32_t i = 0; i < program->constant_count; i++)
        set_constant(regs + program->constants[i].row, &program->constants[i]);
}

static uint32_t start_mask(const struct run *run) {
    uint32_t left = run->threads - run->warp.linear;
    return left >= TW_INTERP_LANES ? UINT32_MAX : (1U << left) - 1;
}

// Runs the warp from a block to its next barrier or its end.
static void run_warp(struct run *run, uint32_t index, uint32_t block, uint32_t mask) {
    struct interp_warp *warp = &run->warp;
    warp->index = index;
    warp->linear = index * TW_INTERP_LANES;
    warp->mask = warp->active = mask ? mask : start_mask(run);
    warp->behind = INTERP_ENDED;
    const struct interp_step *step = interp_block(warp, block);
    while (step)
        step = step->run(warp, step);
}

static void begin_warp(const struct tw_interp_program *program, uint8_t *regs) {
    for (uint32_t i = 0; i < program->zero_count; i++)
        memset(regs + program->zeros[i].row, 0, program->zeros[i].bytes);
}

static void run_block(struct run *run) {
    for (uint32_t w = 0; w < run->warps && run->warp.status == TW_KERNEL_OK; w++) {
        begin_warp(run->warp.program, run->warp.regs);
        run_warp(run, w, 0, 0);
    }
}

// What a bar.red of the last round gives a warp that goes on: in all lanes, as none that runs is elsewhere.
static void write_reduction(uint8_t *regs, struct interp_reduction reduction, uint32_t true_count,
                            uint32_t count) {
    bool holds = reduction.what == INTERP_REDUCE_AND ? true_count == count : true_count != 0;
    if (reduction.what == INTERP_REDUCE_POPC)
        for (unsigned i = 0; i < TW_INTERP_LANES; i++)
            memcpy(regs + reduction.row + i * sizeof true_count, &true_count, sizeof true_count);
    else if (reduction.what != INTERP_REDUCE_NOTHING)
        memset(regs + reduction.row, holds ? 0xff : 0, TW_INTERP_LANES);
}

// Round by round: when all warps that still run have come to a barrier, each goes on behind its own.
static void run_block_in_turns(struct run *run, uint32_t stride) {
    const struct tw_interp_program *program = run->warp.program;
    bool more = true;
    run->warp.true_count = run->warp.reduced_count = 0;
    for (uint32_t w = 0; w < run->warps; w++)
        run->places[w] = (struct place){};
    for (bool first = true; more && run->warp.status == TW_KERNEL_OK; first = false) {
        uint32_t true_count = run->warp.true_count, count = run->warp.reduced_count;
        run->warp.true_count = run->warp.reduced_count = 0;
        more = false;
        for (uint32_t w = 0; w < run->warps && run->warp.status == TW_KERNEL_OK; w++) {
            struct place *place = &run->places[w];
            if (place->block == INTERP_ENDED)
                continue;
            run->warp.regs = run->warp.frame->spill + (size_t)w * stride;
            if (first)
                begin_warp(program, run->warp.regs);
            write_reduction(run->warp.regs, place->reduction, true_count, count);
            run->warp.reduction = (struct interp_reduction){};
            run_warp(run, w, place->block, place->mask);
            *place = (struct place){
                .block = run->warp.behind, .mask = run->warp.mask, .reduction = run->warp.reduction};
            more |= place->block != INTERP_ENDED;
        }
    }
}

uint32_t tw_interp_run(struct tw_kernel_frame *frame, uint64_t first_block, uint64_t block_count) {
    const struct tw_interp_program *program = frame->program;
    uint32_t threads = frame->block[0] * frame->block[1] * frame->block[2];
    struct run run = {.warp = {.frame = frame, .program = program, .regs = frame->spill},
                      .threads = threads,
                      .warps = (threads + TW_INTERP_LANES - 1) / TW_INTERP_LANES};
    run.warp.count = run.warps;
    run.warp.local_limit = (uint64_t)threads * program->local_bytes;
    run.places = (struct place *)(void *)(frame->spill + (size_t)run.warps * program->reg_bytes);
    for (uint32_t w = 0; w < (program->barriers ? run.warps : 1); w++)
        clear_rows(program, frame->spill + (size_t)w * program->reg_bytes);
    for (uint64_t b = first_block; b < first_block + block_count && run.warp.status == TW_KERNEL_OK; b++) {
        frame->again = b;
        run.warp.stored = false;
        if (frame->better && tw_flag_is_raised(frame->better))
            return TW_KERNEL_AGAIN;
        uint64_t row = b / frame->grid[0];
        run.warp.ctaid[0] = (uint32_t)(b % frame->grid[0]);
        run.warp.ctaid[1] = (uint32_t)(row % frame->grid[1]);
        run.warp.ctaid[2] = (uint32_t)(row / frame->grid[1]);
        if (program->barriers)
            run_block_in_turns(&run, program->reg_bytes);
        else
            run_block(&run);
    }
    return run.warp.status;
}

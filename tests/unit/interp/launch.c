// SPDX-License-Identifier: Apache-2.0
//
// See launch.h.

#include "launch.h"

#include "harness/test.h"

struct run *run_new(uint32_t flags) {
    struct run *run = calloc(1, sizeof *run);
    ck_assert_ptr_nonnull(run);
    maker_init(&run->m);
    run->m.flags = flags;
    return run;
}

void run_free(struct run *run) {
    tw_interp_program_done(run->program);
    free(run->frame.spill);
    free(run);
}

void run_load(struct run *run, uint32_t grid, uint32_t x, uint32_t y, uint32_t z) {
    uint32_t warps = (x * y * z + TW_INTERP_LANES - 1) / TW_INTERP_LANES;
    run->program = maker_load(&run->m);
    run->spill_bytes = (size_t)warps * (run->m.reg_bytes + 64);
    run->frame = (struct tw_kernel_frame){
        .program = run->program, .grid = {grid, 1, 1}, .block = {x, y, z}, .fault_site = 12'345};
    run->frame.spill = aligned_alloc(64, run->spill_bytes);
    ck_assert_ptr_nonnull(run->frame.spill);
    memset(run->frame.spill, 0xa5, run->spill_bytes);
}

uint32_t run_go(struct run *run, uint32_t grid, uint32_t threads) {
    run_load(run, grid, threads, 1, 1);
    return tw_interp_run(&run->frame, 0, grid);
}

uint32_t run_value(const struct run *run, uint32_t warp, uint32_t row, uint32_t lane) {
    uint32_t result;
    memcpy(&result, run->frame.spill + (size_t)warp * run->m.reg_bytes + row + lane * sizeof result,
           sizeof result);
    return result;
}

uint32_t run_constant(struct run *run, uint32_t bits) {
    return maker_constant(&run->m, bits, 4);
}

// A register that begins as zero.
uint32_t run_zero(struct run *run) {
    uint32_t row = maker_row(&run->m);
    run->m.zeros[run->m.zero_count++] = (struct tw_interp_zero){.row = row, .bytes = 128};
    return row;
}

// to += a in the lanes that are there.
void run_add(struct run *run, uint32_t to, uint32_t a) {
    uint32_t sum = maker_row(&run->m);
    maker_add(&run->m, sum, to, a);
    MAKE(&run->m, TW_INTERP_BLEND_32, 0, to, sum);
}

void run_set(struct run *run, uint32_t to, uint32_t from) {
    MAKE(&run->m, TW_INTERP_BLEND_32, 0, to, from);
}

// How often the block ran, in all lanes.
uint32_t run_count_visits(struct run *run) {
    uint32_t visits = run_zero(run);
    maker_add(&run->m, visits, visits, run_constant(run, 1));
    return visits;
}

// SPDX-License-Identifier: Apache-2.0
//
// Launches of programs made by hand (maker.h), and what they leave in their rows.
//
//     struct run *run = run_new(0);
//     maker_block(&run->m); … MAKE(&run->m, TW_INTERP_END, 0);
//     ck_assert_uint_eq(run_go(run, 1, 32), TW_KERNEL_OK);
//     run_value(run, 0, row, lane); run_free(run);
#pragma once

#include "maker.h"

// Confined: one launch. The spill is as large as a device makes it, and full of what another kernel left.
struct run {
    struct maker m;
    struct tw_interp_program *program;
    struct tw_kernel_frame frame;
    size_t spill_bytes;
};

struct run *run_new(uint32_t flags);
void run_free(struct run *run);
// Makes the frame; `grid` blocks of x × y × z threads.
void run_load(struct run *run, uint32_t grid, uint32_t x, uint32_t y, uint32_t z);
uint32_t run_go(struct run *run, uint32_t grid, uint32_t threads); // loads and runs; the status
// 32 bits of a row that the run has left. Programs that say they have barriers have rows for each warp.
uint32_t run_value(const struct run *run, uint32_t warp, uint32_t row, uint32_t lane);
uint32_t run_constant(struct run *run, uint32_t bits);
uint32_t run_zero(struct run *run);                        // a register that begins as zero
void run_add(struct run *run, uint32_t to, uint32_t a);    // to += a in the lanes that are there
void run_set(struct run *run, uint32_t to, uint32_t from); // to = from in them
uint32_t run_count_visits(struct run *run);                // a row: how often the block ran, in all lanes

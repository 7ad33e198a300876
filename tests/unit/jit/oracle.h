// SPDX-License-Identifier: Apache-2.0
//
// A plain interpreter of kernel IR, one thread after the other: what the vector code is compared with. It
// knows the operations that random_kernel.c makes, and shares no code with the compiler.
#pragma once

#include "kernel/kernel.h"

// Where a thread stands, and what it may touch: `memory` is what the addresses 0 … memory_bytes - 1 mean.
struct oracle {
    const struct tw_kir_module *module;
    const struct tw_kir_function *function;
    const uint8_t *params;
    uint8_t *memory;
    uint64_t memory_bytes;
    uint32_t block[3], grid[3], block_id[3], thread_id[3];
    uint64_t steps_left; // a kernel that takes more is a bug of the generator
    char trouble[128];   // an operation that is not known here, an access outside; empty: none
};

// Runs one thread of a kernel to its end. False: see `trouble`.
bool oracle_run(struct oracle *oracle);

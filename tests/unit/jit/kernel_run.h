// SPDX-License-Identifier: Apache-2.0
//
// Runs kernels for the tests of jit/: CUDA or PTX text → IR → code, loaded by a loader of the tests' own, on
// an arena made by mmap.
//
//     struct rig rig; rig_init(&rig);
//     uint64_t a = rig_alloc(&rig, bytes); float *p = rig_at(&rig, a);
//     struct kernel k; kernel_from_cu(&rig, &k, "vector_add.cu", "vector_add", 32, 32);
//     rig_launch(&rig, &k, (uint32_t[3]){grid, 1, 1}, (uint32_t[3]){block, 1, 1}, 0, params, sizeof params);
//
// Anything that fails ends the test.
#pragma once

#include "interp/interp.h"
#include "jit/jit.h"

enum { RIG_BYTES = 64 << 20, RIG_GUARD = 1 << 20 };

struct rig {
    uint8_t *base;
    uint64_t next;
    uint8_t *spill;
    size_t spill_bytes;
    int opt_level;
    uint64_t chunk;                 // blocks a call; 0: all at once
    bool alone;                     // what the frame says to atomics
    struct tw_kernel_prints prints; // what kernels printed
    uint64_t fault_site;            // where the last launch says that it failed
    const struct tw_flag *better;   // of the frame
    uint64_t first;                 // block to begin with
    uint64_t again;                 // block to go on with, after TW_KERNEL_AGAIN
};

struct kernel {
    struct tw_kernel_info info;
    tw_kernel_entry entry;
    void *code;
    size_t code_bytes;
    tw_kernel_exact exact; // NULL: it guesses nothing
    void *exact_code;
    size_t exact_bytes;
    struct tw_interp_program *program; // NULL: it is code
    uint64_t globals;                  // arena offset of the module's variables
};

void rig_init(struct rig *rig);
void rig_done(struct rig *rig);
uint64_t rig_alloc(struct rig *rig, size_t bytes); // zeroed, 256-aligned
void *rig_at(const struct rig *rig, uint64_t offset);

// The PTX that clang makes of tests/golden/ptx/`file`; free() it.
char *ptx_from_cu(const char *file);
void kernel_from_ptx(struct rig *rig, struct kernel *k, const char *ptx, const char *entry, unsigned lanes,
                     unsigned x_multiple);
void kernel_from_cu(struct rig *rig, struct kernel *k, const char *file, const char *entry, unsigned lanes,
                    unsigned x_multiple);
void kernel_from_module(struct rig *rig, struct kernel *k, struct tw_kir_module *module, const char *entry,
                        unsigned lanes, unsigned x_multiple);
// The entry `k` of the text as a program, which it has to have.
void kernel_program(struct rig *rig, struct kernel *k, const char *ptx);
void kernel_done(struct kernel *k);
// Compiles, and gives the error instead of failing the test when that fails.
bool kernel_try(const char *ptx, const char *entry, unsigned lanes, unsigned x_multiple,
                struct tw_error *err);
// Whether it can be interpreted; the error says what keeps it from that.
bool kernel_has_program(const char *ptx, const char *entry, struct tw_error *err);

// LLVM's text of the full version, optimised; free() it.
char *kernel_llvm(const char *ptx, const char *entry, unsigned lanes, unsigned x_multiple);

// All blocks of the grid; the status.
uint32_t rig_launch(struct rig *rig, const struct kernel *k, const uint32_t grid[3], const uint32_t block[3],
                    uint32_t dynamic_shared, const void *params, size_t param_bytes);

// SPDX-License-Identifier: Apache-2.0
//
// What compiled kernels and the CPU device agree on: the frame a kernel is entered with, and the description
// that travels with its code.
//
// A device pointer is an offset into the instance's arena, a power-of-two reservation. Every access a kernel
// makes goes to arena_base + (offset & arena_mask); windows for shared and local memory lie in the same
// arena, so one rule serves all state spaces.
//
//     uint32_t status = entry(&frame, first_block, block_count);   // enum tw_kernel_status
//
// `entry` runs blocks first_block … first_block + block_count - 1, numbered x fastest, one after the other.
// It takes no locks, allocates nothing, calls nothing but frame->exact, may fault (SIGSEGV) and may be left by
// siglongjmp at any instruction.
#pragma once

#include "base/base.h"

// Offsets are baked into compiled code: a change needs a new TW_KERNEL_ABI. All host pointers point outside
// any arena.
enum { TW_KERNEL_ABI = 5 };
// The largest arena: 2^33 bytes. Compiled code counts its words in 31 bits.
enum { TW_KERNEL_ARENA_SHIFT_MAX = 33 };
struct tw_kernel_frame;
struct tw_interp_program;

// The exact version of a kernel: takes one warp up where the fast version guessed wrong (`state`), and runs it to its
// next barrier or its end; what it returns is the fast version's.
typedef uint32_t (*tw_kernel_exact)(struct tw_kernel_frame *frame, uint32_t ctaid_x, uint32_t ctaid_y,
                                    uint32_t ctaid_z, uint32_t warp, uint32_t tid_x, uint32_t tid_y,
                                    uint32_t tid_z, uint32_t state);
enum { TW_KERNEL_EXACT_FAILED = 0x7ffffff0 }; // plus an enum tw_kernel_status: the launch is over

struct tw_kernel_frame {
    uint8_t *arena_base;   //   0
    uint64_t arena_mask;   //   8
    const uint8_t *params; //  16 parameter block, info->param_bytes long, 64-aligned
    uint64_t
        param_base; //  24 arena offset of a copy of the parameter block (0 unless info->needs_param_copy)
    uint64_t shared_base; //  32 arena offset of this worker's shared window, 1 KiB aligned
    uint64_t local_base;  //  40 arena offset of this worker's local window, 64-aligned: threads × local_bytes
    uint64_t global_base; //  48 arena offset of the module's variables
    uint8_t *
        spill; //  56 private host memory, 64-aligned: warps of the block × info->spill_bytes, then 64 × warps
    uint32_t grid[3];        //  64
    uint32_t block[3];       //  76
    uint32_t dynamic_shared; //  88 bytes asked for at launch
    uint32_t worker;         //  92 %smid
    uint32_t worker_count;   //  96 %nsmid
    uint32_t alone;          // 100 1: nothing else touches the arena meanwhile, atomics may be plain
    uint64_t grid_id;        // 104
    uint64_t fault_site;     // 112 line number in the PTX, set before the kernel returns TRAP or DEADLOCK, or
                             //     where a warp was last suspended in a loop (TW_KERNEL_APART: see below)
    uint64_t shared_limit;   // 120 bytes of the shared window (static + dynamic)
    struct tw_kernel_prints *prints; // 128 this worker's, private host memory (NULL unless info->prints)
    tw_kernel_exact exact;           // 136 of this variant (NULL unless info->guesses)
    // Only where info->tells_time: the wall clock was time_ns when the cycle counter was time_ticks, and a tick is
    // time_scale / 2^32 ns.
    uint64_t time_ticks, time_ns, time_scale; // 144, 152, 160
    // Of interp/ only; compiled code does not look.
    const struct tw_interp_program *program; // 168
    const struct tw_flag *better;            // 176 raised when the kernel's code has come; NULL: none will
    uint64_t again;                          // 184 with TW_KERNEL_AGAIN: the block to go on with
};

// The constant part of an address that is added behind the mask, so that accesses side by side share it: what they overrun
// the arena by lies in the guard. Those a little before the address share another. The rest is added before.
enum { TW_KERNEL_OFFSET_MAX = 1 << 16, TW_KERNEL_BEFORE_MAX = 1 << 12 };
static inline int64_t tw_kernel_behind_mask(int64_t offset) {
    if (offset < 0)
        return offset >= -TW_KERNEL_BEFORE_MAX ? offset + TW_KERNEL_BEFORE_MAX : 0;
    return offset <= TW_KERNEL_OFFSET_MAX ? offset : 0;
}

// A bit of fault_site: other lanes of the suspended warp were elsewhere, and go on only after the loop.
#define TW_KERNEL_APART (1ULL << 32)

// What a kernel prints: records that the worker formats after each run. Kernel code adds a record as a whole,
// or counts it as lost.
enum {
    TW_KERNEL_PRINT_ARGS = 256,   // bytes behind the address of the arguments, whatever the format says
    TW_KERNEL_PRINTS_MAX = 4'000, // records until the worker looks: 1 MiB, as CUDA has
};
struct tw_kernel_prints {
    uint32_t count; // at most TW_KERNEL_PRINTS_MAX
    uint32_t lost;
    struct tw_kernel_print {
        uint64_t format; // its arena offset
        uint8_t args[TW_KERNEL_PRINT_ARGS];
    } items[TW_KERNEL_PRINTS_MAX];
};

// AGAIN: an interpreted kernel was left because better code is there; frame->again and the blocks behind it are to run,
// and have left nothing behind.
enum tw_kernel_status { TW_KERNEL_OK, TW_KERNEL_TRAP, TW_KERNEL_DEADLOCK, TW_KERNEL_AGAIN };

// The one global symbol of a kernel's object: the entry.
#define TW_KERNEL_SYMBOL "tw_kernel"

typedef uint32_t (*tw_kernel_entry)(struct tw_kernel_frame *frame, uint64_t first_block,
                                    uint64_t block_count);

enum { TW_KERNEL_NAME_MAX = 256, TW_KERNEL_PARAMS_MAX = 128 };

struct tw_kernel_param {
    uint32_t offset, size;
    uint8_t is_pointer, is_float;
};

// How a kernel is compiled. LIGHT and FULL give the same results; both may guess, and need the one EXACT version of
// their lanes and x_multiple where a guess proves wrong. Its object's entry is a tw_kernel_exact. INTERPRETED is a program
// (interp/interp.h) in place of an object, for blocks of any shape (32 lanes, x_multiple 1), with the same results again;
// whoever asks for it gets LIGHT where the kernel has what a program cannot say.
enum tw_kernel_tier { TW_KERNEL_LIGHT, TW_KERNEL_FULL, TW_KERNEL_EXACT, TW_KERNEL_INTERPRETED };

// Which code it is: one PTX entry has one variant a shape of block. Plain value, compared bytewise: zero the
// padding.
struct tw_kernel_variant {
    uint16_t
        lanes; // W: lanes a vector, 32, 16 or 8; 64, 128, 256: the block has as many threads, all in one; in a
               // request, TW_KERNEL_LANES_ANY: for rows of 32, as many as the kernel bears
    // W: block.x is a multiple of it; 2 to W/2: block.x is this, and whole rows fill vectors (block.x × block.y a
    // multiple of W); 1: any shape, W at most 32; 512 or 1024 with W = 256: the block is one row of as many threads, in
    // several vectors.
    uint16_t x_multiple;
    uint16_t opt_level;  // enum tw_kernel_tier
    uint16_t unconfined; // 1: addresses are not masked (to measure what that costs; never in the server)
};

// Lanes of a vector whose blocks are one vector each: nobody waits at barriers.
enum {
    TW_KERNEL_LANES_ANY = 0,
    TW_KERNEL_TURNS_MAX = 32,
    TW_KERNEL_LANES_MAX = 256,
    TW_KERNEL_ROW_MAX = 1024, // threads of a block, in vectors of LANES_MAX
};

// Describes one compiled variant. Frozen after decoding. Encoded before the object code in an artifact.
struct tw_kernel_info {
    char name[TW_KERNEL_NAME_MAX + 1];
    struct tw_kernel_variant variant;
    uint32_t param_count, param_bytes;
    struct tw_kernel_param params[TW_KERNEL_PARAMS_MAX];
    uint32_t static_shared, dynamic_shared_offset; // bytes; where the extern array begins in the window
    uint32_t local_bytes;                          // a thread
    uint32_t spill_bytes;                          // a warp (of `lanes` threads)
    uint32_t required_block[3], max_block[3];
    bool uses_warp_ops; // needs lanes = 32
    bool uses_barriers;
    bool uses_atomics; // on global memory
    bool needs_param_copy;
    bool prints;     // has printf
    bool guesses;    // may ask for its exact version
    bool tells_time; // reads %globaltimer
    uint16_t
        whole_lanes; // blocks of so many threads and less gain by running as one vector, or as several of LANES_MAX; 0: none
    uint64_t globals_bytes; // module variables: size, then image and relocations below
    uint32_t globals_align;
};

// The artifact of a compiled kernel: info, the variables' initial bytes, their relocations (arena offsets to
// add global_base to), the ELF object.
struct tw_kernel_artifact {
    struct tw_kernel_info info;
    struct tw_span globals;        // globals_bytes, or empty when all zero
    const uint64_t *global_relocs; // byte positions in `globals` of 8-byte offsets relative to global_base
    uint32_t global_reloc_count;
    struct tw_span object; // ELF64 relocatable; its only global function is the entry, whatever its name
};
[[nodiscard]] bool tw_kernel_artifact_encode(const struct tw_kernel_artifact *artifact, struct tw_buf *out,
                                             struct tw_error *err);
// Checks everything; spans and relocs are borrowed from `bytes`, which must be 8-aligned. INTERNAL when it is
// not one of ours.
[[nodiscard]] bool tw_kernel_artifact_decode(struct tw_span bytes, struct tw_kernel_artifact *ret_artifact,
                                             struct tw_error *err);
bool tw_kernel_variant_good(const struct tw_kernel_variant *variant); // there can be such a one
// The variant to use for a block shape.
struct tw_kernel_variant tw_kernel_variant_for(const struct tw_kernel_info *any, const uint32_t block[3],
                                               unsigned opt_level);

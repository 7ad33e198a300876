// SPDX-License-Identifier: Apache-2.0
//
// The maxima of engine/, each with its reason. Those a deployment may want to change are options in engine.h.
#pragma once

enum {
    ENGINE_QUEUE_DEFAULT = 4'096,
    ENGINE_INSTANCES_DEFAULT = 10'000,
    ENGINE_START_MS_DEFAULT = 5'000,
    ENGINE_STDERR_MAX = 64 << 10,  // part of engine.h's contract
    ENGINE_CHUNK_MAX = 64 << 10,   // an emitted chunk, part of the guest ABI
    ENGINE_LOG_LINE_MAX = 4 << 10, // one `log` call
    ENGINE_OUTPUT_FREE = 64 << 10, // of a call, which is not counted as its tenant's memory: most answers
    ENGINE_SLICE_BYTES =
        1 << 20, // moved by a host function before it looks whether its call is to end: some 0.2 ms
    ENGINE_HEAP_LAZY_BYTES =
        1 << 20, // the collector's heap grows by less: its pages come as they are written
    ENGINE_HEAP_STEP_BYTES = 1 << 20, // and by more: 0.1 to 0.4 ms until the guest can be stopped
    ENGINE_GPU_ERROR_MAX = 512,       // last_error's text, part of the guest ABI
    ENGINE_DEVICE_INFO_MAX = 16 << 10,
    ENGINE_ENTRY_MAX = 256,      // a kernel's name
    ENGINE_REGISTERED_MAX = 128, // a published kernel's name, and its version: more than either may have
    ENGINE_ARGS_MAX = 4'096,     // a launch's argument buffer
    ENGINE_FRAMES_MAX = 128,     // of a backtrace: the innermost ones
    ENGINE_BACKTRACE_MAX = 64 << 10,
    ENGINE_IMAGE_MEMORIES_MAX = 64,
    ENGINE_IMAGE_GLOBALS_MAX = 1 << 20, // Wasm's own limit on globals
    ENGINE_IMAGE_TABLES_MAX = 100,
    // Pages that a reset copies back one by one; beyond it giving them back to the kernel is cheaper.
    ENGINE_RESET_PAGES_MAX = 128,
    ENGINE_RESET_KNOWN =
        8, // ranges of written pages that are remembered: a short call writes its stack and a few
    ENGINE_RESET_RANGES = 32, // of dirty pages, asked from the kernel at once
    // Top part of a fiber stack that stays resident while the stack waits for its next instance.
    ENGINE_STACK_KEEP_BYTES = 32 << 10,
    ENGINE_STACKS_KEPT_MAX = 1'024,
    ENGINE_BLOCKING_THREADS = 8, // kernels that are being compiled for guests at once, four of one tenant
    ENGINE_SUBSCRIPTIONS_MAX = 1'024, // of one poll_oneoff: each is a clock
    ENGINE_KEPT_WAITING_MAX = 64,     // calls that wait for one kept instance: each holds its request's body
    ENGINE_KEEPER_PERIOD_NS = 250'000'000, // how often idle things are looked for
    ENGINE_WARM_IDLE_MS_DEFAULT = 60'000,
    ENGINE_POOL_CHANCES = 16,       // pools looked at for one that lies idle
    ENGINE_POOL_IDLE_TICKS = 4,     // a second: idle long enough to make room for another function's
    ENGINE_CODES_MAX = 1 << 20,     // modules of different code: more than functions can be deployed
    ENGINE_POOLS_MAX = 1 << 16,     // of one module: tenants that call it
    ENGINE_REFILL_THREADS = 2,      // instances made ahead: start code may be slow, and nobody waits
    ENGINE_RESTOP_NS = 10'000'000,  // how often a stopped guest's kernels are cancelled again
    ENGINE_TICK_NS = 1'000'000,     // how often runners are looked at
    ENGINE_QUANTUM_NS = 500'000,    // computed between two looks: the call is a long one
    ENGINE_PATIENCE_NS = 8'000'000, // and so is one that was seen for so long, computing or not
    ENGINE_SLICE_NS = 5'000'000,    // a computing guest's turn: a switch costs about 20 us
    ENGINE_QUIET_TICKS = 50,        // without a guest, before the watch stops ticking
    // Of Wasmtime's pooling allocator, which reserves 8 GiB for each at once: 16 TiB of the 128 there are.
    ENGINE_POOLED_MAX = 2'048,
    ENGINE_POOLED_INSTANCE_BYTES = 64 << 20, // what Wasmtime knows of one, lists of functions and globals
    ENGINE_POOLED_KEEP_BYTES = 64 << 10,     // of a memory or table, cleared rather than given back
    ENGINE_POOLED_UNUSED = 100, // slots that nobody uses but that still fit a module: each holds up to 200 KB
    ENGINE_HELD_DEFAULT = 256,  // threads in long calls, running or paused
    ENGINE_READY_MIN = 64,      // calls that may wait for one event loop, however long they take
    ENGINE_READY_MAX = 2'048,   // and however short; more are workers'
    ENGINE_READY_NS = 5'000'000, // between the two: as many as take so long by the last calls' time
    ENGINE_LONG_CALLS = 16,      // short ones after a long one, before event loops run a module's calls
    ENGINE_SHARES_KEPT = 256,    // tenants remembered by a queue, before those that do nothing are forgotten
    ENGINE_SHARES_MAX = 65'536,  // with calls at once
    ENGINE_RETRY_MAX_S = 30,     // the longest Retry-After
    ENGINE_BURST_MS_DEFAULT = 100, // CoDel's interval: some round trips
    ENGINE_BRIEF_NS =
        250'000, // calls of an event loop that take less are never refused: 64 of them are 16 ms
    ENGINE_SHORT_TARGETS =
        20, // calls of less than a tick may wait so many targets: HTTP is what takes their time
    ENGINE_CROWD_FREE = 4,  // calls ahead for each that can run: behind no more, none is refused
    ENGINE_CALM_BURSTS = 3, // without a refusal, before bursts are let in again
    ENGINE_GAP_SAMPLES = 8, // that an average looks back on
};

#define ENGINE_MEMORY_DEFAULT (256ULL << 20)
#define ENGINE_TABLE_DEFAULT  1'000'000ULL
#define ENGINE_OUTPUT_DEFAULT (64ULL << 20)
#define ENGINE_WASM_PAGE      65'536ULL

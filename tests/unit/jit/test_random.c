// SPDX-License-Identifier: Apache-2.0
//
// Random kernels: what the vector code computes is what a plain interpreter of the unoptimised IR computes,
// thread by thread, to the bit; on whole warps and partial ones, narrow and wide, blocks as one vector, light and full
// optimisation, and programs. Each seed is a kernel; TW_RANDOM=FIRST,COUNT tries others than the usual ones, with
// TW_RANDOM_PROGRAMS=1 by programs alone (thousands a minute).

#include "harness/test.h"
#include "kernel_run.h"
#include "oracle.h"
#include "ptx/ptx.h"
#include "random_kernel.h"

enum { BYTES = 700, GRID = 2, STEPS_MAX = 200'000, MEMORY = 2 << 20 };

// xorshift64* (Vigna 2014).
static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static void fill(uint64_t seed, uint8_t *bytes, size_t len) {
    uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(next_random(&state) >> 32);
}

// What all threads leave in `out`, by the interpreter. `memory` begins with `in`, at the same offsets as the rig's.
static void interpret(const char *ptx, const uint64_t params[2], uint8_t *memory, uint32_t threads,
                      uint32_t width) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err = {};
    tw_arena_init(&arena, 256 << 20);
    tw_assert_ok(tw_ptx_parse(&arena, tw_str_from(ptx), &module, &err), &err);
    for (uint32_t i = 0; i < GRID * threads; i++) {
        struct oracle oracle = {.module = module,
                                .function = tw_kir_function_find(module, "k"),
                                .params = (const uint8_t *)params,
                                .memory = memory,
                                .memory_bytes = MEMORY,
                                .block = {width, threads / width, 1},
                                .grid = {GRID, 1, 1},
                                .block_id = {i / threads, 0, 0},
                                .thread_id = {i % threads % width, i % threads / width, 0},
                                .steps_left = STEPS_MAX};
        if (!oracle_run(&oracle)) {
            fprintf(stderr, "%s\n", ptx);
            ck_abort_msg("%s", oracle.trouble);
        }
    }
    tw_arena_done(&arena);
}

// In blocks of `width` threads a row: all of them in one row, or rows of whole vectors or parts of them. Vectors of 256 are made for
// one width.
static void compare(const char *ptx, uint64_t seed, unsigned lanes, int opt_level, uint32_t threads,
                    uint32_t width) {
    struct rig rig;
    struct kernel kernel;
    rig_init(&rig);
    rig.opt_level = opt_level;
    size_t in_bytes = RANDOM_IN_WORDS * 4, out_bytes = (size_t)GRID * threads * RANDOM_OUT_WORDS * 4;
    uint64_t params[2] = {rig_alloc(&rig, in_bytes), rig_alloc(&rig, out_bytes)};
    ck_assert_uint_le(params[1] + out_bytes, MEMORY);
    fill(seed ^ 77, rig_at(&rig, params[0]), in_bytes);
    uint8_t *memory = calloc(1, MEMORY);
    ck_assert_ptr_nonnull(memory);
    memcpy(memory + params[0], rig_at(&rig, params[0]), in_bytes);
    interpret(ptx, params, memory, threads, width);
    bool is_long = lanes == TW_KERNEL_LANES_MAX;
    unsigned multiple = threads % lanes ? 1 : width < lanes || is_long ? width : lanes;
    kernel_from_ptx(&rig, &kernel, ptx, "k", lanes, multiple);
    uint32_t status = rig_launch(&rig, &kernel, (uint32_t[3]){GRID, 1, 1},
                                 (uint32_t[3]){width, threads / width, 1}, 0, params, sizeof params);
    ck_assert_uint_eq(status, 0);
    const uint32_t *got = rig_at(&rig, params[1]), *want = (const uint32_t *)(memory + params[1]);
    for (size_t i = 0; i < out_bytes / 4; i++) {
        if (got[i] == want[i])
            continue;
        fprintf(stderr, "%s\n", ptx);
        ck_abort_msg("seed %" PRIu64
                     ", %u lanes, level %d, %u threads in rows of %u: thread %zu, word %zu is %08x, not %08x",
                     seed, lanes, opt_level, threads, width, i / RANDOM_OUT_WORDS, i % RANDOM_OUT_WORDS,
                     got[i], want[i]);
    }
    kernel_done(&kernel);
    rig_done(&rig);
    free(memory);
}

// A block as one vector, where the kernel allows it: one row of 128 or 256 threads, or rows of 64, 32 or 16; or as two or four
// vectors. These take seconds
// to compile, so of the usual seeds only a few are tried.
static void compare_whole(const char *ptx, uint64_t seed) {
    static const struct {
        unsigned lanes, width;
    } blocks[] = {{256, 256}, {128, 128}, {256, 1024}, {256, 64}, {128, 16}, {256, 512}, {256, 32}};
    unsigned lanes = blocks[seed % TW_COUNT(blocks)].lanes, width = blocks[seed % TW_COUNT(blocks)].width;
    struct tw_error err = {};
    if (!getenv("TW_RANDOM") && seed % 10 != 5)
        return;
    if (kernel_try(ptx, "k", lanes, width, &err))
        compare(ptx, seed, lanes, (int)(seed / 2 % 2), lanes > width ? lanes : width, width);
    else
        ck_assert_ptr_nonnull(strstr(err.message, "has no variant of"));
}

static const uint32_t blocks[] = {1, 32, 50, 64, 7, 96};

static void compare_program(const char *ptx, uint64_t seed) {
    struct tw_error err = {};
    uint32_t threads = blocks[seed / 6 % TW_COUNT(blocks)];
    if (kernel_has_program(ptx, "k", &err))
        compare(ptx, seed, 32, TW_KERNEL_INTERPRETED, threads, threads);
    else
        ck_assert_int_eq(err.code, TW_ERR_NOT_IMPLEMENTED);
}

static void try_seed(uint64_t seed, bool is_rich) {
    static const unsigned lanes[] = {32, 8, 16};
    uint8_t bytes[BYTES];
    struct tw_buf ptx;
    fill(seed, bytes, sizeof bytes);
    tw_buf_init(&ptx, 1 << 20);
    random_kernel(tw_span_of(bytes, 60 + seed * 37 % (BYTES - 60)), is_rich, &ptx);
    compare_program((const char *)ptx.data, seed);
    if (getenv("TW_RANDOM_PROGRAMS")) {
        tw_buf_done(&ptx);
        return;
    }
    static const struct {
        unsigned lanes, width;
    } rows[] = {{64, 8}, {32, 16}, {64, 64}, {32, 4}, {64, 16}, {16, 8}, {64, 32}, {16, 4}, {32, 8}};
    compare((const char *)ptx.data, seed, lanes[seed % 3], (int)(seed / 3 % 2),
            blocks[seed % TW_COUNT(blocks)], blocks[seed % TW_COUNT(blocks)]);
    compare((const char *)ptx.data, seed, 32, (int)(seed % 2), 50, 50);
    unsigned r = (unsigned)(seed % TW_COUNT(rows));
    compare((const char *)ptx.data, seed, rows[r].lanes, (int)(seed / 2 % 2), rows[r].lanes, rows[r].width);
    compare_whole((const char *)ptx.data, seed);
    tw_buf_done(&ptx);
}

// A quarter of the seeds; each test has a process and a time limit of its own.
static void try_quarter(unsigned long quarter, bool is_rich) {
    unsigned long first = 1, count = 16;
    const char *wanted = getenv("TW_RANDOM");
    if (wanted)
        ck_assert_int_eq(sscanf(wanted, "%lu,%lu", &first, &count), 2);
    for (unsigned long seed = first + quarter; seed < first + count; seed += 4)
        try_seed(seed, is_rich);
}

TW_TEST("bitwise operations under a mask are right where LLVM's masked ternary operation was wrong") {
    try_seed(1049, false);
}

TW_TEST("a product and sum with .relu makes a zero of -0") {
    try_seed(91068, true);
}

TW_TEST("random kernels compute what the interpreter computes") {
    try_quarter(0, false);
}

TW_TEST("random kernels compute what the interpreter computes: a second quarter") {
    try_quarter(1, false);
}

TW_TEST("random kernels compute what the interpreter computes: a third quarter") {
    try_quarter(2, false);
}

TW_TEST("random kernels compute what the interpreter computes: a fourth quarter") {
    try_quarter(3, false);
}

TW_TEST("random kernels with small floats, fields and local memory compute what the interpreter computes") {
    try_quarter(0, true);
}

TW_TEST("random kernels with small floats, fields and local memory: a second quarter") {
    try_quarter(1, true);
}

TW_TEST("random kernels with small floats, fields and local memory: a third quarter") {
    try_quarter(2, true);
}

TW_TEST("random kernels with small floats, fields and local memory: a fourth quarter") {
    try_quarter(3, true);
}

// SPDX-License-Identifier: Apache-2.0
//
// What of a kernel's effects outlives its block, so that better code may not begin the block anew; what it prints; what it
// knows of its place. Where loads, stores and atomics go test_interpreted_memory.c of jit/ says.

#include <pthread.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "harness/test.h"
#include "launch.h"

enum {
    ARENA = 1 << 20,
    SHARED = 8'192,
    SHARED_BYTES = 1'000,
    LOCAL = 16'384,
    LOCAL_BYTES = 64,
    TABLE = 65'536
};
enum { LANES = TW_INTERP_LANES };

static uint8_t *arena_new(void) {
    uint8_t *arena = mmap(NULL, 2 * ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(arena, MAP_FAILED);
    return arena;
}

// An operation at the addresses of a row.
static void make_effect(struct maker *m, uint16_t op, uint32_t address) {
    uint32_t any = maker_row(m), other = maker_row(m), zero = maker_constant(m, 0, 8),
             size = maker_constant(m, 16, 4);
    switch (op) {
    case TW_INTERP_ST_8:
    case TW_INTERP_ST_16:
    case TW_INTERP_LD_32:
        MAKE(m, op, 0, address, 1, any);
        break;
    case TW_INTERP_ST_32:
        MAKE(m, op, 0, address, 2, any, other);
        break;
    case TW_INTERP_ST_128:
        MAKE(m, op, 0, address, 4, any, other, any, other);
        break;
    case TW_INTERP_ATOM_16:
    case TW_INTERP_ATOM_32:
    case TW_INTERP_ATOM_64:
        MAKE(m, op, 0, other, address, any, any, TW_KIR_ATOM_EXCH);
        break;
    case TW_INTERP_CPASYNC:
        MAKE(m, op, 16, address, zero, size);
        break;
    default:
        ck_abort_msg("operation %u", op);
    }
}

// Lane i's address is addresses[i]; only lanes of the lower half take part where `half`. Then the flag is raised, and a loop
// goes round once more. Whether better code takes the block over.
static bool takes_over(uint16_t op, const uint64_t *addresses, bool half) {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    uint32_t table = maker_row(m), address = maker_row(m), flag = maker_row(m), rounds = run_zero(run),
             p = maker_row(m), one = run_constant(run, 1), two = run_constant(run, 2);
    m->info.local_bytes = LOCAL_BYTES;
    maker_block(m);
    MAKE(m, TW_INTERP_ADDR_LOCAL, TABLE - LOCAL, table);
    MAKE(m, TW_INTERP_LD_64, 0, table, 1, address);
    maker_less(m, p, maker_lanes(m), run_constant(run, half ? 16 : 32));
    MAKE(m, TW_INTERP_GUARD, 0, p);
    make_effect(m, op, address);
    MAKE(m, TW_INTERP_UNGUARD, 0);
    maker_move(m, flag, one);
    MAKE(m, TW_INTERP_BR, 0, 1, 1);
    maker_block(m);
    maker_add(m, rounds, rounds, one);
    maker_less(m, p, rounds, two);
    MAKE(m, TW_INTERP_BRC, 2, p, 1, 2, 2, 3);
    maker_block(m);
    MAKE(m, TW_INTERP_END, 0);
    run_load(run, 1, LANES, 1, 1);
    uint8_t *arena = run->frame.arena_base = arena_new();
    run->frame.arena_mask = ARENA - 1;
    run->frame.shared_base = SHARED;
    run->frame.shared_limit = SHARED_BYTES;
    run->frame.local_base = LOCAL;
    for (unsigned i = 0; i < LANES; i++)
        memcpy(arena + TABLE + i * LOCAL_BYTES, &addresses[i], sizeof addresses[i]);
    run->frame.better = (struct tw_flag *)(void *)(run->frame.spill + flag);
    memset(run->frame.spill, 0, run->spill_bytes);
    uint32_t status = tw_interp_run(&run->frame, 0, 1);
    ck_assert(status == TW_KERNEL_AGAIN || status == TW_KERNEL_OK);
    munmap(arena, 2 * ARENA);
    run_free(run);
    return status == TW_KERNEL_AGAIN;
}

static const struct effect {
    uint16_t op;
    uint32_t bytes; // of a lane
} effects[] = {{TW_INTERP_ST_8, 1},    {TW_INTERP_ST_16, 2},   {TW_INTERP_ST_32, 8},
               {TW_INTERP_ST_128, 64}, {TW_INTERP_ATOM_16, 2}, {TW_INTERP_ATOM_32, 4},
               {TW_INTERP_ATOM_64, 8}, {TW_INTERP_CPASYNC, 16}};

static void check_all_at(const struct effect *effect, uint64_t address, bool want) {
    uint64_t addresses[LANES];
    for (unsigned i = 0; i < LANES; i++)
        addresses[i] = address;
    ck_assert_msg(takes_over(effect->op, addresses, false) == want, "operation %u at %" PRIu64, effect->op,
                  address);
}

TW_TEST("what is written within the block's windows does not keep better code from beginning anew") {
    for (size_t i = 0; i < TW_COUNT(effects); i++) {
        const struct effect *e = &effects[i];
        check_all_at(e, SHARED, true);
        check_all_at(e, SHARED + SHARED_BYTES - e->bytes, true);
        check_all_at(e, LOCAL, true);
        check_all_at(e, LOCAL + LANES * LOCAL_BYTES - e->bytes, true);
        check_all_at(e, SHARED + (UINT64_C(77) << 32), true); // the mask leaves nothing of that
    }
    check_all_at(&(struct effect){TW_INTERP_LD_32, 4}, 100'000, true);
}

TW_TEST("what is written outside of them does, however little it is") {
    for (size_t i = 0; i < TW_COUNT(effects); i++) {
        const struct effect *e = &effects[i];
        check_all_at(e, 100'000, false);
        check_all_at(e, 0, false);
        check_all_at(e, ARENA - e->bytes, false);
        check_all_at(e, SHARED - e->bytes, false);
        check_all_at(e, SHARED + SHARED_BYTES, false);
        check_all_at(e, LOCAL - e->bytes, false);
        check_all_at(e, LOCAL + LANES * LOCAL_BYTES, false);
        if (e->bytes > 1 && (e->op < TW_INTERP_ATOM_16 || e->op > TW_INTERP_ATOM_64)) { // a part of it
            check_all_at(e, SHARED - 1, false);
            check_all_at(e, SHARED + SHARED_BYTES - e->bytes + 1, false);
            check_all_at(e, LOCAL - 1, false);
            check_all_at(e, LOCAL + LANES * LOCAL_BYTES - e->bytes + 1, false);
        }
    }
}

TW_TEST("one lane that writes elsewhere is enough, if it takes part") {
    for (size_t i = 0; i < TW_COUNT(effects); i++)
        for (unsigned lane = 0; lane < LANES; lane++) {
            uint64_t addresses[LANES];
            for (unsigned k = 0; k < LANES; k++)
                addresses[k] = k == lane ? 100'000 : LOCAL + k * LOCAL_BYTES;
            ck_assert(!takes_over(effects[i].op, addresses, false));
            ck_assert_int_eq(takes_over(effects[i].op, addresses, true), lane >= 16);
        }
}

// ---- threads ----

enum { THREADS = 3, BLOCKS = 500 };

static void *run_blocks(void *frame) {
    ck_assert_uint_eq(tw_interp_run(frame, 0, BLOCKS), TW_KERNEL_OK);
    return NULL;
}

// Rows of 32 bits that are the same in all lanes: kind, operand, what comes of the word at that address.
static const struct shared_word {
    uint32_t kind, operand, address, want;
} words[] = {
    {TW_KIR_ATOM_ADD, 5, TABLE, THREADS *BLOCKS *LANES * 5},
    {TW_KIR_ATOM_ADD | TW_INTERP_ATOM_RED, 7, TABLE + 4, THREADS *BLOCKS *LANES * 7},
    {TW_KIR_ATOM_INC, 999, TABLE + 8, THREADS *BLOCKS *LANES % 1'000},
    {TW_KIR_ATOM_XOR, 1, TABLE + 12, 0},
    {TW_KIR_ATOM_MAX, 77, TABLE + 16, 77},
    {TW_KIR_ATOM_EXCH, 8, TABLE + 20, 8},
};

TW_TEST("threads that run a program at once lose nothing of its atomics, and may race by plain stores") {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    struct tw_kernel_frame frames[THREADS];
    pthread_t threads[THREADS];
    uint8_t *arena = arena_new();
    uint32_t old = maker_row(m), raced = maker_constant(m, TABLE + 64, 8);
    maker_block(m);
    for (size_t i = 0; i < TW_COUNT(words); i++) {
        uint32_t operand = run_constant(run, words[i].operand);
        MAKE(m, TW_INTERP_ATOM_32, 0, old, maker_constant(m, words[i].address, 8), operand, operand,
             words[i].kind | TW_KIR_U32 << TW_INTERP_ATOM_TYPE_SHIFT);
    }
    MAKE(m, TW_INTERP_ST_32, 0, raced, 1, run_constant(run, 1'234));
    MAKE(m, TW_INTERP_LD_32, 0, raced, 1, old);
    MAKE(m, TW_INTERP_END, 0);
    run_load(run, BLOCKS, LANES, 1, 1);
    for (unsigned t = 0; t < THREADS; t++) {
        frames[t] = run->frame;
        frames[t].arena_base = arena;
        frames[t].arena_mask = ARENA - 1;
        frames[t].spill = aligned_alloc(64, run->spill_bytes);
        ck_assert_ptr_nonnull(frames[t].spill);
        ck_assert_int_eq(pthread_create(&threads[t], NULL, run_blocks, &frames[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        free(frames[t].spill);
    }
    for (size_t i = 0; i < TW_COUNT(words); i++)
        ck_assert_mem_eq(arena + words[i].address, &words[i].want, sizeof words[i].want);
    ck_assert_mem_eq(arena + TABLE + 64, (&(uint32_t){1'234}), 4);
    munmap(arena, 2 * ARENA);
    run_free(run);
}

// ---- printf ----

TW_TEST("each lane that takes part prints a record, the lowest first, until there is no room") {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    struct tw_kernel_prints *prints = calloc(1, sizeof *prints);
    ck_assert_ptr_nonnull(prints);
    uint32_t format = maker_row(m), none = maker_constant(m, 0, 8), arguments = maker_row(m),
             result = maker_row(m);
    m->info.prints = true;
    m->info.local_bytes = LOCAL_BYTES;
    maker_block(m);
    MAKE(m, TW_INTERP_ADDR_LOCAL, 1, format);
    MAKE(m, TW_INTERP_ADDR_LOCAL, TABLE - LOCAL, arguments);
    MAKE(m, TW_INTERP_GUARD, 0, maker_bit(m, 0));
    MAKE(m, TW_INTERP_PRINTF, 0, result, format, arguments);
    MAKE(m, TW_INTERP_UNGUARD, 0);
    MAKE(m, TW_INTERP_GUARD, 0, maker_constant(m, 0, 1)); // nobody
    MAKE(m, TW_INTERP_PRINTF, 0, result, format, arguments);
    MAKE(m, TW_INTERP_UNGUARD, 0);
    MAKE(m, TW_INTERP_PRINTF, 0, result, format, none);
    MAKE(m, TW_INTERP_END, 0);
    run_load(run, 100, LANES, 1, 1);
    run->frame.arena_base = arena_new();
    run->frame.arena_mask = ARENA - 1;
    run->frame.local_base = LOCAL;
    run->frame.prints = prints;
    for (unsigned i = 0; i < ARENA; i++)
        run->frame.arena_base[i] = (uint8_t)(i * 7 ^ i >> 8);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 0, 1), TW_KERNEL_OK);
    ck_assert_uint_eq(prints->count, 48);
    for (unsigned i = 0; i < 48; i++) {
        static const uint8_t zeros[TW_KERNEL_PRINT_ARGS];
        unsigned lane = i < 16 ? 2 * i + 1 : i - 16;
        ck_assert_uint_eq(prints->items[i].format, LOCAL + 1 + lane * LOCAL_BYTES);
        const uint8_t *want = i < 16 ? run->frame.arena_base + TABLE + (size_t)lane * LOCAL_BYTES : zeros;
        ck_assert_mem_eq(prints->items[i].args, want, TW_KERNEL_PRINT_ARGS);
        ck_assert_uint_eq(run_value(run, 0, result, i % LANES), 0);
    }
    ck_assert_uint_eq(tw_interp_run(&run->frame, 1, 99), TW_KERNEL_OK);
    ck_assert_uint_eq(prints->count, TW_KERNEL_PRINTS_MAX);
    ck_assert_uint_eq(prints->lost, 100 * 48 - TW_KERNEL_PRINTS_MAX);
    munmap(run->frame.arena_base, 2 * ARENA);
    free(prints);
    run_free(run);
}

// ---- places ----

// Of thread `linear` of block 7 of the grid that check_place launches; 0 where it is not the same in all runs.
static uint32_t special_value(const struct tw_kernel_frame *f, uint32_t sreg, uint32_t linear) {
    uint32_t x = f->block[0], y = f->block[1], lane = linear % LANES, threads = x * y * f->block[2];
    uint32_t values[TW_KIR_SREG_COUNT] = {[TW_KIR_TID_X] = linear % x,
                                          [TW_KIR_TID_Y] = linear / x % y,
                                          [TW_KIR_TID_Z] = linear / (x * y),
                                          [TW_KIR_NTID_X] = x,
                                          [TW_KIR_NTID_Y] = y,
                                          [TW_KIR_NTID_Z] = f->block[2],
                                          [TW_KIR_CTAID_X] = 7 % 3,
                                          [TW_KIR_CTAID_Y] = 7 / 3 % 2,
                                          [TW_KIR_CTAID_Z] = 7 / 6,
                                          [TW_KIR_NCTAID_X] = 3,
                                          [TW_KIR_NCTAID_Y] = 2,
                                          [TW_KIR_NCTAID_Z] = 5,
                                          [TW_KIR_LANEID] = lane,
                                          [TW_KIR_WARPID] = linear / LANES,
                                          [TW_KIR_NWARPID] = (threads + LANES - 1) / LANES,
                                          [TW_KIR_SMID] = 11,
                                          [TW_KIR_NSMID] = 12,
                                          [TW_KIR_GRIDID] = 13,
                                          [TW_KIR_DYNAMIC_SMEM_SIZE] = 100,
                                          [TW_KIR_TOTAL_SMEM_SIZE] = SHARED_BYTES};
    for (uint32_t k = 0; k < LANES; k++) {
        values[TW_KIR_LANEMASK_EQ] |= (uint32_t)(k == lane) << k;
        values[TW_KIR_LANEMASK_LT] |= (uint32_t)(k < lane) << k;
        values[TW_KIR_LANEMASK_LE] |= (uint32_t)(k <= lane) << k;
        values[TW_KIR_LANEMASK_GT] |= (uint32_t)(k > lane) << k;
        values[TW_KIR_LANEMASK_GE] |= (uint32_t)(k >= lane) << k;
    }
    return values[sreg];
}

static bool is_clock(uint32_t sreg) {
    return sreg >= TW_KIR_CLOCK && sreg <= TW_KIR_GLOBALTIMER_HI;
}

static void check_place(uint32_t x, uint32_t y, uint32_t z) {
    struct run *run = run_new(TW_INTERP_BARRIERS); // rows of each warp
    uint32_t rows[TW_KIR_SREG_COUNT];
    maker_block(&run->m);
    for (uint32_t s = 0; s < TW_KIR_SREG_COUNT; s++) {
        rows[s] = maker_row(&run->m);
        MAKE(&run->m, TW_INTERP_SREG_32, s, rows[s]);
    }
    MAKE(&run->m, TW_INTERP_END, 0);
    run_load(run, 3, x, y, z);
    struct tw_kernel_frame *f = &run->frame;
    f->grid[1] = 2;
    f->grid[2] = 5;
    f->worker = 11;
    f->worker_count = 12;
    f->grid_id = (UINT64_C(99) << 32) + 13;
    f->dynamic_shared = 100;
    f->shared_limit = SHARED_BYTES;
    ck_assert_uint_eq(tw_interp_run(f, 7, 1), TW_KERNEL_OK);
    for (uint32_t t = 0; t < x * y * z; t++)
        for (uint32_t s = 0; s < TW_KIR_SREG_COUNT; s++)
            if (!is_clock(s))
                ck_assert_msg(run_value(run, t / LANES, rows[s], t % LANES) == special_value(f, s, t),
                              "register %u of thread %u of %u x %u x %u", s, t, x, y, z);
    run_free(run);
}

TW_TEST("threads know their place in blocks of any shape") {
    check_place(1, 1, 1);
    check_place(32, 1, 1);
    check_place(100, 1, 1);
    check_place(64, 3, 2);
    check_place(5, 7, 3);
    check_place(1, 1, 64);
    check_place(3, 33, 1);
    check_place(48, 2, 2);
}

static uint64_t wide_value(const struct run *run, uint32_t row) {
    uint64_t value;
    memcpy(&value, run->frame.spill + row + 8 * 5, sizeof value); // of lane 5
    return value;
}

TW_TEST("clocks go on, and the wall clock is what the frame says of them") {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    uint32_t first = maker_row(m), ns = maker_row(m), second = maker_row(m), more_ns = maker_row(m),
             high = maker_row(m);
    maker_block(m);
    MAKE(m, TW_INTERP_SREG_64, TW_KIR_CLOCK64, first);
    MAKE(m, TW_INTERP_SREG_64, TW_KIR_GLOBALTIMER, ns);
    MAKE(m, TW_INTERP_SREG_64, TW_KIR_CLOCK64, second);
    MAKE(m, TW_INTERP_SREG_64, TW_KIR_GLOBALTIMER, more_ns);
    MAKE(m, TW_INTERP_SREG_64, TW_KIR_GLOBALTIMER_HI, high);
    MAKE(m, TW_INTERP_END, 0);
    run_load(run, 1, 32, 1, 1);
    run->frame.time_ticks = __builtin_ia32_rdtsc();
    run->frame.time_ns = UINT64_C(0x123) << 40;
    run->frame.time_scale = UINT64_C(3) << 31; // one and a half ns a tick
    ck_assert_uint_eq(tw_interp_run(&run->frame, 0, 1), TW_KERNEL_OK);
    uint64_t ticks = wide_value(run, first) - run->frame.time_ticks,
             passed = wide_value(run, ns) - run->frame.time_ns,
             more = wide_value(run, second) - run->frame.time_ticks;
    ck_assert_uint_le(ticks, more);
    ck_assert_uint_ge(passed, ticks * 3 / 2);
    ck_assert_uint_le(passed, more * 3 / 2);
    ck_assert_uint_ge(wide_value(run, more_ns), wide_value(run, ns));
    ck_assert_uint_eq(wide_value(run, high), 0x123 << 8);
    run_free(run);
}

// ---- what is refused ----

static void check_refusal(uint16_t op, uint64_t imm, uint32_t count, bool prints, const char *why) {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    struct tw_error err = {};
    struct tw_interp_program *program = NULL;
    uint32_t operands[16];
    for (unsigned i = 0; i < TW_COUNT(operands); i++)
        operands[i] = maker_row(m);
    if (op >= TW_INTERP_LD_8 && op <= TW_INTERP_ST_128)
        operands[2] = count - 2; // elements
    maker_block(m);
    maker_inst(m, op, imm, operands, 1 + count);
    MAKE(m, TW_INTERP_END, 0);
    m->info.spill_bytes = m->reg_bytes;
    m->info.param_bytes = 20;
    m->info.prints = prints;
    struct tw_span bytes = maker_bytes(m);
    bool ok = tw_interp_load(bytes, &m->info, &program, &err);
    ck_assert_msg(ok == !why, "operation %u, imm %" PRIu64 ": %s", op, imm, err.message);
    ck_assert_msg(ok || strstr(err.message, why), "'%s' is not '%s'", err.message, why);
    tw_interp_program_done(program);
    free((void *)(uintptr_t)bytes.data);
    run_free(run);
}

TW_TEST("parameters beyond the block, accesses beyond the guard, copies and prints that kernels do not have "
        "are refused") {
    static const uint64_t last[] = {19, 18, 16, 12, 4}; // of 1, 2 … 16 bytes
    for (uint16_t k = 0; k < TW_COUNT(last); k++) {
        check_refusal((uint16_t)(TW_INTERP_LDPARAM_8 + k), last[k], 1, false, NULL);
        check_refusal((uint16_t)(TW_INTERP_LDPARAM_8 + k), last[k] + 1, 1, false, "a parameter lies outside");
        check_refusal((uint16_t)(TW_INTERP_LDPARAM_8 + k), UINT64_MAX - 3, 1, false,
                      "a parameter lies outside");
        check_refusal((uint16_t)(TW_INTERP_LD_8 + k), 0, 6, false, NULL);
        check_refusal((uint16_t)(TW_INTERP_ST_8 + k), 0, 6, false, NULL);
        check_refusal((uint16_t)(TW_INTERP_LD_8 + k), 0, 7, false, "more elements");
        check_refusal((uint16_t)(TW_INTERP_ST_8 + k), 0, 7, false, "more elements");
    }
    for (uint64_t bytes = 0; bytes < 40; bytes++)
        check_refusal(TW_INTERP_CPASYNC, bytes, 3, false,
                      bytes == 4 || bytes == 8 || bytes == 16 ? NULL : "a copy has neither");
    check_refusal(TW_INTERP_PRINTF, 0, 3, true, NULL);
    check_refusal(TW_INTERP_PRINTF, 0, 3, false, "it prints, and its kernel does not");
}

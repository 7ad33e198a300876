// SPDX-License-Identifier: Apache-2.0
//
// Control flow of programs made by hand: which lanes go where, where they meet again, what ends a run. Values are looked up in
// the rows that a run leaves in frame->spill; programs that say they have barriers have a set of rows a warp.

#include "base/atomic.h"
#include "harness/test.h"
#include "maker.h"

// Confined: one launch. The spill is as large as a device makes it, and full of what another kernel left.
struct run {
    struct maker m;
    struct tw_interp_program *program;
    struct tw_kernel_frame frame;
    size_t spill_bytes;
};

static struct run *run_new(uint32_t flags) {
    struct run *run = calloc(1, sizeof *run);
    ck_assert_ptr_nonnull(run);
    maker_init(&run->m);
    run->m.flags = flags;
    return run;
}

static void run_free(struct run *run) {
    tw_interp_program_done(run->program);
    free(run->frame.spill);
    free(run);
}

static void load(struct run *run, uint32_t grid, uint32_t x, uint32_t y, uint32_t z) {
    uint32_t warps = (x * y * z + TW_INTERP_LANES - 1) / TW_INTERP_LANES;
    run->program = maker_load(&run->m);
    run->spill_bytes = (size_t)warps * (run->m.reg_bytes + 64);
    run->frame = (struct tw_kernel_frame){
        .program = run->program, .grid = {grid, 1, 1}, .block = {x, y, z}, .fault_site = 12'345};
    run->frame.spill = aligned_alloc(64, run->spill_bytes);
    ck_assert_ptr_nonnull(run->frame.spill);
    memset(run->frame.spill, 0xa5, run->spill_bytes);
}

static uint32_t go(struct run *run, uint32_t grid, uint32_t threads) {
    load(run, grid, threads, 1, 1);
    return tw_interp_run(&run->frame, 0, grid);
}

static uint32_t value(const struct run *run, uint32_t warp, uint32_t row, uint32_t lane) {
    uint32_t result;
    memcpy(&result, run->frame.spill + (size_t)warp * run->m.reg_bytes + row + lane * sizeof result,
           sizeof result);
    return result;
}

static uint32_t constant(struct run *run, uint32_t bits) {
    return maker_constant(&run->m, bits, 4);
}

// A register that begins as zero.
static uint32_t zero_row(struct run *run) {
    uint32_t row = maker_row(&run->m);
    run->m.zeros[run->m.zero_count++] = (struct tw_interp_zero){.row = row, .bytes = 128};
    return row;
}

// to += a in the lanes that are there.
static void add_here(struct run *run, uint32_t to, uint32_t a) {
    uint32_t sum = maker_row(&run->m);
    maker_add(&run->m, sum, to, a);
    MAKE(&run->m, TW_INTERP_BLEND_32, 0, to, sum);
}

static void set_here(struct run *run, uint32_t to, uint32_t from) {
    MAKE(&run->m, TW_INTERP_BLEND_32, 0, to, from);
}

// How often the block ran, in all lanes.
static uint32_t count_visits(struct run *run) {
    uint32_t visits = zero_row(run);
    maker_add(&run->m, visits, visits, constant(run, 1));
    return visits;
}

TW_TEST("lanes have their numbers in these tests") {
    struct run *run = run_new(0);
    maker_block(&run->m);
    uint32_t lane = maker_lanes(&run->m);
    MAKE(&run->m, TW_INTERP_END, 0);
    ck_assert_uint_eq(go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t i = 0; i < 32; i++)
        ck_assert_uint_eq(value(run, 0, lane, i), i);
    run_free(run);
}

// ---- blocks of all shapes ----

static void check_shape(uint32_t x, uint32_t y, uint32_t z) {
    struct run *run = run_new(TW_INTERP_BARRIERS);
    uint32_t threads = x * y * z, mark = zero_row(run);
    maker_block(&run->m);
    add_here(run, mark, constant(run, 3));
    MAKE(&run->m, TW_INTERP_END, 0);
    load(run, 1, x, y, z);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 0, 1), TW_KERNEL_OK);
    for (uint32_t i = 0; i < (threads + 31) / 32 * 32; i++)
        ck_assert_uint_eq(value(run, i / 32, mark, i % 32), i < threads ? 3 : 0);
    run_free(run);
}

TW_TEST("threads that a block has run, and lanes beyond the last one do not") {
    static const uint32_t shapes[][3] = {{1, 1, 1},  {31, 1, 1},  {32, 1, 1},   {33, 1, 1}, {64, 1, 1},
                                         {5, 7, 3},  {1, 1, 50},  {1000, 1, 1}, {2, 3, 64}, {1024, 1, 1},
                                         {1, 63, 1}, {16, 16, 4}, {8, 4, 1}};
    for (size_t i = 0; i < TW_COUNT(shapes); i++)
        check_shape(shapes[i][0], shapes[i][1], shapes[i][2]);
}

TW_TEST("rows are zero or constants when a run begins, and zeros again in each warp of each block") {
    struct run *run = run_new(0);
    uint32_t counter = zero_row(run), copy = maker_row(&run->m), never = maker_row(&run->m);
    uint32_t seven = constant(run, 7);
    maker_block(&run->m);
    maker_add(&run->m, counter, counter, seven); // reads what the warp before left, were it not cleared
    maker_add(&run->m, copy, counter, never);
    MAKE(&run->m, TW_INTERP_END, 0);
    ck_assert_uint_eq(go(run, 3, 100), TW_KERNEL_OK);
    for (uint32_t i = 0; i < 32; i++) {
        ck_assert_uint_eq(value(run, 0, counter, i), 7);
        ck_assert_uint_eq(value(run, 0, copy, i), 7);
        ck_assert_uint_eq(value(run, 0, never, i), 0);
    }
    memset(run->frame.spill, 0x5a, run->spill_bytes);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 0, 0), TW_KERNEL_OK); // no block at all
    run_free(run);
}

// ---- loops ----

// for (i = 0; i < lane; i++) for (j = 0; j < i; j++) sum += 1, as do-while loops behind a test.
static void make_nested(struct run *run, uint32_t *ret_sum, uint32_t *ret_visits) {
    struct maker *m = &run->m;
    uint32_t i = zero_row(run), j = zero_row(run), sum = zero_row(run), p = maker_row(m);
    uint32_t zero = constant(run, 0), one = constant(run, 1);
    enum { START, OUTER, INNER, NEXT, DONE, INNER_END = 50, OUTER_END = 60, DONE_PLACE = 70 };
    maker_block(m);
    uint32_t lane = maker_lanes(m);
    maker_less(m, p, zero, lane);
    MAKE(m, TW_INTERP_BRC, 0, p, OUTER, 10, DONE, DONE_PLACE);
    maker_block(m);
    set_here(run, j, zero);
    maker_less(m, p, zero, i);
    MAKE(m, TW_INTERP_BRC, 0, p, INNER, 20, NEXT, 55);
    maker_block(m);
    add_here(run, sum, one);
    add_here(run, j, one);
    maker_less(m, p, j, i);
    MAKE(m, TW_INTERP_BRC, 2, p, INNER, INNER_END, NEXT, 55);
    maker_block(m);
    ret_visits[0] = count_visits(run);
    add_here(run, i, one);
    maker_less(m, p, i, lane);
    MAKE(m, TW_INTERP_BRC, 2, p, OUTER, OUTER_END, DONE, DONE_PLACE);
    maker_block(m);
    ret_visits[1] = count_visits(run);
    MAKE(m, TW_INTERP_END, 0);
    *ret_sum = sum;
}

TW_TEST("lanes that leave nested loops at different times compute what they would alone, and meet again") {
    struct run *run = run_new(0);
    uint32_t sum, visits[2];
    make_nested(run, &sum, visits);
    ck_assert_uint_eq(go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t want = 0;
        for (uint32_t i = 0; i < lane; i++)
            want += i;
        ck_assert_uint_eq(value(run, 0, sum, lane), want);
        ck_assert_uint_eq(value(run, 0, visits[0], lane), 31); // once a round of the longest lane's
        ck_assert_uint_eq(value(run, 0, visits[1], lane), 1);
    }
    run_free(run);
}

TW_TEST("a condition that holds in no lane, in all, or not (negated) goes one way") {
    for (unsigned negated = 0; negated < 2; negated++)
        for (unsigned holds = 0; holds < 3; holds++) { // in none, in all, in the even lanes
            struct run *run = run_new(0);
            uint32_t yes = zero_row(run), no = zero_row(run), one = constant(run, 1);
            uint32_t p = holds == 2 ? maker_bit(&run->m, 0) : maker_constant(&run->m, holds ? 0xff : 0, 1);
            maker_block(&run->m);
            MAKE(&run->m, TW_INTERP_BRC, negated, p, 1, 2, 2, 3);
            maker_block(&run->m);
            add_here(run, yes, one);
            MAKE(&run->m, TW_INTERP_BR, 0, 3, 4);
            maker_block(&run->m);
            add_here(run, no, one);
            MAKE(&run->m, TW_INTERP_BR, 0, 3, 4);
            maker_block(&run->m);
            uint32_t visits = count_visits(run);
            MAKE(&run->m, TW_INTERP_END, 0);
            ck_assert_uint_eq(go(run, 1, 27), TW_KERNEL_OK);
            for (uint32_t lane = 0; lane < 32; lane++) {
                bool is_yes = (holds == 2 ? lane % 2 : holds) != negated, is_there = lane < 27;
                ck_assert_uint_eq(value(run, 0, yes, lane), is_there && is_yes);
                ck_assert_uint_eq(value(run, 0, no, lane), is_there && !is_yes);
                ck_assert_uint_eq(value(run, 0, visits, lane), 1);
            }
            run_free(run);
        }
}

// ---- switches ----

// Lane's index is lane + `shift`; target k adds k + 100.
static void check_switch(uint32_t targets, uint32_t shift) {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    uint32_t operands[3 + 2 * 40], mark = zero_row(run), index = maker_row(m);
    maker_block(m);
    maker_add(m, index, maker_lanes(m), constant(run, shift));
    operands[1] = index;
    operands[2] = targets;
    for (uint32_t k = 0; k < targets; k++) {
        operands[3 + 2 * k] = k + 1;
        operands[4 + 2 * k] = k + 1;
    }
    maker_inst(m, TW_INTERP_BRX, 0, operands, 3 + 2 * (size_t)targets);
    for (uint32_t k = 0; k < targets; k++) {
        maker_block(m);
        add_here(run, mark, constant(run, k + 100));
        MAKE(m, TW_INTERP_BR, 0, targets + 1, targets + 1);
    }
    maker_block(m);
    uint32_t visits = count_visits(run);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t want = lane + shift;
        ck_assert_uint_eq(value(run, 0, mark, lane), 100 + (want < targets ? want : targets - 1));
        ck_assert_uint_eq(value(run, 0, visits, lane), 1);
    }
    run_free(run);
}

TW_TEST("a switch sends each lane to its target, those beyond the last to the last") {
    check_switch(1, 0);
    check_switch(2, 0);
    check_switch(40, 0);
    check_switch(40, 7);
    check_switch(20, 0);
    check_switch(8, UINT32_MAX - 3); // four lanes far beyond, then 0, 1, …
}

TW_TEST("all 32 lanes may wait at places of their own, and come back from the lowest to the highest") {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    uint32_t operands[3 + 2 * 32], order = maker_row(m), seen = zero_row(run), one = constant(run, 1);
    maker_block(m);
    uint32_t lane = maker_lanes(m);
    operands[1] = lane;
    operands[2] = 32;
    for (uint32_t k = 0; k < 32; k++) { // places fall as lanes rise; each target ends its lane
        operands[3 + 2 * k] = 1;
        operands[4 + 2 * k] = 100 - k;
    }
    maker_inst(m, TW_INTERP_BRX, 0, operands, TW_COUNT(operands));
    maker_block(m);
    set_here(run, order, seen);
    maker_add(m, seen, seen, one);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t i = 0; i < 32; i++)
        ck_assert_uint_eq(value(run, 0, order, i), 31 - i);
    run_free(run);
}

// ---- guards and ends ----

TW_TEST("a guard keeps other lanes' values, and skips its instructions where no lane passes it") {
    for (unsigned negated = 0; negated < 2; negated++) {
        struct run *run = run_new(0);
        struct maker *m = &run->m;
        uint32_t some = zero_row(run), never = zero_row(run), skipped = zero_row(run), all = zero_row(run);
        uint32_t one = constant(run, 1), sum = maker_row(m);
        uint32_t nobody = maker_constant(m, negated ? 0xff : 0, 1), even = maker_bit(m, 0);
        maker_block(m);
        MAKE(m, TW_INTERP_GUARD, 2 << 1 | negated, even);
        maker_add(m, sum, some, one);
        MAKE(m, TW_INTERP_BLEND_32, 0, some, sum);
        MAKE(m, TW_INTERP_UNGUARD, 0);
        MAKE(m, TW_INTERP_GUARD, negated, nobody); // skips nothing, and changes nothing
        set_here(run, never, one);
        MAKE(m, TW_INTERP_UNGUARD, 0);
        MAKE(m, TW_INTERP_GUARD, 1 << 1 | negated, nobody);
        maker_add(m, skipped, skipped, one); // it looks at no mask
        MAKE(m, TW_INTERP_UNGUARD, 0);
        set_here(run, all, one);
        MAKE(m, TW_INTERP_END, 0);
        ck_assert_uint_eq(go(run, 1, 20), TW_KERNEL_OK);
        for (uint32_t lane = 0; lane < 32; lane++) {
            ck_assert_uint_eq(value(run, 0, some, lane), lane < 20 && lane % 2 != negated);
            ck_assert_uint_eq(value(run, 0, never, lane), 0);
            ck_assert_uint_eq(value(run, 0, skipped, lane), 0);
            ck_assert_uint_eq(value(run, 0, all, lane), lane < 20);
        }
        run_free(run);
    }
}

TW_TEST("every width is blended, in lanes that take part alone") {
    static const struct {
        uint16_t op;
        uint32_t bytes;
    } ops[] = {{TW_INTERP_BLEND_P, 1},  {TW_INTERP_BLEND_8, 1},  {TW_INTERP_BLEND_16, 2},
               {TW_INTERP_BLEND_32, 4}, {TW_INTERP_BLEND_64, 8}, {TW_INTERP_BLEND_128, 16}};
    for (size_t k = 0; k < TW_COUNT(ops); k++) {
        struct run *run = run_new(0);
        uint32_t to = maker_constant(&run->m, 0x1122334455667788, 8);
        uint32_t from = maker_constant(&run->m, 0xaabbccddeeff0102, 8);
        maker_block(&run->m);
        MAKE(&run->m, TW_INTERP_GUARD, 0, maker_bit(&run->m, 1));
        MAKE(&run->m, ops[k].op, 0, to, from);
        MAKE(&run->m, TW_INTERP_UNGUARD, 0);
        MAKE(&run->m, TW_INTERP_END, 0);
        ck_assert_uint_eq(go(run, 1, 23), TW_KERNEL_OK);
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t lane = i / ops[k].bytes;
            uint64_t want = lane < 23 && lane & 2 ? 0xaabbccddeeff0102 : 0x1122334455667788;
            if (ops[k].bytes == 16 && i >= 256)
                break;
            ck_assert_uint_eq(run->frame.spill[to + i], (uint8_t)(want >> i % 8 * 8));
        }
        run_free(run);
    }
}

TW_TEST("threads may end early: the others go on without them") {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    uint32_t mark = zero_row(run), p = maker_row(m), one = constant(run, 1);
    maker_block(m);
    maker_less(m, p, maker_lanes(m), constant(run, 10));
    MAKE(m, TW_INTERP_BRC, 0, p, 1, 1, 2, 0); // the others' place is the lowest: they end first
    maker_block(m);
    add_here(run, mark, one);
    MAKE(m, TW_INTERP_BR, 0, 2, 2);
    maker_block(m);
    uint32_t visits = count_visits(run);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t lane = 0; lane < 32; lane++) {
        ck_assert_uint_eq(value(run, 0, mark, lane), lane < 10);
        ck_assert_uint_eq(value(run, 0, visits, lane), 2);
    }
    run_free(run);
}

// ---- traps ----

TW_TEST("a trap ends the launch with its line, and only where a lane comes to it") {
    for (unsigned lanes = 3; lanes <= 4; lanes++) {
        struct run *run = run_new(0);
        struct maker *m = &run->m;
        uint32_t before = zero_row(run), behind = zero_row(run), p = maker_row(m), one = constant(run, 1);
        maker_block(m);
        maker_less(m, p, constant(run, 2), maker_lanes(m));
        add_here(run, before, one);
        MAKE(m, TW_INTERP_GUARD, 1 << 1, p);
        MAKE(m, TW_INTERP_TRAP, 77);
        MAKE(m, TW_INTERP_UNGUARD, 0);
        add_here(run, behind, one);
        MAKE(m, TW_INTERP_END, 0);
        load(run, 5, lanes, 1, 1);
        bool traps = lanes == 4;
        ck_assert_uint_eq(tw_interp_run(&run->frame, 2, 2), traps ? TW_KERNEL_TRAP : TW_KERNEL_OK);
        ck_assert_uint_eq(run->frame.fault_site, traps ? 77 : 12'345);
        ck_assert_uint_eq(value(run, 0, before, 0), 1);
        ck_assert_uint_eq(value(run, 0, behind, 0), !traps);
        run_free(run);
    }
}

TW_TEST("a trap in one warp keeps the warps behind it from running") {
    struct run *run = run_new(TW_INTERP_BARRIERS);
    uint32_t mark = zero_row(run);
    maker_block(&run->m);
    add_here(run, mark, constant(run, 1));
    MAKE(&run->m, TW_INTERP_TRAP, 5);
    MAKE(&run->m, TW_INTERP_END, 0);
    ck_assert_uint_eq(go(run, 2, 96), TW_KERNEL_TRAP);
    ck_assert_uint_eq(run->frame.fault_site, 5);
    for (uint32_t w = 0; w < 3; w++)
        ck_assert_uint_eq(value(run, w, mark, 0), w == 0);
    run_free(run);
}

// ---- barriers ----

TW_TEST("warps pass barriers in a loop as often as it goes round, with their rows kept") {
    static const uint32_t threads[] = {1, 32, 33, 200, 1024};
    for (size_t t = 0; t < TW_COUNT(threads); t++) {
        struct run *run = run_new(TW_INTERP_BARRIERS);
        struct maker *m = &run->m;
        uint32_t i = zero_row(run), sum = zero_row(run), p = maker_row(m), one = constant(run, 1);
        maker_block(m);
        uint32_t lane = maker_lanes(m);
        MAKE(m, TW_INTERP_BR, 0, 1, 1);
        maker_block(m);
        add_here(run, sum, lane);
        MAKE(m, TW_INTERP_BARRIER, 4, 2);
        maker_block(m);
        add_here(run, i, one);
        maker_less(m, p, i, constant(run, 6));
        MAKE(m, TW_INTERP_BRC, 2, p, 1, 3, 3, 4);
        maker_block(m);
        MAKE(m, TW_INTERP_END, 0);
        ck_assert_uint_eq(go(run, 2, threads[t]), TW_KERNEL_OK);
        for (uint32_t n = 0; n < threads[t]; n++) {
            ck_assert_uint_eq(value(run, n / 32, i, n % 32), 6);
            ck_assert_uint_eq(value(run, n / 32, sum, n % 32), 6 * (n % 32));
        }
        run_free(run);
    }
}

TW_TEST("lanes and warps that have ended hold nobody up at a barrier") {
    struct run *run = run_new(TW_INTERP_BARRIERS);
    struct maker *m = &run->m;
    uint32_t mark = zero_row(run), p = maker_row(m);
    maker_block(m);
    maker_less(m, p, constant(run, 7), maker_lanes(m));
    MAKE(m, TW_INTERP_BRC, 0, p, 1, 1, 3, 0);
    maker_block(m);
    MAKE(m, TW_INTERP_BARRIER, 4, 2);
    maker_block(m);
    add_here(run, mark, constant(run, 1));
    MAKE(m, TW_INTERP_BR, 0, 3, 3);
    maker_block(m);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(go(run, 2, 70), TW_KERNEL_OK); // the last warp has 6 lanes: none gets to the barrier
    for (uint32_t n = 0; n < 96; n++)
        ck_assert_uint_eq(value(run, n / 32, mark, n % 32), n < 64 && n % 32 > 7);
    run_free(run);
}

TW_TEST("a warp whose lanes come to a barrier apart is a deadlock, told with the barrier's line") {
    for (uint32_t threads = 16; threads <= 48; threads += 16) {
        struct run *run = run_new(TW_INTERP_BARRIERS);
        struct maker *m = &run->m;
        uint32_t behind = zero_row(run), p = maker_row(m);
        maker_block(m);
        maker_less(m, p, constant(run, 20), maker_lanes(m));
        MAKE(m, TW_INTERP_BRC, 0, p, 2, 2, 1, 1);
        maker_block(m);
        MAKE(m, TW_INTERP_BARRIER, 31, 2);
        maker_block(m);
        add_here(run, behind, constant(run, 1));
        MAKE(m, TW_INTERP_END, 0);
        bool apart = threads > 16;
        ck_assert_uint_eq(go(run, 1, threads), apart ? TW_KERNEL_DEADLOCK : TW_KERNEL_OK);
        ck_assert_uint_eq(run->frame.fault_site, apart ? 31 : 12'345);
        ck_assert_uint_eq(value(run, 0, behind, 3), !apart);
        run_free(run);
    }
}

// ---- better code ----

// frame->better lies in a row: the program raises it itself, in the middle of a block.
static struct tw_flag *flag_in_row(struct run *run, uint32_t row) {
    return (struct tw_flag *)(void *)(run->frame.spill + row);
}

TW_TEST("better code that is there before a block begins takes that block") {
    struct run *run = run_new(0);
    struct tw_flag flag = {};
    maker_block(&run->m);
    MAKE(&run->m, TW_INTERP_END, 0);
    load(run, 9, 64, 1, 1);
    run->frame.better = &flag;
    ck_assert_uint_eq(tw_interp_run(&run->frame, 4, 3), TW_KERNEL_OK);
    tw_flag_raise(&flag);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 4, 3), TW_KERNEL_AGAIN);
    ck_assert_uint_eq(run->frame.again, 4);
    run_free(run);
}

TW_TEST("better code that comes while a block runs takes the next one, not what the block has done") {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    uint32_t flag = maker_row(m), one = constant(run, 1), mark = maker_row(m);
    maker_block(m);
    maker_add(m, mark, mark, one); // of all warps
    maker_move(m, flag, one);
    MAKE(m, TW_INTERP_END, 0);
    load(run, 9, 64, 1, 1);
    run->frame.better = flag_in_row(run, flag);
    memset(run->frame.spill, 0, run->spill_bytes);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 2, 7), TW_KERNEL_AGAIN);
    ck_assert_uint_eq(run->frame.again, 3);
    ck_assert_uint_eq(value(run, 0, mark, 0), 2);
    memset(run->frame.spill, 0, run->spill_bytes);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 8, 1), TW_KERNEL_OK); // the last one: nothing is left
    run_free(run);
}

// An endless loop by BR or BRC; `imm` says whether its branch goes back.
static void make_endless(struct run *run, bool conditional, uint32_t *ret_flag) {
    struct maker *m = &run->m;
    uint32_t always = maker_constant(m, 0xff, 1), one = constant(run, 1);
    *ret_flag = maker_row(m);
    maker_block(m);
    maker_move(m, *ret_flag, one);
    MAKE(m, TW_INTERP_BR, 0, 1, 1);
    maker_block(m);
    if (conditional)
        MAKE(m, TW_INTERP_BRC, 2, always, 1, 2, 2, 3);
    else
        MAKE(m, TW_INTERP_BR, 2, 1, 2);
    maker_block(m);
    MAKE(m, TW_INTERP_END, 0);
}

TW_TEST("better code takes a block over from within a loop when the block has stored nothing") {
    for (unsigned conditional = 0; conditional < 2; conditional++) {
        struct run *run = run_new(0);
        uint32_t flag;
        make_endless(run, conditional, &flag);
        load(run, 9, 40, 1, 1);
        run->frame.better = flag_in_row(run, flag);
        memset(run->frame.spill, 0, run->spill_bytes);
        ck_assert_uint_eq(tw_interp_run(&run->frame, 6, 2), TW_KERNEL_AGAIN);
        ck_assert_uint_eq(run->frame.again, 6);
        run_free(run);
    }
}

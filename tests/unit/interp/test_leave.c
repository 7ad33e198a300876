// SPDX-License-Identifier: Apache-2.0
//
// What ends a run, or a round of it, before the end of its threads: traps, barriers, better code.

#include "base/atomic.h"
#include "harness/test.h"
#include "launch.h"

// ---- traps ----

TW_TEST("a trap ends the launch with its line, and only where a lane comes to it") {
    for (unsigned lanes = 3; lanes <= 4; lanes++) {
        struct run *run = run_new(0);
        struct maker *m = &run->m;
        uint32_t before = run_zero(run), behind = run_zero(run), p = maker_row(m), one = run_constant(run, 1);
        maker_block(m);
        maker_less(m, p, run_constant(run, 2), maker_lanes(m));
        run_add(run, before, one);
        MAKE(m, TW_INTERP_GUARD, 1 << 1, p);
        MAKE(m, TW_INTERP_TRAP, 77);
        MAKE(m, TW_INTERP_UNGUARD, 0);
        run_add(run, behind, one);
        MAKE(m, TW_INTERP_END, 0);
        run_load(run, 5, lanes, 1, 1);
        bool traps = lanes == 4;
        ck_assert_uint_eq(tw_interp_run(&run->frame, 2, 2), traps ? TW_KERNEL_TRAP : TW_KERNEL_OK);
        ck_assert_uint_eq(run->frame.fault_site, traps ? 77 : 12'345);
        ck_assert_uint_eq(run_value(run, 0, before, 0), 1);
        ck_assert_uint_eq(run_value(run, 0, behind, 0), !traps);
        run_free(run);
    }
}

TW_TEST("a trap in one warp keeps the warps behind it from running") {
    struct run *run = run_new(TW_INTERP_BARRIERS);
    uint32_t mark = run_zero(run);
    maker_block(&run->m);
    run_add(run, mark, run_constant(run, 1));
    MAKE(&run->m, TW_INTERP_TRAP, 5);
    MAKE(&run->m, TW_INTERP_END, 0);
    ck_assert_uint_eq(run_go(run, 2, 96), TW_KERNEL_TRAP);
    ck_assert_uint_eq(run->frame.fault_site, 5);
    for (uint32_t w = 0; w < 3; w++)
        ck_assert_uint_eq(run_value(run, w, mark, 0), w == 0);
    run_free(run);
}

// ---- barriers ----

TW_TEST("warps pass barriers in a loop as often as it goes round, with their rows kept") {
    static const uint32_t threads[] = {1, 32, 33, 200, 1024};
    for (size_t t = 0; t < TW_COUNT(threads); t++) {
        struct run *run = run_new(TW_INTERP_BARRIERS);
        struct maker *m = &run->m;
        uint32_t i = run_zero(run), sum = run_zero(run), p = maker_row(m), one = run_constant(run, 1);
        maker_block(m);
        uint32_t lane = maker_lanes(m);
        MAKE(m, TW_INTERP_BR, 0, 1, 1);
        maker_block(m);
        run_add(run, sum, lane);
        MAKE(m, TW_INTERP_BARRIER, 4, 2);
        maker_block(m);
        run_add(run, i, one);
        maker_less(m, p, i, run_constant(run, 6));
        MAKE(m, TW_INTERP_BRC, 2, p, 1, 3, 3, 4);
        maker_block(m);
        MAKE(m, TW_INTERP_END, 0);
        ck_assert_uint_eq(run_go(run, 2, threads[t]), TW_KERNEL_OK);
        for (uint32_t n = 0; n < threads[t]; n++) {
            ck_assert_uint_eq(run_value(run, n / 32, i, n % 32), 6);
            ck_assert_uint_eq(run_value(run, n / 32, sum, n % 32), 6 * (n % 32));
        }
        run_free(run);
    }
}

TW_TEST("lanes and warps that have ended hold nobody up at a barrier") {
    struct run *run = run_new(TW_INTERP_BARRIERS);
    struct maker *m = &run->m;
    uint32_t mark = run_zero(run), p = maker_row(m);
    maker_block(m);
    maker_less(m, p, run_constant(run, 7), maker_lanes(m));
    MAKE(m, TW_INTERP_BRC, 0, p, 1, 1, 3, 0);
    maker_block(m);
    MAKE(m, TW_INTERP_BARRIER, 4, 2);
    maker_block(m);
    run_add(run, mark, run_constant(run, 1));
    MAKE(m, TW_INTERP_BR, 0, 3, 3);
    maker_block(m);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(run_go(run, 2, 70),
                      TW_KERNEL_OK); // the last warp has 6 lanes: none gets to the barrier
    for (uint32_t n = 0; n < 96; n++)
        ck_assert_uint_eq(run_value(run, n / 32, mark, n % 32), n < 64 && n % 32 > 7);
    run_free(run);
}

TW_TEST("a warp whose lanes come to a barrier apart is a deadlock, told with the barrier's line") {
    for (uint32_t threads = 16; threads <= 48; threads += 16) {
        struct run *run = run_new(TW_INTERP_BARRIERS);
        struct maker *m = &run->m;
        uint32_t behind = run_zero(run), p = maker_row(m);
        maker_block(m);
        maker_less(m, p, run_constant(run, 20), maker_lanes(m));
        MAKE(m, TW_INTERP_BRC, 0, p, 2, 2, 1, 1);
        maker_block(m);
        MAKE(m, TW_INTERP_BARRIER, 31, 2);
        maker_block(m);
        run_add(run, behind, run_constant(run, 1));
        MAKE(m, TW_INTERP_END, 0);
        bool apart = threads > 16;
        ck_assert_uint_eq(run_go(run, 1, threads), apart ? TW_KERNEL_DEADLOCK : TW_KERNEL_OK);
        ck_assert_uint_eq(run->frame.fault_site, apart ? 31 : 12'345);
        ck_assert_uint_eq(run_value(run, 0, behind, 3), !apart);
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
    run_load(run, 9, 64, 1, 1);
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
    uint32_t flag = maker_row(m), one = run_constant(run, 1), mark = maker_row(m);
    maker_block(m);
    maker_add(m, mark, mark, one); // of all warps
    maker_move(m, flag, one);
    MAKE(m, TW_INTERP_END, 0);
    run_load(run, 9, 64, 1, 1);
    run->frame.better = flag_in_row(run, flag);
    memset(run->frame.spill, 0, run->spill_bytes);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 2, 7), TW_KERNEL_AGAIN);
    ck_assert_uint_eq(run->frame.again, 3);
    ck_assert_uint_eq(run_value(run, 0, mark, 0), 2);
    memset(run->frame.spill, 0, run->spill_bytes);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 8, 1), TW_KERNEL_OK); // the last one: nothing is left
    run_free(run);
}

// An endless loop by BR or BRC; `imm` says whether its branch goes back.
static void make_endless(struct run *run, bool conditional, uint32_t *ret_flag) {
    struct maker *m = &run->m;
    uint32_t always = maker_constant(m, 0xff, 1), one = run_constant(run, 1);
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
        run_load(run, 9, 40, 1, 1);
        run->frame.better = flag_in_row(run, flag);
        memset(run->frame.spill, 0, run->spill_bytes);
        ck_assert_uint_eq(tw_interp_run(&run->frame, 6, 2), TW_KERNEL_AGAIN);
        ck_assert_uint_eq(run->frame.again, 6);
        run_free(run);
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// Control flow of programs made by hand: which lanes go where, where they meet again. Values are looked up in
// the rows that a run leaves in frame->spill.

#include "harness/test.h"
#include "launch.h"

TW_TEST("lanes have their numbers in these tests") {
    struct run *run = run_new(0);
    maker_block(&run->m);
    uint32_t lane = maker_lanes(&run->m);
    MAKE(&run->m, TW_INTERP_END, 0);
    ck_assert_uint_eq(run_go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t i = 0; i < 32; i++)
        ck_assert_uint_eq(run_value(run, 0, lane, i), i);
    run_free(run);
}

// ---- blocks of all shapes ----

static void check_shape(uint32_t x, uint32_t y, uint32_t z) {
    struct run *run = run_new(TW_INTERP_BARRIERS);
    uint32_t threads = x * y * z, mark = run_zero(run);
    maker_block(&run->m);
    run_add(run, mark, run_constant(run, 3));
    MAKE(&run->m, TW_INTERP_END, 0);
    run_load(run, 1, x, y, z);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 0, 1), TW_KERNEL_OK);
    for (uint32_t i = 0; i < (threads + 31) / 32 * 32; i++)
        ck_assert_uint_eq(run_value(run, i / 32, mark, i % 32), i < threads ? 3 : 0);
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
    uint32_t counter = run_zero(run), copy = maker_row(&run->m), never = maker_row(&run->m);
    uint32_t seven = run_constant(run, 7);
    maker_block(&run->m);
    maker_add(&run->m, counter, counter, seven); // reads what the warp before left, were it not cleared
    maker_add(&run->m, copy, counter, never);
    MAKE(&run->m, TW_INTERP_END, 0);
    ck_assert_uint_eq(run_go(run, 3, 100), TW_KERNEL_OK);
    for (uint32_t i = 0; i < 32; i++) {
        ck_assert_uint_eq(run_value(run, 0, counter, i), 7);
        ck_assert_uint_eq(run_value(run, 0, copy, i), 7);
        ck_assert_uint_eq(run_value(run, 0, never, i), 0);
    }
    memset(run->frame.spill, 0x5a, run->spill_bytes);
    ck_assert_uint_eq(tw_interp_run(&run->frame, 0, 0), TW_KERNEL_OK); // no block at all
    run_free(run);
}

// ---- loops ----

// for (i = 0; i < lane; i++) for (j = 0; j < i; j++) sum += 1, as do-while loops behind a test.
static void make_nested(struct run *run, uint32_t *ret_sum, uint32_t *ret_visits) {
    struct maker *m = &run->m;
    uint32_t i = run_zero(run), j = run_zero(run), sum = run_zero(run), p = maker_row(m);
    uint32_t zero = run_constant(run, 0), one = run_constant(run, 1);
    enum { START, OUTER, INNER, NEXT, DONE, INNER_END = 50, OUTER_END = 60, DONE_PLACE = 70 };
    maker_block(m);
    uint32_t lane = maker_lanes(m);
    maker_less(m, p, zero, lane);
    MAKE(m, TW_INTERP_BRC, 0, p, OUTER, 10, DONE, DONE_PLACE);
    maker_block(m);
    run_set(run, j, zero);
    maker_less(m, p, zero, i);
    MAKE(m, TW_INTERP_BRC, 0, p, INNER, 20, NEXT, 55);
    maker_block(m);
    run_add(run, sum, one);
    run_add(run, j, one);
    maker_less(m, p, j, i);
    MAKE(m, TW_INTERP_BRC, 2, p, INNER, INNER_END, NEXT, 55);
    maker_block(m);
    ret_visits[0] = run_count_visits(run);
    run_add(run, i, one);
    maker_less(m, p, i, lane);
    MAKE(m, TW_INTERP_BRC, 2, p, OUTER, OUTER_END, DONE, DONE_PLACE);
    maker_block(m);
    ret_visits[1] = run_count_visits(run);
    MAKE(m, TW_INTERP_END, 0);
    *ret_sum = sum;
}

TW_TEST("lanes that leave nested loops at different times compute what they would alone, and meet again") {
    struct run *run = run_new(0);
    uint32_t sum, visits[2];
    make_nested(run, &sum, visits);
    ck_assert_uint_eq(run_go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t want = 0;
        for (uint32_t i = 0; i < lane; i++)
            want += i;
        ck_assert_uint_eq(run_value(run, 0, sum, lane), want);
        ck_assert_uint_eq(run_value(run, 0, visits[0], lane), 31); // once a round of the longest lane's
        ck_assert_uint_eq(run_value(run, 0, visits[1], lane), 1);
    }
    run_free(run);
}

TW_TEST("a condition that holds in no lane, in all, or not (negated) goes one way") {
    for (unsigned negated = 0; negated < 2; negated++)
        for (unsigned holds = 0; holds < 3; holds++) { // in none, in all, in the even lanes
            struct run *run = run_new(0);
            uint32_t yes = run_zero(run), no = run_zero(run), one = run_constant(run, 1);
            uint32_t p = holds == 2 ? maker_bit(&run->m, 0) : maker_constant(&run->m, holds ? 0xff : 0, 1);
            maker_block(&run->m);
            MAKE(&run->m, TW_INTERP_BRC, negated, p, 1, 2, 2, 3);
            maker_block(&run->m);
            run_add(run, yes, one);
            MAKE(&run->m, TW_INTERP_BR, 0, 3, 4);
            maker_block(&run->m);
            run_add(run, no, one);
            MAKE(&run->m, TW_INTERP_BR, 0, 3, 4);
            maker_block(&run->m);
            uint32_t visits = run_count_visits(run);
            MAKE(&run->m, TW_INTERP_END, 0);
            ck_assert_uint_eq(run_go(run, 1, 27), TW_KERNEL_OK);
            for (uint32_t lane = 0; lane < 32; lane++) {
                bool is_yes = (holds == 2 ? lane % 2 : holds) != negated, is_there = lane < 27;
                ck_assert_uint_eq(run_value(run, 0, yes, lane), is_there && is_yes);
                ck_assert_uint_eq(run_value(run, 0, no, lane), is_there && !is_yes);
                ck_assert_uint_eq(run_value(run, 0, visits, lane), 1);
            }
            run_free(run);
        }
}

// ---- switches ----

// Lane's index is lane + `shift`; target k adds k + 100.
static void check_switch(uint32_t targets, uint32_t shift) {
    struct run *run = run_new(0);
    struct maker *m = &run->m;
    uint32_t operands[3 + 2 * 40], mark = run_zero(run), index = maker_row(m);
    maker_block(m);
    maker_add(m, index, maker_lanes(m), run_constant(run, shift));
    operands[1] = index;
    operands[2] = targets;
    for (uint32_t k = 0; k < targets; k++) {
        operands[3 + 2 * k] = k + 1;
        operands[4 + 2 * k] = k + 1;
    }
    maker_inst(m, TW_INTERP_BRX, 0, operands, 3 + 2 * (size_t)targets);
    for (uint32_t k = 0; k < targets; k++) {
        maker_block(m);
        run_add(run, mark, run_constant(run, k + 100));
        MAKE(m, TW_INTERP_BR, 0, targets + 1, targets + 1);
    }
    maker_block(m);
    uint32_t visits = run_count_visits(run);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(run_go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t want = lane + shift;
        ck_assert_uint_eq(run_value(run, 0, mark, lane), 100 + (want < targets ? want : targets - 1));
        ck_assert_uint_eq(run_value(run, 0, visits, lane), 1);
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
    uint32_t operands[3 + 2 * 32], order = maker_row(m), seen = run_zero(run), one = run_constant(run, 1);
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
    run_set(run, order, seen);
    maker_add(m, seen, seen, one);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(run_go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t i = 0; i < 32; i++)
        ck_assert_uint_eq(run_value(run, 0, order, i), 31 - i);
    run_free(run);
}

// ---- guards and ends ----

TW_TEST("a guard keeps other lanes' values, and skips its instructions where no lane passes it") {
    for (unsigned negated = 0; negated < 2; negated++) {
        struct run *run = run_new(0);
        struct maker *m = &run->m;
        uint32_t some = run_zero(run), never = run_zero(run), skipped = run_zero(run), all = run_zero(run);
        uint32_t one = run_constant(run, 1), sum = maker_row(m);
        uint32_t nobody = maker_constant(m, negated ? 0xff : 0, 1), even = maker_bit(m, 0);
        maker_block(m);
        MAKE(m, TW_INTERP_GUARD, 2 << 1 | negated, even);
        maker_add(m, sum, some, one);
        MAKE(m, TW_INTERP_BLEND_32, 0, some, sum);
        MAKE(m, TW_INTERP_UNGUARD, 0);
        MAKE(m, TW_INTERP_GUARD, negated, nobody); // skips nothing, and changes nothing
        run_set(run, never, one);
        MAKE(m, TW_INTERP_UNGUARD, 0);
        MAKE(m, TW_INTERP_GUARD, 1 << 1 | negated, nobody);
        maker_add(m, skipped, skipped, one); // it looks at no mask
        MAKE(m, TW_INTERP_UNGUARD, 0);
        run_set(run, all, one);
        MAKE(m, TW_INTERP_END, 0);
        ck_assert_uint_eq(run_go(run, 1, 20), TW_KERNEL_OK);
        for (uint32_t lane = 0; lane < 32; lane++) {
            ck_assert_uint_eq(run_value(run, 0, some, lane), lane < 20 && lane % 2 != negated);
            ck_assert_uint_eq(run_value(run, 0, never, lane), 0);
            ck_assert_uint_eq(run_value(run, 0, skipped, lane), 0);
            ck_assert_uint_eq(run_value(run, 0, all, lane), lane < 20);
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
        ck_assert_uint_eq(run_go(run, 1, 23), TW_KERNEL_OK);
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
    uint32_t mark = run_zero(run), p = maker_row(m), one = run_constant(run, 1);
    maker_block(m);
    maker_less(m, p, maker_lanes(m), run_constant(run, 10));
    MAKE(m, TW_INTERP_BRC, 0, p, 1, 1, 2, 0); // the others' place is the lowest: they end first
    maker_block(m);
    run_add(run, mark, one);
    MAKE(m, TW_INTERP_BR, 0, 2, 2);
    maker_block(m);
    uint32_t visits = run_count_visits(run);
    MAKE(m, TW_INTERP_END, 0);
    ck_assert_uint_eq(run_go(run, 1, 32), TW_KERNEL_OK);
    for (uint32_t lane = 0; lane < 32; lane++) {
        ck_assert_uint_eq(run_value(run, 0, mark, lane), lane < 10);
        ck_assert_uint_eq(run_value(run, 0, visits, lane), 2);
    }
    run_free(run);
}

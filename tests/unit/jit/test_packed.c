// SPDX-License-Identifier: Apache-2.0
//
// Instructions on packed bytes and halfwords, and fns, against plain C.

#include "harness/test.h"

#include "op_test.h"

static int64_t lane(uint64_t word, unsigned index, unsigned width, bool is_signed) {
    uint64_t v = word >> index * width & ((1u << width) - 1);
    return is_signed && v >> (width - 1) ? (int64_t)v - (1 << width) : (int64_t)v;
}

static uint64_t put(unsigned index, unsigned width, int64_t value) {
    return ((uint64_t)value & ((1u << width) - 1)) << index * width;
}

static int64_t between(int64_t low, int64_t value, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

static uint64_t want_vadd4(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    uint64_t d = 0;
    for (unsigned i = 0; i < 4; i++)
        d |= put(i, 8, lane(a, i, 8, false) + lane(b, i, 8, false));
    return d;
}
static uint64_t want_vadd4_sat(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    uint64_t d = 0;
    for (unsigned i = 0; i < 4; i++)
        d |= put(i, 8, between(-128, lane(a, i, 8, true) + lane(b, i, 8, true), 127));
    return d;
}
static uint64_t want_vsub2_sat(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    uint64_t d = 0;
    for (unsigned i = 0; i < 2; i++)
        d |= put(i, 16, between(0, lane(a, i, 16, false) - lane(b, i, 16, true), 65535));
    return d;
}
static uint64_t want_vabsdiff4_add(uint64_t a, uint64_t b, uint64_t c) {
    for (unsigned i = 0; i < 4; i++)
        c += (uint64_t)llabs(lane(a, i, 8, false) - lane(b, i, 8, false));
    return (uint32_t)c;
}
static uint64_t want_vavrg4(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    uint64_t d = 0;
    for (unsigned i = 0; i < 4; i++)
        d |= put(i, 8, (lane(a, i, 8, false) + lane(b, i, 8, false) + 1) / 2);
    return d;
}
static uint64_t want_vmin2(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    uint64_t d = 0;
    for (unsigned i = 0; i < 2; i++) {
        int64_t x = lane(a, i, 16, true), y = lane(b, i, 16, true);
        d |= put(i, 16, x < y ? x : y);
    }
    return d;
}
static uint64_t want_vset4(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    uint64_t d = 0;
    for (unsigned i = 0; i < 4; i++)
        d |= put(i, 8, lane(a, i, 8, false) > lane(b, i, 8, false));
    return d;
}

// The manual's loop.
static uint64_t want_fns(uint64_t mask, uint64_t b, uint64_t c) {
    int32_t base = (int32_t)(b & 31), n = (int32_t)(c % 21) - 10, step = n > 0 ? 1 : -1;
    if (n == 0)
        return mask >> base & 1 ? (uint64_t)base : UINT32_MAX;
    int32_t left = (n < 0 ? -n : n) - 1;
    for (int32_t at = base; at >= 0 && at < 32; at += step)
        if ((mask >> at & 1) && left-- == 0)
            return (uint64_t)at;
    return UINT32_MAX;
}

TW_TEST("packed lanes and fns are what the manual says") {
    const struct op_case cases[] = {
        {.text = "vadd4.u32.u32.u32 d, a, b, c;", .want = want_vadd4},
        {.text = "vadd4.s32.s32.s32.sat d, a, b, c;", .want = want_vadd4_sat},
        {.text = "vsub2.u32.u32.s32.sat d, a, b, c;", .want = want_vsub2_sat},
        {.text = "vabsdiff4.u32.u32.u32.add d, a, b, c;", .want = want_vabsdiff4_add},
        {.text = "vavrg4.u32.u32.u32 d, a, b, c;", .want = want_vavrg4},
        {.text = "vmin2.s32.s32.s32 d, a, b, c;", .want = want_vmin2},
        {.text = "vset4.u32.u32.gt d, a, b, c;", .want = want_vset4},
        {.text = "{ and.b32 b, b, 31; rem.u32 c, c, 21; sub.s32 c, c, 10; fns.b32 d, a, b, c; }",
         .want = want_fns},
    };
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct op_case op = cases[i];
        op.dst = OP_B32;
        op.count = 3;
        memcpy(op.src, (enum op_width[]){OP_B32, OP_B32, OP_B32}, sizeof op.src);
        op_check(&op);
    }
}

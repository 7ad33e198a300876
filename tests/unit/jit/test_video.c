// SPDX-License-Identifier: Apache-2.0
//
// Video instructions on one value, and the masks and selectors of packed ones, against their definition in C with 128
// bits to work in.

#include "harness/test.h"

#include "op_test.h"

typedef __int128 wide;

// Part `part` (b0, h1; NULL: the word) of a source.
static wide part_of(uint64_t word, const char *part, bool is_signed) {
    unsigned width = !part ? 32 : part[0] == 'b' ? 8 : 16, at = part ? (unsigned)(part[1] - '0') * width : 0;
    uint64_t v = (word & 0xffffffff) >> at & ((UINT64_C(1) << width) - 1);
    return is_signed && v >> (width - 1) ? (wide)v - ((wide)1 << width) : (wide)v;
}

static wide between(wide low, wide value, wide high) {
    return value < low ? low : value > high ? high : value;
}

static wide saturated(wide v, unsigned width, bool is_signed) {
    wide top = (wide)1 << (width - is_signed);
    return between(is_signed ? -top : 0, v, top - 1);
}

static uint64_t merged(wide v, const char *part, uint64_t c) {
    unsigned width = part[0] == 'b' ? 8 : 16, at = (unsigned)(part[1] - '0') * width;
    uint64_t mask = ((UINT64_C(1) << width) - 1) << at;
    return (c & ~mask & 0xffffffff) | ((uint64_t)v << at & mask);
}

#define WANT(name, ...)                                                                                      \
    static uint64_t want_##name(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {      \
        __VA_ARGS__                                                                                          \
    }
#define LOW(v) ((uint64_t)(v) & 0xffffffff)

WANT(vadd, return LOW(saturated(part_of(a, NULL, true) + part_of(b, NULL, false), 32, true));)
WANT(vadd_parts, return LOW(LOW(saturated(part_of(a, "b3", true) + part_of(b, "h1", false), 32, false)) + c);)
WANT(vsub, return LOW(part_of(a, NULL, false) - part_of(b, NULL, true));)
WANT(vsub_sat, return LOW(saturated(part_of(a, NULL, false) - part_of(b, NULL, false), 32, false));)
WANT(vsub_into, return merged(saturated(part_of(a, "h0", true) - part_of(b, "b2", true), 8, true), "b1", c);)
WANT(vabsdiff, wide d = part_of(a, NULL, true) - part_of(b, NULL, true);
     return LOW(saturated(d < 0 ? -d : d, 32, true));)
WANT(vabsdiff_max, wide d = part_of(a, "b0", false) - part_of(b, "b0", false);
     uint64_t r = (uint64_t)(d < 0 ? -d : d); return r > (c & 0xffffffff) ? r : c & 0xffffffff;)
WANT(vmin, wide x = part_of(a, NULL, true), y = part_of(b, NULL, false); return LOW(x < y ? x : y);)
WANT(vmax_min, wide x = part_of(a, "h1", true), y = part_of(b, "h0", true);
     int32_t r = (int32_t)(x > y ? x : y), t = (int32_t)(uint32_t)c; return LOW(r < t ? r : t);)
WANT(vshl, uint64_t n = b & 0xffffffff; return LOW(part_of(a, NULL, true) * ((wide)1 << (n > 32 ? 32 : n)));)
WANT(vshl_sat, uint64_t n = b & 0xffffffff;
     return LOW(saturated(part_of(a, NULL, false) * ((wide)1 << (n > 32 ? 32 : n)), 32, true));)
WANT(vshl_wrap,
     return merged(saturated(part_of(a, "h1", true) * ((wide)1 << (b >> 8 & 31)), 16, true), "h1", c);)
WANT(vshr, uint64_t n = b & 0xffffffff; return LOW(part_of(a, NULL, true) >> (n > 32 ? 32 : n));)
WANT(vshr_add, return LOW((part_of(a, NULL, false) >> (b & 31)) + (wide)c);)
WANT(vset, return part_of(a, "b1", true) < part_of(b, NULL, false);)
WANT(vset_into, return merged(part_of(a, NULL, false) >= part_of(b, "h1", true), "h0", c);)
WANT(vset_max, uint64_t r = part_of(a, NULL, true) == part_of(b, NULL, true); return r > LOW(c) ? r : LOW(c);)
WANT(vmad, return LOW(part_of(a, NULL, false) * part_of(b, NULL, false) + part_of(c, NULL, false));)
WANT(vmad_unsigned,
     return LOW(between(0, (part_of(a, NULL, false) * part_of(b, NULL, false) + part_of(c, NULL, false)) >> 7,
                        0xffffffff));)
WANT(vmad_signed,
     return LOW(saturated(part_of(a, NULL, true) * part_of(b, NULL, false) + part_of(c, NULL, true), 32,
                          true));)
WANT(vmad_shr, return LOW((part_of(a, "h1", true) * part_of(b, NULL, true) + part_of(c, NULL, true)) >> 15);)
WANT(vmad_negated,
     return LOW(saturated(
         (-(part_of(a, NULL, false) * part_of(b, NULL, false)) + part_of(c, NULL, true)) >> 7, 32, true));)
WANT(vmad_minus,
     return LOW(saturated(part_of(a, NULL, false) * part_of(b, "b3", false) + part_of(~c, NULL, true) + 1, 32,
                          true));)
WANT(vmad_po,
     return LOW((part_of(a, NULL, false) * part_of(b, NULL, false) + part_of(c, NULL, false) + 1) >> 7);)

static wide average(wide x, wide y) {
    return x + y < 0 ? (x + y) >> 1 : (x + y + 1) >> 1;
}
WANT(vavrg2, return merged(average(part_of(a, "h1", true), part_of(b, "h1", true)), "h1",
                           merged(average(part_of(a, "h0", true), part_of(b, "h0", true)), "h0", 0));)
WANT(vadd2_masked, return merged(part_of(b, "h1", true) + part_of(a, "h0", false), "h1", c);)
WANT(vsub4_masked, return merged(part_of(b, "b3", false) - part_of(b, "b0", false), "b3",
                                 merged(part_of(a, "b3", false) - part_of(a, "b2", false), "b0", c));)
WANT(vmax2_sum, wide x = part_of(a, "h1", true), y = part_of(b, "h0", true);
     return LOW((x > y ? x : y) + (wide)c);)

static const struct op_case cases[] = {
    {.text = "vadd.s32.s32.u32.sat d, a, b;", .want = want_vadd},
    {.text = "vadd.u32.s32.u32.sat.add d, a.b3, b.h1, c;", .want = want_vadd_parts},
    {.text = "vsub.s32.u32.s32 d, a, b;", .want = want_vsub},
    {.text = "vsub.u32.u32.u32.sat d, a, b;", .want = want_vsub_sat},
    {.text = "vsub.s32.s32.s32.sat d.b1, a.h0, b.b2, c;", .want = want_vsub_into},
    {.text = "vabsdiff.s32.s32.s32.sat d, a, b;", .want = want_vabsdiff},
    {.text = "vabsdiff.u32.u32.u32.max d, a.b0, b.b0, c;", .want = want_vabsdiff_max},
    {.text = "vmin.s32.s32.u32 d, a, b;", .want = want_vmin},
    {.text = "vmax.s32.s32.s32.min d, a.h1, b.h0, c;", .want = want_vmax_min},
    {.text = "vshl.s32.s32.u32.clamp d, a, b;", .want = want_vshl},
    {.text = "vshl.s32.u32.u32.sat.clamp d, a, b;", .want = want_vshl_sat},
    {.text = "vshl.s32.s32.u32.sat.wrap d.h1, a.h1, b.b1, c;", .want = want_vshl_wrap},
    {.text = "vshr.s32.s32.u32.clamp d, a, b;", .want = want_vshr},
    {.text = "vshr.u32.u32.u32.wrap.add d, a, b, c;", .want = want_vshr_add},
    {.text = "vset.s32.u32.lt d, a.b1, b;", .want = want_vset},
    {.text = "vset.u32.s32.ge d.h0, a, b.h1, c;", .want = want_vset_into},
    {.text = "vset.s32.s32.eq.max d, a, b, c;", .want = want_vset_max},
    {.text = "vmad.u32.u32.u32 d, a, b, c;", .want = want_vmad},
    {.text = "vmad.u32.u32.u32.sat.shr7 d, a, b, c;", .want = want_vmad_unsigned},
    {.text = "vmad.s32.s32.u32.sat d, a, b, c;", .want = want_vmad_signed},
    {.text = "vmad.s32.s32.s32.shr15 d, a.h1, b, c;", .want = want_vmad_shr},
    {.text = "vmad.s32.u32.u32.sat.shr7 d, -a, b, c;", .want = want_vmad_negated},
    {.text = "vmad.s32.u32.u32.sat d, a, b.b3, -c;", .want = want_vmad_minus},
    {.text = "vmad.u32.u32.u32.po.shr7 d, a, b, c;", .want = want_vmad_po},
    {.text = "vavrg2.s32.s32.s32 d, a, b, 0;", .want = want_vavrg2},
    {.text = "vadd2.s32.s32.u32 d.h1, a.h32, b.h03, c;", .want = want_vadd2_masked},
    {.text = "vsub4.u32.u32.u32 d.b30, a.b7003, b.b4002, c;", .want = want_vsub4_masked},
    {.text = "vmax2.s32.s32.s32.add d.h0, a.h01, b.h12, c;", .want = want_vmax2_sum},
};

TW_TEST("video instructions on one value, and on chosen lanes, are what the manual says") {
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct op_case op = cases[i];
        op.dst = OP_B32;
        op.count = 3;
        memcpy(op.src, (enum op_width[]){OP_B32, OP_B32, OP_B32}, sizeof op.src);
        op_check(&op);
    }
}

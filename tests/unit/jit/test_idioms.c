// SPDX-License-Identifier: Apache-2.0
//
// How the inline assembly of CUDA's headers and libraries is written: blocks with registers of their own, names with $ and
// underscores, modifiers without blanks, literals with U, guards, pairs taken apart and put together. Written here by hand, with
// the values worked out in C.

#include "harness/test.h"

#include "floats.h"
#include "op_test.h"

#define WANT(name, ...)                                                                                      \
    static uint64_t want_##name(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {      \
        __VA_ARGS__                                                                                          \
    }

WANT(low, return a & 0xffff;)
WANT(swapped, return (a >> 16 | a << 16) & 0xffffffff;)
WANT(joined, return (a >> 16) | (b & 0xffff0000);)
WANT(greater, return half_value(a) > half_value(b);)
WANT(guarded, return b ? c : a;)
WANT(carried, unsigned __int128 sum = (unsigned __int128)a + b; return (uint64_t)(sum >> 64);)
WANT(field, return (a >> 4 & 0xff) + 1;)
WANT(nested, return ((a + 1) * 2 + a) & 0xffffffff;)
WANT(address, return ((a & 0xffff) * 8 + 4 * (b & 3)) & 0xffffffff;)

// e to the power of a half, by way of floats: within two of the last places.
static bool accepts_power(uint64_t got, uint64_t a, [[maybe_unused]] uint64_t b,
                          [[maybe_unused]] uint64_t c) {
    double want = exp((double)half_value(a)), is = (double)half_value(got);
    if (isnan(want))
        return isnan(is);
    return want >= 65504 ? is >= 65440 : fabs(is - want) <= 0x1p-9 * want + 0x1p-23;
}

// What a subtraction leaves is a carry, none where it borrows: NVIDIA's 128-bit division reads it with addc.
static uint64_t want_no_borrow(uint64_t a, uint64_t b, uint64_t c) {
    return (uint32_t)(((uint32_t)a - (uint32_t)b) ^ ((uint32_t)c + ((uint32_t)a >= (uint32_t)b)));
}

static uint64_t want_no_carry(uint64_t a, uint64_t b, uint64_t c) {
    bool carries = (uint64_t)(uint32_t)a + (uint32_t)b > UINT32_MAX;
    return (uint32_t)(((uint32_t)a + (uint32_t)b) ^ ((uint32_t)c - !carries));
}

static const struct op_case cases[] = {
    {"{.reg .f16 low,high;\n mov.b32 {low,high}, a;\n mov.b16 d, low;}",
     OP_B16,
     {OP_B32},
     1,
     want_low,
     NULL,
     false},
    {"{.reg .f16 l,h;\n  mov.b32 {l,h}, a;\n  mov.b32 d, {h,l};}\n",
     OP_B32,
     {OP_B32},
     1,
     want_swapped,
     NULL,
     false},
    {"{.reg .f16 alow,ahigh,blow,bhigh;\n mov.b32 {alow,ahigh}, a;\n mov.b32 {blow,bhigh}, b;\n mov.b32 d, "
     "{ahigh,bhigh};}\n",
     OP_B32,
     {OP_B32, OP_B32},
     2,
     want_joined,
     NULL,
     false},
    {"{ .reg .pred __$temp3;\n  setp.gt.f16  __$temp3, a, b;\n  selp.u16 d, 1, 0, __$temp3;}",
     OP_B16,
     {OP_B16, OP_B16},
     2,
     want_greater,
     NULL,
     true},
    {"{\n  .reg .pred p;\n  setp.ne.b32 p, b, 0;\n  mov.b32 d, a;\n  @p mov.b32 d, c;\n}\n",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_guarded,
     NULL,
     false},
    {"{ .reg.u64 lo;\n\tadd.cc.u64 lo, a, b;\n\taddc.u64 d, 0, 0;\n\t}",
     OP_B64,
     {OP_B64, OP_B64},
     2,
     want_carried,
     NULL,
     false},
    {"{ .reg .b32 h; sub.cc.u32 d, a, b; addc.u32 h, c, 0; xor.b32 d, h, d; }",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_no_borrow,
     NULL,
     false},
    {"{ .reg .b32 h; add.cc.u32 d, a, b; subc.u32 h, c, 0; xor.b32 d, h, d; }",
     OP_B32,
     {OP_B32, OP_B32, OP_B32},
     3,
     want_no_carry,
     NULL,
     false},
    {"{.reg.b32 _t1;bfe.u32 _t1,a,4,8;add.u32 d,_t1,1U;}", OP_B32, {OP_B32}, 1, want_field, NULL, false},
    {"{ .reg .u32 x; add.u32 x, a, 1; { .reg .u32 x; mov.u32 x, a; mov.u32 d, x; } mad.lo.u32 d, x, 2, d; }",
     OP_B32,
     {OP_B32},
     1,
     want_nested,
     NULL,
     false},
    {"{ .reg .u64 smem; .reg .u32 o; and.b32 o, b, 0x3; cvt.u64.u32 smem, a; and.b64 smem, smem, 0xffff;\n "
     "shl.b64 smem, smem, 3;"
     " cvt.u32.u64 d, smem; mad.lo.u32 d, o, 4, d; }",
     OP_B32,
     {OP_B32, OP_B32},
     2,
     want_address,
     NULL,
     false},
    {"{.reg.b32 f, C, nZ;\n .reg.b16 h,r;\n mov.b16 h,a;\n cvt.f32.f16 f,h;\n mov.b32 C, 0x3fb8aa3bU;\n "
     "mov.b32 nZ, "
     "0x80000000U;\n fma.rn.f32 f,f,C,nZ;\n ex2.approx.ftz.f32 f,f;\n cvt.rn.f16.f32 r,f;\n mov.b16 d,r;\n}",
     OP_B16,
     {OP_B16},
     1,
     NULL,
     accepts_power,
     true},
};

TW_TEST("blocks of inline assembly as CUDA's headers have them compute what they say") {
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        op_check(&cases[i]);
}

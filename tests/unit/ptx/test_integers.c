// SPDX-License-Identifier: Apache-2.0
//
// Integer and bit instructions: what each becomes in the IR, worked out from the PTX manual.

#include "snippet.h"

TW_TEST("integer arithmetic keeps its type and sign") {
    static const struct snippet_case cases[] = {
        {"add.s32 %r1, %r2, %r3;", "%r1 = add.s32 %r2, %r3"},
        {"add.u64 %rd1, %rd2, 8;", "%rd1 = add.u64 %rd2, 8"},
        {"add.sat.s32 %r1, %r2, -1;", "%r1 = add.s32.sat %r2, 0xffffffff"},
        {"sub.s16 %h1, %h2, %h3;", "%h1 = sub.s16 %h2, %h3"},
        {"mul.lo.s32 %r1, %r2, %r3;", "%r1 = mul.s32 %r2, %r3"},
        {"mul.hi.u32 %r1, %r2, 0xffff;", "%r1 = mulhi.u32 %r2, 65535"},
        {"mul.wide.s16 %r1, %h1, %h2;", "%r1 = mulwide.s16 %h1, %h2"},
        {"mul.wide.u32 %rd1, %r1, 4;", "%rd1 = mulwide.u32 %r1, 4"},
        {"mad.lo.s32 %r1, %r2, %r3, %r4;", "%t0 = mul.s32 %r2, %r3\n%r1 = add.s32 %t0, %r4"},
        {"mad.wide.u32 %rd1, %r1, 4, %rd2;", "%t0 = mulwide.u32 %r1, 4\n%rd1 = add.u64 %t0, %rd2"},
        {"mad.hi.sat.s32 %r1, %r2, %r3, %r4;", "%t0 = mulhi.s32 %r2, %r3\n%r1 = add.s32.sat %t0, %r4"},
        {"mul24.lo.s32 %r1, %r2, %r3;", "%r1 = mul24.s32 %r2, %r3"},
        {"mad24.hi.u32 %r1, %r2, %r3, %r4;", "%t0 = mul24.u32.hi %r2, %r3\n%r1 = add.u32 %t0, %r4"},
        {"sad.u32 %r1, %r2, %r3, %r4;", "%r1 = sad.u32 %r2, %r3, %r4"},
        {"div.s64 %rd1, %rd2, %rd3;", "%rd1 = div.s64 %rd2, %rd3"},
        {"rem.u16 %h1, %h2, 10;", "%h1 = rem.u16 %h2, 10"},
        {"min.s32 %r1, %r2, %r3;", "%r1 = min.s32 %r2, %r3"},
        {"max.u64 %rd1, %rd2, %rd3;", "%rd1 = max.u64 %rd2, %rd3"},
        {"max.s32.relu %r1, %r2, %r3;", "%r1 = max.s32.relu %r2, %r3"},
        {"abs.s32 %r1, %r2;", "%r1 = abs.s32 %r2"},
        {"neg.s64 %rd1, %rd2;", "%rd1 = neg.s64 %rd2"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("carry chains go through one predicate register") {
    static const struct snippet_case cases[] = {
        {"add.cc.u32 %r1, %r2, %r3; addc.u32 %r4, %r5, 0;",
         "%r1, %t0 = addc.u32 %r2, %r3, 0\n%r4, _ = addc.u32 %r5, 0, %t0"},
        {"sub.cc.s64 %rd1, %rd2, %rd3; subc.cc.s64 %rd4, %rd5, %rd6; subc.s64 %rd7, 0, 0;",
         "%rd1, %t0 = subc.s64 %rd2, %rd3, 1\n%rd4, %t0 = subc.s64 %rd5, %rd6, %t0\n%rd7, _ = subc.s64 0, 0, "
         "%t0"},
        {"mad.lo.cc.u32 %r1, %r2, %r3, %r4; madc.hi.u32 %r5, %r2, %r3, 0;",
         "%t0 = mul.u32 %r2, %r3\n%r1, %t1 = addc.u32 %t0, %r4, 0\n"
         "%t2 = mulhi.u32 %r2, %r3\n%r5, _ = addc.u32 %t2, 0, %t1"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("bit operations") {
    static const struct snippet_case cases[] = {
        {"and.b32 %r1, %r2, 0xff;", "%r1 = and.b32 %r2, 255"},
        {"or.pred %p1, %p2, %p3;", "%p1 = or.pred %p2, %p3"},
        {"xor.b64 %rd1, %rd2, %rd3;", "%rd1 = xor.b64 %rd2, %rd3"},
        {"not.b16 %h1, %h2;", "%h1 = not.b16 %h2"},
        {"not.pred %p1, %p2;", "%p1 = not.pred %p2"},
        {"cnot.b32 %r1, %r2;", "%r1 = cnot.b32 %r2"},
        {"shl.b64 %rd1, %rd2, 3;", "%rd1 = shl.b64 %rd2, 3"},
        {"shl.b32 %r1, %r2, %r3;", "%r1 = shl.b32 %r2, %r3"},
        {"shr.s32 %r1, %r2, 31;", "%r1 = shr.s32 %r2, 31"},
        {"shr.u64 %rd1, %rd2, %r3;", "%rd1 = shr.u64 %rd2, %r3"},
        {"shf.l.wrap.b32 %r1, %r2, %r3, 13;", "%r1 = shf.l.b32.wrap %r2, %r3, 13"},
        {"shf.r.clamp.b32 %r1, %r2, %r3, %r4;", "%r1 = shf.r.b32 %r2, %r3, %r4"},
        {"bfe.s32 %r1, %r2, 8, 4;", "%r1 = bfe.s32 %r2, 8, 4"},
        {"bfe.u64 %rd1, %rd2, %r1, %r2;", "%rd1 = bfe.u64 %rd2, %r1, %r2"},
        {"bfi.b32 %r1, %r2, %r3, 8, 4;", "%r1 = bfi.b32 %r2, %r3, 8, 4"},
        {"bfind.shiftamt.u32 %r1, %r2;", "%r1 = bfind.u32.shiftamt %r2"},
        {"bfind.s64 %r1, %rd2;", "%r1 = bfind.s64 %rd2"},
        {"brev.b32 %r1, %r2;", "%r1 = brev.b32 %r2"},
        {"clz.b64 %r1, %rd2;", "%r1 = clz.b64 %rd2"},
        {"popc.b32 %r1, %r2;", "%r1 = popc.b32 %r2"},
        {"prmt.b32 %r1, %r2, %r3, 0x5410;", "%r1 = prmt.b32 %r2, %r3, 21520"},
        {"prmt.b32.rc8 %r1, %r2, %r3, %r4;", "%r1 = prmt.b32.rc8 %r2, %r3, %r4"},
        {"lop3.b32 %r1, %r2, %r3, %r4, 0xe8;", "%r1 = lop3.b32 +232 %r2, %r3, %r4"},
        {"lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 0x96, %p2;",
         "%r1 = lop3.b32 +150 %r2, %r3, %r4\n%p1 = setp.b32.ne.with_or %r1, 0, %p2"},
        {"szext.wrap.s32 %r1, %r2, %r3;", "%r1 = szext.s32.wrap %r2, %r3"},
        {"bmsk.clamp.b32 %r1, %r2, %r3;", "%r1 = bmsk.b32 %r2, %r3"},
        {"dp4a.s32.u32 %r1, %r2, %r3, %r4;", "%r1 = dp4a.s32.u32 %r2, %r3, %r4"},
        {"dp2a.hi.u32.s32 %r1, %r2, %r3, %r4;", "%r1 = dp2a.u32.s32.hi %r2, %r3, %r4"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("literals are the low bits of the type") {
    static const struct snippet_case cases[] = {
        {"mov.b32 %r1, 0b1011;", "%r1 = mov.b32 11"},
        {"mov.b32 %r1, 017;", "%r1 = mov.b32 15"},
        {"mov.u32 %r1, 0xFFU;", "%r1 = mov.u32 255"},
        {"mov.u32 %r1, 42U;", "%r1 = mov.u32 42"},
        {"mov.s32 %r1, -2;", "%r1 = mov.s32 0xfffffffe"},
        {"mov.b64 %rd1, -1;", "%rd1 = mov.b64 0xffffffffffffffff"},
        {"mov.u16 %h1, -1;", "%h1 = mov.u16 65535"},
        {"mov.u32 %r1, (1 << 4) + 3 * 5;", "%r1 = mov.u32 31"},
        {"mov.u32 %r1, 7 - 2 - 1;", "%r1 = mov.u32 4"},
        {"mov.u32 %r1, ~0 & 0xf0 | 1;", "%r1 = mov.u32 241"},
        {"mov.u32 %r1, 3 > 2 ? 10 : 20;", "%r1 = mov.u32 10"},
        {"mov.u32 %r1, !5 + WARP_SZ;", "%r1 = mov.u32 32"},
        {"mov.s32 %r1, -7 / 2;", "%r1 = mov.s32 0xfffffffd"},
        {"mov.s32 %r1, -8 >> 1;", "%r1 = mov.s32 0xfffffffc"},
        {"mov.s64 %rd1, (.u64)-1 >> 60;", "%rd1 = mov.s64 15"},
        {"mov.f32 %f1, 0f3F800000;", "%f1 = mov.f32 0x3f800000"},
        {"mov.b32 %r1, 0f3F800000;", "%r1 = mov.b32 0x3f800000"},
        {"mov.f32 %f1, 1.5;", "%f1 = mov.f32 0x3fc00000"},
        {"mov.f32 %f1, -0.0;", "%f1 = mov.f32 0x80000000"},
        {"mov.f32 %f1, 2e3;", "%f1 = mov.f32 0x44fa0000"},
        {"mov.f64 %fd1, 0d3FF0000000000000;", "%fd1 = mov.f64 0x3ff0000000000000"},
        {"mov.f64 %fd1, 1.0;", "%fd1 = mov.f64 0x3ff0000000000000"},
        {"mov.f32 %f1, 0d3FF8000000000000;", "%f1 = mov.f32 0x3fc00000"},
        {"mov.f64 %fd1, 0f3FC00000;", "%fd1 = mov.f64 0x3ff8000000000000"},
        {"add.rn.f32 %r1, %r2, 0fBF800000;", "%r1 = add.f32.rn %r2, 0xbf800000"},
    };
    SNIPPET_CHECK(cases);
}

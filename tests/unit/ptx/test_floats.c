// SPDX-License-Identifier: Apache-2.0
//
// Float instructions, conversions, comparisons and moves: what each becomes in the IR, worked out from the
// PTX manual.

#include "snippet.h"

TW_TEST("float arithmetic keeps rounding, ftz, saturation and approximation") {
    static const struct snippet_case cases[] = {
        {"add.f32 %f1, %f2, %f3;", "%f1 = add.f32 %f2, %f3"},
        {"add.rn.ftz.f32 %f1, %f2, %f3;", "%f1 = add.f32.rn.ftz %f2, %f3"},
        {"sub.rz.ftz.sat.f32 %f1, %f2, %f3;", "%f1 = sub.f32.rz.ftz.sat %f2, %f3"},
        {"mul.rp.f64 %fd1, %fd2, %fd3;", "%fd1 = mul.f64.rp %fd2, %fd3"},
        {"fma.rn.f32 %f1, %f2, %f3, %f4;", "%f1 = fma.f32.rn %f2, %f3, %f4"},
        {"mad.rn.f32 %f1, %f2, %f3, %f4;", "%f1 = fma.f32.rn %f2, %f3, %f4"},
        {"fma.rn.relu.f16x2 %r1, %r2, %r3, %r4;", "%r1 = fma.f16x2.rn.relu %r2, %r3, %r4"},
        {"add.f16 %h1, %h2, %h3;", "%h1 = add.f16 %h2, %h3"},
        {"mul.bf16x2 %r1, %r2, %r3;", "%r1 = mul.bf16x2 %r2, %r3"},
        {"div.rn.f32 %f1, %f2, %f3;", "%f1 = div.f32.rn %f2, %f3"},
        {"div.approx.ftz.f32 %f1, %f2, %f3;", "%f1 = div.f32.ftz.approx %f2, %f3"},
        {"div.full.f32 %f1, %f2, %f3;", "%f1 = div.f32.full %f2, %f3"},
        {"rcp.rn.f64 %fd1, %fd2;", "%fd1 = rcp.f64.rn %fd2"},
        {"sqrt.approx.f32 %f1, %f2;", "%f1 = sqrt.f32.approx %f2"},
        {"rsqrt.approx.ftz.f64 %fd1, %fd2;", "%fd1 = rsqrt.f64.ftz.approx %fd2"},
        {"sin.approx.f32 %f1, %f2;", "%f1 = sin.f32.approx %f2"},
        {"ex2.approx.f16 %h1, %h2;", "%h1 = ex2.f16.approx %h2"},
        {"lg2.approx.ftz.f32 %f1, %f2;", "%f1 = lg2.f32.ftz.approx %f2"},
        {"tanh.approx.f32 %f1, %f2;", "%f1 = tanh.f32.approx %f2"},
        {"min.NaN.f32 %f1, %f2, %f3;", "%f1 = min.f32.nanprop %f2, %f3"},
        {"max.ftz.xorsign.abs.f32 %f1, %f2, %f3;", "%f1 = max.f32.ftz.xorsign %f2, %f3"},
        {"abs.ftz.f32 %f1, %f2;", "%f1 = abs.f32.ftz %f2"},
        {"neg.f64 %fd1, %fd2;", "%fd1 = neg.f64 %fd2"},
        {"copysign.f32 %f1, %f2, %f3;", "%f1 = copysign.f32 %f2, %f3"},
        {"testp.notanumber.f64 %p1, %fd1;", "%p1 = testp.f64.notanumber %fd1"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("conversions are exact in width, with extensions where registers are wider") {
    static const struct snippet_case cases[] = {
        {"cvt.s64.s32 %rd1, %r1;", "%rd1 = cvt.s64.s32 %r1"},
        {"cvt.u32.u64 %r1, %rd1;", "%r1 = cvt.u32.u64 %rd1"},
        {"cvt.u32.s32 %r1, %r2;", "%r1 = mov.u32 %r2"},
        {"cvt.sat.u32.s32 %r1, %r2;", "%r1 = cvt.u32.s32.sat %r2"},
        {"cvt.rn.f32.s32 %f1, %r1;", "%f1 = cvt.f32.s32.rn %r1"},
        {"cvt.rzi.s32.f32 %r1, %f1;", "%r1 = cvt.s32.f32.rzi %f1"},
        {"cvt.rmi.ftz.sat.f32.f32 %f1, %f2;", "%f1 = cvt.f32.f32.rmi.ftz.sat %f2"},
        {"cvt.rn.f32.f64 %f1, %fd1;", "%f1 = cvt.f32.f64.rn %fd1"},
        {"cvt.f64.f32 %fd1, %f1;", "%fd1 = cvt.f64.f32 %f1"},
        {"cvt.rn.f16.f32 %h1, %f1;", "%h1 = cvt.f16.f32.rn %f1"},
        {"cvt.f32.f16 %f1, %h1;", "%f1 = cvt.f32.f16 %h1"},
        {"cvt.rna.tf32.f32 %r1, %f1;", "%r1 = cvt.tf32.f32.rna %f1"},
        {"cvt.rn.f16x2.f32 %r1, %f1, %f2;", "%r1 = cvt.f16x2.f32.rn %f1, %f2"},
        {"cvt.rn.relu.bf16x2.f32 %r1, %f1, %f2;", "%r1 = cvt.bf16x2.f32.rn.relu %f1, %f2"},
        {"cvt.rn.satfinite.e4m3x2.f32 %h1, %f1, %f2;", "%h1 = cvt.e4m3x2.f32.rn.sat %f1, %f2"},
        {"cvt.u32.u8 %r1, %r2;", "%t0 = cvt.u8.u32 %r2\n%r1 = cvt.u32.u8 %t0"},
        {"cvt.s8.s32 %r1, %r2;", "%t0 = cvt.s8.s32 %r2\n%r1 = cvt.s32.s8 %t0"},
        {"cvt.pack.sat.s16.s32 %r1, %r2, %r3;",
         "%t0 = cvt.s16.s32.sat %r2\n%t1 = cvt.s16.s32.sat %r3\n%r1 = pack.b32 %t1, %t0"},
        {"cvt.pack.sat.u8.s32.b32 %r1, %r2, %r3, %r4;",
         "%t0 = cvt.u8.s32.sat %r2\n%t1 = cvt.u8.s32.sat %r3\n%t2 = cvt.u16.u32 %r4\n"
         "%t3 = pack.b16 %t1, %t0\n%r1 = pack.b32 %t3, %t2"},
        {"cvt.pack.sat.u4.s32.b32 %r1, %r2, %r3, %r4;",
         "%t0 = max.s32 %r2, 0\n%t1 = min.s32 %t0, 15\n%t2 = max.s32 %r3, 0\n%t3 = min.s32 %t2, 15\n"
         "%t4 = shl.b32 %t1, 4\n%t5 = shl.b32 %r4, 8\n%t6 = or.b32 %t5, %t4\n%t7 = or.b32 %t6, %t3\n"
         "%r1 = mov.b32 %t7"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("comparisons, with combination, second result and lowered relatives") {
    static const struct snippet_case cases[] = {
        {"setp.lt.s32 %p1, %r1, %r2;", "%p1 = setp.s32.lt %r1, %r2"},
        {"setp.lo.u32 %p1, %r1, 10;", "%p1 = setp.u32.lt %r1, 10"},
        {"setp.hs.u64 %p1, %rd1, %rd2;", "%p1 = setp.u64.ge %rd1, %rd2"},
        {"setp.eq.b32 %p1, %r1, 0;", "%p1 = setp.b32.eq %r1, 0"},
        {"setp.neu.ftz.f32 %p1, %f1, %f2;", "%p1 = setp.f32.neu.ftz %f1, %f2"},
        {"setp.nan.f64 %p1, %fd1, %fd1;", "%p1 = setp.f64.nan %fd1, %fd1"},
        {"setp.gt.s32 %p1|%p2, %r1, %r2;", "%p1, %p2 = setp.s32.gt %r1, %r2"},
        {"setp.gt.and.s32 %p1|%p2, %r1, %r2, !%p3;",
         "%p1, %p2 = setp.s32.gt.with_and.with_not %r1, %r2, %p3"},
        {"setp.eq.xor.s32 _|%p2, %r1, %r2, %p3;", "_, %p2 = setp.s32.eq.with_xor %r1, %r2, %p3"},
        {"selp.b32 %r1, %r2, 5, %p1;", "%r1 = select.b32 %r2, 5, %p1"},
        {"selp.f64 %fd1, %fd2, 0d0000000000000000, %p1;", "%fd1 = select.f64 %fd2, 0, %p1"},
        {"set.lt.u32.s32 %r1, %r2, %r3;", "%t0 = setp.s32.lt %r2, %r3\n%r1 = select.u32 0xffffffff, 0, %t0"},
        {"set.ge.f32.f32 %f1, %f2, %f3;", "%t0 = setp.f32.ge %f2, %f3\n%f1 = select.f32 0x3f800000, 0, %t0"},
        {"slct.b32.s32 %r1, %r2, %r3, %r4;", "%t0 = setp.s32.ge %r4, 0\n%r1 = select.b32 %r2, %r3, %t0"},
        {"slct.ftz.f32.f32 %f1, %f2, %f3, %f4;",
         "%t0 = setp.f32.ge.ftz %f4, 0\n%f1 = select.f32 %f2, %f3, %t0"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("moves pack, unpack and read special registers and addresses") {
    static const struct snippet_case cases[] = {
        {"mov.u32 %r1, %tid.x;", "%r1 = sreg.u32 tid.x"},
        {"mov.u32 %r1, %nctaid.z;", "%r1 = sreg.u32 nctaid.z"},
        {"mov.u64 %rd1, %clock64;", "%rd1 = sreg.u64 clock64"},
        {"mov.u32 %r1, %lanemask_lt;", "%r1 = sreg.u32 lanemask_lt"},
        {"mov.u16 %h1, %tid.x;", "%t0 = sreg.u32 tid.x\n%t1 = cvt.u16.u32 %t0\n%h1 = mov.u16 %t1"},
        {"add.s32 %r1, %r2, %ctaid.y;", "%t0 = sreg.u32 ctaid.y\n%r1 = add.s32 %r2, %t0"},
        {"mov.u64 %rd1, table;", "%rd1 = addr.u64 @table"},
        {"mov.u64 %rd1, table+8;", "%rd1 = addr.u64 @table +8"},
        {"mov.u32 %r1, tile;", "%t0 = addr.u64 @k.tile.3\n%t1 = cvt.u32.u64 %t0\n%r1 = mov.u32 %t1"},
        {"mov.b64 %rd1, n;", "%rd1 = paramaddr.u64 +8"},
        {"mov.b64 %rd1, {%r1, %r2};", "%rd1 = pack.b64 %r1, %r2"},
        {"mov.b64 {%r1, _}, %rd1;", "%r1, _ = unpack.b64 %rd1"},
        {"mov.b32 %r1, {%h1, %h2};", "%r1 = pack.b32 %h1, %h2"},
        {"mov.b64 {%h1, %h2, %h3, %h4}, %rd1;", "%h1, %h2, %h3, %h4 = unpack.b64 %rd1"},
        {"mov.b128 %q1, {%rd1, %rd2};", "%q1 = pack.b128 %rd1, %rd2"},
        {"mov.pred %p1, %p2;", "%p1 = mov.pred %p2"},
        {"cvta.to.global.u64 %rd1, %rd2;", "%rd1 = mov.u64 %rd2"},
        {"cvta.shared.u64 %rd1, tile;", "%rd1 = addr.u64 @k.tile.3"},
        {"isspacep.shared %p1, %rd1;", "%p1 = isspace.u64.shared %rd1"},
    };
    SNIPPET_CHECK(cases);
}

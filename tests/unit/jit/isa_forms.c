// SPDX-License-Identifier: Apache-2.0
//
// See isa_forms.h: the forms.

#include "isa_forms.h"

#include "base/port.h"

#define I16   "u16 s16 "
#define I32   "u32 s32 "
#define I64   "u64 s64 "
#define INT   I16 I32 I64
#define BITS  "b16 b32 b64 "
#define F3264 "f32 f64"

const struct isa_form isa_runs[] = {
    // integers
    {"add.T R0, R1, R2; sub.T R0, R1, R2; mul.{lo,hi}.T R0, R1, R2; mad.{lo,hi}.T R0, R1, R2, R3;", INT, 80},
    {"div.T R0, R1, R2; rem.T R0, R1, R2; min.T R0, R1, R2; max.T R0, R1, R2; sad.T R0, R1, R2, R3;", INT,
     80},
    {"mul.wide.T W0, R1, R2; mad.wide.T W0, R1, R2, W3;", I16 I32, 80},
    {"add.sat.s32 %r0, %r1, %r2; sub.sat.s32 %r0, %r1, %r2; mad.hi.sat.s32 %r0, %r1, %r2, %r3;", NULL, 80},
    {"add.cc.T R0, R1, R2; addc.cc.T R3, R4, R5; addc.T R6, R7, R8; sub.cc.T R0, R1, R2; subc.cc.T R3, R4, "
     "R5; "
     "subc.T R6, R7, R8; mad.lo.cc.T R0, R1, R2, R3; madc.{lo,hi}.cc.T R0, R1, R2, R3; madc.{lo,hi}.T R0, "
     "R1, R2, R3;",
     I32 I64, 80},
    {"mul24.{lo,hi}.T R0, R1, R2; mad24.{lo,hi}.T R0, R1, R2, R3;", I32, 80},
    {"mad24.hi.sat.s32 %r0, %r1, %r2, %r3;", NULL, 80},
    {"abs.T R0, R1; neg.T R0, R1;", "s16 s32 s64", 80},
    {"popc.T %r0, R1; clz.T %r0, R1; brev.T R0, R1; bfi.T R0, R1, R2, %r3, %r4;", "b32 b64", 80},
    {"bfind.T %r0, R1; bfind.shiftamt.T %r0, R1; bfe.T R0, R1, %r2, %r3;", I32 I64, 80},
    {"fns.b32 %r0, %r1, %r2, %r3; bmsk.{clamp,wrap}.b32 %r0, %r1, %r2; szext.{clamp,wrap}.{u32,s32} %r0, "
     "%r1, %r2;",
     NULL, 80},
    {"dp4a.{u32,s32}.{u32,s32} %r0, %r1, %r2, %r3; dp2a.{lo,hi}.{u32,s32}.{u32,s32} %r0, %r1, %r2, %r3;",
     NULL, 80},
    // bits
    {"and.T R0, R1, R2; or.T R0, R1, R2; xor.T R0, R1, R2; not.T R0, R1; ", "pred " BITS, 80},
    {"cnot.T R0, R1; shl.T R0, R1, %r2; shr.T R0, R1, 3;", BITS, 80},
    {"shr.T R0, R1, %r2;", INT, 80},
    {"lop3.b32 %r0, %r1, %r2, %r3, 0x1b; shf.{l,r}.{clamp,wrap}.b32 %r0, %r1, %r2, %r3;", NULL, 80},
    {"lop3.{and,or}.b32 %r0|%p0, %r1, %r2, %r3, 0x3f, %p1;", NULL, 80},
    {"prmt.b32 %r0, %r1, %r2, %r3; prmt.b32.{f4e,b4e,rc8,ecl,ecr,rc16} %r0, %r1, %r2, %r3;", NULL, 80},
    // floats
    {"add{,.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32 %f0, %f1, %f2; sub{,.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32 %f0, "
     "%f1, %f2; mul{,.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32 %f0, %f1, %f2;",
     NULL, 80},
    {"fma{.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32 %f0, %f1, %f2, %f3; mad{.rn,.rz,.rm,.rp}{,.ftz}{,.sat}.f32 %f0, "
     "%f1, %f2, %f3;",
     NULL, 80},
    {"add{,.rn,.rz,.rm,.rp}.f64 %fd0, %fd1, %fd2; sub{,.rn,.rz,.rm,.rp}.f64 %fd0, %fd1, %fd2; "
     "mul{,.rn,.rz,.rm,.rp}.f64 %fd0, %fd1, %fd2; fma{.rn,.rz,.rm,.rp}.f64 %fd0, %fd1, %fd2, %fd3; "
     "mad{.rn,.rz,.rm,.rp}.f64 %fd0, %fd1, %fd2, %fd3;",
     NULL, 80},
    {"add{,.rn}{,.ftz}{,.sat}.T R0, R1, R2; sub{,.rn}{,.ftz}{,.sat}.T R0, R1, R2; mul{,.rn}{,.ftz}{,.sat}.T "
     "R0, R1, R2; fma.rn{,.ftz}{,.sat,.relu}.T R0, R1, R2, R3; neg{,.ftz}.T R0, R1; abs{,.ftz}.T R0, R1;",
     "f16 f16x2", 80},
    {"fma.rn{,.relu}.T R0, R1, R2, R3; neg.T R0, R1; abs.T R0, R1; min{,.NaN}{,.xorsign.abs}.T R0, R1, R2; "
     "max{,.NaN}{,.xorsign.abs}.T R0, R1, R2;",
     "bf16 bf16x2", 86},
    {"min{,.ftz}{,.NaN}{,.xorsign.abs}.T R0, R1, R2; max{,.ftz}{,.NaN}{,.xorsign.abs}.T R0, R1, R2;",
     "f16 f16x2 f32", 86},
    {"min.f64 %fd0, %fd1, %fd2; max.f64 %fd0, %fd1, %fd2; neg.T R0, R1; abs.T R0, R1; copysign.T R0, R1, R2; "
     "testp.{finite,infinite,number,notanumber,normal,subnormal}.T %p0, R1;",
     F3264, 80},
    {"div.{rn,rz,rm,rp,approx,full}{,.ftz}.f32 %f0, %f1, %f2; rcp.{rn,rz,rm,rp,approx}{,.ftz}.f32 %f0, %f1; "
     "sqrt.{rn,rz,rm,rp,approx}{,.ftz}.f32 %f0, %f1; rsqrt.approx{,.ftz}.f32 %f0, %f1;",
     NULL, 80},
    {"div.{rn,rz,rm,rp}.f64 %fd0, %fd1, %fd2; rcp.{rn,rz,rm,rp,approx.ftz}.f64 %fd0, %fd1; "
     "sqrt.{rn,rz,rm,rp}.f64 %fd0, %fd1; rsqrt.approx{,.ftz}.f64 %fd0, %fd1;",
     NULL, 80},
    {"sin.approx{,.ftz}.f32 %f0, %f1; cos.approx{,.ftz}.f32 %f0, %f1; lg2.approx{,.ftz}.f32 %f0, %f1; "
     "ex2.approx{,.ftz}.f32 %f0, %f1; tanh.approx.f32 %f0, %f1;",
     NULL, 80},
    {"ex2.approx.T R0, R1; tanh.approx.T R0, R1;", "f16 f16x2", 80},
    // comparisons
    {"setp.{eq,ne,lt,le,gt,ge}.T %p0, R1, R2; setp.{eq,lt}.{and,or,xor}.T %p0|%p1, R1, R2, !%p3; selp.T R0, "
     "R1, R2, %p0; set.{eq,ge}.{u32,s32}.T %r0, R1, R2; set.{ne,gt}.{and,or,xor}.f32.T %f0, R1, R2, %p1;",
     INT, 80},
    {"setp.{eq,ne}.T %p0, R1, R2; set.eq.u32.T %r0, R1, R2; selp.T R0, R1, R2, %p0;", BITS, 80},
    {"setp.{lo,ls,hi,hs}.T %p0, R1, R2;", "u16 u32 u64", 80},
    {"setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.T %p0, R1, R2; setp.{lt,nan}.{and,or,xor}.T "
     "%p0|%p1, R1, R2, !%p3; set.{eq,leu,num}.f32.T R0, R1, R2;",
     "f32", 80},
    {"setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.T %p0, R1, R2; set.{eq,leu}.{u32,s32}.T %r0, "
     "R1, R2; selp.T R0, R1, R2, %p0;",
     F3264, 80},
    {"setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}{,.ftz}.f16 %p0, %h1, %h2; "
     "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}{,.ftz}.f16x2 %p0|%p1, %r1, %r2; "
     "setp.lt.and.f16x2 %p0|%p1, %r1, %r2, %p2; set.{lt,nan}{,.ftz}.{f16,s16,u16}.f16 %h0, %h1, %h2; "
     "set.{lt,nan}{,.ftz}.{u32,s32}.f16 %r0, %h1, %h2; set.{lt,nan}{,.ftz}.f16x2.f16x2 %r0, %r1, %r2; "
     "set.gt.and.f16x2.f16x2 %r0, %r1, %r2, %p1;",
     NULL, 80},
    {"slct.T.s32 R0, R1, R2, %r3; slct{,.ftz}.T.f32 R0, R1, R2, %f3;", BITS INT F3264, 80},
    // moves and conversions
    {"mov.T R0, R1;", "pred " BITS INT F3264, 80},
    {"mov.b32 %r0, {%h1, %h2}; mov.b32 {%h1, %h2}, %r0; mov.b64 %rd0, {%r1, %r2}; mov.b64 {%r1, %r2}, %rd0; "
     "mov.b64 %rd0, {%h1, %h2, %h3, %h4}; mov.b64 {%h1, %h2, %h3, %h4}, %rd0; mov.b64 {%r1, _}, %rd0;",
     NULL, 80},
    {"mov.b128 %q0, {%rd1, %rd2}; mov.b128 {%rd1, %rd2}, %q0;", NULL, 90},
    {"cvt.{u8,s8,u16,s16}.T %h0, R1; cvt.{u32,s32}.T %r0, R1; cvt.{u64,s64}.T %rd0, R1; "
     "cvt.{rn,rz,rm,rp}.f16.T %h0, R1; cvt.{rn,rz,rm,rp}{,.sat}.f32.T %f0, R1; cvt.{rn,rz,rm,rp}.f64.T %fd0, "
     "R1;",
     INT, 80},
    {"cvt.{rni,rzi,rmi,rpi}{,.ftz}{,.sat}.{u8,s8,u16,s16}.f32 %h0, %f1; "
     "cvt.{rni,rzi,rmi,rpi}{,.ftz}{,.sat}.{u32,s32}.f32 "
     "%r0, %f1; cvt.{rni,rzi,rmi,rpi}{,.ftz}{,.sat}.{u64,s64}.f32 %rd0, %f1; "
     "cvt{.rni,.rzi,.rmi,.rpi}{,.ftz}{,.sat}.f32.f32 %f0, %f1; cvt{,.ftz}.sat.f32.f32 %f0, %f1;",
     NULL, 80},
    {"cvt.{rni,rzi,rmi,rpi}{,.sat}.{u8,s8,u16,s16}.T %h0, R1; cvt.{rni,rzi,rmi,rpi}{,.sat}.{u32,s32}.T %r0, "
     "R1; cvt.{rni,rzi,rmi,rpi}{,.sat}.{u64,s64}.T %rd0, R1; cvt{.rni,.rzi,.rmi,.rpi}{,.sat}.T.T R0, R1;",
     "f16 f64", 80},
    {"cvt{,.ftz}{,.sat}.f32.f16 %f0, %h1; cvt{,.sat}.f64.f16 %fd0, %h1; cvt{,.ftz}{,.sat}.f64.f32 %fd0, %f1; "
     "cvt.{rn,rz,rm,rp}{,.ftz}{,.sat}.f16.f32 %h0, %f1; cvt.{rn,rz,rm,rp}{,.sat}.f16.f64 %h0, %fd1; "
     "cvt.{rn,rz,rm,rp}{,.ftz}{,.sat}.f32.f64 %f0, %fd1;",
     NULL, 80},
    {"cvt.{rn,rz}{,.relu}.bf16.f32 %h0, %f1; cvt.{rn,rz}{,.relu}.bf16x2.f32 %r0, %f1, %f2; "
     "cvt.{rn,rz}{,.relu}.f16x2.f32 %r0, "
     "%f1, %f2; cvt.{rn,rz}.relu.f16.f32 %h0, %f1; cvt.rna.tf32.f32 %r0, %f1;",
     NULL, 80},
    {"cvt.f32.bf16 %f0, %h1; cvt.{rn,rz,rm,rp}.bf16.T %h0, R1; cvt.{rni,rzi,rmi,rpi}.T.bf16 R0, %h1;", INT,
     90},
    {"cvt.{rn,rz,rm,rp}.bf16.f64 %h0, %fd1; cvt.rn.bf16.f16 %h0, %h1; cvt.f64.bf16 %fd0, %h1; "
     "cvt.{rn,rz}.tf32.f32 %r0, %f1;",
     NULL, 90},
    {"cvt.rn.satfinite{,.relu}.{e4m3x2,e5m2x2}.f32 %h0, %f1, %f2; "
     "cvt.rn.satfinite{,.relu}.{e4m3x2,e5m2x2}.f16x2 %h0, %r1; "
     "cvt.rn{,.relu}.f16x2.{e4m3x2,e5m2x2} %r0, %h1;",
     NULL, 90},
    {"cvt.sat.{u8,s8,u16,s16}.s32 %h0, %r1; cvt.sat.{u8,s8,s16}.u32 %h0, %r1; cvt.sat.u32.s64 %r0, %rd1; "
     "cvt.sat.s32.{s64,u64} "
     "%r0, %rd1; cvt.sat.u32.s32 %r0, %r1; cvt.sat.s32.u32 %r0, %r1; cvt.sat.u64.s32 %rd0, %r1;",
     NULL, 80},
    {"cvt.pack.sat.{u16,s16}.s32 %r0, %r1, %r2; cvt.pack.sat.{u8,s8,u4,s4,u2,s2}.s32.b32 %r0, %r1, %r2, %r3;",
     NULL, 80},
    {"cvta.{global,shared,local,const}.u64 %rd0, %rd1; cvta.to.{global,shared,local,const}.u64 %rd0, %rd1; "
     "isspacep.{global,shared,local,const} %p0, %rd1;",
     NULL, 80},
    {"mov.u32 %r0, %{tid,ntid,ctaid,nctaid}.{x,y,z}; mov.u32 %r0, "
     "%{laneid,warpid,nwarpid,smid,nsmid,lanemask_eq,lanemask_lt,lanemask_le,lanemask_gt,lanemask_ge,clock,"
     "clock_hi,"
     "globaltimer_lo,globaltimer_hi,total_smem_size,dynamic_smem_size,envreg0,envreg31,pm0,pm7,reserved_smem_"
     "offset_begin,reserved_smem_offset_1}; mov.u64 %rd0, "
     "%{clock64,globaltimer,gridid,pm0_64,current_graph_exec};",
     NULL, 80},
    // memory
    {"ld{,.volatile,.relaxed.cta,.relaxed.gpu,.relaxed.sys,.acquire.cta,.acquire.gpu,.acquire.sys,.weak}{,."
     "global,.shared}.T R0, "
     "[%rd1+8]; st{,.volatile,.relaxed.cta,.release.gpu,.relaxed.sys,.weak}{,.global,.shared}.T [%rd1+8], "
     "R0;",
     "b8 u8 s8 " BITS INT F3264, 80},
    {"ld{,.global,.shared,.local}.v2.T {R0, R1}, [%rd1]; st{,.global,.shared,.local}.v2.T [%rd1], {R0, R1};",
     "b8 u8 s8 " BITS INT F3264, 80},
    {"ld{,.global,.shared,.local}.v4.T {R0, R1, R2, R3}, [%rd1]; st{,.global,.shared,.local}.v4.T [%rd1], "
     "{R0, R1, R2, R3};",
     "b8 u8 s8 b16 u16 s16 b32 u32 s32 f32", 80},
    {"ld.{const,local}.T R0, [%rd1]; st.local.T [%rd1], R0; ld.global{,.ca,.cg,.cs,.lu,.cv}.T R0, [%rd1]; "
     "ld.global{,.ca,.cg,.cs}.nc.T R0, [%rd1]; ldu.global.T R0, [%rd1]; st.global{,.wb,.cg,.cs,.wt}.T "
     "[%rd1], R0;",
     BITS INT F3264, 80},
    {"ld.global.L1::evict_last.u32 %r0, [%rd1]; ld.global.L1::no_allocate.L2::128B.v4.u32 {%r0, %r1, %r2, "
     "%r3}, [%rd1]; "
     "createpolicy.fractional.L2::evict_last.b64 %rd2, 1.0; "
     "createpolicy.range.global.L2::evict_last.L2::evict_unchanged.b64 %rd2, [%rd1], 4096, 8192; "
     "ld.global.L2::cache_hint.u32 %r0, [%rd1], %rd2; "
     "st.global.L1::evict_first.L2::cache_hint.u32 [%rd1], %r0, %rd2;",
     NULL, 80},
    {"prefetch{,.global,.local}.{L1,L2} [%rd1]; prefetchu.L1 [%rd1]; prefetch.global.L2::evict_{last,normal} "
     "[%rd1]; applypriority.global.L2::evict_normal [%rd1], 128; discard.global.L2 [%rd1], 128;",
     NULL, 80},
    {"atom{,.global,.shared}.add.T R0, [%rd1], R2; red{,.global,.shared}.add.T [%rd1], R2;",
     "u32 s32 u64 f32 f64", 80},
    {"atom{,.global,.shared}.{min,max}.T R0, [%rd1], R2; red{,.global,.shared}.{min,max}.T [%rd1], R2;",
     I32 I64, 80},
    {"atom{,.relaxed.gpu,.acquire.cta,.release.sys,.acq_rel.gpu}{,.global,.shared}.{and,or,xor,exch}.T R0, "
     "[%rd1], R2; atom{,.acquire.cta}{,.global,.shared}.cas.T R0, [%rd1], R2, R3; "
     "red{,.release.gpu}{,.global,.shared}.{and,or,xor}.T [%rd1], R2;",
     "b32 b64", 80},
    {"atom{,.global,.shared}.{inc,dec}.u32 %r0, [%rd1], %r2; red{,.global,.shared}.{inc,dec}.u32 [%rd1], "
     "%r2; "
     "atom.global.cas.b16 %h0, [%rd1], %h2, %h3; atom{,.global,.shared}.add.noftz.f16 %h0, [%rd1], %h2; "
     "atom.add.noftz.f16x2 %r0, [%rd1], %r2; red.global.add.noftz.{f16x2} [%rd1], %r2;",
     NULL, 80},
    {"atom.add.noftz.bf16 %h0, [%rd1], %h2; atom.add.noftz.bf16x2 %r0, [%rd1], %r2;", NULL, 90},
    {"cp.async.ca.shared.global [%r0], [%rd1], {4,8,16}; cp.async.cg.shared.global [%r0], [%rd1], 16, %r2; "
     "cp.async.ca.shared.global.L2::128B [%r0], [%rd1], 8; cp.async.commit_group; cp.async.wait_group 1; "
     "cp.async.wait_all; cp.async.mbarrier.arrive{,.noinc}{,.shared}.b64 [%rd1];",
     NULL, 80},
    {"membar.{cta,gl,sys}; fence.{sc,acq_rel}.{cta,gpu,sys}; membar.proxy.alias; fence.proxy.alias;", NULL,
     80},
    {"ld.mmio.relaxed.sys{,.global}.T R0, [%rd1]; st.mmio.relaxed.sys{,.global}.T [%rd1], R0;", BITS F3264,
     80},
    // threads
    {"bar.sync 0; bar.sync 1, 64; bar.sync %r1, %r2; bar.arrive 1, 64; bar.red.popc.u32 %r0, 2, %p1; "
     "bar.red.{and,or}.pred "
     "%p0, 3, 64, !%p1; barrier.sync{,.aligned} 0; barrier.arrive{,.aligned} 4, 64; bar.warp.sync %r1; "
     "barrier.red.popc{,.aligned}.u32 %r0, 2, %p1; bar.cta.sync 0; barrier.cta.sync 0;",
     NULL, 80},
    {"shfl.sync.{up,down,bfly,idx}.b32 %r0|%p0, %r1, %r2, %r3, -1; shfl.sync.idx.b32 %r0, %r1, 3, 31, %r4; "
     "vote.sync.{all,any,uni}.pred %p0, %p1, -1; vote.sync.ballot.b32 %r0, %p1, %r2; match.any.sync.b32 %r0, "
     "%r1, %r2; "
     "match.any.sync.b64 %r0, %rd1, %r2; match.all.sync.b32 %r0|%p0, %r1, %r2; match.all.sync.b64 %r0|%p0, "
     "%rd1, %r2; activemask.b32 %r0; redux.sync.{add,min,max}.{u32,s32} %r0, "
     "%r1, -1; redux.sync.{and,or,xor}.b32 %r0, %r1, -1; nanosleep.u32 %r1;",
     NULL, 80},
    {"shfl.{up,down,bfly,idx}.b32 %r0|%p0, %r1, %r2, %r3; vote.{all,any,uni}.pred %p0, %p1; vote.ballot.b32 "
     "%r0, %p1;",
     NULL, 60},
    {"elect.sync %r0|%p0, -1;", NULL, 90},
    {"mbarrier.init{,.shared}.b64 [%rd1], 32; mbarrier.arrive{,.shared}.b64 %rd0, [%rd1]; "
     "mbarrier.arrive{,_drop}.noComplete{,.shared}.b64 %rd0, [%rd1], 2; mbarrier.arrive_drop{,.shared}.b64 "
     "%rd0, [%rd1]; "
     "mbarrier.test_wait{,.shared}.b64 %p0, [%rd1], %rd2; mbarrier.test_wait.parity{,.shared}.b64 %p0, "
     "[%rd1], %r2; mbarrier.pending_count.b64 %r0, %rd1; mbarrier.inval{,.shared}.b64 [%rd1];",
     NULL, 80},
    // video
    {"{vadd,vsub,vabsdiff,vmin,vmax}.{u32,s32}.{u32,s32}.{u32,s32}{,.sat} %r0, %r1, %r2;", NULL, 80},
    {"{vadd,vsub,vabsdiff,vmin,vmax}.s32.u32.s32.sat.{add,min,max} %r0, %r1.{b0,b3,h1}, %r2.{h0,b2}, %r3; "
     "{vadd,vsub,vabsdiff,vmin,vmax}.u32.u32.s32{,.sat} %r0.{b0,b1,b2,b3,h0,h1}, %r1.b1, %r2, %r3;",
     NULL, 80},
    {"{vshl,vshr}.{u32,s32}.{u32,s32}.u32{,.sat}.{clamp,wrap} %r0, %r1, %r2; "
     "{vshl,vshr}.u32.s32.u32.clamp.{add,min,max} %r0, "
     "%r1.b1, %r2.h0, %r3; {vshl,vshr}.u32.u32.u32.wrap %r0.h1, %r1, %r2, %r3;",
     NULL, 80},
    {"vmad.{u32,s32}.{u32,s32}.{u32,s32}{,.sat}{,.shr7,.shr15} %r0, %r1, %r2, %r3; "
     "vmad.s32.s32.u32{,.sat}{,.shr7} %r0, "
     "-%r1.h0, %r2.b1, %r3; vmad.s32.u32.u32.shr15 %r0, %r1, %r2.b3, -%r3; "
     "vmad.u32.u32.u32.po{,.sat}{,.shr7} %r0, %r1, %r2, %r3;",
     NULL, 80},
    {"vset.{u32,s32}.{u32,s32}.{eq,ne,lt,le,gt,ge} %r0, %r1.b0, %r2; vset.s32.u32.lt.{add,min,max} %r0, %r1, "
     "%r2.h1, %r3; vset.u32.u32.ge %r0.b2, %r1, %r2, %r3;",
     NULL, 80},
    {"{vadd,vsub,vavrg,vabsdiff,vmin,vmax}{2,4}.{u32,s32}.{u32,s32}.{u32,s32}{,.sat,.add} %r0, %r1, %r2, "
     "%r3; vset{2,4}.{u32,s32}.u32.{eq,ne,lt,le,gt,ge}{,.add} %r0, %r1, %r2, %r3;",
     NULL, 80},
    {"{vadd2,vabsdiff2,vmax2}.s32.u32.s32 %r0.{h0,h1,h10}, %r1.{h10,h32,h01}, %r2.{h32,h13}, %r3; "
     "{vsub4,vavrg4}.u32.s32.u32 %r0.{b0,b31,b3210}, %r1.{b3210,b7531}, %r2.{b7654,b0123}, %r3; "
     "vset4.u32.s32.le %r0.b21, %r1, %r2.b0000, %r3;",
     NULL, 80},
    {"alloca.u64 %rd0, %rd1; alloca.u32 %r0, %r1, 16; stacksave.u64 %rd2; stackrestore.u64 %rd2; "
     "stacksave.u32 %r3; stackrestore.u32 %r3;",
     NULL, 80},
    {"mma.sync.aligned.m8n8k4.{row,col}.{row,col}.f16.f16.f16.f16 {%r0, %r1, %r2, %r3}, {%r4, %r5}, {%r6, "
     "%r7}, {%r0, %r1, %r2, %r3};",
     NULL, 80},
    // matrices
    {"mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1}, {%r2}, {%f0, %f1, "
     "%f2, %f3}; "
     "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1, %r2, %r3}, {%r4, "
     "%r5}, {%f0, %f1, %f2, %f3}; "
     "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1}, {%r2}, {%f0, %f1, "
     "%f2, %f3}; "
     "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1, %r2, %r3}, {%r4, "
     "%r5}, {%f0, %f1, %f2, %f3}; "
     "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r0, %r1}, {%r2, %r3}, {%r4}, {%r0, %r1}; "
     "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1, %r2, %r3}, {%r4, "
     "%r5}, {%f0, %f1, %f2, %f3}; "
     "mma.sync.aligned.m8n8k4.row.col{,.rn,.rz,.rm,.rp}.f64.f64.f64.f64 {%fd0, %fd1}, {%fd2}, {%fd3}, {%fd0, "
     "%fd1};",
     NULL, 80},
    {"mma.sync.aligned.m8n8k16.row.col{,.satfinite}.s32.{s8,u8}.{s8,u8}.s32 {%r0, %r1}, {%r2}, {%r3}, {%r0, "
     "%r1}; "
     "mma.sync.aligned.m16n8k16.row.col{,.satfinite}.s32.{s8,u8}.{s8,u8}.s32 {%r0, %r1, %r2, %r3}, {%r4, "
     "%r5}, {%r6}, {%r0, %r1, %r2, %r3}; "
     "mma.sync.aligned.m16n8k32.row.col{,.satfinite}.s32.{s8,u8}.{s8,u8}.s32 {%r0, %r1, %r2, %r3}, {%r0, "
     "%r1, %r2, %r3}, {%r6, %r7}, {%r0, %r1, %r2, %r3}; "
     "mma.sync.aligned.m8n8k32.row.col{,.satfinite}.s32.{s4,u4}.{s4,u4}.s32 {%r0, %r1}, {%r2}, {%r3}, {%r0, "
     "%r1}; "
     "mma.sync.aligned.m16n8k32.row.col{,.satfinite}.s32.{s4,u4}.{s4,u4}.s32 {%r0, %r1, %r2, %r3}, {%r4, "
     "%r5}, {%r6}, {%r0, %r1, %r2, %r3}; "
     "mma.sync.aligned.m16n8k64.row.col{,.satfinite}.s32.{s4,u4}.{s4,u4}.s32 {%r0, %r1, %r2, %r3}, {%r0, "
     "%r1, %r2, %r3}, {%r6, %r7}, {%r0, %r1, %r2, %r3}; "
     "mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.{xor,and}.popc {%r0, %r1}, {%r2}, {%r3}, {%r0, %r1}; "
     "mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.{xor,and}.popc {%r0, %r1, %r2, %r3}, {%r4, %r5}, "
     "{%r6}, {%r0, %r1, %r2, %r3}; "
     "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.{xor,and}.popc {%r0, %r1, %r2, %r3}, {%r0, %r1, %r2, "
     "%r3}, {%r6, %r7}, {%r0, %r1, %r2, %r3};",
     NULL, 80},
    {"mma{.sp,.sp::ordered_metadata}.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r0, %r1}, {%r2, %r3}, "
     "{%r4, "
     "%r5}, {%r0, %r1}, %r6, 3; "
     "mma{.sp,.sp::ordered_metadata}.sync.aligned.m16n8k32.row.col.f16.f16.f16.f16 {%r0, %r1}, {%r0, %r1, "
     "%r2, %r3}, "
     "{%r4, %r5, %r6, %r7}, {%r0, %r1}, %r8, 1; "
     "mma{.sp,.sp::ordered_metadata}.sync.aligned.m16n8k16.row.col.f32.{f16.f16,bf16.bf16}.f32 {%f0, %f1, "
     "%f2, %f3}, "
     "{%r2, %r3}, {%r4, %r5}, {%f0, %f1, %f2, %f3}, %r6, 0; "
     "mma{.sp,.sp::ordered_metadata}.sync.aligned.m16n8k32.row.col.f32.{f16.f16,bf16.bf16}.f32 {%f0, %f1, "
     "%f2, %f3}, "
     "{%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%f0, %f1, %f2, %f3}, %r8, 0; "
     "mma{.sp,.sp::ordered_metadata}.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, "
     "{%r2, %r3}, "
     "{%r4, %r5}, {%f0, %f1, %f2, %f3}, %r6, 2; "
     "mma{.sp,.sp::ordered_metadata}.sync.aligned.m16n8k16.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, "
     "{%r0, %r1, "
     "%r2, %r3}, {%r4, %r5, %r6, %r7}, {%f0, %f1, %f2, %f3}, %r8, 1;",
     NULL, 80},
    {"mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%r0, %r1, %r2, %r3}, {%r4, %r5}, "
     "{%r6, %r7}, {%r0, %r1, %r2, %r3}, %r8, 1; "
     "mma.sp::ordered_metadata.sync.aligned.m16n8k128.row.col.satfinite.s32.u4.u4.s32 {%r0, %r1, %r2, %r3}, "
     "{%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r0, %r1, %r2, %r3}, %r8, 0;",
     NULL, 80},
    {"mma.sp.sync.aligned.m16n8k32.row.col{,.satfinite}.s32.{s8,u8}.{s8,u8}.s32 "
     "{%r0, %r1, "
     "%r2, %r3}, {%r4, %r5}, {%r6, %r7}, {%r0, %r1, %r2, %r3}, %r8, 1; "
     "mma.sp.sync.aligned.m16n8k64.row.col{,.satfinite}.s32.{s8,u8}.{s8,u8}.s32 "
     "{%r0, %r1, "
     "%r2, %r3}, {%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r0, %r1, %r2, %r3}, %r8, 0;",
     NULL, 80},
    {"mma.sp.sync.aligned.m16n8k64.row.col{,.satfinite}.s32.{s4,u4}.{s4,u4}.s32 "
     "{%r0, %r1, "
     "%r2, %r3}, {%r4, %r5}, {%r6, %r7}, {%r0, %r1, %r2, %r3}, %r8, 1; "
     "mma.sp.sync.aligned.m16n8k128.row.col{,.satfinite}.s32.{s4,u4}.{s4,u4}.s32 "
     "{%r0, %r1, "
     "%r2, %r3}, {%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r0, %r1, %r2, %r3}, %r8, 0;",
     NULL, 80},
    {"wmma.load.{a,b}.sync.aligned.{row,col}.{m16n16k16,m32n8k16,m8n32k16}{,.global,.shared,.shared::cta}."
     "f16 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%rd1]; "
     "wmma.load.a.sync.aligned.row.m16n16k16.bf16 {%r0, %r1, %r2, %r3}, [%rd1], %r8; "
     "wmma.load.a.sync.aligned.row.m16n16k8.tf32 {%r0, %r1, %r2, %r3}, [%rd1], %r8; "
     "wmma.load.{a,b}.sync.aligned.row.m16n16k16.{s8,u8} {%r0, %r1}, [%rd1], 32; "
     "wmma.load.a.sync.aligned.row.m8n8k32.{s4,u4} {%r0}, [%rd1]; wmma.load.a.sync.aligned.row.m8n8k128.b1 "
     "{%r0}, [%rd1]; "
     "wmma.load.a.sync.aligned.row.m8n8k4.f64 {%fd0}, [%rd1]; wmma.load.c.sync.aligned.row.m16n16k16.f32 "
     "{%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}, [%rd1]; "
     "wmma.load.c.sync.aligned.col.m16n16k16.s32 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%rd1]; "
     "wmma.store.d.sync.aligned.{row,col}.m16n16k16.f32 [%rd1], {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}; "
     "wmma.store.d.sync.aligned.{row,col}.m16n16k16.s32 [%rd1], {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}; "
     "wmma.store.d.sync.aligned.row.m16n16k16.f16 [%rd1], {%r0, %r1, %r2, %r3}; "
     "wmma.store.d.sync.aligned.row.m8n8k4.f64 [%rd1], {%fd0, %fd1};",
     NULL, 80},
    {"wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m32n8k16,m8n32k16}.f32.f32 {%f0, %f1, %f2, %f3, "
     "%f4, %f5, %f6, %f7}, {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, {%r0, %r1, %r2, %r3, %r4, %r5, %r6, "
     "%r7}, {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}; "
     "wmma.mma.sync.aligned.row.col.m16n16k16.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}, "
     "{%r0, %r1, %r2, %r3}, {%r0, %r1, %r2, %r3}, {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}; "
     "wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}, "
     "{%r0, %r1, %r2, %r3}, {%r0, %r1, %r2, %r3}, {%f0, %f1, %f2, %f3, %f4, %f5, %f6, %f7}; "
     "wmma.mma.sync.aligned.row.col.m8n8k4{,.rn,.rz,.rm,.rp}.f64.f64.f64.f64 {%fd0, %fd1}, {%fd2}, {%fd3}, "
     "{%fd0, %fd1}; "
     "wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32{,.satfinite} {%r0, %r1, %r2, %r3, %r4, %r5, %r6, "
     "%r7}, {%r0, %r1}, {%r2, %r3}, {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}; "
     "wmma.mma.sync.aligned.row.col.m8n8k32.s32.{s4.s4,u4.u4}.s32{,.satfinite} {%r0, %r1}, {%r2}, {%r3}, "
     "{%r0, %r1}; "
     "wmma.mma.{xor,and}.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32 {%r0, %r1}, {%r2}, {%r3}, {%r0, "
     "%r1};",
     NULL, 80},
    {"ldmatrix.sync.aligned.m8n8.x1{,.trans}{,.shared,.shared::cta}.b16 {%r0}, [%rd1]; "
     "ldmatrix.sync.aligned.m8n8.x2{,.trans}.shared.b16 {%r0, %r1}, [%rd1]; "
     "ldmatrix.sync.aligned.m8n8.x4{,.trans}.shared.b16 {%r0, %r1, %r2, %r3}, [%rd1]; "
     "movmatrix.sync.aligned.m8n8.trans.b16 %r0, %r1;",
     NULL, 80},
    // what is newer than sm_80 and costs nothing to have
    {"set.{lt,nan}.{bf16,u16,s16}.bf16 %h0, %h1, %h2; set.{lt,nan}.bf16x2.bf16x2 %r0, %r1, %r2; "
     "setp.{lt,nan}.bf16 %p0, %h1, %h2; setp.{lt,nan}.bf16x2 %p0|%p1, %r1, %r2; "
     "ex2.approx.ftz.T R0, R1; tanh.approx.T R0, R1; add{,.rn}.T R0, R1, R2; sub{,.rn}.T R0, R1, R2; "
     "mul{,.rn}.T R0, R1, R2; red.add.noftz.T [%rd1], R2;",
     "bf16 bf16x2", 90},
    {"ld{,.global,.shared,.local}.b128 %q0, [%rd1]; st{,.global,.shared,.local}.b128 [%rd1], %q0;", NULL, 90},
    {"red{,.global}.add.noftz.{f16} [%rd1], %h2; ldu.global.T R0, [%rd1]; barrier.red.{and,or}.pred %p0, 3, "
     "64, %p1; "
     "barrier.cta.red.{and,or}.pred %p0, 3, %p1;",
     "u8 s8 b8", 80},
    {"mbarrier.arrive.release.{cta,cluster}.shared::cta.b64 %rd0, [%rd1]; "
     "mbarrier.test_wait.acquire.{cta,cluster}.shared.b64 %p0, [%rd1], %rd2; {min,max}.relu.s32 "
     "%r0, %r1, %r2;",
     NULL, 90},
    {"atom.global.add.L2::cache_hint.u32 %r0, [%rd1], %r2, %rd2; red.global.add.L2::cache_hint.u32 [%rd1], "
     "%r2, %rd2; "
     "red.relaxed.{cta,gpu,sys}.global.add.u32 [%rd1], %r2; cp.async.cg.shared.global.L2::cache_hint [%r0], "
     "[%rd1], 16, %rd2; "
     "createpolicy.cvt.L2.b64 %rd2, 0x14; set.{eq,ne,lt,le,gt,ge,lo,ls,hi,hs}.u32.u32 %r0, %r1, %r2; "
     "ld.param.u64 %rd0, [in]; "
     "cvta{,.to}.param.u64 %rd0, %rd1; isspacep.param %p0, %rd1;",
     NULL, 80},
    // what CUDA's headers hold besides (cuda_fp16.hpp, cuda_bf16.hpp)
    {"cvt.{rni,rzi,rmi,rpi}.bf16.bf16 %h0, %h1; cvt.{rm,rp}.bf16.f32 %h0, %f1; cvt.rn.f16.bf16 %h0, %h1; "
     "set.eq.f16.f16 %h0, %h1, %h2; set.eq.f16x2.f16x2 %r0, %r1, %r2; "
     "set.nan.f32.f32 %f0, %f1, %f2;",
     NULL, 90},
    // what no assembler takes, and LLVM has written
    {"mov.T R0, R1; selp.T R0, R1, R2, %p0; ld.global.T R0, [%rd1]; st.global.T [%rd1], R0; ldu.global.T R0, "
     "[%rd1];",
     "f16 f16x2 bf16 bf16x2", 0},
    {"cvt.rzi.{s8,u8}.bf16 %h0, %h1; mbarrier.arrive.relaxed.cta.shared.b64 %rd0, [%rd1]; "
     "fence.{acquire,release}.{cta,gpu,sys}; "
     "bar.sync.aligned 0; ldu.param.u32 %r0, [%rd1]; st.param.b32 "
     "[%rd1], %r0; "
     "prefetch.{shared,const,param}.L1 [%rd1]; prefetchu.L2 [%rd1]; discard.{shared,local,const,param}.L2 "
     "[%rd1], 128; "
     "discard.global.L1 [%rd1], 128; applypriority.{shared,local,const,param}.L2::evict_normal [%rd1], 128; "
     "createpolicy.range.{shared,local,const,param}.L2::evict_last.b64 %rd2, [%rd1], 4096, 8192; "
     "createpolicy.fractional.{L1,L2}.L2::evict_last.b64 %rd2, 1.0;",
     NULL, 0},
    {"red.{relaxed,acquire,acq_rel}.gpu.global.add.u32 [%rd1], %r2; st.global.L2::evict_last.u32 [%rd1], "
     "%r0; "
     "ldu{.shared,.local,.const}.u32 %r0, [%rd1]; ldu.global.v2.u32 {%r0, %r1}, [%rd1];",
     NULL, 0},
    {"ldu.global.b128 %q0, [%rd1]; cvta.global.u32 %r0, %r1; cvta.to.global.u32 %r0, %r1;", NULL, 0},
    // control
    {"@%p1 bra L; bra.uni L; L: pmevent 3; pmevent.mask 0x8001; @%p2 trap; @%p3 brkpt; @%p4 exit; @%p5 ret; "
     "@%p6 ret.uni; "
     "T: .branchtargets M, N; brx.idx %r1, T; M: bra N; brx.idx.uni %r1, T; N: bra L; P: .callprototype _ "
     "(); call %rd1, P; call.uni %rd1, P;",
     NULL, 80},
};
const size_t isa_run_count = TW_COUNT(isa_runs);

// What the manual has up to sm_80 and is not offered, or is newer.
const struct isa_refusal isa_refused[] = {
    {"tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [t, {%f4, %f5}];", "texture unit"},
    {"tld4.r.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [t, {%f4, %f5}];", "texture unit"},
    {"txq.width.b32 %r0, [t];", "texture unit"},
    {"suld.b.1d.b32.trap {%r0}, [s, {%r1}];", "surfaces"},
    {"sust.b.1d.b32.trap [s, {%r1}], {%r0};", "surfaces"},
    {"mma.sync.aligned.m8n8k4.row.col.f32.bf16.bf16.f32 {%f0}, {%r0}, {%r2}, {%f0};", "no such product"},
    {"mov.u32 %r0, %clusterid.x;", "'%clusterid.x' is not supported: it needs sm_90"},
    {"wgmma.fence.sync.aligned;", "sm_90a"},
    {"sured.b.add.1d.u32.trap [s, {%r1}], %r0;", "surfaces"},
    {"suq.width.b32 %r0, [s];", "surfaces"},
    {"istypep.texref %p0, %rd1;", "surfaces"},
    {"setmaxnreg.inc.sync.aligned.u32 64;", "sm_90a"},
    {"clusterlaunchcontrol.try_cancel.async.shared::cta.b128 [%rd0], [%rd1];", "sm_100a"},
    {"tensormap.replace.tile.rank.global.b1024.b32 [%rd0], 1;", "sm_90"},
    {"getctarank.u64 %r0, %rd1;", "sm_90"},
    {"multimem.red.relaxed.sys.global.add.u32 [%rd0], %r1;", "sm_90"},
    {"stmatrix.sync.aligned.m8n8.x1.shared.b16 [%rd0], {%r0};", "sm_90"},
    {"fabric.try_cancel;", "sm_90"},
    {"mma.sp.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f0}, {%r0}, {%r2}, {%f0}, %r4, 0;",
     "no such product"},
    {"mapa.u64 %rd0, %rd1, %r0;", "sm_90"},
    {"griddepcontrol.wait;", "sm_90"},
    {"barrier.cluster.arrive;", "'.cluster'"},
    {"cp.async.bulk.commit_group;", "'.bulk'"},
    {"min.s16x2 %r0, %r1, %r2;", "'.s16x2'"},
    {"tcgen05.fence::before_thread_sync;", "sm_100a"},
};
const size_t isa_refused_count = TW_COUNT(isa_refused);

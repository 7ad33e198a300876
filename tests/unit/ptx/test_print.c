// SPDX-License-Identifier: Apache-2.0
//
// Statements printed as PTX. The printed text reads back to the same instructions, and prints the same again;
// where PTX needs other words, they are spelled out here. With TW_PTXAS=path every text is also given to
// NVIDIA's assembler.

#include "print_check.h"

// ---- statements ----

// Each comes back as the very IR it was printed from; test_integers.c and the like know what that is.
static const char *const statements[] = {
    "mov.b32 %r1, %r2; mov.f32 %f1, 0f3F800000; mov.f64 %fd1, 0dC000000000000000; "
    "mov.pred %p1, 1; mov.b16 %h1, -2; mov.b64 %rd1, 0x8000000000000000;",
    "mov.u32 %r1, %tid.x; mov.u64 %rd1, %clock64; mov.u32 %r2, %laneid; "
    "mov.u32 %r3, %total_smem_size;",
    "mov.b64 %rd1, {%r1, %r2}; mov.b32 {%h1, %h2}, %r3; mov.b32 {_, %h3}, %r3; "
    "mov.b128 %q1, {%rd1, %rd2};",
    "selp.f32 %f1, %f2, 0f00000000, %p1; selp.b16 %h1, %h2, -1, %p2; "
    "slct.u32.s32 %r1, %r2, %r3, %r4;",
    "add.s32 %r1, %r2, -1; add.sat.s32 %r1, %r2, %r3; add.rn.ftz.sat.f32 %f1, %f2, 0f3F800000; "
    "add.f64 %fd1, %fd2, %fd3; sub.s64 %rd1, %rd2, %rd3; add.f16 %h1, %h2, %h3;",
    "mul.lo.s32 %r1, %r2, 3; mul.hi.u64 %rd1, %rd2, %rd3; mul.wide.s16 %r1, %h1, %h2; "
    "mul.rz.f32 %f1, %f2, %f3; mul24.hi.s32 %r1, %r2, %r3; mad.lo.u32 %r1, %r2, %r3, %r4;",
    "div.s32 %r1, %r2, %r3; rem.u64 %rd1, %rd2, 7; div.rn.f64 %fd1, %fd2, %fd3; "
    "div.approx.ftz.f32 %f1, %f2, %f3; div.full.f32 %f1, %f2, %f3;",
    "min.s16 %h1, %h2, %h3; max.ftz.NaN.f32 %f1, %f2, %f3; min.xorsign.abs.f32 %f1, %f2, %f3; "
    "abs.ftz.f32 %f1, %f2; neg.s64 %rd1, %rd2;",
    "not.pred %p1, %p2; cnot.b32 %r1, %r2; and.pred %p1, %p2, %p3; or.b16 %h1, %h2, 3; "
    "xor.b64 %rd1, %rd2, -1; shl.b64 %rd1, %rd2, %r1; shr.s32 %r1, %r2, 4; shr.b16 %h1, %h2, %r3;",
    "shf.l.wrap.b32 %r1, %r2, %r3, %r4; shf.r.clamp.b32 %r1, %r2, %r3, 8; bfe.s32 %r1, %r2, 3, 4; "
    "bfi.b64 %rd1, %rd2, %rd3, %r1, %r2; bfind.shiftamt.u64 %r1, %rd1; brev.b32 %r1, %r2; "
    "clz.b64 %r1, %rd1; popc.b32 %r1, %r2;",
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, %r2, %r3, %r4}, {%r5, "
    "%r6}, "
    "{%f1, %f2, %f3, %f4}; mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.u8.s32 {%r1, %r2, %r3, %r4}, "
    "{%r5, %r6, %r7, %r8}, {%r1, %r2}, {%r1, %r2, %r3, %r4}; mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 "
    "{%fd1, %fd2}, {%fd3}, {%fd4}, {%fd1, %fd2}; mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc "
    "{%r1, %r2}, {%r3}, {%r4}, {%r1, %r2};",
    "mma.sp.sync.aligned.m16n8k32.row.col.f16.f16.f16.f16 {%r1, %r2}, {%r1, %r2, %r3, %r4}, {%r5, %r6, %r7, "
    "%r8}, "
    "{%r1, %r2}, %r3, 1; mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.satfinite.s32.u4.s4.s32 "
    "{%r1, %r2, "
    "%r3, %r4}, {%r1, %r2}, {%r5, %r6}, {%r1, %r2, %r3, %r4}, %r7, 0; "
    "mma.sync.aligned.m8n8k4.row.col.rz.f64.f64.f64.f64 {%fd1, %fd2}, {%fd3}, {%fd4}, {%fd1, %fd2}; "
    "wmma.mma.sync.aligned.row.col.m8n8k4.rp.f64.f64.f64.f64 {%fd1, %fd2}, {%fd3}, {%fd4}, {%fd1, %fd2};",
    "wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, [%rd1], "
    "%r7; "
    "wmma.load.b.sync.aligned.row.m16n16k16.f16 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, [%rd2]; "
    "wmma.mma.sync.aligned.row.row.m16n16k16.f16.f32 {%r1, %r2, %r3, %r4}, {%r1, %r2, %r3, %r4, %r5, %r6, "
    "%r7, "
    "%r8}, {%r8, %r7, %r6, %r5, %r4, %r3, %r2, %r1}, {%f1, %f2, %f3, %f4, %f1, %f2, %f3, %f4}; "
    "wmma.store.d.sync.aligned.col.m16n16k16.global.f16 [%rd3+32], {%r1, %r2, %r3, %r4}, 16;",
    "mov.u64 %rd1, tile; mbarrier.init.shared.b64 [%rd1], 32; mbarrier.arrive.shared.b64 %rd2, [%rd1]; "
    "mbarrier.arrive_drop.shared.b64 %rd2, [%rd1+8]; mbarrier.arrive.noComplete.shared.b64 %rd2, [%rd1], 3; "
    "mbarrier.arrive.shared.b64 _, [%rd1], %r1; mbarrier.test_wait.shared.b64 %p1, [%rd1], %rd2; "
    "mbarrier.test_wait.parity.shared.b64 %p1, [%rd1], 1; mbarrier.pending_count.b64 %r1, %rd2; "
    "@%p1 mbarrier.inval.shared.b64 [%rd1];",
    "mov.u32 %r1, tile; ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r2, %r3, %r4, %r5}, [%r1+16]; "
    "movmatrix.sync.aligned.m8n8.trans.b16 %r6, %r7;",
    "prmt.b32 %r1, %r2, %r3, 0x5410; prmt.b32.rc16 %r1, %r2, %r3, %r4; "
    "lop3.b32 %r1, %r2, %r3, %r4, 0xE8; sad.u16 %h1, %h2, %h3, %h4; "
    "dp4a.s32.u32 %r1, %r2, %r3, %r4; dp2a.hi.u32.s32 %r1, %r2, %r3, %r4; "
    "szext.wrap.s32 %r1, %r2, %r3; bmsk.clamp.b32 %r1, %r2, %r3;",
    "fma.rn.ftz.f32 %f1, %f2, %f3, %f4; fma.rn.relu.f16 %h1, %h2, %h3, %h4; "
    "sqrt.rn.f64 %fd1, %fd2; sqrt.approx.f32 %f1, %f2; rcp.approx.ftz.f32 %f1, %f2; "
    "rcp.rz.f64 %fd1, %fd2; rsqrt.approx.f32 %f1, %f2; sin.approx.ftz.f32 %f1, %f2; "
    "cos.approx.f32 %f1, %f2; ex2.approx.f32 %f1, %f2; lg2.approx.f32 %f1, %f2; "
    "tanh.approx.f32 %f1, %f2; copysign.f32 %f1, %f2, %f3; testp.notanumber.f64 %p1, %fd1;",
    "setp.lt.s32 %p1, %r1, 5; setp.geu.ftz.f32 %p1|%p2, %f1, %f2; "
    "setp.hi.or.u16 %p1, %h1, %h2, !%p3; setp.eq.f16 %p1, %h1, %h2; setp.ne.b64 _|%p2, %rd1, 0;",
    "cvt.u32.u16 %r1, %h1; cvt.rn.f32.s64 %f1, %rd1; cvt.rzi.ftz.s32.f32 %r1, %f1; "
    "cvt.rn.f16.f32 %h1, %f1; cvt.f64.f32 %fd1, %f1; cvt.rni.f32.f32 %f1, %f2; "
    "cvt.sat.u8.s32 %h1, %r1; cvt.rn.relu.f16x2.f32 %r1, %f1, %f2; cvt.rna.tf32.f32 %r1, %f1; "
    "cvt.rn.satfinite.e4m3x2.f32 %h1, %f1, %f2; cvt.s16.s8 %h1, %h2; "
    "cvt.pack.sat.u8.s32.b32 %r1, %r2, %r3, %r4;",
    "ld.global.u32 %r1, [%rd1+8]; ld.global.nc.v4.f32 {%f1, %f2, %f3, _}, [%rd1+-16]; "
    "ld.u8 %r2, [%rd2]; ld.s8 %h1, [%rd1]; ld.volatile.b64 %rd3, [%rd1]; "
    "ld.relaxed.gpu.global.u32 %r1, [%rd1]; ld.acquire.sys.u32 %r1, [%rd1]; "
    "ld.const.b32 %r1, [%rd1];",
    "st.global.v2.b32 [%rd1], {%r1, -1}; st.u8 [%rd1+1], %r1; "
    "st.volatile.shared.f32 [%rd1], 0f40000000; st.release.cta.global.u32 [%rd1], %r1; "
    "st.b128 [%rd1], %q1;",
    "atom.global.add.u32 %r1, [%rd1], 1; atom.acq_rel.sys.cas.b64 %rd1, [%rd2], %rd3, %rd4; "
    "red.shared.max.s32 [%rd1], %r1; atom.exch.b32 %r3, [%rd1], 5; "
    "red.add.noftz.f16x2 [%rd1], %r2; atom.global.inc.u32 %r1, [%rd1+4], 9; "
    "atom.add.f64 %fd1, [%rd1], %fd2;",
    "cp.async.ca.shared.global [%rd1], [%rd2], 16; "
    "cp.async.ca.shared.global [%rd1+16], [%rd2+16], 4, %r1; ld.shared.u32 %r1, [%rd1];",
    "membar.gl; fence.acq_rel.cta; isspacep.shared %p1, %rd1; @!%p1 st.global.u32 [%rd1], 7;",
    "bar.sync 0; barrier.sync 1, 64; bar.arrive 2, 96; bar.red.popc.u32 %r1, 0, %p1; "
    "bar.red.or.pred %p1, 0, 64, !%p2; bar.warp.sync -1; nanosleep.u32 100; @%p1 trap;",
    "shfl.sync.bfly.b32 %r1|%p1, %r2, 16, 31, -1; vote.sync.ballot.b32 %r1, %p1, -1; "
    "vote.sync.all.pred %p1, %p2, %r3; match.any.sync.b32 %r1, %r2, -1; "
    "match.all.sync.b64 %r1|%p1, %rd1, -1; redux.sync.min.s32 %r1, %r2, -1; activemask.b32 %r1; "
    "elect.sync %r1|%p1, -1;",
    "add.cc.u32 %r1, %r2, %r3; addc.cc.u32 %r4, %r5, %r6; addc.u32 %r7, %r8, 0; "
    "sub.cc.u64 %rd1, %rd2, %rd3; subc.u64 %rd4, %rd5, %rd6;",
    "mov.u32 %r1, tile; add.s32 %r2, %r1, %r3; ld.shared.u32 %r4, [%r2]; mov.u32 %r5, dyn; "
    "st.shared.u32 [%r5+4], %r4;",
    "mov.u64 %rd1, tile; add.s64 %rd2, %rd1, 4; ld.shared.f32 %f1, [%rd2]; mov.u64 %rd3, weights; "
    "ld.const.u32 %r1, [%rd3+4];",
    "mov.u64 %rd1, n; ld.param.u32 %r1, [%rd1]; ld.param.u64 %rd2, [a]; ld.param.u16 %h1, [n+2]; "
    "ld.param.u32 %r2, [a+4];",
    "mov.u64 %rd1, stack; cvta.local.u64 %rd2, %rd1; st.local.u32 [%rd1], 1; "
    "st.global.u64 [%rd3], %rd2;",
    "mov.u64 %rd1, table; ld.global.u32 %r1, [%rd1+60]; mov.u64 %rd2, table+4; "
    "st.u32 [%rd2], %r1;",
};

static void exactly(const char *body) {
    static struct snippet first, second;
    first.err = (struct tw_error){};
    tw_assert_ok(snippet_body(&first, body), &first.err);
    char *text = there_and_back(first.module, &plain, &first.err);
    if (!text)
        ck_abort_msg("%s: %s", body, first.err.message);
    tw_assert_ok(snippet_parse(&second, text), &second.err);
    char *a = shape(first.module, "k"), *b = shape(second.module, "k");
    same_text(a, b);
    free(a);
    free(b);
    free(text);
    tw_arena_done(&second.arena);
    tw_arena_done(&first.arena);
}

TW_TEST("every statement comes back as the same instructions") {
    for (size_t i = 0; i < TW_COUNT(statements); i++)
        exactly(statements[i]);
}

static void to_ptxas(const char *body, const struct tw_ptx_options *options) {
    static struct snippet s;
    struct tw_ptx_options newest = *options;
    newest.sm = 90; // elect, .b128 and others are for it
    newest.version = 85;
    tw_assert_ok(snippet_body(&s, body), &s.err);
    char *text = printed(s.module, &newest, &s.err);
    ck_assert_msg(text != NULL, "%s: %s", body, s.err.message);
    assemble(text, 90);
    free(text);
    tw_arena_done(&s.arena);
}

TW_TEST("ptxas takes every statement, with and without fence") {
    for (size_t i = 0; i < TW_COUNT(statements); i++) {
        to_ptxas(statements[i], &plain);
        to_ptxas(statements[i], &fenced);
    }
}

// ---- what is said in other words ----

// The statements of the printed kernel, one a line without indentation, declarations and the final return.
static void check_text(const char *body, const struct tw_ptx_options *options, const char *wanted) {
    static struct snippet s;
    s.err = (struct tw_error){};
    tw_assert_ok(snippet_body(&s, body), &s.err);
    char *text = there_and_back(s.module, options, &s.err);
    if (!text)
        ck_abort_msg("%s: %s", body, s.err.message);
    struct tw_buf out;
    struct tw_str rest = tw_str_from(strstr(text, "\n{\n") + 3);
    tw_buf_init(&out, 1 << 20);
    while (rest.len) {
        struct tw_str line = tw_str_trim(tw_str_cut(&rest, '\n'));
        if (!line.len || line.data[0] == '.' || line.data[0] == '}')
            continue;
        ck_assert(tw_buf_append_str(&out, line) && tw_buf_append_byte(&out, '\n'));
    }
    same_text((const char *)out.data, wanted);
    tw_buf_done(&out);
    free(text);
    to_ptxas(body, options);
    tw_arena_done(&s.arena);
}

TW_TEST("a carry that is read later is kept in a predicate") {
    check_text("add.cc.u32 %r1, %r2, %r3; bra L; L: addc.u32 %r4, %r5, 0;", &plain,
               "add.cc.u32 %r0, %r1, %r2;\naddc.u32 %r3, 0, 0;\nsetp.ne.u32 %p0, %r3, 0;\n"
               "selp.u32 %r4, 1, 0, %p0;\nadd.cc.u32 %r5, %r4, -1;\naddc.u32 %r6, %r7, 0;\nret;\n");
    check_text("sub.cc.u32 %r1, %r2, %r3; bra L; L: subc.u32 %r4, %r5, 0;", &plain,
               "sub.cc.u32 %r0, %r1, %r2;\naddc.u32 %r3, 0, 0;\nsetp.ne.u32 %p0, %r3, 0;\n"
               "selp.u32 %r4, 1, 0, %p0;\nadd.cc.u32 %r5, %r4, -1;\nsubc.u32 %r6, %r7, 0;\nret;\n");
    check_text("sub.cc.u32 %r1, %r2, %r3; addc.u32 %r4, %r5, 0;", &plain,
               "sub.cc.u32 %r0, %r1, %r2;\naddc.u32 %r3, %r4, 0;\nret;\n");
}

TW_TEST("branches fall through where they can, indices of brx are bounded") {
    check_text(
        "@%p1 bra A; mov.u32 %r1, 1; bra B; A: mov.u32 %r1, 2; B: @!%p2 bra A; exit;", &plain,
        "@%p0 bra $B0;\nmov.u32 %r0, 1;\nbra $B1;\n$B0:\nmov.u32 %r0, 2;\n$B1:\n@!%p1 bra $B0;\nexit;\n");
    check_text("ts: .branchtargets A, B; brx.idx %r1, ts; A: mov.u32 %r1, 2; B: trap;", &plain,
               "min.u32 %r0, %r1, 1;\n$T0: .branchtargets $B0, $B1;\nbrx.idx %r0, $T0;\n$B0:\nmov.u32 %r1, "
               "2;\n$B1:\n"
               "trap;\nret;\n");
}

TW_TEST("what PTX wants in registers is put there") {
    check_text("mov.b32 %r4, {%h1, 7}; ld.f64 %fd1, [4096]; add.f16 %h2, %h3, %h1; shfl.sync.idx.b32 _|%p1, "
               "%r2, 16, 31, -1;",
               &plain,
               "mov.b16 %h0, 7;\nmov.b32 %r0, {%h1, %h0};\nmov.b64 %rd0, 4096;\nld.f64 %rd1, [%rd0];\n"
               "add.f16 %h2, %h3, %h1;\nshfl.sync.idx.b32 %r1|%p0, %r2, 16, 31, -1;\nret;\n");
    to_ptxas("wmma.mma.sync.aligned.row.row.m8n32k16.s32.s8.s8.s32 {%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}, "
             "{%r1}, {%r5, %r6, %r7, %r8}, {%r1, %r2, %r3, %r4, %r1, %r2, %r3, %r4};", // of halves of tiles
             &plain);
}

TW_TEST("generic accesses find their space, or get their cvta back") {
    check_text("mov.u64 %rd1, tile; cvta.shared.u64 %rd2, %rd1; st.f32 [%rd2+4], %f1;", &plain,
               "mov.u64 %rd0, tile;\nmov.u64 %rd1, %rd0;\nst.shared.f32 [%rd1+4], %r0;\nret;\n");
    check_text("mov.u64 %rd1, tile; cvta.shared.u64 %rd2, %rd1; ld.param.u64 %rd3, [a]; selp.b64 %rd4, %rd2, "
               "%rd3, %p1; "
               "ld.f32 %f1, [%rd4];",
               &plain,
               "mov.u64 %rd0, tile;\ncvta.shared.u64 %rd1, %rd0;\nld.param.u64 %rd2, [a];\n"
               "selp.b64 %rd3, %rd1, %rd2, %p0;\nld.f32 %r0, [%rd3];\nret;\n");
    check_text("mov.u64 %rd1, stack; atom.add.u32 %r1, [%rd1], 1; setp.eq.u64 %p1, %rd1, 0;", &plain,
               "mov.u64 %rd0, stack;\ncvta.local.u64 %rd1, %rd0;\natom.add.u32 %r0, [%rd1], 1;\n"
               "setp.eq.u64 %p0, %rd1, 0;\nret;\n");
}

// ---- the fence ----

#define FENCE_HEAD "ld.param.u64 %rd0, [tw_base];\nld.param.u64 %rd1, [tw_mask];\n"

TW_TEST("global and generic accesses are fenced, shared ones are not") {
    check_text(
        "ld.global.u32 %r1, [%rd1+8]; @%p1 st.u8 [%rd2], %r1; st.shared.u32 [%rd3], %r1;", &fenced,
        FENCE_HEAD
        "add.s64 %rd2, %rd3, 8;\nand.b64 %rd4, %rd2, %rd1;\nadd.s64 %rd5, %rd4, %rd0;\n"
        "ld.global.u32 %r0, [%rd5];\ncvt.u8.u32 %c0, %r0;\nand.b64 %rd6, %rd7, %rd1;\n"
        "add.s64 %rd8, %rd6, %rd0;\n@%p0 st.global.u8 [%rd8], %c0;\nst.shared.u32 [%rd9], %r0;\nret;\n");
}

TW_TEST("a module variable is bounded by its size") {
    check_text(
        "mov.u64 %rd1, table; st.u32 [%rd1+60], %r1;", &fenced,
        FENCE_HEAD
        "mov.u64 %rd2, table;\nadd.s64 %rd3, %rd2, 60;\nmov.u64 %rd4, table;\nsub.s64 %rd5, %rd3, %rd4;\n"
        "setp.le.u64 %p0, %rd5, 60;\nselp.b64 %rd6, %rd5, 0, %p0;\nadd.s64 %rd7, %rd4, %rd6;\n"
        "st.global.u32 [%rd7], %r0;\nret;\n");
}

TW_TEST("generic addresses of shared, local and const memory pass the fence by") {
    check_text(
        "mov.u64 %rd1, tile; ld.param.u64 %rd3, [a]; selp.b64 %rd4, %rd1, %rd3, %p1; ld.f32 %f1, [%rd4];",
        &fenced,
        FENCE_HEAD "mov.u64 %rd2, tile;\ncvta.shared.u64 %rd3, %rd2;\nld.param.u64 %rd4, [a];\n"
                   "selp.b64 %rd5, %rd3, %rd4, %p0;\nand.b64 %rd6, %rd5, %rd1;\nadd.s64 %rd7, %rd6, %rd0;\n"
                   "isspacep.shared %p1, %rd5;\nselp.b64 %rd8, %rd5, %rd7, %p1;\nisspacep.local %p2, %rd5;\n"
                   "selp.b64 %rd9, %rd5, %rd8, %p2;\nisspacep.const %p3, %rd5;\n"
                   "selp.b64 %rd10, %rd5, %rd9, %p3;\nld.f32 %r0, [%rd10];\nret;\n");
}

TW_TEST("addresses where words cannot stand are printed byte by byte, and read back") {
    static struct snippet s, again;
    static const char head[] = ".version 7.8\n.target sm_80\n.address_size 64\n";
    char ptx[1024], wanted[512] = ".global .align 1 .u8 packed[10] = {3, ";
    for (unsigned i = 0; i < 8; i++)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "0xFF%.*s(generic(one)+0x4), ",
                 2 * (int)i, "00000000000000");
    snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "9};\n");
    snprintf(ptx, sizeof ptx,
             "%s.global .align 4 .b8 one[8];\n%s.visible .entry k(.param .u64 a)\n{\n.reg .b64 %%d;\n.reg "
             ".b32 %%r;\n"
             "ld.global.u8 %%r, [packed+9];\nld.param.u64 %%d, [a];\nst.global.u32 [%%d], %%r;\nret;\n}\n",
             head, wanted);
    tw_assert_ok(snippet_parse(&s, ptx), &s.err);
    char *text = printed(s.module, &plain, &s.err);
    ck_assert_ptr_nonnull(text);
    ck_assert_msg(strstr(text, wanted), "%s", text);
    tw_assert_ok(snippet_parse(&again, text), &again.err);
    char *second = printed(again.module, &plain, &again.err);
    ck_assert_str_eq(text, second);
    free(second);
    free(text);
    tw_arena_done(&again.arena);
    tw_arena_done(&s.arena);
}

// ---- refused ----

TW_TEST("what cannot be told is refused by name") {
    static const struct {
        const char *body;
        bool fence;
        const char *reason;
    } cases[] = {
        {"mov.u64 %rd1, tile; ld.global.u32 %r1, [%rd1];", false, "address of shared memory"},
        {"ld.param.u64 %rd3, [a]; mov.u64 %rd1, stack; selp.b64 %rd2, %rd1, %rd3, %p1; ld.u32 %r1, [%rd2]; "
         "ld.local.u32 %r1, [%rd2];",
         false, "cannot be told"},
        {"mov.u64 %rd1, weights; st.u32 [%rd1], 1;", false, "cannot be written"},
        {"mov.u64 %rd1, table; st.global.u64 [%rd2], %rd1;", true, "module variable table"},
        {"ld.param.u64 %rd3, [a]; mov.u64 %rd1, table; selp.b64 %rd2, %rd1, %rd3, %p1; ld.u32 %r1, [%rd2];",
         true, "which module variable"},
        {"mov.u64 %rd1, a; st.global.u64 [%rd2], %rd1;", true, "parameter memory"},
    };
    static struct snippet s;
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        s.err = (struct tw_error){};
        tw_assert_ok(snippet_body(&s, cases[i].body), &s.err);
        const char *text = printed(s.module, cases[i].fence ? &fenced : &plain, &s.err);
        if (text)
            fail_in(cases[i].body, text);
        ck_assert_int_eq(s.err.code, TW_ERR_CUDA_INVALID_KERNEL);
        ck_assert_msg(strstr(s.err.message, cases[i].reason) && strstr(s.err.message, "line 11"), "%s: %s",
                      cases[i].body, s.err.message);
        tw_arena_done(&s.arena);
    }
}

TW_TEST("the version, the target, the entry and a full buffer") {
    static struct snippet s;
    struct tw_buf small;
    tw_assert_ok(snippet_body(&s, "trap;"), &s.err);
    struct tw_ptx_options options = {.sm = 75, .version = 81, .entry = "k"};
    char *text = printed(s.module, &options, &s.err);
    ck_assert(tw_str_starts(tw_str_from(text), TW_STR(".version 8.1\n.target sm_75\n.address_size 64\n")));
    size_t len = strlen(text);
    free(text);
    options.entry = "nothing";
    ck_assert_ptr_null(printed(s.module, &options, &s.err));
    ck_assert_int_eq(s.err.code, TW_ERR_CUDA_INVALID_KERNEL);
    for (size_t max = 0; max < len - 1; max += 7) {
        tw_buf_init(&small, max);
        ck_assert(!tw_ptx_print(s.module, &plain, &small, &s.err));
        ck_assert_int_eq(s.err.code, TW_ERR_CUDA_QUOTA);
        tw_buf_done(&small);
    }
    tw_arena_done(&s.arena);
}

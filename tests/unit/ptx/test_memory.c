// SPDX-License-Identifier: Apache-2.0
//
// Loads, stores, atomics, copies and fences.

#include "snippet.h"

TW_TEST("loads and stores of every space, width and vector") {
    static const struct snippet_case cases[] = {
        {"ld.global.f32 %f1, [%rd1];", "%f1 = ld.f32.global [%rd1]"},
        {"ld.global.b32 %r1, [%rd1+-4];", "%r1 = ld.b32.global [%rd1-4]"},
        {"ld.u64 %rd1, [%rd2+8];", "%rd1 = ld.u64 [%rd2+8]"},
        {"ld.shared.f32 %f1, [%r1];", "%t0 = cvt.u64.u32 %r1\n%f1 = ld.f32.shared [%t0]"},
        {"ld.shared.b32 %r1, [tile+12];", "%t0 = addr.u64 @k.tile.3\n%r1 = ld.b32.shared [%t0+12]"},
        {"ld.const.b32 %r1, [weights];", "%t0 = addr.u64 @weights\n%r1 = ld.b32.const [%t0]"},
        {"st.local.v2.b32 [stack], {%r1, 7};", "%t0 = addr.u64 @k.stack.4\nst.b32.local.v2 [%t0], %r1, 7"},
        {"ld.global.nc.v4.f32 {%f1, %f2, _, %f4}, [%rd1];", "%f1, %f2, _, %f4 = ld.f32.global.v4.nc [%rd1]"},
        {"ld.global.u8 %h1, [%rd1];", "%t0 = ld.u8.global [%rd1]\n%h1 = cvt.u16.u8 %t0"},
        {"ld.global.s8 %r1, [%rd1];", "%t0 = ld.s8.global [%rd1]\n%r1 = cvt.s32.s8 %t0"},
        {"ld.global.b16 %r1, [%rd1];", "%t0 = ld.b16.global [%rd1]\n%r1 = cvt.u32.u16 %t0"},
        {"st.global.u8 [%rd1], %r1;", "%t0 = cvt.u8.u32 %r1\nst.u8.global [%rd1], %t0"},
        {"st.global.b16 [%rd1], %h1;", "st.b16.global [%rd1], %h1"},
        {"st.global.b32 [%rd1+4], -1;", "st.b32.global [%rd1+4], 0xffffffff"},
        {"ld.volatile.shared.u32 %r1, [%rd1];", "%r1 = ld.u32.shared.volatile [%rd1]"},
        {"ld.acquire.gpu.global.u32 %r1, [%rd1];", "%r1 = ld.u32.global.acquire.gpu [%rd1]"},
        {"st.release.sys.global.u32 [%rd1], %r1;", "st.u32.global.release.sys [%rd1], %r1"},
        {"ld.relaxed.cta.u32 %r1, [%rd1];", "%r1 = ld.u32.relaxed [%rd1]"},
        {"ld.global.L1::evict_last.L2::128B.u32 %r1, [%rd1];", "%r1 = ld.u32.global [%rd1]"},
        {"ld.global.L2::cache_hint.u32 %r1, [%rd1], %rd2;", "%r1 = ld.u32.global [%rd1]"},
        {"ld.global.ca.u32 %r1, [%rd1]; st.global.wt.u32 [%rd1], %r1;",
         "%r1 = ld.u32.global [%rd1]\nst.u32.global [%rd1], %r1"},
        {"ldu.global.u32 %r1, [%rd1];", "%r1 = ld.u32.global [%rd1]"},
        {"ld.global.b128 %q1, [%rd1];", "%q1 = ld.b128.global [%rd1]"},
        {"ld.global.u32 %r1, [4096];", "%r1 = ld.u32.global [4096]"},
        {"prefetch.global.L2 [%rd1];", ""},
        {"discard.global.L2 [%rd1], 128; applypriority.global.L2::evict_normal [%rd1], 128;", ""},
        {"createpolicy.fractional.L2::evict_last.b64 %rd1, 1.0;", "%rd1 = mov.b64 0"},
        {"createpolicy.cvt.L2.b64 %rd1, %rd2;", "%rd1 = mov.b64 0"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("kernel parameters are read at their offsets") {
    static const struct snippet_case cases[] = {
        {"ld.param.u64 %rd1, [a];", "%rd1 = ldparam.u64"},
        {"ld.param.u32 %r1, [n];", "%r1 = ldparam.u32 +8"},
        {"ld.param.v2.b32 {%r1, %r2}, [a];", "%r1, %r2 = ldparam.b32.v2"},
        {"ld.param.u8 %r1, [n+1];", "%t0 = ldparam.u8 +9\n%r1 = cvt.u32.u8 %t0"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("a parameter that is used as an address is known as a pointer") {
    static struct snippet s;
    tw_assert_ok(
        snippet_body(&s, "ld.param.u64 %rd1, [a]; ld.param.u32 %r1, [n]; cvta.to.global.u64 %rd2, %rd1;"),
        &s.err);
    const struct tw_kir_function *k = tw_kir_function_find(s.module, "k");
    ck_assert(k->params[0].is_pointer);
    ck_assert(!k->params[1].is_pointer);
    tw_arena_done(&s.arena);
    tw_assert_ok(snippet_body(&s, "ld.param.u64 %rd1, [a]; st.global.u64 [%rd2], %rd1;"), &s.err);
    ck_assert(!tw_kir_function_find(s.module, "k")->params[0].is_pointer);
    tw_arena_done(&s.arena);
}

TW_TEST("atomics and reductions") {
    static const struct snippet_case cases[] = {
        {"atom.global.add.u32 %r1, [%rd1], 1;", "%r1 = atom.u32.global.add.relaxed.gpu [%rd1], 1"},
        {"atom.shared.cas.b64 %rd1, [%rd2], %rd3, %rd4;",
         "%rd1 = atom.b64.shared.cas.relaxed.gpu [%rd2], %rd3, %rd4"},
        {"atom.acq_rel.sys.global.exch.b32 %r1, [%rd1], %r2;",
         "%r1 = atom.b32.global.exch.acq_rel.sys [%rd1], %r2"},
        {"atom.cta.inc.u32 %r1, [%rd1+4], %r2;", "%r1 = atom.u32.inc.relaxed [%rd1+4], %r2"},
        {"atom.global.add.f64 %fd1, [%rd1], %fd2;", "%fd1 = atom.f64.global.add.relaxed.gpu [%rd1], %fd2"},
        {"atom.global.add.noftz.f16x2 %r1, [%rd1], %r2;",
         "%r1 = atom.f16x2.global.add.relaxed.gpu [%rd1], %r2"},
        {"red.shared.max.s32 [tile], %r1;",
         "%t0 = addr.u64 @k.tile.3\natom.s32.shared.max.relaxed.gpu [%t0], %r1"},
        {"atom.global.min.u64 _, [%rd1], %rd2;", "atom.u64.global.min.relaxed.gpu [%rd1], %rd2"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("asynchronous copies happen at once and waiting is nothing") {
    static const struct snippet_case cases[] = {
        {"cp.async.ca.shared.global [%rd1], [%rd2], 4;", "cp.async.b8.v4 %rd1, %rd2"},
        {"cp.async.cg.shared::cta.global.L2::128B [%rd1], [%rd2+16], 16, %r1;",
         "%t0 = add.u64 %rd2, 16\ncp.async.b8.v16 %rd1, %t0, %r1"},
        {"cp.async.ca.shared.global [%rd1], [%rd2], 8, %p1;",
         "%t0 = select.u32 0, 8, %p1\ncp.async.b8.v8 %rd1, %rd2, %t0"},
        {"cp.async.commit_group; cp.async.wait_group 0; cp.async.wait_all;", ""},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("fences") {
    static const struct snippet_case cases[] = {
        {"membar.gl;", "fence.sc.gpu"},
        {"membar.cta;", "fence.sc"},
        {"fence.acq_rel.gpu;", "fence.acq_rel.gpu"},
        {"fence.sc.sys;", "fence.sc.sys"},
        {"fence.proxy.alias;", "fence.sc.sys"},
        {"membar.proxy.alias;", "fence.sc.sys"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("hints vanish, and policies are zero") {
    static const struct snippet_case cases[] = {
        {"createpolicy.fractional.L2::evict_last.L2::evict_unchanged.b64 %rd1, 0.5;", "%rd1 = mov.b64 0"},
        {"createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %rd1, [%rd2], 4096, %r1;",
         "%rd1 = mov.b64 0"},
        {"createpolicy.cvt.L2.b64 %rd1, 20;", "%rd1 = mov.b64 0"},
        {"ld.mmio.relaxed.sys.global.u32 %r1, [%rd1];", "%r1 = ld.u32.global.sys.volatile [%rd1]"},
        {"st.mmio.relaxed.sys.global.u32 [%rd1], %r1;", "st.u32.global.sys.volatile [%rd1], %r1"},
    };
    SNIPPET_CHECK(cases);
}

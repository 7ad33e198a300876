// SPDX-License-Identifier: Apache-2.0
//
// Guards, branches, scopes, calls, barriers and warp operations.

#include "snippet.h"

TW_TEST("guards predicate instructions and split blocks at branches and returns") {
    static const struct snippet_case cases[] = {
        {"@%p1 add.s32 %r1, %r2, %r3;", "@%p1 %r1 = add.s32 %r2, %r3"},
        {"@!%p1 st.global.u32 [%rd1], %r1;", "@!%p1 st.u32.global [%rd1], %r1"},
        {"@%p1 mad.lo.s32 %r1, %r2, %r3, %r4;", "%t0 = mul.s32 %r2, %r3\n@%p1 %r1 = add.s32 %t0, %r4"},
        {"@%p1 bra L; mov.u32 %r1, 1; L: ret;",
         "brc %p1 -> L, .1\nblock .1\n%r1 = mov.u32 1\nbr -> L\nblock L"},
        {"L: @!%p1 bra.uni L;", "br -> L\nblock L\nbrc.uniform %p1 -> .2, L\nblock .2"},
        {"@%p1 ret; mov.u32 %r1, 1;", "brc %p1 -> .1, .2\nblock .1\nret\nblock .2\n%r1 = mov.u32 1"},
        {"@!%p1 exit;", "brc %p1 -> .2, .1\nblock .1\nexit\nblock .2"},
        {"trap; @%p1 trap;", "trap\n@%p1 trap"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("an indexed branch goes to the labels of its list") {
    static const struct snippet_case cases[] = {
        {"T: .branchtargets A, B; brx.idx %r1, T; A: mov.u32 %r2, 1; B: ret;",
         "brx %r1 -> A, B\nblock A\n%r2 = mov.u32 1\nbr -> B\nblock B"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("scopes have their own registers and labels") {
    static const struct snippet_case cases[] = {
        {"{ .reg .pred %p1; setp.eq.u32 %p1, %r1, 0; @%p1 bra D; mov.u32 %r2, 1; D: }\n"
         "{ .reg .pred %p1; setp.ne.u32 %p1, %r1, 0; @%p1 bra D; mov.u32 %r2, 2; D: }",
         "%p1.0 = setp.u32.eq %r1, 0\nbrc %p1.0 -> D.2, .1\nblock .1\n%r2 = mov.u32 1\nbr -> D.2\nblock D.2\n"
         "%p1.3 = setp.u32.ne %r1, 0\nbrc %p1.3 -> D.4, .3\nblock .3\n%r2 = mov.u32 2\nbr -> D.4\nblock D.4"},
        {"{ bra OUT; } OUT: ret;", "br -> OUT\nblock OUT"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("vector registers stand for their elements") {
    static const struct snippet_case cases[] = {
        {".reg .v2 .f32 %v; ld.global.v2.f32 %v, [%rd1]; add.f32 %f1, %v.x, %v.y;",
         "%v.0, %v.1 = ld.f32.global.v2 [%rd1]\n%f1 = add.f32 %v.0, %v.1"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("barriers of the block") {
    static const struct snippet_case cases[] = {
        {"bar.sync 0;", "bar.u32.aligned 0"},
        {"barrier.sync 1, 64;", "bar.u32 1, 64"},
        {"barrier.cta.sync.aligned %r1;", "bar.u32.aligned %r1"},
        {"bar.sync 15, 0;", "bar.u32.aligned 15, 0"},
        {"bar.arrive 2, 128;", "bar.arrive.u32.aligned 2, 128"},
        {"bar.red.popc.u32 %r1, 0, %p1;", "%r1 = bar.red.u32.popc %p1, 0"},
        {"bar.red.and.pred %p1, 0, 64, !%p2;", "%t0 = not.pred %p2\n%p1 = bar.red.and %t0, 0, 64"},
        {"bar.warp.sync 0xffffffff;", "warpsync.u32 0xffffffff"},
    };
    SNIPPET_CHECK(cases);
}

TW_TEST("operations of the warp") {
    static const struct snippet_case cases[] = {
        {"shfl.sync.down.b32 %r1, %r2, 16, 31, -1;", "%r1 = shfl.b32.down %r2, 16, 31, 0xffffffff"},
        {"shfl.sync.idx.b32 %r1|%p1, %r2, %r3, 0x1f, %r4;", "%r1, %p1 = shfl.b32.idx %r2, %r3, 31, %r4"},
        {"shfl.up.b32 %r1, %r2, 1, 0;", "%r1 = shfl.b32.up %r2, 1, 0, 0xffffffff"},
        {"vote.sync.ballot.b32 %r1, %p1, -1;", "%r1 = vote.b32.ballot %p1, 0xffffffff"},
        {"vote.sync.any.pred %p1, !%p2, %r1;", "%t0 = not.pred %p2\n%p1 = vote.any %t0, %r1"},
        {"match.any.sync.b64 %r1, %rd1, -1;", "%r1 = match.b64.any %rd1, 0xffffffff"},
        {"match.all.sync.b32 %r1|%p1, %r2, -1;", "%r1, %p1 = match.b32.all %r2, 0xffffffff"},
        {"redux.sync.min.s32 %r1, %r2, -1;", "%r1 = redux.s32.min %r2, 0xffffffff"},
        {"redux.sync.xor.b32 %r1, %r2, %r3;", "%r1 = redux.b32.xor %r2, %r3"},
        {"activemask.b32 %r1;", "%r1 = activemask.b32"},
        {"nanosleep.u32 100;", "nanosleep.u32 100"},
    };
    SNIPPET_CHECK(cases);
}

static const char calls[] = ".version 7.8\n.target sm_80\n.address_size 64\n"
                            ".func (.param .b32 r) twice(.param .b32 x);\n"
                            ".func (.param .b32 r) twice(.param .b32 x) { .reg .b32 %a<3>;\n"
                            "ld.param.b32 %a1, [x]; add.s32 %a2, %a1, %a1; st.param.b32 [r], %a2; ret; }\n"
                            ".entry k() { .reg .b32 %r<3>; .reg .pred %p; mov.b32 %r1, 21;\n"
                            "@%p bra L;\n"
                            "{ .param .b32 p0; .param .b32 v0; st.param.b32 [p0], %r1;\n"
                            "call.uni (v0), twice, (p0); ld.param.b32 %r2, [v0]; }\n"
                            "L: ret; }\n";

TW_TEST("calls pass .param variables as registers") {
    static struct snippet s;
    tw_assert_ok(snippet_parse(&s, calls), &s.err);
    const char *ir = snippet_ir(&s);
    ck_assert_ptr_nonnull(strstr(ir, "p0.2 = mov.b32 %r1\nv0.3 = call @twice p0.2\n%r2 = mov.b32 v0.3"));
    ck_assert_ptr_nonnull(strstr(ir, "%a1 = mov.b32 x.1\n%a2 = add.s32 %a1, %a1\nr.0 = mov.b32 %a2"));
    tw_arena_done(&s.arena);
}

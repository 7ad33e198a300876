// SPDX-License-Identifier: Apache-2.0
//
// Instructions that programs can say: a kernel that has one of these is interpreted at first, and does not wait for its code. What
// they compute the other tests say (TW_TEST_INTERPRETED).

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

static const struct isa_form forms[] = {
    // lanes of a warp
    {"shfl.sync.{up,down,bfly,idx}.b32 %r0, %r1, %r2, %r3, %r4; "
     "shfl.sync.{up,down,bfly,idx}.b32 %r0|%p0, %r1, 3, 31, -1; shfl.{up,down,bfly,idx}.b32 %r0|%p0, %r1, "
     "%r2, %r3;",
     NULL, 0},
    {"vote.sync.{all,any,uni}.pred %p0, !%p1, %r1; vote.sync.ballot.b32 %r0, %p1, -1; vote.ballot.b32 %r0, "
     "%p1;",
     NULL, 0},
    {"match.any.sync.T %r0, R1, -1; match.all.sync.T %r0|%p0, R1, %r2; match.all.sync.T %r0, R1, %r2;",
     "b32 b64", 0},
    {"redux.sync.{add,min,max}.{u32,s32} %r0, %r1, -1; redux.sync.{and,or,xor}.b32 %r0, %r1, %r2;", NULL, 0},
    {"activemask.b32 %r0; elect.sync %r0|%p0, -1; elect.sync _|%p0, %r1; bar.warp.sync -1; @%p1 "
     "activemask.b32 %r0;",
     NULL, 0},
    // threads of a block
    {"bar.red.{and,or}.pred %p0, 0, %p1; bar.red.popc.u32 %r0, 0, %p1; bar.red.popc.u32 %r0, 0, !%p1; "
     "bar.sync 0;",
     NULL, 0},
};

static const char head[] = ".version 8.3\n.target sm_90\n.address_size 64\n.visible .entry k() {\n"
                           ".reg .b16 %h<10>; .reg .b32 %r<10>; .reg .b64 %rd<10>; .reg .f32 %f<10>; "
                           ".reg .f64 %fd<10>; .reg .pred %p<10>;\n";

static void check_statement(struct rig *rig, const char *statement, size_t len) {
    char text[1024];
    struct kernel k;
    snprintf(text, sizeof text, "%s%.*s\nret;\n}\n", head, (int)len, statement);
    kernel_from_ptx(rig, &k, text, "k", 32, 32);
    ck_assert_msg(k.info.variant.opt_level == TW_KERNEL_INTERPRETED, "no program says %.*s", (int)len,
                  statement);
    kernel_done(&k);
}

TW_TEST("programs can say what compilers make of ordinary kernels") {
    struct rig rig;
    rig_init(&rig);
    rig.opt_level = TW_KERNEL_INTERPRETED;
    for (size_t i = 0; i < TW_COUNT(forms); i++) {
        char *text = isa_spell_out(&forms[i]);
        for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
            if (strncmp(at, "st.", 3) != 0 && strncmp(at, "selp.", 5) != 0) // what keeps the results
                check_statement(&rig, at, strcspn(at, "\n"));
        free(text);
    }
    rig_done(&rig);
}

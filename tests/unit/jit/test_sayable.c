// SPDX-License-Identifier: Apache-2.0
//
// Instructions that programs can say, besides those of test_interpreted_values.c: a kernel that has one of these is interpreted at
// first, and does not wait for its code. What they compute the other tests say (TW_TEST_INTERPRETED).

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

static const struct isa_form forms[] = {
    // products of floats: of two NaNs any may be the result
    {"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f0, %f5, %f6, %f7}, {%r1, %r2}, {%r3}, {%f1, %f2, "
     "%f3, "
     "%f1}; mma.sync.aligned.m16n8k16.row.col.f32.{f16.f16,bf16.bf16}.f32 {%f0, %f5, %f6, %f7}, {%r1, %r2, "
     "%r3, %r4}, "
     "{%r1, %r4}, {%f1, %f2, %f3, %f1}; mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r5, %r0}, {%r2, "
     "%r3}, "
     "{%r4}, {%r1, %r2}; mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd0, %fd5}, {%fd1}, {%fd2}, "
     "{%fd3, %fd1}; "
     "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f0, %f5, %f6, %f7}, {%r1, %r2}, {%r3}, {%f1, %f2, "
     "%f3, "
     "%f1};",
     NULL, 0},
    // memory
    {"ldmatrix.sync.aligned.m8n8.x4{,.trans}.shared.b16 {%r0, %r5, %r6, %r7}, [%r1]; "
     "ldmatrix.sync.aligned.m8n8.x1{,.trans}.shared.b16 {%r0}, [%r1+16];",
     NULL, 0},
    {"ld{,.volatile,.relaxed.gpu,.acquire.sys}{,.global,.shared,.local}.T R0, [%rd1+4]; ld.const.T R0, "
     "[%rd1]; "
     "ld.global.nc.T R0, [%rd1]; ldu.global.T R0, [%rd1];",
     "b16 b32 b64 u16 s16 u32 s32 u64 s64 f32 f64", 0},
    {"st{,.volatile,.relaxed.gpu,.release.sys}{,.global,.shared,.local}.T [%rd1+4], R1;",
     "b16 b32 b64 u16 s16 u32 s32 u64 s64 f32 f64", 0},
    {"ld.global.v2.T {R0, R1}, [%rd1]; st.shared.v2.T [%rd1], {R1, R2}; @%p1 ld.global.T R0, [%rd1+4];",
     "b16 b32 b64 f32 f64", 0},
    {"ld.global.v4.T {R0, R1, R2, R3}, [%rd1]; st.global.v4.T [%rd1], {R1, R2, R3, R4};", "b16 b32 f32", 0},
    {"atom{,.global,.shared}.{add,min,max,exch}.T R0, [%rd1], R2; red{,.global,.shared}.{add,min,max}.T "
     "[%rd1], R2;",
     "u32 s32 u64", 0},
    {"atom{,.acquire.cta}{,.global,.shared}.{and,or,xor,exch}.T R0, [%rd1], R2; "
     "atom.cas.T R0, [%rd1], R2, R3; red{,.release.gpu}.{and,or,xor}.T [%rd1], R2; "
     "@%p1 atom.exch.T R0, [%rd1+8], R2;",
     "b32 b64", 0},
    {"atom{,.global,.shared}.{inc,dec}.u32 %r0, [%rd1], %r2; atom.cas.b16 %h0, [%rd1], %h2, %h3; "
     "atom.add.noftz.{f16,bf16} %h0, [%rd1], %h2; red.add.noftz.{f16x2,bf16x2} [%rd1], %r2;",
     NULL, 0},
    {"atom.add.T R0, [%rd1], R2; red.shared.add.T [%rd1], R2;", "f32 f64", 0},
    {"cp.async.ca.shared.global [%r0], [%rd1], {4,8,16}; cp.async.cg.shared.global [%r0], [%rd1], 16, %r2; "
     "cp.async.commit_group; cp.async.wait_all; membar.{cta,gl,sys}; fence.{sc,acq_rel}.{cta,gpu,sys};",
     NULL, 0},
    {"mov.u32 %r0, %{tid,ntid,ctaid,nctaid}.{x,y,z}; mov.u32 %r0, "
     "%{laneid,warpid,nwarpid,smid,nsmid,lanemask_lt,clock,clock_hi,globaltimer_lo,total_smem_size,"
     "dynamic_smem_size}; mov.u64 %rd0, %{clock64,globaltimer,gridid};",
     NULL, 0},
    {"cvta.{global,shared,local,const}.u64 %rd0, %rd1; isspacep.{global,shared,local,const} %p0, %rd1; "
     "mov.u64 %rd0, words; mov.u64 %rd0, own; mov.u64 %rd0, table; ld.param.T R0, [parameter];",
     "b16 b32 b64", 0},
};

static const char head[] =
    ".version 8.3\n.target sm_90\n.address_size 64\n.const .b32 table[4] = {1, 2, 3, 4};\n"
    ".visible .entry k(.param .u64 parameter) {\n.shared .b64 words[8]; .local .b64 own[8];\n"
    ".reg .b16 %h<10>; .reg .b32 %r<10>; .reg .b64 %rd<10>; .reg .f32 %f<10>; "
    ".reg .f64 %fd<10>; .reg .pred %p<10>;\n";

// A statement and the stores of its results, without which it would have none and be left out.
static size_t statement_length(const char *text) {
    size_t len = strcspn(text, "\n");
    while (strncmp(text + len, "\nst.", 4) == 0 || strncmp(text + len, "\nselp.", 6) == 0)
        len += 1 + strcspn(text + len + 1, "\n");
    return len;
}

static void check_statement(struct rig *rig, const char *statement, size_t len) {
    char text[16 << 10];
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
        for (const char *at = text; *at; at += statement_length(at) + 1)
            check_statement(&rig, at, statement_length(at));
        free(text);
    }
    rig_done(&rig);
}

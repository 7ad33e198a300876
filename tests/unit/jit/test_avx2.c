// SPDX-License-Identifier: Apache-2.0
//
// What goes another way on CPUs without AVX-512: rounding through MXCSR, shuffles through memory, masks in
// vectors.

#include "floats.h"
#include "harness/test.h"
#include "internal.h"
#include "isa_forms.h"
#include "op_test.h"

static uint64_t want_add(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    volatile float x = f_of(a), y = f_of(b), r;
    fesetround(FE_UPWARD);
    r = x + y;
    fesetround(FE_TONEAREST);
    return of_f(r);
}

static uint64_t want_sqrt(uint64_t a, [[maybe_unused]] uint64_t b, [[maybe_unused]] uint64_t c) {
    volatile float x = f_of(a), r;
    fesetround(FE_TOWARDZERO);
    r = __builtin_sqrtf(x);
    fesetround(FE_TONEAREST);
    return of_f(r);
}

static uint64_t want_fma(uint64_t a, uint64_t b, uint64_t c) {
    volatile float x = f_of(a), y = f_of(b), z = f_of(c), r;
    fesetround(FE_DOWNWARD);
    r = __builtin_fmaf(x, y, z);
    fesetround(FE_TONEAREST);
    return of_f(r);
}

static uint64_t want_div(uint64_t a, uint64_t b, [[maybe_unused]] uint64_t c) {
    return (uint32_t)b ? (uint32_t)a / (uint32_t)b : 0xffffffff;
}

static void use_avx2(void) {
    struct rig rig;
    rig_init(&rig);
    rig_done(&rig);
    jit_set_cpu("x86-64-v3", "+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt,+movbe");
    ck_assert(strstr(tw_jit_target(), "llvm") != NULL);
}

TW_TEST("without AVX-512 directed rounding goes through MXCSR") {
    static const struct op_case cases[] = {
        {"add.rp.f32 d, a, b;", OP_B32, {OP_B32, OP_B32}, 2, want_add, NULL, true},
        {"sqrt.rz.f32 d, a;", OP_B32, {OP_B32}, 1, want_sqrt, NULL, true},
        {"fma.rm.f32 d, a, b, c;", OP_B32, {OP_B32, OP_B32, OP_B32}, 3, want_fma, NULL, true},
        {"div.u32 d, a, b;", OP_B32, {OP_B32, OP_B32}, 2, want_div, NULL, false},
    };
    use_avx2();
    for (size_t i = 0; i < TW_COUNT(cases); i++)
        op_check(&cases[i]);
}

TW_TEST("without AVX-512 shuffles by register and masked memory work") {
    static const char text[] =
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u32 n) "
        "{\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\n.reg .pred %p<3>;\n"
        "ld.param.u64 %rd1, [out];\nld.param.u32 %r1, [n];\nmov.u32 %r2, %tid.x;\nsetp.ge.u32 %p1, %r2, "
        "%r1;\n@%p1 bra done;\nmul.lo.u32 %r3, %r2, 5;\n"
        "mul.lo.u32 %r6, %r2, 3;\nshfl.sync.idx.b32 %r4, %r3, %r6, 31, -1;\nmul.wide.u32 %rd2, %r2, "
        "4;\nadd.u64 %rd1, %rd1, %rd2;\nst.global.u32 [%rd1], %r4;\ndone:\nret;\n}\n";
    struct rig rig;
    struct kernel k;
    struct {
        uint64_t out;
        uint32_t n;
    } params = {.n = 40};
    use_avx2();
    rig_init(&rig);
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    params.out = rig_alloc(&rig, 256);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){64, 1, 1}, 0, &params, sizeof params),
        TW_KERNEL_OK);
    const uint32_t *got = rig_at(&rig, params.out);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t from = (i & ~31u) + (i * 3 & 31);
        if (i < 40 && from < 40)
            ck_assert_uint_eq(got[i], from * 5);
        else if (i >= 40)
            ck_assert_uint_eq(got[i], 0);
    }
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("without AVX-512 bfloats turn their signs without a function that no kernel has") {
    static const struct isa_form form = {"fma.rn{,.relu}.T R0, R1, R2, R3; neg.T R0, R1; abs.T R0, R1; "
                                         "min{,.NaN}{,.xorsign.abs}.T R0, R1, R2;",
                                         "bf16 bf16x2", 0};
    char *body = isa_spell_out(&form), text[16384];
    struct tw_error err = {};
    use_avx2();
    snprintf(
        text, sizeof text,
        ".version 7.8\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 in) {\n"
        ".reg .b16 %%h<9>; .reg .b32 %%r<9>; .reg .b64 %%rd<9>;\nld.param.u64 %%rd8, [in]; mov.u32 %%r8, "
        "%%tid.x; "
        "mad.wide.u32 %%rd8, %%r8, 64, %%rd8;\nld.global.b32 %%r1, [%%rd8]; ld.global.b32 %%r2, [%%rd8+4]; "
        "ld.global.b32 %%r3, [%%rd8+8];\nld.global.b16 %%h1, [%%rd8]; ld.global.b16 %%h2, [%%rd8+4]; "
        "ld.global.b16 %%h3, "
        "[%%rd8+8];\n%sret;\n}\n",
        body);
    ck_assert_msg(kernel_try(text, "k", 32, 1, &err), "%s", err.message);
    free(body);
}

// SPDX-License-Identifier: Apache-2.0
//
// Bodies of thousands of instructions without a branch: cut into pieces for LLVM, and as right as short ones.

#include "harness/test.h"
#include "kernel_run.h"
#include "ptx/ptx.h"

// STEPS with three instructions at least make several pieces of at most 2,000.
enum { REGISTERS = 40, STEPS = 5'000, THREADS = 70, PIECE_MAX = 2'000 };

// Each step mixes three of forty registers, all alive from one end to the other; threads go round 0 to 3 times.
static void write_kernel(struct tw_buf *out) {
    bool ok = tw_buf_append_str(
        out, TW_STR(".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) {\n"
                    ".reg .b32 %r<40>; .reg .b32 %n<9>; .reg .b64 %d<9>; .reg .pred %p;\n"
                    "ld.param.u64 %d1, [out];\nmov.u32 %n1, %tid.x;\nand.b32 %n2, %n1, 3;\n"));
    for (unsigned i = 0; i < REGISTERS; i++)
        ok = ok && tw_buf_printf(out, "mad.lo.u32 %%r%u, %%n1, %u, %u;\n", i, 77 + i, 2 * i + 1);
    ok = ok && tw_buf_append_str(out, TW_STR("LOOP: setp.eq.u32 %p, %n2, 0;\n@%p bra DONE;\n"));
    for (unsigned i = 0; i < STEPS; i++)
        ok = ok && tw_buf_printf(out, "mad.lo.u32 %%r%u, %%r%u, %%r%u, %%r%u;\n", i % REGISTERS,
                                 (i * 7 + 3) % REGISTERS, (i * 11 + 5) % REGISTERS, i % REGISTERS);
    ok = ok && tw_buf_append_str(out, TW_STR("sub.u32 %n2, %n2, 1;\nbra LOOP;\nDONE:\n"));
    for (unsigned i = 1; i < REGISTERS; i++)
        ok = ok && tw_buf_printf(out, "xor.b32 %%r0, %%r0, %%r%u;\n", i);
    ok = ok && tw_buf_append_str(out, TW_STR("mul.wide.u32 %d2, %n1, 4;\nadd.u64 %d3, %d1, %d2;\n"
                                             "st.global.u32 [%d3], %r0;\nret;\n}\n"));
    ck_assert(ok && tw_buf_append_byte(out, 0));
}

static uint32_t mixed(uint32_t tid) {
    uint32_t r[REGISTERS], sum = 0;
    for (unsigned i = 0; i < REGISTERS; i++)
        r[i] = tid * (77 + i) + 2 * i + 1;
    for (unsigned round = 0; round < (tid & 3); round++)
        for (unsigned i = 0; i < STEPS; i++)
            r[i % REGISTERS] += r[(i * 7 + 3) % REGISTERS] * r[(i * 11 + 5) % REGISTERS];
    for (unsigned i = 0; i < REGISTERS; i++)
        sum ^= r[i];
    return sum;
}

static void check_results(int opt_level) {
    struct rig rig;
    struct kernel k;
    struct tw_buf ptx;
    tw_buf_init(&ptx, 1 << 20);
    write_kernel(&ptx);
    rig_init(&rig);
    rig.opt_level = opt_level;
    kernel_from_ptx(&rig, &k, (const char *)ptx.data, "k", 32, 1);
    uint64_t out = rig_alloc(&rig, 4 * THREADS);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, &out, sizeof(out)),
        TW_KERNEL_OK);
    for (uint32_t t = 0; t < THREADS; t++)
        ck_assert_uint_eq(((uint32_t *)rig_at(&rig, out))[t], mixed(t));
    kernel_done(&k);
    rig_done(&rig);
    tw_buf_done(&ptx);
}

TW_TEST("five thousand instructions without a branch, in a loop that threads leave apart, light") {
    check_results(TW_KERNEL_LIGHT);
}

TW_TEST("five thousand instructions without a branch, in a loop that threads leave apart, full") {
    check_results(TW_KERNEL_FULL);
}

// Lines of LLVM's text: instructions are indented, labels are not.
static unsigned longest_block(struct tw_str text) {
    unsigned longest = 0, count = 0;
    while (text.len) {
        struct tw_str line = tw_str_cut(&text, '\n');
        count = tw_str_starts(line, TW_STR("  ")) ? count + 1 : 0;
        longest = count > longest ? count : longest;
    }
    return longest;
}

TW_TEST("no block that LLVM makes code of is long, in either tier") {
    struct tw_error err = {};
    tw_assert_ok(tw_jit_init(&err), &err);
    struct tw_buf ptx;
    tw_buf_init(&ptx, 1 << 20);
    write_kernel(&ptx);
    for (uint16_t level = TW_KERNEL_LIGHT; level <= TW_KERNEL_FULL; level++) {
        struct tw_arena arena;
        struct tw_kir_module *module;
        struct tw_jit_result result = {};
        struct tw_kernel_variant variant = {.lanes = 32, .x_multiple = 32, .opt_level = level};
        tw_arena_init(&arena, 64 << 20);
        tw_assert_ok(tw_ptx_parse(&arena, tw_str_of((const char *)ptx.data, ptx.len - 1), &module, &err),
                     &err);
        tw_assert_ok(tw_jit_compile(module, "k", &variant, TW_JIT_LLVM, &result, &err), &err);
        unsigned longest = longest_block(tw_buf_str(&result.bytes));
        ck_assert_uint_gt(longest, PIECE_MAX / 2);
        ck_assert_uint_le(longest, PIECE_MAX + 2);
        tw_jit_result_done(&result);
        tw_arena_done(&arena);
    }
    tw_buf_done(&ptx);
}

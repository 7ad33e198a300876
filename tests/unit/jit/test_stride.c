// SPDX-License-Identifier: Apache-2.0
//
// Loops that leap over what other warps read: that it is known how far they go shows in LLVM's text, by what is asked for
// ahead and by loads of whole vectors, and in which kernels want to run as whole blocks; and they compute what C does.

#include <math.h>

#include "harness/test.h"
#include "kernel_run.h"

// A thread adds up words from its own on, going on by what `next` does to %rd3, the address, or %r1, the index of which
// `address` makes it; %r2 is the size of the block, %r3 that of the grid in threads, %r4 differs between threads.
static char *walk(const char *address, const char *next) {
    char *text = NULL;
    int len = asprintf(
        &text,
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out, "
        ".param .u32 n) {\n.reg .b32 %%r<20>;\n.reg .b64 %%rd<20>;\n.reg .pred %%p<3>;\n"
        "ld.param.u64 %%rd1, [in];\nld.param.u64 %%rd2, [out];\nld.param.u32 %%r9, [n];\n"
        "mov.u32 %%r5, %%tid.x;\nmov.u32 %%r6, %%ctaid.x;\nmov.u32 %%r2, %%ntid.x;\nmov.u32 %%r7, "
        "%%nctaid.x;\n"
        "mul.lo.u32 %%r3, %%r2, %%r7;\nmad.lo.u32 %%r1, %%r6, %%r2, %%r5;\nmul.wide.u32 %%rd4, %%r1, 4;\n"
        "add.u64 %%rd3, %%rd1, %%rd4;\nadd.u64 %%rd5, %%rd2, %%rd4;\nmul.lo.u32 %%r4, %%r5, %%r5;\n"
        "mov.u32 %%r8, 0;\nmov.u32 %%r10, 0;\n"
        "LOOP:\n%s\nld.global.u32 %%r11, [%%rd3];\nadd.u32 %%r8, %%r8, %%r11;\n%s\nadd.u32 %%r10, %%r10, 1;\n"
        "setp.lt.u32 %%p1, %%r10, %%r9;\n@%%p1 bra LOOP;\nst.global.u32 [%%rd5], %%r8;\nret;\n}\n",
        address, next);
    ck_assert_int_gt(len, 0);
    return text;
}

static unsigned count(const char *text, const char *word) {
    unsigned found = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        found++;
    return found;
}

static const char by_index[] = "mul.wide.s32 %rd6, %r1, 4;\nadd.u64 %rd3, %rd1, %rd6;";
static const struct {
    const char *address, *next;
    bool leaps, gathers;
} walks[] = {
    {"", "add.u64 %rd3, %rd3, 128;", false, false},  // to what lies next to it
    {"", "add.u64 %rd3, %rd3, 4096;", true, false},  // over a page
    {"", "add.u64 %rd3, %rd3, -4096;", true, false}, // backwards
    {"", "mul.wide.u32 %rd6, %r3, 4;\nadd.u64 %rd3, %rd3, %rd6;", false,
     false},                                           // made in the loop: not known
    {by_index, "add.u32 %r1, %r1, %r3;", true, false}, // by the size of the grid
    {by_index, "add.u32 %r1, %r1, %r2;", true, false}, // of the block
    {by_index, "add.u32 %r1, %r1, 32;", false, false},
    {by_index, "add.u32 %r1, %r1, 33;", true, false},
    {"shl.b32 %r12, %r1, 2;\ncvt.s64.s32 %rd6, %r12;\nadd.u64 %rd3, %rd1, %rd6;", "add.u32 %r1, %r1, 1024;",
     true, false},
    {by_index, "add.u32 %r1, %r1, %r4;", false, true}, // each thread another way
};

TW_TEST("it is known how far an address moves in a round of a loop") {
    struct rig rig;
    rig_init(&rig);
    for (unsigned w = 0; w < TW_COUNT(walks); w++) {
        char *ptx = walk(walks[w].address, walks[w].next), *text = kernel_llvm(ptx, "k", 32, 32);
        unsigned asked = count(text, "call void @llvm.prefetch"),
                 gathers = count(text, "call <32 x i32> @llvm.masked.gather"),
                 loads = count(text, "load <32 x i32>");
        ck_assert_msg((asked > 0) == walks[w].leaps, "walk %u: %u lines are asked for", w, asked);
        ck_assert_msg((gathers > 0) == walks[w].gathers, "walk %u: %u gathers", w, gathers);
        ck_assert_msg((loads > 0) != walks[w].gathers, "walk %u: %u loads of vectors", w, loads);
        free(text);
        free(ptx);
    }
    rig_done(&rig);
}

static bool is_wide(const char *next) { // by a number of the launch
    return strstr(next, "%r1, %r3") || strstr(next, "%r1, %r2");
}

TW_TEST("a whole block asks for what its next round reads where that is far by a number of the launch") {
    enum { LANES = 256, LINES = LANES * 4 / 64 };
    struct rig rig;
    rig_init(&rig);
    for (unsigned w = 0; w < TW_COUNT(walks); w++) {
        char *ptx = walk(walks[w].address, walks[w].next), *text = kernel_llvm(ptx, "k", LANES, LANES);
        unsigned into_first_cache = count(text, "i32 0, i32 3, i32 1)");
        ck_assert_msg(into_first_cache % LINES == 0 && (into_first_cache > 0) == is_wide(walks[w].next),
                      "walk %u: %u lines", w, into_first_cache);
        free(text);
        free(ptx);
    }
    rig_done(&rig);
}

// A thread that goes straight through, with `loads` from its own place %rd3 on.
static unsigned asked_by(const char *loads, uint16_t lanes) {
    char *ptx = NULL;
    int len = asprintf(&ptx,
                       ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in) {\n"
                       ".reg .b32 %%r<9>;\n.reg .b64 %%rd<9>;\nld.param.u64 %%rd1, [in];\n"
                       "mov.u32 %%r1, %%ctaid.x;\nmov.u32 %%r2, %%ntid.x;\nmov.u32 %%r3, %%tid.x;\n"
                       "mad.lo.u32 %%r1, %%r1, %%r2, %%r3;\nmul.wide.u32 %%rd2, %%r1, 4;\n"
                       "add.u64 %%rd3, %%rd1, %%rd2;\nmov.u32 %%r5, 0;\n%s"
                       "add.u32 %%r5, %%r5, %%r4;\nst.global.u32 [%%rd3], %%r5;\nret;\n}\n",
                       loads);
    ck_assert_int_gt(len, 0);
    char *text = kernel_llvm(ptx, "k", lanes, lanes);
    unsigned asked = count(text, "call void @llvm.prefetch");
    free(text);
    free(ptx);
    return asked;
}

TW_TEST("warps that read on in memory ask for what comes later, once for what lies side by side") {
    static const char one[] = "ld.global.u32 %r4, [%rd3];\n",
                      side_by_side[] = "ld.global.u32 %r5, [%rd3+4];\nld.global.u32 %r4, [%rd3];\n",
                      apart[] = "ld.global.u32 %r5, [%rd3+4096];\nld.global.u32 %r4, [%rd3];\n",
                      far_apart[] =
                          "ld.global.u32 %r5, [%rd3+0x7fffffff];\nld.global.u32 %r4, [%rd3+-0x7fffffff];\n",
                      generic[] = "ld.u32 %r4, [%rd3];\n", one_place[] = "ld.global.u32 %r4, [%rd1];\n",
                      shared[] = ".shared .u32 s[32];\nmov.u64 %rd4, s;\nld.shared.u32 %r4, [%rd4];\n";
    struct rig rig;
    rig_init(&rig);
    unsigned lines = asked_by(one, 32);
    ck_assert_uint_gt(lines, 0);
    ck_assert_uint_eq(lines % 2, 0); // two lines a warp, in every version of the block
    ck_assert_uint_eq(asked_by(side_by_side, 32), lines);
    ck_assert_uint_eq(asked_by(apart, 32), 2 * lines);
    ck_assert_uint_eq(asked_by(far_apart, 32), 2 * lines);
    ck_assert_uint_eq(asked_by(generic, 32), lines);
    ck_assert_uint_eq(asked_by(one_place, 32), 0);
    ck_assert_uint_eq(asked_by(shared, 32), 0);
    rig_done(&rig);
}

TW_TEST("kernels that leap by the size of the grid run as whole blocks, and others as before") {
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    for (unsigned w = 0; w < TW_COUNT(walks); w++) {
        char *ptx = walk(walks[w].address, walks[w].next);
        bool wide = is_wide(walks[w].next);
        kernel_from_ptx(&rig, &k, ptx, "k", 32, 32);
        ck_assert_msg(k.program || k.info.whole_lanes == (wide ? TW_KERNEL_ROW_MAX : 0), "walk %u: %u lanes",
                      w, k.info.whole_lanes);
        kernel_done(&k);
        free(ptx);
    }
    rig_done(&rig);
}

TW_TEST("a whole block that leaps over the grid reaches every element, and nothing beyond") {
    static const int32_t sizes[] = {0, 1, 63, 255, 256, 257, 1'000, 4'096, 9'999};
    static const unsigned threads[] = {64, 128, 256, 512, 1'024};
    enum { MOST = 10'000, BLOCKS = 3 };
    struct rig rig;
    rig_init(&rig);
    rig.opt_level = TW_KERNEL_FULL;
    uint64_t x = rig_alloc(&rig, MOST * 4), y = rig_alloc(&rig, MOST * 4);
    float *fx = rig_at(&rig, x), *fy = rig_at(&rig, y);
    for (unsigned v = 0; v < TW_COUNT(threads); v++) {
        struct kernel k;
        unsigned lanes = threads[v] < TW_KERNEL_LANES_MAX ? threads[v] : TW_KERNEL_LANES_MAX;
        kernel_from_cu(&rig, &k, "saxpy.cu", "saxpy", lanes, threads[v]);
        for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
            struct {
                float a;
                uint64_t x, y;
                int32_t n;
            } params = {2.5f, x, y, sizes[s]};
            for (int32_t i = 0; i < MOST; i++) {
                fx[i] = (float)(i % 1'000);
                fy[i] = (float)(i % 77);
            }
            ck_assert_uint_eq(rig_launch(&rig, &k, (uint32_t[3]){BLOCKS, 1, 1},
                                         (uint32_t[3]){threads[v], 1, 1}, 0, &params, sizeof params),
                              TW_KERNEL_OK);
            for (int32_t i = 0; i < MOST; i++) {
                float want =
                    (float)(i % 77) + (i < sizes[s] ? 2.5f * (float)(i % 1'000) : 0); // exact in a float
                ck_assert_msg(fy[i] == want, "%u threads, %d elements: element %d", threads[v], sizes[s], i);
            }
        }
        kernel_done(&k);
    }
    rig_done(&rig);
}

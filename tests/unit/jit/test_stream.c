// SPDX-License-Identifier: Apache-2.0
//
// Threads that move two or four elements each, in whole warps and in part of one, and that the parts of what a warp moves
// are fetched and stored in the order of their addresses.

#include "harness/test.h"
#include "kernel_run.h"

// Each thread below `n` turns its `count` elements round: 0 1 2 3 becomes 3 2 1 0.
static char *turn(unsigned count, unsigned bits) {
    static const char *const names[] = {"%e0", "%e1", "%e2", "%e3"};
    char forth[32] = "", back[32] = "", *text = NULL;
    for (unsigned i = 0; i < count; i++) {
        snprintf(forth + strlen(forth), sizeof forth - strlen(forth), "%s%s", i ? ", " : "", names[i]);
        snprintf(back + strlen(back), sizeof back - strlen(back), "%s%s", i ? ", " : "",
                 names[count - 1 - i]);
    }
    int len = asprintf(
        &text,
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out, "
        ".param .u32 n) {\n.reg .b%u %%e<4>;\n.reg .b32 %%r<9>;\n.reg .b64 %%rd<9>;\n.reg .pred %%p<2>;\n"
        "ld.param.u64 %%rd1, [in];\nld.param.u64 %%rd2, [out];\nld.param.u32 %%r1, [n];\n"
        "mov.u32 %%r2, %%tid.x;\nmov.u32 %%r3, %%ctaid.x;\nmov.u32 %%r4, %%ntid.x;\n"
        "mad.lo.s32 %%r5, %%r3, %%r4, %%r2;\nsetp.ge.s32 %%p1, %%r5, %%r1;\n@%%p1 bra END;\n"
        "mul.wide.s32 %%rd3, %%r5, %u;\nadd.u64 %%rd4, %%rd1, %%rd3;\nadd.u64 %%rd5, %%rd2, %%rd3;\n"
        "ld.global.v%u.b%u {%s}, [%%rd4];\nst.global.v%u.b%u [%%rd5], {%s};\nEND:\nret;\n}\n",
        bits, count * bits / 8, count, bits, forth, count, bits, back);
    ck_assert_int_gt(len, 0);
    return text;
}

static const unsigned kinds[][2] = {{2, 32}, {4, 32}, {2, 64}, {4, 8}, {4, 16}}; // elements, bits

TW_TEST("elements that threads move several at a time arrive where they belong, and nothing beyond") {
    enum { THREADS = 3 * 64, BYTES = 16 * THREADS };
    static const uint32_t sizes[] = {0, 1, 31, 32, 100, 192};
    struct rig rig;
    rig_init(&rig);
    struct {
        uint64_t in, out;
        uint32_t n;
    } params = {rig_alloc(&rig, BYTES), rig_alloc(&rig, BYTES), 0};
    uint8_t *in = rig_at(&rig, params.in), *out = rig_at(&rig, params.out);
    for (uint32_t i = 0; i < BYTES; i++)
        in[i] = (uint8_t)(i * 2654435761u >> 13);
    for (unsigned kind = 0; kind < TW_COUNT(kinds); kind++)
        for (int level = TW_KERNEL_LIGHT; level <= TW_KERNEL_FULL; level++) {
            struct kernel k;
            unsigned count = kinds[kind][0], bytes = kinds[kind][1] / 8;
            char *ptx = turn(count, kinds[kind][1]);
            rig.opt_level = level;
            kernel_from_ptx(&rig, &k, ptx, "k", 32, 32);
            for (unsigned s = 0; s < TW_COUNT(sizes); s++) {
                params.n = sizes[s];
                memset(out, 0x5a, BYTES);
                ck_assert_uint_eq(rig_launch(&rig, &k, (uint32_t[3]){3, 1, 1}, (uint32_t[3]){64, 1, 1}, 0,
                                             &params, sizeof params),
                                  TW_KERNEL_OK);
                for (uint32_t i = 0; i < BYTES; i++) {
                    uint32_t element = i / bytes, thread = element / count, place = element % count;
                    uint32_t from = (thread * count + count - 1 - place) * bytes + i % bytes;
                    uint8_t want = thread < params.n ? in[from] : 0x5a;
                    ck_assert_msg(out[i] == want, "%u of %u bytes, %u threads: byte %u", count, bytes,
                                  params.n, i);
                }
            }
            kernel_done(&k);
            free(ptx);
        }
    rig_done(&rig);
}

TW_TEST("what a warp moves is fetched and stored in the order of addresses") {
    struct rig rig;
    rig_init(&rig);
    char *ptx = turn(4, 32), *text = kernel_llvm(ptx, "k", 32, 32);
    unsigned loads = 0, stores = 0;
    for (const char *at = text; (at = strstr(at, "load volatile <")); at++)
        loads++;
    for (const char *at = text; (at = strstr(at, "store volatile <")); at++)
        stores++;
    ck_assert_msg(loads == stores && (loads == 8 || loads == 16), "%u loads, %u stores of 512 bytes", loads,
                  stores);
    free(text);
    free(ptx);
    rig_done(&rig);
}

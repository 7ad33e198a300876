// SPDX-License-Identifier: Apache-2.0
//
// The order in which blocks of several rows run is another at the full level: every thread of every block still runs once,
// knows who it is, and chunks of any size begin and end in the middle of a row of the grid.

#include "harness/test.h"
#include "kernel_run.h"

// Adds (z × 1000 + y) × 10000 + x to its own place, by block and then by thread; x, y and z are the thread's in the grid.
// Threads whose x is 5 leave first, so that warps are whole and not.
static const char mark[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) {\n"
    ".reg .b32 %r<30>;\n.reg .b64 %rd<5>;\n.reg .pred %p<2>;\nld.param.u64 %rd1, [out];\n"
    "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %tid.y;\nmov.u32 %r3, %tid.z;\n"
    "mov.u32 %r4, %ntid.x;\nmov.u32 %r5, %ntid.y;\nmov.u32 %r6, %ntid.z;\n"
    "mov.u32 %r7, %ctaid.x;\nmov.u32 %r8, %ctaid.y;\nmov.u32 %r9, %ctaid.z;\n"
    "mov.u32 %r10, %nctaid.x;\nmov.u32 %r11, %nctaid.y;\n"
    "mad.lo.u32 %r12, %r7, %r4, %r1;\nmad.lo.u32 %r13, %r8, %r5, %r2;\nmad.lo.u32 %r14, %r9, %r6, %r3;\n"
    "setp.eq.u32 %p1, %r12, 5;\n@%p1 bra END;\n"
    "mad.lo.u32 %r15, %r14, 1000, %r13;\nmad.lo.u32 %r15, %r15, 10000, %r12;\n"
    "mad.lo.u32 %r16, %r9, %r11, %r8;\nmad.lo.u32 %r16, %r16, %r10, %r7;\n"
    "mad.lo.u32 %r17, %r16, %r6, %r3;\nmad.lo.u32 %r17, %r17, %r5, %r2;\nmad.lo.u32 %r17, %r17, %r4, %r1;\n"
    "mul.wide.u32 %rd2, %r17, 4;\nadd.u64 %rd3, %rd1, %rd2;\nld.global.u32 %r18, [%rd3];\n"
    "add.u32 %r19, %r18, %r15;\nst.global.u32 [%rd3], %r19;\nEND:\nret;\n}\n";

static const struct {
    uint32_t grid[3], block[3];
    uint64_t chunk;
} launches[] = {
    {{5, 3, 2}, {32, 8, 1}, 0},     {{5, 3, 2}, {32, 8, 1}, 1},   {{5, 3, 2}, {32, 8, 1}, 7},
    {{7, 2, 2}, {64, 2, 3}, 4},     {{130, 2, 2}, {32, 2, 1}, 0}, // more than a strip
    {{130, 2, 1}, {32, 2, 1}, 129}, {{3, 1, 1}, {96, 1, 1}, 2},   {{1, 4, 1}, {32, 4, 2}, 3},
};

static uint32_t place_of(const uint32_t grid[3], const uint32_t block[3], const uint32_t at[3]) {
    uint32_t which = 0, thread = 0;
    for (int i = 2; i >= 0; i--) {
        which = which * grid[i] + at[i] / block[i];
        thread = thread * block[i] + at[i] % block[i];
    }
    return which * block[0] * block[1] * block[2] + thread;
}

TW_TEST("every thread of every block runs once, in whatever order blocks of several rows run") {
    struct rig rig;
    rig_init(&rig);
    for (int level = TW_KERNEL_LIGHT; level <= TW_KERNEL_FULL; level++)
        for (unsigned t = 0; t < TW_COUNT(launches); t++) {
            const uint32_t *grid = launches[t].grid, *block = launches[t].block;
            uint32_t size[3], total = 1;
            struct kernel k;
            rig.opt_level = level;
            rig.chunk = launches[t].chunk;
            kernel_from_ptx(&rig, &k, mark, "k", 32, 32);
            for (unsigned i = 0; i < 3; i++)
                total *= size[i] = grid[i] * block[i];
            uint64_t out = rig_alloc(&rig, 4 * (size_t)total);
            const uint32_t *found = rig_at(&rig, out);
            ck_assert_uint_eq(rig_launch(&rig, &k, grid, block, 0, &out, sizeof out), TW_KERNEL_OK);
            for (uint32_t z = 0; z < size[2]; z++)
                for (uint32_t y = 0; y < size[1]; y++)
                    for (uint32_t x = 0; x < size[0]; x++) {
                        uint32_t want = x == 5 ? 0 : (z * 1'000 + y) * 10'000 + x;
                        uint32_t at = place_of(grid, block, (uint32_t[3]){x, y, z});
                        ck_assert_msg(found[at] == want, "level %d launch %u: thread %u,%u,%u wrote %u",
                                      level, t, x, y, z, found[at]);
                    }
            kernel_done(&k);
        }
    rig_done(&rig);
}

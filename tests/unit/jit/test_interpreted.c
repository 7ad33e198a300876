// SPDX-License-Identifier: Apache-2.0
//
// Programs in place of code: what jit/lower.c makes and interp/ runs. The other tests of this room check operations; with
// TW_TEST_INTERPRETED=1 in the environment they do so by programs too (CMakeLists.txt).

#include "harness/test.h"
#include "kernel_run.h"

static const char nothing[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) { ret; }\n";

TW_TEST("a kernel that does nothing runs to its end") {
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    rig.opt_level = TW_KERNEL_INTERPRETED;
    kernel_from_ptx(&rig, &k, nothing, "k", 32, 32);
    ck_assert_int_eq(k.info.variant.opt_level, TW_KERNEL_INTERPRETED);
    uint64_t out = rig_alloc(&rig, 400);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){3, 1, 1}, (uint32_t[3]){50, 1, 1}, 0, &out, sizeof out),
        TW_KERNEL_OK);
    kernel_done(&k);
    rig_done(&rig);
}

// SPDX-License-Identifier: Apache-2.0
//
// The CUDA kernels of tests/golden/ptx as PTX, by the clang that CMake found.
#pragma once

#include "harness/test.h"

// The compiled text of a kernel; the caller frees it. NULL: there is no clang on this machine.
static inline char *golden_compile(const char *name, int level) {
    char command[1'024];
    if (TW_TEST_CLANG[0] == 0)
        return NULL;
    snprintf(command, sizeof command,
             "%s -x cuda --cuda-device-only --cuda-gpu-arch=sm_80 --cuda-feature=+ptx78 -nocudainc "
             "-nocudalib -O%d -S "
             "%s/golden/ptx/%s.cu -o -",
             TW_TEST_CLANG, level, TW_TEST_SOURCE_DIR, name);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    struct tw_buf text;
    tw_buf_init(&text, 1 << 20);
    char part[4'096];
    for (size_t got; (got = fread(part, 1, sizeof part, pipe)) > 0;)
        ck_assert(tw_buf_append(&text, part, got));
    ck_assert_int_eq(pclose(pipe), 0);
    ck_assert(tw_buf_append_byte(&text, 0));
    size_t len;
    return (char *)tw_buf_take(&text, &len);
}

// SPDX-License-Identifier: Apache-2.0
//
// Unit tests on the Check library: each test runs in its own process with a time limit, so that a crash or a
// hang is one failed test. Names are sentences.
//
//     TW_TEST("an empty buffer takes nothing when its maximum is zero") {
//         struct tw_buf buf = {};
//         ck_assert(!tw_buf_append(&buf, "x", 1));
//     }
//
// main() is in the harness. `./unit_base_buf` runs all; `./unit_base_buf empty` runs those whose name
// contains "empty". The program ends with a line "N passed, N failed".
#pragma once

#include <check.h>

#include "base/base.h"

// Seconds a single test may take: what a sanitizer's build needs on a machine that does other things, many times over.
enum { TW_TEST_TIMEOUT_S = 300 };

struct tw_test {
    const char *name;
    const char *file;
    int line;
    TFun run; // Check passes a loop index, always 0 here
    struct tw_test *next;
};

void tw_test_register(struct tw_test *test);

#define TW_TEST_JOIN_(a, b) a##b
#define TW_TEST_JOIN(a, b)  TW_TEST_JOIN_(a, b)
#define TW_TEST(sentence)   TW_TEST_NAMED(sentence, TW_TEST_JOIN(tw_test_, __LINE__))
#define TW_TEST_NAMED(sentence, id)                                                                          \
    static void id(int tw_loop);                                                                             \
    [[gnu::constructor]] static void TW_TEST_JOIN(id, _register)(void) {                                     \
        static struct tw_test test = {.name = sentence, .file = __FILE__, .line = __LINE__, .run = id};      \
        tw_test_register(&test);                                                                             \
    }                                                                                                        \
    static void id([[maybe_unused]] int tw_loop)

// Fails with the error's code and message when the call returned false (or NULL).
#define tw_assert_ok(call, err)                                                                              \
    do {                                                                                                     \
        if (!(call))                                                                                         \
            ck_abort_msg("%s: %s: %s", #call, tw_code_name((err)->code), (err)->message);                    \
    } while (0)

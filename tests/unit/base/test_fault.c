// SPDX-License-Identifier: Apache-2.0
//
// Fault injection: the n-th call fails, once, and only of its kind.

#include "harness/test.h"

TW_TEST("the n-th call of the kind fails, once") {
    tw_fault_configure("io:3");
    for (unsigned i = 1; i <= 10; i++) {
        ck_assert_int_eq(tw_fault_strikes(TW_FAULT_IO), i == 3);
        ck_assert(!tw_fault_strikes(TW_FAULT_CUDA));
    }
    tw_fault_configure("cuda:1");
    ck_assert(!tw_fault_strikes(TW_FAULT_IO));
    ck_assert(tw_fault_strikes(TW_FAULT_CUDA));
    tw_fault_configure("");
    ck_assert(!tw_fault_strikes(TW_FAULT_CUDA));
}

TW_TEST("unknown text switches it off") {
    static const char *const bad[] = {"io", "io:",   "io:x", "disk:1",
                                      ":1", "io:-1", "io:0", "io:99999999999999999999"};
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        tw_fault_configure("io:1");
        tw_fault_configure(bad[i]);
        ck_assert_msg(!tw_fault_strikes(TW_FAULT_IO), "%s", bad[i]);
    }
}

TW_TEST("each allocating call obeys, and works otherwise") {
    tw_fault_configure("alloc:2");
    char *a = tw_alloc(10);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_null(tw_alloc(10));
    tw_fault_configure("alloc:1");
    ck_assert_ptr_null(tw_alloc_zero(10, 10));
    tw_fault_configure("alloc:1");
    ck_assert_ptr_null(tw_realloc(a, 100));
    tw_fault_configure(NULL);
    a[9] = 'x';
    a = tw_realloc(a, 1000);
    ck_assert_int_eq(a[9], 'x');
    free(a);
    unsigned char *zeroed = tw_alloc_zero(100, 100);
    for (unsigned i = 0; i < 10'000; i++)
        ck_assert_uint_eq(zeroed[i], 0);
    free(zeroed);
    void *empty = tw_alloc(0);
    ck_assert_ptr_nonnull(empty);
    free(empty);
    ck_assert_ptr_null(tw_alloc_zero(SIZE_MAX, 2));
}

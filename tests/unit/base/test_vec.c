// SPDX-License-Identifier: Apache-2.0
//
// Growing arrays: order, the maximum, no memory.

#include "harness/test.h"

struct point {
    int x, y;
};

TW_TEST("pushed elements stay in order up to the maximum") {
    struct {
        struct point *items;
        size_t count, capacity;
    } list = {};
    for (int i = 0; i < 1000; i++)
        ck_assert(TW_VEC_PUSH(&list, ((struct point){i, -i}), 1000));
    ck_assert(!TW_VEC_PUSH(&list, ((struct point){1, 1}), 1000));
    ck_assert_uint_eq(list.count, 1000);
    ck_assert_uint_eq(list.capacity, 1000);
    for (int i = 0; i < 1000; i++)
        ck_assert(list.items[i].x == i && list.items[i].y == -i);
    free(list.items);
}

TW_TEST("sizes that would wrap and missing memory change nothing") {
    struct {
        struct point *items;
        size_t count, capacity;
    } list = {};
    size_t capacity = SIZE_MAX / 4;
    ck_assert(!tw_vec_grow(&list.items, &capacity, capacity, sizeof(struct point), SIZE_MAX));
    ck_assert(capacity == SIZE_MAX / 4);
    tw_fault_configure("alloc:1");
    ck_assert(!TW_VEC_PUSH(&list, ((struct point){1, 1}), 1000));
    tw_fault_configure(NULL);
    ck_assert(list.count == 0 && list.capacity == 0 && list.items == NULL);
    ck_assert(!TW_VEC_PUSH(&list, ((struct point){1, 1}), 0));
}

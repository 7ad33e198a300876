// SPDX-License-Identifier: Apache-2.0
//
// The map, compared with a plain array under random puts and removals.

#include "harness/test.h"

enum { KEYS = 500 };

static struct tw_span key_of(unsigned number, char text[64]) {
    // Every third key is too long to lie in its slot.
    int len = snprintf(text, 64, number % 3 ? "%u" : "a key that is longer than sixteen bytes: %u", number);
    return tw_span_of(text, (size_t)len);
}

static void check_all(const struct tw_map *map, int *const present[KEYS], size_t count) {
    char text[64];
    for (unsigned k = 0; k < KEYS; k++)
        ck_assert_ptr_eq(tw_map_find(map, key_of(k, text)), present[k]);
    size_t position = 0, walked = 0;
    struct tw_span key;
    void *value;
    while (tw_map_next(map, &position, &key, &value)) {
        ck_assert_ptr_eq(tw_map_find(map, key), value);
        walked++;
    }
    ck_assert_uint_eq(walked, count);
    ck_assert_uint_eq(map->count, count);
}

TW_TEST("a map agrees with an array under random puts, replacements and removals") {
    static int values[KEYS][2];
    static int *present[KEYS];
    struct tw_map map;
    tw_map_init(&map, KEYS);
    size_t count = 0;
    uint32_t random = 1;
    char text[64];
    for (unsigned step = 0; step < 50'000; step++) {
        random = random * 1'664'525 + 1'013'904'223;
        unsigned k = (random >> 8) % KEYS;
        if (random >> 30) { // three of four
            int *value = &values[k][random >> 7 & 1];
            ck_assert(tw_map_put(&map, key_of(k, text), value));
            count += present[k] == NULL;
            present[k] = value;
        } else {
            ck_assert_ptr_eq(tw_map_remove(&map, key_of(k, text)), present[k]);
            count -= present[k] != NULL;
            present[k] = NULL;
        }
        if (step % 5000 == 0)
            check_all(&map, present, count);
    }
    check_all(&map, present, count);
    for (unsigned k = 0; k < KEYS; k++)
        ck_assert_ptr_eq(tw_map_remove(&map, key_of(k, text)), present[k]);
    ck_assert_uint_eq(map.count, 0);
    tw_map_done(&map);
}

TW_TEST("a full map takes replacements only") {
    int a = 0, b = 0;
    struct tw_map map = {.max = 1};
    ck_assert(tw_map_put(&map, tw_key_str(TW_STR("x")), &a));
    ck_assert(!tw_map_put(&map, tw_key_str(TW_STR("y")), &a));
    ck_assert(tw_map_put(&map, tw_key_str(TW_STR("x")), &b));
    ck_assert_ptr_eq(tw_map_find(&map, tw_key_str(TW_STR("x"))), &b);
    tw_map_done(&map);
}

TW_TEST("an empty key is a key, and keys are told apart by length") {
    int a = 0, b = 0, c = 0;
    struct tw_map map = {.max = 10};
    ck_assert_ptr_null(tw_map_find(&map, (struct tw_span){}));
    ck_assert_ptr_null(tw_map_remove(&map, (struct tw_span){}));
    ck_assert(tw_map_put(&map, (struct tw_span){}, &a));
    ck_assert(tw_map_put(&map, tw_span_of("\0", 1), &b));
    ck_assert(tw_map_put(&map, tw_span_of("\0\0", 2), &c));
    ck_assert_ptr_eq(tw_map_find(&map, (struct tw_span){}), &a);
    ck_assert_ptr_eq(tw_map_find(&map, tw_span_of("\0", 1)), &b);
    ck_assert_ptr_eq(tw_map_find(&map, tw_span_of("\0\0", 2)), &c);
    tw_map_done(&map);
}

TW_TEST("without memory a put changes nothing, whichever allocation fails") {
    int value = 0;
    struct tw_map map = {.max = 100};
    char text[64];
    for (unsigned k = 0; k < 60; k++) {
        for (unsigned n = 1;; n++) {
            char fault[16];
            snprintf(fault, sizeof(fault), "alloc:%u", n);
            tw_fault_configure(fault);
            bool put = tw_map_put(&map, key_of(k, text), &value);
            tw_fault_configure(NULL);
            if (put)
                break;
            ck_assert_uint_eq(map.count, k);
            ck_assert_ptr_null(tw_map_find(&map, key_of(k, text)));
        }
    }
    ck_assert_uint_eq(map.count, 60);
    tw_map_done(&map);
}

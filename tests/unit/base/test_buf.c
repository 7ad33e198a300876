// SPDX-License-Identifier: Apache-2.0
//
// The growing buffer and its maximum.

#include "harness/test.h"

TW_TEST("an empty buffer takes nothing when its maximum is zero") {
    struct tw_buf buf = {};
    ck_assert(!tw_buf_append(&buf, "x", 1));
    ck_assert(tw_buf_append(&buf, "x", 0));
    ck_assert(!tw_buf_printf(&buf, "x"));
    ck_assert_uint_eq(tw_buf_str(&buf).len, 0);
    tw_buf_done(&buf);
}

TW_TEST("appending is all or nothing at the maximum") {
    struct tw_buf buf;
    tw_buf_init(&buf, 10);
    ck_assert(tw_buf_append(&buf, "abcdef", 6));
    ck_assert(!tw_buf_append(&buf, "ghijk", 5));
    ck_assert(!tw_buf_printf(&buf, "%05d", 1));
    ck_assert_str_eq((char *)buf.data, "abcdef");
    ck_assert(tw_buf_printf(&buf, "%04d", 1));
    ck_assert_str_eq((char *)buf.data, "abcdef0001");
    ck_assert(!tw_buf_append_byte(&buf, 'x'));
    tw_buf_done(&buf);
    ck_assert_ptr_null(buf.data);
}

TW_TEST("content survives growth and always ends in NUL") {
    struct tw_buf buf;
    tw_buf_init(&buf, 1 << 20);
    for (unsigned i = 0; i < 10'000; i++) {
        ck_assert(tw_buf_printf(&buf, "%u,", i));
        ck_assert_uint_eq(buf.data[buf.len], 0);
    }
    char *at = (char *)buf.data;
    for (unsigned i = 0; i < 10'000; i++) {
        ck_assert_uint_eq(strtoul(at, &at, 10), i);
        ck_assert_int_eq(*at++, ',');
    }
    ck_assert_ptr_eq(at, buf.data + buf.len);
    tw_buf_done(&buf);
}

TW_TEST("a long printf into a short buffer is formatted whole") {
    struct tw_buf buf;
    tw_buf_init(&buf, 5000);
    ck_assert(tw_buf_append_str(&buf, TW_STR("<")));
    ck_assert(tw_buf_printf(&buf, "%4000d", 7));
    ck_assert_uint_eq(buf.len, 4001);
    ck_assert_uint_eq(strlen((char *)buf.data), 4001);
    ck_assert_int_eq(buf.data[4000], '7');
    ck_assert(!tw_buf_printf(&buf, "%1000d", 7));
    ck_assert_uint_eq(strlen((char *)buf.data), 4001);
    tw_buf_done(&buf);
}

TW_TEST("a length that would wrap is refused") {
    struct tw_buf buf;
    tw_buf_init(&buf, SIZE_MAX);
    ck_assert(tw_buf_append(&buf, "abc", 3));
    ck_assert_ptr_null(tw_buf_reserve(&buf, SIZE_MAX));
    ck_assert_ptr_null(tw_buf_reserve(&buf, SIZE_MAX - 2));
    ck_assert_str_eq((char *)buf.data, "abc");
    tw_buf_done(&buf);
}

TW_TEST("reserved bytes count once they are committed") {
    struct tw_buf buf;
    tw_buf_init(&buf, 100);
    uint8_t *room = tw_buf_reserve(&buf, 100);
    ck_assert_ptr_nonnull(room);
    memcpy(room, "hello", 5);
    ck_assert_uint_eq(buf.len, 0);
    tw_buf_commit(&buf, 5);
    ck_assert_str_eq((char *)buf.data, "hello");
    tw_buf_drop_front(&buf, 2);
    ck_assert_str_eq((char *)buf.data, "llo");
    tw_buf_drop_front(&buf, 3);
    ck_assert_uint_eq(buf.len, 0);
    tw_buf_done(&buf);
}

TW_TEST("taking gives the block away and leaves an empty buffer that works") {
    struct tw_buf buf;
    tw_buf_init(&buf, 100);
    ck_assert(tw_buf_append_str(&buf, TW_STR("abc")));
    size_t len = 0;
    uint8_t *block = tw_buf_take(&buf, &len);
    ck_assert_uint_eq(len, 3);
    ck_assert_str_eq((char *)block, "abc");
    free(block);
    ck_assert_uint_eq(buf.len, 0);
    ck_assert(tw_buf_append_str(&buf, TW_STR("d")));
    tw_buf_reset(&buf);
    ck_assert_uint_eq(buf.len, 0);
    ck_assert_str_eq((char *)buf.data, "");
    ck_assert_ptr_eq(tw_buf_span(&buf).data, buf.data);
    tw_buf_done(&buf);
}

TW_TEST("without memory nothing is appended") {
    struct tw_buf buf;
    tw_buf_init(&buf, 1000);
    ck_assert(tw_buf_append_str(&buf, TW_STR("abc")));
    tw_fault_configure("alloc:1");
    ck_assert(!tw_buf_printf(&buf, "%500d", 1));
    tw_fault_configure(NULL);
    ck_assert_str_eq((char *)buf.data, "abc");
    ck_assert(tw_buf_printf(&buf, "%500d", 1));
    tw_buf_done(&buf);
}

TW_TEST("a maximum that was lowered holds for every way of appending") {
    struct tw_buf buf;
    tw_buf_init(&buf, 1000);
    ck_assert(tw_buf_append_str(&buf, TW_STR("abcdef")));
    buf.max = 8;
    ck_assert(!tw_buf_printf(&buf, "%03d", 7));
    ck_assert(!tw_buf_append(&buf, "ghi", 3));
    ck_assert_ptr_null(tw_buf_reserve(&buf, 3));
    ck_assert_str_eq((char *)buf.data, "abcdef");
    ck_assert(tw_buf_printf(&buf, "%02d", 7));
    ck_assert(!tw_buf_printf(&buf, "x"));
    ck_assert_str_eq((char *)buf.data, "abcdef07");
    tw_buf_done(&buf);
}

// SPDX-License-Identifier: Apache-2.0
//
// The one way to fail, and the table of codes.

#include "harness/test.h"

TW_TEST("a failure carries its code and its message") {
    struct tw_error err = {};
    ck_assert(!tw_fail(&err, TW_ERR_QUOTA, "%d asked, the limit is %d", 5, 3));
    ck_assert_int_eq(err.code, TW_ERR_QUOTA);
    ck_assert_str_eq(err.message, "5 asked, the limit is 3");
}

TW_TEST("wrapping puts the context before the message") {
    struct tw_error err = {};
    tw_fail(&err, TW_ERR_STORE, "disk full");
    ck_assert(!tw_wrap(&err, "saving %s", "f"));
    ck_assert_str_eq(err.message, "saving f: disk full");
    ck_assert_int_eq(err.code, TW_ERR_STORE);
}

TW_TEST("an errno value is named after the message") {
    struct tw_error err = {};
    ck_assert(!tw_fail_errno(&err, TW_ERR_STORE, ENOENT, "opening %s", "f"));
    ck_assert_str_eq(err.message, "opening f: No such file or directory");
    tw_fail_errno(&err, TW_ERR_STORE, 99'999, "odd");
    ck_assert_str_eq(err.message, "odd: unknown system error");
}

TW_TEST("a caller who wants no error may pass NULL") {
    ck_assert(!tw_fail(NULL, TW_ERR_STORE, "x"));
    ck_assert(!tw_fail_errno(NULL, TW_ERR_STORE, EIO, "x"));
    ck_assert(!tw_wrap(NULL, "x"));
}

TW_TEST("a message may quote the one it replaces") {
    struct tw_error err = {};
    tw_fail(&err, TW_ERR_STORE, "inner");
    tw_fail(&err, TW_ERR_INTERNAL, "outer (%s)", err.message);
    ck_assert_str_eq(err.message, "outer (inner)");
}

TW_TEST("a long message is cut at a character boundary") {
    // Two-byte characters: at 239 bytes the cut would fall inside one when the text begins at an even place.
    char text[601] = "";
    for (size_t i = 0; i < 600; i += 2)
        memcpy(text + i, "\xC3\xA9", 3);
    struct tw_error err = {};
    tw_fail(&err, TW_ERR_STORE, "%s", text);
    ck_assert_uint_eq(strlen(err.message), 238);
    ck_assert_int_eq(memcmp(err.message, text, 238), 0);
    tw_fail(&err, TW_ERR_STORE, "x%s", text);
    ck_assert_uint_eq(strlen(err.message), 239);
    tw_wrap(&err, "%s", "y");
    ck_assert(tw_str_starts(tw_str_from(err.message), TW_STR("y: x")));
    ck_assert(tw_utf8_valid(tw_str_from(err.message)));
}

TW_TEST("an invalid long message is cut all the same") {
    char text[601];
    memset(text, 0x80, 600);
    text[600] = '\0';
    struct tw_error err = {};
    tw_fail(&err, TW_ERR_STORE, "%s", text);
    ck_assert_uint_eq(strlen(err.message), 239);
}

TW_TEST("the table answers by code and by name") {
    ck_assert_int_eq(tw_code_status(TW_ERR_INVALID_JSON), 400);
    ck_assert_int_eq(tw_code_status(TW_ERR_GUEST_TRAP), 502);
    ck_assert(tw_code_retryable(TW_ERR_RATE_LIMITED));
    ck_assert(!tw_code_retryable(TW_ERR_NOT_FOUND));
    ck_assert_str_eq(tw_code_name(TW_OK), "ok");
    ck_assert_str_eq(tw_code_name(TW_ERR_TIMEOUT), "invoke_timeout");
    enum tw_code code = TW_OK;
    ck_assert(tw_code_find("guest_exit", &code));
    ck_assert_int_eq(code, TW_ERR_GUEST_EXIT);
    ck_assert(!tw_code_find("ok", &code));
    ck_assert(!tw_code_find("nothing_like_it", &code));
    ck_assert_int_eq(code, TW_ERR_GUEST_EXIT);
}

TW_TEST("every code has a unique name, a text and an error status") {
    for (unsigned i = 1; i < TW_CODE_COUNT; i++) {
        enum tw_code code = (enum tw_code)i, found = TW_OK;
        ck_assert(tw_code_find(tw_code_name(code), &found));
        ck_assert_int_eq(found, code);
        ck_assert_uint_gt(strlen(tw_code_text(code)), 0);
        ck_assert_int_ge(tw_code_status(code), 400);
        ck_assert_int_le(tw_code_status(code), 599);
    }
}

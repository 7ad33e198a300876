// SPDX-License-Identifier: Apache-2.0
//
// The caret under what a message about PTX points at.

#include "harness/test.h"
#include "service/service.h"

static void expect(const char *source, const char *message, const char *text, const char *caret) {
    struct tw_source_mark mark;
    ck_assert(tw_source_mark_find(tw_str_from(source), message, &mark));
    ck_assert_str_eq(mark.text, text);
    ck_assert_str_eq(mark.caret, caret);
}

TW_TEST("the line is shown with a caret below the column") {
    expect("one\ntwo three\nfour", "line 2, column 5: unknown", "two three", "    ^");
    expect("one", "line 1, column 1: unknown", "one", "^");
    expect("a\r\nbc\r\n", "kernel 'k': line 2, column 2: x", "bc", " ^");
    expect("\tadd x", "line 1, column 6: tabs stay", "\tadd x", "\t    ^");
    expect("ab", "line 1, column 3: at the end of the line", "ab", "  ^");
    expect("äö x", "line 1, column 6: columns count bytes, people see characters", "äö x", "   ^");
    expect("a\x1b[31m", "line 1, column 1: no colours", "a?[31m", "^");
}

TW_TEST("a message that points nowhere gets no caret") {
    struct tw_source_mark mark;
    struct tw_str source = TW_STR("one\ntwo");
    static const char *const messages[] = {"no place",
                                           "line 1: no column",
                                           "line 9, column 1: beyond",
                                           "line 1, column 5: beyond",
                                           "line 0, column 0: nowhere",
                                           "line 99999999999999999999, column 1: far"};
    for (size_t i = 0; i < TW_COUNT(messages); i++)
        ck_assert(!tw_source_mark_find(source, messages[i], &mark));
}

TW_TEST("of a long line the part around the column is shown") {
    char source[2001];
    memset(source, 'x', 2000);
    source[2000] = 0;
    source[1499] = '!';
    struct tw_source_mark mark;
    ck_assert(tw_source_mark_find(tw_str_from(source), "line 1, column 1500: here", &mark));
    ck_assert_uint_le(strlen(mark.text), TW_SOURCE_MARK_MAX);
    ck_assert_int_eq(mark.text[strlen(mark.caret) - 1], '!');
}

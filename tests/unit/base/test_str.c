// SPDX-License-Identifier: Apache-2.0
//
// Text: comparing, cutting, numbers, UTF-8. The UTF-8 checker is compared with a plain decoder written here.

#include "harness/test.h"

TW_TEST("equality looks at length and bytes, and case only for ASCII letters") {
    ck_assert(tw_str_equal(TW_STR("abc"), tw_str_of("abcd", 3)));
    ck_assert(!tw_str_equal(TW_STR("abc"), TW_STR("abd")));
    ck_assert(!tw_str_equal(TW_STR("abc"), TW_STR("ab")));
    ck_assert(tw_str_equal(TW_STR(""), (struct tw_str){}));
    ck_assert(tw_str_equal(tw_str_from(NULL), TW_STR("")));
    ck_assert(tw_str_equal_nocase(TW_STR("Content-TYPE"), TW_STR("content-type")));
    ck_assert(!tw_str_equal_nocase(TW_STR("a["), TW_STR("a{")));
    ck_assert(!tw_str_equal_nocase(TW_STR("@"), TW_STR("`")));
    ck_assert(tw_str_starts(TW_STR("/functions/x"), TW_STR("/functions")));
    ck_assert(!tw_str_starts(TW_STR("/f"), TW_STR("/functions")));
}

TW_TEST("trimming takes spaces and tabs from both ends only") {
    ck_assert(tw_str_equal(tw_str_trim(TW_STR(" \t a b\t ")), TW_STR("a b")));
    ck_assert_uint_eq(tw_str_trim(TW_STR(" \t ")).len, 0);
    ck_assert(tw_str_equal(tw_str_trim(TW_STR("\na")), TW_STR("\na")));
}

TW_TEST("cutting walks a list, with empty parts") {
    struct tw_str rest = TW_STR("a,,bc,");
    ck_assert(tw_str_equal(tw_str_cut(&rest, ','), TW_STR("a")));
    ck_assert(tw_str_equal(tw_str_cut(&rest, ','), TW_STR("")));
    ck_assert(tw_str_equal(tw_str_cut(&rest, ','), TW_STR("bc")));
    ck_assert_uint_eq(rest.len, 0);
    ck_assert(tw_str_equal(tw_str_cut(&rest, ','), TW_STR("")));
    rest = TW_STR("whole");
    ck_assert(tw_str_equal(tw_str_cut(&rest, ','), TW_STR("whole")));
    ck_assert_uint_eq(rest.len, 0);
}

TW_TEST("a decimal number is whole, unsigned and fits 64 bits") {
    uint64_t value = 7;
    ck_assert(tw_str_u64(TW_STR("18446744073709551615"), &value));
    ck_assert(value == UINT64_MAX);
    ck_assert(tw_str_u64(TW_STR("000"), &value));
    ck_assert_uint_eq(value, 0);
    static const char *const bad[] = {
        "", "18446744073709551616", "99999999999999999999", "-1", "+1", " 1", "1 ", "0x1", "1.0"};
    value = 7;
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(!tw_str_u64(tw_str_from(bad[i]), &value), "%s", bad[i]);
    ck_assert_uint_eq(value, 7);
}

TW_TEST("a copy ends in NUL") {
    char *copy = tw_str_dup(tw_str_of("abcdef", 3));
    ck_assert_str_eq(copy, "abc");
    free(copy);
    copy = tw_str_dup((struct tw_str){});
    ck_assert_str_eq(copy, "");
    free(copy);
}

// Decodes by arithmetic: a sequence is valid when encoding its code point again gives the same bytes.
static bool valid_by_decoding(const unsigned char *bytes, size_t len) {
    for (size_t at = 0; at < len;) {
        unsigned lead = bytes[at];
        size_t size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (!size || at + size > len)
            return false;
        uint32_t point = size == 1 ? lead : lead & (0x7FU >> size);
        for (size_t i = 1; i < size; i++) {
            if (bytes[at + i] >> 6 != 2)
                return false;
            point = point << 6 | (bytes[at + i] & 63U);
        }
        size_t needed = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        if (needed != size || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return false;
        at += size;
    }
    return true;
}

TW_TEST("UTF-8 is judged as an independent decoder judges it, for all 1 to 3 byte texts") {
    unsigned char bytes[3];
    for (uint32_t word = 0; word < 1U << 24; word += word < 1U << 17 ? 1 : 3) {
        bytes[0] = (unsigned char)(word >> 16);
        bytes[1] = (unsigned char)(word >> 8);
        bytes[2] = (unsigned char)word;
        for (size_t len = 1; len <= 3; len++) {
            bool expected = valid_by_decoding(bytes + 3 - len, len);
            if (tw_utf8_valid(tw_str_of((const char *)bytes + 3 - len, len)) != expected)
                ck_abort_msg("%06x, %zu bytes: expected %d", word, len, expected);
        }
    }
}

TW_TEST("UTF-8 of four bytes is judged as an independent decoder judges it") {
    static const unsigned char seconds[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0, 0xFF};
    for (unsigned lead = 0xEE; lead <= 0xFF; lead++) {
        for (size_t b = 0; b < sizeof(seconds); b++) {
            for (size_t c = 0; c < sizeof(seconds); c++) {
                for (size_t d = 0; d < sizeof(seconds); d++) {
                    // Ten ASCII letters before it make the checker go through its fast step first.
                    unsigned char text[14] = "abcdefghij";
                    text[10] = (unsigned char)lead;
                    text[11] = seconds[b];
                    text[12] = seconds[c];
                    text[13] = seconds[d];
                    for (size_t len = 11; len <= 14; len++)
                        ck_assert_int_eq(tw_utf8_valid(tw_str_of((char *)text, len)),
                                         valid_by_decoding(text, len));
                }
            }
        }
    }
}

TW_TEST("numbers become their decimal digits") {
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {{0, "0"}, {9, "9"}, {10, "10"}, {200, "200"}, {UINT64_MAX, "18446744073709551615"}};
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        char room[TW_U64_DIGITS];
        ck_assert(tw_str_equal(tw_str_of_u64(cases[i].value, room), tw_str_from(cases[i].text)));
    }
}

// One byte of every value at every place of texts of up to three words, against the definition.
TW_TEST("control characters are found wherever they stand") {
    ck_assert(!tw_str_has_control((struct tw_str){}));
    for (size_t len = 1; len <= 24; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                char text[24];
                memset(text, byte % 2 ? 'z' : 0xE4, sizeof text);
                text[at] = (char)byte;
                ck_assert_msg(tw_str_has_control(tw_str_of(text, len)) == (byte < 0x20 || byte == 0x7F),
                              "0x%02x at %zu of %zu", byte, at, len);
            }
        }
    }
}

TW_TEST("ASCII letters become lower case, no other byte changes, none beyond the end is touched") {
    for (size_t len = 0; len <= 256; len++) {
        unsigned char text[257];
        for (unsigned i = 0; i < sizeof text; i++)
            text[i] = (unsigned char)i;
        tw_ascii_lower((char *)text, len);
        for (unsigned i = 0; i < sizeof text; i++) {
            unsigned before = i % 256,
                     after = i < len && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (int)before) && before
                                 ? before + 32
                                 : before;
            ck_assert_uint_eq(text[i], after);
        }
    }
}

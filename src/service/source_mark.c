// SPDX-License-Identifier: Apache-2.0
//
// Shows people where a message about PTX points: the source line, and a caret under the column.

#include "service/internal.h"

// The number that follows `word` in `text`; 0: none.
static uint32_t number_after(const char *text, const char *word) {
    const char *at = strstr(text, word);
    return at ? (uint32_t)strtoul(at + strlen(word), NULL, 10) : 0;
}

// False when there are not so many lines.
static bool line_of(struct tw_str source, uint32_t line, struct tw_str *ret_text) {
    while (line > 1 && source.len) {
        (void)tw_str_cut(&source, '\n');
        line--;
    }
    bool is_there = source.len || line == 1;
    struct tw_str text = tw_str_cut(&source, '\n');
    if (text.len && text.data[text.len - 1] == '\r')
        text.len--;
    *ret_text = text;
    return is_there;
}

// Nothing that a terminal would obey.
static char shown(char c) {
    return c == '\t' || (unsigned char)c >= ' ' ? c : '?';
}

bool tw_source_mark_find(struct tw_str source, const char *message, struct tw_source_mark *ret_mark) {
    struct tw_source_mark mark = {.line = number_after(message, "line "),
                                  .column = number_after(message, ", column ")};
    struct tw_str text;
    if (mark.line == 0 || mark.column == 0 || !line_of(source, mark.line, &text) ||
        mark.column > text.len + 1)
        return false;
    size_t from = mark.column > TW_SOURCE_MARK_MAX * 3 / 4 ? mark.column - TW_SOURCE_MARK_MAX / 2 : 0;
    while (from > 0 && ((unsigned char)text.data[from] & 0xc0) == 0x80)
        from--; // not in the middle of a character
    size_t len = text.len - from < TW_SOURCE_MARK_MAX ? text.len - from : TW_SOURCE_MARK_MAX;
    for (size_t i = 0; i < len; i++)
        mark.text[i] = shown(text.data[from + i]);
    size_t at = 0;
    for (size_t i = from; i < mark.column - 1; i++) {
        // Tabs stay, so that the caret stands right; what is no character of its own takes no column.
        if (((unsigned char)text.data[i] & 0xc0) != 0x80)
            mark.caret[at++] = text.data[i] == '\t' ? '\t' : ' ';
    }
    mark.caret[at] = '^';
    *ret_mark = mark;
    return true;
}

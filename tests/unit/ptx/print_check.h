// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the PTX printer share: printing and reading back, and the shape of IR in which modules
// are compared.
#pragma once

#include "snippet.h"

static const struct tw_ptx_options plain = {}, fenced = {.fence = true};

// The text; the caller frees it. NULL: refused, the reason in `err`.
static inline char *printed(const struct tw_kir_module *module, const struct tw_ptx_options *options,
                            struct tw_error *err) {
    struct tw_buf out;
    size_t len;
    tw_buf_init(&out, 16 << 20);
    bool good = tw_ptx_print(module, options, &out, err);
    char *text = good ? (char *)tw_buf_take(&out, &len) : NULL;
    tw_buf_done(&out);
    return text;
}

// Check takes no long messages.
static inline void fail_in(const char *why, const char *text) {
    fprintf(stderr, "%s\n", text);
    ck_abort_msg("%s", why);
}

static inline void assemble(const char *ptx, unsigned sm) {
    const char *ptxas = getenv("TW_PTXAS");
    if (!ptxas)
        return;
    char path[] = "/tmp/tw-print-XXXXXX", command[1'024];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    FILE *file = fdopen(fd, "w");
    fputs(ptx, file);
    fclose(file);
    snprintf(command, sizeof command, "%s -arch=sm_%u %s -o /dev/null", ptxas, sm, path);
    if (system(command) != 0)
        fail_in("ptxas refuses", ptx);
    unlink(path);
}

// The first line that differs.
static inline void same_text(const char *a, const char *b) {
    struct tw_str x = tw_str_from(a), y = tw_str_from(b);
    for (unsigned line = 1; x.len || y.len; line++) {
        struct tw_str left = tw_str_cut(&x, '\n'), right = tw_str_cut(&y, '\n');
        if (!tw_str_equal(left, right))
            ck_abort_msg("line %u: '%.*s' is not '%.*s' after\n%.*s", line, TW_STR_ARG(left),
                         TW_STR_ARG(right), (int)(left.data - a < 900 ? left.data - a : 900),
                         left.data - (left.data - a < 900 ? left.data - a : 900));
    }
}

// ---- the same instructions ----

// Names in order of appearance.
struct naming {
    struct tw_str names[8'192];
    unsigned count;
};

static inline unsigned number_of(struct naming *naming, struct tw_str name) {
    unsigned k = 0;
    while (k < naming->count && !tw_str_equal(naming->names[k], name))
        k++;
    ck_assert_uint_lt(k, TW_COUNT(naming->names));
    naming->names[k] = name;
    naming->count = k < naming->count ? naming->count : k + 1;
    return k;
}

// What the word is: an operation or number, which stays, or a name. Operations come first in a line or after
// "=", names begin with no digit, sign or bracket.
static inline bool is_name(struct tw_str line, struct tw_str word) {
    const char *equals = memmem(line.data, line.len, " = ", 3);
    if (strchr("0123456789+-[]@!=,>", word.data[0]) || tw_str_equal(word, TW_STR("block")))
        return false;
    if (tw_str_starts(line, TW_STR("block ")))
        return true;
    bool first = word.data == line.data + 2 ||
                 (line.data[2] == '@' && memchr(line.data + 3, ' ', line.len - 3) == word.data - 1);
    return equals ? word.data != equals + 3 : !first;
}

// The entry's printed blocks without positions, with registers, labels and variables numbered in order of
// appearance.
static inline char *shape(const struct tw_kir_module *module, const char *entry) {
    static struct naming naming;
    struct tw_buf all, out;
    struct tw_error err = {};
    tw_buf_init(&all, 16 << 20);
    tw_buf_init(&out, 16 << 20);
    tw_assert_ok(tw_kir_print(module, &all, &err), &err);
    struct tw_str rest = tw_buf_str(&all), name = tw_str_from(entry);
    bool inside = false;
    naming.count = 0;
    while (rest.len) {
        struct tw_str line = tw_str_cut(&rest, '\n');
        if (tw_str_starts(line, TW_STR("entry ")))
            inside = line.len > 6 + name.len && memcmp(line.data + 6, entry, name.len) == 0 &&
                     line.data[6 + name.len] == ' ';
        if (!inside || (!tw_str_starts(line, TW_STR("  ")) && !tw_str_starts(line, TW_STR("block "))))
            continue;
        const char *position = memmem(line.data, line.len, "  ; ", 4);
        line.len = position ? (size_t)(position - line.data) : line.len;
        for (size_t at = 0; at < line.len;) {
            struct tw_str word = tw_str_of(line.data + at, 0);
            while (at + word.len < line.len && !strchr(" ,[]@!+", line.data[at + word.len]))
                word.len++;
            if (word.len && is_name(line, word))
                ck_assert(tw_buf_printf(&out, "N%u", number_of(&naming, word)));
            else
                ck_assert(tw_buf_append(&out, word.data, word.len ? word.len : 1));
            at += word.len ? word.len : 1;
        }
        ck_assert(tw_buf_append_byte(&out, '\n'));
    }
    tw_buf_done(&all);
    size_t len;
    return (char *)tw_buf_take(&out, &len);
}

// Prints, reads and prints again: the same text. `text` NULL: refused.
static inline char *there_and_back(const struct tw_kir_module *module, const struct tw_ptx_options *options,
                                   struct tw_error *err) {
    struct tw_arena arena;
    struct tw_kir_module *again;
    struct tw_error second = {};
    char *text = printed(module, options, err);
    if (!text)
        return NULL;
    tw_arena_init(&arena, 64 << 20);
    if (!tw_ptx_parse(&arena, tw_str_from(text), &again, &second))
        fail_in(second.message, text);
    char *twice = printed(again, &plain, &second);
    if (!twice)
        fail_in(second.message, text);
    same_text(text, twice);
    free(twice);
    tw_arena_done(&arena);
    return text;
}

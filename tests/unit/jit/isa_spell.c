// SPDX-License-Identifier: Apache-2.0
//
// See isa_forms.h: how a form becomes statements, each followed by stores of its results.

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

// The first `{a,b,…}` of a form taken in turn, which is no operand's braces: those have a blank or no comma behind.
static bool alternatives(const char *form, const char **ret_open, const char **ret_close) {
    for (const char *open = strchr(form, '{'); open; open = strchr(open + 1, '{')) {
        const char *close = strchr(open, '}'), *comma = strchr(open, ','), *blank = strchr(open, ' ');
        bool list = comma && comma < close && (!blank || blank > close);
        bool alone = open != form && open[-1] == '.' && (!blank || blank > close);
        if (list || alone) {
            *ret_open = open;
            *ret_close = close;
            return true;
        }
    }
    return false;
}

static const char *class_of(struct tw_str type, bool wide) {
    unsigned bits = 0;
    for (size_t i = 0; i < type.len; i++)
        if (type.data[i] >= '0' && type.data[i] <= '9')
            bits = bits * 10 + (unsigned)(type.data[i] - '0');
        else if (type.data[i] == 'x')
            break;
    bool pair = type.len > 2 && type.data[type.len - 2] == 'x';
    bits *= (pair ? 2u : 1u) * (wide ? 2u : 1u);
    bool real = type.data[0] == 'f' && !pair && bits >= 32;
    return type.data[0] == 'p' ? "p" : bits <= 16 ? "h" : bits == 32 ? real ? "f" : "r" : real ? "fd" : "rd";
}

// Stores register `name` (r3), so that what made it counts.
static void keep(struct tw_buf *out, const char *name, size_t len) {
    static const struct {
        const char *class, *store;
    } stores[] = {{"p", ""},     {"h", "b16"}, {"rd", "b64"}, {"r", "b32"},
                  {"fd", "f64"}, {"f", "f32"}, {"q", "b128"}};
    for (size_t i = 0; i < TW_COUNT(stores); i++) {
        size_t most = strlen(stores[i].class);
        if (len != most + 1 || memcmp(name, stores[i].class, most) != 0)
            continue;
        if (i == 0)
            ck_assert(tw_buf_printf(out, "selp.u32 %%r8, 1, 0, %%%.*s; st.global.u32 [%%rd8], %%r8;\n",
                                    (int)len, name));
        else
            ck_assert(tw_buf_printf(out, "st.global.%s [%%rd8], %%%.*s;\n", stores[i].store, (int)len, name));
    }
}

// What the statement at `text` writes: the registers before its first comma, or in braces there.
static void keep_results(struct tw_buf *out, const char *text) {
    const char *at = text + strcspn(text, " ;"); // behind the name
    while (*at == ' ')
        at++;
    if (*text == '@' || *at == '[')
        return;
    const char *end = at + strcspn(at, *at == '{' ? "};" : ",;");
    for (; at < end; at++)
        if (*at == '%') {
            size_t len = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz0123456789");
            keep(out, at + 1, len);
        }
}

// One statement with its type in place.
static void put_typed(struct tw_buf *out, struct tw_str text, struct tw_str type) {
    size_t begin = out->len;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i], next = i + 1 < text.len ? text.data[i + 1] : 0;
        bool digit = next >= '0' && next <= '9',
             start = i == 0 || !strchr("abcdefghijklmnopqrstuvwxyz_%", text.data[i - 1]);
        if (c == 'T' && !digit && start && i && text.data[i - 1] == '.')
            ck_assert(tw_buf_append_str(out, type));
        else if ((c == 'R' || c == 'W') && digit && start)
            ck_assert(tw_buf_printf(out, "%%%s", class_of(type, c == 'W')));
        else
            ck_assert(tw_buf_append_byte(out, (uint8_t)c));
    }
    ck_assert(tw_buf_append_str(out, TW_STR(";\n")));
    char copy[512];
    snprintf(copy, sizeof copy, "%.*s", (int)(out->len - begin), (const char *)out->data + begin);
    keep_results(out, copy);
}

static void expand(struct tw_buf *out, const char *statement, struct tw_str type) {
    const char *open, *close;
    if (!alternatives(statement, &open, &close)) {
        put_typed(out, tw_str_from(statement), type);
        return;
    }
    struct tw_str rest = tw_str_of(open + 1, (size_t)(close - open - 1));
    for (bool more = true; more;) {
        more = memchr(rest.data, ',', rest.len) != NULL;
        struct tw_str one = tw_str_cut(&rest, ',');
        char text[512];
        snprintf(text, sizeof text, "%.*s%.*s%s", (int)(open - statement), statement, (int)one.len, one.data,
                 close + 1);
        expand(out, text, type);
    }
}

// All statements of a form, one a line.
char *isa_spell_out(const struct isa_form *form) {
    struct tw_buf out;
    struct tw_str types = tw_str_from(form->types ? form->types : "-");
    tw_buf_init(&out, 1 << 20);
    while (types.len) {
        struct tw_str type = tw_str_cut(&types, ' '), rest = tw_str_from(form->text);
        while (type.len && rest.len) {
            struct tw_str one = tw_str_trim(tw_str_cut(&rest, ';'));
            char text[512];
            snprintf(text, sizeof text, "%.*s", (int)one.len, one.data);
            if (one.len)
                expand(&out, text, type);
        }
    }
    ck_assert(tw_buf_append_byte(&out, 0));
    return (char *)out.data;
}

// A statement's name, with its modifiers.
static bool name_of(struct tw_str line, char *out, size_t size) {
    if (line.len && line.data[0] == '@')
        (void)tw_str_cut(&line, ' ');
    size_t len = 0;
    while (len < line.len && line.data[len] != ' ' && line.data[len] != ';')
        len++;
    snprintf(out, size, "%.*s", (int)len, line.data);
    return len > 0 && len < size;
}

void isa_each_name(void (*visit)(const char *name, void *context), void *context) {
    for (size_t i = 0; i < isa_run_count; i++) {
        char *body = isa_spell_out(&isa_runs[i]);
        struct tw_str rest = tw_str_from(body);
        while (rest.len) {
            char name[128];
            if (name_of(tw_str_cut(&rest, '\n'), name, sizeof name))
                visit(name, context);
        }
        free(body);
    }
}

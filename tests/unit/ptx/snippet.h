// SPDX-License-Identifier: Apache-2.0
//
// Parses a few PTX statements inside a kernel that declares registers of every kind, and gives back the
// printed instructions.
#pragma once

#include "harness/test.h"
#include "ptx/ptx.h"

// Registers of a snippet: %h 16 bits, %r 32, %rd 64, %f .f32, %fd .f64, %p predicates; parameters a (u64) and
// n (u32).
#define SNIPPET_HEAD                                                                                         \
    ".version 7.8\n.target sm_80\n.address_size 64\n"                                                        \
    ".global .align 4 .b8 table[64];\n.const .align 4 .b32 weights[4] = {1, 2, 3, 4};\n"                     \
    ".extern .shared .align 16 .b8 dyn[];\n"                                                                 \
    ".visible .entry k(.param .u64 a, .param .u32 n)\n{\n"                                                   \
    ".reg .b16 %h<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>; .reg .pred "     \
    "%p<9>;\n"                                                                                               \
    ".reg .b128 %q<3>; .shared .align 4 .b8 tile[256]; .local .align 8 .b8 stack[16];\n"
enum {
    SNIPPET_HEAD_LINES = 10
}; // newlines in SNIPPET_HEAD: the snippet's first line has this number plus one

// Confined.
struct snippet {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_error err;
    char text[4'096];
};

static inline bool snippet_parse(struct snippet *s, const char *ptx) {
    tw_arena_init(&s->arena, 64 << 20);
    s->module = NULL;
    if (!tw_ptx_parse(&s->arena, tw_str_from(ptx), &s->module, &s->err))
        return false;
    for (uint32_t i = 0; i < s->module->function_count; i++)
        if (s->module->functions[i].refusal)
            return tw_fail(&s->err, TW_ERR_CUDA_MALFORMED_PTX, "%s", s->module->functions[i].refusal);
    return true;
}

static inline bool snippet_body(struct snippet *s, const char *body) {
    char *ptx = NULL;
    ck_assert_int_gt(asprintf(&ptx, "%s%s\n}\n", SNIPPET_HEAD, body), 0);
    bool good = snippet_parse(s, ptx);
    free(ptx);
    return good;
}

// The instructions of all blocks, one a line, without indentation, positions and the final return; `block`
// lines are kept short.
static inline const char *snippet_ir(struct snippet *s) {
    struct tw_buf out;
    struct tw_error err = {};
    tw_buf_init(&out, 1 << 20);
    tw_assert_ok(tw_kir_print(s->module, &out, &err), &err);
    struct tw_str rest = tw_buf_str(&out);
    size_t used = 0;
    bool first = true;
    s->text[0] = 0;
    while (rest.len) {
        struct tw_str line = tw_str_cut(&rest, '\n');
        bool block = tw_str_starts(line, TW_STR("block "));
        if (!block && !tw_str_starts(line, TW_STR("  ")))
            continue;
        if (block && first) {
            first = false;
            continue;
        }
        const char *position = memmem(line.data, line.len, "  ; ", 4);
        struct tw_str code = position ? tw_str_of(line.data, (size_t)(position - line.data)) : line;
        code = tw_str_trim(code);
        used += (size_t)snprintf(s->text + used, sizeof s->text - used, "%s%.*s", used ? "\n" : "",
                                 TW_STR_ARG(code));
        ck_assert_uint_lt(used, sizeof s->text);
    }
    if (used >= 4 && strcmp(s->text + used - 4, "\nret") == 0)
        s->text[used - 4] = 0;
    else if (strcmp(s->text, "ret") == 0)
        s->text[0] = 0;
    tw_buf_done(&out);
    return s->text;
}

// Temporaries are numbered by when they were made; tests name them %t0, %t1 … in order of appearance.
static inline void snippet_rename(char *text) {
    unsigned numbers[64], count = 0;
    char out[4'096];
    size_t used = 0;
    for (const char *at = text; *at;) {
        unsigned number;
        int len = 0;
        if (at[0] != '%' || at[1] != '.' || sscanf(at + 2, "%u%n", &number, &len) != 1) {
            out[used++] = *at++;
            continue;
        }
        unsigned k = 0;
        while (k < count && numbers[k] != number)
            k++;
        if (k == count) {
            ck_assert_uint_lt(count, TW_COUNT(numbers));
            numbers[count++] = number;
        }
        at += 2 + len;
        used += (size_t)snprintf(out + used, sizeof out - used, "%%t%u", k);
    }
    out[used] = 0;
    memcpy(text, out, used + 1);
}

struct snippet_case {
    const char *ptx, *ir;
};

static inline void snippet_check(const struct snippet_case *cases, size_t count) {
    static struct snippet s;
    for (size_t i = 0; i < count; i++) {
        s.err = (struct tw_error){};
        if (!snippet_body(&s, cases[i].ptx))
            ck_abort_msg("%s\n  refused: %s", cases[i].ptx, s.err.message);
        snippet_ir(&s);
        snippet_rename(s.text);
        const char *ir = s.text;
        if (strcmp(ir, cases[i].ir) != 0)
            ck_abort_msg("%s\n  became\n%s\n  instead of\n%s", cases[i].ptx, ir, cases[i].ir);
        tw_arena_done(&s.arena);
    }
}
#define SNIPPET_CHECK(cases) snippet_check((cases), TW_COUNT(cases))

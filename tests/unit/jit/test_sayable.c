// SPDX-License-Identifier: Apache-2.0
//
// Instructions that programs can say: a kernel that has them is interpreted at first, and does not wait for its code. All of
// isa_forms.c, but for those named here. What they compute the other tests say (TW_TEST_INTERPRETED).

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

// Beginnings of statements: warps of a block wait for one another other than all at once; products of sparse matrices and
// of doubles that are not rounded to the nearest.
static const char *const compiled[] = {
    "bar.arrive",
    "barrier.arrive",
    "bar.sync %r1, %r2",
    "bar.sync 1, 64",
    "bar.red.and.pred %p0, 3, 64",
    "bar.red.or.pred %p0, 3, 64",
    "barrier.red.and.pred %p0, 3, 64",
    "barrier.red.or.pred %p0, 3, 64",
    "mbarrier.",
    "cp.async.mbarrier.",
    "bar.red.popc.u32 %r0, 2",
    "barrier.red.popc",
    "nanosleep.",
    "mma.sp",
    "mma.sync.aligned.m8n8k4.row.col.r",
    "wmma.mma.sync.aligned.row.col.m8n8k4.r",
};

// Under guards, and the addresses of variables.
static const struct isa_form others = {
    "@%p1 ld.global.T R0, [%rd1]; @!%p1 st.shared.T [%rd1], R1; @%p1 atom.exch.b32 %r0, [%rd1], %r2; "
    "@!%p1 add.T R0, R1, R2; @%p1 shfl.sync.idx.b32 %r0, %r1, 0, 31, -1; @%p1 activemask.b32 %r0; "
    "mov.u64 %rd0, words; mov.u64 %rd0, own; mov.u64 %rd0, table; ld.param.b32 %r0, [in]",
    "u16 u32 u64 f32 f64", 0};

static bool is_compiled(const char *line) {
    for (size_t i = 0; i < TW_COUNT(compiled); i++)
        if (strncmp(line, compiled[i], strlen(compiled[i])) == 0)
            return true;
    return false;
}

// What isa_spell_out puts behind a statement.
static bool keeps_result(const char *line) {
    return strncmp(line, "selp.u32 %r8, 1, 0", 18) == 0 ||
           (strncmp(line, "st.global.", 10) == 0 && strncmp(line + strcspn(line, " "), " [%rd8],", 8) == 0);
}

static const char *next_line(const char *line) {
    line += strcspn(line, "\n");
    return *line ? line + 1 : line;
}

// The statement and what keeps its results.
static const char *end_of(const char *statement) {
    const char *at = next_line(statement);
    while (keeps_result(at))
        at = next_line(at);
    return at;
}

static bool is_interpreted(struct rig *rig, const char *body, size_t len) {
    static const char head[] =
        ".version 8.5\n.target sm_90\n.address_size 64\n.const .b32 table[4] = {1, 2, 3, 4};\n"
        ".visible .entry k(.param .u64 in) {\n.shared .b64 words[8]; .local .b64 own[8];\n"
        ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>;\n"
        ".reg .f32 %f<9>; .reg .f64 %fd<9>; .reg .b128 %q<9>;\nld.param.u64 %rd8, [in];\n";
    struct tw_buf text;
    struct kernel k;
    tw_buf_init(&text, 4 << 20);
    ck_assert(tw_buf_printf(&text, "%s%.*sret;\n}\n", head, (int)len, body) && tw_buf_append_byte(&text, 0));
    kernel_from_ptx(rig, &k, (const char *)text.data, "k", 32, 32);
    bool is_program = k.info.variant.opt_level == TW_KERNEL_INTERPRETED;
    kernel_done(&k);
    tw_buf_done(&text);
    return is_program;
}

// Says which statement it is, if it is one.
static void name_culprit(struct rig *rig, const char *body) {
    for (const char *at = body; *at; at = end_of(at))
        ck_assert_msg(is_interpreted(rig, at, (size_t)(end_of(at) - at)), "no program says %.*s",
                      (int)strcspn(at, "\n"), at);
    ck_abort_msg("no program says all of %s", body);
}

static void check_form(struct rig *rig, const struct isa_form *form) {
    char *text = isa_spell_out(form), *body = calloc(1, strlen(text) + 1);
    size_t len = 0;
    ck_assert_ptr_nonnull(body);
    for (const char *at = text; *at; at = end_of(at)) {
        size_t bytes = is_compiled(at) ? 0 : (size_t)(end_of(at) - at);
        memcpy(body + len, at, bytes);
        len += bytes;
    }
    if (!is_interpreted(rig, body, len))
        name_culprit(rig, body);
    free(body);
    free(text);
}

TW_TEST("programs can say what compilers make of ordinary kernels") {
    struct rig rig;
    rig_init(&rig);
    rig.opt_level = TW_KERNEL_INTERPRETED;
    check_form(&rig, &others);
    for (size_t i = 0; i < isa_run_count; i++)
        check_form(&rig, &isa_runs[i]);
    rig_done(&rig);
}

// SPDX-License-Identifier: Apache-2.0
//
// Every form of isa_forms.c by which the lanes of a warp see each other (shfl, vote, match, redux, activemask, elect), against
// plain C, with all lanes, with some of them in a branch, and in warps that are not whole; light and full code.

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"
#include "warp_forms.h"

enum { BLOCK = 80, BLOCKS = 4, THREADS = BLOCK * BLOCKS, WARP = 32, FORMS_MAX = 100 };

struct forms {
    char text[FORMS_MAX][64];
    unsigned count;
};

static void add_form(const char *text, void *context) {
    static const char *const names[] = {"shfl.", "vote.", "match.", "redux.", "activemask.", "elect."};
    struct forms *f = context;
    bool is_one = false;
    for (size_t i = 0; i < TW_COUNT(names); i++)
        is_one |= strncmp(text, names[i], strlen(names[i])) == 0;
    for (unsigned i = 0; i < f->count; i++)
        is_one &= strcmp(f->text[i], text) != 0;
    if (!is_one)
        return;
    ck_assert_uint_lt(f->count, FORMS_MAX);
    snprintf(f->text[f->count++], sizeof f->text[0], "%s", text);
}

static bool has(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

// A statement on a, b, c, the predicate p and the members m, whose results go to d and q.
static void operands_of(const char *text, char *out, size_t size) {
    const char *members = has(text, ".sync") ? ", m" : "";
    if (has(text, "shfl"))
        snprintf(out, size, "%s d|q, a, b, c%s;", text, members);
    else if (has(text, "vote"))
        snprintf(out, size, "%s %s, p%s;", text, has(text, "ballot") ? "d" : "q", members);
    else if (has(text, "match"))
        snprintf(out, size, "%s d%s, %s%s;", text, has(text, "all") ? "|q" : "", has(text, "b64") ? "w" : "s",
                 members);
    else if (has(text, "redux"))
        snprintf(out, size, "%s d, a, m;", text);
    else
        snprintf(out, size, "%s d%s;", text, has(text, "elect") ? "|q, m" : "");
}

static char *kernel_of(const struct forms *f) {
    size_t size = 1 << 16, n = 0;
    char *text = calloc(1, size);
    ck_assert_ptr_nonnull(text);
#define SAY(...) n += (size_t)snprintf(text + n, size - n, __VA_ARGS__)
    SAY(".version 6.3\n.target sm_60\n.address_size 64\n.visible .entry k(.param .u64 pin, .param .u64 pout) "
        "{\n"
        ".reg .b64 in, out, w; .reg .b32 t, a, b, c, m, s, g, d; .reg .pred p, q, run;\nld.param.u64 in, "
        "[pin];\n"
        "ld.param.u64 out, [pout];\nmov.u32 a, %%ctaid.x; mov.u32 t, %%tid.x; mad.lo.u32 t, a, %u, t;\n"
        "mad.wide.u32 out, t, 4, out; mul.lo.u32 t, t, %u; cvt.u64.u32 w, t; add.u64 in, in, w;\n"
        "ld.global.u32 a, [in]; ld.global.u32 b, [in+4]; ld.global.u32 c, [in+8]; ld.global.u32 m, [in+12];\n"
        "ld.global.u32 s, [in+16]; ld.global.u32 g, [in+20]; and.b32 d, s, 1; setp.ne.u32 p, d, 0; mov.b64 "
        "w, {s, a};\n"
        "and.b32 d, s, 2; setp.ne.u32 q, d, 0; @q mov.b64 w, {s, s}; setp.eq.u32 run, g, 0; @run bra L;\n",
        BLOCK, (unsigned)sizeof(struct warp_in));
    for (unsigned i = 0; i < f->count; i++) {
        char statement[128];
        operands_of(f->text[i], statement, sizeof statement);
        SAY("mov.u32 d, 0; setp.ne.u32 q, d, d; %s st.global.u32 [out+%u], d; selp.u32 d, 1, 0, q; "
            "st.global.u32 [out+%u], d;\n",
            statement, i * 8 * THREADS, (i * 8 + 4) * THREADS);
    }
    SAY("L: ret;\n}\n");
#undef SAY
    return text;
}

// Which lanes take part: all; a few; all but a few; every other one; one.
static void fill(struct warp_in *in, unsigned pattern) {
    static const uint32_t clamps[] = {31, 0, 0x181f, 0x1c03};
    static const uint32_t some[] = {0xffffffff, 0x00120480, 0xfff7fefe, 0xaaaaaaaa, 0x00000100};
    uint32_t random = 99 + pattern;
    for (unsigned t = 0; t < THREADS; t++) {
        unsigned lane = t % BLOCK % WARP, first = t % BLOCK - lane,
                 lanes = BLOCK - first < WARP ? BLOCK - first : WARP;
        uint32_t members = some[pattern] & (lanes == WARP ? UINT32_MAX : (1u << lanes) - 1);
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        // Some warps agree on what is voted about and matched.
        uint32_t same = t / WARP % 3 == 0 ? 7 : t / WARP % 3 == 1 ? random >> 9 & 3 : 6;
        in[t] = (struct warp_in){random, random >> 20 & 31,  clamps[t / BLOCK], members,
                                 same,   members >> lane & 1};
    }
}

static void check(const struct forms *f, const struct warp_in *in, const uint32_t *out, int tier) {
    for (unsigned i = 0; i < f->count; i++)
        for (unsigned t = 0; t < THREADS; t++) {
            unsigned lane = t % BLOCK % WARP;
            uint32_t d = out[2 * i * THREADS + t], q = out[(2 * i + 1) * THREADS + t];
            struct warp_out want = warp_compute(f->text[i], &in[t - lane], lane);
            if (!in[t].runs)
                want = (struct warp_out){};
            ck_assert_msg(want.is_any || (d == want.d && q == want.q),
                          "%s in lane %u of %08x (tier %d): a %x, b %u, c %x, s %u: %x and %u, not %x and %u",
                          f->text[i], lane, in[t].members, tier, in[t].a, in[t].b, in[t].c, in[t].s, d, q,
                          want.d, want.q);
        }
}

static void check_pattern(unsigned pattern) {
    static struct forms forms;
    isa_each_name(add_form, &forms);
    ck_assert_uint_gt(forms.count, 25);
    char *text = kernel_of(&forms);
    for (int tier = TW_KERNEL_LIGHT; tier <= TW_KERNEL_FULL; tier++) {
        struct rig rig;
        struct kernel k;
        rig_init(&rig);
        rig.opt_level = tier;
        kernel_from_ptx(&rig, &k, text, "k", 32, 1);
        uint64_t params[2] = {rig_alloc(&rig, THREADS * sizeof(struct warp_in)),
                              rig_alloc(&rig, forms.count * 8 * THREADS)};
        fill(rig_at(&rig, params[0]), pattern);
        ck_assert_uint_eq(rig_launch(&rig, &k, (uint32_t[3]){BLOCKS, 1, 1}, (uint32_t[3]){BLOCK, 1, 1}, 0,
                                     params, sizeof params),
                          TW_KERNEL_OK);
        check(&forms, rig_at(&rig, params[0]), rig_at(&rig, params[1]), tier);
        kernel_done(&k);
        rig_done(&rig);
    }
    free(text);
}

TW_TEST("lanes of whole and partial warps see each other in every form of the list") {
    check_pattern(0);
}

TW_TEST("lanes that are in a branch see each other, and nobody else") {
    for (unsigned pattern = 1; pattern < 5; pattern++)
        check_pattern(pattern);
}

TW_TEST("lanes that exit write no more, and the others go on without them") {
    static const char text[] = ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 "
                               "pout) {\n.reg .b64 out; .reg .b32 t, m, d;\n"
                               ".reg .pred p;\nld.param.u64 out, [pout]; mov.u32 t, %tid.x; mad.wide.u32 "
                               "out, t, 8, out; st.global.u32 [out], 5;\n"
                               "rem.u32 m, t, 3; setp.eq.u32 p, m, 1; @p exit;\nbar.sync 0; activemask.b32 "
                               "d; st.global.u32 [out], 6; "
                               "st.global.u32 [out+4], d;\nexit;\n}\n";
    for (int tier = TW_KERNEL_LIGHT; tier <= TW_KERNEL_FULL; tier++) {
        struct rig rig;
        struct kernel k;
        rig_init(&rig);
        rig.opt_level = tier;
        uint64_t at = rig_alloc(&rig, BLOCK * 8);
        kernel_from_ptx(&rig, &k, text, "k", 32, 1);
        ck_assert_uint_eq(
            rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){BLOCK, 1, 1}, 0, &at, sizeof at),
            TW_KERNEL_OK);
        const uint32_t(*out)[2] = rig_at(&rig, at);
        for (unsigned t = 0; t < BLOCK; t++) {
            uint32_t others = 0;
            for (unsigned i = t / WARP * WARP; i < BLOCK && i < t / WARP * WARP + WARP; i++)
                others |= (uint32_t)(i % 3 != 1) << i % WARP;
            ck_assert_uint_eq(out[t][0], t % 3 == 1 ? 5 : 6);
            ck_assert_uint_eq(out[t][1], t % 3 == 1 ? 0 : others);
        }
        kernel_done(&k);
        rig_done(&rig);
    }
}

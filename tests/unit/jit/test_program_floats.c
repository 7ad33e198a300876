// SPDX-License-Identifier: Apache-2.0
//
// Floats by programs: every form that there is can be said, and gives the bits that light code gives, those of a NaN too (of
// one: which of several a sum becomes is left to the processor). What the values are the other tests say.

#include "floats.h"
#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"
#include "writer.h"

enum { THREADS = 4'096, A_KERNEL = 40, STORES_MAX = 128, TEXT_MAX = 1 << 16 };

static const int tiers[] = {TW_KERNEL_INTERPRETED, TW_KERNEL_LIGHT};

static const char head[] =
    ".version 8.3\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out) {\n"
    ".reg .b16 %h<10>; .reg .b32 %r<10>; .reg .b64 %rd<10>; .reg .f32 %f<10>; .reg .f64 %fd<10>; "
    ".reg .pred %p<10>;\nmov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; mad.lo.u32 %r9, %r1, 256, %r0;\n"
    "ld.param.u64 %rd0, [in]; mul.wide.u32 %rd1, %r9, 64; add.u64 %rd9, %rd0, %rd1;\n"
    "ld.param.u64 %rd0, [out]; mul.wide.u32 %rd1, %r9, 1024; add.u64 %rd8, %rd0, %rd1;\n"
    "ld.global.f64 %fd1, [%rd9]; ld.global.f64 %fd2, [%rd9+8]; ld.global.f64 %fd3, [%rd9+16];\n"
    "ld.global.f32 %f1, [%rd9+24]; ld.global.f32 %f2, [%rd9+28]; ld.global.f32 %f3, [%rd9+32];\n"
    "ld.global.b32 %r1, [%rd9+36]; ld.global.b32 %r2, [%rd9+40]; ld.global.b32 %r3, [%rd9+44];\n"
    "ld.global.b16 %h1, [%rd9+48]; ld.global.b16 %h2, [%rd9+50]; ld.global.b16 %h3, [%rd9+52];\n"
    "and.b32 %r0, %r9, 1; setp.ne.u32 %p1, %r0, 0; and.b32 %r0, %r9, 2; setp.ne.u32 %p2, %r0, 0; "
    "and.b32 %r0, %r9, 4; setp.ne.u32 %p3, %r0, 0;\n";

// What a thread reads.
struct input {
    double d[3];
    float f[3];
    uint32_t pairs[3];
    uint16_t halves[3];
    uint8_t unused[10];
};
_Static_assert(sizeof(struct input) == 64, "as the kernels read it");

static uint32_t exponent_bits(uint32_t *state) { // one float in eight is zero, subnormal, infinite or NaN
    uint32_t r = random_word(state);
    return r % 8 ? 110 + r / 8 % 36 : r / 8 % 3 ? 0 : 255;
}

static uint32_t awkward(uint32_t *state) {
    uint32_t r = random_word(state), word = (r & 0x807fffff) | exponent_bits(state) << 23;
    return r % 32 == 0 ? r : r % 16 == 1 ? word & 0xff800000 : word;
}

// Halves and bfloats of any bits: but for those of NaNs in either.
static uint16_t awkward_half(uint32_t *state, bool nan) {
    uint16_t word = (uint16_t)random_word(state);
    bool is_nan = (word & 0x7c00) == 0x7c00 || (word & 0x7f80) == 0x7f80;
    return is_nan && !nan ? word & 0x83ff : word;
}

// NaNs in one source only.
static void fill(struct input *in, uint32_t *state, unsigned with_nan) {
    for (unsigned s = 0; s < 3; s++) {
        uint32_t low = random_word(state);
        in->f[s] = f_of(awkward(state));
        in->d[s] = d_of(of_d((double)f_of(awkward(state))) ^ (low % 4 ? low : 0));
        if (s != with_nan && isnan(in->f[s]))
            in->f[s] = INFINITY;
        if (s != with_nan && isnan(in->d[s]))
            in->d[s] = -INFINITY;
        in->halves[s] = awkward_half(state, s == with_nan);
        in->pairs[s] =
            (uint32_t)awkward_half(state, s == with_nan) << 16 | awkward_half(state, s == with_nan);
    }
}

// Of a kernel: what each of its stores keeps.
struct stores {
    char form[STORES_MAX][96];
    unsigned count;
};

// A statement and the stores of its results, each to a place of its own.
static const char *add_statement(struct writer *w, const char *at, struct stores *stores) {
    const char *statement = at;
    int length = (int)strcspn(at, "\n");
    say(w, "%.*s\n", length, at);
    for (at += length + 1; strncmp(at, "st.", 3) == 0 || strncmp(at, "selp.u32 %r8", 12) == 0;
         at += length + 1) {
        length = (int)strcspn(at, "\n");
        ck_assert_uint_lt(stores->count, STORES_MAX);
        snprintf(stores->form[stores->count++], sizeof stores->form[0], "%.*s", (int)strcspn(statement, "\n"),
                 statement);
        say(w, "%.*s\nadd.u64 %%rd8, %%rd8, 8;\n", length, at);
    }
    return at;
}

static void tell(const char *form, uint64_t by_program, uint64_t by_code, int tier, const struct input *in) {
    ck_abort_msg("%s is %" PRIx64 " by a program and %" PRIx64
                 " by code %d of floats %a %a %a, doubles %a %a %a, pairs %x %x %x, halves %x %x %x",
                 form, by_program, by_code, tier, (double)in->f[0], (double)in->f[1], (double)in->f[2],
                 in->d[0], in->d[1], in->d[2], in->pairs[0], in->pairs[1], in->pairs[2], in->halves[0],
                 in->halves[1], in->halves[2]);
}

// (An assertion that holds is a system call.)
static void compare(const struct input *in, const uint8_t *by_program, const uint8_t *by_code, int tier,
                    const struct stores *stores) {
    for (unsigned i = 0; i < THREADS; i++)
        for (unsigned s = 0; s < stores->count; s++) {
            uint64_t a, b;
            memcpy(&a, by_program + (size_t)i * 1024 + (size_t)s * 8, sizeof a);
            memcpy(&b, by_code + (size_t)i * 1024 + (size_t)s * 8, sizeof b);
            if (a != b)
                tell(stores->form[s], a, b, tier, &in[i]);
        }
}

static void check_kernel(struct rig *rig, const char *text, const struct stores *stores, uint64_t in) {
    uint64_t params[2] = {in};
    uint8_t *got[TW_COUNT(tiers)];
    uint64_t kept = rig->next;
    for (unsigned t = 0; t < TW_COUNT(tiers); t++) {
        struct kernel k;
        rig->opt_level = tiers[t];
        kernel_from_ptx(rig, &k, text, "k", 0, 32);
        ck_assert_int_eq(k.info.variant.opt_level, tiers[t]);
        params[1] = rig_alloc(rig, (size_t)THREADS * 1024);
        got[t] = rig_at(rig, params[1]);
        memset(got[t], 0, (size_t)THREADS * 1024); // of the kernel before
        ck_assert_uint_eq(rig_launch(rig, &k, (uint32_t[3]){THREADS / 256, 1, 1}, (uint32_t[3]){256, 1, 1}, 0,
                                     params, sizeof params),
                          TW_KERNEL_OK);
        kernel_done(&k);
    }
    for (unsigned t = 1; t < TW_COUNT(tiers); t++)
        compare(rig_at(rig, in), got[0], got[t], tiers[t], stores);
    rig->next = kept;
}

static bool is_of_floats(const char *statement) {
    static const char *const names[] = {"add",   "sub", "mul", "fma",  "mad",      "div",  "rcp", "sqrt",
                                        "rsqrt", "sin", "cos", "ex2",  "lg2",      "tanh", "min", "max",
                                        "abs",   "neg", "set", "setp", "copysign", "testp"};
    char name[96];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(statement, " \n"), statement);
    if (!strstr(name, ".f16") && !strstr(name, ".bf16") && !strstr(name, ".f32") && !strstr(name, ".f64"))
        return false;
    for (size_t i = 0; i < TW_COUNT(names); i++)
        if (strcspn(name, ".") == strlen(names[i]) && strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

// All statements of floats, so many a kernel.
static unsigned check_forms(struct rig *rig, uint64_t in) {
    static char text[TEXT_MAX];
    unsigned total = 0, in_kernel = 0;
    struct writer w = {.text = text, .size = sizeof text};
    struct stores stores = {};
    say(&w, "%s", head);
    for (size_t i = 0; i < isa_run_count; i++) {
        char *forms = isa_spell_out(&isa_runs[i]);
        for (const char *at = forms; *at;) {
            if (!is_of_floats(at)) {
                at += strcspn(at, "\n") + 1;
                continue;
            }
            at = add_statement(&w, at, &stores);
            total++;
            if (++in_kernel < A_KERNEL)
                continue;
            say(&w, "ret;\n}\n");
            check_kernel(rig, text, &stores, in);
            w.len = in_kernel = stores.count = 0;
            say(&w, "%s", head);
        }
        free(forms);
    }
    say(&w, "ret;\n}\n");
    check_kernel(rig, text, &stores, in);
    return total;
}

TW_TEST("programs say every form of floats, and compute the bits that code computes") {
    struct rig rig;
    uint32_t state = 2463534242;
    if (getenv("TW_TEST_INTERPRETED")) // light code would be a program too
        return;
    rig_init(&rig);
    uint64_t in = rig_alloc(&rig, sizeof(struct input) * THREADS);
    struct input *inputs = rig_at(&rig, in);
    for (unsigned i = 0; i < THREADS; i++)
        fill(&inputs[i], &state, i % 3);
    ck_assert_uint_gt(check_forms(&rig, in), 500);
    rig_done(&rig);
}

// ---- the .approx functions ----

enum { VALUES = 1 << 18, ROUNDS = 8, FUNCTIONS = 8 };

static const char approx[] =
    ".version 8.3\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u32 first) {\n"
    ".reg .b32 %r<4>; .reg .b64 %rd<3>; .reg .f32 %f<9>;\n"
    "mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; mad.lo.u32 %r2, %r1, 256, %r0;\n"
    "ld.param.u64 %rd0, [out]; mul.wide.u32 %rd1, %r2, 32; add.u64 %rd2, %rd0, %rd1;\n"
    "ld.param.u32 %r3, [first]; add.u32 %r2, %r2, %r3; mul.lo.u32 %r2, %r2, 2047; mov.b32 %f0, %r2;\n"
    "ex2.approx.f32 %f1, %f0; lg2.approx.f32 %f2, %f0; sin.approx.f32 %f3, %f0; cos.approx.f32 %f4, %f0;\n"
    "tanh.approx.f32 %f5, %f0; rsqrt.approx.f32 %f6, %f0; sqrt.approx.f32 %f7, %f0; rcp.approx.f32 %f8, "
    "%f0;\n"
    "st.global.f32 [%rd2], %f1; st.global.f32 [%rd2+4], %f2; st.global.f32 [%rd2+8], %f3;\n"
    "st.global.f32 [%rd2+12], %f4; st.global.f32 [%rd2+16], %f5; st.global.f32 [%rd2+20], %f6;\n"
    "st.global.f32 [%rd2+24], %f7; st.global.f32 [%rd2+28], %f8;\nret;\n}\n";

static void check_approx(struct rig *rig, const struct kernel kernels[2], uint32_t first, uint64_t out[2]) {
    static const char *const names[FUNCTIONS] = {"ex2", "lg2", "sin", "cos", "tanh", "rsqrt", "sqrt", "rcp"};
    for (unsigned t = 0; t < 2; t++) {
        struct {
            uint64_t out;
            uint32_t first;
        } params = {out[t], first};
        ck_assert_uint_eq(rig_launch(rig, &kernels[t], (uint32_t[3]){VALUES / 256, 1, 1},
                                     (uint32_t[3]){256, 1, 1}, 0, &params, sizeof params),
                          TW_KERNEL_OK);
    }
    const uint32_t *by_program = rig_at(rig, out[0]), *by_code = rig_at(rig, out[1]);
    for (uint32_t i = 0; i < VALUES * FUNCTIONS; i++)
        if (by_program[i] != by_code[i])
            ck_abort_msg("%s.approx of %x is %x by a program and %x by code", names[i % FUNCTIONS],
                         (first + i / FUNCTIONS) * 2047, by_program[i], by_code[i]);
}

TW_TEST("two million floats of all exponents have the same approximations by programs as by code") {
    struct rig rig;
    struct kernel kernels[2];
    uint64_t out[2];
    if (getenv("TW_TEST_INTERPRETED"))
        return;
    rig_init(&rig);
    for (unsigned t = 0; t < 2; t++) {
        rig.opt_level = tiers[t];
        kernel_from_ptx(&rig, &kernels[t], approx, "k", 0, 32);
        ck_assert_int_eq(kernels[t].info.variant.opt_level, tiers[t]);
        out[t] = rig_alloc(&rig, (size_t)VALUES * FUNCTIONS * 4);
    }
    for (uint32_t round = 0; round < ROUNDS; round++)
        check_approx(&rig, kernels, round * VALUES, out);
    for (unsigned t = 0; t < 2; t++)
        kernel_done(&kernels[t]);
    rig_done(&rig);
}

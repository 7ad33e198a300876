// SPDX-License-Identifier: Apache-2.0
//
// Every form of atom and red in isa_forms.c against plain C (plain.h): what is in memory afterwards, and what each lane got.
// Each lane on a word of its own; and, where the order of the lanes makes no difference to memory, several on one.

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"
#include "plain.h"
#include "writer.h"

enum { THREADS = 80, FORMS_MAX = 400, A_KERNEL = 16, STRIDE = 8 };

struct forms {
    char text[FORMS_MAX][64];
    unsigned count;
};

static void add_form(const char *text, void *context) {
    struct forms *f = context;
    bool is_one = strncmp(text, "atom.", 5) == 0 || strncmp(text, "red.", 4) == 0;
    for (unsigned i = 0; i < f->count; i++)
        is_one &= strcmp(f->text[i], text) != 0;
    if (!is_one)
        return;
    ck_assert_uint_lt(f->count, FORMS_MAX);
    snprintf(f->text[f->count++], sizeof f->text[0], "%s", text);
}

// The type at the end, and the operation before it, perhaps with .noftz between.
struct atomic {
    struct plain_type type;
    char op[8];
    bool is_red, is_shared, has_policy;
};

static struct atomic atomic_of(const char *text) {
    static const char *const ops[] = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"};
    struct plain_inst parts;
    struct atomic a = {};
    char twin[80]; // a name that plain.h knows, with the same modifiers
    snprintf(twin, sizeof twin, "mov%s", strchr(text, '.'));
    ck_assert_msg(plain_parse(twin, &parts), "%s", text);
    a.type = parts.types[0];
    for (size_t i = 0; i < TW_COUNT(ops); i++)
        if (plain_has(&parts, ops[i]))
            snprintf(a.op, sizeof a.op, "%s", ops[i]);
    ck_assert_msg(a.op[0], "%s", text);
    a.is_red = strncmp(text, "red", 3) == 0;
    a.is_shared = plain_has(&parts, "shared");
    a.has_policy = plain_has(&parts, "L2::cache_hint");
    return a;
}

static uint64_t updated(const struct atomic *a, uint64_t old, uint64_t b, uint64_t c) {
    struct plain_inst inst;
    char name[24];
    bool is_real = a->type.kind == 'f' || a->type.kind == 'g';
    const char *kind = is_real               ? a->type.kind == 'g' ? "bf" : "f"
                       : a->type.kind == 's' ? "s"
                       : a->type.kind == 'u' ? "u"
                                             : "b";
    if (strcmp(a->op, "exch") == 0)
        return b;
    if (strcmp(a->op, "cas") == 0)
        return old == b ? c : old;
    if (strcmp(a->op, "inc") == 0)
        return old >= b ? 0 : old + 1;
    if (strcmp(a->op, "dec") == 0)
        return old == 0 || old > b ? b : old - 1;
    snprintf(name, sizeof name, "%s.%s%u%s", a->op, kind, a->type.bits, a->type.lanes == 2 ? "x2" : "");
    ck_assert_msg(plain_parse(name, &inst), "%s", name);
    return plain_compute(&inst, (uint64_t[4]){old, b}).bits;
}

static unsigned bits_of(const struct atomic *a) {
    return a->type.bits * a->type.lanes;
}

// Places of each thread's own, operands, and what shared memory begins with.
static void say_head(struct writer *w, unsigned count) {
    say(w,
        ".version 8.3\n.target sm_90\n.address_size 64\n"
        ".visible .entry k(.param .u64 pm, .param .u64 pin, .param .u64 pout) {\n.shared .align 8 .b8 "
        "words[%u];\n"
        ".reg .b64 m, in, out, s, at, v, x, y, p; .reg .b32 t, r, e; .reg .b16 h, i;\n.reg .pred apart;\n"
        "ld.param.u64 m, [pm]; ld.param.u64 in, [pin]; ld.param.u64 out, [pout]; mov.u32 t, %%tid.x;\n"
        "mad.wide.u32 in, t, 16, in; mad.wide.u32 out, t, 8, out; ld.global.b64 x, [in]; ld.global.b64 y, "
        "[in+8];\n"
        "cvt.u32.u64 r, x; cvt.u16.u64 h, x; cvt.u32.u64 e, y; cvt.u16.u64 i, y; mov.u64 s, words; mov.b64 "
        "p, 0;\n"
        "mul.wide.u32 at, t, 8; add.u64 s, s, at; add.u64 m, m, at;\n",
        A_KERNEL * THREADS * STRIDE);
    for (unsigned i = 0; i < count; i++)
        say(w, "ld.global.b64 v, [m+%u]; st.shared.b64 [s+%u], v;\n", i * THREADS * STRIDE,
            i * THREADS * STRIDE);
}

static void say_atomic(struct writer *w, const char *text, unsigned at) {
    struct atomic a = atomic_of(text);
    unsigned bits = bits_of(&a);
    const char *b = bits == 16 ? "h" : bits == 32 ? "r" : "x", *c = bits == 16 ? "i" : bits == 32 ? "e" : "y";
    bool compares = strcmp(a.op, "cas") == 0;
    say(w, "{ .reg .b%u d; %s %s[%s+%u], %s%s%s%s; ", bits, text, a.is_red ? "" : "d, ",
        a.is_shared ? "s" : "m", at, b, compares ? ", " : "", compares ? c : "", a.has_policy ? ", p" : "");
    if (!a.is_red)
        say(w, "st.global.b%u [out+%u], d; ", bits, at);
    say(w, "}\n");
}

// Form i of a kernel works on words i × THREADS …, each lane on word t & spread.
static char *kernel_of(char (*texts)[64], unsigned count, unsigned spread) {
    struct writer w = {.size = 1 << 16};
    w.text = calloc(1, w.size);
    ck_assert_ptr_nonnull(w.text);
    say_head(&w, count);
    say(&w,
        "bar.sync 0; and.b32 t, t, %u; mul.wide.u32 v, t, 8; sub.u64 at, v, at; add.u64 s, s, at; add.u64 m, "
        "m, at;\n"
        "mov.u32 t, %%tid.x; and.b32 t, t, 3; setp.eq.u32 apart, t, 1; @apart bra L;\n",
        spread);
    for (unsigned i = 0; i < count; i++)
        say_atomic(&w, texts[i], i * THREADS * STRIDE);
    say(&w, "L: bar.sync 0; mov.u32 t, %%tid.x; mul.wide.u32 at, t, 8; mov.u64 s, words; add.u64 s, s, at; "
            "ld.param.u64 m, [pm]; add.u64 m, m, at;\n");
    for (unsigned i = 0; i < count; i++)
        if (atomic_of(texts[i]).is_shared)
            say(&w, "ld.shared.b64 v, [s+%u]; st.global.b64 [m+%u], v;\n", i * THREADS * STRIDE,
                i * THREADS * STRIDE);
    say(&w, "ret;\n}\n");
    return w.text;
}

static uint64_t next_random(uint64_t *state) { // xorshift64* (Vigna 2014)
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

// Words, operands and what is compared are often the same small numbers; floats of moderate size, some subnormal.
static uint64_t value_for(const struct atomic *a, uint64_t *state) {
    uint64_t r = next_random(state), word = r % 3 == 0 ? next_random(state) : r >> 8 & 7;
    if (a->type.kind != 'f' && a->type.kind != 'g')
        return word;
    word = next_random(state);
    return a->type.bits == 64   ? (word & 0x800fffffffffffff) | (r % 5 ? (1020 + r % 8) << 52 : 0)
           : a->type.bits == 32 ? (word & 0x807fffff) | (r % 5 ? (124 + r % 8) << 23 : 0)
                                : word & 0xbbffbbff;
}

struct memory {
    uint64_t words[A_KERNEL][THREADS], in[THREADS][2];
};

static void check(const struct atomic *a, const char *text, const struct memory *before,
                  const uint64_t *words, const uint64_t *out, unsigned at, unsigned spread) {
    uint64_t want[THREADS];
    memcpy(want, before->words[at], sizeof want);
    for (unsigned t = 0; t < THREADS; t++) {
        uint64_t *word = &want[t & spread], all = plain_low(-1, bits_of(a)), old = *word & all,
                 got = out[t] & all;
        struct plain_value was = {.bits = old, .type = a->type};
        if (t % 4 == 1)
            continue;
        if (!a->is_red)
            ck_assert_msg(plain_same(&was, got), "%s: lane %u got %" PRIx64 ", not %" PRIx64, text, t, got,
                          old);
        *word = (*word & ~all) | (updated(a, old, before->in[t][0] & all, before->in[t][1] & all) & all);
    }
    for (unsigned t = 0; t < THREADS; t++)
        ck_assert_msg(words[t] == want[t], "%s: word %u is %" PRIx64 ", not %" PRIx64, text, t, words[t],
                      want[t]);
}

static void run(char (*texts)[64], unsigned count, unsigned spread, int tier) {
    struct rig rig;
    struct kernel k;
    static struct memory before;
    uint64_t state = 5 + spread;
    struct atomic first = atomic_of(texts[0]);
    rig_init(&rig);
    rig.opt_level = tier;
    char *text = kernel_of(texts, count, spread);
    kernel_from_ptx(&rig, &k, text, "k", 32, 1);
    uint64_t params[3] = {rig_alloc(&rig, sizeof before.words), rig_alloc(&rig, sizeof before.in),
                          rig_alloc(&rig, sizeof before.words)};
    for (unsigned i = 0; i < A_KERNEL; i++)
        for (unsigned t = 0; t < THREADS; t++)
            before.words[i][t] = value_for(&first, &state);
    for (unsigned t = 0; t < 2 * THREADS; t++)
        before.in[t / 2][t % 2] = value_for(&first, &state);
    memcpy(rig_at(&rig, params[0]), before.words, sizeof before.words);
    memcpy(rig_at(&rig, params[1]), before.in, sizeof before.in);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    for (unsigned i = 0; i < count; i++) {
        struct atomic a = atomic_of(texts[i]);
        check(&a, texts[i], &before, (uint64_t *)rig_at(&rig, params[0]) + i * THREADS,
              (uint64_t *)rig_at(&rig, params[2]) + i * THREADS, i, spread);
    }
    free(text);
    kernel_done(&k);
    rig_done(&rig);
}

static bool is_real(const char *text) {
    struct atomic a = atomic_of(text);
    return a.type.kind == 'f' || a.type.kind == 'g';
}

static int compare_types(const void *a, const void *b) {
    struct plain_type x = atomic_of(a).type, y = atomic_of(b).type;
    return x.kind != y.kind ? x.kind - y.kind : (int)x.bits - (int)y.bits;
}

// Kernels of forms of one type, all lanes apart or (of integers) eight words for all.
static void run_all(unsigned spread, bool reals) {
    static struct forms forms;
    isa_each_name(add_form, &forms);
    ck_assert_uint_gt(forms.count, 200);
    qsort(forms.text, forms.count, sizeof forms.text[0], compare_types);
    for (unsigned i = 0, kernel = 0; i < forms.count; kernel++) {
        unsigned count = 1;
        while (count < A_KERNEL && i + count < forms.count &&
               compare_types(forms.text[i], forms.text[i + count]) == 0)
            count++;
        if (is_real(forms.text[i]) == reals)
            run(&forms.text[i], count, spread, kernel % 2 ? TW_KERNEL_FULL : TW_KERNEL_LIGHT);
        i += count;
    }
}

TW_TEST("atomics of lanes on words of their own do what the manual says, form by form") {
    run_all(127, false);
}

TW_TEST("atomics of several lanes on one word come one after the other, form by form") {
    run_all(7, false);
}

TW_TEST("atomics of floats do what the manual says, form by form") {
    run_all(127, true);
}

// SPDX-License-Identifier: Apache-2.0
//
// Every form of ld, ldu and st in isa_forms.c against plain C: each thread has 64 bytes in every state space, loads into registers
// as wide as the type and wider ones, stores from them, and shows what its bytes have become.

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"
#include "plain.h"
#include "writer.h"

enum { THREADS = 80, FORMS_MAX = 1'200, A_KERNEL = 24, AREA = 64, SHOWN = 4, CONSTANTS = 256 };
enum space { GLOBAL, SHARED, LOCAL, CONST, SPACES };

struct form {
    char text[64];
    struct plain_type type;
    unsigned count, reg_bits; // registers, and their width
    enum space space;
    bool is_store, is_generic, has_policy;
};

struct forms {
    struct form form[FORMS_MAX];
    unsigned count;
};

// Into a register of its own width or, of integers and plain bits, a wider one: each form another.
static unsigned register_bits(struct plain_type type, unsigned turn) {
    static const unsigned widths[] = {16, 32, 64};
    unsigned bits = type.bits * type.lanes;
    bool is_exact = type.kind == 'f' || type.kind == 'g' || bits == 128;
    for (unsigned i = 0; !is_exact && i < 3; i++)
        if (widths[(turn + i) % 3] >= bits)
            return widths[(turn + i) % 3];
    return bits < 16 ? 16 : bits;
}

static void add_form(const char *text, void *context) {
    struct forms *f = context;
    struct plain_inst parts;
    char twin[80]; // a name that plain.h knows, with the same modifiers
    if (strncmp(text, "ld.", 3) != 0 && strncmp(text, "ldu.", 4) != 0 && strncmp(text, "st.", 3) != 0)
        return;
    for (unsigned i = 0; i < f->count; i++)
        if (strcmp(f->form[i].text, text) == 0)
            return;
    snprintf(twin, sizeof twin, "mov%s", strchr(text, '.'));
    bool is_known = plain_parse(twin, &parts);
    if (plain_has(&parts, "param")) // those of calls: test_control.c
        return;
    ck_assert_msg(is_known || plain_has(&parts, "b128"), "%s", text);
    ck_assert_uint_lt(f->count, FORMS_MAX);
    struct form *form = &f->form[f->count];
    *form = (struct form){.type = is_known ? parts.types[0] : (struct plain_type){'b', 128, 1},
                          .is_store = text[0] == 's'};
    snprintf(form->text, sizeof form->text, "%s", text);
    form->count = plain_has(&parts, "v2") ? 2 : plain_has(&parts, "v4") ? 4 : 1;
    form->reg_bits = register_bits(form->type, f->count);
    form->has_policy = plain_has(&parts, "L2::cache_hint");
    form->is_generic = !plain_has(&parts, "global") && !plain_has(&parts, "shared") &&
                       !plain_has(&parts, "local") && !plain_has(&parts, "const");
    form->space = form->is_generic              ? (enum space)(f->count % 3)
                  : plain_has(&parts, "shared") ? SHARED
                  : plain_has(&parts, "local")  ? LOCAL
                  : plain_has(&parts, "const")  ? CONST
                                                : GLOBAL;
    f->count++;
}

// ---- the kernel ----

static const char *const names[SPACES] = {"global", "shared", "local", "const"};
static const char bases[SPACES] = {'m', 's', 'l', 'c'};

static void say_head(struct writer *w, const uint8_t *constants, bool is_apart) {
    say(w, ".version 8.3\n.target sm_90\n.address_size 64\n.const .align 16 .b8 table[%u] = {", CONSTANTS);
    for (unsigned i = 0; i < CONSTANTS; i++)
        say(w, "%s%u", i ? ", " : "", constants[i]);
    say(w,
        "};\n.visible .entry k(.param .u64 pm, .param .u64 pin, .param .u64 pout) {\n"
        ".shared .align 16 .b8 words[%u]; .local .align 16 .b8 own[%u];\n"
        ".reg .b64 in, out, m, s, l, c, gm, gs, gl, gc, at, v, x0, x1, x2, x3, p; .reg .b32 t, r; .reg .pred "
        "apart;\n"
        "ld.param.u64 m, [pm]; ld.param.u64 in, [pin]; ld.param.u64 out, [pout]; mov.u32 t, %%tid.x; mov.b64 "
        "p, 0;\n"
        "mul.wide.u32 at, t, %u; add.u64 m, m, at; mov.u64 s, words; add.u64 s, s, at; mov.u64 l, own; "
        "mov.u64 c, table;\n"
        "and.b32 r, t, 3; mul.wide.u32 v, r, %u; add.u64 c, c, v;\n"
        "mad.wide.u32 in, t, 32, in; mad.wide.u32 out, t, 8, out;\n",
        THREADS * AREA, AREA, AREA, AREA);
    for (unsigned i = 0; i < AREA; i += 8)
        say(w, "ld.global.b64 v, [m+%u]; st.shared.b64 [s+%u], v; st.local.b64 [l+%u], v;\n", i, i, i);
    for (unsigned i = 0; i < 4; i++)
        say(w, "ld.global.b64 x%u, [in+%u];\n", i, 8 * i);
    say(w, "cvta.global.u64 gm, m; cvta.shared.u64 gs, s; cvta.local.u64 gl, l; mov.u64 gc, c;\n");
    if (is_apart)
        say(w, "setp.eq.u32 apart, r, 1; @apart bra L;\n");
}

// { … } of the registers r0, r1 …, or q made of them.
static void say_statement(struct writer *w, const struct form *form) {
    char regs[48] = "q";
    if (form->reg_bits < 128)
        snprintf(regs, sizeof regs,
                 form->count == 1   ? "r0"
                 : form->count == 2 ? "{r0, r1}"
                                    : "{r0, r1, r2, r3}");
    char address[24];
    snprintf(address, sizeof address, "[%s%c+16]", form->is_generic ? "g" : "", bases[form->space]);
    if (form->is_store)
        say(w, "%s %s, %s%s;\n", form->text, address, regs, form->has_policy ? ", p" : "");
    else
        say(w, "%s %s, %s%s;\n", form->text, regs, address, form->has_policy ? ", p" : "");
}

// How many words a form shows: what it loads; what it stores, and something behind that.
static unsigned shown_by(const struct form *form) {
    unsigned bytes = form->type.bits * form->type.lanes / 8 * form->count;
    if (!form->is_store)
        return form->type.bits == 128 ? 2 : form->count;
    return bytes < 8 ? 1 : bytes < 32 ? bytes / 8 + 1 : SHOWN;
}

static void say_form(struct writer *w, const struct form *form, unsigned at) {
    unsigned bits = form->reg_bits;
    say(w, "{ .reg .b%u r0, r1, r2, r3; %s\n", bits == 128 ? 64 : bits, bits == 128 ? ".reg .b128 q;" : "");
    for (unsigned i = 0; form->is_store && i < 4; i++)
        say(w,
            bits == 16   ? "cvt.u16.u64 r%u, x%u;\n"
            : bits == 32 ? "cvt.u32.u64 r%u, x%u;\n"
                         : "mov.b64 r%u, x%u;\n",
            i, i);
    if (form->is_store && bits == 128)
        say(w, "mov.b128 q, {r0, r1};\n");
    say_statement(w, form);
    if (!form->is_store && bits == 128)
        say(w, "mov.b128 {r0, r1}, q;\n");
    for (unsigned i = 0; i < shown_by(form); i++) {
        if (form->is_store)
            say(w, "ld.%s.b64 v, [%c+%u]; ", names[form->space], bases[form->space], 16 + 8 * i);
        else
            say(w,
                bits == 16   ? "cvt.u64.u16 v, r%u; "
                : bits == 32 ? "cvt.u64.u32 v, r%u; "
                             : "mov.b64 v, r%u; ",
                i);
        say(w, "st.global.b64 [out+%u], v;\n", (at * SHOWN + i) * THREADS * 8);
    }
    say(w, "}\n");
}

static char *kernel_of(const struct form *forms, unsigned count, const uint8_t *constants, bool is_apart) {
    struct writer w = {.size = 1 << 18};
    w.text = calloc(1, w.size);
    ck_assert_ptr_nonnull(w.text);
    say_head(&w, constants, is_apart);
    for (unsigned i = 0; i < count; i++)
        say_form(&w, &forms[i], i);
    say(&w, "L: ret;\n}\n");
    return w.text;
}

// ---- what C makes of it ----

struct memory {
    uint8_t area[SPACES][THREADS][AREA], constants[CONSTANTS];
    uint64_t in[THREADS][4];
};

// What a thread shows of a form; its bytes change with it.
static void compute(const struct form *form, struct memory *memory, unsigned t, uint64_t shown[SHOWN]) {
    uint8_t *at =
        (form->space == CONST ? memory->constants + t % 4 * AREA : memory->area[form->space][t]) + 16;
    unsigned bits = form->type.bits * form->type.lanes, bytes = bits / 8;
    memset(shown, 0, SHOWN * 8);
    if (form->is_store) {
        for (unsigned i = 0; i < form->count; i++)
            memcpy(at + i * bytes, &memory->in[t][i], bytes); // of 128 bits two of them
        memcpy(shown, at, shown_by(form) * 8);
        return;
    }
    if (bits == 128) {
        memcpy(shown, at, 16);
        return;
    }
    for (unsigned i = 0; i < form->count; i++) {
        uint64_t value = 0;
        memcpy(&value, at + i * bytes, bytes);
        bool is_narrow = form->type.lanes == 1 && form->type.kind != 'f' && form->type.kind != 'g';
        shown[i] = is_narrow ? plain_low(plain_number(form->type, value), form->reg_bits) : value;
    }
}

static void check(const struct form *form, struct memory *memory, const uint64_t *out, unsigned at,
                  bool is_apart) {
    for (unsigned t = 0; t < THREADS; t++) {
        uint64_t want[SHOWN] = {};
        if (!is_apart || t % 4 != 1)
            compute(form, memory, t, want);
        for (unsigned i = 0; i < SHOWN; i++)
            ck_assert_msg(out[(at * SHOWN + i) * THREADS + t] == want[i],
                          "%s (registers of %u bits, %s): thread %u, %u is %" PRIx64 ", not %" PRIx64,
                          form->text, form->reg_bits, names[form->space], t, i,
                          out[(at * SHOWN + i) * THREADS + t], want[i]);
    }
}

static void fill(struct memory *memory, uint8_t *bytes) {
    uint64_t state = 88;
    for (size_t i = 0; i < THREADS * AREA + CONSTANTS + sizeof memory->in; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint8_t byte = (uint8_t)(state >> 41);
        if (i < THREADS * AREA)
            bytes[i] = byte;
        else if (i < THREADS * AREA + CONSTANTS)
            memory->constants[i - THREADS * AREA] = byte;
        else
            ((uint8_t *)memory->in)[i - THREADS * AREA - CONSTANTS] = byte;
    }
    for (unsigned s = 0; s < SPACES; s++)
        memcpy(memory->area[s], bytes, THREADS * AREA);
}

static void run(const struct form *forms, unsigned count, unsigned turn) {
    static struct memory memory;
    struct rig rig;
    struct kernel k;
    bool is_apart = turn % 2;
    rig_init(&rig);
    rig.opt_level = turn / 2 % 3 == 2 ? TW_KERNEL_FULL : TW_KERNEL_LIGHT;
    uint64_t params[3] = {rig_alloc(&rig, THREADS * AREA), rig_alloc(&rig, sizeof memory.in),
                          rig_alloc(&rig, A_KERNEL * SHOWN * THREADS * 8)};
    fill(&memory, rig_at(&rig, params[0]));
    memcpy(rig_at(&rig, params[1]), memory.in, sizeof memory.in);
    char *text = kernel_of(forms, count, memory.constants, is_apart);
    bool is_wide = turn / 4 % 2 || strstr(text, ".volatile"); // whose warps run in step
    kernel_from_ptx(&rig, &k, text, "k", is_wide ? 32 : 16, is_wide ? 1 : 16);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    for (unsigned i = 0; i < count; i++)
        check(&forms[i], &memory, rig_at(&rig, params[2]), i, is_apart);
    free(text);
    kernel_done(&k);
    rig_done(&rig);
}

static void run_half(unsigned half) {
    static struct forms forms;
    isa_each_name(add_form, &forms);
    ck_assert_uint_gt(forms.count, 900);
    for (unsigned i = 0, turn = 0; i < forms.count; i += A_KERNEL, turn++)
        if (turn % 2 == half)
            run(&forms.form[i], forms.count - i < A_KERNEL ? forms.count - i : A_KERNEL, turn / 2 + turn % 2);
}

// Bit i of what a thread shows: generic address number i is in the space that is asked for.
TW_TEST("isspacep knows the space of a generic address, and cvta makes it and takes it back") {
    static const char *const spaces[] = {"global", "shared", "local", "const"};
    static struct memory memory;
    struct rig rig;
    struct kernel k;
    struct writer w = {.size = 1 << 14};
    w.text = calloc(1, w.size);
    ck_assert_ptr_nonnull(w.text);
    rig_init(&rig);
    uint64_t params[3] = {rig_alloc(&rig, THREADS * AREA), rig_alloc(&rig, sizeof memory.in),
                          rig_alloc(&rig, 8 * THREADS * 8)};
    say_head(&w, memory.constants, false);
    say(&w, ".reg .pred q; .reg .b64 back; .reg .b32 told, bit; cvta.const.u64 gc, c;\n");
    for (unsigned s = 0; s < SPACES; s++) {
        say(&w, "mov.u32 told, 0;\n");
        for (unsigned i = 0; i < SPACES; i++)
            say(&w, "isspacep.%s q, g%c; selp.u32 bit, %u, 0, q; or.b32 told, told, bit;\n", spaces[s],
                bases[i], 1 << i);
        say(&w,
            "cvta.to.%s.u64 back, g%c; setp.eq.u64 q, back, %c; selp.u32 bit, 64, 0, q; or.b32 told, told, "
            "bit;\n"
            "st.global.u32 [out+%u], told;\n",
            spaces[s], bases[s], bases[s], s * THREADS * 8);
    }
    say(&w, "ret;\n}\n");
    kernel_from_ptx(&rig, &k, w.text, "k", 32, 1);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    const uint64_t *told = rig_at(&rig, params[2]);
    for (unsigned i = 0; i < SPACES * THREADS; i++)
        ck_assert_msg(told[i] == (64 | 1u << i / THREADS), "%s, thread %u: %" PRIx64, spaces[i / THREADS],
                      i % THREADS, told[i]);
    free(w.text);
    kernel_done(&k);
    rig_done(&rig);
}

TW_TEST("loads and stores of every form, type and state space move what they should: the first half") {
    run_half(0);
}

TW_TEST("loads and stores of every form, type and state space move what they should: the other half") {
    run_half(1);
}

// SPDX-License-Identifier: Apache-2.0
//
// Every form of isa_forms.c whose result depends on its operands alone, against plain C (plain.h): some two thousand of them,
// over awkward and random values, in vectors, with operands that are the same for all lanes and where lanes are apart, on
// whole warps and partial ones, light and full code. What no function there knows has to be on the list of those that another
// test compares: a form that is on neither fails.

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"
#include "plain.h"
#include "writer.h"

enum { A_KERNEL = 20, THREADS = 480, FORMS_MAX = 4'000, SOURCES = 4 };

// ---- the forms ----

struct forms {
    struct plain_inst inst[FORMS_MAX];
    size_t count;
};

static void add_form(const char *name, void *context) {
    struct forms *f = context;
    ck_assert_uint_lt(f->count, FORMS_MAX);
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->inst[i].text, name) == 0)
            return;
    if (plain_parse(name, &f->inst[f->count]))
        f->count++;
}

// ---- operands ----

static unsigned width_of(struct plain_type type) {
    return type.bits * type.lanes;
}

static char class_of(unsigned bits) {
    return bits == 1 ? 'p' : bits <= 16 ? 'h' : bits == 32 ? 'r' : 'x';
}

// Results = sources, each by the class of its register.
static void shape_of(const struct plain_inst *inst, char out[16]) {
    const char *shape = inst->shape;
    unsigned first = width_of(inst->types[0]), second = width_of(inst->types[inst->type_count > 1 ? 1 : 0]);
    bool is_pair = inst->types[0].lanes == 2 && inst->types[1].lanes == 1;
    if (strcmp(inst->name, "cvt") == 0)
        shape = plain_has(inst, "pack") ? first <= 8 ? "r=rrr" : "r=rr" : is_pair ? "t=vv" : "t=v";
    size_t n = 0;
    for (; shape[n] && n < 15; n++)
        out[n] = shape[n] == 't'   ? class_of(first)
                 : shape[n] == 'v' ? class_of(second)
                 : shape[n] == 'd' ? class_of(plain_has(inst, "wide") ? 2 * first : first)
                                   : shape[n];
    out[n] = 0;
}

static unsigned bits_of(char class) {
    return class == 'p' ? 1 : class == 'h' ? 16 : class == 'r' ? 32 : 64;
}

static bool joins(const struct plain_inst *inst) {
    return plain_has(inst, "and") || plain_has(inst, "or") || plain_has(inst, "xor");
}

static bool carries(const struct plain_inst *inst) {
    return plain_has(inst, "cc") || strcmp(inst->name, "addc") == 0 || strcmp(inst->name, "subc") == 0 ||
           strcmp(inst->name, "madc") == 0;
}

// Which operands stand behind those of the shape.
static void extra_operands(const struct plain_inst *inst, char prefix, char *out, size_t size) {
    const char *name = inst->name;
    out[0] = 0;
    if (strcmp(name, "lop3") == 0)
        joins(inst) ? (void)snprintf(out, size, ", 0x1b, %cpd", prefix) : (void)snprintf(out, size, ", 0x1b");
    else if (strcmp(name, "selp") == 0)
        snprintf(out, size, ", %cpd", prefix);
    else if ((strcmp(name, "setp") == 0 || strcmp(name, "set") == 0) && joins(inst))
        snprintf(out, size, ", !%cpd", prefix);
}

// vadd and the like take c only with a second operation.
static unsigned source_count(const struct plain_inst *inst, const char *sources) {
    static const char *const two[] = {"vadd", "vsub", "vabsdiff", "vmin", "vmax", "vshl", "vshr", "vset"};
    for (size_t i = 0; i < TW_COUNT(two); i++)
        if (strcmp(inst->name, two[i]) == 0)
            return plain_has(inst, "add") || plain_has(inst, "min") || plain_has(inst, "max") ? 3 : 2;
    return (unsigned)strlen(sources);
}

// ---- the kernel ----

// Sources a to d in registers of every class: v… of the lane's own, u… the same for the block.
static void say_sources(struct writer *w, char prefix, const char *index) {
    say(w, "mul.wide.u32 at, %s, 32;\nadd.u64 at, at, in;\n", index);
    for (int i = 0; i < SOURCES; i++) {
        char n = (char)('a' + i);
        say(w, ".reg .b64 %cx%c; .reg .b32 %cr%c; .reg .b16 %ch%c; .reg .pred %cp%c;\n", prefix, n, prefix, n,
            prefix, n, prefix, n);
        say(w, "ld.global.b64 %cx%c, [at+%d];\ncvt.u32.u64 %cr%c, %cx%c;\ncvt.u16.u64 %ch%c, %cx%c;\n",
            prefix, n, 8 * i, prefix, n, prefix, n, prefix, n, prefix, n);
        say(w, "and.b32 bit, %cr%c, 1;\nsetp.ne.u32 %cp%c, bit, 0;\n", prefix, n, prefix, n);
    }
}

static bool has_second(const struct plain_inst *inst) {
    return strncmp(inst->shape, "pp", 2) == 0 || (joins(inst) && strcmp(inst->name, "lop3") == 0) ||
           carries(inst);
}

static void say_statement(struct writer *w, const struct plain_inst *inst, const char *shape, char prefix) {
    const char *sources = strchr(shape, '=') + 1;
    char extra[32];
    bool subtracts = strncmp(inst->name, "sub", 3) == 0;
    extra_operands(inst, prefix, extra, sizeof extra);
    if (carries(inst))
        say(w,
            subtracts ? "and.b32 bit, %crd, 1; sub.cc.u32 bit, 0, bit;\n"
                      : "and.b32 bit, %crd, 1; add.cc.u32 bit, bit, 0xffffffff;\n",
            prefix);
    say(w, "%s d%s", inst->text, has_second(inst) && !carries(inst) ? "|q" : "");
    for (unsigned i = 0; i < source_count(inst, sources); i++)
        say(w, ", %c%c%c", prefix, sources[i], 'a' + (int)i);
    say(w, "%s;\n", extra);
    if (carries(inst))
        say(w, subtracts ? "subc.u32 bit, 0, 0; setp.ne.u32 q, bit, 0;\n"
                         : "addc.u32 bit, 0, 0; setp.ne.u32 q, bit, 0;\n");
}

// Results lie one behind the other by thread; the second ones behind the first ones of all threads.
static void say_stores(struct writer *w, const struct plain_inst *inst, char class, unsigned at) {
    unsigned first = at * 2 * THREADS * 8;
    if (class == 'p')
        say(w, "selp.b32 bit, 1, 0, d; st.global.b32 [out4+%u], bit;\n", first);
    else
        say(w, "st.global.b%u [out%u+%u], d;\n", bits_of(class), bits_of(class) / 8, first);
    if (has_second(inst))
        say(w, "selp.b32 bit, 1, 0, q; st.global.b32 [out4+%u], bit;\n", first + THREADS * 8);
}

static void say_form(struct writer *w, const struct plain_inst *inst, char prefix, unsigned at) {
    static const char *const types[] = {['p'] = "pred", ['h'] = "b16", ['r'] = "b32", ['x'] = "b64"};
    char shape[16];
    shape_of(inst, shape);
    say(w, "{ .reg .%s d; .reg .pred q;\n", types[(int)shape[0]]);
    say_statement(w, inst, shape, prefix);
    say_stores(w, inst, shape[0], at);
    say(w, "}\n");
}

// In vectors and the same for the block; or where every fourth lane is elsewhere.
static char *kernel_of(const struct plain_inst *inst, unsigned count, bool is_apart) {
    struct writer w = {.size = 1 << 20};
    w.text = calloc(1, w.size);
    ck_assert_ptr_nonnull(w.text);
    say(&w, ".version 8.3\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 pin, .param .u64 "
            "pout) {\n"
            ".reg .b64 in, out2, out4, out8, at; .reg .b32 t, b, bit; .reg .pred apart;\nld.param.u64 in, "
            "[pin];\n"
            "ld.param.u64 out2, [pout];\n"
            "mov.u32 b, %%ctaid.x; mov.u32 bit, %%ntid.x; mul.lo.u32 b, b, bit; mov.u32 t, %%tid.x; add.u32 "
            "t, t, b;\n"
            "mad.wide.u32 out4, t, 4, out2; mad.wide.u32 out8, t, 8, out2; mad.wide.u32 out2, t, 2, out2;\n");
    say_sources(&w, 'v', "t");
    if (is_apart)
        say(&w, "and.b32 bit, t, 3; setp.eq.u32 apart, bit, 1; @apart bra L;\n");
    else
        say_sources(&w, 'u', "b");
    for (unsigned i = 0; i < count; i++) {
        say_form(&w, &inst[i], 'v', 2 * i);
        if (!is_apart)
            say_form(&w, &inst[i], 'u', 2 * i + 1);
    }
    say(&w, "L: ret;\n}\n");
    return w.text;
}

// ---- values ----

static uint64_t next_random(uint64_t *state) { // xorshift64* (Vigna 2014)
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static uint64_t awkward_integer(uint64_t *state) {
    static const uint64_t corners[] = {
        0,    1,      2,      3,      7,          8,          15,         16,        31,
        32,   33,     63,     64,     65,         127,        128,        255,       256,
        0x7f, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, (uint64_t)INT64_MIN};
    uint64_t r = next_random(state);
    switch (r % 8) {
    case 0:
    case 1:
        return corners[r / 8 % TW_COUNT(corners)];
    case 2:
        return ~(r / 8 % 5);
    case 3:
        return UINT64_C(1) << (r / 8 % 64);
    case 4:
        return r >> 8 & 0xff00ff00ff00ff;
    default:
        return next_random(state);
    }
}

// A float of this many bits of exponent and fraction: corners, any, or near one; often near a whole or a half.
static uint64_t awkward_float(uint64_t *state, unsigned exponent, unsigned fraction) {
    uint64_t r = next_random(state), one = UINT64_C(1) << fraction,
             bias = (UINT64_C(1) << (exponent - 1)) - 1;
    uint64_t most = (2 * bias + 1) << fraction, sign = (r >> 60 & 1) << (exponent + fraction);
    const uint64_t corners[] = {0,
                                1,
                                one - 1,
                                one,
                                one + 1,
                                most - 1,
                                most,
                                most + 1,
                                most | one / 2,
                                bias << fraction,
                                (bias << fraction) + 1,
                                (bias << fraction) - 1,
                                (bias << fraction) | one / 2,
                                (bias + 1) << fraction,
                                (bias - 1) << fraction,
                                one / 2};
    uint64_t any = next_random(state) & (one - 1);
    switch (r % 6) {
    case 0:
        return sign | corners[r / 8 % TW_COUNT(corners)];
    case 1:
        return sign | (next_random(state) & (most | (one - 1)));
    case 2: // few bits: wholes and halves
        return sign | (bias + r / 8 % (exponent == 5 ? 14 : 70)) << fraction | (any & ~(one / 32 - 1));
    default:
        return sign | (bias - 4 + r / 8 % 12) << fraction | any;
    }
}

// What registers of all widths read of it has to be awkward for the kind of form: lanes of 16 bits each their own.
static uint64_t awkward(uint64_t *state, struct plain_type type) {
    uint64_t word = 0;
    if (type.kind == 'g' || (type.kind == 'f' && type.bits == 16)) {
        for (unsigned i = 0; i < 64; i += 16)
            word |= awkward_float(state, type.kind == 'g' ? 8 : 5, type.kind == 'g' ? 7 : 10) << i;
        return word;
    }
    if (type.kind == 'f')
        return type.bits == 64 ? awkward_float(state, 11, 52)
                               : awkward_float(state, 8, 23) | next_random(state) << 32;
    return awkward_integer(state);
}

static struct plain_type source_type(const struct plain_inst *inst) {
    const char *name = inst->name;
    bool is_second = strcmp(name, "cvt") == 0 || strcmp(name, "set") == 0 || strcmp(name, "slct") == 0;
    return inst->types[is_second ? 1 : 0];
}

static int compare_types(const void *a, const void *b) {
    struct plain_type x = source_type(a), y = source_type(b);
    bool x_real = x.kind == 'f' || x.kind == 'g', y_real = y.kind == 'f' || y.kind == 'g';
    if (!x_real || !y_real)
        return x_real - y_real;
    return x.kind != y.kind ? x.kind - y.kind : (int)x.bits - (int)y.bits;
}

// ---- one kernel of forms ----

struct run {
    unsigned lanes, block;
    int tier;
    bool is_apart;
};

// Whether it is right; says what is not.
static bool check_result(const struct plain_inst *inst, const struct run *run, bool is_uniform,
                         const uint64_t in[SOURCES], uint64_t got, uint64_t got_second) {
    char shape[16];
    uint64_t sources[SOURCES] = {in[0], in[1], in[2], in[3]};
    shape_of(inst, shape);
    const char *letters = strchr(shape, '=') + 1;
    for (unsigned i = 0; i < strlen(letters); i++)
        sources[i] = plain_low((plain_wide)in[i], bits_of(letters[i]));
    struct plain_value want = plain_compute(inst, sources);
    bool looks = has_second(inst) && (!carries(inst) || plain_has(inst, "cc"));
    if (plain_same(&want, got) && (!looks || want.is_any || got_second == want.second))
        return true;
    fprintf(stderr,
            "%s (%s, %u lanes, blocks of %u, tier %d) of %" PRIx64 ", %" PRIx64 ", %" PRIx64 ", %" PRIx64
            " is %" PRIx64 " and %" PRIx64 ", not %" PRIx64 " and %" PRIx64 "\n",
            inst->text,
            run->is_apart ? "apart"
            : is_uniform  ? "uniform"
                          : "varying",
            run->lanes, run->block, run->tier, sources[0], sources[1], sources[2], sources[3], got,
            got_second, want.bits, want.second);
    return false;
}

// Whether a form's results are right for all threads; `out` are its first and second ones.
static bool check_results(const struct plain_inst *inst, const struct run *run, bool is_uniform,
                          const uint64_t (*in)[SOURCES], const uint8_t *out) {
    char shape[16];
    shape_of(inst, shape);
    size_t bytes = shape[0] == 'p' ? 4 : bits_of(shape[0]) / 8;
    for (unsigned t = 0; t < THREADS; t++) {
        uint64_t got = 0, second = 0;
        memcpy(&got, out + t * bytes, bytes);
        memcpy(&second, out + THREADS * 8 + t * 4, 4);
        if (run->is_apart && t % 4 == 1)
            ck_assert_msg(got == 0 && second == 0, "%s: a lane that is elsewhere wrote", inst->text);
        else if (!check_result(inst, run, is_uniform, in[is_uniform ? t / run->block * run->block : t], got,
                               second))
            return false;
    }
    return true;
}

// How many of the forms are wrong.
static unsigned check_forms(const struct plain_inst *inst, unsigned count, const struct run *run,
                            uint64_t *state) {
    struct rig rig;
    struct kernel k;
    unsigned wrong = 0;
    rig_init(&rig);
    rig.opt_level = run->tier;
    char *text = kernel_of(inst, count, run->is_apart);
    kernel_from_ptx(&rig, &k, text, "k", run->lanes, run->block % run->lanes ? 1 : run->lanes);
    uint64_t params[2] = {rig_alloc(&rig, THREADS * SOURCES * 8),
                          rig_alloc(&rig, (size_t)count * 4 * THREADS * 8)};
    uint64_t(*in)[SOURCES] = rig_at(&rig, params[0]);
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned i = 0; i < SOURCES; i++)
            in[t][i] = i == 3 ? awkward_integer(state) : awkward(state, source_type(&inst[0]));
    ck_assert_uint_eq(rig_launch(&rig, &k, (uint32_t[3]){THREADS / run->block, 1, 1},
                                 (uint32_t[3]){run->block, 1, 1}, 0, params, sizeof params),
                      TW_KERNEL_OK);
    const uint8_t *out = rig_at(&rig, params[1]);
    for (unsigned i = 0; i < 2 * count; i++)
        if (!run->is_apart || i % 2 == 0)
            wrong += !check_results(&inst[i / 2], run, i % 2, in, out + (size_t)i * 2 * THREADS * 8);
    free(text);
    kernel_done(&k);
    rig_done(&rig);
    return wrong;
}

// One in eight of the kernels, each twice: full code for whole warps and light code for partial ones and lanes apart, or the
// other way round.
static void check_eighth(unsigned eighth) {
    static struct forms forms;
    static const struct run runs[2][2] = {{{32, 96, TW_KERNEL_FULL, false}, {32, 40, TW_KERNEL_LIGHT, true}},
                                          {{8, 96, TW_KERNEL_LIGHT, false}, {32, 40, TW_KERNEL_FULL, true}}};
    isa_each_name(add_form, &forms);
    ck_assert_uint_gt(forms.count, 1'900);
    qsort(forms.inst, forms.count, sizeof *forms.inst, compare_types);
    uint64_t state = 4711;
    unsigned wrong = 0;
    for (size_t i = 0, kernel = 0; i < forms.count; kernel++) {
        unsigned count = 1;
        while (count < A_KERNEL && i + count < forms.count &&
               compare_types(&forms.inst[i], &forms.inst[i + count]) == 0)
            count++;
        if (kernel % 8 == eighth)
            for (unsigned r = 0; r < 2; r++)
                wrong += check_forms(&forms.inst[i], count, &runs[kernel / 8 % 2][r], &state);
        i += count;
    }
    ck_assert_uint_eq(wrong, 0);
}

TW_TEST("instructions compute what the manual says, form by form: the first of eight parts") {
    check_eighth(0);
}

TW_TEST("instructions compute what the manual says, form by form: the second of eight parts") {
    check_eighth(1);
}

TW_TEST("instructions compute what the manual says, form by form: the third of eight parts") {
    check_eighth(2);
}

TW_TEST("instructions compute what the manual says, form by form: the fourth of eight parts") {
    check_eighth(3);
}

TW_TEST("instructions compute what the manual says, form by form: the fifth of eight parts") {
    check_eighth(4);
}

TW_TEST("instructions compute what the manual says, form by form: the sixth of eight parts") {
    check_eighth(5);
}

TW_TEST("instructions compute what the manual says, form by form: the seventh of eight parts") {
    check_eighth(6);
}

TW_TEST("instructions compute what the manual says, form by form: the last of eight parts") {
    check_eighth(7);
}

// ---- the rest of the list ----

// What no function of plain.h knows, and where it is compared with plain C or Python. The first five take their forms from the
// list too, so that a new one is compared or fails there.
static const struct {
    const char *names, *where;
} others[] = {
    {"ld ldu st", "unit/jit/test_values_memory.c"},
    {"atom red", "unit/jit/test_values_atomic.c"},
    {"shfl vote match redux activemask elect exit", "unit/jit/test_values_warp.c"},
    {"mma", "unit/jit/test_matrix.c"}, // and mma.sp in test_sparse.c
    {"cvta isspacep", "unit/jit/test_values_memory.c"},
    {"ldmatrix movmatrix", "unit/jit/test_matrix.c"},
    {"wmma", "unit/jit/test_wmma.c"},
    {"bar barrier bra brx ret trap", "unit/jit/test_control.c"},
    {"mbarrier cp nanosleep", "unit/jit/test_mbarrier.c"},
    {"alloca stacksave stackrestore call", "unit/jit/test_stack.c"},
    {"mov", "unit/jit/test_values_memory.c"}, // of 128 bits
};
// Fences, hints and events, which have no results; a breakpoint is a trap.
static const char no_result[] =
    " membar fence prefetch prefetchu discard applypriority createpolicy pmevent brkpt ";

static bool has_word(const char *words, const char *word) {
    char wanted[32], all[160];
    snprintf(wanted, sizeof wanted, " %s ", word);
    snprintf(all, sizeof all, " %s ", words);
    return strstr(all, wanted) != NULL;
}

static void check_other(const char *text, void *context) {
    unsigned *missing = context;
    struct plain_inst inst;
    if (plain_parse(text, &inst) || strchr(text, ':') || has_word(no_result, inst.name))
        return;
    for (size_t i = 0; i < TW_COUNT(others); i++)
        if (has_word(others[i].names, inst.name))
            return;
    fprintf(stderr, "%s: no test compares what it does\n", text);
    ++*missing;
}

static bool mentions(const char *file, const char *word) {
    char path[512], text[1 << 16];
    snprintf(path, sizeof path, "%s/%s", TW_TEST_SOURCE_DIR, file);
    FILE *in = fopen(path, "r");
    ck_assert_msg(in != NULL, "%s", path);
    text[fread(text, 1, sizeof text - 1, in)] = 0;
    fclose(in);
    return strstr(text, word) != NULL;
}

// test_isa.c: every row of the table of instructions, each of its types and modifiers is in the list.
TW_TEST("every form of the list is compared with plain C, here or where it is said") {
    unsigned missing = 0;
    isa_each_name(check_other, &missing);
    for (size_t i = 0; i < TW_COUNT(others); i++) {
        struct tw_str names = tw_str_from(others[i].names);
        while (names.len) {
            char word[32];
            struct tw_str name = tw_str_cut(&names, ' ');
            snprintf(word, sizeof word, "%.*s", TW_STR_ARG(name));
            ck_assert_msg(mentions(others[i].where, word), "%s is not in %s", word, others[i].where);
        }
    }
    ck_assert_uint_eq(missing, 0);
}

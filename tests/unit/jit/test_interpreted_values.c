// SPDX-License-Identifier: Apache-2.0
//
// What programs compute of values, statement by statement over awkward ones: the same as code, bit for bit, NaNs too (but where two
// sources are, as there compilers choose). Code may take over between two blocks of a launch.

#include "harness/test.h"

#include "floats.h"
#include "isa_forms.h"
#include "kernel_run.h"
#include "writer.h"

enum { BLOCK = 80, BLOCKS = 3, THREADS = BLOCK * BLOCKS, WORDS = 12 };

static const struct isa_form forms[] = {
    // lanes of a warp
    {"shfl.sync.{up,down,bfly,idx}.b32 %r0, %r1, %r2, %r3, %r4; "
     "shfl.sync.{up,down,bfly,idx}.b32 %r0|%p0, %r1, 3, 31, -1; shfl.{up,down,bfly,idx}.b32 %r0|%p0, %r1, "
     "%r2, %r3;",
     NULL, 0},
    {"vote.sync.{all,any,uni}.pred %p0, !%p1, %r1; vote.sync.ballot.b32 %r0, %p1, -1; vote.ballot.b32 %r0, "
     "%p1;",
     NULL, 0},
    {"match.any.sync.T %r0, R1, -1; match.all.sync.T %r0|%p0, R1, %r2; match.all.sync.T %r0, R1, %r2;",
     "b32 b64", 0},
    {"redux.sync.{add,min,max}.{u32,s32} %r0, %r1, -1; redux.sync.{and,or,xor}.b32 %r0, %r1, %r2;", NULL, 0},
    {"activemask.b32 %r0; elect.sync %r0|%p0, -1; elect.sync _|%p0, %r1; bar.warp.sync -1; @%p1 "
     "activemask.b32 %r0;",
     NULL, 0},
    {"mma.sync.aligned.m16n8k16.row.col{,.satfinite}.s32.{s8,u8}.{s8,u8}.s32 {%r0, %r5, %r6, %r7}, "
     "{%r1, %r2}, {%r3}, {%r1, %r2, %r3, %r4};",
     NULL, 0},
    {"movmatrix.sync.aligned.m8n8.trans.b16 %r0, %r1;", NULL, 0},
    // threads of a block
    {"bar.red.{and,or}.pred %p0, 0, %p1; bar.red.popc.u32 %r0, 0, %p1; bar.red.popc.u32 %r0, 0, !%p1; "
     "bar.sync 0;",
     NULL, 0},
};

// Registers 1 to 4 of every class are the thread's own; results go to %rd8.
static const char head[] =
    ".version 8.3\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 pin, .param .u64 pout) {\n"
    ".reg .b16 %h<10>; .reg .b32 %r<10>; .reg .b64 %rd<10>; .reg .f32 %f<10>; .reg .f64 %fd<10>; .reg .pred "
    "%p<10>;\n"
    "mov.u32 %r0, %ctaid.x; mov.u32 %r1, %tid.x; mad.lo.u32 %r0, %r0, 80, %r1;\n"
    "ld.param.u64 %rd9, [pin]; ld.param.u64 %rd8, [pout]; mad.wide.u32 %rd8, %r0, 8, %rd8;\n"
    "mad.wide.u32 %rd9, %r0, 48, %rd9;\n"
    "ld.global.b64 %rd1, [%rd9]; ld.global.b64 %rd2, [%rd9+8]; ld.global.b64 %rd3, [%rd9+16]; "
    "ld.global.b64 %rd4, [%rd9+24];\n"
    "ld.global.b64 %fd1, [%rd9]; ld.global.b64 %fd2, [%rd9+8]; ld.global.b64 %fd3, [%rd9+16];\n"
    "ld.global.b32 %r1, [%rd9]; ld.global.b32 %r2, [%rd9+32]; ld.global.b32 %r3, [%rd9+36]; "
    "ld.global.b32 %r4, [%rd9+40];\n"
    "ld.global.b32 %f1, [%rd9]; ld.global.b32 %f2, [%rd9+32]; ld.global.b32 %f3, [%rd9+36];\n"
    "ld.global.b16 %h1, [%rd9]; ld.global.b16 %h2, [%rd9+32]; ld.global.b16 %h3, [%rd9+36];\n"
    "and.b32 %r5, %r4, 1; setp.ne.u32 %p1, %r5, 0; and.b32 %r5, %r4, 6; setp.ne.u32 %p2, %r5, 0;\n";

// A statement goes on with what stores its results.
static const char *behind_statement(const char *at) {
    do
        at += strcspn(at, "\n") + 1;
    while (strncmp(at, "st.", 3) == 0 || strncmp(at, "selp.", 5) == 0);
    return at;
}

// A word that is awkward as an integer or as a float of any width, or any.
static uint32_t awkward(uint32_t *state) {
    static const uint32_t corners[] = {
        0,          1,          0xffffffff, 0x80000000, 0x7fffffff, 0x7f800000, 0xff800000, 0x7fc00000,
        0xffa12345, 0x7f800001, 0x00800000, 0x807fffff, 0x00400000, 0x3f800000, 0xbf7fffff, 0x3f000000,
        0x3f7fffff, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0xdf000001, 0x477fe000, 0x477fefff,
        0x477ff000, 0x33000000, 0x33000001, 0x38800000, 0x387fffff, 0x7ff00000, 0xfff80000, 0x7ff00001,
        0x7ff7ffff, 0x43300000, 0xc1e00000, 0x41efffff, 0x7e007c00, 0xfc017c01, 0x03ff0400, 0x7f7f7f80,
        0xff7fffff, 0x7fff8000, 0x0080ff7f, 0x47efffff, 0x36a00000};
    uint32_t r = random_word(state);
    switch (r % 4) {
    case 0:
        return corners[r / 4 % TW_COUNT(corners)];
    case 1: // a float of moderate size; of the upper half of a double too
        return (r & 0x807fffff) | (0x7f - 8 + (r >> 23 & 15)) << 23;
    case 2: // with few bits
        return random_word(state) >> (r >> 8 & 31) << (r >> 16 & 31);
    default:
        return random_word(state);
    }
}

// Without what is a NaN, whatever width it is read in.
static uint32_t number(uint32_t word) {
    bool is_nan = (word & 0x7c00) == 0x7c00 || (word >> 16 & 0x7c00) == 0x7c00 || (word & 0x7f80) == 0x7f80 ||
                  (word >> 16 & 0x7f80) == 0x7f80;
    return is_nan ? word & 0xbfffbfff : word;
}

// All statements of a form, each with results of its own.
static char *kernel_of(const char *statements, unsigned *ret_count) {
    struct writer w = {.size = 1 << 20};
    w.text = calloc(1, w.size);
    ck_assert_ptr_nonnull(w.text);
    say(&w, "%s", head);
    *ret_count = 0;
    for (const char *at = statements, *next; *at; at = next, ++*ret_count) {
        next = behind_statement(at);
        say(&w, "%.*sadd.u64 %%rd8, %%rd8, %d;\n", (int)(next - at), at, 8 * THREADS);
    }
    say(&w, "ret;\n}\n");
    return w.text;
}

static uint64_t *results(const char *text, unsigned count, int tier) {
    struct rig rig;
    struct kernel k;
    uint32_t state = 7;
    unsetenv("TW_TEST_INTERPRETED"); // code is asked for here
    rig_init(&rig);
    rig.opt_level = tier;
    kernel_from_ptx(&rig, &k, text, "k", 32, 1);
    ck_assert_int_eq(k.info.variant.opt_level, tier);
    size_t bytes = (size_t)count * THREADS * 8;
    uint64_t at[] = {rig_alloc(&rig, THREADS * WORDS * 4), rig_alloc(&rig, bytes)}, *out = malloc(bytes);
    ck_assert_ptr_nonnull(out);
    uint32_t *in = rig_at(&rig, at[0]);
    for (unsigned i = 0; i < THREADS * WORDS; i++)
        in[i] = i % WORDS < 2 ? awkward(&state) : number(awkward(&state)); // the first two are source 1
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){BLOCKS, 1, 1}, (uint32_t[3]){BLOCK, 1, 1}, 0, at, sizeof at),
        TW_KERNEL_OK);
    memcpy(out, rig_at(&rig, at[1]), bytes);
    kernel_done(&k);
    rig_done(&rig);
    return out;
}

// Products are those of whole warps.
static bool is_defined(const char *statement, unsigned thread) {
    bool is_product = strncmp(statement, "mma", 3) == 0 || strncmp(statement, "movmatrix", 9) == 0;
    return !is_product || thread % BLOCK < BLOCK / 32 * 32;
}

static void compare(const char *statements) {
    unsigned count, i = 0;
    char *text = kernel_of(statements, &count);
    uint64_t *program = results(text, count, TW_KERNEL_INTERPRETED),
             *code = results(text, count, TW_KERNEL_LIGHT);
    for (const char *at = statements; *at; at = behind_statement(at), i++)
        for (unsigned t = 0; t < THREADS; t++)
            ck_assert_msg(!is_defined(at, t) || program[i * THREADS + t] == code[i * THREADS + t],
                          "%.*s in thread %u: %" PRIx64 ", and code's %" PRIx64, (int)strcspn(at, "\n"), at,
                          t, program[i * THREADS + t], code[i * THREADS + t]);
    free(program);
    free(code);
    free(text);
}

// Whether results follow from sources of the lane's own: nothing of memory, other lanes, the launch, the stack.
static bool is_of_values(const char *form) {
    static const char *const others[] = {"[",    "bar",  "mma",   "sync", "%{",    "nanosleep", "trap",
                                         "b128", "bra ", "cvta.", "shfl", "vote.", "alloca",    "activemask"};
    for (size_t i = 0; i < TW_COUNT(others); i++)
        if (strstr(form, others[i]))
            return false;
    return true;
}

// One in four of the rows, so that no test takes long on a slow machine.
static void compare_quarter(size_t first) {
    unsigned compared = 0;
    for (size_t i = first; i < isa_run_count; i += 4) {
        char *text = isa_spell_out(&isa_runs[i]);
        if (is_of_values(isa_runs[i].text)) {
            compare(text);
            compared++;
        }
        free(text);
    }
    ck_assert_uint_gt(compared, 5);
}

TW_TEST("what lanes of a program make together is what they make in code") {
    for (size_t i = 0; i < TW_COUNT(forms); i++) {
        char *text = isa_spell_out(&forms[i]);
        compare(text);
        free(text);
    }
}

TW_TEST("what programs compute is what code does, bit for bit: the first of four") {
    compare_quarter(0);
}

TW_TEST("what programs compute is what code does, bit for bit: the second of four") {
    compare_quarter(1);
}

TW_TEST("what programs compute is what code does, bit for bit: the third of four") {
    compare_quarter(2);
}

TW_TEST("what programs compute is what code does, bit for bit: the last of four") {
    compare_quarter(3);
}

// SPDX-License-Identifier: Apache-2.0
//
// Gathers and scatters at a uniform base plus each lane's index times a constant, whatever form the arithmetic takes:
// against the bytes that the address, kept inside the arena, names. Some lanes take no part.

#include "harness/test.h"
#include "kernel_run.h"

enum { THREADS = 96, TABLE_BYTES = 1 << 20, MIDDLE = TABLE_BYTES / 2, SKIPPED = 5 };

// %r7 and %rd7 hold the index, %rd2 the base; the address goes to %rd9.
static const struct form {
    const char *text;
    int64_t factor;
    bool is_unsigned;
} forms[] = {
    {"mul.wide.s32 %rd8, %r7, 4;\nadd.s64 %rd9, %rd2, %rd8;", 4, false},
    {"mul.wide.u32 %rd8, %r7, 12;\nadd.s64 %rd9, %rd8, %rd2;", 12, true},
    {"cvt.s64.s32 %rd6, %r7;\nshl.b64 %rd8, %rd6, 3;\nadd.s64 %rd9, %rd2, %rd8;", 8, false},
    {"mul.lo.s64 %rd8, %rd7, 16;\nadd.s64 %rd9, %rd2, %rd8;", 16, false},
    {"shl.b64 %rd8, %rd7, 2;\nadd.s64 %rd9, %rd8, %rd2;", 4, false},
    {"mul.wide.s32 %rd8, %r7, 3;\nadd.s64 %rd9, %rd2, %rd8;", 3, false},
    // What it was made of has changed since.
    {"mul.wide.s32 %rd8, %r7, 4;\nadd.s64 %rd9, %rd2, %rd8;\nadd.u32 %r7, %r7, 1;", 4, false},
    {"mul.wide.s32 %rd8, %r7, 4;\nadd.s64 %rd9, %rd2, %rd8;\nadd.s64 %rd2, %rd2, 64;", 4, false},
    {"cvt.s64.s32 %rd8, %r7;\nshl.b64 %rd8, %rd8, 2;\nadd.s64 %rd8, %rd2, %rd8;\nmov.u64 %rd9, %rd8;", 4,
     false},
    {"mul.wide.s32 %rd8, %r7, 4;\nadd.s64 %rd9, %rd2, %rd8;\n@%p1 add.s64 %rd9, %rd9, 8;", 4, false},
};

static const struct element {
    const char *type, *reg;
    unsigned bytes;
} elements[] = {{"u8", "%rs1", 1}, {"u16", "%rs1", 2}, {"b32", "%r8", 4}, {"b64", "%rd10", 8}};

static const int64_t offsets[] = {0, 8, -8, -4096, -4100, 65536, 70000, -70000};

struct params {
    uint64_t table, index, out, wide;
};

// Each thread of those that take part loads one element, and stores it to its place in `out`; or the other way round.
static char *make_kernel(const struct form *form, const struct element *element, int64_t offset,
                         bool stores) {
    char *text = NULL, at[32], place[] = "[%rd5]";
    snprintf(at, sizeof at, "[%%rd9%+lld]", (long long)offset);
    int len = asprintf(
        &text,
        ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 table, .param .u64 "
        "index, .param .u64 out, .param .u64 wide) {\n.reg .b16 %%rs<3>;\n.reg .b32 %%r<20>;\n.reg .b64 "
        "%%rd<20>;\n.reg .pred %%p<9>;\nld.param.u64 %%rd2, [table];\nld.param.u64 %%rd3, "
        "[index];\nld.param.u64 %%rd4, [out];\nld.param.u64 %%rd11, [wide];\nmov.u32 %%r1, "
        "%%tid.x;\nrem.u32 %%r2, %%r1, %d;\nsetp.eq.u32 %%p2, %%r2, 2;\n@%%p2 bra END;\nsetp.gt.u32 %%p1, "
        "%%r1, 4096;\nmul.wide.u32 %%rd5, %%r1, 8;\nadd.s64 %%rd3, %%rd3, %%rd5;\nadd.s64 %%rd5, %%rd4, "
        "%%rd5;\nld.global.u32 %%r7, [%%rd3];\ncvt.s64.s32 %%rd7, %%r7;\nadd.s64 %%rd7, %%rd7, "
        "%%rd11;\n%s\nld.global.%s %s, %s;\nst.global.%s %s, %s;\nEND:\nret;\n}\n",
        SKIPPED, form->text, element->type, element->reg, stores ? place : at, element->type,
        stores ? at : place, element->reg);
    ck_assert_int_gt(len, 0);
    return text;
}

static bool takes_part(unsigned thread) {
    return thread % SKIPPED != 2;
}

// Where in the arena the thread's element lies.
static uint64_t place_of(const struct form *form, const struct params *params, int32_t index,
                         int64_t offset) {
    uint64_t moved = form->is_unsigned ? (uint64_t)(uint32_t)index * (uint64_t)form->factor
                                       : (uint64_t)((int64_t)index * form->factor);
    return (params->table + moved + (uint64_t)offset) & (RIG_BYTES - 1);
}

static void check(struct rig *rig, const struct form *form, const struct element *element, int64_t offset,
                  struct params params, bool stores) {
    struct kernel k;
    char *text = make_kernel(form, element, offset, stores);
    kernel_from_ptx(rig, &k, text, "k", 32, 32);
    const int32_t *index = rig_at(rig, params.index);
    uint8_t *out = rig_at(rig, params.out), want[THREADS * 8], *from = out, *to = out;
    for (unsigned i = 0; i < sizeof want; i++)
        out[i] = (uint8_t)(i * 31 + (unsigned)offset);
    memcpy(want, out, sizeof want);
    ck_assert_uint_eq(
        rig_launch(rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, &params, sizeof params),
        TW_KERNEL_OK);
    for (unsigned t = 0; t < THREADS; t++) {
        uint8_t *place = rig_at(rig, place_of(form, &params, index[2 * t], offset));
        from = stores ? &want[8 * t] : place;
        to = stores ? place : &out[8 * t];
        bool is_same = memcmp(from, to, element->bytes) == 0, is_old = memcmp(to, &want[8 * t], 8) == 0;
        ck_assert_msg(takes_part(t) ? is_same : stores || is_old,
                      "thread %u: %s at index %d, base %#llx, offset %lld: wrong, of\n%s", t, element->type,
                      (int)index[2 * t], (unsigned long long)params.table, (long long)offset, text);
    }
    kernel_done(&k);
    free(text);
}

// Every index is another one, and in the table with every factor and offset.
static void fill(struct rig *rig, const struct params *params, uint64_t table) {
    int32_t *index = rig_at(rig, params->index);
    uint8_t *bytes = rig_at(rig, table);
    for (int t = 0; t < THREADS; t++)
        index[2 * t] = (t * 37 % THREADS) * 11 - 200;
    for (int i = 0; i < TABLE_BYTES; i++)
        bytes[i] = (uint8_t)((unsigned)i * 2654435761u >> 13);
}

static void check_all(int opt_level, unsigned shift) {
    struct rig rig;
    rig_init(&rig);
    rig.opt_level = opt_level;
    uint64_t table = rig_alloc(&rig, TABLE_BYTES);
    struct params params = {.table = table + MIDDLE + shift,
                            .index = rig_alloc(&rig, 8 * THREADS),
                            .out = rig_alloc(&rig, 8 * THREADS)};
    fill(&rig, &params, table);
    for (unsigned i = 0; i < TW_COUNT(forms); i++) {
        const struct element *element = &elements[(i + shift) % TW_COUNT(elements)];
        int64_t offset = offsets[(i + (unsigned)opt_level) % TW_COUNT(offsets)];
        if (forms[i].is_unsigned) // its product reaches far out, and back
            params.table += RIG_BYTES;
        check(&rig, &forms[i], element, offset, params, false);
        check(&rig, &forms[i], element, offset, params, true);
    }
    rig_done(&rig);
}

TW_TEST("lanes find their elements of a table by index, whatever form the address takes") {
    for (int opt_level = 0; opt_level < 2; opt_level++)
        for (unsigned shift = 0; shift < 4; shift++)
            check_all(opt_level, shift);
}

TW_TEST("an index whose product leaves the arena comes back into it as the whole address does") {
    struct rig rig;
    rig_init(&rig);
    uint64_t table = rig_alloc(&rig, TABLE_BYTES);
    struct params params = {
        .table = table + MIDDLE, .index = rig_alloc(&rig, 8 * THREADS), .out = rig_alloc(&rig, 8 * THREADS)};
    fill(&rig, &params, table);
    int32_t *index = rig_at(&rig, params.index);
    for (int t = 0; t < THREADS; t++)
        index[2 * t] += (t % 7 - 3) * (RIG_BYTES / 4); // factors 4, 8 and 16: once, twice, four times round
    for (unsigned i = 0; i < 5; i++)
        if (!forms[i].is_unsigned)
            check(&rig, &forms[i], &elements[2], 8, params, false);
    params.wide = UINT64_C(5) << 40; // a 64-bit index with something above
    check(&rig, &forms[3], &elements[2], 0, params, false);
    check(&rig, &forms[4], &elements[3], 0, params, true);
    rig_done(&rig);
}

// SPDX-License-Identifier: Apache-2.0
//
// Programs that read and write memory: each lane copies from a place to a place, wherever those lie, also beyond the arena's
// ends, against the same in plain C. Compiled code does it too: both must keep to the same rule. Only what a
// kernel may touch has changed.

#include <sys/mman.h>

#include "harness/test.h"
#include "kernel_run.h"
#include "writer.h"

enum { LANES = 32, ZONE = 96 << 10, OUTSIDE = RIG_BYTES + 2 * ZONE, ELEMENT_MAX = 16 };

// The arena's first bytes, some in the middle, its last and the guard's first.
static const uint64_t zones[] = {0, 8 << 20, RIG_BYTES - ZONE, RIG_BYTES};

struct row {
    uint64_t from, to;
    int32_t rank;
    uint32_t unused[3];
};
_Static_assert(sizeof(struct row) == 32, "as the kernel reads it");

enum kind { COPY, ATOMIC, ASYNCHRONOUS };
struct form {
    enum kind kind;
    const char *type, *registers;
    unsigned bytes, count;
};
static const struct form forms[] = {
    {COPY, "b16", "r0", 2, 1},
    {COPY, "v2.b16", "{r0, r1}", 2, 2},
    {COPY, "v4.b16", "{r0, r1, r2, r3}", 2, 4},
    {COPY, "b32", "r0", 4, 1},
    {COPY, "v2.b32", "{r0, r1}", 4, 2},
    {COPY, "v4.b32", "{r0, r1, r2, r3}", 4, 4},
    {COPY, "b64", "r0", 8, 1},
    {COPY, "v2.b64", "{r0, r1}", 8, 2},
    {COPY, "b128", "r0", 16, 1},
    {ATOMIC, "u32", "rank", 4, 1},
    {ATOMIC, "u64", "row", 8, 1},
    {ASYNCHRONOUS, "4", "", 4, 1},
    {ASYNCHRONOUS, "8", "", 8, 1},
    {ASYNCHRONOUS, "16", "", 16, 1},
};
// What is added to an address: the same in all accesses nearby, or not (tw_kernel_behind_mask).
static const int offsets[] = {0, 16, 65'536, 65'537, 70'000, -1, -4'096, -4'097};

static void say_statement(struct writer *w, const struct form *form, int offset) {
    switch (form->kind) {
    case COPY:
        say(w, "@p ld.global.%s %s, [from%+d];\n@p st.global.%s [to%+d], %s;\n", form->type, form->registers,
            offset, form->type, offset, form->registers);
        break;
    case ATOMIC:
        say(w, "@p atom.global.add.%s r0, [to%+d], %s;\n@p st.global.%s [from%+d], r0;\n", form->type, offset,
            form->registers, form->type, offset);
        break;
    case ASYNCHRONOUS:
        say(w, "@p cp.async.ca.shared.global [to%+d], [from%+d], %s, rank;\n", offset, offset, form->type);
        break;
    }
}

static void say_kernel(struct writer *w, const struct form *form, int offset) {
    say(w,
        ".version 8.3\n.target sm_90\n.address_size 64\n"
        ".visible .entry k(.param .u64 rows, .param .u32 limit) {\n"
        ".reg .b64 at, row, from, to; .reg .b32 t, n, rank; .reg .pred p; .reg .b%u r0, r1, r2, r3;\n"
        "ld.param.u64 at, [rows]; ld.param.u32 n, [limit]; mov.u32 t, %%tid.x;\n"
        "mul.wide.u32 row, t, 32; add.u64 at, at, row;\n"
        "ld.global.v2.u64 {from, to}, [at]; ld.global.u32 rank, [at+16];\n"
        "setp.lt.s32 p, rank, n;\n",
        form->bytes * 8);
    say_statement(w, form, offset);
    say(w, "ret; }\n");
}

// ---- the same in plain C ----

static uint64_t place_of(uint64_t address, int offset) {
    int behind = offset < 0 ? (offset >= -4'096 ? offset + 4'096 : 0) : offset <= 65'536 ? offset : 0;
    return ((address + (uint64_t)(int64_t)(offset - behind)) & (RIG_BYTES - 1)) + (uint64_t)behind;
}

static uint64_t whole_place_of(uint64_t address, int offset, unsigned align) {
    return (address + (uint64_t)(int64_t)offset) & (RIG_BYTES - 1) & ~(uint64_t)(align - 1);
}

// Confined: what a kernel does to `memory`.
struct model {
    uint8_t *memory;
    const struct row *rows;
    int32_t limit;
    const struct form *form;
    int offset;
};

// Element by element, of each all lanes in their order.
static void copy(const struct model *m) {
    uint8_t values[4][LANES][ELEMENT_MAX];
    unsigned bytes = m->form->bytes;
    for (unsigned k = 0; k < m->form->count; k++)
        for (unsigned i = 0; i < LANES; i++)
            if (m->rows[i].rank < m->limit)
                memcpy(values[k][i], m->memory + place_of(m->rows[i].from, m->offset) + k * bytes, bytes);
    for (unsigned k = 0; k < m->form->count; k++)
        for (unsigned i = 0; i < LANES; i++)
            if (m->rows[i].rank < m->limit)
                memcpy(m->memory + place_of(m->rows[i].to, m->offset) + k * bytes, values[k][i], bytes);
}

// Each lane adds its rank, or 32 times its number, and keeps what was there.
static void add(const struct model *m) {
    uint64_t olds[LANES] = {};
    unsigned bytes = m->form->bytes;
    for (unsigned i = 0; i < LANES; i++) {
        if (m->rows[i].rank >= m->limit)
            continue;
        uint8_t *at = m->memory + whole_place_of(m->rows[i].to, m->offset, bytes);
        memcpy(&olds[i], at, bytes);
        uint64_t sum = olds[i] + (bytes == 4 ? (uint32_t)m->rows[i].rank : UINT64_C(32) * i);
        memcpy(at, &sum, bytes);
    }
    for (unsigned i = 0; i < LANES; i++)
        if (m->rows[i].rank < m->limit)
            memcpy(m->memory + place_of(m->rows[i].from, m->offset), &olds[i], bytes);
}

// Four bytes after four: `rank` bytes are read, zeros come after them.
static void bring(const struct model *m) {
    for (unsigned at = 0; at < m->form->bytes; at += 4) {
        uint8_t values[LANES][4] = {};
        for (unsigned i = 0; i < LANES; i++)
            for (unsigned k = 0; k < 4 && m->rows[i].rank < m->limit; k++)
                if (at + k < (unsigned)m->rows[i].rank)
                    values[i][k] = m->memory[whole_place_of(m->rows[i].from, m->offset, 1) + at + k];
        for (unsigned i = 0; i < LANES; i++)
            if (m->rows[i].rank < m->limit)
                memcpy(m->memory + whole_place_of(m->rows[i].to, m->offset, 1) + at, values[i], 4);
    }
}

static void do_plainly(const struct model *m) {
    static void (*const kinds[])(const struct model *) = {copy, add, bring};
    kinds[m->form->kind](m);
}

// ---- places ----

static uint64_t random_word(uint64_t *state) {
    *state = *state * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
    return *state >> 16 ^ *state << 40;
}

enum pattern {
    ALL_AT_ONE,
    SIDE_BY_SIDE,
    OVERLAPPING,
    BACKWARDS,
    ACROSS_THE_END,
    AROUND_THE_END,
    ANYWHERE,
    PATTERNS
};

static uint64_t address(enum pattern pattern, unsigned lane, uint64_t begin, unsigned bytes,
                        uint64_t *state) {
    uint64_t high = random_word(state) & ~(uint64_t)(RIG_BYTES - 1); // of which nothing may come
    switch (pattern) {
    case ALL_AT_ONE:
        return begin;
    case SIDE_BY_SIDE:
        return begin + lane * (uint64_t)bytes;
    case OVERLAPPING:
        return begin + lane * 3ULL;
    case BACKWARDS:
        return begin - lane * (uint64_t)bytes;
    case ACROSS_THE_END:
        return RIG_BYTES - 20 * bytes + lane * (uint64_t)bytes + begin % 4 * bytes;
    case AROUND_THE_END:
        return high + RIG_BYTES - 40 + random_word(state) % 80;
    case ANYWHERE:
    case PATTERNS:
        break;
    }
    return high + zones[random_word(state) % 3] + random_word(state) % ZONE;
}

static void choose(struct row *rows, enum pattern from, enum pattern to, unsigned bytes, uint64_t *state) {
    uint64_t begin = (8 << 20) + 10'000 + random_word(state) % 64, end = begin + random_word(state) % 64;
    for (unsigned i = 0; i < LANES; i++)
        rows[i] = (struct row){.from = address(from, i, begin, bytes, state),
                               .to = address(to, i, end + 10'000, bytes, state),
                               .rank = (int32_t)(random_word(state) % 60)};
}

// ---- both ----

static void fill(uint8_t *memory, uint64_t *state) {
    for (unsigned z = 0; z < TW_COUNT(zones); z++)
        for (uint64_t at = 0; at < ZONE; at += 8) {
            uint64_t word = random_word(state);
            memcpy(memory + zones[z] + at, &word, sizeof word);
        }
}

static void check_zones(const uint8_t *memory, const uint8_t *want, const struct form *form, int offset) {
    for (unsigned z = 0; z < TW_COUNT(zones); z++)
        ck_assert_msg(memcmp(memory + zones[z], want + zones[z], ZONE) == 0,
                      "%s, offset %d: other bytes from %" PRIu64 " on", form->type, offset, zones[z]);
}

// Of all pairs of patterns every third: others of other forms.
enum { EVERY = 3 };
static void check_form(struct rig *rig, uint8_t *want, const struct form *form, int offset, int opt_level,
                       unsigned first) {
    struct kernel k;
    char text[2'048];
    say_kernel(&(struct writer){.text = text, .size = sizeof text}, form, offset);
    uint64_t state = 1, kept = rig->next, table = rig_alloc(rig, LANES * sizeof(struct row));
    struct row *rows = rig_at(rig, table);
    rig->opt_level = opt_level;
    kernel_from_ptx(rig, &k, text, "k", LANES, LANES);
    if (opt_level == TW_KERNEL_INTERPRETED)
        ck_assert_int_eq(k.info.variant.opt_level, opt_level);
    for (unsigned n = first; n < PATTERNS * PATTERNS; n += EVERY) {
        static const int32_t limits[] = {100, 50, 100, 5, 0};
        struct {
            uint64_t rows;
            int32_t limit;
            uint32_t unused;
        } params = {table, limits[random_word(&state) % TW_COUNT(limits)], 0};
        choose(rows, (enum pattern)(n / PATTERNS), (enum pattern)(n % PATTERNS), form->bytes * form->count,
               &state);
        do_plainly(&(struct model){want, rows, params.limit, form, offset});
        rig->alone = random_word(&state) % 2;
        ck_assert_uint_eq(rig_launch(rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){LANES, 1, 1}, 0, &params,
                                     sizeof params),
                          TW_KERNEL_OK);
        check_zones(rig->base, want, form, offset);
    }
    rig->next = kept;
    kernel_done(&k);
}

TW_TEST("lanes copy and add from anywhere to anywhere, and touch nothing else") {
    struct rig rig;
    uint64_t state = 7;
    rig_init(&rig);
    rig.next = 16 << 20; // away from the zones
    ck_assert_int_eq(mprotect(rig.base, RIG_BYTES + ZONE, PROT_READ | PROT_WRITE), 0);
    uint8_t *want =
        mmap(NULL, OUTSIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(want, MAP_FAILED);
    fill(rig.base, &state);
    state = 7;
    fill(want, &state);
    for (unsigned f = 0; f < TW_COUNT(forms); f++)
        for (unsigned o = 0; o < TW_COUNT(offsets); o++) {
            check_form(&rig, want, &forms[f], offsets[o], TW_KERNEL_INTERPRETED, (f + o) % EVERY);
            check_form(&rig, want, &forms[f], offsets[o], TW_KERNEL_LIGHT, (f + o) % EVERY);
        }
    munmap(want, OUTSIDE);
    rig_done(&rig);
}

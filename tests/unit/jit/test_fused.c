// SPDX-License-Identifier: Apache-2.0
//
// Products of bfloats that lie in the middle between two bfloats, with a third one added that is too small for anything
// but to decide between them: a multiply-add rounds once, so it has to.

#include "harness/test.h"
#include "kernel_run.h"

enum { CASES_MAX = 32768 };

static const char *const text =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)\n{\n"
    ".reg .b16 %h<5>; .reg .b32 %r<9>; .reg .b64 %d<9>;\n"
    "ld.param.u64 %d1, [a]; ld.param.u64 %d2, [b]; ld.param.u64 %d3, [c]; ld.param.u64 %d4, [d];\n"
    "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x; mad.lo.u32 %r1, %r1, 32, %r2;\n"
    "mul.wide.u32 %d5, %r1, 2; add.u64 %d1, %d1, %d5; add.u64 %d2, %d2, %d5; add.u64 %d3, %d3, %d5;\n"
    "mul.wide.u32 %d6, %r1, 8; add.u64 %d4, %d4, %d6;\n"
    "ld.global.b16 %h1, [%d1]; ld.global.b16 %h2, [%d2]; ld.global.b16 %h3, [%d3];\n"
    "fma.rn.bf16 %h4, %h1, %h2, %h3; st.global.b16 [%d4], %h4;\n"
    "mov.b32 %r3, {%h1, %h1}; mov.b32 %r4, {%h2, %h2}; mov.b32 %r5, {%h3, %h3};\n"
    "fma.rn.bf16x2 %r6, %r3, %r4, %r5; st.global.b32 [%d4+4], %r6;\nret;\n}\n";

struct cases {
    uint16_t a[CASES_MAX], b[CASES_MAX], c[CASES_MAX], wanted[CASES_MAX];
    uint32_t count;
};

// Of a number that a bfloat holds exactly.
static uint16_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ck_assert_uint_eq(bits & 0xffff, 0);
    return (uint16_t)(bits >> 16);
}

static void add(struct cases *cases, float a, float b, float c, float wanted) {
    ck_assert_uint_lt(cases->count, CASES_MAX);
    cases->a[cases->count] = bits_of(a);
    cases->b[cases->count] = bits_of(b);
    cases->c[cases->count] = bits_of(c);
    cases->wanted[cases->count++] = bits_of(wanted);
}

// x·y has nine bits and is odd, so that it lies between the even numbers beside it, of eight bits.
static void add_product(struct cases *cases, int x, int y) {
    int product = x * y, even = product % 4 == 1 ? product - 1 : product + 1;
    static const float tiny[] = {0x1p-3f, 0x1p-40f, 0x1p-60f, 0x1p-126f, 0x1p-130f};
    for (int sign = -1; sign <= 1; sign += 2) {
        float p = (float)(sign * product);
        add(cases, (float)(sign * x), (float)y, 0, (float)(sign * even));
        for (size_t i = 0; i < TW_COUNT(tiny); i++) {
            add(cases, (float)(sign * x), (float)y, tiny[i], p + 1);
            add(cases, (float)(sign * x), (float)y, -tiny[i], p - 1);
        }
    }
}

static void check(struct rig *rig, const struct kernel *k, const struct cases *cases) {
    uint32_t blocks = (cases->count + 31) / 32;
    uint64_t params[4];
    const uint16_t *inputs[] = {cases->a, cases->b, cases->c};
    for (unsigned i = 0; i < 3; i++) {
        params[i] = rig_alloc(rig, blocks * 64ULL);
        memcpy(rig_at(rig, params[i]), inputs[i], cases->count * sizeof(uint16_t));
    }
    params[3] = rig_alloc(rig, blocks * 256ULL);
    ck_assert_uint_eq(
        rig_launch(rig, k, (uint32_t[]){blocks, 1, 1}, (uint32_t[]){32, 1, 1}, 0, params, sizeof params),
        TW_KERNEL_OK);
    const uint16_t *results = rig_at(rig, params[3]);
    for (uint32_t i = 0; i < cases->count; i++) {
        const uint16_t *got = results + 4ULL * i;
        ck_assert_msg(got[0] == cases->wanted[i] && got[2] == cases->wanted[i] && got[3] == cases->wanted[i],
                      "%04x * %04x + %04x: %04x and %04x %04x, not %04x", cases->a[i], cases->b[i],
                      cases->c[i], got[0], got[2], got[3], cases->wanted[i]);
    }
}

TW_TEST("a sum that decides between two bfloats does so however small it is") {
    static struct cases cases;
    for (int x = 3; x < 256; x += 2)
        for (int y = x; y < 256; y += 2)
            if (x * y > 256 && x * y < 512)
                add_product(&cases, x, y);
    ck_assert_uint_gt(cases.count, 3000);
    for (int opt_level = 0; opt_level <= 1; opt_level++) {
        struct rig rig;
        struct kernel k;
        rig_init(&rig);
        rig.opt_level = opt_level;
        kernel_from_ptx(&rig, &k, text, "k", 32, 32);
        check(&rig, &k, &cases);
        kernel_done(&k);
        rig_done(&rig);
    }
}

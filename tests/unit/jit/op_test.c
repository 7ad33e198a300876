// SPDX-License-Identifier: Apache-2.0
//
// See op_test.h. Values are corner cases and a fixed pseudo-random sequence, the same in every run.

#include "op_test.h"

#include "harness/test.h"

enum { N = 512 };

static const char *const reg_types[] = {".b16", ".b32", ".b64"};
static const unsigned reg_bits[] = {16, 32, 64};

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33 ^ *state << 31;
}

static uint64_t awkward_integer(uint64_t *state, unsigned bits) {
    static const uint64_t corner[] = {0,  1,  2,  3,   7,   8,   15,  16,     31,     32,    33,
                                      63, 64, 65, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff};
    uint64_t r = next_random(state), top = UINT64_C(1) << (bits - 1);
    switch (r % 8) {
    case 0:
    case 1:
    case 2:
        return corner[r / 8 % TW_COUNT(corner)];
    case 3:
        return top - 1 + r / 8 % 3;
    case 4:
        return ~(r / 8 % 5);
    case 5:
        return UINT64_C(1) << (r / 8 % bits);
    default:
        return next_random(state);
    }
}

static uint64_t awkward_float(uint64_t *state, unsigned bits) {
    static const uint32_t f32[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                   0xff800000, 0x7fc00000, 0x00000001, 0x807fffff, 0x00800000,
                                   0x7f7fffff, 0xff7fffff, 0x3f000000, 0x4b000000, 0x4effffff,
                                   0x4f000000, 0xcf000000, 0x40490fdb, 0x3effffff, 0x3fc00000,
                                   0xc0200000, 0x5f000000, 0x33800000, 0x34000001, 0x7fa00001};
    uint64_t r = next_random(state);
    float f;
    uint32_t word = f32[r / 4 % TW_COUNT(f32)];
    if (r % 4 == 1)
        word = (uint32_t)next_random(state);
    if (r % 4 >= 2) // of moderate size
        word = (uint32_t)(next_random(state) & 0x807fffff) | (uint32_t)(120 + r / 4 % 16) << 23;
    if (bits == 32)
        return word;
    if (bits == 16) // half: the same ideas by the upper bits
        return r % 4 == 0 ? word >> 16 & 0x8000 : next_random(state) & 0xffff;
    memcpy(&f, &word, sizeof f);
    double d = (double)f + (r % 3 ? 0 : (double)f * 1e-9);
    uint64_t wide;
    memcpy(&wide, &d, sizeof wide);
    return wide;
}

static void kernel_text(const struct op_case *op, bool uniform, bool guarded, char *out, size_t size) {
    size_t n = 0;
#define SAY(...) n += (size_t)snprintf(out + n, size - n, __VA_ARGS__)
    SAY(".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 pa, .param .u64 pb, "
        ".param .u64 pc, .param .u64 pd) {\n");
    SAY(".reg .b64 %%r<8>, x, y;\n.reg .b32 t, u;\n.reg .pred p, q, g;\n.reg %s d;\n",
        op->dst == OP_PRED ? ".b32" : reg_types[op->dst]);
    for (unsigned i = 0; i < op->count; i++)
        SAY(".reg %s %c;\n", reg_types[op->src[i]], 'a' + (int)i);
    SAY("mov.u32 t, %%tid.x; mov.u32 u, %%ctaid.x;\nmad.lo.u32 t, u, 64, t;\n");
    // Uniform: all 32 lanes of a warp read the element of the warp's first thread.
    SAY("and.b32 u, t, %u;\nmul.wide.u32 x, u, 8;\nmul.wide.u32 y, t, 8;\n",
        uniform ? 0xffffffe0u : 0xffffffffu);
    SAY("and.b32 u, t, 3;\nsetp.ne.u32 g, u, 1;\n");
    for (unsigned i = 0; i < op->count; i++)
        SAY("ld.param.u64 %%r1, [p%c];\nadd.u64 %%r1, %%r1, x;\nld.global%s %c, [%%r1];\n", 'a' + (int)i,
            reg_types[op->src[i]], 'a' + (int)i);
    SAY("mov%s d, 77;\n", op->dst == OP_PRED ? ".b32" : reg_types[op->dst]);
    SAY("%s%s\n", guarded ? "@g " : "", op->text);
    if (op->dst == OP_PRED)
        SAY("%sselp.b32 d, 1, 0, p;\n", guarded ? "@g " : "");
    SAY("ld.param.u64 %%r2, [pd];\nadd.u64 %%r2, %%r2, y;\nst.global%s [%%r2], d;\nret;\n}\n",
        op->dst == OP_PRED ? ".b32" : reg_types[op->dst]);
#undef SAY
}

static bool is_nan(uint64_t v, enum op_width width) {
    return width == OP_B32 ? (v & 0x7fffffff) > 0x7f800000
                           : width == OP_B64 && v << 1 > UINT64_C(0xffe) << 52;
}

// Any NaN will do for a NaN: what its bits are is left open here.
static bool same(const struct op_case *op, uint64_t got, uint64_t a, uint64_t b, uint64_t c,
                 uint64_t *ret_want) {
    *ret_want = op->want ? op->want(a, b, c) : 0;
    if (op->floats && !op->accepts && is_nan(*ret_want, op->dst))
        return is_nan(got, op->dst);
    return op->accepts ? op->accepts(got, a, b, c) : got == *ret_want;
}

static void run_case(const struct op_case *op, bool uniform, bool guarded) {
    struct rig rig;
    struct kernel k;
    char text[4096];
    uint64_t at[4], state = 12345;
    rig_init(&rig);
    kernel_text(op, uniform, guarded, text, sizeof text);
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    for (unsigned i = 0; i < 4; i++)
        at[i] = rig_alloc(&rig, N * 8);
    for (unsigned i = 0; i < op->count; i++)
        for (unsigned j = 0; j < N; j++) {
            unsigned bits = reg_bits[op->src[i]];
            uint64_t v = op->floats ? awkward_float(&state, bits) : awkward_integer(&state, bits);
            memcpy((uint8_t *)rig_at(&rig, at[i]) + 8 * j, &v, 8);
        }
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){N / 64, 1, 1}, (uint32_t[3]){64, 1, 1}, 0, at, sizeof at),
        TW_KERNEL_OK);
    for (unsigned j = 0; j < N; j++) {
        uint64_t v[3] = {}, got = 0, want;
        for (unsigned i = 0; i < op->count; i++)
            memcpy(&v[i], (uint8_t *)rig_at(&rig, at[i]) + 8 * (uniform ? j & ~31u : j),
                   reg_bits[op->src[i]] / 8);
        memcpy(&got, (uint8_t *)rig_at(&rig, at[3]) + 8 * j, op->dst == OP_PRED ? 4 : reg_bits[op->dst] / 8);
        if (guarded && (j & 3) == 1)
            ck_assert_msg(got == 77, "%s: a lane whose guard is false got %" PRIx64, op->text, got);
        else if (!same(op, got, v[0], v[1], v[2], &want))
            ck_abort_msg("%s (%s%s) of %" PRIx64 ", %" PRIx64 ", %" PRIx64 " is %" PRIx64 ", not %" PRIx64,
                         op->text, uniform ? "uniform" : "varying", guarded ? ", guarded" : "", v[0], v[1],
                         v[2], got, want);
    }
    kernel_done(&k);
    rig_done(&rig);
}

void op_check(const struct op_case *op) {
    run_case(op, false, false);
    run_case(op, true, false);
    if (!strchr(op->text, '{')) // a guard stands before one instruction
        run_case(op, false, true);
}

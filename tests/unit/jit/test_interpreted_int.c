// SPDX-License-Identifier: Apache-2.0
//
// Every form of integer instructions, comparisons of integers, logic, selections and moves becomes a program: none of them makes
// a kernel wait for LLVM. What they compute is compared by the other tests, which run by programs too.

#include "floats.h"
#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

// Between blanks.
static const char names[] =
    " add sub addc subc mul mad madc mul24 mad24 div rem min max sad abs neg popc clz brev bfi bfind bfe fns "
    "bmsk szext dp4a "
    "dp2a and or xor not cnot shl shr lop3 shf prmt setp set selp slct mov vadd vsub vabsdiff vmin vmax vshl "
    "vshr vmad vset "
    "vadd2 vsub2 vavrg2 vabsdiff2 vmin2 vmax2 vset2 vadd4 vsub4 vavrg4 vabsdiff4 vmin4 vmax4 vset4 ";

// Whether it is one of those, and takes and gives no floats.
static bool is_of_integers(struct tw_str statement) {
    struct tw_str rest = statement, name = tw_str_cut(&rest, ' ');
    struct tw_str first = tw_str_of(name.data, strcspn(name.data, ". "));
    char word[32];
    snprintf(word, sizeof word, " %.*s ", TW_STR_ARG(first));
    if (!strstr(names, word))
        return false;
    for (size_t i = first.len; i + 1 < name.len; i++)
        if (name.data[i] == '.' && (name.data[i + 1] == 'f' || strncmp(name.data + i, ".bf", 3) == 0) &&
            strncmp(name.data + i, ".f4e", 4) != 0)
            return false;
    return true;
}

// Sources come from memory, and what the statement may have written goes there, so that nothing can be left out.
static void say_kernel(struct tw_str statement, char *out, size_t size) {
    size_t n = 0;
#define SAY(...) n += (size_t)snprintf(out + n, size - n, __VA_ARGS__)
    SAY(".version 8.5\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 in) {\n"
        ".reg .pred %%p<9>;\n.reg .b16 %%h<9>;\n.reg .b32 %%r<9>, %%f<9>;\n.reg .b64 %%rd<9>, %%fd<9>, at;\n"
        ".reg .b128 %%q<9>;\nld.param.u64 at, [in];\n");
    for (unsigned i = 0; i < 9; i++)
        SAY("ld.global.b16 %%h%u, [at+%u];\nld.global.b32 %%r%u, [at+%u];\nld.global.b64 %%rd%u, [at+%u];\n"
            "setp.ne.b32 %%p%u, %%r%u, 0;\nmov.b128 %%q%u, {%%rd%u, %%rd0};\n",
            i, 8 * i, i, 8 * i, i, 8 * i, i, i, i, i);
    SAY("%.*s\n", TW_STR_ARG(statement));
    for (unsigned i = 0; i < 9; i++)
        SAY("st.global.b16 [at+%u], %%h%u;\nst.global.b32 [at+%u], %%r%u;\nst.global.b64 [at+%u], %%rd%u;\n"
            "selp.b32 %%r%u, 1, 2, %%p%u;\nst.global.b32 [at+%u], %%r%u;\nmov.b128 {%%rd0, %%rd1}, %%q%u;\n"
            "st.global.b64 [at+%u], %%rd0;\n",
            96 + 40 * i, i, 100 + 40 * i, i, 104 + 40 * i, i, i, i, 112 + 40 * i, i, i, 120 + 40 * i);
    SAY("ret;\n}\n");
#undef SAY
}

// Whether the statement, alone in a kernel, is interpreted.
static bool becomes_program(struct rig *rig, struct tw_str statement) {
    struct kernel k;
    char text[8192];
    say_kernel(statement, text, sizeof text);
    kernel_from_ptx(rig, &k, text, "k", 32, 32);
    bool is_program = k.program && k.info.variant.opt_level == TW_KERNEL_INTERPRETED;
    if (!is_program)
        fprintf(stderr, "%.*s is compiled\n", TW_STR_ARG(statement));
    kernel_done(&k);
    return is_program;
}

TW_TEST("every form of integer instructions is interpreted") {
    unsigned tried = 0, compiled = 0;
    struct rig rig;
    rig_init(&rig);
    rig.opt_level = TW_KERNEL_INTERPRETED;
    for (size_t i = 0; i < isa_run_count; i++) {
        char *statements = isa_spell_out(&isa_runs[i]);
        struct tw_str rest = tw_str_from(statements);
        while (rest.len) {
            struct tw_str line = tw_str_cut(&rest, '\n');
            if (!is_of_integers(line))
                continue;
            tried++;
            compiled += !becomes_program(&rig, line);
        }
        free(statements);
    }
    ck_assert_uint_gt(tried, 700);
    ck_assert_uint_eq(compiled, 0);
    rig_done(&rig);
}

// ---- results in place of sources ----

// Registers that go round a loop in which no lane is apart, and are written once there, keep their rows: results lie where
// sources were.
static const char rounds[] =
    ".version 8.3\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 pin) {\n"
    ".reg .b64 at; .reg .b32 t, x, a, b, i; .reg .pred p, q, v, w, more;\n"
    "ld.param.u64 at, [pin]; mov.u32 t, %tid.x; mad.wide.u32 at, t, 32, at;\n"
    "ld.global.b32 x, [at]; ld.global.b32 a, [at+4]; ld.global.b32 b, [at+8];\n"
    "setp.lt.u32 p, a, x; setp.lt.u32 q, b, x; setp.lt.u32 v, a, b; setp.eq.u32 w, a, b;\n"
    "mov.u32 i, 0; add.cc.u32 t, x, a;\n"
    "again:\n"
    "addc.cc.u32 a, a, x;\n"
    "setp.lt.xor.u32 p|q, a, x, q; setp.gt.or.s32 v|w, x, a, !v;\n"
    "@p min.relu.s32 b, b, a; @q xor.b32 b, b, a; @!w sub.s32 b, i, b; @v prmt.b32 b, b, i, b;\n"
    "add.u32 i, i, 1; setp.lt.u32 more, i, 40; @more bra again;\n"
    "addc.u32 i, 0, 0; selp.b32 t, 2, 0, p; or.b32 i, i, t; selp.b32 t, 4, 0, q; or.b32 i, i, t;\n"
    "selp.b32 t, 8, 0, v; or.b32 i, i, t; selp.b32 t, 16, 0, w; or.b32 i, i, t;\n"
    "st.global.b32 [at+16], a; st.global.b32 [at+20], b; st.global.b32 [at+24], i;\nret;\n}\n";

static uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
    uint32_t d = 0;
    for (unsigned i = 0; i < 4; i++, selector >>= 4) {
        uint32_t byte = (selector & 4 ? b : a) >> 8 * (selector & 3) & 255;
        d |= (selector & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * i;
    }
    return d;
}

static void want_rounds(const uint32_t in[3], uint32_t out[3]) {
    uint32_t x = in[0], a = in[1], b = in[2];
    bool p, q = b < x, v = a < b, w;
    uint64_t sum = (uint64_t)x + a;
    for (uint32_t i = 0; i < 40; i++) {
        sum = (uint64_t)a + x + (sum >> 32);
        a = (uint32_t)sum;
        p = (a < x) != q;
        q = (a >= x) != q;
        w = (int32_t)x <= (int32_t)a || !v;
        v = (int32_t)x > (int32_t)a || !v;
        if (p)
            b = (int32_t)a < 0 || (int32_t)b < 0 ? 0 : a < b ? a : b;
        b = q ? b ^ a : b;
        b = w ? b : i - b;
        b = v ? permuted(b, i, b) : b;
    }
    memcpy(out, (uint32_t[]){a, b, (uint32_t)(sum >> 32) | 2u * p | 4u * q | 8u * v | 16u * w}, 12);
}

TW_TEST("results of programs may lie where their sources were") {
    enum { THREADS = 100 };
    struct rig rig;
    struct kernel k;
    rig_init(&rig);
    rig.opt_level = TW_KERNEL_INTERPRETED;
    kernel_from_ptx(&rig, &k, rounds, "k", 32, 1);
    ck_assert_int_eq(k.info.variant.opt_level, TW_KERNEL_INTERPRETED);
    uint64_t at = rig_alloc(&rig, THREADS * 32);
    uint32_t(*words)[8] = rig_at(&rig, at), state = 1;
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned i = 0; i < 3; i++)
            words[t][i] = random_word(&state) >> (t & 7);
    ck_assert_uint_eq(
        rig_launch(&rig, &k, (uint32_t[3]){1, 1, 1}, (uint32_t[3]){THREADS, 1, 1}, 0, &at, sizeof at),
        TW_KERNEL_OK);
    for (uint32_t t = 0; t < THREADS; t++) {
        uint32_t want[3];
        want_rounds(words[t], want);
        for (unsigned i = 0; i < 3; i++)
            ck_assert_msg(words[t][4 + i] == want[i], "thread %u: result %u is %x, not %x", t, i,
                          words[t][4 + i], want[i]);
    }
    kernel_done(&k);
    rig_done(&rig);
}

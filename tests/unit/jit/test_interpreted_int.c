// SPDX-License-Identifier: Apache-2.0
//
// Every form of integer instructions, comparisons of integers, logic, selections and moves becomes a program: none of them makes
// a kernel wait for LLVM. What they compute is compared by the other tests, which run by programs too.

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
static bool becomes_program(struct tw_str statement) {
    struct rig rig;
    struct kernel k;
    char text[8192];
    rig_init(&rig);
    rig.opt_level = TW_KERNEL_INTERPRETED;
    say_kernel(statement, text, sizeof text);
    kernel_from_ptx(&rig, &k, text, "k", 32, 32);
    bool is_program = k.program && k.info.variant.opt_level == TW_KERNEL_INTERPRETED;
    if (!is_program)
        fprintf(stderr, "%.*s is compiled\n", TW_STR_ARG(statement));
    kernel_done(&k);
    rig_done(&rig);
    return is_program;
}

TW_TEST("every form of integer instructions is interpreted") {
    unsigned tried = 0, compiled = 0;
    for (size_t i = 0; i < isa_run_count; i++) {
        char *statements = isa_spell_out(&isa_runs[i]);
        struct tw_str rest = tw_str_from(statements);
        while (rest.len) {
            struct tw_str line = tw_str_cut(&rest, '\n');
            if (!is_of_integers(line))
                continue;
            tried++;
            compiled += !becomes_program(line);
        }
        free(statements);
    }
    ck_assert_uint_gt(tried, 700);
    ck_assert_uint_eq(compiled, 0);
}

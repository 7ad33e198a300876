// SPDX-License-Identifier: Apache-2.0
//
// The instructions of the PTX manual (8.x) up to sm_80, form by form, each compiled to code of the CPU device; and those
// that are refused, with the words that say why. What they compute is the business of the other tests. With
// TW_PTXAS=path every kernel also goes through NVIDIA's assembler, so that the list holds only what is PTX. And every
// row, type and modifier of the tables in ptx/ has to be in one of the forms, so that nothing is offered untried.

#include <unistd.h>

#include "harness/test.h"
#include "isa_forms.h"
#include "kernel_run.h"

static char *kernel_of(const char *body, unsigned sm) {
    struct tw_buf out;
    tw_buf_init(&out, 2 << 20);
    ck_assert(tw_buf_printf(&out,
                            ".version 8.5\n.target sm_%u\n.address_size 64\n"
                            ".visible .entry k(.param .u64 in) {\n.reg .pred %%p<9>;\n.reg .b16 %%h<9>;\n"
                            ".reg .b32 %%r<9>;\n.reg .b64 %%rd<9>;\n.reg .f32 %%f<9>;\n.reg .f64 %%fd<9>;\n"
                            "%sld.param.u64 %%rd8, [in];\n%sret;\n}\n",
                            sm, sm < 70 ? "" : ".reg .b128 %q<9>;\n", body));
    ck_assert(tw_buf_append_byte(&out, 0));
    return (char *)out.data;
}

// Line `number` of a text, from 1.
static struct tw_str line_of(const char *text, unsigned number) {
    struct tw_str rest = tw_str_from(text), line = TW_STR("");
    for (unsigned i = 0; i < number && rest.len; i++)
        line = tw_str_cut(&rest, '\n');
    return line;
}

static bool assembles(const char *ptx, unsigned sm) {
    const char *ptxas = getenv("TW_PTXAS");
    if (!ptxas)
        return true;
    char path[] = "/tmp/tw-isa-XXXXXX", command[512];
    int fd = mkstemp(path);
    ck_assert(fd >= 0 && write(fd, ptx, strlen(ptx)) == (ssize_t)strlen(ptx));
    close(fd);
    snprintf(command, sizeof command, "%s -arch=sm_%u %s -o /dev/null", ptxas, sm, path);
    bool good = system(command) == 0;
    unlink(path);
    return good;
}

// One in four of the rows, so that no test takes long on a slow machine.
static void run_quarter(size_t first) {
    struct rig rig;
    rig_init(&rig);
    unsigned bad = 0;
    for (size_t i = first; i < isa_run_count; i += 4) {
        struct tw_error err = {};
        unsigned sm = isa_runs[i].sm ? isa_runs[i].sm : 90;
        char *body = isa_spell_out(&isa_runs[i]), *ptx = kernel_of(body, sm);
        while (!kernel_try(ptx, "k", 32, 32, &err)) {
            const char *at = strstr(err.message, "line ");
            struct tw_str line = line_of(ptx, at ? (unsigned)strtoul(at + 5, NULL, 10) : 0);
            fprintf(stderr, "%.*s: %s\n", TW_STR_ARG(line), err.message);
            bad++;
            if (!line.len || bad > 500)
                break;
            memset(ptx + (line.data - ptx), ' ', line.len); // and on with the others
            err = (struct tw_error){};
        }
        if (isa_runs[i].sm && !assembles(ptx, sm)) {
            fprintf(stderr, "not PTX: %.200s\n", body);
            bad++;
        }
        free(ptx);
        free(body);
    }
    ck_assert_uint_eq(bad, 0);
    rig_done(&rig);
}

TW_TEST("every form of every instruction up to sm_80 runs: the first of four") {
    run_quarter(0);
}

TW_TEST("every form of every instruction up to sm_80 runs: the second of four") {
    run_quarter(1);
}

TW_TEST("every form of every instruction up to sm_80 runs: the third of four") {
    run_quarter(2);
}

TW_TEST("every form of every instruction up to sm_80 runs: the last of four") {
    run_quarter(3);
}

// What programs cannot say, in their own words: kernels with these are compiled before their first launch.
static bool may_lack_program(const char *message) {
    static const char *const without[] = {"say mbarrier.", ".sparse", "say mma.f64.f64.r",
                                          "in which a warp waits for others"};
    for (size_t i = 0; i < TW_COUNT(without); i++)
        if (strstr(message, without[i]))
            return true;
    return false;
}

// How many statements of a kernel have none and should have one.
static unsigned count_unsaid(char *ptx) {
    unsigned bad = 0;
    struct tw_error err = {};
    while (!kernel_has_program(ptx, "k", &err)) {
        const char *at = strstr(err.message, "line ");
        struct tw_str line = line_of(ptx, at ? (unsigned)strtoul(at + 5, NULL, 10) : 0);
        if (!may_lack_program(err.message)) {
            fprintf(stderr, "%.*s: %s\n", TW_STR_ARG(line), err.message);
            bad++;
        }
        if (!line.len)
            break;
        memset(ptx + (line.data - ptx), ' ', line.len); // and on with the others
        err = (struct tw_error){};
    }
    return bad;
}

TW_TEST("programs can say every form of every instruction, but for a few") {
    unsigned bad = 0;
    for (size_t i = 0; i < isa_run_count; i++) {
        char *body = isa_spell_out(&isa_runs[i]),
             *ptx = kernel_of(body, isa_runs[i].sm ? isa_runs[i].sm : 90);
        bad += count_unsaid(ptx);
        free(ptx);
        free(body);
    }
    ck_assert_uint_eq(bad, 0);
}

TW_TEST("what is not offered is refused with its name, its place and the reason") {
    struct rig rig;
    rig_init(&rig);
    for (size_t i = 0; i < isa_refused_count; i++) {
        struct tw_error err = {};
        char *ptx = kernel_of(isa_refused[i].text, 90);
        ck_assert_msg(!kernel_try(ptx, "k", 32, 32, &err), "%s", isa_refused[i].text);
        ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
        ck_assert_msg(strstr(err.message, "line 13") && strstr(err.message, isa_refused[i].why), "%s: %s",
                      isa_refused[i].text, err.message);
        free(ptx);
    }
    rig_done(&rig);
}

// ---- the tables against the list ----

static const struct {
    const char *name, *lower, *types, *groups;
} rows[] = {
#define PTX_INST(text, function, op, signature, type_count, type_set, group_set, needs)                      \
    {text, #function, " " #type_set " ", #group_set},
#include "ptx/isa.def"
#undef PTX_INST
};

static const struct {
    const char *text, *group, *value;
} modifiers[] = {
#define PTX_MODIFIER(name, kind, number) {name, #kind, #number},
#include "ptx/modifiers.def"
#undef PTX_MODIFIER
};

// The names that isa.def has for several types, and those that a type is in.
static const struct {
    const char *type, *names;
} types[] = {
    {"pred", "PRED"},
    {"b8", "BYTES"},
    {"u8", "U8 BYTES"},
    {"s8", "S8 BYTES"},
    {"b16", "B16 BITS"},
    {"b32", "B32 BITS"},
    {"b64", "B64 BITS"},
    {"b128", "B128"},
    {"u16", "U16 INTEGERS"},
    {"u32", "U32 INTEGERS"},
    {"u64", "U64 INTEGERS"},
    {"s16", "S16 INTEGERS"},
    {"s32", "S32 INTEGERS"},
    {"s64", "S64 INTEGERS"},
    {"f16", "F16 FLOATS"},
    {"f16x2", "F16X2 FLOATS"},
    {"bf16", "BF16 FLOATS"},
    {"bf16x2", "BF16X2 FLOATS"},
    {"tf32", "TF32"},
    {"f32", "F32 BIG_FLOATS FLOATS"},
    {"f64", "F64 BIG_FLOATS FLOATS"},
    {"e4m3x2", "E4M3X2"},
    {"e5m2x2", "E5M2X2"},
    {"s4", "SMALL NARROW"},
    {"u4", "SMALL NARROW"},
    {"s2", "NARROW"},
    {"u2", "NARROW"},
    {"b1", "SMALL"},
};

static bool has_type(size_t row, struct tw_str names) {
    while (names.len) {
        struct tw_str name = tw_str_cut(&names, ' ');
        char word[32];
        snprintf(word, sizeof word, " %.*s ", (int)name.len, name.data);
        if (strstr(rows[row].types, word))
            return true;
    }
    return false;
}

// All forms, one statement a line, without guards.
static char *all_forms(void) {
    struct tw_buf out;
    tw_buf_init(&out, 32 << 20);
    for (size_t i = 0; i < isa_run_count; i++) {
        char *body = isa_spell_out(&isa_runs[i]);
        struct tw_str rest = tw_str_from(body);
        while (rest.len) {
            struct tw_str line = tw_str_cut(&rest, '\n');
            if (line.len && line.data[0] == '@')
                (void)tw_str_cut(&line, ' ');
            ck_assert(tw_buf_printf(&out, "%.*s\n", (int)line.len, line.data));
        }
        free(body);
    }
    ck_assert(tw_buf_append_byte(&out, 0));
    return (char *)out.data;
}

// Whether `name` stands in a statement with all these modifiers ("" is none), in the row that `type` chooses.
static bool is_tried(const char *forms, const char *name, const char *modifier, const char *type) {
    struct tw_str rest = tw_str_from(forms);
    while (rest.len) {
        struct tw_str line = tw_str_cut(&rest, '\n'), text = tw_str_of(line.data, strcspn(line.data, " ;\n"));
        struct tw_str first = tw_str_cut(&text, '.');
        bool found = !modifier[0], typed = !type[0];
        if (!tw_str_equal(first, tw_str_from(name)))
            continue;
        while (text.len) {
            struct tw_str part = tw_str_cut(&text, '.');
            found |= tw_str_equal(part, tw_str_from(modifier));
            typed |= tw_str_equal(part, tw_str_from(type));
        }
        if (found && typed)
            return true;
    }
    return false;
}

static bool is_refused(const char *name) {
    for (size_t i = 0; i < isa_refused_count; i++)
        if (strncmp(isa_refused[i].text, name, strlen(name)) == 0)
            return true;
    return false;
}

TW_TEST("every row of the table of instructions is in the list, in each of its types") {
    char *forms = all_forms();
    unsigned missing = 0;
    for (size_t r = 0; r < TW_COUNT(rows); r++) {
        bool is_off = strcmp(rows[r].lower, "refused") == 0;
        if (is_off ? !is_refused(rows[r].name) : !is_tried(forms, rows[r].name, "", "")) {
            fprintf(stderr, "%s is not in the list\n", rows[r].name);
            missing++;
        }
        for (size_t i = 0; !is_off && i < TW_COUNT(types); i++)
            if (has_type(r, tw_str_from(types[i].names)) &&
                !is_tried(forms, rows[r].name, "", types[i].type)) {
                fprintf(stderr, "%s: .%s is not in the list\n", rows[r].name, types[i].type);
                missing++;
            }
    }
    free(forms);
    ck_assert_uint_eq(missing, 0);
}

static bool takes(size_t row, size_t modifier) {
    char group[32];
    snprintf(group, sizeof group, "G(%s)", modifiers[modifier].group);
    return strstr(rows[row].groups, group) != NULL;
}

// A statement of this name with another modifier of the same group, which becomes this one.
static bool exchange(const char *forms, const char *name, size_t modifier, char *ret_text, size_t size) {
    for (size_t m = 0; m < TW_COUNT(modifiers); m++) {
        struct tw_str rest = tw_str_from(forms);
        char old[32];
        snprintf(old, sizeof old, ".%s", modifiers[m].text);
        while (strcmp(modifiers[m].group, modifiers[modifier].group) == 0 && rest.len) {
            struct tw_str line = tw_str_cut(&rest, '\n');
            char text[512];
            snprintf(text, sizeof text, "%.*s", (int)line.len, line.data);
            size_t len = strlen(name), head = strcspn(text, " ;");
            char *at = strstr(text, old), behind = at ? at[strlen(old)] : 0;
            if (strncmp(text, name, len) != 0 || text[len] != '.' || !at || at > text + head ||
                (behind != '.' && behind != ' ' && behind != ';'))
                continue;
            snprintf(ret_text, size, "%.*s.%s%s", (int)(at - text), text, modifiers[modifier].text,
                     at + strlen(old));
            return true;
        }
    }
    return false;
}

// This modifier, or one that means the same, stands in a statement of this name.
static bool is_modifier_tried(const char *forms, const char *name, size_t modifier) {
    for (size_t m = 0; m < TW_COUNT(modifiers); m++)
        if (strcmp(modifiers[m].group, modifiers[modifier].group) == 0 &&
            strcmp(modifiers[m].value, modifiers[modifier].value) == 0 &&
            is_tried(forms, name, modifiers[m].text, ""))
            return true;
    return false;
}

// A modifier that a row takes is in the list; or, where its group has others for other instructions, it is refused.
TW_TEST("every modifier of every row is in the list, or is refused there") {
    struct rig rig;
    rig_init(&rig);
    char *forms = all_forms();
    unsigned missing = 0;
    for (size_t r = 0; r < TW_COUNT(rows); r++)
        for (size_t m = 0; m < TW_COUNT(modifiers); m++) {
            char text[512];
            struct tw_error err = {};
            if (!takes(r, m) || is_modifier_tried(forms, rows[r].name, m))
                continue;
            bool could = exchange(forms, rows[r].name, m, text, sizeof text);
            char *ptx = could ? kernel_of(text, 90) : NULL;
            if (!could || kernel_try(ptx, "k", 32, 32, &err)) {
                fprintf(stderr, "%s: .%s is taken, and is not in the list (%s)\n", rows[r].name,
                        modifiers[m].text, could ? text : "");
                missing++;
            }
            free(ptx);
        }
    free(forms);
    ck_assert_uint_eq(missing, 0);
    rig_done(&rig);
}

TW_TEST("every special register is in the list") {
    static const char *const registers[] = {
#define PTX_SREG(text, number, type) text,
#include "ptx/sregs.def"
#undef PTX_SREG
    };
    char *forms = all_forms();
    for (size_t i = 0; i < TW_COUNT(registers); i++) {
        char text[64];
        snprintf(text, sizeof text, "%%%s;", registers[i]);
        ck_assert_msg(strstr(forms, text), "%s is not in the list", registers[i]);
    }
    free(forms);
}

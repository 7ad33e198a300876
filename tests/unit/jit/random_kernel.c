// SPDX-License-Identifier: Apache-2.0
//
// See random_kernel.h. Every choice takes one byte; when they are used up every choice is 0, which ends the
// kernel soon. NaNs are replaced as they come, since their payloads are not PTX's business.
//
//     kernel := prologue statement* epilogue
//     statement := operation | "@p" operation | if | loop | load | store | leave

#include "random_kernel.h"

#include <stdarg.h>

#include "harness/test.h"
#include "random_maker.h"

unsigned random_pick(struct random_maker *m, unsigned count) {
    if (m->bytes.len == 0)
        return 0;
    unsigned byte = m->bytes.data[0];
    m->bytes = tw_span_of(m->bytes.data + 1, m->bytes.len - 1);
    return byte % count;
}

void random_emit(struct random_maker *m, const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    ck_assert(len > 0 && (size_t)len < sizeof line && tw_buf_append(m->out, line, (size_t)len));
}

struct random_name random_source(struct random_maker *m, char kind, unsigned count) {
    static const char *const numbers[] = {"0",  "1",  "-1",  "2",     "7",           "31",        "32",
                                          "33", "63", "255", "65535", "-2147483648", "2147483647"};
    struct random_name name;
    unsigned choice = random_pick(m, count + 3);
    if (choice < count || kind == 'f' || kind == 'd')
        snprintf(name.text, sizeof name.text, "%%%c%u", kind, choice % count);
    else
        snprintf(name.text, sizeof name.text, "%s",
                 numbers[random_pick(m, kind == 's' ? 10 : TW_COUNT(numbers))]);
    return name;
}

struct random_name random_target(struct random_maker *m, char kind, unsigned count) {
    struct random_name name;
    snprintf(name.text, sizeof name.text, "%%%c%u", kind, random_pick(m, count));
    return name;
}

void random_guard(struct random_maker *m) {
    unsigned choice = random_pick(m, 8);
    if (choice < 2)
        random_emit(m, "    @%s%%p%u ", choice ? "!" : "", random_pick(m, PREDS));
    else
        random_emit(m, "    ");
}

// ---- operations ----

static void integer(struct random_maker *m) {
    static const char *const both[] = {"add", "sub", "mul.lo", "mul.hi", "min", "max", "div", "rem"};
    static const char *const bitwise[] = {"and", "or", "xor"};
    static const struct {
        char kind;
        unsigned count, bits;
    } widths[] = {{'r', R32, 32}, {'x', R64, 64}, {'s', R16, 16}};
    unsigned w = random_pick(m, 4) % 3;
    char kind = widths[w].kind;
    unsigned count = widths[w].count, bits = widths[w].bits, choice = random_pick(m, 14);
    struct random_name d = random_target(m, kind, count), a = random_source(m, kind, count),
                       b = random_source(m, kind, count), c = random_source(m, 'r', R32);
    char sign = random_pick(m, 2) ? 's' : 'u';
    random_guard(m);
    if (choice < TW_COUNT(both))
        random_emit(m, "%s.%c%u %s, %s, %s;\n", both[choice], sign, bits, d.text, a.text, b.text);
    else if (choice < 11)
        random_emit(m, "%s.b%u %s, %s, %s;\n", bitwise[choice - 8], bits, d.text, a.text, b.text);
    else if (choice == 11)
        random_emit(m, "shl.b%u %s, %s, %s;\n", bits, d.text, a.text, c.text);
    else if (choice == 12)
        random_emit(m, "shr.%c%u %s, %s, %s;\n", sign, bits, d.text, a.text, c.text);
    else
        random_emit(m, "not.b%u %s, %s;\n", bits, d.text, a.text);
}

static void bits_op(struct random_maker *m) {
    struct random_name d = random_target(m, 'r', R32), a = random_source(m, 'r', R32),
                       b = random_source(m, 'r', R32), c = random_source(m, 'r', R32);
    struct random_name wide = random_target(m, 'x', R64), x = random_target(m, 'x', R64);
    char sign = random_pick(m, 2) ? 's' : 'u';
    unsigned choice = random_pick(m, 12);
    random_guard(m);
    switch (choice) {
    case 0:
        random_emit(m, "popc.b32 %s, %s;\n", d.text, a.text);
        break;
    case 1:
        random_emit(m, "clz.b32 %s, %s;\n", d.text, a.text);
        break;
    case 2:
        random_emit(m, "brev.b32 %s, %s;\n", d.text, a.text);
        break;
    case 3:
        random_emit(m, "bfe.%c32 %s, %s, %s, %s;\n", sign, d.text, a.text, b.text, c.text);
        break;
    case 4:
        random_emit(m, "lop3.b32 %s, %s, %s, %s, 0x%02x;\n", d.text, a.text, b.text, c.text,
                    random_pick(m, 256));
        break;
    case 5:
        random_emit(m, "prmt.b32 %s, %s, %s, %s;\n", d.text, a.text, b.text, c.text);
        break;
    case 6:
        random_emit(m, "mad.lo.%c32 %s, %s, %s, %s;\n", sign, d.text, a.text, b.text, c.text);
        break;
    case 7:
        random_emit(m, "mul.wide.%c32 %s, %s, %s;\n", sign, wide.text, a.text, b.text);
        break;
    case 8:
        random_emit(m, "sad.%c32 %s, %s, %s, %s;\n", sign, d.text, a.text, b.text, c.text);
        break;
    case 9:
        random_emit(m, "abs.s32 %s, %s;\n", d.text, random_target(m, 'r', R32).text);
        break;
    case 10:
        random_emit(m, "popc.b64 %s, %s;\n", d.text, x.text);
        break;
    default:
        random_emit(m, "selp.b32 %s, %s, %s, %%p%u;\n", d.text, a.text, b.text, random_pick(m, PREDS));
        break;
    }
}

static void floating(struct random_maker *m) {
    static const char *const both[] = {"add.rn", "sub.rn", "mul.rn", "div.rn", "min", "max"};
    bool wide = random_pick(m, 3) == 0;
    char kind = wide ? 'd' : 'f';
    unsigned count = wide ? F64 : F32, bits = wide ? 64 : 32, choice = random_pick(m, 9);
    struct random_name d = random_target(m, kind, count), a = random_source(m, kind, count),
                       b = random_source(m, kind, count), c = random_source(m, kind, count);
    if (choice < TW_COUNT(both))
        random_emit(m, "    %s.f%u %s, %s, %s;\n", both[choice], bits, d.text, a.text, b.text);
    else if (choice == 6)
        random_emit(m, "    fma.rn.f%u %s, %s, %s, %s;\n", bits, d.text, a.text, b.text, c.text);
    else if (choice == 7)
        random_emit(m, "    sqrt.rn.f%u %s, %s;\n", bits, d.text, a.text);
    else
        random_emit(m, "    neg.f%u %s, %s;\n", bits, d.text, a.text);
    // No NaN is left: its bits may differ.
    random_emit(m, "    setp.nan.f%u %%q, %s, %s;\n    selp.f%u %s, %s, %s, %%q;\n", bits, d.text, d.text,
                bits, d.text, wide ? "0d3FF8000000000000" : "0f3FC00000", d.text);
}

static void conversion(struct random_maker *m) {
    static const struct {
        const char *op;
        char to, from;
    } forms[] = {{"cvt.rn.f32.s32", 'f', 'r'},  {"cvt.rn.f32.u32", 'f', 'r'},  {"cvt.rn.f64.s32", 'd', 'r'},
                 {"cvt.rn.f32.u64", 'f', 'x'},  {"cvt.rzi.s32.f32", 'r', 'f'}, {"cvt.rni.u32.f32", 'r', 'f'},
                 {"cvt.rmi.s64.f32", 'x', 'f'}, {"cvt.rpi.s32.f64", 'r', 'd'}, {"cvt.f64.f32", 'd', 'f'},
                 {"cvt.rn.f32.f64", 'f', 'd'},  {"cvt.s64.s32", 'x', 'r'},     {"cvt.u64.u32", 'x', 'r'},
                 {"cvt.u32.u64", 'r', 'x'},     {"cvt.u16.u32", 's', 'r'},     {"cvt.s32.s16", 'r', 's'},
                 {"cvt.u32.u16", 'r', 's'},     {"cvt.s32.s8", 'r', 'r'}};
    unsigned form = random_pick(m, TW_COUNT(forms)), to = random_pick(m, 4), from = random_pick(m, 4);
    random_guard(m);
    random_emit(m, "%s %%%c%u, %%%c%u;\n", forms[form].op, forms[form].to, to, forms[form].from, from);
}

static void comparison(struct random_maker *m) {
    static const char *const orders[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    static const char *const combines[] = {"and", "or", "xor"};
    unsigned p = random_pick(m, PREDS), form = random_pick(m, 6);
    const char *order = orders[random_pick(m, 6)];
    struct random_name a = random_target(m, 'r', R32), b = random_source(m, 'r', R32);
    char sign = random_pick(m, 2) ? 's' : 'u';
    if (form == 0)
        random_emit(m, "    setp.%s.f32 %%p%u, %%f%u, %%f%u;\n", order, p, random_pick(m, F32),
                    random_pick(m, F32));
    else if (form == 1)
        random_emit(m, "    setp.%s.%c64 %%p%u, %%x%u, %%x%u;\n", order, sign, p, random_pick(m, R64),
                    random_pick(m, R64));
    else if (form == 2)
        random_emit(m, "    setp.%s.%s.%c32 %%p%u|%%p%u, %s, %s, %s%%p%u;\n", order,
                    combines[random_pick(m, 3)], sign, p, (p + 1) % PREDS, a.text, b.text,
                    random_pick(m, 2) ? "!" : "", random_pick(m, PREDS));
    else
        random_emit(m, "    setp.%s.%c32 %%p%u, %s, %s;\n", order, sign, p, a.text, b.text);
}

// Of `in` anywhere, of `out` in the thread's own part.
static void memory(struct random_maker *m) {
    struct random_name index = random_target(m, 'r', R32), r = random_target(m, 'r', R32);
    unsigned choice = random_pick(m, 5);
    random_emit(m, "    and.b32 %%i, %s, %u;\n    mul.wide.u32 %%a, %%i, 4;\n    add.u64 %%a, %%a, %s;\n",
                index.text, choice < 2 ? 62 : 15, choice < 2 ? "%in" : "%out");
    random_guard(m);
    switch (choice) {
    case 0:
        random_emit(m, "ld.global.u32 %s, [%%a];\n", r.text);
        break;
    case 1:
        random_emit(m, "ld.global.s8 %s, [%%a+3];\n", r.text);
        break;
    case 2:
        random_emit(m, "st.global.u32 [%%a], %s;\n", r.text);
        break;
    case 3:
        random_emit(m, "st.global.u16 [%%a+2], %%s%u;\n", random_pick(m, R16));
        break;
    default:
        random_emit(m, "ld.global.u32 %s, [%%a];\n", r.text);
        break;
    }
}

// ---- structure ----

static void statements(struct random_maker *m, unsigned most);

static void branch(struct random_maker *m) {
    unsigned label = ++m->labels, p = random_pick(m, PREDS);
    bool has_else = random_pick(m, 2);
    random_emit(m, "    @%s%%p%u bra E%u;\n", random_pick(m, 2) ? "!" : "", p, label);
    statements(m, 8);
    if (has_else)
        random_emit(m, "    bra D%u;\n", label);
    random_emit(m, "E%u:\n", label);
    if (has_else) {
        statements(m, 8);
        random_emit(m, "D%u:\n", label);
    }
}

// Up to eight rounds, as many as a register says: others in each thread.
static void loop(struct random_maker *m) {
    unsigned label = ++m->labels, outer = m->loop_exit, counter = m->depth;
    random_emit(m, "    and.b32 %%n%u, %s, 7;\nL%u:\n", counter, random_target(m, 'r', R32).text, label);
    m->loop_exit = label;
    statements(m, 7);
    m->loop_exit = outer;
    random_emit(m, "    sub.s32 %%n%u, %%n%u, 1;\n    setp.ge.s32 %%q, %%n%u, 0;\n    @%%q bra L%u;\nX%u:\n",
                counter, counter, counter, label, label);
}

static void leave(struct random_maker *m) {
    unsigned p = random_pick(m, PREDS), q = random_pick(m, PREDS);
    if (m->loop_exit && random_pick(m, 4))
        random_emit(m, "    @%%p%u bra X%u;\n", p, m->loop_exit);
    else // few: what is left of a warp goes on
        random_emit(m, "    and.pred %%q, %%p%u, %%p%u;\n    @%%q bra LEAVE;\n", p, q);
}

static void statement(struct random_maker *m) {
    unsigned choice = random_pick(m, m->is_rich ? 36 : 24);
    m->statements++;
    if (choice >= 24)
        random_rich(m);
    else if (choice >= 20 && m->depth < DEPTH_MAX) {
        m->depth++;
        (choice == 23 ? loop : branch)(m);
        m->depth--;
    } else if (choice == 19) {
        leave(m);
    } else if (choice >= 16) {
        memory(m);
    } else if (choice >= 13) {
        comparison(m);
    } else if (choice >= 11) {
        conversion(m);
    } else if (choice >= 8) {
        floating(m);
    } else if (choice >= 5) {
        bits_op(m);
    } else {
        integer(m);
    }
}

static void statements(struct random_maker *m, unsigned most) {
    for (unsigned count = 1 + random_pick(m, most); count > 0 && m->statements < STATEMENTS_MAX; count--)
        statement(m);
}

static void local_array(struct random_maker *m) {
    random_emit(
        m, "    .reg .b16 %%h; .reg .b64 %%l; .local .align 8 .b8 frame[64];\n    mov.u64 %%l, frame;\n");
    for (unsigned i = 0; i < 16; i++)
        random_emit(m, "    st.local.u32 [%%l+%u], %u;\n", i * 4, i * 77);
}

static void prologue(struct random_maker *m) {
    random_emit(
        m, ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 "
           "out)\n{\n");
    random_emit(
        m,
        "    .reg .b32 %%r<%d>, %%i, %%n<%d>, %%t, %%u, %%v, %%w; .reg .b64 %%x<%d>, %%in, %%out, %%a; .reg "
        ".b16 "
        "%%s<%d>;\n",
        R32, DEPTH_MAX + 1, R64, R16);
    random_emit(m, "    .reg .f32 %%f<%d>; .reg .f64 %%d<%d>; .reg .pred %%p<%d>, %%q;\n", F32, F64, PREDS);
    random_emit(
        m, "    ld.param.u64 %%in, [in];\n    ld.param.u64 %%out, [out];\n    mov.u32 %%t, %%tid.x;\n    "
           "mov.u32 %%u, %%ctaid.x;\n    mov.u32 %%v, %%ntid.y;\n    mul.lo.u32 %%u, %%u, %%v;\n    mov.u32 "
           "%%w, %%tid.y;\n    add.u32 %%u, %%u, %%w;\n");
    random_emit(
        m,
        "    mov.u32 %%v, %%ntid.x;\n    mad.lo.u32 %%i, %%u, %%v, %%t;\n    mul.wide.u32 %%a, %%i, %d;\n   "
        " add.u64 %%out, %%out, %%a;\n",
        RANDOM_OUT_WORDS * 4);
    for (unsigned i = 0; i < R32; i++) // some alike in all threads, some counting, some different
        random_emit(m,
                    i % 3 == 0   ? "    ld.global.u32 %%r%u, [%%in+%u];\n"
                    : i % 3 == 1 ? "    add.u32 %%r%u, %%t, %u;\n"
                                 : "    mad.lo.u32 %%r%u, %%i, -1640531527, %u;\n",
                    i, i * 4);
    for (unsigned i = 1; i < R32; i += 6) // and some by row
        random_emit(m, "    mad.lo.u32 %%r%u, %%w, %u, %%r%u;\n", i, 1 + i, i);
    for (unsigned i = 0; i < R64; i++)
        random_emit(m, "    mul.wide.s32 %%x%u, %%r%u, %%r%u;\n", i, i, i + 5);
    for (unsigned i = 0; i < R16; i++)
        random_emit(m, "    cvt.u16.u32 %%s%u, %%r%u;\n", i, i + 1);
    for (unsigned i = 0; i < F32; i++)
        random_emit(m, "    cvt.rn.f32.s32 %%f%u, %%r%u;\n", i, i);
    for (unsigned i = 0; i < F64; i++)
        random_emit(m, "    cvt.rn.f64.s32 %%d%u, %%r%u;\n", i, i + 2);
    for (unsigned i = 0; i < PREDS; i++)
        random_emit(m, "    setp.lt.s32 %%p%u, %%r%u, %%r%u;\n", i, i + 1, i + 3);
}

static void epilogue(struct random_maker *m) {
    unsigned at = 16 * 4; // the first 16 words are the kernel's to write
    random_emit(m, "LEAVE:\n");
    for (unsigned i = 0; i < R32; i++, at += 4)
        random_emit(m, "    st.global.u32 [%%out+%u], %%r%u;\n", at, i);
    for (unsigned i = 0; i < R64; i++, at += 8)
        random_emit(m, "    st.global.u64 [%%out+%u], %%x%u;\n", at, i);
    for (unsigned i = 0; i < F32; i++, at += 4)
        random_emit(m, "    st.global.f32 [%%out+%u], %%f%u;\n", at, i);
    for (unsigned i = 0; i < F64; i++, at += 8)
        random_emit(m, "    st.global.f64 [%%out+%u], %%d%u;\n", at, i);
    for (unsigned i = 0; i < R16; i++, at += 2)
        random_emit(m, "    st.global.u16 [%%out+%u], %%s%u;\n", at, i);
    ck_assert_uint_le(at, RANDOM_OUT_WORDS * 4);
    random_emit(m, "    ret;\n}\n");
}

void random_kernel(struct tw_span bytes, bool is_rich, struct tw_buf *out) {
    struct random_maker m = {.bytes = bytes, .out = out, .is_rich = is_rich};
    prologue(&m);
    if (is_rich)
        local_array(&m);
    while (m.bytes.len > 0 && m.statements < STATEMENTS_MAX)
        statement(&m);
    epilogue(&m);
}

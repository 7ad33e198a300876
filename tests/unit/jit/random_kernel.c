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

enum { R32 = 12, R64 = 6, R16 = 4, F32 = 6, F64 = 4, PREDS = 5, DEPTH_MAX = 4, STATEMENTS_MAX = 70 };

struct maker {
    struct tw_span bytes;
    struct tw_buf *out;
    unsigned labels, depth, statements, loop_exit; // loop_exit: the label to break to, 0: in no loop
};

static unsigned pick(struct maker *m, unsigned count) {
    if (m->bytes.len == 0)
        return 0;
    unsigned byte = m->bytes.data[0];
    m->bytes = tw_span_of(m->bytes.data + 1, m->bytes.len - 1);
    return byte % count;
}

[[gnu::format(printf, 2, 3)]] static void emit(struct maker *m, const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    ck_assert(len > 0 && (size_t)len < sizeof line && tw_buf_append(m->out, line, (size_t)len));
}

struct name {
    char text[24];
};

// A register, or (sources of integers) a number that is often an awkward one.
static struct name source(struct maker *m, char kind, unsigned count) {
    static const char *const numbers[] = {"0",  "1",  "-1",  "2",     "7",           "31",        "32",
                                          "33", "63", "255", "65535", "-2147483648", "2147483647"};
    struct name name;
    unsigned choice = pick(m, count + 3);
    if (choice < count || kind == 'f' || kind == 'd')
        snprintf(name.text, sizeof name.text, "%%%c%u", kind, choice % count);
    else
        snprintf(name.text, sizeof name.text, "%s", numbers[pick(m, kind == 's' ? 10 : TW_COUNT(numbers))]);
    return name;
}

static struct name target(struct maker *m, char kind, unsigned count) {
    struct name name;
    snprintf(name.text, sizeof name.text, "%%%c%u", kind, pick(m, count));
    return name;
}

static void guard(struct maker *m) {
    unsigned choice = pick(m, 8);
    if (choice < 2)
        emit(m, "    @%s%%p%u ", choice ? "!" : "", pick(m, PREDS));
    else
        emit(m, "    ");
}

// ---- operations ----

static void integer(struct maker *m) {
    static const char *const both[] = {"add", "sub", "mul.lo", "mul.hi", "min", "max", "div", "rem"};
    static const char *const bitwise[] = {"and", "or", "xor"};
    static const struct {
        char kind;
        unsigned count, bits;
    } widths[] = {{'r', R32, 32}, {'x', R64, 64}, {'s', R16, 16}};
    unsigned w = pick(m, 4) % 3;
    char kind = widths[w].kind;
    unsigned count = widths[w].count, bits = widths[w].bits, choice = pick(m, 14);
    struct name d = target(m, kind, count), a = source(m, kind, count), b = source(m, kind, count),
                c = source(m, 'r', R32);
    char sign = pick(m, 2) ? 's' : 'u';
    guard(m);
    if (choice < TW_COUNT(both))
        emit(m, "%s.%c%u %s, %s, %s;\n", both[choice], sign, bits, d.text, a.text, b.text);
    else if (choice < 11)
        emit(m, "%s.b%u %s, %s, %s;\n", bitwise[choice - 8], bits, d.text, a.text, b.text);
    else if (choice == 11)
        emit(m, "shl.b%u %s, %s, %s;\n", bits, d.text, a.text, c.text);
    else if (choice == 12)
        emit(m, "shr.%c%u %s, %s, %s;\n", sign, bits, d.text, a.text, c.text);
    else
        emit(m, "not.b%u %s, %s;\n", bits, d.text, a.text);
}

static void bits_op(struct maker *m) {
    struct name d = target(m, 'r', R32), a = source(m, 'r', R32), b = source(m, 'r', R32),
                c = source(m, 'r', R32);
    struct name wide = target(m, 'x', R64), x = target(m, 'x', R64);
    char sign = pick(m, 2) ? 's' : 'u';
    unsigned choice = pick(m, 12);
    guard(m);
    switch (choice) {
    case 0:
        emit(m, "popc.b32 %s, %s;\n", d.text, a.text);
        break;
    case 1:
        emit(m, "clz.b32 %s, %s;\n", d.text, a.text);
        break;
    case 2:
        emit(m, "brev.b32 %s, %s;\n", d.text, a.text);
        break;
    case 3:
        emit(m, "bfe.%c32 %s, %s, %s, %s;\n", sign, d.text, a.text, b.text, c.text);
        break;
    case 4:
        emit(m, "lop3.b32 %s, %s, %s, %s, 0x%02x;\n", d.text, a.text, b.text, c.text, pick(m, 256));
        break;
    case 5:
        emit(m, "prmt.b32 %s, %s, %s, %s;\n", d.text, a.text, b.text, c.text);
        break;
    case 6:
        emit(m, "mad.lo.%c32 %s, %s, %s, %s;\n", sign, d.text, a.text, b.text, c.text);
        break;
    case 7:
        emit(m, "mul.wide.%c32 %s, %s, %s;\n", sign, wide.text, a.text, b.text);
        break;
    case 8:
        emit(m, "sad.%c32 %s, %s, %s, %s;\n", sign, d.text, a.text, b.text, c.text);
        break;
    case 9:
        emit(m, "abs.s32 %s, %s;\n", d.text, target(m, 'r', R32).text);
        break;
    case 10:
        emit(m, "popc.b64 %s, %s;\n", d.text, x.text);
        break;
    default:
        emit(m, "selp.b32 %s, %s, %s, %%p%u;\n", d.text, a.text, b.text, pick(m, PREDS));
        break;
    }
}

static void floating(struct maker *m) {
    static const char *const both[] = {"add.rn", "sub.rn", "mul.rn", "div.rn", "min", "max"};
    bool wide = pick(m, 3) == 0;
    char kind = wide ? 'd' : 'f';
    unsigned count = wide ? F64 : F32, bits = wide ? 64 : 32, choice = pick(m, 9);
    struct name d = target(m, kind, count), a = source(m, kind, count), b = source(m, kind, count),
                c = source(m, kind, count);
    if (choice < TW_COUNT(both))
        emit(m, "    %s.f%u %s, %s, %s;\n", both[choice], bits, d.text, a.text, b.text);
    else if (choice == 6)
        emit(m, "    fma.rn.f%u %s, %s, %s, %s;\n", bits, d.text, a.text, b.text, c.text);
    else if (choice == 7)
        emit(m, "    sqrt.rn.f%u %s, %s;\n", bits, d.text, a.text);
    else
        emit(m, "    neg.f%u %s, %s;\n", bits, d.text, a.text);
    // No NaN is left: its bits may differ.
    emit(m, "    setp.nan.f%u %%q, %s, %s;\n    selp.f%u %s, %s, %s, %%q;\n", bits, d.text, d.text, bits,
         d.text, wide ? "0d3FF8000000000000" : "0f3FC00000", d.text);
}

static void conversion(struct maker *m) {
    static const struct {
        const char *op;
        char to, from;
    } forms[] = {{"cvt.rn.f32.s32", 'f', 'r'},  {"cvt.rn.f32.u32", 'f', 'r'},  {"cvt.rn.f64.s32", 'd', 'r'},
                 {"cvt.rn.f32.u64", 'f', 'x'},  {"cvt.rzi.s32.f32", 'r', 'f'}, {"cvt.rni.u32.f32", 'r', 'f'},
                 {"cvt.rmi.s64.f32", 'x', 'f'}, {"cvt.rpi.s32.f64", 'r', 'd'}, {"cvt.f64.f32", 'd', 'f'},
                 {"cvt.rn.f32.f64", 'f', 'd'},  {"cvt.s64.s32", 'x', 'r'},     {"cvt.u64.u32", 'x', 'r'},
                 {"cvt.u32.u64", 'r', 'x'},     {"cvt.u16.u32", 's', 'r'},     {"cvt.s32.s16", 'r', 's'},
                 {"cvt.u32.u16", 'r', 's'},     {"cvt.s32.s8", 'r', 'r'}};
    unsigned form = pick(m, TW_COUNT(forms)), to = pick(m, 4), from = pick(m, 4);
    guard(m);
    emit(m, "%s %%%c%u, %%%c%u;\n", forms[form].op, forms[form].to, to, forms[form].from, from);
}

static void comparison(struct maker *m) {
    static const char *const orders[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    static const char *const combines[] = {"and", "or", "xor"};
    unsigned p = pick(m, PREDS), form = pick(m, 6);
    const char *order = orders[pick(m, 6)];
    struct name a = target(m, 'r', R32), b = source(m, 'r', R32);
    char sign = pick(m, 2) ? 's' : 'u';
    if (form == 0)
        emit(m, "    setp.%s.f32 %%p%u, %%f%u, %%f%u;\n", order, p, pick(m, F32), pick(m, F32));
    else if (form == 1)
        emit(m, "    setp.%s.%c64 %%p%u, %%x%u, %%x%u;\n", order, sign, p, pick(m, R64), pick(m, R64));
    else if (form == 2)
        emit(m, "    setp.%s.%s.%c32 %%p%u|%%p%u, %s, %s, %s%%p%u;\n", order, combines[pick(m, 3)], sign, p,
             (p + 1) % PREDS, a.text, b.text, pick(m, 2) ? "!" : "", pick(m, PREDS));
    else
        emit(m, "    setp.%s.%c32 %%p%u, %s, %s;\n", order, sign, p, a.text, b.text);
}

// Of `in` anywhere, of `out` in the thread's own part.
static void memory(struct maker *m) {
    struct name index = target(m, 'r', R32), r = target(m, 'r', R32);
    unsigned choice = pick(m, 5);
    emit(m, "    and.b32 %%i, %s, %u;\n    mul.wide.u32 %%a, %%i, 4;\n    add.u64 %%a, %%a, %s;\n",
         index.text, choice < 2 ? 62 : 15, choice < 2 ? "%in" : "%out");
    guard(m);
    switch (choice) {
    case 0:
        emit(m, "ld.global.u32 %s, [%%a];\n", r.text);
        break;
    case 1:
        emit(m, "ld.global.s8 %s, [%%a+3];\n", r.text);
        break;
    case 2:
        emit(m, "st.global.u32 [%%a], %s;\n", r.text);
        break;
    case 3:
        emit(m, "st.global.u16 [%%a+2], %%s%u;\n", pick(m, R16));
        break;
    default:
        emit(m, "ld.global.u32 %s, [%%a];\n", r.text);
        break;
    }
}

// ---- structure ----

static void statements(struct maker *m, unsigned most);

static void branch(struct maker *m) {
    unsigned label = ++m->labels, p = pick(m, PREDS);
    bool has_else = pick(m, 2);
    emit(m, "    @%s%%p%u bra E%u;\n", pick(m, 2) ? "!" : "", p, label);
    statements(m, 8);
    if (has_else)
        emit(m, "    bra D%u;\n", label);
    emit(m, "E%u:\n", label);
    if (has_else) {
        statements(m, 8);
        emit(m, "D%u:\n", label);
    }
}

// Up to eight rounds, as many as a register says: others in each thread.
static void loop(struct maker *m) {
    unsigned label = ++m->labels, outer = m->loop_exit, counter = m->depth;
    emit(m, "    and.b32 %%n%u, %s, 7;\nL%u:\n", counter, target(m, 'r', R32).text, label);
    m->loop_exit = label;
    statements(m, 7);
    m->loop_exit = outer;
    emit(m, "    sub.s32 %%n%u, %%n%u, 1;\n    setp.ge.s32 %%q, %%n%u, 0;\n    @%%q bra L%u;\nX%u:\n",
         counter, counter, counter, label, label);
}

static void leave(struct maker *m) {
    unsigned p = pick(m, PREDS), q = pick(m, PREDS);
    if (m->loop_exit && pick(m, 4))
        emit(m, "    @%%p%u bra X%u;\n", p, m->loop_exit);
    else // few: what is left of a warp goes on
        emit(m, "    and.pred %%q, %%p%u, %%p%u;\n    @%%q bra LEAVE;\n", p, q);
}

static void statement(struct maker *m) {
    unsigned choice = pick(m, 24);
    m->statements++;
    if (choice >= 20 && m->depth < DEPTH_MAX) {
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

static void statements(struct maker *m, unsigned most) {
    for (unsigned count = 1 + pick(m, most); count > 0 && m->statements < STATEMENTS_MAX; count--)
        statement(m);
}

static void prologue(struct maker *m) {
    emit(m, ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 "
            "out)\n{\n");
    emit(m,
         "    .reg .b32 %%r<%d>, %%i, %%n<%d>, %%t, %%u, %%v, %%w; .reg .b64 %%x<%d>, %%in, %%out, %%a; .reg "
         ".b16 "
         "%%s<%d>;\n",
         R32, DEPTH_MAX + 1, R64, R16);
    emit(m, "    .reg .f32 %%f<%d>; .reg .f64 %%d<%d>; .reg .pred %%p<%d>, %%q;\n", F32, F64, PREDS);
    emit(m, "    ld.param.u64 %%in, [in];\n    ld.param.u64 %%out, [out];\n    mov.u32 %%t, %%tid.x;\n    "
            "mov.u32 %%u, %%ctaid.x;\n    mov.u32 %%v, %%ntid.y;\n    mul.lo.u32 %%u, %%u, %%v;\n    mov.u32 "
            "%%w, %%tid.y;\n    add.u32 %%u, %%u, %%w;\n");
    emit(m,
         "    mov.u32 %%v, %%ntid.x;\n    mad.lo.u32 %%i, %%u, %%v, %%t;\n    mul.wide.u32 %%a, %%i, %d;\n   "
         " add.u64 %%out, %%out, %%a;\n",
         RANDOM_OUT_WORDS * 4);
    for (unsigned i = 0; i < R32; i++) // some alike in all threads, some counting, some different
        emit(m,
             i % 3 == 0   ? "    ld.global.u32 %%r%u, [%%in+%u];\n"
             : i % 3 == 1 ? "    add.u32 %%r%u, %%t, %u;\n"
                          : "    mad.lo.u32 %%r%u, %%i, -1640531527, %u;\n",
             i, i * 4);
    for (unsigned i = 1; i < R32; i += 6) // and some by row
        emit(m, "    mad.lo.u32 %%r%u, %%w, %u, %%r%u;\n", i, 1 + i, i);
    for (unsigned i = 0; i < R64; i++)
        emit(m, "    mul.wide.s32 %%x%u, %%r%u, %%r%u;\n", i, i, i + 5);
    for (unsigned i = 0; i < R16; i++)
        emit(m, "    cvt.u16.u32 %%s%u, %%r%u;\n", i, i + 1);
    for (unsigned i = 0; i < F32; i++)
        emit(m, "    cvt.rn.f32.s32 %%f%u, %%r%u;\n", i, i);
    for (unsigned i = 0; i < F64; i++)
        emit(m, "    cvt.rn.f64.s32 %%d%u, %%r%u;\n", i, i + 2);
    for (unsigned i = 0; i < PREDS; i++)
        emit(m, "    setp.lt.s32 %%p%u, %%r%u, %%r%u;\n", i, i + 1, i + 3);
}

static void epilogue(struct maker *m) {
    unsigned at = 16 * 4; // the first 16 words are the kernel's to write
    emit(m, "LEAVE:\n");
    for (unsigned i = 0; i < R32; i++, at += 4)
        emit(m, "    st.global.u32 [%%out+%u], %%r%u;\n", at, i);
    for (unsigned i = 0; i < R64; i++, at += 8)
        emit(m, "    st.global.u64 [%%out+%u], %%x%u;\n", at, i);
    for (unsigned i = 0; i < F32; i++, at += 4)
        emit(m, "    st.global.f32 [%%out+%u], %%f%u;\n", at, i);
    for (unsigned i = 0; i < F64; i++, at += 8)
        emit(m, "    st.global.f64 [%%out+%u], %%d%u;\n", at, i);
    for (unsigned i = 0; i < R16; i++, at += 2)
        emit(m, "    st.global.u16 [%%out+%u], %%s%u;\n", at, i);
    ck_assert_uint_le(at, RANDOM_OUT_WORDS * 4);
    emit(m, "    ret;\n}\n");
}

void random_kernel(struct tw_span bytes, struct tw_buf *out) {
    struct maker m = {.bytes = bytes, .out = out};
    prologue(&m);
    while (m.bytes.len > 0 && m.statements < STATEMENTS_MAX)
        statement(&m);
    epilogue(&m);
}

// SPDX-License-Identifier: Apache-2.0
//
// Operations of the rich random kernels (see random_kernel.h): video instructions, fields of bits, floats of 16 and 8
// bits, saturating conversions, a local array.

#include "harness/test.h"
#include "random_maker.h"

static const char *part(struct random_maker *m) {
    static const char *const parts[] = {"", "", "", ".b0", ".b1", ".b2", ".b3", ".h0", ".h1"};
    return parts[random_pick(m, TW_COUNT(parts))];
}

// Video instructions on one value: merged into a part of c, combined with it, or neither.
static void video(struct random_maker *m) {
    static const char *const ops[] = {"vadd", "vsub", "vabsdiff", "vmin", "vmax",
                                      "vshl", "vshr", "vset",     "vmad"};
    static const char *const orders[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    static const char *const combines[] = {".add", ".min", ".max"};
    unsigned op = random_pick(m, TW_COUNT(ops));
    struct random_name d = random_target(m, 'r', R32), a = random_target(m, 'r', R32),
                       b = random_target(m, 'r', R32), c = random_target(m, 'r', R32);
    char signs[3];
    for (unsigned i = 0; i < 3; i++)
        signs[i] = random_pick(m, 2) ? 's' : 'u';
    const char *sat = random_pick(m, 2) ? ".sat" : "", *from = part(m), *with = part(m), *into = part(m);
    const char *combine = *into || random_pick(m, 2) ? "" : combines[random_pick(m, 3)];
    char third[32] = "";
    if (*into || *combine)
        snprintf(third, sizeof third, ", %s", c.text);
    random_guard(m);
    if (op == 8) {
        bool all_unsigned = signs[1] == 'u' && signs[2] == 'u';
        random_emit(m, "vmad.%c32.%c32.%c32%s%s %s, %s%s, %s%s, %s;\n", all_unsigned ? 'u' : 's', signs[1],
                    signs[2], sat, random_pick(m, 2) ? ".shr7" : "", d.text, a.text, from, b.text, with,
                    c.text);
    } else if (op == 7) {
        random_emit(m, "vset.%c32.%c32.%s%s %s%s, %s%s, %s%s%s;\n", signs[1], signs[2],
                    orders[random_pick(m, 6)], combine, d.text, into, a.text, from, b.text, with, third);
    } else if (op >= 5) {
        random_emit(m, "%s.%c32.%c32.u32%s.%s%s %s%s, %s%s, %s%s%s;\n", ops[op], signs[0], signs[1], sat,
                    random_pick(m, 2) ? "clamp" : "wrap", combine, d.text, into, a.text, from, b.text, with,
                    third);
    } else {
        random_emit(m, "%s.%c32.%c32.%c32%s%s %s%s, %s%s, %s%s%s;\n", ops[op], signs[0], signs[1], signs[2],
                    sat, combine, d.text, into, a.text, from, b.text, with, third);
    }
}

static void fields(struct random_maker *m) {
    static const char *const threes[] = {"shf.l.wrap.b32",  "shf.l.clamp.b32", "shf.r.wrap.b32",
                                         "shf.r.clamp.b32", "dp4a.u32.u32",    "dp4a.s32.u32",
                                         "dp4a.u32.s32",    "dp4a.s32.s32"};
    static const char *const twos[] = {"bmsk.clamp.b32",  "bmsk.wrap.b32",  "szext.clamp.u32",
                                       "szext.clamp.s32", "szext.wrap.u32", "szext.wrap.s32"};
    static const char *const ones[] = {"bfind.u32", "bfind.s32", "bfind.shiftamt.u32", "bfind.shiftamt.s32",
                                       "cnot.b32"};
    struct random_name d = random_target(m, 'r', R32), a = random_source(m, 'r', R32),
                       b = random_source(m, 'r', R32), c = random_source(m, 'r', R32),
                       e = random_source(m, 'r', R32);
    unsigned choice = random_pick(m, 4);
    random_guard(m);
    if (choice == 0)
        random_emit(m, "%s %s, %s, %s, %s;\n", threes[random_pick(m, TW_COUNT(threes))], d.text, a.text,
                    b.text, c.text);
    else if (choice == 1)
        random_emit(m, "%s %s, %s, %s;\n", twos[random_pick(m, TW_COUNT(twos))], d.text, a.text, b.text);
    else if (choice == 2)
        random_emit(m, "%s %s, %s;\n", ones[random_pick(m, TW_COUNT(ones))], d.text,
                    random_target(m, 'r', R32).text);
    else
        random_emit(m, "bfi.b32 %s, %s, %s, %s, %s;\n", d.text, a.text, b.text, c.text, e.text);
}

// Of 16 bits; a NaN becomes 1.5 or its like in the other type.
static void small_float(struct random_maker *m) {
    static const char *const ops[] = {"add.rn", "sub.rn",      "mul.rn", "min", "max",
                                      "fma.rn", "fma.rn.relu", "neg",    "abs"};
    bool is_half = random_pick(m, 2);
    const char *type = is_half ? "f16" : "bf16";
    unsigned choice = random_pick(m, 14), d = random_pick(m, R16), a = random_pick(m, R16),
             b = random_pick(m, R16), c = random_pick(m, R16);
    if (choice >= 9 && choice < 12)
        random_emit(m, choice & 1 ? "    cvt.rn.%s.f32 %%s%u, %%f%u;\n" : "    cvt.rz.%s.f32 %%s%u, %%f%u;\n",
                    type, d, a);
    else if (choice >= 12)
        random_emit(m, "    cvt.rn.f16.%s %%s%u, %%%c%u;\n", choice == 12 ? "s32" : "f64", d,
                    choice == 12 ? 'r' : 'd', a);
    else if (choice >= 7)
        random_emit(m, "    %s.%s %%s%u, %%s%u;\n", ops[choice], type, d, a);
    else if (choice >= 5)
        random_emit(m, "    %s.%s %%s%u, %%s%u, %%s%u, %%s%u;\n", ops[choice], type, d, a, b, c);
    else
        random_emit(m, "    %s.%s %%s%u, %%s%u, %%s%u;\n", ops[choice], type, d, a, b);
    random_emit(
        m,
        "    and.b16 %%h, %%s%u, 0x7fff;\n    setp.gt.u16 %%q, %%h, %s;\n    selp.b16 %%s%u, 0x3e00, %%s%u, "
        "%%q;\n",
        d, is_half || choice >= 12 ? "0x7c00" : "0x7f80", d, d);
}

// Between integers, saturating; between small floats and others, as pairs too. Masks keep NaNs and infinities out.
static void narrow(struct random_maker *m) {
    static const struct {
        const char *op;
        char to, from; // from 'h': %h, masked
        const char *second;
    } forms[] = {{"cvt.sat.s8.s32", 'r', 'r', ""},
                 {"cvt.sat.u8.s32", 'r', 'r', ""},
                 {"cvt.u8.u32", 'r', 'r', ""},
                 {"cvt.sat.u16.s32", 's', 'r', ""},
                 {"cvt.sat.s16.u32", 's', 'r', ""},
                 {"cvt.sat.s32.u64", 'r', 'x', ""},
                 {"cvt.sat.u32.s64", 'r', 'x', ""},
                 {"cvt.sat.u64.s32", 'x', 'r', ""},
                 {"cvt.rn.satfinite.e4m3x2.f32", 's', 'f', ", %f1"},
                 {"cvt.rn.satfinite.e5m2x2.f32", 's', 'f', ", %f1"},
                 {"cvt.rn.f16x2.f32", 'r', 'f', ", %f2"},
                 {"cvt.rn.bf16x2.f32", 'r', 'f', ", %f2"},
                 {"cvt.rn.f16x2.e4m3x2", 'r', 'h', ""},
                 {"cvt.rn.f16x2.e5m2x2", 'r', 'h', ""},
                 {"cvt.f32.f16", 'f', 'h', ""},
                 {"cvt.f32.bf16", 'f', 'h', ""}};
    unsigned form = random_pick(m, TW_COUNT(forms)), to = random_pick(m, 4), from = random_pick(m, 4);
    if (forms[form].from == 'h')
        random_emit(m, "    and.b16 %%h, %%s%u, %s;\n", from,
                    form == 15   ? "0xbfff"
                    : form == 12 ? "0xffff"
                                 : "0xfbfb");
    random_guard(m);
    random_emit(m, "%s %%%c%u, %%%c", forms[form].op, forms[form].to, to, forms[form].from);
    if (forms[form].from != 'h')
        random_emit(m, "%u", from);
    random_emit(m, "%s;\n", forms[form].second);
}

// The thread's own array, at an index that is each thread's own.
static void local(struct random_maker *m) {
    struct random_name index = random_target(m, 'r', R32), r = random_target(m, 'r', R32);
    unsigned choice = random_pick(m, 5);
    random_emit(
        m,
        "    and.b32 %%i, %s, 14;\n    mul.wide.u32 %%a, %%i, 4;\n    mov.u64 %%l, frame;\n    add.u64 %%l, "
        "%%l, %%a;\n",
        index.text);
    random_guard(m);
    if (choice == 0)
        random_emit(m, "ld.local.u32 %s, [%%l];\n", r.text);
    else if (choice == 1)
        random_emit(m, "st.local.u32 [%%l+4], %s;\n", r.text);
    else if (choice == 2)
        random_emit(m, "st.local.v2.u32 [%%l], {%s, %%r%u};\n", r.text, random_pick(m, R32));
    else if (choice == 3)
        random_emit(m, "ld.local.u64 %%x%u, [%%l];\n", random_pick(m, R64));
    else
        random_emit(m, "ld.local.s8 %s, [%%l+%u];\n", r.text, random_pick(m, 8));
}

void random_rich(struct random_maker *m) {
    void (*const kinds[])(struct random_maker *) = {video,       video,       video,  fields, fields,
                                                    small_float, small_float, narrow, narrow, local};
    kinds[random_pick(m, TW_COUNT(kinds))](m);
}

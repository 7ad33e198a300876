// SPDX-License-Identifier: Apache-2.0
//
// The passes on printed IR: input and expected output stand side by side, worked out by hand.

#include "harness/test.h"
#include "kernel/kernel.h"

// Confined.
struct work {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_buf out;
    struct tw_error err;
};

static void begin(struct work *w, const char *text) {
    *w = (struct work){};
    tw_arena_init(&w->arena, 64 << 20);
    tw_buf_init(&w->out, 1 << 20);
    tw_assert_ok(tw_kir_parse(&w->arena, tw_str_from(text), &w->module, &w->err), &w->err);
}

static void end(struct work *w) {
    tw_arena_done(&w->arena);
    tw_buf_done(&w->out);
}

// What the blocks of function k print as.
static const char *body(struct work *w) {
    tw_assert_ok(tw_kir_verify(w->module, &w->err), &w->err);
    tw_assert_ok(tw_kir_print(w->module, &w->out, &w->err), &w->err);
    const char *entry = strstr((const char *)w->out.data, "\nentry k");
    ck_assert_ptr_nonnull(entry);
    const char *block = strstr(entry, "\nblock");
    ck_assert_ptr_nonnull(block);
    return block + 1;
}

static void simplified(const char *before, const char *after) {
    struct work w;
    begin(&w, before);
    tw_assert_ok(tw_kir_simplify(w.module, tw_kir_function_find(w.module, "k"), &w.err), &w.err);
    ck_assert_str_eq(body(&w), after);
    end(&w);
}

TW_TEST("constants are folded and dead code goes") {
    simplified("entry k params 8\nregs b32 a b c d e\nregs b64 p q\nregs b1 t\nblock x\n"
               "  a = mov.u32 6\n  b = mul.u32 a, 7\n  c = add.u32 b, 0\n  q = mulwide.s32 0xffffffff, 3\n"
               "  d = shl.b32 c, 33\n  e = sub.s32 c, 50\n  t = setp.s32.lt e, 0\n  e = select.b32 c, d, t\n"
               "  p = ldparam.b64\n  st.b32.global [p], e\n  st.b64.global [p], q\n  ret\nend\n",
               "block x\n  p = ldparam.b64\n  st.b32.global [p], 42\n  st.b64.global [p], "
               "0xfffffffffffffffd\n  ret\nend\n");
}

TW_TEST("integer conversions and shifts of constants follow PTX") {
    simplified(
        "entry k params 8\nregs b8 a\nregs b32 b c d\nregs b64 p\nblock x\n"
        "  a = mov.b8 200\n  b = cvt.s32.s8 a\n  c = shr.s32 b, 40\n  d = shr.u32 b, 28\n  p = ldparam.b64\n"
        "  st.b32.global [p], b\n  st.b32.global [p], c\n  st.b32.global [p], d\n  ret\nend\n",
        "block x\n  p = ldparam.b64\n  st.b32.global [p], 0xffffffc8\n  st.b32.global [p], 0xffffffff\n"
        "  st.b32.global [p], 15\n  ret\nend\n");
}

TW_TEST("floats and saturating operations are left alone") {
    static const char text[] =
        "block x\n  p = ldparam.b64\n  a = add.f32 0x3f800000, 0\n  b = add.s32.sat 5, 0\n"
        "  st.f32.global [p], a\n  st.b32.global [p], b\n  ret\nend\n";
    char whole[512];
    snprintf(whole, sizeof whole, "entry k params 8\nregs b64 p\nregs b32 a b\n%s", text);
    simplified(whole, text);
}

TW_TEST("copies are followed, known branches taken, unreachable blocks dropped, chains joined") {
    simplified("entry k params 8\nregs b64 p q r\nregs b1 t\nregs b32 v\nblock x\n"
               "  p = ldparam.b64\n  q = mov.b64 p\n  r = mov.u64 q\n  t = mov.pred 1\n  brc t -> y, z\n"
               "block y\n  v = mov.b32 1\n  br -> j\n"
               "block z\n  v = mov.b32 2\n  br -> j\n"
               "block j\n  st.b32.global [r+4], v\n  ret\nend\n",
               "block x\n  p = ldparam.b64\n  st.b32.global [p+4], 1\n  ret\nend\n");
}

TW_TEST("a register that is reused for another purpose becomes two") {
    simplified("entry k params 8\nregs b64 p\nregs b32 v w\nblock x\n"
               "  p = ldparam.b64\n  v = ld.b32.global [p]\n  st.b32.global [p+8], v\n"
               "  v = ld.b32.global [p+4]\n  w = mov.b32 v\n  st.b32.global [p+12], w\n  ret\nend\n",
               "block x\n  p = ldparam.b64\n  v = ld.b32.global [p]\n  st.b32.global [p+8], v\n"
               "  v.3 = ld.b32.global [p+4]\n  st.b32.global [p+12], v.3\n  ret\nend\n");
}

TW_TEST("a loop's register stays one, and a copy of it is not followed past its change") {
    static const char text[] =
        "block x\n  p = ldparam.b64\n  i = mov.b32 0\n  last = mov.b32 7\n  br -> loop\n"
        "block loop\n  st.b32.global [p], last\n  last = mov.b32 i\n  i = add.u32 i, 1\n"
        "  t = setp.u32.lt i, 10\n  brc t -> loop, out\n"
        "block out\n  st.b32.global [p+4], last\n  ret\nend\n";
    char whole[512];
    snprintf(whole, sizeof whole, "entry k params 8\nregs b64 p\nregs b32 i last\nregs b1 t\n%s", text);
    simplified(whole, text);
}

TW_TEST("a value that crosses the back edge is no copy of its source") {
    static const char text[] =
        "block x\n  p = ldparam.b64\n  c = mov.b32 1\n  br -> loop\n"
        "block loop\n  b = ld.b32.global [p]\n  st.b32.global [p+4], a\n  a = mov.b32 b\n"
        "  t = setp.b32.ne b, 0\n  brc t -> loop, out\n"
        "block out\n  ret\nend\n";
    char whole[512];
    snprintf(whole, sizeof whole, "entry k params 8\nregs b64 p\nregs b32 a b c\nregs b1 t\n%s", text);
    char expected[512];
    snprintf(expected, sizeof expected, "%s", text);
    char *dead = strstr(expected, "  c = mov.b32 1\n");
    memmove(dead, dead + strlen("  c = mov.b32 1\n"), strlen(dead + strlen("  c = mov.b32 1\n")) + 1);
    simplified(whole, expected);
}

TW_TEST("a guarded definition belongs to the value it may keep") {
    static const char text[] = "block x\n  p = ldparam.b64\n  v = mov.b32 1\n  t = setp.b64.eq p, 0\n"
                               "  @!t v = mov.b32 2\n  st.b32.global [p], v\n  ret\nend\n";
    char whole[512];
    snprintf(whole, sizeof whole, "entry k params 8\nregs b64 p\nregs b32 v\nregs b1 t\n%s", text);
    simplified(whole, text);
}

TW_TEST("a guard that is known goes, with its instruction when it is false") {
    simplified("entry k params 8\nregs b64 p\nregs b1 t\nblock x\n  p = ldparam.b64\n  t = mov.pred 0\n"
               "  @t st.b32.global [p], 1\n  @!t st.b32.global [p], 2\n  ret\nend\n",
               "block x\n  p = ldparam.b64\n  st.b32.global [p], 2\n  ret\nend\n");
}

TW_TEST("a counter that only feeds itself is dead") {
    simplified(
        "entry k params 8\nregs b64 p\nregs b32 i j\nregs b1 t\nblock x\n"
        "  i = mov.b32 0\n  j = mov.b32 0\n  br -> loop\n"
        "block loop\n  i = add.u32 i, 1\n  j = add.u32 j, i\n  t = setp.u32.lt i, 9\n  brc t -> loop, out\n"
        "block out\n  ret\nend\n",
        "block x\n  i = mov.b32 0\n  br -> loop\n"
        "block loop\n  i = add.u32 i, 1\n  t = setp.u32.lt i, 9\n  brc t -> loop, out\n"
        "block out\n  ret\nend\n");
}

TW_TEST("an atomic without a reader loses its result, not its effect") {
    simplified("entry k params 8\nregs b64 p\nregs b32 v\nblock x\n  p = ldparam.b64\n"
               "  v = atom.u32.global.add.relaxed.gpu [p], 1\n  ret\nend\n",
               "block x\n  p = ldparam.b64\n  atom.u32.global.add.relaxed.gpu [p], 1\n  ret\nend\n");
}

static const char nested[] =
    "module ptx 78 sm 80\n"
    "variable f.buf local align 4 size 16 of f\n"
    "function f params 0\nregs b32 x y\nregs b64 a\nregs b1 t\n"
    "result y b32 offset 0 size 4 align 4 in y\nparam x b32 offset 0 size 4 align 4 in x\n"
    "block in\n  a = addr.u64 @f.buf\n  st.b32.local [a], x\n  t = setp.b32.eq x, 0\n  brc t -> zero, other\n"
    "block zero\n  y = mov.b32 9\n  ret\n"
    "block other\n  y = add.u32 x, 1\n  ret\nend\n"
    "function g params 0\nregs b32 x y\nresult y b32 offset 0 size 4 align 4 in y\n"
    "param x b32 offset 0 size 4 align 4 in x\nblock in\n  y = call @f x\n  ret\nend\n"
    "entry k params 8\nregs b64 p\nregs b32 u v\nparam p u64 offset 0 size 8 align 8\n"
    "block x\n  p = ldparam.b64\n  u = call @g 0\n  v = call @g 5\n"
    "  st.b32.global [p], u\n  st.b32.global [p+4], v\n  ret\nend\n";

TW_TEST("nested calls are inlined; values known beforehand come out") {
    struct work w;
    begin(&w, nested);
    struct tw_kir_function *k = tw_kir_function_find(w.module, "k");
    tw_assert_ok(tw_kir_inline(w.module, k, &w.err), &w.err);
    tw_assert_ok(tw_kir_verify(w.module, &w.err), &w.err);
    for (uint32_t b = 0; b < k->block_count; b++)
        for (uint32_t i = 0; i < k->blocks[b].count; i++)
            ck_assert_int_ne(k->blocks[b].insts[i].op, TW_KIR_CALL);
    tw_assert_ok(tw_kir_simplify(w.module, k, &w.err), &w.err);
    const char *text = body(&w);
    // g(0) = f(0) = 9 and g(5) = f(5) = 6; both store their argument into the one clone of f's buffer that k
    // has.
    ck_assert_ptr_nonnull(strstr(text, "  st.b32.global [p], 9\n  st.b32.global [p+4], 6\n"));
    ck_assert_ptr_nonnull(strstr(text, "], 0\n"));
    ck_assert_ptr_nonnull(strstr(text, "], 5\n"));
    uint32_t clones = 0;
    for (uint32_t i = 0; i < w.module->variable_count; i++)
        clones += w.module->variables[i].function == (uint32_t)(k - w.module->functions);
    ck_assert_uint_eq(clones, 1);
    end(&w);
}

// What is left of calls in function k.
static unsigned calls_in(const struct tw_kir_function *k) {
    unsigned calls = 0;
    for (uint32_t b = 0; b < k->block_count; b++)
        for (uint32_t i = 0; i < k->blocks[b].count; i++)
            calls += k->blocks[b].insts[i].op == TW_KIR_CALL;
    return calls;
}

TW_TEST("functions that call themselves, directly or not, become loops over a stack") {
    static const char *const modules[] = {
        "function f params 0\nregs b32 x y\nregs b1 p\nresult y b32 offset 0 size 4 align 4 in y\n"
        "param x b32 offset 0 size 4 align 4 in x\nblock in\n  p = setp.u32.eq x, 0\n  brc p -> end, more\n"
        "block more\n  y = sub.u32 x, 1\n  y = call @f y\n  y = add.u32 y, x\n  ret\nblock end\n"
        "  y = mov.b32 0\n  ret\nend\n",
        "function f params 0\nregs b32 x y\nresult y b32 offset 0 size 4 align 4 in y\n"
        "param x b32 offset 0 size 4 align 4 in x\nblock in\n  y = call @g x\n  ret\nend\n"
        "function g params 0\nregs b32 x y\nresult y b32 offset 0 size 4 align 4 in y\n"
        "param x b32 offset 0 size 4 align 4 in x\nblock in\n  y = call @f x\n  ret\nend\n"};
    for (size_t i = 0; i < TW_COUNT(modules); i++) {
        struct work w;
        char text[2048];
        snprintf(text, sizeof text,
                 "%sentry k params 8\nregs b64 p\nregs b32 u\nparam p u64 offset 0 size 8 align 8\n"
                 "block x\n  p = ldparam.b64\n  u = call @f 3\n  st.b32.global [p], u\n  ret\nend\n",
                 modules[i]);
        begin(&w, text);
        struct tw_kir_function *k = tw_kir_function_find(w.module, "k");
        tw_assert_ok(tw_kir_inline(w.module, k, &w.err), &w.err);
        tw_assert_ok(tw_kir_verify(w.module, &w.err), &w.err);
        ck_assert_uint_eq(calls_in(k), 0);
        tw_assert_ok(tw_kir_simplify(w.module, k, &w.err), &w.err);
        ck_assert(i == 1 || strstr(body(&w), "brx ")); // the second one never comes back
        end(&w);
    }
}

TW_TEST("a loop with two entries gets a header that chooses between them") {
    simplified("entry k params 4\nregs b32 a b\nregs b1 p\nparam n u32 offset 0 size 4 align 4\nblock x\n"
               "  a = ldparam.b32\n  p = setp.u32.lt a, 9\n  brc p -> one, two\n"
               "block one\n  a = add.u32 a, 1\n  bar.u32 0\n  br -> two\n"
               "block two\n  a = add.u32 a, 2\n  p = setp.u32.lt a, 99\n  brc p -> one, end\n"
               "block end\n  ret\nend\n",
               "block x\n  a = ldparam.b32\n  p = setp.u32.lt a, 9\n  brc p -> entry.7, entry.5\n"
               "block one\n  a = add.u32 a, 1\n  bar.u32 0\n  br -> entry.6\n"
               "block two\n  a = add.u32 a, 2\n  p.3 = setp.u32.lt a, 99\n  brc p.3 -> entry.8, end\n"
               "block end\n  ret\n"
               "block entry.4\n  brx %.4 -> two, one\n"
               "block entry.5\n  %.4 = mov.b32 0\n  br -> entry.4\n"
               "block entry.6\n  %.4 = mov.b32 0\n  br -> entry.4\n"
               "block entry.7\n  %.4 = mov.b32 1\n  br -> entry.4\n"
               "block entry.8\n  %.4 = mov.b32 1\n  br -> entry.4\nend\n");
}

TW_TEST("calls that multiply without end are stopped by the limit on instructions") {
    struct tw_buf text;
    tw_buf_init(&text, 1 << 20);
    ck_assert(tw_buf_printf(&text, "function f0 params 0\nblock x\n  trap\n  ret\nend\n"));
    for (int i = 1; i <= 30; i++)
        ck_assert(tw_buf_printf(&text,
                                "function f%d params 0\nblock x\n  call @f%d\n  call @f%d\n  ret\nend\n", i,
                                i - 1, i - 1));
    ck_assert(tw_buf_printf(&text, "entry k params 0\nblock x\n  call @f30\n  ret\nend\n"));
    struct work w;
    begin(&w, (const char *)text.data);
    ck_assert(!tw_kir_inline(w.module, tw_kir_function_find(w.module, "k"), &w.err));
    ck_assert_int_eq(w.err.code, TW_ERR_CUDA_QUOTA);
    end(&w);
    tw_buf_done(&text);
}
TW_TEST("a product that is added, and wanted nowhere else, becomes one operation with the sum") {
    simplified("entry k params 8\nregs b64 p\nregs b32 a b c s t u d e f\nblock x\n  p = ldparam.b64\n"
               "  a = ld.f32.global [p]\n  b = ld.f32.global [p+4]\n  c = ld.f32.global [p+8]\n"
               "  s = mul.f32 a, b\n  d = add.f32.sat c, s\n  t = mul.f32 a, b\n  e = sub.f32 t, c\n"
               "  u = mul.f32 a, b\n  f = sub.f32 c, u\n  st.f32.global [p], d\n  st.f32.global [p], e\n"
               "  st.f32.global [p], f\n  ret\nend\n",
               "block x\n  p = ldparam.b64\n"
               "  a = ld.f32.global [p]\n  b = ld.f32.global [p+4]\n  c = ld.f32.global [p+8]\n"
               "  d = fma.f32.rn.sat a, b, c\n  t = neg.f32 c\n  e = fma.f32.rn a, b, t\n"
               "  u = neg.f32 a\n  f = fma.f32.rn u, b, c\n  st.f32.global [p], d\n  st.f32.global [p], e\n"
               "  st.f32.global [p], f\n  ret\nend\n");
}

// A rounding that is written out, another use, another kind of flushing, a product that is clamped.
TW_TEST("products that PTX rounds on their own stay") {
    static const char *const bodies[] = {"  c = mul.f32.rn a, b\n  d = add.f32 c, a\n",
                                         "  c = mul.f32 a, b\n  d = add.f32.rn c, a\n",
                                         "  c = mul.f32 a, b\n  d = add.f32 c, a\n  st.f32.global [p], c\n",
                                         "  c = mul.f32 a, b\n  d = add.f32 c, c\n",
                                         "  c = mul.f32.ftz a, b\n  d = add.f32 c, a\n",
                                         "  c = mul.f32.sat a, b\n  d = add.f32 c, a\n"};
    for (unsigned i = 0; i < TW_COUNT(bodies); i++) {
        char text[600], whole[700];
        snprintf(text, sizeof text,
                 "block x\n  p = ldparam.b64\n  a = ld.f32.global [p]\n  b = ld.f32.global [p+4]\n%s"
                 "  st.f32.global [p], d\n  ret\nend\n",
                 bodies[i]);
        snprintf(whole, sizeof whole, "entry k params 8\nregs b64 p\nregs b32 a b c d\n%s", text);
        simplified(whole, text);
    }
}

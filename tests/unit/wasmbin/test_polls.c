// SPDX-License-Identifier: Apache-2.0
//
// No guest runs long without a poll. Where polls must be is worked out by hand for small guests; for large
// ones wabt's interpreter prints every instruction that it executes, and the longest run of them without a
// poll is measured.

#include "guests.h"

// What the interpreter counts beside: a poll's own constant and drop, and its returns.
enum { STRETCH_MAX = WASMBIN_POLL_BUDGET + 4 };

static struct tw_buf text;

[[gnu::format(printf, 1, 2)]] static void add(const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ck_assert_int_lt(len, (int)sizeof line);
    ck_assert(tw_buf_append(&text, line, (size_t)len));
}

static void begin(void) {
    tw_buf_init(&text, 256 << 20);
    add("(module ");
}

// Assembles what was added, rewrites it, and checks that it is valid.
static struct tw_span finish(void) {
    add(")");
    struct tw_span bytes = assemble((const char *)text.data);
    tw_buf_done(&text);
    struct tw_span out = rewrite(bytes, true);
    validate(out, "");
    ck_assert_uint_eq(rewritten.poll_count, count_polls(out, wasm.memory_count));
    return out;
}

// Executes all exports; the longest run of instructions without a poll, and how many were executed.
static unsigned longest_stretch(struct tw_span bytes, unsigned *ret_total) {
    char path[96];
    temp_path(path, ".wasm");
    write_file(path, bytes);
    char *said =
        shell("wasm-interp " TOOL_FLAGS " --trace --run-all-exports %s | "
              "awk '/i32.load8_u \\$%u:/{n=0} /^#/{n++; all++; if(n>most)most=n} /=>/{n=0} /error/{exit 1} "
              "END{print most, all}'",
              path, wasm.memory_count);
    unlink(path);
    ck_assert_ptr_nonnull(said);
    unsigned most;
    ck_assert_int_eq(sscanf(said, "%u %u", &most, ret_total), 2);
    free(said);
    return most;
}

// ---- straight code ----------------------------------------------------------------------------------------
static void add_work(unsigned units) { // an even number of instructions
    for (unsigned i = 0; i < units; i += 2)
        add("(drop (i32.const 3))\n");
}

TW_TEST("a small leaf has no poll, a function that calls has one at its entry") {
    begin();
    add("(func (export \"f\") (result i32) (call $g (i32.const 3))) (func $g (param i32) (result i32) "
        "(local.get 0))");
    char *listing = objdump(finish(), "-d");
    ck_assert_uint_eq(rewritten.poll_count, 1);
    const char *first = strstr(listing, "func[0]"), *poll = strstr(listing, "i32.load8_u"),
               *second = strstr(listing, "func[1]");
    ck_assert(first && poll && second && first < poll && poll < second);
    free(listing);
}

// Polls in a module with one function.
static unsigned polls_of(const char *body) {
    begin();
    add("(memory 1) (func ");
    for (; *body; body++) // longer than a line
        add("%c", *body);
    add(")");
    finish();
    return rewritten.poll_count;
}

TW_TEST("small is at most 64 bytes of code, 64 locals, no calls and nothing that takes long") {
    struct tw_buf body;
    tw_buf_init(&body, 4096);
    // 3 bytes each, and the `end`.
    for (unsigned i = 0; i < 21; i++)
        ck_assert(tw_buf_printf(&body, "(drop (i32.const 1))"));
    ck_assert_uint_eq(polls_of((const char *)body.data), 0);
    ck_assert(tw_buf_printf(&body, "nop"));
    ck_assert_uint_eq(polls_of((const char *)body.data), 1);
    tw_buf_reset(&body);
    ck_assert(tw_buf_printf(&body, "(local"));
    for (unsigned i = 0; i < 64; i++)
        ck_assert(tw_buf_printf(&body, " i64"));
    ck_assert(tw_buf_printf(&body, ")"));
    ck_assert_uint_eq(polls_of((const char *)body.data), 0);
    ck_assert(tw_buf_printf(&body, "(local i32)"));
    ck_assert_uint_eq(polls_of((const char *)body.data), 1);
    ck_assert_uint_eq(polls_of("(memory.fill (i32.const 0) (i32.const 0) (i32.const 9))"), 1);
    ck_assert_uint_eq(polls_of("(drop (memory.grow (i32.const 0)))"), 1);
    ck_assert_uint_eq(polls_of("(drop (memory.size))"), 0);
    tw_buf_done(&body);
}

TW_TEST("straight code gets a poll each time the budget is used up") {
    // And one at the entry.
    begin();
    add("(func (export \"f\")");
    add_work(WASMBIN_POLL_BUDGET); // and its `end` is one too many
    add(")");
    finish();
    ck_assert_uint_eq(rewritten.poll_count, 2);

    begin();
    add("(func (export \"f\")");
    add_work(WASMBIN_POLL_BUDGET - 2);
    add(")");
    finish();
    ck_assert_uint_eq(rewritten.poll_count, 1);

    begin();
    add("(func (export \"f\")");
    add_work(WASMBIN_POLL_BUDGET * 2 + 100'000);
    add(")");
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_eq(rewritten.poll_count, 3);
    ck_assert_uint_le(most, STRETCH_MAX);
    ck_assert_uint_ge(total, WASMBIN_POLL_BUDGET * 2 + 100'000);
}

TW_TEST("a poll that is jumped over does not count for what follows") {
    // Each `if` is not taken; its arm is long enough that a poll falls into it.
    begin();
    add("(func (export \"f\")");
    for (unsigned i = 0; i < 4; i++) {
        add_work(150'000);
        add("(if (i32.const 0) (then ");
        add_work(150'000);
        add("))");
    }
    add(")");
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_ge(total, 600'000);
    ck_assert_uint_le(most, STRETCH_MAX);
}

TW_TEST("a branch carries its units to where it leads") {
    // br, br_if, br_table and return each jump over a poll from a place with 150,000 units.
    static const char *const jumps[] = {"(br $out)", "(br_if $out (i32.const 1))",
                                        "(br_table $in $out (i32.const 7))"};
    for (size_t i = 0; i < TW_COUNT(jumps); i++) {
        begin();
        add("(func (export \"f\") (block $out (block $in ");
        add_work(150'000);
        add("%s", jumps[i]);
        add(") ");
        add_work(150'000);
        add(") ");
        add_work(150'000);
        add(")");
        unsigned total, most = longest_stretch(finish(), &total);
        ck_assert_uint_ge(total, 300'000);
        ck_assert_uint_le(most, STRETCH_MAX);
    }
    begin();
    add("(func $g (if (i32.const 1) (then ");
    add_work(150'000);
    add("(return))) ");
    add_work(200'000);
    add(") (func (export \"f\") (call $g) (call $g) (call $g) (call $g))");
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_ge(total, 600'000);
    ck_assert_uint_le(most, STRETCH_MAX);
}

TW_TEST("both arms of an if begin with the units before it") {
    begin();
    add("(func (export \"f\") ");
    add_work(150'000);
    add("(if (i32.const 0) (then ");
    add_work(60'000);
    add(") (else ");
    add_work(150'000);
    add(")) ");
    add_work(60'000);
    add(")");
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_ge(total, 360'000);
    ck_assert_uint_le(most, STRETCH_MAX);
    // At the entry; in the else arm; the then arm ends with 210,000, so one more in what follows.
    ck_assert_uint_eq(rewritten.poll_count, 3);
}

// ---- calls ------------------------------------------------------------------------------------------------
TW_TEST("a chain of functions that each call the next one twice is polled") {
    enum { DEPTH = 17 };
    begin();
    add("(global $n (mut i32) (i32.const 0)) (func $f0 (global.set $n (i32.add (global.get $n) (i32.const "
        "1))))\n");
    for (unsigned i = 1; i <= DEPTH; i++)
        add("(func $f%u (call $f%u) (call $f%u))\n", i, i - 1, i - 1);
    add("(func (export \"f\") (result i32) (call $f%u) (global.get $n))", DEPTH);
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_ge(total, 4u << DEPTH);
    ck_assert_uint_le(most, STRETCH_MAX);
    ck_assert_uint_eq(rewritten.poll_count, DEPTH + 1); // all but $f0
}

TW_TEST("the same chain through tables is polled") {
    enum { DEPTH = 16 };
    begin();
    // A type for each depth, so that nothing recurses.
    add("(table %u funcref) (elem (i32.const 0)", DEPTH + 1);
    for (unsigned i = 0; i <= DEPTH; i++)
        add(" $f%u", i);
    add(")\n(global $n (mut i32) (i32.const 0))\n");
    for (unsigned i = 0; i <= DEPTH; i++) {
        add("(type $t%u (func (param", i);
        for (unsigned k = 0; k <= i; k++)
            add(" %s", k & 1 ? "i64" : "i32");
        add(")))\n");
    }
    for (unsigned i = 0; i <= DEPTH; i++) {
        add("(func $f%u (type $t%u)", i, i);
        for (unsigned twice = 0; twice < 2 && i; twice++) {
            for (unsigned k = 0; k < i; k++)
                add(" (%s.const 1)", k & 1 ? "i64" : "i32");
            add(" (call_indirect (type $t%u) (i32.const %u))", i - 1, i - 1);
        }
        add("(global.set $n (i32.add (global.get $n) (i32.const 1))))\n");
    }
    add("(func (export \"f\") (result i32)");
    for (unsigned k = 0; k <= DEPTH; k++)
        add(" (%s.const 1)", k & 1 ? "i64" : "i32");
    add(" (call_indirect (type $t%u) (i32.const %u)) (global.get $n))", DEPTH, DEPTH);
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_ge(total, 4u << DEPTH);
    ck_assert_uint_le(most, STRETCH_MAX);
    ck_assert_uint_ge(rewritten.poll_count, 1);
}

TW_TEST("calls through a table that may recurse do not hide what else they run") {
    // $long costs 100,000 and never comes back, $back has the same type and does.
    begin();
    add("(table 2 funcref) (elem (i32.const 0) $long $back) (type $t (func))\n(func $long ");
    add_work(100'000);
    add(") (func $back ");
    for (unsigned i = 0; i < 8; i++)
        add("(call_indirect (type $t) (i32.const 0))");
    add(") (func (export \"f\") (call $back))");
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_ge(total, 800'000);
    ck_assert_uint_le(most, STRETCH_MAX);
}

TW_TEST("after a recursive call little runs without a poll") {
    // 900 instructions after the call need none, 3,000 do: a recursion as deep as the stack allows must
    // unwind fast.
    static const unsigned works[] = {900, 3'000}, polls[] = {2, 3};
    for (unsigned i = 0; i < 2; i++) {
        begin();
        add("(func $f (param i32) (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const "
            "1))))) ");
        add_work(works[i]);
        add(") (func (export \"go\") (call $f (i32.const 40)))");
        finish();
        // At both entries, and in the work if it is much.
        ck_assert_uint_eq(rewritten.poll_count, polls[i]);
    }
}

TW_TEST("instructions that take a length count for what they may cost") {
    // Each with one at the entry.
    begin();
    add("(memory 1) (func (export \"f\") (param i32)");
    for (unsigned i = 0; i < 10; i++)
        add("(table.fill 0 (i32.const 0) (ref.null func) (local.get 0))");
    add(") (table 1 funcref)");
    finish();
    ck_assert_uint_eq(rewritten.poll_count, 10); // before each: for the first it is the entry

    // In pieces of 16,384 units, and 16 for the way there: 15 of them fit the budget, with 3 instructions each beside.
    begin();
    add("(memory 1) (func (export \"f\") (param i32)");
    for (unsigned i = 0; i < 31; i++)
        add("(memory.fill (i32.const 0) (i32.const 0) (local.get 0))");
    add(")");
    finish();
    ck_assert_uint_eq(rewritten.helper_count, 1);
    ck_assert_uint_eq(rewritten.poll_count,
                      4); // at the entry, before the 16th and the 31st, and one in the helper

    begin();
    add("(memory 1) (func (export \"f\")");
    for (unsigned i = 0; i < 100; i++)
        add("(memory.copy (i32.const 0) (i32.const 64) (i32.const 32))");
    add(")");
    finish();
    ck_assert_uint_eq(rewritten.poll_count, 1);

    // Growing is 10,000 units: 24 of them fit the budget, with 2 instructions each beside.
    begin();
    add("(memory 1) (func (export \"f\")");
    for (unsigned i = 0; i < 49; i++)
        add("(drop (memory.grow (i32.const 0)))");
    add(")");
    finish();
    ck_assert_uint_eq(rewritten.poll_count, 3);
}

TW_TEST("what comes from a segment is done in pieces when the segment is longer than one") {
    for (unsigned more = 0; more <= 1; more++) {
        begin();
        add("(memory 9) (func (export \"f\") (param i32)"
            "(memory.init $d (i32.const 0) (i32.const 0) (local.get 0))"
            "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 262144)))"
            "(data $d \"");
        for (unsigned i = 0; i < 262'144 / 64 + more; i++)
            add("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        add("\")");
        finish();
        ck_assert_uint_eq(rewritten.helper_count, more);
        ck_assert_uint_eq(rewritten.poll_count, 1 + more); // at the entry, and in the helper
    }
}

TW_TEST("small leaves count in their callers") {
    // 77 units a call: the 3,247th is too much.
    for (unsigned over = 0; over < 2; over++) {
        begin();
        add("(func $leaf) (func (export \"f\") ");
        for (unsigned i = 0; i < 3'246 + over; i++)
            add("(call $leaf)");
        add(")");
        finish();
        ck_assert_uint_eq(rewritten.poll_count, 1 + over);
    }
    // Through a table it is the same.
    begin();
    add("(table 1 funcref) (elem (i32.const 0) $leaf) (func $leaf) (func (export \"f\") ");
    for (unsigned i = 0; i < 4'000; i++)
        add("(call_indirect (i32.const 0))");
    add(")");
    unsigned total, most = longest_stretch(finish(), &total);
    ck_assert_uint_ge(total, 8'000);
    ck_assert_uint_le(most, STRETCH_MAX);
    ck_assert_uint_ge(rewritten.poll_count, 2);
}

TW_TEST("the poll memory takes the last number, 15 at most") {
    begin();
    for (unsigned i = 0; i < 15; i++)
        add("(memory 1)");
    add("(func (export \"f\") (loop))");
    struct tw_span out = finish();
    ck_assert_uint_eq(count_polls(out, 15), 1);

    struct tw_buf none;
    struct tw_wasm_rewrite_options options = {.poll = true};
    begin();
    for (unsigned i = 0; i < 16; i++)
        add("(memory 1)");
    add(")");
    parse(assemble((const char *)text.data));
    tw_buf_init(&none, 1 << 20);
    ck_assert(!tw_wasm_rewrite(&arena, &wasm, &options, &none, &rewritten, &err));
    ck_assert_int_eq(err.code, TW_ERR_MODULE_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.message, "16 memories, the limit is 15"));
    ck_assert_uint_eq(none.len, 0);
    options.poll = false;
    tw_assert_ok(tw_wasm_rewrite(&arena, &wasm, &options, &none, &rewritten, &err), &err);
    tw_buf_done(&none);
    tw_buf_done(&text);
}

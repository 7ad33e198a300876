// SPDX-License-Identifier: Apache-2.0
//
// What WebAssembly 3.0 added: typed references, objects, exceptions, tables with initial values. Results are worked out by
// hand; each guest runs with polls and with epochs. Wasmtime's own translator makes the binaries, since wabt does not know all of it.

#include "engine_test.h"

static void check_both(const char *wat, int expected) {
    for (enum tw_interrupt interrupt = TW_INTERRUPT_POLL; interrupt <= TW_INTERRUPT_EPOCH; interrupt++) {
        struct engine_test test;
        struct tw_engine_options options = {.warm_per_function = 2, .interrupt = interrupt};
        engine_test_open(&test, &options);
        struct tw_module *module = engine_test_module(&test, wat);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(ENGINE_CALL(&test, module, "run"), expected);
        tw_module_unref(module);
        engine_test_close(&test);
    }
}

TW_TEST("functions are called through typed references, in place and as tail calls") {
    check_both(
        "(module (type $f (func (param i32) (result i32)))"
        "(func $double (type $f) (i32.mul (local.get 0) (i32.const 2)))"
        "(func $next (type $f) (return_call_ref $f (i32.add (local.get 0) (i32.const 1)) (ref.func $double)))"
        "(elem declare func $double $next)"
        "(func (export \"run\") (result i32) (local $r (ref null $f))"
        " (block $null (br_on_null $null (local.get $r)) drop (return (i32.const -1)))"
        " (local.set $r (ref.func $next))"
        " (block $live (result (ref $f)) (br_on_non_null $live (local.get $r)) (return (i32.const -2)))"
        " (drop) (call_ref $f (i32.const 20) (ref.as_non_null (local.get $r)))))", // (20 + 1) · 2
        42);
}

TW_TEST("a table begins with its initial value") {
    check_both("(module (type $f (func (result i32))) (func $seven (type $f) (i32.const 7))"
               "(table $t 3 (ref $f) (ref.func $seven))"
               "(func (export \"run\") (result i32) (call_indirect $t (type $f) (i32.const 2))))",
               7);
}

// A list of 1 … 10 on the heap, summed: 55; an array filled, copied and read: 3 · 9 = 27; an i31: -5; casts: 100.
TW_TEST("structures, arrays, small integers and casts work, beside a memory that begins empty") {
    check_both(
        "(module (memory (export \"memory\") 0)"
        "(rec (type $list (sub (struct (field $head i32) (field $tail (ref null $list))))))"
        "(type $pair (sub $list (struct (field i32) (field (ref null $list)) (field (mut i64)))))"
        "(type $bytes (array (mut i8)))"
        "(data $d \"\\01\\02\\03\\04\") "
        "(func $sum (param $l (ref null $list)) (result i32) (local $s i32)"
        " (block $end (loop $next (br_if $end (ref.is_null (local.get $l)))"
        "  (local.set $s (i32.add (local.get $s) (struct.get $list $head (local.get $l))))"
        "  (local.set $l (struct.get $list $tail (local.get $l))) (br $next))) (local.get $s))"
        "(func $make (result (ref null $list)) (local $n i32) (local $l (ref null $list))"
        " (loop $again (local.set $l (struct.new $list (local.tee $n (i32.add (local.get $n) (i32.const 1))) "
        "(local.get $l)))"
        "  (br_if $again (i32.lt_u (local.get $n) (i32.const 10)))) (local.get $l))"
        "(func $arrays (result i32) (local $a (ref $bytes)) (local $b (ref $bytes))"
        " (local.set $a (array.new $bytes (i32.const 1) (i32.const 8)))"
        " (array.fill $bytes (local.get $a) (i32.const 2) (i32.const 9) (i32.const 4))"
        " (local.set $b (array.new_default $bytes (array.len (local.get $a))))"
        " (array.copy $bytes $bytes (local.get $b) (i32.const 1) (local.get $a) (i32.const 2) (i32.const 3))"
        " (array.init_data $bytes $d (local.get $b) (i32.const 4) (i32.const 0) (i32.const 4))"
        " (array.set $bytes (local.get $b) (i32.const 0) (i32.const 0xff))"
        " (i32.add (i32.add (array.get_s $bytes (local.get $b) (i32.const 0)) (array.get_u $bytes (local.get "
        "$b) (i32.const 7)))"
        "  (i32.mul (array.get_u $bytes (local.get $b) (i32.const 3)) (i32.const 3))))" // -1 + 4 + 27
        "(func $cast (param anyref) (result i32)"
        " (block $pair (result (ref $pair)) (block $i31 (result (ref i31))"
        "  (br_on_cast $pair anyref (ref $pair) (local.get 0))"
        "  (br_on_cast $i31 anyref (ref i31)) (return (if (result i32) (ref.test (ref null none) (local.get "
        "0))"
        "   (then (i32.const 1)) (else (i32.const 2)))) unreachable) (return (i31.get_s)))"
        " (return (i32.wrap_i64 (struct.get $pair 2))))"
        "(func (export \"run\") (result i32)"
        " (i32.add (i32.add (call $sum (call $make)) (call $arrays))"                            // 55 + 30
        "  (i32.add (call $cast (ref.i31 (i32.const -5)))"                                       // -5
        "   (call $cast (struct.new $pair (i32.const 0) (ref.null $list) (i64.const 100)))))))", // 100
        180);
}

// Objects made by constant expressions, and arrays of functions from segments: 5 + 6 + 30 + 1.
TW_TEST("constant expressions make objects, segments make arrays of functions") {
    check_both(
        "(module (type $f (func (result i32))) (type $box (struct (field $n (mut i32)))) (type $fs (array "
        "(mut funcref)))"
        "(func $five (type $f) (i32.const 5)) (func $six (type $f) (i32.const 6))"
        "(elem $e funcref (ref.func $five) (ref.func $six))"
        "(global $box (ref $box) (struct.new $box (i32.const 29)))"
        "(global $small (ref i31) (ref.i31 (i32.const 1)))"
        "(global $any anyref (any.convert_extern (ref.null extern)))"
        "(func $at (param $a (ref $fs)) (param $i i32) (result i32)"
        " (call_ref $f (ref.cast (ref $f) (array.get $fs (local.get $a) (local.get $i)))))"
        "(func (export \"run\") (result i32) (local $a (ref $fs))"
        " (struct.set $box $n (global.get $box) (i32.add (struct.get $box $n (global.get $box)) (i32.const "
        "1)))"
        " (local.set $a (array.new_elem $fs $e (i32.const 0) (i32.const 2)))"
        " (array.init_elem $fs $e (local.get $a) (i32.const 0) (i32.const 1) (i32.const 1))" // six, six
        " (array.init_elem $fs $e (local.get $a) (i32.const 0) (i32.const 0) (i32.const 1))" // five, six
        " (i32.add (i32.add (call $at (local.get $a) (i32.const 0)) (call $at (local.get $a) (i32.const 1)))"
        "  (i32.add (struct.get $box $n (global.get $box))" // 30 in every call: 29 + 1
        "   (i32.add (i31.get_u (global.get $small)) (i32.eqz (ref.is_null (global.get $any))))))))",
        42);
}

// Thrown three frames deep, caught by tag with its value: 40; caught by all and thrown again: 1; finally 41 + 1.
TW_TEST("exceptions are caught where they should be, and instances stay warm") {
    check_both(
        "(module (tag $t (param i32)) (tag $other)"
        "(func $throw (param i32) (if (local.get 0) (then (call $throw (i32.sub (local.get 0) "
        "(i32.const 1)))))"
        " (throw $t (i32.const 40)))"
        "(func $again (block $all (result exnref) (try_table (catch_all_ref $all) (call $throw "
        "(i32.const 3))) unreachable)"
        " (throw_ref))"
        "(func (export \"run\") (result i32)"
        " (block $caught (result i32)"
        "  (block $wrong (drop"
        "   (try_table (result i32) (catch $other $wrong) (catch $t $caught) (call $again) (i32.const 5))))"
        "  (return (i32.const 6)))"
        " (i32.const 2) (i32.add)))",
        42);
}

static void check_trap(struct engine_test *test, struct tw_module *module, const char *export,
                       const char *kind) {
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(test, module, export, 20000, &call), TW_ERR_GUEST_TRAP);
    ck_assert_str_eq(call.invoke.trap_kind, kind);
    engine_test_forget(&call);
}

TW_TEST("what goes wrong with exceptions and objects ends the call by name") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (tag $t) (type $s (struct)) (type $a (array i64))"
        "(func $deep (throw $t)) (func (export \"throw\") (call $deep))"
        "(func (export \"cast\") (drop (ref.cast (ref $a) (struct.new $s))))"
        "(func (export \"null\") (drop (array.len (ref.null $a))))"
        "(func (export \"far\") (drop (array.get $a (array.new_default $a (i32.const 3)) (i32.const 3))))"
        "(func (export \"huge\") (drop (array.new_default $a (i32.const -1))))"
        "(func (export \"good\") (result i32) (i32.const 7)))");
    struct engine_test_call call = {};
    struct tw_error err = {};
    ck_assert_int_eq(engine_test_code(&test, module, "throw", 5000, &call), TW_ERR_GUEST_TRAP);
    ck_assert_str_eq(call.invoke.error.message, "the function trapped: uncaught_exception in deep");
    struct tw_json *trace = tw_json_parse(tw_buf_span(&call.invoke.backtrace), &err);
    tw_assert_ok(trace, &err);
    ck_assert_uint_eq(tw_json_count(trace), 2);
    tw_json_free(trace);
    engine_test_forget(&call);
    check_trap(&test, module, "cast", "cast_failure");
    check_trap(&test, module, "null", "null_reference");
    check_trap(&test, module, "far", "array_out_of_bounds");
    check_trap(&test, module, "huge", "allocation_too_large");
    ck_assert_int_eq(ENGINE_CALL(&test, module, "good"), 7);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("objects count against the function's memory, and garbage does not add up") {
    static const char wat[] =
        "(module (memory (export \"memory\") 16) (type $node (struct (field (ref null $node)) (field v128)))"
        "(func (export \"keep\") (local $l (ref null $node))"
        " (loop $more (local.set $l (struct.new $node (local.get $l) (v128.const i64x2 0 0))) (br $more)))"
        "(func (export \"drop\") (result i32) (local $n i32)"
        " (loop $more (drop (struct.new $node (ref.null $node) (v128.const i64x2 0 0)))"
        "  (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 200000))))"
        " (local.get $n))"
        "(func (export \"grow\") (result i32) (memory.grow (i32.const 64))))";
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module_limits limits = {.memory_bytes = 3 << 20}; // 1 MiB of memory, 2 MiB for objects
    struct tw_error err = {};
    struct tw_span wasm = engine_test_wat(wat);
    struct tw_module *module = engine_test_try(&test, wasm, &limits, &err);
    tw_assert_ok(module, &err);
    check_trap(&test, module, "keep", "out_of_memory");
    ck_assert_int_eq(ENGINE_CALL(&test, module, "drop"), 200000);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "grow"), -1);
    tw_module_unref(module);
    free((void *)(uintptr_t)wasm.data);
    engine_test_close(&test);
}

static void check_stopped(const char *wat) {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, wat);
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(&test, module, "run", 100, &call), TW_ERR_TIMEOUT);
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a deadline stops guests that go on by exceptions or by typed references only") {
    // catch_all brings it back to the loop, whose poll it passes each time.
    check_stopped(
        "(module (tag $t) (func (export \"run\") (loop $again (try_table (catch_all $again) (throw $t)))))");
    check_stopped("(module (type $f (func)) (func $f (type $f) (return_call_ref $f (ref.func $f))) (elem "
                  "declare func $f)"
                  "(func (export \"run\") (call $f)))");
    check_stopped("(module (type $a (array (mut i8))) (func (export \"run\") (local $a (ref null $a))"
                  " (local.set $a (array.new_default $a (i32.const 1000000)))"
                  " (loop $l (array.fill $a (local.get $a) (i32.const 0) (i32.const 1) (i32.const 1000000)) "
                  "(br $l))))");
}

TW_TEST("an exception does not reach the host's functions, and leaves through start code by name") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_error err =
        engine_test_refused(&test, "(module (tag $t) (func $s (throw $t)) (start $s))", NULL);
    ck_assert_int_eq(err.code, TW_ERR_START_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "uncaught_exception"));
    engine_test_close(&test);
}

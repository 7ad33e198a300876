// SPDX-License-Identifier: Apache-2.0
//
// Calls: values in and out, default exports, and that every call is fresh.

#include "engine_test.h"

TW_TEST("an exported function adds two numbers") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module =
        engine_test_module(&test, "(module (func (export \"add\") (param i32 i32) (result i32) (i32.add "
                                  "(local.get 0) (local.get 1))))");
    ck_assert_int_eq(ENGINE_CALL(&test, module, "add", 40, 2), 42);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "add", -1, 1), 0);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("every numeric type goes in and comes out as it is") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (func (export \"turn\") (param i64 f32 f64 v128) (result v128 f64 f32 i64)"
               " (local.get 3) (local.get 2) (local.get 1) (local.get 0)))");
    struct engine_test_call call = {};
    engine_test_prepare(&call, module, "turn", 5000);
    call.args[0] = (struct tw_value){.type = TW_WASM_I64, .of.i64 = INT64_MIN + 7};
    call.args[1] = (struct tw_value){.type = TW_WASM_F32, .of.f32 = 1.5F};
    call.args[2] = (struct tw_value){.type = TW_WASM_F64, .of.f64 = -0.1};
    call.args[3] = (struct tw_value){.type = TW_WASM_V128};
    for (unsigned i = 0; i < 16; i++)
        call.args[3].of.v128[i] = (uint8_t)(i * 17);
    call.invoke.arg_count = 4;
    engine_test_submit(&test, &call);
    engine_test_wait(&call);
    ck_assert_int_eq(call.invoke.error.code, TW_OK);
    ck_assert_uint_eq(call.invoke.result_count, 4);
    ck_assert_mem_eq(call.invoke.results[0].of.v128, call.args[3].of.v128, 16);
    ck_assert(call.invoke.results[1].type == TW_WASM_F64 && call.invoke.results[1].of.f64 == -0.1);
    ck_assert(call.invoke.results[2].type == TW_WASM_F32 && call.invoke.results[2].of.f32 == 1.5F);
    ck_assert(call.invoke.results[3].type == TW_WASM_I64 && call.invoke.results[3].of.i64 == INT64_MIN + 7);
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("without a name _start is called, else main, and C's main gets two zeros") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *both =
        engine_test_module(&test, "(module (func (export \"main\") (result i32) (i32.const 1))"
                                  "(func (export \"_start\") (result i32) (i32.const 2)))");
    struct tw_module *c =
        engine_test_module(&test, "(module (func (export \"main\") (param i32 i32) (result i32)"
                                  " (i32.add (i32.const 3) (i32.add (local.get 0) (local.get 1)))))");
    ck_assert_int_eq(ENGINE_CALL(&test, both, NULL), 2);
    ck_assert_int_eq(ENGINE_CALL(&test, c, NULL), 3);
    ck_assert_int_eq(ENGINE_CALL(&test, c, "main", 10, 20), 33);
    tw_module_unref(both);
    tw_module_unref(c);
    engine_test_close(&test);
}

TW_TEST("a missing export and arguments that do not fit are refused at once") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module =
        engine_test_module(&test, "(module (func (export \"f\") (param i32)) (func (export \"r\") (param "
                                  "funcref)) (memory (export \"m\") 1))");
    struct engine_test_call call = {};
    struct tw_error err = {};
    engine_test_prepare(&call, module, "nothing", 1000);
    ck_assert(!tw_engine_submit(test.engine, &call.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_MISSING_EXPORT);
    ck_assert_ptr_nonnull(strstr(err.message, "nothing"));
    call.invoke.export = NULL;
    ck_assert(!tw_engine_submit(test.engine, &call.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_MISSING_EXPORT);
    call.invoke.export = "f";
    ck_assert(!tw_engine_submit(test.engine, &call.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_INVALID_ARGS);
    call.args[0] = (struct tw_value){.type = TW_WASM_I64};
    call.invoke.arg_count = 1;
    ck_assert(!tw_engine_submit(test.engine, &call.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_INVALID_ARGS);
    call.invoke.export = "r";
    call.args[0] = (struct tw_value){.type = TW_WASM_FUNCREF};
    ck_assert(!tw_engine_submit(test.engine, &call.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_INVALID_ARGS);
    call.invoke.export = "m";
    ck_assert(!tw_engine_submit(test.engine, &call.invoke, &err));
    ck_assert_int_eq(err.code, TW_ERR_MISSING_EXPORT);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a call sees nothing of the one before in memory or globals") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (memory (export \"memory\") 40) (data (i32.const 100) \"\\07\") (global $g (mut i32) "
        "(i32.const 5))"
        "(global $f (mut f64) (f64.const 0.5))"
        // Adds one to a byte of data, a byte on an untouched page, a byte on the last page and two globals;
        // returns their sum before.
        "(func (export \"count\") (result i32) (local $sum i32)"
        " (local.set $sum (i32.add (i32.load8_u (i32.const 100)) (i32.add (i32.load8_u (i32.const 70000))"
        "  (i32.add (i32.load8_u (i32.const 2621439)) (i32.add (global.get $g) (i32.trunc_f64_s (f64.mul "
        "(global.get $f) (f64.const 2))))))))"
        " (i32.store8 (i32.const 100) (i32.const 77)) (i32.store8 (i32.const 70000) (i32.const 88))"
        " (i32.store8 (i32.const 2621439) (i32.const 99)) (global.set $g (i32.const 1000)) (global.set $f "
        "(f64.const 1e6))"
        " (local.get $sum))"
        // Writes one byte on every page: more than a reset copies back one by one.
        "(func (export \"all\") (result i32) (local $at i32)"
        " (loop $l (i32.store8 (local.get $at) (i32.const 1))"
        "  (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const "
        "2621440)))) (local.get $at))"
        "(func (export \"sum\") (result i32) (local $at i32) (local $sum i32)"
        " (loop $l (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))"
        "  (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const "
        "2621440)))) (local.get $sum)))");
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "count"), 7 + 5 + 1);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "sum"), 7);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "all"), 2621440);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "sum"), 7);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "count"), 7 + 5 + 1);
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.instances, 1); // the same one served them all
    ck_assert_uint_eq(stats.warm, 1);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_POOL_DRAWS, (struct tw_labels){.values = {"miss"}}), 1);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_POOL_DRAWS, (struct tw_labels){.values = {"hit"}}), 8);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("memory that a call grew is gone for the next, and grows again with zeros") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (memory (export \"memory\") 1 64)"
        // Returns (size before) * 1000 + byte found at the last page's end after growing, and dirties it.
        "(func (export \"grow\") (param i32) (result i32) (local $old i32) (local $end i32)"
        " (local.set $old (memory.grow (local.get 0)))"
        " (local.set $end (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)))"
        " (i32.add (i32.mul (local.get $old) (i32.const 1000)) (i32.load8_u (local.get $end)))"
        " (i32.store8 (local.get $end) (i32.const 9)))"
        "(func (export \"beyond\") (result i32) (i32.load (i32.const 65536)))"
        "(func (export \"size\") (result i32) (memory.size)))");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "grow", 8), 1000);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "size"), 1);
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(&test, module, "beyond", 1000, &call), TW_ERR_GUEST_TRAP);
    ck_assert_str_eq(call.invoke.trap_kind, "out_of_bounds");
    engine_test_forget(&call);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "grow", 63), 1000);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "grow", 64),
                     -1000); // beyond its maximum: nothing to dirty but page 1
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("tables that a call changed are fresh for the next") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (table $t 2 8 funcref) (elem (i32.const 0) $one) (elem declare func $two)"
               "(func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))"
               "(func (export \"swap\") (result i32) (call_indirect (result i32) (i32.const 0))"
               " (table.set (i32.const 0) (ref.func $two)) (drop (table.grow (ref.null func) (i32.const 3))))"
               "(func (export \"size\") (result i32) (table.size)))");
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(ENGINE_CALL(&test, module, "swap"), 1);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "size"), 2);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("start code that changed tables has run in every instance") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (memory (export \"memory\") 1) (table 1 funcref) (elem declare func $two) (global "
               "$runs (mut i32) (i32.const 0))"
               "(func $two (result i32) (i32.const 2))"
               "(func $start (table.set (i32.const 0) (ref.func $two)) (i32.store (i32.const 0) (i32.add "
               "(i32.const 1) (i32.load (i32.const 0))))"
               " (global.set $runs (i32.add (global.get $runs) (i32.const 1))))"
               "(start $start)"
               "(func (export \"f\") (result i32) (i32.add (call_indirect (result i32) (i32.const 0))"
               " (i32.add (i32.mul (i32.const 10) (i32.load (i32.const 0))) (i32.mul (i32.const 100) "
               "(global.get $runs))))"
               " (i32.store (i32.const 0) (i32.const 50)) (global.set $runs (i32.const 7))))");
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 112);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a dropped data segment is back for the next call") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (memory (export \"memory\") 1) (data $d \"abc\")"
               "(func (export \"f\") (result i32) (memory.init $d (i32.const 0) (i32.const 1) (i32.const 1))"
               " (data.drop $d) (i32.load8_u (i32.const 0))))");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 'b');
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("start code and _initialize run once, at deploy, and their state is the beginning of every call") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (memory (export \"memory\") 1) (global $g (mut i64) (i64.const 0))"
               "(func $start (i32.store (i32.const 8) (i32.const 30)) (drop (memory.grow (i32.const 2)))"
               " (i32.store8 (i32.const 190000) (i32.const 4)))"
               "(start $start)"
               "(func (export \"_initialize\") (global.set $g (i64.add (global.get $g) (i64.const 200))))"
               "(func (export \"f\") (result i32) (i32.add (i32.add (i32.load (i32.const 8)) (i32.load8_u "
               "(i32.const 190000)))"
               " (i32.add (i32.wrap_i64 (global.get $g)) (i32.mul (memory.size) (i32.const 1000))))"
               " (i32.store (i32.const 8) (i32.const 0)) (global.set $g (i64.const 0)) (i32.store8 "
               "(i32.const 190000) (i32.const 0))))");
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 3234);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("each of several memories is restored, and the one exported as memory is the host's") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test,
        "(module (import \"wasi:tensor/host@0.1.0\" \"emit-chunk\" (func $emit (param i32 i32) (result i32)))"
        "(memory $a 1) (memory $b (export \"memory\") 2) (data (memory $a) (i32.const 0) \"A\") (data "
        "(memory $b) (i32.const 0) \"B\")"
        "(func (export \"f\") (result i32) (drop (call $emit (i32.const 0) (i32.const 1)))"
        " (i32.add (i32.load8_u $a (i32.const 0)) (i32.load8_u $b (i32.const 0)))"
        " (i32.store8 $a (i32.const 0) (i32.const 1)) (i32.store8 $b (i32.const 0) (i32.const 1)) (drop "
        "(memory.grow $a (i32.const 1)))))");
    for (int i = 0; i < 3; i++) {
        struct engine_test_call call = {};
        ck_assert_int_eq(engine_test_code(&test, module, "f", 5000, &call), TW_OK);
        ck_assert_int_eq(call.invoke.results[0].of.i32, 'A' + 'B');
        ck_assert_uint_eq(call.invoke.output.len, 1);
        ck_assert_int_eq(call.invoke.output.data[0], 'B');
        engine_test_forget(&call);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("tables of externref go with memories") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(
        &test, "(module (memory (export \"memory\") 1 3) (table $t 3 externref)"
               "(func (export \"f\") (result i32) (i32.store (i32.const 0) (i32.const 3))"
               " (i32.add (ref.is_null (table.get $t (i32.const 1))) (i32.load (i32.const 0)))))");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ENGINE_CALL(&test, module, "f"), 4);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("warm instances stay within their maxima and go with their module") {
    struct engine_test test;
    struct tw_engine_options options = {.warm_per_function = 2, .max_warm = 3, .max_instances = 4};
    engine_test_open(&test, &options);
    const char *text = "(module (memory (export \"memory\") 1) (func (export \"f\")))";
    struct tw_module *a = engine_test_module(&test, text), *b = engine_test_module(&test, text);
    struct tw_error err = {};
    uint32_t warm = 0;
    tw_assert_ok(tw_module_prewarm(test.engine, a, 0, NULL, 5, &warm, &err), &err);
    ck_assert_uint_eq(warm, 2);
    tw_assert_ok(tw_module_prewarm(test.engine, b, 0, NULL, 2, &warm, &err), &err);
    ck_assert_uint_eq(warm, 1);
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.warm, 3);
    ck_assert_uint_eq(stats.instances, 3);
    tw_module_unref(a);
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.warm, 1);
    ck_assert_uint_eq(stats.instances, 1);
    tw_module_unref(b);
    engine_test_close(&test);
}

TW_TEST("another tenant's call never has a tenant's warm instance") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, "(module (func (export \"f\")))");
    for (uint64_t tenant = 1; tenant <= 3; tenant++) {
        struct engine_test_call call = {};
        call.invoke.tenant = tenant;
        ck_assert_int_eq(engine_test_code(&test, module, "f", 1000, &call), TW_OK);
        engine_test_forget(&call);
    }
    ck_assert_int_eq(tw_metric_get(TW_METRIC_POOL_DRAWS, (struct tw_labels){.values = {"miss"}}), 3);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("at the cap on instances a warm one of another function makes room") {
    struct engine_test test;
    struct tw_engine_options options = {.warm_per_function = 4, .max_instances = 2};
    engine_test_open(&test, &options);
    struct tw_module *a =
        engine_test_module(&test, "(module (func (export \"f\") (result i32) (i32.const 1)))");
    struct tw_module *b =
        engine_test_module(&test, "(module (func (export \"f\") (result i32) (i32.const 2)))");
    struct tw_error err = {};
    uint32_t warm;
    tw_assert_ok(tw_module_prewarm(test.engine, a, 0, NULL, 2, &warm, &err), &err);
    ck_assert_uint_eq(warm, 2);
    ck_assert_int_eq(ENGINE_CALL(&test, b, "f"), 2);
    tw_module_unref(a);
    tw_module_unref(b);
    engine_test_close(&test);
}

TW_TEST("a call runs on the calling thread") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module =
        engine_test_module(&test, "(module (func (export \"main\") (result i64) (i64.const 77)))");
    struct tw_invoke invoke = {.module = module, .deadline_ns = TW_NO_DEADLINE};
    tw_engine_run(test.engine, &invoke);
    ck_assert_int_eq(invoke.error.code, TW_OK);
    ck_assert_int_eq(invoke.results[0].of.i64, 77);
    ck_assert_int_ge(invoke.times.ended_ns, invoke.times.running_ns);
    ck_assert_int_ge(invoke.times.running_ns, invoke.times.started_ns);
    ck_assert_int_gt(invoke.times.queued_ns, 0);
    tw_module_unref(module);
    engine_test_close(&test);
}

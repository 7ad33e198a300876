// SPDX-License-Identifier: Apache-2.0
//
// wasi_cuda as a guest sees it, on the CPU device; tests/guests/cuda.c does the checking within.

#include "engine_test.h"

static struct tw_module *guest(struct engine_test *test) {
    return engine_test_c_file(test, TW_TEST_SOURCE_DIR "/guests/cuda.c",
                              "-mexec-model=reactor -I" TW_TEST_SOURCE_DIR "/../sdk/c");
}

TW_TEST("kernels run on guest memory and on buffers") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = guest(&test);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ENGINE_CALL(&test, module, "in_place"), 0);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "buffers"), 0);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "fresh"), 0);
    }
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.instances, 1); // the context was reset and used again
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("every misuse of wasi_cuda answers its code and leaves the next call unharmed") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = guest(&test);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ENGINE_CALL(&test, module, "errors"), 0);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "fresh"), 0);
        ck_assert_int_eq(ENGINE_CALL(&test, module, "in_place"), 0);
    }
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("the time that kernels took is told") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = guest(&test);
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(&test, module, "in_place", 20000, &call), TW_OK);
    ck_assert_int_eq(call.invoke.results[0].of.i32, 0);
    ck_assert_uint_gt(call.invoke.times.kernel_ns, 0);
    ck_assert_int_le((int64_t)call.invoke.times.kernel_ns,
                     call.invoke.times.ended_ns - call.invoke.times.running_ns);
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("what kernels print goes to the call's standard error") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = guest(&test);
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(&test, module, "speaks", 20000, &call), TW_OK);
    ck_assert_int_eq(call.invoke.results[0].of.i32, 0);
    struct tw_str said = tw_buf_str(&call.invoke.stderr_text);
    ck_assert_msg(tw_str_equal(said, TW_STR("hi 0\nhi 1\nhi 2\n")), "said '%.*s'", TW_STR_ARG(said));
    engine_test_forget(&call);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("a kernel that never ends is stopped by the deadline and by a cancel") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = guest(&test);
    struct engine_test_call call = {};
    ck_assert_int_eq(engine_test_code(&test, module, "forever", 2000, &call), TW_ERR_TIMEOUT);
    engine_test_forget(&call);
    struct engine_test_call cancelled = {};
    engine_test_prepare(&cancelled, module, "forever", ENGINE_TEST_PATIENCE_MS);
    engine_test_submit(&test, &cancelled);
    for (volatile int spin = 0; spin < 100000000; spin++)
        continue;
    tw_invoke_cancel(&cancelled.invoke);
    engine_test_wait(&cancelled);
    ck_assert_int_eq(cancelled.invoke.error.code, TW_ERR_CANCELLED);
    engine_test_forget(&cancelled);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "in_place"), 0);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("calls that wait for kernels hold no thread") {
    enum { CALLS = 8 };
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .warm_per_function = CALLS};
    engine_test_open(&test, &options);
    struct tw_module *module = guest(&test);
    ck_assert_int_eq(ENGINE_CALL(&test, module, "in_place"), 0);
    struct engine_test_call stuck = {}, calls[CALLS] = {};
    engine_test_prepare(&stuck, module, "forever", 3000);
    engine_test_submit(&test, &stuck);
    for (int i = 0; i < CALLS; i++) {
        engine_test_prepare(&calls[i], module, "fresh", 2500);
        engine_test_submit(&test, &calls[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, TW_OK);
        engine_test_forget(&calls[i]);
    }
    ck_assert_int_eq((int)tw_state_get(&stuck.over), 0); // on one worker
    engine_test_wait(&stuck);
    ck_assert_int_eq(stuck.invoke.error.code, TW_ERR_TIMEOUT);
    engine_test_forget(&stuck);
    tw_module_unref(module);
    engine_test_close(&test);
}

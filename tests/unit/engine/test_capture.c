// SPDX-License-Identifier: Apache-2.0
//
// Capturing kept instances: what goes on from an image, and that calls, captures and ends get along.

#include "engine_test.h"

static const char *const guest =
    "(module (memory (export \"memory\") 1 10) (global $g (mut i32) (i32.const 100))"
    "(func (export \"count\") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1)))"
    " (if (i32.eq (memory.size) (i32.const 1)) (then (drop (memory.grow (i32.const 2)))))"
    " (i32.store (i32.const 190000) (i32.add (i32.load (i32.const 190000)) (i32.const 1)))"
    " (i32.add (i32.mul (i32.load (i32.const 190000)) (i32.const 1000)) (global.get $g)))"
    "(func (export \"spin\") (loop $l (br $l))))";

static struct tw_instance *make(struct tw_module *module) {
    struct tw_error err = {};
    struct tw_instance *instance = tw_instance_new(module, 7, NULL, 1000 * TW_NS_PER_S, &err);
    tw_assert_ok(instance, &err);
    return instance;
}

static void submit(struct engine_test *test, struct engine_test_call *call, struct tw_module *module,
                   struct tw_instance *instance, const char *export, int timeout_ms) {
    engine_test_prepare(call, module, export, timeout_ms);
    call->invoke.instance = instance;
    call->invoke.tenant = 7;
    engine_test_submit(test, call);
}

static int count(struct engine_test *test, struct tw_module *module, struct tw_instance *instance) {
    struct engine_test_call call = {};
    submit(test, &call, module, instance, "count", 600'000);
    engine_test_wait(&call);
    tw_assert_ok(!call.invoke.error.code, &call.invoke.error);
    int value = call.invoke.results[0].of.i32;
    engine_test_forget(&call);
    return value;
}

static struct tw_buf capture(struct tw_instance *instance) {
    struct tw_error err = {};
    struct tw_buf image;
    tw_buf_init(&image, 64 << 20);
    tw_assert_ok(tw_instance_capture(instance, TW_NO_DEADLINE, &image, &err), &err);
    return image;
}

TW_TEST("an instance of a module opened with a captured image, anywhere in a file, goes on from there") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_error err = {};
    struct tw_span wasm = engine_test_wat(guest);
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_instance *instance = make(module);
    for (int i = 1; i <= 3; i++)
        ck_assert_int_eq(count(&test, module, instance), i * 1000 + 100 + i);
    struct tw_buf image = capture(instance);
    ck_assert_int_eq(count(&test, module, instance), 4104);
    static const uint8_t around[8192];
    struct tw_buf whole;
    tw_buf_init(&whole, 64 << 20);
    ck_assert(tw_buf_append(&whole, around, 8192) && tw_buf_append(&whole, image.data, image.len) &&
              tw_buf_append(&whole, around, 100));
    char path[96];
    snprintf(path, sizeof path, "%s/captured", test.dir);
    tw_assert_ok(tw_file_write(path, tw_buf_span(&whole), 0600, &err), &err);
    tw_buf_done(&whole);
    struct tw_image_file file = {.path = path, .at = 8192, .len = image.len};
    struct tw_module *later = tw_module_open(test.engine, wasm, &file, NULL, &err);
    tw_assert_ok(later, &err);
    struct tw_instance *one = make(later), *two = make(later);
    ck_assert_int_eq(count(&test, later, one), 4104);
    ck_assert_int_eq(count(&test, later, one), 5105);
    ck_assert_int_eq(count(&test, later, two), 4104);
    ck_assert_int_eq(ENGINE_CALL(&test, later, "count"), 4104); // and so does each fresh instance
    ck_assert_int_eq(ENGINE_CALL(&test, later, "count"), 4104);
    file.at = 4096;
    ck_assert_ptr_null(tw_module_open(test.engine, wasm, &file, NULL, &err));
    file = (struct tw_image_file){.path = path, .at = 8192, .len = image.len + 200};
    ck_assert_ptr_null(tw_module_open(test.engine, wasm, &file, NULL, &err));
    tw_instance_unref(one);
    tw_instance_unref(two);
    tw_instance_unref(instance);
    tw_module_unref(later);
    tw_module_unref(module);
    tw_buf_done(&image);
    free((void *)(uintptr_t)wasm.data);
    engine_test_close(&test);
}

TW_TEST("a capture that waits for a call gives up at its deadline, and the calls behind it still come") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_error err = {};
    struct tw_module *module = engine_test_module(&test, guest);
    struct tw_instance *instance = make(module);
    struct engine_test_call spin = {}, behind = {};
    struct tw_buf image;
    tw_buf_init(&image, 64 << 20);
    submit(&test, &spin, module, instance, "spin", 600'000);
    ck_assert(!tw_instance_capture(instance, tw_clock_ns() + 20 * TW_NS_PER_MS, &image, &err));
    ck_assert_int_eq(err.code, TW_ERR_TIMEOUT);
    submit(&test, &behind, module, instance, "count", 600'000);
    tw_invoke_cancel(&spin.invoke);
    engine_test_wait(&spin);
    engine_test_wait(&behind);
    // A call that was cancelled while it ran ends the instance; one that had not begun does not.
    bool has_ended = spin.invoke.times.running_ns;
    ck_assert_int_eq(behind.invoke.error.code, has_ended ? TW_ERR_CONFLICT : TW_OK);
    ck_assert_int_eq(tw_instance_capture(instance, TW_NO_DEADLINE, &image, &err), !has_ended);
    engine_test_forget(&spin);
    engine_test_forget(&behind);
    tw_buf_done(&image);
    tw_instance_unref(instance);
    tw_module_unref(module);
    engine_test_close(&test);
}

struct capturers {
    struct tw_instance *instance;
    struct tw_flag stop;
    struct tw_counter good, late, ended;
};

static void *keep_capturing(void *context) {
    struct capturers *capturers = context;
    struct tw_buf image;
    tw_buf_init(&image, 64 << 20);
    for (int64_t i = 0; !tw_flag_is_raised(&capturers->stop); i++) {
        struct tw_error err = {};
        // Some have no time at all, so that they give up while others have the guest.
        int64_t deadline_ns = i % 3 ? tw_clock_ns() + i % 5 * 20'000 : TW_NO_DEADLINE;
        if (tw_instance_capture(capturers->instance, deadline_ns, &image, &err))
            tw_counter_add(&capturers->good, 1);
        else
            tw_counter_add(err.code == TW_ERR_TIMEOUT ? &capturers->late : &capturers->ended, 1);
    }
    tw_buf_done(&image);
    return NULL;
}

TW_TEST("no call is lost between captures, and an end in the midst of them frees the guest once") {
    struct engine_test test;
    engine_test_open(&test, NULL);
    struct tw_module *module = engine_test_module(&test, guest);
    struct capturers capturers = {.instance = make(module)};
    pthread_t threads[3];
    for (size_t i = 0; i < TW_COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_capturing, &capturers), 0);
    for (int i = 1; i <= 200; i++)
        ck_assert_int_eq(count(&test, module, capturers.instance), i * 1000 + 100 + i);
    tw_instance_end(capturers.instance, "the test is over");
    while (tw_counter_get(&capturers.ended) == 0)
        sched_yield();
    tw_flag_raise(&capturers.stop);
    for (size_t i = 0; i < TW_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_gt(tw_counter_get(&capturers.good), 0);
    tw_instance_unref(capturers.instance);
    tw_module_unref(module);
    engine_test_close(&test); // asserts that nothing is left
}

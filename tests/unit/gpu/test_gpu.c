// SPDX-License-Identifier: Apache-2.0
//
// The whole: choosing devices, describing them, failing allocations, handles.

#include "unit/gpu/fixture.h"

TW_TEST("auto and cpu give the CPU device, cuda says that it is not there, anything else is refused") {
    static const struct {
        const char *device;
        enum tw_code code;
    } cases[] = {{"auto", TW_OK},
                 {"cpu", TW_OK},
                 {NULL, TW_OK},
                 {"cuda", TW_ERR_CUDA_NOT_AVAILABLE},
                 {"cuda:1", TW_ERR_CUDA_NOT_AVAILABLE},
                 {"tpu", TW_ERR_INVALID_REQUEST},
                 {"cpu:3", TW_ERR_INVALID_REQUEST}};
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        struct tw_gpu_options options = {.device = cases[i].device, .cpu_threads = 1};
        struct tw_error err = {};
        struct tw_gpu *gpu = tw_gpu_new(&options, &err);
        ck_assert_msg((gpu != NULL) == (cases[i].code == TW_OK), "%s: %s", cases[i].device, err.message);
        ck_assert_int_eq(err.code, cases[i].code);
        if (gpu) {
            ck_assert_uint_eq(tw_gpu_device_count(gpu), 1);
            ck_assert_ptr_eq(tw_gpu_device_default(gpu), tw_gpu_device_at(gpu, 0));
            ck_assert_ptr_null(tw_gpu_device_at(gpu, 1));
            ck_assert(tw_gpu_healthy(gpu));
        }
        tw_gpu_free(gpu);
    }
    struct tw_gpu_options many = {.device = "cpu", .cpu_threads = 1'000'000};
    struct tw_error err = {};
    ck_assert_ptr_null(tw_gpu_new(&many, &err));
}

TW_TEST("the device describes itself in JSON") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    struct tw_buf out;
    tw_buf_init(&out, 4096);
    ck_assert(tw_gpu_device_json(tw_gpu_device_default(fixture.gpu), &out));
    struct tw_json *json = tw_json_parse(tw_buf_span(&out), &fixture.err);
    tw_assert_ok(json, &fixture.err);
    ck_assert(tw_str_equal(tw_json_str(tw_json_get(json, "kind")), TW_STR("cpu")));
    ck_assert_uint_gt(tw_json_str(tw_json_get(json, "name")).len, 2);
    ck_assert_int_eq(tw_json_int(tw_json_get(json, "cores")), 2);
    ck_assert_int_eq(tw_json_int(tw_json_get(json, "lanes")), 32);
    ck_assert_int_gt(tw_json_int(tw_json_get(json, "memory_bytes")), 1 << 20);
    ck_assert(tw_json_bool(tw_json_get(json, "healthy")));
    const struct tw_json *limits = tw_json_get(json, "limits");
    ck_assert_int_eq(tw_json_int(tw_json_get(limits, "max_threads_per_block")), 1024);
    ck_assert_int_eq(tw_json_int(tw_json_get(limits, "max_grid_x")), 2'147'483'647);
    ck_assert_int_eq(tw_json_int(tw_json_get(limits, "max_shared_bytes_per_block")), 233'472);
    tw_json_free(json);
    tw_buf_done(&out);
    struct tw_buf small;
    tw_buf_init(&small, 40);
    ck_assert(!tw_gpu_device_json(tw_gpu_device_default(fixture.gpu), &small));
    tw_buf_done(&small);
    fixture_close(&fixture);
}

TW_TEST("handles are never given twice, found only in their table, and bounded") {
    struct gpu_handles a = {}, b = {};
    int objects[3];
    uint64_t first, second, again;
    ck_assert(gpu_handle_add(&a, &objects[0], 2, &first));
    ck_assert(gpu_handle_add(&a, &objects[1], 2, &second));
    ck_assert(!gpu_handle_add(&a, &objects[2], 2, &again));
    ck_assert_ptr_eq(gpu_handle_find(&a, first), &objects[0]);
    ck_assert_ptr_null(gpu_handle_find(&b, first));
    ck_assert_ptr_eq(gpu_handle_remove(&a, first), &objects[0]);
    ck_assert_ptr_null(gpu_handle_remove(&a, first));
    uint64_t previous = first;
    for (int i = 0; i < 1000; i++) {
        ck_assert(gpu_handle_add(&a, &objects[2], 2, &again));
        ck_assert_uint_ne(again, previous);
        ck_assert_uint_gt(again, 0);
        ck_assert_uint_le(again, INT64_MAX);
        ck_assert_ptr_null(gpu_handle_find(&a, previous));
        ck_assert_ptr_eq(gpu_handle_remove(&a, again), &objects[2]);
        previous = again;
    }
    ck_assert(gpu_handle_add(&b, &objects[0], 2, &again));
    ck_assert_ptr_null(gpu_handle_find(&a, again));
    size_t position = 0;
    ck_assert_ptr_eq(gpu_handle_next(&a, &position), &objects[1]);
    ck_assert_ptr_null(gpu_handle_next(&a, &position));
    ck_assert_ptr_null(gpu_handle_find(&a, 0));
    ck_assert_ptr_null(gpu_handle_find(&a, UINT64_MAX));
    gpu_handles_done(&a);
    gpu_handles_done(&b);
}

// Everything a context does, once; false as soon as something failed.
static bool do_everything(struct tw_gpu *gpu, struct tw_span artifact, struct tw_error *err) {
    struct tw_gpu_arena *arena = tw_gpu_arena_take(gpu, err);
    if (!arena)
        return false;
    struct tw_gpu_context *context = tw_gpu_context_new(tw_gpu_device_default(gpu), arena, 7, NULL, err);
    bool ok = context != NULL;
    int64_t kernel, stream;
    uint64_t buffer;
    ok = ok && tw_gpu_stream_new(context, &stream, err) && tw_gpu_alloc(context, 1000, &buffer, err) &&
         gpu_load_artifact(context, artifact, &kernel, err);
    if (ok) {
        struct tw_gpu_launch launch = make_launch(kernel, 1000, 33, NULL);
        ok = tw_gpu_launch(context, &launch, NULL, err) == TW_GPU_DONE &&
             tw_gpu_launch_async(context, &launch, err) &&
             tw_gpu_sync(context, -1, NULL, err) == TW_GPU_DONE && tw_gpu_context_reset(context, err);
    }
    tw_gpu_context_free(context);
    tw_gpu_arena_give(gpu, arena);
    return ok;
}

TW_TEST("every allocation may fail: an error, no crash, no leak, and the next try works") {
    struct fixture fixture;
    fixture_open(&fixture, NULL);
    struct tw_buf object = compile_object("KERNEL(k) { return 0; }", NULL), bytes;
    struct tw_kernel_artifact parts = {.info = make_info("k", 0, 0), .object = tw_buf_span(&object)};
    tw_buf_init(&bytes, 1 << 20);
    tw_assert_ok(tw_kernel_artifact_encode(&parts, &bytes, &fixture.err), &fixture.err);
    int failures = 0;
    for (int n = 1;; n++) {
        char text[32];
        snprintf(text, sizeof(text), "alloc:%d", n);
        struct tw_error err = {};
        tw_fault_configure(text);
        bool ok = do_everything(fixture.gpu, tw_buf_span(&bytes), &err);
        bool struck = !tw_fault_strikes(TW_FAULT_ALLOC) && !ok;
        tw_fault_configure(NULL);
        if (ok && n > 30)
            break;
        if (!ok) {
            ck_assert_int_ne(err.code, TW_OK);
            ck_assert_uint_gt(strlen(err.message), 10);
        }
        failures += struck;
        tw_assert_ok(do_everything(fixture.gpu, tw_buf_span(&bytes), &err), &err);
    }
    ck_assert_int_gt(failures, 8);
    for (int n = 1; n < 40; n++) {
        char text[32];
        snprintf(text, sizeof(text), "alloc:%d", n);
        struct tw_gpu_options options = {.device = "cpu", .cpu_threads = 2};
        tw_fault_configure(text);
        struct tw_error err = {};
        struct tw_gpu *gpu = tw_gpu_new(&options, &err);
        tw_fault_configure(NULL);
        ck_assert((gpu != NULL) == (err.code == TW_OK));
        tw_gpu_free(gpu);
    }
    tw_buf_done(&object);
    tw_buf_done(&bytes);
    fixture_close(&fixture);
}

// SPDX-License-Identifier: Apache-2.0
//
// The table of kernels: who compiles, who waits, what is shared and when better code takes over. The compiler
// is a stand-in that this file defines in place of compile/'s: it takes "PTX" that says what shall happen and
// counts its calls.

#include "unit/gpu/fake_artifact.h"

struct tw_compiler {
    struct tw_lock lock;
    struct tw_buf
        object; // of a kernel that stores its variant's opt_level and lanes, and counts in a module variable
    unsigned compiled, refused;
    struct tw_kernel_variant last;
    struct tw_state gate; // 0: "slow" PTX waits
    struct tw_counter waiting;
};

static const char source[] =
    "KERNEL(k) { AT(u64, PARAM(u64, 0)) = AT(u64, f->global)++; AT(u64, PARAM(u64, 0) + 8) = "
    "AT(u64, AT(u64, f->global + 8)); return 0; }";

static struct tw_artifact *build(struct tw_compiler *compiler, const struct tw_compile_request *request) {
    struct tw_error err = {};
    struct tw_kernel_artifact parts = {.info = make_info("counted", 1, 0),
                                       .object = tw_buf_span(&compiler->object)};
    parts.info.variant = request->variant;
    // No program can say what its kernels do.
    bool light = request->variant.opt_level == TW_KERNEL_INTERPRETED;
    if (request->variant.lanes == TW_KERNEL_LANES_ANY || light)
        parts.info.variant = (struct tw_kernel_variant){
            .lanes = 16, .x_multiple = 16, .opt_level = light ? TW_KERNEL_LIGHT : request->variant.opt_level};
    // Two variables: a counter that begins at 40, and a pointer to a third at 16 that holds 77.
    static const uint64_t image[] = {40, 16, 77}, relocs[] = {8};
    parts.info.globals_bytes = sizeof(image);
    parts.info.globals_align = 8;
    parts.globals = tw_span_of(image, sizeof(image));
    parts.global_relocs = relocs;
    parts.global_reloc_count = 1;
    struct tw_buf bytes;
    tw_buf_init(&bytes, 1 << 20);
    tw_assert_ok(tw_kernel_artifact_encode(&parts, &bytes, &err), &err);
    return artifact_new(bytes);
}

struct tw_artifact *tw_compile(struct tw_compiler *compiler, const struct tw_compile_request *request,
                               struct tw_error *err) {
    struct tw_str text = tw_str_of((const char *)request->input.data, request->input.len);
    if (tw_str_starts(text, TW_STR("slow"))) {
        tw_counter_add(&compiler->waiting, 1);
        while (!tw_state_get(&compiler->gate))
            tw_state_wait(&compiler->gate, 0, -1);
    }
    TW_LOCK_SCOPE(&compiler->lock);
    bool bad = tw_str_starts(text, TW_STR("bad")) || tw_str_starts(text, TW_STR("slow bad"));
    if (bad || tw_str_starts(text, TW_STR("crash"))) {
        compiler->refused++;
        tw_fail(err, bad ? TW_ERR_CUDA_MALFORMED_PTX : TW_ERR_COMPILE_FAILED, "line 1, column 1: refused");
        return NULL;
    }
    compiler->compiled++;
    compiler->last = request->variant;
    return build(compiler, request);
}

struct tw_artifact *tw_compile_cached(struct tw_compiler *compiler, const struct tw_compile_request *request,
                                      struct tw_error *err) {
    struct tw_str text = tw_str_of((const char *)request->input.data, request->input.len);
    if (tw_str_starts(text, TW_STR("cached")))
        return build(compiler, request);
    tw_fail(err, TW_ERR_NOT_FOUND, "not in the cache");
    return NULL;
}

static struct tw_compiler compiler;

static void open_with_compiler(struct fixture *fixture) {
    tw_lock_init(&compiler.lock);
    compiler.object = compile_object(source, NULL);
    struct tw_gpu_options options = {
        .device = "cpu", .cpu_threads = 2, .max_arenas = 8, .compiler = &compiler};
    fixture_open(fixture, &options);
}

static void close_with_compiler(struct fixture *fixture) {
    fixture_close(fixture);
    ck_assert_int_eq(tw_counter_get(&artifacts), 0); // nothing is left loaded
}

static int64_t load(struct fixture *fixture, struct tw_gpu_context *context, const char *ptx,
                    const char *entry) {
    int64_t kernel;
    tw_assert_ok(tw_gpu_load_ptx(context, tw_str_from(ptx), tw_str_from(entry), TW_NO_DEADLINE, &kernel,
                                 &fixture->err),
                 &fixture->err);
    return kernel;
}

// What the kernel stored: the counter before, and the variable behind a pointer.
static uint64_t run(struct fixture *fixture, struct tw_gpu_context *context, int64_t kernel, uint32_t block) {
    uint64_t buffer, values[2];
    tw_assert_ok(tw_gpu_alloc(context, 16, &buffer, &fixture->err), &fixture->err);
    struct args args = {};
    put_buffer(&args, buffer, 0);
    struct tw_gpu_launch launch = make_launch(kernel, 1, block, &args);
    if (tw_gpu_launch(context, &launch, NULL, &fixture->err) != TW_GPU_DONE)
        ck_abort_msg("%s", fixture->err.message);
    tw_assert_ok(tw_gpu_read(context, buffer, 0, values, 16, &fixture->err), &fixture->err);
    ck_assert_uint_eq(values[1], 77);
    return values[0];
}

TW_TEST("a kernel is compiled once, shared by contexts and kept for the next that asks") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    struct tw_gpu_arena *arena = tw_gpu_arena_take(fixture.gpu, &fixture.err);
    struct tw_gpu_context *other =
        tw_gpu_context_new(tw_gpu_device_default(fixture.gpu), arena, 9, NULL, &fixture.err);
    struct tw_labels compiled = {.values = {"compiled"}}, cached = {.values = {"cached"}};
    ck_assert(!tw_gpu_ptx_is_cached(other, TW_STR("one"), TW_STR("k")));
    int64_t a = load(&fixture, fixture.context, "one", "k"), b = load(&fixture, other, "one", "k");
    ck_assert_uint_eq(compiler.compiled, 1);
    ck_assert(tw_gpu_ptx_is_cached(other, TW_STR("one"), TW_STR("k")));
    ck_assert(!tw_gpu_ptx_is_cached(other, TW_STR("one"), TW_STR("k2")));
    ck_assert(!tw_gpu_ptx_is_cached(other, TW_STR("two"), TW_STR("k")));
    // The code is shared, the variables are not.
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_uint_eq(run(&fixture, fixture.context, a, 32), 40 + i);
    ck_assert_uint_eq(run(&fixture, other, b, 32), 40);
    tw_assert_ok(tw_gpu_context_reset(fixture.context, &fixture.err), &fixture.err);
    tw_assert_ok(tw_gpu_context_reset(other, &fixture.err), &fixture.err);
    a = load(&fixture, fixture.context, "one", "k");
    ck_assert_uint_eq(compiler.compiled, 1);
    ck_assert_uint_eq(run(&fixture, fixture.context, a, 32), 40);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_LOADS, compiled), 1);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_LOADS, cached), 2);
    load(&fixture, other, "cached elsewhere", "k");
    ck_assert_uint_eq(compiler.compiled, 1);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_LOADS, cached), 3);
    tw_gpu_context_free(other);
    tw_gpu_arena_give(fixture.gpu, arena);
    close_with_compiler(&fixture);
}

TW_TEST("entries of one PTX share its variables while any of them is loaded") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    int64_t first = load(&fixture, fixture.context, "module", "first");
    int64_t second = load(&fixture, fixture.context, "module", "second");
    int64_t foreign = load(&fixture, fixture.context, "other module", "first");
    ck_assert_uint_eq(run(&fixture, fixture.context, first, 32), 40);
    ck_assert_uint_eq(run(&fixture, fixture.context, second, 32), 41);
    ck_assert_uint_eq(run(&fixture, fixture.context, foreign, 32), 40);
    tw_assert_ok(tw_gpu_unload(fixture.context, first, &fixture.err), &fixture.err);
    ck_assert_uint_eq(run(&fixture, fixture.context, second, 32), 42);
    tw_assert_ok(tw_gpu_unload(fixture.context, second, &fixture.err), &fixture.err);
    first = load(&fixture, fixture.context, "module", "first");
    ck_assert_uint_eq(run(&fixture, fixture.context, first, 32), 40);
    close_with_compiler(&fixture);
}

TW_TEST("a block shape gets its own variant, compiled at its first launch") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    int64_t kernel = load(&fixture, fixture.context, "shapes", "k");
    ck_assert_uint_eq(compiler.last.opt_level, TW_KERNEL_INTERPRETED);
    ck_assert_uint_eq(run(&fixture, fixture.context, kernel, 256), 40);
    ck_assert_uint_eq(compiler.compiled, 1);
    ck_assert_uint_eq(run(&fixture, fixture.context, kernel, 8), 41); // the variables are the same ones
    ck_assert_uint_eq(compiler.compiled, 2);
    ck_assert_uint_eq(compiler.last.lanes, 8);
    ck_assert_uint_eq(compiler.last.opt_level, 0);
    ck_assert_uint_eq(run(&fixture, fixture.context, kernel, 256), 42);
    ck_assert_uint_eq(run(&fixture, fixture.context, kernel, 48), 43);
    ck_assert_uint_eq(run(&fixture, fixture.context, kernel, 16), 44);
    ck_assert_uint_eq(compiler.compiled, 2);
    close_with_compiler(&fixture);
}

TW_TEST("refusals reach the guest as they are, and nothing of them stays") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    int64_t kernel;
    struct tw_labels failed = {.values = {"failed"}};
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert(!tw_gpu_load_ptx(fixture.context, TW_STR("bad"), TW_STR("k"), TW_NO_DEADLINE, &kernel,
                                   &fixture.err));
        ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_MALFORMED_PTX);
        ck_assert_str_eq(fixture.err.message, "line 1, column 1: refused");
        ck_assert_uint_eq(compiler.refused, i);
    }
    ck_assert(!tw_gpu_load_ptx(fixture.context, TW_STR("crash"), TW_STR("k"), TW_NO_DEADLINE, &kernel,
                               &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_MALFORMED_PTX);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_LOADS, failed), 4);
    ck_assert_uint_eq(fixture.context->ptx_bytes, 0);
    ck_assert(
        !tw_gpu_load_ptx(fixture.context, TW_STR(""), TW_STR("k"), TW_NO_DEADLINE, &kernel, &fixture.err));
    ck_assert(
        !tw_gpu_load_ptx(fixture.context, TW_STR("x"), TW_STR(""), TW_NO_DEADLINE, &kernel, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_INVALID_KERNEL);
    char name[300];
    memset(name, 'a', sizeof(name));
    ck_assert(!tw_gpu_load_ptx(fixture.context, TW_STR("x"), tw_str_of(name, 257), TW_NO_DEADLINE, &kernel,
                               &fixture.err));
    ck_assert(tw_gpu_load_ptx(fixture.context, TW_STR("x"), tw_str_of(name, 256), TW_NO_DEADLINE, &kernel,
                              &fixture.err));
    ck_assert(!tw_gpu_load_ptx(fixture.context, tw_str_of(name, GPU_PTX_MAX_BYTES + 1), TW_STR("k"),
                               TW_NO_DEADLINE, &kernel, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);
    close_with_compiler(&fixture);
}

TW_TEST("the instance's limits on kernels and on bytes of PTX hold and are given back") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    tw_gpu_context_free(fixture.context);
    struct tw_gpu_limits limits = {.kernels = 2, .ptx_bytes = 100};
    fixture.context =
        tw_gpu_context_new(tw_gpu_device_default(fixture.gpu), fixture.arena, 7, &limits, &fixture.err);
    char text[101];
    memset(text, ' ', sizeof(text));
    int64_t kernel, first, second;
    ck_assert(!tw_gpu_load_ptx(fixture.context, tw_str_of(text, 101), TW_STR("k"), TW_NO_DEADLINE, &kernel,
                               &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);
    ck_assert(tw_gpu_load_ptx(fixture.context, tw_str_of(text, 60), TW_STR("k"), TW_NO_DEADLINE, &first,
                              &fixture.err));
    ck_assert(!tw_gpu_load_ptx(fixture.context, tw_str_of(text, 41), TW_STR("k"), TW_NO_DEADLINE, &kernel,
                               &fixture.err));
    ck_assert(tw_gpu_load_ptx(fixture.context, tw_str_of(text, 40), TW_STR("k"), TW_NO_DEADLINE, &second,
                              &fixture.err));
    tw_assert_ok(tw_gpu_unload(fixture.context, first, &fixture.err), &fixture.err);
    first = load(&fixture, fixture.context, "a", "k");
    ck_assert(
        !tw_gpu_load_ptx(fixture.context, TW_STR("b"), TW_STR("k"), TW_NO_DEADLINE, &kernel, &fixture.err));
    ck_assert_int_eq(fixture.err.code, TW_ERR_CUDA_QUOTA);
    ck_assert_ptr_nonnull(strstr(fixture.err.message, "2 kernels"));
    close_with_compiler(&fixture);
}

struct loader {
    struct fixture *fixture;
    const char *ptx;
    int64_t deadline_ns;
    bool ok;
    struct tw_error err;
    pthread_t thread;
    struct tw_counter *done;
};

static void load_in_thread(void *argument) {
    struct loader *loader = argument;
    struct tw_gpu_arena *arena = tw_gpu_arena_take(loader->fixture->gpu, &loader->err);
    struct tw_gpu_context *context =
        tw_gpu_context_new(tw_gpu_device_default(loader->fixture->gpu), arena, 7, NULL, &loader->err);
    int64_t kernel;
    loader->ok = tw_gpu_load_ptx(context, tw_str_from(loader->ptx), TW_STR("k"), loader->deadline_ns, &kernel,
                                 &loader->err);
    tw_gpu_context_free(context);
    tw_gpu_arena_give(loader->fixture->gpu, arena);
    tw_counter_add(loader->done, 1);
}

static void load_from_many(struct fixture *fixture, const char *ptx, struct loader *loaders, size_t count) {
    struct tw_counter done = {};
    tw_state_set(&compiler.gate, 0);
    for (size_t i = 0; i < count; i++) {
        loaders[i] =
            (struct loader){.fixture = fixture, .ptx = ptx, .done = &done, .deadline_ns = TW_NO_DEADLINE};
        if (i == count - 1) // the last one has little time
            loaders[i].deadline_ns = tw_clock_ns() + 50 * TW_NS_PER_MS;
        tw_assert_ok(
            tw_thread_start(&loaders[i].thread, "loader", load_in_thread, &loaders[i], &fixture->err),
            &fixture->err);
        while (tw_counter_get(&compiler.waiting) == 0) // the first one compiles
            usleep(1000);
    }
    while (tw_counter_get(&done) == 0)
        usleep(1000);
    tw_state_set(&compiler.gate, 1);
    tw_state_wake(&compiler.gate);
    for (size_t i = 0; i < count; i++)
        tw_thread_join(loaders[i].thread);
}

TW_TEST("many who ask at once wait for one compilation, each to its own deadline") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    struct loader loaders[6];
    load_from_many(&fixture, "slow", loaders, 6);
    ck_assert_uint_eq(compiler.compiled, 1);
    for (int i = 0; i < 5; i++)
        tw_assert_ok(loaders[i].ok, &loaders[i].err);
    ck_assert(!loaders[5].ok);
    ck_assert_int_eq(loaders[5].err.code, TW_ERR_CUDA_QUOTA);
    close_with_compiler(&fixture);
}

TW_TEST("many who ask for PTX that is refused are told by one compilation") {
    enum { ATTEMPTS = 50 };
    struct fixture fixture;
    open_with_compiler(&fixture);
    // One that asks when the others have been told, for want of a processor, is not told by theirs.
    for (unsigned i = 0, before = 0; i < ATTEMPTS && compiler.refused != before + 1; i++) {
        struct loader loaders[6];
        before = compiler.refused;
        tw_counter_set(&compiler.waiting, 0);
        load_from_many(&fixture, "slow bad", loaders, 6);
        for (int k = 0; k < 5; k++) {
            ck_assert(!loaders[k].ok);
            ck_assert_int_eq(loaders[k].err.code, TW_ERR_CUDA_MALFORMED_PTX);
        }
        ck_assert_msg(compiler.refused == before + 1 || i + 1 < ATTEMPTS, "each asked for itself");
    }
    close_with_compiler(&fixture);
}

TW_TEST("a kernel that has run for long is compiled again and taken over between launches") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    int64_t kernel = load(&fixture, fixture.context, "hot", "k");
    const struct gpu_loaded *loaded = gpu_handle_find(&fixture.context->kernels, (uint64_t)kernel);
    ck_assert_uint_eq(run(&fixture, fixture.context, kernel, 32), 40);
    ck_assert_uint_eq(loaded->code->parts.info.variant.opt_level, 0);
    gpu_kernel_ran(fixture.gpu->kernels, loaded->kernel, loaded->code, (uint32_t[3]){32, 1, 1}, TW_NS_PER_MS);
    if (tw_counter_get(&loaded->code->busy_ns) < 10 * TW_NS_PER_MS) // a launch on a loaded machine takes long
        ck_assert_uint_eq(compiler.compiled, 1);
    struct gpu_code *light = loaded->code;
    for (int i = 0; i < 10; i++) // once is enough
        gpu_kernel_ran(fixture.gpu->kernels, loaded->kernel, light, (uint32_t[3]){32, 1, 1},
                       30 * TW_NS_PER_MS);
    while (tw_counter_get(&loaded->kernel->generation) == 0)
        usleep(1000);
    tw_lock_take(&compiler.lock);
    ck_assert_uint_eq(compiler.compiled, 2);
    ck_assert_uint_eq(compiler.last.opt_level, 1);
    tw_lock_give(&compiler.lock);
    ck_assert_ptr_eq(loaded->code, light);
    ck_assert_uint_eq(run(&fixture, fixture.context, kernel, 32), 41);
    ck_assert_ptr_ne(loaded->code, light);
    ck_assert_uint_eq(loaded->code->parts.info.variant.opt_level, 1);
    close_with_compiler(&fixture);
}

TW_TEST("of the kernels nobody uses, the 256 used last stay") {
    struct fixture fixture;
    open_with_compiler(&fixture);
    for (int i = 0; i < 300; i++) {
        char ptx[32];
        snprintf(ptx, sizeof(ptx), "kernel %d", i);
        int64_t kernel = load(&fixture, fixture.context, ptx, "k");
        tw_assert_ok(tw_gpu_unload(fixture.context, kernel, &fixture.err), &fixture.err);
        int64_t first = load(&fixture, fixture.context, "kernel 0", "k"); // used again and again
        tw_assert_ok(tw_gpu_unload(fixture.context, first, &fixture.err), &fixture.err);
    }
    ck_assert_uint_eq(compiler.compiled, 300);
    ck_assert(tw_gpu_ptx_is_cached(fixture.context, TW_STR("kernel 0"), TW_STR("k")));
    ck_assert(!tw_gpu_ptx_is_cached(fixture.context, TW_STR("kernel 1"), TW_STR("k")));
    ck_assert(!tw_gpu_ptx_is_cached(fixture.context, TW_STR("kernel 44"), TW_STR("k")));
    ck_assert(tw_gpu_ptx_is_cached(fixture.context, TW_STR("kernel 45"), TW_STR("k")));
    ck_assert_int_eq(tw_counter_get(&artifacts), 256);
    close_with_compiler(&fixture);
}

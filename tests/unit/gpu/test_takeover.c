// SPDX-License-Identifier: Apache-2.0
//
// Kernels that begin as programs, and light code that takes over in the middle of a launch. The compiler is the real one inside this
// process, behind a stand-in for compile/ that keeps light code back until a test lets it through, or refuses it.

#include "jit/jit.h"
#include "ptx/ptx.h"
#include "unit/gpu/fake_artifact.h"

enum { BLOCKS = 4'096, HALF = BLOCKS / 2, FLAGS = 1'024 };

struct tw_compiler {
    struct tw_state gate; // 0: light code waits
    bool refuses_light;
    uint32_t extra_shared; // light code says that it needs so much more of it
    uint16_t cached_lanes; // light code of so many lanes is in the cache
    struct tw_counter programs, light;
};
static struct tw_compiler compiler;

static void wait_for_gate(void) {
    while (!tw_state_get(&compiler.gate))
        tw_state_wait(&compiler.gate, 0, -1);
}

static void open_gate(void) {
    tw_state_set(&compiler.gate, 1);
    tw_state_wake(&compiler.gate);
}

// The artifact's description is changed in place: it lies behind the header.
static void add_shared(struct tw_buf *bytes) {
    struct tw_kernel_artifact parts;
    struct tw_error err = {};
    struct tw_buf changed;
    tw_buf_init(&changed, 4 << 20);
    tw_assert_ok(tw_kernel_artifact_decode(tw_buf_span(bytes), &parts, &err), &err);
    parts.info.static_shared += compiler.extra_shared;
    tw_assert_ok(tw_kernel_artifact_encode(&parts, &changed, &err), &err);
    tw_buf_done(bytes);
    *bytes = changed;
}

static struct tw_artifact *make(const struct tw_compile_request *request, struct tw_error *err) {
    struct tw_arena arena;
    struct tw_kir_module *module;
    struct tw_jit_result result = {};
    tw_arena_init(&arena, 16 << 20);
    struct tw_str text = tw_str_of((const char *)request->input.data, request->input.len);
    bool ok = tw_ptx_parse(&arena, text, &module, err) &&
              tw_jit_compile(module, request->entry, &request->variant, TW_JIT_OBJECT, &result, err);
    tw_arena_done(&arena);
    if (!ok)
        return NULL;
    return artifact_new(result.bytes);
}

struct tw_artifact *tw_compile(struct tw_compiler *unused, const struct tw_compile_request *request,
                               struct tw_error *err) {
    (void)unused;
    bool is_light = request->variant.opt_level == TW_KERNEL_LIGHT;
    if (is_light)
        wait_for_gate();
    if (is_light && compiler.refuses_light) {
        tw_fail(err, TW_ERR_COMPILE_FAILED, "the compiler has died");
        return NULL;
    }
    struct tw_artifact *artifact = make(request, err);
    if (artifact && is_light && compiler.extra_shared)
        add_shared(&artifact->bytes);
    if (is_light || request->variant.opt_level == TW_KERNEL_INTERPRETED)
        tw_counter_add(is_light ? &compiler.light : &compiler.programs, 1);
    return artifact;
}

struct tw_artifact *tw_compile_cached(struct tw_compiler *unused, const struct tw_compile_request *request,
                                      struct tw_error *err) {
    (void)unused;
    const struct tw_kernel_variant *variant = &request->variant;
    if (compiler.cached_lanes && variant->lanes == compiler.cached_lanes &&
        variant->opt_level == TW_KERNEL_LIGHT)
        return make(request, err);
    tw_fail(err, TW_ERR_NOT_FOUND, "not in the cache");
    return NULL;
}

// ---- kernels ----

// Parameters: an array with a word a thread, FLAGS words that a thread reads in turn until one is not 0, the first block that does so.
#define BEGIN                                                                                                \
    ".version 7.8\n.target sm_80\n.address_size 64\n"                                                        \
    ".visible .entry k(.param .u64 words, .param .u64 flags, .param .u32 from) {\n"                          \
    ".reg .pred %p<5>; .reg .b32 %r<20>; .reg .b64 %d<10>; .shared .align 4 .b8 tile[4096];\n"               \
    "ld.param.u64 %d1, [words]; ld.param.u64 %d3, [flags]; ld.param.u32 %r9, [from];\n"                      \
    "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.u32 %r4, %r1, %r2, %r3;\n"     \
    "mul.wide.u32 %d2, %r4, 4; add.u64 %d2, %d1, %d2;\n"
// Not one address again and again: no compiler may keep what it has read once.
#define WAIT                                                                                                 \
    "setp.lt.u32 %p1, %r1, %r9; @%p1 bra GO; mov.u32 %r5, 0;\n"                                              \
    "SPIN: and.b32 %r6, %r5, 1023; mul.wide.u32 %d4, %r6, 4; add.u64 %d4, %d3, %d4; ld.global.u32 %r7, "     \
    "[%d4];\n"                                                                                               \
    "add.u32 %r5, %r5, 1; setp.eq.u32 %p2, %r7, 0; @%p2 bra SPIN;\nGO:\n"
#define ADD_ONE "ld.global.u32 %r8, [%d2]; add.u32 %r8, %r8, 1; st.global.u32 [%d2], %r8;\n"
#define END     "ret; }\n"

static const char waits_first[] = BEGIN WAIT ADD_ONE END;
static const char stores_first[] = BEGIN ADD_ONE WAIT END;
// Each thread adds what its neighbour has put into shared memory, which is 1.
static const char with_barriers[] =
    BEGIN "mov.u32 %r10, tile; mad.lo.u32 %r11, %r3, 4, %r10; mov.u32 %r12, 1; st.shared.u32 [%r11], %r12;\n"
          "bar.sync 0;\n" WAIT "bar.sync 0; xor.b32 %r13, %r3, 33; mad.lo.u32 %r11, %r13, 4, %r10;\n"
          "ld.shared.u32 %r14, [%r11]; ld.global.u32 %r8, [%d2]; add.u32 %r8, %r8, %r14; bar.sync 0;\n"
          "st.global.u32 [%d2], %r8;\n" END;
static const char adds_atomically[] =
    BEGIN WAIT "atom.global.add.u32 %r8, [%d2], 1; sub.u32 %r8, %r8, 1; red.global.add.u32 [%d2], 1;\n"
               "red.global.add.u32 [%d2], -1;\n" END;
static const char loops_for_ever[] = BEGIN "mov.u32 %r5, 0; L: add.u32 %r5, %r5, 1; bra L; }\n";
static const char stores_at_24[] = BEGIN "mov.u64 %d5, 24; st.global.u32 [%d5], %r1;\n" END;

// ---- a launch ----

struct scene {
    struct fixture fixture;
    struct args args;
    uint64_t words, flags;
    uint32_t threads;
    int64_t kernel;
    struct gpu_loaded *loaded;
};

static void scene_open(struct scene *scene, const char *ptx, uint32_t threads, uint32_t from,
                       enum tw_gpu_tier tier, unsigned timeout_ms) {
    struct tw_gpu_options options = {.device = "cpu",
                                     .cpu_threads = 2,
                                     .max_arenas = 8,
                                     .compiler = &compiler,
                                     .tier = tier,
                                     .kernel_timeout_ms = timeout_ms};
    *scene = (struct scene){.threads = threads};
    struct fixture *fixture = &scene->fixture;
    tw_assert_ok(tw_jit_init(&fixture->err), &fixture->err);
    fixture_open(fixture, &options);
    struct tw_gpu_context *context = fixture->context;
    uint32_t first = from;
    tw_assert_ok(tw_gpu_alloc(context, 4ULL * BLOCKS * threads, &scene->words, &fixture->err), &fixture->err);
    tw_assert_ok(tw_gpu_alloc(context, 4 * FLAGS, &scene->flags, &fixture->err), &fixture->err);
    put_buffer(&scene->args, scene->words, 0), put_buffer(&scene->args, scene->flags, 0);
    put(&scene->args, 5, &first, sizeof(first));
    tw_assert_ok(tw_gpu_load_ptx(context, tw_str_from(ptx), TW_STR("k"), TW_NO_DEADLINE, &scene->kernel,
                                 &fixture->err),
                 &fixture->err);
    scene->loaded = gpu_handle_find(&context->kernels, (uint64_t)scene->kernel);
    ck_assert_int_eq(tw_counter_get(&compiler.programs), 1);
    ck_assert_ptr_nonnull(scene->loaded->kernel->variants[0]->program);
}

static void scene_close(struct scene *scene) {
    open_gate();
    fixture_close(&scene->fixture);
}

static bool launch(struct scene *scene, uint32_t grid, int64_t deadline_ns) {
    struct tw_gpu_launch launch = make_launch(scene->kernel, grid, scene->threads, &scene->args);
    launch.deadline_ns = deadline_ns;
    return tw_gpu_launch(scene->fixture.context, &launch, NULL, &scene->fixture.err) == TW_GPU_DONE;
}

static unsigned ran(const struct scene *scene) {
    return tw_gpu_kernel_ran(scene->fixture.context, scene->kernel);
}

static void check_words(struct scene *scene, uint32_t wanted) {
    size_t count = (size_t)BLOCKS * scene->threads;
    uint32_t *words = calloc(count, sizeof(*words));
    struct fixture *fixture = &scene->fixture;
    tw_assert_ok(tw_gpu_read(fixture->context, scene->words, 0, words, 4 * count, &fixture->err),
                 &fixture->err);
    size_t wrong = 0;
    while (wrong < count && words[wrong] == wanted)
        wrong++;
    ck_assert_msg(wrong == count, "thread %zu counted %u, not %u", wrong, words[wrong % count], wanted);
    free(words);
}

// What a test's launch waits for, on a thread of its own.
struct helper {
    struct scene *scene;
    bool (*has_come)(struct scene *scene);
    pthread_t thread;
};

static bool code_has_come(struct scene *scene) {
    return tw_flag_is_raised(&scene->loaded->kernel->successors[0].came);
}

static bool has_failed(struct scene *scene) {
    (void)scene;
    return tw_metric_get(TW_METRIC_KERNEL_PROMOTIONS_FAILED, tw_labels()) == 1;
}

static bool is_asked(const struct scene *scene) {
    return tw_flag_is_raised(&scene->loaded->kernel->successors[0].asked);
}

// Lets the compiler through when the program has run for so long that it was asked, and the waiting threads when what comes has
// come: so those that a program runs do so until then.
static void help(void *argument) {
    struct helper *helper = argument;
    struct scene *scene = helper->scene;
    const struct gpu_buffer *flags = gpu_handle_find(&scene->fixture.context->buffers, scene->flags);
    while (!is_asked(scene))
        usleep(1'000);
    open_gate();
    while (!helper->has_come(scene))
        usleep(1'000);
    memset(scene->fixture.arena->base + flags->address, 1, 4 * FLAGS);
}

static void helper_start(struct helper *helper, struct scene *scene, bool (*has_come)(struct scene *scene)) {
    *helper = (struct helper){.scene = scene, .has_come = has_come};
    tw_assert_ok(tw_thread_start(&helper->thread, "helper", help, helper, &scene->fixture.err),
                 &scene->fixture.err);
}

enum { INTERPRETED = 1 << TW_KERNEL_INTERPRETED, LIGHT = 1 << TW_KERNEL_LIGHT, LONG_MS = 600'000 };

static void expect_takeover(const char *ptx, uint32_t threads) {
    struct scene scene;
    struct helper helper;
    scene_open(&scene, ptx, threads, HALF, TW_GPU_TIER_AUTO, LONG_MS);
    helper_start(&helper, &scene, code_has_come);
    tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err);
    tw_thread_join(helper.thread);
    ck_assert_uint_eq(ran(&scene), INTERPRETED | LIGHT);
    check_words(&scene, 1);
    tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err); // with what there is now
    ck_assert_uint_eq(ran(&scene) & INTERPRETED, 0);
    check_words(&scene, 2);
    ck_assert_int_eq(tw_counter_get(&compiler.programs), 1);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_KERNEL_PROMOTIONS_FAILED, tw_labels()), 0);
    scene_close(&scene);
}

TW_TEST("light code takes over from a loop of a block that has not stored anything yet") {
    expect_takeover(waits_first, 64);
    ck_assert_int_eq(tw_counter_get(&compiler.light), 1);
}

TW_TEST("light code takes over behind a block that has stored something, which is not run again") {
    expect_takeover(stores_first, 96);
}

TW_TEST("light code takes over between the barriers of a block of 32 warps") {
    expect_takeover(with_barriers, 1'024);
}

TW_TEST("light code takes over behind atomic operations") {
    expect_takeover(adds_atomically, 33);
}

TW_TEST("light code is asked for where one long block is all there is") {
    struct scene scene;
    struct helper helper;
    scene_open(&scene, waits_first, 32, 0, TW_GPU_TIER_AUTO, LONG_MS);
    helper_start(&helper, &scene, code_has_come);
    tw_assert_ok(launch(&scene, 1, TW_NO_DEADLINE), &scene.fixture.err);
    tw_thread_join(helper.thread);
    ck_assert_uint_eq(ran(&scene), INTERPRETED | LIGHT);
    scene_close(&scene);
}

TW_TEST("when the compiler fails the program goes on, in this launch and the next") {
    struct scene scene;
    struct helper helper;
    compiler.refuses_light = true;
    scene_open(&scene, waits_first, 64, HALF, TW_GPU_TIER_AUTO, LONG_MS);
    helper_start(&helper, &scene, has_failed);
    for (uint32_t round = 1; round <= 3; round++) {
        tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err);
        ck_assert_uint_eq(ran(&scene), INTERPRETED);
        check_words(&scene, round);
    }
    tw_thread_join(helper.thread);
    ck_assert(has_failed(&scene));
    scene_close(&scene);
}

TW_TEST("code that needs other memory than the launch was given takes over at the next launch only") {
    struct scene scene;
    struct helper helper;
    compiler.extra_shared = 64;
    scene_open(&scene, with_barriers, 64, HALF, TW_GPU_TIER_AUTO, LONG_MS);
    helper_start(&helper, &scene, has_failed);
    tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err);
    tw_thread_join(helper.thread);
    ck_assert_uint_eq(ran(&scene), INTERPRETED);
    while (tw_counter_get(&scene.loaded->kernel->generation) == 0) // counted behind the failure
        usleep(1'000);
    tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err);
    ck_assert_uint_eq(ran(&scene) & INTERPRETED, 0);
    check_words(&scene, 2);
    scene_close(&scene);
}

TW_TEST("light code that a former process has left is taken at the first launch") {
    struct scene scene;
    compiler.cached_lanes = 8; // what blocks of 24 threads take; others take 16
    scene_open(&scene, waits_first, 24, BLOCKS, TW_GPU_TIER_AUTO, LONG_MS);
    tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err);
    ck_assert_uint_eq(ran(&scene), LIGHT);
    check_words(&scene, 1);
    scene.threads = 16;
    tw_assert_ok(launch(&scene, 1, TW_NO_DEADLINE), &scene.fixture.err);
    ck_assert_uint_eq(ran(&scene) & INTERPRETED, INTERPRETED);
    scene_close(&scene);
}

TW_TEST("light code of a kernel that is published is made before it is launched") {
    struct fixture fixture;
    struct tw_gpu_options options = {
        .device = "cpu", .cpu_threads = 2, .max_arenas = 8, .compiler = &compiler};
    tw_assert_ok(tw_jit_init(&fixture.err), &fixture.err);
    fixture_open(&fixture, &options);
    open_gate();
    tw_assert_ok(
        tw_gpu_prepare(fixture.gpu, 7, tw_str_from(waits_first), TW_STR("k"), TW_NO_DEADLINE, &fixture.err),
        &fixture.err);
    while (tw_counter_get(&compiler.light) == 0)
        usleep(1'000);
    ck_assert_int_eq(tw_counter_get(&compiler.programs), 1);
    fixture_close(&fixture);
}

TW_TEST("interpreted kernels stay so where they are to") {
    struct scene scene;
    scene_open(&scene, waits_first, 64, BLOCKS, TW_GPU_TIER_INTERPRETED, LONG_MS);
    open_gate();
    for (uint32_t round = 1; round <= 20; round++) {
        tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err);
        ck_assert_uint_eq(ran(&scene), INTERPRETED);
    }
    check_words(&scene, 20);
    ck_assert_int_eq(tw_counter_get(&compiler.light), 0);
    scene_close(&scene);
}

// ---- getting out of a program ----

static void expect_end(struct scene *scene, uint32_t grid, int64_t deadline_ns, const char *words) {
    const uint32_t rounding = __builtin_ia32_stmxcsr();
    ck_assert(!launch(scene, grid, deadline_ns));
    ck_assert_int_eq(scene->fixture.err.code, TW_ERR_CUDA_LAUNCH_FAILED);
    ck_assert_msg(strstr(scene->fixture.err.message, words) != NULL, "%s", scene->fixture.err.message);
    ck_assert_uint_eq(ran(scene), INTERPRETED);
    ck_assert_uint_eq(__builtin_ia32_stmxcsr(), rounding);
}

TW_TEST("an interpreted loop is ended by the time limit and by the deadline") {
    if (!can_stop_kernels())
        return;
    struct scene scene;
    scene_open(&scene, loops_for_ever, 64, 0, TW_GPU_TIER_AUTO, 50);
    for (uint32_t grid = 1; grid <= 1'000; grid *= 10) {
        expect_end(&scene, grid, TW_NO_DEADLINE, "killed by the time limit of 50 ms");
        expect_end(&scene, grid, tw_clock_ns() + 10 * TW_NS_PER_MS, "killed by the invocation's deadline");
    }
    scene_close(&scene);
}

static void cancel_soon(void *argument) {
    struct scene *scene = argument;
    while (!is_asked(scene))
        usleep(1'000);
    tw_gpu_cancel(scene->fixture.context);
}

TW_TEST("an interpreted loop is ended by a cancel") {
    if (!can_stop_kernels())
        return;
    struct scene scene;
    pthread_t thread;
    scene_open(&scene, loops_for_ever, 64, 0, TW_GPU_TIER_AUTO, LONG_MS);
    tw_assert_ok(tw_thread_start(&thread, "canceller", cancel_soon, &scene, &scene.fixture.err),
                 &scene.fixture.err);
    expect_end(&scene, 50, TW_NO_DEADLINE, "cancelled");
    tw_thread_join(thread);
    scene_close(&scene);
}

TW_TEST("an interpreted kernel that goes astray is a failed launch, and the next one works") {
    struct scene scene;
    scene_open(&scene, stores_at_24, 64, 0, TW_GPU_TIER_INTERPRETED, LONG_MS);
    for (uint32_t grid = 1; grid <= 10'000; grid *= 10)
        expect_end(&scene, grid, TW_NO_DEADLINE, "illegal address 0x18 (arena offset; a null pointer");
    int64_t good;
    struct tw_gpu_context *context = scene.fixture.context;
    tw_assert_ok(tw_gpu_load_ptx(context, tw_str_from(waits_first), TW_STR("k"), TW_NO_DEADLINE, &good,
                                 &scene.fixture.err),
                 &scene.fixture.err);
    uint32_t none = BLOCKS;
    memcpy(scene.args.bytes + scene.args.len - sizeof(none), &none, sizeof(none));
    scene.kernel = good;
    tw_assert_ok(launch(&scene, BLOCKS, TW_NO_DEADLINE), &scene.fixture.err);
    check_words(&scene, 1);
    scene_close(&scene);
}

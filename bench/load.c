// SPDX-License-Identifier: Apache-2.0
//
// From PTX to the end of its first launch: compiled for the first time (right after the last one, and after a pause, when
// the next compiler process has warmed up), from the cache of another run, and known to this process already. Each
// text differs from the others by a comment. Figures in microseconds.
//
//     bench_load FILE.ptx ENTRY      prints a table; bench/compile.py runs it

#include "bench.h"

#include <ftw.h>

#include "interp/interp.h"

enum { TEXTS = 60, PAUSE_MS = 60 };

struct place {
    struct tw_compiler *compiler;
    struct tw_gpu *gpu;
    struct tw_gpu_arena *arena;
};

static struct place place_new(const char *program, const char *cache) {
    struct tw_error err = {};
    struct place place = {};
    struct tw_compiler_options compiler = {.program = program, .cache_dir = cache};
    place.compiler = tw_compiler_new(&compiler, &err);
    struct tw_gpu_options gpu = {
        .device = "cpu", .compiler = place.compiler, .permits = 4, .max_arenas = 2, .tier = TW_GPU_TIER_AUTO};
    place.gpu = place.compiler ? tw_gpu_new(&gpu, &err) : NULL;
    place.arena = place.gpu ? tw_gpu_arena_take(place.gpu, &err) : NULL;
    if (!place.arena)
        bench_die("the device", err.message);
    return place;
}

static void place_done(struct place *place) {
    tw_gpu_arena_give(place->gpu, place->arena);
    tw_gpu_free(place->gpu);
    tw_compiler_free(place->compiler);
}

// Records of zeros: pointers that nothing follows, as there is nothing to do.
static struct tw_buf zero_args(struct tw_compiler *compiler, struct tw_str ptx, const char *entry) {
    struct tw_error err = {};
    struct tw_compile_request request = {
        .kind = TW_COMPILE_PTX, .input = tw_key_str(ptx), .variant = {.lanes = TW_KERNEL_LANES_ANY}};
    snprintf(request.entry, sizeof(request.entry), "%s", entry);
    struct tw_artifact *artifact = tw_compile(compiler, &request, &err);
    struct tw_kernel_artifact parts;
    if (!artifact || !tw_kernel_artifact_decode(tw_artifact_bytes(artifact), &parts, &err))
        bench_die(entry, err.message);
    struct tw_buf args;
    tw_buf_init(&args, 4096);
    for (uint32_t i = 0; i < parts.info.param_count; i++) {
        const struct tw_kernel_param *param = &parts.info.params[i];
        const uint8_t record[9] = {param->is_float ? (param->size == 4 ? 3 : 4) : param->size == 4 ? 5 : 6};
        if (!tw_buf_append(&args, record, 1 + param->size))
            bench_die(entry, "no memory");
    }
    tw_artifact_unref(artifact);
    return args;
}

// One context loads the text, launches it once on a block and goes.
static double load_once(const struct place *place, struct tw_str ptx, const char *entry,
                        const struct tw_buf *args) {
    static const struct tw_gpu_limits limits;
    struct tw_error err = {};
    struct tw_gpu_context *context =
        tw_gpu_context_new(tw_gpu_device_default(place->gpu), place->arena, 1, &limits, &err);
    uint64_t handle;
    if (!context ||
        !tw_gpu_alloc(context, 4096, &handle, &err)) // as a guest that has something to compute with
        bench_die("a context", err.message);
    struct tw_gpu_launch launch = {.grid = {1, 1, 1},
                                   .block = {32, 1, 1},
                                   .args = tw_span_of(args->data, args->len),
                                   .deadline_ns = TW_NO_DEADLINE};
    int64_t start_ns = tw_clock_ns();
    if (!tw_gpu_load_ptx(context, ptx, tw_str_from(entry), TW_NO_DEADLINE, &launch.kernel, &err) ||
        tw_gpu_launch(context, &launch, NULL, &err) != TW_GPU_DONE)
        bench_die(entry, err.message);
    double us = (double)(tw_clock_ns() - start_ns) * 1e-3;
    tw_gpu_context_free(context);
    return us;
}

static void report(const char *name, double *us, unsigned count) {
    qsort(us, count, sizeof(*us), bench_by_value);
    printf("%s %.1f %.1f %.1f\n", name, us[0], us[count / 2], us[count * 9 / 10]);
    fflush(stdout);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

// All texts in the cache folder: it is written behind.
static void wait_for_cache(const char *program, const char *cache, char *const *texts, const char *entry) {
    struct tw_error err = {};
    struct tw_compiler_options options = {.program = program, .cache_dir = cache};
    struct tw_compiler *compiler = tw_compiler_new(&options, &err);
    for (unsigned i = 0; compiler && i < 2 * TEXTS; i++) {
        struct tw_compile_request request = {
            .kind = TW_COMPILE_PTX,
            .input = tw_span_of(texts[i], strlen(texts[i])),
            .variant = {.lanes = TW_INTERP_LANES, .x_multiple = 1, .opt_level = TW_KERNEL_INTERPRETED}};
        snprintf(request.entry, sizeof(request.entry), "%s", entry);
        struct tw_artifact *artifact;
        while (!(artifact = tw_compile_cached(compiler, &request, &err)))
            usleep(1'000);
        tw_artifact_unref(artifact);
    }
    tw_compiler_free(compiler);
}

// The first round's texts are asked for in a row, the second's after pauses.
static void measure_compiles(const struct place *place, char *const *texts, const char *entry,
                             const struct tw_buf *args) {
    static const char *const names[] = {"in-a-row", "paused"};
    double us[TEXTS];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < TEXTS; i++) {
            usleep(round * PAUSE_MS * 1'000);
            us[i] = load_once(place, tw_str_from(texts[round * TEXTS + i]), entry, args);
        }
        report(names[round], us, TEXTS);
    }
}

// The first round finds them in the folder, the second in the process.
static void measure_loads(const struct place *place, char *const *texts, const char *entry,
                          const struct tw_buf *args) {
    static const char *const names[] = {"cached", "loaded"};
    double us[TEXTS];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < TEXTS; i++)
            us[i] = load_once(place, tw_str_from(texts[i]), entry, args);
        report(names[round], us, TEXTS);
    }
}

int main(int argc, char **argv) {
    struct tw_error err = {};
    struct tw_buf ptx;
    char program[4096], cache[] = "/tmp/tw-load-XXXXXX", *texts[2 * TEXTS];
    tw_buf_init(&ptx, 1 << 20);
    if (argc != 3 || !mkdtemp(cache))
        bench_die("usage", "bench_load FILE.ptx ENTRY");
    if (!tw_file_read(argv[1], &ptx, &err))
        bench_die(argv[1], err.message);
    for (unsigned i = 0; i < 2 * TEXTS; i++)
        if (asprintf(&texts[i], "%.*s// %u\n", (int)ptx.len, (const char *)ptx.data, i) < 0)
            bench_die("texts", "no memory");
    snprintf(program, sizeof(program) - 64, "%s", argv[0]);
    char *slash = strrchr(program, '/');
    snprintf(slash ? slash : program, 64, "/../bin/tensor-wasm-compiler");

    struct place place = place_new(program, cache);
    struct tw_buf args = zero_args(place.compiler, tw_buf_str(&ptx), argv[2]);
    measure_compiles(&place, texts, argv[2], &args);
    place_done(&place);
    wait_for_cache(program, cache, texts, argv[2]);
    place = place_new(program, cache);
    measure_loads(&place, texts, argv[2], &args);
    place_done(&place);
    for (unsigned i = 0; i < 2 * TEXTS; i++)
        free(texts[i]);
    tw_buf_done(&args);
    tw_buf_done(&ptx);
    nftw(cache, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// What it costs that a guest can be stopped and paused at any moment: a dozen numeric loops
// (bench/guests/numeric.c) with the poll page, with epochs, and on Wasmtime with no interruption at all, in one
// process on one thread. Only the time in the guest counts. Rounds alternate; the median round is told.

#include <math.h>

#include "bench.h"

enum { ROUNDS = 11, CONTENDERS = 3, PROGRAMS_MAX = 32 };
static const char *const contenders[CONTENDERS] = {"plain", "poll", "epoch"};

struct program {
    const char *name;
    double ns[CONTENDERS][ROUNDS], median[CONTENDERS];
};

// Wasmtime with its own settings of speed and nothing that interrupts.
struct plain {
    wasm_engine_t *engine;
    wasmtime_store_t *store;
    wasmtime_instance_t instance;
};

static struct tw_buf compile_guests(const char *dir) {
    struct tw_error err = {};
    char command[512], path[128];
    struct tw_buf wasm;
    tw_buf_init(&wasm, 1 << 20);
    snprintf(path, sizeof path, "%s/numeric.wasm", dir);
    snprintf(command, sizeof command,
             "clang-22 --target=wasm32 -O2 -nostdlib -Wl,--no-entry -o %s bench/guests/numeric.c", path);
    if (system(command) != 0 || !tw_file_read(path, &wasm, &err))
        bench_die("the guests", "not compiled");
    return wasm;
}

// ---- the contenders ----

static struct plain plain_new(struct tw_span wasm) {
    struct plain plain = {};
    wasm_config_t *config = wasm_config_new();
    wasmtime_module_t *module = NULL;
    wasm_trap_t *trap = NULL;
    wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_SPEED);
    plain.engine = wasm_engine_new_with_config(config);
    plain.store = wasmtime_store_new(plain.engine, NULL, NULL);
    bench_check(wasmtime_module_new(plain.engine, wasm.data, wasm.len, &module), NULL, "compiling");
    bench_check(
        wasmtime_instance_new(wasmtime_store_context(plain.store), module, NULL, 0, &plain.instance, &trap),
        trap, "instantiating");
    wasmtime_module_delete(module);
    return plain;
}

static double run_plain(const struct plain *plain, const char *name, double *ret_result) {
    wasmtime_context_t *context = wasmtime_store_context(plain->store);
    wasmtime_extern_t item;
    wasmtime_val_t result;
    wasm_trap_t *trap = NULL;
    if (!wasmtime_instance_export_get(context, &plain->instance, name, strlen(name), &item))
        bench_die(name, "no such export");
    int64_t before = tw_clock_ns();
    bench_check(wasmtime_func_call(context, &item.of.func, NULL, 0, &result, 1, &trap), trap, name);
    *ret_result = result.of.f64;
    return (double)(tw_clock_ns() - before);
}

static struct tw_engine *engine_new(struct tw_compiler *compiler, struct tw_gpu *gpu,
                                    enum tw_interrupt interrupt) {
    struct tw_error err = {};
    struct tw_engine_options options = {
        .compiler = compiler, .gpu = gpu, .interrupt = interrupt, .warm_per_function = 1};
    struct tw_engine *engine = tw_engine_new(&options, &err);
    if (!engine)
        bench_die("the engine", err.message);
    return engine;
}

static double run_ours(struct tw_engine *engine, struct tw_module *module, const char *name,
                       double *ret_result) {
    struct tw_invoke invoke = {
        .module = module, .export = name, .deadline_ns = tw_clock_ns() + 60 * TW_NS_PER_S};
    tw_engine_run(engine, &invoke);
    if (invoke.error.code)
        bench_die(name, invoke.error.message);
    *ret_result = invoke.results[0].of.f64;
    tw_buf_done(&invoke.output);
    tw_buf_done(&invoke.stderr_text);
    tw_buf_done(&invoke.backtrace);
    return (double)(invoke.times.ended_ns - invoke.times.running_ns);
}

// ---- the result ----

static double ratio_of_all(const struct program *programs, unsigned count, int contender) {
    double logs = 0;
    for (unsigned i = 0; i < count; i++)
        logs += log(programs[i].median[contender] / programs[i].median[0]);
    return exp(logs / count);
}

static void tell(struct program *programs, unsigned count) {
    FILE *file = bench_result_open("interrupt");
    if (!file)
        bench_die("bench/results/interrupt.json", "cannot be written");
    printf("\nWhat being interruptible costs, time in the guest\n  %-16s %10s %8s %8s\n", "program",
           "plain ms", "poll", "epoch");
    fprintf(file, " \"rounds\": %d, \"programs\": [\n", ROUNDS);
    for (unsigned i = 0; i < count; i++) {
        struct program *program = &programs[i];
        for (int k = 0; k < CONTENDERS; k++) {
            qsort(program->ns[k], ROUNDS, sizeof(double), bench_by_value);
            program->median[k] = program->ns[k][ROUNDS / 2];
        }
        printf("  %-16s %10.2f %8.3f %8.3f\n", program->name, program->median[0] / 1e6,
               program->median[1] / program->median[0], program->median[2] / program->median[0]);
        fprintf(file, "  {\"program\": \"%s\", \"plain_ms\": %.3f, \"poll\": %.4f, \"epoch\": %.4f}%s\n",
                program->name, program->median[0] / 1e6, program->median[1] / program->median[0],
                program->median[2] / program->median[0], i + 1 < count ? "," : "");
    }
    double poll = ratio_of_all(programs, count, 1), epoch = ratio_of_all(programs, count, 2);
    printf("  %-16s %10s %8.3f %8.3f\n", "geomean", "", poll, epoch);
    fprintf(file, "], \"geomean\": {\"poll\": %.4f, \"epoch\": %.4f}}\n", poll, epoch);
    fclose(file);
}

static void run_round(int round, struct program *program, const struct plain *plain,
                      struct tw_engine *const *engines, struct tw_module *const *modules) {
    double results[CONTENDERS];
    for (int i = 0; i < CONTENDERS; i++) {
        int k = round % 2 ? CONTENDERS - 1 - i : i;
        program->ns[k][round] = k == 0 ? run_plain(plain, program->name, &results[k])
                                       : run_ours(engines[k], modules[k], program->name, &results[k]);
    }
    for (int k = 1; k < CONTENDERS; k++)
        if (memcmp(&results[k], &results[0], sizeof results[0]) != 0)
            bench_die(program->name, contenders[k]);
}

int main(void) {
    struct tw_error err = {};
    char dir[] = "/tmp/tw-bench-XXXXXX", command[64];
    if (!mkdtemp(dir))
        bench_die("a folder", "not made");
    struct tw_compiler_options compiler_options = {.program = "build/release/bin/tensor-wasm-compiler",
                                                   .processes = 1};
    struct tw_compiler *compiler = tw_compiler_new(&compiler_options, &err);
    struct tw_gpu_options gpu_options = {.device = "cpu", .compiler = compiler};
    struct tw_gpu *gpu = compiler ? tw_gpu_new(&gpu_options, &err) : NULL;
    if (!gpu)
        bench_die("setting up", err.message);
    struct tw_buf wasm = compile_guests(dir);
    struct plain plain = plain_new(tw_buf_span(&wasm));
    struct tw_engine *engines[CONTENDERS] = {NULL, engine_new(compiler, gpu, TW_INTERRUPT_POLL),
                                             engine_new(compiler, gpu, TW_INTERRUPT_EPOCH)};
    struct tw_module *modules[CONTENDERS] = {
        NULL, bench_module_new(engines[1], tw_buf_span(&wasm), NULL, "building"),
        bench_module_new(engines[2], tw_buf_span(&wasm), NULL, "building")};
    struct program programs[PROGRAMS_MAX] = {};
    unsigned count = 0;
    for (uint32_t i = 0; i < tw_module_export_count(modules[1]) && count < PROGRAMS_MAX; i++)
        programs[count++].name = tw_module_export_at(modules[1], i)->name;
    for (int round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < count; i++)
            run_round(round, &programs[i], &plain, engines, modules);
    tell(programs, count);
    for (int k = 1; k < CONTENDERS; k++) {
        tw_module_unref(modules[k]);
        tw_engine_free(engines[k]);
    }
    wasmtime_store_delete(plain.store);
    wasm_engine_delete(plain.engine);
    tw_gpu_free(gpu);
    tw_compiler_free(compiler);
    tw_buf_done(&wasm);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) == 0 ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
//
// What a call on a fresh instance costs: our engine (take a warm instance, call, put it back to its image)
// beside Wasmtime's pooling allocator (new store, instantiate, call, delete), in one process on one thread,
// for guests that write 1, 4 and 64 pages. Rounds alternate between the two and the median round is told, so
// that both see the same machine.

#include <wasmtime.h>

#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine.h"

enum { ROUNDS = 41, WARM_UP = 200, GUESTS = 3 };
static const int pages_of[GUESTS] = {1, 4, 64};

struct guest {
    struct tw_span wasm;
    struct tw_module *ours;
    wasmtime_instance_pre_t *theirs;
};

[[gnu::noreturn]] static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_instance: %s: %s\n", what, why);
    exit(1);
}

static void check(wasmtime_error_t *error, wasm_trap_t *trap, const char *what) {
    if (error || trap)
        die(what, "Wasmtime failed");
}

// Writes a word on each of its pages, from 16 KiB on, and reads the image's.
static struct tw_span make_wasm(int pages) {
    char text[1024];
    int len = snprintf(
        text, sizeof(text),
        "(module (memory (export \"memory\") 17) (data (i32.const 1024) \"\\2a\") (global $sp (mut i32) "
        "(i32.const 65536))"
        "(func (export \"f\") (result i32) (local $i i32) (global.set $sp (i32.sub (global.get $sp) "
        "(i32.const 16)))"
        " (loop $l (i32.store (i32.add (i32.const 16384) (i32.shl (local.get $i) (i32.const 12))) (i32.const "
        "7))"
        "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const %d))))"
        " (i32.load8_u (i32.const 1024))))",
        pages);
    wasm_byte_vec_t bytes;
    check(wasmtime_wat2wasm(text, (size_t)len, &bytes), NULL, "wat2wasm");
    return tw_span_of(bytes.data, bytes.size);
}

// ---- the two ways ----

static int64_t time_ours(struct tw_engine *engine, const struct guest *guest, int calls) {
    int64_t before = tw_clock_ns();
    for (int i = 0; i < calls; i++) {
        struct tw_invoke invoke;
        invoke.module = guest->ours;
        invoke.instance = NULL;
        invoke.tenant = 0;
        invoke.export = "f";
        invoke.arg_count = 0;
        invoke.input = (struct tw_span){};
        invoke.output_max = 0;
        invoke.deadline_ns = before + 60 * TW_NS_PER_S;
        invoke.wasi_args = invoke.wasi_env = NULL;
        invoke.emit = NULL;
        invoke.done = NULL;
        tw_engine_run(engine, &invoke);
        if (invoke.error.code || invoke.results[0].of.i32 != 42)
            die("our call", invoke.error.message);
    }
    return (tw_clock_ns() - before) / calls;
}

static int64_t time_theirs(wasm_engine_t *engine, const struct guest *guest, int calls) {
    int64_t before = tw_clock_ns();
    for (int i = 0; i < calls; i++) {
        wasmtime_store_t *store = wasmtime_store_new(engine, NULL, NULL);
        wasmtime_context_t *context = wasmtime_store_context(store);
        wasmtime_instance_t instance;
        wasmtime_extern_t item;
        wasmtime_val_t result;
        wasm_trap_t *trap = NULL;
        check(wasmtime_instance_pre_instantiate(guest->theirs, context, &instance, &trap), trap,
              "instantiating");
        if (!wasmtime_instance_export_get(context, &instance, "f", 1, &item))
            die("the pooled guest", "no export");
        check(wasmtime_func_call(context, &item.of.func, NULL, 0, &result, 1, &trap), trap, "calling");
        if (result.of.i32 != 42)
            die("the pooled guest", "wrong result");
        wasmtime_store_delete(store);
    }
    return (tw_clock_ns() - before) / calls;
}

// ---- setting up ----

// The settings that serve it best here: the first 64 KiB kept resident, no interruption at all.
static wasm_engine_t *new_pooling(void) {
    wasm_config_t *config = wasm_config_new();
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, 64 << 10);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, 64 << 10);
    wasmtime_pooling_allocation_config_total_memories_set(pool, 100);
    wasmtime_pooling_allocation_config_total_core_instances_set(pool, 100);
    wasmtime_pooling_allocation_strategy_set(config, pool);
    wasmtime_pooling_allocation_config_delete(pool);
    wasm_engine_t *engine = wasm_engine_new_with_config(config);
    if (!engine)
        die("the pooling engine", "did not start");
    return engine;
}

static wasmtime_instance_pre_t *new_pre(wasm_engine_t *engine, struct tw_span wasm) {
    wasmtime_module_t *module = NULL;
    wasmtime_instance_pre_t *pre = NULL;
    wasmtime_linker_t *linker = wasmtime_linker_new(engine);
    check(wasmtime_module_new(engine, wasm.data, wasm.len, &module), NULL, "compiling");
    check(wasmtime_linker_instantiate_pre(linker, module, &pre), NULL, "linking");
    wasmtime_linker_delete(linker);
    wasmtime_module_delete(module);
    return pre;
}

static struct tw_module *new_module(struct tw_engine *engine, struct tw_span wasm) {
    struct tw_error err = {};
    struct tw_buf image;
    tw_buf_init(&image, 64 << 20);
    struct tw_module *module = tw_module_build(engine, wasm, NULL, NULL, &image, &err);
    tw_buf_done(&image);
    if (!module)
        die("building", err.message);
    return module;
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void report(FILE *json, struct tw_engine *engine, wasm_engine_t *pooling, const struct guest *guest,
                   int pages, bool last) {
    int64_t ours[ROUNDS], theirs[ROUNDS];
    time_ours(engine, guest, WARM_UP);
    time_theirs(pooling, guest, WARM_UP);
    for (int round = 0; round < ROUNDS; round++) {
        ours[round] = time_ours(engine, guest, 500);
        theirs[round] = time_theirs(pooling, guest, 500);
    }
    qsort(ours, ROUNDS, sizeof(*ours), by_value);
    qsort(theirs, ROUNDS, sizeof(*theirs), by_value);
    double a = (double)ours[ROUNDS / 2] / 1e3, b = (double)theirs[ROUNDS / 2] / 1e3;
    printf("%5d  %10.2f  %10.2f  %6.2f\n", pages, a, b, b / a);
    if (json)
        fprintf(json, "  {\"pages\": %d, \"ours_us\": %.3f, \"wasmtime_pooling_us\": %.3f}%s\n", pages, a, b,
                last ? "" : ",");
}

// Our engine with the device and the compiler it needs.
struct house {
    struct tw_compiler *compiler;
    struct tw_gpu *gpu;
    struct tw_engine *engine;
};

// The compiler program lies beside the server's, one folder up from ours.
static struct house open_house(const char *self) {
    struct tw_error err = {};
    char program[4096];
    snprintf(program, sizeof(program) - 64, "%s", self);
    char *slash = strrchr(program, '/');
    snprintf(slash ? slash : program, 64, "/../bin/tensor-wasm-compiler");
    struct house house = {};
    struct tw_compiler_options compiler = {.program = program, .processes = 1};
    house.compiler = tw_compiler_new(&compiler, &err);
    struct tw_gpu_options gpu = {
        .device = "cpu", .compiler = house.compiler, .cpu_threads = 1, .max_arenas = 100};
    house.gpu = house.compiler ? tw_gpu_new(&gpu, &err) : NULL;
    struct tw_engine_options engine = {
        .compiler = house.compiler, .gpu = house.gpu, .warm_per_function = 2, .workers = 1};
    house.engine = house.gpu ? tw_engine_new(&engine, &err) : NULL;
    if (!house.engine)
        die("the engine", err.message);
    return house;
}

static void close_house(const struct house *house) {
    tw_engine_free(house->engine);
    tw_gpu_free(house->gpu);
    tw_compiler_free(house->compiler);
}

int main([[maybe_unused]] int argc, char **argv) {
    struct tw_error err = {};
    struct house house = open_house(argv[0]);
    wasm_engine_t *pooling = new_pooling();
    if (!tw_signals_install(&err)) // the second Wasmtime engine installed its handler on top
        die("the fault handler", err.message);
    mkdir("bench/results", 0755);
    FILE *json = fopen("bench/results/instance.json", "w");
    if (json)
        fprintf(json, "[\n");
    printf("microseconds a call on a fresh instance (median of %d rounds)\n", ROUNDS);
    printf("pages        ours     pooling   times\n");
    for (int i = 0; i < GUESTS; i++) {
        struct guest guest = {.wasm = make_wasm(pages_of[i])};
        guest.ours = new_module(house.engine, guest.wasm);
        guest.theirs = new_pre(pooling, guest.wasm);
        report(json, house.engine, pooling, &guest, pages_of[i], i + 1 == GUESTS);
        tw_module_unref(guest.ours);
        wasmtime_instance_pre_delete(guest.theirs);
    }
    if (json) {
        fprintf(json, "]\n");
        fclose(json);
    }
    wasm_engine_delete(pooling);
    close_house(&house);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// What a call on a fresh instance costs: our engine (take a warm instance, call, put it back to its image)
// beside Wasmtime's pooling allocator (new store, instantiate, call, delete), in one process, for guests that
// write 1, 4 and 64 pages, on 1 and on 2 threads; and our engine with that allocator as its memory backend, which is
// the same work in both but for where memory comes from. Rounds alternate between them, so that all see the same
// machine; the mean of each round is kept, and the distribution of single calls.

#include "bench.h"

enum {
    ROUNDS = 21,
    CALLS = 500,
    SINGLE_CALLS = 20'000,
    WARM_UP = 200,
    GUESTS = 3,
    THREADS_MAX = 2,
    SIDES = 3
};
static const int pages_of[GUESTS] = {1, 4, 64};

struct guest {
    struct tw_span wasm;
    struct tw_module *ours, *pooled;
    wasmtime_instance_pre_t *theirs;
};

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
    bench_check(wasmtime_wat2wasm(text, (size_t)len, &bytes), NULL, "wat2wasm");
    return tw_span_of(bytes.data, bytes.size);
}

// ---- the two ways ----

static struct tw_engine *ours_engine, *pooled_engine;
static wasm_engine_t *theirs_engine;

static void call_engine(struct tw_engine *engine, struct tw_module *module) {
    struct tw_invoke invoke = {};
    invoke.module = module;
    invoke.export = "f";
    invoke.deadline_ns = tw_clock_ns() + 60 * TW_NS_PER_S;
    tw_engine_run(engine, &invoke);
    if (invoke.error.code || invoke.results[0].of.i32 != 42)
        bench_die("our call", invoke.error.message);
}

static void call_ours(const struct guest *guest) {
    call_engine(ours_engine, guest->ours);
}

static void call_pooled(const struct guest *guest) {
    call_engine(pooled_engine, guest->pooled);
}

static void call_theirs(const struct guest *guest) {
    wasmtime_store_t *store = wasmtime_store_new(theirs_engine, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasmtime_instance_t instance;
    wasmtime_extern_t item;
    wasmtime_val_t result;
    wasm_trap_t *trap = NULL;
    bench_check(wasmtime_instance_pre_instantiate(guest->theirs, context, &instance, &trap), trap,
                "instantiating");
    if (!wasmtime_instance_export_get(context, &instance, "f", 1, &item))
        bench_die("the pooled guest", "no export");
    bench_check(wasmtime_func_call(context, &item.of.func, NULL, 0, &result, 1, &trap), trap, "calling");
    if (result.of.i32 != 42)
        bench_die("the pooled guest", "wrong result");
    wasmtime_store_delete(store);
}

static const struct side {
    const char *name;
    void (*call)(const struct guest *guest);
} sides[SIDES] = {{"ours", call_ours}, {"ours_on_pooling", call_pooled}, {"wasmtime_pooling", call_theirs}};

// ---- timing ----

struct work {
    const struct side *side;
    const struct guest *guest;
};

static void *run_calls(void *context) {
    const struct work *work = context;
    for (int i = 0; i < CALLS; i++)
        work->side->call(work->guest);
    return NULL;
}

// Microseconds a call, with so many threads calling at the same time.
static double time_round(const struct side *side, const struct guest *guest, int threads) {
    struct work work = {side, guest};
    pthread_t started[THREADS_MAX];
    int64_t before = tw_clock_ns();
    for (int i = 1; i < threads; i++) {
        if (pthread_create(&started[i], NULL, run_calls, &work) != 0)
            bench_die("a thread", "could not be started");
    }
    run_calls(&work);
    for (int i = 1; i < threads; i++)
        pthread_join(started[i], NULL);
    return (double)(tw_clock_ns() - before) / 1e3 / CALLS;
}

struct distribution {
    double p50, p90, p99;
};

static struct distribution time_single(const struct side *side, const struct guest *guest) {
    static double us[SINGLE_CALLS];
    for (int i = 0; i < SINGLE_CALLS; i++) {
        int64_t before = tw_clock_ns();
        side->call(guest);
        us[i] = (double)(tw_clock_ns() - before) / 1e3;
    }
    qsort(us, SINGLE_CALLS, sizeof(*us), bench_by_value);
    return (struct distribution){us[SINGLE_CALLS / 2], us[SINGLE_CALLS * 9 / 10],
                                 us[SINGLE_CALLS * 99 / 100]};
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
        bench_die("the pooling engine", "did not start");
    return engine;
}

static wasmtime_instance_pre_t *new_pre(wasm_engine_t *engine, struct tw_span wasm) {
    wasmtime_module_t *module = NULL;
    wasmtime_instance_pre_t *pre = NULL;
    wasmtime_linker_t *linker = wasmtime_linker_new(engine);
    bench_check(wasmtime_module_new(engine, wasm.data, wasm.len, &module), NULL, "compiling");
    bench_check(wasmtime_linker_instantiate_pre(linker, module, &pre), NULL, "linking");
    wasmtime_linker_delete(linker);
    wasmtime_module_delete(module);
    return pre;
}

// ---- the result ----

static double median(const double *values) {
    double sorted[ROUNDS];
    memcpy(sorted, values, sizeof(sorted));
    qsort(sorted, ROUNDS, sizeof(*sorted), bench_by_value);
    return sorted[ROUNDS / 2];
}

static void write_rounds(FILE *json, const char *name, const double *rounds) {
    fprintf(json, ", \"%s\": [", name);
    for (int i = 0; i < ROUNDS; i++)
        fprintf(json, "%s%.3f", i ? ", " : "", rounds[i]);
    fputc(']', json);
}

// One guest: all rounds on 1 and on 2 threads, then single calls.
static void report(FILE *json, const struct guest *guest, int pages, bool last) {
    if (json)
        fprintf(json, "  {\"pages\": %d", pages);
    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        double rounds[SIDES][ROUNDS];
        for (int i = 0; i < WARM_UP * SIDES; i++)
            sides[i % SIDES].call(guest);
        for (int round = 0; round < ROUNDS; round++) {
            for (int i = 0; i < SIDES; i++) {
                int side = (i + round) % SIDES;
                rounds[side][round] = time_round(&sides[side], guest, threads);
            }
        }
        double ours = median(rounds[0]), pooled = median(rounds[1]), theirs = median(rounds[2]);
        printf("%5d  %7d  %10.2f  %15.2f  %10.2f  %6.2f\n", pages, threads, ours, pooled, theirs,
               theirs / ours);
        for (int i = 0; json && i < SIDES; i++) {
            char name[64];
            snprintf(name, sizeof(name), "%s_us_threads_%d", sides[i].name, threads);
            write_rounds(json, name, rounds[i]);
        }
    }
    for (int i = 0; i < SIDES; i++) {
        struct distribution found = time_single(&sides[i], guest);
        printf("       %-16s single calls: p50 %.2f, p90 %.2f, p99 %.2f\n", sides[i].name, found.p50,
               found.p90, found.p99);
        if (json)
            fprintf(json, ", \"%s_single_us\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f}", sides[i].name,
                    found.p50, found.p90, found.p99);
    }
    if (json)
        fprintf(json, "}%s\n", last ? "" : ",");
}

// Our engine with the device and the compiler it needs.
struct house {
    struct tw_compiler *compiler;
    struct tw_gpu *gpu;
    struct tw_engine *owned, *pooled;
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
    house.owned = house.gpu ? tw_engine_new(&engine, &err) : NULL;
    engine.memory = TW_MEMORY_POOLING;
    engine.max_instances = 100;
    house.pooled = house.owned ? tw_engine_new(&engine, &err) : NULL;
    if (!house.pooled)
        bench_die("the engine", err.message);
    return house;
}

static void close_house(const struct house *house) {
    tw_engine_free(house->pooled);
    tw_engine_free(house->owned);
    tw_gpu_free(house->gpu);
    tw_compiler_free(house->compiler);
}

int main([[maybe_unused]] int argc, char **argv) {
    struct tw_error err = {};
    struct house house = open_house(argv[0]);
    ours_engine = house.owned;
    pooled_engine = house.pooled;
    theirs_engine = new_pooling();
    if (!tw_signals_install(&err)) // the second Wasmtime engine installed its handler on top
        bench_die("the fault handler", err.message);
    FILE *json = bench_result_open("instance");
    if (json)
        fputs(" \"guests\": [\n", json);
    printf("microseconds a call on a fresh instance (median of %d rounds of %d calls on each thread)\n",
           ROUNDS, CALLS);
    printf("pages  threads        ours  ours on pooling     pooling   times\n");
    for (int i = 0; i < GUESTS; i++) {
        struct guest guest = {.wasm = make_wasm(pages_of[i])};
        guest.ours = bench_module_new(house.owned, guest.wasm, NULL, "building");
        guest.pooled = bench_module_new(house.pooled, guest.wasm, NULL, "building");
        guest.theirs = new_pre(theirs_engine, guest.wasm);
        report(json, &guest, pages_of[i], i + 1 == GUESTS);
        tw_module_unref(guest.ours);
        tw_module_unref(guest.pooled);
        wasmtime_instance_pre_delete(guest.theirs);
    }
    if (json) {
        fprintf(json, " ]}\n");
        fclose(json);
    }
    wasm_engine_delete(theirs_engine);
    close_house(&house);
    return 0;
}

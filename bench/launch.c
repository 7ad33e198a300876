// SPDX-License-Identifier: Apache-2.0
//
// What a launch costs a guest: a Wasm function launches a kernel again and again, and writes down the clock before
// each. Of an empty kernel all of it is the way there and back: the host call, its checks, the permit, metrics, the
// sandboxed code. Figures in microseconds; reading the clock is in them, and is a line of its own. Grids that are
// short by what their kernel took lately run on the guest's thread; large ones are shared with the device's.

#include "bench.h"

enum { ROUNDS = 7, CALLS_PER_ROUND = 20, LAUNCHES = 1000, STAMPS_AT = 8192, GUEST_TEXT_MAX = 8192 };
// The median of a round's calls, so that one call that was interrupted does not count.
enum quantile { P50, P95, P99, QUANTILES };

#define EMPTY ".version 7.0 .target sm_70 .address_size 64 .visible .entry k() { ret; }"
#define COUNTER                                                                                              \
    ".version 7.0 .target sm_70 .address_size 64 .visible .global .u32 n; .visible .entry k() { .reg .b32 "  \
    "%r<2>; mov.u32 %r0, %tid.x; st.global.u32 [n], %r0; ret; }"
#define LAUNCH(grid, block)                                                                                  \
    "(if (call $launch (local.get $k) (i32.const " #grid ") (i32.const 1) (i32.const 1) (i32.const " #block  \
    ") (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)) (then (unreachable)))"
#define ASYNC                                                                                                \
    "(if (call $launch_async (i64.const 0) (local.get $k) (i32.const 1) (i32.const 1) (i32.const 1) "        \
    "(i32.const 32) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)) (then "           \
    "(unreachable)))"
#define SYNC "(if (call $sync) (then (unreachable)))"

// What the guest does between two looks at the clock.
static const struct subject {
    const char *name, *ptx, *body;
    int launches; // in the body
} subjects[] = {
    {"the clock alone", EMPTY, "", 1},
    {"empty, 1 x 1", EMPTY, LAUNCH(1, 1), 1},
    {"empty, 1 x 256", EMPTY, LAUNCH(1, 256), 1},
    {"empty, 64 x 256", EMPTY, LAUNCH(64, 256), 1},
    {"one store, 64 x 256", COUNTER, LAUNCH(64, 256), 1},
    {"launch_async and sync", EMPTY, ASYNC SYNC, 1},
    {"16 launch_async and sync", EMPTY,
     ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC ASYNC SYNC,
     16},
};

static const char guest_text[] =
    "(module (import \"wasi_cuda\" \"load_ptx\" (func $load (param i32 i32 i32 i32) (result i64))) "
    "(import \"wasi_cuda\" \"launch\" (func $launch (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result "
    "i32))) "
    "(import \"wasi_cuda\" \"launch_async\" (func $launch_async (param i64 i64 i32 i32 i32 i32 i32 i32 i32 "
    "i32 i32) "
    "(result i32))) "
    "(import \"wasi_cuda\" \"sync\" (func $sync (result i32))) "
    "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $clock (param i32 i64 i32) (result i32))) "
    "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32))) "
    "(memory (export \"memory\") 2) (data (i32.const 1024) \"%s\") (data (i32.const 0) \"k\") "
    "(func $look (param $i i32) (drop (call $clock (i32.const 1) (i64.const 0) "
    "(i32.add (i32.const %d) (i32.shl (local.get $i) (i32.const 3)))))) "
    "(func (export \"f\") (local $k i64) (local $i i32) "
    "(local.set $k (call $load (i32.const 1024) (i32.const %d) (i32.const 0) (i32.const 1))) "
    "(if (i64.lt_s (local.get $k) (i64.const 0)) (then (unreachable))) "
    "(loop $next (call $look (local.get $i)) %s "
    "(br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const %d)))) "
    "(call $look (local.get $i)) "
    "(i32.store (i32.const 16) (i32.const %d)) (i32.store (i32.const 20) (i32.const %d)) "
    "(drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))";

static struct tw_module *new_module(struct tw_engine *engine, const struct subject *subject) {
    char text[GUEST_TEXT_MAX];
    int len = snprintf(text, sizeof(text), guest_text, subject->ptx, STAMPS_AT, (int)strlen(subject->ptx),
                       subject->body, LAUNCHES, STAMPS_AT, (LAUNCHES + 1) * 8);
    wasm_byte_vec_t bytes;
    wasmtime_error_t *error = len < (int)sizeof(text) ? wasmtime_wat2wasm(text, (size_t)len, &bytes) : NULL;
    if (len >= (int)sizeof(text) || error)
        bench_die(subject->name, "its text is wrong");
    struct tw_module *module =
        bench_module_new(engine, tw_span_of(bytes.data, bytes.size), NULL, subject->name);
    wasm_byte_vec_delete(&bytes);
    return module;
}

// One call: microseconds a launch, in quantiles.
static void call_once(struct tw_engine *engine, struct tw_module *module, const struct subject *subject,
                      double ret_us[QUANTILES]) {
    double us[LAUNCHES];
    int64_t stamps[LAUNCHES + 1];
    struct tw_invoke invoke = {
        .module = module, .export = "f", .deadline_ns = tw_clock_ns() + 60 * TW_NS_PER_S};
    tw_engine_run(engine, &invoke);
    if (invoke.error.code || invoke.output.len != sizeof(stamps))
        bench_die(subject->name, invoke.error.code ? invoke.error.message : "it wrote too little");
    memcpy(stamps, invoke.output.data, sizeof(stamps));
    tw_buf_done(&invoke.output);
    tw_buf_done(&invoke.stderr_text);
    tw_buf_done(&invoke.backtrace);
    for (int i = 0; i < LAUNCHES; i++)
        us[i] = (double)(stamps[i + 1] - stamps[i]) * 1e-3 / subject->launches;
    qsort(us, LAUNCHES, sizeof(*us), bench_by_value);
    ret_us[P50] = us[LAUNCHES / 2];
    ret_us[P95] = us[LAUNCHES * 95 / 100];
    ret_us[P99] = us[LAUNCHES * 99 / 100];
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof(*values), bench_by_value);
    return values[count / 2];
}

static void run_round(struct tw_engine *engine, struct tw_module *module, const struct subject *subject,
                      double ret_us[QUANTILES]) {
    double calls[QUANTILES][CALLS_PER_ROUND];
    for (int i = 0; i < CALLS_PER_ROUND; i++) {
        double us[QUANTILES];
        call_once(engine, module, subject, us);
        for (int q = 0; q < QUANTILES; q++)
            calls[q][i] = us[q];
    }
    for (int q = 0; q < QUANTILES; q++)
        ret_us[q] = median(calls[q], CALLS_PER_ROUND);
}

static void report(FILE *json, const struct subject *subject, double rounds[QUANTILES][ROUNDS], bool last) {
    if (json) {
        fprintf(json, "  {\"subject\": \"%s\", \"p50_us_rounds\": [", subject->name);
        for (int r = 0; r < ROUNDS; r++)
            fprintf(json, "%s%.3f", r ? ", " : "", rounds[P50][r]);
    }
    double p50 = median(rounds[P50], ROUNDS), p95 = median(rounds[P95], ROUNDS),
           p99 = median(rounds[P99], ROUNDS);
    printf("%-26s %8.3f %8.3f %8.3f\n", subject->name, p50, p95, p99);
    if (json)
        fprintf(json, "], \"p50_us\": %.3f, \"p95_us\": %.3f, \"p99_us\": %.3f}%s\n", p50, p95, p99,
                last ? "" : ",");
}

static double us[TW_COUNT(subjects)][QUANTILES][ROUNDS];

static void run_all(struct tw_engine *engine) {
    struct tw_module *modules[TW_COUNT(subjects)];
    double round[QUANTILES];
    for (size_t i = 0; i < TW_COUNT(subjects); i++) {
        modules[i] = new_module(engine, &subjects[i]);
        run_round(engine, modules[i], &subjects[i], round); // warm
    }
    for (int r = 0; r < ROUNDS; r++) {
        for (size_t i = 0; i < TW_COUNT(subjects); i++) {
            run_round(engine, modules[i], &subjects[i], round);
            for (int q = 0; q < QUANTILES; q++)
                us[i][q][r] = round[q];
        }
    }
    for (size_t i = 0; i < TW_COUNT(subjects); i++)
        tw_module_unref(modules[i]);
}

int main(int argc, char **argv) {
    (void)argc;
    struct bench_house house;
    bench_house_open(&house, argv[0]);
    run_all(house.engine);
    bench_house_close(&house);
    FILE *json = bench_result_open("launch");
    if (json)
        fprintf(json, " \"launches a round\": %d,\n \"subjects\": [\n", CALLS_PER_ROUND * LAUNCHES);
    printf("microseconds a launch, as the guest sees it; median of %d rounds of %d\n", ROUNDS,
           CALLS_PER_ROUND * LAUNCHES);
    printf("%-26s %8s %8s %8s\n", "kernel, blocks x threads", "p50", "p95", "p99");
    for (size_t i = 0; i < TW_COUNT(subjects); i++)
        report(json, &subjects[i], us[i], i + 1 == TW_COUNT(subjects));
    if (json) {
        fprintf(json, " ]}\n");
        fclose(json);
    }
    return 0;
}

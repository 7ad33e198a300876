// SPDX-License-Identifier: Apache-2.0
//
// How long a call goes on after its deadline, and after it was cancelled: from that moment to when its guest has left, or
// to its answer where the guest is left behind in the collector, for guests that spend their time in every kind of way.
// Moments are spread over the clock's ticks. Figures in microseconds.

#include "bench.h"

enum {
    ROUNDS = 200,
    RUN_US_MIN = 2000,
    RUN_US_SPREAD = 3000,
    WARM_UP_US = 500'000,
    PREPARES_US = 200'000,
    LETTING_GO_US = 300'000
};

#define FOREVER                                                                                              \
    ".version 7.0 .target sm_70 .address_size 64 .visible .entry k() { .reg .b32 %r<1>; mov.u32 %r0, 0; L: " \
    "add.u32 %r0, %r0, 1; bra L; }"

static const struct guest {
    const char *name, *wat; // exports f
    int64_t prepares_us;    // what it does first that is not to be measured
    int64_t spread_us;      // over which the moments lie, of one that seldom comes to it; 0: RUN_US_SPREAD
} guests[] = {
    {.name = "spin", .wat = "(module (func (export \"f\") (loop (br 0))))"},
    {.name = "spin on memory",
     .wat = "(module (memory (export \"memory\") 1) (func (export \"f\") (loop (i32.store (i32.const 0) "
            "(i32.add "
            "(i32.load (i32.const 0)) (i32.const 1))) (br 0))))"},
    {.name = "mutual recursion",
     .wat =
         "(module (func $a (param i32) (result i32) (i32.add (call $b (i32.add (local.get 0) (i32.const 1))) "
         "(i32.const 1))) (func $b (param i32) (result i32) (if (result i32) (i32.gt_u (local.get 0) "
         "(i32.const 1000)) (then (i32.const 0)) (else (i32.add (call $a (i32.add (local.get 0) (i32.const "
         "1))) (call $a (i32.add (local.get 0) (i32.const 1))))))) (func (export \"f\") (drop (call $a "
         "(i32.const 0)))))"},
    {.name = "memory.fill of 1 GiB",
     .wat = "(module (memory (export \"memory\") 16384) (func (export \"f\") (loop (memory.fill (i32.const "
            "0) (i32.const 1) (i32.const 0x40000000)) (br 0))))"},
    {.name = "memory.copy of 512 MiB",
     .wat = "(module (memory (export \"memory\") 16384) (func (export \"f\") (loop (memory.copy (i32.const "
            "0x20000000) (i32.const 0) (i32.const 0x20000000)) (br 0))))"},
    {.name = "table.fill of 1,000,000",
     .wat = "(module (table $t 1000000 funcref) (elem declare func $g) (func $g) (func (export \"f\") "
            "(loop (table.fill $t (i32.const 0) (ref.func $g) (i32.const 1000000)) (br 0))))"},
    {.name = "table.copy of 500,000",
     .wat = "(module (table $t 1000000 funcref) (elem declare func $g) (func $g) (func (export \"f\") "
            "(table.fill $t (i32.const 0) (ref.func $g) (i32.const 1000000)) (loop (table.copy $t $t "
            "(i32.const 500000) (i32.const 0) (i32.const 500000)) (br 0))))"},
    {.name = "array.fill of 64 MiB",
     .wat = "(module (type $a (array (mut i32))) (func (export \"f\") (local $x (ref $a)) (local.set $x "
            "(array.new_default $a (i32.const 16000000))) (loop (array.fill $a (local.get $x) (i32.const 0) "
            "(i32.const 7) (i32.const 16000000)) (br 0))))",
     .prepares_us = PREPARES_US},
    {.name = "array.copy of 32 MiB",
     .wat = "(module (type $a (array (mut i32))) (func (export \"f\") (local $x (ref $a)) (local.set $x "
            "(array.new_default $a (i32.const 16000000))) (loop (array.copy $a $a (local.get $x) (i32.const "
            "8000000) (local.get $x) (i32.const 0) (i32.const 8000000)) (br 0))))",
     .prepares_us = PREPARES_US},
    {.name = "array.new of 64 MiB",
     .wat =
         "(module (type $a (array (mut i32))) (func (export \"f\") (loop (drop (array.new $a (i32.const 7) "
         "(i32.const 16000000))) (br 0))))"},
    {.name = "array.new_default of 64 MiB",
     .wat = "(module (type $a (array (mut i32))) (func (export \"f\") (loop (drop (array.new_default $a "
            "(i32.const 16000000))) (br 0))))"},
    {.name = "array.new of 64 MiB of bytes",
     .wat = "(module (type $a (array (mut i8))) (func (export \"f\") (loop (drop (array.new $a (i32.const 7) "
            "(i32.const 64000000))) (br 0))))"},
    {.name = "array.new_default of 64 MiB of references",
     .wat = "(module (type $a (array (mut anyref))) (func (export \"f\") (loop (drop (array.new_default $a "
            "(i32.const 16000000))) (br 0))))"},
    {.name = "a list of 1,000,000 let go",
     .wat =
         "(module (type $s (struct (field (mut (ref null $s))))) (global $keep (mut (ref null $s)) (ref.null "
         "$s)) "
         "(func (export \"f\") (local $n i32) (loop $l (global.set $keep (struct.new $s (global.get $keep))) "
         "(if (i32.eq (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000000)) (then "
         "(local.set "
         "$n (i32.const 0)) (global.set $keep (ref.null $s)))) (br $l))))",
     .spread_us = LETTING_GO_US},
    {.name = "small objects",
     .wat =
         "(module (type $s (struct (field (mut (ref null $s))))) (global $keep (mut (ref null $s)) (ref.null "
         "$s)) "
         "(func (export \"f\") (local $n i32) (loop $l (global.set $keep (struct.new $s (global.get $keep))) "
         "(if (i32.eq (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 200000)) (then "
         "(local.set "
         "$n (i32.const 0)) (global.set $keep (ref.null $s)))) (br $l))))"},
    {.name = "memset_d8 of 256 MiB",
     .wat = "(module (import \"wasi_cuda\" \"alloc\" (func $alloc (param i32 i32) (result i64))) (import "
            "\"wasi_cuda\" \"memset_d8\" (func $set (param i64 i64 i32 i64) (result i32))) (memory (export "
            "\"memory\") 1) (func (export \"f\") (local $b i64) (local.set $b (call $alloc (i32.const "
            "268435456) (i32.const 0))) (loop (drop (call $set (local.get $b) (i64.const 0) (i32.const 7) "
            "(i64.const 268435456))) (br 0))))"},
    {.name = "wait in poll_oneoff",
     .wat =
         "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) "
         "(result i32))) (memory (export \"memory\") 1) (func (export \"f\") (i32.store (i32.const 16) "
         "(i32.const 1)) (i64.store (i32.const 24) (i64.const 60000000000)) (drop (call $poll (i32.const 0) "
         "(i32.const 100) (i32.const 1) (i32.const 200)))))"},
    {.name = "kernel",
     .wat = "(module (import \"wasi_cuda\" \"load_ptx\" (func $load (param i32 i32 i32 i32) (result i64))) "
            "(import "
            "\"wasi_cuda\" \"launch\" (func $launch (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result "
            "i32))) "
            "(memory "
            "(export \"memory\") 1) (data (i32.const 1024) \"" FOREVER
            "\") (data (i32.const 8) \"k\") (func (export "
            "\"f\") (drop (call $launch (call $load (i32.const 1024) (i32.const 131) (i32.const 8) "
            "(i32.const 1)) "
            "(i32.const "
            "1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0) "
            "(i32.const 0) "
            "(i32.const "
            "0)))))"},
};

// ---- one call ----

struct stopped {
    struct tw_invoke invoke;
    struct tw_state over;
};

static void on_done(struct tw_invoke *invoke) {
    struct stopped *call = invoke->context;
    tw_state_set(&call->over, 1);
    tw_state_wake(&call->over);
}

static int64_t next_run_ns(int64_t spread_us) {
    static uint32_t random = 1;
    random = random * 1664525 + 1013904223;
    return (RUN_US_MIN + (random >> 8) % spread_us) * 1000LL;
}

// Microseconds that the guest went on.
static double stop_once(struct tw_engine *engine, struct tw_module *module, int64_t run_ns, bool by_cancel,
                        const char *name) {
    int64_t now_ns = tw_clock_ns();
    struct stopped call = {};
    struct tw_error err = {};
    call.invoke.module = module;
    call.invoke.export = "f";
    call.invoke.context = &call;
    call.invoke.done = on_done;
    int64_t stop_ns = now_ns + run_ns;
    call.invoke.deadline_ns = by_cancel ? now_ns + 60 * TW_NS_PER_S : stop_ns;
    if (!tw_engine_submit(engine, &call.invoke, &err))
        bench_die(name, err.message);
    if (by_cancel) {
        struct timespec until = {.tv_sec = stop_ns / TW_NS_PER_S, .tv_nsec = stop_ns % TW_NS_PER_S};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        stop_ns = tw_clock_ns();
        tw_invoke_cancel(&call.invoke);
    }
    while (tw_state_get(&call.over) == 0)
        tw_state_wait(&call.over, 0, -1);
    if (call.invoke.error.code != (by_cancel ? TW_ERR_CANCELLED : TW_ERR_TIMEOUT))
        bench_die(name, call.invoke.error.code ? call.invoke.error.message : "it ended by itself");
    double us = (double)(call.invoke.times.ended_ns - stop_ns) * 1e-3;
    tw_buf_done(&call.invoke.output);
    tw_buf_done(&call.invoke.stderr_text);
    tw_buf_done(&call.invoke.backtrace);
    return us;
}

// ---- the result ----

static void report(FILE *json, struct tw_engine *engine, const struct guest *guest, struct tw_module *module,
                   bool last) {
    static const char *const causes[2] = {"deadline", "cancel"};
    int64_t spread_us = guest->spread_us ? guest->spread_us : RUN_US_SPREAD;
    for (int by_cancel = 0; by_cancel < 2; by_cancel++) {
        double us[ROUNDS];
        // Long enough for its kernel's code to be made.
        (void)stop_once(engine, module, WARM_UP_US * 1000LL, by_cancel, guest->name);
        for (int i = 0; i < ROUNDS; i++)
            us[i] = stop_once(engine, module, guest->prepares_us * 1000LL + next_run_ns(spread_us), by_cancel,
                              guest->name);
        qsort(us, ROUNDS, sizeof(*us), bench_by_value);
        printf("%-42s %-9s %8.0f %8.0f %8.0f\n", guest->name, causes[by_cancel], us[ROUNDS / 2],
               us[ROUNDS * 99 / 100], us[ROUNDS - 1]);
        fflush(stdout);
        if (json)
            fprintf(json,
                    "  {\"guest\": \"%s\", \"cause\": \"%s\", \"p50_us\": %.1f, \"p99_us\": %.1f, "
                    "\"max_us\": %.1f}%s\n",
                    guest->name, causes[by_cancel], us[ROUNDS / 2], us[ROUNDS * 99 / 100], us[ROUNDS - 1],
                    last && by_cancel ? "" : ",");
    }
}

static struct tw_module *new_module(struct tw_engine *engine, const struct guest *guest) {
    struct tw_module_limits limits = {.memory_bytes = 1ULL << 30};
    wasm_byte_vec_t bytes;
    wasmtime_error_t *error = wasmtime_wat2wasm(guest->wat, strlen(guest->wat), &bytes);
    if (error)
        bench_die(guest->name, "its text is wrong");
    struct tw_module *module =
        bench_module_new(engine, tw_span_of(bytes.data, bytes.size), &limits, guest->name);
    wasm_byte_vec_delete(&bytes);
    return module;
}

// With a guest's name: that one only, and nothing is written.
int main(int argc, char **argv) {
    struct tw_error err = {};
    struct bench_house house;
    bench_house_open(&house, argv[0]);
    // Compiled already, so that each call is in its kernel when it is stopped.
    if (!tw_gpu_prepare(house.gpu, 1, tw_str_from(FOREVER), TW_STR("k"), TW_NO_DEADLINE, &err))
        bench_die("the kernel", err.message);
    FILE *json = argc > 1 ? NULL : bench_result_open("stop");
    if (json)
        fputs(" \"guests\": [\n", json);
    printf("microseconds from the deadline, or from cancelling, to the guest's end or the answer; %d times "
           "each\n",
           ROUNDS);
    printf("%-42s %-9s %8s %8s %8s\n", "guest", "cause", "p50", "p99", "max");
    for (size_t i = 0; i < TW_COUNT(guests); i++) {
        if (argc > 1 && strcmp(argv[1], guests[i].name) != 0)
            continue;
        struct tw_module *module = new_module(house.engine, &guests[i]);
        report(json, house.engine, &guests[i], module, i + 1 == TW_COUNT(guests));
        tw_module_unref(module);
    }
    if (json) {
        fprintf(json, " ]}\n");
        fclose(json);
    }
    bench_house_close(&house);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// `bench FILE`: how long calls of a module take in this process, each on a fresh instance as a server gives it.
// What is measured is what the caller sees, from asking to the answer; the phases are the engine's own.

#include <stdlib.h>
#include <sys/resource.h>

#include "cli/internal.h"

enum { CALLS_MAX = 10'000'000, CALLERS_MAX = 64, PHASES = 5 };

static const char *const phase_names[PHASES] = {"call", "queue", "start", "run", "kernel"};

// What all callers share. Frozen while they run, but for `next`, `failed` and `lock`'s.
struct bench {
    struct cli_local *local;
    uint32_t calls;
    int64_t until_ns;
    struct tw_counter next, failed;
    int64_t *times[PHASES]; // ns, by the number of the call; those of failed calls stay 0
    struct tw_lock lock;
    struct tw_error error; // lock: of the first that failed
};

static void take_times(struct bench *bench, uint32_t number, int64_t whole_ns,
                       const struct tw_invoke_times *times) {
    int64_t kernel_ns = (int64_t)times->kernel_ns;
    const int64_t phases[PHASES] = {whole_ns, times->started_ns - times->queued_ns,
                                    times->running_ns - times->started_ns,
                                    times->ended_ns - times->running_ns - kernel_ns, kernel_ns};
    for (int i = 0; i < PHASES; i++)
        bench->times[i][number] = phases[i] > 0 ? phases[i] : 0;
}

// One call; false with what went wrong.
static bool call_once(struct bench *bench, uint32_t number, struct tw_error *err) {
    struct tw_service_call call;
    int64_t began_ns = tw_clock_ns();
    if (!cli_local_call(bench->local, &call, err))
        return false;
    int64_t whole_ns = tw_clock_ns() - began_ns;
    bool ok = call.error.code == TW_OK;
    if (ok)
        take_times(bench, number, whole_ns, &call.invoke.times);
    else
        *err = call.error;
    tw_service_call_done(&call);
    return ok;
}

static void caller_main(void *context) {
    struct bench *bench = context;
    while (tw_clock_ns() < bench->until_ns) {
        int64_t number = tw_counter_add(&bench->next, 1);
        struct tw_error err = {};
        if (number >= bench->calls)
            return;
        if (call_once(bench, (uint32_t)number, &err))
            continue;
        tw_counter_add(&bench->failed, 1);
        TW_LOCK_SCOPE(&bench->lock);
        if (bench->error.code == TW_OK)
            bench->error = err;
    }
}

// ---- what came out ----

struct report {
    uint32_t calls, failed, callers;
    double seconds, cpu_us; // of the process, a call
    int64_t first_ns;
    int64_t *sorted[PHASES]; // of the calls that went well
    uint32_t good;
};

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Those that went well move to the front, each phase in its own order.
static void sort(struct bench *bench, struct report *report) {
    for (uint32_t i = 0; i < report->calls; i++) {
        if (bench->times[0][i] == 0)
            continue;
        for (int phase = 0; phase < PHASES; phase++)
            bench->times[phase][report->good] = bench->times[phase][i];
        report->good++;
    }
    for (int phase = 0; phase < PHASES; phase++) {
        report->sorted[phase] = bench->times[phase];
        qsort(report->sorted[phase], report->good, sizeof(int64_t), compare);
    }
}

// The nearest-rank percentile, in microseconds.
static double percentile_us(const struct report *report, int phase, uint32_t percent) {
    uint32_t rank = (uint32_t)(((uint64_t)report->good * percent + 99) / 100);
    return report->good ? (double)report->sorted[phase][rank ? rank - 1 : 0] / 1000 : 0;
}

static const uint32_t percents[] = {50, 90, 99, 100};
static const char *const percent_names[] = {"p50", "p90", "p99", "max"};

static void show_text(const struct report *report, const struct cli_local *local) {
    printf("deploy      %.2f ms\nfirst call  %.2f ms\n", (double)local->deploy_ns / 1e6,
           (double)report->first_ns / 1e6);
    printf("%" PRIu32 " calls by %" PRIu32 " caller%s in %.2f s: %.0f a second, %.1f µs of CPU each, %" PRIu32
           " failed\n\n%-8s",
           report->calls, report->callers, report->callers == 1 ? "" : "s", report->seconds,
           report->calls / report->seconds, report->cpu_us, report->failed, "µs");
    for (size_t i = 0; i < TW_COUNT(percents); i++)
        printf("%12s", percent_names[i]);
    for (int phase = 0; phase < PHASES; phase++) {
        printf("\n%-8s", phase_names[phase]);
        for (size_t i = 0; i < TW_COUNT(percents); i++)
            printf("%12.1f", percentile_us(report, phase, percents[i]));
    }
    puts("");
}

static void put_real(struct tw_json_writer *writer, const char *key, double value) {
    tw_json_write_key(writer, key);
    tw_json_write_real(writer, value);
}

static bool report_json(const struct report *report, const struct cli_local *local, struct tw_buf *out) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    put_real(&writer, "deploy_ms", (double)local->deploy_ns / 1e6);
    put_real(&writer, "first_call_ms", (double)report->first_ns / 1e6);
    tw_json_write_number(&writer, "calls", report->calls);
    tw_json_write_number(&writer, "failed", report->failed);
    tw_json_write_number(&writer, "callers", report->callers);
    put_real(&writer, "seconds", report->seconds);
    put_real(&writer, "calls_per_second", report->calls / report->seconds);
    put_real(&writer, "cpu_us_per_call", report->cpu_us);
    tw_json_write_key(&writer, "microseconds");
    tw_json_write_object(&writer);
    for (int phase = 0; phase < PHASES; phase++) {
        tw_json_write_key(&writer, phase_names[phase]);
        tw_json_write_object(&writer);
        for (size_t i = 0; i < TW_COUNT(percents); i++)
            put_real(&writer, percent_names[i], percentile_us(report, phase, percents[i]));
        tw_json_write_end(&writer, '}');
    }
    tw_json_write_end(&writer, '}');
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

static int show(const struct cli *cli, const struct report *report, const struct cli_local *local) {
    if (!cli->is_json) {
        show_text(report, local);
        return CLI_OK;
    }
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf out;
    tw_buf_init(&out, 4096);
    return report_json(report, local, &out) ? cli_show_json(&out) : CLI_FAILED;
}

// ---- the run ----

static double cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static bool run_callers(struct bench *bench, uint32_t callers, struct tw_error *err) {
    pthread_t threads[CALLERS_MAX];
    uint32_t started = 0;
    while (started < callers && tw_thread_start(&threads[started], "bench-caller", caller_main, bench, err))
        started++;
    if (started < callers)
        tw_counter_set(&bench->next, bench->calls);
    for (uint32_t i = 0; i < started; i++)
        tw_thread_join(threads[i]);
    return started == callers;
}

static bool times_new(struct bench *bench, struct tw_error *err) {
    bool ok = true;
    for (int phase = 0; phase < PHASES; phase++) {
        bench->times[phase] = tw_alloc_zero(bench->calls, sizeof(int64_t));
        ok = ok && bench->times[phase];
    }
    return ok || tw_fail(err, TW_ERR_CAPACITY, "no memory for the times of %" PRIu32 " calls", bench->calls);
}

// The first call is told apart: the instance is made for it. If it fails nothing else is tried.
static bool first_call(struct bench *bench, struct report *report) {
    if (!times_new(bench, &bench->error) || !call_once(bench, 0, &bench->error))
        return false;
    report->first_ns = bench->times[0][0];
    return true;
}

static int run_bench(const struct cli *cli, struct bench *bench, struct report *report, uint64_t seconds) {
    tw_lock_init(&bench->lock);
    bool ok = first_call(bench, report);
    int64_t began_ns = tw_clock_ns();
    double cpu_before_us = cpu_us();
    bench->until_ns = began_ns + (int64_t)seconds * TW_NS_PER_S;
    ok = ok && run_callers(bench, report->callers, &bench->error);
    report->seconds = (double)(tw_clock_ns() - began_ns) / TW_NS_PER_S;
    int64_t asked = tw_counter_get(&bench->next);
    report->calls = asked < bench->calls ? (uint32_t)asked : bench->calls;
    report->cpu_us = (cpu_us() - cpu_before_us) / (report->calls ? report->calls : 1);
    report->failed = (uint32_t)tw_counter_get(&bench->failed);
    int status = CLI_FAILED;
    if (ok) {
        sort(bench, report);
        status = show(cli, report, bench->local);
    }
    for (int phase = 0; phase < PHASES; phase++)
        free(bench->times[phase]);
    tw_lock_done(&bench->lock);
    return bench->error.code == TW_OK ? status : cli_fail(&bench->error);
}

int cli_bench(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"export", "NAME", "the export to call (default: _start, then main)"},
        {"args", "JSON", "an array of arguments"},
        {"input", "FILE", "bytes for the function's standard input (-, the default: ours)"},
        {"arg", "TEXT", "a WASI argument, after the name; may be repeated"},
        {"env", "NAME=VALUE", "a variable of the WASI environment; may be repeated"},
        {"calls", "N", "how many calls (default 10000)"},
        {"seconds", "N", "no new call after so long (default 10)"},
        {"callers", "N", "how many call at once, each the next when its last one is answered (default 1)"},
        {"device", "NAME", "auto, cpu or cuda"},
        {"memory-backend", "NAME", "owned or pooling: where instances have their memory"},
        {}};
    struct cli cli;
    struct cli_local local;
    int status;
    uint64_t calls, seconds, callers;
    if (!cli_parse(&cli, cli_bench, options, argc, argv, 1, 1, &status))
        return status;
    if (!cli_number(&cli, "calls", 10000, 1, CALLS_MAX, &calls) ||
        !cli_number(&cli, "seconds", 10, 1, 3600, &seconds) ||
        !cli_number(&cli, "callers", 1, 1, CALLERS_MAX, &callers))
        return CLI_USAGE;
    struct bench bench = {.local = &local, .calls = (uint32_t)calls};
    struct report report = {.callers = (uint32_t)callers};
    if (cli_local_open(&local, &cli, &status))
        status = run_bench(&cli, &bench, &report, seconds);
    cli_local_close(&local);
    return status;
}

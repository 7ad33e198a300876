// SPDX-License-Identifier: Apache-2.0
//
// What the benchmarks in C have in common: an end with a reason, the order of figures, a module from its bytes, and the
// machine at the head of a result file (common.py does the same for those in Python).
#pragma once

#include <wasmtime.h>

#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine.h"

[[gnu::noreturn]] static inline void bench_die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

static inline void bench_check(wasmtime_error_t *error, wasm_trap_t *trap, const char *what) {
    if (error || trap)
        bench_die(what, "Wasmtime failed");
}

// For qsort: doubles, the least first.
static inline int bench_by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// `limits` NULL: the engine's. The caller has the module's reference.
static inline struct tw_module *bench_module_new(struct tw_engine *engine, struct tw_span wasm,
                                                 const struct tw_module_limits *limits, const char *name) {
    struct tw_error err = {};
    struct tw_buf image;
    tw_buf_init(&image, 64 << 20);
    struct tw_module *module = tw_module_build(engine, wasm, limits, NULL, NULL, &image, &err);
    tw_buf_done(&image);
    if (!module)
        bench_die(name, err.message);
    return module;
}

// A compiler, the CPU device and an engine, as a server has them.
struct bench_house {
    struct tw_compiler *compiler;
    struct tw_gpu *gpu;
    struct tw_engine *engine;
};

// `program`: argv[0], beside whose folder the compiler lies.
static inline void bench_house_open(struct bench_house *house, const char *program) {
    struct tw_error err = {};
    char path[4096];
    snprintf(path, sizeof(path) - 64, "%s", program);
    char *slash = strrchr(path, '/');
    snprintf(slash ? slash : path, 64, "/../bin/tensor-wasm-compiler");
    struct tw_compiler_options compiler_options = {.program = path, .processes = 1};
    house->compiler = tw_compiler_new(&compiler_options, &err);
    struct tw_gpu_options gpu_options = {.device = "cpu", .compiler = house->compiler, .max_arenas = 100};
    house->gpu = house->compiler ? tw_gpu_new(&gpu_options, &err) : NULL;
    struct tw_engine_options options = {
        .compiler = house->compiler, .gpu = house->gpu, .warm_per_function = 2};
    house->engine = house->gpu ? tw_engine_new(&options, &err) : NULL;
    if (!house->engine)
        bench_die("the engine", err.message);
}

static inline void bench_house_close(struct bench_house *house) {
    tw_engine_free(house->engine);
    tw_gpu_free(house->gpu);
    tw_compiler_free(house->compiler);
}

// Opens the file bench/results/NAME.json and writes its name and the machine; what follows is the caller's. NULL when it
// cannot be written.
static inline FILE *bench_result_open(const char *name) {
    struct utsname host;
    char path[64], line[256], cpu[256] = "?", date[16];
    time_t now = time(NULL);
    struct tm parts;
    mkdir("bench/results", 0755);
    snprintf(path, sizeof(path), "bench/results/%s.json", name);
    FILE *json = fopen(path, "we"), *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof(line), file) && sscanf(line, "model name : %255[^\n]", cpu) != 1)
        continue;
    if (file)
        fclose(file);
    uname(&host);
    strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&now, &parts));
    if (json)
        fprintf(json,
                "{\"name\": \"%s\",\n \"machine\": {\"cpu\": \"%s\", \"cores\": %ld, \"kernel\": \"%.*s\", "
                "\"date\": \"%s\"},\n",
                name, cpu, sysconf(_SC_NPROCESSORS_ONLN), (int)strcspn(host.release, "-"), host.release,
                date);
    return json;
}

// SPDX-License-Identifier: Apache-2.0
//
// `doctor`: looks at the machine as the server will use it, and says what is missing or slow and how to mend
// it.

#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "service/internal.h"

// Mappings that an instance holds: its memory's image, the rest of its memory, the space behind; and some of stacks
// where the kernel cannot put guards within a mapping. Those that use the device have more.
enum { MAPS_PER_INSTANCE = 4 };

// Where the findings go.
struct report {
    void (*visit)(void *context, const struct tw_finding *finding);
    void *context;
};

[[gnu::format(printf, 5, 6)]] static void tell(const struct report *report, enum tw_finding_level level,
                                               const char *name, const char *remedy, const char *format,
                                               ...) {
    struct tw_finding finding = {.level = level, .name = name};
    va_list args;
    va_start(args, format);
    vsnprintf(finding.text, sizeof finding.text, format, args);
    va_end(args);
    snprintf(finding.remedy, sizeof finding.remedy, "%s", remedy);
    report->visit(report->context, &finding);
}

// A whole number in a one-line file of /proc or /sys; false when it cannot be read.
static bool read_number(const char *path, uint64_t *ret_number) {
    char line[64];
    FILE *file = fopen(path, "re");
    bool ok = file && fgets(line, sizeof line, file) &&
              tw_str_u64(tw_str_of(line, strcspn(line, "\n")), ret_number);
    if (file)
        fclose(file);
    return ok;
}

static void check_processor(const struct report *report) {
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (avx512)
        tell(report, TW_FINDING_OK, "processor", "", "%ld cores with AVX-512: 16 floats at a time", cores);
    else if (avx2)
        tell(report, TW_FINDING_OK, "processor", "", "%ld cores with AVX2 and FMA: 8 floats at a time",
             cores);
    else
        tell(report, TW_FINDING_WARNING, "processor", "use a machine of x86-64-v3 or later",
             "%ld cores without AVX2 and FMA: kernels run, but many times slower", cores);
}

static void check_memory(const struct report *report) {
    enum { INSTANCES = 10000 }; // what the server allows unless it is told otherwise
    uint64_t maps = 0, overcommit = 0;
    if (read_number("/proc/sys/vm/max_map_count", &maps))
        tell(report, maps < MAPS_PER_INSTANCE * INSTANCES ? TW_FINDING_WARNING : TW_FINDING_OK,
             "vm.max_map_count",
             maps < MAPS_PER_INSTANCE * INSTANCES
                 ? "sysctl -w vm.max_map_count=262144, or lower --max-instances"
                 : "",
             "%" PRIu64 " mappings a process: enough for about %" PRIu64 " instances", maps,
             maps / MAPS_PER_INSTANCE);
    if (read_number("/proc/sys/vm/overcommit_memory", &overcommit) && overcommit == 2)
        tell(report, TW_FINDING_ERROR, "vm.overcommit_memory", "sysctl -w vm.overcommit_memory=0",
             "strict accounting (2) refuses the address space that instances reserve");
    else
        tell(report, TW_FINDING_OK, "vm.overcommit_memory", "", "%" PRIu64 ": reservations cost nothing",
             overcommit);
}

static void check_reset(const struct report *report, const struct tw_service *service) {
    struct utsname name;
    uname(&name);
    if (!service)
        return;
    struct tw_engine_stats stats;
    tw_engine_stats(service->engine, &stats);
    if (strcmp(stats.memory_backend, "pooling") == 0) {
        tell(report, TW_FINDING_HINT, "instance reset",
             "the memory backend owned resets instances in place, and has devices",
             "pooling: every call gets a new instance of Wasmtime's pool, at most %" PRIu32
             " of them; no devices",
             stats.max_instances);
        return;
    }
    if (strcmp(stats.reset_method, "pagemap_scan") == 0)
        tell(report, TW_FINDING_OK, "instance reset", "", "%s (Linux %s): only dirtied pages are restored",
             stats.reset_method, name.release);
    else
        tell(report, TW_FINDING_HINT, "instance reset",
             "Linux 6.7 or later resets instances about three times faster",
             "%s (Linux %s): the kernel has no PAGEMAP_SCAN", stats.reset_method, name.release);
}

static void check_files(const struct report *report) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 16384)
        tell(report, TW_FINDING_WARNING, "open files",
             "ulimit -Hn 65536 before the start, or LimitNOFILE= in the service's unit",
             "%" PRIu64 " a process, its hard limit; each client connection takes one",
             (uint64_t)limit.rlim_cur);
    else
        tell(report, TW_FINDING_OK, "open files", "", "%" PRIu64 " a process, its hard limit",
             (uint64_t)limit.rlim_cur);
}

static void check_store(const struct report *report, struct tw_service *service) {
    struct statvfs space;
    struct tw_error err = {};
    if (!service)
        return;
    const char *path = tw_store_path(service->store);
    if (!tw_store_check(service->store, &err))
        tell(report, TW_FINDING_ERROR, "data folder",
             "free some space, or give the server's user write permission", "%s", err.message);
    else if (statvfs(path, &space) == 0)
        tell(report,
             (uint64_t)space.f_bavail * space.f_frsize < 1ULL << 30 ? TW_FINDING_WARNING : TW_FINDING_OK,
             "data folder", "", "%.200s is writable, %" PRIu64 " MiB free", path,
             (uint64_t)space.f_bavail * space.f_frsize >> 20);
}

// The smallest kernel there is, through the compiler process and back.
static void check_compiler(const struct report *report, struct tw_service *service) {
    static const char ptx[] =
        ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry probe() { ret; }\n";
    if (!service)
        return;
    struct tw_error err = {};
    struct tw_kernel_run run = {.ptx = tw_str_of(ptx, sizeof ptx - 1),
                                .entry = TW_STR("probe"),
                                .grid = {1, 1, 1},
                                .block = {32, 1, 1},
                                .repeat = 1000};
    int64_t start_ns = tw_clock_ns();
    if (!tw_service_kernel_run(service, &run, &err))
        tell(report, TW_FINDING_ERROR, "kernel compiler",
             "install libllvm22 and keep tensor-wasm-compiler beside tensor-wasm", "%s: %s",
             tw_code_name(err.code), err.message);
    else
        tell(report, TW_FINDING_OK, "kernel compiler", "",
             "compiles and runs; an empty launch takes %.2f us (the probe took %.1f ms in all)",
             run.median_us, (double)(tw_clock_ns() - start_ns) * 1e-6);
}

static void check_gpu(const struct report *report) {
    static const char *const nodes[] = {"/dev/nvidiactl", "/dev/nvidia0"};
    if (access(nodes[0], F_OK) == 0 || access(nodes[1], F_OK) == 0)
        tell(report, TW_FINDING_HINT, "gpu", "",
             "there is an NVIDIA GPU; this version does not use it yet: kernels run on the CPU device");
    else
        tell(report, TW_FINDING_OK, "gpu", "", "no NVIDIA GPU: kernels run on the CPU device");
}

void tw_service_doctor(struct tw_service *service,
                       void (*visit)(void *context, const struct tw_finding *finding), void *context) {
    struct report report = {visit, context};
    check_processor(&report);
    check_gpu(&report);
    check_memory(&report);
    check_reset(&report, service);
    check_files(&report);
    check_store(&report, service);
    check_compiler(&report, service);
}

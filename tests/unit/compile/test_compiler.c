// SPDX-License-Identifier: Apache-2.0
//
// tw_compile against a compiler program that does what the input says: every way it can end, and that the
// next request works.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compile/compile.h"
#include "harness/test.h"
#include "telemetry/telemetry.h"

// Sanitizers answer faults and failed allocations themselves, and differently: what they would change is
// tested without them.
[[gnu::weak]] void __asan_init(void);
[[gnu::weak]] void __tsan_init(void);

static bool is_sanitized(void) {
    return __asan_init || __tsan_init;
}

static struct tw_compiler *compiler_new(unsigned processes, unsigned wall_ms) {
    struct tw_error err = {};
    struct tw_compiler_options options = {.program = TW_TEST_FAKE_COMPILER,
                                          .processes = processes,
                                          .memory_bytes = 192 << 20,
                                          .cpu_seconds = 1,
                                          .wall_ms = wall_ms};
    struct tw_compiler *compiler = tw_compiler_new(&options, &err);
    tw_assert_ok(compiler, &err);
    return compiler;
}

static struct tw_compile_request request_of(const char *text) {
    return (struct tw_compile_request){.kind = TW_COMPILE_PTX,
                                       .input = tw_span_of(text, strlen(text)),
                                       .entry = "saxpy",
                                       .variant = {.lanes = 16}};
}

static void assert_works(struct tw_compiler *compiler) {
    struct tw_error err = {};
    static unsigned serial;
    char text[32];
    snprintf(text, sizeof(text), "say %u", serial++);
    struct tw_compile_request request = request_of(text);
    struct tw_artifact *artifact = tw_compile(compiler, &request, &err);
    tw_assert_ok(artifact, &err);
    struct tw_span bytes = tw_artifact_bytes(artifact);
    const char *expected = "kind 1, entry saxpy, lanes 16, stage , interrupt 0, call 0, random ";
    ck_assert(bytes.len > strlen(expected) && memcmp(bytes.data, expected, strlen(expected)) == 0);
    tw_artifact_unref(artifact);
}

static void assert_fails(struct tw_compiler *compiler, const char *text, enum tw_code code,
                         const char *message) {
    struct tw_error err = {};
    struct tw_compile_request request = request_of(text);
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_msg(err.code == code, "%s: %s", tw_code_name(err.code), err.message);
    ck_assert_msg(strstr(err.message, message) != NULL, "'%s' lacks '%s'", err.message, message);
    assert_works(compiler);
}

TW_TEST("a request reaches the compiler whole, and its artifact is mapped, sealed and exact") {
    struct tw_error err = {};
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    assert_works(compiler);
    struct tw_compile_request request = request_of("make 300001");
    struct tw_artifact *artifact = tw_compile(compiler, &request, &err);
    tw_assert_ok(artifact, &err);
    struct tw_span bytes = tw_artifact_bytes(artifact);
    ck_assert_uint_eq(bytes.len, 300'001);
    ck_assert_uint_eq((uintptr_t)bytes.data % 4096, 0);
    for (size_t i = 0; i < bytes.len; i++)
        ck_assert_uint_eq(bytes.data[i], i % 251);
    struct stat info;
    ck_assert_int_eq(fstat(tw_artifact_fd(artifact), &info), 0);
    ck_assert_int_eq(info.st_size, 300'001);
    ck_assert_int_eq(ftruncate(tw_artifact_fd(artifact), 1), -1);
    ck_assert_int_eq(pwrite(tw_artifact_fd(artifact), "x", 1, 0), -1);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, tw_artifact_fd(artifact), 0), MAP_FAILED);
    tw_artifact_unref(artifact);
    tw_compiler_free(compiler);
}

TW_TEST("what the handler says is wrong comes back as its code and message, without control characters") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    assert_fails(compiler, "error", TW_ERR_CUDA_MALFORMED_PTX, "line 1, column 1: ? unknown word 'error'");
    assert_fails(compiler, "nothing", TW_ERR_COMPILE_FAILED, "compiles to nothing");
    assert_fails(compiler, "mute", TW_ERR_INTERNAL, "without saying why");
    struct tw_compiler_stats stats;
    tw_compiler_stats(compiler, &stats);
    ck_assert_uint_eq(stats.restarts, 0);
    ck_assert_uint_eq(stats.failures, 3);
    ck_assert_uint_eq(stats.requests, 6);
    ck_assert_uint_eq(stats.processes, 1);
    tw_compiler_free(compiler);
}

TW_TEST("a compiler that crashes, aborts or leaves costs that request an error that says so") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    assert_fails(compiler, "crash", TW_ERR_COMPILE_FAILED, "crashed (signal 11, SIGSEGV)");
    assert_fails(compiler, "abort", TW_ERR_COMPILE_FAILED, "gave up");
    assert_fails(compiler, "exit", TW_ERR_COMPILE_FAILED, "exit status 5");
    assert_fails(compiler, "stack", TW_ERR_COMPILE_FAILED, is_sanitized() ? "" : "ran out of stack");
    struct tw_compiler_stats stats;
    tw_compiler_stats(compiler, &stats);
    ck_assert_uint_eq(stats.crashes, 4);
    ck_assert_uint_eq(stats.restarts, 4);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_COMPILER_RESTARTS, (struct tw_labels){.values = {"crash"}}), 4);
    tw_compiler_free(compiler);
}

static void tell_to_die(unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        char path[64];
        struct tw_error err = {};
        snprintf(path, sizeof(path), "/tmp/tw-fake-dies-%d-%u", (int)getpid(), i);
        tw_assert_ok(tw_file_write(path, (struct tw_span){}, 0600, &err), &err);
    }
}

TW_TEST("a compiler process that dies while it starts is started once more, and counted; two say so") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    tell_to_die(1);
    assert_works(compiler);
    struct tw_compiler_stats stats;
    tw_compiler_stats(compiler, &stats);
    ck_assert_uint_eq(stats.crashes, 1);
    ck_assert_uint_eq(stats.failures, 0);
    ck_assert_int_eq(tw_metric_get(TW_METRIC_COMPILER_RESTARTS, (struct tw_labels){.values = {"crash"}}), 1);
    tw_compiler_free(compiler);

    compiler = compiler_new(1, 40'000);
    tell_to_die(2);
    assert_fails(compiler, "say too late", TW_ERR_INTERNAL, "ended while it started");
    tw_compiler_free(compiler);
}

TW_TEST("what a compiler says on standard error is passed on as one harmless line") {
    struct tw_error err = {};
    int file = memfd_create("stderr", 0), before = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    struct tw_compile_request request = request_of("flood");
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    tw_compiler_free(compiler);
    dup2(before, STDERR_FILENO);
    char text[4096];
    ssize_t len = pread(file, text, sizeof(text), 0);
    ck_assert_int_gt(len, 1'000);
    ck_assert_int_lt(len, 3'000);
    ck_assert_ptr_nonnull(memmem(text, (size_t)len, "tensor-wasm-compiler:  [2Jnoise  [2Jnoise", 41));
    ck_assert_ptr_null(memchr(text, '\x1b', (size_t)len));
    ck_assert_ptr_eq(memchr(text, '\n', (size_t)len), text + len - 1);
}

TW_TEST("a compiler that eats memory meets its limit, and the message names it") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    assert_fails(compiler, "memory", TW_ERR_COMPILE_FAILED,
                 is_sanitized() ? "" : "ran out of memory (limit 192 MiB)");
    tw_compiler_free(compiler);
}

TW_TEST("a compiler that computes for ever meets the CPU limit") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    assert_fails(compiler, "spin", TW_ERR_COMPILE_FAILED, "longer than 1 s of CPU");
    tw_compiler_free(compiler);
}

TW_TEST("a compiler that sleeps meets the wall limit") {
    struct tw_compiler *compiler = compiler_new(1, 1'500);
    struct tw_error err = {};
    struct tw_compile_request request = request_of("sleep");
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_COMPILE_FAILED);
    ck_assert_msg(strstr(err.message, "longer than 1.5 s") != NULL, "%s", err.message);
    struct tw_compiler_stats stats;
    tw_compiler_stats(compiler, &stats);
    ck_assert_uint_eq(stats.timeouts, 1);
    request = request_of("say more");
    struct tw_artifact *artifact;
    while (!(artifact = tw_compile(compiler, &request, &err)))
        ck_assert_int_eq(err.code, TW_ERR_COMPILE_FAILED); // the machine was too slow for it
    tw_artifact_unref(artifact);
    tw_compiler_free(compiler);
}

TW_TEST("a request's own deadline ends it with TIMEOUT") {
    struct tw_error err = {};
    struct tw_compiler *compiler = compiler_new(1, 60'000);
    struct tw_compile_request request = request_of("sleep");
    assert_works(compiler);
    request.deadline_ns = tw_clock_ns() + 200 * TW_NS_PER_MS;
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_TIMEOUT);
    ck_assert_int_lt(tw_clock_ns() - request.deadline_ns, 50 * TW_NS_PER_S); // it would sleep for 100 s
    assert_works(compiler);
    request.deadline_ns = tw_clock_ns() - 1;
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_TIMEOUT);
    tw_compiler_free(compiler);
}

TW_TEST("forbidden system calls end the compiler") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    assert_fails(compiler, "socket", TW_ERR_COMPILE_FAILED, "tried what it may not do");
    assert_fails(compiler, "kill", TW_ERR_COMPILE_FAILED, "tried what it may not do");
    assert_fails(compiler, "limits", TW_ERR_COMPILE_FAILED, "tried what it may not do");
    tw_compiler_free(compiler);
}

TW_TEST("files, threads and executable memory are refused") {
    struct tw_error err = {};
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    struct tw_compile_request request = request_of("refused");
    struct tw_artifact *artifact = tw_compile(compiler, &request, &err);
    tw_assert_ok(artifact, &err);
    char expected[128];
    snprintf(expected, sizeof(expected), "open -1 %d, stat %d, exec 1 %d, file map 1 %d, thread %d", EACCES,
             EACCES, EACCES, EACCES, EPERM);
    struct tw_span bytes = tw_artifact_bytes(artifact);
    ck_assert_msg(bytes.len == strlen(expected) && memcmp(bytes.data, expected, bytes.len) == 0, "%.*s",
                  (int)bytes.len, (const char *)bytes.data);
    tw_artifact_unref(artifact);
    tw_compiler_free(compiler);
}

TW_TEST("an answer that makes no sense is not believed") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    assert_fails(compiler, "garbage", TW_ERR_COMPILE_FAILED, "makes no sense");
    assert_fails(compiler, "silent", TW_ERR_COMPILE_FAILED, "makes no sense");
    tw_compiler_free(compiler);
}

// ---- meanwhile ----

static void count_call(void *context) {
    (*(unsigned *)context)++;
}

// Once the request is on its way.
static void kill_process(void *context) {
    char text[64] = "";
    count_call(context);
    FILE *children = fopen("/proc/thread-self/children", "r");
    ck_assert(children && fgets(text, sizeof text, children));
    fclose(children);
    pid_t process = (pid_t)strtol(text, NULL, 10);
    ck_assert_int_gt(process, 1);
    ck_assert_int_eq(kill(process, SIGKILL), 0);
}

static unsigned calls_of(struct tw_compiler *compiler, const char *text, void (*meanwhile)(void *context),
                         enum tw_code code) {
    struct tw_error err = {};
    unsigned calls = 0;
    struct tw_compile_request request = request_of(text);
    request.meanwhile = meanwhile;
    request.context = &calls;
    struct tw_artifact *artifact = tw_compile(compiler, &request, &err);
    ck_assert_msg(err.code == code, "%s: %s", tw_code_name(err.code), err.message);
    tw_artifact_unref(artifact);
    return calls;
}

TW_TEST("what is to be done meanwhile is done once, whatever comes of it, and not where there is nothing to "
        "wait for") {
    struct tw_compiler *compiler = compiler_new(1, 40'000);
    ck_assert_uint_eq(calls_of(compiler, "say it", count_call, TW_OK), 1);
    ck_assert_uint_eq(calls_of(compiler, "say it", count_call, TW_OK), 0);
    ck_assert_uint_eq(calls_of(compiler, "error", count_call, TW_ERR_CUDA_MALFORMED_PTX), 1);
    ck_assert_uint_eq(calls_of(compiler, "crash", count_call, TW_ERR_COMPILE_FAILED), 1);
    ck_assert_uint_eq(calls_of(compiler, "", count_call, TW_ERR_CUDA_MALFORMED_PTX), 0);
    ck_assert_uint_eq(calls_of(compiler, "slow", kill_process, TW_OK), 1); // the process is started again
    tw_compiler_free(compiler);
}

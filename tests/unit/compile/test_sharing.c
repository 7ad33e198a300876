// SPDX-License-Identifier: Apache-2.0
//
// Many callers at once, and the life of the processes: shared compilations, shared processes, processes and
// servers that are killed.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fake.h"

// ---- many at once ----

struct caller {
    struct tw_compiler *compiler;
    struct tw_compile_request request;
    struct tw_artifact *artifact;
    struct tw_error error;
    pthread_t thread;
};

static void call(void *context) {
    struct caller *caller = context;
    caller->artifact = tw_compile(caller->compiler, &caller->request, &caller->error);
}

static void start(struct caller *caller) {
    struct tw_error err = {};
    tw_assert_ok(tw_thread_start(&caller->thread, "caller", call, caller, &err), &err);
}

TW_TEST("one compilation serves all who ask for the same at the same time") {
    enum { CALLERS = 16 };
    struct tw_compiler *compiler = compiler_new(NULL, 4);
    struct caller callers[CALLERS] = {};
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.compiler = compiler, .request = request_of("slow one")};
        start(&callers[i]);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        tw_thread_join(callers[i].thread);
        tw_assert_ok(callers[i].artifact, &callers[i].error);
        ck_assert_ptr_eq(callers[i].artifact, callers[0].artifact);
    }
    for (unsigned i = 0; i < CALLERS; i++)
        tw_artifact_unref(callers[i].artifact);
    ck_assert_uint_eq(stats_of(compiler).cache_hits, CALLERS - 1);
    ck_assert_uint_eq(stats_of(compiler).processes, 1);
    tw_compiler_free(compiler);
}

TW_TEST("requests wait for the process that is started ahead of them, and only then start others") {
    enum { CALLERS = 8 };
    struct tw_compiler *compiler = compiler_new(NULL, 4);
    struct tw_compiler_stats stats;
    tw_compiler_start(compiler);
    struct tw_compile_request request = request_of("say first");
    tw_artifact_unref(compile(compiler, &request));
    tw_compiler_stats(compiler, &stats);
    ck_assert_uint_eq(stats.processes, 1);
    tw_compiler_start(compiler); // it runs already
    tw_compiler_free(compiler);

    compiler = compiler_new(NULL, 4);
    tw_compiler_start(compiler);
    struct caller callers[CALLERS] = {};
    char texts[CALLERS][16];
    for (unsigned i = 0; i < CALLERS; i++) {
        snprintf(texts[i], sizeof texts[i], "say %u", i);
        callers[i] = (struct caller){.compiler = compiler, .request = request_of(texts[i])};
        start(&callers[i]);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        tw_thread_join(callers[i].thread);
        tw_assert_ok(callers[i].artifact, &callers[i].error);
        tw_artifact_unref(callers[i].artifact);
    }
    tw_compiler_free(compiler);

    compiler = compiler_new(NULL, 1);
    tw_compiler_start(compiler);
    tw_compiler_free(compiler); // in the middle of it
}

TW_TEST("all who wait for an input that fails get its error") {
    enum { CALLERS = 4 };
    struct tw_compiler *compiler = compiler_new(NULL, 2);
    struct caller callers[CALLERS] = {};
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.compiler = compiler, .request = request_of("error")};
        start(&callers[i]);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        tw_thread_join(callers[i].thread);
        ck_assert_ptr_null(callers[i].artifact);
        ck_assert_int_eq(callers[i].error.code, TW_ERR_CUDA_MALFORMED_PTX);
    }
    ck_assert_uint_eq(stats_of(compiler).failures, CALLERS);
    tw_compiler_free(compiler);
}

TW_TEST("a deadline that ends the first caller's compilation does not end the second caller's") {
    struct tw_compiler *compiler = compiler_new(NULL, 1);
    struct caller hasty = {.compiler = compiler, .request = request_of("slow one")}, patient = hasty;
    struct tw_compile_request first = request_of("say hello");
    char text[256];
    answer(compiler, &first, text); // the process runs
    hasty.request.deadline_ns = tw_clock_ns() + 150 * TW_NS_PER_MS;
    start(&hasty);
    start(&patient);
    tw_thread_join(hasty.thread);
    tw_thread_join(patient.thread);
    ck_assert_ptr_null(hasty.artifact);
    ck_assert_int_eq(hasty.error.code, TW_ERR_TIMEOUT);
    tw_assert_ok(patient.artifact, &patient.error);
    tw_artifact_unref(patient.artifact);
    tw_compiler_free(compiler);
}

TW_TEST("requests share the processes, crashes and all, from many threads") {
    enum { CALLERS = 8, ROUNDS = 12 };
    make_folder();
    struct tw_compiler *compiler = compiler_new(folder, 3);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct caller callers[CALLERS];
        char texts[CALLERS][32];
        for (unsigned i = 0; i < CALLERS; i++) {
            bool crashes = i % 4 == 3;
            snprintf(texts[i], sizeof(texts[i]), "%s %u %u", crashes ? "crash" : "say", round, i / 2);
            callers[i] = (struct caller){.compiler = compiler, .request = request_of(texts[i])};
            start(&callers[i]);
        }
        for (unsigned i = 0; i < CALLERS; i++) {
            tw_thread_join(callers[i].thread);
            ck_assert_int_eq(callers[i].artifact == NULL, i % 4 == 3);
            tw_artifact_unref(callers[i].artifact);
        }
    }
    ck_assert_uint_le(stats_of(compiler).processes, 3);
    ck_assert_uint_eq(stats_of(compiler).crashes, ROUNDS * 2);
    tw_compiler_free(compiler);
}

// ---- the life of the processes ----

// The children of this process, by /proc; at most 8.
static unsigned children(pid_t ret_pids[8]) {
    char path[64], text[256] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    unsigned count = 0;
    struct tw_str rest = tw_str_of(text, len);
    while (rest.len && count < 8) {
        uint64_t pid;
        if (tw_str_u64(tw_str_cut(&rest, ' '), &pid))
            ret_pids[count++] = (pid_t)pid;
    }
    return count;
}

TW_TEST("a process that was killed while idle is replaced without the caller seeing it") {
    char text[256];
    pid_t pids[8];
    struct tw_compile_request request = request_of("say hello"), other = request_of("say world");
    struct tw_compiler *compiler = compiler_new(NULL, 1);
    answer(compiler, &request, text);
    ck_assert_uint_eq(children(pids), 1);
    ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
    answer(compiler, &other, text);
    ck_assert_uint_eq(stats_of(compiler).restarts, 1);
    tw_compiler_free(compiler);
    ck_assert_uint_eq(children(pids), 0);
}

TW_TEST("compilers end when the server is killed, even in the middle of a compilation") {
    // Processes that lose their parent become ours: that all of them end is seen by having no children left.
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t server = fork();
    if (server == 0) {
        struct tw_compile_request request = request_of("slow one"), sleeping = request_of("sleep");
        struct tw_compiler *compiler = compiler_new(NULL, 2);
        tw_artifact_unref(compile(compiler, &request));
        struct caller caller = {.compiler = compiler, .request = sleeping};
        start(&caller);
        usleep(200'000);
        kill(getpid(), SIGKILL);
    }
    int status;
    ck_assert_int_eq(waitpid(server, &status, 0), server);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    int64_t began_ns = tw_clock_ns();
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    ck_assert_int_lt(tw_clock_ns() - began_ns, 60 * TW_NS_PER_S); // the compilation would take 90 s
}

TW_TEST("a program that is missing, no program or no compiler is reported") {
    struct tw_error err = {};
    struct tw_compiler_options options = {.program = "/no/such/program"};
    ck_assert_ptr_null(tw_compiler_new(&options, &err));
    ck_assert_int_eq(err.code, TW_ERR_INTERNAL);
    options.program = "/etc/passwd";
    ck_assert_ptr_null(tw_compiler_new(&options, &err));
    options.program = "/bin/true";
    struct tw_compiler *compiler = tw_compiler_new(&options, &err);
    tw_assert_ok(compiler, &err);
    struct tw_compile_request request = request_of("say hello");
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err.message, "ended while it started"));
    tw_compiler_free(compiler);
}

TW_TEST("requests that cannot be right are refused before a process starts") {
    struct tw_error err = {};
    struct tw_compiler *compiler = compiler_new(NULL, 1);
    struct tw_compile_request request = request_of("");
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_MALFORMED_PTX);
    request = request_of("say hello");
    request.input.len = (8 << 20) + 1; // never read
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_QUOTA);
    request.kind = TW_COMPILE_WASM;
    request.input.len = (size_t)1 << 30;
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_MODULE_TOO_LARGE);
    request = request_of("say hello");
    request.entry[0] = '\0';
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_CUDA_INVALID_KERNEL);
    request.kind = TW_COMPILE_DUMP;
    snprintf(request.stage, sizeof(request.stage), "soup");
    ck_assert_ptr_null(tw_compile(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_INVALID_REQUEST);
    ck_assert_uint_eq(stats_of(compiler).processes, 0);
    ck_assert_uint_eq(stats_of(compiler).failures, 5);
    tw_compiler_free(compiler);
}

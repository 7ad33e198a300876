// SPDX-License-Identifier: Apache-2.0
//
// tw_compile from one end to the other: check the request, make its key, look among the open artifacts, in
// the cache folder, and only then compile. Whoever asks first for a key leads a *flight*; others who ask for
// it meanwhile wait and share what comes of it. The artifact is handed over as soon as it exists; it is
// written to the cache folder behind that, by a thread of its own.

#include "compile/internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ptx/ptx.h"

// One key being compiled. Guarded by the compiler's lock; its users are the leader and those who wait.
struct flight {
    unsigned users;
    bool ended;
    bool again;                   // it failed for the leader's own reasons: the next in line leads
    struct tw_artifact *artifact; // a reference, or NULL with `error`
    struct tw_error error;
    struct compile_turn turn; // the leader's wait for a process
};

// ---- new and free ----

static void fill_defaults(struct tw_compiler_options *options) {
    if (!options->processes) {
        // Two at least: nobody should have to wait for what is compiled in the background.
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        options->processes = cores < 2 ? 2 : cores > 4 ? 4 : (unsigned)cores;
    }
    if (options->processes > COMPILE_MAX_PROCESSES)
        options->processes = COMPILE_MAX_PROCESSES;
    if (!options->memory_bytes)
        options->memory_bytes = UINT64_C(2) << 30;
    if (!options->cpu_seconds)
        options->cpu_seconds = 60;
    if (!options->wall_ms)
        options->wall_ms = 120'000;
    if (!options->cache_bytes)
        options->cache_bytes = UINT64_C(8) << 30;
    options->program = options->cache_dir = NULL;
}

// Above the descriptors a child is given (process.c).
static int open_program(const char *path, struct tw_error *err) {
    struct stat info;
    int low = open(path, O_RDONLY | O_CLOEXEC);
    int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, COMPILE_FD_FLOOR);
    if (low >= 0)
        close(low);
    if (fd < 0) {
        tw_fail_errno(err, TW_ERR_INTERNAL, errno, "the compiler program %s could not be opened", path);
        return -1;
    }
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_mode & 0111)
        return fd;
    tw_fail(err, TW_ERR_INTERNAL, "the compiler program %s is not an executable file", path);
    close(fd);
    return -1;
}

struct tw_compiler *tw_compiler_new(const struct tw_compiler_options *options, struct tw_error *err) {
    struct tw_compiler *compiler = tw_alloc_zero(1, sizeof(*compiler));
    if (!compiler) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the compiler");
        return NULL;
    }
    compiler->options = *options;
    fill_defaults(&compiler->options);
    tw_lock_init(&compiler->lock);
    tw_cond_init(&compiler->landed);
    tw_map_init(&compiler->flights, COMPILE_MAX_FLIGHTS);
    compiler->program_fd = open_program(options->program, err);
    bool ok =
        compiler->program_fd >= 0 && compile_identity_stamp(compiler->program_fd, &compiler->stamp, err);
    compiler->table = ok ? compile_table_new() : NULL;
    compiler->writer = compiler->table ? tw_pool_new("compile-cache", 1, COMPILE_MAX_WRITES, err) : NULL;
    if (!compiler->writer) {
        if (ok && !compiler->table)
            tw_fail(err, TW_ERR_CAPACITY, "no memory for the compiler");
        tw_compiler_free(compiler);
        return NULL;
    }
    if (options->cache_dir) {
        compiler->cache = compile_cache_new(options->cache_dir, compiler->options.cache_bytes, NULL);
        compiler->stats.cache_failures = !compiler->cache;
    }
    if (compiler->cache)
        compiler->identity_known =
            compile_cache_load_identity(compiler->cache, &compiler->stamp, &compiler->identity);
    return compiler;
}

void tw_compiler_free(struct tw_compiler *compiler) {
    if (!compiler)
        return;
    if (compiler->writer)
        tw_pool_free(compiler->writer);
    compile_crew_stop(compiler);
    compile_table_free(compiler->table);
    tw_map_done(&compiler->flights);
    compile_cache_free(compiler->cache);
    if (compiler->program_fd >= 0)
        close(compiler->program_fd);
    tw_cond_done(&compiler->landed);
    tw_lock_done(&compiler->lock);
    free(compiler);
}

void tw_compiler_stats(const struct tw_compiler *compiler, struct tw_compiler_stats *ret_stats) {
    struct tw_compiler *guarded =
        (struct tw_compiler *)(uintptr_t)compiler; // the lock is not part of the value
    TW_LOCK_SCOPE(&guarded->lock);
    *ret_stats = compiler->stats;
    ret_stats->processes = 0;
    for (unsigned i = 0; i < compiler->options.processes; i++)
        ret_stats->processes += compiler->processes[i].alive;
}

// ---- requests ----

static bool check_size(size_t len, size_t max, enum tw_code code, const char *what, struct tw_error *err) {
    if (len == 0)
        return tw_fail(err, code == TW_ERR_MODULE_TOO_LARGE ? TW_ERR_INVALID_WASM : TW_ERR_CUDA_MALFORMED_PTX,
                       "the %s is empty", what);
    if (len > max)
        return tw_fail(err, code, "the %s has %zu bytes, the limit is %zu; make it smaller", what, len, max);
    return true;
}

static bool check_request(const struct tw_compile_request *request, struct tw_error *err) {
    static const char *const stages[] = {"parse", "ir",  "opt",   "program", "llvm",
                                         "asm",   "ptx", "fence", "time"};
    if (!memchr(request->entry, '\0', sizeof(request->entry)) ||
        !memchr(request->stage, '\0', sizeof(request->stage)))
        return tw_fail(err, TW_ERR_INTERNAL, "the entry or stage of a request does not end");
    switch (request->kind) {
    case TW_COMPILE_WASM:
        return check_size(request->input.len, COMPILE_MAX_WASM, TW_ERR_MODULE_TOO_LARGE, "module", err);
    case TW_COMPILE_DUMP:
        for (size_t i = 0; i < TW_COUNT(stages); i++) {
            if (strcmp(request->stage, stages[i]) == 0)
                return check_size(request->input.len, TW_PTX_MAX_BYTES, TW_ERR_CUDA_QUOTA, "PTX", err);
        }
        return tw_fail(
            err, TW_ERR_INVALID_REQUEST,
            "there is no stage '%s'; choose parse, ir, opt, program, llvm, asm, ptx, fence or time",
            request->stage);
    case TW_COMPILE_PTX:
        if (!request->entry[0])
            return tw_fail(err, TW_ERR_CUDA_INVALID_KERNEL, "no kernel is named");
        [[fallthrough]];
    case TW_COMPILE_INFO:
        return check_size(request->input.len, TW_PTX_MAX_BYTES, TW_ERR_CUDA_QUOTA, "PTX", err);
    }
    return tw_fail(err, TW_ERR_INTERNAL, "there is no request of kind %d", (int)request->kind);
}

// Text of stages is for people who ask once.
static bool is_kept(const struct tw_compile_request *request) {
    return request->kind != TW_COMPILE_DUMP;
}

// ---- the cache folder, written behind ----

struct write_task {
    struct tw_task task;
    struct tw_compiler *compiler;
    struct tw_artifact *artifact; // a reference
    int64_t due_ns;
};

static void count_cache_failure(struct tw_compiler *compiler) {
    TW_LOCK_SCOPE(&compiler->lock);
    compiler->stats.cache_failures++;
}

static void sleep_until(int64_t time_ns) {
    struct timespec time = {.tv_sec = time_ns / TW_NS_PER_S, .tv_nsec = time_ns % TW_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
        continue;
}

static void run_write(struct tw_task *task) {
    struct write_task *write = (struct write_task *)task;
    sleep_until(write->due_ns); // who has waited for the code uses it first
    if (compile_cache_store(write->compiler->cache, write->artifact, NULL))
        compile_cache_sweep(write->compiler->cache, tw_artifact_bytes(write->artifact).len);
    else
        count_cache_failure(write->compiler);
    tw_artifact_unref(write->artifact);
    free(write);
}

static void write_behind(struct tw_compiler *compiler, struct tw_artifact *artifact) {
    struct write_task *write = tw_alloc_zero(1, sizeof(*write));
    if (write) {
        *write = (struct write_task){.task.run = run_write,
                                     .compiler = compiler,
                                     .artifact = tw_artifact_ref(artifact),
                                     .due_ns = tw_clock_ns() + COMPILE_WRITE_DELAY_NS};
        if (tw_pool_submit(compiler->writer, &write->task, NULL))
            return;
        tw_artifact_unref(artifact);
        free(write);
    }
    count_cache_failure(compiler);
}

// ---- flights ----

static struct tw_span key_span(const struct tw_digest *key) {
    return tw_span_of(key->bytes, sizeof(key->bytes));
}

// From the folder, or compiled. `ret_own` as in compile_crew_run.
static struct tw_artifact *obtain(struct tw_compiler *compiler, const struct tw_compile_request *request,
                                  struct flight *flight, const struct tw_digest *key, bool *ret_cached,
                                  bool *ret_own, struct tw_error *err) {
    bool kept = compiler->cache && is_kept(request);
    struct tw_artifact *artifact = kept ? compile_cache_load(compiler->cache, key) : NULL;
    *ret_cached = artifact != NULL;
    if (artifact)
        return artifact;
    int fd;
    size_t len;
    if (!compile_crew_run(compiler, request, &flight->turn, &fd, &len, ret_own, err))
        return NULL;
    artifact = compile_artifact_new(fd, len, key, err);
    *ret_own = !artifact;
    if (artifact && kept)
        write_behind(compiler, artifact);
    return artifact;
}

static void leave_locked(struct flight *flight) {
    if (--flight->users)
        return;
    tw_artifact_unref(flight->artifact);
    free(flight);
}

static struct tw_artifact *lead(struct tw_compiler *compiler, struct flight *flight,
                                const struct tw_compile_request *request, const struct tw_digest *key,
                                struct tw_error *err) {
    bool own = false, cached = false;
    struct tw_error failure = {};
    struct tw_artifact *artifact = obtain(compiler, request, flight, key, &cached, &own, &failure);
    TW_LOCK_SCOPE(&compiler->lock);
    flight->ended = true;
    flight->again = own;
    flight->error = failure;
    if (artifact) {
        flight->artifact = tw_artifact_ref(artifact);
        if (is_kept(request))
            compile_table_add(compiler->table, artifact);
    }
    compiler->stats.cache_hits += cached;
    compiler->stats.failures += !artifact;
    tw_map_remove(&compiler->flights, key_span(key));
    tw_cond_wake_all(&compiler->landed);
    leave_locked(flight);
    if (!artifact && err)
        *err = failure;
    return artifact;
}

// Waits for another caller's flight. NULL with `ret_again`: it failed for reasons of its leader; ask again.
static struct tw_artifact *follow(struct tw_compiler *compiler, struct flight *flight,
                                  const struct tw_compile_request *request, int64_t deadline_ns,
                                  bool *ret_again, struct tw_error *err) {
    TW_LOCK_SCOPE(&compiler->lock);
    if (!flight->ended)
        compile_turn_share_locked(compiler, &flight->turn, request);
    bool in_time = true;
    while (!flight->ended && in_time)
        in_time = tw_cond_wait(&compiler->landed, &compiler->lock, deadline_ns);
    struct tw_artifact *artifact = NULL;
    *ret_again = false;
    if (!flight->ended) {
        tw_fail(err, TW_ERR_TIMEOUT,
                "the compilation did not end before the request's deadline; allow it more time");
    } else if (flight->artifact) {
        artifact = tw_artifact_ref(flight->artifact);
        compiler->stats.cache_hits++;
    } else {
        *ret_again = flight->again;
        if (err && !flight->again)
            *err = flight->error;
    }
    compiler->stats.failures += !artifact && !*ret_again;
    leave_locked(flight);
    return artifact;
}

// An open artifact, or a flight to lead or follow, or neither (with an error).
static struct tw_artifact *board(struct tw_compiler *compiler, const struct tw_digest *key,
                                 struct flight **ret_flight, bool *ret_leads, struct tw_error *err) {
    TW_LOCK_SCOPE(&compiler->lock);
    *ret_flight = NULL;
    struct tw_artifact *artifact = compile_table_find(compiler->table, key);
    if (artifact) {
        compiler->stats.cache_hits++;
        return artifact;
    }
    struct flight *flight = tw_map_find(&compiler->flights, key_span(key));
    *ret_leads = !flight;
    if (!flight) {
        flight = tw_alloc_zero(1, sizeof(*flight));
        if (!flight || !tw_map_put(&compiler->flights, key_span(key), flight)) {
            free(flight);
            compiler->stats.failures++;
            tw_fail(err, TW_ERR_CAPACITY, "too many compilations at once (the limit is %d); try again later",
                    COMPILE_MAX_FLIGHTS);
            return NULL;
        }
    }
    flight->users++;
    *ret_flight = flight;
    return NULL;
}

static bool begin(struct tw_compiler *compiler, const struct tw_compile_request *request,
                  struct compile_identity *ret_identity, struct tw_error *err) {
    if (check_request(request, err) && compile_crew_identity(compiler, request, ret_identity, err))
        return true;
    TW_LOCK_SCOPE(&compiler->lock);
    compiler->stats.failures++;
    return false;
}

struct tw_artifact *tw_compile(struct tw_compiler *compiler, const struct tw_compile_request *request,
                               struct tw_error *err) {
    int64_t deadline_ns = request->deadline_ns ? request->deadline_ns : TW_NO_DEADLINE;
    struct compile_identity identity;
    {
        TW_LOCK_SCOPE(&compiler->lock);
        compiler->stats.requests++;
    }
    if (!begin(compiler, request, &identity, err))
        return NULL;
    struct tw_digest key = compile_key(&identity, request);
    for (;;) {
        struct flight *flight;
        bool leads = false, again = false;
        struct tw_artifact *artifact = board(compiler, &key, &flight, &leads, err);
        if (artifact || !flight)
            return artifact;
        if (leads)
            return lead(compiler, flight, request, &key, err);
        artifact = follow(compiler, flight, request, deadline_ns, &again, err);
        if (!again)
            return artifact;
    }
}

struct tw_artifact *tw_compile_cached(struct tw_compiler *compiler, const struct tw_compile_request *request,
                                      struct tw_error *err) {
    struct compile_identity identity;
    bool known;
    {
        TW_LOCK_SCOPE(&compiler->lock);
        known = compiler->identity_known;
        identity = compiler->identity;
    }
    if (!check_request(request, err))
        return NULL;
    struct tw_artifact *artifact = NULL;
    if (known) {
        struct tw_digest key = compile_key(&identity, request);
        {
            TW_LOCK_SCOPE(&compiler->lock);
            artifact = compile_table_find(compiler->table, &key);
        }
        if (!artifact && compiler->cache && is_kept(request))
            artifact = compile_cache_load(compiler->cache, &key);
    }
    TW_LOCK_SCOPE(&compiler->lock);
    compiler->stats.requests++;
    compiler->stats.cache_hits += artifact != NULL;
    if (!artifact)
        tw_fail(err, TW_ERR_NOT_FOUND, "it is not in the artifact cache");
    return artifact;
}

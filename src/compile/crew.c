// SPDX-License-Identifier: Apache-2.0
//
// The compiler processes: a request that has its turn at one (turns.c) starts it if it is not running, and gives it back. A process that died (not its child: that is an ordinary end of a
// request) is started again for the same request, once; so is one that dies while it starts.

#include "compile/internal.h"
#include "telemetry/telemetry.h"

static int64_t deadline_of(const struct tw_compile_request *request) {
    return request->deadline_ns ? request->deadline_ns : TW_NO_DEADLINE;
}

void compile_crew_stop(struct tw_compiler *compiler) {
    for (unsigned i = 0; i < compiler->options.processes; i++)
        compile_process_stop(&compiler->processes[i]);
}

// ---- counting ----

static void count_end(struct tw_compiler *compiler, enum compile_end end) {
    const char *reason = NULL;
    TW_LOCK_SCOPE(&compiler->lock);
    switch (end) {
    case COMPILE_END_MADE:
    case COMPILE_END_REFUSED:
    case COMPILE_END_LOCAL:
        return;
    case COMPILE_END_CRASH:
    case COMPILE_END_LOST:
        compiler->stats.crashes++;
        reason = "crash";
        break;
    case COMPILE_END_MEMORY:
        compiler->stats.crashes++;
        reason = "memory";
        break;
    case COMPILE_END_TIMEOUT:
        compiler->stats.timeouts++;
        reason = "timeout";
        break;
    }
    compiler->stats.restarts++;
    tw_metric_add(TW_METRIC_COMPILER_RESTARTS, (struct tw_labels){.values = {reason}}, 1);
}

// ---- starting ----

static void learn_identity(struct tw_compiler *compiler, const struct compile_identity *identity) {
    {
        TW_LOCK_SCOPE(&compiler->lock);
        compiler->identity = *identity;
        compiler->identity_known = true;
    }
    if (compiler->cache && !compile_cache_store_identity(compiler->cache, &compiler->stamp, identity, NULL)) {
        TW_LOCK_SCOPE(&compiler->lock);
        compiler->stats.cache_failures++;
    }
}

// What the process says of itself; usually known already.
static bool check_identity(struct tw_compiler *compiler, const struct compile_hello *hello,
                           struct tw_error *err) {
    struct compile_identity identity = {};
    bool known;
    {
        TW_LOCK_SCOPE(&compiler->lock);
        known = compiler->identity_known && strcmp(compiler->identity.target, hello->target) == 0;
    }
    if (known)
        return true;
    if (!compile_program_digest(compiler->program_fd, &identity.program, err))
        return false;
    snprintf(identity.target, sizeof(identity.target), "%s", hello->target);
    learn_identity(compiler, &identity);
    return true;
}

// One that dies while it starts (killed by the system for want of memory, or by somebody) gets another chance: no request
// was in it yet.
static bool start(struct tw_compiler *compiler, struct compile_process *process, struct compile_hello *hello,
                  struct tw_error *err) {
    bool has_died;
    struct tw_error first = {};
    if (compile_process_start(process, compiler->program_fd, hello, &has_died, &first))
        return true;
    if (!has_died)
        return tw_fail(err, first.code, "%s", first.message);
    count_end(compiler, COMPILE_END_LOST);
    return compile_process_start(process, compiler->program_fd, hello, &has_died, err);
}

// The process is the caller's (busy).
static bool ensure_alive(struct tw_compiler *compiler, struct compile_process *process,
                         struct tw_error *err) {
    if (process->alive)
        return true;
    struct compile_process started = {.busy = true};
    struct compile_hello hello;
    if (!start(compiler, &started, &hello, err))
        return false;
    if (!check_identity(compiler, &hello, err)) {
        compile_process_stop(&started);
        return false;
    }
    TW_LOCK_SCOPE(&compiler->lock);
    *process = started;
    return true;
}

// On the cache's writer. When it fails, the first request tries again and says why.
static void start_first(struct tw_task *task) {
    struct tw_compiler *compiler = (struct tw_compiler *)((char *)task - offsetof(struct tw_compiler, start));
    struct tw_error ignored = {};
    (void)ensure_alive(compiler, &compiler->processes[0], &ignored);
    TW_LOCK_SCOPE(&compiler->lock);
    compiler->processes[0].busy = compiler->is_starting = false;
    compile_turns_serve_locked(compiler); // those that waited for it may start others now
}

void tw_compiler_start(struct tw_compiler *compiler) {
    TW_LOCK_SCOPE(&compiler->lock);
    struct compile_process *first = &compiler->processes[0];
    if (first->busy || first->alive)
        return;
    compiler->start = (struct tw_task){.run = start_first};
    first->busy = compiler->is_starting = tw_pool_submit(compiler->writer, &compiler->start, NULL);
}

static bool ask_identity(struct tw_compiler *compiler, const struct tw_compile_request *request,
                         int64_t deadline_ns, struct tw_error *err) {
    struct compile_turn turn;
    if (!compile_turn_take(compiler, &turn, request, deadline_ns, err))
        return false;
    bool ok = ensure_alive(compiler, turn.process, err);
    compile_turn_give(compiler, &turn);
    return ok;
}

// True: this caller has to ask. False: it is known, or (with an error) the deadline passed.
static bool begin_asking(struct tw_compiler *compiler, int64_t deadline_ns, struct tw_error *err) {
    TW_LOCK_SCOPE(&compiler->lock);
    while (!compiler->identity_known && compiler->identity_asked) {
        if (!tw_cond_wait(&compiler->landed, &compiler->lock, deadline_ns))
            return tw_fail(err, TW_ERR_TIMEOUT,
                           "the compiler did not start before the deadline; allow it more time");
    }
    if (compiler->identity_known)
        return false;
    compiler->identity_asked = true;
    return true;
}

bool compile_crew_identity(struct tw_compiler *compiler, const struct tw_compile_request *request,
                           struct compile_identity *ret_identity, struct tw_error *err) {
    int64_t deadline_ns = deadline_of(request);
    // One asks, others wait for its answer, so that a cold start under load starts one process for it and not
    // all.
    bool asks = begin_asking(compiler, deadline_ns, err);
    bool ok = !asks || ask_identity(compiler, request, deadline_ns, err);
    TW_LOCK_SCOPE(&compiler->lock);
    if (asks) {
        compiler->identity_asked = false;
        tw_cond_wake_all(&compiler->landed);
    }
    if (!ok || !compiler->identity_known)
        return false;
    *ret_identity = compiler->identity;
    return true;
}

// ---- one request ----

static void count_time(struct tw_compiler *compiler, const struct tw_compile_request *request, int64_t ns) {
    const char *kind = request->kind == TW_COMPILE_WASM ? "wasm" : "ptx";
    tw_metric_observe(TW_METRIC_COMPILE_SECONDS, (struct tw_labels){.values = {kind}},
                      (double)ns / (double)TW_NS_PER_S);
    TW_LOCK_SCOPE(&compiler->lock);
    compiler->stats.compile_ns += (uint64_t)ns;
}

static void fill_job(const struct tw_compiler *compiler, const struct tw_compile_request *request,
                     unsigned wall_ms, struct compile_job *ret_job) {
    memset(ret_job, 0, sizeof(*ret_job));
    ret_job->memory_bytes = compiler->options.memory_bytes;
    ret_job->cpu_seconds = compiler->options.cpu_seconds;
    if (request->background && ret_job->cpu_seconds > COMPILE_BACKGROUND_CPU_S)
        ret_job->cpu_seconds = COMPILE_BACKGROUND_CPU_S;
    ret_job->background = request->background;
    ret_job->wall_ms = wall_ms;
    ret_job->kind = (uint32_t)request->kind;
    ret_job->interrupt = request->interrupt;
    ret_job->variant = request->variant;
    snprintf(ret_job->stage, sizeof(ret_job->stage), "%s", request->stage);
    snprintf(ret_job->entry, sizeof(ret_job->entry), "%s", request->entry);
}

// The request's own time if that is shorter than the compiler's limit; 0 when it is over.
static unsigned wall_left_ms(const struct tw_compiler *compiler, int64_t deadline_ns, bool *ret_own) {
    *ret_own = false;
    if (deadline_ns == TW_NO_DEADLINE)
        return compiler->options.wall_ms;
    int64_t left_ms = (deadline_ns - tw_clock_ns()) / TW_NS_PER_MS;
    if (left_ms >= compiler->options.wall_ms)
        return compiler->options.wall_ms;
    *ret_own = true;
    return left_ms > 0 ? (unsigned)left_ms : 0;
}

static bool too_late(struct tw_error *err) {
    return tw_fail(err, TW_ERR_TIMEOUT,
                   "the compilation did not end before the request's deadline; allow it more time");
}

static bool run_on(struct tw_compiler *compiler, struct compile_process *process,
                   const struct tw_compile_request *request, struct compile_outcome *outcome, bool *ret_own,
                   struct tw_error *err) {
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        if (!ensure_alive(compiler, process, err))
            return false;
        unsigned wall_ms = wall_left_ms(compiler, deadline_of(request), ret_own);
        if (wall_ms == 0)
            return too_late(err);
        struct compile_job job;
        fill_job(compiler, request, wall_ms, &job);
        struct compile_process mine = *process;
        struct tw_compile_request once = *request;
        if (attempt > 0)
            once.meanwhile = NULL;
        compile_process_run(&mine, &job, &once, outcome);
        count_end(compiler, outcome->end);
        if (!mine.alive) {
            TW_LOCK_SCOPE(&compiler->lock);
            process->alive = false;
        }
        if (outcome->end != COMPILE_END_LOST)
            break;
    }
    *ret_own = (*ret_own && outcome->end == COMPILE_END_TIMEOUT) || outcome->end == COMPILE_END_LOCAL;
    if (outcome->end == COMPILE_END_MADE)
        return true;
    if (*ret_own && outcome->end == COMPILE_END_TIMEOUT)
        return too_late(err);
    *err = outcome->error;
    return false;
}

bool compile_crew_run(struct tw_compiler *compiler, const struct tw_compile_request *request,
                      struct compile_turn *turn, int *ret_fd, size_t *ret_len, bool *ret_own,
                      struct tw_error *err) {
    struct tw_error failure = {};
    *ret_own = true;
    if (!compile_turn_take(compiler, turn, request, deadline_of(request), err))
        return false;
    struct compile_outcome outcome = {.fd = -1};
    *ret_own = false;
    bool ok = run_on(compiler, turn->process, request, &outcome, ret_own, &failure);
    compile_turn_give(compiler, turn);
    count_time(compiler, request, tw_clock_ns() - turn->began_ns);
    if (!ok) {
        if (err)
            *err = failure;
        return false;
    }
    *ret_fd = outcome.fd;
    *ret_len = outcome.len;
    return true;
}

// SPDX-License-Identifier: Apache-2.0
//
// One fork server as the server sees it: starting it, one request, what an end means, stopping it. Everything
// of a request that the child could write to is made here. Its reply is taken as soon as it comes, and the memory file
// is sealed then; what the child's process still has to tear down, nobody waits for. A child that ends without a reply
// is judged by its end.

#include "compile/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROGRAM_FD = TW_COMPILE_FD + 1 };

static void close_fd(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}
#define FD_SCOPE [[gnu::cleanup(close_fd)]]

// ---- start and stop ----

// Its only descriptors are the null device, our standard error, the socket and (until it runs) the program;
// its environment is empty, no signal is blocked or ignored.
static int spawn(pid_t *ret_pid, int program_fd, int socket) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&files);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&files);
        return error;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", PROGRAM_FD);
    char name[] = "tensor-wasm-compiler", serve[] = "serve";
    char *argv[] = {name, serve, NULL}, *environment[] = {NULL};
    if (!(error = posix_spawn_file_actions_adddup2(&files, socket, TW_COMPILE_FD)) &&
        !(error = posix_spawn_file_actions_adddup2(&files, program_fd, PROGRAM_FD)) &&
        !(error = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) &&
        !(error = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)) &&
        !(error = posix_spawn_file_actions_addclosefrom_np(&files, PROGRAM_FD + 1)) &&
        !(error = posix_spawnattr_setsigmask(&attributes, &none)) &&
        !(error = posix_spawnattr_setsigdefault(&attributes, &all)) &&
        !(error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)))
        error = posix_spawn(ret_pid, path, &files, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

// A pair whose ends are above the descriptors that a child is given, so that moving one never overwrites the
// other.
static bool make_sockets(int pair[2]) {
    int low[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, low) != 0)
        return false;
    for (size_t i = 0; i < 2; i++)
        pair[i] = fcntl(low[i], F_DUPFD_CLOEXEC, COMPILE_FD_FLOOR);
    close(low[0]);
    close(low[1]);
    if (pair[0] >= 0 && pair[1] >= 0)
        return true;
    close_fd(&pair[0]);
    close_fd(&pair[1]);
    return false;
}

static bool check_hello(enum compile_received got, struct compile_hello *hello, struct tw_error *err) {
    if (got == COMPILE_LATE)
        return tw_fail(err, TW_ERR_INTERNAL, "the compiler program did not start within %d s",
                       COMPILE_START_MS / 1000);
    if (got != COMPILE_GOT || hello->magic != COMPILE_MAGIC_HELLO)
        return tw_fail(err, TW_ERR_INTERNAL,
                       "the compiler program ended while it started; its message is on standard error");
    if (hello->version != COMPILE_PROTOCOL)
        return tw_fail(err, TW_ERR_INTERNAL,
                       "the compiler program speaks version %" PRIu32
                       ", this server %d; install both of one release",
                       hello->version, COMPILE_PROTOCOL);
    hello->message[sizeof(hello->message) - 1] = hello->target[sizeof(hello->target) - 1] = '\0';
    if (hello->code != TW_OK)
        return tw_fail(err, TW_ERR_INTERNAL, "the compiler program could not start: %s", hello->message);
    return true;
}

bool compile_process_start(struct compile_process *process, int program_fd, struct compile_hello *ret_hello,
                           bool *ret_died, struct tw_error *err) {
    *ret_died = false;
    int pair[2];
    if (!make_sockets(pair))
        return tw_fail_errno(err, TW_ERR_INTERNAL, errno, "a socket to the compiler could not be made");
    int error = spawn(&process->pid, program_fd, pair[1]);
    close(pair[1]);
    if (error) {
        close(pair[0]);
        return tw_fail_errno(err, TW_ERR_INTERNAL, error, "the compiler program could not be run");
    }
    process->socket = pair[0];
    process->alive = true;
    int64_t deadline_ns = tw_clock_ns() + COMPILE_START_MS * TW_NS_PER_MS;
    enum compile_received got =
        compile_receive(process->socket, ret_hello, sizeof(*ret_hello), NULL, 0, deadline_ns);
    if (check_hello(got, ret_hello, err))
        return true;
    *ret_died = got == COMPILE_CLOSED;
    compile_process_stop(process);
    return false;
}

void compile_process_stop(struct compile_process *process) {
    if (!process->alive)
        return;
    close(process->socket);
    kill(process->pid, SIGKILL);
    while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    process->alive = false;
}

// ---- what an end means ----

static bool ends(struct compile_outcome *outcome, enum compile_end end) {
    outcome->end = end;
    return false;
}

// A size as people say it: "2 GiB", "96 MiB".
static const char *size_text(uint64_t bytes, char ret_text[32]) {
    const uint64_t gib = UINT64_C(1) << 30;
    if (bytes >= gib && bytes % gib == 0)
        snprintf(ret_text, 32, "%" PRIu64 " GiB", bytes / gib);
    else
        snprintf(ret_text, 32, "%" PRIu64 " MiB", bytes >> 20);
    return ret_text;
}

static bool died_of_memory(const struct compile_job *job, struct compile_outcome *outcome) {
    char limit[32];
    tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
            "the compiler ran out of memory (limit %s); make the module smaller",
            size_text(job->memory_bytes, limit));
    return ends(outcome, COMPILE_END_MEMORY);
}

static bool died_of_signal(int number, const struct compile_job *job, struct compile_outcome *outcome) {
    if (number == SIGXCPU) {
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiler took longer than %" PRIu32 " s of CPU; make the module smaller",
                job->cpu_seconds);
        return ends(outcome, COMPILE_END_TIMEOUT);
    }
    if (number == SIGKILL) {
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiler was killed by the system, which is likely short of memory; try again or make "
                "the module smaller");
        return ends(outcome, COMPILE_END_MEMORY);
    }
    if (number == SIGXFSZ)
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiled code is larger than %d MiB; make the module smaller",
                COMPILE_MAX_ARTIFACT >> 20);
    else if (number == SIGSYS)
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiler tried what it may not do and was stopped; change the module or report it");
    else
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiler crashed (signal %d, SIG%s); change the module or report it", number,
                sigabbrev_np(number) ? sigabbrev_np(number) : "?");
    return ends(outcome, COMPILE_END_CRASH);
}

// True when the child ended as one that has replied does.
static bool ended_well(const struct compile_exit *ended, const struct compile_job *job,
                       struct compile_outcome *outcome) {
    if (ended->killed) {
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiler took longer than %.1f s; make the module smaller", job->wall_ms / 1e3);
        return ends(outcome, COMPILE_END_TIMEOUT);
    }
    if (WIFSIGNALED(ended->wait_status))
        return died_of_signal(WTERMSIG(ended->wait_status), job, outcome);
    switch (WEXITSTATUS(ended->wait_status)) {
    case COMPILE_EXIT_OK:
        return true;
    case COMPILE_EXIT_MEMORY:
        return died_of_memory(job, outcome);
    case COMPILE_EXIT_STACK:
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiler ran out of stack; the module nests too deeply");
        return ends(outcome, COMPILE_END_CRASH);
    case COMPILE_EXIT_SETUP:
        tw_fail(&outcome->error, TW_ERR_CAPACITY,
                "the compiler had no processes or memory to begin; try again later");
        return ends(outcome, COMPILE_END_LOCAL);
    default:
        tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
                "the compiler gave up (exit status %d); change the module or report it",
                WEXITSTATUS(ended->wait_status));
        return ends(outcome, COMPILE_END_CRASH);
    }
}

// ---- one request ----

static bool lacks(struct compile_outcome *outcome, const char *what) {
    tw_fail_errno(&outcome->error, TW_ERR_CAPACITY, errno, "%s could not be made; try again later", what);
    return ends(outcome, COMPILE_END_LOCAL);
}

static bool lost(struct compile_process *process, struct compile_outcome *outcome) {
    compile_process_stop(process);
    tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
            "the compiler process ended; it was restarted, try again");
    return ends(outcome, COMPILE_END_LOST);
}

// What a request has brought so far. Confined to its call.
struct answer {
    int reply_fd, output; // borrowed
    bool is_sealed;
    size_t len; // of `reply`; 0: it has not come
    struct compile_reply reply;
};

static bool send_job(struct compile_process *process, const struct compile_job *job,
                     const int fds[COMPILE_JOB_FDS], struct compile_outcome *outcome) {
    // The exits of children that had replied before.
    struct compile_exit earlier;
    while (compile_receive(process->socket, &earlier, sizeof(earlier), NULL, 0, 0) == COMPILE_GOT)
        continue;
    if (compile_send(process->socket, job, sizeof(*job), fds, COMPILE_JOB_FDS))
        return true;
    if (errno == ETOOMANYREFS || errno == ENOMEM || errno == ENOBUFS)
        return lacks(outcome, "a request to the compiler");
    return lost(process, outcome);
}

static bool seal(struct answer *answer) {
    const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    answer->is_sealed = answer->is_sealed || fcntl(answer->output, F_ADD_SEALS, seals) == 0;
    return answer->is_sealed;
}

// The verdict on what has come. The child may be alive still: its reply has left its hands (one write to a pipe), and
// its output is looked at only when it is sealed, which nothing undoes. GARBAGE: there is no reply, none that makes
// sense, or the output is not sealed, as when somebody has it mapped for writing.
static enum compile_verdict judge(struct answer *answer, uint64_t id, struct compile_outcome *outcome) {
    if (!answer->len) {
        ssize_t got = read(answer->reply_fd, &answer->reply, sizeof(answer->reply));
        answer->len = got > 0 ? (size_t)got : 0;
    }
    struct stat info;
    if (!answer->len || !seal(answer) || fstat(answer->output, &info) != 0)
        return COMPILE_GARBAGE;
    enum compile_verdict verdict = compile_reply_decode(tw_span_of(&answer->reply, answer->len), id,
                                                        (uint64_t)info.st_size, &outcome->error);
    outcome->len = verdict == COMPILE_MADE ? (size_t)info.st_size : 0;
    outcome->end = verdict == COMPILE_MADE ? COMPILE_END_MADE : COMPILE_END_REFUSED;
    return verdict;
}

// The child is gone and has not replied well. Always false.
static bool end_without_reply(struct answer *answer, const struct compile_exit *ended,
                              const struct compile_job *job, struct compile_outcome *outcome) {
    if (!ended_well(ended, job, outcome))
        return false;
    if (!seal(answer))
        return lacks(outcome, "a seal");
    tw_fail(&outcome->error, TW_ERR_COMPILE_FAILED,
            "the compiler's answer makes no sense; change the module or report it");
    return ends(outcome, COMPILE_END_CRASH);
}

// Waits for the reply or, where that says nothing, for the child's end. True: the artifact is made.
static bool await_answer(struct compile_process *process, const struct compile_job *job,
                         struct answer *answer, struct compile_outcome *outcome) {
    int64_t deadline_ns = tw_clock_ns() + ((int64_t)job->wall_ms + COMPILE_GRACE_MS) * TW_NS_PER_MS;
    for (;;) {
        struct pollfd waits[] = {{.fd = answer->len ? -1 : answer->reply_fd, .events = POLLIN},
                                 {.fd = process->socket, .events = POLLIN}};
        struct compile_exit ended;
        if (compile_await(waits, TW_COUNT(waits), deadline_ns) != COMPILE_GOT)
            return lost(process, outcome);
        enum compile_verdict verdict = COMPILE_GARBAGE;
        if (waits[0].revents) {
            verdict = judge(answer, job->id, outcome);
        } else {
            if (compile_receive(process->socket, &ended, sizeof(ended), NULL, 0, deadline_ns) !=
                    COMPILE_GOT ||
                ended.magic != COMPILE_MAGIC_EXIT)
                return lost(process, outcome);
            if (ended.id != job->id)
                continue; // of a child whose reply was enough
            verdict = judge(answer, job->id, outcome);
            if (verdict == COMPILE_GARBAGE)
                return end_without_reply(answer, &ended, job, outcome);
        }
        if (verdict != COMPILE_GARBAGE)
            return verdict == COMPILE_MADE;
    }
}

void compile_process_run(struct compile_process *process, const struct compile_job *job_without_id,
                         const struct tw_compile_request *request, struct compile_outcome *ret_outcome) {
    *ret_outcome = (struct compile_outcome){.end = COMPILE_END_LOCAL, .fd = -1};
    struct compile_job job = *job_without_id;
    job.magic = COMPILE_MAGIC_JOB;
    job.input_bytes = request->input.len;
    tw_random(&job.id, sizeof(job.id));
    FD_SCOPE int input_fd = tw_file_memfd("tw-input", request->input, &ret_outcome->error);
    if (input_fd < 0)
        return;
    FD_SCOPE int output = memfd_create("tw-artifact", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int pipe_fds[2] = {-1, -1};
    if (output < 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        lacks(ret_outcome, "a memory file for the compiler");
        return;
    }
    FD_SCOPE int reply = pipe_fds[0];
    FD_SCOPE int reply_end = pipe_fds[1];
    struct answer answer = {.reply_fd = reply, .output = output};
    if (!send_job(process, &job, (int[]){input_fd, output, reply_end}, ret_outcome))
        return;
    if (request->meanwhile)
        request->meanwhile(request->context);
    if (!await_answer(process, &job, &answer, ret_outcome))
        return;
    ret_outcome->fd = output;
    output = -1;
}

// SPDX-License-Identifier: Apache-2.0
//
// The compiler process's side: a fork server. It starts LLVM and Wasmtime once; each job goes to a child forked
// before (spare.c), which inherits all that, shuts itself in, compiles one input and ends (child.c). The fork
// server reads nothing that a tenant made; it waits for the child, kills it when its wall time is over, and tells
// the server how it ended. The server may have the child's reply before that, and send the next job. It ends when the
// server's end of the socket closes, whatever happens to the server.
//
// It must have one thread only: a fork copies no other.

#include "compile/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// What of a child's words on standard error is passed on.
enum { COMPLAINTS_MAX = 2'048 };

// The child that has the last job, until it has ended: with its reply or without, and killed when its wall time is
// over or another job comes. Confined to the fork server's one thread.
struct running {
    struct compile_spare process; // pid 0: none
    int pidfd;                    // -1: none
    uint64_t id;                  // of its job
    int64_t deadline_ns;
};

// What the child said on standard error (LLVM's and Rust's last words), as one line without control
// characters. A child cannot flood or forge the server's log: the pipe holds little, and nobody reads it
// before the child is gone.
static void pass_on(int complaints) {
    char text[COMPLAINTS_MAX + 1];
    ssize_t len = read(complaints, text, COMPLAINTS_MAX);
    if (len <= 0)
        return;
    for (ssize_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x7f)
            text[i] = ' ';
    }
    text[len] = '\0';
    fprintf(stderr, "tensor-wasm-compiler: %s\n", text);
}

// Waits for the end of the child (which was killed, or has ended) and tells the server. It is none after. False: the
// server is gone.
static bool end_child(struct compile_fork_server *server, struct running *child, bool killed) {
    struct compile_exit ended = {.magic = COMPILE_MAGIC_EXIT, .id = child->id, .killed = killed};
    while (waitpid(child->process.pid, &ended.wait_status, 0) < 0 && errno == EINTR)
        continue;
    // Never watched: what is said is that it could not begin.
    if (child->pidfd < 0)
        ended.wait_status = COMPILE_EXIT_SETUP << 8;
    else
        close(child->pidfd);
    pass_on(child->process.complaints);
    close(child->process.complaints);
    *child = (struct running){.pidfd = -1, .deadline_ns = TW_NO_DEADLINE};
    return compile_send(server->socket, &ended, sizeof(ended), NULL, 0);
}

static bool refuse_job(const struct compile_fork_server *server, uint64_t id) {
    struct compile_exit ended = {
        .magic = COMPILE_MAGIC_EXIT, .id = id, .wait_status = COMPILE_EXIT_SETUP << 8};
    return compile_send(server->socket, &ended, sizeof(ended), NULL, 0);
}

// Gives the job to a child. One that runs still has replied, or the server would not have sent another: what is left
// of it is killed, and waited for only when the new one has its job. False: the server is gone.
static bool start_job(struct compile_fork_server *server, const struct compile_job *job,
                      const int fds[COMPILE_JOB_FDS], struct running *child) {
    struct running next = {
        .pidfd = -1, .id = job->id, .deadline_ns = tw_clock_ns() + (int64_t)job->wall_ms * TW_NS_PER_MS};
    if (child->process.pid)
        kill(child->process.pid, SIGKILL);
    bool taken = compile_spare_take(server, job, fds, &next.process);
    for (size_t i = 0; i < COMPILE_JOB_FDS; i++)
        close(fds[i]);
    if (child->process.pid && !end_child(server, child, false)) {
        *child = next;
        return false;
    }
    if (!taken)
        return refuse_job(server, job->id);
    next.pidfd = pidfd_open(next.process.pid, 0);
    *child = next;
    if (child->pidfd >= 0)
        return true;
    kill(child->process.pid, SIGKILL);
    return end_child(server, child, false);
}

static bool is_valid(const struct compile_job *job) {
    return job->magic == COMPILE_MAGIC_JOB && job->kind <= TW_COMPILE_INFO && job->input_bytes > 0 &&
           memchr(job->entry, '\0', sizeof(job->entry)) && memchr(job->stage, '\0', sizeof(job->stage));
}

// One thing that happens: a job, or the child's end or that of its time. True: go on; `ret_ok` is false when the
// server sent what it never sends.
static bool serve_once(struct compile_fork_server *server, struct running *child, bool *ret_ok) {
    struct pollfd waits[] = {{.fd = child->pidfd, .events = POLLIN},
                             {.fd = server->socket, .events = POLLIN}};
    enum compile_received got = compile_await(waits, TW_COUNT(waits), child->deadline_ns);
    bool late = got == COMPILE_LATE;
    if (late) // it may have ended by now: harmless while nobody has waited for it
        kill(child->process.pid, SIGKILL);
    if (late || (got == COMPILE_GOT && waits[0].revents))
        return end_child(server, child, late);
    struct compile_job job;
    int fds[COMPILE_JOB_FDS];
    if (got == COMPILE_GOT)
        got = compile_receive(server->socket, &job, sizeof(job), fds, COMPILE_JOB_FDS, TW_NO_DEADLINE);
    if (got == COMPILE_GOT && is_valid(&job))
        return start_job(server, &job, fds, child);
    *ret_ok = got == COMPILE_CLOSED;
    return false;
}

// Until the server's end closes; false when it sent what it never sends.
static bool serve_jobs(struct compile_fork_server *server) {
    struct running child = {.pidfd = -1, .deadline_ns = TW_NO_DEADLINE};
    bool ok = true;
    do {
        if (!child.process.pid)
            compile_spare_start(server);
    } while (serve_once(server, &child, &ok));
    if (child.process.pid) {
        kill(child.process.pid, SIGKILL);
        (void)end_child(server, &child, false);
    }
    return ok;
}

static bool say_hello(int socket, const struct tw_compile_handlers *handlers, const struct tw_error *err) {
    struct compile_hello hello = {
        .magic = COMPILE_MAGIC_HELLO, .version = COMPILE_PROTOCOL, .code = err->code};
    memcpy(hello.message, err->message, sizeof(hello.message));
    if (err->code == TW_OK)
        snprintf(hello.target, sizeof(hello.target), "%s", handlers->target());
    return compile_send(socket, &hello, sizeof(hello), NULL, 0);
}

int tw_compile_serve(int fd, const struct tw_compile_handlers *handlers) {
    // The server decides when this ends; what the terminal or the service manager sends to the whole group is
    // not for us.
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < TW_COUNT(ignored); i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_NAME, "tw-compiler");
    close_range((unsigned)fd + 1, ~0U, 0);
    struct tw_error err = {};
    struct compile_sandbox *sandbox = compile_sandbox_new(&err);
    bool ready = sandbox && handlers->init(&err) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    if (!ready && err.code == TW_OK)
        tw_fail(&err, TW_ERR_INTERNAL, "the compiler could not be set up");
    struct compile_fork_server server = {.socket = fd, .sandbox = sandbox, .handlers = handlers};
    bool ok = say_hello(fd, handlers, &err) && ready && serve_jobs(&server);
    compile_sandbox_free(sandbox);
    return ok ? 0 : 1;
}

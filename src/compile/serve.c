// SPDX-License-Identifier: Apache-2.0
//
// The compiler process's side: a fork server. It starts LLVM and Wasmtime once; each job goes to a child forked
// before (spare.c), which inherits all that, shuts itself in, compiles one input and ends (child.c). The fork
// server reads nothing that a tenant made; it waits for the child, kills it when its wall time is over, and tells
// the server how it ended. It ends when the server's end of the socket closes, whatever happens to the server.
//
// It must have one thread only: a fork copies no other.

#include "compile/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// What of a child's words on standard error is passed on.
enum { COMPLAINTS_MAX = 2'048 };

// Waits for the child's end, its time or the server's end. False: the server is gone. The child may still be
// alive after.
static bool await_child(int socket, int pidfd, unsigned wall_ms, bool *ret_killed) {
    int64_t deadline_ns = tw_clock_ns() + (int64_t)wall_ms * TW_NS_PER_MS;
    for (;;) {
        int64_t left_ms = (deadline_ns - tw_clock_ns()) / TW_NS_PER_MS + 1;
        // The server says nothing while a job runs, so anything from it is its end.
        struct pollfd waits[] = {{.fd = pidfd, .events = POLLIN}, {.fd = socket, .events = POLLIN}};
        int ready = poll(waits, TW_COUNT(waits), left_ms > 0 ? (int)left_ms : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        *ret_killed = ready == 0;
        if (ready > 0 && waits[0].revents)
            return true;
        return ready == 0;
    }
}

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

// Runs the child to its end. False: the server is gone.
static bool watch_child(int socket, pid_t child, unsigned wall_ms, struct compile_exit *ret_exit) {
    int pidfd = pidfd_open(child, 0), status = 0;
    bool killed = false;
    bool served = pidfd < 0 || await_child(socket, pidfd, wall_ms, &killed);
    // It may have ended by now; killing what is not yet waited for is harmless.
    if (pidfd < 0 || killed || !served)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pidfd < 0)
        return true; // the exit says "could not begin" already
    close(pidfd);
    ret_exit->killed = killed;
    ret_exit->wait_status = status;
    return served;
}

static bool serve_job(struct compile_fork_server *server, const struct compile_job *job,
                      const int fds[COMPILE_JOB_FDS]) {
    struct compile_exit ended = {
        .magic = COMPILE_MAGIC_EXIT, .id = job->id, .wait_status = COMPILE_EXIT_SETUP << 8};
    struct compile_spare child;
    bool taken = compile_spare_take(server, job, fds, &child);
    for (size_t i = 0; i < COMPILE_JOB_FDS; i++)
        close(fds[i]);
    bool served = !taken || watch_child(server->socket, child.pid, job->wall_ms, &ended);
    if (taken) {
        pass_on(child.complaints);
        close(child.complaints);
    }
    return served && compile_send(server->socket, &ended, sizeof(ended), NULL, 0);
}

static bool is_valid(const struct compile_job *job) {
    return job->magic == COMPILE_MAGIC_JOB && job->kind <= TW_COMPILE_INFO && job->input_bytes > 0 &&
           memchr(job->entry, '\0', sizeof(job->entry)) && memchr(job->stage, '\0', sizeof(job->stage));
}

// Until the server's end closes; false when it sent what it never sends.
static bool serve_jobs(struct compile_fork_server *server) {
    for (;;) {
        struct compile_job job;
        int fds[COMPILE_JOB_FDS];
        compile_spare_start(server);
        enum compile_received got =
            compile_receive(server->socket, &job, sizeof(job), fds, COMPILE_JOB_FDS, TW_NO_DEADLINE);
        if (got == COMPILE_CLOSED)
            return true;
        if (got != COMPILE_GOT || !is_valid(&job))
            return false;
        if (!serve_job(server, &job, fds))
            return true;
    }
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

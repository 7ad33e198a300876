// SPDX-License-Identifier: Apache-2.0
//
// The next child, made before there is a request for it. A child that has just been forked shares every page with
// the fork server: the first touch of each costs a fault, and compiling a small kernel touches so many that two thirds
// of its time went there. So one child is kept in reserve. While nobody waits it does once more, for itself, what
// warmed up the fork server (handlers->warm), and then waits for a job:
//
//     fork ──▶ warms up, step by step ──▶ waits ──job──▶ compile_child_run, as any child
//                └── a job is there already ──────────────▲
//
// It is as fresh as any other: the first input that it sees is its only one.

#include "compile/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_asked(int socket) {
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    return poll(&wait, 1, 0) != 0;
}

[[gnu::noreturn]] static void run_child(const struct compile_fork_server *server, int socket,
                                        int complaints) {
    close(server->socket); // its end must show when the fork server ends
    bool more = server->handlers->warm != NULL;
    for (unsigned step = 0; more && !is_asked(socket); step++)
        more = server->handlers->warm(step);
    struct compile_job job;
    int fds[COMPILE_JOB_FDS];
    enum compile_received got =
        compile_receive(socket, &job, sizeof(job), fds, COMPILE_JOB_FDS, TW_NO_DEADLINE);
    if (got != COMPILE_GOT)
        _exit(got == COMPILE_CLOSED ? COMPILE_EXIT_OK : COMPILE_EXIT_SETUP);
    compile_child_run(&job, fds, complaints, server->sandbox, server->handlers);
}

static void close_pair(const int pair[2]) {
    close(pair[0]);
    close(pair[1]);
}

static bool start(struct compile_fork_server *server) {
    int sockets[2], complaints[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
        return false;
    if (pipe2(complaints, O_CLOEXEC | O_NONBLOCK) != 0) {
        close_pair(sockets);
        return false;
    }
    pid_t self = getpid(), child = fork();
    if (child == 0) {
        // The child dies with the fork server, which has one thread, so that "parent" means the process.
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != self)
            _exit(COMPILE_EXIT_SETUP);
        close(sockets[0]);
        run_child(server, sockets[1], complaints[1]);
    }
    if (child < 0) {
        close_pair(sockets);
        close_pair(complaints);
        return false;
    }
    close(sockets[1]);
    close(complaints[1]);
    server->spare = (struct compile_spare){.pid = child, .socket = sockets[0], .complaints = complaints[0]};
    return true;
}

void compile_spare_start(struct compile_fork_server *server) {
    if (!server->spare.pid)
        (void)start(server); // without one a request makes its own
}

static void drop(struct compile_fork_server *server) {
    kill(server->spare.pid, SIGKILL);
    while (waitpid(server->spare.pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    close(server->spare.socket);
    close(server->spare.complaints);
    server->spare = (struct compile_spare){};
}

bool compile_spare_take(struct compile_fork_server *server, const struct compile_job *job,
                        const int fds[COMPILE_JOB_FDS], struct compile_spare *ret_child) {
    // One that died while it waited (the system may have been short of memory) is replaced, once.
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        if (!server->spare.pid && !start(server))
            return false;
        if (compile_send(server->spare.socket, job, sizeof(*job), fds, COMPILE_JOB_FDS)) {
            *ret_child = server->spare;
            server->spare = (struct compile_spare){};
            close(ret_child->socket);
            ret_child->socket = -1;
            return true;
        }
        drop(server);
    }
    return false;
}

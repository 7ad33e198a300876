// SPDX-License-Identifier: Apache-2.0
//
// One request in a process of its own: keep the few descriptors it needs, map the input, enter the sandbox,
// let the handlers compile, write the code and the reply, end. From the moment the handlers see the input,
// nothing here may be relied on by anyone else.

#include "compile/internal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static bool write_all(int fd, struct tw_span bytes) {
    while (bytes.len) {
        ssize_t count = write(fd, bytes.data, bytes.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        bytes = tw_span_of(bytes.data + count, bytes.len - (size_t)count);
    }
    return true;
}

// The output at COMPILE_OUTPUT_FD, the pipe at COMPILE_REPLY_FD, standard streams; every other descriptor
// closed.
static bool keep_descriptors(const int fds[COMPILE_JOB_FDS], int complaints) {
    int output = fcntl(fds[1], F_DUPFD, COMPILE_FD_FLOOR), reply = fcntl(fds[2], F_DUPFD, COMPILE_FD_FLOOR);
    return dup2(complaints, STDERR_FILENO) >= 0 && output >= 0 && reply >= 0 &&
           dup2(output, COMPILE_OUTPUT_FD) >= 0 && dup2(reply, COMPILE_REPLY_FD) >= 0 &&
           close_range(COMPILE_REPLY_FD + 1, ~0U, 0) == 0;
}

static bool make_request(const struct compile_job *job, int input_fd,
                         struct tw_compile_request *ret_request) {
    void *input = mmap(NULL, job->input_bytes, PROT_READ, MAP_PRIVATE, input_fd, 0);
    if (input == MAP_FAILED)
        return false;
    *ret_request = (struct tw_compile_request){.kind = (enum tw_compile_kind)job->kind,
                                               .input = tw_span_of(input, job->input_bytes),
                                               .variant = job->variant,
                                               .interrupt = job->interrupt,
                                               .deadline_ns = TW_NO_DEADLINE};
    memcpy(ret_request->entry, job->entry, sizeof(job->entry));
    memcpy(ret_request->stage, job->stage, sizeof(job->stage));
    return true;
}

static void fill_reply(struct compile_reply *reply, bool ok, struct tw_span output,
                       const struct tw_error *err) {
    if (ok) {
        reply->output_bytes = output.len;
        return;
    }
    reply->code = err->code;
    memcpy(reply->message, err->message, sizeof(err->message));
}

// Libraries break their messages into lines, and messages quote names of the input: ours are one line, with
// single spaces where the white space was and without control characters.
static void clean(char *message) {
    char *out = message;
    for (const char *in = message; *in; in++) {
        bool space = *in == ' ' || *in == '\n' || *in == '\t';
        if (space && out > message && out[-1] == ' ')
            continue;
        bool control = (unsigned char)*in < 0x20 || *in == 0x7f;
        *out++ = space ? ' ' : control ? '?' : *in;
    }
    *out = '\0';
}

void compile_child_run(const struct compile_job *job, const int fds[COMPILE_JOB_FDS], int complaints,
                       const struct compile_sandbox *sandbox, const struct tw_compile_handlers *handlers) {
    struct tw_compile_request request;
    if (job->background)
        (void)!nice(COMPILE_BACKGROUND_NICE); // more than the server itself is; it works without
    tw_thread_stand_back(0, true);            // what the server does meanwhile, and with the reply, is short
    if (!make_request(job, fds[0], &request) || !keep_descriptors(fds, complaints) ||
        !compile_sandbox_enter(sandbox, job))
        _exit(COMPILE_EXIT_SETUP);
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, COMPILE_MAX_ARTIFACT);
    bool ok = handlers->compile(&request, &out, &err);
    if (ok && out.len == 0)
        ok = tw_fail(&err, TW_ERR_COMPILE_FAILED, "the input compiles to nothing");
    if (!ok && err.code == TW_OK)
        tw_fail(&err, TW_ERR_INTERNAL, "the compiler failed without saying why");
    if (ok && !write_all(COMPILE_OUTPUT_FD, tw_buf_span(&out)))
        ok = tw_fail_errno(&err, TW_ERR_COMPILE_FAILED, errno,
                           "%zu bytes of compiled code could not be handed over", out.len);
    clean(err.message);
    struct compile_reply reply = {.magic = COMPILE_MAGIC_REPLY, .id = job->id};
    fill_reply(&reply, ok, tw_buf_span(&out), &err);
    // The kernel keeps pages that were just written in batches of each processor, and a seal waits for those of the
    // output; unmapping anything empties ours. It costs time only when it fails.
    (void)munmap((void *)(uintptr_t)request.input.data, request.input.len);
    bool told = write_all(COMPILE_REPLY_FD, tw_span_of(&reply, sizeof(reply)));
    // Who waits for the reply is woken on this core, and taking down this process would hold it for a millisecond.
    if (told)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = COMPILE_REST_NS}, NULL);
    _exit(told ? COMPILE_EXIT_OK : COMPILE_EXIT_SETUP);
}

// SPDX-License-Identifier: Apache-2.0
//
// A compiler program for the tests of compile/: the first word of its input says how to behave. Its handlers
// run in the real fork server and the real sandbox.

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compile/compile.h"

static unsigned calls; // in this process: a request always sees 0
static unsigned warmed;
static bool lingers; // it replies, and does not end
static pid_t fork_server;

static bool begins(struct tw_span input, const char *word) {
    return tw_str_starts(tw_str_of((const char *)input.data, input.len), tw_str_from(word));
}

// What the optimiser cannot know.
static char *volatile sink = (char *)16;
static volatile unsigned depth_max = UINT32_MAX;

static bool eat_memory(void) {
    for (;;) {
        char *block = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            abort(); // as LLVM and Rust do
        memset(block, 1, 16 << 20);
    }
}

static bool recurse(unsigned depth) {
    volatile char room[4096];
    room[depth % sizeof(room)] = 1;
    return depth < depth_max && recurse(depth + 1) && room[0];
}

static bool spin(void) {
    for (volatile unsigned i = 0;; i++)
        continue;
    return true;
}

static void *other_thread(void *context) {
    return context;
}

// In the place of _exit (the linker sees to that).
[[gnu::noreturn]] void __real__exit(int status);
[[gnu::noreturn]] void __wrap__exit(int status);
void __wrap__exit(int status) {
    while (lingers)
        usleep(100'000);
    __real__exit(status);
}

// One line for each thing that the sandbox should answer with an error: what it was and what came of it.
static bool try_refused(struct tw_buf *out) {
    errno = 0;
    int file = open("/etc/passwd", O_RDONLY);
    int file_error = errno;
    struct stat info;
    int stat_error = stat("/etc/passwd", &info) == 0 ? 0 : errno;
    void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int code_error = errno;
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0);
    int mapped_error = errno;
    pthread_t thread;
    int thread_error = pthread_create(&thread, NULL, other_thread, NULL);
    return tw_buf_printf(out, "open %d %d, stat %d, exec %d %d, file map %d %d, thread %d", file, file_error,
                         stat_error, code == MAP_FAILED, code_error, mapped == MAP_FAILED, mapped_error,
                         thread_error);
}

// Ends the process, or tries what should end it.
static bool die(struct tw_span input) {
    if (begins(input, "crash"))
        *sink = 1;
    if (begins(input, "flood")) {
        for (unsigned i = 0; i < 100'000; i++)
            fputs("\x1b[2Jnoise\n", stderr);
        abort();
    }
    if (begins(input, "abort"))
        abort();
    if (begins(input, "exit"))
        _exit(5);
    if (begins(input, "silent"))
        _exit(0);
    if (begins(input, "memory"))
        return eat_memory();
    if (begins(input, "stack"))
        return recurse(0);
    if (begins(input, "hang"))
        return pause() == 0 || usleep(100'000'000) == 0 || spin();
    if (begins(input, "sleep"))
        return usleep(100'000'000) == 0;
    if (begins(input, "spin"))
        return spin();
    if (begins(input, "socket"))
        return socket(AF_INET, SOCK_STREAM, 0) >= 0;
    if (begins(input, "kill"))
        return kill(getppid(), SIGKILL) == 0;
    if (begins(input, "limits")) {
        struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};
        return setrlimit(RLIMIT_CPU, &more) == 0;
    }
    if (begins(input, "garbage"))
        _exit(write(4, "garbage", 7) == 7 ? 0 : 1);
    return false;
}

static bool misbehave(struct tw_span input, struct tw_buf *out, struct tw_error *err) {
    if (begins(input, "refused"))
        return try_refused(out);
    if (begins(input, "nothing"))
        return true;
    if (begins(input, "error"))
        return tw_fail(err, TW_ERR_CUDA_MALFORMED_PTX, "line 1, column 1: \x1b unknown word 'error'");
    if (begins(input, "mute"))
        return false;
    die(input);
    return tw_fail(err, TW_ERR_COMPILE_FAILED, "the fake compiler does not know what to do");
}

// "make N": N bytes of the pattern i % 251; "say": the request's fields; "slow": 0.3 s, then as "say"; "linger": as
// "say", and the process stays
static bool compile(const struct tw_compile_request *request, struct tw_buf *out, struct tw_error *err) {
    struct tw_span input = request->input;
    if (begins(input, "slow")) {
        usleep(300'000);
    } else if (begins(input, "make ")) {
        uint64_t count = 0;
        if (!tw_str_u64(tw_str_of((const char *)input.data + 5, input.len - 5), &count))
            return tw_fail(err, TW_ERR_COMPILE_FAILED, "make how many?");
        for (uint64_t i = 0; i < count; i++) {
            if (!tw_buf_append_byte(out, (uint8_t)(i % 251)))
                return tw_fail(err, TW_ERR_COMPILE_FAILED, "too many");
        }
        return true;
    } else if (begins(input, "linger")) {
        lingers = true;
    } else if (!begins(input, "say")) {
        return misbehave(input, out, err);
    }
    return tw_buf_printf(out,
                         "kind %d, entry %s, lanes %u, stage %s, interrupt %u, call %u, random %d, "
                         "parent %d, warmed %u",
                         (int)request->kind, request->entry, request->variant.lanes, request->stage,
                         request->interrupt, calls++, (int)getpid(), (int)fork_server, warmed);
}

// Dies as often as the test has left files that say so.
static void die_if_told(void) {
    for (unsigned i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/tmp/tw-fake-dies-%d-%u", (int)getppid(), i);
        if (unlink(path) == 0)
            raise(SIGKILL);
    }
}

static bool init(struct tw_error *err) {
    (void)err;
    die_if_told();
    fork_server = getpid();
    return true;
}

static const char *target(void) {
    return "fake:1";
}

static bool warm(unsigned step) {
    warmed = step + 1;
    return warmed < 2;
}

int main(void) {
    const struct tw_compile_handlers handlers = {
        .init = init, .warm = warm, .target = target, .compile = compile};
    return tw_compile_serve(TW_COMPILE_FD, &handlers);
}

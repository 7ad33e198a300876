// SPDX-License-Identifier: Apache-2.0
//
// The child that is kept ready: it has warmed up when a request comes after a pause, serves one request only, and
// may die while it waits. And what is left of it when it has replied.

#include <dirent.h>
#include <signal.h>

#include "fake.h"

static unsigned number_in(const char *text, const char *field) {
    const char *at = strstr(text, field);
    ck_assert_msg(at != NULL, "'%s' lacks '%s'", text, field);
    return (unsigned)strtoul(at + strlen(field), NULL, 10);
}

// The whole answer to a word; the input differs from call to call, so that nothing comes from a cache.
static void ask_all(struct tw_compiler *compiler, const char *word, char ret_text[256]) {
    static unsigned asked;
    char input[32];
    snprintf(input, sizeof(input), "%s %u", word, asked++);
    struct tw_compile_request request = request_of(input);
    answer(compiler, &request, ret_text);
}

// A number in the answer to "say".
static unsigned ask(struct tw_compiler *compiler, const char *field) {
    char text[256];
    ask_all(compiler, "say", text);
    return number_in(text, field);
}

static void pause_ms(long ms) {
    struct timespec time = {.tv_nsec = ms * 1'000'000};
    nanosleep(&time, NULL);
}

// The parent of a process, its state and how nice it is, as /proc tells; 0 when the process is gone.
static unsigned look_at(unsigned pid, char *ret_state, long *ret_nice) {
    char path[32], text[512] = "";
    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *name_end = strrchr(text, ')');
    unsigned parent = 0;
    bool ok =
        name_end && sscanf(name_end + 1, " %c %u %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %ld",
                           ret_state, &parent, ret_nice) == 3;
    return ok ? parent : 0;
}

static unsigned parent_of(unsigned pid, char *ret_state) {
    long unused;
    return look_at(pid, ret_state, &unused);
}

// Gone with all its threads (sanitizers have one of their own), and so with its descriptors.
static bool is_dead(unsigned pid, unsigned parent) {
    char state = 0, path[32];
    if (parent_of(pid, &state) != parent)
        return true;
    snprintf(path, sizeof(path), "/proc/%u/task", pid);
    DIR *tasks = state == 'Z' ? opendir(path) : NULL;
    unsigned threads = 0;
    for (struct dirent *entry; tasks && (entry = readdir(tasks));)
        threads += entry->d_name[0] != '.';
    if (tasks)
        closedir(tasks);
    return tasks && threads <= 1;
}

// The living child of a fork server that has no request: waits until there is one. `last` had the last request, and
// may be there still.
static unsigned find_spare(unsigned fork_server, unsigned last) {
    for (;;) {
        DIR *folder_of_all = opendir("/proc");
        ck_assert_ptr_nonnull(folder_of_all);
        unsigned found = 0;
        for (struct dirent *entry; (entry = readdir(folder_of_all)) && !found;) {
            char state = 0;
            unsigned pid = (unsigned)strtoul(entry->d_name, NULL, 10);
            if (pid && pid != last && parent_of(pid, &state) == fork_server && state != 'Z')
                found = pid;
        }
        closedir(folder_of_all);
        if (found)
            return found;
        pause_ms(1);
    }
}

// The nicest living child of a fork server.
static long nicest_child(unsigned fork_server) {
    DIR *folder_of_all = opendir("/proc");
    ck_assert_ptr_nonnull(folder_of_all);
    long most = -100;
    for (struct dirent *entry; (entry = readdir(folder_of_all));) {
        char state = 0;
        long nice_value = 0;
        unsigned pid = (unsigned)strtoul(entry->d_name, NULL, 10);
        if (pid && look_at(pid, &state, &nice_value) == fork_server && state != 'Z' && nice_value > most)
            most = nice_value;
    }
    closedir(folder_of_all);
    return most;
}

struct background {
    struct tw_compiler *compiler;
    struct tw_error error;
    struct tw_state over;
};

// Without end, but for the limit.
static void spin_behind(void *context) {
    struct background *call = context;
    struct tw_compile_request request = request_of("spin");
    request.background = true;
    ck_assert_ptr_null(tw_compile(call->compiler, &request, &call->error));
    tw_state_set(&call->over, 1);
}

// Whether the child that computes was seen to be nicer than the spare one before it ended.
static bool is_seen_behind(struct background *call, unsigned fork_server) {
    struct tw_error err = {};
    pthread_t thread;
    bool seen = false;
    (void)find_spare(fork_server, 0);
    long before = nicest_child(fork_server);
    tw_state_set(&call->over, 0);
    call->error = (struct tw_error){};
    tw_assert_ok(tw_thread_start(&thread, "caller", spin_behind, call, &err), &err);
    while (!seen && !tw_state_get(&call->over)) {
        seen = nicest_child(fork_server) > before;
        pause_ms(1);
    }
    tw_thread_join(thread);
    return seen;
}

TW_TEST("what nobody waits for runs behind others, and is given up at its limit") {
    struct tw_error err = {};
    struct tw_compiler_options options = {
        .program = TW_TEST_FAKE_COMPILER, .processes = 1, .cpu_seconds = 1, .wall_ms = 120'000};
    struct background call = {.compiler = tw_compiler_new(&options, &err)};
    tw_assert_ok(call.compiler, &err);
    unsigned fork_server = ask(call.compiler, "parent ");
    while (!is_seen_behind(&call, fork_server))
        continue; // it was over before we looked
    ck_assert_uint_eq(call.error.code, TW_ERR_COMPILE_FAILED);
    // The second where others leave it no processor.
    ck_assert_msg(strstr(call.error.message, "longer than 1 s of CPU") ||
                      strstr(call.error.message, "longer than 120.0 s"),
                  "%s", call.error.message);
    tw_compiler_free(call.compiler);
}

TW_TEST("a request after a pause finds a child that has warmed up") {
    struct tw_compiler *compiler = compiler_new(NULL, 1);
    while (ask(compiler, "warmed ") < 2)
        pause_ms(5);
    tw_compiler_free(compiler);
}

TW_TEST("every request has a process of its own, in a row and after a pause") {
    struct tw_compiler *compiler = compiler_new(NULL, 1);
    unsigned before = 0;
    for (unsigned i = 0; i < 20; i++) {
        unsigned pid = ask(compiler, "random ");
        ck_assert_uint_ne(pid, before);
        ck_assert_uint_eq(ask(compiler, "call "), 0);
        before = pid;
        if (i % 4 == 0)
            pause_ms(2);
    }
    tw_compiler_free(compiler);
}

TW_TEST("a child that dies while it waits costs no request") {
    struct tw_compiler *compiler = compiler_new(NULL, 1);
    for (unsigned i = 0; i < 5; i++) {
        char text[256];
        ask_all(compiler, "say", text);
        unsigned fork_server = number_in(text, "parent ");
        unsigned spare = find_spare(fork_server, number_in(text, "random "));
        ck_assert_int_eq(kill((pid_t)spare, SIGKILL), 0);
        while (!is_dead(spare, fork_server))
            pause_ms(1);
        ck_assert_uint_eq(ask(compiler, "call "), 0);
        ck_assert_uint_eq(ask(compiler, "parent "), fork_server);
    }
    ck_assert_uint_eq(stats_of(compiler).restarts, 0);
    tw_compiler_free(compiler);
}

TW_TEST("a reply is the answer while its process is still there, and the next request ends that") {
    struct tw_compiler *compiler = compiler_new(NULL, 1);
    char text[256], state;
    for (unsigned i = 0; i < 5; i++) {
        ask_all(compiler, "linger", text);
        unsigned pid = number_in(text, "random "), fork_server = number_in(text, "parent ");
        ck_assert_uint_eq(parent_of(pid, &state), fork_server);
        ck_assert_int_ne(state, 'Z');
        ck_assert_uint_ne(ask(compiler, "random "), pid);
        while (parent_of(pid, &state) == fork_server)
            pause_ms(1); // no zombie stays either
        ck_assert_uint_eq(ask(compiler, "parent "), fork_server);
    }
    ck_assert_uint_eq(stats_of(compiler).restarts, 0);
    tw_compiler_free(compiler);
}

TW_TEST("a process that has replied and stays meets the wall limit all the same") {
    struct tw_error err = {};
    struct tw_compiler_options options = {.program = TW_TEST_FAKE_COMPILER, .processes = 1, .wall_ms = 1'000};
    struct tw_compiler *compiler = tw_compiler_new(&options, &err);
    tw_assert_ok(compiler, &err);
    struct tw_compile_request request = request_of("linger");
    struct tw_artifact *artifact;
    while (!(artifact = tw_compile(compiler, &request, &err)))
        ck_assert_uint_eq(err.code, TW_ERR_COMPILE_FAILED); // the machine was too slow for it
    char text[256], state;
    snprintf(text, sizeof(text), "%.*s", (int)tw_artifact_bytes(artifact).len,
             (const char *)tw_artifact_bytes(artifact).data);
    tw_artifact_unref(artifact);
    while (parent_of(number_in(text, "random "), &state) == number_in(text, "parent "))
        pause_ms(1);
    tw_compiler_free(compiler);
}

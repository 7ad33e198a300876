// SPDX-License-Identifier: Apache-2.0
//
// The child that is kept ready: it has warmed up when a request comes after a pause, serves one request only, and
// may die while it waits.

#include <dirent.h>
#include <signal.h>

#include "fake.h"

// A number in the answer to "say"; the input differs from call to call, so that nothing comes from a cache.
static unsigned ask(struct tw_compiler *compiler, const char *field) {
    static unsigned asked;
    char input[32], text[256];
    snprintf(input, sizeof(input), "say %u", asked++);
    struct tw_compile_request request = request_of(input);
    answer(compiler, &request, text);
    const char *at = strstr(text, field);
    ck_assert_msg(at != NULL, "'%s' lacks '%s'", text, field);
    return (unsigned)strtoul(at + strlen(field), NULL, 10);
}

static void pause_ms(long ms) {
    struct timespec time = {.tv_nsec = ms * 1'000'000};
    nanosleep(&time, NULL);
}

// The parent of a process and its state, as /proc tells; 0 when the process is gone.
static unsigned parent_of(unsigned pid, char *ret_state) {
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
    return name_end && sscanf(name_end + 1, " %c %u", ret_state, &parent) == 2 ? parent : 0;
}

// The living child of a fork server that has no request: waits until there is one.
static unsigned find_spare(unsigned fork_server) {
    for (;;) {
        DIR *folder_of_all = opendir("/proc");
        ck_assert_ptr_nonnull(folder_of_all);
        unsigned found = 0;
        for (struct dirent *entry; (entry = readdir(folder_of_all)) && !found;) {
            char state = 0;
            unsigned pid = (unsigned)strtoul(entry->d_name, NULL, 10);
            if (pid && parent_of(pid, &state) == fork_server && state != 'Z')
                found = pid;
        }
        closedir(folder_of_all);
        if (found)
            return found;
        pause_ms(1);
    }
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
        unsigned fork_server = ask(compiler, "parent "), spare = find_spare(fork_server);
        ck_assert_int_eq(kill((pid_t)spare, SIGKILL), 0);
        char state = 0;
        while (parent_of(spare, &state) == fork_server && state != 'Z')
            pause_ms(1);
        ck_assert_uint_eq(ask(compiler, "call "), 0);
        ck_assert_uint_eq(ask(compiler, "parent "), fork_server);
    }
    ck_assert_uint_eq(stats_of(compiler).restarts, 0);
    tw_compiler_free(compiler);
}

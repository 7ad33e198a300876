// SPDX-License-Identifier: Apache-2.0
//
// Artifacts that outlive the server: hits without a process, damage, other keys, folders that cannot be
// written. The fake compiler's answer holds its process id, so a second compilation is seen by a different
// answer.

#include <fcntl.h>

#include "fake.h"

// The one file below the folder whose name ends so.
static char found[512];
static const char *wanted;
static unsigned found_count;

static int find_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)walk;
    size_t len = strlen(path), end = strlen(wanted);
    if (type == FTW_F && len > end && strcmp(path + len - end, wanted) == 0) {
        snprintf(found, sizeof(found), "%s", path);
        found_count++;
    }
    return 0;
}

static const char *find(const char *suffix) {
    wanted = suffix;
    found_count = 0;
    nftw(folder, find_one, 16, FTW_PHYS);
    ck_assert_uint_eq(found_count, 1);
    return found;
}

static void flip_byte(const char *path, off_t at) {
    int fd = open(path, O_RDWR);
    char byte;
    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

TW_TEST("the second request is served from memory, and options are part of the key") {
    make_folder();
    struct tw_compiler *compiler = compiler_new(folder, 1);
    struct tw_compile_request request = request_of("say hello");
    struct tw_artifact *first = compile(compiler, &request), *second = compile(compiler, &request);
    ck_assert_ptr_eq(first, second);
    ck_assert_uint_eq(stats_of(compiler).cache_hits, 1);
    tw_artifact_unref(second);
    struct tw_compile_request other[] = {request, request, request, request};
    other[0].variant.lanes = 8;
    snprintf(other[1].entry, sizeof(other[1].entry), "l");
    other[2].input.len--;
    other[3].kind = TW_COMPILE_INFO;
    for (size_t i = 0; i < TW_COUNT(other); i++) {
        struct tw_artifact *artifact = compile(compiler, &other[i]);
        struct tw_digest a = tw_artifact_key(first), b = tw_artifact_key(artifact);
        ck_assert(!tw_digest_equal(&a, &b));
        tw_artifact_unref(artifact);
    }
    // What a kind does not use is not part of it.
    request.interrupt = 1;
    second = compile(compiler, &request);
    ck_assert_ptr_eq(first, second);
    tw_artifact_unref(second);
    tw_artifact_unref(first);
    tw_compiler_free(compiler);
}

TW_TEST("after a restart artifacts are served without starting a compiler") {
    make_folder();
    char before[256], after[256];
    struct tw_compile_request request = request_of("say hello");
    struct tw_compiler *compiler = compiler_new(folder, 1);
    answer(compiler, &request, before);
    tw_compiler_free(compiler);
    compiler = compiler_new(folder, 1);
    struct tw_error err = {};
    struct tw_artifact *artifact = tw_compile_cached(compiler, &request, &err);
    tw_assert_ok(artifact, &err);
    struct stat info;
    ck_assert_int_eq(fstat(tw_artifact_fd(artifact), &info), 0);
    ck_assert_int_eq(info.st_size, (off_t)strlen(before));
    tw_artifact_unref(artifact);
    answer(compiler, &request, after);
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(stats_of(compiler).processes, 0);
    ck_assert_uint_eq(stats_of(compiler).cache_hits, 2);
    request.input.len--;
    ck_assert_ptr_null(tw_compile_cached(compiler, &request, &err));
    ck_assert_int_eq(err.code, TW_ERR_NOT_FOUND);
    ck_assert_uint_eq(stats_of(compiler).processes, 0);
    tw_compiler_free(compiler);
}

// Compiles, damages, restarts: the answer must be a new one, and be there again after another restart.
static void assert_recompiled(void (*damage)(void)) {
    make_folder();
    char before[256], after[256], again[256];
    struct tw_compile_request request = request_of("say hello");
    struct tw_compiler *compiler = compiler_new(folder, 1);
    answer(compiler, &request, before);
    tw_compiler_free(compiler);
    damage();
    compiler = compiler_new(folder, 1);
    answer(compiler, &request, after);
    ck_assert_str_ne(before, after);
    ck_assert_uint_eq(stats_of(compiler).cache_hits, 0);
    ck_assert_uint_eq(stats_of(compiler).cache_failures, 0);
    tw_compiler_free(compiler);
    compiler = compiler_new(folder, 1);
    answer(compiler, &request, again);
    ck_assert_str_eq(after, again);
    ck_assert_uint_eq(stats_of(compiler).cache_hits, 1);
    tw_compiler_free(compiler);
    remove_folder();
}

static void change_bytes(void) {
    flip_byte(find(".tw"), 3);
}
static void change_signature(void) {
    flip_byte(find(".sig"), 40);
}
static void cut_bytes(void) {
    ck_assert_int_eq(truncate(find(".tw"), 5), 0);
}
static void empty_bytes(void) {
    ck_assert_int_eq(truncate(find(".tw"), 0), 0);
}
static void lengthen_bytes(void) {
    ck_assert_int_eq(truncate(find(".tw"), 8192), 0);
}
static void remove_signature(void) {
    ck_assert_int_eq(unlink(find(".sig")), 0);
}
static void remove_bytes(void) {
    ck_assert_int_eq(unlink(find(".tw")), 0);
}
static void change_key(void) {
    flip_byte(find("/key"), 0);
}
static void cut_key(void) {
    ck_assert_int_eq(truncate(find("/key"), 7), 0);
}

TW_TEST("an artifact that was changed, cut or lengthened is compiled again and replaced") {
    assert_recompiled(change_bytes);
    assert_recompiled(cut_bytes);
    assert_recompiled(empty_bytes);
    assert_recompiled(lengthen_bytes);
    assert_recompiled(remove_bytes);
}

TW_TEST("a signature that is wrong or missing makes its artifact worth nothing") {
    assert_recompiled(change_signature);
    assert_recompiled(remove_signature);
}

TW_TEST("another key makes every artifact worth nothing, and a damaged key is replaced") {
    assert_recompiled(change_key);
    assert_recompiled(cut_key);
}

// Moves the one artifact of the folder to `<folder>/name` and its signature beside it, or back to where
// another now is.
static void move_artifact(const char *name, bool back) {
    static const char *const suffixes[] = {".tw", ".sig"};
    for (size_t i = 0; i < TW_COUNT(suffixes); i++) {
        char aside[160];
        snprintf(aside, sizeof(aside), "%s/%s%zu", folder, name, i);
        const char *path = find(suffixes[i]);
        ck_assert_int_eq(back ? rename(aside, path) : rename(path, aside), 0);
    }
}

TW_TEST("an artifact under another's name is not believed") {
    make_folder();
    char hello[256], world[256], after[256];
    struct tw_compile_request to_hello = request_of("say hello"), to_world = request_of("say world");
    struct tw_compiler *compiler = compiler_new(folder, 1);
    answer(compiler, &to_hello, hello);
    tw_compiler_free(compiler);
    move_artifact("hello", false);
    compiler = compiler_new(folder, 1);
    answer(compiler, &to_world, world);
    tw_compiler_free(compiler);
    move_artifact("hello", true);
    compiler = compiler_new(folder, 1);
    answer(compiler, &to_world, after);
    ck_assert_str_ne(after, hello);
    ck_assert_str_ne(after, world);
    tw_compiler_free(compiler);
}

TW_TEST("a cache folder that cannot be made or written costs nothing but the cache") {
    char text[256];
    struct tw_compile_request request = request_of("say hello");
    struct tw_compiler *compiler = compiler_new("/proc/no-such-folder/cache", 1);
    answer(compiler, &request, text);
    ck_assert_uint_eq(stats_of(compiler).cache_failures, 1);
    tw_compiler_free(compiler);

    // A file where the folder of the artifacts should be: reading and making of folders fail for root too.
    make_folder();
    compiler = compiler_new(folder, 1);
    for (unsigned i = 0; i < 256; i++) {
        char path[80];
        snprintf(path, sizeof(path), "%s/%02x", folder, i);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    answer(compiler, &request, text);
    answer(compiler, &request, text);
    while (stats_of(compiler).cache_failures == 0)
        usleep(1'000);
    ck_assert_uint_eq(stats_of(compiler).cache_hits, 1);
    tw_compiler_free(compiler);
}

TW_TEST("files of the cache are the owner's alone") {
    make_folder();
    char text[256];
    struct stat info;
    struct tw_compile_request request = request_of("say hello");
    struct tw_compiler *compiler = compiler_new(folder, 1);
    answer(compiler, &request, text);
    tw_compiler_free(compiler);
    static const char *const suffixes[] = {"/key", "/identity", ".tw", ".sig"};
    for (size_t i = 0; i < TW_COUNT(suffixes); i++) {
        ck_assert_int_eq(stat(find(suffixes[i]), &info), 0);
        ck_assert_uint_eq(info.st_mode & 0777, 0600);
    }
    ck_assert_int_eq(stat(find("/key"), &info), 0);
    ck_assert_int_eq(info.st_size, 32);
}

TW_TEST("failures of every disk call in turn never fail a compilation") {
    make_folder();
    for (unsigned n = 1; n < 60; n++) {
        char fault[16], text[256], input[32];
        snprintf(input, sizeof(input), "say %u", n);
        struct tw_compile_request request = request_of(input);
        snprintf(fault, sizeof(fault), "io:%u", n);
        // The compiler is told its input through a memory file, which counts as I/O too: such a failure is an
        // error, not a crash.
        struct tw_error err = {};
        struct tw_compiler *compiler = compiler_new(folder, 1);
        tw_fault_configure(fault);
        struct tw_artifact *artifact = tw_compile(compiler, &request, &err);
        ck_assert_msg(artifact || err.code == TW_ERR_STORE, "%s", err.message);
        tw_artifact_unref(artifact);
        tw_compiler_free(compiler);
        tw_fault_configure(NULL);
        compiler = compiler_new(folder, 1);
        answer(compiler, &request, text);
        tw_compiler_free(compiler);
    }
}

TW_TEST("an allocation that fails, each in turn, is an error or nothing, and the next request works") {
    make_folder();
    bool failed = false;
    for (unsigned n = 1; n < 40; n++) {
        char fault[16], text[256], input[32];
        struct tw_error err = {};
        snprintf(input, sizeof(input), "say %u", n);
        snprintf(fault, sizeof(fault), "alloc:%u", n);
        struct tw_compiler_options options = {
            .program = TW_TEST_FAKE_COMPILER, .cache_dir = folder, .processes = 1};
        struct tw_compile_request request = request_of(input);
        tw_fault_configure(fault);
        struct tw_compiler *compiler = tw_compiler_new(&options, &err);
        struct tw_artifact *artifact = compiler ? tw_compile(compiler, &request, &err) : NULL;
        tw_fault_configure(NULL);
        ck_assert_int_eq(artifact == NULL, err.code != TW_OK);
        failed |= !artifact;
        tw_artifact_unref(artifact);
        if (!compiler)
            continue;
        answer(compiler, &request, text);
        tw_compiler_free(compiler);
    }
    ck_assert(failed);
}

// Uses are told apart by the minute: two pass.
static int make_older(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)walk;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, info->st_mtim};
    times[1].tv_sec -= 120;
    return type == FTW_F ? utimensat(AT_FDCWD, path, times, 0) : 0;
}

TW_TEST("a folder over its maximum loses the artifacts that were used least recently") {
    enum { ARTIFACTS = 40, BYTES = 100'000 };
    make_folder();
    struct tw_error err = {};
    struct tw_compiler_options options = {
        .program = TW_TEST_FAKE_COMPILER, .cache_dir = folder, .processes = 1, .cache_bytes = 10 * BYTES};
    // Each artifact in a life of its own, so that it was read from disk or not at all; the first is used
    // every time.
    for (unsigned i = 0; i < ARTIFACTS; i++) {
        char text[32];
        struct tw_compiler *compiler = tw_compiler_new(&options, &err);
        tw_assert_ok(compiler, &err);
        struct tw_compile_request first = request_of("say first");
        tw_artifact_unref(compile(compiler, &first));
        ck_assert_uint_eq(stats_of(compiler).cache_hits, i > 0);
        snprintf(text, sizeof(text), "make %u", BYTES + i);
        struct tw_compile_request request = request_of(text);
        tw_artifact_unref(compile(compiler, &request));
        tw_compiler_free(compiler);
        ck_assert_int_eq(nftw(folder, make_older, 16, FTW_PHYS), 0);
    }
    struct tw_compiler *compiler = tw_compiler_new(&options, &err);
    tw_assert_ok(compiler, &err);
    unsigned kept = 0;
    for (unsigned i = 0; i < ARTIFACTS; i++) {
        char text[32];
        snprintf(text, sizeof(text), "make %u", BYTES + i);
        struct tw_compile_request request = request_of(text);
        struct tw_artifact *artifact = tw_compile_cached(compiler, &request, &err);
        kept += artifact != NULL;
        // The newest are there without a gap.
        ck_assert(artifact || kept == 0);
        tw_artifact_unref(artifact);
    }
    // A tenth is freed at a time, and each takes up to two blocks more than its bytes.
    ck_assert_uint_ge(kept, 7);
    ck_assert_uint_le(kept, 9);
    tw_compiler_free(compiler);
}

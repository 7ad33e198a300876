// SPDX-License-Identifier: Apache-2.0
//
// Files: whole reads, atomic writes, and every I/O call failing in turn.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/test.h"

enum { PATH_SIZE = 600 };

// A fresh folder under $TMPDIR or /tmp, removed by remove_all.
static void make_folder(char ret_path[PATH_SIZE]) {
    const char *parent = getenv("TMPDIR");
    snprintf(ret_path, PATH_SIZE, "%s/tw-file-XXXXXX", parent ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(ret_path));
}

static void join(char ret_path[PATH_SIZE], const char *folder, const char *name) {
    ck_assert_int_lt(snprintf(ret_path, PATH_SIZE, "%s/%s", folder, name), PATH_SIZE);
}

struct listing {
    unsigned count, temporaries;
    unsigned stop_after;
};

static bool count_entry(void *context, const char *name) {
    struct listing *listing = context;
    listing->count++;
    listing->temporaries += strncmp(name, ".tmp-", 5) == 0;
    return listing->count != listing->stop_after;
}

static bool remove_entry(void *context, const char *name) {
    char path[PATH_SIZE];
    join(path, context, name);
    unlink(path);
    return true;
}

static void remove_all(char *folder) {
    struct tw_error err = {};
    tw_assert_ok(tw_file_list(folder, remove_entry, folder, &err), &err);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void check_content(const char *path, struct tw_span expected) {
    struct tw_buf out;
    struct tw_error err = {};
    tw_buf_init(&out, 1 << 22);
    tw_assert_ok(tw_file_read(path, &out, &err), &err);
    ck_assert_uint_eq(out.len, expected.len);
    ck_assert(expected.len == 0 || memcmp(out.data, expected.data, expected.len) == 0);
    tw_buf_done(&out);
}

TW_TEST("what is no file is not replaced by one") {
    char folder[] = "/tmp/tw-file-XXXXXX", pipe[64];
    struct tw_error err = {};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    ck_assert_int_eq(mkfifo(pipe, 0600), 0);
    ck_assert(!tw_file_write(pipe, tw_span_of("x", 1), 0644, &err));
    ck_assert_int_eq(err.code, TW_ERR_STORE);
    ck_assert(!tw_file_write(folder, tw_span_of("x", 1), 0644, &err));
    struct stat there;
    ck_assert(lstat(pipe, &there) == 0 && S_ISFIFO(there.st_mode));
    ck_assert_int_eq(unlink(pipe), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

TW_TEST("what is written is read, replaced and mapped, at many sizes") {
    static uint8_t data[300'000];
    char folder[PATH_SIZE], path[PATH_SIZE];
    struct tw_error err = {};
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    make_folder(folder);
    join(path, folder, "file");
    static const size_t sizes[] = {0, 1, 127, 128, 4096, 65'536, 65'537, sizeof(data)};
    for (size_t i = 0; i < TW_COUNT(sizes); i++) {
        tw_assert_ok(tw_file_write(path, tw_span_of(data, sizes[i]), 0600, &err), &err);
        check_content(path, tw_span_of(data, sizes[i]));
        struct tw_mapping mapping = {};
        tw_assert_ok(tw_file_map(path, &mapping, &err), &err);
        ck_assert_uint_eq(mapping.len, sizes[i]);
        ck_assert_int_eq(memcmp(mapping.data, data, sizes[i]), 0);
        tw_file_unmap(&mapping);
    }
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777U, 0600);
    struct listing listing = {};
    tw_assert_ok(tw_file_list(folder, count_entry, &listing, &err), &err);
    ck_assert_uint_eq(listing.count, 1);
    remove_all(folder);
}

TW_TEST("a missing file, a folder and a file above the maximum are told apart") {
    char folder[PATH_SIZE], path[PATH_SIZE];
    struct tw_error err = {};
    struct tw_mapping mapping = {};
    struct tw_buf out;
    tw_buf_init(&out, 10);
    ck_assert(tw_buf_append_str(&out, TW_STR("kept")));
    make_folder(folder);
    join(path, folder, "file");
    ck_assert(!tw_file_read(path, &out, &err));
    ck_assert_int_eq(err.code, TW_ERR_NOT_FOUND);
    ck_assert(!tw_file_map(path, &mapping, &err));
    ck_assert_int_eq(err.code, TW_ERR_NOT_FOUND);
    ck_assert(!tw_file_list(path, count_entry, NULL, &err));
    ck_assert_int_eq(err.code, TW_ERR_NOT_FOUND);
    ck_assert(!tw_file_read(folder, &out, &err));
    tw_assert_ok(tw_file_write(path, tw_span_of("1234567", 7), 0600, &err), &err);
    ck_assert(!tw_file_read(path, &out, &err));
    ck_assert_int_eq(err.code, TW_ERR_BODY_TOO_LARGE);
    ck_assert_str_eq((char *)out.data, "kept");
    tw_assert_ok(tw_file_write(path, tw_span_of("123456", 6), 0600, &err), &err);
    tw_assert_ok(tw_file_read(path, &out, &err), &err);
    ck_assert_str_eq((char *)out.data, "kept123456");
    tw_buf_done(&out);
    remove_all(folder);
}

TW_TEST("files whose size is not known beforehand are read, up to the maximum") {
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, 1 << 20);
    tw_assert_ok(tw_file_read("/proc/self/status", &out, &err), &err);
    ck_assert_ptr_nonnull(strstr((char *)out.data, "Pid:"));
    tw_buf_done(&out);
    tw_buf_init(&out, 100);
    ck_assert(!tw_file_read("/dev/zero", &out, &err));
    ck_assert_int_eq(err.code, TW_ERR_BODY_TOO_LARGE);
    ck_assert_uint_eq(out.len, 0);
    tw_buf_done(&out);
}

TW_TEST("folders are made with their parents, and removal of nothing is a success") {
    char folder[PATH_SIZE], path[PATH_SIZE];
    struct tw_error err = {};
    make_folder(folder);
    join(path, folder, "a//b/c/");
    tw_assert_ok(tw_file_make_dirs(path, 0700, &err), &err);
    tw_assert_ok(tw_file_make_dirs(path, 0700, &err), &err);
    join(path, folder, "a/b/c/file");
    tw_assert_ok(tw_file_write(path, tw_span_of("x", 1), 0600, &err), &err);
    ck_assert(!tw_file_make_dirs(path, 0700, &err)); // a file is in the way
    ck_assert_int_eq(err.code, TW_ERR_STORE);
    tw_assert_ok(tw_file_remove(path, &err), &err);
    tw_assert_ok(tw_file_remove(path, &err), &err);
    static const char *const made[] = {"a/b/c", "a/b", "a"};
    for (size_t i = 0; i < TW_COUNT(made); i++) {
        join(path, folder, made[i]);
        ck_assert_int_eq(rmdir(path), 0);
    }
    remove_all(folder);
    ck_assert(!tw_file_make_dirs("", 0700, &err));
}

TW_TEST("a listing stops when the visitor says so") {
    char folder[PATH_SIZE], path[PATH_SIZE];
    struct tw_error err = {};
    make_folder(folder);
    for (unsigned i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof(name), "f%u", i);
        join(path, folder, name);
        tw_assert_ok(tw_file_write(path, tw_span_of("x", 1), 0600, &err), &err);
    }
    struct listing listing = {.stop_after = 3};
    tw_assert_ok(tw_file_list(folder, count_entry, &listing, &err), &err);
    ck_assert_uint_eq(listing.count, 3);
    remove_all(folder);
}

TW_TEST("a memory file holds the data and cannot be changed") {
    struct tw_error err = {};
    int fd = tw_file_memfd("test", tw_span_of("hello", 5), &err);
    ck_assert_msg(fd >= 0, "%s", err.message);
    char text[8] = "";
    ck_assert_int_eq(read(fd, text, sizeof(text)), 5);
    ck_assert_str_eq(text, "hello");
    ck_assert_int_lt(pwrite(fd, "x", 1, 0), 0);
    ck_assert_int_lt(ftruncate(fd, 0), 0);
    close(fd);
}

// Writes `next` over `before` with the n-th I/O call failing, for every n: the file must hold one of the two,
// whole, and no temporary file may stay.
TW_TEST("whichever I/O call fails, the file is old or new and nothing else is left") {
    char folder[PATH_SIZE], path[PATH_SIZE];
    struct tw_span before = tw_span_of("before", 6), next = tw_span_of("the next content", 16);
    make_folder(folder);
    join(path, folder, "file");
    unsigned n = 1;
    for (bool done = false; !done; n++) {
        struct tw_error err = {};
        char fault[16];
        tw_assert_ok(tw_file_write(path, before, 0600, &err), &err);
        snprintf(fault, sizeof(fault), "io:%u", n);
        tw_fault_configure(fault);
        done = tw_file_write(path, next, 0600, &err);
        tw_fault_configure(NULL);
        ck_assert_int_eq(err.code, done ? TW_OK : TW_ERR_STORE);
        struct listing listing = {};
        tw_assert_ok(tw_file_list(folder, count_entry, &listing, &err), &err);
        ck_assert_uint_eq(listing.count, 1);
        ck_assert_uint_eq(listing.temporaries, 0);
        // Before the rename (open, write, fsync, close, rename) it is the old one.
        check_content(path, n <= 5 ? before : next);
    }
    ck_assert_uint_eq(n, 9); // the five, then open and fsync of the folder, then success
    remove_all(folder);
}

TW_TEST("reading and listing report each failing call") {
    char folder[PATH_SIZE], path[PATH_SIZE];
    struct tw_error err = {};
    make_folder(folder);
    join(path, folder, "file");
    tw_assert_ok(tw_file_write(path, tw_span_of("x", 1), 0600, &err), &err);
    for (unsigned n = 1; n <= 3; n++) {
        char fault[16];
        snprintf(fault, sizeof(fault), "io:%u", n);
        struct tw_buf out;
        tw_buf_init(&out, 10);
        tw_fault_configure(fault);
        ck_assert(!tw_file_read(path, &out, &err));
        ck_assert_int_eq(err.code, TW_ERR_STORE);
        ck_assert_uint_eq(out.len, 0);
        tw_buf_done(&out);
        struct tw_mapping mapping = {};
        tw_fault_configure(fault);
        ck_assert(!tw_file_map(path, &mapping, &err));
        ck_assert_ptr_null(mapping.data);
        struct listing listing = {};
        tw_fault_configure(fault);
        ck_assert(!tw_file_list(folder, count_entry, &listing, &err));
        tw_fault_configure(fault);
        ck_assert_int_eq(tw_file_memfd("test", tw_span_of("x", 1), &err), -1);
    }
    tw_fault_configure(NULL);
    remove_all(folder);
}

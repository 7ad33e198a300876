// SPDX-License-Identifier: Apache-2.0
//
// A disk that forgets: what a machine that fails leaves of a folder. This program's own fsync, rename and unlink stand before the
// C library's; they count as steps, and at one that is chosen the process ends, having written down beside the folder what
// a disk would hold then. Bytes are there once their file was synced; a name, or its absence, once its folder was.
#pragma once

#include "harness/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"

enum disk_loss {
    DISK_KEEPS_ALL,   // the process was killed, the machine goes on
    DISK_KEEPS_NAMES, // names got there of themselves, bytes only where they were synced
    DISK_KEEPS_SYNCED,
};

enum { FOLDERS_MAX = 64, NAMES_MAX = 32, FILES_MAX = 128 };

struct disk_name {
    char text[NAME_MAX + 1];
    ino_t inode;
    mode_t mode; // of a name that got there, whether the bytes did or not
    bool is_folder;
};
struct disk_folder {
    char path[PATH_MAX];
    struct disk_name names[NAMES_MAX];
    unsigned name_count;
};
struct disk_file {
    ino_t inode;
    struct tw_buf bytes;
};

// Guarded by `disk_lock`: the store has a thread of its own.
static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static struct disk_folder *disk_folders;
static struct disk_file disk_files[FILES_MAX];
static unsigned disk_folder_count, disk_file_count, disk_step, disk_last_step;
static enum disk_loss disk_loss;
static const char *disk_root, *disk_after;

static struct disk_folder *disk_folder_at(const char *path) {
    for (unsigned i = 0; i < disk_folder_count; i++) {
        if (strcmp(disk_folders[i].path, path) == 0)
            return &disk_folders[i];
    }
    ck_assert_uint_lt(disk_folder_count, FOLDERS_MAX);
    snprintf(disk_folders[disk_folder_count].path, PATH_MAX, "%s", path);
    return &disk_folders[disk_folder_count++];
}

static struct tw_buf *disk_file_of(ino_t inode) {
    for (unsigned i = 0; i < disk_file_count; i++) {
        if (disk_files[i].inode == inode)
            return &disk_files[i].bytes;
    }
    ck_assert_uint_lt(disk_file_count, FILES_MAX);
    disk_files[disk_file_count].inode = inode;
    tw_buf_init(&disk_files[disk_file_count].bytes, SIZE_MAX / 2);
    return &disk_files[disk_file_count++].bytes;
}

static void disk_sync_file(const char *path) {
    struct stat info;
    struct tw_error err = {};
    ck_assert_int_eq(stat(path, &info), 0);
    struct tw_buf *bytes = disk_file_of(info.st_ino);
    tw_buf_reset(bytes);
    tw_assert_ok(tw_file_read(path, bytes, &err), &err);
}

static void disk_list(const char *path, struct disk_folder *ret_folder) {
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    ret_folder->name_count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        ck_assert_uint_lt(ret_folder->name_count, NAMES_MAX);
        struct disk_name *name = &ret_folder->names[ret_folder->name_count++];
        struct stat info;
        ck_assert_int_eq(fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW), 0);
        *name = (struct disk_name){
            .inode = info.st_ino, .mode = info.st_mode, .is_folder = S_ISDIR(info.st_mode)};
        snprintf(name->text, sizeof name->text, "%s", entry->d_name);
    }
    closedir(dir);
}

static void disk_join(char ret_path[PATH_MAX], const char *folder, const char *name) {
    ck_assert_int_lt(snprintf(ret_path, PATH_MAX, "%s/%s", folder, name), PATH_MAX);
}

static void disk_sync_all(const char *path, bool with_files) {
    struct disk_folder *folder = disk_folder_at(path);
    disk_list(path, folder);
    for (unsigned i = 0; i < folder->name_count; i++) {
        char inner[PATH_MAX];
        disk_join(inner, path, folder->names[i].text);
        if (folder->names[i].is_folder)
            disk_sync_all(inner, with_files);
        else if (with_files)
            disk_sync_file(inner);
    }
}

static void disk_write_out(const char *from, const char *to) {
    ck_assert_int_eq(mkdir(to, 0755), 0);
    const struct disk_folder *folder = disk_folder_at(from); // one that was never synced is empty
    for (unsigned i = 0; i < folder->name_count; i++) {
        const struct disk_name *name = &folder->names[i];
        char inner[PATH_MAX], outer[PATH_MAX];
        disk_join(inner, from, name->text);
        disk_join(outer, to, name->text);
        if (name->is_folder) {
            disk_write_out(inner, outer);
            continue;
        }
        const struct tw_buf *bytes = disk_file_of(name->inode); // nor has such a file any bytes
        FILE *file = fopen(outer, "w");
        ck_assert_ptr_nonnull(file);
        if (bytes->len)
            ck_assert_uint_eq(fwrite(bytes->data, 1, bytes->len, file), bytes->len);
        ck_assert_int_eq(fclose(file), 0);
        ck_assert_int_eq(chmod(outer, name->mode & 0777), 0);
    }
}

// The machine fails now.
static void disk_end(void) {
    if (disk_loss == DISK_KEEPS_NAMES)
        disk_sync_all(disk_root, false);
    if (disk_loss == DISK_KEEPS_ALL)
        disk_sync_all(disk_root, true);
    disk_write_out(disk_root, disk_after);
    (void)raise(SIGKILL); // as little as possible comes after it
}

static void disk_begin_step(void) {
    pthread_mutex_lock(&disk_lock);
    if (disk_root && ++disk_step == disk_last_step)
        disk_end();
}

// How many there were so far.
static unsigned disk_steps(void) {
    pthread_mutex_lock(&disk_lock);
    unsigned steps = disk_step;
    pthread_mutex_unlock(&disk_lock);
    return steps;
}

static int disk_end_step(int result) {
    int error_number = errno;
    pthread_mutex_unlock(&disk_lock);
    errno = error_number;
    return result;
}

// All below `folder` is on the disk now. The process is killed at step `at` from here on (counted from 1), and what is left
// lies in `after_folder`.
static void disk_watch(const char *folder, const char *after_folder, unsigned at, enum disk_loss what) {
    disk_folders = calloc(FOLDERS_MAX, sizeof *disk_folders);
    ck_assert_ptr_nonnull(disk_folders);
    disk_loss = what;
    disk_last_step = at;
    disk_after = after_folder;
    disk_sync_all(folder, true);
    disk_root = folder;
}

int fsync(int fd) {
    char link[64], path[PATH_MAX] = "";
    struct stat info;
    disk_begin_step();
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (disk_root && readlink(link, path, sizeof path - 1) > 0 && fstat(fd, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            disk_list(path, disk_folder_at(path));
        else
            disk_sync_file(link); // whatever name it has, or none any more
    }
    return disk_end_step(0); // the real disk need not be waited for
}

int rename(const char *from, const char *to) {
    disk_begin_step();
    return disk_end_step((int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int unlink(const char *path) {
    disk_begin_step();
    return disk_end_step((int)syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

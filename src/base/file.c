// SPDX-License-Identifier: Apache-2.0
//
// Whole files. Every system call that does I/O first asks fault.h, so that each failure path can be walked. A
// file is written as
// `.tmp-<16 hex digits>` in its own folder, synced, renamed over the target, and the folder synced: a reader
// or a crash sees the old content or the new one. Leftovers of a crash begin with ".tmp-".

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/hash.h"

enum { READ_STEP = 64 << 10 }; // for files whose size is not known beforehand

// ---- system calls that may be told to fail ----

static bool struck(void) {
    if (!tw_fault_strikes(TW_FAULT_IO))
        return false;
    errno = EIO;
    return true;
}

static int io_open(const char *path, int flags, mode_t mode) {
    int fd;
    do
        fd = struck() ? -1 : open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static ssize_t io_read(int fd, void *ret_data, size_t len) {
    ssize_t count;
    do
        count = struck() ? -1 : read(fd, ret_data, len);
    while (count < 0 && errno == EINTR);
    return count;
}

static bool io_write_all(int fd, struct tw_span data) {
    while (data.len) {
        ssize_t count = struck() ? -1 : write(fd, data.data, data.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        data = tw_span_of(data.data + count, data.len - (size_t)count);
    }
    return true;
}

static bool io_sync(int fd) {
    return !struck() && fsync(fd) == 0;
}

// Closes in any case; false when the kernel reports a late write error.
static bool io_close(int fd) {
    bool strikes = struck();
    int result = close(fd);
    if (strikes)
        errno = EIO;
    return !strikes && (result == 0 || errno == EINTR);
}

static void close_fd(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

#define FD_SCOPE [[gnu::cleanup(close_fd)]]

// ---- paths ----

// The folder a path lies in, in `ret_folder` of PATH_MAX bytes.
static bool folder_of(const char *path, char *ret_folder, struct tw_error *err) {
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 1;
    if (len >= PATH_MAX)
        return tw_fail(err, TW_ERR_STORE,
                       "a path of %zu bytes, the limit is %d; use a shorter data directory", strlen(path),
                       PATH_MAX - 1);
    if (slash == path)
        len = 1;
    memcpy(ret_folder, slash ? path : ".", len);
    ret_folder[len] = '\0';
    return true;
}

bool tw_file_sync_folder_of(const char *path, struct tw_error *err) {
    char folder[PATH_MAX];
    if (!folder_of(path, folder, err))
        return false;
    FD_SCOPE int fd = io_open(folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || !io_sync(fd))
        return tw_fail_errno(err, TW_ERR_STORE, errno, "folder %s could not be synced", folder);
    return true;
}

// ---- reading ----

static bool fail_open(const char *path, struct tw_error *err) {
    if (errno == ENOENT || errno == ENOTDIR)
        return tw_fail(err, TW_ERR_NOT_FOUND, "%s does not exist", path);
    return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be opened", path);
}

static bool too_large(const char *path, const struct tw_buf *out, struct tw_error *err) {
    return tw_fail(err, TW_ERR_BODY_TOO_LARGE, "%s is larger than %zu bytes, the limit here", path, out->max);
}

// Room for the next read: what is left of the known size and one byte to see the end, or a step; never more
// than the maximum allows.
static size_t next_step(const struct tw_buf *out, size_t start, size_t size) {
    size_t got = out->len - start;
    size_t want = size > got ? size - got + 1 : READ_STEP;
    size_t left = out->max - out->len;
    return want < left ? want : left;
}

static bool read_all(int fd, const char *path, size_t size, struct tw_buf *out, struct tw_error *err) {
    size_t start = out->len;
    for (;;) {
        size_t step = next_step(out, start, size);
        uint8_t probe;
        uint8_t *room = step ? tw_buf_reserve(out, step) : &probe;
        if (!room)
            return tw_fail(err, TW_ERR_STORE, "no memory to read %s; try again later", path);
        ssize_t count = io_read(fd, room, step ? step : 1);
        if (count < 0)
            return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be read", path);
        if (count == 0)
            return true;
        if (!step)
            return too_large(path, out, err);
        tw_buf_commit(out, (size_t)count);
    }
}

bool tw_file_read(const char *path, struct tw_buf *out, struct tw_error *err) {
    FD_SCOPE int fd = io_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fail_open(path, err);
    struct stat info;
    if (struck() || fstat(fd, &info) != 0)
        return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be examined", path);
    size_t size = S_ISREG(info.st_mode) ? (size_t)info.st_size : 0;
    if (size > out->max - out->len)
        return too_large(path, out, err);
    size_t before = out->len;
    if (read_all(fd, path, size, out, err))
        return true;
    out->len = before;
    if (out->data)
        out->data[before] = '\0';
    return false;
}

bool tw_file_map(const char *path, struct tw_mapping *ret_mapping, struct tw_error *err) {
    FD_SCOPE int fd = io_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fail_open(path, err);
    struct stat info;
    if (struck() || fstat(fd, &info) != 0)
        return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be examined", path);
    size_t len = (size_t)info.st_size;
    if (len == 0) {
        *ret_mapping = (struct tw_mapping){.data = (const uint8_t *)"", .len = 0};
        return true;
    }
    void *data = struck() ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be mapped", path);
    *ret_mapping = (struct tw_mapping){.data = data, .len = len};
    return true;
}

void tw_file_unmap(struct tw_mapping *mapping) {
    if (mapping->len)
        TW_ASSERT(munmap((void *)(uintptr_t)mapping->data, mapping->len) == 0);
    *mapping = (struct tw_mapping){};
}

// ---- writing ----

static bool fail_write(const struct tw_file_draft *draft, struct tw_error *err) {
    return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be written", draft->path);
}

// A device, a pipe or a folder would be replaced by a file.
static bool may_replace(const char *path, struct tw_error *err) {
    struct stat there;
    return lstat(path, &there) != 0 || S_ISREG(there.st_mode) || S_ISLNK(there.st_mode) ||
           tw_fail(err, TW_ERR_STORE, "%s is no regular file; it would be replaced by one", path);
}

static bool begin(struct tw_file_draft *draft, const char *path, struct tw_span data, unsigned mode,
                  struct tw_error *err) {
    char folder[PATH_MAX], digits[17];
    _Static_assert(sizeof(draft->temporary) >= PATH_MAX + sizeof("/.tmp-") + sizeof(digits), "");
    if (!folder_of(path, folder, err) || !may_replace(path, err))
        return false;
    uint8_t random[8];
    tw_random(random, sizeof(random));
    tw_hex(tw_span_of(random, sizeof(random)), digits);
    snprintf(draft->temporary, sizeof(draft->temporary), "%s/.tmp-%s", folder, digits);
    draft->path = path;
    draft->fd = io_open(draft->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, (mode_t)mode);
    if (draft->fd < 0)
        return tw_fail_errno(err, TW_ERR_STORE, errno, "a file in %s could not be made", folder);
    draft->is_open = draft->is_there = true;
    if (!io_write_all(draft->fd, data))
        return fail_write(draft, err);
    return true;
}

bool tw_file_begin(struct tw_file_draft *draft, const char *path, struct tw_span data, unsigned mode,
                   struct tw_error *err) {
    if (!begin(draft, path, data, mode, err))
        return false;
    (void)sync_file_range(draft->fd, 0, 0, SYNC_FILE_RANGE_WRITE); // a hint: tw_file_sync waits
    return true;
}

bool tw_file_append(struct tw_file_draft *draft, struct tw_span data, struct tw_error *err) {
    return io_write_all(draft->fd, data) || fail_write(draft, err);
}

static bool close_draft(struct tw_file_draft *draft, struct tw_error *err) {
    draft->is_open = false;
    return io_close(draft->fd) || fail_write(draft, err);
}

bool tw_file_sync(const struct tw_file_draft *draft, struct tw_error *err) {
    return io_sync(draft->fd) || fail_write(draft, err);
}

bool tw_file_place(struct tw_file_draft *draft, struct tw_error *err) {
    if (struck() || rename(draft->temporary, draft->path) != 0)
        return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be put in place", draft->path);
    draft->is_there = false;
    return true;
}

void tw_file_drop(struct tw_file_draft *draft) {
    if (draft->is_open)
        close(draft->fd);
    if (draft->is_there)
        unlink(draft->temporary);
    draft->is_open = draft->is_there = false;
}

bool tw_file_write(const char *path, struct tw_span data, unsigned mode, struct tw_error *err) {
    [[gnu::cleanup(tw_file_drop)]] struct tw_file_draft draft = {};
    return tw_file_begin(&draft, path, data, mode, err) && tw_file_sync(&draft, err) &&
           close_draft(&draft, err) && tw_file_place(&draft, err) && tw_file_sync_folder_of(path, err);
}

bool tw_file_write_loose(const char *path, struct tw_span data, unsigned mode, struct tw_error *err) {
    [[gnu::cleanup(tw_file_drop)]] struct tw_file_draft draft = {};
    return begin(&draft, path, data, mode, err) && close_draft(&draft, err) && tw_file_place(&draft, err);
}

bool tw_file_remove(const char *path, struct tw_error *err) {
    if (struck() || unlink(path) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return true;
        return tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be removed", path);
    }
    return tw_file_sync_folder_of(path, err);
}

static bool is_dir(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool tw_file_make_dir(const char *path, unsigned mode, bool *ret_made, struct tw_error *err) {
    *ret_made = !struck() && mkdir(path, (mode_t)mode) == 0;
    int error_number = errno;
    if (*ret_made || (error_number == EEXIST && is_dir(path)))
        return true;
    return tw_fail_errno(err, TW_ERR_STORE, error_number, "folder %s could not be made", path);
}

static bool make_dir(const char *path, unsigned mode, struct tw_error *err) {
    bool made;
    return tw_file_make_dir(path, mode, &made, err) && (!made || tw_file_sync_folder_of(path, err));
}

bool tw_file_make_dirs(const char *path, unsigned mode, struct tw_error *err) {
    char prefix[PATH_MAX];
    size_t len = strlen(path);
    if (len > 0 && is_dir(path)) // as it nearly always is
        return true;
    if (len == 0 || len >= sizeof(prefix))
        return tw_fail(err, TW_ERR_STORE, "a folder path of %zu bytes, it must have 1 to %d", len,
                       PATH_MAX - 1);
    memcpy(prefix, path, len + 1);
    while (len > 1 && prefix[len - 1] == '/')
        prefix[--len] = '\0';
    for (size_t i = 1; i < len; i++) {
        if (prefix[i] != '/' || prefix[i - 1] == '/')
            continue;
        prefix[i] = '\0';
        bool made = make_dir(prefix, mode, err);
        prefix[i] = '/';
        if (!made)
            return false;
    }
    return make_dir(prefix, mode, err);
}

bool tw_file_list(const char *path, bool (*visit)(void *context, const char *name), void *context,
                  struct tw_error *err) {
    DIR *folder = struck() ? NULL : opendir(path);
    if (!folder)
        return fail_open(path, err);
    bool ok = true;
    for (;;) {
        errno = 0;
        const struct dirent *entry = struck() ? NULL : readdir(folder);
        if (!entry) {
            if (errno)
                ok = tw_fail_errno(err, TW_ERR_STORE, errno, "folder %s could not be read", path);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!visit(context, entry->d_name))
            break;
    }
    closedir(folder);
    return ok;
}

int tw_file_memfd(const char *name, struct tw_span data, struct tw_error *err) {
    int fd = struck() ? -1 : memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        tw_fail_errno(err, TW_ERR_STORE, errno, "memory file %s could not be made", name);
        return -1;
    }
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (!io_write_all(fd, data) || struck() || fcntl(fd, F_ADD_SEALS, seals) != 0 ||
        lseek(fd, 0, SEEK_SET) != 0) {
        tw_fail_errno(err, TW_ERR_STORE, errno, "%zu bytes for memory file %s could not be written", data.len,
                      name);
        close(fd);
        return -1;
    }
    return fd;
}

// ---- how many ----

uint64_t tw_file_raise_limit(void) {
    struct rlimit limit = {};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    struct rlimit raised = {limit.rlim_max, limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

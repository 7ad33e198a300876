// SPDX-License-Identifier: Apache-2.0
//
// Files as the store needs them: whole-file reads with a maximum, writes that are either wholly there or not
// at all (temp file, fsync, rename, fsync of the folder), private mappings. Blocking: never on an event loop.
#pragma once

#include "base/buf.h"

// NOT_FOUND when there is no such file, BODY_TOO_LARGE above the buffer's maximum, STORE for other failures.
[[nodiscard]] bool tw_file_read(const char *path, struct tw_buf *out, struct tw_error *err);
// Atomic and durable when it returns true. `mode` as for open(2). What is there and no file (a device, a pipe, a
// folder) is left alone. Failure: STORE, no temporary file remains, and the path holds the old content or (when
// only the folder could not be synced) the new one, whole. A crash may leave a file named `.tmp-…` beside it.
[[nodiscard]] bool tw_file_write(const char *path, struct tw_span data, unsigned mode, struct tw_error *err);
// Atomic, but not durable: a crash may leave the path with the old content, the new one, or an empty or broken file. For
// what can be made again and is checked when it is read.
[[nodiscard]] bool tw_file_write_loose(const char *path, struct tw_span data, unsigned mode,
                                       struct tw_error *err);
// Removes it durably; a missing file is a success.
[[nodiscard]] bool tw_file_remove(const char *path, struct tw_error *err);
[[nodiscard]] bool tw_file_make_dirs(const char *path, unsigned mode, struct tw_error *err); // like mkdir -p
// Calls `visit` for every entry but . and ..; stops early when it returns false.
[[nodiscard]] bool tw_file_list(const char *path, bool (*visit)(void *context, const char *name),
                                void *context, struct tw_error *err);

// ---- the steps of tw_file_write, for several files that wait for the disk together ----
// A file under its temporary name. Confined. `{}` is one that was not begun; tw_file_drop takes any.
struct tw_file_draft {
    const char *path; // where it goes; borrowed until it is placed
    int fd;           // while `is_open`
    bool is_open, is_there;
    char temporary[4096 + 32];
};
// Writes the bytes and has the kernel begin to bring them to the disk.
[[nodiscard]] bool tw_file_begin(struct tw_file_draft *draft, const char *path, struct tw_span data,
                                 unsigned mode, struct tw_error *err);
// More bytes, behind those.
[[nodiscard]] bool tw_file_append(struct tw_file_draft *draft, struct tw_span data, struct tw_error *err);
[[nodiscard]] bool tw_file_sync(const struct tw_file_draft *draft,
                                struct tw_error *err); // the bytes are on the disk
// Gives it its name, before its bytes are on the disk or after it. The file stays open.
[[nodiscard]] bool tw_file_place(struct tw_file_draft *draft, struct tw_error *err);
void tw_file_drop(struct tw_file_draft *draft); // also through [[gnu::cleanup]]; what was placed stays
[[nodiscard]] bool tw_file_sync_folder_of(const char *path,
                                          struct tw_error *err); // its names are on the disk
// One folder whose parent exists and is not synced. *ret_made: it was not there.
[[nodiscard]] bool tw_file_make_dir(const char *path, unsigned mode, bool *ret_made, struct tw_error *err);

// Lets the process have as many files open as it may: the soft limit becomes the hard one. How many.
uint64_t tw_file_raise_limit(void);

// A whole file mapped read-only. Frozen once made.
struct tw_mapping {
    const uint8_t *data;
    size_t len;
};
[[nodiscard]] bool tw_file_map(const char *path, struct tw_mapping *ret_mapping, struct tw_error *err);
void tw_file_unmap(struct tw_mapping *mapping);
// A sealed memfd that holds a copy of `data`; the caller closes it. -1 on failure.
[[nodiscard]] int tw_file_memfd(const char *name, struct tw_span data, struct tw_error *err);

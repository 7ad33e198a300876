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
// Removes it durably; a missing file is a success.
[[nodiscard]] bool tw_file_remove(const char *path, struct tw_error *err);
[[nodiscard]] bool tw_file_make_dirs(const char *path, unsigned mode, struct tw_error *err); // like mkdir -p
// Calls `visit` for every entry but . and ..; stops early when it returns false.
[[nodiscard]] bool tw_file_list(const char *path, bool (*visit)(void *context, const char *name),
                                void *context, struct tw_error *err);

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

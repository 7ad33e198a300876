// SPDX-License-Identifier: Apache-2.0
//
// What the store's files share. Layout of a data folder:
//
//     FORMAT                    "tensor-wasm-store 1\n"
//     blobs/ab/abcdef…          bytes named by their sha256
//     records/KIND/HEX          one record; HEX is the sha256 of its key, the key itself stands inside
//     records/KIND/HEX.ahead    one that may take its place (ahead.c)
//     records/KIND/.lock        held (flock) while a record of that kind changes, so that several servers may
//     share the folder
#pragma once

#include "store/store.h"

enum {
    STORE_RECORD_MAX = 16 << 20, // a record is metadata; what is larger belongs into a blob
    STORE_KEY_MAX = 512,
    STORE_KIND_MAX = 32,
};
#define STORE_BLOB_MAX (1ULL << 40) // a blob is mapped, not read: only address space bounds it

// Frozen after open.
struct tw_store {
    char path[TW_STORE_PATH_MAX / 2];
    bool is_temporary; // ":memory:": the folder goes away with the store
};

// A blob on its way into the store (blob.c). Confined.
struct store_blob_draft {
    struct tw_file_draft file;
    char path[TW_STORE_PATH_MAX];
    bool is_new;        // it was not there before
    bool is_folder_new; // nor the folder that it lies in
    bool is_remade;     // as struct tw_store_blob
};
// Each takes one step of all of them; what was begun and not placed is removed by store_blobs_drop.
[[nodiscard]] bool store_blobs_begin(const struct tw_store *store, struct store_blob_draft *drafts,
                                     const struct tw_store_blob *blobs, size_t count, struct tw_error *err);
[[nodiscard]] bool store_blobs_sync(struct store_blob_draft *drafts, size_t count, struct tw_error *err);
// Gives those their names that can, or cannot, be made again; and has these names on the disk.
[[nodiscard]] bool store_blobs_name(struct store_blob_draft *drafts, size_t count, bool is_remade,
                                    struct tw_error *err);
[[nodiscard]] bool store_blobs_sync_names(const struct tw_store *store, const struct store_blob_draft *drafts,
                                          size_t count, bool is_remade, struct tw_error *err);
void store_blobs_drop(struct store_blob_draft *drafts, size_t count);

// A path inside the store: path/A/B. False when it would not fit.
[[nodiscard]] [[gnu::format(printf, 4, 5)]] bool store_path(const struct tw_store *store,
                                                            char ret_path[TW_STORE_PATH_MAX],
                                                            struct tw_error *err, const char *format, ...);
// Passes `ok` on; a failure of the folder itself is counted under the operation's name.
[[nodiscard]] bool store_counted(bool ok, const char *operation, const struct tw_error *err);

// ---- record.c, for ahead.c ----

// One as it lies in a file. Borrowed from the file's bytes.
struct store_record {
    struct tw_str key;
    struct tw_span data;
    uint64_t version;
};
[[nodiscard]] bool store_check_kind(const char *kind, struct tw_error *err);
[[nodiscard]] bool store_record_path(const struct tw_store *store, const char *kind, const char *key,
                                     char ret_path[TW_STORE_PATH_MAX], struct tw_error *err);
// `file` is made for it and the caller's, also on failure.
[[nodiscard]] bool store_record_read(const char *path, struct tw_buf *file, struct store_record *ret_record,
                                     struct tw_error *err);
[[nodiscard]] bool store_record_encode(struct tw_buf *file, const char *key, struct tw_span data,
                                       uint64_t version, struct tw_error *err);
// The version a record has now, 0 when there is none.
[[nodiscard]] bool store_record_version(const char *path, uint64_t *ret_version, struct tw_error *err);
// CONFLICT.
[[nodiscard]] bool store_check_version(const char *kind, const char *key, uint64_t version, uint64_t expected,
                                       struct tw_error *err);
// Holds the kind's lock until store_unlock_kind. -1 on failure.
[[nodiscard]] int store_lock_kind(const struct tw_store *store, const char *kind, struct tw_error *err);
void store_unlock_kind(const int *fd);
// What lies ahead of the record of that path counts no more, durably: the record is about to change some other way.
[[nodiscard]] bool store_revoke_ahead_locked(const char *path, struct tw_error *err);

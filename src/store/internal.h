// SPDX-License-Identifier: Apache-2.0
//
// What the store's files share. Layout of a data folder:
//
//     FORMAT                    "tensor-wasm-store 1\n"
//     blobs/ab/abcdef…          bytes named by their sha256
//     records/KIND/HEX          one record; HEX is the sha256 of its key, the key itself stands inside
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

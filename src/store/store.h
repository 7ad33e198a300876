// SPDX-License-Identifier: Apache-2.0
//
// What survives a restart: blobs named by the sha256 of their bytes, and small versioned records that name
// blobs.
//
//     tw_store_put_blob(store, wasm, &digest, &err);
//     tw_store_put_record(store, "function", "7/edges", json, TW_STORE_ANY, &version, &err);
//
// Everything acknowledged is durable (temp file, fsync, rename, fsync of the folder): a crash at any
// instruction loses nothing. All calls may block and may run on any thread, never on an event loop.
// ":memory:" keeps everything in a private temporary folder that is removed at the end.
#pragma once

#include "base/base.h"

struct tw_store;

// STORE with the reason (missing permission, not a folder, a format of another version, locked by nobody:
// several servers may share a folder).
[[nodiscard]] struct tw_store *tw_store_open(const char *data_dir, struct tw_error *err);
void tw_store_close(struct tw_store *store);
const char *tw_store_path(const struct tw_store *store);
// Writes and removes a small file: is the store usable now (readyz)?
[[nodiscard]] bool tw_store_check(struct tw_store *store, struct tw_error *err);

// ---- blobs ----
[[nodiscard]] bool tw_store_put_blob(struct tw_store *store, struct tw_span data,
                                     struct tw_digest *ret_digest, struct tw_error *err);
// The same of several parts, one behind the other.
[[nodiscard]] bool tw_store_put_blob_parts(struct tw_store *store, const struct tw_span *parts, size_t count,
                                           struct tw_digest *ret_digest, struct tw_error *err);
// Mapped read-only and checked against its digest; the caller unmaps with tw_file_unmap.
[[nodiscard]] bool tw_store_map_blob(struct tw_store *store, const struct tw_digest *digest,
                                     struct tw_mapping *ret_mapping, struct tw_error *err);
// Where the blob lies, for those who map it themselves.
enum { TW_STORE_PATH_MAX = 4096 };
void tw_store_blob_path(const struct tw_store *store, const struct tw_digest *digest,
                        char ret_path[TW_STORE_PATH_MAX]);

// ---- records: (kind, key) → bytes, with a version that counts its changes ----
// kind: [a-z]+; key: 1–512 bytes of [A-Za-z0-9._/:-] without empty parts or dots only.
enum { TW_STORE_ANY = 0 };
// Replaces. `expected_version`: TW_STORE_ANY, or CONFLICT unless the record has that version now (UINT64_MAX:
// unless it does not exist).
[[nodiscard]] bool tw_store_put_record(struct tw_store *store, const char *kind, const char *key,
                                       struct tw_span data, uint64_t expected_version, uint64_t *ret_version,
                                       struct tw_error *err);
// As tw_store_put_record, with blobs that it names: they are there before it is, and all is durable before this returns.
// The disk is waited for three times at most: for the bytes of everything, for the names of new blobs, for the record's.
// `expected_version` is one.
enum { TW_STORE_TOGETHER_MAX = 2 };
struct tw_store_blob {
    struct tw_span data;
    struct tw_digest digest; // of data
    // It can be made again: its name waits for the disk together with the record's. A machine that fails in that moment
    // may leave the record, which nobody was told of, without this blob.
    bool is_remade;
};
[[nodiscard]] bool tw_store_put_together(struct tw_store *store, const struct tw_store_blob *blobs,
                                         size_t count, const char *kind, const char *key, struct tw_span data,
                                         uint64_t expected_version, uint64_t *ret_version,
                                         struct tw_error *err);
// ---- ahead ----
// Begins to bring blobs, and the record that names them, to the disk, in one file, on a thread of its own, while the caller
// does what takes long and may fail. Nobody sees them before `keep`, which need not wait for the disk any more: a crash of
// the machine may leave the record ahead, for tw_store_recover. Without a kind it is only about the blobs: they get
// their names at once, and whoever names one puts it all the same, and then finds it there. Until `done` the bytes and the key
// stay. NULL without memory, which all take.
struct tw_store_ahead;
[[nodiscard]] struct tw_store_ahead *tw_store_ahead_start(struct tw_store *store,
                                                          const struct tw_store_blob *blobs, size_t count,
                                                          const char *kind, const char *key,
                                                          struct tw_span data, uint64_t expected_version);
// Waits for the store's thread. A descriptor for reading that blob, where it lies or where it will get its name from; the
// caller's. -1: it came to nothing.
[[nodiscard]] int tw_store_ahead_open(struct tw_store_ahead *ahead, size_t blob);
// Waits for the store's thread. The record counts now; false: it came to nothing, and the caller puts it together.
[[nodiscard]] bool tw_store_ahead_keep(struct tw_store_ahead *ahead, uint64_t *ret_version);
// Waits as well, and frees. What was kept a thread of the store brings to the disk in its own places. What was not kept is taken back, durably: STORE when that failed, and the record may count
// after a crash of the machine.
[[nodiscard]] bool tw_store_ahead_done(struct tw_store_ahead *ahead, struct tw_error *err);
// At start: what a crash left ahead, and what follows the record as it is, counts from now on if it `holds`, and is removed
// otherwise.
[[nodiscard]] bool tw_store_recover(struct tw_store *store, const char *kind,
                                    bool (*holds)(void *context, const char *key, struct tw_span data),
                                    void *context, struct tw_error *err);
// As tw_store_each_record, of those ahead: what they name may come to be used.
[[nodiscard]] bool tw_store_each_ahead(struct tw_store *store, const char *kind,
                                       bool (*visit)(void *context, const char *key, struct tw_span data,
                                                     uint64_t version),
                                       void *context, struct tw_error *err);
[[nodiscard]] bool tw_store_get_record(struct tw_store *store, const char *kind, const char *key,
                                       struct tw_buf *out, uint64_t *ret_version,
                                       struct tw_error *err); // NOT_FOUND
[[nodiscard]] bool tw_store_delete_record(struct tw_store *store, const char *kind, const char *key,
                                          struct tw_error *err); // missing: success
// Every record of a kind, in no order; stops early when `visit` returns false.
[[nodiscard]] bool tw_store_each_record(struct tw_store *store, const char *kind,
                                        bool (*visit)(void *context, const char *key, struct tw_span data,
                                                      uint64_t version),
                                        void *context, struct tw_error *err);
// Removes blobs older than `grace_s` seconds that `is_used` does not claim; counts them.
[[nodiscard]] bool tw_store_collect(struct tw_store *store, int64_t grace_s,
                                    bool (*is_used)(void *context, const struct tw_digest *digest),
                                    void *context, uint64_t *ret_removed, struct tw_error *err);

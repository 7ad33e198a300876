// SPDX-License-Identifier: Apache-2.0
//
// What the store's files share. Layout of a data folder:
//
//     FORMAT                    "tensor-wasm-store 1\n"
//     blobs/ab/abcdef…          bytes named by their sha256; while their owner may write to it (mode 0644), it is not on the disk yet
//     records/KIND/HEX          one record; HEX is the sha256 of its key, the key itself stands inside
//     records/KIND/HEX.ahead    one that may take its place, or has taken it, with the blobs that it names (pack.c, ahead.c)
//     records/KIND/.lock        held (flock) while a record of that kind changes, so that several servers may
//     share the folder
#pragma once

#include "store/store.h"

enum {
    STORE_RECORD_MAX = 16 << 20, // a record is metadata; what is larger belongs into a blob
    STORE_KEY_MAX = 512,
    STORE_KIND_MAX = 32,
    // What was kept is settled after this long: whoever deployed it has its answer then, and often that of the first call, and
    // did not share the cores and the disk with settling. Longer, and the next deploy of the same function finds more to do.
    STORE_SETTLE_DELAY_NS = 5'000'000,
    // Threads that bring records ahead to the disk: as many as deploys at the same time (service/limits.h), or publishing, or both.
    STORE_AHEAD_THREADS = 8,
    STORE_AHEAD_QUEUE = 64,
    STORE_PACK_MAX = 64 << 20, // read into memory; what is written ahead is a megabyte or two
};
#define STORE_BLOB_MAX (1ULL << 40) // a blob is mapped, not read: only address space bounds it

// Those whose bytes and names a thread brings to the disk after the answer (settle.c). Guarded by `lock`.
struct store_settler {
    struct tw_lock lock;
    struct tw_cond changed;
    pthread_t thread;
    struct tw_store_ahead *first, **last;
    bool is_started, is_ending;
};

// The threads that bring what is ahead to the disk (ahead.c), from the first one on. Guarded by `lock`. They are kept: a
// new one would begin behind all that computes.
struct store_bringers {
    struct tw_lock lock;
    struct tw_cond ended; // one of them
    struct tw_pool *pool; // NULL: none yet
};

// Frozen after open, but for what guards itself.
struct tw_store {
    char path[TW_STORE_PATH_MAX / 2];
    bool is_temporary; // ":memory:": the folder goes away with the store
    struct store_settler settler;
    struct store_bringers bringers;
};

// A blob on its way into the store (blob.c). Confined.
struct store_blob_draft {
    struct tw_file_draft file;
    char path[TW_STORE_PATH_MAX];
    bool is_new;    // it was not there before, or not on the disk
    bool is_remade; // as struct tw_store_blob
};
// Is it there, and on the disk? It is young from now on.
bool store_blob_is_durable(const struct tw_store *store, const struct tw_store_blob *blob);
// Is it there, and perhaps not on the disk?
bool store_blob_is_loose(const struct tw_store *store, const struct tw_store_blob *blob);
// Each takes one step of all of them; what was begun is ended by store_blobs_drop. `is_loose`: they get their names before
// they are on the disk, which store_blobs_settle brings them to.
[[nodiscard]] bool store_blobs_begin(const struct tw_store *store, struct store_blob_draft *drafts,
                                     const struct tw_store_blob *blobs, size_t count, bool is_loose,
                                     struct tw_error *err);
[[nodiscard]] bool store_blobs_sync(const struct store_blob_draft *drafts, size_t count,
                                    struct tw_error *err);
// Gives those their names that can, or cannot, be made again; and has these names on the disk.
[[nodiscard]] bool store_blobs_name(struct store_blob_draft *drafts, size_t count, bool is_remade,
                                    struct tw_error *err);
[[nodiscard]] bool store_blobs_sync_names(const struct tw_store *store, const struct store_blob_draft *drafts,
                                          size_t count, bool is_remade, struct tw_error *err);
// What is left of those that cannot be made again: their bytes on the disk, their names, these as well.
[[nodiscard]] bool store_blobs_finish(const struct tw_store *store, struct store_blob_draft *drafts,
                                      size_t count, struct tw_error *err);
// What was named loose is on the disk now, and says so.
[[nodiscard]] bool store_blobs_settle(const struct tw_store *store, const struct store_blob_draft *drafts,
                                      size_t count, struct tw_error *err);
void store_blobs_drop(struct store_blob_draft *drafts, size_t count);

// A path inside the store: path/A/B. False when it would not fit.
[[nodiscard]] [[gnu::format(printf, 4, 5)]] bool store_path(const struct tw_store *store,
                                                            char ret_path[TW_STORE_PATH_MAX],
                                                            struct tw_error *err, const char *format, ...);
// Passes `ok` on; a failure of the folder itself is counted under the operation's name.
[[nodiscard]] bool store_counted(bool ok, const char *operation, const struct tw_error *err);

// ---- numbers in files: little-endian ----

static inline void store_put_number(uint8_t *at, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t store_get_number(const uint8_t *at, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

// ---- record.c ----

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
[[nodiscard]] bool store_record_decode(struct tw_span file, const char *path, struct store_record *ret_record,
                                       struct tw_error *err);
// Both make `file` for it, which is the caller's, also on failure.
[[nodiscard]] bool store_record_encode(struct tw_buf *file, const char *key, struct tw_span data,
                                       uint64_t version, struct tw_error *err);
void store_record_key(const struct store_record *record, char ret_key[STORE_KEY_MAX + 1]); // ended
// Visits the names of all files of a kind, until `visit` gives false.
[[nodiscard]] bool store_list_kind(const struct tw_store *store, const char *kind,
                                   bool (*visit)(void *context, const char *name), void *context,
                                   struct tw_error *err);
// The version a record has now, 0 when there is none.
[[nodiscard]] bool store_record_version(const char *path, uint64_t *ret_version, struct tw_error *err);
// CONFLICT.
[[nodiscard]] bool store_check_version(const char *kind, const char *key, uint64_t version, uint64_t expected,
                                       struct tw_error *err);
// Holds the kind's lock until store_unlock_kind. -1 on failure.
[[nodiscard]] int store_lock_kind(const struct tw_store *store, const char *kind, struct tw_error *err);
void store_unlock_kind(const int *fd);

// ---- pack.c: the file of a record ahead ----

// Borrowed from the file's bytes.
struct store_pack {
    struct store_record record;
    struct tw_span record_bytes; // as in a file of its own
    struct tw_store_blob blobs[TW_STORE_TOGETHER_MAX];
    size_t count;
};
[[nodiscard]] bool store_pack_encode(struct tw_buf *file, const struct tw_buf *record,
                                     const struct tw_store_blob *blobs, size_t count, struct tw_error *err);
[[nodiscard]] bool store_pack_read(const char *path, struct tw_buf *file, struct store_pack *ret_pack,
                                   struct tw_error *err);

// ---- records ahead ----

// HEX.ahead of HEX.
[[nodiscard]] bool store_path_ahead(const char *path, char ret_path[TW_STORE_PATH_MAX], struct tw_error *err);
// Does that file lie there, and no other one?
bool store_is_file_at(const char *path, int fd);
// The record of that path is about to change some other way. What lies ahead of it and was kept is brought to its place
// first, durably; then nothing is ahead of it any more, durably if `revokes`: else what is there is to be replaced.
[[nodiscard]] bool store_clear_ahead_locked(const struct tw_store *store, const char *path, bool revokes,
                                            struct tw_error *err); // recover.c

// One record on its way (ahead.c): a thread of the store's while it `is_running`, then the owner's, then the settler's.
struct tw_store_ahead {
    struct tw_task task;
    struct tw_store *store;
    struct tw_store_blob blobs[TW_STORE_TOGETHER_MAX]; // none is_remade: all are waited for alike
    size_t count;
    char kind[STORE_KIND_MAX + 1]; // empty: only blobs
    const char *key;               // borrowed until done
    struct tw_span data;           // borrowed as well
    uint64_t expected_version;
    bool is_running; // guarded by the bringers' lock
    bool is_placed, is_durable, is_named, is_kept;
    int fd;          // of the file that is ahead, so that no other one gets its inode; -1: none
    int replaced_fd; // of the record that was there before; -1: none
    char path[TW_STORE_PATH_MAX], ahead_path[TW_STORE_PATH_MAX];
    struct store_blob_draft drafts[TW_STORE_TOGETHER_MAX];
    struct tw_file_draft record;
    int64_t due_ns; // when it is settled
    struct tw_store_ahead *next;
};
void store_ahead_free(struct tw_store_ahead *ahead);
void store_bringers_init(struct store_bringers *bringers);
void store_bringers_done(struct store_bringers *bringers); // none is running

void store_settler_init(struct store_settler *settler);
void store_settler_done(struct store_settler *settler); // what is left is settled first
void store_settle_later(struct tw_store_ahead *ahead);  // takes it

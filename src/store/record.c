// SPDX-License-Identifier: Apache-2.0
//
// Records: (kind, key) → bytes with a version. One file each, replaced as a whole:
//
//     | "TWR1" | key length u32 | version u64 | data length u64 | crc32 u32 of all that follows | key | data
//     |
//
// Little-endian, no padding. A change takes the kind's lock file, so that compare-and-replace holds between
// servers too.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/internal.h"

enum { HEADER_SIZE = 28 };

bool store_check_kind(const char *kind, struct tw_error *err) {
    size_t len = strspn(kind, "abcdefghijklmnopqrstuvwxyz");
    if (len == 0 || len > STORE_KIND_MAX || kind[len])
        return tw_fail(err, TW_ERR_INVALID_NAME, "'%.40s' is not a record kind ([a-z]+, at most %d)", kind,
                       STORE_KIND_MAX);
    return true;
}

static bool check_key(const char *key, struct tw_error *err) {
    size_t len = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/:-");
    if (len == 0 || len > STORE_KEY_MAX || key[len])
        return tw_fail(err, TW_ERR_INVALID_NAME,
                       "'%.64s' is not a record key (1 to %d of A-Z a-z 0-9 . _ / : -)", key, STORE_KEY_MAX);
    for (struct tw_str rest = tw_str_from(key); rest.len;) {
        struct tw_str part = tw_str_cut(&rest, '/');
        if (part.len == 0 || tw_str_equal(part, TW_STR(".")) || tw_str_equal(part, TW_STR("..")))
            return tw_fail(err, TW_ERR_INVALID_NAME, "'%.64s' has an empty part or one of dots only", key);
    }
    return true;
}

bool store_record_path(const struct tw_store *store, const char *kind, const char *key,
                       char ret_path[TW_STORE_PATH_MAX], struct tw_error *err) {
    if (!store_check_kind(kind, err) || !check_key(key, err))
        return false;
    struct tw_digest digest = tw_sha256(tw_span_of(key, strlen(key)));
    char hex[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(&digest, hex);
    return store_path(store, ret_path, err, "records/%s/%s", kind, hex);
}

bool store_record_decode(struct tw_span file, const char *path, struct store_record *ret_record,
                         struct tw_error *err) {
    const uint8_t *at = file.data;
    if (file.len < HEADER_SIZE || memcmp(at, "TWR1", 4) != 0)
        return tw_fail(err, TW_ERR_STORE, "%s is not a record", path);
    uint64_t key_len = store_get_number(at + 4, 4), data_len = store_get_number(at + 16, 8);
    if (key_len > STORE_KEY_MAX || data_len > STORE_RECORD_MAX ||
        HEADER_SIZE + key_len + data_len != file.len)
        return tw_fail(err, TW_ERR_STORE, "the record %s has lengths that do not add up", path);
    if (tw_crc32(0, tw_span_of(at + HEADER_SIZE, (size_t)(key_len + data_len))) !=
        store_get_number(at + 24, 4))
        return tw_fail(err, TW_ERR_STORE, "the record %s is damaged (checksum)", path);
    ret_record->version = store_get_number(at + 8, 8);
    ret_record->key = tw_str_of((const char *)at + HEADER_SIZE, (size_t)key_len);
    ret_record->data = tw_span_of(at + HEADER_SIZE + key_len, (size_t)data_len);
    return true;
}

bool store_record_read(const char *path, struct tw_buf *file, struct store_record *ret_record,
                       struct tw_error *err) {
    tw_buf_init(file, HEADER_SIZE + STORE_KEY_MAX + STORE_RECORD_MAX);
    return tw_file_read(path, file, err) && store_record_decode(tw_buf_span(file), path, ret_record, err);
}

bool store_record_encode(struct tw_buf *file, const char *key, struct tw_span data, uint64_t version,
                         struct tw_error *err) {
    size_t key_len = strlen(key);
    uint8_t header[HEADER_SIZE] = "TWR1";
    store_put_number(header + 4, key_len, 4);
    store_put_number(header + 8, version, 8);
    store_put_number(header + 16, data.len, 8);
    store_put_number(header + 24, tw_crc32(tw_crc32(0, tw_span_of(key, key_len)), data), 4);
    tw_buf_init(file, HEADER_SIZE + STORE_KEY_MAX + STORE_RECORD_MAX);
    if (data.len > STORE_RECORD_MAX)
        return tw_fail(err, TW_ERR_STORE, "a record of %zu bytes is larger than %d", data.len,
                       STORE_RECORD_MAX);
    if (!tw_buf_append(file, header, sizeof header) || !tw_buf_append(file, key, key_len) ||
        !tw_buf_append(file, data.data, data.len))
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    return true;
}

// Holds the kind's lock until store_unlock_kind. -1 on failure.
int store_lock_kind(const struct tw_store *store, const char *kind, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    if (!store_check_kind(kind, err) || !store_path(store, path, err, "records/%s", kind) ||
        !tw_file_make_dirs(path, 0755, err) || !store_path(store, path, err, "records/%s/.lock", kind))
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0 && flock(fd, LOCK_EX) == 0)
        return fd;
    tw_fail_errno(err, TW_ERR_STORE, errno, "cannot lock %s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

void store_unlock_kind(const int *fd) {
    if (*fd >= 0)
        close(*fd); // the lock goes with the descriptor
}

// The version a record has now, 0 when there is none.
bool store_record_version(const char *path, uint64_t *ret_version, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    struct store_record record;
    struct tw_error read_error = {};
    *ret_version = 0;
    if (store_record_read(path, &file, &record, &read_error)) {
        *ret_version = record.version;
        return true;
    }
    return read_error.code == TW_ERR_NOT_FOUND || tw_fail(err, read_error.code, "%s", read_error.message);
}

bool store_check_version(const char *kind, const char *key, uint64_t version, uint64_t expected,
                         struct tw_error *err) {
    if (expected == UINT64_MAX && version != 0)
        return tw_fail(err, TW_ERR_CONFLICT, "%s '%s' exists already", kind, key);
    if (expected != TW_STORE_ANY && expected != UINT64_MAX && expected != version)
        return tw_fail(err, TW_ERR_CONFLICT,
                       "%s '%s' changed meanwhile (version %" PRIu64 ", expected %" PRIu64 ")", kind, key,
                       version, expected);
    return true;
}

static bool put_record(struct tw_store *store, const char *kind, const char *key, struct tw_span data,
                       uint64_t expected_version, uint64_t *ret_version, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    if (!store_record_path(store, kind, key, path, err))
        return false;
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(store, kind, err);
    uint64_t version;
    if (lock < 0 || !store_record_version(path, &version, err) ||
        !store_check_version(kind, key, version, expected_version, err))
        return false;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    if (!store_record_encode(&file, key, data, version + 1, err) ||
        !store_clear_ahead_locked(store, path, true, err) ||
        !tw_file_write(path, tw_buf_span(&file), 0644, err))
        return false;
    if (ret_version)
        *ret_version = version + 1;
    return true;
}

bool tw_store_put_record(struct tw_store *store, const char *kind, const char *key, struct tw_span data,
                         uint64_t expected_version, uint64_t *ret_version, struct tw_error *err) {
    return store_counted(put_record(store, kind, key, data, expected_version, ret_version, err), "put_record",
                         err);
}

// ---- a record and its blobs ----

// What is on its way into the store together.
struct together {
    struct store_blob_draft blobs[TW_STORE_TOGETHER_MAX];
    size_t count;
    struct tw_file_draft record;
};

// The last step, under the lock, which others wait for: only names are missing on the disk.
static bool place(const struct tw_store *store, struct together *all, const char *kind, const char *key,
                  uint64_t expected_version, struct tw_error *err) {
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(store, kind, err);
    uint64_t version;
    return lock >= 0 && store_record_version(all->record.path, &version, err) &&
           store_check_version(kind, key, version, expected_version, err) &&
           store_clear_ahead_locked(store, all->record.path, true, err) &&
           store_blobs_name(all->blobs, all->count, true, err) && tw_file_place(&all->record, err) &&
           store_blobs_sync_names(store, all->blobs, all->count, true, err) &&
           tw_file_sync_folder_of(all->record.path, err);
}

static bool prepare(const struct tw_store *store, struct together *all, const struct tw_store_blob *blobs,
                    const char *path, struct tw_span record, struct tw_error *err) {
    return store_blobs_begin(store, all->blobs, blobs, all->count, false, err) &&
           tw_file_begin(&all->record, path, record, 0644, err) &&
           store_blobs_sync(all->blobs, all->count, err) && tw_file_sync(&all->record, err) &&
           store_blobs_name(all->blobs, all->count, false, err) &&
           store_blobs_sync_names(store, all->blobs, all->count, false, err);
}

static void together_done(struct together *all) {
    store_blobs_drop(all->blobs, all->count);
    tw_file_drop(&all->record);
}

bool tw_store_put_together(struct tw_store *store, const struct tw_store_blob *blobs, size_t count,
                           const char *kind, const char *key, struct tw_span data, uint64_t expected_version,
                           uint64_t *ret_version, struct tw_error *err) {
    TW_ASSERT(count <= TW_STORE_TOGETHER_MAX && expected_version != TW_STORE_ANY);
    uint64_t version = expected_version == UINT64_MAX ? 1 : expected_version + 1;
    [[gnu::cleanup(together_done)]] struct together all = {.count = count};
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    char folder[TW_STORE_PATH_MAX], path[TW_STORE_PATH_MAX];
    bool ok = store_record_path(store, kind, key, path, err) &&
              store_path(store, folder, err, "records/%s", kind) && tw_file_make_dirs(folder, 0755, err) &&
              store_record_encode(&file, key, data, version, err) &&
              prepare(store, &all, blobs, path, tw_buf_span(&file), err) &&
              place(store, &all, kind, key, expected_version, err);
    if (ok)
        *ret_version = version;
    return store_counted(ok, "put_record", err);
}

static bool get_record(struct tw_store *store, const char *kind, const char *key, struct tw_buf *out,
                       uint64_t *ret_version, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    struct store_record record;
    if (!store_record_path(store, kind, key, path, err) || !store_record_read(path, &file, &record, err))
        return false;
    if (!tw_buf_append(out, record.data.data, record.data.len))
        return tw_fail(err, TW_ERR_CAPACITY, "the record of %zu bytes does not fit its buffer",
                       record.data.len);
    if (ret_version)
        *ret_version = record.version;
    return true;
}

bool tw_store_get_record(struct tw_store *store, const char *kind, const char *key, struct tw_buf *out,
                         uint64_t *ret_version, struct tw_error *err) {
    return store_counted(get_record(store, kind, key, out, ret_version, err), "get_record", err);
}

static bool delete_record(struct tw_store *store, const char *kind, const char *key, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    if (!store_record_path(store, kind, key, path, err))
        return false;
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(store, kind, err);
    return lock >= 0 && store_clear_ahead_locked(store, path, true, err) && tw_file_remove(path, err);
}

bool tw_store_delete_record(struct tw_store *store, const char *kind, const char *key, struct tw_error *err) {
    return store_counted(delete_record(store, kind, key, err), "delete_record", err);
}

void store_record_key(const struct store_record *record, char ret_key[STORE_KEY_MAX + 1]) {
    memcpy(ret_key, record->key.data, record->key.len);
    ret_key[record->key.len] = 0;
}

bool store_list_kind(const struct tw_store *store, const char *kind,
                     bool (*visit)(void *context, const char *name), void *context, struct tw_error *err) {
    char folder[TW_STORE_PATH_MAX];
    struct tw_error failure = {};
    if (!store_check_kind(kind, err) || !store_path(store, folder, err, "records/%s", kind))
        return false;
    // Without the folder nothing of that kind was ever written.
    return tw_file_list(folder, visit, context, &failure) || failure.code == TW_ERR_NOT_FOUND ||
           tw_fail(err, failure.code, "%s", failure.message);
}

struct each_walk {
    const struct tw_store *store;
    const char *kind;
    bool (*visit)(void *context, const char *key, struct tw_span data, uint64_t version);
    void *context;
    struct tw_error *err;
    bool failed;
};

static bool visit_record(void *context, const char *name) {
    struct each_walk *walk = context;
    struct tw_digest digest;
    char path[TW_STORE_PATH_MAX], key[STORE_KEY_MAX + 1];
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    struct store_record record;
    struct tw_error read_error = {};
    if (!tw_digest_parse(tw_str_from(name), &digest))
        return true; // the lock, or a writer's temporary file
    walk->failed = !store_path(walk->store, path, walk->err, "records/%s/%s", walk->kind, name);
    if (walk->failed)
        return false;
    if (!store_record_read(path, &file, &record, &read_error)) {
        if (read_error.code == TW_ERR_NOT_FOUND)
            return true; // deleted since the folder was listed
        walk->failed = !tw_fail(walk->err, read_error.code, "%s", read_error.message);
        return false;
    }
    store_record_key(&record, key);
    return walk->visit(walk->context, key, record.data, record.version);
}

bool tw_store_each_record(struct tw_store *store, const char *kind,
                          bool (*visit)(void *context, const char *key, struct tw_span data,
                                        uint64_t version),
                          void *context, struct tw_error *err) {
    struct each_walk walk = {.store = store, .kind = kind, .visit = visit, .context = context, .err = err};
    return store_list_kind(store, kind, visit_record, &walk, err) && !walk.failed;
}

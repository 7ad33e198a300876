// SPDX-License-Identifier: Apache-2.0
//
// Records ahead: a record, and the blobs that it names, come to the disk while nobody knows yet whether it holds.
//
//     records/KIND/HEX.ahead  ──── keep: rename, no waiting ───▶  records/KIND/HEX
//              │  └──────────────── after a crash: recover ───────────▶ the same, or removed
//              └─ done without keep: removed, and the folder synced
//
// Readers see HEX only. A process that is killed leaves either name as it was: what is still ahead was never kept. A
// machine that fails may undo the rename, so what lies ahead after that may have been kept; whoever recovers it asks the
// owner. What makes that safe: HEX.ahead is complete and durable before anybody can keep it; it says which version it
// follows; and every other change of the record removes it, so that nothing older comes up after what was acknowledged.
// A change that lost it this way is put as if it had never been ahead.

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

static const char suffix[] = ".ahead";

// The store's thread's until it was joined, then the owner's.
struct tw_store_ahead {
    struct tw_store *store;
    struct tw_store_blob blobs[TW_STORE_TOGETHER_MAX];
    size_t count;
    const char *kind, *key; // borrowed; NULL: only blobs
    struct tw_span data;
    uint64_t expected_version;
    pthread_t thread;
    bool is_running, is_placed, is_durable;
    int fd; // of the file that is ahead, so that no other one gets its inode; -1: none
    char path[TW_STORE_PATH_MAX], ahead_path[TW_STORE_PATH_MAX];
};

static bool path_ahead(const char *path, char ret_path[TW_STORE_PATH_MAX], struct tw_error *err) {
    int len = snprintf(ret_path, TW_STORE_PATH_MAX, "%s%s", path, suffix);
    return (len > 0 && len < TW_STORE_PATH_MAX) ||
           tw_fail(err, TW_ERR_STORE, "the path %s is too long", path);
}

static uint64_t next_version(uint64_t expected_version) {
    return expected_version == UINT64_MAX ? 1 : expected_version + 1;
}

// ---- on the store's thread ----

static bool place(struct tw_store_ahead *ahead, struct tw_file_draft *record, struct tw_error *err) {
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(ahead->store, ahead->kind, err);
    ahead->is_placed = lock >= 0 && tw_file_place(record, err);
    return ahead->is_placed;
}

static bool begin_record(struct tw_store_ahead *ahead, struct tw_file_draft *record, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    char folder[TW_STORE_PATH_MAX];
    if (!store_record_path(ahead->store, ahead->kind, ahead->key, ahead->path, err) ||
        !path_ahead(ahead->path, ahead->ahead_path, err) ||
        !store_path(ahead->store, folder, err, "records/%s", ahead->kind) ||
        !tw_file_make_dirs(folder, 0755, err) ||
        !store_record_encode(&file, ahead->key, ahead->data, next_version(ahead->expected_version), err) ||
        !tw_file_begin(record, ahead->ahead_path, tw_buf_span(&file), 0644, err))
        return false;
    ahead->fd = fcntl(record->fd, F_DUPFD_CLOEXEC, 0);
    return ahead->fd >= 0 ||
           tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be held open", ahead->ahead_path);
}

// Two waits: for all bytes, for all names. No name waits for another one: what is ahead counts only once all of them are
// on the disk.
static bool bring(struct tw_store_ahead *ahead, struct store_blob_draft *drafts, struct tw_file_draft *record,
                  struct tw_error *err) {
    size_t count = ahead->count;
    bool has_record = ahead->kind != NULL;
    return store_blobs_begin(ahead->store, drafts, ahead->blobs, count, err) &&
           (!has_record || begin_record(ahead, record, err)) && store_blobs_sync(drafts, count, err) &&
           (!has_record || tw_file_sync(record, err)) && store_blobs_name(drafts, count, false, err) &&
           store_blobs_name(drafts, count, true, err) && (!has_record || place(ahead, record, err)) &&
           store_blobs_sync_names(ahead->store, drafts, count, false, err) &&
           store_blobs_sync_names(ahead->store, drafts, count, true, err) &&
           (!has_record || tw_file_sync_folder_of(ahead->path, err));
}

static void run(void *context) {
    struct tw_store_ahead *ahead = context;
    struct store_blob_draft drafts[TW_STORE_TOGETHER_MAX] = {};
    struct tw_file_draft record = {};
    struct tw_error ignored = {}; // whoever needs it puts it, and is told
    ahead->is_durable = bring(ahead, drafts, &record, &ignored) && ahead->kind;
    store_blobs_drop(drafts, ahead->count);
    tw_file_drop(&record);
}

// ---- the owner ----

struct tw_store_ahead *tw_store_ahead_start(struct tw_store *store, const struct tw_store_blob *blobs,
                                            size_t count, const char *kind, const char *key,
                                            struct tw_span data, uint64_t expected_version) {
    TW_ASSERT(count <= TW_STORE_TOGETHER_MAX && expected_version != TW_STORE_ANY);
    struct tw_store_ahead *ahead = tw_alloc_zero(1, sizeof *ahead);
    if (!ahead)
        return NULL;
    ahead->store = store;
    ahead->fd = -1;
    ahead->count = count;
    ahead->kind = kind;
    ahead->key = key;
    ahead->data = data;
    ahead->expected_version = expected_version;
    for (size_t i = 0; i < count; i++)
        ahead->blobs[i] = blobs[i];
    struct tw_error ignored = {};
    ahead->is_running = tw_thread_start(&ahead->thread, "tw-store", run, ahead, &ignored);
    return ahead;
}

static void join(struct tw_store_ahead *ahead) {
    if (ahead->is_running)
        tw_thread_join(ahead->thread);
    ahead->is_running = false;
}

// Another change may have put its own file there meanwhile.
static bool is_there(const char *path, int fd) {
    struct stat here, own;
    return stat(path, &here) == 0 && fstat(fd, &own) == 0 && here.st_dev == own.st_dev &&
           here.st_ino == own.st_ino;
}

static void close_fd(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static bool rename_ahead(const char *ahead_path, const char *path, struct tw_error *err) {
    struct tw_file_draft draft = {.path = path};
    snprintf(draft.temporary, sizeof draft.temporary, "%s", ahead_path);
    return tw_file_place(&draft, err);
}

bool tw_store_ahead_keep(struct tw_store_ahead *ahead, uint64_t *ret_version) {
    if (!ahead)
        return false;
    join(ahead);
    if (!ahead->is_durable)
        return false;
    struct tw_error ignored = {}; // it is put the other way then, which says what is wrong
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(ahead->store, ahead->kind, &ignored);
    uint64_t version;
    if (lock < 0 || !store_record_version(ahead->path, &version, &ignored) ||
        !store_check_version(ahead->kind, ahead->key, version, ahead->expected_version, &ignored) ||
        !is_there(ahead->ahead_path, ahead->fd) || !rename_ahead(ahead->ahead_path, ahead->path, &ignored))
        return false;
    ahead->is_placed = false;
    *ret_version = next_version(ahead->expected_version);
    return true;
}

bool store_revoke_ahead_locked(const char *path, struct tw_error *err) {
    char ahead_path[TW_STORE_PATH_MAX];
    if (!path_ahead(path, ahead_path, err))
        return false;
    if (unlink(ahead_path) == 0)
        return tw_file_sync_folder_of(path, err);
    return errno == ENOENT || tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be removed", ahead_path);
}

static bool take_back(const struct tw_store_ahead *ahead, struct tw_error *err) {
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(ahead->store, ahead->kind, err);
    // Synced though it may be gone: whoever removed it may have failed before that.
    return lock >= 0 && (is_there(ahead->ahead_path, ahead->fd) ? tw_file_remove(ahead->ahead_path, err)
                                                                : tw_file_sync_folder_of(ahead->path, err));
}

bool tw_store_ahead_done(struct tw_store_ahead *ahead, struct tw_error *err) {
    if (!ahead)
        return true;
    join(ahead);
    bool ok = !ahead->is_placed || take_back(ahead, err);
    close_fd(&ahead->fd);
    free(ahead);
    return store_counted(ok, "put_record", err);
}

// ---- what lies ahead ----

struct walk {
    const struct tw_store *store;
    const char *kind;
    bool (*visit)(struct walk *walk, const char *path, const char *ahead_path);
    union {
        bool (*each)(void *context, const char *key, struct tw_span data, uint64_t version);
        bool (*holds)(void *context, const char *key, struct tw_span data);
    };
    void *context;
    struct tw_error *err;
    bool failed, has_changed;
};

static bool visit_file(void *context, const char *name) {
    struct walk *walk = context;
    struct tw_digest digest;
    char path[TW_STORE_PATH_MAX], ahead_path[TW_STORE_PATH_MAX];
    size_t len = strlen(name), hex_len = TW_DIGEST_HEX_SIZE - 1;
    if (len != hex_len + sizeof suffix - 1 || strcmp(name + hex_len, suffix) != 0 ||
        !tw_digest_parse(tw_str_of(name, hex_len), &digest))
        return true;
    walk->failed =
        !store_path(walk->store, path, walk->err, "records/%s/%.*s", walk->kind, (int)hex_len, name) ||
        !path_ahead(path, ahead_path, walk->err) || !walk->visit(walk, path, ahead_path);
    return !walk->failed;
}

static bool walk_files(struct walk *walk) {
    char folder[TW_STORE_PATH_MAX];
    struct tw_error failure = {};
    if (!store_check_kind(walk->kind, walk->err) ||
        !store_path(walk->store, folder, walk->err, "records/%s", walk->kind))
        return false;
    if (tw_file_list(folder, visit_file, walk, &failure))
        return !walk->failed;
    return failure.code == TW_ERR_NOT_FOUND || tw_fail(walk->err, failure.code, "%s", failure.message);
}

static void copy_key(struct tw_str key, char ret_key[STORE_KEY_MAX + 1]) {
    memcpy(ret_key, key.data, key.len);
    ret_key[key.len] = 0;
}

// One that cannot be read was kept or taken back since the folder was listed, or is none.
static bool show(struct walk *walk, const char *path, const char *ahead_path) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    struct store_record record;
    struct tw_error ignored = {};
    char key[STORE_KEY_MAX + 1];
    (void)path;
    if (!store_record_read(ahead_path, &file, &record, &ignored))
        return true;
    copy_key(record.key, key);
    return walk->each(walk->context, key, record.data, record.version);
}

bool tw_store_each_ahead(struct tw_store *store, const char *kind,
                         bool (*visit)(void *context, const char *key, struct tw_span data, uint64_t version),
                         void *context, struct tw_error *err) {
    struct walk walk = {
        .store = store, .kind = kind, .visit = show, .each = visit, .context = context, .err = err};
    return walk_files(&walk);
}

// It follows the record as it is now, and its owner says that it holds.
static bool is_to_keep(const struct walk *walk, const char *path, const char *ahead_path) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    struct store_record record;
    struct tw_error ignored = {};
    uint64_t version;
    char key[STORE_KEY_MAX + 1];
    if (!store_record_read(ahead_path, &file, &record, &ignored) ||
        !store_record_version(path, &version, &ignored) || record.version != version + 1)
        return false;
    copy_key(record.key, key);
    return walk->holds(walk->context, key, record.data);
}

static bool settle(struct walk *walk, const char *path, const char *ahead_path) {
    [[gnu::cleanup(close_fd)]] int fd = open(ahead_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) // its owner lives, in another server, and was quicker; as below
        return errno == ENOENT ||
               tw_fail_errno(walk->err, TW_ERR_STORE, errno, "%s could not be opened", ahead_path);
    bool keeps = is_to_keep(walk, path, ahead_path);
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(walk->store, walk->kind, walk->err);
    if (lock < 0 || !is_there(ahead_path, fd))
        return lock >= 0;
    walk->has_changed = true;
    return keeps ? rename_ahead(ahead_path, path, walk->err) : tw_file_remove(ahead_path, walk->err);
}

bool tw_store_recover(struct tw_store *store, const char *kind,
                      bool (*holds)(void *context, const char *key, struct tw_span data), void *context,
                      struct tw_error *err) {
    struct walk walk = {
        .store = store, .kind = kind, .visit = settle, .holds = holds, .context = context, .err = err};
    char path[TW_STORE_PATH_MAX];
    bool ok = walk_files(&walk) &&
              (!walk.has_changed ||
               (store_path(store, path, err, "records/%s/.", kind) && tw_file_sync_folder_of(path, err)));
    return store_counted(ok, "recover", err);
}

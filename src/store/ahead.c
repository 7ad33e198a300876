// SPDX-License-Identifier: Apache-2.0
//
// Records ahead: a record, and the blobs that it names, come to the disk while nobody knows yet whether it holds.
//
//     records/KIND/HEX.ahead: the record and its blobs in one file, on the disk after one commit of it
//              ├─ keep: blobs and record get their own names, nobody waits ──▶ settle.c brings them to the disk, the file goes
//              ├─ done without keep: removed, and the folder synced
//              └─ after a crash: recover.c does the one or the other
//
// Readers see HEX and the blobs only. A process that is killed leaves all names as they were: what it kept has its record in
// HEX. A machine that fails may undo that, so what lies ahead after that may have been kept; whoever recovers it asks the
// owner. What makes that safe: HEX.ahead is whole and durable before anybody can keep it; it says which version it
// follows; it stays until all that it holds is durable elsewhere; and every other change of the record ends it first,
// so that nothing older comes up after what was acknowledged. A change that lost it this way is put as if it had never been
// ahead.

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

bool store_path_ahead(const char *path, char ret_path[TW_STORE_PATH_MAX], struct tw_error *err) {
    int len = snprintf(ret_path, TW_STORE_PATH_MAX, "%s.ahead", path);
    return (len > 0 && len < TW_STORE_PATH_MAX) ||
           tw_fail(err, TW_ERR_STORE, "the path %s is too long", path);
}

// Another change may have put its own file there meanwhile.
bool store_is_file_at(const char *path, int fd) {
    struct stat here, own;
    return stat(path, &here) == 0 && fstat(fd, &own) == 0 && here.st_dev == own.st_dev &&
           here.st_ino == own.st_ino;
}

static uint64_t next_version(uint64_t expected_version) {
    return expected_version == UINT64_MAX ? 1 : expected_version + 1;
}

// ---- on the store's thread ----

// Only blobs: whoever names them finds them there.
static bool bring_blobs(struct tw_store_ahead *ahead, struct tw_error *err) {
    return store_blobs_begin(ahead->store, ahead->drafts, ahead->blobs, ahead->count, false, err) &&
           store_blobs_finish(ahead->store, ahead->drafts, ahead->count, err);
}

static bool find_places(struct tw_store_ahead *ahead, struct tw_error *err) {
    char folder[TW_STORE_PATH_MAX];
    return store_record_path(ahead->store, ahead->kind, ahead->key, ahead->path, err) &&
           store_path_ahead(ahead->path, ahead->ahead_path, err) &&
           store_path(ahead->store, folder, err, "records/%s", ahead->kind) &&
           tw_file_make_dirs(folder, 0755, err);
}

static bool encode(const struct tw_store_ahead *ahead, const struct tw_buf *record, struct tw_buf *file,
                   struct tw_error *err) {
    struct tw_store_blob missing[TW_STORE_TOGETHER_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ahead->count; i++) {
        if (!store_blob_is_durable(ahead->store, &ahead->blobs[i]))
            missing[count++] = ahead->blobs[i];
    }
    return store_pack_encode(file, record, missing, count, err);
}

static bool place(struct tw_store_ahead *ahead, struct tw_file_draft *pack, struct tw_error *err) {
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(ahead->store, ahead->kind, err);
    ahead->fd = lock >= 0 ? fcntl(pack->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (lock >= 0 && ahead->fd < 0)
        tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be held open", ahead->ahead_path);
    ahead->is_placed = ahead->fd >= 0 && store_clear_ahead_locked(ahead->store, ahead->path, false, err) &&
                       tw_file_place(pack, err);
    return ahead->is_placed;
}

// The name comes before the bytes, so that one commit of the file system holds both: what is not whole counts for nothing.
static bool bring_pack(struct tw_store_ahead *ahead, const struct tw_buf *record, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    [[gnu::cleanup(tw_file_drop)]] struct tw_file_draft pack = {};
    return encode(ahead, record, &file, err) &&
           tw_file_begin(&pack, ahead->ahead_path, tw_buf_span(&file), 0644, err) &&
           place(ahead, &pack, err) && tw_file_sync(&pack, err) &&
           tw_file_sync_folder_of(ahead->ahead_path, err);
}

// What keeping only has to name.
static bool bring(struct tw_store_ahead *ahead, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf record = {};
    return find_places(ahead, err) &&
           store_record_encode(&record, ahead->key, ahead->data, next_version(ahead->expected_version),
                               err) &&
           bring_pack(ahead, &record, err) &&
           store_blobs_begin(ahead->store, ahead->drafts, ahead->blobs, ahead->count, true, err) &&
           tw_file_begin(&ahead->record, ahead->path, tw_buf_span(&record), 0644, err);
}

static void run(struct tw_task *task) {
    struct tw_store_ahead *ahead = (struct tw_store_ahead *)task;
    struct store_bringers *bringers = &ahead->store->bringers;
    tw_thread_go_first();         // its owner waits for it
    struct tw_error ignored = {}; // whoever needs it puts it, and is told
    if (ahead->kind[0])
        ahead->is_durable = bring(ahead, &ignored);
    else
        (void)bring_blobs(ahead, &ignored);
    {
        TW_LOCK_SCOPE(&bringers->lock);
        ahead->is_running = false; // and its owner's
    }
    tw_cond_wake_all(&bringers->ended);
}

static void submit(struct store_bringers *bringers, struct tw_store_ahead *ahead) {
    struct tw_error ignored = {};
    TW_LOCK_SCOPE(&bringers->lock);
    if (!bringers->pool)
        bringers->pool = tw_pool_new("tw-store", STORE_AHEAD_THREADS, STORE_AHEAD_QUEUE, &ignored);
    ahead->task.run = run;
    ahead->is_running = bringers->pool && tw_pool_submit(bringers->pool, &ahead->task, &ignored);
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
    ahead->fd = ahead->replaced_fd = -1;
    ahead->count = count;
    TW_ASSERT(!kind || strlen(kind) <= STORE_KIND_MAX); // kinds are ours
    snprintf(ahead->kind, sizeof ahead->kind, "%s", kind ? kind : "");
    ahead->key = key;
    ahead->data = data;
    ahead->expected_version = expected_version;
    for (size_t i = 0; i < count; i++)
        ahead->blobs[i] = (struct tw_store_blob){.data = blobs[i].data, .digest = blobs[i].digest};
    submit(&store->bringers, ahead); // else it comes to nothing
    return ahead;
}

static void join(const struct tw_store_ahead *ahead) {
    struct store_bringers *bringers = &ahead->store->bringers;
    TW_LOCK_SCOPE(&bringers->lock);
    while (ahead->is_running)
        tw_cond_wait(&bringers->ended, &bringers->lock, TW_NO_DEADLINE);
}

void store_bringers_init(struct store_bringers *bringers) {
    tw_lock_init(&bringers->lock);
    tw_cond_init(&bringers->ended);
}

void store_bringers_done(struct store_bringers *bringers) {
    if (bringers->pool)
        tw_pool_free(bringers->pool);
    tw_cond_done(&bringers->ended);
    tw_lock_done(&bringers->lock);
}

int tw_store_ahead_open(struct tw_store_ahead *ahead, size_t blob) {
    if (!ahead)
        return -1;
    join(ahead);
    if (!ahead->is_durable || blob >= ahead->count)
        return -1;
    const struct store_blob_draft *draft = &ahead->drafts[blob];
    return open(draft->file.is_there ? draft->file.temporary : draft->path, O_RDONLY | O_CLOEXEC);
}

// The record that is replaced is held open: a file system frees its file when the last one lets it go, and may wait for
// the disk then, which is the settler's to do.
static bool name_all(struct tw_store_ahead *ahead, struct tw_error *err) {
    ahead->is_named = true;
    ahead->replaced_fd = open(ahead->path, O_RDONLY | O_CLOEXEC);
    return store_blobs_name(ahead->drafts, ahead->count, false, err) && tw_file_place(&ahead->record, err);
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
        !store_is_file_at(ahead->ahead_path, ahead->fd) || !name_all(ahead, &ignored))
        return false;
    ahead->is_kept = true;
    *ret_version = next_version(ahead->expected_version);
    return true;
}

static bool take_back(const struct tw_store_ahead *ahead, struct tw_error *err) {
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(ahead->store, ahead->kind, err);
    // Blobs that got their names may be another's by now, who relies on this file.
    if (lock < 0 || (ahead->is_named && !store_blobs_settle(ahead->store, ahead->drafts, ahead->count, err)))
        return false;
    // Synced though it may be gone: whoever removed it may have failed before that.
    return store_is_file_at(ahead->ahead_path, ahead->fd) ? tw_file_remove(ahead->ahead_path, err)
                                                          : tw_file_sync_folder_of(ahead->path, err);
}

void store_ahead_free(struct tw_store_ahead *ahead) {
    store_blobs_drop(ahead->drafts, ahead->count);
    tw_file_drop(&ahead->record);
    const int fds[] = {ahead->fd, ahead->replaced_fd};
    for (size_t i = 0; i < TW_COUNT(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(ahead);
}

bool tw_store_ahead_done(struct tw_store_ahead *ahead, struct tw_error *err) {
    if (!ahead)
        return true;
    join(ahead);
    if (ahead->is_kept) {
        store_settle_later(ahead);
        return true;
    }
    bool ok = !ahead->is_placed || take_back(ahead, err);
    store_ahead_free(ahead);
    return store_counted(ok, "put_record", err);
}

// SPDX-License-Identifier: Apache-2.0
//
// What lies ahead of records and has no owner any more, or another one: its file alone says what there is to do.
//
//     HEX.ahead has version v      HEX has
//     the same record              it was kept: it is brought to its places once more, durably, and goes
//     version v - 1                its owner lives, or a crash ended it: it counts if its owner says so (tw_store_recover)
//     something unreadable         it was kept, and a machine failed before HEX's bytes were on the disk: as the first
//     anything else                it follows something that never came to be, or something followed it: it goes
//
// A file that is not whole was never waited for, and goes.

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

enum standing { STANDING_STALE, STANDING_NEXT, STANDING_KEPT, STANDING_LOST };

static bool find_standing(const char *path, const struct store_pack *pack, enum standing *ret_standing,
                          struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file;
    struct store_record record = {};
    struct tw_error failure = {}, damage = {};
    tw_buf_init(&file, STORE_PACK_MAX);
    bool is_there = tw_file_read(path, &file, &failure);
    if (!is_there && failure.code != TW_ERR_NOT_FOUND)
        return tw_fail(err, failure.code, "%s", failure.message);
    if (is_there && !store_record_decode(tw_buf_span(&file), path, &record, &damage))
        *ret_standing = STANDING_LOST;
    else if (tw_str_equal(tw_buf_str(&file),
                          tw_str_of((const char *)pack->record_bytes.data, pack->record_bytes.len)))
        *ret_standing = STANDING_KEPT;
    else
        *ret_standing = record.version + 1 == pack->record.version ? STANDING_NEXT : STANDING_STALE;
    return true;
}

static bool restore_blobs(const struct tw_store *store, const struct tw_store_blob *blobs, size_t count,
                          struct tw_error *err) {
    struct store_blob_draft drafts[TW_STORE_TOGETHER_MAX] = {};
    bool ok = store_blobs_begin(store, drafts, blobs, count, false, err) &&
              store_blobs_finish(store, drafts, count, err);
    store_blobs_drop(drafts, count);
    return ok;
}

// Its owner may have ended between naming its blobs and its record, and others may rely on those names.
static bool restore_loose(const struct tw_store *store, const struct store_pack *pack, struct tw_error *err) {
    struct tw_store_blob loose[TW_STORE_TOGETHER_MAX];
    size_t count = 0;
    for (size_t i = 0; i < pack->count; i++) {
        if (store_blob_is_loose(store, &pack->blobs[i]))
            loose[count++] = pack->blobs[i];
    }
    return restore_blobs(store, loose, count, err);
}

static bool restore(const struct tw_store *store, const char *path, const struct store_pack *pack,
                    struct tw_error *err) {
    return restore_blobs(store, pack->blobs, pack->count, err) &&
           tw_file_write(path, pack->record_bytes, 0644, err);
}

// While machines go on nothing is lost, and what cannot be read cannot be replaced.
static bool clear(const struct tw_store *store, const char *path, const struct store_pack *pack,
                  struct tw_error *err) {
    enum standing standing;
    return find_standing(path, pack, &standing, err) &&
           (standing == STANDING_KEPT ? restore(store, path, pack, err) : restore_loose(store, pack, err));
}

bool store_clear_ahead_locked(const struct tw_store *store, const char *path, bool revokes,
                              struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    char ahead_path[TW_STORE_PATH_MAX];
    struct store_pack pack;
    struct tw_error failure = {};
    if (!store_path_ahead(path, ahead_path, err))
        return false;
    bool is_whole = store_pack_read(ahead_path, &file, &pack, &failure);
    if (!is_whole && failure.code == TW_ERR_NOT_FOUND)
        return true;
    return (!is_whole || clear(store, path, &pack, err)) && (!revokes || tw_file_remove(ahead_path, err));
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
    bool failed;
};

static bool visit_file(void *context, const char *name) {
    struct walk *walk = context;
    struct tw_digest digest;
    char path[TW_STORE_PATH_MAX], ahead_path[TW_STORE_PATH_MAX], file[TW_STORE_PATH_MAX];
    size_t hex_len = TW_DIGEST_HEX_SIZE - 1;
    if (strlen(name) <= hex_len || !tw_digest_parse(tw_str_of(name, hex_len), &digest))
        return true;
    walk->failed =
        !store_path(walk->store, path, walk->err, "records/%s/%.*s", walk->kind, (int)hex_len, name) ||
        !store_path(walk->store, file, walk->err, "records/%s/%s", walk->kind, name) ||
        !store_path_ahead(path, ahead_path, walk->err) ||
        (strcmp(file, ahead_path) == 0 && !walk->visit(walk, path, ahead_path));
    return !walk->failed;
}

static bool walk_files(struct walk *walk) {
    return store_list_kind(walk->store, walk->kind, visit_file, walk, walk->err) && !walk->failed;
}

// One that cannot be read was settled or taken back since the folder was listed, or is none.
static bool show(struct walk *walk, const char *path, const char *ahead_path) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    struct store_pack pack;
    struct tw_error ignored = {};
    char key[STORE_KEY_MAX + 1];
    (void)path;
    if (!store_pack_read(ahead_path, &file, &pack, &ignored))
        return true;
    store_record_key(&pack.record, key);
    return walk->each(walk->context, key, pack.record.data, pack.record.version);
}

bool tw_store_each_ahead(struct tw_store *store, const char *kind,
                         bool (*visit)(void *context, const char *key, struct tw_span data, uint64_t version),
                         void *context, struct tw_error *err) {
    struct walk walk = {
        .store = store, .kind = kind, .visit = show, .each = visit, .context = context, .err = err};
    return walk_files(&walk);
}

// Its owner has what it names when it is asked.
static bool ask(const struct walk *walk, const struct store_pack *pack, bool *ret_holds) {
    char key[STORE_KEY_MAX + 1];
    if (!restore_blobs(walk->store, pack->blobs, pack->count, walk->err))
        return false;
    store_record_key(&pack->record, key);
    *ret_holds = walk->holds(walk->context, key, pack->record.data);
    return true;
}

static bool end(const struct walk *walk, const char *path, const char *ahead_path, int fd,
                const struct store_pack *pack, bool holds) {
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(walk->store, walk->kind, walk->err);
    enum standing standing = STANDING_STALE;
    if (lock < 0 || !store_is_file_at(ahead_path, fd)) // its owner lives, in another server, and was quicker
        return lock >= 0;
    if (pack && !find_standing(path, pack, &standing, walk->err))
        return false;
    bool counts =
        standing == STANDING_KEPT || standing == STANDING_LOST || (standing == STANDING_NEXT && holds);
    return (!counts || restore(walk->store, path, pack, walk->err)) && tw_file_remove(ahead_path, walk->err);
}

static void close_fd(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static bool recover(struct walk *walk, const char *path, const char *ahead_path) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf file = {};
    [[gnu::cleanup(close_fd)]] int fd = open(ahead_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ||
               tw_fail_errno(walk->err, TW_ERR_STORE, errno, "%s could not be opened", ahead_path);
    struct store_pack pack;
    struct tw_error damage = {};
    enum standing standing;
    bool holds = false;
    if (!store_pack_read(ahead_path, &file, &pack, &damage))
        return end(walk, path, ahead_path, fd, NULL, false);
    return find_standing(path, &pack, &standing, walk->err) &&
           (standing != STANDING_NEXT || ask(walk, &pack, &holds)) &&
           end(walk, path, ahead_path, fd, &pack, holds);
}

bool tw_store_recover(struct tw_store *store, const char *kind,
                      bool (*holds)(void *context, const char *key, struct tw_span data), void *context,
                      struct tw_error *err) {
    struct walk walk = {
        .store = store, .kind = kind, .visit = recover, .holds = holds, .context = context, .err = err};
    return store_counted(walk_files(&walk), "recover", err);
}

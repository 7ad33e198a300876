// SPDX-License-Identifier: Apache-2.0
//
// Blobs: bytes named by their sha256. Writing one that is there already costs a digest and a stat; a blob is
// never changed.

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

void tw_store_blob_path(const struct tw_store *store, const struct tw_digest *digest,
                        char ret_path[TW_STORE_PATH_MAX]) {
    char hex[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(digest, hex);
    // store->path is at most half of ret_path, so this always fits.
    snprintf(ret_path, TW_STORE_PATH_MAX, "%s/blobs/%.2s/%s", store->path, hex, hex);
}

static uint64_t length_of(const struct tw_span *parts, size_t count) {
    uint64_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    return len;
}

enum { MODE_DURABLE = 0444, MODE_LOOSE = 0644 };

// What is loose was named by a record ahead that did not get further yet, or never will: it counts as not there, and
// another one of the same bytes may take its place.
static bool is_durable(const char *path, uint64_t len) {
    struct stat status;
    if (stat(path, &status) != 0 || (uint64_t)status.st_size != len || (status.st_mode & S_IWUSR))
        return false;
    // Younger than any collection that runs now: it must not be taken for unused.
    (void)utimensat(AT_FDCWD, path, NULL, 0);
    return true;
}

bool store_blob_is_durable(const struct tw_store *store, const struct tw_store_blob *blob) {
    char path[TW_STORE_PATH_MAX];
    tw_store_blob_path(store, &blob->digest, path);
    return is_durable(path, blob->data.len);
}

bool store_blob_is_loose(const struct tw_store *store, const struct tw_store_blob *blob) {
    char path[TW_STORE_PATH_MAX];
    struct stat status;
    tw_store_blob_path(store, &blob->digest, path);
    return stat(path, &status) == 0 && (status.st_mode & S_IWUSR);
}

// Whatever mask the process has.
static bool set_mode(const struct store_blob_draft *draft, mode_t mode, struct tw_error *err) {
    return fchmod(draft->file.fd, mode) == 0 ||
           tw_fail_errno(err, TW_ERR_STORE, errno, "the mode of %s could not be changed", draft->path);
}

// One of at least one part; what follows the first comes behind it.
static bool begin(const struct tw_store *store, struct store_blob_draft *draft,
                  const struct tw_digest *digest, const struct tw_span *parts, size_t count,
                  struct tw_error *err) {
    uint64_t len = length_of(parts, count);
    tw_store_blob_path(store, digest, draft->path);
    if (is_durable(draft->path, len))
        return true;
    char folder[TW_STORE_PATH_MAX];
    bool is_made;
    if (!store_path(store, folder, err, "blobs/%02x", digest->bytes[0]) ||
        !tw_file_make_dir(folder, 0755, &is_made, err) ||
        !tw_file_begin(&draft->file, draft->path, parts[0], MODE_DURABLE, err))
        return tw_wrap(err, "storing %" PRIu64 " bytes", len);
    for (size_t i = 1; i < count; i++) {
        if (!tw_file_append(&draft->file, parts[i], err))
            return tw_wrap(err, "storing %" PRIu64 " bytes", len);
    }
    draft->is_new = true;
    return true;
}

bool store_blobs_begin(const struct tw_store *store, struct store_blob_draft *drafts,
                       const struct tw_store_blob *blobs, size_t count, bool is_loose, struct tw_error *err) {
    for (size_t i = 0; i < count; i++) {
        drafts[i].is_remade = blobs[i].is_remade;
        if (!begin(store, &drafts[i], &blobs[i].digest, &blobs[i].data, 1, err) ||
            (is_loose && drafts[i].is_new && !set_mode(&drafts[i], MODE_LOOSE, err)))
            return false;
    }
    return true;
}

bool store_blobs_sync(const struct store_blob_draft *drafts, size_t count, struct tw_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (drafts[i].is_new && !tw_file_sync(&drafts[i].file, err))
            return false;
    }
    return true;
}

bool store_blobs_name(struct store_blob_draft *drafts, size_t count, bool is_remade, struct tw_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (drafts[i].is_new && drafts[i].is_remade == is_remade && !tw_file_place(&drafts[i].file, err))
            return false;
    }
    return true;
}

// The folders' names as well: whoever made them may not have come to that yet.
static bool sync_folders(const struct tw_store *store, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    return store_path(store, path, err, "blobs/.") && tw_file_sync_folder_of(path, err);
}

bool store_blobs_sync_names(const struct tw_store *store, const struct store_blob_draft *drafts, size_t count,
                            bool is_remade, struct tw_error *err) {
    bool is_any_new = false;
    for (size_t i = 0; i < count; i++) {
        if (!drafts[i].is_new || drafts[i].is_remade != is_remade)
            continue;
        is_any_new = true;
        if (!tw_file_sync_folder_of(drafts[i].path, err))
            return false;
    }
    return !is_any_new || sync_folders(store, err);
}

bool store_blobs_finish(const struct tw_store *store, struct store_blob_draft *drafts, size_t count,
                        struct tw_error *err) {
    return store_blobs_sync(drafts, count, err) && store_blobs_name(drafts, count, false, err) &&
           store_blobs_sync_names(store, drafts, count, false, err);
}

bool store_blobs_settle(const struct tw_store *store, const struct store_blob_draft *drafts, size_t count,
                        struct tw_error *err) {
    if (!store_blobs_sync(drafts, count, err) || !store_blobs_sync_names(store, drafts, count, false, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (drafts[i].is_new && !set_mode(&drafts[i], MODE_DURABLE, err))
            return false;
    }
    return true;
}

void store_blobs_drop(struct store_blob_draft *drafts, size_t count) {
    for (size_t i = 0; i < count; i++)
        tw_file_drop(&drafts[i].file);
}

static bool put_blob(struct tw_store *store, const struct tw_span *parts, size_t count,
                     struct tw_digest *ret_digest, struct tw_error *err) {
    struct tw_digest digest = tw_sha256_parts(parts, count);
    struct store_blob_draft draft = {};
    bool ok = begin(store, &draft, &digest, parts, count, err) && store_blobs_finish(store, &draft, 1, err);
    store_blobs_drop(&draft, 1);
    if (ok)
        *ret_digest = digest;
    return ok;
}

bool tw_store_put_blob(struct tw_store *store, struct tw_span data, struct tw_digest *ret_digest,
                       struct tw_error *err) {
    return tw_store_put_blob_parts(store, &data, 1, ret_digest, err);
}

bool tw_store_put_blob_parts(struct tw_store *store, const struct tw_span *parts, size_t count,
                             struct tw_digest *ret_digest, struct tw_error *err) {
    return store_counted(put_blob(store, parts, count, ret_digest, err), "put_blob", err);
}

static bool map_blob(struct tw_store *store, const struct tw_digest *digest, struct tw_mapping *ret_mapping,
                     struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    tw_store_blob_path(store, digest, path);
    struct tw_mapping mapping;
    if (!tw_file_map(path, &mapping, err))
        return false;
    struct tw_digest found = tw_sha256(tw_span_of(mapping.data, mapping.len));
    if (!tw_digest_equal(&found, digest)) {
        tw_file_unmap(&mapping);
        return tw_fail(err, TW_ERR_STORE,
                       "a blob's bytes do not match its name; the disk or someone changed %s", path);
    }
    *ret_mapping = mapping;
    return true;
}

bool tw_store_map_blob(struct tw_store *store, const struct tw_digest *digest, struct tw_mapping *ret_mapping,
                       struct tw_error *err) {
    return store_counted(map_blob(store, digest, ret_mapping, err), "map_blob", err);
}

struct collect_walk {
    struct tw_store *store;
    const char *folder;
    int64_t oldest_s; // blobs changed after this are left alone
    bool (*is_used)(void *context, const struct tw_digest *digest);
    void *context;
    uint64_t removed;
    struct tw_error *err;
    bool failed;
};

static bool collect_blob(void *context, const char *name) {
    struct collect_walk *walk = context;
    struct tw_digest digest;
    char path[TW_STORE_PATH_MAX];
    struct stat status;
    if (!tw_digest_parse(tw_str_from(name), &digest))
        return true; // a temporary file of a writer
    tw_store_blob_path(walk->store, &digest, path);
    if (stat(path, &status) != 0 || status.st_mtime > walk->oldest_s || walk->is_used(walk->context, &digest))
        return true;
    walk->failed = !tw_file_remove(path, walk->err);
    walk->removed += !walk->failed;
    return !walk->failed;
}

static bool collect_folder(void *context, const char *name) {
    struct collect_walk *walk = context;
    char path[TW_STORE_PATH_MAX];
    walk->failed = !store_path(walk->store, path, walk->err, "blobs/%s", name) ||
                   !tw_file_list(path, collect_blob, walk, walk->err) || walk->failed;
    return !walk->failed;
}

bool tw_store_collect(struct tw_store *store, int64_t grace_s,
                      bool (*is_used)(void *context, const struct tw_digest *digest), void *context,
                      uint64_t *ret_removed, struct tw_error *err) {
    struct collect_walk walk = {.store = store,
                                .oldest_s = tw_clock_wall_ns() / TW_NS_PER_S - grace_s,
                                .is_used = is_used,
                                .context = context,
                                .err = err};
    char path[TW_STORE_PATH_MAX];
    if (!store_path(store, path, err, "blobs") || !tw_file_list(path, collect_folder, &walk, err) ||
        walk.failed)
        return tw_wrap(err, "collecting unused blobs");
    *ret_removed = walk.removed;
    return true;
}

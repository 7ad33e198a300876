// SPDX-License-Identifier: Apache-2.0
//
// Opening a data folder: making it on the first start, refusing one of another format, checking that it can
// be written.

#include "store/store.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"
#include "telemetry/telemetry.h"

static const char format_text[] = "tensor-wasm-store 1\n";

bool store_path(const struct tw_store *store, char ret_path[TW_STORE_PATH_MAX], struct tw_error *err,
                const char *format, ...) {
    int head = snprintf(ret_path, TW_STORE_PATH_MAX, "%s/", store->path);
    va_list args;
    va_start(args, format);
    int tail = vsnprintf(ret_path + head, TW_STORE_PATH_MAX - (size_t)head, format, args);
    va_end(args);
    if (tail < 0 || head + tail >= TW_STORE_PATH_MAX)
        return tw_fail(err, TW_ERR_STORE, "a path in the data folder is longer than %d bytes",
                       TW_STORE_PATH_MAX);
    return true;
}

bool store_counted(bool ok, const char *operation, const struct tw_error *err) {
    if (!ok && err && err->code == TW_ERR_STORE)
        tw_metric_add(TW_METRIC_STORE_ERRORS, (struct tw_labels){.values = {operation}}, 1);
    return ok;
}

// The folder that ":memory:" stands for: private, and removed when the store is closed.
static bool make_temporary(struct tw_store *store, struct tw_error *err) {
    const char *base = getenv("TMPDIR");
    int len =
        snprintf(store->path, sizeof store->path, "%s/tensor-wasm-XXXXXX", base && *base ? base : "/tmp");
    if (len < 0 || (size_t)len >= sizeof store->path)
        return tw_fail(err, TW_ERR_STORE, "TMPDIR is too long");
    if (!mkdtemp(store->path))
        return tw_fail_errno(err, TW_ERR_STORE, errno, "cannot make a temporary data folder in %s",
                             base ? base : "/tmp");
    store->is_temporary = true;
    return true;
}

static bool check_format(struct tw_store *store, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    if (!store_path(store, path, err, "FORMAT"))
        return false;
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf text;
    tw_buf_init(&text, 4096);
    struct tw_error read_error = {};
    if (!tw_file_read(path, &text, &read_error)) {
        if (read_error.code == TW_ERR_NOT_FOUND)
            return tw_file_write(path, tw_span_of(format_text, sizeof format_text - 1), 0644, err);
        return tw_fail(err, TW_ERR_STORE, "%s", read_error.message);
    }
    if (!tw_str_equal(tw_buf_str(&text), tw_str_from(format_text)))
        return tw_fail(err, TW_ERR_STORE,
                       "%s is not a data folder of this version (it says '%.40s', '%.20s' is wanted)",
                       store->path, (const char *)text.data, format_text);
    return true;
}

static bool prepare(struct tw_store *store, struct tw_error *err) {
    static const char *const folders[] = {"blobs", "records"};
    for (size_t i = 0; i < TW_COUNT(folders); i++) {
        char path[TW_STORE_PATH_MAX];
        if (!store_path(store, path, err, "%s", folders[i]) || !tw_file_make_dirs(path, 0755, err))
            return false;
    }
    return check_format(store, err);
}

struct tw_store *tw_store_open(const char *data_dir, struct tw_error *err) {
    struct tw_store *store = tw_alloc_zero(1, sizeof *store);
    if (!store) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    store_settler_init(&store->settler);
    store_bringers_init(&store->bringers);
    bool ok;
    if (strcmp(data_dir, ":memory:") == 0) {
        ok = make_temporary(store, err);
    } else {
        int len = snprintf(store->path, sizeof store->path, "%s", data_dir);
        ok = len > 0 && (size_t)len < sizeof store->path;
        if (!ok)
            tw_fail(err, TW_ERR_STORE, "the data folder's path is empty or longer than %zu bytes",
                    sizeof store->path);
    }
    if (ok && prepare(store, err))
        return store;
    tw_wrap(err, "opening the data folder");
    tw_store_close(store);
    return NULL;
}

const char *tw_store_path(const struct tw_store *store) {
    return store->path;
}

struct remove_walk {
    const char *folder;
    int depth;
};

static bool remove_entry(void *context, const char *name) {
    const struct remove_walk *walk = context;
    char path[TW_STORE_PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s", walk->folder, name);
    if (len < 0 || (size_t)len >= sizeof path || unlink(path) == 0)
        return true;
    if (errno == EISDIR && walk->depth > 0) {
        struct remove_walk inner = {.folder = path, .depth = walk->depth - 1};
        struct tw_error ignored = {};
        if (tw_file_list(path, remove_entry, &inner, &ignored))
            (void)rmdir(path);
    }
    return true;
}

void tw_store_close(struct tw_store *store) {
    if (!store)
        return;
    store_bringers_done(&store->bringers);
    store_settler_done(&store->settler);
    if (store->is_temporary) {
        // The deepest path is data/artifacts/ab/HEX.
        struct remove_walk walk = {.folder = store->path, .depth = 4};
        struct tw_error ignored = {};
        if (tw_file_list(store->path, remove_entry, &walk, &ignored))
            (void)rmdir(store->path);
    }
    free(store);
}

bool tw_store_check(struct tw_store *store, struct tw_error *err) {
    char path[TW_STORE_PATH_MAX];
    if (!store_path(store, path, err, "records/.check-%d", (int)getpid()))
        return false;
    return store_counted(tw_file_write(path, tw_span_of("ok\n", 3), 0644, err) && tw_file_remove(path, err),
                         "check", err);
}

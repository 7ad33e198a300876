// SPDX-License-Identifier: Apache-2.0
//
// What a machine that fails at any moment leaves: this program's own fsync and rename stand before the C library's, write
// down what was done in which order, and then do it. Bytes are on the disk once their file was synced, a name once its
// folder was synced after it was given; a name may get there sooner, of itself.

#include "harness/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/store.h"

enum { STEPS_MAX = 64, PATH_SIZE = 256 };

struct step {
    bool is_rename;
    char from[PATH_SIZE], path[PATH_SIZE]; // of a rename: both; of a sync: `path`
};
static struct step steps[STEPS_MAX];
static size_t step_count;
static struct tw_error err;

static struct step *next_step(void) {
    ck_assert_uint_lt(step_count, STEPS_MAX);
    struct step *step = &steps[step_count++];
    *step = (struct step){};
    return step;
}

int fsync(int fd) {
    char link[64];
    struct step *step = next_step();
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ck_assert_int_gt(readlink(link, step->path, PATH_SIZE - 1), 0);
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
    struct step *step = next_step();
    step->is_rename = true;
    snprintf(step->from, PATH_SIZE, "%s", from);
    snprintf(step->path, PATH_SIZE, "%s", to);
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static bool is_synced(const char *path, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (!steps[i].is_rename && strcmp(steps[i].path, path) == 0)
            return true;
    }
    return false;
}

// Which step gives something below that folder its name; STEPS_MAX: none.
static size_t find_rename(const char *part) {
    for (size_t i = 0; i < step_count; i++) {
        if (steps[i].is_rename && strstr(steps[i].path, part))
            return i;
    }
    return STEPS_MAX;
}

static bool are_bytes_safe(size_t renamed) {
    return is_synced(steps[renamed].from, 0, renamed);
}

// Before step `at`.
static bool is_name_safe(size_t renamed, size_t at) {
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", steps[renamed].path);
    *strrchr(folder, '/') = 0;
    return is_synced(folder, renamed + 1, at);
}

static size_t find_blob(struct tw_span bytes) {
    char hex[TW_DIGEST_HEX_SIZE];
    struct tw_digest digest = tw_sha256(bytes);
    tw_digest_hex(&digest, hex);
    return find_rename(hex);
}

static const struct tw_span module = {(const uint8_t *)"the module", 10},
                            image = {(const uint8_t *)"its image", 9};

static void store_both(struct tw_store *store) {
    const struct tw_store_blob blobs[] = {
        {.data = module, .digest = tw_sha256(module)},
        {.data = image, .digest = tw_sha256(image), .is_remade = true},
    };
    uint64_t version;
    tw_assert_ok(tw_store_put_together(store, blobs, TW_COUNT(blobs), "test", "a", tw_span_of("{}", 2),
                                       UINT64_MAX, &version, &err),
                 &err);
}

static void check_order(void) {
    size_t module_at = find_blob(module), image_at = find_blob(image),
           record_at = find_rename("/records/test/");
    ck_assert(module_at < STEPS_MAX && image_at < STEPS_MAX && record_at < STEPS_MAX);
    ck_assert(are_bytes_safe(module_at) && are_bytes_safe(image_at) && are_bytes_safe(record_at));
    ck_assert(module_at < record_at && is_name_safe(module_at, record_at));
    ck_assert(image_at < record_at); // for a process that is killed
    ck_assert(is_name_safe(image_at, step_count) && is_name_safe(record_at, step_count));
    for (size_t i = 0; i < 2; i++) { // the blobs' own folders were new
        const char *path = steps[i ? image_at : module_at].path;
        char blobs[PATH_SIZE];
        snprintf(blobs, sizeof blobs, "%.*s", (int)(strstr(path, "/blobs/") + 6 - path), path);
        ck_assert(is_synced(blobs, 0, i ? step_count : record_at));
    }
}

TW_TEST("bytes are on the disk before their names, a module before the record that names it, all before the "
        "answer") {
    for (unsigned ahead_of = 0; ahead_of < 2; ahead_of++) {
        char folder[64], command[128];
        snprintf(folder, sizeof folder, "/tmp/tw-store-order-%d-%u", (int)getpid(), ahead_of);
        struct tw_store *store = tw_store_open(folder, &err);
        tw_assert_ok(store, &err);
        step_count = 0;
        const struct tw_store_blob blob = {.data = module, .digest = tw_sha256(module)};
        struct tw_store_ahead *ahead = NULL;
        if (ahead_of)
            ahead = tw_store_ahead_start(store, &blob, 1, NULL, NULL, (struct tw_span){}, UINT64_MAX);
        tw_assert_ok(tw_store_ahead_done(ahead, &err), &err);
        store_both(store);
        check_order();
        tw_store_close(store);
        snprintf(command, sizeof command, "rm -rf %s", folder);
        ck_assert_int_eq(system(command), 0);
    }
}

TW_TEST("a record ahead is waited for with two calls, its file and then its folder, whatever blobs come with "
        "it") {
    char folder[64], command[128];
    snprintf(folder, sizeof folder, "/tmp/tw-store-waits-%d", (int)getpid());
    struct tw_store *store = tw_store_open(folder, &err);
    tw_assert_ok(store, &err);
    tw_assert_ok(tw_store_put_record(store, "test", "b", tw_span_of("{}", 2), UINT64_MAX, NULL, &err), &err);
    const struct tw_store_blob blobs[] = {{.data = module, .digest = tw_sha256(module)},
                                          {.data = image, .digest = tw_sha256(image)}};
    step_count = 0;
    struct tw_store_ahead *ahead =
        tw_store_ahead_start(store, blobs, TW_COUNT(blobs), "test", "a", tw_span_of("{}", 2), UINT64_MAX);
    uint64_t version = 0;
    ck_assert(tw_store_ahead_keep(ahead, &version));
    size_t waits = 0, ahead_at = find_rename(".ahead");
    for (size_t i = 0; i < step_count; i++)
        waits += !steps[i].is_rename;
    ck_assert_uint_eq(version, 1);
    ck_assert_uint_eq(waits, 2);
    ck_assert(ahead_at < STEPS_MAX && is_synced(steps[ahead_at].path, ahead_at, step_count));
    ck_assert(is_name_safe(ahead_at, find_blob(module)) && is_name_safe(ahead_at, find_blob(image)));
    tw_assert_ok(tw_store_ahead_done(ahead, &err), &err);
    tw_store_close(store);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

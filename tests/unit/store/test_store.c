// SPDX-License-Identifier: Apache-2.0
//
// Blobs and records: what is written is there after reopening, what is damaged is noticed, versions guard
// changes.

#include "harness/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

static char folder[64];
static struct tw_error err;

static struct tw_store *open_store(void) {
    snprintf(folder, sizeof folder, "/tmp/tw-store-test-%d", (int)getpid());
    struct tw_store *store = tw_store_open(folder, &err);
    tw_assert_ok(store, &err);
    return store;
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void put(struct tw_store *store, const char *key, const char *text, uint64_t expected,
                uint64_t wanted_version) {
    uint64_t version;
    tw_assert_ok(
        tw_store_put_record(store, "test", key, tw_span_of(text, strlen(text)), expected, &version, &err),
        &err);
    ck_assert_uint_eq(version, wanted_version);
}

static void check(struct tw_store *store, const char *key, const char *wanted) {
    struct tw_buf out;
    tw_buf_init(&out, 4096);
    tw_assert_ok(tw_store_get_record(store, "test", key, &out, NULL, &err), &err);
    ck_assert_str_eq((const char *)out.data, wanted);
    tw_buf_done(&out);
}

TW_TEST("records and blobs are there after the store is opened again") {
    struct tw_store *store = open_store();
    struct tw_digest digest;
    put(store, "7/edges", "first", TW_STORE_ANY, 1);
    put(store, "7/edges", "second", TW_STORE_ANY, 2);
    tw_assert_ok(tw_store_put_blob(store, tw_span_of("abc", 3), &digest, &err), &err);
    tw_store_close(store);

    store = open_store();
    check(store, "7/edges", "second");
    struct tw_mapping mapping;
    tw_assert_ok(tw_store_map_blob(store, &digest, &mapping, &err), &err);
    ck_assert_uint_eq(mapping.len, 3);
    ck_assert_mem_eq(mapping.data, "abc", 3);
    tw_file_unmap(&mapping);
    // sha256("abc"), FIPS 180-4's example
    char hex[TW_DIGEST_HEX_SIZE];
    tw_digest_hex(&digest, hex);
    ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    tw_store_close(store);
    remove_folder();
}

TW_TEST("a change with the wrong expected version is a conflict and changes nothing") {
    struct tw_store *store = open_store();
    put(store, "a", "one", UINT64_MAX, 1);
    ck_assert(!tw_store_put_record(store, "test", "a", tw_span_of("x", 1), UINT64_MAX, NULL, &err));
    ck_assert_int_eq(err.code, TW_ERR_CONFLICT);
    ck_assert(!tw_store_put_record(store, "test", "a", tw_span_of("x", 1), 5, NULL, &err));
    ck_assert_int_eq(err.code, TW_ERR_CONFLICT);
    check(store, "a", "one");
    put(store, "a", "two", 1, 2);
    check(store, "a", "two");
    tw_store_close(store);
    remove_folder();
}

static const struct tw_span parts[] = {{(const uint8_t *)"the module", 10},
                                       {(const uint8_t *)"its image", 9}};

static bool put_together(struct tw_store *store, const char *text, uint64_t expected) {
    const struct tw_store_blob blobs[] = {
        {.data = parts[0], .digest = tw_sha256(parts[0])},
        {.data = parts[1], .digest = tw_sha256(parts[1]), .is_remade = true}};
    uint64_t version = 0;
    bool ok = tw_store_put_together(store, blobs, TW_COUNT(blobs), "test", "a",
                                    tw_span_of(text, strlen(text)), expected, &version, &err);
    ck_assert_uint_eq(version, !ok ? 0 : expected == UINT64_MAX ? 1 : expected + 1);
    return ok;
}

static bool is_there(struct tw_store *store, struct tw_span bytes) {
    struct tw_digest digest = tw_sha256(bytes);
    struct tw_mapping mapping;
    struct tw_error ignored = {};
    if (!tw_store_map_blob(store, &digest, &mapping, &ignored))
        return false;
    ck_assert_uint_eq(mapping.len, bytes.len);
    ck_assert_mem_eq(mapping.data, bytes.data, bytes.len);
    tw_file_unmap(&mapping);
    return true;
}

TW_TEST("a record and its blobs come together, or not at all where another was quicker") {
    struct tw_store *store = open_store();
    tw_assert_ok(put_together(store, "first", UINT64_MAX), &err);
    check(store, "a", "first");
    ck_assert(is_there(store, parts[0]) && is_there(store, parts[1]));
    tw_assert_ok(put_together(store, "second", 1), &err); // the blobs are there already
    check(store, "a", "second");
    ck_assert(!put_together(store, "third", 1));
    ck_assert_int_eq(err.code, TW_ERR_CONFLICT);
    check(store, "a", "second");
    tw_store_close(store);
    remove_folder();
}

TW_TEST("whichever I/O call fails, a record is old or new, what it names is there, and no draft is left") {
    bool done = false;
    for (unsigned n = 1; !done; n++) {
        char fault[16], command[160], text[16] = "";
        struct tw_store *store = open_store();
        put(store, "a", "old", UINT64_MAX, 1);
        snprintf(fault, sizeof fault, "io:%u", n);
        tw_fault_configure(fault);
        done = put_together(store, "new", 1);
        tw_fault_configure(NULL);
        ck_assert(done || err.code == TW_ERR_STORE);
        struct tw_buf out;
        tw_buf_init(&out, sizeof text - 1);
        struct tw_error read = {};
        tw_assert_ok(tw_store_get_record(store, "test", "a", &out, NULL, &read), &read);
        memcpy(text, out.data, out.len);
        tw_buf_done(&out);
        ck_assert(strcmp(text, "new") == 0 || (!done && strcmp(text, "old") == 0));
        ck_assert(strcmp(text, "old") == 0 || (is_there(store, parts[0]) && is_there(store, parts[1])));
        snprintf(command, sizeof command, "test -z \"$(find %s -name '.tmp-*')\"", folder);
        ck_assert_int_eq(system(command), 0);
        tw_store_close(store);
        remove_folder();
    }
}

static ino_t inode_of(struct tw_store *store, struct tw_span bytes) {
    struct tw_digest digest = tw_sha256(bytes);
    char path[TW_STORE_PATH_MAX];
    struct stat status;
    tw_store_blob_path(store, &digest, path);
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_ino;
}

TW_TEST(
    "a blob that is stored ahead is there, and who names it finds it; one that could not be is stored then") {
    tw_assert_ok(tw_store_ahead_done(NULL, &err), &err); // not started
    for (unsigned n = 0; n < 2; n++) {
        struct tw_store *store = open_store();
        if (n == 1)
            tw_fault_configure("io:1");
        const struct tw_store_blob blob = {.data = parts[0], .digest = tw_sha256(parts[0])};
        struct tw_store_ahead *ahead =
            tw_store_ahead_start(store, &blob, 1, NULL, NULL, (struct tw_span){}, UINT64_MAX);
        tw_assert_ok(tw_store_ahead_done(ahead, &err), &err);
        tw_fault_configure(NULL);
        ck_assert(is_there(store, parts[0]) == (n == 0) && !is_there(store, parts[1]));
        ino_t before = n == 0 ? inode_of(store, parts[0]) : 0;
        tw_assert_ok(put_together(store, "first", UINT64_MAX), &err);
        ck_assert(is_there(store, parts[0]) && is_there(store, parts[1]));
        ck_assert(n == 1 || inode_of(store, parts[0]) == before);
        tw_store_close(store);
        remove_folder();
    }
}

TW_TEST("keys that could leave the folder are refused") {
    struct tw_store *store = open_store();
    static const char *const bad[] = {"", "../x", "a//b", "/a", "a/..", "a b", "a\nb", "a/./b"};
    for (size_t i = 0; i < TW_COUNT(bad); i++) {
        ck_assert_msg(
            !tw_store_put_record(store, "test", bad[i], tw_span_of("x", 1), TW_STORE_ANY, NULL, &err), "%s",
            bad[i]);
        ck_assert_int_eq(err.code, TW_ERR_INVALID_NAME);
    }
    tw_store_close(store);
    remove_folder();
}

static bool count_records(void *context, const char *key, struct tw_span data, uint64_t version) {
    int *sum = context;
    ck_assert_uint_eq(version, 1);
    ck_assert_uint_eq(data.len, strlen(key));
    *sum += (int)data.len;
    return true;
}

TW_TEST("walking a kind visits every record of it and nothing else") {
    struct tw_store *store = open_store();
    int sum = 0;
    tw_assert_ok(tw_store_each_record(store, "test", count_records, &sum, &err), &err);
    ck_assert_int_eq(sum, 0);
    put(store, "a", "a", TW_STORE_ANY, 1);
    put(store, "bb", "bb", TW_STORE_ANY, 1);
    put(store, "7/ccc", "7/ccc", TW_STORE_ANY, 1);
    tw_assert_ok(tw_store_put_record(store, "other", "d", tw_span_of("dddd", 4), TW_STORE_ANY, NULL, &err),
                 &err);
    tw_assert_ok(tw_store_each_record(store, "test", count_records, &sum, &err), &err);
    ck_assert_int_eq(sum, 1 + 2 + 5);
    tw_assert_ok(tw_store_delete_record(store, "test", "bb", &err), &err);
    tw_assert_ok(tw_store_delete_record(store, "test", "bb", &err), &err);
    sum = 0;
    tw_assert_ok(tw_store_each_record(store, "test", count_records, &sum, &err), &err);
    ck_assert_int_eq(sum, 1 + 5);
    tw_store_close(store);
    remove_folder();
}

TW_TEST("a blob whose bytes were changed on disk is refused") {
    struct tw_store *store = open_store();
    struct tw_digest digest;
    tw_assert_ok(tw_store_put_blob(store, tw_span_of("abc", 3), &digest, &err), &err);
    char path[TW_STORE_PATH_MAX];
    tw_store_blob_path(store, &digest, path);
    ck_assert_int_eq(chmod(path, 0644), 0);
    FILE *file = fopen(path, "w");
    fputs("abd", file);
    fclose(file);
    struct tw_mapping mapping;
    ck_assert(!tw_store_map_blob(store, &digest, &mapping, &err));
    ck_assert_int_eq(err.code, TW_ERR_STORE);
    tw_store_close(store);
    remove_folder();
}

static bool is_first(void *context, const struct tw_digest *digest) {
    return tw_digest_equal(digest, context);
}

TW_TEST("collection removes old blobs that nothing names, and only those") {
    struct tw_store *store = open_store();
    struct tw_digest used, unused;
    uint64_t removed = 99;
    tw_assert_ok(tw_store_put_blob(store, tw_span_of("used", 4), &used, &err), &err);
    tw_assert_ok(tw_store_put_blob(store, tw_span_of("unused", 6), &unused, &err), &err);
    tw_assert_ok(tw_store_collect(store, 3600, is_first, &used, &removed, &err), &err);
    ck_assert_uint_eq(removed, 0); // both are too young
    tw_assert_ok(tw_store_collect(store, -1, is_first, &used, &removed, &err), &err);
    ck_assert_uint_eq(removed, 1);
    struct tw_mapping mapping;
    tw_assert_ok(tw_store_map_blob(store, &used, &mapping, &err), &err);
    tw_file_unmap(&mapping);
    ck_assert(!tw_store_map_blob(store, &unused, &mapping, &err));
    ck_assert_int_eq(err.code, TW_ERR_NOT_FOUND);
    tw_store_close(store);
    remove_folder();
}

TW_TEST("a folder of another format is refused") {
    struct tw_store *store = open_store();
    char path[128];
    tw_store_close(store);
    snprintf(path, sizeof path, "%s/FORMAT", folder);
    ck_assert_int_eq(chmod(path, 0644), 0);
    FILE *file = fopen(path, "w");
    fputs("tensor-wasm-store 2\n", file);
    fclose(file);
    ck_assert_ptr_null(tw_store_open(folder, &err));
    ck_assert_int_eq(err.code, TW_ERR_STORE);
    remove_folder();
}

TW_TEST("a memory store leaves nothing behind") {
    struct tw_store *store = tw_store_open(":memory:", &err);
    tw_assert_ok(store, &err);
    char path[TW_STORE_PATH_MAX];
    snprintf(path, sizeof path, "%s", tw_store_path(store));
    struct tw_digest digest;
    tw_assert_ok(tw_store_put_blob(store, tw_span_of("abc", 3), &digest, &err), &err);
    put(store, "a", "a", TW_STORE_ANY, 1);
    tw_store_close(store);
    ck_assert_int_eq(access(path, F_OK), -1);
}

// SPDX-License-Identifier: Apache-2.0
//
// Records ahead, ended at every step of every story: what was acknowledged is there afterwards, what was refused is not,
// and nothing half.

#include "harness/test.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"
#include "store/store.h"

static struct tw_error err;
static char folder[64], after[64];
static const struct tw_span module = {(const uint8_t *)"the module", 10},
                            image = {(const uint8_t *)"its image", 9};

// What the one who asked was told before the end, and whether it had begun to delete; shared with the process that ends.
struct told {
    bool kept, refused, deletes, deleted, replaced, other_kept, is_over;
};
static struct told *told;

static struct tw_span text_of(const char *text) {
    return tw_span_of(text, strlen(text));
}

static void remove_folders(void) {
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s %s", folder, after);
    ck_assert_int_eq(system(command), 0);
}

static struct tw_store *open_store(const char *path) {
    struct tw_store *store = tw_store_open(path, &err);
    tw_assert_ok(store, &err);
    return store;
}

static struct tw_store_ahead *start_at(struct tw_store *store, const char *key, const char *text,
                                       uint64_t follows) {
    const struct tw_store_blob blobs[] = {
        {.data = module, .digest = tw_sha256(module)},
        {.data = image, .digest = tw_sha256(image), .is_remade = true},
    };
    struct tw_store_ahead *ahead =
        tw_store_ahead_start(store, blobs, TW_COUNT(blobs), "test", key, text_of(text), follows);
    ck_assert_ptr_nonnull(ahead);
    return ahead;
}

// A record that follows version 1.
static struct tw_store_ahead *start(struct tw_store *store, const char *text) {
    return start_at(store, "a", text, 1);
}

static bool keep(struct tw_store_ahead *ahead) {
    uint64_t version = 0;
    bool is_kept = tw_store_ahead_keep(ahead, &version);
    ck_assert(!is_kept || version == 2);
    return is_kept;
}

static bool read_record(struct tw_store *store, char ret_text[16], uint64_t *ret_version) {
    struct tw_buf out;
    struct tw_error failure = {};
    tw_buf_init(&out, 15);
    bool ok = tw_store_get_record(store, "test", "a", &out, ret_version, &failure);
    ck_assert(ok || failure.code == TW_ERR_NOT_FOUND);
    snprintf(ret_text, 16, "%.*s", (int)out.len, ok ? (const char *)out.data : "");
    tw_buf_done(&out);
    return ok;
}

static void expect(struct tw_store *store, const char *wanted) {
    char text[16];
    uint64_t version;
    ck_assert(read_record(store, text, &version));
    ck_assert_str_eq(text, wanted);
}

static bool is_whole(struct tw_store *store, struct tw_span bytes) {
    struct tw_digest digest = tw_sha256(bytes);
    struct tw_mapping mapping;
    struct tw_error ignored = {};
    if (!tw_store_map_blob(store, &digest, &mapping, &ignored))
        return false;
    tw_file_unmap(&mapping);
    return true;
}

// ---- without an end ----

static bool always(void *context, const char *key, struct tw_span data) {
    (void)context;
    ck_assert_str_eq(key, "a");
    ck_assert(data.len == 3 && memcmp(data.data, "new", 3) == 0);
    return true;
}

static bool never(void *context, const char *key, struct tw_span data) {
    (void)always(context, key, data);
    return false;
}

static struct tw_store *begin(void) {
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; // thousands of files on no disk
    snprintf(folder, sizeof folder, "%s/tw-store-ahead-%d", base, (int)getpid());
    snprintf(after, sizeof after, "%s/tw-store-after-%d", base, (int)getpid());
    remove_folders();
    struct tw_store *store = open_store(folder);
    tw_assert_ok(tw_store_put_record(store, "test", "a", text_of("old"), UINT64_MAX, NULL, &err), &err);
    return store;
}

static unsigned files_ahead(const char *path) {
    char command[160], text[16] = "";
    snprintf(command, sizeof command, "find %s -name '*.ahead' | wc -l", path);
    FILE *pipe = popen(command, "r");
    ck_assert(pipe && fgets(text, sizeof text, pipe));
    pclose(pipe);
    return (unsigned)strtoul(text, NULL, 10);
}

TW_TEST("a record ahead is seen once it is kept, and never if it is not") {
    struct tw_store *store = begin();
    struct tw_store_ahead *ahead = start(store, "new");
    tw_assert_ok(tw_store_ahead_done(ahead, &err), &err);
    expect(store, "old");
    ck_assert_uint_eq(files_ahead(folder), 0);
    ahead = start(store, "new");
    ck_assert(keep(ahead));
    tw_assert_ok(tw_store_ahead_done(ahead, &err), &err);
    expect(store, "new");
    ck_assert(is_whole(store, module) && is_whole(store, image));
    tw_store_close(store); // settles
    ck_assert_uint_eq(files_ahead(folder), 0);
    remove_folders();
}

static bool reads_as(int fd, struct tw_span bytes) {
    char text[64];
    ssize_t len = read(fd, text, sizeof text);
    close(fd);
    return len == (ssize_t)bytes.len && memcmp(text, bytes.data, bytes.len) == 0;
}

TW_TEST("what is ahead can be read before it has its name, and from where it lies if it was there") {
    struct tw_store *store = begin();
    ck_assert_int_eq(tw_store_ahead_open(NULL, 0), -1);
    struct tw_digest digest;
    tw_assert_ok(tw_store_put_blob(store, module, &digest, &err), &err);
    struct tw_store_ahead *ahead = start(store, "new");
    ck_assert(reads_as(tw_store_ahead_open(ahead, 0), module));
    int fd = tw_store_ahead_open(ahead, 1);
    ck_assert(!is_whole(store, image));
    ck_assert(keep(ahead));
    ck_assert(reads_as(fd, image) && reads_as(tw_store_ahead_open(ahead, 1), image));
    tw_assert_ok(tw_store_ahead_done(ahead, &err), &err);
    tw_store_close(store);
    remove_folders();
}

TW_TEST("a record ahead loses against every other change") {
    for (unsigned n = 0; n < 2; n++) {
        struct tw_store *store = begin();
        struct tw_store_ahead *ahead = start(store, "new");
        if (n == 0)
            tw_assert_ok(tw_store_put_record(store, "test", "a", text_of("two"), 1, NULL, &err), &err);
        else
            tw_assert_ok(tw_store_delete_record(store, "test", "a", &err), &err);
        ck_assert(!keep(ahead));
        tw_assert_ok(tw_store_ahead_done(ahead, &err), &err);
        tw_assert_ok(tw_store_recover(store, "test", always, NULL, &err), &err);
        ck_assert_uint_eq(files_ahead(folder), 0);
        char text[16];
        uint64_t version;
        ck_assert(read_record(store, text, &version) == (n == 0));
        ck_assert_str_eq(text, n == 0 ? "two" : "");
        tw_store_close(store);
        remove_folders();
    }
}

TW_TEST("of two records ahead at the same time one is kept") {
    for (unsigned n = 0; n < 20; n++) {
        struct tw_store *store = begin();
        struct tw_store_ahead *first = start(store, "new"), *second = start(store, "2nd");
        bool is_first = n % 2 == 0 && keep(first), is_second = keep(second);
        is_first = is_first || (n % 2 == 1 && keep(first));
        ck_assert(is_first != is_second);
        tw_assert_ok(tw_store_ahead_done(first, &err), &err);
        tw_assert_ok(tw_store_ahead_done(second, &err), &err);
        expect(store, is_first ? "new" : "2nd");
        tw_store_close(store);
        ck_assert_uint_eq(files_ahead(folder), 0);
        remove_folders();
    }
}

static bool count(void *context, const char *key, struct tw_span data, uint64_t version) {
    (void)always(NULL, key, data);
    ck_assert_uint_gt(version, 0);
    ++*(unsigned *)context;
    return true;
}

// A record of version 1 or 2, put back to where it lies when a machine fails that had not brought its name to the disk.
static struct tw_store *leave_ahead(uint64_t version, const char *spoil) {
    struct tw_store *store = begin();
    char command[256];
    if (version == 1)
        tw_assert_ok(tw_store_delete_record(store, "test", "a", &err), &err);
    tw_assert_ok(tw_store_put_record(store, "test", "a", text_of("new"), version - 1, NULL, &err), &err);
    tw_store_close(store);
    snprintf(command, sizeof command,
             "cd %s/records/test && f=$(ls | grep '^[0-9a-f]*$') && mv $f $f.ahead && %s $f.ahead", folder,
             spoil);
    ck_assert_int_eq(system(command), 0);
    return open_store(folder);
}

TW_TEST("one that was left ahead counts if it holds, is whole and follows what is there") {
    static const struct {
        uint64_t version;
        const char *spoil;
        bool holds, counts, is_listed;
    } cases[] = {{1, "true", true, true, true},
                 {1, "true", false, false, true},
                 {1, "sed -i s/new/nee/", true, false, false},
                 {1, "truncate -s 0", true, false, false},
                 {2, "true", true, false, true}}; // of version 1 nothing is there
    for (unsigned n = 0; n < TW_COUNT(cases); n++) {
        struct tw_store *store = leave_ahead(cases[n].version, cases[n].spoil);
        unsigned seen = 0;
        char text[16];
        uint64_t version = 0;
        tw_assert_ok(tw_store_each_ahead(store, "test", count, &seen, &err), &err);
        tw_assert_ok(tw_store_each_ahead(store, "none", count, &seen, &err), &err);
        ck_assert_uint_eq(seen, cases[n].is_listed);
        ck_assert(!read_record(store, text, &version));
        tw_assert_ok(tw_store_recover(store, "test", cases[n].holds ? always : never, NULL, &err), &err);
        ck_assert(read_record(store, text, &version) == cases[n].counts);
        ck_assert_uint_eq(version, cases[n].counts);
        ck_assert_uint_eq(files_ahead(folder), 0);
        tw_assert_ok(tw_store_recover(store, "none", always, NULL, &err), &err);
        tw_store_close(store);
        remove_folders();
    }
}

// What was kept is there after the next start, whether settling it came to its end or not.
static void expect_recovered(const char *wanted) {
    struct tw_store *store = open_store(folder);
    tw_assert_ok(tw_store_recover(store, "test", never, NULL, &err), &err);
    ck_assert_uint_eq(files_ahead(folder), 0);
    expect(store, wanted);
    ck_assert(strcmp(wanted, "new") != 0 || (is_whole(store, module) && is_whole(store, image)));
    tw_store_close(store);
}

TW_TEST("whichever I/O call fails, a record ahead is kept, or can be put the other way, or is taken back") {
    bool done = false;
    for (unsigned n = 1; !done; n++) {
        struct tw_store *store = begin();
        char fault[16];
        snprintf(fault, sizeof fault, "io:%u", n);
        tw_fault_configure(fault);
        struct tw_store_ahead *ahead = start(store, "new");
        bool is_kept = keep(ahead);
        bool is_taken_back = tw_store_ahead_done(ahead, &err);
        if (is_kept)
            tw_store_close(store); // waits for what settles it
        done = is_kept && files_ahead(folder) == 0;
        tw_fault_configure(NULL);
        if (is_kept) {
            expect_recovered("new");
        } else {
            expect(store, "old");
            ck_assert(!is_taken_back || files_ahead(folder) == 0);
            tw_assert_ok(tw_store_put_record(store, "test", "a", text_of("put"), 1, NULL, &err), &err);
            ck_assert_uint_eq(files_ahead(folder), 0); // what could not be taken back counts no more
            tw_store_close(store);
        }
        remove_folders();
        ck_assert_uint_lt(n, 200);
    }
}

// ---- stories, each ended at every step ----

static void end_kept(struct tw_store *store) {
    struct tw_store_ahead *ahead = start(store, "new");
    told->kept = keep(ahead);
    (void)tw_store_ahead_done(ahead, &err);
}

static void end_refused(struct tw_store *store) {
    told->refused = tw_store_ahead_done(start(store, "new"), &err);
}

static void end_deleted(struct tw_store *store) {
    end_kept(store);
    told->deletes = true;
    told->deleted = tw_store_delete_record(store, "test", "a", &err);
}

// Both at once: whichever it is, one of them fails.
static void end_replaced(struct tw_store *store) {
    struct tw_store_ahead *ahead = start(store, "new");
    told->replaced = tw_store_put_record(store, "test", "a", text_of("two"), 1, NULL, &err);
    told->kept = keep(ahead);
    bool is_clean = tw_store_ahead_done(ahead, &err);
    told->refused = is_clean && !told->kept;
}

static void end_followed(struct tw_store *store) {
    end_kept(store);
    struct tw_store_ahead *ahead =
        tw_store_ahead_start(store, NULL, 0, "test", "a", text_of("3rd"), 2); // not kept
    told->refused = tw_store_ahead_done(ahead, &err);
}

// Two records that name the same blobs; one of them comes to nothing.
static void end_shared(struct tw_store *store) {
    struct tw_store_ahead *ahead = start(store, "new"), *other = start_at(store, "b", "2nd", UINT64_MAX);
    told->kept = keep(ahead);
    (void)tw_store_ahead_done(ahead, &err);
    (void)tw_store_ahead_done(other, &err);
}

// And one after the other, the second of which finds what the first has not begun to bring to the disk,
static void end_twice(struct tw_store *store) {
    end_kept(store);
    struct tw_store_ahead *other = start_at(store, "b", "2nd", UINT64_MAX);
    uint64_t version;
    told->other_kept = tw_store_ahead_keep(other, &version);
    (void)tw_store_ahead_done(other, &err);
}

// or what it is bringing there.
static void end_overtaken(struct tw_store *store) {
    struct tw_store_ahead *ahead = start(store, "new");
    told->kept = keep(ahead);
    unsigned steps = disk_steps();
    (void)tw_store_ahead_done(ahead, &err);
    while (disk_steps() == steps) // settling takes some
        sched_yield();
    struct tw_store_ahead *other = start_at(store, "b", "2nd", UINT64_MAX);
    uint64_t version;
    told->other_kept = tw_store_ahead_keep(other, &version);
    (void)tw_store_ahead_done(other, &err);
}

static bool holds(void *context, const char *key, struct tw_span data) {
    (void)key;
    return memcmp(data.data, "new", 3) != 0 || is_whole(context, module);
}

static bool dies(void *context, const char *key, struct tw_span data) {
    (void)context;
    (void)key;
    (void)data;
    return false;
}

// True when the story came to its end, and then the machine did.
static bool tell(void (*story)(struct tw_store *store), unsigned step, enum disk_loss loss) {
    struct tw_store *store = begin();
    *told = (struct told){};
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        disk_watch(folder, after, step, loss);
        story(store);
        tw_store_close(store); // what was kept is settled
        told->is_over = true;
        disk_end();
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    tw_store_close(store);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return told->is_over;
}

// Storing the same bytes makes them whole, whatever lies there under their name.
static void check_blobs(struct tw_store *store) {
    struct tw_digest digest;
    tw_assert_ok(tw_store_put_blob(store, module, &digest, &err), &err);
    tw_assert_ok(tw_store_put_blob(store, image, &digest, &err), &err);
    ck_assert(is_whole(store, module) && is_whole(store, image));
}

static void check_other(struct tw_store *store) {
    struct tw_buf out;
    tw_buf_init(&out, 15);
    tw_assert_ok(tw_store_get_record(store, "test", "b", &out, NULL, &err), &err);
    ck_assert(out.len == 3 && memcmp(out.data, "2nd", 3) == 0);
    ck_assert(is_whole(store, module) && is_whole(store, image));
    tw_buf_done(&out);
}

static void check(enum disk_loss loss) {
    struct tw_store *store = open_store(after);
    char text[16];
    uint64_t version = 0;
    tw_assert_ok(tw_store_recover(store, "test", loss == DISK_KEEPS_ALL ? dies : holds, store, &err), &err);
    ck_assert_uint_eq(files_ahead(after), 0);
    bool is_there = read_record(store, text, &version);
    bool is_new = strcmp(text, "new") == 0, is_third = strcmp(text, "3rd") == 0;
    if (told->deleted)
        ck_assert(!is_there);
    else if (told->replaced)
        ck_assert_str_eq(text, "two");
    else if (told->kept)
        ck_assert(is_new || (is_third && !told->refused) || (!is_there && told->deletes));
    else if (told->refused)
        ck_assert_str_eq(text, "old");
    ck_assert(is_there || told->deletes);
    if (is_new)
        ck_assert(version == 2 && is_whole(store, module) && is_whole(store, image));
    if (told->other_kept)
        check_other(store);
    check_blobs(store);
    tw_store_close(store);
}

TW_TEST("whenever a process or a machine ends, what was acknowledged is there and what was refused is not") {
    static void (*const stories[])(struct tw_store *store) = {
        end_kept, end_refused, end_deleted, end_replaced, end_followed, end_shared, end_twice, end_overtaken};
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(told, MAP_FAILED);
    for (unsigned i = 0; i < TW_COUNT(stories); i++) {
        for (enum disk_loss loss = DISK_KEEPS_ALL; loss <= DISK_KEEPS_SYNCED; loss++) {
            unsigned step = 0;
            for (bool is_over = false; !is_over;) {
                is_over = tell(stories[i], ++step, loss);
                check(loss);
            }
            ck_assert_uint_gt(step, 5); // it had steps to end at
        }
    }
    remove_folders();
}

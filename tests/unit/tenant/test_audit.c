// SPDX-License-Identifier: Apache-2.0
//
// The audit log: the chain, what breaks it, restarts, and a disk that hangs.

#include "harness/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "telemetry/telemetry.h"
#include "tenant/tenant.h"

static struct tw_error err;

static void temporary(char path[32]) {
    snprintf(path, 32, "/tmp/tw-audit-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static struct tw_audit *open_log(const char *path) {
    char target[64];
    snprintf(target, sizeof target, "file:%s", path);
    struct tw_audit *audit = tw_audit_new(target, &err);
    tw_assert_ok(audit, &err);
    return audit;
}

static void post(struct tw_audit *audit, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char object[16];
        snprintf(object, sizeof object, "f\"%u", i);
        struct tw_audit_entry entry = {.action = "PUT /x",
                                       .actor = "0123",
                                       .object = tw_str_from(object),
                                       .tenant = UINT64_MAX,
                                       .outcome = "ok",
                                       .status = 200};
        tw_audit_post(audit, &entry);
    }
}

static void read_file(const char *path, struct tw_buf *out) {
    tw_buf_init(out, 1 << 20);
    tw_assert_ok(tw_file_read(path, out, &err), &err);
}

static enum tw_code verify(const char *path, struct tw_audit_report *report) {
    err = (struct tw_error){};
    return tw_audit_verify(path, report, &err) ? TW_OK : err.code;
}

TW_TEST("every line names the sha256 of the line before, over restarts too") {
    char path[32], prev[TW_DIGEST_HEX_SIZE];
    temporary(path);
    for (unsigned start = 0; start < 3; start++) {
        struct tw_audit *audit = open_log(path);
        post(audit, 10);
        tw_audit_free(audit);
    }
    struct tw_buf text;
    read_file(path, &text);
    struct tw_str rest = tw_buf_str(&text);
    memset(prev, '0', 64);
    prev[64] = 0;
    for (int64_t i = 1; i <= 30; i++) {
        struct tw_str line = tw_str_cut(&rest, '\n');
        struct tw_json *root = tw_json_parse(tw_span_of(line.data, line.len), &err);
        tw_assert_ok(root, &err);
        ck_assert_int_eq(tw_json_int(tw_json_get(root, "seq")), i);
        ck_assert(tw_str_equal(tw_json_str(tw_json_get(root, "prev")), tw_str_from(prev)));
        ck_assert_int_eq(tw_json_str(tw_json_get(root, "object")).data[1], '"');
        tw_json_free(root);
        struct tw_digest digest = tw_sha256(tw_span_of(line.data, line.len));
        tw_digest_hex(&digest, prev);
    }
    ck_assert_uint_eq(rest.len, 0);
    struct tw_audit_report report;
    ck_assert_int_eq(verify(path, &report), TW_OK);
    ck_assert_uint_eq(report.lines, 30);
    ck_assert_str_eq(report.last, prev);
    tw_buf_done(&text);
    unlink(path);
}

TW_TEST("several servers write one chain into one file") {
    enum { SERVERS = 3, LINES = 200 };
    char path[32];
    struct tw_audit *audits[SERVERS];
    temporary(path);
    for (unsigned i = 0; i < SERVERS; i++)
        audits[i] = open_log(path);
    for (unsigned i = 0; i < SERVERS; i++)
        post(audits[i], LINES); // their threads write while the next one's begins
    for (unsigned i = 0; i < SERVERS; i++)
        tw_audit_free(audits[i]);
    struct tw_audit_report report;
    ck_assert_msg(verify(path, &report) == TW_OK, "%s", err.message);
    ck_assert_uint_eq(report.lines, SERVERS * LINES);
    ck_assert_uint_eq(report.lost, 0);
    unlink(path);
}

TW_TEST("a changed byte, a missing line and swapped lines show") {
    char path[32];
    temporary(path);
    struct tw_audit *audit = open_log(path);
    post(audit, 5);
    tw_audit_free(audit);
    struct tw_buf text;
    struct tw_audit_report report;
    read_file(path, &text);
    struct tw_str rest = tw_buf_str(&text), lines[5];
    for (unsigned i = 0; i < 5; i++)
        lines[i] = tw_str_of(rest.data, tw_str_cut(&rest, '\n').len + 1);
    static const unsigned orders[][5] = {{0, 1, 3, 4, 4}, {0, 2, 1, 3, 4}, {0, 1, 2, 2, 3}};
    for (size_t o = 0; o < TW_COUNT(orders); o++) {
        struct tw_buf changed;
        tw_buf_init(&changed, 1 << 20);
        for (unsigned i = 0; i < 5; i++)
            ck_assert(tw_buf_append_str(&changed, lines[orders[o][i]]));
        tw_assert_ok(tw_file_write(path, tw_buf_span(&changed), 0600, &err), &err);
        ck_assert_int_eq(verify(path, &report), TW_ERR_CONFLICT);
        tw_buf_done(&changed);
    }
    char *outcome = strstr((char *)text.data, "\"status\":200");
    outcome[11] = '1';
    tw_assert_ok(tw_file_write(path, tw_buf_span(&text), 0600, &err), &err);
    ck_assert_int_eq(verify(path, &report), TW_ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(err.message, "line 2"));
    tw_buf_done(&text);
    unlink(path);
}

TW_TEST("a last line cut by a crash is taken off and counted as lost") {
    char path[32];
    temporary(path);
    struct tw_audit *audit = open_log(path);
    post(audit, 5);
    tw_audit_free(audit);
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(truncate(path, info.st_size - 30), 0);
    struct tw_audit_report report;
    ck_assert_int_eq(verify(path, &report), TW_ERR_CONFLICT);
    audit = open_log(path);
    post(audit, 2);
    tw_audit_free(audit);
    ck_assert_int_eq(verify(path, &report), TW_OK);
    ck_assert_uint_eq(report.lines, 6);
    ck_assert_uint_eq(report.lost, 1);
    unlink(path);
}

TW_TEST("after reopening the chain goes on in the new file") {
    char path[32], old[40];
    temporary(path);
    snprintf(old, sizeof old, "%s.1", path);
    struct tw_audit *audit = open_log(path);
    post(audit, 3);
    struct tw_audit_report before = {}, after;
    while (before.lines < 3)
        (void)verify(path, &before);
    ck_assert_int_eq(rename(path, old), 0);
    tw_audit_reopen(audit);
    post(audit, 3);
    tw_audit_free(audit);
    ck_assert_int_eq(verify(old, &before), TW_OK);
    ck_assert_int_eq(verify(path, &after), TW_OK);
    ck_assert_uint_eq(before.lines + after.lines, 6);
    ck_assert_str_eq(before.last, after.first_prev);
    unlink(path);
    unlink(old);
}

TW_TEST("a disk that hangs blocks nobody, and what was lost is counted and told") {
    char path[32];
    temporary(path);
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    struct tw_audit *audit = open_log(path); // opened for reading and writing: a pipe that nobody empties
    post(audit, 20000);                      // comes back: nobody empties the pipe meanwhile
    int64_t lost = tw_metric_get(TW_METRIC_AUDIT_LOST, tw_labels());
    ck_assert_int_gt(lost, 20000 - 4096 - 2000);
    // Empty it: the next line tells the loss.
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    char piece[65537];
    bool told = false;
    while (!told) {
        ssize_t got = read(fd, piece, sizeof piece - 1);
        if (got <= 0)
            continue;
        piece[got] = 0;
        told = strstr(piece, "\"lost\":");
    }
    while (read(fd, piece, sizeof piece) > 0 ||
           tw_metric_get(TW_METRIC_AUDIT_LINES, tw_labels()) + lost < 20000)
        ;
    tw_audit_free(audit);
    close(fd);
    unlink(path);
}

TW_TEST("none writes nothing and wrong targets are refused") {
    struct tw_audit *audit = tw_audit_new("none", &err);
    tw_assert_ok(audit, &err);
    post(audit, 3);
    tw_audit_reopen(audit);
    tw_audit_free(audit);
    static const char *const bad[] = {"", "file", "file:", "stderr", "file:/no/such/folder/log"};
    for (size_t i = 0; i < TW_COUNT(bad); i++)
        ck_assert_msg(!tw_audit_new(bad[i], &err) && err.code == TW_ERR_INVALID_REQUEST, "%s", bad[i]);
}

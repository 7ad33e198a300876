// SPDX-License-Identifier: Apache-2.0
//
// Checks an audit log: every line has to name the sha256 of the line before and the number after its number.
// A line cut off the end alone does not show; keep the last line's digest elsewhere to see that as well.

#include "tenant/internal.h"

struct chain {
    struct tw_audit_report report;
    uint64_t seq;
};

static bool check_line(struct chain *chain, struct tw_str line, struct tw_error *err) {
    struct tw_audit_report *report = &chain->report;
    struct tw_error ignored = {};
    struct tw_json *root = tw_json_parse(tw_span_of(line.data, line.len), &ignored);
    struct tw_str prev = tw_json_str(tw_json_get(root, "prev"));
    uint64_t seq = (uint64_t)tw_json_int(tw_json_get(root, "seq")), number = report->lines + 1;
    struct tw_digest digest = tw_sha256(tw_span_of(line.data, line.len)), named;
    bool ok = tw_digest_parse(prev, &named);
    if (!ok)
        tw_fail(err, TW_ERR_CONFLICT, "line %" PRIu64 " is not a line of an audit log", number);
    else if (number == 1)
        tw_digest_hex(&named, report->first_prev);
    else if (!tw_str_equal(prev, tw_str_from(report->last)))
        ok = tw_fail(err, TW_ERR_CONFLICT,
                     "line %" PRIu64 " does not follow the line before: one of them was changed, or lines "
                     "between them were taken out",
                     number);
    else if (seq != chain->seq + 1)
        ok = tw_fail(err, TW_ERR_CONFLICT, "line %" PRIu64 " has the number %" PRIu64 ", not %" PRIu64,
                     number, seq, chain->seq + 1);
    report->lines = number;
    report->lost += (uint64_t)tw_json_int(tw_json_get(root, "lost"));
    tw_digest_hex(&digest, report->last);
    chain->seq = seq;
    tw_json_free(root);
    return ok;
}

bool tw_audit_verify(const char *path, struct tw_audit_report *ret_report, struct tw_error *err) {
    struct chain chain = {};
    FILE *file = fopen(path, "re");
    if (!file)
        return tw_fail_errno(err, TW_ERR_NOT_FOUND, errno, "cannot open %s", path);
    char *line = NULL;
    size_t size = 0;
    bool ok = true;
    for (ssize_t len; ok && (len = getline(&line, &size, file)) > 0;) {
        if (line[len - 1] == '\n')
            ok = check_line(&chain, tw_str_of(line, (size_t)len - 1), err);
        else
            ok = tw_fail(err, TW_ERR_CONFLICT,
                         "line %" PRIu64 " is cut off; the server mends that when it starts",
                         chain.report.lines + 1);
    }
    if (ok && ferror(file))
        ok = tw_fail_errno(err, TW_ERR_STORE, errno, "reading %s", path);
    free(line);
    fclose(file);
    if (!ok)
        return false;
    *ret_report = chain.report;
    return true;
}

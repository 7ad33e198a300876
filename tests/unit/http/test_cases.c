// SPDX-License-Identifier: Apache-2.0
//
// The table tests/http/cases.def against the real gateway: whole, and byte by byte where that is quick
// enough.

#include "harness/test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "gateway.h"

enum end { OPEN, CLOSED, WAITS };

struct http_case {
    const char *name;
    const char *before, *filler, *after, *statuses;
    size_t before_len, filler_len, after_len, count;
    enum end end;
};

#define CASE(name, request, statuses, end)                                                                   \
    {name, request, "", "", statuses, sizeof(request) - 1, 0, 0, 0, end},
#define FILL(name, before, filler, count, after, statuses, end)                                              \
    {name,  before, filler, after, statuses, sizeof(before) - 1, sizeof(filler) - 1, sizeof(after) - 1,      \
     count, end},
static const struct http_case cases[] = {
#include "http/cases.def"
};

// The bytes of a case; the caller frees them.
static char *bytes_of(const struct http_case *item, size_t *ret_len) {
    *ret_len = item->before_len + item->filler_len * item->count + item->after_len;
    char *bytes = malloc(*ret_len + 1), *at = bytes;
    memcpy(at, item->before, item->before_len);
    at += item->before_len;
    for (size_t i = 0; i < item->count; i++, at += item->filler_len)
        memcpy(at, item->filler, item->filler_len);
    memcpy(at, item->after, item->after_len);
    return bytes;
}

// "200,404" or "200*300" to the list of statuses.
static size_t parse_statuses(const char *text, int statuses[512]) {
    size_t count = 0;
    while (*text) {
        char *end;
        int status = (int)strtol(text, &end, 10);
        long times = *end == '*' ? strtol(end + 1, &end, 10) : 1;
        while (times-- > 0)
            statuses[count++] = status;
        text = *end == ',' ? end + 1 : end;
    }
    return count;
}

// NULL, or what was wrong.
static const char *check_end(int fd, enum end end) {
    struct answer answer = {};
    switch (end) {
    case WAITS:
        return client_is_quiet(fd, 50) ? NULL : "it did not wait for the rest";
    case CLOSED:
        return client_is_closed(fd, 100000) ? NULL : "the connection was not closed, or more was answered";
    case OPEN:
        break;
    }
    if (!client_try_send(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 34) ||
        !client_read(fd, false, &answer))
        return "the connection was closed";
    bool ok = answer.status == 200;
    answer_done(&answer);
    return ok ? NULL : "the next request was not answered 200";
}

static const char *run_case(const struct gateway *gateway, const struct http_case *item, bool by_byte) {
    static char wrong[128];
    size_t len;
    int statuses[512];
    char *bytes = bytes_of(item, &len);
    int fd = client_connect(gateway);
    const char *problem = NULL;
    // A refused request may be answered before all of it was sent.
    for (size_t i = 0; by_byte && i < len && client_try_send(fd, bytes + i, 1); i++) {
    }
    if (!by_byte)
        (void)client_try_send(fd, bytes, len);
    size_t count = parse_statuses(item->statuses, statuses);
    for (size_t i = 0; i < count && !problem; i++) {
        struct answer answer;
        bool ok = client_read(fd, strncmp(bytes, "HEAD", 4) == 0, &answer);
        if (!ok || answer.status != statuses[i] || answer.is_cut) {
            snprintf(wrong, sizeof wrong, "answer %zu is %d%s instead of %d", i, ok ? answer.status : 0,
                     answer.is_cut ? " (cut)" : "", statuses[i]);
            problem = wrong;
        }
        answer_done(&answer);
    }
    if (!problem)
        problem = check_end(fd, item->end);
    close(fd);
    free(bytes);
    return problem;
}

static void run_all(bool by_byte) {
    enum { BY_BYTE_MAX = 4096 };
    struct gateway gateway;
    gateway_start(&gateway, &(struct tw_http_options){.max_body_bytes = 1 << 20}, NULL);
    unsigned failed = 0, run = 0;
    for (size_t i = 0; i < TW_COUNT(cases); i++) {
        if (by_byte && cases[i].count)
            continue;
        const char *problem = run_case(&gateway, &cases[i], by_byte);
        run++;
        if (problem) {
            failed++;
            fprintf(stderr, "  case '%s': %s\n", cases[i].name, problem);
        }
    }
    gateway_stop(&gateway);
    ck_assert_uint_ge(run, 55);
    ck_assert_msg(failed == 0, "%u of %u cases failed; see above", failed, run);
}

TW_TEST("raw HTTP/1 requests get the answers of the table") {
    run_all(false);
}

TW_TEST("they get the same answers when every byte comes alone") {
    run_all(true);
}

// SPDX-License-Identifier: Apache-2.0
//
// The audit log's writer: a bounded queue and one thread, so that a disk that hangs stops nobody. What does
// not fit the queue or cannot be written is counted in a metric and in the next line's "lost".
//
// Several servers may write to one file, as they may share a data folder, and as one that starts meets one that ends:
// each locks it for a line, and reads the last one again when another has written since.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "telemetry/telemetry.h"
#include "tenant/internal.h"

enum { TAIL_MAX = 2 * AUDIT_LINE_MAX };

// Guarded by `lock` where marked; the rest is the writer's thread's once it runs.
struct tw_audit {
    pthread_t thread;
    struct tw_lock lock;
    struct tw_cond changed;
    char *queue[AUDIT_QUEUE];     // lock: lines without their end, owned
    size_t first, count;          // lock
    uint64_t lost;                // lock: since the last line that was written
    bool reopen, stop, has_ended; // lock
    bool is_none;                 // frozen
    char *path;                   // frozen; NULL: standard output
    int fd;
    bool is_regular; // a file of lines, not a pipe
    off_t end;       // where our last line ended; -1: not known
    uint64_t seq;
    struct tw_digest last; // of the line before
};

// ---- the file ----

// Goes on where the file ends. A last line that is not whole was cut by a crash: it is taken off. How many were.
static uint64_t read_tail(struct tw_audit *audit, off_t size) {
    char tail[TAIL_MAX];
    off_t from = size > TAIL_MAX ? size - TAIL_MAX : 0;
    ssize_t got = pread(audit->fd, tail, sizeof tail, from);
    size_t len = got > 0 ? (size_t)got : 0, whole = len;
    while (whole > 0 && tail[whole - 1] != '\n')
        whole--;
    uint64_t cut = whole < len;
    if (cut && ftruncate(audit->fd, from + (off_t)whole) != 0)
        return cut; // the chain shows it
    if (whole == 0)
        return cut;
    size_t start = whole - 1;
    while (start > 0 && tail[start - 1] != '\n')
        start--;
    struct tw_span line = tw_span_of(tail + start, whole - 1 - start);
    struct tw_error ignored = {};
    struct tw_json *root = tw_json_parse(line, &ignored);
    audit->seq = (uint64_t)tw_json_int(tw_json_get(root, "seq"));
    tw_json_free(root);
    audit->last = tw_sha256(line);
    return cut;
}

static bool open_file(struct tw_audit *audit, struct tw_error *err) {
    struct stat info;
    audit->fd = open(audit->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    audit->is_regular = audit->fd >= 0 && fstat(audit->fd, &info) == 0 && S_ISREG(info.st_mode);
    audit->end = -1;
    return audit->fd >= 0 || tw_fail_errno(err, TW_ERR_INVALID_REQUEST, errno,
                                           "the audit log %s cannot be opened", audit->path);
}

// The file is ours until end_turn, and we know its last line. Returns how many lines were found cut. Where a file system
// has no locks, one server writes to the file.
static uint64_t begin_turn(struct tw_audit *audit) {
    if (!audit->is_regular)
        return 0;
    while (flock(audit->fd, LOCK_EX) != 0 && errno == EINTR)
        ;
    off_t size = lseek(audit->fd, 0, SEEK_END);
    return size == audit->end ? 0 : read_tail(audit, size);
}

static void end_turn(struct tw_audit *audit) {
    if (!audit->is_regular || audit->fd < 0)
        return;
    audit->end = lseek(audit->fd, 0, SEEK_END);
    flock(audit->fd, LOCK_UN);
}

static void close_file(struct tw_audit *audit) {
    if (audit->path && audit->fd >= 0)
        close(audit->fd);
    audit->fd = -1;
}

// All of it or, on a file, nothing.
static bool write_all(struct tw_audit *audit, struct tw_span data) {
    off_t before = lseek(audit->fd, 0, SEEK_END);
    size_t done = 0;
    while (done < data.len) {
        ssize_t written = write(audit->fd, data.data + done, data.len - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            if (done > 0 && audit->path && before >= 0 && ftruncate(audit->fd, before) != 0)
                close_file(audit); // what is left of it shows in the chain
            return false;
        }
        done += (size_t)written;
    }
    return true;
}

// ---- the thread ----

// In our turn.
static bool append_line(struct tw_audit *audit, const char *body, uint64_t lost) {
    char prev[TW_DIGEST_HEX_SIZE], count[40] = "";
    tw_digest_hex(&audit->last, prev);
    if (lost)
        snprintf(count, sizeof count, ",\"lost\":%" PRIu64, lost);
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf line;
    tw_buf_init(&line, AUDIT_LINE_MAX);
    if (!tw_buf_printf(&line, "%s%s,\"seq\":%" PRIu64 ",\"prev\":\"%s\"}\n", body, count, audit->seq + 1,
                       prev) ||
        !write_all(audit, tw_buf_span(&line)))
        return false;
    audit->seq++;
    audit->last = tw_sha256(tw_span_of(line.data, line.len - 1));
    tw_metric_add(TW_METRIC_AUDIT_LINES, tw_labels(), 1);
    return true;
}

// `*lost` grows by what is found to be lost.
static bool write_line(struct tw_audit *audit, const char *body, uint64_t *lost) {
    struct tw_error ignored = {};
    if (audit->fd < 0 && !open_file(audit, &ignored))
        return false;
    *lost += begin_turn(audit);
    bool ok = append_line(audit, body, *lost);
    end_turn(audit);
    return ok;
}

static void count_lost(struct tw_audit *audit, uint64_t lost) {
    {
        TW_LOCK_SCOPE(&audit->lock);
        audit->lost += lost;
    }
}

// Waits for something to do; false at the end. `*ret_body` is the next line, or NULL.
static bool next(struct tw_audit *audit, char **ret_body, uint64_t *ret_lost, bool *ret_reopen) {
    TW_LOCK_SCOPE(&audit->lock);
    while (audit->count == 0 && !audit->reopen && !audit->stop)
        tw_cond_wait(&audit->changed, &audit->lock, TW_NO_DEADLINE);
    *ret_reopen = audit->reopen;
    audit->reopen = false;
    *ret_body = NULL;
    *ret_lost = 0;
    if (audit->count == 0)
        return *ret_reopen || !audit->stop;
    *ret_body = audit->queue[audit->first];
    *ret_lost = audit->lost;
    audit->lost = 0;
    audit->first = (audit->first + 1) % AUDIT_QUEUE;
    audit->count--;
    return true;
}

static void run(void *context) {
    struct tw_audit *audit = context;
    char *body;
    uint64_t lost;
    bool reopen;
    while (next(audit, &body, &lost, &reopen)) {
        if (reopen && audit->path)
            close_file(audit); // opened again for the next line
        if (body && !write_line(audit, body, &lost)) {
            tw_metric_add(TW_METRIC_AUDIT_LOST, tw_labels(), 1);
            count_lost(audit, lost + 1);
        }
        free(body);
    }
    TW_LOCK_SCOPE(&audit->lock);
    audit->has_ended = true;
    tw_cond_wake_all(&audit->changed);
}

// ---- life ----

static bool start(struct tw_audit *audit, const char *target, struct tw_error *err) {
    if (strncmp(target, "file:", 5) == 0 && target[5]) {
        audit->path = tw_str_dup(tw_str_from(target + 5));
        if (!audit->path)
            return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        if (!open_file(audit, err))
            return false;
    } else if (strcmp(target, "stdout") == 0) {
        audit->fd = STDOUT_FILENO;
    } else if (strcmp(target, "none") != 0) {
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "TENSOR_WASM_API_AUDIT_LOG takes stdout, none or file:PATH, not '%.80s'", target);
    }
    audit->is_none = audit->has_ended = audit->fd < 0;
    return audit->is_none || tw_thread_start(&audit->thread, "tw-audit", run, audit, err);
}

static void destroy(struct tw_audit *audit) {
    close_file(audit);
    tw_cond_done(&audit->changed);
    tw_lock_done(&audit->lock);
    free(audit->path);
    free(audit);
}

struct tw_audit *tw_audit_new(const char *target, struct tw_error *err) {
    struct tw_audit *audit = tw_alloc_zero(1, sizeof *audit);
    if (!audit) {
        tw_fail(err, TW_ERR_CAPACITY, "out of memory");
        return NULL;
    }
    audit->fd = -1;
    tw_lock_init(&audit->lock);
    tw_cond_init(&audit->changed);
    if (start(audit, target, err))
        return audit;
    destroy(audit);
    return NULL;
}

// With a disk that hangs, the thread and what it uses are left to the end of the process.
void tw_audit_free(struct tw_audit *audit) {
    if (!audit)
        return;
    bool has_ended;
    {
        TW_LOCK_SCOPE(&audit->lock);
        int64_t deadline_ns = tw_clock_ns() + AUDIT_END_S * TW_NS_PER_S;
        audit->stop = true;
        tw_cond_wake_all(&audit->changed);
        while (!audit->has_ended && tw_cond_wait(&audit->changed, &audit->lock, deadline_ns))
            ;
        has_ended = audit->has_ended;
    }
    if (!has_ended)
        return;
    if (!audit->is_none)
        tw_thread_join(audit->thread);
    destroy(audit);
}

// ---- posting ----

// The line without its closing brace; the caller frees it. NULL without memory.
static char *format(const struct tw_audit_entry *entry) {
    char time[TW_TIME_TEXT_SIZE];
    struct tw_buf out;
    struct tw_json_writer writer;
    tw_clock_text(tw_clock_wall_ns(), time);
    tw_buf_init(&out, AUDIT_LINE_MAX);
    tw_json_write_init(&writer, &out);
    tw_json_write_object(&writer);
    tw_json_write_text(&writer, "time", tw_str_from(time));
    tw_json_write_text(&writer, "request_id", tw_str_from(entry->request_id));
    tw_json_write_text(&writer, "actor", tw_str_from(entry->actor));
    tw_json_write_id(&writer, "tenant", entry->tenant);
    tw_json_write_text(&writer, "action", tw_str_from(entry->action));
    size_t len = entry->object.len < AUDIT_OBJECT_MAX ? entry->object.len : AUDIT_OBJECT_MAX;
    tw_json_write_text(&writer, "object", tw_str_of(entry->object.data, len));
    tw_json_write_text(&writer, "outcome", tw_str_from(entry->outcome));
    tw_json_write_key(&writer, "status");
    tw_json_write_int(&writer, entry->status);
    tw_json_write_key(&writer, "latency_us");
    tw_json_write_int(&writer, entry->latency_us);
    tw_json_write_text(&writer, "peer", tw_str_from(entry->peer));
    tw_json_write_end(&writer, '}');
    char *text = tw_json_write_done(&writer) ? (char *)tw_buf_take(&out, &len) : NULL;
    if (text)
        text[len - 1] = '\0'; // the brace: the writer's thread has more to say
    tw_buf_done(&out);
    return text;
}

void tw_audit_post(struct tw_audit *audit, const struct tw_audit_entry *entry) {
    if (!audit || audit->is_none)
        return;
    char *body = format(entry);
    bool is_queued = false;
    {
        TW_LOCK_SCOPE(&audit->lock);
        if (body && audit->count < AUDIT_QUEUE) {
            audit->queue[(audit->first + audit->count++) % AUDIT_QUEUE] = body;
            is_queued = true;
        } else {
            audit->lost++;
        }
        tw_cond_wake_all(&audit->changed);
    }
    if (is_queued)
        return;
    tw_metric_add(TW_METRIC_AUDIT_LOST, tw_labels(), 1);
    free(body);
}

void tw_audit_reopen(struct tw_audit *audit) {
    if (!audit || audit->is_none)
        return;
    TW_LOCK_SCOPE(&audit->lock);
    audit->reopen = true;
    tw_cond_wake_all(&audit->changed);
}

// SPDX-License-Identifier: Apache-2.0
//
// Bodies that are too large for memory: each full block goes to a file without a name in the data folder, written by
// a thread of its own; the handler reads the whole body from a mapping of it.
//
//     filling ──block full──▶ writing (and filling the next) ──both full──▶ the client is not read from
//        └───────the body is whole──▶ the rest is written ──▶ mapped ──▶ handler
//
// Per upload at most two blocks and what one read brought are in memory. The loop never waits for the disk. An
// exchange whose block is under way is not freed before that is done.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "http/internal.h"

static struct http_exchange *exchange_of(struct http_spill *spill) {
    return (struct http_exchange *)((char *)spill - offsetof(struct http_exchange, spill));
}

// ---- on the disk's thread ----

static bool write_all(int fd, struct tw_span bytes, uint64_t at, struct tw_error *err) {
    while (bytes.len) {
        bool is_fault = tw_fault_strikes(TW_FAULT_IO);
        ssize_t count = is_fault ? -1 : pwrite(fd, bytes.data, bytes.len, (off_t)at);
        if (is_fault)
            errno = EIO;
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return tw_fail_errno(err, TW_ERR_STORE, errno,
                                 "the request's body could not be written to the data folder");
        at += (uint64_t)count;
        bytes = tw_span_of(bytes.data + count, bytes.len - (size_t)count);
    }
    return true;
}

static int open_file(const char *folder) {
    char path[4096];
    int fd = tw_fault_strikes(TW_FAULT_IO) ? -1 : open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    // A file system that has no files without a name.
    int len = snprintf(path, sizeof path, "%s/.body-XXXXXX", folder);
    bool fits = len > 0 && (size_t)len < sizeof path;
    fd = fits && !tw_fault_strikes(TW_FAULT_IO) ? mkostemp(path, O_CLOEXEC) : -1;
    if (fd >= 0)
        unlink(path);
    return fd;
}

static bool write_block(struct http_spill *spill, const char *folder) {
    if (spill->fd < 0)
        spill->fd = open_file(folder);
    if (spill->fd < 0)
        return tw_fail_errno(&spill->error, TW_ERR_STORE, errno,
                             "no file for the request's body could be made in the data folder");
    return write_all(spill->fd, tw_buf_span(&spill->writing), spill->len, &spill->error);
}

static void run_task(struct tw_task *task) {
    struct http_spill *spill = (struct http_spill *)((char *)task - offsetof(struct http_spill, task));
    if (!write_block(spill, tw_service_path(http_service(exchange_of(spill)))))
        tw_log(TW_LOG_ERROR, "http", "a body could not be written", "error", spill->error.message, NULL);
    http_post(exchange_of(spill)->loop, &spill->note);
}

// ---- on the loop ----

// Hands the filled block over; the next one begins.
static bool push(struct http_exchange *x, struct tw_error *err) {
    struct http_spill *spill = &x->spill;
    spill->is_open = true;
    if (!http_shares_take(&x->loop->http->files, x->caller.tenant, (int64_t)x->body.len, err))
        return tw_wrap(err, "on disk");
    spill->charged += (int64_t)x->body.len;
    spill->writing = x->body;
    tw_buf_init(&x->body, spill->writing.max);
    spill->task = (struct tw_task){.run = run_task};
    spill->is_busy = tw_pool_submit(x->loop->http->disk, &spill->task, err);
    return spill->is_busy;
}

bool http_spill_take(struct http_exchange *x, struct tw_error *err) {
    return x->spill.is_busy || x->body.len <= HTTP_SPILL_BLOCK || push(x, err);
}

bool http_spill_is_full(const struct http_exchange *x) {
    return x->spill.is_busy && x->body.len > HTTP_SPILL_BLOCK;
}

static void run_handler(struct http_exchange *x) {
    struct http_spill *spill = &x->spill;
    void *map = mmap(NULL, (size_t)spill->len, PROT_READ, MAP_PRIVATE, spill->fd, 0);
    if (map == MAP_FAILED) {
        struct tw_error err = {};
        tw_fail_errno(&err, TW_ERR_CAPACITY, errno, "the request's body could not be mapped");
        http_fail(x, &err);
        return;
    }
    spill->map = map;
    http_exchange_handle(x);
}

void http_spill_finish(struct http_exchange *x) {
    struct http_spill *spill = &x->spill;
    spill->is_finishing = true;
    if (spill->is_busy)
        return; // on_note goes on
    if (!x->conn || x->stream_id < 0)
        tw_fail(&spill->error, TW_ERR_CANCELLED, "the client has gone");
    // Once it is pushed the error is the disk's thread's.
    if (spill->error.code == TW_OK && x->body.len && push(x, &spill->error))
        return;
    if (spill->error.code != TW_OK)
        http_fail(x, &spill->error);
    else
        run_handler(x);
}

// Still receiving: what came meanwhile may be a block by now, and the client may be read from again.
static void go_on(struct http_exchange *x) {
    if (x->spill.error.code == TW_OK && http_spill_take(x, &x->spill.error)) {
        if (x->conn->kind == HTTP_TWO)
            http_h2_more_room(x);
        else
            http_h1_more_room(x->conn);
        return;
    }
    x->refusal = x->spill.error;
    x->close_after = true;
    http_exchange_refuse(x);
}

static void on_note(struct http_note *note) {
    struct http_spill *spill = (struct http_spill *)((char *)note - offsetof(struct http_spill, note));
    struct http_exchange *x = exchange_of(spill);
    spill->is_busy = false;
    spill->len += spill->writing.len;
    tw_buf_done(&spill->writing);
    http_exchange_uncharge(x);
    if (spill->is_left)
        http_exchange_free(x);
    else if (x->stage == HTTP_RECEIVING)
        go_on(x);
    else if (spill->is_finishing && x->stage == HTTP_WORKING && !spill->map)
        http_spill_finish(x);
}

void http_spill_init(struct http_spill *spill) {
    *spill = (struct http_spill){.fd = -1, .note.run = on_note};
}

bool http_spill_leave(struct http_exchange *x) {
    x->spill.is_left = x->spill.is_busy;
    return x->spill.is_left;
}

void http_spill_clean(struct http_exchange *x) {
    struct http_spill *spill = &x->spill;
    if (!spill->is_open)
        return;
    if (spill->map)
        munmap(spill->map, (size_t)spill->len);
    if (spill->fd >= 0)
        close(spill->fd);
    tw_buf_done(&spill->writing);
    http_shares_give(&x->loop->http->files, x->caller.tenant, spill->charged);
    http_spill_init(spill);
}

struct tw_span http_body(const struct http_exchange *x) {
    return x->spill.map ? tw_span_of(x->spill.map, (size_t)x->spill.len) : tw_buf_span(&x->body);
}

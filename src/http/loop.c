// SPDX-License-Identifier: Apache-2.0
//
// An event loop: one thread, one epoll set, its own connections. Each turn handles one batch:
//
//     events ─▶ notes ─▶ connections with input, then those with much ──┐
//                          ▲                                            ▼ a few calls wait, or no connection does
//                          └─ HTTP/2 output ◀── short calls, for a while ─▶ deadlines ─▶ burials
//
// The loop runs short calls itself, at this one place and never inside of parsing: a few at a time, while what their
// requests left is in the cache. When one of them goes on for long, another thread takes the loop over at the
// beginning of a turn and goes on with the connections that were left (threads.c).
//
// Other threads speak to it through the inbox alone: a list under a lock, and one write to an eventfd per
// empty → non-empty change, so that a burst of completions costs one wake-up.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "http/internal.h"

void http_wake(struct http_loop *loop) {
    uint64_t one = 1;
    while (write(loop->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void http_post(struct http_loop *loop, struct http_note *note) {
    note->next = NULL;
    tw_lock_take(&loop->inbox_lock);
    bool was_empty = !loop->inbox;
    *loop->inbox_last = note;
    loop->inbox_last = &note->next;
    loop->wakers += was_empty; // once the loop has seen the note it may end, but not before the last of them
    tw_lock_give(&loop->inbox_lock);
    if (!was_empty)
        return;
    // Without the lock: the loop takes it as soon as it wakes, often in this thread's place.
    http_wake(loop);
    tw_lock_take(&loop->inbox_lock);
    if (--loop->wakers == 0)
        tw_cond_wake_all(&loop->woken);
    tw_lock_give(&loop->inbox_lock);
}

static void await_wakers(struct http_loop *loop) {
    TW_LOCK_SCOPE(&loop->inbox_lock);
    while (loop->wakers)
        tw_cond_wait(&loop->woken, &loop->inbox_lock, TW_NO_DEADLINE);
}

void http_mark_ready(struct http_conn *conn) {
    if (conn->is_ready)
        return;
    struct http_loop *loop = conn->loop;
    struct http_ready *list = conn->is_heavy ? &loop->heavy : &loop->ready;
    conn->is_ready = true;
    conn->next_ready = NULL;
    *(list->first ? &list->last->next_ready : &list->first) = conn;
    list->last = conn;
}

void http_mark_dirty(struct http_conn *conn) {
    if (conn->is_dirty)
        return;
    conn->is_dirty = true;
    conn->next_dirty = conn->loop->dirty;
    conn->loop->dirty = conn;
}

static void flush_dirty(struct http_loop *loop) {
    while (loop->dirty) {
        struct http_conn *conn = loop->dirty;
        loop->dirty = conn->next_dirty;
        conn->is_dirty = false;
        if (conn->kind == HTTP_TWO)
            http_h2_flush(conn);
    }
}

// False: the loop is another thread's.
static bool run_calls(struct http_loop *loop) {
    if (!tw_service_executor_run(&loop->executor, HTTP_CALLS_NS))
        return false;
    loop->now_ns = tw_clock_ns();
    flush_dirty(loop);
    return true;
}

// False: the loop is another thread's.
static bool read_conn(struct http_loop *loop, struct http_conn *conn) {
    conn->is_ready = false;
    http_conn_read(conn);
    return tw_service_executor_waiting(&loop->executor) < HTTP_CALLS_BATCH || run_calls(loop);
}

// Reads those that are ready now, each once; what they ask for is run meanwhile and afterwards. False: the loop is
// another thread's, who goes on with the rest.
static bool serve_ready(struct http_loop *loop) {
    if (!loop->reading) {
        loop->reading = loop->ready.first;
        loop->ready.first = NULL;
    }
    for (struct http_conn *conn; (conn = loop->reading);) {
        loop->reading = conn->next_ready;
        if (!read_conn(loop, conn))
            return false;
    }
    return run_calls(loop);
}

// Those that had too much work for one turn, one after the other and for as long as all of them together may take: what
// they do costs the others' next turn no more than that, however many they are. False: as above.
static bool serve_heavy(struct http_loop *loop) {
    if (!loop->heavy.first)
        return true;
    int64_t until_ns = tw_clock_ns() + HTTP_HEAVY_NS;
    for (struct http_conn *conn; (conn = loop->heavy.first);) {
        loop->heavy.first = conn->next_ready;
        if (!read_conn(loop, conn))
            return false;
        flush_dirty(loop); // which is of its work
        if (tw_clock_ns() >= until_ns)
            break;
    }
    return run_calls(loop);
}

static void run_inbox(struct http_loop *loop) {
    tw_lock_take(&loop->inbox_lock);
    struct http_note *note = loop->inbox;
    loop->inbox = NULL;
    loop->inbox_last = &loop->inbox;
    tw_lock_give(&loop->inbox_lock);
    for (struct http_note *next; note; note = next) {
        next = note->next;
        note->run(note);
    }
}

// Frees the closed connections that no list names any more.
static void bury(struct http_loop *loop) {
    struct http_conn **link = &loop->buried;
    for (struct http_conn *conn = *link; conn; conn = *link) {
        if (conn->is_ready || conn->is_dirty) {
            link = &conn->next;
            continue;
        }
        *link = conn->next;
        free(conn);
    }
}

static bool is_idle(const struct http_conn *conn) {
    return conn->kind == HTTP_PEEK || (conn->kind == HTTP_ONE && !conn->exchanges && !conn->pending.len);
}

// While the server drains: no new connections, idle ones are closed, HTTP/2 clients are told; at the deadline
// all are told and closed.
static void drain(struct http_loop *loop) {
    if (!tw_flag_is_raised(&loop->stopped_listening)) {
        http_stop_listening(loop);
        tw_flag_raise(&loop->stopped_listening);
    }
    bool is_closing = tw_flag_is_raised(&loop->http->closing);
    bool is_stopping = tw_flag_is_raised(&loop->http->stopping);
    for (struct http_conn *conn = loop->conns, *next; conn; conn = next) {
        next = conn->next;
        if (is_stopping || (is_idle(conn) && !conn->readable))
            http_conn_close(conn);
        else if (is_closing)
            http_conn_cut(conn);
        else if (conn->kind == HTTP_TWO)
            http_h2_drain(conn);
    }
    tw_lock_take(&loop->http->lock);
    tw_cond_wake_all(&loop->http->empty);
    tw_lock_give(&loop->http->lock);
}

static void sweep(struct http_loop *loop) {
    if (loop->now_ns - loop->swept_ns < HTTP_SWEEP_MS * TW_NS_PER_MS)
        return;
    loop->swept_ns = loop->now_ns;
    http_listen_again(loop);
    for (struct http_conn *conn = loop->conns, *next; conn; conn = next) {
        next = conn->next;
        http_conn_sweep(conn);
    }
}

static void clear_wake(struct http_loop *loop) {
    uint64_t count;
    if (read(loop->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN && errno != EINTR)
        tw_log(TW_LOG_ERROR, "http", "an event loop's wake-up cannot be read", NULL);
}

static void handle(struct http_loop *loop, const struct epoll_event *event) {
    if (event->data.ptr == &loop->listen_fd)
        http_accept(loop);
    else if (event->data.ptr == &loop->wake_fd)
        clear_wake(loop);
    else
        http_conn_event(event->data.ptr, event->events);
}

static int timeout_of(const struct http_loop *loop) {
    if (loop->ready.first || loop->heavy.first || loop->reading || loop->dirty ||
        tw_service_executor_waiting(&loop->executor))
        return 0;
    return loop->conns || loop->is_deaf ? HTTP_SWEEP_MS : -1;
}

// ENDED: nothing is open and no handler owes an answer. REPLACED: the loop is another thread's.
enum turn { TURN_GOES_ON, TURN_ENDED, TURN_REPLACED };

static enum turn turn(struct http_loop *loop) {
    struct epoll_event events[HTTP_EVENTS];
    int count = epoll_wait(loop->epoll_fd, events, HTTP_EVENTS, timeout_of(loop));
    loop->now_ns = tw_clock_ns();
    for (int i = 0; i < count; i++)
        handle(loop, &events[i]);
    run_inbox(loop);
    if (!serve_ready(loop) || !serve_heavy(loop))
        return TURN_REPLACED;
    sweep(loop);
    if (tw_flag_is_raised(&loop->http->draining))
        drain(loop);
    flush_dirty(loop);
    bury(loop);
    bool is_over = tw_flag_is_raised(&loop->http->stopping) && !loop->conns && !loop->buried &&
                   tw_counter_get(&loop->exchange_count) == 0;
    return is_over ? TURN_ENDED : TURN_GOES_ON;
}

bool http_loop_run(struct http_loop *loop) {
    enum turn last;
    while ((last = turn(loop)) == TURN_GOES_ON) {
    }
    return last == TURN_ENDED;
}

bool http_loop_init(struct http_loop *loop, struct tw_http *http, unsigned index, struct tw_error *err) {
    loop->http = http;
    loop->index = index;
    loop->inbox_last = &loop->inbox;
    loop->listen_fd = -1;
    loop->now_ns = tw_clock_ns();
    tw_random(&loop->random, sizeof loop->random);
    tw_lock_init(&loop->inbox_lock);
    tw_cond_init(&loop->woken);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &loop->wake_fd};
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 || !http_meter_init(loop) ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0)
        return tw_fail_errno(err, TW_ERR_CAPACITY, errno, "an event loop could not be made");
    return http_loop_serve(loop, err);
}

void http_loop_done(struct http_loop *loop) {
    if (!loop->http)
        return; // never initialised
    await_wakers(loop);
    tw_service_executor_done(&loop->executor);
    http_exchange_free_spare(loop);
    http_meter_done(loop);
    const int fds[] = {loop->listen_fd, loop->epoll_fd, loop->wake_fd, loop->spare_fd};
    for (size_t i = 0; i < TW_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    tw_cond_done(&loop->woken);
    tw_lock_done(&loop->inbox_lock);
}

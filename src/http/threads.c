// SPDX-License-Identifier: Apache-2.0
//
// The threads of the event loops. A loop has one thread at a time, but not always the same: when a call that
// the loop runs itself goes on for long, its thread stays with the call and the loop becomes an orphan, which
// a thread on standby, or a new one, takes over at once:
//
//     loop ── thread A runs a long call ──▶ orphan ──▶ thread B runs the loop
//                     └── the call ends, its answer goes through the inbox ──▶ A is on standby
//
// Threads are kept: there are as many as there were loops and long calls at once.

#include "http/internal.h"

static _Thread_local const struct http_loop *current;

bool http_on_loop(const struct http_loop *loop) {
    return current == loop;
}

// The next loop without a thread; NULL when the server ends.
static struct http_loop *take_orphan(struct tw_http *http) {
    TW_LOCK_SCOPE(&http->lock);
    http->standby++;
    while (!http->orphans && !http->threads_end)
        tw_cond_wait(&http->orphaned, &http->lock, TW_NO_DEADLINE);
    http->standby--;
    struct http_loop *loop = http->orphans;
    if (loop)
        http->orphans = loop->next_orphan;
    return loop;
}

static void end_loop(struct http_loop *loop) {
    TW_LOCK_SCOPE(&loop->http->lock);
    loop->has_ended = true;
    tw_cond_wake_all(&loop->http->empty);
}

static void thread_main(void *context) {
    struct tw_http *http = context;
    struct http_loop *loop;
    while ((loop = take_orphan(http))) {
        current = loop;
        tw_thread_go_first(); // again, after a long call
        bool is_over = http_loop_run(loop);
        current = NULL;
        if (is_over)
            end_loop(loop);
    }
}

static bool start_locked(struct tw_http *http, struct tw_error *err) {
    char name[16];
    if (http->thread_count == HTTP_THREADS_MAX)
        return tw_fail(err, TW_ERR_CAPACITY, "event loops have %d threads already", HTTP_THREADS_MAX);
    snprintf(name, sizeof name, "http-%u", http->thread_count);
    if (!tw_thread_start(&http->threads[http->thread_count], name, thread_main, http, err))
        return false;
    http->thread_count++;
    return true;
}

// Without a thread it waits for one that becomes free; false then, when there is none at all on standby.
static bool orphan_locked(struct http_loop *loop, struct tw_error *err) {
    struct tw_http *http = loop->http;
    unsigned orphans = 1;
    for (const struct http_loop *other = http->orphans; other; other = other->next_orphan)
        orphans++;
    loop->next_orphan = http->orphans;
    http->orphans = loop;
    tw_cond_wake_one(&http->orphaned);
    return orphans <= http->standby || start_locked(http, err);
}

bool http_loop_start(struct http_loop *loop, struct tw_error *err) {
    TW_LOCK_SCOPE(&loop->http->lock);
    loop->started = true;
    if (orphan_locked(loop, err))
        return true;
    loop->http->orphans = loop->next_orphan;
    loop->started = false;
    return false;
}

void http_loop_join(struct http_loop *loop) {
    if (!loop->http)
        return; // never initialised
    TW_LOCK_SCOPE(&loop->http->lock);
    while (loop->started && !loop->has_ended)
        tw_cond_wait(&loop->http->empty, &loop->http->lock, TW_NO_DEADLINE);
    loop->started = false;
}

void http_threads_end(struct tw_http *http) {
    tw_lock_take(&http->lock);
    http->threads_end = true;
    tw_cond_wake_all(&http->orphaned);
    tw_lock_give(&http->lock);
    for (unsigned i = 0; i < http->thread_count; i++)
        tw_thread_join(http->threads[i]);
}

// ---- the engine's hooks ----

static struct http_loop *loop_of(struct tw_executor *executor) {
    return (struct http_loop *)((char *)executor - offsetof(struct http_loop, executor));
}

static void on_overdue(struct tw_executor *executor) {
    struct http_loop *loop = loop_of(executor);
    struct tw_error err = {};
    TW_LOCK_SCOPE(&loop->http->lock);
    if (!orphan_locked(loop, &err))
        tw_log(TW_LOG_WARN, "http", "an event loop waits for its thread", "error", err.message, NULL);
}

static void on_replaced(struct tw_executor *executor) {
    (void)executor;
    current = NULL; // what the call answers goes through the inbox
}

bool http_loop_serve(struct http_loop *loop, struct tw_error *err) {
    loop->executor = (struct tw_executor){.overdue = on_overdue, .replaced = on_replaced};
    return tw_service_executor_init(loop->http->options.service, &loop->executor, err);
}

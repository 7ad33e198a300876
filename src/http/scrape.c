// SPDX-License-Identifier: Apache-2.0
//
// GET /metrics. Anybody may ask, and writing the numbers may take milliseconds, so they are written by one thread at a
// time, for all who wait then, and with pauses: whoever asks while they are written gets the next ones, never ones that
// are older than the question. However many ask, this takes a fifth of one core at most.
//
//     asked ─▶ waiting ──one task──▶ written once in each format ─▶ answered, all of them
//                 ▲                        │ some came meanwhile
//                 └────────── pause ◀──────┘

#include "http/handlers.h"
#include "http/internal.h"
#include "telemetry/telemetry.h"

enum {
    METRICS_MAX = 32 << 20,
    PAUSE_FACTOR = 4, // times as long as writing took
    PAUSE_MAX_MS = 250,
};

// Does the Accept header name OpenMetrics? Scrapers that can read it list it first.
static bool wants_openmetrics(const struct http_exchange *x) {
    struct tw_str rest = http_header_find(x, TW_STR("accept"));
    while (rest.len) {
        struct tw_str range = tw_str_cut(&rest, ',');
        if (tw_str_equal_nocase(tw_str_trim(tw_str_cut(&range, ';')), TW_STR("application/openmetrics-text")))
            return true;
    }
    return false;
}

static struct http_text *write_metrics(struct tw_http *http, bool openmetrics, struct tw_error *err) {
    struct tw_buf out;
    tw_buf_init(&out, METRICS_MAX);
    struct http_text *text = NULL;
    if (tw_metrics_write(&out, openmetrics))
        text = http_text_of_buf(&out, &http->bodies, err);
    else
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the metrics; try again later");
    tw_buf_done(&out);
    return text;
}

static void answer(struct http_exchange *x, bool openmetrics, struct http_text *text,
                   const struct tw_error *err) {
    if (!text) {
        http_fail(x, err);
        return;
    }
    x->reply.status = 200;
    x->reply.vary |= HTTP_VARY_ACCEPT;
    x->reply.content_type = openmetrics ? TW_STR("application/openmetrics-text; version=1.0.0; charset=utf-8")
                                        : TW_STR("text/plain; version=0.0.4; charset=utf-8");
    http_text_reply(text, &x->reply);
    http_respond(x);
}

// Both formats are written at most once for the whole list.
static void answer_all(struct tw_http *http, struct http_exchange *first) {
    struct http_text *texts[2] = {};
    struct tw_error errors[2] = {};
    for (struct http_exchange *x = first, *next; x; x = next) {
        next = x->next_waiting; // it is the loop's once it is answered
        bool openmetrics = wants_openmetrics(x);
        struct tw_error *err = &errors[openmetrics];
        if (!texts[openmetrics] && err->code == TW_OK)
            texts[openmetrics] = write_metrics(http, openmetrics, err);
        answer(x, openmetrics, texts[openmetrics], err);
    }
    http_text_unref(texts[0]);
    http_text_unref(texts[1]);
}

// NULL: nobody waits, and the task ends.
static struct http_exchange *take_waiting(struct http_scrapes *scrapes) {
    TW_LOCK_SCOPE(&scrapes->lock);
    struct http_exchange *first = scrapes->waiting;
    scrapes->waiting = NULL;
    scrapes->is_writing = first != NULL;
    if (!first)
        tw_cond_wake_all(&scrapes->idle);
    return first;
}

// The pause after what was written last. Scrapers that come every few seconds never see it.
static void wait_for_turn(struct http_scrapes *scrapes) {
    TW_LOCK_SCOPE(&scrapes->lock);
    while (tw_cond_wait(&scrapes->paused, &scrapes->lock, scrapes->next_ns))
        continue;
}

// On the pool: collectors may take locks of other rooms.
static void run(struct tw_task *task) {
    struct http_scrapes *scrapes =
        (struct http_scrapes *)((char *)task - offsetof(struct http_scrapes, task));
    wait_for_turn(scrapes);
    for (struct http_exchange *first; (first = take_waiting(scrapes));) {
        int64_t began_ns = tw_clock_ns();
        answer_all(scrapes->http, first);
        int64_t now_ns = tw_clock_ns(), pause_ns = (now_ns - began_ns) * PAUSE_FACTOR;
        int64_t most_ns = PAUSE_MAX_MS * TW_NS_PER_MS;
        scrapes->next_ns = now_ns + (pause_ns < most_ns ? pause_ns : most_ns);
        wait_for_turn(scrapes);
    }
}

// True: the task has to be begun.
static bool wait_for_numbers(struct http_scrapes *scrapes, struct http_exchange *x) {
    TW_LOCK_SCOPE(&scrapes->lock);
    bool is_first = !scrapes->is_writing;
    x->next_waiting = scrapes->waiting;
    scrapes->waiting = x;
    scrapes->is_writing = true;
    return is_first;
}

void http_metrics(struct http_exchange *x) {
    struct http_scrapes *scrapes = &x->loop->http->scrapes;
    struct tw_error err = {};
    if (!wait_for_numbers(scrapes, x))
        return;
    scrapes->task = (struct tw_task){.run = run};
    if (tw_service_submit(http_service(x), NULL, &scrapes->task, &err))
        return;
    for (struct http_exchange *waiting; (waiting = take_waiting(scrapes));)
        for (struct http_exchange *next; waiting; waiting = next) {
            next = waiting->next_waiting;
            http_fail(waiting, &err);
        }
}

void http_scrapes_init(struct http_scrapes *scrapes, struct tw_http *http) {
    tw_lock_init(&scrapes->lock);
    tw_cond_init(&scrapes->idle);
    tw_cond_init(&scrapes->paused);
    scrapes->http = http;
}

void http_scrapes_done(struct http_scrapes *scrapes) {
    tw_lock_take(&scrapes->lock);
    while (scrapes->is_writing) // its last answer is out already
        tw_cond_wait(&scrapes->idle, &scrapes->lock, TW_NO_DEADLINE);
    tw_lock_give(&scrapes->lock);
    tw_cond_done(&scrapes->idle);
    tw_cond_done(&scrapes->paused);
    tw_lock_done(&scrapes->lock);
}

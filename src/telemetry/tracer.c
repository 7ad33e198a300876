// SPDX-License-Identifier: Apache-2.0
//
// Gathers finished traces and sends them from a thread of its own:
//
//     requests ─put─▶ filling ─(a second, or half a MiB)─▶ sending ─▶ collector
//
// Two buffers change places. While the collector is slow or gone the other one fills; once it is full, whole
// traces are dropped and counted. A request never waits for more than the copy of its few hundred bytes.

#include <math.h>
#include <pthread.h>

#include "telemetry/trace.h"

// Guarded by `lock`, but for what is frozen and what is the thread's.
struct tw_tracer {
    uint64_t threshold; // frozen
    char *instance;     // frozen
    struct tw_lock lock;
    struct tw_cond some;
    struct tw_buf filling;
    uint32_t filling_spans;
    struct tw_counter wall_offset_ns; // any thread reads it
    bool stopping;
    bool started;
    pthread_t thread;
    // ---- the thread's ----
    struct telemetry_collector *collector;
    struct tw_buf sending;
    uint32_t sending_spans;
    bool is_down; // told once
};

uint64_t telemetry_tracer_threshold(const struct tw_tracer *tracer) {
    return tracer->threshold;
}

int64_t telemetry_tracer_wall_offset(const struct tw_tracer *tracer) {
    return tw_counter_get(&tracer->wall_offset_ns);
}

static void note_clocks(struct tw_tracer *tracer) {
    tw_counter_set(&tracer->wall_offset_ns, tw_clock_wall_ns() - tw_clock_ns());
}

static void count(enum tw_metric metric, const char *result, uint32_t spans) {
    tw_metric_add(metric, (struct tw_labels){.values = {result}}, spans);
}

void telemetry_tracer_put(struct tw_tracer *tracer, struct tw_span bytes, uint32_t spans) {
    bool fits, wake = false;
    {
        TW_LOCK_SCOPE(&tracer->lock);
        size_t before = tracer->filling.len;
        fits = tw_buf_append(&tracer->filling, bytes.data, bytes.len);
        if (fits) {
            tracer->filling_spans += spans;
            wake = before < TELEMETRY_BATCH_SEND && tracer->filling.len >= TELEMETRY_BATCH_SEND;
        }
    }
    if (wake)
        tw_cond_wake_one(&tracer->some);
    if (!fits)
        count(TW_METRIC_TRACE_SPANS, "dropped", spans);
}

// Swaps the buffers when a batch is due; false: stopping.
static bool take_batch(struct tw_tracer *tracer) {
    int64_t due_ns = tw_clock_ns() + TELEMETRY_BATCH_MS * TW_NS_PER_MS;
    TW_LOCK_SCOPE(&tracer->lock);
    while (!tracer->stopping && tracer->filling.len < TELEMETRY_BATCH_SEND && tw_clock_ns() < due_ns)
        tw_cond_wait(&tracer->some, &tracer->lock, due_ns);
    struct tw_buf full = tracer->filling;
    tracer->filling = tracer->sending;
    tracer->sending = full;
    tracer->sending_spans = tracer->filling_spans;
    tracer->filling_spans = 0;
    return !tracer->stopping;
}

// Sleeps between two tries; false: stopping.
static bool pause_ms(struct tw_tracer *tracer, int64_t ms) {
    int64_t due_ns = tw_clock_ns() + ms * TW_NS_PER_MS;
    TW_LOCK_SCOPE(&tracer->lock);
    while (!tracer->stopping && tw_clock_ns() < due_ns)
        tw_cond_wait(&tracer->some, &tracer->lock, due_ns);
    return !tracer->stopping;
}

static enum telemetry_sent send_once(struct tw_tracer *tracer, bool is_last, struct tw_error *err) {
    uint8_t head[TELEMETRY_OTLP_HEAD_MAX];
    size_t len = telemetry_otlp_head(tracer->instance, tracer->sending.len, head);
    return telemetry_collector_send(tracer->collector, tw_span_of(head, len), tw_buf_span(&tracer->sending),
                                    is_last, err);
}

static void tell(struct tw_tracer *tracer, bool ok, const struct tw_error *err) {
    if (!ok && !tracer->is_down)
        tw_log(TW_LOG_WARN, "telemetry", "the collector takes no traces", "error", err->message, NULL);
    if (ok && tracer->is_down)
        tw_log(TW_LOG_INFO, "telemetry", "the collector takes traces again", NULL);
    tracer->is_down = !ok;
}

static void send_batch(struct tw_tracer *tracer, bool is_last) {
    if (!tracer->sending.len)
        return;
    struct tw_error err = {};
    enum telemetry_sent sent = send_once(tracer, is_last, &err);
    for (int try = 1; sent == TELEMETRY_SEND_AGAIN && !is_last && try < TELEMETRY_SEND_TRIES; try++) {
        tell(tracer, false, &err);
        is_last = !pause_ms(tracer, 500LL << try);
        sent = send_once(tracer, is_last, &err);
    }
    tell(tracer, sent == TELEMETRY_SENT, &err);
    count(TW_METRIC_TRACE_SPANS, sent == TELEMETRY_SENT ? "exported" : "failed", tracer->sending_spans);
    tw_buf_reset(&tracer->sending);
}

static void run(void *context) {
    struct tw_tracer *tracer = context;
    while (take_batch(tracer)) {
        note_clocks(tracer);
        send_batch(tracer, false);
    }
    send_batch(tracer, true);
}

static bool check(const struct tw_tracer_options *options, struct tw_error *err) {
    return (isfinite(options->ratio) && options->ratio >= 0 && options->ratio <= 1) ||
           tw_fail(err, TW_ERR_INVALID_REQUEST, "the share of traces to sample lies between 0 and 1");
}

struct tw_tracer *tw_tracer_new(const struct tw_tracer_options *options, struct tw_error *err) {
    if (!check(options, err))
        return NULL;
    struct tw_tracer *tracer = tw_alloc_zero(1, sizeof *tracer);
    if (!tracer) {
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the tracer");
        return NULL;
    }
    tw_lock_init(&tracer->lock);
    tw_cond_init(&tracer->some);
    tw_buf_init(&tracer->filling, TELEMETRY_BATCH_MAX);
    tw_buf_init(&tracer->sending, TELEMETRY_BATCH_MAX);
    note_clocks(tracer);
    tracer->threshold = (uint64_t)(options->ratio * (double)(1ULL << 56));
    tracer->instance = tw_str_dup(tw_str_from(options->instance));
    tracer->collector = telemetry_collector_new(options, err);
    if (tracer->collector && !tracer->instance)
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the tracer");
    tracer->started = tracer->collector && tracer->instance &&
                      tw_thread_start(&tracer->thread, "tw-traces", run, tracer, err);
    if (tracer->started)
        return tracer;
    tw_tracer_free(tracer);
    return NULL;
}

void tw_tracer_free(struct tw_tracer *tracer) {
    if (!tracer)
        return;
    tw_lock_take(&tracer->lock);
    tracer->stopping = true;
    tw_cond_wake_all(&tracer->some);
    tw_lock_give(&tracer->lock);
    if (tracer->started) {
        telemetry_collector_hurry(tracer->collector);
        tw_thread_join(tracer->thread);
    }
    telemetry_collector_free(tracer->collector);
    tw_buf_done(&tracer->filling);
    tw_buf_done(&tracer->sending);
    free(tracer->instance);
    tw_cond_done(&tracer->some);
    tw_lock_done(&tracer->lock);
    free(tracer);
}

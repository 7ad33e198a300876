// SPDX-License-Identifier: Apache-2.0
//
// Collectors: functions that refresh gauges just before an exposition. The list changes only while none runs,
// so they run without the lock, one exposition at a time.

#include "telemetry/internal.h"

enum { COLLECTORS_MAX = 16 }; // about one a room

struct collector {
    void (*collect)(void *context);
    void *context;
};

// Guarded by `lock`; the list is frozen while `running`.
static struct {
    struct tw_lock lock;
    struct tw_cond idle;
    bool running;
    uint64_t log_lost; // log lines that were counted; of whoever runs the collectors
    size_t count;
    struct collector list[COLLECTORS_MAX];
} collectors;

static void setup(void) {
    tw_lock_init(&collectors.lock);
    tw_cond_init(&collectors.idle);
}

// Takes the lock at a moment when no collector runs.
static void take_idle(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup);
    tw_lock_take(&collectors.lock);
    while (collectors.running)
        tw_cond_wait(&collectors.idle, &collectors.lock, TW_NO_DEADLINE);
}

void tw_metrics_on_collect(void (*collect)(void *context), void *context) {
    take_idle();
    bool room = collectors.count < COLLECTORS_MAX;
    if (room)
        collectors.list[collectors.count++] = (struct collector){collect, context};
    tw_lock_give(&collectors.lock);
    TW_ASSERT(room);
}

void tw_metrics_off_collect(void (*collect)(void *context), void *context) {
    take_idle();
    size_t kept = 0;
    for (size_t i = 0; i < collectors.count; i++) {
        if (collectors.list[i].collect != collect || collectors.list[i].context != context)
            collectors.list[kept++] = collectors.list[i];
    }
    collectors.count = kept;
    tw_lock_give(&collectors.lock);
}

void telemetry_collect(void) {
    take_idle();
    collectors.running = true;
    tw_lock_give(&collectors.lock);
    for (size_t i = 0; i < collectors.count; i++)
        collectors.list[i].collect(collectors.list[i].context);
    uint64_t lost = tw_log_lost();
    tw_metric_add(TW_METRIC_LOG_LOST, tw_labels(), (int64_t)(lost - collectors.log_lost));
    collectors.log_lost = lost;
    tw_lock_take(&collectors.lock);
    collectors.running = false;
    tw_cond_wake_all(&collectors.idle);
    tw_lock_give(&collectors.lock);
}

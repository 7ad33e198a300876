// SPDX-License-Identifier: Apache-2.0
//
// Deadlines and sleeps: a binary heap of embedded timers and one thread that runs those that are due. It
// sleeps until the first is due and is woken only when an earlier one comes, so a deadline that does not
// strike costs two short critical sections. Removing waits for a timer that is firing, so its owner may go
// afterwards.

#include "engine/internal.h"

enum { TIMERS_MAX = 1 << 22 }; // two a call; more calls than this fit no machine

static void put(struct engine_timers *timers, size_t slot, struct engine_timer *timer) {
    timers->heap[slot] = timer;
    timer->slot = slot;
}

static void sift_up(struct engine_timers *timers, size_t slot, struct engine_timer *timer) {
    for (; slot > 1 && timers->heap[slot / 2]->due_ns > timer->due_ns; slot /= 2)
        put(timers, slot, timers->heap[slot / 2]);
    put(timers, slot, timer);
}

static void sift_down(struct engine_timers *timers, size_t slot, struct engine_timer *timer) {
    for (;;) {
        size_t child = slot * 2;
        if (child > timers->count)
            break;
        if (child < timers->count && timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
            child++;
        if (timers->heap[child]->due_ns >= timer->due_ns)
            break;
        put(timers, slot, timers->heap[child]);
        slot = child;
    }
    put(timers, slot, timer);
}

static void move_locked(struct engine_timers *timers, struct engine_timer *timer, int64_t due_ns) {
    bool earlier = due_ns < timer->due_ns;
    timer->due_ns = due_ns;
    if (earlier)
        sift_up(timers, timer->slot, timer);
    else
        sift_down(timers, timer->slot, timer);
}

static void unset_locked(struct engine_timers *timers, struct engine_timer *timer) {
    size_t slot = timer->slot;
    struct engine_timer *last = timers->heap[timers->count--];
    timer->slot = 0;
    if (last == timer)
        return;
    put(timers, slot, last);
    sift_down(timers, slot, last);
    sift_up(timers, last->slot, last);
}

static void wake_for_locked(struct engine_timers *timers, int64_t due_ns) {
    if (due_ns < timers->sleeping_until_ns)
        tw_cond_wake_one(&timers->changed);
}

bool engine_timer_set(struct engine_timers *timers, struct engine_timer *timer, int64_t due_ns) {
    TW_LOCK_SCOPE(&timers->lock);
    if (timer->unwanted)
        return true;
    if (timer->slot) {
        move_locked(timers, timer, due_ns);
    } else {
        if (!tw_vec_grow(&timers->heap, &timers->capacity, timers->count + 1, sizeof(struct engine_timer *),
                         TIMERS_MAX))
            return false;
        timer->due_ns = due_ns;
        sift_up(timers, ++timers->count, timer);
    }
    wake_for_locked(timers, due_ns);
    return true;
}

void engine_timer_hurry_locked(struct engine_timers *timers, struct engine_timer *timer, int64_t due_ns) {
    if (!timer->slot || timer->due_ns <= due_ns)
        return;
    move_locked(timers, timer, due_ns);
    wake_for_locked(timers, due_ns);
}

bool engine_timer_take(struct engine_timers *timers, struct engine_timer *timer) {
    TW_LOCK_SCOPE(&timers->lock);
    if (!timer->slot)
        return false;
    unset_locked(timers, timer);
    return true;
}

void engine_timer_remove(struct engine_timers *timers, struct engine_timer *timer) {
    TW_LOCK_SCOPE(&timers->lock);
    timer->unwanted = true; // cannot set itself again while it fires
    if (timer->slot)
        unset_locked(timers, timer);
    while (timers->firing == timer)
        tw_cond_wait(&timers->fired, &timers->lock, TW_NO_DEADLINE);
    timer->unwanted = false;
}

static void run(void *context) {
    struct engine_timers *timers = context;
    tw_thread_go_first(); // the watch is there for the others
    tw_lock_take(&timers->lock);
    while (!timers->stopping) {
        int64_t due_ns = timers->count ? timers->heap[1]->due_ns : TW_NO_DEADLINE;
        if (due_ns == TW_NO_DEADLINE || due_ns > tw_clock_ns()) {
            timers->sleeping_until_ns = due_ns;
            tw_cond_wait(&timers->changed, &timers->lock, due_ns);
            timers->sleeping_until_ns = INT64_MIN;
            continue;
        }
        struct engine_timer *timer = timers->heap[1];
        unset_locked(timers, timer);
        timers->firing = timer;
        tw_lock_give(&timers->lock);
        timer->fire(timer); // may be gone afterwards
        tw_lock_take(&timers->lock);
        timers->firing = NULL;
        tw_cond_wake_all(&timers->fired);
    }
    tw_lock_give(&timers->lock);
}

bool engine_timers_init(struct engine_timers *timers, struct tw_error *err) {
    tw_lock_init(&timers->lock);
    tw_cond_init(&timers->changed);
    tw_cond_init(&timers->fired);
    timers->sleeping_until_ns = INT64_MIN;
    timers->started = tw_thread_start(&timers->thread, "tw-timers", run, timers, err);
    return timers->started;
}

void engine_timers_done(struct engine_timers *timers) {
    tw_lock_take(&timers->lock);
    timers->stopping = true;
    tw_cond_wake_all(&timers->changed);
    tw_lock_give(&timers->lock);
    if (timers->started)
        tw_thread_join(timers->thread);
    free(timers->heap);
    tw_cond_done(&timers->fired);
    tw_cond_done(&timers->changed);
    tw_lock_done(&timers->lock);
}

// SPDX-License-Identifier: Apache-2.0
//
// The timers: they fire in order and not before they are due, and a removed one never fires.

#include "engine_test.h"

enum { TIMERS = 500 };

struct alarm {
    struct engine_timer timer;
    int64_t fired_ns;
    int order;
};

static struct engine_timers timers;
static int fired; // by the timers' thread; read after it was joined or through `all`
static struct tw_state all;

static void fire(struct engine_timer *timer) {
    struct alarm *alarm = (struct alarm *)timer;
    alarm->fired_ns = tw_clock_ns();
    alarm->order = ++fired;
    if (fired == TIMERS) {
        tw_state_set(&all, 1);
        tw_state_wake(&all);
    }
}

TW_TEST("timers fire when they are due, the earlier ones first") {
    static struct alarm alarms[TIMERS];
    struct tw_error err = {};
    tw_assert_ok(engine_timers_init(&timers, &err), &err);
    int64_t start = tw_clock_ns();
    for (int i = 0; i < TIMERS; i++) {
        alarms[i].timer.fire = fire;
        // Due in no order: multiples of 7 modulo a prime are all different.
        ck_assert(engine_timer_set(&timers, &alarms[i].timer,
                                   start + 50 * TW_NS_PER_MS + i * 7 % 503 * TW_NS_PER_MS / 5));
    }
    while (tw_state_get(&all) == 0)
        tw_state_wait(&all, 0, -1);
    for (int i = 0; i < TIMERS; i++) {
        ck_assert_int_ge(alarms[i].fired_ns, alarms[i].timer.due_ns);
        for (int k = 0; k < TIMERS; k++)
            ck_assert((alarms[i].timer.due_ns < alarms[k].timer.due_ns) ==
                          (alarms[i].order < alarms[k].order) ||
                      i == k);
    }
    engine_timers_done(&timers);
}

static bool is_set(const struct engine_timer *timer) {
    tw_lock_take(&timers.lock);
    bool is = timer->slot != 0;
    tw_lock_give(&timers.lock);
    return is;
}

TW_TEST("a removed timer never fires, and one that is moved fires at its new time") {
    enum {
        DUE_MS = 1000
    }; // that this thread gets to the removal in that time is all that it takes for granted
    static struct alarm alarms[3];
    struct tw_error err = {};
    tw_assert_ok(engine_timers_init(&timers, &err), &err);
    int64_t start = tw_clock_ns();
    for (int i = 0; i < 3; i++) {
        alarms[i].timer.fire = fire;
        int64_t due_ns = i < 2 ? start + DUE_MS * TW_NS_PER_MS : start + 3600 * TW_NS_PER_S;
        ck_assert(engine_timer_set(&timers, &alarms[i].timer, due_ns));
    }
    engine_timer_remove(&timers, &alarms[0].timer);
    ck_assert(engine_timer_take(&timers, &alarms[1].timer));
    ck_assert(!engine_timer_take(&timers, &alarms[1].timer));
    tw_lock_take(&timers.lock);
    engine_timer_hurry_locked(&timers, &alarms[1].timer, 0); // not set: stays so
    tw_lock_give(&timers.lock);
    ck_assert(engine_timer_set(&timers, &alarms[2].timer, start + 1800 * TW_NS_PER_S));
    tw_lock_take(&timers.lock);
    engine_timer_hurry_locked(&timers, &alarms[2].timer, start + 2 * DUE_MS * TW_NS_PER_MS);
    engine_timer_hurry_locked(&timers, &alarms[2].timer, start + 7200 * TW_NS_PER_S); // later: stays
    tw_lock_give(&timers.lock);
    struct tw_state never = {};
    while (is_set(&alarms[2].timer))
        tw_state_wait(&never, 0, TW_NS_PER_MS);
    engine_timers_done(&timers); // joins the thread
    ck_assert_int_eq(fired, 1);
    ck_assert_int_eq(alarms[2].order, 1);
    ck_assert_int_ge(alarms[2].fired_ns, start + 2 * DUE_MS * TW_NS_PER_MS);
}

static struct tw_state entered;

static void fire_slowly(struct engine_timer *timer) {
    struct alarm *alarm = (struct alarm *)timer;
    tw_state_set(&entered, 1);
    int64_t until = tw_clock_ns() + 30 * TW_NS_PER_MS;
    while (tw_clock_ns() < until)
        continue;
    ck_assert(engine_timer_set(&timers, timer, tw_clock_ns())); // sets itself again
    alarm->order++;
}

TW_TEST("removing waits for a timer that is firing, even one that sets itself again") {
    static struct alarm alarm;
    struct tw_error err = {};
    tw_assert_ok(engine_timers_init(&timers, &err), &err);
    alarm.timer.fire = fire_slowly;
    ck_assert(engine_timer_set(&timers, &alarm.timer, 0));
    while (tw_state_get(&entered) == 0)
        continue;
    engine_timer_remove(&timers, &alarm.timer);
    int order = alarm.order;
    ck_assert_int_ge(order, 1);
    ck_assert_uint_eq(alarm.timer.slot, 0);
    engine_timers_done(&timers);
    ck_assert_int_eq(alarm.order, order);
}

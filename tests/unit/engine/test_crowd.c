// SPDX-License-Identifier: Apache-2.0
//
// Who is refused because others wait, on a clock of the test's own: a queue with one place, calls that come at a
// rate and take a time. And calls that need not wait any longer, on the real engine.

#include "engine_test.h"

static const struct engine_patience patience = {.target_ns = 5 * TW_NS_PER_MS,
                                                .burst_ns = 100 * TW_NS_PER_MS};

// One server, first come first served.
struct line {
    struct engine_fair fair;
    int64_t free_ns; // when everything that was let in is done
    int64_t ends[100'000];
    unsigned ended, taken, refused;
    int64_t longest_ns; // from coming to done, of those that were counted
};

static void line_open(struct line *line) {
    struct tw_error err = {};
    *line = (struct line){};
    tw_assert_ok(engine_fair_init(&line->fair, 1, &err), &err);
}

// One call of tenant 1 comes at that time. `counts`: for longest_ns.
static bool come(struct line *line, int64_t now_ns, int64_t takes_ns, bool counts) {
    struct engine_share *share = engine_fair_get(&line->fair, 1, 1);
    while (line->ended < line->taken && line->ends[line->ended] <= now_ns)
        engine_crowd_leave(&line->fair, share, line->ends[line->ended++]);
    int64_t wait_ns;
    if (!engine_crowd_admits(&line->fair, share, &patience, now_ns, &wait_ns)) {
        line->refused++;
        struct tw_error err = {};
        ck_assert(!engine_crowd_refuse(&line->fair, share, wait_ns, &err));
        ck_assert_int_eq(err.code, TW_ERR_CAPACITY); // no other tenant has calls
        ck_assert_uint_ge(err.retry_after_s, 1);
        return false;
    }
    engine_crowd_join(&line->fair, share, now_ns);
    line->free_ns = (now_ns > line->free_ns ? now_ns : line->free_ns) + takes_ns;
    line->ends[line->taken++] = line->free_ns;
    if (counts && line->free_ns - now_ns > line->longest_ns)
        line->longest_ns = line->free_ns - now_ns;
    return true;
}

// So many calls, one each `every_ns`; those after the first second count.
static void offer(struct line *line, unsigned calls, int64_t from_ns, int64_t every_ns, int64_t takes_ns) {
    for (unsigned i = 0; i < calls; i++) {
        int64_t after_ns = (int64_t)i * every_ns;
        come(line, from_ns + after_ns, takes_ns, after_ns >= TW_NS_PER_S);
    }
}

TW_TEST("a thousand calls at once are all let in") {
    struct line line;
    line_open(&line);
    offer(&line, 1000, TW_NS_PER_S, 0, TW_NS_PER_MS);
    ck_assert_uint_eq(line.refused, 0);
    engine_fair_done(&line.fair);
}

TW_TEST("bursts that drain are let in, again and again") {
    struct line line;
    line_open(&line);
    for (int i = 1; i <= 50; i++) // 90 ms of work each 100 ms
        offer(&line, 90, i * 100 * TW_NS_PER_MS, 0, TW_NS_PER_MS);
    ck_assert_uint_eq(line.refused, 0);
    engine_fair_done(&line.fair);
}

TW_TEST("below its capacity a queue refuses nobody, at twice of it half, and nobody who is let in waits for "
        "long") {
    const int64_t takes_ns[] = {50 * TW_NS_PER_US, 5 * TW_NS_PER_MS, 50 * TW_NS_PER_MS};
    for (size_t i = 0; i < TW_COUNT(takes_ns); i++) {
        int64_t seconds = 1 + takes_ns[i] / (5 * TW_NS_PER_MS);
        unsigned calls = (unsigned)(3 * seconds * TW_NS_PER_S / takes_ns[i] / 2);
        calls = calls < 40'000 ? calls : 40'000;
        struct line line;
        line_open(&line);
        offer(&line, calls, TW_NS_PER_S, takes_ns[i] * 10 / 7, takes_ns[i]);
        ck_assert_uint_eq(line.refused, 0);
        ck_assert_int_le(line.longest_ns, takes_ns[i]);
        int64_t from_ns = line.free_ns + TW_NS_PER_S;
        unsigned before = line.taken;
        offer(&line, 2 * calls, from_ns, takes_ns[i] / 2, takes_ns[i]);
        double share = (double)(line.taken - before) / (2.0 * calls);
        ck_assert_double_ge(share, 0.49); // no capacity is lost
        ck_assert_uint_gt(line.refused, 0);
        // Short calls may wait for twenty targets, others for the four that are ahead.
        int64_t bound_ns = takes_ns[i] < TW_NS_PER_MS ? 101 * TW_NS_PER_MS : 5 * takes_ns[i];
        ck_assert_int_le(line.longest_ns, bound_ns);
        engine_fair_done(&line.fair);
    }
}

TW_TEST("after an overload bursts are let in again") {
    struct line line;
    line_open(&line);
    offer(&line, 4000, TW_NS_PER_S, 5 * TW_NS_PER_MS / 2, 5 * TW_NS_PER_MS);
    unsigned refused = line.refused;
    ck_assert_uint_gt(refused, 1000);
    offer(&line, 10, line.free_ns + 2 * TW_NS_PER_S, 0, 5 * TW_NS_PER_MS);
    ck_assert_uint_eq(line.refused, refused);
    engine_fair_done(&line.fair);
}

TW_TEST("a tenant that floods has its own calls refused, and no other tenant's") {
    struct engine_fair fair;
    struct tw_error err = {};
    tw_assert_ok(engine_fair_init(&fair, 2, &err), &err);
    unsigned refused = 0;
    int64_t wait_ns;
    for (int64_t now_ns = TW_NS_PER_S; now_ns < 3 * TW_NS_PER_S; now_ns += TW_NS_PER_MS) {
        struct engine_share *flood = engine_fair_get(&fair, 1, 1);
        if (engine_crowd_admits(&fair, flood, &patience, now_ns, &wait_ns)) {
            engine_crowd_join(&fair, flood, now_ns);
        } else {
            refused++;
            engine_crowd_refuse(&fair, flood, wait_ns, &err);
            ck_assert(err.code == TW_ERR_CONCURRENCY || err.code == TW_ERR_CAPACITY);
        }
        if (now_ns / TW_NS_PER_MS % 4 != 0)
            continue;
        // One of the flood's leaves each 4 ms. The other has one at work and one that waits, and gets another in.
        engine_crowd_leave(&fair, flood, now_ns);
        struct engine_share *other = engine_fair_get(&fair, 2, 1);
        ck_assert(engine_crowd_admits(&fair, other, &patience, now_ns, &wait_ns));
        engine_crowd_join(&fair, other, now_ns);
        if (other->crowd.load > 1)
            engine_crowd_leave(&fair, other, now_ns);
    }
    ck_assert_uint_gt(refused, 1000);
    engine_fair_done(&fair);
}

TW_TEST("without a target nobody is refused") {
    struct engine_fair fair;
    struct tw_error err = {};
    const struct engine_patience endless = {.burst_ns = 1};
    tw_assert_ok(engine_fair_init(&fair, 1, &err), &err);
    struct engine_share *share = engine_fair_get(&fair, 1, 1);
    int64_t wait_ns;
    for (int64_t now_ns = 1; now_ns < 5000; now_ns++) {
        ck_assert(engine_crowd_admits(&fair, share, &endless, now_ns, &wait_ns));
        engine_crowd_join(&fair, share, now_ns);
        if (now_ns % 2)
            engine_crowd_leave(&fair, share, now_ns);
    }
    engine_fair_done(&fair);
}

// ---- calls that wait in vain ----

static const char *const spinner = "(module (func (export \"spin\") (loop $l (br $l)))"
                                   "(func (export \"good\") (result i32) (i32.const 7)))";

TW_TEST(
    "a call that waits for a worker is answered at its deadline, or when it is cancelled, and not later") {
    enum { WAITING = 20 };
    struct engine_test test;
    // The one thread that long calls may hold is held: the others wait.
    struct tw_engine_options options = {.workers = 1, .max_long_calls = 1};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, spinner);
    struct engine_test_call spins = {}, late = {}, calls[WAITING] = {};
    engine_test_prepare(&spins, module, "spin", 3'600'000);
    engine_test_submit(&test, &spins);
    while (tw_counter_get(&test.engine->sched.held) < 1)
        sched_yield();
    for (int i = 0; i < WAITING; i++) {
        engine_test_prepare(&calls[i], module, "good", 3'600'000);
        engine_test_submit(&test, &calls[i]);
    }
    engine_test_prepare(&late, module, "good", 50);
    engine_test_submit(&test, &late);
    engine_test_wait(&late); // while the spinner spins
    ck_assert_int_eq(late.invoke.error.code, TW_ERR_TIMEOUT);
    for (int i = WAITING - 1; i >= 0; i -= 2) {
        tw_invoke_cancel(&calls[i].invoke);
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, TW_ERR_CANCELLED);
    }
    struct tw_engine_stats stats;
    tw_engine_stats(test.engine, &stats);
    ck_assert_uint_eq(stats.queued, WAITING / 2);
    ck_assert_uint_eq(tw_state_get(&spins.over), 0);
    tw_invoke_cancel(&spins.invoke);
    engine_test_wait(&spins);
    for (int i = 0; i < WAITING; i++) {
        engine_test_wait(&calls[i]);
        ck_assert_int_eq(calls[i].invoke.error.code, i % 2 ? TW_ERR_CANCELLED : TW_OK);
        engine_test_forget(&calls[i]);
    }
    engine_test_forget(&late);
    engine_test_forget(&spins);
    tw_module_unref(module);
    engine_test_close(&test);
}

TW_TEST("the wait of the call that is next is known") {
    struct engine_test test;
    struct tw_engine_options options = {.workers = 1, .max_long_calls = 1};
    engine_test_open(&test, &options);
    struct tw_module *module = engine_test_module(&test, spinner);
    struct engine_test_call spins = {}, waits = {};
    struct tw_engine_stats stats;
    engine_test_prepare(&spins, module, "spin", 3'600'000);
    engine_test_submit(&test, &spins);
    while (tw_counter_get(&test.engine->sched.held) < 1)
        sched_yield();
    tw_engine_stats(test.engine, &stats);
    ck_assert_int_eq(stats.queue_wait_ns, 0);
    int64_t since_ns = tw_clock_ns();
    engine_test_prepare(&waits, module, "good", 3'600'000);
    engine_test_submit(&test, &waits);
    do
        tw_engine_stats(test.engine, &stats);
    while (stats.queue_wait_ns < 10 * TW_NS_PER_MS);
    ck_assert_int_le(stats.queue_wait_ns, tw_clock_ns() - since_ns);
    tw_invoke_cancel(&spins.invoke);
    engine_test_wait(&spins);
    engine_test_wait(&waits);
    ck_assert_int_eq(waits.invoke.error.code, TW_OK);
    engine_test_forget(&spins);
    engine_test_forget(&waits);
    tw_module_unref(module);
    engine_test_close(&test);
}

// SPDX-License-Identifier: Apache-2.0
//
// Clocks and the spelling of wall time.

#include "harness/test.h"

TW_TEST("wall time is spelled in UTC with milliseconds, before 1970 too") {
    static const struct {
        int64_t ns;
        const char *text;
    } times[] = {
        {0, "1970-01-01T00:00:00.000Z"},         {951'827'696'789'999'999, "2000-02-29T12:34:56.789Z"},
        {-1, "1969-12-31T23:59:59.999Z"},        {INT64_MAX, "2262-04-11T23:47:16.854Z"},
        {INT64_MIN, "1677-09-21T00:12:43.145Z"},
    };
    for (size_t i = 0; i < TW_COUNT(times); i++) {
        char text[TW_TIME_TEXT_SIZE];
        tw_clock_text(times[i].ns, text);
        ck_assert_str_eq(text, times[i].text);
    }
}

TW_TEST("the monotonic clock never goes back and wall time agrees with time(2)") {
    int64_t last = tw_clock_ns();
    for (unsigned i = 0; i < 10'000; i++) {
        int64_t now = tw_clock_ns();
        ck_assert_int_ge(now, last);
        last = now;
    }
    // time(2) is behind by up to a tick.
    long long before = time(NULL), seconds = tw_clock_wall_ns() / TW_NS_PER_S, after = time(NULL);
    ck_assert_int_ge(seconds, before);
    ck_assert_int_le(seconds, after + 1);
}

TW_TEST("thread time counts work, not waiting") {
    int64_t start = tw_clock_thread_ns();
    volatile unsigned work = 0;
    while (tw_clock_thread_ns() - start < TW_NS_PER_MS)
        work = work + 1;
    int64_t before = tw_clock_thread_ns();
    struct timespec pause = {.tv_nsec = 50 * TW_NS_PER_MS};
    nanosleep(&pause, NULL);
    ck_assert_int_lt(tw_clock_thread_ns() - before, 40 * TW_NS_PER_MS);
}

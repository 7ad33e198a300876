// SPDX-License-Identifier: Apache-2.0
//
// The three clocks, all through the vDSO where it has them, and one spelling of wall time (RFC 3339, UTC,
// milliseconds).

#include "base/clock.h"

static int64_t read_clock(clockid_t id) {
    struct timespec now;
    TW_ASSERT(clock_gettime(id, &now) == 0);
    return now.tv_sec * TW_NS_PER_S + now.tv_nsec;
}

int64_t tw_clock_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

int64_t tw_clock_wall_ns(void) {
    return read_clock(CLOCK_REALTIME);
}

int64_t tw_clock_thread_ns(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void tw_clock_text(int64_t wall_ns, char ret_text[TW_TIME_TEXT_SIZE]) {
    time_t seconds = wall_ns / TW_NS_PER_S;
    int64_t fraction = wall_ns % TW_NS_PER_S;
    if (fraction < 0) {
        fraction += TW_NS_PER_S;
        seconds--;
    }
    struct tm parts;
    gmtime_r(&seconds, &parts); // 64 bits of nanoseconds are the years 1677 to 2262: it cannot fail
    snprintf(ret_text, TW_TIME_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)parts.tm_year + 1900, (unsigned)parts.tm_mon + 1, (unsigned)parts.tm_mday,
             (unsigned)parts.tm_hour, (unsigned)parts.tm_min, (unsigned)parts.tm_sec,
             (unsigned)(fraction / TW_NS_PER_MS));
}

// SPDX-License-Identifier: Apache-2.0
//
// Time. Deadlines and durations use the monotonic clock in nanoseconds; wall time is for people and records
// only.
#pragma once

#include "base/port.h"

#define TW_NS_PER_US   1000LL
#define TW_NS_PER_MS   1000000LL
#define TW_NS_PER_S    1000000000LL
#define TW_NO_DEADLINE INT64_MAX

int64_t tw_clock_ns(void);        // monotonic
int64_t tw_clock_wall_ns(void);   // since 1970, UTC
int64_t tw_clock_thread_ns(void); // CPU time of this thread
enum { TW_TIME_TEXT_SIZE = 32 };
void tw_clock_text(int64_t wall_ns, char ret_text[TW_TIME_TEXT_SIZE]); // 2026-11-21T07:45:00.123Z

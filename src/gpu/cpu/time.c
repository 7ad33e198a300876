// SPDX-License-Identifier: Apache-2.0
//
// Wall time for kernels: they have the processor's cycle counter alone, and are told what it said at one moment and
// how long a tick takes. The first kernel that asks has that measured, over at least MEASURE_NS; every later one
// counts from the same moment at the same rate, so that time never goes back between launches.

#include <pthread.h>
#include <x86intrin.h>

#include "gpu/cpu/internal.h"

enum { MEASURE_NS = 5'000'000 };

// Written once, by `begin` and `measure`.
static struct {
    uint64_t ticks;
    int64_t ns, wall_ns; // monotonic and wall clock then
    uint64_t scale;      // ns a tick × 2^32
} moment;

static void begin(void) {
    moment.ticks = __rdtsc();
    moment.ns = tw_clock_ns();
    moment.wall_ns = tw_clock_wall_ns();
}

void cpu_time_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin);
}

static void measure(void) {
    int64_t ns;
    uint64_t ticks;
    do {
        ticks = __rdtsc() - moment.ticks;
        ns = tw_clock_ns() - moment.ns;
    } while (ns < MEASURE_NS);
    moment.scale = (uint64_t)((double)ns / (double)ticks * 4294967296.0);
}

void cpu_time_fill(struct tw_kernel_frame *frame) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    cpu_time_begin();
    pthread_once(&once, measure);
    frame->time_ticks = moment.ticks;
    frame->time_ns = (uint64_t)moment.wall_ns;
    frame->time_scale = moment.scale;
}

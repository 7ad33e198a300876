// SPDX-License-Identifier: Apache-2.0
//
// What the tests of instructions share: bits and values of floats, the C library's rounding modes, random words.
#pragma once

#include <fenv.h>
#include <math.h>

#include "base/port.h"

static inline float f_of(uint64_t v) {
    uint32_t word = (uint32_t)v;
    float f;
    memcpy(&f, &word, sizeof f);
    return f;
}

static inline uint64_t of_f(float f) {
    uint32_t word;
    memcpy(&word, &f, sizeof word);
    return word;
}

static inline double d_of(uint64_t v) {
    double d;
    memcpy(&d, &v, sizeof d);
    return d;
}

static inline uint64_t of_d(double d) {
    uint64_t v;
    memcpy(&v, &d, sizeof v);
    return v;
}

static inline float h_of(uint64_t v) {
    uint16_t word = (uint16_t)v;
    _Float16 h;
    memcpy(&h, &word, sizeof h);
    return (float)h;
}

static inline uint64_t of_h(float f) {
    _Float16 h = (_Float16)f;
    uint16_t word;
    memcpy(&word, &h, sizeof word);
    return word;
}

// A pseudo-random word, never 0: xorshift32 (Marsaglia 2003). The state begins as anything but 0.
static inline uint32_t random_word(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline float saturated(float f) {
    return !(f > 0) ? 0 : f > 1 ? 1 : f;
}

static inline float half_value(uint64_t h) {
    int exponent = (int)(h >> 10 & 31);
    double fraction = (double)(h & 1023), sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return h & 1023 ? NAN : (float)sign * INFINITY;
    return (float)(sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24)));
}

// The half nearest to `want`: no neighbour is nearer, and a tie went to the even one.
static inline bool is_nearest_half(uint64_t got, double want) {
    if (isnan(want))
        return isnan(half_value(got));
    if (fabs(want) >= 65520)
        return isinf(half_value(got)) && (got >> 15) == (signbit(want) ? 1 : 0);
    double off = fabs((double)half_value(got) - want);
    if ((got & 0x7fff) > 0x7bff || (got >> 15) != (signbit(want) ? 1 : 0))
        return want == 0 && half_value(got) == 0; // a sum's zero may have either sign
    for (int step = -1; step <= 1; step += 2) {
        int next = (int)(got & 0x7fff) + step;
        if (next < 0)
            continue;
        double other = next > 0x7bff ? 65536 : fabs((double)half_value((uint64_t)next));
        double their = fabs(other - fabs(want));
        if (their < off || (their == off && (got & 1)))
            return false;
    }
    return true;
}

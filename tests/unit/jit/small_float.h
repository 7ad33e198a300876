// SPDX-License-Identifier: Apache-2.0
//
// Floats of eight and sixteen bits by their definition: a number's value, and the number nearest to a value, found by
// a search through all of them. Shares nothing with the compiler.
#pragma once

#include "base/base.h"

enum small_direction { SMALL_NEAREST, SMALL_ZERO, SMALL_DOWN, SMALL_UP };

struct small_float {
    unsigned fraction, exponent, bias;
    uint32_t most; // the greatest finite number
    bool saturates;
    unsigned nan;
};
extern const struct small_float small_half, small_bfloat, small_e4m3, small_e5m2;

// The size of a number, without its sign; `code` is no NaN. Infinity gives what would come after the greatest.
long double small_value(const struct small_float *s, uint32_t code);

// The number for x, its sign bit included.
uint32_t small_rounded(const struct small_float *s, enum small_direction direction, long double x);

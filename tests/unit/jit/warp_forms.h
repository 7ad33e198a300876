// SPDX-License-Identifier: Apache-2.0
//
// What a lane gets of an instruction by which the lanes of a warp see each other, by the PTX manual's words.
#pragma once

#include "base/base.h"

// A lane's operands: s is what is voted about (its lowest bit) and matched.
struct warp_in {
    uint32_t a, b, c, members, s, runs;
};

struct warp_out {
    uint32_t d, q;
    bool is_any; // the manual leaves it open
};

// `warp` are the lanes of one warp; those that are not in members of `lane` are not looked at.
struct warp_out warp_compute(const char *text, const struct warp_in *warp, unsigned lane);

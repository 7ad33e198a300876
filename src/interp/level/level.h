// SPDX-License-Identifier: Apache-2.0
//
// For files that are compiled once a level (INTERP_LEVEL: v3, v4 of x86-64): names carry the level, and lanes are loops that
// the compiler turns into vectors.
#pragma once

#include "interp/internal.h"

#define INTERP_JOIN(a, b, c)  a##b##_##c
#define INTERP_JOIN3(a, b, c) INTERP_JOIN(a, b, c)
#define INTERP_NAME(name)     INTERP_JOIN3(interp_, INTERP_LEVEL, name) // interp_v3_BR

#define OF_LEVEL(name) INTERP_JOIN3(name, , INTERP_LEVEL) // name_v3

// A handler of ops.def.
#define INTERP_HANDLER(op)                                                                                   \
    const struct interp_step *INTERP_NAME(op)(struct interp_warp * warp, const struct interp_step *step);    \
    const struct interp_step *INTERP_NAME(op)([[maybe_unused]] struct interp_warp * warp,                    \
                                              const struct interp_step *step)

// A loop over lanes that do not look at each other: rows are the same or do not overlap.
#define EACH_LANE(i)                                                                                         \
    TW_INDEPENDENT                                                                                           \
    for (unsigned i = 0; i < TW_INTERP_LANES; i++)

// SPDX-License-Identifier: Apache-2.0
//
// What random_kernel.c and random_rich.c share: choices out of bytes, lines of PTX, names of registers.
#pragma once

#include "base/base.h"

enum { R32 = 12, R64 = 6, R16 = 4, F32 = 6, F64 = 4, PREDS = 5, DEPTH_MAX = 4, STATEMENTS_MAX = 70 };

struct random_maker {
    struct tw_span bytes;
    struct tw_buf *out;
    bool is_rich;
    unsigned labels, depth, statements, loop_exit; // loop_exit: the label to break to, 0: in no loop
};

// A register or a number, as it is written.
struct random_name {
    char text[24];
};

// One of `count`: the next byte says which; 0 when they are used up.
unsigned random_pick(struct random_maker *m, unsigned count);

[[gnu::format(printf, 2, 3)]] void random_emit(struct random_maker *m, const char *format, ...);

// A register of that kind, or (integers) a number that is often an awkward one.
struct random_name random_source(struct random_maker *m, char kind, unsigned count);
struct random_name random_target(struct random_maker *m, char kind, unsigned count);

// Begins a line, at times with a predicate.
void random_guard(struct random_maker *m);

// One statement of the rich kernels.
void random_rich(struct random_maker *m);

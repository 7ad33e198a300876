// SPDX-License-Identifier: Apache-2.0
//
// Kernels from bytes: straight-line and structured PTX that ends, reads and writes what is its thread's own,
// and gives the same results in whatever order threads run. Used by test_random.c.
#pragma once

#include "base/base.h"

enum { RANDOM_IN_WORDS = 64, RANDOM_OUT_WORDS = 64 }; // of each thread

// k(in, out): in is an array of RANDOM_IN_WORDS words for all threads to read, out one of RANDOM_OUT_WORDS
// for each of them. The same bytes give the same text. Rich ones also have video instructions, small floats, fields of
// bits and a local array.
void random_kernel(struct tw_span bytes, bool is_rich, struct tw_buf *out);

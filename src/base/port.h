// SPDX-License-Identifier: Apache-2.0
//
// The one place where the platform shows: feature macros, the system headers whose worst functions we
// poison, and the few helpers every file needs. Included by every other header of base/.
#pragma once

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if !defined(__linux__) || !defined(__x86_64__)
#error "TensorWasm builds for Linux on x86-64"
#endif

#pragma GCC poison strcpy strcat sprintf strtok atoi gmtime localtime rand

// Number of elements of a true array.
#define TW_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// A large local array of which only what is written is read: not filled with zeros first.
#define TW_UNINITIALIZED __attribute__((uninitialized))

// Before a loop: what a round writes no other round reads.
#ifdef __clang__
#define TW_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define TW_INDEPENDENT _Pragma("GCC ivdep")
#endif

// Our own bugs only: nothing a guest, a tenant, a peer or a file can cause may reach it.
#define TW_ASSERT(condition) ((condition) ? (void)0 : tw_assert_failed(#condition, __FILE__, __LINE__))

[[gnu::noreturn]] void tw_assert_failed(const char *condition, const char *file, int line);

// Rounds `value` up to a multiple of `align`, a power of two. The caller has made sure it cannot wrap.
static inline uint64_t tw_align_up(uint64_t value, uint64_t align) {
    return (value + align - 1) & ~(align - 1);
}

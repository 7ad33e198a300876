// SPDX-License-Identifier: Apache-2.0
//
// The end of a process that found a bug in itself: says where, and leaves a core. It allocates nothing and
// takes no lock, since what is broken may be the heap.

#include "base/port.h"

#include <unistd.h>

void tw_assert_failed(const char *condition, const char *file, int line) {
    char text[512];
    int len = snprintf(text, sizeof(text), "tensor-wasm: bug: %s is false at %s:%d\n", condition, file, line);
    size_t count = len < 0 ? 0 : (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    ssize_t ignored = write(STDERR_FILENO, text, count);
    (void)ignored;
    abort();
}

// SPDX-License-Identifier: Apache-2.0
//
// PTX that a test writes line by line. The text is the caller's, `size` bytes; what does not fit ends the test.
#pragma once

#include <stdarg.h>

#include "harness/test.h"

struct writer {
    char *text;
    size_t len, size;
};

[[gnu::format(printf, 2, 3)]] static inline void say(struct writer *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    w->len += (size_t)vsnprintf(w->text + w->len, w->size - w->len, format, args);
    va_end(args);
    ck_assert_uint_lt(w->len, w->size);
}

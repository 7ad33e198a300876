// SPDX-License-Identifier: Apache-2.0
//
// One way to fail. A function that can fail returns bool (or a pointer) and fills a caller-owned error:
//
//     if (size > max)
//         return tw_fail(err, TW_ERR_QUOTA, "%zu bytes asked, the limit is %zu; ask for less", size, max);
//
// A message says what was wrong, the limit and the value, and how to mend it. Any thread.
#pragma once

#include "base/port.h"

enum tw_code {
    TW_OK = 0,
#define TW_ERROR(code, status, retryable, name, text) TW_ERR_##code,
#include "base/error.def"
#undef TW_ERROR
    TW_CODE_COUNT
};

enum { TW_ERROR_MESSAGE_MAX = 240 };

// Confined. Untouched on success. `{}` is no error.
struct tw_error {
    enum tw_code code;
    uint32_t retry_after_s; // when asking again may help; 0: not known
    char message[TW_ERROR_MESSAGE_MAX];
};

// Fills `err` (may be NULL) and returns false. Long messages are cut at a character boundary.
[[gnu::format(printf, 3, 4)]] bool tw_fail(struct tw_error *err, enum tw_code code, const char *format, ...);

// As tw_fail, with ": " and the text of `error_number` (an errno value) after the message.
[[gnu::format(printf, 4, 5)]] bool tw_fail_errno(struct tw_error *err, enum tw_code code, int error_number,
                                                 const char *format, ...);

// Prefixes the message that is already there ("restoring x: …") and returns false.
[[gnu::format(printf, 2, 3)]] bool tw_wrap(struct tw_error *err, const char *format, ...);

// Says when asking again may help, rounded up to seconds, and returns false.
bool tw_retry_after(struct tw_error *err, int64_t wait_ns);

// The table's columns. `code` must not be TW_OK for the first two.
int tw_code_status(enum tw_code code);
bool tw_code_retryable(enum tw_code code);
const char *tw_code_name(enum tw_code code); // wire name; "ok" for TW_OK
const char *tw_code_text(enum tw_code code);
// The code with that wire name; false when there is none.
bool tw_code_find(const char *name, enum tw_code *ret_code);

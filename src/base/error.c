// SPDX-License-Identifier: Apache-2.0
//
// Fills errors and answers from the table error.def. Messages are formatted into a local array first, so that
// a message may quote the one it replaces.

#include "base/error.h"

#include <stdarg.h>

#include "base/internal.h"
#include "base/str.h"

// One row of error.def.
struct row {
    const char *name;
    const char *text;
    int status;
    bool retryable;
};

static const struct row rows[TW_CODE_COUNT] = {
    [TW_OK] = {"ok", "no error", 200, false},
#define TW_ERROR(code, status, retryable, name, text) [TW_ERR_##code] = {name, text, status, retryable},
#include "base/error.def"
#undef TW_ERROR
};

static const struct row *row_of(enum tw_code code) {
    TW_ASSERT((unsigned)code < TW_CODE_COUNT);
    return &rows[code];
}

// Appends to the text in `line` of TW_ERROR_MESSAGE_MAX bytes; what does not fit is cut off at a character.
static void append(char *line, const char *text) {
    size_t used = strlen(line);
    size_t count = base_utf8_cut(text, strlen(text), TW_ERROR_MESSAGE_MAX - 1 - used);
    memcpy(line + used, text, count);
    line[used + count] = '\0';
}

[[gnu::format(printf, 2, 0)]] static void append_format(char *line, const char *format, va_list args) {
    // A few bytes more than an error holds, so that the cut sees the whole character it falls into.
    char text[TW_ERROR_MESSAGE_MAX + 4];
    if (vsnprintf(text, sizeof(text), format, args) < 0)
        snprintf(text, sizeof(text), "(a message that could not be formatted)");
    append(line, text);
}

static void fill(struct tw_error *err, enum tw_code code, const char *line) {
    err->code = code;
    err->retry_after_s = 0;
    memcpy(err->message, line, strlen(line) + 1);
}

bool tw_fail(struct tw_error *err, enum tw_code code, const char *format, ...) {
    TW_ASSERT(code != TW_OK);
    if (!err)
        return false;
    char line[TW_ERROR_MESSAGE_MAX] = "";
    va_list args;
    va_start(args, format);
    append_format(line, format, args);
    va_end(args);
    fill(err, code, line);
    return false;
}

bool tw_fail_errno(struct tw_error *err, enum tw_code code, int error_number, const char *format, ...) {
    TW_ASSERT(code != TW_OK);
    if (!err)
        return false;
    char line[TW_ERROR_MESSAGE_MAX] = "";
    va_list args;
    va_start(args, format);
    append_format(line, format, args);
    va_end(args);
    const char *reason = strerrordesc_np(error_number);
    append(line, ": ");
    append(line, reason ? reason : "unknown system error");
    fill(err, code, line);
    return false;
}

bool tw_wrap(struct tw_error *err, const char *format, ...) {
    if (!err)
        return false;
    char line[TW_ERROR_MESSAGE_MAX] = "";
    va_list args;
    va_start(args, format);
    append_format(line, format, args);
    va_end(args);
    append(line, ": ");
    append(line, err->message);
    uint32_t retry_after_s = err->retry_after_s;
    fill(err, err->code, line);
    err->retry_after_s = retry_after_s;
    return false;
}

bool tw_retry_after(struct tw_error *err, int64_t wait_ns) {
    int64_t second_ns = 1'000'000'000, wait_s = wait_ns > 0 ? (wait_ns - 1) / second_ns + 1 : 1;
    if (err)
        err->retry_after_s = wait_s < UINT32_MAX ? (uint32_t)wait_s : UINT32_MAX;
    return false;
}

int tw_code_status(enum tw_code code) {
    return row_of(code)->status;
}

bool tw_code_retryable(enum tw_code code) {
    return row_of(code)->retryable;
}

const char *tw_code_name(enum tw_code code) {
    return row_of(code)->name;
}

const char *tw_code_text(enum tw_code code) {
    return row_of(code)->text;
}

bool tw_code_find(const char *name, enum tw_code *ret_code) {
    for (unsigned i = TW_OK + 1; i < TW_CODE_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *ret_code = (enum tw_code)i;
            return true;
        }
    }
    return false;
}

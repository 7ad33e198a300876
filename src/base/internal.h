// SPDX-License-Identifier: Apache-2.0
//
// What the files of base/ share among themselves.
#pragma once

#include "base/buf.h"
#include "base/port.h"

// Length of the well-formed UTF-8 sequence at `text` (Unicode 15, table 3-7: no surrogates, no overlong
// forms), 0 when there is none or `len` is 0.
size_t base_utf8_step(const char *text, size_t len);

// The longest prefix of at most `max` bytes that does not end inside a UTF-8 sequence.
size_t base_utf8_cut(const char *text, size_t len, size_t max);

// A buffer over the caller's `size` bytes that never grows: one line or one record is put together without
// the heap. Not for tw_buf_done.
struct tw_buf base_buf_fixed(char *storage, size_t size);

// Has the log's thread write the line, or drops and counts it; false: there is no such thread.
bool base_log_post(const char *line, size_t len);
void base_log_write(const char *line, size_t len); // to standard error, on this thread

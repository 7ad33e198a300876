// SPDX-License-Identifier: Apache-2.0
//
// One line is one event: a level, a room, a text, then key=value pairs, to standard error, as text or JSON.
//
//     tw_log(TW_LOG_WARN, "http", "listener failed", "address", addr, "error", err.message, NULL);
//
// Values are C strings; quoting is done here. Only service/, http/, cli/ and long-lived threads log. Any
// thread. Never tokens, never guest bytes. The current trace id (tw_log_trace_set, per thread) is added by
// itself where no pair names one.
#pragma once

#include "base/error.h"

enum tw_log_level { TW_LOG_ERROR, TW_LOG_WARN, TW_LOG_INFO, TW_LOG_DEBUG, TW_LOG_TRACE };
enum tw_log_format { TW_LOG_TEXT, TW_LOG_JSON };

// `filter`: "info" or "folder=level,…". Call before threads start; the default is info, text.
[[nodiscard]] bool tw_log_configure(const char *filter, enum tw_log_format format, struct tw_error *err);
// From now on a thread writes the lines: a reader that takes none costs lines, which are counted, and nobody's time.
[[nodiscard]] bool tw_log_start(struct tw_error *err);
void tw_log_stop(void); // has what is queued written, for two seconds at most; then as before tw_log_start
uint64_t tw_log_lost(void); // lines that were dropped since the process began
bool tw_log_enabled(enum tw_log_level level, const char *room);
[[gnu::sentinel]] void tw_log(enum tw_log_level level, const char *room, const char *event, ...);
void tw_log_trace_set(const char *trace_id); // borrowed until the next call on this thread; NULL: none

// SPDX-License-Identifier: Apache-2.0
//
// What the plain and the streamed invoke share.
#pragma once

#include "http/exchange.h"

// An empty call of the exchange's, to be filled with what is called, `done` and `emit`.
struct tw_service_call *http_call_new(struct http_exchange *x);
// Reads headers and query and starts it; answers by itself when it could not be started. Loop thread.
void http_call_start(struct http_exchange *x);
// `done` of a call that answers when it has ended.
void http_call_answer(struct tw_service_call *call);
// Puts the error, with what the service knows about it, into `reply`; frees the call's parts.
void http_call_problem(struct http_exchange *x, struct http_reply *reply, const struct tw_error *err);
// The content type the guest chose, where it may stand in a header; else application/octet-stream. Borrowed.
struct tw_str http_call_type(const char *chosen);
bool http_call_status_check(int status, struct tw_error *err);
// X-TensorWasm-Deadline-Ms; 0 when it is not there.
[[nodiscard]] bool http_call_deadline(const struct http_exchange *x, uint32_t *ret_ms, struct tw_error *err);

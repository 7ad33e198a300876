// SPDX-License-Identifier: Apache-2.0
//
// The orderly end of `serve`.
#pragma once

#include <signal.h>

#include "cli/config.h"
#include "http/http.h"

// Drains as TENSOR_WASM_DRAIN_GRACE_MS and TENSOR_WASM_DRAIN_MS say. False when a second signal of the set cut it
// short; everything is closed and cancelled then all the same.
[[nodiscard]] bool cli_serve_stop(struct tw_http *http, struct tw_service *service,
                                  const struct config *config, const sigset_t *signals);

// SPDX-License-Identifier: Apache-2.0
//
// The handlers that routes.def names. Each runs on a loop: it answers at once or hands the work on.
#pragma once

#include "http/exchange.h"

#define ROUTE(method, template, handler, access, role, body) void handler(struct http_exchange *x);
#include "http/routes.def"
#undef ROUTE

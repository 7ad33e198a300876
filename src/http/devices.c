// SPDX-License-Identifier: Apache-2.0
//
// GET /devices: what the host has.

#include "http/handlers.h"
#include "http/internal.h"

enum { DEVICES_MAX = 1 << 20 };

static void list(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    tw_buf_init(&out, DEVICES_MAX);
    if (tw_service_devices(http_service(x), &out)) {
        http_respond_json(x, 200, &out);
    } else {
        tw_fail(&err, TW_ERR_CAPACITY, "no memory for the list of devices");
        http_fail(x, &err);
    }
    tw_buf_done(&out);
}

void http_devices(struct http_exchange *x) {
    http_run_blocking(x, list);
}

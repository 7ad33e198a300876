// SPDX-License-Identifier: Apache-2.0
//
// What runs is counted, and nothing new is taken on once the server shuts down.

#include <time.h>

#include "service/internal.h"

bool service_enter(struct tw_service *service, struct tw_error *err) {
    tw_counter_add(&service->running, 1);
    if (!tw_flag_is_raised(&service->draining))
        return true;
    tw_counter_add(&service->running, -1);
    return tw_fail(err, TW_ERR_DRAINING, "this server is shutting down; send the request to another one");
}

void service_enter_again(struct tw_service *service) {
    tw_counter_add(&service->running, 1);
}

void service_leave(struct tw_service *service) {
    tw_counter_add(&service->running, -1);
}

bool tw_service_drain(struct tw_service *service, int64_t until_ns) {
    tw_flag_raise(&service->draining);
    // Every call has a deadline of its own and ends by itself; this looks every 2 ms, which a shutdown can
    // afford.
    while (tw_counter_get(&service->running) > 0 && tw_clock_ns() < until_ns)
        nanosleep(&(struct timespec){.tv_nsec = 2 * TW_NS_PER_MS}, NULL);
    return tw_counter_get(&service->running) == 0;
}

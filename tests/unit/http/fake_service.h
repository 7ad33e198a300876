// SPDX-License-Identifier: Apache-2.0
//
// A service that http's tests run the real gateway against: functions named after what they do, no guests.
//
//     echo      runs on the loop's thread; output is the input; JSON: {"function_id":"echo","result":<length of the body>}
//     hold      runs until it is cancelled or fake_release
//     size      output is `export` bytes of 'x'
//     stream    emits `export` pieces of 1,000 bytes, the n-th made of the letter 'a' + n % 26
//     rude      as stream, and does not wait while its client is slow
//     tail      as stream, then holds until fake_release
//     half      emits "half" and then traps
//     teapot    status 418, content type text/tea
//     inject    a content type with a line break in it
//     trap      GUEST_TRAP with a detail
//     long      runs on the loop's thread until fake_release, and so costs the loop that thread
//     busy      CAPACITY at once
//     others    NOT_FOUND at once
#pragma once

#include "service/service.h"

struct tw_service *fake_service_new(void);
void fake_service_free(struct tw_service *service);
void fake_release(struct tw_service *service);                        // every held call ends well
unsigned fake_running(struct tw_service *service);                    // calls started and not ended
unsigned fake_cancelled(struct tw_service *service);                  // calls that were cancelled
bool fake_wait_waits(struct tw_service *service, unsigned count);     // writers that waited for their clients
bool fake_wait_cancelled(struct tw_service *service, unsigned count); // false after 10 s
bool fake_wait_running(struct tw_service *service, unsigned count);
// What was to be kept last for an idempotency key: its status and the length of its body; 0: nothing.
int fake_once_status(struct tw_service *service, size_t *ret_len);

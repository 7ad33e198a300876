// SPDX-License-Identifier: Apache-2.0
//
// The one callback that h2_send.c gives to the session h2.c makes. Apart from internal.h so that only these
// two files see nghttp2.
#pragma once

#include <nghttp2/nghttp2.h>

int http_h2_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context);

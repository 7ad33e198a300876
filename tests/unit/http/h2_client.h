// SPDX-License-Identifier: Apache-2.0
//
// HTTP/2 for tests: a well-behaved client on nghttp2's client side, and raw frames for the others.
#pragma once

#include <nghttp2/nghttp2.h>

#include "gateway.h"

enum { H2_STREAMS_MAX = 4096 };

// What became of a stream.
struct h2_stream {
    int status;
    struct tw_buf body;
    bool is_closed, wants_body_held; // held: its upload waits for h2_continue
    uint32_t error_code;
    const uint8_t *upload;
    size_t upload_len, uploaded;
};

struct h2_client {
    int fd;
    nghttp2_session *session;
    struct h2_stream streams[H2_STREAMS_MAX]; // by stream id / 2
    unsigned goaways;
    int32_t last_goaway_id;
    bool is_closed; // the server hung up
};

nghttp2_nv h2_pair(const char *name, const char *value); // both borrowed
void h2_start(struct h2_client *client, const struct gateway *gateway);
void h2_stop(struct h2_client *client);
// A request; `upload` NULL: no body. `length`: a content-length header, or -1. Returns its stream.
struct h2_stream *h2_request(struct h2_client *client, const char *method, const char *path,
                             const void *upload, size_t upload_len, int64_t length);
int32_t h2_stream_id(const struct h2_client *client, const struct h2_stream *stream);
void h2_flush(struct h2_client *client);
// Sends and receives until `*flag`, the server hangs up, or 10 s; true when the flag was set.
bool h2_until(struct h2_client *client, const bool *flag);
void h2_pump(struct h2_client *client, int wait_ms); // takes what comes within that time
// Waits until the stream was answered in order: with that status and, unless NULL, that body.
void h2_expect(struct h2_client *client, struct h2_stream *stream, int status, const char *body);
// A gateway and a client of it.
void h2_begin(struct h2_client *client, struct gateway *gateway, const struct tw_http_options *options);
void h2_end(struct h2_client *client, struct gateway *gateway);

// ---- raw frames ----
int h2_raw_connect(const struct gateway *gateway); // preface and SETTINGS are sent
bool h2_raw_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream_id, const void *payload, size_t len);
// Sends it `count` times and then reads; true when the server hung up before or within `wait_ms` after.
bool h2_raw_is_cut(int fd, int wait_ms);

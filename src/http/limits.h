// SPDX-License-Identifier: Apache-2.0
//
// Every maximum of the gateway, with its reason. What operators may change is in struct tw_http_options.
#pragma once

#include "base/clock.h"

enum {
    // ---- a request ----
    HTTP_TARGET_MAX = 8 << 10,        // RFC 9112 asks for 8,000 at least
    HTTP_HEADER_BYTES_MAX = 32 << 10, // as nginx's 4 × 8 KiB; tokens and trace headers need about 1 KiB
    HTTP_HEADERS_MAX = 100,           // browsers behind proxies send 30
    HTTP_TRAILER_BYTES_MAX = 8 << 10, // trailers and chunk extensions of one body; nobody here reads them
    HTTP_PATH_PARAMS_MAX = 2,         // the deepest template has two
    HTTP_ARENA_MAX = 256 << 10,       // what a handler may take for one request, the body aside
    HTTP_BODY_KEEP = 64 << 10,        // a recycled request keeps a body buffer up to this
    HTTP_BODY_STEP = 64 << 10,        // by which a body takes of the memory for all
    HTTP_SPILL_BLOCK = 1 << 20,       // of a body in memory; larger ones go to disk in such blocks
    HTTP_DISK_THREADS = 2,            // that write them
    HTTP_DISK_QUEUE = 16384,          // blocks that wait: one an upload
    HTTP_DISCARD_MAX = 64 << 10,      // a refused body up to this is read, so that the connection lives on
    HTTP_REPLY_HEADERS_MAX = 12,      // of a handler, and what CORS and caching add
    HTTP_REPLY_HEAD_MAX = 4 << 10,    // status line and header section of an answer
    HTTP_JOINED_MAX = 1 << 10, // of a body: copying it behind the head costs less than a second piece does

    // ---- a loop ----
    HTTP_SCRATCH = 64 << 10, // one read(2), one h2 write(2)
    HTTP_READS_PER_TURN = 8, // then the other connections get their turn: 512 KiB
    HTTP_TURN_NS = 50'000,   // or after so long: 64 KiB may be ten thousand chunks, or two thousand requests
    HTTP_HEAVY_TURN_NS = 250'000, // of a connection that had more work than that, one after the other
    HTTP_HEAVY_NS = 1'000'000,    // and of all of them together, before the others have their turns again
    HTTP_BLOCK_FIRST = 4 << 10,   // read at once of a new connection: what its bytes cost is not known yet
    HTTP_BLOCK_MIN = 2 << 10,     // of one whose bytes cost much: fifty requests
    HTTP_BLOCK_TIMED = 1 << 10, // from which on it is looked at how long they take; most requests are shorter
    HTTP_EVENTS = 256,          // one epoll_wait
    HTTP_ACCEPTS_PER_TURN = 64, // a storm of new clients does not keep the old ones waiting
    HTTP_SPARE_EXCHANGES = 512, // recycled requests kept: 512 × about 5 KiB
    HTTP_EXCHANGES_MAX = 8192,  // with what HTTP/2 clients have begun or do not take: 8192 × at most 13 KiB,
    HTTP_LARGE_HEADS_MAX =
        1024,                  // and so many with a header section above 8 KiB: compressed, it costs a client
                               // ten bytes and us 41 KiB
    HTTP_IN_FLIGHT_MAX = 4096, // requests being worked on; one more is told 503 at once
    HTTP_SHARES_MAX = 100'000, // tenants with bodies at once: 24 bytes each
    HTTP_ALLOW_MAX = 64,       // hosts, or origins, that an operator may name
    HTTP_TURNED_AWAY_MAX = 64, // connections above the cap that are told 503; more are just closed
    HTTP_FAILURES_KEPT = 64,   // answers of status 5xx that GET /observe shows
    HTTP_SWEEP_MS = 100,       // how late a deadline may strike
    HTTP_CALLS_NS = 200'000,   // of short calls, before the sockets are looked at again
    HTTP_CALLS_BATCH = 16, // read before any is run: what they hold, about 16 KiB each, fits a core's cache
    HTTP_THREADS_MAX = 2'048, // of loops, and of the long calls that began on them

    // ---- a connection ----
    HTTP_LINGER_MS = 30'000,      // after an early answer we read on: a reset would destroy it for a client
                                  // that sends its whole body first. 64 MiB at 2 MiB a second, as nginx
    HTTP_LINGER_IDLE_MS = 5'000,  // without a byte: the client has no more to send, or is gone; as nginx
    HTTP_LINGER_SHORT_MS = 2'000, // in all: on HTTP/2, while the server drains, beyond what follows
    HTTP_LINGERING_MAX = 1'024,   // of a loop that linger for long
    HTTP_BODY_GRACE_S = 5,        // before body_min_rate is asked for
    HTTP_STREAM_MARK = 256 << 10, // held for one slow client, from which on its guest waits
    HTTP_STREAM_MAX =
        128 << 20, // written and not taken: twice the default output limit, for base64 in events

    // ---- HTTP/2 ----
    HTTP2_STREAMS_MAX = 128,           // at once a connection
    HTTP2_CALLS_MAX = 256,             // streams and reset streams whose call still runs
    HTTP2_STREAM_WINDOW = 256 << 10,   // 64 MiB over 20 ms of latency in 5 s
    HTTP2_CONNECTION_WINDOW = 4 << 20, // 16 such uploads at once
    HTTP2_OUT_MAX = 1 << 20,     // control frames the socket did not take; the client does not read: close
    HTTP2_GOAWAY_PAUSE_MS = 200, // between the two GOAWAYs: at least a round trip
};

// Request bodies, and answers that wait for their clients, held in memory by the whole server.
#define HTTP_BODY_TOTAL_MAX (1LL << 30)

// Request bodies on disk. A full disk is noticed anyway; this leaves room for the store.
#define HTTP_SPILL_TOTAL_MAX (16LL << 30)

// SPDX-License-Identifier: Apache-2.0
//
// One request and its answer, whatever the protocol version: what handlers see.
//
//     void http_devices_list(struct http_exchange *x) {
//         http_run_blocking(x, list); // `list` runs on the service's pool, then calls http_respond
//     }
//
// Life: the connection makes it and fills the request part (loop thread); the handler owns it from its call
// until http_respond, http_fail or http_stream_end, which may come from any thread and after which it must
// not be touched. The loop frees it when the answer is written or the client is gone, whichever is later.
// When the client goes first, `on_abort` runs.
#pragma once

#include "base/base.h"
#include "http/limits.h"
#include "service/service.h"
#include "telemetry/telemetry.h"

struct http_conn;
struct http_loop;
struct http_route;
struct http_text;

// With an underscore: llhttp.h has the plain names.
enum http_method {
    HTTP_GET_,
    HTTP_HEAD_,
    HTTP_POST_,
    HTTP_PUT_,
    HTTP_DELETE_,
    HTTP_PATCH_,
    HTTP_OPTIONS_,
    HTTP_OTHER_,
    HTTP_METHOD_COUNT
};

// Where a header of the request stands in x->head; the name is in lower case there.
struct http_field {
    uint32_t name_at, name_len, value_at, value_len;
};

// A header of the answer.
struct http_header {
    const char *name;    // as HTTP/1.1 shows it; static
    struct tw_str value; // static, or in the exchange's arena
};

// The request headers that an answer depends on.
enum http_vary { HTTP_VARY_ORIGIN = 1, HTTP_VARY_ENCODING = 2, HTTP_VARY_ACCEPT = 4 };

// What is sent back. The handler fills it; `{}` plus a status is an empty answer.
struct http_reply {
    int status;
    struct tw_str content_type; // static, or in the exchange's arena
    struct tw_buf body;         // owned; or else
    struct tw_span borrowed;    // static, in the exchange's arena, or in `file`
    struct tw_mapping file;     // owned
    struct http_text *text;     // owned: what `borrowed` lies in, if not in `file`
    struct http_header extra[HTTP_REPLY_HEADERS_MAX];
    unsigned extra_count;
    unsigned vary;        // of enum http_vary
    char retry_after[12]; // what a header in `extra` may point to
};

// Something a loop is told from another thread. Embedded; must not be posted twice before it ran.
struct http_note {
    struct http_note *next;
    void (*run)(struct http_note *note);
};

// Pieces of a streamed answer between a handler's thread and the loop. Guarded by `lock`.
struct http_stream {
    struct tw_lock lock;
    struct tw_buf pending; // written by the handler, not yet taken by the loop
    struct http_note note;
    int64_t charged; // bytes here and in x->chunk, of the server's total
    bool posted, ended, failed, gone;
    bool waits; // the writer, for the client to catch up
};

// A body on its way to a file (spill.c). The loop's, but for what the disk's thread writes while `is_busy`.
struct http_spill {
    int fd;            // -1: none yet
    uint64_t len;      // written
    int64_t charged;   // of the server's total
    size_t unconsumed; // HTTP/2: taken, but no window given back yet
    struct tw_buf writing;
    uint8_t *map; // the whole body, once it is there
    struct tw_task task;
    struct http_note note;
    struct tw_error error;
    bool is_open, is_busy, is_finishing;
    bool is_left; // the exchange is over and is freed when the block is written
};

// How far the request has come. Loop thread only.
enum http_stage { HTTP_RECEIVING, HTTP_WORKING, HTTP_ANSWERING, HTTP_ANSWERED };

// Confined: to the loop while receiving and answering, to the handler between. `conn`, `stage` and what is
// below "the loop's" are the loop's always.
struct http_exchange {
    // ---- the request ----
    enum http_method method;
    struct tw_str path, query; // not decoded
    struct tw_str authority;   // of the target, :authority or Host
    struct http_field fields[HTTP_HEADERS_MAX];
    unsigned field_count;
    struct tw_buf head;                         // what the fields point into
    struct tw_buf body;                         // what is in memory of it; handlers ask http_body
    struct tw_str params[HTTP_PATH_PARAMS_MAX]; // of the route's template, decoded
    const struct http_route *route;             // NULL: none matched
    struct tw_caller caller;
    char request_id[17], trace_id[33];
    struct tw_trace trace;
    char peer[64];        // of what the audit log may want; else empty
    struct tw_str object; // what a change is about when the path does not say it; in the arena
    struct tw_arena arena;

    // ---- the answer ----
    struct http_reply reply;
    enum tw_code outcome; // TW_OK, or why it failed
    // The client is gone; on the loop's thread; may be NULL. The handler still has to answer.
    void (*on_abort)(struct http_exchange *x);

    // ---- the handler's ----
    bool is_encoded;
    struct http_exchange *next_waiting; // of those that one task answers
    bool is_once;                       // its idempotency key is waiting for the answer
    struct tw_task task;
    void (*work)(struct http_exchange *x);
    struct tw_service_call call;
    bool has_begun, is_events; // of a streamed call

    // ---- the loop's ----
    struct http_loop *loop;
    struct http_conn *conn; // NULL once the client is gone
    struct http_exchange *next, *prev;
    enum http_stage stage;
    int32_t stream_id;       // HTTP/2; 0 on HTTP/1; -1: the client reset it
    struct tw_error refusal; // decided before the body came; code TW_OK: none
    struct http_note note;
    struct http_stream stream;
    struct http_spill spill;
    bool is_streaming;
    bool has_head;       // of the answer: it is on its way
    bool has_large_head; // counted by the loop
    bool head_done, is_whole, expects_continue, close_after, is_http10, was_aborted;
    uint32_t path_at, path_len, authority_at, authority_len; // HTTP/2: :path and :authority in `head`
    size_t header_bytes;                                     // HTTP/2
    uint64_t content_length;                                 // UINT64_MAX: not said
    uint64_t body_seen;                                      // bytes, kept or thrown away
    int64_t body_charged;                                    // of the server's body memory
    int64_t started_ns, body_ns, progress_ns, ended_ns;      // ended_ns 0: its answer is not written
    struct tw_buf out_head;                                  // the answer's status line and header section
    struct tw_span out[4];                                   // what is still to be written (HTTP/1)
    unsigned out_count;
    size_t sent;         // of the body (HTTP/2)
    struct tw_buf chunk; // the stream's bytes being written
    char chunk_head[20];
};

// The use cases behind the handlers. Borrowed.
struct tw_service *http_service(const struct http_exchange *x);

// ---- reading the request ----
// The first header of that name (lower case), empty when there is none.
struct tw_str http_header_find(const struct http_exchange *x, struct tw_str name);
bool http_header_has(const struct http_exchange *x, struct tw_str name);
// INVALID_REQUEST when one that may decide who asks, or what for, is there twice.
[[nodiscard]] bool http_headers_are_single(const struct http_exchange *x, struct tw_error *err);
// A query parameter, decoded, in the arena; empty when absent. INVALID_REQUEST for a bad escape.
[[nodiscard]] bool http_query_find(struct http_exchange *x, struct tw_str name, struct tw_str *ret_value,
                                   struct tw_error *err);
[[nodiscard]] bool http_query_u32(struct http_exchange *x, struct tw_str name, uint32_t *ret_value,
                                  struct tw_error *err);
// The whole body, from memory or a file; until the answer.
struct tw_span http_body(const struct http_exchange *x);
// Is the body of that media type (parameters and case aside)?
bool http_content_type_is(const struct http_exchange *x, struct tw_str type);

// ---- answering: exactly one of these, once; any thread ----
void http_respond(struct http_exchange *x); // what stands in x->reply
void http_fail(struct http_exchange *x, const struct tw_error *err);
// With the error object's further fields, as `,"trap":…`.
void http_fail_detail(struct http_exchange *x, const struct tw_error *err, struct tw_str detail);
// JSON text: takes the buffer.
void http_respond_json(struct http_exchange *x, int status, struct tw_buf *json);
// What a service call wrote, as JSON with `status`, or its error. Takes the buffer either way.
void http_respond_result(struct http_exchange *x, bool ok, int status, struct tw_buf *json,
                         const struct tw_error *err);
// ---- answering for the service's objects (objects.c); each answers once ----
typedef bool http_page_case(struct tw_service *service, const struct tw_caller *caller, struct tw_str cursor,
                            uint32_t limit, struct tw_buf *out, struct tw_error *err);
typedef bool http_read_case(struct tw_service *service, const struct tw_caller *caller, struct tw_str id,
                            struct tw_buf *out, struct tw_error *err);
// A page by ?cursor= and ?limit=; `max_bytes` bounds the JSON.
void http_answer_page(struct http_exchange *x, size_t max_bytes, http_page_case *page);
// The object that the path's first parameter names.
void http_answer_object(struct http_exchange *x, size_t max_bytes, http_read_case *read);
// 204, or why it is still there.
void http_answer_gone(struct http_exchange *x, bool ok, const struct tw_error *err);
void http_reply_header(struct http_reply *reply, const char *name, struct tw_str value);

// ---- working elsewhere ----
// Runs `work` on the service's pool; it answers. 503 at once when the pool is full.
void http_run_blocking(struct http_exchange *x, void (*work)(struct http_exchange *x));

// ---- streaming: begin, write, end; one thread at a time, never the loop's ----
// Sends the head: x->reply's status, content type and headers, which must not change from here on.
void http_stream_begin(struct http_exchange *x);
// Never waits. False when the client is gone, or so slow that too much would be held for it; go on to
// http_stream_end then.
[[nodiscard]] bool http_stream_write(struct http_exchange *x, struct tw_span bytes);
// Is more held for the client than a fast one would leave? With `waits` the writer stops if so, and the loop calls
// tw_service_call_resume on x->call when the client has taken it.
bool http_stream_is_slow(struct http_exchange *x, bool waits);
// `ok` false: what was sent is not the whole answer, and the client is made to see it (no end of the body).
void http_stream_end(struct http_exchange *x, bool ok);

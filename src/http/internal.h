// SPDX-License-Identifier: Apache-2.0
//
// What the files of http/ share: the server, its loops, connections, the two protocols.
#pragma once

#include "base/base.h"
#include "http/exchange.h"
#include "http/h1.h"
#include "http/http.h"
#include "http/limits.h"
#include "telemetry/telemetry.h"

struct nghttp2_session;

enum http_kind {
    HTTP_PEEK, // the first bytes decide between HTTP/1 and HTTP/2
    HTTP_ONE,
    HTTP_TWO,
    HTTP_LINGER, // answered and shut down for writing; reads until the client closes too
    HTTP_CLOSED, // buried: freed at the end of the batch
};

// A list of hosts or of origins that an operator allows. Frozen.
struct http_allow {
    char *text; // what the items point into
    struct tw_str items[HTTP_ALLOW_MAX];
    unsigned count;
};

// The address that a connection is counted for: an IPv4 address, or an IPv6 /64.
struct http_peer {
    uint8_t len; // 0: not counted
    uint8_t bytes[8];
};

// A client's connection. Confined to its loop.
struct http_conn {
    struct http_loop *loop;
    struct http_conn *next, *prev; // the loop's list
    struct http_conn *next_ready;  // has input that was not read yet
    struct http_conn *next_dirty;  // HTTP/2 with something to send
    int fd;
    enum http_kind kind;
    bool readable, writable, peer_closed; // what epoll said last (edge-triggered)
    bool is_ready, is_dirty, is_feeding, is_turned_away, is_broken;
    bool lingers_shortly;
    bool has_spoken;     // HTTP/1: a header section was understood
    bool is_heavy;       // its last turn had too much work: it is served after the others
    uint32_t block;      // how much of it is read at once
    unsigned peeked;     // bytes of the HTTP/2 preface seen
    int64_t since_ns;    // of what it is doing: accepted, idle; lingering: the last byte read
    int64_t progress_ns; // last byte written
    int64_t linger_ns;   // lingering began
    // HTTP/1: pipelined bytes behind the request at work. HTTP/2: output that the socket did not take.
    struct tw_buf pending;
    struct http_exchange *exchanges; // HTTP/1: at most one
    unsigned exchange_count;
    struct http_h1 h1;
    struct nghttp2_session *h2;
    struct http_peer peer;
    int32_t h2_last_id, h2_gap_from, h2_gap_to; // the newest stream; ids that were passed over last
    int64_t goaway_ns;                          // the first GOAWAY went out; 0: none
    bool final_goaway;
};

// Connections in the order of their turns.
struct http_ready {
    struct http_conn *first, *last;
};

enum { HTTP_STATUS_SLOTS = 32 };

// An epoll set and its connections. Confined to the thread that runs it at the moment (threads.c), but for
// `inbox`, the counters and what http->lock guards.
struct http_loop {
    struct tw_http *http;
    unsigned index;
    bool started, has_ended;       // guarded by http->lock
    struct http_loop *next_orphan; // guarded by http->lock
    struct tw_executor executor;   // runs short calls here
    struct tw_flag stopped_listening;
    int epoll_fd, wake_fd, listen_fd, spare_fd; // listen_fd: -1 once it does not listen any more
    bool is_deaf;   // clients wait: there is no descriptor for them, not even the spare one
    int64_t now_ns; // read once a batch of calls, at least
    int64_t swept_ns;
    struct http_conn *conns, *dirty, *buried;
    struct http_ready ready, heavy; // with input: the next turn's; those that are served after the others
    struct http_conn *reading;      // this turn's that are left
    struct http_exchange *spare;
    unsigned spare_count, turned_away, lingering, large_heads;
    uint64_t random;       // for request and trace ids; not for secrets
    int64_t date_until_ns; // when `date` is over
    char date[40];
    struct tw_counter conn_count, in_flight, exchange_count;
    struct tw_lock inbox_lock;
    struct http_note *inbox, **inbox_last;    // guarded by inbox_lock
    unsigned wakers;                          // threads about to write to wake_fd; guarded by inbox_lock
    struct tw_cond woken;                     // none of them is left
    struct tw_series **requests, **durations; // by route, method and status slot; filled as they are needed
    uint8_t scratch[HTTP_SCRATCH], out[HTTP_SCRATCH];
};

// An answer of status 5xx. Plain value; `count` 0: none.
struct http_failure {
    uint64_t count, tenant;
    int64_t time_ns; // wall, of the last one
    enum tw_code code;
    const char *route; // a template
    char message[TW_ERROR_MESSAGE_MAX], request_id[17], trace_id[33];
};
// The last of them. Guarded by its lock.
struct http_journal {
    struct tw_lock lock;
    struct http_failure failures[HTTP_FAILURES_KEPT];
    unsigned next;
};

// What is shared out between tenants: bytes of bodies. Guarded by lock.
struct http_shares {
    struct tw_lock lock;
    struct tw_map held; // by tenant
    int64_t total, max;
};

// Those who ask for the metrics (scrape.c). Guarded by lock, but for `next_ns`, which is the task's.
struct http_scrapes {
    struct tw_http *http;
    struct tw_lock lock;
    struct tw_cond idle, paused;
    struct http_exchange *waiting; // for the next time that they are written
    bool is_writing;               // the task was begun, and has not ended
    struct tw_task task;
    int64_t next_ns; // not before are they written again
};

// Frozen once started, but for the counters, the flags and what `lock` guards.
struct tw_http {
    struct tw_http_options options; // frozen; defaults filled in
    struct http_allow hosts, origins;
    struct http_peers *peers; // NULL: not counted
    uint16_t port;
    unsigned loop_count;
    struct http_shares bodies, files; // in memory, and on disk
    struct tw_counter conn_count;
    struct tw_pool *disk;                                // writes bodies
    struct tw_flag leaving, draining, closing, stopping; // in this order
    struct tw_lock lock;                                 // with `empty`: drain waits
    struct tw_cond empty;
    struct http_journal journal;
    struct http_scrapes scrapes;
    struct http_text *openapi;
    int64_t started_ns; // monotonic
    struct http_loop *loops;
    // ---- guarded by lock: the loops' threads ----
    struct tw_cond orphaned;
    struct http_loop *orphans; // loops without a thread
    unsigned standby;          // threads without a loop
    bool threads_end;
    pthread_t threads[HTTP_THREADS_MAX];
    unsigned thread_count;
};

// ---- loop.c ----
[[nodiscard]] bool http_loop_init(struct http_loop *loop, struct tw_http *http, unsigned index,
                                  struct tw_error *err);
// Until it has ended (true) or another thread has taken it over (false).
bool http_loop_run(struct http_loop *loop);
void http_loop_done(struct http_loop *loop);
void http_post(struct http_loop *loop, struct http_note *note); // any thread
void http_wake(struct http_loop *loop);                         // any thread
void http_mark_ready(struct http_conn *conn);
void http_mark_dirty(struct http_conn *conn);

// ---- threads.c ----
[[nodiscard]] bool http_loop_start(struct http_loop *loop, struct tw_error *err);
void http_loop_join(struct http_loop *loop);     // after http->stopping was raised and the loop woken
void http_threads_end(struct tw_http *http);     // after all loops have been joined
bool http_on_loop(const struct http_loop *loop); // is this its thread of the moment?
// Makes the loop's place to run calls.
[[nodiscard]] bool http_loop_serve(struct http_loop *loop, struct tw_error *err);

// ---- listen.c ----
[[nodiscard]] bool http_listen(struct tw_http *http, struct tw_error *err); // one socket a loop
void http_accept(struct http_loop *loop);
void http_listen_again(struct http_loop *loop); // at every sweep
void http_stop_listening(struct http_loop *loop);

// ---- input.c ----
void http_conn_read(struct http_conn *conn); // its turn

// ---- conn.c ----
[[nodiscard]] bool http_conn_open(struct http_loop *loop, int fd);
void http_conn_close(struct http_conn *conn);  // aborts what is in flight; freed at the end of the batch
void http_conn_linger(struct http_conn *conn); // answered: reads on until the client closes, for a while
// Tells a client that there is no room: of the whole server, or (`is_peer`) for its address.
void http_conn_turn_away(struct http_loop *loop, int fd, bool is_peer);
// The server stops now: whoever waits for an answer of which nothing was sent is told so, the rest see its end.
void http_conn_cut(struct http_conn *conn);
void http_conn_event(struct http_conn *conn, uint32_t events);
void http_conn_sweep(struct http_conn *conn); // deadlines
// Sends what the socket takes: bytes written, or -1 when the connection broke (and was closed).
ssize_t http_conn_send(struct http_conn *conn, const struct tw_span *parts, unsigned count);

// ---- h1_conn.c ----
void http_h1_input(struct http_conn *conn, const uint8_t *data, size_t len);
bool http_h1_wants_input(const struct http_conn *conn);
void http_h1_writable(struct http_conn *conn);
void http_h1_more_room(struct http_conn *conn); // a body was held back
void http_h1_send(struct http_exchange *x);     // the whole answer, or the head of a streamed one
void http_h1_stream(struct http_exchange *x);   // more bytes of a streamed answer, or its end
void http_h1_sweep(struct http_conn *conn);
void http_h1_cut(struct http_conn *conn); // see http_conn_cut; the socket stays open

// ---- h2.c, h2_send.c ----
[[nodiscard]] bool http_h2_open(struct http_conn *conn);
void http_h2_close(struct http_conn *conn); // the session; not the socket
void http_h2_input(struct http_conn *conn, const uint8_t *data, size_t len);
void http_h2_flush(struct http_conn *conn);
void http_h2_send(struct http_exchange *x);
void http_h2_stream(struct http_exchange *x);
void http_h2_more_room(struct http_exchange *x); // its body was held back
void http_h2_sweep(struct http_conn *conn);
void http_h2_drain(struct http_conn *conn);
void http_h2_cut(struct http_conn *conn);                      // see http_conn_cut; the socket stays open
void http_h2_end(struct http_conn *conn, uint32_t error_code); // GOAWAY, then close

// ---- exchange.c: the loop's side ----
struct http_exchange *http_exchange_new(struct http_conn *conn); // NULL: no memory
[[nodiscard]] bool http_exchange_field(struct http_exchange *x, struct tw_str name, struct tw_str value,
                                       struct tw_error *err);
// The header section is complete (x->method and `target` are known): routes, authorises and checks the
// announced size; a refusal is kept in x->refusal.
void http_exchange_head(struct http_exchange *x, struct tw_str target);
// Body bytes. False when they pass a limit (x->refusal says which).
[[nodiscard]] bool http_exchange_body(struct http_exchange *x, const uint8_t *data, size_t len);
// Does the body come more slowly than the minimum rate, after the grace?
bool http_exchange_drips(const struct http_exchange *x);
void http_exchange_run(struct http_exchange *x);    // the request is whole: the handler, or the refusal
void http_exchange_refuse(struct http_exchange *x); // answers x->refusal now
void http_exchange_sent(struct http_exchange *x);   // the answer is written: counts, frees
void http_exchange_abort(struct http_exchange *x);  // the client is gone, or took this request back
void http_exchange_detach(struct http_exchange *x); // its connection goes
void http_exchange_free(struct http_exchange *x);
void http_exchange_free_spare(struct http_loop *loop);

// Gives back what the body in memory does not need any more of the server's total.
void http_exchange_uncharge(struct http_exchange *x);
void http_exchange_handle(struct http_exchange *x); // the body is there: the handler

// ---- spill.c ----
void http_spill_init(struct http_spill *spill);
void http_spill_clean(struct http_exchange *x); // when the exchange is recycled
// True: a block is being written; the exchange is freed when that is done.
bool http_spill_leave(struct http_exchange *x);
// Sends what is more than a block of the body on its way to the disk.
[[nodiscard]] bool http_spill_take(struct http_exchange *x, struct tw_error *err);
bool http_spill_is_full(const struct http_exchange *x); // take nothing more for now
void http_spill_finish(struct http_exchange *x);        // the body is whole: the rest, then the handler

// ---- stream.c ----
void http_stream_init(struct http_stream *stream);
void http_stream_clean(struct http_exchange *x); // when the exchange is recycled
// Writes fail from now on. True: the handler has let go already, and nobody else will free the exchange.
bool http_stream_abort(struct http_exchange *x);
bool http_stream_has_pending(struct http_exchange *x);
// Moves what was written into x->chunk (empty before); *ret_ended: nothing comes after it.
void http_stream_take(struct http_exchange *x, bool *ret_ended);

// ---- reply.c, problem.c ----
// Writes the HTTP/1 status line and header section into x->head.
[[nodiscard]] bool http_reply_head(struct http_exchange *x, bool keep_alive, bool is_chunked);
void http_reply_problem(struct http_reply *reply, const struct tw_error *err, struct tw_str detail);
struct tw_span http_reply_body(const struct http_exchange *x);
bool http_status_has_body(int status);
// The body of the 503 that calls get which are cut short.
#define HTTP_CUT_TEXT                                                                                        \
    "{\"error\":{\"kind\":\"draining\",\"message\":\"the server stops now; what this request asked for was " \
    "cut "                                                                                                   \
    "short\"}}\n"
struct tw_str http_reply_vary(const struct http_reply *reply); // the header's value; empty: none
const char *http_date(struct http_loop *loop);

// ---- encode.c ----
enum http_coding { HTTP_CODING_NONE, HTTP_CODING_GZIP, HTTP_CODING_ZSTD };
enum http_coding http_coding_choose(struct tw_str accepted);
// Puts the reply's body into a coding the client accepts. False: that would take a loop too long; call it elsewhere.
bool http_encode(struct http_exchange *x);

// `text` in a coding, into `out` (empty before). False without memory, or when it would be no smaller. `is_lasting`: takes
// its time, for what many will get.
bool http_code(struct tw_span text, enum http_coding coding, bool is_lasting, struct tw_buf *out);

// ---- text.c ----
// Who has no token, among those who hold memory for bodies.
#define HTTP_STRANGER UINT64_MAX
struct http_text *http_text_of_static(struct tw_span plain); // NULL: no memory
// Takes the buffer's bytes, and charges them to `shares`. NULL, and the buffer untouched: CAPACITY.
struct http_text *http_text_of_buf(struct tw_buf *buf, struct http_shares *shares, struct tw_error *err);
void http_text_unref(struct http_text *text);
void http_text_reply(struct http_text *text,
                     struct http_reply *reply); // it is the answer, whoever lets go of it
bool http_text_is_coded(const struct http_text *text, enum http_coding coding);
// Makes it if nobody has yet: not on a loop. Empty: it would be no smaller.
struct tw_span http_text_coded(struct http_text *text, enum http_coding coding);

// ---- scrape.c ----
void http_scrapes_init(struct http_scrapes *scrapes, struct tw_http *http);
void http_scrapes_done(struct http_scrapes *scrapes); // after the loops have ended

// ---- once.c ----
bool http_once_wanted(const struct http_exchange *x);
void http_once_run(struct http_exchange *x); // instead of the handler
void http_once_end(struct http_exchange *x); // the answer is decided; on the service's pool

// ---- etag.c ----
void http_etag(struct http_exchange *x); // of a 200 to GET: the tag of its body
void http_etag_set(struct http_exchange *x, struct tw_str tag);

// ---- range.c ----
// Of an answer that is whole and borrowed, only the part that the client asked for. `tag`: its strong ETag.
void http_range(struct http_exchange *x, struct tw_str tag);

// ---- router.c ----
// ---- audit.c ----
void http_audit_begin(struct http_exchange *x);                        // once the header section is there
void http_audit_object(struct http_exchange *x, struct tw_str object); // what the change is about
void http_audit_end(struct http_exchange *x);                          // the answer is decided

enum http_access {
    HTTP_TOKEN,
    HTTP_PUBLIC,
    HTTP_PROBE,  // public, and for any Host: orchestrators ask by address
    HTTP_SCRAPE, // public unless a metrics token is set
};

struct http_route {
    const char *method, *template;
    void (*handler)(struct http_exchange *x);
    enum tw_role role;
    enum http_access access;
    bool takes_body, creates;
    unsigned index;
};
unsigned http_route_count(void);
// Fills x->route, x->params; NOT_FOUND or METHOD (with Allow) otherwise. OPTIONS has a route on every path that
// has one, and on "*".
[[nodiscard]] bool http_route_find(struct http_exchange *x, struct tw_error *err);
enum http_method http_method_of(struct tw_str name);
const char *http_method_name(enum http_method method);

// ---- target.c ----
// Splits the request target into path and query; checks its form. INVALID_REQUEST. `ret_authority` is changed
// only by a target that has one.
[[nodiscard]] bool http_target_split(struct tw_str target, enum http_method method,
                                     struct tw_str *ret_authority, struct tw_str *ret_path,
                                     struct tw_str *ret_query, struct tw_error *err);
// Percent-decodes into the arena. INVALID_REQUEST for bad escapes and NUL.
[[nodiscard]] bool http_percent_decode(struct tw_arena *arena, struct tw_str text, bool plus_is_space,
                                       struct tw_str *ret_text, struct tw_error *err);

// ---- allow.c ----
// "a, b": INVALID_REQUEST names the entry that is none. `{}` allows nothing and holds nothing.
[[nodiscard]] bool http_hosts_parse(struct http_allow *allow, const char *text, struct tw_error *err);
[[nodiscard]] bool http_origins_parse(struct http_allow *allow, const char *text, struct tw_error *err);
void http_allow_done(struct http_allow *allow);
// `authority` as in Host: a name or address and perhaps a port.
bool http_host_is_allowed(const struct http_allow *allow, struct tw_str authority);
bool http_origin_is_allowed(const struct http_allow *allow, struct tw_str origin);

// ---- cors.c ----
void http_options(struct http_exchange *x);     // the handler of every OPTIONS
void http_cors_answer(struct http_exchange *x); // adds what lets a page of an allowed origin read the answer

// ---- peers.c ----
struct http_peers;
[[nodiscard]] struct http_peers *http_peers_new(uint32_t connections_max, uint32_t per_address,
                                                struct tw_error *err);
void http_peers_free(struct http_peers *peers);
// Counts a connection of the descriptor's peer. False when the address has as many as it may, or without
// memory. `ret_peer` is for http_peers_leave.
[[nodiscard]] bool http_peers_enter(struct http_peers *peers, int fd, struct http_peer *ret_peer);
void http_peers_leave(struct http_peers *peers, const struct http_peer *peer);

// ---- shares.c ----
void http_shares_init(struct http_shares *shares, int64_t max);
void http_shares_done(struct http_shares *shares);
// CAPACITY when all is taken, QUOTA when the tenant would hold more than what is left.
[[nodiscard]] bool http_shares_take(struct http_shares *shares, uint64_t tenant, int64_t bytes,
                                    struct tw_error *err);
void http_shares_give(struct http_shares *shares, uint64_t tenant, int64_t bytes); // what was taken

// ---- trace.c ----
void http_trace_begin(struct http_exchange *x); // request id, and the trace id: traceparent's or a new one
void http_trace_end(struct http_exchange *x);   // the answer is out, or nobody waits for it
enum { HTTP_TRACEPARENT_SIZE = 56 };
// The answer's traceparent; false: the request is not traced.
bool http_trace_parent(const struct http_exchange *x, char ret_text[HTTP_TRACEPARENT_SIZE]);

// ---- journal.c ----
void http_journal_answer(const struct http_exchange *x);                              // it was sent
void http_journal_failure(const struct http_exchange *x, const struct tw_error *err); // any thread
void http_journal_write(struct http_journal *journal, struct tw_json_writer *writer); // the newest first

// ---- meter.c ----
[[nodiscard]] bool http_meter_init(struct http_loop *loop);
void http_meter_done(struct http_loop *loop);
void http_meter_answer(struct http_exchange *x);
void http_meter_collect(void *http); // gauges, at exposition
void http_meter_reject(const char *reason);

// SPDX-License-Identifier: Apache-2.0
//
// The life of an exchange on its loop: made when a request's first byte arrives, filled by the protocol,
// routed and authorised as soon as its header section is complete (so that a stranger cannot make us take a
// body), run when it is whole, recycled when its answer is written or nobody waits for it.

#include "http/internal.h"

enum {
    HEAD_MAX = HTTP_TARGET_MAX + HTTP_HEADER_BYTES_MAX + 1024, // the counts are checked before
    HEAD_KEEP = 8 << 10,
};

static void on_note(struct http_note *note);

static struct http_exchange *take_spare(struct http_loop *loop) {
    struct http_exchange *x = loop->spare;
    if (x) {
        loop->spare = x->next;
        loop->spare_count--;
        return x;
    }
    x = tw_alloc_zero(1, sizeof *x);
    if (!x)
        return NULL;
    x->loop = loop;
    x->note.run = on_note;
    tw_arena_init(&x->arena, HTTP_ARENA_MAX);
    tw_buf_init(&x->head, HEAD_MAX);
    tw_buf_init(&x->out_head, HTTP_REPLY_HEAD_MAX);
    tw_buf_init(&x->body, loop->http->options.max_body_bytes);
    http_stream_init(&x->stream);
    http_spill_init(&x->spill);
    return x;
}

struct http_exchange *http_exchange_new(struct http_conn *conn) {
    struct http_exchange *x = take_spare(conn->loop);
    if (!x)
        return NULL;
    x->conn = conn;
    x->prev = NULL;
    x->next = conn->exchanges;
    if (x->next)
        x->next->prev = x;
    conn->exchanges = x;
    conn->exchange_count++;
    tw_counter_add(&x->loop->exchange_count, 1);
    x->stage = HTTP_RECEIVING;
    x->method = HTTP_OTHER_;
    x->content_length = UINT64_MAX;
    x->started_ns = x->progress_ns = x->loop->now_ns;
    return x;
}

void http_exchange_detach(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    if (!conn)
        return;
    *(x->prev ? &x->prev->next : &conn->exchanges) = x->next;
    if (x->next)
        x->next->prev = x->prev;
    conn->exchange_count--;
    x->next = x->prev = NULL;
    x->conn = NULL;
}

static void keep_small(struct tw_buf *buf, size_t keep) {
    if (buf->capacity > keep)
        tw_buf_done(buf);
    else
        tw_buf_reset(buf);
}

// Everything a request left, so that the next one starts clean; the small buffers stay.
static void clean(struct http_exchange *x) {
    http_shares_give(&x->loop->http->bodies, x->caller.tenant, x->body_charged);
    tw_arena_reset(&x->arena);
    http_spill_clean(x);
    keep_small(&x->head, HEAD_KEEP);
    keep_small(&x->body, HTTP_BODY_KEEP);
    tw_buf_reset(&x->out_head);
    tw_buf_done(&x->reply.body);
    tw_file_unmap(&x->reply.file);
    http_text_unref(x->reply.text);
    tw_buf_done(&x->chunk);
    http_stream_clean(x);
    x->reply = (struct http_reply){};
    x->path = x->query = x->authority = (struct tw_str){};
    x->params[0] = x->params[1] = (struct tw_str){};
    x->field_count = x->out_count = 0;
    x->route = NULL;
    x->on_abort = NULL;
    x->work = NULL;
    x->refusal.code = TW_OK;
    x->outcome = TW_OK;
    x->peer[0] = '\0';
    x->object = (struct tw_str){};
    x->stream_id = 0;
    x->loop->large_heads -= x->has_large_head;
    x->has_large_head = x->has_head = x->is_encoded = x->has_begun = x->is_events = x->is_streaming =
        x->head_done = x->is_whole = x->expects_continue = x->close_after = x->is_http10 = x->was_aborted =
            false;
    x->body_seen = 0;
    x->body_charged = x->body_ns = x->ended_ns = 0;
    x->sent = x->header_bytes = 0;
    x->path_at = x->path_len = x->authority_at = x->authority_len = 0;
    x->caller = (struct tw_caller){};
    x->request_id[0] = x->trace_id[0] = '\0';
}

static void destroy(struct http_exchange *x) {
    tw_arena_done(&x->arena);
    tw_buf_done(&x->head);
    tw_buf_done(&x->out_head);
    tw_buf_done(&x->body);
    tw_lock_done(&x->stream.lock);
    free(x);
}

void http_exchange_free(struct http_exchange *x) {
    struct http_loop *loop = x->loop;
    http_exchange_detach(x);
    if (http_spill_leave(x))
        return;
    http_trace_end(x);
    clean(x);
    tw_counter_add(&loop->exchange_count, -1);
    if (loop->spare_count >= HTTP_SPARE_EXCHANGES) {
        destroy(x);
        return;
    }
    x->next = loop->spare;
    loop->spare = x;
    loop->spare_count++;
}

void http_exchange_free_spare(struct http_loop *loop) {
    for (struct http_exchange *x = loop->spare, *next; x; x = next) {
        next = x->next;
        destroy(x);
    }
    loop->spare = NULL;
    loop->spare_count = 0;
}

// ---- receiving ----

bool http_exchange_field(struct http_exchange *x, struct tw_str name, struct tw_str value,
                         struct tw_error *err) {
    if (x->field_count == HTTP_HEADERS_MAX)
        return tw_fail(err, TW_ERR_HEADERS_TOO_LARGE, "a request may have %d headers; send fewer",
                       HTTP_HEADERS_MAX);
    size_t at = x->head.len;
    if (at + name.len + value.len > HEAD_KEEP && !x->has_large_head) {
        if (x->loop->large_heads >= HTTP_LARGE_HEADS_MAX)
            return tw_fail(err, TW_ERR_CAPACITY,
                           "%d requests with header sections above %d bytes are here; try again later",
                           HTTP_LARGE_HEADS_MAX, HEAD_KEEP);
        x->has_large_head = true;
        x->loop->large_heads++;
    }
    if (!tw_buf_append_str(&x->head, name) || !tw_buf_append_str(&x->head, value))
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the request's headers");
    x->fields[x->field_count++] =
        (struct http_field){(uint32_t)at, (uint32_t)name.len, (uint32_t)(at + name.len), (uint32_t)value.len};
    return true;
}

static bool check_length(const struct http_exchange *x, struct tw_error *err) {
    uint64_t max = x->loop->http->options.max_body_bytes;
    if (x->content_length == UINT64_MAX || x->content_length <= max)
        return true;
    return tw_fail(err, TW_ERR_BODY_TOO_LARGE, "the body has %" PRIu64 " bytes, the limit is %" PRIu64,
                   x->content_length, max);
}

static bool check_host(const struct http_exchange *x, struct tw_error *err) {
    const struct http_allow *hosts = &x->loop->http->hosts;
    if (!hosts->count || x->route->access == HTTP_PROBE || http_host_is_allowed(hosts, x->authority))
        return true;
    return tw_fail(err, TW_ERR_MISDIRECTED, "this server does not answer for the host '%.*s'",
                   (int)(x->authority.len < 100 ? x->authority.len : 100), x->authority.data);
}

// The token of /metrics, where one is set.
static bool authorise_scrape(const struct http_exchange *x, struct tw_error *err) {
    struct tw_str wanted = tw_str_from(x->loop->http->options.metrics_token);
    struct tw_str header = http_header_find(x, TW_STR("authorization"));
    struct tw_str scheme = tw_str_cut(&header, ' '), given = tw_str_trim(header);
    if (!wanted.len || (tw_str_equal_nocase(scheme, TW_STR("bearer")) &&
                        tw_equal_constant_time(tw_key_str(given), tw_key_str(wanted))))
        return true;
    return tw_fail(err, TW_ERR_UNAUTHORIZED,
                   "the metrics are behind a token of their own; send it as Authorization: Bearer");
}

// An empty one is a mistake of the client's, not a wish for tenant 0.
static bool check_tenant_header(const struct http_exchange *x, struct tw_error *err) {
    struct tw_str name = TW_STR("x-tensorwasm-tenant");
    return !http_header_has(x, name) || http_header_find(x, name).len ||
           tw_fail(err, TW_ERR_INVALID_TENANT, "X-TensorWasm-Tenant is empty; give a number or leave it out");
}

static bool authorise(struct http_exchange *x, struct tw_error *err) {
    if (x->route->access == HTTP_SCRAPE)
        return authorise_scrape(x, err);
    if (x->route->access != HTTP_TOKEN)
        return true;
    return http_headers_are_single(x, err) && check_tenant_header(x, err) &&
           tw_tenants_authorise(x->loop->http->options.tenants, http_header_find(x, TW_STR("authorization")),
                                http_header_find(x, TW_STR("x-tensorwasm-tenant")), &x->caller, err) &&
           tw_caller_may(&x->caller, x->route->role, err);
}

void http_exchange_head(struct http_exchange *x, struct tw_str target) {
    x->head_done = true;
    x->body_ns = x->loop->now_ns;
    http_trace_begin(x);
    struct tw_error *err = &x->refusal;
    if (err->code != TW_OK)
        return;
    bool ok = http_target_split(target, x->method, &x->authority, &x->path, &x->query, err) &&
              http_route_find(x, err) && check_host(x, err) && authorise(x, err) && check_length(x, err);
    http_audit_begin(x);
    // One block for a body of known, modest size instead of many that double.
    enum { RESERVE_MAX = 1 << 20 };
    if (ok && x->route->takes_body && x->content_length <= RESERVE_MAX &&
        !tw_buf_reserve(&x->body, (size_t)x->content_length))
        tw_fail(err, TW_ERR_CAPACITY, "no memory for the request's body; try again later");
}

// Charges what the body has grown by to the server's total, in steps: a chunk may be one byte, and the total is all
// loops'. What a buffer holds in reserve is not touched and costs no memory.
static bool charge_body(struct http_exchange *x, struct tw_error *err) {
    if (x->body.len <= HTTP_BODY_KEEP)
        return true;
    int64_t held = (int64_t)(x->body.len + x->spill.writing.len);
    if (held <= x->body_charged)
        return true;
    int64_t more = (int64_t)tw_align_up((uint64_t)held, HTTP_BODY_STEP) - x->body_charged;
    if (!http_shares_take(&x->loop->http->bodies, x->caller.tenant, more, err))
        return false;
    x->body_charged += more;
    return true;
}

void http_exchange_uncharge(struct http_exchange *x) {
    int64_t held = x->body.len > HTTP_BODY_KEEP ? (int64_t)x->body.len : 0;
    if (x->body_charged <= held)
        return;
    http_shares_give(&x->loop->http->bodies, x->caller.tenant, x->body_charged - held);
    x->body_charged = held;
}

bool http_exchange_body(struct http_exchange *x, const uint8_t *data, size_t len) {
    struct tw_error *err = &x->refusal;
    x->body_seen += len;
    if (err->code != TW_OK || !x->route || !x->route->takes_body)
        return x->body_seen <= x->loop->http->options.max_body_bytes ||
               tw_fail(err, TW_ERR_BODY_TOO_LARGE, "the body is larger than the limit of %" PRIu64 " bytes",
                       x->loop->http->options.max_body_bytes);
    if (x->body_seen > x->body.max)
        return tw_fail(err, TW_ERR_BODY_TOO_LARGE, "the body is larger than the limit of %zu bytes",
                       x->body.max);
    if (!tw_buf_append(&x->body, data, len))
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the request's body; try again later");
    return charge_body(x, err) && http_spill_take(x, err);
}

bool http_exchange_drips(const struct http_exchange *x) {
    if (http_spill_is_full(x))
        return false; // it is we who do not read
    int64_t seconds = (x->loop->now_ns - x->body_ns) / TW_NS_PER_S - HTTP_BODY_GRACE_S;
    return seconds > 0 && x->body_seen < (uint64_t)seconds * x->loop->http->options.body_min_rate;
}

// ---- working ----

void http_exchange_refuse(struct http_exchange *x) {
    struct tw_error error = x->refusal;
    http_meter_reject(tw_code_name(error.code));
    if (!x->trace_id[0])
        http_trace_begin(x);
    x->stage = HTTP_WORKING;
    tw_counter_add(&x->loop->in_flight, 1);
    http_fail(x, &error);
}

// Probes and metrics are answered however busy we are: being full is no reason to be taken for dead.
static bool check_room(const struct http_exchange *x, struct tw_error *err) {
    return x->route->access != HTTP_TOKEN || tw_counter_get(&x->loop->in_flight) < HTTP_IN_FLIGHT_MAX ||
           tw_fail(err, TW_ERR_CAPACITY, "%d requests are being worked on; try again later",
                   HTTP_IN_FLIGHT_MAX);
}

void http_exchange_run(struct http_exchange *x) {
    if (x->refusal.code == TW_OK)
        (void)check_room(x, &x->refusal);
    if (x->refusal.code != TW_OK) {
        http_exchange_refuse(x);
        return;
    }
    x->stage = HTTP_WORKING;
    tw_counter_add(&x->loop->in_flight, 1);
    if (x->spill.is_open)
        http_spill_finish(x);
    else
        http_exchange_handle(x);
}

void http_exchange_handle(struct http_exchange *x) {
    if (http_once_wanted(x))
        http_once_run(x);
    else
        x->route->handler(x);
}

// ---- elsewhere ----

static void run_task(struct tw_task *task) {
    struct http_exchange *x = (struct http_exchange *)((char *)task - offsetof(struct http_exchange, task));
    tw_log_trace_set(x->trace_id);
    void (*work)(struct http_exchange *) = x->work;
    work(x);
    tw_log_trace_set(NULL);
}

// What anybody may ask for, such as whether the server is ready, is the server's own.
static bool submit(struct http_exchange *x, void (*work)(struct http_exchange *x), struct tw_error *err) {
    bool is_tenants = x->route && x->route->access == HTTP_TOKEN;
    x->work = work;
    x->task = (struct tw_task){.run = run_task};
    return tw_service_submit(http_service(x), is_tenants ? &x->caller : NULL, &x->task, err);
}

// ---- answering ----

// A large answer waits for its client as a body does, and takes of the same memory; where there is none left for the
// tenant it is dropped. What needs no token is never large, and is nobody's.
static void charge_answer(struct http_exchange *x) {
    int64_t bytes = (int64_t)x->reply.body.len;
    struct tw_error err = {};
    if (bytes <= HTTP_BODY_KEEP || !x->route || x->route->access != HTTP_TOKEN)
        return;
    if (http_shares_take(&x->loop->http->bodies, x->caller.tenant, bytes, &err)) {
        x->body_charged += bytes;
        return;
    }
    tw_wrap(&err, "the answer of %" PRId64 " bytes is dropped", bytes);
    x->outcome = err.code;
    http_journal_failure(x, &err);
    tw_buf_done(&x->reply.body);
    x->reply = (struct http_reply){}; // its headers were of what was to be sent
    http_reply_problem(&x->reply, &err, TW_STR(""));
}

// On the loop: the handler has let go of it.
static void answer(struct http_exchange *x) {
    tw_counter_add(&x->loop->in_flight, -1);
    x->stage = HTTP_ANSWERING;
    charge_answer(x);
    http_audit_end(x);
    http_cors_answer(x);
    if (!x->conn || x->stream_id < 0)
        http_exchange_free(x);
    else if (x->conn->kind == HTTP_TWO)
        http_h2_send(x);
    else
        http_h1_send(x);
}

static void on_note(struct http_note *note) {
    answer((struct http_exchange *)((char *)note - offsetof(struct http_exchange, note)));
}

void http_respond(struct http_exchange *x) {
    struct tw_error ignored = {}; // then the body goes out as it is
    if (x->is_once)
        http_once_end(x);
    if (!http_encode(x) && submit(x, http_respond, &ignored))
        return;
    if (http_on_loop(x->loop))
        answer(x);
    else
        http_post(x->loop, &x->note);
}

void http_fail_detail(struct http_exchange *x, const struct tw_error *err, struct tw_str detail) {
    x->outcome = err->code;
    http_journal_failure(x, err);
    http_reply_problem(&x->reply, err, detail);
    http_respond(x);
}

void http_fail(struct http_exchange *x, const struct tw_error *err) {
    http_fail_detail(x, err, TW_STR(""));
}

void http_respond_json(struct http_exchange *x, int status, struct tw_buf *json) {
    tw_buf_done(&x->reply.body);
    x->reply.body = *json;
    *json = (struct tw_buf){.max = json->max};
    x->reply.status = status;
    x->reply.content_type = TW_STR("application/json");
    http_etag(x);
    http_respond(x);
}

void http_respond_result(struct http_exchange *x, bool ok, int status, struct tw_buf *json,
                         const struct tw_error *err) {
    if (ok)
        http_respond_json(x, status, json);
    else
        http_fail(x, err);
    tw_buf_done(json);
}

struct tw_service *http_service(const struct http_exchange *x) {
    return x->loop->http->options.service;
}

void http_reply_header(struct http_reply *reply, const char *name, struct tw_str value) {
    if (reply->extra_count < HTTP_REPLY_HEADERS_MAX)
        reply->extra[reply->extra_count++] = (struct http_header){name, value};
}

void http_exchange_sent(struct http_exchange *x) {
    x->stage = HTTP_ANSWERED;
    http_meter_answer(x);
    http_journal_answer(x);
    http_exchange_free(x);
}

void http_exchange_abort(struct http_exchange *x) {
    if (x->stage != HTTP_WORKING) {
        http_exchange_free(x);
        return;
    }
    if (x->was_aborted)
        return;
    x->was_aborted = true;
    if (x->on_abort)
        x->on_abort(x);
    if (http_stream_abort(x)) {
        tw_counter_add(&x->loop->in_flight, -1);
        http_exchange_free(x);
    }
}

void http_run_blocking(struct http_exchange *x, void (*work)(struct http_exchange *x)) {
    struct tw_error err = {};
    if (!submit(x, work, &err))
        http_fail(x, &err);
}

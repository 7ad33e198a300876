// SPDX-License-Identifier: Apache-2.0
//
// Snapshots: take one, list, download (whole or in parts), delete, go on from one that is kept or that comes with the
// request. All of them touch the store, so they run on the service's pool.

#include "http/handlers.h"
#include "http/internal.h"

enum { ANSWER_MAX = 16 << 20 };

// What the requests' bodies may say; each route takes some of it.
struct members {
    struct tw_str instance_id, function_id, digest, snapshot_b64, as_instance;
    uint32_t idle_ms;
};

enum { INSTANCE_ID = 1, FUNCTION_ID = 2, DIGEST = 4, SNAPSHOT_B64 = 8, AS_INSTANCE = 16, IDLE_MS = 32 };
static const char *const member_names[] = {"instance_id",  "function_id", "digest",
                                           "snapshot_b64", "as_instance", "idle_ms"};

static bool unknown_member(const char *key, unsigned taken, struct tw_error *err) {
    struct tw_buf names;
    tw_buf_init(&names, TW_ERROR_MESSAGE_MAX / 2);
    for (unsigned i = 0; i < TW_COUNT(member_names); i++)
        if (taken >> i & 1) // six short names fit
            (void)tw_buf_printf(&names, "%s%s", names.len ? ", " : "", member_names[i]);
    tw_fail(err, TW_ERR_INVALID_REQUEST, "'%.64s' is not known or of the wrong kind; there are %.*s", key,
            TW_STR_ARG(tw_buf_str(&names)));
    tw_buf_done(&names);
    return false;
}

// `taken`: the members that this route knows. They point into the JSON.
static bool read_members(const struct tw_json *root, unsigned taken, struct members *members,
                         struct tw_error *err) {
    struct tw_str *const texts[] = {&members->instance_id, &members->function_id, &members->digest,
                                    &members->snapshot_b64, &members->as_instance};
    const char *key;
    const struct tw_json *value;
    if (tw_json_type(root) != TW_JSON_OBJECT)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "the body has to be an object");
    for (void *iter = NULL; tw_json_next(root, &iter, &key, &value);) {
        unsigned found = 0;
        while (found < TW_COUNT(member_names) && strcmp(key, member_names[found]) != 0)
            found++;
        bool is_text = found < TW_COUNT(texts) && tw_json_type(value) == TW_JSON_STRING;
        bool is_idle = found == TW_COUNT(texts) && tw_json_type(value) == TW_JSON_INT &&
                       tw_json_int(value) > 0 && tw_json_int(value) <= UINT32_MAX;
        if (!(taken >> found & 1) || (!is_text && !is_idle))
            return unknown_member(key, taken, err);
        if (is_text)
            *texts[found] = tw_json_str(value);
        else
            members->idle_ms = (uint32_t)tw_json_int(value);
    }
    return true;
}

static struct tw_json *read_body(const struct http_exchange *x, unsigned taken, struct members *members,
                                 struct tw_error *err) {
    *members = (struct members){};
    struct tw_json *root = tw_json_parse(http_body(x), err);
    if (root && read_members(root, taken, members, err))
        return root;
    tw_json_free(root);
    return NULL;
}

// ---- taking one ----

static void take(struct http_exchange *x, struct tw_snapshot_request *request, struct tw_error *err,
                 bool ok) {
    struct tw_buf out;
    tw_buf_init(&out, ANSWER_MAX);
    request->trace = &x->trace;
    ok = ok && tw_service_snapshot_save(http_service(x), &x->caller, request, &out, err);
    http_respond_result(x, ok, 201, &out, err);
}

static void take_of_instance(struct http_exchange *x) {
    struct tw_error err = {};
    take(x, &(struct tw_snapshot_request){.instance = x->params[0]}, &err, true);
}

void http_snapshot_instance(struct http_exchange *x) {
    http_run_blocking(x, take_of_instance);
}

static void save(struct http_exchange *x) {
    struct tw_error err = {};
    struct members members;
    struct tw_json *root = read_body(x, INSTANCE_ID | FUNCTION_ID, &members, &err);
    bool ok = root;
    if (ok && !members.instance_id.len == !members.function_id.len)
        ok = tw_fail(&err, TW_ERR_INVALID_REQUEST, "one of instance_id and function_id is needed");
    if (ok)
        http_audit_object(x, members.instance_id.len ? members.instance_id : members.function_id);
    take(x, &(struct tw_snapshot_request){.instance = members.instance_id, .function = members.function_id},
         &err, ok);
    tw_json_free(root);
}

void http_snapshot_save(struct http_exchange *x) {
    http_run_blocking(x, save);
}

// ---- going on from one ----

static void go_on(struct http_exchange *x, const struct tw_restore_request *request, struct tw_error *err,
                  bool ok) {
    struct tw_buf out;
    tw_buf_init(&out, ANSWER_MAX);
    if (ok && request->instance.len)
        http_audit_object(x, request->instance);
    ok = ok && tw_service_snapshot_restore(http_service(x), &x->caller, request, &out, err);
    http_respond_result(x, ok, 201, &out, err);
}

static void restore(struct http_exchange *x) {
    struct tw_error err = {};
    struct members members;
    struct tw_json *root = read_body(x, DIGEST | AS_INSTANCE | IDLE_MS, &members, &err);
    bool ok = root;
    if (ok && !members.digest.len)
        ok = tw_fail(&err, TW_ERR_INVALID_REQUEST, "digest is missing: that of the snapshot to go on from");
    struct tw_restore_request request = {.digest = members.digest,
                                         .instance = members.as_instance,
                                         .idle_ms = members.idle_ms,
                                         .trace = &x->trace};
    go_on(x, &request, &err, ok);
    tw_json_free(root);
}

void http_snapshot_restore(struct http_exchange *x) {
    http_run_blocking(x, restore);
}

static void upload_json(struct http_exchange *x) {
    struct tw_error err = {};
    struct members members;
    struct tw_buf file;
    tw_buf_init(&file, x->body.max);
    struct tw_json *root = read_body(x, SNAPSHOT_B64 | AS_INSTANCE | IDLE_MS, &members, &err);
    bool ok = root;
    if (ok && !tw_base64_parse(members.snapshot_b64, &file, &err))
        ok = tw_wrap(&err, "snapshot_b64");
    struct tw_restore_request request = {.file = tw_buf_span(&file),
                                         .instance = members.as_instance,
                                         .idle_ms = members.idle_ms,
                                         .trace = &x->trace};
    go_on(x, &request, &err, ok);
    tw_json_free(root);
    tw_buf_done(&file);
}

static void upload_bytes(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_restore_request request = {.file = http_body(x), .trace = &x->trace};
    bool ok = http_query_find(x, TW_STR("as_instance"), &request.instance, &err) &&
              http_query_u32(x, TW_STR("idle_ms"), &request.idle_ms, &err);
    go_on(x, &request, &err, ok);
}

void http_snapshot_upload(struct http_exchange *x) {
    http_run_blocking(x, http_content_type_is(x, TW_STR("application/json")) ? upload_json : upload_bytes);
}

// ---- reading, deleting ----

static void list(struct http_exchange *x) {
    http_answer_page(x, ANSWER_MAX, tw_service_snapshots);
}

void http_snapshot_list(struct http_exchange *x) {
    http_run_blocking(x, list);
}

static void get(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_str digest = x->params[0]; // 64 digits, if there is one
    if (!tw_service_snapshot_map(http_service(x), &x->caller, digest, &x->reply.file, &err)) {
        http_fail(x, &err);
        return;
    }
    x->reply.status = 200;
    x->reply.content_type = TW_STR("application/octet-stream");
    x->reply.borrowed = tw_span_of(x->reply.file.data, x->reply.file.len);
    const char *tag = tw_arena_printf(&x->arena, "\"%.*s\"", TW_STR_ARG(digest));
    const char *name = tw_arena_printf(&x->arena, "attachment; filename=\"%.12s.tensor-wasm\"", digest.data);
    if (name)
        http_reply_header(&x->reply, "Content-Disposition", tw_str_from(name));
    if (tag) {
        http_etag_set(x, tw_str_from(tag));
        http_range(x, tw_str_from(tag));
    }
    http_respond(x);
}

void http_snapshot_get(struct http_exchange *x) {
    http_run_blocking(x, get);
}

static void delete(struct http_exchange *x) {
    struct tw_error err = {};
    bool ok = tw_service_snapshot_delete(http_service(x), &x->caller, x->params[0], &err);
    http_answer_gone(x, ok, &err);
}

void http_snapshot_delete(struct http_exchange *x) {
    http_run_blocking(x, delete);
}

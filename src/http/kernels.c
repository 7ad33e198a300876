// SPDX-License-Identifier: Apache-2.0
//
// /kernels: publish, list, read, delete. All of them may touch the store or the compiler, so they run on the
// service's pool. A kernel is published as JSON {name, version, ptx | ptx_b64, entry?, signature?}, or as the
// bare PTX with ?name=&version=&entry=&signature=.

#include "http/handlers.h"
#include "http/internal.h"

enum { ANSWER_MAX = 16 << 20, DETAIL_MAX = 4096 };

// ---- publish ----

static bool read_text(const struct tw_json *root, const char *key, bool is_needed, struct tw_str *ret_text,
                      struct tw_error *err) {
    const struct tw_json *value = tw_json_get(root, key);
    bool is_absent = !value || tw_json_type(value) == TW_JSON_NULL;
    if (is_absent ? is_needed : tw_json_type(value) != TW_JSON_STRING)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "%s %s", key,
                       is_absent ? "is missing" : "has to be a text");
    *ret_text = tw_json_str(value);
    return true;
}

// The JSON form: a text in base64 is decoded into `ptx`; the rest stays in `root`.
static bool read_json(struct http_exchange *x, const struct tw_json *root, struct tw_buf *ptx,
                      struct tw_publish *publish, struct tw_error *err) {
    struct tw_str encoded;
    if (tw_json_type(root) != TW_JSON_OBJECT)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "the body has to be an object with name, version and ptx or ptx_b64");
    if (!read_text(root, "name", true, &publish->name, err) ||
        !read_text(root, "version", true, &publish->version, err) ||
        !read_text(root, "entry", false, &publish->entry, err) ||
        !read_text(root, "signature", false, &publish->signature, err) ||
        !read_text(root, "ptx", false, &publish->ptx, err) ||
        !read_text(root, "ptx_b64", false, &encoded, err))
        return false;
    if (!publish->ptx.len == !encoded.len)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "one of ptx (the text) and ptx_b64 is needed");
    if (publish->ptx.len)
        return true;
    tw_buf_init(ptx, x->body.max);
    if (!tw_base64_parse(encoded, ptx, err))
        return tw_wrap(err, "ptx_b64");
    publish->ptx = tw_buf_str(ptx);
    return true;
}

static bool read_query(struct http_exchange *x, struct tw_publish *publish, struct tw_error *err) {
    struct tw_span body = http_body(x);
    publish->ptx = tw_str_of((const char *)body.data, body.len);
    return http_query_find(x, TW_STR("name"), &publish->name, err) &&
           http_query_find(x, TW_STR("version"), &publish->version, err) &&
           http_query_find(x, TW_STR("entry"), &publish->entry, err) &&
           http_query_find(x, TW_STR("signature"), &publish->signature, err);
}

// "NAME VERSION", for the audit log.
static void audit_kernel(struct http_exchange *x, struct tw_str name, struct tw_str version) {
    char text[TW_FUNCTION_NAME_MAX + 1];
    int len = snprintf(text, sizeof text, "%.*s %.*s", TW_STR_ARG(name), TW_STR_ARG(version));
    if (len > 0 && (size_t)len < sizeof text)
        http_audit_object(x, tw_str_of(text, (size_t)len));
}

// `,"line":…,"column":…,"source":"…","caret":"…"` when the message points at a place in the PTX.
static bool mark_json(struct tw_str ptx, const struct tw_error *err, struct tw_buf *out) {
    struct tw_source_mark mark;
    struct tw_json_writer writer;
    if (!tw_source_mark_find(ptx, err->message, &mark))
        return true;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    tw_json_write_number(&writer, "line", mark.line);
    tw_json_write_number(&writer, "column", mark.column);
    tw_json_write_text(&writer, "source", tw_str_from(mark.text));
    tw_json_write_text(&writer, "caret", tw_str_from(mark.caret));
    tw_json_write_end(&writer, '}');
    if (!tw_json_write_done(&writer))
        return false;
    out->data[0] = ','; // the members follow those of the error object, whose brackets they use
    out->len--;
    return true;
}

static void fail_at(struct http_exchange *x, const struct tw_publish *publish, const struct tw_error *err) {
    struct tw_buf detail;
    tw_buf_init(&detail, DETAIL_MAX);
    bool ok = mark_json(publish->ptx, err, &detail);
    http_fail_detail(x, err, ok ? tw_buf_str(&detail) : (struct tw_str){});
    tw_buf_done(&detail);
}

static void publish(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out, ptx = {};
    struct tw_publish request = {};
    struct tw_json *root = NULL;
    bool ok;
    tw_buf_init(&out, ANSWER_MAX);
    if (http_content_type_is(x, TW_STR("application/json"))) {
        root = tw_json_parse(http_body(x), &err);
        ok = root && read_json(x, root, &ptx, &request, &err);
    } else {
        ok = read_query(x, &request, &err);
    }
    audit_kernel(x, request.name, request.version);
    ok = ok && tw_service_kernel_publish(http_service(x), &x->caller, &request, &out, &err);
    if (ok) {
        http_respond_result(x, true, 201, &out, &err);
    } else {
        tw_buf_done(&out);
        fail_at(x, &request, &err);
    }
    tw_json_free(root);
    tw_buf_done(&ptx);
}

void http_kernel_publish(struct http_exchange *x) {
    http_run_blocking(x, publish);
}

// ---- read, delete ----

static void list(struct http_exchange *x) {
    http_answer_page(x, ANSWER_MAX, tw_service_kernels);
}

void http_kernel_list(struct http_exchange *x) {
    http_run_blocking(x, list);
}

static void get(struct http_exchange *x) {
    struct tw_error err = {};
    struct tw_buf out;
    struct tw_str ptx;
    tw_buf_init(&out, ANSWER_MAX);
    bool ok = http_query_find(x, TW_STR("ptx"), &ptx, &err);
    if (ok && ptx.len && !tw_str_equal(ptx, TW_STR("true")) && !tw_str_equal(ptx, TW_STR("false")))
        ok = tw_fail(&err, TW_ERR_INVALID_REQUEST, "ptx takes true or false");
    ok = ok && tw_service_kernel_get(http_service(x), &x->caller, x->params[0], x->params[1],
                                     tw_str_equal(ptx, TW_STR("true")), &out, &err);
    http_respond_result(x, ok, 200, &out, &err);
}

void http_kernel_get(struct http_exchange *x) {
    http_run_blocking(x, get);
}

static void delete(struct http_exchange *x) {
    struct tw_error err = {};
    audit_kernel(x, x->params[0], x->params[1]);
    bool ok = tw_service_kernel_delete(http_service(x), &x->caller, x->params[0], x->params[1], &err);
    http_answer_gone(x, ok, &err);
}

void http_kernel_delete(struct http_exchange *x) {
    http_run_blocking(x, delete);
}
